/* Servers that are broken or mean, over real sockets: whatever they send, an
   operation ends with the right code, the client's memory is what it was, and
   the next operation works. */
#include "e2e.h"
#include "front.h"

#define HEAD_OK "HTTP/1.1 200 OK\r\n"
#define JSON_OK HEAD_OK "Content-Type: application/json\r\n"

/* Bytes to say; `again` for ever, `count` times where that is given. */
typedef struct script {
    const char *first;
    const char *again;
    size_t first_n, again_n;
    unsigned count;
    bool ws;   /* behind the upgrade and hello */
    bool stay; /* nothing more, but the connection stays */
} script;

static void say(int fd, void *arg)
{
    const script *s = arg;
    char head[4096];

    if (s->ws ? !peer_upgrade(fd, NULL, 0) : !peer_head(fd, head, sizeof head))
        return;
    if (s->first && !peer_send(fd, s->first, s->first_n ? s->first_n : strlen(s->first)))
        return;
    for (unsigned i = 0; s->again && (!s->count || i < s->count); i++)
        if (!peer_send(fd, s->again, s->again_n ? s->again_n : strlen(s->again)))
            return;
    while (s->stay && recv(fd, head, sizeof head, 0) > 0)
        ;
}

static sbx_client *victim(const peer *p)
{
    sbx_client_desc d = { .endpoint = p->base, .api_key = "k", .timeout_ms = 300, .ws_open_ms = 300, .ws_ping_interval_ms = SBX_FOREVER,
                          .ws_connect_budget_ms = 1, .max_retries = SBX_NONE, .ws_close_ms = 100 };

    return e2e_open(&d);
}

/* Nothing is held any more, and never more was than the description allows. */
static void unharmed(sbx_client *cl)
{
    sbx_client_desc d = { .endpoint = "http://127.0.0.1:65535/x" };
    sbx_usage u;

    e2e_transport(&d);
    sbx_get_usage(cl, &u);
    assert_int_equal(u.ops, 0);
    assert_int_equal(u.requests, 0);
    assert_true(u.rx_high <= 4 && u.tx_high <= 4);
    assert_true(u.memory <= sbx_client_size(&d) + 64);
    assert_true(u.links <= 1);
    sbx_close(cl);
}

/* ---- answers ---- */

typedef struct http_case {
    const char *name;
    script s;
    sbx_code code;
    sbx_layer layer;
    int status;
} http_case;

#define A16 "aaaaaaaaaaaaaaaa"
#define A256 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16
#define DEEP "[[[[[[[[[[[[[[[["

