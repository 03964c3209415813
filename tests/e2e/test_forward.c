/* Local ports into a sandbox: sandbox_tunnel.h against plain sockets on this
   side and a service inside. What local programs do runs in a thread, the
   client and its forwards in the test's own. */
#include "e2e.h"
#define SANDBOX_IMPLEMENTATION
#include "sandbox_tunnel.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#define BULK (8u << 20)
#define MANY 64
#define SERIES 1000

/* The first line of a connection says what it does. */
static const char server[] =
    "import socket, socketserver, struct, threading\n"
    "gate = threading.Event()\n"
    "class H(socketserver.StreamRequestHandler):\n"
    "    def handle(self):\n"
    "        word, *rest = self.rfile.readline().decode().split()\n"
    "        getattr(self, word)(*rest)\n"
    "    def echo(self):\n"
    "        while data := self.rfile.read1(65536): self.request.sendall(data)\n"
    "    def count(self):\n"
    "        n = 0\n"
    "        while data := self.rfile.read1(65536): n += len(data)\n"
    "        self.wfile.write(b'%d' % n)\n"
    "    def later(self):\n"
    "        gate.wait()\n"
    "        self.count()\n"
    "    def open(self):\n"
    "        gate.set()\n"
    "    def first(self):\n"
    "        self.wfile.write(b'bye')\n"
    "        self.request.shutdown(socket.SHUT_WR)\n"
    "        open('first', 'wb').write(self.rfile.read())\n"
    "    def source(self, n):\n"
    "        for _ in range(int(n) >> 16): self.wfile.write(bytes(range(256)) * 256)\n"
    "    def reset(self):\n"
    "        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
    "        self.rfile.close(); self.request.close()\n"
    "    def told(self):\n"
    "        try:\n"
    "            while self.rfile.read1(65536): pass\n"
    "            end = 'end'\n"
    "        except ConnectionResetError: end = 'reset'\n"
    "        open('told', 'w').write(end)\n"
    "class S(socketserver.ThreadingTCPServer):\n"
    "    request_queue_size = 1000\n"
    "    daemon_threads = True\n"
    "s = S(('127.0.0.1', 5000), H)\n"
    "print('listening', flush=True)\n"
    "s.serve_forever()\n";

static void serve(sbx_client *client, const sbx_box *b)
{
    sbx_op op;
    sbx_event ev;

    OK_ON(client, sbx_write(client, b, sbx_s("tcp.py"), sbx_s(server), NULL));
    op = sbx_command(client, b, sbx_s("exec python3 tcp.py"), &(sbx_run_opts){ .timeout_s = SBX_NONE });
    while (sbx_next_of(client, &op, &ev) && ev.kind != SBX_EV_STDOUT)
        assert_int_not_equal(ev.kind, SBX_EV_END);
}

/* ---- a local program ---- */

