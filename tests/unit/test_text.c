/* parts: text */
#include "vectors.h"

#include "text.h"

/* ---- UTF-8 ---- */

/* By the table of RFC 3629 4, written anew: length of the character at p, 0
   if invalid, -1 if it is cut by the end. */
static int utf8_reference(const unsigned char *p, size_t n)
{
    int len = p[0] < 0x80 ? 1 : p[0] < 0xC0 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF8 ? 4 : 0;
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (len < 2)
        return len;
    for (int k = 1; k <= len; k++) {
        /* with k bytes: is any completion good? */
        uint32_t low = p[0] & (0x7Fu >> len), high;
        for (int i = 1; i < k; i++) {
            if ((p[i] & 0xC0) != 0x80)
                return 0;
            low = low << 6 | (p[i] & 0x3F);
        }
        high = low;
        for (int i = k; i < len; i++) {
            low <<= 6;
            high = high << 6 | 0x3F;
        }
        if (high < least[len] || low > 0x10FFFF || (low >= 0xD800 && high <= 0xDFFF))
            return 0;
        if ((size_t)k == n && k < len)
            return -1;
    }
    return len;
}

/* Whole, and split before the last byte, behind `pad` letters and before as
   many, which decides where in a block the bytes stand. */
static void utf8_check(const unsigned char *p, size_t n, size_t pad, vec_guard *g)
{
    char buf[160];
    size_t at = 0;
    int one = 1;
    while (at < n && (one = utf8_reference(p + at, n - at)) > 0)
        at += (size_t)one;
    bool ok = one != 0;
    uint32_t state = 0;
    memset(buf, 'x', pad);
    memcpy(buf + pad, p, n);
    char *s = vec_guard_at_end(g, buf, pad + n);
    assert_int_equal(sbxi_utf8(&state, s, pad + n), ok);
    if (ok)
        assert_int_equal(state != 0, one == -1);
    if (one == -1 && ok)
        assert_int_equal(sbxi_utf8_cut(s, pad + n), pad + at);
    else if (ok)
        assert_int_equal(sbxi_utf8_cut(s, pad + n), pad + n);
    state = 0;
    bool first = sbxi_utf8(&state, s, pad + n - 1);
    assert_int_equal(first && sbxi_utf8(&state, s + pad + n - 1, 1), ok);
    if (one == -1)
        return;
    memset(buf + pad + n, 'y', 70);
    s = vec_guard_at_end(g, buf, pad + n + 70);
    state = 0;
    assert_int_equal(sbxi_utf8(&state, s, pad + n + 70), ok);
    if (ok)
        assert_int_equal(state, 0);
}

static void test_utf8_every_sequence(void **unused)
{
    (void)unused;
    static const unsigned char edge[] = { 0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xFF };
    vec_guard g = vec_guard_new(160);
    unsigned char p[4];
    for (unsigned a = 0; a < 256; a++) {
        p[0] = (unsigned char)a;
        for (size_t pad = 0; pad < 70; pad++)
            utf8_check(p, 1, pad, &g);
        for (unsigned b = 0; b < 256; b++) {
            p[1] = (unsigned char)b;
            utf8_check(p, 2, (a + b) % 67, &g);
            for (size_t c = 0; c < sizeof edge; c++) {
                p[2] = edge[c];
                utf8_check(p, 3, (a + b + c) % 67, &g);
                if (a >= 0xE0)
                    for (size_t d = 0; d < sizeof edge; d++) {
                        p[3] = edge[d];
                        utf8_check(p, 4, (b + c + d) % 67, &g);
                    }
            }
        }
    }
    vec_guard_free(&g);
}

