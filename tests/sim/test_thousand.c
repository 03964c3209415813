/* A thousand commands on one client with few buffers, over connections that
   break anywhere: every byte of every stream exactly once and in order, or a
   gap of exactly the size of what the server's ring had lost. */
#include "kit.h"

#define MOST 1000

typedef struct job {
    sim_plan plan;
    char name[24];
    sbx_op op;
    uint64_t at[2], lost;
    int exit_code;
    bool started, ended;
    unsigned reconnected;
} job;

static job jobs[MOST];

static void plan_job(unsigned i, uint32_t ring)
{
    sim *s = K.s;
    job *j = &jobs[i];

    memset(j, 0, sizeof *j);
    snprintf(j->name, sizeof j->name, "job %u", i);
    j->plan.command = j->name;
    for (unsigned k = 0; k < 2; k++) {
        uint64_t from = sim_draw(s, 500000);
        size_t n = sim_draw(s, 10) == 0 ? 0 : i % 97 == 0 ? 200000 + sim_draw(s, 200000) : 1 + sim_draw(s, i % 10 ? 3000 : 20000);

        while ((sim_pattern()[from] & 0xC0) == 0x80)
            from++;
        j->plan.from[k] = from;
        j->plan.n[k] = n ? sim_pattern_cut(from, n) : 0;
    }
    j->plan.chunk = i % 97 == 0 ? 200000 : 1 + sim_draw(s, i % 3 ? 600 : 9000);
    j->plan.pieces = 1 + sim_draw(s, 12);
    j->plan.every_ms = sim_draw(s, 3000);
    j->plan.ring = ring;
    j->plan.exit_code = (int)sim_draw(s, 400) - 200;
    sim_add_plan(s, &j->plan);
}

static void take(const sbx_event *ev)
{
    job *j = (job *)ev->user;
    unsigned k = (unsigned)ev->stream - 1;

    switch (ev->kind) {
    case SBX_EV_STARTED:
        assert_false(j->started);
        j->started = true;
        break;
    case SBX_EV_STDOUT:
    case SBX_EV_STDERR:
        assert_int_equal(ev->stream, ev->kind == SBX_EV_STDOUT ? 1 : 2);
        assert_true(j->started && ev->data.n);
        if (ev->offset != j->at[k])
            fail_msg("seed %llu, %s: offset %llu instead of %llu", (unsigned long long)K.s->seed, j->name, (unsigned long long)ev->offset, (unsigned long long)j->at[k]);
        assert_true(j->at[k] + ev->data.n <= j->plan.n[k]);
        if (memcmp(ev->data.p, sim_pattern() + j->plan.from[k] + j->at[k], ev->data.n) != 0)
            fail_msg("seed %llu, %s: other bytes at %llu", (unsigned long long)K.s->seed, j->name, (unsigned long long)j->at[k]);
        j->at[k] += ev->data.n;
        break;
    case SBX_EV_GAP:
        assert_int_equal(ev->offset, j->at[k]);
        assert_true(ev->lost > 0 && j->plan.ring);
        j->at[k] += ev->lost;
        j->lost += ev->lost;
        break;
    case SBX_EV_RECONNECTED: j->reconnected++; break;
    case SBX_EV_RETRYING: break;
    case SBX_EV_END:
        if (ev->code != SBX_OK) {
            sbx_error e = kit_error(ev->op);

            fail_msg("seed %llu, %s: %s %s, attempts %u", (unsigned long long)K.s->seed, j->name, sbx_code_name(ev->code), e.text, e.attempts);
        }
        assert_false(j->ended);
        j->ended = true;
        j->exit_code = ev->exit_code;
        break;
    default: fail_msg("event %d", (int)ev->kind);
    }
}

static void knobs(sim_knobs *k)
{
    k->recv_max = 6000;
    k->send_max = 900;
    k->block = 100;
    k->again = 2;
    k->connect_ms = 40;
    k->delay_ms = 80;
    k->drop = 30;
    k->drop_open = 40;
    k->odd = 60;
}

static uint64_t run_many(uint64_t seed, unsigned count, uint32_t ring, bool small, uint32_t buffers)
{
    sbx_run_opts o = { 0 };
    unsigned ended = 0;
    uint64_t lost = 0;
    sbx_usage u;
    sbx_event ev;

    kit_new(seed);
    knobs(&K.s->knobs);
    if (small) {
        K.s->knobs.recv_max = 3;
        K.s->knobs.send_max = 5;
    }
    K.d.max_ops = MOST;
    K.d.max_links = MOST;
    K.d.max_requests = MOST;
    K.d.request_bytes = 512;
    K.d.buffers = buffers;
    K.d.rx_bytes = 4096;
    /* With buffers to spare small messages are seen whole. */
    K.s->knobs.whole = buffers > 2 * count ? 4096 : 1;
    K.d.tx_bytes = 1024;
    kit_open();
    for (unsigned i = 0; i < count; i++) {
        plan_job(i, ring);
        o.call.user = &jobs[i];
        jobs[i].op = sbx_command(K.c, &K.box, sbx_s(jobs[i].name), &o);
        assert_int_not_equal(jobs[i].op.slot, 0);
    }
    while (ended < count) {
        while (sbx_next(K.c, &ev)) {
            take(&ev);
            ended += ev.kind == SBX_EV_END;
        }
        assert_true(ended == count || sbx_wait(K.c, -1));
    }
    for (unsigned i = 0; i < count; i++) {
        const job *j = &jobs[i];

        assert_int_equal(j->at[0], j->plan.n[0]);
        assert_int_equal(j->at[1], j->plan.n[1]);
        assert_int_equal(j->exit_code, j->plan.exit_code);
        lost += j->lost;
    }
    sbx_get_usage(K.c, &u);
    assert_true(u.rx_high <= buffers && u.tx_high <= buffers);
    assert_true(u.reconnects > count / 20);
    kit_end();
    return lost;
}

