/* The POSIX transport: the conformance suite, then what is its own: names with
   several addresses, lookups that hang, limits, and each system call failing
   in turn. test_posix_poll.c and test_posix_nothreads.c build it otherwise. */
#ifdef __has_include
#if __has_include("sandbox.h")
#include "sandbox.h"
#endif
#endif
#ifndef SBX_TRANSPORT_H
#include "../../src/transport.h"
#endif
#include "conformance.h"
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <semaphore.h>
#include <sys/resource.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#endif

/* ---- what stands between the transport and the system ---- */

static int hook_calls, hook_fail_at; /* the call with that number fails; 0 = none */
static int hook_blocks;              /* from malloc, not yet freed */
static bool hook_refuse_all;         /* connect fails, noting whom it was asked for */
static int hook_unreachable;         /* family that connect calls unreachable */
static char hook_asked[16][INET6_ADDRSTRLEN];
static int hook_asked_n;
static int hook_lookups;
static sem_t hook_hang, hook_hanging;

static bool hook_fails(int err)
{
    if (++hook_calls != hook_fail_at)
        return false;
    errno = err;
    return true;
}

static int hook_connect(int fd, const struct sockaddr *s, socklen_t n)
{
    if (hook_fails(ENOBUFS))
        return -1;
    if (hook_refuse_all) {
        char *z = hook_asked[hook_asked_n++ % 16];
        if (s->sa_family == AF_INET6)
            inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, z, INET6_ADDRSTRLEN);
        else
            inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)s)->sin_addr, z, INET6_ADDRSTRLEN);
        errno = ECONNREFUSED;
        return -1;
    }
    if (hook_unreachable && s->sa_family == hook_unreachable) {
        errno = ENETUNREACH;
        return -1;
    }
    return connect(fd, s, n);
}

static const struct {
    const char *name;
    const char *ip[12];
} hook_names[] = {
    {"two.test", {"127.0.0.2", "127.0.0.1"}},
    {"six.test", {"::1", "127.0.0.1"}},
    {"four.test", {"127.0.0.1", "::1"}},
    {"one.test", {"127.0.0.1"}},
    {"slow.test", {"127.0.0.2"}},
    {"v6.test", {"::1"}},
    {"many.test",
     {"::1", "::2", "::3", "::4", "::5", "::6", "::7", "::8", "::9", "127.0.0.1", "127.0.0.2"}},
};

static int hook_random; /* errno of getrandom; EINTR once */

static long hook_syscall(long number, void *p, size_t n, unsigned flags)
{
    if (hook_random) {
        errno = hook_random;
        if (hook_random == EINTR)
            hook_random = 0;
        return -1;
    }
    return syscall(number, p, n, flags);
}

static int hook_list(const char *const *ip, struct addrinfo **out)
{
    struct addrinfo **end = out;
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_flags = AI_NUMERICHOST;
    hints.ai_socktype = SOCK_STREAM;
    for (; *ip; ip++) {
        int err = getaddrinfo(*ip, NULL, &hints, end);
        if (err)
            return err;
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}

static int hook_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    static const char *const loopback[] = {"127.0.0.1", NULL};
    size_t i, n = strlen(host);
    assert_null(service);
    __atomic_add_fetch(&hook_lookups, 1, __ATOMIC_SEQ_CST);
    if (strncmp(host, "hang", 4) == 0) {
        sem_post(&hook_hanging);
        while (sem_wait(&hook_hang))
            ;
    }
    for (i = 0; i < sizeof hook_names / sizeof *hook_names; i++)
        if (strcmp(host, hook_names[i].name) == 0)
            return hook_list(hook_names[i].ip, out);
    if (n > 5 && strcmp(host + n - 5, ".test") == 0)
        return hook_list(loopback, out);
    if (strcmp(host, "full.example") == 0) {
        errno = EMFILE;
        return EAI_AGAIN;
    }
    return getaddrinfo(host, service, hints, out);
}

#define HOOK(name, err, parameters, arguments) \
    static int hook_##name parameters { return hook_fails(err) ? -1 : name arguments; }
#define HOOK_RETURNED(name, err, parameters, arguments) \
    static int hook_##name parameters { return hook_fails(err) ? err : name arguments; }
