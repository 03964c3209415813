/* The server's tunnel: yamux by hand, and behind it what a port does. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

enum { DATA, WINDOW, PING, GOAWAY };
enum { SYN = 1, ACK = 2, FIN = 4, RST = 8 };
enum { FIRST_WINDOW = 262144 };

typedef struct stream {
    uint32_t id;
    uint16_t port;
    unsigned char hello[3];
    unsigned hello_n;
    bool answered, acked, fin_got, fin_sent, over;
    uint64_t may_send, may_get, sent, got, credited;
    sim_bytes back; /* to be echoed */
    size_t back_at;
} stream;

struct sim_tunnel {
    sim_bytes in, out;
    stream *streams;
    unsigned n, cap;
    uint32_t last_id, ping, pinged;
    bool away;
};

unsigned char sim_tunnel_byte(uint16_t port, uint64_t at)
{
    return (unsigned char)(port + at * 31 + (at >> 8) + (at >> 16));
}

static void put32(unsigned char *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static uint32_t get32(const char *z)
{
    const unsigned char *p = (const unsigned char *)z;

    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_frame(sim_tunnel *t, unsigned type, unsigned flags, uint32_t id, uint32_t n)
{
    unsigned char head[12] = { 0, (unsigned char)type, 0, (unsigned char)flags };

    put32(head + 4, id);
    put32(head + 8, n);
    sim_put(&t->out, head, 12);
}

/* Borders of messages mean nothing: they fall anywhere. */
static void flush(sim_conn *c)
{
    sim *s = c->world;
    sim_tunnel *t = c->tunnel;
    size_t at = 0;

    while (at < t->out.n) {
        size_t n = sim_chance(s, 300) ? 1 + sim_draw(s, 40) : 1 + sim_draw(s, 70000);

        n = n < t->out.n - at ? n : t->out.n - at;
        if (sim_chance(s, s->knobs.odd))
            sim_ws_frame(c, SBX_WS_OP_PING, true, "odd", sim_draw(s, 4), s->now);
        sim_ws_frame(c, SBX_WS_OP_BINARY, true, t->out.p + at, n, s->now + sim_draw(s, s->knobs.delay_ms + 1));
        at += n;
    }
    t->out.n = 0;
}

static unsigned ack_of(stream *x)
{
    unsigned flags = x->acked ? 0 : ACK;

    x->acked = true;
    return flags;
}

static void put_fin(sim_tunnel *t, stream *x)
{
    if (!x->fin_sent && !x->over)
        put_frame(t, WINDOW, FIN | ack_of(x), x->id, 0);
    x->fin_sent = true;
}

static void put_reset(sim_tunnel *t, stream *x)
{
    put_frame(t, WINDOW, RST, x->id, 0);
    x->over = true;
}

/* A data frame of what the port has to say, as the window allows. */
static void speak(sim_conn *c, stream *x)
{
    sim *s = c->world;
    sim_tunnel *t = c->tunnel;

    while (!x->over && !x->fin_sent && x->answered) {
        uint64_t left = x->port == 7 ? x->back.n - x->back_at : x->port == 20 ? 100 - x->sent : x->port >= 19 ? s->tunnel_make - x->sent : 0;
        size_t n = 1 + sim_draw(s, sim_chance(s, 500) ? 100 : 40000);

        n = n < left ? n : (size_t)left;
        n = n < x->may_send ? n : (size_t)x->may_send;
        if (n) {
            bool last = n == left && x->port >= 19 && x->port != 20 && sim_chance(s, 500);

            put_frame(t, DATA, last ? FIN : 0, x->id, (uint32_t)n);
            x->fin_sent = last;
            for (size_t i = 0; i < n; i++) {
                char b = x->port == 7 ? x->back.p[x->back_at + i] : (char)sim_tunnel_byte(x->port, x->sent + i);

                sim_put(&t->out, &b, 1);
            }
            x->back_at += x->port == 7 ? n : 0;
            x->sent += n;
            x->may_send -= n;
            continue;
        }
        if (left)
            return; /* until there is a window again */
        if (x->port == 20)
            put_reset(t, x);
        else if (x->port >= 19 || x->fin_got)
            put_fin(t, x);
        return;
    }
}

static void answer(sim_conn *c, stream *x, unsigned said)
{
    unsigned char byte = (unsigned char)said;

    put_frame(c->tunnel, DATA, ack_of(x), x->id, 1);
    sim_put(&c->tunnel->out, &byte, 1);
    x->may_send--;
    x->answered = !said;
    if (said)
        put_fin(c->tunnel, x);
}

/* The three bytes are there. */
static void dialled(sim_conn *c, stream *x)
{
    sim *s = c->world;

    x->port = (uint16_t)(x->hello[1] << 8 | x->hello[2]);
    if (x->hello[0] != 1)
        sim_complain(s, "tunnel: version %u", x->hello[0]);
    switch (x->port) {
    case 1:
    case 2:
    case 3: answer(c, x, x->port); break;
    case 4: answer(c, x, 0x99); break;
    case 5: put_reset(c->tunnel, x); break;
    case 6: put_fin(c->tunnel, x); break;
    case 8: break;
    case 10: /* more than the window */
        answer(c, x, 0);
        put_frame(c->tunnel, DATA, 0, x->id, (uint32_t)x->may_send + 1);
        break;
    default:
        answer(c, x, 0);
        if (x->port == 7 && s->tunnel_greets)
            sim_puts(&x->back, "hello from the port");
        break;
    }
}

static unsigned asking(const sim_tunnel *t)
{
    unsigned n = 0;

    for (unsigned i = 0; i < t->n; i++)
        n += t->streams[i].hello_n == 3 && !t->streams[i].answered && !t->streams[i].fin_sent && !t->streams[i].over;
    return n;
}

static void heard(sim_conn *c, stream *x, const char *p, size_t n)
{
    sim *s = c->world;

    x->got += n;
    while (n && x->hello_n < 3) {
        x->hello[x->hello_n++] = (unsigned char)*p++;
        n--;
        if (x->hello_n < 3)
            continue;
        s->tunnel_dials++;
        if (asking(c->tunnel) > 255) /* hashicorp's backlog */
            put_reset(c->tunnel, x);
        else if (!s->tunnel_waits)
            dialled(c, x);
    }
    if (x->over)
        return;
    if (n && !x->answered)
        sim_complain(s, "tunnel: data before the answer");
    if (x->port == 7)
        sim_put(&x->back, p, n);
    s->tunnel_heard += n;
    if (!s->tunnel_no_credit && x->may_get < FIRST_WINDOW / 2) {
        uint32_t more = (uint32_t)(FIRST_WINDOW - x->may_get);

        put_frame(c->tunnel, WINDOW, ack_of(x), x->id, more);
        x->may_get += more;
    }
}

static stream *stream_of(sim_tunnel *t, uint32_t id)
{
    for (unsigned i = t->n; i-- > 0;)
        if (t->streams[i].id == id)
            return &t->streams[i];
    return NULL;
}

static stream *opened(sim_conn *c, uint32_t id)
{
    sim_tunnel *t = c->tunnel;

    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 16;
        t->streams = (stream *)realloc(t->streams, t->cap * sizeof *t->streams);
        if (!t->streams)
            abort();
    }
    if (!(id & 1) || id <= t->last_id)
        sim_complain(c->world, "tunnel: a stream of id %u behind %u", id, t->last_id);
    t->last_id = id;
    memset(&t->streams[t->n], 0, sizeof *t->streams);
    t->streams[t->n].id = id;
    t->streams[t->n].may_send = t->streams[t->n].may_get = FIRST_WINDOW;
    return &t->streams[t->n++];
}

static void stream_frame(sim_conn *c, unsigned type, unsigned flags, uint32_t id, const char *p, uint32_t n)
{
    sim *s = c->world;
    stream *x = stream_of(c->tunnel, id);

    if (flags & SYN) {
        if (x)
            sim_complain(s, "tunnel: %u opened twice", id);
        x = opened(c, id);
    }
    if (!x || (x->over && !(flags & RST)) || (x->fin_got && type == DATA && n)) {
        if (!x || !x->over)
            sim_complain(s, "tunnel: frame %u of %u bytes on stream %u, which cannot be", type, n, id);
        return;
    }
    if (type == WINDOW) {
        x->may_send += n;
        x->credited += n;
        if (x->credited > x->sent + 1 + s->tunnel_extra)
            sim_complain(s, "tunnel: credit for %llu of %llu bytes", (unsigned long long)x->credited, (unsigned long long)x->sent);
    } else {
        if (n > x->may_get)
            sim_complain(s, "tunnel: %u bytes into a window of %llu", n, (unsigned long long)x->may_get);
        x->may_get -= n;
        heard(c, x, p, n);
    }
    if (flags & FIN) {
        if (x->fin_got)
            sim_complain(s, "tunnel: stream %u ended twice", id);
        x->fin_got = true;
        s->tunnel_fins++;
    }
    if (flags & RST) {
        x->over = true;
        s->tunnel_resets++;
    }
    speak(c, x);
}

static void frame(sim_conn *c, unsigned type, unsigned flags, uint32_t id, const char *p, uint32_t n)
{
    sim *s = c->world;
    sim_tunnel *t = c->tunnel;

    if (type == PING && !id) {
        if (flags & SYN) {
            s->tunnel_pings++;
            if (!s->tunnel_mute)
                put_frame(t, PING, ACK, 0, n);
        } else if (!t->pinged || n != t->ping) {
            sim_complain(s, "tunnel: an answer to no ping");
        } else {
            t->pinged = 0;
            s->tunnel_pongs++;
        }
    } else if (type == GOAWAY && !id) {
        s->tunnel_goaway = (int)n;
    } else if (type <= WINDOW && id && flags < 16) {
        stream_frame(c, type, flags, id, p, n);
    } else {
        sim_complain(s, "tunnel: frame of type %u, flags %u, stream %u", type, flags, id);
    }
    if (!t->pinged && sim_chance(s, s->knobs.odd)) {
        t->pinged = 1;
        t->ping = sim_draw(s, UINT32_MAX);
        put_frame(t, PING, SYN, 0, t->ping);
    }
}

void sim_tunnel_begin(sim_conn *c)
{
    c->tunnel = (sim_tunnel *)calloc(1, sizeof *c->tunnel);
    if (!c->tunnel)
        abort();
    c->world->tunnels++;
    c->world->tunnel = c;
}

void sim_tunnel_input(sim_conn *c, const char *p, size_t n)
{
    sim_tunnel *t = c->tunnel;
    size_t at = 0;

    sim_put(&t->in, p, n);
    while (t->in.n - at >= 12) {
        const char *h = t->in.p + at;
        uint32_t len = get32(h + 8), body = h[1] == DATA ? len : 0;

        if (h[0])
            sim_complain(c->world, "tunnel: version %u", h[0]);
        if (t->in.n - at - 12 < body)
            break;
        frame(c, (unsigned char)h[1], (unsigned)(h[2] << 8 | h[3]), get32(h + 4), h + 12, len);
        at += 12 + body;
    }
    memmove(t->in.p, t->in.p + at, t->in.n - at);
    t->in.n -= at;
    flush(c);
}

void sim_tunnel_send(sim_conn *c, unsigned type, unsigned flags, uint32_t id, uint32_t n)
{
    put_frame(c->tunnel, type, flags, id, n);
    flush(c);
}

/* The dials that were kept waiting. */
void sim_tunnel_accept(sim_conn *c)
{
    c->world->tunnel_waits = false;
    for (unsigned i = 0; i < c->tunnel->n; i++)
        if (c->tunnel->streams[i].hello_n == 3 && !c->tunnel->streams[i].answered)
            dialled(c, &c->tunnel->streams[i]);
    flush(c);
}

/* Credit that was kept back. */
void sim_tunnel_credit(sim_conn *c, uint32_t n)
{
    for (unsigned i = 0; i < c->tunnel->n; i++) {
        c->tunnel->streams[i].may_get += n;
        put_frame(c->tunnel, WINDOW, ack_of(&c->tunnel->streams[i]), c->tunnel->streams[i].id, n);
    }
    flush(c);
}

void sim_tunnel_free(sim_conn *c)
{
    sim_tunnel *t = c->tunnel;

    if (!t)
        return;
    for (unsigned i = 0; i < t->n; i++)
        free(t->streams[i].back.p);
    free(t->streams);
    free(t->in.p);
    free(t->out.p);
    free(t);
    c->tunnel = NULL;
    if (c->world->tunnel == c)
        c->world->tunnel = NULL;
}
