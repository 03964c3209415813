/* Commands: sbx_run, sbx_command and every option of theirs. */
#include "e2e.h"

#include <unistd.h>

static char buffer[65536], buffer2[4096];

static e2e_run stream(const char *command, const sbx_run_opts *o)
{
    return e2e_collect(c, sbx_command(c, &box, sbx_s(command), o));
}

/* sbx_run into buffers; both texts NUL-terminated. */
static sbx_result run(const char *command, sbx_run_opts o)
{
    sbx_result r;

    o.out.p = buffer;
    o.out.n = sizeof buffer - 1;
    o.err.p = buffer2;
    o.err.n = sizeof buffer2 - 1;
    memset(&r, 0xA5, sizeof r);
    OK(sbx_run(c, &box, sbx_s(command), &o, &r));
    buffer[r.out_n] = 0;
    buffer2[r.err_n] = 0;
    return r;
}

static bool is_uuid7(const char *s)
{
    return strlen(s) == 36 && s[8] == '-' && s[13] == '-' && s[14] == '7' && s[18] == '-' && strchr("89ab", s[19]) && s[23] == '-';
}

static void collected(void **state)
{
    sbx_result r = run("echo out; echo err >&2; exit 7", (sbx_run_opts){ 0 });

    (void)state;
    assert_string_equal(buffer, "out\n");
    assert_string_equal(buffer2, "err\n");
    assert_int_equal(r.exit_code, 7);
    assert_int_equal(r.out_total, 4);
    assert_int_equal(r.err_total, 4);
    assert_false(r.out_cut || r.err_cut || r.gap);
    assert_null(r.out_p);
    assert_null(r.err_p);
    assert_true(r.pid > 0);
    assert_true(is_uuid7(r.command_id));

    r = run("kill -TERM $$", (sbx_run_opts){ 0 });
    assert_int_equal(r.exit_code, 143);
    r = run("true", (sbx_run_opts){ 0 });
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.out_total + r.err_total, 0);
    /* Quotes, control characters and everything beyond ASCII arrive. */
    run("printf '%s|' \"a\\\"b\" $'\\t\\x01' 'ü€𝄞' '\\\\'", (sbx_run_opts){ 0 });
    assert_string_equal(buffer, "a\"b|\t\x01|ü€𝄞|\\\\|");
}

static void streamed(void **state)
{
    e2e_run r = stream("echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; exit 3", NULL);

    (void)state;
    SAME(r.out, "one\nthree\n");
    SAME(r.err, "two\n");
    assert_string_equal(r.order, "ses");
    assert_int_equal(r.started, 1);
    assert_true(r.pid > 0);
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 3);
    assert_false(r.torn);
    assert_int_equal(r.gaps + r.reconnects + r.retries, 0);
    e2e_free(&r);
    r = stream("exit 0", NULL);
    SAME(r.out, "");
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.started, 1);
    e2e_free(&r);
}

static void environment(void **state)
{
    sbx_pair env[] = { { sbx_s("A"), sbx_s("a b") }, { sbx_s("QUOTE"), sbx_s("'\"\n\\ü") }, { sbx_s("EMPTY"), sbx_s("") } };

    (void)state;
    run("printf '%s|' \"$A\" \"$QUOTE\" \"${EMPTY-unset}\" \"$PWD\" \"$0\"",
        (sbx_run_opts){ .env = env, .env_n = 3, .cwd = sbx_s("/usr/lib"), .shell = sbx_s("/bin/sh") });
    assert_string_equal(buffer, "a b|'\"\n\\ü||/usr/lib|/bin/sh|");
    run("printf '%s|' \"$A\" \"$PWD\"", (sbx_run_opts){ .run_config = { .user = sbx_s("root"), .work_dir = sbx_s("/tmp"), .env = env, .env_n = 1 } });
    assert_string_equal(buffer, "a b|/tmp|");
    assert_string_equal(FAILS(sbx_run(c, &box, sbx_s("x"), &(sbx_run_opts){ .discard = true, .cwd = sbx_s("/"), .run_config = { .work_dir = sbx_s("/") } }, NULL), SBX_ERR_ARGUMENT).field, "run_config");
}

