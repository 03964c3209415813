#define _GNU_SOURCE 1
#include "mux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------------ the peer */

peer peer_start(const char *role, const char *argument)
{
    const char *path = getenv("INTEROP_PEER");
    char number[16], line[64];
    int in[2], out[2];
    ssize_t n;
    peer p;

    if (!path)
        fail_msg("INTEROP_PEER must name the peer: run `make test-interop`");
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    p.pid = fork();
    if (p.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        if (argument && atoi(argument) > 0) {
            snprintf(number, sizeof number, "%d", atoi(argument));
            execl(path, path, role, "backlog", number, (char *)NULL);
        } else {
            execl(path, path, role, argument, (char *)NULL);
        }
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p.in = in[1];
    p.out = out[0];
    n = read(p.out, line, sizeof line - 1);
    if (n <= 0)
        fail_msg("%s did not start", path);
    line[n] = 0;
    assert_int_equal(sscanf(line, "listening %hu", &p.port), 1);
    return p;
}

bool peer_passed(peer *p)
{
    char line[64];
    ssize_t n = read(p->out, line, sizeof line - 1);

    return n >= 6 && memcmp(line, "passed", 6) == 0;
}

void peer_stop(peer *p)
{
    int status;

    close(p->in);
    close(p->out);
    kill(p->pid, SIGTERM);
    waitpid(p->pid, &status, 0);
}

/* --------------------------------------------------------------- the session */

void pattern(unsigned char *p, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t x = at + i;

        p[i] = (unsigned char)(x ^ x >> 8 ^ x >> 16);
    }
}

size_t memory_peak(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (size_t)u.ru_maxrss * 1024;
}

mux *mux_connect(uint16_t port, bool server)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    mux *m = calloc(1, sizeof *m);
    int one = 1;

    assert_non_null(m);
    m->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(m->fd, (struct sockaddr *)&a, sizeof a), 0);
    setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(m->fd, F_SETFL, O_NONBLOCK);
    sbx_yamux_init(&m->codec, server, m->streams, MUX_STREAMS, 0);
    return m;
}

void mux_close(mux *m)
{
    for (size_t i = 0; i < m->lane_n; i++)
        free(m->lanes[i].held);
    close(m->fd);
    free(m);
}

static lane *lane_new(mux *m, sbx_yamux_stream *s)
{
    lane *l;

    assert_true(m->lane_n < MUX_STREAMS);
    l = &m->lanes[m->lane_n++];
    l->stream = s;
    s->user = l;
    return l;
}

lane *mux_open(mux *m, const void *first, size_t first_n)
{
    sbx_yamux_stream *s = sbx_yamux_open(&m->codec);
    lane *l;

    if (!s)
        return NULL;
    l = lane_new(m, s);
    memcpy(l->first, first, first_n);
    l->first_n = first_n;
    return l;
}

void mux_put(mux *m, const void *p, size_t n)
{
    assert_true(m->out_n + n <= sizeof m->out);
    memcpy(m->out + m->out_n, p, n);
    m->out_n += n;
}

void mux_drop(mux *m, lane *l)
{
    unsigned char head[SBX_YAMUX_HEAD];

    mux_put(m, head, sbx_yamux_drop(&m->codec, l->stream, head));
    l->stream = NULL;
}

bool mux_all_free(const mux *m)
{
    for (size_t i = 0; i < MUX_STREAMS; i++)
        if (m->streams[i].id)
            return false;
    return true;
}

static size_t mux_room(const mux *m)
{
    return sizeof m->out - m->out_n;
}

/* What the lane has to send next; its length. */
static size_t lane_next(const lane *l, unsigned char *p, size_t room)
{
    size_t n = sbx_yamux_sendable(l->stream);

    room = n < room ? n : room;

    if (l->first_at < l->first_n) {
        n = l->first_n - l->first_at < room ? l->first_n - l->first_at : room;
        memcpy(p, l->first + l->first_at, n);
    } else if (l->echo) {
        n = l->still ? 0 : l->held_n < room ? l->held_n : room;
        if (n)
            memcpy(p, l->held, n);
    } else {
        n = l->pattern - l->sent < room ? (size_t)(l->pattern - l->sent) : room;
        pattern(p, n, l->sent);
    }
    return n;
}

static void lane_took(lane *l, size_t n)
{
    if (l->first_at < l->first_n) {
        l->first_at += n;
    } else if (l->echo) {
        memmove(l->held, l->held + n, l->held_n - n);
        l->held_n -= n;
        sbx_yamux_consumed(l->stream, n);
    } else {
        l->sent += n;
    }
}

static bool lane_is_over(const lane *l)
{
    return l->ending && l->first_at == l->first_n && (l->echo ? l->eof && !l->held_n : l->sent == l->pattern);
}

