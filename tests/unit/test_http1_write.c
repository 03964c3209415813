/* parts: http1 http1_write */
/* The request writer; the reader's tests are in test_http1.c. */
#include "vectors.h"
#include "http1.h"

static void write_all(sbx_http1w *w, char *buf, size_t cap)
{
    sbx_http1w_request(w, buf, cap, sbx_s("POST"), sbx_s("/v2/boxes?x=%20y"), sbx_s("api.example.com:8443"));
    sbx_http1w_header(w, sbx_s("X-Api-Key"), sbx_s("k e\ty"));
    sbx_http1w_header(w, sbx_s("Empty"), sbx_s(NULL));
    sbx_http1w_header_u64(w, sbx_s("Content-Length"), UINT64_MAX);
    sbx_http1w_header_u64(w, sbx_s("Zero"), 0);
    sbx_http1w_end(w);
}

static void test_writer(void **state)
{
    static const char want[] = "POST /v2/boxes?x=%20y HTTP/1.1\r\nHost: api.example.com:8443\r\nX-Api-Key: k e\ty\r\n"
                               "Empty: \r\nContent-Length: 18446744073709551615\r\nZero: 0\r\n\r\n";
    const size_t n = sizeof want - 1;
    char buf[512];
    sbx_http1w w;
    (void)state;
    write_all(&w, buf, sizeof buf);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.n, n);
    assert_memory_equal(buf, want, n);
    for (size_t cap = 0; cap <= n; cap++) {
        vec_guard g = vec_guard_new(n);
        char *at = vec_guard_at_end(&g, NULL, cap);
        memset(at, '\n', cap);
        write_all(&w, cap ? at : NULL, cap);
        assert_int_equal(w.n, n);
        assert_int_equal(w.error, cap < n ? SBX_HTTP1W_FULL : 0);
        for (size_t i = 0; i < w.n && i < cap; i++)
            assert_true(at[i] == want[i] || (cap < n && at[i] == '\n'));
        vec_guard_free(&g);
    }
}

static void test_writer_errors(void **state)
{
    static const char *const targets[] = { "", "a", "*", "http://x/", "/a b", "/a#b", "/a\r\nb", "/\x7f", "/\x80", "/\t" };
    static const char *const hosts[] = { "", "a b", "a/b", "a?b", "a#b", "u@a", "a\r\nX: y", "a\\b", "a\x80", "a\"", "a<" };
    static const char *const names[] = { "", "A b", "A:", "A\r\n", "A\x80", "(A)" };
    static const char *const values[] = { "a\rb", "a\nb", "a\r\nb", "\x01", "\x7f" };
    char buf[256];
    sbx_http1w w;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof targets / sizeof *targets; i++) {
        sbx_http1w_request(&w, buf, sizeof buf, sbx_s("GET"), sbx_s(targets[i]), sbx_s("h"));
        sbx_http1w_header(&w, sbx_s("A"), sbx_s("b"));
        sbx_http1w_end(&w);
        assert_int_equal(w.error, SBX_HTTP1W_BAD_TARGET);
        assert_int_equal(w.n, 0);
    }
    for (i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        sbx_http1w_request(&w, buf, sizeof buf, sbx_s("GET"), sbx_s("/"), sbx_s(hosts[i]));
        sbx_http1w_end(&w);
        assert_int_equal(w.error, SBX_HTTP1W_BAD_VALUE);
        assert_int_equal(w.n, 0);
    }
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        sbx_http1w_request(&w, buf, sizeof buf, sbx_s(names[i]), sbx_s("/"), sbx_s("h"));
        sbx_http1w_end(&w);
        assert_int_equal(w.error, SBX_HTTP1W_BAD_NAME);
        assert_int_equal(w.n, 0);
        sbx_http1w_request(&w, buf, sizeof buf, sbx_s("GET"), sbx_s("/"), sbx_s("h"));
        assert_int_equal(w.error, 0);
        sbx_http1w_header(&w, sbx_s(names[i]), sbx_s("b"));
        sbx_http1w_header(&w, sbx_s("A"), sbx_s("\n"));
        sbx_http1w_header_u64(&w, sbx_s("A"), 1);
        sbx_http1w_end(&w);
        assert_int_equal(w.error, SBX_HTTP1W_BAD_NAME);
        assert_int_equal(w.n, 0);
    }
    for (i = 0; i <= sizeof values / sizeof *values; i++) {
        sbx_str v = i < sizeof values / sizeof *values ? sbx_s(values[i]) : sbx_sn("a\0b", 3);
        /* Too small a buffer does not hide the worse error. */
        for (size_t cap = 0; cap <= sizeof buf; cap += sizeof buf) {
            sbx_http1w_request(&w, buf, cap, sbx_s("GET"), sbx_s("/"), sbx_s("[::1]:80"));
            assert_int_equal(w.error, cap ? 0 : SBX_HTTP1W_FULL);
            sbx_http1w_header(&w, sbx_s("A"), v);
            sbx_http1w_end(&w);
            assert_int_equal(w.error, SBX_HTTP1W_BAD_VALUE);
            assert_int_equal(w.n, 0);
        }
    }
    /* A length that overflows the count stays FULL. */
    sbx_http1w_request(&w, buf, 8, sbx_s("GET"), sbx_s("/"), sbx_s("h"));
    w.n = SIZE_MAX - 1;
    sbx_http1w_header(&w, sbx_s("A"), sbx_s("b"));
    assert_int_equal(w.n, SIZE_MAX);
    assert_int_equal(w.error, SBX_HTTP1W_FULL);
}

static void test_chunk_writer(void **state)
{
    char buf[18];
    (void)state;
    assert_int_equal(sbx_http1_chunk(buf, 0), 3);
    assert_memory_equal(buf, "0\r\n", 3);
    assert_int_equal(sbx_http1_chunk(buf, 15), 3);
    assert_memory_equal(buf, "f\r\n", 3);
    assert_int_equal(sbx_http1_chunk(buf, 16), 4);
    assert_memory_equal(buf, "10\r\n", 4);
    assert_int_equal(sbx_http1_chunk(buf, 0xabc0), 6);
    assert_memory_equal(buf, "abc0\r\n", 6);
    assert_int_equal(sbx_http1_chunk(buf, UINT64_MAX), 18);
    assert_memory_equal(buf, "ffffffffffffffff\r\n", 18);
    assert_int_equal(sbx_http1_chunk(buf, 0x123456789abcdef0), 18);
    assert_memory_equal(buf, "123456789abcdef0\r\n", 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer), cmocka_unit_test(test_writer_errors), cmocka_unit_test(test_chunk_writer),
    };
    return cmocka_run_group_tests_name("http1_write", tests, NULL, NULL);
}
