/* parts: http1 http1_write */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "http1.h"

/* Input stands right behind or right before an unreadable page, so that a
   read past either end crashes. */
static char *area;
static size_t area_n, page;

static const char *guarded(const char *p, size_t n, bool at_end)
{
    char *to = at_end ? area + page + area_n - n : area + page;
    assert_true(n <= area_n);
    memset(area + page, '\n', area_n);
    if (n)
        memcpy(to, p, n);
    return to;
}

static int setup(void **state)
{
    (void)state;
    page = (size_t)sysconf(_SC_PAGESIZE);
    area_n = 32 * page;
    area = (char *)mmap(NULL, area_n + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == (char *)MAP_FAILED)
        return -1;
    return mprotect(area, page, PROT_NONE) || mprotect(area + page + area_n, page, PROT_NONE);
}

static int teardown(void **state)
{
    (void)state;
    return munmap(area, area_n + 2 * page);
}

typedef struct log_t {
    char text[300000];
    size_t n;
    char open; /* the piece that the next one may go on: 'H', 'B' or 0 */
} log_t;

static log_t log_a, log_b;

static void put(log_t *l, const char *p, size_t n)
{
    assert_true(l->n + n < sizeof l->text);
    if (n)
        memcpy(l->text + l->n, p, n);
    l->n += n;
    l->text[l->n] = 0;
}

static void putf(log_t *l, const char *format, ...)
{
    char line[128];
    va_list args;
    va_start(args, format);
    put(l, line, (size_t)vsnprintf(line, sizeof line, format, args));
    va_end(args);
}

/* Pieces of one value and of one body are merged. */
static void record(log_t *l, const sbx_http1 *h, sbx_http1_kind kind, const sbx_http1_event *ev, size_t rest)
{
    if (l->open == 'B' && kind != SBX_HTTP1_BODY && kind != SBX_HTTP1_MORE) {
        put(l, "]\n", 2);
        l->open = 0;
    }
    switch (kind) {
    case SBX_HTTP1_MORE:
        break;
    case SBX_HTTP1_HEADER:
        if (l->open == 'H') {
            assert_int_equal(ev->name.n, 0);
        } else {
            assert_true(ev->name.n > 0);
            put(l, ev->trailer ? "T " : "H ", 2);
            put(l, ev->name.p, ev->name.n);
            put(l, "=", 1);
        }
        put(l, ev->value.p, ev->value.n);
        l->open = ev->more ? 'H' : 0;
        if (!ev->more)
            put(l, "\n", 1);
        break;
    case SBX_HTTP1_HEAD:
        putf(l, "HEAD %d", h->status);
        if (h->chunked)
            putf(l, " chunked");
        if (h->length != SBX_HTTP1_UNKNOWN)
            putf(l, " length %llu", (unsigned long long)h->length);
        putf(l, h->keep_alive ? " keep\n" : "\n");
        break;
    case SBX_HTTP1_BODY:
        assert_true(ev->value.n > 0);
        assert_int_equal(ev->name.n, 0);
        assert_false(ev->more);
        assert_false(ev->trailer);
        if (l->open != 'B')
            put(l, "[", 1);
        l->open = 'B';
        put(l, ev->value.p, ev->value.n);
        break;
    case SBX_HTTP1_DONE:
        putf(l, "DONE%s rest %zu\n", h->keep_alive ? " keep" : "", rest);
        break;
    case SBX_HTTP1_UPGRADE:
        putf(l, "UPGRADE %d rest %zu\n", h->status, rest);
        break;
    case SBX_HTTP1_ERROR:
        assert_false(h->keep_alive);
        if (l->open == 'H')
            put(l, "\n", 1);
        putf(l, "ERROR %d\n", h->error);
        break;
    }
}

typedef struct run_t {
    bool head, eof;
    sbx_http1_caps caps;
    size_t room; /* what the caller can hold; 0: all */
} run_t;

/* Delivers in[0..n) up to cuts[0], cuts[1], …, n. */
static void run(log_t *l, const char *in, size_t n, const size_t *cuts, size_t cuts_n, bool at_end, const run_t *r)
{
    sbx_http1 h;
    sbx_http1_event ev;
    sbx_http1_kind kind = SBX_HTTP1_MORE;
    size_t at = 0, cut = 0, k;
    l->n = 0;
    l->open = 0;
    l->text[0] = 0;
    sbx_http1_init(&h, r->head, &r->caps);
    for (k = 0; k <= cuts_n; k++) {
        cut = k < cuts_n ? cuts[k] : n;
        for (;;) {
            size_t to = r->room && cut - at > r->room ? at + r->room : cut;
            bool full = r->room && to - at == r->room;
            const char *p = guarded(in + at, to - at, at_end), *begin = p, *end = p + (to - at);
            do {
                kind = sbx_http1_read(&h, &p, end, full && p == begin, &ev);
                assert_true(p >= begin && p <= end);
                record(l, &h, kind, &ev, n - at - (size_t)(p - begin));
            } while (kind == SBX_HTTP1_HEADER || kind == SBX_HTTP1_HEAD || kind == SBX_HTTP1_BODY);
            at += (size_t)(p - begin);
            if (kind != SBX_HTTP1_MORE) {
                assert_int_equal(sbx_http1_read(&h, &p, end, false, &ev), kind);
                assert_int_equal(sbx_http1_eof(&h), kind);
                return;
            }
            if (full)
                assert_true(p > begin);
            if (to == cut)
                break;
        }
    }
    if (r->eof) {
        kind = sbx_http1_eof(&h);
        record(l, &h, kind, &ev, n - at);
        assert_int_equal(sbx_http1_eof(&h), kind);
    } else {
        if (l->open == 'B')
            put(l, "]", 1);
        put(l, "MORE\n", 5);
    }
}

