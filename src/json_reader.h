/* ---- json: the state of the reader, and the steps that its general and its fast ways share (private) ---- */
#ifndef SBXI_JSON_READER_H
#define SBXI_JSON_READER_H
#include "base.h"
#include "json.h"

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
#define SBXI_JSON_STEP static SBXI_UNUSED SBXI_NOINLINE
#else
#define SBXI_JSON_STEP SBXI_INLINE
#endif

static SBXI_UNUSED sbx_json_kind sbxi_json_fail(sbx_json *j, sbx_json_error error)
{
    j->error = (uint8_t)error;
    j->state = SBXI_JSON_FAILED;
    return SBX_JSON_ERROR;
}

/* The last four fields of a token are copied as one from j->tail, which holds
   those of a key; its last byte counts the depth. */
typedef char sbxi_json_tail_is_4_bytes[offsetof(sbx_json_tok, depth) - offsetof(sbx_json_tok, kind) == 3 ? 1 : -1];

static SBXI_UNUSED void sbxi_json_set(const sbx_json *j, sbx_json_tok *tok, char *p, size_t n)
{
    tok->p = p;
    tok->n = n;
    memcpy((char *)tok + offsetof(sbx_json_tok, kind), j->tail, 4);
}

static SBXI_UNUSED unsigned sbxi_json_depth(const sbx_json *j)
{
    return (unsigned char)j->tail[3];
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

/* One container more or less: where it is quick, the tail changes as one word,
   as it is read. */
SBXI_INLINE void sbxi_json_nest(sbx_json *j, bool deeper)
{
#if SBX_SMALL
    j->tail[3] = (char)(j->tail[3] + (deeper ? 1 : -1));
#else
    static const char sbxi_json_deeper[4] = { 0, 0, 0, 1 };
    uint32_t tail, one;
    memcpy(&tail, j->tail, 4);
    memcpy(&one, sbxi_json_deeper, 4);
    tail = deeper ? tail + one : tail - one;
    memcpy(j->tail, &tail, 4);
#endif
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

static SBXI_UNUSED size_t sbxi_json_encode(char *to, uint32_t cp)
{
    size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--) {
        to[i] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    to[0] = (char)(n == 1 ? cp : cp | (0xF00u >> n & 0xF0));
    return n;
}

/* The text ends at p, where its quote is; takes a colon or comma behind it. */
SBXI_INLINE char *sbxi_json_text_end(sbx_json *j, char *p, const char *end)
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

/* Every token, wherever the input is cut. */
SBXI_FN sbx_json_kind sbxi_json_any(sbx_json *j, char **p, char *end, sbx_json_tok *tok);
/* Goes on with a piece of a string that is decoded in place: tok->p and tok->n
   hold what there is, and from *p it goes byte by byte. A character that began
   in an earlier input has no room here and is a piece of its own in `held`. */
SBXI_FN sbx_json_kind sbxi_json_text(sbx_json *j, char **p, char *end, sbx_json_tok *tok);
#if !SBX_SMALL
/* The same for a string that is plain from tok->p to r. */
SBXI_FN sbx_json_kind sbxi_json_long(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r);
#endif

#endif
