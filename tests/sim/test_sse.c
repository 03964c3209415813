/* Commands as event streams: requests, events, acknowledgements, drops. */
#include "script.h"

#define SSE_STARTED "started {\"command_id\":\"$ID\",\"pid\":77}\n"
#define SSE_OUT(text, offset) "@out stdout " #offset " " text "\n"
#define SSE_ERR(text, offset) "@out stderr " #offset " " text "\n"
#define SSE_EXIT(code) "exit {\"exit_code\":" #code "}\n@end\n"
#define SSE_ACK "ack_required {\"stdout_offset\":0,\"stderr_offset\":0}\n"
#define SSE_ERROR(type) "error {\"error\":\"as told\",\"error_type\":\"" type "\"}\n"

static const sbx_run_opts sse = { .via = SBX_VIA_SSE };

static sbx_op sse_command(void)
{
    return command(&sse);
}

/* The requests, the fields of their bodies, the events. */
static void test_plain(void **state)
{
    sbx_run_opts o = sse;
    sbx_pair env = { { "A", 1 }, { "b \"c\"", 5 } };
    const sim_request *r;
    char text[100];

    (void)state;
    kit_start(1);
    talk(SSE_STARTED SSE_OUT("ab", 0) SSE_ERR("x", 0) SSE_OUT("c", 2) SSE_EXIT(-3), NULL, NULL);
    o.env = &env;
    o.env_n = 1;
    o.cwd = sbx_s("/tmp");
    o.timeout_s = 7;
    assert_string_equal(record_all(command(&o)), "started o0:ab e0:x o2:c end(OK,-3)");
    r = kit_request(0);
    assert_string_equal(r->method, "POST");
    assert_string_equal(r->target, "/b/one/execute/stream/start");
    assert_string_equal(sim_header(r, "X-Api-Key", text, sizeof text), "key-1");
    snprintf(text, sizeof text, "\"command_id\":\"%s\"", the_command()->id);
    assert_non_null(strstr(r->body, text));
    assert_non_null(strstr(r->body, "\"command\":\"true\""));
    assert_non_null(strstr(r->body, "\"shell\":\"/bin/bash\""));
    assert_non_null(strstr(r->body, "\"timeout_seconds\":7"));
    assert_non_null(strstr(r->body, "\"idle_timeout_seconds\":300"));
    assert_non_null(strstr(r->body, "\"ttl_seconds\":600"));
    assert_non_null(strstr(r->body, "\"env\":{\"A\":\"b \\\"c\\\"\"}"));
    assert_null(strstr(r->body, "\"type\""));
    assert_null(strstr(r->body, "kill_on_disconnect"));
    assert_null(strstr(r->body, "close_stdin"));
    assert_null(strstr(r->body, "\"pty\""));
    assert_null(strstr(r->body, "\"stdin\""));
    assert_string_equal(the_command()->log.p, "E");
    kit_end();
}

static void test_argv_and_stdin(void **state)
{
    static const char input[] = { 0, '\n', (char)0xFF, 'a' };
    sbx_str argv[] = { { "printf", 6 }, { "%s\n", 3 }, { "", 0 } };
    sbx_run_opts o = sse;
    static char large[4000];

    (void)state;
    kit_start(1);
    talk(SSE_STARTED SSE_EXIT(0), NULL, NULL);
    o.discard = true;
    o.argv = argv;
    o.argv_n = 3;
    o.stdin_data = sbx_sn(input, sizeof input);
    ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_sn(NULL, 0), &o, NULL)), SBX_OK);
    assert_non_null(strstr(kit_request(0)->body, "\"command\":[\"printf\",\"%s\\n\",\"\"]"));
    assert_non_null(strstr(kit_request(0)->body, "\"stdin\":\"AAr/YQ==\""));
    assert_null(strstr(kit_request(0)->body, "\"shell\""));
    o.stdin_data = sbx_sn(input, 0);
    ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_sn(NULL, 0), &o, NULL)), SBX_OK);
    assert_non_null(strstr(kit_request(0)->body, "\"stdin\":\"\""));
    o.stdin_data = sbx_sn(large, sizeof large);
    ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_sn(NULL, 0), &o, NULL)), SBX_ERR_TOO_LARGE);
    kit_end();
}

