/* parts: ws text */
/* Any bytes, whole and in chunks, for both roles, against a plain reference;
   then the same bytes as messages through the writer and back. */
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 4096, LOG = 4 * MAX };

typedef struct events {
    unsigned char b[LOG];
    size_t n;
    bool dead; /* closed or failed */
} events;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void put(events *e, const void *p, size_t n)
{
    must(e->n + n <= LOG);
    if (n)
        memcpy(e->b + e->n, p, n);
    e->n += n;
}

static void mark(events *e, unsigned kind, unsigned code, unsigned total)
{
    unsigned char m[5] = { 0xfe, (unsigned char)kind, (unsigned char)(code >> 8), (unsigned char)code, (unsigned char)total };
    put(e, m, 5);
}

static void same(const events *a, const events *b)
{
    must(a->n == b->n && !memcmp(a->b, b->b, a->n));
}

static void read_chunk(sbx_ws *w, events *e, const unsigned char *p, size_t n)
{
    char *copy = (char *)malloc(n ? n : 1), *at = copy, *end = copy + n;
    sbx_ws_event ev;
    sbx_ws_kind k;
    if (n)
        memcpy(copy, p, n);
    while ((k = sbx_ws_read(w, &at, end, &ev)) != SBX_WS_MORE) {
        must(at >= copy && at <= end);
        if (k == SBX_WS_ERROR) {
            if (!e->dead)
                mark(e, k, ev.code, 0);
            e->dead = true;
            must(at == end);
            break;
        }
        must(!e->dead && (ev.n || ev.first || ev.last) && ev.p >= copy && ev.p + ev.n == at);
        if (ev.first)
            mark(e, k, ev.code, ev.total);
        put(e, ev.p, ev.n);
        if (ev.last)
            mark(e, 255, 0, 0);
        e->dead = ev.last && k == SBX_WS_CLOSE;
    }
    must(at == end);
    free(copy);
}

/* The code point that begins at p: its length, 0: cut, -1: wrong; *bad: where. */
static int one_char(const unsigned char *p, size_t n, size_t *bad)
{
    int need = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0, i;
    unsigned long low = 0, high = 0;
    *bad = 0;
    if (!need || p[0] == 0xc0 || p[0] == 0xc1 || p[0] > 0xf4)
        return -1;
    low = high = p[0] & (need == 1 ? 0x7f : 0xff >> (need + 1));
    for (i = 1; i < need; i++) {
        int k;
        unsigned long l, h;
        if ((size_t)i >= n)
            return 0;
        *bad = (size_t)i;
        if ((p[i] & 0xc0) != 0x80)
            return -1;
        low = high = low << 6 | (p[i] & 0x3f);
        /* what the rest can still make of it */
        for (k = i + 1, l = low, h = high; k < need; k++) {
            l <<= 6;
            h = h << 6 | 0x3f;
        }
        if (h < (need == 3 ? 0x800u : need == 4 ? 0x10000u : 0x80u) || l > 0x10ffff || (l >= 0xd800 && h <= 0xdfff))
            return -1;
    }
    return need;
}

/* Length of text that is right; `last`: a character cut at the end is wrong at
   the last byte of these. */
static bool text_ok(const unsigned char *p, size_t n, bool last, size_t *ok)
{
    size_t i = 0, bad;
    while (i < n) {
        int k = one_char(p + i, n - i, &bad);
        if (k < 0) {
            *ok = i + bad;
            return false;
        }
        if (!k) {
            *ok = last ? n - 1 : n;
            return !last;
        }
        i += (size_t)k;
    }
    *ok = n;
    return true;
}

