/* Tunnels that are lost, opened again, closed; their times, their arguments. */
#include "tunnel.h"

/* ---- losing and opening ---- */

static void test_lost(void **state)
{
    static const sim_end ends[] = { SIM_EOF, SIM_RST, SIM_CLOSE_1000, SIM_CLOSE_1001, SIM_CLOSE_1011 };
    unsigned events[20] = { 0 };
    sbx_op tunnel;
    sbx_event ev;
    sbx_usage u;
    got g;

    (void)state;
    kit_start(7);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    for (unsigned i = 0; i < 5; i++) {
        K.s->tunnel_greets = true;
        dial(&g, tunnel, 7);
        while (!g.data.n) {
            assert_true(sbx_next_of(K.c, &g.op, &ev));
            take(&g, &ev);
        }
        sim_conn_end(K.s->tunnel, ends[i], K.s->now);
        g.half_open = true;
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_ERR_CONNECTION);
        assert_string_equal(g.data.p, "hello from the port");
        got_free(&g);
        assert_int_equal(K.s->tunnels, i + 1);
        if (i == 2) /* a first attempt that fails */
            kit_expect("/tunnel", 503, NULL, "{}");
    }
    while (K.s->tunnels < 6) { /* rests until a dial; an END that is not pulled keeps nothing from opening */
        dial(&g, tunnel, 7);
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_OK);
        got_free(&g);
    }
    while (sbx_next(K.c, &ev))
        events[ev.kind]++;
    assert_int_equal(events[SBX_EV_STARTED], 1);
    assert_int_equal(events[SBX_EV_RETRYING], 1);
    assert_int_equal(events[SBX_EV_RECONNECTED], 1); /* joined: nobody pulled them meanwhile */
    sbx_get_usage(K.c, &u);
    assert_int_equal(u.reconnects, 5);
    close_tunnel(tunnel);
    kit_end();
}

static void test_open_fails(void **state)
{
    sim_script e = { 0 };
    int64_t begun;
    sbx_op tunnel, op;
    sbx_error err;

    (void)state;
    kit_start(8);
    e.match = "/tunnel";
    e.status = 503;
    e.body = "{\"detail\":\"not now\"}";
    e.times = 3;
    sim_expect(K.s, &e);
    begun = K.s->now;
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    op = sbx_tunnel_dial(K.c, tunnel, 7, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_SERVER);
    ASSERT_CODE(sbx_await(K.c, tunnel), SBX_ERR_SERVER);
    err = kit_error(tunnel);
    assert_string_equal(err.operation, "tunnel_open");
    assert_string_equal(err.text, "not now");
    assert_int_equal(err.attempts, 3);
    assert_true(K.s->now - begun >= 750 && K.s->now - begun <= 1500); /* 0.5 and 1 s, half of it drawn */
    op = sbx_tunnel_dial(K.c, tunnel, 7, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_HANDLE);

    kit_expect("/tunnel", 404, NULL, "{\"detail\":\"Not Found\"}");
    ASSERT_CODE(sbx_await(K.c, sbx_tunnel_open(K.c, &K.box, NULL)), SBX_ERR_NO_ENDPOINT);
    kit_end();
}

/* Of one that was open the dials fail, and the next one tries again. */
static void test_reopen_fails(void **state)
{
    sim_script e = { 0 };
    sbx_usage u;
    sbx_op tunnel;
    got g;

    (void)state;
    kit_start(9);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&g, tunnel, 7);
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_OK);
    got_free(&g);
    sim_conn_end(K.s->tunnel, SIM_EOF, K.s->now);
    sbx_step(K.c, K.s->now);
    e.match = "/tunnel";
    e.status = 502;
    e.times = 3;
    sim_expect(K.s, &e);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 1)
            kit_expect("/tunnel", 401, NULL, "{\"detail\":\"who?\"}");
        dial(&g, tunnel, 7);
        pull_to_end(&g);
        ASSERT_CODE(g.code, i == 0 ? SBX_ERR_SERVER : i == 1 ? SBX_ERR_AUTH : SBX_OK);
        got_free(&g);
        sbx_get_usage(K.c, &u);
        assert_int_equal(u.requests, 0); /* a tunnel that rests keeps no request */
    }
    close_tunnel(tunnel);
    kit_end();
}

