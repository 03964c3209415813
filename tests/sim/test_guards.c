/* What holds when buffers, slots or time run out, or a peer does not play
   along: no busy loop, no deadline prolonged, no key left behind. */
#include "script.h"

static sbx_op with_input(const char *text)
{
    sbx_run_opts o = { 0 };
    sbx_event ev;
    sbx_op op;

    o.stdin_open = true;
    op = sbx_command(K.c, &K.box, sbx_s(text), &o);
    do {
        assert_true(sbx_next_of(K.c, &op, &ev));
    } while (ev.kind != SBX_EV_STARTED);
    return op;
}

static sim_conn *conn_of(unsigned i)
{
    assert_true(i < K.s->command_n && K.s->commands[i]->conn);
    return K.s->commands[i]->conn;
}

static void two_commands(void)
{
    static const char *const names[] = { "a", "b" };

    for (unsigned i = 0; i < 2; i++) {
        sim_plan p = { 0 };

        p.command = names[i];
        p.until_kill = true;
        sim_add_plan(K.s, &p);
    }
}

static unsigned writable_events(unsigned turns)
{
    unsigned n = 0;
    sbx_event ev;

    while (turns--) {
        sbx_step(K.c, K.s->now);
        while (sbx_next(K.c, &ev))
            n += ev.kind == SBX_EV_WRITABLE;
    }
    return n;
}

static void cancel_all(const sbx_op *ops, unsigned n)
{
    sbx_event ev;

    for (unsigned i = 0; i < n; i++)
        sbx_cancel(K.c, ops[i]);
    while (sbx_next(K.c, &ev)) {
    }
}

/* Fills the only send buffer of a peer that takes nothing. */
static void hold_the_buffer(sbx_op op, sim_conn *peer)
{
    size_t taken;

    peer->no_read = true;
    ASSERT_CODE(sbx_input(K.c, op, sbx_s("held"), &taken), SBX_OK);
    assert_int_equal(taken, 4);
}

static void input_waits_for_a_buffer(void **state)
{
    sbx_op ops[2];
    size_t taken;

    (void)state;
    kit_new(1);
    K.d.buffers = 2;
    kit_open();
    two_commands();
    ops[0] = with_input("a");
    ops[1] = with_input("b");
    hold_the_buffer(ops[0], conn_of(0));
    ASSERT_CODE(sbx_input(K.c, ops[1], sbx_s("later"), &taken), SBX_OK);
    assert_int_equal(taken, 0);
    assert_int_equal(writable_events(5), 0);
    assert_true(sbx_next_deadline(K.c) > K.s->now);
    conn_of(0)->no_read = false;
    assert_int_equal(writable_events(5), 1);
    ASSERT_CODE(sbx_input(K.c, ops[1], sbx_s("later"), &taken), SBX_OK);
    assert_int_equal(taken, 5);
    assert_string_equal(K.s->commands[1]->heard.p, "later");
    cancel_all(ops, 2);
    kit_end();
}

static sim_conn *peer_to_free;
static void free_the_peer(sim *s)
{
    (void)s;
    peer_to_free->no_read = false;
}

/* The same while that one alone is waited for. */
static void awaited_input_waits_for_a_buffer(void **state)
{
    sbx_event ev;
    sbx_op ops[2];
    size_t taken;
    int64_t before;

    (void)state;
    kit_new(1);
    K.d.buffers = 2;
    kit_open();
    two_commands();
    ops[0] = with_input("a");
    ops[1] = with_input("b");
    hold_the_buffer(ops[0], conn_of(0));
    ASSERT_CODE(sbx_input(K.c, ops[1], sbx_s("later"), &taken), SBX_OK);
    assert_int_equal(taken, 0);
    peer_to_free = conn_of(0);
    K.s->before_sleep = free_the_peer;
    before = K.s->now;
    assert_true(sbx_next_of(K.c, &ops[1], &ev));
    K.s->before_sleep = NULL;
    assert_int_equal(ev.kind, SBX_EV_WRITABLE);
    assert_true(K.s->now - before <= 30000); /* the first ping moves the sleeper, if nothing else */
    ASSERT_CODE(sbx_input(K.c, ops[1], sbx_s("later"), &taken), SBX_OK);
    assert_int_equal(taken, 5);
    cancel_all(ops, 2);
    kit_end();
}

static void a_push_waits_for_a_buffer(void **state)
{
    sbx_write_opts o = { 0 };
    sbx_op ops[2];
    size_t taken;

    (void)state;
    kit_new(1);
    K.d.buffers = 2;
    kit_open();
    two_commands();
    ops[0] = with_input("a");
    o.stream = true;
    o.size = 5;
    ops[1] = sbx_write(K.c, &K.box, sbx_s("/f"), sbx_sn(NULL, 0), &o);
    assert_int_equal(writable_events(5), 1);
    hold_the_buffer(ops[0], conn_of(0));
    ASSERT_CODE(sbx_push(K.c, ops[1], sbx_s("bytes"), true, &taken), SBX_OK);
    assert_int_equal(taken, 0);
    assert_int_equal(writable_events(5), 0);
    assert_true(sbx_next_deadline(K.c) > K.s->now);
    conn_of(0)->no_read = false;
    assert_int_equal(writable_events(5), 1);
    ASSERT_CODE(sbx_push(K.c, ops[1], sbx_s("bytes"), true, &taken), SBX_OK);
    assert_int_equal(taken, 5);
    ASSERT_CODE(sbx_await(K.c, ops[1]), SBX_OK);
    cancel_all(ops, 1);
    kit_end();
}

/* A peer that goes on sending after our goodbye keeps its connection no longer
   than one that is silent. */
static void a_trickle_prolongs_no_close(void **state)
{
    static char trickle[4000];
    sbx_usage u;
    sbx_op op;
    int64_t begun;

    (void)state;
    kit_new(1);
    K.d.ws_close_ms = 5000;
    kit_open();
    strcpy(trickle, STARTED);
    for (int i = 0; i < 100; i++)
        strcat(trickle, "@ms 1000\n{}\n");
    talk(trickle, NULL, NULL);
    record_text[0] = 0;
    op = command(NULL);
    record_until(op, SBX_EV_STARTED);
    conn_of(0)->no_read = false;
    K.s->mute = true;
    begun = K.s->now;
    cancel_all(&op, 1);
    sbx_get_usage(K.c, &u);
    assert_int_equal(u.links, 1);
    while (u.links && K.s->now - begun < 60000) {
        sbx_wait(K.c, 500);
        sbx_get_usage(K.c, &u);
    }
    assert_int_equal(u.links, 0);
    assert_true(K.s->now - begun <= 6000);
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_waits_for_a_buffer),
        cmocka_unit_test(awaited_input_waits_for_a_buffer),
        cmocka_unit_test(a_push_waits_for_a_buffer),
        cmocka_unit_test(a_trickle_prolongs_no_close),
    };

    return cmocka_run_group_tests_name("guards", tests, NULL, NULL);
}
