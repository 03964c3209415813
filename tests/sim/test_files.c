/* Files: ranges, resumption, changed files, pushed bodies, early refusals. */
#include "kit.h"

static sim_file *put_file(const char *path, size_t n)
{
    sim_file *f = &K.s->files[K.s->file_n++];

    strcpy(f->path, path);
    sim_put(&f->data, sim_pattern(), n);
    f->version = 1;
    return f;
}

static char buffer[100000];

static sbx_code read_file(const sbx_read_opts *more, sbx_read_result *r, sbx_error *e)
{
    sbx_read_opts o = *more;
    sbx_code code;
    sbx_op op;

    if (!o.stream && !o.alloc && !o.out.p) {
        o.out.p = buffer;
        o.out.n = sizeof buffer;
    }
    op = sbx_read(K.c, &K.box, sbx_s("/f"), &o, r);
    code = sbx_await(K.c, op);
    if (e)
        *e = kit_error(op);
    return code;
}

static void test_read(void **state)
{
    static const struct {
        int64_t offset, length;
        uint64_t from, n;
        sbx_code code;
    } cases[] = {
        { 0, 0, 0, 50000, SBX_OK },       { 100, 0, 100, 49900, SBX_OK },  { 100, 200, 100, 200, SBX_OK },
        { 0, 1, 0, 1, SBX_OK },           { -300, 0, 49700, 300, SBX_OK }, { -60000, 0, 0, 50000, SBX_OK },
        { 49999, 0, 49999, 1, SBX_OK },   { 40000, 20000, 40000, 10000, SBX_OK },
        { 50000, 0, 0, 0, SBX_ERR_RANGE }, { 60000, 5, 0, 0, SBX_ERR_RANGE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int ranges = 0; ranges < 2; ranges++) {
            sbx_read_opts o = { 0 };
            sbx_read_result r;
            sbx_code code;

            kit_start(i);
            K.s->knobs.recv_max = 3000;
            put_file("/f", 50000);
            if (!ranges) { /* a server that knows none sends the whole file */
                sim_script e = { 0 };

                e.status = 200;
                e.body = (const char *)sim_pattern();
                e.body_n = 50000;
                sim_expect(K.s, &e);
            }
            o.offset = cases[i].offset;
            o.length = cases[i].length;
            code = read_file(&o, &r, NULL);
            if (ranges || cases[i].code == SBX_OK) {
                ASSERT_CODE(code, cases[i].code);
            } else if (code == SBX_OK) {
                assert_int_equal(r.n, 0);
            }
            if (code == SBX_OK && cases[i].code == SBX_OK) {
                assert_int_equal(r.n, cases[i].n);
                assert_int_equal(r.total, cases[i].n);
                assert_int_equal(r.offset, cases[i].from);
                assert_int_equal(r.size, 50000);
                assert_int_equal(r.stat.size, 50000);
                assert_false(r.cut);
                assert_memory_equal(buffer, sim_pattern() + cases[i].from, r.n);
                if (ranges)
                    assert_string_equal(r.stat.etag, "\"v1\"");
            }
            kit_end();
        }
}

static void test_read_into_little(void **state)
{
    sbx_read_opts o = { 0 };
    sbx_read_result r;
    sbx_file_stat st;
    char small[100];
    sbx_op op;

    (void)state;
    kit_start(1);
    put_file("/f", 5000);
    o.out.p = small;
    o.out.n = sizeof small;
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_OK);
    assert_int_equal(r.n, 100);
    assert_int_equal(r.total, 5000);
    assert_true(r.cut);
    memset(&o, 0, sizeof o);
    o.alloc = true;
    o.max_bytes = 1234;
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_OK);
    assert_int_equal(r.n, 1234);
    assert_true(r.cut);
    assert_int_equal(r.p[1234], 0);
    assert_memory_equal(r.p, sim_pattern(), 1234);
    sbx_free(K.c, r.p);
    ASSERT_CODE(sbx_await(K.c, sbx_stat(K.c, &K.box, sbx_s("/f"), NULL, &st)), SBX_OK);
    assert_int_equal(st.size, 5000);
    assert_string_equal(st.etag, "\"v1\"");
    assert_string_equal(st.content_type, "text/plain");
    assert_int_equal(st.modified_ms, INT64_C(784111777000));
    op = sbx_stat(K.c, &K.box, sbx_s("/none"), NULL, NULL); /* an answer to HEAD has no words */
    ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_NOT_FOUND);
    assert_string_equal(kit_error(op).text, "there is no such file, or the sandbox itself is gone");
    memset(&o, 0, sizeof o);
    o.if_none_match = sbx_s("\"v1\"");
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_OK);
    assert_true(r.not_modified && r.n == 0);
    memset(&o, 0, sizeof o);
    o.if_match_etag = sbx_s("\"v1\"");
    o.offset = 10;
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_OK);
    assert_int_equal(r.n, 4990);
    o.if_match_etag = sbx_s("\"v0\"");
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_ERR_CHANGED);
    kit_end();
}

