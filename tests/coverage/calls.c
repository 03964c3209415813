/* Every call of the header, made against a sandboxd of one generation of the
   API (LANGSMITH_ENDPOINT, LANGSMITH_API_KEY; which one is found out as a
   program would: by what is not there). Prints a line for each, its name and
   the code it ended with; coverage.py holds that against the README's table. */
#define _DEFAULT_SOURCE 1
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static sbx_client *c;
static sbx_box box;
static bool old;       /* templates are known */
static bool snapshots; /* snapshots are known */

static sbx_code said(const char *name, sbx_code code, const sbx_error *e)
{
    printf("%s\t%s", name, sbx_code_name(code));
    if (e && code)
        printf("\t%s", e->text);
    printf("\n");
    fflush(stdout);
    return code;
}

/* A call that starts an operation, run to its end. */
static sbx_code ended(const char *name, sbx_op op)
{
    sbx_code code = sbx_await(c, op);
    sbx_error e;

    sbx_error_of(c, op, &e);
    return said(name, code, &e);
}
#define CALL(f, args) ended(#f, f args)
/* Another kind of call: what it came to. */
#define TRUE(f, condition) said(#f, (condition) ? SBX_OK : SBX_ERR_STATE, NULL)
#define CODE(f, args) said(#f, f args, NULL)

/* Pulls an operation's events up to one of that kind; false: it ended before. */
static bool until(sbx_op *op, sbx_event_kind kind, sbx_event *ev)
{
    while (sbx_next_of(c, op, ev)) {
        if (ev->kind == kind)
            return true;
        if (ev->kind == SBX_EV_END)
            return false;
    }
    return false;
}

static sbx_code to_end(const char *name, sbx_op op)
{
    sbx_event ev;
    sbx_error e;

    memset(&ev, 0, sizeof ev);
    until(&op, SBX_EV_END, &ev);
    sbx_error_of(c, ev.op, &e);
    return said(name, ev.code, &e);
}

/* ---------------------------------------------------------------- resources */

static void templates(void)
{
    sbx_template_opts t = { .name = sbx_s("cover"), .image = sbx_s("example/image:1") };
    sbx_template_opts renamed = { .name = sbx_s("covered") };
    sbx_template one;

    old = CALL(sbx_template_create, (c, &t, &one)) == SBX_OK;
    CALL(sbx_template_update, (c, sbx_s("cover"), &renamed, &one));
    CALL(sbx_template_get, (c, sbx_s("covered"), NULL, &one));
    CALL(sbx_template_list, (c, NULL, NULL));
}

static void volumes(void)
{
    sbx_volume_opts v = { .name = sbx_s("cover"), .size = sbx_s("1Gi") }, larger = { .size = sbx_s("2Gi") };
    sbx_volume one;

    CALL(sbx_volume_create, (c, &v, &one));
    CALL(sbx_volume_update, (c, sbx_s("cover"), &larger, &one));
    CALL(sbx_volume_get, (c, sbx_s("cover"), NULL, &one));
    CALL(sbx_volume_list, (c, NULL, NULL));
    CALL(sbx_volume_delete, (c, sbx_s("cover"), NULL));
}

static void pools(void)
{
    sbx_pool_opts p = { .name = sbx_s("cover"), .template_name = sbx_s("covered"), .replicas = 1 }, more = { .replicas = 2 };
    sbx_pool one;

    CALL(sbx_pool_create, (c, &p, &one));
    CALL(sbx_pool_update, (c, sbx_s("cover"), &more, &one));
    CALL(sbx_pool_get, (c, sbx_s("cover"), NULL, &one));
    CALL(sbx_pool_list, (c, NULL, NULL));
    CALL(sbx_pool_delete, (c, sbx_s("cover"), NULL));
}

static void boxes(void)
{
    sbx_create_opts o = { .template_name = old ? sbx_s("covered") : sbx_s(NULL) };
    sbx_update_opts u = { .name = sbx_s("covered-box") };
    sbx_status_info status;
    sbx_box_info info;
    sbx_box again;

    CALL(sbx_create, (c, &o, &box));
    CALL(sbx_update, (c, &box, &u, &again, &info));
    box = again;
    TRUE(sbx_box_named, sbx_box_named(&again, sbx_s(box.name), sbx_s(box.url)));
    CALL(sbx_get, (c, sbx_s(box.name), NULL, &again, &info));
    CALL(sbx_list, (c, NULL, NULL));
    CALL(sbx_get_status, (c, &box, NULL, &status));
    CALL(sbx_wait_ready, (c, &box, NULL, &again, &info));
    if (CALL(sbx_stop, (c, &box, NULL)) == SBX_OK)
        CALL(sbx_start, (c, &box, NULL, &box, &info));
    else
        CALL(sbx_start, (c, &box, NULL, &again, &info));
}

