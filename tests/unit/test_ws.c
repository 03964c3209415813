/* parts: ws text */
/* Frames in, event log out: whole, byte by byte, at every split position, and
   right against guard pages at both ends. The log joins the pieces of a
   message, so it must not depend on how the bytes arrive:
     T<..> text, B<..> binary, P5<..> ping of 5 bytes, Q5<..> pong,
     C1000<..> close, E1002 error; control frames may stand inside T<..>. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base.h"
#include "ws.h"
#include "text.h"

#include <cmocka.h>

#define ROOM ((size_t)1 << 18)

typedef struct run {
    sbx_ws w;
    char *log;
    size_t n;
    uint8_t total;
    uint16_t code;
    bool failed, closed;
} run;

static char *guarded; /* ROOM bytes between two pages that fault */
static char log_a[ROOM * 4], log_b[ROOM * 4];

static int setup(void **state)
{
    char *m = (char *)mmap(NULL, ROOM + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)state;
    if (m == MAP_FAILED || mprotect(m + 4096, ROOM, PROT_READ | PROT_WRITE))
        return -1;
    guarded = m + 4096;
    return 0;
}

static void start(run *r, char *log, unsigned flags, uint64_t max)
{
    memset(r, 0, sizeof *r);
    r->log = log;
    *log = 0;
    sbx_ws_init(&r->w, flags, max);
}

static void add(run *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        assert_true(r->n + 8 < sizeof log_a);
        if (c >= 32 && c < 127 && !strchr("<>%", c))
            r->log[r->n++] = (char)c;
        else
            r->n += (size_t)sprintf(r->log + r->n, "%%%02x", c);
    }
    r->log[r->n] = 0;
}

/* Hands over one chunk of input, placed against a guard page. */
static void feed(run *r, const char *p, size_t n, bool low)
{
    char *at = low ? guarded : guarded + ROOM - n, *end = at + n, *before;
    sbx_ws_event ev;
    sbx_ws_kind k;
    assert_true(n <= ROOM);
    if (n)
        memcpy(at, p, n);
    for (;;) {
        before = at;
        memset(&ev, 0xee, sizeof ev);
        k = sbx_ws_read(&r->w, &at, end, &ev);
        assert_true(at >= before && at <= end);
        if (r->closed)
            assert_int_equal(k, SBX_WS_MORE);
        if (r->failed)
            assert_int_equal(k, SBX_WS_ERROR);
        if (k == SBX_WS_MORE) {
            assert_ptr_equal(at, end);
            return;
        }
        if (k == SBX_WS_ERROR) {
            assert_ptr_equal(at, end);
            assert_int_equal(ev.n, 0);
            if (!r->failed)
                r->n += (size_t)sprintf(r->log + r->n, "E%u", ev.code);
            else
                assert_int_equal(ev.code, r->code);
            r->code = ev.code;
            r->failed = true;
            return;
        }
        assert_true(ev.n > 0 || ev.first || ev.last);
        assert_true(ev.p >= before && ev.p + ev.n == at);
        if (k == SBX_WS_TEXT || k == SBX_WS_BINARY) {
            assert_int_equal(ev.total, 0);
            assert_int_equal(ev.code, 0);
            if (ev.first)
                r->n += (size_t)sprintf(r->log + r->n, k == SBX_WS_TEXT ? "T<" : "B<");
        } else if (k == SBX_WS_CLOSE) {
            if (ev.first)
                r->n += (size_t)sprintf(r->log + r->n, "C%u<", r->code = ev.code);
            assert_int_equal(ev.code, r->code);
        } else {
            assert_true(k == SBX_WS_PING || k == SBX_WS_PONG);
            assert_int_equal(ev.code, 0);
            if (ev.first)
                r->n += (size_t)sprintf(r->log + r->n, "%c%u<", k == SBX_WS_PING ? 'P' : 'Q', ev.total);
        }
        if (k >= SBX_WS_CLOSE) {
            if (ev.first)
                r->total = ev.total;
            assert_int_equal(ev.total, r->total);
            assert_true(ev.n <= ev.total);
        }
        add(r, ev.p, ev.n);
        if (ev.last)
            r->n += (size_t)sprintf(r->log + r->n, ">");
        r->closed = k == SBX_WS_CLOSE && ev.last;
    }
}

static void check_log(const char *what, const char *got, const char *want)
{
    if (strcmp(got, want)) {
        print_error("%s:\n got  %.300s\n want %.300s\n", what, got, want);
        fail();
    }
}

