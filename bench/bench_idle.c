/* Commands that are open and silent, all on one thread: 10,000 against a peer
   of its own process, 1,000 against sandboxd. Memory, time to open them, and
   the processor's time while nothing happens but pings. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

/* ---- the peer: upgrades, says `started`, answers pings ---- */

typedef struct conn {
    size_t n;
    bool open;
    char in[1024];
} conn;

static void answer(int fd, conn *k)
{
    char accept[28], text[256];
    char *at;

    if (!k->open) {
        k->in[k->n] = 0;
        if (!strstr(k->in, "\r\n\r\n") || !(at = strstr(k->in, "Sec-WebSocket-Key: ")))
            return;
        sbx_ws_accept(accept, sbx_sn(at + 19, 24));
        snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %.28s\r\n\r\n", accept);
        peer_say(fd, text);
        k->open = true;
        k->n = 0;
        return;
    }
    while (k->n >= 6) {
        unsigned char *p = (unsigned char *)k->in;
        size_t head = 2, n = p[1] & 127;

        if (n == 126) {
            if (k->n < 8)
                return;
            n = (size_t)p[2] << 8 | p[3];
            head = 4;
        }
        if (k->n < head + 4 + n)
            return;
        if ((p[0] & 15) == SBX_WS_OP_PING) {
            peer_frame(fd, SBX_WS_OP_PONG, "", 0);
        } else if ((p[0] & 15) == SBX_WS_OP_TEXT && n > 100) { /* execute */
            peer_text(fd, "{\"type\":\"started\",\"command_id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"pid\":1}");
        }
        memmove(k->in, k->in + head + 4 + n, k->n - head - 4 - n);
        k->n -= head + 4 + n;
    }
}

static void serve(int listener, void *arg)
{
    enum { MOST = 20000 };
    static conn *conns[MOST];
    struct epoll_event ev = { 0 }, ready[256];
    int loop = epoll_create1(0);

    (void)arg;
    fcntl(listener, F_SETFL, O_NONBLOCK);
    ev.events = EPOLLIN;
    ev.data.fd = listener;
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(loop, ready, 256, -1);

        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd, new_fd;
            ssize_t got;

            while (fd == listener && (new_fd = accept(listener, NULL, NULL)) >= 0) {
                if (new_fd >= MOST)
                    peer_die("too many");
                conns[new_fd] = calloc(1, sizeof **conns);
                ev.data.fd = new_fd;
                epoll_ctl(loop, EPOLL_CTL_ADD, new_fd, &ev);
            }
            if (fd == listener)
                continue;
            got = recv(fd, conns[fd]->in + conns[fd]->n, sizeof conns[fd]->in - 1 - conns[fd]->n, 0);
            if (got <= 0) {
                free(conns[fd]);
                conns[fd] = NULL;
                close(fd);
                continue;
            }
            conns[fd]->n += (size_t)got;
            answer(fd, conns[fd]);
        }
    }
}

/* ---- the client ---- */

static sbx_client_desc desc_for(uint32_t count, const char *endpoint, int32_t ping_ms)
{
    sbx_client_desc d = { .max_ops = count, .max_links = count, .max_connects = 64, .max_requests = 128, .request_bytes = 1024, .endpoint = endpoint,
                          .ws_ping_interval_ms = ping_ms };

    if (endpoint)
        d.api_key = "k";
    return d;
}

static double open_all(sbx_client *c, const sbx_box *box, uint32_t count)
{
    double t = bench_now();
    uint32_t begun = 0, started = 0;

    while (started < count) {
        while (begun < count) {
            sbx_op op = sbx_command(c, box, sbx_s("sleep 1000"), NULL);

            if (!op.slot && op.gen != SBX_ERR_FULL)
                bench_die(sbx_code_name((sbx_code)op.gen), NULL);
            if (!op.slot)
                break;
            begun++;
        }
        for (sbx_event ev; sbx_next(c, &ev);) {
            started += ev.kind == SBX_EV_STARTED;
            if (ev.kind == SBX_EV_END)
                bench_die(sbx_code_name(ev.code), NULL);
        }
        sbx_wait(c, 1000);
    }
    return bench_now() - t;
}

static double idle_share(sbx_client *c, double seconds)
{
    double t = bench_now(), cpu = bench_cpu(), left;

    while ((left = seconds - (bench_now() - t)) > 0) {
        sbx_wait(c, (int64_t)(left * 1000) + 1);
        for (sbx_event ev; sbx_next(c, &ev);)
            if (ev.kind == SBX_EV_END || ev.kind == SBX_EV_RETRYING)
                bench_die(sbx_code_name(ev.code), NULL);
    }
    return (bench_cpu() - cpu) / (bench_now() - t) * 100;
}

static void measure(const char *what, uint32_t count, const char *endpoint, const sbx_box *box, int rounds)
{
    static const int32_t intervals[] = { 30000, 1000 };
    double opened[BENCH_MAX], share[BENCH_MAX];

    for (unsigned i = 0; i < 2; i++) {
        sbx_client_desc d = desc_for(count, endpoint, intervals[i]);

        for (int r = 0; r < rounds; r++) {
            sbx_client *c = bench_open(&d);

            opened[r] = open_all(c, box, count);
            share[r] = idle_share(c, 5);
            sbx_close(c);
        }
        if (i == 0)
            printf("%s: %u commands open after %.0f ms\n", what, (unsigned)count, bench_median(opened, rounds) * 1000);
        printf("%s: %u idle, a ping each %2d s: %.2f %% of a processor\n", what, (unsigned)count, (int)intervals[i] / 1000, bench_median(share, rounds));
    }
}

static void memory(uint32_t count)
{
    sbx_client_desc more = desc_for(count, "http://127.0.0.1:1/x", 0), few = desc_for(count / 10, "http://127.0.0.1:1/x", 0);
    size_t a, b;

    more.transport = few.transport = &sbx_posix;
    a = sbx_client_size(&more);
    b = sbx_client_size(&few);
    printf("client memory for %u commands: %lu bytes, %.1f more for each further command\n", (unsigned)count, (unsigned long)a, (double)(a - b) / (count - count / 10));
}

int main(void)
{
    enum { MANY = 10000, FEW = 1000 };
    int rounds = bench_rounds();
    struct rlimit limit;
    unsigned port;
    int listener;
    sbx_box box;
    peer p;

    setvbuf(stdout, NULL, _IOLBF, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    memory(MANY);

    listener = peer_listen(&port);
    p = peer_fork(listener, port, serve, NULL);
    memset(&box, 0, sizeof box);
    strcpy(box.name, "n");
    strcpy(box.url, p.base);
    measure("scripted peer", MANY, p.base, &box, rounds);
    peer_stop(&p);

    if (getenv("LANGSMITH_ENDPOINT")) {
        sbx_client_desc d = { 0 };
        sbx_client *c = bench_open(&d);

        bench_ok(c, sbx_create(c, NULL, &box), "create");
        measure("sandboxd", FEW, NULL, &box, rounds < 3 ? rounds : 3);
        bench_ok(c, sbx_delete(c, &box, NULL), "delete");
        sbx_close(c);
    }
    return 0;
}
