/* sandbox_tunnel.h: a local port (or Unix socket) whose connections go through
   a tunnel to a port inside a sandbox. POSIX systems (Linux, the BSDs, macOS).

   Use
       #define SANDBOX_IMPLEMENTATION      in one C or C++ file
       #include "sandbox.h"                before any system header
       #include "sandbox_tunnel.h"         a transport stands in any order

   Beside it must lie sandbox_listen.h, a part of it.

       sbx_forward_opts o = { .remote_port = 5432 };
       tunnel = sbx_tunnel_open(c, &box, NULL);
       sbx_forward_open(c, tunnel, &o, &f, &err);
       printf("127.0.0.1:%u\n", sbx_forward_port(f));
       while (!stop)
           if (sbx_forward_wait(&f, 1, &ev, 1000))
               (an event of another operation, the tunnel's included)
       sbx_forward_close(f);

   In a loop of the program's own: when sbx_forward_handle is readable, or
   sbx_forward_deadline is reached: sbx_step, sbx_forward_step, then sbx_next
   until none, each event to sbx_forward_event first.

   Everything runs on the client's thread, without callbacks. Several forwards
   may share a tunnel and a client. A connection takes one descriptor, one of
   the tunnel's max_streams and one of the client's max_ops; when these, or
   max_conns, are used up, further connections wait in the listener's backlog.
   A half that ends is passed on, in both directions. Bytes that the other end
   does not take stay where they are: in the local socket, or in the tunnel's
   ring; here nothing is stored. So leave the tunnel's window at 256 KiB or
   more: with less, one local program that does not read can stop all others
   (sbx_tunnel_opts). A tunnel that was lost is opened again by the next
   connection.

   Configuration macro, read by the implementation only
       SBX_TUNNEL_POLL=1  poll() also on Linux */
#ifndef SBX_FORWARD_H
#define SBX_FORWARD_H

#ifndef SBX_LANGSMITH_H
#error "include sandbox.h before sandbox_tunnel.h"
#endif

SBX_EXTERN_C_BEGIN

typedef struct sbx_forward sbx_forward;

/* All zero is valid but for remote_port. Read during the call, the memory and
   a Unix socket's path until sbx_forward_close. */
typedef struct sbx_forward_opts {
    const char *local_host; /* an IP literal, or the path of a Unix socket, which begins with '/' and must not exist: 127.0.0.1.
                               Whoever reaches it reaches the port in the sandbox */
    uint16_t local_port;    /* 0: a free one, see sbx_forward_port */
    uint16_t remote_port;   /* in the sandbox, 1 to 65,535 */
    uint32_t max_conns;     /* connections at once: 32, at most 1,000,000; more than the tunnel's max_streams are of no use */
    int backlog;            /* connections that the system lets wait: 128 */
    int32_t dial_ms;        /* until a connection stands: the client's ws_open_ms */
    sbx_buf memory;         /* sbx_forward_size bytes; none: malloc */
} sbx_forward_opts;

/* Bytes of memory for a forward: about 7 KiB, and 48 a connection (56 without
   epoll). `opts` must not be NULL. */
SBX_API size_t sbx_forward_size(const sbx_forward_opts *opts);

/* Listens, and connects through `tunnel` whatever comes. Does not block. The
   client and the tunnel must outlive it. Errors (`err` may be NULL):
   SBX_ERR_ARGUMENT (an option; `field` says which), SBX_ERR_MEMORY (the memory
   is too small, malloc refused), SBX_ERR_CONNECT (the address cannot be
   listened on, no descriptor is left; `sys` is errno). */
SBX_API sbx_code sbx_forward_open(sbx_client *c, sbx_op tunnel, const sbx_forward_opts *opts, sbx_forward **out, sbx_error *err);

/* The local port; 0 of a Unix socket. */
SBX_API uint16_t sbx_forward_port(const sbx_forward *f);

/* Connections now, those whose END was not pulled yet included. */
SBX_API uint32_t sbx_forward_conns(const sbx_forward *f);

/* One descriptor (epoll) that is readable when the forward, or its client, has
   something to do; -1 where there is no epoll. */
SBX_API int sbx_forward_handle(const sbx_forward *f);

/* When the next sbx_forward_step is due at the latest, by CLOCK_MONOTONIC in
   milliseconds; 0 = now, INT64_MAX = never. */
SBX_API int64_t sbx_forward_deadline(const sbx_forward *f);

/* Accepts and moves what can be accepted and moved without blocking, up to a
   bound, so that other work gets its turn. */
SBX_API void sbx_forward_step(sbx_forward *f);

