#include "client.h"

/* ---- turns ---- */

SBXI_FN void sbxi_client_clock(sbx_client *c)
{
    int64_t now = c->net.t->mono_ms(c->net.ctx);

    if (now > c->net.now)
        c->net.now = now;
}

static void sbxi_link_is_ready(sbx_client *c, uint32_t id, unsigned bits)
{
    sbxi_link *l = &c->net.links[id];

    if (l->state == SBXI_LINK_FREE)
        return;
    sbxi_link_mark(&c->net, l, bits);
    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING)
        sbxi_link_idle_ready(&c->net, l);
    else
        sbxi_op_wake(c, &c->ops[l->owner]);
}

/* Tried without a word of the transport's. What the caller left unread since
   the last turn is held back by it; before that, nothing is known. */
static void sbxi_link_guess(sbx_client *c, uint32_t id)
{
    sbxi_link *l = &c->net.links[id];

    if (l->ready & SBX_READABLE)
        l->ready &= (uint8_t)~SBXI_GUESSED;
    else
        l->ready |= SBXI_GUESSED;
    sbxi_link_is_ready(c, id, SBX_READABLE | SBX_WRITABLE);
}

/* Asks the transport what is ready; one that cannot say is tried everywhere. */
static void sbxi_client_poll(sbx_client *c, int64_t timeout_ms)
{
    sbx_ready ready[SBX_SMALL ? 4 : 16];
    int n;

    if (!c->net.t->wait) {
        if (!SBXI_IS_PORTS(c->net.t))
            for (uint32_t i = 0; i < c->net.link_count; i++)
                sbxi_link_guess(c, i);
        return;
    }
    for (uint32_t total = 0; total <= c->net.link_count; total += SBXI_COUNT(ready)) {
        n = c->net.t->wait(c->net.ctx, timeout_ms, ready, (int)SBXI_COUNT(ready));
        for (int i = 0; i < n; i++)
            if (ready[i].tag < c->net.link_count)
                sbxi_link_is_ready(c, ready[i].tag, ready[i].bits);
        if (n < (int)SBXI_COUNT(ready))
            return;
        timeout_ms = 0;
    }
}

/* Puts an operation where its last run says it belongs. */
static void sbxi_client_sort(sbx_client *c, sbxi_op *op, sbxi_run r)
{
    if (op->list != SBXI_LIST_NONE || op->state == SBXI_OP_FREE)
        return;
    if (r == SBXI_RUN_HELD || r == SBXI_RUN_EVENT)
        sbxi_op_list(c, op, SBXI_LIST_EVENT);
    else if (r == SBXI_RUN_STARVED)
        sbxi_op_list(c, op, SBXI_LIST_STARVED);
    else if (!c->net.run_left)
        sbxi_op_list(c, op, SBXI_LIST_RUN);
}

/* A buffer of which nothing is left to read is not kept for what may come. */
static void sbxi_client_tidy(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = op->state == SBXI_OP_FREE ? NULL : sbxi_op_link(c, op);

    if (l && !op->piece_n && c->borrowed != sbxi_op_id(c, op) && !(op->state == SBXI_OP_STREAM && op->s.has_data))
        sbxi_link_consumed(&c->net, l);
}

/* One operation's share of a turn. */
#define SBXI_RUN_BYTES 262144u

static void sbxi_client_run(sbx_client *c)
{
    /* A bound for one turn: whatever is left has its next one at once. */
    uint32_t budget = sbxi_mul(4, c->desc.max_ops) > UINT32_MAX - 16 ? UINT32_MAX : 4 * c->desc.max_ops + 16;

    uint32_t spent = SBXI_NIL, id;

    while ((id = c->lists[SBXI_LIST_RUN].head) != SBXI_NIL && id != spent && budget--) {
        sbxi_op *op = &c->ops[id];

        sbxi_op_list(c, op, SBXI_LIST_NONE);
        c->net.run_left = SBXI_RUN_BYTES;
        sbxi_client_sort(c, op, sbxi_op_run(c, op, NULL));
        sbxi_client_tidy(c, op);
        if (spent == SBXI_NIL && !c->net.run_left && op->list == SBXI_LIST_RUN)
            spent = id;
    }
}

static void sbxi_client_unstarve(sbx_client *c)
{
    uint32_t last = c->lists[SBXI_LIST_STARVED].tail, id;

    while ((id = c->lists[SBXI_LIST_STARVED].head) != SBXI_NIL) {
        sbxi_op_list(c, &c->ops[id], SBXI_LIST_RUN);
        if (id == last)
            break;
    }
}

/* The data of the last event is not looked at any more. */
static void sbxi_client_return(sbx_client *c)
{
    sbxi_op *op;
    sbxi_link *l;

    if (c->borrowed == SBXI_NIL)
        return;
    op = &c->ops[c->borrowed];
    c->borrowed = SBXI_NIL;
    l = sbxi_op_link(c, op);
    if (l && !op->piece_n)
        sbxi_link_consumed(&c->net, l);
    sbxi_client_unstarve(c);
}

