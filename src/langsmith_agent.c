#include "langsmith_stream.h"

/* The SSH agent's channels of a command's WebSocket. Nothing is kept of them:
   what came names its channel, and so does what goes out. */

#if !SBX_NO_SSH_AGENT

static uint8_t sbxi_agent_type(const char *p, size_t n)
{
    return sbxi_eq(sbx_sn(p, n), sbx_s("ssh_agent_data")) ? SBXI_T_AGENT_DATA : sbxi_eq(sbx_sn(p, n), sbx_s("ssh_agent_close")) ? SBXI_T_AGENT_CLOSE : 0;
}

static void sbxi_agent_channel(sbxi_agent *a, const sbx_json_tok *t)
{
    if (a->channel_n + t->n > SBXI_CHANNEL_MAX) {
        a->channel_n = SBXI_CHANNEL_MAX + 1; /* too long */
        return;
    }
    memcpy(a->channel + a->channel_n, t->p, t->n);
    a->channel_n = (uint8_t)(a->channel_n + t->n);
}

/* A piece of `data`, in place. False: it ends the operation. */
static bool sbxi_agent_decode(sbx_client *c, sbxi_op *op, char *p, size_t *n, bool last)
{
    sbxi_agent *a = sbxi_agent_of(op);

    *n = sbxi_base64_decode(&a->base64, p, *n);
    if (a->base64 != SBXI_BASE64_BAD && (!last || !a->base64 || a->base64 == SBXI_BASE64_PADDED))
        return true;
    sbxi_stream_protocol_error(c, op, SBXI_T("the data of an SSH agent's channel is not base64"));
    return false;
}

/* Whether the message says which channel it is about. */
static bool sbxi_agent_named(sbx_client *c, sbxi_op *op)
{
    const sbxi_agent *a = sbxi_agent_of(op);

    if (a->channel_n <= SBXI_CHANNEL_MAX)
        return a->channel_n != 0;
    sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_WS, SBXI_T("the id of an SSH agent's channel is longer than 63 bytes"));
    return false;
}

static bool sbxi_agent_piece(sbx_client *c, sbxi_op *op, char *p, size_t *n, bool last)
{
    if (!sbxi_agent_of(op)->channel_n) {
        sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_WS, SBXI_T("an SSH agent's message in fragments, or larger than rx_bytes, does not begin with its channel: raise rx_bytes"));
        return false;
    }
    return sbxi_agent_named(c, op) && sbxi_agent_decode(c, op, p, n, last);
}

static void sbxi_agent_end(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    bool closes = op->s.type == SBXI_T_AGENT_CLOSE;
    size_t n = k->held.out.data_n;

    if (op->s.phase == SBXI_PHASE_STARTING)
        sbxi_stream_started(c, op);
    if (!op->s.whole && !closes)
        return; /* it was delivered as it came */
    if (!sbxi_agent_named(c, op)) {
        op->s.has_data = false;
        return;
    }
    if (closes) {
        op->s.has_data = true;
        k->held.out.data = sbxi_agent_of(op)->channel; /* any address */
        k->held.out.data_n = 0;
    } else if (op->s.has_data) {
        op->s.has_data = sbxi_agent_decode(c, op, k->held.out.data, &n, true);
        k->held.out.data_n = (uint32_t)n;
    }
}

static sbxi_run sbxi_agent_deliver(sbx_client *c, sbxi_op *op, sbx_event *ev, const char *p, uint32_t n)
{
    const sbxi_agent *a = sbxi_agent_of(op);
    bool closes = op->s.type == SBXI_T_AGENT_CLOSE;

    op->s.drops = 0;
    op->s.hasty = false;
    if (!n && !closes)
        return SBXI_RUN_IDLE;
    sbxi_event_init(c, op, ev, closes ? SBX_EV_AGENT_CLOSE : SBX_EV_AGENT_DATA);
    ev->channel = sbx_sn(a->channel, a->channel_n);
    ev->data = sbx_sn(p, n);
    return SBXI_RUN_EVENT;
}

const sbxi_agent_calls sbxi_agent_all = { sbxi_agent_type, sbxi_agent_channel, sbxi_agent_piece, sbxi_agent_end, sbxi_agent_deliver };

/* ---- calls ---- */

