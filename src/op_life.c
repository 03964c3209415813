#include "op.h"

/* ---- lists and times ---- */

static sbxi_nodes sbxi_op_nodes(sbx_client *c)
{
    sbxi_nodes n;

    n.first = (char *)&c->ops[0].node;
    n.stride = sizeof *c->ops;
    return n;
}

SBXI_FN void sbxi_op_list(sbx_client *c, sbxi_op *op, sbxi_list_id list)
{
    if (op->list == list)
        return;
    if (op->list != SBXI_LIST_NONE)
        sbxi_list_remove(sbxi_op_nodes(c), &c->lists[op->list], sbxi_op_id(c, op));
    if (list != SBXI_LIST_NONE)
        sbxi_list_append(sbxi_op_nodes(c), &c->lists[list], sbxi_op_id(c, op));
    op->list = (uint8_t)list;
}

SBXI_FN void sbxi_op_wake(sbx_client *c, sbxi_op *op)
{
    if (op->state != SBXI_OP_FREE && op->state != SBXI_OP_DONE)
        sbxi_op_list(c, op, SBXI_LIST_RUN);
}

SBXI_FN void sbxi_op_arm(sbx_client *c, sbxi_op *op)
{
    int64_t at = SBXI_MIN(op->total_at, SBXI_MIN(op->attempt_at, op->wake_at));

    sbxi_timer_set(&c->timers, sbxi_op_id(c, op), op->state == SBXI_OP_DONE ? SBXI_NEVER : at);
}

SBXI_FN void sbxi_op_allow(sbx_client *c, sbxi_op *op, int32_t ms)
{
    op->attempt_at = sbxi_after(c->net.now, ms);
    sbxi_op_arm(c, op);
}

SBXI_FN sbx_op sbxi_op_start(sbx_client *c, sbxi_op *op)
{
    c->net.usage.requests_high = c->blocks.high;
    sbxi_op_list(c, op, SBXI_LIST_RUN);
    return sbxi_op_handle(c, op);
}

SBXI_FN uint32_t sbxi_backoff(sbx_client *c, unsigned n, uint32_t first_ms, uint32_t cap_ms)
{
    uint32_t ms = n > 16 ? cap_ms : SBXI_MIN(cap_ms, first_ms << n);

    /* Half of it is drawn, so that many clients do not come back at once. */
    return ms - ms / 2 + sbxi_net_jitter(&c->net, ms / 2 + 1);
}

/* ---- errors ---- */

SBXI_FN void sbxi_op_set_fail(sbxi_op *op, sbx_code code, sbx_layer layer, const char *text)
{
    op->fail.code = (uint8_t)code;
    op->fail.layer = (uint8_t)layer;
    op->fail.permanent = false;
#if SBX_NO_ERROR_TEXT
    (void)text;
#else
    op->fail.text = text;
#endif
}

#if !SBX_NO_ERROR_TEXT
/* What to say of a failure that the service has no words for. */
static const char *sbxi_fail_text(const sbxi_fail *f)
{
    if (f->text)
        return f->text;
    if (f->code == SBX_ERR_NOT_FOUND && f->resource == SBX_RESOURCE_FILE) /* HEAD: no body says which */
        return "there is no such file, or the sandbox itself is gone";
    return sbx_code_text((sbx_code)f->code);
}

/* Of an attempt that failed without an answer: whether the server, which is
   spoken to in the clear, may have waited for TLS. */
static bool sbxi_op_perhaps_tls(sbx_client *c, const sbxi_op *op, bool noise)
{
    const sbxi_link *l = sbxi_op_link(c, op);
    sbxi_url url;

    return l && !l->reused && (l->got_any ? noise : l->sent_any) && sbxi_op_url(c, op, &url) && !url.tls;
}

