/* A transport of one's own: sandboxes through a serial line. The client knows
   no network; it cuts each connection's bytes into small frames on one line. At
   its other end a bridge opens the TCP connections. Here the line is a pty
   pair and the bridge a thread; with a real one the bridge is a program on the
   machine that has the network.

     cc -std=c99 transport_uart.c -lpthread -o transport_uart
     LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… ./transport_uart

   A frame:   0x7E, channel, kind, length, up to 57 bytes, CRC-16
   Each connection is a channel. Both sides may send as many bytes on it as the
   other has room for (CREDIT gives more), so one that is not read stops no
   other. A line that damages bytes ends every connection, and the client makes
   new ones; one that does so often needs a protocol that repeats frames below
   this. The transport takes no memory but what the client gives it, and moves
   one byte at a time, as an interrupt would. */
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { CHANNELS = 16, PAYLOAD = 57, FRAME = PAYLOAD + 6, ROOM = 512 };
enum { OPEN = 1, OPENED, FAILED, DATA, CREDIT, END, CLOSE, CLOSED };
enum { START = 0x7E };

/* ---- the line, as both ends see it ---- */

typedef struct line {
    int fd;
    bool broken;
    uint8_t in[FRAME]; /* the frame that is coming in */
    size_t in_n;
    uint8_t out[16 * FRAME];
    size_t out_at, out_n;
} line;

/* What both ends keep of a connection. */
typedef struct channel {
    uint8_t id;
    bool opened, failed, ended; /* ended: the peer sends no more */
    uint8_t why;                /* FAILED: an sbx_code */
    size_t credit;              /* bytes that the other end takes */
    size_t owed;                /* bytes that were taken from rx and not told yet */
    size_t rx_n;
    uint8_t rx[ROOM];
} channel;