static void same(const char *in, const char *expect, const char *how, size_t where)
{
    if (strcmp(log_b.text, expect) == 0)
        return;
    print_error("input: %s\n%s %zu\n", in, how, where);
    assert_string_equal(log_b.text, expect);
}

/* Whole, byte by byte, at every split position, and with small buffers. */
static void expect_n(const char *in, size_t n, const run_t *r, const char *expect)
{
    static size_t each[2000];
    const char *error;
    run_t small = *r;
    for (int at_end = 0; at_end < 2; at_end++) {
        run(&log_b, in, n, NULL, 0, at_end, r);
        same(in, expect, "whole", 0);
        for (size_t i = 0; i < n; i++)
            each[i] = i;
        run(&log_b, in, n, each, n, at_end, r);
        same(in, expect, "bytes", 0);
        for (size_t i = 0; i <= n; i++) {
            run(&log_b, in, n, &i, 1, at_end, r);
            same(in, expect, "split at", i);
        }
        for (small.room = 32; small.room < 80; small.room += 3) {
            run(&log_b, in, n, NULL, 0, at_end, &small);
            /* Too little room is an answer; a bad value may begin as a piece. */
            if (strstr(log_b.text, "ERROR") && (error = strstr(expect, "ERROR")) != NULL)
                assert_true(strstr(log_b.text, "ERROR 6") || strstr(log_b.text, error));
            else if (!strstr(log_b.text, "ERROR 6"))
                same(in, expect, "room", small.room);
        }
    }
}

static void expect(const char *in, const char *log)
{
    run_t r = { false, false, { 0, 0, 0 }, 0 };
    expect_n(in, strlen(in), &r, log);
}

static void expect_head(const char *in, const char *log)
{
    run_t r = { true, false, { 0, 0, 0 }, 0 };
    expect_n(in, strlen(in), &r, log);
}

static void expect_eof(const char *in, const char *log)
{
    run_t r = { false, true, { 0, 0, 0 }, 0 };
    expect_n(in, strlen(in), &r, log);
}

static void expect_caps(const char *in, uint32_t bytes, uint16_t headers, uint8_t interim, const char *log)
{
    run_t r = { false, false, { 0, 0, 0 }, 0 };
    r.caps.head_bytes = bytes;
    r.caps.headers = headers;
    r.caps.interim = interim;
    expect_n(in, strlen(in), &r, log);
}

/* Behind what it follows, so that scans of wide words are taken before it. */
#define TAIL "Tail: 0123456789012345678901234567890123456789\r\n"
#define TAIL_LOG "H Tail=0123456789012345678901234567890123456789\n"
#define L0 "Content-Length: 0\r\n\r\n"
#define DONE0 "H Content-Length=0\nHEAD 200 length 0 keep\nDONE keep rest 0\n"
#define E_STATUS "ERROR 1\n"
#define E_HEADER "ERROR 2\n"
#define E_FOLD "ERROR 3\n"
#define E_LENGTH "ERROR 4\n"
#define E_CHUNK "ERROR 5\n"
#define E_LARGE "ERROR 6\n"
#define E_TRUNCATED "ERROR 7\n"
#define E_CODING "ERROR 8\n"

