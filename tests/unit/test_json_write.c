/* parts: text json json_fast json_num json_write */
#include "vectors.h"

#include "base.h"
#include "json.h"

#include <locale.h>

/* ---- numbers ---- */

static void test_integers(void **unused)
{
    (void)unused;
    static const struct {
        const char *in;
        bool is_i, is_u;
        int64_t i;
        uint64_t u;
    } vectors[] = {
        { "0", true, true, 0, 0 },
        { "-0", true, true, 0, 0 },
        { "7", true, true, 7, 7 },
        { "-7", true, false, -7, 9 },
        { "9223372036854775807", true, true, INT64_MAX, INT64_MAX },
        { "9223372036854775808", false, true, 9, (uint64_t)INT64_MAX + 1 },
        { "-9223372036854775808", true, false, INT64_MIN, 9 },
        { "-9223372036854775809", false, false, 9, 9 },
        { "18446744073709551615", false, true, 9, UINT64_MAX },
        { "18446744073709551616", false, false, 9, 9 },
        { "18446744073709551620", false, false, 9, 9 },
        { "99999999999999999999", false, false, 9, 9 },
        { "184467440737095516150", false, false, 9, 9 },
        { "-18446744073709551616", false, false, 9, 9 },
        { "", false, false, 9, 9 },
        { "-", false, false, 9, 9 },
        { "00", false, false, 9, 9 },
        { "01", false, false, 9, 9 },
        { "-01", false, false, 9, 9 },
        { "+1", false, false, 9, 9 },
        { "--1", false, false, 9, 9 },
        { "1e3", false, false, 9, 9 },
        { "1.0", false, false, 9, 9 },
        { "1 ", false, false, 9, 9 },
        { " 1", false, false, 9, 9 },
        { "1a", false, false, 9, 9 },
        { "a", false, false, 9, 9 },
        { "\xB1", false, false, 9, 9 },
    };
    vec_guard g = vec_guard_new(32);
    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++) {
        int64_t i = 9;
        uint64_t u = 9;
        size_t n = strlen(vectors[k].in);
        sbx_str s = sbx_sn(vec_guard_at_end(&g, vectors[k].in, n), n);
        assert_int_equal(sbx_json_i64(s, &i), vectors[k].is_i);
        assert_true(i == vectors[k].i);
        assert_int_equal(sbx_json_u64(s, &u), vectors[k].is_u);
        assert_true(u == vectors[k].u);
    }
    vec_guard_free(&g);
}

/* Units in the last place between two finite doubles. */
static double ulps(double a, double b)
{
    int64_t x, y;
    memcpy(&x, &a, 8);
    memcpy(&y, &b, 8);
    if (x < 0)
        x = INT64_MIN - x;
    if (y < 0)
        y = INT64_MIN - y;
    return (double)(x > y ? x - y : y - x);
}

static void f64_check(const char *text)
{
    double v = 77, expect = strtod(text, NULL);
    bool ok = sbx_json_f64(sbx_s(text), &v);
    if (expect - expect != 0) {
        assert_false(ok);
        assert_true(v == 77);
        return;
    }
    if (!ok || ulps(v, expect) > (SBX_FREESTANDING ? 1 : 0))
        print_message("%s: %.17g, expected %.17g\n", text, v, expect);
    assert_true(ok);
    assert_true(ulps(v, expect) <= (SBX_FREESTANDING ? 1 : 0));
    assert_int_equal(text[0] == '-', memcmp((char *)&v + 7, "\x7F", 1) > 0);
}

