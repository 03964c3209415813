/* What commands write: order, size, bytes that are no text, silence, and where
   it is collected. */
#include "e2e.h"

#include <time.h>

static char buffer[65536], buffer2[4096];

static void both_streams(void **state)
{
    e2e_run r = e2e_collect(c, sbx_command(c, &box, sbx_s("for i in 1 2 3; do echo o$i; sleep 0.15; echo e$i >&2; sleep 0.15; done"), NULL));

    (void)state;
    SAME(r.out, "o1\no2\no3\n");
    SAME(r.err, "e1\ne2\ne3\n");
    assert_string_equal(r.order, "sesese");
    e2e_free(&r);
}

/* The server sends text: what is none comes as U+FFFD, one for each maximal
   part (as every decoder of the web does it), and nothing else changes. */
static void no_text(void **state)
{
    static const struct {
        const char *command, *want;
    } cases[] = {
        { "printf 'a\\xffb'", "a\xef\xbf\xbd" "b" },
        { "printf '\\xc3'", "\xef\xbf\xbd" },
        { "printf '\\xe2\\x82'; sleep 0.2; printf '\\xac.'", "€." },
        { "printf '\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80'", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "printf '\\xef\\xbf\\xbd'", "\xef\xbf\xbd" },
        { "printf '\\x1b[31m\\x7f\\b\\f'", "\x1b[31m\x7f\b\f" },
    };
    sbx_result ws, http;
    sbx_run_opts o = { .alloc = true };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        e2e_run r = e2e_collect(c, sbx_command(c, &box, sbx_s(cases[i].command), NULL));

        SAME(r.out, cases[i].want);
        e2e_free(&r);
    }
    /* NUL is text, too. */
    OK(sbx_run(c, &box, sbx_s("printf 'a\\0b'"), &o, &ws));
    assert_int_equal(ws.out_n, 3);
    assert_memory_equal(ws.out_p, "a\0b", 3);
    sbx_free(c, ws.out_p);
    sbx_free(c, ws.err_p);
    /* Noise is the same text over both ways. */
    e2e_sh("head -c 300000 /dev/urandom > /tmp/noise");
    OK(sbx_run(c, &box, sbx_s("cat /tmp/noise"), &o, &ws));
    o.via = SBX_VIA_HTTP;
    OK(sbx_run(c, &box, sbx_s("cat /tmp/noise"), &o, &http));
    assert_true(ws.out_n > 400000);
    assert_int_equal(ws.out_n, http.out_n);
    assert_memory_equal(ws.out_p, http.out_p, ws.out_n);
    sbx_free(c, ws.out_p);
    sbx_free(c, ws.err_p);
    sbx_free(c, http.out_p);
    sbx_free(c, http.err_p);
}

static void ten_megabytes(void **state)
{
    e2e_bytes want = { 0 };
    e2e_run r;
    sbx_result result;
    sbx_run_opts o = { .alloc = true };
    sbx_usage before, after;

    (void)state;
    e2e_lines(&want, 1, 1400000); /* 10,088,896 bytes */
    sbx_get_usage(c, &before);
    r = e2e_collect(c, sbx_command(c, &box, sbx_s("seq 1400000"), NULL));
    assert_int_equal(r.code, SBX_OK);
    e2e_same(&r.out, want.p, want.n, __FILE__, __LINE__);
    assert_false(r.torn);
    assert_int_equal(r.reconnects, 0);
    e2e_free(&r);
    OK(sbx_run(c, &box, sbx_s("seq 1400000; seq 1400000 >&2"), &o, &result));
    assert_int_equal(result.out_n, want.n);
    assert_int_equal(result.err_n, want.n);
    assert_memory_equal(result.out_p, want.p, want.n);
    assert_memory_equal(result.err_p, want.p, want.n + 1); /* with its NUL */
    sbx_free(c, result.out_p);
    sbx_free(c, result.err_p);
    /* However much comes, the client's own memory is what it was. */
    sbx_get_usage(c, &after);
    assert_int_equal(after.memory, before.memory);
    assert_true(after.rx_high <= 4 && after.tx_high <= 4);
    assert_true(after.bytes_in > before.bytes_in + 3 * want.n);
    free(want.p);
}