/* One input, all deliveries. want NULL: whatever the whole input gives. */
static void check(const char *what, unsigned flags, uint64_t max, const char *p, size_t n, const char *want)
{
    run r;
    char name[80];
    size_t i, step = n > 2000 ? n / 37 : 1;
    start(&r, log_a, flags, max);
    feed(&r, p, n, false);
    feed(&r, "ignored or more", 0, false);
    if (want)
        check_log(what, log_a, want);
    start(&r, log_b, flags, max);
    feed(&r, p, n, true);
    check_log(what, log_b, log_a);
    for (size_t chunk = 1; chunk <= 7; chunk += 2) {
        snprintf(name, sizeof name, "%s by %u", what, (unsigned)chunk);
        start(&r, log_b, flags, max);
        for (i = 0; i < n; i += chunk)
            feed(&r, p + i, SBXI_MIN(chunk, n - i), i & 1);
        check_log(name, log_b, log_a);
    }
    for (i = 0; i <= n; i += i < 40 || i + 40 > n ? 1 : SBXI_MIN(step, n - 40 - i + 1)) {
        snprintf(name, sizeof name, "%s split at %u", what, (unsigned)i);
        start(&r, log_b, flags, max);
        feed(&r, p, i, false);
        feed(&r, p + i, n - i, true);
        check_log(name, log_b, log_a);
    }
}

/* Frames as text: "81Hello 8a" = first byte in hex, payload (%xx = a byte,
   {n} = the character before it repeated to n). Masked for a server. */
static size_t frames(char *out, const char *s, bool server)
{
    static char body[ROOM];
    size_t n = 0;
    unsigned seed = 0x1234567;
    while (*s) {
        unsigned b0, v;
        size_t m = 0, h;
        unsigned char head[14], mask[4];
        assert_int_equal(sscanf(s, "%2x", &b0), 1);
        for (s += 2; *s && *s != ' ';) {
            if (*s == '%') {
                assert_int_equal(sscanf(s + 1, "%2x", &v), 1);
                body[m++] = (char)v;
                s += 3;
            } else if (*s == '{') {
                v = (unsigned)strtoul(s + 1, (char **)&s, 10);
                memset(body + m, body[m - 1], v - 1);
                m += v - 1;
                s++;
            } else {
                body[m++] = *s++;
            }
        }
        while (*s == ' ')
            s++;
        seed = seed * 1103515245u + 12345u;
        for (h = 0; h < 4; h++)
            mask[h] = (unsigned char)(seed >> (8 * h));
        h = 0;
        head[h++] = (unsigned char)b0;
        head[h++] = (unsigned char)((server ? 128 : 0) | (m < 126 ? (unsigned)m : m < 65536 ? 126u : 127u));
        for (int k = m < 126 ? 0 : m < 65536 ? 2 : 8; k--;)
            head[h++] = (unsigned char)((uint64_t)m >> (8 * k));
        if (server) {
            memcpy(head + h, mask, 4);
            h += 4;
            for (size_t i = 0; i < m; i++)
                body[i] = (char)(body[i] ^ mask[i & 3]);
        }
        memcpy(out + n, head, h);
        memcpy(out + n + h, body, m);
        n += h + m;
    }
    return n;
}

typedef struct vec {
    const char *in, *want;
} vec;

static void both_roles(const vec *v, size_t count)
{
    static char buf[ROOM];
    for (size_t i = 0; i < count; i++) {
        check(v[i].in, 0, 0, buf, frames(buf, v[i].in, false), v[i].want);
        check(v[i].in, SBX_WS_SERVER, 0, buf, frames(buf, v[i].in, true), v[i].want);
    }
}
#define BOTH(v) both_roles(v, SBXI_COUNT(v))

/* Autobahn 1: framing */
static void test_framing(void **state)
{
    static const unsigned sizes[] = { 1, 2, 5, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 124, 125, 126, 127, 128, 129, 1000, 65535, 65536, 70001 };
    static const vec v[] = {
        { "81", "T<>" }, { "82", "B<>" }, { "81Hello", "T<Hello>" }, { "82%00%ff%fe", "B<%00%ff%fe>" },
        { "81a 81bb 81ccc 82d", "T<a>T<bb>T<ccc>B<d>" }, { "81 81 82 82x", "T<>T<>B<>B<x>" }, { "", "" },
    };
    (void)state;
    BOTH(v);
    for (size_t i = 0; i < SBXI_COUNT(sizes); i++)
        for (int bin = 0; bin < 2; bin++) {
            static char in[40], want[ROOM];
            vec one;
            size_t n = (size_t)sprintf(want, "%c<", bin ? 'B' : 'T');
            sprintf(in, "%s*{%u} 81!", bin ? "82" : "81", sizes[i]);
            memset(want + n, '*', sizes[i]);
            strcpy(want + n + sizes[i], ">T<!>");
            one.in = in;
            one.want = want;
            both_roles(&one, 1);
        }
}

