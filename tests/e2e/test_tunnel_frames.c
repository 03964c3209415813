/* The WebSocket of sandboxd's /tunnel beside RFC 6455: frames written by hand,
   right and wrong ones, in one go and byte by byte. */
#include "e2e.h"
#include "peer.h"

#include <errno.h>
#include <string.h>

#define NO_CODE 1005 /* a close frame without one */
#define MAX_MESSAGE "100000"

static e2e_server server;
static char path[600];
static unsigned port;

typedef struct reply {
    unsigned code;
    char pongs[64], data[256];
    size_t pongs_n, data_n;
    bool closed;
} reply;

static int connected(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    char head[1024];

    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    snprintf(head, sizeof head, "GET %s/tunnel HTTP/1.1\r\nHost: x\r\nX-Api-Key: k\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path);
    assert_true(peer_say(fd, head));
    assert_true(peer_head(fd, head, sizeof head) > 0);
    assert_non_null(strstr(head, "101 "));
    assert_non_null(strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* 1.3 */
    return fd;
}

/* One frame of the server's into r; false: it has ended. */
static bool hear(int fd, reply *r)
{
    unsigned char head[10], p[256];
    size_t n;

    if (!peer_read(fd, head, 2))
        return false;
    n = head[1];
    assert_true(head[0] & 0x80 && !(head[0] & 0x70) && n < 126);
    assert_true(peer_read(fd, p, n));
    assert_int_equal(r->closed, 0);
    switch (head[0] & 15) {
    case SBX_WS_OP_CLOSE:
        r->closed = true;
        assert_int_not_equal(n, 1);
        r->code = n ? (unsigned)(p[0] << 8 | p[1]) : NO_CODE;
        break;
    case SBX_WS_OP_PONG:
        memcpy(r->pongs + r->pongs_n, p, n);
        r->pongs_n += n;
        break;
    default:
        assert_int_equal(head[0] & 15, SBX_WS_OP_BINARY);
        memcpy(r->data + r->data_n, p, n);
        r->data_n += n;
    }
    return true;
}

static void say(int fd, const e2e_bytes *b, bool byte_by_byte)
{
    for (size_t i = 0; i < b->n; i += byte_by_byte ? 1 : b->n)
        if (!peer_send(fd, b->p + i, byte_by_byte ? 1 : b->n))
            return; /* it has heard enough */
}

/* What is answered until the connection ends. */
static reply answer_to(const e2e_bytes *b, bool byte_by_byte)
{
    int fd = connected();
    reply r = { 0 };

    say(fd, b, byte_by_byte);
    while (hear(fd, &r)) {
    }
    close(fd);
    return r;
}

/* As the client's frames are: masked, each otherwise. */
static void put_frame(e2e_bytes *b, bool fin, unsigned opcode, const void *data, size_t n)
{
    static unsigned turn;
    unsigned char head[SBX_WS_HEAD_MAX], mask[4];
    char *copy = malloc(n + 1);

    for (unsigned i = 0; i < 4; i++)
        mask[i] = (unsigned char)(++turn * 37);
    memcpy(copy, data, n);
    sbx_ws_mask(copy, n, mask, 0);
    e2e_add(b, (char *)head, sbx_ws_head(head, opcode, fin, n, mask));
    e2e_add(b, copy, n);
    free(copy);
}

/* ---- what breaks the rules ---- */

typedef struct wrong {
    const char *name, *bytes;
    size_t n;
    unsigned code;
} wrong;

#define SAYS(text) text, sizeof text - 1
#define MASK "\0\0\0\0"
static const wrong all_wrong[] = {
    { "unmasked", SAYS("\x82\x01x"), 1002 },
    { "unmasked close", SAYS("\x88\x02\x03\xe8"), 1002 },
    { "a reserved bit", SAYS("\xc2\x81" MASK "x"), 1002 },
    { "opcode 3", SAYS("\x83\x80" MASK), 1002 },
    { "opcode 11", SAYS("\x8b\x80" MASK), 1002 },
    { "a ping in fragments", SAYS("\x09\x80" MASK), 1002 },
    { "a ping of 126 bytes", SAYS("\x89\xfe\x00\x7e" MASK), 1002 },
    { "a close of 127", SAYS("\x88\xff\0\0\0\0\0\0\0\x7f" MASK), 1002 },
    { "nothing to continue", SAYS("\x80\x81" MASK "x"), 1002 },
    { "a message inside another", SAYS("\x02\x80" MASK "\x82\x80" MASK), 1002 },
    { "nothing to continue any more", SAYS("\x02\x80" MASK "\x80\x80" MASK "\x80\x80" MASK), 1002 },
    { "5 bytes, told in two", SAYS("\x82\xfe\x00\x05" MASK "hello"), 1002 },
    { "65,535 bytes, told in eight", SAYS("\x82\xff\0\0\0\0\0\0\xff\xff" MASK), 1002 },
    { "2^63 bytes", SAYS("\x82\xff\x80\0\0\0\0\0\0\0" MASK), 1002 },
    { "a close of 1 byte", SAYS("\x88\x81" MASK "\x03"), 1002 },
    { "close code 999", SAYS("\x88\x82" MASK "\x03\xe7"), 1002 },
    { "close code 1005", SAYS("\x88\x82" MASK "\x03\xed"), 1002 },
    { "close code 5000", SAYS("\x88\x82" MASK "\x13\x88"), 1002 },
    { "a reason that is not UTF-8", SAYS("\x88\x84" MASK "\x03\xe8\xc3\x28"), 1007 },
    { "a reason that is cut", SAYS("\x88\x83" MASK "\x03\xe8\xc3"), 1007 },
    { "text", SAYS("\x81\x82" MASK "hi\x88\x80" MASK), 1003 },
    { "a message too long", SAYS("\x82\xff\0\0\0\0\0\x01\x86\xa1" MASK), 1009 },
    { "the longest there can be", SAYS("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK), 1009 },
    { "no yamux", SAYS("\x82\x8c" MASK "\x01\0\0\0\0\0\0\0\0\0\0\0\x88\x80" MASK), 1002 },
    /* No error. */
    { "a close", SAYS("\x88\x82" MASK "\x03\xe8"), 1000 },
    { "a close with a reason", SAYS("\x88\x86" MASK "\x0b\xb8" "b\xc3\xbcy"), 3000 },
    { "a close without a code", SAYS("\x88\x80" MASK), NO_CODE },
    { "a close, and more behind it", SAYS("\x88\x80" MASK "\x83\x80" MASK), NO_CODE },
    { "empty messages", SAYS("\x82\x80" MASK "\x02\x80" MASK "\x00\x80" MASK "\x80\x80" MASK "\x88\x80" MASK), NO_CODE },
};

static void closes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all_wrong / sizeof *all_wrong; i++)
        for (int one = 0; one < 2; one++) {
            const wrong *w = &all_wrong[i];
            e2e_bytes b = { 0 };
            reply r;

            e2e_add(&b, w->bytes, w->n);
            r = answer_to(&b, one);
            if (!r.closed || r.code != w->code)
                fail_msg("%s: %s %u", w->name, r.closed ? "closed with" : "not closed", r.code);
            free(b.p);
        }
}

/* The limit counts all fragments of a message, and each message anew. */
static void long_messages(void **state)
{
    static const char ping[12] = { 0, 2, 0, 1, 0, 0, 0, 0, 'a', 'b', 'c', 'd' };
    static char pongs[96000]; /* answers that fit no ping: ignored */
    e2e_bytes b = { 0 };
    int fd = connected();
    reply r = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof pongs; i += 12)
        memcpy(pongs + i, "\0\2\0\2\0\0\0\0none", 12);
    for (int i = 0; i < 3; i++)
        put_frame(&b, true, SBX_WS_OP_BINARY, pongs, sizeof pongs);
    put_frame(&b, false, SBX_WS_OP_BINARY, pongs, 48000);
    put_frame(&b, true, SBX_WS_OP_CONT, pongs, 48000);
    put_frame(&b, true, SBX_WS_OP_BINARY, ping, 12);
    say(fd, &b, false);
    while (r.data_n < 12)
        assert_true(hear(fd, &r));
    assert_memory_equal(r.data, "\0\2\0\2\0\0\0\0abcd", 12);
    b.n = 0;
    put_frame(&b, false, SBX_WS_OP_BINARY, pongs, 60000);
    put_frame(&b, true, SBX_WS_OP_CONT, pongs, 40008);
    say(fd, &b, false);
    while (hear(fd, &r)) {
    }
    assert_int_equal(r.code, 1009);
    close(fd);
    free(b.p);
}

/* ---- what keeps them ---- */

/* A yamux ping in two or three fragments, cut at every two places, with pings
   of the WebSocket between. */
static void fragments(void **state)
{
    static const char ping[12] = { 0, 2, 0, 1, 0, 0, 0, 0, 'p', 'i', 'n', 'g' };

    (void)state;
    for (size_t i = 0; i <= 12; i++)
        for (size_t k = i; k <= 12; k++) {
            bool byte_by_byte = (i + k) % 2;
            e2e_bytes b = { 0 };
            int fd = connected();
            reply r = { 0 };

            put_frame(&b, false, SBX_WS_OP_BINARY, ping, i);
            put_frame(&b, true, SBX_WS_OP_PING, "he", 2);
            put_frame(&b, true, SBX_WS_OP_PONG, "unasked", 7);
            put_frame(&b, false, SBX_WS_OP_CONT, ping + i, k - i);
            put_frame(&b, true, SBX_WS_OP_PING, "y!", 2);
            put_frame(&b, true, SBX_WS_OP_CONT, ping + k, 12 - k);
            say(fd, &b, byte_by_byte);
            while (r.data_n < 12 || r.pongs_n < 2 || r.pongs[r.pongs_n - 1] != '!')
                assert_true(hear(fd, &r));
            assert_memory_equal(r.data, "\0\2\0\2\0\0\0\0ping", 12);
            if (r.pongs_n == 4) /* the first may be left out (5.5.3) */
                assert_memory_equal(r.pongs, "hey!", 4);
            else
                assert_memory_equal(r.pongs, "y!", 2);
            b.n = 0;
            put_frame(&b, true, SBX_WS_OP_CLOSE, "\x03\xe8" "done", 6);
            say(fd, &b, byte_by_byte);
            while (hear(fd, &r)) {
            }
            assert_int_equal(r.code, 1000);
            close(fd);
            free(b.p);
        }
}

/* Frames of all small lengths, so that masks stand at every place of a word. */
static void lengths(void **state)
{
    e2e_bytes b = { 0 };
    char frame[12] = { 0, 2, 0, 2 }, stream[600];
    size_t at = 0;
    int fd = connected();
    reply r = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof stream; i += 12) /* answers to no ping, and the last is one */
        memcpy(stream + i, i + 12 < sizeof stream ? frame : "\0\2\0\1\0\0\0\0last", 12);
    for (size_t n = 1; at < sizeof stream; at += n++) {
        n = n < sizeof stream - at ? n : sizeof stream - at;
        put_frame(&b, true, SBX_WS_OP_BINARY, stream + at, n);
    }
    say(fd, &b, false);
    while (r.data_n < 12)
        assert_true(hear(fd, &r));
    assert_memory_equal(r.data, "\0\2\0\2\0\0\0\0last", 12);
    close(fd);
    free(b.p);
}

