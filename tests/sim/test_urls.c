/* URLs that the service hands out: shared ports, links to files, fetching. */
#include "kit.h"

static sbx_service service;
static sbx_download link_out;

#define SERVICE "POST /boxes/one/service-url"
#define LINK "POST /boxes/one/download-url"
#define TOKEN_ANSWER "{\"browser_url\":\"http://s.test/auth?t=j\",\"service_url\":\"http://s.test/p\",\"token\":\"tok-1\",\"expires_at\":\"2026-01-02T03:04:05Z\"}"

/* ---- services ---- */

static void test_open_token(void **state)
{
    sbx_service_opts o = { 0 };
    char raw[20];
    size_t raw_n;

    (void)state;
    kit_start(1);
    strcpy(K.box.id, "id-1");
    kit_expect(SERVICE, 200, "Date: Fri, 02 Jan 2026 02:54:05 GMT\r\n", TOKEN_ANSWER);
    o.expires_in_s = 600;
    o.raw.p = raw;
    o.raw.n = sizeof raw;
    o.raw_n = &raw_n;
    K.s->knobs.recv_max = 1;
    ASSERT_CODE(sbx_await(K.c, sbx_service_open(K.c, &K.box, 8080, &o, &service)), SBX_OK);
    assert_string_equal(kit_request(0)->body, "{\"port\":8080,\"expires_in_seconds\":600}");
    assert_string_equal(service.box, "id-1");
    assert_string_equal(service.url, "http://s.test/p");
    assert_string_equal(service.browser_url, "http://s.test/auth?t=j");
    assert_string_equal(service.token, "tok-1");
    assert_int_equal(service.port, 8080);
    assert_int_equal(service.access, SBX_ACCESS_TOKEN);
    assert_int_equal(service.expires_in_s, 600);
    assert_int_equal(service.expires_ms, INT64_C(1767323045000));
    /* By the service's clock it lives 600 s from then on. */
    assert_int_equal(service.expires_ms - (K.s->wall0 + K.s->now + service.clock_ms), 600000);
    assert_int_equal(raw_n, strlen(TOKEN_ANSWER));
    assert_memory_equal(raw, TOKEN_ANSWER, sizeof raw);
    kit_end();
}

static void test_open_login(void **state)
{
    sbx_service_opts o = { 0 };

    (void)state;
    kit_start(2);
    for (int workspace = 0; workspace < 2; workspace++) {
        kit_expect(SERVICE, 200, NULL, workspace ? "{\"service_url\":\"https://id--3000.host/\",\"access\":\"workspace\"}"
                                                 : "{\"browser_url\":\"https://id--3000.host/\",\"token\":null,\"expires_at\":null,\"access\":\"restricted\"}");
        o.access = workspace ? SBX_ACCESS_WORKSPACE : SBX_ACCESS_RESTRICTED;
        memset(&service, 'x', sizeof service);
        ASSERT_CODE(sbx_await(K.c, sbx_service_open(K.c, &K.box, 3000, &o, &service)), SBX_OK);
        assert_string_equal(kit_request(0)->body, workspace ? "{\"port\":3000,\"access\":\"workspace\"}" : "{\"port\":3000,\"access\":\"restricted\"}");
        assert_string_equal(service.box, "one");
        assert_string_equal(service.browser_url, "https://id--3000.host/");
        assert_string_equal(service.token, "");
        assert_int_equal(service.expires_ms, 0);
        assert_int_equal(service.access, o.access);
    }
    kit_end();
}