/* Autobahn 2: pings and pongs */
static void test_ping(void **state)
{
    static const vec v[] = {
        { "89", "P0<>" }, { "89Hello", "P5<Hello>" }, { "89%00%ff%fe%fd%fc%fb%00%ff", "P8<%00%ff%fe%fd%fc%fb%00%ff>" },
        { "89x{126}", "E1002" }, { "8ax{126}", "E1002" }, { "89x{65536}", "E1002" }, { "8a", "Q0<>" }, { "8aunsolicited", "Q11<unsolicited>" },
        { "8aa 89b 8a", "Q1<a>P1<b>Q0<>" }, { "890 891 892 893 894 895 896 897 898 899", "P1<0>P1<1>P1<2>P1<3>P1<4>P1<5>P1<6>P1<7>P1<8>P1<9>" },
        { "89.{5} 81x 8a.{3}", "P5<.....>T<x>Q3<...>" }, { "89%fe{125}", NULL },
    };
    (void)state;
    BOTH(v);
    assert_int_equal(strlen(log_a), 5 + 3 * 125 + 1);
    assert_memory_equal(log_a, "P125<%fe", 8);
}

/* Autobahn 3 and 4: reserved bits and opcodes, then every possible first two
   bytes, outside and inside a message, against a plain model. */
static void test_reserved(void **state)
{
    static const vec v[] = {
        { "c1x", "E1002" }, { "a1x", "E1002" }, { "91x", "E1002" }, { "81ok b1x", "T<ok>E1002" }, { "81ok d9x 89", "T<ok>E1002" },
        { "f8", "E1002" }, { "83", "E1002" }, { "84x", "E1002" }, { "81ok 85 89", "T<ok>E1002" }, { "86", "E1002" }, { "87x", "E1002" },
        { "8b", "E1002" }, { "8c", "E1002" }, { "8d", "E1002" }, { "8e", "E1002" }, { "8f", "E1002" }, { "01a 83b", "T<aE1002" },
    };
    (void)state;
    BOTH(v);
    for (unsigned i = 0; i < 4 * 65536; i++) {
        unsigned b0 = i & 255, b1 = i >> 8 & 255, op = b0 & 15, n = b1 & 127;
        bool server = i >> 16 & 1, inside = i >> 17, control = op >= 8, ok, got;
        char in[2 + 6 + 2], *p = in;
        sbx_ws w;
        sbx_ws_event ev;
        memset(in, 0, sizeof in);
        in[1] = server ? (char)0x81 : 1;
        in[0] = 1;
        in[server ? 6 : 2] = 'a';
        sbx_ws_init(&w, server ? SBX_WS_SERVER : 0, 0);
        if (inside)
            assert_int_equal(sbx_ws_read(&w, &p, in + (server ? 7 : 3), &ev), SBX_WS_TEXT);
        ok = b0 < 0x10 || (b0 >= 0x80 && b0 < 0x90);
        ok = ok && (control ? b0 >= 0x80 && op <= 10 && n <= 125 : inside ? op == 0 : op == 1 || op == 2);
        ok = ok && server == (b1 >= 128) && !(op == 8 && n == 1);
        in[0] = (char)b0;
        in[1] = (char)b1;
        p = in;
        got = sbx_ws_read(&w, &p, in + 2, &ev) != SBX_WS_ERROR;
        if (got != ok)
            fail_msg("head %02x %02x server %d inside %d: %d", b0, b1, server, inside, got);
        if (!ok)
            assert_int_equal(ev.code, 1002);
    }
}

/* Autobahn 5: fragmentation */
static void test_fragments(void **state)
{
    static const vec v[] = {
        { "09x 80y", "E1002" }, { "0ax 80y", "E1002" }, { "08", "E1002" },
        { "01frag 80ment", "T<fragment>" }, { "02fr%00 00%ff 80.", "B<fr%00%ff.>" },
        { "01a 89ping 80b", "T<aP4<ping>b>" }, { "01a 89p 8aq 00b 89 80c", "T<aP1<p>Q1<q>bP0<>c>" },
        { "01 00 80", "T<>" }, { "01 00x 80", "T<x>" }, { "01 80x", "T<x>" }, { "01 00 80x 81y", "T<x>T<y>" }, { "01x 00 00 80", "T<x>" },
        { "80x", "E1002" }, { "00x 80", "E1002" }, { "81a 80x", "T<a>E1002" }, { "81a 00x", "T<a>E1002" }, { "01a 80b 80c", "T<ab>E1002" },
        { "01a 81b", "T<aE1002" }, { "01a 01b 80c", "T<aE1002" }, { "01a 82b", "T<aE1002" }, { "02a 81b", "B<aE1002" }, { "89 80", "P0<>E1002" },
        { "01a 89 81b", "T<aP0<>E1002" }, { "01a 00b 89p1 00c 00d 89p2 80e 81f", "T<abP2<p1>cdP2<p2>e>T<f>" },
        { "01a 88%03%e8bye 80b", "T<aC1000<bye>" },
    };
    (void)state;
    BOTH(v);
}

