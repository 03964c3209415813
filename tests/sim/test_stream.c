/* One command's stream, scripted: opening, dropping, reattaching, positions. */
#include "script.h"

static void test_plain(void **state)
{
    sbx_run_opts o = { 0 };
    const sim_request *r;
    sbx_pair env = { { "A", 1 }, { "b \"c\"", 5 } };
    char text[100];

    (void)state;
    kit_start(1);
    talk("?\"type\":\"execute\"\n" STARTED OUT("ab", 0) ERR("x", 0) OUT("c", 2) EXIT(-3), NULL, NULL);
    o.env = &env;
    o.env_n = 1;
    o.cwd = sbx_s("/tmp");
    assert_string_equal(record_all(command(&o)), "started o0:ab e0:x o2:c end(OK,-3)");
    r = kit_request(0);
    assert_string_equal(r->target, "/b/one/execute/ws");
    assert_string_equal(sim_header(r, "X-Api-Key", text, sizeof text), "key-1");
    assert_string_equal(the_command()->log.p, "ES");
    kit_end();
}

/* A server that says nothing before the output; its first message comes in parts. */
static void test_start_unsaid(void **state)
{
    sim_knobs knobs = { 0 };

    (void)state;
    for (unsigned most = 0; most < 4; most++) {
        knobs.recv_max = most;
        kit_start(2);
        K.s->knobs = knobs;
        talk("@frag 26 " OUT("ab", 0) "@rst", "@frag 26 " OUT("cd", 2) EXIT(0), NULL);
        assert_string_equal(record_all(command(NULL)), "started o0:ab retry(CONNECTION) again o2:cd end(OK,0)");
        kit_end();
    }
}

/* An exit is a result, also of a command of which nothing was heard before. */
static void test_exit_alone(void **state)
{
    sbx_run_opts o = { 0 };
    sbx_result r;

    (void)state;
    kit_start(2);
    memset(&r, 0x5A, sizeof r);
    talk(EXIT(3), NULL, NULL);
    o.discard = true;
    ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_s("true"), &o, &r)), SBX_OK);
    assert_int_equal(r.exit_code, 3);
    assert_int_equal(r.out_n, 0);
    kit_end();
}

/* ---- opening ---- */

