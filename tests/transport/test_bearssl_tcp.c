/* The BearSSL transport over the POSIX one: the conformance suite, with an
   OpenSSL server at the other end. */
#ifdef __has_include
#if __has_include("sandbox.h")
#include "sandbox.h"
#endif
#endif
#include "conformance.h"

#include <openssl/ssl.h>

#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"
#include "sandbox_bearssl.h"

#include "bearssl_certs.h"

static SSL_CTX *server;

static void *wire_begin(int fd)
{
    SSL *ssl = SSL_new(server);

    if (!ssl)
        return NULL;
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

static ssize_t wire_read(void *session, void *p, size_t n)
{
    int r = SSL_read((SSL *)session, p, n < 65536 ? (int)n : 65536);

    return r > 0 ? r : 0;
}

static ssize_t wire_write(void *session, const void *p, size_t n)
{
    return SSL_write((SSL *)session, p, n < 65536 ? (int)n : 65536);
}

static void wire_end_write(void *session)
{
    SSL_shutdown((SSL *)session);
}

static void wire_end(void *session)
{
    SSL_free((SSL *)session);
}

static const sbxt_wire wire = {wire_begin, wire_read, wire_write, wire_end_write, wire_end};
static sbx_bearssl_config config;
static sbx_bearssl_stats stats;

static int begin(void **state)
{
    static const unsigned char who[] = "conformance";
    static char ca[512];

    if (peer_make_certificates(state))
        return -1;
    server = SSL_CTX_new(TLS_server_method());
    snprintf(ca, sizeof ca, "%s", peer_path("ca", ".pem"));
    config.ca_file = ca;
    config.stats = &stats;
    return !server || SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION) != 1 ||
           SSL_CTX_set_session_id_context(server, who, sizeof who) != 1 || !SSL_CTX_set_options(server, SSL_OP_NO_TICKET) ||
           SSL_CTX_use_certificate_chain_file(server, peer_path("right", ".pem")) != 1 ||
           SSL_CTX_use_PrivateKey_file(server, peer_path("right", ".key"), SSL_FILETYPE_PEM) != 1;
}

static int end(void **state)
{
    SSL_CTX_free(server);
    print_message("%u full and %u resumed handshakes\n", (unsigned)stats.full, (unsigned)stats.resumed);
    return peer_drop_certificates(state);
}

int main(void)
{
    static const sbxt_suite suite = {&sbx_bearssl_posix, &config, true, &wire};
    const struct CMUnitTest tests[] = {
        SBXT_CONFORMANCE,
    };
    sbxt_prepare(&suite);
    return cmocka_run_group_tests_name("bearssl", tests, begin, end);
}