static void registries(void)
{
    sbx_registry_opts r = { .name = sbx_s("cover"), .url = sbx_s("registry.test"), .username = sbx_s("u"), .password = sbx_s("p") };
    sbx_registry_opts renamed = { .name = sbx_s("covered") };
    sbx_registry one;

    CALL(sbx_registry_create, (c, &r, &one));
    CALL(sbx_registry_update, (c, sbx_s("cover"), &renamed, &one));
    CALL(sbx_registry_get, (c, sbx_s("covered"), NULL, &one));
    CALL(sbx_registry_list, (c, NULL, NULL));
    CALL(sbx_registry_delete, (c, sbx_s("covered"), NULL));
}

static void images(void)
{
    sbx_snapshot_opts o = { .fs_capacity_bytes = (int64_t)1 << 30, .poll_ms = 100 };
    sbx_snapshot built, captured, one;

    memset(&built, 0, sizeof built);
    snapshots = CALL(sbx_snapshot_build, (c, sbx_s("cover"), sbx_s("example/image:1"), &o, &built)) == SBX_OK;
    CALL(sbx_snapshot_capture, (c, &box, sbx_s("covered"), &o, &captured));
    CALL(sbx_snapshot_get, (c, snapshots ? sbx_s(built.id) : sbx_s("none"), NULL, &one));
    CALL(sbx_snapshot_wait, (c, snapshots ? sbx_s(built.id) : sbx_s("none"), NULL, &one));
    CALL(sbx_snapshot_list, (c, NULL, NULL));
    CALL(sbx_snapshot_tags, (c, sbx_s("cover"), NULL, NULL));
    CALL(sbx_snapshot_delete, (c, snapshots ? sbx_s(built.id) : sbx_s("none"), NULL));
}

/* ----------------------------------------------------------- commands, files */

static void commands(void)
{
    sbx_run_opts collected = { .alloc = true, .no_command_id = old };
    sbx_run_opts typed = { .stdin_open = true, .no_command_id = old }, pty = { .pty = true, .no_command_id = old, .ssh_agent_forward = true };
    sbx_attach_opts from = { .stdout_offset = 0 };
    uint64_t out_at, err_at;
    sbx_event ev;
    sbx_result r;
    char id[37];
    size_t n;
    sbx_op op, again;

    if (CALL(sbx_run, (c, &box, sbx_s("printf hello"), &collected, &r)) == SBX_OK && (r.out_n != 5 || memcmp(r.out_p, "hello", 5) != 0))
        said("sbx_run", SBX_ERR_PROTOCOL, NULL);
    sbx_free(c, r.out_p);
    TRUE(sbx_free, true);
    op = sbx_command(c, &box, sbx_s("cat"), &typed);
    until(&op, SBX_EV_STARTED, &ev);
    CODE(sbx_input, (c, op, sbx_s("typed\n"), &n));
    until(&op, SBX_EV_STDOUT, &ev);
    CODE(sbx_command_position, (c, op, id, &out_at, &err_at));
    again = sbx_attach(c, &box, sbx_s(id), &from);
    if (until(&again, SBX_EV_STDOUT, &ev))
        said("sbx_attach", SBX_OK, NULL);
    sbx_cancel(c, again);
    until(&again, SBX_EV_END, &ev);
    CODE(sbx_close_stdin, (c, op));
    to_end("sbx_command", op);
    op = sbx_command(c, &box, sbx_s("sleep 1000"), &pty);
    until(&op, SBX_EV_STARTED, &ev);
    CODE(sbx_pty_resize, (c, op, 100, 30));
    CODE(sbx_agent_send, (c, op, sbx_s("none"), sbx_s("x"), &n)); /* the server passes over channels that it does not have */
    CODE(sbx_agent_close, (c, op, sbx_s("none")));
    CODE(sbx_kill, (c, op));
    until(&op, SBX_EV_END, &ev);
}

