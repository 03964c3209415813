/* ---- http1: HTTP/1.1 response parser ---- */
#include "http1.h"
#include "base.h"

/* The order matters: the first seven read lines, the next three bodies, and the
   last three stand for DONE, UPGRADE and ERROR. */
enum {
    SBXI_HTTP1_STATUS,
    SBXI_HTTP1_REASON, /* inside a status line, the rest of which means nothing */
    SBXI_HTTP1_LINE,   /* before a line of a head that is delivered */
    SBXI_HTTP1_REST,   /* inside such a line, or in a skipped head, or in a trailer */
    SBXI_HTTP1_VALUE,  /* inside a value that is delivered in pieces */
    SBXI_HTTP1_SIZE,   /* a chunk's size and extensions */
    SBXI_HTTP1_DATA_END,
    SBXI_HTTP1_DATA,   /* of a chunk */
    SBXI_HTTP1_LENGTH, /* body by Content-Length */
    SBXI_HTTP1_CLOSE,  /* body until the peer closes */
    SBXI_HTTP1_ENDED,
    SBXI_HTTP1_UPGRADED,
    SBXI_HTTP1_FAILED
};

enum {
    SBXI_HTTP1_F_NO_BODY = 1,
    SBXI_HTTP1_F_CLOSE = 2, /* Connection: close */
    SBXI_HTTP1_F_CODED = 4,
    SBXI_HTTP1_F_BAD_CODING = 8,
    SBXI_HTTP1_F_TRAILER = 16,
    SBXI_HTTP1_F_LENGTH = 32
};

/* Bytes of a chunk's line, CRLF included. */
#define SBXI_HTTP1_CHUNK_LINE 256
/* What a step answers beside the kinds of events: go on with the next state, or
   an error. */
#define SBXI_HTTP1_NEXT (-1)
#define SBXI_HTTP1_BAD(error) (SBXI_HTTP1_NEXT - (int)(error))

/* Functions that are worth a copy at each use where speed counts, and those that are
   not worth one where size counts. */
#if SBX_SMALL
#define SBXI_HTTP1_WITHIN static
#define SBXI_HTTP1_ONCE SBXI_NOINLINE static
#else
#define SBXI_HTTP1_WITHIN SBXI_INLINE
#define SBXI_HTTP1_ONCE static
#endif

#if SBX_SMALL
static const uint32_t sbxi_http1_token_bits[4] = { 0, 0x03ff6cfau, 0xc7fffffeu, 0x57ffffffu };
#define SBXI_HTTP1_IS_TOKEN(c) ((c) < 128 && (sbxi_http1_token_bits[(c) >> 5] >> ((c) & 31) & 1))
#else
static const unsigned char sbxi_http1_token[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0
};
#define SBXI_HTTP1_IS_TOKEN(c) (sbxi_http1_token[c])