/* What a stream of requests cannot do is refused before anything is sent. */
static void test_refused(void **state)
{
    sbx_run_opts pty = sse, live = sse, bound = sse, input = { .stdin_data = { "x", 1 } }, args = { .argv_n = 1 }, both = sse;
    const struct {
        const sbx_run_opts *o;
        const char *field;
    } cases[] = { { &pty, "pty" }, { &live, "stdin_open" }, { &bound, "kill_on_disconnect" }, { &input, "stdin_data" }, { &args, "argv" }, { &both, "command" } };
    sbx_attach_opts http = { .via = SBX_VIA_HTTP };
    sbx_str argv = { "a", 1 };
    size_t taken;
    sbx_op op;

    (void)state;
    pty.pty = live.stdin_open = bound.kill_on_disconnect = true;
    args.argv = both.argv = &argv;
    both.argv_n = 1;
    kit_start(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op = sbx_command(K.c, &K.box, sbx_s(cases[i].o == &args ? "" : "x"), cases[i].o);
        assert_int_equal(op.slot, 0);
        assert_int_equal(kit_error(op).code, SBX_ERR_ARGUMENT);
        assert_string_equal(kit_error(op).field, cases[i].field);
        assert_non_null(strstr(kit_error(op).text, i < 3 ? "SBX_VIA_WS" : i < 5 ? "SBX_VIA_SSE" : "argv"));
    }
    op = sbx_attach(K.c, &K.box, sbx_s("id"), &http);
    assert_string_equal(kit_error(op).field, "via");
    assert_int_equal(K.s->connects, 0);

    talk(SSE_STARTED "@ms 1000\n" SSE_EXIT(0), NULL, NULL);
    op = sse_command();
    record_text[0] = 0;
    record_until(op, SBX_EV_STARTED);
    ASSERT_CODE(sbx_kill(K.c, op), SBX_ERR_UNSUPPORTED);
    ASSERT_CODE(sbx_close_stdin(K.c, op), SBX_ERR_UNSUPPORTED);
    ASSERT_CODE(sbx_pty_resize(K.c, op, 1, 1), SBX_ERR_UNSUPPORTED);
    ASSERT_CODE(sbx_input(K.c, op, sbx_s("x"), &taken), SBX_ERR_UNSUPPORTED);
    assert_string_equal(record_rest(op), "started end(OK,0)");
    kit_end();
}

/* Every byte, at every place of base64's groups, in any pieces. */
static void test_binary(void **state)
{
    char raw[260], line[600], got[300];
    sbx_run_opts o = sse;

    (void)state;
    for (size_t n = 0; n < sizeof raw; n += n < 8 ? 1 : 63)
        for (uint32_t most = 0; most < 4; most++) {
            sim_bytes b = { NULL, 0, 0 };
            sbx_result r;

            for (size_t i = 0; i < n; i++)
                raw[i] = (char)(i * 7 + n);
            kit_new(n);
            K.d.rx_bytes = most == 3 ? 512 : 0;
            kit_open();
            K.s->knobs.recv_max = most;
            sim_base64(&b, raw, n);
            snprintf(line, sizeof line, SSE_STARTED "stdout {\"offset\":0,\"data\":\"%s\"}\n" SSE_EXIT(0), b.p ? b.p : "");
            free(b.p);
            talk(line, NULL, NULL);
            o.out.p = got;
            o.out.n = sizeof got;
            ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_s("x"), &o, &r)), SBX_OK);
            assert_int_equal(r.out_total, n);
            assert_memory_equal(got, raw, n);
            assert_int_equal(r.pid, 77);
            assert_string_equal(r.command_id, the_command()->id);
            kit_end();
        }
}

/* Whatever the standard allows, arriving in whatever pieces. */
static void test_grammar(void **state)
{
    static const char *const talks[] = {
        "@raw event: started\\rdata: {\"command_id\":\"another\"}\\r\\revent: stdout\\r\\ndata: {\"data\":\"YWI=\",\"offset\":0}\\r\\n\\r\\n\n" SSE_EXIT(0),
        "@raw : hello\\n\\nid: 1\\nretry: 5\\nevent:stdout\\ndata:{\"offset\":0,\\ndata:\"data\":\"YWI=\"\\ndata\\ndata:}\\n\\n: beat\\n\\n\n" SSE_EXIT(0),
        "@raw \xEF\xBB\xBF" "event: stdout\\ndata: {\"offset\":0,\"data\":\"Y\\u0057I=\",\"offset\":0}\\n\\n\n" SSE_EXIT(0),
        "@raw event: stdout\\n\\ndata: not for us\\n\\nevent: stdout\\nevent: news\\ndata: no JSON\\n\\n\nnews {}\n"
        "@raw event: stdout\\ndata: {\"type\":\"stderr\",\"x\":{\"data\":\"no\"},\"offset\":0,\"data\":\"YWI=\"}\\n\\n\n" SSE_EXIT(0),
        "@raw event: stdout\\ndata: {\"data\":\"YW\\n\\n\n" SSE_EXIT(0),
        "@raw event: stdout\\ndata: {\"offset\":0,\"data\":\"YWI\"}\\n\\n\n" SSE_EXIT(0),
        "@raw event: stdout\\ndata: {\"offset\":0,\"data\":\"YW-=\"}\\n\\n\n" SSE_EXIT(0),
        "@raw data: {\"offset\":0}\\nevent: stdout\\n\\nevent: exit\\ndata: {}\\nevent: stdout\\n\\n\n" SSE_EXIT(0),
    };
    static const char *const want[] = { "started o0:ab end(OK,0)", "started o0:ab end(OK,0)", "started o0:ab end(OK,0)", "started o0:ab end(OK,0)",
                                        "end(PROTOCOL,-1)", "end(PROTOCOL,-1)", "end(PROTOCOL,-1)", "end(PROTOCOL,-1)" };

    (void)state;
    for (size_t i = 0; i < sizeof talks / sizeof *talks; i++)
        for (uint32_t most = 0; most < 6; most++) {
            const char *got;
            sbx_op op;

            kit_start(i);
            K.s->knobs.recv_max = most;
            talk(talks[i], NULL, NULL);
            op = sse_command();
            got = record_all(op);
            /* What stands before the mistake is delivered where it came apart from it. */
            if (strcmp(got, want[i]) != 0 && !(strstr(want[i], "PROTOCOL") && strstr(got, want[i]) && !strstr(got, "retry")))
                fail_msg("talk %u by %u: %s %s", (unsigned)i, (unsigned)most, got, kit_error(op).text);
            kit_end();
        }
}

