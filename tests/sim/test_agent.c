/* The SSH agent's channels of a command: events, answers, what is malformed. */
#include "script.h"

static sbx_op with_agent(void)
{
    sbx_run_opts o = { 0 };

    o.ssh_agent_forward = true;
    return command(&o);
}

#define DATA(id, base64) "{\"type\":\"ssh_agent_data\",\"channel_id\":\"" id "\",\"data\":\"" base64 "\"}\n"
#define CLOSE(id) "{\"type\":\"ssh_agent_close\",\"channel_id\":\"" id "\"}\n"

static void test_events(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        kit_new(1);
        K.d.rx_bytes = 512;
        kit_open();
        K.s->knobs.recv_max = way == 1 ? 1 : 0;
        K.s->knobs.block = way == 2 ? 300 : 0;
        /* keys in this order and sorted; empty data; other output between; an id that needs escaping; no id */
        talk("?\"ssh_agent_forward\":true\n" STARTED DATA("ch-1", "aGVsbG8=") OUT("x", 0) DATA("ch-1", "")
             "{\"channel_id\":\"ch-2\",\"data\":\"AAEC\\/w==\",\"type\":\"ssh_agent_data\"}\n" CLOSE("ch-1") DATA("", "aGVsbG8=")
             "{\"type\":\"ssh_agent_data\",\"data\":\"aGVsbG8=\"}\n" CLOSE("a\\\"\\u00e9") "{\"type\":\"ssh_agent_other\",\"channel_id\":\"ch-1\"}\n" CLOSE("") EXIT(0), NULL, NULL);
        record_all(with_agent());
        /* "\0\1\2\377" ends as text at its first byte */
        assert_string_equal(record_text, " started a(ch-1:hello) o0:x a(ch-2:) close(ch-1) close(a\"\xC3\xA9) end(OK,0)");
        kit_end();
    }
}

static void test_twice(void **state)
{
    (void)state;
    kit_start(2);
    talk(STARTED "{\"type\":\"ssh_agent_data\",\"channel_id\":\"no\",\"data\":\"AAAA\",\"channel_id\":\"ch\",\"data\":\"aGVsbG8=\"}\n"
         "@frag 4 {\"type\":\"ssh_agent_data\",\"channel_id\":\"no\",\"channel_id\":\"ch\",\"data\":\"aGVsbG8=\"}\n" EXIT(0), NULL, NULL);
    record_all(with_agent());
    assert_string_equal(record_text, " started a(ch:hello) a(ch:he) a(ch:llo) end(OK,0)");
    kit_end();
    kit_start(2);
    talk(STARTED "@frag 4 {\"type\":\"ssh_agent_data\",\"channel_id\":\"ch\",\"data\":\"AAAA\",\"data\":\"aGVsbG8=\"}\n" EXIT(0), NULL, NULL);
    assert_non_null(strstr(record_all(with_agent()), "end(PROTOCOL,-1)"));
    kit_end();
}

static void test_ignored_unless_asked_for(void **state)
{
    sbx_run_opts o = { 0 };

    (void)state;
    kit_start(1);
    talk("?\"pty\":true}\n" STARTED DATA("ch-1", "not base64!") CLOSE("ch-1") EXIT(0), NULL, NULL);
    o.pty = true;
    assert_string_equal(record_all(command(&o)), "started end(OK,0)");
    kit_end();
}

