/* Local ports against a scripted service: drawn schedules of connections, their
   bytes compared at both ends; and what single system calls can do to them. */
#include "forward.h"

enum { PEERS = 24, FORWARDS = 6, IDLE = 20000 };

static const uint16_t ports[FORWARDS] = { 7, 22, 9, 20, 3, 5 };

/* What a run is drawn to be. */
typedef struct world {
    sbx_op tunnel;
    sbx_forward *f[FORWARDS];
    unsigned forwards, told[FORWARDS];
    char folder[32], path[FORWARDS][64];
    bool local, own; /* Unix sockets; a loop of the program's own */
    peer peers[PEERS];
    unsigned through[PEERS];     /* which forward */
    uint64_t number[PEERS];
    unsigned speaks[PEERS], hears[PEERS]; /* chances of a turn, in thousandths */
    int aborts[PEERS];           /* in which of its turns it goes away, -1 = it stays */
    bool disturbed[PEERS];       /* the tunnel was lost under it */
    unsigned opened;
    uint64_t accepted[FORWARDS]; /* connected so far */
    sbx_forward_report report[PEERS];
    bool reported[PEERS];
} world;

static world W;

static void open_world(uint64_t seed)
{
    sbx_tunnel_opts t = { 0 };
    sbx_forward_opts o = { 0 };
    sbx_error e;

    memset(&W, 0, sizeof W);
    memset(&H, 0, sizeof H);
    H.all = HOOK_COUNT;
    kit_new(seed);
    K.d.max_ops = seed % 5 == 1 ? 6 : 64;
    K.s->tunnel_make = seed % 7 * 20000;
    K.s->knobs.recv_max = seed % 4 == 1 ? 300 : 20000;
    K.s->knobs.send_max = seed % 3 == 1 ? 300 : 0;
    K.s->knobs.block = seed % 5 * 50;
    K.s->knobs.delay_ms = K.s->knobs.connect_ms = 20;
    K.s->knobs.odd = 50;
    H.little = seed % 2 ? 4096 : 0;
    kit_open();
    t.max_streams = seed % 3 ? 32 : 1 + (uint32_t)(seed % 4);
    t.window = seed % 6 == 5 ? 1024 : 0;
    K.s->tunnel_extra = 0;
    W.tunnel = sbx_tunnel_open(K.c, &K.box, &t);
    assert_int_not_equal(W.tunnel.slot, 0);
    W.local = seed % 4 != 0;
    W.own = seed % 8 < 4;
    strcpy(W.folder, "/tmp/forward-XXXXXX");
    assert_non_null(mkdtemp(W.folder));
    W.forwards = FORWARDS;
    for (unsigned i = 0; i < FORWARDS; i++) {
        snprintf(W.path[i], sizeof W.path[i], "%s/%u", W.folder, i);
        o.local_host = W.local ? W.path[i] : NULL;
        o.remote_port = ports[i];
        o.max_conns = seed % 5 == 2 ? 1 : 0;
        if (sbx_forward_open(K.c, W.tunnel, &o, &W.f[i], &e))
            fail_msg("%s", e.text);
    }
}

static void close_world(void)
{
    for (unsigned i = 0; i < W.forwards; i++)
        sbx_forward_close(W.f[i]);
    assert_int_equal(rmdir(W.folder), 0); /* the sockets' names are gone */
    sbx_tunnel_close(K.c, W.tunnel);
    sbx_await(K.c, W.tunnel);
    assert_int_equal(H.blocks, 0);
    kit_end();
}

static void begin_peer(unsigned i)
{
    unsigned way = sim_draw(K.s, FORWARDS + 4);
    peer *p = &W.peers[i];

    W.through[i] = way < FORWARDS ? way : 0;
    p->port = ports[W.through[i]];
    p->salt = i * 7;
    p->all = sim_draw(K.s, sim_chance(K.s, 300) ? 200000 : 500);
    W.speaks[i] = sim_chance(K.s, 200) ? 50 : 800;
    W.hears[i] = sim_chance(K.s, 300) ? 20 : 800;
    W.aborts[i] = sim_chance(K.s, 200) ? (int)sim_draw(K.s, 30) : -1;
    peer_open(p, W.f[W.through[i]], W.local ? W.path[W.through[i]] : NULL);
    W.number[i] = ++W.accepted[W.through[i]];
    W.disturbed[i] = K.s->tunnel && K.s->tunnel->end != SIM_OPEN; /* it was lost, and nobody knows yet */
}

