/* The world: clock, chances, connections and the transport over them. */
#include "peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- bytes ---- */

void sim_put(sim_bytes *b, const void *p, size_t n)
{
    if (b->n + n + 1 > b->cap) {
        while (b->n + n + 1 > b->cap)
            b->cap = b->cap ? 2 * b->cap : 256;
        b->p = (char *)realloc(b->p, b->cap);
        if (!b->p)
            abort();
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
}

void sim_puts(sim_bytes *b, const char *z)
{
    sim_put(b, z, strlen(z));
}

void sim_putf(sim_bytes *b, const char *format, ...)
{
    char text[4096];
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (n < 0 || (size_t)n >= sizeof text)
        abort();
    sim_put(b, text, (size_t)n);
}

/* ---- chances ---- */

uint32_t sim_draw(sim *s, uint32_t n)
{
    s->rng ^= s->rng << 13;
    s->rng ^= s->rng >> 7;
    s->rng ^= s->rng << 17;
    return n ? (uint32_t)(s->rng >> 20) % n : 0;
}

bool sim_chance(sim *s, uint32_t thousandths)
{
    return thousandths && sim_draw(s, 1000) < thousandths;
}

void sim_complain(sim *s, const char *format, ...)
{
    va_list list;

    if (s->complaint[0])
        return;
    va_start(list, format);
    vsnprintf(s->complaint, sizeof s->complaint, format, list);
    va_end(list);
}

/* ---- world ---- */

sim *sim_new(uint64_t seed)
{
    sim *s = (sim *)calloc(1, sizeof *s);

    if (!s)
        abort();
    s->seed = seed;
    s->rng = seed * UINT64_C(0x9E3779B97F4A7C15) + 0x1234567;
    s->now = 1000;
    s->wall0 = INT64_C(1760000000000);
    s->log_max = 256;
    s->tunnel_goaway = -1;
    for (int i = 0; i < 8; i++)
        sim_draw(s, 1);
    return s;
}

static void sim_conn_free(sim_conn *c)
{
    sim_conn_gone(c);
    sim_tunnel_free(c);
    free(c->in.p);
    free(c->out.p);
    free(c->segs);
    free(c->msg.p);
    free(c->req.head);
    free(c->req.body);
    free(c);
}

void sim_free(sim *s)
{
    for (uint32_t i = 0; i < s->conn_max; i++)
        if (s->conns[i])
            sim_conn_free(s->conns[i]);
    free(s->conns);
    sim_commands_free(s);
    for (unsigned i = 0; i < s->file_n; i++)
        free(s->files[i].data.p);
    for (unsigned i = 0; i < s->log_n; i++) {
        free(s->log[i].head);
        free(s->log[i].body);
    }
    free(s->log);
    free(s);
}

void sim_expect(sim *s, const sim_script *e)
{
    if (s->script_n == sizeof s->scripts / sizeof *s->scripts)
        abort();
    s->scripts[s->script_n++] = *e;
}

/* ---- connections ---- */

size_t sim_conn_backlog(const sim_conn *c)
{
    return c->out.n - c->out_at;
}

void sim_conn_write(sim_conn *c, const void *p, size_t n, int64_t at)
{
    sim_seg *last = c->seg_n > c->seg_at ? &c->segs[c->seg_n - 1] : NULL;

    if (c->end != SIM_OPEN || !n)
        return;
    if (c->out_at > 65536 && c->out_at > c->out.n / 2) {
        memmove(c->out.p, c->out.p + c->out_at, c->out.n - c->out_at);
        for (size_t i = c->seg_at; i < c->seg_n; i++)
            c->segs[i].end -= c->out_at;
        c->started_end -= c->started_end < c->out_at ? c->started_end : c->out_at;
        c->out.n -= c->out_at;
        c->out_at = 0;
    }
    sim_put(&c->out, p, n);
    if (last && at < last->at)
        at = last->at; /* a stream keeps its order */
    if (last && last->at == at) {
        last->end = c->out.n;
        return;
    }
    if (c->seg_at == c->seg_n)
        c->seg_at = c->seg_n = 0;
    if (c->seg_n == c->seg_cap) {
        c->seg_cap = c->seg_cap ? 2 * c->seg_cap : 8;
        c->segs = (sim_seg *)realloc(c->segs, c->seg_cap * sizeof *c->segs);
        if (!c->segs)
            abort();
    }
    c->segs[c->seg_n].end = c->out.n;
    c->segs[c->seg_n++].at = at;
}

void sim_conn_end(sim_conn *c, sim_end end, int64_t at)
{
    if (c->end != SIM_OPEN)
        return;
    if (end >= SIM_CLOSE_1000) {
        unsigned code = end == SIM_CLOSE_1000 ? 1000 : end == SIM_CLOSE_1001 ? 1001 : 1011;
        unsigned char payload[2];

        payload[0] = (unsigned char)(code >> 8);
        payload[1] = (unsigned char)code;
        sim_ws_frame(c, SBX_WS_OP_CLOSE, true, payload, 2, at);
    }
    c->end_at = c->seg_n > c->seg_at && c->segs[c->seg_n - 1].at > at ? c->segs[c->seg_n - 1].at : at;
    c->end = end;
}

/* Bytes that have arrived by now. */
static size_t sim_conn_there(const sim_conn *c)
{
    size_t end = c->out_at;

    for (size_t i = c->seg_at; i < c->seg_n && c->segs[i].at <= c->world->now; i++)
        end = c->segs[i].end;
    return end - c->out_at;
}

static bool sim_conn_readable(const sim_conn *c)
{
    return sim_conn_there(c) || (c->end != SIM_OPEN && c->out_at == c->out.n && c->end_at <= c->world->now);
}

static int64_t sim_conn_next(const sim_conn *c)
{
    if (!c->connected)
        return c->open_at;
    for (size_t i = c->seg_at; i < c->seg_n; i++)
        if (c->segs[i].at > c->world->now)
            return c->segs[i].at;
    if (c->end != SIM_OPEN && c->end_at > c->world->now)
        return c->end_at;
    return c->talk_at > c->world->now ? c->talk_at : SIM_NEVER;
}

/* ---- the transport ---- */

typedef struct sim_ctx {
    sim *world;
} sim_ctx;

typedef struct sim_state {
    sim_conn *conn;
} sim_state;

static bool sim_call_fails(sim *s)
{
    bool hit = s->fail_at && (s->calls + 1 == s->fail_at || (s->fail_all && s->calls + 1 > s->fail_at));

    s->calls++;
    return hit;
}

static sbx_code sim_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    sim *s = (sim *)(uintptr_t)config;

    ((sim_ctx *)ctx)->world = s;
    if (s->no_open) {
        fault->code = SBX_ERR_UNSUPPORTED;
        fault->text = "told to fail";
        return SBX_ERR_UNSUPPORTED;
    }
    s->conns = (sim_conn **)calloc(max_conns, sizeof *s->conns);
    s->conn_max = max_conns;
    return s->conns ? SBX_OK : SBX_ERR_MEMORY;
}

