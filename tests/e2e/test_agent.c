/* The caller's SSH agent inside a sandbox: what a program there asks comes as
   events, what is answered reaches it, over several channels at once. */
#include "e2e.h"

/* Echoes in capitals what comes of a channel; "bye" closes it from this side.
   Answers that find no room wait for SBX_EV_WRITABLE. */
typedef struct echo {
    char id[64], bytes[70000];
    size_t n, at;
} echo;

static echo echoes[4];

static echo *echo_of(sbx_str id)
{
    for (unsigned i = 0; i < 4; i++) {
        if (!echoes[i].id[0])
            memcpy(echoes[i].id, id.p, id.n);
        if (strlen(echoes[i].id) == id.n && memcmp(echoes[i].id, id.p, id.n) == 0)
            return &echoes[i];
    }
    fail_msg("more channels than were opened");
    return NULL;
}

static void answer(sbx_op op)
{
    for (unsigned i = 0; i < 4; i++) {
        echo *e = &echoes[i];
        size_t taken;

        assert_int_equal(sbx_agent_send(c, op, sbx_s(e->id[0] ? e->id : "none"), sbx_sn(e->bytes + e->at, e->n - e->at), &taken), SBX_OK);
        e->at += taken;
    }
}

/* How many channels were closed from the other side. */
static unsigned serve(sbx_op op, e2e_run *run)
{
    unsigned closed = 0;
    sbx_event ev;

    memset(echoes, 0, sizeof echoes);
    while (sbx_next_of(c, &op, &ev)) {
        if (ev.kind == SBX_EV_AGENT_DATA) {
            echo *e = echo_of(ev.channel);

            assert_true(ev.data.n <= sizeof e->bytes - e->n);
            for (size_t i = 0; i < ev.data.n; i++)
                e->bytes[e->n++] = (char)(ev.data.p[i] >= 'a' && ev.data.p[i] <= 'z' ? ev.data.p[i] - 32 : ev.data.p[i]);
            if (e->n >= 3 && memcmp(e->bytes + e->n - 3, "BYE", 3) == 0) {
                answer(op);
                assert_int_equal(sbx_agent_close(c, op, sbx_s(e->id)), SBX_OK);
            }
        } else if (ev.kind == SBX_EV_AGENT_CLOSE) {
            closed++;
        } else {
            e2e_take(run, &ev);
        }
        if (ev.kind != SBX_EV_END)
            answer(op);
    }
    return closed;
}

static const char program[] =
    "python3 -c '\n"
    "import os, socket\n"
    "def ask(data, s=None):\n"
    "    s = s or socket.socket(socket.AF_UNIX)\n"
    "    s.connect(os.environ[\"SSH_AUTH_SOCK\"]); s.sendall(data); got = b\"\"\n"
    "    while len(got) < len(data): got += s.recv(65536)\n"
    "    return s, got\n"
    "a, got = ask(b\"hello\"); print(got.decode())\n"
    "raw = bytes(i * 7 % 256 for i in range(60000)).replace(b\"Y\", b\"Z\"); b, got = ask(raw); print(got == raw.upper())\n"
    "d, got = ask(b\"bye\"); print(got.decode(), d.recv(10))\n"
    "a.sendall(b\"again\"); print(a.recv(10).decode()); a.close(); b.close()\n"
    "'\n";

static void channels(void **state)
{
    e2e_run run;
    unsigned closed;

    (void)state;
    memset(&run, 0, sizeof run);
    closed = serve(sbx_command(c, &box, sbx_s(program), &(sbx_run_opts){ .ssh_agent_forward = true }), &run);
    e2e_add(&run.out, "", 1);
    e2e_add(&run.err, "", 1);
    assert_string_equal(run.err.p, "");
    assert_string_equal(run.out.p, "HELLO\nTrue\nBYE b''\nAGAIN\n");
    assert_int_equal(run.code, SBX_OK);
    assert_int_equal(run.exit_code, 0);
    assert_true(closed >= 1); /* the command's end may come before the last */
    e2e_free(&run);
}

static void without(void **state)
{
    (void)state;
    assert_string_equal(e2e_sh("echo \"<$SSH_AUTH_SOCK>\""), "<>\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(channels), cmocka_unit_test(without) };

    return cmocka_run_group_tests_name("agent", tests, e2e_begin, e2e_end);
}