/* One turn of a local program; true = something moved. */
static bool move_peer(unsigned i)
{
    peer *p = &W.peers[i];
    bool moved = false;

    if (p->fd < 0)
        return false;
    if (W.aborts[i] >= 0 && W.aborts[i]-- == 0) {
        peer_close(p, sim_chance(K.s, 500));
        W.disturbed[i] = true;
        return true;
    }
    if (sim_chance(K.s, W.speaks[i]))
        moved |= peer_say(p, 1 + sim_draw(K.s, 16384));
    if (sim_chance(K.s, W.hears[i]))
        moved |= peer_hear(p, 1 + sim_draw(K.s, 16384));
    if (p->failed || (p->eof && p->ended)) {
        peer_close(p, false);
        moved = true;
    }
    return moved;
}

static void lose_tunnel(void)
{
    if (!K.s->tunnel)
        return;
    for (unsigned i = 0; i < W.opened; i++)
        W.disturbed[i] |= W.peers[i].fd >= 0 || !W.reported[i];
    sim_conn_end(K.s->tunnel, sim_chance(K.s, 500) ? SIM_RST : SIM_EOF, K.s->now);
}

static bool take_reports(void)
{
    sbx_forward_report r;
    bool any = false;

    for (unsigned k = 0; k < W.forwards; k++)
        while (sbx_forward_next(W.f[k], &r)) {
            unsigned i = 0;

            while (i < W.opened && (W.through[i] != k || W.number[i] != r.number))
                i++;
            assert_true(i < W.opened);
            assert_false(W.reported[i]);
            assert_int_equal(r.missed, 0);
            W.report[i] = r;
            W.reported[i] = any = true;
        }
    return any;
}

static void take_event(const sbx_event *ev)
{
    for (unsigned i = 0; i < W.forwards; i++)
        if (sbx_forward_event(W.f[i], ev))
            return;
    assert_int_equal(ev->op.slot, W.tunnel.slot);
    if (ev->kind == SBX_EV_END)
        fail_msg("seed %llu: the tunnel ended with %s", (unsigned long long)K.s->seed, sbx_code_name(ev->code));
}

static void turn(void)
{
    sbx_event ev;

    if (!W.own) {
        if (sbx_forward_wait(W.f, W.forwards, &ev, 5))
            take_event(&ev);
        return;
    }
    sbx_wait(K.c, 5);
    for (unsigned i = 0; i < W.forwards; i++)
        sbx_forward_step(W.f[i]);
    while (sbx_next(K.c, &ev))
        take_event(&ev);
}

/* What the service made of it. */
static void check_peer(unsigned i)
{
    const peer *p = &W.peers[i];
    const sbx_forward_report *r = &W.report[i];
    size_t all = p->port == 7 ? p->all : p->port == 22 ? (size_t)K.s->tunnel_make : 0;
    char who[80];

    snprintf(who, sizeof who, "seed %llu, connection %u to port %u", (unsigned long long)K.s->seed, i, p->port);
    if (r->code ? !r->text[0] : r->text[0])
        fail_msg("%s: %s with the text '%s'", who, sbx_code_name(r->code), r->text);
    if (r->up > p->said || r->down < p->heard)
        fail_msg("%s: %llu up, %llu down of %zu and %zu", who, (unsigned long long)r->up, (unsigned long long)r->down, p->said, p->heard);
    if (W.disturbed[i])
        return;
    if (p->port == 20 || p->port == 3 || p->port == 5) {
        if (r->code == SBX_OK || p->heard > (p->port == 20 ? 100 : 0))
            fail_msg("%s: %s, %zu bytes", who, sbx_code_name(r->code), p->heard);
        return;
    }
    if (r->code || p->failed || p->heard != all || r->up != p->all || r->down != all)
        fail_msg("%s: %s %s, %zu of %zu bytes came, %llu of %zu went", who, sbx_code_name(r->code), r->text, p->heard, all, (unsigned long long)r->up, p->all);
}

static bool all_over(void)
{
    for (unsigned i = 0; i < W.opened; i++)
        if (W.peers[i].fd >= 0 || !W.reported[i])
            return false;
    return W.opened == PEERS;
}

static void run_seed(uint64_t seed)
{
    unsigned idle = 0, before = descriptors();
    bool loses = seed % 6 == 1;

    open_world(seed);
    while (!all_over()) {
        bool moved = false;

        if (W.opened < PEERS && sim_chance(K.s, 200)) {
            begin_peer(W.opened++);
            moved = true;
        }
        for (unsigned i = 0; i < W.opened; i++)
            moved |= move_peer(i);
        if (loses && sim_chance(K.s, 5))
            lose_tunnel();
        turn();
        moved |= take_reports();
        if (++idle > IDLE)
            fail_msg("seed %llu: nothing moves", (unsigned long long)seed);
        if (moved)
            idle = 0;
        else if (idle > 2000) /* the kernel has clocks of its own */
            usleep(1000);
    }
    for (unsigned i = 0; i < PEERS; i++)
        check_peer(i);
    for (unsigned i = 0; i < FORWARDS; i++)
        assert_int_equal(sbx_forward_conns(W.f[i]), 0);
    close_world();
    assert_int_equal(descriptors(), before);
}

