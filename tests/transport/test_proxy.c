/* The proxy transport over a scripted lower one: which proxy and which hosts,
   the request, answers at every split, a failure of every call below. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"
#include "sandbox_proxy.h"

#include "conformance.h"

/* ---- the lower transport: plays one connection from a script ---- */

static struct {
    const char *answer;    /* what the peer sends */
    size_t answer_n, split; /* a pause stands before answer[split] */
    bool slow;             /* every call waits first, and moves one byte */
    sbx_io end;            /* behind the answer: WANT_READ, EOF or FAIL */
    int fail_at;           /* this call fails, from 1; 0 = none */
    int calls, connects, closes, opens, shuts, asleep;
    size_t given, said_n;
    char said[2048], host[300];
    uint16_t port;
    bool tls;
    unsigned watched;
} script;

static bool hook(void)
{
    return ++script.calls == script.fail_at;
}

static sbx_io broken(sbx_fault *fault, sbx_code code)
{
    fault->code = code;
    fault->sys = 99;
    fault->text = "script says so";
    return SBX_IO_FAIL;
}

/* Every other call is not ready yet. */
static bool asleep(void)
{
    return script.slow && ++script.asleep & 1;
}

static sbx_code script_open(void *ctx, const void *config, uint32_t max, sbx_fault *fault)
{
    (void)max;
    memset(ctx, 1, 24);
    script.opens++;
    if (hook()) {
        broken(fault, SBX_ERR_CONNECT);
        return SBX_ERR_CONNECT;
    }
    return config == &script ? SBX_ERR_ARGUMENT : SBX_OK;
}

static void script_shut(void *ctx)
{
    assert_int_equal(*(char *)ctx, 1);
    script.shuts++;
}

static sbx_io script_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    assert_int_equal(*(char *)ctx, 1);
    if (hook())
        return broken(fault, SBX_ERR_RESOLVE);
    memset(conn, 2, 40);
    script.connects++;
    assert_true(to->host.n < sizeof script.host);
    memcpy(script.host, to->host.p, to->host.n);
    script.host[to->host.n] = 0;
    script.port = to->port;
    script.tls = to->tls;
    return asleep() ? SBX_IO_WANT_WRITE : SBX_IO_OK;
}

static sbx_io script_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    size_t n = script.answer_n - script.given;
    (void)ctx;
    assert_int_equal(*(char *)conn, 2);
    if (hook())
        return broken(fault, SBX_ERR_CONNECTION);
    if (n == 0 && script.end == SBX_IO_FAIL)
        return broken(fault, SBX_ERR_CONNECTION);
    if (n == 0)
        return script.end;
    if (asleep())
        return SBX_IO_WANT_READ;
    if (script.given == script.split && script.split) {
        script.split = 0;
        return SBX_IO_WANT_READ;
    }
    if (script.given < script.split && n > script.split - script.given)
        n = script.split - script.given;
    n = script.slow ? 1 : n < room ? n : room;
    memcpy(p, script.answer + script.given, n);
    script.given += n;
    *got = n;
    return SBX_IO_OK;
}

static sbx_io script_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    (void)ctx;
    assert_int_equal(*(char *)conn, 2);
    if (hook())
        return broken(fault, SBX_ERR_CONNECTION);
    if (asleep())
        return SBX_IO_WANT_WRITE;
    n = script.slow ? 1 : n;
    assert_true(script.said_n + n < sizeof script.said);
    memcpy(script.said + script.said_n, p, n);
    script.said_n += n;
    script.said[script.said_n] = 0;
    *sent = n;
    return SBX_IO_OK;
}

static void script_close(void *ctx, void *conn)
{
    (void)ctx;
    (void)conn;
    script.closes++;
}

static void script_watch(void *ctx, void *conn, unsigned bits)
{
    (void)ctx;
    (void)conn;
    script.watched = bits;
}

static bool script_entropy(void *ctx, void *p, size_t n)
{
    (void)ctx;
    memset(p, 7, n);
    return true;
}

