/* A conformance suite for transports: what transport.h promises, checked
   against a peer on loopback. For one of your own write my_test.c:

       #define SANDBOX_IMPLEMENTATION
       #include "sandbox.h"
       #include "my_transport.h"
       #include "conformance.h"

       int main(void)
       {
           static const my_config config = { … };
           static const sbxt_suite suite = { .t = &my_transport, .config = &config };

           return sbxt_main(&suite);
       }

   and, on Linux with libcmocka-dev, beside sandbox.h

       cc -g -fsanitize=address,undefined -I. -Itests/transport my_test.c -lcmocka -pthread && ./a.out

   The sanitizers see lost memory and bytes written out of place; the suite
   itself looks for lost descriptors, and for bytes around the memory it gives.

   What it needs: the transport reaches 127.0.0.1, and `localhost` and a name
   that does not exist are told apart. It has `wait`, or is tried every
   millisecond. What your transport cannot do, say before the #include:
       #define SBXT_IPV6 0       no ::1 (or this machine has none)
       #define SBXT_CONNS n      fewer than 200 connections at once, 3 at least
       #define SBXT_HALF_CLOSE 0 nothing can be sent to a peer that ended its stream

   What it checks: would-block each way and partial sends (10 MiB there and
   back at once; a peer that does not read, one that does not write), signals
   in the midst of it, the forms of end (a clean one, one side's only, a reset,
   refused, no such name, bad names, a target with TLS), slow connects, closing
   at every stage, waits and wakes, the poll handle, many connections with few
   places to report them, 10,000 opens and closes, clocks and random bytes.

   A transport with a suite of its own sets sbxt_now by sbxt_prepare and puts
   SBXT_CONFORMANCE among its tests. Included after sandbox.h or transport.h;
   one translation unit a program. */
#ifndef SBXT_CONFORMANCE_H
#define SBXT_CONFORMANCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* How the peer speaks on an accepted socket. Used in the peer's thread. */
typedef struct sbxt_wire {
    void *(*begin)(int fd); /* NULL = it could not */
    ssize_t (*read)(void *session, void *p, size_t n); /* 0 = end */
    ssize_t (*write)(void *session, const void *p, size_t n);
    void (*end_write)(void *session); /* ends its stream cleanly, still reads */
    void (*end)(void *session);       /* frees the session, not the socket */
} sbxt_wire;

typedef struct sbxt_suite {
    const sbx_transport *t;
    const void *config;
    bool tls;              /* targets ask for TLS */
    const sbxt_wire *wire; /* NULL = plain TCP */
} sbxt_suite;

static const sbxt_suite *sbxt_now;

#ifndef SBXT_IPV6
#define SBXT_IPV6 1
#endif
#ifndef SBXT_CONNS
#define SBXT_CONNS 200
#endif
#ifndef SBXT_HALF_CLOSE
#define SBXT_HALF_CLOSE 1
#endif

enum { SBXT_GUARD_MS = 30000, SBXT_CANARY = 0x5A, SBXT_EDGE = 64 };

/* ---- the peer ---- */

static void *sbxt_plain_begin(int fd)
{
    int *p = (int *)malloc(sizeof *p);
    if (p)
        *p = fd;
    return p;
}

static ssize_t sbxt_plain_read(void *session, void *p, size_t n)
{
    ssize_t r;
    do {
        r = recv(*(int *)session, p, n, 0);
    } while (r < 0 && errno == EINTR);
    return r;
}

static ssize_t sbxt_plain_write(void *session, const void *p, size_t n)
{
    ssize_t r;
    do {
        r = send(*(int *)session, p, n, MSG_NOSIGNAL);
    } while (r < 0 && errno == EINTR);
    return r;
}

static void sbxt_plain_end_write(void *session)
{
    shutdown(*(int *)session, SHUT_WR);
}

static const sbxt_wire sbxt_plain = {sbxt_plain_begin, sbxt_plain_read, sbxt_plain_write, sbxt_plain_end_write, free};

typedef struct sbxt_peer {
    int fd; /* the listener */
    uint16_t port;
    const sbxt_wire *wire;
    void (*serve)(struct sbxt_peer *peer, void *session, int fd);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool stop, go;
    size_t got;   /* what serve counted */
    char head[8]; /* first bytes it read */
} sbxt_peer;

