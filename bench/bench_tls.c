/* Streamed output and files over TLS by BearSSL, beside a plain reader by the
   same library with the same suite and buffers; handshakes; memory. The peer
   is OpenSSL in a process of its own. */
#include "bench.h"
#include "../transports/sandbox_bearssl.h"

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

/* ---- the same library, plain ---- */

typedef struct anchors {
    br_x509_trust_anchor a[8];
    size_t n;
} anchors;

static bool keep(void *user, const br_x509_trust_anchor *a)
{
    anchors *l = user;

    return l->n < 8 && sbxi_bearssl_copy_anchor(&l->a[l->n++], a);
}

static int raw_in(void *user, unsigned char *p, size_t n)
{
    ssize_t got = recv(*(int *)user, p, n, 0);

    return got > 0 ? (int)got : -1;
}

static int raw_out(void *user, const unsigned char *p, size_t n)
{
    return peer_send(*(int *)user, p, n) ? (int)n : -1;
}

static double raw_read(const peer *p, const anchors *trust, const char *path, uint64_t expected)
{
    static br_ssl_client_context ssl;
    static br_x509_minimal_context x509;
    static unsigned char in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
    static char piece[PIECE];
    struct sockaddr_in a;
    br_sslio_context io;
    double t = bench_now();
    uint64_t total = 0;
    char head[128];
    int fd = socket(AF_INET, SOCK_STREAM, 0), n;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)p->port);
    if (connect(fd, (struct sockaddr *)&a, sizeof a))
        peer_die("connect");
    br_ssl_client_init_full(&ssl, &x509, trust->a, trust->n);
    br_ssl_engine_set_buffers_bidi(&ssl.eng, in, sizeof in, out, sizeof out);
    br_ssl_client_reset(&ssl, "localhost", 0);
    br_sslio_init(&io, &ssl.eng, raw_in, &fd, raw_out, &fd);
    snprintf(head, sizeof head, "GET %s HTTP/1.1\r\n\r\n", path);
    br_sslio_write_all(&io, head, strlen(head));
    br_sslio_flush(&io);
    while ((n = br_sslio_read(&io, piece, sizeof piece)) > 0)
        total += (uint64_t)n;
    close(fd);
    if (total != expected)
        bench_die("the plain reader lost bytes", NULL);
    return bench_now() - t;
}

/* ---- the client ---- */

static sbx_client *open_client(const peer *p, sbx_box *box, bool no_resume, sbx_bearssl_stats *stats)
{
    char base[64];
    sbx_bearssl_config k = { .ca_file = ca, .no_resume = no_resume, .stats = stats };
    sbx_client_desc d = { .transport = &sbx_bearssl_posix, .transport_config = &k, .endpoint = base, .api_key = "k", .rx_bytes = PIECE };
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

static void transfers(const peer *p, const anchors *trust, int rounds)
{
    double own[BENCH_MAX], raw[BENCH_MAX];
    sbx_box box;
    sbx_client *c = open_client(p, &box, false, NULL);

    for (int r = 0; r < rounds; r++) {
        raw[r] = raw_read(p, trust, "/raw-stream", frames_n);
        own[r] = client_bytes(c, sbx_command(c, &box, sbx_s("x"), NULL), STREAM);
    }
    row("stdout, messages of 4,096", (double)frames_n, own, raw, rounds);
    for (int r = 0; r < rounds; r++) {
        raw[r] = raw_read(p, trust, "/raw-file", FILE_BYTES);
        own[r] = client_bytes(c, sbx_read(c, &box, sbx_s("f"), &(sbx_read_opts){ .stream = true }, NULL), FILE_BYTES);
    }
    row("file read", FILE_BYTES, own, raw, rounds);
    sbx_close(c);
}

/* Each request on a connection of its own. */
static void handshakes(const peer *p, bool resumed, int rounds)
{
    sbx_bearssl_stats stats = { 0, 0, 0 };
    double took[BENCH_MAX], cpu = bench_cpu();
    sbx_box box;
    sbx_client *c = open_client(p, &box, !resumed, &stats);

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
    if (resumed ? stats.full > 1 : stats.resumed)
        bench_die("handshakes of the other kind", NULL);
    printf("%s handshakes, a request each %*s %6.0f a second, %.2f ms of our processor each\n", resumed ? "resumed" : "full", resumed ? 8 : 11, "",
           SHAKES / bench_median(took, rounds), cpu * 1000 / (SHAKES * rounds));
}

static void memory_row(uint16_t rx, uint16_t tx)
{
    sbx_bearssl_options o = { rx, tx, 0 };
    sbx_transport t;

    if (sbx_bearssl(&t, &sbx_posix, &o) == SBX_OK)
        printf("memory a connection, rx_bytes %5u, tx_bytes %5u %7lu bytes and %lu of sbx_posix\n", rx, tx, (unsigned long)t.conn_size, (unsigned long)sbx_posix.conn_size);
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

int main(void)
{
    int rounds = bench_rounds();
    anchors trust = { .n = 0 };
    char command[256];
    unsigned port;
    int listener;
    peer p;

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(dir, sizeof dir, "/tmp/bench-tls-XXXXXX");
    if (!mkdtemp(dir))
        peer_die(dir);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(command, sizeof command, "python3 tests/tls/certs.py %s", dir);
    if (system(command) || sbx_bearssl_pem(ca, keep, &trust))
        peer_die("certificates");
    encode();
    listener = peer_listen(&port);
    p = peer_fork(listener, port, serve, NULL);
    transfers(&p, &trust, rounds);
    handshakes(&p, false, rounds);
    handshakes(&p, true, rounds);
    memory_row(16384, 16384);
    memory_row(16384, 4096);
    memory_row(4096, 4096);
    memory_row(512, 512);
    peer_stop(&p);
    while (trust.n)
        free(trust.a[--trust.n].dn.data);
    free(frames);
    free(content);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}
