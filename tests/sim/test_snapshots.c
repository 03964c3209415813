/* Snapshots and registries: what is sent, waiting, lists, what answers mean. */
#include "kit.h"

#define SNAPSHOT(id, status) "{\"id\":\"" id "\",\"name\":\"base\",\"status\":\"" status "\"}"

static const char whole[] = "{\"id\":\"s-1\",\"name\":\"base\",\"status\":\"ready\",\"fs_capacity_bytes\":1000,\"docker_image\":\"alpine:3\",\"image_digest\":\"sha256:ab\","
                            "\"source_sandbox_id\":\"b-1\",\"status_message\":null,\"fs_used_bytes\":7,\"created_by\":\"u\",\"registry_id\":\"r-1\","
                            "\"created_at\":\"1970-01-01T00:00:01Z\",\"updated_at\":\"1970-01-01T00:00:02.5Z\",\"run_config\":{\"user\":\"x\",\"id\":\"no\"},"
                            "\"labels\":{\"id\":\"no\",\"status\":\"failed\"},\"memory_snapshot_size_bytes\":9,\"newer\":[1,{}]}";

static void expect(const char *match, const char *body)
{
    kit_expect(match, 200, NULL, body);
}

static void assert_whole(const sbx_snapshot *s)
{
    assert_string_equal(s->id, "s-1");
    assert_string_equal(s->name, "base");
    assert_int_equal(s->status, SBX_STATUS_READY);
    assert_string_equal(s->docker_image, "alpine:3");
    assert_string_equal(s->image_digest, "sha256:ab");
    assert_string_equal(s->source_sandbox_id, "b-1");
    assert_string_equal(s->registry_id, "r-1");
    assert_string_equal(s->created_by, "u");
    assert_string_equal(s->status_message, "");
    assert_int_equal(s->created_ms, 1000);
    assert_int_equal(s->updated_ms, 2500);
    assert_int_equal(s->fs_capacity_bytes, 1000);
    assert_int_equal(s->fs_used_bytes, 7);
    assert_int_equal(s->memory_bytes, 9);
    assert_false(s->cut);
}

/* Waits 2 s between polls, asks by the id, and gives the last answer's text. */
static void test_build(void **state)
{
    static const sbx_pair labels[] = { { { "k", 1 }, { "v", 1 } } }, env[] = { { { "A", 1 }, { "b", 1 } } };

    (void)state;
    for (unsigned piece = 0; piece < 3; piece++) {
        sbx_snapshot_opts o = { 0 };
        sbx_snapshot s;
        char raw[sizeof whole + 10];
        size_t raw_n = 0;
        int64_t begun;

        kit_start(piece + 1);
        K.s->knobs.recv_max = piece == 0 ? 0 : piece == 1 ? 1 : 50;
        expect("POST /v2/sandboxes/snapshots", SNAPSHOT("s/1:x", "building"));
        expect("GET /v2/sandboxes/snapshots/s%2F1%3Ax", "{\"id\":\"s/1:x\"}"); /* no status: building */
        expect("GET /v2/sandboxes/snapshots/s%2F1%3Ax", whole);
        o.fs_capacity_bytes = 1000;
        o.labels = labels;
        o.labels_n = 1;
        o.tag = sbx_s("v2");
        o.run_config.user = sbx_s("root");
        o.run_config.env = env;
        o.run_config.env_n = 1;
        o.registry_id = sbx_s("r-1");
        o.raw.p = raw;
        o.raw.n = sizeof raw;
        o.raw_n = &raw_n;
        begun = K.s->now;
        ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("base"), sbx_s("alpine:3"), &o, &s)), SBX_OK);
        assert_whole(&s);
        assert_int_equal(raw_n, sizeof whole - 1);
        assert_memory_equal(raw, whole, sizeof whole - 1);
        assert_true(K.s->now - begun >= 3600 && K.s->now - begun <= 4500);
        assert_string_equal(kit_request(2)->method, "POST");
        assert_string_equal(kit_request(2)->body, "{\"name\":\"base\",\"docker_image\":\"alpine:3\",\"registry_id\":\"r-1\",\"fs_capacity_bytes\":1000,"
                                                  "\"run_config\":{\"user\":\"root\",\"env_vars\":{\"A\":\"b\"}},\"labels\":{\"k\":\"v\"},\"tag\":\"v2\"}");
        assert_int_equal(kit_request(0)->body_n, 0);
        kit_end();
    }
}

