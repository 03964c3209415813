/* parts: yamux */
/* Frames in, event log out: whole, byte by byte, at every split, against guard
   pages. The log joins the pieces of data, so it must not depend on how the
   bytes arrive:
     O1 opened, A1 accepted, D1<..> data, W1+9 window, F1 end of a half, R1
     reset, S<..> a reply to send, P pong, G0 GoAway, E3<..> error.
   Then what is composed: by its bytes, by windows kept over a life, and
   between a client and a server. */
#include "yamux.h"

#include "vectors.h"

enum { DATA, WINDOW, PING, GOAWAY };
enum { SYN = 1, ACK = 2, FIN = 4, RST = 8 };
enum { SLOTS = 4 };

/* ---- frames, written here anew ---- */

typedef struct wire {
    char b[4096];
    size_t n;
} wire;

static void word(wire *w, unsigned long v, unsigned bytes)
{
    while (bytes--)
        w->b[w->n++] = (char)(v >> 8 * bytes & 255);
}

static void frame(wire *w, unsigned type, unsigned flags, unsigned long id, unsigned long n)
{
    word(w, 0, 1);
    word(w, type, 1);
    word(w, flags, 2);
    word(w, id, 4);
    word(w, n, 4);
}

static void data(wire *w, unsigned flags, unsigned long id, const char *text)
{
    frame(w, DATA, flags, id, strlen(text));
    memcpy(w->b + w->n, text, strlen(text));
    w->n += strlen(text);
}

/* ---- runs ---- */

typedef struct run {
    bool server;
    uint32_t window, opens; /* streams opened before the input, each told */
    uint32_t slots;
    bool away;              /* GoAway was sent before it */
    bool pinged;
    sbx_yamux y;
    sbx_yamux_stream table[SLOTS];
    uint32_t joined;        /* whose data is being logged */
    bool failed;
} run;

static void start(void *ctx)
{
    run *r = (run *)ctx;
    unsigned char out[SBX_YAMUX_HEAD];
    memset(r->table, 0xee, sizeof r->table);
    sbx_yamux_init(&r->y, r->server, r->table, r->slots ? r->slots : SLOTS, r->window);
    r->joined = 0;
    r->failed = false;
    for (uint32_t i = 0; i < r->opens; i++)
        assert_int_equal(sbx_yamux_update(&r->y, sbx_yamux_open(&r->y), out), 12);
    if (r->away)
        assert_int_equal(sbx_yamux_goaway(&r->y, SBX_YAMUX_NORMAL, out), 12);
    if (r->pinged)
        assert_int_equal(sbx_yamux_ping(&r->y, out), 12);
}

static void log_event(run *r, vec_log *log, sbx_yamux_kind k, const sbx_yamux_event *ev)
{
    uint32_t id = ev->stream ? ev->stream->id : 0;
    if (r->joined && (k != SBX_YAMUX_DATA || id != r->joined))
        vec_logf(log, ">");
    if (k == SBX_YAMUX_DATA) {
        if (r->joined != id)
            vec_logf(log, "D%u<", (unsigned)id);
        vec_log_bytes(log, ev->p, ev->n);
        r->joined = id;
        return;
    }
    r->joined = 0;
    switch (k) {
    case SBX_YAMUX_OPENED: vec_logf(log, "O%u", (unsigned)id); break;
    case SBX_YAMUX_ACCEPTED: vec_logf(log, "A%u", (unsigned)id); break;
    case SBX_YAMUX_WINDOW: vec_logf(log, "W%u+%u", (unsigned)id, (unsigned)ev->value); break;
    case SBX_YAMUX_EOF: vec_logf(log, "F%u", (unsigned)id); break;
    case SBX_YAMUX_RESET: vec_logf(log, "R%u", (unsigned)id); break;
    case SBX_YAMUX_PONG: vec_logf(log, "P"); break;
    case SBX_YAMUX_GOAWAY: vec_logf(log, "G%u", (unsigned)ev->value); break;
    default:
        if (k == SBX_YAMUX_REPLY)
            vec_logf(log, "S<");
        else
            vec_logf(log, "E%u<", (unsigned)ev->value);
        vec_log_bytes(log, ev->p, ev->n);
        vec_logf(log, ">");
    }
}