static uint16_t crc16(const uint8_t *p, size_t n)
{
    uint16_t crc = 0xFFFF;

    for (size_t i = 0; i < n; i++) {
        crc = (uint16_t)(crc ^ p[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

static bool line_has_room(const line *l)
{
    return sizeof l->out - l->out_n >= FRAME;
}

/* Queues a frame; false = no room now. */
static bool line_put(line *l, uint8_t id, uint8_t kind, const void *p, size_t n)
{
    uint8_t frame[FRAME] = { START, id, kind, (uint8_t)n };
    uint16_t crc;

    if (!line_has_room(l))
        return false;
    if (n)
        memcpy(frame + 4, p, n);
    crc = crc16(frame, n + 4);
    frame[n + 4] = (uint8_t)(crc >> 8);
    frame[n + 5] = (uint8_t)crc;
    for (size_t i = 0; i < n + 6; i++)
        l->out[(l->out_at + l->out_n++) % sizeof l->out] = frame[i];
    return true;
}

/* Sends one byte; false = the line takes none now. */
static bool line_push(line *l)
{
    ssize_t n;

    if (!l->out_n || l->broken)
        return false;
    n = write(l->fd, l->out + l->out_at, 1);
    if (n == 1) {
        l->out_at = (l->out_at + 1) % sizeof l->out;
        l->out_n--;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        l->broken = true;
    }
    return n == 1;
}

/* Takes one byte; false = there is none now. */
static bool line_pull(line *l)
{
    ssize_t n = l->broken ? -1 : read(l->fd, l->in + l->in_n, 1);

    if (n == 1)
        l->in_n++;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        l->broken = true;
    return n == 1;
}

/* Whether `in` is a whole frame. */
static bool line_framed(line *l)
{
    const uint8_t *f = l->in;
    size_t n = l->in_n;

    if ((n >= 1 && f[0] != START) || (n >= 2 && f[1] >= CHANNELS) || (n >= 4 && f[3] > PAYLOAD))
        l->broken = true;
    else if (n >= 6 && n == (size_t)f[3] + 6)
        l->broken = crc16(f, n - 2) != (f[n - 2] << 8 | f[n - 1]);
    else
        return false;
    l->in_n = 0;
    return !l->broken;
}

/* A frame for a connection; what both ends do with it. False = against the rules. */
static bool channel_take(channel *ch, uint8_t kind, const uint8_t *p, size_t n)
{
    switch (kind) {
    case OPENED: ch->opened = true; return true;
    case FAILED: ch->failed = true; ch->why = n ? p[0] : SBX_ERR_CONNECTION; return true;
    case END: ch->ended = true; return true;
    case CREDIT: ch->credit += n == 2 ? (size_t)(p[0] << 8 | p[1]) : 0; return ch->credit <= ROOM;
    case DATA:
        if (n > ROOM - ch->rx_n)
            return false;
        memcpy(ch->rx + ch->rx_n, p, n);
        ch->rx_n += n;
        return true;
    default: return false;
    }
}

/* n bytes of rx were used. */
static void channel_used(channel *ch, size_t n)
{
    memmove(ch->rx, ch->rx + n, ch->rx_n - n);
    ch->rx_n -= n;
    ch->owed += n;
}

static void channel_pay(line *l, channel *ch)
{
    const uint8_t n[2] = { (uint8_t)(ch->owed >> 8), (uint8_t)ch->owed };

    if (ch->owed >= ROOM / 4 && line_put(l, ch->id, CREDIT, n, sizeof n))
        ch->owed = 0;
}

/* ---- the transport ---- */

typedef struct uart_config {
    int fd; /* of the line, non-blocking and raw */
} uart_config;

typedef struct uart_conn {
    channel ch;
    uint32_t tag;
    unsigned bits;  /* to be reported */
    bool blocked;   /* a send found no room or credit */
} uart_conn;

typedef struct uart {
    line line;
    uart_conn *conns[CHANNELS];
    uint32_t closing, waiting; /* channels: CLOSE is to be sent; CLOSED is to come */
} uart;

static sbx_io uart_fail(sbx_fault *fault, sbx_code code, const char *text)
{
    fault->code = code;
    fault->text = text;
    return SBX_IO_FAIL;
}

static sbx_code uart_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    (void)fault;
    ((uart *)ctx)->line.fd = ((const uart_config *)config)->fd;
    return max_conns <= CHANNELS / 2 ? SBX_OK : SBX_ERR_ARGUMENT; /* half of them may be closing */
}

/* Asks the bridge for a connection. */
static sbx_io uart_dial(uart *u, uart_conn *c, const sbx_target *to, sbx_fault *fault)
{
    uint8_t ask[PAYLOAD] = { (uint8_t)(to->port >> 8), (uint8_t)to->port };
    uint8_t id = 0;

    if (to->tls)
        return uart_fail(fault, SBX_ERR_UNSUPPORTED, "https needs a TLS transport over the serial line");
    if (to->host.n == 0 || to->host.n > PAYLOAD - 2)
        return uart_fail(fault, SBX_ERR_RESOLVE, "a host name of 1 to 55 bytes fits the serial line's frame");
    while (id < CHANNELS && (u->conns[id] || (u->closing | u->waiting) & 1u << id))
        id++;
    if (id == CHANNELS)
        return uart_fail(fault, SBX_ERR_CONNECT, "every channel of the serial line is in use");
    memcpy(ask + 2, to->host.p, to->host.n);
    if (line_put(&u->line, id, OPEN, ask, to->host.n + 2)) {
        c->ch.id = id;
        c->ch.credit = ROOM;
        u->conns[id] = c;
    }
    c->tag = to->tag;
    return SBX_IO_WANT_WRITE;
}

static bool uart_holds(const uart *u, const uart_conn *c)
{
    return u->conns[c->ch.id] == c;
}

static sbx_io uart_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    uart *u = (uart *)ctx;
    uart_conn *c = (uart_conn *)conn;

    if (u->line.broken)
        return uart_fail(fault, SBX_ERR_CONNECT, "the serial line is broken");
    if (!uart_holds(u, c))
        return uart_dial(u, c, to, fault);
    if (c->ch.failed)
        return uart_fail(fault, (sbx_code)c->ch.why, "the bridge at the serial line's end could not connect");
    return c->ch.opened ? SBX_IO_OK : SBX_IO_WANT_WRITE;
}

static sbx_io uart_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    uart *u = (uart *)ctx;
    uart_conn *c = (uart_conn *)conn;

    if (c->ch.rx_n) {
        *got = room < c->ch.rx_n ? room : c->ch.rx_n;
        memcpy(p, c->ch.rx, *got);
        channel_used(&c->ch, *got);
        channel_pay(&u->line, &c->ch);
        return SBX_IO_OK;
    }
    if (c->ch.failed || u->line.broken)
        return uart_fail(fault, SBX_ERR_CONNECTION, u->line.broken ? "the serial line is broken" : "the bridge lost the connection");
    return c->ch.ended ? SBX_IO_EOF : SBX_IO_WANT_READ;
}

static sbx_io uart_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    uart *u = (uart *)ctx;
    uart_conn *c = (uart_conn *)conn;

    if (c->ch.failed || u->line.broken)
        return uart_fail(fault, SBX_ERR_CONNECTION, u->line.broken ? "the serial line is broken" : "the bridge lost the connection");
    n = n < PAYLOAD ? n : PAYLOAD;
    n = n < c->ch.credit ? n : c->ch.credit;
    if (n == 0 || !line_put(&u->line, c->ch.id, DATA, p, n)) {
        c->blocked = true;
        return SBX_IO_WANT_WRITE;
    }
    c->ch.credit -= n;
    *sent = n;
    return SBX_IO_OK;
}

