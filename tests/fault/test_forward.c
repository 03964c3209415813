/* A local port whose n-th system call fails, for every n, in every way that the
   call has. Whatever fails: nothing hangs, leaks or is left open, at most one
   connection suffers, and what suffered says so. */
#include "../sim/forward.h"

enum { PEERS = 5, ALL = 3000, TURNS = 4000 };

typedef struct session {
    sbx_code opened;
    sbx_error err;
    peer peers[PEERS];
    sbx_forward_report reports[16];
    unsigned n, whole; /* reports; peers that had all */
} session;

static session S;

/* Nothing is left; the other side is gone; a signal came. */
static const int none_left[HOOK_COUNT] = { ENOMEM, EAI_MEMORY, EMFILE, ENOMEM, ENOBUFS, ENOBUFS, EADDRINUSE, EADDRINUSE, ENOBUFS, EMFILE, ENOSPC, ENOMEM, EMFILE, ENOMEM, ENOBUFS, ENOBUFS };
static const int gone[HOOK_COUNT] = { [HOOK_ACCEPT] = ECONNABORTED, [HOOK_RECV] = ECONNRESET, [HOOK_SEND] = EPIPE, [HOOK_SHUTDOWN] = ENOTCONN };
static const int signals[HOOK_COUNT] = { [HOOK_WAIT] = EINTR, [HOOK_ACCEPT] = EINTR, [HOOK_RECV] = EINTR, [HOOK_SEND] = EINTR };

static void turn(sbx_forward *f, bool own)
{
    sbx_event ev;

    if (!own) {
        if (sbx_forward_wait(&f, 1, &ev, 5))
            assert_int_not_equal(ev.kind, SBX_EV_END);
    } else {
        sbx_wait(K.c, 5);
        sbx_forward_step(f);
        while (sbx_next(K.c, &ev))
            assert_true(sbx_forward_event(f, &ev) || ev.kind != SBX_EV_END);
    }
    while (S.n < 16 && sbx_forward_next(f, &S.reports[S.n]))
        S.n++;
}

static bool move(peer *p)
{
    if (p->fd < 0)
        return false;
    peer_say(p, 700);
    peer_hear(p, 900);
    if (p->failed || (p->eof && (p->ended || p->heard < ALL)))
        peer_close(p, false);
    return p->fd >= 0;
}

/* Some connections at a time, each all of its bytes there and back. */
static void talk(sbx_forward *f, const char *path, bool own, unsigned turns)
{
    bool open = true;

    for (unsigned i = 0, began = 0; open || began < PEERS; i++) {
        if (i == turns)
            break;
        if (began < PEERS && i % 20 < 2) {
            S.peers[began].port = 7;
            S.peers[began].all = ALL;
            S.peers[began].salt = began;
            peer_open(&S.peers[began++], f, path);
        }
        open = false;
        for (unsigned k = 0; k < began; k++)
            open |= move(&S.peers[k]);
        turn(f, own);
    }
    for (int i = 0; i < 40; i++) /* the reports of the last ones */
        turn(f, own);
    for (unsigned i = 0; i < PEERS; i++) {
        S.whole += S.peers[i].heard == ALL && S.peers[i].fd < 0;
        if (turns == TURNS && S.peers[i].fd >= 0)
            fail_msg("call %llu (%d): connection %u hangs, %zu of %zu bytes", (unsigned long long)H.fail_at, (int)H.failed, i, S.peers[i].heard, S.peers[i].all);
        peer_close(&S.peers[i], false);
    }
}

