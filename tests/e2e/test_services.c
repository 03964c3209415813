/* Services in a sandbox, asked by their URLs. */
#include "e2e.h"

/* Says what it was asked; /slow answers in pieces with silence between, /end
   without a length, /teapot with that status. */
static const char server[] =
    "import http.server, sys, time\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version = 'HTTP/1.1'\n"
    "    def answer(self):\n"
    "        h = self.headers\n"
    "        if h.get('Transfer-Encoding') == 'chunked':\n"
    "            body = b''\n"
    "            while True:\n"
    "                n = int(self.rfile.readline(), 16)\n"
    "                body += self.rfile.read(n)\n"
    "                self.rfile.readline()\n"
    "                if not n: break\n"
    "        else:\n"
    "            body = self.rfile.read(int(h.get('Content-Length', 0)))\n"
    "        out = ('%s %s key=%s mine=%s type=%s %d %d\\n' % (self.command, self.path, h.get('X-Api-Key'), h.get('X-Mine'), h.get('Content-Type'), len(body), sum(body))).encode()\n"
    "        self.send_response(418 if self.path == '/teapot' else 200)\n"
    "        self.send_header('X-Service', 'yes')\n"
    "        if self.path == '/slow':\n"
    "            self.send_header('Transfer-Encoding', 'chunked')\n"
    "            self.end_headers()\n"
    "            for i in range(3):\n"
    "                time.sleep(0.2)\n"
    "                self.wfile.write(b'8\\r\\ndata: %d\\n\\r\\n' % i)\n"
    "                self.wfile.flush()\n"
    "            self.wfile.write(b'0\\r\\n\\r\\n')\n"
    "            return\n"
    "        if self.path == '/end':\n"
    "            self.send_header('Connection', 'close')\n"
    "            self.close_connection = True\n"
    "        else:\n"
    "            self.send_header('Content-Length', str(len(out)))\n"
    "        self.end_headers()\n"
    "        if self.command != 'HEAD': self.wfile.write(out)\n"
    "    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_ODD = answer\n"
    "    def log_message(self, *a): pass\n"
    "s = http.server.ThreadingHTTPServer(('0.0.0.0', int(sys.argv[1])), H)\n"
    "print('listening', flush=True)\n"
    "s.serve_forever()\n";

static sbx_service service;
static sbx_op serving;
static char buffer[200000], head[1000];

static void serve(void)
{
    sbx_event ev;

    OK(sbx_write(c, &box, sbx_s("server.py"), sbx_s(server), NULL));
    serving = sbx_command(c, &box, sbx_s("exec python3 server.py 8123"), &(sbx_run_opts){ .timeout_s = SBX_NONE });
    while (sbx_next_of(c, &serving, &ev) && ev.kind != SBX_EV_STDOUT)
        assert_int_not_equal(ev.kind, SBX_EV_END);
}

static sbx_response ask(const char *method, const char *path, sbx_request_opts o)
{
    sbx_response r;

    memset(&r, 0xA5, sizeof r);
    if (!o.discard) {
        o.out.p = buffer;
        o.out.n = sizeof buffer - 1;
    }
    o.head.p = head;
    o.head.n = sizeof head;
    OK(sbx_request(c, &service, sbx_s(method), sbx_s(path), &o, &r));
    buffer[r.n] = 0;
    return r;
}

static void requests(void **state)
{
    sbx_header mine = { { "X-Mine", 6 }, { "1", 1 } };
    sbx_response r;
    sbx_str value;
    char *big = malloc(3000000), want[200];
    unsigned sum = 0;

    (void)state;
    OK(sbx_service_open(c, &box, 8123, &(sbx_service_opts){ .expires_in_s = 300 }, &service));
    assert_true(service.token[0] && service.url[0] && service.browser_url[0] && service.expires_ms > INT64_C(1500000000000));
    r = ask("GET", "/a%20b?x=1&y=/", (sbx_request_opts){ .call = { .headers = &mine, .headers_n = 1 } });
    assert_int_equal(r.status, 200);
    assert_string_equal(buffer, "GET /a%20b?x=1&y=/ key=None mine=1 type=None 0 0\n");
    assert_int_equal(r.size, r.n);
    assert_true(sbx_head_find(sbx_sn(head, r.head_n), sbx_s("x-service"), &value));
    assert_memory_equal(value.p, "yes", 3);
    assert_int_equal(ask("GET", "/teapot", (sbx_request_opts){ 0 }).status, 418);
    r = ask("GET", "/end", (sbx_request_opts){ 0 });
    assert_string_equal(buffer, "GET /end key=None mine=None type=None 0 0\n");
    r = ask("HEAD", "/", (sbx_request_opts){ 0 });
    assert_int_equal(r.n, 0);
    ask("ODD", "/", (sbx_request_opts){ .body = sbx_s("\1\2\3"), .content_type = sbx_s("a/b") });
    assert_string_equal(buffer, "ODD / key=None mine=None type=a/b 3 6\n");
    e2e_noise(big, 3000000, 9);
    for (size_t i = 0; i < 3000000; i++)
        sum += (unsigned char)big[i];
    ask("PUT", "/big", (sbx_request_opts){ .body = sbx_sn(big, 3000000) });
    snprintf(want, sizeof want, "PUT /big key=None mine=None type=None 3000000 %u\n", sum);
    assert_string_equal(buffer, want);
    free(big);
}

