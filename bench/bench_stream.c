/* Streamed output and files against a peer of its own process that sends
   bytes encoded beforehand, beside a plain reader or writer of the same bytes
   with the same buffer size. */
#include "bench.h"

typedef struct wire {
    char *p;
    size_t n, cap;
} wire;

static wire frames;        /* a command's whole stream, behind `started` */
static char *content;      /* file bytes, repeated */
static size_t content_n = 1 << 20;
static uint64_t file_size = UINT64_C(512) << 20;

static void put(wire *w, const void *p, size_t n)
{
    if (w->n + n > w->cap) {
        w->cap = (w->n + n) * 2;
        w->p = realloc(w->p, w->cap);
        if (!w->p)
            bench_die("memory", NULL);
    }
    memcpy(w->p + w->n, p, n);
    w->n += n;
}

static void put_text(wire *w, const char *text, size_t n)
{
    unsigned char head[SBX_WS_HEAD_MAX];

    put(w, head, sbx_ws_head(head, SBX_WS_OP_TEXT, true, n, NULL));
    put(w, text, n);
}

/* Distinct text: a branch predictor must not learn it by heart. */
static void make_text(char *p, size_t n, bool escapes, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t r = *seed = *seed * 1664525u + 1013904223u;

        r >>= 16;
        if (escapes && r % 8 == 0)
            p[i] = "\n\t\"\\\x1b\r\n\""[r / 8 % 8];
        else if (!escapes && r % 80 == 0)
            p[i] = '\n';
        else
            p[i] = (char)('a' + r % 26);
    }
}

static void encode(size_t message, size_t total, bool escapes)
{
    char *text = malloc(message), *out = malloc(message * 6 + 128);
    uint32_t seed = 12345;

    frames.n = 0;
    for (size_t at = 0; at < total; at += message) {
        size_t n = (size_t)sprintf(out, "{\"type\":\"stdout\",\"data\":\""), used;
        bool bad = false;

        make_text(text, message, escapes, &seed);
        n += sbx_json_escape(out + n, message * 6, text, message, &used, &bad);
        n += (size_t)sprintf(out + n, "\",\"offset\":%lu}", (unsigned long)at);
        put_text(&frames, out, n);
    }
    put_text(&frames, "{\"type\":\"exit\",\"exit_code\":0}", 29);
    free(text);
    free(out);
}

/* ---- the peer ---- */

static void swallow(int fd, uint64_t n, size_t piece)
{
    char *p = malloc(piece);

    while (n) {
        ssize_t got = recv(fd, p, n < piece ? (size_t)n : piece, 0);

        if (got <= 0)
            break;
        n -= (uint64_t)got;
    }
    free(p);
}

static void send_file(int fd)
{
    for (uint64_t left = file_size; left; left -= content_n)
        if (!peer_send(fd, content, content_n))
            return;
}

static void act(int fd, void *arg)
{
    char head[4096], accept[28], *at;
    uint64_t n;

    (void)arg;
    if (!peer_head(fd, head, sizeof head))
        return;
    if ((at = strstr(head, "Sec-WebSocket-Key: "))) {
        sbx_ws_accept(accept, sbx_sn(at + 19, 24));
        snprintf(head, sizeof head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %.28s\r\n\r\n", accept);
        peer_say(fd, head);
        peer_message(fd, head, 0);
        peer_text(fd, "{\"type\":\"started\",\"command_id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"pid\":1}");
        peer_send(fd, frames.p, frames.n);
    } else if (strncmp(head, "GET /raw-stream", 15) == 0) {
        peer_send(fd, frames.p, frames.n);
    } else if (strncmp(head, "GET /raw-file", 13) == 0) {
        send_file(fd);
    } else if (strncmp(head, "GET ", 4) == 0) {
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"x\"\r\nContent-Length: %lu\r\n\r\n", (unsigned long)file_size);
        peer_say(fd, head);
        send_file(fd);
    } else if ((at = strstr(head, "Content-Length: "))) {
        n = strtoull(at + 16, NULL, 10);
        swallow(fd, n, 65536);
        peer_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
}

static peer start(void)
{
    peer_script s = { act, NULL };
    unsigned port;
    int listener = peer_listen(&port);

    return peer_fork(listener, port, peer_serve_each, &s);
}

/* ---- the other side, plain ---- */

static int dial(const peer *p)
{
    struct sockaddr_in a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)p->port);
    if (connect(fd, (struct sockaddr *)&a, sizeof a))
        peer_die("connect");
    return fd;
}

