#define _GNU_SOURCE 1
#include "cases.h"
#include "server.h"

#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60000, HASTE_MS = 200, WORDS = 4 };

static const tls_rig *rig;
static char dir[256]; /* certificates, made for this run */

/* Names below .test are this machine. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    size_t n = host ? strlen(host) : 0;

    if (!real)
        *(void **)(void *)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(n > 5 && strcmp(host + n - 5, ".test") == 0 ? "127.0.0.1" : host, service, hints, out);
}

/* ---- a server, a client and a call ---- */

static const char *path(const char *name, const char *end)
{
    static char paths[4][512];
    static unsigned at;
    char *p = paths[at++ % 4];

    snprintf(p, sizeof paths[0], "%s/%s%s", dir, name, end);
    return p;
}

static tls_wish trusting(const char *ca)
{
    tls_wish wish = { .ca_file = ca ? path(ca, ".pem") : NULL };

    return wish;
}

static sbx_code open_code(const sbx_client_desc *more, const char *host, unsigned port, const tls_wish *wish, sbx_client **c, sbx_error *e)
{
    sbx_client_desc d = more ? *more : (sbx_client_desc){ 0 };
    char endpoint[128];

    snprintf(endpoint, sizeof endpoint, "https://%s:%u/x", host, port);
    if (!d.transport)
        d.transport = rig->transport;
    d.transport_config = rig->config(wish);
    d.endpoint = endpoint;
    d.api_key = "secret-key-of-the-tests";
    if (!d.max_retries)
        d.max_retries = SBX_NONE;
    if (!d.connect_ms)
        d.connect_ms = PATIENCE_MS;
    d.timeout_ms = PATIENCE_MS;
    return sbx_open(&d, c, e);
}

static sbx_client *open_as(const sbx_client_desc *more, const char *host, unsigned port, const tls_wish *wish)
{
    sbx_client *c;
    sbx_error e;

    if (open_code(more, host, port, wish, &c, &e) != SBX_OK)
        fail_msg("open: %s: %s", sbx_code_name(e.code), e.text);
    return c;
}

static sbx_client *open_client(const char *host, unsigned port, const tls_wish *wish)
{
    return open_as(NULL, host, port, wish);
}

static void must(sbx_client *c, sbx_op op)
{
    sbx_error e;

    if (sbx_await(c, op) == SBX_OK)
        return;
    sbx_error_of(c, op, &e);
    fail_msg("%s: %s: %s (sys %d)", rig->name, sbx_code_name(e.code), e.text, e.sys);
}

static sbx_box named(void)
{
    sbx_box box;

    assert_true(sbx_box_named(&box, sbx_s("n"), sbx_s("")));
    return box;
}

/* What the server says of the connection. */
static const char *status(sbx_client *c)
{
    static sbx_status_info info;
    sbx_box box = named();

    must(c, sbx_get_status(c, &box, NULL, &info));
    assert_int_equal(info.status, SBX_STATUS_READY);
    return info.status_message;
}

/* One of the alternatives "a|b", whatever the case. */
static bool says(const char *text, const char *alternatives)
{
    char word[64];

    for (const char *at = alternatives;; at++) {
        size_t n = strcspn(at, "|");

        snprintf(word, sizeof word, "%.*s", (int)n, at);
        if (strcasestr(text, word))
            return true;
        at += n;
        if (!*at)
            return false;
    }
}

static void must_say(const char *text, const char *const *words)
{
    for (int i = 0; i < WORDS && words[i]; i++)
        if (!says(text, words[i]))
            fail_msg("%s: the text does not say '%s': %s", rig->name, words[i], text);
    assert_null(strstr(text, "secret"));
}

/* ---- one request to a server, and what comes of it ---- */

typedef struct tls_case {
    const char *name;
    tls_server_desc server;
    const char *host;  /* asked for; NULL = localhost */
    const char *ca;    /* trusted; NULL = the system's own */
    const char *client; /* certificate to show */
    sbx_code code;
    const char *words[WORDS]; /* of the server's message or of the error: each must be there, a|b = one of them */
    unsigned only;
    int connect_ms;
} tls_case;

