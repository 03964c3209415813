/* parts: sse */
/* Event streams in, event log out: whole, byte by byte and at every split. The
   log joins pieces, so it must not depend on how the bytes arrive:
     T(..) type, D(..) a line of data or its part up to the next other thing,
     I(..) id, I(..)! one with a NUL, R5 retry, . an event, , none. */
#define _GNU_SOURCE
#include "vectors.h"

#include "base.h"
#include "sse.h"

typedef struct run {
    sbx_sse s;
    sbx_sse_kind open; /* TYPE, DATA, ID: its last piece may still come */
    bool began;        /* some data of this event */
} run;

static void run_start(void *ctx)
{
    memset(ctx, 0, sizeof(run));
    sbx_sse_init(&((run *)ctx)->s);
}

static void close_data(run *r, vec_log *log)
{
    if (r->open == SBX_SSE_DATA) {
        vec_log_put(log, ")", 1);
        r->open = SBX_SSE_MORE;
    }
}

static void one(run *r, vec_log *log, sbx_sse_kind kind, const sbx_sse_event *ev)
{
    if (kind != SBX_SSE_DATA)
        close_data(r, log);
    if (kind == SBX_SSE_RETRY) {
        vec_logf(log, "R%lu ", (unsigned long)ev->retry_ms);
        return;
    }
    assert_int_equal(ev->retry_ms, 0);
    if (kind == SBX_SSE_END) {
        vec_logf(log, ev->dispatch ? "." : ",");
        assert_int_equal(ev->dispatch, r->began);
        r->began = false;
        return;
    }
    assert_true(ev->n || ev->first || ev->last);
    if (kind == SBX_SSE_DATA) {
        assert_int_equal(ev->first, !r->began);
        assert_false(ev->last);
        r->began = true;
    } else {
        assert_int_equal(ev->first, r->open == SBX_SSE_MORE);
    }
    if (r->open == SBX_SSE_MORE)
        vec_logf(log, "%c(", "?TDI"[kind]);
    else
        assert_int_equal(r->open, kind);
    r->open = kind;
    vec_log_bytes(log, ev->p, ev->n);
    if (ev->last) {
        vec_logf(log, ev->bad ? ")!" : ")");
        r->open = SBX_SSE_MORE;
    } else {
        assert_false(ev->bad);
    }
}

static void run_feed(void *ctx, vec_log *log, char *p, char *end)
{
    run *r = (run *)ctx;
    char *before = p;
    sbx_sse_event ev;
    sbx_sse_kind kind;

    while (memset(&ev, 0xee, sizeof ev), (kind = sbx_sse_read(&r->s, &p, end, &ev)) != SBX_SSE_MORE) {
        assert_true((p > before || ev.p == &r->s.lf) && p <= end);
        if (kind <= SBX_SSE_ID && ev.p != &r->s.lf)
            assert_true(ev.p >= before && ev.p + ev.n <= p);
        before = p;
        one(r, log, kind, &ev);
        if (kind <= SBX_SSE_ID && ev.n)
            memset(ev.p, '\n', ev.n); /* it is the caller's to change */
    }
    assert_ptr_equal(p, end);
}

static void run_finish(void *ctx, vec_log *log)
{
    close_data((run *)ctx, log);
}

static const vec_codec codec = { run_start, run_feed, run_finish };

static void check(const char *in, size_t n, const char *expect)
{
    run r;

    vec_check(&codec, &r, in, n, expect);
}

/* The same with each kind of line end. */
static void lines(const char *in, const char *expect)
{
    char other[512];
    size_t n = 0;

    check(in, strlen(in), expect);
    for (unsigned crlf = 0; crlf < 2; crlf++, n = 0) {
        for (const char *p = in; *p; p++) {
            if (*p != '\n' || crlf)
                other[n++] = *p == '\n' ? '\r' : *p;
            else
                other[n++] = '\r';
            if (*p == '\n' && crlf)
                other[n++] = '\n';
        }
        check(other, n, expect);
    }
}

