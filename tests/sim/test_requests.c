/* Requests to a service in a sandbox: any method, body and answer; its token. */
#include "kit.h"

#define SERVICE "POST /boxes/one/service-url"
#define TOKEN_ANSWER "{\"browser_url\":\"http://s.test/auth?t=j\",\"service_url\":\"http://s.test/p\",\"token\":\"tok-1\",\"expires_at\":\"2026-01-02T03:04:05Z\"}"

static sbx_service service;
static char buffer[60000];

#define NOW (K.s->wall0 + K.s->now)
#define TOKEN_HEADER "X-Langsmith-Sandbox-Service-Token"

static void a_service(int64_t lives_ms)
{
    memset(&service, 0, sizeof service);
    strcpy(service.box, "one");
    strcpy(service.url, "http://s.test:8000/p/");
    strcpy(service.token, "tok-0");
    service.port = 80;
    service.expires_in_s = 900;
    service.expires_ms = lives_ms ? NOW + lives_ms : 0;
}

static sbx_response response;
static char head[600];

/* Collected into `buffer`, unless the options say otherwise. */
static sbx_code ask(const char *method, const char *path, const sbx_request_opts *more, sbx_error *e)
{
    sbx_request_opts o = *more;
    sbx_code code;
    sbx_op op;

    if (!o.stream && !o.alloc && !o.discard) {
        o.out.p = buffer;
        o.out.n = sizeof buffer;
    }
    if (!o.head.p) {
        o.head.p = head;
        o.head.n = sizeof head;
    }
    op = sbx_request(K.c, &service, sbx_s(method), sbx_s(path), &o, &response);
    code = sbx_await(K.c, op);
    if (e)
        *e = kit_error(op);
    return code;
}

static const char *header(unsigned back, const char *name)
{
    static char text[200];

    return sim_header(kit_request(back), name, text, sizeof text);
}

static void test_request(void **state)
{
    sbx_header mine[] = { { { "X-Mine", 6 }, { "1", 1 } }, { { "Authorization", 13 }, { "app's own", 9 } } }, own = { { "X-Team", 6 }, { "secret", 6 } };
    sbx_request_opts o = { 0 };
    sbx_str value;

    (void)state;
    for (int pieces = 0; pieces < 2; pieces++) {
        kit_new((uint64_t)pieces);
        K.d.headers = &own;
        K.d.headers_n = 1;
        kit_open();
        K.s->knobs.recv_max = pieces ? 1 : 0;
        K.s->knobs.send_max = pieces ? 3 : 0;
        a_service(600000);
        memset(&o, 0, sizeof o);
        o.call.headers = mine;
        o.call.headers_n = 2;
        o.call.api_key = sbx_s("key-2");
        o.body = sbx_s("{\"q\":1}");
        o.content_type = sbx_s("application/json");
        kit_expect("POST /p/ask", 418, "X-A: one\r\nSet-Cookie: a=1\r\nx-a:  two \r\nX-Empty:\r\n", "short and stout");
        ASSERT_CODE(ask("POST", "/ask?x=%20&y=/", &o, NULL), SBX_OK);
        assert_int_equal(response.status, 418);
        assert_int_equal(response.n, 15);
        assert_int_equal(response.total, 15);
        assert_int_equal(response.size, 15);
        assert_false(response.cut || response.head_cut);
        assert_null(response.p);
        assert_memory_equal(buffer, "short and stout", 15);
        assert_string_equal(kit_request(0)->target, "/p/ask?x=%20&y=/");
        assert_string_equal(kit_request(0)->body, "{\"q\":1}");
        assert_string_equal(header(0, "Host"), "s.test:8000");
        assert_string_equal(header(0, "Content-Length"), "7");
        assert_string_equal(header(0, "Content-Type"), "application/json");
        assert_string_equal(header(0, TOKEN_HEADER), "tok-0");
        assert_string_equal(header(0, "X-Mine"), "1");
        assert_string_equal(header(0, "Authorization"), "app's own");
        assert_null(header(0, "X-Api-Key"));
        assert_null(header(0, "X-Team"));
        assert_true(sbx_head_find(sbx_sn(head, response.head_n), sbx_s("x-a"), &value));
        assert_int_equal(value.n, 3);
        assert_memory_equal(value.p, "one", 3);
        assert_true(sbx_head_find(sbx_sn(value.p, (size_t)(head + response.head_n - value.p)), sbx_s("X-A"), &value));
        assert_memory_equal(value.p, "two", 3);
        assert_true(sbx_head_find(sbx_sn(head, response.head_n), sbx_s("x-empty"), &value));
        assert_int_equal(value.n, 0);
        assert_false(sbx_head_find(sbx_sn(head, response.head_n), sbx_s("x"), &value));
        assert_false(sbx_head_find(sbx_sn(head, 5), sbx_s("X-A"), &value));
        assert_false(sbx_head_find(sbx_sn(NULL, 0), sbx_s("X-A"), &value));
        /* Nothing to send: no length, but of a POST. */
        memset(&o, 0, sizeof o);
        kit_expect("/p/", 200, NULL, "");
        ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_OK);
        assert_null(header(0, "Content-Length"));
        assert_null(header(0, "Content-Type"));
        kit_expect("/p/", 204, NULL, "");
        ASSERT_CODE(ask("POST", "/", &o, NULL), SBX_OK);
        assert_int_equal(response.status, 204);
        assert_int_equal(response.size, UINT64_MAX);
        assert_string_equal(header(0, "Content-Length"), "0");
        kit_expect("/p/", 200, NULL, "the length of nothing");
        ASSERT_CODE(ask("HEAD", "/", &o, NULL), SBX_OK);
        assert_int_equal(response.n, 0);
        kit_expect("/p/", 302, "Location: http://elsewhere/\r\n", "");
        ASSERT_CODE(ask("PATCH", "/", &o, NULL), SBX_OK);
        assert_int_equal(response.status, 302);
        kit_end();
    }
}