static void test_status_line(void **state)
{
    static const char *const bad[] = {
        "HTTP/1.2 200 OK\r\n",  "HTTP/2.0 200 OK\r\n", "HTTP/0.9 200 OK\r\n", "http/1.1 200 OK\r\n",
        "HTTP/1.1  200 OK\r\n", "HTTP/1.1 20 OK\r\n",  "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 2x0 OK\r\n",  "HTTP/1.1\t200 OK\r\n", "HTTP/1.1 200\tOK\r\n", "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200\n",       "HTTP/1.1 200 O\rK\r\n", "HTTP/1.1 200 O\x7fK\r\n", "HTTP/1.1 200 O\x01K\r\n",
        " HTTP/1.1 200 OK\r\n", "\r\nHTTP/1.1 200 OK\r\n", "HTTP/11 200 OK\r\n", "SSH-2.0-x\r\n",
        "HTTP/1.1 200OK\r\n",   "HTTP/1.1 -20 OK\r\n", "HTTP/1.1 200\r\r\n", "X", "HTTP/1.1 :00 OK\r\n",
        "HTTP/1.10 200 OK\r\n", "ICY 200 OK\r\n",   "HTTP/1.1 2\xff" "0 OK\r\n", "HTTP/1.1 2\xb0" "0 OK\r\n",
        "HTTP/1.1 29\xff OK\r\n", "HTTP/1.1 2\x80\x80 OK\r\n", "HTTP/1.1 20: OK\r\n", "HTTP/1.1 20/ OK\r\n"
    };
    (void)state;
    expect("HTTP/1.1 200 OK\r\n" L0, DONE0);
    expect("HTTP/1.1 200 \r\n" L0, DONE0);
    expect("HTTP/1.1 200\r\n" L0, DONE0);
    expect("HTTP/1.1 200 A longer reason\tthan any, \x80\xff (x)\r\n" L0, DONE0);
    expect("HTTP/1.1 999 ?\r\n" L0, "H Content-Length=0\nHEAD 999 length 0 keep\nDONE keep rest 0\n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(bad[i], E_STATUS);
    expect("HTTP/1.1 20", "MORE\n");
    expect("", "MORE\n");
    expect_eof("", E_TRUNCATED);
    expect_eof("HTTP/1.1 20", E_TRUNCATED);
}

static void test_interim(void **state)
{
    (void)state;
    expect("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: x\r\n"
           "Transfer-Encoding: gzip\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\n" L0,
           DONE0);
    expect("HTTP/1.0 100 Continue\r\nConnection: keep-alive\r\n\r\nHTTP/1.1 200 OK\r\n" L0, DONE0);
    expect("HTTP/1.1 103 Early Hints\r\nLi nk: </a>\r\n", E_HEADER);
    expect("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n\x81\x01x",
           "H Upgrade=websocket\nH Content-Length=5\nUPGRADE 101 rest 3\n");
    expect("HTTP/1.1 101 S\r\nContent-Length: x\r\nTransfer-Encoding: x\r\n" TAIL "\r\n",
           "H Content-Length=x\nH Transfer-Encoding=x\n" TAIL_LOG "UPGRADE 101 rest 0\n");
    expect("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 101 S\r\nA: b\r\n\r\n", "H A=b\nUPGRADE 101 rest 0\n");
    expect("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 C\r\n\r\nHTTP/1.1 102 C\r\n\r\nHTTP/1.1 200 OK\r\n" L0, DONE0);
    expect_caps("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 C\r\n\r\nHTTP/1.1 200 OK\r\n" L0, 0, 0, 2, DONE0);
    expect_caps("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 C\r\n\r\nHTTP/1.1 200 OK\r\n" L0, 0, 0, 1, E_LARGE);
    expect_eof("HTTP/1.1 100 C\r\n\r\n", E_TRUNCATED);
}

static void test_endless_interim(void **state)
{
    sbx_http1 h;
    sbx_http1_event ev;
    const char *line = "HTTP/1.1 103 X\r\n\r\n";
    int n = 0;
    sbx_http1_kind kind;
    (void)state;
    sbx_http1_init(&h, false, NULL);
    do {
        const char *p = line;
        kind = sbx_http1_read(&h, &p, line + strlen(line), false, &ev);
        n++;
    } while (kind == SBX_HTTP1_MORE && n < 1000);
    assert_int_equal(kind, SBX_HTTP1_ERROR);
    assert_int_equal(h.error, SBX_HTTP1_TOO_LARGE);
    assert_int_equal(n, 9);
}

static void test_headers(void **state)
{
    static const char *const bad[] = {
        "A : b\r\n",       "A\t: b\r\n",    ": b\r\n",      "A b: c\r\n",     "A\r\n",         "A b\r\n",
        "A(: b\r\n",       "\"A\": b\r\n",  "A\x80: b\r\n", "A{: b\r\n",      "A/b: c\r\n",    "A@: b\r\n",
        "A\x7f: b\r\n",    "A\x01: b\r\n",  "A: b\n",       "A: b\rc\r\n",    "A: b\r\r\n",    "A: \x01\r\n",
        "A: b\x7f\r\n",    "A: b\x1f\r\n",  "A: b\x08\r\n", "A:\n",           "\n",            "\r\r\n",
        "A: 0123456789abcdef0123456789abcdef\x0b\r\n",      "A0123456789abcdef0123456789ab,def: x\r\n",
        "A: 0123456\n",    "A: 01234567\n", "A: 012345678\n", "A[]: x\r\n",   "A;: x\r\n",     "A=: x\r\n",
        "A?: x\r\n",       "A\\: x\r\n",    "A}: x\r\n",    "A<: x\r\n",      "A>: x\r\n",     "A): x\r\n"
    };
    (void)state;
    expect("HTTP/1.1 204 No\r\nA:b\r\nC: d\r\nE:  f\t \r\nG:\r\nH: \t \r\nI: j k\tl  m\r\nJ: \x80\xff\xc3\xa9~\r\n\r\n",
           "H A=b\nH C=d\nH E=f\nH G=\nH H=\nH I=j k\tl  m\nH J=\x80\xff\xc3\xa9~\nHEAD 204 keep\nDONE keep rest 0\n");
    expect("HTTP/1.1 204 No\r\nA:b\r\nC: d\r\nE:  f\t \r\nE1:f  \r\nG:\r\nH: \t \r\nH2:   \r\n"
           "I: j k\tl  m\r\n" TAIL "\r\n",
           "H A=b\nH C=d\nH E=f\nH E1=f\nH G=\nH H=\nH H2=\nH I=j k\tl  m\n"
           TAIL_LOG "HEAD 204 keep\nDONE keep rest 0\n");
    expect("HTTP/1.1 204 No\r\n!#$%&'*+-.^_`|~0189azAZ: x:y\r\n\r\n",
           "H !#$%&'*+-.^_`|~0189azAZ=x:y\nHEAD 204 keep\nDONE keep rest 0\n");
    expect("HTTP/1.1 204 No\r\nA-Rather-Long-Name-For-A-Header-Field: and a value that is\tlonger than one word of any "
           "machine, by far\r\n\r\n",
           "H A-Rather-Long-Name-For-A-Header-Field=and a value that is\tlonger than one word of any machine, by far\n"
           "HEAD 204 keep\nDONE keep rest 0\n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char in[200], log[100];
        snprintf(in, sizeof in, "HTTP/1.1 200 OK\r\n%s\r\n", bad[i]);
        expect(in, E_HEADER);
        snprintf(in, sizeof in, "HTTP/1.1 200 OK\r\n%s" TAIL, bad[i]);
        expect(in, E_HEADER);
        snprintf(in, sizeof in, "HTTP/1.1 200 OK\r\nX: y\r\n%s\r\n", bad[i]);
        snprintf(log, sizeof log, "H X=y\n%s", E_HEADER);
        expect(in, log);
    }
    expect("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "H A=b\n" E_FOLD);
    expect("HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n\r\n", "H A=b\n" E_FOLD);
    expect("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", E_FOLD);
    expect("HTTP/1.1 200 OK\r\nA: b\r\nC: ", "H A=b\nMORE\n");
    expect_eof("HTTP/1.1 200 OK\r\nA: b\r\nC: ", "H A=b\n" E_TRUNCATED);
    expect_eof("HTTP/1.1 200 OK\r\nA: b\r\n", "H A=b\n" E_TRUNCATED);
}

/* Every byte at every offset of a name and of a value, up to past the widest
   scan. */
static void test_every_byte(void **state)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    (void)state;
    for (size_t at = 0; at < 40; at++) {
        for (int c = 0; c < 256; c++) {
            bool tok = c != 0 && strchr(token, c) != NULL;
            bool text = c == '\t' || (c >= 0x20 && c != 0x7f);
            char in[200], word[41];
            run_t r = { false, false, { 0, 0, 0 }, 0 };
            size_t n;
            memset(word, 'a', 40);
            word[40] = 0;
            word[at] = (char)c;
            assert_int_equal(sbx_http1_name_ok(sbx_sn(guarded(word, 40, true), 40)), tok);
            assert_int_equal(sbx_http1_name_ok(sbx_sn(guarded(word, at + 1, true), at + 1)), tok);
            assert_int_equal(sbx_http1_value_ok(sbx_sn(guarded(word, 40, true), 40)), text);
            assert_int_equal(sbx_http1_value_ok(sbx_sn(guarded(word, at + 1, true), at + 1)), text);
            for (size_t len = at + 1; len <= 40; len += 9) {
                n = (size_t)snprintf(in, sizeof in, "HTTP/1.1 200 OK\r\n");
                memcpy(in + n, word, len);
                n += len;
                n += (size_t)snprintf(in + n, sizeof in - n, ": v\r\n" TAIL);
                run(&log_a, in, n, NULL, 0, true, &r);
                if (tok)
                    assert_non_null(strstr(log_a.text, "=v\nH Tail="));
                else if (c == ':' && at > 0)
                    assert_memory_equal(log_a.text, "H a", 3);
                else
                    assert_string_equal(log_a.text, (c == ' ' || c == '\t') && at == 0 ? E_FOLD : E_HEADER);
                n = (size_t)snprintf(in, sizeof in, "HTTP/1.1 200 OK\r\nName:x");
                memcpy(in + n, word, len);
                n += len;
                n += (size_t)snprintf(in + n, sizeof in - n, "x\r\n" TAIL);
                run(&log_a, in, n, NULL, 0, true, &r);
                if (text) {
                    assert_memory_equal(log_a.text, "H Name=x", 8);
                    assert_memory_equal(log_a.text + 8, word, len);
                    assert_memory_equal(log_a.text + 8 + len, "x\nH Tail=", 9);
                } else {
                    assert_string_equal(log_a.text, E_HEADER);
                }
            }
        }
    }
}

static void test_name_value_ok(void **state)
{
    (void)state;
    assert_false(sbx_http1_name_ok(sbx_s("")));
    assert_false(sbx_http1_name_ok(sbx_s(NULL)));
    assert_true(sbx_http1_name_ok(sbx_s("X-Api-Key")));
    assert_true(sbx_http1_value_ok(sbx_s(NULL)));
    assert_true(sbx_http1_value_ok(sbx_s("")));
    assert_true(sbx_http1_value_ok(sbx_s("a b\t\xc3\xa9")));
    assert_false(sbx_http1_value_ok(sbx_s("a\r\nb: c")));
    assert_false(sbx_http1_value_ok(sbx_sn("a\0b", 3)));
}

static void test_no_body(void **state)
{
    (void)state;
    expect_head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/",
                "H Content-Length=5\nHEAD 200 length 5 keep\nDONE keep rest 5\n");
    expect_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/",
                "H Transfer-Encoding=chunked\nHEAD 200 keep\nDONE keep rest 5\n");
    expect_head("HTTP/1.1 200 OK\r\n\r\n", "HEAD 200 keep\nDONE keep rest 0\n");
    expect_head("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
                "H Content-Length=7\nHEAD 200 length 7 keep\nDONE keep rest 0\n");
    expect("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nabcde",
           "H Content-Length=5\nHEAD 204 length 5 keep\nDONE keep rest 5\n");
    expect("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\nabcde",
           "H Content-Length=5\nH Transfer-Encoding=gzip\nHEAD 304 length 5 keep\nDONE keep rest 5\n");
    expect("HTTP/1.0 204 No\r\n\r\n", "HEAD 204\nDONE rest 0\n");
    expect("HTTP/1.1 204 No\r\nContent-Length: x\r\n\r\n", E_LENGTH);
}

