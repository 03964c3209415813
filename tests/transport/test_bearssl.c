/* The BearSSL transport over a scripted lower one, beside BearSSL's own server
   in memory: would-block at every byte, a failure of every call below, an end
   at every byte, and what the transport decides itself. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"
#include "sandbox_bearssl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "bearssl_peer.h"

enum { TURNS = 200000, ECHO = 40000 };

static peer_identity right, expired, wildcard, chain, ip;

/* ---- a client of one connection ---- */

typedef struct rig {
    sbx_transport t;
    void *ctx, *conn;
    size_t conn_n;
    sbx_fault fault;
} rig;

static sbx_bearssl_config trusting(void)
{
    sbx_bearssl_config k;

    memset(&k, 0, sizeof k);
    k.ca_file = peer_path("ca", ".pem");
    return k;
}

static sbx_code rig_open(rig *r, const sbx_bearssl_config *config, const sbx_bearssl_options *options)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(sbx_bearssl(&r->t, &peer_transport, options), SBX_OK);
    r->conn_n = SBX_TRANSPORT_ALIGN(r->t.conn_size) + SBX_TRANSPORT_ALIGN(peer_transport.conn_size);
    /* To the byte, so that the sanitizer sees one too many. */
    r->ctx = calloc(1, SBX_TRANSPORT_ALIGN(r->t.ctx_size) + peer_transport.ctx_size + peer_transport.ctx_per_conn);
    r->conn = calloc(1, r->conn_n);
    return sbx_transport_open(&r->t, r->ctx, config, 1, &r->fault);
}

static void rig_free(rig *r)
{
    free(r->ctx);
    free(r->conn);
}

static void rig_shut(rig *r)
{
    r->t.shut(r->ctx);
    assert_int_equal(peer.opens, peer.shuts);
    rig_free(r);
}

static sbx_target target(const char *host, bool tls)
{
    sbx_target to;

    memset(&to, 0, sizeof to);
    to.host = sbx_s(host);
    to.port = 443;
    to.tls = tls;
    return to;
}

static sbx_io rig_connect(rig *r, const char *host)
{
    sbx_target to = target(host, true);
    sbx_io io = SBX_IO_WANT_READ;
    int i;

    memset(&r->fault, 0, sizeof r->fault);
    for (i = 0; i < TURNS && (io == SBX_IO_WANT_READ || io == SBX_IO_WANT_WRITE); i++)
        io = r->t.connect(r->ctx, r->conn, &to, &r->fault);
    assert_true(i < TURNS);
    assert_int_not_equal(io, SBX_IO_EOF);
    return io;
}

static void must_connect(rig *r, const char *host)
{
    if (rig_connect(r, host) != SBX_IO_OK)
        fail_msg("%s: %s (%d)", sbx_code_name(r->fault.code), r->fault.text ? r->fault.text : "", r->fault.sys);
}

static void must_fail(rig *r, const char *host, sbx_code code, const char *word)
{
    assert_int_equal(rig_connect(r, host), SBX_IO_FAIL);
    assert_int_equal(r->fault.code, code);
    if (!r->fault.text || !strstr(r->fault.text, word))
        fail_msg("the text does not say '%s': %s", word, r->fault.text ? r->fault.text : "");
}

static void rig_close(rig *r)
{
    size_t i;
    int closes = peer.closes;

    r->t.close(r->ctx, r->conn);
    assert_int_equal(peer.closes, closes + 1);
    for (i = 0; i < SBX_TRANSPORT_ALIGN(r->t.conn_size); i++)
        assert_int_equal(((char *)r->conn)[i], 0); /* keys and plaintext are gone */
    memset(r->conn, 0, r->conn_n);
}

