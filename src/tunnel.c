#include "tunnel_session.h"

#if !SBX_NO_TUNNEL
#define SBXI_TUNNEL_BACKOFF_MS 500u
#define SBXI_TUNNEL_BACKOFF_MAX_MS 8000u
/* Connections that were asked for and not answered: a server resets those that
   it has not accepted yet beyond its backlog (hashicorp: 256). Others wait. */
#define SBXI_TUNNEL_ASKING 128u

/* What belongs to every stream's opening stands behind what a tunnel uses. */
typedef char sbxi_tunnel_fits[sizeof(sbxi_tunnel) <= offsetof(sbxi_command, offset) ? 1 : -1];

static sbxi_run sbxi_tunnel_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
static bool sbxi_tunnel_failed(sbx_client *c, sbxi_op *op);
static void sbxi_tunnel_finished(sbx_client *c, sbxi_op *op);
static sbxi_run sbxi_dial_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
static bool sbxi_dial_failed(sbx_client *c, sbxi_op *op);
static void sbxi_dial_finished(sbx_client *c, sbxi_op *op);

const sbxi_row sbxi_tunnel_row = { SBXI_APART("tunnel_open"), "GET", SBXI_APART("/tunnel"), "", SBXI_BASE_BOX, SBXI_RETRY_SAFE, SBXI_ANSWER_STREAM, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_stream_rules, NULL, NULL, NULL, sbxi_tunnel_run, sbxi_tunnel_failed, sbxi_tunnel_finished };
const sbxi_row sbxi_dial_row = { SBXI_APART("tunnel_dial"), "", "", "", SBXI_BASE_BOX, SBXI_RETRY_SAFE, SBXI_ANSWER_STREAM, SBX_RESOURCE_NONE, 0, NULL, NULL, NULL, NULL, NULL, sbxi_dial_run, sbxi_dial_failed, sbxi_dial_finished };

/* ---- connections ---- */

SBXI_FN void sbxi_dial_tell(sbx_client *c, const sbxi_dial *d)
{
    if (d->op != SBXI_NIL && !(d->is & SBXI_DIAL_HELD))
        sbxi_op_list(c, &c->ops[d->op], SBXI_LIST_EVENT);
}

SBXI_FN void sbxi_dial_todo(sbx_client *c, sbxi_session *s, sbxi_dial *d, uint8_t todo)
{
    d->todo |= todo;
    s->todo = true;
    sbxi_op_wake(c, sbxi_tunnel_op(c, s));
}

/* One that was asked for was answered, or is given up: the next may be. */
static void sbxi_tunnel_heard(sbxi_session *s)
{
    s->asking--;
    s->todo = true;
}

/* Its stream is nobody's (`user` is NULL) until it can be dropped. */
static void sbxi_dial_leave(sbx_client *c, sbxi_session *s, sbxi_dial *d)
{
    if (d->stream) {
        d->stream->user = NULL;
        s->drops = true;
        if (!(d->is & SBXI_DIAL_OPEN))
            sbxi_tunnel_heard(s);
    }
    d->stream = NULL;
    d->todo = 0;
    sbxi_op_wake(c, sbxi_tunnel_op(c, s));
}

/* It has failed; what its ring holds is given out before the END. */
static void sbxi_dial_over(sbx_client *c, sbxi_session *s, sbxi_dial *d, sbx_code code, sbx_layer layer, const char *text)
{
    sbxi_op *op;

    if (d->op == SBXI_NIL || d->is & SBXI_DIAL_OVER)
        return;
    op = &c->ops[d->op];
    sbxi_op_set_fail(op, code, layer, text);
    op->total_at = op->attempt_at = SBXI_NEVER;
    sbxi_op_arm(c, op);
    d->is |= SBXI_DIAL_OVER;
    sbxi_dial_leave(c, s, d);
    sbxi_dial_tell(c, d);
}