static void test_length(void **state)
{
    static const char *const bad[] = { "", "-1", "+5", "5, 5", "5,6", "0x5", "5 5", "5;", "1e3", "5.0", "a",
                                       "11529215046068469760", "18446744073709551614", "18446744073709551615",
                                       "18446744073709551616", "99999999999999999999",
                                       "000000000000000000000000000000018446744073709551616" };
    (void)state;
    expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP",
           "H Content-Length=5\nHEAD 200 length 5 keep\n[hello]\nDONE keep rest 4\n");
    expect("HTTP/1.1 200 OK\r\ncONTENT-lENGTH:\t 005 \r\n\r\nhello",
           "H cONTENT-lENGTH=005\nHEAD 200 length 5 keep\n[hello]\nDONE keep rest 0\n");
    expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 02\r\n\r\nhi",
           "H Content-Length=2\nH Content-Length=02\nHEAD 200 length 2 keep\n[hi]\nDONE keep rest 0\n");
    expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "H Content-Length=2\n" E_LENGTH);
    expect("HTTP/1.1 200 OK\r\nContent-Length: 11529215046068469759\r\n\r\nhi",
           "H Content-Length=11529215046068469759\nHEAD 200 length 11529215046068469759 keep\n[hi]MORE\n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char in[160];
        snprintf(in, sizeof in, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", bad[i]);
        expect(in, E_LENGTH);
    }
    expect("HTTP/1.1 200 OK\r\nContent-Lengths: x\r\nContent-Lengtx: x\r\n" L0,
           "H Content-Lengths=x\nH Content-Lengtx=x\n" DONE0);
    expect_eof("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
               "H Content-Length=5\nHEAD 200 length 5 keep\n[hell]\n" E_TRUNCATED);
    expect_eof("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
               "H Content-Length=5\nHEAD 200 length 5 keep\n[hello]\nDONE keep rest 0\n");
}

