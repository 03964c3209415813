/* Workloads for callgrind: count_json NAME (see main). Each runs over distinct
   inputs; only the function count_NAME is to be counted:
   valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect=count_ws ./count_json ws */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define COUNT __attribute__((noinline))
#else
#define COUNT
#endif

static uint64_t random_state = 1;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((random_state >> 33) % n);
}

typedef struct text {
    char *p;
    size_t n, cap;
} text;

static void put(text *t, const char *p, size_t n)
{
    if (t->cap - t->n < n + 1) {
        t->cap = 2 * t->cap + n + 4096;
        t->p = (char *)realloc(t->p, t->cap);
        if (!t->p)
            exit(1);
    }
    memcpy(t->p + t->n, p, n + 1);
    t->n += n;
}

static void puts_(text *t, const char *z)
{
    put(t, z, strlen(z));
}

static void put_char(text *t, char c)
{
    char z[2] = { 0, 0 };
    z[0] = c;
    put(t, z, 1);
}

/* ---- inputs ---- */

/* A line of what programs print, JSON-escaped. */
static void put_line(text *t)
{
    static const char *const words[] = { "gcc", "-O2", "-c", "src/main.c", "warning:", "unused", "variable", "build/obj", "collecting", "package",
        "requirement", "already", "satisfied:", "in", "/usr/lib/python3", "(from", "numpy)", "PASSED", "tests/test_api.py::test_list", "[ 42%]",
        "Linking", "CXX", "executable", "total", "drwxr-xr-x", "root", "4096", "Nov", "20", "README.md", "0.03s", "error", "returned", "127",
        "Traceback", "File", "line", "module", "connected", "GET", "/api/v1/items", "200", "ms", "commit", "9f3c1e0b" };
    unsigned n = 4 + random_below(9), kind = random_below(16);
    char number[32];
    if (kind == 0)
        puts_(t, "\\u001b[32m");
    if (kind == 1)
        puts_(t, "\xE2\x9C\x93 ");
    if (kind == 2)
        puts_(t, "\xE2\x94\x82 caf\xC3\xA9 \xE2\x94\x82 ");
    for (unsigned i = 0; i < n; i++) {
        const char *word = words[random_below((unsigned)(sizeof words / sizeof *words))];
        bool quoted = kind == 3 && i == 2;
        if (i)
            puts_(t, " ");
        if (quoted)
            puts_(t, "\\\"");
        puts_(t, word);
        if (quoted)
            puts_(t, "\\\"");
        if (random_below(6) == 0) {
            sprintf(number, "=%u", random_below(100000));
            puts_(t, number);
        }
    }
    if (kind == 0)
        puts_(t, "\\u001b[0m");
    if (kind == 4)
        puts_(t, "\\t\xF0\x9F\x9A\x80");
    puts_(t, "\\n");
}

/* WebSocket-style messages of about 250 bytes. */
enum { WS_N = 4096 };
static text ws;
static size_t ws_at[WS_N + 1];

/* Bytes of the text that n bytes of JSON, a string without its end, stand for. */
static size_t decoded_n(const char *p, size_t n)
{
    char copy[1024], *from = copy;
    sbx_json j;
    sbx_json_tok t;
    if (n > sizeof copy)
        exit(2);
    memcpy(copy, p, n);
    sbx_json_init(&j, 0);
    if (sbx_json_next(&j, &from, copy + n, &t) != SBX_JSON_STRING)
        exit(2);
    return t.n;
}

static void make_ws(void)
{
    uint64_t offset[2] = { 0, 0 };
    for (size_t i = 0; i < WS_N; i++) {
        char number[40];
        size_t data;
        unsigned stream = random_below(5) == 0;
        ws_at[i] = ws.n;
        puts_(&ws, stream ? "{\"type\":\"stderr\",\"data\":\"" : "{\"type\":\"stdout\",\"data\":\"");
        data = ws.n - 1;
        while (ws.n - ws_at[i] < 200)
            put_line(&ws);
        sprintf(number, "\",\"offset\":%llu}", (unsigned long long)offset[stream]);
        offset[stream] += decoded_n(ws.p + data, ws.n - data);
        puts_(&ws, number);
    }
    ws_at[WS_N] = ws.n;
}

/* Messages with 16 KiB of text, `escapes` per mille of its bytes escaped. */
enum { BIG_N = 64, BIG_BYTES = 16384 };
static text big;
static size_t big_at[BIG_N + 1];

