#include "proxy.h"

#include <unistd.h>

static const proxy_kind *kind;
static const char *const agrees = "HTTP/1.1 200 Connection established\r\n\r\n";
static const char secret[] = "gehe1m-w0rt";

/* ---- clients ---- */

typedef struct traced {
    unsigned lines;
    bool told; /* the secret was in one */
} traced;

static void trace(void *user, const sbx_trace *t)
{
    traced *seen = user;

    seen->lines++;
    for (size_t i = 0; i + sizeof secret - 1 <= t->text.n; i++)
        seen->told |= memcmp(t->text.p + i, secret, sizeof secret - 1) == 0;
}

static sbx_client_desc describe(const proxy_use *use, traced *seen)
{
    static const sbx_client_desc none;
    sbx_client_desc d = none;

    memset(seen, 0, sizeof *seen);
    d.transport = kind->transport;
    d.transport_config = kind->config(use);
    d.max_retries = SBX_NONE;
    d.trace = trace;
    d.trace_user = seen;
    return d;
}

static sbx_client *opened(const sbx_client_desc *d)
{
    sbx_client *c = NULL;
    sbx_error e;

    if (sbx_open(d, &c, &e))
        fail_msg("open: %s %s", sbx_code_name(e.code), e.text);
    return c;
}

#define OK(op) succeeds(c, (op), #op)
static void succeeds(sbx_client *c, sbx_op op, const char *what)
{
    sbx_error e;

    if (!sbx_await(c, op))
        return;
    sbx_error_of(c, op, &e);
    fail_msg("%s: %s, %s", what, sbx_code_name(e.code), e.text);
}

/* A call of each kind: requests, a WebSocket, bulk data both ways. */
static void session(const proxy_use *use)
{
    static char data[300000], back[sizeof data + 1];
    traced seen;
    sbx_client_desc d = describe(use, &seen);
    sbx_client *c = opened(&d);
    sbx_run_opts run = { .out = { back, sizeof back } };
    sbx_read_opts read = { .out = { back, sizeof back } };
    sbx_box box;
    sbx_result result;
    sbx_read_result got;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 31 >> 3);
    OK(sbx_create(c, NULL, &box));
    OK(sbx_run(c, &box, sbx_s("echo through the proxy"), &run, &result));
    assert_int_equal(result.out_n, 18);
    assert_memory_equal(back, "through the proxy\n", 18);
    OK(sbx_write(c, &box, sbx_s("/tmp/data"), sbx_sn(data, sizeof data), NULL));
    OK(sbx_read(c, &box, sbx_s("/tmp/data"), &read, &got));
    assert_int_equal(got.n, sizeof data);
    assert_memory_equal(back, data, sizeof data);
    OK(sbx_delete(c, &box, NULL));
    sbx_close(c);
    assert_true(seen.lines > 0);
    assert_false(seen.told);
}

/* One request that must not get through. `says` must stand in the text. */
static sbx_error refused(const proxy_use *use, const char *endpoint, int connect_ms, sbx_code code, const char *says)
{
    traced seen;
    sbx_client_desc d = describe(use, &seen);
    sbx_client *c;
    sbx_error e;
    sbx_op op;

    d.endpoint = endpoint;
    d.connect_ms = connect_ms;
    if (says[0] == '4') /* the proxy's no is final, however often it may be asked */
        d.max_retries = 3;
    c = opened(&d);
    op = sbx_get(c, sbx_s("none"), NULL, NULL, NULL);
    sbx_await(c, op);
    sbx_error_of(c, op, &e);
    if (e.code != code || !strstr(e.text, says) || strstr(e.text, secret) || seen.told)
        fail_msg("%s, %s: wanted %s, \"%s\"", sbx_code_name(e.code), e.text, sbx_code_name(code), says);
    assert_false(e.sent);
    assert_int_equal(e.attempts, 1);
    sbx_close(c);
    return e;
}

/* One request that does: it ends with the server's own no. */
static void answered(const proxy_use *use, const char *endpoint)
{
    traced seen;
    sbx_client_desc d = describe(use, &seen);
    sbx_client *c;
    sbx_error e;
    sbx_op op;

    d.endpoint = endpoint;
    c = opened(&d);
    op = sbx_get(c, sbx_s("none"), NULL, NULL, NULL);
    sbx_await(c, op);
    sbx_error_of(c, op, &e);
    if (e.code != SBX_ERR_NOT_FOUND)
        fail_msg("%s, %s: wanted the server's SBX_ERR_NOT_FOUND", sbx_code_name(e.code), e.text);
    sbx_close(c);
}

/* ---- what the cases share ---- */

static char url[128];

static const char *at(const char *scheme, const char *credentials, uint16_t port)
{
    snprintf(url, sizeof url, "%s://%s127.0.0.1:%u", scheme, credentials, port);
    return url;
}

