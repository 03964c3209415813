/* Snapshots and registries against sandboxd. */
#include "e2e.h"

#define GIB (INT64_C(1) << 30)
#define MUST_FAIL(op, code, what) do { sbx_error e_ = FAILS(op, code); assert_int_equal(e_.resource, what); } while (0)

static sbx_snapshot_opts quick(void)
{
    sbx_snapshot_opts o = { .fs_capacity_bytes = GIB, .poll_ms = 20 };

    return o;
}

/* What a command prints in a new sandbox made by `create`. */
static const char *run_in(const sbx_create_opts *create, const char *command)
{
    static char text[2048];
    sbx_run_opts o = { .out = { text, sizeof text - 1 } };
    sbx_result result;
    sbx_box made;

    OK(sbx_create(c, create, &made));
    OK(sbx_run(c, &made, sbx_s(command), &o, &result));
    text[result.out_n] = 0;
    OK(sbx_delete(c, &made, NULL));
    return text;
}

/* Ids of a list, each with a blank, or tags. */
static const char *listed(sbx_op op, bool tags)
{
    static char text[2048];
    sbx_event ev;

    text[0] = 0;
    while (sbx_next_of(c, &op, &ev)) {
        if (ev.kind == SBX_EV_ITEM)
            strcat(strcat(text, tags ? ((const sbx_snapshot_tag *)ev.item)->tag : (const char *)ev.item), " ");
        else if (ev.kind == SBX_EV_END)
            assert_int_equal(ev.code, SBX_OK);
    }
    return text;
}

static void test_build(void **state)
{
    static const sbx_pair env[] = { { { "A", 1 }, { "1", 1 } } }, labels[] = { { { "k", 1 }, { "v", 1 } } };
    sbx_snapshot_opts o = quick();
    sbx_create_opts create = { 0 };
    sbx_snapshot s, again;
    char raw[2048];
    size_t raw_n;

    (void)state;
    o.run_config.env = env;
    o.run_config.env_n = 1;
    o.labels = labels;
    o.labels_n = 1;
    o.tag = sbx_s("v1");
    o.raw = (sbx_buf){ raw, sizeof raw };
    o.raw_n = &raw_n;
    OK(sbx_snapshot_build(c, sbx_s("from image"), sbx_s("example/image:1"), &o, &s));
    assert_int_equal(s.status, SBX_STATUS_READY);
    assert_string_equal(s.name, "from image");
    assert_string_equal(s.docker_image, "example/image:1");
    assert_int_equal(s.fs_capacity_bytes, GIB);
    assert_true(s.fs_used_bytes > 0 && s.created_ms > 0);
    raw[raw_n] = 0;
    assert_non_null(strstr(raw, "\"labels\""));
    assert_non_null(strstr(raw, "\"ready\""));
    OK(sbx_snapshot_get(c, sbx_s("from image:v1"), NULL, &again));
    assert_string_equal(again.id, s.id);
    MUST_FAIL(sbx_snapshot_get(c, sbx_s("from image"), NULL, &again), SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT); /* no `latest` */
    create.snapshot = sbx_s("from image:v1");
    assert_string_equal(run_in(&create, "cat /opt/image/hello; echo $A"), "hello from the image\n1\n");
    memset(&create, 0, sizeof create);
    create.snapshot_id = sbx_s(s.id);
    assert_string_equal(run_in(&create, "cat /opt/image/hello"), "hello from the image\n");
    OK(sbx_snapshot_delete(c, sbx_s("from image:v1"), NULL));
    MUST_FAIL(sbx_snapshot_delete(c, sbx_s(s.id), NULL), SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT);
}

