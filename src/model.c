#include "model.h"
#include "json_member.h"

SBXI_FN bool sbxi_copy_text(char *dst, size_t cap, sbx_str s)
{
    size_t n = s.n;

    if (n >= cap)
        n = sbxi_utf8_cut(s.p, cap - 1);
    if (n)
        memcpy(dst, s.p, n);
    dst[n] = 0;
    return n == s.n;
}

SBXI_FN SBXI_ONCE size_t sbxi_sink_n(const sbxi_sink *s)
{
    return (size_t)SBXI_MIN(s->total, s->cap);
}

SBXI_FN SBXI_ONCE bool sbxi_copy_z(char *dst, size_t cap, const char *z)
{
    return sbxi_copy_text(dst, cap, sbx_s(z));
}

static void sbxi_model_preset(const sbxi_model *m, void *out)
{
    memset(out, 0, m->size);
    memset((char *)out + m->minus_off, 0xFF, m->minus); /* -1 of any width */
}

/* Memory that holds n bytes and a NUL: a power of two. */
static SBXI_ONCE size_t sbxi_sink_room(size_t n)
{
    size_t room = 1024;

    while (room <= n)
        room = sbxi_add(room, room);
    return room;
}

SBXI_FN bool sbxi_sink_put(sbxi_sink *s, const sbx_client_desc *grow, const char *p, size_t n)
{
    size_t at = sbxi_sink_n(s), take = SBXI_MIN(n, s->cap - at);

    if (!SBX_NO_ALLOC && grow && (!s->p || sbxi_sink_room(at + take) != sbxi_sink_room(at))) {
        void *grown = grow->resize(grow->resize_user, s->p, sbxi_sink_room(at + take));

        if (!grown)
            return false;
        s->p = (char *)grown;
    }
    s->total += n;
    if (take)
        memcpy(s->p + at, p, take);
    return true;
}

SBXI_FN void sbxi_dec_init(sbxi_dec *d, const sbxi_model *m, void *out, void *item)
{
    memset(d, 0, sizeof *d);
    sbx_json_init(&d->json, 0);
    d->model = d->root = m;
    d->out = (char *)out;
    d->item = (char *)item;
    d->depth = 1;
    d->field = -1;
    sbxi_model_preset(m, out);
}

/* Servers write fields in a fixed order, mostly the table's: the one behind
   the last hit is tried first. */
static int8_t sbxi_dec_match(sbxi_dec *d, const char *p, size_t n)
{
    const sbxi_model *m = d->model;

    for (unsigned i = 0, at = SBX_SMALL ? 0 : d->guess; i < m->count; i++) {
        const sbxi_field *f;

        if (at >= m->count)
            at = 0;
        f = &m->fields[at];
        if (f->name_n == n && sbxi_json_same(f->name, p, n)) {
            d->guess = (uint8_t)(at + 1);
            return (int8_t)at;
        }
        at++;
    }
    return -1;
}

/* A key that the input cut, put together. One longer than any of ours fills the
   buffer and matches none. */
static void sbxi_dec_cut_key(sbxi_dec *d, const sbx_json_tok *t)
{
    size_t n = SBXI_MIN(t->n, sizeof d->key - d->key_n);

    memcpy(d->key + d->key_n, t->p, n);
    d->key_n = (uint8_t)(d->key_n + n);
    if (t->more)
        return;
    d->field = d->key_n < sizeof d->key ? sbxi_dec_match(d, d->key, d->key_n) : (int8_t)-1;
    d->key_n = 0;
}

static void sbxi_dec_key(sbxi_dec *d, const sbx_json_tok *t)
{
    const sbxi_field *f = &d->model->fields[d->guess];

    d->at = 0;
    if (t->more || d->key_n)
        sbxi_dec_cut_key(d, t);
    else if (!SBX_SMALL && d->guess < d->model->count && f->name_n == t->n && sbxi_json_same(f->name, t->p, t->n))
        d->field = (int8_t)d->guess++;
    else
        d->field = sbxi_dec_match(d, t->p, t->n);
}

static char *sbxi_dec_struct(sbxi_dec *d)
{
    return d->in_list ? d->item : d->out;
}

static void sbxi_dec_cut(sbxi_dec *d, const sbxi_field *f)
{
    if (f->kind == SBXI_F_ID)
        d->too_large = true;
    else if (d->model->cut_off)
        *(bool *)(sbxi_dec_struct(d) + d->model->cut_off) = true;
}

