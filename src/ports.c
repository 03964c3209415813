#include "client.h"

#if !SBX_NO_PORTS
/* The transport of a client without one: what the caller brings in is offered
   to recv for the length of a call, what send is given goes straight into the
   caller's buffer. */

typedef struct sbxi_port_ctx {
    unsigned char state[20]; /* of the generator; all zero = not seeded */
    uint64_t counter;
    int64_t wall_ms;
    bool seeded;
} sbxi_port_ctx;

typedef enum sbxi_port_state { SBXI_PORT_NONE, SBXI_PORT_ASKED, SBXI_PORT_TOLD, SBXI_PORT_OPEN, SBXI_PORT_FAILED, SBXI_PORT_EOF } sbxi_port_state;

typedef struct sbxi_port_conn {
    const char *in;
    size_t in_n;
    char *out;
    size_t out_n, out_room;
    uint16_t port;
    uint8_t state, code;
    bool tls;
} sbxi_port_conn;

static sbx_io sbxi_port_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    sbxi_port_conn *p = (sbxi_port_conn *)conn;

    (void)ctx;
    switch (p->state) {
    case SBXI_PORT_NONE:
        p->state = SBXI_PORT_ASKED;
        p->port = to->port;
        p->tls = to->tls;
        return SBX_IO_WANT_WRITE;
    case SBXI_PORT_OPEN: return SBX_IO_OK;
    case SBXI_PORT_FAILED: fault->code = (sbx_code)p->code; return SBX_IO_FAIL;
    default: return SBX_IO_WANT_WRITE;
    }
}

static sbx_io sbxi_port_recv_io(void *ctx, void *conn, void *to, size_t room, size_t *got, sbx_fault *fault)
{
    sbxi_port_conn *p = (sbxi_port_conn *)conn;

    (void)ctx;
    if (p->in_n) {
        *got = SBXI_MIN(room, p->in_n);
        memcpy(to, p->in, *got);
        p->in += *got;
        p->in_n -= *got;
        return SBX_IO_OK;
    }
    if (p->state == SBXI_PORT_EOF)
        return SBX_IO_EOF;
    if (p->state == SBXI_PORT_FAILED) {
        fault->code = (sbx_code)p->code;
        return SBX_IO_FAIL;
    }
    return SBX_IO_WANT_READ;
}

static sbx_io sbxi_port_send_io(void *ctx, void *conn, const void *from, size_t n, size_t *sent, sbx_fault *fault)
{
    sbxi_port_conn *p = (sbxi_port_conn *)conn;

    (void)ctx;
    if (p->state == SBXI_PORT_FAILED) {
        fault->code = (sbx_code)p->code;
        return SBX_IO_FAIL;
    }
    *sent = SBXI_MIN(n, p->out_room - p->out_n);
    if (!*sent)
        return SBX_IO_WANT_WRITE;
    memcpy(p->out + p->out_n, from, *sent);
    p->out_n += *sent;
    return SBX_IO_OK;
}

static void sbxi_port_close(void *ctx, void *conn)
{
    (void)ctx;
    (void)conn;
}

/* SHA-1 in counter mode over the caller's seed: good for masks, ids and
   nonces, none of which is a long-lived secret. */
static bool sbxi_port_entropy(void *ctx, void *to, size_t n)
{
    sbxi_port_ctx *x = (sbxi_port_ctx *)ctx;
    unsigned char block[29], digest[20], *out = (unsigned char *)to;

    if (!x->seeded)
        return false;
    while (n) {
        size_t take = SBXI_MIN(n, sizeof digest);

        memcpy(block, x->state, 20);
        memcpy(block + 20, &x->counter, 8);
        block[28] = 0;
        x->counter++;
        sbxi_sha1(digest, block, sizeof block);
        memcpy(out, digest, take);
        out += take;
        n -= take;
    }
    block[28] = 1; /* what was given out cannot be computed from what is kept */
    sbxi_sha1(x->state, block, sizeof block);
    return true;
}