static void test_goaway(void **state)
{
    sbx_op tunnel;
    sbx_event ev;
    got a, b;

    (void)state;
    kit_start(10);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&a, tunnel, 7);
    a.half_open = true;
    assert_true(sbx_next_of(K.c, &a.op, &ev));
    take(&a, &ev);
    sim_tunnel_send(K.s->tunnel, 3, 0, 0, 0);
    sbx_wait(K.c, 10);
    dial(&b, tunnel, 7); /* refused while the other one lives */
    pull_to_end(&b);
    ASSERT_CODE(b.code, SBX_ERR_CONNECTION);
    got_free(&b);
    a.half_open = a.end_asked = false; /* which goes on */
    a.say = "drains";
    a.say_n = 6;
    say_more(&a);
    pull_to_end(&a);
    ASSERT_CODE(a.code, SBX_OK);
    assert_string_equal(a.data.p, "drains");
    got_free(&a);
    dial(&b, tunnel, 7); /* a new session */
    pull_to_end(&b);
    ASSERT_CODE(b.code, SBX_OK);
    got_free(&b);
    assert_int_equal(K.s->tunnels, 2);

    for (uint32_t code = 1; code < 4; code++) { /* an error ends it */
        dial(&a, tunnel, 8);
        sbx_wait(K.c, 100);
        sim_tunnel_send(K.s->tunnel, 3, 0, 0, code);
        pull_to_end(&a);
        ASSERT_CODE(a.code, SBX_ERR_CONNECTION);
        got_free(&a);
    }
    close_tunnel(tunnel);
    kit_end();
}

static void test_violations(void **state)
{
    sbx_op tunnel;
    sbx_error e;
    got g;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        kit_start(11);
        tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
        if (i == 0) {
            dial(&g, tunnel, 10);
        } else {
            dial(&g, tunnel, 8);
            sbx_wait(K.c, 100);
            sim_tunnel_send(K.s->tunnel, i == 1 ? 9 : 1, 0, i == 2 ? 0 : 7, i == 3 ? 5 : 0);
        }
        g.half_open = true;
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_ERR_PROTOCOL);
        e = kit_error(g.op);
        assert_string_equal(e.text, sbx_yamux_reason_text(i == 0 ? SBX_YAMUX_BAD_LENGTH : i == 1 ? SBX_YAMUX_BAD_TYPE : SBX_YAMUX_BAD_ID));
        assert_int_equal(K.s->tunnel_goaway, SBX_YAMUX_PROTOCOL);
        got_free(&g);
        close_tunnel(tunnel);
        kit_end();
    }
}

/* A server that opens streams of its own finds nobody. */
static void test_peer_opens(void **state)
{
    sbx_op tunnel;
    got g;

    (void)state;
    kit_start(12);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&g, tunnel, 7);
    g.say = "x";
    g.say_n = 1;
    sbx_wait(K.c, 100);
    snprintf(K.s->complaint, sizeof K.s->complaint, "none yet");
    sim_tunnel_send(K.s->tunnel, 1, 1, 2, 0); /* its reset is a frame on a stream that the peer does not know */
    K.s->complaint[0] = 0;
    sbx_wait(K.c, 0);
    assert_non_null(strstr(K.s->complaint, "on stream 2"));
    K.s->complaint[0] = 0;
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_OK);
    got_free(&g);
    close_tunnel(tunnel);
    kit_end();
}

/* An end of ours that was only noted when the tunnel broke was never said: the
   connection has not ended well. */
