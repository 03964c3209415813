/* What holds when slots or time run out, or a peer does not play along: no
   deadline prolonged, no key left behind. */
#include "script.h"

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

/* ---- slots ---- */

/* One slot: the shutdown takes it, and deletes all the same. */
static void a_single_slot_is_enough_to_shut_down(void **state)
{
    sbx_create_opts o = { 0 };
    sbx_event ev;
    sbx_box b;
    sbx_op held, op;

    (void)state;
    for (int by_close = 0; by_close < 2; by_close++) {
        kit_new(1);
        K.d.max_ops = 1;
        kit_open();
        o.delete_on_close = true;
        ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &o, &b)), SBX_OK);
        held = sbx_get(K.c, sbx_s("none"), NULL, NULL, NULL);
        op = sbx_get(K.c, sbx_s("none"), NULL, NULL, NULL);
        assert_int_equal(op.gen, SBX_ERR_FULL);
        assert_string_equal(kit_error(op).field, "max_ops");
        if (by_close) {
            K.s->client = NULL;
            sbx_close(K.c);
            K.c = NULL;
        } else {
            op = sbx_shutdown(K.c, SBX_FOREVER);
            assert_int_equal(op.gen, SBX_ERR_FULL); /* an END holds the slot */
            assert_true(sbx_next_of(K.c, &held, &ev));
            ASSERT_CODE(ev.code, SBX_ERR_CLOSED);
            ASSERT_CODE(sbx_await(K.c, sbx_shutdown(K.c, SBX_FOREVER)), SBX_OK);
        }
        assert_string_equal(kit_request(0)->method, "DELETE");
        kit_end();
    }
}

/* ENDs that nobody pulls do not keep a shutdown from deleting. */
static void a_shutdown_deletes_beside_unpulled_ends(void **state)
{
    sbx_create_opts o = { 0 };
    sbx_event ev;
    sbx_box b;

    (void)state;
    kit_new(1);
    K.d.max_ops = 2;
    kit_open();
    o.delete_on_close = true;
    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &o, &b)), SBX_OK);
    assert_int_not_equal(sbx_get(K.c, sbx_s("none"), NULL, NULL, NULL).slot, 0);
    ASSERT_CODE(sbx_await(K.c, sbx_shutdown(K.c, SBX_FOREVER)), SBX_OK);
    assert_string_equal(kit_request(0)->method, "DELETE");
    assert_true(sbx_next(K.c, &ev));
    ASSERT_CODE(ev.code, SBX_ERR_CLOSED);
    kit_end();
}

/* ---- keys ---- */

#define CLIENT_KEY "client-key-5d1f0a9c"
#define CALL_KEY "call-key-77b3e6d2c4"

/* How often these bytes stand in the client's memory. */
static unsigned copies(const char *key)
{
    const char *p = (const char *)K.mem;
    size_t n = sbx_client_size(&K.d), k = strlen(key);
    unsigned found = 0;

    for (size_t i = 0; i + k <= n; i++)
        found += memcmp(p + i, key, k) == 0;
    return found;
}

static void keys_open(uint64_t seed)
{
    kit_new(seed);
    K.d.api_key = CLIENT_KEY;
    K.d.tx_bytes = 2048;
    kit_open();
    K.s->box_n = 1;
    strcpy(K.s->boxes[0].name, "one");
    strcpy(K.s->boxes[0].status, "ready");
}

/* Nothing runs: the client's own copy is the only one. */
static void only_the_clients_own(void)
{
    assert_int_equal(copies(CALL_KEY), 0);
    assert_int_equal(copies(CLIENT_KEY), 1);
}

