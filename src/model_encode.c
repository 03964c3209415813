#include "model.h"

static const char sbxi_why_utf8[] = SBXI_T("must be UTF-8 without NUL");

static const void *sbxi_at(const void *base, size_t off)
{
    return (const char *)base + off;
}

static sbx_str sbxi_str_at(const void *base, size_t off)
{
    return *(const sbx_str *)sbxi_at(base, off);
}

/* A pointer to an array of T, its count right behind it. */
static size_t sbxi_count_at(const void *base, size_t off)
{
    return *(const size_t *)sbxi_at(base, off + sizeof(void *));
}

static const void *sbxi_address_at(const void *base, size_t off)
{
    return *(const void *const *)sbxi_at(base, off);
}

static unsigned sbxi_param_kind_of(const sbxi_param *p)
{
    return p->kind & ~(unsigned)(SBXI_P_FILLED | SBXI_P_NEED | SBXI_P_ALWAYS);
}

static bool sbxi_param_set(const sbxi_param *p, const void *opts)
{
    switch (sbxi_param_kind_of(p)) {
    case SBXI_P_STR:
    case SBXI_P_OWN:
    case SBXI_P_BASE64:
    case SBXI_P_RAW: return sbxi_str_at(opts, p->off).p != NULL;
    case SBXI_P_I64: return *(const int64_t *)sbxi_at(opts, p->off) != 0;
    case SBXI_P_INT:
    case SBXI_P_COUNT:
    case SBXI_P_TTL: return *(const int32_t *)sbxi_at(opts, p->off) != 0;
    case SBXI_P_BOOL: return *(const bool *)sbxi_at(opts, p->off);
    case SBXI_P_TRI: return *(const sbx_tri *)sbxi_at(opts, p->off) != SBX_TRI_UNSET;
    case SBXI_P_PAIRS:
    case SBXI_P_LIST:
    case SBXI_P_ARGV:
    case SBXI_P_STRS: return sbxi_count_at(opts, p->off) != 0;
    case SBXI_P_REF: return sbxi_address_at(opts, p->off) != NULL;
    case SBXI_P_PART:
    case SBXI_P_OBJECT: return sbxi_given(p->sub, sbxi_at(opts, p->off));
    default: return true;
    }
}

SBXI_FN bool sbxi_given(const sbxi_schema *s, const void *at)
{
    for (unsigned i = 0; i < s->count; i++)
        if (sbxi_param_set(&s->params[i], at))
            return true;
    return false;
}

/* The wire's number of an integer parameter; NULL, or why it is refused. */
static const char *sbxi_param_int(const sbxi_param *p, const void *opts, int64_t *v)
{
    unsigned kind = sbxi_param_kind_of(p);

    *v = kind == SBXI_P_I64 ? *(const int64_t *)sbxi_at(opts, p->off) : *(const int32_t *)sbxi_at(opts, p->off);
    if (kind == SBXI_P_SECONDS || kind == SBXI_P_LIFE) {
        if (*v == 0)
            *v = (int64_t)p->arg * 30;
        else if (*v == SBX_NONE)
            *v = kind == SBXI_P_LIFE ? -1 : 0;
        else if (*v < 0)
            return SBXI_T("must be positive seconds, 0 (default) or SBX_NONE");
        return NULL;
    }
    if ((kind == SBXI_P_TTL || kind == SBXI_P_COUNT) && *v == SBX_NONE)
        *v = 0;
    else if (kind == SBXI_P_TTL && (*v < 0 || (int32_t)*v % 60 != 0))
        return SBXI_T("must be a multiple of 60 seconds, 0 (the server's default) or SBX_NONE");
    else if (*v < 0)
        return SBXI_T("must not be negative");
    if (p->arg && *v > 2592000) /* only times have a limit, and the same one */
        return SBXI_T("must be 2,592,000 seconds (30 days) at most");
    return NULL;
}

static const char sbxi_why_no_address[] = SBXI_T("has a count but no address");

