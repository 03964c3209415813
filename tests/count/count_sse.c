/* parts: sse */
/* Instruction counts of the event stream reader, for callgrind:
     --toggle-collect=count_WORKLOAD ./count_sse WORKLOAD
   Inputs are distinct; several whole events lie in each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "sse.h"

enum { INPUT = 65536, INPUTS = 16, ROUNDS = 4 };

static char input[INPUTS][INPUT];
static size_t input_n[INPUTS];
static unsigned frames;

static unsigned next(void)
{
    static unsigned s = 12345;
    s = s * 1103515245u + 12345u;
    return s >> 8;
}

/* Fills the inputs with output events of n bytes of base64 each. */
static void fill(size_t n)
{
    for (unsigned i = 0; i < INPUTS; i++) {
        char *p = input[i], *end = p + INPUT;
        while ((size_t)(end - p) > n + 100) {
            p += sprintf(p, "event: %s\ndata: {\"offset\":%u,\"data\":\"", next() % 4 ? "stdout" : "stderr", next());
            for (size_t k = 0; k < n; k++)
                *p++ = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[next() % 64];
            p += sprintf(p, "\"}\n\n");
            frames++;
        }
        input_n[i] = (size_t)(p - input[i]);
    }
}

static unsigned long read_all(sbx_sse *s)
{
    unsigned long sum = 0;
    for (unsigned i = 0; i < INPUTS; i++) {
        char *p = input[i], *end = p + input_n[i];
        sbx_sse_event ev;
        while (sbx_sse_read(s, &p, end, &ev) != SBX_SSE_MORE)
            sum += ev.n;
    }
    return sum;
}

SBXI_NOINLINE unsigned long count_out64(sbx_sse *s);
unsigned long count_out64(sbx_sse *s)
{
    return read_all(s);
}

SBXI_NOINLINE unsigned long count_out16k(sbx_sse *s);
unsigned long count_out16k(sbx_sse *s)
{
    return read_all(s);
}

int main(int argc, char **argv)
{
    bool big = argc > 1 && strcmp(argv[1], "out16k") == 0;
    unsigned long sum = 0, bytes = 0;
    sbx_sse s;

    fill(big ? 16384 : 64);
    for (unsigned i = 0; i < INPUTS; i++)
        bytes += input_n[i];
    for (unsigned r = 0; r < ROUNDS; r++) {
        sbx_sse_init(&s);
        sum += big ? count_out16k(&s) : count_out64(&s);
    }
    printf("bytes=%lu frames=%u sum=%lu\n", bytes * ROUNDS, frames * ROUNDS, sum);
    return 0;
}
