/* parts: yamux */
/* Instruction counts of the multiplexer, for callgrind:
     --toggle-collect=count_WORKLOAD ./count_yamux WORKLOAD
   Frames of distinct sizes lie many to an input, on as many streams as the
   workload says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "yamux.h"

enum { INPUT = 16384, INPUTS = 32, STREAMS = 1000 };

static unsigned char input[INPUTS][INPUT];
static size_t input_n[INPUTS];
static unsigned frames;
static sbx_yamux client, server;
static sbx_yamux_stream mine[STREAMS], theirs[STREAMS];

static unsigned next(void)
{
    static unsigned s = 12345;
    s = s * 1103515245u + 12345u;
    return s >> 8;
}

static void fill(unsigned streams, size_t n)
{
    for (unsigned i = 0; i < INPUTS; i++) {
        unsigned char *p = input[i], *end = p + INPUT;
        for (;;) {
            size_t m = n ? n : 20 + next() % 381;
            if ((size_t)(end - p) < m + SBX_YAMUX_HEAD)
                break;
            p += sbx_yamux_data(&theirs[next() % streams], &m, p);
            p += m;
            frames++;
        }
        input_n[i] = (size_t)(p - input[i]);
    }
}

static unsigned long read_all(void)
{
    unsigned long sum = 0;
    for (unsigned i = 0; i < INPUTS; i++) {
        const char *p = (const char *)input[i], *end = p + input_n[i];
        sbx_yamux_event ev;
        sbx_yamux_kind kind;
        while ((kind = sbx_yamux_read(&client, &p, end, &ev)) != SBX_YAMUX_MORE) {
            unsigned char out[SBX_YAMUX_HEAD];
            if (kind == SBX_YAMUX_ERROR)
                abort();
            sum += ev.n;
            sbx_yamux_consumed(ev.stream, ev.n);
            sum += sbx_yamux_update(&client, ev.stream, out) & 1;
        }
    }
    return sum;
}

#define READER(name) \
    SBXI_NOINLINE unsigned long name(void); \
    unsigned long name(void) { return read_all(); }
READER(count_data64)
READER(count_data_mixed)
READER(count_data_1000)

SBXI_NOINLINE unsigned long count_head(void);
unsigned long count_head(void)
{
    unsigned char out[SBX_YAMUX_HEAD];
    unsigned long sum = 0;
    for (frames = 0; frames < 1000; frames++) {
        size_t n = frames & 127;
        sum += sbx_yamux_data(&theirs[frames % STREAMS], &n, out);
    }
    return sum;
}

/* Streams with two halves of a window, so that frames can be sent either way. */
static void open_all(void)
{
    sbx_yamux_init(&client, false, mine, STREAMS, 0);
    sbx_yamux_init(&server, true, theirs, STREAMS, 0);
    for (unsigned i = 0; i < STREAMS; i++) {
        unsigned char out[SBX_YAMUX_HEAD];
        const char *p = (const char *)out;
        sbx_yamux_event ev;
        if (!sbx_yamux_update(&client, sbx_yamux_open(&client), out) || sbx_yamux_read(&server, &p, p + sizeof out, &ev) != SBX_YAMUX_OPENED ||
            !sbx_yamux_update(&server, ev.stream, out))
            abort();
        p = (const char *)out;
        if (sbx_yamux_read(&client, &p, p + sizeof out, &ev) != SBX_YAMUX_ACCEPTED)
            abort();
    }
}

typedef struct workload {
    const char *name;
    unsigned long (*run)(void);
    unsigned streams;
    size_t n;
} workload;

int main(int argc, char **argv)
{
    static const workload all[] = {
        { "data64", count_data64, 8, 64 },
        { "data_mixed", count_data_mixed, 64, 0 },
        { "data_1000", count_data_1000, STREAMS, 64 },
        { "head", count_head, 0, 0 },
    };
    for (size_t i = 0; i < SBXI_COUNT(all); i++)
        if (argc == 2 && !strcmp(argv[1], all[i].name)) {
            unsigned long bytes;
            open_all();
            if (all[i].streams)
                fill(all[i].streams, all[i].n);
            bytes = all[i].run();
            printf("count_yamux %s bytes=%lu frames=%u\n", all[i].name, bytes, frames);
            return 0;
        }
    fprintf(stderr, "usage: %s WORKLOAD, one of:", argv[0]);
    for (size_t i = 0; i < SBXI_COUNT(all); i++)
        fprintf(stderr, " %s", all[i].name);
    fprintf(stderr, "\n");
    return 2;
}
