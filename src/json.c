#include "json.h"
#include "json_member.h"
#include "base.h"
#include "text.h"

/* What the reader expects. In the middle of a text the state is its kind's. */
enum {
    SBXI_JSON_NAME,      /* behind a comma in an object */
    SBXI_JSON_MEMBER,    /* a value behind a colon */
    SBXI_JSON_ELEMENT,   /* a value behind a comma in an array */
    SBXI_JSON_FIRST,     /* the first value of an array, or its end */
    SBXI_JSON_TOP,       /* the document's value */
    SBXI_JSON_FIRST_NAME,
    SBXI_JSON_COLON,
    SBXI_JSON_AFTER,     /* a value: comma or end */
    SBXI_JSON_IN_NAME,
    SBXI_JSON_IN_STRING,
    SBXI_JSON_IN_NUMBER,
    SBXI_JSON_IN_WORD,
    SBXI_JSON_OVER,
    SBXI_JSON_FAILED,
    SBXI_JSON_REPORTED,    /* `offset` says where */
    SBXI_JSON_FRESH = 0x80 /* flag: the next input is not yet in `offset` */
};

/* sbx_json.sub inside a string: how far the character in hand is. */
enum {
    SBXI_JSON_PLAIN, /* between characters */
    SBXI_JSON_UTF8,  /* cp: state of sbxi_utf8 */
    SBXI_JSON_HIGH,  /* cp >> 16: a high surrogate, whose low one may follow */
    SBXI_JSON_ESC,   /* behind a backslash; cp >> 16 as above, or 0 */
    SBXI_JSON_HEX    /* + digits seen; cp & FFFF: their value */
};

/* Steps that are quick where they stand, and small where they are shared. */
#if SBX_SMALL
#define SBXI_JSON_STEP static SBXI_NOINLINE
#else
#define SBXI_JSON_STEP static inline
#endif

static sbx_json_kind sbxi_json_fail(sbx_json *j, sbx_json_error error)
{
    j->error = (uint8_t)error;
    j->state = SBXI_JSON_FAILED;
    return SBX_JSON_ERROR;
}

/* The last four fields of a token are copied as one from j->tail, which holds
   those of a key; its last byte counts the depth. */
typedef char sbxi_json_tail_is_4_bytes[offsetof(sbx_json_tok, depth) - offsetof(sbx_json_tok, kind) == 3 ? 1 : -1];

static void sbxi_json_set(const sbx_json *j, sbx_json_tok *tok, char *p, size_t n)
{
    tok->p = p;
    tok->n = n;
    memcpy((char *)tok + offsetof(sbx_json_tok, kind), j->tail, 4);
}

static unsigned sbxi_json_depth(const sbx_json *j)
{
    return (unsigned char)j->tail[3];
}

SBX_API void sbx_json_init(sbx_json *j, unsigned max_depth)
{
    memset(j, 0, sizeof *j);
    j->max_depth = (uint8_t)(max_depth - 1u < SBX_JSON_MAX_DEPTH ? max_depth : SBX_JSON_MAX_DEPTH);
    j->state = SBX_SMALL ? SBXI_JSON_TOP : SBXI_JSON_TOP | SBXI_JSON_FRESH;
    j->tail[0] = SBX_JSON_KEY;
}

/* The state behind a value that ends at p; takes a comma that follows. */
SBXI_JSON_STEP char *sbxi_json_after(sbx_json *j, char *p, const char *end)
{
    j->state = sbxi_json_depth(j) ? SBXI_JSON_AFTER : SBXI_JSON_OVER;
#if SBX_SMALL
    (void)end;
#else
    if (p != end && *p == ',' && sbxi_json_depth(j)) {
        j->state = j->stack & 1 ? SBXI_JSON_NAME : SBXI_JSON_ELEMENT;
        p++;
    }
#endif
    return p;
}

/* One container more or less: the tail changes as one word, as it is read. */
static inline void sbxi_json_nest(sbx_json *j, bool deeper)
{
    static const char sbxi_json_deeper[4] = { 0, 0, 0, 1 };
    uint32_t tail, one;
    memcpy(&tail, j->tail, 4);
    memcpy(&one, sbxi_json_deeper, 4);
    tail = deeper ? tail + one : tail - one;
    memcpy(j->tail, &tail, 4);
}

