#include "pool.h"

SBXI_FN SBXI_ONCE void sbxi_pool_init(sbxi_pool *p, void *base, size_t size, uint32_t count)
{
    p->base = (char *)base;
    p->size = size;
    p->count = count;
    p->free_head = SBXI_NIL;
    p->used = p->high = 0;
    for (uint32_t i = count; i-- > 0;) {
        memcpy(p->base + (size_t)i * size, &p->free_head, sizeof p->free_head);
        p->free_head = i;
    }
}

SBXI_FN char *sbxi_pool_take(sbxi_pool *p)
{
    char *buf;

    if (p->free_head == SBXI_NIL)
        return NULL;
    buf = p->base + (size_t)p->free_head * p->size;
    memcpy(&p->free_head, buf, sizeof p->free_head);
    p->used++;
    if (p->used > p->high)
        p->high = p->used;
    return buf;
}

SBXI_FN void sbxi_pool_give(sbxi_pool *p, char *buf)
{
    memcpy(buf, &p->free_head, sizeof p->free_head);
    p->free_head = (uint32_t)((size_t)(buf - p->base) / p->size);
    p->used--;
}

static sbxi_node *sbxi_node_at(sbxi_nodes n, uint32_t i)
{
    return (sbxi_node *)(void *)(n.first + (size_t)i * n.stride);
}

SBXI_FN void sbxi_list_append(sbxi_nodes n, sbxi_list *l, uint32_t i)
{
    sbxi_node *node = sbxi_node_at(n, i);

    node->prev = l->tail;
    node->next = SBXI_NIL;
    if (l->tail == SBXI_NIL)
        l->head = i;
    else
        sbxi_node_at(n, l->tail)->next = i;
    l->tail = i;
}

SBXI_FN void sbxi_list_remove(sbxi_nodes n, sbxi_list *l, uint32_t i)
{
    sbxi_node *node = sbxi_node_at(n, i);

    if (node->prev == SBXI_NIL)
        l->head = node->next;
    else
        sbxi_node_at(n, node->prev)->next = node->next;
    if (node->next == SBXI_NIL)
        l->tail = node->prev;
    else
        sbxi_node_at(n, node->next)->prev = node->prev;
    node->prev = node->next = SBXI_NIL;
}
