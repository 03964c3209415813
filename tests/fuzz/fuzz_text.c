/* parts: text */
/* The text helpers against their definitions, and whole against split. */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(c) ((c) ? (void)0 : fail(#c, __LINE__))

static void fail(const char *what, int line)
{
    fprintf(stderr, "line %d: %s\n", line, what);
    abort();
}

/* RFC 3629 by its ABNF: length of the character at p, 0 invalid, -1 cut. */
static int character(const unsigned char *p, size_t n)
{
    unsigned low = 0x80, high = 0xBF;
    int len;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    for (int i = 1; i < len; i++) {
        if ((size_t)i == n)
            return -1;
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return len;
}

static void utf8(const char *p, size_t n, size_t a, size_t b)
{
    uint32_t whole = 0, split = 0;
    size_t at = 0;
    int len = 1;
    bool ok;
    while (at < n && (len = character((const unsigned char *)p + at, n - at)) > 0)
        at += (size_t)len;
    ok = len != 0;
    CHECK(sbxi_utf8(&whole, p, n) == ok);
    CHECK((sbxi_utf8(&split, p, a) && sbxi_utf8(&split, p + a, b - a) && sbxi_utf8(&split, p + b, n - b)) == ok);
    if (ok) {
        CHECK((whole != 0) == (len < 0) && whole == split);
        CHECK(sbxi_utf8_cut(p, n) == at);
    } else {
        CHECK(n - sbxi_utf8_cut(p, n) < 4);
    }
}

static void base64(const char *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = (n + 2) / 3 * 4, at = 0;
    char *out = (char *)malloc(length + 1);
    CHECK(sbxi_base64(out, (const unsigned char *)p, n) == length);
    for (size_t i = 0; i < length; i += 4) {
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            const char *d = strchr(digits, out[i + k]);
            CHECK(out[i + k] == '=' ? i + 4 == length && k >= 2 : d && *d);
            v = v << 6 | (out[i + k] == '=' ? 0 : (uint32_t)(d - digits));
        }
        for (size_t k = 0; k < 3; k++, at++)
            CHECK((unsigned char)(v >> (16 - 8 * k)) == (at < n ? (unsigned char)p[at] : 0));
    }
    CHECK(at < n + 3);
    free(out);
}

static void percent(const char *p, size_t n, const char *keep, size_t cap)
{
    size_t need = sbxi_percent(NULL, 0, sbx_sn(p, n), keep), at = 0;
    char *all = (char *)malloc(need + 1), *some = (char *)malloc(cap + 1);
    CHECK(sbxi_percent(all, need, sbx_sn(p, n), keep) == need && need <= 3 * n);
    memset(some, 0, cap + 1);
    CHECK(sbxi_percent(some, cap, sbx_sn(p, n), keep) == need);
    for (size_t i = 0; i < n; i++) {
        char two[3] = { 0, 0, 0 };
        if (all[at] != '%') {
            CHECK(all[at++] == p[i]);
            continue;
        }
        memcpy(two, all + at + 1, 2);
        CHECK((char)strtoul(two, NULL, 16) == p[i]);
        at += 3;
    }
    CHECK(at == need);
    at = strlen(some);
    CHECK(at <= cap && at <= need && memcmp(some, all, at) == 0 && at + 3 > (cap < need ? cap : need));
    free(all);
    free(some);
}

static void dates(const char *p, size_t n)
{
    int64_t ms = 1, again = 2;
    unsigned char uuid[16], uuid2[16];
    char text[36];
    if (sbxi_rfc3339(sbx_sn(p, n), &ms))
        CHECK(n >= 20 && ms >= -62167219200000 - 86400000 && ms <= 253402300800999 + 86400000);
    if (n >= 19 && n < 200) { /* the zone shifts */
        char z[256];
        memcpy(z, p, n);
        memcpy(z + n, "+01:00", 6);
        if (sbxi_rfc3339(sbx_sn(z, n + 6), &ms)) {
            z[n] = 'Z';
            CHECK(sbxi_rfc3339(sbx_sn(z, n + 1), &again) && again - ms == 3600000);
        }
    }
    if (sbxi_http_date(sbx_sn(p, n), &ms))
        CHECK(n == 29 && ms % 1000 == 0);
    if (sbxi_uuid_parse(uuid, sbx_sn(p, n))) {
        sbxi_uuid_text(text, uuid);
        CHECK(sbxi_uuid_parse(uuid2, sbx_sn(text, 36)) && memcmp(uuid, uuid2, 16) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    size_t a, b;
    char *p;
    uint64_t v;
    char digits[20], expect[24];
    if (n < 8)
        return 0;
    memcpy(&v, in, 8);
    sprintf(expect, "%llu", (unsigned long long)v);
    CHECK(sbxi_u64_text(digits, v) == strlen(expect) && memcmp(digits, expect, strlen(expect)) == 0);
    a = in[0];
    b = in[1];
    in += 2;
    n -= 2;
    p = (char *)malloc(n);
    memcpy(p, in, n);
    a = a > n ? n : a;
    b = a + b > n ? n : a + b;
    utf8(p, n, a, b);
    base64(p, n);
    percent(p, n, a & 1 ? "/" : "", b);
    dates(p, n);
    dates(p + a, b - a);
    free(p);
    return 0;
}