static void test_capture(void **state)
{
    sbx_snapshot_opts o = { 0 };
    sbx_snapshot s;

    (void)state;
    kit_start(1);
    expect("POST /v2/sandboxes/boxes/one/snapshot", whole); /* ready at once: nothing to ask for */
    o.docker_image = sbx_s("built:1");
    o.checkpoint = sbx_s("c-1");
    o.include_memory = true;
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_capture(K.c, &K.box, sbx_s("base"), &o, &s)), SBX_OK);
    assert_whole(&s);
    assert_string_equal(kit_request(0)->body, "{\"name\":\"base\",\"docker_image\":\"built:1\",\"checkpoint\":\"c-1\",\"include_memory\":true}");
    assert_int_equal(K.s->request_n, 1);
    memset(&o, 0, sizeof o); /* without waiting; by a header of its own */
    o.no_wait = true;
    o.call.api_key = sbx_s("other");
    expect("POST /v2/sandboxes/boxes/one/snapshot", SNAPSHOT("s-2", "building"));
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_capture(K.c, &K.box, sbx_s("base"), &o, &s)), SBX_OK);
    assert_int_equal(s.status, SBX_STATUS_BUILDING);
    assert_int_equal(s.fs_used_bytes, -1);
    assert_string_equal(kit_request(0)->body, "{\"name\":\"base\"}");
    /* The call's own headers go with the polls as well. */
    o.no_wait = false;
    expect("POST /v2/sandboxes/boxes/one/snapshot", SNAPSHOT("s-2", "building"));
    expect("GET /v2/sandboxes/snapshots/s-2", whole);
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_capture(K.c, &K.box, sbx_s("base"), &o, NULL)), SBX_OK);
    assert_non_null(strstr(kit_request(0)->head, "X-Api-Key: other\r\n"));
    assert_null(strstr(kit_request(0)->head, "key-1"));
    kit_end();
}

