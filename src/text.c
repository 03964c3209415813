#include "text.h"
#include "base.h"

/* ---- UTF-8 ---- */

/* The state holds what the next byte must be: how many continuation bytes
   are missing << 16 | lowest << 8 | highest value of the next one. Only the
   first continuation byte can have a narrower range than 80..BF. */
static bool sbxi_text_utf8(uint32_t *state, const char *p, size_t n)
{
    uint32_t s = *state;
    for (; n; n--) {
        unsigned c = (unsigned char)*p++, low = 0x80, high = 0xBF;
        if (s) {
            if (c < (s >> 8 & 0xFF) || c > (s & 0xFF))
                return false;
            s = (s >> 16) - 1;
        } else if (c >= 0x80) {
            if (c < 0xC2 || c > 0xF4)
                return false;
            s = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
            if (c == 0xE0)
                low = 0xA0;
            if (c == 0xED)
                high = 0x9F;
            if (c == 0xF0)
                low = 0x90;
            if (c == 0xF4)
                high = 0x8F;
        }
        if (s)
            s = s << 16 | low << 8 | high;
    }
    *state = s;
    return true;
}

#if SBX_SMALL

SBXI_FN bool sbxi_utf8(uint32_t *state, const char *p, size_t n)
{
    return sbxi_text_utf8(state, p, n);
}

#else

#if SBXI_TEXT_BLOCKS

#define SBXI_TEXT_16 for (int i = 0; i < 16; i++)

/* 16 bytes behind a character border, with three more before them: whether
   continuation bytes stand where they must and only there, and what else a
   byte forbids by itself or to the next. The last character may be cut. Each
   step is a loop of its own: so it becomes one operation on a vector. */
static inline bool sbxi_text_utf8_block(const char *text)
{
    const unsigned char *u = (const unsigned char *)text;
    const signed char *s = (const signed char *)text;
    unsigned char must[16], bad[16], t[16], m[16];
    /* above 0: a byte that starts two, three or four stands one, two or three before */
    SBXI_TEXT_16 must[i] = (unsigned char)((u[i - 1] > 0xBF ? u[i - 1] : 0xBF) - 0xBF);
    SBXI_TEXT_16 t[i] = (unsigned char)((u[i - 2] > 0xDF ? u[i - 2] : 0xDF) - 0xDF);
    SBXI_TEXT_16 m[i] = (unsigned char)((u[i - 3] > 0xEF ? u[i - 3] : 0xEF) - 0xEF);
    SBXI_TEXT_16 must[i] |= t[i] | m[i];
    SBXI_TEXT_16 m[i] = must[i] == 0 ? 0xFF : 0;
    SBXI_TEXT_16 t[i] = s[i] < -0x40 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] = m[i] == t[i] ? 0xFF : 0;
    /* C0, C1, F5..FF */
    SBXI_TEXT_16 m[i] = (u[i] & 0xFE) == 0xC0 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i];
    SBXI_TEXT_16 m[i] = u[i] > 0xF4 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i];
    /* E0 80..9F, ED A0..BF; F0 80..8F, F4 90..BF */
    SBXI_TEXT_16 t[i] = s[i] < -0x60 ? 0xFF : 0;
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xE0 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & t[i];
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xED ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & ~t[i];
    SBXI_TEXT_16 t[i] = s[i] < -0x70 ? 0xFF : 0;
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xF0 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & t[i];
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xF4 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & ~t[i];
    return (sbxi_word((const char *)bad) | sbxi_word((const char *)bad + 8)) == 0;
}

#undef SBXI_TEXT_16
#endif

/* About 128 bytes behind a border, which is behind the third byte at least:
   how many were good, to another border; 0: bad. */
