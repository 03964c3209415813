/* Every call with a secret in every option that may hold one, through success
   and failures: no text of an error and no trace has any of it. */
#include "script.h"

/* Its length is a multiple of 3: base64 of what begins with it begins with its own. */
#define MARK "s3cr3t-MARK!"
#define MARK64 "czNjcjN0LU1BUksh"

static unsigned looked, traces;

static void no_mark_in(const char *where, const void *p, size_t n)
{
    static const char *const marks[] = { MARK, MARK64 };

    for (unsigned k = 0; k < 2; k++)
        for (size_t m = strlen(marks[k]), i = 0; i + m <= n; i++)
            if (memcmp((const char *)p + i, marks[k], m) == 0)
                fail_msg("%s: %.*s", where, (int)n, (const char *)p);
    looked++;
}

static void on_trace(void *user, const sbx_trace *t)
{
    (void)user;
    traces++;
    no_mark_in("trace", t->text.p, t->text.n);
}

/* ---- calls ---- */

static sbx_header header = { { "X-Mine", 6 }, { MARK, 12 } };
static sbx_str words[1] = { { MARK, 12 } };
static sbx_pair env[1] = { { { "ENV", 3 }, { MARK, 12 } } };
static sbx_secret mark = { { MARK, 12 }, SBX_SECRET_OPAQUE };
static sbx_service service;
static sbx_download link_out;
static sbx_call common; /* of every call */

typedef enum call_id {
    CREATE, UPDATE, GET, START, LIST, RUN_WS, RUN_HTTP, RUN_SSE, READ, WRITE, GLOB, BUILD, CAPTURE, REGISTRY, REGISTRY_UPDATE, REGISTRIES,
    OPEN, CLOSE, REQUEST, REQUEST_RENEWED, REQUEST_PUT, LINK, FETCH, FETCH_STAT, TEMPLATE, VOLUME, POOL, TUNNEL, CREATE_JSON, CALLS
} call_id;

static void fill_proxy(sbx_box_proxy *p)
{
    static sbx_proxy_header h;
    static sbx_proxy_rule rules[3];
    static sbx_proxy_callback callback;

    h.name = sbx_s("Authorization");
    h.value = mark;
    rules[0].name = sbx_s("h");
    rules[0].headers = &h;
    rules[0].headers_n = rules[0].match_hosts_n = rules[0].env_n = 1;
    rules[0].match_hosts = words;
    rules[0].env = env;
    rules[1].aws.access_key_id = rules[1].aws.secret_access_key = mark;
    rules[2].gcp.service_account_json = mark;
    rules[2].gcp.scopes = words;
    rules[2].gcp.scopes_n = 1;
    callback.match_hosts = words;
    callback.match_hosts_n = callback.request_headers_n = 1;
    callback.url = sbx_s("https://u:" MARK "@cb.test/");
    callback.request_headers = &h;
    memset(p, 0, sizeof *p);
    p->rules = rules;
    p->rules_n = 3;
    p->callbacks = &callback;
    p->callbacks_n = 1;
}

static sbx_op create(bool json)
{
    static sbx_mount mount;
    static sbx_mount_auth auth;
    static sbx_box_proxy proxy;
    sbx_delegation access = { SBX_DELEGATION_EXPLICIT, words, 1 };
    sbx_create_opts o = { 0 };

    o.call = common;
    o.run_config.env = o.env = env;
    o.run_config.env_n = o.env_n = 1;
    if (json) {
        o.mount_config = o.proxy_config = o.access_delegation = sbx_s("{\"secret\":\"" MARK "\"}");
        return sbx_create(K.c, &o, NULL);
    }
    fill_proxy(&proxy);
    proxy.rules_n = 1; /* mounts have the providers */
    mount.id = sbx_s("m");
    mount.mount_path = sbx_s("/m");
    mount.s3.bucket = sbx_s("b");
    auth.aws.access_key_id = auth.aws.secret_access_key = mark;
    o.mounts = &mount;
    o.mounts_n = 1;
    o.mount_auth = &auth;
    o.proxy = &proxy;
    o.access = &access;
    return sbx_create(K.c, &o, NULL);
}

static sbx_op update(void)
{
    sbx_update_opts o = { 0 };
    sbx_box_proxy proxy;

    fill_proxy(&proxy);
    o.call = common;
    o.proxy = &proxy;
    o.run_config.env = env;
    o.run_config.env_n = 1;
    return sbx_update(K.c, &K.box, &o, NULL, NULL);
}