SBXI_JSON_STEP sbx_json_kind sbxi_json_open(sbx_json *j, bool object)
{
    if (sbxi_json_depth(j) == j->max_depth)
        return sbxi_json_fail(j, SBX_JSON_ERR_DEPTH);
    sbxi_json_nest(j, true);
    j->stack = j->stack << 1 | object;
    j->state = object ? SBXI_JSON_FIRST_NAME : SBXI_JSON_FIRST;
    return object ? SBX_JSON_OBJECT : SBX_JSON_ARRAY;
}

SBXI_JSON_STEP sbx_json_kind sbxi_json_close(sbx_json *j, char **p, const char *end)
{
    bool object = j->stack & 1;
    sbxi_json_nest(j, false);
    j->stack >>= 1;
    *p = sbxi_json_after(j, *p + 1, end);
    return object ? SBX_JSON_OBJECT_END : SBX_JSON_ARRAY_END;
}

/* ---- characters: one at a time, from any number of inputs ---- */

static size_t sbxi_json_encode(char *to, uint32_t cp)
{
    size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--) {
        to[i] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    to[0] = (char)(n == 1 ? cp : cp | (0xF00u >> n & 0xF0));
    return n;
}

SBXI_JSON_STEP void sbxi_json_put(sbx_json *j, uint32_t cp)
{
    j->held_n = (uint8_t)(j->held_n + sbxi_json_encode(j->held + j->held_n, cp));
}

enum { SBXI_JSON_PART, SBXI_JSON_WHOLE, SBXI_JSON_WHOLE_BEFORE, SBXI_JSON_BAD };

/* An escape is complete: what it stands for, a UTF-16 code unit. */
static int sbxi_json_unit(sbx_json *j, uint32_t unit)
{
    uint32_t high = j->cp >> 16;
    j->sub = SBXI_JSON_PLAIN;
    if (high && unit - 0xDC00 < 0x400)
        unit += (high << 10) - (0xD800u << 10) - 0xDC00 + 0x10000;
    else if (high)
        sbxi_json_put(j, 0xFFFD);
    if (unit - 0xD800 < 0x400) {
        j->cp = unit << 16;
        j->sub = SBXI_JSON_HIGH;
        return high ? SBXI_JSON_WHOLE : SBXI_JSON_PART;
    }
    sbxi_json_put(j, unit - 0xD800 < 0x800 ? 0xFFFD : unit);
    return SBXI_JSON_WHOLE;
}

/* Takes the next byte of a character that is not plain ASCII. PART: more of
   it must come; WHOLE: it is in `held`; WHOLE_BEFORE: likewise, without this
   byte; otherwise an error + BAD. `held` can be a U+FFFD for a lone high
   surrogate and the character behind it. */
SBXI_JSON_STEP int sbxi_json_char(sbx_json *j, unsigned c)
{
    static const char sbxi_json_names[] = "\"\\/bfnrt", sbxi_json_named[] = "\"\\/\b\f\n\r\t";
    char byte = (char)c;
    const char *name;
    unsigned digit;
    switch (j->sub) {
    case SBXI_JSON_PLAIN:
        j->cp = 0;
        /* fall through */
    case SBXI_JSON_HIGH:
        j->held_n = 0;
        if (c == '\\') {
            j->sub = SBXI_JSON_ESC;
            return SBXI_JSON_PART;
        }
        if (j->cp) {
            j->sub = SBXI_JSON_PLAIN;
            sbxi_json_put(j, 0xFFFD);
            return SBXI_JSON_WHOLE_BEFORE;
        }
        if (c < 0x20)
            return SBXI_JSON_BAD + SBX_JSON_ERR_CONTROL;
        j->sub = SBXI_JSON_UTF8;
        /* fall through */
    case SBXI_JSON_UTF8:
        if (!sbxi_utf8(&j->cp, &byte, 1))
            return SBXI_JSON_BAD + SBX_JSON_ERR_UTF8;
        j->held[j->held_n++] = byte;
        if (j->cp)
            return SBXI_JSON_PART;
        j->sub = SBXI_JSON_PLAIN;
        return SBXI_JSON_WHOLE;
    case SBXI_JSON_ESC:
        if (c == 'u') {
            j->sub = SBXI_JSON_HEX;
            return SBXI_JSON_PART;
        }
        name = (const char *)memchr(sbxi_json_names, (int)c, sizeof sbxi_json_names - 1);
        return name ? sbxi_json_unit(j, (unsigned char)sbxi_json_named[name - sbxi_json_names]) : SBXI_JSON_BAD + SBX_JSON_ERR_ESCAPE;
    default:
        digit = c - '0';
        if (digit > 9) {
            digit = (c | 32) - 'a' + 10;
            if (digit - 10 > 5)
                return SBXI_JSON_BAD + SBX_JSON_ERR_ESCAPE;
        }
        j->cp = (j->cp & 0xFFFF0000) | (j->cp << 4 & 0xFFF0) | digit;
        return ++j->sub < SBXI_JSON_HEX + 4 ? SBXI_JSON_PART : sbxi_json_unit(j, j->cp & 0xFFFF);
    }
}

