/* What the caller does to a command, and what a WebSocket peer can do wrong. */
#include "script.h"

static sim_plan running(void)
{
    sim_plan p = { 0 };

    p.until_kill = true;
    return p;
}

static void test_kill(void **state)
{
    sim_plan p = running();
    sbx_op op;

    (void)state;
    kit_start(1);
    sim_add_plan(K.s, &p);
    op = command(NULL);
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    ASSERT_CODE(sbx_kill(K.c, op), SBX_OK);
    assert_string_equal(record_rest(op), "started end(OK,-9)");
    assert_string_equal(the_command()->log.p, "ESK");
    ASSERT_CODE(sbx_kill(K.c, op), SBX_ERR_HANDLE);
    kit_end();
}

/* Given at once: it goes out when the command is known to run. */
static void test_kill_before_start(void **state)
{
    sim_plan p = running();
    sbx_op op;

    (void)state;
    kit_start(2);
    K.s->knobs.connect_ms = 500;
    K.s->knobs.delay_ms = 500;
    sim_add_plan(K.s, &p);
    op = command(NULL);
    ASSERT_CODE(sbx_kill(K.c, op), SBX_OK);
    assert_string_equal(record_all(op), "started end(OK,-9)");
    assert_string_equal(the_command()->log.p, "ESK");
    kit_end();
}

static void test_while_disconnected(void **state)
{
    sbx_run_opts o = { 0 };
    sbx_op op;

    (void)state;
    kit_start(3);
    talk(STARTED "@eof", "?reconnect\n" STARTED "?resize\n?close_stdin\n?kill\n" EXIT(-9), NULL);
    o.pty = true;
    op = command(&o);
    record_text[0] = 0;
    record_until(op, SBX_EV_RETRYING);
    ASSERT_CODE(sbx_pty_resize(K.c, op, 100, 40), SBX_OK);
    ASSERT_CODE(sbx_close_stdin(K.c, op), SBX_OK);
    ASSERT_CODE(sbx_kill(K.c, op), SBX_OK);
    assert_string_equal(record_rest(op), "started retry(CONNECTION) again end(OK,-9)");
    assert_string_equal(the_command()->log.p, "ER(0,0)Z100x40SK");
    kit_end();
}

static void test_kill_then_drop(void **state)
{
    sbx_op op;

    (void)state;
    kit_start(4);
    talk(STARTED "?close_stdin\n?kill\n@eof", NULL, NULL);
    op = command(NULL);
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    ASSERT_CODE(sbx_kill(K.c, op), SBX_OK);
    assert_string_equal(record_rest(op), "started end(CONNECTION,-1)");
    assert_int_equal(the_command()->connections, 1);
    kit_end();
}

/* The exit is waited for 10 s, however much output comes meanwhile. */
static void test_kill_wait_is_bounded(void **state)
{
    int64_t begun;
    sbx_op op;

    (void)state;
    kit_start(5);
    talk(STARTED "?close_stdin\n?kill\n@ms 4000\n" OUT("still", 0) "@ms 4000\n" OUT("here", 5) "@ms 100000\n" EXIT(0), NULL, NULL);
    op = command(NULL);
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    ASSERT_CODE(sbx_kill(K.c, op), SBX_OK);
    begun = K.s->now;
    assert_string_equal(record_rest(op), "started o0:stillhere end(DEADLINE,-1)");
    assert_int_equal(K.s->now - begun, 10000);
    kit_end();
}

/* A kill that lies in the send buffer when the stream breaks was not delivered. */
static void hold(sim *s)
{
    for (uint32_t i = 0; i < s->conn_max; i++)
        if (s->conns[i] && s->conns[i]->command && s->conns[i]->command->connections == 1)
            s->conns[i]->no_read = true;
}