static uint16_t server_port(void)
{
    const char *colon = strrchr(getenv("LANGSMITH_ENDPOINT"), ':');

    return (uint16_t)atoi(colon + 1);
}

/* Then its certificate is for localhost and loopback addresses. */
static bool speaks_tls(void)
{
    return strncmp(getenv("LANGSMITH_ENDPOINT"), "https:", 6) == 0;
}

static const char *endpoint_of(const char *host)
{
    static char endpoint[128];

    snprintf(endpoint, sizeof endpoint, "%s://%s:%u/v2/sandboxes", speaks_tls() ? "https" : "http", host, server_port());
    return endpoint;
}

static const char *const variables[] = { "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY" };

static int tidy(void **state)
{
    proxy_real *p = *state;

    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    if (p)
        proxy_stop(p);
    return 0;
}

static bool lacks_socks(void)
{
    if (!kind->socks)
        skip();
    return !kind->socks;
}

/* ---- Debian's proxies ---- */

static void test_tinyproxy(void **state)
{
    static proxy_real p;
    proxy_use use = { 0 };

    p = proxy_tinyproxy(NULL, NULL);
    *state = &p;
    use.url = at("http", "", p.port);
    session(&use);
    proxy_stop(&p);
    refused(&use, NULL, 0, SBX_ERR_CONNECT, "refused"); /* it was no direct way */
}

static void test_tinyproxy_credentials(void **state)
{
    static proxy_real p;
    proxy_use in_url = { 0 }, apart = { 0 }, none = { 0 }, wrong = { 0 };
    char credentials[64];

    p = proxy_tinyproxy("me", secret);
    *state = &p;
    none.url = at("http", "", p.port);
    refused(&none, NULL, 0, SBX_ERR_CONNECT, "407");
    snprintf(credentials, sizeof credentials, "me:%s@", secret);
    in_url.url = at("http", credentials, p.port);
    session(&in_url);
    apart.url = at("http", "", p.port);
    apart.user = "me";
    apart.password = secret;
    session(&apart);
    wrong.url = at("http", "you:gehe1m-w0rt@", p.port);
    refused(&wrong, NULL, 0, SBX_ERR_CONNECT, "proxy");
}

static void test_microsocks(void **state)
{
    static proxy_real p;
    proxy_use use = { 0 };

    if (lacks_socks())
        return;
    p = proxy_microsocks(NULL, NULL);
    *state = &p;
    use.url = at("socks5", "", p.port);
    session(&use);
    use.url = at("socks5h", "", p.port);
    session(&use);
    answered(&use, endpoint_of("localhost")); /* looked up by the proxy */
    proxy_stop(&p);
    refused(&use, NULL, 0, SBX_ERR_CONNECT, "refused");
}

static void test_microsocks_credentials(void **state)
{
    static proxy_real p;
    proxy_use in_url = { 0 }, apart = { 0 }, none = { 0 }, wrong = { 0 };
    char credentials[64];

    if (lacks_socks())
        return;
    p = proxy_microsocks("me", secret);
    *state = &p;
    none.url = at("socks5h", "", p.port);
    refused(&none, NULL, 0, SBX_ERR_CONNECT, "proxy_user");
    snprintf(credentials, sizeof credentials, "me:%s@", secret);
    in_url.url = at("socks5h", credentials, p.port);
    session(&in_url);
    apart.url = at("socks5", "", p.port);
    apart.user = "me";
    apart.password = secret;
    session(&apart);
    wrong.url = at("socks5h", "you:gehe1m-w0rt@", p.port);
    refused(&wrong, NULL, 0, SBX_ERR_CONNECT, "proxy_password");
}

/* ---- scripted ones ---- */

static void test_what_is_asked(void **state)
{
    proxy_relay r;
    proxy_use use = { 0 };
    const char *name = speaks_tls() ? "localhost" : "box.invalid";
    char wanted[128];

    (void)state;
    proxy_relay_start(&r, agrees, 0, server_port());
    /* A name that only the proxy knows; user and password percent-encoded. */
    use.url = at("http", "us%20er:p%3Aw%40d%2F%25@", r.port);
    answered(&use, endpoint_of(name));
    snprintf(wanted, sizeof wanted, "CONNECT %s:%u HTTP/1.1\r\n", name, server_port());
    assert_int_equal(strncmp(r.head, wanted, strlen(wanted)), 0);
    snprintf(wanted, sizeof wanted, "\r\nHost: %s:%u\r\n", name, server_port());
    assert_non_null(strstr(r.head, wanted));
    assert_non_null(strstr(r.head, "\r\nProxy-Authorization: Basic dXMgZXI6cDp3QGQvJQ==\r\n"));
    assert_null(strstr(r.head, "Api-Key"));
    use.url = at("http", "", r.port);
    answered(&use, endpoint_of("[::1]"));
    snprintf(wanted, sizeof wanted, "CONNECT [::1]:%u HTTP/1.1\r\n", server_port());
    assert_int_equal(strncmp(r.head, wanted, strlen(wanted)), 0);
    assert_null(strstr(r.head, "Proxy-Authorization"));
    assert_int_equal(proxy_relay_heads(&r), 2);
    proxy_relay_stop(&r);
}

