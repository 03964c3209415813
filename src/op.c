#include "op.h"

/* ---- handles, slots, blocks ---- */

SBXI_FN SBXI_ONCE uint32_t sbxi_op_id(const sbx_client *c, const sbxi_op *op)
{
    return (uint32_t)(op - c->ops);
}

SBXI_FN sbx_op sbxi_op_handle(const sbx_client *c, const sbxi_op *op)
{
    sbx_op h;

    h.slot = sbxi_op_id(c, op) + 1;
    h.gen = op->gen;
    return h;
}

SBXI_FN sbxi_op *sbxi_op_get(const sbx_client *c, sbx_op h)
{
    sbxi_op *op;

    if (h.slot == 0 || h.slot > c->desc.max_ops)
        return NULL;
    op = &c->ops[h.slot - 1];
    return op->gen == h.gen && op->state != SBXI_OP_FREE ? op : NULL;
}

SBXI_FN sbxi_link *sbxi_op_link(sbx_client *c, const sbxi_op *op)
{
    return op->link == SBXI_NIL ? NULL : &c->net.links[op->link];
}

/* Without the end that it has of these. */
static sbx_str sbxi_root_path(sbx_str path)
{
    static const char own[] = "/api/v2/sandboxes";

    for (size_t skip = 0; skip <= 4; skip += 4) { /* with "/api", then without */
        size_t n = sizeof own - 1 - skip;

        if (path.n >= n && memcmp(path.p + path.n - n, own + skip, n) == 0)
            return sbx_sn(path.p, path.n - n);
    }
    return path;
}

SBXI_FN SBXI_ONCE bool sbxi_op_url(const sbx_client *c, const sbxi_op *op, sbxi_url *url)
{
    sbx_str text;

    *url = c->base;
    if (op->row->base == SBXI_BASE_ROOT)
        url->path = sbxi_root_path(url->path);
    if (op->row->base < SBXI_BASE_BOX)
        return true;
    if (!SBX_NO_URLS && op->row->base == SBXI_BASE_URL)
        text = sbx_sn(sbxi_block_text(op->block), op->block->seg_n);
    else
        text = sbx_s(SBX_NO_URLS || op->row->base == SBXI_BASE_BOX ? op->box->url : ((const sbx_service *)op->u.http.info)->url);
    return sbxi_url_parse(text, url);
}

SBXI_FN SBXI_ONCE void sbxi_trace_op(sbx_client *c, const sbxi_op *op, sbx_trace_kind kind, uint32_t number)
{
    sbxi_net_trace(&c->net, kind, sbxi_op_link(c, op), sbxi_op_id(c, op) + 1, number, sbx_s(kind == SBX_TRACE_STATUS ? "" : sbxi_op_name(op)));
}

SBXI_FN char *sbxi_block_text(const sbxi_block *b)
{
    return (char *)(b + 1) + b->at;
}

static uint32_t sbxi_parts_end(const uint32_t *p)
{
    return p[0] + p[1] + p[2] + p[3] + p[4];
}

SBXI_FN void sbxi_op_other(sbxi_op *op)
{
    sbxi_block *b = op->block;
    uint32_t now[5];

    now[0] = b->at;
    now[1] = b->seg_n;
    now[2] = b->query_n;
    now[3] = b->header_n;
    now[4] = b->body_n;
    b->at = sbxi_parts_end(b->other) ? b->other[0] : sbxi_parts_end(now);
    b->seg_n = b->other[1];
    b->query_n = b->other[2];
    b->header_n = b->other[3];
    b->body_n = b->other[4];
    memcpy(b->other, now, sizeof now);
}

SBXI_FN sbxi_block *sbxi_op_block(sbx_client *c)
{
    sbxi_block *b = (sbxi_block *)(void *)sbxi_pool_take(&c->blocks);

    if (b)
        memset(b, 0, sizeof *b);
    return b;
}

/* Its headers may hold a key, also those that were refused or moved. */
SBXI_FN void sbxi_op_drop_block(sbx_client *c, sbxi_op *op)
{
    sbxi_block *b = op->block;

    if (!b)
        return;
    memset(b + 1, 0, c->desc.request_bytes);
    sbxi_pool_give(&c->blocks, (char *)b);
    op->block = NULL;
}