static int sbxt_listen(const char *ip, int backlog, uint16_t port, uint16_t *bound)
{
    struct sockaddr_in6 s6;
    struct sockaddr_in s4;
    struct sockaddr *s;
    socklen_t n;
    int fd, one = 1;
    memset(&s6, 0, sizeof s6);
    memset(&s4, 0, sizeof s4);
    if (strchr(ip, ':')) {
        s6.sin6_family = AF_INET6;
        s6.sin6_port = htons(port);
        assert_int_equal(inet_pton(AF_INET6, ip, &s6.sin6_addr), 1);
        s = (struct sockaddr *)&s6;
        n = sizeof s6;
    } else {
        s4.sin_family = AF_INET;
        s4.sin_port = htons(port);
        assert_int_equal(inet_pton(AF_INET, ip, &s4.sin_addr), 1);
        s = (struct sockaddr *)&s4;
        n = sizeof s4;
    }
    fd = socket(s->sa_family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    if (s->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    assert_int_equal(bind(fd, s, n), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, s, &n), 0);
    *bound = ntohs(s->sa_family == AF_INET6 ? s6.sin6_port : s4.sin_port);
    return fd;
}

static void *sbxt_peer_thread(void *arg)
{
    sbxt_peer *p = (sbxt_peer *)arg;
    for (;;) {
        bool stop;
        int fd = accept(p->fd, NULL, NULL);
        pthread_mutex_lock(&p->lock);
        stop = p->stop;
        pthread_mutex_unlock(&p->lock);
        if (fd >= 0) {
            void *session = stop ? NULL : p->wire->begin(fd);
            if (session) {
                p->serve(p, session, fd);
                p->wire->end(session);
            }
            close(fd);
        }
        if (stop)
            return NULL;
    }
}

/* Whether 127.0.0.2, where some tests need the same port, has it too: other
   programs take ports of their own there. */
static bool sbxt_port_is_free(uint16_t port)
{
    struct sockaddr_in s;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool is_free;
    memset(&s, 0, sizeof s);
    s.sin_family = AF_INET;
    s.sin_port = htons(port);
    s.sin_addr.s_addr = htonl(0x7F000002);
    is_free = fd >= 0 && bind(fd, (struct sockaddr *)&s, sizeof s) == 0;
    close(fd);
    return is_free;
}

static void sbxt_peer_start(sbxt_peer *p, const char *ip, void (*serve)(sbxt_peer *, void *, int))
{
    sigset_t all, before;
    int tries;
    memset(p, 0, sizeof *p);
    p->fd = sbxt_listen(ip, 128, 0, &p->port);
    for (tries = 0; tries < 20 && !sbxt_port_is_free(p->port); tries++) {
        close(p->fd);
        p->fd = sbxt_listen(ip, 128, 0, &p->port);
    }
    p->wire = sbxt_now->wire ? sbxt_now->wire : &sbxt_plain;
    p->serve = serve;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->cond, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    assert_int_equal(pthread_create(&p->thread, NULL, sbxt_peer_thread, p), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void sbxt_peer_go(sbxt_peer *p)
{
    pthread_mutex_lock(&p->lock);
    p->go = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->lock);
}

/* In serve: waits for sbxt_peer_go. */
static void sbxt_peer_hold(sbxt_peer *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->go)
        pthread_cond_wait(&p->cond, &p->lock);
    p->go = false;
    pthread_mutex_unlock(&p->lock);
}

static void sbxt_peer_stop(sbxt_peer *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = p->go = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->lock);
    shutdown(p->fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->fd);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->lock);
}

static bool sbxt_write_all(sbxt_peer *p, void *session, const char *at, size_t n)
{
    while (n) {
        ssize_t r = p->wire->write(session, at, n);
        if (r <= 0)
            return false;
        at += r;
        n -= (size_t)r;
    }
    return true;
}

/* Reads to the end, counting. */
static void sbxt_drain(sbxt_peer *p, void *session)
{
    static char sink[65536]; /* one peer at a time */
    ssize_t r;
    while ((r = p->wire->read(session, sink, sizeof sink)) > 0) {
        if (p->got < sizeof p->head)
            memcpy(p->head + p->got, sink, (size_t)r < sizeof p->head - p->got ? (size_t)r : sizeof p->head - p->got);
        p->got += (size_t)r;
    }
}

static void sbxt_serve_echo(sbxt_peer *p, void *session, int fd)
{
    static char data[65536];
    ssize_t r;
    (void)fd;
    while ((r = p->wire->read(session, data, sizeof data)) > 0)
        if (!sbxt_write_all(p, session, data, (size_t)r))
            return;
    p->wire->end_write(session);
}

static void sbxt_serve_sink(sbxt_peer *p, void *session, int fd)
{
    (void)fd;
    sbxt_drain(p, session);
}

static void sbxt_serve_held_sink(sbxt_peer *p, void *session, int fd)
{
    (void)fd;
    sbxt_peer_hold(p);
    sbxt_drain(p, session);
}

static void sbxt_serve_held_word(sbxt_peer *p, void *session, int fd)
{
    (void)fd;
    sbxt_peer_hold(p);
    sbxt_write_all(p, session, "word", 4);
    sbxt_drain(p, session);
}

static void sbxt_serve_half(sbxt_peer *p, void *session, int fd)
{
    (void)fd;
    sbxt_write_all(p, session, "bye", 3);
    p->wire->end_write(session);
    sbxt_drain(p, session);
}

static void sbxt_serve_fin(sbxt_peer *p, void *session, int fd)
{
    (void)fd;
    sbxt_write_all(p, session, "hello", 5);
    p->wire->end_write(session);
}

static void sbxt_serve_reset(sbxt_peer *p, void *session, int fd)
{
    struct linger l;
    char c;
    l.l_onoff = 1;
    l.l_linger = 0;
    p->wire->read(session, &c, 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

/* ---- the client's side: a transport with memory and a record of what is ready ---- */

typedef struct sbxt_rig {
    const sbx_transport *t;
    uint32_t max;
    size_t ctx_n, conn_n, conn_step;
    char *ctx_block, *conn_block;
    void *ctx;
    unsigned *bits; /* by tag, which is the connection's number */
    int reports;
} sbxt_rig;

static void *sbxt_guarded(size_t n, char **block)
{
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 64, n + 2 * SBXT_EDGE), 0);
    memset(p, SBXT_CANARY, n + 2 * SBXT_EDGE);
    *block = (char *)p;
    memset(*block + SBXT_EDGE, 0, n);
    return *block + SBXT_EDGE;
}

static void sbxt_intact(const char *block, size_t n)
{
    size_t i;
    for (i = 0; i < SBXT_EDGE; i++) {
        assert_int_equal(block[i], SBXT_CANARY);
        assert_int_equal(block[SBXT_EDGE + n + i], SBXT_CANARY);
    }
}

