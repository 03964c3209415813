/* The shortest whole path: create a sandbox, run commands with their output
   live, write and read a file, kill a long command, delete the sandbox.

     cc -std=c99 quickstart.c -lpthread -o quickstart
     LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… ./quickstart */
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"
#include "../transports/sandbox_posix.h"

/* For https: -DQUICKSTART_BEARSSL and -lbearssl, or -DQUICKSTART_CURL and -lcurl. */
#if defined(QUICKSTART_BEARSSL)
#include "../transports/sandbox_bearssl.h"
#define TRANSPORT sbx_bearssl_posix
#define CONFIG sbx_bearssl_config
#elif defined(QUICKSTART_CURL)
#include "../transports/sandbox_curl.h"
#define TRANSPORT sbx_curl
#define CONFIG sbx_curl_config
#else
#define TRANSPORT sbx_posix
#endif
#ifdef QUICKSTART_ANCHORS /* a file of anchors/pem_to_c with the array `anchors`: no file is read then */
#include QUICKSTART_ANCHORS
#endif

#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what, const sbx_error *e)
{
    fprintf(stderr, "%s: %s: %s%s%s\n", what, sbx_code_name(e->code), e->text, e->field[0] ? ", option " : "", e->field);
    return 1;
}

static int failed(sbx_client *c, const char *what, sbx_op op)
{
    sbx_error e;

    sbx_error_of(c, op, &e);
    fail(what, &e);
    sbx_close(c); /* deletes the sandbox, too */
    return 1;
}

/* Every byte as it comes; the exit code, or -1 with the operation's error. */
static int stream(sbx_client *c, const sbx_box *box, const char *command, int kill_after)
{
    sbx_op op = sbx_command(c, box, sbx_s(command), NULL);
    int chunks = 0, exit_code = -1;

    for (sbx_event ev; sbx_next_of(c, &op, &ev);) {
        if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR) {
            printf("  | %.*s", (int)ev.data.n, ev.data.p);
            fflush(stdout);
            if (kill_after && ++chunks == kill_after)
                sbx_kill(c, op);
        } else if (ev.kind == SBX_EV_GAP) {
            printf("  [%llu bytes lost]\n", (unsigned long long)ev.lost);
        } else if (ev.kind == SBX_EV_END) {
            exit_code = ev.code ? -1 : ev.exit_code;
            if (ev.code) {
                sbx_error e;

                sbx_error_of(c, ev.op, &e);
                fail(command, &e);
            }
        }
    }
    return exit_code;
}

int main(void)
{
    sbx_client_desc desc = { 0 };
    sbx_create_opts create = { 0 };
    sbx_run_opts run = { 0 };
    sbx_read_opts read = { 0 };
    sbx_client *c;
    sbx_error err;
    sbx_box box;
    sbx_result result;
    sbx_read_result file;
    sbx_op op;
    char out[256];

#ifdef CONFIG
    CONFIG tls = { 0 };

#ifdef QUICKSTART_ANCHORS
    tls.anchors = anchors;
    tls.anchors_n = anchors_n;
#else
    tls.ca_file = getenv("SSL_CERT_FILE"); /* a CA of one's own; NULL = the system's */
#endif
    desc.transport_config = &tls;
#endif
    desc.transport = &TRANSPORT; /* endpoint and key: from the environment */
    if (sbx_open(&desc, &c, &err))
        return fail("open", &err);

    create.delete_on_close = true;
    op = sbx_create(c, &create, &box);
    if (sbx_await(c, op))
        return failed(c, "create", op);
    printf("created %s\n", box.name);

    run.out.p = out;
    run.out.n = sizeof out;
    op = sbx_run(c, &box, sbx_s("uname -s; echo \"hello from $0\""), &run, &result);
    if (sbx_await(c, op))
        return failed(c, "run", op);
    printf("run: exit %d\n%.*s", result.exit_code, (int)result.out_n, out);

    printf("streaming:\n");
    printf("exit %d\n", stream(c, &box, "for i in 1 2 3; do echo line $i; sleep 0.2; done; echo oops >&2; exit 3", 0));

    op = sbx_write(c, &box, sbx_s("notes/hello.txt"), sbx_s("Grüße, sandbox!\n"), NULL);
    if (sbx_await(c, op))
        return failed(c, "write", op);
    read.out.p = out;
    read.out.n = sizeof out;
    op = sbx_read(c, &box, sbx_s("notes/hello.txt"), &read, &file);
    if (sbx_await(c, op))
        return failed(c, "read", op);
    printf("file: %lu bytes: %.*s", (unsigned long)file.n, (int)file.n, out);

    printf("killing a long command:\n");
    printf("exit %d\n", stream(c, &box, "while true; do echo tick; sleep 0.1; done", 3));

    op = sbx_delete(c, &box, NULL);
    if (sbx_await(c, op))
        return failed(c, "delete", op);
    printf("deleted %s\n", box.name);
    sbx_close(c);
    return 0;
}