static void test_wait_ends(void **state)
{
    sbx_snapshot_opts o = { 0 };
    sbx_box_opts w = { 0 };
    sbx_snapshot s;
    sim_script e = { 0 };
    sbx_error err;
    int64_t begun;
    sbx_op op;

    (void)state;
    kit_start(1);
    /* It failed: at once, or later. */
    expect("POST /snapshots", "{\"status\":\"failed\",\"status_message\":\"no room\"}");
    op = sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), NULL, &s);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CREATION);
    assert_string_equal(kit_error(op).text, "no room");
    expect("POST /snapshots", SNAPSHOT("s-1", "building"));
    expect("GET /snapshots/s-1", "{\"id\":\"s-1\",\"status\":\"failed\",\"status_message\":\"no image\"}");
    op = sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), NULL, &s);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CREATION);
    err = kit_error(op);
    assert_int_equal(err.resource, SBX_RESOURCE_SNAPSHOT);
    assert_string_equal(err.text, "no image");
    assert_string_equal(err.type, "failed");
    assert_string_equal(err.operation, "snapshot_build");
    /* No words of the server's: some of ours. */
    expect("GET /snapshots/s-1", "{\"status\":\"failed\"}");
    op = sbx_snapshot_wait(K.c, sbx_s("s-1"), NULL, &s);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CREATION);
    assert_non_null(strstr(kit_error(op).text, "snapshot"));
    assert_string_equal(kit_error(op).operation, "snapshot_wait");
    /* It takes too long; the last status is told. */
    e.match = "GET /snapshots/s-1";
    e.status = 200;
    e.body = SNAPSHOT("s-1", "building");
    e.times = -1;
    sim_expect(K.s, &e);
    w.wait_s = 7;
    w.poll_ms = 500;
    begun = K.s->now;
    op = sbx_snapshot_wait(K.c, sbx_s("s-1"), &w, &s);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_TIMEOUT);
    assert_int_equal(K.s->now - begun, 7000);
    assert_string_equal(kit_error(op).type, "building");
    begun = K.s->now;
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_wait(K.c, sbx_s("s-1"), NULL, &s)), SBX_ERR_TIMEOUT);
    assert_int_equal(K.s->now - begun, 300000);
    expect("POST /snapshot", SNAPSHOT("s-1", "building"));
    begun = K.s->now;
    op = sbx_snapshot_capture(K.c, &K.box, sbx_s("a"), NULL, &s);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_TIMEOUT);
    assert_int_equal(K.s->now - begun, 60000);
    assert_string_equal(kit_error(op).operation, "snapshot_capture");
    expect("POST /snapshots", SNAPSHOT("s-1", "building"));
    begun = K.s->now;
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), NULL, &s)), SBX_ERR_TIMEOUT);
    assert_int_equal(K.s->now - begun, 60000);
    /* No id to ask for: never the list in its place. */
    expect("POST /snapshots", "{}");
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), NULL, &s)), SBX_ERR_PROTOCOL);
    expect("POST /snapshots", "");
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), NULL, &s)), SBX_ERR_PROTOCOL);
    /* Cancelled while it waits. */
    expect("POST /snapshots", SNAPSHOT("s-1", "building"));
    o.call.total_ms = 3000;
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), &o, &s)), SBX_ERR_DEADLINE);
    kit_end();
}

/* A lost answer: the POST is not sent again, the polls are. */
static void test_lost(void **state)
{
    sim_script e = { 0 };
    sbx_snapshot s;

    (void)state;
    kit_start(1);
    e.match = "POST /snapshots";
    e.end = SIM_RST;
    sim_expect(K.s, &e);
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), NULL, &s)), SBX_ERR_OUTCOME);
    assert_int_equal(K.s->request_n, 1);
    expect("POST /snapshots", SNAPSHOT("s-1", "building"));
    e.match = "GET /snapshots/s-1";
    sim_expect(K.s, &e);
    expect("GET /snapshots/s-1", whole);
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("a"), sbx_s("b"), NULL, &s)), SBX_OK);
    assert_whole(&s);
    /* An answer that breaks off in its midst leaves nothing in the raw text. */
    {
        sbx_box_opts o = { 0 };
        char raw[sizeof whole];
        size_t raw_n = 0;

        o.raw.p = raw;
        o.raw.n = sizeof raw;
        o.raw_n = &raw_n;
        e.status = 200;
        e.body = whole;
        e.cut = 100;
        sim_expect(K.s, &e);
        expect("GET /snapshots/s-1", whole);
        ASSERT_CODE(sbx_await(K.c, sbx_snapshot_get(K.c, sbx_s("s-1"), &o, &s)), SBX_OK);
        assert_int_equal(raw_n, sizeof whole - 1);
        assert_memory_equal(raw, whole, sizeof whole - 1);
    }
    memset(&e, 0, sizeof e); /* deleted, and the answer lost */
    e.match = "DELETE /snapshots/base%3Av1";
    e.end = SIM_RST;
    sim_expect(K.s, &e);
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_delete(K.c, sbx_s("base:v1"), NULL)), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_delete(K.c, sbx_s("base:v1"), NULL)), SBX_ERR_NOT_FOUND);
    kit_end();
}