static void test_utf8_splits(void **unused)
{
    (void)unused;
    static const char text[] = "\xC3\xA9plain \xC3\xA9 \xE2\x82\xAC\xE2\x82\xAC \xF0\x9F\x98\x80 and some more letters to fill blocks of any kind \xEF\xBF\xBD\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF end";
    size_t n = sizeof text - 1;
    for (size_t a = 0; a <= n; a++)
        for (size_t b = a; b <= n; b++) {
            uint32_t state = 0;
            assert_true(sbxi_utf8(&state, text, a) && sbxi_utf8(&state, text + a, b - a) && sbxi_utf8(&state, text + b, n - b));
            assert_int_equal(state, 0);
        }
    /* right behind a trap, and right before one */
    vec_guard g = vec_guard_new(256);
    for (size_t from = 0; from < n; from++) {
        if ((text[from] & 0xC0) == 0x80)
            continue;
        for (size_t end = from; end <= n; end++) {
            uint32_t s = 0, t = 0;
            assert_true(sbxi_utf8(&s, vec_guard_at_begin(&g, text + from, end - from), end - from));
            assert_true(sbxi_utf8(&t, vec_guard_at_end(&g, text + from, end - from), end - from));
            assert_int_equal(s, t);
        }
    }
    vec_guard_free(&g);
    uint32_t state = 0;
    assert_true(sbxi_utf8(&state, text, n - 5)); /* inside F4 8F BF BF */
    assert_int_not_equal(state, 0);
    assert_false(sbxi_utf8(&state, "x", 1));
}

static void test_utf8_cut(void **unused)
{
    (void)unused;
    assert_int_equal(sbxi_utf8_cut("", 0), 0);
    assert_int_equal(sbxi_utf8_cut("abc", 3), 3);
    assert_int_equal(sbxi_utf8_cut("a\xC3", 2), 1);
    assert_int_equal(sbxi_utf8_cut("a\xC3\xA9", 3), 3);
    assert_int_equal(sbxi_utf8_cut("a\xE2\x82", 3), 1);
    assert_int_equal(sbxi_utf8_cut("a\xE2\x82\xAC", 4), 4);
    assert_int_equal(sbxi_utf8_cut("\xF0\x9F\x98", 3), 0);
    assert_int_equal(sbxi_utf8_cut("\xF0\x9F\x98\x80", 4), 4);
    assert_int_equal(sbxi_utf8_cut("\x80\x80\x80\x80\x80", 5), 5);
}

/* ---- base64, SHA-1 ---- */

static void test_base64(void **unused)
{
    (void)unused;
    static const char *const vectors[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" }, { "\xFB\xFF\xBF", "+/+/" }, { "\xFF", "/w==" } };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char out[16];
        memset(out, '#', sizeof out);
        size_t n = sbxi_base64(out, (const unsigned char *)vectors[i][0], strlen(vectors[i][0]));
        assert_int_equal(n, strlen(vectors[i][1]));
        assert_memory_equal(out, vectors[i][1], n);
        assert_int_equal(out[n], '#');
    }
    /* every digit */
    unsigned char all[48];
    char out[64];
    for (unsigned i = 0; i < 16; i++) {
        uint32_t v = (4 * i) << 18 | (4 * i + 1) << 12 | (4 * i + 2) << 6 | (4 * i + 3);
        all[3 * i] = (unsigned char)(v >> 16);
        all[3 * i + 1] = (unsigned char)(v >> 8);
        all[3 * i + 2] = (unsigned char)v;
    }
    assert_int_equal(sbxi_base64(out, all, 48), 64);
    assert_memory_equal(out, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 64);
}

/* Decoded in two pieces; the state at the end. */
static uint32_t base64_decoded(const char *text, size_t n, size_t cut, char *out, size_t *out_n)
{
    char *copy = (char *)malloc(n + 1), *rest = (char *)malloc(n + 1);
    uint32_t state = 0;
    size_t first;
    memcpy(copy, text, cut);
    memcpy(rest, text + cut, n - cut);
    first = sbxi_base64_decode(&state, copy, cut);
    assert_true(first <= cut);
    memcpy(out, copy, first);
    *out_n = first + sbxi_base64_decode(&state, rest, n - cut);
    assert_true(*out_n - first <= n - cut);
    memcpy(out + first, rest, *out_n - first);
    free(copy);
    free(rest);
    return state;
}

