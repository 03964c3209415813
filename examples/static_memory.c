/* A sandbox from 16 KiB: no heap, everything in one array, as a small device
   would have it.

     cc -std=c99 static_memory.c -o static_memory
     LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… ./static_memory */
#define SBX_NO_MALLOC 1
#define SBX_POSIX_NO_THREADS 1 /* names are looked up in place, without a thread's memory */
#define SBX_POSIX_LOOKUPS 1
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"
#include "../transports/sandbox_posix.h"

#include <stdio.h>
#include <stdlib.h>

static char memory[16 * 1024];
static char endpoint[256], out[256];
static sbx_client *c;

static int failed(const char *what, sbx_op op)
{
    sbx_error e;

    sbx_error_of(c, op, &e);
    fprintf(stderr, "%s: %s: %s\n", what, sbx_code_name(e.code), e.text);
    sbx_close(c);
    return 1;
}

int main(void)
{
    const char *host = getenv("LANGSMITH_ENDPOINT");
    sbx_client_desc desc = { 0 };
    sbx_create_opts create = { .delete_on_close = true };
    sbx_run_opts run = { .out = { out, sizeof out } };
    sbx_read_opts read = { .out = { out, sizeof out } };
    sbx_result result;
    sbx_read_result file;
    sbx_usage usage;
    sbx_error err;
    sbx_box box;
    sbx_op op;

    snprintf(endpoint, sizeof endpoint, "%s/v2/sandboxes", host ? host : "http://127.0.0.1:8787");
    desc.transport = &sbx_posix;
    desc.endpoint = endpoint;
    desc.api_key = getenv("LANGSMITH_API_KEY");
    desc.max_ops = 2;
    desc.max_links = 2;
    desc.max_requests = 1;
    desc.max_owned = 1;
    desc.request_bytes = 512;
    desc.buffers = 2;
    desc.rx_bytes = 512;
    desc.tx_bytes = 1024;
    if (sbx_client_init(memory, sizeof memory, &desc, &c, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    printf("client: %lu bytes of %lu\n", (unsigned long)sbx_client_size(&desc), (unsigned long)sizeof memory);

    op = sbx_create(c, &create, &box);
    if (sbx_await(c, op))
        return failed("create", op);
    op = sbx_run(c, &box, sbx_s("seq 1000 | md5sum; exit 3"), &run, &result);
    if (sbx_await(c, op))
        return failed("run", op);
    printf("run: exit %d: %.*s", result.exit_code, (int)result.out_n, out);

    op = sbx_write(c, &box, sbx_s("hello.txt"), sbx_s("written from a small place\n"), NULL);
    if (sbx_await(c, op))
        return failed("write", op);
    op = sbx_read(c, &box, sbx_s("hello.txt"), &read, &file);
    if (sbx_await(c, op))
        return failed("read", op);
    printf("file: %.*s", (int)file.n, out);

    sbx_get_usage(c, &usage);
    printf("used: %u operations, %u connections, %u receive and %u send buffers\n", (unsigned)usage.ops_high,
           (unsigned)usage.links_high, (unsigned)usage.rx_high, (unsigned)usage.tx_high);
    sbx_close(c); /* deletes the sandbox, too */
    return 0;
}