static void pushed(void **state)
{
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        sbx_request_opts o = { .push = true, .size = chunked ? SBX_NONE : 100000, .out = { buffer, sizeof buffer } };
        size_t at = 0, taken;
        sbx_response r;
        sbx_event ev;
        char piece[1000];
        sbx_op op = sbx_request(c, &service, sbx_s("POST"), sbx_s("/up"), &o, &r);

        memset(piece, 1, sizeof piece);
        while (sbx_next_of(c, &op, &ev) && ev.kind != SBX_EV_END)
            for (taken = sizeof piece; ev.kind == SBX_EV_WRITABLE && taken && at < 100000; at += taken)
                assert_int_equal(sbx_push(c, op, sbx_sn(piece, sizeof piece - at % sizeof piece), at / sizeof piece == 99, &taken), SBX_OK);
        assert_int_equal(ev.code, SBX_OK);
        buffer[r.n] = 0;
        assert_string_equal(buffer, "POST /up key=None mine=None type=None 100000 100000\n");
    }
}

static void streamed(void **state)
{
    sbx_request_opts o = { .stream = true, .head = { head, sizeof head }, .silence_ms = 60000 };
    unsigned heads = 0, n = 0;
    char got[64];
    sbx_response r;
    sbx_event ev;
    sbx_op op;

    (void)state;
    op = sbx_request(c, &service, sbx_s("GET"), sbx_s("/slow"), &o, &r);
    while (sbx_next_of(c, &op, &ev) && ev.kind != SBX_EV_END) {
        if (ev.kind == SBX_EV_HEAD) {
            assert_int_equal(ev.status, 200);
            heads++;
        } else if (ev.kind == SBX_EV_DATA) {
            assert_true(heads == 1 && n + ev.data.n < sizeof got);
            memcpy(got + n, ev.data.p, ev.data.n);
            n += (unsigned)ev.data.n;
        }
    }
    assert_int_equal(ev.code, SBX_OK);
    assert_int_equal(n, 24);
    assert_memory_equal(got, "data: 0\ndata: 1\ndata: 2\n", 24);
    assert_int_equal(r.total, 24);
}

/* Refused by the edge, or about to end: the next request brings a new token. */
static void token(void **state)
{
    char old[sizeof service.token];

    (void)state;
    strcpy(service.token, "not a token");
    assert_int_equal(ask("POST", "/", (sbx_request_opts){ 0 }).status, 401);
    assert_string_equal(service.token, "not a token");
    assert_int_equal(ask("GET", "/", (sbx_request_opts){ 0 }).status, 200);
    assert_string_not_equal(service.token, "not a token");
    strcpy(old, service.token);
    assert_int_equal(ask("GET", "/", (sbx_request_opts){ 0 }).status, 200);
    assert_string_equal(service.token, old);
    strcpy(service.token, "an old one");
    service.expires_ms = 1;
    assert_int_equal(ask("POST", "/", (sbx_request_opts){ 0 }).status, 200);
    assert_true(service.expires_ms > INT64_C(1500000000000));
}

static void sharing(void **state)
{
    sbx_shared_port ports[8];
    sbx_list_opts o = { .items = { ports, sizeof ports }, .page_size = 1 };
    sbx_service login, second;
    sbx_list_result r;
    sbx_error e;

    (void)state;
    OK(sbx_service_open(c, &box, 8124, NULL, &second));
    OK(sbx_service_list(c, &box, &o, &r));
    assert_int_equal(r.stored, 2);
    assert_int_equal(ports[0].port + ports[1].port, 8123 + 8124);
    assert_int_equal(ports[0].access, SBX_ACCESS_TOKEN);
    e = FAILS(sbx_service_open(c, &box, 8123, &(sbx_service_opts){ .access = SBX_ACCESS_WORKSPACE }, &login), SBX_ERR_CONFLICT);
    assert_non_null(strstr(e.text, "sbx_service_close"));
    OK(sbx_service_close(c, &box, 8123, NULL));
    OK(sbx_service_open(c, &box, 8123, &(sbx_service_opts){ .access = SBX_ACCESS_WORKSPACE }, &login));
    assert_true(login.browser_url[0] && !login.token[0] && !login.expires_ms);
    FAILS(sbx_request(c, &login, sbx_s("GET"), sbx_s("/"), &(sbx_request_opts){ .discard = true }, NULL), SBX_ERR_ARGUMENT);
    FAILS(sbx_service_open(c, &box, 8123, NULL, &second), SBX_ERR_CONFLICT);
    OK(sbx_service_list(c, &box, &o, &r));
    assert_int_equal(r.stored, 2);
    assert_true(ports[0].access == SBX_ACCESS_WORKSPACE || ports[1].access == SBX_ACCESS_WORKSPACE);
    OK(sbx_service_close(c, &box, 0, NULL));
    OK(sbx_service_list(c, &box, &o, &r));
    assert_int_equal(r.count, 0);
    sbx_kill(c, serving);
    OK(serving);
    OK(sbx_service_open(c, &box, 8123, NULL, &service));
    assert_int_equal(ask("GET", "/", (sbx_request_opts){ .discard = true }).status, 502); /* nobody listens */
}

static int begin(void **state)
{
    if (e2e_begin(state))
        return -1;
    serve();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests), cmocka_unit_test(pushed), cmocka_unit_test(streamed), cmocka_unit_test(token),
        cmocka_unit_test(sharing),
    };

    return cmocka_run_group_tests(tests, begin, e2e_end);
}
