/* parts: http1 http1_write */
/* An answer, whole, in chunks that the input chooses, and through a small buffer:
   the same events. What the writer writes, the parser reads. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) ((x) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), abort()))

typedef struct fuzz_log {
    char p[1 << 17];
    size_t n;
    char open;
} fuzz_log;

static fuzz_log fuzz_a, fuzz_b;

static void put(fuzz_log *l, const void *p, size_t n)
{
    CHECK(n <= sizeof l->p - l->n);
    if (n)
        memcpy(l->p + l->n, p, n);
    l->n += n;
}

/* Pieces are merged; a length of 8 bytes follows each merged value. */
static void record(fuzz_log *l, const sbx_http1 *h, sbx_http1_kind kind, const sbx_http1_event *ev)
{
    char tag = (char)('0' + kind);
    if (kind == SBX_HTTP1_MORE)
        return;
    if (l->open == 'B' && kind != SBX_HTTP1_BODY) {
        put(l, "]", 1);
        l->open = 0;
    }
    if (kind == SBX_HTTP1_HEADER) {
        CHECK(h->status >= 200 || h->status == 101);
        if (l->open == 'H') {
            CHECK(ev->name.n == 0);
        } else {
            CHECK(sbx_http1_name_ok(ev->name));
            put(l, ev->trailer ? "T" : "H", 1);
            put(l, ev->name.p, ev->name.n);
            put(l, "=", 1);
        }
        CHECK(sbx_http1_value_ok(ev->value));
        CHECK(!ev->more || ev->value.n);
        put(l, ev->value.p, ev->value.n);
        l->open = ev->more ? 'H' : 0;
        if (!ev->more)
            put(l, "\n", 1);
    } else if (kind == SBX_HTTP1_BODY) {
        CHECK(ev->value.n && !ev->name.n && !ev->more && !ev->trailer);
        if (l->open != 'B')
            put(l, "[", 1);
        l->open = 'B';
        put(l, ev->value.p, ev->value.n);
    } else {
        put(l, &tag, 1);
        put(l, &h->status, sizeof h->status);
        put(l, &h->error, 1);
        put(l, &h->keep_alive, 1);
        if (kind == SBX_HTTP1_HEAD) {
            put(l, &h->length, sizeof h->length);
            put(l, &h->chunked, 1);
        }
        CHECK((kind == SBX_HTTP1_ERROR) == (h->error != 0));
        CHECK(kind != SBX_HTTP1_ERROR || !h->keep_alive);
    }
}

typedef struct fuzz_run {
    bool head, eof;
    sbx_http1_caps caps;
    uint32_t seed; /* of the chunks; 0: whole */
    size_t room;   /* 0: any */
} fuzz_run;

/* Returns where the parser stopped. */
static size_t run(fuzz_log *l, const fuzz_run *r, const char *in, size_t n)
{
    sbx_http1 h;
    sbx_http1_event ev;
    sbx_http1_kind kind = SBX_HTTP1_MORE;
    size_t at = 0, have = r->seed ? 0 : n;
    uint32_t seed = r->seed;
    l->n = 0;
    l->open = 0;
    memset(&ev, 0, sizeof ev);
    sbx_http1_init(&h, r->head, &r->caps);
    for (;;) {
        size_t to = r->room && have - at > r->room ? at + r->room : have;
        bool full = r->room && to - at == r->room;
        /* A copy of its own size, so that the sanitizer sees its borders. */
        char *copy = (char *)malloc(to - at + 1);
        const char *p = copy, *end = copy + (to - at);
        size_t before = at;
        CHECK(copy);
        if (to > at)
            memcpy(copy, in + at, to - at);
        do {
            const char *was = p;
            kind = sbx_http1_read(&h, &p, end, full && p == copy, &ev);
            CHECK(p >= was && p <= end);
            if (kind == SBX_HTTP1_HEADER)
                CHECK(ev.value.p >= was && ev.value.p + ev.value.n <= p + 2 && ev.value.p + ev.value.n <= end);
            record(l, &h, kind, &ev);
        } while (kind == SBX_HTTP1_HEADER || kind == SBX_HTTP1_HEAD || kind == SBX_HTTP1_BODY);
        at += (size_t)(p - copy);
        free(copy);
        if (kind != SBX_HTTP1_MORE)
            break;
        CHECK(!full || at > before);
        if (to < have)
            continue;
        if (have == n) {
            if (!r->eof)
                break;
            kind = sbx_http1_eof(&h);
            CHECK(kind == SBX_HTTP1_DONE || (kind == SBX_HTTP1_ERROR && h.error == SBX_HTTP1_TRUNCATED));
            record(l, &h, kind, &ev);
            break;
        }
        seed = seed * 1103515245u + 12345u;
        have += 1 + (seed >> 16) % (seed >> 8 & 1 ? 3 : 40);
        if (have > n)
            have = n;
    }
    if (kind != SBX_HTTP1_MORE) {
        const char *p = in;
        CHECK(sbx_http1_eof(&h) == kind);
        CHECK(sbx_http1_read(&h, &p, in + n, false, &ev) == kind && p == in);
    }
    return at;
}