static void test_request_places(void **state)
{
    sbx_request_opts o = { 0 };
    char little[5], heads[12];

    (void)state;
    kit_start(1);
    a_service(0);
    for (int chunked = 0; chunked < 3; chunked++) {
        sim_script e = { 0 };

        memset(&o, 0, sizeof o);
        e.match = "/p/";
        e.times = 4;
        e.status = 200;
        e.head = "X-Long: 0123456789\r\n";
        e.body = "0123456789";
        e.chunked = chunked == 1;
        if (chunked == 2) {
            e.raw = "HTTP/1.1 200 OK\r\nX-Long: 0123456789\r\n\r\n0123456789";
            e.end = SIM_EOF; /* without a length: up to the end */
        }
        sim_expect(K.s, &e);
        o.alloc = true;
        ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_OK);
        assert_int_equal(response.size, chunked ? UINT64_MAX : 10);
        assert_string_equal(response.p, "0123456789");
        sbx_free(K.c, response.p);
        o.max_bytes = 4;
        ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_OK);
        assert_string_equal(response.p, "0123");
        assert_true(response.cut);
        assert_int_equal(response.total, 10);
        sbx_free(K.c, response.p);
        memset(&o, 0, sizeof o);
        o.out.p = little;
        o.out.n = sizeof little;
        o.head.p = heads;
        o.head.n = sizeof heads;
        ASSERT_CODE(sbx_await(K.c, sbx_request(K.c, &service, sbx_s("GET"), sbx_s("/"), &o, &response)), SBX_OK);
        assert_int_equal(response.n, 5);
        assert_true(response.cut && response.head_cut);
        assert_int_equal(response.head_n, sizeof heads);
        assert_memory_equal(heads, "X-Long: 0123", sizeof heads);
        memset(&o, 0, sizeof o);
        o.discard = true;
        ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_OK);
        assert_int_equal(response.n, 0);
        assert_int_equal(response.total, 10);
    }
    kit_end();
}

/* A header line longer than the receive buffer comes in pieces. */
static void test_request_long_header(void **state)
{
    static char lines[4000], kept[5000];
    sbx_request_opts o = { 0 };
    sbx_str value;

    (void)state;
    for (uint32_t piece = 0; piece < 2; piece++) {
        size_t n = (size_t)sprintf(lines, "X-Long: ");

        kit_new(piece);
        K.d.rx_bytes = 512;
        kit_open();
        a_service(0);
        for (unsigned i = 0; i < 3000; i++)
            lines[n++] = i % 10 ? (char)('a' + i % 26) : ' ';
        strcpy(lines + n, "z\r\nX-B: c\r\n");
        K.s->knobs.recv_max = piece ? 7 : 0;
        kit_expect("/p/", 200, lines, "");
        o.discard = true;
        o.head.p = kept;
        o.head.n = sizeof kept;
        ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_OK);
        assert_true(sbx_head_find(sbx_sn(kept, response.head_n), sbx_s("x-long"), &value));
        assert_int_equal(value.n, 3000); /* without the blank that it began with */
        assert_memory_equal(value.p, lines + 9, 3000);
        assert_true(sbx_head_find(sbx_sn(kept, response.head_n), sbx_s("x-b"), &value));
        assert_memory_equal(value.p, "c", 1);
        kit_end();
    }
}

