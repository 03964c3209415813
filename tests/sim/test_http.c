/* Requests: kept connections, repetition, deadlines, queues, cancelling. */
#include "kit.h"

static sbx_code get(sbx_error *e)
{
    sbx_box_info info;
    sbx_op op = sbx_get(K.c, sbx_s("one"), NULL, NULL, &info);
    sbx_code code = sbx_await(K.c, op);

    if (e)
        *e = kit_error(op);
    return code;
}

static void one_box(void)
{
    K.s->box_n = 1;
    strcpy(K.s->boxes[0].name, "one");
    strcpy(K.s->boxes[0].status, "ready");
}

static void start(uint64_t seed)
{
    kit_start(seed);
    one_box();
}

/* ---- connections ---- */

static void test_kept(void **state)
{
    sbx_usage u;

    (void)state;
    start(1);
    for (int i = 0; i < 5; i++)
        ASSERT_CODE(get(NULL), SBX_OK);
    sbx_get_usage(K.c, &u);
    assert_int_equal(u.connects, 1);
    assert_int_equal(u.reused, 4);
    K.s->now += 40000; /* idle for too long */
    ASSERT_CODE(get(NULL), SBX_OK);
    assert_int_equal(K.s->connects, 2);
    kit_end();
}

/* The server closed it meanwhile, before or while the next request goes out. */
static void test_stale(void **state)
{
    sim_script e = { 0 };
    sbx_usage u;

    (void)state;
    start(2);
    ASSERT_CODE(get(NULL), SBX_OK);
    sim_conn_end(K.s->conns[0], SIM_EOF, K.s->now);
    ASSERT_CODE(get(NULL), SBX_OK);
    sim_conn_end(K.s->conns[0] ? K.s->conns[0] : K.s->conns[1], SIM_RST, K.s->now);
    ASSERT_CODE(get(NULL), SBX_OK);
    e.end = SIM_EOF; /* read, and closed without a word: once is the server's right */
    sim_expect(K.s, &e);
    ASSERT_CODE(get(NULL), SBX_OK);
    sbx_get_usage(K.c, &u);
    assert_int_equal(u.retries, 0);
    assert_int_equal(u.connects, 4);
    kit_end();
}

/* A POST that went out on such a connection may have been carried out. */
static void test_stale_post(void **state)
{
    sim_script e = { 0 };
    sbx_box box;

    (void)state;
    start(3);
    ASSERT_CODE(get(NULL), SBX_OK);
    e.match = "POST /boxes";
    e.end = SIM_EOF;
    sim_expect(K.s, &e);
    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, NULL, &box)), SBX_ERR_OUTCOME);
    assert_int_equal(K.s->request_n, 2);
    kit_end();
}

static void test_answer_closes(void **state)
{
    sim_script e = { 0 };

    (void)state;
    start(4);
    e.status = 200;
    e.body = "{\"name\":\"one\"}";
    e.close = true;
    sim_expect(K.s, &e);
    ASSERT_CODE(get(NULL), SBX_OK);
    ASSERT_CODE(get(NULL), SBX_OK);
    e.raw = "HTTP/1.1 200 OK\r\n\r\n{\"name\":\"one\"}"; /* ended by the close */
    e.close = false;
    e.end = SIM_EOF;
    sim_expect(K.s, &e);
    ASSERT_CODE(get(NULL), SBX_OK);
    assert_int_equal(K.s->connects, 2);
    ASSERT_CODE(get(NULL), SBX_OK);
    assert_int_equal(K.s->connects, 3);
    kit_end();
}

/* ---- repetition ---- */

typedef struct repeat {
    const char *what;
    int status;
    const char *body;
    sim_end end;
    bool refused;
    sbx_code get, create; /* the outcome if only the first attempt fares so */
} repeat;

