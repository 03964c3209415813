#include "op.h"

/* An error body is read this far; a longer one is cut off with its
   connection. */
#define SBXI_ERROR_BODY_MAX 65536u

/* ---- sending ---- */

/* Text of the multipart frame, or (n 0) only what ends the body, into the send
   buffer; false while it has no room. */
static bool sbxi_send_text(sbx_client *c, sbxi_op *op, const char *p, size_t n, bool end)
{
    static const char tail[] = "\r\n0\r\n\r\n";
    sbxi_link *l = sbxi_op_link(c, op);
    bool chunked = op->u.http.chunked;
    char size[18];
    size_t room, size_n = chunked && n ? sbx_http1_chunk(size, n) : 0;
    sbxi_got got;
    char *to;

    if (!n && !(chunked && end))
        return true;
    to = sbxi_link_room(&c->net, l, &room, &got);
    if (!to || room < n + size_n + 7)
        return false;
    memcpy(to, size, size_n);
    memcpy(to + size_n, p, n);
    to += size_n + n;
    if (chunked) {
        size_n = (n ? 2 : 0) + (end ? 5 : 0);
        memcpy(to, tail + (n ? 0 : 2), size_n);
        to += size_n;
    }
    l->tx_end = (uint32_t)(to - l->tx);
    return true;
}

/* The next part of an upload; false: nothing can go on now. */
static bool sbxi_send_next(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbxi_block *b = op->block;
    const char *text = sbxi_block_text(b) + b->seg_n + b->query_n + b->header_n;
    sbxi_link *l = sbxi_op_link(c, op);

    switch (h->step) {
    case 0: /* `want` is where the frame's end begins */
        if (!sbxi_send_text(c, op, text, (size_t)h->want, false))
            return false;
        h->step = 1;
        return true;
    case 1:
        if (h->pushed) {
            if (op->flags & SBXI_OP_PUSH_END) {
                h->step = 2;
                return true;
            }
            op->attempt_at = SBXI_NEVER; /* it is the caller's turn */
            sbxi_op_arm(c, op);
            if (op->flags & SBXI_OP_WANTS_ROOM && sbxi_link_has_room(&c->net, l)) {
                op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM;
                op->notes |= SBXI_NOTE_WRITABLE;
            }
            return false;
        }
        l->out.body.p = h->data;
        l->out.body.n = (size_t)h->size;
        h->step = 2;
        return true;
    case 2:
        if (!sbxi_send_text(c, op, text + h->want, b->body_n - (size_t)h->want, true))
            return false;
        h->step = 3;
        return true;
    default:
        return false;
    }
}

/* Whether it is not the caller's turn, nor the connection's, but a send
   buffer's. */
static bool sbxi_send_starved(sbx_client *c, const sbxi_op *op)
{
    bool caller = sbxi_is_upload(op) && op->u.http.step == 1 && !(op->flags & SBXI_OP_WANTS_ROOM);

    return !caller && !sbxi_link_has_room(&c->net, sbxi_op_link(c, op));
}

static sbxi_run sbxi_op_answer(sbx_client *c, sbxi_op *op, sbx_event *ev);