static void sbxi_client_timers(sbx_client *c)
{
    uint32_t budget = c->desc.max_ops;

    while (sbxi_timer_first(&c->timers) <= c->net.now && budget--)
        sbxi_op_timer(c, &c->ops[c->timers.id[0]]);
    if (sbxi_net_sweep_at(&c->net) <= c->net.now)
        sbxi_net_sweep(&c->net);
}

SBXI_FN void sbxi_client_turn(sbx_client *c, int64_t timeout_ms)
{
    c->net.inside = true;
    sbxi_client_return(c);
    sbxi_client_unstarve(c);
    sbxi_client_poll(c, timeout_ms);
    if (timeout_ms)
        sbxi_client_clock(c);
    sbxi_client_run(c);
    sbxi_client_timers(c);
    sbxi_client_run(c);
    c->net.inside = false;
    sbxi_owned_run(c);
}

SBX_API void sbx_step(sbx_client *c, int64_t now_ms)
{
    if (c->net.inside)
        return;
    if (now_ms > c->net.now)
        c->net.now = now_ms;
    sbxi_client_turn(c, 0);
}

/* ---- events ---- */

static bool sbxi_client_event(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_run r;

    sbxi_op_list(c, op, SBXI_LIST_NONE);
    c->net.run_left = SBXI_RUN_BYTES;
    r = sbxi_op_run(c, op, ev);
    sbxi_client_sort(c, op, r);
    if (r == SBXI_RUN_EVENT && op->state != SBXI_OP_FREE && (ev->data.p || ev->item))
        c->borrowed = sbxi_op_id(c, op);
    sbxi_client_tidy(c, op);
    return r == SBXI_RUN_EVENT;
}

SBXI_FN bool sbxi_client_pull(sbx_client *c, sbxi_op *only, sbx_event *ev)
{
    uint32_t last = c->lists[SBXI_LIST_EVENT].tail, id;
    bool got = false;

    if (c->net.inside)
        return false;
    c->net.inside = true;
    sbxi_client_return(c);
    if (only) {
        got = only->list == SBXI_LIST_EVENT && sbxi_client_event(c, only, ev);
    } else {
        /* Each operation that waits now is asked once. */
        while (!got && (id = c->lists[SBXI_LIST_EVENT].head) != SBXI_NIL) {
            got = sbxi_client_event(c, &c->ops[id], ev);
            if (id == last)
                break;
        }
    }
    c->net.inside = false;
    return got;
}

SBX_API bool sbx_next(sbx_client *c, sbx_event *ev)
{
    if (c->net.inside)
        return false;
    if (c->lists[SBXI_LIST_RUN].head != SBXI_NIL) {
        c->net.inside = true;
        sbxi_client_return(c);
        sbxi_client_run(c);
        c->net.inside = false;
    }
    sbxi_owned_run(c); /* a deletion of the shutdown may have ended since the last step */
    return sbxi_client_pull(c, NULL, ev);
}

SBX_API int64_t sbx_next_deadline(const sbx_client *c)
{
    int64_t at;

    if (c->lists[SBXI_LIST_RUN].head != SBXI_NIL || c->lists[SBXI_LIST_EVENT].head != SBXI_NIL)
        return c->net.now;
    if (c->lists[SBXI_LIST_STARVED].head != SBXI_NIL && c->net.rx.used + 1 < c->net.rx.count && c->net.tx.used + 1 < c->net.tx.count)
        return c->net.now;
    at = sbxi_net_sweep_at(&c->net);
    return SBXI_MIN(at, sbxi_timer_first(&c->timers));
}

SBX_API void sbx_wake(sbx_client *c)
{
    if (c->net.t->wake)
        c->net.t->wake(c->net.ctx);
}

SBX_API intptr_t sbx_poll_handle(const sbx_client *c)
{
    return c->net.t->poll_handle ? c->net.t->poll_handle(c->net.ctx) : -1;
}

/* ---- ending ---- */

SBX_API sbx_code sbx_cancel(sbx_client *c, sbx_op h)
{
    sbxi_op *op = sbxi_op_get(c, h);

    if (!op)
        return SBX_ERR_HANDLE;
    if (c->net.inside)
        return SBX_ERR_STATE;
    if (op->state == SBXI_OP_DONE)
        return SBX_OK;
    if (c->borrowed == h.slot - 1)
        c->borrowed = SBXI_NIL;
    op->notes = 0;
    op->fail.has_text = false;
    sbxi_op_fail(c, op, SBX_ERR_CANCELLED, SBX_LAYER_LOCAL, NULL);
    return SBX_OK;
}

