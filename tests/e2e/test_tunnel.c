/* Tunnels through sandboxd, whose yamux is another one than the client's. */
#include "e2e.h"

#include <string.h>

#define MANY 300
#define BULK (64u << 20)

/* The first line of a connection says what it does. */
static const char server[] =
    "import socket, socketserver, struct, sys\n"
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
    "    def source(self, n):\n"
    "        for _ in range(int(n) >> 16): self.wfile.write(bytes(range(256)) * 256)\n"
    "    def reset(self):\n"
    "        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
    "        self.rfile.close(); self.request.close()\n"
    "    def told(self):\n"
    "        try: self.rfile.read1(1); end = 'end'\n"
    "        except ConnectionResetError: end = 'reset'\n"
    "        open('told', 'w').write(end)\n"
    "class S(socketserver.ThreadingTCPServer):\n"
    "    request_queue_size = 1000\n"
    "    daemon_threads = True\n"
    "s = S(('127.0.0.1', 5000), H)\n"
    "print('listening', flush=True)\n"
    "s.serve_forever()\n";

typedef struct wire {
    sbx_op op;
    sbx_str rest; /* still to be sent, and then our half ends */
    bool keep;    /* it does not end */
    bool sent;
    uint64_t got;
    char first[64];
    bool eof, over, wrong;
    sbx_code code;
} wire;

/* Goes on until its sandbox ends. */
static void serve(sbx_client *client, const sbx_box *b)
{
    sbx_op op;
    sbx_event ev;

    OK_ON(client, sbx_write(client, b, sbx_s("tcp.py"), sbx_s(server), NULL));
    op = sbx_command(client, b, sbx_s("exec python3 tcp.py"), &(sbx_run_opts){ .timeout_s = SBX_NONE });
    while (sbx_next_of(client, &op, &ev) && ev.kind != SBX_EV_STDOUT)
        assert_int_not_equal(ev.kind, SBX_EV_END);
}

static void dial(sbx_client *client, wire *w, sbx_op tunnel, uint16_t port, sbx_str data)
{
    sbx_dial_opts o = { 0 };

    memset(w, 0, sizeof *w);
    o.call.user = w;
    w->rest = data;
    w->op = sbx_tunnel_dial(client, tunnel, port, &o);
    assert_true(w->op.slot != 0);
}

static void send_rest(sbx_client *client, wire *w)
{
    size_t taken;

    if (w->sent)
        return;
    assert_int_equal(sbx_tunnel_send(client, w->op, w->rest, !w->keep, &taken), SBX_OK);
    w->rest.p += taken;
    w->rest.n -= taken;
    w->sent = !w->rest.n;
}

/* What comes is the bytes 0 to 255 over and over, unless it is short. */
static void take_data(wire *w, sbx_str data)
{
    for (size_t i = 0; i < data.n; i++) {
        if (w->got + i < sizeof w->first)
            w->first[w->got + i] = data.p[i];
        else if ((unsigned char)data.p[i] != (unsigned char)(w->got + i))
            w->wrong = true;
    }
    w->got += data.n;
}

static void take(sbx_client *client, wire *w, const sbx_event *ev)
{
    if (ev->kind == SBX_EV_STARTED || ev->kind == SBX_EV_WRITABLE) {
        send_rest(client, w);
    } else if (ev->kind == SBX_EV_DATA) {
        take_data(w, ev->data);
    } else if (ev->kind == SBX_EV_EOF) {
        w->eof = true;
    } else if (ev->kind == SBX_EV_END) {
        w->over = true;
        w->code = ev->code;
    }
}

static wire through(sbx_client *client, sbx_op tunnel, uint16_t port, sbx_str data)
{
    wire w;
    sbx_event ev;

    dial(client, &w, tunnel, port, data);
    while (!w.over && sbx_next_of(client, &w.op, &ev))
        take(client, &w, &ev);
    return w;
}

static void close_tunnel(sbx_client *client, sbx_op tunnel)
{
    assert_int_equal(sbx_tunnel_close(client, tunnel), SBX_OK);
    OK_ON(client, tunnel);
}

static void halves(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    char *big = malloc(3000006);
    wire w;

    (void)state;
    w = through(c, tunnel, 5000, sbx_s("echo\nhello"));
    assert_int_equal(w.code, SBX_OK);
    assert_true(w.eof);
    assert_int_equal(w.got, 5);
    assert_memory_equal(w.first, "hello", 5);
    memset(big, 'x', 3000006);
    memcpy(big, "count\n", 6);
    w = through(c, tunnel, 5000, sbx_sn(big, 3000006));
    assert_int_equal(w.code, SBX_OK);
    assert_int_equal(w.got, 7);
    assert_memory_equal(w.first, "3000000", 7);
    free(big);
    close_tunnel(c, tunnel);
}

