#include "json_member.h"
#include "json_reader.h"
#include "text.h"

/* The fast ways: what is frequent, and whole in the input. */
#if !SBX_SMALL

/* How many of 16 bytes are digits. */
static inline size_t sbxi_json_digits(const char *p)
{
#if SBXI_TEXT_BLOCKS
    const unsigned char *s = (const unsigned char *)p;
    unsigned char digit[16];
    uint64_t low, high;
    for (unsigned i = 0; i < 16; i++)
        digit[i] = (unsigned char)(s[i] - '0') > 9 ? 0xFF : 0;
    low = sbxi_load64((const char *)digit);
    high = sbxi_load64((const char *)digit + 8);
    return low ? sbxi_first_byte(low) : high ? 8 + sbxi_first_byte(high) : 16;
#else
    size_t n = 0;
    while (n < 16 && p[n] >= '0' && p[n] <= '9')
        n++;
    return n;
#endif
}

/* Moves 16 bytes to a lower place that may overlap. */
static inline void sbxi_json_move16(char *to, const char *from)
{
    char block[16];
    memcpy(block, from, 16);
    memcpy(to, block, 16);
}

/* Likewise n < 16 bytes: reads before it writes. */
static inline void sbxi_json_move(char *to, const char *from, size_t n)
{
    if (n >= 8) {
        uint64_t a, b;
        memcpy(&a, from, 8);
        memcpy(&b, from + n - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + n - 8, &b, 8);
    } else if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, from, 4);
        memcpy(&b, from + n - 4, 4);
        memcpy(to, &a, 4);
        memcpy(to + n - 4, &b, 4);
    } else if (n) {
        char a = from[0], b = from[n >> 1], c = from[n - 1];
        to[0] = a;
        to[n >> 1] = b;
        to[n - 1] = c;
    }
}

/* What is behind a backslash; 0: not one of the short ones. */
static const char sbxi_json_short[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '/', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0,
    0, 0, '\b', 0, 0, 0, '\f', 0, 0, 0, 0, 0, 0, 0, '\n', 0, 0, 0, '\r', 0, '\t', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
};

/* Four hex digits, or UINT32_MAX. */
static uint32_t sbxi_json_hex4(const char *p)
{
    uint32_t x = sbxi_load32(p), letter = x >> 6 & 0x01010101, digit = (x & 0x0F0F0F0F) + letter * 9;
    /* written again from the values it must be the same, but for the case */
    uint32_t again = digit + 0x30303030 + ((digit + 0x06060606) >> 4 & 0x01010101) * 0x27;
    if ((digit & 0xF0F0F0F0) != 0 || again != (x | letter << 5))
        return UINT32_MAX;
    return (digit & 0xF) << 12 | (digit & 0xF00) | (digit >> 12 & 0xF0) | digit >> 24;
}

/* A \u escape at r, with 12 bytes there. Writes at w what it stands for and
   returns how long that is; *r goes behind the escape. 0 if it, or an escape
   behind a lone high surrogate, is wrong. */
static inline size_t sbxi_json_unicode(char *w, char **r, sbx_json_tok *tok)
{
    char *s = *r + 6;
    uint32_t cp = sbxi_json_hex4(s - 4);
    size_t n;
    if (cp == UINT32_MAX)
        return 0;
    if (cp - 0xD800 < 0x400) {
        uint32_t low = 0;
        if (s[0] == '\\' && s[1] == 'u')
            low = sbxi_json_hex4(s + 2);
        else if (s[0] == '\\' && !sbxi_json_short[(unsigned char)s[1]])
            low = UINT32_MAX;
        if (low == UINT32_MAX)
            return 0;
        if (low - 0xDC00 < 0x400) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            s += 6;
        }
    }
    if (cp - 0xD800 < 0x800)
        cp = 0xFFFD;
    if (cp == 0xFFFD)
        tok->replaced = true;
    n = sbxi_json_encode(w, cp);
    *r = s;
    return n;
}

/* In blocks: all but the errors and the last few bytes of the input. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_blocks(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r)
{
    char *w = r;
    if (end - r >= 19) {
        const char *last = end - 19; /* of a block with 3 bytes behind it */
        for (;;) {
            size_t n;
            unsigned c = (unsigned char)*r;
            if (c == '\\') {
                char plain = sbxi_json_short[(unsigned char)r[1]];
                if (plain) {
                    *w++ = plain;
                    r += 2;
                } else {
                    if (r[1] != 'u' || end - r < 12)
                        break;
                    n = sbxi_json_unicode(w, &r, tok);
                    if (!n)
                        break;
                    w += n;
                }
            } else if (c >= 0x80) {
                do {
                    uint32_t x = sbxi_load32(r);
                    char x0 = r[0], x1 = r[1], x2 = r[2], x3 = r[3];
                    n = sbxi_utf8_length(x);
                    if (n == 0)
                        break;
                    w[0] = x0;
                    w[1] = x1;
                    if (n > 2) {
                        w[2] = x2;
                        if (n > 3)
                            w[3] = x3;
                        if ((x & 0xFFFFFF) == 0xBDBFEF)
                            tok->replaced = true;
                    }
                    w += n;
                    r += n;
                } while (r <= last && (unsigned char)*r >= 0x80);
                if (n == 0)
                    break;
            } else if (c == '"' || c < 0x20) {
                break;
            }
            if (r > last)
                break;
            while ((n = sbxi_plain16(r)) == 16) {
                sbxi_json_move16(w, r);
                w += 16;
                r += 16;
                if (r > last)
                    goto rest;
            }
            if ((size_t)(r - w) + n >= 16)
                sbxi_json_move16(w, r); /* overwrites nothing that is still to be read */
            else if (w != r)
                sbxi_json_move(w, r, n);
            w += n;
            r += n;
        }
    }