/* ---- acknowledgements ---- */

/* What was received is told at once, on the same connection, and is no drop. */
static void test_ack(void **state)
{
    sbx_usage u;
    int64_t begun;

    (void)state;
    kit_start(2);
    talk(SSE_STARTED SSE_OUT("abc", 0) SSE_ERR("E", 0) SSE_ACK "@end\n", "?\"stdout_offset\":3,\"stderr_offset\":1\n" SSE_OUT("de", 3) SSE_ACK "@end\n",
         "?\"stdout_offset\":5,\"stderr_offset\":1\n" SSE_STARTED SSE_OUT("f", 5) SSE_EXIT(0));
    begun = K.s->now;
    assert_string_equal(record_all(sse_command()), "started o0:abc e0:E o3:def end(OK,0)");
    assert_int_equal(K.s->now, begun);
    assert_int_equal(K.s->accepted, 1);
    sbx_get_usage(K.c, &u);
    assert_int_equal(u.reconnects, 0);
    assert_int_equal(u.retries, 0);
    assert_int_equal(u.reused, 2);
    assert_string_equal(kit_request(0)->target, "/b/one/execute/stream/resume");
    assert_string_equal(the_command()->log.p, "ER(3,1)R(5,1)");
    kit_end();
}

/* An answer that does not end is not waited for, one that breaks is none. */
static void test_ack_without_end(void **state)
{
    static const char *const ends[] = { "", "@rst\n", "@eof\n", "@ms 300\n@end\n", "stdout {\"offset\":9}\n@raw more\n", "@ms 900\n: beat\n@ms 900\n: beat\n@ms 100000\n" };

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char first[300];
        int64_t begun;

        kit_start(i);
        snprintf(first, sizeof first, SSE_STARTED SSE_OUT("abc", 0) SSE_ACK "%s", ends[i]);
        talk(first, "?\"stdout_offset\":3,\n" SSE_OUT("d", 3) SSE_EXIT(0), NULL);
        if (i == 5) /* talked of above as comments */
            K.s->plans[0].talk[0] = SSE_STARTED SSE_OUT("abc", 0) SSE_ACK "@ms 900\n@raw : beat\\n\n@ms 900\n@raw : beat\\n\n@ms 100000\n";
        begun = K.s->now;
        assert_string_equal(record_all(sse_command()), "started o0:abcd end(OK,0)");
        assert_true(K.s->now - begun <= 1000);
        kit_end();
    }
}

/* Without output between them it goes on with back-off, five times. */
static void test_ack_for_nothing(void **state)
{
    (void)state;
    kit_start(3);
    talk(SSE_STARTED SSE_OUT("a", 0) SSE_ACK "@end\n", SSE_STARTED SSE_ACK "@end\n", NULL);
    assert_string_equal(record_all(sse_command()), "started o0:a retry(CONNECTION) again retry(CONNECTION) again retry(CONNECTION) again "
                                                   "retry(CONNECTION) again retry(CONNECTION) again end(CONNECTION,-1)");
    assert_int_equal(the_command()->connections, 7);
    kit_end();
}

/* A slow reader: what it did not take is not acknowledged, and nothing is lost. */
static void test_slow_consumer(void **state)
{
    sim_plan p = { 0 };
    uint64_t at = 0;
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_start(4);
    p.n[0] = 300000;
    p.ring = 20000;
    p.chunk = 3000;
    sim_add_plan(K.s, &p);
    op = sse_command();
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind != SBX_EV_STDOUT) {
            assert_true(ev.kind == SBX_EV_STARTED || ev.kind == SBX_EV_END);
            continue;
        }
        assert_int_equal(ev.offset, at);
        assert_memory_equal(ev.data.p, sim_pattern() + at, ev.data.n);
        assert_true(the_command()->acked[0] <= at);
        at += ev.data.n;
        K.s->now += at % 50000 < 3000 ? 120000 : 7; /* longer than any timer, now and then */
    }
    ASSERT_CODE(ev.code, SBX_OK);
    assert_int_equal(at, 300000);
    assert_true(the_command()->acks >= 14);
    kit_end();
}

