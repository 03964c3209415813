/* Sandboxes: lists over pages, updates, waiting, what answers mean. */
#include "kit.h"

static void page(const char *match, const char *body)
{
    kit_expect(match, 200, NULL, body);
}

#define BOX(n) "{\"id\":\"" n "\",\"name\":\"n" n "\"}"

/* Names of all items, as events and collected; "…!CODE" for an error. */
static const char *list(const sbx_list_opts *more, sbx_list_result *r)
{
    static char text[2000];
    sbx_list_opts o = { 0 };
    sbx_event ev;
    sbx_op op;

    if (more)
        o = *more;
    text[0] = 0;
    op = sbx_list(K.c, &o, r);
    while (sbx_next_of(K.c, &op, &ev))
        if (ev.kind == SBX_EV_ITEM)
            strcat(text, ((const sbx_box_info *)ev.item)->box.id);
        else if (ev.kind == SBX_EV_END && ev.code != SBX_OK)
            strcat(strcat(text, "!"), sbx_code_name(ev.code));
    return text;
}

static void test_cursors(void **state)
{
    sbx_list_result r;
    sbx_list_opts o = { 0 };
    sbx_str labels[2] = { { "k", 1 }, { "a=b c", 5 } };

    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        kit_start(1);
        K.s->knobs.recv_max = chunked ? 7 : 0;
        /* `items` and the same again as `sandboxes`; a page that shifted by one; an empty one. */
        page("GET /boxes?label=k&label=a%3Db%20c&page_size=2", "{\"items\":[" BOX("a") "," BOX("b") "],\"sandboxes\":[" BOX("a") "," BOX("b") "],\"next_cursor\":\"c/1\"}");
        page("&cursor=c%2F1", "{\"next_cursor\":\"c2\",\"items\":[" BOX("b") "," BOX("c") "]}");
        page("&cursor=c2", "{\"items\":[],\"next_cursor\":\"c3\"}");
        page("&cursor=c3", "{\"items\":[" BOX("d") "],\"next_cursor\":null}");
        o.labels = labels;
        o.labels_n = 2;
        o.page_size = 2;
        assert_string_equal(list(&o, &r), "abcd");
        assert_int_equal(r.count, 4);
        assert_int_equal(K.s->request_n, 4);
        kit_end();
    }
}

static void test_offsets(void **state)
{
    sbx_list_result r;
    sbx_list_opts o = { 0 };

    (void)state;
    kit_start(1);
    page("GET /boxes?limit=2", "{\"sandboxes\":[" BOX("a") "," BOX("b") "],\"offset\":2}");
    page("?limit=2&offset=2", "{\"sandboxes\":[" BOX("b") "," BOX("c") "],\"offset\":4}");
    page("?limit=2&offset=4", "{\"sandboxes\":null,\"offset\":0}");
    o.limit = 2;
    assert_string_equal(list(&o, &r), "abc");
    assert_int_equal(K.s->request_n, 3);
    kit_end();

    kit_start(1);
    page(NULL, "{\"sandboxes\":[" BOX("a") "],\"offset\":2}");
    o.one_page = true;
    assert_string_equal(list(&o, &r), "a");
    assert_int_equal(r.next_offset, 2);
    kit_end();

    kit_start(1); /* the oldest answer names no next page */
    page(NULL, "{\"sandboxes\":[" BOX("a") "]}");
    assert_string_equal(list(NULL, &r), "a");
    kit_end();
}

static void test_pages_without_end(void **state)
{
    sbx_list_result r;
    sim_script e = { 0 };

    (void)state;
    kit_start(1);
    e.status = 200;
    e.times = -1;
    e.body = "{\"items\":[" BOX("a") "],\"next_cursor\":\"same\"}";
    sim_expect(K.s, &e);
    assert_string_equal(list(NULL, &r), "a!SBX_ERR_PROTOCOL");
    assert_int_equal(K.s->request_n, 2);
    kit_end();

    kit_start(1);
    page(NULL, "{\"sandboxes\":[" BOX("a") "],\"offset\":5}");
    page(NULL, "{\"sandboxes\":[" BOX("b") "],\"offset\":3}");
    assert_string_equal(list(NULL, &r), "ab!SBX_ERR_PROTOCOL");
    kit_end();

    kit_start(1); /* two cursors by turns */
    e.body = "{\"items\":[],\"next_cursor\":\"x\"}";
    e.times = -1;
    e.match = "cursor=y";
    sim_expect(K.s, &e);
    e.body = "{\"items\":[],\"next_cursor\":\"y\"}";
    e.match = "GET /boxes";
    sim_expect(K.s, &e);
    assert_string_equal(list(NULL, &r), "!SBX_ERR_PROTOCOL");
    assert_true(K.s->request_n < 8);
    kit_end();
}

