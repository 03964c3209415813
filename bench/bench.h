/* What the benchmarks share: time, medians, a client. Runs are interleaved
   with what they are compared to, and medians are told: machines are noisy.
   BENCH_ROUNDS sets how many (5). */
#ifndef BENCH_H
#define BENCH_H
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"
#include "../transports/sandbox_posix.h"

#include "../tests/e2e/peer.h"

#include <sys/resource.h>
#include <time.h>

#define BENCH_MAX 25

static inline double bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Processor time of this process. */
static inline double bench_cpu(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static inline int bench_rounds(void)
{
    const char *v = getenv("BENCH_ROUNDS");
    int n = v ? atoi(v) : 5;

    return n < 1 ? 1 : n > BENCH_MAX ? BENCH_MAX : n;
}

static inline int bench_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static inline double bench_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, bench_order);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static inline void bench_die(const char *what, const sbx_error *e)
{
    fprintf(stderr, "%s: %s %s\n", what, e ? sbx_code_name(e->code) : "", e ? e->text : "");
    exit(1);
}

static inline sbx_client *bench_open(const sbx_client_desc *desc)
{
    sbx_client_desc d = *desc;
    sbx_client *c;
    sbx_error e;

    d.transport = &sbx_posix;
    if (sbx_open(&d, &c, &e))
        bench_die("open", &e);
    return c;
}

static inline void bench_ok(sbx_client *c, sbx_op op, const char *what)
{
    if (sbx_await(c, op)) {
        sbx_error e;

        sbx_error_of(c, op, &e);
        bench_die(what, &e);
    }
}
#endif