/* Reads to the end; the last answer comes back. */
static sbx_io rig_read(rig *r, char *p, size_t room, size_t *total)
{
    sbx_io io = SBX_IO_OK;
    int i;

    *total = 0;
    for (i = 0; i < TURNS && io != SBX_IO_EOF && io != SBX_IO_FAIL && *total < room; i++) {
        size_t got = 0;

        io = r->t.recv(r->ctx, r->conn, p + *total, room - *total, &got, &r->fault);
        assert_true(io == SBX_IO_OK ? got > 0 : got == 0);
        *total += got;
    }
    assert_true(i < TURNS);
    return io;
}

/* Sends n bytes and reads them back. */
static sbx_io rig_echo(rig *r, size_t n)
{
    static char in[ECHO];
    size_t sent = 0, got = 0, k, i;
    sbx_io io = SBX_IO_OK;
    char out[ECHO];
    int turns;

    assert_true(n <= ECHO);
    for (k = 0; k < n; k++)
        out[k] = (char)(k * 7 + k / 251);
    for (turns = 0; turns < TURNS && got < n; turns++) {
        if (sent < n) {
            io = r->t.send(r->ctx, r->conn, out + sent, n - sent, &i, &r->fault);
            if (io == SBX_IO_FAIL)
                return io;
            assert_true(io == SBX_IO_OK ? i > 0 : i == 0);
            sent += i;
        }
        io = r->t.recv(r->ctx, r->conn, in + got, n - got, &i, &r->fault);
        if (io == SBX_IO_FAIL || io == SBX_IO_EOF)
            return io;
        got += i;
    }
    assert_int_equal(got, n);
    assert_memory_equal(in, out, n);
    return SBX_IO_OK;
}

/* ---- the tests ---- */

static void test_exchange(void **state)
{
    sbx_bearssl_config k = trusting();
    rig r;

    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        peer_begin(&right);
        peer.echoes = true;
        peer.slow = slow;
        assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
        must_connect(&r, "localhost");
        assert_int_equal(rig_echo(&r, slow ? 5000 : ECHO), SBX_IO_OK);
        assert_false(peer.tls); /* the lower one was asked for plain bytes */
        peer.slow = false;
        rig_close(&r);
        peer_turn();
        assert_true(peer.got_goodbye);
        rig_shut(&r);
    }
}

static void test_plain(void **state)
{
    sbx_bearssl_config k = trusting();
    sbx_target to = target("localhost", false);
    size_t sent = 0;
    rig r;

    (void)state;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    assert_int_equal(r.t.connect(r.ctx, r.conn, &to, &r.fault), SBX_IO_OK);
    assert_int_equal(r.t.send(r.ctx, r.conn, "GET /", 5, &sent, &r.fault), SBX_IO_OK);
    assert_int_equal(sent, 5);
    assert_memory_equal(peer.plain, "GET /", 5);
    rig_close(&r);
    rig_shut(&r);
}

/* All sizes that there are, against a server that honours them. */
static void test_sizes(void **state)
{
    static const uint16_t sizes[] = {512, 1024, 2048, 4096, 16384};
    sbx_bearssl_config k = trusting();
    sbx_bearssl_options o = {0, 0, 0};
    sbx_transport t;
    rig r;

    (void)state;
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++) {
            o.rx_bytes = sizes[i];
            o.tx_bytes = sizes[j];
            o.sessions = 1;
            peer_begin(&right);
            peer.echoes = true;
            assert_int_equal(rig_open(&r, &k, &o), SBX_OK);
            must_connect(&r, "localhost");
            assert_int_equal(rig_echo(&r, 20000), SBX_IO_OK);
            if (i == j || i == 4)
                print_message("           rx_bytes %5d, tx_bytes %5d: %6u bytes a connection\n", sizes[i], sizes[j], (unsigned)r.t.conn_size);
            rig_close(&r);
            rig_shut(&r);
        }
    o.rx_bytes = 8192;
    assert_int_equal(sbx_bearssl(&t, &peer_transport, &o), SBX_ERR_ARGUMENT);
    assert_int_equal(sbx_bearssl(&t, NULL, NULL), SBX_ERR_ARGUMENT);
    assert_int_equal(sbx_bearssl(NULL, &peer_transport, NULL), SBX_ERR_ARGUMENT);
    /* What the manual says. */
    assert_true(sbx_bearssl_posix.conn_size - BR_SSL_BUFSIZE_INPUT - BR_SSL_BUFSIZE_OUTPUT < 7700);
    print_message("           context %u bytes, of which each session %u\n", (unsigned)sbx_bearssl_posix.ctx_size, (unsigned)sizeof(sbxi_bearssl_session));
    assert_true(sbx_bearssl_posix.ctx_size - 8 * sizeof(sbxi_bearssl_session) < 512);
    assert_true(sizeof(sbxi_bearssl_session) <= 144);
}