static void test_base64_decode(void **unused)
{
    static const char *const bad[] = { "=", "A=", "AA=A", "AAA=A", "AA==A", "AA===", "AAAA=", "A A=", "AA-A", "AA_A", "AAA\n", "AAA\x80" };
    static const char *const cut[] = { "A", "AA", "AAA", "AA=", "AAAAA" };
    unsigned char raw[80];
    char text[120], out[120];
    size_t out_n;
    (void)unused;
    for (size_t n = 0; n <= sizeof raw; n++) {
        size_t text_n;
        for (size_t i = 0; i < n; i++)
            raw[i] = (unsigned char)(i * 73 + n * 31 + 5);
        text_n = sbxi_base64(text, raw, n);
        for (size_t at = 0; at <= text_n; at++) {
            uint32_t state = base64_decoded(text, text_n, at, out, &out_n);
            assert_int_equal(state, n % 3 ? SBXI_BASE64_PADDED : 0);
            assert_int_equal(out_n, n);
            assert_memory_equal(out, raw, n);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t at = 0; at <= strlen(bad[i]); at++)
            assert_int_equal(base64_decoded(bad[i], strlen(bad[i]), at, out, &out_n), SBXI_BASE64_BAD);
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        uint32_t state = base64_decoded(cut[i], strlen(cut[i]), 1, out, &out_n);
        assert_true(state != 0 && state != SBXI_BASE64_BAD && state != SBXI_BASE64_PADDED);
    }
    /* every byte is a digit or none */
    for (unsigned c = 0; c < 256; c++) {
        const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", *p = c ? strchr(digits, (int)c) : NULL;
        char four[4] = { 'A', 'A', 'A', (char)c };
        uint32_t state = base64_decoded(four, 4, 0, out, &out_n);
        if (p)
            assert_int_equal((unsigned char)out[2], (unsigned)(p - digits));
        assert_int_equal(state, p ? 0 : c == '=' ? SBXI_BASE64_PADDED : SBXI_BASE64_BAD);
    }
}

static void hex(char *out, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02x", p[i]);
}

static void test_sha1(void **unused)
{
    (void)unused;
    static const struct {
        size_t n; /* of the bytes 1, 8, 15, ... */
        const char *digest;
    } vectors[] = {
        { 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { 3, "29c4bb974bf7a401e2e225f0f9d7ab5e498cc742" },
        { 55, "04bb34aef4880b625e6b1564a014abd25fc02bfe" },
        { 56, "83b9fcb6d3e3b20f376ab989a1b6353bcc6c0f44" },
        { 57, "2a1102af8a806e1fe19c618ee2b4721b38d5c797" },
        { 63, "ab15090e8dbe512f3733350f9623ab11f9b5165b" },
        { 64, "54305ee7e4c7bc5a96afc6d1994fc52d9bcb665f" },
        { 65, "5985422a25357371ebd2a7f6ecd7eebed43db42c" },
        { 119, "6839d6c27f22ed884ac43ae6bd3bfcee9e04b938" },
        { 120, "8c40517a14ab8b78fd4b8958f4e31254a34c3fb0" },
        { 128, "22485dc0d1e1d6e9e93e4a2a4667b8e979456379" },
    };
    unsigned char in[128], out[20];
    char text[41];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 7 + 1);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        sbxi_sha1(out, in, vectors[i].n);
        hex(text, out, 20);
        assert_string_equal(text, vectors[i].digest);
    }
    sbxi_sha1(out, "abc", 3); /* FIPS 180 */
    hex(text, out, 20);
    assert_string_equal(text, "a9993e364706816aba3e25717850c26c9cd0d89d");
    char *million = (char *)malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    sbxi_sha1(out, million, 1000000);
    free(million);
    hex(text, out, 20);
    assert_string_equal(text, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    /* RFC 6455 1.3 */
    char accept[28];
    sbxi_sha1(out, "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 60);
    assert_int_equal(sbxi_base64(accept, out, 20), 28);
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28);
}

/* ---- percent-encoding, UUID, numbers ---- */