static void test_close(void **state)
{
    (void)state;
    expect_eof("HTTP/1.1 200 OK\r\nA: b\r\n\r\nall of this", "H A=b\nHEAD 200\n[all of this]\nDONE rest 0\n");
    expect_eof("HTTP/1.1 200 OK\r\n\r\n", "HEAD 200\nDONE rest 0\n");
    expect_eof("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nx", "H Connection=keep-alive\nHEAD 200\n[x]\nDONE rest 0\n");
    expect("HTTP/1.1 200 OK\r\n\r\nx", "HEAD 200\n[x]MORE\n");
}

static void test_keep_alive(void **state)
{
    static const struct {
        const char *head;
        bool keep;
    } cases[] = { { "HTTP/1.1 200 OK\r\n", true },
                  { "HTTP/1.0 200 OK\r\n", false },
                  { "HTTP/1.1 200 OK\r\nConnection: close\r\n", false },
                  { "HTTP/1.1 200 OK\r\nCONNECTION: Foo ,\t CLOSE\r\n", false },
                  { "HTTP/1.1 200 OK\r\nConnection: ,close,\r\n", false },
                  { "HTTP/1.1 200 OK\r\nConnection: foo\r\nConnection: close\r\n", false },
                  { "HTTP/1.1 200 OK\r\nConnection: closed, xclose, clos, cl ose\r\n", true },
                  { "HTTP/1.1 200 OK\r\nConnection:\r\n", true },
                  { "HTTP/1.1 200 OK\r\nConnections: close\r\n", true },
                  { "HTTP/1.1 200 OK\r\nConnectiox: close\r\n", true },
                  { "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", true },
                  { "HTTP/1.0 200 OK\r\nConnection: upgrade, keep-alive, x\r\n", true },
                  { "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n", false },
                  { "HTTP/1.0 200 OK\r\nConnection: keepalive\r\n", false },
                  { "HTTP/1.0 200 OK\r\nKeep-Alive: timeout=5\r\n", false } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char in[160];
        run_t r = { false, false, { 0, 0, 0 }, 0 };
        snprintf(in, sizeof in, "%s" L0, cases[i].head);
        run(&log_a, in, strlen(in), NULL, 0, true, &r);
        assert_non_null(strstr(log_a.text, cases[i].keep ? "DONE keep rest 0\n" : "DONE rest 0\n"));
        expect(in, log_a.text);
    }
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_LOG "H Transfer-Encoding=chunked\nHEAD 200 chunked keep\n"

static void test_chunked(void **state)
{
    static const char *const bad[] = {
        "\r\n",       "g\r\n",     "0x5\r\n",   "-1\r\n",   "+1\r\n",  " 5\r\n",    "5\n",       "5\rX",
        "5 \r\n",     "5 x\r\n",   "5\t\r\n",   ";a\r\n",   "5;a\n",   "5;\x01\r\n", "5;a=\"b\r\n", "5;a=\"b\\\r\n",
        "5;a=\"\n\"", "5;a\x7f\r\n", "5,\r\n",  "10000000000000000\r\n", "5;\r\r\n", "\n", ":\r\n", "G\r\n", "@\r\n",
        "`\r\n",      "/\r\n",     "5\"\r\n",   "ffffffffffffffff0\r\n"
    };
    (void)state;
    expect(CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nHTTP", CHUNKED_LOG "[hello world]\nDONE keep rest 4\n");
    expect(CHUNKED "0\r\n\r\n", CHUNKED_LOG "DONE keep rest 0\n");
    expect(CHUNKED "000\r\n\r\n", CHUNKED_LOG "DONE keep rest 0\n");
    expect(CHUNKED "00b\r\nhello world\r\n0\r\n\r\n", CHUNKED_LOG "[hello world]\nDONE keep rest 0\n");
    expect(CHUNKED "B;x\r\nhello world\r\n0;last\r\n\r\n", CHUNKED_LOG "[hello world]\nDONE keep rest 0\n");
    expect(CHUNKED "1;a;b=c;d=\"e;\\\"\\\\f\tg \x80\"\r\nX\r\n1 \t ;a = b\r\nY\r\n0\r\n\r\n",
           CHUNKED_LOG "[XY]\nDONE keep rest 0\n");
    expect(CHUNKED "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n1A\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n0\r\n\r\n",
           CHUNKED_LOG "[abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ]\nDONE keep rest 0\n");
    expect(CHUNKED "0\r\nTag: abc\r\nContent-Length: x\r\nTransfer-Encoding: y\r\nConnection: close\r\n\r\nZ",
           CHUNKED_LOG "T Tag=abc\nT Content-Length=x\nT Transfer-Encoding=y\nT Connection=close\nDONE keep rest 1\n");
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKed\r\nConnection: close\r\n\r\n0\r\n\r\n",
           "H Transfer-Encoding=CHUNKed\nH Connection=close\nHEAD 200 chunked\nDONE rest 0\n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char in[160];
        snprintf(in, sizeof in, CHUNKED "%s", bad[i]);
        expect(in, CHUNKED_LOG E_CHUNK);
        snprintf(in, sizeof in, CHUNKED "1\r\nx\r\n%s", bad[i]);
        expect(in, CHUNKED_LOG "[x]\n" E_CHUNK);
    }
    expect(CHUNKED "5\r\nhelloX\r\n", CHUNKED_LOG "[hello]\n" E_CHUNK);
    expect(CHUNKED "5\r\nhello\n", CHUNKED_LOG "[hello]\n" E_CHUNK);
    expect(CHUNKED "5\r\nhello\rX", CHUNKED_LOG "[hello]\n" E_CHUNK);
    expect(CHUNKED "ffffffffffffffff\r\nx", CHUNKED_LOG "[x]MORE\n");
    expect(CHUNKED "0\r\n x\r\n\r\n", CHUNKED_LOG E_FOLD);
    expect(CHUNKED "0\r\nA b: c\r\n\r\n", CHUNKED_LOG E_HEADER);
    expect(CHUNKED "0\r\n\n", CHUNKED_LOG E_HEADER);
    expect_eof(CHUNKED "5\r\nhello\r\n0\r\n", CHUNKED_LOG "[hello]\n" E_TRUNCATED);
    expect_eof(CHUNKED "5\r\nhello\r\n", CHUNKED_LOG "[hello]\n" E_TRUNCATED);
    expect_eof(CHUNKED "5\r\nhel", CHUNKED_LOG "[hel]\n" E_TRUNCATED);
}

static void test_coding(void **state)
{
    static const char *const bad[] = { "gzip", "gzip, chunked", "chunked, chunked", "chunked;a=b", "identity", "",
                                       "xchunked", "chunked2", "chunked, identity", "chunke", "chunkd", "hunked" };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char in[160], log[100];
        snprintf(in, sizeof in, "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\n", bad[i]);
        snprintf(log, sizeof log, "H Transfer-Encoding=%s\n%s", bad[i], E_CODING);
        expect(in, log);
    }
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
           "H Transfer-Encoding=chunked\nH Transfer-Encoding=chunked\n" E_CODING);
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
           "H Transfer-Encoding=chunked\nH Transfer-Encoding=x\n" E_CODING);
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n",
           "H Transfer-Encoding=x\nH Transfer-Encoding=chunked\n" E_CODING);
    expect("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "H Transfer-Encoding=chunked\n" E_CODING);
    expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
           "H Transfer-Encoding=chunked\nH Content-Length=5\n" E_LENGTH);
    expect("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
           "H Content-Length=0\nH Transfer-Encoding=chunked\n" E_LENGTH);
}

