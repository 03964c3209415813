/* Size of a small client: create, run, read, write, delete. */
#include "sandbox.h"

extern const sbx_transport transport; /* the board's own */
extern char memory[], text[];
const sbx_transport transport = {0};
char memory[65536], text[512];

int main(void)
{
    sbx_client *c;
    sbx_box box;
    sbx_result result;
    sbx_read_result file;
    sbx_client_desc desc;
    sbx_run_opts run;
    sbx_read_opts read;

    memset(&desc, 0, sizeof desc);
    memset(&run, 0, sizeof run);
    memset(&read, 0, sizeof read);
    desc.transport = &transport;
    desc.endpoint = text;
    desc.api_key = text;
    run.out.p = read.out.p = text;
    run.out.n = read.out.n = sizeof text;
    if (sbx_client_init(memory, sizeof memory, &desc, &c, NULL))
        return 1;
    if (!sbx_await(c, sbx_create(c, NULL, &box))) {
        sbx_await(c, sbx_write(c, &box, sbx_s("a"), sbx_sn(text, sizeof text), NULL));
        sbx_await(c, sbx_run(c, &box, sbx_s("cat a"), &run, &result));
        sbx_await(c, sbx_read(c, &box, sbx_s("a"), &read, &file));
        sbx_await(c, sbx_delete(c, &box, NULL));
    }
    sbx_close(c);
    return 0;
}