static void test_build_fails(void **state)
{
    sbx_snapshot_opts o = quick();
    sbx_snapshot s;
    sbx_error e;

    (void)state;
    e = FAILS(sbx_snapshot_build(c, sbx_s("no"), sbx_s("no/such:image"), &o, &s), SBX_ERR_CREATION);
    assert_int_equal(e.resource, SBX_RESOURCE_SNAPSHOT);
    assert_non_null(strstr(e.text, "no/such:image"));
    o.registry_id = sbx_s("no-such-registry");
    MUST_FAIL(sbx_snapshot_build(c, sbx_s("no"), sbx_s("example/image:1"), &o, &s), SBX_ERR_NOT_FOUND, SBX_RESOURCE_REGISTRY);
    e = FAILS(sbx_snapshot_build(c, sbx_s("a:b"), sbx_s("example/image:1"), NULL, &s), SBX_ERR_VALIDATION);
    assert_string_equal(e.field, "name");
    MUST_FAIL(sbx_snapshot_wait(c, sbx_s("no such"), NULL, &s), SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT);
    /* The older way to name a registry is taken too. */
    memset(&o, 0, sizeof o);
    o = quick();
    o.registry_url = sbx_s("r.example");
    o.registry_username = sbx_s("u");
    o.registry_password = sbx_s("p");
    OK(sbx_snapshot_build(c, sbx_s("older"), sbx_s("example/image:1"), &o, &s));
    OK(sbx_snapshot_delete(c, sbx_s(s.id), NULL));
}

static void test_capture(void **state)
{
    sbx_snapshot_opts o = quick();
    sbx_create_opts create = { 0 };
    sbx_box_opts wait = { .poll_ms = 20 };
    sbx_box gone;
    sbx_snapshot s;

    (void)state;
    e2e_sh("mkdir -p /workspace && echo kept >/workspace/file");
    o.no_wait = true;
    OK(sbx_snapshot_capture(c, &box, sbx_s("live"), &o, &s));
    assert_string_equal(s.source_sandbox_id, box.id);
    OK(sbx_snapshot_wait(c, sbx_s(s.id), &wait, &s));
    assert_int_equal(s.status, SBX_STATUS_READY);
    assert_string_equal(e2e_sh("echo later >/workspace/file; cat /workspace/file"), "later\n"); /* it runs on */
    create.snapshot_name = sbx_s("live");
    assert_string_equal(run_in(&create, "cat /workspace/file"), "kept\n");
    OK(sbx_snapshot_delete(c, sbx_s("live"), NULL));
    assert_true(sbx_box_named(&gone, sbx_s("no-such-box"), sbx_s("")));
    MUST_FAIL(sbx_snapshot_capture(c, &gone, sbx_s("x"), NULL, NULL), SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX);
    o = quick();
    o.docker_image = sbx_s("no-such-image");
    MUST_FAIL(sbx_snapshot_capture(c, &box, sbx_s("x"), &o, NULL), SBX_ERR_CREATION, SBX_RESOURCE_SNAPSHOT);
}

static void test_list(void **state)
{
    static const char *const tags[] = { "v1", "v2", "latest" };
    sbx_snapshot_opts o = quick();
    sbx_list_opts l = { .page_size = 2, .name_contains = sbx_s("listed") };
    sbx_list_result r;
    sbx_snapshot s[3];
    sbx_str label = sbx_s("n=2");
    char all[256];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char digit = (char)('0' + i);
        sbx_pair number = { { "n", 1 }, { &digit, 1 } };

        o.tag = sbx_s(tags[i]);
        o.labels = &number;
        o.labels_n = 1;
        OK(sbx_snapshot_build(c, sbx_s("listed"), sbx_s("example/image:1"), &o, &s[i]));
    }
    l.sort_by = sbx_s("created_at");
    l.sort_order = sbx_s("asc");
    snprintf(all, sizeof all, "%s %s %s ", s[0].id, s[1].id, s[2].id);
    assert_string_equal(listed(sbx_snapshot_list(c, &l, &r), false), all);
    assert_int_equal(r.count, 3);
    l.labels = &label;
    l.labels_n = 1;
    snprintf(all, sizeof all, "%s ", s[2].id);
    assert_string_equal(listed(sbx_snapshot_list(c, &l, &r), false), all);
    memset(&l, 0, sizeof l);
    l.status = sbx_s("building");
    assert_string_equal(listed(sbx_snapshot_list(c, &l, &r), false), "");
    memcpy(all, listed(sbx_snapshot_tags(c, sbx_s("listed"), NULL, &r), true), sizeof all);
    assert_int_equal(r.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_non_null(strstr(all, tags[i]));
        OK(sbx_snapshot_delete(c, sbx_s(s[i].id), NULL));
    }
    MUST_FAIL(sbx_snapshot_tags(c, sbx_s("listed"), NULL, &r), SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT);
}