static void feed(void *ctx, vec_log *log, char *from, char *end)
{
    run *r = (run *)ctx;
    const char *p = from;
    for (;;) {
        const char *before = p;
        sbx_yamux_event ev;
        sbx_yamux_kind k;
        memset(&ev, 0xee, sizeof ev);
        k = sbx_yamux_read(&r->y, &p, end, &ev);
        assert_true(p >= before && p <= end);
        if (r->failed) {
            assert_int_equal(k, SBX_YAMUX_ERROR);
            assert_int_equal(ev.n, 0);
        }
        if (k == SBX_YAMUX_MORE || r->failed) {
            assert_ptr_equal(p, end);
            return;
        }
        if (k == SBX_YAMUX_DATA)
            assert_true(ev.n && ev.p >= before && ev.p + ev.n == p);
        else if (k == SBX_YAMUX_REPLY || k == SBX_YAMUX_ERROR)
            assert_int_equal(ev.n, 12);
        else
            assert_true(!ev.n && !ev.p);
        assert_int_equal(ev.stream != NULL, k < SBX_YAMUX_REPLY);
        log_event(r, log, k, &ev);
        if (k == SBX_YAMUX_ERROR) {
            r->failed = true;
            assert_ptr_equal(p, end);
        }
    }
}

static void finish(void *ctx, vec_log *log)
{
    if (((run *)ctx)->joined)
        vec_logf(log, ">");
}

static const vec_codec codec = { start, feed, finish };

static void check(run *r, const wire *w, const char *expect)
{
    vec_check(&codec, r, w->b, w->n, expect);
}

/* ---- reading ---- */

static void test_streams(void **state)
{
    run client = { 0 }, server = { 0 };
    wire w = { { 0 }, 0 };
    (void)state;
    client.opens = 2;
    frame(&w, WINDOW, ACK, 1, 0);
    data(&w, 0, 1, "hello ");
    data(&w, ACK, 3, "second");
    data(&w, 0, 1, "");
    data(&w, 0, 1, "world");
    data(&w, FIN, 1, "!");
    frame(&w, WINDOW, FIN, 3, 7);
    frame(&w, WINDOW, 0, 1, 70000);
    check(&client, &w, "A1D1<hello >A3D3<second>D1<world!>F1W3+7F3W1+70000");

    server.server = true;
    w.n = 0;
    data(&w, SYN | FIN, 1, "request");
    frame(&w, WINDOW, SYN, 3, 1000);
    data(&w, 0, 3, "x");
    check(&server, &w, "O1D1<request>F1O3W3+1000D3<x>");
    w.n = 0;
    frame(&w, DATA, SYN, 1, 9); /* known before its data comes */
    check(&server, &w, "O1");
}

static void test_reset(void **state)
{
    run r = { 0 };
    wire w = { { 0 }, 0 };
    (void)state;
    r.opens = 2;
    data(&w, RST | FIN | ACK, 1, "what is not delivered");
    data(&w, 0, 3, "goes on");
    data(&w, FIN, 1, "late");
    data(&w, FIN, 1, "later");
    frame(&w, WINDOW, 0, 1, 5);
    check(&r, &w, "R1D3<goes on>");
    w.n = 0;
    data(&w, SYN | RST, 2, "born dead");
    frame(&w, WINDOW, RST, 1, 0);
    check(&r, &w, "O2R2R1");
}

static void test_unknown_streams(void **state)
{
    run r = { 0 };
    wire w = { { 0 }, 0 };
    (void)state;
    r.server = true;
    r.slots = 1;
    data(&w, 0, 7, "of a stream that was refused");
    frame(&w, WINDOW, FIN, 7, 5);
    data(&w, SYN, 1, "first");
    data(&w, SYN, 3, "too many");
    frame(&w, WINDOW, SYN | RST, 5, 0);
    data(&w, 0, 1, " on");
    check(&r, &w, "O1D1<first>S<\\x00\\x01\\x00\\x08\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x00>D1< on>");
    r.away = true;
    check(&r, &w,
          "S<\\x00\\x01\\x00\\x08\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00>S<\\x00\\x01\\x00\\x08\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x00>");
}

