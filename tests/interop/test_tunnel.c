/* sbx_tunnel_open beside a daemon of hashicorp/yamux and gorilla/websocket. */
#define _GNU_SOURCE 1
#define SANDBOX_IMPLEMENTATION
#include "mux.h"
#include "sandbox_posix.h"

#define MIB ((uint64_t)1 << 20)
#define MANY 1000

typedef struct world {
    peer daemon, program;
    sbx_client *c;
    sbx_box box;
    sbx_op tunnel;
} world;

static void world_open(world *w, const sbx_tunnel_opts *opts)
{
    static const sbx_header header = { { "X-Default", 9 }, { "sent", 4 } };
    sbx_client_desc d = { 0 };
    sbx_error err;
    char url[64];

    w->daemon = peer_start("daemon", NULL);
    w->program = peer_start("tcp", NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", w->daemon.port);
    d.transport = &sbx_posix;
    d.endpoint = url;
    d.api_key = "interop";
    d.headers = &header;
    d.headers_n = 1;
    d.max_ops = MANY + 8;
    if (sbx_open(&d, &w->c, &err))
        fail_msg("%s", err.text);
    assert_true(sbx_box_named(&w->box, sbx_s("box"), sbx_s(url)));
    w->tunnel = sbx_tunnel_open(w->c, &w->box, opts);
}

static void world_close(world *w)
{
    sbx_close(w->c);
    peer_stop(&w->program);
    peer_stop(&w->daemon);
}

/* A connection and what goes through it: `first`, then `pattern` bytes. */
typedef struct wire {
    sbx_op op;
    unsigned char first[9];
    size_t first_n, first_at;
    uint64_t pattern, sent, got;
    char tail[40];
    bool verify, ended, eof, over;
    sbx_code code;
    sbx_error error;
} wire;

static void wire_send(sbx_client *c, wire *x)
{
    static unsigned char p[65536];
    size_t n, taken;

    do {
        if (x->first_at < x->first_n) {
            assert_int_equal(sbx_tunnel_send(c, x->op, sbx_sn((char *)x->first + x->first_at, x->first_n - x->first_at), false, &taken), SBX_OK);
            x->first_at += taken;
            if (x->first_at < x->first_n)
                return;
        }
        n = x->pattern - x->sent < sizeof p ? (size_t)(x->pattern - x->sent) : sizeof p;
        pattern(p, n, x->sent);
        assert_int_equal(sbx_tunnel_send(c, x->op, sbx_sn((char *)p, n), x->sent + n == x->pattern, &taken), SBX_OK);
        x->sent += taken;
        x->ended = taken == n && x->sent == x->pattern;
    } while (taken == n && !x->ended);
}

static void wire_data(wire *x, const sbx_event *ev)
{
    static unsigned char want[1 << 18];
    size_t n = ev->data.n;

    assert_int_equal(ev->offset, x->got);
    for (size_t i = 0; i < n && x->got + i < sizeof x->tail; i++)
        x->tail[x->got + i] = ev->data.p[i];
    if (x->verify) {
        assert_true(n <= sizeof want);
        pattern(want, n, x->got);
        assert_memory_equal(want, ev->data.p, n);
    }
    x->got += n;
}

static void wire_event(sbx_client *c, wire *x, const sbx_event *ev)
{
    switch (ev->kind) {
    case SBX_EV_STARTED:
    case SBX_EV_WRITABLE:
        if (!x->ended)
            wire_send(c, x);
        break;
    case SBX_EV_DATA:
        wire_data(x, ev);
        break;
    case SBX_EV_EOF:
        x->eof = true;
        break;
    case SBX_EV_END:
        x->over = true;
        x->code = ev->code;
        sbx_error_of(c, ev->op, &x->error);
        break;
    default:
        fail_msg("event %d", (int)ev->kind);
    }
}

/* The next event, given to its wire; false: it was the tunnel's, in *own. */
static bool step(world *w, sbx_event *own)
{
    sbx_event ev;

    while (!sbx_next(w->c, &ev))
        sbx_wait(w->c, SBX_FOREVER);
    *own = ev;
    if (!ev.user)
        return false;
    wire_event(w->c, ev.user, &ev);
    return true;
}

static void dial(world *w, wire *x, uint16_t port, const void *first, size_t first_n, uint64_t n)
{
    sbx_dial_opts o = { 0 };

    memset(x, 0, sizeof *x);
    o.call.user = x;
    memcpy(x->first, first, first_n);
    x->first_n = first_n;
    x->pattern = n;
    x->op = sbx_tunnel_dial(w->c, w->tunnel, port, &o);
    assert_true(x->op.slot != 0);
}

static void until_over(world *w, wire *x)
{
    sbx_event ev;

    while (!x->over)
        step(w, &ev);
}

static uint64_t count_of(const wire *x)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | (unsigned char)x->tail[i];
    return v;
}