/* The last record is an error: tag, status, error, keep_alive. */
static bool fuzz_ended_badly(const fuzz_log *l)
{
    return l->n >= 5 && l->p[l->n - 5] == '0' + SBX_HTTP1_ERROR && l->p[l->n - 2] != 0;
}

static void answers(const uint8_t *data, size_t size)
{
    static const uint32_t bytes[4] = { 0, 0, 200, 40 };
    static const uint16_t headers[4] = { 0, 0, 3, 1 };
    const char *in = (const char *)data + 3;
    size_t n = size - 3, stop_a, stop_b;
    fuzz_run r = { false, false, { 0, 0, 0 }, 0, 0 };
    r.head = data[0] & 1;
    r.eof = (data[0] & 2) != 0;
    r.caps.head_bytes = bytes[data[0] >> 2 & 3];
    r.caps.headers = headers[data[0] >> 4 & 3];
    r.caps.interim = (uint8_t)(data[0] >> 6);
    stop_a = run(&fuzz_a, &r, in, n);
    r.seed = 1u + data[1];
    stop_b = run(&fuzz_b, &r, in, n);
    CHECK(fuzz_a.n == fuzz_b.n && memcmp(fuzz_a.p, fuzz_b.p, fuzz_a.n) == 0);
    CHECK(stop_a == stop_b || fuzz_ended_badly(&fuzz_a));
    r.room = 20u + data[2];
    run(&fuzz_b, &r, in, n);
    if (fuzz_ended_badly(&fuzz_b) || fuzz_b.open == 'H')
        return; /* too little room, or a bad or unfinished line that began as a piece */
    CHECK(fuzz_a.n == fuzz_b.n && memcmp(fuzz_a.p, fuzz_b.p, fuzz_a.n) == 0);
}

static sbx_str take(const uint8_t **p, const uint8_t *end)
{
    size_t n = *p < end ? *(*p)++ % 48u : 0;
    sbx_str s;
    if (n > (size_t)(end - *p))
        n = (size_t)(end - *p);
    s = sbx_sn((const char *)*p, n);
    *p += n;
    return s;
}