/* ---- drops ---- */

static void test_resume(void **state)
{
    static const char *const ends[] = { "@end", "@eof", "@rst", SSE_ERROR("ServerShuttingDown") "@end", "error {\"error_type\":\"ServerShuttingDown\"}\n@rst" };

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (uint32_t most = 0; most < 3; most++) {
            char first[300];
            int64_t begun;

            kit_start(i);
            K.s->knobs.recv_max = most;
            snprintf(first, sizeof first, SSE_STARTED SSE_OUT("a", 0) "%s", ends[i]);
            talk(first, "?\"stdout_offset\":1,\"stderr_offset\":0\n" SSE_STARTED SSE_OUT("b", 1) SSE_EXIT(0), NULL);
            begun = K.s->now;
            assert_string_equal(record_all(sse_command()), "started o0:a retry(CONNECTION) again o1:b end(OK,0)");
            assert_true(K.s->now - begun >= 250 && K.s->now - begun <= 500);
            kit_end();
        }
}

/* Only new output counts as progress. */
static void test_five_drops(void **state)
{
    (void)state;
    kit_start(5);
    talk(SSE_STARTED SSE_OUT("a", 0) "@rst", SSE_STARTED SSE_OUT("a", 0) "@eof", NULL);
    assert_string_equal(record_all(sse_command()), "started o0:a retry(CONNECTION) again retry(CONNECTION) again retry(CONNECTION) again "
                                                   "retry(CONNECTION) again retry(CONNECTION) again end(CONNECTION,-1)");
    assert_int_equal(the_command()->connections, 6);
    kit_end();

    kit_start(5);
    {
        sim_plan p = { 0 };

        p.talk[0] = SSE_STARTED "@end";
        for (int i = 1; i < 5; i++)
            p.talk[i] = SSE_STARTED "@end";
        p.talk[5] = SSE_OUT("a", 0) "@end";
        for (int i = 6; i < 9; i++)
            p.talk[i] = "@end";
        p.talk[9] = SSE_OUT("b", 1) SSE_EXIT(2);
        sim_add_plan(K.s, &p);
    }
    assert_non_null(strstr(record_all(sse_command()), "o0:a retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) retry(CONNECTION) again o1:b end(OK,2)"));
    kit_end();
}

static void test_no_reconnect(void **state)
{
    sbx_run_opts o = sse;

    (void)state;
    kit_start(6);
    talk(SSE_STARTED SSE_OUT("a", 0) SSE_ACK "@end", SSE_OUT("b", 1) "@end", NULL);
    o.no_reconnect = true;
    assert_string_equal(record_all(command(&o)), "started o0:ab end(CONNECTION,-1)");
    kit_end();
}

/* Heartbeats keep it alive, silence breaks it. */
static void test_silence(void **state)
{
    int64_t begun;

    (void)state;
    kit_new(7);
    K.d.sse_read_ms = 20000;
    kit_open();
    talk(SSE_STARTED "@ms 15000\n@raw : beat\\n\n@ms 15000\n@raw :\\n\n@ms 15000\n" SSE_OUT("a", 0), "?\"stdout_offset\":1\n" SSE_EXIT(0), NULL);
    begun = K.s->now;
    assert_string_equal(record_all(sse_command()), "started o0:a retry(DEADLINE) end(OK,0)");
    assert_true(K.s->now - begun >= 65000 && K.s->now - begun <= 65600);
    kit_end();

    /* A server that never says `started` is given up when the time to open is over. */
    kit_new(7);
    K.d.ws_connect_budget_ms = 50000;
    kit_open();
    talk("@raw :\\n\n@ms 20000\n@raw :\\n\n@ms 20000\n@raw :\\n\n@ms 100000\n", NULL, NULL);
    begun = K.s->now;
    assert_string_equal(record_all(sse_command()), "retry(DEADLINE) end(DEADLINE,-1)");
    assert_true(K.s->now - begun >= 50000 && K.s->now - begun <= 61000);
    kit_end();
}

/* ---- where output lies ---- */

/* Signs of life are no start, and no answer to an acknowledgement: a command that
   never gets further has an end. */