static void test_open_rejected(void **state)
{
    static const struct {
        int status;
        const char *body;
        sbx_code code;
        const char *text;
        unsigned requests;
    } cases[] = {
        { 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, "Not Found", 1 },
        { 401, "{\"detail\":{\"message\":\"bad key\",\"error_id\":\"E-17\"}}", SBX_ERR_AUTH, "bad key (error_id E-17)", 1 },
        { 403, "{\"detail\":{\"message\":\"no\",\"error_id\":\"E-18\"}}", SBX_ERR_PERMISSION, "no (error_id E-18)", 1 },
        { 400, "{\"error\":\"BadRequest\",\"message\":\"both\"}", SBX_ERR_VALIDATION, "both", 1 },
        { 200, "{}", SBX_ERR_PROTOCOL, NULL, 1 },
        { 500, "oops", SBX_ERR_SERVER, NULL, 6 },
        { 502, "<html>", SBX_ERR_SERVER, NULL, 6 },
        { 503, "{\"detail\":{\"message\":\"later\"}}", SBX_ERR_SERVER, "later", 6 },
        { 504, "", SBX_ERR_SERVER, NULL, 6 },
        { 429, "{\"detail\":\"slow down\"}", SBX_ERR_QUOTA, "slow down", 6 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sim_script e = { 0 };
        sbx_result r;
        sbx_run_opts o = { 0 };
        sbx_op op;

        kit_start(i);
        e.status = cases[i].status;
        e.body = cases[i].body;
        e.times = -1;
        sim_expect(K.s, &e);
        o.discard = true;
        op = sbx_run(K.c, &K.box, sbx_s("x"), &o, &r);
        ASSERT_CODE(sbx_await(K.c, op), cases[i].code);
        assert_int_equal(K.s->request_n, cases[i].requests);
        assert_int_equal(kit_error(op).status, cases[i].status);
        if (cases[i].text)
            assert_string_equal(kit_error(op).text, cases[i].text);
        kit_end();
    }
}

static void test_retry_after(void **state)
{
    sbx_run_opts o = { 0 };
    int64_t begun;

    (void)state;
    kit_start(3);
    kit_expect("/execute/ws", 503, "Retry-After: 20\r\n", "{}");
    kit_expect("/execute/ws", 429, "Retry-After: 7\r\n", "{}");
    talk(STARTED EXIT(0), NULL, NULL);
    begun = K.s->now;
    assert_string_equal(record_all(command(NULL)), "retry(SERVER) retry(QUOTA) started end(OK,0)");
    assert_int_equal(K.s->now - begun, 27000);
    kit_end();

    /* Not beyond the total deadline: then it fails at once. */
    kit_start(3);
    kit_expect("/execute/ws", 503, "Retry-After: 20\r\n", "{\"detail\":\"busy\"}");
    o.call.total_ms = 15000;
    begun = K.s->now;
    assert_string_equal(record_all(command(&o)), "end(SERVER,-1)");
    assert_int_equal(K.s->now, begun);
    kit_end();
}

static void test_open_budget(void **state)
{
    sim_script e = { 0 };
    int64_t begun;

    (void)state;
    kit_new(4);
    K.d.ws_connect_budget_ms = 50000;
    kit_open();
    e.no_answer = true;
    e.times = -1;
    sim_expect(K.s, &e);
    begun = K.s->now;
    assert_string_equal(record_all(command(NULL)), "retry(DEADLINE) end(DEADLINE,-1)");
    assert_true(K.s->now - begun >= 50000 && K.s->now - begun <= 61000);
    kit_end();
}

/* A break before `started`: the same command again, whose id makes it one. */
static void test_execute_again(void **state)
{
    (void)state;
    kit_start(5);
    talk("?\"type\":\"execute\"\n@rst", "?\"type\":\"execute\"\n@close 1000", "?\"command_id\":\"$ID\"\n" STARTED OUT("a", 0) EXIT(0));
    assert_string_equal(record_all(command(NULL)), "retry(CONNECTION) retry(CONNECTION) started o0:a end(OK,0)");
    assert_int_equal(the_command()->executes, 3);
    kit_end();
}

static void test_started_names_another(void **state)
{
    char id[37];
    sbx_op op;

    (void)state;
    kit_start(6);
    /* The first one is the server's choice; after a reconnect only ours counts. */
    talk("{\"type\":\"news\",\"command_id\":\"no\"}\n{\"type\":\"started\",\"command_id\":\"older-server\",\"pid\":5}\n" OUT("a", 0) "@ms 10\n@rst",
         "?\"command_id\":\"older-server\",\"stdout_offset\":1,\"stderr_offset\":0\n{\"type\":\"started\",\"command_id\":\"not-mine\",\"pid\":6}\n@ms 20\n@rst",
         STARTED OUT("b", 1) EXIT(0));
    K.s->plans[0].id = "older-server";
    op = command(NULL);
    record_text[0] = 0;
    record_until(op, SBX_EV_STDOUT);
    ASSERT_CODE(sbx_command_position(K.c, op, id, NULL, NULL), SBX_OK);
    assert_string_equal(id, "older-server");
    assert_string_equal(record_rest(op), "started o0:a retry(CONNECTION) retry(CONNECTION) again o1:b end(OK,0)");
    assert_int_equal(the_command()->connections, 3);
    kit_end();
}

/* ---- dropping ---- */

static void test_close_codes(void **state)
{
    static const struct {
        const char *talk;
        bool at_once;
    } cases[] = { { STARTED OUT("a", 0) "@close 1001", true }, { STARTED OUT("a", 0) "@close 1000", false },
                  { STARTED OUT("a", 0) "@close 1011", false }, { STARTED OUT("a", 0) "@eof", false }, { STARTED OUT("a", 0) "@rst", false } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t begun;

        kit_start(i);
        talk(cases[i].talk, "?\"stdout_offset\":1,\"stderr_offset\":0\n" STARTED OUT("b", 1) EXIT(0), NULL);
        begun = K.s->now;
        assert_string_equal(record_all(command(NULL)), "started o0:a retry(CONNECTION) again o1:b end(OK,0)");
        if (cases[i].at_once)
            assert_int_equal(K.s->now - begun, 0);
        else
            assert_true(K.s->now - begun >= 250 && K.s->now - begun <= 500);
        kit_end();
    }
}

static void test_five_drops(void **state)
{
    sbx_usage u;

    (void)state;
    kit_start(8);
    talk(STARTED OUT("a", 0) "@rst", "@rst", NULL);
    assert_string_equal(record_all(command(NULL)),
                        "started o0:a retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) end(CONNECTION,-1)");
    assert_int_equal(the_command()->connections, 6);
    sbx_get_usage(K.c, &u);
    assert_true(K.s->now - 1000 >= 7750 && K.s->now - 1000 <= 15500); /* 0.5 + 1 + 2 + 4 + 8 s, jittered */
    kit_end();
}

/* A `started`, or output, refills the budget. */
static void test_progress_refills(void **state)
{
    sim_plan p = { 0 };
    int i;

    (void)state;
    kit_start(9);
    p.talk[0] = STARTED "@rst";
    for (i = 1; i < 5; i++)
        p.talk[i] = "@rst";
    p.talk[5] = OUT("a", 0) "@rst"; /* an older server that acknowledges nothing */
    for (i = 6; i < 9; i++)
        p.talk[i] = "@rst";
    p.talk[9] = STARTED OUT("b", 1) EXIT(2);
    sim_add_plan(K.s, &p);
    assert_string_equal(record_all(command(NULL)),
                        "started retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) again o0:a "
                        "retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) again o1:b end(OK,2)");
    kit_end();
}

static void test_no_reconnect(void **state)
{
    sbx_run_opts o = { 0 };

    (void)state;
    kit_start(10);
    talk(STARTED OUT("a", 0) "@close 1001", NULL, NULL);
    o.no_reconnect = true;
    assert_string_equal(record_all(command(&o)), "started o0:a end(CONNECTION,-1)");
    kit_end();
}

/* A reattach keeps the call's headers and the answer classes of opening. */
static void test_reattach_refused(void **state)
{
    static const struct {
        int status;
        sbx_code code;
    } cases[] = { { 401, SBX_ERR_AUTH }, { 403, SBX_ERR_PERMISSION }, { 404, SBX_ERR_NO_ENDPOINT } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        sbx_run_opts o = { 0 };
        sbx_header h = { { "X-Mine", 6 }, { "yes", 3 } };
        sim_script e = { 0 };
        char text[40];
        sbx_op op;

        kit_start(i);
        talk(STARTED OUT("a", 0) "@rst", NULL, NULL);
        e.skip = 1;
        e.status = cases[i].status;
        e.body = "{\"detail\":\"gone\"}";
        sim_expect(K.s, &e);
        o.call.headers = &h;
        o.call.headers_n = 1;
        op = command(&o);
        record_text[0] = 0;
        record_rest(op);
        assert_int_equal(kit_error(op).code, cases[i].code);
        assert_int_equal(K.s->request_n, 2);
        assert_string_equal(sim_header(kit_request(0), "X-Mine", text, sizeof text), "yes");
        kit_end();
    }
}

/* ---- timers ---- */

static void test_silent_stream(void **state)
{
    (void)state;
    kit_start(11);
    talk(STARTED "@ms 3600000\n" EXIT(0), NULL, NULL);
    assert_string_equal(record_all(command(NULL)), "started end(OK,0)");
    assert_true(K.s->pings >= 119 && K.s->pings <= 120); /* one each 30 s */
    kit_end();
}

static void freeze(sim *s)
{
    /* The peer is dead: nothing that is sent arrives. */
    for (uint32_t i = 0; i < s->conn_max; i++)
        if (s->conns[i] && s->conns[i]->command && s->conns[i]->command->connections == 1)
            s->conns[i]->ws = false, s->conns[i]->in_body = true, s->conns[i]->body_left = 1u << 30;
}

static void test_pong_deadline(void **state)
{
    (void)state;
    kit_start(12);
    talk(STARTED OUT("a", 0), STARTED EXIT(0), NULL);
    K.s->before_sleep = freeze;
    assert_string_equal(record_all(command(NULL)), "started o0:a retry(DEADLINE) again end(OK,0)");
    assert_true(K.s->now - 1000 >= 90000 && K.s->now - 1000 <= 91000); /* ping after 30 s, 60 s for its pong */
    kit_end();
}

/* Half a message has come, then the peer died: it is no pause of the caller's. */
static void test_pong_deadline_in_message(void **state)
{
    (void)state;
    kit_start(12);
    talk(STARTED "@hex 817e0100 7b22", STARTED EXIT(0), NULL);
    K.s->before_sleep = freeze;
    assert_string_equal(record_all(command(NULL)), "started retry(DEADLINE) again end(OK,0)");
    assert_true(K.s->now - 1000 <= 91000);
    kit_end();
}

/* A transport that cannot wait, in a loop that steps each second: its links
   are tried in every turn, which says nothing about what came. */
static sbx_transport stepped(void)
{
    sbx_transport t = sim_transport;

    t.wait = NULL;
    return t;
}

/* Steps and pulls until the END, or for so many seconds. */
static const char *step_and_record(unsigned seconds, bool dead)
{
    sbx_event ev;

    for (bool over = false; seconds-- && !over; K.s->now += 1000) {
        sbx_step(K.c, K.s->now);
        while (sbx_next(K.c, &ev)) {
            record(&ev);
            over = ev.kind == SBX_EV_END;
        }
        if (dead)
            freeze(K.s);
    }
    return record_text + (record_text[0] == ' ');
}

static void test_pong_deadline_without_wait(void **state)
{
    sbx_transport t = stepped();

    (void)state;
    kit_new(12);
    K.d.transport = &t;
    kit_open();
    talk(STARTED OUT("a", 0), STARTED EXIT(0), NULL);
    command(NULL);
    record_text[0] = 0;
    assert_string_equal(step_and_record(200, true), "started o0:a retry(DEADLINE) again end(OK,0)");
    kit_end();
}

/* The program slept while a pong was due: what came meanwhile counts. */
static void test_late_step_without_wait(void **state)
{
    sbx_transport t = stepped();

    (void)state;
    kit_new(12);
    K.d.transport = &t;
    kit_open();
    talk(STARTED "@ms 3600000\n" EXIT(0), NULL, NULL);
    command(NULL);
    record_text[0] = 0;
    for (unsigned i = 0; i < 10; i++) {
        step_and_record(31, false);
        K.s->now += 200000;
    }
    assert_string_equal(record_text, " started");
    assert_int_equal(K.s->accepted, 1);
    K.s->client = NULL;
    sbx_close(K.c);
    K.c = NULL;
    kit_end();
}

/* A transport whose wait names a connection each time, whether or not anything
   came, in a program that pulls. */
static int waits_loudly(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    int n = sim_transport.wait(ctx, timeout_ms, ready, max);

    if (n || max < 1)
        return n;
    ready[0].tag = 0;
    ready[0].bits = SBX_READABLE;
    return 1;
}

static void test_pong_deadline_with_a_loud_wait(void **state)
{
    sbx_transport t = sim_transport;
    sbx_event ev;

    (void)state;
    t.wait = waits_loudly;
    kit_new(12);
    K.d.transport = &t;
    kit_open();
    talk(STARTED OUT("a", 0), STARTED EXIT(0), NULL);
    command(NULL);
    record_text[0] = 0;
    ev.kind = SBX_EV_NONE;
    for (unsigned i = 0; i < 200 && ev.kind != SBX_EV_END; i++) {
        while (sbx_next(K.c, &ev))
            record(&ev);
        sbx_wait(K.c, 1000);
        freeze(K.s);
    }
    assert_string_equal(record_text, " started o0:a retry(DEADLINE) again end(OK,0)");
    kit_end();
}

/* A ping that finds no room, since the peer takes nothing for a while, goes out
   when there is some. */
static void test_ping_late(void **state)
{
    static char much[845], script[1200];
    sbx_run_opts o = { 0 };
    size_t taken, n;
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_new(13);
    K.d.tx_bytes = 1024;
    K.d.ws_ping_ms = 10000;
    kit_open();
    /* Pongs take the room that the input leaves. */
    n = (size_t)sprintf(script, "%s@ms 3000\n@hex 8900 897d", STARTED);
    memset(script + n, '3', 250);
    sprintf(script + n + 250, "\n@ms 60000\n%s", EXIT(0));
    talk(script, NULL, NULL);
    o.stdin_open = true;
    op = command(&o);
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    K.s->commands[0]->conn->no_read = true;
    memset(much, 'x', sizeof much);
    ASSERT_CODE(sbx_input(K.c, op, sbx_sn(much, sizeof much), &taken), SBX_OK);
    assert_int_equal(taken, sizeof much);
    for (ev.kind = SBX_EV_NONE; ev.kind != SBX_EV_END && K.s->now < 200000; sbx_wait(K.c, 1000)) {
        while (sbx_next(K.c, &ev))
            record(&ev);
        if (K.s->now >= 41000 && K.s->commands[0]->conn)
            K.s->commands[0]->conn->no_read = false;
    }
    assert_string_equal(record_text, " started end(OK,0)");
    assert_int_equal(K.s->pings, 1);
    kit_end();
}

/* Not pulled: it is held back by the caller, as far as anybody can tell. */
static void test_unpulled_without_wait(void **state)
{
    sbx_transport t = stepped();

    (void)state;
    kit_new(12);
    K.d.transport = &t;
    kit_open();
    talk(STARTED OUT("ab", 0) EXIT(0), NULL, NULL);
    command(NULL);
    record_text[0] = 0;
    for (unsigned i = 0; i < 600; i++, K.s->now += 1000)
        sbx_step(K.c, K.s->now);
    assert_true(K.s->pongs >= 18);
    assert_string_equal(step_and_record(100, false), "started o0:ab end(OK,0)");
    assert_int_equal(K.s->accepted, 1);
    kit_end();
}

/* Not pulled for three hours: pongs keep the way open, no deadline strikes. */
static void test_slow_consumer(void **state)
{
    sim_plan p = { 0 };
    sbx_event ev;
    sbx_op op;
    uint64_t at = 0;

    (void)state;
    kit_start(13);
    p.n[0] = sim_pattern_cut(0, 300000);
    p.chunk = 5000;
    sim_add_plan(K.s, &p);
    op = command(NULL);
    for (int i = 0; i < 3; i++) {
        do
            assert_true(sbx_next_of(K.c, &op, &ev));
        while (ev.kind != SBX_EV_STDOUT);
        assert_int_equal(ev.offset, at);
        assert_memory_equal(ev.data.p, sim_pattern() + at, ev.data.n);
        at += ev.data.n;
        for (int64_t until = K.s->now + 3600000; K.s->now < until;) {
            int64_t due = sbx_next_deadline(K.c);

            /* As a program does that looks after its other work meanwhile. */
            K.s->now += due > K.s->now && due - K.s->now < 60000 ? due - K.s->now : 1000;
            sbx_step(K.c, K.s->now);
        }
        assert_true(K.s->pongs >= 119u * (unsigned)(i + 1));
    }
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_STDOUT) {
            assert_int_equal(ev.offset, at);
            assert_memory_equal(ev.data.p, sim_pattern() + at, ev.data.n);
            at += ev.data.n;
        } else {
            assert_int_equal(ev.kind, SBX_EV_END);
            ASSERT_CODE(ev.code, SBX_OK);
        }
    }
    assert_int_equal(at, p.n[0]);
    assert_int_equal(K.s->accepted, 1);
    assert_int_equal(K.s->pings, 0);
    kit_end();
}