static void test_kill_unsent_is_kept(void **state)
{
    sbx_op op;

    (void)state;
    kit_start(6);
    talk(STARTED "@ms 2000\n@eof", "?reconnect\n" STARTED "?close_stdin\n?kill\n" EXIT(-9), NULL);
    K.s->before_sleep = hold;
    op = command(NULL);
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    hold(K.s);
    ASSERT_CODE(sbx_kill(K.c, op), SBX_OK);
    assert_string_equal(record_rest(op), "started retry(CONNECTION) again end(OK,-9)");
    kit_end();
}

/* ---- input ---- */

static void test_input(void **state)
{
    static const char text[] = "line \"one\"\n\tl\\ine two\x01";
    sim_plan p = { 0 };
    sbx_run_opts o = { 0 };
    size_t taken;
    sbx_op op;

    (void)state;
    kit_start(7);
    p.until_eof = true;
    sim_add_plan(K.s, &p);
    o.stdin_open = true;
    op = command(&o);
    record_text[0] = 0;
    ASSERT_CODE(sbx_input(K.c, op, sbx_s("x"), &taken), SBX_OK); /* not open yet */
    assert_int_equal(taken, 0);
    record_until(op, SBX_EV_WRITABLE);
    ASSERT_CODE(sbx_input(K.c, op, sbx_s(text), &taken), SBX_OK);
    assert_int_equal(taken, sizeof text - 1);
    ASSERT_CODE(sbx_input(K.c, op, sbx_sn("a\xff", 2), &taken), SBX_OK);
    assert_int_equal(taken, 1);
    ASSERT_CODE(sbx_input(K.c, op, sbx_sn("\xff", 1), &taken), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_input(K.c, op, sbx_sn("\xe2\x82", 2), &taken), SBX_OK); /* half a character stays */
    assert_int_equal(taken, 0);
    ASSERT_CODE(sbx_close_stdin(K.c, op), SBX_OK);
    ASSERT_CODE(sbx_input(K.c, op, sbx_s("x"), &taken), SBX_ERR_STATE);
    record_rest(op);
    assert_non_null(strstr(record_text, "end(OK,0)"));
    assert_string_equal(the_command()->heard.p, "line \"one\"\n\tl\\ine two\x01" "a");
    kit_end();
}

/* Input of which nothing can be sent, since its character is not complete, keeps
   no send buffer from others. */
static void test_input_keeps_nothing(void **state)
{
    sim_plan p = { 0 };
    sbx_run_opts o = { 0 };
    sbx_op ops[2];
    size_t taken;

    (void)state;
    kit_new(7);
    K.d.buffers = 2;
    kit_open();
    p.until_kill = true;
    sim_add_plan(K.s, &p);
    o.stdin_open = true;
    for (unsigned i = 0; i < 2; i++) {
        ops[i] = command(&o);
        record_until(ops[i], SBX_EV_STARTED);
    }
    ASSERT_CODE(sbx_input(K.c, ops[0], sbx_sn("\xe2\x82", 2), &taken), SBX_OK);
    assert_int_equal(taken, 0);
    sbx_step(K.c, K.s->now);
    ASSERT_CODE(sbx_input(K.c, ops[1], sbx_s("now"), &taken), SBX_OK);
    assert_int_equal(taken, 3);
    for (unsigned i = 0; i < 2; i++) {
        ASSERT_CODE(sbx_cancel(K.c, ops[i]), SBX_OK);
        ASSERT_CODE(sbx_await(K.c, ops[i]), SBX_ERR_CANCELLED);
    }
    kit_end();
}

