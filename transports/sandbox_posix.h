/* sandbox_posix.h: TCP for sandbox.h on POSIX systems (Linux, the BSDs, macOS).

   Plain TCP only: an https or wss target is answered SBX_ERR_UNSUPPORTED.
   Use http:// endpoints (a local server, a TLS-terminating proxy) or lay a
   TLS transport over this one.

   Use
       #define SANDBOX_IMPLEMENTATION      in one C or C++ file
       #include "sandbox.h"                before any system header
       #include "sandbox_posix.h"
   and set sbx_client_desc.transport = &sbx_posix. Link with -pthread where
   the C library keeps threads apart.

   Waiting
   Linux: epoll, edge-triggered, one registration a socket; `poll_handle` is
   the epoll descriptor, readable whenever `wait` would report something,
   for a foreign event loop. Elsewhere: poll(), and `poll_handle` is -1.
   `wait` goes on after a signal. `wake` may be called from any thread and
   from a signal handler.

   Names
   IP literals (IPv6 also with %scope) are read at once. Any other name goes
   through getaddrinfo in one thread a client, started at the first name, so
   nothing but `wait` blocks. One lookup runs at a time; lookups of the same
   name at the same time are one. Up to SBX_POSIX_LOOKUPS names are looked up
   or connected to at once, further connections wait for their turn. Closing
   a connection gives up its lookup at once. Shutting down never waits for a
   hanging lookup either: the thread then ends by itself when getaddrinfo
   returns, and frees the one block (about 700 bytes) it works in, the only
   memory this transport takes from malloc. Do not unload the code (dlclose)
   before that.

   Addresses
   Up to 8 a name, in the system's order with families alternating. The next
   one is tried when one fails or takes longer than address_timeout_ms; the
   last one has the system's own limit (minutes), so give operations a
   deadline.

   fork
   The child must not touch a client that was opened before the fork, not
   even to close it: sockets and the epoll instance are shared with the
   parent. Open a new client in the child. All descriptors are
   close-on-exec, so after exec nothing remains.

   Configuration macros, read by the implementation only
       SBX_POSIX_POLL=1        poll() also on Linux
       SBX_POSIX_NO_THREADS=1  no thread, no malloc: connecting to a name
                               (not to a literal) blocks as long as
                               getaddrinfo does
       SBX_POSIX_LOOKUPS=n     names in the works at once, default 16, at
                               most 1000; each costs about 0.5 KiB a client */
#ifndef SBX_POSIX_H
#define SBX_POSIX_H

#ifndef SBX_TRANSPORT_H
#error "include sandbox.h before sandbox_posix.h"
#endif

SBX_EXTERN_C_BEGIN

/* sbx_client_desc.transport_config; NULL or all zero = defaults. Read during
   open only. A negative number or a bad address fails with
   SBX_ERR_ARGUMENT. */
typedef struct sbx_posix_config {
    int address_timeout_ms;   /* time for an address before the next is tried; 0 = 3000 */
    int so_sndbuf, so_rcvbuf; /* socket buffers in bytes; 0 = the system sizes them itself */
    bool no_keepalive;        /* default: probe after 45 s of silence, then each 15 s, dead after 4 */
    const char *bind_address; /* local IP literal to connect from; limits to its family; NULL = any */
} sbx_posix_config;

/* Codes in the fault, with errno (for SBX_ERR_RESOLVE else getaddrinfo's
   number) in `sys`:
   open     SBX_ERR_ARGUMENT (config), SBX_ERR_CONNECT (no descriptor left)
   connect  SBX_ERR_UNSUPPORTED (tls), SBX_ERR_RESOLVE, SBX_ERR_CONNECT,
            SBX_ERR_FULL (more connections than max_conns; poll() only),
            SBX_ERR_STATE (connect after FAIL without close)
   recv     SBX_ERR_CONNECTION; SBX_ERR_STATE before connect was OK;
   send     SBX_ERR_ARGUMENT for a length of 0
   A connection's state must stay at its address, and its tag the same, from
   connect to close; the state is all zero again after close. */
extern const sbx_transport sbx_posix;

SBX_EXTERN_C_END
#endif /* SBX_POSIX_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_POSIX_IMPLEMENTED)
#define SBXI_POSIX_IMPLEMENTED

#ifndef SBX_POSIX_POLL
#ifdef __linux__
#define SBX_POSIX_POLL 0
#else
#define SBX_POSIX_POLL 1
#endif
#endif
#ifndef SBX_POSIX_NO_THREADS
#define SBX_POSIX_NO_THREADS 0
#endif
#ifndef SBX_POSIX_LOOKUPS
#define SBX_POSIX_LOOKUPS 16
#endif
#if SBX_POSIX_LOOKUPS < 1 || SBX_POSIX_LOOKUPS > 1000
#error "SBX_POSIX_LOOKUPS must be 1 to 1000"
#endif

/* In an order that older BSDs accept. */
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#if !SBX_POSIX_POLL
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#endif
#if !SBX_POSIX_NO_THREADS
#include <pthread.h>
#endif

#if !defined(EAI_NONAME) || !defined(CLOCK_MONOTONIC) || (defined(__GLIBC__) && !defined(__USE_MISC))
#error "sandbox_posix.h: POSIX is hidden (-std=c99?) and a system header came first: include sandbox.h before every system header in this file, or compile it with -D_DEFAULT_SOURCE"
#endif

SBX_EXTERN_C_BEGIN

#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
#define SBXI_POSIX_TEXT(s) NULL
#else
#define SBXI_POSIX_TEXT(s) (s)
#endif
#ifdef MSG_NOSIGNAL
#define SBXI_POSIX_SEND_FLAGS MSG_NOSIGNAL
#else
#define SBXI_POSIX_SEND_FLAGS 0 /* SO_NOSIGPIPE is set instead */
#endif

enum {
    SBXI_POSIX_ADDRESSES = 8,
    SBXI_POSIX_HOST = 256,      /* the longest name has 253 bytes */
    SBXI_POSIX_BATCH = 64,      /* events taken from the kernel at a time */
    SBXI_POSIX_FRESH_MS = 1000, /* a finished lookup still in use serves others that long */
    SBXI_POSIX_NONE = -1
};

/* States of a connection; zeroed memory is NEW. */
enum {
    SBXI_POSIX_NEW,
    SBXI_POSIX_STARVED,    /* waits for a free lookup */
    SBXI_POSIX_RESOLVING,  /* its lookup is queued or runs */
    SBXI_POSIX_CONNECTING, /* a socket is under way */
    SBXI_POSIX_OPEN,
    SBXI_POSIX_DEAD
};