/* A message larger than any buffer, in one frame and in many, in all pieces. */
static void test_streams(void **state)
{
    static char line[20000], bytes[9001];
    sim_bytes base64 = { NULL, 0, 0 };
    uint64_t seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (char)(seed >> 33);
    }
    sim_base64(&base64, bytes, sizeof bytes);
    for (unsigned way = 0; way < 24; way++) {
        size_t at = 0;
        unsigned events = 0;
        sbx_event ev;
        sbx_op op;

        kit_new(way);
        K.d.rx_bytes = 512 + 37 * (way % 5);
        kit_open();
        K.s->knobs.recv_max = way % 3 ? way * 20 : 0;
        K.s->knobs.block = way % 2 ? 200 : 0;
        snprintf(line, sizeof line, STARTED "%s{\"type\":\"ssh_agent_data\",\"channel_id\":\"big\",\"data\":\"%s\",\"more\":[{}]}\n" CLOSE("big") EXIT(0),
                 way < 12 ? "" : "@frag 333 ", base64.p);
        talk(line, NULL, NULL);
        op = with_agent();
        while (sbx_next_of(K.c, &op, &ev)) {
            if (ev.kind == SBX_EV_AGENT_DATA) {
                assert_int_equal(ev.channel.n, 3);
                assert_memory_equal(ev.channel.p, "big", 3);
                assert_true(ev.data.n && ev.data.n <= sizeof bytes - at);
                assert_memory_equal(ev.data.p, bytes + at, ev.data.n);
                at += ev.data.n;
                events++;
            } else if (ev.kind == SBX_EV_AGENT_CLOSE) {
                assert_int_equal(at, sizeof bytes);
            } else if (ev.kind == SBX_EV_END) {
                ASSERT_CODE(ev.code, SBX_OK);
            }
        }
        assert_true(events > 10);
        kit_end();
    }
    free(base64.p);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *talk, *text;
        sbx_code code;
    } cases[] = {
        { STARTED DATA("c", "aGVsb*8="), "base64", SBX_ERR_PROTOCOL },
        { STARTED DATA("c", "aGVsbG8"), "base64", SBX_ERR_PROTOCOL },
        { STARTED DATA("c", "aGVsbG8=a"), "base64", SBX_ERR_PROTOCOL },
        { STARTED "@frag 9 " DATA("c", "aGVsbG8"), "base64", SBX_ERR_PROTOCOL },
        { STARTED "@frag 40 {\"type\":\"ssh_agent_data\",\"data\":\"aGVsbG8=\",\"channel_id\":\"c\"}\n", "channel", SBX_ERR_TOO_LARGE },
        { STARTED "@frag 40 {\"data\":\"aGVsbG8=aGVsbG8=aGVsbG8=aGVsbG8=aGVsbG8=\",\"type\":\"ssh_agent_data\",\"channel_id\":\"c\"}\n", "type", SBX_ERR_TOO_LARGE },
        { STARTED DATA("0123456789012345678901234567890123456789012345678901234567890123", "aGVsbG8="), "63", SBX_ERR_TOO_LARGE },
        { STARTED CLOSE("0123456789012345678901234567890123456789012345678901234567890123"), "63", SBX_ERR_TOO_LARGE },
        { STARTED "@frag 5 " CLOSE("0123456789012345678901234567890123456789012345678901234567890123"), "63", SBX_ERR_TOO_LARGE },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        sbx_event ev = { 0 };
        sbx_error e;
        sbx_op op;

        kit_start(i);
        talk(cases[i].talk, NULL, NULL);
        op = with_agent();
        while (sbx_next_of(K.c, &op, &ev))
            assert_int_not_equal(ev.kind, SBX_EV_AGENT_CLOSE);
        e = kit_error(op);
        if (e.code != cases[i].code || !strstr(e.text, cases[i].text))
            fail_msg("case %u: %s %s", i, sbx_code_name(e.code), e.text);
        kit_end();
    }
}

/* ---- answers ---- */

static void test_answers(void **state)
{
    size_t taken;
    sbx_op op;

    (void)state;
    kit_start(1);
    talk(STARTED DATA("ch/1", "aGVsbG8=") "?\"close_stdin\"\n?{\"type\":\"ssh_agent_data\",\"channel_id\":\"ch/1\",\"data\":\"d29ybGQ=\"}\n"
         "?{\"type\":\"ssh_agent_data\",\"channel_id\":\"a\\\"b\\u0001\",\"data\":\"AP8=\"}\n?{\"type\":\"ssh_agent_close\",\"channel_id\":\"ch/1\"}\n" EXIT(0), NULL, NULL);
    op = with_agent();
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("ch/1"), sbx_s("early"), &taken), SBX_OK);
    assert_int_equal(taken, 0); /* not before it is started */
    ASSERT_CODE(sbx_agent_close(K.c, op, sbx_s("ch/1")), SBX_ERR_FULL);
    record_text[0] = 0;
    record_until(op, SBX_EV_AGENT_DATA);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("ch/1"), sbx_s("world"), &taken), SBX_OK);
    assert_int_equal(taken, 5);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("ch/1"), sbx_s(""), &taken), SBX_OK);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("a\"b\1"), sbx_sn("\0\377", 2), &taken), SBX_OK);
    ASSERT_CODE(sbx_agent_close(K.c, op, sbx_s("ch/1")), SBX_OK);
    record_rest(op);
    assert_string_equal(record_text, " started writable a(ch/1:hello) end(OK,0)");
    assert_string_equal(the_command()->log.p, "ESA(ch/1 d29ybGQ=)A(a\"b\1 AP8=)C(ch/1 )");
    kit_end();
}

