/* Broken and mean servers behind the WebSocket handshake. */
#include "e2e.h"
#include "front.h"

#include <sys/ioctl.h>

static sbx_box b = { "i", "n", "" };

static sbx_client *victim(const peer *p)
{
    sbx_client_desc d = { .endpoint = p->base, .api_key = "k", .timeout_ms = 400, .ws_open_ms = 400, .ws_ping_interval_ms = SBX_FOREVER,
                          .ws_connect_budget_ms = 1, .max_retries = SBX_NONE, .ws_close_ms = 50 };

    strcpy(b.url, p->base);
    return e2e_open(&d);
}

static void unharmed(sbx_client *cl)
{
    sbx_usage u;

    sbx_get_usage(cl, &u);
    assert_int_equal(u.ops, 0);
    assert_int_equal(u.requests, 0);
    assert_true(u.rx_high <= 4 && u.tx_high <= 4);
    sbx_close(cl);
}

static e2e_run run(sbx_client *cl, const sbx_run_opts *more)
{
    sbx_run_opts o = more ? *more : (sbx_run_opts){ 0 };

    o.no_reconnect = true;
    return e2e_collect(cl, sbx_command(cl, &b, sbx_s("x"), &o));
}

/* ---- handshakes ---- */

static void say(int fd, void *arg)
{
    char head[4096];

    if (peer_head(fd, head, sizeof head))
        peer_say(fd, arg);
}