SBXI_INLINE uint64_t sbxi_http1_word(const unsigned char *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
           (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* k of upto = 2^(8k+1) - 1, the bits of a word up to the lowest one of byte k.
   Twice the constant has k in byte 7-k, which the product moves to the top;
   for the - 1 it loses the constant once, so its last byte is one more. */
SBXI_INLINE size_t sbxi_http1_byte(uint64_t upto)
{
    return (size_t)((upto * 0x0000810182028304u) >> 56);
}

/* Both look at the 16 bytes at *s and move *s behind them, or to the first of
   another kind and are true: to a control character (HTAB among them), or to
   what is neither letter nor '-'. The loops become vector code. */
SBXI_INLINE bool sbxi_http1_text16(const unsigned char **s)
{
    const unsigned char *p = *s;
    unsigned char other[16];
    uint64_t x;
    for (int i = 0; i < 16; i++)
        other[i] = (unsigned char)(0 - ((p[i] < 0x20) | (p[i] == 0x7f)));
    if ((x = sbxi_http1_word(other)) != 0) {
        *s = p + sbxi_http1_byte(x ^ (x - 1));
        return true;
    }
    if ((x = sbxi_http1_word(other + 8)) != 0) {
        *s = p + 8 + sbxi_http1_byte(x ^ (x - 1));
        return true;
    }
    *s = p + 16;
    return false;
}

SBXI_INLINE bool sbxi_http1_name16(const unsigned char **s)
{
    const unsigned char *p = *s;
    unsigned char same[16];
    uint64_t x;
    for (int i = 0; i < 16; i++)
        same[i] = (unsigned char)(0 - (((unsigned char)((p[i] | 0x20) - 'a') < 26) | (p[i] == '-')));
    if ((x = sbxi_http1_word(same)) != UINT64_MAX) {
        *s = p + sbxi_http1_byte(x ^ (x + 1));
        return true;
    }
    if ((x = sbxi_http1_word(same + 8)) != UINT64_MAX) {
        *s = p + 8 + sbxi_http1_byte(x ^ (x + 1));
        return true;
    }
    *s = p + 16;
    return false;
}
#endif

/* First byte of s..end that is no token character. */
static const unsigned char *sbxi_http1_skip_token(const unsigned char *s, const unsigned char *end)
{
    while (s < end && SBXI_HTTP1_IS_TOKEN(*s))
        s++;
    return s;
}

/* First byte of s..end that may not stand in a value (which includes CR and LF). */
SBXI_HTTP1_ONCE const unsigned char *sbxi_http1_skip_text(const unsigned char *s, const unsigned char *end)
{
#if !SBX_SMALL
    while (end - s >= 16 && !sbxi_http1_text16(&s)) {
    }
#endif
    while (s < end && ((*s >= 0x20 && *s != 0x7f) || *s == '\t'))
        s++;
    return s;
}

#if !SBX_SMALL
SBXI_INLINE bool sbxi_http1_is8(const char *s, const char *lower)
{
    uint64_t a, b;
    memcpy(&a, s, 8);
    memcpy(&b, lower, 8);
    return (a | 0x2020202020202020u) == b;
}
#endif

/* lower has letters and '-' only. Exact, as CR (which | 0x20 makes '-') cannot
   be in s. */
SBXI_HTTP1_WITHIN bool sbxi_http1_is(const char *s, size_t n, const char *lower)
{
    size_t i = 0;
#if !SBX_SMALL
    /* With a constant this is two or three comparisons of words. */
    size_t m = strlen(lower);
    if (m >= 8)
        return n == m && sbxi_http1_is8(s, lower) && (m <= 16 || sbxi_http1_is8(s + 8, lower + 8)) &&
               sbxi_http1_is8(s + m - 8, lower + m - 8);
#endif
    while (i < n && (s[i] | 0x20) == lower[i])
        i++;
    return i == n && lower[n] == 0;
}

/* A 1xx head without events. */
static bool sbxi_http1_skipped(const sbx_http1 *h)
{
    return h->status < 200 && h->status != 101;
}

/* The state before a line: LINE where the quick path may take it. */
static uint8_t sbxi_http1_before_line(const sbx_http1 *h)
{
    if (SBX_SMALL || sbxi_http1_skipped(h) || h->headers_left == 0 || (h->flags & SBXI_HTTP1_F_TRAILER))
        return SBXI_HTTP1_REST;
    return SBXI_HTTP1_LINE;
}

/* At the beginning of a status line: whether it can be one. Each byte lies
   between these two; of what lies between the last ones only CR and SP pass
   as text. With n < 13 it cannot be whole. */
static bool sbxi_http1_status_ok(const unsigned char *p, size_t n)
{
    static const char low[] = "HTTP/1.0 100\r", high[] = "HTTP/1.1 999 ";
    size_t i = 0;
#if !SBX_SMALL
    /* Both comparisons for eight bytes below 0x80 at once. */
    const uint64_t top = 0x8080808080808080u;
    if (n >= 13) {
        uint64_t x = sbxi_http1_word(p + 5);
        return memcmp(p, "HTTP/", 5) == 0 &&
               (((x | top) - sbxi_http1_word((const unsigned char *)low + 5)) &
                ((sbxi_http1_word((const unsigned char *)high + 5) | top) - x) & ~x & top) == top;
    }
#endif
    for (; i < n && i < 13; i++)
        if (p[i] < (unsigned char)low[i] || p[i] > (unsigned char)high[i])
            return false;
    return true;
}

static int sbxi_http1_status(sbx_http1 *h, const unsigned char *p)
{
    h->keep_alive = p[7] == '1';
    if (!h->keep_alive)
        h->flags |= SBXI_HTTP1_F_BAD_CODING;
    h->status = (uint16_t)(p[9] * 100 + p[10] * 10 + p[11] - '0' * 111);
    if (sbxi_http1_skipped(h) && h->interim_left-- == 0)
        return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    return SBXI_HTTP1_NEXT;
}

static void sbxi_http1_connection(sbx_http1 *h, sbx_str v)
{
    const char *p = v.p, *end = v.p + v.n, *t;
    if (!SBX_SMALL && sbxi_http1_is(v.p, v.n, "keep-alive")) {
        h->keep_alive = true;
        return;
    }
    for (; p < end; p = t + 1) {
        for (t = p; t < end && (unsigned char)*t > ' ' && *t != ',';)
            t++;
        if (sbxi_http1_is(p, (size_t)(t - p), "close"))
            h->flags |= SBXI_HTTP1_F_CLOSE;
        if (sbxi_http1_is(p, (size_t)(t - p), "keep-alive"))
            h->keep_alive = true;
    }
}

static bool sbxi_http1_length(sbx_http1 *h, sbx_str v)
{
    uint64_t x = 0;
    for (size_t i = 0; i < v.n; i++) {
        unsigned d = (unsigned char)v.p[i] - (unsigned)'0';
        if (d > 9 || x >> 60)
            return false;
        x = x * 10 + d;
    }
    if (v.n == 0 || ((h->flags & SBXI_HTTP1_F_LENGTH) && h->length != x))
        return false;
    h->flags |= SBXI_HTTP1_F_LENGTH;
    h->length = x;
    return true;
}

/* Remembers what a final head's field says about framing, which must be whole. */
static int sbxi_http1_frame(sbx_http1 *h, const sbx_http1_event *ev)
{
    const char *name = ev->name.p;
    size_t n = ev->name.n;
    int which = h->status < 200                               ? 0
                : sbxi_http1_is(name, n, "connection")        ? 1
                : sbxi_http1_is(name, n, "content-length")    ? 2
                : sbxi_http1_is(name, n, "transfer-encoding") ? 3
                                                              : 0;
    if (which && ev->more)
        return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    if (which == 1)
        sbxi_http1_connection(h, ev->value);
    if (which == 2 && !sbxi_http1_length(h, ev->value))
        return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_LENGTH);
    if (which == 3) {
        if ((h->flags & SBXI_HTTP1_F_CODED) || !sbxi_http1_is(ev->value.p, ev->value.n, "chunked"))
            h->flags |= SBXI_HTTP1_F_BAD_CODING;
        h->flags |= SBXI_HTTP1_F_CODED;
    }
    return SBX_HTTP1_HEADER;
}

/* Behind the empty line. RFC 9112 6.3: how long the body is. */
static int sbxi_http1_head_end(sbx_http1 *h)
{
    unsigned flags = h->flags;
    h->head_left -= 2;
    if (flags & SBXI_HTTP1_F_TRAILER) {
        h->state = SBXI_HTTP1_ENDED;
        return SBX_HTTP1_DONE;
    }
    if (h->status < 200) {
        h->flags = (uint8_t)(flags & SBXI_HTTP1_F_NO_BODY);
        h->state = SBXI_HTTP1_STATUS;
        if (sbxi_http1_skipped(h))
            return SBXI_HTTP1_NEXT;
        h->state = SBXI_HTTP1_UPGRADED;
        return SBX_HTTP1_UPGRADE;
    }
    if (flags & SBXI_HTTP1_F_CLOSE)
        h->keep_alive = false;
    h->left = h->length;
    if ((flags & SBXI_HTTP1_F_NO_BODY) || h->status == 204 || h->status == 304) {
        h->state = SBXI_HTTP1_ENDED;
    } else if (flags & SBXI_HTTP1_F_CODED) {
        if (flags & SBXI_HTTP1_F_LENGTH)
            return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_LENGTH);
        if (flags & SBXI_HTTP1_F_BAD_CODING)
            return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CODING);
        h->left = 0;
        h->chunked = true;
        h->state = SBXI_HTTP1_SIZE;
    } else if (flags & SBXI_HTTP1_F_LENGTH) {
        h->state = h->left ? SBXI_HTTP1_LENGTH : SBXI_HTTP1_ENDED;
    } else {
        h->keep_alive = false;
        h->state = SBXI_HTTP1_CLOSE;
    }
    return SBX_HTTP1_HEAD;
}

