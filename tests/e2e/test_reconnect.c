/* Streams that break, against a sandboxd that breaks them: every byte comes
   once, in order, or a gap says what is missing. */
#include "e2e.h"

#include <signal.h>

static e2e_server server;
static sbx_client *cl;
static sbx_box b;

static void begin(const char *fault, const char *fault2, const sbx_client_desc *desc)
{
    /* Room for what a command writes while nobody is there to hold it back. */
    const char *options[] = { "--ring-bytes", "8388608", fault ? "--fault" : NULL, fault, fault2 ? "--fault" : NULL, fault2, NULL };

    server = e2e_serve(options);
    cl = e2e_connect(&server, desc);
    b = e2e_create(cl);
}

static void end(void)
{
    sbx_close(cl);
    e2e_stop(&server);
}

static e2e_run stream(const char *command)
{
    return e2e_collect(cl, sbx_command(cl, &b, sbx_s(command), NULL));
}

static void dropped(void **state)
{
    e2e_bytes want = { 0 };
    e2e_run r;

    (void)state;
    begin("drop-ws-after=300000:count=4", NULL, NULL);
    r = stream("seq 300000; exit 3");
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 3);
    assert_int_equal(r.reconnects, 4);
    assert_int_equal(r.retries, 4);
    assert_true(r.delay_ms >= 250 && r.delay_ms <= 500);
    assert_int_equal(r.started, 1);
    assert_int_equal(r.gaps, 0);
    assert_false(r.torn);
    e2e_lines(&want, 1, 300000);
    e2e_same(&r.out, want.p, want.n, __FILE__, __LINE__);
    e2e_free(&r);
    free(want.p);
    end();
}

/* A server that goes away on purpose is followed at once. */
static void closed(void **state)
{
    e2e_bytes want = { 0 };
    sbx_run_opts o = { .alloc = true };
    sbx_result result;
    sbx_usage u;
    e2e_run r;

    (void)state;
    begin("close-ws-after=5000:count=50", NULL, NULL);
    r = stream("for i in $(seq 3000); do echo $i; test $((i % 3)) = 0 && echo $i >&2; done");
    assert_int_equal(r.code, SBX_OK);
    assert_true(r.reconnects >= 2);
    assert_int_equal(r.delay_ms, 0);
    assert_false(r.torn);
    e2e_lines(&want, 1, 3000);
    e2e_same(&r.out, want.p, want.n, __FILE__, __LINE__);
    want.n = 0;
    for (unsigned i = 3; i <= 3000; i += 3)
        e2e_lines(&want, i, i);
    e2e_same(&r.err, want.p, want.n, __FILE__, __LINE__);
    e2e_free(&r);
    /* Collected just the same. */
    OK_ON(cl, sbx_run(cl, &b, sbx_s("seq 50000; exit 1"), &o, &result));
    want.n = 0;
    e2e_lines(&want, 1, 50000);
    assert_int_equal(result.out_n, want.n);
    assert_memory_equal(result.out_p, want.p, want.n);
    assert_int_equal(result.exit_code, 1);
    assert_false(result.gap);
    sbx_get_usage(cl, &u);
    assert_true(u.reconnects >= 4);
    sbx_free(cl, result.out_p);
    sbx_free(cl, result.err_p);
    free(want.p);
    end();
}

/* A replacement character may stand for fewer bytes than it has: positions
   behind it are not certain, and still nothing is lost or told twice. */
static void noise(void **state)
{
    sbx_run_opts o = { .via = SBX_VIA_HTTP, .alloc = true };
    sbx_result want;
    char name[48];

    (void)state;
    for (unsigned cut = 1; cut <= 5; cut++) {
        e2e_run r;

        snprintf(name, sizeof name, "close-ws-after=%u:count=12", 2000 + 777 * cut);
        begin(name, NULL, NULL);
        OK_ON(cl, sbx_run(cl, &b, sbx_s("for i in $(seq 30); do head -c 700 /dev/urandom; seq 40; printf 'ü€'; done | tee /tmp/noise"), &o, &want));
        r = stream("i=0; while test $i -lt 40000; do tail -c +$((i+1)) /tmp/noise | head -c 911; i=$((i+911)); done");
        assert_int_equal(r.code, SBX_OK);
        assert_true(r.reconnects >= 3);
        assert_int_equal(r.gaps, 0);
        e2e_same(&r.out, want.out_p, want.out_n, __FILE__, __LINE__);
        e2e_free(&r);
        sbx_free(cl, want.out_p);
        sbx_free(cl, want.err_p);
        end();
    }
}

