/* ---- model: field tables, JSON to structs and structs to JSON (private) ---- */
#ifndef SBXI_MODEL_H
#define SBXI_MODEL_H
#include "api.h"
#include "base.h"
#include "json.h"
#include "text.h"

/* ---- answers: JSON to struct ---- */

typedef enum sbxi_field_kind {
    SBXI_F_TEXT,  /* char[cap], cut at a character border when longer */
    SBXI_F_ID,    /* char[cap], longer = too_large */
    SBXI_F_I64,   /* int64_t; null leaves what it was before */
    SBXI_F_INT,   /* int */
    SBXI_F_BOOL,  /* bool */
    SBXI_F_TRI,   /* sbx_tri */
    SBXI_F_TIME,  /* RFC 3339 text to Unix ms */
    SBXI_F_SINK,  /* sbxi_sink, given by the caller before decoding */
    SBXI_F_WORDS, /* char[cap] of the last item of the first array of that name */
    SBXI_F_TEXTS, /* char[cap] of every value of that name, in a row (any_depth) */
    SBXI_F_SKIP,  /* known and of no interest: its place in the order is */
    SBXI_F_LIST   /* the array whose objects are items of model->item */
} sbxi_field_kind;

typedef struct sbxi_field {
    const char *name;
#if SBX_SMALL /* what does not fit is a compiler's warning */
    unsigned name_n : 5, kind : 4, off : 12, cap : 11;
#else
    uint8_t name_n;
    uint8_t kind;
    uint16_t off;
    uint16_t cap;
#endif
} sbxi_field;

#define SBXI_FIELD(name, kind, type, member) \
    { name, sizeof(name) - 1, kind, (uint16_t)offsetof(type, member), (uint16_t)sizeof(((type *)0)->member) }

/* Of a member that comes twice in one object the last value that fits its kind
   counts, as to any JSON parser; of lists the first, for its items are out.
   Of what is missing all is zero, but for numbers that are -1 then: those of
   `minus` bytes from `minus_off` on, members that stand together. */
typedef struct sbxi_model {
    const sbxi_field *fields;
    unsigned count : 8;
    unsigned any_depth : 1; /* names match in nested objects too, the first value wins (error bodies) */
    unsigned minus : 7;
    unsigned size : 16;     /* of the struct */
    uint16_t minus_off;
    uint16_t cut_off;       /* offset of a bool that is set when a text was cut, 0 = none */
    const struct sbxi_model *item; /* of SBXI_F_LIST */
} sbxi_model;

/* first, last: the members that are -1. */
#define SBXI_MINUS(type, first, last) offsetof(type, last) + sizeof(((type *)0)->last) - offsetof(type, first), sizeof(type), (uint16_t)offsetof(type, first)
#define SBXI_NO_MINUS(type) 0, sizeof(type), 0

/* Where bytes without bound are collected: the caller's buffer, or memory of
   the client's allocator that doubles up to a cap. What has no room is only
   counted, so the bytes stored follow from the total. */
typedef struct sbxi_sink {
    char *p;
    size_t cap;
    uint64_t total;
} sbxi_sink;

SBXI_FN SBXI_ONCE size_t sbxi_sink_n(const sbxi_sink *s);

/* grow: the client's allocator, NULL = a fixed buffer. A buffer that grew has
   room for a NUL behind its bytes. False: the allocator refused. */
SBXI_FN bool sbxi_sink_put(sbxi_sink *s, const sbx_client_desc *grow, const char *p, size_t n);

typedef enum sbxi_dec_result {
    SBXI_DEC_MORE,
    SBXI_DEC_ITEM, /* an item is complete in `item` */
    SBXI_DEC_DONE,
    SBXI_DEC_ERROR
} sbxi_dec_result;

typedef struct sbxi_dec {
    sbx_json json;
    const sbxi_model *model; /* of the object being filled: the root's or its items' */
    const sbxi_model *root;
    char *out, *item;        /* root struct, item struct */
    uint16_t at;             /* bytes of the current text stored; of a sink's: 1 */
    int8_t field;            /* current field, -1 = skip */
    uint8_t guess;           /* the field that is likely to come next */
    uint8_t depth;           /* of the keys that are looked up */
    uint8_t words_depth;
    uint8_t key_n;
    bool in_list, listed, too_large, no_memory;
    const sbx_client_desc *grow; /* for sinks that grow */
    char key[32];            /* a key or short value cut by the end of input */
} sbxi_dec;

SBXI_FN void sbxi_dec_init(sbxi_dec *d, const sbxi_model *m, void *out, void *item);
SBXI_FN sbxi_dec_result sbxi_dec_run(sbxi_dec *d, char **p, char *end);
SBXI_FN sbxi_dec_result sbxi_dec_end(sbxi_dec *d);
/* Copies s into a field of cap bytes with its NUL, cut at a character border;
   false = cut. */
SBXI_FN bool sbxi_copy_text(char *dst, size_t cap, sbx_str s);
SBXI_FN SBXI_ONCE bool sbxi_copy_z(char *dst, size_t cap, const char *z);