static int64_t sbxi_port_mono(void *ctx)
{
    (void)ctx;
    return 0; /* time comes with sbx_step */
}

static int64_t sbxi_port_wall(void *ctx)
{
    return ((sbxi_port_ctx *)ctx)->wall_ms;
}

const sbx_transport sbx_ports = {
    "ports", (unsigned)SBX_TRANSPORT_TLS | (unsigned)SBX_TRANSPORT_PORTS, (uint32_t)sizeof(sbxi_port_ctx), 1, (uint32_t)sizeof(sbxi_port_conn), NULL,
    NULL, NULL, sbxi_port_connect, sbxi_port_recv_io, sbxi_port_send_io, sbxi_port_close,
    NULL, NULL, NULL, NULL, NULL, sbxi_port_entropy, sbxi_port_mono, sbxi_port_wall
};

/* ---- the caller's side ---- */

static sbxi_port_conn *sbxi_port_at(sbx_client *c, uint32_t id)
{
    if (c->net.t != &sbx_ports || id == 0 || id > c->net.link_count || c->net.inside)
        return NULL;
    return (sbxi_port_conn *)sbxi_link_conn(&c->net, &c->net.links[id - 1]);
}

SBX_API bool sbx_port_next(sbx_client *c, sbx_port *out)
{
    /* Connections that the caller has; one can be over, and its link taken
       again, between two calls. */
    unsigned char *told = (unsigned char *)c->net.ctx + sizeof(sbxi_port_ctx);

    memset(out, 0, sizeof *out);
    if (c->net.t != &sbx_ports)
        return false;
    for (uint32_t i = 0; i < c->net.link_count; i++) {
        const sbxi_link *l = &c->net.links[i];
        sbxi_port_conn *p = (sbxi_port_conn *)sbxi_link_conn(&c->net, l);
        sbxi_url url;

        out->id = i + 1;
        if (l->state == SBXI_LINK_FREE)
            p->state = SBXI_PORT_NONE;
        if (told[i] && p->state <= SBXI_PORT_ASKED) {
            told[i] = 0;
            out->action = SBX_PORT_CLOSE;
            return true;
        }
        if (l->state == SBXI_LINK_CONNECTING && p->state == SBXI_PORT_ASKED) {
            const sbxi_op *op = &c->ops[l->owner];

            sbxi_op_url(c, op, &url);
            p->state = SBXI_PORT_TOLD;
            told[i] = 1;
            out->action = SBX_PORT_CONNECT;
            out->host = url.host;
            out->port = url.port;
            out->tls = url.tls;
            return true;
        }
    }
    return false;
}

static sbx_code sbxi_port_change(sbx_client *c, uint32_t id, sbxi_port_state state, sbx_code code)
{
    sbxi_port_conn *p = sbxi_port_at(c, id);
    sbxi_link *l = p ? &c->net.links[id - 1] : NULL;

    if (!l || l->state == SBXI_LINK_FREE)
        return SBX_ERR_HANDLE;
    p->state = (uint8_t)state;
    p->code = (uint8_t)code;
    l->ready = SBX_READABLE | SBX_WRITABLE;
    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING)
        sbxi_link_idle_ready(&c->net, l);
    else
        sbxi_op_wake(c, &c->ops[l->owner]);
    return SBX_OK;
}

SBX_API sbx_code sbx_port_opened(sbx_client *c, uint32_t id)
{
    return sbxi_port_change(c, id, SBXI_PORT_OPEN, SBX_OK);
}

SBX_API sbx_code sbx_port_failed(sbx_client *c, uint32_t id, sbx_code code)
{
    return sbxi_port_change(c, id, SBXI_PORT_FAILED, code ? code : SBX_ERR_CONNECTION);
}

SBX_API sbx_code sbx_port_eof(sbx_client *c, uint32_t id)
{
    return sbxi_port_change(c, id, SBXI_PORT_EOF, SBX_OK);
}