/* Autobahn 6: UTF-8, with the place where it must be noticed */
static void test_utf8(void **state)
{
    static const vec v[] = {
        { "81%ce%ba%e1%bd%b9%cf%83%ce%bc%ce%b5", "T<%ce%ba%e1%bd%b9%cf%83%ce%bc%ce%b5>" },
        { "01%ce%ba%e1%bd 80%b9%cf%83", "T<%ce%ba%e1%bd%b9%cf%83>" },
        { "01%ce 00 00%ba 00%e1 00%bd 89%ff 80%b9", "T<%ce%ba%e1%bdP1<%ff>%b9>" },
        { "81ab%ce%ba%e1%bd%b9%ed%a0%80edited", "T<ab%ce%ba%e1%bd%b9%edE1007" },
        { "01ok%f4 00%90 00%80 80%80", "T<ok%f4E1007" }, { "81%f4%90%80%80", "T<%f4E1007" }, { "81%f4%8f%bf%bf", "T<%f4%8f%bf%bf>" },
        { "01%ce%ba%e1%bd%b9 00%f4%8f%bf%bf 80%f4%90", "T<%ce%ba%e1%bd%b9%f4%8f%bf%bf%f4E1007" },
        { "81%c0%af", "E1007" }, { "81%c1%bf", "E1007" }, { "81%e0%9f%bf", "T<%e0E1007" }, { "81%e0%a0%80", "T<%e0%a0%80>" }, { "81%f0%8f%bf%bf", "T<%f0E1007" },
        { "81%f5", "E1007" }, { "81%f8%88%80%80%80", "E1007" }, { "81%fe", "E1007" }, { "81%ff", "E1007" }, { "81%80", "E1007" }, { "81a%bf", "T<aE1007" },
        { "81%ed%9f%bf%ee%80%80%ef%bf%bd%ef%bf%be", "T<%ed%9f%bf%ee%80%80%ef%bf%bd%ef%bf%be>" }, { "81%ed%bf%bf", "T<%edE1007" },
        { "81%ce", "E1007" }, { "81ab%e1%bd", "T<ab%e1E1007" }, { "81%f0%9f%98", "T<%f0%9fE1007" }, { "81ok%20%f0%9f%98%80", "T<ok %f0%9f%98%80>" },
        { "01a%ce 80", "T<a%ceE1007" }, { "01a%ce 80b", "T<a%ceE1007" }, { "01%ce 00 80%ba", "T<%ce%ba>" }, { "81a 81%ce 81%ba", "T<a>E1007" },
        { "81%ce%ba 81%00%7f%c2%80", "T<%ce%ba>T<%00%7f%c2%80>" }, { "82%ff%ce 81x 01a 82", "B<%ff%ce>T<x>T<aE1002" },
        { "01%ce 88%03%e8%ce%ba", "T<%ceC1000<%ce%ba>" }, { "81x{61}%e2%82%ac 81y", NULL }, { "81x{61}%ff%82%ac 81y", NULL },
        { "81%ff{64}", "E1007" }, { "81x{70}%80y{50}", NULL }, { "81x{31}%80", NULL }, { "81x{8}%80y{16} 81a", NULL },
    };
    static char want[400];
    run r;
    (void)state;
    BOTH(v);
    /* a bad byte at every place of a frame, at most lengths of the fast path */
    for (unsigned n = 1; n <= 125; n += n < 36 ? 1 : 13)
        for (unsigned at = 0; at < n; at += n > 40 ? 3 : 1) {
            static char buf[ROOM];
            size_t m = frames(buf, "81", false);
            buf[1] = (char)n;
            for (unsigned i = 0; i < n; i++)
                buf[m++] = (char)('a' + i % 26);
            buf[2 + at] = (char)0xc1;
            memcpy(want, "T<", 2);
            memcpy(want + 2, buf + 2, at);
            strcpy(at ? want + 2 + at : want, "E1007");
            start(&r, log_a, 0, 0);
            feed(&r, buf, m, false);
            check_log("bad byte", log_a, want);
        }
    /* at once, not at the end of the frame or message */
    start(&r, log_a, 0, 0);
    feed(&r, "\x01\x7e\x10\x00" "ab\xf4", 7, false);
    assert_false(r.failed);
    feed(&r, "\x90", 1, false);
    assert_true(r.failed);
    check_log("fail-fast", log_a, "T<ab%f4E1007");
}