static unsigned sbxi_http1_hex(unsigned char c)
{
    unsigned d = c - (unsigned)'0';
    if (d < 10)
        return d;
    d = (c | 0x20u) - 'a';
    return d < 6 ? d + 10 : 16;
}

/* The line p..s of a chunk: its size, or what ends its data. Extensions are
   skipped. */
static int sbxi_http1_chunk(sbx_http1 *h, const unsigned char *p, const unsigned char *s)
{
    const unsigned char *q = p;
    uint64_t x = 0;
    unsigned d;
    bool quoted = false;
    if (h->state == SBXI_HTTP1_DATA_END) {
        h->state = SBXI_HTTP1_SIZE;
        return p == s ? SBXI_HTTP1_NEXT : SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
    }
    for (; (d = sbxi_http1_hex(*q)) < 16; q++) {
        if (x >> 60)
            return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
        x = x << 4 | d;
    }
    h->left = x;
    h->state = SBXI_HTTP1_DATA;
    if (x == 0) {
        h->flags |= SBXI_HTTP1_F_TRAILER;
        h->state = SBXI_HTTP1_REST;
    }
    if (q == p)
        return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
    if (q == s)
        return SBXI_HTTP1_NEXT;
    while (q < s && *q <= ' ')
        q++;
    if (*q != ';')
        return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
    for (; q < s; q++) {
        if (*q == '"')
            quoted = !quoted;
        if (*q == '\\' && quoted)
            q++;
    }
    return quoted ? SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK) : SBXI_HTTP1_NEXT;
}