/* Whether the event is one of the forward's connections'; then it is dealt
   with and needs no further look. */
SBX_API bool sbx_forward_event(sbx_forward *f, const sbx_event *ev);

/* Steps the client and n forwards of it until an event comes that is none of
   theirs: true with *ev filled. False: timeout_ms (SBX_FOREVER: none) passed, a
   signal came, or poll failed. Blocks. For a program that does nothing else;
   the client's transport must use CLOCK_MONOTONIC (all of these here do). With
   more than one forward where there is no epoll, or a client without a
   poll handle, it looks every 5 ms. n is 15 at most. */
SBX_API bool sbx_forward_wait(sbx_forward *const *forwards, size_t n, sbx_event *ev, int64_t timeout_ms);

/* How a connection ended. */
typedef struct sbx_forward_report {
    uint64_t number;   /* 1, 2, … in the order they were accepted; 0: none could be accepted (sys: EMFILE, …) */
    sbx_code code;     /* SBX_OK: both halves ended. A failed dial's code, SBX_ERR_CONNECTION (reset by either side), … */
    int sys;           /* errno, when it was the local side; 0 = it was not */
    uint64_t up, down; /* bytes into the sandbox, out of it */
    uint64_t missed;   /* reports before this one that were dropped unread */
    char text[160];    /* of a failure, for people */
} sbx_forward_report;

/* The next report; false = none. The last 32 are kept. A connection that
   failed, on either side, is reset on the other; a Unix socket knows no reset
   and just ends. */
SBX_API bool sbx_forward_next(sbx_forward *f, sbx_forward_report *out);

/* Stops listening, resets the connections that stand, and gives back memory
   and descriptors. None of its events comes after it; the tunnel stays. NULL
   is allowed. Call it before sbx_close. */
SBX_API void sbx_forward_close(sbx_forward *f);

SBX_EXTERN_C_END
#endif /* SBX_FORWARD_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_FORWARD_IMPLEMENTED) && !(defined(SBX_NO_TUNNEL) && SBX_NO_TUNNEL)
#define SBXI_FORWARD_IMPLEMENTED

#ifndef SBX_TUNNEL_POLL
#ifdef __linux__
#define SBX_TUNNEL_POLL 0
#else
#define SBX_TUNNEL_POLL 1
#endif
#endif

#include "sandbox_listen.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if !SBX_TUNNEL_POLL
#include <sys/epoll.h>
#endif

SBX_EXTERN_C_BEGIN

enum {
    SBXI_FWD_TURN = 262144,  /* bytes of one connection, before the others have their turn */
    SBXI_FWD_ACCEPTS = 64,   /* in a step */
    SBXI_FWD_BATCH = 64,     /* events taken from the kernel at a time */
    SBXI_FWD_EVENTS = 256,   /* of the client, before the local sockets have their turn */
    SBXI_FWD_REPORTS = 32,
    SBXI_FWD_FORWARDS = 15,
    SBXI_FWD_RETRY_MS = 100, /* until accepting is tried again after EMFILE, or dialling where there was no room */
    SBXI_FWD_NAP_MS = 5
};

/* Marks of descriptors that are no connection's. */
#define SBXI_FWD_NONE UINT32_MAX
#define SBXI_FWD_LISTENER (UINT32_MAX - 1)
#define SBXI_FWD_CLIENT (UINT32_MAX - 2)

/* How far a connection is. */
enum {
    SBXI_FWD_STARTED = 1,
    SBXI_FWD_READABLE = 2, /* the local socket may have more */
    SBXI_FWD_HUNG = 4,     /* its end, or a mark, may be behind what it sent: a short read is not the last one */
    SBXI_FWD_FULL = 8,     /* the tunnel takes nothing until WRITABLE */
    SBXI_FWD_HELD = 16,    /* the local socket takes nothing */
    SBXI_FWD_ENDED = 32,   /* our half */
    SBXI_FWD_QUEUED = 64,
    SBXI_FWD_LOST = 128    /* the local side failed; END is to come */
};

typedef struct sbxi_fwd_conn {
    sbx_op op;
    uint64_t number, up, down;
    int fd, sys;   /* fd -1: free, or lost */
    uint32_t next; /* in the list that it is in */
    uint8_t is;
} sbxi_fwd_conn;

