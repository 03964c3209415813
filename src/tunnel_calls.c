#include "tunnel_session.h"

#if !SBX_NO_TUNNEL
#define SBXI_TUNNEL_STREAMS 32u
#define SBXI_TUNNEL_WINDOW_MIN 1024u
#define SBXI_TUNNEL_PING_MS 30000

/* Where the parts of a tunnel's memory begin; its end. */
static size_t sbxi_tunnel_layout(const sbx_tunnel_opts *o, size_t at[3])
{
    uint32_t count = o->max_streams ? o->max_streams : SBXI_TUNNEL_STREAMS;

    at[0] = sbxi_align(sizeof(sbxi_session));
    at[1] = sbxi_add(at[0], sbxi_align(sbxi_mul(count, sizeof(sbx_yamux_stream))));
    at[2] = sbxi_add(at[1], sbxi_align(sbxi_mul(count, sizeof(sbxi_dial))));
    return sbxi_add(at[2], sbxi_mul(count, o->window ? o->window : SBX_YAMUX_INITIAL));
}

SBX_API size_t sbx_tunnel_size(const sbx_tunnel_opts *opts)
{
    size_t at[3];

    return sbxi_add(15, sbxi_tunnel_layout(opts ? opts : &sbxi_no_opts.tunnel, at));
}

static void sbxi_tunnel_memory(sbxi_build *b, const sbx_tunnel_opts *o)
{
    size_t at[3], need = sbx_tunnel_size(o);
    char *p = (char *)o->memory.p;
    bool allocated = !p && !SBX_NO_ALLOC && b->c->desc.resize != NULL;
    sbxi_session *s;

    if (allocated && need != SIZE_MAX)
        p = (char *)b->c->desc.resize(b->c->desc.resize_user, NULL, need);
    else if (!p)
        sbxi_build_refuse(b, SBX_ERR_NO_BUFFER, "memory", SBXI_T("must be given (sbx_tunnel_size says how much), or an allocator in the client's description"));
    if (!b->op)
        return;
    if (!p || (!allocated && o->memory.n < need)) {
        sbxi_build_refuse(b, SBX_ERR_MEMORY, "memory", p ? SBXI_T("is smaller than sbx_tunnel_size says") : SBXI_T("was refused by the allocator"));
        return;
    }
    if (!allocated)
        p += (16 - ((uintptr_t)p & 15)) % 16;
    sbxi_tunnel_layout(o, at);
    s = (sbxi_session *)(void *)p;
    memset(s, 0, at[2]);
    s->streams = (sbx_yamux_stream *)(void *)(p + at[0]);
    s->dials = (sbxi_dial *)(void *)(p + at[1]);
    s->rings = p + at[2];
    s->count = o->max_streams ? o->max_streams : SBXI_TUNNEL_STREAMS;
    s->window = o->window ? o->window : SBX_YAMUX_INITIAL;
    s->ping_interval_ms = o->ping_interval_ms ? o->ping_interval_ms : SBXI_TUNNEL_PING_MS;
    s->ping_ms = o->ping_ms ? o->ping_ms : SBXI_TUNNEL_PING_MS;
    s->target = SBXI_NIL;
    s->allocated = allocated;
    s->op = sbxi_op_id(b->c, b->op);
    for (uint32_t i = 0; i < s->count; i++)
        s->dials[i].op = SBXI_NIL;
    b->op->u.tunnel.session = s;
}

SBX_API sbx_op sbx_tunnel_open(sbx_client *c, const sbx_box *box, const sbx_tunnel_opts *opts)
{
    const sbx_tunnel_opts *o = opts ? opts : &sbxi_no_opts.tunnel;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_tunnel_row, &o->call))
        return b.refused;
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    if (o->window && (o->window < SBXI_TUNNEL_WINDOW_MIN || o->window > INT32_MAX))
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "window", SBXI_T("must be 1,024 to 2,147,483,647, or 0 (262,144)"));
    if (o->max_streams > INT32_MAX)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "max_streams", SBXI_T("must be 2,147,483,647 at most"));
    if (o->ping_interval_ms < SBX_FOREVER || o->ping_ms < SBX_FOREVER)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, o->ping_ms < SBX_FOREVER ? "ping_ms" : "ping_interval_ms", SBXI_T("must be positive milliseconds, 0 (the default) or SBX_FOREVER"));
    if (!b.op)
        return b.refused;
    sbxi_tunnel_memory(&b, o);
    if (!b.op)
        return b.refused;
    b.op->flags |= SBXI_OP_STREAMING | SBXI_OP_HOLDS;
    if (!o->call.timeout_ms)
        b.op->timeout_ms = c->desc.ws_open_ms;
    if (!o->call.max_retries)
        b.op->max_retries = 2;
    return sbxi_build_end(&b);
}