/* One yamux frame in a message of its own. */
static void put_mux(e2e_bytes *b, unsigned type, unsigned flags, uint32_t id, const void *data, uint32_t n)
{
    unsigned char frame[64] = { 0 };

    frame[1] = (unsigned char)type;
    frame[3] = (unsigned char)flags;
    for (unsigned i = 0; i < 4; i++) {
        frame[4 + i] = (unsigned char)(id >> (24 - 8 * i));
        frame[8 + i] = (unsigned char)(n >> (24 - 8 * i));
    }
    memcpy(frame + 12, data, n);
    put_frame(b, true, SBX_WS_OP_BINARY, frame, 12 + n);
}

/* A stream that ends inside its header is gone, so that a tunnel of 4,096 such
   ones still takes another. */
static void cut_headers(void **state)
{
    enum { WINDOW = 1, SYN = 1, ACK = 2, FIN = 4, STREAMS = 4096 };
    int fd = connected();
    e2e_bytes b = { 0 };
    reply r = { 0 };

    (void)state;
    for (uint32_t i = 0; i <= STREAMS; i++) {
        b.n = r.data_n = 0;
        put_mux(&b, WINDOW, SYN, 2 * i + 1, "", 0);
        if (i < STREAMS) {
            put_mux(&b, 0, 0, 2 * i + 1, "\1", 1);
            put_mux(&b, WINDOW, FIN, 2 * i + 1, "", 0);
        }
        say(fd, &b, false);
        while (r.data_n < (i < STREAMS ? 24 : 12))
            assert_true(hear(fd, &r));
        assert_int_equal(r.data[3], ACK);
        assert_true(i == STREAMS || r.data[15] == FIN);
    }
    close(fd);
    free(b.p);
}