/* ---- requests: options struct to JSON or to a query ---- */

typedef enum sbxi_param_kind {
    SBXI_P_STR,      /* sbx_str, left out when p is NULL */
    SBXI_P_RAW,      /* sbx_str of JSON */
    SBXI_P_BASE64,   /* sbx_str of any bytes */
    SBXI_P_I64,      /* int64_t, left out at 0; negative refused */
    SBXI_P_INT,      /* int32_t, likewise */
    SBXI_P_COUNT,    /* int32_t, likewise; SBX_NONE = 0 on the wire */
    SBXI_P_TTL,      /* int32_t seconds, multiple of 60; SBX_NONE = 0 on the wire */
    SBXI_P_SECONDS,  /* int32_t, arg = SBXI_ARG(default); SBX_NONE = 0 on the wire */
    SBXI_P_LIFE,     /* int32_t, likewise; SBX_NONE = -1 on the wire */
    SBXI_P_BOOL,     /* bool, left out when false */
    SBXI_P_FLAG,     /* bool, always there */
    SBXI_P_NOT,      /* bool, its opposite, always there */
    SBXI_P_TRI,
    SBXI_P_PAIRS,    /* const sbx_pair *, size_t: an object */
    SBXI_P_STRS,     /* const sbx_str *, size_t: an array; in a query repeated */
    SBXI_P_ARGV,     /* likewise; its texts may be empty */
    SBXI_P_OBJECT,   /* a nested struct with its own table, left out when empty */
    SBXI_P_PART,     /* likewise; its `sub` is a shape, as of the next two */
    SBXI_P_REF,      /* const T *: left out when NULL */
    SBXI_P_LIST,     /* const T *, size_t: an array of objects */
    SBXI_P_OWN,      /* sbx_str that the shape itself writes: only whether it is given */
    SBXI_P_FILLED = 32, /* with a text: must not be blank */
    SBXI_P_NEED = 64,   /* with any of them: must be given, a text not blank */
    SBXI_P_ALWAYS = 128 /* with any of them: written also when it is not given (REF and LIST empty) */
} sbxi_param_kind;

typedef struct sbxi_param {
    const char *name;    /* on the wire */
#if !SBX_NO_ERROR_TEXT
    const char *option;  /* in the options struct, for errors */
#endif
    /* clear: bit of clear_mask that sends null. arg: of SECONDS and LIFE the
       default in units of 30 s, of others whether 30 days is the most. What
       does not fit is a compiler's warning. */
    unsigned kind : 8, clear : 4, off : 12, arg : 8;
    const struct sbxi_schema *sub;
} sbxi_param;

#if SBX_NO_ERROR_TEXT
#define SBXI_OPTION(p) ((p)->name)
#define SBXI_PARAM_NAMES(name, option) name
#else
#define SBXI_OPTION(p) ((p)->option)
#define SBXI_PARAM_NAMES(name, option) name, option
#endif

/* `arg` of so many seconds. */
#define SBXI_ARG(seconds) ((seconds) == 2592000 ? 1u : (seconds) / 30u)

typedef struct sbxi_schema {
    const sbxi_param *params;
    uint8_t count;
    uint16_t clear_off;  /* offset of clear_mask, 0 = none */
} sbxi_schema;

/* A struct that is more than its members. */
typedef struct sbxi_shape {
    sbxi_schema schema;
    uint16_t size;
    /* Checks it as a whole and writes members of its own, before the others.
       NULL, or the option inside it that is refused ("" = all of it). */
    const char *(*begin)(sbx_jsonw *w, const void *at, const char **why);
} sbxi_shape;

/* What was refused: `option` as the caller knows it, mounts[2].s3.bucket. */
typedef struct sbxi_bad {
    const char *why;
#if !SBX_NO_ERROR_TEXT
    char option[sizeof(((sbx_error *)0)->field)];
#endif
} sbxi_bad;

#if SBX_NO_ERROR_TEXT
#define SBXI_BAD_OPTION(bad) NULL
#else
#define SBXI_BAD_OPTION(bad) ((bad)->option)
#endif

/* The options as members of an object that is open already. False: *bad says
   which one was refused and what is allowed. */
SBXI_FN SBXI_ONCE bool sbxi_encode(sbx_jsonw *w, const sbxi_schema *s, const void *opts, sbxi_bad *bad);
/* Without what is blank at both ends. */
SBXI_FN sbx_str sbxi_trim(sbx_str s);
/* A text of the caller's; NULL, or why it is refused. */
SBXI_FN const char *sbxi_text_put(sbx_jsonw *w, sbx_str s);
/* Whether any of a struct's members is given. */
SBXI_FN bool sbxi_given(const sbxi_schema *s, const void *at);
SBXI_FN const char *sbxi_encode_query(char *p, size_t cap, size_t *n, const sbxi_schema *s, const void *opts, const char **why);
/* Whether text is one well-formed JSON value. */
SBXI_FN bool sbxi_json_ok(sbx_str text);

#endif
