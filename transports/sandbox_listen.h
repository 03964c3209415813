/* sandbox_listen.h: local listening sockets, TCP and Unix. A part of
   sandbox_tunnel.h, which includes it; it declares nothing public. POSIX. */
#ifndef SBX_LISTEN_H
#define SBX_LISTEN_H

#ifndef SBX_LANGSMITH_H
#error "include sandbox.h before sandbox_listen.h"
#endif
#endif /* SBX_LISTEN_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_LISTEN_IMPLEMENTED) && !(defined(SBX_NO_TUNNEL) && SBX_NO_TUNNEL)
#define SBXI_LISTEN_IMPLEMENTED

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Born as they must be: no fork of another thread comes between. */
#if defined(__linux__) && defined(_GNU_SOURCE) && !(defined(SBX_TUNNEL_POLL) && SBX_TUNNEL_POLL)
#define SBXI_LISTEN_BORN (SOCK_NONBLOCK | SOCK_CLOEXEC)
#define SBXI_LISTEN_ACCEPT4
#else
#define SBXI_LISTEN_BORN 0
#endif

#if !defined(EAI_NONAME) || (defined(__GLIBC__) && !defined(__USE_MISC))
#error "sandbox_tunnel.h: POSIX is hidden (-std=c99?) and a system header came first: include sandbox.h before every system header in this file, or compile it with -D_DEFAULT_SOURCE"
#endif

typedef union sbxi_listen_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
} sbxi_listen_address;

/* The address to listen on: a path, or an IP literal. Its length; 0: it is none,
   or errno is ENOMEM. */
static SBX_UNUSED socklen_t sbxi_listen_parse(const char *host, uint16_t port, sbxi_listen_address *a)
{
    struct addrinfo hints, *found;
    char digits[8];
    socklen_t n;
    int failed;

    errno = 0;
    memset(a, 0, sizeof *a);
    if (host[0] == '/') {
        if (strlen(host) >= sizeof a->un.sun_path)
            return 0;
        a->un.sun_family = AF_UNIX;
        memcpy(a->un.sun_path, host, strlen(host) + 1);
        return (socklen_t)sizeof a->un;
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    snprintf(digits, sizeof digits, "%u", port);
    failed = getaddrinfo(host, digits, &hints, &found);
    if (failed) {
        errno = failed == EAI_MEMORY ? ENOMEM : 0;
        return 0;
    }
    n = found->ai_addrlen <= sizeof *a ? found->ai_addrlen : 0;
    memcpy(a, found->ai_addr, n);
    freeaddrinfo(found);
    return n;
}

/* A connection is ended by a reset, where its kind knows one. */
static SBX_UNUSED void sbxi_listen_reset(int fd)
{
    struct linger l;

    l.l_onoff = 1;
    l.l_linger = 0;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(fd);
}

/* Does not block, is not inherited, sends at once. False with errno. */
static SBX_UNUSED bool sbxi_listen_prepare(int fd)
{
    int flags, one = 1;

#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
#endif
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* without effect on a Unix socket */
    if (SBXI_LISTEN_BORN)
        return true;
    flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* The next connection, or -1 with errno. */
static SBX_UNUSED int sbxi_listen_accept(int listener)
{
#ifdef SBXI_LISTEN_ACCEPT4
    return accept4(listener, NULL, NULL, SBXI_LISTEN_BORN);
#else
    return accept(listener, NULL, NULL);
#endif
}

static bool sbxi_listen_begin(int fd, sbxi_listen_address *a, socklen_t n, int backlog)
{
    int one = 1;

    if (a->any.sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!sbxi_listen_prepare(fd) || bind(fd, &a->any, n))
        return false;
    n = (socklen_t)sizeof *a;
    if (listen(fd, backlog) == 0 && (a->any.sa_family == AF_UNIX || getsockname(fd, &a->any, &n) == 0))
        return true;
    if (a->any.sa_family == AF_UNIX) {
        int sys = errno;

        unlink(a->un.sun_path);
        errno = sys;
    }
    return false;
}

/* A socket that listens, or -1 with errno. *port: its TCP port, 0 of a Unix socket. */
static SBX_UNUSED int sbxi_listen_open(sbxi_listen_address *a, socklen_t n, int backlog, uint16_t *port)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SBXI_LISTEN_BORN, 0);

    if (fd >= 0 && !sbxi_listen_begin(fd, a, n, backlog)) {
        int sys = errno;

        close(fd);
        errno = sys;
        return -1;
    }
    *port = a->any.sa_family == AF_INET6 ? ntohs(a->v6.sin6_port) : a->any.sa_family == AF_INET ? ntohs(a->v4.sin_port) : 0;
    return fd;
}

#endif /* SANDBOX_IMPLEMENTATION */