static void test_session(void **state)
{
    run r = { 0 };
    wire w = { { 0 }, 0 };
    (void)state;
    r.opens = 1;
    frame(&w, PING, SYN, 0, 0x01020304);
    frame(&w, PING, ACK, 0, 1);
    data(&w, 0, 1, "a");
    frame(&w, GOAWAY, 0, 0, 0);
    data(&w, 0, 1, "b");
    frame(&w, GOAWAY, 0, 0, 99);
    check(&r, &w, "S<\\x00\\x02\\x00\\x02\\x00\\x00\\x00\\x00\\x01\\x02\\x03\\x04>D1<a>G0D1<b>G99");
    r.pinged = true; /* by the value 1 */
    check(&r, &w, "S<\\x00\\x02\\x00\\x02\\x00\\x00\\x00\\x00\\x01\\x02\\x03\\x04>PD1<a>G0D1<b>G99");
    w.n = 0;
    frame(&w, PING, ACK, 0, 2);
    frame(&w, PING, ACK, 0, 1);
    frame(&w, PING, ACK, 0, 1);
    frame(&w, PING, 0, 0, 1);
    check(&r, &w, "P");
    w.n = 0;
    frame(&w, PING, 0xFFF0, 0, 1); /* flags of a time to come */
    frame(&w, WINDOW, 0xFFF0, 1, 3);
    check(&r, &w, "PW1+3");
}

#define AWAY "<\\x00\\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01>"

/* One frame that breaks the protocol, behind data that was right. */
static void broken(run *r, unsigned version, unsigned type, unsigned flags, unsigned long id, unsigned long n, const char *expect)
{
    wire w = { { 0 }, 0 };
    char log[128];
    size_t at;
    data(&w, FIN, 1, "ok");
    at = w.n;
    frame(&w, type, flags, id, n);
    w.b[at] = (char)version;
    data(&w, 0, 3, "unread");
    snprintf(log, sizeof log, "D1<ok>F1%s" AWAY, expect);
    check(r, &w, log);
}

static void test_errors(void **state)
{
    run r = { 0 }, server = { 0 };
    wire w = { { 0 }, 0 };
    (void)state;
    r.opens = 2;
    broken(&r, 1, DATA, 0, 3, 0, "E1");
    broken(&r, 255, DATA, 0, 3, 0, "E1");
    broken(&r, 0, 4, 0, 0, 0, "E2");
    broken(&r, 0, 255, 0, 0, 0, "E2");
    broken(&r, 0, DATA, 0, 0, 0, "E3");
    broken(&r, 0, WINDOW, 0, 0, 0, "E3");
    broken(&r, 0, PING, SYN, 1, 0, "E3");
    broken(&r, 0, GOAWAY, 0, 1, 0, "E3");
    broken(&r, 0, WINDOW, SYN, 5, 0, "E3");     /* our parity */
    broken(&r, 0, WINDOW, SYN, 3, 0, "E3");
    broken(&r, 0, DATA, 0, 5, 1, "E3");         /* of ours, never opened */
    broken(&r, 0, WINDOW, 0, 0xFFFFFFFF, 1, "E3");
    broken(&r, 0, WINDOW, FIN, 1, 0, "E5");
    broken(&r, 0, DATA, 0, 1, 1, "E5");
    broken(&r, 0, DATA, 0, 3, 262145, "E6");
    broken(&r, 0, DATA, 0, 3, 0xFFFFFFFF, "E6");
    broken(&r, 0, DATA, 0, 2, 262145, "E6");    /* to be skipped, yet more than any window */
    broken(&r, 0, DATA, SYN, 2, 262145, "E6");
    broken(&r, 0, WINDOW, 0, 3, 0xFFFFFFFF - 262143, "E7");
    server.server = true;
    data(&w, SYN, 1, "ok");
    frame(&w, WINDOW, SYN, 1, 0);
    check(&server, &w, "O1D1<ok>E4" AWAY);
}