static void test_raw_text(void **state)
{
    static char buf[200];
    (void)state;
    check("raw", SBX_WS_RAW_TEXT, 0, buf, frames(buf, "81a%ff 01%ce 80 88%03%e8", false), "T<a%ff>T<%ce>C1000<>");
    check("raw", SBX_WS_RAW_TEXT | SBX_WS_SERVER, 0, buf, frames(buf, "81a%ff 01%ce 80 88", true), "T<a%ff>T<%ce>C1005<>");
    check("raw", SBX_WS_RAW_TEXT, 0, buf, frames(buf, "88%03%e8a%ff", false), "C1000<aE1007");
}

static bool code_model(unsigned c)
{
    return (c >= 1000 && c <= 1014 && c != 1004 && c != 1005 && c != 1006) || (c >= 3000 && c <= 4999);
}

/* Autobahn 7: close */
static void test_close(void **state)
{
    static const vec v[] = {
        { "81a 88 81b", "T<a>C1005<>" }, { "88", "C1005<>" }, { "88%03", "E1002" }, { "88%03%e8", "C1000<>" }, { "88%03%e8reason", "C1000<reason>" },
        { "88%03%e8 88%03%e8 89", "C1000<>" }, { "88%03%e8x 83garbage", "C1000<x>" }, { "01a 88%03%e8", "T<aC1000<>" }, { "88%03%e8%ce%ba", "C1000<%ce%ba>" },
        { "88%03%e8%ce%ba%e1%bd%b9%ed%a0%80", "C1000<%ce%ba%e1%bd%b9%edE1007" }, { "88%03%e8%ce", "E1007" }, { "88%03%e8a%ff", "C1000<aE1007" },
        { "88%03%e8x{124}", "E1002" }, { "88%00%00", "E1002" }, { "88%03%e7", "E1002" }, { "88%03%ecx", "E1002" }, { "88%03%ed", "E1002" }, { "88%03%ee", "E1002" },
        { "88%03%f7", "E1002" }, { "88%04%4c", "E1002" }, { "88%07%d0", "E1002" }, { "88%0b%b7", "E1002" }, { "88%13%88", "E1002" }, { "88%ff%ff", "E1002" },
        { "88%03%e8%00%00%00", "C1000<%00%00%00>" }, { "88%03%e8x{123}", NULL },
    };
    static char buf[16];
    (void)state;
    BOTH(v);
    assert_int_equal(strlen(log_a), 6 + 123 + 1);
    for (unsigned c = 0; c < 65536; c++) {
        run r;
        assert_int_equal(sbx_ws_close_code_ok(c), code_model(c));
        memcpy(buf, "\x88\x02", 2);
        buf[2] = (char)(c >> 8);
        buf[3] = (char)c;
        start(&r, log_a, 0, 0);
        feed(&r, buf, 4, false);
        assert_int_equal(r.closed, code_model(c));
        assert_int_equal(r.failed, !code_model(c));
        assert_int_equal(r.code, code_model(c) ? c : 1002);
    }
    assert_false(sbx_ws_close_code_ok(65536 + 1000));
    assert_false(sbx_ws_close_code_ok(UINT32_MAX));
}

typedef struct raw {
    unsigned flags;
    uint64_t max;
    const char *hex, *want;
} raw;

static size_t unhex(char *out, const char *s)
{
    size_t n = 0;
    unsigned v;
    int used;
    for (; sscanf(s, " %2x%n", &v, &used) == 1; s += used)
        out[n++] = (char)v;
    return n;
}