static void standard_input(void **state)
{
    sbx_run_opts open = { .stdin_open = true };
    sbx_op op = sbx_command(c, &box, sbx_s("read -r line; echo \"<$line>\"; cat; echo end"), &open);
    static const char text[] = "first ü \"\\\nsecond\x01€\n";
    size_t at = 0, taken;
    sbx_event ev;
    e2e_run r;

    (void)state;
    /* Closed at once by default. */
    run("cat; echo end", (sbx_run_opts){ 0 });
    assert_string_equal(buffer, "end\n");

    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev)) {
        while (at < sizeof text - 1 && r.started) {
            assert_int_equal(sbx_input(c, op, sbx_sn(text + at, sizeof text - 1 - at), &taken), SBX_OK);
            if (!taken)
                break;
            at += taken;
            if (at == sizeof text - 1) {
                assert_int_equal(sbx_close_stdin(c, op), SBX_OK);
                assert_int_equal(sbx_input(c, op, sbx_s("x"), &taken), SBX_ERR_STATE);
                assert_int_equal(taken, 0);
            }
        }
    }
    assert_int_equal(r.code, SBX_OK);
    SAME(r.out, "<first ü \"\\>\nsecond\x01€\nend\n");
    e2e_free(&r);
    assert_int_equal(sbx_input(c, op, sbx_s("x"), &taken), SBX_ERR_HANDLE);
    assert_int_equal(sbx_close_stdin(c, op), SBX_ERR_HANDLE);
    assert_int_equal(sbx_kill(c, op), SBX_ERR_HANDLE);
}

/* More input than any buffer holds, output read at the same time; bytes of a
   character that is cut at a call's end are left to the caller. */
static void much_input(void **state)
{
    sbx_run_opts open = { .stdin_open = true };
    sbx_op op = sbx_command(c, &box, sbx_s("sleep 1; cat"), &open);
    e2e_bytes text = { 0 };
    size_t at = 0, taken;
    bool closed = false, bad = false, full = false;
    sbx_event ev;
    e2e_run r;

    (void)state;
    for (unsigned i = 0; i < 1000000; i++) {
        char line[32];

        e2e_add(&text, line, (size_t)snprintf(line, sizeof line, "%u €\t\"\n", i));
    }
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev)) {
        while (r.started && at < text.n) {
            size_t n = text.n - at < 1000 ? text.n - at : 1000; /* cuts characters */

            assert_int_equal(sbx_input(c, op, sbx_sn(text.p + at, n), &taken), SBX_OK);
            full |= !taken;
            if (!taken)
                break;
            at += taken;
        }
        if (at == text.n && !bad) {
            bad = true;
            assert_int_equal(sbx_input(c, op, sbx_s("\xff"), &taken), SBX_ERR_ARGUMENT);
        }
        if (at == text.n && !closed) {
            closed = true;
            assert_int_equal(sbx_close_stdin(c, op), SBX_OK);
        }
    }
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.writable > 0, full); /* the sockets between can hold it all, with a TLS proxy's above all */
    e2e_same(&r.out, text.p, text.n, __FILE__, __LINE__);
    assert_false(r.torn);
    free(text.p);
    e2e_free(&r);
}

static void terminal(void **state)
{
    sbx_run_opts o = { .pty = true, .cols = 100, .rows = 30 };
    sbx_op op = sbx_command(c, &box, sbx_s("test -t 0 && test -t 1 && echo tty; stty -echo; echo ready; read x; stty size; read x; stty size; echo err >&2"), &o);
    sbx_event ev;
    size_t taken;
    e2e_run r;
    int step = 0;

    (void)state;
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev)) {
        if (step == 0 && strstr(r.out.p, "ready")) {
            step = 1;
            assert_int_equal(sbx_input(c, op, sbx_s("\n"), &taken), SBX_OK);
            assert_int_equal(taken, 1);
        }
        if (step == 1 && strstr(r.out.p, "30 100")) {
            step = 2;
            assert_int_equal(sbx_pty_resize(c, op, 0, 5), SBX_ERR_ARGUMENT);
            assert_int_equal(sbx_pty_resize(c, op, 91, 41), SBX_OK);
            assert_int_equal(sbx_input(c, op, sbx_s("\n"), &taken), SBX_OK);
        }
    }
    assert_int_equal(r.code, SBX_OK);
    SAME(r.out, "tty\r\nready\r\n30 100\r\n41 91\r\nerr\r\n");
    assert_int_equal(r.err.n, 0);
    e2e_free(&r);

    /* The shell itself. */
    op = sbx_command(c, &box, sbx_sn(NULL, 0), &(sbx_run_opts){ .pty = true, .shell = sbx_s("/bin/sh") });
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev))
        if (ev.kind == SBX_EV_STARTED) {
            assert_int_equal(sbx_input(c, op, sbx_s("exit 9\n"), &taken), SBX_OK);
            assert_int_equal(taken, 7);
        }
    assert_int_equal(r.exit_code, 9);
    e2e_free(&r);
    assert_string_equal(FAILS(sbx_command(c, &box, sbx_s("x"), &(sbx_run_opts){ .rows = 3 }), SBX_ERR_ARGUMENT).field, "rows");
    assert_string_equal(FAILS(sbx_command(c, &box, sbx_s(""), NULL), SBX_ERR_ARGUMENT).field, "command");
}