static void test_percent(void **unused)
{
    (void)unused;
    static const struct {
        const char *in;
        size_t n;
        const char *keep, *out;
    } vectors[] = {
        { VEC(""), "", "" },
        { VEC("AZaz09-._~"), "", "AZaz09-._~" },
        { VEC("a b/c%"), "", "a%20b%2Fc%25" },
        { VEC("a b/c%"), "/", "a%20b/c%25" },
        { VEC("\0\x1F\x7F\x80\xFF"), "/", "%00%1F%7F%80%FF" },
        { VEC("@[`{!$&'()*+,;=:?#\"<>\\^|"), "", "%40%5B%60%7B%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%3F%23%22%3C%3E%5C%5E%7C" },
        { VEC("\xC3\xA9"), "", "%C3%A9" },
        { VEC(".."), "", ".." },
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        size_t need = strlen(vectors[i].out);
        for (size_t cap = 0; cap <= need + 1; cap++) {
            char out[128];
            memset(out, '#', sizeof out);
            assert_int_equal(sbxi_percent(out, cap, sbx_sn(vectors[i].in, vectors[i].n), vectors[i].keep), need);
            size_t wrote = 0;
            while (out[wrote] != '#')
                wrote++;
            assert_true(wrote <= cap && wrote + 3 > SBXI_MIN(cap, need));
            assert_memory_equal(out, vectors[i].out, wrote);
            if (cap >= need)
                assert_int_equal(wrote, need);
            for (size_t k = wrote; k < sizeof out; k++)
                assert_int_equal(out[k], '#');
            assert_true(wrote < 1 || out[wrote - 1] != '%');
            assert_true(wrote < 2 || out[wrote - 2] != '%');
        }
    }
}

