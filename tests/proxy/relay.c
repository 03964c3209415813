#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in s;

    memset(&s, 0, sizeof s);
    s.sin_family = AF_INET;
    s.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s.sin_port = htons(port);
    return s;
}

static int bound(uint16_t *port)
{
    struct sockaddr_in s = loopback(0);
    socklen_t n = sizeof s;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&s, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&s, &n), 0);
    *port = ntohs(s.sin_port);
    return fd;
}

static int dial(uint16_t port)
{
    struct sockaddr_in s = loopback(port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&s, sizeof s)) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void nap(void)
{
    struct timespec t = { 0, 10000000 };

    nanosleep(&t, NULL);
}

/* ---- real ones ---- */

static pid_t start(char *const *argv)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

/* Listens on the port? False = it ended, as when another took the port first. */
static bool ready(const proxy_real *p)
{
    for (int i = 0; i < 2000; i++) {
        int fd = dial(p->port), status;

        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            if (fd >= 0)
                close(fd);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                fail_msg("tinyproxy or microsocks is not installed: make deps");
            return false;
        }
        if (fd >= 0) {
            close(fd);
            return true;
        }
        nap();
    }
    fail_msg("the proxy does not start");
    return false;
}

static void configure(const proxy_real *p, const char *path, const char *user, const char *password)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fprintf(f, "Port %u\nListen 127.0.0.1\nMaxClients 200\nTimeout 600\nLogFile \"%s/log\"\n", p->port, p->folder);
    if (user)
        fprintf(f, "BasicAuth %s %s\n", user, password);
    fclose(f);
}

proxy_real proxy_tinyproxy(const char *user, const char *password)
{
    char path[64];
    proxy_real p;

    memset(&p, 0, sizeof p);
    strcpy(p.folder, "/tmp/proxy-XXXXXX");
    assert_non_null(mkdtemp(p.folder));
    snprintf(path, sizeof path, "%s/conf", p.folder);
    do {
        char *argv[] = { (char *)(uintptr_t)"tinyproxy", (char *)(uintptr_t)"-d", (char *)(uintptr_t)"-c", path, NULL };

        close(bound(&p.port));
        configure(&p, path, user, password);
        p.pid = start(argv);
    } while (!ready(&p));
    return p;
}

proxy_real proxy_microsocks(const char *user, const char *password)
{
    proxy_real p;

    memset(&p, 0, sizeof p);
    do {
        char port[8];
        const char *argv[] = { "microsocks", "-i", "127.0.0.1", "-p", port, user ? "-u" : NULL, user, "-P", password, NULL };

        close(bound(&p.port));
        snprintf(port, sizeof port, "%u", p.port);
        p.pid = start((char *const *)(uintptr_t)argv);
    } while (!ready(&p));
    return p;
}

void proxy_stop(proxy_real *p)
{
    static const char *const files[] = { "conf", "log" };
    char path[64];

    if (!p->pid)
        return;
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    for (int i = 0; i < 2 && p->folder[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", p->folder, files[i]);
        unlink(path);
    }
    if (p->folder[0])
        rmdir(p->folder);
    memset(p, 0, sizeof *p);
}

/* ---- the scripted one: a thread a connection ---- */

typedef struct served {
    proxy_relay *r;
    int fd;
} served;

static bool stopping(proxy_relay *r)
{
    bool stop;

    pthread_mutex_lock(&r->lock);
    stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return stop;
}

/* Waits until one of two (-1 = none) is readable; false = stop. */
static bool readable(proxy_relay *r, struct pollfd p[2])
{
    p[0].events = p[1].events = POLLIN;
    p[0].revents = p[1].revents = 0;
    while (poll(p, 2, 50) <= 0)
        if (stopping(r))
            return false;
    return true;
}

static bool take_head(proxy_relay *r, int fd)
{
    char head[sizeof r->head];
    size_t n = 0;

    while (n < sizeof head - 1 && (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4))) {
        struct pollfd p[2] = { { fd, 0, 0 }, { -1, 0, 0 } };

        if (!readable(r, p) || recv(fd, head + n, 1, 0) != 1)
            return false;
        n++;
    }
    head[n] = 0;
    pthread_mutex_lock(&r->lock);
    memcpy(r->head, head, n + 1);
    r->heads++;
    pthread_mutex_unlock(&r->lock);
    return true;
}

