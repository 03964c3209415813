/* What README and the header's comments say of calls that need no server. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"
#include <stdio.h>
#include <stdlib.h>

static void claim(bool holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "claims.c:%d: %s\n", line, what);
        exit(1);
    }
}
#define CLAIM(x) claim(x, #x, __LINE__)

static sbx_client *open_client(const sbx_transport *t, const char *endpoint)
{
    sbx_client_desc d;
    sbx_client *c;
    sbx_error e;

    memset(&d, 0, sizeof d);
    d.transport = t;
    d.endpoint = endpoint;
    d.api_key = "key";
    d.max_requests = 3;
    CLAIM(sbx_open(&d, &c, &e) == SBX_OK);
    return c;
}

/* https without a TLS transport: at once, before anything is sent. */
static void https(void)
{
    sbx_client *c = open_client(&sbx_posix, "https://127.0.0.1:1/v2/sandboxes");
    sbx_op op = sbx_create(c, NULL, NULL);
    sbx_error e;

    CLAIM(op.slot != 0 && sbx_await(c, op) == SBX_ERR_UNSUPPORTED);
    sbx_error_of(c, op, &e);
    CLAIM(e.code == SBX_ERR_UNSUPPORTED && e.layer == SBX_LAYER_TRANSPORT && !e.sent && e.attempts == 1);
    CLAIM(sbx_await(c, op) == SBX_ERR_HANDLE);
    sbx_close(c);
}

static void refused(sbx_client *c, sbx_op op, sbx_code code, const char *field)
{
    sbx_usage usage;
    sbx_error e;
    sbx_event ev;

    CLAIM(op.slot == 0 && sbx_await(c, op) == code);
    sbx_error_of(c, op, &e);
    CLAIM(e.code == code && e.layer == SBX_LAYER_LOCAL && !e.sent && strcmp(e.field, field) == 0);
    sbx_get_usage(c, &usage);
    CLAIM(usage.ops || !sbx_next(c, &ev));
    CLAIM(sbx_next_of(c, &op, &ev) && ev.kind == SBX_EV_END && ev.code == code);
    sbx_error_of(c, ev.op, &e);
    CLAIM(e.code == code);
    CLAIM(!sbx_next_of(c, &op, &ev));
}

static void at_once(void)
{
    static const char *const own[] = { "Host", "Content-Length", "Content-Type", "Transfer-Encoding", "TE", "Trailer", "Connection", "Upgrade", "Expect", "Sec-WebSocket-Key" };
    sbx_client *c = open_client(&sbx_posix, "http://127.0.0.1:1/v2/sandboxes");
    sbx_update_opts update;
    sbx_create_opts create;
    sbx_box_opts box_opts;
    sbx_run_opts run;
    sbx_header h;
    sbx_box box;
    sbx_op op[3];
    char long_name[130];

    CLAIM(sbx_box_named(&box, sbx_s("name"), sbx_s("http://127.0.0.1:1")));
    refused(c, sbx_run(c, &box, sbx_s("true"), NULL, NULL), SBX_ERR_NO_BUFFER, "out");
    refused(c, sbx_read(c, &box, sbx_s("f"), NULL, NULL), SBX_ERR_NO_BUFFER, "out");
    memset(&run, 0, sizeof run);
    run.discard = true;
    refused(c, sbx_command(c, &box, sbx_s("true"), &run), SBX_ERR_ARGUMENT, "out");
    memset(&update, 0, sizeof update);
    update.clear_mask = 1;
    refused(c, sbx_update(c, &box, &update, NULL, NULL), SBX_ERR_ARGUMENT, "clear_mask");
    update.clear_mask = 16;
    refused(c, sbx_update(c, &box, &update, NULL, NULL), SBX_ERR_ARGUMENT, "clear_mask");
    update.clear_mask = SBX_CLEAR_PROXY_CONFIG;
    update.proxy_config = sbx_s("{}");
    refused(c, sbx_update(c, &box, &update, NULL, NULL), SBX_ERR_ARGUMENT, "proxy_config");
    memset(&create, 0, sizeof create);
    memset(long_name, 'x', sizeof long_name);
    create.name = sbx_sn(long_name, 128);
    refused(c, sbx_create(c, &create, NULL), SBX_ERR_ARGUMENT, "name");
    memset(&box_opts, 0, sizeof box_opts);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        h.name = sbx_s(own[i]);
        h.value = sbx_s("x");
        box_opts.call.headers = &h;
        box_opts.call.headers_n = 1;
        refused(c, sbx_get(c, sbx_s("n"), &box_opts, NULL, NULL), SBX_ERR_ARGUMENT, "call.headers");
    }
    refused(c, sbx_get(c, sbx_s(".."), NULL, NULL, NULL), SBX_ERR_ARGUMENT, "name");
    box.url[0] = 0;
    refused(c, sbx_stat(c, &box, sbx_s("f"), NULL, NULL), SBX_ERR_ARGUMENT, "box.url");
    for (int i = 0; i < 3; i++)
        op[i] = sbx_get(c, sbx_s("n"), NULL, NULL, NULL);
    refused(c, sbx_get(c, sbx_s("n"), NULL, NULL, NULL), SBX_ERR_FULL, "max_requests");
    CLAIM(sbx_cancel(c, op[0]) == SBX_OK && sbx_cancel(c, op[0]) == SBX_OK && sbx_await(c, op[0]) == SBX_ERR_CANCELLED);
    CLAIM(sbx_cancel(c, op[0]) == SBX_ERR_HANDLE);
    sbx_close(c);
}

