/* parts: yamux */
/* Any bytes, for both roles, whole and in chunks, against a plain reference;
   then a client and a server that do what the bytes say and must not find
   fault with one another, nor lose, double or reorder a byte. */
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "yamux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 4096, LOG = 8 * MAX, SLOTS = 4, OPENS = 2 };

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* ---- any bytes ---- */

typedef struct events {
    unsigned char b[LOG];
    size_t n;
    uint32_t joined; /* whose data came last */
    bool dead;
} events;

static void put(events *e, const void *p, size_t n)
{
    must(e->n + n <= LOG);
    if (n)
        memcpy(e->b + e->n, p, n);
    e->n += n;
}

static void mark(events *e, unsigned kind, uint32_t id, uint32_t value)
{
    unsigned char m[10] = { 0xfe, (unsigned char)kind };
    memcpy(m + 2, &id, 4);
    memcpy(m + 6, &value, 4);
    put(e, m, sizeof m);
    e->joined = 0;
}

static void mark_data(events *e, uint32_t id, const void *p, size_t n)
{
    if (!n)
        return;
    if (e->joined != id)
        mark(e, SBX_YAMUX_DATA, id, 0);
    e->joined = id;
    put(e, p, n);
}

static uint32_t get(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

typedef struct setup {
    bool server, away, pinged;
    uint32_t window;
} setup;

static void begin(sbx_yamux *y, sbx_yamux_stream *table, const setup *how)
{
    unsigned char out[SBX_YAMUX_HEAD];
    sbx_yamux_init(y, how->server, table, SLOTS, how->window);
    for (unsigned i = 0; i < OPENS; i++)
        must(sbx_yamux_update(y, sbx_yamux_open(y), out) == 12);
    if (how->away)
        sbx_yamux_goaway(y, SBX_YAMUX_NORMAL, out);
    if (how->pinged)
        must(sbx_yamux_ping(y, out) == 12 && get(out + 8) == 1);
}

static void read_chunk(sbx_yamux *y, events *e, const unsigned char *p, size_t n)
{
    char *copy = (char *)malloc(n ? n : 1);
    const char *at = copy, *end = copy + n;
    sbx_yamux_event ev;
    sbx_yamux_kind k;
    if (n)
        memcpy(copy, p, n);
    while ((k = sbx_yamux_read(y, &at, end, &ev)) != SBX_YAMUX_MORE) {
        must(at >= copy && at <= end);
        must((ev.stream != NULL) == (k < SBX_YAMUX_REPLY));
        if (k == SBX_YAMUX_ERROR) {
            must(ev.n == (e->dead ? 0 : 12) && at == end);
            if (!e->dead)
                mark(e, k, 0, ev.value);
            e->dead = true;
            break;
        }
        must(!e->dead);
        if (k == SBX_YAMUX_DATA) {
            must(ev.n && ev.p >= copy && ev.p + ev.n == at);
            mark_data(e, ev.stream->id, ev.p, ev.n);
        } else if (k == SBX_YAMUX_REPLY) {
            must(ev.n == 12);
            mark(e, k, 0, 0);
            put(e, ev.p, 12);
        } else {
            mark(e, k, ev.stream ? ev.stream->id : 0, k == SBX_YAMUX_GOAWAY || k == SBX_YAMUX_WINDOW ? ev.value : 0);
        }
    }
    must(at == end);
    free(copy);
}

/* Streams as the specification tells of them. */
typedef struct plain {
    uint32_t id;
    uint64_t send, recv;
    bool fin, reset, accepted;
} plain;

static plain *plain_of(plain *t, uint32_t id)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (t[i].id == id)
            return &t[i];
    return NULL;
}

static void plain_reply(events *e, unsigned type, unsigned flags, const unsigned char *id, const unsigned char *value)
{
    unsigned char f[12] = { 0, (unsigned char)type, 0, (unsigned char)flags };
    if (id)
        memcpy(f + 4, id, 4);
    if (value)
        memcpy(f + 8, value, 4);
    mark(e, SBX_YAMUX_REPLY, 0, 0);
    put(e, f, 12);
}