static sbx_code sbxt_try_open(sbxt_rig *r, const void *config, uint32_t max, sbx_fault *fault)
{
    const sbx_transport *t;
    char *conns;
    memset(r, 0, sizeof *r);
    r->t = sbxt_now->t;
    r->max = max;
    for (t = r->t; t; t = t->lower) {
        r->ctx_n += SBX_TRANSPORT_ALIGN(t->ctx_size + (size_t)t->ctx_per_conn * max);
        r->conn_step += SBX_TRANSPORT_ALIGN(t->conn_size);
    }
    if (!r->t->lower)
        r->ctx_n = r->t->ctx_size + (size_t)r->t->ctx_per_conn * max; /* to the byte */
    r->conn_n = r->conn_step * max;
    r->ctx = sbxt_guarded(r->ctx_n, &r->ctx_block);
    conns = (char *)sbxt_guarded(r->conn_n, &r->conn_block);
    (void)conns;
    r->bits = (unsigned *)calloc(max ? max : 1, sizeof *r->bits);
    assert_non_null(r->bits);
    return sbx_transport_open(r->t, r->ctx, config, max, fault);
}

static void sbxt_free(sbxt_rig *r)
{
    sbxt_intact(r->ctx_block, r->ctx_n);
    sbxt_intact(r->conn_block, r->conn_n);
    free(r->ctx_block);
    free(r->conn_block);
    free(r->bits);
}

static void sbxt_open_with(sbxt_rig *r, const void *config, uint32_t max)
{
    sbx_fault fault;
    memset(&fault, 0, sizeof fault);
    assert_int_equal(sbxt_try_open(r, config, max, &fault), SBX_OK);
}

static void sbxt_open(sbxt_rig *r, uint32_t max)
{
    sbxt_open_with(r, sbxt_now->config, max);
}

static void sbxt_shut(sbxt_rig *r)
{
    if (r->t->shut)
        r->t->shut(r->ctx);
    sbxt_free(r);
}

static void *sbxt_conn(sbxt_rig *r, uint32_t i)
{
    assert_true(i < r->max);
    return r->conn_block + SBXT_EDGE + i * r->conn_step;
}

static void sbxt_close(sbxt_rig *r, uint32_t i)
{
    r->t->close(r->ctx, sbxt_conn(r, i));
    memset(sbxt_conn(r, i), 0, r->conn_step);
    r->bits[i] = 0;
}

/* One wait; records what it reports. */
static int sbxt_look(sbxt_rig *r, int64_t ms, int max)
{
    sbx_ready ready[256];
    int i, n;
    assert_true(max <= 256);
    if (!r->t->wait) {
        struct timespec t = {0, 1000000};
        nanosleep(&t, NULL);
        for (i = 0; i < (int)r->max; i++)
            r->bits[i] = SBX_READABLE | SBX_WRITABLE;
        return (int)r->max;
    }
    n = r->t->wait(r->ctx, ms, ready, max);
    assert_true(n >= 0 && n <= max);
    for (i = 0; i < n; i++) {
        assert_true(ready[i].tag < r->max);
        assert_true(ready[i].bits != 0 && ready[i].bits <= 3);
        r->bits[ready[i].tag] |= ready[i].bits;
    }
    r->reports += n;
    return n;
}

static void sbxt_watch(sbxt_rig *r, uint32_t i, unsigned bits)
{
    if (r->t->watch)
        r->t->watch(r->ctx, sbxt_conn(r, i), bits);
}

/* Waits until one of the bits is set for i. */
static void sbxt_until(sbxt_rig *r, uint32_t i, unsigned bits)
{
    int64_t start = r->t->mono_ms(r->ctx);
    sbxt_watch(r, i, bits);
    while (!(r->bits[i] & bits)) {
        sbxt_look(r, 1000, 16);
        if (r->t->mono_ms(r->ctx) - start > SBXT_GUARD_MS)
            fail_msg("connection %u was never reported", (unsigned)i);
    }
}

/* What an answer says of readiness. */
static sbx_io sbxt_note(sbxt_rig *r, uint32_t i, sbx_io io)
{
    if (io == SBX_IO_WANT_READ)
        r->bits[i] &= ~(unsigned)SBX_READABLE;
    if (io == SBX_IO_WANT_WRITE)
        r->bits[i] &= ~(unsigned)SBX_WRITABLE;
    return io;
}

static sbx_target sbxt_target(const char *host, uint16_t port, uint32_t tag)
{
    sbx_target to;
    to.host = sbx_s(host);
    to.port = port;
    to.tls = sbxt_now->tls;
    to.tag = tag;
    return to;
}

static sbx_io sbxt_connect_step(sbxt_rig *r, uint32_t i, const char *host, uint16_t port, sbx_fault *fault)
{
    sbx_target to = sbxt_target(host, port, i);
    memset(fault, 0, sizeof *fault);
    return sbxt_note(r, i, r->t->connect(r->ctx, sbxt_conn(r, i), &to, fault));
}

static sbx_io sbxt_connect(sbxt_rig *r, uint32_t i, const char *host, uint16_t port, sbx_fault *fault)
{
    for (;;) {
        sbx_io io = sbxt_connect_step(r, i, host, port, fault);
        if (io != SBX_IO_WANT_READ && io != SBX_IO_WANT_WRITE)
            return io;
        /* Name resolution is no one's readiness in particular. */
        r->bits[i] = 0;
        sbxt_watch(r, i, io == SBX_IO_WANT_READ ? SBX_READABLE : SBX_WRITABLE);
        sbxt_until(r, i, io == SBX_IO_WANT_READ ? SBX_READABLE : SBX_WRITABLE);
    }
}

static void sbxt_connected(sbxt_rig *r, uint32_t i, const char *host, uint16_t port)
{
    sbx_fault fault;
    if (sbxt_connect(r, i, host, port, &fault) != SBX_IO_OK)
        fail_msg("connect to %s: code %d, errno %d, %s", host, (int)fault.code, fault.sys, fault.text ? fault.text : "");
    r->bits[i] = SBX_READABLE | SBX_WRITABLE;
}

