/* Local ports (sandbox_tunnel.h) in the simulated world. The local sockets are
   real, but every system call of the forwards passes through here, where it can
   be told to fail, and their clock is the world's. To be included first. */
#ifndef SIM_FORWARD_H
#define SIM_FORWARD_H

#define _GNU_SOURCE 1
#include "kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- the system's calls ---- */

typedef enum hook {
    HOOK_MALLOC, HOOK_GETADDRINFO, HOOK_SOCKET, HOOK_FCNTL, HOOK_SETSOCKOPT, HOOK_GETSOCKOPT, HOOK_BIND, HOOK_LISTEN, HOOK_GETSOCKNAME,
    HOOK_EPOLL_CREATE, HOOK_EPOLL_CTL, HOOK_WAIT, HOOK_ACCEPT, HOOK_RECV, HOOK_SEND, HOOK_SHUTDOWN, HOOK_COUNT
} hook;

/* What the n-th call, or every call of one kind, fails with: 0 = it cannot fail so. */
typedef struct hooks {
    uint64_t calls, of[HOOK_COUNT];
    uint64_t fail_at;
    hook all; /* HOOK_COUNT = none */
    int error[HOOK_COUNT];
    hook failed;
    int sys;    /* what it failed with, 0 = it did not yet */
    int little; /* the send buffer of what is accepted; 0 = as it comes */
    long blocks;
} hooks;

static hooks H;

static bool hook_fails(hook h)
{
    H.of[h]++;
    if ((++H.calls != H.fail_at && H.all != h) || !H.error[h])
        return false;
    H.failed = h;
    H.sys = errno = H.error[h];
    return true;
}

/* Waiting takes no time but the world's. */
static int hook_slept(int n, int timeout_ms)
{
    if (n == 0 && timeout_ms != 0) {
        K.s->now += timeout_ms > 0 ? timeout_ms : 1000;
        K.s->idle_calls = 0;
    }
    return n;
}

#define HOOK(name, h, type, parameters, arguments) \
    static inline type hook_##name parameters { return hook_fails(h) ? (type)-1 : name arguments; }
HOOK(socket, HOOK_SOCKET, int, (int a, int b, int c), (a, b, c))
HOOK(setsockopt, HOOK_SETSOCKOPT, int, (int a, int b, int c, const void *d, socklen_t e), (a, b, c, d, e))
HOOK(getsockopt, HOOK_GETSOCKOPT, int, (int a, int b, int c, void *d, socklen_t *e), (a, b, c, d, e))
HOOK(bind, HOOK_BIND, int, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
HOOK(listen, HOOK_LISTEN, int, (int a, int b), (a, b))
HOOK(getsockname, HOOK_GETSOCKNAME, int, (int a, struct sockaddr *b, socklen_t *c), (a, b, c))
HOOK(epoll_create1, HOOK_EPOLL_CREATE, int, (int a), (a))
HOOK(epoll_ctl, HOOK_EPOLL_CTL, int, (int a, int b, int c, struct epoll_event *d), (a, b, c, d))
HOOK(recv, HOOK_RECV, ssize_t, (int a, void *b, size_t c, int d), (a, b, c, d))
HOOK(send, HOOK_SEND, ssize_t, (int a, const void *b, size_t c, int d), (a, b, c, d))
HOOK(shutdown, HOOK_SHUTDOWN, int, (int a, int b), (a, b))

static inline int hook_fcntl(int fd, int command, int argument)
{
    return hook_fails(HOOK_FCNTL) ? -1 : fcntl(fd, command, argument);
}

static int hook_accepted(int fd)
{
    if (fd >= 0 && H.little)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &H.little, sizeof H.little);
    return fd;
}

static inline int hook_accept(int fd, struct sockaddr *a, socklen_t *n)
{
    return hook_fails(HOOK_ACCEPT) ? -1 : hook_accepted(accept(fd, a, n));
}

static inline int hook_accept4(int fd, struct sockaddr *a, socklen_t *n, int flags)
{
    return hook_fails(HOOK_ACCEPT) ? -1 : hook_accepted(accept4(fd, a, n, flags));
}

static inline int hook_epoll_wait(int fd, struct epoll_event *e, int n, int timeout_ms)
{
    return hook_fails(HOOK_WAIT) ? -1 : hook_slept(epoll_wait(fd, e, n, 0), timeout_ms);
}

static inline int hook_poll(struct pollfd *p, nfds_t n, int timeout_ms)
{
    return hook_fails(HOOK_WAIT) ? -1 : hook_slept(poll(p, n, 0), timeout_ms);
}

static inline int hook_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    return hook_fails(HOOK_GETADDRINFO) ? EAI_MEMORY : getaddrinfo(host, service, hints, out);
}

static inline int hook_clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    t->tv_sec = (time_t)(K.s->now / 1000);
    t->tv_nsec = (long)(K.s->now % 1000) * 1000000;
    return 0;
}