static void keys_are_wiped_with_their_request(void **state)
{
    static char long_value[4090];
    sbx_box_opts o = { 0 };
    sbx_run_opts run = { 0 };
    sbx_list_opts list = { 0 };
    sbx_header h[2];
    sbx_op op;

    (void)state;
    keys_open(1);
    o.call.api_key = run.call.api_key = list.call.api_key = sbx_s(CALL_KEY);
    ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("one"), &o, NULL, NULL)), SBX_OK);
    assert_non_null(strstr(kit_request(0)->head, CALL_KEY));
    only_the_clients_own();
    ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL)), SBX_OK);
    only_the_clients_own();
    /* Refused behind the headers, before and because of them. */
    run.discard = true;
    op = sbx_run(K.c, &K.box, sbx_s("\xff"), &run, NULL);
    assert_int_equal(op.gen, SBX_ERR_ARGUMENT);
    only_the_clients_own();
    h[0].name = sbx_s("X-Api-Key");
    h[0].value = sbx_s(CALL_KEY);
    h[1].name = sbx_s("X");
    memset(long_value, 'v', sizeof long_value);
    h[1].value = sbx_sn(long_value, sizeof long_value);
    o.call.headers = h;
    o.call.headers_n = 2;
    op = sbx_get(K.c, sbx_s("one"), &o, NULL, NULL);
    assert_int_equal(op.gen, SBX_ERR_TOO_LARGE);
    only_the_clients_own();
    h[1].value = sbx_s("\n");
    op = sbx_get(K.c, sbx_s("one"), &o, NULL, NULL);
    assert_int_equal(op.gen, SBX_ERR_ARGUMENT);
    only_the_clients_own();
    /* The head does not fit into the send buffer. */
    h[1].value = sbx_sn(long_value, 2000);
    o.call.api_key = sbx_sn(NULL, 0);
    ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("one"), &o, NULL, NULL)), SBX_ERR_TOO_LARGE);
    only_the_clients_own();
    /* The next page's place is shorter, and the headers move. */
    kit_expect("GET /v2/sandboxes/boxes", 200, NULL, "{\"sandboxes\":[],\"next_cursor\":\"a-place-that-takes-much-more-room-than-the-headers-that-stand-behind-it\"}");
    kit_expect("GET /v2/sandboxes/boxes", 200, NULL, "{\"sandboxes\":[],\"next_cursor\":\"b\"}");
    kit_expect("GET /v2/sandboxes/boxes", 200, NULL, "{\"sandboxes\":[]}");
    ASSERT_CODE(sbx_await(K.c, sbx_list(K.c, &list, NULL)), SBX_OK);
    only_the_clients_own();
    talk(STARTED "@rst", STARTED EXIT(0), NULL);
    ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_s("x"), &run, NULL)), SBX_OK);
    only_the_clients_own();
    ASSERT_CODE(sbx_set_api_key(K.c, sbx_s("k")), SBX_OK);
    assert_int_equal(copies(CLIENT_KEY), 0);
    kit_end();
}

static void keys_are_wiped_by_cancel(void **state)
{
    (void)state;
    /* After every number of steps, with sends that take a few bytes a time. */
    for (unsigned steps = 0; steps < 60; steps++) {
        sbx_box_opts o = { 0 };
        sbx_write_opts w = { 0 };
        sbx_op ops[2];

        keys_open(steps);
        K.s->knobs.send_max = 30;
        K.s->knobs.block = 500;
        o.call.api_key = w.call.api_key = sbx_s(CALL_KEY);
        ops[0] = sbx_get(K.c, sbx_s("one"), &o, NULL, NULL);
        ops[1] = sbx_write(K.c, &K.box, sbx_s("/f"), sbx_s("text"), &w);
        assert_int_equal(copies(CALL_KEY), 2);
        for (unsigned i = 0; i < steps; i++)
            sbx_wait(K.c, 1);
        cancel_all(ops, 2);
        only_the_clients_own();
        kit_end();
    }
}

