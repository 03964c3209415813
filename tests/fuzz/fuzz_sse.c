/* parts: sse */
/* Any bytes, whole and in chunks, against the standard's algorithm written down
   line by line. */
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 4096, LOG = 8 * MAX };

typedef struct events {
    unsigned char b[LOG];
    size_t n;
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

static void mark(events *e, unsigned kind, uint32_t value)
{
    unsigned char m[6] = { 0xfe, (unsigned char)kind, (unsigned char)(value >> 24), (unsigned char)(value >> 16), (unsigned char)(value >> 8), (unsigned char)value };

    put(e, m, 6);
}

static void same(const events *a, const events *b)
{
    must(a->n == b->n && !memcmp(a->b, b->b, a->n));
}

static void read_chunk(sbx_sse *s, events *e, const unsigned char *p, size_t n)
{
    char *copy = (char *)malloc(n ? n : 1), *at = copy, *end = copy + n, *before = at;
    sbx_sse_event ev;
    sbx_sse_kind k;

    if (n)
        memcpy(copy, p, n);
    for (; (k = sbx_sse_read(s, &at, end, &ev)) != SBX_SSE_MORE; before = at) {
        must((at > before || ev.p == &s->lf) && at <= end);
        if (k == SBX_SSE_END || k == SBX_SSE_RETRY) {
            mark(e, k, k == SBX_SSE_END ? ev.dispatch : ev.retry_ms);
            continue;
        }
        must(ev.n || ev.first || ev.last);
        must(ev.p == &s->lf || (ev.p >= before && ev.p + ev.n <= at));
        if (ev.first)
            mark(e, k, 0);
        put(e, ev.p, ev.n);
        if (ev.last)
            mark(e, 255, ev.bad);
        if (ev.n)
            memset(ev.p, '\n', ev.n);
    }
    must(at == end);
    free(copy);
}

/* One line; a last one that nothing ends counts as far as it goes. */
static void line(events *e, const unsigned char *p, size_t n, bool ended, bool *has_data, bool *seen)
{
    static const char *const names[] = { "event", "data", "id", "retry" };
    const unsigned char *colon = n ? (const unsigned char *)memchr(p, ':', n) : NULL;
    size_t name_n = colon ? (size_t)(colon - p) : n;
    unsigned kind = 0;

    if (!n && ended) {
        if (*seen)
            mark(e, SBX_SSE_END, *has_data);
        *seen = *has_data = false;
    }
    for (unsigned i = 0; i < 4; i++)
        if (name_n == strlen(names[i]) && !memcmp(p, names[i], name_n))
            kind = i + 1;
    if (!kind || (!colon && !ended))
        return;
    p += colon ? name_n + 1 : name_n;
    n -= colon ? name_n + 1 : name_n;
    if (n && *p == ' ') {
        p++;
        n--;
    }
    if (kind == SBX_SSE_RETRY) {
        uint64_t v = 0;

        for (size_t i = 0; i < n; i++) {
            if (p[i] < '0' || p[i] > '9')
                return;
            v = v * 10 + p[i] - '0';
            v = v > UINT32_MAX ? UINT32_MAX : v;
        }
        if (n && ended)
            mark(e, kind, (uint32_t)v);
        return;
    }
    if (kind == SBX_SSE_DATA && *has_data)
        put(e, "\n", 1);
    else if (n || ended)
        mark(e, kind, 0);
    put(e, p, n);
    *seen = true;
    if (kind == SBX_SSE_DATA)
        *has_data = true;
    else if (ended)
        mark(e, 255, kind == SBX_SSE_ID && n && memchr(p, 0, n));
}

static void reference(events *e, const unsigned char *p, size_t n)
{
    bool has_data = false, seen = false;
    size_t at = n >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3) ? 3 : 0;

    while (at < n) {
        size_t to = at;

        while (to < n && p[to] != '\n' && p[to] != '\r')
            to++;
        line(e, p + at, to - at, to < n, &has_data, &seen);
        at = to + 1;
        if (to + 1 < n && p[to] == '\r' && p[to + 1] == '\n')
            at++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static events whole, split, plain;
    sbx_sse s;
    size_t i, k;
    unsigned pick;

    if (size < 1 || size > MAX)
        return 0;
    whole.n = split.n = plain.n = 0;
    sbx_sse_init(&s);
    read_chunk(&s, &whole, data + 1, size - 1);
    sbx_sse_init(&s);
    for (i = 1, pick = data[0]; i < size; i += k) {
        k = data[0] & 1 ? 1 : 1 + (pick = pick * 31 + data[i]) % 23;
        k = k < size - i ? k : size - i;
        read_chunk(&s, &split, data + i, k);
    }
    same(&whole, &split);
    reference(&plain, data + 1, size - 1);
    same(&whole, &plain);
    return 0;
}
