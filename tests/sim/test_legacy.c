/* Servers of 2026-04: templates, volumes, pools, their errors, and commands
   whose name the server chooses. */
#include "script.h"

#define TEMPLATE \
    "{\"id\":\"t-1\",\"name\":\"py\",\"image\":\"python:3.12\",\"resources\":{\"cpu\":\"500m\",\"memory\":\"1Gi\",\"storage\":null}," \
    "\"volume_mounts\":[{\"volume_name\":\"v\",\"mount_path\":\"/v\"}],\"created_at\":\"1970-01-01T00:00:01Z\",\"updated_at\":\"1970-01-01T00:00:02Z\"}"
#define VOLUME "{\"id\":\"v-1\",\"name\":\"v\",\"size\":\"10Gi\",\"storage_class\":\"fast\",\"created_at\":\"1970-01-01T00:00:01Z\",\"updated_at\":null}"
#define POOL "{\"id\":null,\"name\":\"p\",\"template_name\":\"py\",\"replicas\":3,\"created_at\":\"1970-01-01T00:00:01Z\"}"
#define NO_SUCH_PATH "{\"detail\":\"Not Found\"}"
#define SAYS(type, text) "{\"detail\":{\"error\":\"" type "\",\"message\":\"" text "\"}}"

/* The last request is this one. */
static void assert_sent(const char *method, const char *target, const char *body)
{
    const sim_request *r = kit_request(0);

    assert_string_equal(r->method, method);
    assert_string_equal(r->target, target);
    assert_string_equal(r->body_n ? r->body : "", body);
}

static void test_templates(void **state)
{
    sbx_template_opts o = { 0 };
    sbx_volume_mount mounts[2] = { { { "v", 1 }, { "/v", 2 } }, { { "w", 1 }, { "/w", 2 } } };
    sbx_template t;
    char raw[1000];
    size_t raw_n;

    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        kit_start(1);
        K.s->knobs.recv_max = K.s->knobs.send_max = (uint32_t)bytes;
        kit_expect("POST /templates", 201, NULL, TEMPLATE);
        memset(&o, 0, sizeof o);
        o.name = sbx_s("py");
        o.image = sbx_s("python:3.12");
        o.raw.p = raw;
        o.raw.n = sizeof raw;
        o.raw_n = &raw_n;
        ASSERT_CODE(sbx_await(K.c, sbx_template_create(K.c, &o, &t)), SBX_OK);
        assert_sent("POST", "/v2/sandboxes/templates", "{\"name\":\"py\",\"image\":\"python:3.12\",\"resources\":{\"cpu\":\"500m\",\"memory\":\"512Mi\"}}");
        assert_int_equal(raw_n, strlen(TEMPLATE));
        assert_string_equal(t.id, "t-1");
        assert_string_equal(t.name, "py");
        assert_string_equal(t.image, "python:3.12");
        assert_string_equal(t.cpu, "500m");
        assert_string_equal(t.memory, "1Gi");
        assert_string_equal(t.storage, "");
        assert_int_equal(t.created_ms, 1000);
        assert_int_equal(t.updated_ms, 2000);
        kit_expect("POST /templates", 201, NULL, TEMPLATE);
        o.cpu = sbx_s("1");
        o.memory = sbx_s("2Gi");
        o.storage = sbx_s("5Gi");
        o.volume_mounts = mounts;
        o.volume_mounts_n = 2;
        ASSERT_CODE(sbx_await(K.c, sbx_template_create(K.c, &o, NULL)), SBX_OK);
        assert_sent("POST", "/v2/sandboxes/templates", "{\"name\":\"py\",\"image\":\"python:3.12\",\"resources\":{\"cpu\":\"1\",\"memory\":\"2Gi\",\"storage\":\"5Gi\"},"
                    "\"volume_mounts\":[{\"volume_name\":\"v\",\"mount_path\":\"/v\"},{\"volume_name\":\"w\",\"mount_path\":\"/w\"}]}");
        kit_expect("GET /templates/a%2Fb", 200, NULL, TEMPLATE);
        ASSERT_CODE(sbx_await(K.c, sbx_template_get(K.c, sbx_s("a/b"), NULL, &t)), SBX_OK);
        memset(&o, 0, sizeof o);
        o.name = sbx_s("new");
        kit_expect("PATCH /templates/py", 200, NULL, TEMPLATE);
        ASSERT_CODE(sbx_await(K.c, sbx_template_update(K.c, sbx_s("py"), &o, &t)), SBX_OK);
        assert_sent("PATCH", "/v2/sandboxes/templates/py", "{\"name\":\"new\"}");
        kit_expect("GET /templates/py", 200, NULL, TEMPLATE);
        ASSERT_CODE(sbx_await(K.c, sbx_template_update(K.c, sbx_s("py"), NULL, &t)), SBX_OK);
        assert_sent("GET", "/v2/sandboxes/templates/py", "");
        kit_expect("DELETE /templates/py", 204, NULL, NULL);
        ASSERT_CODE(sbx_await(K.c, sbx_template_delete(K.c, sbx_s("py"), NULL)), SBX_OK);
        kit_end();
    }
}

