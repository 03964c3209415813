/* What goes wrong, and all that is told of it. */
#include "e2e.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[256];

static sbx_read_opts into(void)
{
    return (sbx_read_opts){ .out = { buffer, sizeof buffer } };
}

static void wrong_key(void **state)
{
    sbx_client *other = e2e_open(&(sbx_client_desc){ .api_key = "wrong key" });
    sbx_read_opts read = into();
    sbx_box made;
    sbx_result r;
    sbx_error e;
    e2e_run s;

    (void)state;
    e = FAILS_ON(other, sbx_get(other, sbx_s(box.name), NULL, &made, NULL), SBX_ERR_AUTH);
    assert_int_equal(e.status, 403);
    assert_string_equal(e.type, "Forbidden");
    assert_string_equal(e.text, "The API key is not valid");
    assert_string_equal(e.operation, "get");
    assert_int_equal(e.layer, SBX_LAYER_SERVICE);
    assert_int_equal(e.attempts, 1);
    assert_int_equal(e.retry_after_ms, -1);
    assert_true(e.sent);
    assert_false(e.cut);
    FAILS_ON(other, sbx_create(other, NULL, &made), SBX_ERR_AUTH);
    e = FAILS_ON(other, sbx_read(other, &box, sbx_s("x"), &read, NULL), SBX_ERR_AUTH);
    assert_int_equal(e.status, 401);
    assert_string_equal(e.type, "Unauthorized");
    e = FAILS_ON(other, sbx_run(other, &box, sbx_s("x"), &(sbx_run_opts){ .discard = true }, &r), SBX_ERR_AUTH);
    assert_int_equal(e.status, 401);
    assert_string_equal(e.operation, "run");
    assert_string_equal(e.text, "The API key is not valid");
    s = e2e_collect(other, sbx_command(other, &box, sbx_s("x"), NULL));
    assert_int_equal(s.code, SBX_ERR_AUTH);
    assert_int_equal(s.retries + s.started, 0);
    e2e_free(&s);

    /* The call's own key goes before the client's; keys can be changed. */
    OK_ON(other, sbx_get(other, sbx_s(box.name), &(sbx_box_opts){ .call = { .api_key = sbx_s(getenv("LANGSMITH_API_KEY")) } }, NULL, NULL));
    OK_ON(other, sbx_run(other, &box, sbx_s("true"), &(sbx_run_opts){ .discard = true, .call = { .api_key = sbx_s(getenv("LANGSMITH_API_KEY")) } }, &r));
    FAILS_ON(other, sbx_get(other, sbx_s(box.name), NULL, NULL, NULL), SBX_ERR_AUTH);
    assert_int_equal(sbx_set_api_key(other, sbx_s("a\nb")), SBX_ERR_ARGUMENT);
    assert_int_equal(sbx_set_api_key(other, sbx_s(getenv("LANGSMITH_API_KEY"))), SBX_OK);
    OK_ON(other, sbx_get(other, sbx_s(box.name), NULL, NULL, NULL));
    sbx_close(other);

    /* None at all. */
    other = e2e_open(&(sbx_client_desc){ .api_key = "" });
    e = FAILS_ON(other, sbx_get(other, sbx_s(box.name), NULL, NULL, NULL), SBX_ERR_AUTH);
    assert_int_equal(e.status, 401);
    assert_string_equal(e.type, "");
    assert_string_equal(e.text, "No API key was sent (X-Api-Key)");
    sbx_close(other);
}

