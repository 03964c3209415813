/* ---- text: UTF-8, base64, SHA-1, percent-encoding, UUID, RFC 3339 (private) ---- */
#ifndef SBXI_TEXT_H
#define SBXI_TEXT_H
#include "base.h"

/* Blocks of 16 bytes as plain loops where the compiler makes vectors of them
   (gcc does from version 12 at -O2), as 8-byte words elsewhere. */
#ifndef SBXI_TEXT_BLOCKS
#if !SBX_SMALL && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__OPTIMIZE__) && (defined(__SSE2__) || defined(__aarch64__))
#define SBXI_TEXT_BLOCKS 1
#else
#define SBXI_TEXT_BLOCKS 0
#endif
#endif

/* Little-endian words; the compiler makes one load of them. */
SBXI_INLINE uint32_t sbxi_load32(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

SBXI_INLINE uint64_t sbxi_load64(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40
        | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Eight bytes in the machine's order. */
SBXI_INLINE uint64_t sbxi_word(const char *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

/* Whether 64 bytes are ASCII. */
SBXI_INLINE bool sbxi_ascii64(const char *p)
{
    return ((sbxi_word(p) | sbxi_word(p + 8) | sbxi_word(p + 16) | sbxi_word(p + 24) | sbxi_word(p + 32) | sbxi_word(p + 40) | sbxi_word(p + 48)
             | sbxi_word(p + 56)) & UINT64_MAX / 255 * 0x80) == 0;
}

/* Index of the lowest byte that is not 0; v is not 0. */
SBXI_INLINE size_t sbxi_first_byte(uint64_t v)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(v) >> 3;
#else
    size_t n = 0;
    for (; !(v & 0xFF); v >>= 8)
        n++;
    return n;
#endif
}

#if !SBX_SMALL
/* How many of 8 bytes are plain in JSON: neither quote, backslash nor control,
   and ASCII. c ^ 2 puts the quote (22) right above the controls. A borrow goes
   upwards only, so the lowest mark is right. */
SBXI_INLINE size_t sbxi_plain8(const char *p)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t x = sbxi_load64(p), stop = (((x ^ ones * 2) - ones * 0x21) | ((x ^ ones * '\\') - ones) | x) & ones * 0x80;
    return stop ? sbxi_first_byte(stop) : 8;
}

/* Likewise of 16. As signed, what is not ASCII is below the controls. */
SBXI_INLINE size_t sbxi_plain16(const char *p)
{
#if SBXI_TEXT_BLOCKS
    const signed char *s = (const signed char *)p;
    unsigned char plain[16];
    uint64_t low, high;
    for (unsigned i = 0; i < 16; i++)
        plain[i] = s[i] == '\\' ? 0 : (signed char)(s[i] ^ 2) > 0x20 ? 0xFF : 0;
    low = ~sbxi_load64((const char *)plain);
    high = ~sbxi_load64((const char *)plain + 8);
    return low ? sbxi_first_byte(low) : high ? 8 + sbxi_first_byte(high) : 16;
#else
    size_t n = sbxi_plain8(p);
    return n < 8 ? n : 8 + sbxi_plain8(p + 8);
#endif
}
#endif

/* Length of the UTF-8 character above ASCII whose first four bytes are given
   (sbxi_load32), 0 if it is none. */
SBXI_INLINE size_t sbxi_utf8_length(uint32_t x)
{
    if ((x & 0xC0E0) == 0x80C0 && (x & 0x1E) != 0)
        return 2;
    if ((x & 0xC0C0F0) == 0x8080E0 && (x & 0x200F) != 0 && (x & 0x200F) != 0x200D)
        return 3;
    if ((x & 0xC0C0C0F8) == 0x808080F0 && (x & 0x3007) != 0 && ((x & 4) == 0 || (x & 0x3003) == 0))
        return 4;
    return 0;
}

/* Resumable UTF-8 check (RFC 3629). *state is 0 at the start and at every
   character border; false: invalid (overlong, surrogate, > U+10FFFF), found
   at the first byte that cannot be right. After false *state is undefined. */
SBXI_FN bool sbxi_utf8(uint32_t *state, const char *p, size_t n);
/* Longest prefix of p[0..n) that ends at a character border: a sequence cut
   by the end is left out, bytes that are no UTF-8 are left as they are. */
SBXI_FN size_t sbxi_utf8_cut(const char *p, size_t n);

/* RFC 4648 4 with padding. Writes and returns (n + 2) / 3 * 4 characters. */
SBXI_FN size_t sbxi_base64(char *out, const unsigned char *p, size_t n);
/* The way back, in place and in pieces cut anywhere: decodes p[0..n) and returns
   how many bytes stand at p then, never more than n. *state is 0 at the start,
   and 0 or SBXI_BASE64_PADDED where a text may end; SBXI_BASE64_BAD once
   something was no base64, or came behind its padding. */
enum { SBXI_BASE64_BAD = 1, SBXI_BASE64_PADDED = 9 };
SBXI_FN size_t sbxi_base64_decode(uint32_t *state, char *p, size_t n);
/* FIPS 180-4 6.1. For the WebSocket handshake only: SHA-1 is not secure. */
SBXI_FN void sbxi_sha1(unsigned char out[20], const void *p, size_t n);
/* One path segment or query value: all but RFC 3986 unreserved is encoded.
   Returns the length needed; writes at most cap bytes, never a part of a
   triplet. keep: further characters left as they are ("" or "/"). */
SBXI_FN size_t sbxi_percent(char *out, size_t cap, sbx_str s, const char *keep);
/* UUID version 7 (RFC 9562 5.7) from wall-clock ms and 10 random bytes. */
SBXI_FN void sbxi_uuid7(unsigned char out[16], uint64_t wall_ms, const unsigned char random[10]);
SBXI_FN void sbxi_uuid_text(char out[36], const unsigned char uuid[16]); /* lower case, not terminated */
/* Dashed or 32 hex digits, either case. out is written on success only. */
SBXI_FN bool sbxi_uuid_parse(unsigned char out[16], sbx_str text);
/* RFC 3339 5.6 date-time, any fraction, Z or offset, to Unix ms (years 0000 to
   9999; further digits of the fraction are cut). Lower-case t and z and a
   space for the T are taken. A leap second (:60, in any minute) is the next
   second, as POSIX counts. *ms is written on success only. */
SBXI_FN bool sbxi_rfc3339(sbx_str s, int64_t *ms);
/* An HTTP date (RFC 9110 5.6.7, IMF-fixdate; the day's name must be one, but
   is not compared with the date) to Unix ms. :60 as above. */
SBXI_FN bool sbxi_http_date(sbx_str s, int64_t *ms);
/* Decimal digits, not terminated; returns how many. */
SBXI_FN size_t sbxi_u64_text(char out[20], uint64_t v);

#endif