static void test_request_streams(void **state)
{
    (void)state;
    for (int body = 0; body < 2; body++)
        for (int step = 0; step < 2; step++) {
            sbx_request_opts o = { 0 };
            int heads = 0, ended = 0;
            uint64_t at = 0;
            sbx_event ev;
            sim_script e = { 0 };
            sbx_op op;

            kit_start((uint64_t)body);
            a_service(30000); /* a token first */
            kit_expect(SERVICE, 200, NULL, TOKEN_ANSWER);
            K.s->knobs.recv_max = 700;
            e.match = "/p/";
            e.status = 404;
            e.head = "X-A: b\r\n";
            e.body = (const char *)sim_pattern();
            e.body_n = body ? 20000 : 0;
            if (!body)
                e.body = "";
            e.chunked = body != 0;
            sim_expect(K.s, &e);
            o.stream = true;
            o.head.p = head;
            o.head.n = sizeof head;
            memset(&response, 0, sizeof response);
            op = sbx_request(K.c, &service, sbx_s("GET"), sbx_s("/"), &o, &response);
            while (!ended) {
                if (step) {
                    sbx_wait(K.c, 1000);
                    if (!sbx_next(K.c, &ev))
                        continue;
                } else {
                    assert_true(sbx_next_of(K.c, &op, &ev));
                }
                switch (ev.kind) {
                case SBX_EV_HEAD:
                    assert_int_equal(heads++, 0);
                    assert_int_equal(at, 0);
                    assert_int_equal(ev.status, 404);
                    assert_memory_equal(ev.data.p, "X-A: b\r\n", 8);
                    assert_int_equal(response.status, 0);
                    break;
                case SBX_EV_DATA:
                    assert_int_equal(heads, 1);
                    assert_int_equal(ev.offset, at);
                    assert_memory_equal(ev.data.p, sim_pattern() + at, ev.data.n);
                    at += ev.data.n;
                    break;
                default:
                    assert_int_equal(ev.kind, SBX_EV_END);
                    ASSERT_CODE(ev.code, SBX_OK);
                    ended = 1;
                }
            }
            assert_int_equal(heads, 1);
            assert_int_equal(at, body ? 20000 : 0);
            assert_int_equal(response.status, 404);
            assert_int_equal(response.total, at);
            assert_false(response.cut);
            assert_string_equal(service.token, "tok-1");
            kit_end();
        }
}

/* A new token where the old one's last minute has begun, by the service's clock. */
static void test_token_renewed(void **state)
{
    static const struct {
        int64_t lives_ms, clock_ms;
        bool wall, renews;
    } cases[] = {
        { 60001, 0, true, false },      { 60000, 0, true, true },        { -5, 0, true, true },
        { 60000, -3600000, true, false }, { 3600000, 3540000, true, true }, { 0, 0, true, false },
        { -5, 0, false, false }, /* nobody knows the time */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sbx_request_opts o = { 0 };
        sbx_transport blind = sim_transport;

        kit_new(i);
        blind.wall_ms = NULL;
        if (!cases[i].wall)
            K.d.transport = &blind;
        kit_open();
        a_service(cases[i].lives_ms ? cases[i].lives_ms : 600000);
        if (!cases[i].lives_ms)
            service.expires_ms = 0;
        service.clock_ms = cases[i].clock_ms;
        if (cases[i].renews)
            kit_expect(SERVICE, 200, "Date: Fri, 02 Jan 2026 02:54:05 GMT\r\n", TOKEN_ANSWER);
        kit_expect("PUT /p/x", 200, NULL, "ok");
        o.call.api_key = sbx_s("key-2");
        o.body = sbx_s("body");
        ASSERT_CODE(ask("PUT", "/x", &o, NULL), SBX_OK);
        assert_memory_equal(buffer, "ok", 2);
        assert_string_equal(kit_request(0)->body, "body");
        assert_null(header(0, "X-Api-Key"));
        assert_int_equal(K.s->request_n, cases[i].renews ? 2 : 1);
        if (cases[i].renews) {
            assert_string_equal(kit_request(1)->body, "{\"port\":80,\"expires_in_seconds\":900}");
            assert_string_equal(header(1, "X-Api-Key"), "key-2");
            assert_null(header(1, TOKEN_HEADER));
            assert_string_equal(header(0, TOKEN_HEADER), "tok-1");
            assert_string_equal(service.url, "http://s.test/p");
            assert_int_equal(service.expires_ms, INT64_C(1767323045000));
            assert_int_equal(NOW + service.clock_ms, INT64_C(1767322445000));
        } else {
            assert_string_equal(header(0, TOKEN_HEADER), "tok-0");
        }
        kit_end();
    }
}

