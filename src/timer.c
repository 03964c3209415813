#include "timer.h"

SBXI_FN SBXI_ONCE int64_t sbxi_after(int64_t now, int64_t ms)
{
    return ms < 0 || now > SBXI_NEVER - ms ? SBXI_NEVER : now + ms;
}

SBXI_FN void sbxi_timers_init(sbxi_timers *t, void *mem, uint32_t ids)
{
    t->at = (int64_t *)mem;
    t->id = (uint32_t *)(void *)(t->at + ids);
    t->pos = t->id + ids;
    t->count = t->high = 0;
    for (uint32_t i = 0; i < ids; i++)
        t->pos[i] = SBXI_NIL;
}

static void sbxi_timer_put(sbxi_timers *t, uint32_t place, int64_t at, uint32_t id)
{
    t->at[place] = at;
    t->id[place] = id;
    t->pos[id] = place;
}

static void sbxi_timer_up(sbxi_timers *t, uint32_t i, int64_t at, uint32_t id)
{
    while (i > 0 && t->at[(i - 1) / 2] > at) {
        sbxi_timer_put(t, i, t->at[(i - 1) / 2], t->id[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    sbxi_timer_put(t, i, at, id);
}

static void sbxi_timer_down(sbxi_timers *t, uint32_t i, int64_t at, uint32_t id)
{
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= t->count)
            break;
        if (child + 1 < t->count && t->at[child + 1] < t->at[child])
            child++;
        if (t->at[child] >= at)
            break;
        sbxi_timer_put(t, i, t->at[child], t->id[child]);
        i = child;
    }
    sbxi_timer_put(t, i, at, id);
}

SBXI_FN SBXI_ONCE int64_t sbxi_timer_first(const sbxi_timers *t)
{
    return t->count ? t->at[0] : SBXI_NEVER;
}

SBXI_FN void sbxi_timer_set(sbxi_timers *t, uint32_t id, int64_t at)
{
    uint32_t i = t->pos[id];

    if (i == SBXI_NIL) {
        if (at == SBXI_NEVER)
            return;
        i = t->count++;
        if (t->count > t->high)
            t->high = t->count;
    } else if (at == SBXI_NEVER) {
        /* The last one takes its place. */
        uint32_t last = t->id[--t->count];

        t->pos[id] = SBXI_NIL;
        if (last == id)
            return;
        at = t->at[t->count];
        id = last;
    }
    if (i > 0 && t->at[(i - 1) / 2] > at)
        sbxi_timer_up(t, i, at, id);
    else
        sbxi_timer_down(t, i, at, id);
}
