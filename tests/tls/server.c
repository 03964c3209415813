#include "server.h"
#include "tiny.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct session {
    const tls_server_desc *d;
    SSL *ssl;
    int fd;
    unsigned full, resumed;
} session;

static void die(const char *what)
{
    fprintf(stderr, "TLS server: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    _exit(99);
}

/* ---- OpenSSL's side ---- */

static int version_of(int number)
{
    return number == 10 ? TLS1_VERSION : number == 11 ? TLS1_1_VERSION : number == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1"; /* h2 first: who offers it gets it */

    (void)ssl;
    (void)arg;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, n, ours, sizeof ours - 1, in, in_n) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static const char *path_of(const tls_server_desc *d, const char *name, const char *end)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s%s", d->dir, name, end);
    return path;
}

static void ask_client(SSL_CTX *ctx, const tls_server_desc *d)
{
    if (!d->client_ca)
        return;
    if (SSL_CTX_load_verify_file(ctx, path_of(d, d->client_ca, ".pem")) != 1)
        die("CA of clients");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static SSL_CTX *make_context(const tls_server_desc *d)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx)
        die("context");
    SSL_CTX_set_min_proto_version(ctx, version_of(d->min ? d->min : 12));
    SSL_CTX_set_max_proto_version(ctx, version_of(d->max ? d->max : 13));
    if (d->max && d->max < 12) {
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"tests", 5);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    if (d->no_tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (SSL_CTX_use_certificate_chain_file(ctx, path_of(d, d->cert, ".pem")) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, path_of(d, d->cert, ".key"), SSL_FILETYPE_PEM) != 1)
        die(d->cert);
    ask_client(ctx, d);
    return ctx;
}

/* ---- HTTP's side ---- */

/* A request's head; false: the client is gone. */
static bool read_head(session *s, char *p, size_t room)
{
    size_t n = 0;

    while (n + 1 < room && SSL_read(s->ssl, p + n, 1) == 1) {
        p[++n] = 0;
        if (n >= 4 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static bool say(session *s, const char *p, size_t n)
{
    size_t step = s->d->tiny ? 1 : n;

    for (size_t at = 0; at < n; at += step)
        if (SSL_write(s->ssl, p + at, (int)step) != (int)step)
            return false;
    return true;
}

static size_t status_body(session *s, char *p, size_t room)
{
    const char *name = SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name);
    const unsigned char *alpn;
    X509 *client = SSL_get0_peer_certificate(s->ssl);
    unsigned alpn_n;
    char subject[64] = "-";

    SSL_get0_alpn_selected(s->ssl, &alpn, &alpn_n);
    if (client)
        X509_NAME_get_text_by_NID(X509_get_subject_name(client), NID_commonName, subject, sizeof subject);
    return (size_t)snprintf(p, room,
                            "{\"status\":\"ready\",\"status_message\":\"%s %s%s, sni %s, alpn %.*s, client %s, %u full %u resumed\"}",
                            SSL_get_version(s->ssl), SSL_session_reused(s->ssl) ? "resumed" : "full",
                            SSL_num_renegotiations(s->ssl) ? " renegotiated" : "", name ? name : "-",
                            alpn_n ? (int)alpn_n : 1, alpn_n ? (const char *)alpn : "-", subject, s->full, s->resumed);
}

static bool ends_after_one(const tls_server_desc *d)
{
    return d->act != TLS_SERVES && d->act != TLS_FLOODS;
}

static bool answer(session *s, const char *request)
{
    static char body[TLS_FILE_BYTES];
    char head[256];
    const tls_server_desc *d = s->d;
    bool file = strstr(request, "/download") != NULL;
    size_t n = TLS_FILE_BYTES, head_n;

    memset(body, 'x', sizeof body);
    if (!file)
        n = status_body(s, body, sizeof body);
    head_n = (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s",
                              file ? "application/octet-stream" : "application/json", d->no_length ? "Connection: close\r\n" : "");
    if (!d->no_length)
        head_n += (size_t)snprintf(head + head_n, sizeof head - head_n, "Content-Length: %zu\r\n", n);
    head_n += (size_t)snprintf(head + head_n, sizeof head - head_n, "\r\n");
    if (d->act == TLS_HALF_ANSWER || d->act == TLS_HALF_NOTIFY)
        n /= 2;
    return say(s, head, head_n) && say(s, body, n);
}

static void say_plain(int fd, const char *text, size_t n)
{
    send(fd, text, n, MSG_NOSIGNAL);
}

/* Insists: false when the client refused. */
static bool renegotiated(session *s)
{
    char none;

    SSL_clear_mode(s->ssl, SSL_MODE_AUTO_RETRY); /* the read comes back behind the handshake */
    SSL_renegotiate(s->ssl);
    return SSL_do_handshake(s->ssl) == 1 && SSL_peek(s->ssl, &none, 1) != 0 && SSL_num_renegotiations(s->ssl) == 1 &&
           !SSL_renegotiate_pending(s->ssl);
}

static bool flooded(session *s)
{
    BIO *all = BIO_new(BIO_s_mem());
    const char *p;
    long n, i;

    BIO_up_ref(all);
    SSL_set0_wbio(s->ssl, all);
    for (i = 0; i < TLS_FLOOD; i++)
        if (SSL_key_update(s->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 || SSL_do_handshake(s->ssl) != 1)
            break;
    SSL_set0_wbio(s->ssl, BIO_new_socket(s->fd, BIO_NOCLOSE));
    n = BIO_get_mem_data(all, &p);
    say_plain(s->fd, p, (size_t)n);
    BIO_free(all);
    return i == TLS_FLOOD;
}

/* Bytes of one side to the other, until either ends. */
static void relay(session *s, int to)
{
    struct pollfd fds[2] = { { .fd = s->fd, .events = POLLIN }, { .fd = to, .events = POLLIN } };
    char bytes[4096];

    while (SSL_pending(s->ssl) || poll(fds, 2, -1) > 0) {
        if (SSL_pending(s->ssl) || fds[0].revents) {
            int n = SSL_read(s->ssl, bytes, sizeof bytes);

            if (n <= 0 || send(to, bytes, (size_t)n, MSG_NOSIGNAL) != n)
                return;
            fds[1].revents = 0;
        }
        if (fds[1].revents) {
            ssize_t n = recv(to, bytes, sizeof bytes, 0);

            if (n <= 0 || SSL_write(s->ssl, bytes, (int)n) != n)
                return;
        }
    }
}

static void tunnel(session *s, const char *head)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char *colon = strchr(head, ':');
    int to = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0));
    if (strncmp(head, "CONNECT ", 8) == 0 && connect(to, (struct sockaddr *)&a, sizeof a) == 0 && say(s, "HTTP/1.1 200 OK\r\n\r\n", 19))
        relay(s, to);
    close(to);
}