/* Lets the connection's owner run with what the caller gave. */
static void sbxi_port_run(sbx_client *c, uint32_t id, unsigned bits)
{
    sbxi_link *l = &c->net.links[id - 1];
    bool starved;
    sbxi_op *op;

    l->ready |= (uint8_t)bits;
    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING) {
        sbxi_link_idle_ready(&c->net, l);
        return;
    }
    op = &c->ops[l->owner];
    if (op->state == SBXI_OP_DONE)
        return;
    c->net.inside = true;
    c->net.run_left = SIZE_MAX; /* what the caller gives has an end */
    /* A pull found no buffer for what can be read: one finds no more for having
       something sent. */
    starved = op->list == SBXI_LIST_STARVED && !(bits & SBX_READABLE);
    sbxi_op_list(c, op, SBXI_LIST_NONE);
    switch (sbxi_op_run(c, op, NULL)) {
    case SBXI_RUN_STARVED: sbxi_op_list(c, op, SBXI_LIST_STARVED); break;
    case SBXI_RUN_IDLE: break;
    default:
        if (op->state != SBXI_OP_FREE)
            sbxi_op_list(c, op, starved && !op->notes && op->state != SBXI_OP_DONE ? SBXI_LIST_STARVED : SBXI_LIST_EVENT);
    }
    c->net.inside = false;
}

/* Whether something in the link's receive buffer is pointed to, so that it may
   not move. */
static bool sbxi_port_pinned(const sbx_client *c, uint32_t owner)
{
    const sbxi_op *op = &c->ops[owner];

    return op->piece_n || c->borrowed == owner || (op->state == SBXI_OP_STREAM && op->s.has_data);
}

/* Output that has to be pulled is read only then: a part of the bytes is taken
   into the link's buffer now, as far as it has room. */
SBX_API size_t sbx_port_recv(sbx_client *c, uint32_t id, const void *data, size_t n)
{
    sbxi_port_conn *p = sbxi_port_at(c, id);
    size_t taken;

    if (!p || p->state != SBXI_PORT_OPEN || c->net.links[id - 1].state == SBXI_LINK_FREE || !n)
        return 0;
    p->in = (const char *)data;
    p->in_n = n;
    sbxi_port_run(c, id, SBX_READABLE);
    if (p->in_n && c->net.links[id - 1].state == SBXI_LINK_BUSY && !sbxi_port_pinned(c, c->net.links[id - 1].owner))
        sbxi_link_take_ahead(&c->net, &c->net.links[id - 1]);
    taken = n - p->in_n;
    p->in = NULL;
    p->in_n = 0;
    return taken;
}

SBX_API size_t sbx_port_send(sbx_client *c, uint32_t id, void *to, size_t room)
{
    sbxi_port_conn *p = sbxi_port_at(c, id);
    size_t n;

    if (!p || p->state != SBXI_PORT_OPEN || c->net.links[id - 1].state == SBXI_LINK_FREE || !room)
        return 0;
    p->out = (char *)to;
    p->out_room = room;
    p->out_n = 0;
    sbxi_port_run(c, id, SBX_WRITABLE);
    n = p->out_n;
    p->out = NULL;
    p->out_room = p->out_n = 0;
    return n;
}

SBX_API sbx_code sbx_port_seed(sbx_client *c, const void *seed, size_t n, int64_t wall_ms)
{
    sbxi_port_ctx *x = (sbxi_port_ctx *)c->net.ctx;
    unsigned char block[20 + 64];
    size_t take = SBXI_MIN(n, 64);

    if (c->net.t != &sbx_ports)
        return SBX_ERR_STATE;
    if (n < 32)
        return SBX_ERR_ARGUMENT;
    memcpy(block, x->state, 20);
    memcpy(block + 20, seed, take);
    sbxi_sha1(x->state, block, 20 + take);
    memset(block, 0, sizeof block);
    x->seeded = true;
    c->net.entropy_failed = false;
    x->wall_ms = wall_ms;
    sbxi_port_entropy(x, c->net.seed, sizeof c->net.seed);
    return SBX_OK;
}
#endif
