/* Sandboxes: every call and option of the control plane. */
#include "e2e.h"

static bool has(const char *json, const char *part)
{
    return strstr(json, part) != NULL;
}

/* ---- create ---- */

static void create_with_every_field(void **state)
{
    char raw[4096];
    size_t raw_n = 0;
    sbx_box made;
    sbx_box_info info;
    sbx_pair labels[] = { { sbx_s("team"), sbx_s("a b\"c") }, { sbx_s("tier"), sbx_s("") } };
    sbx_pair env[] = { { sbx_s("FROM_BOX"), sbx_s("x y=z\n") } }, config_env[] = { { sbx_s("FROM_CONFIG"), sbx_s("ü") } };
    sbx_str tags[] = { sbx_s("t1"), sbx_s("t2") };
    sbx_create_opts o = { .name = sbx_s("all fields/ü %2F"),
                          .wait_s = 20,
                          .idle_ttl_s = 120,
                          .delete_after_stop_s = 180,
                          .vcpus = 2,
                          .mem_bytes = INT64_C(8589934592),
                          .fs_capacity_bytes = INT64_C(4294967296),
                          .run_config = { .work_dir = sbx_s("/tmp"), .env = config_env, .env_n = 1 },
                          .env = env,
                          .env_n = 1,
                          .labels = labels,
                          .labels_n = 2,
                          .tag_value_ids = tags,
                          .tag_value_ids_n = 2,
                          .preserve_memory_on_stop = SBX_TRI_YES,
                          .restore_memory = SBX_TRI_NO,
                          .proxy_config = sbx_s("{\"rules\":[{\"name\":\"r\",\"env_vars\":{\"FROM_PROXY\":\"p\"}}]}"),
                          .access_delegation = sbx_s("{\"mode\":\"EXPLICIT\",\"permissions\":[\"read\"]}"),
                          .raw = { raw, sizeof raw - 1 },
                          .raw_n = &raw_n,
                          .info = &info };
    char text[256];
    sbx_result result;
    sbx_run_opts run = { .out = { text, sizeof text } };
    static const char want[] = "x y=z\n|ü|p|/tmp\n";

    (void)state;
    OK(sbx_create(c, &o, &made));
    assert_string_equal(made.name, "all fields/ü %2F");
    assert_int_equal(strlen(made.id), 36);
    assert_non_null(strstr(made.url, made.id));
    assert_memory_equal(&info.box, &made, sizeof made);
    assert_int_equal(info.status, SBX_STATUS_READY);
    assert_string_equal(info.status_text, "ready");
    assert_string_equal(info.status_message, "");
    assert_false(info.cut);
    assert_int_equal(info.preserve_memory_on_stop, SBX_TRI_YES);
    assert_int_equal(info.idle_ttl_s, 120);
    assert_int_equal(info.delete_after_stop_s, 180);
    assert_int_equal(info.vcpus, 2);
    assert_int_equal(info.cpu_millicores, 2000);
    assert_int_equal(info.mem_bytes, INT64_C(8589934592));
    assert_int_equal(info.fs_capacity_bytes, INT64_C(4294967296));
    assert_string_equal(info.created_by, "sandboxd");
    assert_string_equal(info.snapshot_id, "");
    assert_true(info.created_ms > INT64_C(1500000000000) && info.updated_ms >= info.created_ms);
    assert_int_equal(info.stopped_ms, 0);
    assert_true(raw_n < sizeof raw);
    raw[raw_n] = 0;
    assert_true(raw[0] == '{' && raw[raw_n - 1] == '}');
    assert_true(has(raw, "\"labels\":{\"team\":\"a b\\\"c\",\"tier\":\"\"}"));
    assert_true(has(raw, "\"access_delegation\":{\"mode\":\"EXPLICIT\",\"permissions\":[\"read\"]}"));
    assert_true(has(raw, "\"work_dir\":\"/tmp\""));

    OK(sbx_run(c, &made, sbx_s("echo \"$FROM_BOX|$FROM_CONFIG|$FROM_PROXY|$PWD\""), &run, &result));
    assert_int_equal(result.out_n, sizeof want - 1);
    assert_memory_equal(text, want, sizeof want - 1);

    /* The name is one segment of the path, whatever it holds. */
    memset(&made, 0, sizeof made);
    OK(sbx_get(c, sbx_s("all fields/ü %2F"), NULL, &made, &info));
    assert_string_equal(made.name, "all fields/ü %2F");
    assert_int_equal(info.vcpus, 2);
    OK(sbx_delete(c, &made, NULL));
}