/* What the service's support asks for. It stays whole: the text before it gives way. */
static void sbxi_append_id(sbx_error *out, const char *id)
{
    static const char open[] = " (error_id ";
    size_t need = sizeof open + strlen(id) + 1, n = strlen(out->text);
    char *p;

    if (n > sizeof out->text - need) {
        n = sbxi_utf8_cut(out->text, sizeof out->text - need);
        out->cut = true;
    }
    p = out->text + n;
    memcpy(p, open, sizeof open - 1);
    memcpy(p + sizeof open - 1, id, strlen(id));
    memcpy(p + need - 2, ")", 2);
}
#endif

static void sbxi_op_error(const sbxi_op *op, sbx_error *out)
{
    const sbxi_fail *f = &op->fail;
    const sbxi_failure *said = f->has_text && op->block ? &op->block->failure : NULL;

    memset(out, 0, sizeof *out);
    out->code = (sbx_code)f->code;
    out->layer = (sbx_layer)f->layer;
    out->resource = (sbx_resource)f->resource;
    out->quota = (sbx_quota)f->quota;
    out->status = f->status;
    out->sys = f->sys;
    out->retry_after_ms = f->retry_after_s < 0 ? -1 : (int64_t)f->retry_after_s * 1000;
    out->sent = (op->flags & (SBXI_OP_SENT | SBXI_OP_EVER_SENT)) != 0;
    out->attempts = op->attempts;
    sbxi_copy_z(out->operation, sizeof out->operation, sbxi_op_name(op));
    sbxi_copy_z(out->field, sizeof out->field, said ? said->field : "");
    if (said)
        sbxi_copy_z(out->type, sizeof out->type, said->type);
#if !SBX_NO_ERROR_TEXT
    if (f->code != SBX_OK) {
        const char *text = said && said->text[0] ? said->text : sbxi_fail_text(f);

        out->cut = !sbxi_copy_z(out->text, sizeof out->text, text) || (said && said->cut);
        if (said && f->status && said->error_id[0])
            sbxi_append_id(out, said->error_id);
    }
#endif
}

/* A connection, or the leave to make one, is free for whoever waits longest. */
static void sbxi_op_wake_waiting(sbx_client *c)
{
    if (c->lists[SBXI_LIST_LINK].head != SBXI_NIL)
        sbxi_op_wake(c, &c->ops[c->lists[SBXI_LIST_LINK].head]);
}

SBXI_FN void sbxi_op_release_link(sbx_client *c, sbxi_op *op, bool keep)
{
    sbxi_link *l = sbxi_op_link(c, op);

    op->link = SBXI_NIL;
    if (!l) {
        /* It was woken to take one and will not: the next in the queue may. */
        if (op->state == SBXI_OP_START && op->list != SBXI_LIST_LINK)
            sbxi_op_wake_waiting(c);
        return;
    }
    if (op->piece_n)
        keep = false;
    op->piece_n = 0;
    sbxi_link_release(&c->net, l, keep);
    sbxi_op_wake_waiting(c);
}

SBXI_FN void sbxi_op_finish(sbx_client *c, sbxi_op *op)
{
    sbxi_op_release_link(c, op, false);
    if (op->row->finished)
        op->row->finished(c, op);
    if (!op->fail.has_text)
        sbxi_op_drop_block(c, op);
    op->state = SBXI_OP_DONE;
    op->total_at = op->attempt_at = op->wake_at = SBXI_NEVER;
    sbxi_op_arm(c, op);
    sbxi_trace_op(c, op, SBX_TRACE_END, op->fail.code);
    sbxi_op_list(c, op, SBXI_LIST_EVENT);
}

SBXI_FN void sbxi_op_fail(sbx_client *c, sbxi_op *op, sbx_code code, sbx_layer layer, const char *text)
{
    sbxi_op_set_fail(op, code, layer, text);
    sbxi_op_finish(c, op);
}

/* ---- repetition ---- */

/* What went wrong with an attempt is no business of the next one. */
static void sbxi_op_fail_clear(sbxi_op *op)
{
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
}