static sbx_io sbxt_recv(sbxt_rig *r, uint32_t i, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    sbx_io io;
    memset(fault, 0, sizeof *fault);
    *got = (size_t)-1;
    io = sbxt_note(r, i, r->t->recv(r->ctx, sbxt_conn(r, i), p, room, got, fault));
    if (io == SBX_IO_OK)
        assert_true(*got >= 1 && *got <= room);
    return io;
}

static sbx_io sbxt_send(sbxt_rig *r, uint32_t i, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    sbx_io io;
    memset(fault, 0, sizeof *fault);
    *sent = (size_t)-1;
    io = sbxt_note(r, i, r->t->send(r->ctx, sbxt_conn(r, i), p, n, sent, fault));
    assert_int_not_equal(io, SBX_IO_EOF);
    if (io == SBX_IO_OK)
        assert_true(*sent >= 1 && *sent <= n);
    return io;
}

/* Reads up to n bytes, or to the end; the last answer comes back. */
static sbx_io sbxt_read(sbxt_rig *r, uint32_t i, char *p, size_t n, size_t *total, sbx_fault *fault)
{
    *total = 0;
    while (*total < n) {
        size_t got;
        sbx_io io = sbxt_recv(r, i, p + *total, n - *total, &got, fault);
        if (io == SBX_IO_OK)
            *total += got;
        else if (io == SBX_IO_WANT_READ || io == SBX_IO_WANT_WRITE)
            sbxt_until(r, i, io == SBX_IO_WANT_READ ? SBX_READABLE : SBX_WRITABLE);
        else
            return io;
    }
    return SBX_IO_OK;
}

static sbx_io sbxt_write(sbxt_rig *r, uint32_t i, const char *p, size_t n, sbx_fault *fault)
{
    while (n) {
        size_t sent;
        sbx_io io = sbxt_send(r, i, p, n, &sent, fault);
        if (io == SBX_IO_OK) {
            p += sent;
            n -= sent;
        } else if (io == SBX_IO_WANT_READ || io == SBX_IO_WANT_WRITE) {
            sbxt_until(r, i, io == SBX_IO_WANT_READ ? SBX_READABLE : SBX_WRITABLE);
        } else {
            return io;
        }
    }
    return SBX_IO_OK;
}

static int sbxt_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 3; /* ".", ".." and the directory itself */
}

/* A port of 127.0.0.1 on which nothing listens, held so that none will. */
static int sbxt_dead_port(uint16_t *port)
{
    return sbxt_listen("127.0.0.1", -1, 0, port);
}

/* A listener whose queue is full: a further connection stays under way. */
typedef struct sbxt_hole {
    int fd, filler[8], n;
    uint16_t port;
} sbxt_hole;

static void sbxt_hole_dig(sbxt_hole *h, const char *ip, uint16_t port)
{
    struct sockaddr_in s;
    h->fd = sbxt_listen(ip, 0, port, &h->port);
    memset(&s, 0, sizeof s);
    s.sin_family = AF_INET;
    s.sin_port = htons(h->port);
    inet_pton(AF_INET, ip, &s.sin_addr);
    for (h->n = 0; h->n < 8; h->n++) {
        struct pollfd p;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_true(fd >= 0);
        connect(fd, (struct sockaddr *)&s, sizeof s);
        h->filler[h->n] = fd;
        p.fd = fd;
        p.events = POLLOUT;
        if (poll(&p, 1, 200) == 0) {
            h->n++;
            return;
        }
    }
    fail_msg("the queue of %s does not fill", ip);
}

static void sbxt_hole_fill(sbxt_hole *h)
{
    while (h->n)
        close(h->filler[--h->n]);
    close(h->fd);
}

/* ---- the tests ---- */

static uint8_t sbxt_byte(size_t at)
{
    return (uint8_t)(((uint32_t)at * 2654435761u) >> 23);
}

/* How often an echo met a send that took a part, and a would-block each way. */
typedef struct sbxt_met {
    size_t partial, full, empty;
} sbxt_met;

static sbxt_met sbxt_run_echo(size_t total, const char *host, const char *ip)
{
    enum { CHUNK = 1 << 20 };
    static char out[CHUNK], in[1 << 18];
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    size_t sent = 0, got = 0, k, n;
    sbxt_met met = {0, 0, 0};
    sbx_io io;
    sbxt_peer_start(&peer, ip, sbxt_serve_echo);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, host, peer.port);
    while (got < total) {
        if (sent < total && (r.bits[0] & SBX_WRITABLE)) {
            size_t want = total - sent < CHUNK ? total - sent : CHUNK;
            for (k = 0; k < want; k++)
                out[k] = (char)sbxt_byte(sent + k);
            io = sbxt_send(&r, 0, out, want, &n, &fault);
            assert_true(io == SBX_IO_OK || io == SBX_IO_WANT_WRITE || io == SBX_IO_WANT_READ);
            if (io == SBX_IO_OK) {
                sent += n;
                met.partial += n < want;
            }
            met.full += io == SBX_IO_WANT_WRITE;
        }
        if (r.bits[0] & SBX_READABLE) {
            io = sbxt_recv(&r, 0, in, sizeof in, &n, &fault);
            assert_true(io == SBX_IO_OK || io == SBX_IO_WANT_WRITE || io == SBX_IO_WANT_READ);
            if (io == SBX_IO_OK) {
                for (k = 0; k < n; k++)
                    if ((uint8_t)in[k] != sbxt_byte(got + k))
                        fail_msg("byte %zu differs", got + k);
                got += n;
            }
            met.empty += io == SBX_IO_WANT_READ;
        }
        assert_true(got <= sent);
        sbxt_until(&r, 0, sent < total ? SBX_READABLE | SBX_WRITABLE : SBX_READABLE);
        if (got == total)
            break;
    }
    assert_int_equal(got, total);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
    return met;
}