/* Reads everything at once. */
static void reference(events *e, const unsigned char *p, size_t n, const setup *how)
{
    plain t[SLOTS];
    bool pinged = how->pinged;
    uint32_t most = how->window > SBX_YAMUX_INITIAL ? how->window : SBX_YAMUX_INITIAL;
    unsigned bad = 0;
    memset(t, 0, sizeof t);
    for (unsigned i = 0; i < OPENS; i++) {
        t[i].id = 1 + how->server + 2 * i;
        t[i].send = SBX_YAMUX_INITIAL;
        /* told with the opening where it is worth a frame's words */
        t[i].recv = how->window > SBX_YAMUX_INITIAL && how->window - SBX_YAMUX_INITIAL >= how->window / 2 ? how->window : SBX_YAMUX_INITIAL;
    }
    while (n >= 12 && !bad) {
        unsigned type = p[1], flags = p[3];
        uint32_t id = get(p + 4), len = get(p + 8);
        bool ours = id % 2 == 1u - how->server, payload = type == 0, refused = false;
        const unsigned char *body = p + 12;
        size_t have = payload ? (n - 12 < len ? n - 12 : len) : 0;
        plain *s = id ? plain_of(t, id) : NULL;
        if (p[0]) {
            bad = SBX_YAMUX_BAD_VERSION;
        } else if (type > 3) {
            bad = SBX_YAMUX_BAD_TYPE;
        } else if ((type > 1) != (id == 0)) {
            bad = SBX_YAMUX_BAD_ID;
        } else if (type == 3) {
            mark(e, SBX_YAMUX_GOAWAY, 0, len);
        } else if (type == 2) {
            if (flags & 1) {
                plain_reply(e, 2, 2, NULL, p + 8);
            } else if (pinged && len == 1) {
                mark(e, SBX_YAMUX_PONG, 0, 0);
                pinged = false;
            }
        } else if (ours && (flags & 1 || id > 2 * OPENS)) {
            bad = SBX_YAMUX_BAD_ID;
        } else if (s && flags & 1) {
            bad = SBX_YAMUX_BAD_SYN;
        } else {
            bool opened = false;
            if (flags & 1) {
                s = how->away ? NULL : plain_of(t, 0);
                refused = !s;
                if (s) {
                    memset(s, 0, sizeof *s);
                    s->id = id;
                    s->send = s->recv = SBX_YAMUX_INITIAL;
                    s->accepted = opened = true;
                }
            }
            if (s && s->reset)
                s = NULL;
            if (!s && payload && len > most)
                bad = SBX_YAMUX_BAD_LENGTH;
            else if (s && !payload && s->send + len > UINT32_MAX)
                bad = SBX_YAMUX_BAD_DELTA;
            else if (s && payload && len > s->recv)
                bad = SBX_YAMUX_BAD_LENGTH;
            else if (s && s->fin && (flags & 4 || (payload && len)))
                bad = SBX_YAMUX_BAD_FIN;
            if (!bad && opened)
                mark(e, SBX_YAMUX_OPENED, id, 0);
            if (!bad && refused && !(flags & 8))
                plain_reply(e, 1, 8, p + 4, NULL);
            if (!bad && s && flags & 8) {
                s->reset = true;
                if (have == len || !payload)
                    mark(e, SBX_YAMUX_RESET, id, 0);
            } else if (!bad && s) {
                if (flags & 2 && !s->accepted) {
                    s->accepted = true;
                    mark(e, SBX_YAMUX_ACCEPTED, id, 0);
                }
                if (payload) {
                    mark_data(e, id, body, have);
                    s->recv -= have;
                } else {
                    s->send += len;
                    if (len)
                        mark(e, SBX_YAMUX_WINDOW, id, len);
                }
                if (flags & 4) {
                    s->fin = true;
                    if (have == len || !payload)
                        mark(e, SBX_YAMUX_EOF, id, 0);
                }
            }
        }
        if (bad)
            break;
        if (payload && have < len)
            return;
        p += 12 + have;
        n -= 12 + have;
    }
    if (bad)
        mark(e, SBX_YAMUX_ERROR, 0, bad);
}

static void same(const events *a, const events *b)
{
    must(a->n == b->n && !memcmp(a->b, b->b, a->n));
}

static void any_bytes(const uint8_t *data, size_t size)
{
    static events whole, split, straight;
    static const uint32_t windows[] = { 0, 1, 1000, 300000, 600000, UINT32_MAX, 262144, 65536 };
    sbx_yamux_stream table[SLOTS];
    sbx_yamux y;
    setup how;
    size_t i, k, pick;
    how.server = data[0] & 1;
    how.away = data[0] & 2;
    how.pinged = data[0] & 4;
    how.window = windows[data[0] >> 5];
    whole.n = split.n = straight.n = 0;
    whole.dead = split.dead = false;
    whole.joined = split.joined = straight.joined = 0;
    begin(&y, table, &how);
    read_chunk(&y, &whole, data + 2, size - 2);
    begin(&y, table, &how);
    for (i = 2, pick = data[1]; i < size; i += k) {
        k = data[0] & 8 ? 1 : (pick = pick * 31 + data[i]) % 23;
        k = k < size - i ? k : size - i;
        read_chunk(&y, &split, data + i, k);
        if (!k) {
            k = 1;
            read_chunk(&y, &split, data + i, k);
        }
    }
    same(&whole, &split);
    reference(&straight, data + 2, size - 2, &how);
    same(&whole, &straight);
}

/* ---- two that speak to one another ---- */

enum { WIRE = 1 << 16 };