struct sbx_forward {
    sbx_client *c;
    sbx_op tunnel;
    sbxi_fwd_conn *conns;
    struct pollfd *polls; /* without epoll: listener, client, connections */
    const char *path;     /* of a Unix socket */
    void *allocated;
    uint64_t accepted, missed;
    int64_t retry_at;     /* of one that is stuck, or waits for room */
    uint32_t max, live, free, first, last; /* first, last: queue of those that are READABLE */
    uint32_t waiting;     /* accepted, and still refused by the tunnel for want of room */
    int listener, ep;
    int32_t dial_ms;
    uint16_t port, remote;
    bool acceptable;
    bool stuck, told;     /* accepting failed, and that was reported */
    uint32_t report_at, report_n;
    sbx_forward_report reports[SBXI_FWD_REPORTS];
};

static int64_t sbxi_fwd_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool sbxi_fwd_later(int e)
{
    return e == EAGAIN || e == EWOULDBLOCK || e == EINTR;
}

/* ---- reports ---- */

static void sbxi_fwd_report(sbx_forward *f, const sbxi_fwd_conn *conn, sbx_code code, int sys, const char *text)
{
    sbx_forward_report *r;

    if (f->report_n == SBXI_FWD_REPORTS) {
        f->report_at = (f->report_at + 1) % SBXI_FWD_REPORTS;
        f->report_n--;
        f->missed++;
    }
    r = &f->reports[(f->report_at + f->report_n++) % SBXI_FWD_REPORTS];
    memset(r, 0, sizeof *r);
    r->number = conn ? conn->number : 0;
    r->up = conn ? conn->up : 0;
    r->down = conn ? conn->down : 0;
    r->code = code;
    r->sys = sys;
    if (code)
        snprintf(r->text, sizeof r->text, "%s%.140s", sys ? "local side: " : "", sys ? strerror(sys) : text);
}

SBX_API bool sbx_forward_next(sbx_forward *f, sbx_forward_report *out)
{
    if (!f->report_n)
        return false;
    *out = f->reports[f->report_at];
    out->missed = f->missed;
    f->missed = 0;
    f->report_at = (f->report_at + 1) % SBXI_FWD_REPORTS;
    f->report_n--;
    return true;
}

/* ---- a connection's end ---- */

/* Its place is free again. */
static void sbxi_fwd_end(sbx_forward *f, sbxi_fwd_conn *conn, sbx_code code, const char *text)
{
    if (conn->fd >= 0 && code)
        sbxi_listen_reset(conn->fd);
    else if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    sbxi_fwd_report(f, conn, code, conn->sys, text);
    conn->op.slot = 0;
    conn->number = 0;
    f->live--;
    f->stuck = false; /* what it had may be what was wanting */
    f->retry_at = 0;
    if (!(conn->is & SBXI_FWD_QUEUED)) { /* else it becomes free when its turn comes */
        conn->next = f->free;
        f->free = (uint32_t)(conn - f->conns);
    }
}

/* The local side failed: the other one is reset, and END comes. */
static void sbxi_fwd_fail(sbx_forward *f, sbxi_fwd_conn *conn, int sys)
{
    conn->sys = sys;
    conn->is |= SBXI_FWD_LOST;
    sbxi_listen_reset(conn->fd);
    conn->fd = -1;
    sbx_cancel(f->c, conn->op);
}

/* ---- bytes ---- */

static void sbxi_fwd_queue(sbx_forward *f, sbxi_fwd_conn *conn)
{
    uint32_t id = (uint32_t)(conn - f->conns);

    if (conn->is & SBXI_FWD_QUEUED)
        return;
    conn->is |= SBXI_FWD_QUEUED;
    conn->next = SBXI_FWD_NONE;
    if (f->first == SBXI_FWD_NONE)
        f->first = id;
    else
        f->conns[f->last].next = id;
    f->last = id;
}

/* What there is room for goes from the local socket into the tunnel's own
   buffer; all else stays in the socket, but for its end, which needs no room.
   How many bytes; 0: nothing more can be moved now. */
static size_t sbxi_fwd_up(sbx_forward *f, sbxi_fwd_conn *conn)
{
    sbx_buf room;
    sbx_code code = sbx_tunnel_reserve(f->c, conn->op, &room);
    ssize_t n = -1;
    size_t taken;
    char one;
    int sys = EINTR;

    while (!code && n < 0 && sys == EINTR) {
        n = room.n ? recv(conn->fd, room.p, room.n, MSG_DONTWAIT) : recv(conn->fd, &one, 1, MSG_PEEK | MSG_DONTWAIT);
        sys = errno;
    }
    if (!code && room.n)
        code = sbx_tunnel_commit(f->c, conn->op, n > 0 ? (size_t)n : 0);
    if (!code && !n)
        code = sbx_tunnel_send(f->c, conn->op, sbx_sn(NULL, 0), true, &taken);
    if (code == SBX_ERR_STATE || code == SBX_ERR_HANDLE || !n)
        conn->is |= SBXI_FWD_ENDED; /* it has failed, and END comes, or our half has ended */
    else if (code || (n < 0 && !sbxi_fwd_later(sys)))
        sbxi_fwd_fail(f, conn, code ? EIO : sys);
    else if (n < 0)
        conn->is &= (uint8_t)~SBXI_FWD_READABLE;
    else if (!room.n)
        conn->is |= SBXI_FWD_FULL;
    if (code || n <= 0 || !room.n)
        return 0;
    conn->up += (uint64_t)n;
    if ((size_t)n < room.n && !(conn->is & SBXI_FWD_HUNG) && !SBX_TUNNEL_POLL)
        conn->is &= (uint8_t)~SBXI_FWD_READABLE; /* it is empty: an edge comes with the next bytes */
    return conn->is & SBXI_FWD_READABLE ? (size_t)n : 0;
}

