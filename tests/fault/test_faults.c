/* A whole session in which the n-th call of the transport fails, for every n,
   in every way; likewise the allocator and the source of randomness; and a
   client that is given less memory than it asked for. */
#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS */
#include "../sim/kit.h"

#include <sys/mman.h>

enum { STEPS = 30, SHORT = 2001, LONG = 3001 /* both end between two characters */ };

typedef struct session {
    sbx_code codes[STEPS];
    const char *names[STEPS];
    unsigned n;
} session;

static session S;

static sbx_code step(const char *name, sbx_op op)
{
    sbx_code code = sbx_await(K.c, op);

    S.names[S.n] = name;
    S.codes[S.n++] = code;
    if (code != SBX_OK) {
        sbx_error e = kit_error(op);

        assert_int_equal(e.code, code);
        assert_int_not_equal(e.text[0], 0);
    }
    return code;
}

static void stream(void)
{
    sbx_run_opts o = { 0 };
    sbx_event ev;
    sbx_op op;
    size_t taken, at = 0;
    bool ended = false;

    o.stdin_open = true;
    op = sbx_command(K.c, &K.box, sbx_s("session"), &o);
    if (!op.slot) {
        step("command", op);
        return;
    }
    while (sbx_next_of(K.c, &op, &ev)) {
        assert_false(ended);
        switch (ev.kind) {
        case SBX_EV_STDOUT:
            assert_int_equal(ev.offset, at);
            assert_memory_equal(ev.data.p, sim_pattern() + at, ev.data.n);
            at += ev.data.n;
            if (at == LONG) {
                sbx_input(K.c, op, sbx_s("input"), &taken);
                ASSERT_CODE(sbx_close_stdin(K.c, op), SBX_OK);
                ASSERT_CODE(sbx_kill(K.c, op), SBX_OK);
            }
            break;
        case SBX_EV_END:
            ended = true;
            S.names[S.n] = "command";
            S.codes[S.n++] = ev.code;
            if (ev.code == SBX_OK) {
                assert_int_equal(at, LONG);
                assert_int_equal(ev.exit_code, -9);
            }
            break;
        default: break;
        }
    }
    assert_true(ended);
}

/* A service, asked with a token that has to be renewed, and a link. */
static void urls(void)
{
    static const char echoed[] = "PUT /b/one/service/x?y\nbody";
    sbx_request_opts ask = { 0 };
    sbx_read_opts read = { 0 };
    sbx_service service;
    sbx_download link;
    sbx_response answer;
    sbx_read_result file;

    if (step("service_open", sbx_service_open(K.c, &K.box, 80, NULL, &service)) == SBX_OK) {
        service.expires_ms = 1;
        ask.alloc = true;
        ask.body = sbx_s("body");
        if (step("request", sbx_request(K.c, &service, sbx_s("PUT"), sbx_s("/x?y"), &ask, &answer)) == SBX_OK) {
            assert_int_equal(answer.status, 200);
            assert_string_equal(answer.p, echoed);
            sbx_free(K.c, answer.p);
        }
    }
    if (step("download_url", sbx_download_url(K.c, &K.box, sbx_s("/f"), NULL, &link)) == SBX_OK) {
        read.alloc = true;
        if (step("fetch", sbx_fetch(K.c, sbx_s(link.url), &read, &file)) == SBX_OK) {
            assert_int_equal(file.n, 5000);
            assert_memory_equal(file.p, sim_pattern(), 5000);
            sbx_free(K.c, file.p);
        }
    }
}

/* A snapshot of the sandbox, which takes a moment. */
static void snapshots(void)
{
    sbx_snapshot_opts o = { 0 };
    sbx_snapshot made, same;

    K.s->ready_after = 1;
    o.poll_ms = 100;
    if (step("capture", sbx_snapshot_capture(K.c, &K.box, sbx_s("base"), &o, &made)) == SBX_OK) {
        assert_int_equal(made.status, SBX_STATUS_READY);
        if (step("snapshot_get", sbx_snapshot_get(K.c, sbx_s(made.id), NULL, &same)) == SBX_OK)
            assert_string_equal(same.id, made.id);
    }
}