static void heard(sbx_op op, const char *text)
{
    size_t n = 0;
    sbx_event ev;

    while (n < strlen(text) && sbx_next_of(c, &op, &ev)) {
        assert_int_not_equal(ev.kind, SBX_EV_END);
        if (ev.kind != SBX_EV_STDOUT)
            continue;
        assert_true(n + ev.data.n <= strlen(text));
        assert_memory_equal(ev.data.p, text + n, ev.data.n);
        n += ev.data.n;
    }
}

/* What comes in one read with the reset behind it still reaches the service. */
static void reset_behind_data(void **state)
{
    static const char service[] = "exec python3 -uc \"import socket\n"
                                  "s = socket.create_server(('127.0.0.1', 5000))\n"
                                  "print('listening')\n"
                                  "while True:\n"
                                  "    a, got = s.accept()[0], b''\n"
                                  "    try:\n"
                                  "        while data := a.recv(100): got += data\n"
                                  "    except ConnectionResetError: got += b' reset'\n"
                                  "    print(got.decode())\"";
    enum { WINDOW = 1, SYN = 1, RST = 8, STREAMS = 20 };
    sbx_op op = sbx_command(c, &box, sbx_s(service), &(sbx_run_opts){ .timeout_s = SBX_NONE });
    int fd = connected();
    e2e_bytes b = { 0 };
    reply r = { 0 };

    (void)state;
    heard(op, "listening\n");
    for (uint32_t id = 1; id < 2 * STREAMS; id += 2) {
        b.n = r.data_n = 0;
        put_mux(&b, WINDOW, SYN, id, "", 0);
        put_mux(&b, 0, 0, id, "\1\x13\x88", 3);
        say(fd, &b, false);
        while (r.data_n < 25)
            assert_true(hear(fd, &r));
        assert_int_equal(r.data[24], 0);
        b.n = 0;
        put_mux(&b, 0, 0, id, "told", 4);
        put_mux(&b, WINDOW, RST, id, "", 0);
        say(fd, &b, false);
        heard(op, "told reset\n");
    }
    close(fd);
    free(b.p);
}