static void test_uuid(void **unused)
{
    (void)unused;
    /* RFC 9562 A.6 */
    static const unsigned char random[10] = { 0xFC, 0xC3, 0xD8, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F };
    unsigned char uuid[16], again[16];
    char text[37];
    text[36] = '#';
    sbxi_uuid7(uuid, 0x017F22E279B0u, random);
    sbxi_uuid_text(text, uuid);
    assert_memory_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f#", 37);
    sbxi_uuid7(again, UINT64_MAX, random); /* only 48 bits of the time */
    sbxi_uuid_text(text, again);
    assert_memory_equal(text, "ffffffff-ffff-7cc3-98c4-dc0c0c07398f", 36);
    assert_true(sbxi_uuid_parse(again, sbx_s("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")));
    assert_memory_equal(uuid, again, 16);
    memset(again, 0, 16);
    assert_true(sbxi_uuid_parse(again, sbx_s("017F22E279B07CC398C4DC0C0C07398F")));
    assert_memory_equal(uuid, again, 16);
    static const char *const bad[] = { "", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "017f22e2-79b0-7cc3-98c4-dc0c0c07398g", "017f22e279b0-7cc3-98c4-dc0c0c07398f-",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", "{17f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e279b07cc398c4dc0c0c07398", "017f22e279b07cc398c4dc0c0c07398-",
        "017f22e2-79b0-7cc3-98c4_dc0c0c07398f", "017f22e-279b0-7cc3-98c4-dc0c0c07398f" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(again, 0x5A, 16);
        assert_false(sbxi_uuid_parse(again, sbx_s(bad[i])));
        assert_int_equal(again[0], 0x5A);
    }
}

static void test_u64_text(void **unused)
{
    (void)unused;
    char out[21], expect[32];
    uint64_t v = 0;
    for (int i = 0; i < 200; i++) {
        memset(out, '#', sizeof out);
        size_t n = sbxi_u64_text(out, v);
        sprintf(expect, "%llu", (unsigned long long)v);
        assert_int_equal(n, strlen(expect));
        assert_memory_equal(out, expect, n);
        assert_int_equal(out[20], '#');
        v = i < 20 ? v * 10 + 9 : i == 20 ? UINT64_MAX : i == 21 ? UINT64_MAX - 1 : i < 40 ? v / 10 : v * 6364136223846793005u + 1;
    }
}

/* ---- dates ---- */

#define NOT_A_DATE INT64_MIN

static void test_rfc3339(void **unused)
{
    (void)unused;
    static const struct {
        const char *in;
        int64_t ms;
    } vectors[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1985-04-12T23:20:50.52Z", 482196050520 },
        { "1996-12-19T16:39:57-08:00", 851042397000 },
        { "1990-12-31T23:59:60Z", 662688000000 },
        { "1990-12-31T15:59:60.5-08:00", 662688000500 },
        { "1937-01-01T12:00:27.87+00:20", -1041337172130 },
        { "2024-02-29T12:34:56.123456789Z", 1709210096123 },
        { "2024-02-29T12:34:56.123999999+00:00", 1709210096123 },
        { "2024-02-29t12:34:56z", 1709210096000 },
        { "2024-02-29 12:34:56.1-00:00", 1709210096100 },
        { "2024-02-29T12:34:56.000000000000000000000000000000000009Z", 1709210096000 },
        { "0001-01-01T00:00:00Z", -62135596800000 },
        { "0000-01-01T00:00:00Z", -62167219200000 },
        { "0000-02-29T00:00:00Z", -62162121600000 },
        { "9999-12-31T23:59:59.999Z", 253402300799999 },
        { "9999-12-31T23:59:59.999-23:59", 253402387139999 },
        { "1969-12-31T23:59:59.999Z", -1 },
        { "1970-01-01T00:00:00+23:59", -86340000 },
        { "1900-03-01T00:00:00Z", -2203891200000 },
        { "2000-02-29T00:00:00Z", 951782400000 },
        { "2023-01-31T00:00:00Z", 1675123200000 },
        { "2023-04-30T00:00:00Z", 1682812800000 },
        { "2023-12-31T23:59:59Z", 1704067199000 },
        { "", NOT_A_DATE },
        { "1970-01-01", NOT_A_DATE },
        { "1970-01-01T00:00:00", NOT_A_DATE },
        { "1970-01-01T00:00Z", NOT_A_DATE },
        { "1970-01-01T00:00:00.Z", NOT_A_DATE },
        { "1970-01-01T00:00:00,5Z", NOT_A_DATE },
        { "1970-01-01T00:00:00.5", NOT_A_DATE },
        { "1970-01-01T00:00:00Zx", NOT_A_DATE },
        { "1970-01-01T00:00:00+0000", NOT_A_DATE },
        { "1970-01-01T00:00:00+00", NOT_A_DATE },
        { "1970-01-01T00:00:00+00:000", NOT_A_DATE },
        { "1970-01-01T00:00:00+24:00", NOT_A_DATE },
        { "1970-01-01T00:00:00+00:60", NOT_A_DATE },
        { "1970-01-01T00:00:00*00:00", NOT_A_DATE },
        { "1970-01-01T24:00:00Z", NOT_A_DATE },
        { "1970-01-01T00:60:00Z", NOT_A_DATE },
        { "1970-01-01T00:00:61Z", NOT_A_DATE },
        { "1970-00-01T00:00:00Z", NOT_A_DATE },
        { "1970-13-01T00:00:00Z", NOT_A_DATE },
        { "1970-01-00T00:00:00Z", NOT_A_DATE },
        { "1970-01-32T00:00:00Z", NOT_A_DATE },
        { "1970-04-31T00:00:00Z", NOT_A_DATE },
        { "2023-02-29T00:00:00Z", NOT_A_DATE },
        { "1900-02-29T00:00:00Z", NOT_A_DATE },
        { "2024-02-30T00:00:00Z", NOT_A_DATE },
        { "1970/01/01T00:00:00Z", NOT_A_DATE },
        { "1970-1-01T00:00:000Z", NOT_A_DATE },
        { "19700101T000000000Z ", NOT_A_DATE },
        { "1970-01-01X00:00:00Z", NOT_A_DATE },
        { "+970-01-01T00:00:00Z", NOT_A_DATE },
        { " 1970-01-01T00:00:00Z", NOT_A_DATE },
    };
    vec_guard g = vec_guard_new(64);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        size_t n = strlen(vectors[i].in);
        int64_t ms = NOT_A_DATE;
        bool ok = sbxi_rfc3339(sbx_sn(vec_guard_at_end(&g, vectors[i].in, n), n), &ms);
        if (ms != vectors[i].ms)
            print_message("%s: %lld\n", vectors[i].in, (long long)ms);
        assert_true(ms == vectors[i].ms);
        assert_int_equal(ok, ms != NOT_A_DATE);
    }
    /* the end may be anywhere */
    static const char full[] = "2024-02-29T12:34:56.123456789+01:00";
    for (size_t n = 0; n < sizeof full - 1; n++) {
        int64_t ms;
        assert_false(sbxi_rfc3339(sbx_sn(vec_guard_at_end(&g, full, n), n), &ms));
    }
    vec_guard_free(&g);
}