static void test_only_beats(void **state)
{
    static char beats[40000], after[41000];
    int64_t begun;
    size_t n = 0;

    (void)state;
    while (n < sizeof beats - 100)
        n += (size_t)snprintf(beats + n, 60, "@ms 500\n@raw : beat\\n\\n\n");
    kit_start(9);
    talk(beats, NULL, NULL);
    begun = K.s->now;
    record_all(sse_command());
    assert_non_null(strstr(record_text, "end("));
    assert_true(K.s->now - begun < 300000);
    kit_end();

    kit_start(9);
    snprintf(after, sizeof after, SSE_STARTED SSE_OUT("a", 0) SSE_ACK "%s", beats);
    talk(after, SSE_OUT("b", 1) SSE_EXIT(0), NULL);
    begun = K.s->now;
    assert_string_equal(record_all(sse_command()), "started o0:ab end(OK,0)");
    assert_true(K.s->now - begun <= 1000);
    kit_end();
}

static void test_offsets(void **state)
{
    (void)state;
    kit_start(8);
    talk(SSE_STARTED SSE_OUT("abcdef", 0) "@end", SSE_STARTED SSE_OUT("abcd", 0) SSE_OUT("efgh", 4) SSE_OUT("gh", 6) SSE_OUT("hi", 7) SSE_EXIT(0), NULL);
    assert_string_equal(record_all(sse_command()), "started o0:abcdef retry(CONNECTION) again o6:ghi end(OK,0)");
    kit_end();

    /* What was received already is not asked for again, though the server went back. */
    kit_start(8);
    talk(SSE_STARTED SSE_OUT("abcdef", 0) "@end", SSE_STARTED SSE_OUT("ab", 0) "@end", "?\"stdout_offset\":6\n" SSE_OUT("g", 6) SSE_EXIT(0));
    assert_string_equal(record_all(sse_command()), "started o0:abcdef retry(CONNECTION) again retry(CONNECTION) again o6:g end(OK,0)");
    kit_end();

    kit_start(8); /* a hole */
    talk(SSE_STARTED SSE_OUT("ab", 0) SSE_OUT("cd", 3) SSE_EXIT(0), NULL, NULL);
    assert_string_equal(record_all(sse_command()), "started o0:ab end(PROTOCOL,-1)");
    kit_end();
}

/* Events larger than the receive buffer, whose offset may come last. */
static void test_large(void **state)
{
    static char late[9000];
    sim_bytes b = { NULL, 0, 0 };

    (void)state;
    sim_base64(&b, sim_pattern(), 5000);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t at = 0;
        sbx_event ev;
        sbx_op op;

        kit_new(9 + i);
        K.d.rx_bytes = 512;
        kit_open();
        K.s->knobs.recv_max = i == 1 ? 3 : 0;
        snprintf(late, sizeof late, SSE_STARTED "stdout {\"data\":\"%s\",\"offset\":%d}\n@big stderr 50000 0\n" SSE_EXIT(0), b.p, i == 2 ? 1 : 0);
        talk(late, NULL, NULL);
        op = sse_command();
        while (sbx_next_of(K.c, &op, &ev))
            if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR) {
                at = ev.offset ? at : 0;
                assert_int_equal(ev.offset, at);
                assert_memory_equal(ev.data.p, sim_pattern() + at, ev.data.n);
                at += ev.data.n;
            }
        ASSERT_CODE(ev.code, i == 2 ? SBX_ERR_PROTOCOL : SBX_OK);
        assert_int_equal(at, i == 2 ? 5000 : 50000);
        kit_end();
    }
    free(b.p);
}

/* ---- errors ---- */

static void test_errors(void **state)
{
    static const struct {
        const char *type, *end;
    } cases[] = {
        { "CommandTimeout", "end(COMMAND_TIMEOUT,-1)" }, { "CommandError", "end(COMMAND,-1)" }, { "SessionExpired", "end(SESSION_EXPIRED,-1)" },
        { "CommandNotFound", "end(COMMAND_NOT_FOUND,-1)" }, { "ReadOffsetUnavailable", "end(RANGE,-1)" }, { "InvalidOffset", "end(RANGE,-1)" }, { "Newer", "end(COMMAND,-1)" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300], want[100];
        sbx_op op;

        kit_start(i);
        snprintf(text, sizeof text, SSE_STARTED SSE_OUT("a", 0) "error {\"error\":\"as told\",\"error_type\":\"%s\"}\n@end\n", cases[i].type);
        talk(text, NULL, NULL);
        op = sse_command();
        snprintf(want, sizeof want, "started o0:a %s", cases[i].end);
        assert_string_equal(record_all(op), want);
        assert_string_equal(kit_error(op).text, "as told");
        assert_string_equal(kit_error(op).type, cases[i].type);
        assert_int_equal(kit_error(op).layer, SBX_LAYER_SERVICE);
        kit_end();
    }
}

