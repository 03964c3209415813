/* ---- yamux: streams over one connection ---- */
#include "yamux.h"
#include "base.h"

enum { SBXI_YAMUX_TYPE_DATA, SBXI_YAMUX_TYPE_WINDOW, SBXI_YAMUX_TYPE_PING, SBXI_YAMUX_TYPE_GOAWAY };
enum { SBXI_YAMUX_SYN = 1, SBXI_YAMUX_ACK = 2, SBXI_YAMUX_FIN = 4, SBXI_YAMUX_RST = 8 };

/* Of a stream. The first two are flags that the next frame has to carry. */
enum {
    SBXI_YAMUX_SYN_DUE = SBXI_YAMUX_SYN,
    SBXI_YAMUX_ACK_DUE = SBXI_YAMUX_ACK,
    SBXI_YAMUX_DUE = SBXI_YAMUX_SYN_DUE | SBXI_YAMUX_ACK_DUE,
    SBXI_YAMUX_FIN_SENT = SBXI_YAMUX_FIN,
    SBXI_YAMUX_FIN_GOT = 8,
    SBXI_YAMUX_ENDED = SBXI_YAMUX_FIN_SENT | SBXI_YAMUX_FIN_GOT,
    SBXI_YAMUX_WAS_RESET = 16,
    SBXI_YAMUX_NOT_ACCEPTED = 32 /* the peer's ACK is outstanding */
};

/* Of a session. */
enum { SBXI_YAMUX_AWAY = 1 /* no new streams of ours */, SBXI_YAMUX_SAID_AWAY = 2, SBXI_YAMUX_PINGED = 4 };

/* Events of the frame being read lie in `todo`, a bit each, and come in the
   order of their numbers. */
#define SBXI_YAMUX_BIT(kind) (1u << (kind))
#define SBXI_YAMUX_UP_TO_DATA (2 * SBXI_YAMUX_BIT(SBX_YAMUX_DATA) - 1)