/* A peer that pings and does not read costs no memory, and hears the last. */
static void pings_without_reading(void **state)
{
    enum { PINGS = 200000 };
    int fd = connected();
    e2e_bytes b = { 0 };
    reply r = { 0 };
    char text[9];

    (void)state;
    for (unsigned i = 0; i <= PINGS; i++) {
        snprintf(text, sizeof text, "%08u", i);
        put_frame(&b, true, SBX_WS_OP_PING, text, 8);
    }
    assert_true(peer_send(fd, b.p, b.n));
    snprintf(text, sizeof text, "%08u", PINGS);
    do {
        r.pongs_n = 0;
        assert_true(hear(fd, &r));
    } while (memcmp(r.pongs, text, 8) != 0);
    close(fd);
    free(b.p);
}

static int begin(void **state)
{
    static const char *const options[] = { "--max-message", MAX_MESSAGE, NULL };
    const char *p;

    (void)state;
    server = e2e_serve(options);
    c = e2e_connect(&server, NULL);
    box = e2e_create(c);
    p = strstr(box.url, "://") + 3;
    port = (unsigned)atoi(strchr(p, ':') + 1);
    snprintf(path, sizeof path, "%s", strchr(p, '/'));
    return 0;
}

static int end(void **state)
{
    (void)state;
    sbx_close(c);
    e2e_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closes), cmocka_unit_test(long_messages), cmocka_unit_test(fragments),
        cmocka_unit_test(lengths), cmocka_unit_test(cut_headers), cmocka_unit_test(reset_behind_data), cmocka_unit_test(pings_without_reading),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