/* Both halves have ended. */
static bool sbxi_dial_complete(const sbxi_dial *d)
{
    const unsigned both = SBXI_DIAL_EOF | SBXI_DIAL_ENDED;

    return (d->is & both) == both && !(d->todo & SBXI_SAY_FIN);
}

/* The bytes of the last event are not looked at any more: they count as
   consumed. */
static void sbxi_tunnel_settle(sbx_client *c, sbxi_session *s)
{
    sbxi_dial *d = &s->dials[s->lent];
    uint32_t n = s->lent_n;

    if (!n)
        return;
    s->lent_n = 0;
    d->n -= n;
    d->at = d->n && d->at + n < s->window ? d->at + n : 0;
    if (d->stream) {
        sbx_yamux_consumed(d->stream, n);
        if (s->window - SBXI_MIN(s->window, d->stream->held + d->stream->recv) >= s->window / 2)
            sbxi_dial_todo(c, s, d, SBXI_SAY_CREDIT);
    }
    if (s->data_n && s->target == s->lent)
        sbxi_op_wake(c, sbxi_tunnel_op(c, s));
}

/* ---- saying ---- */

/* Behind half a pong only its rest may come: that of the ping is to arrive. */
static sbxi_got sbxi_tunnel_room(sbx_client *c, sbxi_link *l)
{
    if (l->out.frame.left)
        return SBXI_GOT_BLOCKED;
    if (l->tx && c->net.tx.size - l->tx_end < SBXI_TUNNEL_ROOM) {
        sbxi_got got = sbxi_link_flush(&c->net, l);

        if (got != SBXI_GOT_EVENT)
            return got;
    }
    return sbxi_link_has_room(&c->net, l) || l->owner == c->net.awaited ? SBXI_GOT_EVENT : SBXI_GOT_STARVED;
}

/* There is room; without random bytes the session fails as a whole. */
static void sbxi_tunnel_put(sbx_client *c, sbxi_link *l, const void *p, size_t n)
{
    if (n)
        sbxi_ws_send(&c->net, l, SBX_WS_OP_BINARY, p, n);
}

static void sbxi_dial_hello(sbx_client *c, sbxi_session *s, sbxi_link *l, sbxi_dial *d)
{
    unsigned char out[SBX_YAMUX_HEAD + 3];
    size_t n = 3;

    if (s->asking >= SBXI_TUNNEL_ASKING || (s->away && !s->live)) {
        d->todo = SBXI_SAY_HELLO; /* later, or in the next session where this one is over */
        return;
    }
    d->stream = sbx_yamux_open(&s->y);
    if (!d->stream) {
        sbxi_dial_over(c, s, d, SBX_ERR_CONNECTION, SBX_LAYER_SERVICE, SBXI_T("the server takes no new connections on this tunnel until those that stand have ended"));
        return;
    }
    d->stream->user = d;
    d->is |= SBXI_DIAL_ASKED;
    s->live++;
    s->asking++;
    if (s->window > SBX_YAMUX_INITIAL) /* told at once, with the opening */
        sbxi_tunnel_put(c, l, out, sbx_yamux_update(&s->y, d->stream, out));
    sbx_yamux_data(d->stream, &n, out);
    out[SBX_YAMUX_HEAD] = 1; /* the version */
    out[SBX_YAMUX_HEAD + 1] = (unsigned char)(d->port >> 8);
    out[SBX_YAMUX_HEAD + 2] = (unsigned char)d->port;
    sbxi_tunnel_put(c, l, out, sizeof out);
}

/* What a connection has to tell; there is room for it. */
static void sbxi_dial_say(sbx_client *c, sbxi_session *s, sbxi_link *l, sbxi_dial *d)
{
    unsigned char out[SBX_YAMUX_HEAD];
    unsigned todo = d->todo;

    d->todo = 0;
    if (todo & SBXI_SAY_HELLO)
        sbxi_dial_hello(c, s, l, d);
    if (!d->stream)
        return;
    if (todo & SBXI_SAY_FIN) {
        sbxi_tunnel_put(c, l, out, sbx_yamux_end(d->stream, out));
        sbxi_dial_tell(c, d);
    }
    if (todo & SBXI_SAY_CREDIT)
        sbxi_tunnel_put(c, l, out, sbx_yamux_update(&s->y, d->stream, out));
}