rest:
    tok->n = (size_t)(w - tok->p);
    if (r != end && *r == '"') {
        *p = sbxi_json_text_end(j, r, end);
        return (sbx_json_kind)tok->kind;
    }
    *p = r;
    return sbxi_json_text(j, p, end, tok);
}

SBXI_FN SBXI_NOINLINE sbx_json_kind sbxi_json_long(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r)
{
    while (end - r >= 17) {
        size_t n = sbxi_plain16(r);
        r += n;
        if (n != 16)
            break;
    }
    if (r == end || *r != '"')
        return sbxi_json_blocks(j, p, end, tok, r);
    tok->n = (size_t)(r - tok->p);
    *p = sbxi_json_text_end(j, r, end);
    return (sbx_json_kind)tok->kind;
}

/* Brackets and words inside the input. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_bracket(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;
    if (j->state == (SBXI_JSON_TOP | SBXI_JSON_FRESH)) {
        j->offset += (uint32_t)(end - r);
        j->state = SBXI_JSON_TOP;
    }
    if (*r == '{') {
        if (j->state - 1u < SBXI_JSON_TOP && sbxi_json_depth(j) < j->max_depth) {
            sbxi_json_set(j, tok, r, 0);
            tok->kind = SBX_JSON_OBJECT;
            sbxi_json_open(j, true);
            *p = r + 1;
            if (r[1] == '"')
                j->state = SBXI_JSON_NAME;
            return SBX_JSON_OBJECT;
        }
    } else if (*r == '}') {
        if (j->state == SBXI_JSON_FIRST_NAME || (j->state == SBXI_JSON_AFTER && (j->stack & 1))) {
            sbxi_json_close(j, p, end);
            sbxi_json_set(j, tok, r, 0);
            tok->kind = SBX_JSON_OBJECT_END;
            return SBX_JSON_OBJECT_END;
        }
    } else if (j->state == SBXI_JSON_MEMBER) {
        sbx_json_kind kind = SBX_JSON_MORE;
        size_t n = 4;
        if (memcmp(r, "true", 4) == 0) {
            kind = SBX_JSON_TRUE;
        } else if (*r == 'f' && memcmp(r + 1, "alse", 4) == 0) {
            kind = SBX_JSON_FALSE;
            n = 5;
        } else if (memcmp(r, "null", 4) == 0) {
            kind = SBX_JSON_NULL;
        }
        if (kind != SBX_JSON_MORE) {
            sbxi_json_set(j, tok, r, 0);
            tok->kind = (uint8_t)kind;
            *p = sbxi_json_after(j, r + n, end);
            return kind;
        }
    }
    return sbxi_json_any(j, p, end, tok);
}

/* What stands near the end of the input, if it is simple. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_tail(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p, *q = r;
    size_t n;
    switch (j->state) {
    case SBXI_JSON_NAME:
        if (!sbxi_json_room(r, end, 11) || *r != '"')
            break;
        n = sbxi_plain8(r + 1);
        if (memcmp(r + n + 1, "\":", 2) != 0)
            break;
        sbxi_json_set(j, tok, r + 1, n);
        j->state = SBXI_JSON_MEMBER;
        *p = r + n + 3;
        return SBX_JSON_KEY;
    case SBXI_JSON_MEMBER:
        if (r == end || *r == '0')
            break;
        while (q != end && (unsigned char)(*q - '0') < 10)
            q++;
        if (q == end || q == r || *q != '}')
            break;
        sbxi_json_set(j, tok, r, (size_t)(q - r));
        tok->kind = SBX_JSON_NUMBER;
        j->state = SBXI_JSON_AFTER;
        *p = q;
        return SBX_JSON_NUMBER;
    case SBXI_JSON_AFTER:
        if (r == end || *r != '}' || sbxi_json_depth(j) != 1 || !(j->stack & 1))
            break;
        sbxi_json_close(j, p, end);
        sbxi_json_set(j, tok, r, 0);
        tok->kind = SBX_JSON_OBJECT_END;
        if (*p == end)
            j->state |= SBXI_JSON_FRESH;
        return SBX_JSON_OBJECT_END;
    case SBXI_JSON_OVER | SBXI_JSON_FRESH:
        if (r != end)
            break;
        sbxi_json_set(j, tok, r, 0);
        tok->kind = SBX_JSON_DONE;
        return SBX_JSON_DONE;
    default:
        break;
    }
    return sbxi_json_any(j, p, end, tok);
}

/* Like sbxi_json_plain, of 32 if they are there. */
static inline size_t sbxi_json_plain32(const char *p, const char *end)
{
    size_t n = sbxi_plain16(p);
    if (SBXI_UNLIKELY(n == 16) && sbxi_json_room(p, end, 34))
        n += sbxi_plain16(p + 16);
    return n;
}