static void test_doubles(void **unused)
{
    (void)unused;
    static const char *const exact[] = { "0", "-0", "0.0", "-0.0e5", "1", "-1", "0.5", "2.25", "100", "1e3", "1E+3", "1e22", "9007199254740991", "9007199254740992",
        "-4503599627370497", "123456789012", "1.5e1", "12345.678e3", "0.1", "0.2", "0.3", "3.14159", "1e-5", "60.0", "86400.25" };
    static const char *const near[] = { "1.7976931348623157e308", "1.7976931348623159e308", "1e308", "1e309", "-1e400", "2.2250738585072014e-308", "2.2250738585072011e-308",
        "5e-324", "2.4703282292062328e-324", "2.4703282292062327e-324", "1e-400", "-1e-999999999999", "1e999999999999", "0e999999999999", "0.000e-99999999999",
        "9007199254740993", "9007199254740993.0000000000000000000000000000000000001", "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124", "1.00000000000000011102230246251565404236316680908203126", "123456789012345678901234567890",
        "0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001", "18446744073709551615", "18446744073709551616",
        "179769313486231570814527423731704356798070e267", "4.9406564584124654e-324", "8.5e-323", "1e-310" };
    static const char *const none[] = { "", "-", "+1", ".5", "1.", "1.e5", "01", "00", "-01", "1e", "1e+", "1e-", "1.5e", "1 ", " 1", "1x", "0x10", "inf", "nan", "Infinity", "1e5.", "1..2", "1,5", "--1" };
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        double v = 0;
        assert_true(sbx_json_f64(sbx_s(exact[i]), &v));
        assert_true(v == strtod(exact[i], NULL));
        f64_check(exact[i]);
    }
    for (size_t i = 0; i < sizeof near / sizeof *near; i++)
        f64_check(near[i]);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        double v = 77;
        assert_false(sbx_json_f64(sbx_s(none[i]), &v));
        assert_true(v == 77);
    }
    uint64_t random = 1;
    for (int i = 0; i < 100000; i++) {
        char text[64];
        random = random * 6364136223846793005u + 1442695040888963407u;
        int digits = 1 + (int)(random >> 59), e = (int)(random >> 40 & 1023) % 700 - 350;
        unsigned long long m = (random >> 3) * 0x9E3779B97F4A7C15u;
        if (i & 1)
            sprintf(text, "%llue%d", m, e);
        else
            sprintf(text, "-%d.%0*llue%d", i % 10, digits, m >> 20, i % 4 ? e / 30 : e);
        f64_check(text);
    }
    /* more digits than the buffer has: a one far behind a tie decides */
    char text[400] = "1.00000000000000011102230246251565404236316680908203125";
    size_t n = strlen(text);
    memset(text + n, '0', 300);
    f64_check(text);
    text[n + 299] = '1';
    f64_check(text);
    memset(text, '9', 350);
    strcpy(text + 305, "e-305");
    f64_check(text);
}

/* With a locale that writes 1,5 (where the machine has one). */
static void test_locale(void **unused)
{
    (void)unused;
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "ru_RU.UTF-8" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_NUMERIC, names[i]))
            break;
    double v = 0;
    bool ok = sbx_json_f64(sbx_s("-1.5e1"), &v);
    print_message("decimal point: %s\n", localeconv()->decimal_point);
    setlocale(LC_NUMERIC, "C");
    assert_true(ok && v == -15);
}

/* ---- writer ---- */

