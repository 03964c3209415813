/* Tunnels and their connections, over a peer that speaks yamux by hand. */
#include "tunnel.h"

enum { MANY = 1000 };

/* ---- one connection ---- */

static void test_echo(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        sbx_event ev;
        sbx_op tunnel;
        got g;

        kit_new(seed);
        random_knobs(seed);
        if (seed & 1)
            K.d.transport = &sim_level;
        kit_open();
        tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
        if (seed & 2) {
            assert_true(sbx_next_of(K.c, &tunnel, &ev));
            assert_int_equal(ev.kind, SBX_EV_STARTED);
        }
        dial(&g, tunnel, 7);
        g.say = "hello, port";
        g.say_n = 11;
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_OK);
        assert_int_equal(g.started, 1);
        assert_int_equal(g.eof, 1);
        assert_string_equal(g.data.p, "hello, port");
        got_free(&g);
        close_tunnel(tunnel);
        assert_int_equal(K.s->tunnel_goaway, 0);
        assert_int_equal(K.s->tunnel_resets, 0);
        assert_int_equal(K.s->tunnel_fins, 1);
        assert_int_equal(K.s->tunnels, 1);
        kit_end();
    }
}

static void test_request(void **state)
{
    sbx_tunnel_opts o = { 0 };
    sbx_header h[2];
    char text[64];
    sbx_op tunnel;
    got g;

    (void)state;
    kit_new(1);
    h[0].name = sbx_s("X-Own");
    h[0].value = sbx_s("client");
    K.d.headers = h;
    K.d.headers_n = 1;
    kit_open();
    h[1].name = sbx_s("X-Call");
    h[1].value = sbx_s("this");
    o.call.headers = h + 1;
    o.call.headers_n = 1;
    o.call.api_key = sbx_s("key-2");
    tunnel = sbx_tunnel_open(K.c, &K.box, &o);
    for (unsigned i = 0; i < 2; i++) {
        const sim_request *r;

        dial(&g, tunnel, 7);
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_OK);
        got_free(&g);
        r = kit_request(0);
        assert_string_equal(r->method, "GET");
        assert_string_equal(r->target, "/b/one/tunnel");
        assert_string_equal(sim_header(r, "X-Own", text, sizeof text), "client");
        assert_string_equal(sim_header(r, "X-Call", text, sizeof text), "this");
        assert_string_equal(sim_header(r, "X-Api-Key", text, sizeof text), "key-2");
        assert_int_equal(K.s->request_n, i + 1);
        if (!i) {
            sim_conn_end(K.s->tunnel, SIM_RST, K.s->now); /* opened again with the same */
            sbx_wait(K.c, 10);
        }
    }
    close_tunnel(tunnel);
    kit_end();
}

static void test_refusals(void **state)
{
    static const struct {
        uint16_t port;
        sbx_code code;
        const char *text;
    } cases[] = {
        { 1, SBX_ERR_PORT_DENIED, "the sandbox does not let this port be reached" },
        { 2, SBX_ERR_DIAL, "nothing answers at this port inside the sandbox" },
        { 3, SBX_ERR_TUNNEL_VERSION, "the server speaks another version of the tunnel's protocol" },
        { 4, SBX_ERR_PROTOCOL, "the server answered the dial with a byte that the protocol does not know" },
        { 5, SBX_ERR_CONNECTION, "the connection was reset by the other side" },
        { 6, SBX_ERR_CONNECTION, "the server ended the connection before it answered" },
        { 8, SBX_ERR_DEADLINE, NULL },
    };
    sbx_op tunnel;
    sbx_error e;
    got g;

    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        kit_new(seed);
        random_knobs(seed);
        kit_open();
        tunnel = tunnel_with(0, 1); /* each one's place is free again */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            dial(&g, tunnel, cases[i].port);
            pull_to_end(&g);
            ASSERT_CODE(g.code, cases[i].code);
            e = kit_error(g.op);
            assert_string_equal(e.operation, "tunnel_dial");
            if (cases[i].text)
                assert_string_equal(e.text, cases[i].text);
            assert_int_equal(g.started, 0);
            got_free(&g);
        }
        dial(&g, tunnel, 20);
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_ERR_CONNECTION);
        assert_int_equal(g.data.n, 100); /* what came before the reset counts */
        got_free(&g);
        dial(&g, tunnel, 7);
        g.say = "ok";
        g.say_n = 2;
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_OK);
        got_free(&g);
        assert_int_equal(K.s->tunnels, 1);
        close_tunnel(tunnel);
        kit_end();
    }
}

