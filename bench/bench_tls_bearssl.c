/* TLS by BearSSL. */
#include "bench.h"
#include "../transports/sandbox_bearssl.h"
#include "bench_tls.h"

/* ---- the same library, plain ---- */

typedef struct anchors {
    br_x509_trust_anchor a[8];
    size_t n;
} anchors;

static anchors trust;

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

static double raw_read(const peer *p, const char *path, uint64_t expected)
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
    br_ssl_client_init_full(&ssl, &x509, trust.a, trust.n);
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

static void memory_row(uint16_t rx, uint16_t tx)
{
    sbx_bearssl_options o = { rx, tx, 0 };
    sbx_transport t;

    if (sbx_bearssl(&t, &sbx_posix, &o) == SBX_OK)
        printf("memory a connection, rx_bytes %5u, tx_bytes %5u %7lu bytes and %lu of sbx_posix\n", rx, tx, (unsigned long)t.conn_size, (unsigned long)sbx_posix.conn_size);
}

int main(void)
{
    peer p = begin();
    sbx_bearssl_stats stats = { 0, 0, 0 };
    sbx_bearssl_config plain = { .ca_file = ca }, full = { .ca_file = ca, .no_resume = true, .stats = &stats }, resumed = { .ca_file = ca, .stats = &stats };
    int rounds = bench_rounds();

    if (sbx_bearssl_pem(ca, keep, &trust))
        peer_die("trust anchors");
    transfers(&p, &sbx_bearssl_posix, &plain, raw_read, rounds);
    handshakes(&p, &sbx_bearssl_posix, &full, "full handshakes, a request each", rounds);
    if (stats.resumed)
        bench_die("sessions were resumed", NULL);
    stats.full = 0;
    handshakes(&p, &sbx_bearssl_posix, &resumed, "resumed handshakes, a request each", rounds);
    if (stats.full > 1)
        bench_die("sessions were not resumed", NULL);
    memory_row(16384, 16384);
    memory_row(16384, 4096);
    memory_row(4096, 4096);
    memory_row(512, 512);
    while (trust.n)
        free(trust.a[--trust.n].dn.data);
    return end(&p);
}