/* A peer that reads slowly: nothing is lost, WRITABLE says when to go on. */
static void test_input_pressure(void **state)
{
    enum { TOTAL = 100000 };
    static char text[TOTAL + 1];
    sim_plan p = { 0 };
    sbx_run_opts o = { 0 };
    size_t at = 0, waits = 0;
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_new(8);
    K.s->knobs.send_max = 700;
    K.s->knobs.block = 400;
    K.d.tx_bytes = 1024;
    kit_open();
    for (size_t i = 0; i < TOTAL; i++)
        text[i] = "abcdefghij\n\"\\ klmno"[i % 19];
    p.until_eof = true;
    sim_add_plan(K.s, &p);
    o.stdin_open = true;
    op = command(&o);
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_END) {
            ASSERT_CODE(ev.code, SBX_OK);
        } else if (ev.kind == SBX_EV_STARTED || ev.kind == SBX_EV_WRITABLE) {
            while (at < TOTAL) {
                size_t taken, n = TOTAL - at < 3000 ? TOTAL - at : 3000;

                ASSERT_CODE(sbx_input(K.c, op, sbx_sn(text + at, n), &taken), SBX_OK);
                at += taken;
                if (taken < n) {
                    waits++;
                    break;
                }
            }
            if (at == TOTAL)
                ASSERT_CODE(sbx_close_stdin(K.c, op), SBX_OK);
        }
    }
    assert_true(waits > 10);
    assert_int_equal(the_command()->heard.n, TOTAL);
    assert_memory_equal(the_command()->heard.p, text, TOTAL);
    kit_end();
}

/* An echo that reads on only while its output is read: whoever stops reading
   because it cannot write waits for ever. */
static void test_echo(void **state)
{
    enum { TOTAL = 200000 };
    sim_plan p = { 0 };
    sbx_run_opts o = { 0 };
    size_t at = 0, got = 0;
    char block[3000];
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_new(9);
    K.d.tx_bytes = 1024;
    K.d.rx_bytes = 512;
    kit_open();
    memset(block, 'e', sizeof block);
    p.until_eof = p.echo = true;
    sim_add_plan(K.s, &p);
    o.stdin_open = true;
    op = command(&o);
    while (sbx_next_of(K.c, &op, &ev)) {
        size_t taken = 1;

        if (ev.kind == SBX_EV_STDOUT) {
            assert_int_equal(ev.offset, got);
            got += ev.data.n;
            if (got == TOTAL)
                ASSERT_CODE(sbx_close_stdin(K.c, op), SBX_OK);
        } else if (ev.kind == SBX_EV_END) {
            ASSERT_CODE(ev.code, SBX_OK);
        } else {
            while (at < TOTAL && taken) {
                ASSERT_CODE(sbx_input(K.c, op, sbx_sn(block, TOTAL - at < sizeof block ? TOTAL - at : sizeof block), &taken), SBX_OK);
                at += taken;
            }
        }
    }
    assert_int_equal(at, TOTAL);
    assert_int_equal(got, TOTAL);
    kit_end();
}

/* ---- ends ---- */

static void test_errors(void **state)
{
    static const struct {
        const char *type;
        sbx_code code;
    } cases[] = { { "CommandTimeout", SBX_ERR_COMMAND_TIMEOUT }, { "CommandNotFound", SBX_ERR_COMMAND_NOT_FOUND },
                  { "SessionExpired", SBX_ERR_SESSION_EXPIRED }, { "CommandError", SBX_ERR_COMMAND }, { "Later", SBX_ERR_COMMAND } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300], out[20], err[20];
        sbx_run_opts o = { 0 };
        sbx_result r;
        sbx_op op;

        kit_start(i);
        snprintf(text, sizeof text, STARTED OUT("partial", 0) ERR("why", 0) "{\"type\":\"error\",\"error_type\":\"%s\",\"error\":\"it took \\u00e4ges\"}", cases[i].type);
        talk(text, NULL, NULL);
        o.out.p = out;
        o.out.n = sizeof out;
        o.err.p = err;
        o.err.n = 2;
        op = sbx_run(K.c, &K.box, sbx_s("x"), &o, &r);
        ASSERT_CODE(sbx_await(K.c, op), cases[i].code);
        assert_string_equal(kit_error(op).type, cases[i].type);
        assert_string_equal(kit_error(op).text, "it took \xC3\xA4ges");
        assert_int_equal(kit_error(op).resource, SBX_RESOURCE_COMMAND);
        assert_int_equal(r.out_n, 7);
        assert_memory_equal(out, "partial", 7);
        assert_int_equal(r.err_n, 2);
        assert_int_equal(r.err_total, 3);
        assert_true(r.err_cut && !r.out_cut);
        assert_memory_equal(err, "wh", 2);
        assert_int_equal(r.pid, 77);
        assert_int_equal(r.exit_code, -1);
        kit_end();
    }
}

