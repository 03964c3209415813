/* A port inside a sandbox at a local one, until Ctrl-C: any local program
   talks to the service as if it ran here.

     cc -std=c99 tunnel.c -lpthread -o tunnel        (POSIX)
     LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… ./tunnel [-b SANDBOX] PORT [COMMAND…]

     ./tunnel 8080 python3 -m http.server 8080    a sandbox of its own, with that service in it
     ./tunnel -b mine 5432                        what listens already in the sandbox "mine"
     ./tunnel                                     shows itself once: a web server in a sandbox, one page of it */
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"
#include "../transports/sandbox_posix.h"
#include "../transports/sandbox_tunnel.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

typedef struct tunnel {
    sbx_client *c;
    sbx_box box;
    sbx_op command, tunnel;
    sbx_forward *f;
    bool printed; /* the service wrote its first output */
    bool failed;
} tunnel;

static int complain(tunnel *t, sbx_op op, const char *what)
{
    sbx_error e;

    sbx_error_of(t->c, op, &e);
    fprintf(stderr, "%s: %s: %s\n", what, sbx_code_name(e.code), e.text);
    t->failed = true;
    stop = 1;
    return 1;
}

/* What is no connection's: the service's output, and how it and the tunnel fare. */
static void other_event(tunnel *t, const sbx_event *ev)
{
    bool service = ev->op.slot == t->command.slot;

    if (ev->kind == SBX_EV_STDOUT || ev->kind == SBX_EV_STDERR) {
        fprintf(stderr, "%.*s", (int)ev->data.n, ev->data.p);
        t->printed = true;
    } else if (ev->kind == SBX_EV_RECONNECTED && !service) {
        fprintf(stderr, "the tunnel was lost, and stands again\n");
    } else if (ev->kind == SBX_EV_END && service && !ev->code) {
        fprintf(stderr, "the service ended: exit %d\n", ev->exit_code);
        t->failed = true;
        stop = 1;
    } else if (ev->kind == SBX_EV_END) {
        complain(t, ev->op, service ? "service" : "tunnel");
    }
}

static void turn(tunnel *t, int64_t timeout_ms)
{
    sbx_forward_report r;
    sbx_event ev;

    if (sbx_forward_wait(&t->f, 1, &ev, timeout_ms))
        other_event(t, &ev);
    while (sbx_forward_next(t->f, &r))
        if (r.code && !r.sys)
            fprintf(stderr, "connection %lu: %s: %s\n", (unsigned long)r.number, sbx_code_name(r.code), r.text);
}

/* A local program of our own, which asks for a page; the loop goes on meanwhile. */
static void show(tunnel *t)
{
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    struct sockaddr_in to;
    char page[4096];
    size_t n = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    while (!t->printed && !stop)
        turn(t, SBX_FOREVER);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons(sbx_forward_port(t->f));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) || send(fd, request, sizeof request - 1, 0) < 0)
        stop = 1;
    while (!stop && n < sizeof page) {
        ssize_t got = recv(fd, page + n, sizeof page - n, MSG_DONTWAIT);

        if (got == 0 || (got < 0 && errno != EAGAIN))
            break;
        n += got > 0 ? (size_t)got : 0;
        turn(t, got > 0 ? 0 : 20);
    }
    close(fd);
    if (!n)
        t->failed = true;
    printf("%.*s\n", (int)(n ? strcspn(page, "\r\n") : 0), page);
}

static int forward(tunnel *t, unsigned port, const char *command, bool once)
{
    sbx_forward_opts o = { .remote_port = (uint16_t)port };
    sbx_run_opts run = { .timeout_s = SBX_NONE, .kill_on_disconnect = true };
    sbx_error e;

    if (*command)
        t->command = sbx_command(t->c, &t->box, sbx_s(command), &run);
    t->tunnel = sbx_tunnel_open(t->c, &t->box, NULL);
    if (sbx_forward_open(t->c, t->tunnel, &o, &t->f, &e))
        return fprintf(stderr, "%s\n", e.text), 1;
    printf("127.0.0.1:%u\n", (unsigned)sbx_forward_port(t->f));
    fflush(stdout);
    if (once)
        show(t);
    while (!once && !stop)
        turn(t, 1000);
    sbx_forward_close(t->f);
    return t->failed;
}

static void join(char *to, size_t room, char **words, int n)
{
    size_t at = 0;

    *to = 0;
    for (int i = 0; i < n && at < room; i++)
        at += (size_t)snprintf(to + at, room - at, "%s%s", i ? " " : "", words[i]);
}

int main(int argc, char **argv)
{
    bool named = argc > 2 && strcmp(argv[1], "-b") == 0, once = argc == 1;
    int at = named ? 3 : 1, status = 1;
    long port = once ? 8080 : argc > at ? strtol(argv[at], NULL, 10) : 0;
    sbx_create_opts create = { .delete_on_close = true };
    sbx_client_desc desc = { .transport = &sbx_posix, .tx_bytes = 65536 };
    tunnel t = { .failed = false };
    char command[2048] = "exec python3 -u -m http.server 8080 --bind 127.0.0.1";
    sbx_error e;
    sbx_op op;

    if (port < 1 || port > 65535)
        return fprintf(stderr, "usage: tunnel [-b SANDBOX] PORT [COMMAND...]\n"), 1;
    if (!once)
        join(command, sizeof command, argv + at + 1, argc - at - 1);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (sbx_open(&desc, &t.c, &e))
        return fprintf(stderr, "%s\n", e.text), 1;
    op = named ? sbx_get(t.c, sbx_s(argv[2]), NULL, &t.box, NULL) : sbx_create(t.c, &create, &t.box);
    if (sbx_await(t.c, op))
        complain(&t, op, "sandbox");
    else
        status = forward(&t, (unsigned)port, command, once);
    sbx_close(t.c); /* deletes a sandbox of our own, too */
    return status;
}