/* H says what fails. `turns` less than TURNS: it need not get anywhere. */
static void run_session(const int *errors, bool local, bool own, unsigned turns)
{
    char folder[] = "/tmp/forward-XXXXXX", path[64];
    unsigned before = descriptors();
    sbx_forward_opts o = { 0 };
    sbx_forward *f;
    sbx_op tunnel;

    memset(&S, 0, sizeof S);
    for (unsigned i = 0; i < PEERS; i++)
        S.peers[i].fd = -1;
    memcpy(H.error, errors, sizeof H.error);
    kit_start(1);
    tunnel = sbx_tunnel_open(K.c, &K.box, NULL);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    o.remote_port = 7;
    o.local_host = local ? path : NULL;
    S.opened = sbx_forward_open(K.c, tunnel, &o, &f, &S.err);
    if (S.opened == SBX_OK)
        talk(f, local ? path : NULL, own, turns);
    else
        assert_null(f);
    sbx_forward_close(f);
    assert_int_equal(rmdir(folder), 0);
    ASSERT_CODE(sbx_tunnel_close(K.c, tunnel), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, tunnel), SBX_OK);
    assert_int_equal(H.blocks, 0);
    kit_end();
    assert_int_equal(descriptors(), before);
}

static void fail_at(uint64_t n, hook all)
{
    memset(&H, 0, sizeof H);
    H.fail_at = n;
    H.all = all;
    H.failed = HOOK_COUNT;
}

static void check_refused(void)
{
    bool memory = H.failed == HOOK_MALLOC || H.failed == HOOK_GETADDRINFO;

    assert_int_equal(S.opened, memory ? SBX_ERR_MEMORY : SBX_ERR_CONNECT);
    assert_int_equal(S.err.code, S.opened);
    assert_int_equal(S.err.sys, memory ? 0 : H.sys);
    assert_string_not_equal(S.err.field, "");
    assert_string_not_equal(S.err.text, "");
}

static void check_served(const int *errors)
{
    unsigned good = 0, bad = 0, refused = 0;

    for (unsigned i = 0; i < S.n; i++) {
        const sbx_forward_report *r = &S.reports[i];

        if (r->code == SBX_OK) {
            assert_int_equal(r->up, ALL);
            assert_int_equal(r->down, ALL);
            good++;
            continue;
        }
        assert_int_equal(r->sys, H.sys);
        assert_string_not_equal(r->text, "");
        refused += r->number == 0;
        bad += r->number != 0;
    }
    if (good > S.whole || S.whole - good > bad || bad > 1 || refused > 1 || (H.failed == HOOK_RECV && H.sys != EINTR && bad != 1))
        fail_msg("call %llu (%d, errno %d): %u whole; reports: %u good, %u bad, %u refused", (unsigned long long)H.fail_at, (int)H.failed, H.sys, S.whole, good, bad, refused);
    if (errors == signals || H.failed == HOOK_COUNT || H.failed == HOOK_ACCEPT || H.failed == HOOK_WAIT)
        assert_int_equal(S.whole, PEERS);
    assert_in_range(S.whole, PEERS - 1, PEERS);
    assert_true(bad + refused > 0 || S.whole == PEERS);
}

static void test_one_call(void **state)
{
    static const int *const ways[] = { none_left, gone, signals };

    (void)state;
    for (unsigned way = 0; way < 3; way++)
        for (unsigned kind = 0; kind < 4; kind++)
            for (uint64_t n = 1;; n++) {
                fail_at(n, HOOK_COUNT);
                run_session(ways[way], kind & 1, kind & 2, TURNS);
                if (S.opened)
                    check_refused();
                else
                    check_served(ways[way]);
                if (H.calls < n)
                    break;
                assert_true(n < 20000);
            }
}

/* Every call of a kind fails, from the start on, or once it has begun. */
static void test_all_calls(void **state)
{
    (void)state;
    for (unsigned all = 0; all < HOOK_COUNT; all++)
        for (unsigned kind = 0; kind < 4; kind++) {
            fail_at(0, (hook)all);
            run_session(none_left, kind & 1, kind & 2, 200);
            if (S.opened)
                check_refused();
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_call), cmocka_unit_test(test_all_calls) };

    return cmocka_run_group_tests_name("forward faults", tests, NULL, NULL);
}