static void test_list_into_array(void **state)
{
    sbx_box_info items[2];
    sbx_list_opts o = { 0 };
    sbx_list_result r;

    (void)state;
    kit_start(1);
    page(NULL, "{\"sandboxes\":[" BOX("a") "," BOX("b") "," BOX("c") "]}");
    o.items.p = items;
    o.items.n = sizeof items;
    ASSERT_CODE(sbx_await(K.c, sbx_list(K.c, &o, &r)), SBX_OK);
    assert_int_equal(r.count, 3);
    assert_int_equal(r.stored, 2);
    assert_true(r.cut);
    assert_string_equal(items[1].box.name, "nb");
    assert_int_equal(items[1].status, SBX_STATUS_READY);
    kit_end();
}

static void test_update(void **state)
{
    sbx_update_opts o = { 0 };
    sbx_box_info info;
    sbx_box box;

    (void)state;
    kit_start(1);
    K.s->box_n = 1;
    strcpy(K.s->boxes[0].name, "one");
    ASSERT_CODE(sbx_await(K.c, sbx_update(K.c, &K.box, &o, &box, &info)), SBX_OK);
    assert_string_equal(kit_request(0)->method, "GET");
    o.idle_ttl_s = 120;
    o.delete_after_stop_s = SBX_NONE;
    o.clear_mask = SBX_CLEAR_PROXY_CONFIG;
    ASSERT_CODE(sbx_await(K.c, sbx_update(K.c, &K.box, &o, &box, &info)), SBX_OK);
    assert_string_equal(kit_request(0)->method, "PATCH");
    assert_string_equal(kit_request(0)->body, "{\"idle_ttl_seconds\":120,\"delete_after_stop_seconds\":0,\"proxy_config\":null}");
    assert_string_equal(box.url, "http://dp.test/b/one");
    assert_int_equal(info.created_ms, INT64_C(1735787045678));
    kit_end();
}

static void test_wait(void **state)
{
    sbx_box_opts o = { 0 };
    sbx_box box;
    int64_t begun;
    sbx_op op;

    (void)state;
    kit_start(1);
    K.s->box_n = 1;
    strcpy(K.s->boxes[0].name, "one");
    strcpy(K.s->boxes[0].status, "provisioning");
    K.s->ready_after = 5;
    begun = K.s->now;
    ASSERT_CODE(sbx_await(K.c, sbx_wait_ready(K.c, &K.box, NULL, &box, NULL)), SBX_OK);
    assert_true(K.s->now - begun >= 4500 && K.s->now - begun <= 5500);
    assert_string_equal(box.id, "id-one");
    strcpy(K.s->boxes[0].status, "stopped");
    K.s->ready_after = 1;
    ASSERT_CODE(sbx_await(K.c, sbx_start(K.c, &K.box, NULL, &box, NULL)), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, sbx_stop(K.c, &K.box, NULL)), SBX_OK);
    assert_string_equal(K.s->boxes[0].status, "stopped");
    strcpy(K.s->boxes[0].status, "failed");
    op = sbx_wait_ready(K.c, &K.box, NULL, &box, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CREATION);
    assert_string_equal(kit_error(op).text, "as told");
    strcpy(K.s->boxes[0].status, "stopped");
    o.wait_s = 7;
    begun = K.s->now;
    op = sbx_wait_ready(K.c, &K.box, &o, &box, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_TIMEOUT);
    assert_string_equal(kit_error(op).type, "stopped");
    assert_int_equal(K.s->now - begun, 7000);
    /* start is not repeated once sent, the polls are */
    {
        sim_script e = { 0 };

        e.match = "GET /status";
        e.end = SIM_RST;
        sim_expect(K.s, &e);
        K.s->ready_after = 0;
        ASSERT_CODE(sbx_await(K.c, sbx_start(K.c, &K.box, NULL, &box, NULL)), SBX_OK);
        e.match = "POST /start";
        sim_expect(K.s, &e);
        ASSERT_CODE(sbx_await(K.c, sbx_start(K.c, &K.box, NULL, &box, NULL)), SBX_ERR_OUTCOME);
    }
    kit_end();
}