static void test_events(void **state)
{
    (void)state;
    check("", 0, "");
    lines("data: a\n\n", "D(a).");
    lines("data:a\n\ndata:b\n\n", "D(a).D(b).");
    lines("event: stdout\ndata: {\"offset\":0}\n\n", "T(stdout)D({\"offset\":0}).");
    lines("data: x\nevent: late\n\n", "D(x)T(late).");
    lines("event: a\nevent: b\ndata: x\n\n", "T(a)T(b)D(x).");
    lines("event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n", "T(add)D(73857293).T(remove)D(2153).");
}

static void test_data_lines(void **state)
{
    (void)state;
    lines("data: YHOO\ndata: +2\ndata: 10\n\n", "D(YHOO\\x0A+2\\x0A10).");
    lines("data\n\ndata\ndata\n\ndata:\n\ndata:\n", "D().D(\\x0A).D().D()");
    lines("data:\ndata:\ndata:x\n\n", "D(\\x0A\\x0Ax).");
    lines("data: a\nevent: t\nid: 1\ndata: b\n\n", "D(a)T(t)I(1)D(\\x0Ab).");
    lines("data: a\n: comment\ndata: b\n\n", "D(a\\x0Ab).");
    lines("data:test\n\ndata: test\n\ndata:  test\n\n", "D(test).D(test).D( test).");
    lines("data:\ta \n\n", "D(\\x09a ).");
    lines("data: a:b: c\n\n", "D(a:b: c).");
}

/* What has no data is no event, but its id counts. */
static void test_no_event(void **state)
{
    (void)state;
    lines("\n\n\n", "");
    lines(": keep-alive\n\n:\n\n", "");
    lines("event: x\n\ndata: y\n\n", "T(x),D(y).");
    lines("id: 7\n\n", "I(7),");
    lines("retry: 5\n\n", "R5 ");
    lines("event\n\nid\n\n", "T(),I(),");
    lines("data: cut", "D(cut)");
    lines("event: stdout\ndata: a\n", "T(stdout)D(a)");
}

static void test_fields(void **state)
{
    (void)state;
    lines("Data: a\nDATA: b\ndat: c\ndataa: d\n data: e\ndata : f\nevents: g\nid2: h\nretryy: 1\nx\nxy: z\n\n", "");
    lines("d\nda: x\ne: y\ni: z\nr\n\n", "");
    lines("id: 1\nid: 2\ndata: x\nid:\n\n", "I(1)I(2)D(x)I().");
    check(VEC("id: a\0b\nid: c\n\nid:\0\n\nid: ab\0\n\n"), "I(a\\x00b)!I(c),I(\\x00)!,I(ab\\x00)!,");
    check(VEC("da\0ta: x\ndata\0: x\n\0data: x\ndata: a\0b\n\n"), "D(a\\x00b).");
    check(VEC("event: \x80\xFF\n\n"), "T(\\x80\\xFF),");
}

static void test_retry(void **state)
{
    (void)state;
    lines("retry: 1500\nretry:0\nretry:007\n", "R1500 R0 R7 ");
    lines("retry\nretry:\nretry: \nretry:  1\nretry: 1 \nretry: -1\nretry: +1\nretry: 1.0\nretry: 0x1\nretry: 1a\n", "");
    lines("retry: 4294967294\nretry: 4294967295\nretry: 4294967296\nretry: 42949672950\nretry: 99999999999999999999999\n",
          "R4294967294 R4294967295 R4294967295 R4294967295 R4294967295 ");
    lines("data: a\nretry: 12\ndata: b\n\n", "D(a)R12 D(\\x0Ab).");
}

