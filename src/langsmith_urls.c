#include "service.h"

#if !SBX_NO_URLS

/* ---- what the service grants: a URL and its token ---- */

/* Both texts are without bound: each gets half of the room behind the request,
   until the result is written. */
static void sbxi_grant_prepare(sbx_client *c, sbxi_op *op)
{
    sbxi_grant *g = &op->block->answer.grant;
    size_t room;

    g->link.p = sbxi_op_room(c, op, &room);
    g->link.cap = g->token.cap = room / 2;
    g->token.p = g->link.p + g->link.cap;
    op->block->dec.grow = NULL;
}

/* Whether all of it came and fits into the fields of the result. */
static bool sbxi_grant_whole(sbxi_op *op, bool there, size_t link_room, size_t token_room)
{
    const sbxi_grant *g = &op->block->answer.grant;

    if (op->fail.code != SBX_OK)
        return false;
    if (!there)
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the answer has no URL, or no token"));
    else if (g->link.total >= link_room || g->link.total > g->link.cap || g->token.total >= token_room || g->token.total > g->token.cap)
        sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("a URL or token in the answer is longer than its field, or than the room for it: raise request_bytes"));
    return op->fail.code == SBX_OK;
}

/* Into a field that has the room. */
static void sbxi_grant_copy(char *dst, const sbxi_sink *s)
{
    size_t n = sbxi_sink_n(s);

    if (n)
        memcpy(dst, s->p, n);
    dst[n] = 0;
}

/* ---- services ---- */

/* The wall clock, where there is one. */
static int64_t sbxi_clock(const sbx_client *c)
{
    int64_t wall = c->net.t->wall_ms ? c->net.t->wall_ms(c->net.ctx) : 0;

    return wall ? wall : c->net.now;
}

/* The answer into the service, or nothing of it. */
static bool sbxi_service_take(sbx_client *c, sbxi_op *op, sbx_access access, sbx_service *s)
{
    const sbxi_grant *g = &op->block->answer.grant;
    bool login = access != SBX_ACCESS_TOKEN;

    if (!sbxi_grant_whole(op, login ? g->url[0] || g->link.total : g->url[0] && g->token.total, sizeof s->browser_url, sizeof s->token))
        return false;
    memcpy(s->url, g->url, sizeof s->url);
    sbxi_grant_copy(s->browser_url, &g->link);
    if (!g->link.total)
        memcpy(s->browser_url, g->url, sizeof g->url);
    sbxi_grant_copy(s->token, &g->token);
    s->expires_ms = login ? 0 : g->expires_ms;
    s->clock_ms = op->u.http.until ? op->u.http.until - sbxi_clock(c) : 0;
    return true;
}

static bool sbxi_service_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_service *s = (sbx_service *)h->out;

    sbxi_write_raw(h);
    if (!sbxi_service_take(c, op, (sbx_access)h->step, s))
        return false;
    sbxi_copy_z(s->box, sizeof s->box, op->box->id[0] ? op->box->id : op->box->name);
    s->port = (uint16_t)h->want;
    s->access = (sbx_access)h->step;
    s->expires_in_s = h->poll_ms;
    return false;
}

static const sbxi_row sbxi_service_row = { SBXI_APART("service_open"), "POST", "/boxes/", "/service-url", SBXI_CTL, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_share_rules, sbxi_grant_prepare, sbxi_service_after, NULL, NULL, NULL, NULL };

static void sbxi_service_body(sbxi_build *b, int port, sbx_access access, int32_t expires_in_s)
{
    sbx_jsonw w;

    sbxi_build_json(b, &w);
    if (!b->op)
        return;
    sbx_jsonw_key(&w, sbx_s("port"));
    sbx_jsonw_i64(&w, port);
    if (expires_in_s) {
        sbx_jsonw_key(&w, sbx_s("expires_in_seconds"));
        sbx_jsonw_i64(&w, expires_in_s);
    }
    if (access != SBX_ACCESS_TOKEN)
        sbxi_build_text(&w, "access", access == SBX_ACCESS_RESTRICTED ? "restricted" : "workspace");
    sbxi_build_json_end(b, &w);
}