static void test_cancel(void **state)
{
    sim_plan p = running();
    sbx_event ev;
    sbx_op op;

    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        kit_start(turns);
        K.s->knobs.connect_ms = 10;
        K.s->knobs.delay_ms = 10;
        K.s->knobs.recv_max = 20;
        sim_add_plan(K.s, &p);
        op = command(NULL);
        for (unsigned i = 0; i < turns; i++)
            sbx_wait(K.c, 5);
        ASSERT_CODE(sbx_cancel(K.c, op), SBX_OK);
        ASSERT_CODE(sbx_cancel(K.c, op), SBX_OK);
        assert_true(sbx_next(K.c, &ev));
        assert_int_equal(ev.kind, SBX_EV_END);
        ASSERT_CODE(ev.code, SBX_ERR_CANCELLED);
        assert_false(sbx_next(K.c, &ev));
        ASSERT_CODE(sbx_cancel(K.c, op), SBX_ERR_HANDLE);
        kit_end();
    }
}

/* ---- a peer that breaks the protocol ---- */

static void test_violations(void **state)
{
    static const struct {
        const char *talk;
        int code;
    } cases[] = {
        { "@hex 8184 01020304 7a797877", 1002 },   /* masked */
        { "@hex c1 02 7b7d", 1002 },               /* RSV1 */
        { "@hex 83 00", 1002 },                    /* reserved opcode */
        { "@hex 09 00", 1002 },                    /* a ping in fragments */
        { "@hex 89 7e 0080", 1002 },               /* a ping of 128 bytes */
        { "@hex 80 00", 1002 },                    /* a continuation of nothing */
        { "@hex 01 01 7b 81 01 7d", 1002 },        /* a message inside a message */
        { "@hex 88 01 03", 1002 },                 /* close of one byte */
        { "@hex 88 02 03ed", 1002 },               /* close code 1005 */
        { "@hex 81 7e 0001 7b", 1002 },            /* length not in its shortest form */
        { "@hex 81 7f 8000000000000000", 1002 },
        { "{\"type\":\"stdout\",\"data\":\"\xff\"}", 1007 },
        { "{\"type\":\"stdout\",\"data\":\"\xc3\"}", 1007 },
        { "{\"type\":\"stdout\",\"data\":\"\xed\xa0\x80\"}", 1007 },
        { "{\"type\":\"stdout\",\"data\":\"\\q\"}", 1002 },
        { "{\"type\":\"stdout\",\"data\":\"a\"", 1002 },
        { "{\"type\":\"stdout\",\"data\":\"a\"}}", 1002 },
        { "hello", 1002 },
        { "@hex 81 00", 1002 },                    /* an empty text message is no JSON */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        sbx_op op;

        kit_start(i);
        snprintf(text, sizeof text, STARTED "%s\n@ms 3600000\n", cases[i].talk);
        talk(text, NULL, NULL);
        op = command(NULL);
        record_all(op);
        if (kit_error(op).code != SBX_ERR_PROTOCOL)
            fail_msg("%s: %s", cases[i].talk, record_text);
        sbx_wait(K.c, 100);
        if (K.s->close_code != cases[i].code)
            fail_msg("%s: closed with %d", cases[i].talk, K.s->close_code);
        assert_int_equal(the_command()->connections, 1);
        kit_end();
    }
}

/* What is no message of ours is passed over. */
static void test_ignored(void **state)
{
    (void)state;
    kit_start(1);
    talk(STARTED "@hex 8a 03 616263\n{\"type\":5}\n[]\n\"x\"\n17\n{\"type\":\"exit\",\"exit_code\":7,\"exit_code\":8}", NULL, NULL);
    assert_string_equal(record_all(command(NULL)), "started end(OK,8)");
    kit_end();
}