static void test_caps(void **state)
{
    const char *in = "HTTP/1.1 200 OK\r\nA: b\r\n" L0; /* 44 + 2 bytes */
    const char *log = "H A=b\n" DONE0;
    char line[600];
    run_t r = { false, false, { 0, 0, 0 }, 0 };
    (void)state;
    expect_caps(in, (uint32_t)strlen(in), 0, 0, log);
    for (uint32_t cap = 1; cap < strlen(in); cap++)
        expect_caps(in, cap, 0, 0,
                    cap < 23   ? E_LARGE
                    : cap < 42 ? "H A=b\n" E_LARGE
                               : "H A=b\nH Content-Length=0\n" E_LARGE);
    for (uint32_t cap = 1; cap <= strlen(in); cap++)
        expect_caps("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK and so on", cap, 0, 0,
                    cap < 23   ? E_LARGE
                    : cap < 42 ? "H A=b\n" E_LARGE
                    : cap < 44 ? "H A=b\nH Content-Length=0\n" E_LARGE
                               : "H A=b\nH Content-Length=0\nHEAD 200 length 0 keep\nDONE keep rest 25\n");
    expect_caps("HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n" TAIL, 0, 1, 0, "H A=b\n" E_LARGE);
    expect_caps("HTTP/1.1 200 OK\r\nA: b\tc\r\nC: d\r\n" TAIL, 0, 1, 0, "H A=b\tc\n" E_LARGE);
    expect_caps("HTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nC: d\r\n" TAIL, 0, 1, 0, E_LARGE);
    expect_caps(in, 0, 2, 0, log);
    expect_caps(in, 0, 1, 0, "H A=b\n" E_LARGE);
    /* The body does not count, the trailer does. */
    expect_caps(CHUNKED "5\r\nhello\r\n0\r\nA: b\r\n\r\n", 47 + 8, 0, 0, CHUNKED_LOG "[hello]\nT A=b\nDONE keep rest 0\n");
    expect_caps(CHUNKED "5\r\nhello\r\n0\r\nA: b\r\n\r\n", 47 + 7, 0, 0, CHUNKED_LOG "[hello]\nT A=b\n" E_LARGE);
    expect_caps(CHUNKED "5\r\nhello\r\n0\r\nA: b\r\n\r\n", 0, 1, 0, CHUNKED_LOG "[hello]\n" E_LARGE);
    /* An endless reason, name and value. */
    for (int k = 0; k < 3; k++) {
        size_t n = (size_t)snprintf(line, sizeof line, "HTTP/1.1 200 %s",
                                    k == 0 ? "" : k == 1 ? "OK\r\n" : "OK\r\nA: b");
        memset(line + n, 'x', sizeof line - n);
        r.caps.head_bytes = 300;
        expect_n(line, sizeof line, &r, E_LARGE);
    }
    /* A chunk's line: 256 bytes with its CRLF pass. */
    for (int extra = 0; extra < 2; extra++) {
        size_t n = (size_t)snprintf(line, sizeof line, CHUNKED "1;");
        memset(line + n, 'e', 252 + (size_t)extra);
        n += 252 + (size_t)extra;
        n += (size_t)snprintf(line + n, sizeof line - n, "\r\nX\r\n0\r\n\r\n");
        r.caps.head_bytes = 0;
        expect_n(line, n, &r, extra ? CHUNKED_LOG E_LARGE : CHUNKED_LOG "[X]\nDONE keep rest 0\n");
    }
}