static void bounded(void **state)
{
    sbx_result r;
    sbx_run_opts o = { .out = { buffer, 5 }, .err = { buffer2, 3 } };

    (void)state;
    memset(buffer, '#', 16);
    OK(sbx_run(c, &box, sbx_s("echo 123456789; echo abcdefgh >&2; exit 4"), &o, &r));
    assert_int_equal(r.exit_code, 4); /* it still comes */
    assert_int_equal(r.out_n, 5);
    assert_int_equal(r.out_total, 10);
    assert_true(r.out_cut && r.err_cut);
    assert_int_equal(r.err_n, 3);
    assert_int_equal(r.err_total, 9);
    assert_memory_equal(buffer, "12345#", 6);
    assert_memory_equal(buffer2, "abc", 3);

    o = (sbx_run_opts){ .alloc = true, .max_output = 1000 };
    OK(sbx_run(c, &box, sbx_s("seq 100000"), &o, &r));
    assert_int_equal(r.out_n, 1000);
    assert_int_equal(r.out_total, 588895);
    assert_true(r.out_cut);
    assert_false(r.err_cut);
    assert_int_equal(strlen(r.out_p), 1000);
    sbx_free(c, r.out_p);
    sbx_free(c, r.err_p);

    o = (sbx_run_opts){ .discard = true };
    OK(sbx_run(c, &box, sbx_s("seq 100000; exit 6"), &o, &r));
    assert_int_equal(r.exit_code, 6);
    assert_int_equal(r.out_total, 588895);
    assert_int_equal(r.out_n, 0);
    OK(sbx_run(c, &box, sbx_s("true"), &o, NULL));
    assert_string_equal(FAILS(sbx_run(c, &box, sbx_s("x"), &(sbx_run_opts){ .alloc = true, .out = { buffer, 1 } }, &r), SBX_ERR_ARGUMENT).field, "alloc");
}

/* Pings keep a silent stream, and find that it is alive. */
static void silence(void **state)
{
    sbx_client_desc d = { .ws_ping_interval_ms = 100, .ws_ping_ms = 5000 };
    sbx_client *other = e2e_open(&d);
    sbx_usage before, after;
    e2e_run r;

    (void)state;
    sbx_get_usage(other, &before);
    r = e2e_collect(other, sbx_command(other, &box, sbx_s("echo a; sleep 3; echo b"), NULL));
    assert_int_equal(r.code, SBX_OK);
    SAME(r.out, "a\nb\n");
    assert_int_equal(r.reconnects + r.retries, 0);
    sbx_get_usage(other, &after);
    assert_true(after.bytes_out - before.bytes_out > 20 * 6); /* pings */
    e2e_free(&r);
    sbx_close(other);
}

