#include "json.h"
#include "base.h"
#if !SBX_FREESTANDING
#include <stdlib.h>
#endif

/* An integer in two's complement, signed or not. */
static SBXI_NOINLINE bool sbxi_json_integer(const char *p, size_t n, void *out, bool is_signed)
{
    uint64_t v = 0, most = UINT64_MAX;
    bool minus = n && *p == '-';
    size_t i = minus;
    if (n == i || (p[i] == '0' && n > i + 1))
        return false;
    if (is_signed)
        most = (uint64_t)INT64_MAX + minus;
    else if (minus)
        most = 0;
    for (; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)p[i] - '0';
        uint64_t next = v * 10 + digit;
        if (digit > 9 || v > UINT64_MAX / 10 || next < digit || next > most)
            return false;
        v = next;
    }
    if (minus)
        v = 0 - v;
    memcpy(out, &v, sizeof v);
    return true;
}

SBX_API bool sbx_json_u64(sbx_str number, uint64_t *out)
{
    return sbxi_json_integer(number.p, number.n, out, false);
}

SBX_API bool sbx_json_i64(sbx_str number, int64_t *out)
{
    return sbxi_json_integer(number.p, number.n, out, true);
}

/* Splits any JSON number into digits (no leading zeros, at most cap; *tail:
   something other than zeros was cut behind them) and a power of ten. False:
   not a number. */
static bool sbxi_json_decimal(sbx_str s, char *digits, size_t cap, size_t *n, bool *tail, int32_t *exponent)
{
    size_t i = 0, count = 0;
    int32_t power = 0, e = 0;
    *tail = false;
    if (i < s.n && s.p[i] == '-')
        i++;
    for (unsigned part = 0; part < 2; part++) {
        size_t from = i;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
            if (count == cap) {
                *tail |= s.p[i] != '0';
                power += part == 0 && power < 100000;
            } else {
                if (count || s.p[i] != '0')
                    digits[count++] = s.p[i];
                power -= part == 1 && power > -100000;
            }
        }
        if (i == from || (part == 0 && s.p[from] == '0' && i - from > 1))
            return false;
        if (part == 0 && (i == s.n || s.p[i] != '.'))
            break;
        i += part == 0;
    }
    if (i < s.n && (s.p[i] | 32) == 'e') {
        bool minus = ++i < s.n && s.p[i] == '-';
        size_t from;
        i += i < s.n && (s.p[i] == '-' || s.p[i] == '+');
        for (from = i; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            if (e < 1000000)
                e = e * 10 + (s.p[i] - '0');
        if (i == from)
            return false;
        e = minus ? -e : e;
    }
    *n = count;
    *exponent = power + e;
    return i == s.n;
}

#if !SBX_FREESTANDING

/* strtod wants the locale's decimal point; digits and an exponent without a
   point mean the same number and read the same everywhere. */
SBX_API bool sbx_json_f64(sbx_str number, double *out)
{
    char text[224];
    size_t n;
    bool tail;
    int32_t e;
    double v;
    if (!sbxi_json_decimal(number, text + 1, 200, &n, &tail, &e))
        return false;
    text[0] = number.p[0] == '-' ? '-' : '+';
    if (n == 0)
        text[++n] = '0';
    if (tail) { /* a digit more, so that a tie is not seen where there is none */
        text[++n] = '1';
        e--;
    }
    n++;
    text[n++] = 'e';
    text[n++] = e < 0 ? '-' : '+';
    for (int32_t weight = 1000000, left = e < 0 ? -e : e; weight; weight /= 10) {
        text[n++] = (char)('0' + left / weight % 10);
    }
    text[n] = 0;
    v = strtod(text, NULL);
    if (v - v != 0) /* infinite */
        return false;
    *out = v;
    return true;
}

#else

/* A 64-bit mantissa with the top bit set, times powers of ten, one by one:
   each step cuts at most one unit of 2^-62, so that 342 of them stay below
   0.7 units of a double's last place; rounding adds the half. */
SBX_API bool sbx_json_f64(sbx_str number, double *out)
{
    char digits[19];
    size_t n;
    bool tail;
    int32_t ten, two = 0;
    uint64_t m = 0;
    if (sizeof(double) != 8 || !sbxi_json_decimal(number, digits, sizeof digits, &n, &tail, &ten))
        return false;
    for (size_t i = 0; i < n; i++)
        m = m * 10 + (unsigned)(digits[i] - '0');
    if (m && ten > 400)
        return false;
    if (ten < -400)
        m = 0;
    if (m) {
        unsigned drop;
        uint64_t half;
        for (; !(m >> 63); two--)
            m <<= 1;
        for (; ten > 0; ten--) { /* * 10 = * 5/4 * 8 */
            uint64_t quarter = m >> 2;
            two += 3;
            if (m > UINT64_MAX - quarter) {
                m = (m >> 1) + (quarter >> 1) + (m & quarter & 1);
                two++;
            } else {
                m += quarter;
            }
        }
        for (; ten < 0; ten++) { /* / 10 = * 4/5 / 8 */
            m = m / 5 * 4 + m % 5 * 4 / 5;
            two -= 3;
            if (!(m >> 63)) {
                m <<= 1;
                two--;
            }
        }
        /* m * 2^two; a double has 53 bits, fewer below 2^-1022 */
        drop = two < -1085 ? (unsigned)(-1085 - two) + 11 : 11;
        if (drop > 64) {
            m = 0;
        } else {
            half = (uint64_t)1 << (drop - 1);
            uint64_t rest = drop == 64 ? m : m & (half * 2 - 1);
            m = drop == 64 ? 0 : m >> drop;
            m += rest > half || (rest == half && (m & 1));
            two += (int32_t)drop;
            /* the sum carries into the exponent where m became 2^53 or 2^52 */
            if (m >> 52)
                m += (uint64_t)(uint32_t)(two + 1074) << 52;
            if (m >> 52 >= 2047)
                return false;
        }
    }
    m |= (uint64_t)(number.p[0] == '-') << 63;
    memcpy(out, &m, sizeof m);
    return true;
}

#endif