static void test_what_repeats(void **state)
{
    static const repeat cases[] = {
        { "502", 502, "", SIM_OPEN, false, SBX_OK, SBX_ERR_SERVER },
        { "503 plain", 503, "<html>", SIM_OPEN, false, SBX_OK, SBX_OK },
        { "503 typed", 503, "{\"detail\":{\"error\":\"Unschedulable\",\"message\":\"full\"}}", SIM_OPEN, false, SBX_OK, SBX_ERR_CREATION },
        { "504", 504, "", SIM_OPEN, false, SBX_OK, SBX_ERR_SERVER },
        { "429", 429, "{}", SIM_OPEN, false, SBX_OK, SBX_OK },
        { "500", 500, "{}", SIM_OPEN, false, SBX_ERR_SERVER, SBX_ERR_SERVER },
        { "400", 400, "{}", SIM_OPEN, false, SBX_ERR_VALIDATION, SBX_ERR_VALIDATION },
        { "cut", 0, NULL, SIM_RST, false, SBX_OK, SBX_ERR_OUTCOME },
        { "closed", 0, NULL, SIM_EOF, false, SBX_OK, SBX_ERR_OUTCOME },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int post = 0; post < 2; post++) {
            const repeat *r = &cases[i];
            sim_script e = { 0 };
            sbx_code want = post ? r->create : r->get, got;
            sbx_error err;
            sbx_box box;

            start(i);
            e.status = r->status;
            e.body = r->body;
            e.end = r->end;
            sim_expect(K.s, &e);
            if (post) {
                sbx_op op = sbx_create(K.c, NULL, &box);

                got = sbx_await(K.c, op);
                err = kit_error(op);
            } else {
                got = get(&err);
            }
            if (got != want)
                fail_msg("%s, %s: %s instead of %s", r->what, post ? "POST" : "GET", sbx_code_name(got), sbx_code_name(want));
            assert_int_equal(K.s->request_n, want == SBX_OK ? 2 : 1);
            if (got != SBX_OK) {
                assert_true(err.sent);
                assert_int_equal(err.attempts, 1);
                assert_int_equal(err.status, r->status);
            }
            kit_end();
        }
}

static void test_four_attempts(void **state)
{
    sim_script e = { 0 };
    sbx_call call = { 0 };
    sbx_box_opts o = { 0 };
    sbx_error err;
    int64_t begun;

    (void)state;
    start(5);
    e.status = 503;
    e.body = "{\"detail\":\"busy\"}";
    e.times = -1;
    sim_expect(K.s, &e);
    begun = K.s->now;
    ASSERT_CODE(get(&err), SBX_ERR_SERVER);
    assert_int_equal(err.attempts, 4);
    assert_string_equal(err.text, "busy");
    assert_int_equal(K.s->request_n, 4);
    assert_true(K.s->now - begun >= 3500 && K.s->now - begun <= 7000); /* 1 + 2 + 4 s, half of it drawn */
    call.max_retries = SBX_NONE;
    o.call = call;
    ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("one"), &o, NULL, NULL)), SBX_ERR_SERVER);
    assert_int_equal(K.s->request_n, 5);
    kit_end();
}

static void test_connect_refused(void **state)
{
    sbx_error err;
    sbx_box box;
    sbx_op op;

    (void)state;
    kit_new(6);
    K.d.endpoint = "http://refused.test/v2/sandboxes";
    kit_open();
    op = sbx_create(K.c, NULL, &box); /* never sent: may be repeated */
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CONNECT);
    err = kit_error(op);
    assert_int_equal(err.attempts, 4);
    assert_false(err.sent);
    assert_int_equal(err.layer, SBX_LAYER_TRANSPORT);
    assert_string_equal(err.text, "refused");
    assert_int_equal(err.sys, 104);
    assert_int_equal(K.s->connects, 4);
    kit_end();
}

/* The transport says that it would be no use. */
static void test_connect_refused_for_good(void **state)
{
    sbx_run_opts run = { .discard = true };
    sbx_box box;
    sbx_op op;

    (void)state;
    kit_new(6);
    K.d.endpoint = "http://forbidden.test/v2/sandboxes";
    kit_open();
    op = sbx_create(K.c, NULL, &box);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CONNECT);
    assert_int_equal(kit_error(op).attempts, 1);
    assert_true(sbx_box_named(&box, sbx_s("b"), sbx_s("http://forbidden.test/dp")));
    op = sbx_run(K.c, &box, sbx_s("true"), &run, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CONNECT);
    assert_int_equal(kit_error(op).attempts, 1);
    assert_int_equal(K.s->connects, 2);
    kit_end();
}

static void test_retry_after(void **state)
{
    static const struct {
        const char *head;
        int64_t wait;
    } cases[] = { { "Retry-After: 17\r\n", 17000 }, { "Retry-After: 0\r\n", 0 }, { "retry-after:  3 \r\n", 3000 },
                  { "Retry-After: Thu, 09 Oct 2025 08:53:30 GMT\r\n", 9000 }, /* the clock says 53:21 */
                  { "Retry-After: Thu, 09 Oct 2025 08:53:11 GMT\r\n", 0 } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t begun;

        start(i);
        K.s->wall0 = INT64_C(1760000001000) - K.s->now;
        kit_expect(NULL, 429, cases[i].head, "{}");
        begun = K.s->now;
        ASSERT_CODE(get(NULL), SBX_OK);
        if (K.s->now - begun != cases[i].wait)
            fail_msg("%s waited %lld", cases[i].head, (long long)(K.s->now - begun));
        kit_end();
    }
}