SBXI_FN void sbxi_error_local(sbx_error *e, sbx_code code, const char *operation, const char *field, const char *text)
{
    memset(e, 0, sizeof *e);
    e->code = code;
    e->layer = SBX_LAYER_LOCAL;
    e->retry_after_ms = -1;
    sbxi_copy_z(e->operation, sizeof e->operation, operation);
#if !SBX_NO_ERROR_TEXT
    sbxi_copy_z(e->field, sizeof e->field, field ? field : "");
    {
        size_t n = 0;

        if (field) {
            sbxi_copy_z(e->text, sizeof e->text, field);
            n = strlen(e->text);
            e->text[n++] = ' ';
        }
        sbxi_copy_z(e->text + n, sizeof e->text - n, text ? text : sbx_code_text(code));
    }
#else
    (void)field;
    (void)text;
#endif
}

SBXI_FN sbx_op sbxi_op_refuse(sbx_client *c, sbxi_op *op, sbx_code code, const char *operation, const char *field, const char *text)
{
    sbx_op h;

    sbxi_error_local(&c->refused, code, operation, field, text);
    if (op)
        sbxi_op_free(c, op);
    h.slot = 0;
    h.gen = (uint32_t)code;
    return h;
}

static const char *sbxi_check_call(const sbx_call *call, const char **why)
{
    *why = SBXI_T("must be positive milliseconds, 0 (the default) or SBX_FOREVER");
    if (call->total_ms < SBX_FOREVER)
        return SBXI_T("call.total_ms");
    if (call->timeout_ms < SBX_FOREVER)
        return SBXI_T("call.timeout_ms");
    *why = SBXI_T("must be 100 at most, 0 (the client's) or SBX_NONE");
    if (call->max_retries < SBX_NONE || call->max_retries > 100)
        return SBXI_T("call.max_retries");
    return NULL;
}

static const char *sbxi_name(const sbxi_row *row, unsigned as)
{
    static const char *const names[] = { "run", "attach", "ls", "update", "wait_ready", "start" };

    return as ? names[as - 1] : row->operation;
}

SBXI_FN const char *sbxi_op_name(const sbxi_op *op)
{
    return sbxi_name(op->row, op->flags / SBXI_OP_AS);
}

SBXI_FN sbxi_op *sbxi_op_new(sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as, sbx_op *refused)
{
    const char *why, *text = NULL, *field = sbxi_check_call(call, &why);
    const char *name = sbxi_name(row, as);
    sbx_code code = SBX_OK;
    uint32_t id = c->free_head, gen;
    sbxi_op *op;

    if (c->closing || c->net.inside) {
        code = c->closing ? SBX_ERR_CLOSED : SBX_ERR_STATE;
        field = NULL;
    } else if (field) {
        code = SBX_ERR_ARGUMENT;
        text = why;
    } else if (id == SBXI_NIL || (c->ops_used + 1 >= c->desc.max_ops && c->shutdown == SBXI_NIL)) {
        code = SBX_ERR_FULL;
        field = "max_ops";
        text = SBXI_T("operations are open already: pull END events, or raise it in sbx_client_desc");
    } else if (c->blocks.free_head == SBXI_NIL) {
        code = SBX_ERR_FULL;
        field = "max_requests";
        text = SBXI_T("requests wait for their answer already: step and pull events first, or raise it in sbx_client_desc");
    }
    if (code != SBX_OK) {
        *refused = sbxi_op_refuse(c, NULL, code, name, field, text);
        return NULL;
    }
    op = &c->ops[id];
    c->free_head = op->node.next;
    gen = op->gen;
    memset(op, 0, sizeof *op);
    op->gen = gen;
    op->node.prev = op->node.next = SBXI_NIL;
    op->link = SBXI_NIL;
    op->row = row;
    op->flags = (uint16_t)((unsigned)as * SBXI_OP_AS);
    op->user = call->user;
    op->block = sbxi_op_block(c);
    op->state = SBXI_OP_NEW;
    op->total_at = call->total_ms ? call->total_ms : c->desc.total_ms; /* a length, until it runs */
    op->attempt_at = op->wake_at = SBXI_NEVER;
    op->timeout_ms = call->timeout_ms ? call->timeout_ms : row->timeout_ms ? row->timeout_ms : c->desc.timeout_ms;
    op->max_retries = (uint8_t)SBXI_MAX(0, call->max_retries ? call->max_retries : c->desc.max_retries);
    op->fail.retry_after_s = -1;
    c->ops_used++;
    c->net.usage.ops_high = SBXI_MAX(c->net.usage.ops_high, c->ops_used);
    return op;
}