static void test_delete_again(void **state)
{
    sim_script e = { 0 };

    (void)state;
    kit_start(1); /* carried out, its answer lost: the repetition's 404 is success */
    e.match = "DELETE /boxes";
    e.end = SIM_RST;
    sim_expect(K.s, &e);
    ASSERT_CODE(sbx_await(K.c, sbx_delete(K.c, &K.box, NULL)), SBX_OK);
    ASSERT_CODE(sbx_await(K.c, sbx_delete(K.c, &K.box, NULL)), SBX_ERR_NOT_FOUND);
    kit_end();
}

/* ---- what answers mean ---- */

typedef enum call { CREATE, GET, LIST, UPDATE, READ, WRITE, EXECUTE } call;

typedef struct meaning {
    call call;
    int status;
    const char *body;
    sbx_code code;
    sbx_resource resource;
    const char *type, *text, *field;
    sbx_quota quota;
} meaning;

#define NO_PATH "the server has no such path: check the endpoint (LANGSMITH_ENDPOINT is the server alone, /v2/sandboxes is put behind it; `endpoint` is the whole URL), or its API is of another generation"

static const meaning meanings[] = {
    { GET, 401, "{\"detail\":\"bad key\"}", SBX_ERR_AUTH, SBX_RESOURCE_SANDBOX, "", "bad key", "", 0 },
    { GET, 403, "", SBX_ERR_AUTH, SBX_RESOURCE_SANDBOX, "", NULL, "", 0 },
    { GET, 404, "{\"detail\":{\"error\":\"ResourceNotFound\",\"message\":\"no box\"}}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound", "no box", "", 0 },
    { GET, 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SANDBOX, "", NO_PATH, "", 0 },
    { GET, 404, "{\"detail\":\"Sandbox 's' not found\"}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "", "Sandbox 's' not found", "", 0 },
    { LIST, 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SANDBOX, "", NO_PATH, "", 0 },
    { LIST, 404, "{\"detail\":\"no such organisation\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SANDBOX, "", "no such organisation", "", 0 },
    { CREATE, 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SANDBOX, "", NO_PATH, "", 0 },
    { CREATE, 404, "<html>404", SBX_ERR_NO_ENDPOINT, SBX_RESOURCE_SANDBOX, "", NO_PATH, "", 0 },
    { CREATE, 404, "{\"detail\":{\"error\":\"ResourceNotFound\",\"message\":\"Not Found\"}}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT, "ResourceNotFound", "Not Found", "", 0 },
    { CREATE, 404, "{\"detail\":\"Snapshot 's' not found\"}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT, "", "Snapshot 's' not found", "", 0 },
    { UPDATE, 409, "{\"detail\":{\"error\":\"Conflict\",\"message\":\"taken\"}}", SBX_ERR_CONFLICT, SBX_RESOURCE_SANDBOX, "Conflict", "taken", "", 0 },
    { CREATE, 409, "{}", SBX_ERR_CONFLICT, SBX_RESOURCE_SANDBOX, "", NULL, "", 0 },
    { GET, 422, "{\"detail\":[{\"loc\":[\"body\",\"vcpus\"],\"msg\":\"too many\",\"type\":\"int\"},{\"loc\":[\"x\"],\"msg\":\"y\"}]}", SBX_ERR_VALIDATION, SBX_RESOURCE_SANDBOX, "int", "too many; y", "vcpus", 0 },
    { CREATE, 422, "{\"detail\":[{\"loc\":[\"body\",\"mem\",0],\"msg\":\"no\",\"type\":\"value_error\"}]}", SBX_ERR_VALIDATION, SBX_RESOURCE_SANDBOX, "value_error", "no", "0", 0 },
    { CREATE, 422, "{\"detail\":{\"error\":\"ImagePull\",\"message\":\"no image\"}}", SBX_ERR_CREATION, SBX_RESOURCE_SANDBOX, "ImagePull", "no image", "", 0 },
    { CREATE, 422, "{\"detail\":{\"error\":\"OutOfMemory\",\"message\":\"killed\"}}", SBX_ERR_CREATION, SBX_RESOURCE_SANDBOX, "OutOfMemory", "killed", "", 0 },
    { CREATE, 422, "{\"detail\":\"the container ended\"}", SBX_ERR_CREATION, SBX_RESOURCE_SANDBOX, "", "the container ended", "", 0 },
    { CREATE, 422, "{\"detail\":[{\"loc\":[\"body\",\"vcpus\"],\"msg\":\"no number\",\"type\":\"int_parsing\"}]}", SBX_ERR_VALIDATION, SBX_RESOURCE_SANDBOX, "int_parsing", "no number", "vcpus", 0 },
    { CREATE, 422, "{\"detail\":[{\"msg\":\"no\",\"type\":\"value_error\"}]}", SBX_ERR_VALIDATION, SBX_RESOURCE_SANDBOX, "value_error", "no", "", 0 },
    { CREATE, 408, "{\"detail\":{\"message\":\"late\"}}", SBX_ERR_TIMEOUT, SBX_RESOURCE_SANDBOX, "", "late", "", 0 },
    { CREATE, 503, "{\"detail\":{\"error\":\"CrashLoop\",\"message\":\"dies\"}}", SBX_ERR_CREATION, SBX_RESOURCE_SANDBOX, "CrashLoop", "dies", "", 0 },
    { GET, 429, "{\"detail\":\"Sandbox count limit reached\"}", SBX_ERR_QUOTA, SBX_RESOURCE_SANDBOX, "", "Sandbox count limit reached", "", SBX_QUOTA_SANDBOX_COUNT },
    { GET, 429, "{\"detail\":\"out of CPU\"}", SBX_ERR_QUOTA, SBX_RESOURCE_SANDBOX, "", "out of CPU", "", SBX_QUOTA_CPU },
    { GET, 429, "{\"detail\":\"Memory is full\"}", SBX_ERR_QUOTA, SBX_RESOURCE_SANDBOX, "", "Memory is full", "", SBX_QUOTA_MEMORY },
    { GET, 429, "{\"detail\":\"volume limit\"}", SBX_ERR_QUOTA, SBX_RESOURCE_SANDBOX, "", "volume limit", "", SBX_QUOTA_VOLUME_COUNT },
    { GET, 429, "{\"detail\":\"no storage\"}", SBX_ERR_QUOTA, SBX_RESOURCE_SANDBOX, "", "no storage", "", SBX_QUOTA_STORAGE },
    { GET, 500, "<html>oops", SBX_ERR_SERVER, SBX_RESOURCE_SANDBOX, "", NULL, "", 0 },
    { GET, 502, "{\"error\":\"ConnectionError\",\"message\":\"gone\"}", SBX_ERR_CONNECTION, SBX_RESOURCE_SANDBOX, "ConnectionError", "gone", "", 0 },
    { GET, 301, "", SBX_ERR_SERVER, SBX_RESOURCE_SANDBOX, "", NULL, "", 0 },
    { UPDATE, 400, "{\"error\":\"InvalidRequest\",\"message\":\"stopped\"}", SBX_ERR_NOT_READY, SBX_RESOURCE_SANDBOX, "InvalidRequest", "stopped", "", 0 },
    { READ, 401, "{}", SBX_ERR_AUTH, SBX_RESOURCE_FILE, "", NULL, "", 0 },
    { READ, 403, "{\"error\":\"PermissionDenied\",\"message\":\"no\"}", SBX_ERR_PERMISSION, SBX_RESOURCE_FILE, "PermissionDenied", "no", "", 0 },
    { READ, 404, "{\"error\":\"FileNotFound\",\"message\":\"f\"}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_FILE, "FileNotFound", "f", "", 0 },
    { READ, 400, "{\"error\":\"FileNotFound\",\"message\":\"f\"}", SBX_ERR_NOT_FOUND, SBX_RESOURCE_FILE, "FileNotFound", "f", "", 0 },
    { READ, 500, "{\"error\":\"ReadError\",\"message\":\"disk\"}", SBX_ERR_OPERATION, SBX_RESOURCE_FILE, "ReadError", "disk", "", 0 },
    { WRITE, 500, "{\"error\":\"WriteError\",\"message\":\"full\"}", SBX_ERR_OPERATION, SBX_RESOURCE_FILE, "WriteError", "full", "", 0 },
    { EXECUTE, 500, "{\"error\":\"CommandError\",\"message\":\"sh\"}", SBX_ERR_OPERATION, SBX_RESOURCE_SANDBOX, "CommandError", "sh", "", 0 },
    { READ, 400, "{\"error\":\"NotReady\",\"message\":\"soon\"}", SBX_ERR_NOT_READY, SBX_RESOURCE_FILE, "NotReady", "soon", "", 0 },
    { WRITE, 503, "{\"error\":\"ServiceUnavailable\",\"message\":\"soon\"}", SBX_ERR_NOT_READY, SBX_RESOURCE_FILE, "ServiceUnavailable", "soon", "", 0 },
    { READ, 502, "{\"error\":\"ConnectionError\",\"message\":\"dp\"}", SBX_ERR_CONNECTION, SBX_RESOURCE_FILE, "ConnectionError", "dp", "", 0 },
};

/* A box's name ends at no other place than the caller's. */
static void test_named(void **state)
{
    sbx_box box;

    (void)state;
    assert_true(sbx_box_named(&box, sbx_s("a"), sbx_s("")));
    assert_false(sbx_box_named(&box, sbx_sn("a\0b", 3), sbx_s("")));
}

static void test_meanings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        const meaning *m = &meanings[i];
        sim_script e = { 0 };
        sbx_update_opts u = { 0 };
        sbx_run_opts run = { 0 };
        sbx_read_opts read = { 0 };
        sbx_list_opts l = { 0 };
        sbx_read_result rr;
        sbx_result r;
        char buf[100];
        sbx_error err;
        sbx_box box;
        sbx_op op;

        kit_start(i);
        e.status = m->status;
        e.body = m->body;
        e.times = -1;
        sim_expect(K.s, &e);
        u.name = sbx_s("two");
        run.via = SBX_VIA_HTTP;
        run.discard = true;
        read.out.p = l.items.p = buf;
        read.out.n = l.items.n = sizeof buf;
        switch (m->call) {
        case CREATE: op = sbx_create(K.c, NULL, &box); break;
        case GET: op = sbx_get(K.c, sbx_s("one"), NULL, NULL, NULL); break;
        case LIST: op = sbx_list(K.c, &l, NULL); break;
        case UPDATE: op = sbx_update(K.c, &K.box, &u, NULL, NULL); break;
        case READ: op = sbx_read(K.c, &K.box, sbx_s("/f"), &read, &rr); break;
        case WRITE: op = sbx_write(K.c, &K.box, sbx_s("/f"), sbx_s("x"), NULL); break;
        default: op = sbx_run(K.c, &K.box, sbx_s("x"), &run, &r); break;
        }
        sbx_await(K.c, op);
        err = kit_error(op);
        if (err.code != m->code || err.resource != m->resource || strcmp(err.type, m->type) != 0 || (m->text && strcmp(err.text, m->text) != 0) ||
            strcmp(err.field, m->field) != 0 || err.quota != m->quota || err.status != m->status || !err.text[0] || !err.sent)
            fail_msg("%d %s: %s resource %d type %s text %s field %s quota %d status %d", m->status, m->body, sbx_code_name(err.code), (int)err.resource, err.type,
                     err.text, err.field, (int)err.quota, err.status);
        kit_end();
    }
}

static void test_long_answers(void **state)
{
    static char body[4000];
    sbx_box_info info;
    sbx_box box;
    sbx_op op;

    (void)state;
    kit_start(1);
    /* A text that is too long is cut, an id is not. */
    memset(body, 'm', 400);
    snprintf(body, sizeof body, "{\"id\":\"i\",\"name\":\"one\",\"dataplane_url\":\"http://x\",\"status_message\":\"%0300d\",\"status\":\"newer-than-this-library\"}", 0);
    page(NULL, body);
    ASSERT_CODE(sbx_await(K.c, sbx_get(K.c, sbx_s("one"), NULL, &box, &info)), SBX_OK);
    assert_true(info.cut);
    assert_int_equal(strlen(info.status_message), 255);
    assert_int_equal(info.status, SBX_STATUS_UNKNOWN);
    snprintf(body, sizeof body, "{\"id\":\"i\",\"name\":\"one\",\"dataplane_url\":\"http://%0600d\"}", 0);
    page(NULL, body);
    memset(&box, 0, sizeof box);
    op = sbx_get(K.c, sbx_s("one"), NULL, &box, &info);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_TOO_LARGE);
    assert_string_equal(box.name, "one");
    assert_string_equal(box.id, "i");
    /* An error's text is cut at a character border, and says so. */
    strcpy(body, "{\"detail\":\"");
    for (int i = 0; i < 200; i++)
        strcat(body, "\xC3\xA9\xC3\xA9");
    strcat(body, "\"}");
    kit_expect(NULL, 400, NULL, body);
    op = sbx_get(K.c, sbx_s("one"), NULL, &box, &info);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_VALIDATION);
    assert_true(kit_error(op).cut);
    assert_int_equal(strlen(kit_error(op).text), 254);
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursors), cmocka_unit_test(test_offsets), cmocka_unit_test(test_pages_without_end), cmocka_unit_test(test_list_into_array),
        cmocka_unit_test(test_update), cmocka_unit_test(test_wait), cmocka_unit_test(test_delete_again), cmocka_unit_test(test_named), cmocka_unit_test(test_meanings),
        cmocka_unit_test(test_long_answers),
    };

    return cmocka_run_group_tests_name("sandboxes", tests, NULL, NULL);
}