static void keys_are_wiped_by_close(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 8; steps++) {
        sbx_box_opts o = { 0 };

        keys_open(steps);
        K.s->knobs.send_max = 30;
        K.s->knobs.block = 500;
        o.call.api_key = sbx_s(CALL_KEY);
        assert_int_not_equal(sbx_get(K.c, sbx_s("one"), &o, NULL, NULL).slot, 0);
        for (unsigned i = 0; i < steps; i++)
            sbx_wait(K.c, 1);
        K.s->client = NULL;
        sbx_close(K.c);
        K.c = NULL;
        assert_int_equal(copies(CALL_KEY), 0);
        assert_int_equal(copies(CLIENT_KEY), 0);
        kit_end();
    }
}

/* A transport that cannot be opened is told what to be rid of as well. */
/* Gives the peer what the client has for it, byte by byte: the request up to
   its secret, or frames until a connection of the tunnel is answered. */
static void give_some(sbx_client *c, sim_conn *conn, char *request, size_t *request_n)
{
    char b;

    while (!(conn->ws ? conn->out.n > conn->out_at : strstr(request, "Sec-WebSocket-Key") && strstr(request, "\r\nX-Late: ")) && sbx_port_send(c, 1, &b, 1)) {
        if (conn->ws && *request_n >= 4 && !memcmp(request + *request_n - 4, "\r\n\r\n", 4)) {
            sim_put(&conn->in, &b, 1);
            sim_ws_input(conn);
        } else {
            request[(*request_n)++] = b;
        }
    }
}

static void give_all(sbx_client *c, sim_conn *conn)
{
    char b;

    while (sbx_port_send(c, 1, &b, 1)) {
        sim_put(&conn->in, &b, 1);
        sim_ws_input(conn);
    }
}

static void take_all(sbx_client *c, sim_conn *conn)
{
    conn->out_at += sbx_port_recv(c, 1, conn->out.p + conn->out_at, conn->out.n - conn->out_at);
}

/* A server that answers the upgrade before it took all of it: a tunnel's bytes,
   which need no wiping, stand in one buffer with the rest. */
static void keys_are_wiped_behind_an_early_answer(void **state)
{
    sim *s = sim_new(20);
    sbx_client_desc d = { 0 };
    sbx_tunnel_opts o = { 0 };
    char request[4096] = "", *end;
    size_t n, taken, request_n = 0;
    sbx_client *c;
    sbx_op tunnel, dials[2];
    sim_conn conn;
    sbx_header h;
    sbx_event ev;
    sbx_port port;
    sbx_box box;
    bool started = false;

    (void)state;
    memset(&conn, 0, sizeof conn);
    conn.world = s;
    conn.end_at = SIM_NEVER;
    memset(&K, 0, sizeof K);
    K.s = s;
    d.transport = &sbx_ports;
    d.endpoint = SIM_API;
    d.api_key = CLIENT_KEY;
    d.resize = kit_resize;
    K.d = d;
    n = sbx_client_size(&d);
    K.mem = malloc(n);
    assert_int_equal(sbx_client_init(K.mem, n, &d, &c, NULL), SBX_OK);
    sbx_port_seed(c, "0123456789abcdef0123456789abcdef", 32, 0);
    assert_true(sbx_box_named(&box, sbx_s("one"), sbx_s("http://dp.test/b/one")));
    h.name = sbx_s("X-Late");
    h.value = sbx_s(CALL_KEY);
    o.call.headers = &h;
    o.call.headers_n = 1;
    tunnel = sbx_tunnel_open(c, &box, &o);
    dials[0] = sbx_tunnel_dial(c, tunnel, 7, NULL);
    dials[1] = sbx_tunnel_dial(c, tunnel, 7, NULL);
    for (int64_t now = 0; now < 50 && !started; now++) {
        sbx_step(c, now);
        while (sbx_port_next(c, &port))
            if (port.action == SBX_PORT_CONNECT)
                sbx_port_opened(c, port.id);
        give_some(c, &conn, request, &request_n);
        if (!conn.ws && strstr(request, "\r\nX-Late: ")) {
            end = strcpy(malloc(request_n + 5), request);
            strcat(end, "\r\n\r\n");
            conn.req.head = end;
            sim_upgrade(&conn);
            sim_tunnel_begin(&conn);
            free(end);
        }
        take_all(c, &conn);
        while (sbx_next(c, &ev))
            started = started || (ev.kind == SBX_EV_STARTED && ev.op.slot == dials[0].slot);
    }
    assert_true(started);
    assert_true(copies(CALL_KEY) > 0); /* where the rest of the frames stands */
    assert_int_equal(sbx_tunnel_send(c, dials[0], sbx_s("data"), false, &taken), SBX_OK);
    assert_int_equal(taken, 4);
    give_all(c, &conn);
    sbx_cancel(c, dials[0]);
    sbx_cancel(c, dials[1]);
    sbx_cancel(c, tunnel);
    for (int64_t now = 50; now < 60; now++) {
        sbx_step(c, now);
        give_all(c, &conn);
        while (sbx_next(c, &ev))
            ;
    }
    assert_int_equal(copies(CALL_KEY), 0);
    sbx_close(c);
    sim_tunnel_free(&conn);
    free(conn.in.p);
    free(conn.out.p);
    free(conn.segs);
    free(conn.msg.p);
    free(K.mem);
    sim_free(s);
}