/* 10 MB of one header line, streamed through 4 KiB: refused at the cap, and
   delivered in pieces where the cap allows. */
static void test_long_line(void **state)
{
    for (int k = 0; k < 2; k++) {
        sbx_http1 h;
        sbx_http1_event ev;
        sbx_http1_caps caps = { 0, 0, 0 };
        static char buf[4096];
        size_t have = 0, fed = 0, value = 0, names = 0;
        const size_t total = 10u << 20;
        const char *start = "HTTP/1.1 200 OK\r\nBig: ";
        sbx_http1_kind kind = SBX_HTTP1_MORE;
        caps.head_bytes = k ? 11u << 20 : 0;
        sbx_http1_init(&h, false, &caps);
        have = strlen(start);
        memcpy(buf, start, have);
        while (kind != SBX_HTTP1_ERROR && kind != SBX_HTTP1_DONE) {
            const char *p = buf;
            while (have < sizeof buf && fed < total) {
                buf[have++] = fed % 100 == 99 ? ' ' : 'v';
                fed++;
            }
            while (fed >= total && fed < total + 4 && have < sizeof buf)
                buf[have++] = "\r\n\r\n"[fed++ - total];
            do {
                bool full = p == buf && have == sizeof buf;
                kind = sbx_http1_read(&h, &p, buf + have, full, &ev);
                if (kind == SBX_HTTP1_HEADER) {
                    value += ev.value.n;
                    names += ev.name.n == 3;
                }
            } while (kind == SBX_HTTP1_HEADER);
            have -= (size_t)(p - buf);
            memmove(buf, p, have);
            if (kind == SBX_HTTP1_HEAD)
                break;
        }
        if (k) {
            assert_int_equal(kind, SBX_HTTP1_HEAD);
            assert_int_equal(value, total);
            assert_int_equal(names, 1);
        } else {
            assert_int_equal(kind, SBX_HTTP1_ERROR);
            assert_int_equal(h.error, SBX_HTTP1_TOO_LARGE);
            assert_true(fed < 65536 + sizeof buf);
        }
    }
    (void)state;
}

static sbx_http1_kind full_read(sbx_http1 *h, const char *in, size_t *used, sbx_http1_event *ev)
{
    const char *p = guarded(in, strlen(in), true), *begin = p;
    sbx_http1_kind kind = sbx_http1_read(h, &p, begin + strlen(in), true, ev);
    *used = (size_t)(p - begin);
    return kind;
}