/* ---- much data ---- */

static void test_download(void **state)
{
    static const uint32_t windows[] = { 1024, 5000, 65536, 262144, 300000, 1048576 };

    (void)state;
    for (uint64_t seed = 0; seed < 18; seed++) {
        sbx_op tunnel;
        sbx_usage u;
        got g;

        kit_new(seed);
        random_knobs(seed);
        K.s->knobs.recv_max = seed % 4 ? 30000 : 0;
        K.s->tunnel_make = seed % 2 ? 3000000 : 700000;
        kit_open();
        K.s->tunnel_extra = windows[seed % 6] > 262144 ? windows[seed % 6] - 262144 : 0;
        tunnel = tunnel_with(windows[seed % 6], 2);
        dial(&g, tunnel, 19);
        if (seed % 3)
            pull_to_end(&g);
        else
            pull_all(1, NULL);
        ASSERT_CODE(g.code, SBX_OK);
        assert_int_equal(g.data.n, K.s->tunnel_make);
        assert_int_equal(g.eof, 1);
        got_free(&g);
        sbx_get_usage(K.c, &u);
        assert_true(u.rx_high <= 2);
        close_tunnel(tunnel);
        kit_end();
    }
}

/* Both ways at once, on many connections, all pulled. */
static void test_many_both_ways(void **state)
{
    enum { N = 12, EACH = 400000 };
    static char text[EACH];
    static got g[N];

    (void)state;
    for (size_t i = 0; i < EACH; i++)
        text[i] = (char)(i * 7 + (i >> 9));
    for (uint64_t seed = 0; seed < 12; seed++) {
        sbx_op tunnel;

        kit_new(seed);
        random_knobs(seed);
        K.s->knobs.recv_max = seed % 4 ? 30000 : 0;
        K.s->knobs.send_max = seed % 3 ? 5000 : 0;
        K.d.tx_bytes = seed % 2 ? 1024 : 65536;
        kit_open();
        K.s->tunnel_extra = 700000 - 262144;
        tunnel = tunnel_with(seed % 3 == 0 ? 0 : seed % 3 == 1 ? 4096 : 700000, N);
        for (unsigned i = 0; i < N; i++) {
            dial(&g[i], tunnel, 7);
            g[i].say = text + i;
            g[i].say_n = EACH - 1000 * i;
        }
        pull_all(N, NULL);
        for (unsigned i = 0; i < N; i++) {
            ASSERT_CODE(g[i].code, SBX_OK);
            assert_int_equal(g[i].data.n, g[i].say_n);
            assert_memory_equal(g[i].data.p, g[i].say, g[i].say_n);
            got_free(&g[i]);
        }
        close_tunnel(tunnel);
        kit_end();
    }
}