static void one_run(rig *r, const sbx_bearssl_config *k, bool *ok)
{
    char in[16];
    size_t n;

    *ok = false;
    if (rig_open(r, k, NULL) != SBX_OK) {
        assert_int_equal(peer.opens, peer.shuts);
        rig_free(r);
        return;
    }
    if (rig_connect(r, "localhost") == SBX_IO_OK && rig_echo(r, 300) == SBX_IO_OK) {
        br_ssl_engine_close(&peer.ssl.eng);
        *ok = rig_read(r, in, sizeof in, &n) == SBX_IO_EOF && n == 0;
    }
    rig_close(r);
    rig_shut(r);
}

/* The n-th call below fails, for every n. */
static void test_every_failure(void **state)
{
    sbx_bearssl_config k = trusting();
    int failed = 0, n = 0;
    bool ok = false;
    rig r;

    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        for (n = 1; n < 20000; n += slow ? 7 : 1) {
            peer_begin(&right);
            peer.echoes = true;
            peer.slow = slow;
            peer.fail_at = n;
            one_run(&r, &k, &ok);
            failed += !ok;
            if (peer.calls < n)
                break;
            assert_true(peer.closes <= 1);
            /* A failing goodbye is nobody's trouble; any other call is. */
            if (ok && n + (slow ? 120 : 4) <= peer.calls)
                fail_msg("the failure of call %d of %d was not noticed", n, peer.calls);
        }
        assert_true(ok);
        assert_true(failed > 8);
    }
    print_message("           %d failures, in each of the calls\n", failed);
}

/* The stream ends behind every byte: never taken for the whole. */
static void test_every_end(void **state)
{
    sbx_bearssl_config k = trusting();
    size_t whole = 0, n;
    char in[64];
    sbx_io io;
    rig r;

    (void)state;
    for (size_t cut = 0; cut == 0 || cut < whole; cut++) {
        peer_begin(&right);
        peer.greeting = "all that I have to say";
        peer.says_goodbye = true;
        peer.cut_at = cut;
        peer.cut_is_reset = cut % 3 == 2;
        assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
        io = rig_connect(&r, "localhost");
        n = 0;
        if (io == SBX_IO_OK)
            io = rig_read(&r, in, sizeof in, &n);
        if (cut == 0) {
            whole = peer.said;
            assert_int_equal(io, SBX_IO_EOF);
            assert_int_equal(n, strlen(peer.greeting));
            /* It stays so, and nothing can be sent any more. */
            assert_int_equal(rig_read(&r, in, sizeof in, &n), SBX_IO_EOF);
            assert_int_equal(r.t.send(r.ctx, r.conn, "x", 1, &n, &r.fault), SBX_IO_FAIL);
            assert_int_equal(r.fault.code, SBX_ERR_CONNECTION);
        } else if (io == SBX_IO_EOF) {
            /* A signature can be a byte shorter than in the first run: this was the whole. */
            assert_true(peer.said + 4 > whole);
            assert_null(br_ssl_engine_sendrec_buf(&peer.ssl.eng, &n));
        } else {
            assert_int_equal(io, SBX_IO_FAIL);
            assert_true(r.fault.code == SBX_ERR_TLS || peer.cut_is_reset);
            assert_true(n == 0 || n == strlen(peer.greeting));
        }
        rig_close(&r);
        rig_shut(&r);
    }
    assert_true(whole > 500);
}