static const char *sbxi_service_bad(int port, const sbx_service_opts *o, const char **why)
{
    *why = SBXI_T("must be 1 to 65535");
    if (port < 1 || port > 65535)
        return "port";
    *why = SBXI_T("must be SBX_ACCESS_TOKEN, _RESTRICTED or _WORKSPACE");
    if ((unsigned)o->access > SBX_ACCESS_WORKSPACE)
        return "access";
    *why = SBXI_T("must be 1 to 86400 seconds, or 0 for the server's 600");
    if (o->expires_in_s < 0 || o->expires_in_s > 86400)
        return "expires_in_s";
    *why = SBXI_T("and a login exclude each other: a login does not expire");
    if (o->expires_in_s && o->access != SBX_ACCESS_TOKEN)
        return "expires_in_s";
    return NULL;
}

/* What has an answer that must go somewhere. */
static void sbxi_build_grant(sbxi_build *b, const sbx_box *box, const sbx_call *call, void *out, sbx_buf raw, size_t *raw_n)
{
    if (!out)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "out", SBXI_T("must be given"));
    sbxi_build_box(b, box);
    sbxi_build_headers(b, call);
    sbxi_build_result(b, out, NULL, raw, raw_n);
}

SBX_API sbx_op sbx_service_open(sbx_client *c, const sbx_box *box, int port, const sbx_service_opts *opts, sbx_service *out)
{
    const sbx_service_opts *o = opts ? opts : &sbxi_no_opts.service;
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_service_row, &o->call))
        return b.refused;
    bad = sbxi_service_bad(port, o, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    sbxi_build_grant(&b, box, &o->call, out, o->raw, o->raw_n);
    sbxi_service_body(&b, port, o->access, o->expires_in_s);
    if (b.op) {
        sbxi_http *h = &b.op->u.http;

        h->dated = true;
        h->want = (uint64_t)port;
        h->step = (uint8_t)o->access;
        h->poll_ms = o->expires_in_s;
    }
    return sbxi_build_end(&b);
}

static void sbxi_port_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    static const char *const words[] = { "token", "restricted", "workspace" };
    sbx_shared_port *p = (sbx_shared_port *)model;
    unsigned i = 0;

    (void)c;
    (void)op;
    while (i < SBXI_COUNT(words) && strcmp(p->access_text, words[i]) != 0)
        i++;
    p->access = (sbx_access)i;
}

static const sbxi_row sbxi_service_list_row = { SBXI_APART("service_list"), "GET", "/boxes/", "/service-urls", SBXI_CTL, SBXI_ANSWER_LIST, SBX_RESOURCE_SANDBOX, 0, &sbxi_port_page_model, &sbxi_named_rules, NULL, sbxi_list_after, sbxi_port_decoded, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_service_close_row = { SBXI_APART("service_close"), "DELETE", "/boxes/", "/service-urls", SBXI_CTL, SBXI_ANSWER_NONE, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_named_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL };

SBX_API sbx_op sbx_service_list(sbx_client *c, const sbx_box *box, const sbx_list_opts *opts, sbx_list_result *out)
{
    sbx_str name = sbx_s(!box ? NULL : box->name[0] ? box->name : box->id);

    return sbxi_list_call(c, &sbxi_service_list_row, &name, opts, out);
}

SBX_API sbx_op sbx_service_close(sbx_client *c, const sbx_box *box, int port, const sbx_box_opts *opts)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    char digits[20];
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_service_close_row, &o->call))
        return b.refused;
    if (port < 0 || port > 65535)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "port", SBXI_T("must be 1 to 65535, or 0 for all"));
    sbxi_build_box(&b, box);
    if (port)
        sbxi_build_param(&b, "port", sbx_sn(digits, sbxi_u64_text(digits, (uint64_t)port)));
    sbxi_build_headers(&b, &o->call);
    sbxi_build_result(&b, NULL, NULL, o->raw, o->raw_n);
    return sbxi_build_end(&b);
}

/* ---- requests to a service ---- */

/* Nothing but what a request target may hold. */
static bool sbxi_visible(sbx_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f || s.p[i] == '#')
            return false;
    return true;
}

/* A token's last seconds are not begun with. */
#define SBXI_TOKEN_MARGIN_MS 60000

static bool sbxi_service_stale(const sbx_client *c, const sbx_service *s)
{
    bool clock = s->clock_ms || (c->net.t->wall_ms && c->net.t->wall_ms(c->net.ctx));

    return clock && s->expires_ms && s->expires_ms - (sbxi_clock(c) + s->clock_ms) <= SBXI_TOKEN_MARGIN_MS;
}

