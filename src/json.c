#include "json.h"
#include "json_reader.h"
#include "text.h"

SBX_API void sbx_json_init(sbx_json *j, unsigned max_depth)
{
    memset(j, 0, sizeof *j);
    j->max_depth = (uint8_t)(max_depth - 1u < SBX_JSON_MAX_DEPTH ? max_depth : SBX_JSON_MAX_DEPTH);
    j->state = SBX_SMALL ? SBXI_JSON_TOP : SBXI_JSON_TOP | SBXI_JSON_FRESH;
    j->tail[0] = SBX_JSON_KEY;
}

/* ---- characters: one at a time, from any number of inputs ---- */

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
            return SBXI_JSON_BAD + (int)SBX_JSON_ERR_CONTROL;
        j->sub = SBXI_JSON_UTF8;
        /* fall through */
    case SBXI_JSON_UTF8:
        if (!sbxi_utf8(&j->cp, &byte, 1))
            return SBXI_JSON_BAD + (int)SBX_JSON_ERR_UTF8;
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
        return name ? sbxi_json_unit(j, (unsigned char)sbxi_json_named[name - sbxi_json_names]) : SBXI_JSON_BAD + (int)SBX_JSON_ERR_ESCAPE;
    default:
        digit = c - '0';
        if (digit > 9) {
            digit = (c | 32) - 'a' + 10;
            if (digit - 10 > 5)
                return SBXI_JSON_BAD + (int)SBX_JSON_ERR_ESCAPE;
        }
        j->cp = (j->cp & 0xFFFF0000) | (j->cp << 4 & 0xFFF0) | digit;
        return ++j->sub < SBXI_JSON_HEX + 4 ? SBXI_JSON_PART : sbxi_json_unit(j, j->cp & 0xFFFF);
    }
}

/* ---- strings ---- */

/* What a piece of text ends with: itself, or what kept it from being one. */
static sbx_json_kind sbxi_json_piece(const sbx_json *j, const sbx_json_tok *tok)
{
    return tok->n || !tok->more ? (sbx_json_kind)tok->kind : j->error ? SBX_JSON_ERROR : SBX_JSON_MORE;
}

SBXI_FN SBXI_NOINLINE sbx_json_kind sbxi_json_text(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
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
    static const char sbxi_json_words[] = "true\0\0false\0null";
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
        if (c == (object ? '}' : ']') && (state == SBXI_JSON_FIRST_NAME || state == SBXI_JSON_FIRST || state == SBXI_JSON_AFTER))
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
            unsigned which = c == 't' ? 0 : c == 'f' ? 1 : 2;
            j->state = SBXI_JSON_IN_WORD;
            j->sub = (uint8_t)(which * 6);
            j->held_n = (uint8_t)(SBX_JSON_TRUE + which);
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

SBXI_JSON_STEP sbx_json_kind sbxi_json_step(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
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
SBXI_FN SBXI_NOINLINE sbx_json_kind sbxi_json_any(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
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
    if (kind >= SBX_JSON_MORE || kind == SBX_JSON_OBJECT_END || kind == SBX_JSON_ARRAY_END)
        sbxi_json_set(j, tok, *p, 0);
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

#if SBX_SMALL
SBX_API sbx_json_kind sbx_json_next(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    return sbxi_json_any(j, p, end, tok);
}
#endif
