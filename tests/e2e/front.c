#include "e2e.h"
#include "front.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>

static SSL_CTX *context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    const char *cert = getenv("SANDBOXD_CERT"), *key = getenv("SANDBOXD_KEY");

    if (!ctx || !cert || !key || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        peer_die("SANDBOXD_CERT, SANDBOXD_KEY");
    return ctx;
}

static int dial(unsigned port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
        peer_die("peer behind the front");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* The peer's side has bytes, an end or a reset: false at either of those. */
static bool outwards(SSL *ssl, int fd, int client)
{
    struct linger now = { 1, 0 };
    char bytes[16384];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);

    if (n > 0)
        return SSL_write(ssl, bytes, (int)n) == n;
    if (n == 0) {
        SSL_shutdown(ssl);
        shutdown(client, SHUT_WR);
    } else {
        setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    return false;
}

static bool inwards(SSL *ssl, int fd)
{
    char bytes[16384];
    int n = SSL_read(ssl, bytes, sizeof bytes);

    return n > 0 && peer_send(fd, bytes, (size_t)n);
}

static void carry(SSL *ssl, int fd, int client)
{
    struct pollfd fds[2] = { { .fd = client, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
    bool ended = false;

    for (;;) {
        bool held = SSL_pending(ssl) > 0;

        if (!held && poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if ((held || fds[0].revents) && !inwards(ssl, fd))
            return;
        if (held || !fds[1].revents || ended)
            continue;
        ended = !outwards(ssl, fd, client);
        if (ended) { /* the client's end is waited for, as the peer does it */
            struct linger set;
            socklen_t n = sizeof set;

            fds[1].fd = -1;
            if (getsockopt(client, SOL_SOCKET, SO_LINGER, &set, &n) || set.l_onoff)
                return;
        }
    }
}

static void connection(SSL_CTX *ctx, int client, unsigned port)
{
    SSL *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, client);
    if (SSL_accept(ssl) == 1)
        carry(ssl, dial(port), client);
}

static void serve(int listener, void *arg)
{
    SSL_CTX *ctx = context();
    int client;

    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    while ((client = accept(listener, NULL, NULL)) >= 0) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(listener);
            connection(ctx, client, *(const unsigned *)arg);
            _exit(0);
        }
        close(client);
    }
}

peer front_start(peer_act act, void *arg)
{
    peer p = peer_start(act, arg), front;
    unsigned port;
    int listener;

    if (e2e_over("posix"))
        return p;
    listener = peer_listen(&port);
    front = peer_fork(listener, port, serve, &p.port);
    p.front = front.pid;
    snprintf(p.base, sizeof p.base, "https://127.0.0.1:%u/x", port);
    return p;
}

void front_stop(peer *p)
{
    if (p->front > 0) {
        kill(p->front, SIGKILL);
        waitpid(p->front, NULL, 0);
    }
    peer_stop(p);
}