static int dial(uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool put(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

/* All that comes, to its end; -1 = it was reset. */
static ssize_t get(int fd, char *p, size_t room)
{
    size_t n = 0;

    for (;;) {
        ssize_t got = recv(fd, p + n, room - n, 0);

        if (got < 0)
            return -1;
        if (got == 0 || (n += (size_t)got) == room)
            return (ssize_t)n;
    }
}

/* One connection: says it, ends its half, and hears what comes. */
static ssize_t ask(uint16_t port, const char *text, char *answer, size_t room)
{
    int fd = dial(port);
    ssize_t n = -2;

    if (fd >= 0 && put(fd, text, strlen(text)) && shutdown(fd, SHUT_WR) == 0)
        n = get(fd, answer, room);
    close(fd);
    return n;
}

static bool echoes(uint16_t port)
{
    char answer[16];

    return ask(port, "echo\nhello", answer, sizeof answer) == 5 && memcmp(answer, "hello", 5) == 0;
}

/* ---- beside the client ---- */

typedef struct local {
    uint16_t port;
    bool (*act)(struct local *l);
    bool right;
    atomic_bool done;
    atomic_int at; /* what it waits for the test to do, and what the test did */
} local;

static void *act(void *arg)
{
    local *l = arg;

    l->right = l->act(l);
    atomic_store(&l->done, true);
    return NULL;
}

/* Events of the tunnel itself that came. */
static unsigned again;

static void turn(sbx_forward *f)
{
    sbx_event ev;

    if (sbx_forward_wait(&f, 1, &ev, 10))
        again += ev.kind == SBX_EV_RECONNECTED;
}

static void run(sbx_forward *f, bool (*what)(local *))
{
    local l = { .port = sbx_forward_port(f), .act = what };
    pthread_t t;

    assert_int_equal(pthread_create(&t, NULL, act, &l), 0);
    while (!atomic_load(&l.done))
        turn(f);
    pthread_join(t, NULL);
    assert_true(l.right);
}

/* The next report. */
static sbx_forward_report told(sbx_forward *f)
{
    sbx_forward_report r;

    while (!sbx_forward_next(f, &r))
        turn(f);
    return r;
}

static sbx_forward *forward(sbx_client *client, sbx_op tunnel, uint16_t port, uint32_t max)
{
    sbx_forward_opts o = { .remote_port = port, .max_conns = max };
    sbx_forward *f;
    sbx_error e;

    if (sbx_forward_open(client, tunnel, &o, &f, &e))
        fail_msg("%s", e.text);
    assert_true(sbx_forward_port(f) != 0);
    return f;
}

static void end(sbx_client *client, sbx_op tunnel, sbx_forward *f)
{
    sbx_forward_close(f);
    assert_int_equal(sbx_tunnel_close(client, tunnel), SBX_OK);
    OK_ON(client, tunnel);
}

static unsigned descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* ---- tests ---- */

static bool half_local(local *l)
{
    static char big[BULK + 6];
    char answer[16] = { 0 };
    int fd;

    if (!echoes(l->port))
        return false;
    memset(big, 'x', sizeof big);
    memcpy(big, "count\n", 6);
    fd = dial(l->port);
    if (!put(fd, big, sizeof big) || shutdown(fd, SHUT_WR) || get(fd, answer, sizeof answer) != 7 || strcmp(answer, "8388608") != 0)
        return false;
    close(fd);
    return true;
}

/* The other side ends first; what is sent behind that still arrives. */
static bool half_remote(local *l)
{
    char answer[16];
    int fd = dial(l->port);
    bool right = put(fd, "first\n", 6) && get(fd, answer, sizeof answer) == 3 && memcmp(answer, "bye", 3) == 0 && put(fd, "late", 4);

    close(fd);
    return right;
}

static void halves(void **state)
{
    unsigned before = descriptors();
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0);
    sbx_forward_report r;

    (void)state;
    run(f, half_local);
    r = told(f);
    assert_int_equal(r.number, 1);
    assert_int_equal(r.code, SBX_OK);
    assert_int_equal(r.up, 10);
    assert_int_equal(r.down, 5);
    r = told(f);
    assert_int_equal(r.number, 2);
    assert_int_equal(r.up, BULK + 6);
    run(f, half_remote);
    assert_int_equal(told(f).code, SBX_OK);
    assert_int_equal(sbx_forward_conns(f), 0);
    end(c, tunnel, f);
    assert_string_equal(e2e_sh("until [ -s first ]; do sleep 0.05; done; cat first"), "late");
    if (e2e_over("posix"))
        assert_in_range(descriptors(), before - 3, before + 1); /* a kept connection more or less */
}

/* One of many: an echo of noise of its own size, written and read in turn. */
static void *noise(void *arg)
{
    local *l = arg;
    uint32_t seed = (uint32_t)atomic_fetch_add(&l->at, 1);
    size_t n = 1 + seed * 7919 % 300000, sent = 0, got = 0;
    char *out = malloc(n), *in = malloc(n + 1);
    int fd = dial(l->port);
    bool right = put(fd, "echo\n", 5);

    e2e_noise(out, n, seed);
    while (right && got < n) {
        size_t part = n - sent < 30000 ? n - sent : 30000;
        ssize_t came;

        right = put(fd, out + sent, part);
        sent += part;
        if (sent == n)
            shutdown(fd, SHUT_WR);
        came = recv(fd, in + got, n - got, 0);
        right &= came > 0;
        got += came > 0 ? (size_t)came : 0;
    }
    right = right && recv(fd, in + n, 1, 0) == 0 && memcmp(in, out, n) == 0;
    close(fd);
    free(out);
    free(in);
    return right ? l : NULL;
}

static bool all_at_once(local *l)
{
    pthread_t t[MANY];
    bool right = true;

    for (int i = 0; i < MANY; i++)
        if (pthread_create(&t[i], NULL, noise, l))
            return false;
    for (int i = 0; i < MANY; i++) {
        void *good;

        pthread_join(t[i], &good);
        right &= good != NULL;
    }
    return right;
}

static void many(void **state)
{
    sbx_client *client = e2e_open(&(sbx_client_desc){ .max_ops = MANY + 8 });
    sbx_op tunnel = sbx_tunnel_open(client, &box, &(sbx_tunnel_opts){ .max_streams = MANY });
    sbx_forward *f = forward(client, tunnel, 5000, MANY);

    (void)state;
    run(f, all_at_once);
    sbx_forward_close(f);
    sbx_close(client);
}

/* No more than two at once: the others wait, none is dropped. */
static void few(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 2);

    (void)state;
    run(f, all_at_once);
    end(c, tunnel, f);
}