/* ---- deadlines ---- */

static void test_deadlines(void **state)
{
    sim_script e = { 0 };
    sbx_box_opts o = { 0 };
    sbx_error err;
    int64_t begun;
    sbx_op op;

    (void)state;
    start(7);
    e.no_answer = true;
    e.times = -1;
    sim_expect(K.s, &e);
    /* Of one attempt: it is repeated. */
    o.call.timeout_ms = 2000;
    o.call.max_retries = 1;
    begun = K.s->now;
    op = sbx_get(K.c, sbx_s("one"), &o, NULL, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_DEADLINE);
    err = kit_error(op);
    assert_int_equal(err.attempts, 2);
    assert_int_equal(err.layer, SBX_LAYER_TRANSPORT);
    assert_true(K.s->now - begun >= 4500 && K.s->now - begun <= 5000);
    /* Of the whole. */
    o.call.total_ms = 3000;
    o.call.max_retries = 5;
    begun = K.s->now;
    op = sbx_get(K.c, sbx_s("one"), &o, NULL, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_DEADLINE);
    assert_true(K.s->now - begun <= 3000);
    kit_end();

    /* A POST whose answer did not come in time may have been carried out. */
    start(7);
    sim_expect(K.s, &e);
    {
        sbx_box box;

        op = sbx_create(K.c, NULL, &box);
        begun = K.s->now;
        ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_OUTCOME);
        assert_int_equal(K.s->now - begun, 60000);
        assert_int_equal(K.s->request_n, 1);
    }
    kit_end();

    /* A connection that never comes about. */
    kit_new(7);
    K.d.endpoint = "http://slow.test/x";
    K.d.connect_ms = 4000;
    K.d.max_retries = SBX_NONE;
    kit_open();
    begun = K.s->now;
    ASSERT_CODE(get(&err), SBX_ERR_DEADLINE);
    assert_int_equal(K.s->now - begun, 4000);
    assert_false(err.sent);
    kit_end();
}

/* An answer that comes slowly is no silence. */
static void drip(sim *s, sim_conn *c)
{
    char text[64];

    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n");
    sim_conn_write(c, text, strlen(text), s->now);
    for (int i = 0; i < 14; i++)
        sim_conn_write(c, &"{\"name\":\"one\"}"[i], 1, s->now + 9000 * (i + 1));
}

static void test_slow_answer(void **state)
{
    sim_script e = { 0 };

    (void)state;
    start(8);
    e.make = drip;
    sim_expect(K.s, &e);
    ASSERT_CODE(get(NULL), SBX_OK);
    assert_int_equal(K.s->now, 1000 + 14 * 9000);
    assert_int_equal(K.s->request_n, 1);
    kit_end();
}

/* ---- queues ---- */

static void test_queue(void **state)
{
    enum { COUNT = 40 };
    sbx_op ops[COUNT];
    sbx_usage u;

    (void)state;
    kit_new(9);
    K.d.max_links = 3;
    K.d.max_connects = 2;
    K.d.max_requests = COUNT;
    K.d.buffers = 2;
    K.s->knobs.connect_ms = 50;
    K.s->knobs.delay_ms = 100;
    K.s->knobs.block = 200;
    K.s->knobs.recv_max = 30;
    kit_open();
    one_box();
    for (int i = 0; i < COUNT; i++)
        ops[i] = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
    for (int i = 0; i < COUNT; i++)
        ASSERT_CODE(sbx_await(K.c, ops[i]), SBX_OK);
    sbx_get_usage(K.c, &u);
    assert_int_equal(u.links_high, 3);
    assert_int_equal(K.s->request_n, COUNT);
    assert_true(u.connects <= 3);
    kit_end();
}

/* Every connection is held by a command: a request waits for its own time. */
static void test_queue_deadline(void **state)
{
    sim_plan p = { 0 };
    sbx_event ev;
    sbx_error err;
    sbx_op command;
    int64_t begun;

    (void)state;
    kit_new(10);
    K.d.max_links = 1;
    K.d.max_retries = SBX_NONE;
    kit_open();
    one_box();
    p.until_kill = true;
    sim_add_plan(K.s, &p);
    command = sbx_command(K.c, &K.box, sbx_s("x"), NULL);
    assert_true(sbx_next_of(K.c, &command, &ev));
    begun = K.s->now;
    ASSERT_CODE(get(&err), SBX_ERR_DEADLINE);
    assert_int_equal(K.s->now - begun, 10000);
    assert_non_null(strstr(err.text, "max_links"));
    ASSERT_CODE(sbx_cancel(K.c, command), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, command), SBX_ERR_CANCELLED);
    kit_end();
}