static void test_unsaid_end(void **state)
{
    static char much[20000];
    sbx_event ev;
    sbx_op tunnel;
    size_t taken;
    got a, b;

    (void)state;
    kit_start(20);
    K.s->tunnel_make = 100;
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&a, tunnel, 30);
    dial(&b, tunnel, 31);
    a.half_open = b.half_open = true;
    while (!a.eof || !b.eof) {
        while (sbx_next(K.c, &ev))
            if (ev.user)
                take((got *)ev.user, &ev);
        sbx_wait(K.c, 10);
    }
    K.s->tunnel->no_read = true;
    ASSERT_CODE(sbx_tunnel_send(K.c, a.op, sbx_sn(much, sizeof much), true, &taken), SBX_OK);
    assert_true(taken < sizeof much);
    ASSERT_CODE(sbx_tunnel_send(K.c, a.op, sbx_sn(NULL, 0), true, &taken), SBX_OK); /* what the buffer has room for */
    sbx_step(K.c, K.s->now);
    ASSERT_CODE(sbx_tunnel_send(K.c, b.op, sbx_sn(NULL, 0), true, &taken), SBX_OK);
    sbx_step(K.c, K.s->now);
    sim_conn_end(K.s->tunnel, SIM_RST, K.s->now);
    pull_to_end(&b);
    ASSERT_CODE(b.code, SBX_ERR_CONNECTION);
    pull_to_end(&a);
    got_free(&a);
    got_free(&b);
    close_tunnel(tunnel);
    kit_end();
}

/* ---- time ---- */

static void test_pings(void **state)
{
    sbx_tunnel_opts o = { 0 };
    sbx_op tunnel;
    int64_t begun;
    got g;

    (void)state;
    kit_start(13);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&g, tunnel, 7);
    g.half_open = true;
    for (begun = K.s->now; K.s->now < begun + 305000;) {
        sbx_event ev;

        while (sbx_next(K.c, &ev))
            if (ev.user)
                take(&g, &ev);
        sbx_wait(K.c, 1000);
    }
    assert_int_equal(K.s->tunnel_pings, 10);
    assert_int_equal(K.s->pings, 0); /* of the WebSocket: none */
    K.s->tunnel_mute = true;
    begun = K.s->now;
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_ERR_CONNECTION);
    assert_true(K.s->now - begun <= 60000);
    got_free(&g);
    close_tunnel(tunnel);

    o.ping_interval_ms = SBX_FOREVER;
    K.s->tunnel_pings = 0;
    tunnel = sbx_tunnel_open(K.c, &K.box, &o);
    dial(&g, tunnel, 7);
    g.half_open = true;
    for (begun = K.s->now; K.s->now < begun + 305000;) {
        sbx_event ev;

        while (sbx_next(K.c, &ev))
            if (ev.user)
                take(&g, &ev);
        sbx_wait(K.c, 1000);
    }
    assert_int_equal(K.s->tunnel_pings, 0);
    ASSERT_CODE(sbx_cancel(K.c, g.op), SBX_OK);
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_ERR_CANCELLED);
    got_free(&g);
    close_tunnel(tunnel);
    kit_end();
}

/* A ping that was not sent, since other connections have all send buffers, is
   not waited for. */
static void test_ping_without_buffer(void **state)
{
    static char much[20000];
    sbx_tunnel_opts o = { 0 };
    sbx_op tunnel, hog;
    int64_t begun;
    sbx_event ev;
    size_t taken;
    got a, b;

    (void)state;
    kit_new(21);
    K.d.buffers = 2;
    kit_open();
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&a, tunnel, 7);
    a.half_open = true;
    assert_true(sbx_next_of(K.c, &a.op, &ev));
    take(&a, &ev);
    o.ping_interval_ms = SBX_FOREVER;
    hog = sbx_tunnel_open(K.c, &K.box, &o);
    dial(&b, hog, 9);
    b.half_open = true;
    assert_true(sbx_next_of(K.c, &b.op, &ev));
    take(&b, &ev);
    K.s->tunnel->no_read = true;
    ASSERT_CODE(sbx_tunnel_send(K.c, b.op, sbx_sn(much, sizeof much), false, &taken), SBX_OK);
    for (begun = K.s->now; K.s->now < begun + 95000;) {
        while (sbx_next(K.c, &ev))
            if (ev.user)
                take((got *)ev.user, &ev);
        sbx_wait(K.c, 1000);
    }
    assert_int_equal(a.ended, 0);
    assert_int_equal(K.s->tunnel_pings, 0);
    ASSERT_CODE(sbx_cancel(K.c, hog), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, hog), SBX_ERR_CANCELLED);
    pull_to_end(&b);
    sbx_wait(K.c, 100);
    assert_int_equal(K.s->tunnel_pings, 1);
    a.half_open = a.end_asked = false;
    say_more(&a);
    pull_to_end(&a);
    ASSERT_CODE(a.code, SBX_OK);
    got_free(&a);
    got_free(&b);
    close_tunnel(tunnel);
    kit_end();
}

