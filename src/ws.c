/* ---- ws: WebSocket framing (RFC 6455) ---- */
#include "ws.h"
#include "base.h"
#include "text.h"

enum {
    SBXI_WS_HEAD,
    SBXI_WS_PAYLOAD,
    SBXI_WS_DONE /* closed (code 0) or failed */
};

SBX_API void sbx_ws_init(sbx_ws *w, unsigned flags, uint64_t max_message)
{
    memset(w, 0, sizeof *w);
    w->server = flags & SBX_WS_SERVER;
    w->raw_text = flags & SBX_WS_RAW_TEXT;
    w->max_message = max_message ? max_message : UINT64_MAX;
}

/* Bytes of the extended length that this 7-bit length announces. */
static unsigned sbxi_ws_extended(unsigned n)
{
    return n < 126 ? 0 : n == 126 ? 2 : 8;
}

/* The code of a close frame is read as part of the head: its parts begin at 2
   (extended length), mask_from and code_from, it ends at need. These three
   return 0 or the error's code. */
static unsigned sbxi_ws_head_begin(sbx_ws *w, unsigned b0, unsigned b1)
{
    unsigned op = b0 & 15, n = b1 & 127;
    w->left = n < 126 ? n : 0;
    w->mask_from = (uint8_t)(2 + sbxi_ws_extended(n));
    w->code_from = (uint8_t)(w->mask_from + w->server * 4);
    w->need = w->code_from;
    w->code = 0;
    w->total = 0;
    if ((b0 & 0x77) > 2 || b1 >> 7 != w->server) /* 0-2 and 8-10, nothing reserved */
        return 1002;
    if (op & 8) {
        if (n > 125 || b0 < 0x80)
            return 1002;
        if (op == SBX_WS_OP_CLOSE) {
            if (n == 1)
                return 1002;
            w->utf8 = 0; /* an open text message is of no interest any more */
            w->code = 1005;
            if (n)
                w->need = (uint8_t)(w->need + 2);
        }
    } else if (!op == !w->message) {
        return 1002;
    }
    return 0;
}

static unsigned sbxi_ws_head_end(sbx_ws *w)
{
    unsigned op = w->head & 15;
    w->at = 0;
    w->state = SBXI_WS_PAYLOAD;
    w->first = op != SBX_WS_OP_CONT;
    if (op & 8) {
        w->kind = (uint8_t)op;
        if (w->need != w->code_from) {
            w->left -= 2;
            if (!sbx_ws_close_code_ok(w->code))
                return 1002;
        }
        w->total = (uint8_t)w->left;
        return 0;
    }
    if (op)
        w->room = w->max_message;
    w->kind = w->message = (uint8_t)(op | w->message); /* one of them is 0 */
    if (w->mask_from > 2 && (w->left < (w->mask_from == 4 ? 126u : 65536u) || w->left >> 63))
        return 1002;
    if (w->left > w->room)
        return 1009;
    w->room -= w->left;
    return 0;
}

static unsigned sbxi_ws_head_byte(sbx_ws *w, unsigned b)
{
    unsigned i = w->at++, code;
    if (i == 0) {
        w->head = (uint8_t)b;
        return 0;
    }
    if (i == 1) {
        code = sbxi_ws_head_begin(w, w->head, b);
        if (code)
            return code;
    } else if (i < w->mask_from) {
        w->left = w->left << 8 | b;
    } else {
        unsigned char *m = &w->mask[w->mask_at++ & 3];
        if (i < w->code_from)
            *m = (uint8_t)b;
        else
            w->code = (uint16_t)((unsigned)w->code << 8 | (b ^ *m));
    }
    return w->at < w->need ? 0 : sbxi_ws_head_end(w);
}

SBXI_NOINLINE static void sbxi_ws_xor(unsigned char *p, size_t n, const unsigned char mask[4], unsigned at)
{
    size_t i;
#if !SBX_SMALL
    unsigned char key[32];
    for (i = 0; i < 4; i++)
        key[i] = mask[(at + i) & 3];
    memcpy(key + 4, key, 4);
    memcpy(key + 8, key, 8);
    memcpy(key + 16, key, 16);
    for (; n >= 32; n -= 32, p += 32)
        for (i = 0; i < 32; i++)
            p[i] ^= key[i];
    for (; n >= 8; n -= 8, p += 8)
        for (i = 0; i < 8; i++)
            p[i] ^= key[i];
#endif
    for (i = 0; i < n; i++)
        p[i] = (unsigned char)(p[i] ^ mask[at++ & 3]);
}

/* How many bytes are right, one by one after the first that is not, so that
   the events do not depend on how the input was cut. */