static const http_case answers[] = {
    { "closes at once", { 0 }, SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0 },
    { "never answers", { .stay = true }, SBX_ERR_DEADLINE, SBX_LAYER_TRANSPORT, 0 },
    { "half a status line", { .first = "HTTP/1.", .stay = true }, SBX_ERR_DEADLINE, SBX_LAYER_TRANSPORT, 0 },
    { "half a status line, then the end", { .first = "HTTP/1." }, SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0 },
    { "TLS", { .first = "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", .first_n = 11, .stay = true }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "an alert of TLS", { .first = "\x15\x03\x01\0\x02\x02\x46", .first_n = 7 }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "noise", { .again = "\x80\xff\x01\x7f\xfe\xaa", .again_n = 6 }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "NUL for ever", { .again = "\0\0\0\0\0\0\0\0", .again_n = 8 }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "HTTP/2", { .first = "HTTP/2 200 OK\r\n\r\n" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "status 42", { .first = "HTTP/1.1 42 Odd\r\n\r\n" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "an endless name", { .first = HEAD_OK, .again = A256 }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "10 MB of header", { .first = HEAD_OK "X: ", .again = A256, .count = 40960 }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "endless headers", { .first = HEAD_OK, .again = "A: b\r\n" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "endless 1xx", { .again = "HTTP/1.1 100 Continue\r\n\r\n" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "a NUL in a header", { .first = HEAD_OK "X: a\0b\r\n\r\n", .first_n = sizeof HEAD_OK - 1 + 10 }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "two lengths", { .first = JSON_OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "a negative length", { .first = JSON_OK "Content-Length: -1\r\n\r\n{}" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "a length of 2^64", { .first = JSON_OK "Content-Length: 18446744073709551616\r\n\r\n{}" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "a chunk of 2^64", { .first = JSON_OK "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "a chunk of 2^64-1", { .first = JSON_OK "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}" }, SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0 },
    { "a chunk of no size", { .first = JSON_OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "no end of a chunk", { .first = JSON_OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "endless chunk extensions", { .first = JSON_OK "Transfer-Encoding: chunked\r\n\r\n2;", .again = A256 }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "endless trailers", { .first = JSON_OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", .again = "A: b\r\n" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "another coding", { .first = JSON_OK "Transfer-Encoding: gzip\r\n\r\n{}" }, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, 0 },
    { "an upgrade that nobody wanted", { .first = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" }, SBX_ERR_PROTOCOL, SBX_LAYER_WS, 101 },
    { "half a body", { .first = JSON_OK "Content-Length: 100\r\n\r\n{\"id\":" }, SBX_ERR_CONNECTION, SBX_LAYER_TRANSPORT, 0 },
    { "half a body, then silence", { .first = JSON_OK "Content-Length: 100\r\n\r\n{\"id\":", .stay = true }, SBX_ERR_DEADLINE, SBX_LAYER_TRANSPORT, 0 },
    { "half a value", { .first = JSON_OK "Content-Length: 6\r\n\r\n{\"id\":" }, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 200 },
    { "no JSON", { .first = JSON_OK "Content-Length: 6\r\n\r\n<html>" }, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 200 },
    { "two values", { .first = JSON_OK "Content-Length: 5\r\n\r\n{} {}" }, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 200 },
    { "no UTF-8", { .first = JSON_OK "Content-Length: 10\r\n\r\n{\"id\":\"\xff\"}" }, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 200 },
    { "endless depth", { .first = JSON_OK "\r\n{\"x\":", .again = DEEP }, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, 200 },
    { "an endless id", { .first = JSON_OK "Content-Length: 2568\r\n\r\n{\"id\":\"", .again = A256, .count = 10, .stay = true }, SBX_ERR_DEADLINE, SBX_LAYER_TRANSPORT, 0 },
    { "an endless error", { .first = "HTTP/1.1 500 Oops\r\n\r\n{\"detail\":\"", .again = A256 }, SBX_ERR_SERVER, SBX_LAYER_SERVICE, 500 },
    { "an endless page", { .first = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<html>", .again = A256 }, SBX_ERR_NOT_FOUND, SBX_LAYER_SERVICE, 404 },
    { "a redirect", { .first = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" }, SBX_ERR_SERVER, SBX_LAYER_SERVICE, 302 },
    { "an error of no length", { .first = "HTTP/1.1 401 No\r\n\r\n{\"detail\":{\"error\":\"T\",\"message\":\"m\"}}" }, SBX_ERR_AUTH, SBX_LAYER_SERVICE, 401 },
    { "half an error", { .first = "HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n{\"detail\"" }, SBX_ERR_AUTH, SBX_LAYER_SERVICE, 401 },
};

static void bad_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const http_case *t = &answers[i];
        peer p = front_start(say, (void *)(uintptr_t)&t->s);
        sbx_client *cl = victim(&p);
        sbx_box out = { "untouched", "", "" };
        sbx_op op = sbx_get(cl, sbx_s("b"), NULL, &out, NULL);
        sbx_code code = sbx_await(cl, op);
        sbx_error e;

        sbx_error_of(cl, op, &e);
        if (code != t->code || e.layer != t->layer || e.status != t->status)
            fail_msg("%s: %s, layer %d, status %d: %s", t->name, sbx_code_name(code), e.layer, e.status, e.text);
        assert_string_equal(out.id, "untouched");
        assert_string_equal(out.name, "");
        unharmed(cl);
        front_stop(&p);
    }
}

/* What a server that waits for TLS does when it hears HTTP: the text says what
   to do, and one that began to answer is not suspected. */
static void waits_for_tls(void **state)
{
    static const char hint[] = "begin with https://";
    static const struct {
        script s;
        const char *get, *create;
    } servers[] = {
        { { 0 }, hint, hint }, /* hangs up */
        { { .first = "\x15\x03\x01\0\x02\x02\x46", .first_n = 7 }, hint, hint }, /* an alert */
        /* It reads to the end: to hang up with the body unread would be a reset, which may overtake the answer. */
        { { .first = "HTTP/1.1 301 Moved\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", .stay = true }, "redirects", "redirects" },
        { { .first = JSON_OK "Content-Length: 100\r\n\r\n{" }, "before its answer was complete", "the answer was lost" },
    };

    (void)state;
    if (!e2e_over("posix"))
        skip();
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        peer p = front_start(say, (void *)(uintptr_t)&servers[i].s);
        sbx_client *cl = victim(&p);
        sbx_op op = sbx_get(cl, sbx_s("b"), NULL, NULL, NULL);
        sbx_error e;

        sbx_await(cl, op);
        sbx_error_of(cl, op, &e);
        if (!strstr(e.text, servers[i].get))
            fail_msg("server %zu, get: %s", i, e.text);
        op = sbx_create(cl, NULL, NULL);
        sbx_await(cl, op);
        sbx_error_of(cl, op, &e);
        if (!strstr(e.text, servers[i].create))
            fail_msg("server %zu, create: %s", i, e.text);
        unharmed(cl);
        front_stop(&p);
    }
}

/* An answer that nobody asked for is not taken for the next one. */
static void speaks_out_of_turn(void **state)
{
    script two = { .first = JSON_OK "Content-Length: 12\r\n\r\n{\"id\":\"one\"}" JSON_OK "Content-Length: 13\r\n\r\n{\"id\":\"evil\"}", .stay = true };
    peer p = front_start(say, &two);
    sbx_client *cl = victim(&p);
    sbx_usage u;
    sbx_box b;

    (void)state;
    for (int i = 0; i < 3; i++) {
        OK_ON(cl, sbx_get(cl, sbx_s("b"), NULL, &b, NULL));
        assert_string_equal(b.id, "one");
    }
    sbx_get_usage(cl, &u);
    assert_int_equal(u.connects, 3);
    assert_int_equal(u.reused, 0);
    unharmed(cl);
    front_stop(&p);
}

static void too_long(void **state)
{
    char text[1024];
    script s = { .first = text };
    peer p;
    sbx_client *cl;
    sbx_box b;
    sbx_box_info info;

    (void)state;
    /* An id or URL is never cut; what is needed to delete the sandbox is given. */
    snprintf(text, sizeof text, JSON_OK "Connection: close\r\n\r\n{\"name\":\"n\",\"id\":\"i\",\"dataplane_url\":\"http://%s%s%s\"}", A256, A256, A16);
    p = front_start(say, &s);
    cl = victim(&p);
    memset(&b, 0x55, sizeof b);
    FAILS_ON(cl, sbx_create(cl, NULL, &b), SBX_ERR_TOO_LARGE);
    assert_string_equal(b.name, "n");
    assert_string_equal(b.id, "i");
    assert_string_equal(b.url, "");
    unharmed(cl);
    front_stop(&p);
    /* A text is. */
    snprintf(text, sizeof text, JSON_OK "Connection: close\r\n\r\n{\"name\":\"n\",\"status_message\":\"%s€\",\"status\":\"brand new status\"}", &A256[3]);
    p = front_start(say, &s);
    cl = victim(&p);
    OK_ON(cl, sbx_get(cl, sbx_s("b"), NULL, NULL, &info));
    assert_true(info.cut);
    assert_int_equal(info.status, SBX_STATUS_UNKNOWN);
    assert_int_equal(strlen(info.status_message), 253);
    assert_string_equal(info.status_text, "brand new statu");
    unharmed(cl);
    front_stop(&p);
}

static void lists(void **state)
{
    script same = { .first = JSON_OK "Connection: close\r\n\r\n{\"items\":[{\"id\":\"a\",\"name\":\"a\"}],\"next_cursor\":\"again\"}" };
    script endless = { .first = JSON_OK "Connection: close\r\n\r\n{\"items\":[", .again = "{\"id\":\"a\",\"name\":\"a\"}," };
    peer p = front_start(say, &same);
    sbx_client *cl = victim(&p);
    sbx_list_result r;
    sbx_event ev;
    sbx_op op;
    unsigned items = 0;
    sbx_error e;

    (void)state;
    e = FAILS_ON(cl, sbx_list(cl, &(sbx_list_opts){ .items = { &ev, 1 } }, &r), SBX_ERR_PROTOCOL);
    assert_string_equal(e.text, "the server names the same next page again");
    unharmed(cl);
    front_stop(&p);

    p = front_start(say, &endless);
    cl = victim(&p);
    op = sbx_glob(cl, &(sbx_box){ "i", "n", "" }, sbx_s("*"), NULL, &r);
    assert_int_equal(op.slot, 0);
    op = sbx_list(cl, &(sbx_list_opts){ .call = { .total_ms = 500 } }, &r);
    while (sbx_next_of(cl, &op, &ev) && ev.kind != SBX_EV_END)
        items++;
    assert_int_equal(ev.code, SBX_ERR_DEADLINE);
    assert_int_equal(items, 1); /* one and the same */
    unharmed(cl);
    front_stop(&p);
}

/* ---- files ---- */

static void bad_files(void **state)
{
    static const struct {
        const char *name;
        script s;
        int64_t offset, length;
        sbx_code code;
    } cases[] = {
        { "another range", { .first = "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-9/20\r\nContent-Length: 10\r\n\r\n0123456789" }, 5, 5, SBX_ERR_CHANGED },
        { "no range at all", { .first = "HTTP/1.1 206 Partial\r\nContent-Range: bytes x\r\nContent-Length: 10\r\n\r\n0123456789" }, 5, 5, SBX_ERR_CHANGED },
        { "a part of what", { .first = "HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n\r\n0123456789" }, 5, 5, SBX_ERR_CHANGED },
        { "a range of nobody's", { .first = "HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-99999999999999999999/7\r\nContent-Length: 5\r\n\r\n01234" }, 5, 5, SBX_ERR_CHANGED },
        { "less than the range", { .first = "HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/20\r\nContent-Length: 3\r\n\r\n567" }, 5, 5, SBX_ERR_PROTOCOL },
        { "a file that ends early", { .first = HEAD_OK "Content-Length: 10\r\n\r\n012" }, 0, 0, SBX_ERR_CONNECTION },
        { "an endless file in a small buffer", { .first = HEAD_OK "\r\n", .again = A256 }, 0, 0, SBX_ERR_DEADLINE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer p = front_start(say, (void *)(uintptr_t)&cases[i].s);
        sbx_client *cl = victim(&p);
        char text[32];
        sbx_read_opts o = { .call = { .total_ms = 500 }, .out = { text, 8 }, .offset = cases[i].offset, .length = cases[i].length };
        sbx_box b = { "i", "n", "" };
        sbx_code code;

        strcpy(b.url, p.base);
        memset(text, '#', sizeof text);
        code = sbx_await(cl, sbx_read(cl, &b, sbx_s("f"), &o, NULL));
        if (code != cases[i].code)
            fail_msg("%s: %s", cases[i].name, sbx_code_name(code));
        assert_memory_equal(text + 8, "########", 8);
        unharmed(cl);
        front_stop(&p);
    }
}

/* A server that never reads the upload. */
static void unread_upload(void **state)
{
    static char big[16 << 20];
    unsigned port;
    int listener = peer_listen(&port);
    char base[64];
    sbx_client *cl;
    sbx_box b = { "i", "n", "" };
    sbx_error e;
    peer p = { .port = port };

    (void)state;
    snprintf(base, sizeof base, "http://127.0.0.1:%u/x", port);
    strcpy(p.base, base);
    strcpy(b.url, base);
    cl = victim(&p);
    e = FAILS_ON(cl, sbx_write(cl, &b, sbx_s("f"), sbx_sn(big, sizeof big), &(sbx_write_opts){ .call = { .timeout_ms = 300 } }), SBX_ERR_DEADLINE);
    assert_true(e.sent);
    unharmed(cl);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_answers),
        cmocka_unit_test(waits_for_tls),
        cmocka_unit_test(speaks_out_of_turn),
        cmocka_unit_test(too_long),
        cmocka_unit_test(lists),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(unread_upload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