static sbxi_run sbxi_op_send(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_link *l = sbxi_op_link(c, op);

    if (!l->tx && !l->sent_any && !l->out.body.n) {
        size_t room;
        sbxi_got got;

        if (!sbxi_link_room(&c->net, l, &room, &got))
            return SBXI_RUN_STARVED;
        if (sbxi_is_upload(op)) {
            op->u.http.step = 0;
            op->u.http.pos = 0;
        }
        if (!sbxi_op_compose(c, op))
            return SBXI_RUN_IDLE;
        sbxi_op_allow(c, op, op->timeout_ms);
    }
    for (;;) {
        uint64_t before = c->net.usage.bytes_out;
        sbxi_got got = sbxi_link_flush(&c->net, l);

        if (c->net.usage.bytes_out != before && sbxi_is_upload(op)) {
            sbxi_op_allow(c, op, op->timeout_ms);
        }
        if (got == SBXI_GOT_FAIL) {
            sbxi_op_net_failed(c, op, got);
            return SBXI_RUN_IDLE;
        }
        if (got == SBXI_GOT_EVENT && (!sbxi_is_upload(op) || op->u.http.step == 3)) {
            op->state = SBXI_OP_HEAD;
            return SBXI_RUN_IDLE;
        }
        if (got == SBXI_GOT_BLOCKED || !sbxi_send_next(c, op)) {
            /* A server may refuse before it has read everything. */
            sbxi_run r = l->ready & SBX_READABLE ? sbxi_op_answer(c, op, ev) : SBXI_RUN_IDLE;

            return r == SBXI_RUN_IDLE && op->state == SBXI_OP_SEND && sbxi_send_starved(c, op) ? SBXI_RUN_STARVED : r;
        }
    }
}

/* ---- headers ---- */

static bool sbxi_digits(sbx_str s, size_t *at, uint64_t *v)
{
    size_t from = *at;

    *v = 0;
    while (*at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9') {
        if (*v > (UINT64_MAX - 9) / 10)
            return false;
        *v = *v * 10 + (uint64_t)(s.p[(*at)++] - '0');
    }
    return *at > from;
}

static int32_t sbxi_retry_after(sbx_client *c, sbx_str value)
{
    size_t at = 0;
    uint64_t v;
    int64_t date, now;

    if (sbxi_digits(value, &at, &v))
        return (int32_t)SBXI_MIN(v, 86400);
    now = c->net.t->wall_ms ? c->net.t->wall_ms(c->net.ctx) : 0;
    if (!now || !sbxi_http_date(value, &date))
        return -1;
    return date <= now ? 0 : (int32_t)SBXI_MIN((date - now + 999) / 1000, 86400);
}

/* "bytes 5-9/100", "bytes 5-9/…" with * for the size, "bytes * /100" unspaced. */
static void sbxi_content_range(sbxi_op *op, sbx_str v)
{
    sbxi_http *h = &op->u.http;
    size_t at = 6;
    uint64_t from, to, size;

    h->bad_range = true;
    if (v.n < 8 || memcmp(v.p, "bytes ", 6) != 0)
        return;
    if (sbxi_digits(v, &at, &from) && at < v.n && v.p[at++] == '-' && sbxi_digits(v, &at, &to)) {
        if (h->from_end && !h->total)
            h->pos = from;
        h->from_end = false;
        h->bad_range = from != h->pos + h->total || to < from;
    }
    at = v.n;
    while (at && v.p[at - 1] >= '0' && v.p[at - 1] <= '9')
        at--;
    if (at && v.p[at - 1] == '/' && sbxi_digits(v, &at, &size))
        h->size = size;
}

SBXI_FN SBXI_ONCE bool sbxi_header_is(const sbx_http1_event *e, const char *name)
{
    return sbxi_eq_nocase(e->name, sbx_s(name));
}

static void sbxi_file_header(sbxi_op *op, const sbxi_link *l, const sbx_http1_event *e)
{
    sbx_file_stat *st = &op->block->answer.stat;
    bool first = op->row->answer == SBXI_ANSWER_STAT || !op->u.http.total;
    size_t at = 0;
    uint64_t v;

    if (l->codec.http.status >= 400 && l->codec.http.status != 416)
        return;
    if (sbxi_header_is(e, "content-range") && op->row->answer == SBXI_ANSWER_FILE) {
        sbxi_content_range(op, e->value);
    } else if (!first) {
        return;
    } else if (sbxi_header_is(e, "etag")) {
        /* A cut tag would never match: better none. Only a strong one may
           join two parts (RFC 9110 13.1.5). */
        if (!e->more && !sbxi_copy_text(st->etag, sizeof st->etag, e->value))
            st->etag[0] = 0;
        op->block->stat_known = st->etag[0] == '"';
    } else if (sbxi_header_is(e, "last-modified")) {
        sbxi_http_date(e->value, &st->modified_ms);
    } else if (sbxi_header_is(e, "content-type")) {
        sbxi_copy_text(st->content_type, sizeof st->content_type, e->value);
    } else if (sbxi_header_is(e, "content-length") && sbxi_digits(e->value, &at, &v)) {
        st->size = v;
    }
}