static void say(const proxy_relay *r, int fd)
{
    size_t n = strlen(r->answer), piece = r->piece ? r->piece : n;

    for (size_t at = 0; at < n; at += piece) {
        send(fd, r->answer + at, n - at < piece ? n - at : piece, MSG_NOSIGNAL);
        if (r->piece)
            poll(NULL, 0, 1);
    }
    while (r->again && send(fd, r->again, strlen(r->again), MSG_NOSIGNAL) > 0)
        ;
}

static bool pass(int from, int to)
{
    char data[16384];
    ssize_t n = recv(from, data, sizeof data, 0), at = 0;

    while (at < n) {
        ssize_t k = send(to, data + at, (size_t)(n - at), MSG_NOSIGNAL);

        if (k <= 0)
            return false;
        at += k;
    }
    return n > 0;
}

static void relay(proxy_relay *r, int fd)
{
    int to = dial(r->to);
    bool on = to >= 0;

    while (on) {
        struct pollfd p[2] = { { fd, 0, 0 }, { to, 0, 0 } };

        on = readable(r, p) && (!p[0].revents || pass(fd, to)) && (!p[1].revents || pass(to, fd));
    }
    if (to >= 0)
        close(to);
}

static void *serve(void *arg)
{
    served s = *(served *)arg;
    struct pollfd p[2] = { { s.fd, 0, 0 }, { -1, 0, 0 } };

    free(arg);
    if (take_head(s.r, s.fd)) {
        if (!s.r->answer)
            readable(s.r, p); /* the client gives up */
        else
            say(s.r, s.fd);
        if (s.r->answer && strstr(s.r->answer, " 200 "))
            relay(s.r, s.fd);
    }
    close(s.fd);
    pthread_mutex_lock(&s.r->lock);
    s.r->live--;
    pthread_mutex_unlock(&s.r->lock);
    return NULL;
}

static void *greet(void *arg)
{
    proxy_relay *r = arg;

    for (;;) {
        struct pollfd p[2] = { { r->fd, 0, 0 }, { -1, 0, 0 } };
        pthread_t thread;
        served *s;

        if (!readable(r, p))
            return NULL;
        s = malloc(sizeof *s);
        s->r = r;
        s->fd = accept(r->fd, NULL, NULL);
        pthread_mutex_lock(&r->lock);
        r->live++;
        pthread_mutex_unlock(&r->lock);
        pthread_create(&thread, NULL, serve, s);
        pthread_detach(thread);
    }
}

void proxy_relay_start(proxy_relay *r, const char *answer, size_t piece, uint16_t to)
{
    memset(r, 0, sizeof *r);
    r->answer = answer;
    r->piece = piece;
    r->to = to;
    r->fd = bound(&r->port);
    assert_int_equal(listen(r->fd, 64), 0);
    pthread_mutex_init(&r->lock, NULL);
    assert_int_equal(pthread_create(&r->thread, NULL, greet, r), 0);
}

void proxy_relay_stop(proxy_relay *r)
{
    unsigned live;

    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    close(r->fd);
    do {
        nap();
        pthread_mutex_lock(&r->lock);
        live = r->live;
        pthread_mutex_unlock(&r->lock);
    } while (live);
    pthread_mutex_destroy(&r->lock);
}

unsigned proxy_relay_heads(proxy_relay *r)
{
    unsigned n;

    pthread_mutex_lock(&r->lock);
    n = r->heads;
    pthread_mutex_unlock(&r->lock);
    return n;
}