static size_t sbxi_ws_text(sbx_ws *w, const char *p, size_t n)
{
    size_t i = 0;
#if !SBX_SMALL
    uint32_t state = w->utf8;
    if (sbxi_utf8(&state, p, n)) {
        w->utf8 = state;
        return n;
    }
#endif
    while (i < n && ((!w->utf8 && !(p[i] & 0x80)) || sbxi_utf8(&w->utf8, p + i, 1)))
        i++;
    return i;
}

/* Takes payload; MORE: no event. */
static sbx_ws_kind sbxi_ws_payload(sbx_ws *w, char **pp, size_t n, sbx_ws_event *ev)
{
    char *p = *pp;
    bool last;
    if (n > w->left)
        n = (size_t)w->left;
    if (w->server) {
        sbxi_ws_xor((unsigned char *)p, n, w->mask, w->mask_at);
        w->mask_at = (uint8_t)(w->mask_at + n);
    }
    w->left -= n;
    last = !w->left && w->head >= 0x80;
    ev->p = p;
    ev->code = w->code;
    ev->total = w->total;
    ev->first = w->first;
    w->first = false;
    if (!w->left)
        w->state = SBXI_WS_HEAD;
    if (last && w->kind == SBX_WS_CLOSE) {
        w->state = SBXI_WS_DONE;
        w->code = 0;
    }
    if (last && w->kind < SBX_WS_CLOSE)
        w->message = 0;
    if (w->kind == SBX_WS_CLOSE || (w->kind == SBX_WS_TEXT && !w->raw_text)) {
        size_t ok = sbxi_ws_text(w, p, n);
        if (ok < n || (last && w->utf8)) {
            if (n && ok == n)
                ok--; /* the last byte is wrong: it leaves a character open */
            n = ok;
            last = false;
            w->state = SBXI_WS_DONE;
            w->code = 1007;
            if (!n)
                return SBX_WS_MORE;
        }
    }
    ev->n = n;
    ev->last = last;
    *pp = p + n;
    return n || ev->first || last ? (sbx_ws_kind)w->kind : SBX_WS_MORE;
}