/* Calls of older servers; none of them creates, so that all of them repeat. */
static void old(void)
{
    sbx_volume_opts v = { 0 };
    sbx_pool_opts p = { 0 };
    sbx_template template;
    sbx_volume volume;
    sbx_pool pool;
    sbx_list_result listed;
    sbx_list_opts list = { 0 };

    if (step("template_get", sbx_template_get(K.c, sbx_s("one"), NULL, &template)) == SBX_OK)
        assert_string_equal(template.cpu, "1");
    v.size = sbx_s("1Gi");
    if (step("volume_update", sbx_volume_update(K.c, sbx_s("one"), &v, &volume)) == SBX_OK)
        assert_string_equal(volume.size, "1Gi");
    p.replicas = 2;
    if (step("pool_update", sbx_pool_update(K.c, sbx_s("one"), &p, &pool)) == SBX_OK)
        assert_int_equal(pool.replicas, 2);
    list.items.p = &volume;
    list.items.n = sizeof volume;
    if (step("volume_list", sbx_volume_list(K.c, &list, &listed)) == SBX_OK)
        assert_int_equal(listed.stored, 1);
    step("template_delete", sbx_template_delete(K.c, sbx_s("one"), NULL));
}

/* A tunnel with one connection, whose bytes come back. */
static void tunnel(void)
{
    sbx_tunnel_opts o = { 0 };
    size_t said = 0, heard = 0, taken;
    sbx_op through, op;
    sbx_event ev;

    o.window = 1024;
    o.max_streams = 1;
    through = sbx_tunnel_open(K.c, &K.box, &o);
    if (!through.slot) {
        step("tunnel_open", through);
        return;
    }
    op = sbx_tunnel_dial(K.c, through, 7, NULL);
    assert_int_not_equal(op.slot, 0);
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_STARTED || ev.kind == SBX_EV_WRITABLE) {
            if (said < SHORT && sbx_tunnel_send(K.c, op, sbx_sn((const char *)sim_pattern() + said, SHORT - said), true, &taken) == SBX_OK)
                said += taken;
        } else if (ev.kind == SBX_EV_DATA) {
            assert_int_equal(ev.offset, heard);
            assert_memory_equal(ev.data.p, sim_pattern() + heard, ev.data.n);
            heard += ev.data.n;
        } else if (ev.kind == SBX_EV_END) {
            S.names[S.n] = "tunnel_dial";
            S.codes[S.n++] = ev.code;
            if (ev.code == SBX_OK)
                assert_int_equal(heard, SHORT);
        }
    }
    ASSERT_CODE(sbx_tunnel_close(K.c, through), SBX_OK);
    step("tunnel_open", through);
}

/* A command over SSE, whose output needs acknowledgements. */
static void events(void)
{
    sbx_run_opts o = { 0 };
    sbx_result r;

    memset(&r, 0, sizeof r);
    o.via = SBX_VIA_SSE;
    o.alloc = true;
    if (step("events", sbx_run(K.c, &K.box, sbx_s("acks"), &o, &r)) == SBX_OK) {
        assert_int_equal(r.out_n, SHORT);
        assert_memory_equal(r.out_p, sim_pattern(), SHORT);
    }
    if (r.pid || S.codes[S.n - 1] == SBX_OK) { /* written for a command that was started */
        sbx_free(K.c, r.out_p);
        sbx_free(K.c, r.err_p);
    }
}

static void ended(const char *name, sbx_code code)
{
    S.names[S.n] = name;
    S.codes[S.n++] = code;
}

/* A program that asks the caller's SSH agent, and is answered. */
static void agent(void)
{
    sbx_run_opts o = { 0 };
    size_t taken, heard = 0;
    sbx_event ev;
    sbx_op op;

    o.ssh_agent_forward = true;
    op = sbx_command(K.c, &K.box, sbx_s("agent"), &o);
    if (!op.slot) {
        step("agent", op);
        return;
    }
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_AGENT_DATA || ev.kind == SBX_EV_AGENT_CLOSE)
            assert_memory_equal(ev.channel.p, "ch", 2);
        if (ev.kind == SBX_EV_AGENT_DATA) {
            sbx_code code = sbx_agent_send(K.c, op, sbx_s("ch"), sbx_s("answer"), &taken);

            heard += ev.data.n;
            assert_true(code == SBX_OK || code == SBX_ERR_STATE || code == SBX_ERR_ENTROPY);
        }
        if (ev.kind == SBX_EV_END) {
            ended("agent", ev.code);
            assert_true(ev.code != SBX_OK || heard >= 5);
        }
    }
}

