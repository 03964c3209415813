/* What a program gets that asks for a feature which is not in its build, and
   one that asks for the same where it is. 0, or the number of the check that failed. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"

static sbx_io no_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    (void)ctx, (void)conn, (void)to;
    fault->code = SBX_ERR_CONNECT;
    return SBX_IO_FAIL;
}

static sbx_io no_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    (void)ctx, (void)conn, (void)p, (void)room, (void)got, (void)fault;
    return SBX_IO_EOF;
}

static sbx_io no_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    (void)ctx, (void)conn, (void)p, (void)n, (void)sent, (void)fault;
    return SBX_IO_EOF;
}

static void no_close(void *ctx, void *conn)
{
    (void)ctx, (void)conn;
}

static bool some_bytes(void *ctx, void *p, size_t n)
{
    (void)ctx;
    memset(p, 7, n);
    return true;
}

static int64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static void on_trace(void *user, const sbx_trace *t)
{
    (void)t;
    ++*(int *)user;
}

static void *no_memory(void *user, void *p, size_t n)
{
    (void)user, (void)p, (void)n;
    return NULL;
}

static const sbx_transport transport = { .name = "none", .connect = no_connect, .recv = no_recv, .send = no_send, .close = no_close, .entropy = some_bytes, .mono_ms = no_time };
static char memory[96 * 1024];

/* The code of a call that was refused at once; SBX_OK: it was taken. */
static sbx_code refused(sbx_client *c, sbx_op op, sbx_code code, const char *field)
{
    sbx_error err;

    if (op.slot)
        return SBX_OK;
    sbx_error_of(c, op, &err);
    return err.code == code && strcmp(err.field, field) == 0 ? code : SBX_CODE_COUNT;
}

int main(void)
{
    int traced = 0;
    sbx_client_desc desc = { .transport = &transport, .endpoint = "http://a/", .max_ops = 12, .max_links = 2, .max_requests = 12, .request_bytes = 512,
                             .buffers = 2, .rx_bytes = 512, .tx_bytes = 1024, .config = SBX_CONFIG, .resize = no_memory, .trace = on_trace, .trace_user = &traced };
    sbx_create_opts create = { .delete_on_close = true };
    sbx_run_opts http = { .via = SBX_VIA_HTTP, .discard = true }, alloc = { .alloc = true }, agent = { .pty = true }, sse = { .via = SBX_VIA_SSE };
    sbx_box_proxy proxy = { .rules_n = 0 };
    sbx_error err;
    sbx_client *c;
    sbx_box box;
    sbx_result result;
    sbx_op op;
    int64_t ms = 0;

    sbx_box_named(&box, sbx_s("box"), sbx_s("http://b/"));
    if (SBX_NO_TRACE) {
        if (sbx_client_init(memory, sizeof memory, &desc, &c, &err) != SBX_ERR_ARGUMENT || strcmp(err.field, "trace") != 0)
            return 1;
        desc.trace = NULL;
    }
    desc.transport = NULL;
    if (sbx_client_init(memory, sizeof memory, &desc, &c, &err) != SBX_ERR_ARGUMENT || strcmp(err.field, "transport") != 0)
        return 2;
#if !SBX_NO_PORTS
    desc.transport = &sbx_ports;
    if (sbx_client_init(memory, sizeof memory, &desc, &c, &err) != SBX_OK)
        return 3;
    sbx_close(c);
#endif
    desc.transport = &transport;
    if (sbx_client_init(memory, sizeof memory, &desc, &c, &err) != SBX_OK)
        return 4;
    if (refused(c, sbx_create(c, &create, &box), SBX_ERR_UNSUPPORTED, "delete_on_close") != (SBX_NO_OWNED ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 5;
    if (refused(c, sbx_run(c, &box, sbx_s("true"), &http, &result), SBX_ERR_UNSUPPORTED, "via") != (SBX_NO_EXECUTE ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 6;
    if (refused(c, sbx_run(c, &box, sbx_s("true"), &alloc, &result), SBX_ERR_UNSUPPORTED, "alloc") != (SBX_NO_ALLOC ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 7;
    create.delete_on_close = false;
    create.proxy = &proxy;
    if (refused(c, sbx_create(c, &create, &box), SBX_ERR_UNSUPPORTED, "proxy") != (SBX_NO_CONFIG ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 12;
    create.proxy = NULL;
    create.template_name = sbx_s("t");
    if (refused(c, sbx_create(c, &create, &box), SBX_ERR_UNSUPPORTED, "template_name") != (SBX_NO_LEGACY ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 13;
    alloc.alloc = false;
    alloc.discard = alloc.no_command_id = true;
    if (refused(c, sbx_run(c, &box, sbx_s("true"), &alloc, &result), SBX_ERR_UNSUPPORTED, "no_command_id") != (SBX_NO_LEGACY ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 14;
    agent.ssh_agent_forward = true;
    if (refused(c, sbx_command(c, &box, sbx_s("true"), &agent), SBX_ERR_UNSUPPORTED, "ssh_agent_forward") != (SBX_NO_SSH_AGENT ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 15;
    if (refused(c, sbx_command(c, &box, sbx_s("true"), &sse), SBX_ERR_UNSUPPORTED, "via") != (SBX_NO_SSE ? SBX_ERR_UNSUPPORTED : SBX_OK))
        return 16;
    /* The rest works: a call runs into the transport's error, all ends. */
    op = sbx_delete(c, &box, NULL);
    sbx_step(c, 1);
    if (!op.slot || (traced != 0) != !SBX_NO_TRACE)
        return 8;
    op = sbx_shutdown(c, 1000);
    for (int i = 0; i < 100 && c->ops_used; i++) {
        sbx_event ev;

        sbx_step(c, 2 + i);
        while (sbx_next(c, &ev))
            if (ev.kind == SBX_EV_END && ev.op.slot == op.slot && SBX_NO_OWNED && ev.code != SBX_OK)
                return 9;
    }
    if (SBX_NO_OWNED && c->ops_used)
        return 10;
    sbx_close(c);
    return sbxi_rfc3339(sbx_s("2020-01-01T00:00:00Z"), &ms) == SBX_NO_DATES || (ms != 0) == SBX_NO_DATES ? 11 : 0;
}
