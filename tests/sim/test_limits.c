/* What is refused before anything is sent, hostile answers, and the client
   without a transport. */
#include "kit.h"

/* ---- refusals ---- */

static char long_name[200], bad_utf8[] = "a\xff";

static char large[5000];

static sbx_op make(unsigned i, const char **field, sbx_code *code)
{
    static sbx_create_opts c;
    static sbx_run_opts r;
    static sbx_read_opts rd;
    static sbx_write_opts w;
    static sbx_list_opts l;
    static sbx_update_opts u;
    static sbx_find_opts f;
    static sbx_box_opts b;
    static sbx_attach_opts a;
    static sbx_box box;
    static sbx_header h;
    static sbx_pair pair;
    static char buf[10];

    memset(&c, 0, sizeof c);
    memset(&r, 0, sizeof r);
    memset(&rd, 0, sizeof rd);
    memset(&w, 0, sizeof w);
    memset(&l, 0, sizeof l);
    memset(&u, 0, sizeof u);
    memset(&f, 0, sizeof f);
    memset(&b, 0, sizeof b);
    memset(&a, 0, sizeof a);
    memset(&h, 0, sizeof h);
    box = K.box;
    memset(long_name, 'n', 199);
    *code = SBX_ERR_ARGUMENT;
    r.discard = true;
    h.name = sbx_s("X-A");
    h.value = sbx_s("v");
    pair.name = sbx_s("A");
    pair.value = sbx_s("1");
#define RUN sbx_run(K.c, &box, sbx_s("x"), &r, NULL)
#define CREATE sbx_create(K.c, &c, NULL)
#define READ sbx_read(K.c, &box, sbx_s("/f"), &rd, NULL)
    switch (i) {
    case 0: *field = "idle_ttl_s"; c.idle_ttl_s = 61; return CREATE;
    case 1: *field = "idle_ttl_s"; c.idle_ttl_s = -60; return CREATE;
    case 2: *field = "delete_after_stop_s"; c.delete_after_stop_s = 2592060; return CREATE;
    case 3: *field = "snapshot"; c.snapshot = c.snapshot_id = sbx_s("s"); return CREATE;
    case 4: *field = "snapshot_name"; c.snapshot_name = c.snapshot_id = sbx_s("s"); return CREATE;
    case 5: *field = "name"; c.name = sbx_s(long_name); return CREATE;
    case 6: *field = "proxy_config"; c.proxy_config = sbx_s("{\"a\":"); return CREATE;
    case 7: *field = "labels"; c.labels = &pair; c.labels_n = 129; return CREATE;
    case 8: *field = "vcpus"; c.vcpus = -1; return CREATE;
    case 9: *field = "call.total_ms"; c.call.total_ms = -2; return CREATE;
    case 10: *field = "call.timeout_ms"; c.call.timeout_ms = -2; return CREATE;
    case 11: *field = "call.max_retries"; c.call.max_retries = 101; return CREATE;
    case 12: *field = "call.headers"; h.name = sbx_s("Host"); c.call.headers = &h; c.call.headers_n = 1; return CREATE;
    case 13: *field = "call.headers"; h.name = sbx_s("a b"); c.call.headers = &h; c.call.headers_n = 1; return CREATE;
    case 14: *field = "call.headers"; h.value = sbx_s("a\r\nb"); c.call.headers = &h; c.call.headers_n = 1; return CREATE;
    case 15: *field = "call.headers"; h.name = sbx_s("Sec-WebSocket-Key"); c.call.headers = &h; c.call.headers_n = 1; return CREATE;
    case 16: *field = "call.api_key"; c.call.api_key = sbx_s("a\nb"); return CREATE;
    case 17: *field = "command"; return sbx_run(K.c, &box, sbx_s(""), &r, NULL);
    case 18: *field = "run_config"; r.run_config.user = sbx_s("u"); r.cwd = sbx_s("/"); return RUN;
    case 19: *field = "run_config"; r.run_config.user = sbx_s("u"); r.env = &pair; r.env_n = 1; return RUN;
    case 20: *field = "cols"; r.cols = 80; return RUN;
    case 21: *field = "rows"; r.rows = 80; return RUN;
    case 22: *field = "command_id"; r.command_id = sbx_s("not a uuid"); return RUN;
    case 23: *field = "pty"; r.via = SBX_VIA_HTTP; r.pty = true; return RUN;
    case 24: *field = "stdin_open"; r.via = SBX_VIA_HTTP; r.stdin_open = true; return RUN;
    case 25: *field = "kill_on_disconnect"; r.via = SBX_VIA_HTTP; r.kill_on_disconnect = true; return RUN;
    case 26: *field = "out"; *code = SBX_ERR_NO_BUFFER; r.discard = false; return RUN;
    case 27: *field = "alloc"; r.discard = false; r.alloc = true; r.out.p = buf; r.out.n = 1; return RUN;
    case 28: *field = "box.url"; box.url[0] = 0; return RUN;
    case 29: *field = "box.url"; strcpy(box.url, "ftp://x"); return RUN;
    case 30: *field = "box.url"; strcpy(box.url, "http://u@x"); return RUN;
    case 31: *field = "box"; return sbx_run(K.c, NULL, sbx_s("x"), &r, NULL);
    case 32: *field = "out"; r.out.p = buf; return sbx_command(K.c, &box, sbx_s("x"), &r);
    case 33: *field = "via"; r.discard = false; r.via = SBX_VIA_HTTP; return sbx_command(K.c, &box, sbx_s("x"), &r);
    case 34: *field = "command_id"; return sbx_attach(K.c, &box, sbx_s(""), &a);
    case 35: *field = "command_id"; return sbx_attach(K.c, &box, sbx_s(long_name), &a);
    case 36: *field = "out"; *code = SBX_ERR_NO_BUFFER; return READ;
    case 37: *field = "stream"; rd.stream = rd.alloc = true; return READ;
    case 38: *field = "length"; rd.stream = true; rd.length = -1; return READ;
    case 39: *field = "length"; rd.stream = true; rd.offset = -5; rd.length = 1; return READ;
    case 40: *field = "offset"; rd.stream = true; rd.offset = INT64_MIN; return READ;
    case 41: *field = "offset"; rd.stream = true; rd.offset = INT64_MAX; rd.length = 1; return READ;
    case 42: *field = "if_none_match"; rd.stream = true; rd.if_none_match = sbx_s("a\rb"); return READ;
    case 43: *field = "path"; rd.stream = true; return sbx_read(K.c, &box, sbx_s(""), &rd, NULL);
    case 44: *field = "path"; rd.stream = true; return sbx_read(K.c, &box, sbx_s(bad_utf8), &rd, NULL);
    case 45: *field = "path"; rd.stream = true; return sbx_read(K.c, &box, sbx_sn("a\0b", 3), &rd, NULL);
    case 46: *field = "stream"; w.stream = true; return sbx_write(K.c, &box, sbx_s("/f"), sbx_s("x"), &w);
    case 47: *field = "size"; w.size = 5; return sbx_write(K.c, &box, sbx_s("/f"), sbx_s("x"), &w);
    case 48: *field = "size"; w.stream = true; w.size = -2; return sbx_write(K.c, &box, sbx_s("/f"), sbx_sn(NULL, 0), &w);
    case 49: *field = "offset"; l.offset = -1; return sbx_list(K.c, &l, NULL);
    case 50: *field = "cursor"; l.offset = 1; l.cursor = sbx_s("c"); return sbx_list(K.c, &l, NULL);
    case 51: *field = "limit"; l.limit = -1; return sbx_list(K.c, &l, NULL);
    case 52: *field = "name"; return sbx_get(K.c, sbx_s(""), NULL, NULL, NULL);
    case 53: *field = "name"; return sbx_get(K.c, sbx_s(".."), NULL, NULL, NULL);
    case 54: *field = "name"; return sbx_get(K.c, sbx_s(bad_utf8), NULL, NULL, NULL);
    case 55: *field = "box.name"; box.name[0] = box.id[0] = 0; return sbx_delete(K.c, &box, NULL);
    case 56: *field = "pattern"; return sbx_glob(K.c, &box, sbx_s(""), NULL, NULL);
    case 57: *field = "glob"; f.glob = sbx_s("*"); return sbx_glob(K.c, &box, sbx_s("*"), &f, NULL);
    case 58: *field = "text"; return sbx_grep(K.c, &box, sbx_s(""), NULL, NULL);
    case 59: *field = "poll_ms"; b.poll_ms = -1; return sbx_wait_ready(K.c, &box, &b, NULL, NULL);
    case 60: *field = "wait_s"; b.wait_s = -2; return sbx_wait_ready(K.c, &box, &b, NULL, NULL);
    case 61: *field = "request_bytes"; *code = SBX_ERR_TOO_LARGE; memset(large, 'x', sizeof large); r.cwd = sbx_sn(large, sizeof large); return RUN;
    case 62: *field = "timeout_s"; r.timeout_s = -5; return RUN;
    case 63: *field = "idle_ttl_s"; u.idle_ttl_s = 30; return sbx_update(K.c, &box, &u, NULL, NULL);
    case 64: *field = "command"; return sbx_run(K.c, &box, sbx_s(bad_utf8), &r, NULL);
    case 65: *field = "shell"; r.shell = sbx_s(""); return RUN;
    case 66: *field = "shell"; r.shell = sbx_s(bad_utf8); return RUN;
    case 67: *field = "pattern"; return sbx_glob(K.c, &box, sbx_s(bad_utf8), NULL, NULL);
    case 68: *field = "text"; return sbx_grep(K.c, &box, sbx_s(bad_utf8), NULL, NULL);
    case 69: *field = "path"; f.path = sbx_s(""); return sbx_glob(K.c, &box, sbx_s("*"), &f, NULL);
    case 70: *field = "path"; return sbx_ls(K.c, &box, sbx_s(bad_utf8), NULL, NULL);
    case 71: *field = "call.api_key"; r.call.api_key = sbx_s(""); return RUN;
    case 72: *field = "if_none_match"; rd.stream = true; rd.if_none_match = sbx_s(""); return READ;
    case 73: *field = "stdin_data"; r.stdin_data = sbx_s("x"); return RUN;
    case 74: *field = "via"; r.via = SBX_VIA_HTTP; r.discard = false; return sbx_command(K.c, &box, sbx_s("x"), &r);
    case 75: *field = "discard"; r.out.p = buf; r.out.n = 1; return RUN;
    case 76: *field = "discard"; r.alloc = true; return RUN;
    case 77: *field = "discard"; r.err.p = buf; r.err.n = 1; r.via = SBX_VIA_HTTP; return RUN;
    case 78: *field = "max_output"; r.max_output = 5; return RUN;
    case 79: *field = "max_output"; r.discard = false; r.out.p = buf; r.out.n = 1; r.max_output = 5; return RUN;
    case 80: *field = "idle_timeout_s"; r.via = SBX_VIA_HTTP; r.idle_timeout_s = 5; return RUN;
    case 81: *field = "ttl_s"; r.via = SBX_VIA_HTTP; r.ttl_s = SBX_NONE; return RUN;
    case 82: *field = "wait_s"; c.no_wait = true; c.wait_s = 5; return CREATE;
    case 83: *field = "restore_memory"; c.restore_memory = (sbx_tri)3; return CREATE;
    case 84: *field = "max_bytes"; rd.stream = true; rd.max_bytes = 5; return READ;
    default: *field = NULL; return sbx_shutdown(K.c, 0);
    }
}