/* The whole process tree dies, and the exit code still comes. */
static void killed(void **state)
{
    sbx_op op = sbx_command(c, &box, sbx_s("sh -c 'sleep 1000 & echo $! > /tmp/child; wait' & wait; echo never"), NULL);
    sbx_event ev;
    e2e_run r;

    (void)state;
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev))
        if (ev.kind == SBX_EV_STARTED) {
            e2e_sh("while ! test -s /tmp/child; do sleep 0.01; done");
            assert_int_equal(sbx_kill(c, op), SBX_OK);
        }
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 137);
    SAME(r.out, "");
    assert_string_equal(e2e_sh("kill -0 $(cat /tmp/child) 2>/dev/null && echo alive || echo dead"), "dead\n");
    e2e_free(&r);

    /* Asked for before the command even started. */
    op = sbx_command(c, &box, sbx_s("sleep 1000"), NULL);
    assert_int_equal(sbx_kill(c, op), SBX_OK);
    r = e2e_collect(c, op);
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 137);
    e2e_free(&r);
}

static void command_timeout(void **state)
{
    sbx_run_opts o = { .timeout_s = 1, .out = { buffer, sizeof buffer }, .err = { buffer2, sizeof buffer2 } };
    sbx_result r;
    sbx_error e;
    e2e_run s;

    (void)state;
    memset(&r, 0, sizeof r);
    e = FAILS(sbx_run(c, &box, sbx_s("echo partial; echo too >&2; sleep 100; echo never"), &o, &r), SBX_ERR_COMMAND_TIMEOUT);
    assert_string_equal(e.type, "CommandTimeout");
    assert_string_equal(e.text, "the command ran longer than its timeout and was killed");
    assert_int_equal(e.resource, SBX_RESOURCE_COMMAND);
    assert_int_equal(e.layer, SBX_LAYER_SERVICE);
    assert_true(e.sent);
    assert_int_equal(r.out_n, 8);
    assert_memory_equal(buffer, "partial\n", 8);
    assert_int_equal(r.err_n, 4);
    assert_memory_equal(buffer2, "too\n", 4);
    assert_int_equal(r.exit_code, -1);

    s = stream("echo partial; sleep 100", &(sbx_run_opts){ .timeout_s = 1 });
    assert_int_equal(s.code, SBX_ERR_COMMAND_TIMEOUT);
    assert_string_equal(s.error.type, "CommandTimeout");
    SAME(s.out, "partial\n");
    e2e_free(&s);
}

static void deadline(void **state)
{
    sbx_result r;
    sbx_run_opts o = { .call = { .total_ms = 500 }, .out = { buffer, sizeof buffer } };
    sbx_error e;

    (void)state;
    memset(&r, 0, sizeof r);
    e = FAILS(sbx_run(c, &box, sbx_s("echo x; sleep 100"), &o, &r), SBX_ERR_DEADLINE);
    assert_int_equal(e.layer, SBX_LAYER_LOCAL);
    assert_true(e.sent);
    e2e_sh("pkill sleep");
}

/* The same id is the same command, whoever names it. */
static void idempotent(void **state)
{
    sbx_run_opts o = { .command_id = sbx_s("01890a5d-ac96-774b-bcce-b302099a8057") };
    sbx_result a, b;

    (void)state;
    a = run("echo $RANDOM$RANDOM; echo x >> /tmp/runs", o);
    assert_string_equal(a.command_id, "01890a5d-ac96-774b-bcce-b302099a8057");
    memcpy(buffer + 100, buffer, 50);
    b = run("echo something else", o);
    assert_string_equal(buffer, buffer + 100);
    assert_int_equal(b.pid, a.pid);
    assert_string_equal(e2e_sh("cat /tmp/runs"), "x\n");
    assert_string_equal(FAILS(sbx_command(c, &box, sbx_s("x"), &(sbx_run_opts){ .command_id = sbx_s("short") }), SBX_ERR_ARGUMENT).field, "command_id");
}