/* ---- cancelling, handles, re-entry ---- */

static void test_cancel_anywhere(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 40; turns++) {
        sbx_box_info info;
        sbx_event ev;
        sbx_op op;

        start(turns);
        K.s->knobs.connect_ms = 3;
        K.s->knobs.delay_ms = 3;
        K.s->knobs.recv_max = 9;
        K.s->knobs.send_max = 40;
        K.s->knobs.block = 300;
        memset(&info, 0x33, sizeof info);
        op = sbx_get(K.c, sbx_s("one"), NULL, NULL, &info);
        for (unsigned i = 0; i < turns; i++)
            sbx_wait(K.c, 1);
        ASSERT_CODE(sbx_cancel(K.c, op), SBX_OK);
        assert_true(sbx_next_of(K.c, &op, &ev));
        assert_int_equal(ev.kind, SBX_EV_END);
        if (ev.code != SBX_OK) {
            ASSERT_CODE(ev.code, SBX_ERR_CANCELLED);
            for (size_t i = 0; i < sizeof info; i++)
                assert_int_equal(((unsigned char *)&info)[i], 0x33);
        }
        assert_false(sbx_next_of(K.c, &op, &ev));
        ASSERT_CODE(get(NULL), SBX_OK);
        kit_end();
    }
}

static void test_handles(void **state)
{
    sbx_op first, op, none = { 0, 0 }, far = { 5000, 1 };
    sbx_event ev;

    (void)state;
    start(11);
    first = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
    ASSERT_CODE(sbx_await(K.c, first), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, first), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_cancel(K.c, first), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_cancel(K.c, none), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_await(K.c, none), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_cancel(K.c, far), SBX_ERR_HANDLE);
    assert_false(sbx_next_of(K.c, &first, &ev));
    op = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL); /* the same slot */
    assert_int_equal(op.slot, first.slot);
    assert_int_not_equal(op.gen, first.gen);
    ASSERT_CODE(sbx_cancel(K.c, first), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    assert_int_equal(kit_error(first).code, SBX_OK);
    kit_end();
}

static unsigned reentered;
static void reenter(sim *s)
{
    sbx_event ev;
    sbx_box_info info;
    sbx_op op = sbx_get(K.c, sbx_s("one"), NULL, NULL, &info);

    (void)s;
    assert_int_equal(op.slot, 0);
    assert_int_equal(op.gen, SBX_ERR_STATE);
    assert_false(sbx_next(K.c, &ev));
    assert_false(sbx_wait(K.c, 0));
    sbx_step(K.c, 1);
    op.slot = 1;
    op.gen = 1;
    ASSERT_CODE(sbx_cancel(K.c, op), SBX_ERR_STATE);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_STATE);
    reentered++;
}

static void test_reentry(void **state)
{
    (void)state;
    start(12);
    reentered = 0;
    K.s->in_call = reenter;
    ASSERT_CODE(get(NULL), SBX_OK);
    assert_true(reentered > 0);
    K.s->in_call = NULL;
    kit_end();
}

static void reenter_trace(void *user, const sbx_trace *t)
{
    sbx_event ev;

    (void)user;
    (void)t;
    sbx_step(K.c, K.s->now + 1);
    assert_false(sbx_next(K.c, &ev));
    assert_int_equal(sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL).slot, 0);
    sbx_close(K.c);
    reentered++;
}

/* The hook also runs in calls that only end something. */
static void test_reentry_from_trace(void **state)
{
    sbx_event ev;
    sbx_op op;

    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        kit_new(13);
        K.d.trace = reenter_trace;
        kit_open();
        kit_expect("/boxes/one", 200, NULL, "{");
        K.s->scripts[0].no_answer = true;
        op = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
        sbx_step(K.c, K.s->now);
        sbx_wait(K.c, 0);
        reentered = 0;
        if (way == 0)
            ASSERT_CODE(sbx_cancel(K.c, op), SBX_OK);
        else if (way == 1)
            assert_int_not_equal(sbx_shutdown(K.c, 0).slot, 0);
        if (way < 2) {
            assert_true(reentered > 0);
            while (sbx_next(K.c, &ev))
                if (ev.op.slot == op.slot)
                    assert_int_equal(ev.kind, SBX_EV_END);
            kit_end();
            continue;
        }
        K.s->client = NULL;
        sbx_close(K.c);
        assert_true(reentered > 0);
        K.c = NULL;
        kit_end();
    }
}