static void test_ping_storm(void **state)
{
    unsigned pongs;

    (void)state;
    kit_new(9);
    K.d.tx_bytes = 1024;
    kit_open();
    K.s->knobs.send_max = 5;
    K.s->knobs.block = 300;
    talk(STARTED "@ping 1000\n" OUT("a", 0) "@ping 500\n@ms 50000\n" EXIT(0), NULL, NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:a end(OK,0)");
    pongs = K.s->pongs;
    assert_int_equal(pongs, 1500);
    kit_end();
}

/* 64 MiB in one message, through a buffer of 4 KiB. */
static void test_huge(void **state)
{
    const uint64_t total = (uint64_t)64 << 20;
    uint64_t at = 0;
    sbx_event ev;
    sbx_op op;
    size_t memory;

    (void)state;
    kit_new(10);
    K.d.rx_bytes = 4096;
    K.d.max_ops = K.d.max_links = K.d.max_requests = 2;
    kit_open();
    talk(STARTED "@huge 67108864\n" EXIT(0), NULL, NULL);
    op = command(NULL);
    while (sbx_next_of(K.c, &op, &ev))
        if (ev.kind == SBX_EV_STDOUT) {
            assert_int_equal(ev.offset, at);
            assert_true(ev.data.n <= 4096 && ev.data.p[0] == 'x' && ev.data.p[ev.data.n - 1] == 'x');
            at += ev.data.n;
        } else if (ev.kind == SBX_EV_END) {
            ASSERT_CODE(ev.code, SBX_OK);
        }
    assert_int_equal(at, total);
    memory = sbx_client_size(&K.d);
    assert_true(memory < 64 * 1024);
    kit_end();
}

/* A ping of which a part has come: its pong stands half in the send buffer. Who
   wants to write is not told that it can, again and again. */
static void test_half_a_ping(void **state)
{
    sim_plan p = { 0 };
    sbx_run_opts o = { 0 };
    size_t taken;
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_start(1);
    p.until_eof = true;
    sim_add_plan(K.s, &p);
    o.stdin_open = true;
    op = command(&o);
    while (sbx_next_of(K.c, &op, &ev) && ev.kind != SBX_EV_STARTED) {
    }
    sim_conn_write(the_command()->conn, "\x89\x03" "ab", 4, K.s->now);
    for (int i = 0; i < 10; i++) {
        assert_false(sbx_next(K.c, &ev));
        sbx_wait(K.c, 1);
    }
    ASSERT_CODE(sbx_input(K.c, op, sbx_s("hello"), &taken), SBX_OK);
    assert_int_equal(taken, 0);
    assert_false(sbx_next(K.c, &ev));
    assert_true(sbx_next_deadline(K.c) > K.s->now); /* it can sleep */
    sim_conn_write(the_command()->conn, "c", 1, K.s->now);
    assert_true(sbx_next_of(K.c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_WRITABLE);
    ASSERT_CODE(sbx_input(K.c, op, sbx_s("hello"), &taken), SBX_OK);
    assert_int_equal(taken, 5);
    ASSERT_CODE(sbx_close_stdin(K.c, op), SBX_OK);
    record_text[0] = 0;
    assert_string_equal(record_rest(op), "end(OK,0)");
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill), cmocka_unit_test(test_kill_before_start), cmocka_unit_test(test_while_disconnected),
        cmocka_unit_test(test_kill_then_drop), cmocka_unit_test(test_kill_wait_is_bounded), cmocka_unit_test(test_kill_unsent_is_kept),
        cmocka_unit_test(test_input_keeps_nothing), cmocka_unit_test(test_input), cmocka_unit_test(test_input_pressure), cmocka_unit_test(test_echo), cmocka_unit_test(test_errors), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_violations), cmocka_unit_test(test_ignored), cmocka_unit_test(test_ping_storm), cmocka_unit_test(test_huge), cmocka_unit_test(test_half_a_ping),
    };

    return cmocka_run_group_tests_name("control of a command", tests, NULL, NULL);
}