/* Whether one of the comma-separated words is this one, in small letters. */
static bool sbxi_list_has(sbx_str list, const char *word)
{
    const char *p = list.p, *end = list.p + list.n, *t;

    for (; p < end; p = t + 1) {
        for (t = p; t < end && (unsigned char)*t > ' ' && *t != ',';)
            t++;
        if (sbxi_eq_nocase(sbx_sn(p, (size_t)(t - p)), sbx_s(word)))
            return true;
    }
    return false;
}

/* RFC 6455 4.1: what an answer to the upgrade must say. */
static SBXI_NOINLINE void sbxi_upgrade_header(sbxi_op *op, const sbx_http1_event *e)
{
    char key[24], accept[28];

    if (sbxi_eq_nocase(e->name, sbx_s("upgrade")) && sbxi_list_has(e->value, "websocket"))
        op->s.says_upgrade = true;
    if (sbxi_eq_nocase(e->name, sbx_s("connection")) && sbxi_list_has(e->value, "upgrade"))
        op->s.says_connection = true;
    if (!sbxi_eq_nocase(e->name, sbx_s("sec-websocket-accept")))
        return;
    sbx_ws_key(key, (const unsigned char *)op->u.command.held.part);
    sbx_ws_accept(accept, sbx_sn(key, sizeof key));
    if (sbxi_eq(e->value, sbx_sn(accept, sizeof accept)))
        op->flags |= SBXI_OP_ACCEPTED;
}

static SBXI_NOINLINE void sbxi_op_header(sbx_client *c, sbxi_op *op, const sbx_http1_event *e)
{
    const sbxi_link *l = sbxi_op_link(c, op);

    if (e->trailer)
        return;
    if (SBXI_IS_HTTP(op) || sbxi_op_is_sse(op))
        op->row->decoded(c, op, (void *)e);
    if (SBXI_IS_HTTP(op))
        return;
    if (sbxi_header_is(e, "retry-after"))
        op->fail.retry_after_s = sbxi_retry_after(c, e->value);
    else if (!SBX_NO_URLS && op->row->answer == SBXI_ANSWER_MODEL && op->u.http.dated && sbxi_header_is(e, "date"))
        sbxi_http_date(e->value, &op->u.http.until);
    else if (op->row->answer == SBXI_ANSWER_FILE || op->row->answer == SBXI_ANSWER_STAT)
        sbxi_file_header(op, l, e);
}

/* ---- the head ---- */

static void sbxi_begin_failure(sbx_client *c, sbxi_op *op, uint16_t status)
{
    if (!op->block)
        op->block = sbxi_op_block(c);
    op->flags |= SBXI_OP_FAILING;
    op->fail.status = status;
    op->fail.has_text = op->block != NULL;
    if (op->block) {
        memset(&op->block->failure, 0, sizeof op->block->failure);
        op->block->seen = 0;
        sbxi_dec_init(&op->block->dec, &sbxi_failure_model, &op->block->failure, NULL);
    } else {
        op->flags |= SBXI_OP_DRAIN;
    }
}