static void refusals(void **state)
{
    const char *const options[] = { "--deny-port", "6000", NULL };
    e2e_server s = e2e_serve(options);
    sbx_client *client = e2e_connect(&s, NULL);
    sbx_box b = e2e_create(client);
    sbx_op tunnel = sbx_tunnel_open(client, &b, NULL);

    (void)state;
    assert_int_equal(through(client, tunnel, 6000, sbx_s("x")).code, SBX_ERR_PORT_DENIED);
    assert_int_equal(through(client, tunnel, 6001, sbx_s("x")).code, SBX_ERR_DIAL);
    close_tunnel(client, tunnel);
    sbx_close(client);
    e2e_stop(&s);
}

static void bulk(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    char line[32];
    wire w;

    (void)state;
    snprintf(line, sizeof line, "source %u\n", BULK);
    w = through(c, tunnel, 5000, sbx_s(line));
    assert_int_equal(w.code, SBX_OK);
    assert_int_equal(w.got, BULK);
    assert_false(w.wrong);
    close_tunnel(c, tunnel);
}

static void resets(void **state)
{
    sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
    sbx_event ev;
    wire w;

    (void)state;
    assert_int_equal(through(c, tunnel, 5000, sbx_s("reset\n")).code, SBX_ERR_CONNECTION);
    dial(c, &w, tunnel, 5000, sbx_s("told\n"));
    w.keep = true;
    while (!w.sent && sbx_next_of(c, &w.op, &ev))
        take(c, &w, &ev);
    assert_int_equal(sbx_cancel(c, w.op), SBX_OK);
    assert_string_equal(e2e_sh("until [ -s told ]; do sleep 0.05; done; cat told"), "reset");
    while (!w.over && sbx_next_of(c, &w.op, &ev))
        take(c, &w, &ev);
    assert_int_equal(w.code, SBX_ERR_CANCELLED);
    close_tunnel(c, tunnel);
}

static void many(void **state)
{
    sbx_client_desc d = { .max_ops = MANY + 8 };
    sbx_client *client = e2e_open(&d);
    sbx_op tunnel = sbx_tunnel_open(client, &box, &(sbx_tunnel_opts){ .max_streams = MANY });
    wire *all = calloc(MANY, sizeof *all);
    char(*texts)[32] = calloc(MANY, sizeof *texts);
    unsigned over = 0;
    sbx_event ev;

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "echo\n<%d>", i);
        dial(client, &all[i], tunnel, 5000, sbx_s(texts[i]));
    }
    while (over < MANY) {
        while (!sbx_next(client, &ev))
            sbx_wait(client, SBX_FOREVER);
        if (!ev.user)
            continue;
        take(client, ev.user, &ev);
        over += ev.kind == SBX_EV_END;
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(all[i].code, SBX_OK);
        assert_int_equal(all[i].got, strlen(texts[i] + 5));
        assert_memory_equal(all[i].first, texts[i] + 5, all[i].got);
    }
    free(all);
    free(texts);
    sbx_close(client);
}

static void lost(void **state)
{
    const char *const options[] = { "--fault", "drop-ws-after=300000:path=/tunnel:count=1", NULL };
    e2e_server s = e2e_serve(options);
    sbx_client *client = e2e_connect(&s, NULL);
    sbx_box b = e2e_create(client);
    sbx_op tunnel = sbx_tunnel_open(client, &b, NULL);
    wire w;

    (void)state;
    serve(client, &b);
    assert_int_equal(through(client, tunnel, 5000, sbx_s("source 1048576\n")).code, SBX_ERR_CONNECTION);
    w = through(client, tunnel, 5000, sbx_s("source 1048576\n"));
    assert_int_equal(w.code, SBX_OK);
    assert_int_equal(w.got, 1048576);
    sbx_close(client);
    e2e_stop(&s);
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
        cmocka_unit_test(halves), cmocka_unit_test(refusals), cmocka_unit_test(bulk),
        cmocka_unit_test(resets), cmocka_unit_test(many),     cmocka_unit_test(lost),
    };

    return cmocka_run_group_tests(tests, begin, e2e_end);
}