static void sbxi_dec_text(sbxi_dec *d, const sbxi_field *f, const sbx_json_tok *t)
{
    char *dst = sbxi_dec_struct(d) + f->off;
    size_t n = t->n, room;

    if (d->model->any_depth && d->at == 0 && dst[0] && f->kind != SBXI_F_WORDS) {
        if (f->kind != SBXI_F_TEXTS) {
            d->field = -1; /* the first value wins */
            return;
        }
        d->at = (uint16_t)strlen(dst);
        if (d->at + 2 < f->cap) {
            memcpy(dst + d->at, "; ", 2);
            d->at = (uint16_t)(d->at + 2);
        }
    }
    room = (size_t)f->cap - 1 - d->at;
    if (n > room) {
        n = sbxi_utf8_cut(t->p, room);
        sbxi_dec_cut(d, f);
        if (f->kind == SBXI_F_ID) /* a part of one names something else */
            d->at = (uint16_t)(n = 0);
    }
    if (n)
        memcpy(dst + d->at, t->p, n);
    d->at = (uint16_t)(d->at + n);
    dst[d->at] = 0;
    if (n < t->n)
        d->field = -1;
}

/* An integer as the tokenizer passed it. Up to 18 digits cannot overflow. */
static bool sbxi_dec_integer(const char *p, size_t n, int64_t *v)
{
    uint64_t u = 0;
    size_t i = 0;

    for (; !SBX_SMALL && i < n && i < 18; i++) {
        unsigned digit = (unsigned)(unsigned char)p[i] - '0';

        if (digit > 9)
            break;
        u = u * 10 + digit;
    }
    *v = (int64_t)u;
    return (n && i == n) || sbx_json_i64(sbx_sn(p, n), v);
}

/* Numbers and times are short: cut ones are put together in `key`. NULL while
   more has to come or when it is longer than any value that we take. */
static const char *sbxi_dec_put_together(sbxi_dec *d, const sbx_json_tok *t, size_t *n)
{
    *n = SBXI_MIN(t->n, sizeof d->key - d->key_n);
    memcpy(d->key + d->key_n, t->p, *n);
    *n += d->key_n;
    d->key_n = (uint8_t)*n;
    if (t->more)
        return NULL;
    d->key_n = 0;
    return *n < sizeof d->key ? d->key : NULL;
}

/* The common case: a text that lies whole in the input and fits. */
static bool sbxi_dec_whole_text(sbxi_dec *d, const sbxi_field *f, const sbx_json_tok *t)
{
    char *dst;

    if (t->more || d->at || t->n >= f->cap || d->model->any_depth)
        return false;
    dst = sbxi_dec_struct(d) + f->off;
    memcpy(dst, t->p, t->n);
    dst[t->n] = 0;
    return true;
}

static const char *sbxi_dec_short(sbxi_dec *d, const sbx_json_tok *t, size_t *n)
{
    *n = t->n;
    return t->more || d->key_n ? sbxi_dec_put_together(d, t, n) : t->p;
}

static void sbxi_dec_scalar(sbxi_dec *d, const sbxi_field *f, const sbx_json_tok *t)
{
    char *dst = sbxi_dec_struct(d) + f->off;
    bool is_text = t->kind == SBX_JSON_STRING;
    const char *p;
    size_t n;
    int64_t v;

    switch (f->kind) {
    case SBXI_F_TEXT:
    case SBXI_F_ID:
    case SBXI_F_WORDS:
    case SBXI_F_TEXTS:
        if (is_text)
            sbxi_dec_text(d, f, t);
        return;
    case SBXI_F_SINK:
        if (!is_text)
            return;
        if (!d->at) /* the value begins; one that came before it does not count */
            ((sbxi_sink *)(void *)dst)->total = 0;
        d->at = 1;
        if (!sbxi_sink_put((sbxi_sink *)(void *)dst, d->grow, t->p, t->n))
            d->no_memory = true;
        return;
    case SBXI_F_I64:
    case SBXI_F_INT:
        if (t->kind != SBX_JSON_NUMBER || !(p = sbxi_dec_short(d, t, &n)) || !sbxi_dec_integer(p, n, &v))
            return;
        if (f->kind == SBXI_F_I64)
            *(int64_t *)(void *)dst = v;
        else
            *(int *)(void *)dst = (int)SBXI_MAX(INT32_MIN, SBXI_MIN(INT32_MAX, v));
        return;
    case SBXI_F_TIME:
        if (is_text && (p = sbxi_dec_short(d, t, &n)) && sbxi_rfc3339(sbx_sn(p, n), &v))
            *(int64_t *)(void *)dst = v;
        return;
    case SBXI_F_BOOL:
        *(bool *)dst = t->kind == SBX_JSON_TRUE;
        return;
    case SBXI_F_TRI:
        *(sbx_tri *)(void *)dst = t->kind == SBX_JSON_TRUE ? SBX_TRI_YES : t->kind == SBX_JSON_FALSE ? SBX_TRI_NO : SBX_TRI_UNSET;
        return;
    default:
        return;
    }
}