static void missing_box(void **state)
{
    sbx_box none = box;
    sbx_read_opts read = into();
    sbx_result r;
    sbx_error e;

    (void)state;
    strcpy(none.name, "nope");
    strcpy(strstr(none.url, box.id), "no-such-id");
    e = FAILS(sbx_get(c, sbx_s("nope"), NULL, NULL, NULL), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.status, 404);
    assert_int_equal(e.resource, SBX_RESOURCE_SANDBOX);
    assert_string_equal(e.type, "ResourceNotFound");
    assert_string_equal(e.text, "Sandbox 'nope' not found");
    FAILS(sbx_delete(c, &none, NULL), SBX_ERR_NOT_FOUND);
    FAILS(sbx_stop(c, &none, NULL), SBX_ERR_NOT_FOUND);
    FAILS(sbx_start(c, &none, NULL, NULL, NULL), SBX_ERR_NOT_FOUND);
    FAILS(sbx_update(c, &none, &(sbx_update_opts){ .idle_ttl_s = 60 }, NULL, NULL), SBX_ERR_NOT_FOUND);
    /* On the data plane it is the sandbox that is missing, not the file or the call. */
    e = FAILS(sbx_run(c, &none, sbx_s("x"), &(sbx_run_opts){ .discard = true }, &r), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.status, 404);
    assert_int_equal(e.resource, SBX_RESOURCE_SANDBOX);
    assert_string_equal(e.text, "Sandbox 'no-such-id' not found");
    e = FAILS(sbx_run(c, &none, sbx_s("x"), &(sbx_run_opts){ .discard = true, .via = SBX_VIA_HTTP }, &r), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_SANDBOX);
    e = FAILS(sbx_read(c, &none, sbx_s("x"), &read, NULL), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_SANDBOX);
    assert_string_equal(e.text, "Sandbox 'no-such-id' not found");
    e = FAILS(sbx_write(c, &none, sbx_s("x"), sbx_s("y"), NULL), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_SANDBOX);
}

static void no_endpoint(void **state)
{
    char base[128];
    sbx_client *other;
    sbx_list_result r;
    sbx_box wrong = box, created;
    sbx_error e;

    (void)state;
    snprintf(base, sizeof base, "%s/v3/other", getenv("LANGSMITH_ENDPOINT"));
    other = e2e_open(&(sbx_client_desc){ .endpoint = base });
    e = FAILS_ON(other, sbx_list(other, NULL, &r), SBX_ERR_NO_ENDPOINT);
    assert_int_equal(e.status, 404);
    FAILS_ON(other, sbx_get(other, sbx_s("one"), NULL, &created, NULL), SBX_ERR_NO_ENDPOINT);
    e = FAILS_ON(other, sbx_create(other, NULL, &created), SBX_ERR_NO_ENDPOINT);
    assert_int_equal(e.status, 404);
    assert_non_null(strstr(e.text, "LANGSMITH_ENDPOINT"));
    sbx_close(other);
    FAILS(sbx_create(c, &(sbx_create_opts){ .snapshot_id = sbx_s("00000000-0000-4000-8000-000000000000") }, &created), SBX_ERR_NOT_FOUND);
    strcat(wrong.url, "/not-there");
    e = FAILS(sbx_run(c, &wrong, sbx_s("x"), &(sbx_run_opts){ .discard = true }, NULL), SBX_ERR_NO_ENDPOINT);
    assert_int_equal(e.status, 404);
    assert_string_equal(e.text, "Not Found");
}

static void files(void **state)
{
    sbx_read_opts read = into();
    sbx_file_stat st;
    sbx_error e;

    (void)state;
    e = FAILS(sbx_read(c, &box, sbx_s("/no/such"), &read, NULL), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.status, 404);
    assert_int_equal(e.resource, SBX_RESOURCE_FILE);
    assert_string_equal(e.type, "FileNotFound");
    assert_string_equal(e.text, "/no/such: No such file or directory");
    assert_string_equal(e.operation, "read");
    e = FAILS(sbx_stat(c, &box, sbx_s("/no/such"), NULL, &st), SBX_ERR_NOT_FOUND); /* HEAD: the answer has no text */
    assert_int_equal(e.status, 404);
    assert_int_equal(e.resource, SBX_RESOURCE_FILE);
    assert_string_equal(e.type, "");
    assert_string_equal(e.text, "there is no such file, or the sandbox itself is gone");
    e = FAILS(sbx_read(c, &box, sbx_s("/tmp"), &read, NULL), SBX_ERR_OPERATION);
    assert_int_equal(e.status, 400);
    assert_string_equal(e.type, "ReadError");
    assert_string_equal(e.text, "/tmp: Is a directory");
    e = FAILS(sbx_write(c, &box, sbx_s("/usr/nowhere"), sbx_s("x"), NULL), SBX_ERR_PERMISSION);
    assert_int_equal(e.status, 403);
    assert_string_equal(e.type, "PermissionDenied");
    assert_string_equal(e.operation, "write");
    e = FAILS(sbx_write(c, &box, sbx_s("/tmp"), sbx_s("x"), NULL), SBX_ERR_OPERATION);
    assert_string_equal(e.type, "WriteError");
    /* Refused before the body was read: megabytes are under way. */
    {
        static char big[4 << 20];

        e = FAILS(sbx_write(c, &box, sbx_s("/usr/nowhere"), sbx_sn(big, sizeof big), NULL), SBX_ERR_PERMISSION);
        assert_int_equal(e.status, 403);
        assert_int_equal(e.attempts, 1);
    }
    OK(sbx_write(c, &box, sbx_s("/tmp/fine"), sbx_s("x"), NULL));
}