/* The tunnel has fewer places than the forward. */
static void narrow(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, &(sbx_tunnel_opts){ .max_streams = 2 });
    sbx_forward *f = forward(c, tunnel, 5000, 0);

    (void)state;
    run(f, all_at_once);
    end(c, tunnel, f);
}

/* More than the socket buffers on the way take: they are made small. */
static bool unread(local *l)
{
    static char all[4 * BULK];
    int little = 65536;
    char line[32];
    int fd = dial(l->port);
    bool right;

    snprintf(line, sizeof line, "source %u\n", 4 * BULK);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    right = put(fd, line, strlen(line)) && echoes(l->port) && echoes(l->port);
    right = right && shutdown(fd, SHUT_WR) == 0 && get(fd, all, sizeof all) == (ssize_t)sizeof all;
    for (size_t i = 0; right && i < sizeof all; i++)
        right = (unsigned char)all[i] == (unsigned char)i;
    right = right && recv(fd, line, 1, 0) == 0;
    close(fd);
    return right;
}

static void slow_reader(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0);

    (void)state;
    run(f, unread);
    end(c, tunnel, f);
}

static void *push(void *arg)
{
    static char all[BULK];
    int fd = *(int *)arg;

    return put(fd, "later\n", 6) && put(fd, all, sizeof all) && shutdown(fd, SHUT_WR) == 0 ? arg : NULL;
}

/* The service does not read until another connection tells it to. */
static bool stuck(local *l)
{
    char answer[16] = { 0 };
    int fd = dial(l->port);
    pthread_t t;
    void *sent;
    bool right = pthread_create(&t, NULL, push, &fd) == 0 && echoes(l->port) && echoes(l->port) && ask(l->port, "open\n", answer, sizeof answer) == 0;

    pthread_join(t, &sent);
    right = right && sent && get(fd, answer, sizeof answer) == 7 && strcmp(answer, "8388608") == 0;
    close(fd);
    return right;
}

static void slow_service(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0);

    (void)state;
    run(f, stuck);
    end(c, tunnel, f);
}

static bool is_reset(local *l)
{
    char answer[16];

    return ask(l->port, "reset\n", answer, sizeof answer) < 0;
}

static void refusals(void **state)
{
    const char *const options[] = { "--deny-port", "6000", NULL };
    e2e_server s = e2e_serve(options);
    sbx_client *client = e2e_connect(&s, NULL);
    sbx_box b = e2e_create(client);
    sbx_op tunnel = sbx_tunnel_open(client, &b, NULL);
    sbx_forward *denied = forward(client, tunnel, 6000, 0), *nobody = forward(client, tunnel, 6001, 0);
    sbx_forward_report r;

    (void)state;
    run(denied, is_reset);
    r = told(denied);
    assert_int_equal(r.code, SBX_ERR_PORT_DENIED);
    assert_int_equal(r.sys, 0);
    assert_string_not_equal(r.text, "");
    run(nobody, is_reset);
    assert_int_equal(told(nobody).code, SBX_ERR_DIAL);
    sbx_forward_close(denied);
    end(client, tunnel, nobody);
    sbx_close(client);
    e2e_stop(&s);
}

/* A reset on either side is one on the other. */
static bool reset_here(local *l)
{
    struct linger now = { 1, 0 };
    char piece[4096] = { 0 };
    int fd = dial(l->port);
    bool right = put(fd, "told\n", 5) && put(fd, piece, sizeof piece);

    while (right && !atomic_load(&l->at) && echoes(l->port))
        atomic_store(&l->at, 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    return right;
}

static void resets(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0);
    sbx_forward_report r;

    (void)state;
    run(f, is_reset);
    r = told(f);
    assert_int_equal(r.code, SBX_ERR_CONNECTION);
    assert_int_equal(r.sys, 0);
    run(f, reset_here);
    assert_int_equal(told(f).code, SBX_OK); /* the echo beside it */
    r = told(f);
    assert_int_equal(r.number, 2);
    assert_int_equal(r.code, SBX_ERR_CONNECTION);
    assert_int_equal(r.sys, ECONNRESET);
    assert_string_equal(e2e_sh("until [ -s told ]; do sleep 0.05; done; cat told"), "reset");
    end(c, tunnel, f);
}