typedef struct sbxi_posix_addr {
    unsigned char ip[16]; /* 4 or 16 bytes, network order */
    uint32_t scope;
    bool v6;
} sbxi_posix_addr;

typedef struct sbxi_posix_answer {
    int err; /* EAI_…, 0 = n addresses */
    int sys;
    int n;
    sbxi_posix_addr addr[SBXI_POSIX_ADDRESSES];
} sbxi_posix_answer;

enum { SBXI_POSIX_FREE, SBXI_POSIX_QUEUED, SBXI_POSIX_RUNNING, SBXI_POSIX_DONE };

typedef struct sbxi_posix_lookup {
    int state;
    uint32_t refs; /* connections that use it */
    uint64_t turn; /* order in the queue */
    int64_t done_at;
    sbxi_posix_answer answer;
    char host[SBXI_POSIX_HOST];
} sbxi_posix_lookup;

enum { SBXI_POSIX_UNLISTED, SBXI_POSIX_WAITING, SBXI_POSIX_TIMED };

typedef struct sbxi_posix_conn {
    int fd1; /* descriptor + 1, 0 = none */
    uint32_t tag;
    struct sbxi_posix_conn *next, *prev;
    int64_t until;   /* TIMED: end of this address's time */
    int err;         /* the most telling errno of the addresses that failed */
    uint32_t index;  /* poll(): place in the tables */
    uint16_t lookup; /* index + 1, 0 = none */
    uint8_t state, list;
    uint8_t at;      /* next address of the lookup */
    uint8_t watched; /* poll(): SBX_READABLE | SBX_WRITABLE */
} sbxi_posix_conn;

typedef struct sbxi_posix_list {
    sbxi_posix_conn *first, *last;
} sbxi_posix_list;

#if !SBX_POSIX_NO_THREADS
/* What the client and its resolver thread share: one job at a time. It lies
   apart from the context, so that the thread can outlive the client. */
typedef struct sbxi_posix_mail {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t thread;
    int state; /* FREE, QUEUED (a job), RUNNING, DONE */
    int wake;  /* written to when DONE */
    bool quit;
    bool orphan; /* the thread frees this block */
    sbxi_posix_answer answer;
    char host[SBXI_POSIX_HOST];
} sbxi_posix_mail;
#endif

typedef struct sbxi_posix_ctx {
    bool opened, dirty, bound;
    int wake_r, wake_w; /* one eventfd, or the ends of a pipe */
    sbx_posix_config config;
    sbxi_posix_addr bind_to;
    sbxi_posix_list lists[3]; /* by list number; TIMED is in order of `until` */
    uint32_t starved;         /* STARVED ones in WAITING */
    int running;              /* lookup that the thread works on */
    uint64_t turns;
#if !SBX_POSIX_NO_THREADS
    sbxi_posix_mail *mail;
#endif
#if SBX_POSIX_POLL
    uint32_t max_conns, count, cursor;
#else
    int epoll, timer;
    bool armed, fired;
#endif
    sbxi_posix_lookup lookups[SBX_POSIX_LOOKUPS];
    char text[192];
} sbxi_posix_ctx;

/* ---- errors ---- */

static sbx_io sbxi_posix_fail(sbx_fault *fault, sbx_code code, int sys, const char *text)
{
    if (fault) {
        fault->code = code;
        fault->sys = sys;
        fault->text = text;
    }
    return SBX_IO_FAIL;
}

static const char *sbxi_posix_why(int err)
{
#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
    (void)err;
    return NULL;
#else
    switch (err) {
    case ECONNREFUSED: return "connection refused: nothing listens on that host and port";
    case ENETUNREACH:
    case ENETDOWN: return "the network is unreachable from this machine";
    case EHOSTUNREACH: return "no route to the host";
    case ETIMEDOUT: return "timed out: the host does not answer";
    case ECONNRESET: return "the peer reset the connection";
    case ECONNABORTED: return "the connection was aborted";
    case EPIPE: return "the peer has closed the connection";
    case EMFILE: return "too many open files in this process: raise the limit (ulimit -n, RLIMIT_NOFILE)";
    case ENFILE: return "too many open files on this machine";
    case EADDRNOTAVAIL: return "no local address or port is free (many recent connections, or a wrong bind_address)";
    case EADDRINUSE: return "the local address is in use";
    case EAFNOSUPPORT: return "this machine or bind_address does not support the address's family";
    case EACCES:
    case EPERM: return "the system forbids this connection (firewall or sandbox policy)";
    case ENOBUFS:
    case ENOMEM: return "the system has no memory for this";
    case ENOSPC: return "the limit of epoll watches is reached (fs.epoll.max_user_watches)";
    case EAGAIN: return "the system has no resources for this now (threads, ports)";
    default: return NULL;
    }
#endif
}

/* Of two addresses' errors, one that came from the host tells more than one
   that says this machine cannot even try. */
static int sbxi_posix_telling(int old, int err)
{
    if (old == 0 || old == ENETUNREACH || old == EHOSTUNREACH || old == EAFNOSUPPORT || old == EADDRNOTAVAIL)
        return err;
    return old;
}

/* No other address can do better. */
static bool sbxi_posix_hopeless(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS || err == ENOSPC || err == EOVERFLOW;
}

static sbx_io sbxi_posix_unresolved(sbxi_posix_ctx *x, const sbxi_posix_answer *a, sbx_str host, sbx_fault *fault)
{
#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
    (void)x;
    (void)host;
    return sbxi_posix_fail(fault, SBX_ERR_RESOLVE, a->err == EAI_SYSTEM ? a->sys : a->err, NULL);
#else
    const char *what = "the host name could not be looked up: ";
    size_t n, m = host.n;
    int sys = a->err;
    /* Without a descriptor for its files, getaddrinfo says anything. */
    if (a->err == EAI_SYSTEM || (a->err && (a->sys == EMFILE || a->sys == ENFILE))) {
        sys = a->sys;
        if (sbxi_posix_why(sys))
            return sbxi_posix_fail(fault, SBX_ERR_RESOLVE, sys, sbxi_posix_why(sys));
    } else if (a->err == EAI_AGAIN) {
        what = "no name server answered for the host name: ";
    } else if (a->err == EAI_MEMORY) {
        what = "no memory to look up the host name: ";
    } else if (a->err == EAI_NONAME || a->err == 0) {
        what = "no such host name: ";
    }
#ifdef EAI_NODATA
    else if (a->err == EAI_NODATA) {
        what = "the host name has no address: ";
    }
#endif
    n = strlen(what);
    if (m > sizeof x->text - n - 1)
        m = sizeof x->text - n - 1;
    memcpy(x->text, what, n);
    if (m)
        memcpy(x->text + n, host.p, m);
    x->text[n + m] = 0;
    return sbxi_posix_fail(fault, SBX_ERR_RESOLVE, sys, x->text);
#endif
}