static void test_ways_to_agree(void **state)
{
    static const struct {
        const char *answer;
        size_t piece;
    } ways[] = {
        { "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n", 1 },
        { "HTTP/1.0 200 OK\r\n\r\n", 7 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0 },
    };
    proxy_use use = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        proxy_relay r;

        proxy_relay_start(&r, ways[i].answer, ways[i].piece, server_port());
        use.url = at("http", "", r.port);
        session(&use);
        assert_true(proxy_relay_heads(&r) >= 2);
        proxy_relay_stop(&r);
    }
}

static void test_ways_to_refuse(void **state)
{
    static const struct {
        const char *answer, *says;
    } ways[] = {
        { "HTTP/1.1 403 Filtered\r\nContent-Length: 5\r\n\r\nno!!\n", "403" },
        { "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n", "407" },
        { "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n", "502" },
        { "HTTP/1.0 500 Unable to connect\r\nContent-Length: 0\r\n\r\n", "500" },
        { "", "proxy" }, /* the end at once */
        { "HTTP/1.1 2", "proxy" },
        { "SSH-2.0-OpenSSH_9.2\r\n\r\n", "proxy" },
    };
    proxy_use use = { 0 };
    char credentials[64];

    (void)state;
    snprintf(credentials, sizeof credentials, "me:%s@", secret);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        proxy_relay r;

        proxy_relay_start(&r, ways[i].answer, i % 2, server_port());
        use.url = at("http", credentials, r.port);
        refused(&use, NULL, 0, SBX_ERR_CONNECT, ways[i].says);
        proxy_relay_stop(&r);
    }
}

/* Answers without end: the connection is given up, though there is always more
   to read, and not only when its time is over. */
static void test_floods(void **state)
{
    static const struct {
        const char *answer, *again;
    } ways[] = {
        { "HTTP/1.1 200 OK\r\n", "A: b\r\n" },
        { "HTTP/1.1 200 OK\r\nA: ", "bbbbbbbbbbbbbbbb" },
        { "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n" },
        { "HTTP/1.1 403 No\r\n\r\n", "no, and no, and no" },
        { "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n" },
        { "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n", "who are you?" },
    };
    proxy_use use = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        static char again[65536];
        proxy_relay r;

        again[0] = 0;
        for (size_t n = 0, one = strlen(ways[i].again); n + one < sizeof again; n += one)
            memcpy(again + n, ways[i].again, one + 1);
        proxy_relay_start(&r, ways[i].answer, 0, server_port());
        r.again = again;
        use.url = at("http", "", r.port);
        refused(&use, NULL, 0, SBX_ERR_CONNECT, "proxy");
        proxy_relay_stop(&r);
    }
}

/* Hangs before its answer, or in the middle of it: the client's limit holds. */
static void test_hangs(void **state)
{
    proxy_relay r;
    proxy_use use = { 0 };

    (void)state;
    proxy_relay_start(&r, NULL, 0, server_port());
    use.url = at("http", "", r.port);
    refused(&use, NULL, 300, SBX_ERR_DEADLINE, "");
    if (kind->socks) {
        use.url = at("socks5h", "", r.port);
        refused(&use, NULL, 300, SBX_ERR_DEADLINE, "");
    }
    proxy_relay_stop(&r);
}

static void test_not_there(void **state)
{
    proxy_relay r;
    proxy_use use = { 0 };

    (void)state;
    proxy_relay_start(&r, agrees, 0, server_port());
    proxy_relay_stop(&r);
    use.url = at("http", "", r.port);
    refused(&use, NULL, 0, SBX_ERR_CONNECT, "refused");
    use.url = "http://me:gehe1m-w0rt@proxy.invalid:3128";
    refused(&use, NULL, 0, SBX_ERR_RESOLVE, "proxy");
}

