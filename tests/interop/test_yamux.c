/* The yamux codec beside github.com/hashicorp/yamux, in both roles. */
#define SANDBOX_IMPLEMENTATION
#include "mux.h"

#include <openssl/evp.h>

#define MIB ((uint64_t)1 << 20)

static uint64_t big_endian(const char *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

/* What the peer's 'S' answers to `first` bytes' rest and n bytes of the pattern. */
static void assert_received(const lane *l, uint64_t n)
{
    unsigned char piece[65536], hash[32];
    EVP_MD_CTX *sha = EVP_MD_CTX_new();

    assert_int_equal(l->got, 8 + sizeof hash);
    assert_int_equal(big_endian(l->tail), n);
    assert_true(EVP_DigestInit_ex(sha, EVP_sha256(), NULL));
    for (uint64_t at = 0; at < n;) {
        size_t k = n - at < sizeof piece ? (size_t)(n - at) : sizeof piece;

        pattern(piece, k, at);
        EVP_DigestUpdate(sha, piece, k);
        at += k;
    }
    EVP_DigestFinal_ex(sha, hash, NULL);
    EVP_MD_CTX_free(sha);
    assert_memory_equal(hash, l->tail + 8, sizeof hash);
}

static lane *ask_generate(mux *m, uint64_t n)
{
    unsigned char first[9] = { 'G' };
    lane *l;

    for (int i = 0; i < 8; i++)
        first[1 + i] = (unsigned char)(n >> (56 - 8 * i));
    l = mux_open(m, first, sizeof first);
    assert_non_null(l);
    l->verify = true;
    return l;
}

static lane *ask_sink(mux *m, char how, uint64_t n)
{
    lane *l = mux_open(m, &how, 1);

    assert_non_null(l);
    l->pattern = n;
    l->ending = true;
    return l;
}

static void finish(mux *m, const lane *l)
{
    while (l->stream && !m->closed && !m->error)
        mux_turn(m);
    assert_null(m->error);
    assert_null(l->stream);
    assert_false(l->reset);
    assert_false(l->mismatch);
}

/* -------------------------------------------------- ours is the client's role */

static void test_many_streams(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    lane *lanes[64];

    (void)state;
    for (unsigned i = 0; i < 64; i++)
        lanes[i] = ask_sink(m, 'S', 1 + i * i * 300);
    for (unsigned i = 0; i < 64; i++) {
        finish(m, lanes[i]);
        assert_received(lanes[i], 1 + i * i * 300);
    }
    assert_true(mux_all_free(m));
    mux_close(m);
    peer_stop(&p);
}

/* Our half ends first, the peer's comes after it, whole. */
static void test_half_close(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    lane *l = mux_open(m, "E", 1), *g;

    (void)state;
    l->verify = l->ending = true;
    l->pattern = 3 * MIB;
    finish(m, l);
    assert_int_equal(l->got, 3 * MIB);
    /* The other way round: the peer ends, and we go on until it was enough. */
    g = ask_generate(m, 1000);
    while (!g->eof && !m->closed && !m->error)
        mux_turn(m);
    assert_int_equal(g->got, 1000);
    g->pattern = 2000;
    g->ending = true;
    finish(m, g);
    assert_int_equal(g->sent, 2000);
    mux_close(m);
    peer_stop(&p);
}

static void test_peer_does_not_read(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    lane *blocked = ask_sink(m, 'H', 4 * MIB), *beside;

    (void)state;
    while (blocked->sent + 1 < SBX_YAMUX_INITIAL)
        mux_turn(m);
    assert_int_equal(blocked->sent + 1, SBX_YAMUX_INITIAL);
    beside = ask_sink(m, 'S', 1000);
    finish(m, beside);
    assert_received(beside, 1000);
    finish(m, blocked);
    assert_received(blocked, 4 * MIB);
    mux_close(m);
    peer_stop(&p);
}

static void test_we_do_not_read(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    lane *l = ask_generate(m, 4 * MIB), *beside;

    (void)state;
    l->still = true;
    while (l->got < SBX_YAMUX_INITIAL)
        mux_turn(m);
    for (int i = 0; i < 20; i++) {
        beside = ask_sink(m, 'S', 1000);
        finish(m, beside);
        assert_received(beside, 1000);
    }
    assert_int_equal(l->got, SBX_YAMUX_INITIAL);
    l->still = false;
    sbx_yamux_consumed(l->stream, SBX_YAMUX_INITIAL);
    l->ending = true;
    finish(m, l);
    assert_int_equal(l->got, 4 * MIB);
    mux_close(m);
    peer_stop(&p);
}

static void test_peer_resets(void **state)
{
    peer p = peer_start("server", "16"); /* accepts none, holds 16 */
    mux *m = mux_connect(p.port, false);

    (void)state;
    for (unsigned i = 0; i < 64; i++)
        assert_non_null(mux_open(m, "E", 1));
    while (m->resets < 48 && !m->closed)
        mux_turn(m);
    assert_int_equal(m->resets, 48);
    for (size_t i = 0; i < m->lane_n; i++)
        if (m->lanes[i].stream)
            mux_drop(m, &m->lanes[i]);
    assert_true(mux_all_free(m));
    mux_close(m);
    peer_stop(&p);
}

static void test_we_reset(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        lane *l = ask_generate(m, 100 * MIB), *after;

        while (l->got < MIB)
            mux_turn(m);
        mux_drop(m, l);
        after = ask_sink(m, 'S', 1000);
        finish(m, after);
        assert_received(after, 1000);
    }
    assert_true(mux_all_free(m));
    mux_close(m);
    peer_stop(&p);
}