static void test_half_close(void **state)
{
    world w;
    wire x;

    (void)state;
    world_open(&w, NULL);
    dial(&w, &x, w.program.port, "S", 1, 4 * MIB);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_OK);
    assert_true(x.ended && x.eof);
    assert_int_equal(x.got, 40);
    assert_int_equal(count_of(&x), 4 * MIB);
    world_close(&w);
}

static void test_refusals_have_their_codes(void **state)
{
    world w;
    wire x;
    peer gone = peer_start("tcp", NULL);

    (void)state;
    peer_stop(&gone);
    world_open(&w, NULL);
    dial(&w, &x, 1, "E", 1, 0);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_ERR_PORT_DENIED);
    dial(&w, &x, gone.port, "E", 1, 0);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_ERR_DIAL);
    /* The tunnel goes on. */
    dial(&w, &x, w.program.port, "S", 1, 1000);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_OK);
    assert_int_equal(count_of(&x), 1000);
    world_close(&w);
}

static void test_cancel_resets_one(void **state)
{
    world w;
    wire x, y;
    sbx_event ev;
    unsigned char first[9] = { 'G', 0, 0, 0, 1 };

    (void)state;
    world_open(&w, NULL);
    dial(&w, &x, w.program.port, first, sizeof first, 0);
    while (x.got < MIB)
        step(&w, &ev);
    dial(&w, &y, w.program.port, "S", 1, MIB);
    assert_int_equal(sbx_cancel(w.c, x.op), SBX_OK);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_ERR_CANCELLED);
    until_over(&w, &y);
    assert_int_equal(y.code, SBX_OK);
    assert_int_equal(count_of(&y), MIB);
    world_close(&w);
}

static void test_lost_session_is_opened_again(void **state)
{
    world w;
    wire x, y;

    (void)state;
    world_open(&w, NULL);
    dial(&w, &x, w.program.port, "E", 1, 0);
    x.pattern = UINT64_MAX; /* never ends by itself */
    dial(&w, &y, 2, "E", 1, 0);
    until_over(&w, &y);
    assert_int_equal(y.code, SBX_ERR_CONNECTION);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_ERR_CONNECTION);
    dial(&w, &x, w.program.port, "S", 1, MIB);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_OK);
    assert_int_equal(count_of(&x), MIB);
    world_close(&w);
}

static void test_a_thousand_connections(void **state)
{
    static wire wires[MANY];
    sbx_tunnel_opts o = { 0 };
    world w;

    (void)state;
    o.max_streams = MANY;
    world_open(&w, &o);
    for (unsigned i = 0; i < MANY; i++)
        dial(&w, &wires[i], w.program.port, "E", 1, i * 40);
    for (unsigned i = 0; i < MANY; i++) {
        until_over(&w, &wires[i]);
        assert_int_equal(wires[i].code, SBX_OK);
        assert_int_equal(wires[i].got, i * 40);
    }
    world_close(&w);
}

static void test_gibibyte(void **state)
{
    unsigned char first[9] = { 'G', 0, 0, 0, 0, 0x40 };
    size_t before;
    world w;
    wire x;
    sbx_event ev;

    (void)state;
    world_open(&w, NULL);
    dial(&w, &x, w.program.port, first, sizeof first, 0);
    x.verify = true;
    while (x.got < 16 * MIB)
        step(&w, &ev);
    before = memory_peak();
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_OK);
    assert_int_equal(x.got, 1024 * MIB);
    dial(&w, &x, w.program.port, "S", 1, 1024 * MIB);
    until_over(&w, &x);
    assert_int_equal(x.code, SBX_OK);
    assert_int_equal(count_of(&x), 1024 * MIB);
    assert_true(memory_peak() - before <= MIB);
    world_close(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_close), cmocka_unit_test(test_refusals_have_their_codes),
        cmocka_unit_test(test_cancel_resets_one), cmocka_unit_test(test_lost_session_is_opened_again),
        cmocka_unit_test(test_a_thousand_connections), cmocka_unit_test(test_gibibyte),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