static void test_volumes_and_pools(void **state)
{
    sbx_volume_opts v = { 0 };
    sbx_pool_opts p = { 0 };
    sbx_volume volume;
    sbx_pool pool;

    (void)state;
    kit_start(1);
    kit_expect("POST /volumes", 201, NULL, VOLUME);
    v.name = sbx_s("v");
    v.size = sbx_s("10Gi");
    ASSERT_CODE(sbx_await(K.c, sbx_volume_create(K.c, &v, &volume)), SBX_OK);
    assert_sent("POST", "/v2/sandboxes/volumes", "{\"wait_for_ready\":true,\"timeout\":60,\"name\":\"v\",\"size\":\"10Gi\"}");
    assert_string_equal(volume.size, "10Gi");
    assert_string_equal(volume.storage_class, "fast");
    assert_int_equal(volume.updated_ms, 0);
    memset(&v, 0, sizeof v);
    v.size = sbx_s("20Gi");
    kit_expect("PATCH /volumes/v", 200, NULL, VOLUME);
    ASSERT_CODE(sbx_await(K.c, sbx_volume_update(K.c, sbx_s("v"), &v, NULL)), SBX_OK);
    assert_sent("PATCH", "/v2/sandboxes/volumes/v", "{\"size\":\"20Gi\"}");
    kit_expect("GET /volumes/v", 200, NULL, VOLUME);
    ASSERT_CODE(sbx_await(K.c, sbx_volume_update(K.c, sbx_s("v"), NULL, &volume)), SBX_OK);
    kit_expect("GET /volumes/v", 200, NULL, VOLUME);
    ASSERT_CODE(sbx_await(K.c, sbx_volume_get(K.c, sbx_s("v"), NULL, &volume)), SBX_OK);
    kit_expect("DELETE /volumes/v", 204, NULL, NULL);
    ASSERT_CODE(sbx_await(K.c, sbx_volume_delete(K.c, sbx_s("v"), NULL)), SBX_OK);

    kit_expect("POST /pools", 201, NULL, POOL);
    p.name = sbx_s("p");
    p.template_name = sbx_s("py");
    p.replicas = 3;
    p.wait_s = 90;
    ASSERT_CODE(sbx_await(K.c, sbx_pool_create(K.c, &p, &pool)), SBX_OK);
    assert_sent("POST", "/v2/sandboxes/pools", "{\"wait_for_ready\":true,\"timeout\":90,\"name\":\"p\",\"template_name\":\"py\",\"replicas\":3}");
    assert_string_equal(pool.id, "");
    assert_string_equal(pool.template_name, "py");
    assert_int_equal(pool.replicas, 3);
    memset(&p, 0, sizeof p);
    p.name = sbx_s("q");
    p.replicas = SBX_NONE;
    kit_expect("PATCH /pools/p", 200, NULL, "{}");
    ASSERT_CODE(sbx_await(K.c, sbx_pool_update(K.c, sbx_s("p"), &p, &pool)), SBX_OK);
    assert_sent("PATCH", "/v2/sandboxes/pools/p", "{\"name\":\"q\",\"replicas\":0}");
    assert_int_equal(pool.replicas, -1);
    kit_expect("GET /pools/p", 200, NULL, POOL);
    ASSERT_CODE(sbx_await(K.c, sbx_pool_update(K.c, sbx_s("p"), NULL, &pool)), SBX_OK);
    kit_expect("GET /pools/p", 200, NULL, POOL);
    ASSERT_CODE(sbx_await(K.c, sbx_pool_get(K.c, sbx_s("p"), NULL, &pool)), SBX_OK);
    kit_expect("DELETE /pools/p", 204, NULL, NULL);
    ASSERT_CODE(sbx_await(K.c, sbx_pool_delete(K.c, sbx_s("p"), NULL)), SBX_OK);
    kit_end();
}