/* ---- clocks and random bytes ---- */

static int64_t sbxi_posix_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t))
        return 0;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t sbxi_posix_mono_ms(void *ctx)
{
    (void)ctx;
    return sbxi_posix_clock(CLOCK_MONOTONIC);
}

static int64_t sbxi_posix_wall_ms(void *ctx)
{
    (void)ctx;
    return sbxi_posix_clock(CLOCK_REALTIME);
}

static bool sbxi_posix_urandom(char *p, size_t n)
{
    int fd;
    do {
        fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return false;
    while (n) {
        ssize_t r = read(fd, p, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        p += r;
        n -= (size_t)r;
    }
    close(fd);
    return n == 0;
}

static bool sbxi_posix_entropy(void *ctx, void *p, size_t n)
{
    char *at = (char *)p;
    (void)ctx;
#if defined(__linux__) && defined(SYS_getrandom)
    while (n) {
        /* 1 = GRND_NONBLOCK: early after boot there is nothing strong yet,
           and this must not block. */
        long r = syscall(SYS_getrandom, at, n, 1u);
        if (r > 0) {
            at += r;
            n -= (size_t)r;
        } else if (r == 0 || errno == EAGAIN) {
            return false;
        } else if (errno != EINTR) {
            break; /* not to be had: older kernel or a system call filter */
        }
    }
#endif
    return n == 0 || sbxi_posix_urandom(at, n);
}

/* ---- waking ---- */

static void sbxi_posix_ring(int fd)
{
#if SBX_POSIX_POLL
    const char one = 1;
#else
    const uint64_t one = 1;
#endif
    ssize_t r;
    int saved = errno; /* may run in a signal handler */
    do {
        r = write(fd, &one, sizeof one);
    } while (r < 0 && errno == EINTR); /* EAGAIN: it is rung already */
    errno = saved;
}

static void sbxi_posix_wake(void *ctx)
{
    sbxi_posix_ring(((sbxi_posix_ctx *)ctx)->wake_w);
}

static void sbxi_posix_unring(int fd)
{
    char sink[64];
    ssize_t r;
    do {
        r = read(fd, sink, sizeof sink);
    } while ((r < 0 && errno == EINTR) || r == (ssize_t)sizeof sink);
}

#if SBX_POSIX_POLL || !defined(SOCK_NONBLOCK)
static bool sbxi_posix_flags(int fd)
{
    int fl = fcntl(fd, F_GETFL);
    return fl >= 0 && fcntl(fd, F_SETFL, fl | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}
#endif

/* ---- lists of connections that are not reported by a socket ---- */

static void sbxi_posix_unlist(sbxi_posix_ctx *x, sbxi_posix_conn *c)
{
    sbxi_posix_list *l = &x->lists[c->list];
    if (c->list == SBXI_POSIX_UNLISTED)
        return;
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        l->last = c->prev;
    if (c->list == SBXI_POSIX_WAITING && c->state == SBXI_POSIX_STARVED)
        x->starved--;
    c->next = c->prev = NULL;
    c->list = SBXI_POSIX_UNLISTED;
}

static void sbxi_posix_enlist(sbxi_posix_ctx *x, sbxi_posix_conn *c, int list)
{
    sbxi_posix_list *l = &x->lists[list];
    if (c->list == list)
        return;
    c->prev = l->last;
    c->next = NULL;
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
    c->list = (uint8_t)list;
    if (list == SBXI_POSIX_WAITING && c->state == SBXI_POSIX_STARVED)
        x->starved++;
}

#if !SBX_POSIX_POLL
/* The timer makes the epoll descriptor readable when an address's time is
   over, so that a foreign event loop sees it too. */
static void sbxi_posix_arm(sbxi_posix_ctx *x)
{
    const sbxi_posix_conn *c = x->lists[SBXI_POSIX_TIMED].first;
    struct itimerspec t;
    memset(&t, 0, sizeof t);
    if (c) {
        t.it_value.tv_sec = (time_t)(c->until / 1000);
        t.it_value.tv_nsec = (long)(c->until % 1000) * 1000000 + 1;
    }
    x->armed = c != NULL;
    x->fired = false;
    (void)timerfd_settime(x->timer, TFD_TIMER_ABSTIME, &t, NULL);
}
#endif

static void sbxi_posix_limit(sbxi_posix_ctx *x, sbxi_posix_conn *c)
{
    c->until = sbxi_posix_clock(CLOCK_MONOTONIC) + x->config.address_timeout_ms;
    sbxi_posix_enlist(x, c, SBXI_POSIX_TIMED);
#if !SBX_POSIX_POLL
    if (!x->armed)
        sbxi_posix_arm(x);
#endif
}

/* ---- names ---- */

/* 1 = a literal, 0 = a name, -1 = meant as an IPv6 literal, but none. */
static int sbxi_posix_literal(sbx_str host, sbxi_posix_addr *a)
{
    char z[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    char *scope;
    memset(a, 0, sizeof *a);
    if (!memchr(host.p, ':', host.n)) {
        if (host.n >= INET_ADDRSTRLEN)
            return 0;
        memcpy(z, host.p, host.n);
        z[host.n] = 0;
        return inet_pton(AF_INET, z, a->ip) == 1;
    }
    if (host.n >= sizeof z)
        return -1;
    memcpy(z, host.p, host.n);
    z[host.n] = 0;
    a->v6 = true;
    scope = strchr(z, '%');
    if (scope) {
        *scope++ = 0;
        a->scope = if_nametoindex(scope);
        if (!a->scope) {
            for (; *scope >= '0' && *scope <= '9' && a->scope < 100000000; scope++)
                a->scope = a->scope * 10 + (uint32_t)(*scope - '0');
            if (*scope || !a->scope)
                return -1;
        }
    }
    return inet_pton(AF_INET6, z, a->ip) == 1 ? 1 : -1;
}

static const struct addrinfo *sbxi_posix_of(const struct addrinfo *ai, int family)
{
    while (ai && ai->ai_family != family)
        ai = ai->ai_next;
    return ai;
}

static void sbxi_posix_resolve(const char *host, sbxi_posix_answer *out)
{
    struct addrinfo hints;
    struct addrinfo *all = NULL;
    const struct addrinfo *at[2];
    int k;
    memset(out, 0, sizeof *out);
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    errno = 0;
    out->err = getaddrinfo(host, NULL, &hints, &all);
    out->sys = errno;
    if (out->err)
        return;
    at[0] = sbxi_posix_of(all, AF_INET);
    at[1] = sbxi_posix_of(all, AF_INET6);
    k = all && all->ai_family == AF_INET6;
    /* Families alternate (RFC 8305 4), so that a dead one costs one wait. */
    while ((at[0] || at[1]) && out->n < SBXI_POSIX_ADDRESSES) {
        sbxi_posix_addr *a = &out->addr[out->n];
        if (!at[k])
            k = !k;
        if (k) {
            struct sockaddr_in6 s;
            memcpy(&s, at[k]->ai_addr, sizeof s);
            memcpy(a->ip, &s.sin6_addr, 16);
            a->scope = s.sin6_scope_id;
        } else {
            struct sockaddr_in s;
            memcpy(&s, at[k]->ai_addr, sizeof s);
            memcpy(a->ip, &s.sin_addr, 4);
        }
        a->v6 = k != 0;
        out->n++;
        at[k] = sbxi_posix_of(at[k]->ai_next, k ? AF_INET6 : AF_INET);
        k = !k;
    }
    freeaddrinfo(all);
}

/* One freed lookup lets one starved connection go on. */
static void sbxi_posix_nudge(sbxi_posix_ctx *x)
{
    int i;
    if (!x->starved || x->dirty)
        return;
    for (i = 0; i < SBX_POSIX_LOOKUPS; i++)
        if (x->lookups[i].state == SBXI_POSIX_FREE) {
            x->dirty = true;
            sbxi_posix_ring(x->wake_w);
            return;
        }
}

#if !SBX_POSIX_NO_THREADS
static void sbxi_posix_bury(sbxi_posix_mail *m)
{
    pthread_cond_destroy(&m->work);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void *sbxi_posix_thread(void *arg)
{
    sbxi_posix_mail *m = (sbxi_posix_mail *)arg;
    sbxi_posix_answer answer;
    char host[SBXI_POSIX_HOST];
    bool orphan;
    pthread_mutex_lock(&m->lock);
    for (;;) {
        while (!m->quit && m->state != SBXI_POSIX_QUEUED)
            pthread_cond_wait(&m->work, &m->lock);
        if (m->quit)
            break;
        m->state = SBXI_POSIX_RUNNING;
        memcpy(host, m->host, sizeof host);
        pthread_mutex_unlock(&m->lock);
        sbxi_posix_resolve(host, &answer);
        pthread_mutex_lock(&m->lock);
        if (m->quit)
            break;
        m->answer = answer;
        m->state = SBXI_POSIX_DONE;
        sbxi_posix_ring(m->wake); /* under the lock: shut closes it afterwards */
    }
    orphan = m->orphan;
    pthread_mutex_unlock(&m->lock);
    if (orphan)
        sbxi_posix_bury(m);
    return NULL;
}

static int sbxi_posix_hire(sbxi_posix_ctx *x)
{
    sbxi_posix_mail *m;
    sigset_t all, before;
    int err;
    if (x->mail)
        return 0;
    m = (sbxi_posix_mail *)malloc(sizeof *m);
    if (!m)
        return ENOMEM;
    memset(m, 0, sizeof *m);
    m->wake = x->wake_w;
    err = pthread_mutex_init(&m->lock, NULL);
    if (err) {
        free(m);
        return err;
    }
    err = pthread_cond_init(&m->work, NULL);
    if (err) {
        pthread_mutex_destroy(&m->lock);
        free(m);
        return err;
    }
    /* The program's signals are not this thread's business. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&m->thread, NULL, sbxi_posix_thread, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        sbxi_posix_bury(m);
        return err;
    }
    x->mail = m;
    return 0;
}

static void sbxi_posix_dismiss(sbxi_posix_ctx *x)
{
    sbxi_posix_mail *m = x->mail;
    pthread_t thread;
    bool busy;
    if (!m)
        return;
    x->mail = NULL;
    pthread_mutex_lock(&m->lock);
    thread = m->thread;
    busy = m->state == SBXI_POSIX_RUNNING;
    m->quit = true;
    m->orphan = busy;
    pthread_cond_signal(&m->work);
    pthread_mutex_unlock(&m->lock);
    if (busy) {
        pthread_detach(thread);
    } else {
        pthread_join(thread, NULL);
        sbxi_posix_bury(m);
    }
}

/* Fetches the thread's answer and gives it the next name. */
static void sbxi_posix_pump(sbxi_posix_ctx *x)
{
    sbxi_posix_mail *m = x->mail;
    sbxi_posix_lookup *next = NULL;
    int i;
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    if (m->state == SBXI_POSIX_DONE) {
        if (x->running != SBXI_POSIX_NONE) { /* else nobody wants it any more */
            sbxi_posix_lookup *l = &x->lookups[x->running];
            l->answer = m->answer;
            l->state = SBXI_POSIX_DONE;
            l->done_at = sbxi_posix_clock(CLOCK_MONOTONIC);
            x->running = SBXI_POSIX_NONE;
            x->dirty = true;
        }
        m->state = SBXI_POSIX_FREE;
    }
    if (m->state == SBXI_POSIX_FREE) {
        for (i = 0; i < SBX_POSIX_LOOKUPS; i++) {
            sbxi_posix_lookup *l = &x->lookups[i];
            if (l->state == SBXI_POSIX_QUEUED && (!next || l->turn < next->turn))
                next = l;
        }
        if (next) {
            next->state = SBXI_POSIX_RUNNING;
            x->running = (int)(next - x->lookups);
            memcpy(m->host, next->host, sizeof m->host);
            m->state = SBXI_POSIX_QUEUED;
            pthread_cond_signal(&m->work);
        }
    }
    pthread_mutex_unlock(&m->lock);
}
#else
static void sbxi_posix_pump(sbxi_posix_ctx *x)
{
    (void)x;
}
#endif

static bool sbxi_posix_acquire(sbxi_posix_ctx *x, sbxi_posix_conn *c, sbx_str host)
{
    sbxi_posix_lookup *l, *unused = NULL;
    int64_t now = sbxi_posix_clock(CLOCK_MONOTONIC);
    int i;
    for (i = 0; i < SBX_POSIX_LOOKUPS; i++) {
        l = &x->lookups[i];
        if (l->state == SBXI_POSIX_FREE) {
            if (!unused)
                unused = l;
        } else if (memcmp(l->host, host.p, host.n) == 0 && !l->host[host.n] &&
                   (l->state != SBXI_POSIX_DONE || (l->answer.n && now - l->done_at < SBXI_POSIX_FRESH_MS))) {
            l->refs++;
            c->lookup = (uint16_t)(i + 1);
            return true;
        }
    }
    l = unused;
    if (!l)
        return false;
    l->refs = 1;
    l->turn = x->turns++;
    memcpy(l->host, host.p, host.n);
    memset(l->host + host.n, 0, sizeof l->host - host.n);
    c->lookup = (uint16_t)(l - x->lookups + 1);
#if SBX_POSIX_NO_THREADS
    sbxi_posix_resolve(l->host, &l->answer);
    l->done_at = sbxi_posix_clock(CLOCK_MONOTONIC);
    l->state = SBXI_POSIX_DONE;
#else
    l->state = SBXI_POSIX_QUEUED;
    i = sbxi_posix_hire(x);
    if (i) {
        memset(&l->answer, 0, sizeof l->answer);
        l->answer.err = EAI_SYSTEM;
        l->answer.sys = i;
        l->state = SBXI_POSIX_DONE;
    }
#endif
    return true;
}

static void sbxi_posix_release(sbxi_posix_ctx *x, sbxi_posix_conn *c)
{
    if (c->lookup) {
        sbxi_posix_lookup *l = &x->lookups[c->lookup - 1];
        c->lookup = 0;
        if (--l->refs == 0) {
            l->state = SBXI_POSIX_FREE;
            if (x->running == (int)(l - x->lookups))
                x->running = SBXI_POSIX_NONE;
        }
    }
    sbxi_posix_nudge(x);
}

/* ---- sockets ---- */

#if SBX_POSIX_POLL
/* Behind the context lie the tables: a connection each, then the pipe's
   pollfd and one for each connection. */
static sbxi_posix_conn **sbxi_posix_conns(sbxi_posix_ctx *x)
{
    return (sbxi_posix_conn **)(void *)((char *)x + SBX_TRANSPORT_ALIGN(sizeof *x));
}

static struct pollfd *sbxi_posix_fds(sbxi_posix_ctx *x)
{
    return (struct pollfd *)(void *)(sbxi_posix_conns(x) + x->max_conns);
}

static void sbxi_posix_watch(void *ctx, void *conn, unsigned bits)
{
    sbxi_posix_ctx *x = (sbxi_posix_ctx *)ctx;
    sbxi_posix_conn *c = (sbxi_posix_conn *)conn;
    struct pollfd *p;
    c->watched = (uint8_t)(bits & (SBX_READABLE | SBX_WRITABLE));
    if (!c->fd1)
        return;
    p = &sbxi_posix_fds(x)[1 + c->index];
    bits = c->state == SBXI_POSIX_OPEN ? c->watched : (unsigned)SBX_WRITABLE;
    p->events = (short)(((bits & SBX_READABLE) ? POLLIN : 0) | ((bits & SBX_WRITABLE) ? POLLOUT : 0));
    /* A negative number is skipped: a hang-up would be reported for ever. */
    p->fd = bits ? c->fd1 - 1 : -c->fd1;
}

static int sbxi_posix_add(sbxi_posix_ctx *x, sbxi_posix_conn *c)
{
    if (x->count == x->max_conns)
        return EOVERFLOW;
    c->index = x->count++;
    sbxi_posix_conns(x)[c->index] = c;
    sbxi_posix_watch(x, c, c->watched);
    return 0;
}

static void sbxi_posix_del(sbxi_posix_ctx *x, sbxi_posix_conn *c)
{
    uint32_t last = --x->count;
    sbxi_posix_conn **conns = sbxi_posix_conns(x);
    struct pollfd *fds = sbxi_posix_fds(x) + 1;
    fds[c->index] = fds[last];
    conns[c->index] = conns[last];
    conns[c->index]->index = c->index;
}
#else
static int sbxi_posix_add(sbxi_posix_ctx *x, sbxi_posix_conn *c)
{
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET;
    e.data.u64 = c->tag;
    return epoll_ctl(x->epoll, EPOLL_CTL_ADD, c->fd1 - 1, &e) ? errno : 0;
}
#endif

static int sbxi_posix_socket(int family)
{
#ifdef SOCK_NONBLOCK
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0 && !sbxi_posix_flags(fd)) {
        int err = errno;
        close(fd);
        errno = err;
        fd = -1;
    }
    return fd;
#endif
}

/* All of these are wishes: without them the connection works as well. */
static void sbxi_posix_set(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, (const char *)&value, sizeof value);
}

static void sbxi_posix_options(const sbx_posix_config *config, int fd)
{
    sbxi_posix_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#ifdef SO_NOSIGPIPE
    sbxi_posix_set(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
    if (config->so_sndbuf)
        sbxi_posix_set(fd, SOL_SOCKET, SO_SNDBUF, config->so_sndbuf);
    if (config->so_rcvbuf)
        sbxi_posix_set(fd, SOL_SOCKET, SO_RCVBUF, config->so_rcvbuf);
    if (!config->no_keepalive) {
        sbxi_posix_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(TCP_KEEPIDLE)
        sbxi_posix_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 45);
#elif defined(TCP_KEEPALIVE)
        sbxi_posix_set(fd, IPPROTO_TCP, TCP_KEEPALIVE, 45);
#endif
#if defined(TCP_KEEPINTVL) && defined(TCP_KEEPCNT)
        sbxi_posix_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
        sbxi_posix_set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
#endif
    }
}

typedef union sbxi_posix_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} sbxi_posix_sockaddr;

static socklen_t sbxi_posix_pack(const sbxi_posix_addr *a, uint16_t port, sbxi_posix_sockaddr *s)
{
    memset(s, 0, sizeof *s);
    if (a->v6) {
        s->v6.sin6_family = AF_INET6;
        s->v6.sin6_port = htons(port);
        s->v6.sin6_scope_id = a->scope;
        memcpy(&s->v6.sin6_addr, a->ip, 16);
        return sizeof s->v6;
    }
    s->v4.sin_family = AF_INET;
    s->v4.sin_port = htons(port);
    memcpy(&s->v4.sin_addr, a->ip, 4);
    return sizeof s->v4;
}

static void sbxi_posix_drop(sbxi_posix_ctx *x, sbxi_posix_conn *c)
{
    if (!c->fd1)
        return;
#if SBX_POSIX_POLL
    sbxi_posix_del(x, c);
#else
    (void)x; /* the kernel forgets the registration with the socket */
#endif
    close(c->fd1 - 1);
    c->fd1 = 0;
}

/* Starts a connection to one address: 0 = it stands, EINPROGRESS, or why not. */
static int sbxi_posix_start(sbxi_posix_ctx *x, sbxi_posix_conn *c, const sbxi_posix_addr *a, uint16_t port)
{
    sbxi_posix_sockaddr s;
    socklen_t n;
    int fd, err = 0;
    if (x->bound && x->bind_to.v6 != a->v6)
        return EAFNOSUPPORT;
    fd = sbxi_posix_socket(a->v6 ? AF_INET6 : AF_INET);
    if (fd < 0)
        return errno;
    sbxi_posix_options(&x->config, fd);
    if (x->bound) {
#ifdef IP_BIND_ADDRESS_NO_PORT
        sbxi_posix_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
#endif
        n = sbxi_posix_pack(&x->bind_to, 0, &s);
        if (bind(fd, &s.any, n))
            err = errno;
    }
    n = sbxi_posix_pack(a, port, &s);
    if (!err && connect(fd, &s.any, n))
        err = errno == EINTR ? EINPROGRESS : errno; /* an interrupted connect goes on by itself */
    if (!err || err == EINPROGRESS) {
        int added;
        /* Registered only now: an unconnected socket would report a hang-up. */
        c->fd1 = fd + 1;
        c->state = (uint8_t)(err ? SBXI_POSIX_CONNECTING : SBXI_POSIX_OPEN);
        added = sbxi_posix_add(x, c);
        if (!added)
            return err;
        c->fd1 = 0;
        err = added;
    }
    close(fd);
    return err;
}

/* Goes through the addresses that are left. */
static sbx_io sbxi_posix_advance(sbxi_posix_ctx *x, sbxi_posix_conn *c, const sbxi_posix_addr *a, int n, uint16_t port,
                                 sbx_fault *fault)
{
    while (c->at < n) {
        int err = sbxi_posix_start(x, c, &a[c->at++], port);
        if (err == EINPROGRESS && c->at < n) {
            sbxi_posix_limit(x, c);
            return SBX_IO_WANT_WRITE;
        }
        if (!err || err == EINPROGRESS) {
            sbxi_posix_release(x, c); /* the last address: others may have the place */
            return err ? SBX_IO_WANT_WRITE : SBX_IO_OK;
        }
        if (sbxi_posix_hopeless(err)) {
            c->err = err;
            break;
        }
        c->err = sbxi_posix_telling(c->err, err);
    }
    c->state = SBXI_POSIX_DEAD;
    sbxi_posix_release(x, c);
    if (c->err == EOVERFLOW)
        return sbxi_posix_fail(fault, SBX_ERR_FULL, 0, NULL);
    return sbxi_posix_fail(fault, SBX_ERR_CONNECT, c->err, sbxi_posix_why(c->err));
}

static int sbxi_posix_outcome(int fd)
{
    struct pollfd p;
    int r, err = 0;
    socklen_t n = sizeof err;
    p.fd = fd;
    p.events = POLLOUT;
    p.revents = 0;
    do {
        r = poll(&p, 1, 0);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno;
    if (r == 0)
        return EINPROGRESS;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, (char *)&err, &n) ? errno : err;
}

static sbx_io sbxi_posix_continue(sbxi_posix_ctx *x, sbxi_posix_conn *c, uint16_t port, sbx_fault *fault)
{
    const sbxi_posix_answer *answer = c->lookup ? &x->lookups[c->lookup - 1].answer : NULL;
    int err = sbxi_posix_outcome(c->fd1 - 1);
    if (err == EINPROGRESS) {
        if (!answer || sbxi_posix_clock(CLOCK_MONOTONIC) < c->until)
            return SBX_IO_WANT_WRITE;
        err = ETIMEDOUT;
    }
    sbxi_posix_unlist(x, c);
    if (!err) {
        c->state = SBXI_POSIX_OPEN;
#if SBX_POSIX_POLL
        sbxi_posix_watch(x, c, c->watched);
#endif
        sbxi_posix_release(x, c);
        return SBX_IO_OK;
    }
    sbxi_posix_drop(x, c);
    c->err = sbxi_posix_telling(c->err, err);
    return sbxi_posix_advance(x, c, answer ? answer->addr : NULL, answer ? answer->n : 0, port, fault);
}

/* ---- the transport's functions ---- */

static sbx_io sbxi_posix_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    sbxi_posix_ctx *x = (sbxi_posix_ctx *)ctx;
    sbxi_posix_conn *c = (sbxi_posix_conn *)conn;
    sbxi_posix_lookup *l;
    c->tag = to->tag;
    if (c->state == SBXI_POSIX_OPEN)
        return SBX_IO_OK;
    if (c->state == SBXI_POSIX_CONNECTING)
        return sbxi_posix_continue(x, c, to->port, fault);
    if (c->state == SBXI_POSIX_DEAD)
        return sbxi_posix_fail(fault, SBX_ERR_STATE, 0, SBXI_POSIX_TEXT("the connection failed before: close it first"));
    if (c->state == SBXI_POSIX_NEW) {
        sbxi_posix_addr a;
        int literal;
        c->state = SBXI_POSIX_DEAD; /* until it is known better */
        if (to->tls)
            return sbxi_posix_fail(fault, SBX_ERR_UNSUPPORTED, 0,
                                   SBXI_POSIX_TEXT("this transport has no TLS: use an http:// endpoint, or a transport with TLS (sandbox_curl.h, sandbox_bearssl.h)"));
        if (to->host.n == 0 || to->host.n >= SBXI_POSIX_HOST || memchr(to->host.p, 0, to->host.n))
            return sbxi_posix_fail(fault, SBX_ERR_RESOLVE, 0,
                                   SBXI_POSIX_TEXT("the host name is empty, too long or has a zero byte"));
        literal = sbxi_posix_literal(to->host, &a);
        if (literal < 0)
            return sbxi_posix_fail(fault, SBX_ERR_RESOLVE, 0, SBXI_POSIX_TEXT("the host is not a valid IPv6 address"));
        if (literal)
            return sbxi_posix_advance(x, c, &a, 1, to->port, fault);
        c->state = SBXI_POSIX_STARVED;
    }
    if (c->state == SBXI_POSIX_STARVED) {
        bool got = sbxi_posix_acquire(x, c, to->host);
        if (got) {
            sbxi_posix_unlist(x, c);
            c->state = SBXI_POSIX_RESOLVING;
        } else {
            sbxi_posix_enlist(x, c, SBXI_POSIX_WAITING);
        }
        sbxi_posix_nudge(x); /* perhaps it did not use the place it was told of */
        if (!got)
            return SBX_IO_WANT_READ;
    }
    sbxi_posix_pump(x);
    l = &x->lookups[c->lookup - 1];
    if (l->state != SBXI_POSIX_DONE) {
        sbxi_posix_enlist(x, c, SBXI_POSIX_WAITING);
        return SBX_IO_WANT_READ;
    }
    sbxi_posix_unlist(x, c);
    if (l->answer.n == 0) {
        sbx_io r = sbxi_posix_unresolved(x, &l->answer, to->host, fault);
        c->state = SBXI_POSIX_DEAD;
        sbxi_posix_release(x, c);
        return r;
    }
    return sbxi_posix_advance(x, c, l->answer.addr, l->answer.n, to->port, fault);
}

static sbx_io sbxi_posix_idle(const sbxi_posix_conn *c, size_t n, sbx_fault *fault)
{
    if (c->state != SBXI_POSIX_OPEN)
        return sbxi_posix_fail(fault, SBX_ERR_STATE, 0, SBXI_POSIX_TEXT("the connection is not established"));
    return n ? SBX_IO_OK : sbxi_posix_fail(fault, SBX_ERR_ARGUMENT, 0, SBXI_POSIX_TEXT("a length of 0"));
}

static sbx_io sbxi_posix_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    const sbxi_posix_conn *c = (const sbxi_posix_conn *)conn;
    ssize_t r;
    (void)ctx;
    *got = 0;
    if (sbxi_posix_idle(c, room, fault))
        return SBX_IO_FAIL;
    do {
        r = recv(c->fd1 - 1, p, room < INT_MAX ? room : INT_MAX, 0);
    } while (r < 0 && errno == EINTR);
    if (r > 0) {
        *got = (size_t)r;
        return SBX_IO_OK;
    }
    if (r == 0)
        return SBX_IO_EOF;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return SBX_IO_WANT_READ;
    return sbxi_posix_fail(fault, SBX_ERR_CONNECTION, errno, sbxi_posix_why(errno));
}

static sbx_io sbxi_posix_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    const sbxi_posix_conn *c = (const sbxi_posix_conn *)conn;
    ssize_t r;
    (void)ctx;
    *sent = 0;
    if (sbxi_posix_idle(c, n, fault))
        return SBX_IO_FAIL;
    do {
        r = send(c->fd1 - 1, p, n < INT_MAX ? n : INT_MAX, SBXI_POSIX_SEND_FLAGS);
    } while (r < 0 && errno == EINTR);
    if (r > 0) {
        *sent = (size_t)r;
        return SBX_IO_OK;
    }
    if (r == 0 || errno == EAGAIN || errno == EWOULDBLOCK)
        return SBX_IO_WANT_WRITE;
    return sbxi_posix_fail(fault, SBX_ERR_CONNECTION, errno, sbxi_posix_why(errno));
}

