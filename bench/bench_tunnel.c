/* A local port into a sandbox (sandbox_tunnel.h) beside socat as a plain relay
   on loopback, which has one hop less: no sandboxd, no WebSocket, no yamux; and
   beside two socats in a row, which have as many.
   This same program is the service of both, in the sandbox and outside, and
   the load; the forward runs in a process of its own, as socat does. Into the
   sandbox one connection has at most the server's window (256 KiB) under way. */
#include "bench.h"
#include "../transports/sandbox_tunnel.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#define PIECE 65536
#define CONNS 64
#define STREAMS 1000
#define INSIDE 7000

static char piece[PIECE];

/* ---- the service: the first bytes say what a connection does ---- */

typedef struct order {
    uint32_t take, give; /* ping-pong of these sizes; take 0: the connection's whole direction */
    uint64_t total;
} order;

static void stream_all(int fd, const order *o)
{
    char *p = malloc(PIECE);
    uint64_t left = o->total;

    memset(p, 'x', PIECE);
    for (; o->give && left; left -= PIECE)
        if (!peer_send(fd, p, PIECE))
            break;
    while (recv(fd, p, PIECE, 0) > 0)
        ;
    if (!o->give)
        peer_send(fd, "!", 1);
    free(p);
}

static void *attend(void *arg)
{
    int fd = (int)(intptr_t)arg, one = 1;
    char p[2048];
    order o;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    memset(p, 'y', sizeof p);
    if (peer_read(fd, &o, sizeof o)) {
        if (!o.take)
            stream_all(fd, &o);
        while (o.take && peer_read(fd, p, o.take) && peer_send(fd, p, o.give))
            ;
    }
    close(fd);
    return NULL;
}

static void serve(int listener, void *arg)
{
    pthread_attr_t small;
    int fd;

    (void)arg;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        pthread_t t;

        if (pthread_create(&t, &small, attend, (void *)(intptr_t)fd))
            peer_die("thread");
    }
}

static int serve_at(unsigned port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096))
        peer_die("serve");
    puts("ready");
    fflush(stdout);
    serve(fd, NULL);
    return 0;
}

/* ---- the two relays ---- */

static void service_inside(sbx_client *c, const sbx_box *box)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    char command[64];
    struct stat st;
    sbx_event ev;
    sbx_op op;
    char *p;

    if (fd < 0 || fstat(fd, &st) || !(p = malloc((size_t)st.st_size)) || read(fd, p, (size_t)st.st_size) != st.st_size)
        peer_die("/proc/self/exe");
    close(fd);
    bench_ok(c, sbx_write(c, box, sbx_s("service"), sbx_sn(p, (size_t)st.st_size), NULL), "write");
    free(p);
    snprintf(command, sizeof command, "chmod +x service && exec ./service serve %u", INSIDE);
    op = sbx_command(c, box, sbx_s(command), &(sbx_run_opts){ .timeout_s = SBX_NONE });
    while (sbx_next_of(c, &op, &ev) && ev.kind != SBX_EV_STDOUT)
        if (ev.kind == SBX_EV_STDERR || ev.kind == SBX_EV_END)
            bench_die("the service in the sandbox", NULL);
}

static void forward(int tell)
{
    sbx_client_desc d = { .max_ops = STREAMS + 64, .tx_bytes = 2 * PIECE, .rx_bytes = PIECE };
    sbx_client *c = bench_open(&d);
    sbx_create_opts create = { .delete_on_close = true };
    sbx_tunnel_opts t = { .max_streams = STREAMS + 8, .window = 1 << 20 };
    sbx_forward_opts o = { .remote_port = INSIDE, .max_conns = STREAMS + 8, .backlog = 1024 };
    sbx_forward *f;
    unsigned port;
    sbx_event ev;
    sbx_error e;
    sbx_box box;

    bench_ok(c, sbx_create(c, &create, &box), "create");
    service_inside(c, &box);
    if (sbx_forward_open(c, sbx_tunnel_open(c, &box, &t), &o, &f, &e))
        bench_die("forward", &e);
    port = sbx_forward_port(f);
    if (write(tell, &port, sizeof port) != sizeof port)
        peer_die("pipe");
    for (;;)
        sbx_forward_wait(&f, 1, &ev, SBX_FOREVER);
}

static peer start_forward(void)
{
    peer p = { 0 };
    int tell[2];

    fflush(NULL);
    if (pipe(tell) || (p.pid = fork()) < 0)
        peer_die("fork");
    if (p.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        forward(tell[1]);
    }
    close(tell[1]);
    if (read(tell[0], &p.port, sizeof p.port) != sizeof p.port)
        bench_die("the forward did not begin", NULL);
    close(tell[0]);
    return p;
}

static peer start_socat(unsigned service)
{
    char from[96], to[64];
    peer p = { 0 };

    close(peer_listen(&p.port));
    snprintf(from, sizeof from, "TCP-LISTEN:%u,bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=1024", p.port);
    snprintf(to, sizeof to, "TCP:127.0.0.1:%u,nodelay", service);
    p.pid = fork();
    if (p.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("socat", "socat", "-b", "65536", from, to, (char *)NULL);
        _exit(127);
    }
    return p;
}