static void files(void)
{
    sbx_write_opts pushed = { .stream = true, .size = 4 };
    sbx_read_opts collected = { .alloc = true };
    sbx_read_result r;
    sbx_file_stat stat;
    sbx_list_result l;
    sbx_event ev;
    size_t n = 0;
    sbx_op op;

    /* The server (--fault) refuses the first upload. */
    op = sbx_write(c, &box, sbx_s("/tmp/pushed.txt"), sbx_s(NULL), &pushed);
    while (sbx_next_of(c, &op, &ev) && ev.kind != SBX_EV_END) {
        if (ev.kind == SBX_EV_REWIND)
            CODE(sbx_rewind, (c, op));
        else if (ev.kind == SBX_EV_WRITABLE)
            CODE(sbx_push, (c, op, sbx_s("data"), true, &n));
    }
    if (ev.code)
        said("sbx_push", ev.code, NULL);
    CALL(sbx_write, (c, &box, sbx_s("/tmp/cover.txt"), sbx_s("covered\n"), NULL));
    if (CALL(sbx_read, (c, &box, sbx_s("/tmp/cover.txt"), &collected, &r)) == SBX_OK) {
        if (r.n != 8)
            said("sbx_read", SBX_ERR_PROTOCOL, NULL);
        sbx_free(c, r.p);
    }
    CALL(sbx_stat, (c, &box, sbx_s("/tmp/cover.txt"), NULL, &stat));
    CALL(sbx_glob, (c, &box, sbx_s("*.txt"), &(sbx_find_opts){ .path = sbx_s("/tmp") }, &l));
    CALL(sbx_ls, (c, &box, sbx_s("/tmp"), NULL, &l));
    CALL(sbx_grep, (c, &box, sbx_s("covered"), &(sbx_find_opts){ .path = sbx_s("/tmp") }, &l));
}

/* ------------------------------------------------------------ what goes by URL */

static void services(void)
{
    sbx_request_opts collected = { .alloc = true };
    char head[2048];
    sbx_service s;
    sbx_response r;
    sbx_str value;
    sbx_event ev;
    sbx_op server;

    server = sbx_command(c, &box, sbx_s("python3 -m http.server 8000"), &(sbx_run_opts){ .no_command_id = old });
    until(&server, SBX_EV_STARTED, &ev);
    collected.head.p = head;
    collected.head.n = sizeof head;
    if (CALL(sbx_service_open, (c, &box, 8000, NULL, &s)) == SBX_OK) {
        sbx_code code = SBX_OK;

        /* It answers 502 until the program listens. */
        for (int i = 0; i < 100; i++) {
            code = sbx_await(c, sbx_request(c, &s, sbx_s("GET"), sbx_s("/"), &collected, &r));
            if (code != SBX_OK || r.status == 200)
                break;
            sbx_free(c, r.p);
            usleep(100000);
        }
        said("sbx_request", code ? code : r.status == 200 ? SBX_OK : SBX_ERR_SERVER, NULL);
        TRUE(sbx_head_find, sbx_head_find(sbx_sn(head, r.head_n), sbx_s("content-type"), &value));
        sbx_free(c, r.p);
    }
    CALL(sbx_service_list, (c, &box, NULL, NULL));
    CALL(sbx_service_close, (c, &box, 8000, NULL));
    sbx_kill(c, server);
    until(&server, SBX_EV_END, &ev);
}

static void links(void)
{
    sbx_read_opts collected = { .alloc = true };
    sbx_read_result r;
    sbx_file_stat stat;
    sbx_download d;

    if (CALL(sbx_download_url, (c, &box, sbx_s("/tmp/cover.txt"), NULL, &d)) != SBX_OK)
        return;
    CALL(sbx_fetch, (c, sbx_s(d.url), &collected, &r));
    sbx_free(c, r.p);
    CALL(sbx_fetch_stat, (c, sbx_s(d.url), NULL, &stat));
}