static void uart_close(void *ctx, void *conn)
{
    uart *u = (uart *)ctx;
    uart_conn *c = (uart_conn *)conn;

    if (!uart_holds(u, c))
        return;
    u->conns[c->ch.id] = NULL;
    u->closing |= 1u << c->ch.id;
}

static void uart_frame(uart *u)
{
    uint8_t id = u->line.in[1], kind = u->line.in[2];
    uart_conn *c = u->conns[id];

    if (kind == CLOSED)
        u->waiting &= ~(1u << id);
    else if (c && !channel_take(&c->ch, kind, u->line.in + 4, u->line.in[3]))
        u->line.broken = true;
    if (c)
        c->bits |= kind == CREDIT ? 0u : kind == OPENED || kind == FAILED ? SBX_READABLE | SBX_WRITABLE : SBX_READABLE;
}

/* Frames that had no room yet, and who can go on because there is some. */
static void uart_settle(uart *u)
{
    for (uint8_t id = 0; id < CHANNELS; id++) {
        uart_conn *c = u->conns[id];

        if (u->closing & 1u << id && line_put(&u->line, id, CLOSE, NULL, 0)) {
            u->closing &= ~(1u << id);
            u->waiting |= 1u << id;
        }
        if (!c)
            continue;
        channel_pay(&u->line, &c->ch);
        if (c->blocked && c->ch.credit && line_has_room(&u->line)) {
            c->blocked = false;
            c->bits |= SBX_WRITABLE;
        }
        if (u->line.broken)
            c->bits |= SBX_READABLE | SBX_WRITABLE;
    }
}

static int uart_report(uart *u, sbx_ready *ready, int max)
{
    int n = 0;

    uart_settle(u);
    for (int i = 0; i < CHANNELS && n < max; i++) {
        uart_conn *c = u->conns[i];

        if (c && c->bits) {
            ready[n].tag = c->tag;
            ready[n++].bits = c->bits;
            c->bits = 0;
        }
    }
    return n;
}

