/* Without a transport: a libuv program owns the sockets, the timer and the name
   lookups, and only gives the client the bytes that came and the time. Several
   commands run at once, their output comes live.

     cc -std=c99 event_loop_uv.c -luv -o event_loop_uv
     LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… ./event_loop_uv */
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { JOBS = 5, LINKS = 8 };

/* A connection. It lives until libuv has let go of all its parts. */
typedef struct port_link {
    struct app *app;
    uint32_t id; /* the client's number for it, 0 = the client has closed it */
    int parts;   /* that libuv holds: the socket, a lookup */
    uv_tcp_t tcp;
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    uv_write_t write;
    bool opened, ended, told, reading, writing;
    size_t in_at, in_n; /* bytes that the client has not taken yet */
    char in[16384], out[4096];
} port_link;

typedef struct job {
    int number;
    size_t n;
    char line[128]; /* output comes in pieces of any size */
} job;

typedef struct app {
    uv_loop_t loop;
    uv_timer_t timer;
    sbx_client *client;
    port_link *links[LINKS + 1];
    sbx_box box;
    sbx_op create, shutdown;
    job jobs[JOBS];
    int open;
    int status;
    bool done;
} app;

static void drive(app *a);

/* ---- connections ---- */

static void let_go(port_link *l)
{
    if (--l->parts == 0)
        free(l);
}

static void on_closed(uv_handle_t *h)
{
    let_go((port_link *)h->data);
}

static void close_link(port_link *l)
{
    l->app->links[l->id] = NULL;
    l->id = 0;
    uv_cancel((uv_req_t *)&l->lookup); /* if it still waits; its callback comes in any case */
    uv_close((uv_handle_t *)&l->tcp, on_closed);
}

static void link_failed(port_link *l, sbx_code code)
{
    if (l->id && !l->told) {
        l->told = true;
        sbx_port_failed(l->app->client, l->id, code);
    }
}

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *buf)
{
    port_link *l = (port_link *)h->data;

    (void)wanted;
    *buf = uv_buf_init(l->in, sizeof l->in); /* reading stops while there is something in it */
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    port_link *l = (port_link *)s->data;

    (void)buf;
    if (n > 0) {
        l->in_at = 0;
        l->in_n = (size_t)n;
    }
    if (n != 0) {
        uv_read_stop(s);
        l->reading = false;
    }
    if (n == UV_EOF)
        l->ended = true;
    else if (n < 0)
        link_failed(l, SBX_ERR_CONNECTION);
    drive(l->app);
}

static void on_written(uv_write_t *w, int status)
{
    port_link *l = (port_link *)w->data;

    l->writing = false;
    if (status < 0)
        link_failed(l, SBX_ERR_CONNECTION);
    if (l->id)
        drive(l->app);
}

static void on_connected(uv_connect_t *r, int status)
{
    port_link *l = (port_link *)r->data;

    if (!l->id)
        return;
    l->opened = status == 0;
    if (l->opened)
        sbx_port_opened(l->app->client, l->id);
    else
        link_failed(l, SBX_ERR_CONNECT);
    drive(l->app);
}

/* The first address only; a program of more ambition tries the others, too. */
static void on_lookup(uv_getaddrinfo_t *r, int status, struct addrinfo *found)
{
    port_link *l = (port_link *)r->data;
    app *a = l->app;
    bool wanted = l->id != 0;

    if (wanted && status)
        link_failed(l, SBX_ERR_RESOLVE);
    else if (wanted && uv_tcp_connect(&l->connect, &l->tcp, found->ai_addr, on_connected))
        link_failed(l, SBX_ERR_CONNECT);
    uv_freeaddrinfo(found);
    let_go(l);
    if (wanted)
        drive(a);
}

static void open_link(app *a, const sbx_port *p)
{
    struct addrinfo want = { .ai_socktype = SOCK_STREAM };
    port_link *l = p->tls ? NULL : (port_link *)calloc(1, sizeof *l); /* a TLS library would come between socket and client */
    char host[256], port[8];

    if (!l || p->host.n >= sizeof host) {
        free(l);
        sbx_port_failed(a->client, p->id, p->tls ? SBX_ERR_TLS : SBX_ERR_CONNECT);
        return;
    }
    snprintf(host, sizeof host, "%.*s", (int)p->host.n, p->host.p);
    snprintf(port, sizeof port, "%u", (unsigned)p->port);
    l->app = a;
    l->id = p->id;
    l->tcp.data = l->lookup.data = l->connect.data = l->write.data = l;
    a->links[p->id] = l;
    uv_tcp_init(&a->loop, &l->tcp);
    uv_tcp_nodelay(&l->tcp, 1);
    l->parts = 1;
    if (uv_getaddrinfo(&a->loop, &l->lookup, on_lookup, host, port, &want))
        link_failed(l, SBX_ERR_RESOLVE);
    else
        l->parts++;
}

/* What came goes to the client, what it has to send goes out. */
static bool feed(app *a, port_link *l)
{
    size_t n = l->in_n ? sbx_port_recv(a->client, l->id, l->in + l->in_at, l->in_n) : 0;

    l->in_at += n;
    l->in_n -= n;
    if (l->in_n == 0 && l->ended && !l->told) {
        l->told = true;
        sbx_port_eof(a->client, l->id);
        return true;
    }
    if (l->in_n == 0 && !l->ended && !l->told && !l->reading)
        l->reading = uv_read_start((uv_stream_t *)&l->tcp, on_room, on_read) == 0;
    return n != 0;
}