/* An awaited request beside two streams that are read by turns, with one buffer more
   than they can hold half read. */
static void test_await_beside_paused(void **state)
{
    sim_plan p = { 0 };
    sbx_event ev;
    sbx_op a, b;
    uint64_t at[2] = { 0, 0 };

    (void)state;
    kit_new(13);
    K.d.buffers = 3;
    K.d.rx_bytes = 512;
    K.d.tx_bytes = 1024;
    kit_open();
    one_box();
    p.n[0] = sim_pattern_cut(0, 50000);
    p.chunk = 2000;
    sim_add_plan(K.s, &p);
    a = sbx_command(K.c, &K.box, sbx_s("a"), NULL);
    b = sbx_command(K.c, &K.box, sbx_s("b"), NULL);
    for (int i = 0; i < 30; i++)
        sbx_wait(K.c, 0);
    for (int i = 0; i < 20; i++) {
        ASSERT_CODE(get(NULL), SBX_OK);
        assert_true(sbx_next_of(K.c, &a, &ev));
        if (ev.kind == SBX_EV_STDOUT) {
            assert_int_equal(ev.offset, at[0]);
            at[0] += ev.data.n;
        }
    }
    for (int i = 0; i < 2; i++)
        while (sbx_next_of(K.c, i ? &a : &b, &ev))
            if (ev.kind == SBX_EV_STDOUT) {
                uint64_t *n = &at[i ? 0 : 1];

                assert_int_equal(ev.offset, *n);
                assert_memory_equal(ev.data.p, sim_pattern() + *n, ev.data.n);
                *n += ev.data.n;
            } else if (ev.kind == SBX_EV_END) {
                ASSERT_CODE(ev.code, SBX_OK);
            }
    assert_int_equal(at[0], p.n[0]);
    assert_int_equal(at[1], p.n[0]);
    kit_end();
}

/* ---- ending ---- */

static void own(sbx_op *op, sbx_box *box, const char *name)
{
    sbx_create_opts o = { 0 };

    o.delete_on_close = true;
    o.name = sbx_s(name);
    *op = sbx_create(K.c, &o, box);
}

static void test_shutdown(void **state)
{
    sim_plan p = { 0 };
    sbx_box boxes[3];
    sim_script e = { 0 };
    sbx_event ev;
    sbx_op op, shut;

    (void)state;
    kit_start(14);
    own(&op, &boxes[0], "a");
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    /* The answer to the second is lost, the third was never sent. */
    e.match = "POST /boxes";
    e.make = NULL;
    e.end = SIM_RST;
    sim_expect(K.s, &e);
    own(&op, &boxes[1], "lost");
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_OUTCOME);
    strcpy(K.s->boxes[K.s->box_n++].name, "lost");
    own(&op, &boxes[2], "deleted");
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, sbx_delete(K.c, &boxes[2], NULL)), SBX_OK);
    p.until_kill = true;
    sim_add_plan(K.s, &p);
    op = sbx_command(K.c, &K.box, sbx_s("x"), NULL);
    assert_true(sbx_next_of(K.c, &op, &ev));
    shut = sbx_shutdown(K.c, 60000);
    assert_int_not_equal(shut.slot, 0);
    assert_int_equal(sbx_get(K.c, sbx_s("a"), NULL, NULL, NULL).gen, SBX_ERR_CLOSED);
    ASSERT_CODE(sbx_await(K.c, shut), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CLOSED);
    for (unsigned i = 0; i < K.s->box_n; i++)
        assert_true(K.s->boxes[i].gone);
    kit_end();
}

static void test_close_deletes(void **state)
{
    sbx_box box;
    sbx_op op;
    sim *s;

    (void)state;
    kit_start(15);
    s = K.s;
    own(&op, &box, "mine");
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    s->client = NULL;
    sbx_close(K.c);
    K.c = NULL;
    assert_true(s->boxes[0].gone);
    kit_end();
}