/* It breaks every 7,000 bytes, six times: it goes on by range and tag. */
static void test_resume(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++)
        for (int stream = 0; stream < 2; stream++) {
            sbx_read_opts o = { 0 };
            sbx_read_result r;
            sim_script e = { 0 };
            char text[64];

            kit_start(1);
            put_file("/f", 50000);
            K.s->knobs.recv_max = 4000;
            if (how == 2) { /* not even begun, six times */
                e.match = "GET /download";
                e.times = 6;
                e.status = 503;
                sim_expect(K.s, &e);
                o.call.max_retries = 10;
            }
            if (stream) {
                uint64_t at = 0;
                sbx_event ev;
                sbx_op op;
                int cuts = 0;

                o.stream = true;
                op = sbx_read(K.c, &K.box, sbx_s("/f"), &o, &r);
                while (sbx_next_of(K.c, &op, &ev))
                    if (ev.kind == SBX_EV_DATA) {
                        assert_int_equal(ev.offset, at);
                        assert_memory_equal(ev.data.p, sim_pattern() + at, ev.data.n);
                        at += ev.data.n;
                        if (how < 2 && cuts < 6 && at > 7000u * (unsigned)(cuts + 1)) {
                            for (uint32_t i = 0; i < K.s->conn_max; i++)
                                if (K.s->conns[i]) {
                                    K.s->conns[i]->out.n = K.s->conns[i]->out_at;
                                    K.s->conns[i]->seg_at = K.s->conns[i]->seg_n;
                                    sim_conn_end(K.s->conns[i], how ? SIM_RST : SIM_EOF, K.s->now);
                                }
                            cuts++;
                        }
                    } else if (ev.kind == SBX_EV_END) {
                        ASSERT_CODE(ev.code, SBX_OK);
                    }
                assert_int_equal(at, 50000);
                assert_int_equal(r.total, 50000);
                if (how < 2) {
                    assert_int_equal(cuts, 6);
                    assert_string_equal(sim_header(kit_request(0), "If-Range", text, sizeof text), "\"v1\"");
                    assert_memory_equal(sim_header(kit_request(0), "Range", text, sizeof text), "bytes=4", 7);
                }
            } else {
                ASSERT_CODE(read_file(&o, &r, NULL), SBX_OK);
                assert_int_equal(r.n, 50000);
                assert_memory_equal(buffer, sim_pattern(), 50000);
            }
            kit_end();
        }
}

/* Another file when it goes on, or one without a tag: no mixture. */
static void test_changed(void **state)
{
    static const char first[] = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 50000\r\n\r\nabcdefghij";
    static const char weak[] = "HTTP/1.1 200 OK\r\nETag: W/\"v1\"\r\nContent-Length: 50000\r\n\r\nabcdefghij";
    sbx_read_opts o = { 0 };
    sbx_read_result r;
    sim_script e = { 0 };

    (void)state;
    kit_start(1);
    put_file("/f", 50000)->version = 2;
    e.raw = first;
    e.end = SIM_RST;
    sim_expect(K.s, &e);
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_ERR_CHANGED);
    assert_int_equal(K.s->request_n, 2);
    kit_end();

    kit_start(1);
    e.raw = weak;
    sim_expect(K.s, &e);
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_ERR_CONNECTION);
    assert_int_equal(K.s->request_n, 1);
    kit_end();

    kit_start(1);
    e.raw = first;
    sim_expect(K.s, &e);
    o.no_resume = true;
    ASSERT_CODE(read_file(&o, &r, NULL), SBX_ERR_CONNECTION);
    kit_end();
}