static void keys_are_wiped_when_init_fails(void **state)
{
    sbx_header h;
    sbx_error err;
    size_t n;

    (void)state;
    kit_new(1);
    h.name = sbx_s("Authorization");
    h.value = sbx_s(CALL_KEY);
    K.d.api_key = CLIENT_KEY;
    K.d.headers = &h;
    K.d.headers_n = 1;
    K.s->no_open = true;
    n = sbx_client_size(&K.d);
    K.mem = malloc(n);
    memset(K.mem, 0, n);
    ASSERT_CODE(sbx_client_init(K.mem, n, &K.d, &K.c, &err), SBX_ERR_UNSUPPORTED);
    assert_int_equal(copies(CALL_KEY), 0);
    assert_int_equal(copies(CLIENT_KEY), 0);
    kit_end();
}

/* ---- handshakes ---- */

static const char *shake_lines;
static void shake(sim *s, sim_conn *c)
{
    char key[64], accept[28];
    sim_bytes out = { NULL, 0, 0 };

    assert_non_null(sim_header(&c->req, "Sec-WebSocket-Key", key, sizeof key));
    sbx_ws_accept(accept, sbx_s(key));
    sim_putf(&out, "HTTP/1.1 101 Switching Protocols\r\n%sSec-WebSocket-Accept: %.28s\r\n\r\n", shake_lines, accept);
    sim_conn_write(c, out.p, out.n, s->now);
    free(out.p);
    sbx_ws_init(&c->codec, SBX_WS_SERVER, 0);
    c->ws = true;
}

