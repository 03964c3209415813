#include "langsmith_stream.h"

#if !SBX_NO_SSE
/* Commands over DP/execute/stream/start and /resume. An event's data is a
   message as the WebSocket has it, but that its output is base64. What the
   caller received is told by the next request; until then the server keeps it,
   and the command waits when it has no more room. */

/* How long the end of an answer is waited for that asks for an
   acknowledgement: with it, its connection serves the next request. */
#define SBXI_SSE_END_MS 1000

static void sbxi_sse_prepare(sbx_client *c, sbxi_op *op);
static sbxi_run sbxi_sse_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
static void sbxi_sse_refine(sbxi_op *op);
static void sbxi_sse_decoded(sbx_client *c, sbxi_op *op, void *what);
static bool sbxi_sse_failed(sbx_client *c, sbxi_op *op);

/* A 404 that names no command or sandbox is of the path itself. */
static const sbxi_rule sbxi_sse_rule_list[] = {
    { 404, SBX_ERR_COMMAND_NOT_FOUND, SBX_RESOURCE_COMMAND, "CommandNotFound" },
    { 404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound" },
    { 404, SBX_ERR_NO_ENDPOINT, 0, NULL },
    { 409, SBX_ERR_UNSUPPORTED, SBX_RESOURCE_COMMAND, "TransportMismatch" },
    { 409, SBX_ERR_UNSUPPORTED, SBX_RESOURCE_COMMAND, "PTYUnsupported" },
    { 0, SBX_ERR_RANGE, SBX_RESOURCE_COMMAND, "ReadOffsetUnavailable" },
    { 0, SBX_ERR_RANGE, SBX_RESOURCE_COMMAND, "InvalidOffset" },
    { 0, SBX_ERR_SESSION_EXPIRED, SBX_RESOURCE_COMMAND, "SessionExpired" },
    { 200, SBX_ERR_PROTOCOL, 0, NULL },
};
static const sbxi_rules sbxi_sse_rules = { sbxi_sse_rule_list, SBXI_COUNT(sbxi_sse_rule_list), &sbxi_data_rules, sbxi_sse_refine };

#define SBXI_SSE_ROW(path) \
    { "command", "POST", path, "", SBXI_BASE_BOX, SBXI_RETRY_ONCE, SBXI_ANSWER_EVENTS, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_sse_rules, \
      sbxi_sse_prepare, NULL, sbxi_sse_decoded, sbxi_sse_run, sbxi_sse_failed, sbxi_stream_finished }
static const sbxi_row sbxi_sse_start_row = SBXI_SSE_ROW(SBXI_APART("/execute/stream/start"));
static const sbxi_row sbxi_sse_resume_row = SBXI_SSE_ROW(SBXI_APART("/execute/stream/resume"));

/* ---- what a failing answer means ---- */

/* What to do about it, where the server's words do not say. */
static void sbxi_sse_refine(sbxi_op *op)
{
    sbxi_fail *f = &op->fail;
    bool pty = op->block && strcmp(op->block->failure.type, "PTYUnsupported") == 0;

    switch (f->code) {
    case SBX_ERR_NO_ENDPOINT: f->text = SBXI_T("the server has no commands over SSE: leave via at SBX_VIA_WS, or check the sandbox's URL"); break;
    case SBX_ERR_PROTOCOL: f->text = SBXI_T("the server did not answer with an event stream (Content-Type: text/event-stream)"); break;
    case SBX_ERR_UNSUPPORTED: f->text = pty ? SBXI_T("the server gives no terminal over SSE: use SBX_VIA_WS") : SBXI_T("the command was not started over SSE: attach to it with SBX_VIA_WS"); break;
    case SBX_ERR_COMMAND_NOT_FOUND:
        if (!sbxi_sse_lost(op))
            return;
        f->code = SBX_ERR_OUTCOME;
        f->text = SBXI_T("the answer to the command's start was lost, and the server does not know the command: it may have run, or never arrived");
        break;
    default: return;
    }
    if (op->block)
        op->block->failure.text[0] = 0;
}

/* ---- requests ---- */

static void sbxi_sse_prepare(sbx_client *c, sbxi_op *op)
{
    sbx_sse_init(&sbxi_op_link(c, op)->codec.events.sse);
    op->s.phase = SBXI_PHASE_STARTING;
    op->s.type = SBXI_T_NONE;
    op->s.hasty = true; /* until output comes */
}

/* The answer has come to its end: its connection is free for the next request. */
static void sbxi_sse_release(sbx_client *c, sbxi_op *op)
{
    sbxi_op_release_link(c, op, sbxi_op_link(c, op)->codec.http.keep_alive);
}

/* An attempt failed: how the next one begins. True: it begins at once. */
static bool sbxi_sse_again(sbx_client *c, sbxi_op *op)
{
    bool sent = op->s.started || (op->fail.layer != SBX_LAYER_SERVICE && op->flags & SBXI_OP_EVER_SENT), acked = op->s.acked;

    op->s.acked = false;
    if (sent) {
        op->row = &sbxi_sse_resume_row;
        if (op->block)
            op->block->body_n = 0;
    }
    if (!acked)
        return false;
    sbxi_stream_reset(op);
    sbxi_op_release_link(c, op, false);
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
    op->attempt_at = SBXI_NEVER;
    op->state = SBXI_OP_START;
    sbxi_op_arm(c, op);
    sbxi_op_wake(c, op);
    return true;
}

static bool sbxi_sse_failed(sbx_client *c, sbxi_op *op)
{
    return sbxi_sse_again(c, op) || sbxi_stream_failed(c, op);
}

static void sbxi_sse_drop(sbx_client *c, sbxi_op *op, const char *text)
{
    sbxi_op_set_fail(op, SBX_ERR_CONNECTION, SBX_LAYER_HTTP, text);
    op->fail.status = 0;
    sbxi_op_attempt_failed(c, op);
}

/* The server has no room for more. With nothing received since it was asked
   last, to ask again at once would go on for ever. */
static void sbxi_sse_ack(sbx_client *c, sbxi_op *op)
{
    if (op->s.hasty) {
        sbxi_sse_drop(c, op, SBXI_T("the server asked for an acknowledgement again without any output since the last"));
        return;
    }
    op->s.acked = true;
    sbxi_op_allow(c, op, SBXI_SSE_END_MS);
}

/* ---- events ---- */

/* Whether a Content-Type is that of event streams, whatever its parameters. */
static bool sbxi_is_event_stream(sbx_str type)
{
    static const char name[] = "text/event-stream";
    size_t n = sizeof name - 1;

    return type.n >= n && sbxi_eq_nocase(sbx_sn(type.p, n), sbx_sn(name, n)) && (type.n == n || type.p[n] == ';' || type.p[n] == ' ');
}

/* The text of an event's `data` as bytes, in place. */
static void sbxi_sse_decode(sbx_client *c, sbxi_op *op, sbx_json_tok *t)
{
    uint32_t *state = &op->u.command.held.out.base64;

    t->n = sbxi_base64_decode(state, t->p, t->n);
    if (*state == SBXI_BASE64_BAD || (!t->more && *state && *state != SBXI_BASE64_PADDED))
        sbxi_stream_protocol_error(c, op, SBXI_T("the server's output is not well-formed base64"));
}

static void sbxi_sse_decoded(sbx_client *c, sbxi_op *op, void *what)
{
    const sbx_http1_event *e = (const sbx_http1_event *)what;

    if (op->state == SBXI_OP_STREAM)
        sbxi_sse_decode(c, op, (sbx_json_tok *)what);
    else if (sbxi_header_is(e, "content-type") && sbxi_is_event_stream(e->value))
        op->flags |= SBXI_OP_ACCEPTED;
}

static void sbxi_sse_type(sbx_client *c, sbxi_op *op, const sbx_sse_event *e)
{
    sbx_json_tok t;
    const char *p;
    size_t n;

    if (op->s.in_message) {
        sbxi_stream_protocol_error(c, op, SBXI_T("an event of the server names its type behind its data"));
        return;
    }
    memset(&t, 0, sizeof t);
    t.p = e->p;
    t.n = e->n;
    t.more = !e->last;
    if (e->first)
        op->s.part_n = 0;
    p = sbxi_message_part(op, &t, &n);
    if (p)
        op->s.type = sbxi_message_type(p, n);
}

/* Whether the event ends in what has come, so that its parts may stand in any
   order. */
static bool sbxi_sse_is_whole(const sbx_sse *s, char *p, char *end)
{
    sbx_sse ahead = *s;
    sbx_sse_event e;

    return sbx_sse_read(&ahead, &p, end, &e) == SBX_SSE_END;
}

static sbxi_run sbxi_sse_data(sbx_client *c, sbxi_op *op, sbx_event *ev, const sbx_sse_event *e)
{
    sbx_sse *s = &sbxi_op_link(c, op)->codec.events.sse;
    char *at = e->p, *to = at + e->n, *end = op->piece + op->piece_n;
    sbxi_run r;

    if (op->s.type < SBXI_T_STDOUT || op->s.type > SBXI_T_ERROR) {
        if (op->s.type != SBXI_T_SHUTDOWN)
            return SBXI_RUN_IDLE; /* of a later version, or nothing to read */
    }
    if (e->first) {
        sbxi_message_begin(op, sbxi_sse_is_whole(s, op->piece, end));
        op->s.in_message = true;
        op->s.assuming = false;
    }
    r = sbxi_message_read(c, op, ev, &at, to);
    if (r != SBXI_RUN_IDLE && at != to) {
        sbx_sse_back(s);
        op->piece = at;
        op->piece_n = (uint32_t)(end - at);
    }
    return r;
}

/* An event is complete. */
static sbxi_run sbxi_sse_end(sbx_client *c, sbxi_op *op)
{
    sbx_json_tok t;
    sbxi_run r;

    if (!op->s.in_message) {
        bool ack = op->s.type == SBXI_T_ACK;

        op->s.type = SBXI_T_NONE;
        if (ack)
            sbxi_sse_ack(c, op);
        return SBXI_RUN_IDLE;
    }
    if (sbx_json_end(&op->u.command.json, &t) == SBX_JSON_ERROR) {
        sbxi_stream_protocol_error(c, op, SBXI_T("an event of the server is not well-formed JSON"));
        return SBXI_RUN_IDLE;
    }
    if (op->s.type == SBXI_T_SHUTDOWN) {
        sbxi_sse_drop(c, op, SBXI_T("the server is shutting down"));
        return SBXI_RUN_IDLE;
    }
    if (op->s.type == SBXI_T_EXIT && !op->piece_n) {
        sbxi_link *l = sbxi_op_link(c, op);
        sbx_http1_event e;
        sbx_http1_kind kind;

        /* Mostly the answer's end is there as well. */
        if (sbxi_exchange_next(&c->net, l, &kind, &e) == SBXI_GOT_EVENT && kind == SBX_HTTP1_DONE)
            sbxi_sse_release(c, op);
    }
    r = sbxi_message_end(c, op);
    if (!op->s.has_data)
        op->s.type = SBXI_T_NONE;
    return r;
}

static sbxi_run sbxi_sse_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    char *p = op->piece, *end = p + op->piece_n;
    sbx_sse_event e;
    sbx_sse_kind kind;

    if (op->s.acked) { /* nothing behind it counts */
        op->piece_n = 0;
        return SBXI_RUN_IDLE;
    }
    kind = sbx_sse_read(&sbxi_op_link(c, op)->codec.events.sse, &p, end, &e);
    op->piece = p;
    op->piece_n = (uint32_t)(end - p);
    switch (kind) {
    case SBX_SSE_TYPE: sbxi_sse_type(c, op, &e); return SBXI_RUN_IDLE;
    case SBX_SSE_DATA: return sbxi_sse_data(c, op, ev, &e);
    case SBX_SSE_END:
        if (e.dispatch)
            return sbxi_sse_end(c, op);
        op->s.type = SBXI_T_NONE;
        return SBXI_RUN_IDLE;
    default: return SBXI_RUN_IDLE;
    }
}