enum { TLS13 = 1, NO_TLS13 = 2, CLIENT_CERTS = 4, RENEGOTIATES = 8, REFUSES = 16 };

#define UNKNOWN_CA { "unknown|not trusted|untrusted", "ca_file" }
#define WRONG_NAME(host) { "name|address", host, "certificate" }

static const tls_case cases[] = {
    /* certificates that are right */
    { "by name", { .cert = "right" }, .ca = "ca", .words = { "full, sni localhost, alpn http/1.1" } },
    { "by address, which is no name to announce", { .cert = "right" }, .host = "127.0.0.1", .ca = "ca", .words = { "sni -,", "alpn http/1.1" } },
    { "address alone", { .cert = "ip" }, .host = "127.0.0.1", .ca = "ca" },
    { "RSA 2048", { .cert = "rsa" }, .ca = "ca" },
    { "P-384", { .cert = "p384" }, .ca = "ca" },
    { "wildcard", { .cert = "wildcard" }, .host = "a.wild.test", .ca = "ca", .words = { "sni a.wild.test" } },
    { "intermediate sent", { .cert = "chain" }, .ca = "ca" },
    { "TLS 1.2", { .cert = "right", .max = 12 }, .ca = "ca", .words = { "TLSv1.2 full" } },
    { "TLS 1.2, RSA", { .cert = "rsa", .max = 12 }, .ca = "ca", .words = { "TLSv1.2 full" } },
    { "TLS 1.3", { .cert = "right", .min = 13 }, .ca = "ca", .words = { "TLSv1.3 full" }, .only = TLS13 },

    /* certificates that are not */
    { "expired", { .cert = "expired" }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "expired", "clock|renew" } },
    { "not yet valid", { .cert = "future" }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "not yet valid", "clock" } },
    { "another name", { .cert = "wrong_name" }, .ca = "ca", .code = SBX_ERR_TLS, .words = WRONG_NAME("localhost") },
    { "another address", { .cert = "ip_wrong" }, .host = "127.0.0.1", .ca = "ca", .code = SBX_ERR_TLS, .words = WRONG_NAME("127.0.0.1") },
    { "an address written as a name", { .cert = "ip_as_name" }, .host = "127.0.0.1", .ca = "ca", .code = SBX_ERR_TLS, .words = WRONG_NAME("127.0.0.1") },
    { "names only, asked for an address", { .cert = "wildcard" }, .host = "127.0.0.1", .ca = "ca", .code = SBX_ERR_TLS, .words = WRONG_NAME("127.0.0.1") },
    { "wildcard, too deep", { .cert = "wildcard" }, .host = "b.a.wild.test", .ca = "ca", .code = SBX_ERR_TLS, .words = WRONG_NAME("b.a.wild.test") },
    { "wildcard, not deep enough", { .cert = "wildcard" }, .host = "wild.test", .ca = "ca", .code = SBX_ERR_TLS, .words = WRONG_NAME("wild.test") },
    { "self-signed", { .cert = "self_signed" }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "self-signed|unknown|not trusted", "ca_file" } },
    { "unknown CA", { .cert = "unknown_ca" }, .ca = "ca", .code = SBX_ERR_TLS, .words = UNKNOWN_CA },
    { "unknown CA, the system's own", { .cert = "right" }, .code = SBX_ERR_TLS, .words = UNKNOWN_CA },
    { "known CA, unknown here", { .cert = "right" }, .ca = "other_ca", .code = SBX_ERR_TLS, .words = UNKNOWN_CA },
    { "intermediate missing", { .cert = "no_intermediate" }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "intermediate", "ca_file" } },

    /* client certificates */
    { "client certificate shown, TLS 1.2", { .cert = "right", .client_ca = "ca", .max = 12 }, .ca = "ca", .client = "client", .words = { "client client.test" }, .only = CLIENT_CERTS },
    { "client certificate shown, TLS 1.3", { .cert = "right", .client_ca = "ca" }, .ca = "ca", .client = "client", .words = { "client client.test" }, .only = CLIENT_CERTS },
    { "client certificate not shown, TLS 1.2", { .cert = "right", .client_ca = "ca", .max = 12 }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "client certificate" } },
    { "client certificate not shown, TLS 1.3", { .cert = "right", .client_ca = "ca" }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "client certificate" } },
    { "client certificate of another CA", { .cert = "right", .client_ca = "ca" }, .ca = "ca", .client = "client_unknown", .code = SBX_ERR_TLS, .words = { "client certificate|certificate of ours" }, .only = CLIENT_CERTS },

    /* servers that speak otherwise */
    { "TLS 1.3 only", { .cert = "right", .min = 13 }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "1.2|1.3" }, .only = NO_TLS13 },
    { "TLS 1.1 only", { .cert = "rsa", .min = 11, .max = 11 }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "version", "1.2" } },
    { "TLS 1.0 only", { .cert = "rsa", .min = 10, .max = 10 }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "version", "1.2" } },
    { "no TLS", { .cert = "right", .act = TLS_NO_TLS }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "does not speak TLS|no TLS|not TLS", "http" } },
    { "garbage", { .cert = "right", .act = TLS_GARBAGE }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "TLS" } },
    { "HelloRequests without end", { .cert = "right", .act = TLS_HELLO_FLOOD }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "handshake", "no end|longer than" } },
    { "hangs up in the handshake", { .cert = "right", .act = TLS_HANGS_UP }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "ended|closed", "handshake" } },
    { "resets in the handshake", { .cert = "right", .act = TLS_RESETS }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "reset|ended|closed|lost", "handshake" } },
    { "never answers the handshake", { .cert = "right", .act = TLS_SILENT }, .ca = "ca", .code = SBX_ERR_DEADLINE, .connect_ms = HASTE_MS },
    { "records of one byte, TLS 1.2", { .cert = "chain", .tiny = true, .max = 12 }, .ca = "ca", .words = { "TLSv1.2 full" } },
    { "records of one byte, TLS 1.3", { .cert = "chain", .tiny = true }, .ca = "ca", .words = { "TLSv1.3 full" }, .only = TLS13 },
    { "renegotiation, accepted", { .cert = "right", .act = TLS_RENEGOTIATES, .max = 12 }, .ca = "ca", .words = { "renegotiated" }, .only = RENEGOTIATES },
    { "renegotiation, refused", { .cert = "right", .act = TLS_RENEGOTIATES, .max = 12 }, .ca = "ca", .code = SBX_ERR_TLS, .words = { "TLS" }, .only = REFUSES },
    { "ends without close_notify behind the answer", { .cert = "right", .act = TLS_NO_NOTIFY }, .ca = "ca", .words = { "full" } },
};