/* What the server does not hold any more is told, with its place and size. */
static void gap(void **state)
{
    const char *const options[] = { "--ring-bytes", "4096", "--fault", "drop-ws-after=20000:count=1", NULL };
    e2e_bytes want = { 0 };
    uint64_t at = 0, lost = 0;
    unsigned gaps = 0;
    sbx_event ev;
    sbx_op op;
    bool ended = false;

    (void)state;
    server = e2e_serve(options);
    cl = e2e_connect(&server, NULL);
    b = e2e_create(cl);
    e2e_lines(&want, 1, 100000);
    op = sbx_command(cl, &b, sbx_s("seq 100000"), NULL);
    while (sbx_next_of(cl, &op, &ev)) {
        if (ev.kind == SBX_EV_GAP) {
            gaps++;
            assert_int_equal(ev.stream, 1);
            assert_int_equal(ev.offset, at);
            assert_true(ev.lost > 0);
            at += ev.lost;
            lost += ev.lost;
        } else if (ev.kind == SBX_EV_STDOUT) {
            assert_int_equal(ev.offset, at);
            assert_true(at + ev.data.n <= want.n);
            assert_memory_equal(ev.data.p, want.p + at, ev.data.n);
            at += ev.data.n;
        } else if (ev.kind == SBX_EV_END) {
            assert_int_equal(ev.code, SBX_OK);
            ended = true;
        }
    }
    assert_true(ended);
    assert_int_equal(gaps, 1);
    assert_int_equal(at, want.n);
    assert_true(lost > 100000);
    end();

    server = e2e_serve(options);
    cl = e2e_connect(&server, NULL);
    b = e2e_create(cl);
    {
        sbx_result r;
        sbx_run_opts o = { .alloc = true };

        OK_ON(cl, sbx_run(cl, &b, sbx_s("seq 100000"), &o, &r));
        assert_true(r.gap);
        assert_true(r.out_n < want.n);
        assert_memory_equal(r.out_p + r.out_n - 4096, want.p + want.n - 4096, 4096);
        sbx_free(cl, r.out_p);
        sbx_free(cl, r.err_p);
    }
    free(want.p);
    end();
}

static void opening(void **state)
{
    e2e_run r;

    (void)state;
    begin("status=503:count=2:path=execute/ws", "status=429:count=1:path=execute/ws:retry-after=1", NULL);
    r = stream("echo ran >> /tmp/runs; cat /tmp/runs");
    assert_int_equal(r.code, SBX_OK);
    SAME(r.out, "ran\n");
    assert_int_equal(r.retries, 3);
    assert_int_equal(r.delay_ms, 1000); /* as the server asked */
    assert_int_equal(r.started, 1);
    assert_int_equal(r.reconnects, 0);
    assert_string_equal(r.order, "ts");
    e2e_free(&r);
    end();

    /* What cannot get better is not tried again. */
    begin("status=403:path=execute/ws:type=Forbidden:message=no", NULL, NULL);
    r = stream("x");
    assert_int_equal(r.code, SBX_ERR_PERMISSION);
    assert_int_equal(r.retries, 0);
    assert_int_equal(r.error.status, 403);
    assert_string_equal(r.error.type, "Forbidden");
    assert_string_equal(r.error.text, "no");
    assert_int_equal(r.error.attempts, 1);
    e2e_free(&r);
    end();

    /* Nor for longer than the budget. */
    begin("status=502:path=execute/ws:type=ConnectionError:message=down", NULL, &(sbx_client_desc){ .ws_connect_budget_ms = 1200 });
    r = stream("x");
    assert_int_equal(r.code, SBX_ERR_CONNECTION);
    assert_int_equal(r.error.status, 502);
    assert_string_equal(r.error.text, "down");
    assert_true(r.retries >= 1 && r.retries <= 3);
    assert_int_equal(r.started, 0);
    e2e_free(&r);
    end();
}

static void not_reconnected(void **state)
{
    sbx_run_opts o = { .no_reconnect = true };
    e2e_run r;

    (void)state;
    begin("close-ws-after=1000:count=1", NULL, NULL);
    r = e2e_collect(cl, sbx_command(cl, &b, sbx_s("seq 1000"), &o));
    assert_int_equal(r.code, SBX_ERR_CONNECTION);
    assert_int_equal(r.error.status, 1001);
    assert_int_equal(r.retries + r.reconnects, 0);
    assert_int_equal(r.started, 1);
    e2e_free(&r);
    end();
}