SBXI_FN bool sbxi_op_again(sbx_client *c, sbxi_op *op, uint32_t delay_ms)
{
    int64_t at = sbxi_after(c->net.now, delay_ms);

    if (at >= op->total_at)
        return false;
    sbxi_op_release_link(c, op, false);
    op->flags &= (uint16_t)~(SBXI_OP_SENT | SBXI_OP_FAILING | SBXI_OP_DRAIN | SBXI_OP_PUSH_END);
    op->retry_code = op->fail.code;
    sbxi_op_fail_clear(op);
    op->delay_ms = delay_ms;
    op->attempt_at = SBXI_NEVER;
    op->state = SBXI_OP_PAUSE;
    op->wake_at = at;
    op->notes |= SBXI_NOTE_RETRYING;
    c->net.usage.retries++;
    sbxi_trace_op(c, op, SBX_TRACE_RETRY, delay_ms);
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, op->flags & SBXI_OP_INTERNAL ? SBXI_LIST_NONE : SBXI_LIST_EVENT);
    return true;
}

static bool sbxi_fail_is_network(const sbxi_fail *f)
{
    switch (f->code) {
    case SBX_ERR_RESOLVE:
    case SBX_ERR_CONNECT:
    case SBX_ERR_CONNECTION:
    case SBX_ERR_TLS: return true;
    case SBX_ERR_DEADLINE: return f->layer == SBX_LAYER_TRANSPORT;
    default: return false;
    }
}

/* Whether repeating this attempt can help and does no harm. */
static bool sbxi_op_may_repeat(const sbxi_op *op)
{
    const sbxi_fail *f = &op->fail;
    bool safe = op->row->retry == SBXI_RETRY_SAFE;

    if (f->status == 429)
        return true;
    if (f->status == 503)
        return safe || !f->has_text || !op->block || !op->block->failure.typed;
    if (f->status == 502 || f->status == 504)
        return safe;
    return !f->status && !f->permanent && sbxi_fail_is_network(f) && (safe || !(op->flags & SBXI_OP_SENT));
}

SBXI_FN void sbxi_op_attempt_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_fail *f = &op->fail;
    sbxi_link *l = sbxi_op_link(c, op);
    /* TLS: an end without close_notify. The handshake was long ago. */
    bool stale = l && l->reused && !l->got_any && (f->code == SBX_ERR_CONNECTION || f->code == SBX_ERR_TLS);
    const char *outcome = NULL;
    uint32_t delay;

#if !SBX_NO_ERROR_TEXT
    if (f->code == SBX_ERR_CONNECTION && sbxi_op_perhaps_tls(c, op, false))
        outcome = "there was no answer: it is not known whether the request was carried out. If the server speaks TLS, its URL must begin with https://";
#endif

    if (l && l->sent_any)
        op->flags |= SBXI_OP_SENT;
    if (op->flags & SBXI_OP_SENT)
        op->flags |= SBXI_OP_EVER_SENT;
    if (op->row->failed && op->row->failed(c, op))
        return;
    sbxi_op_release_link(c, op, false);
    if (stale && (op->row->retry == SBXI_RETRY_SAFE || !(op->flags & SBXI_OP_SENT)) && !(op->flags & SBXI_OP_STREAMING && op->u.http.total)) {
        /* The server closed a kept connection just now: no fault of this request. */
        op->flags &= (uint16_t)~SBXI_OP_SENT;
        sbxi_op_fail_clear(op);
        op->state = SBXI_OP_START;
        sbxi_op_wake(c, op);
        return;
    }
    if (!f->status && sbxi_fail_is_network(f) && op->flags & SBXI_OP_SENT && op->row->retry == SBXI_RETRY_ONCE) {
        sbxi_op_fail(c, op, SBX_ERR_OUTCOME, (sbx_layer)f->layer, outcome);
        return;
    }
    delay = f->retry_after_s >= 0 ? (uint32_t)SBXI_MIN(f->retry_after_s, 86400) * 1000 : sbxi_backoff(c, (unsigned)SBXI_MAX(op->attempts, 1) - 1, 1000, 10000);
    if (!sbxi_op_may_repeat(op) || op->attempts > op->max_retries || !sbxi_op_again(c, op, delay))
        sbxi_op_finish(c, op);
}