/* A file's answer: whether it is the part that was asked for. */
static bool sbxi_file_head(sbx_client *c, sbxi_op *op, uint16_t status, uint64_t length)
{
    sbxi_http *h = &op->u.http;

    if (status == 206 && !h->bad_range)
        return true;
    if (h->total || h->if_range || status == 206) {
        sbxi_op_fail(c, op, SBX_ERR_CHANGED, SBX_LAYER_SERVICE, SBXI_T("the file changed while it was read: begin again"));
        return false;
    }
    /* The whole file, though a part was wanted: the rest is dropped here. */
    h->size = length == SBX_HTTP1_UNKNOWN ? UINT64_MAX : length;
    if (h->from_end) {
        if (h->size == UINT64_MAX) {
            sbxi_op_fail(c, op, SBX_ERR_UNSUPPORTED, SBX_LAYER_SERVICE, SBXI_T("the server knows no ranges and no length: ask from a positive offset"));
            return false;
        }
        h->pos = h->size > h->want ? h->size - h->want : 0;
        h->from_end = false;
    }
    h->skip = h->pos;
    return true;
}

static SBXI_NOINLINE bool sbxi_op_head(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    uint16_t status = l->codec.http.status;
    sbxi_block *b = op->block;

    sbxi_trace_op(c, op, SBX_TRACE_STATUS, status);
    op->flags |= SBXI_OP_SENT | SBXI_OP_EVER_SENT;
    op->state = SBXI_OP_BODY;
    sbxi_op_allow(c, op, op->timeout_ms);
    if (SBXI_IS_HTTP(op)) {
        op->row->prepare(c, op);
        return !(op->notes & SBXI_NOTE_HEAD); /* which comes before the data */
    }
    if (op->row->answer == SBXI_ANSWER_STREAM || status < 200 || (status >= 300 && status != 304) || (status == 304 && op->row->answer != SBXI_ANSWER_FILE) ||
        (sbxi_op_is_sse(op) && !(op->flags & SBXI_OP_ACCEPTED))) {
        sbxi_begin_failure(c, op, status);
        return true;
    }
    op->fail.status = status;
    if (sbxi_op_is_sse(op)) { /* it has no sbxi_http */
        op->state = SBXI_OP_STREAM;
        op->row->prepare(c, op);
        return true;
    }
    op->u.http.raw_total = 0; /* of this answer, not of an earlier one */
    switch (op->row->answer) {
    case SBXI_ANSWER_MODEL:
        sbxi_dec_init(&b->dec, op->row->model, &b->answer, NULL);
        b->dec.grow = op->flags & SBXI_OP_ALLOC ? &c->desc : NULL;
        if (op->row->prepare)
            op->row->prepare(c, op);
        break;
    case SBXI_ANSWER_LIST: sbxi_dec_init(&b->dec, op->row->model, &b->page, &b->answer); break;
    case SBXI_ANSWER_FILE:
        op->u.http.not_modified = status == 304;
        return status == 304 || sbxi_file_head(c, op, status, l->codec.http.length);
    case SBXI_ANSWER_STAT: break;
    default: op->flags |= SBXI_OP_DRAIN; break;
    }
    return true;
}

/* ---- the body ---- */

static void sbxi_op_complete(sbx_client *c, sbxi_op *op);

/* File bytes: into the buffer, or as an event. */
static sbxi_run sbxi_file_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_http *h = &op->u.http;
    char *p = op->piece;
    uint64_t n = op->piece_n, drop = SBXI_MIN(h->skip, n);

    op->piece_n = 0;
    h->skip -= drop;
    p += drop;
    n -= drop;
    if (h->want && h->total >= h->want && n) {
        /* The rest of the file, which may have no end, is not waited for. */
        sbxi_op_link(c, op)->codec.http.keep_alive = false;
        sbxi_op_complete(c, op);
        return SBXI_RUN_IDLE;
    }
    if (h->want)
        n = SBXI_MIN(n, h->want - h->total);
    if (!n)
        return SBXI_RUN_IDLE;
    h->total += n;
    op->attempts = 1; /* what came refills the budget */
    if (op->flags & SBXI_OP_STREAMING) {
        sbxi_event_init(c, op, ev, SBX_EV_DATA);
        ev->offset = h->total - n + (op->row->answer == SBXI_ANSWER_FILE ? h->pos : 0);
        ev->data = sbx_sn(p, (size_t)n);
        return SBXI_RUN_EVENT;
    }
    if (!sbxi_sink_put(&h->sink, op->flags & SBXI_OP_ALLOC ? &c->desc : NULL, p, (size_t)n))
        sbxi_op_fail(c, op, SBX_ERR_MEMORY, SBX_LAYER_LOCAL, SBXI_T("the allocator refused"));
    return SBXI_RUN_IDLE;
}