static void test_every_day(void **unused)
{
    (void)unused;
    int64_t expect = -62167219200000;
    for (unsigned y = 0; y < 10000; y++)
        for (unsigned m = 1; m <= 12; m++) {
            static const unsigned days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
            unsigned last = days[m - 1] + (m == 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0));
            for (unsigned d = 1; d <= 31; d++) {
                char text[] = "0000-00-00T00:00:00Z";
                int64_t ms = NOT_A_DATE;
                for (unsigned k = 4, v = y; k--; v /= 10)
                    text[k] = (char)('0' + v % 10);
                text[5] = (char)('0' + m / 10);
                text[6] = (char)('0' + m % 10);
                text[8] = (char)('0' + d / 10);
                text[9] = (char)('0' + d % 10);
                assert_int_equal(sbxi_rfc3339(sbx_s(text), &ms), d <= last);
                if (d > last)
                    continue;
                assert_true(ms == expect);
                expect += 86400000;
            }
        }
}

static void test_http_date(void **unused)
{
    (void)unused;
    static const struct {
        const char *in;
        int64_t ms;
    } vectors[] = {
        { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777000 },
        { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
        { "Sat, 31 Dec 2016 23:59:60 GMT", 1483228800000 },
        { "Thu, 29 Feb 2024 12:34:56 GMT", 1709210096000 },
        { "Sunday, 06-Nov-94 08:49:37 GMT", NOT_A_DATE },
        { "Sun Nov  6 08:49:37 1994", NOT_A_DATE },
        { "Sun, 06 Nov 1994 08:49:37 UTC", NOT_A_DATE },
        { "Sun, 06 Nov 1994 08:49:37 GMTx", NOT_A_DATE },
        { "Sun, 06 Nov 1994 08:49:37", NOT_A_DATE },
        { "Sux, 06 Nov 1994 08:49:37 GMT", NOT_A_DATE },
        { "Sun, 06 Nox 1994 08:49:37 GMT", NOT_A_DATE },
        { "Sun, 31 Nov 1994 08:49:37 GMT", NOT_A_DATE },
        { "Sun, 00 Nov 1994 08:49:37 GMT", NOT_A_DATE },
        { "Sun, 06 Nov 1994 24:49:37 GMT", NOT_A_DATE },
        { "Sun, 06 Nov 1994 08-49-37 GMT", NOT_A_DATE },
        { "Sun  06 Nov 1994 08:49:37 GMT", NOT_A_DATE },
        { "", NOT_A_DATE },
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        int64_t ms = NOT_A_DATE;
        bool ok = sbxi_http_date(sbx_s(vectors[i].in), &ms);
        assert_true(ms == vectors[i].ms);
        assert_int_equal(ok, ms != NOT_A_DATE);
    }
    static const char *const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (unsigned m = 0; m < 12; m++) {
        char http[] = "Mon, 05 Xxx 2021 01:02:03 GMT", rfc[] = "2021-00-05T01:02:03Z";
        int64_t a = 1, b = 2;
        memcpy(http + 8, months + 3 * m, 3);
        rfc[5] = (char)('0' + (m + 1) / 10);
        rfc[6] = (char)('0' + (m + 1) % 10);
        assert_true(sbxi_http_date(sbx_s(http), &a) && sbxi_rfc3339(sbx_s(rfc), &b));
        assert_true(a == b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_every_sequence),
        cmocka_unit_test(test_utf8_splits),
        cmocka_unit_test(test_utf8_cut),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64_decode),
        cmocka_unit_test(test_sha1),
        cmocka_unit_test(test_percent),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_u64_text),
        cmocka_unit_test(test_rfc3339),
        cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_http_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