/* The window that `open` data frames may fill, to the byte. */
static void test_receive_window(void **state)
{
    static char zeros[65536];
    sbx_yamux y;
    sbx_yamux_stream table[2], *s;
    sbx_yamux_event ev;
    unsigned char out[SBX_YAMUX_HEAD];
    wire w = { { 0 }, 0 };
    const char *p;
    (void)state;
    for (unsigned over = 0; over < 2; over++) {
        sbx_yamux_init(&y, false, table, 2, 0);
        s = sbx_yamux_open(&y);
        assert_int_equal(sbx_yamux_update(&y, s, out), 12);
        for (unsigned i = 0; i < 4; i++) {
            w.n = 0;
            frame(&w, DATA, 0, 1, sizeof zeros);
            p = w.b;
            assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_MORE);
            p = zeros;
            assert_int_equal(sbx_yamux_read(&y, &p, zeros + sizeof zeros, &ev), SBX_YAMUX_DATA);
            assert_int_equal(ev.n, sizeof zeros);
            assert_int_equal(sbx_yamux_update(&y, s, out), 0); /* nothing was consumed */
        }
        assert_int_equal(s->held, 262144);
        assert_int_equal(s->recv, 0);
        sbx_yamux_consumed(s, 131071);
        assert_int_equal(sbx_yamux_update(&y, s, out), 0);
        sbx_yamux_consumed(s, 1);
        assert_int_equal(sbx_yamux_update(&y, s, out), 12);
        assert_memory_equal(out, "\0\1\0\0" "\0\0\0\1" "\0\2\0\0", 12);
        assert_int_equal(sbx_yamux_update(&y, s, out), 0);
        w.n = 0;
        frame(&w, DATA, 0, 1, 131072 + over);
        p = w.b;
        assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), over ? SBX_YAMUX_ERROR : SBX_YAMUX_MORE);
        assert_int_equal(ev.value, over ? SBX_YAMUX_BAD_LENGTH : 0);
    }
}

/* Sends n bytes on stream 1 and counts what is credited when all is consumed at once. */
static uint32_t credited(sbx_yamux *y, sbx_yamux_stream *s, uint32_t n)
{
    static char zeros[65536];
    unsigned char out[SBX_YAMUX_HEAD];
    uint32_t sum = 0;
    while (n) {
        uint32_t k = n < sizeof zeros ? n : (uint32_t)sizeof zeros;
        wire w = { { 0 }, 0 };
        const char *p = w.b;
        sbx_yamux_event ev;
        frame(&w, DATA, 0, s->id, k);
        assert_int_equal(sbx_yamux_read(y, &p, w.b + w.n, &ev), SBX_YAMUX_MORE);
        p = zeros;
        assert_int_equal(sbx_yamux_read(y, &p, zeros + k, &ev), SBX_YAMUX_DATA);
        sbx_yamux_consumed(s, k);
        if (sbx_yamux_update(y, s, out))
            sum += (uint32_t)out[8] << 24 | (uint32_t)out[9] << 16 | (uint32_t)out[10] << 8 | out[11];
        n -= k;
    }
    return sum;
}

static void test_window_sizes(void **state)
{
    static const uint32_t windows[] = { 1, 2, 4096, 65536, 262144, 262145, 1048576, 0xFFFFFFFF };
    sbx_yamux y;
    sbx_yamux_stream table[1], *s;
    unsigned char out[SBX_YAMUX_HEAD];
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        uint32_t window = windows[i], first;
        sbx_yamux_init(&y, false, table, 1, window);
        s = sbx_yamux_open(&y);
        assert_int_equal(sbx_yamux_update(&y, s, out), 12);
        first = (uint32_t)out[8] << 24 | (uint32_t)out[9] << 16 | (uint32_t)out[10] << 8 | out[11];
        /* A larger window is told with the stream's beginning, if it is worth it. */
        assert_int_equal(first, window >= 524288 ? window - 262144 : 0);
        /* A smaller one holds when the first 256 KiB are over. */
        credited(&y, s, 262144);
        assert_true(s->recv <= window && s->recv >= window - window / 2);
        assert_int_equal(s->held, 0);
        if (window >= 4096)
            assert_true(credited(&y, s, window / 2) <= window);
    }
}

/* ---- writing ---- */