/* What a refused wait or raw text of a sandbox's wait is: the last answer. */
static void test_raw_of_wait(void **state)
{
    sbx_box_opts o = { 0 };
    char raw[200];
    size_t raw_n = 0;

    (void)state;
    kit_start(1);
    expect("GET /boxes/one/status", "{\"status\":\"provisioning\"}");
    expect("GET /boxes/one/status", "{\"status\":\"ready\"}");
    expect("GET /boxes/one", "{\"id\":\"x\"}");
    o.raw.p = raw;
    o.raw.n = sizeof raw;
    o.raw_n = &raw_n;
    ASSERT_CODE(sbx_await(K.c, sbx_wait_ready(K.c, &K.box, &o, NULL, NULL)), SBX_OK);
    assert_int_equal(raw_n, 10);
    assert_memory_equal(raw, "{\"id\":\"x\"}", 10);
    kit_end();
}

/* Ids (or tags) of all items; "!CODE" for an error. */
static const char *listed(sbx_op op, bool tags)
{
    static char text[500];
    sbx_event ev;

    text[0] = 0;
    while (sbx_next_of(K.c, &op, &ev))
        if (ev.kind == SBX_EV_ITEM)
            strcat(text, tags ? ((const sbx_snapshot_tag *)ev.item)->tag : (const char *)ev.item);
        else if (ev.kind == SBX_EV_END && ev.code != SBX_OK)
            strcat(strcat(text, "!"), sbx_code_name(ev.code));
    return text;
}

static void test_lists(void **state)
{
    sbx_list_opts o = { 0 };
    sbx_list_result r;
    sbx_snapshot items[3];
    sbx_registry registries[1];

    (void)state;
    for (unsigned piece = 0; piece < 2; piece++) {
        kit_start(1);
        K.s->knobs.recv_max = piece;
        expect("GET /v2/sandboxes/snapshots?name_contains=b&status=ready", "{\"items\":[" SNAPSHOT("a", "ready") "," SNAPSHOT("b", "ready") "],\"snapshots\":[" SNAPSHOT("a", "ready") "],\"next_cursor\":\"c\"}");
        expect("&cursor=c", "{\"snapshots\":[" SNAPSHOT("b", "ready") "," SNAPSHOT("c", "building") "],\"next_cursor\":null}");
        memset(&o, 0, sizeof o);
        o.name_contains = sbx_s("b");
        o.status = sbx_s("ready");
        assert_string_equal(listed(sbx_snapshot_list(K.c, &o, &r), false), "abc");
        assert_int_equal(r.count, 3);
        /* Older pages, into an array. */
        memset(&o, 0, sizeof o);
        expect("GET /snapshots", "{\"snapshots\":[" SNAPSHOT("a", "ready") "],\"offset\":1}");
        expect("GET /snapshots?offset=1", "{\"snapshots\":[" SNAPSHOT("b", "odd") "],\"offset\":0}");
        o.items.p = items;
        o.items.n = sizeof items;
        ASSERT_CODE(sbx_await(K.c, sbx_snapshot_list(K.c, &o, &r)), SBX_OK);
        assert_int_equal(r.stored, 2);
        assert_int_equal(items[0].status, SBX_STATUS_READY);
        assert_int_equal(items[1].status, SBX_STATUS_UNKNOWN);
        assert_string_equal(items[1].status_text, "odd");
        /* Two tags of one snapshot are two items. */
        expect("GET /v2/sandboxes/snapshots-by-name/a%20b", "{\"name\":\"a b\",\"tags\":[{\"snapshot_id\":\"s\",\"tag\":\"v1\"},{\"snapshot_id\":\"s\",\"tag\":\"latest\"}]}");
        assert_string_equal(listed(sbx_snapshot_tags(K.c, sbx_s("a b"), NULL, &r), true), "v1latest");
        expect("GET /api/v2/sandboxes/registries?name_contains=x&limit=1", "{\"registries\":[{\"id\":\"r\",\"name\":\"n\"},{\"id\":\"q\"}],\"offset\":0}");
        memset(&o, 0, sizeof o);
        o.name_contains = sbx_s("x");
        o.limit = 1;
        o.items.p = registries;
        o.items.n = sizeof registries;
        ASSERT_CODE(sbx_await(K.c, sbx_registry_list(K.c, &o, &r)), SBX_OK);
        assert_int_equal(r.count, 2);
        assert_true(r.cut);
        assert_string_equal(registries[0].name, "n");
        kit_end();
    }
}