/* A silent tunnel is asked for a sign of life. One that waits for the program
   could not hear the answer. */
static void sbxi_tunnel_ping(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    int64_t due = sbxi_after(l->last_rx, s->ping_interval_ms);

    op->flags &= (uint16_t)~SBXI_OP_PING_DUE;
    op->wake_at = due > c->net.now ? due : sbxi_after(c->net.now, s->ping_interval_ms);
    if (due <= c->net.now && !s->data_n && op->attempt_at == SBXI_NEVER)
        s->pinging = true;
    sbxi_op_arm(c, op);
}

/* Where the peer takes nothing its time runs all the same; where others have
   all send buffers it does not. */
static sbxi_got sbxi_tunnel_ask(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    sbxi_got got = sbxi_tunnel_room(c, l);
    unsigned char out[SBX_YAMUX_HEAD];

    if (got == SBXI_GOT_EVENT) {
        sbxi_tunnel_put(c, l, out, sbx_yamux_ping(&s->y, out));
        s->pinging = false;
    }
    if (got != SBXI_GOT_STARVED && op->attempt_at == SBXI_NEVER) {
        op->attempt_at = sbxi_after(c->net.now, s->ping_ms);
        sbxi_op_arm(c, op);
    }
    return got;
}

static void sbxi_stream_drop(sbx_client *c, sbxi_session *s, sbxi_link *l, sbx_yamux_stream *stream)
{
    unsigned char out[SBX_YAMUX_HEAD];

    sbxi_tunnel_put(c, l, out, sbx_yamux_drop(&s->y, stream, out));
    s->live--;
}

static sbxi_got sbxi_tunnel_talk(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    sbxi_got got = SBXI_GOT_EVENT;

    c->net.entropy_failed = false; /* another's failure is no business of this one */
    if (op->flags & SBXI_OP_PING_DUE)
        sbxi_tunnel_ping(c, op, s, l);
    if (s->pinging)
        got = sbxi_tunnel_ask(c, op, s, l);
    if (got != SBXI_GOT_EVENT)
        return got;
    /* First, so that there is a place for each that begins. */
    for (uint32_t i = 0; s->drops && i < s->count; i++) {
        if (!s->streams[i].id || s->streams[i].user)
            continue;
        got = sbxi_tunnel_room(c, l);
        if (got != SBXI_GOT_EVENT)
            return got;
        sbxi_stream_drop(c, s, l, &s->streams[i]);
    }
    s->drops = false;
    for (uint32_t i = 0; s->todo && i < s->count; i++) {
        if (!s->dials[i].todo)
            continue;
        got = sbxi_tunnel_room(c, l);
        if (got != SBXI_GOT_EVENT)
            return got;
        sbxi_dial_say(c, s, l, &s->dials[i]);
    }
    s->todo = false;
    if (c->net.entropy_failed) {
        c->net.fault.code = SBX_ERR_ENTROPY;
        c->net.fault.text = NULL;
        return SBXI_GOT_FAIL;
    }
    return sbxi_link_unsent(l) ? sbxi_link_flush(&c->net, l) : SBXI_GOT_EVENT;
}

/* The send buffer is empty: those that wait may write, in turn, beginning
   behind the one that wrote last. */
static void sbxi_tunnel_writable(sbx_client *c, sbxi_session *s)
{
    s->wanting = false;
    for (uint32_t i = 0; i < s->count; i++) {
        sbxi_dial *d = &s->dials[(s->turn + i) % s->count];
        sbxi_op *op = d->op == SBXI_NIL ? NULL : &c->ops[d->op];

        if (!op || !(op->flags & SBXI_OP_WANTS_ROOM) || !(d->is & SBXI_DIAL_OPEN) || !d->stream || !sbx_yamux_sendable(d->stream))
            continue;
        op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM;
        op->notes |= SBXI_NOTE_WRITABLE;
        sbxi_op_list(c, op, SBXI_LIST_EVENT);
    }
}