static void test_open(void **state)
{
    sbx_yamux y;
    sbx_yamux_stream table[2], *a, *b;
    sbx_yamux_event ev;
    unsigned char out[SBX_YAMUX_HEAD];
    wire w = { { 0 }, 0 };
    const char *p = w.b;
    size_t n = 3;
    (void)state;
    sbx_yamux_init(&y, false, table, 2, 0);
    a = sbx_yamux_open(&y);
    b = sbx_yamux_open(&y);
    assert_true(a && b && a != b && !a->user);
    assert_int_equal(a->id, 1);
    assert_int_equal(b->id, 3);
    assert_null(sbx_yamux_open(&y));
    assert_int_equal(sbx_yamux_data(a, &n, out), 12);
    assert_memory_equal(out, "\0\0\0\1" "\0\0\0\1" "\0\0\0\3", 12);
    assert_int_equal(n, 3);
    assert_int_equal(sbx_yamux_data(a, &n, out), 12);
    assert_memory_equal(out, "\0\0\0\0" "\0\0\0\1" "\0\0\0\3", 12);
    assert_int_equal(sbx_yamux_update(&y, b, out), 12);
    assert_memory_equal(out, "\0\1\0\1" "\0\0\0\3" "\0\0\0\0", 12);
    assert_int_equal(sbx_yamux_drop(&y, a, out), 12);
    assert_memory_equal(out, "\0\1\0\10" "\0\0\0\1" "\0\0\0\0", 12);
    a = sbx_yamux_open(&y);
    assert_int_equal(a->id, 5);
    assert_int_equal(sbx_yamux_drop(&y, a, out), 0); /* the peer was never told */
    frame(&w, GOAWAY, 0, 0, 0);
    assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_GOAWAY);
    assert_null(sbx_yamux_open(&y));
    assert_int_equal(sbx_yamux_drop(&y, b, out), 12);

    sbx_yamux_init(&y, true, table, 2, 0);
    assert_int_equal(sbx_yamux_open(&y)->id, 2);
    assert_int_equal(sbx_yamux_goaway(&y, SBX_YAMUX_INTERNAL, out), 12);
    assert_memory_equal(out, "\0\3\0\0" "\0\0\0\0" "\0\0\0\2", 12);
    assert_null(sbx_yamux_open(&y));
}

static void test_ids_used_up(void **state)
{
    sbx_yamux y;
    sbx_yamux_stream table[1], *s;
    unsigned char out[SBX_YAMUX_HEAD];
    (void)state;
    for (unsigned server = 0; server < 2; server++) {
        sbx_yamux_init(&y, server, table, 1, 0);
        y.next_id = 0xFFFFFFFB + server;
        for (unsigned i = 0; i < 1 + !server; i++) {
            s = sbx_yamux_open(&y);
            assert_non_null(s);
            assert_int_equal(s->id & 1, !server);
            sbx_yamux_drop(&y, s, out);
        }
        assert_null(sbx_yamux_open(&y));
    }
}

static void test_send(void **state)
{
    sbx_yamux y;
    sbx_yamux_stream table[1], *s;
    sbx_yamux_event ev;
    unsigned char out[SBX_YAMUX_HEAD];
    wire w = { { 0 }, 0 };
    const char *p = w.b;
    size_t n = 0;
    (void)state;
    sbx_yamux_init(&y, false, table, 1, 0);
    s = sbx_yamux_open(&y);
    assert_int_equal(sbx_yamux_data(s, &n, out), 0); /* nothing */
    n = 300000;
    assert_int_equal(sbx_yamux_data(s, &n, out), 12);
    assert_int_equal(n, 262144);
    assert_memory_equal(out, "\0\0\0\1" "\0\0\0\1" "\0\4\0\0", 12);
    assert_int_equal(sbx_yamux_sendable(s), 0);
    n = 37856;
    assert_int_equal(sbx_yamux_data(s, &n, out), 0);
    assert_int_equal(n, 0);
    frame(&w, WINDOW, ACK, 1, 50000);
    assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_ACCEPTED);
    assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_WINDOW);
    assert_int_equal(ev.value, 50000);
    assert_int_equal(sbx_yamux_sendable(s), 50000);
    n = 37856;
    assert_int_equal(sbx_yamux_data(s, &n, out), 12);
    assert_memory_equal(out, "\0\0\0\0" "\0\0\0\1" "\0\0\x93\xe0", 12);
    assert_int_equal(n, 37856);
    /* The end never rides on data. */
    assert_int_equal(sbx_yamux_end(s, out), 12);
    assert_memory_equal(out, "\0\1\0\4" "\0\0\0\1" "\0\0\0\0", 12);
    assert_int_equal(sbx_yamux_sendable(s), 0);
    n = 1;
    assert_int_equal(sbx_yamux_data(s, &n, out), 0);
    assert_int_equal(sbx_yamux_end(s, out), 0); /* said before */
    w.n = 0;
    data(&w, FIN, 1, "x");
    p = w.b;
    assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_DATA);
    assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_EOF);
    assert_int_equal(sbx_yamux_drop(&y, s, out), 0); /* both halves have ended */
    assert_int_equal(s->id, 0);
}