static bool sbxi_fwd_reads(const sbxi_fwd_conn *conn)
{
    return (conn->is & (SBXI_FWD_STARTED | SBXI_FWD_READABLE | SBXI_FWD_FULL | SBXI_FWD_ENDED | SBXI_FWD_LOST)) == (SBXI_FWD_STARTED | SBXI_FWD_READABLE);
}

static void sbxi_fwd_pump(sbx_forward *f, sbxi_fwd_conn *conn)
{
    if (conn->is & SBXI_FWD_QUEUED || !sbxi_fwd_reads(conn))
        return;
    for (size_t moved = 0, n; moved < SBXI_FWD_TURN; moved += n) {
        n = sbxi_fwd_up(f, conn);
        if (!n)
            return;
    }
    sbxi_fwd_queue(f, conn);
}

/* Those that had more than their share. */
static void sbxi_fwd_queued(sbx_forward *f)
{
    uint32_t last = f->last, id;

    while ((id = f->first) != SBXI_FWD_NONE) {
        sbxi_fwd_conn *conn = &f->conns[id];

        f->first = conn->next;
        conn->is &= (uint8_t)~SBXI_FWD_QUEUED;
        if (conn->number) {
            sbxi_fwd_pump(f, conn);
        } else {
            conn->next = f->free;
            f->free = id;
        }
        if (id == last)
            return;
    }
}