/* A body that the caller pushes, again where it has to be. */
static void pushed(void)
{
    sbx_write_opts o = { 0 };
    size_t said = 0, taken;
    sbx_event ev;
    sbx_op op;

    o.stream = true;
    o.size = 5000;
    op = sbx_write(K.c, &K.box, sbx_s("/g"), sbx_s(NULL), &o);
    if (!op.slot) {
        step("push", op);
        return;
    }
    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_REWIND) {
            ASSERT_CODE(sbx_rewind(K.c, op), SBX_OK);
            said = 0;
        } else if (ev.kind == SBX_EV_WRITABLE) {
            if (sbx_push(K.c, op, sbx_sn((const char *)sim_pattern() + said, 5000 - said), true, &taken) == SBX_OK)
                said += taken;
        } else if (ev.kind == SBX_EV_END) {
            ended("push", ev.code);
            if (ev.code == SBX_OK)
                assert_int_equal(said, 5000);
        }
    }
}

/* Everything once, whatever becomes of the parts. */
static void run_session(void)
{
    sbx_create_opts create = { 0 };
    sbx_mount mount = { 0 };
    sbx_mount_auth auth = { 0 };
    sbx_box_proxy proxy = { 0 };
    sbx_run_opts run = { 0 };
    sbx_read_opts read = { 0 };
    sbx_box_info infos[4];
    sbx_list_opts list = { 0 };
    sbx_list_result listed;
    sbx_read_result file;
    sbx_result result;
    sbx_box box;
    sbx_op op;

    memset(&S, 0, sizeof S);
    memset(&result, 0, sizeof result);
    create.delete_on_close = true;
    mount.id = mount.mount_path = sbx_s("/m");
    mount.s3.bucket = sbx_s("b");
    auth.aws.role_arn = sbx_s("arn");
    create.mounts = &mount;
    create.mounts_n = 1;
    create.mount_auth = &auth;
    create.proxy = &proxy;
    step("create", sbx_create(K.c, &create, &box));
    run.alloc = true;
    if (step("run", sbx_run(K.c, &K.box, sbx_s("short"), &run, &result)) == SBX_OK) {
        assert_int_equal(result.out_n, SHORT);
        assert_memory_equal(result.out_p, sim_pattern(), SHORT);
        sbx_free(K.c, result.out_p);
        sbx_free(K.c, result.err_p);
    } else if (result.pid) { /* written for a command that was started */
        sbx_free(K.c, result.out_p);
        sbx_free(K.c, result.err_p);
    }
    stream();
    events();
    step("write", sbx_write(K.c, &K.box, sbx_s("/f"), sbx_sn((const char *)sim_pattern(), 5000), NULL));
    read.alloc = true;
    if (step("read", sbx_read(K.c, &K.box, sbx_s("/f"), &read, &file)) == SBX_OK) {
        assert_int_equal(file.n, 5000);
        assert_memory_equal(file.p, sim_pattern(), 5000);
        sbx_free(K.c, file.p);
    }
    urls();
    snapshots();
    old();
    tunnel();
    agent();
    pushed();
    list.items.p = infos;
    list.items.n = sizeof infos;
    step("list", sbx_list(K.c, &list, &listed));
    op = sbx_delete(K.c, &K.box, NULL);
    step("delete", op);
    op = sbx_shutdown(K.c, 60000);
    step("shutdown", op);
}