/* All stand at once; a server's backlog of 256 is never filled. */
static void test_thousand(void **state)
{
    static got g[MANY];
    unsigned n = 0, standing = 0;
    sbx_op tunnel;
    sbx_event ev;

    (void)state;
    kit_new(5);
    K.d.max_ops = MANY + 2;
    K.s->knobs.recv_max = 3000;
    kit_open();
    K.s->tunnel_waits = true;
    tunnel = tunnel_with(1024, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        dial(&g[i], tunnel, 7);
        g[i].half_open = true;
    }
    assert_int_equal(sbx_tunnel_dial(K.c, tunnel, 7, NULL).slot, 0);
    for (unsigned i = 0; i < 20; i++)
        sbx_wait(K.c, 100);
    assert_int_equal(K.s->tunnel_dials, 128);
    ASSERT_CODE(sbx_cancel(K.c, g[0].op), SBX_OK);
    for (unsigned i = 0; i < 20; i++)
        sbx_wait(K.c, 100);
    assert_int_equal(K.s->tunnel_dials, 129);
    sim_tunnel_accept(K.s->tunnel);
    while (standing < MANY - 1) {
        while (sbx_next(K.c, &ev)) {
            if (!ev.user) {
                n++;
                continue;
            }
            take((got *)ev.user, &ev);
            standing += ev.kind == SBX_EV_STARTED;
        }
        if (standing < MANY - 1)
            assert_true(sbx_wait(K.c, SBX_FOREVER));
    }
    assert_int_equal(g[0].ended, 1);
    got_free(&g[0]);
    dial(&g[0], tunnel, 7);
    for (unsigned i = 0; i < MANY; i++) {
        g[i].say = "1000 connections";
        g[i].say_n = 16;
        g[i].half_open = g[i].end_asked = false;
        say_more(&g[i]);
    }
    pull_all(MANY, &n);
    for (unsigned i = 0; i < MANY; i++) {
        ASSERT_CODE(g[i].code, SBX_OK);
        assert_string_equal(g[i].data.p, "1000 connections");
        got_free(&g[i]);
    }
    assert_int_equal(n, 1); /* STARTED */
    close_tunnel(tunnel);
    kit_end();
}

/* 64 MiB through a ring of 4 KiB: the peer's checks hold, and nothing grows. */
static void test_long(void **state)
{
    sbx_op tunnel;
    sbx_event ev;
    sbx_op op;
    uint64_t n = 0;

    (void)state;
    kit_start(9);
    K.s->tunnel_make = UINT64_C(64) << 20;
    tunnel = tunnel_with(4096, 1);
    op = sbx_tunnel_dial(K.c, tunnel, 9 + 12, NULL);
    while (sbx_next_of(K.c, &op, &ev)) {
        size_t taken;

        if (ev.kind == SBX_EV_DATA) {
            assert_int_equal(ev.offset, n);
            assert_true(ev.data.n <= 4096);
            assert_int_equal((unsigned char)ev.data.p[0], sim_tunnel_byte(21, n));
            n += ev.data.n;
        }
        if (ev.kind == SBX_EV_EOF)
            ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_s(""), true, &taken), SBX_OK);
        if (ev.kind == SBX_EV_END)
            ASSERT_CODE(ev.code, SBX_OK);
    }
    assert_int_equal(n, K.s->tunnel_make);
    assert_int_equal(K.blocks, 1);
    close_tunnel(tunnel);
    kit_end();
}

/* ---- slow ones ---- */

/* With a window of 256 KiB one that nobody pulls stops nobody. */
static void test_unpulled(void **state)
{
    sbx_op tunnel;
    got a, b;

    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        kit_new(seed);
        random_knobs(seed);
        K.s->knobs.recv_max = seed ? 20000 : 0;
        K.s->tunnel_make = 1000000;
        kit_open();
        tunnel = tunnel_with(0, 2);
        dial(&a, tunnel, 30);
        dial(&b, tunnel, 31);
        pull_to_end(&b);
        ASSERT_CODE(b.code, SBX_OK);
        assert_int_equal(b.data.n, 1000000);
        pull_to_end(&a);
        ASSERT_CODE(a.code, SBX_OK);
        assert_int_equal(a.data.n, 1000000);
        got_free(&a);
        got_free(&b);
        close_tunnel(tunnel);
        kit_end();
    }
}

/* With less, its first bytes are in the way of one that is waited for. */
static void test_jam(void **state)
{
    sbx_op tunnel;
    sbx_error e;
    got a, b;

    (void)state;
    kit_start(3);
    K.s->tunnel_make = 1000000;
    tunnel = tunnel_with(10000, 2);
    dial(&a, tunnel, 30);
    dial(&b, tunnel, 31);
    pull_to_end(&b);
    ASSERT_CODE(b.code, SBX_OK);
    assert_int_equal(b.data.n, 1000000);
    pull_to_end(&a);
    ASSERT_CODE(a.code, SBX_ERR_TOO_LARGE);
    assert_int_equal(a.data.n, 10000);
    e = kit_error(a.op);
    assert_non_null(strstr(e.text, "262,144"));
    assert_int_equal(K.s->tunnel_resets, 1);
    got_free(&a);
    got_free(&b);
    close_tunnel(tunnel);
    kit_end();
}