SBXI_FN sbx_str sbxi_trim(sbx_str s)
{
    while (s.n && (unsigned char)*s.p <= ' ') {
        s.p++;
        s.n--;
    }
    while (s.n && (unsigned char)s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

SBXI_FN const char *sbxi_text_put(sbx_jsonw *w, sbx_str s)
{
    sbx_jsonw_str(w, s);
    return w->error == SBX_JSONW_UTF8 || (s.n && memchr(s.p, 0, s.n)) ? sbxi_why_utf8 : NULL;
}

static const char *sbxi_encode_pairs(sbx_jsonw *w, const void *opts, size_t off)
{
    const sbx_pair *pairs = *(const sbx_pair *const *)sbxi_at(opts, off);
    size_t n = sbxi_count_at(opts, off);
    const char *why = NULL;

    if (!pairs)
        return sbxi_why_no_address;
    sbx_jsonw_begin(w, '{');
    for (size_t i = 0; i < n && !why; i++) {
        if (!pairs[i].name.n || memchr(pairs[i].name.p, 0, pairs[i].name.n))
            return SBXI_T("has a name that is empty or holds a NUL");
        sbx_jsonw_key(w, pairs[i].name);
        why = sbxi_text_put(w, pairs[i].value);
    }
    sbx_jsonw_end(w, '}');
    return why;
}

static const char *sbxi_encode_strs(sbx_jsonw *w, const void *opts, size_t off, bool empty_ok)
{
    const sbx_str *strs = (const sbx_str *)sbxi_address_at(opts, off);
    const char *why = NULL;

    if (!strs)
        return sbxi_why_no_address;
    sbx_jsonw_begin(w, '[');
    for (size_t i = 0; i < sbxi_count_at(opts, off) && !why; i++) {
        if (!empty_ok && !sbxi_trim(strs[i]).n)
            return SBXI_T("has a blank text");
        why = sbxi_text_put(w, strs[i]);
    }
    sbx_jsonw_end(w, ']');
    return why;
}

static void sbxi_encode_base64(sbx_jsonw *w, sbx_str s)
{
    size_t n = sbxi_mul(sbxi_add(s.n, 2) / 3, 4);

    sbx_jsonw_raw(w, sbx_sn("\"", 1));
    if (w->error || w->cap - w->n < sbxi_add(n, 1)) {
        w->error = w->error ? w->error : (uint8_t)SBX_JSONW_FULL;
        w->n = sbxi_add(w->n, n);
        return;
    }
    w->n += sbxi_base64(w->p + w->n, (const unsigned char *)s.p, s.n);
    w->p[w->n++] = '"';
}

static const char *sbxi_encode_value(sbx_jsonw *w, const sbxi_param *p, const void *opts)
{
    const char *why = NULL;
    int64_t v;

    switch (sbxi_param_kind_of(p)) {
    case SBXI_P_STR:
        if (!sbxi_str_at(opts, p->off).n || (p->kind & (SBXI_P_NEED | SBXI_P_FILLED) && !sbxi_trim(sbxi_str_at(opts, p->off)).n))
            return SBXI_T("must not be empty");
        return sbxi_text_put(w, sbxi_str_at(opts, p->off));
    case SBXI_P_RAW:
        if (!sbxi_json_ok(sbxi_str_at(opts, p->off)))
            return SBXI_T("must be one well-formed JSON value");
        sbx_jsonw_raw(w, sbxi_str_at(opts, p->off));
        break;
    case SBXI_P_BASE64: sbxi_encode_base64(w, sbxi_str_at(opts, p->off)); break;
    case SBXI_P_BOOL:
    case SBXI_P_FLAG: sbx_jsonw_bool(w, *(const bool *)sbxi_at(opts, p->off)); break;
    case SBXI_P_NOT: sbx_jsonw_bool(w, !*(const bool *)sbxi_at(opts, p->off)); break;
    case SBXI_P_TRI:
        if ((unsigned)*(const sbx_tri *)sbxi_at(opts, p->off) > SBX_TRI_YES)
            return SBXI_T("must be SBX_TRI_UNSET, SBX_TRI_NO or SBX_TRI_YES");
        sbx_jsonw_bool(w, *(const sbx_tri *)sbxi_at(opts, p->off) == SBX_TRI_YES);
        break;
    case SBXI_P_PAIRS: return sbxi_encode_pairs(w, opts, p->off);
    case SBXI_P_STRS: return sbxi_encode_strs(w, opts, p->off, false);
    case SBXI_P_ARGV: return sbxi_encode_strs(w, opts, p->off, true);
    default:
        why = sbxi_param_int(p, opts, &v);
        if (!why)
            sbx_jsonw_i64(w, v);
    }
    return why;
}

/* ---- structs in structs: a stack instead of recursion ---- */

/* Structs around a member, the options themselves included. */
#define SBXI_LEVELS 5

/* A struct that is being written. What holds it is the member before `next` of
   the level below. */
typedef struct sbxi_level {
    const sbxi_schema *schema;
    const char *at;
    unsigned next; /* member */
} sbxi_level;

static const sbxi_param *sbxi_level_param(const sbxi_level *l)
{
    return &l->schema->params[l->next - 1];
}

static const sbxi_shape *sbxi_param_shape(const sbxi_param *p)
{
    return sbxi_param_kind_of(p) == SBXI_P_OBJECT ? NULL : (const sbxi_shape *)(const void *)p->sub;
}

/* Which one of an array's it is. */
static size_t sbxi_level_index(const sbxi_level *l)
{
    const sbxi_param *p = sbxi_level_param(l - 1);

    return (size_t)(l->at - (const char *)sbxi_address_at(l[-1].at, p->off)) / sbxi_param_shape(p)->size;
}

#if !SBX_NO_ERROR_TEXT
static void sbxi_bad_append(sbxi_bad *bad, const char *text)
{
    size_t n = strlen(bad->option);

    sbxi_copy_z(bad->option + n, sizeof bad->option - n, text);
}

static void sbxi_bad_index(sbxi_bad *bad, size_t index)
{
    char text[23];
    size_t n;

    text[0] = '[';
    n = 1 + sbxi_u64_text(text + 1, index);
    text[n] = ']';
    text[n + 1] = 0;
    sbxi_bad_append(bad, text);
}
#endif

/* The option as the caller knows it, by the way to it. */
static void sbxi_bad_note(sbxi_bad *bad, const sbxi_level *level, unsigned depth, const char *option)
{
#if SBX_NO_ERROR_TEXT
    (void)bad;
    (void)level;
    (void)depth;
    (void)option;
#else
    bad->option[0] = 0;
    for (unsigned i = 0; i < depth; i++) {
        const sbxi_param *p = sbxi_level_param(&level[i]);
        const char *name = i + 1 < depth ? SBXI_OPTION(p) : option;

        if (*name && bad->option[0])
            sbxi_bad_append(bad, ".");
        sbxi_bad_append(bad, name);
        if (i + 1 < depth && sbxi_param_kind_of(p) == SBXI_P_LIST)
            sbxi_bad_index(bad, sbxi_level_index(&level[i + 1]));
    }
#endif
}

/* A struct's own bracket and what its shape says. The option that is refused,
   with *why; else *why is NULL. */
static SBXI_NOINLINE const char *sbxi_level_begin(sbx_jsonw *w, sbxi_level *l, const char **why)
{
    const sbxi_shape *shape = sbxi_param_shape(sbxi_level_param(l - 1));
    const char *option = NULL;

    l->next = 0;
    sbx_jsonw_begin(w, '{');
    if (shape && shape->begin)
        option = shape->begin(w, l->at, why);
    if (option)
        return option;
    *why = w->error == SBX_JSONW_UTF8 ? sbxi_why_utf8 : NULL;
    return "";
}

/* The struct is complete. True: so is what held it. */
static bool sbxi_level_end(sbx_jsonw *w, sbxi_level *l)
{
    const sbxi_param *p = sbxi_level_param(l - 1);

    sbx_jsonw_end(w, '}');
    if (sbxi_param_kind_of(p) != SBXI_P_LIST)
        return true;
    if (sbxi_level_index(l) + 1 < sbxi_count_at(l[-1].at, p->off)) {
        l->at += sbxi_param_shape(p)->size;
        return false;
    }
    sbx_jsonw_end(w, ']');
    return true;
}

/* A member that holds structs. True: the first of them is to be written. */
static bool sbxi_level_enter(sbx_jsonw *w, sbxi_level *l, const sbxi_param *p, const void *at, const char **why)
{
    unsigned kind = sbxi_param_kind_of(p);
    bool list = kind == SBXI_P_LIST;

    l->schema = p->sub;
    l->at = (const char *)(list || kind == SBXI_P_REF ? sbxi_address_at(at, p->off) : sbxi_at(at, p->off));
    if (list) {
        sbx_jsonw_begin(w, '[');
        if (sbxi_count_at(at, p->off)) {
            *why = l->at ? NULL : sbxi_why_no_address;
            return l->at != NULL;
        }
    } else if (l->at) {
        return true;
    } else {
        sbx_jsonw_begin(w, '{');
    }
    sbx_jsonw_end(w, list ? ']' : '}');
    return false;
}

/* Writes a level's next member, if it is given. True: it holds structs, and
   l[1] is the first. */
static SBXI_NOINLINE bool sbxi_member(sbx_jsonw *w, sbxi_level *l, unsigned clear, const char **why)
{
    const sbxi_param *p = &l->schema->params[l->next++];
    unsigned kind = sbxi_param_kind_of(p);
    bool set = sbxi_param_set(p, l->at), cleared = (p->clear & clear) != 0, entered = false;

    if (set && cleared)
        *why = SBXI_T("is given and cleared at once");
    else if (!set && p->kind & SBXI_P_NEED)
        *why = SBXI_T("must be given");
    if (*why || kind == SBXI_P_OWN || !(set || cleared || p->kind & SBXI_P_ALWAYS))
        return false;
    sbx_jsonw_key(w, sbx_s(p->name));
    if (cleared)
        sbx_jsonw_null(w);
    else if (kind >= SBXI_P_OBJECT)
        entered = sbxi_level_enter(w, l + 1, p, l->at, why);
    else
        *why = sbxi_encode_value(w, p, l->at);
    if (!*why && w->error == SBX_JSONW_UTF8)
        *why = sbxi_why_utf8;
    return entered;
}

SBXI_FN SBXI_ONCE bool sbxi_encode(sbx_jsonw *w, const sbxi_schema *s, const void *opts, sbxi_bad *bad)
{
    unsigned clear = s->clear_off ? *(const unsigned *)sbxi_at(opts, s->clear_off) : 0, depth = 1;
    const char *option = "";
    sbxi_level level[SBXI_LEVELS];

    level[0].schema = s;
    level[0].at = (const char *)opts;
    level[0].next = 0;
    bad->why = NULL;
    while (!bad->why) {
        sbxi_level *l = &level[depth - 1];

        if (l->next < l->schema->count) {
            if (sbxi_member(w, l, depth == 1 ? clear : 0, &bad->why)) {
                depth++;
                option = sbxi_level_begin(w, l + 1, &bad->why);
            } else if (bad->why) {
                option = SBXI_OPTION(sbxi_level_param(l));
            }
        } else if (depth == 1) {
            return true;
        } else if (sbxi_level_end(w, l)) {
            depth--;
        } else {
            option = sbxi_level_begin(w, l, &bad->why);
        }
    }
    sbxi_bad_note(bad, level, depth, option);
    return false;
}

static void sbxi_query_put(char *p, size_t cap, size_t *n, const char *name, sbx_str value)
{
    char *at;
    size_t name_n = strlen(name);

    if (*n + name_n + 2 <= cap) {
        p[*n] = *n ? '&' : '?';
        memcpy(p + *n + 1, name, name_n);
        p[*n + 1 + name_n] = '=';
    }
    *n += name_n + 2;
    at = *n <= cap ? p + *n : p;
    *n += sbxi_percent(at, *n <= cap ? cap - *n : 0, value, "");
}

SBXI_FN const char *sbxi_encode_query(char *p, size_t cap, size_t *n, const sbxi_schema *s, const void *opts, const char **why)
{
    for (unsigned i = 0; i < s->count; i++) {
        const sbxi_param *par = &s->params[i];
        const sbx_str *strs;
        sbx_str one;
        size_t count = 1;
        char digits[20];
        int64_t v;

        if (!sbxi_param_set(par, opts))
            continue;
        if (par->kind == SBXI_P_STRS) {
            strs = *(const sbx_str *const *)sbxi_at(opts, par->off);
            count = sbxi_count_at(opts, par->off);
            if (!strs) {
                *why = sbxi_why_no_address;
                return SBXI_OPTION(par);
            }
        } else if (par->kind == SBXI_P_STR) {
            one = sbxi_str_at(opts, par->off);
            strs = &one;
        } else {
            *why = sbxi_param_int(par, opts, &v);
            if (*why)
                return SBXI_OPTION(par);
            one = sbx_sn(digits, sbxi_u64_text(digits, (uint64_t)v));
            strs = &one;
        }
        for (size_t k = 0; k < count; k++) {
            uint32_t state = 0;

            if (!sbxi_utf8(&state, strs[k].p, strs[k].n) || state) {
                *why = sbxi_why_utf8;
                return SBXI_OPTION(par);
            }
            if (!strs[k].n) {
                *why = SBXI_T("must not be empty");
                return SBXI_OPTION(par);
            }
            sbxi_query_put(p, cap, n, par->name, strs[k]);
        }
    }
    return NULL;
}