static void test_refusals(void **state)
{
    const char *field = "";
    unsigned i = 0;

    (void)state;
    kit_start(1);
    for (;; i++) {
        sbx_code code;
        sbx_error e;
        sbx_event ev;
        sbx_op op = make(i, &field, &code), again = op;

        if (!field) {
            sbx_await(K.c, op);
            break;
        }
        if (op.slot)
            fail_msg("case %u (%s) was not refused", i, field);
        e = kit_error(op);
        if (e.code != code || strcmp(e.field, field) != 0 || e.sent || e.layer != SBX_LAYER_LOCAL || strncmp(e.text, field, strlen(field)) != 0)
            fail_msg("case %u (%s): %s, field %s: %s", i, field, sbx_code_name(e.code), e.field, e.text);
        ASSERT_CODE(sbx_await(K.c, op), code);
        assert_true(sbx_next_of(K.c, &again, &ev));
        assert_int_equal(ev.kind, SBX_EV_END);
        ASSERT_CODE(ev.code, code);
        assert_false(sbx_next_of(K.c, &again, &ev));
    }
    assert_int_equal(i, 85);
    assert_int_equal(K.s->connects, 0);
    kit_end();
}

static void test_full(void **state)
{
    sbx_op ops[3];

    (void)state;
    kit_new(1);
    K.d.max_ops = 2;
    kit_open();
    for (int i = 0; i < 3; i++)
        ops[i] = sbx_get(K.c, sbx_s("x"), NULL, NULL, NULL);
    assert_int_equal(ops[2].gen, SBX_ERR_FULL);
    assert_string_equal(kit_error(ops[2]).field, "max_ops");
    for (int i = 0; i < 2; i++)
        ASSERT_CODE(sbx_await(K.c, ops[i]), SBX_ERR_NOT_FOUND);
    kit_end();
}