static uint32_t sbxi_yamux_get(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static SBXI_ONCE size_t sbxi_yamux_put(unsigned char *out, unsigned type, unsigned flags, uint32_t id, uint32_t n)
{
    memset(out, 0, 4);
    out[1] = (unsigned char)type;
    out[3] = (unsigned char)flags;
    for (unsigned i = 8; i > 4; id >>= 8)
        out[--i] = (unsigned char)id;
    for (unsigned i = 12; i > 8; n >>= 8)
        out[--i] = (unsigned char)n;
    return SBX_YAMUX_HEAD;
}

SBX_API void sbx_yamux_init(sbx_yamux *y, bool server, sbx_yamux_stream *streams, uint32_t count, uint32_t window)
{
    memset(y, 0, sizeof *y);
    memset(streams, 0, sizeof *streams * count);
    y->streams = streams;
    y->count = count;
    y->window = window ? window : SBX_YAMUX_INITIAL;
    y->next_id = server ? 2 : 1;
}

/* A stream is looked for from where its id would have it: ids count up, so it
   mostly is there. id 0 finds a free place, for the stream `home`. */
static SBXI_ONCE sbx_yamux_stream *sbxi_yamux_find(const sbx_yamux *y, uint32_t id, uint32_t home)
{
    uint32_t at = (home >> 1) % y->count;

    for (uint32_t i = 0; i < y->count; i++) {
        if (y->streams[at].id == id)
            return &y->streams[at];
        if (++at == y->count)
            at = 0;
    }
    return NULL;
}

static SBXI_ONCE sbx_yamux_stream *sbxi_yamux_take(sbx_yamux *y, uint32_t id, unsigned flags)
{
    sbx_yamux_stream *s = y->flags & SBXI_YAMUX_SAID_AWAY ? NULL : sbxi_yamux_find(y, 0, id);

    if (s) {
        memset(s, 0, sizeof *s);
        s->id = id;
        s->send = s->recv = SBX_YAMUX_INITIAL;
        s->flags = (uint8_t)flags;
    }
    return s;
}

/* ---- reading ---- */

/* A frame to be sent, in the place of the head that was read. */
static SBXI_ONCE sbx_yamux_kind sbxi_yamux_reply(sbx_yamux *y, sbx_yamux_event *ev, sbx_yamux_kind kind, unsigned type, unsigned flags, uint32_t n)
{
    ev->p = (const char *)y->head;
    ev->n = sbxi_yamux_put(y->head, type, flags, type < SBXI_YAMUX_TYPE_PING ? sbxi_yamux_get(y->head + 4) : 0, n);
    return kind;
}

static SBXI_ONCE sbx_yamux_kind sbxi_yamux_bad(sbx_yamux *y, sbx_yamux_event *ev, sbx_yamux_reason reason)
{
    y->reason = (uint8_t)reason;
    y->todo = 0;
    ev->value = reason;
    return sbxi_yamux_reply(y, ev, SBX_YAMUX_ERROR, SBXI_YAMUX_TYPE_GOAWAY, 0, SBX_YAMUX_PROTOCOL);
}

static sbx_yamux_kind sbxi_yamux_session(sbx_yamux *y, sbx_yamux_event *ev, unsigned type, unsigned flags, uint32_t n)
{
    if (type == SBXI_YAMUX_TYPE_GOAWAY) {
        y->flags |= SBXI_YAMUX_AWAY;
        ev->value = n;
        return SBX_YAMUX_GOAWAY;
    }
    if (flags & SBXI_YAMUX_SYN)
        return sbxi_yamux_reply(y, ev, SBX_YAMUX_REPLY, SBXI_YAMUX_TYPE_PING, SBXI_YAMUX_ACK, n);
    if (!(y->flags & SBXI_YAMUX_PINGED) || n != y->ping)
        return SBX_YAMUX_MORE;
    y->flags &= (uint8_t)~SBXI_YAMUX_PINGED;
    return SBX_YAMUX_PONG;
}

/* What a frame does to a stream that is open. MORE: its events are in todo. */
static sbx_yamux_kind sbxi_yamux_apply(sbx_yamux *y, sbx_yamux_stream *s, sbx_yamux_event *ev, unsigned type, unsigned flags, uint32_t n)
{
    unsigned todo = 0;

    if (flags & SBXI_YAMUX_ACK && s->flags & SBXI_YAMUX_NOT_ACCEPTED) {
        s->flags &= (uint8_t)~SBXI_YAMUX_NOT_ACCEPTED;
        todo = SBXI_YAMUX_BIT(SBX_YAMUX_ACCEPTED);
    }
    if (type == SBXI_YAMUX_TYPE_WINDOW) {
        if (n > UINT32_MAX - s->send)
            return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_DELTA);
        s->send += n;
        if (n)
            todo |= SBXI_YAMUX_BIT(SBX_YAMUX_WINDOW);
    } else if (n > s->recv) {
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_LENGTH);
    }
    if (s->flags & SBXI_YAMUX_FIN_GOT && (flags & SBXI_YAMUX_FIN || (type == SBXI_YAMUX_TYPE_DATA && n)))
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_FIN);
    if (flags & SBXI_YAMUX_FIN) {
        s->flags |= SBXI_YAMUX_FIN_GOT;
        todo |= SBXI_YAMUX_BIT(SBX_YAMUX_EOF);
    }
    if (flags & SBXI_YAMUX_RST) {
        s->flags |= SBXI_YAMUX_WAS_RESET;
        todo = SBXI_YAMUX_BIT(SBX_YAMUX_RESET); /* what the frame carries is skipped */
    }
    y->todo |= (uint8_t)todo;
    return SBX_YAMUX_MORE;
}

static sbx_yamux_kind sbxi_yamux_frame(sbx_yamux *y, sbx_yamux_event *ev, unsigned type, unsigned flags, uint32_t id, uint32_t n)
{
    sbx_yamux_stream *s = sbxi_yamux_find(y, id, id);
    bool ours = !((id ^ y->next_id) & 1), syn = flags & SBXI_YAMUX_SYN;

    if (ours && (syn || id >= y->next_id))
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_ID);
    if (s && syn)
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_SYN);
    y->left = type == SBXI_YAMUX_TYPE_DATA ? n : 0;
    y->todo = y->left ? SBXI_YAMUX_BIT(SBX_YAMUX_DATA) : 0;
    y->current = NULL;
    if (syn) {
        s = sbxi_yamux_take(y, id, SBXI_YAMUX_ACK_DUE);
        if (s)
            y->todo |= SBXI_YAMUX_BIT(SBX_YAMUX_OPENED);
    }
    if (s && !(s->flags & SBXI_YAMUX_WAS_RESET)) {
        y->current = s;
        return sbxi_yamux_apply(y, s, ev, type, flags, n);
    }
    /* Nobody was ever given more than this. */
    if (y->left > SBXI_MAX(y->window, SBX_YAMUX_INITIAL))
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_LENGTH);
    return syn && !(flags & SBXI_YAMUX_RST) ? sbxi_yamux_reply(y, ev, SBX_YAMUX_REPLY, SBXI_YAMUX_TYPE_WINDOW, SBXI_YAMUX_RST, 0) : SBX_YAMUX_MORE;
}