static void test_open_fails(void **state)
{
    static const struct {
        int status;
        const char *body;
        sbx_code code;
    } cases[] = {
        { 200, "{}", SBX_ERR_PROTOCOL },
        { 200, "", SBX_ERR_PROTOCOL },
        { 200, "{\"service_url\":\"http://s.test\",\"token\":\"\"}", SBX_ERR_PROTOCOL },
        { 200, "{\"token\":\"t\",\"browser_url\":\"http://s.test\"}", SBX_ERR_PROTOCOL },
        { 200, "{\"service_url\":", SBX_ERR_PROTOCOL },
        { 404, "{\"detail\":\"no such sandbox\"}", SBX_ERR_NOT_FOUND },
        { 400, "{\"detail\":{\"error\":\"NotReady\",\"message\":\"starting\"}}", SBX_ERR_NOT_READY },
        { 401, "", SBX_ERR_AUTH },
    };
    sbx_service before;
    sbx_op op;

    (void)state;
    kit_start(3);
    memset(&service, 'x', sizeof service);
    before = service;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kit_expect(SERVICE, cases[i].status, NULL, cases[i].body);
        ASSERT_CODE(sbx_await(K.c, sbx_service_open(K.c, &K.box, 80, NULL, &service)), cases[i].code);
        assert_memory_equal(&service, &before, sizeof service);
    }
    kit_expect(SERVICE, 409, NULL, "{\"detail\":{\"error\":\"Conflict\",\"message\":\"a login grant exists\"}}");
    op = sbx_service_open(K.c, &K.box, 80, NULL, &service);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_CONFLICT);
    assert_string_equal(kit_error(op).text, "the port is shared in the other mode (token or login): sbx_service_close ends that. a login grant exists");
    assert_memory_equal(&service, &before, sizeof service);
    kit_end();
}

static char *answer_of(size_t link_n, size_t token_n)
{
    static char text[8000];
    size_t n = (size_t)sprintf(text, "{\"service_url\":\"http://s.test\",\"browser_url\":\"");

    memset(text + n, 'b', link_n);
    n += link_n;
    n += (size_t)sprintf(text + n, "\",\"token\":\"");
    memset(text + n, 't', token_n);
    n += token_n;
    strcpy(text + n, "\"}");
    return text;
}

/* Both long texts are whole, or the call says what to raise. */
static void test_long(void **state)
{
    static const struct {
        size_t link_n, token_n;
        uint32_t request_bytes;
        sbx_code code;
    } cases[] = {
        { 2559, 2047, 6000, SBX_OK },          { 2560, 2047, 6000, SBX_ERR_TOO_LARGE },
        { 2559, 2048, 6000, SBX_ERR_TOO_LARGE }, { 1900, 1900, 4096, SBX_OK },
        { 100, 300, 256, SBX_ERR_TOO_LARGE },      { 40, 60, 256, SBX_OK },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kit_new(i);
        K.d.request_bytes = cases[i].request_bytes;
        K.d.rx_bytes = 512;
        kit_open();
        K.s->knobs.recv_max = 300;
        kit_expect(SERVICE, 200, NULL, answer_of(cases[i].link_n, cases[i].token_n));
        ASSERT_CODE(sbx_await(K.c, sbx_service_open(K.c, &K.box, 80, NULL, &service)), cases[i].code);
        if (cases[i].code == SBX_OK) {
            assert_int_equal(strlen(service.browser_url), cases[i].link_n);
            assert_int_equal(strspn(service.token, "t"), cases[i].token_n);
            assert_int_equal(service.token[cases[i].token_n], 0);
        }
        kit_end();
    }
}

