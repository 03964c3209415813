/* Connections of a tunnel, what came of them, and how they are pulled. */
#ifndef SIM_TUNNEL_H
#define SIM_TUNNEL_H

#include "kit.h"

/* What came of one connection. */
typedef struct got {
    sbx_op op;
    uint16_t port;
    sim_bytes data;
    const char *say; /* to be sent, say_n bytes in all */
    size_t say_n, said;
    unsigned started, eof, ended;
    bool end_asked, half_open; /* half_open: our half is not ended with what was said */
    sbx_code code;
} got;

static inline void got_free(got *g)
{
    free(g->data.p);
    memset(g, 0, sizeof *g);
}

static inline sbx_op tunnel_with(uint32_t window, uint32_t streams)
{
    sbx_tunnel_opts o = { 0 };

    o.window = window;
    o.max_streams = streams;
    return sbx_tunnel_open(K.c, &K.box, &o);
}

static inline void dial(got *g, sbx_op tunnel, uint16_t port)
{
    sbx_dial_opts o = { 0 };

    memset(g, 0, sizeof *g);
    o.call.user = g;
    g->port = port;
    g->op = sbx_tunnel_dial(K.c, tunnel, port, &o);
    assert_int_not_equal(g->op.slot, 0);
    g->say = "";
    sim_puts(&g->data, "");
}

static inline void say_more(got *g)
{
    size_t taken;

    if (g->end_asked || !g->started)
        return;
    if (sbx_tunnel_send(K.c, g->op, sbx_sn(g->say + g->said, g->say_n - g->said), !g->half_open, &taken) != SBX_OK)
        g->end_asked = true; /* it has ended meanwhile */
    g->said += taken;
    g->end_asked = g->said == g->say_n;
}

static inline void take(got *g, const sbx_event *ev)
{
    assert_int_equal(ev->op.slot, g->op.slot);
    assert_int_equal(g->ended, 0);
    assert_true(ev->kind == SBX_EV_STARTED || ev->kind == SBX_EV_END || g->started);
    switch (ev->kind) {
    case SBX_EV_STARTED:
        g->started++;
        say_more(g);
        break;
    case SBX_EV_WRITABLE: say_more(g); break;
    case SBX_EV_DATA:
        assert_int_equal(g->eof, 0);
        assert_int_equal(ev->offset, g->data.n);
        if (g->port >= 19)
            for (size_t i = 0; i < ev->data.n; i++)
                if ((unsigned char)ev->data.p[i] != sim_tunnel_byte(g->port, g->data.n + i))
                    fail_msg("byte %zu of port %u", g->data.n + i, g->port);
        sim_put(&g->data, ev->data.p, ev->data.n);
        break;
    case SBX_EV_EOF: g->eof++; break;
    case SBX_EV_END:
        g->ended++;
        g->code = ev->code;
        break;
    default: fail_msg("event %d", (int)ev->kind);
    }
}

static inline void pull_to_end(got *g)
{
    sbx_event ev;
    sbx_op op = g->op;

    while (sbx_next_of(K.c, &op, &ev))
        take(g, &ev);
    assert_int_equal(g->ended, 1);
}

/* Pulls all events until so many connections have ended. */
static inline void pull_all(unsigned ends, unsigned *tunnel_events)
{
    sbx_event ev;

    while (ends) {
        while (ends && sbx_next(K.c, &ev)) {
            if (!ev.user) {
                if (tunnel_events)
                    (*tunnel_events)++;
                continue;
            }
            take((got *)ev.user, &ev);
            ends -= ev.kind == SBX_EV_END;
        }
        if (ends)
            assert_true(sbx_wait(K.c, SBX_FOREVER));
    }
}

static inline void close_tunnel(sbx_op tunnel)
{
    ASSERT_CODE(sbx_tunnel_close(K.c, tunnel), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, tunnel), SBX_OK);
}

static inline void random_knobs(uint64_t seed)
{
    sim_knobs *k = &K.s->knobs;

    if (!seed)
        return;
    k->recv_max = seed % 4 == 1 ? 1 : seed % 4 == 2 ? 100 : 20000;
    k->send_max = seed % 3 == 1 ? 1 : seed % 3 == 2 ? 100 : 0;
    k->block = seed % 5 * 100;
    k->again = seed % 2 * 100;
    k->connect_ms = k->delay_ms = 20;
    k->odd = 100;
}

#endif