static void tunnels(void)
{
    sbx_op tunnel, op, server;
    sbx_event ev;
    sbx_buf room;
    size_t n = 0, got = 0;

    server = sbx_command(c, &box, sbx_s("python3 -uc 'import socket\ns = socket.create_server((\"127.0.0.1\", 7000))\nprint(1)\n"
                                        "p = s.accept()[0]\np.sendall(p.recv(7, socket.MSG_WAITALL))\np.close()'"),
                         &(sbx_run_opts){ .no_command_id = old });
    until(&server, SBX_EV_STDOUT, &ev);
    TRUE(sbx_tunnel_size, sbx_tunnel_size(NULL) > 0);
    tunnel = sbx_tunnel_open(c, &box, NULL);
    op = sbx_tunnel_dial(c, tunnel, 7000, NULL);
    until(&op, SBX_EV_STARTED, &ev);
    CODE(sbx_tunnel_hold, (c, op, false));
    CODE(sbx_tunnel_reserve, (c, op, &room));
    if (room.n)
        memcpy(room.p, "thro", 4);
    CODE(sbx_tunnel_commit, (c, op, 4));
    CODE(sbx_tunnel_send, (c, op, sbx_s("ugh"), true, &n));
    while (sbx_next_of(c, &op, &ev) && ev.kind != SBX_EV_END)
        if (ev.kind == SBX_EV_DATA) {
            if (ev.offset == 0 && ev.data.n > 1) { /* the first byte only, the others once more */
                CODE(sbx_tunnel_unread, (c, op, ev.data.n - 1));
                ev.data.n = 1;
            }
            got += ev.data.n;
        }
    said("sbx_tunnel_dial", ev.code ? ev.code : got == 7 ? SBX_OK : SBX_ERR_PROTOCOL, NULL);
    CODE(sbx_tunnel_close, (c, tunnel));
    to_end("sbx_tunnel_open", tunnel);
    sbx_kill(c, server);
    until(&server, SBX_EV_END, &ev);
}

/* ----------------------------------------------- the client and its operations */

static void client(void)
{
    sbx_usage usage;
    sbx_error e;
    sbx_event ev;
    sbx_op op;
    int n = 0;

    TRUE(sbx_version, sbx_version()[0] != 0);
    TRUE(sbx_code_name, strcmp(sbx_code_name(SBX_OK), sbx_code_name(SBX_ERR_AUTH)) != 0);
    TRUE(sbx_code_text, sbx_code_text(SBX_ERR_AUTH)[0] != 0);
    CODE(sbx_set_api_key, (c, sbx_s(getenv("LANGSMITH_API_KEY"))));
    TRUE(sbx_poll_handle, sbx_poll_handle(c) >= 0);
    op = sbx_get(c, sbx_s(box.name), NULL, NULL, NULL);
    CODE(sbx_cancel, (c, op));
    while (!sbx_next(c, &ev) && n++ < 1000) {
        sbx_wake(c);
        sbx_wait(c, 1000);
    }
    TRUE(sbx_next, ev.kind == SBX_EV_END && ev.code == SBX_ERR_CANCELLED);
    TRUE(sbx_wake, true);
    TRUE(sbx_wait, true);
    sbx_error_of(c, ev.op, &e);
    TRUE(sbx_error_of, e.code == SBX_ERR_CANCELLED);
    TRUE(sbx_next_deadline, sbx_next_deadline(c) > 0);
    sbx_get_usage(c, &usage);
    TRUE(sbx_get_usage, usage.ops == 0);
    op = sbx_get(c, sbx_s(box.name), NULL, NULL, NULL);
    TRUE(sbx_next_of, !until(&op, SBX_EV_ITEM, &ev) && ev.code == SBX_OK);
}

/* ------------------------------------------------------------ without transport */

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int port_connect(const sbx_port *p)
{
    struct addrinfo hints, *a = NULL;
    char host[64], port[8];
    int fd;

    snprintf(host, sizeof host, "%.*s", (int)p->host.n, p->host.p);
    snprintf(port, sizeof port, "%u", p->port);
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &hints, &a) != 0)
        return -1;
    fd = socket(a->ai_family, SOCK_STREAM, 0);
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(a);
    return fd;
}

static int port_fd[33];

static void port_actions(sbx_client *p)
{
    sbx_port act;

    while (sbx_port_next(p, &act)) {
        if (act.action == SBX_PORT_CLOSE) {
            close(port_fd[act.id]);
            port_fd[act.id] = 0;
        } else if ((port_fd[act.id] = port_connect(&act)) < 0) {
            port_fd[act.id] = 0;
            sbx_port_failed(p, act.id, SBX_ERR_CONNECT);
        } else {
            CODE(sbx_port_opened, (p, act.id));
        }
    }
}