/* The head is complete. */
static sbx_yamux_kind sbxi_yamux_head(sbx_yamux *y, sbx_yamux_event *ev)
{
    unsigned type = y->head[1], flags = y->head[3];
    uint32_t id = sbxi_yamux_get(y->head + 4), n = sbxi_yamux_get(y->head + 8);

    y->at = 0;
    if (y->head[0])
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_VERSION);
    if (type > SBXI_YAMUX_TYPE_GOAWAY)
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_TYPE);
    if ((type < SBXI_YAMUX_TYPE_PING) == !id)
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_ID);
    return type < SBXI_YAMUX_TYPE_PING ? sbxi_yamux_frame(y, ev, type, flags, id, n) : sbxi_yamux_session(y, ev, type, flags, n);
}

/* The next event of the frame being read; MORE: it has none that needs no more
   input. */
static sbx_yamux_kind sbxi_yamux_next(sbx_yamux *y, const char **p, const char *end, sbx_yamux_event *ev)
{
    sbx_yamux_stream *s = y->current;
    unsigned kind = SBX_YAMUX_OPENED;
    size_t n;

    while (!(y->todo & SBXI_YAMUX_BIT(kind)))
        kind++;
    if (kind != SBX_YAMUX_DATA) {
        ev->stream = s;
        y->todo &= (uint8_t)~SBXI_YAMUX_BIT(kind);
        if (kind == SBX_YAMUX_WINDOW)
            ev->value = sbxi_yamux_get(y->head + 8);
        return (sbx_yamux_kind)kind;
    }
    n = SBXI_MIN((size_t)(end - *p), y->left);
    *p += n;
    y->left -= (uint32_t)n;
    if (!y->left)
        y->todo &= (uint8_t)~SBXI_YAMUX_BIT(SBX_YAMUX_DATA);
    if (!s || !n || s->flags & SBXI_YAMUX_WAS_RESET)
        return SBX_YAMUX_MORE;
    ev->stream = s;
    ev->p = *p - n;
    ev->n = n;
    s->recv -= (uint32_t)n;
    s->held += (uint32_t)n;
    return SBX_YAMUX_DATA;
}

SBX_API sbx_yamux_kind sbx_yamux_read(sbx_yamux *y, const char **p, const char *end, sbx_yamux_event *ev)
{
    memset(ev, 0, sizeof *ev);
    while (!y->reason) {
        sbx_yamux_kind kind = SBX_YAMUX_MORE;
        size_t n;

        if (y->todo) {
            kind = sbxi_yamux_next(y, p, end, ev);
        } else if (*p != end) {
            n = SBXI_MIN((size_t)(end - *p), (size_t)(SBX_YAMUX_HEAD - y->at));
            memcpy(y->head + y->at, *p, n);
            *p += n;
            y->at = (uint8_t)(y->at + n);
            if (y->at == SBX_YAMUX_HEAD)
                kind = sbxi_yamux_head(y, ev);
        }
        if (kind == SBX_YAMUX_ERROR)
            *p = end;
        if (kind != SBX_YAMUX_MORE)
            return kind;
        /* Only the payload, and what stands behind it, needs input. */
        if (*p == end && (!y->todo || (y->todo & SBXI_YAMUX_UP_TO_DATA) == SBXI_YAMUX_BIT(SBX_YAMUX_DATA)))
            return SBX_YAMUX_MORE;
    }
    *p = end;
    ev->value = y->reason;
    return SBX_YAMUX_ERROR;
}

/* ---- writing ---- */

SBX_API sbx_yamux_stream *sbx_yamux_open(sbx_yamux *y)
{
    uint32_t id = y->next_id;
    sbx_yamux_stream *s = y->flags & SBXI_YAMUX_AWAY || y->reason || id > UINT32_MAX - 2 ? NULL : sbxi_yamux_take(y, id, SBXI_YAMUX_SYN_DUE | SBXI_YAMUX_NOT_ACCEPTED);

    if (s)
        y->next_id += 2;
    return s;
}