SBX_API void sbx_error_of(const sbx_client *c, sbx_op op, sbx_error *out)
{
    if (op.slot == 0 && op.gen != SBX_OK && c->refused.code == (sbx_code)op.gen) {
        *out = c->refused;
    } else if (op.slot == 0) {
        memset(out, 0, sizeof *out);
        out->code = (sbx_code)op.gen;
        out->retry_after_ms = -1;
    } else if (op.slot == c->last_op.slot && op.gen == c->last_op.gen) {
        *out = c->last;
    } else {
        memset(out, 0, sizeof *out);
        out->retry_after_ms = -1;
    }
}

SBX_API void sbx_free(sbx_client *c, void *p)
{
    if (p && c->desc.resize)
        c->desc.resize(c->desc.resize_user, p, 0);
}

/* ---- shutting down ---- */

static void sbxi_end_all(sbx_client *c, sbx_code code)
{
    for (uint32_t i = 0; i < c->desc.max_ops; i++) {
        sbxi_op *op = &c->ops[i];

        if (op->state != SBXI_OP_FREE && op->state != SBXI_OP_DONE && i != c->shutdown && !(op->flags & SBXI_OP_INTERNAL)) {
            op->notes = 0;
            op->fail.has_text = false;
            sbxi_op_fail(c, op, code, SBX_LAYER_LOCAL, NULL);
        }
    }
}

/* A shutdown, and its deletions one after the other, need one block. ENDs that
   nobody pulled may hold all of them, for no more than the server's words. */
static void sbxi_spare_block(sbx_client *c)
{
    for (uint32_t i = 0; c->blocks.free_head == SBXI_NIL && i < c->desc.max_ops; i++)
        if (c->ops[i].state == SBXI_OP_DONE)
            sbxi_op_drop_block(c, &c->ops[i]);
}

static const sbxi_row sbxi_shutdown_row = { "shutdown", "", "", "", SBXI_BASE_CONTROL, SBXI_RETRY_SAFE, SBXI_ANSWER_NONE, SBX_RESOURCE_NONE, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL };

SBX_API sbx_op sbx_shutdown(sbx_client *c, int32_t ms)
{
    sbx_call call;
    sbx_op h;
    sbxi_op *op;

    memset(&call, 0, sizeof call);
    if (!c->closing && !c->net.inside) {
        /* Its slot is one of those that end now. */
        sbxi_end_all(c, SBX_ERR_CLOSED);
        sbxi_spare_block(c);
    }
    op = sbxi_op_new(c, &sbxi_shutdown_row, &call, SBXI_AS_ROW, &h);
    if (!op)
        return h;
    sbxi_op_drop_block(c, op);
    op->state = SBXI_OP_PAUSE;
    sbxi_client_clock(c);
    op->total_at = sbxi_after(c->net.now, ms);
    c->shutdown = sbxi_op_id(c, op);
    c->closing = true;
    sbxi_op_arm(c, op);
    sbxi_owned_run(c);
    return sbxi_op_handle(c, op);
}

#if !SBX_NO_OWNED
/* Nobody pulls what ended any more, and its slots are needed to delete. */
static SBXI_NOINLINE void sbxi_drop_events(sbx_client *c)
{
    sbx_event ev;

    sbxi_end_all(c, SBX_ERR_CLOSED);
    while (sbxi_client_pull(c, NULL, &ev)) {
    }
}

static SBXI_NOINLINE void sbxi_close_owned(sbx_client *c)
{
    sbxi_drop_events(c);
    sbx_await(c, sbx_shutdown(c, c->desc.close_ms));
}

static void sbxi_delete_owned(sbx_client *c)
{
    bool owns = false;

    for (uint32_t i = 0; i < c->desc.max_owned; i++)
        owns |= c->owned[i].state != 0;
    if (owns && c->net.t->wait && !c->closing)
        sbxi_close_owned(c);
}
#endif

/* Keys lie in the client, in requests and in send buffers. */
static void sbxi_wipe(sbx_client *c)
{
    char *end = (char *)c->mem + c->memory;

    for (volatile char *p = (volatile char *)c; p < end; p++)
        *p = 0;
}

SBX_API void sbx_close(sbx_client *c)
{
    bool from_malloc;
    void *mem;

    if (!c || c->net.inside)
        return;
#if !SBX_NO_OWNED
    sbxi_delete_owned(c);
#endif
    for (uint32_t i = 0; i < c->desc.max_ops; i++)
        if (c->ops[i].flags & SBXI_OP_HOLDS && c->ops[i].state != SBXI_OP_FREE && c->ops[i].state != SBXI_OP_DONE)
            sbxi_op_fail(c, &c->ops[i], SBX_ERR_CLOSED, SBX_LAYER_LOCAL, NULL);
    for (uint32_t i = 0; i < c->net.link_count; i++)
        if (c->net.links[i].state != SBXI_LINK_FREE)
            sbxi_link_close(&c->net, &c->net.links[i], SBX_ERR_CLOSED);
    if (c->net.t->shut)
        c->net.t->shut(c->net.ctx);
    from_malloc = c->from_malloc;
    mem = c->mem;
    sbxi_wipe(c);
    if (from_malloc)
        sbxi_heap_free(mem);
}