static void test_ports(void **state)
{
    static const char *const pages[] = {
        "{\"items\":[{\"port\":80,\"access\":\"token\",\"created_at\":\"1970-01-01T00:00:01Z\",\"expires_at\":\"1970-01-01T00:00:02Z\",\"created_by\":\"me\"}],\"next_cursor\":\"c 2\"}",
        "{\"service_urls\":[{\"port\":3000,\"access\":\"workspace\",\"embed_origins\":[{\"port\":9}]},{\"port\":1,\"access\":\"newest\"}],\"next_cursor\":null}",
    };
    sbx_list_opts o = { 0 };
    sbx_list_result r;
    sbx_shared_port ports[4];
    sbx_op op;

    (void)state;
    kit_start(1);
    for (int i = 0; i < 2; i++)
        kit_expect("GET /boxes/one/service-urls", 200, NULL, pages[i]);
    K.s->knobs.recv_max = 1;
    o.items.p = ports;
    o.items.n = sizeof ports;
    o.page_size = 1;
    ASSERT_CODE(sbx_await(K.c, sbx_service_list(K.c, &K.box, &o, &r)), SBX_OK);
    assert_string_equal(kit_request(1)->target, "/v2/sandboxes/boxes/one/service-urls?page_size=1");
    assert_string_equal(kit_request(0)->target, "/v2/sandboxes/boxes/one/service-urls?page_size=1&cursor=c%202");
    assert_int_equal(r.stored, 3);
    assert_int_equal(ports[0].port, 80);
    assert_int_equal(ports[0].access, SBX_ACCESS_TOKEN);
    assert_int_equal(ports[0].created_ms, 1000);
    assert_int_equal(ports[0].expires_ms, 2000);
    assert_string_equal(ports[0].created_by, "me");
    assert_int_equal(ports[1].port, 3000);
    assert_int_equal(ports[1].access, SBX_ACCESS_WORKSPACE);
    assert_int_equal(ports[1].expires_ms, 0);
    assert_int_equal(ports[2].access, SBX_ACCESS_UNKNOWN);
    assert_string_equal(ports[2].access_text, "newest");
    op = sbx_service_list(K.c, NULL, NULL, NULL);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_ARGUMENT);

    kit_expect("DELETE /boxes/one/service-urls", 204, NULL, "");
    ASSERT_CODE(sbx_await(K.c, sbx_service_close(K.c, &K.box, 80, NULL)), SBX_OK);
    assert_string_equal(kit_request(0)->target, "/v2/sandboxes/boxes/one/service-urls?port=80");
    kit_expect("DELETE /boxes/one/service-urls", 502, NULL, "");
    kit_expect("DELETE /boxes/one/service-urls", 404, NULL, "");
    ASSERT_CODE(sbx_await(K.c, sbx_service_close(K.c, &K.box, 0, NULL)), SBX_OK);
    assert_string_equal(kit_request(0)->target, "/v2/sandboxes/boxes/one/service-urls");
    kit_expect("DELETE /boxes/one/service-urls", 404, NULL, "{\"detail\":\"Not Found\"}");
    ASSERT_CODE(sbx_await(K.c, sbx_service_close(K.c, &K.box, 80, NULL)), SBX_ERR_NO_ENDPOINT);
    kit_end();
}

/* ---- links ---- */

static void test_link(void **state)
{
    sbx_download_opts o = { 0 };
    sbx_op op;

    (void)state;
    kit_start(4);
    kit_expect(LINK, 200, NULL, "{\"download_url\":\"http://dl.test/d/tok?x=1\",\"token\":\"tok\",\"expires_at\":null}");
    ASSERT_CODE(sbx_await(K.c, sbx_download_url(K.c, &K.box, sbx_s("/tmp/a \"b\""), NULL, &link_out)), SBX_OK);
    assert_string_equal(kit_request(0)->body, "{\"path\":\"/tmp/a \\\"b\\\"\"}");
    assert_string_equal(link_out.url, "http://dl.test/d/tok?x=1");
    assert_string_equal(link_out.token, "tok");
    assert_int_equal(link_out.expires_ms, 0);
    kit_expect(LINK, 200, NULL, "{\"download_url\":\"http://dl.test/d\",\"expires_at\":\"1970-01-01T00:00:09Z\"}");
    o.expires_in_s = 90;
    o.content_type = sbx_s("text/html");
    o.disposition = SBX_DISPOSITION_INLINE;
    ASSERT_CODE(sbx_await(K.c, sbx_download_url(K.c, &K.box, sbx_s("x"), &o, &link_out)), SBX_OK);
    assert_string_equal(kit_request(0)->body, "{\"path\":\"x\",\"expires_in_seconds\":90,\"content_type\":\"text/html\",\"content_disposition\":\"inline\"}");
    assert_int_equal(link_out.expires_ms, 9000);
    assert_string_equal(link_out.token, "");
    kit_expect(LINK, 200, NULL, "{\"token\":\"t\"}");
    op = sbx_download_url(K.c, &K.box, sbx_s("x"), &o, &link_out);
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_PROTOCOL);
    assert_string_equal(kit_error(op).operation, "download_url");
    assert_string_equal(link_out.url, "http://dl.test/d");
    kit_end();
}