/* A ping that found no room goes out when there is some. */
static void test_ping_late(void **state)
{
    static char much[20000];
    sbx_op tunnel;
    int64_t begun;
    sbx_event ev;
    size_t taken;
    got g, quiet;

    (void)state;
    kit_start(22);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&g, tunnel, 9);
    dial(&quiet, tunnel, 7);
    g.half_open = quiet.half_open = true;
    while (!g.started || !quiet.started) {
        while (sbx_next(K.c, &ev))
            if (ev.user)
                take((got *)ev.user, &ev);
        sbx_wait(K.c, 10);
    }
    K.s->tunnel->no_read = true;
    ASSERT_CODE(sbx_tunnel_send(K.c, g.op, sbx_sn(much, sizeof much), false, &taken), SBX_OK);
    ASSERT_CODE(sbx_tunnel_send(K.c, g.op, sbx_sn(NULL, 0), true, &taken), SBX_OK); /* takes the room that was left for a ping */
    for (begun = K.s->now; K.s->now < begun + 70000;) {
        while (sbx_next(K.c, &ev))
            if (ev.user)
                take((got *)ev.user, &ev);
        sbx_wait(K.c, 1000);
        if (K.s->tunnel && K.s->now >= begun + 45000)
            K.s->tunnel->no_read = false;
    }
    assert_int_equal(g.ended, 1);
    assert_int_equal(quiet.ended, 0);
    assert_int_equal(K.s->tunnel_pings, 1);
    quiet.half_open = quiet.end_asked = false;
    say_more(&quiet);
    pull_to_end(&quiet);
    ASSERT_CODE(quiet.code, SBX_OK);
    got_free(&g);
    got_free(&quiet);
    close_tunnel(tunnel);
    kit_end();
}

/* A server that takes nothing is given up, also where something of it was not
   looked at yet, and a tunnel that was closed does not wait for it. */
static void test_takes_nothing(void **state)
{
    static char much[20000];
    sbx_tunnel_opts o = { 0 };
    sbx_op tunnel;
    int64_t begun;
    size_t taken;
    sbx_event ev;
    got g;

    (void)state;
    for (unsigned closed = 0; closed < 2; closed++) {
        kit_start(23);
        o.ping_interval_ms = closed ? SBX_FOREVER : 0;
        tunnel = sbx_tunnel_open(K.c, &K.box, &o);
        dial(&g, tunnel, 9);
        g.half_open = true;
        assert_true(sbx_next_of(K.c, &g.op, &ev));
        take(&g, &ev);
        K.s->tunnel->no_read = true;
        ASSERT_CODE(sbx_tunnel_send(K.c, g.op, sbx_sn(much, sizeof much), false, &taken), SBX_OK);
        ASSERT_CODE(sbx_tunnel_send(K.c, g.op, sbx_sn(NULL, 0), true, &taken), SBX_OK);
        sbx_step(K.c, K.s->now);
        for (unsigned i = 0; i < 3; i++)
            sim_tunnel_send(K.s->tunnel, 1, 0, 1, 1);
        begun = K.s->now;
        if (closed) {
            ASSERT_CODE(sbx_cancel(K.c, g.op), SBX_OK);
            pull_to_end(&g);
            close_tunnel(tunnel);
            assert_true(K.s->now - begun <= 10000);
        } else {
            while (!g.ended && K.s->now < begun + 300000) {
                while (sbx_next(K.c, &ev))
                    if (ev.user)
                        take(&g, &ev);
                sbx_wait(K.c, 1000);
            }
            assert_int_equal(g.ended, 1);
            ASSERT_CODE(g.code, SBX_ERR_CONNECTION);
            assert_true(K.s->now - begun <= 61000);
            close_tunnel(tunnel);
        }
        got_free(&g);
        kit_end();
    }
}