static SBXI_ONCE void sbxi_http1_event(sbx_http1_event *ev, const unsigned char *name, size_t name_n, const unsigned char *v,
                             size_t n)
{
    ev->name.p = (const char *)name;
    ev->name.n = name_n;
    ev->value.p = (const char *)v;
    ev->value.n = n;
    ev->more = false;
    ev->trailer = false;
}

/* A field, p..*to, from its beginning (first), to its end or (more) as far as it
   fits; then *to is moved to the end of the value. Of the legal text only
   blanks are <= ' '. */
static int sbxi_http1_field(sbx_http1 *h, const unsigned char *p, const unsigned char **to, bool first, bool more,
                            sbx_http1_event *ev)
{
    const unsigned char *v = p, *c = p, *s = *to;
    if (first) {
        c = sbxi_http1_skip_token(p, s);
        if (c == s && more)
            return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
        if (c == p || *c != ':')
            return *p <= ' ' ? SBXI_HTTP1_BAD(SBX_HTTP1_OBS_FOLD) : SBXI_HTTP1_BAD(SBX_HTTP1_BAD_HEADER);
        if (h->headers_left == 0)
            return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
        h->headers_left--;
        for (v = c + 1; v < s && *v <= ' ';)
            v++;
    }
    while (s > v && s[-1] <= ' ')
        s--;
    if (more && s == v)
        return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    *to = s;
    sbxi_http1_event(ev, p, (size_t)(c - p), v, (size_t)(s - v));
    ev->more = more;
    if (sbxi_http1_skipped(h))
        return SBXI_HTTP1_NEXT;
    ev->trailer = (h->flags & SBXI_HTTP1_F_TRAILER) != 0;
    return ev->trailer ? (int)SBX_HTTP1_HEADER : sbxi_http1_frame(h, ev);
}

/* Takes the line *pp..s, whole or (more) as far as it fits. */
SBXI_HTTP1_ONCE int sbxi_http1_take(sbx_http1 *h, const unsigned char **pp, const unsigned char *s, bool more,
                                     sbx_http1_event *ev)
{
    const unsigned char *p = *pp;
    const unsigned state = h->state;
    int kind = SBXI_HTTP1_NEXT;
    h->scanned = 0;
    *pp = more ? s : s + 2;
    if (state >= SBXI_HTTP1_SIZE)
        return sbxi_http1_chunk(h, p, s);
    h->state = SBXI_HTTP1_REASON;
    if (state == SBXI_HTTP1_STATUS) {
        kind = sbxi_http1_status(h, p);
    } else if (state != SBXI_HTTP1_REASON) {
        if (s == p && state != SBXI_HTTP1_VALUE)
            return sbxi_http1_head_end(h);
        kind = sbxi_http1_field(h, p, &s, state != SBXI_HTTP1_VALUE, more, ev);
        /* Blanks may be the value's end, so they wait. */
        if (more)
            *pp = s;
        h->state = SBXI_HTTP1_VALUE;
    }
    h->head_left -= (uint32_t)(*pp - p);
    if (!more)
        h->state = sbxi_http1_before_line(h);
    return kind;
}

/* One line, whole; or the part of it that fits, where the caller has no room
   for more; or nothing. */