static void create_defaults(void **state)
{
    sbx_box made;
    sbx_box_info info;
    sbx_create_opts o = { .idle_ttl_s = SBX_NONE, .info = &info };

    (void)state;
    OK(sbx_create(c, &o, &made));
    assert_int_equal(strncmp(made.name, "sandbox-", 8), 0);
    assert_int_equal(info.idle_ttl_s, 0);
    assert_int_equal(info.delete_after_stop_s, 0);
    assert_int_equal(info.cpu_millicores, 1000);
    assert_int_equal(info.preserve_memory_on_stop, SBX_TRI_NO);
    OK(sbx_delete(c, &made, NULL));
}

static void create_without_waiting(void **state)
{
    sbx_box made, ready;
    sbx_box_info info;
    sbx_create_opts o = { .no_wait = true, .info = &info };
    sbx_box_opts fast = { .poll_ms = 10, .wait_s = 20 };

    (void)state;
    OK(sbx_create(c, &o, &made));
    assert_int_equal(info.status, SBX_STATUS_PROVISIONING);
    assert_true(made.id[0] && made.url[0]);
    OK(sbx_wait_ready(c, &made, &fast, &ready, &info));
    assert_int_equal(info.status, SBX_STATUS_READY);
    assert_memory_equal(&ready, &made, sizeof made);
    OK(sbx_delete(c, &made, NULL));
}

