/* What a hostile server, or an unlucky order of calls, once broke. */
#include "script.h"

/* gap in a message larger than rx, then woken before the data is pulled */
static void a_gap_in_a_large_message_then_a_kill(void **state)
{
    sbx_event ev;
    sbx_op op;
    int seen = 0;
    (void)state;
    kit_new(1);
    K.d.rx_bytes = 1024;
    kit_open();
    {
        static char t[6000];
        size_t n = (size_t)sprintf(t, "%s{\"type\":\"stdout\",\"offset\":1000,\"data\":\"", STARTED);
        memset(t + n, 'y', 4000);
        strcpy(t + n + 4000, "\"}\n" EXIT(0));
        talk(t, NULL, NULL);
    }
    op = command(NULL);
    for (int i = 0; i < 100000; i++) {
        sbx_wait(K.c, 10);
        if (!sbx_next(K.c, &ev))
            continue;
        if (ev.kind == SBX_EV_GAP) {
            seen = 1;
            sbx_kill(K.c, op);
        }
        if (ev.kind == SBX_EV_END)
            break;
    }
    assert_true(seen);
    ASSERT_CODE(ev.code, SBX_OK);
    kit_end();
}

static sbx_op port_start(sbx_op op, uint32_t *id, char *req, size_t cap)
{
    sbx_port p;
    size_t n;
    sbx_step(K.c, 5);
    assert_true(sbx_port_next(K.c, &p));
    assert_int_equal(p.action, SBX_PORT_CONNECT);
    *id = p.id;
    ASSERT_CODE(sbx_port_opened(K.c, p.id), SBX_OK);
    sbx_step(K.c, 6);
    n = sbx_port_send(K.c, p.id, req, cap - 1);
    req[n] = 0;
    return op;
}
static void port_open(void)
{
    unsigned char seed[32] = {1};
    kit_new(1);
    K.d.transport = &sbx_ports;
    kit_open();
    K.s->client = NULL;
    ASSERT_CODE(sbx_port_seed(K.c, seed, 32, 0), SBX_OK);
}
static size_t frame(char *p, const char *t)
{
    size_t n = strlen(t);
    p[0] = (char)0x81;
    p[1] = (char)n;
    memcpy(p + 2, t, n);
    return n + 2;
}
/* ports, a command whose server took it and said nothing yet */
static sbx_op port_command_more(uint32_t *id)
{
    char req[4000], buf[600], key[25], acc[29];
    size_t n;
    sbx_op op;
    char *k;
    op = port_start(sbx_command(K.c, &K.box, sbx_s("x"), NULL), id, req, sizeof req);
    k = strstr(req, "Sec-WebSocket-Key: ");
    assert_non_null(k);
    memcpy(key, k + 19, 24);
    key[24] = 0;
    sbx_ws_accept(acc, sbx_s(key));
    acc[28] = 0;
    n = (size_t)snprintf(buf, sizeof buf, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                         acc);
    assert_int_equal(sbx_port_recv(K.c, *id, buf, n), n);
    sbx_step(K.c, 7);
    assert_true(sbx_port_send(K.c, *id, req, sizeof req));
    return op;
}
static sbx_op port_command(uint32_t *id)
{
    port_open();
    return port_command_more(id);
}
/* ports, a command that waits for a buffer is no reason to be busy */
static void ports_a_starved_command(void **state)
{
    uint32_t a, b;
    char buf[600], room[600];
    unsigned char seed[32] = { 1 };
    size_t n;
    unsigned outs = 0;
    sbx_event ev;
    sbx_op ops[2];

    (void)state;
    kit_new(1);
    K.d.transport = &sbx_ports;
    K.d.buffers = 2;
    kit_open();
    K.s->client = NULL;
    ASSERT_CODE(sbx_port_seed(K.c, seed, 32, 0), SBX_OK);
    ops[0] = port_command_more(&a);
    ops[1] = port_command_more(&b);
    n = frame(buf, "{\"type\":\"stdout\",\"data\":\"1\",\"offset\":0}");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(sbx_port_recv(K.c, i ? b : a, buf, n), n);
        while (sbx_next(K.c, &ev)) {
        }
        while (sbx_port_send(K.c, i ? b : a, room, sizeof room)) {
        }
    }
    ASSERT_CODE(sbx_kill(K.c, ops[0]), SBX_OK); /* nothing of it is taken: it keeps the send buffer, which an answer to a ping would need */
    n = frame(buf, "{\"type\":\"stdout\",\"data\":\"2\",\"offset\":1}");
    for (int64_t now = 8; now < 14; now++) {
        sbx_step(K.c, now);
        if (now == 9)
            assert_int_equal(sbx_port_recv(K.c, b, buf, n), n);
        while (sbx_next(K.c, &ev))
            outs += ev.kind == SBX_EV_STDOUT;
        while (sbx_port_send(K.c, b, room, sizeof room)) {
        }
        if (now < 12)
            assert_true(sbx_next_deadline(K.c) > now);
        assert_int_equal(outs, now < 13 ? 0 : 1);
        if (now == 12)
            assert_true(sbx_port_send(K.c, a, room, sizeof room) > 0);
    }
    sbx_cancel(K.c, ops[0]);
    sbx_cancel(K.c, ops[1]);
    while (sbx_next(K.c, &ev)) {
    }
    kit_end();
}
/* ports, two messages given before the first was pulled */
static void ports_two_messages_before_a_pull(void **state)
{
    uint32_t id;
    char buf[600], out[100] = "";
    size_t n;
    sbx_event ev;
    sbx_op op;
    (void)state;
    op = port_command(&id);
    n = frame(buf, "{\"type\":\"stdout\",\"data\":\"first message\",\"offset\":0}");
    assert_int_equal(sbx_port_recv(K.c, id, buf, n), n);
    n = frame(buf, "{\"type\":\"stdout\",\"data\":\"SECOND\",\"offset\":13}");
    n = sbx_port_recv(K.c, id, buf, n);
    for (int i = 0; i < 5; i++)
        while (sbx_next(K.c, &ev))
            if (ev.kind == SBX_EV_STDOUT)
                strncat(out, ev.data.p, ev.data.n);
    assert_memory_equal(out, "first message", 13);
    sbx_cancel(K.c, op);
    while (sbx_next(K.c, &ev)) {
    }
    kit_end();
}
/* ports, a message of which the half came: the loop of the manual waits for the
   rest */