/* Reads everything at once, straight by the RFC. */
static void reference(events *e, const unsigned char *p, size_t n, unsigned flags, uint64_t max)
{
    static unsigned char text[MAX], body[MAX];
    size_t at = 0, text_n = 0, delivered = 0, i, h, have, ok = 0;
    unsigned open = 0;
    uint64_t message = 0;
    bool server = flags & SBX_WS_SERVER, check = !(flags & SBX_WS_RAW_TEXT);
    while (n - at >= 2) {
        const unsigned char *f = p + at;
        unsigned op = f[0] & 15;
        bool fin = f[0] >> 7, begins = op == 1 || op == 2;
        uint64_t len = f[1] & 127;
        unsigned char m[4] = { 0 };
        if ((f[0] & 0x70) || (op > 2 && op < 8) || op > 10 || (f[1] >= 128) != server || (op >= 8 && (!fin || len > 125)) ||
            (op == 0 && !open) || (begins && open) || (op == 8 && len == 1)) {
            mark(e, SBX_WS_ERROR, 1002, 0);
            return;
        }
        h = 2 + (len == 126 ? 2u : len == 127 ? 8u : 0u) + (server ? 4u : 0u);
        if (n - at < h + (op == 8 && len ? 2u : 0u))
            return;
        if (len >= 126) {
            unsigned k = len == 126 ? 2 : 8;
            for (len = 0, i = 0; i < k; i++)
                len = len << 8 | f[2 + i];
            if (len < (k == 2 ? 126u : 65536u) || len > INT64_MAX) {
                mark(e, SBX_WS_ERROR, 1002, 0);
                return;
            }
        }
        if (server)
            memcpy(m, f + h - 4, 4);
        at += h;
        have = n - at < len ? n - at : (size_t)len;
        for (i = 0; i < have; i++)
            body[i] = p[at + i] ^ m[i & 3];
        at += have;
        if (op >= 8) {
            unsigned code = 0;
            size_t skip = 0;
            bool good = true;
            if (op == 8) {
                code = len ? (unsigned)body[0] << 8 | body[1] : 1005;
                skip = len ? 2 : 0;
                if (len && !((code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code < 5000))) {
                    mark(e, SBX_WS_ERROR, 1002, 0);
                    return;
                }
                good = text_ok(body + skip, have - skip, have == len, &ok);
            }
            if (have > skip ? op != 8 || ok > 0 : have == len)
                mark(e, op, code, (unsigned)(len - skip));
            put(e, body + skip, op == 8 ? ok : have);
            if (!good)
                mark(e, SBX_WS_ERROR, 1007, 0);
            else if (have == len)
                mark(e, 255, 0, 0);
            if (op == 8 || have < len)
                return;
            continue;
        }
        if (begins) {
            open = op;
            message = text_n = delivered = 0;
        }
        if (max && len > max - message) {
            mark(e, SBX_WS_ERROR, 1009, 0);
            return;
        }
        message += len;
        if (open == 1 && check) {
            bool good;
            memcpy(text + text_n, body, have);
            text_n += have;
            good = text_ok(text, text_n, fin && have == len, &ok);
            if (ok < delivered)
                ok = delivered; /* an empty last fragment: the error is after what came */
            if (begins && (len ? ok > 0 : good))
                mark(e, open, 0, 0);
            put(e, text + delivered, ok - delivered);
            delivered = ok;
            if (!good) {
                mark(e, SBX_WS_ERROR, 1007, 0);
                return;
            }
        } else {
            if (begins && (have || !len))
                mark(e, open, 0, 0);
            put(e, body, have);
        }
        if (have < len)
            return;
        if (fin) {
            mark(e, 255, 0, 0);
            open = 0;
        }
    }
    /* one byte more cannot be wrong by itself */
}

static void round_trip(const uint8_t *data, size_t size, bool server)
{
    static unsigned char wire[LOG];
    static events want, got;
    sbx_ws w;
    size_t n = 0, i = 0;
    bool inside = false;
    want.n = got.n = 0;
    want.dead = got.dead = false;
    while (i + 8 < size && n < LOG / 2) {
        unsigned char head[SBX_WS_HEAD_MAX];
        const unsigned char *mask = data + i;
        unsigned pick = data[i + 4];
        bool control = (pick & 3) == 0, fin = control || (pick & 4);
        unsigned op = control ? 9 + (pick >> 3 & 1) : inside ? 0 : 2;
        size_t len = data[i + 5] + (pick & 16 ? 100u : 0u), h, cut = data[i + 6];
        if (control && len > 125)
            len = 125;
        i += 7;
        if (len > size - i)
            len = size - i;
        if (len > 125 && control)
            len = 125;
        if (op)
            mark(&want, op, 0, control ? (unsigned)len : 0);
        put(&want, data + i, len);
        if (fin)
            mark(&want, 255, 0, 0);
        if (!control)
            inside = !fin;
        h = sbx_ws_head(head, op, fin, len, server ? mask : NULL);
        memcpy(wire + n, head, h);
        memcpy(wire + n + h, data + i, len);
        if (server) {
            cut = cut < len ? cut : len;
            sbx_ws_mask(wire + n + h, cut, mask, 0);
            sbx_ws_mask(wire + n + h + cut, len - cut, mask, cut);
        }
        n += h + len;
        i += len;
    }
    sbx_ws_init(&w, server ? SBX_WS_SERVER : 0, 0);
    read_chunk(&w, &got, wire, n / 3);
    read_chunk(&w, &got, wire + n / 3, n - n / 3);
    same(&got, &want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static events whole, split, plain;
    sbx_ws w;
    unsigned flags;
    uint64_t max;
    size_t i, k, pick;
    if (size < 2 || size > MAX)
        return 0;
    flags = data[0] & 3;
    max = data[0] & 4 ? data[1] : 0;
    round_trip(data + 2, size - 2, flags & SBX_WS_SERVER);

    whole.n = split.n = plain.n = 0;
    whole.dead = split.dead = plain.dead = false;
    sbx_ws_init(&w, flags, max);
    read_chunk(&w, &whole, data + 2, size - 2);
    sbx_ws_init(&w, flags, max);
    for (i = 2, pick = data[1]; i < size; i += k) {
        k = data[0] & 8 ? 1 : (pick = pick * 31 + data[i]) % 23;
        k = k < size - i ? k : size - i;
        read_chunk(&w, &split, data + i, k);
        if (!k) {
            k = 1;
            read_chunk(&w, &split, data + i, k);
        }
    }
    same(&whole, &split);
    reference(&plain, data + 2, size - 2, flags, max);
    same(&whole, &plain);
    return 0;
}