/* An end alone is a frame of its own; a peer that has ended needs no window. */
static void test_half_close(void **state)
{
    sbx_yamux y;
    sbx_yamux_stream table[1], *s;
    sbx_yamux_event ev;
    unsigned char out[SBX_YAMUX_HEAD];
    wire w = { { 0 }, 0 };
    const char *p = w.b;
    size_t n = 0;
    (void)state;
    sbx_yamux_init(&y, true, table, 1, 4);
    data(&w, SYN | FIN, 9, "bye");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), i == 0 ? SBX_YAMUX_OPENED : i == 1 ? SBX_YAMUX_DATA : SBX_YAMUX_EOF);
    s = ev.stream;
    sbx_yamux_consumed(s, 3);
    assert_int_equal(sbx_yamux_update(&y, s, out), 12); /* the ACK alone */
    assert_memory_equal(out, "\0\1\0\2" "\0\0\0\11" "\0\0\0\0", 12);
    assert_int_equal(sbx_yamux_update(&y, s, out), 0);
    n = 5;
    assert_int_equal(sbx_yamux_data(s, &n, out), 12);
    assert_int_equal(sbx_yamux_end(s, out), 12);
    assert_memory_equal(out, "\0\1\0\4" "\0\0\0\11" "\0\0\0\0", 12);
    w.n = 0;
    frame(&w, WINDOW, 0, 9, 5); /* for what it read before our end */
    p = w.b;
    assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_WINDOW);
    assert_int_equal(sbx_yamux_drop(&y, s, out), 0);
}

/* A stream dropped in the midst of a frame: the rest of it is skipped. */
static void test_drop_inside(void **state)
{
    for (size_t cut = 0; cut <= 10; cut++) {
        sbx_yamux y;
        sbx_yamux_stream table[2], *s;
        sbx_yamux_event ev;
        unsigned char out[SBX_YAMUX_HEAD];
        wire w = { { 0 }, 0 };
        const char *p = w.b;
        (void)state;
        sbx_yamux_init(&y, false, table, 2, 0);
        s = sbx_yamux_open(&y);
        sbx_yamux_update(&y, s, out);
        sbx_yamux_update(&y, sbx_yamux_open(&y), out);
        data(&w, FIN, 1, "0123456789");
        data(&w, 0, 3, "other");
        if (sbx_yamux_read(&y, &p, w.b + 12 + cut, &ev) != SBX_YAMUX_MORE) {
            assert_int_equal(ev.n, cut);
            assert_int_equal(s->held, cut);
        }
        assert_int_equal(sbx_yamux_drop(&y, s, out), 12);
        assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_DATA);
        assert_int_equal(ev.stream->id, 3);
        assert_memory_equal(ev.p, "other", 5);
    }
}

static void test_reset_is_final(void **state)
{
    sbx_yamux y;
    sbx_yamux_stream table[1], *s;
    sbx_yamux_event ev;
    unsigned char out[SBX_YAMUX_HEAD];
    wire w = { { 0 }, 0 };
    const char *p = w.b;
    size_t n = 4;
    (void)state;
    sbx_yamux_init(&y, false, table, 1, 0);
    s = sbx_yamux_open(&y);
    sbx_yamux_update(&y, s, out);
    frame(&w, WINDOW, RST, 1, 0);
    assert_int_equal(sbx_yamux_read(&y, &p, w.b + w.n, &ev), SBX_YAMUX_RESET);
    assert_ptr_equal(ev.stream, s);
    assert_int_equal(sbx_yamux_sendable(s), 0);
    assert_int_equal(sbx_yamux_data(s, &n, out), 0);
    assert_int_equal(n, 0);
    assert_int_equal(sbx_yamux_end(s, out), 0);
    assert_int_equal(sbx_yamux_update(&y, s, out), 0);
    assert_int_equal(sbx_yamux_drop(&y, s, out), 0);
}