static inline void *hook_malloc(size_t n)
{
    if (hook_fails(HOOK_MALLOC))
        return NULL;
    H.blocks++;
    return malloc(n);
}

static inline void hook_free(void *p)
{
    H.blocks -= p != NULL;
    free(p);
}

#define HOOK_FCNTL_OF(a, b, c, ...) hook_fcntl(a, b, c)
#define fcntl(...) HOOK_FCNTL_OF(__VA_ARGS__, 0, 0)
#define socket hook_socket
#define setsockopt hook_setsockopt
#define getsockopt hook_getsockopt
#define bind hook_bind
#define listen hook_listen
#define getsockname hook_getsockname
#define epoll_create1 hook_epoll_create1
#define epoll_ctl hook_epoll_ctl
#define epoll_wait hook_epoll_wait
#define poll hook_poll
#define accept hook_accept
#define accept4 hook_accept4
#define recv hook_recv
#define send hook_send
#define shutdown hook_shutdown
#define getaddrinfo hook_getaddrinfo
#define clock_gettime hook_clock_gettime
#define malloc hook_malloc
#define free hook_free

#define SANDBOX_IMPLEMENTATION
#include "sandbox_tunnel.h"
#undef SANDBOX_IMPLEMENTATION

#undef fcntl
#undef socket
#undef setsockopt
#undef getsockopt
#undef bind
#undef listen
#undef getsockname
#undef epoll_create1
#undef epoll_ctl
#undef epoll_wait
#undef poll
#undef accept
#undef accept4
#undef recv
#undef send
#undef shutdown
#undef getaddrinfo
#undef clock_gettime
#undef malloc
#undef free

static inline unsigned descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* ---- local programs ---- */

/* One connection: says `all` bytes, then ends its half, and hears to the end. */
typedef struct peer {
    int fd;         /* -1: closed */
    uint16_t port;  /* inside */
    unsigned salt;
    size_t all, said, heard;
    bool ended, eof, failed; /* failed: it was reset */
} peer;

static inline unsigned char peer_byte(const peer *p, size_t at)
{
    return (unsigned char)(at * 31 + (at >> 8) + p->salt);
}

/* What comes back from the port, by peer.h. */
static inline unsigned char peer_hears(const peer *p, size_t at)
{
    return p->port == 7 ? peer_byte(p, at) : sim_tunnel_byte(p->port, at);
}

/* To a forward's port, or to its Unix socket. */
static inline void peer_open(peer *p, const sbx_forward *f, const char *path)
{
    struct sockaddr_in in;
    struct sockaddr_un un;

    memset(&in, 0, sizeof in);
    memset(&un, 0, sizeof un);
    in.sin_family = AF_INET;
    in.sin_port = htons(sbx_forward_port(f));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    un.sun_family = AF_UNIX;
    if (path)
        strcpy(un.sun_path, path);
    p->fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->fd >= 0);
    assert_int_equal(connect(p->fd, path ? (struct sockaddr *)&un : (struct sockaddr *)&in, path ? sizeof un : sizeof in), 0);
}

static inline void peer_close(peer *p, bool reset)
{
    struct linger now = { 1, 0 };

    if (p->fd < 0)
        return;
    if (reset)
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(p->fd);
    p->fd = -1;
}

/* Up to n bytes of what it has to say; true = some went out, or its half ended. */
static inline bool peer_say(peer *p, size_t n)
{
    char piece[16384];
    ssize_t sent;

    if (p->fd < 0 || p->ended || p->failed)
        return false;
    n = n < p->all - p->said ? n : p->all - p->said;
    n = n < sizeof piece ? n : sizeof piece;
    for (size_t i = 0; i < n; i++)
        piece[i] = (char)peer_byte(p, p->said + i);
    if (n) {
        sent = send(p->fd, piece, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        p->failed = sent < 0 && errno != EAGAIN;
        p->said += sent > 0 ? (size_t)sent : 0;
        return sent > 0;
    }
    p->failed = shutdown(p->fd, SHUT_WR) != 0;
    return p->ended = true;
}

static inline bool peer_hear(peer *p, size_t n)
{
    unsigned char piece[16384];
    ssize_t got;

    if (p->fd < 0 || p->eof || p->failed)
        return false;
    got = recv(p->fd, piece, n < sizeof piece ? n : sizeof piece, MSG_DONTWAIT);
    p->failed = got < 0 && errno != EAGAIN;
    p->eof = got == 0;
    for (ssize_t i = 0; i < got; i++)
        if (piece[i] != peer_hears(p, p->heard + (size_t)i))
            fail_msg("seed %llu: port %u, byte %zu is wrong", (unsigned long long)K.s->seed, p->port, p->heard + (size_t)i);
    p->heard += got > 0 ? (size_t)got : 0;
    return got > 0 || p->eof;
}

#endif
