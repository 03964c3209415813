#include "service.h"

const sbxi_options sbxi_no_opts = { { 0 } };

SBXI_FN bool sbxi_build_begin_as(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as)
{
    b->c = c;
    b->op = sbxi_op_new(c, row, call, as, &b->refused);
    return b->op != NULL;
}

SBXI_FN bool sbxi_build_begin(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call)
{
    return sbxi_build_begin_as(b, c, row, call, SBXI_AS_ROW);
}

SBXI_FN void sbxi_build_refuse(sbxi_build *b, sbx_code code, const char *field, const char *text)
{
    if (b->op)
        b->refused = sbxi_op_refuse(b->c, b->op, code, sbxi_op_name(b->op), field, text);
    b->op = NULL;
}

SBXI_FN void sbxi_build_absent(sbxi_build *b, bool asked, const char *field, const char *text)
{
    if (asked)
        sbxi_build_refuse(b, SBX_ERR_UNSUPPORTED, field, text);
}

SBXI_FN void sbxi_build_old(sbxi_build *b, bool given, const char *field)
{
    if (SBX_NO_LEGACY)
        sbxi_build_absent(b, given, field, SBXI_T("is not in this build (SBX_NO_LEGACY)"));
}

SBXI_FN void sbxi_build_too_large(sbxi_build *b)
{
    sbxi_build_refuse(b, SBX_ERR_TOO_LARGE, "request_bytes", SBXI_T("is too small for this request: raise it in the client's description"));
}

SBXI_FN void sbxi_build_name(sbxi_build *b, sbx_str name, const char *field)
{
    uint32_t state = 0;

    if (!b->op)
        return;
    if (!name.n)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must not be empty"));
    else if (!sbxi_utf8(&state, name.p, name.n) || state || memchr(name.p, 0, name.n))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must be UTF-8 without NUL"));
    else if ((name.n == 1 && name.p[0] == '.') || (name.n == 2 && name.p[0] == '.' && name.p[1] == '.'))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must not be . or .."));
    else if (!sbxi_op_segment(b->c, b->op, name))
        sbxi_build_too_large(b);
}

SBXI_FN bool sbxi_url_is_weak(const sbx_client *c, const sbxi_url *url)
{
    return c->base.tls && !url->tls && !c->desc.allow_http_boxes && !sbxi_url_is_loopback(url);
}

SBXI_FN void sbxi_build_box(sbxi_build *b, const sbx_box *box)
{
    sbxi_url url;

    if (!b->op)
        return;
    if (!box) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box", SBXI_T("must be given"));
        return;
    }
    b->op->box = box;
    if (b->op->row->base == SBXI_BASE_CONTROL)
        sbxi_build_name(b, box->name[0] ? sbx_s(box->name) : sbx_s(box->id), "box.name");
    else if (!box->url[0])
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box.url", SBXI_T("is not known: get the sandbox, or start it, first"));
    else if (!sbxi_url_parse(sbx_s(box->url), &url))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box.url", SBXI_T("must be an http or https URL without user, query or fragment"));
    else if (sbxi_url_is_weak(b->c, &url))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box.url", SBXI_T("is http:// though the endpoint is https://: the API key would go unencrypted (allow_http_boxes in the client's description permits it)"));
}

SBXI_FN void sbxi_build_query(sbxi_build *b, const sbxi_schema *schema, const void *opts)
{
    const char *why = NULL, *bad;
    size_t room, n = 0;
    char *p;

    if (!b->op)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    bad = sbxi_encode_query(p, room, &n, schema, opts, &why);
    if (bad)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, bad, why);
    else if (n > room)
        sbxi_build_too_large(b);
    else
        b->op->block->query_n = (uint32_t)n;
}

SBXI_FN void sbxi_build_param(sbxi_build *b, const char *name, sbx_str value)
{
    size_t room, n, name_n = strlen(name);
    char *p;

    if (!b->op)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    if (room < name_n + 2) {
        sbxi_build_too_large(b);
        return;
    }
    *p = b->op->block->query_n ? '&' : '?';
    memcpy(p + 1, name, name_n);
    p[1 + name_n] = '=';
    n = sbxi_percent(p + name_n + 2, room - name_n - 2, value, "/");
    if (n > room - name_n - 2)
        sbxi_build_too_large(b);
    else
        b->op->block->query_n += (uint32_t)(n + name_n + 2);
}

SBXI_FN void sbxi_build_path(sbxi_build *b, sbx_str path)
{
    uint32_t state = 0;

    if (!b->op)
        return;
    if (!path.n)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "path", SBXI_T("must not be empty"));
    else if (!sbxi_utf8(&state, path.p, path.n) || state || memchr(path.p, 0, path.n))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "path", SBXI_T("must be UTF-8 without NUL"));
    else
        sbxi_build_param(b, "path", path);
}