static sbxi_op *sbxi_agent_command(sbx_client *c, sbx_op h, sbx_str channel, sbx_code *code)
{
    sbxi_op *op = sbxi_op_get(c, h);

    *code = SBX_ERR_HANDLE;
    if (!op || op->row != &sbxi_command_row)
        return NULL;
    *code = !channel.n || channel.n > SBXI_CHANNEL_MAX ? SBX_ERR_ARGUMENT : SBX_ERR_STATE;
    if (*code == SBX_ERR_ARGUMENT || op->state == SBXI_OP_DONE || c->net.inside || !sbxi_agent_of(op))
        return NULL;
    *code = SBX_OK;
    return op;
}

/* Begins a message up to its channel, of which `room` bytes have place beside
   what the caller puts behind it. NULL: none now, or *code says what is wrong. */
static char *sbxi_agent_compose(sbx_client *c, sbxi_op *op, const char *type, sbx_str channel, char **start, size_t *room, sbx_code *code)
{
    static const char before[] = "{\"type\":\"ssh_agent_", between[] = "\",\"channel_id\":\"";
    const size_t before_n = sizeof before - 1, between_n = sizeof between - 1, type_n = strlen(type);
    size_t used = 0, n = 0;
    bool bad = false;
    sbxi_got got;
    char *p;

    if (op->state != SBXI_OP_STREAM || op->s.phase != SBXI_PHASE_RUNNING)
        return NULL;
    p = sbxi_ws_compose(&c->net, sbxi_op_link(c, op), room, &got);
    /* Room for a pong stays, as in sbx_input. */
    if (!p || *room < SBXI_CHANNEL_MAX * 6 + 128 + SBXI_WS_CONTROL_MAX)
        return NULL;
    *start = p;
    memcpy(p, before, before_n);
    p += before_n;
    memcpy(p, type, type_n);
    p += type_n;
    memcpy(p, between, between_n);
    p += between_n;
    n = sbx_json_escape(p, SBXI_CHANNEL_MAX * 6, channel.p, channel.n, &used, &bad);
    p += n;
    *room -= (size_t)(p - *start) + SBXI_WS_CONTROL_MAX;
    if (used == channel.n)
        return p;
    *code = SBX_ERR_ARGUMENT;
    return NULL;
}

static sbx_code sbxi_agent_composed(sbx_client *c, sbxi_op *op, const char *start, const char *end)
{
    sbxi_ws_composed(&c->net, sbxi_op_link(c, op), SBX_WS_OP_TEXT, (size_t)(end - start));
    return c->net.entropy_failed ? SBX_ERR_ENTROPY : SBX_OK;
}

SBX_API sbx_code sbx_agent_send(sbx_client *c, sbx_op h, sbx_str channel, sbx_str data, size_t *taken)
{
    static const char between[] = "\",\"data\":\"", after[] = "\"}";
    const size_t between_n = sizeof between - 1, after_n = sizeof after - 1;
    sbx_code code;
    sbxi_op *op = sbxi_agent_command(c, h, channel, &code);

    *taken = 0;
    while (op && code == SBX_OK && *taken < data.n) {
        size_t room, n;
        char *start, *p = sbxi_agent_compose(c, op, "data", channel, &start, &room, &code);

        if (!p)
            break;
        n = SBXI_MIN(data.n - *taken, (room - between_n - after_n) / 4 * 3);
        memcpy(p, between, between_n);
        p += between_n;
        p += sbxi_base64(p, (const unsigned char *)data.p + *taken, n);
        memcpy(p, after, after_n);
        code = sbxi_agent_composed(c, op, start, p + after_n);
        *taken += code == SBX_OK ? n : 0;
        if (sbxi_link_flush(&c->net, sbxi_op_link(c, op)) != SBXI_GOT_EVENT)
            break;
    }
    if (op && code == SBX_OK && *taken < data.n)
        op->flags |= SBXI_OP_WANTS_ROOM;
    if (op)
        sbxi_op_wake(c, op);
    return code;
}

SBX_API sbx_code sbx_agent_close(sbx_client *c, sbx_op h, sbx_str channel)
{
    sbx_code code;
    sbxi_op *op = sbxi_agent_command(c, h, channel, &code);
    size_t room;
    char *start, *p;

    if (!op)
        return code;
    p = sbxi_agent_compose(c, op, "close", channel, &start, &room, &code);
    if (p) {
        memcpy(p, "\"}", 2);
        code = sbxi_agent_composed(c, op, start, p + 2);
    } else if (code == SBX_OK) {
        op->flags |= SBXI_OP_WANTS_ROOM;
        code = SBX_ERR_FULL;
    }
    sbxi_op_wake(c, op);
    return code;
}

#endif