/* What the frame builder cannot say: lengths and masking. */
static void test_lengths(void **state)
{
    static const raw v[] = {
        { 0, 0, "81 7e 00 00", "E1002" }, { 0, 0, "81 7e 00 7d", "E1002" }, { 0, 0, "82 7f 00 00 00 00 00 00 00 05", "E1002" },
        { 0, 0, "82 7f 00 00 00 00 00 00 ff ff", "E1002" }, { 0, 0, "82 7f 80 00 00 00 00 00 00 00", "E1002" }, { 0, 0, "82 7f ff ff ff ff ff ff ff ff", "E1002" },
        { 0, 0, "82 7f 7f ff ff ff ff ff ff ff 61 62", "B<ab" }, { 0, 0, "82 7f 00 00 00 00 00 01 00 00 61", "B<a" }, { 0, 0, "82 7f 00 00 00 01 00 00 00 00 61", "B<a" },
        { 0, 0, "82 7e 00 7e 61", "B<a" }, { 0, 0, "82 7e ff ff 61", "B<a" }, { 0, 0, "02 7f 7f ff ff ff ff ff ff ff", "" },
        { 0, 0, "81 81 00 00 00 00 61", "E1002" }, { SBX_WS_SERVER, 0, "81 01 61", "E1002" }, { SBX_WS_SERVER, 0, "88 00", "E1002" }, { 0, 0, "89 80 01 02 03 04", "E1002" },
        { SBX_WS_SERVER, 0, "82 fe 00 7d 01 02 03 04", "E1002" }, { SBX_WS_SERVER, 0, "82 fe 00 7e 01 02 03 04 60 61", "B<ac" },
        { SBX_WS_SERVER, 0, "82 ff 00 00 00 00 00 01 00 00 01 02 03 04 60 61", "B<ac" }, { SBX_WS_SERVER, 0, "82 ff 80 00 00 00 00 01 00 00 01 02 03 04 60", "E1002" },
        { SBX_WS_SERVER, 0, "81 85 37 fa 21 3d 7f 9f 4d 51 58", "T<Hello>" }, { 0, 0, "01 03 48 65 6c 80 02 6c 6f", "T<Hello>" },
        { 0, 3, "81 03 61 62 63 81 04 61 62 63 64", "T<abc>E1009" }, { 0, 3, "01 02 61 62 80 01 63 81 03 61 62 63", "T<abc>T<abc>" },
        { 0, 3, "01 02 61 62 00 00 89 05 31 32 33 34 35 80 02 63 64", "T<abP5<12345>E1009" }, { 0, 3, "02 03 61 62 63 80 00 82 00 82 04", "B<abc>B<>E1009" },
        { 0, 3, "88 06 03 e8 61 62 63 64", "C1000<abcd>" }, { 0, 1, "82 7f 7f ff ff ff ff ff ff ff 61", "E1009" },
        { 0, 1, "02 01 61 80 7f 7f ff ff ff ff ff ff ff 61", "B<aE1009" }, { SBX_WS_SERVER, 3, "82 84 00 00 00 00 61", "E1009" },
        { 0, 3, "01 01 61 80 01 62 01 03 61 62 63 80 01 64", "T<ab>T<abcE1009" }, { 0, 3, "01 03 61 62 63 00 01 64", "T<abcE1009" },
        { 0, 3, "82 7e 00 7d", "E1002" }, { 0, 64, "82 41", "E1009" }, { 0, 200, "82 7e 00 c8 61", "B<a" }, { 0, 200, "82 7e 00 c9 61", "E1009" },
    };
    static char buf[100];
    (void)state;
    for (size_t i = 0; i < SBXI_COUNT(v); i++)
        check(v[i].hex, v[i].flags, v[i].max, buf, unhex(buf, v[i].hex), v[i].want);
}

/* A frame above 4 GiB streams through a small buffer. */
static void test_huge(void **state)
{
    static char buf[1 << 16];
    char head[14], *p = head;
    sbx_ws w;
    sbx_ws_event ev;
    uint64_t left = ((uint64_t)1 << 32) + 5;
    size_t h = sbx_ws_head((unsigned char *)head, SBX_WS_OP_BINARY, true, left, NULL);
    (void)state;
    sbx_ws_init(&w, 0, 0);
    assert_int_equal(sbx_ws_read(&w, &p, head + h, &ev), SBX_WS_MORE);
    while (left) {
        p = buf;
        assert_int_equal(sbx_ws_read(&w, &p, buf + sizeof buf, &ev), SBX_WS_BINARY);
        assert_ptr_equal(ev.p, buf);
        assert_int_equal(ev.n, SBXI_MIN(left, sizeof buf));
        left -= ev.n;
        assert_int_equal(ev.last, left == 0);
    }
    assert_ptr_equal(p, buf + 5);
}