static void test_no_proxy(void **state)
{
    static const char *const direct[] = { "127.0.0.1", "localhost,127.0.0.1", "*", "10.0.0.0/8,127.0.0.0/8" };
    static const char *const other[] = { "", "127.0.0.2", "example.org", "10.0.0.0/8" };
    proxy_relay r;
    proxy_use use = { 0 };

    (void)state;
    proxy_relay_start(&r, agrees, 0, server_port());
    use.url = at("http", "", r.port);
    for (size_t i = 0; i < sizeof direct / sizeof *direct; i++) {
        use.no_proxy = direct[i];
        answered(&use, NULL);
        assert_int_equal(proxy_relay_heads(&r), 0);
    }
    use.no_proxy = ".localhost,localhost";
    answered(&use, endpoint_of("localhost"));
    assert_int_equal(proxy_relay_heads(&r), 0);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        use.no_proxy = other[i];
        answered(&use, NULL);
        assert_int_equal(proxy_relay_heads(&r), i + 1);
    }
    use.no_proxy = ".invalid";
    setenv("no_proxy", "*", 1); /* the option counts, not this */
    answered(&use, NULL);
    assert_int_equal(proxy_relay_heads(&r), sizeof other / sizeof *other + 1);
    proxy_relay_stop(&r);
}

static void test_environment(void **state)
{
    proxy_relay r;
    proxy_use use = { 0 }, none = { 0 };

    (void)state;
    proxy_relay_start(&r, agrees, 0, server_port());
    at("http", "", r.port);
    setenv("HTTP_PROXY", "http://127.0.0.1:1", 1); /* in a CGI program that is a header of the request */
    answered(&use, NULL);
    setenv("ALL_PROXY", url, 1);
    answered(&use, NULL);
    assert_int_equal(proxy_relay_heads(&r), 1);
    unsetenv("ALL_PROXY");
    setenv("http_proxy", url, 1);
    session(&use);
    assert_true(proxy_relay_heads(&r) > 1);
    {
        unsigned before = proxy_relay_heads(&r);

        setenv("NO_PROXY", "127.0.0.1", 1);
        answered(&use, NULL);
        unsetenv("NO_PROXY");
        none.url = "";
        answered(&none, NULL);
        assert_int_equal(proxy_relay_heads(&r), before);
    }
    proxy_relay_stop(&r);
}

/* Refused when the client is made, without the password in the text. */
static void test_bad_urls(void **state)
{
    static const char *const bad[] = { "ftp://me:gehe1m-w0rt@127.0.0.1:21", "http://me:gehe1m-w0rt@", "http://me:gehe1m-w0rt@127.0.0.1:port",
                                       "http://me:gehe1m-w0rt@127.0.0.1:99999" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        proxy_use use = { 0 };
        traced seen;
        sbx_client_desc d;
        sbx_client *c;
        sbx_error e;

        use.url = bad[i];
        d = describe(&use, &seen);
        assert_int_equal(sbx_open(&d, &c, &e), SBX_ERR_ARGUMENT);
        assert_non_null(strstr(e.text, "proxy"));
        assert_null(strstr(e.text, secret));
    }
}

/* Many commands at once, each on a tunnel of its own. */
static void test_many(void **state)
{
    enum { MANY = 20 };
    static char out[MANY][32];
    static sbx_result result[MANY];
    static proxy_real p;
    proxy_use use = { 0 };
    traced seen;
    sbx_client_desc d;
    sbx_client *c;
    sbx_box box;
    sbx_op op[MANY];

    p = proxy_tinyproxy(NULL, NULL);
    *state = &p;
    use.url = at("http", "", p.port);
    d = describe(&use, &seen);
    d.max_retries = 3;
    d.max_requests = MANY;
    c = opened(&d);
    OK(sbx_create(c, NULL, &box));
    for (int i = 0; i < MANY; i++) {
        char command[64];
        sbx_run_opts run = { .out = { out[i], sizeof out[i] } };

        snprintf(command, sizeof command, "sleep 0.5; echo %d", i);
        op[i] = sbx_run(c, &box, sbx_s(command), &run, &result[i]);
    }
    for (int i = 0; i < MANY; i++) {
        OK(op[i]);
        assert_int_equal(atoi(out[i]), i);
    }
    OK(sbx_delete(c, &box, NULL));
    sbx_close(c);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, tidy, tidy)

int proxy_main(const proxy_kind *k)
{
    const struct CMUnitTest tests[] = {
        CASE(test_tinyproxy),
        CASE(test_tinyproxy_credentials),
        CASE(test_microsocks),
        CASE(test_microsocks_credentials),
        CASE(test_what_is_asked),
        CASE(test_ways_to_agree),
        CASE(test_ways_to_refuse),
        CASE(test_floods),
        CASE(test_hangs),
        CASE(test_not_there),
        CASE(test_no_proxy),
        CASE(test_environment),
        CASE(test_bad_urls),
        CASE(test_many),
    };

    kind = k;
    if (!getenv("LANGSMITH_ENDPOINT")) {
        print_error("run it beside sandboxd: tests/build/with_sandboxd.py PROGRAM\n");
        return 1;
    }
    return cmocka_run_group_tests_name(kind->transport->name, tests, NULL, NULL);
}