static void an_upgrade_is_checked(void **state)
{
    static const struct {
        const char *lines, *missing;
    } cases[] = {
        { "Upgrade: websocket\r\nConnection: Upgrade\r\n", NULL },
        { "upgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n", NULL },
        { "Connection: UPGRADE\r\nUpgrade: h2c , WEBSOCKET\r\n", NULL },
        { "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", NULL },
        { "", "`Upgrade: websocket`" },
        { "Connection: Upgrade\r\n", "`Upgrade: websocket`" },
        { "Upgrade: websockets\r\nConnection: Upgrade\r\n", "`Upgrade: websocket`" },
        { "Upgrade: websocket\r\n", "`Connection: Upgrade`" },
        { "Upgrade: websocket\r\nConnection: close\r\n", "`Connection: Upgrade`" },
        { "Upgrade: websocket\r\nConnection: upgraded\r\n", "`Connection: Upgrade`" },
        { "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sim_script e = { 0 };
        sbx_run_opts run = { 0 };
        sbx_error err;
        sbx_code code;
        sbx_op op;

        kit_start(i);
        talk(STARTED EXIT(0), NULL, NULL);
        shake_lines = cases[i].lines;
        e.make = shake;
        sim_expect(K.s, &e);
        run.discard = true;
        op = sbx_run(K.c, &K.box, sbx_s("x"), &run, NULL);
        code = sbx_await(K.c, op);
        err = kit_error(op);
        if (code != (cases[i].missing ? SBX_ERR_PROTOCOL : SBX_OK) || (cases[i].missing && !strstr(err.text, cases[i].missing)))
            fail_msg("case %zu: %s %s", i, sbx_code_name(code), err.text);
        kit_end();
    }
}

/* ---- the id that a server chose ---- */

static void a_bad_id_is_an_error(void **state)
{
    static const char *const ids[] = { "two words", "quote\\\"d", "a-name-that-is-longer-than-36-characters", "\\u00e9", "0123456789012345678901234567890123456" };

    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        for (unsigned pieces = 0; pieces < 2; pieces++) {
            char text[300];
            sbx_error err;
            sbx_event ev;
            sbx_op op;

            kit_start(i);
            snprintf(text, sizeof text, "%s{\"type\":\"started\",\"command_id\":\"%s\",\"pid\":7}\n" OUT("x", 0) EXIT(0), pieces ? "@frag 5 " : "", ids[i]);
            talk(text, NULL, NULL);
            op = command(NULL);
            assert_true(sbx_next_of(K.c, &op, &ev));
            assert_int_equal(ev.kind, SBX_EV_END);
            ASSERT_CODE(ev.code, SBX_ERR_PROTOCOL);
            err = kit_error(op);
            assert_non_null(strstr(err.text, "1 to 36 letters"));
            kit_end();
        }
}

/* ---- keys and http ---- */

static void a_key_stays_off_plain_http(void **state)
{
    static const struct {
        const char *endpoint, *url;
        bool allow, sent;
    } cases[] = {
        { "https://api.test/v2", "http://dp.test/b", false, false },
        { "https://api.test/v2", "http://127.example.org/b", false, false },
        { "https://api.test/v2", "http://localhost.example.org/b", false, false },
        { "https://api.test/v2", "http://dp.test/b", true, true },
        { "https://api.test/v2", "http://127.0.0.1:5/b", false, true },
        { "https://api.test/v2", "http://[::1]:5/b", false, true },
        { "https://api.test/v2", "http://LocalHost/b", false, true },
        { "https://api.test/v2", "https://dp.test/b", false, true },
        { "http://api.test/v2", "http://dp.test/b", false, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sbx_error err;
        sbx_op op;

        kit_new(i);
        K.d.endpoint = cases[i].endpoint;
        K.d.allow_http_boxes = cases[i].allow;
        kit_open();
        assert_true(sbx_box_named(&K.box, sbx_s("one"), sbx_s(cases[i].url)));
        op = sbx_stat(K.c, &K.box, sbx_s("/f"), NULL, NULL);
        err = kit_error(op);
        if ((op.slot != 0) != cases[i].sent || (!cases[i].sent && (err.code != SBX_ERR_ARGUMENT || strcmp(err.field, "box.url") || !strstr(err.text, "allow_http_boxes"))))
            fail_msg("case %zu: %s %s", i, sbx_code_name(err.code), err.text);
        cancel_all(&op, 1);
        kit_end();
    }
}

/* ---- what errors say ---- */

/* Refused at once and failed later, an error names the function called. */
static void an_error_names_the_function(void **state)
{
    static const char *const names[] = { "create", "get", "list", "update", "delete", "get_status", "wait_ready", "start", "stop", "run", "run",
                                         "command", "attach", "read", "write", "stat", "glob", "ls", "grep" };

    (void)state;
    for (unsigned full = 0; full < 2; full++)
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
            sim_script e = { 0 };
            sbx_run_opts run = { 0 };
            sbx_read_opts read = { 0 };
            sbx_op op = { 0, 0 }, held = { 0, 0 };
            sbx_error err;

            kit_new(1);
            K.d.max_ops = 1;
            kit_open();
            e.status = 401;
            e.body = "{}";
            e.times = -1;
            sim_expect(K.s, &e);
            if (full)
                held = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL);
            run.discard = read.stream = true;
            run.via = i == 10 ? SBX_VIA_HTTP : SBX_VIA_WS;
            switch (i) {
            case 0: op = sbx_create(K.c, NULL, NULL); break;
            case 1: op = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL); break;
            case 2: op = sbx_list(K.c, NULL, NULL); break;
            case 3: op = sbx_update(K.c, &K.box, NULL, NULL, NULL); break;
            case 4: op = sbx_delete(K.c, &K.box, NULL); break;
            case 5: op = sbx_get_status(K.c, &K.box, NULL, NULL); break;
            case 6: op = sbx_wait_ready(K.c, &K.box, NULL, NULL, NULL); break;
            case 7: op = sbx_start(K.c, &K.box, NULL, NULL, NULL); break;
            case 8: op = sbx_stop(K.c, &K.box, NULL); break;
            case 9:
            case 10: op = sbx_run(K.c, &K.box, sbx_s("x"), &run, NULL); break;
            case 11: op = sbx_command(K.c, &K.box, sbx_s("x"), NULL); break;
            case 12: op = sbx_attach(K.c, &K.box, sbx_s("x"), NULL); break;
            case 13: op = sbx_read(K.c, &K.box, sbx_s("x"), &read, NULL); break;
            case 14: op = sbx_write(K.c, &K.box, sbx_s("x"), sbx_s("x"), NULL); break;
            case 15: op = sbx_stat(K.c, &K.box, sbx_s("x"), NULL, NULL); break;
            case 16: op = sbx_glob(K.c, &K.box, sbx_s("x"), NULL, NULL); break;
            case 17: op = sbx_ls(K.c, &K.box, sbx_s("x"), NULL, NULL); break;
            default: op = sbx_grep(K.c, &K.box, sbx_s("x"), NULL, NULL); break;
            }
            ASSERT_CODE(sbx_await(K.c, op), full ? SBX_ERR_FULL : SBX_ERR_AUTH);
            err = kit_error(op);
            assert_string_equal(err.operation, names[i]);
            if (full)
                cancel_all(&held, 1);
            kit_end();
        }
}

