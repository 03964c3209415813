/* Commands one after the other against sandboxd, whose work it mostly is. */
#include "bench.h"

int main(void)
{
    enum { COUNT = 200 };
    double ws[BENCH_MAX], http[BENCH_MAX], first[BENCH_MAX], *of[2] = { ws, http };
    int rounds = bench_rounds();
    sbx_client_desc desc = { 0 };
    sbx_client *c = bench_open(&desc);
    sbx_run_opts o = { .discard = true };
    sbx_box box;

    bench_ok(c, sbx_create(c, NULL, &box), "create");
    for (int r = 0; r < rounds; r++) {
        for (int via = 0; via < 2; via++) {
            double t = bench_now();

            o.via = via ? SBX_VIA_HTTP : SBX_VIA_WS;
            for (int i = 0; i < COUNT; i++)
                bench_ok(c, sbx_run(c, &box, sbx_s("exit 0"), &o, NULL), "run");
            of[via][r] = COUNT / (bench_now() - t);
        }
        {
            double t = bench_now();
            sbx_client *other = bench_open(&desc);

            bench_ok(other, sbx_run(other, &box, sbx_s("exit 0"), &(sbx_run_opts){ .discard = true }, NULL), "run");
            first[r] = (bench_now() - t) * 1000;
            sbx_close(other);
        }
    }
    bench_ok(c, sbx_delete(c, &box, NULL), "delete");
    sbx_close(c);
    printf("commands one by one, over a WebSocket each  %8.0f /s\n", bench_median(ws, rounds));
    printf("commands one by one, POST /execute          %8.0f /s\n", bench_median(http, rounds));
    printf("a new client's first result                 %8.1f ms\n", bench_median(first, rounds));
    return 0;
}
