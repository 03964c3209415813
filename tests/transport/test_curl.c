/* The libcurl transport: the conformance suite, then what is its own: lookups
   that hang, limits, thousands of connections, each allocation failing. TLS
   and proxies have suites of their own (tests/tls, tests/proxy). */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_curl.h"

#include "conformance.h"
#include <fcntl.h>
#include <netdb.h>
#include <semaphore.h>
#include <sys/resource.h>

/* ---- names below .test are ours ---- */

static sem_t hang, hanging;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    size_t n = host ? strlen(host) : 0;
    int err;

    if (!real) {
        void *found = dlsym(RTLD_NEXT, "getaddrinfo");

        memcpy(&real, &found, sizeof real);
    }
    if (n < 5 || strcmp(host + n - 5, ".test"))
        return real(host, service, hints, out);
    if (strcmp(host, "hang.test") == 0) {
        sem_post(&hanging);
        while (sem_wait(&hang))
            ;
    }
    err = real(strcmp(host, "two.test") ? "127.0.0.1" : "127.0.0.2", service, hints, out);
    if (!err && strcmp(host, "two.test") == 0)
        err = real("127.0.0.1", service, hints, &(*out)->ai_next);
    return err;
}

static sbx_curl_config plain_config(void)
{
    sbx_curl_config c;

    memset(&c, 0, sizeof c);
    return c;
}

/* ---- names ---- */

static void test_hanging_lookup(void **state)
{
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    int before = sbxt_descriptors();

    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 3);
    assert_int_not_equal(sbxt_connect_step(&r, 0, "hang.test", peer.port, &fault), SBX_IO_FAIL);
    while (sem_wait(&hanging))
        ;
    r.bits[0] = 0;
    assert_int_equal(sbxt_look(&r, 20, 8), 0);
    /* Others get through meanwhile, by literal and by name. */
    sbxt_connected(&r, 1, "127.0.0.1", peer.port);
    sbxt_connected(&r, 2, "one.test", peer.port);
    assert_int_equal(r.bits[0], 0);
    /* Neither closing nor shutting down waits for it: nobody lets it go on. */
    sbxt_close(&r, 0);
    sbxt_close(&r, 1);
    sbxt_close(&r, 2);
    sbxt_shut(&r);
    sem_post(&hang);
    sbxt_peer_stop(&peer);
    for (int i = 0; i < 1000 && sbxt_descriptors() != before; i++)
        usleep(5000);
    assert_int_equal(sbxt_descriptors(), before);
    usleep(50000); /* the thread's last steps, for the leak checkers */
}

static void test_late_lookup(void **state)
{
    sbx_curl_config config = plain_config();
    sbxt_rig r;
    sbx_fault fault;

    (void)state;
    config.connect_timeout_ms = 100;
    sbxt_open_with(&r, &config, 1);
    assert_int_equal(sbxt_connect(&r, 0, "hang.test", 9, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_RESOLVE);
    assert_int_equal(fault.sys, CURLE_OPERATION_TIMEDOUT);
    assert_non_null(strstr(fault.text, "connect_timeout_ms"));
    sbxt_close(&r, 0);
    while (sem_wait(&hanging))
        ;
    sem_post(&hang);
    sbxt_shut(&r);
    usleep(50000);
}

static void test_next_address(void **state)
{
    sbx_curl_config config = plain_config();
    sbxt_peer peer;
    sbxt_hole hole;
    sbxt_rig r;

    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 1);
    sbxt_connected(&r, 0, "two.test", peer.port); /* refused by the first */
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_hole_dig(&hole, "127.0.0.2", peer.port);
    config.connect_timeout_ms = 2000;
    sbxt_open_with(&r, &config, 1);
    sbxt_connected(&r, 0, "two.test", peer.port); /* not answered by the first */
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_hole_fill(&hole);
    sbxt_peer_stop(&peer);
}

/* ---- limits ---- */

