/* Commands as event streams, against sandboxd. */
#include "e2e.h"

static const sbx_run_opts sse = { .via = SBX_VIA_SSE };

static e2e_run stream(const char *command)
{
    return e2e_collect(c, sbx_command(c, &box, sbx_s(command), &sse));
}

static void both_streams(void **state)
{
    e2e_run r = stream("for i in 1 2 3; do echo o$i; sleep 0.15; echo e$i >&2; sleep 0.15; done; exit 7");

    (void)state;
    SAME(r.out, "o1\no2\no3\n");
    SAME(r.err, "e1\ne2\ne3\n");
    assert_string_equal(r.order, "sesese");
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.exit_code, 7);
    assert_int_equal(r.started, 1);
    assert_true(r.pid > 0);
    e2e_free(&r);
}

/* What is no text comes as it is. */
static void every_byte(void **state)
{
    sbx_run_opts o = { .via = SBX_VIA_SSE, .alloc = true };
    sbx_read_opts ro = { .alloc = true };
    sbx_read_result file;
    sbx_result r;
    e2e_run s;

    (void)state;
    e2e_sh("head -c 700001 /dev/urandom > /tmp/noise");
    OK(sbx_read(c, &box, sbx_s("/tmp/noise"), &ro, &file));
    s = stream("cat /tmp/noise");
    e2e_same(&s.out, file.p, file.n, __FILE__, __LINE__);
    e2e_free(&s);
    OK(sbx_run(c, &box, sbx_s("cat /tmp/noise; cat /tmp/noise >&2"), &o, &r));
    assert_int_equal(r.out_n, file.n);
    assert_int_equal(r.err_n, file.n);
    assert_memory_equal(r.out_p, file.p, file.n);
    assert_memory_equal(r.err_p, file.p, file.n);
    sbx_free(c, r.out_p);
    sbx_free(c, r.err_p);
    sbx_free(c, file.p);
}

static void standard_input(void **state)
{
    sbx_str argv[] = { { "printf", 6 }, { "<%s>", 4 }, { "a b", 3 }, { "$HOME", 5 }, { "", 0 } };
    sbx_run_opts o = { .via = SBX_VIA_SSE };
    char all[256], got[300];
    sbx_result r;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    o.out.p = got;
    o.out.n = sizeof got;
    o.stdin_data = sbx_sn(all, sizeof all);
    OK(sbx_run(c, &box, sbx_s("cat"), &o, &r));
    assert_int_equal(r.out_n, sizeof all);
    assert_memory_equal(got, all, sizeof all);
    o.stdin_data = sbx_sn(NULL, 0);
    OK(sbx_run(c, &box, sbx_s("cat; echo end"), &o, &r)); /* closed */
    assert_memory_equal(got, "end\n", 4);
    o.argv = argv;
    o.argv_n = 5;
    OK(sbx_run(c, &box, sbx_sn(NULL, 0), &o, &r)); /* no shell sees it */
    assert_int_equal(r.out_n, 14);
    assert_memory_equal(got, "<a b><$HOME><>", 14);
}

static void environment(void **state)
{
    sbx_pair env = { { "MINE", 4 }, { "x y", 3 } };
    sbx_run_opts o = { .via = SBX_VIA_SSE, .env = &env, .env_n = 1, .cwd = { "/tmp", 4 } };
    e2e_run r = e2e_collect(c, sbx_command(c, &box, sbx_s("echo $MINE; pwd"), &o));

    (void)state;
    SAME(r.out, "x y\n/tmp\n");
    e2e_free(&r);
}

static void ten_megabytes(void **state)
{
    e2e_bytes want = { 0 };
    sbx_usage before, after;
    e2e_run r;

    (void)state;
    e2e_lines(&want, 1, 1400000); /* 10,088,896 bytes, many times what the server keeps */
    sbx_get_usage(c, &before);
    r = stream("seq 1400000");
    assert_int_equal(r.code, SBX_OK);
    e2e_same(&r.out, want.p, want.n, __FILE__, __LINE__);
    assert_false(r.torn);
    assert_int_equal(r.reconnects, 0);
    assert_int_equal(r.retries, 0);
    sbx_get_usage(c, &after);
    assert_int_equal(after.memory, before.memory);
    assert_true(after.reused - before.reused >= 2); /* by requests that acknowledge */
    e2e_free(&r);
    free(want.p);
}

/* Nobody takes the output: the command waits, and goes on when it is taken. */
static void slow_reader(void **state)
{
    e2e_run r = { 0 };
    sbx_event ev;
    sbx_op op;

    (void)state;
    e2e_sh("rm -f /tmp/done");
    op = sbx_command(c, &box, sbx_s("head -c 30000000 /dev/zero; touch /tmp/done"), &sse);
    do
        assert_true(sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev));
    while (ev.kind != SBX_EV_STDOUT);
    assert_string_equal(e2e_sh("sleep 1; ls /tmp/done 2>/dev/null || echo none"), "none\n");
    while (sbx_next_of(c, &op, &ev) && e2e_take(&r, &ev))
        continue;
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.out.n, 30000000);
    assert_false(r.torn);
    assert_int_equal(r.gaps, 0);
    assert_string_equal(e2e_sh("ls /tmp/done"), "/tmp/done\n");
    e2e_free(&r);
}