static void make_big(unsigned escapes)
{
    for (size_t i = 0; i < BIG_N; i++) {
        big_at[i] = big.n;
        puts_(&big, "{\"type\":\"stdout\",\"data\":\"");
        for (size_t k = 0; k < BIG_BYTES;) {
            char c = (char)('#' + random_below('[' - '#'));
            if (random_below(1000) < escapes) {
                puts_(&big, random_below(3) ? "\\n" : "\\\"");
                k++;
            } else if (random_below(64) == 0) {
                puts_(&big, "\xC3\xA9");
                k += 2;
            } else {
                put_char(&big, c);
                k++;
            }
        }
        puts_(&big, "\",\"offset\":123456}");
    }
    big_at[BIG_N] = big.n;
}

/* Lists of 100 sandboxes with the fields that the service sends, 70 KB each. */
enum { LIST_N = 8 };
static text list;
static size_t list_at[LIST_N + 1];

/* A UUID. */
static const char *hex(char out[40])
{
    for (unsigned i = 0; i < 36; i++)
        out[i] = i == 8 || i == 13 || i == 18 || i == 23 ? '-' : "0123456789abcdef"[random_below(16)];
    out[36] = 0;
    return out;
}

static void make_list(void)
{
    for (size_t l = 0; l < LIST_N; l++) {
        list_at[l] = list.n;
        puts_(&list, "{\"sandboxes\":[");
        for (unsigned i = 0; i < 100; i++) {
            char id[40], other[40], one[2048];
            snprintf(one, sizeof one,
                     "%s{\"id\":\"%s\",\"name\":\"worker-%u\",\"dataplane_url\":\"https://%.12s.sandbox.example.com\",\"status\":\"%s\",\"status_message\":null,"
                     "\"created_at\":\"2025-11-%02uT12:%02u:56Z\",\"updated_at\":\"2025-11-20T12:34:%02uZ\",\"idle_ttl_seconds\":%u,"
                     "\"delete_after_stop_seconds\":%u,\"stopped_at\":null,\"snapshot_id\":\"%s\",\"vcpus\":%u,\"mem_bytes\":%u,\"fs_capacity_bytes\":%u,"
                     "\"run_config\":null,\"access_delegation\":null,\"mount_config\":null,\"proxy_config\":null,\"labels\":{},\"created_by\":null,"
                     "\"updated_by\":null,\"cpu_millicores\":%u,\"size_class\":\"small\",\"preserve_memory_on_stop\":%s}",
                     i ? "," : "", hex(id), random_below(100000), id, random_below(3) ? "ready" : "provisioning", 1 + random_below(28), random_below(60),
                     random_below(60), 60 * random_below(60), 60 * random_below(2), hex(other), 1 + random_below(8), random_below(1u << 31),
                     random_below(1u << 31), 1000 * random_below(9), random_below(2) ? "true" : "false");
            puts_(&list, one);
        }
        puts_(&list, "],\"next_cursor\":null}");
    }
    list_at[LIST_N] = list.n;
}

/* 16 KiB texts to escape, `escapes` per mille of the bytes need it. */
static void make_plain(unsigned escapes)
{
    for (size_t i = 0; i < BIG_N; i++) {
        big_at[i] = big.n;
        for (size_t k = 0; k < BIG_BYTES; k++) {
            char c = (char)('#' + random_below('[' - '#'));
            if (random_below(1000) < escapes)
                c = "\n\"\\\n\"\t\n\x1B"[random_below(8)];
            put_char(&big, c);
        }
    }
    big_at[BIG_N] = big.n;
}

/* ---- what is counted ---- */

static uint64_t sum;

/* A consumer that matches keys and adds up decoded bytes. */
static void consume(char *p, char *end)
{
    enum { NONE, TYPE, DATA, OFFSET } field = NONE;
    sbx_json j;
    sbx_json_tok t;
    sbx_json_init(&j, 0);
    for (;;) {
        sbx_json_kind kind = sbx_json_next(&j, &p, end, &t);
        if (kind == SBX_JSON_KEY) {
            field = NONE;
            if (t.n == 4)
                field = memcmp(t.p, "data", 4) == 0 ? DATA : memcmp(t.p, "type", 4) == 0 ? TYPE : NONE;
            else if (t.n == 6 && memcmp(t.p, "offset", 6) == 0)
                field = OFFSET;
        } else if (kind == SBX_JSON_STRING || kind == SBX_JSON_NUMBER) {
            if (field == DATA || field == OFFSET)
                sum += t.n;
        } else if (kind == SBX_JSON_DONE) {
            return;
        } else if (kind >= SBX_JSON_MORE) {
            exit(2);
        }
    }
}