static void test_slow_connect(void **state)
{
    sbx_curl_config config = plain_config();
    sbxt_hole hole;
    sbxt_rig r;
    sbx_fault fault;
    intptr_t h;

    (void)state;
    sbxt_hole_dig(&hole, "127.0.0.2", 0);
    config.connect_timeout_ms = 100;
    sbxt_open_with(&r, &config, 1);
    h = r.t->poll_handle(r.ctx);
    assert_int_equal(sbxt_connect(&r, 0, "127.0.0.2", hole.port, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_CONNECT);
    assert_non_null(strstr(fault.text, "connect_timeout_ms"));
    sbxt_close(&r, 0);
    /* The handle alone tells that the time is over. */
    assert_int_equal(sbxt_connect_step(&r, 0, "127.0.0.2", hole.port, &fault), SBX_IO_WANT_WRITE);
    r.bits[0] = 0;
    while (!r.bits[0]) {
        assert_int_equal(sbxt_readable(h, SBXT_GUARD_MS), 1);
        sbxt_look(&r, 0, 8);
    }
    assert_int_equal(sbxt_connect_step(&r, 0, "127.0.0.2", hole.port, &fault), SBX_IO_FAIL);
    sbxt_close(&r, 0);
    assert_int_equal(sbxt_readable(h, 0), 0);
    sbxt_shut(&r);
    sbxt_hole_fill(&hole);
}

/* A TLS server that says nothing: another stage, another text. */
static void test_silent_tls(void **state)
{
    sbx_curl_config config = plain_config();
    sbxt_peer peer;
    sbxt_rig r;
    sbx_fault fault;
    sbxt_suite suite = *sbxt_now;
    const sbxt_suite *before = sbxt_now;

    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    suite.tls = true;
    sbxt_now = &suite;
    config.connect_timeout_ms = 100;
    sbxt_open_with(&r, &config, 1);
    assert_int_equal(sbxt_connect(&r, 0, "127.0.0.1", peer.port, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_TLS);
    assert_non_null(strstr(fault.text, "connect_timeout_ms"));
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_now = before;
    sbxt_peer_stop(&peer);
}

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
    sbxt_connected(&r, 0, "127.0.0.1", peer.port); /* libcurl has its own by now */
    sbxt_close(&r, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    next = dup(0);
    close(next);
    tight = before;
    tight.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_int_equal(sbxt_connect(&r, 0, "127.0.0.1", peer.port, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_CONNECT);
    assert_non_null(strstr(fault.text, "ulimit -n"));
    sbxt_close(&r, 0);
    assert_int_equal(sbxt_try_open(&other, NULL, 1, &fault), SBX_ERR_CONNECT);
    assert_int_equal(fault.sys, EMFILE);
    other.t->shut(other.ctx); /* harmless */
    sbxt_free(&other);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

/* 2,000 at once, over several multi handles: all stand, all carry, and all
   that they took goes again. */
static void test_two_thousand(void **state)
{
    enum { MANY = 2000 };
    static int theirs[MANY];
    sbxt_rig r;
    sbx_fault fault;
    uint16_t port;
    uint32_t i, left = 0;
    char c;
    size_t n;
    int fd, before = sbxt_descriptors();
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_cur < 3 * MANY || setrlimit(RLIMIT_NOFILE, &limit))
        skip();
    fd = sbxt_listen("127.0.0.1", MANY, 0, &port);
    sbxt_open(&r, MANY);
    for (i = 0; i < MANY; i++) {
        sbx_io io = sbxt_connect_step(&r, i, "127.0.0.1", port, &fault);

        assert_int_not_equal(io, SBX_IO_FAIL);
        left += io != SBX_IO_OK;
        r.bits[i] = 0;
    }
    while (left) {
        assert_true(sbxt_look(&r, SBXT_GUARD_MS, 64) > 0);
        for (i = 0; i < MANY; i++)
            if (r.bits[i]) {
                r.bits[i] = 0;
                left -= r.t->conn_handle(r.ctx, sbxt_conn(&r, i)) >= 0 && theirs[i] == 0;
                theirs[i] = 1;
            }
    }
    for (i = 0; i < MANY; i++) {
        assert_int_equal(sbxt_connect_step(&r, i, "127.0.0.1", port, &fault), SBX_IO_OK);
        theirs[i] = accept(fd, NULL, NULL);
        assert_true(theirs[i] >= 0);
    }
    for (i = 0; i < MANY; i++) {
        assert_int_equal(sbxt_recv(&r, i, &c, 1, &n, &fault), SBX_IO_WANT_READ);
        assert_int_equal(send(theirs[i], "z", 1, 0), 1);
    }
    memset(r.bits, 0, MANY * sizeof *r.bits);
    for (left = MANY; left;) {
        assert_true(sbxt_look(&r, SBXT_GUARD_MS, 64) > 0);
        for (i = 0; i < MANY; i++)
            if (r.bits[i] & SBX_READABLE) {
                left -= sbxt_recv(&r, i, &c, 1, &n, &fault) == SBX_IO_OK;
                r.bits[i] = 0;
            }
    }
    for (i = 0; i < MANY; i++) {
        sbxt_close(&r, (i * 7) % MANY);
        close(theirs[i]);
    }
    sbxt_shut(&r);
    close(fd);
    memset(theirs, 0, sizeof theirs);
    assert_int_equal(sbxt_descriptors(), before);
}

/* ---- options, misuse ---- */

static int option(sbxt_rig *r, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof value;

    assert_int_equal(getsockopt((int)r->t->conn_handle(r->ctx, sbxt_conn(r, 0)), level, name, &value, &n), 0);
    return value;
}

static void test_options(void **state)
{
    sbx_curl_config config = plain_config();
    struct sockaddr_in s;
    socklen_t n = sizeof s;
    sbxt_peer peer;
    sbxt_rig r;
    int fd;

    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_sink);
    sbxt_open(&r, 1);
    assert_int_equal(r.t->conn_handle(r.ctx, sbxt_conn(&r, 0)), -1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    fd = (int)r.t->conn_handle(r.ctx, sbxt_conn(&r, 0));
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(option(&r, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(&r, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(&r, IPPROTO_TCP, TCP_KEEPIDLE), 45);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    config.no_keepalive = true;
    config.bind = "127.0.0.9";
    sbxt_open_with(&r, &config, 1);
    sbxt_connected(&r, 0, "127.0.0.1", peer.port);
    assert_int_equal(option(&r, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(getsockname((int)r.t->conn_handle(r.ctx, sbxt_conn(&r, 0)), (struct sockaddr *)&s, &n), 0);
    assert_int_equal(ntohl(s.sin_addr.s_addr), 0x7F000009);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

static void test_bad_config(void **state)
{
    static const char *const fields[] = { "ca_file", "ca_dir", "cert", "key", "key", "proxy_ca_file", "min_tls", "connect_timeout_ms", "proxy", "proxy_user" };
    sbxt_rig r;
    sbx_fault fault;
    int before = sbxt_descriptors();

    (void)state;
    for (int i = 0; i < 10; i++) {
        sbx_curl_config config = plain_config();

        config.ca_file = i == 0 ? "/nowhere/ca.pem" : NULL;
        config.ca_dir = i == 1 ? "/nowhere" : NULL;
        config.cert = i == 2 ? "/nowhere/cert.pem" : i == 3 ? "/dev/null" : NULL;
        config.key = i == 3 ? "/nowhere/key.pem" : i == 4 ? "/dev/null" : NULL;
        config.proxy_ca_file = i == 5 ? "/nowhere/ca.pem" : NULL;
        config.min_tls = i == 6 ? 11 : 0;
        config.connect_timeout_ms = i == 7 ? -1 : 0;
        config.proxy = i == 8 ? "gopher://user:geheim@proxy" : NULL;
        config.proxy_password = i == 9 ? "geheim" : NULL;
        memset(&fault, 0, sizeof fault);
        assert_int_equal(sbxt_try_open(&r, &config, 1, &fault), SBX_ERR_ARGUMENT);
        assert_int_equal(fault.code, SBX_ERR_ARGUMENT);
        assert_non_null(strstr(fault.text, fields[i]));
        assert_null(strstr(fault.text, "geheim"));
        r.t->shut(r.ctx);
        sbxt_free(&r);
    }
    assert_int_equal(sbxt_descriptors(), before);
}

static void test_misuse(void **state)
{
    static const char zero[sizeof(sbxi_curl_conn)];
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
    assert_memory_equal(sbxt_conn(&r, 0), zero, sizeof zero);
    assert_int_equal(r.t->wait(r.ctx, -1, NULL, 0), 0);
    sbxt_shut(&r);
    sbxt_peer_stop(&peer);
}

/* libcurl puts a proxy's URL into its words, cut where they are full: no part
   of a password comes through. Its schemes have no case. */
static void test_proxy_urls(void **state)
{
    static const char *const urls[] = { "http://user:%s@proxy:99999", "gopher://user:%s@proxy", "user:%s" };
    char secret[301], url[400];
    sbx_curl_config config;
    sbxt_rig r;
    sbx_fault fault;

    (void)state;
    memset(&config, 0, sizeof config);
    for (int i = 0; i < 6; i++) {
        memset(secret, 's', sizeof secret);
        secret[i < 3 ? 6 : 300] = 0;
        snprintf(url, sizeof url, urls[i % 3], secret);
        setenv("all_proxy", url, 1);
        sbxt_open_with(&r, &config, 1);
        assert_int_equal(sbxt_connect(&r, 0, "localhost", 1, &fault), SBX_IO_FAIL);
        assert_null(strstr(fault.text, "ssssss"));
        sbxt_close(&r, 0);
        sbxt_shut(&r);
    }
    assert_true(sbxi_curl_proxy_tls("Https://proxy"));
    assert_false(sbxi_curl_proxy_tls("http://https:"));
    unsetenv("all_proxy");
}

/* A host that would change the URL's meaning is no host. */
static void test_hosts(void **state)
{
    static const char *const bad[] = { "a/b", "a@b", "a#b", "a?b", "[::1]", "a%2e", "::1%", "::1%a/b", "a b", "a\tb", "a\\b", "1:2:3" };
    static const char *const good[] = { "::1", "::1%lo", "::ffff:127.0.0.1" };
    sbxt_rig r;
    sbx_fault fault;
    uint16_t port;
    int fd = sbxt_listen("::1", 4, 0, &port), four = sbxt_listen("127.0.0.1", 4, port, &port);

    (void)state;
    sbxt_open(&r, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sbxt_connect(&r, 0, bad[i], port, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.code, SBX_ERR_RESOLVE);
        sbxt_close(&r, 0);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        sbxt_connected(&r, 0, good[i], port);
        sbxt_close(&r, 0);
    }
    sbxt_shut(&r);
    close(fd);
    close(four);
}

/* ---- memory ---- */

static int allocations, fail_at, blocks;

static bool refuse(void)
{
    return __atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST) == fail_at;
}

static void *taken(void *p)
{
    if (p)
        __atomic_add_fetch(&blocks, 1, __ATOMIC_SEQ_CST);
    return p;
}

static void *my_malloc(size_t n)
{
    return refuse() ? NULL : taken(malloc(n));
}

static void my_free(void *p)
{
    if (p)
        __atomic_sub_fetch(&blocks, 1, __ATOMIC_SEQ_CST);
    free(p);
}

static void *my_realloc(void *p, size_t n)
{
    if (refuse())
        return NULL;
    return p ? realloc(p, n) : taken(malloc(n));
}

static char *my_strdup(const char *text)
{
    return refuse() ? NULL : (char *)taken(strdup(text));
}

static void *my_calloc(size_t n, size_t size)
{
    return refuse() ? NULL : taken(calloc(n, size));
}

/* Each of libcurl's allocations fails once: an answer, and nothing is left. */
static void test_each_allocation_fails(void **state)
{
    sbxt_peer peer;
    int before, k, failed = 0;
    bool hit;

    (void)state;
    sbxt_peer_start(&peer, "127.0.0.1", sbxt_serve_echo);
    before = sbxt_descriptors();
    k = 0;
    do {
        sbxt_rig r;
        sbx_fault fault;
        char word[4];
        size_t n;

        fail_at = ++k;
        __atomic_store_n(&allocations, 0, __ATOMIC_SEQ_CST);
        memset(&fault, 0, sizeof fault);
        if (sbxt_try_open(&r, NULL, 1, &fault) != SBX_OK) {
            assert_int_not_equal(fault.code, SBX_OK);
            failed++;
        } else if (sbxt_connect(&r, 0, "127.0.0.1", peer.port, &fault) != SBX_IO_OK) {
            assert_int_not_equal(fault.code, SBX_OK);
            failed++;
            sbxt_close(&r, 0);
        } else {
            r.bits[0] = SBX_READABLE | SBX_WRITABLE;
            if (sbxt_write(&r, 0, "ping", 4, &fault) == SBX_IO_OK && sbxt_read(&r, 0, word, 4, &n, &fault) == SBX_IO_OK)
                assert_memory_equal(word, "ping", 4);
            sbxt_close(&r, 0);
        }
        hit = __atomic_load_n(&allocations, __ATOMIC_SEQ_CST) >= k;
        fail_at = 0;
        sbxt_shut(&r);
        for (int i = 0; i < 1000 && sbxt_descriptors() != before; i++)
            usleep(2000); /* the peer closes its end a little later */
        assert_int_equal(sbxt_descriptors(), before);
    } while (hit);
    print_message("%d allocations failed in turn, %d of them ended a connection\n", k - 1, failed);
    assert_true(k > 20 && failed > 10);
    sbxt_peer_stop(&peer);
}

static int count_memory(void **state)
{
    (void)state;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, my_malloc, my_free, my_realloc, my_strdup, my_calloc) != CURLE_OK;
}

static int no_memory_left(void **state)
{
    (void)state;
    curl_global_cleanup();
    assert_int_equal(__atomic_load_n(&blocks, __ATOMIC_SEQ_CST), 0);
    return 0;
}

static void test_sizes(void **state)
{
    (void)state;
    print_message("conn_size %u, ctx_size %u, ctx_per_conn %u, libcurl %s\n", (unsigned)sbx_curl.conn_size, (unsigned)sbx_curl.ctx_size,
                  (unsigned)sbx_curl.ctx_per_conn, curl_version());
    assert_true(sbx_curl.conn_size <= 384);
    assert_true(sbx_curl.ctx_size <= 512);
    assert_null(sbx_curl.lower);
    assert_int_equal(sbx_curl.flags, SBX_TRANSPORT_TLS);
}

int main(void)
{
    static const sbxt_suite suite = {&sbx_curl, NULL, false, NULL};
    const struct CMUnitTest tests[] = {
        SBXT_CONFORMANCE,
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_hanging_lookup),
        cmocka_unit_test(test_late_lookup),
        cmocka_unit_test(test_next_address),
        cmocka_unit_test(test_slow_connect),
        cmocka_unit_test(test_silent_tls),
        cmocka_unit_test(test_descriptors_run_out),
        cmocka_unit_test(test_two_thousand),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_proxy_urls),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test_setup_teardown(test_each_allocation_fails, count_memory, no_memory_left),
    };

    sem_init(&hang, 0, 0);
    sem_init(&hanging, 0, 0);
    sbxt_prepare(&suite);
    return cmocka_run_group_tests_name(sbx_curl.name, tests, NULL, NULL);
}