static bool cut(local *l)
{
    static char all[1 << 20];

    return ask(l->port, "source 1048576\n", all, sizeof all) < 0;
}

static bool whole(local *l)
{
    static char all[1 << 20];

    return ask(l->port, "source 1048576\n", all, sizeof all) == (ssize_t)sizeof all;
}

static void lost(void **state)
{
    const char *const options[] = { "--fault", "drop-ws-after=300000:path=/tunnel:count=1", NULL };
    e2e_server s = e2e_serve(options);
    sbx_client *client = e2e_connect(&s, NULL);
    sbx_box b = e2e_create(client);
    sbx_op tunnel = sbx_tunnel_open(client, &b, NULL);
    sbx_forward *f;

    (void)state;
    serve(client, &b);
    f = forward(client, tunnel, 5000, 0);
    again = 0;
    run(f, cut);
    assert_int_equal(told(f).code, SBX_ERR_CONNECTION);
    run(f, whole);
    assert_int_equal(told(f).code, SBX_OK);
    assert_int_equal(again, 1);
    sbx_forward_close(f);
    sbx_close(client);
    e2e_stop(&s);
}

static bool in_turn(local *l)
{
    for (int i = 0; i < SERIES; i++)
        if (!echoes(l->port))
            return false;
    return true;
}

static void series(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0);
    unsigned before = descriptors();
    sbx_forward_report r;

    (void)state;
    run(f, in_turn);
    while (sbx_forward_conns(f))
        turn(f);
    assert_in_range(descriptors(), before - 3, before + 1); /* a kept connection, the tunnel's */
    r = told(f);
    assert_int_equal(r.number, SERIES - 31);
    assert_int_equal(r.missed, SERIES - 32);
    end(c, tunnel, f);
}

/* Without descriptors nothing is accepted, reported once, and it goes on. */
static bool no_room(local *l)
{
    int fd = dial(l->port);
    char answer[16];
    bool right = put(fd, "echo\nhello", 10) && shutdown(fd, SHUT_WR) == 0;

    atomic_store(&l->at, 1);
    right = right && get(fd, answer, sizeof answer) == 5;
    close(fd);
    return right;
}

static void out_of_descriptors(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0);
    local l = { .port = sbx_forward_port(f), .act = no_room };
    struct rlimit old, none;
    sbx_event ev;
    pthread_t t;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    while (sbx_next_of(c, &tunnel, &ev) && ev.kind != SBX_EV_STARTED)
        ;
    assert_int_equal(pthread_create(&t, NULL, act, &l), 0);
    while (!atomic_load(&l.at))
        ;
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    sbx_forward_step(f);
    assert_true(sbx_forward_deadline(f) > 0);
    assert_int_equal(sbx_forward_conns(f), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    while (!atomic_load(&l.done))
        turn(f);
    pthread_join(t, NULL);
    assert_true(l.right);
    assert_int_equal(told(f).sys, EMFILE);
    assert_int_equal(told(f).code, SBX_OK);
    end(c, tunnel, f);
}

/* A socket in the file system; memory of the program's own. */
static void unix_socket(void **state)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward_opts o = { .remote_port = 5000, .max_conns = 1, .local_host = to.sun_path };
    char folder[] = "/tmp/forward-XXXXXX", answer[8];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sbx_forward *f;
    ssize_t n;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(to.sun_path, sizeof to.sun_path, "%s/s", folder);
    o.memory.n = sbx_forward_size(&o);
    o.memory.p = malloc(o.memory.n);
    assert_int_equal(sbx_forward_open(c, tunnel, &o, &f, NULL), SBX_OK);
    assert_int_equal(sbx_forward_port(f), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_true(put(fd, "echo\nhello", 10) && shutdown(fd, SHUT_WR) == 0);
    assert_int_equal(told(f).code, SBX_OK);
    n = get(fd, answer, sizeof answer);
    assert_int_equal(n, 5);
    close(fd);
    end(c, tunnel, f);
    assert_int_equal(access(to.sun_path, F_OK), -1);
    assert_int_equal(rmdir(folder), 0);
    free(o.memory.p);
}

