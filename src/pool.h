/* ---- pool: fixed-size buffers and index lists (private) ---- */
#ifndef SBXI_POOL_H
#define SBXI_POOL_H
#include "base.h"

#define SBXI_NIL UINT32_MAX

/* Equal buffers; free ones are chained through their first bytes. */
typedef struct sbxi_pool {
    char *base;
    size_t size;
    uint32_t count, free_head, used, high;
} sbxi_pool;

SBXI_FN SBXI_ONCE void sbxi_pool_init(sbxi_pool *p, void *base, size_t size, uint32_t count);
SBXI_FN char *sbxi_pool_take(sbxi_pool *p); /* NULL: none free */
SBXI_FN void sbxi_pool_give(sbxi_pool *p, char *buf);

/* Doubly linked lists over the items of an array; a node lies in the item and
   is in one list at most. */
typedef struct sbxi_node {
    uint32_t prev, next;
} sbxi_node;

typedef struct sbxi_list {
    uint32_t head, tail;
} sbxi_list;

/* An array of items whose nodes the lists chain. */
typedef struct sbxi_nodes {
    char *first; /* node of item 0 */
    size_t stride;
} sbxi_nodes;

SBXI_INLINE void sbxi_list_init(sbxi_list *l)
{
    l->head = l->tail = SBXI_NIL;
}

SBXI_FN void sbxi_list_append(sbxi_nodes n, sbxi_list *l, uint32_t i);
SBXI_FN void sbxi_list_remove(sbxi_nodes n, sbxi_list *l, uint32_t i);

#endif