SBXI_FN void sbxi_op_net_failed(sbx_client *c, sbxi_op *op, sbxi_got got)
{
    const sbx_fault *fault = &c->net.fault;
    sbx_code code = got == SBXI_GOT_EOF ? SBX_ERR_CONNECTION : fault->code;

    sbxi_op_set_fail(op, code, code == SBX_ERR_PROTOCOL ? SBX_LAYER_HTTP : SBX_LAYER_TRANSPORT,
                     got == SBXI_GOT_EOF ? SBXI_T("the server closed the connection before its answer was complete") : fault->text);
    op->fail.sys = got == SBXI_GOT_EOF ? 0 : fault->sys;
    op->fail.permanent = got != SBXI_GOT_EOF && fault->permanent;
    op->fail.status = 0;
#if !SBX_NO_ERROR_TEXT
    if (code == SBX_ERR_CONNECTION && sbxi_op_perhaps_tls(c, op, false))
        op->fail.text = "the server ended the connection without an answer: if it speaks TLS, its URL must begin with https://";
    else if (code == SBX_ERR_PROTOCOL && fault->sys == SBX_HTTP1_BAD_STATUS_LINE && sbxi_op_perhaps_tls(c, op, true))
        op->fail.text = "what the server says is not HTTP: if it speaks TLS, its URL must begin with https://";
#endif
    sbxi_op_attempt_failed(c, op);
}

/* ---- running ---- */

SBXI_FN void sbxi_event_init(sbx_client *c, const sbxi_op *op, sbx_event *ev, sbx_event_kind kind)
{
    memset(ev, 0, sizeof *ev);
    ev->kind = kind;
    ev->op = sbxi_op_handle(c, op);
    ev->user = op->user;
}

/* The next event that waits in `notes`, in the order in which they make sense. */
static bool sbxi_op_note(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    static const uint8_t order[] = { SBXI_NOTE_STARTED, SBXI_NOTE_RETRYING, SBXI_NOTE_RECONNECTED, SBXI_NOTE_GAP, SBXI_NOTE_REWIND, SBXI_NOTE_WRITABLE, SBXI_NOTE_HEAD };
    static const uint8_t kinds[] = { SBX_EV_STARTED, SBX_EV_RETRYING, SBX_EV_RECONNECTED, SBX_EV_GAP, SBX_EV_REWIND, SBX_EV_WRITABLE, SBX_EV_HEAD };
    unsigned i = 0;

    if (!op->notes)
        return false;
    while (!(op->notes & order[i]))
        i++;
    op->notes &= (uint8_t)~order[i];
    sbxi_event_init(c, op, ev, (sbx_event_kind)kinds[i]);
    switch (order[i]) {
    case SBXI_NOTE_RETRYING:
        ev->code = (sbx_code)op->retry_code;
        ev->delay_ms = op->delay_ms;
        break;
    case SBXI_NOTE_STARTED:
        ev->pid = op->u.command.pid;
        break;
    case SBXI_NOTE_HEAD:
        ev->status = (int)op->u.http.cursor;
        ev->data = sbx_sn(op->u.http.err.p, sbxi_sink_n(&op->u.http.err));
        break;
    case SBXI_NOTE_GAP:
        ev->stream = op->s.gap_stream;
        ev->offset = op->u.command.assumed;
        ev->lost = op->u.command.offset - op->u.command.assumed;
        break;
    default:
        break;
    }
    return true;
}

static SBXI_NOINLINE sbxi_run sbxi_op_end(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    if (!ev)
        return SBXI_RUN_HELD;
    sbxi_event_init(c, op, ev, SBX_EV_END);
    ev->code = (sbx_code)op->fail.code;
    ev->exit_code = op->exit_code;
    sbxi_op_error(op, &c->last);
    c->last_op = ev->op;
    if (c->shutdown == sbxi_op_id(c, op))
        c->shutdown = SBXI_NIL;
    sbxi_op_free(c, op);
    return SBXI_RUN_EVENT;
}