static void test_thousand(void **state)
{
    (void)state;
    assert_int_equal(run_many(1, MOST, 0, false, 6), 0);
}

static void test_seeds(void **state)
{
    (void)state;
    for (uint64_t seed = 2; seed < 12; seed++)
        assert_int_equal(run_many(seed, 60, 0, false, seed % 2 ? 4 : 200), 0);
}

static void test_few_bytes_a_call(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 23; seed++)
        assert_int_equal(run_many(seed, 12, 0, true, 100), 0);
}

static void test_rings_overrun(void **state)
{
    uint64_t lost = 0;

    (void)state;
    for (uint64_t seed = 30; seed < 36; seed++)
        lost += run_many(seed, 60, 1000, false, seed % 2 ? 4 : 200);
    assert_true(lost > 0);
}

/* Collected by sbx_run and awaited one by one, while the others go on. */
static void collect(uint64_t seed)
{
    enum { COUNT = 40, ROOM = 400000 };
    static sbx_result results[COUNT];
    static char *out[COUNT], *err[COUNT];
    unsigned order[COUNT];

    kit_new(seed);
    knobs(&K.s->knobs);
    K.d.max_requests = COUNT;
    K.d.buffers = 3;
    K.d.rx_bytes = 1024;
    K.s->knobs.whole = 1;
    K.d.tx_bytes = 1024;
    kit_open();
    for (unsigned i = 0; i < COUNT; i++) {
        sbx_run_opts o = { 0 };

        plan_job(i, 0);
        if (i % 2) {
            o.alloc = true;
        } else {
            out[i] = (char *)malloc(ROOM);
            err[i] = (char *)malloc(ROOM);
            o.out.p = out[i];
            o.err.p = err[i];
            o.out.n = o.err.n = ROOM;
        }
        memset(&results[i], 0x77, sizeof results[i]);
        jobs[i].op = sbx_run(K.c, &K.box, sbx_s(jobs[i].name), &o, &results[i]);
        order[i] = i;
    }
    for (unsigned i = COUNT; i-- > 1;) {
        unsigned j = sim_draw(K.s, i + 1), t = order[i];

        order[i] = order[j];
        order[j] = t;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        const job *j = &jobs[order[i]];
        sbx_result *r = &results[order[i]];
        const char *o, *e;

        ASSERT_CODE(sbx_await(K.c, j->op), SBX_OK);
        o = order[i] % 2 ? r->out_p : out[order[i]];
        e = order[i] % 2 ? r->err_p : err[order[i]];
        assert_int_equal(r->exit_code, j->plan.exit_code);
        assert_int_equal(r->out_total, j->plan.n[0]);
        assert_int_equal(r->err_total, j->plan.n[1]);
        assert_int_equal(r->out_n, j->plan.n[0]);
        assert_int_equal(r->err_n, j->plan.n[1]);
        assert_false(r->out_cut || r->err_cut || r->gap);
        assert_int_not_equal(r->pid, 0);
        assert_int_equal(strlen(r->command_id), 36);
        if (r->out_n)
            assert_memory_equal(o, sim_pattern() + j->plan.from[0], r->out_n);
        if (r->err_n)
            assert_memory_equal(e, sim_pattern() + j->plan.from[1], r->err_n);
        if (order[i] % 2) {
            sbx_free(K.c, r->out_p);
            sbx_free(K.c, r->err_p);
        } else {
            free(out[order[i]]);
            free(err[order[i]]);
        }
    }
    kit_end();
}

static void test_collect(void **state)
{
    (void)state;
    for (uint64_t seed = 40; seed < 44; seed++)
        collect(seed);
}

/* Waiting for one takes nothing from the others, and is not stopped by theirs. */
static void test_waiting_for_one(void **state)
{
    enum { COUNT = 30 };

    (void)state;
    for (uint64_t seed = 50; seed < 54; seed++) {
        kit_new(seed);
        knobs(&K.s->knobs);
        K.d.max_requests = COUNT;
        K.d.buffers = 2;
        K.d.ws_connect_budget_ms = SBX_FOREVER; /* the others wait long for a buffer */
        K.d.rx_bytes = 512;
        K.s->knobs.whole = 1;
        K.d.tx_bytes = 1024;
        kit_open();
        for (unsigned i = 0; i < COUNT; i++) {
            sbx_run_opts o = { 0 };

            plan_job(i, 0);
            o.call.user = &jobs[i];
            jobs[i].op = sbx_command(K.c, &K.box, sbx_s(jobs[i].name), &o);
        }
        for (unsigned i = COUNT; i-- > 0;) {
            sbx_event ev;

            while (sbx_next_of(K.c, &jobs[i].op, &ev)) {
                assert_ptr_equal(ev.user, &jobs[i]);
                take(&ev);
            }
            assert_true(jobs[i].ended);
            assert_int_equal(jobs[i].at[0], jobs[i].plan.n[0]);
            assert_int_equal(jobs[i].at[1], jobs[i].plan.n[1]);
            assert_int_equal(jobs[i].exit_code, jobs[i].plan.exit_code);
        }
        kit_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_bytes_a_call), cmocka_unit_test(test_seeds), cmocka_unit_test(test_rings_overrun),
        cmocka_unit_test(test_collect), cmocka_unit_test(test_waiting_for_one), cmocka_unit_test(test_thousand),
    };

    return cmocka_run_group_tests_name("a thousand commands", tests, NULL, NULL);
}
