/* parts: ws text */
/* Instruction counts of the WebSocket framer, for callgrind:
     --toggle-collect=count_WORKLOAD ./count_ws WORKLOAD
   Inputs are distinct messages; several whole frames lie in each input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "ws.h"

enum { INPUT = 16384, INPUTS = 32, ROUNDS = 4 };

static char input[INPUTS][INPUT];
static size_t input_n[INPUTS];
static unsigned frames;
static unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

static unsigned next(void)
{
    static unsigned s = 12345;
    s = s * 1103515245u + 12345u;
    return s >> 8;
}

/* Fills the inputs with frames of n bytes each; n 0: of 20 to 400 bytes. */
static void fill(unsigned op, size_t n, bool server, const char *mark)
{
    for (unsigned i = 0; i < INPUTS; i++) {
        char *p = input[i], *end = p + INPUT;
        for (;;) {
            size_t m = n ? n : 20 + next() % 381;
            if ((size_t)(end - p) < m + SBX_WS_HEAD_MAX)
                break;
            p += sbx_ws_head((unsigned char *)p, op, true, m, server ? mask : NULL);
            for (size_t k = 0; k < m; k++)
                p[k] = (char)(32 + next() % 95);
            if (mark && m >= strlen(mark))
                memcpy(p + next() % (m - strlen(mark) + 1), mark, strlen(mark));
            if (server)
                sbx_ws_mask(p, m, mask, 0);
            p += m;
            frames++;
        }
        input_n[i] = (size_t)(p - input[i]);
    }
}

static unsigned long read_all(sbx_ws *w)
{
    unsigned long sum = 0;
    for (unsigned i = 0; i < INPUTS; i++) {
        char *p = input[i], *end = p + input_n[i];
        sbx_ws_event ev;
        sbx_ws_kind kind;
        while ((kind = sbx_ws_read(w, &p, end, &ev)) != SBX_WS_MORE) {
            if (kind == SBX_WS_ERROR)
                abort();
            sum += ev.n;
        }
    }
    return sum;
}

#define READER(name) \
    SBXI_NOINLINE unsigned long name(sbx_ws *w); \
    unsigned long name(sbx_ws *w) { return read_all(w); }
READER(count_text64)
READER(count_binary64)
READER(count_text64_utf8)
READER(count_text_mixed)
READER(count_text16k)
READER(count_ping5)
READER(count_server64)

SBXI_NOINLINE unsigned long count_mask16k(sbx_ws *w);
unsigned long count_mask16k(sbx_ws *w)
{
    (void)w;
    for (unsigned i = 0; i < INPUTS; i++)
        sbx_ws_mask(input[i], INPUT, mask, i);
    return (unsigned long)INPUTS * INPUT;
}

SBXI_NOINLINE unsigned long count_head(sbx_ws *w);
unsigned long count_head(sbx_ws *w)
{
    unsigned char head[SBX_WS_HEAD_MAX];
    unsigned long sum = 0;
    (void)w;
    for (unsigned i = 0; i < 1000; i++)
        sum += sbx_ws_head(head, SBX_WS_OP_BINARY, true, i * 7, mask);
    return sum;
}

typedef struct workload {
    const char *name;
    unsigned long (*run)(sbx_ws *w);
    unsigned op;
    size_t n;
    bool server;
    const char *mark;
} workload;

int main(int argc, char **argv)
{
    static const workload all[] = {
        { "text64", count_text64, SBX_WS_OP_TEXT, 64, false, NULL },
        { "binary64", count_binary64, SBX_WS_OP_BINARY, 64, false, NULL },
        { "text64_utf8", count_text64_utf8, SBX_WS_OP_TEXT, 64, false, "\xe2\x82\xac" },
        { "text_mixed", count_text_mixed, SBX_WS_OP_TEXT, 0, false, NULL },
        { "text16k", count_text16k, SBX_WS_OP_TEXT, 16000, false, "\xe2\x82\xac" },
        { "ping5", count_ping5, SBX_WS_OP_PING, 5, false, NULL },
        { "server64", count_server64, SBX_WS_OP_TEXT, 64, true, NULL },
        { "mask16k", count_mask16k, 0, 16000, false, NULL },
        { "head", count_head, 0, 16000, false, NULL },
    };
    for (size_t i = 0; i < SBXI_COUNT(all); i++)
        if (argc == 2 && !strcmp(argv[1], all[i].name)) {
            unsigned long bytes = 0;
            unsigned rounds = all[i].server ? 1 : ROUNDS; /* unmasking is in place */
            sbx_ws w;
            fill(all[i].op, all[i].n, all[i].server, all[i].mark);
            sbx_ws_init(&w, all[i].server ? SBX_WS_SERVER : 0, 0);
            for (unsigned r = 0; r < rounds; r++)
                bytes += all[i].run(&w);
            printf("count_ws %s bytes=%lu", all[i].name, bytes);
            if (all[i].op)
                printf(" frames=%u", frames * rounds);
            else if (all[i].run == count_head)
                printf(" frames=%u", 1000 * rounds);
            printf("\n");
            return 0;
        }
    fprintf(stderr, "usage: %s WORKLOAD, one of:", argv[0]);
    for (size_t i = 0; i < SBXI_COUNT(all); i++)
        fprintf(stderr, " %s", all[i].name);
    fprintf(stderr, "\n");
    return 2;
}