/* Bytes out of the sandbox: what the local socket does not take comes again. */
static void sbxi_fwd_down(sbx_forward *f, sbxi_fwd_conn *conn, sbx_str data)
{
#ifdef MSG_NOSIGNAL
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
#else
    const int flags = MSG_DONTWAIT; /* SO_NOSIGPIPE is set */
#endif

    while (data.n && conn->fd >= 0) {
        ssize_t n = send(conn->fd, data.p, data.n, flags);

        if (n > 0) {
            data.p += n;
            data.n -= (size_t)n;
            conn->down += (uint64_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && sbxi_fwd_later(errno)) {
            conn->is |= SBXI_FWD_HELD;
            sbx_tunnel_hold(f->c, conn->op, true);
            sbx_tunnel_unread(f->c, conn->op, data.n);
            return;
        } else {
            sbxi_fwd_fail(f, conn, errno);
        }
    }
}

SBX_API bool sbx_forward_event(sbx_forward *f, const sbx_event *ev)
{
    uintptr_t at = (uintptr_t)ev->user, first = (uintptr_t)f->conns;
    sbxi_fwd_conn *conn;
    sbx_error e;

    if (at < first || at >= (uintptr_t)(f->conns + f->max))
        return false;
    conn = (sbxi_fwd_conn *)ev->user;
    if (ev->kind == SBX_EV_END) {
        sbx_error_of(f->c, ev->op, &e);
        sbxi_fwd_end(f, conn, conn->is & SBXI_FWD_LOST ? SBX_ERR_CONNECTION : ev->code, e.text);
    } else if (conn->is & SBXI_FWD_LOST) {
        return true;
    } else if (ev->kind == SBX_EV_DATA) {
        sbxi_fwd_down(f, conn, ev->data);
    } else if (ev->kind == SBX_EV_EOF) {
        if (shutdown(conn->fd, SHUT_WR) && errno != ENOTCONN) /* some systems say that of one whose other end is gone */
            sbxi_fwd_fail(f, conn, errno);
    } else {
        conn->is = (uint8_t)((conn->is | SBXI_FWD_STARTED) & ~SBXI_FWD_FULL);
        sbxi_fwd_pump(f, conn);
    }
    return true;
}

/* ---- accepting ---- */

static void sbxi_fwd_dial(sbx_forward *f, sbxi_fwd_conn *conn)
{
    sbx_dial_opts o;
    sbx_error e;

    memset(&o, 0, sizeof o);
    o.call.user = conn;
    o.call.timeout_ms = f->dial_ms;
    f->waiting = SBXI_FWD_NONE;
    conn->op = sbx_tunnel_dial(f->c, f->tunnel, f->remote, &o);
    if (conn->op.slot)
        return;
    if (conn->op.gen == SBX_ERR_FULL) {
        f->waiting = (uint32_t)(conn - f->conns);
        f->retry_at = sbxi_fwd_now() + SBXI_FWD_RETRY_MS; /* room may come without any event of ours */
        return;
    }
    sbx_error_of(f->c, conn->op, &e);
    sbxi_fwd_end(f, conn, (sbx_code)conn->op.gen, e.text);
}

static bool sbxi_fwd_watch(sbx_forward *f, int fd, uint32_t mark, bool edges)
{
#if SBX_TUNNEL_POLL
    (void)f, (void)fd, (void)mark, (void)edges;
    return true;
#else
    struct epoll_event e;

    memset(&e, 0, sizeof e);
    e.events = edges ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | (uint32_t)EPOLLET : EPOLLIN;
    e.data.u32 = mark;
    return epoll_ctl(f->ep, EPOLL_CTL_ADD, fd, &e) == 0;
#endif
}

/* The system has no descriptor or memory left, or does not allow it: later. */
static void sbxi_fwd_stuck(sbx_forward *f, int sys)
{
    if (!f->told) /* once for all tries that follow */
        sbxi_fwd_report(f, NULL, SBX_ERR_FULL, sys, NULL);
    f->stuck = f->told = true;
    f->retry_at = sbxi_fwd_now() + SBXI_FWD_RETRY_MS;
}

static void sbxi_fwd_take(sbx_forward *f, int fd)
{
    uint32_t id = f->free;
    sbxi_fwd_conn *conn = &f->conns[id];

    if (!sbxi_listen_prepare(fd) || !sbxi_fwd_watch(f, fd, id, true)) {
        int sys = errno;

        sbxi_listen_reset(fd);
        sbxi_fwd_stuck(f, sys);
        return;
    }
    f->free = conn->next;
    f->live++;
    memset(conn, 0, sizeof *conn);
    conn->fd = fd;
    conn->number = ++f->accepted;
    conn->is = SBXI_FWD_READABLE | (f->path ? SBXI_FWD_HUNG : 0); /* descriptors that are passed through a Unix socket are marks */
    f->told = false;
    sbxi_fwd_dial(f, conn);
}

static bool sbxi_fwd_may_accept(const sbx_forward *f)
{
    return f->acceptable && !f->stuck && f->free != SBXI_FWD_NONE && f->waiting == SBXI_FWD_NONE;
}

static void sbxi_fwd_accept(sbx_forward *f)
{
    if (f->stuck && sbxi_fwd_now() >= f->retry_at)
        f->stuck = false;
    if (f->waiting != SBXI_FWD_NONE)
        sbxi_fwd_dial(f, &f->conns[f->waiting]);
    for (unsigned i = 0; i < SBXI_FWD_ACCEPTS && sbxi_fwd_may_accept(f); i++) {
        int fd = sbxi_listen_accept(f->listener);

        if (fd >= 0)
            sbxi_fwd_take(f, fd);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            f->acceptable = false;
        else if (errno != EINTR && errno != ECONNABORTED)
            sbxi_fwd_stuck(f, errno);
    }
}

/* ---- what the kernel says ---- */

typedef struct sbxi_fwd_seen {
    bool in, out, hung, error;
} sbxi_fwd_seen;

static void sbxi_fwd_note(sbx_forward *f, sbxi_fwd_conn *conn, sbxi_fwd_seen seen)
{
    int sys = 0;
    socklen_t n = sizeof sys;

    if (conn->fd < 0)
        return;
    if (seen.error && conn->op.slot && getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &sys, &n) == 0 && sys) {
        sbxi_fwd_fail(f, conn, sys);
        return;
    }
    conn->is |= seen.hung ? SBXI_FWD_HUNG : 0;
    if (seen.out && conn->is & SBXI_FWD_HELD) {
        conn->is &= (uint8_t)~SBXI_FWD_HELD;
        sbx_tunnel_hold(f->c, conn->op, false);
    }
    if (seen.in || seen.hung)
        conn->is |= SBXI_FWD_READABLE;
    sbxi_fwd_pump(f, conn);
}

#if SBX_TUNNEL_POLL
/* poll tells the level: what cannot be used is not asked for, also since poll
   takes no more entries than a process may have descriptors. */