/* Gets a connection: a kept one, else a new one, else a place in the queue. */
static SBXI_NOINLINE sbxi_run sbxi_op_connect_start(sbx_client *c, sbxi_op *op)
{
    sbxi_url url;
    uint32_t id = sbxi_op_id(c, op);
    uint64_t origin;
    sbxi_link *l;

    if (SBXI_IS_HTTP(op))
        op->row->stream(c, op, NULL);
    if (!sbxi_op_url(c, op, &url)) {
        sbxi_op_fail(c, op, SBX_ERR_ARGUMENT, SBX_LAYER_LOCAL, SBXI_T("the URL is not an http or https URL"));
        return SBXI_RUN_HELD;
    }
    origin = sbxi_net_origin(&c->net, &url);
    /* A kept connection may be closed by the server while the request is under
       way. What starts a command, once sent, could have started it: it takes a
       fresh one. */
    l = sbxi_op_is_sse(op) && op->block && op->block->body_n ? NULL : sbxi_link_reuse(&c->net, origin, id);
    if (l) {
        op->link = sbxi_link_id(&c->net, l);
        op->state = SBXI_OP_SEND;
    } else {
        l = sbxi_link_new(&c->net, origin, id);
        if (!l) {
            sbxi_op_list(c, op, SBXI_LIST_LINK);
            if (op->attempt_at == SBXI_NEVER) {
                sbxi_op_allow(c, op, op->timeout_ms);
            }
            return SBXI_RUN_IDLE;
        }
        op->link = sbxi_link_id(&c->net, l);
        op->state = SBXI_OP_CONNECT;
        sbxi_op_allow(c, op, c->desc.connect_ms);
    }
    sbxi_op_wake_waiting(c);
    op->flags &= (uint16_t)~SBXI_OP_SENT;
    if (op->attempts < UINT8_MAX)
        op->attempts++;
    return SBXI_RUN_IDLE;
}

static SBXI_NOINLINE sbxi_run sbxi_op_connect(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_url url;
    sbxi_got got;

    sbxi_op_url(c, op, &url);
    got = sbxi_link_connect(&c->net, l, &url);
    if (got == SBXI_GOT_BLOCKED)
        return SBXI_RUN_IDLE;
    if (got == SBXI_GOT_EVENT) {
        op->state = SBXI_OP_SEND;
        sbxi_op_wake_waiting(c);
        return SBXI_RUN_IDLE;
    }
    sbxi_op_net_failed(c, op, got);
    return SBXI_RUN_IDLE;
}

static void sbxi_op_first(sbx_client *c, sbxi_op *op)
{
    op->total_at = sbxi_after(c->net.now, op->total_at);
    if (op->u.http.until && op->row->answer < SBXI_ANSWER_STREAM)
        op->u.http.until = sbxi_after(c->net.now, op->u.http.until);
    if (op->row->answer >= SBXI_ANSWER_STREAM)
        op->u.command.assumed = (uint64_t)sbxi_after(c->net.now, c->desc.ws_connect_budget_ms);
    op->state = SBXI_OP_START;
    sbxi_op_arm(c, op);
}

SBXI_FN sbxi_run sbxi_op_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    for (;;) {
        uint8_t before = op->state;
        sbxi_run r = SBXI_RUN_IDLE;

        if (op->notes && !(op->flags & SBXI_OP_INTERNAL)) {
            if (ev)
                return sbxi_op_note(c, op, ev) ? SBXI_RUN_EVENT : SBXI_RUN_IDLE;
            if (op->state == SBXI_OP_PAUSE || op->state == SBXI_OP_DONE)
                return SBXI_RUN_HELD;
        }
        switch (op->state) {
        case SBXI_OP_NEW: sbxi_op_first(c, op); break;
        case SBXI_OP_START: r = sbxi_op_connect_start(c, op); break;
        case SBXI_OP_CONNECT: r = sbxi_op_connect(c, op); break;
        case SBXI_OP_SEND:
        case SBXI_OP_HEAD:
        case SBXI_OP_BODY: r = sbxi_op_exchange(c, op, ev); break;
        case SBXI_OP_STREAM: r = op->row->stream(c, op, ev); break;
        case SBXI_OP_DONE: return op->flags & SBXI_OP_INTERNAL ? SBXI_RUN_IDLE : sbxi_op_end(c, op, ev);
        default: return op->notes && !ev && !(op->flags & SBXI_OP_INTERNAL) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
        }
        if (r == SBXI_RUN_HELD && ev && op->notes)
            continue;
        if (r != SBXI_RUN_IDLE)
            return r;
        if (op->state == before && !(op->notes && ev))
            return op->notes && !(op->flags & SBXI_OP_INTERNAL) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
    }
}