static sbx_op refused(unsigned i, const char **field)
{
    static sbx_service_opts s;
    static sbx_download_opts d;
    static sbx_read_opts r;
    static sbx_box_opts b;

    memset(&s, 0, sizeof s);
    memset(&d, 0, sizeof d);
    memset(&r, 0, sizeof r);
    memset(&b, 0, sizeof b);
    r.stream = true;
#define OPEN(port) sbx_service_open(K.c, &K.box, port, &s, &service)
#define LINK_TO(path) sbx_download_url(K.c, &K.box, sbx_s(path), &d, &link_out)
#define FETCH(url) sbx_fetch(K.c, sbx_s(url), &r, NULL)
    switch (i) {
    case 0: *field = "port"; return OPEN(0);
    case 1: *field = "port"; return OPEN(65536);
    case 2: *field = "access"; s.access = SBX_ACCESS_UNKNOWN; return OPEN(1);
    case 3: *field = "expires_in_s"; s.expires_in_s = 86401; return OPEN(1);
    case 4: *field = "expires_in_s"; s.expires_in_s = -1; return OPEN(1);
    case 5: *field = "expires_in_s"; s.expires_in_s = 1; s.access = SBX_ACCESS_WORKSPACE; return OPEN(1);
    case 6: *field = "out"; return sbx_service_open(K.c, &K.box, 1, &s, NULL);
    case 7: *field = "box"; return sbx_service_open(K.c, NULL, 1, &s, &service);
    case 8: *field = "path"; return LINK_TO("");
    case 9: *field = "path"; return LINK_TO("a\xff");
    case 10: *field = "expires_in_s"; d.expires_in_s = -1; return LINK_TO("x");
    case 11: *field = "content_type"; d.content_type = sbx_s(""); return LINK_TO("x");
    case 12: *field = "disposition"; d.disposition = (sbx_disposition)3; return LINK_TO("x");
    case 13: *field = "out"; return sbx_download_url(K.c, &K.box, sbx_s("x"), &d, NULL);
    case 14: *field = "url"; return FETCH("");
    case 15: *field = "url"; return sbx_fetch(K.c, sbx_sn(NULL, 0), &r, NULL);
    case 16: *field = "url"; return FETCH("/f");
    case 17: *field = "url"; return FETCH("ftp://h/f");
    case 18: *field = "url"; return FETCH("http://u:p@h/f");
    case 19: *field = "url"; return FETCH("http:///f");
    case 20: *field = "url"; return FETCH("http://h/a b");
    case 21: *field = "url"; return FETCH("http://h/\xc3\xa9");
    case 22: *field = "url"; return FETCH("http://h/a\r\nX: y");
    case 23: *field = "call.api_key"; r.call.api_key = sbx_s("k"); return FETCH("http://h/");
    case 24: *field = "length"; r.length = -1; return FETCH("http://h/");
    case 25: *field = "url"; return sbx_fetch_stat(K.c, sbx_s("h"), &b, NULL);
    case 26: *field = "call.api_key"; b.call.api_key = sbx_s("k"); return sbx_fetch_stat(K.c, sbx_s("http://h/"), &b, NULL);
    case 27: *field = "url"; return FETCH("http:?//h/");
    case 28: *field = "url"; return FETCH("http://h:0/");
    case 29: *field = "port"; return sbx_service_close(K.c, &K.box, -1, &b);
    case 30: *field = "port"; return sbx_service_close(K.c, &K.box, 65536, &b);
    case 31: *field = "box"; return sbx_service_close(K.c, NULL, 1, &b);
    case 32: *field = "box.name"; return sbx_service_list(K.c, NULL, NULL, NULL);
    case 33: *field = "path"; return sbx_download_url(K.c, &K.box, sbx_sn("/a\0b", 4), &d, &link_out);
    case 34: *field = "content_type"; d.content_type = sbx_sn("a\0", 2); return LINK_TO("x");
    default: return (sbx_op){ 0, 0 };
    }
}

static void test_refused(void **state)
{
    (void)state;
    kit_start(5);
    for (unsigned i = 0;; i++) {
        const char *field = NULL;
        sbx_op op = refused(i, &field);

        if (!field)
            break;
        assert_int_equal(op.slot, 0);
        if (kit_error(op).code != SBX_ERR_ARGUMENT || strcmp(kit_error(op).field, field) != 0)
            fail_msg("%u: %s %s instead of %s", i, sbx_code_name(kit_error(op).code), kit_error(op).field, field);
    }
    assert_int_equal(K.s->request_n, 0);
    kit_end();
}