/* ---- hearing ---- */

/* The daemon's word on a connection. */
static void sbxi_dial_answered(sbx_client *c, sbxi_session *s, sbxi_dial *d, unsigned said)
{
    static const uint8_t codes[] = { SBX_OK, SBX_ERR_PORT_DENIED, SBX_ERR_DIAL, SBX_ERR_TUNNEL_VERSION };
    sbxi_op *op;

    if (d->op == SBXI_NIL)
        return;
    if (said) {
        bool known = said < SBXI_COUNT(codes);

        sbxi_dial_over(c, s, d, known ? (sbx_code)codes[said] : SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE,
                       known ? NULL : SBXI_T("the server answered the dial with a byte that the protocol does not know"));
        return;
    }
    op = &c->ops[d->op];
    sbxi_tunnel_heard(s);
    d->is |= SBXI_DIAL_OPEN;
    op->attempt_at = SBXI_NEVER;
    op->notes |= SBXI_NOTE_STARTED;
    op->flags |= SBXI_OP_SENT;
    op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM; /* that it may write is said so */
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, SBXI_LIST_EVENT);
}

/* The program blocks for another connection of the tunnel, which nothing can
   reach while this one's ring is full. */
static bool sbxi_tunnel_jammed(const sbx_client *c, const sbxi_session *s, const sbxi_dial *d)
{
    uint32_t blocked = c->blocked;

    return blocked != SBXI_NIL && blocked != d->op && c->net.t->wait && c->ops[blocked].row == &sbxi_dial_row && c->ops[blocked].u.tunnel.session == s;
}

/* The next data_n bytes of the piece: into the ring. False: it is full. */
static bool sbxi_tunnel_place(sbx_client *c, sbxi_op *op, sbxi_session *s)
{
    while (s->data_n) {
        sbxi_dial *d = s->target == SBXI_NIL ? NULL : &s->dials[s->target];
        uint32_t n = s->data_n, to;

        if (d && d->op != SBXI_NIL && !(d->is & SBXI_DIAL_OVER)) {
            if (d->n == s->window && sbxi_tunnel_jammed(c, s, d)) {
                sbxi_dial_over(c, s, d, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("its ring was full while another connection of the tunnel was waited for: pull all of them, or raise the tunnel's window to 262,144"));
                continue;
            }
            to = d->at + d->n;
            to -= to >= s->window ? s->window : 0;
            n = SBXI_MIN(n, SBXI_MIN(s->window - d->n, s->window - to));
            if (!n)
                return false;
            memcpy(s->rings + (size_t)s->target * s->window + to, op->piece, n);
            d->n += n;
            sbxi_dial_tell(c, d);
        }
        op->piece += n;
        op->piece_n -= n;
        s->data_n -= n;
    }
    return true;
}

static sbxi_got sbxi_tunnel_fault(sbx_client *c, sbx_code code, const char *text)
{
    memset(&c->net.fault, 0, sizeof c->net.fault);
    c->net.fault.code = code;
    c->net.fault.text = text;
    return SBXI_GOT_FAIL;
}

static void sbxi_tunnel_data(sbx_client *c, sbxi_op *op, sbxi_session *s, const sbx_yamux_event *e)
{
    sbxi_dial *d = (sbxi_dial *)e->stream->user;

    /* The operation holds on to the piece until it lies in the ring. */
    op->piece -= e->n;
    op->piece_n += (uint32_t)e->n;
    s->data_n = (uint32_t)e->n;
    s->target = d ? sbxi_dial_id(s, d) : SBXI_NIL;
    if (!d || d->is & SBXI_DIAL_OPEN)
        return;
    sbxi_dial_answered(c, s, d, (unsigned char)*op->piece);
    sbx_yamux_consumed(e->stream, 1);
    op->piece++;
    op->piece_n--;
    s->data_n--;
}