static nfds_t sbxi_fwd_ask(sbx_forward *f)
{
    struct pollfd *p = f->polls;
    nfds_t n = 2;

    p[0].fd = sbxi_fwd_may_accept(f) || (!f->acceptable && f->free != SBXI_FWD_NONE) ? f->listener : -1;
    p[1].fd = (int)sbx_poll_handle(f->c);
    p[0].events = p[1].events = POLLIN;
    for (uint32_t i = 0; i < f->max; i++) {
        const sbxi_fwd_conn *conn = &f->conns[i];
        bool reads = (conn->is & (SBXI_FWD_STARTED | SBXI_FWD_READABLE | SBXI_FWD_ENDED)) == SBXI_FWD_STARTED, writes = conn->is & SBXI_FWD_HELD;

        if (!conn->number || conn->fd < 0 || !(reads || writes))
            continue;
        p[n].fd = conn->fd;
        p[n++].events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
    }
    return n;
}

static bool sbxi_fwd_look(sbx_forward *f, int timeout_ms, bool *client)
{
    struct pollfd *p = f->polls;
    nfds_t n = sbxi_fwd_ask(f), at = 2;

    *client = false;
    if (poll(p, n, timeout_ms) < 0)
        return false;
    f->acceptable |= p[0].fd >= 0 && p[0].revents;
    *client = p[1].fd >= 0 && p[1].revents;
    for (uint32_t i = 0; i < f->max && at < n; i++) {
        sbxi_fwd_seen seen;
        short is;

        if (f->conns[i].fd != p[at].fd)
            continue;
        is = p[at++].revents;
        seen.in = is & POLLIN;
        seen.out = is & (POLLOUT | POLLHUP | POLLERR);
        seen.hung = is & POLLHUP && !(f->conns[i].is & SBXI_FWD_ENDED);
        seen.error = is & POLLERR;
        if (is)
            sbxi_fwd_note(f, &f->conns[i], seen);
    }
    return true;
}
#else
static bool sbxi_fwd_look(sbx_forward *f, int timeout_ms, bool *client)
{
    struct epoll_event e[SBXI_FWD_BATCH];
    int n = epoll_wait(f->ep, e, SBXI_FWD_BATCH, timeout_ms);

    *client = false;
    for (int i = 0; i < n; i++) {
        sbxi_fwd_seen seen;

        seen.in = e[i].events & EPOLLIN;
        seen.out = e[i].events & EPOLLOUT;
        seen.hung = e[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLPRI);
        seen.error = e[i].events & EPOLLERR;
        if (e[i].data.u32 == SBXI_FWD_LISTENER)
            f->acceptable = true;
        else if (e[i].data.u32 == SBXI_FWD_CLIENT)
            *client = true;
        else
            sbxi_fwd_note(f, &f->conns[e[i].data.u32], seen);
    }
    return n >= 0;
}
#endif

/* ---- turns ---- */

static void sbxi_fwd_move(sbx_forward *f)
{
    if (f->acceptable || f->waiting != SBXI_FWD_NONE)
        sbxi_fwd_accept(f);
    sbxi_fwd_queued(f);
}

SBX_API void sbx_forward_step(sbx_forward *f)
{
    bool client;

    sbxi_fwd_look(f, 0, &client);
    sbxi_fwd_move(f);
}

SBX_API int64_t sbx_forward_deadline(const sbx_forward *f)
{
    if (f->first != SBXI_FWD_NONE || sbxi_fwd_may_accept(f))
        return 0;
    return f->stuck || f->waiting != SBXI_FWD_NONE ? f->retry_at : INT64_MAX;
}

SBX_API int sbx_forward_handle(const sbx_forward *f)
{
    return f->ep;
}

/* The first event that is none of the forwards'. */
static bool sbxi_fwd_events(sbx_forward *const *forwards, size_t n, sbx_event *ev)
{
    for (unsigned i = 0; i < SBXI_FWD_EVENTS && sbx_next(forwards[0]->c, ev); i++) {
        bool own = false;

        for (size_t k = 0; k < n && !own; k++)
            own = sbx_forward_event(forwards[k], ev);
        if (!own)
            return true;
    }
    return false;
}