static double raw_read(const peer *p, const char *path, size_t piece)
{
    char *buf = malloc(piece), head[128];
    double t = bench_now();
    int fd = dial(p);

    snprintf(head, sizeof head, "GET %s HTTP/1.1\r\n\r\n", path);
    peer_say(fd, head);
    while (recv(fd, buf, piece, 0) > 0)
        ;
    close(fd);
    free(buf);
    return bench_now() - t;
}

static double raw_write(const peer *p)
{
    char answer[128];
    double t = bench_now();
    int fd = dial(p);

    snprintf(answer, sizeof answer, "POST /raw HTTP/1.1\r\nContent-Length: %lu\r\n\r\n", (unsigned long)file_size);
    peer_say(fd, answer);
    /* From the one buffer that the client is given, too. */
    for (uint64_t left = file_size; left; left -= content_n)
        peer_send(fd, content, content_n);
    peer_head(fd, answer, sizeof answer);
    close(fd);
    return bench_now() - t;
}

/* ---- the client ---- */

static double client_stream(sbx_client *c, const sbx_box *box, uint64_t total)
{
    double t = bench_now();
    sbx_op op = sbx_command(c, box, sbx_s("x"), NULL);
    uint64_t got = 0;

    for (sbx_event ev; sbx_next_of(c, &op, &ev);) {
        if (ev.kind == SBX_EV_STDOUT)
            got += ev.data.n;
        else if (ev.kind == SBX_EV_RETRYING || (ev.kind == SBX_EV_END && ev.code)) {
            sbx_cancel(c, op);
            bench_die(sbx_code_name(ev.code), NULL);
        }
    }
    if (got != total)
        bench_die("output was lost", NULL);
    return bench_now() - t;
}

static double client_read(sbx_client *c, const sbx_box *box)
{
    double t = bench_now();
    sbx_op op = sbx_read(c, box, sbx_s("f"), &(sbx_read_opts){ .stream = true }, NULL);
    uint64_t got = 0;

    for (sbx_event ev; sbx_next_of(c, &op, &ev);)
        if (ev.kind == SBX_EV_DATA)
            got += ev.data.n;
    if (got != file_size)
        bench_die("bytes were lost", NULL);
    return bench_now() - t;
}

static double client_write(sbx_client *c, const sbx_box *box)
{
    double t = bench_now();
    sbx_op op = sbx_write(c, box, sbx_s("f"), sbx_sn(NULL, 0), &(sbx_write_opts){ .stream = true, .size = (int64_t)file_size });
    uint64_t at = 0;
    size_t taken;

    for (sbx_event ev; sbx_next_of(c, &op, &ev);) {
        while (ev.kind == SBX_EV_WRITABLE && at < file_size) {
            size_t from = at % content_n, n = content_n - from;

            sbx_code code = sbx_push(c, op, sbx_sn(content + from, n), at + n == file_size, &taken);

            if (code)
                bench_die(sbx_code_name(code), NULL);
            at += taken;
            if (taken < n)
                break;
        }
        if (ev.kind == SBX_EV_END && ev.code)
            bench_die(sbx_code_name(ev.code), NULL);
    }
    return bench_now() - t;
}