/* ---- a server that fails ---- */

static void repeated(void **state)
{
    const char *const options[] = { "--fault", "status=503:count=2:path=/boxes:message=later", "--fault", "status=502:count=1:path=/download", NULL };
    e2e_server s = e2e_serve(options);
    sbx_client *other = e2e_connect(&s, NULL);
    sbx_list_result r;
    sbx_box_info items[1];
    sbx_list_opts list = { .items = { items, sizeof items } };
    sbx_op op;
    sbx_event ev;
    sbx_usage u;
    unsigned retrying = 0;
    sbx_box b;

    (void)state;
    op = sbx_list(other, &list, &r);
    while (sbx_next_of(other, &op, &ev) && ev.kind != SBX_EV_END) {
        assert_int_equal(ev.kind, SBX_EV_RETRYING);
        assert_int_equal(ev.code, SBX_ERR_SERVER);
        assert_true(ev.delay_ms >= (retrying ? 1000 : 500) && ev.delay_ms <= (retrying ? 2000 : 1000));
        retrying++;
    }
    assert_int_equal(ev.code, SBX_OK);
    assert_int_equal(retrying, 2);
    assert_int_equal(r.count, 0);
    b = e2e_create(other);
    OK_ON(other, sbx_write(other, &b, sbx_s("f"), sbx_s("abc"), NULL));
    {
        sbx_read_opts read = into();
        sbx_read_result got;

        OK_ON(other, sbx_read(other, &b, sbx_s("f"), &read, &got));
        assert_int_equal(got.n, 3);
    }
    sbx_get_usage(other, &u);
    assert_int_equal(u.retries, 3);
    assert_int_equal(u.connects, 1); /* all on one connection */
    sbx_close(other);
    e2e_stop(&s);
}

static void not_repeated(void **state)
{
    const char *const options[] = { "--fault", "status=503:count=1:path=/boxes:type=Unschedulable:message=no room",
                                    "--fault", "status=500:count=1:path=/boxes:type=Boom:message=broken",
                                    "--fault", "status=429:count=2:path=/boxes:type=Quota:message=Sandbox count limit reached:retry-after=7",
                                    "--fault", "status=502:count=1:path=/boxes:type=ConnectionError:message=upstream",
                                    "--fault", "status=408:count=1:path=/boxes:type=Timeout:message=too slow",
                                    "--fault", "status=422:count=1:path=/boxes:type=ImagePull:message=no image",
                                    "--fault", "status=400:count=1:path=/stop:type=NotReady:message=not yet", NULL };
    e2e_server s = e2e_serve(options);
    sbx_client *other = e2e_connect(&s, &(sbx_client_desc){ .max_retries = SBX_NONE });
    sbx_box b;
    sbx_error e;

    (void)state;
    e = FAILS_ON(other, sbx_create(other, &(sbx_create_opts){ .call = { .max_retries = 5 } }, &b), SBX_ERR_CREATION);
    assert_int_equal(e.status, 503);
    assert_string_equal(e.type, "Unschedulable");
    assert_string_equal(e.text, "no room");
    assert_int_equal(e.attempts, 1);
    e = FAILS_ON(other, sbx_create(other, &(sbx_create_opts){ .call = { .max_retries = 5 } }, &b), SBX_ERR_SERVER);
    assert_int_equal(e.status, 500);
    assert_string_equal(e.type, "Boom");
    e = FAILS_ON(other, sbx_create(other, NULL, &b), SBX_ERR_QUOTA);
    assert_int_equal(e.status, 429);
    assert_int_equal(e.quota, SBX_QUOTA_SANDBOX_COUNT);
    assert_int_equal(e.retry_after_ms, 7000);
    /* A wait that is longer than the call may take is not begun. */
    e = FAILS_ON(other, sbx_create(other, &(sbx_create_opts){ .call = { .max_retries = 5, .total_ms = 2000 } }, &b), SBX_ERR_QUOTA);
    assert_int_equal(e.attempts, 1);
    e = FAILS_ON(other, sbx_create(other, &(sbx_create_opts){ .call = { .max_retries = 5 } }, &b), SBX_ERR_CONNECTION);
    assert_int_equal(e.status, 502);
    assert_string_equal(e.text, "upstream");
    assert_int_equal(e.layer, SBX_LAYER_SERVICE);
    FAILS_ON(other, sbx_create(other, NULL, &b), SBX_ERR_TIMEOUT);
    e = FAILS_ON(other, sbx_create(other, NULL, &b), SBX_ERR_CREATION);
    assert_string_equal(e.type, "ImagePull");
    b = e2e_create(other);
    e = FAILS_ON(other, sbx_stop(other, &b, NULL), SBX_ERR_NOT_READY);
    assert_string_equal(e.text, "not yet");
    sbx_close(other);
    e2e_stop(&s);
}