/* The shutdown ends before its deletions, which then end by themselves. */
static void test_shutdown_outlasted(void **state)
{
    sim_script e = { 0 };
    sbx_usage u;
    sbx_event ev;
    sbx_box boxes[2];
    sbx_op op;

    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        kit_start(16);
        own(&op, &boxes[0], "a");
        ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
        own(&op, &boxes[1], "b");
        ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
        memset(&e, 0, sizeof e);
        e.match = "DELETE /boxes";
        e.status = 204;
        e.delay_ms = 3000;
        e.times = -1;
        sim_expect(K.s, &e);
        op = sbx_shutdown(K.c, way ? SBX_FOREVER : 1000);
        if (way)
            ASSERT_CODE(sbx_cancel(K.c, op), SBX_OK);
        assert_true(sbx_next_of(K.c, &op, &ev));
        ASSERT_CODE(ev.code, way ? SBX_ERR_CANCELLED : SBX_ERR_DEADLINE);
        for (sbx_get_usage(K.c, &u); u.ops && sbx_wait(K.c, SBX_FOREVER); sbx_get_usage(K.c, &u)) {
            assert_true(K.s->now < 100000);
            assert_false(sbx_next(K.c, &ev));
        }
        assert_string_equal(kit_request(0)->method, "DELETE");
        kit_end();
    }
}

/* ENDs with the server's words hold every block: the shutdown takes one. */
static void test_shutdown_without_blocks(void **state)
{
    sbx_op ops[2], op;
    sbx_event ev;
    sbx_box box;

    (void)state;
    kit_new(16);
    K.d.max_requests = 2;
    kit_open();
    own(&op, &box, "mine");
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    for (unsigned i = 0; i < 2; i++) {
        kit_expect("GET /boxes/one", 400, NULL, "{\"detail\":{\"error\":\"Bad\",\"message\":\"why\"}}");
        ops[i] = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
        assert_int_not_equal(ops[i].slot, 0);
    }
    for (unsigned i = 0; i < 100; i++)
        sbx_step(K.c, ++K.s->now);
    ASSERT_CODE((sbx_code)sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL).gen, SBX_ERR_FULL);
    ASSERT_CODE(sbx_await(K.c, sbx_shutdown(K.c, 5000)), SBX_OK);
    assert_string_equal(kit_request(0)->method, "DELETE");
    for (unsigned i = 0; i < 2; i++) {
        assert_true(sbx_next_of(K.c, &ops[i], &ev));
        assert_int_equal(ev.kind, SBX_EV_END);
        assert_true(ev.code != SBX_OK && ev.code != SBX_ERR_CLOSED);
        assert_int_equal(kit_error(ev.op).status, 400);
        assert_true(kit_error(ev.op).text[0]);
    }
    kit_end();
}

/* A server that deletes nothing: the shutdown ends in time and says what remains. */
static void test_shutdown_deadline(void **state)
{
    sim_script e = { 0 };
    sbx_event ev;
    int64_t begun;
    sbx_box box;
    sbx_op op;

    (void)state;
    kit_start(16);
    own(&op, &box, "mine");
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    e.match = "DELETE /boxes";
    e.no_answer = true;
    e.times = -1;
    sim_expect(K.s, &e);
    begun = K.s->now;
    op = sbx_shutdown(K.c, 5000);
    assert_true(sbx_next_of(K.c, &op, &ev));
    ASSERT_CODE(ev.code, SBX_ERR_DEADLINE);
    assert_int_equal(ev.exit_code, 1);
    assert_int_equal(K.s->now - begun, 5000);
    K.s->client = NULL;
    sbx_close(K.c);
    K.c = NULL;
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept), cmocka_unit_test(test_stale), cmocka_unit_test(test_stale_post), cmocka_unit_test(test_answer_closes),
        cmocka_unit_test(test_what_repeats), cmocka_unit_test(test_four_attempts), cmocka_unit_test(test_connect_refused), cmocka_unit_test(test_connect_refused_for_good),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_deadlines), cmocka_unit_test(test_slow_answer), cmocka_unit_test(test_queue),
        cmocka_unit_test(test_queue_deadline), cmocka_unit_test(test_cancel_anywhere), cmocka_unit_test(test_handles), cmocka_unit_test(test_reentry),
        cmocka_unit_test(test_reentry_from_trace),
        cmocka_unit_test(test_await_beside_paused), cmocka_unit_test(test_shutdown), cmocka_unit_test(test_close_deletes), cmocka_unit_test(test_shutdown_deadline), cmocka_unit_test(test_shutdown_outlasted), cmocka_unit_test(test_shutdown_without_blocks),
    };

    return cmocka_run_group_tests_name("requests", tests, NULL, NULL);
}