static inline size_t sbxi_text_utf8_some(const char *p, size_t n)
{
    size_t i = 0;
#if SBXI_TEXT_BLOCKS
    for (; i < 128 && n - i >= 16; i += 16)
        if (!sbxi_text_utf8_block(p + i))
            return 0;
    return sbxi_utf8_cut(p, i);
#else
    while (i < 128 && n - i >= 4) {
        uint32_t x = sbxi_load32(p + i);
        size_t length = x & 0x80 ? sbxi_utf8_length(x) : 1;
        if (!length)
            return 0;
        i += length;
    }
    return i;
#endif
}

SBXI_FN bool sbxi_utf8(uint32_t *state, const char *p, size_t n)
{
    size_t i = 0;
    do {
        /* byte by byte to such a border */
        while (i < n && (*state || i < 3))
            if (!sbxi_text_utf8(state, p + i++, 1))
                return false;
        while (n - i >= 64 && sbxi_ascii64(p + i))
            i += 64;
        if (n - i >= 16) {
            size_t good = sbxi_text_utf8_some(p + i, n - i);
            if (!good)
                return false;
            i += good;
        }
    } while (n - i >= 16);
    return sbxi_text_utf8(state, p + i, n - i);
}

#endif

SBXI_FN size_t sbxi_utf8_cut(const char *p, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned c = (unsigned char)p[n - back];
        if (c >= 0xC0)
            return (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) > back ? n - back : n;
        if (c < 0x80)
            break;
    }
    return n;
}

/* ---- base64, SHA-1 ---- */

static char sbxi_text_base64_digit(unsigned v)
{
    return (char)(v < 26 ? 'A' + v : v < 52 ? 'a' + (v - 26) : v < 62 ? '0' + (v - 52) : v == 62 ? '+' : '/');
}

SBXI_FN size_t sbxi_base64(char *out, const unsigned char *p, size_t n)
{
    char *o = out;
    while (n) {
        unsigned have = n < 3 ? (unsigned)n : 3;
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)(have > 1 ? p[1] : 0) << 8 | (have > 2 ? p[2] : 0);
        for (unsigned i = 0; i < 4; i++)
            *o++ = i > have ? '=' : sbxi_text_base64_digit(v >> (18 - 6 * i) & 63);
        p += have;
        n -= have;
    }
    return (size_t)(o - out);
}

#if SBX_SMALL
static unsigned sbxi_base64_value(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A') : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 26 : c >= '0' && c <= '9' ? (unsigned)(c - '0') + 52 :
           c == '+' ? 62 : c == '/' ? 63 : 64;
}
#else
static const uint8_t sbxi_base64_values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64
};

static unsigned sbxi_base64_value(char c)
{
    return sbxi_base64_values[(unsigned char)c];
}
#endif

/* state: below, how many bits are left of the characters so far (0, 6, 4, 2; 8:
   one more = has to come); from bit 8 on, those bits. */
SBXI_FN size_t sbxi_base64_decode(uint32_t *state, char *p, size_t n)
{
    uint32_t left = *state & 0xFF, bits = *state >> 8;
    const char *end = p + n;
    char *to = p, *at = p;

    while (at != end && left != SBXI_BASE64_BAD) {
        unsigned v;

#if !SBX_SMALL
        for (; left == 0 && end - at >= 4; at += 4, to += 3) {
            unsigned a = sbxi_base64_value(at[0]), b = sbxi_base64_value(at[1]), c = sbxi_base64_value(at[2]), d = sbxi_base64_value(at[3]);

            if ((a | b | c | d) & 64)
                break;
            to[0] = (char)(a << 2 | b >> 4);
            to[1] = (char)(b << 4 | c >> 2);
            to[2] = (char)(c << 6 | d);
        }
        if (at == end)
            break;
#endif
        v = sbxi_base64_value(*at++);
        if (v < 64 && left < 8) {
            bits = bits << 6 | v;
            left += 6;
            if (left >= 8) {
                left -= 8;
                *to++ = (char)(bits >> left);
                bits &= (1u << left) - 1;
            }
        } else {
            left = at[-1] != '=' ? SBXI_BASE64_BAD : left == 4 ? 8 : left == 2 || left == 8 ? SBXI_BASE64_PADDED : SBXI_BASE64_BAD;
            bits = 0;
        }
    }
    *state = bits << 8 | left;
    return (size_t)(to - p);
}