SBXI_FN void sbxi_build_headers(sbxi_build *b, const sbx_call *call)
{
    const char *why, *bad;

    if (!b->op)
        return;
    bad = sbxi_op_headers(b->c, b->op, call, &why);
    if (bad)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, bad, why);
    else if (b->op->block->overflow)
        sbxi_build_too_large(b);
}

SBXI_FN void sbxi_build_header(sbxi_build *b, const char *name, sbx_str value, const char *field)
{
    sbx_header h;
    size_t room, n = 0;
    const char *why;
    char *p;

    if (!b->op || !value.p)
        return;
    if (!value.n) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must not be empty"));
        return;
    }
    h.name = sbx_s(name);
    h.value = value;
    p = sbxi_op_room(b->c, b->op, &room);
    why = sbxi_header_lines(p, room, &n, &h, 1);
    if (why)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, why);
    else if (n > room)
        sbxi_build_too_large(b);
    else
        b->op->block->header_n += (uint32_t)n;
}

SBXI_FN void sbxi_build_json(sbxi_build *b, sbx_jsonw *w)
{
    size_t room;
    char *p;

    memset(w, 0, sizeof *w);
    if (!b->op)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    sbx_jsonw_init(w, p, room);
    sbx_jsonw_begin(w, '{');
}

SBXI_FN void sbxi_build_member(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field)
{
    const char *why;

    if (!b->op)
        return;
    sbx_jsonw_key(w, sbx_s(name));
    why = sbxi_text_put(w, value);
    if (why)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, why);
}

SBXI_FN void sbxi_build_needed(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field, size_t most)
{
    if (!value.n || value.n > most)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, value.n ? SBXI_T("must be 127 bytes at most") : SBXI_T("must not be empty"));
    sbxi_build_member(b, w, name, value, field);
}

SBXI_FN void sbxi_build_text(sbx_jsonw *w, const char *name, const char *value)
{
    sbx_jsonw_key(w, sbx_s(name));
    sbx_jsonw_str(w, sbx_s(value));
}

SBXI_FN void sbxi_build_opts(sbxi_build *b, sbx_jsonw *w, const sbxi_schema *schema, const void *opts)
{
    sbxi_bad bad;

    if (b->op && !sbxi_encode(w, schema, opts, &bad))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, SBXI_BAD_OPTION(&bad), bad.why);
}

SBXI_FN void sbxi_build_json_end(sbxi_build *b, sbx_jsonw *w)
{
    if (!b->op)
        return;
    sbx_jsonw_end(w, '}');
    if (w->error)
        sbxi_build_too_large(b);
    else
        b->op->block->body_n = (uint32_t)w->n;
}

SBXI_FN bool sbxi_build_sink(sbxi_build *b, sbxi_sink *s, sbx_buf buf, bool alloc, size_t limit, size_t limit_default)
{
    if (!b->op)
        return false;
    if (SBX_NO_ALLOC && alloc) {
        sbxi_build_refuse(b, SBX_ERR_UNSUPPORTED, "alloc", SBXI_T("is not in this build (SBX_NO_ALLOC)"));
        return false;
    }
    if (alloc && buf.p) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "alloc", SBXI_T("and a buffer exclude each other"));
        return false;
    }
    if (alloc && !b->c->desc.resize) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "alloc", SBXI_T("needs an allocator: set `resize` in the client's description"));
        return false;
    }
    if (buf.n && !buf.p) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "out", SBXI_T("has a size but no address"));
        return false;
    }
    s->p = (char *)buf.p;
    s->cap = alloc ? (limit ? limit : limit_default) : buf.n;
    if (alloc)
        b->op->flags |= SBXI_OP_ALLOC;
    return true;
}

SBXI_FN void sbxi_build_or_get(sbxi_build *b, const sbxi_row *get)
{
    if (!b->op || b->op->block->body_n != 2)
        return;
    b->op->row = get;
    b->op->block->body_n = 0;
}

SBXI_FN void sbxi_build_result(sbxi_build *b, void *out, void *info, sbx_buf raw, size_t *raw_n)
{
    sbxi_http *h;

    if (!b->op)
        return;
    h = &b->op->u.http;
    h->out = out;
    h->info = info;
    h->raw = raw;
    h->raw_n = raw_n;
}

SBXI_FN sbx_op sbxi_build_end(sbxi_build *b)
{
    return b->op ? sbxi_op_start(b->c, b->op) : b->refused;
}