static bool applies(const tls_case *k)
{
    return !((k->code && rig->only_right) || (k->only & TLS13 && !rig->tls13) || (k->only & NO_TLS13 && rig->tls13) ||
             (k->only & CLIENT_CERTS && !rig->client_certs) ||
             (k->only & RENEGOTIATES && !rig->renegotiates) || (k->only & REFUSES && rig->renegotiates));
}

static void one_request(void **state)
{
    const tls_case *k = *state;
    /* What is wrong for good is tried once, however often it may be. */
    bool for_good = k->code == SBX_ERR_TLS && !k->server.act && !k->server.client_ca;
    sbx_client_desc more = { .connect_ms = k->connect_ms, .max_retries = for_good ? 3 : SBX_NONE };
    const char *host = k->host ? k->host : "localhost";
    tls_wish wish = trusting(k->ca);
    tls_server_desc desc = k->server;
    sbx_status_info info;
    sbx_box box = named();
    tls_server server;
    sbx_client *c;
    sbx_error e;
    sbx_op op;

    desc.dir = dir;
    server = tls_start(&desc);
    if (k->client) {
        wish.cert = path(k->client, ".pem");
        wish.key = path(k->client, ".key");
    }
    if (open_code(&more, host, server.port, &wish, &c, &e) != SBX_OK)
        fail_msg("open: %s: %s", sbx_code_name(e.code), e.text);
    op = sbx_get_status(c, &box, NULL, &info);
    sbx_await(c, op);
    sbx_error_of(c, op, &e);
    sbx_close(c);
    tls_stop(&server);
    print_message("           %s\n", e.code ? e.text : info.status_message);
    if (e.code != k->code)
        fail_msg("%s: %s instead of %s: %s", rig->name, sbx_code_name(e.code), sbx_code_name(k->code), e.code ? e.text : info.status_message);
    must_say(e.code ? e.text : info.status_message, k->words);
    if (e.code == SBX_ERR_TLS)
        assert_int_equal(e.layer, SBX_LAYER_TRANSPORT);
    if (for_good)
        assert_int_equal(e.attempts, 1);
}