/* The session of a tunnel that takes dials, or NULL. */
static sbxi_session *sbxi_tunnel_for(sbxi_build *b, sbx_op tunnel)
{
    sbxi_op *op = sbxi_op_get(b->c, tunnel);
    sbxi_session *s = op && op->row == &sbxi_tunnel_row ? op->u.tunnel.session : NULL;

    if (!op || op->row != &sbxi_tunnel_row)
        sbxi_build_refuse(b, !tunnel.slot && tunnel.gen ? (sbx_code)tunnel.gen : SBX_ERR_HANDLE, "tunnel", SBXI_T("is none, or its END was pulled"));
    else if (!s || s->closing)
        sbxi_build_refuse(b, SBX_ERR_STATE, "tunnel", SBXI_T("has ended or was closed: open another one"));
    return b->op ? s : NULL;
}

static sbxi_dial *sbxi_tunnel_free_dial(const sbxi_session *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->dials[i].op == SBXI_NIL)
            return &s->dials[i];
    return NULL;
}

SBX_API sbx_op sbx_tunnel_dial(sbx_client *c, sbx_op tunnel, uint16_t port, const sbx_dial_opts *opts)
{
    const sbx_call *call = &(opts ? opts : &sbxi_no_opts.dial)->call;
    sbxi_session *s;
    sbxi_dial *d;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_dial_row, call))
        return b.refused;
    if (!port)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "port", SBXI_T("must be 1 to 65,535"));
    if (call->headers_n || call->api_key.p)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, call->headers_n ? "call.headers" : "call.api_key", SBXI_T("belongs to sbx_tunnel_open: a connection has no request of its own"));
    s = b.op ? sbxi_tunnel_for(&b, tunnel) : NULL;
    d = s ? sbxi_tunnel_free_dial(s) : NULL;
    if (s && !d)
        sbxi_build_refuse(&b, SBX_ERR_FULL, "max_streams", SBXI_T("connections are open already: end some, or raise it"));
    if (!b.op)
        return b.refused;
    sbxi_op_drop_block(c, b.op); /* there is no request */
    sbxi_client_clock(c);
    b.op->u.tunnel.session = s;
    b.op->u.tunnel.slot = sbxi_dial_id(s, d);
    b.op->u.tunnel.carrier = s->op;
    b.op->total_at = sbxi_after(c->net.now, b.op->total_at);
    b.op->attempt_at = sbxi_after(c->net.now, call->timeout_ms ? call->timeout_ms : c->desc.ws_open_ms);
    b.op->attempts = 1;
    b.op->state = SBXI_OP_STREAM;
    sbxi_op_arm(c, b.op);
    memset(d, 0, sizeof *d);
    d->op = sbxi_op_id(c, b.op);
    d->port = port;
    s->ops++;
    sbxi_dial_todo(c, s, d, SBXI_SAY_HELLO);
    if (sbxi_tunnel_resting(sbxi_tunnel_op(c, s)))
        sbxi_tunnel_reopen(c, sbxi_tunnel_op(c, s));
    return sbxi_op_handle(c, b.op);
}

static sbxi_dial *sbxi_dial_of(const sbx_client *c, sbx_op h, sbxi_op **out)
{
    sbxi_op *op = sbxi_op_get(c, h);

    *out = op && op->row == &sbxi_dial_row ? op : NULL;
    return *out && op->u.tunnel.session ? &op->u.tunnel.session->dials[op->u.tunnel.slot] : NULL;
}

/* Bytes go out in place: heads before them are put into the send buffer when
   their number is known. *n: how many the buffer and the peer's window take. */
static char *sbxi_dial_room(sbx_client *c, sbxi_session *s, const sbxi_dial *d, size_t *n)
{
    uint32_t take = d->is & SBXI_DIAL_OPEN ? sbx_yamux_sendable(d->stream) : 0;
    size_t room = 0;
    sbxi_got got;
    char *p = take ? sbxi_ws_compose(&c->net, sbxi_op_link(c, sbxi_tunnel_op(c, s)), &room, &got) : NULL;

    /* What keeps the session going stays free. */
    *n = p && room > SBX_YAMUX_HEAD + SBXI_TUNNEL_ROOM ? SBXI_MIN(take, room - (SBX_YAMUX_HEAD + SBXI_TUNNEL_ROOM)) : 0;
    return p ? p + SBX_YAMUX_HEAD : NULL;
}

/* One frame of the n bytes at p, which is what sbxi_dial_room said. */
static void sbxi_dial_frame(sbx_client *c, sbxi_session *s, sbxi_dial *d, char *p, size_t n)
{
    sbxi_link *l = sbxi_op_link(c, sbxi_tunnel_op(c, s));

    if (!l->tx_end) /* else the rest of the upgrade, with its key, may stand before it */
        l->plain = true;
    sbx_yamux_data(d->stream, &n, (unsigned char *)p - SBX_YAMUX_HEAD);
    sbxi_ws_composed(&c->net, l, SBX_WS_OP_BINARY, SBX_YAMUX_HEAD + n);
    if (c->net.entropy_failed)
        d->stream->send += (uint32_t)n; /* the peer has seen nothing of it */
    s->turn = sbxi_dial_id(s, d) + 1;
    sbxi_link_flush(&c->net, l);
}