HOOK(socket, EMFILE, (int a, int b, int c), (a, b, c))
HOOK(bind, EADDRNOTAVAIL, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
HOOK(getsockopt, ENOBUFS, (int a, int b, int c, void *d, socklen_t *e), (a, b, c, d, e))
HOOK(poll, ENOMEM, (struct pollfd *a, nfds_t b, int c), (a, b, c))
#if defined(SBX_POSIX_POLL) && SBX_POSIX_POLL
HOOK(pipe, EMFILE, (int a[2]), (a))
#define pipe hook_pipe
static int hook_fcntl(int fd, int command, int argument)
{
    return hook_fails(EMFILE) ? -1 : fcntl(fd, command, argument);
}
#define HOOK_FCNTL(a, b, c, ...) hook_fcntl(a, b, c)
#define fcntl(...) HOOK_FCNTL(__VA_ARGS__, 0, 0)
#else
HOOK(epoll_create1, EMFILE, (int a), (a))
HOOK(epoll_ctl, ENOSPC, (int a, int b, int c, struct epoll_event *d), (a, b, c, d))
HOOK(epoll_wait, ENOMEM, (int a, struct epoll_event *b, int c, int d), (a, b, c, d))
HOOK(eventfd, ENFILE, (unsigned a, int b), (a, b))
HOOK(timerfd_create, EMFILE, (int a, int b), (a, b))
#define epoll_create1 hook_epoll_create1
#define epoll_ctl hook_epoll_ctl
#define epoll_wait hook_epoll_wait
#define eventfd hook_eventfd
#define timerfd_create hook_timerfd_create
#endif
#if !defined(SBX_POSIX_NO_THREADS) || !SBX_POSIX_NO_THREADS
#define WITH_THREADS 1
static void *hook_malloc(size_t n)
{
    if (hook_fails(ENOMEM))
        return NULL;
    __atomic_add_fetch(&hook_blocks, 1, __ATOMIC_SEQ_CST);
    return malloc(n);
}

static void hook_free(void *p)
{
    if (p)
        __atomic_sub_fetch(&hook_blocks, 1, __ATOMIC_SEQ_CST);
    free(p);
}
HOOK_RETURNED(pthread_mutex_init, ENOMEM, (pthread_mutex_t * a, const pthread_mutexattr_t *b), (a, b))
HOOK_RETURNED(pthread_cond_init, ENOMEM, (pthread_cond_t * a, const pthread_condattr_t *b), (a, b))
HOOK_RETURNED(pthread_create, EAGAIN, (pthread_t * a, const pthread_attr_t *b, void *(*c)(void *), void *d), (a, b, c, d))
#define pthread_mutex_init hook_pthread_mutex_init
#define pthread_cond_init hook_pthread_cond_init
#define pthread_create hook_pthread_create
#define malloc hook_malloc
#define free hook_free
#else
#define WITH_THREADS 0
#endif
#define socket hook_socket
#define connect hook_connect
#define bind hook_bind
#define getsockopt hook_getsockopt
#define poll hook_poll
#define syscall hook_syscall
#define getaddrinfo hook_getaddrinfo

#define SANDBOX_IMPLEMENTATION
#include "../../transports/sandbox_posix.h"

#undef pipe
#undef fcntl
#undef epoll_create1
#undef epoll_ctl
#undef epoll_wait
#undef eventfd
#undef timerfd_create
#undef pthread_mutex_init
#undef pthread_cond_init
#undef pthread_create
#undef malloc
#undef free
#undef socket
#undef connect
#undef bind
#undef getsockopt
#undef poll
#undef getaddrinfo
#undef syscall

static int blocks(void)
{
    return __atomic_load_n(&hook_blocks, __ATOMIC_SEQ_CST);
}

static int reset_hooks(void **state)
{
    (void)state;
    hook_fail_at = 0;
    hook_refuse_all = false;
    hook_unreachable = 0;
    hook_asked_n = 0;
    hook_random = 0;
    __atomic_store_n(&hook_lookups, 0, __ATOMIC_SEQ_CST);
    return 0;
}

static void nap(int ms)
{
    struct timespec t;
    t.tv_sec = 0;
    t.tv_nsec = ms * 1000000L;
    nanosleep(&t, NULL);
}

static sbx_posix_config plain_config(void)
{
    sbx_posix_config c;
    memset(&c, 0, sizeof c);
    return c;
}

/* ---- addresses ---- */

static void test_sizes(void **state)
{
    (void)state;
    print_message("%s: conn_size %u, ctx_size %u, ctx_per_conn %u\n", sbx_posix.name, (unsigned)sbx_posix.conn_size,
                  (unsigned)sbx_posix.ctx_size, (unsigned)sbx_posix.ctx_per_conn);
    assert_true(sbx_posix.conn_size <= 64);
    assert_true(sbx_posix.ctx_size <= 12 * 1024);
    assert_true(sbx_posix.ctx_per_conn <= 16);
    assert_null(sbx_posix.lower);
    assert_int_equal(sbx_posix.flags, 0);
}

static void test_next_address(void **state)
{
    static const char *const names[] = {"two.test", "six.test", "four.test"};
    sbxt_peer peer;
    sbxt_rig r;
    size_t i;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 3);
    for (i = 0; i < 3; i++)
        sbxt_connected(&r, (uint32_t)i, names[i], peer.port);
    for (i = 0; i < 3; i++)
        sbxt_close(&r, (uint32_t)i);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static void test_telling_error(void **state)
{
    static const char *const names[] = {"six.test", "four.test", "two.test"};
    sbxt_rig r;
    sbx_fault fault;
    uint16_t port;
    int i, fd = sbxt_dead_port(&port);
    (void)state;
    sbxt_open(&r, 1);
    hook_unreachable = AF_INET6;
    for (i = 0; i < 3; i++) {
        assert_int_equal(sbxt_connect(&r, 0, names[i], port, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.code, SBX_ERR_CONNECT);
        assert_int_equal(fault.sys, ECONNREFUSED);
        assert_non_null(strstr(fault.text, "refused"));
        sbxt_close(&r, 0);
    }
    hook_unreachable = AF_INET;
    assert_int_equal(sbxt_connect(&r, 0, "two.test", port, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.sys, ENETUNREACH);
    assert_non_null(strstr(fault.text, "unreachable"));
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    close(fd);
}

static void test_families_alternate(void **state)
{
    static const char *const order[] = {"::1", "127.0.0.1", "::2", "127.0.0.2", "::3", "::4", "::5", "::6"};
    sbxt_rig r;
    sbx_fault fault;
    int i;
    (void)state;
    sbxt_open(&r, 1);
    hook_refuse_all = true;
    assert_int_equal(sbxt_connect(&r, 0, "many.test", 9, &fault), SBX_IO_FAIL);
    assert_int_equal(hook_asked_n, 8);
    for (i = 0; i < 8; i++)
        assert_string_equal(hook_asked[i], order[i]);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
}

static void test_slow_address(void **state)
{
    sbx_posix_config config = plain_config();
    sbxt_peer peer;
    sbxt_hole hole;
    sbxt_rig r;
    sbx_fault fault;
    int64_t start;
    intptr_t h;
    uint32_t i;
    int before = sbxt_descriptors();
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_hole_dig(&hole, "127.0.0.2", peer.port);
    config.address_timeout_ms = 80;
    sbxt_open_with(&r, &config, 8);
    for (i = 0; i < 3; i++) {
        sbx_io io;
        start = r.t->mono_ms(r.ctx);
        while ((io = sbxt_connect_step(&r, 0, "two.test", peer.port, &fault)) != SBX_IO_OK) {
            assert_int_not_equal(io, SBX_IO_FAIL);
            sbxt_watch(&r, 0, SBX_WRITABLE);
            sbxt_look(&r, -1, 8); /* ends by itself when the time is over */
        }
        assert_true(r.t->mono_ms(r.ctx) - start >= 80);
        sbxt_close(&r, 0);
    }
    /* Several at once, one given up; each is reported, through one place. */
    for (i = 0; i < 8; i++) {
        sbx_io io;
        while ((io = sbxt_connect_step(&r, i, "two.test", peer.port, &fault)) == SBX_IO_WANT_READ)
            sbxt_look(&r, SBXT_GUARD_MS, 1);
        assert_int_equal(io, SBX_IO_WANT_WRITE);
        r.bits[i] = 0;
        if (i < 4)
            nap(5);
    }
    sbxt_close(&r, 3);
    h = r.t->poll_handle(r.ctx);
    for (i = 0; i < 8; i++) {
        if (i == 3)
            continue;
        while (!r.bits[i]) {
            if (h >= 0)
                assert_int_equal(sbxt_readable(h, SBXT_GUARD_MS), 1);
            sbxt_look(&r, h >= 0 ? 0 : SBXT_GUARD_MS, 1);
        }
        sbxt_connected(&r, i, "two.test", peer.port);
    }
    for (i = 0; i < 8; i++)
        sbxt_close(&r, i);
    if (h >= 0) {
        sbxt_look(&r, 0, 8);
        nap(100);
        sbxt_look(&r, 0, 8);
        assert_int_equal(sbxt_readable(h, 0), 0);
    }
    /* The last address has no such limit. */
    while (sbxt_connect_step(&r, 0, "slow.test", peer.port, &fault) == SBX_IO_WANT_READ)
        sbxt_look(&r, SBXT_GUARD_MS, 8);
    r.bits[0] = 0;
    sbxt_watch(&r, 0, SBX_WRITABLE);
    start = r.t->mono_ms(r.ctx);
    while (r.t->mono_ms(r.ctx) - start < 150)
        sbxt_look(&r, 20, 8);
    assert_int_equal(sbxt_connect_step(&r, 0, "slow.test", peer.port, &fault), SBX_IO_WANT_WRITE);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_hole_fill(&hole);
    sbxt_peer_stop(&peer);
    assert_int_equal(sbxt_descriptors(), before);
}

/* A connection that stands only after a while; what was asked of `watch`
   meanwhile holds from then on. */
static void test_late_connect(void **state)
{
    sbxt_hole hole;
    sbxt_rig r;
    sbx_fault fault;
    char word[8];
    size_t n;
    int theirs = -1;
    (void)state;
    sbxt_hole_dig(&hole, "127.0.0.2", 0);
    sbxt_open(&r, 1);
    assert_int_equal(sbxt_connect_step(&r, 0, "127.0.0.2", hole.port, &fault), SBX_IO_WANT_WRITE);
    sbxt_watch(&r, 0, SBX_READABLE | SBX_WRITABLE);
    assert_int_equal(fcntl(hole.fd, F_SETFL, O_NONBLOCK), 0);
    while (theirs < 0) {
        struct sockaddr_in who, we;
        socklen_t size = sizeof who, wide = sizeof we;
        sbxt_look(&r, 10, 8);
        theirs = accept(hole.fd, (struct sockaddr *)&who, &size);
        if (theirs < 0)
            continue;
        assert_int_equal(getsockname((int)r.t->conn_handle(r.ctx, sbxt_conn(&r, 0)), (struct sockaddr *)&we, &wide), 0);
        if (who.sin_port != we.sin_port) {
            close(theirs);
            theirs = -1;
        }
    }
    while (!(r.bits[0] & SBX_WRITABLE))
        sbxt_look(&r, -1, 8);
    assert_int_equal(sbxt_connect_step(&r, 0, "127.0.0.2", hole.port, &fault), SBX_IO_OK);
    r.bits[0] = 0;
    assert_int_equal(sbxt_recv(&r, 0, word, sizeof word, &n, &fault), SBX_IO_WANT_READ);
    assert_int_equal(send(theirs, "late", 4, 0), 4);
    while (!(r.bits[0] & SBX_READABLE))
        sbxt_look(&r, -1, 8);
    assert_int_equal(sbxt_read(&r, 0, word, 4, &n, &fault), SBX_IO_OK);
    assert_memory_equal(word, "late", 4);
    close(theirs);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_hole_fill(&hole);
}

/* A lookup that is still in use serves others, but not for long. */
static void test_old_lookup(void **state)
{
    sbxt_hole hole;
    sbxt_rig r;
    sbx_fault fault;
    uint32_t i;
    (void)state;
    sbxt_hole_dig(&hole, "127.0.0.2", 0);
    sbxt_open(&r, 3);
    for (i = 0; i < 3; i++) {
        while (sbxt_connect_step(&r, i, "two.test", hole.port, &fault) == SBX_IO_WANT_READ)
            sbxt_look(&r, SBXT_GUARD_MS, 8);
        if (i == 1) {
            assert_int_equal(__atomic_load_n(&hook_lookups, __ATOMIC_SEQ_CST), 1);
            nap(600);
            nap(600);
        }
    }
    assert_int_equal(__atomic_load_n(&hook_lookups, __ATOMIC_SEQ_CST), 2);
    for (i = 0; i < 3; i++)
        sbxt_close(&r, i);
    sbxt_shut(&r);
    sbxt_hole_fill(&hole);
}

static void test_small_buffers(void **state)
{
    sbx_posix_config config = plain_config();
    sbxt_suite suite = *sbxt_now;
    const sbxt_suite *before = sbxt_now;
    sbxt_met met;
    (void)state;
    config.so_sndbuf = config.so_rcvbuf = 16384;
    suite.config = &config;
    sbxt_now = &suite;
    met = sbxt_run_echo((size_t)10 << 20, "127.0.0.1", "127.0.0.1");
    sbxt_now = before;
    assert_true(met.partial > 0);
    assert_true(met.full > 0);
    assert_true(met.empty > 0);
}

/* ---- names ---- */

static void test_name_texts(void **state)
{
    sbxt_rig r;
    sbx_fault fault;
    char name[251];
    (void)state;
    sbxt_open(&r, 1);
    assert_int_equal(sbxt_connect(&r, 0, "sandbox.invalid", 80, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_RESOLVE);
    assert_non_null(strstr(fault.text, ": sandbox.invalid"));
    sbxt_close(&r, 0);
    assert_int_equal(sbxt_connect(&r, 0, "full.example", 80, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_RESOLVE);
    assert_int_equal(fault.sys, EMFILE);
    assert_non_null(strstr(fault.text, "ulimit"));
    sbxt_close(&r, 0);
    /* Longer than the text can show. */
    memset(name, 'x', sizeof name);
    memcpy(name + sizeof name - 9, ".invalid", 9);
    assert_int_equal(sbxt_connect(&r, 0, name, 80, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_RESOLVE);
    assert_true(strlen(fault.text) < 256);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
}

/* More names than places: each gets its turn, also when some are given up. */
static void test_many_names(void **state)
{
    enum { MANY = 60 };
    char name[MANY][16];
    bool up[MANY] = {false};
    sbxt_rig r;
    sbx_fault fault;
    uint32_t i;
    uint16_t port;
    int left = 0, fd;
    (void)state;
    fd = sbxt_listen("127.0.0.1", MANY, 0, &port);
    sbxt_open(&r, MANY);
    for (i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof name[i], "n%u.test", (unsigned)i);
        r.bits[i] = 3;
    }
    for (i = 0; i < MANY; i++) {
        sbx_io io = sbxt_connect_step(&r, i, name[i], port, &fault);
        assert_int_not_equal(io, SBX_IO_FAIL);
        up[i] = io == SBX_IO_OK;
        left += !up[i];
        r.bits[i] = 0;
        sbxt_watch(&r, i, SBX_WRITABLE);
    }
    for (i = 3; i < MANY; i += 4) { /* some of them in the middle of it */
        left -= !up[i];
        up[i] = true;
        sbxt_close(&r, i);
    }
    while (left) {
        assert_true(sbxt_look(&r, SBXT_GUARD_MS, 3) >= 0);
        for (i = 0; i < MANY; i++)
            if (r.bits[i] && !up[i]) {
                sbx_io io = sbxt_connect_step(&r, i, name[i], port, &fault);
                r.bits[i] = 0;
                assert_int_not_equal(io, SBX_IO_FAIL);
                if (io == SBX_IO_OK) {
                    up[i] = true;
                    left--;
                }
            }
    }
    for (i = 0; i < MANY; i++)
        sbxt_close(&r, i);
    close(fd);
    sbxt_shut(&r);
    assert_int_equal(blocks(), 0);
}

#if WITH_THREADS
static void hanging(void)
{
    while (sem_wait(&hook_hanging))
        ;
}

/* Connections by one name share its lookup. */
static void test_shared_lookup(void **state)
{
    enum { MANY = 50 };
    sbxt_rig r;
    sbx_fault fault;
    uint32_t i;
    uint16_t port;
    int fd, up = 0;
    (void)state;
    fd = sbxt_listen("127.0.0.1", MANY, 0, &port);
    sbxt_open(&r, MANY);
    for (i = 0; i < MANY; i++) {
        assert_int_equal(sbxt_connect_step(&r, i, "hang.test", port, &fault), SBX_IO_WANT_READ);
        r.bits[i] = 0;
    }
    hanging();
    assert_int_equal(sbxt_look(&r, 20, 8), 0);
    sem_post(&hook_hang);
    while (up < MANY) {
        sbxt_look(&r, SBXT_GUARD_MS, 8);
        for (i = 0; i < MANY; i++)
            if (r.bits[i]) {
                sbx_io io = sbxt_connect_step(&r, i, "hang.test", port, &fault);
                assert_int_not_equal(io, SBX_IO_FAIL);
                up += io == SBX_IO_OK;
                r.bits[i] = 0;
                sbxt_watch(&r, i, io == SBX_IO_OK ? 0 : SBX_WRITABLE);
            }
    }
    assert_int_equal(__atomic_load_n(&hook_lookups, __ATOMIC_SEQ_CST), 1);
    for (i = 0; i < MANY; i++)
        sbxt_close(&r, i);
    close(fd);
    sbxt_shut(&r);
}

/* While a lookup hangs, its connection can be closed, its memory used for
   other things, and literals still connect. */
static void test_close_while_hanging(void **state)
{
    unsigned char *memory;
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    size_t i;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 3);
    memory = (unsigned char *)sbxt_conn(&r, 0);
    assert_int_equal(sbxt_connect_step(&r, 0, "hang.test", peer.port, &fault), SBX_IO_WANT_READ);
    hanging();
    assert_int_equal(sbxt_connect_step(&r, 1, "one.test", peer.port, &fault), SBX_IO_WANT_READ);
    sbxt_connected(&r, 2, "127.0.0.1", peer.port);
    sbxt_close(&r, 2);
    r.t->close(r.ctx, memory);
    memset(memory, 0xA5, r.conn_step);
    assert_int_equal(sbxt_connect_step(&r, 1, "one.test", peer.port, &fault), SBX_IO_WANT_READ);
    sem_post(&hook_hang);
    r.bits[0] = 0;
    sbxt_connected(&r, 1, "one.test", peer.port);
    assert_int_equal(r.bits[0], 0);
    for (i = 0; i < r.conn_step; i++)
        assert_int_equal(memory[i], 0xA5);
    memset(memory, 0, r.conn_step);
    sbxt_connected(&r, 0, "two.test", peer.port);
    sbxt_close(&r, 0);
    sbxt_close(&r, 1);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
    assert_int_equal(blocks(), 0);
}

/* The answer of a lookup that was given up is not taken for the answer of the
   one that has its place now. */
static void test_late_answer(void **state)
{
    sbxt_rig r;
    sbx_fault fault;
    uint16_t port;
    int fd = sbxt_listen("::1", 4, 0, &port);
    (void)state;
    sbxt_open(&r, 1);
    assert_int_equal(sbxt_connect_step(&r, 0, "hang.test", port, &fault), SBX_IO_WANT_READ);
    hanging();
    sbxt_close(&r, 0);
    assert_int_equal(sbxt_connect_step(&r, 0, "v6.test", port, &fault), SBX_IO_WANT_READ);
    sem_post(&hook_hang);
    sbxt_connected(&r, 0, "v6.test", port);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    close(fd);
}

/* Shutting down does not wait for it either; the thread cleans up later. */
static void test_shut_while_hanging(void **state)
{
    sbxt_rig r;
    sbx_fault fault;
    int i, before = sbxt_descriptors();
    (void)state;
    for (i = 0; i < 3; i++) {
        sbxt_open(&r, 2);
        assert_int_equal(sbxt_connect_step(&r, 0, "hang.test", 9, &fault), SBX_IO_WANT_READ);
        assert_int_equal(sbxt_connect_step(&r, 1, "one.test", 9, &fault), SBX_IO_WANT_READ);
        hanging();
        sbxt_close(&r, 0);
        sbxt_close(&r, 1);
        sbxt_shut(&r); /* frees the context as well */
        assert_int_equal(sbxt_descriptors(), before);
    }
    assert_int_equal(blocks(), 3);
    for (i = 0; i < 3; i++)
        sem_post(&hook_hang);
    for (i = 0; i < 1000 && blocks(); i++)
        nap(5);
    assert_int_equal(blocks(), 0);
    assert_int_equal(sbxt_descriptors(), before);
    nap(20); /* the threads' last steps, for the leak checkers */
}

/* All places taken by a hanging lookup: the others wait, some give up, and
   whoever is left is told in the end. */
static void test_starved(void **state)
{
    enum { TAKEN = SBX_POSIX_LOOKUPS, MANY = TAKEN + 10 };
    char name[MANY][16];
    bool done[MANY] = {false};
    sbxt_rig r;
    sbx_fault fault;
    uint32_t i;
    uint16_t port;
    int fd, left = MANY;
    (void)state;
    fd = sbxt_listen("127.0.0.1", MANY, 0, &port);
    sbxt_open(&r, MANY);
    for (i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof name[i], "%s%u.test", i ? "s" : "hang", (unsigned)i);
        assert_int_equal(sbxt_connect_step(&r, i, name[i], port, &fault), SBX_IO_WANT_READ);
        r.bits[i] = 0;
        sbxt_watch(&r, i, SBX_WRITABLE);
    }
    hanging();
    assert_int_equal(sbxt_look(&r, 20, 8), 0);
    /* Starved ones that give up, then one with a place: the next is told. */
    sbxt_close(&r, TAKEN);
    sbxt_close(&r, TAKEN + 2);
    done[TAKEN] = done[TAKEN + 2] = true;
    assert_int_equal(sbxt_look(&r, 0, 8), 0);
    sbxt_close(&r, 1);
    done[1] = true;
    left -= 3;
    if (r.t->poll_handle(r.ctx) >= 0)
        assert_int_equal(sbxt_readable(r.t->poll_handle(r.ctx), 0), 1);
    assert_int_equal(sbxt_look(&r, 0, 8), 1);
    assert_int_not_equal(r.bits[TAKEN + 1], 0);
    /* It gives up instead of taking it: the one after it is told. */
    sbxt_close(&r, TAKEN + 1);
    done[TAKEN + 1] = true;
    left--;
    assert_int_equal(sbxt_look(&r, 0, 8), 1);
    assert_int_not_equal(r.bits[TAKEN + 3], 0);
    /* It now wants a name that is there already: one after it again. */
    memcpy(name[TAKEN + 3], name[2], sizeof name[2]);
    assert_int_equal(sbxt_connect_step(&r, TAKEN + 3, name[2], port, &fault), SBX_IO_WANT_READ);
    r.bits[TAKEN + 3] = 0;
    assert_int_equal(sbxt_look(&r, 0, 8), 1);
    assert_int_not_equal(r.bits[TAKEN + 4], 0);
    sem_post(&hook_hang);
    while (left) {
        for (i = 0; i < MANY; i++)
            if (r.bits[i] && !done[i]) {
                sbx_io io = sbxt_connect_step(&r, i, name[i], port, &fault);
                r.bits[i] = 0;
                assert_int_not_equal(io, SBX_IO_FAIL);
                if (io == SBX_IO_OK) {
                    done[i] = true;
                    left--;
                }
            }
        if (left)
            sbxt_look(&r, SBXT_GUARD_MS, 4);
    }
    for (i = 0; i < MANY; i++)
        sbxt_close(&r, i);
    close(fd);
    sbxt_shut(&r);
    assert_int_equal(blocks(), 0);
}
#endif

/* ---- limits, options, misuse ---- */

static void test_descriptors_run_out(void **state)
{
    struct rlimit before, tight;
    sbxt_peer peer;
    sbxt_rig r, other;
    sbx_fault fault;
    int next;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    next = dup(0);
    close(next);
    tight = before;
    tight.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_int_equal(sbxt_connect(&r, 0, "127.0.0.1", peer.port, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_CONNECT);
    assert_int_equal(fault.sys, EMFILE);
    assert_non_null(strstr(fault.text, "ulimit -n"));
    sbxt_close(&r, 0);
    assert_int_equal(sbxt_connect(&r, 0, "two.test", peer.port, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.sys, EMFILE);
    sbxt_close(&r, 0);
    memset(&fault, 0, sizeof fault);
    assert_int_equal(sbxt_try_open(&other, NULL, 1, &fault), SBX_ERR_CONNECT);
    assert_int_equal(fault.code, SBX_ERR_CONNECT);
    assert_int_equal(fault.sys, EMFILE);
    other.t->shut(other.ctx); /* harmless */
    sbxt_free(&other);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static int option(sbxt_rig *r, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof value;
    assert_int_equal(getsockopt((int)r->t->conn_handle(r->ctx, sbxt_conn(r, 0)), level, name, &value, &n), 0);
    return value;
}

static void test_options(void **state)
{
    sbx_posix_config config = plain_config();
    sbxt_peer peer;
    sbxt_rig r;
    int fd;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 1);
    assert_int_equal(r.t->conn_handle(r.ctx, sbxt_conn(&r, 0)), -1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    fd = (int)r.t->conn_handle(r.ctx, sbxt_conn(&r, 0));
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(option(&r, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(&r, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(&r, IPPROTO_TCP, TCP_KEEPIDLE), 45);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    config.no_keepalive = true;
    config.so_sndbuf = 20000;
    config.so_rcvbuf = 30000;
    config.bind_address = "127.0.0.9";
    sbxt_open_with(&r, &config, 1);
    sbxt_connected(&r, 0, "six.test", peer.port);
    assert_int_equal(option(&r, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(option(&r, SOL_SOCKET, SO_SNDBUF), 40000); /* Linux doubles */
    assert_int_equal(option(&r, SOL_SOCKET, SO_RCVBUF), 60000);
    {
        struct sockaddr_in s;
        socklen_t n = sizeof s;
        assert_int_equal(getsockname((int)r.t->conn_handle(r.ctx, sbxt_conn(&r, 0)), (struct sockaddr *)&s, &n), 0);
        assert_int_equal(ntohl(s.sin_addr.s_addr), 0x7F000009);
    }
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static void test_bad_config(void **state)
{
    static const char *const bad[] = {"localhost", "", "127.0.0.256", "::1%nosuch", "1:2"};
    sbxt_rig r;
    sbx_fault fault;
    int i, before = sbxt_descriptors();
    (void)state;
    for (i = 0; i < 8; i++) {
        sbx_posix_config config = plain_config();
        if (i == 0)
            config.address_timeout_ms = -1;
        else if (i == 1)
            config.so_sndbuf = -5;
        else if (i == 2)
            config.so_rcvbuf = -5;
        else
            config.bind_address = bad[i - 3];
        memset(&fault, 0, sizeof fault);
        assert_int_equal(sbxt_try_open(&r, &config, 1, &fault), SBX_ERR_ARGUMENT);
        assert_int_equal(fault.code, SBX_ERR_ARGUMENT);
        assert_non_null(fault.text);
        r.t->shut(r.ctx);
        sbxt_free(&r);
    }
    assert_int_equal(sbxt_descriptors(), before);
    {
        sbx_posix_config config = plain_config();
        config.bind_address = "::1";
        sbxt_open_with(&r, &config, 1);
        assert_int_equal(sbxt_connect(&r, 0, "127.0.0.1", 9, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.sys, EAFNOSUPPORT);
        sbxt_close(&r, 0);
        sbxt_shut(&r);
    }
}

static void test_misuse(void **state)
{
    static const char zero[64];
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char c = 0;
    size_t n;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 1);
    assert_int_equal(sbxt_recv(&r, 0, &c, 1, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_STATE);
    assert_int_equal(sbxt_send(&r, 0, &c, 1, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_STATE);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(sbxt_connect_step(&r, 0, "127.0.0.1", peer.port, &fault), SBX_IO_OK);
    assert_int_equal(sbxt_recv(&r, 0, &c, 0, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_ARGUMENT);
    assert_int_equal(sbxt_send(&r, 0, &c, 0, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_ARGUMENT);
    r.t->close(r.ctx, sbxt_conn(&r, 0));
    assert_memory_equal(sbxt_conn(&r, 0), zero, sbx_posix.conn_size);
    assert_int_equal(r.t->wait(r.ctx, -1, NULL, 0), 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static void test_literals(void **state)
{
    static const char *const good[] = {"::1", "::1%lo", "::1%1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"};
    static const char *const bad[] = {"[::1]", "::1%", "::1%1x", "::1%nosuch", "::g", "1::2::3", "::1%4294967297",
                                      "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"};
    sbxt_rig r;
    sbx_fault fault;
    uint16_t port;
    size_t i;
    int fd = sbxt_listen("::1", 16, 0, &port);
    (void)state;
    sbxt_open(&r, 1);
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        uint16_t to = port;
        int four = i == 4 ? sbxt_listen("127.0.0.1", 4, 0, &to) : -1;
        sbxt_connected(&r, 0, good[i], to);
        sbxt_close(&r, 0);
        if (four >= 0)
            close(four);
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sbxt_connect(&r, 0, bad[i], port, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.code, SBX_ERR_RESOLVE);
        assert_non_null(strstr(fault.text, "IPv6"));
        sbxt_close(&r, 0);
    }
    assert_int_equal(__atomic_load_n(&hook_lookups, __ATOMIC_SEQ_CST), 0);
    sbxt_shut(&r);
    close(fd);
}

/* Without getrandom the device serves; too early after boot there is none. */
static void test_random_sources(void **state)
{
    static const unsigned char zero[64];
    unsigned char a[64] = {0}, b[64] = {0};
    sbxt_rig r;
    int before = sbxt_descriptors();
    (void)state;
    sbxt_open(&r, 1);
    hook_random = ENOSYS;
    assert_true(r.t->entropy(r.ctx, a, sizeof a));
    assert_true(r.t->entropy(r.ctx, b, sizeof b));
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 32, zero, 32);
    hook_random = EAGAIN;
    assert_false(r.t->entropy(r.ctx, a, sizeof a));
    hook_random = EINTR;
    memcpy(b, a, sizeof b);
    assert_true(r.t->entropy(r.ctx, a, sizeof a));
    assert_memory_not_equal(a, b, sizeof a);
    sbxt_shut(&r);
    assert_int_equal(sbxt_descriptors(), before);
}

/* Descriptor 0 is a descriptor. No peer's thread here: one that sleeps in
   accept has taken the lowest free number already. */
static void test_descriptor_zero(void **state)
{
    sbxt_rig r;
    sbx_fault fault;
    char word[8];
    size_t n;
    uint16_t port;
    int saved, theirs, fd = sbxt_listen("127.0.0.1", 4, 0, &port);
    (void)state;
    sbxt_open(&r, 2);
    saved = dup(0);
    assert_true(saved > 0);
    close(0);
    sbxt_connect_step(&r, 1, "127.0.0.1", port, &fault);
    assert_int_equal(r.t->conn_handle(r.ctx, sbxt_conn(&r, 1)), 0);
    sbxt_connected(&r, 1, "127.0.0.1", port);
    theirs = accept(fd, NULL, NULL);
    assert_true(theirs > 0);
    assert_int_equal(send(theirs, "hello", 5, 0), 5);
    assert_int_equal(sbxt_read(&r, 1, word, 5, &n, &fault), SBX_IO_OK);
    assert_int_equal(sbxt_recv(&r, 1, word, 5, &n, &fault), SBX_IO_WANT_READ);
    close(theirs);
    assert_int_equal(sbxt_read(&r, 1, word, sizeof word, &n, &fault), SBX_IO_EOF);
    sbxt_watch(&r, 1, 0);
    sbxt_look(&r, 0, 8);
    sbxt_close(&r, 1);
    assert_int_equal(fcntl(0, F_GETFD), -1);
    assert_int_equal(dup2(saved, 0), 0);
    close(saved);
    close(fd);
    sbxt_shut(&r);
}

static void test_fault_text(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char c;
    size_t n;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_reset);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(sbxt_write(&r, 0, "x", 1, &fault), SBX_IO_OK);
    assert_int_equal(sbxt_read(&r, 0, &c, 1, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.sys, ECONNRESET);
    assert_non_null(strstr(fault.text, "reset"));
    assert_int_equal(sbxt_send(&r, 0, "y", 1, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.sys, EPIPE);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

/* poll() only: a connection that is not waited for is silent, also when it
   ends, and more than max_conns are refused. */
static void test_watch(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    char word[8];
    size_t n;
    (void)state;
    if (!sbx_posix.watch)
        return;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_reset);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(sbxt_write(&r, 0, "x", 1, &fault), SBX_IO_OK);
    r.bits[0] = 0;
    sbxt_until(&r, 0, SBX_READABLE);
    sbxt_watch(&r, 0, 0);
    assert_int_equal(sbxt_look(&r, 20, 8), 0);
    sbxt_watch(&r, 0, SBX_READABLE);
    assert_int_equal(sbxt_look(&r, 0, 8), 1);
    assert_int_equal(r.bits[0], SBX_READABLE | SBX_WRITABLE);
    assert_int_equal(sbxt_read(&r, 0, word, sizeof word, &n, &fault), SBX_IO_FAIL);
    {
        static union {
            long long align[2];
            char bytes[128];
        } extra;
        sbx_target to = sbxt_target("127.0.0.1", peer.port, 0);
        assert_int_equal(r.t->connect(r.ctx, extra.bytes, &to, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.code, SBX_ERR_FULL);
        r.t->close(r.ctx, extra.bytes);
    }
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

/* Every system call that can fail fails once: an answer, and nothing is left. */
static void test_each_call_fails(void **state)
{
    sbx_posix_config config = plain_config();
    sbxt_peer peer;
    int k, failed = 0, before;
    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_echo);
    before = sbxt_descriptors();
    config.bind_address = "127.0.0.1";
    for (k = 1;; k++) {
        static const char *const hosts[] = {"127.0.0.1", "two.test", "one.test"};
        sbxt_rig r;
        sbx_fault fault;
        int i, hit;
        hook_calls = 0;
        hook_fail_at = k;
        memset(&fault, 0, sizeof fault);
        if (sbxt_try_open(&r, &config, 3, &fault) != SBX_OK) {
            assert_int_equal(fault.code, SBX_ERR_CONNECT);
            assert_int_not_equal(fault.sys, 0);
            assert_non_null(fault.text);
            failed++;
        } else {
            for (i = 0; i < 3; i++) {
                char word[4];
                size_t n;
                if (sbxt_connect(&r, (uint32_t)i, hosts[i], peer.port, &fault) == SBX_IO_OK) {
                    r.bits[i] = 3;
                    assert_int_equal(sbxt_write(&r, (uint32_t)i, "ping", 4, &fault), SBX_IO_OK);
                    assert_int_equal(sbxt_read(&r, (uint32_t)i, word, 4, &n, &fault), SBX_IO_OK);
                    assert_memory_equal(word, "ping", 4);
                } else {
                    assert_true(fault.code == SBX_ERR_CONNECT || fault.code == SBX_ERR_RESOLVE);
                    assert_int_not_equal(fault.sys, 0);
                    assert_non_null(fault.text);
                    failed++;
                }
                sbxt_close(&r, (uint32_t)i);
            }
        }
        hit = hook_calls >= k;
        hook_fail_at = 0;
        sbxt_shut(&r);
        /* The peer closes its end a little later. */
        for (i = 0; i < 400 && sbxt_descriptors() != before; i++)
            nap(5);
        assert_int_equal(sbxt_descriptors(), before);
        assert_int_equal(blocks(), 0);
        if (!hit)
            break;
    }
    print_message("%d calls failed in turn, %d of them ended a connection\n", k - 1, failed);
    assert_true(k > 15 && failed > 8);
    sbxt_peer_stop(&peer);
}

#define OWN(test) cmocka_unit_test_setup_teardown(test, reset_hooks, reset_hooks)

int main(void)
{
    static const sbxt_suite suite = {&sbx_posix, NULL, false, NULL};
    const struct CMUnitTest tests[] = {
        SBXT_CONFORMANCE,
        OWN(test_sizes),
        OWN(test_next_address),
        OWN(test_telling_error),
        OWN(test_families_alternate),
        OWN(test_slow_address),
        OWN(test_late_connect),
        OWN(test_old_lookup),
        OWN(test_small_buffers),
        OWN(test_name_texts),
        OWN(test_many_names),
#if WITH_THREADS
        OWN(test_shared_lookup),
        OWN(test_close_while_hanging),
        OWN(test_late_answer),
        OWN(test_shut_while_hanging),
        OWN(test_starved),
#endif
        OWN(test_descriptors_run_out),
        OWN(test_options),
        OWN(test_bad_config),
        OWN(test_misuse),
        OWN(test_literals),
        OWN(test_random_sources),
        OWN(test_descriptor_zero),
        OWN(test_fault_text),
        OWN(test_watch),
        OWN(test_each_call_fails),
    };
    sem_init(&hook_hang, 0, 0);
    sem_init(&hook_hanging, 0, 0);
    sbxt_prepare(&suite);
    return cmocka_run_group_tests_name(sbx_posix.name, tests, NULL, NULL);
}
