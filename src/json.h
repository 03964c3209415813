/* ---- json: public API of the JSON tokenizer and writer ---- */
#ifndef SBX_JSON_H
#define SBX_JSON_H
#include "types.h"
SBX_EXTERN_C_BEGIN

/* RFC 8259, strictly: bytes in, tokens out; no tree, no allocation. The input
   may be cut anywhere; whatever the cuts, the tokens are the same, only the
   pieces of text differ.

       sbx_json j;  sbx_json_tok t;  sbx_json_kind k;
       sbx_json_init(&j, 0);
       ... for each input p..end:
       while ((k = sbx_json_next(&j, &p, end, &t)) < SBX_JSON_MORE)
           ...                     (a token; k is t.kind)
       ... after the last one:
       while ((k = sbx_json_end(&j, &t)) < SBX_JSON_MORE)
           ...                     (the end of a top-level number)
       if (k == SBX_JSON_ERROR) ...

   Keys that occur twice in an object are both passed on; to be like other
   parsers the consumer takes the last. */
typedef enum sbx_json_kind {
    SBX_JSON_OBJECT, SBX_JSON_OBJECT_END,
    SBX_JSON_ARRAY, SBX_JSON_ARRAY_END,
    SBX_JSON_KEY, SBX_JSON_STRING, SBX_JSON_NUMBER,
    SBX_JSON_TRUE, SBX_JSON_FALSE, SBX_JSON_NULL,
    SBX_JSON_MORE, /* the input is consumed; call again with the next bytes */
    SBX_JSON_DONE, /* the document is complete and the input consumed; only white space may follow */
    SBX_JSON_ERROR /* sticky; see sbx_json.error and .offset */
} sbx_json_kind;

typedef enum sbx_json_error {
    SBX_JSON_ERR_NONE,
    SBX_JSON_ERR_SYNTAX,   /* not what the grammar wants here; a byte order mark; more behind the document */
    SBX_JSON_ERR_DEPTH,    /* a container above max_depth */
    SBX_JSON_ERR_UTF8,     /* a string is not UTF-8 */
    SBX_JSON_ERR_CONTROL,  /* an unescaped control character in a string */
    SBX_JSON_ERR_ESCAPE,   /* no such escape */
    SBX_JSON_ERR_NUMBER,   /* 01, -, 1., 1e ... */
    SBX_JSON_ERR_TRUNCATED /* the input ended inside the document */
} sbx_json_error;

/* Text of KEY, STRING and NUMBER arrives in one or more pieces; `more` says
   that further pieces of the same token follow (as tokens of the same kind).
   Text that lies whole in the input is one piece. Pieces of KEY and STRING
   end at character borders. A piece with `more` is never empty; the last one
   is empty if the text is, or if all of it came before. */
typedef struct sbx_json_tok {
    char *p;       /* decoded text, inside the caller's input (or in the reader, for a character whose bytes were split), valid until the next call */
    size_t n;      /* its bytes; 0 for other kinds */
    uint8_t kind;
    bool more;
    bool replaced; /* this piece holds U+FFFD, literal or for a lone surrogate */
    uint8_t depth; /* containers around the token */
} sbx_json_tok;

#define SBX_JSON_MAX_DEPTH 64

/* Private but for offset and error; nothing to free. */
typedef struct sbx_json {
    uint64_t stack;  /* a bit a level: 1 = object */
    uint32_t offset; /* modulo 2^32; after MORE and DONE: bytes consumed. After ERROR: where the first byte stands that no document could have there
                        (if `end` stayed where it was until the input was consumed) */
    uint32_t cp;     /* of the character being put together */
    char tail[4];    /* last fields of the next key; the very last is the depth */
    uint8_t error;   /* sbx_json_error */
    uint8_t state, max_depth;
    uint8_t sub, held_n;
    char held[6];
} sbx_json;

/* max_depth: containers in each other, 1 to SBX_JSON_MAX_DEPTH; 0 = that. */
SBX_API void sbx_json_init(sbx_json *j, unsigned max_depth);
/* Reads the next token of *p..end and moves *p behind what it consumed. The
   input is decoded in place: its bytes are overwritten. After ERROR *p stands
   at the wrong byte; what came before it was delivered. */
SBX_API sbx_json_kind sbx_json_next(sbx_json *j, char **p, char *end, sbx_json_tok *tok);
/* No more input: DONE, or ERROR (truncated). A top-level number, which only
   the end of the input ends, comes first as an empty last piece of NUMBER;
   then call again. */
SBX_API sbx_json_kind sbx_json_end(sbx_json *j, sbx_json_tok *tok);

/* The text of a whole number. False (and *out untouched): not a JSON integer,
   or out of range; 1e3 and 1.0 are not integers, -0 is 0. */
SBX_API bool sbx_json_i64(sbx_str number, int64_t *out);
SBX_API bool sbx_json_u64(sbx_str number, uint64_t *out);
/* Any JSON number as a double; false: no number, or too large for a double.
   Independent of the locale. With libc (SBX_FREESTANDING 0) it is what strtod
   makes of the first 200 significant digits, the rest only rounding upwards.
   Freestanding builds: within 1.2 units of the last place; exact for integers
   up to 2^53. A double must be IEEE 754 binary64 there (else false). */
SBX_API bool sbx_json_f64(sbx_str number, double *out);

/* Writer into a fixed buffer. Overflow and invalid UTF-8 are sticky; `n`
   keeps counting what would have been needed (so cap 0 measures; p may be
   NULL then). Commas and colons are its own. That brackets match and keys
   come with values is the caller's part. */
typedef struct sbx_jsonw {
    char *p;
    size_t n, cap;
    uint8_t error; /* the first one: 0, SBX_JSONW_FULL, SBX_JSONW_UTF8 */
    bool comma;
} sbx_jsonw;
enum { SBX_JSONW_FULL = 1, SBX_JSONW_UTF8 = 2 };

SBX_API void sbx_jsonw_init(sbx_jsonw *w, char *buf, size_t cap);
SBX_API void sbx_jsonw_begin(sbx_jsonw *w, char bracket); /* '{' or '[' */
SBX_API void sbx_jsonw_end(sbx_jsonw *w, char bracket);   /* '}' or ']' */
SBX_API void sbx_jsonw_key(sbx_jsonw *w, sbx_str key);
SBX_API void sbx_jsonw_str(sbx_jsonw *w, sbx_str s);
SBX_API void sbx_jsonw_i64(sbx_jsonw *w, int64_t v);
SBX_API void sbx_jsonw_u64(sbx_jsonw *w, uint64_t v);
SBX_API void sbx_jsonw_bool(sbx_jsonw *w, bool v);
SBX_API void sbx_jsonw_null(sbx_jsonw *w);
SBX_API void sbx_jsonw_raw(sbx_jsonw *w, sbx_str json); /* a value that is JSON already, copied unchecked */

/* Escapes src[0..n) into dst without quotes, as much as fits; returns the
   bytes written; *used says how much of src was taken, never inside a
   character. Stops before invalid UTF-8 and sets *bad (else false). A
   character cut by the end of src is not taken. dst and src do not overlap. Bytes of dst behind the
   returned length, within cap, may be overwritten. */
SBX_API size_t sbx_json_escape(char *dst, size_t cap, const char *src, size_t n, size_t *used, bool *bad);

SBX_EXTERN_C_END
#endif