SBXI_FN void sbxi_op_free(sbx_client *c, sbxi_op *op)
{
    sbxi_op_list(c, op, SBXI_LIST_NONE);
    sbxi_timer_set(&c->timers, sbxi_op_id(c, op), SBXI_NEVER);
    sbxi_op_release_link(c, op, false);
    sbxi_op_drop_block(c, op);
    op->state = SBXI_OP_FREE;
    op->gen++;
    if (c->borrowed == sbxi_op_id(c, op))
        c->borrowed = SBXI_NIL;
    op->node.next = c->free_head;
    c->free_head = sbxi_op_id(c, op);
    c->ops_used--;
}

/* ---- request bytes ---- */

SBXI_FN char *sbxi_op_room(sbx_client *c, sbxi_op *op, size_t *room)
{
    sbxi_block *b = op->block;
    size_t used = (size_t)b->at + b->seg_n + b->query_n + b->header_n + b->body_n;

    used = SBXI_MAX(used, sbxi_parts_end(b->other));
    *room = c->desc.request_bytes - used;
    return (char *)(b + 1) + used;
}

SBXI_FN bool sbxi_op_segment(sbx_client *c, sbxi_op *op, sbx_str seg)
{
    size_t room, n;
    char *p = sbxi_op_room(c, op, &room);

    n = sbxi_percent(p, room, seg, "");
    if (n > room)
        return false;
    op->block->seg_n = (uint32_t)n;
    return true;
}

SBXI_FN bool sbxi_op_resegment(sbx_client *c, sbxi_op *op, sbx_str seg)
{
    sbxi_block *b = op->block;
    char *text = sbxi_block_text(b);
    size_t n = sbxi_percent(NULL, 0, seg, ""), used = n + b->header_n;

    if (used > c->desc.request_bytes)
        return false;
    memmove(text + n, text + b->seg_n + b->query_n, b->header_n);
    sbxi_percent(text, n, seg, "");
    memset(text + used, 0, c->desc.request_bytes - used);
    b->seg_n = (uint32_t)n;
    b->query_n = b->body_n = 0;
    return true;
}