/* Calls made in one go meet max_requests first; commands begun in turn do not. */
static void test_requests_full(void **state)
{
    sbx_op ops[32];
    sbx_event ev;
    sim_plan p = { 0 };
    sbx_error e;

    (void)state;
    kit_start(1);
    for (unsigned i = 0; i < 17; i++)
        ops[i] = sbx_get(K.c, sbx_s("x"), NULL, NULL, NULL);
    assert_int_equal(ops[16].slot, 0);
    assert_int_equal(ops[16].gen, SBX_ERR_FULL);
    e = kit_error(ops[16]);
    assert_string_equal(e.field, "max_requests");
    assert_non_null(strstr(e.text, "step and pull events"));
    assert_non_null(strstr(e.text, "sbx_client_desc"));
    for (unsigned i = 0; i < 16; i++)
        ASSERT_CODE(sbx_await(K.c, ops[i]), SBX_ERR_NOT_FOUND);
    p.until_kill = true;
    sim_add_plan(K.s, &p);
    for (unsigned i = 0; i < 32; i++) {
        ops[i] = sbx_command(K.c, &K.box, sbx_s("true"), NULL);
        assert_int_not_equal(ops[i].slot, 0);
        assert_true(sbx_next_of(K.c, &ops[i], &ev));
        assert_int_equal(ev.kind, SBX_EV_STARTED);
    }
    for (unsigned i = 0; i < 32; i++) {
        ASSERT_CODE(sbx_kill(K.c, ops[i]), SBX_OK);
        ASSERT_CODE(sbx_await(K.c, ops[i]), SBX_OK);
    }
    kit_end();
}