/* Ranges that were not asked for. */
static void test_wrong_ranges(void **state)
{
    static const char *const heads[] = {
        "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/100\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 P\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 9-5/100\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 P\r\nContent-Range: chars 5-14/100\r\nContent-Length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 99999999999999999999-5/100\r\nContent-Length: 10\r\n\r\n0123456789",
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        sbx_read_opts o = { 0 };
        sbx_read_result r;
        sim_script e = { 0 };
        sbx_code code;

        kit_start(i);
        e.raw = heads[i];
        sim_expect(K.s, &e);
        o.offset = 5;
        o.length = 10;
        code = read_file(&o, &r, NULL);
        if (code != SBX_ERR_CHANGED && code != SBX_ERR_PROTOCOL)
            fail_msg("%s: %s", heads[i], sbx_code_name(code));
        kit_end();
    }
}

/* ---- writing ---- */

static void test_write(void **state)
{
    static const size_t sizes[] = { 0, 1, 2000, 70000 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        sim_script e = { 0 };

        kit_start(i);
        K.s->knobs.send_max = 5000;
        K.s->knobs.block = 200;
        e.status = 502; /* once more, from its first byte */
        sim_expect(K.s, &e);
        ASSERT_CODE(sbx_await(K.c, sbx_write(K.c, &K.box, sbx_s("/a b/\xC3\xA9"), sbx_sn((const char *)sim_pattern(), sizes[i]), NULL)), SBX_OK);
        assert_string_equal(kit_request(0)->target, "/b/one/upload?path=/a%20b/%C3%A9");
        assert_int_equal(K.s->file_n, 1);
        assert_int_equal(K.s->files[0].data.n, sizes[i]);
        if (sizes[i])
            assert_memory_equal(K.s->files[0].data.p, sim_pattern(), sizes[i]);
        kit_end();
    }
}

/* Over a transport that reports what is watched and nothing else: no wake-up
   is lost, and nothing is watched that nobody waits for. */
static void test_watched(void **state)
{
    enum { SIZE = 70000 };
    static char back[SIZE];
    sbx_read_opts o = { 0 };
    sbx_read_result r;

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        kit_new(seed);
        K.d.transport = &sim_level;
        kit_open();
        K.s->knobs.send_max = 5000;
        K.s->knobs.recv_max = 5000;
        K.s->knobs.block = 300;
        K.s->knobs.connect_ms = 20;
        K.s->knobs.delay_ms = 200;
        o.out.p = back;
        o.out.n = SIZE;
        ASSERT_CODE(sbx_await(K.c, sbx_write(K.c, &K.box, sbx_s("/f"), sbx_sn((const char *)sim_pattern(), SIZE), NULL)), SBX_OK);
        ASSERT_CODE(sbx_await(K.c, sbx_read(K.c, &K.box, sbx_s("/f"), &o, &r)), SBX_OK);
        assert_int_equal(r.n, SIZE);
        assert_memory_equal(back, sim_pattern(), SIZE);
        kit_end();
    }
}

/* Refused before the body is through: the answer is read, the rest not sent. */
static void test_refused_early(void **state)
{
    static char big[300000];
    sbx_error err;

    (void)state;
    for (int close = 0; close < 3; close++) {
        sim_script e = { 0 };
        sbx_op op;

        kit_start((uint64_t)close);
        K.s->knobs.send_max = 4000;
        e.status = 413;
        e.body = "{\"error\":\"TooLarge\",\"message\":\"no room\"}";
        e.at_head = true;
        e.stop_reading = close != 2;
        e.close = close == 1;
        sim_expect(K.s, &e);
        op = sbx_write(K.c, &K.box, sbx_s("/f"), sbx_sn(big, sizeof big), NULL);
        ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_SERVER);
        err = kit_error(op);
        assert_int_equal(err.status, 413);
        assert_string_equal(err.text, "no room");
        assert_string_equal(err.type, "TooLarge");
        kit_end();
    }
}