static void test_sessions(void **state)
{
    sbx_bearssl_stats stats = {0, 0, 0};
    sbx_bearssl_config k = trusting();
    rig r;

    (void)state;
    k.stats = &stats;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    for (int i = 0; i < 3; i++) {
        must_connect(&r, i == 1 ? "LOCALHOST" : "localhost");
        rig_close(&r);
    }
    assert_int_equal(stats.full, 1);
    assert_int_equal(stats.resumed, 2);
    /* Another name is another session; so is one that is too old. */
    must_connect(&r, "127.0.0.1");
    rig_close(&r);
    assert_int_equal(stats.full, 2);
    peer.mono += SBXI_BEARSSL_SESSION_MS + 1;
    must_connect(&r, "localhost");
    rig_close(&r);
    assert_int_equal(stats.full, 3);
    /* A server that has forgotten them makes a new one, and that is used. */
    br_ssl_session_cache_lru_init(&peer.cache, peer.cache_bytes, sizeof peer.cache_bytes);
    must_connect(&r, "localhost");
    rig_close(&r);
    must_connect(&r, "localhost");
    rig_close(&r);
    assert_int_equal(stats.full, 4);
    assert_int_equal(stats.resumed, 3);
    rig_shut(&r);
    k.no_resume = true;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    for (int i = 0; i < 2; i++) {
        must_connect(&r, "localhost");
        rig_close(&r);
    }
    assert_int_equal(stats.resumed, 3);
    assert_int_equal(stats.full, 6);
    assert_int_equal(stats.failed, 0);
    rig_shut(&r);
}

/* More servers than places: the one that was not used for longest goes. */
static void test_few_sessions(void **state)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1", "localhost", "::1", "127.0.0.1"};
    static const bool resumed[] = {false, false, false, false, true, false};
    sbx_bearssl_stats stats = {0, 0, 0};
    sbx_bearssl_options o = {0, 0, 2};
    sbx_bearssl_config k = trusting();
    uint32_t before;
    rig r;

    (void)state;
    k.stats = &stats;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, &o), SBX_OK);
    for (int i = 0; i < 6; i++) {
        peer.mono++;
        before = stats.resumed;
        must_connect(&r, hosts[i]);
        rig_close(&r);
        assert_int_equal(stats.resumed - before, resumed[i]);
    }
    rig_shut(&r);
}

static void test_pins(void **state)
{
    sbx_bearssl_stats stats = {0, 0, 0};
    sbx_bearssl_config k = trusting();
    sbx_bearssl_pin pins[2];
    char command[900], text[65];
    FILE *f;
    rig r;

    (void)state;
    snprintf(command, sizeof command, "openssl x509 -in '%s' -noout -pubkey | openssl pkey -pubin -outform der | openssl sha256 -r", peer_path("right", ".pem"));
    f = popen(command, "r");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, 64, f), 64);
    pclose(f);
    memset(pins, 0, sizeof pins);
    for (int i = 0; i < 32; i++)
        pins[1].sha256[i] = (unsigned char)(sbxi_bearssl_hex(text[2 * i]) << 4 | sbxi_bearssl_hex(text[2 * i + 1]));
    k.pins = pins;
    k.pins_n = 2;
    k.stats = &stats;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    must_connect(&r, "localhost");
    rig_close(&r);
    rig_shut(&r);
    k.pins_n = 1;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    must_fail(&r, "localhost", SBX_ERR_TLS, "pins");
    rig_close(&r);
    rig_shut(&r);
    assert_int_equal(stats.failed, 1);
}

static int64_t no_wall(void *user)
{
    ++*(int *)user;
    return 0;
}