/* Without a wall clock the Date of the token's answer tells what time it is. */
static void test_token_without_wall_clock(void **state)
{
    sbx_request_opts o = { 0 };
    sbx_transport blind = sim_transport;

    (void)state;
    kit_new(1);
    blind.wall_ms = NULL;
    K.d.transport = &blind;
    kit_open();
    kit_expect(SERVICE, 200, "Date: Fri, 02 Jan 2026 02:54:05 GMT\r\n", TOKEN_ANSWER);
    ASSERT_CODE(sbx_await(K.c, sbx_service_open(K.c, &K.box, 80, NULL, &service)), SBX_OK);
    o.discard = true;
    for (int i = 0; i < 3; i++) {
        unsigned before = K.s->request_n;

        kit_expect("GET /p", 200, NULL, "");
        if (i == 2)
            kit_expect(SERVICE, 200, NULL, TOKEN_ANSWER);
        ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_OK);
        assert_int_equal(K.s->request_n - before, i == 2 ? 2 : 1);
        K.s->now += i ? 60000 : 480000; /* it lives 600 s */
    }
    kit_end();
}

/* The edge may refuse a token before its end: once, where that does no harm. */
static void test_token_refused(void **state)
{
    static const struct {
        const char *method;
        sbx_tri repeat;
        bool renews, again;
    } cases[] = {
        { "GET", SBX_TRI_UNSET, true, false }, { "DELETE", SBX_TRI_UNSET, true, false }, { "GET", SBX_TRI_UNSET, true, true },
        { "POST", SBX_TRI_UNSET, false, false }, { "POST", SBX_TRI_YES, true, false },     { "PUT", SBX_TRI_NO, false, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sbx_request_opts o = { 0 };
        sim_script e = { 0 };

        kit_start(i);
        a_service(600000);
        e.match = "/p/x";
        e.times = cases[i].again ? 2 : 1;
        e.status = 401;
        e.head = "X-Which: first\r\n";
        e.body = "no";
        sim_expect(K.s, &e);
        kit_expect(SERVICE, 200, NULL, TOKEN_ANSWER);
        kit_expect("/p/x", 200, "X-Which: last\r\n", "yes");
        o.repeat = cases[i].repeat;
        ASSERT_CODE(ask(cases[i].method, "/x", &o, NULL), SBX_OK);
        assert_int_equal(response.status, cases[i].renews && !cases[i].again ? 200 : 401);
        assert_int_equal(K.s->request_n, cases[i].renews ? 3 : 1);
        assert_int_equal(response.n, cases[i].renews && !cases[i].again ? 3 : 2);
        assert_memory_equal(head, cases[i].renews && !cases[i].again ? "X-Which: last\r\n" : "X-Which: first\r\n", 14);
        assert_string_equal(service.token, cases[i].renews ? "tok-1" : "tok-0");
        kit_end();
    }
}

static void test_token_fails(void **state)
{
    sbx_request_opts o = { 0 };
    sbx_service before;
    sbx_error err;

    (void)state;
    kit_start(1);
    a_service(100);
    before = service;
    kit_expect(SERVICE, 409, NULL, "");
    ASSERT_CODE(ask("GET", "/", &o, &err), SBX_ERR_CONFLICT);
    assert_non_null(strstr(err.text, "sbx_service_close"));
    assert_string_equal(err.operation, "request");
    kit_expect(SERVICE, 200, NULL, "{\"service_url\":\"http://s.test\"}");
    ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_ERR_PROTOCOL);
    kit_expect(SERVICE, 401, NULL, "");
    o.alloc = true;
    ASSERT_CODE(ask("GET", "/", &o, NULL), SBX_ERR_AUTH);
    assert_memory_equal(&service, &before, sizeof service);
    assert_int_equal(K.s->request_n, 3);
    /* The new URL is looked at like the first one. */
    kit_expect(SERVICE, 200, NULL, "{\"service_url\":\"ftp://s.test\",\"token\":\"t\"}");
    ASSERT_CODE(ask("GET", "/", &o, &err), SBX_ERR_PROTOCOL);
    assert_non_null(strstr(err.text, "new URL"));
    assert_int_equal(K.s->request_n, 4);
    assert_memory_equal(&service, &before, sizeof service);
    kit_end();
}

