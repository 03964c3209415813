/* A peer that speaks TLS, by OpenSSL, for the conformance suite. Included behind
   conformance.h. */
#ifndef TLS_WIRE_H
#define TLS_WIRE_H
#include "server.h"

#include <openssl/ssl.h>

static SSL_CTX *tls_wire_ctx;

static void *tls_wire_begin(int fd)
{
    SSL *ssl = SSL_new(tls_wire_ctx);
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

static ssize_t tls_wire_read(void *session, void *p, size_t n)
{
    int got = SSL_read((SSL *)session, p, n > INT_MAX ? INT_MAX : (int)n);

    return got > 0 ? got : 0;
}

static ssize_t tls_wire_write(void *session, const void *p, size_t n)
{
    return SSL_write((SSL *)session, p, n > INT_MAX ? INT_MAX : (int)n);
}

static void tls_wire_end_write(void *session)
{
    SSL_shutdown((SSL *)session);
}

static void tls_wire_end(void *session)
{
    SSL_free((SSL *)session);
}

static const sbxt_wire tls_wire = { tls_wire_begin, tls_wire_read, tls_wire_write, tls_wire_end_write, tls_wire_end };

static void tls_wire_prepare(const char *dir)
{
    char cert[300], key[300];

    snprintf(cert, sizeof cert, "%s/right.pem", dir);
    snprintf(key, sizeof key, "%s/right.key", dir);
    tls_wire_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls_wire_ctx, SSL_MODE_AUTO_RETRY);
    /* Tickets come behind the handshake: a test would not know when all is quiet. */
    SSL_CTX_set_num_tickets(tls_wire_ctx, 0);
    if (SSL_CTX_use_certificate_chain_file(tls_wire_ctx, cert) != 1 || SSL_CTX_use_PrivateKey_file(tls_wire_ctx, key, SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "%s: not to be had\n", cert);
        exit(1);
    }
}

/* The suite over a transport whose configuration trusts dir/ca.pem. */
static int tls_conformance(const sbx_transport *t, const void *(*trusting)(const char *ca_file))
{
    const struct CMUnitTest tests[] = {
        SBXT_CONFORMANCE,
    };
    sbxt_suite suite = { t, NULL, true, &tls_wire };
    char dir[256], ca[300];
    int failed;

    if (!tls_certs(dir, sizeof dir))
        return 1;
    tls_wire_prepare(dir);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    suite.config = trusting(ca);
    sbxt_prepare(&suite);
    /* OpenSSL's sockets know no MSG_NOSIGNAL; the client's thread keeps SIGPIPE, the peer's has all blocked. */
    failed = cmocka_run_group_tests_name(t->name, tests, NULL, NULL);
    SSL_CTX_free(tls_wire_ctx);
    tls_certs_remove(dir);
    return failed;
}
#endif