static sbxi_run sbxi_sse_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    while (op->state == SBXI_OP_STREAM) {
        sbxi_link *l = sbxi_op_link(c, op);
        sbx_http1_event e;
        sbx_http1_kind kind;
        sbxi_got got;
        sbxi_run r;

        if (op->notes && ev)
            return SBXI_RUN_HELD;
        r = sbxi_stream_pending(c, op, ev);
        if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
            return r;
        if (op->flags & SBXI_OP_STREAMING && !ev && op->s.phase == SBXI_PHASE_RUNNING && !op->s.acked)
            return op->piece_n || l->rx_at < l->rx_end || l->ready & SBX_READABLE ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
        if (op->piece_n) {
            r = sbxi_sse_piece(c, op, ev);
            if (r != SBXI_RUN_IDLE)
                return r;
            continue;
        }
        got = sbxi_exchange_next(&c->net, l, &kind, &e);
        if (got == SBXI_GOT_BLOCKED)
            return SBXI_RUN_IDLE;
        if (got == SBXI_GOT_STARVED)
            return SBXI_RUN_STARVED;
        if (got == SBXI_GOT_EVENT && kind == SBX_HTTP1_BODY) {
            op->piece = (char *)e.value.p;
            op->piece_n = (uint32_t)e.value.n;
        } else if (got != SBXI_GOT_EVENT) {
            sbxi_stream_dropped(c, op, got);
        } else if (kind == SBX_HTTP1_DONE) {
            if (op->s.acked) {
                sbxi_sse_release(c, op);
                sbxi_sse_again(c, op);
            } else {
                sbxi_stream_dropped(c, op, SBXI_GOT_EOF);
            }
        }
    }
    return SBXI_RUN_IDLE;
}

static const struct sbxi_via sbxi_via_events = {
    &sbxi_sse_start_row, &sbxi_sse_resume_row, &sbxi_execute_sse_schema, &sbxi_sse_schema, NULL,
    SBXI_HAS_PTY | SBXI_HAS_INPUT | SBXI_HAS_KILL | SBXI_HAS_NO_ID | SBXI_HAS_AGENT, 0, NULL, SBXI_T("is not possible over SSE: leave via at SBX_VIA_WS")
};

SBX_API const struct sbxi_via *sbx_via_sse(void)
{
    return &sbxi_via_events;
}
#endif