static void test_registries(void **state)
{
    static const char *const body = "{\"id\":\"r-1\",\"name\":\"internal\",\"url\":\"registry.test\",\"created_at\":\"1970-01-01T00:00:01Z\",\"created_by\":\"u\","
                                    "\"updated_at\":\"1970-01-01T00:00:02Z\",\"updated_by\":\"v\",\"auth_type\":\"DOCKER_CONFIG\",\"aws_role_arn\":null}";
    sbx_registry_opts o = { 0 };
    sbx_registry r;
    sbx_op op;

    (void)state;
    kit_start(1);
    o.name = sbx_s("internal");
    o.url = sbx_s("registry.test");
    o.username = sbx_s("me");
    o.password = sbx_s("hunter2");
    expect("POST /api/v2/sandboxes/registries", body);
    ASSERT_CODE(sbx_await(K.c, sbx_registry_create(K.c, &o, &r)), SBX_OK);
    assert_string_equal(kit_request(0)->target, "/api/v2/sandboxes/registries");
    assert_string_equal(kit_request(0)->body, "{\"name\":\"internal\",\"url\":\"registry.test\",\"username\":\"me\",\"password\":\"hunter2\"}");
    assert_string_equal(r.id, "r-1");
    assert_string_equal(r.url, "registry.test");
    assert_string_equal(r.auth_type, "DOCKER_CONFIG");
    assert_string_equal(r.updated_by, "v");
    assert_int_equal(r.updated_ms, 2000);
    memset(&o, 0, sizeof o);
    o.password = sbx_s("new");
    expect("PATCH /api/v2/sandboxes/registries/in%2Fternal", body);
    ASSERT_CODE(sbx_await(K.c, sbx_registry_update(K.c, sbx_s("in/ternal"), &o, &r)), SBX_OK);
    assert_string_equal(kit_request(0)->body, "{\"password\":\"new\"}");
    expect("GET /api/v2/sandboxes/registries/internal", body);
    op = sbx_registry_update(K.c, sbx_s("internal"), NULL, &r);
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    assert_int_equal(kit_request(0)->body_n, 0);
    expect("GET /api/v2/sandboxes/registries/internal", body);
    ASSERT_CODE(sbx_await(K.c, sbx_registry_get(K.c, sbx_s("internal"), NULL, &r)), SBX_OK);
    kit_expect("DELETE /api/v2/sandboxes/registries/internal", 204, NULL, "");
    ASSERT_CODE(sbx_await(K.c, sbx_registry_delete(K.c, sbx_s("internal"), NULL)), SBX_OK);
    kit_end();
}