/* ---- load ---- */

static int ask(unsigned port, uint32_t take, uint32_t give, uint64_t total)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    order o = { take, give, total };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    for (int tries = 0; connect(fd, (struct sockaddr *)&a, sizeof a); tries++) {
        if (tries == 500)
            peer_die("connect");
        close(fd);
        usleep(10000); /* socat begins to listen at its own time */
        fd = socket(AF_INET, SOCK_STREAM, 0);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    peer_send(fd, &o, sizeof o);
    return fd;
}

static double bulk_up(unsigned port, uint64_t total)
{
    double t = bench_now();
    int fd = ask(port, 0, 0, total);
    char end;

    for (uint64_t left = total; left; left -= PIECE)
        if (!peer_send(fd, piece, PIECE))
            bench_die("bulk was cut", NULL);
    shutdown(fd, SHUT_WR);
    if (!peer_read(fd, &end, 1))
        bench_die("no answer behind the bulk", NULL);
    close(fd);
    return (double)total / 1e6 / (bench_now() - t);
}

#define SHARES 4
typedef struct share {
    unsigned port;
    uint64_t total;
} share;

static void *bulk_share(void *arg)
{
    const share *s = arg;

    bulk_up(s->port, s->total);
    return NULL;
}

static double bulk_shared(unsigned port, uint64_t total)
{
    share s = { port, total / SHARES };
    double t = bench_now();
    pthread_t threads[SHARES];

    for (int i = 0; i < SHARES; i++)
        if (pthread_create(&threads[i], NULL, bulk_share, &s))
            peer_die("thread");
    for (int i = 0; i < SHARES; i++)
        pthread_join(threads[i], NULL);
    return (double)total / 1e6 / (bench_now() - t);
}

static double bulk_down(unsigned port, uint64_t total)
{
    double t = bench_now();
    int fd = ask(port, 0, 1, total);
    uint64_t got = 0;
    ssize_t n;

    while (got < total && (n = recv(fd, piece, PIECE, 0)) > 0)
        got += (uint64_t)n;
    if (got != total)
        bench_die("bulk was cut", NULL);
    close(fd);
    return (double)total / 1e6 / (bench_now() - t);
}

static double requests(unsigned port, uint32_t take, uint32_t give, unsigned count)
{
    int ep = epoll_create1(0), fds[CONNS];
    uint32_t got[CONNS] = { 0 };
    struct epoll_event e[CONNS];
    unsigned done = 0, asked = 0;
    double t;

    for (int i = 0; i < CONNS; i++) {
        fds[i] = ask(port, take, give, 0);
        peer_send(fds[i], piece, take); /* stands, once it is answered */
        peer_read(fds[i], piece, give);
        e[0].events = EPOLLIN;
        e[0].data.u32 = (uint32_t)i;
        epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e[0]);
    }
    t = bench_now();
    for (int i = 0; i < CONNS; i++, asked++)
        peer_send(fds[i], piece, take);
    while (done < count) {
        int n = epoll_wait(ep, e, CONNS, 10000);

        if (n <= 0)
            bench_die("no answer", NULL);
        for (int k = 0; k < n; k++) {
            uint32_t i = e[k].data.u32;
            ssize_t came = recv(fds[i], piece, give - got[i], 0);

            if (came <= 0)
                bench_die("a connection was cut", NULL);
            got[i] += (uint32_t)came;
            if (got[i] < give)
                continue;
            got[i] = 0;
            done++;
            if (asked++ < count)
                peer_send(fds[i], piece, take);
        }
    }
    t = bench_now() - t;
    for (int i = 0; i < CONNS; i++)
        close(fds[i]);
    close(ep);
    return count / t;
}

/* One at a time, in microseconds. */
static double round_trip(unsigned port, unsigned count)
{
    int fd = ask(port, 1, 1, 0);
    double t = 0;

    for (unsigned i = 0; i <= count; i++) {
        if (i == 1)
            t = bench_now(); /* behind the first, which waits for the connection */
        if (!peer_send(fd, piece, 1) || !peer_read(fd, piece, 1))
            bench_die("a round trip was cut", NULL);
    }
    close(fd);
    return (bench_now() - t) * 1e6 / count;
}

static double resident_kb(pid_t pid)
{
    char path[64], line[128];
    double kb = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = atof(line + 6);
    if (f)
        fclose(f);
    return kb;
}

static void open_streams(const peer *p)
{
    static int fds[STREAMS];
    double before = resident_kb(p->pid), t = bench_now();

    for (int i = 0; i < STREAMS; i++) {
        fds[i] = ask(p->port, 1, 1, 0);
        peer_send(fds[i], piece, 1);
    }
    for (int i = 0; i < STREAMS; i++)
        if (!peer_read(fds[i], piece, 1))
            bench_die("a stream was cut", NULL);
    t = bench_now() - t;
    printf("%-40s %7.1f KiB each (resident), opened and answered in %.2f s\n", "1,000 connections, one thread", (resident_kb(p->pid) - before) / STREAMS, t);
    for (int i = 0; i < STREAMS; i++)
        close(fds[i]);
}