/* What is told of one connection, but for its data. */
static void sbxi_dial_event(sbx_client *c, sbxi_session *s, sbxi_dial *d, sbx_yamux_kind kind)
{
    switch (kind) {
    case SBX_YAMUX_WINDOW: s->wanting = true; break;
    case SBX_YAMUX_EOF:
        if (!(d->is & SBXI_DIAL_OPEN))
            sbxi_dial_over(c, s, d, SBX_ERR_CONNECTION, SBX_LAYER_SERVICE, SBXI_T("the server ended the connection before it answered"));
        d->is |= SBXI_DIAL_EOF;
        sbxi_dial_tell(c, d);
        break;
    case SBX_YAMUX_RESET:
        sbxi_dial_over(c, s, d, SBX_ERR_CONNECTION, SBX_LAYER_SERVICE, SBXI_T("the connection was reset by the other side"));
        break;
    default: break;
    }
}

/* EVENT: go on. */
static sbxi_got sbxi_tunnel_event(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l, sbx_yamux_kind kind, const sbx_yamux_event *e)
{
    unsigned char out[SBX_YAMUX_HEAD];

    switch (kind) {
    case SBX_YAMUX_OPENED: sbxi_tunnel_put(c, l, out, sbx_yamux_drop(&s->y, e->stream, out)); break; /* nobody listens here */
    case SBX_YAMUX_DATA: sbxi_tunnel_data(c, op, s, e); break;
    case SBX_YAMUX_REPLY: sbxi_tunnel_put(c, l, e->p, e->n); break;
    case SBX_YAMUX_PONG:
        op->attempt_at = SBXI_NEVER;
        sbxi_op_arm(c, op);
        break;
    case SBX_YAMUX_GOAWAY:
        if (e->value)
            return sbxi_tunnel_fault(c, SBX_ERR_CONNECTION, SBXI_T("the server ended the tunnel for an error (yamux GoAway)"));
        s->away = true;
        break;
    case SBX_YAMUX_ERROR:
        sbxi_tunnel_put(c, l, e->p, e->n);
        sbxi_link_flush(&c->net, l);
        return sbxi_tunnel_fault(c, SBX_ERR_PROTOCOL, sbx_yamux_reason_text(e->value));
    default:
        if (e->stream && e->stream->user)
            sbxi_dial_event(c, s, (sbxi_dial *)e->stream->user, kind);
        break;
    }
    return SBXI_GOT_EVENT;
}

/* Reads on until nothing is there, or a full ring is in the way (BLOCKED). */
static sbxi_got sbxi_tunnel_read(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    char nothing[1];

    for (;;) {
        sbx_yamux_event e;
        sbx_yamux_kind kind;
        const char *p;
        sbxi_got got;

        if (!sbxi_tunnel_place(c, op, s))
            return SBXI_GOT_BLOCKED;
        if (!op->piece_n && !s->unheard) {
            sbx_ws_event w;

            got = sbxi_ws_next(&c->net, l, &w);
            if (got != SBXI_GOT_EVENT)
                return got;
            op->piece = w.p;
            op->piece_n = (uint32_t)w.n;
            continue;
        }
        got = sbxi_tunnel_room(c, l);
        if (got != SBXI_GOT_EVENT)
            return got;
        if (!op->piece_n)
            op->piece = nothing; /* what it pointed to may be gone */
        p = op->piece;
        kind = sbx_yamux_read(&s->y, &p, op->piece + op->piece_n, &e);
        op->piece_n -= (uint32_t)(p - op->piece);
        op->piece += p - op->piece;
        s->unheard = kind != SBX_YAMUX_MORE;
        got = sbxi_tunnel_event(c, op, s, l, kind, &e);
        if (got != SBXI_GOT_EVENT)
            return got;
    }
}

/* ---- opening, losing ---- */