/* To wait for something else resets nothing. */
static void test_no_jam(void **state)
{
    sbx_op tunnel;
    sbx_box box;
    got a;

    (void)state;
    kit_start(4);
    strcpy(K.s->boxes[0].name, "one");
    strcpy(K.s->boxes[0].status, "ready");
    K.s->box_n = 1;
    K.s->tunnel_make = 1000000;
    tunnel = tunnel_with(10000, 2);
    dial(&a, tunnel, 30);
    for (unsigned i = 0; i < 5; i++)
        ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("one"), NULL, &box, NULL)), SBX_OK);
    pull_to_end(&a);
    ASSERT_CODE(a.code, SBX_OK);
    assert_int_equal(a.data.n, 1000000);
    got_free(&a);
    close_tunnel(tunnel);
    kit_end();
}

/* A connection that is waited for may use the last buffers, though it is its
   tunnel that moves the bytes. */
static void test_last_buffers(void **state)
{
    sim_plan p = { 0 };
    sbx_run_opts o = { 0 };
    sbx_op tunnel, other;
    sbx_event ev;
    size_t taken;
    int64_t begun;
    got g;

    (void)state;
    for (unsigned held = 0; held < 2; held++) { /* receive buffers are scarce, then send buffers */
        kit_new(5);
        K.d.buffers = 2;
        kit_open();
        p.until_kill = held;
        p.talk[0] = held ? NULL : "{\"type\":\"started\",\"command_id\":\"$ID\",\"pid\":1}\n"
                                  "{\"type\":\"stdout\",\"data\":\"a\",\"offset\":0}\n{\"type\":\"stdout\",\"data\":\"b\",\"offset\":1}\n";
        sim_add_plan(K.s, &p);
        o.stdin_open = true;
        other = sbx_command(K.c, &K.box, sbx_s("true"), &o);
        do
            assert_true(sbx_next_of(K.c, &other, &ev));
        while (ev.kind != (held ? SBX_EV_STARTED : SBX_EV_STDOUT));
        if (held) {
            K.s->commands[0]->conn->no_read = true;
            ASSERT_CODE(sbx_input(K.c, other, sbx_s("stuck"), &taken), SBX_OK);
        }
        begun = K.s->now;
        tunnel = tunnel_with(0, 2);
        K.s->tunnel_make = 100000;
        dial(&g, tunnel, 30);
        pull_to_end(&g);
        ASSERT_CODE(g.code, SBX_OK);
        assert_int_equal(g.data.n, 100000);
        assert_true(K.s->now - begun < 1000);
        got_free(&g);
        close_tunnel(tunnel);
        ASSERT_CODE(sbx_cancel(K.c, other), SBX_OK);
        ASSERT_CODE(sbx_await(K.c, other), SBX_ERR_CANCELLED);
        kit_end();
    }
}

static void test_hold(void **state)
{
    sbx_op tunnel;
    sbx_event ev;
    got a, b;

    (void)state;
    kit_start(5);
    K.s->tunnel_make = 600000;
    tunnel = tunnel_with(0, 2);
    dial(&a, tunnel, 30);
    dial(&b, tunnel, 31);
    while (!a.started) {
        while (!a.started && sbx_next(K.c, &ev))
            if (ev.user)
                take((got *)ev.user, &ev);
        if (!a.started)
            sbx_wait(K.c, SBX_FOREVER);
    }
    ASSERT_CODE(sbx_tunnel_hold(K.c, a.op, true), SBX_OK);
    if (!b.ended)
        pull_all(1, NULL);
    assert_int_equal(b.ended, 1);
    assert_int_equal(a.ended, 0);
    assert_true(a.data.n < 600000);
    assert_false(sbx_next(K.c, &ev));
    ASSERT_CODE(sbx_tunnel_hold(K.c, a.op, false), SBX_OK);
    pull_all(1, NULL);
    ASSERT_CODE(a.code, SBX_OK);
    assert_int_equal(a.data.n, 600000);
    got_free(&a);
    got_free(&b);
    close_tunnel(tunnel);
    kit_end();
}