/* ---- strings ---- */

/* The text ends at p, where its quote is; takes a colon or comma behind it. */
static inline char *sbxi_json_text_end(sbx_json *j, char *p, const char *end)
{
    p++;
    if (j->state != SBXI_JSON_IN_NAME)
        return sbxi_json_after(j, p, end);
    j->state = SBXI_JSON_COLON;
#if !SBX_SMALL
    if (p != end && *p == ':') {
        j->state = SBXI_JSON_MEMBER;
        p++;
    }
#else
    (void)end;
#endif
    return p;
}

static sbx_json_kind sbxi_json_any(sbx_json *j, char **p, char *end, sbx_json_tok *tok);

/* What a piece of text ends with: itself, or what kept it from being one. */
static sbx_json_kind sbxi_json_piece(const sbx_json *j, const sbx_json_tok *tok)
{
    return tok->n || !tok->more ? (sbx_json_kind)tok->kind : j->error ? SBX_JSON_ERROR : SBX_JSON_MORE;
}

/* Goes on with a piece of a string that is decoded in place: tok->p and tok->n
   hold what there is, and from *p it goes byte by byte. A character that began
   in an earlier input has no room here and is a piece of its own in `held`. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_text(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p, *w = tok->p + tok->n;
    bool here = j->sub == SBXI_JSON_PLAIN;
    tok->more = true;
    while (r != end) {
        unsigned c = (unsigned char)*r;
        int step;
        if (j->sub == SBXI_JSON_PLAIN) {
            if (c == '"') {
                tok->more = false;
                r = sbxi_json_text_end(j, r, end);
                break;
            }
            if (c >= 0x20 && c != '\\' && c < 0x80) {
                *w++ = (char)c;
                r++;
                continue;
            }
        }
        step = sbxi_json_char(j, c);
        if (step >= SBXI_JSON_BAD) { /* what is good goes out first */
            sbxi_json_fail(j, (sbx_json_error)(step - SBXI_JSON_BAD));
            break;
        }
        r += step != SBXI_JSON_WHOLE_BEFORE;
        if (step == SBXI_JSON_PART)
            continue;
        if (j->held_n >= 3 && memcmp(j->held, "\xEF\xBF\xBD", 3) == 0)
            tok->replaced = true;
        if (!here) {
            tok->p = j->held;
            w = j->held + j->held_n;
            break;
        }
        memcpy(w, j->held, j->held_n);
        w += j->held_n;
    }
    *p = r;
    tok->n = (size_t)(w - tok->p);
#if !SBX_SMALL
    if (r == end)
        j->state |= SBXI_JSON_FRESH;
    else if (!tok->n && j->error)
        return sbxi_json_any(j, p, end, tok);
#endif
    return sbxi_json_piece(j, tok);
}

#if !SBX_SMALL
/* The same for a string that is plain from tok->p to r. */
static sbx_json_kind sbxi_json_long(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r);
#endif

/* ---- numbers and words ---- */

/* sbx_json.sub inside a number: how far it is, and where it may end. */
enum {
    SBXI_JSON_MINUS = 1,
    SBXI_JSON_ZERO,
    SBXI_JSON_INTEGER,
    SBXI_JSON_POINT,
    SBXI_JSON_FRACTION,
    SBXI_JSON_E,
    SBXI_JSON_SIGN,
    SBXI_JSON_EXPONENT,
    SBXI_JSON_WHOLE_NUMBER = 1 << SBXI_JSON_ZERO | 1 << SBXI_JSON_INTEGER | 1 << SBXI_JSON_FRACTION | 1 << SBXI_JSON_EXPONENT
};