/* One event a call, each frame's payload in place. */
static void test_one_event_a_call(void **state)
{
    char in[] = "\x81\x02" "hi" "\x89\x00" "\x82\x01" "x", *p = in, *end = in + 9;
    sbx_ws w;
    sbx_ws_event ev;
    (void)state;
    assert_true(sizeof w <= 64);
    sbx_ws_init(&w, 0, 0);
    assert_int_equal(sbx_ws_read(&w, &p, end, &ev), SBX_WS_TEXT);
    assert_ptr_equal(ev.p, in + 2);
    assert_int_equal(ev.n, 2);
    assert_true(ev.first && ev.last);
    assert_ptr_equal(p, in + 4);
    assert_int_equal(sbx_ws_read(&w, &p, end, &ev), SBX_WS_PING);
    assert_true(ev.first && ev.last);
    assert_int_equal(sbx_ws_read(&w, &p, end, &ev), SBX_WS_BINARY);
    assert_int_equal(*ev.p, 'x');
    assert_int_equal(sbx_ws_read(&w, &p, end, &ev), SBX_WS_MORE);
    /* the first piece of an empty first fragment is told at once */
    memcpy(in, "\x01\x00", 2);
    p = in;
    assert_int_equal(sbx_ws_read(&w, &p, in + 2, &ev), SBX_WS_TEXT);
    assert_true(ev.n == 0 && ev.first && !ev.last);
}

static uint32_t rnd_state = 1;
static uint32_t rnd(uint32_t below)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 17;
    rnd_state ^= rnd_state << 5;
    return rnd_state % below;
}

/* Random messages through the writer, cut at random, must come back. */
static void test_round_trip(void **state)
{
    static char wire[ROOM], want[ROOM * 4], body[ROOM];
    (void)state;
    for (unsigned turn = 0; turn < 3000; turn++) {
        bool server = rnd(2), inside = false;
        run r, expect;
        size_t n = 0, i;
        start(&expect, want, 0, 0);
        for (unsigned frame = rnd(12) + 1; frame--;) {
            unsigned pick = rnd(8), op = pick == 0 ? 9 : pick == 1 ? 10 : inside ? 0 : 1 + rnd(2);
            bool fin = op & 8 || rnd(3);
            size_t m = rnd(3) ? rnd(op & 8 ? 126 : 200) : rnd(9);
            unsigned char mask[4], head[14];
            size_t h;
            m = m > 125 && op & 8 ? 125 : m;
            for (i = 0; i < 4; i++)
                mask[i] = (unsigned char)rnd(256);
            for (i = 0; i < m; i++)
                body[i] = (char)(32 + rnd(95));
            if (op)
                expect.n += (size_t)(op & 8 ? sprintf(want + expect.n, "%c%u<", op == 9 ? 'P' : 'Q', (unsigned)m) : sprintf(want + expect.n, op == 1 ? "T<" : "B<"));
            add(&expect, body, m);
            if (fin)
                expect.n += (size_t)sprintf(want + expect.n, ">");
            if (!(op & 8))
                inside = !fin;
            h = sbx_ws_head(head, op, fin, m, server ? mask : NULL);
            memcpy(wire + n, head, h);
            memcpy(wire + n + h, body, m);
            if (server) {
                size_t cut = rnd((uint32_t)m + 1);
                sbx_ws_mask(wire + n + h, cut, mask, 0);
                sbx_ws_mask(wire + n + h + cut, m - cut, mask, cut);
            }
            n += h + m;
        }
        start(&r, log_a, server ? SBX_WS_SERVER : 0, 0);
        for (i = 0; i < n;) {
            size_t k = turn & 1 ? n : 1 + rnd(100);
            k = SBXI_MIN(k, n - i);
            feed(&r, wire + i, k, rnd(2));
            i += k;
        }
        check_log("round trip", log_a, want);
    }
}