/* Where registries are, by the endpoint. */
static void test_root(void **state)
{
    static const char *const endpoints[][2] = {
        { "http://api.test/v2/sandboxes", "/api/v2/sandboxes/registries/x" },
        { "http://api.test/api/v2/sandboxes", "/api/v2/sandboxes/registries/x" },
        { "http://api.test/api/v2/sandboxes/", "/api/v2/sandboxes/registries/x" },
        { "http://api.test/smith/api/v2/sandboxes", "/smith/api/v2/sandboxes/registries/x" },
        { "http://api.test/smith/v2/sandboxes", "/smith/api/v2/sandboxes/registries/x" },
        { "http://api.test/other", "/other/api/v2/sandboxes/registries/x" },
        { "http://api.test", "/api/v2/sandboxes/registries/x" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        sbx_registry r;

        kit_new(i);
        K.d.endpoint = endpoints[i][0];
        kit_open();
        expect(NULL, "{}");
        ASSERT_CODE(sbx_await(K.c, sbx_registry_get(K.c, sbx_s("x"), NULL, &r)), SBX_OK);
        assert_string_equal(kit_request(0)->target, endpoints[i][1]);
        kit_end();
    }
}

static void refused(sbx_op op, sbx_code code, const char *field)
{
    ASSERT_CODE(sbx_await(K.c, op), code);
    assert_string_equal(kit_error(op).field, field);
    assert_null(strstr(kit_error(op).text, "hunter2"));
    assert_int_equal(K.s->request_n, 0);
}

static void test_refused(void **state)
{
    static const char long_name[129] = "a123456789b123456789c123456789d123456789e123456789f123456789g123456789h123456789i123456789j123456789k123456789l123456789m1234567";
    sbx_snapshot_opts o = { 0 };
    sbx_registry_opts g = { 0 };
    sbx_box_opts b = { 0 };
    sbx_str none = { "", 0 };

    (void)state;
    kit_start(1);
    refused(sbx_snapshot_build(K.c, none, sbx_s("i"), NULL, NULL), SBX_ERR_ARGUMENT, "name");
    refused(sbx_snapshot_build(K.c, sbx_s(long_name), sbx_s("i"), NULL, NULL), SBX_ERR_ARGUMENT, "name");
    refused(sbx_snapshot_build(K.c, sbx_s("\xff"), sbx_s("i"), NULL, NULL), SBX_ERR_ARGUMENT, "name");
    refused(sbx_snapshot_build(K.c, sbx_s("n"), none, NULL, NULL), SBX_ERR_ARGUMENT, "image");
    refused(sbx_snapshot_capture(K.c, NULL, sbx_s("n"), NULL, NULL), SBX_ERR_ARGUMENT, "box");
    refused(sbx_snapshot_get(K.c, none, NULL, NULL), SBX_ERR_ARGUMENT, "snapshot");
    refused(sbx_snapshot_wait(K.c, sbx_s(".."), NULL, NULL), SBX_ERR_ARGUMENT, "snapshot");
    refused(sbx_snapshot_tags(K.c, none, NULL, NULL), SBX_ERR_ARGUMENT, "name");
    o.docker_image = sbx_s("x");
    refused(sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), &o, NULL), SBX_ERR_ARGUMENT, "docker_image");
    memset(&o, 0, sizeof o);
    o.include_memory = true;
    refused(sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), &o, NULL), SBX_ERR_ARGUMENT, "include_memory");
    memset(&o, 0, sizeof o);
    o.registry_password = sbx_s("hunter2");
    refused(sbx_snapshot_capture(K.c, &K.box, sbx_s("n"), &o, NULL), SBX_ERR_ARGUMENT, "registry_password");
    o.registry_password = sbx_s("hunter2\xff");
    refused(sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), &o, NULL), SBX_ERR_ARGUMENT, "registry_password");
    memset(&o, 0, sizeof o);
    o.no_wait = true;
    o.wait_s = 5;
    refused(sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), &o, NULL), SBX_ERR_ARGUMENT, "wait_s");
    memset(&o, 0, sizeof o);
    o.poll_ms = -1;
    refused(sbx_snapshot_capture(K.c, &K.box, sbx_s("n"), &o, NULL), SBX_ERR_ARGUMENT, "poll_ms");
    memset(&o, 0, sizeof o);
    o.labels_n = 1;
    refused(sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), &o, NULL), SBX_ERR_ARGUMENT, "labels");
    b.wait_s = -2;
    refused(sbx_snapshot_wait(K.c, sbx_s("s"), &b, NULL), SBX_ERR_ARGUMENT, "wait_s");
    refused(sbx_registry_create(K.c, NULL, NULL), SBX_ERR_ARGUMENT, "name");
    g.name = sbx_s("n");
    refused(sbx_registry_create(K.c, &g, NULL), SBX_ERR_ARGUMENT, "url");
    g.url = sbx_s("u");
    g.password = sbx_s("hunter2\xff");
    refused(sbx_registry_create(K.c, &g, NULL), SBX_ERR_ARGUMENT, "password");
    g.password = none;
    refused(sbx_registry_update(K.c, sbx_s("x"), &g, NULL), SBX_ERR_ARGUMENT, "password");
    refused(sbx_registry_delete(K.c, none, NULL), SBX_ERR_ARGUMENT, "name");
    kit_end();
}