static void attach(void **state)
{
    sbx_op op = sbx_command(c, &box, sbx_s("echo 0123456789; echo errors >&2; while ! test -e /tmp/go; do sleep 0.02; done; echo after"), NULL);
    char id[37];
    uint64_t out, err;
    sbx_event ev;
    size_t seen = 0;
    e2e_run r;

    (void)state;
    while (seen < 18 && sbx_next_of(c, &op, &ev))
        if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR)
            seen += ev.data.n;
    assert_int_equal(sbx_command_position(c, op, id, &out, &err), SBX_OK);
    assert_true(is_uuid7(id));
    assert_int_equal(out, 11);
    assert_int_equal(err, 7);
    assert_int_equal(sbx_cancel(c, op), SBX_OK);
    assert_int_equal(sbx_await(c, op), SBX_ERR_CANCELLED);
    assert_int_equal(sbx_command_position(c, op, id, &out, &err), SBX_ERR_HANDLE);

    /* Goes on elsewhere, from where it was, or from anywhere. */
    op = sbx_attach(c, &box, sbx_s(id), &(sbx_attach_opts){ .stdout_offset = 5, .stderr_offset = err });
    e2e_sh("touch /tmp/go");
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "01234", 5);
    e2e_add(&r.err, "errors\n", 7);
    while (sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev))
        ;
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.started, 1);
    SAME(r.out, "0123456789\nafter\n");
    SAME(r.err, "errors\n");
    assert_false(r.torn);
    e2e_free(&r);

    /* Also after its end, all of it. */
    r = e2e_collect(c, sbx_attach(c, &box, sbx_s(id), NULL));
    SAME(r.out, "0123456789\nafter\n");
    SAME(r.err, "errors\n");
    e2e_free(&r);
    r = e2e_collect(c, sbx_attach(c, &box, sbx_s("01890a5d-ac96-774b-bcce-000000000000"), NULL));
    assert_int_equal(r.code, SBX_ERR_COMMAND_NOT_FOUND);
    assert_string_equal(r.error.type, "CommandNotFound");
    assert_string_equal(r.error.text, "there is no command 01890a5d-ac96-774b-bcce-000000000000");
    assert_int_equal(r.error.resource, SBX_RESOURCE_COMMAND);
    e2e_free(&r);
    assert_int_equal(sbx_attach(c, &box, sbx_s(""), NULL).slot, 0);
}

static void lifetimes(void **state)
{
    sbx_run_opts o = { .ttl_s = 1, .command_id = sbx_s("01890a5d-ac96-774b-bcce-b30209900001") };
    e2e_run r;

    (void)state;
    /* A command whose time is over is not run again. */
    r = stream("echo x >> /tmp/once", &o);
    e2e_free(&r);
    for (int i = 0; i < 200; i++) {
        r = e2e_collect(c, sbx_attach(c, &box, o.command_id, NULL));
        if (r.code != SBX_OK)
            break;
        e2e_free(&r);
        e2e_sh("sleep 0.1");
    }
    assert_int_equal(r.code, SBX_ERR_SESSION_EXPIRED);
    assert_string_equal(r.error.type, "SessionExpired");
    e2e_free(&r);
    r = stream("echo x >> /tmp/once", &o);
    assert_int_equal(r.code, SBX_ERR_SESSION_EXPIRED);
    e2e_free(&r);
    assert_string_equal(e2e_sh("cat /tmp/once"), "x\n");
    assert_string_equal(FAILS(sbx_command(c, &box, sbx_s("x"), &(sbx_run_opts){ .timeout_s = -2 }), SBX_ERR_ARGUMENT).field, "timeout_s");
    r = stream("echo forever", &(sbx_run_opts){ .ttl_s = SBX_NONE, .timeout_s = SBX_NONE, .idle_timeout_s = SBX_NONE });
    SAME(r.out, "forever\n");
    e2e_free(&r);
}

/* Cancelling leaves the command alone, unless it was asked to die with us. */
static void disconnect(void **state)
{
    for (int die = 0; die < 2; die++) {
        sbx_run_opts o = { .kill_on_disconnect = die };
        sbx_op op = sbx_command(c, &box, sbx_s("echo $$ > /tmp/shell; echo go; sleep 1000"), &o);
        sbx_event ev;

        while (sbx_next_of(c, &op, &ev) && ev.kind != SBX_EV_STDOUT)
            ;
        assert_int_equal(sbx_cancel(c, op), SBX_OK);
        assert_int_equal(sbx_cancel(c, op), SBX_OK);
        assert_true(sbx_next_of(c, &op, &ev));
        assert_int_equal(ev.kind, SBX_EV_END);
        assert_int_equal(ev.code, SBX_ERR_CANCELLED);
        assert_false(sbx_next_of(c, &op, &ev));
        assert_int_equal(sbx_cancel(c, op), SBX_ERR_HANDLE);
        if (die)
            assert_string_equal(e2e_sh("for i in $(seq 500); do kill -0 $(cat /tmp/shell) 2>/dev/null || { echo dead; exit; }; sleep 0.02; done"), "dead\n");
        else
            assert_string_equal(e2e_sh("kill -0 $(cat /tmp/shell) && echo alive; kill -9 $(cat /tmp/shell); pkill sleep"), "alive\n");
    }
    (void)state;
}