/* How far it is with c, too; 0: c is not part of it. */
static unsigned sbxi_json_number_next(unsigned sub, unsigned c)
{
    static const char sbxi_json_digit[] = "\3\3\0\3\5\5\10\10\10";
    if (c - '0' < 10)
        return c == '0' && sub <= SBXI_JSON_MINUS ? 0u + SBXI_JSON_ZERO : (unsigned)sbxi_json_digit[sub];
    if (c == '.')
        return sub == SBXI_JSON_ZERO || sub == SBXI_JSON_INTEGER ? SBXI_JSON_POINT : 0;
    if ((c | 32) == 'e')
        return sub != SBXI_JSON_EXPONENT && (SBXI_JSON_WHOLE_NUMBER >> sub & 1) ? SBXI_JSON_E : 0;
    if (c == '-' || c == '+')
        return sub == SBXI_JSON_E ? SBXI_JSON_SIGN : sub == 0 ? SBXI_JSON_MINUS : 0;
    return 0;
}

SBXI_JSON_STEP sbx_json_kind sbxi_json_number(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;
    tok->kind = SBX_JSON_NUMBER;
    tok->more = true;
    for (; r != end; r++) {
        unsigned c = (unsigned char)*r, next = sbxi_json_number_next(j->sub, c);
        if (!next) {
            if (!(SBXI_JSON_WHOLE_NUMBER >> j->sub & 1) || c - '0' < 10) {
                sbxi_json_fail(j, SBX_JSON_ERR_NUMBER);
                break;
            }
            tok->more = false;
            tok->n = (size_t)(r - *p);
            *p = sbxi_json_after(j, r, end);
            return SBX_JSON_NUMBER;
        }
        j->sub = (uint8_t)next;
    }
    tok->n = (size_t)(r - *p);
    *p = r;
    return sbxi_json_piece(j, tok);
}

/* true, false or null; sub counts along all three, held_n is the kind. */
SBXI_JSON_STEP sbx_json_kind sbxi_json_word(sbx_json *j, char **p, char *end)
{
    static const char sbxi_json_words[] = "true\0false\0null";
    while (*p != end) {
        if (**p != sbxi_json_words[j->sub])
            return sbxi_json_fail(j, SBX_JSON_ERR_SYNTAX);
        ++*p;
        if (!sbxi_json_words[++j->sub]) {
            *p = sbxi_json_after(j, *p, end);
            return (sbx_json_kind)j->held_n;
        }
    }
    return SBX_JSON_MORE;
}

/* ---- structure ---- */

/* Reads up to a bracket (returned), an error or the end, or into a text (MORE). */
SBXI_JSON_STEP sbx_json_kind sbxi_json_structure(sbx_json *j, char **p, char *end)
{
    for (; *p != end; ++*p) {
        unsigned c = (unsigned char)**p, state = j->state;
        bool object = j->stack & 1, value = state - SBXI_JSON_MEMBER <= SBXI_JSON_TOP - SBXI_JSON_MEMBER;
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
            continue;
        if (state == SBXI_JSON_COLON && c == ':') {
            j->state = SBXI_JSON_MEMBER;
            continue;
        }
        if (state == SBXI_JSON_AFTER && c == ',') {
            j->state = object ? SBXI_JSON_NAME : SBXI_JSON_ELEMENT;
            continue;
        }
        j->sub = 0;
        if ((c == '}' && (state == SBXI_JSON_FIRST_NAME || (state == SBXI_JSON_AFTER && object)))
            || (c == ']' && (state == SBXI_JSON_FIRST || (state == SBXI_JSON_AFTER && !object))))
            return sbxi_json_close(j, p, end);
        if (c == '"' && (value || state == SBXI_JSON_NAME || state == SBXI_JSON_FIRST_NAME)) {
            j->state = value ? SBXI_JSON_IN_STRING : SBXI_JSON_IN_NAME;
            ++*p;
            return SBX_JSON_MORE;
        }
        if (value && (c | 32) == '{') {
            sbx_json_kind kind = sbxi_json_open(j, c == '{');
            *p += kind != SBX_JSON_ERROR;
            return kind;
        }
        if (value && (c == 't' || c == 'f' || c == 'n')) {
            j->state = SBXI_JSON_IN_WORD;
            j->sub = c == 't' ? 0 : c == 'f' ? 5 : 11;
            j->held_n = c == 't' ? SBX_JSON_TRUE : c == 'f' ? SBX_JSON_FALSE : SBX_JSON_NULL;
            return SBX_JSON_MORE;
        }
        if (value && (c == '-' || c - '0' < 10)) {
            j->state = SBXI_JSON_IN_NUMBER;
            return SBX_JSON_MORE;
        }
        return sbxi_json_fail(j, SBX_JSON_ERR_SYNTAX);
    }
    return SBX_JSON_MORE;
}