static bool some_entropy(void *user, void *p, size_t n)
{
    ++*(int *)user;
    memset(p, 0x5a, n);
    return true;
}

static void test_clock_and_entropy(void **state)
{
    sbx_bearssl_config k = trusting();
    int asked = 0;
    char bytes[4];
    rig r;

    (void)state;
    /* Unknown: refused, unless told otherwise. */
    k.wall_ms = no_wall;
    k.user = &asked;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    must_fail(&r, "localhost", SBX_ERR_TLS, "clock");
    assert_int_equal(asked, 1);
    rig_close(&r);
    rig_shut(&r);
    /* Without a clock nothing has expired, however the bytes come. */
    k.no_clock = true;
    k.entropy = some_entropy;
    asked = 0;
    for (int i = 0; i < 3; i++) {
        peer_begin(i == 2 ? &chain : &expired);
        peer.slow = i == 1;
        assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
        must_connect(&r, "localhost");
        rig_close(&r);
        rig_shut(&r);
    }
    assert_int_equal(asked, 3);
    /* With one, it has; and every moment of the certificate's life will do. */
    k = trusting();
    peer_begin(&expired);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    must_fail(&r, "localhost", SBX_ERR_TLS, "has expired");
    rig_close(&r);
    peer.wall -= (int64_t)86400000 * 365 * 30;
    must_fail(&r, "localhost", SBX_ERR_TLS, "not yet valid");
    rig_close(&r);
    /* No entropy: said so. The lower one's is given on otherwise. */
    assert_true(r.t.entropy(r.ctx, bytes, sizeof bytes));
    peer.wall = (int64_t)time(NULL) * 1000;
    peer.fail_at = peer.calls + 2; /* behind connect */
    assert_int_equal(rig_connect(&r, "localhost"), SBX_IO_FAIL);
    assert_int_equal(r.fault.code, SBX_ERR_ENTROPY);
    rig_close(&r);
    rig_shut(&r);
}

static void test_names(void **state)
{
    static const struct {
        const char *host, *ip; /* NULL = no address */
        bool ok;
    } hosts[] = {
        {"localhost", NULL, true}, {"a.b.", NULL, true}, {"", NULL, false}, {".", NULL, false}, {"1.2.3.4", "\1\2\3\4", true},
        {"1.2.3.4.", NULL, true}, {"010.0.0.1", NULL, true}, {"10.0.0.0", "\12\0\0\0", true}, {"1.2.3.256", NULL, true}, {"1.2.3", NULL, true}, {"1.2.3.4.5", NULL, true}, {"1..3.4", NULL, true},
        {"::", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", true}, {"::1", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", true},
        {"1::", "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", true}, {"1:2:3:4:5:6:7:8", "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\10", true},
        {"fe80::1%eth0", "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1", true}, {"::ffff:1.2.3.4", "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4", true},
        {"1:2::7:8", "\0\1\0\2\0\0\0\0\0\0\0\0\0\7\0\10", true}, {"AbCd::", "\xab\xcd\0\0\0\0\0\0\0\0\0\0\0\0\0\0", true},
        {"1:2:3:4:5:6:1.2.3.4", "\0\1\0\2\0\3\0\4\0\5\0\6\1\2\3\4", true}, {"1:2:3:4:5:6:7", NULL, false}, {"1:2:3:4:5:6:7:8:9", NULL, false},
        {":1", NULL, false}, {"1:", NULL, false}, {"1:::2", NULL, false}, {"1::2::3", NULL, false}, {"12345::", NULL, false},
        {"g::", NULL, false}, {":::", NULL, false}, {"::1.2.3", NULL, false}, {"1.2.3.4:1", NULL, false}, {"1:2:3:4:5:6:7::8:9", NULL, false},
    };
    char name[16];

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        sbxi_bearssl_x509 x;

        memset(&x, 0, sizeof x);
        if (sbxi_bearssl_name(&x, sbx_s(hosts[i].host), name, sizeof name) != hosts[i].ok)
            fail_msg("%s", hosts[i].host);
        if (!hosts[i].ok)
            continue;
        assert_int_equal(x.ip_n != 0, hosts[i].ip != NULL);
        if (x.ip_n && memcmp(x.ip, hosts[i].ip, x.ip_n))
            fail_msg("%s", hosts[i].host);
    }
}