static void sbxi_keep_raw(sbxi_op *op)
{
    sbxi_http *h = &op->u.http;

    if (h->raw_n || h->raw.p) {
        size_t room = h->raw.p && h->raw.n > h->raw_total ? h->raw.n - h->raw_total : 0;

        if (room)
            memcpy((char *)h->raw.p + h->raw_total, op->piece, SBXI_MIN(room, op->piece_n));
        h->raw_total += op->piece_n;
    }
}

/* Pages shift when something is created or deleted between two requests. */
static bool sbxi_item_seen(sbxi_op *op)
{
    sbxi_block *b = op->block;
    uint64_t hash = UINT64_C(14695981039346656037);
    const char *p = (const char *)&b->answer; /* its id */

    if (!op->u.http.unique || !*p)
        return false;
    for (; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
    for (unsigned i = 0; i < SBXI_RECENT; i++)
        if (b->recent[i] == hash)
            return true;
    b->recent[b->recent_at++ % SBXI_RECENT] = hash;
    return false;
}

SBXI_FN sbxi_run sbxi_op_item(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_http *h = &op->u.http;
    size_t size = op->row->model->item->size;

    if (op->row->decoded)
        op->row->decoded(c, op, &op->block->answer);
    if (sbxi_item_seen(op))
        return SBXI_RUN_IDLE;
    h->total++;
    if (op->flags & SBXI_OP_STREAMING) {
        sbxi_event_init(c, op, ev, SBX_EV_ITEM);
        ev->item = &op->block->answer;
        return SBXI_RUN_EVENT;
    }
    if (h->sink.cap - h->sink.total >= size)
        sbxi_sink_put(&h->sink, NULL, (const char *)&op->block->answer, size);
    return SBXI_RUN_IDLE;
}

/* Decodes the piece. EVENT: an item came out and the piece may hold more. */
static sbxi_run sbxi_answer_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_dec *d = &op->block->dec;
    char *p = op->piece, *end = p + op->piece_n;

    for (;;) {
        sbxi_dec_result r = sbxi_dec_run(d, &p, end);

        op->piece = p;
        op->piece_n = (uint32_t)(end - p);
        if (r == SBXI_DEC_ITEM) {
            if (op->row->stream(c, op, ev) == SBXI_RUN_EVENT)
                return SBXI_RUN_EVENT;
            continue;
        }
        op->piece_n = 0;
        if (r == SBXI_DEC_ERROR)
            sbxi_op_fail(c, op, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, SBXI_T("the answer is not well-formed JSON"));
        return SBXI_RUN_IDLE;
    }
}

static void sbxi_failure_piece(sbx_client *c, sbxi_op *op)
{
    sbxi_block *b = op->block;
    char *p = op->piece, *end = p + op->piece_n;

    b->seen += op->piece_n;
    op->piece_n = 0;
    (void)c;
    /* What is no JSON (a proxy's page) is not shown, but the status is. */
    if (sbxi_dec_run(&b->dec, &p, end) != SBXI_DEC_MORE)
        op->flags |= SBXI_OP_DRAIN;
}

static sbxi_run sbxi_op_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    if (op->flags & SBXI_OP_DRAIN) {
        if (op->block)
            op->block->seen += op->piece_n;
        op->piece_n = 0;
        return SBXI_RUN_IDLE;
    }
    if (op->flags & SBXI_OP_FAILING) {
        sbxi_failure_piece(c, op);
        return SBXI_RUN_IDLE;
    }
    if (op->row->answer == SBXI_ANSWER_FILE || SBXI_IS_HTTP(op))
        return sbxi_file_piece(c, op, ev);
    return sbxi_answer_piece(c, op, ev);
}