/* Without a connection until a dial wants one. */
static void sbxi_tunnel_rest(sbx_client *c, sbxi_op *op)
{
    sbxi_op_release_link(c, op, false);
    if (op->block && !op->block->header_n)
        sbxi_op_drop_block(c, op);
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
    op->flags &= (uint16_t)~(SBXI_OP_ACCEPTED | SBXI_OP_PING_DUE | SBXI_OP_FAILING | SBXI_OP_DRAIN | SBXI_OP_SENT);
    op->s.says_upgrade = op->s.says_connection = false;
    op->attempts = 0;
    op->state = SBXI_OP_PAUSE;
    op->attempt_at = op->wake_at = SBXI_NEVER;
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, op->notes ? SBXI_LIST_EVENT : SBXI_LIST_NONE);
}

SBXI_FN bool sbxi_tunnel_resting(const sbxi_op *op)
{
    return op->state == SBXI_OP_PAUSE && op->wake_at == SBXI_NEVER;
}

SBXI_FN void sbxi_tunnel_reopen(sbx_client *c, sbxi_op *op)
{
    op->state = SBXI_OP_START;
    sbxi_op_wake(c, op);
}

static void sbxi_tunnel_opened(sbx_client *c, sbxi_op *op, sbxi_session *s)
{
    sbx_yamux_init(&s->y, false, s->streams, s->count, s->window);
    op->notes |= s->was_open ? SBXI_NOTE_RECONNECTED : SBXI_NOTE_STARTED;
    c->net.usage.reconnects += s->was_open;
    s->open = s->was_open = s->todo = true;
    op->fail.status = 0;
    op->fail.code = SBX_OK;
    op->fail.has_text = false;
    op->attempt_at = SBXI_NEVER;
    op->wake_at = sbxi_after(c->net.now, s->ping_interval_ms);
    sbxi_op_arm(c, op);
    if (op->block && !op->block->header_n) /* the call's headers are needed again */
        sbxi_op_drop_block(c, op);
}

/* The session is gone, the operation's error says why. */
static void sbxi_tunnel_lost(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;
    bool own = op->fail.code == SBX_ERR_PROTOCOL || op->fail.code == SBX_ERR_ENTROPY, waiting = false;
    const char *text = NULL;

#if !SBX_NO_ERROR_TEXT
    text = op->fail.text;
#endif
    s->open = s->away = s->drops = s->unheard = s->pinging = false;
    s->data_n = s->live = s->asking = 0;
    op->s.stuck = false;
    op->piece_n = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        sbxi_dial *d = &s->dials[i];
        bool complete = sbxi_dial_complete(d); /* not with an end that is still to be said */

        d->stream = NULL;
        d->todo &= SBXI_SAY_HELLO;
        waiting |= d->op != SBXI_NIL && d->todo;
        if (d->is & SBXI_DIAL_ASKED && !complete)
            sbxi_dial_over(c, s, d, own ? (sbx_code)op->fail.code : SBX_ERR_CONNECTION, (sbx_layer)op->fail.layer, text ? text : SBXI_T("the tunnel was lost"));
    }
    sbxi_tunnel_rest(c, op);
    if (waiting)
        sbxi_tunnel_reopen(c, op);
    else if (s->closing && !s->ops)
        sbxi_op_finish(c, op);
}

static void sbxi_tunnel_broke(sbx_client *c, sbxi_op *op, sbxi_got got)
{
    sbx_code code = got == SBXI_GOT_EOF ? SBX_ERR_CONNECTION : c->net.fault.code;

    sbxi_op_set_fail(op, code, code == SBX_ERR_PROTOCOL ? SBX_LAYER_WS : SBX_LAYER_TRANSPORT, got == SBXI_GOT_EOF ? SBXI_T("the server closed the tunnel") : c->net.fault.text);
    sbxi_tunnel_lost(c, op);
}