static void serve(session *s)
{
    char head[8192];

    while (read_head(s, head, sizeof head)) {
        if (s->d->act == TLS_PROXY) {
            tunnel(s, head);
            break;
        }
        if (s->d->act == TLS_RENEGOTIATES && !renegotiated(s))
            return;
        if (s->d->act == TLS_FLOODS && !flooded(s))
            die("key update");
        if (!answer(s, head) || ends_after_one(s->d))
            break;
    }
    if (s->d->act != TLS_NO_NOTIFY && s->d->act != TLS_HALF_ANSWER)
        SSL_shutdown(s->ssl);
}

/* ---- connections ---- */

static void *drain(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char rest[4096];

    while (recv(fd, rest, sizeof rest, 0) > 0)
        ;
    close(fd);
    return NULL;
}

/* What was said arrives before the end does. The client may keep its end open
   as long as it likes: nobody waits for it. */
static void end(int fd)
{
    pthread_t thread;

    shutdown(fd, SHUT_WR);
    if (pthread_create(&thread, NULL, drain, (void *)(intptr_t)fd))
        die("thread");
    pthread_detach(thread);
}

/* Whoever does not do a handshake. */
static bool misbehave(const tls_server_desc *d, int fd)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    struct linger now = { 1, 0 };
    char hello[4096];

    if (d->act < TLS_HANGS_UP)
        return false;
    recv(fd, hello, sizeof hello, 0);
    if (d->act == TLS_SILENT)
        while (recv(fd, hello, sizeof hello, 0) > 0)
            ;
    if (d->act == TLS_RESETS) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(fd);
        return true;
    }
    if (d->act == TLS_NO_TLS)
        say_plain(fd, http, sizeof http - 1);
    if (d->act == TLS_HELLO_FLOOD) {
        static const char requests[5 + 16384] = { 0x16, 3, 3, 0x40 }; /* a record of zeros */

        while (send(fd, requests, sizeof requests, MSG_NOSIGNAL) > 0)
            ;
    }
    if (d->act == TLS_GARBAGE)
        say_plain(fd, "\x16\x03\x03\x00\x20 this is no handshake at all, really", 37);
    end(fd);
    return true;
}

static void connection(session *s, SSL_CTX *ctx, int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->fd = fd;
    s->ssl = SSL_new(ctx);
    SSL_set_fd(s->ssl, fd);
    if (s->d->tiny)
        SSL_set0_wbio(s->ssl, tiny_bio(fd));
    if (SSL_accept(s->ssl) == 1) {
        if (SSL_session_reused(s->ssl))
            s->resumed++;
        else
            s->full++;
        serve(s);
    }
    ERR_clear_error();
    end(fd);
    SSL_free(s->ssl);
}

static void run(const tls_server_desc *d, int listener)
{
    SSL_CTX *ctx = make_context(d);
    session s = { .d = d };
    int fd;

    while ((fd = accept(listener, NULL, NULL)) >= 0)
        if (!misbehave(d, fd))
            connection(&s, ctx, fd);
}

tls_server tls_start(const tls_server_desc *desc)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    tls_server s;

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 64) || getsockname(fd, (struct sockaddr *)&a, &len))
        die("listen");
    s.port = ntohs(a.sin_port);
    fflush(NULL);
    s.pid = fork();
    if (s.pid < 0)
        die("fork");
    if (s.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        run(desc, fd);
        _exit(0);
    }
    close(fd);
    return s;
}

void tls_stop(tls_server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

/* ---- certificates ---- */

bool tls_certs(char *dir, size_t room)
{
    const char *temporary = getenv("TMPDIR");
    char command[600];

    snprintf(dir, room, "%s/tls-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(dir))
        return false;
    snprintf(command, sizeof command, "python3 tests/tls/certs.py '%s'", dir);
    return system(command) == 0;
}

void tls_certs_remove(const char *dir)
{
    char command[600];

    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command))
        fprintf(stderr, "%s remains\n", dir);
}

bool tls_hashed(const char *file, const char *dir)
{
    char path[512];
    FILE *from = fopen(file, "r"), *to;
    X509 *x = from ? PEM_read_X509(from, NULL, NULL, NULL) : NULL;
    bool ok;

    if (from)
        fclose(from);
    if (!x)
        return false;
    snprintf(path, sizeof path, "%s/%08lx.0", dir, X509_subject_name_hash(x));
    to = fopen(path, "w");
    ok = to && PEM_write_X509(to, x) == 1;
    if (to)
        fclose(to);
    X509_free(x);
    return ok;
}