/* Headers that frame the message or the connection are the library's own. */
static bool sbxi_header_reserved(sbx_str name)
{
    static const char *const own[] = { "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "content-type", "expect" };

    for (size_t i = 0; i < SBXI_COUNT(own); i++)
        if (sbxi_eq_nocase(name, sbx_s(own[i])))
            return true;
    return name.n > 14 && sbxi_eq_nocase(sbx_sn(name.p, 14), sbx_sn("sec-websocket-", 14));
}

/* "Name: value\r\n" for each, measured or written; NULL, or what is wrong. */
SBXI_FN const char *sbxi_header_lines(char *p, size_t cap, size_t *n, const sbx_header *h, size_t count)
{
    if (count && !h)
        return SBXI_T("has a count but no address");
    for (size_t i = 0; i < count; i++) {
        size_t need = h[i].name.n + h[i].value.n + 4;

        if (!sbx_http1_name_ok(h[i].name))
            return SBXI_T("has a name that is not a token (RFC 9110 5.6.2)");
        if (!sbx_http1_value_ok(h[i].value))
            return SBXI_T("has a value with CR, LF, NUL or another control character");
        if (sbxi_header_reserved(h[i].name))
            return SBXI_T("has a name that the library sets itself");
        if (p && *n + need <= cap) {
            char *at = p + *n;

            memcpy(at, h[i].name.p, h[i].name.n);
            at += h[i].name.n;
            *at++ = ':';
            *at++ = ' ';
            if (h[i].value.n)
                memcpy(at, h[i].value.p, h[i].value.n);
            at += h[i].value.n;
            *at++ = '\r';
            *at = '\n';
        }
        *n += need;
    }
    return NULL;
}

SBXI_FN const char *sbxi_op_headers(sbx_client *c, sbxi_op *op, const sbx_call *call, const char **why)
{
    size_t room, n = 0;
    char *p = sbxi_op_room(c, op, &room);
    sbx_header key;

    *why = sbxi_header_lines(p, room, &n, call->headers, call->headers_n);
    if (*why)
        return SBXI_T("call.headers");
    if (call->api_key.p) {
        *why = call->api_key.n ? NULL : SBXI_T("must not be empty");
        if (*why)
            return SBXI_T("call.api_key");
        key.name = sbx_s("X-Api-Key");
        key.value = call->api_key;
        *why = sbxi_header_lines(p, room, &n, &key, 1);
        if (*why)
            return SBXI_T("call.api_key");
    }
    if (n > room)
        op->block->overflow = true;
    else
        op->block->header_n = (uint32_t)n;
    return NULL;
}

static bool sbxi_lines_have(const char *p, size_t n, sbx_str name)
{
    const char *end = p + n;

    while (p < end) {
        const char *line = p;

        while (*p != '\n')
            p++;
        p++;
        if ((size_t)(p - line) > name.n && line[name.n] == ':' && sbxi_eq_nocase(sbx_sn(line, name.n), name))
            return true;
    }
    return false;
}

/* The name of the line at p. */
static sbx_str sbxi_line_name(const char *p)
{
    const char *q = p;

    while (*q != ':')
        q++;
    return sbx_sn(p, (size_t)(q - p));
}

/* ---- composing ---- */

typedef struct sbxi_lines {
    const char *own, *call; /* the client's and the call's */
    size_t own_n, call_n;
} sbxi_lines;

static SBXI_ONCE void sbxi_put_raw(sbx_http1w *w, const char *p, size_t n)
{
    if (n <= w->cap && w->n <= w->cap - n)
        memcpy(w->p + w->n, p, n);
    else
        w->error = SBX_HTTP1W_FULL;
    w->n += n;
}

static SBXI_ONCE void sbxi_put_header(sbx_http1w *w, const char *name, const char *value)
{
    sbx_http1w_header(w, sbx_s(name), sbx_s(value));
}

/* A header of the library's, unless the caller gave one of that name. */
static SBXI_ONCE void sbxi_put_default(sbx_http1w *w, const sbxi_lines *l, const char *name, const char *value)
{
    if (!sbxi_lines_have(l->own, l->own_n, sbx_s(name)) && !sbxi_lines_have(l->call, l->call_n, sbx_s(name)))
        sbxi_put_header(w, name, value);
}

static SBXI_NOINLINE void sbxi_put_lines(sbx_http1w *w, const sbxi_lines *l)
{
    const char *p = l->own, *end = l->own + l->own_n;

    while (p < end) {
        const char *line = p;

        while (*p != '\n')
            p++;
        p++;
        if (!sbxi_lines_have(l->call, l->call_n, sbxi_line_name(line)))
            sbxi_put_raw(w, line, (size_t)(p - line));
    }
    if (l->call_n)
        sbxi_put_raw(w, l->call, l->call_n);
}

static size_t sbxi_join(char *p, size_t room, const sbx_str *parts, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].n && n + parts[i].n <= room)
            memcpy(p + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    return n;
}

static SBXI_NOINLINE sbx_str sbxi_host_text(char *p, size_t room, const sbxi_url *url)
{
    bool v6 = memchr(url->host.p, ':', url->host.n) != NULL;
    char digits[21];
    sbx_str parts[4];
    size_t n;

    digits[0] = ':';
    n = 1 + sbxi_u64_text(digits + 1, url->port);
    if (url->port == (url->tls ? 443 : 80))
        n = 0;
    parts[0] = sbx_sn("[", v6 ? 1 : 0);
    parts[1] = url->host;
    parts[2] = sbx_sn("]", v6 ? 1 : 0);
    parts[3] = sbx_sn(digits, n);
    return sbx_sn(p, sbxi_join(p, room, parts, 4));
}