static void long_text(void **state)
{
    char spec[700];
    const char *options[] = { "--fault", spec, NULL };
    e2e_server s;
    sbx_client *other;
    sbx_error e;

    (void)state;
    strcpy(spec, "status=400:type=InvalidRequest:message=");
    for (int i = 0; i < 150; i++)
        strcat(spec, "€");
    s = e2e_serve(options);
    other = e2e_connect(&s, NULL);
    e = FAILS_ON(other, sbx_get(other, sbx_s("x"), NULL, NULL, NULL), SBX_ERR_VALIDATION);
    assert_true(e.cut);
    assert_int_equal(strlen(e.text), 255); /* a whole character at the end */
    assert_string_equal(e.text + 252, "€");
    sbx_close(other);
    e2e_stop(&s);
}

/* ---- no server at all ---- */

static void refused(void **state)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, so that the port is nobody's; it does not listen */
    char base[64];
    sbx_client *other;
    sbx_box b;
    sbx_error e;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(base, sizeof base, "http://127.0.0.1:%u/x", ntohs(a.sin_port));
    other = e2e_open(&(sbx_client_desc){ .endpoint = base, .max_retries = 1 });
    /* Nothing was sent: even create may be tried again. */
    e = FAILS_ON(other, sbx_create(other, NULL, &b), SBX_ERR_CONNECT);
    if (e2e_over("posix"))
        assert_int_equal(e.sys, ECONNREFUSED);
    assert_int_equal(e.layer, SBX_LAYER_TRANSPORT);
    assert_int_equal(e.status, 0);
    assert_int_equal(e.attempts, 2);
    assert_false(e.sent);
    assert_true(e.text[0] != 0);
    sbx_close(other);
    close(fd);

    other = e2e_open(&(sbx_client_desc){ .endpoint = "https://127.0.0.1:1/x" });
    FAILS_ON(other, sbx_create(other, NULL, &b), e2e_over("posix") ? SBX_ERR_UNSUPPORTED : SBX_ERR_CONNECT);
    sbx_close(other);
}