/* What a program gives back comes again, in its place and once, also behind a
   hold, and its sender is not told that it was taken. */
static void test_unread(void **state)
{
    sbx_op tunnel, other;
    unsigned n = 0;
    sbx_event ev;
    got a;

    (void)state;
    kit_start(5);
    K.s->tunnel_make = 600000;
    tunnel = tunnel_with(0, 2);
    dial(&a, tunnel, 30);
    other = sbx_tunnel_dial(K.c, tunnel, 31, NULL);
    ASSERT_CODE(sbx_tunnel_unread(K.c, a.op, 1), SBX_ERR_STATE);
    ASSERT_CODE(sbx_tunnel_unread(K.c, tunnel, 0), SBX_ERR_HANDLE);
    while (sbx_next_of(K.c, &a.op, &ev)) {
        if (ev.kind == SBX_EV_DATA && n++ % 3) {
            size_t back = n % 3 == 2 ? ev.data.n : ev.data.n / 2;

            ASSERT_CODE(sbx_tunnel_unread(K.c, other, 1), SBX_ERR_STATE);
            ASSERT_CODE(sbx_tunnel_unread(K.c, a.op, ev.data.n + 1), SBX_ERR_STATE);
            ASSERT_CODE(sbx_tunnel_hold(K.c, a.op, true), SBX_OK);
            ASSERT_CODE(sbx_tunnel_unread(K.c, a.op, back), SBX_OK);
            ev.data.n -= back;
            sbx_wait(K.c, 0);
            ASSERT_CODE(sbx_tunnel_hold(K.c, a.op, false), SBX_OK);
        }
        take(&a, &ev);
    }
    assert_true(n > 6);
    ASSERT_CODE(a.code, SBX_OK);
    assert_int_equal(a.data.n, 600000);
    sbx_cancel(K.c, other);
    sbx_await(K.c, other);
    got_free(&a);
    close_tunnel(tunnel);
    kit_end();
}

/* A ping that is cut, whose pong is begun: who wants to write waits for its
   rest, and is not told in vain that it may. */
static void test_cut_ping(void **state)
{
    static char text[20000];
    sbx_op tunnel, op;
    unsigned told = 0;
    sbx_event ev;
    size_t taken;

    (void)state;
    kit_start(6);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    op = sbx_tunnel_dial(K.c, tunnel, 9, NULL);
    assert_true(sbx_next_of(K.c, &op, &ev));
    sim_conn_write(K.s->tunnel, "\x89\x02p", 3, K.s->now);
    sbx_wait(K.c, 1);
    while (sbx_next(K.c, &ev))
        assert_int_equal(ev.kind, SBX_EV_STARTED); /* the tunnel's */
    ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, sizeof text), true, &taken), SBX_OK);
    assert_int_equal(taken, 0);
    for (unsigned i = 0; i < 50; i++) {
        sbx_step(K.c, K.s->now);
        told += sbx_next(K.c, &ev);
        ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, sizeof text), true, &taken), SBX_OK);
        assert_int_equal(taken, 0);
    }
    assert_int_equal(told, 0);
    sim_conn_write(K.s->tunnel, "q", 1, K.s->now);
    assert_true(sbx_next_of(K.c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_WRITABLE);
    ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, sizeof text), true, &taken), SBX_OK);
    assert_int_equal(taken, sizeof text);
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    close_tunnel(tunnel);
    kit_end();
}