SBX_API uint32_t sbx_yamux_sendable(const sbx_yamux_stream *s)
{
    return s->flags & (SBXI_YAMUX_FIN_SENT | SBXI_YAMUX_WAS_RESET) ? 0 : s->send;
}

/* A frame of a stream, unless it would say nothing. */
static SBXI_ONCE size_t sbxi_yamux_say(sbx_yamux_stream *s, unsigned type, unsigned flags, uint32_t n, unsigned char *out)
{
    flags |= s->flags & SBXI_YAMUX_DUE;
    if (s->flags & SBXI_YAMUX_WAS_RESET || !(n || flags))
        return 0;
    s->flags &= (uint8_t)~SBXI_YAMUX_DUE;
    return sbxi_yamux_put(out, type, flags, s->id, n);
}

SBX_API size_t sbx_yamux_data(sbx_yamux_stream *s, size_t *n, unsigned char out[SBX_YAMUX_HEAD])
{
    uint32_t take = (uint32_t)SBXI_MIN(*n, sbx_yamux_sendable(s));

    *n = take;
    s->send -= take;
    return take ? sbxi_yamux_say(s, SBXI_YAMUX_TYPE_DATA, 0, take, out) : 0;
}

SBX_API size_t sbx_yamux_end(sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD])
{
    unsigned flags = ~s->flags & SBXI_YAMUX_FIN;

    s->flags |= (uint8_t)flags; /* SBXI_YAMUX_FIN_SENT is the same bit */
    return flags ? sbxi_yamux_say(s, SBXI_YAMUX_TYPE_WINDOW, flags, 0, out) : 0;
}

SBX_API void sbx_yamux_consumed(sbx_yamux_stream *s, size_t n)
{
    s->held -= (uint32_t)SBXI_MIN(n, s->held);
}

SBX_API size_t sbx_yamux_update(const sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD])
{
    uint32_t used = s->held + s->recv, delta = used < y->window ? y->window - used : 0;

    if (s->flags & SBXI_YAMUX_FIN_GOT || delta < y->window / 2)
        delta = 0;
    s->recv += delta;
    return sbxi_yamux_say(s, SBXI_YAMUX_TYPE_WINDOW, 0, delta, out);
}

SBX_API size_t sbx_yamux_drop(sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD])
{
    uint32_t id = s->id;
    unsigned over = s->flags & (SBXI_YAMUX_SYN_DUE | SBXI_YAMUX_WAS_RESET);
    bool ended = (s->flags & SBXI_YAMUX_ENDED) == SBXI_YAMUX_ENDED;

    if (y->current == s) {
        y->current = NULL;
        y->todo &= SBXI_YAMUX_BIT(SBX_YAMUX_DATA); /* the rest of its frame is skipped */
    }
    memset(s, 0, sizeof *s);
    return over || ended ? 0 : sbxi_yamux_put(out, SBXI_YAMUX_TYPE_WINDOW, SBXI_YAMUX_RST, id, 0);
}

SBX_API size_t sbx_yamux_ping(sbx_yamux *y, unsigned char out[SBX_YAMUX_HEAD])
{
    y->flags |= SBXI_YAMUX_PINGED;
    return sbxi_yamux_put(out, SBXI_YAMUX_TYPE_PING, SBXI_YAMUX_SYN, 0, ++y->ping);
}

SBX_API size_t sbx_yamux_goaway(sbx_yamux *y, sbx_yamux_code code, unsigned char out[SBX_YAMUX_HEAD])
{
    y->flags |= SBXI_YAMUX_AWAY | SBXI_YAMUX_SAID_AWAY;
    return sbxi_yamux_put(out, SBXI_YAMUX_TYPE_GOAWAY, 0, 0, code);
}

SBX_API const char *sbx_yamux_reason_text(uint32_t reason)
{
#if SBX_NO_ERROR_TEXT
    (void)reason;
    return "";
#else
    static const char *const texts[] = {
        "no error", "an unknown protocol version", "an unknown frame type", "a stream id that cannot be", "a stream that is open was opened again",
        "data or a second end behind a stream's end", "more data than the stream's window allows", "a window above 2^32-1"
    };

    return texts[reason <= SBX_YAMUX_BAD_DELTA ? reason : 0];
#endif
}