/* A tunnel that waits for the program is not taken for dead. */
static void test_slow_program(void **state)
{
    sbx_op tunnel;
    int64_t begun;
    got g;

    (void)state;
    kit_start(14);
    K.s->tunnel_make = 400000;
    tunnel = tunnel_with(2048, 1);
    dial(&g, tunnel, 30);
    for (begun = K.s->now; K.s->now < begun + 200000;) {
        K.s->now += 500;
        sbx_step(K.c, K.s->now);
    }
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_OK);
    assert_int_equal(g.data.n, 400000);
    got_free(&g);
    close_tunnel(tunnel);
    kit_end();
}

static void test_deadlines(void **state)
{
    sbx_dial_opts o = { 0 };
    sbx_tunnel_opts t = { 0 };
    sbx_op tunnel, op;
    sbx_event ev;
    int64_t begun;

    (void)state;
    kit_start(15);
    t.call.total_ms = 100000;
    tunnel = sbx_tunnel_open(K.c, &K.box, &t);
    begun = K.s->now;
    o.call.timeout_ms = 7000;
    op = sbx_tunnel_dial(K.c, tunnel, 8, &o);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_DEADLINE);
    assert_int_equal(K.s->now - begun, 7000);
    o.call.total_ms = 9000;
    op = sbx_tunnel_dial(K.c, tunnel, 7, &o);
    assert_true(sbx_next_of(K.c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_STARTED);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_DEADLINE);
    assert_int_equal(K.s->now - begun, 16000);
    op = sbx_tunnel_dial(K.c, tunnel, 7, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_DEADLINE); /* with its tunnel */
    ASSERT_CODE(sbx_await(K.c, tunnel), SBX_ERR_DEADLINE);
    kit_end();
}

/* ---- ends ---- */

static void test_cancel(void **state)
{
    sbx_op tunnel;
    sbx_event ev;
    got a, b;

    (void)state;
    for (unsigned when = 0; when < 6; when++) {
        kit_start(16);
        tunnel = tunnel_with(4096, 2);
        dial(&a, tunnel, 30);
        dial(&b, tunnel, 7);
        K.s->tunnel_make = 300000;
        for (unsigned i = 0; i < when; i++)
            if (sbx_next(K.c, &ev)) {
                if (ev.user)
                    take((got *)ev.user, &ev);
            } else {
                sbx_wait(K.c, 10);
            }
        ASSERT_CODE(sbx_cancel(K.c, a.op), SBX_OK);
        pull_to_end(&a);
        ASSERT_CODE(a.code, SBX_ERR_CANCELLED);
        pull_to_end(&b);
        ASSERT_CODE(b.code, SBX_OK);
        got_free(&a);
        got_free(&b);
        dial(&a, tunnel, 30);
        dial(&b, tunnel, 31);
        for (unsigned i = 0; i < when; i++)
            if (sbx_next(K.c, &ev)) {
                if (ev.user)
                    take((got *)ev.user, &ev);
            } else {
                sbx_wait(K.c, 10);
            }
        ASSERT_CODE(sbx_cancel(K.c, tunnel), SBX_OK);
        ASSERT_CODE(sbx_await(K.c, tunnel), SBX_ERR_CANCELLED);
        pull_to_end(&a);
        pull_to_end(&b);
        ASSERT_CODE(a.code, SBX_ERR_CANCELLED);
        ASSERT_CODE(b.code, SBX_ERR_CANCELLED);
        got_free(&a);
        got_free(&b);
        kit_end();
    }
}