/* Every failure of an attempt to open, and a ping without an answer. */
static bool sbxi_tunnel_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;
    uint32_t delay = op->fail.retry_after_s > 0 ? (uint32_t)op->fail.retry_after_s * 1000 : sbxi_backoff(c, (unsigned)SBXI_MAX(op->attempts, 1) - 1, SBXI_TUNNEL_BACKOFF_MS, SBXI_TUNNEL_BACKOFF_MAX_MS);

    if (s->open) {
        sbxi_tunnel_lost(c, op);
        return true;
    }
    op->flags &= (uint16_t)~SBXI_OP_ACCEPTED;
    op->s.says_upgrade = op->s.says_connection = false;
    if (sbxi_stream_transient(&op->fail) && op->attempts <= op->max_retries && sbxi_op_again(c, op, delay))
        return true;
    if (!s->was_open || s->closing) {
        sbxi_op_finish(c, op);
        return true;
    }
    for (uint32_t i = 0; i < s->count; i++)
        sbxi_dial_over(c, s, &s->dials[i], (sbx_code)op->fail.code, (sbx_layer)op->fail.layer, NULL);
    sbxi_tunnel_rest(c, op);
    return true;
}

/* Its connections end with it. */
static void sbxi_tunnel_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;

    for (uint32_t i = 0; i < s->count; i++) {
        sbxi_op *of = s->dials[i].op == SBXI_NIL ? NULL : &c->ops[s->dials[i].op];

        if (!of)
            continue;
        if (!(s->dials[i].is & SBXI_DIAL_OVER))
            sbxi_op_set_fail(of, op->fail.code ? (sbx_code)op->fail.code : SBX_ERR_CLOSED, (sbx_layer)op->fail.layer, SBXI_T("its tunnel ended"));
        of->notes = 0;
        of->u.tunnel.session = NULL;
        sbxi_op_finish(c, of);
    }
    op->u.tunnel.session = NULL;
    if (s->allocated)
        c->desc.resize(c->desc.resize_user, s, 0);
}

/* ---- running ---- */

/* Nothing is left for it to do: true. */
static bool sbxi_tunnel_done(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    unsigned char out[SBX_YAMUX_HEAD];

    if (s->closing && !s->ops && op->attempt_at == SBXI_NEVER) {
        op->attempt_at = sbxi_after(c->net.now, c->desc.ws_close_ms);
        sbxi_op_arm(c, op);
    }
    if (s->closing && !s->ops && !s->live) {
        if (!s->goodbye) {
            s->goodbye = sbxi_tunnel_room(c, l) == SBXI_GOT_EVENT;
            if (s->goodbye)
                sbxi_tunnel_put(c, l, out, sbx_yamux_goaway(&s->y, SBX_YAMUX_NORMAL, out));
        }
        if (!s->goodbye || (sbxi_link_unsent(l) && sbxi_link_flush(&c->net, l) == SBXI_GOT_BLOCKED))
            return false;
        sbxi_op_finish(c, op);
        return true;
    }
    if (s->away && !s->live) {
        sbxi_tunnel_broke(c, op, SBXI_GOT_EOF);
        return true;
    }
    return false;
}

static sbxi_run sbxi_tunnel_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_session *s = op->u.tunnel.session;
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_got sent, got;
    sbx_fault fault;
    bool wanting;

    (void)ev;
    if (!s->open)
        sbxi_tunnel_opened(c, op, s);
    sbxi_tunnel_settle(c, s);
    sent = sbxi_tunnel_talk(c, op, s, l);
    fault = c->net.fault;
    got = sbxi_tunnel_read(c, op, s, l); /* what came before it broke counts */
    if (sent != SBXI_GOT_FAIL && (got == SBXI_GOT_BLOCKED || got == SBXI_GOT_STARVED)) {
        sent = sbxi_tunnel_talk(c, op, s, l); /* what reading made necessary */
        fault = c->net.fault;
    }
    if (sent == SBXI_GOT_FAIL && got == SBXI_GOT_BLOCKED && !s->data_n) {
        c->net.fault = fault;
        got = SBXI_GOT_FAIL;
    }
    if (got == SBXI_GOT_EOF || got == SBXI_GOT_FAIL) {
        sbxi_tunnel_broke(c, op, got);
        return SBXI_RUN_IDLE;
    }
    op->s.stuck = sent == SBXI_GOT_BLOCKED && got == SBXI_GOT_BLOCKED && !s->data_n && (op->piece_n || l->rx_at < l->rx_end);
    if (sbxi_tunnel_done(c, op, s, l))
        return SBXI_RUN_IDLE;
    wanting = s->wanting && !l->tx && !l->out.frame.left;
    if (wanting && sbxi_link_has_room(&c->net, l)) {
        sbxi_tunnel_writable(c, s);
        wanting = false;
    }
    if (!c->net.run_left)
        sbxi_op_wake(c, op);
    return sent == SBXI_GOT_STARVED || got == SBXI_GOT_STARVED || wanting ? SBXI_RUN_STARVED : SBXI_RUN_IDLE;
}

