/* What holds when buffers run out: no busy loop, and whoever waits for one has
   it when it is free, or an end. */
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

/* A ping that was not sent, since another has all send buffers, is not waited for. */
static void ping_waits_for_a_buffer(void **state)
{
    static char much[20000];
    sbx_tunnel_opts o = { 0 };
    sbx_op op, tunnel, dial;
    int64_t begun;
    sbx_event ev;
    size_t taken;

    (void)state;
    kit_new(1);
    K.d.buffers = 2;
    kit_open();
    talk(STARTED "@ms 150000\n" EXIT(0), NULL, NULL);
    op = command(NULL);
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    o.ping_interval_ms = SBX_FOREVER;
    tunnel = sbx_tunnel_open(K.c, &K.box, &o);
    dial = sbx_tunnel_dial(K.c, tunnel, 9, NULL);
    for (ev.kind = SBX_EV_NONE; ev.kind != SBX_EV_STARTED || ev.op.slot != dial.slot;)
        if (!sbx_next(K.c, &ev))
            sbx_wait(K.c, SBX_FOREVER);
    K.s->tunnel->no_read = true;
    ASSERT_CODE(sbx_tunnel_send(K.c, dial, sbx_sn(much, sizeof much), false, &taken), SBX_OK);
    for (begun = K.s->now; K.s->now < begun + 140000;) {
        while (sbx_next(K.c, &ev))
            if (ev.op.slot == op.slot)
                record(&ev);
        sbx_wait(K.c, 1000);
    }
    assert_int_equal(K.s->pings, 0);
    ASSERT_CODE(sbx_cancel(K.c, tunnel), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, tunnel), SBX_ERR_CANCELLED);
    ASSERT_CODE(sbx_await(K.c, dial), SBX_ERR_CANCELLED);
    assert_string_equal(record_rest(op), "started end(OK,0)");
    assert_int_equal(K.s->pings, 1);
    kit_end();
}

/* Streams that are half read have all receive buffers, and nobody pulls them:
   what is waited for ends at its deadline and says why. */
static void all_buffers_are_held(void **state)
{
    sim_plan p = { 0 };
    sbx_op ops[3];
    sbx_event ev;
    int64_t begun;

    (void)state;
    for (unsigned via = 0; via < 3; via++) {
        kit_new(1);
        K.d.buffers = 2;
        K.d.max_retries = SBX_NONE;
        kit_open();
        p.talk[0] = STARTED OUT("a", 0) OUT("b", 1) "@ms 90000000\n" EXIT(0);
        sim_add_plan(K.s, &p);
        for (unsigned i = 0; i < 2; i++) {
            ops[i] = sbx_command(K.c, &K.box, sbx_s("true"), NULL);
            do
                assert_true(sbx_next_of(K.c, &ops[i], &ev));
            while (ev.kind != SBX_EV_STDOUT);
        }
        begun = K.s->now;
        ops[2] = via == 0 ? sbx_command(K.c, &K.box, sbx_s("true"), NULL) : via == 1 ? sbx_list(K.c, NULL, NULL) : sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
        ASSERT_CODE(sbx_await(K.c, ops[2]), SBX_ERR_DEADLINE);
        assert_non_null(strstr(kit_error(ops[2]).text, "buffers"));
        assert_true(K.s->now - begun < 200000);
        cancel_all(ops, 2);
        kit_end();
    }
}

/* What was read to its end keeps no buffer, though its events were not pulled. */
static void started_commands_hold_no_buffer(void **state)
{
    sim_plan p = { 0 };
    sbx_op ops[8];
    sbx_event ev;

    (void)state;
    kit_new(1);
    K.d.buffers = 2;
    kit_open();
    p.until_kill = true;
    sim_add_plan(K.s, &p);
    for (unsigned i = 0; i < 8; i++) {
        ops[i] = sbx_command(K.c, &K.box, sbx_s("true"), NULL);
        assert_true(sbx_next_of(K.c, &ops[i], &ev));
        assert_int_equal(ev.kind, SBX_EV_STARTED);
    }
    cancel_all(ops, 8);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_waits_for_a_buffer), cmocka_unit_test(ping_waits_for_a_buffer), cmocka_unit_test(started_commands_hold_no_buffer),
        cmocka_unit_test(all_buffers_are_held), cmocka_unit_test(awaited_input_waits_for_a_buffer), cmocka_unit_test(a_push_waits_for_a_buffer),
    };

    return cmocka_run_group_tests_name("buffers", tests, NULL, NULL);
}