static void test_full(void **state)
{
    static const char *const refused[] = { "Some-Na",          "Name:",           "Name: \t ",        "Content-Length: 5",
                                           "connection: clo",  "Transfer-Encoding: chu", "Transfer-Encoding: chunked\r",
                                           "\r" };
    sbx_http1 h;
    sbx_http1_event ev;
    size_t used;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        sbx_http1_init(&h, false, NULL);
        assert_int_equal(full_read(&h, "HTTP/1.1 200 OK\r\n", &used, &ev), SBX_HTTP1_MORE);
        assert_int_equal(used, 17);
        assert_int_equal(full_read(&h, refused[i], &used, &ev), SBX_HTTP1_ERROR);
        assert_int_equal(h.error, SBX_HTTP1_TOO_LARGE);
    }
    sbx_http1_init(&h, false, NULL);
    assert_int_equal(full_read(&h, "HTTP/1.1 20", &used, &ev), SBX_HTTP1_ERROR);
    assert_int_equal(h.error, SBX_HTTP1_TOO_LARGE);

    sbx_http1_init(&h, false, NULL);
    assert_int_equal(full_read(&h, "", &used, &ev), SBX_HTTP1_MORE);
    assert_int_equal(full_read(&h, "HTTP/1.1 200 a long", &used, &ev), SBX_HTTP1_MORE);
    assert_int_equal(used, 19);
    assert_int_equal(full_read(&h, " reason\r", &used, &ev), SBX_HTTP1_MORE);
    assert_int_equal(used, 7);
    assert_int_equal(full_read(&h, "\r\n", &used, &ev), SBX_HTTP1_MORE);
    assert_int_equal(used, 2);
    assert_int_equal(full_read(&h, "Name: abc  ", &used, &ev), SBX_HTTP1_HEADER);
    assert_int_equal(used, 9);
    assert_memory_equal(ev.name.p, "Name", 4);
    assert_int_equal(ev.name.n, 4);
    assert_int_equal(ev.value.n, 3);
    assert_memory_equal(ev.value.p, "abc", 3);
    assert_true(ev.more);
    assert_int_equal(full_read(&h, "  d e\r", &used, &ev), SBX_HTTP1_HEADER);
    assert_int_equal(used, 5);
    assert_int_equal(ev.name.n, 0);
    assert_int_equal(ev.value.n, 5);
    assert_true(ev.more);
    assert_int_equal(full_read(&h, "\r\n", &used, &ev), SBX_HTTP1_HEADER);
    assert_int_equal(used, 2);
    assert_int_equal(ev.name.n + ev.value.n, 0);
    assert_false(ev.more);
    assert_int_equal(full_read(&h, "\r\n", &used, &ev), SBX_HTTP1_HEAD);

    /* Blanks that fill the buffer cannot be told from the value's end. */
    sbx_http1_init(&h, false, NULL);
    assert_int_equal(full_read(&h, "HTTP/1.1 200 OK\r\n", &used, &ev), SBX_HTTP1_MORE);
    assert_int_equal(full_read(&h, "Name: abc", &used, &ev), SBX_HTTP1_HEADER);
    assert_int_equal(full_read(&h, "     ", &used, &ev), SBX_HTTP1_ERROR);
    assert_int_equal(h.error, SBX_HTTP1_TOO_LARGE);

    /* A long value in a skipped 1xx head is skipped too. */
    sbx_http1_init(&h, false, NULL);
    assert_int_equal(full_read(&h, "HTTP/1.1 103 E\r\n", &used, &ev), SBX_HTTP1_MORE);
    assert_int_equal(full_read(&h, "Link: </a>", &used, &ev), SBX_HTTP1_MORE);
    assert_int_equal(used, 10);
    assert_int_equal(full_read(&h, "; rel=x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", &used, &ev), SBX_HTTP1_HEAD);
    assert_int_equal(h.status, 200);
}

/* Byte by byte costs no rescan: what was seen is remembered. */
static void test_scanned(void **state)
{
    sbx_http1 h;
    sbx_http1_event ev;
    static char value[20000];
    const char *status = "HTTP/1.1 200 OK\r\n", *p = status;
    (void)state;
    assert_true(sizeof(sbx_http1) <= 48);
    sbx_http1_init(&h, false, NULL);
    assert_int_equal(sbx_http1_read(&h, &p, status + 17, false, &ev), SBX_HTTP1_MORE);
    assert_int_equal(p - status, 17);
    memset(value, 'n', sizeof value);
    value[sizeof value / 2] = ':';
    for (size_t n = 1; n < sizeof value; n++) {
        p = value;
        assert_int_equal(sbx_http1_read(&h, &p, value + n, false, &ev), SBX_HTTP1_MORE);
        assert_ptr_equal(p, value);
        assert_int_equal(h.scanned, n);
    }
}

static void test_two_answers(void **state)
{
    const char *in = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 404 Not\r\n" L0;
    const char *p = in, *end = in + strlen(in);
    sbx_http1 h;
    sbx_http1_event ev;
    (void)state;
    for (int k = 0; k < 2; k++) {
        sbx_http1_init(&h, false, NULL);
        while (sbx_http1_read(&h, &p, end, false, &ev) != SBX_HTTP1_DONE)
            assert_int_equal(h.error, 0);
        assert_true(h.keep_alive);
        assert_int_equal(h.status, k ? 404 : 200);
    }
    assert_ptr_equal(p, end);
}

/* Zero-copy: events are slices of the input. */
static void test_slices(void **state)
{
    const char *in = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello", *p = in, *end = in + strlen(in);
    sbx_http1 h;
    sbx_http1_event ev;
    (void)state;
    sbx_http1_init(&h, false, NULL);
    assert_int_equal(sbx_http1_read(&h, &p, end, false, &ev), SBX_HTTP1_HEADER);
    assert_int_equal(h.status, 200);
    assert_ptr_equal(ev.name.p, in + 17);
    assert_ptr_equal(ev.value.p, in + 20);
    assert_ptr_equal(p, in + 23);
    assert_int_equal(sbx_http1_read(&h, &p, end, false, &ev), SBX_HTTP1_HEADER);
    assert_int_equal(sbx_http1_read(&h, &p, end, false, &ev), SBX_HTTP1_HEAD);
    assert_int_equal(sbx_http1_read(&h, &p, end, false, &ev), SBX_HTTP1_BODY);
    assert_ptr_equal(ev.value.p, end - 5);
    assert_int_equal(ev.value.n, 5);
    assert_int_equal(sbx_http1_read(&h, &p, end, false, &ev), SBX_HTTP1_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_line),   cmocka_unit_test(test_interim),
        cmocka_unit_test(test_endless_interim), cmocka_unit_test(test_headers),
        cmocka_unit_test(test_every_byte),    cmocka_unit_test(test_name_value_ok),
        cmocka_unit_test(test_no_body),       cmocka_unit_test(test_length),
        cmocka_unit_test(test_close),         cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_chunked),       cmocka_unit_test(test_coding),
        cmocka_unit_test(test_caps),          cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_full),          cmocka_unit_test(test_scanned),
        cmocka_unit_test(test_two_answers),   cmocka_unit_test(test_slices),
    };
    return cmocka_run_group_tests_name("http1", tests, setup, teardown);
}