/* ---- positions ---- */

static void test_gap(void **state)
{
    (void)state;
    kit_start(14);
    talk(STARTED OUT("abc", 0) ERR("E", 0) "@close 1001", STARTED OUT("xyz", 10) ERR("F", 4) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:abc e0:E retry(CONNECTION) again gap1(3+7) o10:xyz gap2(1+3) e4:F end(OK,0)");
    kit_end();
}

static void test_sent_again(void **state)
{
    (void)state;
    kit_start(15);
    /* The server goes back further than asked; in the middle of messages, too. */
    talk(STARTED OUT("abcdef", 0) "@close 1001", STARTED OUT("abcd", 0) OUT("efgh", 4) OUT("gh", 6) OUT("hi", 7) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:abcdef retry(CONNECTION) again o6:ghi end(OK,0)");
    kit_end();

    /* And back once more, before it came to what is new. */
    kit_start(15);
    talk(STARTED OUT("abcdef", 0) "@close 1001", STARTED OUT("ab", 0) OUT("ab", 0) OUT("cdefg", 2) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:abcdef retry(CONNECTION) again o6:g end(OK,0)");
    kit_end();
}

/* A replacement character may stand for one byte: only the message's own
   offset is certain. It is asked for again, and what was delivered dropped. */
static void test_replaced(void **state)
{
    (void)state;
    kit_start(16);
    talk(STARTED OUT("ab", 0) OUT("c\xEF\xBF\xBD" "d", 2) "@close 1001",
         "?\"stdout_offset\":2,\n" STARTED OUT("c\xEF\xBF\xBD" "d", 2) OUT("e", 5) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:abc\xEF\xBF\xBD" "d retry(CONNECTION) again o5:e end(OK,0)");
    kit_end();

    /* Split elsewhere the second time. */
    kit_start(16);
    talk(STARTED OUT("ab\xEF\xBF\xBD" "cd", 0) "@close 1001",
         "?\"stdout_offset\":0,\n" STARTED OUT("ab", 0) OUT("\xEF\xBF\xBD", 2) OUT("c", 3) OUT("de", 4) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:ab\xEF\xBF\xBD" "cd retry(CONNECTION) again o5:e end(OK,0)");
    kit_end();

    /* An offset behind it makes the position certain again. */
    kit_start(16);
    talk(STARTED OUT("a\\ufffd", 0) OUT("b", 2) "@close 1001", "?\"stdout_offset\":3,\n" STARTED OUT("c", 3) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:a\xEF\xBF\xBD o2:b retry(CONNECTION) again o3:c end(OK,0)");
    kit_end();

    /* What a server repeats unasked is dropped to where it was delivered,
       though it decodes to more than that: the next offset tells. */
    kit_start(16);
    talk(STARTED OUT("abcdef", 0) OUT("\\ufffd\\ufffd", 0) OUT("cd", 2) OUT("efg", 4) EXIT(0), NULL, NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:abcdefg end(OK,0)");
    kit_end();

    /* So across a reconnect, in the middle of which it breaks. */
    kit_start(16);
    talk(STARTED OUT("abcdefghij", 0) OUT("\\ufffd\\ufffd", 0) "@close 1001",
         "?\"stdout_offset\":0,\n" STARTED OUT("\\ufffd\\ufffd", 0) OUT("cdefgh", 2) OUT("ijkl", 8) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:abcdefghij retry(CONNECTION) again o10:kl end(OK,0)");
    kit_end();

    /* A lone surrogate is one, too; a pair is none. */
    kit_start(16);
    talk(STARTED OUT("\\ud83d\\ude00\\ud800x", 0) "@close 1001", "?\"stdout_offset\":0,\n" STARTED OUT("\\ud83d\\ude00\\ud800xy", 0) EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:\xF0\x9F\x98\x80\xEF\xBF\xBDx retry(CONNECTION) again o8:y end(OK,0)");
    kit_end();
}

/* A message that streamed says behind its output that all of it came before:
   neither that, nor the loss of what follows, passes in silence. Behind a
   replaced character it may. */
static void test_late_repetition(void **state)
{
    sbx_op op;

    (void)state;
    for (unsigned loose = 0; loose < 2; loose++) {
        kit_new(17);
        K.d.rx_bytes = 512;
        kit_open();
        talk(loose ? STARTED OUT("a\\ufffdb", 0) "@big stdout 1997 0 3\n" OUT("end", 2000) EXIT(0)
                   : STARTED OUT("abcdef", 0) "@big stdout 1997 0 3\n" OUT("end", 2000) EXIT(0), NULL, NULL);
        op = command(NULL);
        assert_non_null(strstr(record_all(op), loose ? "end(OK,0)" : "end(PROTOCOL,-1)"));
        kit_end();
    }
}

/* Larger than the receive buffer, in fragments, and behind an overrun: the gap
   shows behind the message, and says where it was. */
static void test_late_gap(void **state)
{
    uint64_t at = 0, lost = 0;
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_new(17);
    K.d.rx_bytes = 512;
    kit_open();
    talk(STARTED OUT("ab", 0) "@close 1001", STARTED "@big stdout 1997 0 100\n" OUT("end", 2097) EXIT(0), NULL);
    assert_int_equal(sim_pattern_cut(0, 1997), 1997);
    op = command(NULL);
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_STDOUT) {
            if (ev.offset < 2)
                assert_memory_equal(ev.data.p, &"ab"[ev.offset], ev.data.n);
            else if (!lost)
                assert_memory_equal(ev.data.p, sim_pattern() + ev.offset - 2, ev.data.n);
            else
                assert_memory_equal(ev.data.p, &"end"[ev.offset - 2097], ev.data.n);
            at = ev.offset + ev.data.n;
        } else if (ev.kind == SBX_EV_GAP) {
            assert_int_equal(ev.offset, 2);
            assert_int_equal(at, 2 + 1997);
            lost += ev.lost;
        }
    }
    assert_int_equal(lost, 98);
    assert_int_equal(at, 2100);
    kit_end();
}

static void test_without_offsets(void **state)
{
    (void)state;
    kit_start(18);
    talk(STARTED "{\"type\":\"stdout\",\"data\":\"ab\"}\n{\"data\":\"cd\",\"type\":\"stdout\"}\n@close 1001",
         "?\"stdout_offset\":4,\n{\"type\":\"stdout\",\"data\":\"ef\"}\n" EXIT(0), NULL);
    assert_string_equal(record_all(command(NULL)), "started o0:abcd retry(CONNECTION) again o4:ef end(OK,0)");
    kit_end();
}

/* Further back than 4 GiB, which no server would be asked for: what it repeats
   is dropped all the same. */
static void test_sent_again_from_afar(void **state)
{
    sbx_attach_opts o = { 0 };
    uint64_t out;
    sbx_op op;

    (void)state;
    kit_start(15);
    talk(STARTED OUT("early", 0) OUT("later", 5000000000) OUT("abcdef", 5999999997) OUT("back", 10) OUT("efg", 6000000001) EXIT(0), NULL, NULL);
    o.stdout_offset = 6000000000;
    op = sbx_attach(K.c, &K.box, sbx_s("mine"), &o);
    record_text[0] = 0;
    record_until(op, SBX_EV_STDOUT);
    ASSERT_CODE(sbx_command_position(K.c, op, NULL, &out, NULL), SBX_OK);
    assert_int_equal(out, 6000000003);
    assert_string_equal(record_rest(op), "started o6000000000:defg end(OK,0)");
    kit_end();
}

/* A member that comes twice: the last one counts, unless the first was acted
   on already. */
static void test_twice(void **state)
{
    static const char *const talks[][2] = {
        { STARTED "{\"type\":\"stderr\",\"data\":\"first\",\"offset\":9,\"type\":\"stdout\",\"data\":\"ab\",\"offset\":0}\n" EXIT(0), "started o0:ab end(OK,0)" },
        { STARTED "{\"data\":\"first\",\"type\":\"stdout\",\"offset\":0,\"data\":\"ab\"}\n{\"type\":\"exit\",\"exit_code\":5,\"exit_code\":6}\n", "started o0:ab end(OK,6)" },
        { STARTED "@frag 3 {\"type\":\"stderr\",\"type\":\"stdout\",\"offset\":5,\"offset\":0,\"data\":\"ab\"}\n" EXIT(0), "started o0:ab end(OK,0)" },
        { STARTED "@frag 3 {\"type\":\"stdout\",\"data\":\"ab\",\"data\":\"cd\",\"offset\":0}\n" EXIT(0), "started o0:ab end(PROTOCOL,-1)" },
        { STARTED "@frag 3 {\"type\":\"stdout\",\"data\":\"ab\",\"type\":\"stderr\",\"offset\":0}\n" EXIT(0), "started o0:ab end(PROTOCOL,-1)" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof talks / sizeof *talks; i++) {
        kit_start(18);
        talk(talks[i][0], NULL, NULL);
        assert_string_equal(record_all(command(NULL)), talks[i][1]);
        kit_end();
    }
    for (unsigned frag = 0; frag < 2; frag++) {
        sbx_error e;
        sbx_op op;

        kit_start(18);
        talk(frag ? STARTED "@frag 3 {\"type\":\"error\",\"error\":\"first\",\"error_type\":\"CommandTimeout\",\"error\":\"2nd\",\"error_type\":\"SessionExpired\"}\n"
                  : STARTED "{\"type\":\"error\",\"error\":\"first\",\"error_type\":\"CommandTimeout\",\"error\":\"2nd\",\"error_type\":\"SessionExpired\"}\n", NULL, NULL);
        op = command(NULL);
        assert_string_equal(record_all(op), "started end(SESSION_EXPIRED,-1)");
        e = kit_error(op);
        assert_string_equal(e.text, "2nd");
        assert_string_equal(e.type, "SessionExpired");
        kit_end();
    }
}

static void test_attach(void **state)
{
    sbx_attach_opts o = { 0 };
    uint64_t out, err;
    char id[37];
    sbx_op op;

    (void)state;
    kit_start(19);
    talk("?{\"type\":\"reconnect\",\"command_id\":\"mine\",\"stdout_offset\":5,\"stderr_offset\":2}\n" STARTED OUT("f", 5) "@rst",
         "?\"stdout_offset\":6,\"stderr_offset\":2\n" STARTED ERR("g", 2) EXIT(1), NULL);
    o.stdout_offset = 5;
    o.stderr_offset = 2;
    op = sbx_attach(K.c, &K.box, sbx_s("mine"), &o);
    record_text[0] = 0;
    record_until(op, SBX_EV_STDERR);
    ASSERT_CODE(sbx_command_position(K.c, op, id, &out, &err), SBX_OK);
    assert_string_equal(id, "mine");
    assert_int_equal(out, 6);
    assert_int_equal(err, 3);
    assert_string_equal(record_rest(op), "started o5:f retry(CONNECTION) again e2:g end(OK,1)");
    ASSERT_CODE(sbx_command_position(K.c, op, id, NULL, NULL), SBX_ERR_HANDLE);
    kit_end();

    kit_start(19); /* no such command */
    op = sbx_attach(K.c, &K.box, sbx_s("lost"), NULL);
    assert_string_equal(record_all(op), "end(COMMAND_NOT_FOUND,-1)");
    assert_string_equal(kit_error(op).text, "no such command");
    assert_string_equal(kit_error(op).type, "CommandNotFound");
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_start_unsaid), cmocka_unit_test(test_exit_alone), cmocka_unit_test(test_open_rejected), cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_open_budget), cmocka_unit_test(test_execute_again), cmocka_unit_test(test_started_names_another),
        cmocka_unit_test(test_close_codes), cmocka_unit_test(test_five_drops), cmocka_unit_test(test_progress_refills),
        cmocka_unit_test(test_no_reconnect), cmocka_unit_test(test_reattach_refused), cmocka_unit_test(test_silent_stream),
        cmocka_unit_test(test_pong_deadline), cmocka_unit_test(test_pong_deadline_in_message), cmocka_unit_test(test_slow_consumer),
        cmocka_unit_test(test_pong_deadline_without_wait), cmocka_unit_test(test_late_step_without_wait), cmocka_unit_test(test_unpulled_without_wait),
        cmocka_unit_test(test_pong_deadline_with_a_loud_wait), cmocka_unit_test(test_ping_late),
        cmocka_unit_test(test_gap), cmocka_unit_test(test_sent_again), cmocka_unit_test(test_replaced), cmocka_unit_test(test_late_gap), cmocka_unit_test(test_late_repetition),
        cmocka_unit_test(test_sent_again_from_afar), cmocka_unit_test(test_twice), cmocka_unit_test(test_without_offsets), cmocka_unit_test(test_attach),
    };

    return cmocka_run_group_tests_name("a command's stream", tests, NULL, NULL);
}