static void test_drawn(void **state)
{
    const char *first = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1, n = many ? strtoull(many, NULL, 10) : 80;

    (void)state;
    for (; n; n--)
        run_seed(seed++);
}

/* Closed in the midst of it all. */
static void test_closed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        unsigned before = descriptors();

        open_world(seed);
        for (unsigned i = 0; i < 3 * seed; i++) {
            if (W.opened < PEERS && i % 3 == 0)
                begin_peer(W.opened++);
            for (unsigned k = 0; k < W.opened; k++)
                move_peer(k);
            turn();
            take_reports();
        }
        close_world();
        for (unsigned i = 0; i < W.opened; i++)
            peer_close(&W.peers[i], false);
        assert_int_equal(descriptors(), before);
    }
}

/* ---- single things ---- */

static void open_one(uint32_t max_streams, uint16_t port)
{
    sbx_tunnel_opts t = { 0 };
    sbx_forward_opts o = { 0 };

    memset(&W, 0, sizeof W);
    memset(&H, 0, sizeof H);
    H.all = HOOK_COUNT;
    kit_start(1);
    t.max_streams = max_streams;
    W.tunnel = sbx_tunnel_open(K.c, &K.box, &t);
    strcpy(W.folder, "/tmp/forward-XXXXXX");
    assert_non_null(mkdtemp(W.folder));
    snprintf(W.path[0], sizeof W.path[0], "%s/s", W.folder);
    o.remote_port = port;
    o.local_host = W.path[0];
    W.local = true;
    W.forwards = 1;
    ASSERT_CODE(sbx_forward_open(K.c, W.tunnel, &o, &W.f[0], NULL), SBX_OK);
}

/* The manual's loop: nothing is asked before there is a reason to. False: there is none. */
static bool reason_turn(void)
{
    struct pollfd p = { sbx_forward_handle(W.f[0]), POLLIN, 0 };
    sbx_event ev;

    if (p.fd < 0) /* poll() over its sockets would tell */
        p.revents = POLLIN;
    else
        assert_true(poll(&p, 1, 0) >= 0);
    if (!p.revents && sbx_forward_deadline(W.f[0]) > K.s->now && sbx_next_deadline(K.c) > K.s->now)
        return false;
    sbx_step(K.c, K.s->now);
    sbx_forward_step(W.f[0]);
    while (sbx_next(K.c, &ev))
        take_event(&ev);
    return true;
}

/* Until this one is over. Time passes as it does where nothing happens. */
static void serve(peer *p, int64_t for_ms)
{
    int64_t until = K.s->now + for_ms;

    while (p->fd >= 0 && K.s->now < until) {
        peer_say(p, 16384);
        peer_hear(p, 16384);
        if (p->failed || (p->eof && p->ended))
            peer_close(p, false);
        reason_turn();
        sbx_wait(K.c, 5);
    }
}

static void new_peer(peer *p, size_t all)
{
    memset(p, 0, sizeof *p);
    p->port = 7;
    p->all = all;
    peer_open(p, W.f[0], W.local ? W.path[0] : NULL);
}

/* What accept cannot give it does not ask for again and again. */
static void test_accept_refused(void **state)
{
    static const int reasons[] = { EMFILE, EPERM, EINVAL, ENOTSUP };

    (void)state;
    for (unsigned i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        sbx_forward_report r;
        peer p;

        open_one(0, 7);
        new_peer(&p, 100);
        H.all = HOOK_ACCEPT;
        H.error[HOOK_ACCEPT] = reasons[i];
        serve(&p, 1000);
        assert_int_equal(p.heard, 0);
        assert_in_range(H.of[HOOK_ACCEPT], 5, 20); /* ten times a second */
        assert_true(sbx_forward_next(W.f[0], &r));
        assert_int_equal(r.number, 0);
        assert_int_equal(r.sys, reasons[i]);
        assert_false(sbx_forward_next(W.f[0], &r)); /* told once */
        H.all = HOOK_COUNT;
        serve(&p, 60000);
        assert_int_equal(p.fd, -1);
        assert_int_equal(p.heard, 100);
        close_world();
    }
}

/* One that is gone before it was accepted is no reason to wait. */
static void test_accept_aborted(void **state)
{
    sbx_forward_report r;
    peer p;

    (void)state;
    open_one(0, 7);
    new_peer(&p, 100);
    H.fail_at = H.calls + 3; /* behind two looks */
    H.error[HOOK_ACCEPT] = ECONNABORTED;
    for (uint64_t at = H.of[HOOK_ACCEPT]; H.of[HOOK_ACCEPT] == at; H.fail_at = H.calls + 1)
        reason_turn();
    serve(&p, 60000);
    assert_int_equal(p.heard, 100);
    assert_true(sbx_forward_next(W.f[0], &r));
    assert_int_equal(r.number, 1);
    assert_int_equal(sbx_forward_conns(W.f[0]), 0);
    close_world();
}