/* More than the send buffer holds, to a peer that takes it slowly. */
static void test_large_answer(void **state)
{
    static char bytes[20000], got[40000];
    sim_bytes base64 = { NULL, 0, 0 };
    size_t at = 0, n = 0;
    const char *p;
    sbx_event ev;
    sbx_op op;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    kit_new(1);
    K.d.tx_bytes = 1024;
    K.d.buffers = 2;
    kit_open();
    K.s->knobs.send_max = 300;
    K.s->knobs.block = 300;
    {
        sim_plan plan = { 0 };

        plan.until_kill = true;
        sim_add_plan(K.s, &plan);
    }
    op = with_agent();
    while (sbx_next_of(K.c, &op, &ev)) {
        size_t taken;

        if (ev.kind != SBX_EV_STARTED && ev.kind != SBX_EV_WRITABLE)
            continue;
        ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("c"), sbx_sn(bytes + at, sizeof bytes - at), &taken), SBX_OK);
        at += taken;
        if (at == sizeof bytes)
            sbx_kill(K.c, op);
    }
    assert_int_equal(at, sizeof bytes);
    /* Each message is base64 of its own: whole groups of three bytes but for the last. */
    for (p = the_command()->log.p; (p = strstr(p, "A(c ")) != NULL;)
        for (p += 4; *p != ')'; p++)
            got[n++] = *p;
    sim_base64(&base64, bytes, sizeof bytes);
    assert_int_equal(n, base64.n);
    assert_memory_equal(got, base64.p, n);
    free(base64.p);
    kit_end();
}

static void test_goes_on_after_a_drop(void **state)
{
    size_t taken;
    sbx_op op;

    (void)state;
    kit_start(1);
    talk(STARTED DATA("c", "YQ==") "@rst\n", "?\"reconnect\"\n" STARTED DATA("d", "Yg==") "?\"close_stdin\"\n?\"d\"\n" EXIT(0), NULL);
    op = with_agent();
    record_text[0] = 0;
    record_until(op, SBX_EV_RECONNECTED);
    record_until(op, SBX_EV_AGENT_DATA);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("d"), sbx_s("b"), &taken), SBX_OK);
    assert_int_equal(taken, 1);
    record_rest(op);
    assert_string_equal(record_text, " started a(c:a) retry(CONNECTION) again a(d:b) end(OK,0)");
    kit_end();
}

static void test_refusals(void **state)
{
    static const char long_id[] = "0123456789012345678901234567890123456789012345678901234567890123";
    sbx_run_opts o = { 0 };
    size_t taken;
    sbx_op op, plain;

    (void)state;
    kit_start(1);
    o.ssh_agent_forward = o.discard = true;
    assert_string_equal(kit_error(sbx_run(K.c, &K.box, sbx_s("x"), &o, NULL)).field, "ssh_agent_forward");
    o.via = SBX_VIA_HTTP;
    assert_string_equal(kit_error(sbx_run(K.c, &K.box, sbx_s("x"), &o, NULL)).field, "ssh_agent_forward");
    talk(STARTED, NULL, NULL);
    op = with_agent();
    plain = command(NULL);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s(""), sbx_s("x"), &taken), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s(long_id), sbx_s("x"), &taken), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_agent_close(K.c, op, sbx_s(long_id)), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_agent_send(K.c, plain, sbx_s("c"), sbx_s("x"), &taken), SBX_ERR_STATE);
    ASSERT_CODE(sbx_agent_close(K.c, plain, sbx_s("c")), SBX_ERR_STATE);
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("\xff"), sbx_s("x"), &taken), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_agent_close(K.c, op, sbx_s("c\xff")), SBX_ERR_ARGUMENT);
    sbx_cancel(K.c, op);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("c"), sbx_s("x"), &taken), SBX_ERR_STATE);
    record_rest(op);
    ASSERT_CODE(sbx_agent_send(K.c, op, sbx_s("c"), sbx_s("x"), &taken), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_agent_close(K.c, op, sbx_s("c")), SBX_ERR_HANDLE);
    sbx_cancel(K.c, plain);
    record_rest(plain);
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events), cmocka_unit_test(test_twice), cmocka_unit_test(test_ignored_unless_asked_for), cmocka_unit_test(test_streams), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_large_answer), cmocka_unit_test(test_goes_on_after_a_drop), cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