static void sim_shut(void *ctx)
{
    sim *s = ((sim_ctx *)ctx)->world;

    if (s->open_conns)
        sim_complain(s, "shut with %u connections open", s->open_conns);
}

static sbx_io sim_fail(sbx_fault *fault, sbx_code code, const char *text)
{
    fault->code = code;
    fault->sys = 104;
    fault->text = text;
    return SBX_IO_FAIL;
}

static sbx_io sim_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    sim *s = ((sim_ctx *)ctx)->world;
    sim_state *state = (sim_state *)conn;
    sim_conn *c = state->conn;

    if (!c) {
        if (to->tag >= s->conn_max || s->conns[to->tag]) {
            sim_complain(s, "connect on tag %u, which is open", to->tag);
            return sim_fail(fault, SBX_ERR_CONNECT, NULL);
        }
        c = state->conn = s->conns[to->tag] = (sim_conn *)calloc(1, sizeof *c);
        if (!c)
            abort();
        c->world = s;
        c->tag = to->tag;
        c->open_at = s->now + sim_draw(s, s->knobs.connect_ms + 1);
        c->end_at = SIM_NEVER;
        s->open_conns++;
        s->connects++;
        if (to->host.n > 8 && memcmp(to->host.p, "refused.", 8) == 0)
            c->refused = true;
        if (to->host.n > 10 && memcmp(to->host.p, "forbidden.", 10) == 0)
            c->refused = c->for_good = true;
        if (to->host.n > 5 && memcmp(to->host.p, "slow.", 5) == 0)
            c->open_at = SIM_NEVER;
        if (to->tls) {
            fault->code = SBX_ERR_UNSUPPORTED;
            return SBX_IO_FAIL;
        }
    }
    if (sim_call_fails(s))
        return sim_fail(fault, SBX_ERR_CONNECT, "told to fail");
    if (c->open_at > s->now || sim_chance(s, s->knobs.block)) {
        c->armed_w = true;
        return SBX_IO_WANT_WRITE;
    }
    fault->permanent = c->for_good;
    if (c->refused)
        return sim_fail(fault, SBX_ERR_CONNECT, "refused");
    c->connected = true;
    s->accepted++;
    return SBX_IO_OK;
}