static void test_registries(void **state)
{
    sbx_registry_opts o = { .name = sbx_s("in/ternal"), .url = sbx_s("r.example"), .username = sbx_s("u"), .password = sbx_s("hunter2") };
    sbx_registry_opts change = { .password = sbx_s("hunter3") };
    sbx_snapshot_opts build = quick();
    sbx_list_opts l = { .name_contains = sbx_s("ternal") };
    sbx_registry r, again;
    sbx_list_result list;
    sbx_snapshot s;
    sbx_error e;
    char text[128], raw[1024];
    size_t raw_n;

    (void)state;
    o.raw = (sbx_buf){ raw, sizeof raw };
    o.raw_n = &raw_n;
    OK(sbx_registry_create(c, &o, &r));
    assert_string_equal(r.name, "in/ternal");
    assert_string_equal(r.url, "r.example");
    assert_true(r.id[0] && r.created_ms > 0);
    raw[raw_n] = 0;
    assert_null(strstr(raw, "hunter2"));
    MUST_FAIL(sbx_registry_create(c, &o, &again), SBX_ERR_CONFLICT, SBX_RESOURCE_REGISTRY);
    OK(sbx_registry_get(c, sbx_s("in/ternal"), NULL, &again));
    assert_string_equal(again.id, r.id);
    OK(sbx_registry_update(c, sbx_s("in/ternal"), NULL, &again));
    assert_int_equal(again.updated_ms, r.updated_ms);
    change.name = sbx_s("external");
    OK(sbx_registry_update(c, sbx_s("in/ternal"), &change, &again));
    assert_string_equal(again.name, "external");
    assert_string_equal(again.id, r.id);
    snprintf(text, sizeof text, "%s ", r.id);
    assert_string_equal(listed(sbx_registry_list(c, &l, &list), false), text);
    build.registry_id = sbx_s(r.id);
    OK(sbx_snapshot_build(c, sbx_s("private"), sbx_s("example/image:1"), &build, &s));
    assert_string_equal(s.registry_id, r.id);
    OK(sbx_snapshot_delete(c, sbx_s(s.id), NULL));
    memset(&o, 0, sizeof o);
    o.name = o.url = sbx_s("x");
    o.password = sbx_s("hunter2");
    e = FAILS(sbx_registry_create(c, &o, NULL), SBX_ERR_VALIDATION);
    assert_string_equal(e.field, "username");
    assert_null(strstr(e.text, "hunter2"));
    OK(sbx_registry_delete(c, sbx_s("external"), NULL));
    MUST_FAIL(sbx_registry_delete(c, sbx_s("external"), NULL), SBX_ERR_NOT_FOUND, SBX_RESOURCE_REGISTRY);
    MUST_FAIL(sbx_registry_get(c, sbx_s("external"), NULL, NULL), SBX_ERR_NOT_FOUND, SBX_RESOURCE_REGISTRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build), cmocka_unit_test(test_build_fails), cmocka_unit_test(test_capture),
        cmocka_unit_test(test_list), cmocka_unit_test(test_registries),
    };

    return cmocka_run_group_tests_name("snapshots", tests, e2e_begin, e2e_end);
}