/* Why no request may go there, or NULL. */
static const char *sbxi_service_url_bad(const sbx_client *c, const char *text)
{
    sbxi_url url;

    if (!sbxi_url_parse(sbx_s(text), &url))
        return SBXI_T("must be an http or https URL without user, query or fragment");
    if (sbxi_url_is_weak(c, &url))
        return SBXI_T("is http:// though the endpoint is https://: the token would go unencrypted (allow_http_boxes in the client's description permits it)");
    return NULL;
}

static bool sbxi_request_next(sbxi_op *op, const sbxi_row *row)
{
    sbxi_op_other(op);
    op->row = row;
    op->attempts = 0;
    op->state = SBXI_OP_START;
    return true;
}

static bool sbxi_token_after(sbx_client *c, sbxi_op *op);
static void sbxi_request_finished(sbx_client *c, sbxi_op *op);

static const sbxi_row sbxi_token_row = { "request", "POST", "/boxes/", "/service-url", SBXI_CTL, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_share_rules, sbxi_grant_prepare, sbxi_token_after, NULL, NULL, sbxi_push_failed, sbxi_request_finished };

static sbxi_run sbxi_request_begin(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_http *h = &op->u.http;

    (void)ev;
    h->err.total = 0;
    if (h->renew || (!h->renewed && sbxi_service_stale(c, (const sbx_service *)h->info))) {
        h->renew = false;
        h->renewed = true;
        sbxi_request_next(op, &sbxi_token_row);
    }
    return SBXI_RUN_IDLE;
}

/* A line may come in pieces, of which the first has the name. */
static void sbxi_request_header(sbx_client *c, sbxi_op *op, void *event)
{
    const sbx_http1_event *e = (const sbx_http1_event *)event;
    sbxi_sink *head = &op->u.http.err;

    (void)c;
    if (e->name.n) {
        sbxi_sink_put(head, NULL, e->name.p, e->name.n);
        sbxi_sink_put(head, NULL, ": ", 2);
    }
    sbxi_sink_put(head, NULL, e->value.p, e->value.n);
    if (!e->more)
        sbxi_sink_put(head, NULL, "\r\n", 2);
}

static void sbxi_request_head(sbx_client *c, sbxi_op *op)
{
    const sbx_http1 *http = &sbxi_op_link(c, op)->codec.http;
    sbxi_http *h = &op->u.http;

    if (http->status == 401 && h->safe && !h->pushed && !h->renewed) {
        h->renew = true;
        op->flags |= SBXI_OP_DRAIN;
        op->block->seen = 0;
        return;
    }
    h->cursor = http->status;
    h->until = http->length == SBX_HTTP1_UNKNOWN ? -1 : (int64_t)http->length;
    op->timeout_ms = h->poll_ms;
    sbxi_op_allow(c, op, op->timeout_ms);
    if (op->flags & SBXI_OP_STREAMING)
        op->notes |= SBXI_NOTE_HEAD;
}

static bool sbxi_request_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    if (!op->u.http.renew)
        return false;
    op->attempts = 0;
    op->state = SBXI_OP_START;
    return true;
}

/* Behind its head an answer is not asked for again, unless nobody wants it. */
static bool sbxi_request_failed(sbx_client *c, sbxi_op *op)
{
    if (op->state == SBXI_OP_BODY && !op->u.http.renew) {
        sbxi_op_finish(c, op);
        return true;
    }
    return sbxi_push_failed(c, op);
}

static void sbxi_request_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_response *r = (sbx_response *)h->out;

    if (op->fail.code != SBX_OK || !r) {
        if (op->flags & SBXI_OP_ALLOC)
            sbx_free(c, h->sink.p);
        return;
    }
    memset(r, 0, sizeof *r);
    r->status = (int)h->cursor;
    r->head_n = sbxi_sink_n(&h->err);
    r->head_cut = r->head_n < h->err.total;
    r->n = sbxi_sink_n(&h->sink);
    r->total = h->total;
    r->size = h->until < 0 ? UINT64_MAX : (uint64_t)h->until;
    r->cut = !(op->flags & SBXI_OP_STREAMING) && r->n < h->total;
    if (op->flags & SBXI_OP_ALLOC) {
        if (h->sink.p)
            h->sink.p[r->n] = 0;
        r->p = h->sink.p;
    }
}

#define SBXI_REQUEST_ROW(retry) \
    { "request", "", "", "", SBXI_BASE_SERVICE, retry, SBXI_ANSWER_HTTP, SBX_RESOURCE_NONE, 0, NULL, NULL, sbxi_request_head, sbxi_request_after, sbxi_request_header, sbxi_request_begin, sbxi_request_failed, sbxi_request_finished }