/* Several at once on one thread: nobody's output is lost or mixed up. */
static void side_by_side(void **state)
{
    enum { COUNT = 20 };
    static e2e_run runs[COUNT];
    sbx_op ops[COUNT];
    sbx_event ev;
    unsigned open = COUNT;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        char command[64];

        snprintf(command, sizeof command, "seq %u00000 %u09999; seq %u >&2", i + 1, i + 1, i);
        memset(&runs[i], 0, sizeof runs[i]);
        e2e_add(&runs[i].out, "", 0);
        e2e_add(&runs[i].err, "", 0);
        ops[i] = sbx_command(c, &box, sbx_s(command), &(sbx_run_opts){ .call = { .user = &runs[i] } });
        if (!ops[i].slot) /* as many requests as there are blocks for */
            assert_int_equal(ops[i].gen, SBX_ERR_FULL);
        while (!ops[i].slot) {
            while (sbx_next(c, &ev))
                open -= !e2e_take(ev.user, &ev);
            sbx_wait(c, 1000);
            ops[i] = sbx_command(c, &box, sbx_s(command), &(sbx_run_opts){ .call = { .user = &runs[i] } });
        }
    }
    while (open) {
        while (sbx_next(c, &ev))
            open -= !e2e_take(ev.user, &ev);
        if (open)
            assert_true(sbx_wait(c, SBX_FOREVER));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        e2e_bytes want = { 0 }, want_err = { 0 };

        e2e_lines(&want, (i + 1) * 100000, (i + 1) * 100000 + 9999);
        e2e_lines(&want_err, 1, i);
        e2e_add(&want_err, "", 0);
        assert_int_equal(runs[i].code, SBX_OK);
        e2e_same(&runs[i].out, want.p, want.n, __FILE__, __LINE__);
        e2e_same(&runs[i].err, want_err.p, want_err.n, __FILE__, __LINE__);
        assert_false(runs[i].torn);
        free(want.p);
        free(want_err.p);
        e2e_free(&runs[i]);
    }
}

/* Waiting for one operation leaves the others' events alone. */
static void awaited_among_others(void **state)
{
    sbx_op talker = sbx_command(c, &box, sbx_s("seq 300000"), NULL);
    e2e_bytes want = { 0 };
    e2e_run r;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_string_equal(e2e_sh("echo hi"), "hi\n");
    OK(sbx_write(c, &box, sbx_s("/tmp/between"), sbx_s("x"), NULL));
    r = e2e_collect(c, talker);
    e2e_lines(&want, 1, 300000);
    e2e_same(&r.out, want.p, want.n, __FILE__, __LINE__);
    assert_int_equal(r.started, 1);
    e2e_free(&r);
    free(want.p);
}

/* Who does not pull only slows the sender: nothing is buffered, nothing lost,
   and the stream does not break meanwhile. */
static void slow_consumer(void **state)
{
    const char *const options[] = { "--ws-ping", "1", NULL };
    e2e_server s = e2e_serve(options);
    sbx_client_desc d = { .ws_ping_interval_ms = 200, .ws_ping_ms = 1000, .timeout_ms = 1000 };
    sbx_client *other = e2e_connect(&s, &d);
    sbx_box b = e2e_create(other);
    sbx_op op = sbx_command(other, &b, sbx_s("seq 1000000"), NULL);
    e2e_bytes want = { 0 };
    sbx_event ev;
    sbx_usage before, after;
    e2e_run r;
    int64_t until;

    (void)state;
    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    while (!r.chunks && sbx_next_of(other, &op, &ev))
        e2e_take(&r, &ev);
    sbx_get_usage(other, &before);
    until = sbx_posix.mono_ms(NULL) + 4000;
    while (sbx_posix.mono_ms(NULL) < until) {
        struct timespec nap = { 0, 20000000 };

        sbx_step(other, sbx_posix.mono_ms(NULL));
        nanosleep(&nap, NULL);
    }
    sbx_get_usage(other, &after);
    assert_true(after.bytes_in - before.bytes_in < 100000);
    while (sbx_next_of(other, &op, &ev) && e2e_take(&r, &ev))
        ;
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.reconnects + r.retries, 0);
    e2e_lines(&want, 1, 1000000);
    e2e_same(&r.out, want.p, want.n, __FILE__, __LINE__);
    free(want.p);
    e2e_free(&r);
    sbx_close(other);
    e2e_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_streams),
        cmocka_unit_test(no_text),
        cmocka_unit_test(ten_megabytes),
        cmocka_unit_test(bounded),
        cmocka_unit_test(silence),
        cmocka_unit_test(side_by_side),
        cmocka_unit_test(awaited_among_others),
        cmocka_unit_test(slow_consumer),
    };

    return cmocka_run_group_tests(tests, e2e_begin, e2e_end);
}