static void refused_here(void **state)
{
    sbx_box made = { "untouched", "", "" };
    struct {
        sbx_create_opts o;
        const char *field;
    } bad[] = {
        { { .idle_ttl_s = 61 }, "idle_ttl_s" },
        { { .delete_after_stop_s = 2592060 }, "delete_after_stop_s" },
        { { .snapshot = sbx_s("a"), .snapshot_id = sbx_s("b") }, "snapshot" },
        { { .vcpus = -1 }, "vcpus" },
        { { .name = sbx_s("\xff") }, "name" },
        { { .proxy_config = sbx_s("{") }, "proxy_config" },
        { { .call = { .total_ms = -2 } }, "call.total_ms" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sbx_error e = FAILS(sbx_create(c, &bad[i].o, &made), SBX_ERR_ARGUMENT);

        assert_string_equal(e.field, bad[i].field);
        assert_int_equal(e.layer, SBX_LAYER_LOCAL);
        assert_false(e.sent);
        assert_string_equal(made.id, "untouched");
    }
}

static void refused_there(void **state)
{
    sbx_box made;
    sbx_create_opts ratio = { .vcpus = 1, .mem_bytes = 1 }, taken = { .name = sbx_s(box.name) }, snap = { .snapshot = sbx_s("none:1") };
    sbx_error e;

    (void)state;
    e = FAILS(sbx_create(c, &ratio, &made), SBX_ERR_VALIDATION);
    assert_int_equal(e.status, 422);
    assert_string_equal(e.field, "mem_bytes");
    assert_string_equal(e.type, "value_error");
    assert_string_equal(e.text, "mem_bytes must be within 50% of 4 GiB per vCPU");
    assert_string_equal(e.operation, "create");
    assert_int_equal(e.layer, SBX_LAYER_SERVICE);
    assert_int_equal(e.attempts, 1);
    assert_true(e.sent);
    e = FAILS(sbx_create(c, &taken, &made), SBX_ERR_CONFLICT);
    assert_int_equal(e.status, 409);
    assert_string_equal(e.type, "Conflict");
    assert_int_equal(e.resource, SBX_RESOURCE_SANDBOX);
    e = FAILS(sbx_create(c, &snap, &made), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_SNAPSHOT);
    assert_string_equal(e.text, "Snapshot 'none:1' not found");
}

/* ---- get, status, update ---- */

static void get_and_status(void **state)
{
    sbx_box got;
    sbx_box_info info;
    sbx_status_info status;
    char raw[10];
    size_t raw_n = 0;
    sbx_box_opts o = { .raw = { raw, sizeof raw }, .raw_n = &raw_n };

    (void)state;
    OK(sbx_get(c, sbx_s(box.name), &o, &got, NULL));
    assert_memory_equal(&got, &box, sizeof box);
    assert_true(raw_n > sizeof raw);
    assert_memory_equal(raw, "{\"id\":\"", 7);
    OK(sbx_get(c, sbx_s(box.name), NULL, NULL, &info));
    assert_memory_equal(&info.box, &box, sizeof box);
    OK(sbx_get(c, sbx_s(box.name), NULL, NULL, NULL));
    raw_n = 0;
    o.raw.n = 0;
    OK(sbx_get_status(c, &box, &o, &status));
    assert_int_equal(status.status, SBX_STATUS_READY);
    assert_string_equal(status.status_text, "ready");
    assert_string_equal(status.status_message, "");
    assert_int_equal(raw_n, strlen("{\"status\":\"ready\",\"status_message\":null}"));
}

static void update(void **state)
{
    char raw[4096];
    size_t raw_n;
    sbx_box made = e2e_create(c), out;
    sbx_box_info info;
    sbx_pair env[] = { { sbx_s("A"), sbx_s("1") } };
    sbx_update_opts all = { .name = sbx_s("renamed box"),
                            .idle_ttl_s = 240,
                            .delete_after_stop_s = 60,
                            .vcpus = 3,
                            .mem_bytes = INT64_C(12884901888),
                            .run_config = { .env = env, .env_n = 1 },
                            .proxy_config = sbx_s("{\"rules\":[]}"),
                            .raw = { raw, sizeof raw - 1 },
                            .raw_n = &raw_n };
    sbx_update_opts clear = { .clear_mask = SBX_CLEAR_RUN_CONFIG | SBX_CLEAR_PROXY_CONFIG, .raw = { raw, sizeof raw - 1 }, .raw_n = &raw_n };
    sbx_update_opts none = { 0 }, clash = { .name = sbx_s(box.name) }, both = all;
    sbx_error e;

    (void)state;
    OK(sbx_update(c, &made, &all, &out, &info));
    assert_string_equal(out.name, "renamed box");
    assert_string_equal(out.id, made.id);
    assert_int_equal(info.idle_ttl_s, 240);
    assert_int_equal(info.delete_after_stop_s, 60);
    assert_int_equal(info.vcpus, 3);
    assert_int_equal(info.cpu_millicores, 3000);
    assert_int_equal(info.mem_bytes, INT64_C(12884901888));
    assert_string_equal(info.updated_by, "sandboxd");
    raw[raw_n] = 0;
    assert_true(has(raw, "\"run_config\":{\"env_vars\":{\"A\":\"1\"}}"));
    assert_true(has(raw, "\"proxy_config\":{\"rules\":[]}"));

    made = out;
    OK(sbx_update(c, &made, &none, &out, &info));
    assert_int_equal(info.idle_ttl_s, 240);
    OK(sbx_update(c, &made, &clear, NULL, &info));
    raw[raw_n] = 0;
    assert_false(has(raw, "\"run_config\":{"));
    assert_false(has(raw, "\"proxy_config\":{"));
    assert_int_equal(info.idle_ttl_s, 240);
    assert_string_equal(info.box.name, "renamed box");

    e = FAILS(sbx_update(c, &made, &clash, NULL, NULL), SBX_ERR_CONFLICT);
    assert_int_equal(e.status, 409);
    assert_string_equal(e.operation, "update");
    both.clear_mask = SBX_CLEAR_RUN_CONFIG;
    e = FAILS(sbx_update(c, &made, &both, NULL, NULL), SBX_ERR_ARGUMENT);
    assert_string_equal(e.field, "run_config");
    OK(sbx_delete(c, &made, NULL));
}

/* ---- list ---- */

enum { SHELF = 7 };

static void shelf_make(sbx_box boxes[SHELF])
{
    for (unsigned i = 0; i < SHELF; i++) {
        char name[32];
        sbx_pair labels[2] = { { sbx_s("shelf"), sbx_s("list test") }, { sbx_s("odd"), sbx_s(i & 1 ? "yes" : "no") } };
        sbx_create_opts o = { .no_wait = true, .labels = labels, .labels_n = 2, .idle_ttl_s = (int32_t)(60 * (SHELF - i)) };
        sbx_box_opts wait = { .poll_ms = 20 };

        snprintf(name, sizeof name, "shelf-%u", i);
        o.name = sbx_s(name);
        OK(sbx_create(c, &o, &boxes[i]));
        OK(sbx_wait_ready(c, &boxes[i], &wait, NULL, NULL));
    }
}

/* The digits of the names in the order in which they came. */
static const char *listed(const sbx_list_opts *opts, sbx_list_result *r)
{
    static char text[64];
    sbx_op op = sbx_list(c, opts, r);
    sbx_event ev;
    size_t n = 0;

    while (sbx_next_of(c, &op, &ev)) {
        const sbx_box_info *info = ev.item;

        if (ev.kind == SBX_EV_END) {
            assert_int_equal(ev.code, SBX_OK);
        } else {
            assert_int_equal(ev.kind, SBX_EV_ITEM);
            assert_int_equal(info->status, SBX_STATUS_READY);
            assert_int_equal(strncmp(info->box.name, "shelf-", 6), 0);
            assert_true(info->box.id[0] && info->box.url[0] && n < sizeof text - 1);
            text[n++] = info->box.name[6];
        }
    }
    text[n] = 0;
    return text;
}

static void list(void **state)
{
    sbx_box boxes[SHELF];
    sbx_box_info items[3];
    sbx_list_result r;
    sbx_str shelf[] = { sbx_s("shelf=list test") }, odd[] = { sbx_s("shelf"), sbx_s("odd=yes") };
    sbx_list_opts o = { .labels = shelf, .labels_n = 1, .sort_by = sbx_s("name"), .sort_order = sbx_s("asc") }, p = o;
    char cursor[256], raw[64];
    size_t raw_n = 0;
    sbx_error e;

    (void)state;
    shelf_make(boxes);
    assert_string_equal(listed(&o, &r), "0123456");
    assert_int_equal(r.count, SHELF);
    assert_int_equal(r.stored, 0);
    assert_false(r.cut);
    assert_string_equal(r.next_cursor, "");
    assert_int_equal(r.next_offset, 0);

    /* All pages, of either style. */
    for (int32_t size = 1; size <= 8; size++) {
        p.page_size = size;
        assert_string_equal(listed(&p, &r), "0123456");
        assert_int_equal(r.count, SHELF);
    }
    p = o;
    p.limit = 2;
    p.sort_order = sbx_s("desc");
    assert_string_equal(listed(&p, &r), "6543210");

    /* One page at a time, by cursor. */
    p = o;
    p.page_size = 3;
    p.one_page = true;
    p.raw.p = raw;
    p.raw.n = sizeof raw;
    p.raw_n = &raw_n;
    assert_string_equal(listed(&p, &r), "012");
    assert_true(r.next_cursor[0] != 0);
    assert_true(raw_n > sizeof raw);
    assert_memory_equal(raw, "{\"items\":[", 10);
    memcpy(cursor, r.next_cursor, sizeof cursor);
    p.cursor = sbx_s(cursor);
    assert_string_equal(listed(&p, &r), "345");
    memcpy(cursor, r.next_cursor, sizeof cursor);
    p.cursor = sbx_s(cursor);
    assert_string_equal(listed(&p, &r), "6");
    assert_string_equal(r.next_cursor, "");
    /* And by offset. */
    p = o;
    p.limit = 3;
    p.one_page = true;
    p.offset = 2;
    assert_string_equal(listed(&p, &r), "234");
    assert_int_equal(r.next_offset, 5);
    p.offset = (int32_t)r.next_offset;
    assert_string_equal(listed(&p, &r), "56");
    assert_int_equal(r.next_offset, 0);

    /* Filters. */
    p = o;
    p.labels = odd;
    p.labels_n = 2;
    assert_string_equal(listed(&p, &r), "135");
    p = o;
    p.name_contains = sbx_s("SHELF-4");
    assert_string_equal(listed(&p, &r), "4");
    p.name_contains = sbx_s("&status=failed #");
    assert_string_equal(listed(&p, &r), "");
    assert_int_equal(r.count, 0);
    p = o;
    p.status = sbx_s("stopped");
    assert_string_equal(listed(&p, &r), "");
    p = o;
    p.created_by = sbx_s("me");
    p.status = sbx_s("ready");
    p.sort_by = sbx_s("idle_ttl_seconds");
    p.sort_order = sbx_sn(NULL, 0);
    p.sort_direction = sbx_s("asc");
    assert_string_equal(listed(&p, &r), "6543210");

    /* Into an array that is too short. */
    p = o;
    p.page_size = 2;
    p.items.p = items;
    p.items.n = sizeof items;
    OK(sbx_list(c, &p, &r));
    assert_int_equal(r.count, SHELF);
    assert_int_equal(r.stored, 3);
    assert_true(r.cut);
    assert_string_equal(items[2].box.name, "shelf-2");
    assert_memory_equal(&items[1].box, &boxes[1], sizeof boxes[1]);
    assert_int_equal(items[1].idle_ttl_s, 360);

    p = o;
    p.sort_by = sbx_s("colour");
    p.items.p = items;
    p.items.n = sizeof items;
    e = FAILS(sbx_list(c, &p, &r), SBX_ERR_VALIDATION);
    assert_int_equal(e.status, 422);
    assert_string_equal(e.field, "sort_by");
    p = o;
    p.cursor = sbx_s("zz");
    e = FAILS(sbx_list(c, &p, &r), SBX_ERR_VALIDATION);
    assert_int_equal(e.status, 400);
    assert_string_equal(e.text, "The cursor is not valid");

    for (unsigned i = 0; i < SHELF; i++)
        OK(sbx_delete(c, &boxes[i], NULL));
    assert_string_equal(listed(&o, &r), "");
}

/* ---- life ---- */

static void stop_and_start(void **state)
{
    sbx_box made = e2e_create(c), out;
    sbx_box_info info;
    sbx_status_info status;
    sbx_box_opts fast = { .poll_ms = 10 };
    char text[32];
    sbx_result result;
    sbx_run_opts run = { .out = { text, sizeof text } };
    sbx_error e;

    (void)state;
    OK(sbx_write(c, &made, sbx_s("kept"), sbx_s("still here"), NULL));
    OK(sbx_stop(c, &made, NULL));
    OK(sbx_get_status(c, &made, NULL, &status));
    assert_int_equal(status.status, SBX_STATUS_STOPPED);
    e = FAILS(sbx_stop(c, &made, NULL), SBX_ERR_CONFLICT);
    assert_int_equal(e.status, 409);
    OK(sbx_get(c, sbx_s(made.name), NULL, &out, &info));
    assert_true(info.stopped_ms >= info.created_ms && info.stopped_ms > 0);
    assert_string_equal(out.url, made.url);

    OK(sbx_start(c, &made, &fast, &out, &info));
    assert_int_equal(info.status, SBX_STATUS_READY);
    assert_memory_equal(&out, &made, sizeof made);
    e = FAILS(sbx_start(c, &made, &fast, &out, &info), SBX_ERR_CONFLICT);
    assert_string_equal(e.operation, "start");

    /* A request wakes it, a command as well as a file call. */
    OK(sbx_stop(c, &made, NULL));
    OK(sbx_run(c, &made, sbx_s("cat kept"), &run, &result));
    assert_int_equal(result.out_n, 10);
    assert_memory_equal(text, "still here", 10);
    OK(sbx_get_status(c, &made, NULL, &status));
    assert_int_equal(status.status, SBX_STATUS_READY);
    OK(sbx_stop(c, &made, NULL));
    {
        sbx_read_opts r = { .out = { text, sizeof text } };
        sbx_read_result got;

        OK(sbx_read(c, &made, sbx_s("kept"), &r, &got));
        assert_int_equal(got.n, 10);
    }
    OK(sbx_delete(c, &made, NULL));
    e = FAILS(sbx_get(c, sbx_s(made.name), NULL, NULL, NULL), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.status, 404);
    assert_int_equal(e.resource, SBX_RESOURCE_SANDBOX);
    assert_string_equal(e.type, "ResourceNotFound");
    FAILS(sbx_delete(c, &made, NULL), SBX_ERR_NOT_FOUND);
    FAILS(sbx_get_status(c, &made, NULL, &status), SBX_ERR_NOT_FOUND);
    FAILS(sbx_wait_ready(c, &made, NULL, NULL, NULL), SBX_ERR_NOT_FOUND);
}

static void named(void **state)
{
    sbx_box b;
    char text[8];
    sbx_result result;
    sbx_run_opts run = { .out = { text, sizeof text } };

    (void)state;
    assert_true(sbx_box_named(&b, sbx_s(box.name), sbx_s(box.url)));
    OK(sbx_run(c, &b, sbx_s("echo hi"), &run, &result));
    assert_int_equal(result.out_n, 3);
    assert_false(sbx_box_named(&b, sbx_s(""), sbx_s(box.url)));
    assert_true(sbx_box_named(&b, sbx_s(box.name), sbx_s("")));
    assert_string_equal(FAILS(sbx_run(c, &b, sbx_s("echo hi"), &run, &result), SBX_ERR_ARGUMENT).field, "box.url");
}

static void delete_on_close(void **state)
{
    sbx_client *other = e2e_open(NULL);
    sbx_create_opts o = { .delete_on_close = true };
    sbx_box one, two, gone;
    sbx_op op;
    sbx_event ev;
    unsigned ends = 0;

    (void)state;
    OK_ON(other, sbx_create(other, &o, &one));
    assert_int_equal(strncmp(one.name, "sbx-", 4), 0);
    o.name = sbx_s("owned by name");
    OK_ON(other, sbx_create(other, &o, &two));
    o.name = sbx_sn(NULL, 0);
    OK_ON(other, sbx_create(other, &o, &gone));
    OK_ON(other, sbx_delete(other, &gone, NULL)); /* no longer owned */
    OK(sbx_get(c, sbx_s(one.name), NULL, NULL, NULL));
    sbx_close(other);
    FAILS(sbx_get(c, sbx_s(one.name), NULL, NULL, NULL), SBX_ERR_NOT_FOUND);
    FAILS(sbx_get(c, sbx_s(two.name), NULL, NULL, NULL), SBX_ERR_NOT_FOUND);

    /* The same without blocking, with a command open. */
    other = e2e_open(NULL);
    OK_ON(other, sbx_create(other, &o, &one));
    sbx_command(other, &one, sbx_s("sleep 100"), NULL);
    op = sbx_shutdown(other, 10000);
    for (int turns = 0; ends < 2 && turns < 1000; turns++) {
        while (sbx_next(other, &ev)) {
            if (ev.kind != SBX_EV_END)
                continue;
            ends++;
            if (ev.op.slot == op.slot && ev.op.gen == op.gen) {
                assert_int_equal(ev.code, SBX_OK);
                assert_int_equal(ev.exit_code, 0);
            } else {
                assert_int_equal(ev.code, SBX_ERR_CLOSED);
            }
        }
        if (ends < 2)
            sbx_wait(other, 1000);
    }
    assert_int_equal(ends, 2);
    FAILS_ON(other, sbx_get(other, sbx_s(one.name), NULL, NULL, NULL), SBX_ERR_CLOSED);
    sbx_close(other);
    FAILS(sbx_get(c, sbx_s(one.name), NULL, NULL, NULL), SBX_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_with_every_field),
        cmocka_unit_test(create_defaults),
        cmocka_unit_test(create_without_waiting),
        cmocka_unit_test(refused_here),
        cmocka_unit_test(refused_there),
        cmocka_unit_test(get_and_status),
        cmocka_unit_test(update),
        cmocka_unit_test(list),
        cmocka_unit_test(stop_and_start),
        cmocka_unit_test(named),
        cmocka_unit_test(delete_on_close),
    };

    return cmocka_run_group_tests(tests, e2e_begin, e2e_end);
}