/* First of all the members of objects, as long as they are short, well inside
   the input and without escapes. */
SBX_API sbx_json_kind sbx_json_next(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;
    size_t n;
    if (SBXI_UNLIKELY(!sbxi_json_room(r, end, 20)))
        return sbxi_json_tail(j, p, end, tok);
    if (j->state == SBXI_JSON_NAME) {
        if (*r == '"') {
            n = sbxi_json_plain32(r + 1, end);
            sbxi_json_set(j, tok, r + 1, n);
            if (SBXI_LIKELY(memcmp(r + n + 1, "\":", 2) == 0)) {
                j->state = SBXI_JSON_MEMBER;
                *p = r + n + 3;
                return SBX_JSON_KEY;
            }
            j->state = SBXI_JSON_IN_NAME;
            j->sub = SBXI_JSON_PLAIN;
            return sbxi_json_long(j, p, end, tok, r + n + 1);
        }
    } else if (j->state == SBXI_JSON_MEMBER) {
        if (*r == '"') {
            n = sbxi_json_plain32(r + 1, end);
            sbxi_json_set(j, tok, r + 1, n);
            tok->kind = SBX_JSON_STRING;
            if (memcmp(r + n + 1, "\",", 2) == 0) {
                j->state = SBXI_JSON_NAME;
                *p = r + n + 3;
                return SBX_JSON_STRING;
            }
            j->state = SBXI_JSON_IN_STRING;
            j->sub = SBXI_JSON_PLAIN;
            return sbxi_json_long(j, p, end, tok, r + n + 1);
        }
        if (memcmp(r, "null", 4) == 0 && r[4] == ',') {
            sbxi_json_set(j, tok, r, 0);
            tok->kind = SBX_JSON_NULL;
            j->state = SBXI_JSON_NAME;
            *p = r + 5;
            return SBX_JSON_NULL;
        }
        if ((unsigned char)(*r - '0') < 10) {
            n = sbxi_json_digits(r);
            if (r[n] == ',' && (*r != '0' || n == 1)) {
                sbxi_json_set(j, tok, r, n);
                tok->kind = SBX_JSON_NUMBER;
                j->state = SBXI_JSON_NAME;
                *p = r + n + 1;
                return SBX_JSON_NUMBER;
            }
        }
    }
    return sbxi_json_bracket(j, p, end, tok);
}

/* The value at r, which another member follows; MORE: not a simple one. */
static inline sbx_json_kind sbxi_json_simple(char **p, char *end, sbx_json_tok *tok, char *r)
{
    sbx_json_kind kind;
    size_t n;
    tok->p = r;
    if (*r == '"') {
        size_t more = sbxi_plain16(++r);
        for (n = more; more == 16 && sbxi_json_room(r, end, n + 20); n += more)
            more = sbxi_plain16(r + n);
        tok->p = r;
        tok->n = n;
        kind = SBX_JSON_STRING;
        r += n;
        if (*r++ != '"')
            return SBX_JSON_MORE;
    } else if ((unsigned char)(*r - '0') < 10) {
        n = sbxi_json_digits(r);
        if (*r == '0' && n > 1)
            return SBX_JSON_MORE;
        tok->n = n;
        kind = SBX_JSON_NUMBER;
        r += n;
    } else if (memcmp(r, "null", 4) == 0) {
        kind = SBX_JSON_NULL;
        tok->n = 0;
        r += 4;
    } else if (memcmp(r, "{}", 2) == 0) { /* holds nothing either */
        kind = SBX_JSON_NULL;
        tok->n = 0;
        r += 2;
    } else {
        return SBX_JSON_MORE;
    }
    if (*r != ',')
        return SBX_JSON_MORE;
    *p = r + 1;
    return kind;
}

SBXI_FN bool sbxi_json_at_member(const sbx_json *j, unsigned depth)
{
    return j->state == SBXI_JSON_NAME && sbxi_json_depth(j) == depth;
}

SBXI_FN sbx_json_kind sbxi_json_member(char **p, char *end, const char *name, size_t name_n, sbx_json_tok *tok)
{
    char *r = *p;
    sbx_json_kind kind;
    if (!sbxi_json_room(r, end, name_n + 24))
        return SBX_JSON_MORE;
    if (*r != '"' || r[name_n + 1] != '"' || r[name_n + 2] != ':' || !sbxi_json_same(r + 1, name, name_n))
        return SBX_JSON_MORE;
    kind = sbxi_json_simple(p, end, tok, r + name_n + 3);
    tok->kind = (uint8_t)kind;
    return kind;
}

#endif
