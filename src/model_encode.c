#include "model.h"

static const char sbxi_why_utf8[] = SBXI_T("must be UTF-8");

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

static bool sbxi_param_set(const sbxi_param *p, const void *opts)
{
    switch (p->kind) {
    case SBXI_P_STR:
    case SBXI_P_RAW: return sbxi_str_at(opts, p->off).p != NULL;
    case SBXI_P_I64: return *(const int64_t *)sbxi_at(opts, p->off) != 0;
    case SBXI_P_INT:
    case SBXI_P_TTL: return *(const int32_t *)sbxi_at(opts, p->off) != 0;
    case SBXI_P_BOOL: return *(const bool *)sbxi_at(opts, p->off);
    case SBXI_P_TRI: return *(const sbx_tri *)sbxi_at(opts, p->off) != SBX_TRI_UNSET;
    case SBXI_P_PAIRS:
    case SBXI_P_STRS: return sbxi_count_at(opts, p->off) != 0;
    case SBXI_P_OBJECT:
        for (unsigned i = 0; i < p->sub->count; i++)
            if (sbxi_param_set(&p->sub->params[i], sbxi_at(opts, p->off)))
                return true;
        return false;
    default: return true;
    }
}

/* The wire's number of an integer parameter; NULL, or why it is refused. */
static const char *sbxi_param_int(const sbxi_param *p, const void *opts, int64_t *v)
{
    *v = p->kind == SBXI_P_I64 ? *(const int64_t *)sbxi_at(opts, p->off) : *(const int32_t *)sbxi_at(opts, p->off);
    if (p->kind == SBXI_P_SECONDS || p->kind == SBXI_P_LIFE) {
        if (*v == 0)
            *v = p->arg;
        else if (*v == SBX_NONE)
            *v = p->kind == SBXI_P_LIFE ? -1 : 0;
        else if (*v < 0)
            return SBXI_T("must be positive seconds, 0 (default) or SBX_NONE");
        return NULL;
    }
    if (p->kind == SBXI_P_TTL) {
        if (*v == SBX_NONE)
            *v = 0;
        else if (*v < 0 || (int32_t)*v % 60 != 0)
            return SBXI_T("must be a multiple of 60 seconds, 0 (the server's default) or SBX_NONE");
    } else if (*v < 0) {
        return SBXI_T("must not be negative");
    }
    if (p->arg && *v > p->arg) /* only times have a limit, and the same one */
        return SBXI_T("must be 2,592,000 seconds (30 days) at most");
    return NULL;
}

static const char sbxi_why_no_address[] = SBXI_T("has a count but no address");

static const char *sbxi_encode_pairs(sbx_jsonw *w, const void *opts, size_t off)
{
    const sbx_pair *pairs = *(const sbx_pair *const *)sbxi_at(opts, off);
    size_t n = sbxi_count_at(opts, off);

    if (!pairs)
        return sbxi_why_no_address;
    sbx_jsonw_begin(w, '{');
    for (size_t i = 0; i < n; i++) {
        if (!pairs[i].name.n)
            return SBXI_T("has an empty name");
        sbx_jsonw_key(w, pairs[i].name);
        sbx_jsonw_str(w, pairs[i].value);
    }
    sbx_jsonw_end(w, '}');
    return NULL;
}

static void sbxi_encode_strs(sbx_jsonw *w, const void *opts, size_t off)
{
    const sbx_str *strs = *(const sbx_str *const *)sbxi_at(opts, off);

    sbx_jsonw_begin(w, '[');
    for (size_t i = 0; i < sbxi_count_at(opts, off); i++)
        sbx_jsonw_str(w, strs[i]);
    sbx_jsonw_end(w, ']');
}

static const char *sbxi_encode_value(sbx_jsonw *w, const sbxi_param *p, const void *opts, const char **option)
{
    const char *why = NULL;
    int64_t v;

    switch (p->kind) {
    case SBXI_P_STR:
        if (!sbxi_str_at(opts, p->off).n)
            return SBXI_T("must not be empty");
        sbx_jsonw_str(w, sbxi_str_at(opts, p->off));
        break;
    case SBXI_P_RAW:
        if (!sbxi_json_ok(sbxi_str_at(opts, p->off)))
            return SBXI_T("must be one well-formed JSON value");
        sbx_jsonw_raw(w, sbxi_str_at(opts, p->off));
        break;
    case SBXI_P_BOOL:
    case SBXI_P_FLAG: sbx_jsonw_bool(w, *(const bool *)sbxi_at(opts, p->off)); break;
    case SBXI_P_NOT: sbx_jsonw_bool(w, !*(const bool *)sbxi_at(opts, p->off)); break;
    case SBXI_P_TRI:
        if ((unsigned)*(const sbx_tri *)sbxi_at(opts, p->off) > SBX_TRI_YES)
            return SBXI_T("must be SBX_TRI_UNSET, SBX_TRI_NO or SBX_TRI_YES");
        sbx_jsonw_bool(w, *(const sbx_tri *)sbxi_at(opts, p->off) == SBX_TRI_YES);
        break;
    case SBXI_P_PAIRS: return sbxi_encode_pairs(w, opts, p->off);
    case SBXI_P_STRS:
        if (!*(const sbx_str *const *)sbxi_at(opts, p->off))
            return sbxi_why_no_address;
        sbxi_encode_strs(w, opts, p->off);
        break;
    case SBXI_P_OBJECT:
        sbx_jsonw_begin(w, '{');
        *option = sbxi_encode(w, p->sub, sbxi_at(opts, p->off), &why);
        sbx_jsonw_end(w, '}');
        break;
    default:
        why = sbxi_param_int(p, opts, &v);
        if (!why)
            sbx_jsonw_i64(w, v);
    }
    return why;
}

SBXI_FN const char *sbxi_encode(sbx_jsonw *w, const sbxi_schema *s, const void *opts, const char **why)
{
    unsigned clear = s->clear_off ? *(const unsigned *)sbxi_at(opts, s->clear_off) : 0;

    for (unsigned i = 0; i < s->count; i++) {
        const sbxi_param *p = &s->params[i];
        const char *option = SBXI_OPTION(p);
        bool set = sbxi_param_set(p, opts), cleared = (p->clear & clear) != 0;

        if (!set && !cleared)
            continue;
        sbx_jsonw_key(w, sbx_s(p->name));
        if (set && cleared)
            *why = SBXI_T("is given and cleared at once");
        else if (cleared)
            sbx_jsonw_null(w);
        else
            *why = sbxi_encode_value(w, p, opts, &option);
        if (!*why && w->error == SBX_JSONW_UTF8)
            *why = sbxi_why_utf8;
        if (*why)
            return option;
    }
    return NULL;
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