static int64_t uart_mono_ms(void *ctx)
{
    struct timespec t;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int uart_wait(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    uart *u = (uart *)ctx;
    int64_t end = uart_mono_ms(NULL) + (timeout_ms < 0 ? 0 : timeout_ms);
    int n;

    while ((n = uart_report(u, ready, max)) == 0 && !u->line.broken) {
        struct pollfd p = { .fd = u->line.fd, .events = u->line.out_n ? POLLIN | POLLOUT : POLLIN };
        int64_t left = timeout_ms < 0 ? 60000 : end - uart_mono_ms(NULL);
        bool pushed = line_push(&u->line), pulled = line_pull(&u->line);

        if (pulled && line_framed(&u->line))
            uart_frame(u);
        if (pushed || pulled)
            continue;
        if (timeout_ms >= 0 && left <= 0)
            break;
        poll(&p, 1, left > 60000 ? 60000 : (int)left);
    }
    return n;
}

static bool uart_entropy(void *ctx, void *p, size_t n)
{
    (void)ctx;
    return getrandom(p, n, 0) == (ssize_t)n;
}

static const sbx_transport uart_transport = {
    .name = "uart", .ctx_size = sizeof(uart), .conn_size = sizeof(uart_conn), .open = uart_open, .connect = uart_connect, .recv = uart_recv,
    .send = uart_send, .close = uart_close, .wait = uart_wait, .entropy = uart_entropy, .mono_ms = uart_mono_ms,
};

/* ---- the bridge: the line's other end ---- */

typedef struct bridge {
    line line;
    struct {
        channel ch;
        int fd; /* + 1; 0 = none */
        bool done, told; /* nothing more to read; the client knows */
    } sockets[CHANNELS];
    uint32_t closed; /* channels: CLOSED is to be sent */
} bridge;

static void bridge_failed(bridge *b, uint8_t id, sbx_code code)
{
    b->sockets[id].ch.failed = true;
    b->sockets[id].ch.why = (uint8_t)code;
}

/* Looking up the name blocks the bridge. */
static void bridge_open(bridge *b, uint8_t id, const uint8_t *p, size_t n)
{
    struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    char host[PAYLOAD + 1], port[8];
    int fd;

    memset(&b->sockets[id], 0, sizeof b->sockets[id]);
    b->sockets[id].ch.id = id;
    b->sockets[id].ch.credit = ROOM;
    n = n > 2 ? n - 2 : 0;
    memcpy(host, p + 2, n);
    host[n] = 0;
    snprintf(port, sizeof port, "%d", p[0] << 8 | p[1]);
    if (getaddrinfo(host, port, &want, &found)) {
        bridge_failed(b, id, SBX_ERR_RESOLVE);
        return;
    }
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd >= 0) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        b->sockets[id].fd = fd + 1;
    }
    if (fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) && errno != EINPROGRESS))
        bridge_failed(b, id, SBX_ERR_CONNECT);
    freeaddrinfo(found);
}

static void bridge_close(bridge *b, uint8_t id)
{
    if (b->sockets[id].fd)
        close(b->sockets[id].fd - 1);
    b->sockets[id].fd = 0;
    b->sockets[id].ch.id = CHANNELS;
}

static void bridge_frame(bridge *b)
{
    uint8_t id = b->line.in[1], kind = b->line.in[2];

    if (kind == OPEN) {
        bridge_open(b, id, b->line.in + 4, b->line.in[3]);
    } else if (kind == CLOSE) {
        bridge_close(b, id);
        b->closed |= 1u << id;
    } else if (!channel_take(&b->sockets[id].ch, kind, b->line.in + 4, b->line.in[3])) {
        b->line.broken = true;
    }
}