static SBXI_NOINLINE void sbxi_put_stream(sbx_client *c, sbxi_op *op, sbx_http1w *w)
{
    unsigned char *nonce = (unsigned char *)op->u.command.held.part; /* unused until a message is cut */
    char key[24];

    if (!sbxi_net_random(&c->net, nonce, 16))
        return;
    sbx_ws_key(key, nonce);
    sbxi_put_header(w, "Upgrade", "websocket");
    sbxi_put_header(w, "Connection", "Upgrade");
    sbxi_put_header(w, "Sec-WebSocket-Version", "13");
    sbx_http1w_header(w, sbx_s("Sec-WebSocket-Key"), sbx_sn(key, sizeof key));
}

static const char sbxi_range_unit[] = "bytes=";

static SBXI_NOINLINE void sbxi_put_range(sbxi_op *op, sbx_http1w *w, const sbxi_lines *lines)
{
    const sbxi_http *h = &op->u.http;
    char text[64];
    size_t n = sizeof sbxi_range_unit - 1;
    uint64_t from = h->pos + h->total;

    op->u.http.bad_range = true; /* until the answer names the right one */
    if (!from && !h->want && !h->from_end && !h->if_range)
        return;
    memcpy(text, sbxi_range_unit, n);
    if (h->from_end && !h->total) {
        text[n++] = '-';
        n += sbxi_u64_text(text + n, h->want);
    } else {
        n += sbxi_u64_text(text + n, from);
        text[n++] = '-';
        if (h->want)
            n += sbxi_u64_text(text + n, h->pos + h->want - 1);
    }
    sbx_http1w_header(w, sbx_s("Range"), sbx_sn(text, n));
    /* The rest of a transfer must be of the same file. */
    if (h->total && op->block->stat_known)
        sbxi_put_default(w, lines, "If-Range", op->block->answer.stat.etag);
}

static SBXI_ONCE const char *sbxi_op_method(const sbxi_op *op)
{
    return SBX_NO_URLS || op->row->method[0] || !op->block ? op->row->method : op->block->command_id;
}

SBXI_FN bool sbxi_is_upload(const sbxi_op *op)
{
    if (SBXI_IS_HTTP(op))
        return op->u.http.pushed || op->u.http.data;
    return op->block && op->block->boundary[0];
}

static SBXI_NOINLINE void sbxi_put_body_headers(sbxi_op *op, sbx_http1w *w, size_t body_n)
{
    sbxi_block *b = op->block;
    char text[80];
    sbx_str parts[2];

    /* A body of its own (multipart) has its text in the block's body. */
    if (b && b->boundary[0]) {
        parts[0] = sbx_s("multipart/form-data; boundary=");
        parts[1] = sbx_s(b->boundary);
        sbx_http1w_header(w, sbx_s("Content-Type"), sbx_sn(text, sbxi_join(text, sizeof text, parts, 2)));
    }
    if (sbxi_is_upload(op)) {
        if (op->u.http.chunked)
            sbxi_put_header(w, "Transfer-Encoding", "chunked");
        else
            sbx_http1w_header_u64(w, sbx_s("Content-Length"), op->u.http.size + b->body_n);
    } else if (body_n) {
        sbxi_put_header(w, "Content-Type", "application/json");
        sbx_http1w_header_u64(w, sbx_s("Content-Length"), body_n);
    } else if (sbxi_op_method(op)[0] == 'P') {
        sbx_http1w_header_u64(w, sbx_s("Content-Length"), 0);
    }
}

/* What the trace may see: no query, and of a link nothing at all. */
static sbx_str sbxi_shown(const sbxi_row *row, sbx_str target)
{
    const char *query = (const char *)memchr(target.p, '?', target.n);

    return sbx_sn(target.p, !SBX_NO_URLS && row->base == SBXI_BASE_URL ? 0 : query ? (size_t)(query - target.p) : target.n);
}