/* ---- more than one request ---- */

static tls_server start(tls_server_desc desc)
{
    desc.dir = dir;
    return tls_start(&desc);
}

static void ca_directory(void **state)
{
    tls_server server = start((tls_server_desc){ .cert = "right" });
    tls_wish wish = { .ca_dir = path("cas", "") };
    sbx_client *c;

    (void)state;
    assert_int_equal(mkdir(wish.ca_dir, 0700), 0);
    assert_true(tls_hashed(path("other_ca", ".pem"), wish.ca_dir));
    assert_true(tls_hashed(path("ca", ".pem"), wish.ca_dir));
    c = open_client("localhost", server.port, &wish);
    assert_non_null(strstr(status(c), "full"));
    sbx_close(c);
    tls_stop(&server);
}

/* Fails at once, and names the file. */
static void no_such_ca(void **state)
{
    static const char *const words[WORDS] = { "ca_file|missing.pem" };
    tls_wish wish = trusting("missing");
    sbx_client *c = NULL;
    sbx_error e;

    (void)state;
    if (open_code(NULL, "localhost", 1, &wish, &c, &e) == SBX_OK) {
        sbx_box box = named();
        sbx_op op = sbx_get_status(c, &box, NULL, NULL);

        sbx_await(c, op);
        sbx_error_of(c, op, &e);
        sbx_close(c);
    }
    print_message("           %s\n", e.text);
    assert_int_not_equal(e.code, SBX_OK);
    must_say(e.text, words);
}

/* Nor is a file taken that has no certificate in it. */
static void no_ca_in_it(void **state)
{
    static const char *const words[WORDS] = { "ca_file", "PEM|certificate" };
    tls_wish wish = { .ca_file = path("right", ".key") };
    sbx_client *c = NULL;
    sbx_error e;

    (void)state;
    assert_int_equal(open_code(NULL, "localhost", 1, &wish, &c, &e), SBX_ERR_ARGUMENT);
    print_message("           %s\n", e.text);
    must_say(e.text, words);
}

/* ---- what only some can ---- */

/* Every certificate is as good as another; TLS is spoken all the same. */
static void insecure(void **state)
{
    static const char *const certs[] = { "self_signed", "expired", "wrong_name", "unknown_ca" };
    tls_wish wish = { .insecure = true };

    (void)state;
    if (!rig->insecure)
        skip();
    for (size_t i = 0; i < sizeof certs / sizeof *certs; i++) {
        tls_server server = start((tls_server_desc){ .cert = certs[i] });
        sbx_client *c = open_client("localhost", server.port, &wish);

        assert_non_null(strstr(status(c), "TLSv1"));
        sbx_close(c);
        tls_stop(&server);
    }
}

typedef struct proxied {
    const char *proxy_cert, *proxy_ca, *cert, *ca;
    sbx_code code;
    const char *words[WORDS];
    bool insecure;
} proxied;