/* An endpoint is refused for what is wrong with it, by init, without a request. */
static void an_endpoint_is_told_its_fault(void **state)
{
    static const struct {
        const char *url, *says;
    } cases[] = {
        { "", "begin with https://" },
        { "api.test/v2", "begin with https://" },
        { "api.test:8080/v2", "begin with https://" },
        { "ftp://api.test/v2", "begin with https://" },
        { "http:/api.test", "begin with https://" },
        { "https://me:secret@api.test/v2", "user" },
        { "https://api.test/v2?x=1", "query" },
        { "https://api.test/v2#x", "query or fragment" },
        { "https://api.test/ v2", "spaces" },
        { "https://api.test/v2\n", "spaces" },
        { "https://api.test\\v2", "backslashes" },
        { "https://b\xc3\xbc" "cher.test", "ASCII" },
        { "https://", "host" },
        { "HTTPS:///v2", "host" },
        { "http://:80/v2", "host" },
        { "http://api.test:/v2", "port" },
        { "http://api.test:0/v2", "port" },
        { "http://api.test:65536/v2", "port" },
        { "http://api.test:8x/v2", "port" },
        { "http://[::1/v2", "brackets" },
        { "http://::1/v2", "brackets" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static char mem[1024 * 1024];
        sbx_client_desc d = { 0 };
        sbx_client *c;
        sbx_error e;

        d.endpoint = cases[i].url;
        assert_int_equal(sbx_client_init(mem, sizeof mem, &d, &c, &e), SBX_ERR_ARGUMENT);
        assert_string_equal(e.field, "endpoint");
        if (!strstr(e.text, cases[i].says) || strstr(e.text, "secret"))
            fail_msg("%s: %s", cases[i].url, e.text);
    }
}

/* The phases of a longer call are that call's. */
static void a_later_phase_keeps_the_name(void **state)
{
    sbx_op op;

    (void)state;
    kit_start(1);
    kit_expect("POST /v2/sandboxes/boxes/one/start", 202, NULL, "{}");
    kit_expect("GET /v2/sandboxes/boxes/one/status", 200, NULL, "{\"status\":\"ready\"}");
    kit_expect("GET /v2/sandboxes/boxes/one", 400, NULL, "{}");
    op = sbx_start(K.c, &K.box, NULL, NULL, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_VALIDATION);
    assert_string_equal(kit_error(op).operation, "start");
    kit_end();
}

static void a_refusal_names_the_limit(void **state)
{
    sbx_create_opts o = { 0 };
    sbx_error err;
    sbx_client *c;
    sbx_op op;

    (void)state;
    kit_start(1);
    o.call.max_retries = 101;
    op = sbx_create(K.c, &o, NULL);
    assert_non_null(strstr(kit_error(op).text, "100 at most"));
    o.call.max_retries = 0;
    o.call.timeout_ms = -2;
    op = sbx_create(K.c, &o, NULL);
    assert_non_null(strstr(kit_error(op).text, "SBX_FOREVER"));
    o.call.timeout_ms = 0;
    o.delete_after_stop_s = 2592060;
    op = sbx_create(K.c, &o, NULL);
    assert_non_null(strstr(kit_error(op).text, "2,592,000"));
    K.d.rx_bytes = 511;
    ASSERT_CODE(sbx_open(&K.d, &c, &err), SBX_ERR_ARGUMENT);
    assert_string_equal(err.text, "rx_bytes must be at least 512");
    K.d.rx_bytes = 512;
    K.d.max_ops = UINT32_MAX;
    ASSERT_CODE(sbx_client_init(NULL, 0, &K.d, &c, &err), SBX_ERR_ARGUMENT);
    assert_string_equal(err.text, "max_ops must be at most 16777216");
    K.d.max_ops = 1;
    ASSERT_CODE(sbx_client_init(NULL, 0, &K.d, &c, &err), SBX_ERR_MEMORY);
    kit_end();
}

/* An empty key is none, whoever sets it. */
static void an_empty_key_is_none(void **state)
{
    (void)state;
    kit_start(1);
    ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("x"), NULL, NULL, NULL)), SBX_ERR_NOT_FOUND);
    assert_non_null(strstr(kit_request(0)->head, "X-Api-Key: key-1"));
    ASSERT_CODE(sbx_set_api_key(K.c, sbx_s("")), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("x"), NULL, NULL, NULL)), SBX_ERR_NOT_FOUND);
    assert_null(strstr(kit_request(0)->head, "X-Api-Key"));
    kit_end();
}