static void test_who_it_is(void **state)
{
    static const struct {
        const peer_identity *id;
        const char *host, *word; /* NULL = right */
    } cases[] = {
        {&right, "localhost", NULL}, {&right, "LocalHost.", NULL}, {&right, "127.0.0.1", NULL}, {&right, "::1", NULL},
        {&right, "0:0:0:0:0:0:0:1", NULL}, {&right, "127.0.0.2", "127.0.0.2"}, {&right, "::2", "::2"}, {&right, "localhos", "localhost"},
        {&wildcard, "a.wild.test", NULL}, {&wildcard, "wild.test", "*.wild.test"}, {&wildcard, "b.a.wild.test", "*.wild.test"},
        {&wildcard, "127.0.0.1", "*.wild.test"}, {&ip, "127.0.0.1", NULL}, {&ip, "127.0.0.3", "127.0.0.1"},
    };
    sbx_bearssl_config k = trusting();
    rig r;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        peer_begin(cases[i].id);
        assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
        if (cases[i].word)
            must_fail(&r, cases[i].host, SBX_ERR_TLS, cases[i].word);
        else
            must_connect(&r, cases[i].host);
        rig_close(&r);
        rig_shut(&r);
    }
}

/* A chain without end, each link in order: no more than 16 are worked at. */
static void test_long_chain(void **state)
{
    static br_x509_certificate certs[40];
    static peer_identity endless;
    sbx_bearssl_config k = trusting();
    unsigned char root[1][PEER_DER];
    size_t root_n;
    rig r;

    (void)state;
    assert_int_equal(peer_read_pem(peer_path("ca", ".pem"), root, &root_n, 1), 1);
    endless = right;
    br_skey_decoder_init(&endless.key);
    br_skey_decoder_push(&endless.key, endless.key_der, endless.key_n);
    certs[0] = right.chain[0];
    for (int i = 1; i < 40; i++) {
        certs[i].data = root[0]; /* its own issuer */
        certs[i].data_len = root_n;
    }
    k.ca_file = peer_path("other_ca", ".pem");
    for (int n = 16; n <= 40; n += 24) {
        peer_begin(&endless);
        peer.chain = certs;
        peer.chain_n = (size_t)n;
        assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
        must_fail(&r, "localhost", SBX_ERR_TLS, n == 16 ? "is unknown here" : "more than 16");
        rig_close(&r);
        rig_shut(&r);
    }
}

static void read_certificate(sbxi_bearssl_x509 *x, const unsigned char *p, size_t n, size_t split)
{
    memset(x, 0, sizeof *x);
    br_sha256_init(&x->key);
    x->now_s = 1;
    x->ip_n = 4;
    memcpy(x->ip, "\x7f\0\0\1", 4);
    sbxi_bearssl_der_push(x, p, split);
    sbxi_bearssl_der_push(x, p + split, n - split);
}

/* The reader of certificates: the same at every split, and unharmed by any. */
static void test_reader(void **state)
{
    const unsigned char *p = right.der[0];
    size_t n = right.chain[0].data_len;
    sbxi_bearssl_x509 x;
    unsigned char *copy = (unsigned char *)malloc(n);
    unsigned seed = 1;

    (void)state;
    for (size_t split = 0; split <= n; split++) {
        read_certificate(&x, p, n, split);
        assert_false(x.der.bad);
        assert_true(x.ip_found);
        assert_true(x.too_early); /* in 1970 */
        assert_string_equal(x.issuer, "sandbox.h test CA");
        assert_string_equal(x.names, "localhost, 127.0.0.1");
    }
    for (int i = 0; i < 20000; i++) {
        size_t end = n;

        memcpy(copy, p, n);
        for (unsigned k = 0; k <= (unsigned)i % 3; k++) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % n] = (unsigned char)seed;
        }
        if (i % 5 == 0)
            end = (seed >> 4) % n;
        read_certificate(&x, copy, end, end / 2);
        assert_true(strlen(x.names) < sizeof x.names && strlen(x.issuer) < sizeof x.issuer);
        assert_true(x.der.depth < SBXI_BEARSSL_DEPTH);
    }
    free(copy);
}