/* Through the send buffer's own room, in pieces of all sizes, and back. */
static void test_in_place(void **state)
{
    enum { ALL = 700000 };
    sbx_op tunnel, op;
    size_t said = 0, heard = 0, n, taken, step = 0;
    bool ended = false;
    sbx_buf room;
    sbx_event ev;

    (void)state;
    kit_start(6);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    ASSERT_CODE(sbx_tunnel_reserve(K.c, tunnel, &room), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_tunnel_commit(K.c, tunnel, 0), SBX_ERR_HANDLE);
    op = sbx_tunnel_dial(K.c, tunnel, 7, NULL);
    ASSERT_CODE(sbx_tunnel_reserve(K.c, op, &room), SBX_OK);
    assert_int_equal(room.n, 0); /* it does not stand yet */
    ASSERT_CODE(sbx_tunnel_commit(K.c, op, 1), SBX_ERR_TOO_LARGE);
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_DATA)
            for (size_t i = 0; i < ev.data.n; i++, heard++)
                if ((unsigned char)ev.data.p[i] != sim_tunnel_byte(7, heard))
                    fail_msg("byte %zu", heard);
        if (ev.kind == SBX_EV_END)
            ASSERT_CODE(ev.code, SBX_OK);
        while (ev.kind != SBX_EV_EOF && ev.kind != SBX_EV_END && said < ALL) {
            ASSERT_CODE(sbx_tunnel_reserve(K.c, op, &room), SBX_OK);
            if (!room.n)
                break;
            ASSERT_CODE(sbx_tunnel_commit(K.c, op, room.n + 1), SBX_ERR_TOO_LARGE);
            n = step++ % 3 ? room.n : step * 7 % 300; /* none among them */
            n = n < room.n ? n : room.n;
            n = n < ALL - said ? n : ALL - said;
            for (size_t i = 0; i < n; i++)
                ((unsigned char *)room.p)[i] = sim_tunnel_byte(7, said + i);
            ASSERT_CODE(sbx_tunnel_commit(K.c, op, n), SBX_OK);
            said += n;
        }
        if (said == ALL && !ended) {
            ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(NULL, 0), true, &taken), SBX_OK);
            ASSERT_CODE(sbx_tunnel_reserve(K.c, op, &room), SBX_ERR_STATE);
            ended = true;
        }
    }
    assert_int_equal(heard, ALL);
    close_tunnel(tunnel);
    kit_end();
}

/* No random bytes, no frame; what the window had is not lost by it. */
static void test_in_place_without_random(void **state)
{
    sbx_op tunnel, op;
    sbx_buf room;
    sbx_event ev;
    size_t before;

    (void)state;
    kit_start(6);
    K.s->tunnel_no_credit = true;
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    op = sbx_tunnel_dial(K.c, tunnel, 9, NULL);
    assert_true(sbx_next_of(K.c, &op, &ev));
    for (before = 0; before < 262144 - 3 - 1000; before += room.n) {
        ASSERT_CODE(sbx_tunnel_reserve(K.c, op, &room), SBX_OK);
        room.n = room.n < 262144 - 3 - 1000 - before ? room.n : 262144 - 3 - 1000 - before;
        memset(room.p, 'x', room.n);
        ASSERT_CODE(sbx_tunnel_commit(K.c, op, room.n), SBX_OK);
    }
    K.s->no_entropy = true;
    for (unsigned i = 0; i < 40; i++) { /* some are in store */
        sbx_code code;

        ASSERT_CODE(sbx_tunnel_reserve(K.c, op, &room), SBX_OK);
        code = sbx_tunnel_commit(K.c, op, 10);
        before += code == SBX_OK ? 10 : 0;
        assert_true(code == SBX_OK || code == SBX_ERR_ENTROPY);
    }
    K.s->no_entropy = false;
    ASSERT_CODE(sbx_tunnel_reserve(K.c, op, &room), SBX_OK);
    assert_int_equal(room.n, 262144 - 3 - before);
    ASSERT_CODE(sbx_tunnel_commit(K.c, op, 0), SBX_OK);
    ASSERT_CODE(sbx_cancel(K.c, tunnel), SBX_OK);
    sbx_await(K.c, op);
    sbx_await(K.c, tunnel);
    kit_end();
}

/* Who finds no room in place is told when there is some, and keeps none from
   others meanwhile: not where they have all send buffers, nor while a ping has
   come by half, also where the tunnel has something to say. */