/* Until a descriptor is ready. */
static bool sbxi_fwd_sleep(sbx_forward *const *forwards, size_t n, int timeout_ms, bool *client)
{
    struct pollfd p[SBXI_FWD_FORWARDS];
    bool blind = sbx_poll_handle(forwards[0]->c) < 0 || (n > 1 && SBX_TUNNEL_POLL), one;

    if (blind && (timeout_ms < 0 || timeout_ms > SBXI_FWD_NAP_MS))
        timeout_ms = SBXI_FWD_NAP_MS;
    if (n > 1) {
        for (size_t i = 0; i < n; i++) {
            p[i].fd = forwards[i]->ep;
            p[i].events = POLLIN;
        }
        if (poll(p, (nfds_t)n, timeout_ms) < 0)
            return false;
        timeout_ms = 0;
    }
    *client = blind;
    for (size_t i = 0; i < n; i++) {
        if (!sbxi_fwd_look(forwards[i], timeout_ms, &one))
            return false;
        *client |= one;
    }
    return true;
}

SBX_API bool sbx_forward_wait(sbx_forward *const *forwards, size_t n, sbx_event *ev, int64_t timeout_ms)
{
    sbx_client *c = n && n <= SBXI_FWD_FORWARDS ? forwards[0]->c : NULL;
    int64_t until = sbxi_fwd_now();

    until = timeout_ms < 0 || timeout_ms > INT64_MAX - until ? INT64_MAX : until + timeout_ms;
    while (c) {
        int64_t at, now;
        bool client;

        if (sbxi_fwd_events(forwards, n, ev))
            return true;
        for (size_t i = 0; i < n; i++)
            sbxi_fwd_move(forwards[i]);
        at = sbx_next_deadline(c);
        for (size_t i = 0; i < n; i++)
            at = at < sbx_forward_deadline(forwards[i]) ? at : sbx_forward_deadline(forwards[i]);
        at = at < until ? at : until;
        now = at == INT64_MAX ? 0 : sbxi_fwd_now();
        if (!sbxi_fwd_sleep(forwards, n, at == INT64_MAX ? -1 : at <= now ? 0 : at - now > 60000 ? 60000 : (int)(at - now), &client))
            return false;
        now = sbxi_fwd_now();
        if (client || sbx_next_deadline(c) <= now)
            sbx_step(c, now);
        if (now >= until)
            return sbxi_fwd_events(forwards, n, ev);
    }
    return false;
}

/* ---- opening, closing ---- */

static sbx_code sbxi_fwd_error(sbx_error *err, sbx_code code, const char *field, const char *text, int sys)
{
    if (!err)
        return code;
    memset(err, 0, sizeof *err);
    err->code = code;
    err->layer = SBX_LAYER_LOCAL;
    err->sys = sys;
    err->retry_after_ms = -1;
    snprintf(err->operation, sizeof err->operation, "forward_open");
    snprintf(err->field, sizeof err->field, "%s", field);
    snprintf(err->text, sizeof err->text, "%s %s%s%s", field, text, sys ? ": " : "", sys ? strerror(sys) : "");
    return code;
}

/* The port is at fault where a port was asked for that is taken or not allowed. */
static sbx_code sbxi_fwd_unheard(sbx_error *err, const sbx_forward_opts *o, int sys)
{
    const char *host = o->local_host ? o->local_host : "127.0.0.1";
    bool port = host[0] != '/' && o->local_port && (sys == EADDRINUSE || sys == EACCES);
    char text[160];

    if (host[0] == '/')
        snprintf(text, sizeof text, "%.120s cannot be listened on", host);
    else
        snprintf(text, sizeof text, "cannot be listened on (%.120s, port %u)", host, (unsigned)o->local_port);
    return sbxi_fwd_error(err, SBX_ERR_CONNECT, port ? "local_port" : "local_host", text, sys);
}