/* ---- randomness ---- */

/* From the n-th call on the transport has none. Nothing goes out with a mask or
   a key that was not drawn: no upgrade, no command, no input; and the one who
   asked is told. `lead` moves what each n falls on. */
static void random_bytes_run_out(void **state)
{
    unsigned refused = 0, ended = 0, inputs = 0;

    (void)state;
    for (uint64_t n = 2; n < 12; n++)
        for (unsigned lead = 0; lead < 16; lead++) {
            bool failed = false;
            unsigned started = 0;
            size_t given = 0, heard = 0;

            kit_new(n * 100 + lead);
            K.s->entropy_fail_at = n;
            K.s->entropy_fail_all = true;
            kit_open();
            {
                sim_plan p = { 0 };

                p.until_kill = true;
                sim_add_plan(K.s, &p);
            }
            for (unsigned i = 0; i < 8 && !failed; i++) {
                sbx_run_opts o = { 0 };
                sbx_event ev;
                sbx_code code = SBX_OK;
                size_t taken;
                sbx_op op;

                o.stdin_open = true;
                op = sbx_command(K.c, &K.box, sbx_s("x"), &o);
                if (!op.slot) {
                    assert_int_equal(op.gen, SBX_ERR_ENTROPY);
                    refused++;
                    failed = true;
                    continue;
                }
                while (sbx_next_of(K.c, &op, &ev)) {
                    started += ev.kind == SBX_EV_STARTED;
                    for (unsigned k = 0; ev.kind == SBX_EV_STARTED && k < lead && code == SBX_OK; k++) {
                        code = sbx_input(K.c, op, sbx_s("i"), &taken);
                        given += taken;
                    }
                    if (ev.kind == SBX_EV_STARTED && code == SBX_OK)
                        sbx_kill(K.c, op);
                    else if (ev.kind == SBX_EV_STARTED)
                        sbx_cancel(K.c, op);
                }
                inputs += code == SBX_ERR_ENTROPY;
                ended += ev.code == SBX_ERR_ENTROPY;
                failed = code == SBX_ERR_ENTROPY || ev.code == SBX_ERR_ENTROPY;
                if (!failed)
                    ASSERT_CODE(ev.code, SBX_OK);
            }
            assert_true(failed || K.s->entropy_calls < n);
            assert_int_equal(K.s->command_n, started);
            for (unsigned i = 0; i < K.s->command_n; i++)
                heard += K.s->commands[i]->heard.n;
            assert_int_equal(heard, given);
            kit_end();
        }
    assert_true(refused && ended && inputs);
}