static void test_close_drains(void **state)
{
    sbx_op tunnel, late;
    sbx_event ev;
    size_t taken;
    got g;

    (void)state;
    kit_start(17);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&g, tunnel, 7);
    g.half_open = true;
    assert_true(sbx_next_of(K.c, &g.op, &ev));
    take(&g, &ev);
    ASSERT_CODE(sbx_tunnel_close(K.c, tunnel), SBX_OK);
    ASSERT_CODE(sbx_tunnel_close(K.c, tunnel), SBX_OK);
    late = sbx_tunnel_dial(K.c, tunnel, 7, NULL);
    ASSERT_CODE(sbx_await(K.c, late), SBX_ERR_STATE);
    sbx_wait(K.c, 1000);
    ASSERT_CODE(sbx_tunnel_send(K.c, g.op, sbx_s("still here"), true, &taken), SBX_OK);
    assert_int_equal(taken, 10);
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_OK);
    assert_string_equal(g.data.p, "still here");
    got_free(&g);
    ASSERT_CODE(sbx_await(K.c, tunnel), SBX_OK);
    ASSERT_CODE(sbx_tunnel_close(K.c, tunnel), SBX_ERR_HANDLE);

    /* Before it is open, and while it rests. */
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    close_tunnel(tunnel);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    assert_true(sbx_next_of(K.c, &tunnel, &ev));
    sim_conn_end(K.s->tunnel, SIM_EOF, K.s->now);
    sbx_wait(K.c, 100);
    close_tunnel(tunnel);
    kit_end();
}

static void test_client_ends(void **state)
{
    sbx_op tunnel;
    got g;

    (void)state;
    kit_start(18);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&g, tunnel, 7);
    sbx_wait(K.c, 100);
    ASSERT_CODE(sbx_await(K.c, sbx_shutdown(K.c, 1000)), SBX_OK);
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_ERR_CLOSED);
    got_free(&g);
    ASSERT_CODE(sbx_await(K.c, tunnel), SBX_ERR_CLOSED);
    kit_end();

    kit_start(18); /* and without a word */
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    dial(&g, tunnel, 7);
    got_free(&g);
    sbx_close(K.c);
    K.c = NULL;
    K.s->client = NULL;
    kit_end();
}

/* ---- arguments and memory ---- */

static void refused(sbx_op op, sbx_code code, const char *field)
{
    sbx_error e;

    assert_int_equal(op.slot, 0);
    ASSERT_CODE(sbx_await(K.c, op), code);
    e = kit_error(op);
    assert_string_equal(e.field, field);
}