/* From the socket to the line and back, as far as both go. */
static void bridge_move(bridge *b, uint8_t id, int revents)
{
    channel *ch = &b->sockets[id].ch;
    int fd = b->sockets[id].fd - 1, err = 0;
    socklen_t size = sizeof err;
    uint8_t data[PAYLOAD];
    ssize_t n;

    if (!ch->opened && revents) {
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
        if (err)
            bridge_failed(b, id, SBX_ERR_CONNECT);
        else
            ch->opened = line_put(&b->line, id, OPENED, NULL, 0);
        return;
    }
    if (ch->rx_n && revents & (POLLOUT | POLLERR | POLLHUP)) {
        n = send(fd, ch->rx, ch->rx_n, MSG_NOSIGNAL);
        if (n > 0)
            channel_used(ch, (size_t)n);
        else if (n < 0 && errno != EAGAIN)
            bridge_failed(b, id, SBX_ERR_CONNECTION);
    }
    if (!b->sockets[id].done && ch->credit && line_has_room(&b->line) && revents & (POLLIN | POLLERR | POLLHUP)) {
        n = recv(fd, data, ch->credit < PAYLOAD ? ch->credit : PAYLOAD, 0);
        if (n > 0) {
            line_put(&b->line, id, DATA, data, (size_t)n);
            ch->credit -= (size_t)n;
        } else if (n == 0) {
            b->sockets[id].done = true;
        } else if (errno != EAGAIN) {
            bridge_failed(b, id, SBX_ERR_CONNECTION);
        }
    }
}

/* News that a full line has kept back. */
static void bridge_settle(bridge *b)
{
    for (uint8_t id = 0; id < CHANNELS; id++) {
        channel *ch = &b->sockets[id].ch;

        if (b->closed & 1u << id && line_put(&b->line, id, CLOSED, NULL, 0))
            b->closed &= ~(1u << id);
        if (ch->id != id)
            continue;
        channel_pay(&b->line, ch);
        if (ch->failed && !b->sockets[id].told)
            b->sockets[id].told = line_put(&b->line, id, FAILED, &ch->why, 1);
        else if (b->sockets[id].done && !b->sockets[id].told)
            b->sockets[id].told = line_put(&b->line, id, END, NULL, 0);
    }
}

static int bridge_events(const bridge *b, uint8_t id)
{
    const channel *ch = &b->sockets[id].ch;
    bool reads = !b->sockets[id].done && ch->credit && line_has_room(&b->line);

    if (!b->sockets[id].fd || ch->id != id || ch->failed)
        return -1;
    if (!ch->opened)
        return line_has_room(&b->line) ? POLLOUT : -1;
    return (reads ? POLLIN : 0) | (ch->rx_n ? POLLOUT : 0);
}

/* Until the line hangs up. */
static void *bridge_run(void *arg)
{
    static bridge b;

    memset(&b, 0, sizeof b);
    b.line.fd = *(int *)arg;
    for (uint8_t id = 0; id < CHANNELS; id++)
        b.sockets[id].ch.id = CHANNELS;
    while (!b.line.broken) {
        struct pollfd p[CHANNELS + 1] = { { .fd = b.line.fd, .events = POLLIN } };

        bridge_settle(&b);
        if (b.line.out_n)
            p[0].events |= POLLOUT;
        for (uint8_t id = 0; id < CHANNELS; id++) {
            int events = bridge_events(&b, id);

            p[id + 1].fd = events > 0 ? b.sockets[id].fd - 1 : -1;
            p[id + 1].events = (short)(events > 0 ? events : 0);
        }
        poll(p, CHANNELS + 1, -1);
        for (uint8_t id = 0; id < CHANNELS; id++)
            if (p[id + 1].fd >= 0 && p[id + 1].revents)
                bridge_move(&b, id, p[id + 1].revents);
        line_push(&b.line);
        if (line_pull(&b.line) && line_framed(&b.line))
            bridge_frame(&b);
    }
    for (uint8_t id = 0; id < CHANNELS; id++)
        bridge_close(&b, id);
    return NULL;
}

/* ---- the program ---- */