static void test_ping(void **state)
{
    sbx_yamux y;
    sbx_yamux_stream table[1];
    sbx_yamux_event ev;
    unsigned char out[SBX_YAMUX_HEAD];
    const char *p;
    (void)state;
    sbx_yamux_init(&y, false, table, 1, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(sbx_yamux_ping(&y, out), 12);
        assert_memory_equal(out, "\0\2\0\1" "\0\0\0\0" "\0\0\0", 11);
        out[3] = 2;
        p = (const char *)out;
        assert_int_equal(sbx_yamux_read(&y, &p, (const char *)out + 12, &ev), SBX_YAMUX_PONG);
        p = (const char *)out;
        assert_int_equal(sbx_yamux_read(&y, &p, (const char *)out + 12, &ev), SBX_YAMUX_MORE);
    }
}

static void test_reason_texts(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= SBX_YAMUX_BAD_DELTA; i++)
        assert_string_not_equal(sbx_yamux_reason_text(i), sbx_yamux_reason_text(0));
    assert_string_equal(sbx_yamux_reason_text(1000), sbx_yamux_reason_text(0));
}

/* ---- a client and a server ---- */

enum { MANY = 100, EACH = 300 };

/* Many streams come and go in a table of few; each says its number, is echoed,
   and is freed on both sides. */
static void test_both_roles(void **state)
{
    static sbx_yamux_stream mine[7], theirs[7];
    sbx_yamux c, s;
    unsigned opened = 0, done = 0;
    unsigned char out[SBX_YAMUX_HEAD];
    (void)state;
    sbx_yamux_init(&c, false, mine, 7, 0);
    sbx_yamux_init(&s, true, theirs, 7, 0);
    while (done < MANY) {
        wire up = { { 0 }, 0 }, down = { { 0 }, 0 };
        const char *p = up.b;
        sbx_yamux_event ev;
        sbx_yamux_kind k;
        for (sbx_yamux_stream *m; opened < MANY && (m = sbx_yamux_open(&c)); opened++) {
            size_t n = EACH;
            up.n += sbx_yamux_data(m, &n, (unsigned char *)up.b + up.n);
            assert_int_equal(n, EACH);
            memset(up.b + up.n, (int)(m->id & 255), n);
            up.n += n;
            up.n += sbx_yamux_end(m, (unsigned char *)up.b + up.n);
        }
        while ((k = sbx_yamux_read(&s, &p, up.b + up.n, &ev)) != SBX_YAMUX_MORE) {
            size_t n = ev.n;
            assert_true(k == SBX_YAMUX_OPENED || k == SBX_YAMUX_DATA || k == SBX_YAMUX_EOF);
            if (k == SBX_YAMUX_OPENED)
                continue;
            if (k == SBX_YAMUX_EOF) {
                down.n += sbx_yamux_end(ev.stream, (unsigned char *)down.b + down.n);
                assert_int_equal(sbx_yamux_drop(&s, ev.stream, out), 0);
                continue;
            }
            down.n += sbx_yamux_data(ev.stream, &n, (unsigned char *)down.b + down.n);
            assert_int_equal((unsigned char)*ev.p, ev.stream->id & 255);
            memcpy(down.b + down.n, ev.p, n);
            down.n += n;
        }
        p = down.b;
        while ((k = sbx_yamux_read(&c, &p, down.b + down.n, &ev)) != SBX_YAMUX_MORE) {
            if (k == SBX_YAMUX_DATA) {
                assert_int_equal(ev.n, EACH);
                assert_int_equal((unsigned char)*ev.p, ev.stream->id & 255);
            } else if (k == SBX_YAMUX_EOF) {
                assert_int_equal(sbx_yamux_drop(&c, ev.stream, out), 0);
                done++;
            } else {
                assert_int_equal(k, SBX_YAMUX_ACCEPTED);
            }
        }
    }
    for (unsigned i = 0; i < 7; i++)
        assert_true(!mine[i].id && !theirs[i].id);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams), cmocka_unit_test(test_reset), cmocka_unit_test(test_unknown_streams), cmocka_unit_test(test_session),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_receive_window), cmocka_unit_test(test_window_sizes), cmocka_unit_test(test_open),
        cmocka_unit_test(test_ids_used_up), cmocka_unit_test(test_send), cmocka_unit_test(test_half_close), cmocka_unit_test(test_drop_inside),
        cmocka_unit_test(test_reset_is_final), cmocka_unit_test(test_ping), cmocka_unit_test(test_reason_texts), cmocka_unit_test(test_both_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