#if !SBX_SMALL
SBXI_INLINE uint64_t sbxi_ws_word(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

SBXI_INLINE uint64_t sbxi_ws_or32(const unsigned char *p)
{
    return sbxi_ws_word(p) | sbxi_ws_word(p + 8) | sbxi_ws_word(p + 16) | sbxi_ws_word(p + 24);
}

/* For n up to 128: blocks that overlap instead of loops. */
SBXI_INLINE bool sbxi_ws_ascii(const unsigned char *p, size_t n)
{
    uint64_t all = 0;
    if (n >= 32) {
        all = sbxi_ws_or32(p) | sbxi_ws_or32(p + n - 32);
        if (n > 64)
            all |= sbxi_ws_or32(p + 32) | sbxi_ws_or32(p + n - 64);
    } else if (n >= 8) {
        all = sbxi_ws_word(p) | sbxi_ws_word(p + n - 8);
        if (n > 16)
            all |= sbxi_ws_word(p + 8) | sbxi_ws_word(p + n - 16);
    } else {
        while (n)
            all |= p[--n];
    }
    return !(all & 0x8080808080808080u);
}

/* The event of a whole message in one frame; its kind. */
SBXI_INLINE sbx_ws_kind sbxi_ws_whole(unsigned kind, char **pp, unsigned char *p, size_t n, sbx_ws_event *ev)
{
    *pp = (char *)p + n;
    ev->p = (char *)p;
    ev->n = n;
    ev->code = 0;
    ev->total = 0;
    ev->first = true;
    ev->last = true;
    return (sbx_ws_kind)kind;
}

/* A client's frequent case, with nothing to keep: a whole message in one frame
   below 64 KiB, all of it there. MORE: not that case. */
static sbx_ws_kind sbxi_ws_quick(const sbx_ws *w, char **pp, char *end, sbx_ws_event *ev)
{
    unsigned char *p = (unsigned char *)*pp;
    size_t have = (size_t)(end - *pp), n;
    unsigned kind;
    uint32_t busy, utf8 = 0;
    memcpy(&busy, w, sizeof busy); /* state, at, message, server */
    if (busy || have < 4)
        return SBX_WS_MORE;
    kind = p[0] - 0x80u;
    n = p[1];
    p += 2;
    if (n == 126) {
        n = (size_t)(p[0] << 8 | p[1]);
        p += 2;
        if (n < 126)
            return SBX_WS_MORE;
    } else if (n > 125) {
        return SBX_WS_MORE;
    }
    if (kind - 1 > 1 || n > (size_t)(end - (char *)p) || n > w->max_message)
        return SBX_WS_MORE;
    if (kind == SBX_WS_TEXT && !w->raw_text && (!sbxi_utf8(&utf8, (char *)p, n) || utf8))
        return SBX_WS_MORE;
    return sbxi_ws_whole(kind, pp, p, n, ev);
}

SBXI_NOINLINE /* keeps its frame and saved registers out of the quick path */
#endif
static sbx_ws_kind sbxi_ws_step(sbx_ws *w, char **pp, char *end, sbx_ws_event *ev)
{
#if !SBX_SMALL
    sbx_ws_kind quick = sbxi_ws_quick(w, pp, end, ev);
    if (quick != SBX_WS_MORE)
        return quick;
#endif
    while (w->state < SBXI_WS_DONE) {
        sbx_ws_kind kind;
        unsigned code;
        if (w->state == SBXI_WS_PAYLOAD) {
            if (w->left && *pp == end)
                return SBX_WS_MORE;
            kind = sbxi_ws_payload(w, pp, (size_t)(end - *pp), ev);
            if (kind != SBX_WS_MORE)
                return kind;
            continue;
        }
        if (*pp == end)
            return SBX_WS_MORE;
        code = sbxi_ws_head_byte(w, (uint8_t)*(*pp)++);
        if (code) {
            w->code = (uint16_t)code;
            w->state = SBXI_WS_DONE;
        }
    }
    *pp = end;
    ev->n = 0;
    ev->code = w->code;
    return w->code ? SBX_WS_ERROR : SBX_WS_MORE;
}

SBX_API sbx_ws_kind sbx_ws_read(sbx_ws *w, char **pp, char *end, sbx_ws_event *ev)
{
#if !SBX_SMALL
    /* sbxi_ws_quick once more, for what needs neither a call nor a loop. */
    unsigned char *p = (unsigned char *)*pp;
    size_t have = (size_t)(end - *pp);
    uint32_t busy;
    memcpy(&busy, w, sizeof busy);
    if (!busy && have >= 2) {
        unsigned kind = p[0] - 0x80u;
        size_t n = p[1];
        if (kind - 1 <= 1 && n <= 125 && n <= have - 2 && n <= w->max_message &&
            (kind != SBX_WS_TEXT || w->raw_text || sbxi_ws_ascii(p + 2, n)))
            return sbxi_ws_whole(kind, pp, p + 2, n, ev);
    }
#endif
    return sbxi_ws_step(w, pp, end, ev);
}

SBX_API size_t sbx_ws_head(unsigned char buf[SBX_WS_HEAD_MAX], unsigned opcode, bool fin, uint64_t n, const unsigned char mask[4])
{
    unsigned small = n < 126 ? (unsigned)n : n < 65536 ? 126 : 127, k = sbxi_ws_extended(small);
    size_t at = 2 + k;
    buf[0] = (unsigned char)(opcode | (fin ? 128u : 0u));
    buf[1] = (unsigned char)small;
    for (; k; n >>= 8)
        buf[1 + k--] = (unsigned char)n;
    if (mask) {
        buf[1] |= 128;
        memcpy(buf + at, mask, 4);
        at += 4;
    }
    return at;
}

SBX_API void sbx_ws_mask(void *p, size_t n, const unsigned char mask[4], uint64_t at)
{
    sbxi_ws_xor((unsigned char *)p, n, mask, (unsigned)(at & 3));
}

SBX_API bool sbx_ws_close_code_ok(unsigned code)
{
    return (code >= 3000 && code <= 4999) || (code - 1000 <= 14 && !(0x70u >> (code - 1000) & 1));
}

SBX_API size_t sbx_ws_close_payload(unsigned char buf[125], unsigned code, sbx_str reason)
{
    size_t n = reason.n;
    if (!sbx_ws_close_code_ok(code))
        return 0;
    buf[0] = (unsigned char)(code >> 8);
    buf[1] = (unsigned char)code;
    if (n > 123)
        for (n = 123; n && (reason.p[n] & 0xC0) == 0x80; n--) {
        }
    if (n)
        memcpy(buf + 2, reason.p, n);
    return n + 2;
}

SBX_API void sbx_ws_key(char out[24], const unsigned char random[16])
{
    sbxi_base64(out, random, 16);
}

SBX_API void sbx_ws_accept(char out[28], sbx_str key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char hash[20];
    char text[24 + sizeof guid];
    if (key.n - 1 > 23) {
        memset(out, 0, 28);
        return;
    }
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, guid, sizeof guid);
    sbxi_sha1(hash, text, key.n + sizeof guid - 1);
    sbxi_base64(out, hash, sizeof hash);
}