static void handshakes(void **state)
{
    static const struct {
        const char *answer;
        sbx_code code;
        sbx_layer layer;
        int status;
    } cases[] = {
        { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", SBX_ERR_PROTOCOL, SBX_LAYER_WS, 101 },
        { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", SBX_ERR_PROTOCOL, SBX_LAYER_WS, 101 },
        { "HTTP/1.1 101 Switching Protocols\r\n\r\n", SBX_ERR_PROTOCOL, SBX_LAYER_WS, 101 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, 200 },
        { "HTTP/1.1 301 Moved\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n", SBX_ERR_SERVER, SBX_LAYER_SERVICE, 301 },
        { "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", SBX_ERR_SERVER, SBX_LAYER_SERVICE, 426 },
        { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", SBX_ERR_NO_ENDPOINT, SBX_LAYER_SERVICE, 404 },
        { "", SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer p = front_start(say, (void *)(uintptr_t)cases[i].answer);
        sbx_client *cl = victim(&p);
        e2e_run r = run(cl, NULL);

        if (r.code != cases[i].code || r.error.layer != cases[i].layer || r.error.status != cases[i].status)
            fail_msg("%u: %s, layer %d, status %d: %s", (unsigned)i, sbx_code_name(r.code), r.error.layer, r.error.status, r.error.text);
        assert_int_equal(r.started + r.retries, 0);
        e2e_free(&r);
        unharmed(cl);
        front_stop(&p);
    }
}

/* ---- frames ---- */

typedef struct frames {
    const char *name;
    const char *p; /* behind `started`, raw; else (n = 0) text messages, each ended by a line */
    size_t n;
    sbx_code code;
    sbx_layer layer;
    int status; /* the close code, 0 = none */
    const char *out;
} frames;

#define STARTED "{\"type\":\"started\",\"command_id\":\"%s\",\"pid\":7}"

/* The id that the client chose, out of its hello. */
static bool start(int fd)
{
    char hello[2048], id[40], text[128];
    const char *at;

    if (!peer_upgrade(fd, hello, sizeof hello) || !(at = strstr(hello, "\"command_id\":\"")))
        return false;
    snprintf(id, sizeof id, "%.36s", at + 14);
    snprintf(text, sizeof text, STARTED, id);
    return peer_text(fd, text);
}

static void say_frames(int fd, void *arg)
{
    const frames *f = arg;

    if (!start(fd))
        return;
    if (f->n)
        peer_send(fd, f->p, f->n);
    else
        for (const char *at = f->p; *at; at += strcspn(at, "\n") + 1)
            peer_frame(fd, SBX_WS_OP_TEXT, at, strcspn(at, "\n"));
}

#define RAW(text) text, sizeof(text) - 1
#define TEXT(text) text, 0
#define EXIT "{\"type\":\"exit\",\"exit_code\":0}\n"

static const frames broken[] = {
    { "the end", TEXT(""), SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0, "" },
    { "half a frame head", RAW("\x81"), SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0, "" },
    { "half a frame", RAW("\x81\x40{\"type\":"), SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0, "" },
    { "a close", RAW("\x88\x02\x03\xe8"), SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 1000, "" },
    { "a close of a reason", RAW("\x88\x06\x0f\xa0okay"), SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 4000, "" },
    { "a close of no code", RAW("\x88\x00"), SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 1005, "" },
    { "a close of one byte", RAW("\x88\x01\x03"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "a close that may not be sent", RAW("\x88\x02\x03\xed"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "a close that is no UTF-8", RAW("\x88\x03\x03\xe8\xff"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "a masked frame", RAW("\x81\x82\1\2\3\4zz"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "RSV1", RAW("\xc1\x02{}"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "RSV3", RAW("\x91\x02{}"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "opcode 3", RAW("\x83\x02{}"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "opcode 15", RAW("\x8f\x02{}"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "a ping of 126", RAW("\x89\x7e\x00\x7e"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "half a ping", RAW("\x09\x00"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "a rest of nothing", RAW("\x80\x02{}"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "two messages in one", RAW("\x01\x01{\x81\x01}"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "a length of 2^63", RAW("\x81\x7f\x80\0\0\0\0\0\0\0"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "a length not at its shortest", RAW("\x81\x7e\x00\x02{}"), SBX_ERR_PROTOCOL, SBX_LAYER_WS, 0, "" },
    { "no JSON", TEXT("hello\n"), SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 0, "" },
    { "no whole JSON", TEXT("{\"a\":\n"), SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 0, "" },
    { "no message", TEXT("\n"), SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 0, "" },
    { "more than a message", TEXT("{}{}\n"), SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 0, "" },
    { "no UTF-8", TEXT("{\"type\":\"stdout\",\"data\":\"a\xff" "b\"}\n"), SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 0, "" },
    { "a bare control character", TEXT("{\"type\":\"stdout\",\"data\":\"a\tb\"}\n"), SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 0, "" },
    { "depth", TEXT("{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n"), SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 0, "" },
    /* What is only odd is no error. */
    { "a lone surrogate", TEXT("{\"type\":\"stdout\",\"data\":\"a\\ud800b\"}\n" EXIT), SBX_OK, SBX_LAYER_NONE, 0, "a\xef\xbf\xbd" "b" },
    { "arrays, numbers, nulls", TEXT("[1]\n7\nnull\n\"x\"\n{\"type\":null}\n{\"type\":{\"type\":\"exit\"}}\n{\"type\":\"future\"}\n{}\n" EXIT), SBX_OK, SBX_LAYER_NONE, 0, "" },
    { "output without an offset", TEXT("{\"type\":\"stdout\",\"data\":\"abc\"}\n" EXIT), SBX_OK, SBX_LAYER_NONE, 0, "abc" },
    { "output that is no text", TEXT("{\"type\":\"stdout\",\"data\":[7]}\n{\"type\":\"stdout\",\"data\":7}\n{\"type\":\"stdout\"}\n" EXIT), SBX_OK, SBX_LAYER_NONE, 0, "" },
    { "fragments and pings in between", RAW("\x01\x0a{\"type\":\"s\x89\x02hi\x00\x08tdout\",\"\x8a\x00\x80\x0d" "data\":\"abc\"} \x81\x1e{\"type\":\"exit\",\"exit_code\":0} "), SBX_OK, SBX_LAYER_NONE, 0, "abc" },
    { "an unknown error", TEXT("{\"type\":\"error\",\"error_type\":\"New\",\"x\":1}\n"), SBX_ERR_COMMAND, SBX_LAYER_SERVICE, 0, "" },
    { "an error of nothing", TEXT("{\"type\":\"error\"}\n"), SBX_ERR_COMMAND, SBX_LAYER_SERVICE, 0, "" },
};

static void bad_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const frames *f = &broken[i];
        peer p = front_start(say_frames, (void *)(uintptr_t)f);
        sbx_client *cl = victim(&p);
        e2e_run r = run(cl, NULL);

        if (r.code != f->code || r.error.layer != f->layer || r.error.status != f->status)
            fail_msg("%s: %s, layer %d, status %d: %s", f->name, sbx_code_name(r.code), r.error.layer, r.error.status, r.error.text);
        assert_int_equal(r.started, 1);
        assert_int_equal(r.pid, 7);
        if (strcmp(r.out.p, f->out) != 0)
            fail_msg("%s: output '%s'", f->name, r.out.p);
        e2e_free(&r);
        unharmed(cl);
        front_stop(&p);
    }
}

/* ---- messages ---- */

static void say_messages(int fd, void *arg)
{
    const char *const *m = arg;

    if (!start(fd))
        return;
    for (; *m; m++)
        if (!peer_text(fd, *m))
            return;
}

static void offsets(void **state)
{
    static const char *const messages[] = {
        "{\"type\":\"stdout\",\"data\":\"abc\",\"offset\":0}", "{\"offset\":0,\"data\":\"abcd\",\"type\":\"stdout\"}", /* told again, and more */
        "{\"type\":\"stdout\",\"data\":\"bc\",\"offset\":1}", "{\"data\":\"e\",\"type\":\"stdout\",\"offset\":4}",
        "{\"type\":\"stdout\",\"data\":\"xyz\",\"offset\":100}", /* 95 bytes are missing */
        "{\"type\":\"stderr\",\"data\":\"err\",\"offset\":18446744073709551615}",
        "{\"type\":\"started\",\"command_id\":\"another\",\"pid\":9}", "{\"type\":\"stdout\",\"data\":\"!\",\"offset\":103}",
        "{\"type\":\"exit\",\"exit_code\":-9}", "{\"type\":\"stdout\",\"data\":\"late\",\"offset\":104}", NULL
    };
    peer p = front_start(say_messages, (void *)(uintptr_t)messages);
    sbx_client *cl = victim(&p);
    e2e_run r = run(cl, NULL);

    (void)state;
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, -9);
    SAME(r.out, "abcdexyz!");
    SAME(r.err, "err");
    assert_int_equal(r.gaps, 2);
    assert_int_equal(r.started, 1);
    e2e_free(&r);
    unharmed(cl);
    front_stop(&p);
}

static void numbers(void **state)
{
    static const char *const texts[] = { "2147483647", "2147483648", "-99999999999999999999", "1e3", "\"5\"", "null" };
    static const int codes[] = { 2147483647, 2147483647, -1, -1, -1, -1 };

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char exit_message[96];
        const char *messages[] = { exit_message, NULL };
        peer p;
        sbx_client *cl;
        e2e_run r;

        snprintf(exit_message, sizeof exit_message, "{\"type\":\"exit\",\"exit_code\":%s}", texts[i]);
        p = front_start(say_messages, messages);
        cl = victim(&p);
        r = run(cl, NULL);
        assert_int_equal(r.code, SBX_OK);
        assert_int_equal(r.exit_code, codes[i]);
        e2e_free(&r);
        unharmed(cl);
        front_stop(&p);
    }
}

/* One message of 64 MiB passes through a buffer of 16 KiB. */
static void huge(int fd, void *arg)
{
    enum { TEXT = 64 << 20, PIECE = 1 << 16 };
    static char piece[PIECE];
    unsigned char head[SBX_WS_HEAD_MAX];
    const char *before = arg, *behind = "\"}";
    size_t n = strlen(before) + TEXT + 2;

    if (!start(fd))
        return;
    for (unsigned i = 0; i < PIECE; i++)
        piece[i] = (char)('a' + i % 23);
    if (!peer_send(fd, head, sbx_ws_head(head, SBX_WS_OP_TEXT, true, n, NULL)) || !peer_say(fd, before))
        return;
    for (unsigned i = 0; i < TEXT / PIECE; i++)
        if (!peer_send(fd, piece, PIECE))
            return;
    if (peer_say(fd, behind))
        peer_text(fd, "{\"type\":\"exit\",\"exit_code\":0}");
}

static void huge_message(void **state)
{
    peer p = front_start(huge, "{\"type\":\"stdout\",\"offset\":0,\"data\":\"");
    sbx_client *cl = victim(&p);
    sbx_op op = sbx_command(cl, &b, sbx_s("x"), NULL);
    sbx_event ev;
    uint64_t total = 0;
    e2e_run r;

    (void)state;
    while (sbx_next_of(cl, &op, &ev) && ev.kind != SBX_EV_END) {
        if (ev.kind != SBX_EV_STDOUT)
            continue;
        assert_int_equal(ev.offset, total);
        for (size_t i = 0; i < ev.data.n; i++, total++)
            if (ev.data.p[i] != (char)('a' + total % 65536 % 23))
                fail_msg("byte %lu", (unsigned long)total);
    }
    assert_int_equal(ev.code, SBX_OK);
    assert_int_equal(total, 64 << 20);
    unharmed(cl);
    front_stop(&p);

    /* The same before its type is known: nobody's output. */
    p = front_start(huge, "{\"data\":\"");
    cl = victim(&p);
    r = run(cl, NULL);
    assert_int_equal(r.code, SBX_ERR_TOO_LARGE);
    assert_int_equal(r.out.n, 0);
    e2e_free(&r);
    unharmed(cl);
    front_stop(&p);

    /* A value of no interest is only passed over. */
    p = front_start(huge, "{\"type\":\"stdout\",\"other\":\"");
    cl = victim(&p);
    r = run(cl, NULL);
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.out.n, 0);
    e2e_free(&r);
    unharmed(cl);
    front_stop(&p);
}

/* ---- storms ---- */

static void storm(int fd, void *arg)
{
    unsigned pings = 0, pongs = 0;
    char text[256];
    bool counted = *(const bool *)arg;

    if (!start(fd))
        return;
    if (!counted) /* without end, and without reading what comes back */
        while (peer_frame(fd, SBX_WS_OP_PING, "0123456789", 10))
            ;
    for (pings = 0; pings < 20000; pings++) {
        int waiting = 0;

        if (!peer_frame(fd, SBX_WS_OP_PING, "ping!", 5))
            return;
        while (ioctl(fd, FIONREAD, &waiting) == 0 && waiting >= 11) {
            peer_message(fd, text, sizeof text);
            pongs++;
        }
    }
    for (; pongs < pings; pongs++) {
        long n = peer_message(fd, text, sizeof text);

        if (n != 5 || memcmp(text, "ping!", 5) != 0)
            return; /* seen as a lost stream */
    }
    peer_text(fd, "{\"type\":\"exit\",\"exit_code\":42}");
}

static void pings(void **state)
{
    bool counted = true;
    peer p = front_start(storm, &counted);
    sbx_client *cl = victim(&p);
    e2e_run r = run(cl, NULL);

    (void)state;
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 42);
    e2e_free(&r);
    unharmed(cl);
    front_stop(&p);

    counted = false;
    p = front_start(storm, &counted);
    cl = victim(&p);
    r = run(cl, &(sbx_run_opts){ .call = { .total_ms = 700 } });
    assert_int_equal(r.code, SBX_ERR_DEADLINE);
    assert_int_equal(r.started, 1);
    e2e_free(&r);
    unharmed(cl);
    front_stop(&p);
}

static void chatter(int fd, void *arg)
{
    const char *text = arg;

    if (start(fd))
        while (peer_text(fd, text))
            ;
}

/* Endless messages keep nobody from his deadline, nor the next operation from
   its turn. */
static void endless(void **state)
{
    static const char *const texts[] = { "{\"type\":\"future\",\"x\":[1,2,3]}", "{\"type\":\"stdout\",\"data\":\"\",\"offset\":0}",
                                         "{\"type\":\"stdout\",\"data\":\"again\",\"offset\":0}" };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        peer p = front_start(chatter, (void *)(uintptr_t)texts[i]);
        sbx_client *cl = victim(&p);
        sbx_result result;
        e2e_run r = run(cl, &(sbx_run_opts){ .call = { .total_ms = 400 } });

        assert_int_equal(r.code, SBX_ERR_DEADLINE);
        SAME(r.out, i == 2 ? "again" : "");
        e2e_free(&r);
        FAILS_ON(cl, sbx_run(cl, &b, sbx_s("x"), &(sbx_run_opts){ .call = { .total_ms = 400 }, .discard = true }, &result), SBX_ERR_DEADLINE);
        unharmed(cl);
        front_stop(&p);
    }
}

/* It takes the handshake and nothing more. */
static void silent(int fd, void *arg)
{
    char rest[64];

    (void)arg;
    peer_upgrade(fd, NULL, 0);
    while (recv(fd, rest, sizeof rest, 0) > 0)
        ;
}

static void never_starts(void **state)
{
    peer p = front_start(silent, NULL);
    sbx_client *cl = victim(&p);
    e2e_run r = run(cl, NULL);

    (void)state;
    assert_int_equal(r.code, SBX_ERR_DEADLINE);
    assert_int_equal(r.started, 0);
    assert_true(r.error.sent);
    e2e_free(&r);
    unharmed(cl);
    front_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes),
        cmocka_unit_test(bad_frames),
        cmocka_unit_test(offsets),
        cmocka_unit_test(numbers),
        cmocka_unit_test(huge_message),
        cmocka_unit_test(pings),
        cmocka_unit_test(endless),
        cmocka_unit_test(never_starts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