static void sbxi_dec_open(sbxi_dec *d, const sbx_json_tok *t)
{
    const sbxi_field *f = d->field >= 0 ? &d->model->fields[d->field] : NULL;

    if (t->kind == SBX_JSON_ARRAY && f && f->kind == SBXI_F_LIST && !d->in_list && !d->listed && t->depth == 1) {
        d->in_list = true;
        d->listed = true; /* newer servers send the same items under two names */
        d->depth = 3;
        d->model = d->root->item;
        d->guess = 0;
    } else if (t->kind == SBX_JSON_ARRAY && f && f->kind == SBXI_F_WORDS && !d->words_depth) {
        d->words_depth = (uint8_t)(t->depth + 1);
        return;
    } else if (d->in_list && t->depth == 2 && t->kind == SBX_JSON_OBJECT) {
        sbxi_model_preset(d->model, d->item);
        d->guess = 0;
    }
    if (!d->words_depth || t->depth >= d->words_depth)
        d->field = -1;
}

/* True when an item is complete. */
static bool sbxi_dec_close(sbxi_dec *d, const sbx_json_tok *t)
{
    if (d->words_depth && t->depth < d->words_depth && t->kind == SBX_JSON_ARRAY_END) {
        d->words_depth = UINT8_MAX; /* only the first one is of interest */
        d->field = -1;
    }
    if (!d->in_list)
        return false;
    if (t->depth == 1 && t->kind == SBX_JSON_ARRAY_END) {
        d->in_list = false;
        d->depth = 1;
        d->model = d->root;
        d->guess = 0;
        return false;
    }
    return t->depth == 2 && t->kind == SBX_JSON_OBJECT_END;
}

static void sbxi_dec_value(sbxi_dec *d, const sbx_json_tok *t)
{
    const sbxi_field *f;

    if (d->field < 0)
        return;
    f = &d->model->fields[d->field];
    if (f->kind == SBXI_F_WORDS) {
        if (d->words_depth != t->depth)
            return;
        if (t->kind != SBX_JSON_STRING && t->kind != SBX_JSON_NUMBER)
            return;
        sbxi_dec_text(d, f, t);
        if (!t->more)
            d->at = 0;
        return;
    }
    if (SBX_SMALL || t->kind != SBX_JSON_STRING || f->kind > SBXI_F_ID || !sbxi_dec_whole_text(d, f, t))
        sbxi_dec_scalar(d, f, t);
    if (!t->more)
        d->field = -1;
}

#if !SBX_SMALL
/* Copies n bytes that do not overlap: blocks, of which the last two may. */
static void sbxi_dec_copy(char *dst, const char *src, size_t n)
{
    size_t i = 0;

    if (n >= 16) {
        for (; i + 16 < n; i += 16)
            memcpy(dst + i, src + i, 16);
        memcpy(dst + n - 16, src + n - 16, 16);
    } else if (n >= 8) {
        memcpy(dst, src, 8);
        memcpy(dst + n - 8, src + n - 8, 8);
    } else if (n >= 4) {
        memcpy(dst, src, 4);
        memcpy(dst + n - 4, src + n - 4, 4);
    } else {
        for (; i < n; i++)
            dst[i] = src[i];
    }
}

/* At most 16 digits, which the tokenizer saw to be digits. */
static int64_t sbxi_dec_digits(const char *p, size_t n)
{
    int64_t v = 0;

    for (const char *end = p + n; p < end; p++)
        v = v * 10 + (*p - '0');
    return v;
}

