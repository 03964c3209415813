/* The inputs of count_json, read by jansson into its document. */
#define main own_main
#include "count_json.c"
#undef main
#include <jansson.h>

static void load_all(const char *p, const size_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_t *document = json_loadb(p + at[i], at[i + 1] - at[i], 0, NULL);
        if (!document)
            exit(2);
        json_decref(document);
    }
}

COUNT void count_peer(const char *p, const size_t *at, size_t n)
{
    load_all(p, at, n);
}

int main(int argc, char **argv)
{
    const char *name = argc == 2 ? argv[1] : "";
    size_t bytes;
    if (!strcmp(name, "ws")) {
        make_ws();
        count_peer(ws.p, ws_at, WS_N);
        bytes = ws.n;
    } else if (!strcmp(name, "list")) {
        make_list();
        count_peer(list.p, list_at, LIST_N);
        bytes = list.n;
    } else if (!strcmp(name, "big_3") || !strcmp(name, "big_0")) {
        make_big(name[4] == '3' ? 30 : 0);
        count_peer(big.p, big_at, BIG_N);
        bytes = big.n;
    } else {
        fprintf(stderr, "usage: peer_json ws|list|big_3|big_0\n");
        return 1;
    }
    printf("peer_json %s bytes=%lu\n", name, (unsigned long)bytes);
    return 0;
}