/* A record that cannot go out is not reported as sent, and goes out once. */
static void test_blocked(void **state)
{
    sbx_bearssl_config k = trusting();
    char in[8];
    size_t n, heard;
    rig r;

    (void)state;
    peer_begin(&right);
    peer.echoes = true;
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    must_connect(&r, "localhost");
    peer.blocked = true;
    heard = peer.heard;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r.t.send(r.ctx, r.conn, "ping", 4, &n, &r.fault), SBX_IO_WANT_WRITE);
        assert_int_equal(n, 0);
    }
    peer.blocked = false;
    assert_int_equal(r.t.recv(r.ctx, r.conn, in, sizeof in, &n, &r.fault), SBX_IO_WANT_READ);
    assert_int_equal(peer.heard, heard);
    assert_int_equal(r.t.send(r.ctx, r.conn, "ping", 4, &n, &r.fault), SBX_IO_OK);
    assert_int_equal(n, 4);
    assert_int_equal(rig_read(&r, in, 4, &n), SBX_IO_OK);
    assert_memory_equal(in, "ping", 4);
    /* A byte at a time out of one record. */
    assert_int_equal(r.t.send(r.ctx, r.conn, "ping", 4, &n, &r.fault), SBX_IO_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(r.t.recv(r.ctx, r.conn, in, 1, &n, &r.fault), SBX_IO_OK);
        assert_int_equal(in[0], "ping"[i]);
    }
    assert_int_equal(r.t.recv(r.ctx, r.conn, in, 1, &n, &r.fault), SBX_IO_WANT_READ);
    rig_close(&r);
    rig_shut(&r);
}

/* Renegotiation is declined; while that cannot go out, recv says what it waits for. */
static void test_renegotiation(void **state)
{
    sbx_bearssl_config k = trusting();
    char in[8];
    size_t n, heard;
    rig r;

    (void)state;
    peer_begin(&right);
    peer.echoes = true;
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    must_connect(&r, "localhost");
    br_ssl_engine_renegotiate(&peer.ssl.eng);
    peer.blocked = true;
    heard = peer.heard;
    assert_int_equal(r.t.recv(r.ctx, r.conn, in, sizeof in, &n, &r.fault), SBX_IO_WANT_WRITE);
    assert_int_equal(r.t.recv(r.ctx, r.conn, in, sizeof in, &n, &r.fault), SBX_IO_WANT_WRITE);
    r.t.watch(r.ctx, r.conn, SBX_READABLE | SBX_WRITABLE);
    assert_int_equal(peer.watched, SBX_READABLE | SBX_WRITABLE);
    peer.blocked = false;
    /* This server takes no for a reason to hang up. */
    assert_int_equal(r.t.recv(r.ctx, r.conn, in, sizeof in, &n, &r.fault), SBX_IO_FAIL);
    assert_int_equal(r.fault.code, SBX_ERR_TLS);
    assert_true(peer.heard > heard);
    rig_close(&r);
    rig_shut(&r);
}

