#include "client.h"

/* How many events of one operation are handed out before the others, and the
   clock, are looked after. */
#define SBXI_TURN_EVENTS 32

static bool sbxi_refused_event(sbx_op *h, sbx_event *ev)
{
    if (h->slot || h->gen == SBX_OK)
        return false;
    memset(ev, 0, sizeof *ev);
    ev->kind = SBX_EV_END;
    ev->op = *h;
    ev->code = (sbx_code)h->gen;
    h->gen = SBX_OK; /* the next call ends the loop */
    return true;
}

/* The operation that moves its bytes. (A tunnel's connection is told by what no
   other operation has: its row's address would link tunnels into every
   program.) */
static uint32_t sbxi_carrier(const sbx_client *c, const sbxi_op *op)
{
    bool dial = !SBX_NO_TUNNEL && op->row->answer == SBXI_ANSWER_STREAM && !op->row->method[0] && op->state == SBXI_OP_STREAM;

    return dial ? op->u.tunnel.carrier : sbxi_op_id(c, op);
}

/* How long to sleep while only one operation's events are of interest. */
static int64_t sbxi_sleep_ms(const sbx_client *c, const sbxi_op *op)
{
    int64_t at = SBXI_MIN(sbxi_net_sweep_at(&c->net), sbxi_timer_first(&c->timers));

    /* What it waits for may have been given back behind it in the last turn. */
    if (c->lists[SBXI_LIST_RUN].head != SBXI_NIL || (op->list == SBXI_LIST_STARVED && c->net.rx.used < c->net.rx.count && c->net.tx.used + 1 < c->net.tx.count))
        return 0;
    if (at == SBXI_NEVER)
        return -1;
    return at <= c->net.now ? 0 : at - c->net.now;
}

SBX_API bool sbx_next_of(sbx_client *c, sbx_op *h, sbx_event *ev)
{
    if (c->net.inside)
        return false;
    if (!h->slot)
        return sbxi_refused_event(h, ev);
    for (bool first = true;; first = false) {
        sbxi_op *op = sbxi_op_get(c, *h);
        bool got;

        if (!op || op->flags & SBXI_OP_INTERNAL)
            return false;
        c->blocked = h->slot - 1;
        c->net.awaited = sbxi_carrier(c, op);
        got = c->turn_events < SBXI_TURN_EVENTS && sbxi_client_pull(c, op, ev);
        c->turn_events = got ? c->turn_events + 1 : 0;
        if (!got && c->net.t->wait) {
            sbxi_client_clock(c);
            /* Everything that moves without waiting moves first. */
            sbxi_client_turn(c, first || op->list == SBXI_LIST_EVENT ? 0 : sbxi_sleep_ms(c, &c->ops[c->net.awaited]));
        }
        c->blocked = c->net.awaited = SBXI_NIL;
        if (got || !c->net.t->wait)
            return got;
    }
}

SBX_API sbx_code sbx_await(sbx_client *c, sbx_op h)
{
    sbx_event ev;
    sbx_code code = h.slot || !h.gen ? SBX_ERR_HANDLE : (sbx_code)h.gen; /* { 0, 0 } was no call's */

    if (h.slot && (c->net.inside || !c->net.t->wait))
        return c->net.inside ? SBX_ERR_STATE : SBX_ERR_UNSUPPORTED;
    while (h.slot && sbx_next_of(c, &h, &ev))
        if (ev.kind == SBX_EV_END)
            return ev.code;
    return code;
}

SBX_API bool sbx_wait(sbx_client *c, int64_t timeout_ms)
{
    int64_t at = sbx_next_deadline(c), left;

    if (c->net.inside || !c->net.t->wait)
        return false;
    sbxi_client_clock(c);
    if (at != SBXI_NEVER) {
        left = at <= c->net.now ? 0 : at - c->net.now;
        timeout_ms = timeout_ms < 0 ? left : SBXI_MIN(timeout_ms, left);
    }
    sbxi_client_turn(c, timeout_ms);
    return true;
}