/* A proxy to which TLS is spoken, and TLS through it: each has its own CAs. */
static void https_proxy(void **state)
{
    static const proxied ways[] = {
        { "right", NULL, "right", "ca", SBX_OK, { "full" }, false },
        { "right", "ca", "unknown_ca", "other_ca", SBX_OK, { "full" }, false },
        { "unknown_ca", "other_ca", "right", "ca", SBX_OK, { "full" }, false },
        { "right", "other_ca", "right", "ca", SBX_ERR_TLS, { "proxy", "proxy_ca_file" }, false },
        { "right", "other_ca", "right", "ca", SBX_ERR_TLS, { "proxy", "proxy_ca_file" }, true },
        { "wrong_name", "ca", "right", "ca", SBX_ERR_TLS, { "proxy|name" }, false },
        { "right", "ca", "right", "other_ca", SBX_ERR_TLS, UNKNOWN_CA, false },
        { "right", "ca", "wrong_name", "ca", SBX_ERR_TLS, WRONG_NAME("localhost"), false },
    };

    (void)state;
    if (!rig->proxies)
        skip();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const proxied *w = &ways[i];
        tls_server proxy = start((tls_server_desc){ .cert = w->proxy_cert, .act = TLS_PROXY });
        tls_server server = start((tls_server_desc){ .cert = w->cert });
        tls_wish wish = { .ca_file = path(w->ca, ".pem"), .proxy_ca = w->proxy_ca ? path(w->proxy_ca, ".pem") : NULL, .insecure = w->insecure };
        sbx_status_info info = { 0 };
        sbx_box box = named();
        sbx_client *c;
        sbx_error e;
        sbx_op op;
        char url[64];

        snprintf(url, sizeof url, "https://localhost:%u", proxy.port);
        wish.proxy = url;
        c = open_client("localhost", server.port, &wish);
        op = sbx_get_status(c, &box, NULL, &info);
        sbx_await(c, op);
        sbx_error_of(c, op, &e);
        print_message("           %s\n", e.code ? e.text : info.status_message);
        assert_int_equal(e.code, w->code);
        must_say(e.code ? e.text : info.status_message, w->words);
        if (e.code)
            assert_int_equal(e.attempts, 1);
        sbx_close(c);
        tls_stop(&server);
        tls_stop(&proxy);
    }
}

/* ---- connections that last ---- */

/* Requests of one client share a connection. */
static void keep_alive(void **state)
{
    tls_server server = start((tls_server_desc){ .cert = "right" });
    tls_wish wish = trusting("ca");
    sbx_client *c = open_client("localhost", server.port, &wish);

    (void)state;
    for (int i = 0; i < 20; i++)
        assert_non_null(strstr(status(c), "1 full 0 resumed"));
    sbx_close(c);
    tls_stop(&server);
}

static void resumes(tls_server_desc desc, const char *version)
{
    tls_server server = start(desc);
    tls_wish wish = trusting("ca");
    sbx_client *c = open_client("localhost", server.port, &wish);
    const char *text;

    text = status(c);
    assert_non_null(strstr(text, version));
    assert_non_null(strstr(text, "1 full 0 resumed"));
    for (int i = 0; i < 8; i++)
        text = status(c);
    print_message("           %s\n", text);
    assert_non_null(strstr(text, "1 full 8 resumed"));
    sbx_close(c);
    /* Another client begins anew. */
    c = open_client("localhost", server.port, &wish);
    assert_non_null(strstr(status(c), "2 full 8 resumed"));
    sbx_close(c);
    tls_stop(&server);
}

static void resumed_by_id(void **state)
{
    (void)state;
    resumes((tls_server_desc){ .cert = "right", .act = TLS_ONE_ANSWER, .max = 12, .no_tickets = true }, "TLSv1.2");
}

static void resumed_by_ticket(void **state)
{
    (void)state;
    if (!rig->tickets)
        skip();
    resumes((tls_server_desc){ .cert = "right", .act = TLS_ONE_ANSWER, .max = 12 }, "TLSv1.2");
    if (rig->tls13)
        resumes((tls_server_desc){ .cert = "right", .act = TLS_ONE_ANSWER, .min = 13 }, "TLSv1.3");
}