static void write_all(sbx_jsonw *w)
{
    sbx_jsonw_begin(w, '{');
    sbx_jsonw_key(w, sbx_s("a\"\n"));
    sbx_jsonw_begin(w, '[');
    sbx_jsonw_i64(w, INT64_MIN);
    sbx_jsonw_i64(w, 0);
    sbx_jsonw_i64(w, INT64_MAX);
    sbx_jsonw_u64(w, UINT64_MAX);
    sbx_jsonw_begin(w, '{');
    sbx_jsonw_end(w, '}');
    sbx_jsonw_begin(w, '[');
    sbx_jsonw_end(w, ']');
    sbx_jsonw_bool(w, true);
    sbx_jsonw_bool(w, false);
    sbx_jsonw_null(w);
    sbx_jsonw_end(w, ']');
    sbx_jsonw_key(w, sbx_sn(NULL, 0));
    sbx_jsonw_str(w, sbx_sn("\0\x1F\x7F\b\f\n\r\t\"\\/ \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 21));
    sbx_jsonw_key(w, sbx_s("raw"));
    sbx_jsonw_raw(w, sbx_s("[1, 2]"));
    sbx_jsonw_key(w, sbx_s("long"));
    sbx_jsonw_str(w, sbx_s("a text that is longer than what the measuring of a text takes at once, with \x01 in it: "
                           "0123456789 0123456789 0123456789 0123456789 0123456789"));
    sbx_jsonw_end(w, '}');
}

static const char written[] = "{\"a\\\"\\n\":[-9223372036854775808,0,9223372036854775807,18446744073709551615,{},[],true,false,null],"
                              "\"\":\"\\u0000\\u001f\x7F\\b\\f\\n\\r\\t\\\"\\\\/ \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\",\"raw\":[1, 2],"
                              "\"long\":\"a text that is longer than what the measuring of a text takes at once, with \\u0001 in it: "
                              "0123456789 0123456789 0123456789 0123456789 0123456789\"}";

static void test_writer(void **unused)
{
    (void)unused;
    size_t need = sizeof written - 1;
    vec_guard g = vec_guard_new(1024);
    sbx_jsonw w;
    sbx_jsonw_init(&w, NULL, 0);
    write_all(&w);
    assert_int_equal(w.n, need);
    assert_int_equal(w.error, SBX_JSONW_FULL);
    for (size_t cap = 0; cap <= need + 1; cap++) {
        char *p = vec_guard_at_end(&g, NULL, cap);
        memset(p, '#', cap);
        sbx_jsonw_init(&w, p, cap);
        write_all(&w);
        assert_int_equal(w.n, need);
        assert_int_equal(w.error, cap < need ? SBX_JSONW_FULL : 0);
        size_t same = 0;
        while (same < cap && same < need && p[same] == written[same])
            same++;
        assert_true(same == need || same + 48 > cap);
        for (; same < cap; same++)
            assert_int_equal(p[same], '#'); /* nothing behind what did not fit */
    }
    vec_guard_free(&g);
    /* the top level may be a value */
    char small[8];
    sbx_jsonw_init(&w, small, sizeof small);
    sbx_jsonw_str(&w, sbx_s("x"));
    assert_int_equal(w.n, 3);
    assert_memory_equal(small, "\"x\"", 3);
}

static void test_writer_errors(void **unused)
{
    (void)unused;
    static const char *const texts[] = { "\x80", "\xC3", "ab\xE2\x82", "ab\xE2\x82z", "\xED\xA0\x80", "0123456789012345678901234567890123456789\xFF" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char buf[64];
        sbx_jsonw w;
        sbx_jsonw_init(&w, buf, sizeof buf);
        sbx_jsonw_str(&w, sbx_s(texts[i]));
        assert_int_equal(w.error, SBX_JSONW_UTF8);
        sbx_jsonw_null(&w);
        assert_int_equal(w.error, SBX_JSONW_UTF8);
        sbx_jsonw_raw(&w, sbx_s("0123456789012345678901234567890123456789012345678901234567890123456789"));
        assert_int_equal(w.error, SBX_JSONW_UTF8); /* the first stays */
        sbx_jsonw_init(&w, NULL, 0);
        sbx_jsonw_str(&w, sbx_s(texts[i]));
        assert_int_equal(w.error, SBX_JSONW_FULL);
        sbx_jsonw_init(&w, buf, sizeof buf);
        sbx_jsonw_key(&w, sbx_s(texts[i]));
        assert_int_equal(w.error, SBX_JSONW_UTF8);
    }
}

/* ---- escaping ---- */

/* Bytes of the escaped text of one character, written here anew. */
static size_t escaped(char *out, const char *src, size_t n)
{
    static const char *const names = "b0f0n0r0t0\"0\\0";
    unsigned c = (unsigned char)*src;
    const char *code = c == 8 ? names : c == 12 ? names + 2 : c == 10 ? names + 4 : c == 13 ? names + 6 : c == 9 ? names + 8 : c == '"' ? names + 10 : c == '\\' ? names + 12 : NULL;
    if (code)
        return (size_t)sprintf(out, "\\%c", *code);
    if (c < 0x20)
        return (size_t)sprintf(out, "\\u%04x", c);
    memcpy(out, src, n);
    return n;
}

static void test_escape(void **unused)
{
    (void)unused;
    vec_guard from = vec_guard_new(512), to = vec_guard_new(4096);
    uint64_t random = 7;
    for (int round = 0; round < 300; round++) {
        char src[300], all[1800];
        size_t ends[300], sizes[300], k = 0, n = 0, total = 0, want = (size_t)(round * 37 % 200);
        while (n < want) {
            char text[8];
            random = random * 6364136223846793005u + 1442695040888963407u;
            unsigned pick = (unsigned)(random >> 60), c = (unsigned)(random >> 33);
            if (round % 3 == 0)
                pick |= 8;
            uint32_t cp = pick == 0 ? c % 0x20 : pick == 1 ? '"' : pick == 2 ? '\\' : pick == 3 ? 0x80 + c % 0x780 : pick == 4 ? 0x800 + c % 0xD000 : pick == 5 ? 0x10000 + c % 0x100000 : pick == 6 ? 0x7F : 0x20 + c % 0x5E;
            size_t len = vec_utf8(text, cp);
            memcpy(src + n, text, len);
            sizes[k] = escaped(all + total, src + n, len);
            total += sizes[k];
            n += len;
            ends[k++] = n;
        }
        const char *s = vec_guard_at_end(&from, src, n);
        for (size_t cap = 0; cap <= total + 1; cap += cap + 40 < total || round % 7 == 0 ? 1 : 13) {
            char *d = vec_guard_at_end(&to, NULL, cap);
            size_t used = 99, fit = 0, fit_src = 0;
            bool bad = true;
            for (size_t i = 0; i < k && fit + sizes[i] <= cap; i++) {
                fit += sizes[i];
                fit_src = ends[i];
            }
            assert_int_equal(sbx_json_escape(d, cap, s, n, &used, &bad), fit);
            assert_false(bad);
            assert_int_equal(used, fit_src);
            assert_memory_equal(d, all, fit);
        }
        /* a source that ends inside a character */
        for (size_t cut = 0; cut < n; cut++) {
            char *d = vec_guard_at_end(&to, NULL, total);
            size_t used = 99, fit = 0, fit_src = 0;
            bool bad = true;
            for (size_t i = 0; i < k && ends[i] <= cut; i++) {
                fit += sizes[i];
                fit_src = ends[i];
            }
            assert_int_equal(sbx_json_escape(d, total, vec_guard_at_end(&from, src, cut), cut, &used, &bad), fit);
            assert_false(bad);
            assert_int_equal(used, fit_src);
        }
    }
    vec_guard_free(&from);
    vec_guard_free(&to);
}

/* Everything grows sixfold, into as little room as there can be. */
static void test_escape_room(void **unused)
{
    (void)unused;
    vec_guard to = vec_guard_new(1024);
    char src[130];
    for (size_t n = 0; n <= sizeof src; n += 13) {
        memset(src, 1, sizeof src);
        for (size_t cap = 0; cap <= 6 * n + 1; cap++) {
            char *d = vec_guard_at_end(&to, NULL, cap);
            size_t used = 999, fit = SBXI_MIN(n, cap / 6);
            bool bad = true;
            assert_int_equal(sbx_json_escape(d, cap, src, n, &used, &bad), 6 * fit);
            assert_false(bad);
            assert_int_equal(used, fit);
            for (size_t i = 0; i < fit; i++)
                assert_memory_equal(d + 6 * i, "\\u0001", 6);
        }
    }
    vec_guard_free(&to);
}

static void test_escape_bad(void **unused)
{
    (void)unused;
    static const char *const bad_texts[] = { "\x80", "\xC1\x80", "\xC3(", "\xE0\x80\x80", "\xE2\x82(", "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5", "\xFF", "\xE0\x80", "\xF4\x90" };
    vec_guard from = vec_guard_new(256);
    for (size_t i = 0; i < sizeof bad_texts / sizeof *bad_texts; i++)
        for (size_t pad = 0; pad < 70; pad++)
            for (size_t tail = 0; tail < 40; tail += 13) {
                char src[200], dst[256];
                size_t n = strlen(bad_texts[i]), used;
                bool bad = false;
                memset(src, 'p', pad);
                memcpy(src + pad, bad_texts[i], n);
                memset(src + pad + n, 'q', tail);
                n += pad + tail;
                assert_int_equal(sbx_json_escape(dst, sizeof dst, vec_guard_at_end(&from, src, n), n, &used, &bad), pad);
                assert_true(bad);
                assert_int_equal(used, pad);
            }
    vec_guard_free(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_locale),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_writer_errors),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escape_room),
        cmocka_unit_test(test_escape_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