static int sbxi_http1_line(sbx_http1 *h, const unsigned char **pp, const unsigned char *end, bool full,
                           sbx_http1_event *ev)
{
    static const uint8_t bad[] = { SBX_HTTP1_BAD_STATUS_LINE, SBX_HTTP1_BAD_STATUS_LINE, SBX_HTTP1_BAD_HEADER,
                                   SBX_HTTP1_BAD_HEADER, SBX_HTTP1_BAD_HEADER, SBX_HTTP1_BAD_CHUNK,
                                   SBX_HTTP1_BAD_CHUNK };
    const unsigned char *p = *pp, *s;
    const unsigned state = h->state;
    const size_t cap = state < SBXI_HTTP1_SIZE ? h->head_left : SBXI_HTTP1_CHUNK_LINE;
    size_t n = SBXI_MIN((size_t)(end - p), cap);
    end = p + n;
    s = sbxi_http1_skip_text(p + h->scanned, end);
    if ((s < end && *s != '\r') || (end - s > 1 && s[1] != '\n') ||
        (state == SBXI_HTTP1_STATUS && !sbxi_http1_status_ok(p, n)))
        return SBXI_HTTP1_BAD(bad[state]);
    if (end - s < 2) {
        if (n < cap && (!full || n == 0)) {
            h->scanned = (uint32_t)(s - p);
            if (state == SBXI_HTTP1_LINE)
                h->state = SBXI_HTTP1_REST;
            return SBX_HTTP1_MORE;
        }
        if (n == cap || s == p || state >= SBXI_HTTP1_SIZE || (state == SBXI_HTTP1_STATUS && n < 13))
            return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    }
    return sbxi_http1_take(h, pp, s, end - s < 2, ev);
}

static int sbxi_http1_body(sbx_http1 *h, const unsigned char **pp, const unsigned char *end, sbx_http1_event *ev)
{
    const unsigned char *p = *pp;
    size_t n = (size_t)(end - p);
    if (n == 0)
        return SBX_HTTP1_MORE;
    if (n >= h->left) {
        n = (size_t)h->left;
        h->state = h->state == SBXI_HTTP1_DATA ? SBXI_HTTP1_DATA_END : SBXI_HTTP1_ENDED;
    }
    h->left -= n;
    *pp = p + n;
    sbxi_http1_event(ev, NULL, 0, p, n);
    return SBX_HTTP1_BODY;
}

/* The event of what a step answered. */
static sbx_http1_kind sbxi_http1_answer(sbx_http1 *h, int kind)
{
    if (kind < SBXI_HTTP1_NEXT) {
        h->state = SBXI_HTTP1_FAILED;
        h->error = (uint8_t)(SBXI_HTTP1_NEXT - kind);
        h->keep_alive = false;
        kind = SBX_HTTP1_ERROR;
    }
    return (sbx_http1_kind)kind;
}

static sbx_http1_kind sbxi_http1_final(const sbx_http1 *h)
{
    return (sbx_http1_kind)(h->state - SBXI_HTTP1_ENDED + SBX_HTTP1_DONE);
}

#if !SBX_SMALL
SBXI_NOINLINE
#endif
static sbx_http1_kind sbxi_http1_run(sbx_http1 *h, const char **p, const char *end, bool full, sbx_http1_event *ev)
{
    const unsigned char *at = (const unsigned char *)*p, *to = (const unsigned char *)end;
    int kind;
    /* After a step there is room, or the next call says that there is none. */
    for (;; full = false) {
        if (h->state >= SBXI_HTTP1_ENDED)
            return sbxi_http1_final(h);
        kind = h->state < SBXI_HTTP1_DATA ? sbxi_http1_line(h, &at, to, full, ev) : sbxi_http1_body(h, &at, to, ev);
        *p = (const char *)at;
        if (kind != SBXI_HTTP1_NEXT)
            return sbxi_http1_answer(h, kind);
#if !SBX_SMALL
        /* A head begins: its first line too can take the quick path. */
        if (h->state == SBXI_HTTP1_LINE)
            return sbx_http1_read(h, p, end, false, ev);
#endif
    }
}

#if !SBX_SMALL
/* Takes a whole line with an ordinary name and value of a final head or a 101:
   nearly every line there is. Anything else, bad lines too, is left to the
   general path: false, and nothing but *ev has changed. What is written to *ev
   early and read again frees registers. */