static void sbxi_posix_close(void *ctx, void *conn)
{
    sbxi_posix_ctx *x = (sbxi_posix_ctx *)ctx;
    sbxi_posix_conn *c = (sbxi_posix_conn *)conn;
    sbxi_posix_unlist(x, c);
    sbxi_posix_drop(x, c);
    sbxi_posix_release(x, c);
    memset(c, 0, sizeof *c);
}

/* Reports the connections that no socket reports, once each. */
static int sbxi_posix_flush(sbxi_posix_ctx *x, sbx_ready *ready, int max)
{
    sbxi_posix_conn *c, *next;
    int i, n = 0, places = 0;
    if (x->dirty) {
        for (i = 0; i < SBX_POSIX_LOOKUPS; i++)
            places += x->lookups[i].state == SBXI_POSIX_FREE;
        for (c = x->lists[SBXI_POSIX_WAITING].first; c && n < max; c = next) {
            next = c->next;
            if (c->lookup ? x->lookups[c->lookup - 1].state != SBXI_POSIX_DONE : places-- <= 0)
                continue;
            sbxi_posix_unlist(x, c);
            ready[n].tag = c->tag;
            ready[n++].bits = SBX_READABLE | SBX_WRITABLE;
        }
        x->dirty = c != NULL;
        if (c)
            sbxi_posix_ring(x->wake_w); /* more than `ready` takes: keep poll_handle readable */
    }
    c = x->lists[SBXI_POSIX_TIMED].first;
    if (c && n < max) {
        int64_t now = sbxi_posix_clock(CLOCK_MONOTONIC);
        for (; c && n < max && c->until <= now; c = next) {
            next = c->next;
            sbxi_posix_unlist(x, c);
            ready[n].tag = c->tag;
            ready[n++].bits = SBX_READABLE | SBX_WRITABLE;
        }
    }
    return n;
}