static void ports_half_a_message(void **state)
{
    uint32_t id;
    char buf[600], room[600];
    size_t n, half;
    unsigned outs = 0;
    sbx_event ev;
    sbx_op op;
    (void)state;
    op = port_command(&id);
    n = frame(buf, "{\"type\":\"stdout\",\"data\":\"first\",\"offset\":0}");
    half = n + n / 2;
    n += frame(buf + n, "{\"type\":\"stdout\",\"data\":\"later\",\"offset\":5}");
    for (int64_t now = 8; now < 16; now++) {
        sbx_step(K.c, now);
        if (now == 8)
            assert_int_equal(sbx_port_recv(K.c, id, buf, half), half);
        if (now == 12)
            assert_int_equal(sbx_port_recv(K.c, id, buf + half, n - half), n - half);
        while (sbx_next(K.c, &ev))
            outs += ev.kind == SBX_EV_STDOUT;
        while (sbx_port_send(K.c, id, room, sizeof room)) {
        }
        assert_int_equal(outs, now < 12 ? 1 : 2);
        assert_true(sbx_next_deadline(K.c) > now);
    }
    sbx_cancel(K.c, op);
    while (sbx_next(K.c, &ev)) {
    }
    kit_end();
}
/* ports, a download over 256 KiB into a buffer */
static void ports_a_large_download(void **state)
{
    static char body[600000], out[600000];
    uint32_t id;
    char req[4000], head[100];
    size_t n, at = 0;
    sbx_event ev;
    sbx_op op;
    int stuck = 0, t = 7;
    sbx_read_opts o = {0};
    sbx_read_result r;
    (void)state;
    port_open();
    memset(body, 'b', sizeof body);
    o.out.p = out;
    o.out.n = sizeof out;
    op = port_start(sbx_read(K.c, &K.box, sbx_s("/f"), &o, &r), &id, req, sizeof req);
    assert_int_not_equal(op.slot, 0);
    n = (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof body);
    assert_int_equal(sbx_port_recv(K.c, id, head, n), n);
    while (at < sizeof body && stuck < 20) {
        n = sbx_port_recv(K.c, id, body + at, sizeof body - at);
        stuck = n ? 0 : stuck + 1;
        at += n;
        sbx_step(K.c, t);
    }
    assert_int_equal(at, sizeof body);
    assert_true(sbx_next(K.c, &ev));
    ASSERT_CODE(ev.code, SBX_OK);
    kit_end();
}
/* an empty upload by push, first answer 503 */
static void an_empty_push_after_a_failure(void **state)
{
    sbx_write_opts o = {0};
    sbx_op op;
    sbx_event ev;
    size_t taken;
    int n = 0;
    (void)state;
    kit_start(1);
    kit_expect("POST /b/one/upload", 503, NULL, "{}");
    o.stream = true;
    o.size = SBX_NONE;
    op = sbx_write(K.c, &K.box, sbx_s("/f"), sbx_sn(NULL, 0), &o);
    ev.kind = 0;
    while (n++ < 1000 && ev.kind != SBX_EV_END) {
        memset(&ev, 0, sizeof ev);
        sbx_wait(K.c, 60000);
        if (!sbx_next(K.c, &ev))
            continue;
        if (ev.kind == SBX_EV_REWIND)
            sbx_rewind(K.c, op);
        if (ev.kind == SBX_EV_WRITABLE)
            sbx_push(K.c, op, sbx_sn(NULL, 0), true, &taken);
    }
    assert_int_equal(ev.kind, SBX_EV_END);
    ASSERT_CODE(ev.code, SBX_OK);
    kit_end();
}
/* close with all slots in use */
static void close_with_every_slot_ended(void **state)
{
    sbx_create_opts o = {0};
    sbx_box b;
    sbx_op op;
    int64_t before;
    (void)state;
    kit_new(1);
    K.d.max_ops = 3;
    kit_open();
    o.delete_on_close = true;
    o.name = sbx_s("mine");
    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &o, &b)), SBX_OK);
    for (int i = 0; i < 3; i++) {
        op = sbx_create(K.c, NULL, &b);
        assert_int_not_equal(op.slot, 0);
    }
    before = K.s->now;
    K.s->client = NULL;
    sbx_close(K.c);
    assert_string_equal(kit_request(0)->method, "DELETE");
    assert_true(K.s->now - before < 5000);
    free(K.mem);
    sim_free(K.s);
}
/* the one that a free connection woke is cancelled before it runs */
static void a_freed_connection_wakes_the_next(void **state)
{
    sbx_read_opts o = {0};
    sbx_op a, b, x;
    sbx_box_info bi;
    sbx_box bo;
    sbx_event ev;
    int n = 0;
    bool done = false;
    (void)state;
    (void)o;
    (void)bi;
    kit_new(1);
    K.d.max_links = 1;
    K.d.timeout_ms = SBX_FOREVER;
    kit_open();
    {
        sim_script e = {0};
        e.match = "GET /v2/sandboxes/boxes/x";
        e.no_answer = true;
        sim_expect(K.s, &e);
    }
    x = sbx_get(K.c, sbx_s("x"), NULL, &bo, NULL);
    for (int i = 0; i < 5; i++)
        sbx_wait(K.c, 10);
    a = sbx_get(K.c, sbx_s("a"), NULL, &bo, NULL);
    b = sbx_get(K.c, sbx_s("b"), NULL, &bo, NULL);
    for (int i = 0; i < 5; i++)
        sbx_wait(K.c, 10);
    sbx_cancel(K.c, x);
    sbx_cancel(K.c, a);
    while (n++ < 1000 && !done) {
        sbx_wait(K.c, 1000);
        while (sbx_next(K.c, &ev)) {
            if (ev.op.slot == b.slot) {
                done = true;
            }
        }
    }
    assert_true(done);
    kit_end();
}
/* pages go round */
static unsigned page;
static void make_page(sim *s, sim_conn *c)
{
    char body[9000];
    size_t n = 0;
    (void)s;
    page++;
    n += (size_t)sprintf(body + n, "{\"sandboxes\":[");
    for (int i = 0; i < 40; i++)
        n += (size_t)sprintf(body + n, "%s{\"id\":\"%u-%d\",\"name\":\"n\"}", i ? "," : "", page % 2, i);
    n += (size_t)sprintf(body + n, "],\"next_cursor\":\"%s\"}", page % 2 ? "A" : "B");
    sim_answer(c, 200, NULL, body, n, s->now);
}
/* pages without items that never end; each is as many behind the last item as
   `barren` says */