/* It finds no buffer while the caller waits for it alone, so that nobody pulls
   those that hold them. */
static bool sbxi_op_hopeless(const sbx_client *c, const sbxi_op *op)
{
    return op->list == SBXI_LIST_STARVED && c->net.awaited == sbxi_op_id(c, op);
}

/* An attempt's time is over unless bytes came meanwhile, or the caller holds
   the next ones back. */
static SBXI_ONCE bool sbxi_op_progressed(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    bool live = op->state == SBXI_OP_STREAM && op->flags & SBXI_OP_LIVE, events = live && sbxi_op_is_sse(op);
    int32_t ms = events ? c->desc.sse_read_ms : op->timeout_ms;
    int64_t at;

    if (!l || op->state == SBXI_OP_CONNECT || op->s.acked || (op->s.stuck && !(l->ready & SBX_WRITABLE)) || sbxi_op_hopeless(c, op))
        return false;
    /* Where a turn only guessed that something came, it is looked for now. */
    if (l->ready & SBXI_GUESSED && !op->piece_n && !op->s.has_data)
        sbxi_link_take_ahead(&c->net, l);
    if (live && !events && sbxi_after(l->last_rx, c->desc.ws_ping_ms) >= op->attempt_at) {
        op->attempt_at = SBXI_NEVER; /* something came since the ping */
        return true;
    }
    if (op->flags & SBXI_OP_STREAMING && (l->ready & SBX_READABLE || op->piece_n))
        at = sbxi_after(c->net.now, ms);
    else if (op->state == SBXI_OP_BODY || events)
        at = sbxi_after(l->last_rx, ms);
    else
        return false;
    if (at <= c->net.now)
        return false;
    op->attempt_at = at;
    return true;
}

SBXI_FN void sbxi_op_timer(sbx_client *c, sbxi_op *op)
{
    int64_t now = c->net.now;

    if (op->total_at <= now) {
        sbxi_link *l = sbxi_op_link(c, op);

        if (l && l->sent_any)
            op->flags |= SBXI_OP_SENT;
        sbxi_op_fail(c, op, SBX_ERR_DEADLINE, SBX_LAYER_LOCAL, SBXI_T("the operation's time is over: raise total_ms (of sbx_shutdown: ms)"));
        return;
    }
    if (op->wake_at <= now) {
        op->wake_at = SBXI_NEVER;
        if (op->state == SBXI_OP_PAUSE)
            op->state = SBXI_OP_START;
        else
            op->flags |= SBXI_OP_PING_DUE;
        sbxi_op_wake(c, op);
    }
    if (op->attempt_at <= now && !sbxi_op_progressed(c, op)) {
        op->attempt_at = SBXI_NEVER;
        sbxi_op_set_fail(op, SBX_ERR_DEADLINE, SBX_LAYER_TRANSPORT,
                         op->state == SBXI_OP_START ? SBXI_T("no connection became free in time: end streams, or raise max_links") :
                         op->state == SBXI_OP_CONNECT ? SBXI_T("the connection was not made in time") :
                         sbxi_op_hopeless(c, op) ? SBXI_T("no buffer became free in time: pull the streams that are half read, or raise buffers") :
                         SBXI_T("the server did not answer in time"));
        op->fail.status = 0;
        if (op->state == SBXI_OP_START && op->attempts < UINT8_MAX)
            op->attempts++; /* to wait in vain is one, too */
        sbxi_op_attempt_failed(c, op);
    }
    sbxi_op_arm(c, op);
}