static void test_arguments(void **state)
{
    static char memory[3 * 70000];
    sbx_tunnel_opts o = { 0 };
    sbx_dial_opts d = { 0 };
    sbx_header h = { { "A", 1 }, { "b", 1 } };
    sbx_box box;
    sbx_op tunnel, other;
    sbx_event ev;
    size_t taken;
    got g;

    (void)state;
    kit_start(19);
    refused(sbx_tunnel_open(K.c, NULL, NULL), SBX_ERR_ARGUMENT, "box");
    o.window = 1023;
    refused(sbx_tunnel_open(K.c, &K.box, &o), SBX_ERR_ARGUMENT, "window");
    o.window = 65536;
    o.max_streams = UINT32_MAX;
    refused(sbx_tunnel_open(K.c, &K.box, &o), SBX_ERR_ARGUMENT, "max_streams");
    o.max_streams = 3;
    o.ping_ms = -2;
    refused(sbx_tunnel_open(K.c, &K.box, &o), SBX_ERR_ARGUMENT, "ping_ms");
    o.ping_ms = 0;
    o.ping_interval_ms = -2;
    refused(sbx_tunnel_open(K.c, &K.box, &o), SBX_ERR_ARGUMENT, "ping_interval_ms");
    o.ping_interval_ms = 0;
    assert_true(sbx_tunnel_size(&o) > 3 * 65536 && sbx_tunnel_size(&o) < sizeof memory - 1);
    o.memory.p = memory + 1;
    o.memory.n = sbx_tunnel_size(&o) - 1;
    refused(sbx_tunnel_open(K.c, &K.box, &o), SBX_ERR_MEMORY, "memory");
    K.alloc_fail_at = 1;
    refused(sbx_tunnel_open(K.c, &K.box, NULL), SBX_ERR_MEMORY, "memory");
    K.alloc_fail_at = 0;
    refused(sbx_tunnel_dial(K.c, sbx_tunnel_open(K.c, NULL, NULL), 7, NULL), SBX_ERR_ARGUMENT, "tunnel");

    o.memory.n++;
    tunnel = sbx_tunnel_open(K.c, &K.box, &o);
    assert_int_equal(K.blocks, 0);
    refused(sbx_tunnel_dial(K.c, tunnel, 0, NULL), SBX_ERR_ARGUMENT, "port");
    d.call.headers = &h;
    d.call.headers_n = 1;
    refused(sbx_tunnel_dial(K.c, tunnel, 7, &d), SBX_ERR_ARGUMENT, "call.headers");
    d.call.headers_n = 0;
    d.call.api_key = sbx_s("k");
    refused(sbx_tunnel_dial(K.c, tunnel, 7, &d), SBX_ERR_ARGUMENT, "call.api_key");
    other = sbx_get(K.c, sbx_s("one"), NULL, &box, NULL);
    refused(sbx_tunnel_dial(K.c, other, 7, NULL), SBX_ERR_HANDLE, "tunnel");
    ASSERT_CODE(sbx_tunnel_send(K.c, other, sbx_s("x"), false, &taken), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_tunnel_hold(K.c, tunnel, true), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_tunnel_close(K.c, other), SBX_ERR_HANDLE);
    sbx_await(K.c, other);
    dial(&g, tunnel, 7);
    g.say = "in memory of one's own";
    g.say_n = strlen(g.say);
    assert_true(sbx_next_of(K.c, &tunnel, &ev));
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_OK);
    assert_string_equal(g.data.p, g.say);
    got_free(&g);
    close_tunnel(tunnel);
    kit_end();

    kit_new(19);
    K.d.resize = NULL;
    kit_open();
    refused(sbx_tunnel_open(K.c, &K.box, NULL), SBX_ERR_NO_BUFFER, "memory");
    kit_end();
}

/* Drops at random points, with connections in every state: each ends once, and
   what one that ended well had to say is whole. */