static const sbxi_row sbxi_request_rows[2] = { SBXI_REQUEST_ROW(SBXI_RETRY_ONCE), SBXI_REQUEST_ROW(SBXI_RETRY_SAFE) };

static bool sbxi_token_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    const char *url = op->block->answer.grant.url, *why = url[0] ? sbxi_service_url_bad(c, url) : NULL;

    if (why && op->fail.code == SBX_OK)
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the service's new URL is no http or https URL, or http:// though the endpoint is https://"));
    return sbxi_service_take(c, op, SBX_ACCESS_TOKEN, (sbx_service *)h->info) && sbxi_request_next(op, &sbxi_request_rows[h->safe]);
}

static bool sbxi_method_safe(sbx_str method)
{
    static const char *const idempotent[] = { "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE" };

    for (size_t i = 0; i < SBXI_COUNT(idempotent); i++)
        if (sbxi_eq(method, sbx_s(idempotent[i])))
            return true;
    return false;
}

static const char *sbxi_request_bad(const sbx_service *s, sbx_str method, const sbx_request_opts *o, const char **why)
{
    *why = SBXI_T("must be given, as sbx_service_open wrote it");
    if (!s || !s->port)
        return "service";
    *why = SBXI_T("is none: a service opened with a login takes requests of browsers only");
    if (!s->token[0])
        return "service.token";
    *why = SBXI_T("must be a token (RFC 9110 5.6.2) of up to 36 bytes, and not CONNECT");
    if (method.n > SBXI_ID_MAX || !sbx_http1_name_ok(method) || sbxi_eq(method, sbx_s("CONNECT")))
        return "method";
    *why = SBXI_T("and body exclude each other");
    if (o->push && o->body.n)
        return "push";
    *why = SBXI_T("must be 0 or more, or SBX_NONE, and belongs to push");
    if (o->size < SBX_NONE || (o->size && !o->push))
        return "size";
    *why = SBXI_T("must be SBX_TRI_UNSET, SBX_TRI_NO or SBX_TRI_YES");
    if ((unsigned)o->repeat > SBX_TRI_YES)
        return "repeat";
    *why = SBXI_T("and the other places for the body (out, alloc, stream, discard) exclude each other");
    if (o->stream && (o->out.p || o->alloc || o->discard))
        return "stream";
    if (o->discard && (o->out.p || o->alloc))
        return "discard";
    *why = SBXI_T("needs alloc: a buffer's size is a cap of its own");
    if (o->max_bytes && !o->alloc)
        return "max_bytes";
    *why = SBXI_T("has a size but no address");
    if (o->head.n && !o->head.p)
        return "head";
    *why = SBXI_T("must be positive milliseconds, 0 (timeout_ms) or SBX_FOREVER");
    if (o->silence_ms < SBX_FOREVER)
        return "silence_ms";
    return NULL;
}

static void sbxi_build_target(sbxi_build *b, sbx_str target)
{
    size_t room;
    char *p;

    if (!b->op)
        return;
    if (!target.n || target.p[0] != '/' || !sbxi_visible(target)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "path", SBXI_T("must begin with / and be percent-encoded, without blanks, control characters, # or bytes beyond ASCII"));
        return;
    }
    p = sbxi_op_room(b->c, b->op, &room);
    if (target.n > room) {
        sbxi_build_too_large(b);
        return;
    }
    memcpy(p, target.p, target.n);
    b->op->block->query_n = (uint32_t)target.n;
}

/* The request for a token, which may be needed first. */
static void sbxi_request_token(sbxi_build *b, const sbx_service *s, sbx_str api_key)
{
    sbx_call call;

    if (!b->op)
        return;
    memset(&call, 0, sizeof call);
    call.api_key = api_key;
    sbxi_build_name(b, sbx_s(s->box), "service.box");
    sbxi_build_headers(b, &call);
    sbxi_service_body(b, s->port, SBX_ACCESS_TOKEN, s->expires_in_s);
    if (b->op)
        sbxi_op_other(b->op);
}

/* Beyond what a caller may set: Content-Type is the library's elsewhere. */
static void sbxi_request_type(sbxi_build *b, sbx_str type)
{
    static const char name[] = "Content-Type: ";
    size_t room, n = sizeof name - 1 + type.n + 2;
    char *p;

    if (!b->op || !type.p)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    if (!type.n || !sbx_http1_value_ok(type)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "content_type", SBXI_T("must be a header value that is not empty"));
    } else if (n > room) {
        sbxi_build_too_large(b);
    } else {
        memcpy(p, name, sizeof name - 1);
        memcpy(p + sizeof name - 1, type.p, type.n);
        memcpy(p + n - 2, "\r\n", 2);
        b->op->block->header_n += (uint32_t)n;
    }
}