static sbx_io sim_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    sim *s = ((sim_ctx *)ctx)->world;
    sim_conn *c = ((sim_state *)conn)->conn;
    size_t n;

    if (s->in_call)
        s->in_call(s);
    if (!room)
        sim_complain(s, "recv with no room");
    if (sim_call_fails(s))
        return s->fail_kind == SIM_FAULT_EOF ? SBX_IO_EOF : sim_fail(fault, SBX_ERR_CONNECTION, "told to fail");
    n = sim_conn_there(c);
    if (!n && sim_conn_readable(c))
        return c->end == SIM_RST ? sim_fail(fault, SBX_ERR_CONNECTION, "reset") : SBX_IO_EOF;
    if (!n || sim_chance(s, s->knobs.block)) {
        c->armed_r = true;
        return SBX_IO_WANT_READ;
    }
    if (n > room)
        n = room;
    if (s->knobs.recv_max && n > 1) {
        size_t most = 1 + sim_draw(s, s->knobs.recv_max);

        if (n > most)
            n = most;
    }
    memcpy(p, c->out.p + c->out_at, n);
    c->out_at += n;
    while (c->seg_at < c->seg_n && c->segs[c->seg_at].end <= c->out_at)
        c->seg_at++;
    *got = n;
    if (c->command && c->out_at > c->started_end)
        c->command->fruitless = 0;
    if (c->command && c->command->plan->echo && sim_conn_backlog(c) < 1024)
        c->no_read = false;
    if (c->command && c->end == SIM_OPEN)
        sim_command_run(s, c->command); /* it has room again */
    return SBX_IO_OK;
}

static sbx_io sim_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    sim *s = ((sim_ctx *)ctx)->world;
    sim_conn *c = ((sim_state *)conn)->conn;

    if (!n)
        sim_complain(s, "send of nothing");
    if (sim_call_fails(s))
        return s->fail_kind == SIM_FAULT_EOF ? SBX_IO_EOF : sim_fail(fault, SBX_ERR_CONNECTION, "told to fail");
    if (c->end == SIM_RST && c->end_at <= s->now && c->out_at == c->out.n)
        return sim_fail(fault, SBX_ERR_CONNECTION, "reset");
    if (c->no_read || sim_chance(s, s->knobs.block)) {
        c->armed_w = true;
        return SBX_IO_WANT_WRITE;
    }
    if (s->knobs.send_max && n > 1) {
        size_t most = 1 + sim_draw(s, s->knobs.send_max);

        if (n > most)
            n = most;
    }
    *sent = n;
    if (c->end == SIM_OPEN || c->end_at > s->now) {
        sim_put(&c->in, p, n);
        if (c->ws)
            sim_ws_input(c);
        else
            sim_http_input(c);
    }
    return SBX_IO_OK;
}

static void sim_close(void *ctx, void *conn)
{
    sim *s = ((sim_ctx *)ctx)->world;
    sim_state *state = (sim_state *)conn;

    if (!state->conn) {
        sim_complain(s, "close of a connection that was never begun");
        return;
    }
    s->conns[state->conn->tag] = NULL;
    s->open_conns--;
    sim_conn_free(state->conn);
    state->conn = NULL;
}

static void sim_watch(void *ctx, void *conn, unsigned bits)
{
    sim_conn *c = ((sim_state *)conn)->conn;

    ((sim_ctx *)ctx)->world->level = true;
    if (c)
        c->watched = bits;
}

static unsigned sim_level_bits(const sim_conn *c)
{
    unsigned bits = 0;

    if (sim_conn_readable(c))
        bits |= SBX_READABLE;
    if (c->connected ? !c->no_read : c->open_at <= c->world->now)
        bits |= SBX_WRITABLE;
    return bits & c->watched;
}