/* Bytes on the way; each stream's data counts up from its id. */
typedef struct side {
    sbx_yamux y;
    sbx_yamux_stream table[SLOTS];
    struct {
        uint32_t id;
        uint32_t sent, got;
        bool ended;
    } book[SLOTS];
    size_t from, to;
    uint32_t pings;
    unsigned char wire[WIRE]; /* towards the other */
} side;

static void head_to(side *s, const unsigned char *head, size_t n)
{
    if (n) {
        must(s->to + n <= WIRE);
        memcpy(s->wire + s->to, head, n);
        s->to += n;
    }
}

static unsigned slot(side *s, const sbx_yamux_stream *stream)
{
    unsigned i = (unsigned)(stream - s->table);
    must(i < SLOTS);
    if (s->book[i].id != stream->id) {
        memset(&s->book[i], 0, sizeof s->book[i]);
        s->book[i].id = stream->id;
    }
    return i;
}

static void deliver(side *from, side *to, size_t most)
{
    size_t n = from->to - from->from < most ? from->to - from->from : most;
    char *copy = (char *)malloc(n ? n : 1);
    const char *p = copy, *end = copy + n;
    sbx_yamux_event ev;
    sbx_yamux_kind k;
    if (n)
        memcpy(copy, from->wire + from->from, n);
    from->from += n;
    if (from->from == from->to)
        from->from = from->to = 0;
    while ((k = sbx_yamux_read(&to->y, &p, end, &ev)) != SBX_YAMUX_MORE) {
        must(k != SBX_YAMUX_ERROR);
        if (k == SBX_YAMUX_REPLY)
            head_to(to, (const unsigned char *)ev.p, ev.n);
        if (k == SBX_YAMUX_PONG)
            must(to->pings);
        if (ev.stream) {
            unsigned i = slot(to, ev.stream);
            for (size_t b = 0; b < ev.n; b++)
                must((unsigned char)ev.p[b] == (unsigned char)(ev.stream->id + to->book[i].got++));
            must(!to->book[i].ended || (k != SBX_YAMUX_DATA && k != SBX_YAMUX_EOF));
            to->book[i].ended |= k == SBX_YAMUX_EOF;
            must(ev.stream->held + ev.stream->recv <= (to->y.window > SBX_YAMUX_INITIAL ? to->y.window : SBX_YAMUX_INITIAL));
        }
    }
    free(copy);
}

static void act(side *s, unsigned what, unsigned which, unsigned amount)
{
    sbx_yamux_stream *stream = &s->table[which % SLOTS];
    unsigned char out[SBX_YAMUX_HEAD];
    size_t n = amount * 7u;
    if (s->to + 4096 > WIRE)
        return; /* full, until the other side hears some of it */
    if (what == 0) {
        stream = sbx_yamux_open(&s->y);
        if (stream)
            slot(s, stream);
        return;
    }
    if (what == 1) {
        s->pings++;
        head_to(s, out, sbx_yamux_ping(&s->y, out));
        return;
    }
    if (!stream->id)
        return;
    if (what <= 3) {
        unsigned i = slot(s, stream);
        head_to(s, out, sbx_yamux_data(stream, &n, out));
        while (n--) {
            unsigned char b = (unsigned char)(stream->id + s->book[i].sent++);
            head_to(s, &b, 1);
        }
        if (what == 3)
            head_to(s, out, sbx_yamux_end(stream, out));
    } else if (what == 4) {
        sbx_yamux_consumed(stream, n);
    } else if (what == 5) {
        head_to(s, out, sbx_yamux_update(&s->y, stream, out));
    } else if (what == 6) {
        s->book[which % SLOTS].id = 0;
        head_to(s, out, sbx_yamux_drop(&s->y, stream, out));
    } else if (amount == 255) {
        head_to(s, out, sbx_yamux_goaway(&s->y, SBX_YAMUX_NORMAL, out));
    }
}

static void two_sides(const uint8_t *data, size_t size)
{
    static side client, server;
    static const uint32_t windows[] = { 0, 1, 100, 600000 };
    memset(&client, 0, offsetof(side, wire));
    memset(&server, 0, offsetof(side, wire));
    sbx_yamux_init(&client.y, false, client.table, SLOTS, windows[data[0] & 3]);
    sbx_yamux_init(&server.y, true, server.table, SLOTS, windows[data[0] >> 2 & 3]);
    for (size_t i = 2; i + 1 < size; i += 2) {
        side *s = data[i] & 1 ? &server : &client, *other = data[i] & 1 ? &client : &server;
        if ((data[i] >> 1 & 15) < 8)
            act(s, data[i] >> 1 & 7, data[i] >> 5, data[i + 1]);
        else if (other->to < WIRE - 8192)
            deliver(s, other, data[i + 1] * 5u);
    }
    for (unsigned i = 0; i < 3; i++) {
        deliver(&client, &server, WIRE);
        deliver(&server, &client, WIRE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > MAX)
        return 0;
    any_bytes(data, size);
    two_sides(data, size);
    return 0;
}