static void options(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0), *other;
    char small[64];
    sbx_forward_opts wrong[] = {
        { .local_host = "localhost", .remote_port = 1 },
        { .remote_port = 0 },
        { .remote_port = 1, .max_conns = 1000001 },
        { .remote_port = 1, .backlog = -1 },
        { .remote_port = 1, .memory = { small, sizeof small } },
        { .remote_port = 1, .local_port = 5000, .local_host = "192.0.2.1" }, /* nobody's (RFC 5737) */
        { .remote_port = 1, .local_port = 5000, .local_host = "/no/such/folder/socket" },
        { .remote_port = 1, .local_port = sbx_forward_port(f) },
    };
    const char *const fields[] = { "local_host", "remote_port", "max_conns", "backlog", "memory", "local_host", "local_host", "local_port" };
    char port[8];
    unsigned before = descriptors();
    sbx_error e;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(sbx_forward_open(c, tunnel, &wrong[i], &other, &e), SBX_OK);
        assert_null(other);
        assert_string_equal(e.field, fields[i]);
        assert_memory_equal(e.text, fields[i], strlen(fields[i]));
    }
    assert_int_equal(e.sys, EADDRINUSE);
    snprintf(port, sizeof port, "%u", (unsigned)sbx_forward_port(f));
    assert_non_null(strstr(e.text, port));
    assert_int_equal(descriptors(), before);
    end(c, tunnel, f);
}

/* Closing resets what stands; the tunnel stays. */
static bool cut_off(local *l)
{
    int fd = dial(l->port);
    char answer[8];
    bool right = put(fd, "echo\nhello", 10) && recv(fd, answer, 5, MSG_WAITALL) == 5;

    atomic_store(&l->at, 1);
    right = right && recv(fd, answer, 1, 0) < 0;
    close(fd);
    return right;
}

static void closing(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f = forward(c, tunnel, 5000, 0);
    local l = { .port = sbx_forward_port(f), .act = cut_off };
    pthread_t t;

    (void)state;
    assert_int_equal(pthread_create(&t, NULL, act, &l), 0);
    while (!atomic_load(&l.at))
        turn(f);
    sbx_forward_close(f);
    pthread_join(t, NULL);
    assert_true(l.right);
    f = forward(c, tunnel, 5000, 0);
    run(f, half_remote);
    end(c, tunnel, f);
}

/* Two over one tunnel: by sbx_forward_wait, then in a loop of the test's own. */
static bool both(local *l)
{
    for (int i = 0; i < 20; i++)
        if (!echoes(l->port) || !echoes((uint16_t)atomic_load(&l->at)))
            return false;
    return true;
}

static void own_loop(sbx_forward *const f[2])
{
    struct pollfd p[2] = { { sbx_forward_handle(f[0]), POLLIN, 0 }, { sbx_forward_handle(f[1]), POLLIN, 0 } };
    int64_t now = sbx_posix.mono_ms(NULL), at = now + 10;
    sbx_event ev;

    for (int i = 0; i < 2; i++)
        at = at < sbx_forward_deadline(f[i]) ? at : sbx_forward_deadline(f[i]);
    at = at < sbx_next_deadline(c) ? at : sbx_next_deadline(c);
    poll(p, 2, p[0].fd < 0 ? 1 : at <= now ? 0 : (int)(at - now));
    sbx_step(c, sbx_posix.mono_ms(NULL));
    sbx_forward_step(f[0]);
    sbx_forward_step(f[1]);
    while (sbx_next(c, &ev))
        if (!sbx_forward_event(f[0], &ev))
            assert_true(sbx_forward_event(f[1], &ev) || ev.kind == SBX_EV_STARTED);
}

static void two(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_forward *f[2] = { forward(c, tunnel, 5000, 0), forward(c, tunnel, 5000, 3) };
    sbx_event ev;

    (void)state;
    for (int own = 0; own < 2; own++) {
        local l = { .port = sbx_forward_port(f[0]), .act = both, .at = sbx_forward_port(f[1]) };
        pthread_t t;

        assert_int_equal(pthread_create(&t, NULL, act, &l), 0);
        while (!atomic_load(&l.done)) {
            if (own)
                own_loop(f);
            else
                sbx_forward_wait(f, 2, &ev, 10);
        }
        pthread_join(t, NULL);
        assert_true(l.right);
    }
    sbx_forward_close(f[0]);
    end(c, tunnel, f[1]);
}

static int begin(void **state)
{
    int failed = e2e_begin(state);

    if (!failed)
        serve(c, &box);
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves),       cmocka_unit_test(many),     cmocka_unit_test(few),    cmocka_unit_test(narrow),
        cmocka_unit_test(slow_reader),  cmocka_unit_test(slow_service), cmocka_unit_test(refusals), cmocka_unit_test(resets),
        cmocka_unit_test(lost),         cmocka_unit_test(series),   cmocka_unit_test(out_of_descriptors),
        cmocka_unit_test(unix_socket),  cmocka_unit_test(options),  cmocka_unit_test(closing),  cmocka_unit_test(two),
    };

    return cmocka_run_group_tests(tests, begin, e2e_end);
}