#if SBX_POSIX_POLL
static int sbxi_posix_sleep(sbxi_posix_ctx *x, int ms, sbx_ready *ready, int max, bool *woken)
{
    struct pollfd *fds = sbxi_posix_fds(x);
    const sbxi_posix_conn *timed = x->lists[SBXI_POSIX_TIMED].first;
    uint32_t i;
    int r, n = 0;
    if (timed && ms) {
        int64_t left = timed->until - sbxi_posix_clock(CLOCK_MONOTONIC);
        left = left < 0 ? 0 : left;
        if (ms < 0 || left < ms)
            ms = (int)left;
    }
    r = poll(fds, (nfds_t)(x->count + 1), ms);
    if (r <= 0) {
        *woken = r < 0 && errno != EINTR;
        return 0;
    }
    if (fds[0].revents) {
        r--;
        *woken = true;
        sbxi_posix_unring(x->wake_r);
        sbxi_posix_pump(x);
    }
    /* Goes round, so that a small `ready` starves none. */
    for (i = 0; i < x->count && r > 0 && n < max; i++) {
        const struct pollfd *p;
        if (++x->cursor >= x->count)
            x->cursor = 0;
        p = &fds[1 + x->cursor];
        if (!p->revents)
            continue;
        r--;
        ready[n].tag = sbxi_posix_conns(x)[x->cursor]->tag;
        ready[n].bits = 0;
        if (p->revents & ~POLLOUT)
            ready[n].bits |= SBX_READABLE;
        if (p->revents & ~POLLIN)
            ready[n].bits |= SBX_WRITABLE;
        n++;
    }
    return n;
}
#else
#define SBXI_POSIX_MARK(k) ((uint64_t)(k) << 32) /* above every tag */