static void consume_all(char *p, const size_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        consume(p + at[i], p + at[i + 1]);
}

/* The same messages as the client reads them off a command's WebSocket: to
   their decoded bytes and offset, or on to the events that the caller pulls. */
static void receive_all(char *p, const size_t *at, size_t n, bool events)
{
    static sbx_client c;
    static sbxi_op op;
    sbxi_command *k = &op.u.command;
    op.row = &sbxi_command_row;
    op.state = SBXI_OP_STREAM;
    op.flags = SBXI_OP_STREAMING;
    op.s.phase = SBXI_PHASE_RUNNING;
    for (size_t i = 0; i < n; i++) {
        uint64_t before = sum;
        sbx_event ev;
        sbx_ws_event e;
        sbx_json_tok t;
        char *read;
        e.p = p + at[i];
        e.n = at[i + 1] - at[i];
        e.first = e.last = true;
        sbxi_stream_piece(&op, &e);
        read = op.piece;
        if (events) {
            while (sbxi_stream_read(&c, &op, &ev) == SBXI_RUN_EVENT)
                sum += ev.data.n;
        } else if (sbxi_message_read(&c, &op, &ev, &read, read + op.piece_n) == SBXI_RUN_IDLE && sbx_json_end(&k->json, &t) == SBX_JSON_DONE && op.s.has_data) {
            sum += k->held.out.data_n;
        }
        if (sum == before || op.state != SBXI_OP_STREAM || op.s.lost)
            exit(2);
    }
}

static char escaped[6 * BIG_BYTES];

static void escape_all(void)
{
    for (size_t i = 0; i < BIG_N; i++) {
        size_t used;
        bool bad;
        sum += sbx_json_escape(escaped, sizeof escaped, big.p + big_at[i], BIG_BYTES, &used, &bad);
        if (used != BIG_BYTES || bad)
            exit(2);
    }
}

/* One function a workload, each different, or the compiler makes them one. */
COUNT void count_ws(void)
{
    receive_all(ws.p, ws_at, WS_N, false);
    sum += 1;
}

COUNT void count_events(void)
{
    receive_all(ws.p, ws_at, WS_N, true);
    sum += 7;
}

COUNT void count_tokens(void)
{
    consume_all(ws.p, ws_at, WS_N);
    sum += 6;
}

COUNT void count_big_3(void)
{
    consume_all(big.p, big_at, BIG_N);
    sum += 2;
}

COUNT void count_big_0(void)
{
    consume_all(big.p, big_at, BIG_N);
    sum += 3;
}

COUNT void count_escape_25(void)
{
    escape_all();
    sum += 4;
}

COUNT void count_escape_0(void)
{
    escape_all();
    sum += 5;
}

COUNT void count_list(void)
{
    for (size_t i = 0; i < LIST_N; i++) {
        char *p = list.p + list_at[i], *end = list.p + list_at[i + 1];
        sbx_json j;
        sbx_json_tok t;
        sbx_json_kind kind;
        sbx_json_init(&j, 0);
        while ((kind = sbx_json_next(&j, &p, end, &t)) < SBX_JSON_MORE)
            ;
        if (kind != SBX_JSON_DONE)
            exit(2);
    }
}

int main(int argc, char **argv)
{
    const char *name = argc == 2 ? argv[1] : "";
    size_t bytes;
    if (!strcmp(name, "ws")) {
        make_ws();
        count_ws();
        bytes = ws.n;
    } else if (!strcmp(name, "events")) {
        make_ws();
        count_events();
        bytes = ws.n;
    } else if (!strcmp(name, "tokens")) {
        make_ws();
        count_tokens();
        bytes = ws.n;
    } else if (!strcmp(name, "list")) {
        make_list();
        count_list();
        bytes = list.n;
    } else if (!strcmp(name, "big_3")) {
        make_big(30);
        count_big_3();
        bytes = big.n;
    } else if (!strcmp(name, "big_0")) {
        make_big(0);
        count_big_0();
        bytes = big.n;
    } else if (!strcmp(name, "escape_25")) {
        make_plain(250);
        count_escape_25();
        bytes = big.n;
    } else if (!strcmp(name, "escape_0")) {
        make_plain(0);
        count_escape_0();
        bytes = big.n;
    } else {
        fprintf(stderr, "usage: count_json ws|events|tokens|list|big_3|big_0|escape_25|escape_0\n");
        return 1;
    }
    printf("count_json %s bytes=%lu\n", name, (unsigned long)bytes);
    return sum == 1;
}