static void test_head(void **state)
{
    static const unsigned char mask[4] = { 1, 2, 3, 4 };
    unsigned char b[14];
    (void)state;
    assert_int_equal(sbx_ws_head(b, SBX_WS_OP_TEXT, true, 0, NULL), 2);
    assert_memory_equal(b, "\x81\x00", 2);
    assert_int_equal(sbx_ws_head(b, SBX_WS_OP_BINARY, false, 125, NULL), 2);
    assert_memory_equal(b, "\x02\x7d", 2);
    assert_int_equal(sbx_ws_head(b, SBX_WS_OP_CONT, true, 126, NULL), 4);
    assert_memory_equal(b, "\x80\x7e\x00\x7e", 4);
    assert_int_equal(sbx_ws_head(b, SBX_WS_OP_PING, true, 5, mask), 6);
    assert_memory_equal(b, "\x89\x85\x01\x02\x03\x04", 6);
    assert_int_equal(sbx_ws_head(b, SBX_WS_OP_TEXT, true, 65535, mask), 8);
    assert_memory_equal(b, "\x81\xfe\xff\xff\x01\x02\x03\x04", 8);
    assert_int_equal(sbx_ws_head(b, SBX_WS_OP_TEXT, true, 65536, NULL), 10);
    assert_memory_equal(b, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
    assert_int_equal(sbx_ws_head(b, SBX_WS_OP_BINARY, true, INT64_MAX, mask), 14);
    assert_memory_equal(b, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04", 14);
}

static void test_mask(void **state)
{
    static const unsigned char mask[4] = { 0xa1, 0x02, 0x73, 0xf4 };
    static unsigned char plain[400];
    (void)state;
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (unsigned char)(i * 7 + i / 256);
    for (size_t n = 0; n <= 300; n++)
        for (unsigned shift = 0; shift < 9; shift++)
            for (unsigned at = 0; at < 4; at++) {
                unsigned char *p = (unsigned char *)guarded + ROOM - n - shift;
                uint64_t far = at + (n & 1 ? (uint64_t)1 << 40 : 0);
                memcpy(p, plain, n + shift);
                sbx_ws_mask(p, n, mask, far);
                for (size_t i = 0; i < n + shift; i++)
                    if (p[i] != (i < n ? plain[i] ^ mask[(i + at) & 3] : plain[i]))
                        fail_msg("n %u shift %u at %u byte %u", (unsigned)n, shift, at, (unsigned)i);
                if (n > 64 && shift)
                    break;
            }
    memcpy(guarded, plain, 300);
    sbx_ws_mask(guarded, 300, mask, 3);
    sbx_ws_mask(guarded, 100, mask, 3);
    sbx_ws_mask(guarded + 100, 200, mask, 103);
    assert_memory_equal(guarded, plain, 300);
}

static void test_close_payload(void **state)
{
    static char reason[200], wire[140];
    unsigned char b[125];
    (void)state;
    assert_int_equal(sbx_ws_close_payload(b, 0, sbx_s("x")), 0);
    assert_int_equal(sbx_ws_close_payload(b, 1005, sbx_s(NULL)), 0);
    assert_int_equal(sbx_ws_close_payload(b, 1006, sbx_s("x")), 0);
    assert_int_equal(sbx_ws_close_payload(b, 70000, sbx_s("x")), 0);
    assert_int_equal(sbx_ws_close_payload(b, 1000, sbx_s(NULL)), 2);
    assert_memory_equal(b, "\x03\xe8", 2);
    assert_int_equal(sbx_ws_close_payload(b, 4999, sbx_s("bye")), 5);
    assert_memory_equal(b, "\x13\x87" "bye", 5);
    memset(reason, 'r', sizeof reason);
    assert_int_equal(sbx_ws_close_payload(b, 1001, sbx_sn(reason, 123)), 125);
    assert_int_equal(sbx_ws_close_payload(b, 1001, sbx_sn(reason, 200)), 125);
    memcpy(reason + 121, "\xe2\x82\xac", 3);
    assert_int_equal(sbx_ws_close_payload(b, 1001, sbx_sn(reason, 200)), 123);
    memcpy(reason + 120, "\xe2\x82\xac" "r", 4);
    assert_int_equal(sbx_ws_close_payload(b, 1001, sbx_sn(reason, 200)), 125);
    wire[0] = (char)0x88;
    wire[1] = 125;
    memcpy(wire + 2, b, 125);
    check("own close", 0, 0, wire, 127, NULL);
    assert_memory_equal(log_a, "C1001<rrr", 9);
    assert_string_equal(log_a + strlen(log_a) - 10, "%e2%82%ac>");
}

static void test_handshake(void **state)
{
    char key[24], accept[28], zero[28] = { 0 };
    (void)state;
    sbx_ws_key(key, (const unsigned char *)"the sample nonce");
    assert_memory_equal(key, "dGhlIHNhbXBsZSBub25jZQ==", 24);
    sbx_ws_accept(accept, sbx_sn(key, 24));
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28);
    sbx_ws_key(key, (const unsigned char *)"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10");
    assert_memory_equal(key, "AQIDBAUGBwgJCgsMDQ4PEA==", 24);
    sbx_ws_accept(accept, sbx_sn("dGhlIHNhbXBsZSBub25jZQ===", 25));
    assert_memory_equal(accept, zero, 28);
    memset(accept, 1, 28);
    sbx_ws_accept(accept, sbx_s(NULL));
    assert_memory_equal(accept, zero, 28);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing), cmocka_unit_test(test_ping), cmocka_unit_test(test_reserved), cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_utf8), cmocka_unit_test(test_raw_text), cmocka_unit_test(test_close), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_huge), cmocka_unit_test(test_one_event_a_call), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_head),
        cmocka_unit_test(test_mask), cmocka_unit_test(test_close_payload), cmocka_unit_test(test_handshake),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