static unsigned barren;
static void make_barren_page(sim *s, sim_conn *c)
{
    char body[200];
    size_t n = (size_t)snprintf(body, sizeof body, "{\"sandboxes\":[");

    if (++page % barren == 0)
        n += (size_t)snprintf(body + n, sizeof body - n, "{\"id\":\"%u\",\"name\":\"n\"}", page);
    n += (size_t)snprintf(body + n, sizeof body - n, "],\"next_cursor\":\"%u\"}", page);
    if (page == 3100)
        n = (size_t)snprintf(body, sizeof body, "{\"sandboxes\":[],\"next_cursor\":null}");
    sim_answer(c, 200, NULL, body, n, s->now);
}
static void a_list_without_items(void **state)
{
    sbx_list_opts o = { 0 };
    sbx_box_info items[4];
    sbx_list_result r;
    sim_script e = { 0 };
    sbx_op op;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        kit_start(1);
        e.match = "GET /v2/sandboxes/boxes";
        e.times = -1;
        e.make = make_barren_page;
        sim_expect(K.s, &e);
        o.items.p = (char *)items;
        o.items.n = sizeof items;
        page = 0;
        barren = i ? 1002 : 1000;
        op = sbx_list(K.c, &o, &r);
        ASSERT_CODE(sbx_await(K.c, op), i ? SBX_ERR_PROTOCOL : SBX_OK);
        if (i) {
            assert_int_equal(page, 1001);
            assert_non_null(strstr(kit_error(op).text, "without an item"));
        } else {
            assert_int_equal(page, 3100);
            assert_int_equal(r.count, 3);
        }
        kit_end();
    }
}
static void a_list_that_goes_round(void **state)
{
    sbx_list_result r;
    sim_script e = {0};
    sbx_box_info it[2];
    sbx_list_opts o = {0};
    sbx_op op;
    sbx_event ev;
    bool done = false;
    (void)state;
    kit_start(1);
    e.match = "GET /v2/sandboxes/boxes";
    e.times = -1;
    e.make = make_page;
    sim_expect(K.s, &e);
    o.items.p = (void *)it;
    o.items.n = sizeof it;
    op = sbx_list(K.c, &o, &r);
    for (int n = 0; n < 5000 && !done; n++) {
        sbx_wait(K.c, 1000);
        while (sbx_next(K.c, &ev))
            done = true;
    }
    assert_true(done);
    ASSERT_CODE(ev.code, SBX_ERR_PROTOCOL);
    (void)op;
    kit_end();
}
/* a range answered with the whole, endless file */
static void a_range_answered_with_everything(void **state)
{
    static char whole[3000000];
    char out[10];
    sbx_read_opts o = {0};
    sbx_read_result r;
    sim_script e = {0};
    sbx_usage u;
    (void)state;
    kit_start(1);
    memset(whole, 'w', sizeof whole);
    e.match = "GET /b/one/download";
    e.status = 200;
    e.body = whole;
    e.body_n = sizeof whole;
    sim_expect(K.s, &e);
    o.out.p = out;
    o.out.n = 10;
    o.offset = 5;
    o.length = 10;
    ASSERT_CODE(sbx_await(K.c, sbx_read(K.c, &K.box, sbx_s("/f"), &o, &r)), SBX_OK);
    assert_int_equal(r.n, 10);
    sbx_get_usage(K.c, &u);
    assert_true(u.bytes_in < 1000000);
    kit_end();
}
/* a port's number is used again without its CLOSE */
static void a_port_number_is_closed_before_it_is_used_again(void **state)
{
    uint32_t id;
    char req[4000];
    static const char ans[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    sbx_port p;
    sbx_event ev;
    sbx_box bo;
    (void)state;
    kit_new(1);
    K.d.transport = &sbx_ports;
    K.d.max_links = 1;
    kit_open();
    K.s->client = NULL;
    {
        unsigned char seed[32] = {1};
        sbx_port_seed(K.c, seed, 32, 0);
    }
    port_start(sbx_get(K.c, sbx_s("a"), NULL, &bo, NULL), &id, req, sizeof req);
    assert_int_equal(sbx_port_recv(K.c, id, ans, sizeof ans - 1), sizeof ans - 1);
    while (sbx_next(K.c, &ev)) {
    }
    assert_false(sbx_port_next(K.c, &p));
    sbx_stat(K.c, &K.box, sbx_s("/f"), NULL, NULL); /* another origin: the idle one gives way */
    sbx_step(K.c, 20);
    assert_true(sbx_port_next(K.c, &p));
    assert_int_equal(p.action, SBX_PORT_CLOSE);
    assert_true(sbx_port_next(K.c, &p));
    assert_int_equal(p.action, SBX_PORT_CONNECT);
    assert_int_equal(sbx_port_recv(K.c, id, "x", 1), 0);
    sbx_cancel(K.c, ev.op);
    for (uint32_t i = 1; i <= 64; i++) {
        sbx_op h;
        h.slot = i;
        for (h.gen = 1; h.gen < 4; h.gen++)
            sbx_cancel(K.c, h);
    }
    while (sbx_next(K.c, &ev)) {
    }
    kit_end();
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_in_a_large_message_then_a_kill),
        cmocka_unit_test(ports_two_messages_before_a_pull),
        cmocka_unit_test(ports_half_a_message),
        cmocka_unit_test(ports_a_large_download),
        cmocka_unit_test(an_empty_push_after_a_failure),
        cmocka_unit_test(close_with_every_slot_ended),
        cmocka_unit_test(a_freed_connection_wakes_the_next),
        cmocka_unit_test(a_port_number_is_closed_before_it_is_used_again),
        cmocka_unit_test(ports_a_starved_command), cmocka_unit_test(a_list_that_goes_round), cmocka_unit_test(a_list_without_items),
        cmocka_unit_test(a_range_answered_with_everything),
    };

    return cmocka_run_group_tests_name("hostile orders", tests, NULL, NULL);
}
