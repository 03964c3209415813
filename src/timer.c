#include "timer.h"

SBXI_FN void sbxi_timers_init(sbxi_timers *t, void *heap, void *pos, uint32_t ids)
{
    t->heap = (sbxi_timer_entry *)heap;
    t->pos = (uint32_t *)pos;
    t->count = t->high = 0;
    for (uint32_t i = 0; i < ids; i++)
        t->pos[i] = SBXI_NIL;
}

static void sbxi_timer_put(sbxi_timers *t, uint32_t at, sbxi_timer_entry e)
{
    t->heap[at] = e;
    t->pos[e.id] = at;
}

static void sbxi_timer_up(sbxi_timers *t, uint32_t i, sbxi_timer_entry e)
{
    while (i > 0 && t->heap[(i - 1) / 2].at > e.at) {
        sbxi_timer_put(t, i, t->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    sbxi_timer_put(t, i, e);
}

static void sbxi_timer_down(sbxi_timers *t, uint32_t i, sbxi_timer_entry e)
{
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= t->count)
            break;
        if (child + 1 < t->count && t->heap[child + 1].at < t->heap[child].at)
            child++;
        if (t->heap[child].at >= e.at)
            break;
        sbxi_timer_put(t, i, t->heap[child]);
        i = child;
    }
    sbxi_timer_put(t, i, e);
}

SBXI_FN void sbxi_timer_set(sbxi_timers *t, uint32_t id, int64_t at)
{
    uint32_t i = t->pos[id];
    sbxi_timer_entry e;

    e.at = at;
    e.id = id;
    if (i == SBXI_NIL) {
        if (at == SBXI_NEVER)
            return;
        i = t->count++;
        if (t->count > t->high)
            t->high = t->count;
        sbxi_timer_up(t, i, e);
        return;
    }
    if (at == SBXI_NEVER) {
        sbxi_timer_entry last = t->heap[--t->count];

        t->pos[id] = SBXI_NIL;
        if (last.id == id)
            return;
        e = last;
    }
    if (i > 0 && t->heap[(i - 1) / 2].at > e.at)
        sbxi_timer_up(t, i, e);
    else
        sbxi_timer_down(t, i, e);
}