/* A simple value of the expected member. */
static void sbxi_dec_member(sbxi_dec *d, const sbxi_field *f, sbx_json_tok *t, char *dst)
{
    int64_t ms;

    if (t->kind == SBX_JSON_NULL)
        return;
    if (t->kind == SBX_JSON_STRING && f->kind <= SBXI_F_ID && t->n < f->cap) {
        sbxi_dec_copy(dst, t->p, t->n);
        dst[t->n] = 0;
    } else if (t->kind == SBX_JSON_NUMBER && f->kind == SBXI_F_I64 && t->n < 16) {
        *(int64_t *)(void *)dst = sbxi_dec_digits(t->p, t->n);
    } else if (t->kind == SBX_JSON_STRING && f->kind == SBXI_F_TIME) {
        if (sbxi_rfc3339(sbx_sn(t->p, t->n), &ms))
            *(int64_t *)(void *)dst = ms;
    } else {
        t->more = false;
        d->at = 0;
        sbxi_dec_scalar(d, f, t);
        d->field = -1;
    }
}

/* As long as the members come in the table's order. */
static void sbxi_dec_members(sbxi_dec *d, char **p, char *end)
{
    const sbxi_field *f = d->model->fields + d->guess, *last = d->model->fields + d->model->count;
    char *base = sbxi_dec_struct(d);
    sbx_json_tok t;

    for (; f < last && sbxi_json_member(p, end, f->name, f->name_n, &t) != SBX_JSON_MORE; f++)
        sbxi_dec_member(d, f, &t, base + f->off);
    d->guess = (uint8_t)(f - d->model->fields);
}
#endif

SBXI_FN sbxi_dec_result sbxi_dec_run(sbxi_dec *d, char **p, char *end)
{
    sbx_json_tok t;

    for (;;) {
        sbx_json_kind kind;

#if !SBX_SMALL
        if (!d->model->any_depth && sbxi_json_at_member(&d->json, d->depth))
            sbxi_dec_members(d, p, end);
#endif
        kind = sbx_json_next(&d->json, p, end, &t);

        if (SBXI_LIKELY(kind == SBX_JSON_KEY)) {
            if (t.depth == d->depth || d->model->any_depth)
                sbxi_dec_key(d, &t);
            continue;
        }
        switch (kind) {
        case SBX_JSON_MORE: return SBXI_DEC_MORE;
        case SBX_JSON_DONE: return SBXI_DEC_DONE;
        case SBX_JSON_ERROR: return SBXI_DEC_ERROR;
        case SBX_JSON_OBJECT:
        case SBX_JSON_ARRAY:
            sbxi_dec_open(d, &t);
            break;
        case SBX_JSON_OBJECT_END:
        case SBX_JSON_ARRAY_END:
            if (sbxi_dec_close(d, &t))
                return SBXI_DEC_ITEM;
            break;
        default:
            sbxi_dec_value(d, &t);
        }
    }
}

/* A number at the top ends with the input: its last piece comes first. */
static bool sbxi_json_complete(sbx_json *j)
{
    sbx_json_tok t;
    sbx_json_kind kind;

    do
        kind = sbx_json_end(j, &t);
    while (kind < SBX_JSON_MORE);
    return kind == SBX_JSON_DONE;
}

SBXI_FN sbxi_dec_result sbxi_dec_end(sbxi_dec *d)
{
    return sbxi_json_complete(&d->json) ? SBXI_DEC_DONE : SBXI_DEC_ERROR;
}

SBXI_FN bool sbxi_json_ok(sbx_str text)
{
    sbx_json j;
    sbx_json_tok t;
    char chunk[64];

    sbx_json_init(&j, 0);
    /* The reader decodes in place: it gets a copy, piece by piece. */
    for (size_t at = 0; at < text.n;) {
        size_t n = SBXI_MIN(sizeof chunk, text.n - at);
        char *p = chunk;
        sbx_json_kind k;

        memcpy(chunk, text.p + at, n);
        at += n;
        while ((k = sbx_json_next(&j, &p, chunk + n, &t)) != SBX_JSON_MORE && k != SBX_JSON_DONE)
            if (k == SBX_JSON_ERROR)
                return false;
        if (k == SBX_JSON_DONE && p < chunk + n)
            return false;
    }
    return sbxi_json_complete(&j);
}