static void test_configuration(void **state)
{
    static const struct {
        unsigned min_version;
        size_t pins_n, anchors_n;
        const char *ca_file, *ca_dir, *word;
    } wrong[] = {
        {BR_TLS12 + 1, 0, 0, NULL, NULL, "min_version"}, {BR_SSL30, 0, 0, NULL, NULL, "min_version"}, {0, 1, 0, NULL, NULL, "pins"},
        {0, 0, 1, NULL, NULL, "anchors"}, {0, 0, 0, "/nonexistent/ca.pem", NULL, "/nonexistent/ca.pem"},
        {0, 0, 0, NULL, "/nonexistent", "ca_dir"}, {0, 0, 0, "/dev/null", NULL, "/dev/null"}, {0, 0, 0, "tests/transport", NULL, "ca_file"},
        {0, 0, 0, "Makefile", NULL, "Makefile"},
    };
    static const sbx_bearssl_pin pin;
    static const br_x509_trust_anchor anchor;
    const size_t n = sizeof wrong / sizeof wrong[0];
    rig r;

    (void)state;
    for (size_t i = 0; i < n + 2; i++) {
        sbx_bearssl_config k;

        memset(&k, 0, sizeof k);
        if (i >= n) { /* a list that is there, and empty: not "all are welcome" */
            k.pins = i == n ? &pin : NULL;
            k.anchors = i == n ? NULL : &anchor;
            peer_begin(&right);
            assert_int_equal(rig_open(&r, &k, NULL), SBX_ERR_ARGUMENT);
            assert_non_null(strstr(r.fault.text, "without a number"));
            rig_free(&r);
            continue;
        }
        k.min_version = wrong[i].min_version;
        k.pins_n = wrong[i].pins_n;
        k.anchors_n = wrong[i].anchors_n;
        k.ca_file = wrong[i].ca_file;
        k.ca_dir = wrong[i].ca_dir;
        peer_begin(&right);
        assert_int_equal(rig_open(&r, &k, NULL), SBX_ERR_ARGUMENT);
        assert_int_equal(r.fault.code, SBX_ERR_ARGUMENT);
        if (!strstr(r.fault.text, wrong[i].word))
            fail_msg("the text does not say '%s': %s", wrong[i].word, r.fault.text);
        assert_int_equal(peer.opens, peer.shuts);
        rig_free(&r);
    }
}

typedef struct anchor_list {
    br_x509_trust_anchor a[8];
    size_t n;
} anchor_list;

static bool keep_all(void *user, const br_x509_trust_anchor *a)
{
    anchor_list *l = (anchor_list *)user;

    return l->n < 8 && sbxi_bearssl_copy_anchor(&l->a[l->n++], a);
}

/* Anchors that the program has: no file, no memory. */
static void test_anchors(void **state)
{
    anchor_list list = {.n = 0};
    sbx_bearssl_config k;
    rig r;

    (void)state;
    memset(&k, 0, sizeof k);
    assert_int_equal(sbx_bearssl_pem(peer_path("ca", ".pem"), keep_all, &list), SBX_OK);
    k.anchors = list.a;
    k.anchors_n = list.n;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    assert_null(((sbxi_bearssl_ctx *)r.ctx)->owned);
    must_connect(&r, "localhost");
    rig_close(&r);
    rig_shut(&r);
    while (list.n)
        free(list.a[--list.n].dn.data);
    /* The system's own do not know the test's CA. */
    k.anchors_n = 0;
    k.anchors = NULL;
    peer_begin(&right);
    assert_int_equal(rig_open(&r, &k, NULL), SBX_OK);
    must_fail(&r, "localhost", SBX_ERR_TLS, "ca_file");
    rig_close(&r);
    rig_shut(&r);
}

static int begin(void **state)
{
    if (peer_make_certificates(state))
        return -1;
    peer_identify(&right, "right");
    peer_identify(&expired, "expired");
    peer_identify(&wildcard, "wildcard");
    peer_identify(&chain, "chain");
    peer_identify(&ip, "ip");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_every_failure),
        cmocka_unit_test(test_every_end),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_few_sessions),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_clock_and_entropy),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_who_it_is),
        cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_anchors),
    };
    return cmocka_run_group_tests_name("bearssl", tests, begin, peer_drop_certificates);
}