static void test_in_place_waits(void **state)
{
    static char much[20000];
    sbx_tunnel_opts o = { 0 };

    (void)state;
    o.ping_interval_ms = SBX_FOREVER;
    for (unsigned half = 0; half < 3; half++) {
        sbx_op tunnel, hog, late = { 0, 0 }, get = { 0, 0 };
        sim_conn *conn;
        unsigned writable = 0, others = 0;
        sbx_buf room;
        sbx_event ev;
        size_t taken;
        got a, b;

        kit_new(21);
        K.d.buffers = 2;
        kit_open();
        tunnel = sbx_tunnel_open(K.c, &K.box, &o);
        dial(&a, tunnel, 9);
        assert_true(sbx_next_of(K.c, &a.op, &ev));
        conn = K.s->tunnel;
        hog = sbx_tunnel_open(K.c, &K.box, &o);
        dial(&b, hog, 9);
        assert_true(sbx_next_of(K.c, &b.op, &ev));
        for (unsigned i = 0; i < 5; i++) {
            while (sbx_next(K.c, &ev)) {
            }
            sbx_wait(K.c, 10);
        }
        if (half) {
            sim_conn_write(conn, "\x89\x03" "ab", 4, K.s->now);
            sbx_wait(K.c, 10);
        } else {
            K.s->tunnel->no_read = true;
            ASSERT_CODE(sbx_tunnel_send(K.c, b.op, sbx_sn(much, sizeof much), false, &taken), SBX_OK);
        }
        ASSERT_CODE(sbx_tunnel_reserve(K.c, a.op, &room), SBX_OK);
        assert_int_equal(room.n, 0);
        if (half == 2)
            late = sbx_tunnel_dial(K.c, tunnel, 8, NULL);
        if (half)
            get = sbx_list(K.c, NULL, NULL);
        for (unsigned i = 0; i < 200; i++) {
            if (i == 100 && half)
                sim_conn_write(conn, "c", 1, K.s->now);
            if (i == 100)
                K.s->tunnel->no_read = false;
            while (sbx_next(K.c, &ev)) {
                writable += ev.op.slot == a.op.slot && ev.kind == SBX_EV_WRITABLE;
                others += half && ev.op.slot == get.slot && ev.kind == SBX_EV_END && ev.code == SBX_OK && i < 100;
            }
            sbx_wait(K.c, 10);
        }
        if (writable != 1 || others != (half > 0))
            fail_msg("case %u: writable %u, others %u", half, writable, others);
        ASSERT_CODE(sbx_cancel(K.c, tunnel), SBX_OK);
        ASSERT_CODE(sbx_cancel(K.c, hog), SBX_OK);
        if (half == 2)
            sbx_await(K.c, late);
        sbx_await(K.c, a.op);
        sbx_await(K.c, b.op);
        sbx_await(K.c, tunnel);
        sbx_await(K.c, hog);
        got_free(&a);
        got_free(&b);
        kit_end();
    }
}

/* The peer takes no more than its window, and then more again. */
static void test_send_window(void **state)
{
    static char text[500000];
    sbx_op tunnel, op;
    sbx_event ev;
    size_t taken;

    (void)state;
    kit_start(6);
    K.s->tunnel_no_credit = true;
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    op = sbx_tunnel_dial(K.c, tunnel, 9, NULL);
    ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, 10), false, &taken), SBX_OK);
    assert_int_equal(taken, 0); /* it does not stand yet */
    assert_true(sbx_next_of(K.c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_STARTED);
    ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, sizeof text), true, &taken), SBX_OK);
    assert_int_equal(taken, 262144 - 3);
    sbx_step(K.c, K.s->now);
    assert_int_equal(K.s->tunnel_heard, 262144 - 3);
    assert_int_equal(K.s->tunnel_fins, 0);
    sim_tunnel_credit(K.s->tunnel, 1000);
    do
        assert_true(sbx_next_of(K.c, &op, &ev));
    while (ev.kind != SBX_EV_WRITABLE);
    ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, 2000), true, &taken), SBX_OK);
    assert_int_equal(taken, 1000);
    sim_tunnel_credit(K.s->tunnel, 5000);
    assert_true(sbx_next_of(K.c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_WRITABLE);
    ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, 1000), true, &taken), SBX_OK);
    assert_int_equal(taken, 1000);
    ASSERT_CODE(sbx_tunnel_send(K.c, op, sbx_sn(text, 1), false, &taken), SBX_ERR_STATE);
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    assert_int_equal(K.s->tunnel_fins, 1);
    assert_int_equal(K.s->tunnel_heard, 262144 - 3 + 2000);
    close_tunnel(tunnel);
    kit_end();
}