/* ---- comparison ---- */

/* Of a process and its children that ended, in seconds. */
static double processor(pid_t pid)
{
    unsigned long t[4] = { 0 };
    char path[64];
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (!f || fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &t[0], &t[1], &t[2], &t[3]) != 4)
        t[0] = 0;
    if (f)
        fclose(f);
    return (double)(t[0] + t[1] + t[2] + t[3]) / (double)sysconf(_SC_CLK_TCK);
}

typedef enum kind { UP, SHARED, DOWN, PING, ANSWER, TRIP } kind;

static double once(kind k, unsigned port)
{
    switch (k) {
    case UP: return bulk_up(port, UINT64_C(256) << 20);
    case SHARED: return bulk_shared(port, UINT64_C(256) << 20);
    case DOWN: return bulk_down(port, UINT64_C(256) << 20);
    case PING: return requests(port, 1, 1, 20000);
    case ANSWER: return requests(port, 100, 1024, 20000);
    default: return round_trip(port, 2000);
    }
}

/* Ways to the service, and the server that is part of the last. */
typedef enum way { DIRECT, SOCAT, SOCATS, FORWARD, WAYS, SERVER = WAYS } way;

static void compare(kind k, const char *what, const char *unit, const unsigned ports[WAYS], const pid_t pids[WAYS + 1], int rounds)
{
    double v[WAYS][BENCH_MAX], m[WAYS], cpu[WAYS + 1] = { 0 };

    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < WAYS; i++) {
            double before = processor(pids[i]), server = processor(pids[SERVER]);

            v[i][r] = once(k, ports[i]);
            usleep(20000); /* socat's children are counted once they have ended */
            cpu[i] += processor(pids[i]) - before;
            cpu[SERVER] += i == FORWARD ? processor(pids[SERVER]) - server : 0;
        }
    for (int i = 0; i < WAYS; i++)
        m[i] = bench_median(v[i], rounds);
    printf("%-40s %8.0f %s  socat %6.0f  two in a row %6.0f  direct %6.0f  ratio to socat %.2f, to two %.2f\n", what, m[FORWARD], unit, m[SOCAT], m[SOCATS], m[DIRECT],
           k == TRIP ? m[SOCAT] / m[FORWARD] : m[FORWARD] / m[SOCAT], k == TRIP ? m[SOCATS] / m[FORWARD] : m[FORWARD] / m[SOCATS]);
    printf("%-40s %8.2f s     socat %6.2f  sandboxd %.2f\n", "  processor time of a run", cpu[FORWARD] / rounds, cpu[SOCAT] / rounds, cpu[SERVER] / rounds);
    if (k == TRIP)
        printf("%-40s %8.0f %s  socat %6.0f  two in a row %6.0f\n", "  added to direct", m[FORWARD] - m[DIRECT], unit, m[SOCAT] - m[DIRECT], m[SOCATS] - m[DIRECT]);
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(), listener;
    struct rlimit limit;
    unsigned ports[WAYS];
    pid_t pids[WAYS + 1];
    peer service, relay, second, own;

    if (argc == 3)
        return serve_at((unsigned)atoi(argv[2]));
    setvbuf(stdout, NULL, _IOLBF, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    own = start_forward();
    listener = peer_listen(&ports[DIRECT]);
    service = peer_fork(listener, ports[DIRECT], serve, NULL);
    relay = start_socat(ports[DIRECT]);
    second = start_socat(relay.port);
    ports[SOCAT] = relay.port;
    ports[SOCATS] = second.port;
    ports[FORWARD] = own.port;
    pids[DIRECT] = service.pid;
    pids[SOCAT] = relay.pid;
    pids[SOCATS] = second.pid;
    pids[FORWARD] = own.pid;
    pids[SERVER] = getenv("SANDBOXD_PID") ? (pid_t)atoi(getenv("SANDBOXD_PID")) : 0;
    compare(UP, "bulk into the sandbox, writes of 64 KiB", "MB/s", ports, pids, rounds);
    compare(SHARED, "the same over 4 connections", "MB/s", ports, pids, rounds);
    compare(DOWN, "bulk out of the sandbox", "MB/s", ports, pids, rounds);
    compare(PING, "64 connections, 1 byte, 1 byte", "/s  ", ports, pids, rounds);
    compare(ANSWER, "64 connections, 100 bytes, 1 KiB", "/s  ", ports, pids, rounds);
    compare(TRIP, "one round trip of a byte", "us  ", ports, pids, rounds);
    open_streams(&own);
    peer_stop(&own);
    peer_stop(&second);
    peer_stop(&relay);
    peer_stop(&service);
    return 0;
}