SBXI_INLINE bool sbxi_http1_quick(sbx_http1 *h, const char **pp, const char *last, sbx_http1_event *ev)
{
    const unsigned char *s = (const unsigned char *)*pp, *v, *stop = (const unsigned char *)last;
    if (!sbxi_http1_name16(&s) && (s > stop || !sbxi_http1_name16(&s)))
        return false;
    if ((s[0] | s[1] << 8) != (':' | ' ' << 8)) {
        while (*s != ':') {
            if (s > stop || !SBXI_HTTP1_IS_TOKEN(*s))
                return false;
            s++;
        }
    }
    ev->name.p = *pp;
    ev->name.n = (size_t)((const char *)s - *pp);
    s += s[1] == ' ' ? 2 : 1;
    ev->value.p = (const char *)s;
    do {
        if (s > stop)
            return false;
    } while (!sbxi_http1_text16(&s));
    if ((s[0] | s[1] << 8) != ('\r' | '\n' << 8))
        return false;
    s += 2;
    if ((size_t)((const char *)s - *pp) > h->head_left)
        return false;
    h->head_left -= (uint32_t)((const char *)s - *pp);
    if (--h->headers_left == 0)
        h->state = SBXI_HTTP1_REST;
    *pp = (const char *)s;
    s -= 2;
    v = (const unsigned char *)ev->value.p;
    if (*v <= ' ' || s[-1] <= ' ') {
        while (v < s && *v <= ' ')
            v++;
        while (v < s && s[-1] <= ' ')
            s--;
        ev->value.p = (const char *)v;
    }
    ev->value.n = (size_t)(s - v);
    ev->more = false;
    ev->trailer = false;
    return true;
}

/* The rest of the work for a line that decides framing, and for an empty one. */
SBXI_NOINLINE static sbx_http1_kind sbxi_http1_quick_frame(sbx_http1 *h, const sbx_http1_event *ev)
{
    return sbxi_http1_answer(h, ev->name.n ? sbxi_http1_frame(h, ev) : SBXI_HTTP1_BAD(SBX_HTTP1_BAD_HEADER));
}

SBXI_NOINLINE static sbx_http1_kind sbxi_http1_quick_end(sbx_http1 *h, const char **p)
{
    if (h->head_left < 2)
        return sbxi_http1_answer(h, SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE));
    *p += 2;
    return sbxi_http1_answer(h, sbxi_http1_head_end(h));
}
#endif

SBX_API sbx_http1_kind sbx_http1_read(sbx_http1 *h, const char **p, const char *end, bool full, sbx_http1_event *ev)
{
#if !SBX_SMALL
    if (h->state == SBXI_HTTP1_LINE && end - *p >= 18) {
        /* From here 16 bytes and a CRLF can be read. */
        end -= 18;
        if (sbxi_http1_quick(h, p, end, ev)) {
            /* Lengths of the names that decide framing, and 0. */
            if (ev->name.n < 18 && (0x24401u >> ev->name.n & 1))
                return sbxi_http1_quick_frame(h, ev);
            return SBX_HTTP1_HEADER;
        }
        if ((*p)[0] == '\r' && (*p)[1] == '\n')
            return sbxi_http1_quick_end(h, p);
        end += 18;
    }
#endif
    return sbxi_http1_run(h, p, end, full, ev);
}

SBX_API sbx_http1_kind sbx_http1_eof(sbx_http1 *h)
{
    if (h->state == SBXI_HTTP1_CLOSE)
        h->state = SBXI_HTTP1_ENDED;
    if (h->state < SBXI_HTTP1_ENDED)
        return sbxi_http1_answer(h, SBXI_HTTP1_BAD(SBX_HTTP1_TRUNCATED));
    return sbxi_http1_final(h);
}

SBX_API void sbx_http1_init(sbx_http1 *h, bool head, const sbx_http1_caps *caps)
{
    memset(h, 0, sizeof *h);
    h->length = SBX_HTTP1_UNKNOWN;
    h->head_left = caps && caps->head_bytes ? caps->head_bytes : 65536;
    h->headers_left = caps && caps->headers ? caps->headers : 128;
    h->interim_left = caps && caps->interim ? caps->interim : 8;
    h->flags = (uint8_t)(head * SBXI_HTTP1_F_NO_BODY);
}

SBX_API bool sbx_http1_name_ok(sbx_str name)
{
    const unsigned char *s = (const unsigned char *)name.p;
    return name.n && sbxi_http1_skip_token(s, s + name.n) == s + name.n;
}

SBX_API bool sbx_http1_value_ok(sbx_str value)
{
    const unsigned char *s = (const unsigned char *)value.p;
    return !value.n || sbxi_http1_skip_text(s, s + value.n) == s + value.n;
}