static sbx_code push_all(sbx_op op, size_t total, size_t *rewinds, int cut_at)
{
    sbx_code code = SBX_ERR_STATE;
    size_t at = 0;
    sbx_event ev;

    *rewinds = 0;
    while (sbx_next_of(K.c, &op, &ev)) {
        size_t taken = 1;

        if (ev.kind == SBX_EV_END)
            return ev.code;
        if (ev.kind == SBX_EV_REWIND) {
            ASSERT_CODE(sbx_push(K.c, op, sbx_s("x"), false, &taken), SBX_ERR_STATE);
            ASSERT_CODE(sbx_rewind(K.c, op), SBX_OK);
            ++*rewinds;
            at = 0;
        }
        while (ev.kind == SBX_EV_WRITABLE && taken && at < total) {
            size_t n = total - at < 777 ? total - at : 777;

            code = sbx_push(K.c, op, sbx_sn((const char *)sim_pattern() + at, n), at + n == total, &taken);
            if (code == SBX_ERR_STATE)
                break;
            ASSERT_CODE(code, SBX_OK);
            at += taken;
            if (cut_at && at > (size_t)cut_at && !*rewinds)
                for (uint32_t i = 0; i < K.s->conn_max; i++)
                    if (K.s->conns[i])
                        sim_conn_end(K.s->conns[i], SIM_RST, K.s->now);
        }
    }
    return code;
}

static void test_push(void **state)
{
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++)
        for (int fault = 0; fault < 3; fault++) {
            sbx_write_opts o = { 0 };
            size_t rewinds, total = 20000;
            sbx_op op;

            kit_new((uint64_t)fault);
            K.d.tx_bytes = 1024;
            kit_open();
            K.s->knobs.send_max = 900;
            K.s->knobs.block = 200;
            if (fault == 1) {
                sim_script e = { 0 };

                e.status = 503;
                sim_expect(K.s, &e);
            }
            o.stream = true;
            o.size = chunked ? SBX_NONE : (int64_t)total;
            op = sbx_write(K.c, &K.box, sbx_s("/f"), sbx_sn(NULL, 0), &o);
            assert_int_not_equal(op.slot, 0);
            ASSERT_CODE(push_all(op, total, &rewinds, fault == 2 ? 5000 : 0), SBX_OK);
            assert_int_equal(rewinds, fault ? 1 : 0);
            assert_int_equal(K.s->files[0].data.n, total);
            assert_memory_equal(K.s->files[0].data.p, sim_pattern(), total);
            kit_end();
        }
}