/* What changed since the client was told to wait. */
static int sim_collect(sim *s, sbx_ready *ready, int max)
{
    int n = 0;

    for (uint32_t i = 0; i < s->conn_max && n < max; i++) {
        sim_conn *c = s->conns[(s->scan + i) % s->conn_max];
        unsigned bits = 0;

        if (!c)
            continue;
        if (c->armed_r && sim_conn_readable(c))
            bits |= SBX_READABLE;
        if (c->armed_w && (c->connected ? !c->no_read : c->open_at <= s->now))
            bits |= SBX_WRITABLE;
        if (s->level)
            bits = sim_level_bits(c);
        if (sim_chance(s, s->knobs.again))
            bits = SBX_READABLE | SBX_WRITABLE;
        if (!bits)
            continue;
        if (bits & SBX_READABLE)
            c->armed_r = false;
        if (bits & SBX_WRITABLE)
            c->armed_w = false;
        ready[n].tag = c->tag;
        ready[n++].bits = bits;
        if (n == max)
            s->scan = (s->scan + i + 1) % s->conn_max;
    }
    return n;
}

/* Everything whose time has come happens; when the next thing will. */
static int64_t sim_happen(sim *s)
{
    int64_t next = SIM_NEVER;

    for (unsigned i = 0; i < s->command_n; i++) {
        int64_t at = sim_command_next(s->commands[i]);

        if (at <= s->now) {
            sim_command_run(s, s->commands[i]);
            at = sim_command_next(s->commands[i]);
        }
        if (at < next)
            next = at;
    }
    for (uint32_t i = 0; i < s->conn_max; i++) {
        sim_conn *c = s->conns[i];
        int64_t at;

        if (!c)
            continue;
        if (c->talk_at && c->talk_at <= s->now) {
            c->talk_at = 0;
            sim_talk(c);
        }
        at = sim_conn_next(c);
        if (at > s->now && at < next)
            next = at;
    }
    return next;
}

static int sim_wait(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    sim *s = ((sim_ctx *)ctx)->world;
    int64_t until = timeout_ms < 0 ? SIM_NEVER : s->now + timeout_ms;

    if (s->level && s->idle_calls > 100000)
        sim_complain(s, "it waits for what it does not take");
    if (++s->idle_calls > 20000000) {
        fprintf(stderr, "seed %llu: time stands still at %lld\n", (unsigned long long)s->seed, (long long)s->now);
        abort();
    }
    for (bool looked = false;;) {
        int64_t next = timeout_ms ? sim_happen(s) : SIM_NEVER;
        int n = sim_collect(s, ready, max);

        if (n || !timeout_ms)
            return n;
        if (s->woken) {
            s->woken = false;
            return 0;
        }
        if (!looked && s->client) {
            const char *why = sim_client_stall(s->client);

            looked = true;
            if (why) {
                fprintf(stderr, "seed %llu at %lld: %s\n", (unsigned long long)s->seed, (long long)s->now, why);
                sim_complain(s, "%s", why);
            }
            if (s->before_sleep)
                s->before_sleep(s);
        }
        if (next >= until) {
            if (until == SIM_NEVER) {
                fprintf(stderr, "seed %llu: the client waits for ever\n", (unsigned long long)s->seed);
                abort();
            }
            if (until > s->now) {
                s->idle_calls = 0;
                s->now = until;
            }
            sim_happen(s);
            return sim_collect(s, ready, max);
        }
        s->now = next;
        s->idle_calls = 0;
    }
}

static void sim_wake(void *ctx)
{
    ((sim_ctx *)ctx)->world->woken = true;
}

static bool sim_entropy(void *ctx, void *p, size_t n)
{
    sim *s = ((sim_ctx *)ctx)->world;

    s->entropy_calls++;
    if (s->no_entropy || s->entropy_calls == s->entropy_fail_at || (s->entropy_fail_all && s->entropy_calls > s->entropy_fail_at))
        return false;
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)p)[i] = (unsigned char)sim_draw(s, 256);
    return true;
}

static int64_t sim_mono(void *ctx)
{
    return ((sim_ctx *)ctx)->world->now;
}

static int64_t sim_wall(void *ctx)
{
    sim *s = ((sim_ctx *)ctx)->world;

    return s->wall0 + s->now;
}

const sbx_transport sim_transport = {
    "sim", 0, sizeof(sim_ctx), 0, sizeof(sim_state), NULL,
    sim_open, sim_shut, sim_connect, sim_recv, sim_send, sim_close,
    NULL, sim_wait, sim_wake, NULL, NULL, sim_entropy, sim_mono, sim_wall
};

const sbx_transport sim_level = {
    "sim-level", 0, sizeof(sim_ctx), 0, sizeof(sim_state), NULL,
    sim_open, sim_shut, sim_connect, sim_recv, sim_send, sim_close,
    sim_watch, sim_wait, sim_wake, NULL, NULL, sim_entropy, sim_mono, sim_wall
};