static sbx_op run(call_id id)
{
    sbx_run_opts o = { 0 };

    o.call = common;
    o.env = env;
    o.env_n = 1;
    o.via = id == RUN_WS ? SBX_VIA_WS : id == RUN_HTTP ? SBX_VIA_HTTP : SBX_VIA_SSE;
    if (id == RUN_SSE)
        o.stdin_data = sbx_s(MARK);
    o.stdin_open = o.ssh_agent_forward = id == RUN_WS;
    if (id != RUN_HTTP)
        return sbx_command(K.c, &K.box, sbx_s("echo " MARK), &o);
    o.discard = true;
    return sbx_run(K.c, &K.box, sbx_s("echo " MARK), &o, NULL);
}

static sbx_op snapshot(bool build)
{
    sbx_snapshot_opts o = { 0 };

    o.call = common;
    o.run_config.env = env;
    o.run_config.env_n = 1;
    o.wait_s = 3;
    if (!build)
        return sbx_snapshot_capture(K.c, &K.box, sbx_s("s"), &o, NULL);
    o.registry_url = sbx_s("r.test");
    o.registry_username = o.registry_password = sbx_s(MARK);
    return sbx_snapshot_build(K.c, sbx_s("s"), sbx_s("i"), &o, NULL);
}

static sbx_op registry(bool make)
{
    sbx_registry_opts o = { 0 };

    o.call = common;
    o.name = sbx_s("r");
    o.url = sbx_s("r.test");
    o.username = o.password = sbx_s(MARK);
    return make ? sbx_registry_create(K.c, &o, NULL) : sbx_registry_update(K.c, sbx_s("r"), &o, NULL);
}

static sbx_op request(call_id id)
{
    sbx_request_opts o = { 0 };

    o.call = common;
    o.stream = true;
    memset(&service, 0, sizeof service);
    strcpy(service.box, "one");
    strcpy(service.url, "http://s.test/p");
    strcpy(service.token, MARK);
    strcpy(service.browser_url, "http://s.test/?t=" MARK);
    service.port = 80;
    if (id == REQUEST_RENEWED)
        service.expires_ms = service.clock_ms = 1;
    if (id == REQUEST_PUT)
        o.body = sbx_s(MARK);
    return sbx_request(K.c, &service, sbx_s(id == REQUEST_PUT ? "PUT" : "GET"), sbx_s("/x?key=" MARK), &o, NULL);
}

/* What has no options of its own with secrets: those of every call alone. */
static sbx_op plain(call_id id)
{
    sbx_box_opts b = { 0 };
    sbx_list_opts l = { 0 };
    sbx_write_opts w = { 0 };
    sbx_find_opts f = { 0 };
    sbx_service_opts s = { 0 };
    sbx_download_opts d = { 0 };
    sbx_template_opts t = { 0 };
    sbx_volume_opts v = { 0 };
    sbx_pool_opts p = { 0 };
    sbx_tunnel_opts u = { 0 };

    b.call = l.call = w.call = f.call = s.call = d.call = t.call = v.call = p.call = u.call = common;
    b.wait_s = 3;
    t.name = v.name = v.size = p.name = p.template_name = t.image = sbx_s("x");
    p.replicas = 1;
    u.max_streams = 1;
    switch (id) {
    case GET: return sbx_get(K.c, sbx_s("one"), &b, NULL, NULL);
    case START: return sbx_start(K.c, &K.box, &b, NULL, NULL);
    case LIST: return sbx_list(K.c, &l, NULL);
    case WRITE: return sbx_write(K.c, &K.box, sbx_s("/f"), sbx_s(MARK), &w);
    case GLOB: return sbx_glob(K.c, &K.box, sbx_s("*"), &f, NULL);
    case REGISTRIES: return sbx_registry_list(K.c, &l, NULL);
    case OPEN: return sbx_service_open(K.c, &K.box, 80, &s, &service);
    case CLOSE: return sbx_service_close(K.c, &K.box, 80, &b);
    case LINK: return sbx_download_url(K.c, &K.box, sbx_s("/f"), &d, &link_out);
    case TEMPLATE: return sbx_template_create(K.c, &t, NULL);
    case VOLUME: return sbx_volume_create(K.c, &v, NULL);
    case POOL: return sbx_pool_create(K.c, &p, NULL);
    default: return sbx_tunnel_open(K.c, &K.box, &u);
    }
}

