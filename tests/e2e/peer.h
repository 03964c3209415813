/* A server in a process of its own that says what a test wants, right or
   wrong: for the tests of bad input and for the benchmarks. It serves one
   connection after the other. */
#ifndef E2E_PEER_H
#define E2E_PEER_H
#include "sandbox.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

typedef void (*peer_act)(int fd, void *arg);

typedef struct peer {
    pid_t pid;
    unsigned port;
    char base[64];
    pid_t front; /* of front_start; else 0 */
} peer;

static inline void peer_die(const char *what)
{
    perror(what);
    _exit(99);
}

/* False: the client is gone. */
static inline bool peer_send(int fd, const void *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        p = (const char *)p + sent;
        n -= (size_t)sent;
    }
    return true;
}

static inline bool peer_say(int fd, const char *text)
{
    return peer_send(fd, text, strlen(text));
}

/* A request's head, NUL-terminated; 0 = the client is gone. */
static inline size_t peer_head(int fd, char *p, size_t room)
{
    size_t n = 0;

    while (n + 1 < room && recv(fd, p + n, 1, 0) == 1) {
        p[++n] = 0;
        if (n >= 4 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0)
            return n;
    }
    return 0;
}

static inline bool peer_read(int fd, void *p, size_t n)
{
    while (n) {
        ssize_t got = recv(fd, p, n, 0);

        if (got <= 0)
            return false;
        p = (char *)p + got;
        n -= (size_t)got;
    }
    return true;
}

/* One frame of the client's, unmasked and cut to `room`; its payload's length,
   -1 = gone. */
static inline long peer_message(int fd, char *p, size_t room)
{
    unsigned char head[8], mask[4];
    uint64_t n;

    if (!peer_read(fd, head, 2))
        return -1;
    n = head[1] & 127;
    if (n >= 126) {
        unsigned extra = n == 126 ? 2 : 8;

        if (!peer_read(fd, head, extra))
            return -1;
        n = 0;
        for (unsigned i = 0; i < extra; i++)
            n = n << 8 | head[i];
    }
    if (!peer_read(fd, mask, 4))
        return -1;
    for (uint64_t i = 0; i < n; i++) {
        char ch;

        if (!peer_read(fd, &ch, 1))
            return -1;
        if (i < room)
            p[i] = (char)(ch ^ mask[i & 3]);
    }
    return (long)n;
}

static inline bool peer_frame(int fd, unsigned opcode, const void *p, size_t n)
{
    unsigned char head[SBX_WS_HEAD_MAX];
    size_t head_n = sbx_ws_head(head, opcode, true, n, NULL);

    return peer_send(fd, head, head_n) && peer_send(fd, p, n);
}

static inline bool peer_text(int fd, const char *text)
{
    return peer_frame(fd, SBX_WS_OP_TEXT, text, strlen(text));
}

/* The upgrade, and the client's first message into `hello` (may be NULL). */
static inline bool peer_upgrade(int fd, char *hello, size_t room)
{
    char head[4096], accept[28], answer[256], none[1];
    char *key;
    long n;

    if (!peer_head(fd, head, sizeof head) || !(key = strstr(head, "Sec-WebSocket-Key: ")))
        return false;
    sbx_ws_accept(accept, sbx_sn(key + 19, 24));
    snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %.28s\r\n\r\n", accept);
    if (!peer_say(fd, answer))
        return false;
    n = peer_message(fd, hello ? hello : none, hello ? room - 1 : 0);
    if (hello && n >= 0)
        hello[(size_t)n < room - 1 ? (size_t)n : room - 1] = 0;
    return n >= 0;
}

static inline int peer_listen(unsigned *port)
{
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&a, &len))
        peer_die("peer");
    *port = ntohs(a.sin_port);
    return fd;
}

/* Its own process; it ends with its parent, or by peer_stop. */
static inline peer peer_fork(int listener, unsigned port, void (*serve)(int listener, void *arg), void *arg)
{
    peer p;

    p.front = 0;
    p.port = port;
    snprintf(p.base, sizeof p.base, "http://127.0.0.1:%u/x", port);
    fflush(NULL);
    p.pid = fork();
    if (p.pid < 0)
        peer_die("fork");
    if (p.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listener, arg);
        _exit(0);
    }
    close(listener);
    return p;
}

typedef struct peer_script {
    peer_act act;
    void *arg;
} peer_script;

/* What was said arrives before the end does. */
static inline void peer_end(int fd)
{
    char rest[4096];

    shutdown(fd, SHUT_WR);
    while (recv(fd, rest, sizeof rest, 0) > 0)
        ;
    close(fd);
}

static inline void peer_serve(int listener, void *arg)
{
    const peer_script *s = arg;
    int fd;

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        s->act(fd, s->arg);
        peer_end(fd);
    }
}

/* The same with a process for each connection. */
static inline void peer_serve_each(int listener, void *arg)
{
    const peer_script *s = arg;
    int fd;

    signal(SIGCHLD, SIG_IGN);
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        pid_t pid = fork();

        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            s->act(fd, s->arg);
            peer_end(fd);
            _exit(0);
        }
        close(fd);
    }
}

static inline peer peer_start(peer_act act, void *arg)
{
    peer_script s = { act, arg };
    unsigned port;
    int listener = peer_listen(&port);

    return peer_fork(listener, port, peer_serve, &s);
}

static inline void peer_stop(peer *p)
{
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
}
#endif