static void sbxt_test_echo(void **state)
{
    (void)state;
    sbxt_run_echo((size_t)10 << 20, "127.0.0.1", "127.0.0.1");
}

static void sbxt_test_echo_v6(void **state)
{
    (void)state;
    if (SBXT_IPV6)
        sbxt_run_echo(1000, "::1", "::1");
    else
        skip();
}

static void sbxt_test_localhost(void **state)
{
    (void)state;
    sbxt_run_echo(1000, "localhost", "127.0.0.1");
}

static volatile sig_atomic_t sbxt_alarms;

static void sbxt_alarm(int sig)
{
    (void)sig;
    sbxt_alarms = sbxt_alarms + 1;
}

/* Everything again while a signal comes every millisecond, without SA_RESTART. */
static void sbxt_test_signals(void **state)
{
    struct sigaction action;
    struct itimerval every;
    sbxt_rig r;
    int64_t start;
    (void)state;
    memset(&action, 0, sizeof action);
    action.sa_handler = sbxt_alarm;
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    memset(&every, 0, sizeof every);
    every.it_value.tv_usec = every.it_interval.tv_usec = 1000;
    sbxt_alarms = 0;
    setitimer(ITIMER_REAL, &every, NULL);
    sbxt_run_echo((size_t)4 << 20, "127.0.0.1", "127.0.0.1");
    sbxt_run_echo(1000, "localhost", "127.0.0.1");
    sbxt_open(&r, 1);
    if (r.t->wait) {
        start = r.t->mono_ms(r.ctx);
        assert_int_equal(sbxt_look(&r, 60, 8), 0);
        assert_true(r.t->mono_ms(r.ctx) - start >= 60);
    }
    assert_true(sbxt_alarms > 3);
    sbxt_shut(&r);
}

static int sbxt_no_signals(void **state)
{
    struct itimerval off;
    (void)state;
    memset(&off, 0, sizeof off);
    setitimer(ITIMER_REAL, &off, NULL);
    signal(SIGALRM, SIG_DFL);
    return 0;
}

static void sbxt_test_write_blocks(void **state)
{
    static char data[(1 << 20) + 1];
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    size_t total = 0, n, partial = 0;
    sbx_io io;
    int i;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_held_sink);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    while ((io = sbxt_send(&r, 0, data, sizeof data, &n, &fault)) == SBX_IO_OK) {
        total += n;
        partial += n < sizeof data;
        assert_true(total < (size_t)1 << 30);
    }
    assert_int_equal(io, SBX_IO_WANT_WRITE);
    assert_true(partial > 0);
    /* It stays so, and is not reported over and over. */
    r.bits[0] = 0;
    sbxt_watch(&r, 0, SBX_WRITABLE);
    for (i = 0; i < 5 && r.t->wait; i++) {
        sbxt_look(&r, 10, 8);
        if (r.bits[0] & SBX_WRITABLE)
            assert_int_equal(sbxt_send(&r, 0, data, sizeof data, &n, &fault), SBX_IO_WANT_WRITE);
    }
    sbxt_peer_go(&peer);
    for (i = 0; i < 3; i++) {
        assert_int_equal(sbxt_write(&r, 0, data, sizeof data, &fault), SBX_IO_OK);
        total += sizeof data;
    }
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
    assert_int_equal(peer.got, total);
}

static void sbxt_test_read_blocks(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char word[8];
    size_t n;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_held_word);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(sbxt_recv(&r, 0, word, sizeof word, &n, &fault), SBX_IO_WANT_READ);
    sbxt_watch(&r, 0, SBX_READABLE);
    if (r.t->wait) {
        sbxt_look(&r, 30, 8);
        assert_false(r.bits[0] & SBX_READABLE);
        sbxt_look(&r, 0, 8);
        assert_false(r.bits[0] & SBX_READABLE);
    }
    sbxt_peer_go(&peer);
    assert_int_equal(sbxt_read(&r, 0, word, 4, &n, &fault), SBX_IO_OK);
    assert_memory_equal(word, "word", 4);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static void sbxt_test_fin(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char word[16];
    size_t n;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_fin);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(sbxt_read(&r, 0, word, sizeof word, &n, &fault), SBX_IO_EOF);
    assert_int_equal(n, 5);
    assert_memory_equal(word, "hello", 5);
    assert_int_equal(sbxt_recv(&r, 0, word, sizeof word, &n, &fault), SBX_IO_EOF);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static void sbxt_test_half_close(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char word[16];
    size_t n;
    (void)state;
    if (sbxt_now->tls)
        return; /* TLS 1.2 ends both directions at once */
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_half);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(sbxt_read(&r, 0, word, sizeof word, &n, &fault), SBX_IO_EOF);
    assert_int_equal(n, 3);
    if (SBXT_HALF_CLOSE)
        assert_int_equal(sbxt_write(&r, 0, "still here", 10, &fault), SBX_IO_OK);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
    if (SBXT_HALF_CLOSE) {
        assert_int_equal(peer.got, 10);
        assert_memory_equal(peer.head, "still he", 8);
    }
}