static int64_t script_ms(void *ctx)
{
    assert_int_equal(*(char *)ctx, 1);
    return 12345;
}

static const sbx_transport scripted = {
    .name = "scripted", .ctx_size = 24, .conn_size = 40, .open = script_open, .shut = script_shut, .connect = script_connect,
    .recv = script_recv, .send = script_send, .close = script_close, .watch = script_watch, .entropy = script_entropy, .mono_ms = script_ms,
};

static sbx_transport proxied;

static void rewind_script(const char *answer)
{
    memset(&script, 0, sizeof script);
    script.answer = answer;
    script.answer_n = strlen(answer);
    script.end = SBX_IO_WANT_READ;
}

static sbx_code open_url(sbxt_rig *r, const char *url, const char *no_proxy, sbx_fault *fault)
{
    sbx_proxy_config config;
    memset(&config, 0, sizeof config);
    config.url = url;
    config.no_proxy = no_proxy;
    memset(fault, 0, sizeof *fault);
    return sbxt_try_open(r, &config, 1, fault);
}

static void open_well(sbxt_rig *r, const char *url)
{
    sbx_fault fault;
    assert_int_equal(open_url(r, url, "", &fault), SBX_OK);
}

/* Until an answer that is no waiting; bounded. */
static sbx_io connect_all(sbxt_rig *r, const char *host, uint16_t port, sbx_fault *fault)
{
    int i;
    for (i = 0; i < 5000; i++) {
        sbx_io io = sbxt_connect_step(r, 0, host, port, fault);
        if (io != SBX_IO_WANT_READ && io != SBX_IO_WANT_WRITE)
            return io;
        if (io == SBX_IO_WANT_READ && script.given == script.answer_n)
            return io;
    }
    fail_msg("connect goes on for ever");
    return SBX_IO_FAIL;
}

/* ---- which proxy ---- */