/* ---- fetching ---- */

static char buffer[60000];

/* The world's file server takes all behind path= for the name. */
static void put_file(size_t n)
{
    sim_file *f = &K.s->files[K.s->file_n++];

    strcpy(f->path, "/f&token=s%20e");
    sim_put(&f->data, sim_pattern(), n);
    f->version = 1;
}

#define URL "http://dl.test:8443/b/one/download?path=/f&token=s%20e"

static sbx_code fetch(const char *url, sbx_read_opts *o, sbx_read_result *r)
{
    if (!o->stream && !o->alloc) {
        o->out.p = buffer;
        o->out.n = sizeof buffer;
    }
    return sbx_await(K.c, sbx_fetch(K.c, sbx_s(url), o, r));
}

static void test_fetch(void **state)
{
    static const struct {
        const char *url, *target, *host;
    } cases[] = {
        { URL, "/b/one/download?path=/f&token=s%20e", "dl.test:8443" },
        { "http://dl.test/b/one/download?path=/f&token=s%20e#frag?x", "/b/one/download?path=/f&token=s%20e", "dl.test" },
        { "HTTP://dl.test", "/", "dl.test" },
        { "http://dl.test?a=/b", "/?a=/b", "dl.test" },
        { "http://[::1]:81/a/b//?", "/a/b//?", "[::1]:81" },
        { "http://dl.test/user@host/", "/user@host/", "dl.test" },
    };
    sbx_header mine = { { "X-Mine", 6 }, { "yes", 3 } }, own = { { "X-Team", 6 }, { "secret", 6 } };
    char text[100];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sbx_read_opts o = { 0 };
        sbx_read_result r;
        sbx_file_stat st;

        kit_new(i);
        K.d.headers = &own;
        K.d.headers_n = 1;
        K.d.tenant_id = "tenant";
        kit_open();
        put_file(50000);
        if (i > 1)
            kit_expect("GET /", 200, NULL, "bytes");
        o.call.headers = &mine;
        o.call.headers_n = 1;
        ASSERT_CODE(fetch(cases[i].url, &o, &r), SBX_OK);
        assert_string_equal(kit_request(0)->target, cases[i].target);
        assert_string_equal(sim_header(kit_request(0), "Host", text, sizeof text), cases[i].host);
        assert_string_equal(sim_header(kit_request(0), "X-Mine", text, sizeof text), "yes");
        assert_null(sim_header(kit_request(0), "X-Api-Key", text, sizeof text));
        assert_null(sim_header(kit_request(0), "X-Team", text, sizeof text));
        assert_null(sim_header(kit_request(0), "X-Tenant-Id", text, sizeof text));
        assert_int_equal(r.n, i > 1 ? 5 : 50000);
        if (i <= 1) {
            assert_memory_equal(buffer, sim_pattern(), 50000);
            ASSERT_CODE(sbx_await(K.c, sbx_fetch_stat(K.c, sbx_s(cases[i].url), NULL, &st)), SBX_OK);
            assert_int_equal(st.size, 50000);
            assert_string_equal(st.etag, "\"v1\"");
            assert_null(sim_header(kit_request(0), "X-Api-Key", text, sizeof text));
            o.offset = -300;
            ASSERT_CODE(fetch(cases[i].url, &o, &r), SBX_OK);
            assert_int_equal(r.offset, 49700);
            assert_memory_equal(buffer, sim_pattern() + 49700, 300);
        }
        kit_end();
    }
}