static uint32_t sbxi_text_rol(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

/* One block: the window of the last 16 words slides by one a round. */
static SBXI_ONCE void sbxi_text_sha1_block(uint32_t h[5], uint32_t w[16])
{
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (unsigned i = 0; i < 80; i++) {
        uint32_t next = sbxi_text_rol(w[13] ^ w[8] ^ w[2] ^ w[0], 1), f = b ^ c ^ d, k = 0xCA62C1D6;
        if (i < 20) {
            f = d ^ (b & (c ^ d));
            k = 0x5A827999;
        } else if (i < 40) {
            k = 0x6ED9EBA1;
        } else if (i < 60) {
            f = (b & c) | (d & (b | c));
            k = 0x8F1BBCDC;
        }
        f += sbxi_text_rol(a, 5) + e + k + w[0];
        e = d;
        d = c;
        c = sbxi_text_rol(b, 30);
        b = a;
        a = f;
        memmove(w, w + 1, 15 * sizeof *w);
        w[15] = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

SBXI_FN void sbxi_sha1(unsigned char out[20], const void *p, size_t n)
{
    static const uint32_t start[5] = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 };
    const unsigned char *s = (const unsigned char *)p;
    uint32_t h[5], w[16];
    size_t at = 0;
    memcpy(h, start, sizeof h);
    memset(w, 0, sizeof w);
    /* Blocks of 64 bytes: the text, 0x80, zeros, and its length in bits at the end. */
    do {
        for (unsigned i = 0; i < 64; i++, at++)
            w[i / 4] = w[i / 4] << 8 | (at < n ? s[at] : at == n ? 0x80u : 0u);
        if (at - n > 8 && at > n) {
            w[14] = (uint32_t)((uint64_t)n >> 29);
            w[15] = (uint32_t)n << 3;
        }
        sbxi_text_sha1_block(h, w);
    } while (at <= n || at - n <= 8);
    for (unsigned i = 0; i < 20; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* ---- percent-encoding, UUID, numbers ---- */

static int sbxi_text_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = sbxi_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool sbxi_text_unreserved(char c)
{
    char l = sbxi_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

SBXI_FN size_t sbxi_percent(char *out, size_t cap, sbx_str s, const char *keep)
{
    size_t need = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (sbxi_text_unreserved(c) || (c && strchr(keep, c))) {
            if (need < cap)
                out[need] = c;
            need = sbxi_add(need, 1);
        } else {
            if (need <= cap && cap - need >= 3) {
                out[need] = '%';
                out[need + 1] = "0123456789ABCDEF"[(unsigned char)c >> 4];
                out[need + 2] = "0123456789ABCDEF"[c & 15];
            } else {
                cap = SBXI_MIN(cap, need); /* nothing behind a triplet that did not fit */
            }
            need = sbxi_add(need, 3);
        }
    }
    return need;
}

SBXI_FN void sbxi_uuid7(unsigned char out[16], uint64_t wall_ms, const unsigned char random[10])
{
    for (unsigned i = 0; i < 6; i++)
        out[i] = (unsigned char)(wall_ms >> (40 - 8 * i));
    memcpy(out + 6, random, 10);
    out[6] = (unsigned char)((out[6] & 0x0F) | 0x70);
    out[8] = (unsigned char)((out[8] & 0x3F) | 0x80);
}

SBXI_FN void sbxi_uuid_text(char out[36], const unsigned char uuid[16])
{
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = "0123456789abcdef"[uuid[i] >> 4];
        *out++ = "0123456789abcdef"[uuid[i] & 15];
    }
}

SBXI_FN bool sbxi_uuid_parse(unsigned char out[16], sbx_str text)
{
    unsigned char uuid[16];
    size_t at = 0;
    if (text.n != 36 && text.n != 32)
        return false;
    for (unsigned i = 0; i < 16; i++) {
        if (text.n == 36 && (i == 4 || i == 6 || i == 8 || i == 10) && text.p[at++] != '-')
            return false;
        int hi = sbxi_text_hex(text.p[at]), lo = sbxi_text_hex(text.p[at + 1]);
        if (hi < 0 || lo < 0)
            return false;
        uuid[i] = (unsigned char)(hi << 4 | lo);
        at += 2;
    }
    memcpy(out, uuid, 16);
    return true;
}

SBXI_FN size_t sbxi_u64_text(char out[20], uint64_t v)
{
    char digits[20];
    size_t n = 0, at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    n = sizeof digits - at;
    memcpy(out, digits + at, n);
    return n;
}

/* ---- dates ---- */

#if SBX_NO_DATES
SBXI_FN bool sbxi_rfc3339(sbx_str s, int64_t *ms)
{
    (void)s;
    (void)ms;
    return false;
}

SBXI_FN bool sbxi_http_date(sbx_str s, int64_t *ms)
{
    (void)s;
    (void)ms;
    return false;
}
#else
/* Days from 1970-01-01 (proleptic Gregorian), -1 << 30 for a day that the
   month does not have. Years begin in March here, so that the leap day is
   the last and a month's start is a linear formula. */
static int32_t sbxi_text_days(unsigned year, unsigned month, unsigned day)
{
    static const unsigned char sbxi_text_month[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month < 1 || month > 12 || day < 1 || day > sbxi_text_month[month - 1] + (unsigned)(leap && month == 2))
        return -(1 << 30);
    uint32_t y = year + 400 - (month <= 2), m = (month + 9) % 12; /* + 400: January of year 0 stays positive */
    return (int32_t)(y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1) - (719468 + 146097);
}

/* A pattern: 0 = a digit of the next number, anything else is itself (letters
   in either case). False unless s begins with it. */
static bool sbxi_text_fields(sbx_str s, const char *pattern, unsigned *number)
{
    size_t i = 0;
    for (; pattern[i]; i++) {
        if (i >= s.n)
            return false;
        if (pattern[i] != '0') {
            if (sbxi_lower(s.p[i]) != pattern[i])
                return false;
            if (i && pattern[i - 1] == '0')
                number++;
        } else {
            if (s.p[i] < '0' || s.p[i] > '9')
                return false;
            *number = (i && pattern[i - 1] == '0' ? *number * 10 : 0) + (unsigned)(s.p[i] - '0');
        }
    }
    return true;
}

static bool sbxi_text_unix(const unsigned date[3], const unsigned time[3], int64_t *seconds)
{
    int32_t days = sbxi_text_days(date[0], date[1], date[2]);
    *seconds = (int64_t)days * 86400 + (int64_t)time[0] * 3600 + (int64_t)time[1] * 60 + time[2];
    return days != -(1 << 30) && time[0] < 24 && time[1] < 60 && time[2] <= 60;
}

#if !SBX_SMALL
/* Eight characters at once against a shape whose zeros are digits; out gets
   the digits' values, 0 elsewhere. */
static bool sbxi_text_eight(unsigned char out[8], const char *p, const char *shape, const char *sixes)
{
    uint64_t x, want, six;

    memcpy(&x, p, 8);
    memcpy(&want, shape, 8);
    memcpy(&six, sixes, 8);
    x ^= want;
    memcpy(out, &x, 8);
    /* A digit's value plus 6 stays below 16; a separator must match whole,
       which adding 15 to it shows. */
    return (((x + six) | x) & UINT64_C(0xF0F0F0F0F0F0F0F0)) == 0;
}

/* "0000-00-00T00:00:00", the form that servers write. */
static bool sbxi_text_stamp(const char *p, unsigned f[6])
{
    static const char date[] = "\6\6\6\6\17\6\6\17", mid[] = "\6\6\17\6\6\17\6\6", time[] = "\6\6\17\6\6\17\6\6";
    unsigned char a[8], b[8], c[8];

    if (!sbxi_text_eight(a, p, "0000-00-", date) || !sbxi_text_eight(b, p + 8, "00T00:00", mid) || !sbxi_text_eight(c, p + 11, "00:00:00", time))
        return false;
    f[0] = a[0] * 1000u + a[1] * 100u + a[2] * 10u + a[3];
    f[1] = a[5] * 10u + a[6];
    f[2] = b[0] * 10u + b[1];
    f[3] = c[0] * 10u + c[1];
    f[4] = c[3] * 10u + c[4];
    f[5] = c[6] * 10u + c[7];
    return true;
}
#else
static bool sbxi_text_stamp(const char *p, unsigned f[6])
{
    (void)p;
    (void)f;
    return false;
}
#endif

static bool sbxi_text_stamp_slow(sbx_str s, unsigned f[6])
{
    return sbxi_text_fields(s, "0000-00-00", f) && (sbxi_lower(s.p[10]) == 't' || s.p[10] == ' ') &&
           sbxi_text_fields(sbx_sn(s.p + 11, s.n - 11), "00:00:00", f + 3);
}

SBXI_FN bool sbxi_rfc3339(sbx_str s, int64_t *ms)
{
    unsigned f[6] = { 0, 0, 0, 0, 0, 0 }, offset[2] = { 0, 0 }, milli = 0, weight = 100;
    int64_t seconds;
    if (s.n < 20 || (!sbxi_text_stamp(s.p, f) && !sbxi_text_stamp_slow(s, f)) || !sbxi_text_unix(f, f + 3, &seconds))
        return false;
    size_t i = 19;
    if (s.p[i] == '.') {
        for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
            milli += weight * (unsigned)(s.p[i] - '0');
            weight /= 10;
        }
        if (i == 20)
            return false;
    }
    if (s.n - i == 1) {
        if (sbxi_lower(s.p[i]) != 'z')
            return false;
    } else {
        if (s.n - i != 6 || (s.p[i] != '+' && s.p[i] != '-') || !sbxi_text_fields(sbx_sn(s.p + i + 1, 5), "00:00", offset)
            || offset[0] > 23 || offset[1] > 59)
            return false;
        int32_t east = (int32_t)(offset[0] * 3600 + offset[1] * 60);
        seconds -= s.p[i] == '+' ? east : -east;
    }
    *ms = seconds * 1000 + milli;
    return true;
}

/* Position of the three letters in a list of such, or `none`. */
static unsigned sbxi_text_name(const char *p, const char *list, unsigned none)
{
    for (unsigned i = 0; i < none; i++)
        if (memcmp(list + 3 * i, p, 3) == 0)
            return i;
    return none;
}

SBXI_FN bool sbxi_http_date(sbx_str s, int64_t *ms)
{
    /* Sun, 06 Nov 1994 08:49:37 GMT */
    unsigned day[1] = { 0 }, f[4] = { 0, 0, 0, 0 }, date[3];
    int64_t seconds;
    if (s.n != 29 || sbxi_text_name(s.p, "MonTueWedThuFriSatSun", 7) == 7 || !sbxi_text_fields(sbx_sn(s.p + 3, 5), ", 00 ", day)
        || !sbxi_text_fields(sbx_sn(s.p + 11, 14), " 0000 00:00:00", f) || memcmp(s.p + 25, " GMT", 4) != 0)
        return false;
    date[0] = f[0];
    date[1] = sbxi_text_name(s.p + 8, "JanFebMarAprMayJunJulAugSepOctNovDec", 12) + 1;
    date[2] = day[0];
    if (!sbxi_text_unix(date, f + 1, &seconds))
        return false;
    *ms = seconds * 1000;
    return true;
}
#endif