/* Left and taken up again where it was; what was acknowledged is gone. */
static void attach(void **state)
{
    sbx_attach_opts o = { .via = SBX_VIA_SSE };
    uint64_t at = 0;
    char id[37];
    e2e_run first = { 0 }, rest;
    sbx_event ev;
    sbx_error e;
    sbx_op op = sbx_command(c, &box, sbx_s("for i in 1 2 3; do echo $i; done; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo 4; exit 5"), &sse);

    (void)state;
    e2e_sh("rm -f /tmp/go");
    while (first.out.n < 6)
        assert_true(sbx_next_of(c, &op, &ev) && e2e_take(&first, &ev));
    assert_int_equal(sbx_command_position(c, op, id, &at, NULL), SBX_OK);
    assert_int_equal(at, 6);
    sbx_cancel(c, op);
    while (sbx_next_of(c, &op, &ev))
        continue;
    e2e_sh("touch /tmp/go");
    o.stdout_offset = at;
    rest = e2e_collect(c, sbx_attach(c, &box, sbx_s(id), &o));
    SAME(first.out, "1\n2\n3\n");
    SAME(rest.out, "4\n");
    assert_int_equal(rest.code, SBX_OK);
    assert_int_equal(rest.exit_code, 5);
    e2e_free(&first);
    e2e_free(&rest);
    o.stdout_offset = 0;
    e = FAILS(sbx_attach(c, &box, sbx_s(id), &o), SBX_ERR_RANGE);
    assert_string_equal(e.type, "ReadOffsetUnavailable");
    o.stdout_offset = 100;
    e = FAILS(sbx_attach(c, &box, sbx_s(id), &o), SBX_ERR_RANGE);
    assert_string_equal(e.type, "InvalidOffset");
}

static void errors(void **state)
{
    sbx_attach_opts a = { .via = SBX_VIA_SSE };
    sbx_run_opts o = { .via = SBX_VIA_SSE, .timeout_s = 1 };
    char id[37];
    sbx_error e;
    sbx_event ev;
    e2e_run r;
    sbx_op op;

    (void)state;
    r = e2e_collect(c, sbx_command(c, &box, sbx_s("echo before; sleep 60"), &o));
    assert_int_equal(r.code, SBX_ERR_COMMAND_TIMEOUT);
    SAME(r.out, "before\n");
    e2e_free(&r);
    e = FAILS(sbx_attach(c, &box, sbx_s("01900000-0000-7000-8000-000000000001"), &a), SBX_ERR_COMMAND_NOT_FOUND);
    assert_int_equal(e.status, 404);
    /* Started over the WebSocket, it stays there. */
    op = sbx_command(c, &box, sbx_s("sleep 1"), NULL);
    do
        assert_true(sbx_next_of(c, &op, &ev));
    while (ev.kind != SBX_EV_STARTED);
    assert_int_equal(sbx_command_position(c, op, id, NULL, NULL), SBX_OK);
    e = FAILS(sbx_attach(c, &box, sbx_s(id), &a), SBX_ERR_UNSUPPORTED);
    assert_string_equal(e.type, "TransportMismatch");
    assert_non_null(strstr(e.text, "SBX_VIA_WS"));
    while (sbx_next_of(c, &op, &ev))
        continue;
}

/* ---- a server that breaks streams ---- */

static void broken(void **state)
{
    static const char *const faults[] = { "drop-ws-after=300000:count=4", "close-ws-after=300000:count=4" };
    e2e_bytes want = { 0 };

    (void)state;
    e2e_lines(&want, 1, 300000);
    for (unsigned i = 0; i < 2; i++) {
        const char *options[] = { "--fault", faults[i], NULL };
        e2e_server server = e2e_serve(options);
        sbx_client *cl = e2e_connect(&server, NULL);
        sbx_box b = e2e_create(cl);
        e2e_run r = e2e_collect(cl, sbx_command(cl, &b, sbx_s("seq 300000; exit 3"), &sse));

        assert_int_equal(r.code, SBX_OK);
        assert_int_equal(r.exit_code, 3);
        assert_int_equal(r.reconnects, 4);
        assert_int_equal(r.started, 1);
        assert_int_equal(r.gaps, 0);
        assert_false(r.torn);
        e2e_same(&r.out, want.p, want.n, __FILE__, __LINE__);
        e2e_free(&r);
        sbx_close(cl);
        e2e_stop(&server);
    }
    free(want.p);
}

/* A server that has no such call says so, and what to do instead. */
static void no_such_call(void **state)
{
    sbx_box elsewhere = box;
    sbx_error e;

    (void)state;
    strcat(elsewhere.url, "/nowhere");
    e = FAILS(sbx_command(c, &elsewhere, sbx_s("true"), &sse), SBX_ERR_NO_ENDPOINT);
    assert_int_equal(e.status, 404);
    assert_non_null(strstr(e.text, "SBX_VIA_WS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_streams), cmocka_unit_test(every_byte), cmocka_unit_test(standard_input), cmocka_unit_test(environment),
        cmocka_unit_test(ten_megabytes), cmocka_unit_test(slow_reader), cmocka_unit_test(attach), cmocka_unit_test(errors),
        cmocka_unit_test(broken), cmocka_unit_test(no_such_call),
    };

    return cmocka_run_group_tests_name("commands over SSE", tests, e2e_begin, e2e_end);
}