/* `pieces`: the bytes come and go in pieces of all sizes, with waits. */
static void begin(uint64_t seed, bool pieces)
{
    static const char *const commands[] = { "short", "session", "acks" };
    sim_plan asks = { 0 };

    kit_new(seed);
    K.d.buffers = 3;
    K.d.rx_bytes = 700;
    K.d.tx_bytes = 1024;
    K.d.max_ops = 4;
    K.d.max_links = 3;
    K.d.max_requests = 3;
    K.s->knobs.recv_max = pieces ? 60 : 900;
    K.s->knobs.send_max = pieces ? 200 : 0;
    K.s->knobs.block = pieces ? 100 : 0;
    K.s->knobs.connect_ms = K.s->knobs.delay_ms = pieces ? 30 : 0;
    K.s->box_n = 1;
    strcpy(K.s->boxes[0].name, "one");
    strcpy(K.s->boxes[0].status, "ready");
    for (unsigned i = 0; i < 3; i++) {
        sim_plan p = { 0 };

        p.command = commands[i];
        p.n[0] = i == 1 ? LONG : SHORT;
        assert_int_equal(sim_pattern_cut(0, (size_t)p.n[0]), p.n[0]);
        p.chunk = 900;
        p.until_kill = i == 1;
        p.ring = i == 2 ? 700 : 0;
        sim_add_plan(K.s, &p);
    }
    asks.command = "agent";
    asks.talk[0] = "{\"type\":\"started\",\"command_id\":\"$ID\",\"pid\":1}\n{\"type\":\"ssh_agent_data\",\"channel_id\":\"ch\",\"data\":\"aGVsbG8=\"}\n"
                   "{\"type\":\"ssh_agent_close\",\"channel_id\":\"ch\"}\n{\"type\":\"exit\",\"exit_code\":0}\n";
    sim_add_plan(K.s, &asks);
}

static bool is_in(sbx_code code, const sbx_code *codes)
{
    for (; *codes != SBX_CODE_COUNT; codes++)
        if (code == *codes)
            return true;
    return code == SBX_OK;
}

/* With the transport as the only thing that fails. */
static void check_codes(unsigned long long n)
{
    static const sbx_code allowed[] = { SBX_ERR_CONNECT, SBX_ERR_CONNECTION, SBX_ERR_OUTCOME, SBX_ERR_PROTOCOL, SBX_ERR_DEADLINE, SBX_ERR_SERVER, SBX_ERR_NOT_FOUND, SBX_CODE_COUNT };

    for (unsigned i = 0; i < S.n; i++)
        if (!is_in(S.codes[i], allowed))
            fail_msg("call %llu: %s ended with %s", n, S.names[i], sbx_code_name(S.codes[i]));
}

/* One call fails: everything that may be repeated comes through. */
static void test_one_call(void **state)
{
    (void)state;
    for (int pass = 0; pass < 4; pass++)
        for (uint64_t n = 1;; n++) {
            int kind = SIM_FAULT_FAIL + pass % 2;
            bool reached;

            begin(pass < 2 ? 1 : 7, pass >= 2);
            K.s->fail_at = n;
            K.s->fail_kind = (sim_fault_kind)kind;
            kit_open();
            run_session();
            check_codes(n);
            for (unsigned i = 1; i < S.n; i++) /* all but create, capture, an event stream's start and a connection repeat, the command after its kill, a request behind its answer's head */
                if (S.codes[i] != SBX_OK && ((strcmp(S.names[i], "capture") != 0 && strcmp(S.names[i], "events") != 0) || S.codes[i] != SBX_ERR_OUTCOME) && strcmp(S.names[i], "command") != 0 && strcmp(S.names[i], "tunnel_dial") != 0 && (strcmp(S.names[i], "request") != 0 || S.codes[i] != SBX_ERR_CONNECTION))
                    fail_msg("kind %d, call %llu: %s: %s", kind, (unsigned long long)n, S.names[i], sbx_code_name(S.codes[i]));
            if (S.codes[0] != SBX_OK && S.codes[0] != SBX_ERR_OUTCOME)
                fail_msg("kind %d, call %llu: create: %s", kind, (unsigned long long)n, sbx_code_name(S.codes[0]));
            for (unsigned i = 1; i < K.s->box_n; i++) /* owned: deleted also where the answer was lost */
                assert_true(K.s->boxes[i].gone);
            reached = K.s->calls >= n;
            kit_end();
            if (!reached)
                break;
            assert_true(n < 5000);
        }
}

/* From one call on the network is gone. */
static void test_all_calls(void **state)
{
    (void)state;
    for (int kind = SIM_FAULT_FAIL; kind <= SIM_FAULT_EOF; kind++)
        for (uint64_t n = 1;; n += 3) {
            bool reached;

            begin(n, false);
            K.s->fail_at = n;
            K.s->fail_all = true;
            K.s->fail_kind = (sim_fault_kind)kind;
            K.d.close_ms = 1000;
            kit_open();
            run_session();
            check_codes(n);
            reached = K.s->calls >= n;
            kit_end();
            if (!reached)
                break;
            assert_true(n < 5000);
        }
}