/* The same in one piece that the client borrows. */
static double client_write_whole(sbx_client *c, const sbx_box *box, const char *whole)
{
    double t = bench_now();

    bench_ok(c, sbx_write(c, box, sbx_s("f"), sbx_sn(whole, (size_t)file_size), NULL), "write");
    return bench_now() - t;
}

static void row(const char *what, double mb, double *own, double *raw, int rounds)
{
    double a = mb / bench_median(own, rounds), b = mb / bench_median(raw, rounds);

    printf("%-52s %7.0f MB/s   raw %7.0f MB/s   ratio %.2f\n", what, a, b, a / b);
}

static sbx_client *client_for(const peer *p, uint32_t rx, sbx_box *box)
{
    sbx_client_desc d = { .endpoint = p->base, .api_key = "k", .rx_bytes = rx };

    memset(box, 0, sizeof *box);
    strcpy(box->id, "i");
    strcpy(box->name, "n");
    strcpy(box->url, p->base);
    return bench_open(&d);
}

static void streams(int rounds)
{
    static const struct {
        size_t message, total;
        uint32_t rx;
    } shapes[] = { { 64, 16 << 20, 16384 }, { 4096, 128 << 20, 16384 }, { 65536, 256 << 20, 16384 }, { 65536, 256 << 20, 131072 } };

    for (unsigned e = 0; e < 2; e++)
        for (unsigned s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            double own[BENCH_MAX], raw[BENCH_MAX];
            char what[96];
            sbx_client *c;
            sbx_box box;
            peer p;

            encode(shapes[s].message, shapes[s].total, e);
            p = start();
            c = client_for(&p, shapes[s].rx, &box);
            for (int r = 0; r < rounds; r++) {
                raw[r] = raw_read(&p, "/raw-stream", shapes[s].rx);
                own[r] = client_stream(c, &box, shapes[s].total);
            }
            sbx_close(c);
            peer_stop(&p);
            snprintf(what, sizeof what, "stdout, %s, messages of %lu, receives of %u", e ? "escapes" : "plain", (unsigned long)shapes[s].message, (unsigned)shapes[s].rx);
            /* Both in bytes on the wire: what was received. */
            row(what, (double)frames.n / 1e6, own, raw, rounds);
        }
}

static void files(int rounds)
{
    double own[BENCH_MAX], raw[BENCH_MAX], whole[BENCH_MAX];
    static const uint32_t sizes[] = { 16384, 65536 };
    char *all = malloc((size_t)file_size), what[96];
    sbx_client *c;
    sbx_box box;
    peer p;

    content = malloc(content_n);
    for (size_t i = 0; i < content_n; i++)
        content[i] = (char)(i * 2654435761u >> 13);
    for (uint64_t at = 0; at < file_size; at += content_n)
        memcpy(all + at, content, content_n);
    for (unsigned s = 0; s < 2; s++) {
        p = start();
        c = client_for(&p, sizes[s], &box);
        for (int r = 0; r < rounds; r++) {
            raw[r] = raw_read(&p, "/raw-file", sizes[s]);
            own[r] = client_read(c, &box);
        }
        sbx_close(c);
        peer_stop(&p);
        snprintf(what, sizeof what, "file read, receives of %u", (unsigned)sizes[s]);
        row(what, (double)file_size / 1e6, own, raw, rounds);
    }
    p = start();
    c = client_for(&p, 16384, &box);
    for (int r = 0; r < rounds; r++) {
        raw[r] = raw_write(&p);
        whole[r] = client_write_whole(c, &box, all);
        own[r] = client_write(c, &box);
    }
    sbx_close(c);
    peer_stop(&p);
    row("file write, one borrowed buffer", (double)file_size / 1e6, whole, raw, rounds);
    row("file write, pushed through buffers of 4,096", (double)file_size / 1e6, own, raw, rounds);
    free(all);
    free(content);
}

int main(void)
{
    int rounds = bench_rounds();

    setvbuf(stdout, NULL, _IOLBF, 0);
    streams(rounds);
    files(rounds);
    free(frames.p);
    return 0;
}
