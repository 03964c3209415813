#include "service.h"

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

    if (h->raw_n)
        *h->raw_n = h->raw_total;
    if (!sbxi_service_take(c, op, (sbx_access)h->step, s))
        return false;
    sbxi_copy_z(s->box, sizeof s->box, op->box->id[0] ? op->box->id : op->box->name);
    s->port = (uint16_t)h->want;
    s->access = (sbx_access)h->step;
    s->expires_in_s = h->poll_ms;
    return false;
}

static const sbxi_row sbxi_service_row = { "service_open", "POST", "/boxes/", "/service-url", SBXI_BASE_CONTROL, SBXI_RETRY_SAFE, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_share_rules, sbxi_grant_prepare, sbxi_service_after, NULL, NULL, NULL, NULL };

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
    if (!b->op)
        return;
    b->op->u.http.out = out;
    b->op->u.http.raw = raw;
    b->op->u.http.raw_n = raw_n;
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

/* ---- files ---- */

static bool sbxi_download_after(sbx_client *c, sbxi_op *op)
{
    const sbxi_grant *g = &op->block->answer.grant;
    sbxi_http *h = &op->u.http;
    sbx_download *d = (sbx_download *)h->out;

    (void)c;
    if (h->raw_n)
        *h->raw_n = h->raw_total;
    if (sbxi_grant_whole(op, g->link.total != 0, sizeof d->url, sizeof d->token)) {
        sbxi_grant_copy(d->url, &g->link);
        sbxi_grant_copy(d->token, &g->token);
        d->expires_ms = g->expires_ms;
    }
    return false;
}

static const sbxi_row sbxi_download_row = { "download_url", "POST", "/boxes/", "/download-url", SBXI_BASE_CONTROL, SBXI_RETRY_SAFE, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_control_rules, sbxi_grant_prepare, sbxi_download_after, NULL, NULL, NULL, NULL };

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

#define SBXI_LINK_ROW "", "", SBXI_BASE_URL, SBXI_RETRY_SAFE

static const sbxi_row sbxi_fetch_row = { "fetch", "GET", SBXI_LINK_ROW, SBXI_ANSWER_FILE, SBX_RESOURCE_FILE, 60000, NULL, &sbxi_fetch_rules, NULL, NULL, NULL, NULL, sbxi_read_failed, sbxi_read_finished };
static const sbxi_row sbxi_fetch_stat_row = { "fetch_stat", "HEAD", SBXI_LINK_ROW, SBXI_ANSWER_STAT, SBX_RESOURCE_FILE, 60000, NULL, &sbxi_fetch_rules, NULL, sbxi_stat_after, NULL, NULL, NULL, NULL };

SBX_API sbx_op sbx_fetch(sbx_client *c, sbx_str url, const sbx_read_opts *opts, sbx_read_result *out)
{
    return sbxi_read_call(c, &sbxi_fetch_row, NULL, url, opts, out);
}

SBX_API sbx_op sbx_fetch_stat(sbx_client *c, sbx_str url, const sbx_box_opts *opts, sbx_file_stat *out)
{
    return sbxi_stat_call(c, &sbxi_fetch_stat_row, NULL, url, opts, out);
}