/* A server that took the request and never answers. */
static void unanswered(void **state)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char base[64];
    sbx_client *other;
    sbx_box b;
    sbx_error e;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(base, sizeof base, "http://127.0.0.1:%u/x", ntohs(a.sin_port));
    other = e2e_open(&(sbx_client_desc){ .endpoint = base });
    e = FAILS_ON(other, sbx_create(other, &(sbx_create_opts){ .call = { .timeout_ms = 100 } }, &b), SBX_ERR_OUTCOME);
    assert_int_equal(e.attempts, 1);
    assert_true(e.sent);
    e = FAILS_ON(other, sbx_get(other, sbx_s("x"), &(sbx_box_opts){ .call = { .timeout_ms = 100, .max_retries = 1 } }, &b, NULL), SBX_ERR_DEADLINE);
    assert_int_equal(e.attempts, 2);
    assert_int_equal(e.layer, SBX_LAYER_TRANSPORT);
    e = FAILS_ON(other, sbx_get(other, sbx_s("x"), &(sbx_box_opts){ .call = { .total_ms = 100 } }, &b, NULL), SBX_ERR_DEADLINE);
    assert_int_equal(e.attempts, 1);
    assert_int_equal(e.layer, SBX_LAYER_LOCAL);
    sbx_close(other);
    close(fd);
}

static void handles(void **state)
{
    sbx_op op = sbx_get(c, sbx_s(box.name), NULL, NULL, NULL), none = { 0, 0 }, wild = { 9999, 1 };
    sbx_event ev;
    sbx_error e;

    (void)state;
    OK(op);
    assert_int_equal(sbx_await(c, op), SBX_ERR_HANDLE);
    assert_int_equal(sbx_cancel(c, op), SBX_ERR_HANDLE);
    assert_int_equal(sbx_cancel(c, none), SBX_ERR_HANDLE);
    assert_int_equal(sbx_cancel(c, wild), SBX_ERR_HANDLE);
    assert_int_equal(sbx_await(c, wild), SBX_ERR_HANDLE);
    assert_false(sbx_next_of(c, &op, &ev));
    assert_false(sbx_next_of(c, &wild, &ev));
    /* One refused at once gives one END. */
    op = sbx_get(c, sbx_s(""), NULL, NULL, NULL);
    assert_int_equal(op.slot, 0);
    sbx_error_of(c, op, &e);
    assert_int_equal(e.code, SBX_ERR_ARGUMENT);
    assert_string_equal(e.field, "name");
    assert_string_equal(e.text, "name must not be empty");
    assert_false(sbx_next(c, &ev));
    assert_true(sbx_next_of(c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_END);
    assert_int_equal(ev.code, SBX_ERR_ARGUMENT);
    assert_false(sbx_next_of(c, &op, &ev));
}

static void headers(void **state)
{
    static const struct {
        const char *name, *value;
    } bad[] = { { "a b", "x" }, { "", "x" }, { "X", "a\r\nB: c" }, { "Host", "x" }, { "content-length", "1" }, { "Sec-WebSocket-Key", "x" } };
    sbx_header key = { sbx_s("x-api-key"), sbx_s(getenv("LANGSMITH_API_KEY")) };
    sbx_client *other = e2e_open(&(sbx_client_desc){ .api_key = "wrong", .headers = &key, .headers_n = 1 });
    sbx_header wrong = { sbx_s("X-API-KEY"), sbx_s("wrong again") };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sbx_header h = { sbx_s(bad[i].name), sbx_s(bad[i].value) };

        assert_string_equal(FAILS(sbx_get(c, sbx_s("x"), &(sbx_box_opts){ .call = { .headers = &h, .headers_n = 1 } }, NULL, NULL), SBX_ERR_ARGUMENT).field, "call.headers");
    }
    /* One value of a name is sent: the call's, else the client's. */
    OK_ON(other, sbx_get(other, sbx_s(box.name), NULL, NULL, NULL));
    FAILS_ON(other, sbx_get(other, sbx_s(box.name), &(sbx_box_opts){ .call = { .headers = &wrong, .headers_n = 1 } }, NULL, NULL), SBX_ERR_AUTH);
    OK_ON(other, sbx_run(other, &box, sbx_s("true"), &(sbx_run_opts){ .discard = true }, NULL));
    sbx_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_key),
        cmocka_unit_test(missing_box),
        cmocka_unit_test(no_endpoint),
        cmocka_unit_test(files),
        cmocka_unit_test(repeated),
        cmocka_unit_test(not_repeated),
        cmocka_unit_test(long_text),
        cmocka_unit_test(refused),
        cmocka_unit_test(unanswered),
        cmocka_unit_test(handles),
        cmocka_unit_test(headers),
    };

    return cmocka_run_group_tests(tests, e2e_begin, e2e_end);
}