static void sbxi_request_fill(sbxi_op *op, sbx_service *s, sbx_str method, const sbx_request_opts *o, sbx_response *out)
{
    sbxi_http *h = &op->u.http;

    memcpy(op->block->command_id, method.p, method.n);
    h->out = out;
    h->info = s;
    h->data = o->body.n ? o->body.p : NULL;
    h->size = o->push ? (uint64_t)o->size : o->body.n;
    h->chunked = o->push && o->size == SBX_NONE;
    h->pushed = o->push;
    h->dated = true;
    h->safe = op->row == &sbxi_request_rows[1];
    h->err.p = (char *)o->head.p;
    h->err.cap = o->head.n;
    h->poll_ms = o->silence_ms ? o->silence_ms : op->timeout_ms;
    op->flags |= (uint16_t)((o->stream ? SBXI_OP_STREAMING : 0) | (o->push ? SBXI_OP_WANTS_ROOM : 0));
}

SBX_API sbx_op sbx_request(sbx_client *c, sbx_service *service, sbx_str method, sbx_str path, const sbx_request_opts *opts, sbx_response *out)
{
    const sbx_request_opts *o = opts ? opts : &sbxi_no_opts.request;
    bool safe = o->repeat == SBX_TRI_UNSET ? sbxi_method_safe(method) : o->repeat == SBX_TRI_YES;
    sbx_call call = o->call;
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_request_rows[safe], &o->call))
        return b.refused;
    call.api_key = sbx_sn(NULL, 0);
    bad = sbxi_request_bad(service, method, o, &why);
    if (!bad) {
        why = sbxi_service_url_bad(c, service->url);
        bad = why ? "service.url" : NULL;
    }
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    else if (!o->stream && !o->out.p && !o->alloc && !o->discard)
        sbxi_build_refuse(&b, SBX_ERR_NO_BUFFER, "out", SBXI_T("must be given, or alloc, stream or discard"));
    sbxi_request_token(&b, service, o->call.api_key);
    sbxi_build_target(&b, path);
    sbxi_build_headers(&b, &call);
    sbxi_request_type(&b, o->content_type);
    if (!b.op || !sbxi_build_sink(&b, &b.op->u.http.sink, o->out, o->alloc, o->max_bytes, (size_t)64 << 20))
        return b.refused;
    sbxi_request_fill(b.op, service, method, o, out);
    return sbxi_build_end(&b);
}

SBX_API bool sbx_head_find(sbx_str head, sbx_str name, sbx_str *value)
{
    while (head.n) {
        const char *p = head.p, *line = (const char *)memchr(p, '\n', head.n);
        size_t n = line ? (size_t)(line - p) : 0;

        if (!line)
            return false;
        if (n > name.n + 2 && p[n - 1] == '\r' && p[name.n] == ':' && sbxi_eq_nocase(sbx_sn(p, name.n), name)) {
            *value = sbx_sn(p + name.n + 2, n - name.n - 3);
            return true;
        }
        head = sbx_sn(line + 1, head.n - n - 1);
    }
    return false;
}

/* ---- files ---- */

static bool sbxi_download_after(sbx_client *c, sbxi_op *op)
{
    const sbxi_grant *g = &op->block->answer.grant;
    sbxi_http *h = &op->u.http;
    sbx_download *d = (sbx_download *)h->out;

    (void)c;
    sbxi_write_raw(h);
    if (sbxi_grant_whole(op, g->link.total != 0, sizeof d->url, sizeof d->token)) {
        sbxi_grant_copy(d->url, &g->link);
        sbxi_grant_copy(d->token, &g->token);
        d->expires_ms = g->expires_ms;
    }
    return false;
}

static const sbxi_row sbxi_download_row = { "download_url", "POST", "/boxes/", SBXI_APART("/download-url"), SBXI_CTL, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_named_rules, sbxi_grant_prepare, sbxi_download_after, NULL, NULL, NULL, NULL };