/* ---- what a failing answer means ---- */

static bool sbxi_rule_fits(const sbxi_rule *r, const sbxi_op *op)
{
    if (r->status && r->status != op->fail.status)
        return false;
    return !r->type || (op->fail.has_text && op->block && strcmp(op->block->failure.type, r->type) == 0);
}

static void sbxi_op_map_answer(sbxi_op *op)
{
    sbxi_fail *f = &op->fail;

    f->layer = SBX_LAYER_SERVICE;
    f->resource = op->row->resource;
    f->code = SBX_ERR_SERVER;
    f->text = f->status / 100 == 3 ? SBXI_T("the server redirects elsewhere, which is not followed: check the URL (https:// in place of http://?)") : NULL;
    if (op->block) {
        op->block->failure.cut = op->block->dec.model == &sbxi_failure_model && op->block->failure.cut;
        op->block->failure.typed = op->block->failure.type[0] != 0;
        f->has_text = true;
    }
    for (const sbxi_rules *set = op->row->rules; set; set = set->next) {
        for (unsigned i = 0; i < set->count; i++) {
            const sbxi_rule *r = &set->rules[i];

            if (!sbxi_rule_fits(r, op))
                continue;
            f->code = r->code;
            if (r->resource)
                f->resource = r->resource;
            if (set->refine)
                set->refine(op);
            return;
        }
    }
}

/* ---- the end ---- */

/* The answer is complete. */
static SBXI_NOINLINE void sbxi_op_complete(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_block *b = op->block;
    bool keep = l->codec.http.keep_alive && !(sbxi_is_upload(op) && op->u.http.step < 3);

    if (op->flags & SBXI_OP_FAILING) {
        sbxi_op_map_answer(op);
        if (keep)
            sbxi_op_release_link(c, op, true);
        sbxi_op_attempt_failed(c, op);
        return;
    }
    if (op->row->answer == SBXI_ANSWER_MODEL || op->row->answer == SBXI_ANSWER_LIST) {
        if (b->dec.json.offset && sbxi_dec_end(&b->dec) == SBXI_DEC_ERROR) {
            sbxi_op_fail(c, op, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, SBXI_T("the answer is not well-formed JSON"));
            return;
        }
        if (b->dec.no_memory)
            sbxi_op_set_fail(op, SBX_ERR_MEMORY, SBX_LAYER_LOCAL, SBXI_T("the allocator refused"));
        if (b->dec.too_large)
            sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("an id or URL in the answer is longer than its field"));
        if (op->row->answer == SBXI_ANSWER_MODEL && op->row->decoded)
            op->row->decoded(c, op, &b->answer);
    }
    sbxi_op_release_link(c, op, keep);
    if (op->row->answer == SBXI_ANSWER_FILE && op->u.http.want && op->fail.status == 206 && op->u.http.total < op->u.http.want && op->u.http.pos + op->u.http.total < op->u.http.size && op->u.http.size != UINT64_MAX) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, SBXI_T("the server sent less than the range it announced"));
        sbxi_op_finish(c, op);
        return;
    }
    op->attempt_at = SBXI_NEVER;
    if (op->row->after && op->row->after(c, op)) {
        op->flags &= (uint16_t)~(SBXI_OP_DRAIN | SBXI_OP_FAILING | SBXI_OP_SENT);
        sbxi_op_arm(c, op);
        sbxi_op_wake(c, op);
    } else if (op->state != SBXI_OP_DONE) {
        op->fail.status = op->fail.code ? op->fail.status : 0;
        sbxi_op_finish(c, op);
    }
}