static void test_peer_goes_away(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    lane *l = mux_open(m, "A", 1);

    (void)state;
    l->verify = true;
    while (!m->goaways && !m->closed)
        mux_turn(m);
    assert_int_equal(m->goaway_code, SBX_YAMUX_NORMAL);
    assert_null(mux_open(m, "E", 1));
    /* What is open drains. */
    l->pattern = MIB;
    l->ending = true;
    finish(m, l);
    assert_int_equal(l->got, MIB);
    mux_close(m);
    peer_stop(&p);
}

static void test_we_go_away(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    lane *l = mux_open(m, "E", 1);
    unsigned char head[SBX_YAMUX_HEAD];

    (void)state;
    l->verify = l->ending = true;
    l->pattern = MIB;
    while (!l->opened)
        mux_turn(m);
    mux_put(m, head, sbx_yamux_goaway(&m->codec, SBX_YAMUX_NORMAL, head));
    assert_null(mux_open(m, "E", 1));
    finish(m, l);
    assert_int_equal(l->got, MIB);
    mux_close(m);
    peer_stop(&p);
}

static void test_pings_both_ways(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    unsigned char head[SBX_YAMUX_HEAD];

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        mux_put(m, head, sbx_yamux_ping(&m->codec, head));
        while (m->pongs <= i && !m->closed)
            mux_turn(m);
        assert_int_equal(m->pongs, i + 1);
    }
    lane *l = mux_open(m, "P", 1);
    l->ending = true;
    finish(m, l);
    assert_int_equal(l->got, 4);
    assert_memory_equal(l->tail, "pong", 4);
    mux_close(m);
    peer_stop(&p);
}

static void test_gibibyte(void **state)
{
    peer p = peer_start("server", NULL);
    mux *m = mux_connect(p.port, false);
    lane *l = ask_generate(m, 1024 * MIB);
    size_t before;

    (void)state;
    l->ending = true;
    while (l->got < 16 * MIB && !m->closed)
        mux_turn(m);
    before = memory_peak();
    finish(m, l);
    assert_int_equal(l->got, 1024 * MIB);
    l = ask_sink(m, 'S', 1024 * MIB);
    finish(m, l);
    assert_true(memory_peak() - before <= MIB);
    assert_received(l, 1024 * MIB);
    mux_close(m);
    peer_stop(&p);
}

/* -------------------------------------------------- ours is the server's role */

static void serve(const char *scenario)
{
    peer p = peer_start("client", scenario);
    mux *m = mux_connect(p.port, true);

    while (!m->closed && !m->error)
        mux_turn(m);
    if (m->error)
        fail_msg("%s", m->error);
    assert_true(peer_passed(&p));
    mux_close(m);
    peer_stop(&p);
}

#define SCENARIO(name) \
    static void test_serve_##name(void **state) \
    { \
        (void)state; \
        serve(#name); \
    }
SCENARIO(many)
SCENARIO(reset)
SCENARIO(window)
SCENARIO(goaway)
SCENARIO(ping)
SCENARIO(bulk)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_streams), cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_peer_does_not_read), cmocka_unit_test(test_we_do_not_read),
        cmocka_unit_test(test_peer_resets), cmocka_unit_test(test_we_reset),
        cmocka_unit_test(test_peer_goes_away), cmocka_unit_test(test_we_go_away),
        cmocka_unit_test(test_pings_both_ways), cmocka_unit_test(test_gibibyte),
        cmocka_unit_test(test_serve_many), cmocka_unit_test(test_serve_reset),
        cmocka_unit_test(test_serve_window), cmocka_unit_test(test_serve_goaway),
        cmocka_unit_test(test_serve_ping), cmocka_unit_test(test_serve_bulk),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
