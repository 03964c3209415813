/* Instruction counts of decoding answers into structs: a list of 100 sandboxes,
   70 KB of JSON, item by item, every field filled, nothing allocated. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"

#include <stdio.h>
#include <stdlib.h>

enum { LISTS = 8, ITEMS = 100, LIST_MAX = 100000 };

static char text[LISTS][LIST_MAX];
static size_t text_n[LISTS];

static unsigned random_below(unsigned n)
{
    static uint32_t s = 2463534242u;

    s ^= s << 13;
    s ^= s >> 17;
    s ^= s << 5;
    return s % n;
}

static void uuid(char out[37])
{
    for (unsigned i = 0; i < 36; i++)
        out[i] = i == 8 || i == 13 || i == 18 || i == 23 ? '-' : "0123456789abcdef"[random_below(16)];
    out[36] = 0;
}

static size_t make_item(char *p, size_t room, bool first)
{
    char id[37], snapshot[37];

    uuid(id);
    uuid(snapshot);
    return (size_t)snprintf(p, room,
        "%s{\"id\":\"%s\",\"name\":\"worker-%u\",\"dataplane_url\":\"https://%.12s.sandbox.example.com\",\"status\":\"%s\",\"status_message\":null,"
        "\"created_at\":\"2025-11-%02uT12:%02u:56Z\",\"updated_at\":\"2025-11-20T12:34:%02uZ\",\"idle_ttl_seconds\":%u,"
        "\"delete_after_stop_seconds\":%u,\"stopped_at\":null,\"snapshot_id\":\"%s\",\"vcpus\":%u,\"mem_bytes\":%u,\"fs_capacity_bytes\":%u,"
        "\"run_config\":null,\"access_delegation\":null,\"mount_config\":null,\"proxy_config\":null,\"labels\":{},\"created_by\":null,"
        "\"updated_by\":null,\"cpu_millicores\":%u,\"size_class\":\"small\",\"preserve_memory_on_stop\":%s}",
        first ? "" : ",", id, random_below(100000), id, random_below(3) ? "ready" : "provisioning", 1 + random_below(28), random_below(60),
        random_below(60), 60 * random_below(60), 60 * random_below(2), snapshot, 1 + random_below(8), random_below(1u << 31),
        random_below(1u << 31), 1000 * random_below(9), random_below(2) ? "true" : "false");
}

static void make_lists(void)
{
    for (unsigned l = 0; l < LISTS; l++) {
        char *p = text[l], *end = p + LIST_MAX;

        p += snprintf(p, (size_t)(end - p), "{\"sandboxes\":[");
        for (unsigned i = 0; i < ITEMS; i++)
            p += make_item(p, (size_t)(end - p), i == 0);
        p += snprintf(p, (size_t)(end - p), "],\"next_cursor\":null}");
        text_n[l] = (size_t)(p - text[l]);
    }
}

/* Not inlined and of external linkage: callgrind switches on here by name. */
unsigned count_list(void);
__attribute__((noinline)) unsigned count_list(void)
{
    static sbx_box_info item;
    static sbxi_page page;
    unsigned items = 0;

    for (unsigned l = 0; l < LISTS; l++) {
        char *p = text[l], *end = p + text_n[l];
        sbxi_dec d;
        sbxi_dec_result r;

        sbxi_dec_init(&d, &sbxi_box_page_model, &page, &item);
        while ((r = sbxi_dec_run(&d, &p, end)) == SBXI_DEC_ITEM)
            items += item.box.id[0] && item.idle_ttl_s >= 0 && item.created_ms > 0;
        if (r == SBXI_DEC_ERROR)
            abort();
    }
    return items;
}

int main(int argc, char **argv)
{
    size_t bytes = 0;

    if (argc != 2 || strcmp(argv[1], "list") != 0) {
        fprintf(stderr, "usage: count_model list\n");
        return 2;
    }
    make_lists();
    for (unsigned l = 0; l < LISTS; l++)
        bytes += text_n[l];
    if (count_list() != LISTS * ITEMS)
        abort();
    printf("count_model list bytes=%lu\n", (unsigned long)bytes);
    return 0;
}