/* Lets the tunnel go on now that a ring has room. */
static void sbxi_tunnel_pump(sbx_client *c, sbxi_op *op)
{
    sbxi_run r;

    if (op->state != SBXI_OP_STREAM || op->list != SBXI_LIST_RUN)
        return;
    sbxi_op_list(c, op, SBXI_LIST_NONE);
    r = sbxi_tunnel_run(c, op, NULL);
    if (op->list == SBXI_LIST_NONE && (r == SBXI_RUN_STARVED || op->notes) && op->state == SBXI_OP_STREAM)
        sbxi_op_list(c, op, r == SBXI_RUN_STARVED ? SBXI_LIST_STARVED : SBXI_LIST_EVENT);
}

static sbxi_run sbxi_dial_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_session *s = op->u.tunnel.session;
    sbxi_dial *d = &s->dials[op->u.tunnel.slot];

    sbxi_tunnel_settle(c, s);
    if (ev && !d->n && !(d->is & (SBXI_DIAL_EOF | SBXI_DIAL_OVER)))
        sbxi_tunnel_pump(c, sbxi_tunnel_op(c, s));
    if (d->is & SBXI_DIAL_HELD)
        return SBXI_RUN_IDLE;
    if (!ev)
        return d->n || d->is & (SBXI_DIAL_EOF | SBXI_DIAL_OVER) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
    if (op->notes)
        return SBXI_RUN_HELD;
    if (d->n) {
        s->lent = op->u.tunnel.slot;
        s->lent_n = SBXI_MIN(d->n, s->window - d->at);
        sbxi_event_init(c, op, ev, SBX_EV_DATA);
        ev->data = sbx_sn(s->rings + (size_t)s->lent * s->window + d->at, s->lent_n);
        ev->offset = op->u.tunnel.total;
        op->u.tunnel.total += s->lent_n;
        return SBXI_RUN_EVENT;
    }
    if (d->is & SBXI_DIAL_EOF && d->is & SBXI_DIAL_OPEN && !(d->is & SBXI_DIAL_EOF_TOLD)) {
        d->is |= SBXI_DIAL_EOF_TOLD;
        sbxi_event_init(c, op, ev, SBX_EV_EOF);
        return SBXI_RUN_EVENT;
    }
    if (d->is & SBXI_DIAL_OVER || sbxi_dial_complete(d))
        sbxi_op_finish(c, op);
    return SBXI_RUN_IDLE;
}

/* Its time is over. */
static bool sbxi_dial_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_op_finish(c, op);
    return true;
}

static void sbxi_dial_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;
    sbxi_dial *d;

    if (!s)
        return;
    op->u.tunnel.session = NULL;
    d = &s->dials[op->u.tunnel.slot];
    if (s->lent == op->u.tunnel.slot)
        s->lent_n = 0;
    if (s->target == op->u.tunnel.slot)
        s->target = SBXI_NIL;
    d->op = SBXI_NIL;
    d->n = 0;
    s->ops--;
    sbxi_dial_leave(c, s, d);
    if (!s->open && s->closing && !s->ops)
        sbxi_op_finish(c, sbxi_tunnel_op(c, s));
}
#endif
