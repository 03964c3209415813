/* ---- timer: a heap of deadlines, one for each id (private) ---- */
#ifndef SBXI_TIMER_H
#define SBXI_TIMER_H
#include "pool.h"

#define SBXI_NEVER INT64_MAX

typedef struct sbxi_timers {
    int64_t *at;   /* the heap's keys */
    uint32_t *id;  /* and whose they are */
    uint32_t *pos; /* place of an id in the heap, SBXI_NIL = not set */
    uint32_t count, high;
} sbxi_timers;

#define SBXI_TIMER_BYTES (sizeof(int64_t) + 2 * sizeof(uint32_t))
/* mem: SBXI_TIMER_BYTES for each id, aligned to 8. */
SBXI_FN void sbxi_timers_init(sbxi_timers *t, void *mem, uint32_t ids);
/* Sets, moves or (SBXI_NEVER) removes the deadline of an id. */
SBXI_FN void sbxi_timer_set(sbxi_timers *t, uint32_t id, int64_t at);

SBXI_FN SBXI_ONCE int64_t sbxi_timer_first(const sbxi_timers *t);

/* now + ms without overflow; a negative ms is never. */
SBXI_FN SBXI_ONCE int64_t sbxi_after(int64_t now, int64_t ms);

#endif
