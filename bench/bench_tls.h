/* Streamed output and files over TLS, beside a plain reader by the same library
   with the same suite; handshakes. The peer is OpenSSL in a process of its own.
   Included by a program for each library, behind its transport. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H
#include <openssl/ssl.h>

enum { MESSAGE = 4096, STREAM = 64 << 20, FILE_BYTES = 128 << 20, PIECE = 16384, SHAKES = 200 };

static char dir[64], ca[128];
static char *frames, *content; /* a command's stream behind `started`; 1 MiB of a file */
static size_t frames_n;

/* ---- the peer ---- */

static bool say(SSL *s, const char *p, size_t n)
{
    while (n) {
        int sent = SSL_write(s, p, n < 1 << 20 ? (int)n : 1 << 20);

        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool say_text(SSL *s, const char *text)
{
    return say(s, text, strlen(text));
}

static bool hear_head(SSL *s, char *p, size_t room)
{
    for (size_t n = 0; n + 1 < room && SSL_read(s, p + n, 1) == 1;) {
        p[++n] = 0;
        if (n >= 4 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static void say_stream(SSL *s, const char *head)
{
    static const char started[] = "{\"type\":\"started\",\"command_id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"pid\":1}";
    unsigned char frame[SBX_WS_HEAD_MAX];
    char accept[28], answer[256], hello[4096];

    sbx_ws_accept(accept, sbx_sn(strstr(head, "Sec-WebSocket-Key: ") + 19, 24));
    snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %.28s\r\n\r\n", accept);
    if (!say_text(s, answer) || SSL_read(s, hello, sizeof hello) <= 0)
        return;
    say(s, (const char *)frame, sbx_ws_head(frame, SBX_WS_OP_TEXT, true, sizeof started - 1, NULL));
    say_text(s, started);
    say(s, frames, frames_n);
}

static void say_file(SSL *s)
{
    for (size_t at = 0; at < FILE_BYTES; at += 1 << 20)
        if (!say(s, content, 1 << 20))
            return;
}

static void answer(SSL *s)
{
    static const char status[] = "{\"status\":\"ready\"}";
    char head[4096], text[256];

    if (!hear_head(s, head, sizeof head))
        return;
    if (strstr(head, "Sec-WebSocket-Key: ")) {
        say_stream(s, head);
    } else if (strncmp(head, "GET /raw-stream", 15) == 0) {
        say(s, frames, frames_n);
    } else if (strncmp(head, "GET /raw-file", 13) == 0) {
        say_file(s);
    } else if (strstr(head, "/status")) {
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", (int)sizeof status - 1, status);
        say_text(s, text);
    } else {
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"x\"\r\nContent-Length: %d\r\n\r\n", FILE_BYTES);
        say_text(s, text);
        say_file(s);
    }
    SSL_shutdown(s);
}

static void serve(int listener, void *arg)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    char cert[128], key[128];
    int fd, one = 1;

    (void)arg;
    signal(SIGPIPE, SIG_IGN);
    snprintf(cert, sizeof cert, "%s/right.pem", dir);
    snprintf(key, sizeof key, "%s/right.key", dir);
    if (!ctx || SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256") != 1 ||
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"bench", 5) != 1 || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        peer_die("OpenSSL");
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        SSL *s = SSL_new(ctx);

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        SSL_set_fd(s, fd);
        if (SSL_accept(s) == 1)
            answer(s);
        SSL_free(s);
        peer_end(fd);
    }
}

/* ---- the client ---- */

typedef double raw_reader(const peer *p, const char *path, uint64_t expected);

static sbx_client *open_client(const peer *p, sbx_box *box, const sbx_transport *transport, const void *config)
{
    char base[64];
    sbx_client_desc d = { .transport = transport, .transport_config = config, .endpoint = base, .api_key = "k", .rx_bytes = PIECE };
    sbx_client *c;
    sbx_error e;

    snprintf(base, sizeof base, "https://localhost:%u/x", p->port);
    if (!sbx_box_named(box, sbx_s("n"), sbx_s(base)) || sbx_open(&d, &c, &e))
        bench_die("open", &e);
    return c;
}

static double client_bytes(sbx_client *c, sbx_op op, uint64_t expected)
{
    double t = bench_now();
    uint64_t got = 0;

    for (sbx_event ev; sbx_next_of(c, &op, &ev);) {
        if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_DATA)
            got += ev.data.n;
        else if (ev.kind == SBX_EV_END && ev.code) {
            sbx_error e;

            sbx_error_of(c, ev.op, &e);
            bench_die("client", &e);
        }
    }
    if (got != expected)
        bench_die("the client lost bytes", NULL);
    return bench_now() - t;
}

static void row(const char *what, double bytes, double *own, double *raw, int rounds)
{
    double a = bytes / 1e6 / bench_median(own, rounds), b = bytes / 1e6 / bench_median(raw, rounds);

    printf("%-44s %6.0f MB/s   raw TLS %6.0f MB/s   ratio %.2f\n", what, a, b, a / b);
}

static void transfers(const peer *p, const sbx_transport *transport, const void *config, raw_reader *raw_read, int rounds)
{
    double own[BENCH_MAX], raw[BENCH_MAX];
    sbx_box box;
    sbx_client *c = open_client(p, &box, transport, config);

    for (int r = 0; r < rounds; r++) {
        raw[r] = raw_read(p, "/raw-stream", frames_n);
        own[r] = client_bytes(c, sbx_command(c, &box, sbx_s("x"), NULL), STREAM);
    }
    row("stdout, messages of 4,096", (double)frames_n, own, raw, rounds);
    for (int r = 0; r < rounds; r++) {
        raw[r] = raw_read(p, "/raw-file", FILE_BYTES);
        own[r] = client_bytes(c, sbx_read(c, &box, sbx_s("f"), &(sbx_read_opts){ .stream = true }, NULL), FILE_BYTES);
    }
    row("file read", FILE_BYTES, own, raw, rounds);
    sbx_close(c);
}

/* Requests on connections of their own, which resume a session or do not. */
static void handshakes(const peer *p, const sbx_transport *transport, const void *config, const char *what, int rounds)
{
    double took[BENCH_MAX], cpu = bench_cpu();
    sbx_box box;
    sbx_client *c = open_client(p, &box, transport, config);

    for (int r = 0; r < rounds; r++) {
        double t = bench_now();

        for (int i = 0; i < SHAKES; i++) {
            sbx_status_info info;

            bench_ok(c, sbx_get_status(c, &box, NULL, &info), "status");
        }
        took[r] = bench_now() - t;
    }
    cpu = bench_cpu() - cpu;
    sbx_close(c);
    printf("%-44s %6.0f a second, %.2f ms of our processor each\n", what, SHAKES / bench_median(took, rounds), cpu * 1000 / (SHAKES * rounds));
}

static void encode(void)
{
    char *at = frames = malloc((size_t)(STREAM / MESSAGE + 1) * (MESSAGE + 128)), text[MESSAGE + 128];
    uint32_t seed = 1;

    content = malloc(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++)
        content[i] = (char)(i * 2654435761u >> 13);
    for (size_t from = 0; from <= STREAM; from += MESSAGE) {
        size_t n = (size_t)sprintf(text, from < STREAM ? "{\"type\":\"stdout\",\"data\":\"" : "{\"type\":\"exit\",\"exit_code\":0}");

        for (int i = 0; from < STREAM && i < MESSAGE; i++)
            text[n++] = (char)('a' + ((seed = seed * 1664525u + 1013904223u) >> 16) % 26);
        if (from < STREAM)
            n += (size_t)sprintf(text + n, "\",\"offset\":%lu}", (unsigned long)from);
        at += sbx_ws_head((unsigned char *)at, SBX_WS_OP_TEXT, true, n, NULL);
        memcpy(at, text, n);
        at += n;
    }
    frames_n = (size_t)(at - frames);
}

static peer begin(void)
{
    char command[256];
    unsigned port;
    int listener;

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(dir, sizeof dir, "/tmp/bench-tls-XXXXXX");
    if (!mkdtemp(dir))
        peer_die(dir);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(command, sizeof command, "python3 tests/tls/certs.py %s", dir);
    if (system(command))
        peer_die("certificates");
    encode();
    listener = peer_listen(&port);
    return peer_fork(listener, port, serve, NULL);
}

static int end(peer *p)
{
    char command[256];

    peer_stop(p);
    free(frames);
    free(content);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}
#endif