/* A build's password leaves the client's memory with its request, though the
   operation goes on. */
static void test_password_is_wiped(void **state)
{
    static const char secret[] = "hunter2-hunter2-hunter2";
    sbx_snapshot_opts o = { 0 };
    sbx_event ev;
    sbx_op op;
    bool polled = false;

    (void)state;
    kit_start(1);
    expect("POST /snapshots", SNAPSHOT("s-1", "building"));
    kit_expect("GET /snapshots/s-1", 503, NULL, "");
    expect("GET /snapshots/s-1", whole);
    o.registry_url = sbx_s("registry.test");
    o.registry_username = sbx_s("me");
    o.registry_password = sbx_s(secret);
    op = sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), &o, NULL);
    while (sbx_next_of(K.c, &op, &ev)) {
        const char *mem = (const char *)K.mem;
        size_t n = sbx_client_size(&K.d);

        polled = polled || ev.kind == SBX_EV_RETRYING;
        for (size_t i = 0; ev.kind == SBX_EV_RETRYING && i + sizeof secret <= n; i++)
            assert_true(mem[i] != secret[0] || memcmp(mem + i, secret, sizeof secret - 1) != 0);
    }
    assert_true(polled);
    assert_non_null(strstr(kit_request(2)->body, "\"registry_url\":\"registry.test\",\"registry_username\":\"me\",\"registry_password\":\"hunter2-"));
    kit_end();
}

typedef enum call { BUILD, CAPTURE, GET, DELETE, TAGS, LIST, REG_CREATE, REG_GET, REG_DELETE, REG_LIST } call;