/* ---- hostile answers ---- */

static void endless_head(sim *s, sim_conn *c)
{
    sim_conn_write(c, "HTTP/1.1 200 OK\r\nX: ", 20, s->now);
    for (int i = 0; i < 2560; i++) {
        char block[4096];

        memset(block, 'h', sizeof block);
        sim_conn_write(c, block, sizeof block, s->now);
    }
}

static void endless_heads(sim *s, sim_conn *c)
{
    sim_conn_write(c, "HTTP/1.1 200 OK\r\n", 17, s->now);
    for (int i = 0; i < 100000; i++)
        sim_conn_write(c, "A: b\r\n", 6, s->now);
}

static void endless_interim(sim *s, sim_conn *c)
{
    for (int i = 0; i < 10000; i++)
        sim_conn_write(c, "HTTP/1.1 100 Continue\r\n\r\n", 25, s->now);
}

static void endless_error(sim *s, sim_conn *c)
{
    sim_conn_write(c, "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n", 47, s->now);
    for (int i = 0; i < 20000; i++)
        sim_conn_write(c, "10\r\n                \r\n", 22, s->now);
}

static void test_hostile(void **state)
{
    static const struct {
        const char *raw;
        void (*make)(sim *s, sim_conn *c);
        sbx_code code;
        sim_end end;
    } cases[] = {
        { "garbage\r\n\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "\x16\x03\x01\x02", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/2 200 OK\r\n\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xyzw\r\n\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"name\":}", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"name\":", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"name\":\"\xff\xff\xff\"} ", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", NULL, SBX_ERR_PROTOCOL, SIM_OPEN },
        { NULL, endless_head, SBX_ERR_PROTOCOL, SIM_OPEN },
        { NULL, endless_heads, SBX_ERR_PROTOCOL, SIM_OPEN },
        { NULL, endless_interim, SBX_ERR_PROTOCOL, SIM_OPEN },
        { NULL, endless_error, SBX_ERR_VALIDATION, SIM_OPEN },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sim_script e = { 0 };
        sbx_code code, want = cases[i].code;
        sbx_error err;
        sbx_op op;

        kit_start(i);
        e.raw = cases[i].raw;
        e.make = cases[i].make;
        e.end = cases[i].end;
        e.times = -1;
        sim_expect(K.s, &e);
        op = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
        code = sbx_await(K.c, op);
        err = kit_error(op);
        if (code != want || !err.text[0])
            fail_msg("case %zu: %s %s", i, sbx_code_name(code), err.text);
        assert_int_equal(K.s->request_n, 1); /* what is wrong stays wrong */
        assert_true(K.s->now < 10000);
        kit_end();
    }
}

/* Whatever comes, at any length: an end, within the deadlines. */
static void noise(sim *s, sim_conn *c)
{
    static const char *const starts[] = { "", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
                                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 404 No\r\nContent-Length: 90\r\n\r\n{\"detail\":[" };
    static const char alphabet[] = "{}[]\",:0123456789aeflnrstu\\\r\n \t\xff\xc3\xa9-+.";
    const char *z = starts[sim_draw(s, 6)];
    uint32_t n = sim_draw(s, 300);

    sim_conn_write(c, z, strlen(z), s->now);
    while (n--)
        sim_conn_write(c, &alphabet[sim_draw(s, sizeof alphabet - 1)], 1, s->now + sim_draw(s, 50));
    if (sim_chance(s, 500))
        sim_conn_end(c, sim_chance(s, 500) ? SIM_EOF : SIM_RST, s->now);
}

static void test_noise(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 300; seed++) {
        sim_script e = { 0 };
        sbx_read_opts rd = { 0 };
        sbx_read_result r;
        char buf[64];
        sbx_op ops[4];

        kit_start(seed);
        e.make = noise;
        e.times = -1;
        sim_expect(K.s, &e);
        rd.out.p = buf;
        rd.out.n = sizeof buf;
        ops[0] = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
        ops[1] = sbx_list(K.c, NULL, NULL);
        ops[2] = sbx_read(K.c, &K.box, sbx_s("/f"), &rd, &r);
        ops[3] = sbx_command(K.c, &K.box, sbx_s("x"), NULL);
        for (int i = 0; i < 4; i++)
            sbx_await(K.c, ops[i]);
        assert_true(K.s->now < 1000 + 600000);
        kit_end();
    }
}

/* ---- without a transport ---- */

static void test_ports(void **state)
{
    sbx_create_opts create = { 0 };
    unsigned char seed[32] = { 1, 2, 3 };
    char host[64], text[400];
    size_t n, taken;
    sbx_port p;
    sbx_box box;
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_new(1);
    K.d.transport = &sbx_ports;
    K.d.endpoint = "https://api.test:8443/v2/sandboxes";
    kit_open();
    K.s->client = NULL;
    ASSERT_CODE(sbx_port_seed(K.c, seed, 31, 0), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_port_seed(K.c, seed, 32, 0), SBX_OK);
    create.delete_on_close = false;
    op = sbx_create(K.c, &create, &box);
    assert_int_not_equal(op.slot, 0);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_UNSUPPORTED);
    assert_false(sbx_port_next(K.c, &p));
    sbx_step(K.c, 5);
    assert_true(sbx_port_next(K.c, &p));
    assert_int_equal(p.action, SBX_PORT_CONNECT);
    snprintf(host, sizeof host, "%.*s", (int)p.host.n, p.host.p);
    assert_string_equal(host, "api.test");
    assert_int_equal(p.port, 8443);
    assert_true(p.tls);
    assert_int_equal(sbx_port_send(K.c, p.id, text, sizeof text), 0);
    ASSERT_CODE(sbx_port_opened(K.c, p.id), SBX_OK);
    sbx_step(K.c, 6);
    for (n = 0; (taken = sbx_port_send(K.c, p.id, text + n, n + 7 < sizeof text ? 7 : sizeof text - 1 - n)) != 0;)
        n += taken;
    text[n] = 0;
    assert_memory_equal(text, "POST /v2/sandboxes/boxes HTTP/1.1\r\nHost: api.test:8443\r\n", 56);
    assert_non_null(strstr(text, "\r\n\r\n{\"timeout\":30,\"wait_for_ready\":true}"));
    {
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"id\":\"i\",\"name\":\"made-one\"}";
        size_t at = 0;

        for (int turns = 0; at < sizeof answer - 1 && turns < 1000; turns++) {
            assert_false(sbx_next(K.c, &ev));
            at += sbx_port_recv(K.c, p.id, answer + at, sizeof answer - 1 - at < 5 ? sizeof answer - 1 - at : 5);
            sbx_step(K.c, 7 + turns);
        }
        assert_int_equal(at, sizeof answer - 1);
    }
    assert_true(sbx_next(K.c, &ev));
    assert_int_equal(ev.kind, SBX_EV_END);
    ASSERT_CODE(ev.code, SBX_OK);
    assert_string_equal(box.name, "made-one");
    /* Kept, then closed; a new request gets a new one, which breaks. */
    assert_false(sbx_port_next(K.c, &p));
    sbx_step(K.c, 100000);
    assert_true(sbx_port_next(K.c, &p));
    assert_int_equal(p.action, SBX_PORT_CLOSE);
    assert_false(sbx_port_next(K.c, &p));
    create.call.max_retries = SBX_NONE;
    op = sbx_create(K.c, &create, &box);
    sbx_step(K.c, 100001);
    assert_true(sbx_port_next(K.c, &p));
    assert_int_equal(p.action, SBX_PORT_CONNECT);
    ASSERT_CODE(sbx_port_failed(K.c, p.id, SBX_ERR_RESOLVE), SBX_OK);
    sbx_step(K.c, 100002);
    assert_true(sbx_next(K.c, &ev));
    ASSERT_CODE(ev.code, SBX_ERR_RESOLVE);
    assert_false(kit_error(op).sent);
    assert_true(sbx_port_next(K.c, &p));
    assert_int_equal(p.action, SBX_PORT_CLOSE);
    ASSERT_CODE(sbx_port_opened(K.c, p.id), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_port_eof(K.c, 0), SBX_ERR_HANDLE);
    ASSERT_CODE(sbx_port_eof(K.c, 5000), SBX_ERR_HANDLE);
    assert_int_equal(sbx_port_recv(K.c, p.id, "x", 1), 0);
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_full), cmocka_unit_test(test_requests_full), cmocka_unit_test(test_hostile), cmocka_unit_test(test_noise), cmocka_unit_test(test_ports),
    };

    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