/* A session is not taken to a server of another name. */
static void not_resumed_elsewhere(void **state)
{
    tls_server server = start((tls_server_desc){ .cert = "wildcard", .act = TLS_ONE_ANSWER, .max = 12, .no_tickets = true });
    tls_wish wish = trusting("ca");
    sbx_client *c = open_client("a.wild.test", server.port, &wish);
    char bytes[16];
    sbx_read_opts o = { .out = { bytes, sizeof bytes } };
    sbx_box other;
    char url[128];

    (void)state;
    assert_non_null(strstr(status(c), "1 full 0 resumed"));
    snprintf(url, sizeof url, "https://b.wild.test:%u/d", server.port);
    assert_true(sbx_box_named(&other, sbx_s("n"), sbx_s(url)));
    must(c, sbx_read(c, &other, sbx_s("f"), &o, NULL));
    assert_non_null(strstr(status(c), "2 full 1 resumed"));
    sbx_close(c);
    tls_stop(&server);
}

/* A connection that ended without close_notify while it lay idle is no one's
   trouble: the next request opens another. */
static void quiet_end_of_idle(void **state)
{
    tls_server server = start((tls_server_desc){ .cert = "right", .act = TLS_NO_NOTIFY, .no_tickets = true, .max = 12 });
    tls_wish wish = trusting("ca");
    sbx_client *c = open_client("localhost", server.port, &wish);

    (void)state;
    for (int i = 0; i < 5; i++)
        status(c);
    sbx_close(c);
    tls_stop(&server);
}

/* ---- messages without data ---- */

static int barren_most; /* bytes that one recv took in beside those it gave */

static sbx_io watched_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    int before = 0, after = 0, fd = (int)rig->transport->conn_handle(ctx, conn);
    sbx_io r;

    ioctl(fd, FIONREAD, &before);
    r = rig->transport->recv(ctx, conn, p, room, got, fault);
    if (ioctl(fd, FIONREAD, &after) == 0 && before - after - (int)*got > barren_most)
        barren_most = before - after - (int)*got;
    return r;
}

/* A server may send as many key updates as it likes: a step takes in some of
   them, and what stands behind them all still comes. */
static void key_update_flood(void **state)
{
    tls_server server;
    tls_wish wish = trusting("ca");
    sbx_transport watched = *rig->transport;
    sbx_client *c;

    (void)state;
    if (!rig->tls13)
        skip();
    server = start((tls_server_desc){ .cert = "right", .act = TLS_FLOODS, .min = 13 });
    barren_most = 0;
    watched.recv = watched_recv;
    c = open_as(&(sbx_client_desc){ .transport = &watched }, "localhost", server.port, &wish);
    for (int i = 0; i < 3; i++)
        assert_non_null(strstr(status(c), "TLSv1.3"));
    sbx_close(c);
    tls_stop(&server);
    print_message("           %d bytes at most\n", barren_most);
    assert_in_range(barren_most, 1, TLS_FLOOD * 4);
}

/* ---- files, whose end may be the stream's ---- */

static sbx_error read_file(tls_server_desc desc, sbx_read_result *result)
{
    static char bytes[TLS_FILE_BYTES];
    tls_server server = start(desc);
    tls_wish wish = trusting("ca");
    sbx_client *c = open_client("localhost", server.port, &wish);
    sbx_read_opts o = { .out = { bytes, sizeof bytes }, .no_resume = true };
    sbx_box box;
    sbx_error e;
    sbx_op op;
    char url[128];

    memset(result, 0, sizeof *result);
    snprintf(url, sizeof url, "https://localhost:%u/d", server.port);
    assert_true(sbx_box_named(&box, sbx_s("n"), sbx_s(url)));
    op = sbx_read(c, &box, sbx_s("f"), &o, result);
    sbx_await(c, op);
    sbx_error_of(c, op, &e);
    print_message("           %s: %s\n", sbx_code_name(e.code), e.text);
    sbx_close(c);
    tls_stop(&server);
    return e;
}