static sbx_op make(call_id id)
{
    sbx_read_opts r = { 0 };
    sbx_box_opts b = { 0 };

    r.call = common;
    if (id == FETCH || id == FETCH_STAT) /* these take no key */
        r.call.api_key.p = NULL;
    b.call = r.call;
    r.stream = true;
    switch (id) {
    case CREATE:
    case CREATE_JSON: return create(id == CREATE_JSON);
    case UPDATE: return update();
    case RUN_WS:
    case RUN_HTTP:
    case RUN_SSE: return run(id);
    case READ: return sbx_read(K.c, &K.box, sbx_s("/f"), &r, NULL);
    case BUILD:
    case CAPTURE: return snapshot(id == BUILD);
    case REGISTRY:
    case REGISTRY_UPDATE: return registry(id == REGISTRY);
    case REQUEST:
    case REQUEST_RENEWED:
    case REQUEST_PUT: return request(id);
    case FETCH: return sbx_fetch(K.c, sbx_s("http://dl.test/d/" MARK "?token=" MARK), &r, NULL);
    case FETCH_STAT: return sbx_fetch_stat(K.c, sbx_s("http://dl.test/d/" MARK "?token=" MARK), &b, NULL);
    default: return plain(id);
    }
}

/* ---- answers ---- */

/* What the server says on purpose, with what it was sent beside it. */
#define ECHO "\"input\":{\"password\":\"" MARK "\",\"value\":\"" MARK "\"}"
#define GRANT "\"service_url\":\"http://s.test/p\",\"browser_url\":\"http://s.test/?t=" MARK "\",\"download_url\":\"http://dl.test/" MARK "\",\"token\":\"" MARK "\""
#define SAYS "{\"detail\":{\"error\":\"Type\",\"message\":\"no\"," ECHO "}}"

static const struct {
    int status;
    const char *head, *body;
    const char *raw;
    sim_end end;
    bool no_answer;
} answers[] = {
    { 200, NULL, "{\"id\":\"i\",\"name\":\"one\",\"status\":\"ready\"," GRANT "}", NULL, SIM_OPEN, false },
    { 200, NULL, "{\"id\":\"i\",\"status\":\"failed\"," ECHO "}", NULL, SIM_OPEN, false },
    { 200, NULL, "{\"id\":\"i\",\"status\":\"building\"}", NULL, SIM_OPEN, false },
    { 200, NULL, "{" GRANT ",\"id\":" MARK "}", NULL, SIM_OPEN, false },
    { 200, NULL, MARK, NULL, SIM_OPEN, false },
    { 204, NULL, NULL, NULL, SIM_OPEN, false },
    { 302, "Location: http://x/?" MARK "\r\n", NULL, NULL, SIM_OPEN, false },
    { 400, NULL, SAYS, NULL, SIM_OPEN, false },
    { 401, NULL, SAYS, NULL, SIM_OPEN, false },
    { 404, NULL, "{\"detail\":\"Not Found\"}", NULL, SIM_OPEN, false },
    { 404, NULL, SAYS, NULL, SIM_OPEN, false },
    { 409, NULL, SAYS, NULL, SIM_OPEN, false },
    { 422, NULL, "{\"detail\":[{\"type\":\"value_error\",\"loc\":[\"body\",\"x\"],\"msg\":\"no\"," ECHO "}]}", NULL, SIM_OPEN, false },
    { 429, "Retry-After: 1\r\n", SAYS, NULL, SIM_OPEN, false },
    { 500, NULL, "<html>" MARK, NULL, SIM_OPEN, false },
    { 503, NULL, SAYS, NULL, SIM_OPEN, false },
    { 0, NULL, NULL, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"token\":\"" MARK, SIM_RST, false },
    { 0, NULL, NULL, "HTTP/1.1 200 OK\r\nX-" MARK " " MARK "\r\n\r\n", SIM_OPEN, false },
    { 0, NULL, NULL, MARK "\r\n\r\n", SIM_OPEN, false },
    { 0, NULL, NULL, NULL, SIM_OPEN, true },
};

static void open_world(uint64_t seed, uint32_t request_bytes)
{
    static const sbx_header own = { { "X-Team", 6 }, { MARK, 12 } };

    memset(&common, 0, sizeof common);
    common.headers = &header;
    common.headers_n = 1;
    common.api_key = sbx_s(MARK);
    common.max_retries = 1;
    kit_new(seed);
    K.d.trace = on_trace;
    K.d.api_key = MARK;
    K.d.headers = &own;
    K.d.headers_n = 1;
    K.d.request_bytes = request_bytes;
    kit_open();
}