static void test_lists(void **state)
{
    sbx_list_opts o = { 0 };
    sbx_list_result r;
    sbx_volume volumes[4];
    char names[40] = "";
    sbx_event ev;
    sbx_op op;

    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        kit_start(1);
        K.s->knobs.recv_max = (uint32_t)bytes;
        kit_expect("GET /templates", 200, NULL, "{\"templates\":[" TEMPLATE ",{\"name\":\"b\",\"resources\":{\"memory\":\"1\"}}]}");
        op = sbx_template_list(K.c, NULL, &r);
        names[0] = 0;
        while (sbx_next_of(K.c, &op, &ev))
            if (ev.kind == SBX_EV_ITEM)
                strcat(strcat(names, ((const sbx_template *)ev.item)->name), ((const sbx_template *)ev.item)->memory);
        assert_string_equal(names, "py1Gib1");
        assert_int_equal(r.count, 2);
        kit_expect("GET /volumes", 200, NULL, "{\"volumes\":[" VOLUME "," VOLUME ",{\"name\":\"w\",\"size\":\"1Gi\"}]}");
        o.items.p = volumes;
        o.items.n = sizeof volumes;
        ASSERT_CODE(sbx_await(K.c, sbx_volume_list(K.c, &o, &r)), SBX_OK);
        assert_int_equal(r.stored, 2); /* the same id twice is one */
        assert_string_equal(volumes[1].size, "1Gi");
        kit_expect("GET /pools", 200, NULL, "{\"pools\":[" POOL "," POOL "]}");
        ASSERT_CODE(sbx_await(K.c, sbx_pool_list(K.c, NULL, &r)), SBX_OK);
        assert_int_equal(r.count, 2); /* without ids nothing can be told to be the same */
        kit_end();
    }
}

/* ---- errors ---- */

typedef struct answer {
    int call;
    int status;
    const char *body;
    sbx_code code;
    sbx_resource resource;
    const char *type;
} answer;

static sbx_op make(int call)
{
    static sbx_template_opts t;
    static sbx_volume_opts v;
    static sbx_pool_opts p;
    static sbx_create_opts c;
    sbx_str x = sbx_s("x");

    memset(&t, 0, sizeof t);
    memset(&v, 0, sizeof v);
    memset(&p, 0, sizeof p);
    memset(&c, 0, sizeof c);
    t.name = v.name = p.name = c.template_name = x;
    t.call.max_retries = v.call.max_retries = p.call.max_retries = SBX_NONE;
    switch (call) {
    case 0: t.image = x; return sbx_template_create(K.c, &t, NULL);
    case 1: return sbx_template_get(K.c, x, NULL, NULL);
    case 2: return sbx_template_update(K.c, x, &t, NULL);
    case 3: return sbx_template_delete(K.c, x, NULL);
    case 4: return sbx_template_list(K.c, NULL, NULL);
    case 5: v.size = x; return sbx_volume_create(K.c, &v, NULL);
    case 6: return sbx_volume_get(K.c, x, NULL, NULL);
    case 7: return sbx_volume_update(K.c, x, &v, NULL);
    case 8: return sbx_volume_delete(K.c, x, NULL);
    case 9: return sbx_volume_list(K.c, NULL, NULL);
    case 10: p.template_name = x; p.replicas = 1; return sbx_pool_create(K.c, &p, NULL);
    case 11: return sbx_pool_get(K.c, x, NULL, NULL);
    case 12: return sbx_pool_update(K.c, x, &p, NULL);
    case 13: return sbx_pool_delete(K.c, x, NULL);
    case 14: return sbx_pool_list(K.c, NULL, NULL);
    default: return sbx_create(K.c, &c, NULL);
    }
}