static size_t sbxi_fwd_align(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static uint32_t sbxi_fwd_max(const sbx_forward_opts *o)
{
    return o->max_conns ? o->max_conns : 32;
}

SBX_API size_t sbx_forward_size(const sbx_forward_opts *opts)
{
    size_t polls = SBX_TUNNEL_POLL ? (size_t)(sbxi_fwd_max(opts) + 2) * sizeof(struct pollfd) : 0;

    return 15 + sbxi_fwd_align(sizeof(sbx_forward)) + sbxi_fwd_align(sbxi_fwd_max(opts) * sizeof(sbxi_fwd_conn)) + sbxi_fwd_align(polls);
}

static sbx_forward *sbxi_fwd_lay(const sbx_forward_opts *o, void *allocated)
{
    char *p = (char *)(allocated ? allocated : o->memory.p);
    sbx_forward *f;

    p += (16 - ((uintptr_t)p & 15)) % 16;
    f = (sbx_forward *)(void *)p;
    memset(f, 0, sizeof *f);
    p += sbxi_fwd_align(sizeof *f);
    f->max = sbxi_fwd_max(o);
    f->conns = (sbxi_fwd_conn *)(void *)p;
    memset(f->conns, 0, f->max * sizeof *f->conns);
    p += sbxi_fwd_align(f->max * sizeof *f->conns);
    f->polls = SBX_TUNNEL_POLL ? (struct pollfd *)(void *)p : NULL;
    f->allocated = allocated;
    for (uint32_t i = 0; i < f->max; i++) {
        f->conns[i].fd = -1;
        f->conns[i].next = i + 1 < f->max ? i + 1 : SBXI_FWD_NONE;
    }
    f->first = f->waiting = SBXI_FWD_NONE;
    f->remote = o->remote_port;
    f->dial_ms = o->dial_ms;
    f->listener = f->ep = -1;
    return f;
}

/* False with errno. */
static bool sbxi_fwd_listen(sbx_forward *f, const sbx_forward_opts *o, sbxi_listen_address *a, socklen_t n)
{
    f->listener = sbxi_listen_open(a, n, o->backlog ? o->backlog : 128, &f->port);
    if (f->listener < 0)
        return false;
    if (a->any.sa_family == AF_UNIX)
        f->path = o->local_host;
#if !SBX_TUNNEL_POLL
    f->ep = epoll_create1(EPOLL_CLOEXEC);
    if (f->ep < 0 || (sbx_poll_handle(f->c) >= 0 && !sbxi_fwd_watch(f, (int)sbx_poll_handle(f->c), SBXI_FWD_CLIENT, false)))
        return false;
#endif
    return sbxi_fwd_watch(f, f->listener, SBXI_FWD_LISTENER, true);
}

SBX_API sbx_code sbx_forward_open(sbx_client *c, sbx_op tunnel, const sbx_forward_opts *opts, sbx_forward **out, sbx_error *err)
{
    sbxi_listen_address a;
    socklen_t n = sbxi_listen_parse(opts->local_host ? opts->local_host : "127.0.0.1", opts->local_port, &a);
    void *allocated = NULL;
    sbx_forward *f;

    *out = NULL;
    if (!n && errno == ENOMEM)
        return sbxi_fwd_error(err, SBX_ERR_MEMORY, "local_host", "cannot be read: no memory", 0);
    if (!n)
        return sbxi_fwd_error(err, SBX_ERR_ARGUMENT, "local_host", "must be an IP literal, or the path of a Unix socket, which begins with '/' and has a length limit (Linux: 107 bytes)", 0);
    if (!opts->remote_port)
        return sbxi_fwd_error(err, SBX_ERR_ARGUMENT, "remote_port", "must be 1 to 65,535", 0);
    if (opts->max_conns > 1000000)
        return sbxi_fwd_error(err, SBX_ERR_ARGUMENT, "max_conns", "must be 1,000,000 at most, or 0 (32)", 0);
    if (opts->backlog < 0)
        return sbxi_fwd_error(err, SBX_ERR_ARGUMENT, "backlog", "must be positive, or 0 (128)", 0);
    if (!opts->memory.p && !(allocated = malloc(sbx_forward_size(opts))))
        return sbxi_fwd_error(err, SBX_ERR_MEMORY, "memory", "was refused by malloc", 0);
    if (opts->memory.p && opts->memory.n < sbx_forward_size(opts))
        return sbxi_fwd_error(err, SBX_ERR_MEMORY, "memory", "is smaller than sbx_forward_size says", 0);
    f = sbxi_fwd_lay(opts, allocated);
    f->c = c;
    f->tunnel = tunnel;
    if (!sbxi_fwd_listen(f, opts, &a, n)) {
        int sys = errno;

        sbx_forward_close(f);
        return sbxi_fwd_unheard(err, opts, sys);
    }
    *out = f;
    return SBX_OK;
}

SBX_API uint16_t sbx_forward_port(const sbx_forward *f)
{
    return f->port;
}

SBX_API uint32_t sbx_forward_conns(const sbx_forward *f)
{
    return f->live;
}

SBX_API void sbx_forward_close(sbx_forward *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; i < f->max; i++) {
        sbxi_fwd_conn *conn = &f->conns[i];

        if (conn->fd >= 0)
            sbxi_listen_reset(conn->fd);
        if (conn->op.slot) {
            sbx_cancel(f->c, conn->op);
            sbx_await(f->c, conn->op); /* takes the END, which is there */
        }
    }
    if (f->listener >= 0)
        close(f->listener);
    if (f->path)
        unlink(f->path);
    if (f->ep >= 0)
        close(f->ep);
    free(f->allocated);
}

SBX_EXTERN_C_END

#endif /* SANDBOX_IMPLEMENTATION */