SBXI_FN SBXI_NOINLINE bool sbxi_op_compose(sbx_client *c, sbxi_op *op)
{
    const sbxi_row *row = op->row;
    const sbxi_block *b = op->block;
    const char *text = b ? sbxi_block_text(b) : "";
    sbxi_link *l = sbxi_op_link(c, op);
    const char *method = sbxi_op_method(op);
    bool foreign = !SBX_NO_URLS && row->base >= SBXI_BASE_URL;
    sbxi_url url;
    sbxi_lines lines;
    sbx_str parts[5], target, host;
    sbxi_got got;
    size_t room, tail, body_n = b ? b->body_n : 0;
    char *p = sbxi_link_room(&c->net, l, &room, &got);
    bool resumes = sbxi_op_is_sse(op) && !body_n;
    const char *body;
    sbx_http1w w;

    sbxi_op_url(c, op, &url);
    c->net.entropy_failed = false; /* another's failure is no business of this one */
    lines.own = c->headers;
    lines.own_n = foreign ? 0 : c->headers_n;
    lines.call = b ? text + b->seg_n + b->query_n : text;
    lines.call_n = b ? b->header_n : 0;
    body = lines.call + lines.call_n;
    if (resumes) {
        room -= SBXI_RESUME_MAX;
        body = p + room;
        body_n = sbxi_resume_body(op, p + room);
    }
    parts[0] = url.path;
    parts[1] = sbx_s(row->prefix);
    parts[2] = sbx_sn(text, b && !foreign ? b->seg_n : 0);
    parts[3] = sbx_s(row->suffix);
    parts[4] = sbx_sn(text + (b ? b->seg_n : 0), b ? b->query_n : 0);
    /* Target and host are put together at the buffer's end, then copied to
       where they belong at its start. */
    tail = room / 2;
    target = sbx_sn(p + tail, sbxi_join(p + tail, room - tail, parts, 5));
    if (target.n > room - tail || room - tail - target.n < 320) {
        sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("the URL does not fit: raise tx_bytes"));
        return false;
    }
    host = sbxi_host_text(p + tail + target.n, room - tail - target.n, &url);
    sbx_http1w_request(&w, p, tail, sbx_s(method), target, host);
    w.cap = room;
    if (w.n > tail)
        w.error = SBX_HTTP1W_FULL;
    sbxi_net_trace(&c->net, SBX_TRACE_REQUEST, l, sbxi_op_id(c, op) + 1, 0, sbxi_shown(row, target));
    sbxi_put_default(&w, &lines, "User-Agent", c->agent);
    if (c->key_n && !foreign)
        sbxi_put_default(&w, &lines, "X-Api-Key", c->key);
    if (!SBX_NO_URLS && row->base == SBXI_BASE_SERVICE)
        sbxi_put_default(&w, &lines, "X-Langsmith-Sandbox-Service-Token", ((const sbx_service *)op->u.http.info)->token);
    sbxi_put_default(&w, &lines, "Accept", sbxi_op_is_sse(op) ? "text/event-stream" : "*/*");
    if (row->answer == SBXI_ANSWER_STREAM)
        sbxi_put_stream(c, op, &w);
    else
        sbxi_put_body_headers(op, &w, body_n);
    if (row->answer == SBXI_ANSWER_FILE)
        sbxi_put_range(op, &w, &lines);
    sbxi_put_lines(&w, &lines);
    sbx_http1w_end(&w);
    if (c->net.entropy_failed || w.error)
        memset(p, 0, room); /* a key that nothing will send */
    if (c->net.entropy_failed) {
        sbxi_op_fail(c, op, SBX_ERR_ENTROPY, SBX_LAYER_TRANSPORT, NULL);
        return false;
    }
    if (w.error) {
        sbxi_op_fail(c, op, w.error == SBX_HTTP1W_FULL ? SBX_ERR_TOO_LARGE : SBX_ERR_ARGUMENT, SBX_LAYER_LOCAL,
                     w.error == SBX_HTTP1W_FULL ? SBXI_T("the request's head does not fit: raise tx_bytes") : SBXI_T("the URL or a header has a character that is not allowed"));
        return false;
    }
    l->tx_end += (uint32_t)w.n;
    if (body_n && !(b && b->boundary[0]) && row->answer != SBXI_ANSWER_STREAM) {
        if (resumes || body_n <= room - w.n) {
            memmove(p + w.n, body, body_n);
            l->tx_end += (uint32_t)body_n;
        } else {
            l->out.body.p = body;
            l->out.body.n = body_n;
        }
    }
    sbxi_exchange_begin(&c->net, l, strcmp(method, "HEAD") == 0);
    return true;
}