static int sbxi_posix_sleep(sbxi_posix_ctx *x, int ms, sbx_ready *ready, int max, bool *woken)
{
    struct epoll_event e[SBXI_POSIX_BATCH];
    int i, r, n = 0;
    r = epoll_wait(x->epoll, e, max < SBXI_POSIX_BATCH ? max : SBXI_POSIX_BATCH, ms);
    if (r < 0)
        *woken = errno != EINTR;
    for (i = 0; i < r; i++) {
        if (e[i].data.u64 == SBXI_POSIX_MARK(1)) {
            *woken = true;
            sbxi_posix_unring(x->wake_r);
            sbxi_posix_pump(x);
            continue;
        }
        if (e[i].data.u64 == SBXI_POSIX_MARK(2)) {
            x->fired = true; /* arming it again also ends its being readable */
            continue;
        }
        ready[n].tag = (uint32_t)e[i].data.u64;
        ready[n].bits = 0;
        if (e[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            ready[n].bits |= SBX_READABLE;
        if (e[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
            ready[n].bits |= SBX_WRITABLE;
        n++;
    }
    return n;
}
#endif

static int sbxi_posix_wait(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    sbxi_posix_ctx *x = (sbxi_posix_ctx *)ctx;
    int64_t now = sbxi_posix_clock(CLOCK_MONOTONIC);
    int64_t end = timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
    bool woken = false;
    int n;
    if (max <= 0)
        return 0;
    n = sbxi_posix_flush(x, ready, max);
    while (n < max) {
        int64_t left = timeout_ms < 0 ? -1 : end - now;
        int ms = n ? 0 : left > INT_MAX ? INT_MAX : (int)left;
        n += sbxi_posix_sleep(x, ms, ready + n, max - n, &woken);
        n += sbxi_posix_flush(x, ready + n, max - n);
#if !SBX_POSIX_POLL
        if (x->fired)
            sbxi_posix_arm(x);
#endif
        if (n || woken || timeout_ms == 0)
            break;
        now = sbxi_posix_clock(CLOCK_MONOTONIC);
        if (timeout_ms > 0 && now >= end)
            break;
    }
    return n;
}

static intptr_t sbxi_posix_conn_handle(void *ctx, void *conn)
{
    (void)ctx;
    return ((const sbxi_posix_conn *)conn)->fd1 - 1;
}

static intptr_t sbxi_posix_poll_handle(void *ctx)
{
#if SBX_POSIX_POLL
    (void)ctx;
    return -1;
#else
    return ((const sbxi_posix_ctx *)ctx)->epoll;
#endif
}

static void sbxi_posix_shut(void *ctx)
{
    sbxi_posix_ctx *x = (sbxi_posix_ctx *)ctx;
    if (!x->opened)
        return;
#if !SBX_POSIX_NO_THREADS
    sbxi_posix_dismiss(x);
#endif
    if (x->wake_w >= 0 && x->wake_w != x->wake_r)
        close(x->wake_w);
    if (x->wake_r >= 0)
        close(x->wake_r);
#if !SBX_POSIX_POLL
    if (x->timer >= 0)
        close(x->timer);
    if (x->epoll >= 0)
        close(x->epoll);
#endif
    memset(x, 0, sizeof *x);
}

static bool sbxi_posix_prepare(sbxi_posix_ctx *x, uint32_t max_conns)
{
#if SBX_POSIX_POLL
    int ends[2];
    struct pollfd *p;
    if (pipe(ends))
        return false;
    x->wake_r = ends[0];
    x->wake_w = ends[1];
    x->max_conns = max_conns;
    p = sbxi_posix_fds(x);
    p->fd = x->wake_r;
    p->events = POLLIN;
    p->revents = 0;
    return sbxi_posix_flags(ends[0]) && sbxi_posix_flags(ends[1]);
#else
    struct epoll_event e;
    (void)max_conns;
    x->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (x->epoll < 0)
        return false;
    x->wake_r = x->wake_w = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (x->wake_r < 0)
        return false;
    x->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (x->timer < 0)
        return false;
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN;
    e.data.u64 = SBXI_POSIX_MARK(1);
    if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, x->wake_r, &e))
        return false;
    e.data.u64 = SBXI_POSIX_MARK(2);
    return epoll_ctl(x->epoll, EPOLL_CTL_ADD, x->timer, &e) == 0;
#endif
}

static sbx_code sbxi_posix_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    sbxi_posix_ctx *x = (sbxi_posix_ctx *)ctx;
    memset(x, 0, sizeof *x);
    if (config)
        x->config = *(const sbx_posix_config *)config;
    if (x->config.bind_address) {
        x->bound = true;
        if (sbxi_posix_literal(sbx_s(x->config.bind_address), &x->bind_to) <= 0) {
            sbxi_posix_fail(fault, SBX_ERR_ARGUMENT, 0, SBXI_POSIX_TEXT("bind_address is not an IP address"));
            return SBX_ERR_ARGUMENT;
        }
        x->config.bind_address = NULL; /* borrowed for this call only */
    }
    if (x->config.address_timeout_ms < 0 || x->config.so_sndbuf < 0 || x->config.so_rcvbuf < 0) {
        sbxi_posix_fail(fault, SBX_ERR_ARGUMENT, 0, SBXI_POSIX_TEXT("a negative number in sbx_posix_config"));
        return SBX_ERR_ARGUMENT;
    }
    if (x->config.address_timeout_ms == 0)
        x->config.address_timeout_ms = 3000;
    x->opened = true;
    x->running = SBXI_POSIX_NONE;
    x->wake_r = x->wake_w = -1;
#if !SBX_POSIX_POLL
    x->epoll = x->timer = -1;
#endif
    if (!sbxi_posix_prepare(x, max_conns)) {
        int err = errno;
        sbxi_posix_shut(x);
        sbxi_posix_fail(fault, SBX_ERR_CONNECT, err, sbxi_posix_why(err));
        return SBX_ERR_CONNECT;
    }
    return SBX_OK;
}

const sbx_transport sbx_posix = {
    SBX_POSIX_POLL ? "posix-poll" : "posix-epoll",
    0,
#if SBX_POSIX_POLL
    (uint32_t)(SBX_TRANSPORT_ALIGN(sizeof(sbxi_posix_ctx)) + sizeof(struct pollfd)),
    (uint32_t)(sizeof(sbxi_posix_conn *) + sizeof(struct pollfd)),
#else
    (uint32_t)sizeof(sbxi_posix_ctx),
    0,
#endif
    (uint32_t)sizeof(sbxi_posix_conn),
    NULL,
    sbxi_posix_open,
    sbxi_posix_shut,
    sbxi_posix_connect,
    sbxi_posix_recv,
    sbxi_posix_send,
    sbxi_posix_close,
#if SBX_POSIX_POLL
    sbxi_posix_watch,
#else
    NULL,
#endif
    sbxi_posix_wait,
    sbxi_posix_wake,
    sbxi_posix_conn_handle,
    sbxi_posix_poll_handle,
    sbxi_posix_entropy,
    sbxi_posix_mono_ms,
    sbxi_posix_wall_ms
};

SBX_EXTERN_C_END
#endif /* SANDBOX_IMPLEMENTATION */