/* An execute larger than the send buffer, cut anywhere: the next connection
   sends it whole, and nobody waits for a limit of time. */
static void a_hello_that_was_cut_begins_anew(void **state)
{
    char long_command[3001];
    uint64_t calls = 1;

    (void)state;
    memset(long_command, 'c', 3000);
    long_command[3000] = 0;
    for (uint64_t n = 1; n <= calls; n++) {
        sbx_run_opts o = { 0 };
        int64_t begun;

        kit_new(1);
        K.d.tx_bytes = 1024;
        kit_open();
        K.s->knobs.send_max = 700;
        talk("?ccc\"\n" STARTED EXIT(0), NULL, NULL);
        K.s->fail_at = n;
        K.s->fail_kind = SIM_FAULT_FAIL;
        o.discard = true;
        begun = K.s->now;
        ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_s(long_command), &o, NULL)), SBX_OK);
        assert_true(K.s->now - begun < 5000);
        if (n == 1)
            calls = K.s->calls;
        kit_end();
    }
    assert_true(calls > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trickle_prolongs_no_close),
        cmocka_unit_test(a_single_slot_is_enough_to_shut_down),
        cmocka_unit_test(a_shutdown_deletes_beside_unpulled_ends),
        cmocka_unit_test(keys_are_wiped_with_their_request),
        cmocka_unit_test(keys_are_wiped_by_cancel),
        cmocka_unit_test(keys_are_wiped_by_close),
        cmocka_unit_test(keys_are_wiped_when_init_fails),
        cmocka_unit_test(keys_are_wiped_behind_an_early_answer),
        cmocka_unit_test(an_upgrade_is_checked),
        cmocka_unit_test(a_bad_id_is_an_error),
        cmocka_unit_test(a_key_stays_off_plain_http),
        cmocka_unit_test(an_error_names_the_function),
        cmocka_unit_test(an_endpoint_is_told_its_fault),
        cmocka_unit_test(a_later_phase_keeps_the_name),
        cmocka_unit_test(a_refusal_names_the_limit),
        cmocka_unit_test(an_empty_key_is_none),
        cmocka_unit_test(random_bytes_run_out),
        cmocka_unit_test(a_hello_that_was_cut_begins_anew),
    };

    return cmocka_run_group_tests_name("guards", tests, NULL, NULL);
}