static sbx_str trim(sbx_str s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Writes a request, and reads its fields back as those of an answer. */
static void requests(const uint8_t *data, size_t size)
{
    static const char status[] = "HTTP/1.1 204 No\r\n";
    const uint8_t *p = data, *end = data + size, *fields;
    size_t cap = *p++ * 8u, used = 0;
    char *buf = (char *)malloc(cap + 1), *whole, *line;
    sbx_str method = take(&p, end), target = take(&p, end), host = take(&p, end), name, value;
    sbx_http1w w, v;
    sbx_http1 h;
    sbx_http1_event ev;
    const char *at;
    CHECK(buf);
    fields = p;
    buf[cap] = '#';
    sbx_http1w_request(&w, buf, cap, method, target, host);
    while (p < end && used++ < 20) {
        name = take(&p, end);
        value = take(&p, end);
        if (value.n && value.n % 5 == 0)
            sbx_http1w_header_u64(&w, name, value.n * UINT64_C(0x0101010101010101));
        else
            sbx_http1w_header(&w, name, value);
    }
    sbx_http1w_end(&w);
    CHECK(buf[cap] == '#');
    CHECK((w.n > cap) == (w.error == SBX_HTTP1W_FULL));
    CHECK(w.error <= SBX_HTTP1W_FULL || w.n == 0);
    CHECK(w.error > SBX_HTTP1W_FULL || w.n > 0);
    if (w.error == 0) {
        line = (char *)memchr(buf, '\n', w.n);
        CHECK(line && memcmp(line - 10, " HTTP/1.1\r", 10) == 0);
        CHECK(memcmp(buf, method.p, method.n) == 0 && buf[method.n] == ' ');
        CHECK(memcmp(buf + method.n + 1, target.p, target.n) == 0);
        CHECK(memcmp(line + 1, "Host: ", 6) == 0);
        used = w.n - (size_t)(line + 1 - buf);
        whole = (char *)malloc(sizeof status + used);
        CHECK(whole);
        memcpy(whole, status, sizeof status - 1);
        memcpy(whole + sizeof status - 1, line + 1, used);
        used += sizeof status - 1;
        at = whole;
        sbx_http1_init(&h, false, NULL);
        CHECK(sbx_http1_read(&h, &at, whole + used, false, &ev) == SBX_HTTP1_HEADER);
        CHECK(ev.value.n == host.n && memcmp(ev.value.p, host.p, host.n) == 0);
        for (p = fields, v.n = 0; p < end && v.n++ < 20;) {
            sbx_http1_kind kind;
            name = take(&p, end);
            value = take(&p, end);
            kind = sbx_http1_read(&h, &at, whole + used, false, &ev);
            if (kind == SBX_HTTP1_ERROR) {
                /* Content-Length that is no number. */
                CHECK(h.error == SBX_HTTP1_BAD_LENGTH);
                break;
            }
            CHECK(kind == SBX_HTTP1_HEADER);
            CHECK(ev.name.n == name.n && memcmp(ev.name.p, name.p, name.n) == 0);
            if (value.n == 0 || value.n % 5) {
                value = trim(value);
                CHECK(ev.value.n == value.n && (!value.n || memcmp(ev.value.p, value.p, value.n) == 0));
            }
        }
        if (!h.error) {
            CHECK(sbx_http1_read(&h, &at, whole + used, false, &ev) == SBX_HTTP1_HEAD);
            CHECK(sbx_http1_read(&h, &at, whole + used, false, &ev) == SBX_HTTP1_DONE);
            CHECK(at == whole + used);
        }
        free(whole);
    }
    free(buf);
}

/* A body in chunks, written and read. */
static void chunks(const uint8_t *data, size_t size)
{
    static char out[1 << 16];
    static char body[1 << 14];
    static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const uint8_t *p = data, *end = data + size;
    size_t n = sizeof head - 1, body_n = 0, k;
    sbx_http1 h;
    sbx_http1_event ev;
    sbx_http1_kind kind;
    const char *at = out;
    memcpy(out, head, n);
    while (p < end && n < sizeof out - 100 && body_n < sizeof body - 64) {
        sbx_str s = take(&p, end);
        if (!s.n)
            continue;
        n += sbx_http1_chunk(out + n, s.n);
        memcpy(out + n, s.p, s.n);
        memcpy(body + body_n, s.p, s.n);
        body_n += s.n;
        n += s.n;
        out[n++] = '\r';
        out[n++] = '\n';
    }
    memcpy(out + n, "0\r\n\r\n", 5);
    n += 5;
    sbx_http1_init(&h, false, NULL);
    for (k = 0; (kind = sbx_http1_read(&h, &at, out + n, false, &ev)) != SBX_HTTP1_DONE;) {
        CHECK(kind == SBX_HTTP1_HEADER || kind == SBX_HTTP1_HEAD || kind == SBX_HTTP1_BODY);
        if (kind == SBX_HTTP1_BODY) {
            CHECK(k + ev.value.n <= body_n && memcmp(body + k, ev.value.p, ev.value.n) == 0);
            k += ev.value.n;
        }
    }
    CHECK(k == body_n && at == out + n && h.keep_alive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > 60000)
        return 0;
    answers(data, size);
    requests(data, size);
    chunks(data, size);
    return 0;
}