/* The client's operations were all in use, by others than the forward; that they
   are not any more is nothing that its descriptor tells. */
static void test_waits_for_operation(void **state)
{
    sim_script silent = { 0 };
    sbx_op other[64];
    unsigned n = 0;
    peer p;

    (void)state;
    open_one(0, 7);
    new_peer(&p, 100);
    serve(&p, 60000);
    silent.match = "GET /v2";
    silent.times = -1;
    silent.no_answer = true;
    sim_expect(K.s, &silent);
    while (n < 64 && (other[n] = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL)).slot)
        n++;
    while (n < 64 && (other[n] = sbx_tunnel_dial(K.c, W.tunnel, 8, NULL)).slot)
        n++;
    assert_in_range(n, 1, 63);
    new_peer(&p, 100);
    serve(&p, 200);
    assert_int_equal(p.heard, 0);
    for (unsigned i = n; i-- > 0;) {
        sbx_cancel(K.c, other[i]);
        sbx_await(K.c, other[i]);
    }
    serve(&p, 5000); /* well before anything else would stir it */
    assert_int_equal(p.heard, 100);
    close_world();
}

/* Descriptors that come with bytes stand in the way of what is behind them. */
static void test_passed_descriptor(void **state)
{
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    unsigned char byte;
    struct iovec part = { &byte, 1 };
    struct msghdr m;
    struct cmsghdr *head;
    unsigned before = descriptors();
    peer p;

    (void)state;
    open_one(0, 9);
    new_peer(&p, 500);
    memset(&m, 0, sizeof m);
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    head = CMSG_FIRSTHDR(&m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &p.fd, sizeof(int));
    byte = peer_byte(&p, p.said++);
    assert_int_equal(sendmsg(p.fd, &m, MSG_NOSIGNAL), 1);
    assert_true(peer_say(&p, 100));
    for (int i = 0; i < 400; i++) {
        reason_turn();
        sbx_wait(K.c, 5);
    }
    assert_int_equal(K.s->tunnel_heard, 101);
    peer_close(&p, false);
    close_world();
    assert_int_equal(descriptors(), before);
}

/* The service has ended, and that cannot be passed on: one who waits for it must
   not wait for ever. */
static void test_half_not_passed(void **state)
{
    sbx_forward_report r;
    peer p;

    (void)state;
    open_one(0, 22);
    K.s->tunnel_make = 500;
    H.all = HOOK_SHUTDOWN;
    H.error[HOOK_SHUTDOWN] = ENOBUFS;
    new_peer(&p, 500);
    p.port = 22;
    for (int i = 0; i < 400 && !p.eof && !p.failed; i++) {
        peer_hear(&p, 16384);
        reason_turn();
        sbx_wait(K.c, 5);
    }
    assert_true(p.eof || p.failed);
    assert_int_equal(p.heard, 500);
    assert_true(sbx_forward_next(W.f[0], &r));
    assert_int_equal(r.code, SBX_ERR_CONNECTION);
    assert_int_equal(r.sys, ENOBUFS);
    peer_close(&p, false);
    close_world();
}

/* A program that the caller starts must not keep connections open. */
static void test_not_inherited(void **state)
{
    bool before[256];
    peer p;

    (void)state;
    for (int fd = 0; fd < 256; fd++)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    open_one(0, 7);
    new_peer(&p, 100);
    for (int i = 0; i < 40; i++)
        reason_turn(), sbx_wait(K.c, 5);
    assert_int_equal(sbx_forward_conns(W.f[0]), 1);
    for (int fd = 0; fd < 256; fd++)
        assert_true(before[fd] || fcntl(fd, F_GETFD) < 0 || fcntl(fd, F_GETFD) & FD_CLOEXEC);
    serve(&p, 60000);
    close_world();
}

static void test_longest_wait(void **state)
{
    sbx_event ev;

    (void)state;
    open_one(0, 7);
    assert_true(sbx_forward_wait(W.f, 1, &ev, INT64_MAX));
    assert_int_equal(ev.kind, SBX_EV_STARTED);
    close_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_refused), cmocka_unit_test(test_accept_aborted), cmocka_unit_test(test_waits_for_operation),
        cmocka_unit_test(test_passed_descriptor), cmocka_unit_test(test_half_not_passed), cmocka_unit_test(test_not_inherited), cmocka_unit_test(test_longest_wait), cmocka_unit_test(test_drawn), cmocka_unit_test(test_closed),
    };

    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