static void sbxi_op_upgraded(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);

    op->flags |= SBXI_OP_SENT | SBXI_OP_EVER_SENT;
    sbxi_trace_op(c, op, SBX_TRACE_STATUS, 101);
    if (op->row->answer != SBXI_ANSWER_STREAM || !(op->flags & SBXI_OP_ACCEPTED) || !op->s.says_upgrade || !op->s.says_connection) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_WS,
                         op->row->answer != SBXI_ANSWER_STREAM ? SBXI_T("the server changed the protocol unasked") :
                         !op->s.says_upgrade ? SBXI_T("the server's WebSocket handshake lacks `Upgrade: websocket` (RFC 6455 4.1)") :
                         !op->s.says_connection ? SBXI_T("the server's WebSocket handshake lacks `Connection: Upgrade` (RFC 6455 4.1)") :
                         SBXI_T("the server's WebSocket handshake has a wrong Sec-WebSocket-Accept (RFC 6455 4.1)"));
        op->fail.status = 101;
        sbxi_op_attempt_failed(c, op);
        return;
    }
    op->flags &= (uint16_t)~SBXI_OP_ACCEPTED;
    sbxi_ws_begin(&c->net, l);
    op->state = SBXI_OP_STREAM;
}

/* Whether the next bytes have to wait until the caller pulls. */
static bool sbxi_op_must_wait(const sbxi_op *op, const sbx_event *ev)
{
    return !ev && op->state == SBXI_OP_BODY && op->flags & SBXI_OP_STREAMING && !(op->flags & (SBXI_OP_DRAIN | SBXI_OP_FAILING)) &&
           op->row->answer >= SBXI_ANSWER_LIST;
}

static sbxi_run sbxi_op_answer(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_link *l = sbxi_op_link(c, op);

    while (op->state <= SBXI_OP_BODY && op->link != SBXI_NIL) {
        sbx_http1_kind kind;
        sbx_http1_event e;
        sbxi_got got;

        if (sbxi_op_must_wait(op, ev))
            return op->piece_n || l->rx_at < l->rx_end || l->ready & SBX_READABLE ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
        if (op->piece_n) {
            if (sbxi_op_piece(c, op, ev) == SBXI_RUN_EVENT)
                return SBXI_RUN_EVENT;
            continue;
        }
        if (op->flags & (SBXI_OP_DRAIN | SBXI_OP_FAILING) && op->block && op->block->seen > SBXI_ERROR_BODY_MAX) {
            l->codec.http.keep_alive = false;
            sbxi_op_complete(c, op);
            return SBXI_RUN_IDLE;
        }
        got = sbxi_exchange_next(&c->net, l, &kind, &e);
        if (got == SBXI_GOT_BLOCKED)
            return SBXI_RUN_IDLE;
        if (got == SBXI_GOT_STARVED)
            return SBXI_RUN_STARVED;
        if (got != SBXI_GOT_EVENT) {
            sbxi_op_net_failed(c, op, got);
            return SBXI_RUN_IDLE;
        }
        switch (kind) {
        case SBX_HTTP1_HEADER:
            sbxi_op_header(c, op, &e);
            if (op->row->answer == SBXI_ANSWER_STREAM)
                sbxi_upgrade_header(op, &e);
            break;
        case SBX_HTTP1_HEAD:
            if (!sbxi_op_head(c, op))
                return SBXI_RUN_IDLE;
            break;
        case SBX_HTTP1_BODY:
            op->piece = (char *)e.value.p;
            op->piece_n = (uint32_t)e.value.n;
            if (op->row->answer <= SBXI_ANSWER_LIST && !(op->flags & SBXI_OP_FAILING))
                sbxi_keep_raw(op);
            break;
        case SBX_HTTP1_UPGRADE: sbxi_op_upgraded(c, op); break;
        case SBX_HTTP1_DONE: sbxi_op_complete(c, op); break;
        default: break;
        }
    }
    return SBXI_RUN_IDLE;
}

SBXI_FN SBXI_NOINLINE sbxi_run sbxi_op_exchange(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    return op->state == SBXI_OP_SEND ? sbxi_op_send(c, op, ev) : sbxi_op_answer(c, op, ev);
}