/* What was asked for while the stream was down is done after it is back. */
static void controls_meanwhile(void **state)
{
    sbx_op op;
    sbx_event ev;
    e2e_run r;
    size_t taken;
    bool sent = false;

    (void)state;
    begin("drop-ws-after=20:count=1", NULL, NULL);
    op = sbx_command(cl, &b, sbx_s("echo a long enough first line; sleep 1000"), NULL);
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(cl, &op, &ev) && e2e_take(&r, &ev))
        if (ev.kind == SBX_EV_RETRYING)
            assert_int_equal(sbx_kill(cl, op), SBX_OK);
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 137);
    assert_int_equal(r.reconnects, 1);
    SAME(r.out, "a long enough first line\n");
    e2e_free(&r);
    end();

    begin("drop-ws-after=20:count=1", NULL, NULL);
    op = sbx_command(cl, &b, sbx_s("echo a long enough first line; cat; echo end"), &(sbx_run_opts){ .stdin_open = true });
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(cl, &op, &ev) && e2e_take(&r, &ev)) {
        if (ev.kind == SBX_EV_RETRYING) {
            assert_int_equal(sbx_input(cl, op, sbx_s("typed\n"), &taken), SBX_OK);
            assert_int_equal(taken, 0);
        } else if (ev.kind == SBX_EV_WRITABLE && !sent) {
            sent = true;
            assert_int_equal(sbx_input(cl, op, sbx_s("typed\n"), &taken), SBX_OK);
            assert_int_equal(taken, 6);
            assert_int_equal(sbx_close_stdin(cl, op), SBX_OK);
        }
    }
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 0);
    SAME(r.out, "a long enough first line\ntyped\nend\n");
    e2e_free(&r);
    end();
}

/* A peer that is silent on every level is noticed by its missing pong. */
static void dead_peer(void **state)
{
    sbx_client_desc d = { .ws_ping_interval_ms = 100, .ws_ping_ms = 300, .ws_open_ms = 20000 };
    sbx_op op;
    sbx_event ev;
    e2e_run r;
    bool stopped = false;

    (void)state;
    begin(NULL, NULL, &d);
    op = sbx_command(cl, &b, sbx_s("echo first; sleep 1; echo second"), NULL);
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(cl, &op, &ev) && e2e_take(&r, &ev)) {
        if (ev.kind == SBX_EV_STDOUT && !stopped) {
            stopped = true;
            kill(server.pid, SIGSTOP);
        } else if (ev.kind == SBX_EV_RETRYING) {
            assert_int_equal(ev.code, SBX_ERR_DEADLINE);
            kill(server.pid, SIGCONT);
        }
    }
    assert_int_equal(r.code, SBX_OK);
    SAME(r.out, "first\nsecond\n");
    assert_true(r.reconnects >= 1);
    e2e_free(&r);
    end();
}

/* A server that is gone for good: bounded attempts, then what is known. */
static void gone(void **state)
{
    sbx_op op;
    sbx_event ev;
    e2e_run r;

    (void)state;
    begin(NULL, NULL, NULL);
    op = sbx_command(cl, &b, sbx_s("echo first; sleep 1000"), NULL);
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (sbx_next_of(cl, &op, &ev) && e2e_take(&r, &ev))
        if (ev.kind == SBX_EV_STDOUT)
            e2e_stop(&server);
    sbx_error_of(cl, ev.op, &r.error);
    assert_int_equal(r.code, SBX_ERR_CONNECT);
    assert_int_equal(r.error.layer, SBX_LAYER_TRANSPORT);
    assert_int_equal(r.retries, 5);
    assert_int_equal(r.reconnects, 0);
    SAME(r.out, "first\n");
    assert_true(r.error.sent);
    e2e_free(&r);
    sbx_close(cl);
}

/* Twenty streams that break all the time. */
static void many(void **state)
{
    enum { COUNT = 20 };
    static e2e_run runs[COUNT];
    sbx_client_desc d = { .max_requests = COUNT };
    sbx_event ev;
    unsigned open = COUNT, reconnects = 0;

    (void)state;
    begin("close-ws-after=30000:count=80", NULL, &d);
    for (unsigned i = 0; i < COUNT; i++) {
        char command[64];

        memset(&runs[i], 0, sizeof runs[i]);
        e2e_add(&runs[i].out, "", 0);
        snprintf(command, sizeof command, "seq %u00000 %u19999", i + 1, i + 1);
        assert_true(sbx_command(cl, &b, sbx_s(command), &(sbx_run_opts){ .call = { .user = &runs[i] } }).slot != 0);
    }
    while (open) {
        while (sbx_next(cl, &ev))
            open -= !e2e_take(ev.user, &ev);
        if (open)
            sbx_wait(cl, SBX_FOREVER);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        e2e_bytes want = { 0 };

        e2e_lines(&want, (i + 1) * 100000, (i + 1) * 100000 + 19999);
        assert_int_equal(runs[i].code, SBX_OK);
        e2e_same(&runs[i].out, want.p, want.n, __FILE__, __LINE__);
        assert_false(runs[i].torn);
        assert_int_equal(runs[i].started, 1);
        reconnects += runs[i].reconnects;
        free(want.p);
        e2e_free(&runs[i]);
    }
    assert_true(reconnects >= COUNT);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped),
        cmocka_unit_test(closed),
        cmocka_unit_test(noise),
        cmocka_unit_test(gap),
        cmocka_unit_test(opening),
        cmocka_unit_test(not_reconnected),
        cmocka_unit_test(controls_meanwhile),
        cmocka_unit_test(dead_peer),
        cmocka_unit_test(gone),
        cmocka_unit_test(many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