/* What is repeated, and what is not. */
static void test_request_repeats(void **state)
{
    static const struct {
        const char *method;
        int status; /* of the answer that is cut */
        int64_t cut;
        sbx_code code;
        unsigned requests;
    } cases[] = {
        { "GET", 0, 0, SBX_OK, 2 },                    { "PUT", 0, 0, SBX_OK, 2 },
        { "POST", 0, 0, SBX_ERR_OUTCOME, 1 },          { "GET", 200, 10, SBX_OK, 2 },
        { "POST", 200, 10, SBX_ERR_OUTCOME, 1 },       { "GET", 200, 45, SBX_ERR_CONNECTION, 1 },
        { "POST", 200, 45, SBX_ERR_CONNECTION, 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int alloc = 0; alloc < 2; alloc++) {
            sbx_request_opts o = { 0 };
            sim_script e = { 0 };

            kit_start(i);
            a_service(600000);
            e.match = "/p/x";
            e.status = cases[i].status;
            e.body = "0123456789";
            e.cut = cases[i].cut;
            e.end = SIM_RST;
            if (!e.status)
                e.raw = "", e.raw_n = 0;
            sim_expect(K.s, &e);
            kit_expect("/p/x", 200, NULL, "good");
            o.alloc = alloc;
            ASSERT_CODE(ask(cases[i].method, "/x", &o, NULL), cases[i].code);
            assert_int_equal(K.s->request_n, cases[i].requests);
            if (cases[i].code == SBX_OK) {
                assert_memory_equal(alloc ? response.p : buffer, "good", 4);
                sbx_free(K.c, response.p && alloc ? response.p : NULL);
            }
            kit_end();
        }
    /* Any status is the service's own business. */
    for (int status = 429; status <= 504; status += status == 429 ? 73 : 1) {
        sbx_request_opts o = { 0 };

        kit_start(1);
        a_service(0);
        kit_expect("/p/x", status, "Retry-After: 1\r\n", "busy");
        ASSERT_CODE(ask("GET", "/x", &o, NULL), SBX_OK);
        assert_int_equal(response.status, status);
        assert_int_equal(K.s->request_n, 1);
        kit_end();
    }
}

static void test_request_silence(void **state)
{
    (void)state;
    for (int patient = 0; patient < 3; patient++) {
        sbx_request_opts o = { 0 };
        sim_script e = { 0 };
        int64_t from;
        sbx_error err;

        kit_start(1);
        a_service(0);
        e.match = "/p/x";
        e.raw = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
        sim_expect(K.s, &e);
        o.call.timeout_ms = 3000;
        o.call.total_ms = 500000;
        o.silence_ms = patient == 2 ? SBX_FOREVER : patient ? 90000 : 0;
        from = K.s->now;
        ASSERT_CODE(ask("GET", "/x", &o, &err), SBX_ERR_DEADLINE);
        assert_int_equal(err.layer, patient == 2 ? SBX_LAYER_LOCAL : SBX_LAYER_TRANSPORT);
        assert_in_range(K.s->now - from, patient == 2 ? 500000 : patient ? 90000 : 3000, patient == 2 ? 500100 : patient ? 90100 : 3100);
        assert_int_equal(K.s->request_n, 1);
        kit_end();
    }
}

/* A body by sbx_push, with a token to get first, a lost connection, both. */
static void test_request_push(void **state)
{
    (void)state;
    for (int size_known = 0; size_known < 2; size_known++)
        for (int how = 0; how < 6; how++) {
            enum { TOTAL = 20000 };
            sbx_request_opts o = { 0 };
            size_t at = 0, taken;
            int rewinds = 0;
            sbx_event ev;
            bool post = how & 4;
            sbx_op op;

            kit_new((uint64_t)how);
            K.d.tx_bytes = 1024;
            kit_open();
                K.s->knobs.send_max = 900;
            K.s->knobs.block = 200;
            a_service(how & 1 ? 1000 : 600000);
            if (how & 1)
                kit_expect(SERVICE, 200, NULL, TOKEN_ANSWER);
            kit_expect("/p/up", 201, NULL, "kept");
            o.push = true;
            o.size = size_known ? TOTAL : SBX_NONE;
            o.out.p = buffer;
            o.out.n = sizeof buffer;
            op = sbx_request(K.c, &service, sbx_s(post ? "POST" : "PUT"), sbx_s("/up"), &o, &response);
            assert_int_not_equal(op.slot, 0);
            ASSERT_CODE(sbx_push(K.c, op, sbx_sn((const char *)sim_pattern(), 10), false, &taken), SBX_OK);
            assert_int_equal(taken, 0);
            while (sbx_next_of(K.c, &op, &ev) && ev.kind != SBX_EV_END) {
                if (ev.kind == SBX_EV_REWIND) {
                    rewinds++;
                    at = 0;
                    ASSERT_CODE(sbx_rewind(K.c, op), SBX_OK);
                }
                for (taken = 1; ev.kind == SBX_EV_WRITABLE && taken && at < TOTAL; at += taken) {
                    size_t n = TOTAL - at < 777 ? TOTAL - at : 777;

                    if (sbx_push(K.c, op, sbx_sn((const char *)sim_pattern() + at, n), at + n == TOTAL, &taken) != SBX_OK)
                        break;
                    if (how & 2 && !rewinds && at > 5000) {
                        for (uint32_t i = 0; i < K.s->conn_max; i++)
                            if (K.s->conns[i])
                                sim_conn_end(K.s->conns[i], SIM_RST, K.s->now);
                    }
                }
            }
            ASSERT_CODE(ev.code, post && how & 2 ? SBX_ERR_OUTCOME : SBX_OK);
            assert_int_equal(rewinds, how & 2 && !post ? 1 : 0);
            if (ev.code == SBX_OK) {
                assert_int_equal(response.status, 201);
                assert_int_equal(kit_request(0)->body_n, TOTAL);
                assert_memory_equal(kit_request(0)->body, sim_pattern(), TOTAL);
                assert_int_equal(header(0, "Transfer-Encoding") != NULL, !size_known);
            }
            kit_end();
        }
}

/* An answer before the body's end, and a body that ends with nothing pushed. */
static void test_request_push_ends(void **state)
{
    sbx_request_opts o = { 0 };
    sim_script e = { 0 };
    size_t taken;
    sbx_op op;

    (void)state;
    kit_start(1);
    a_service(1000);
    kit_expect(SERVICE, 503, NULL, "");
    kit_expect(SERVICE, 200, NULL, TOKEN_ANSWER);
    kit_expect("PUT /p/up", 200, NULL, "");
    o.push = true;
    o.size = SBX_NONE;
    o.discard = true;
    op = sbx_request(K.c, &service, sbx_s("PUT"), sbx_s("/up"), &o, &response);
    ASSERT_CODE(sbx_push(K.c, op, sbx_sn(NULL, 0), true, &taken), SBX_OK);
    for (sbx_event ev; sbx_next_of(K.c, &op, &ev) && ev.kind != SBX_EV_END;) {
        if (ev.kind == SBX_EV_REWIND)
            ASSERT_CODE(sbx_rewind(K.c, op), SBX_OK);
        if (ev.kind == SBX_EV_WRITABLE)
            ASSERT_CODE(sbx_push(K.c, op, sbx_sn(NULL, 0), true, &taken), SBX_OK);
    }
    assert_int_equal(response.status, 200);
    assert_int_equal(kit_request(0)->body_n, 0);
    e.match = "POST /p/up";
    e.status = 413;
    e.body = "too much";
    e.at_head = true;
    e.stop_reading = true;
    sim_expect(K.s, &e);
    op = sbx_request(K.c, &service, sbx_s("POST"), sbx_s("/up"), &o, &response);
    for (sbx_event ev; sbx_next_of(K.c, &op, &ev) && ev.kind != SBX_EV_END;)
        if (ev.kind == SBX_EV_WRITABLE)
            ASSERT_CODE(sbx_push(K.c, op, sbx_s("0123"), false, &taken), SBX_OK);
    assert_int_equal(response.status, 413);
    kit_end();
}

static sbx_op refused_request(unsigned i, const char **field, sbx_code *code)
{
    static sbx_request_opts o;
    static sbx_service s;
    static char many[9000];
    const char *method = "GET", *path = "/";

    memset(&o, 0, sizeof o);
    o.discard = true;
    s = service;
    *code = SBX_ERR_ARGUMENT;
    switch (i) {
    case 0: *field = "service"; return sbx_request(K.c, NULL, sbx_s("GET"), sbx_s("/"), &o, NULL);
    case 1: *field = "service"; s.port = 0; break;
    case 2: *field = "service.token"; s.token[0] = 0; break;
    case 3: *field = "service.url"; s.url[0] = 0; break;
    case 4: *field = "service.url"; strcpy(s.url, "http://h/?a"); break;
    case 5: *field = "service.box"; s.box[0] = 0; break;
    case 6: *field = "method"; method = ""; break;
    case 7: *field = "method"; method = "G T"; break;
    case 8: *field = "method"; method = "CONNECT"; break;
    case 9: *field = "method"; method = "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJK"; break;
    case 10: *field = "path"; path = ""; break;
    case 11: *field = "path"; path = "x"; break;
    case 12: *field = "path"; path = "/a b"; break;
    case 13: *field = "path"; path = "/a#b"; break;
    case 14: *field = "path"; path = "/\xc3\xa9"; break;
    case 15: *field = "push"; o.push = true; o.body = sbx_s("x"); break;
    case 16: *field = "size"; o.size = 1; break;
    case 17: *field = "size"; o.push = true; o.size = -2; break;
    case 18: *field = "repeat"; o.repeat = (sbx_tri)3; break;
    case 19: *field = "stream"; o.stream = true; break;
    case 20: *field = "discard"; o.alloc = true; break;
    case 21: *field = "max_bytes"; o.max_bytes = 1; break;
    case 22: *field = "head"; o.head.n = 1; break;
    case 23: *field = "silence_ms"; o.silence_ms = -2; break;
    case 24: *field = "out"; *code = SBX_ERR_NO_BUFFER; o.discard = false; break;
    case 25: *field = "content_type"; o.content_type = sbx_s(""); break;
    case 26: *field = "content_type"; o.content_type = sbx_s("a\nb"); break;
    case 27: *field = "request_bytes"; *code = SBX_ERR_TOO_LARGE; memset(many, '/', sizeof many - 1); path = many; break;
    case 28: *field = "request_bytes"; *code = SBX_ERR_TOO_LARGE; memset(many, '/', 4040); many[4040] = 0; path = many; o.content_type = sbx_s("text/plain"); break;
    case 29: *field = "call.api_key"; o.call.api_key = sbx_s(""); break;
    default: break;
    }
    return sbx_request(K.c, &s, sbx_s(method), sbx_s(path), &o, NULL);
}

static void test_request_refused(void **state)
{
    (void)state;
    kit_start(5);
    a_service(0);
    for (unsigned i = 0;; i++) {
        const char *field = NULL;
        sbx_code code;
        sbx_op op = refused_request(i, &field, &code);

        if (!field) {
            sbx_cancel(K.c, op);
            sbx_await(K.c, op);
            break;
        }
        if (op.slot || kit_error(op).code != code || strcmp(kit_error(op).field, field) != 0)
            fail_msg("%u: %s %s instead of %s", i, sbx_code_name(kit_error(op).code), kit_error(op).field, field);
    }
    assert_int_equal(K.s->request_n, 0);
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request), cmocka_unit_test(test_request_places), cmocka_unit_test(test_request_long_header), cmocka_unit_test(test_request_streams), cmocka_unit_test(test_token_renewed),
        cmocka_unit_test(test_token_without_wall_clock), cmocka_unit_test(test_token_refused), cmocka_unit_test(test_token_fails),
        cmocka_unit_test(test_request_repeats), cmocka_unit_test(test_request_silence), cmocka_unit_test(test_request_push),
        cmocka_unit_test(test_request_push_ends), cmocka_unit_test(test_request_refused),
    };

    return cmocka_run_group_tests_name("requests", tests, NULL, NULL);
}