/* Pulls all events; what the operation ended with, whose texts are looked through. */
static sbx_error finish(call_id id, sbx_op op)
{
    char where[32];
    sbx_error e;
    sbx_event ev;
    sbx_op ended = op;
    size_t taken;

    while (sbx_next_of(K.c, &op, &ev)) {
        if (ev.kind == SBX_EV_STARTED && id == RUN_WS) {
            sbx_input(K.c, op, sbx_s(MARK), &taken);
            sbx_agent_send(K.c, op, sbx_s("ch"), sbx_s(MARK), &taken);
        }
        if (ev.kind == SBX_EV_STARTED && id == TUNNEL)
            sbx_cancel(K.c, op);
        ended = ev.op;
    }
    sbx_error_of(K.c, ended, &e);
    snprintf(where, sizeof where, "call %d", (int)id);
    no_mark_in(where, &e, sizeof e);
    return e;
}

static void test_answers(void **state)
{
    (void)state;
    for (int id = 0; id < CALLS; id++) {
        unsigned codes = 0;
        bool good = false;

        for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
            sim_script e = { 0 };
            sbx_error err;

            open_world(i + 1, 0);
            e.times = -1;
            e.status = answers[i].status;
            e.head = answers[i].head;
            e.body = answers[i].body;
            e.raw = answers[i].raw;
            e.end = answers[i].end;
            e.no_answer = answers[i].no_answer;
            sim_expect(K.s, &e);
            traces = 0;
            err = finish((call_id)id, make((call_id)id));
            good = good || err.code == SBX_OK;
            codes += err.code != SBX_OK;
            assert_true(K.s->request_n > 0); /* it was not refused here */
            assert_true(traces > 2);
            kit_end();
        }
        assert_true(codes > 8 || (id >= REQUEST && id <= REQUEST_PUT));
        /* Commands and tunnels have their own way to succeed. */
        if (!good && id != RUN_WS && id != RUN_SSE && id != TUNNEL && id != UPDATE)
            fail_msg("call %d never succeeds", id);
    }
}

/* Streams that begin and then end in one way or other. */
static void test_streams(void **state)
{
    static const char *const ends[] = { EXIT(3), "{\"type\":\"error\",\"error_type\":\"CommandTimeout\",\"error\":\"late\"}\n", "@rst\n",
                                        "{\"type\":\"exit\",\"exit_code\":" MARK "}\n", "{\"type\":\"ssh_agent_data\",\"channel_id\":\"ch\",\"data\":\"" MARK "\"}\n" EXIT(0),
                                        "{\"type\":\"stdout\",\"data\":\"" MARK "\",\"offset\":0}\n@close 1011\n", "@hex ffff\n" };

    (void)state;
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
        char text[400];

        open_world(i, 0);
        snprintf(text, sizeof text, STARTED "%s", ends[i]);
        talk(text, STARTED EXIT(0), NULL);
        finish(RUN_WS, make(RUN_WS));
        assert_true(K.s->command_n == 1);
        kit_end();
    }
}

/* What is refused here: options that are wrong, and no room. */
static void test_refusals(void **state)
{
    (void)state;
    for (int id = 0; id < CALLS; id++) {
        for (unsigned i = 0; i < 6; i++) {
            sbx_error e;

            open_world(i, i == 0 ? 256 : 0);
            header.value = sbx_s(i == 1 ? MARK "\r\n" : MARK);
            words[0] = env[0].value = mark.value = sbx_s(i == 2 ? MARK "\xff" : MARK);
            if (i == 3)
                words[0] = env[0].value = mark.value = sbx_sn(MARK "\0", sizeof MARK);
            if (i == 4)
                common.max_retries = -7;
            if (i == 5)
                common.api_key = sbx_s(MARK "\n");
            K.s->knobs.connect_ms = 0;
            common.total_ms = 2000;
            e = finish((call_id)id, make((call_id)id));
            if ((i == 1 || i == 4 || (i == 5 && id != FETCH && id != FETCH_STAT)) && e.code != SBX_ERR_ARGUMENT)
                fail_msg("call %d, refusal %u: %s", id, i, sbx_code_name(e.code));
            if (e.code == SBX_ERR_ARGUMENT)
                assert_int_equal(K.s->request_n, 0);
            header.value = words[0] = env[0].value = mark.value = sbx_s(MARK);
            kit_end();
        }
    }
    assert_true(looked > 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_answers), cmocka_unit_test(test_streams), cmocka_unit_test(test_refusals) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