static sbx_json_kind sbxi_json_step(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    sbx_json_kind kind = SBX_JSON_MORE;
    if (j->state < SBXI_JSON_IN_NAME || j->state == SBXI_JSON_OVER)
        kind = sbxi_json_structure(j, p, end);
    if (kind != SBX_JSON_MORE)
        return kind;
    tok->p = *p;
    if (j->state == SBXI_JSON_IN_NUMBER)
        return sbxi_json_number(j, p, end, tok);
    if (j->state == SBXI_JSON_IN_WORD)
        return sbxi_json_word(j, p, end);
    if (j->state == SBXI_JSON_OVER)
        return SBX_JSON_DONE;
    if (j->state < SBXI_JSON_IN_NAME)
        return SBX_JSON_MORE;
    tok->kind = (uint8_t)(j->state == SBXI_JSON_IN_NAME ? SBX_JSON_KEY : SBX_JSON_STRING);
#if !SBX_SMALL
    if (j->sub == SBXI_JSON_PLAIN)
        return sbxi_json_long(j, p, end, tok, *p);
#endif
    return sbxi_json_text(j, p, end, tok);
}

/* Everything; the way of all tokens in a small build. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_any(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    sbx_json_kind kind = SBX_JSON_ERROR;
    char *from = *p;
    sbxi_json_set(j, tok, from, 0);
#if SBX_SMALL
    if (!j->error)
        kind = sbxi_json_step(j, p, end, tok);
    j->offset += (uint32_t)(*p - from);
#else
    /* offset: of the end of the input, until it is consumed or has failed */
    if (j->state & SBXI_JSON_FRESH) {
        j->state &= SBXI_JSON_FRESH - 1;
        j->offset += (uint32_t)(end - from);
    }
    if (!j->error)
        kind = sbxi_json_step(j, p, end, tok);
    if (kind == SBX_JSON_ERROR && j->state == SBXI_JSON_FAILED) {
        j->state = SBXI_JSON_REPORTED;
        j->offset -= (uint32_t)(end - *p);
    }
    if (*p == end && !j->error)
        j->state |= SBXI_JSON_FRESH;
#endif
    if (kind >= SBX_JSON_MORE)
        sbxi_json_set(j, tok, *p, 0);
    else if (kind == SBX_JSON_OBJECT_END || kind == SBX_JSON_ARRAY_END)
        tok->depth--;
    tok->kind = (uint8_t)kind;
    return kind;
}

SBX_API sbx_json_kind sbx_json_end(sbx_json *j, sbx_json_tok *tok)
{
    sbx_json_kind kind = SBX_JSON_DONE;
    unsigned state = j->state & (SBXI_JSON_FRESH - 1u);
    sbxi_json_set(j, tok, j->held, 0);
    if (state == SBXI_JSON_IN_NUMBER && !sbxi_json_depth(j) && (SBXI_JSON_WHOLE_NUMBER >> j->sub & 1)) {
        j->state = SBXI_JSON_OVER;
        kind = SBX_JSON_NUMBER;
    } else if (j->error) {
        kind = SBX_JSON_ERROR;
    } else if (state != SBXI_JSON_OVER) {
        kind = sbxi_json_fail(j, SBX_JSON_ERR_TRUNCATED);
        j->state = SBXI_JSON_REPORTED;
    }
    tok->kind = (uint8_t)kind;
    return kind;
}

#if !SBX_SMALL

/* ---- the fast ways: what is frequent, and whole in the input ---- */

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

/* Whether n bytes are there: one comparison, where a difference takes two steps. */
static inline bool sbxi_json_room(const char *r, const char *end, size_t n)
{
    return (uintptr_t)r + n <= (uintptr_t)end;
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

static SBXI_NOINLINE sbx_json_kind sbxi_json_long(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r)
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

#else

SBX_API sbx_json_kind sbx_json_next(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    return sbxi_json_any(j, p, end, tok);
}

#endif