/* One turn: what is to be sent, then what came. */
static void port_move(sbx_client *p, uint32_t id)
{
    static char held[16384];
    static size_t at, end;
    struct pollfd f;
    ssize_t n;

    if (!port_fd[id])
        return;
    while ((n = (ssize_t)sbx_port_send(p, id, held, sizeof held)) > 0)
        if (send(port_fd[id], held, (size_t)n, MSG_NOSIGNAL) != n)
            return;
    f.fd = port_fd[id];
    f.events = POLLIN;
    if (at == end && poll(&f, 1, 20) > 0) {
        n = recv(port_fd[id], held, sizeof held, 0);
        at = 0;
        end = n > 0 ? (size_t)n : 0;
        if (n == 0)
            CODE(sbx_port_eof, (p, id));
    }
    at += sbx_port_recv(p, id, held + at, end - at);
}

static void ports(void)
{
    sbx_client_desc d;
    unsigned char seed[32];
    char endpoint[256];
    sbx_client *p = NULL;
    sbx_event ev;
    sbx_error e;
    void *memory;
    size_t n;
    sbx_op op;

    memset(&d, 0, sizeof d);
    d.transport = &sbx_ports;
    snprintf(endpoint, sizeof endpoint, "%s/v2/sandboxes", getenv("LANGSMITH_ENDPOINT"));
    d.endpoint = endpoint;
    d.api_key = getenv("LANGSMITH_API_KEY");
    n = sbx_client_size(&d);
    TRUE(sbx_client_size, n > 0);
    memory = malloc(n);
    CODE(sbx_client_init, (memory, n, &d, &p, &e));
    if (getrandom(seed, sizeof seed, 0) == (ssize_t)sizeof seed)
        CODE(sbx_port_seed, (p, seed, sizeof seed, (int64_t)time(NULL) * 1000));
    op = sbx_get(p, sbx_s(box.name), NULL, NULL, NULL);
    for (memset(&ev, 0, sizeof ev); ev.kind != SBX_EV_END;) {
        sbx_step(p, now());
        port_actions(p);
        for (uint32_t id = 1; id < 33; id++)
            port_move(p, id);
        if (!sbx_next(p, &ev))
            ev.kind = SBX_EV_NONE;
    }
    TRUE(sbx_step, op.slot == ev.op.slot);
    TRUE(sbx_port_next, ev.code == SBX_OK);
    TRUE(sbx_port_recv, ev.code == SBX_OK);
    TRUE(sbx_port_send, ev.code == SBX_OK);
    /* A connection that fails, and one that its peer ends. */
    for (uint32_t id = 1; id < 33; id++)
        if (port_fd[id])
            CODE(sbx_port_eof, (p, id));
    port_actions(p);
    op = sbx_get(p, sbx_s(box.name), &(sbx_box_opts){ .call = { .max_retries = SBX_NONE } }, NULL, NULL);
    sbx_step(p, now());
    for (sbx_port act; sbx_port_next(p, &act);)
        if (act.action == SBX_PORT_CONNECT)
            CODE(sbx_port_failed, (p, act.id, SBX_ERR_CONNECT));
    for (n = 0; n < 100 && !sbx_next(p, &ev); n++)
        sbx_step(p, now());
    if (ev.code != SBX_ERR_CONNECT)
        said("sbx_port_failed", SBX_ERR_STATE, NULL);
    sbx_close(p);
    free(memory);
}

int main(void)
{
    sbx_client_desc d;
    sbx_error e;
    sbx_op op;

    memset(&d, 0, sizeof d);
    d.transport = &sbx_posix;
    if (said("sbx_open", sbx_open(&d, &c, &e), &e))
        return 1;
    templates();
    volumes();
    pools();
    boxes();
    registries();
    images();
    client();
    commands();
    files();
    services();
    links();
    tunnels();
    ports();
    CALL(sbx_delete, (c, &box, NULL));
    CALL(sbx_template_delete, (c, sbx_s("covered"), NULL));
    op = sbx_shutdown(c, 10000);
    to_end("sbx_shutdown", op);
    TRUE(sbx_await, sbx_await(c, op) == SBX_ERR_HANDLE);
    sbx_close(c);
    TRUE(sbx_close, true);
    return 0;
}