static void sbxt_test_reset(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char word[16];
    size_t n;
    int i;
    sbx_io io = SBX_IO_OK;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_reset);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(sbxt_write(&r, 0, "x", 1, &fault), SBX_IO_OK);
    assert_int_equal(sbxt_read(&r, 0, word, sizeof word, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(n, 0);
    assert_int_equal(fault.code, SBX_ERR_CONNECTION);
    /* No signal, an answer: the suite runs with SIGPIPE at its default. */
    for (i = 0; i < 3 && io == SBX_IO_OK; i++)
        io = sbxt_send(&r, 0, "y", 1, &n, &fault);
    assert_int_equal(io, SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_CONNECTION);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static void sbxt_test_refused(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    uint16_t port;
    int held = sbxt_dead_port(&port);
    (void)state;
    sbxt_open(&r, 1);
    assert_int_equal(sbxt_connect(&r, 0, "127.0.0.1", port, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_CONNECT);
    assert_int_equal(sbxt_connect_step(&r, 0, "127.0.0.1", port, &fault), SBX_IO_FAIL);
    sbxt_close(&r, 0);
    /* The same memory serves again. */
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
    close(held);
}

static void sbxt_test_no_such_name(void **state)
{
    sbxt_rig r;
    sbx_fault fault;
    (void)state;
    sbxt_open(&r, 1);
    assert_int_equal(sbxt_connect(&r, 0, "sandbox.invalid", 80, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_RESOLVE);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
}

static void sbxt_test_bad_names(void **state)
{
    static const char zero[] = {'a', 0, 'b'};
    char many[400];
    sbxt_rig r;
    sbx_fault fault;
    sbx_target to;
    int i;
    (void)state;
    memset(many, 'a', sizeof many);
    sbxt_open(&r, 1);
    for (i = 0; i < 4; i++) {
        to = sbxt_target("", 80, 0);
        if (i == 1)
            to.host = sbx_sn(many, sizeof many);
        if (i == 2)
            to.host = sbx_sn(zero, sizeof zero);
        if (i == 3)
            to.host = sbx_s("1:2:3");
        memset(&fault, 0, sizeof fault);
        assert_int_equal(r.t->connect(r.ctx, sbxt_conn(&r, 0), &to, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.code, SBX_ERR_RESOLVE);
        sbxt_close(&r, 0);
    }
    if (!(r.t->flags & SBX_TRANSPORT_TLS)) {
        to = sbxt_target("127.0.0.1", 443, 0);
        to.tls = true;
        assert_int_equal(r.t->connect(r.ctx, sbxt_conn(&r, 0), &to, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.code, SBX_ERR_UNSUPPORTED);
        sbxt_close(&r, 0);
    }
    sbxt_shut(&r);
}

static void sbxt_test_close_connecting(void **state)
{
    sbxt_hole hole;
    sbxt_rig r;
    sbx_fault fault;
    int i, before = sbxt_descriptors();
    (void)state;
    sbxt_hole_dig(&hole, "127.0.0.1", 0);
    sbxt_open(&r, 2);
    for (i = 0; i < 3; i++) {
        sbx_io io = sbxt_connect_step(&r, 1, "127.0.0.1", hole.port, &fault);
        assert_true(io == SBX_IO_WANT_WRITE || io == SBX_IO_WANT_READ);
        r.bits[1] = 0;
        sbxt_watch(&r, 1, io == SBX_IO_WANT_WRITE ? SBX_WRITABLE : SBX_READABLE);
        sbxt_look(&r, 30, 8);
        io = sbxt_connect_step(&r, 1, "127.0.0.1", hole.port, &fault);
        assert_true(io == SBX_IO_WANT_WRITE || io == SBX_IO_WANT_READ);
        sbxt_close(&r, 1);
        assert_int_equal(sbxt_look(&r, 0, 8), 0);
    }
    /* Never begun: nothing to close. */
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_hole_fill(&hole);
    assert_int_equal(sbxt_descriptors(), before);
}

/* A connection that takes its time: the caller can give it up at any moment,
   for no wait is held up by it, and it still gets there. */
static void sbxt_test_slow_connect(void **state)
{
    sbxt_hole hole;
    sbxt_rig r;
    sbx_fault fault;
    int64_t start;
    int looks = 0;
    (void)state;
    sbxt_hole_dig(&hole, "127.0.0.1", 0);
    sbxt_open(&r, 1);
    start = r.t->mono_ms(r.ctx);
    do {
        sbx_io io = sbxt_connect_step(&r, 0, "127.0.0.1", hole.port, &fault);
        assert_true(io == SBX_IO_WANT_WRITE || io == SBX_IO_WANT_READ);
        r.bits[0] = 0;
        sbxt_watch(&r, 0, io == SBX_IO_WANT_WRITE ? SBX_WRITABLE : SBX_READABLE);
        sbxt_look(&r, 25, 8);
        assert_true(++looks < 1000); /* it sleeps, and is not reported over and over */
    } while (r.t->mono_ms(r.ctx) - start < 100);
    if (!sbxt_now->wire) {
        int queued = hole.n;
        /* Room in the queue: the next try of the system gets through. */
        while (queued-- > 0)
            close(accept(hole.fd, NULL, NULL));
        sbxt_connected(&r, 0, "127.0.0.1", hole.port);
    }
    sbxt_close(&r, 0);
    assert_int_equal(sbxt_look(&r, 0, 8), 0);
    sbxt_shut(&r);
    sbxt_hole_fill(&hole);
}

static void sbxt_test_close_resolving(void **state)
{
    sbxt_rig r;
    sbx_fault fault;
    int i, before = sbxt_descriptors();
    (void)state;
    for (i = 0; i < 20; i++) {
        sbxt_open(&r, 4);
        sbxt_connect_step(&r, 0, "localhost", 9, &fault);
        sbxt_connect_step(&r, 1, "localhost", 9, &fault);
        if (i & 1)
            sbxt_look(&r, 0, 8);
        sbxt_close(&r, 0);
        sbxt_connect_step(&r, 0, "localhost", 9, &fault);
        sbxt_close(&r, 1);
        sbxt_close(&r, 0);
        sbxt_shut(&r);
    }
    /* A thread that was in the middle needs its time to go. */
    for (i = 0; i < 100 && sbxt_descriptors() != before; i++) {
        struct timespec t = {0, 10000000};
        nanosleep(&t, NULL);
    }
    assert_int_equal(sbxt_descriptors(), before);
}

static void *sbxt_waker(void *arg)
{
    sbxt_rig *r = (sbxt_rig *)arg;
    struct timespec t = {0, 40000000};
    nanosleep(&t, NULL);
    r->t->wake(r->ctx);
    return NULL;
}

static void sbxt_test_wait(void **state)
{
    sbxt_rig r;
    pthread_t thread;
    int64_t start;
    int i;
    (void)state;
    sbxt_open(&r, 1);
    if (!r.t->wait) {
        sbxt_shut(&r);
        return;
    }
    assert_int_equal(sbxt_look(&r, 0, 8), 0);
    start = r.t->mono_ms(r.ctx);
    assert_int_equal(sbxt_look(&r, 70, 8), 0);
    assert_true(r.t->mono_ms(r.ctx) - start >= 70);
    if (r.t->wake) {
        /* While it sleeps without limit; many wakes are one. */
        for (i = 0; i < 3; i++) {
            assert_int_equal(pthread_create(&thread, NULL, sbxt_waker, &r), 0);
            assert_int_equal(sbxt_look(&r, -1, 8), 0);
            pthread_join(thread, NULL);
        }
        for (i = 0; i < 1000; i++)
            r.t->wake(r.ctx);
        assert_int_equal(sbxt_look(&r, -1, 8), 0);
        start = r.t->mono_ms(r.ctx);
        assert_int_equal(sbxt_look(&r, 20, 8), 0);
        assert_true(r.t->mono_ms(r.ctx) - start >= 20);
    }
    sbxt_shut(&r);
}

static int sbxt_readable(intptr_t handle, int ms)
{
    struct pollfd p;
    p.fd = (int)handle;
    p.events = POLLIN;
    p.revents = 0;
    return poll(&p, 1, ms);
}

static void sbxt_test_poll_handle(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char word[8];
    size_t n;
    intptr_t h;
    (void)state;
    sbxt_open(&r, 2);
    h = r.t->poll_handle ? r.t->poll_handle(r.ctx) : -1;
    if (h < 0) {
        sbxt_shut(&r);
        return;
    }
    assert_int_equal(sbxt_readable(h, 0), 0);
    r.t->wake(r.ctx);
    assert_int_equal(sbxt_readable(h, 0), 1);
    sbxt_look(&r, 0, 8);
    assert_int_equal(sbxt_readable(h, 0), 0);
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_held_word);
    /* The handle alone drives a connection by name, then its data. */
    for (;;) {
        sbx_io io = sbxt_connect_step(&r, 1, "localhost", peer.port, &fault);
        if (io == SBX_IO_OK)
            break;
        assert_int_not_equal(io, SBX_IO_FAIL);
        r.bits[1] = 0;
        while (!r.bits[1]) {
            assert_int_equal(sbxt_readable(h, SBXT_GUARD_MS), 1);
            sbxt_look(&r, 0, 8);
        }
    }
    assert_int_equal(sbxt_recv(&r, 1, word, sizeof word, &n, &fault), SBX_IO_WANT_READ);
    sbxt_look(&r, 0, 8);
    r.bits[1] = 0;
    assert_int_equal(sbxt_readable(h, 0), 0);
    sbxt_peer_go(&peer);
    assert_int_equal(sbxt_readable(h, SBXT_GUARD_MS), 1);
    assert_int_equal(sbxt_look(&r, 0, 8), 1);
    assert_true(r.bits[1] & SBX_READABLE);
    assert_int_equal(sbxt_read(&r, 1, word, 4, &n, &fault), SBX_IO_OK);
    sbxt_close(&r, 1);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

/* Many connections and few places to report them: none is forgotten. */
static void sbxt_test_many(void **state)
{
    enum { MANY = SBXT_CONNS };
    static int theirs[MANY];
    sbxt_rig r;
    sbx_fault fault;
    uint16_t port;
    uint32_t i, left;
    int fd, round;
    char c;
    size_t n;
    (void)state;
    if (sbxt_now->wire)
        return;
    fd = sbxt_listen("127.0.0.1", MANY, 0, &port);
    sbxt_open(&r, MANY);
    for (i = 0; i < MANY; i++) {
        sbxt_connected(&r, i, "127.0.0.1", port);
        theirs[i] = accept(fd, NULL, NULL);
        assert_true(theirs[i] >= 0);
    }
    for (i = 0; i < MANY; i++) {
        assert_int_equal(sbxt_recv(&r, i, &c, 1, &n, &fault), SBX_IO_WANT_READ);
        sbxt_watch(&r, i, SBX_READABLE);
    }
    for (round = 1; round <= 7; round += 3) {
        for (i = 0; i < MANY; i++) {
            r.bits[i] = 0;
            assert_int_equal(send(theirs[i], "z", 1, 0), 1);
        }
        for (left = MANY; left;) {
            assert_true(sbxt_look(&r, SBXT_GUARD_MS, round) > 0);
            for (i = 0; i < MANY; i++)
                if (r.bits[i] & SBX_READABLE) {
                    if (sbxt_recv(&r, i, &c, 1, &n, &fault) == SBX_IO_OK) {
                        assert_int_equal(c, 'z');
                        left--;
                        assert_int_equal(sbxt_recv(&r, i, &c, 1, &n, &fault), SBX_IO_WANT_READ);
                    }
                    r.bits[i] = 0;
                }
        }
    }
    /* Closing in an odd order leaves the others as they were. */
    for (i = 0; i < MANY; i += 2)
        sbxt_close(&r, i);
    for (i = 1; i < MANY; i += 2) {
        assert_int_equal(sbxt_recv(&r, i, &c, 1, &n, &fault), SBX_IO_WANT_READ);
        sbxt_watch(&r, i, SBX_READABLE);
        r.bits[i] = 0;
    }
    while (r.t->wait && sbxt_look(&r, 0, 16))
        ;
    for (i = 1; i < MANY; i += 2) {
        uint32_t k;
        memset(r.bits, 0, MANY * sizeof *r.bits);
        assert_int_equal(send(theirs[i], "w", 1, 0), 1);
        sbxt_until(&r, i, SBX_READABLE);
        for (k = 0; k < MANY && r.t->wait; k++)
            assert_true(k == i || !r.bits[k]);
        assert_int_equal(sbxt_read(&r, i, &c, 1, &n, &fault), SBX_IO_OK);
        assert_int_equal(c, 'w');
        if (i % 4 == 1)
            sbxt_close(&r, i);
    }
    for (i = 0; i < MANY; i++) {
        close(theirs[i]);
        if (i % 4 == 3)
            sbxt_close(&r, i);
    }
    close(fd);
    sbxt_shut(&r);
}

/* 10,000 connections, closed at every stage, cost nothing that stays. 2,000
   where the peer needs long for each. */
static void sbxt_test_no_leak(void **state)
{
    const int total = sbxt_now->wire ? 2000 : 10000;
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char word[8];
    size_t n;
    uint16_t dead;
    int held, i, before, open_then;
    (void)state;
    before = sbxt_descriptors();
    held = sbxt_dead_port(&dead);
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_fin);
    sbxt_open(&r, 3);
    open_then = sbxt_descriptors();
    for (i = 0; i < total; i++) {
        uint32_t k = (uint32_t)i % 3;
        switch (i % 100 < 2 ? i % 100 : 2 + i % 8) { /* few names: a lookup can take 10 ms */
        case 0: sbxt_connect_step(&r, k, "localhost", peer.port, &fault); break;
        case 1: sbxt_connected(&r, k, "localhost", peer.port); break;
        case 2: assert_int_equal(sbxt_connect(&r, k, "127.0.0.1", dead, &fault), SBX_IO_FAIL); break;
        case 3: sbxt_connect_step(&r, k, "127.0.0.1", peer.port, &fault); break;
        default: sbxt_connected(&r, k, "127.0.0.1", peer.port); break;
        }
        /* The peer keeps up, or its queue would overflow and each second be lost. */
        if (i % 8 == 7 && i % 100 > 1)
            assert_int_equal(sbxt_read(&r, k, word, sizeof word, &n, &fault), SBX_IO_EOF);
        sbxt_close(&r, k);
    }
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
    close(held);
    assert_true(open_then > before);
    for (i = 0; i < 100 && sbxt_descriptors() != before; i++) {
        struct timespec t = {0, 10000000};
        nanosleep(&t, NULL);
    }
    assert_int_equal(sbxt_descriptors(), before);
}

static void sbxt_test_clock_entropy(void **state)
{
    static unsigned char a[100000], b[32], zero[32];
    sbxt_rig r;
    int64_t last;
    int i, same = 0;
    (void)state;
    sbxt_open(&r, 1);
    assert_true(r.t->entropy(r.ctx, a, 32));
    assert_true(r.t->entropy(r.ctx, b, 32));
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a, zero, 32);
    assert_true(r.t->entropy(r.ctx, a, sizeof a));
    for (i = 0; i + 64 <= (int)sizeof a; i += 32)
        same += memcmp(a + i, a + i + 32, 32) == 0;
    assert_int_equal(same, 0);
    assert_true(r.t->entropy(r.ctx, b, 0));
    last = r.t->mono_ms(r.ctx);
    for (i = 0; i < 1000; i++) {
        int64_t now = r.t->mono_ms(r.ctx);
        assert_true(now >= last);
        last = now;
    }
    if (r.t->wall_ms && r.t->wall_ms(r.ctx))
        assert_true(r.t->wall_ms(r.ctx) > INT64_C(1600000000000));
    sbxt_shut(&r);
}

/* Before the first lookup: where no name server answers, it must not take long. */
static void sbxt_prepare(const sbxt_suite *suite)
{
    sbxt_now = suite;
    setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
    signal(SIGPIPE, SIG_DFL);
}

#define SBXT_CONFORMANCE \
    cmocka_unit_test(sbxt_test_echo), \
    cmocka_unit_test(sbxt_test_echo_v6), \
    cmocka_unit_test(sbxt_test_localhost), \
    cmocka_unit_test_teardown(sbxt_test_signals, sbxt_no_signals), \
    cmocka_unit_test(sbxt_test_write_blocks), \
    cmocka_unit_test(sbxt_test_read_blocks), \
    cmocka_unit_test(sbxt_test_fin), \
    cmocka_unit_test(sbxt_test_half_close), \
    cmocka_unit_test(sbxt_test_reset), \
    cmocka_unit_test(sbxt_test_refused), \
    cmocka_unit_test(sbxt_test_no_such_name), \
    cmocka_unit_test(sbxt_test_bad_names), \
    cmocka_unit_test(sbxt_test_close_connecting), \
    cmocka_unit_test(sbxt_test_slow_connect), \
    cmocka_unit_test(sbxt_test_close_resolving), \
    cmocka_unit_test(sbxt_test_wait), \
    cmocka_unit_test(sbxt_test_poll_handle), \
    cmocka_unit_test(sbxt_test_many), \
    cmocka_unit_test(sbxt_test_no_leak), \
    cmocka_unit_test(sbxt_test_clock_entropy)

/* The whole program; the number of tests that failed. */
static SBX_UNUSED int sbxt_main(const sbxt_suite *suite)
{
    const struct CMUnitTest tests[] = {SBXT_CONFORMANCE};
    sbxt_prepare(suite);
    return cmocka_run_group_tests_name(suite->t->name, tests, NULL, NULL);
}

#endif