static void file_whole(const tls_server_desc *desc)
{
    sbx_read_result result;
    sbx_error e = read_file(*desc, &result);

    assert_int_equal(e.code, SBX_OK);
    assert_int_equal(result.n, TLS_FILE_BYTES);
}

static void file_ends_with_notify(void **state)
{
    (void)state;
    file_whole(&(tls_server_desc){ .cert = "right", .act = TLS_ONE_ANSWER, .no_length = true });
}

/* Its length says that it is whole. */
static void file_with_length_no_notify(void **state)
{
    (void)state;
    file_whole(&(tls_server_desc){ .cert = "right", .act = TLS_NO_NOTIFY });
}

static void file_tiny_records(void **state)
{
    (void)state;
    file_whole(&(tls_server_desc){ .cert = "right", .act = TLS_ONE_ANSWER, .tiny = true });
}

/* Each for all versions that both speak. */
static sbx_error read_cut(tls_server_desc desc, int version)
{
    sbx_read_result result;

    desc.cert = "right";
    desc.min = desc.max = version;
    return read_file(desc, &result);
}

/* Whoever cut the wire could have cut it anywhere: only TLS can tell. */
static void file_cut_at_its_end(void **state)
{
    static const char *const words[WORDS] = { "close_notify|truncated" };

    (void)state;
    for (int version = 12; version <= (rig->tls13 ? 13 : 12); version++) {
        sbx_error e = read_cut((tls_server_desc){ .act = TLS_NO_NOTIFY, .no_length = true }, version);

        assert_int_equal(e.code, SBX_ERR_TLS);
        must_say(e.text, words);
    }
}

/* Here its length tells too. */
static void file_cut_short(void **state)
{
    (void)state;
    for (int version = 12; version <= (rig->tls13 ? 13 : 12); version++) {
        sbx_error e = read_cut((tls_server_desc){ .act = TLS_HALF_ANSWER }, version);

        assert_true(e.code == SBX_ERR_TLS || e.code == SBX_ERR_CONNECTION);
        e = read_cut((tls_server_desc){ .act = TLS_HALF_NOTIFY }, version);
        assert_int_equal(e.code, SBX_ERR_CONNECTION);
    }
}

/* ---- the list ---- */

static int begin(void **state)
{
    (void)state;
    return tls_certs(dir, sizeof dir) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    tls_certs_remove(dir);
    return 0;
}

int tls_main(const tls_rig *r)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(ca_directory),
        cmocka_unit_test(no_such_ca),
        cmocka_unit_test(no_ca_in_it),
        cmocka_unit_test(insecure),
        cmocka_unit_test(https_proxy),
        cmocka_unit_test(keep_alive),
        cmocka_unit_test(resumed_by_id),
        cmocka_unit_test(resumed_by_ticket),
        cmocka_unit_test(not_resumed_elsewhere),
        cmocka_unit_test(quiet_end_of_idle),
        cmocka_unit_test(key_update_flood),
        cmocka_unit_test(file_ends_with_notify),
        cmocka_unit_test(file_with_length_no_notify),
        cmocka_unit_test(file_tiny_records),
        cmocka_unit_test(file_cut_at_its_end),
        cmocka_unit_test(file_cut_short),
    };
    enum { CASES = sizeof cases / sizeof *cases, OTHERS = sizeof others / sizeof *others };
    static struct CMUnitTest tests[CASES + OTHERS];
    size_t n = 0;

    rig = r;
    for (size_t i = 0; i < CASES; i++)
        if (applies(&cases[i]))
            tests[n++] = (struct CMUnitTest){ cases[i].name, one_request, NULL, NULL, (void *)(uintptr_t)&cases[i] };
    for (size_t i = 0; i < OTHERS; i++)
        if (!rig->only_right || others[i].test_func == keep_alive || others[i].test_func == file_tiny_records || others[i].test_func == file_cut_short)
            tests[n++] = others[i];
    return _cmocka_run_group_tests(r->name, tests, n, begin, finish);
}