SBX_API sbx_op sbx_download_url(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_download_opts *opts, sbx_download *out)
{
    const sbx_download_opts *o = opts ? opts : &sbxi_no_opts.download;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, &sbxi_download_row, &o->call))
        return b.refused;
    if (!path.n)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "path", SBXI_T("must not be empty"));
    if ((unsigned)o->disposition > SBX_DISPOSITION_INLINE)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "disposition", SBXI_T("must be SBX_DISPOSITION_DEFAULT, _ATTACHMENT or _INLINE"));
    sbxi_build_grant(&b, box, &o->call, out, o->raw, o->raw_n);
    sbxi_build_json(&b, &w);
    sbxi_build_member(&b, &w, "path", path, "path");
    sbxi_build_opts(&b, &w, &sbxi_download_schema, o);
    if (b.op && o->disposition)
        sbxi_build_text(&w, "content_disposition", o->disposition == SBX_DISPOSITION_INLINE ? "inline" : "attachment");
    sbxi_build_json_end(&b, &w);
    return sbxi_build_end(&b);
}

/* Up to where its path begins. */
static size_t sbxi_url_origin(sbx_str url)
{
    const char *p = (const char *)memchr(url.p, '/', url.n), *end = url.p + url.n;

    p = p && end - p > 2 ? p + 2 : end;
    while (p < end && *p != '/' && *p != '?')
        p++;
    return (size_t)(p - url.p);
}

/* An absolute URL with its query, as it was given. */
static void sbxi_build_url(sbxi_build *b, sbx_str url, const sbx_call *call)
{
    const char *cut = url.n ? (const char *)memchr(url.p, '#', url.n) : NULL;
    size_t origin, room;
    sbxi_url parsed;
    bool bare;
    char *p;

    if (b->op && call->api_key.p)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "call.api_key", SBXI_T("does not belong here: a URL gets no key"));
    if (!b->op)
        return;
    url.n = cut ? (size_t)(cut - url.p) : url.n; /* the fragment is the reader's own */
    origin = url.n ? sbxi_url_origin(url) : 0;
    bare = origin == url.n || url.p[origin] != '/';
    if (!sbxi_url_parse(sbx_sn(url.p, origin), &parsed)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "url", SBXI_T("must be an absolute http or https URL without user"));
        return;
    }
    if (!sbxi_visible(sbx_sn(url.p + origin, url.n - origin))) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "url", SBXI_T("must be percent-encoded: it has a blank, a control character or one beyond ASCII"));
        return;
    }
    if (sbxi_url_is_weak(b->c, &parsed)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "url", SBXI_T("is http:// though the endpoint is https://: its token would go unencrypted (allow_http_boxes in the client's description permits it)"));
        return;
    }
    p = sbxi_op_room(b->c, b->op, &room);
    if (url.n + bare > room) {
        sbxi_build_too_large(b);
        return;
    }
    memcpy(p, url.p, origin);
    p += origin;
    if (bare)
        *p++ = '/';
    memcpy(p, url.p + origin, url.n - origin);
    b->op->block->seg_n = (uint32_t)origin;
    b->op->block->query_n = (uint32_t)(url.n + bare - origin);
}

#define SBXI_LINK_ROW "", "", SBXI_BASE_URL, SBXI_RETRY_SAFE

static const sbxi_row sbxi_fetch_row = { SBXI_APART("fetch"), "GET", SBXI_LINK_ROW, SBXI_ANSWER_FILE, SBX_RESOURCE_FILE, 60000, NULL, &sbxi_fetch_rules, NULL, NULL, NULL, NULL, sbxi_read_failed, sbxi_read_finished };
static const sbxi_row sbxi_fetch_stat_row = { SBXI_APART("fetch_stat"), "HEAD", SBXI_LINK_ROW, SBXI_ANSWER_STAT, SBX_RESOURCE_FILE, 60000, NULL, &sbxi_fetch_rules, NULL, sbxi_stat_after, NULL, NULL, NULL, NULL };

SBX_API sbx_op sbx_fetch(sbx_client *c, sbx_str url, const sbx_read_opts *opts, sbx_read_result *out)
{
    const sbx_read_opts *o = opts ? opts : &sbxi_no_opts.read;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_fetch_row, &o->call))
        return b.refused;
    sbxi_build_url(&b, url, &o->call);
    return sbxi_read_call(&b, o, out);
}

SBX_API sbx_op sbx_fetch_stat(sbx_client *c, sbx_str url, const sbx_box_opts *opts, sbx_file_stat *out)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_fetch_stat_row, &o->call))
        return b.refused;
    sbxi_build_url(&b, url, &o->call);
    return sbxi_stat_call(&b, o, out);
}
#endif