/* Nothing owned: the shutdown ends at once, everything else with CLOSED. */
static void shutdown_client(void)
{
    sbx_client *c = open_client(&sbx_posix, "http://127.0.0.1:1/v2/sandboxes");
    sbx_op open = sbx_get(c, sbx_s("n"), NULL, NULL, NULL), op = sbx_shutdown(c, 1000);
    sbx_event ev;

    refused(c, sbx_shutdown(c, 1000), SBX_ERR_CLOSED, "");
    CLAIM(sbx_await(c, open) == SBX_ERR_CLOSED);
    CLAIM(sbx_next_of(c, &op, &ev) && ev.kind == SBX_EV_END && ev.code == SBX_OK && ev.exit_code == 0);
    sbx_close(c);
}

/* Without a transport: nothing waits, and random bytes come with the seed,
   also when it came late. */
static void no_transport(void)
{
    sbx_client *c = open_client(&sbx_ports, "https://example.org/v2/sandboxes");
    unsigned char seed[32] = { 1, 2, 3 }, bytes[512];
    sbx_box box;
    sbx_op op;
    sbx_port port;

    CLAIM(sbx_box_named(&box, sbx_s("name"), sbx_s("https://example.org:8443/data")));
    CLAIM(sbx_port_seed(c, seed, 31, 0) == SBX_ERR_ARGUMENT);
    op = sbx_command(c, &box, sbx_s("true"), NULL);
    CLAIM(op.slot == 0 && op.gen == SBX_ERR_ENTROPY);
    CLAIM(sbx_port_seed(c, seed, 32, 0) == SBX_OK);
    op = sbx_command(c, &box, sbx_s("true"), NULL);
    CLAIM(op.slot != 0 && sbx_await(c, op) == SBX_ERR_UNSUPPORTED && !sbx_wait(c, 0) && sbx_poll_handle(c) == -1);
    sbx_step(c, 1);
    CLAIM(sbx_port_next(c, &port) && port.action == SBX_PORT_CONNECT && port.id == 1 && port.tls && port.port == 8443);
    CLAIM(port.host.n == 11 && memcmp(port.host.p, "example.org", 11) == 0);
    CLAIM(!sbx_port_next(c, &port) && sbx_port_send(c, 1, bytes, sizeof bytes) == 0);
    CLAIM(sbx_port_opened(c, 1) == SBX_OK && sbx_port_opened(c, 2) == SBX_ERR_HANDLE);
    CLAIM(sbx_port_send(c, 1, bytes, sizeof bytes) > 0 && memcmp(bytes, "GET /data/execute/ws HTTP/1.1\r\n", 31) == 0);
    sbx_close(c);
}

static void description(void)
{
    sbx_client_desc d;
    sbx_client *c;
    sbx_error e;
    char memory[64];

    memset(&d, 0, sizeof d);
    CLAIM(sbx_client_init(memory, sizeof memory, &d, &c, &e) == SBX_ERR_MEMORY && !c && strstr(e.text, "bytes needed: "));
    {
        static char enough[256 * 1024];

        CLAIM(sbx_client_init(enough, sizeof enough, &d, &c, &e) == SBX_ERR_ARGUMENT && strcmp(e.field, "endpoint") == 0);
        d.endpoint = "http://127.0.0.1:1";
        d.rx_bytes = 511;
        CLAIM(sbx_client_init(enough, sizeof enough, &d, &c, &e) == SBX_ERR_ARGUMENT && strcmp(e.field, "rx_bytes") == 0);
        CLAIM(sbx_client_init(enough, sizeof enough, &d, &c, NULL) == SBX_ERR_ARGUMENT);
        d.rx_bytes = 512;
        CLAIM(sbx_client_init(enough, sizeof enough, &d, &c, &e) == SBX_ERR_ARGUMENT && strcmp(e.field, "transport") == 0 && strstr(e.text, "&sbx_ports"));
        d.transport = &sbx_ports;
        CLAIM(sbx_client_init(enough + 1, sbx_client_size(&d), &d, &c, &e) == SBX_OK);
        CLAIM(sbx_set_api_key(c, sbx_s("")) == SBX_OK && sbx_set_api_key(c, sbx_s("a\nb")) == SBX_ERR_ARGUMENT);
        sbx_close(c);
    }
    sbx_close(NULL);
}

int main(void)
{
    https();
    at_once();
    shutdown_client();
    no_transport();
    description();
    return 0;
}