static void test_drops(void **state)
{
    enum { N = 10, ROUNDS = 6 };
    static got g[N];
    static const uint16_t ports[] = { 7, 30, 31, 1, 2, 5, 7, 7, 20, 6 };

    (void)state;
    for (uint64_t seed = 0; seed < 150; seed++) {
        sbx_op tunnel;

        kit_new(seed);
        random_knobs(seed + 1);
        K.s->knobs.drop_open = seed % 3 ? 150 : 0;
        K.s->knobs.recv_max = 1 + (uint32_t)(seed % 5) * 3000;
        K.s->tunnel_make = 20000;
        K.d.buffers = 2 + seed % 3;
        K.d.rx_bytes = 512 + (uint32_t)(seed % 7) * 1000;
        K.d.tx_bytes = 1024 + (uint32_t)(seed % 4) * 3000;
        kit_open();
        tunnel = tunnel_with(seed % 2 ? 2000 : 0, N);
        for (unsigned round = 0; round < ROUNDS; round++) {
            unsigned left = N;
            bool dropped = false;
            sbx_event ev;

            for (unsigned i = 0; i < N; i++) {
                dial(&g[i], tunnel, ports[i]);
                g[i].say = "some words to be echoed";
                g[i].say_n = 23;
                if (K.s->request_n == 0 && sim_chance(K.s, 300))
                    sbx_wait(K.c, 5);
            }
            while (left) {
                if (sbx_next(K.c, &ev)) {
                    if (ev.user) {
                        take((got *)ev.user, &ev);
                        left -= ev.kind == SBX_EV_END;
                    } else if (ev.kind == SBX_EV_END) {
                        tunnel.slot = 0;
                    }
                } else {
                    sbx_wait(K.c, SBX_FOREVER);
                }
                if (!dropped && K.s->tunnel && sim_chance(K.s, 30)) {
                    sim_conn_end(K.s->tunnel, (sim_end)(1 + sim_draw(K.s, 5)), K.s->now);
                    dropped = true;
                }
            }
            for (unsigned i = 0; i < N; i++) {
                if (g[i].code == SBX_OK && g[i].port == 7)
                    assert_string_equal(g[i].data.p, g[i].say);
                if (g[i].code == SBX_OK && g[i].port >= 30)
                    assert_int_equal(g[i].data.n, 20000);
                assert_true(g[i].ended == 1);
                got_free(&g[i]);
            }
            while (sbx_next(K.c, &ev))
                if (ev.kind == SBX_EV_END)
                    tunnel.slot = 0;
            if (!tunnel.slot)
                tunnel = tunnel_with(0, N); /* it could not be opened at all */
        }
        ASSERT_CODE(sbx_cancel(K.c, tunnel), SBX_OK);
        ASSERT_CODE(sbx_await(K.c, tunnel), SBX_ERR_CANCELLED);
        kit_end();
    }
}

/* A WebSocket ping of which a part has come: its pong stands half in the send
   buffer, and nothing may come between. Who wants to write is not told that it
   can, again and again; and what the tunnel has to say meanwhile is not lost. */
static void test_half_a_ping(void **state)
{
    sbx_op tunnel;
    sbx_event ev;
    size_t taken;
    got g;

    (void)state;
    kit_start(1);
    tunnel = tunnel_with(0, 2);
    dial(&g, tunnel, 9);
    g.half_open = true;
    for (int i = 0; i < 20; i++) {
        while (sbx_next(K.c, &ev))
            if (ev.user)
                take((got *)ev.user, &ev);
        sbx_wait(K.c, 100);
    }
    assert_int_equal(g.started, 1);
    sim_conn_write(K.s->tunnel, "\x89\x03" "ab", 4, K.s->now);
    for (int i = 0; i < 10; i++)
        sbx_wait(K.c, 1);
    ASSERT_CODE(sbx_tunnel_send(K.c, g.op, sbx_s("hello"), false, &taken), SBX_OK);
    for (int i = 0; !taken && i < 100; i++) {
        if (!sbx_next(K.c, &ev)) {
            assert_true(sbx_next_deadline(K.c) > K.s->now); /* it can sleep */
            break;
        }
        assert_int_equal(ev.kind, 0); /* there is nothing to tell */
    }
    ASSERT_CODE(sbx_tunnel_send(K.c, g.op, sbx_s(""), true, &taken), SBX_OK);
    for (int i = 0; i < 10; i++)
        sbx_wait(K.c, 1);
    sim_conn_write(K.s->tunnel, "c", 1, K.s->now);
    pull_to_end(&g);
    ASSERT_CODE(g.code, SBX_OK);
    assert_int_equal(K.s->tunnel_fins, 1);
    got_free(&g);
    close_tunnel(tunnel);
    kit_end();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost), cmocka_unit_test(test_open_fails), cmocka_unit_test(test_reopen_fails), cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_violations), cmocka_unit_test(test_peer_opens), cmocka_unit_test(test_unsaid_end), cmocka_unit_test(test_pings), cmocka_unit_test(test_slow_program), cmocka_unit_test(test_ping_without_buffer), cmocka_unit_test(test_ping_late), cmocka_unit_test(test_takes_nothing),
        cmocka_unit_test(test_deadlines), cmocka_unit_test(test_cancel), cmocka_unit_test(test_close_drains), cmocka_unit_test(test_client_ends),
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_drops), cmocka_unit_test(test_half_a_ping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
