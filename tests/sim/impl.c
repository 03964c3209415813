/* The library, once for all programs of this suite, and a look into it. */
#define SANDBOX_IMPLEMENTATION
#include "peer.h"

#include <stdio.h>

/* Buffers, blocks, timers and links that an idle client must not hold. */
const char *sim_client_busy(sbx_client *c)
{
    static char why[160];

    if (c->ops_used || c->blocks.used || c->net.rx.used || c->net.tx.used || c->timers.count || c->net.connecting) {
        snprintf(why, sizeof why, "ops %u blocks %u rx %u tx %u timers %u connecting %u", c->ops_used, c->blocks.used, c->net.rx.used,
                 c->net.tx.used, c->timers.count, c->net.connecting);
        return why;
    }
    for (uint32_t i = 0; i < c->net.link_count; i++) {
        unsigned state = c->net.links[i].state;

        if (state != SBXI_LINK_FREE && state != SBXI_LINK_IDLE && state != SBXI_LINK_CLOSING) {
            snprintf(why, sizeof why, "link %u in state %u", i, state);
            return why;
        }
    }
    for (unsigned i = 1; i < SBXI_LIST_COUNT; i++)
        if (c->lists[i].head != SBXI_NIL)
            return "an operation in a list";
    return NULL;
}

static bool sim_timer_set(const sbx_client *c, uint32_t id)
{
    return c->timers.pos[id] != SBXI_NIL;
}

/* A tunnel may wait for a dial, or for a connection to be pulled. One that has
   ended, without a session, waits for neither. */
static bool sim_tunnel_waits(const sbx_client *c, const sbxi_op *op)
{
    const sbxi_session *s = op->u.tunnel.session;
    const sbxi_dial *d = s && s->data_n && s->target != SBXI_NIL ? &s->dials[s->target] : NULL;

    return (s && sbxi_tunnel_resting(op)) || (d && d->n && (c->ops[d->op].list == SBXI_LIST_EVENT || d->is & SBXI_DIAL_HELD));
}

/* Asked when the client is about to sleep. */
const char *sim_client_stall(sbx_client *c)
{
    static char why[200];
    uint32_t rx = 0, tx = 0, links = 0;

    for (uint32_t i = 0; i < c->net.link_count; i++) {
        const sbxi_link *l = &c->net.links[i];

        rx += l->rx != NULL;
        tx += l->tx != NULL;
        links += l->state != SBXI_LINK_FREE;
        if (l->rx_at > l->rx_end || l->rx_end > c->net.rx.size || l->tx_at > l->tx_end || l->tx_end > c->net.tx.size)
            return "a link's buffer positions are wrong";
    }
    if (rx != c->net.rx.used || tx != c->net.tx.used || links != c->net.links_used)
        return "buffers or links are counted wrongly";
    for (uint32_t i = 0; i < c->desc.max_ops; i++) {
        const sbxi_op *op = &c->ops[i];
        const sbxi_link *l = op->link == SBXI_NIL ? NULL : &c->net.links[op->link];
        bool waits_io = l && l->state != SBXI_LINK_FREE && (l->ready & (SBX_READABLE | SBX_WRITABLE)) != (SBX_READABLE | SBX_WRITABLE);
        bool starved = op->list == SBXI_LIST_STARVED && (c->net.rx.used + 1 >= c->net.rx.count || c->net.tx.used + 1 >= c->net.tx.count);

        if (op->state == SBXI_OP_FREE)
            continue;
        if (op->row == &sbxi_dial_row || (op->row == &sbxi_tunnel_row && sim_tunnel_waits(c, op)))
            continue;
        if (l && l->owner != i) {
            snprintf(why, sizeof why, "operation %u has a link of operation %u", i, l->owner);
            return why;
        }
        if (op->list == SBXI_LIST_RUN || op->list == SBXI_LIST_EVENT || op->list == SBXI_LIST_LINK || starved || waits_io || op->state == SBXI_OP_REWIND)
            continue;
        if (op->row->answer != SBXI_ANSWER_STREAM && op->u.http.pushed && op->state == SBXI_OP_SEND && !(op->flags & SBXI_OP_PUSH_END))
            continue; /* the caller pushes */
        if (c->shutdown == i || (sim_timer_set(c, i) && op->state == SBXI_OP_PAUSE))
            continue;
        snprintf(why, sizeof why, "operation %u (%s) stalls: state %u list %u ready %u rx %u/%u tx %u/%u timer %d", i, op->row->operation, op->state, op->list,
                 l ? l->ready : 0u, c->net.rx.used, c->net.rx.count, c->net.tx.used, c->net.tx.count, (int)sim_timer_set(c, i));
        return why;
    }
    return NULL;
}

/* Characters of the longest way to an option inside a struct of this table; an
   array's index has as many as request_bytes allows. */
static size_t sim_longest_in(const sbxi_schema *s)
{
    size_t longest = 0;

    for (unsigned i = 0; i < s->count; i++) {
        const sbxi_param *p = &s->params[i];
        size_t n = strlen(SBXI_OPTION(p)), below = 0;

        if (p->sub)
            below = sim_longest_in(p->sub);
        if (sbxi_param_kind_of(p) == SBXI_P_LIST)
            n += strlen("[4294967295]");
        n += below + (n && below);
        if (n > longest)
            longest = n;
    }
    return longest;
}

size_t sim_longest_option(void)
{
    const sbxi_schema *const roots[] = { &sbxi_create_schema, &sbxi_update_schema, &sbxi_list_schema, &sbxi_execute_ws_schema, &sbxi_execute_sse_schema,
                                         &sbxi_snapshot_build_schema, &sbxi_snapshot_capture_schema, &sbxi_registry_create_schema,
                                         &sbxi_template_create_schema, &sbxi_volume_create_schema, &sbxi_pool_create_schema };
    size_t longest = 0;

    for (size_t i = 0; i < SBXI_COUNT(roots); i++)
        if (sim_longest_in(roots[i]) > longest)
            longest = sim_longest_in(roots[i]);
    return longest;
}