static const struct {
    call call;
    int status;
    const char *body;
    sbx_code code;
    sbx_resource resource;
} meanings[] = {
    { BUILD, 401, "{}", SBX_ERR_AUTH, SBX_RESOURCE_SNAPSHOT },
    { BUILD, 404, "<html>", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SNAPSHOT },
    { REG_CREATE, 404, "", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_REGISTRY },
    { BUILD, 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SNAPSHOT },
    { BUILD, 404, "{\"detail\":{\"error\":\"ResourceNotFound\",\"message\":\"Not Found\"}}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_REGISTRY },
    { BUILD, 409, "{}", SBX_ERR_CONFLICT, SBX_RESOURCE_SNAPSHOT },
    { BUILD, 422, "{\"detail\":{\"error\":\"ImagePull\",\"message\":\"no\"}}", SBX_ERR_CREATION, SBX_RESOURCE_SNAPSHOT },
    { BUILD, 422, "{\"detail\":[{\"loc\":[\"body\",\"name\"],\"msg\":\"no\"}]}", SBX_ERR_VALIDATION, SBX_RESOURCE_SNAPSHOT },
    { BUILD, 429, "{\"detail\":\"storage is full\"}", SBX_ERR_QUOTA, SBX_RESOURCE_SNAPSHOT },
    { CAPTURE, 404, "{\"detail\":{\"error\":\"ResourceNotFound\",\"message\":\"x\"}}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX },
    { CAPTURE, 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SNAPSHOT },
    { CAPTURE, 400, "{\"error\":\"NotReady\",\"message\":\"soon\"}", SBX_ERR_NOT_READY, SBX_RESOURCE_SNAPSHOT },
    { GET, 404, "{\"detail\":\"no such snapshot\"}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT },
    { GET, 404, "", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT },
    { GET, 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SNAPSHOT },
    { DELETE, 409, "{}", SBX_ERR_IN_USE, SBX_RESOURCE_SNAPSHOT },
    { DELETE, 404, "{}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT },
    { TAGS, 404, "{}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT },
    { LIST, 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SNAPSHOT },
    { REG_CREATE, 409, "{}", SBX_ERR_CONFLICT, SBX_RESOURCE_REGISTRY },
    { REG_GET, 404, "{}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_REGISTRY },
    { REG_DELETE, 409, "{}", SBX_ERR_IN_USE, SBX_RESOURCE_REGISTRY },
    { REG_LIST, 404, "{}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_REGISTRY },
};

static void test_meanings(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        sbx_registry_opts g = { 0 };
        sim_script e = { 0 };
        sbx_error err;
        sbx_op op;

        kit_start(i);
        e.status = meanings[i].status;
        e.body = meanings[i].body;
        e.times = -1;
        sim_expect(K.s, &e);
        g.name = g.url = sbx_s("n");
        switch (meanings[i].call) {
        case BUILD: op = sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), NULL, NULL); break;
        case CAPTURE: op = sbx_snapshot_capture(K.c, &K.box, sbx_s("n"), NULL, NULL); break;
        case GET: op = sbx_snapshot_get(K.c, sbx_s("n"), NULL, NULL); break;
        case DELETE: op = sbx_snapshot_delete(K.c, sbx_s("n"), NULL); break;
        case TAGS: op = sbx_snapshot_tags(K.c, sbx_s("n"), NULL, NULL); break;
        case LIST: op = sbx_snapshot_list(K.c, NULL, NULL); break;
        case REG_CREATE: op = sbx_registry_create(K.c, &g, NULL); break;
        case REG_GET: op = sbx_registry_get(K.c, sbx_s("n"), NULL, NULL); break;
        case REG_DELETE: op = sbx_registry_delete(K.c, sbx_s("n"), NULL); break;
        default: op = sbx_registry_list(K.c, NULL, NULL); break;
        }
        sbx_await(K.c, op);
        err = kit_error(op);
        if (err.code != meanings[i].code || err.resource != meanings[i].resource || !err.text[0])
            fail_msg("%d %s: %s resource %d %s", meanings[i].status, meanings[i].body, sbx_code_name(err.code), (int)err.resource, err.text);
        kit_end();
    }
}

/* Long texts are cut, ids are not; what fitted is there. */
static void test_long(void **state)
{
    static char body[2000];
    sbx_snapshot s;

    (void)state;
    kit_start(1);
    snprintf(body, sizeof body, "{\"id\":\"i\",\"name\":\"n\",\"docker_image\":\"%0300d\",\"status\":\"ready\"}", 0);
    expect(NULL, body);
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_get(K.c, sbx_s("i"), NULL, &s)), SBX_OK);
    assert_true(s.cut);
    assert_int_equal(strlen(s.docker_image), sizeof s.docker_image - 1);
    snprintf(body, sizeof body, "{\"id\":\"i\",\"name\":\"%0300d\",\"status\":\"building\"}", 0);
    expect(NULL, body);
    memset(&s, 0, sizeof s);
    ASSERT_CODE(sbx_await(K.c, sbx_snapshot_build(K.c, sbx_s("n"), sbx_s("i"), NULL, &s)), SBX_ERR_TOO_LARGE);
    assert_string_equal(s.id, "i");
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build), cmocka_unit_test(test_capture), cmocka_unit_test(test_wait_ends), cmocka_unit_test(test_lost),
        cmocka_unit_test(test_raw_of_wait), cmocka_unit_test(test_lists), cmocka_unit_test(test_registries), cmocka_unit_test(test_root),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_password_is_wiped), cmocka_unit_test(test_meanings), cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests_name("snapshots", tests, NULL, NULL);
}
