/* ---- json: members of an object whose names are expected (private) ---- */
#ifndef SBXI_JSON_MEMBER_H
#define SBXI_JSON_MEMBER_H
#include "json_reader.h"
#include "text.h"

/* Whether two texts of n bytes are equal. Two loads that overlap cover 4 to 16
   bytes: names are short, and a call to memcmp would cost more. */
SBXI_INLINE bool sbxi_json_same(const char *a, const char *b, size_t n)
{
#if !SBX_SMALL
    uint64_t x, y, u, v;
    uint32_t p, q, r, s;

    if (n >= 8 && n <= 16) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        memcpy(&u, a + n - 8, 8);
        memcpy(&v, b + n - 8, 8);
        return ((x ^ y) | (u ^ v)) == 0;
    }
    if (n >= 4 && n < 8) {
        memcpy(&p, a, 4);
        memcpy(&q, b, 4);
        memcpy(&r, a + n - 4, 4);
        memcpy(&s, b + n - 4, 4);
        return ((p ^ q) | (r ^ s)) == 0;
    }
    if (n > 16) {
        const char *last_a = a + n - 8, *last_b = b + n - 8;

        for (; a < last_a; a += 8, b += 8) {
            memcpy(&x, a, 8);
            memcpy(&y, b, 8);
            if (x != y)
                return false;
        }
        memcpy(&u, last_a, 8);
        memcpy(&v, last_b, 8);
        return u == v;
    }
#endif
    while (n--)
        if (*a++ != *b++)
            return false;
    return true;
}

#if !SBX_SMALL
/* Whether the next thing is a member of the object `depth` containers deep. It
   stays so for as long as sbxi_json_member takes members. */
SBXI_FN bool sbxi_json_at_member(const sbx_json *j, unsigned depth);
/* If the next member has this name and a value that is short, simple, whole in
   the input and followed by another member, takes both and returns the value's
   kind (NULL for {}, too); else MORE with nothing taken: sbx_json_next goes on. */
SBXI_FN sbx_json_kind sbxi_json_member(char **p, char *end, const char *name, size_t name_n, sbx_json_tok *tok);

/* Whether n bytes are there: one comparison, where a difference takes two steps. */
SBXI_INLINE bool sbxi_json_room(const char *r, const char *end, size_t n)
{
    return (uintptr_t)r + n <= (uintptr_t)end;
}

/* The steps below take what is written exactly as given, or nothing (false):
   sbx_json_next goes on in either case. With a constant text they are a few
   instructions. The first opens the document's object; the others take what
   follows there, where the next thing is a member. */
SBXI_INLINE bool sbxi_json_enter(sbx_json *j, char **p, const char *end)
{
    char *r = *p;

    if (j->state != (SBXI_JSON_TOP | SBXI_JSON_FRESH) || !sbxi_json_room(r, end, 2) || r[0] != '{' || r[1] != '"')
        return false;
    j->offset += (uint32_t)(end - r);
    j->stack = 1;
    j->state = SBXI_JSON_NAME;
    sbxi_json_nest(j, true);
    *p = r + 1;
    return true;
}

/* Whole members, each with the comma behind it. */
SBXI_INLINE bool sbxi_json_skip(char **p, const char *end, const char *text, size_t n)
{
    if (!sbxi_json_room(*p, end, n + 1) || !sbxi_json_same(*p, text, n))
        return false;
    *p += n;
    return true;
}

/* A name in quotes and its colon. */
SBXI_INLINE bool sbxi_json_key(sbx_json *j, char **p, const char *end, const char *text, size_t n)
{
    if (!sbxi_json_skip(p, end, text, n))
        return false;
    j->state = SBXI_JSON_MEMBER;
    return true;
}

/* A string value, in one or more pieces: its first token, or MORE with nothing
   taken where the value is none. */
SBXI_INLINE sbx_json_kind sbxi_json_string(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;

    if (!sbxi_json_room(r, end, 1) || *r != '"')
        return SBX_JSON_MORE;
    sbxi_json_set(j, tok, r + 1, 0);
    tok->kind = SBX_JSON_STRING;
    j->state = SBXI_JSON_IN_STRING;
    j->sub = SBXI_JSON_PLAIN;
    return sbxi_json_long(j, p, end, tok, r + 1);
}

/* Eight bytes of which the last n are digits: their value, or UINT64_MAX. */
SBXI_INLINE uint64_t sbxi_json_digits8(const char *p, unsigned n)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t v = (sbxi_load64(p) ^ ones * '0') >> (64 - 8 * n) << (64 - 8 * n);

    if (((v + ones * 0x76) | v) & ones * 0x80)
        return UINT64_MAX;
    v = (v * 10 + (v >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
    v = (v * 100 + (v >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
    return (v * 10000 + (v >> 32)) & UINT32_MAX;
}

/* The last member, an integer of at most 16 digits, and the document's end where
   the input ends. The text has 8 bytes or more. */
SBXI_INLINE bool sbxi_json_last(sbx_json *j, char **p, char *end, const char *text, size_t n, uint64_t *number)
{
    char *r = *p;
    size_t digits = (size_t)(end - r) - n - 1;
    uint64_t v, high = 0;

    if (j->state != SBXI_JSON_NAME || sbxi_json_depth(j) != 1 || !sbxi_json_room(r, end, n + 2) || digits > 16 || end[-1] != '}' || !sbxi_json_same(r, text, n))
        return false;
    v = sbxi_json_digits8(end - 9, (unsigned)SBXI_MIN(digits, 8));
    if (digits > 8)
        high = sbxi_json_digits8(end - 17, (unsigned)digits - 8);
    if (v == UINT64_MAX || high == UINT64_MAX || (r[n] == '0' && digits > 1))
        return false;
    *number = high * 100000000 + v;
    j->stack = 0;
    j->state = SBXI_JSON_OVER | SBXI_JSON_FRESH;
    sbxi_json_nest(j, false);
    *p = end;
    return true;
}
#endif

#endif