static bool drain(app *a, port_link *l)
{
    size_t n = l->writing || l->told ? 0 : sbx_port_send(a->client, l->id, l->out, sizeof l->out);
    uv_buf_t buf = uv_buf_init(l->out, (unsigned)n);

    if (n == 0)
        return false;
    l->writing = uv_write(&l->write, (uv_stream_t *)&l->tcp, &buf, 1, on_written) == 0;
    if (!l->writing)
        link_failed(l, SBX_ERR_CONNECTION);
    return true;
}

static bool serve_links(app *a)
{
    bool moved = false;
    sbx_port p;

    for (uint32_t id = 1; id <= LINKS; id++)
        if (a->links[id] && a->links[id]->opened) {
            moved |= feed(a, a->links[id]);
            moved |= drain(a, a->links[id]);
        }
    while (sbx_port_next(a->client, &p)) {
        if (p.action == SBX_PORT_CONNECT)
            open_link(a, &p);
        else if (a->links[p.id])
            close_link(a->links[p.id]);
        moved = true;
    }
    return moved;
}

/* ---- what the program is about ---- */

static void complain(app *a, const sbx_event *ev, const char *what)
{
    sbx_error e;

    sbx_error_of(a->client, ev->op, &e);
    fprintf(stderr, "%s: %s: %s\n", what, sbx_code_name(e.code), e.text);
    a->status = 1;
}

static void print_lines(job *j, sbx_str data)
{
    for (size_t i = 0; i < data.n; i++) {
        if (data.p[i] != '\n' && j->n < sizeof j->line)
            j->line[j->n++] = data.p[i];
        if (data.p[i] == '\n') {
            printf("%d | %.*s\n", j->number, (int)j->n, j->line);
            j->n = 0;
        }
    }
}

static void start_jobs(app *a)
{
    for (int i = 0; i < JOBS; i++) {
        sbx_run_opts o = { .call = { .user = &a->jobs[i] } };
        char command[128];
        sbx_op op;

        a->jobs[i].number = i + 1;
        snprintf(command, sizeof command, "for k in 1 2 3; do sleep 0.1; echo line $k; done; exit %d", i);
        op = sbx_command(a->client, &a->box, sbx_s(command), &o);
        if (op.slot) {
            a->open++;
        } else {
            fprintf(stderr, "command %d: %s\n", i + 1, sbx_code_name((sbx_code)op.gen));
            a->status = 1;
        }
    }
}

static bool same(sbx_op x, sbx_op y)
{
    return x.slot == y.slot && x.gen == y.gen;
}

static void on_end(app *a, const sbx_event *ev)
{
    job *j = (job *)ev->user;

    if (j)
        a->open--;
    if (same(ev->op, a->shutdown))
        a->done = true;
    if (ev->code)
        complain(a, ev, j ? "command" : a->done ? "shutdown" : "create");
    else if (j)
        printf("%d | exit %d\n", j->number, ev->exit_code);
    else if (!a->done)
        start_jobs(a);
    if (!a->open && !a->done && !a->shutdown.slot)
        a->shutdown = sbx_shutdown(a->client, 10000); /* deletes the sandbox */
}

static bool take_events(app *a)
{
    bool any = false;

    for (sbx_event ev; sbx_next(a->client, &ev); any = true) {
        if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR)
            print_lines((job *)ev.user, ev.data);
        else if (ev.kind == SBX_EV_END)
            on_end(a, &ev);
    }
    return any;
}

static void close_all(app *a)
{
    uv_close((uv_handle_t *)&a->timer, NULL);
    for (uint32_t id = 1; id <= LINKS; id++)
        if (a->links[id])
            close_link(a->links[id]);
}

static void on_timer(uv_timer_t *t)
{
    drive((app *)t->data);
}

/* After every callback: all there is to do, then sleep until the next deadline. */
static void drive(app *a)
{
    int64_t now, at;
    bool moved = true;

    if (a->done)
        return;
    uv_update_time(&a->loop);
    now = (int64_t)uv_now(&a->loop);
    sbx_step(a->client, now);
    while (moved && !a->done) {
        moved = serve_links(a);
        moved |= take_events(a);
    }
    at = sbx_next_deadline(a->client);
    if (a->done)
        close_all(a); /* nothing is left to libuv, so its loop ends */
    else if (at != INT64_MAX)
        uv_timer_start(&a->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
    else
        uv_timer_stop(&a->timer);
}

int main(void)
{
    static app a;
    sbx_client_desc desc = { .transport = &sbx_ports, .max_links = LINKS };
    sbx_create_opts create = { .delete_on_close = true };
    unsigned char seed[32];
    uv_timeval64_t wall;
    sbx_error err;

    if (uv_random(NULL, NULL, seed, sizeof seed, 0, NULL) || uv_gettimeofday(&wall) || uv_loop_init(&a.loop))
        return fprintf(stderr, "no random bytes, no time or no loop\n"), 1;
    if (sbx_open(&desc, &a.client, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    sbx_port_seed(a.client, seed, sizeof seed, wall.tv_sec * 1000 + wall.tv_usec / 1000);
    uv_timer_init(&a.loop, &a.timer);
    a.timer.data = &a;
    sbx_step(a.client, (int64_t)uv_now(&a.loop));
    a.create = sbx_create(a.client, &create, &a.box);
    drive(&a);
    uv_run(&a.loop, UV_RUN_DEFAULT);
    sbx_close(a.client);
    return uv_loop_close(&a.loop) ? fprintf(stderr, "something was left open\n"), 1 : a.status;
}