static void test_allocator(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        int failed = 0;
        bool reached;

        begin(1, false);
        K.alloc_fail_at = n;
        kit_open();
        run_session();
        reached = K.allocs >= n;
        for (unsigned i = 0; i < S.n; i++) {
            if (S.codes[i] != SBX_OK && S.codes[i] != SBX_ERR_MEMORY)
                fail_msg("allocation %ld: %s: %s", n, S.names[i], sbx_code_name(S.codes[i]));
            failed += S.codes[i] == SBX_ERR_MEMORY;
        }
        assert_int_equal(failed, reached);
        kit_end();
        if (!reached)
            break;
        assert_true(n < 200);
    }
}

static void test_entropy(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        sbx_error err;
        bool reached;

        begin(n, false);
        K.s->entropy_fail_at = n;
        if (n == 1) {
            size_t size = sbx_client_size(&K.d);

            K.mem = malloc(size);
            ASSERT_CODE(sbx_client_init(K.mem, size, &K.d, &K.c, &err), SBX_ERR_ENTROPY);
            assert_null(K.c);
            reached = true;
        } else {
            kit_open();
            run_session();
            reached = K.s->entropy_calls >= n;
            for (unsigned i = 0; i < S.n; i++) /* what was not written cannot be read */
                if (S.codes[i] != SBX_OK && S.codes[i] != SBX_ERR_ENTROPY && S.codes[i] != SBX_ERR_SERVER && S.codes[i] != SBX_ERR_NOT_FOUND)
                    fail_msg("entropy %llu: %s: %s", (unsigned long long)n, S.names[i], sbx_code_name(S.codes[i]));
        }
        kit_end();
        if (!reached)
            break;
        assert_true(n < 500);
    }
}

static void test_open_fails(void **state)
{
    sbx_error err;
    size_t size;

    (void)state;
    begin(1, false);
    K.s->no_open = true;
    size = sbx_client_size(&K.d);
    K.mem = malloc(size);
    ASSERT_CODE(sbx_client_init(K.mem, size, &K.d, &K.c, &err), SBX_ERR_UNSUPPORTED);
    assert_null(K.c);
    assert_string_equal(err.field, "transport");
    assert_non_null(strstr(err.text, "told to fail"));
    kit_end();
}

/* Right against a page that faults: what was not given is never touched. */
static void test_memory(void **state)
{
    size_t pages, need;
    char *map, *end;
    sbx_error err;

    (void)state;
    begin(1, false);
    need = sbx_client_size(&K.d);
    pages = (need + 64 + 4095) / 4096 * 4096;
    map = (char *)mmap(NULL, pages + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + 4096, pages, PROT_READ | PROT_WRITE), 0);
    end = map + 4096 + pages;
    for (size_t n = 0; n < need; n += n < 64 || need - n <= 64 ? 1 : 16) {
        ASSERT_CODE(sbx_client_init(end - n, n, &K.d, &K.c, &err), SBX_ERR_MEMORY);
        assert_null(K.c);
        assert_non_null(strstr(err.text, "bytes needed: "));
    }
    ASSERT_CODE(sbx_client_init(NULL, need, &K.d, &K.c, &err), SBX_ERR_MEMORY);
    /* Enough is enough, at any alignment. */
    for (size_t off = 0; off < 16; off++) {
        ASSERT_CODE(sbx_client_init(end - need - off, need, &K.d, &K.c, &err), SBX_OK);
        if (off == 0 || off == 7) {
            K.s->client = K.c;
            run_session();
            for (unsigned i = 0; i < S.n; i++)
                ASSERT_CODE(S.codes[i], off ? S.codes[i] : SBX_OK);
            K.s->client = NULL;
        }
        sbx_close(K.c);
        free(K.s->conns);
        K.s->conns = NULL;
        K.s->conn_max = 0;
    }
    K.c = NULL;
    kit_end();
    munmap(map, pages + 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_fails), cmocka_unit_test(test_memory), cmocka_unit_test(test_entropy), cmocka_unit_test(test_allocator),
        cmocka_unit_test(test_one_call), cmocka_unit_test(test_all_calls),
    };

    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