static void test_urls(void **state)
{
    static const struct {
        const char *url;
        sbx_code code;
        const char *host;
        int port;
        const char *basic;
    } cases[] = {
        {"http://proxy.test:3128", SBX_OK, "proxy.test", 3128, ""},
        {"HTTP://Proxy.test:3128/", SBX_OK, "Proxy.test", 3128, ""},
        {"proxy.test:8080", SBX_OK, "proxy.test", 8080, ""},
        {"proxy.test", SBX_OK, "proxy.test", 80, ""},
        {"http://10.0.0.1:65535", SBX_OK, "10.0.0.1", 65535, ""},
        {"http://[fd00::1]:3128", SBX_OK, "fd00::1", 3128, ""},
        {"http://[::1]", SBX_OK, "::1", 80, ""},
        {"http://Aladdin:open%20sesame@p:1", SBX_OK, "p", 1, "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        {"http://user@p:1", SBX_OK, "p", 1, "dXNlcjo="},
        {"http://u:p%3a%40%2F@x@p:1", SBX_OK, "p", 1, "dTpwOkAvQHg="},
        {"http://u:a:b@p", SBX_OK, "p", 80, "dTphOmI="},
        {"https://u:secret@p:1", SBX_ERR_UNSUPPORTED, "", 0, ""},
        {"socks5://u:secret@p:1", SBX_ERR_UNSUPPORTED, "", 0, ""},
        {"SOCKS5H://p:1", SBX_ERR_UNSUPPORTED, "", 0, ""},
        {"socks4a://p", SBX_ERR_UNSUPPORTED, "", 0, ""},
        {"ftp://u:secret@p", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://:80", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p:", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p:0", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p:65536", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p:80x", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p:99999999999999999999", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p/path", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p?x", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://a b", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://p\r\nX: y", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://::1", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://[::1", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://[]:80", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://[p]:80", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://[::1]x", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://u:secret%@p", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://u:secret%4@p", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://u:secret%zz@p", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://u:secret%0d@p", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://u:secret%00@p", SBX_ERR_ARGUMENT, "", 0, ""},
        {"http://u%3Av:secret@p", SBX_ERR_ARGUMENT, "", 0, ""},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        sbxt_rig r;
        sbx_fault fault;
        const sbxi_proxy_ctx *x;
        sbx_code code;
        rewind_script("");
        code = open_url(&r, cases[i].url, "", &fault);
        x = (const sbxi_proxy_ctx *)r.ctx;
        if (code != cases[i].code)
            fail_msg("%s: %s (%s)", cases[i].url, sbx_code_name(code), fault.text ? fault.text : "");
        assert_int_equal(script.opens, code == SBX_OK);
        assert_int_equal(x->port, cases[i].port);
        if (code) {
            assert_int_equal(fault.code, code);
            assert_int_equal(strncmp(fault.text, "sbx_proxy_config.url: ", 22), 0);
            assert_null(strstr(fault.text, "secret"));
            if (code == SBX_ERR_UNSUPPORTED)
                assert_non_null(strstr(fault.text, "libcurl"));
        } else {
            assert_string_equal(x->host, cases[i].host);
            assert_int_equal(x->basic_n, strlen(cases[i].basic));
            assert_memory_equal(x->basic, cases[i].basic, x->basic_n);
            r.t->shut(r.ctx);
            assert_int_equal(script.shuts, 1);
            assert_int_equal(x->basic[0], 0);
        }
        sbxt_free(&r);
    }
}

static void test_long_parts(void **state)
{
    char text[2 * 300], list[SBX_PROXY_LIST + 2];
    sbx_proxy_config config;
    sbxt_rig r;
    sbx_fault fault;
    int n;
    (void)state;
    rewind_script("");
    for (n = 252; n < 256; n++) {
        memset(text, 'h', sizeof text);
        text[n] = 0;
        assert_int_equal(open_url(&r, text, "", &fault), n <= 253 ? SBX_OK : SBX_ERR_ARGUMENT);
        sbxt_free(&r);
        memset(text, 'u', sizeof text);
        strcpy(text + n, "@p:1");
        assert_int_equal(open_url(&r, text, "", &fault), n <= 255 ? SBX_OK : SBX_ERR_ARGUMENT);
        sbxt_free(&r);
    }
    memset(text, 'u', sizeof text);
    strcpy(text + 256, "@p:1");
    assert_int_equal(open_url(&r, text, "", &fault), SBX_ERR_ARGUMENT);
    sbxt_free(&r);
    memset(list, 'x', sizeof list);
    list[SBX_PROXY_LIST - 1] = 0;
    assert_int_equal(open_url(&r, "p:1", list, &fault), SBX_OK);
    sbxt_free(&r);
    list[SBX_PROXY_LIST - 1] = 'x';
    list[SBX_PROXY_LIST] = 0;
    assert_int_equal(open_url(&r, "p:1", list, &fault), SBX_ERR_TOO_LARGE);
    assert_non_null(strstr(fault.text, "SBX_PROXY_LIST"));
    sbxt_free(&r);
    /* The option's user replaces that of the URL; the longest of everything fits a request. */
    memset(text, 'w', 255);
    text[255] = 0;
    memset(&config, 0, sizeof config);
    config.url = "u:v@p:1";
    config.no_proxy = "";
    config.user = config.password = text;
    sbxt_open_with(&r, &config, 1);
    memset(list, 'h', 253);
    list[253] = 0;
    assert_int_equal(sbxt_connect_step(&r, 0, list, 65535, &fault), SBX_IO_WANT_READ);
    assert_true(script.said_n < SBXI_PROXY_HEAD);
    assert_memory_equal(script.said + script.said_n - 4, "\r\n\r\n", 4);
    assert_non_null(strstr(script.said, ":65535\r\nProxy-Authorization: Basic d3d3"));
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    config.user = "a:b";
    assert_int_equal(sbxt_try_open(&r, &config, 1, &fault), SBX_ERR_ARGUMENT);
    sbxt_free(&r);
    config.user = NULL;
    assert_int_equal(sbxt_try_open(&r, &config, 1, &fault), SBX_ERR_ARGUMENT);
    assert_non_null(strstr(fault.text, "sbx_proxy_config.user"));
    sbxt_free(&r);
}

static const char *const variables[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"};

static int clear_environment(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    return 0;
}

static void test_environment(void **state)
{
    sbxt_rig r;
    sbx_fault fault;
    int i;
    (void)state;
    clear_environment(NULL);
    rewind_script("");
    /* HTTP_PROXY never counts; of the others each one is hidden by those before it. */
    for (i = 5; i >= 0; i--) {
        char url[32], want[8];
        snprintf(want, sizeof want, "p%d", i);
        snprintf(url, sizeof url, "http://p%d:3128", i);
        setenv(variables[i], url, 1);
        assert_int_equal(open_url(&r, NULL, NULL, &fault), SBX_OK);
        assert_string_equal(((sbxi_proxy_ctx *)r.ctx)->host, i == 5 ? "" : want);
        sbxt_shut(&r);
    }
    setenv("https_proxy", "", 1); /* empty = not there */
    assert_int_equal(open_url(&r, NULL, NULL, &fault), SBX_OK);
    assert_string_equal(((sbxi_proxy_ctx *)r.ctx)->host, "p1");
    sbxt_shut(&r);
    assert_int_equal(open_url(&r, "", NULL, &fault), SBX_OK);
    assert_int_equal(((sbxi_proxy_ctx *)r.ctx)->port, 0);
    sbxt_shut(&r);
    setenv("NO_PROXY", "upper", 1);
    assert_int_equal(open_url(&r, "http://q:1", NULL, &fault), SBX_OK);
    assert_string_equal(((sbxi_proxy_ctx *)r.ctx)->list, "upper");
    sbxt_shut(&r);
    setenv("no_proxy", "lower", 1);
    assert_int_equal(open_url(&r, NULL, NULL, &fault), SBX_OK);
    assert_string_equal(((sbxi_proxy_ctx *)r.ctx)->list, "lower");
    sbxt_shut(&r);
    /* The text names the variable, not its value. */
    setenv("https_proxy", "socks5://u:secret@q:1", 1);
    assert_int_equal(open_url(&r, NULL, NULL, &fault), SBX_ERR_UNSUPPORTED);
    assert_int_equal(strncmp(fault.text, "https_proxy: ", 13), 0);
    assert_null(strstr(fault.text, "secret"));
    sbxt_free(&r);
    /* Without a configuration at all. */
    setenv("https_proxy", "q:1", 1);
    sbxt_open_with(&r, NULL, 1);
    assert_string_equal(((sbxi_proxy_ctx *)r.ctx)->host, "q");
    sbxt_shut(&r);
}

static void test_direct_hosts(void **state)
{
    static const struct {
        const char *list, *host;
        int port;
        bool direct;
    } cases[] = {
        {"", "example.org", 80, false},
        {" , ,,", "example.org", 80, false},
        {"*", "example.org", 80, true},
        {"*", "::1", 80, true},
        {"x *", "10.0.0.1", 80, true},
        {"example.org", "example.org", 80, true},
        {"example.org", "EXAMPLE.ORG.", 80, true},
        {"Example.org.", "a.b.example.org", 80, true},
        {".example.org", "example.org", 80, true},
        {".example.org", "a.example.org", 80, true},
        {"*.example.org", "a.example.org", 80, true},
        {"example.org", "badexample.org", 80, false},
        {"example.org", "example.org.uk", 80, false},
        {"a.example.org", "example.org", 80, false},
        {".", "example.org", 80, false},
        {"*.", "example.org", 80, false},
        {"one,two\tthree four", "two", 80, true},
        {"one,two\tthree four", "three", 80, true},
        {"one,two\tthree four", "four", 80, true},
        {"one,two\tthree four", "five", 80, false},
        {"example.org:8443", "example.org", 8443, true},
        {"example.org:8443", "a.example.org", 8443, true},
        {"example.org:8443", "example.org", 443, false},
        {"example.org:99999", "example.org", 443, false},
        {"10.0.0.1", "10.0.0.1", 80, true},
        {"10.0.0.1", "10.0.0.10", 80, false},
        {"10.0.0.1:80", "10.0.0.1", 80, true},
        {"10.0.0.1:81", "10.0.0.1", 80, false},
        {"0.0.1", "10.0.0.1", 80, false},
        {".1", "10.0.0.1", 80, false},
        {"10.0.0.0/8", "10.255.1.2", 80, true},
        {"10.0.0.0/8", "11.0.0.1", 80, false},
        {"192.168.4.0/22", "192.168.7.255", 80, true},
        {"192.168.4.0/22", "192.168.8.0", 80, false},
        {"10.0.0.1/32", "10.0.0.1", 80, true},
        {"10.0.0.1/31", "10.0.0.2", 80, false},
        {"0.0.0.0/0", "1.2.3.4", 80, true},
        {"0.0.0.0/0", "fd00::1", 80, false},
        {"::/0", "1.2.3.4", 80, true},
        {"10.0.0.0/33", "10.0.0.0", 80, false},
        {"10.0.0.0/", "10.0.0.0", 80, false},
        {"10.0.0.0/8x", "10.0.0.0", 80, false},
        {"10.0.0.0/8", "ten.example.org", 80, false},
        {"::1", "::1", 80, true},
        {"[::1]", "::1", 80, true},
        {"[::1]:80", "0:0:0:0:0:0:0:1", 80, true},
        {"[::1]:81", "::1", 80, false},
        {"::1", "::2", 80, false},
        {"fe80::1", "fe80::1%eth0", 80, true},
        {"fd00::/8", "fdff:1::", 80, true},
        {"fd00::/8", "fe80::1", 80, false},
        {"2001:db8::/33", "2001:db8:7fff::1", 80, true},
        {"2001:db8::/33", "2001:db8:8000::1", 80, false},
        {"127.0.0.1", "::ffff:127.0.0.1", 80, true},
        {"::ffff:10.0.0.0/104", "10.1.2.3", 80, true},
        {"fd00::/129", "fd00::", 80, false},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        if (sbxi_proxy_listed(cases[i].list, sbx_s(cases[i].host), (uint16_t)cases[i].port) != cases[i].direct)
            fail_msg("'%s' and %s:%d", cases[i].list, cases[i].host, cases[i].port);
}

static void test_addresses(void **state)
{
    static const char *const good[] = {"::", "1::", "::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::8", "::1.2.3.4", "1:2:3:4:5:6:1.2.3.4",
                                       "1:2:3:4:5::1.2.3.4", "ABCD:ef01::"};
    static const char *const bad[] = {"", ":", ":::", "1", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7:1.2.3.4",
                                      "1.2.3.4", "::1.2.3", "::1.2.3.256", "::1.2.3.04", "1:2:3:4::5:6:7:8", "::1%1", "1.2.3.4::", "::1.2.3.4:5"};
    unsigned char ip[16], theirs[16];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(sbxi_proxy_v6(sbx_s(good[i]), ip));
        assert_int_equal(inet_pton(AF_INET6, good[i], theirs), 1);
        assert_memory_equal(ip, theirs, 16);
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sbxi_proxy_v6(sbx_s(bad[i]), ip))
            fail_msg("%s", bad[i]);
}

/* ---- requests and answers ---- */

static void test_request(void **state)
{
    static const struct {
        const char *host, *want;
        int port;
    } cases[] = {
        {"api.example.org", "CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\nProxy-Authorization: Basic dTpzZWNyZXQ=\r\n\r\n", 443},
        {"fd00::1", "CONNECT [fd00::1]:80 HTTP/1.1\r\nHost: [fd00::1]:80\r\nProxy-Authorization: Basic dTpzZWNyZXQ=\r\n\r\n", 80},
    };
    sbxt_rig r;
    sbx_fault fault;
    size_t i;
    (void)state;
    for (i = 0; i < 4; i++) {
        rewind_script("HTTP/1.1 200 OK\r\n\r\n");
        script.slow = i >= 2;
        open_well(&r, "u:secret@proxy.test:3128");
        assert_int_equal(connect_all(&r, cases[i & 1].host, (uint16_t)cases[i & 1].port, &fault), SBX_IO_OK);
        assert_string_equal(script.said, cases[i & 1].want);
        assert_string_equal(script.host, "proxy.test");
        assert_int_equal(script.port, 3128);
        assert_false(script.tls);
        assert_int_equal(sbxt_connect_step(&r, 0, cases[i & 1].host, 1, &fault), SBX_IO_OK);
        sbxt_close(&r, 0);
        assert_int_equal(script.closes, 1);
        sbxt_shut(&r);
    }
}

static const char *const yes[] = {
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Fine\r\nContent-Length: 17\r\nTransfer-Encoding: chunked\r\n\r\n",
};

static char long_answer[1200];

/* Whole, and cut at every place, by bytes: the tunnel's first bytes follow. */
static void test_every_split(void **state)
{
    enum { BEHIND = 40 };
    char answer[sizeof long_answer + BEHIND + 1], got[BEHIND + 1];
    size_t k;
    (void)state;
    strcpy(long_answer, "HTTP/1.1 200 OK\r\nX-Long: ");
    memset(long_answer + strlen(long_answer), 'v', 1000);
    strcat(long_answer, "\r\nVia: x\r\n\r\n");
    for (k = 0; k <= sizeof yes / sizeof *yes; k++) {
        const char *head = k == sizeof yes / sizeof *yes ? long_answer : yes[k];
        size_t split, n = strlen(head) + BEHIND;
        snprintf(answer, sizeof answer, "%s%.*s", head, BEHIND, "bytes behind the head are of the stream!");
        for (split = 0; split <= n; split++) {
            sbxt_rig r;
            sbx_fault fault;
            size_t have = 0, m;
            int i;
            rewind_script(answer);
            script.split = split;
            script.slow = split == n;
            open_well(&r, "p:1");
            if (connect_all(&r, "h", 80, &fault) != SBX_IO_OK)
                fail_msg("answer %zu, split %zu: %s", k, split, fault.text ? fault.text : "waits");
            for (i = 0; i < 500 && have < BEHIND; i++) {
                sbx_io io = sbxt_recv(&r, 0, got + have, i % 7 + 1 < (int)(BEHIND - have) ? (size_t)(i % 7 + 1) : BEHIND - have, &m, &fault);
                if (io == SBX_IO_OK)
                    have += m;
                else
                    assert_int_equal(io, SBX_IO_WANT_READ);
            }
            assert_int_equal(have, BEHIND);
            assert_memory_equal(got, answer + n - BEHIND, BEHIND);
            assert_int_equal(sbxt_recv(&r, 0, got, 1, &m, &fault), SBX_IO_WANT_READ);
            script.slow = false;
            script.said_n = 0;
            assert_int_equal(sbxt_send(&r, 0, "up", 2, &m, &fault), SBX_IO_OK);
            assert_string_equal(script.said, "up");
            script.end = SBX_IO_EOF;
            assert_int_equal(sbxt_recv(&r, 0, got, 1, &m, &fault), SBX_IO_EOF);
            sbxt_close(&r, 0);
            sbxt_shut(&r);
        }
    }
}

static void refused(const char *answer, size_t n, sbx_io end, bool slow, const char *url, int sys, const char *word)
{
    sbxt_rig r;
    sbx_fault fault;
    rewind_script(answer);
    script.answer_n = n;
    script.end = end;
    script.slow = slow;
    open_well(&r, url);
    assert_int_equal(connect_all(&r, "target.test", 443, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_CONNECT);
    assert_int_equal(fault.sys, sys);
    if (strncmp(fault.text, "proxy p.test:3128: ", 19) != 0 || !strstr(fault.text, word))
        fail_msg("%s: %s", word, fault.text);
    assert_null(strstr(fault.text, "secret"));
    assert_null(strstr(fault.text, "dTpzZWNyZXQ"));
    assert_int_equal(sbxt_connect_step(&r, 0, "target.test", 443, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_STATE);
    sbxt_close(&r, 0);
    assert_int_equal(script.closes, 1);
    sbxt_shut(&r);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *answer, *word;
        int sys;
    } cases[] = {
        {"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 5\r\n\r\nhello", "refused the user and password", 407},
        {"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"x\", Basic realm=\"y\"\r\n\r\n", "refused the user and password", 407},
        {"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n\r\n", "another authentication than Basic", 407},
        {"HTTP/1.1 403 Filtered\r\n\r\n", "CONNECT target.test:443 was answered 403: it does not allow that; allow CONNECT", 403},
        {"HTTP/1.0 405 No\r\n\r\n", "was answered 405", 405},
        {"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n", "could not reach that host", 502},
        {"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n", "only 2xx opens a tunnel", 302},
        {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "was answered 101", 101},
        {"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP", 0},
        {"HTTP/1.1 200 OK\nVia: x\n\n", "not HTTP", 0},
        {"HTTP/2 200\r\n\r\n", "not HTTP", 0},
        {"\r\nHTTP/1.1 200 OK\r\n\r\n", "not HTTP", 0},
        {"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "not HTTP", 0},
    };
    size_t i;
    (void)state;
    for (i = 0; i < 2 * (sizeof cases / sizeof *cases); i++)
        refused(cases[i / 2].answer, strlen(cases[i / 2].answer), SBX_IO_WANT_READ, i & 1, "http://u:secret@p.test:3128", cases[i / 2].sys, cases[i / 2].word);
    refused(cases[0].answer, strlen(cases[0].answer), SBX_IO_WANT_READ, false, "p.test:3128", 407, "put user and password into");
    for (i = 0; i < strlen(yes[1]); i++) {
        refused(yes[1], i, SBX_IO_EOF, false, "u:secret@p.test:3128", 0, "closed the connection instead of answering");
        refused(yes[1], i, SBX_IO_FAIL, true, "u:secret@p.test:3128", 99, "script says so");
    }
}

/* A head without end is given up; a silent proxy is waited for. */
static void test_endless(void **state)
{
    static char big[20000];
    sbxt_rig r;
    sbx_fault fault;
    size_t at;
    (void)state;
    strcpy(big, "HTTP/1.1 200 OK\r\n");
    for (at = strlen(big); at < sizeof big - 20; at += 8)
        strcpy(big + at, "A: bbb\r\n");
    refused(big, strlen(big), SBX_IO_WANT_READ, false, "p.test:3128", 0, "not HTTP, or breaks its rules");
    assert_true(script.given <= SBXI_PROXY_ANSWER + 256);
    memset(big, 'n', sizeof big - 1);
    refused(big, strlen(big), SBX_IO_WANT_READ, false, "p.test:3128", 0, "not HTTP");
    rewind_script("");
    open_well(&r, "p:1");
    for (at = 0; at < 10; at++)
        assert_int_equal(sbxt_connect_step(&r, 0, "h", 80, &fault), SBX_IO_WANT_READ);
    sbxt_watch(&r, 0, SBX_READABLE);
    assert_int_equal(script.watched, SBX_READABLE);
    sbxt_close(&r, 0);
    assert_int_equal(script.closes, 1);
    sbxt_shut(&r);
}

static void test_targets(void **state)
{
    static const char *const bad[] = {"", "1:2:3", "fe80::1%eth0", "a b", "a\r\nX: y", "a/b", "\xC3\xA4.test", "[::1]", "u@h"};
    sbxt_rig r;
    sbx_fault fault;
    sbx_target to;
    char c;
    size_t i, n;
    (void)state;
    rewind_script(yes[0]);
    open_well(&r, "p:1");
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sbxt_connect_step(&r, 0, bad[i], 80, &fault), SBX_IO_FAIL);
        assert_int_equal(fault.code, SBX_ERR_RESOLVE);
        assert_non_null(fault.text);
        sbxt_close(&r, 0);
    }
    to = sbxt_target("h", 443, 0);
    to.tls = true;
    assert_int_equal(r.t->connect(r.ctx, sbxt_conn(&r, 0), &to, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_UNSUPPORTED);
    sbxt_close(&r, 0);
    assert_int_equal(script.connects, 0);
    assert_int_equal(script.closes, 0);
    assert_int_equal(sbxt_recv(&r, 0, &c, 1, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_STATE);
    assert_int_equal(sbxt_send(&r, 0, &c, 1, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_STATE);
    assert_int_equal(connect_all(&r, "h", 80, &fault), SBX_IO_OK);
    assert_int_equal(sbxt_recv(&r, 0, &c, 0, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_ARGUMENT);
    assert_int_equal(sbxt_send(&r, 0, &c, 0, &n, &fault), SBX_IO_FAIL);
    assert_int_equal(fault.code, SBX_ERR_ARGUMENT);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
    /* A listed host: the lower transport's own, byte for byte. */
    rewind_script("hi");
    assert_int_equal(open_url(&r, "p:1", "direct.test", &fault), SBX_OK);
    assert_int_equal(connect_all(&r, "direct.test", 8080, &fault), SBX_IO_OK);
    assert_string_equal(script.host, "direct.test");
    assert_int_equal(script.port, 8080);
    assert_int_equal(script.said_n, 0);
    assert_int_equal(sbxt_recv(&r, 0, &c, 1, &n, &fault), SBX_IO_OK);
    assert_int_equal(c, 'h');
    assert_int_equal(r.t->mono_ms(r.ctx), 12345);
    assert_int_equal(r.t->conn_handle(r.ctx, sbxt_conn(&r, 0)), -1);
    assert_int_equal(r.t->poll_handle(r.ctx), -1);
    assert_int_equal(r.t->wall_ms(r.ctx), 0);
    assert_null(r.t->wait);
    assert_null(r.t->wake);
    sbxt_close(&r, 0);
    sbxt_shut(&r);
}

/* Every call below fails once: an answer, and what was taken is given back. */
static void test_each_call_fails(void **state)
{
    int k, failed = 0;
    bool hit = true;
    (void)state;
    for (k = 1; hit; k++) {
        sbxt_rig r;
        sbx_fault fault;
        rewind_script(yes[1]);
        script.slow = true;
        script.fail_at = k;
        if (open_url(&r, "u:secret@p.test:3128", "", &fault) != SBX_OK) {
            assert_int_equal(fault.code, SBX_ERR_CONNECT);
            sbxt_free(&r);
            failed++;
            continue;
        }
        if (connect_all(&r, "h", 80, &fault) == SBX_IO_FAIL) {
            assert_true(fault.code == SBX_ERR_CONNECT || fault.code == SBX_ERR_RESOLVE);
            assert_int_equal(fault.sys, 99);
            assert_string_equal(fault.text, "proxy p.test:3128: script says so");
            failed++;
        }
        hit = script.calls >= k;
        sbxt_close(&r, 0);
        assert_int_equal(script.closes, 1);
        sbxt_shut(&r);
        assert_int_equal(script.shuts, 1);
    }
    assert_true(failed == k - 2 && failed > 200);
    print_message("%d calls failed in turn\n", failed);
}

int main(void)
{
    static const sbxt_suite suite = {.t = &proxied};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_long_parts),
        cmocka_unit_test_setup_teardown(test_environment, clear_environment, clear_environment),
        cmocka_unit_test(test_direct_hosts),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_endless),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_each_call_fails),
    };
    static const sbx_proxy_config direct = {.url = ""};
    static const sbxt_suite posix = {.t = &sbx_proxy_posix, .config = &direct};
    const struct CMUnitTest conformance[] = {SBXT_CONFORMANCE};
    int failed;
    sbx_proxy(&proxied, &scripted);
    sbxt_prepare(&suite);
    failed = cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
    sbxt_prepare(&posix);
    return failed + cmocka_run_group_tests_name("proxy, direct", conformance, NULL, NULL);
}