static void test_fetch_resumes(void **state)
{
    (void)state;
    for (int end = SIM_EOF; end <= SIM_RST; end++)
        for (int same = 0; same < 2; same++) {
            sbx_read_opts o = { 0 };
            sbx_read_result r;
            sim_script e = { 0 };
            char text[40], raw[2000];

            kit_start((uint64_t)end);
                put_file(50000);
            K.s->files[0].version = same ? 1 : 2;
            e.raw_n = (size_t)sprintf(raw, "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 50000\r\n\r\n");
            memcpy(raw + e.raw_n, sim_pattern(), 1000);
            e.raw = raw;
            e.raw_n += 1000;
            e.end = (sim_end)end;
            sim_expect(K.s, &e);
            ASSERT_CODE(fetch(URL, &o, &r), same ? SBX_OK : SBX_ERR_CHANGED);
            assert_string_equal(sim_header(kit_request(0), "Range", text, sizeof text), "bytes=1000-");
            assert_string_equal(sim_header(kit_request(0), "If-Range", text, sizeof text), "\"v1\"");
            assert_null(sim_header(kit_request(0), "X-Api-Key", text, sizeof text));
            if (same) {
                assert_int_equal(r.n, 50000);
                assert_memory_equal(buffer, sim_pattern(), 50000);
            }
            kit_end();
        }
}

static void test_fetch_fails(void **state)
{
    static const struct {
        int status;
        const char *body;
        sbx_code code;
        const char *text;
    } cases[] = {
        { 401, "", SBX_ERR_PERMISSION, "the link has expired" },
        { 403, "{\"detail\":\"link expired\"}", SBX_ERR_PERMISSION, "link expired" },
        { 404, "", SBX_ERR_NOT_FOUND, "there is no such file" },
        { 410, "", SBX_ERR_PERMISSION, "the link has expired" },
        { 302, "", SBX_ERR_UNSUPPORTED, "redirects" },
        { 308, "", SBX_ERR_UNSUPPORTED, "redirects" },
        { 500, "", SBX_ERR_SERVER, "" },
    };

    (void)state;
    kit_start(6);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sbx_read_opts o = { 0 };
        sbx_read_result r;
        sbx_op op;

        kit_expect("GET /b", cases[i].status, "Location: http://other/?secret\r\n", cases[i].body);
        o.stream = true;
        op = sbx_fetch(K.c, sbx_s(URL), &o, &r);
        ASSERT_CODE(sbx_await(K.c, op), cases[i].code);
        assert_non_null(strstr(kit_error(op).text, cases[i].text));
        assert_null(strstr(kit_error(op).text, "secret"));
        assert_int_equal(kit_error(op).status, cases[i].status);
        assert_string_equal(kit_error(op).operation, "fetch");
    }
    kit_end();
}

static char traced[4000];

static void on_trace(void *user, const sbx_trace *t)
{
    (void)user;
    snprintf(traced + strlen(traced), sizeof traced - strlen(traced), "%d %.*s\n", (int)t->kind, (int)t->text.n, t->text.p);
}

/* What is secret in a URL is not traced, nor sent where it can be read. */
static void test_secrets(void **state)
{
    sbx_read_opts o = { 0 };
    sbx_op op;

    (void)state;
    kit_new(7);
    K.d.trace = on_trace;
    kit_open();
    traced[0] = 0;
    put_file(10);
    o.stream = true;
    ASSERT_CODE(sbx_await(K.c, sbx_fetch(K.c, sbx_s(URL), &o, NULL)), SBX_OK);
    assert_non_null(strstr(traced, "dl.test"));
    assert_null(strstr(traced, "token"));
    assert_null(strstr(traced, "one"));
    kit_end();

    for (int allow = 0; allow < 2; allow++) {
        kit_new(8);
        K.d.endpoint = "https://api.test/v2/sandboxes";
        K.d.allow_http_boxes = allow;
        kit_open();
        put_file(10);
        op = sbx_fetch(K.c, sbx_s(URL), &o, NULL);
        ASSERT_CODE(sbx_await(K.c, op), allow ? SBX_OK : SBX_ERR_ARGUMENT);
        if (!allow)
            assert_string_equal(kit_error(op).field, "url");
        kit_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_token), cmocka_unit_test(test_open_login), cmocka_unit_test(test_open_fails), cmocka_unit_test(test_long),
        cmocka_unit_test(test_ports), cmocka_unit_test(test_link), cmocka_unit_test(test_refused), cmocka_unit_test(test_fetch), cmocka_unit_test(test_fetch_resumes),
        cmocka_unit_test(test_fetch_fails), cmocka_unit_test(test_secrets),
    };

    return cmocka_run_group_tests_name("urls", tests, NULL, NULL);
}