static void test_push_wrong(void **state)
{
    sbx_write_opts o = { 0 };
    sbx_event ev;
    size_t taken;
    sbx_op op;

    (void)state;
    kit_start(1);
    o.stream = true;
    o.size = 10;
    op = sbx_write(K.c, &K.box, sbx_s("/f"), sbx_sn(NULL, 0), &o);
    assert_true(sbx_next_of(K.c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_WRITABLE);
    ASSERT_CODE(sbx_push(K.c, op, sbx_s("01234567890"), false, &taken), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_push(K.c, op, sbx_s("012345678"), true, &taken), SBX_ERR_ARGUMENT);
    ASSERT_CODE(sbx_push(K.c, op, sbx_s("0123456789"), true, &taken), SBX_OK);
    assert_int_equal(taken, 10);
    ASSERT_CODE(sbx_push(K.c, op, sbx_s(""), true, &taken), SBX_ERR_STATE);
    ASSERT_CODE(sbx_rewind(K.c, op), SBX_ERR_STATE);
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    ASSERT_CODE(sbx_push(K.c, op, sbx_s("x"), true, &taken), SBX_ERR_HANDLE);
    assert_memory_equal(K.s->files[0].data.p, "0123456789", 11);
    kit_end();
}

/* ---- searching, and the command over HTTP ---- */

static void test_find(void **state)
{
    sbx_match m[3];
    sbx_find_opts o = { 0 };
    sbx_list_result r;
    sbx_event ev;
    sbx_op op;

    (void)state;
    kit_start(1);
    o.items.p = m;
    o.items.n = sizeof m;
    o.path = sbx_s("/x");
    o.limit = 5;
    ASSERT_CODE(sbx_await(K.c, sbx_glob(K.c, &K.box, sbx_s("*.c"), &o, &r)), SBX_OK);
    assert_string_equal(kit_request(0)->body, "{\"pattern\":\"*.c\",\"path\":\"/x\",\"limit\":5}");
    assert_int_equal(r.count, 2);
    assert_int_equal(r.stored, 2);
    assert_true(r.truncated && !r.cut);
    assert_true(m[0].is_dir && !m[1].is_dir);
    assert_int_equal(m[0].size, -1);
    assert_int_equal(m[1].size, 7);
    assert_int_equal(m[1].modified_ms, 1000);
    op = sbx_grep(K.c, &K.box, sbx_s("needle"), NULL, NULL);
    assert_true(sbx_next_of(K.c, &op, &ev));
    assert_int_equal(ev.kind, SBX_EV_ITEM);
    assert_int_equal(((const sbx_match *)ev.item)->line, 3);
    assert_string_equal(((const sbx_match *)ev.item)->text, "needle");
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    kit_end();
}

static void test_execute(void **state)
{
    sbx_run_opts o = { 0 };
    sbx_result r;
    char out[10];

    (void)state;
    kit_start(1);
    o.via = SBX_VIA_HTTP;
    o.out.p = out;
    o.out.n = 4;
    ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_s("x"), &o, &r)), SBX_OK);
    assert_int_equal(r.exit_code, 4);
    assert_int_equal(r.out_n, 4);
    assert_int_equal(r.out_total, 6);
    assert_true(r.out_cut);
    assert_int_equal(r.err_total, 3);
    assert_memory_equal(out, "out\xC3", 4);
    kit_expect("POST /execute", 408, NULL, "{\"error\":\"CommandTimeout\",\"message\":\"too long\"}");
    ASSERT_CODE(sbx_await(K.c, sbx_run(K.c, &K.box, sbx_s("x"), &o, &r)), SBX_ERR_COMMAND_TIMEOUT);
    kit_end();
}

/* A server that ignores the range breaks off behind it: what was asked for is there. */
static void test_break_behind_the_range(void **state)
{
    (void)state;
    for (unsigned resume = 0; resume < 2; resume++) {
        sbx_read_opts o = { 0 };
        sbx_read_result r;
        char got[9];
        sbx_op op;

        kit_start(8);
        kit_expect(NULL, 200, NULL, "0123456789abcdefghi");
        K.s->scripts[0].cut = (int64_t)strlen("HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n0123456789");
        K.s->scripts[0].end = SIM_RST;
        o.length = 9;
        o.no_resume = !resume;
        o.out.p = got;
        o.out.n = sizeof got;
        op = sbx_read(K.c, &K.box, sbx_s("/f"), &o, &r);
        ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
        assert_int_equal(kit_error(op).layer, 0);
        assert_int_equal(kit_error(op).sys, 0);
        assert_int_equal(r.n, 9);
        assert_memory_equal(got, "012345678", 9);
        kit_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read), cmocka_unit_test(test_read_into_little), cmocka_unit_test(test_resume), cmocka_unit_test(test_changed),
        cmocka_unit_test(test_wrong_ranges), cmocka_unit_test(test_write), cmocka_unit_test(test_watched), cmocka_unit_test(test_refused_early), cmocka_unit_test(test_push),
        cmocka_unit_test(test_push_wrong), cmocka_unit_test(test_break_behind_the_range), cmocka_unit_test(test_find), cmocka_unit_test(test_execute),
    };

    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