static bool serial_line(int *ours, int *theirs)
{
    struct termios t;

    *theirs = posix_openpt(O_RDWR | O_NOCTTY);
    if (*theirs < 0 || grantpt(*theirs) || unlockpt(*theirs))
        return false;
    *ours = open(ptsname(*theirs), O_RDWR | O_NOCTTY);
    if (*ours < 0 || tcgetattr(*ours, &t))
        return false;
    cfmakeraw(&t);
    return tcsetattr(*ours, TCSANOW, &t) == 0 && fcntl(*ours, F_SETFL, O_NONBLOCK) == 0 && fcntl(*theirs, F_SETFL, O_NONBLOCK) == 0;
}

static int fail(sbx_client *c, const char *what, sbx_op op)
{
    sbx_error e;

    sbx_error_of(c, op, &e);
    fprintf(stderr, "%s: %s: %s\n", what, sbx_code_name(e.code), e.text);
    return 1;
}

/* A command prints on one connection while a file goes both ways on another. */
static int session(sbx_client *c)
{
    static char data[5000], back[5000];
    sbx_create_opts create = { .delete_on_close = true };
    sbx_run_opts run = { .stdin_open = true };
    sbx_read_opts read = { .out = { back, sizeof back } };
    sbx_read_result file;
    sbx_box box;
    sbx_usage usage;
    sbx_op op, command;
    unsigned long bytes = 0;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7);
    op = sbx_create(c, &create, &box);
    if (sbx_await(c, op))
        return fail(c, "create", op);
    printf("created\n");
    command = sbx_command(c, &box, sbx_s("seq 1000; cat; echo done"), &run);
    op = sbx_write(c, &box, sbx_s("file"), sbx_sn(data, sizeof data), NULL);
    if (sbx_await(c, op))
        return fail(c, "write", op);
    op = sbx_read(c, &box, sbx_s("file"), &read, &file);
    if (sbx_await(c, op))
        return fail(c, "read", op);
    printf("file: %lu bytes, %s\n", (unsigned long)file.n, file.n == sizeof data && !memcmp(data, back, sizeof data) ? "the same" : "different");
    sbx_close_stdin(c, command); /* ends cat */
    for (sbx_event ev; sbx_next_of(c, &command, &ev);) {
        if (ev.kind == SBX_EV_STDOUT)
            bytes += (unsigned long)ev.data.n;
        else if (ev.kind == SBX_EV_END && ev.code)
            return fail(c, "command", ev.op);
        else if (ev.kind == SBX_EV_END)
            printf("command: exit %d, %lu bytes\n", ev.exit_code, bytes);
    }
    sbx_get_usage(c, &usage);
    if (usage.links_high >= 2)
        printf("two connections or more shared the line\n");
    return 0;
}

int main(void)
{
    static char memory[48 * 1024];
    const char *server = getenv("LANGSMITH_ENDPOINT");
    char endpoint[512];
    uart_config config;
    sbx_client_desc desc = { .transport = &uart_transport, .transport_config = &config, .max_ops = 4, .max_links = 4, .max_requests = 2,
                             .request_bytes = 1024, .buffers = 3, .rx_bytes = 1024, .tx_bytes = 1024, .max_owned = 1 };
    pthread_t thread;
    sbx_client *c;
    sbx_error err;
    int theirs, status;

    if (!serial_line(&config.fd, &theirs) || pthread_create(&thread, NULL, bridge_run, &theirs))
        return perror("pty"), 1;
    snprintf(endpoint, sizeof endpoint, "%s/v2/sandboxes", server ? server : "http://127.0.0.1:8787");
    desc.endpoint = endpoint;
    desc.api_key = getenv("LANGSMITH_API_KEY");
    status = sbx_client_init(memory, sizeof memory, &desc, &c, &err) != SBX_OK;
    if (status) {
        fprintf(stderr, "%s\n", err.text);
    } else {
        status = session(c);
        sbx_close(c); /* deletes the sandbox, too */
    }
    close(config.fd); /* the bridge ends with the line */
    pthread_join(thread, NULL);
    close(theirs);
    return status;
}