/* A mark of byte order is dropped once, at the very beginning. */
static void test_mark(void **state)
{
    (void)state;
    check(VEC("\xEF\xBB\xBF" "data: a\n\n"), "D(a).");
    check(VEC("\xEF\xBB\xBF\n\xEF\xBB\xBF" "data: a\n\n"), "");
    check(VEC("\xEF\xBB\xBF\xEF\xBB\xBF" "data: a\ndata: b\n\n"), "D(b).");
    check(VEC("\xEF" "data: a\ndata: b\n\n"), "D(b).");
    check(VEC("\xEF\xBB" "data: a\ndata: b\n\n"), "D(b).");
    check(VEC("\xEF\ndata: b\n\n"), "D(b).");
    check(VEC("\xEF\xBB\rdata: b\r\r"), "D(b).");
    check(VEC("\xEF\xBB\xBF"), "");
    check(VEC("\ndata: a\n\n"), "D(a).");
}

/* Mixed line ends: CR LF is one, LF CR are two. */
static void test_line_ends(void **state)
{
    (void)state;
    check(VEC("data: a\r\ndata: b\rdata: c\n\r\n"), "D(a\\x0A" "b\\x0A" "c).");
    check(VEC("data: a\n\rdata: b\r\r"), "D(a).D(b).");
    check(VEC("data: a\r\n\rdata: b\r\n\ndata: c\r\r\n"), "D(a).D(b).D(c).");
    check(VEC("\r\n\r\ndata\r\rdata\r\n\r\n"), "D().D().");
    check(VEC("data: a\v\f\x1C\xC2\x85\xE2\x80\xA8 b\n\n"), "D(a\\x0B\\x0C\\x1C\\xC2\\x85\\xE2\\x80\\xA8 b).");
    check(VEC("data: \b\t\x0E\x0F\r\n\n"), "D(\\x08\\x09\\x0E\\x0F).");
}

/* Every byte stands in every place of a word that may end a line. */
static void test_every_byte(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++)
        for (unsigned at = 0; at < 17; at++) {
            char in[40] = "data: ", expect[80] = "D(", text[8];
            size_t n = 6;

            for (unsigned i = 0; i < 17; i++)
                in[n++] = i == at ? (char)c : 'x';
            memcpy(in + n, "\n\n", 2);
            if (c == ' ' && at == 0)
                strcpy(expect, "D( ");
            for (unsigned i = 0; i < 17; i++) {
                if (i == at && c == ' ' && at == 0)
                    continue;
                if (i == at && (c == '\n' || c == '\r'))
                    break; /* the rest is a line that means nothing */
                snprintf(text, sizeof text, i != at ? "x" : c >= 32 && c < 127 && c != '\\' ? "%c" : "\\x%02X", c);
                strcat(expect, text);
            }
            strcat(expect, ").");
            check(in, n + 2, expect);
        }
}

/* A line of any length takes no memory and no more time a byte. */
static void test_long(void **state)
{
    static char block[4096];
    uint64_t total = 0;
    unsigned pieces = 0;
    sbx_sse s;
    sbx_sse_event ev;
    char head[] = "event: big\ndata: ", tail[] = "\n\n", *p = head;

    (void)state;
    sbx_sse_init(&s);
    assert_int_equal(sbx_sse_read(&s, &p, head + 17, &ev), SBX_SSE_TYPE);
    assert_int_equal(sbx_sse_read(&s, &p, head + 17, &ev), SBX_SSE_MORE);
    memset(block, 'a', sizeof block);
    for (unsigned i = 0; i < 65536; i++) {
        p = block;
        while (sbx_sse_read(&s, &p, block + sizeof block, &ev) != SBX_SSE_MORE) {
            total += ev.n;
            assert_int_equal(ev.first, pieces++ == 0);
        }
    }
    p = tail;
    assert_int_equal(sbx_sse_read(&s, &p, tail + 2, &ev), SBX_SSE_END);
    assert_true(ev.dispatch);
    assert_int_equal(total, (uint64_t)65536 * sizeof block);
    assert_int_equal(pieces, 65536);
    assert_true(sizeof s <= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),     cmocka_unit_test(test_data_lines), cmocka_unit_test(test_no_event),
        cmocka_unit_test(test_fields),     cmocka_unit_test(test_retry),      cmocka_unit_test(test_mark),
        cmocka_unit_test(test_line_ends),  cmocka_unit_test(test_every_byte), cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