/* The connection, where it may send now. */
static sbx_code sbxi_dial_sends(sbx_client *c, sbx_op h, sbxi_op **op, sbxi_dial **d)
{
    *d = sbxi_dial_of(c, h, op);
    if (!*op)
        return SBX_ERR_HANDLE;
    if (!*d || c->net.inside || (*d)->is & (SBXI_DIAL_ENDED | SBXI_DIAL_OVER))
        return SBX_ERR_STATE;
    c->net.entropy_failed = false;
    return SBX_OK;
}

static void sbxi_dial_wants_room(sbxi_op *op)
{
    op->flags |= SBXI_OP_WANTS_ROOM;
    op->u.tunnel.session->wanting = true;
}

/* The tunnel goes on with what a call left. */
static void sbxi_dial_sent(sbx_client *c, sbxi_op *op)
{
    sbxi_op *of = sbxi_tunnel_op(c, op->u.tunnel.session);

    if (of->state == SBXI_OP_STREAM)
        sbxi_op_wake(c, of);
}

SBX_API sbx_code sbx_tunnel_send(sbx_client *c, sbx_op h, sbx_str data, bool end, size_t *taken)
{
    sbxi_op *op;
    sbxi_dial *d;
    sbx_code code = sbxi_dial_sends(c, h, &op, &d);
    sbxi_session *s;

    *taken = 0;
    if (code)
        return code;
    s = op->u.tunnel.session;
    while (*taken < data.n) {
        size_t n;
        char *p = sbxi_dial_room(c, s, d, &n);

        if (!n)
            break;
        n = SBXI_MIN(n, data.n - *taken);
        memcpy(p, data.p + *taken, n);
        sbxi_dial_frame(c, s, d, p, n);
        if (c->net.entropy_failed)
            return SBX_ERR_ENTROPY;
        *taken += n;
    }
    if (*taken < data.n) {
        sbxi_dial_wants_room(op);
    } else if (end) {
        d->is |= SBXI_DIAL_ENDED;
        sbxi_dial_todo(c, s, d, SBXI_SAY_FIN);
    }
    sbxi_dial_sent(c, op);
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_reserve(sbx_client *c, sbx_op h, sbx_buf *room)
{
    sbxi_op *op;
    sbxi_dial *d;
    sbx_code code = sbxi_dial_sends(c, h, &op, &d);

    memset(room, 0, sizeof *room);
    if (code)
        return code;
    room->p = sbxi_dial_room(c, op->u.tunnel.session, d, &room->n);
    if (!room->n) {
        sbxi_dial_wants_room(op);
        sbxi_dial_sent(c, op); /* which waits for a buffer, where that is what is wanting */
    }
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_commit(sbx_client *c, sbx_op h, size_t n)
{
    sbxi_op *op;
    sbxi_dial *d;
    sbx_code code = sbxi_dial_sends(c, h, &op, &d);
    size_t room;
    char *p;

    if (code)
        return code;
    p = sbxi_dial_room(c, op->u.tunnel.session, d, &room);
    if (n > room)
        return SBX_ERR_TOO_LARGE;
    if (n)
        sbxi_dial_frame(c, op->u.tunnel.session, d, p, n);
    else if (p)
        sbxi_link_flush(&c->net, sbxi_op_link(c, sbxi_tunnel_op(c, op->u.tunnel.session))); /* gives back a buffer that is empty */
    sbxi_dial_sent(c, op);
    return c->net.entropy_failed ? SBX_ERR_ENTROPY : SBX_OK;
}

SBX_API sbx_code sbx_tunnel_hold(sbx_client *c, sbx_op h, bool hold)
{
    sbxi_op *op;
    sbxi_dial *d = sbxi_dial_of(c, h, &op);

    if (!op)
        return SBX_ERR_HANDLE;
    if (c->net.inside)
        return SBX_ERR_STATE;
    if (d) {
        d->is = (uint8_t)(hold ? d->is | SBXI_DIAL_HELD : d->is & ~SBXI_DIAL_HELD);
        sbxi_dial_tell(c, d);
    }
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_unread(sbx_client *c, sbx_op h, size_t n)
{
    sbxi_op *op;
    sbxi_dial *d = sbxi_dial_of(c, h, &op);
    sbxi_session *s;

    if (!op)
        return SBX_ERR_HANDLE;
    s = d ? op->u.tunnel.session : NULL;
    if (!d || s->lent != op->u.tunnel.slot || n > s->lent_n)
        return SBX_ERR_STATE;
    s->lent_n -= (uint32_t)n;
    op->u.tunnel.total -= n;
    sbxi_dial_tell(c, d);
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_close(sbx_client *c, sbx_op tunnel)
{
    sbxi_op *op = sbxi_op_get(c, tunnel);
    sbxi_session *s;

    if (!op || op->row != &sbxi_tunnel_row)
        return SBX_ERR_HANDLE;
    if (c->net.inside)
        return SBX_ERR_STATE;
    s = op->u.tunnel.session;
    if (!s || s->closing)
        return SBX_OK;
    s->closing = true;
    if (!s->open && !s->ops)
        sbxi_op_finish(c, op);
    else
        sbxi_op_wake(c, op);
    return SBX_OK;
}
#endif