static void over_http(void **state)
{
    sbx_pair env[] = { { sbx_s("A"), sbx_s("x") } };
    sbx_result r = run("echo out $A; pwd; echo err >&2; exit 5", (sbx_run_opts){ .via = SBX_VIA_HTTP, .env = env, .env_n = 1, .cwd = sbx_s("/usr") });
    sbx_run_opts o = { .via = SBX_VIA_HTTP, .timeout_s = 1, .out = { buffer, sizeof buffer } };
    sbx_error e;
    char *p;

    (void)state;
    assert_string_equal(buffer, "out x\n/usr\n");
    assert_string_equal(buffer2, "err\n");
    assert_int_equal(r.exit_code, 5);
    assert_int_equal(r.out_total, 11);
    assert_string_equal(r.command_id, "");
    e = FAILS(sbx_run(c, &box, sbx_s("sleep 100"), &o, &r), SBX_ERR_COMMAND_TIMEOUT);
    assert_int_equal(e.status, 408);
    assert_string_equal(e.operation, "run");
    o.pty = true;
    assert_string_equal(FAILS(sbx_run(c, &box, sbx_s("x"), &o, &r), SBX_ERR_ARGUMENT).field, "pty");
    /* 200,000 bytes through a buffer of 16 KiB, one character in many split. */
    o = (sbx_run_opts){ .via = SBX_VIA_HTTP, .alloc = true };
    OK(sbx_run(c, &box, sbx_s("for i in $(seq 20000); do printf '€%06d\\n' $i; done"), &o, &r));
    assert_int_equal(r.out_n, 200000);
    for (unsigned i = 1, at = 0; i <= 20000; i++, at += 10) {
        char line[16];

        snprintf(line, sizeof line, "€%06u\n", i);
        assert_memory_equal(r.out_p + at, line, 10);
    }
    p = r.out_p + r.out_n;
    assert_int_equal(*p, 0);
    sbx_free(c, r.out_p);
    sbx_free(c, r.err_p);
    o = (sbx_run_opts){ .via = SBX_VIA_HTTP, .out = { buffer, 10 } };
    OK(sbx_run(c, &box, sbx_s("seq 1000"), &o, &r));
    assert_int_equal(r.out_n, 10);
    assert_int_equal(r.out_total, 3893);
    assert_true(r.out_cut);
    assert_memory_equal(buffer, "1\n2\n3\n4\n5\n", 10);
}

static void refused(void **state)
{
    sbx_result r;
    sbx_error e;
    sbx_run_opts o = { .discard = true, .shell = sbx_s("/no/such/shell") };

    (void)state;
    e = FAILS(sbx_run(c, &box, sbx_s("x"), NULL, &r), SBX_ERR_NO_BUFFER);
    assert_string_equal(e.field, "out");
    assert_false(e.sent);
    e = FAILS(sbx_run(c, &box, sbx_s("x"), &o, &r), SBX_ERR_COMMAND);
    assert_string_equal(e.type, "CommandError");
    assert_string_equal(e.text, "cannot start the command: shell: No such file or directory");
    e = FAILS(sbx_run(c, &box, sbx_s("\xff"), &(sbx_run_opts){ .discard = true }, &r), SBX_ERR_ARGUMENT);
    assert_false(e.sent);
    e = FAILS(sbx_command(c, &box, sbx_s("x"), &(sbx_run_opts){ .discard = true }), SBX_ERR_ARGUMENT);
    assert_string_equal(e.field, "out");
    {
        static char big[8192];

        memset(big, 'x', sizeof big - 1);
        e = FAILS(sbx_run(c, &box, sbx_s(big), &(sbx_run_opts){ .discard = true }, &r), SBX_ERR_TOO_LARGE);
        assert_string_equal(e.field, "request_bytes");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collected),
        cmocka_unit_test(streamed),
        cmocka_unit_test(environment),
        cmocka_unit_test(standard_input),
        cmocka_unit_test(much_input),
        cmocka_unit_test(terminal),
        cmocka_unit_test(killed),
        cmocka_unit_test(command_timeout),
        cmocka_unit_test(deadline),
        cmocka_unit_test(idempotent),
        cmocka_unit_test(attach),
        cmocka_unit_test(lifetimes),
        cmocka_unit_test(disconnect),
        cmocka_unit_test(over_http),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, e2e_begin, e2e_end);
}