/* The transport-less client: the same bytes, moved by the program. */
static void test_ports(void **state)
{
    sim *s = sim_new(20);
    sim_conn conn;
    sbx_client *c;
    sbx_client_desc d = { 0 };
    sbx_op tunnel, op;
    sbx_event ev;
    sbx_port port;
    char out[512], text[64] = "", request[4096] = "";
    size_t n, taken, at, request_n = 0;
    bool ended = false;
    sbx_box box;
    void *mem;

    (void)state;
    memset(&conn, 0, sizeof conn);
    conn.world = s;
    conn.end_at = SIM_NEVER;
    d.transport = &sbx_ports;
    d.endpoint = SIM_API;
    d.api_key = "key";
    d.resize = kit_resize;
    memset(&K, 0, sizeof K);
    K.s = s;
    n = sbx_client_size(&d);
    mem = malloc(n);
    assert_int_equal(sbx_client_init(mem, n, &d, &c, NULL), SBX_OK);
    sbx_port_seed(c, "0123456789abcdef0123456789abcdef", 32, 0);
    assert_true(sbx_box_named(&box, sbx_s("one"), sbx_s("http://dp.test/b/one")));
    tunnel = sbx_tunnel_open(c, &box, NULL);
    op = sbx_tunnel_dial(c, tunnel, 7, NULL);
    for (int64_t now = 0; now < 200 && !ended; now++) {
        sbx_step(c, now);
        while (sbx_port_next(c, &port))
            if (port.action == SBX_PORT_CONNECT)
                sbx_port_opened(c, port.id);
        while ((n = sbx_port_send(c, 1, out, 7)) > 0) {
            if (conn.ws) {
                sim_put(&conn.in, out, n);
                sim_ws_input(&conn);
                continue;
            }
            memcpy(request + request_n, out, n);
            request_n += n;
            if (request_n > 4 && !memcmp(request + request_n - 4, "\r\n\r\n", 4)) {
                conn.req.head = request;
                sim_upgrade(&conn);
                sim_tunnel_begin(&conn);
            }
        }
        for (at = conn.out_at; at < conn.out.n;) {
            taken = sbx_port_recv(c, 1, conn.out.p + at, conn.out.n - at > 5 ? 5 : conn.out.n - at);
            at += taken;
            if (!taken)
                break;
        }
        conn.out_at = at;
        while (sbx_next(c, &ev)) {
            if (ev.op.slot != op.slot)
                continue;
            if (ev.kind == SBX_EV_STARTED) {
                assert_int_equal(sbx_tunnel_send(c, op, sbx_s("by hand"), true, &taken), SBX_OK);
                assert_int_equal(taken, 7);
            }
            if (ev.kind == SBX_EV_DATA)
                strncat(text, ev.data.p, ev.data.n);
            if (ev.kind == SBX_EV_END) {
                assert_int_equal(ev.code, SBX_OK);
                ended = true;
            }
        }
    }
    assert_true(ended);
    assert_string_equal(text, "by hand");
    assert_string_equal(s->complaint, "");
    sbx_close(c);
    assert_int_equal(K.blocks, 0);
    sim_tunnel_free(&conn);
    free(conn.in.p);
    free(conn.out.p);
    free(conn.segs);
    free(conn.msg.p);
    free(mem);
    sim_free(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo), cmocka_unit_test(test_request), cmocka_unit_test(test_refusals), cmocka_unit_test(test_download),
        cmocka_unit_test(test_many_both_ways), cmocka_unit_test(test_thousand), cmocka_unit_test(test_long), cmocka_unit_test(test_unpulled),
        cmocka_unit_test(test_jam), cmocka_unit_test(test_no_jam), cmocka_unit_test(test_last_buffers),
        cmocka_unit_test(test_hold), cmocka_unit_test(test_unread), cmocka_unit_test(test_send_window),
        cmocka_unit_test(test_cut_ping), cmocka_unit_test(test_in_place), cmocka_unit_test(test_in_place_waits), cmocka_unit_test(test_in_place_without_random),
        cmocka_unit_test(test_ports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