static void lane_send(mux *m, lane *l)
{
    unsigned char head[SBX_YAMUX_HEAD];
    static unsigned char p[16384];

    while (l->stream && !l->ended && !l->reset && mux_room(m) >= sizeof p + 2 * SBX_YAMUX_HEAD) {
        size_t n = lane_next(l, p, sizeof p);

        if (!n)
            break;
        mux_put(m, head, sbx_yamux_data(l->stream, &n, head));
        mux_put(m, p, n);
        lane_took(l, n);
    }
    if (l->stream && !l->ended && !l->reset && lane_is_over(l) && mux_room(m) >= SBX_YAMUX_HEAD) {
        mux_put(m, head, sbx_yamux_end(l->stream, head));
        l->ended = true;
    }
    if (l->stream && mux_room(m) >= SBX_YAMUX_HEAD)
        mux_put(m, head, sbx_yamux_update(&m->codec, l->stream, head));
    if (l->stream && ((l->ended && l->eof) || l->reset) && mux_room(m) >= SBX_YAMUX_HEAD)
        mux_drop(m, l);
}

static void lane_data(lane *l, const char *p, size_t n)
{
    for (size_t i = 0; i < n && l->got + i < sizeof l->tail; i++)
        l->tail[l->got + i] = p[i];
    if (l->verify) {
        static unsigned char want[1 << 17];

        assert_true(n <= sizeof want);
        pattern(want, n, l->got);
        if (memcmp(want, p, n) != 0)
            l->mismatch = true;
    }
    l->got += n;
    if (l->echo) {
        if (!l->held)
            l->held = malloc(SBX_YAMUX_INITIAL);
        assert_non_null(l->held);
        assert_true(l->held_n + n <= SBX_YAMUX_INITIAL); /* no more than it has credit for */
        memcpy(l->held + l->held_n, p, n);
        l->held_n += n;
    } else if (!l->still) {
        sbx_yamux_consumed(l->stream, n);
    }
}

/* In the server's role: see client.go. */
static void mux_serve(mux *m, sbx_yamux_stream *s)
{
    lane *l = NULL;

    for (size_t i = 0; i < m->lane_n; i++)
        m->lanes[i].still = false;
    for (size_t i = 0; i < m->lane_n && !l; i++)
        l = m->lanes[i].stream ? NULL : &m->lanes[i];
    if (l) {
        free(l->held);
        memset(l, 0, sizeof *l);
        l->stream = s;
        s->user = l;
    } else {
        l = lane_new(m, s);
    }
    l->echo = l->ending = true;
}

static void mux_event(mux *m, sbx_yamux_kind k, const sbx_yamux_event *ev)
{
    lane *l = ev->stream ? ev->stream->user : NULL;

    switch (k) {
    case SBX_YAMUX_OPENED:
        mux_serve(m, ev->stream);
        break;
    case SBX_YAMUX_ACCEPTED:
        l->opened = true;
        break;
    case SBX_YAMUX_DATA:
        if (l->echo && !l->got && ev->p[0] == 'H')
            l->still = true;
        if (l->echo && !l->got && ev->p[0] == 'R') {
            mux_drop(m, l);
            break;
        }
        lane_data(l, ev->p, ev->n);
        break;
    case SBX_YAMUX_EOF:
        l->eof = true;
        break;
    case SBX_YAMUX_RESET:
        l->reset = true;
        m->resets++;
        break;
    case SBX_YAMUX_REPLY:
        mux_put(m, ev->p, ev->n);
        break;
    case SBX_YAMUX_PONG:
        m->pongs++;
        break;
    case SBX_YAMUX_GOAWAY:
        m->goaways++;
        m->goaway_code = ev->value;
        break;
    case SBX_YAMUX_ERROR:
        m->error = sbx_yamux_reason_text(ev->value);
        break;
    default:
        break;
    }
}

static void mux_flush(mux *m)
{
    ssize_t n = m->out_n > m->out_at ? send(m->fd, m->out + m->out_at, m->out_n - m->out_at, MSG_NOSIGNAL) : 0;

    if (n < 0 && errno != EAGAIN)
        m->closed = true;
    if (n > 0)
        m->out_at += (size_t)n;
    memmove(m->out, m->out + m->out_at, m->out_n - m->out_at);
    m->out_n -= m->out_at;
    m->out_at = 0;
}

static void mux_receive(mux *m)
{
    static char in[1 << 16];
    sbx_yamux_event ev;
    sbx_yamux_kind k;
    const char *p = in;
    ssize_t n;

    /* Every frame of the input may ask for an answer. */
    if (mux_room(m) < sizeof in)
        return;
    n = recv(m->fd, in, sizeof in, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        m->closed = true;
    if (n <= 0)
        return;
    while (!m->error && (k = sbx_yamux_read(&m->codec, &p, in + n, &ev)) != SBX_YAMUX_MORE)
        mux_event(m, k, &ev);
}

void mux_turn(mux *m)
{
    struct pollfd f = { .fd = m->fd };
    size_t before = m->out_n;
    bool moved = false;

    for (size_t i = 0; i < m->lane_n; i++) {
        bool open = m->lanes[i].stream;

        lane_send(m, &m->lanes[i]);
        moved |= open && !m->lanes[i].stream;
    }
    moved |= m->out_n != before;
    mux_flush(m);
    f.events = (short)((mux_room(m) >= 1 << 16 ? POLLIN : 0) | (m->out_n ? POLLOUT : 0));
    assert_true(poll(&f, 1, moved ? 0 : 60000) > 0 || moved);
    mux_receive(m);
}