static void test_open_rejected(void **state)
{
    static const struct {
        int status;
        const char *head, *body;
        sbx_code code;
        const char *text;
        unsigned requests;
    } cases[] = {
        { 404, NULL, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, "SBX_VIA_WS", 1 },
        { 404, NULL, "404 page not found", SBX_ERR_NO_ENDPOINT, "SBX_VIA_WS", 1 },
        { 404, NULL, "{\"error\":\"ResourceNotFound\",\"message\":\"no box\"}", SBX_ERR_NOT_FOUND, "no box", 1 },
        { 409, NULL, "{\"error\":\"TransportMismatch\",\"message\":\"ws\"}", SBX_ERR_UNSUPPORTED, "SBX_VIA_WS", 1 },
        { 409, NULL, "{\"error\":\"PTYUnsupported\",\"message\":\"pty\"}", SBX_ERR_UNSUPPORTED, "terminal", 1 },
        { 409, NULL, "{\"error\":\"ReadOffsetUnavailable\",\"message\":\"gone\"}", SBX_ERR_RANGE, "gone", 1 },
        { 400, NULL, "{\"error\":\"InvalidOffset\",\"message\":\"ahead\"}", SBX_ERR_RANGE, "ahead", 1 },
        { 401, NULL, "{\"detail\":{\"message\":\"bad key\",\"error_id\":\"E-17\"}}", SBX_ERR_AUTH, "bad key (error_id E-17)", 1 },
        { 200, "Content-Type: text/html\r\n", "<html>", SBX_ERR_PROTOCOL, "text/event-stream", 1 },
        { 200, NULL, "{}", SBX_ERR_PROTOCOL, "text/event-stream", 1 },
        { 200, "Content-Type: text/event-streams\r\n", "", SBX_ERR_PROTOCOL, "text/event-stream", 1 },
        { 500, NULL, "oops", SBX_ERR_SERVER, "", 6 },
        { 502, NULL, "<html>", SBX_ERR_SERVER, "", 6 },
        { 503, NULL, "{\"detail\":{\"message\":\"later\"}}", SBX_ERR_SERVER, "later", 6 },
        { 429, NULL, "{\"detail\":\"slow down\"}", SBX_ERR_QUOTA, "slow down", 6 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sim_script e = { 0 };
        sbx_run_opts o = sse;
        sbx_op op;

        kit_start(i);
        e.status = cases[i].status;
        e.head = cases[i].head;
        e.body = cases[i].body;
        e.times = -1;
        sim_expect(K.s, &e);
        o.discard = true;
        op = sbx_run(K.c, &K.box, sbx_s("x"), &o, NULL);
        ASSERT_CODE(sbx_await(K.c, op), cases[i].code);
        assert_int_equal(K.s->request_n, cases[i].requests);
        assert_int_equal(kit_error(op).status, cases[i].status);
        if (!strstr(kit_error(op).text, cases[i].text))
            fail_msg("case %u: %s", (unsigned)i, kit_error(op).text);
        /* The server refused it: it is started again, not resumed. */
        for (unsigned k = 0; k < cases[i].requests; k++)
            assert_string_equal(kit_request(k)->target, "/b/one/execute/stream/start");
        kit_end();
    }
}

/* A start that may have arrived is not sent again. */
static void test_lost_start(void **state)
{
    sim_script e = { 0 };
    sbx_op op;

    (void)state;
    kit_start(10); /* it had arrived */
    talk("@rst", "?{\"command_id\":\"\n" SSE_STARTED SSE_OUT("a", 0) SSE_EXIT(0), NULL);
    assert_string_equal(record_all(sse_command()), "retry(CONNECTION) started o0:a end(OK,0)");
    assert_string_equal(the_command()->log.p, "ER(0,0)");
    kit_end();

    kit_start(10); /* it had not, or is forgotten */
    e.match = "/execute/stream/start";
    e.end = SIM_RST;
    sim_expect(K.s, &e);
    op = sse_command();
    assert_string_equal(record_all(op), "retry(CONNECTION) end(OUTCOME,-1)");
    assert_string_equal(kit_error(op).type, "CommandNotFound");
    assert_true(kit_error(op).sent);
    assert_int_equal(K.s->request_n, 2);
    kit_end();

    kit_start(10); /* nothing was sent: the very same request */
    talk(SSE_STARTED SSE_EXIT(0), NULL, NULL);
    K.s->fail_at = 1;
    K.s->fail_kind = SIM_FAULT_FAIL;
    assert_string_equal(record_all(sse_command()), "retry(CONNECT) started end(OK,0)");
    assert_string_equal(the_command()->log.p, "E");
    kit_end();
}

/* A kept connection may be closing: a start takes a fresh one. */
static void test_start_takes_a_fresh_connection(void **state)
{
    (void)state;
    kit_start(11);
    talk(SSE_STARTED SSE_EXIT(0), NULL, NULL);
    assert_string_equal(record_all(sse_command()), "started end(OK,0)");
    assert_string_equal(record_all(sse_command()), "started end(OK,0)");
    assert_int_equal(K.s->accepted, 2);
    kit_end();
}

static void test_attach(void **state)
{
    sbx_attach_opts o = { .via = SBX_VIA_SSE, .stdout_offset = 5, .stderr_offset = 2 };
    sbx_header header = { { "X-Mine", 6 }, { "1", 1 } };
    uint64_t out, err;
    char id[37], text[40];
    sbx_op op;

    (void)state;
    kit_start(12);
    talk("?{\"command_id\":\"mine\",\"stdout_offset\":5,\"stderr_offset\":2}\n" SSE_STARTED SSE_OUT("f", 5) "@rst",
         "?{\"command_id\":\"mine\",\"stdout_offset\":6,\"stderr_offset\":2}\n" SSE_ERR("g", 2) SSE_EXIT(1), NULL);
    K.s->plans[0].id = "mine";
    o.call.headers = &header;
    o.call.headers_n = 1;
    op = sbx_attach(K.c, &K.box, sbx_s("mine"), &o);
    record_text[0] = 0;
    record_until(op, SBX_EV_STDERR);
    ASSERT_CODE(sbx_command_position(K.c, op, id, &out, &err), SBX_OK);
    assert_string_equal(id, "mine");
    assert_int_equal(out, 6);
    assert_int_equal(err, 3);
    assert_string_equal(record_rest(op), "started o5:f retry(CONNECTION) again e2:g end(OK,1)");
    for (unsigned i = 0; i < 2; i++)
        assert_string_equal(sim_header(kit_request(i), "X-Mine", text, sizeof text), "1");
    kit_end();

    kit_start(12); /* no such command */
    op = sbx_attach(K.c, &K.box, sbx_s("lost"), &o);
    assert_string_equal(record_all(op), "end(COMMAND_NOT_FOUND,-1)");
    assert_string_equal(kit_error(op).text, "no such command");
    assert_int_equal(kit_error(op).resource, SBX_RESOURCE_COMMAND);
    kit_end();
}

/* A server that goes down tells all at once: none of them needs memory for it. */
static void test_shutdown_of_many(void **state)
{
    unsigned ended = 0, out = 0, again = 0;
    sbx_event ev;

    (void)state;
    kit_new(13);
    K.d.max_requests = 12;
    kit_open();
    talk(SSE_STARTED SSE_OUT("a", 0) "@ms 5000\n" SSE_ERROR("ServerShuttingDown") "@end", "?\"stdout_offset\":1,\n" SSE_OUT("b", 1) SSE_EXIT(0), NULL);
    for (int i = 0; i < 12; i++)
        sse_command();
    for (int i = 0; i < 1000 && ended < 12; i++) {
        sbx_wait(K.c, SBX_FOREVER);
        while (sbx_next(K.c, &ev)) {
            sbx_usage u;

            again += ev.kind == SBX_EV_RECONNECTED;
            out += ev.kind == SBX_EV_STDOUT ? (unsigned)ev.data.n : 0;
            if (ev.kind == SBX_EV_RETRYING) {
                sbx_get_usage(K.c, &u);
                assert_int_equal(u.requests, 0);
            }
            if (ev.kind == SBX_EV_END) {
                ASSERT_CODE(ev.code, SBX_OK);
                ended++;
            }
        }
    }
    assert_int_equal(ended, 12);
    assert_int_equal(out, 24);
    assert_int_equal(again, 12);
    kit_end();
}

/* ---- anything ---- */

static void run_seed(uint64_t seed)
{
    sim_plan p = { 0 };
    sbx_run_opts o = sse;
    sbx_result r;
    uint64_t at[2] = { 0, 0 };
    static char out[70000], err[70000];
    bool streamed = seed % 2;
    sbx_event ev;
    sbx_op op;

    kit_new(seed);
    K.d.rx_bytes = sim_draw(K.s, 2) ? 512 + sim_draw(K.s, 2000) : 0;
    K.d.ws_connect_budget_ms = SBX_FOREVER;
    kit_open();
    K.s->knobs.recv_max = sim_draw(K.s, 3) ? 1u << sim_draw(K.s, 12) : 0;
    K.s->knobs.send_max = sim_draw(K.s, 2) ? 100 : 0;
    K.s->knobs.block = sim_draw(K.s, 2) ? 100 : 0;
    K.s->knobs.delay_ms = sim_draw(K.s, 2) ? 50 : 0;
    K.s->knobs.odd = sim_draw(K.s, 2) ? 200 : 0;
    K.s->knobs.drop = sim_draw(K.s, 2) ? 50 : 0;
    K.s->knobs.drop_open = sim_draw(K.s, 2) ? 200 : 0;
    p.n[0] = sim_draw(K.s, sizeof out);
    p.n[1] = sim_draw(K.s, 3) ? sim_draw(K.s, sizeof err) : 0;
    p.from[1] = 5;
    p.chunk = 1 + sim_draw(K.s, 5000);
    p.pieces = sim_draw(K.s, 5);
    p.every_ms = sim_draw(K.s, 20000);
    p.ring = sim_draw(K.s, 2) ? 1000 + sim_draw(K.s, 30000) : 0;
    p.exit_code = (int)sim_draw(K.s, 256) - 20;
    sim_add_plan(K.s, &p);
    if (streamed) {
        op = sse_command();
        while (sbx_next_of(K.c, &op, &ev)) {
            int i = ev.stream - 1;

            if (ev.kind == SBX_EV_GAP)
                fail_msg("seed %llu: a gap", (unsigned long long)seed);
            if (ev.kind != SBX_EV_STDOUT && ev.kind != SBX_EV_STDERR)
                continue;
            assert_int_equal(ev.offset, at[i]);
            assert_memory_equal(ev.data.p, sim_pattern() + p.from[i] + at[i], ev.data.n);
            at[i] += ev.data.n;
            K.s->now += sim_draw(K.s, 100) ? 0 : 1000;
        }
        if (ev.code != SBX_OK)
            fail_msg("seed %llu: %s %s", (unsigned long long)seed, sbx_code_name(ev.code), kit_error(ev.op).text);
        assert_int_equal(at[0], p.n[0]);
        assert_int_equal(at[1], p.n[1]);
        assert_int_equal(ev.exit_code, p.exit_code);
    } else {
        o.out.p = out;
        o.out.n = sizeof out;
        o.err.p = err;
        o.err.n = sizeof err;
        op = sbx_run(K.c, &K.box, sbx_s("x"), &o, &r);
        if (sbx_await(K.c, op) != SBX_OK)
            fail_msg("seed %llu: %s", (unsigned long long)seed, kit_error(op).text);
        assert_int_equal(r.out_n, p.n[0]);
        assert_int_equal(r.err_n, p.n[1]);
        assert_memory_equal(out, sim_pattern(), r.out_n);
        assert_memory_equal(err, sim_pattern() + 5, r.err_n);
        assert_int_equal(r.exit_code, p.exit_code);
        assert_false(r.gap);
    }
    assert_int_equal(the_command()->executes > 0, true);
    kit_end();
}

static void test_random(void **state)
{
    const char *only = getenv("SEED");

    (void)state;
    if (only)
        run_seed(strtoull(only, NULL, 10));
    for (uint64_t seed = 1; !only && seed <= 400; seed++)
        run_seed(seed);
}

/* Behind an acknowledgement output may come without a start, and when nobody asks
   for events: it waits. */
static void test_output_without_start(void **state)
{
    char seen[16] = { 0 };
    size_t n = 0;
    sbx_event ev;

    (void)state;
    kit_start(1);
    talk(SSE_STARTED SSE_OUT("ab", 0) SSE_ACK "@end", "@raw event: stdout\\ndata: {\"data\":\"Y2Q=\",\n@ms 50\n@raw \"offset\":2}\\n\\n\n" SSE_EXIT(0), NULL);
    sse_command();
    do {
        assert_true(sbx_wait(K.c, 1000));
        sbx_step(K.c, K.s->now);
        while (sbx_next(K.c, &ev) && ev.kind != SBX_EV_END)
            if (ev.kind == SBX_EV_STDOUT) {
                assert_int_equal(ev.offset, n);
                assert_true(n + ev.data.n < sizeof seen);
                memcpy(seen + n, ev.data.p, ev.data.n);
                n += ev.data.n;
            }
    } while (ev.kind != SBX_EV_END);
    ASSERT_CODE(ev.code, SBX_OK);
    assert_string_equal(seen, "abcd");
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_argv_and_stdin), cmocka_unit_test(test_refused), cmocka_unit_test(test_binary),
        cmocka_unit_test(test_grammar), cmocka_unit_test(test_ack), cmocka_unit_test(test_ack_without_end), cmocka_unit_test(test_ack_for_nothing),
        cmocka_unit_test(test_slow_consumer), cmocka_unit_test(test_resume), cmocka_unit_test(test_five_drops), cmocka_unit_test(test_no_reconnect),
        cmocka_unit_test(test_silence), cmocka_unit_test(test_only_beats), cmocka_unit_test(test_offsets), cmocka_unit_test(test_large), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_open_rejected), cmocka_unit_test(test_lost_start), cmocka_unit_test(test_start_takes_a_fresh_connection),
        cmocka_unit_test(test_attach), cmocka_unit_test(test_shutdown_of_many), cmocka_unit_test(test_random),
        cmocka_unit_test(test_output_without_start),
    };

    return cmocka_run_group_tests_name("commands over SSE", tests, NULL, NULL);
}