static void test_answers(void **state)
{
    static const answer answers[] = {
        { 0, 409, SAYS("", "taken"), SBX_ERR_CONFLICT, SBX_RESOURCE_TEMPLATE, "" },
        { 0, 404, SAYS("ResourceNotFound", "Volume 'v' not found"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_VOLUME, "ResourceNotFound" },
        { 0, 404, "<html>", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_TEMPLATE, "" },
        { 5, 404, SAYS("ResourceNotFound", "no such class"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_VOLUME, "ResourceNotFound" },
        { 5, 404, "<html>", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_VOLUME, "" },
        { 10, 404, "{\"detail\":\"no template x\"}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "" },
        { 10, 404, "", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_POOL, "" },
        { 1, 404, SAYS("NotFound", "no such template"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "NotFound" },
        { 1, 404, SAYS("", "no such template"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "" },
        { 2, 409, SAYS("", "taken"), SBX_ERR_CONFLICT, SBX_RESOURCE_TEMPLATE, "" },
        { 3, 409, SAYS("", "pools use it"), SBX_ERR_IN_USE, SBX_RESOURCE_TEMPLATE, "" },
        { 5, 503, SAYS("VolumeProvisioning", "no such class"), SBX_ERR_CREATION, SBX_RESOURCE_VOLUME, "VolumeProvisioning" },
        { 5, 503, "{\"detail\":\"no room\"}", SBX_ERR_CREATION, SBX_RESOURCE_VOLUME, "VolumeProvisioning" },
        { 5, 504, SAYS("", "late"), SBX_ERR_TIMEOUT, SBX_RESOURCE_VOLUME, "" },
        { 5, 429, SAYS("", "Volume count limit"), SBX_ERR_QUOTA, SBX_RESOURCE_VOLUME, "" },
        { 6, 404, SAYS("", "no such volume"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_VOLUME, "" },
        { 7, 400, SAYS("", "cannot shrink"), SBX_ERR_VALIDATION, SBX_RESOURCE_VOLUME, "VolumeResize" },
        { 7, 409, SAYS("", "taken"), SBX_ERR_CONFLICT, SBX_RESOURCE_VOLUME, "" },
        { 8, 409, SAYS("", "templates use it"), SBX_ERR_IN_USE, SBX_RESOURCE_VOLUME, "" },
        { 10, 409, SAYS("", "there"), SBX_ERR_EXISTS, SBX_RESOURCE_POOL, "" },
        { 10, 400, SAYS("TemplateNotFound", "no x"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "TemplateNotFound" },
        { 10, 400, SAYS("ValidationError", "has volumes"), SBX_ERR_VALIDATION, SBX_RESOURCE_POOL, "ValidationError" },
        { 10, 504, SAYS("", "late"), SBX_ERR_TIMEOUT, SBX_RESOURCE_POOL, "" },
        { 12, 409, SAYS("", "taken"), SBX_ERR_CONFLICT, SBX_RESOURCE_POOL, "" },
        { 12, 400, SAYS("TemplateNotFound", "gone"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "TemplateNotFound" },
        { 12, 400, SAYS("ValidationError", "no"), SBX_ERR_VALIDATION, SBX_RESOURCE_POOL, "ValidationError" },
        { 13, 404, SAYS("", "no such pool"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_POOL, "" },
        { 15, 404, SAYS("", "Template 'x' not found"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "" },
        { 15, 404, SAYS("TemplateNotFound", "x"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "TemplateNotFound" },
        { 15, 404, SAYS("", "no such snapshot"), SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT, "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const answer *a = &answers[i];
        sbx_error e;
        sbx_op op;

        kit_start(1);
        kit_expect(NULL, a->status, NULL, a->body);
        op = make(a->call);
        if (sbx_await(K.c, op) != a->code)
            fail_msg("answer %zu: %s %s", i, sbx_code_name(kit_error(op).code), kit_error(op).text);
        e = kit_error(op);
        assert_int_equal(e.resource, a->resource);
        assert_string_equal(e.type, a->type);
        assert_int_equal(e.quota, a->code == SBX_ERR_QUOTA ? SBX_QUOTA_VOLUME_COUNT : SBX_QUOTA_NONE);
        kit_end();
    }
    /* a current server knows none of these paths */
    for (int call = 0; call < 15; call++) {
        sbx_op op;

        kit_start(1);
        kit_expect(NULL, 404, NULL, NO_SUCH_PATH);
        op = make(call);
        ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_NO_ENDPOINT);
        assert_non_null(strstr(kit_error(op).text, "another generation"));
        kit_end();
    }
}

/* A creation is never sent again once it may have arrived; its limit of time is
   the server's and 30 s. */
static void test_creation_times(void **state)
{
    static const int calls[] = { 0, 5, 10 }, seconds[] = { 10, 90, 60 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        sim_script e = { 0 };
        int64_t begun;
        sbx_op op;

        kit_start(1);
        e.no_answer = true;
        sim_expect(K.s, &e);
        begun = K.s->now;
        op = make(calls[i]);
        ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_OUTCOME);
        assert_int_equal(K.s->now - begun, seconds[i] * 1000);
        assert_int_equal(K.s->request_n, 1);
        kit_end();
    }
}

static void test_refusals(void **state)
{
    static char long_name[200];
    sbx_volume_mount mount = { { "v", 1 }, { NULL, 0 } };
    sbx_str x = { "x", 1 };

    (void)state;
    kit_start(1);
    memset(long_name, 'n', 128);
    for (unsigned i = 0; i < 19; i++) {
        static const char *const fields[] = { "name", "image", "volume_mounts[0].mount_path", "image", "cpu", "memory", "storage", "volume_mounts", "name",
                                              "size", "wait_s", "wait_s", "template_name", "replicas", "replicas", "template_name", "wait_s", "replicas", "name" };
        sbx_template_opts t = { 0 };
        sbx_volume_opts v = { 0 };
        sbx_pool_opts p = { 0 };
        sbx_op op;

        t.name = v.name = p.name = x;
        switch (i) {
        case 0: t.name.p = NULL; op = sbx_template_create(K.c, &t, NULL); break;
        case 1: op = sbx_template_create(K.c, &t, NULL); break;
        case 2: t.image = x; t.volume_mounts = &mount; t.volume_mounts_n = 1; op = sbx_template_create(K.c, &t, NULL); break;
        case 3: t.image = x; op = sbx_template_update(K.c, x, &t, NULL); break;
        case 4: t.cpu = x; op = sbx_template_update(K.c, x, &t, NULL); break;
        case 5: t.memory = x; op = sbx_template_update(K.c, x, &t, NULL); break;
        case 6: t.storage = x; op = sbx_template_update(K.c, x, &t, NULL); break;
        case 7: t.volume_mounts_n = 1; op = sbx_template_update(K.c, x, &t, NULL); break;
        case 8: t.name = sbx_s(long_name); op = sbx_template_update(K.c, x, &t, NULL); break;
        case 9: op = sbx_volume_create(K.c, &v, NULL); break;
        case 10: v.size = x; v.wait_s = -2; op = sbx_volume_create(K.c, &v, NULL); break;
        case 11: v.wait_s = 5; op = sbx_volume_update(K.c, x, &v, NULL); break;
        case 12: p.replicas = 1; op = sbx_pool_create(K.c, &p, NULL); break;
        case 13: p.template_name = x; op = sbx_pool_create(K.c, &p, NULL); break;
        case 14: p.template_name = x; p.replicas = SBX_NONE; op = sbx_pool_create(K.c, &p, NULL); break;
        case 15: p.template_name = x; op = sbx_pool_update(K.c, x, &p, NULL); break;
        case 16: p.wait_s = 5; op = sbx_pool_update(K.c, x, &p, NULL); break;
        case 17: p.replicas = -2; op = sbx_pool_update(K.c, x, &p, NULL); break;
        default: op = sbx_pool_get(K.c, sbx_s(""), NULL, NULL); break;
        }
        if (op.slot || kit_error(op).code != SBX_ERR_ARGUMENT || strcmp(kit_error(op).field, fields[i]) != 0)
            fail_msg("case %u: %s", i, kit_error(op).text);
    }
    {
        sbx_create_opts c = { 0 };
        sbx_update_opts u = { 0 };
        sbx_run_opts r = { 0 };

        c.template_name = c.snapshot_id = x;
        assert_string_equal(kit_error(sbx_create(K.c, &c, NULL)).field, "template_name");
        c.snapshot_id.p = NULL;
        c.ttl_s = 61;
        assert_string_equal(kit_error(sbx_create(K.c, &c, NULL)).field, "ttl_s");
        u.ttl_s = 61;
        assert_string_equal(kit_error(sbx_update(K.c, &K.box, &u, NULL, NULL)).field, "ttl_s");
        r.no_command_id = true;
        r.command_id = x;
        assert_string_equal(kit_error(sbx_command(K.c, &K.box, x, &r)).field, "no_command_id");
    }
    assert_int_equal(K.s->request_n, 0);
    kit_end();
}

static void test_sandboxes(void **state)
{
    sbx_create_opts c = { 0 };
    sbx_update_opts u = { 0 };
    sbx_box_info info;

    (void)state;
    kit_start(1);
    kit_expect("POST /boxes", 201, NULL, "{\"id\":\"i\",\"name\":\"one\",\"template_name\":\"py\",\"ttl_seconds\":3600,\"idle_ttl_seconds\":null,\"expires_at\":\"1970-01-01T01:00:00Z\",\"dataplane_url\":\"http://dp.test/b/one\"}");
    c.template_name = sbx_s("py");
    c.ttl_s = 3600;
    c.idle_ttl_s = SBX_NONE;
    c.info = &info;
    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &c, NULL)), SBX_OK);
    assert_sent("POST", "/v2/sandboxes/boxes", "{\"timeout\":30,\"wait_for_ready\":true,\"idle_ttl_seconds\":0,\"template_name\":\"py\",\"ttl_seconds\":3600}");
    assert_string_equal(info.template_name, "py");
    assert_int_equal(info.ttl_s, 3600);
    assert_int_equal(info.expires_ms, 3600000);
    kit_expect("PATCH /boxes/one", 200, NULL, "{\"id\":\"i\",\"name\":\"one\"}");
    u.ttl_s = SBX_NONE;
    ASSERT_CODE(sbx_await(K.c, sbx_update(K.c, &K.box, &u, NULL, &info)), SBX_OK);
    assert_sent("PATCH", "/v2/sandboxes/boxes/one", "{\"ttl_seconds\":0}");
    assert_string_equal(info.template_name, "");
    assert_int_equal(info.ttl_s, -1);
    kit_end();
}

/* ---- commands ---- */

/* A command that the server calls so, and what its connections say. */
static void named(const char *id, const char *a, const char *b)
{
    sim_plan p = { 0 };

    p.id = id;
    p.talk[0] = a;
    p.talk[1] = b;
    sim_add_plan(K.s, &p);
}

static sbx_op nameless(void)
{
    sbx_run_opts o = { 0 };

    o.no_command_id = true;
    return command(&o);
}

/* No id goes out; the server's own is used for what follows, and a reattached
   stream need not say `started`. */
static void test_server_names_the_command(void **state)
{
    uint64_t out;
    char id[37];
    sbx_op op;

    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        kit_start(1);
        K.s->knobs.recv_max = (uint32_t)bytes;
        named("cmd-7", "?\"type\":\"execute\",\"command\":\"true\",\"shell\":\"/bin/bash\",\"close_stdin\":true\n" STARTED OUT("abc", 0) "@rst\n",
             "?{\"type\":\"reconnect\",\"command_id\":\"cmd-7\",\"stdout_offset\":3,\"stderr_offset\":0}\n" OUT("def", 3) EXIT(0));
        op = nameless();
        record_text[0] = 0;
        record_until(op, SBX_EV_STDOUT);
        ASSERT_CODE(sbx_command_position(K.c, op, id, &out, NULL), SBX_OK);
        assert_string_equal(id, "cmd-7");
        record_rest(op);
        if (!bytes)
            assert_string_equal(record_text, " started o0:abc retry(CONNECTION) again o3:def end(OK,0)");
        assert_non_null(strstr(record_text, "end(OK,0)"));
        kit_end();
    }
}

/* Once execute may have arrived it is not sent again. */
static void test_execute_is_sent_once(void **state)
{
    static const char *const ends[] = { "@rst\n", "@eof\n", "@close 1001\n", "@close 1011\n" };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        char first[200];

        kit_start(1);
        snprintf(first, sizeof first, "?\"execute\"\n%s", ends[i]);
        talk(first, STARTED EXIT(0), NULL);
        assert_string_equal(record_all(nameless()), "end(OUTCOME,-1)");
        assert_int_equal(the_command()->executes, 1);
        kit_end();
    }
    kit_start(1); /* refused before: it was not sent */
    kit_expect("GET /execute/ws", 503, NULL, "{}");
    named("s", "?\"execute\"\n" STARTED EXIT(3), NULL);
    assert_string_equal(record_all(nameless()), "retry(SERVER) started end(OK,3)");
    kit_end();
    kit_start(1); /* running, but never named: it cannot be asked for again */
    talk("{\"type\":\"started\",\"pid\":77}\n" OUT("a", 0) "@rst\n", STARTED EXIT(0), NULL);
    assert_string_equal(record_all(nameless()), "started o0:a end(CONNECTION,-1)");
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates), cmocka_unit_test(test_volumes_and_pools), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_creation_times), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_sandboxes), cmocka_unit_test(test_server_names_the_command), cmocka_unit_test(test_execute_is_sent_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
