/* The server's WebSocket and the service's commands. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the pattern: text with everything that JSON and UTF-8 have ---- */

const unsigned char *sim_pattern(void)
{
    static unsigned char text[SIM_PATTERN + 8];
    static bool made;
    uint64_t x = 88172645463325252u;
    size_t n = 0;

    if (made)
        return text;
    while (n < SIM_PATTERN) {
        uint32_t v, cp;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        v = (uint32_t)(x >> 33);
        switch (v % 16) {
        case 0: cp = v / 16 % 32; break;
        case 1: cp = (uint32_t)"\"\\/\x7f"[v / 16 % 4]; break;
        case 2: cp = 0x80 + v / 16 % 0x700; break;
        case 3: cp = 0x800 + v / 16 % 0xC000; break;
        case 4: cp = 0x10000 + v / 16 % 0x100000; break;
        default: cp = 32 + v / 16 % 95; break;
        }
        if (n + 4 > SIM_PATTERN)
            cp = 'x';
        if (cp < 0x80) {
            text[n++] = (unsigned char)cp;
        } else if (cp < 0x800) {
            text[n++] = (unsigned char)(0xC0 | cp >> 6);
            text[n++] = (unsigned char)(0x80 | (cp & 63));
        } else if (cp < 0x10000) {
            text[n++] = (unsigned char)(0xE0 | cp >> 12);
            text[n++] = (unsigned char)(0x80 | (cp >> 6 & 63));
            text[n++] = (unsigned char)(0x80 | (cp & 63));
        } else {
            text[n++] = (unsigned char)(0xF0 | cp >> 18);
            text[n++] = (unsigned char)(0x80 | (cp >> 12 & 63));
            text[n++] = (unsigned char)(0x80 | (cp >> 6 & 63));
            text[n++] = (unsigned char)(0x80 | (cp & 63));
        }
    }
    made = true;
    return text;
}

static bool sim_border(uint64_t at)
{
    return at >= SIM_PATTERN || (sim_pattern()[at] & 0xC0) != 0x80;
}

/* n, changed so that the piece ends between two characters, not empty. */
size_t sim_pattern_cut(uint64_t from, size_t n)
{
    size_t k = n;

    while (k && !sim_border(from + k))
        k--;
    if (k)
        return k;
    for (k = n ? n : 1; !sim_border(from + k); k++)
        continue;
    return k;
}

void sim_pattern_text(sim *s, sim_bytes *out, uint64_t from, size_t n)
{
    const unsigned char *p = sim_pattern() + from, *end = p + n;
    static const char shorts[] = "b\bf\fn\nr\rt\t\"\"\\\\//";

    while (p < end) {
        unsigned k = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;
        uint32_t cp = k == 1 ? *p : k == 2 ? *p & 31u : k == 3 ? *p & 15u : *p & 7u;
        bool must = *p < 32 || *p == '"' || *p == '\\';
        const char *e = NULL;

        for (unsigned i = 1; i < k; i++)
            cp = cp << 6 | (p[i] & 63u);
        p += k;
        if (!must && !sim_chance(s, 60)) {
            sim_put(out, p - k, k);
            continue;
        }
        for (const char *q = shorts; *q; q += 2)
            if ((uint32_t)(unsigned char)q[1] == cp)
                e = q;
        if (e && sim_chance(s, 500))
            sim_putf(out, "\\%c", *e);
        else if (cp >= 0x10000)
            sim_putf(out, "\\u%04x\\u%04X", 0xD800u + ((cp - 0x10000) >> 10), 0xDC00u + ((cp - 0x10000) & 1023));
        else
            sim_putf(out, "\\u%04x", cp);
    }
}

/* ---- frames ---- */

void sim_ws_frame(sim_conn *c, unsigned opcode, bool fin, const void *p, size_t n, int64_t at)
{
    unsigned char head[SBX_WS_HEAD_MAX];

    sim_conn_write(c, head, sbx_ws_head(head, opcode, fin, n, NULL), at);
    sim_conn_write(c, p, n, at);
}

void sim_ws_text(sim_conn *c, const char *z, int64_t at)
{
    sim_ws_frame(c, SBX_WS_OP_TEXT, true, z, strlen(z), at);
}

/* In fragments of their own sizes, with a ping between them. */
static void sim_ws_pieces(sim_conn *c, const char *p, size_t n, size_t most, int64_t at)
{
    sim *s = c->world;
    bool first = true;

    for (size_t i = 0; i < n || first;) {
        size_t k = sim_draw(s, (uint32_t)most + 1);

        k = k > n - i ? n - i : k;
        sim_ws_frame(c, first ? SBX_WS_OP_TEXT : SBX_WS_OP_CONT, i + k == n, p + i, k, at);
        i += k;
        first = false;
        if (i == n)
            break;
        if (sim_chance(s, 300)) {
            c->pings++;
            sim_ws_frame(c, SBX_WS_OP_PING, true, "between", sim_draw(s, 8), at);
        }
    }
}

/* ---- commands ---- */

void sim_add_plan(sim *s, const sim_plan *p)
{
    /* Commands keep pointers to their plans: the array never moves. */
    if (!s->plans) {
        s->plan_cap = 4096;
        s->plans = (sim_plan *)calloc(s->plan_cap, sizeof *s->plans);
        if (!s->plans)
            abort();
    }
    if (s->plan_n == s->plan_cap)
        abort();
    s->plans[s->plan_n++] = *p;
}

void sim_commands_free(sim *s)
{
    for (unsigned i = 0; i < s->command_n; i++) {
        free(s->commands[i]->log.p);
        free(s->commands[i]->heard.p);
        free(s->commands[i]);
    }
    free(s->commands);
    free(s->plans);
}

sim_command *sim_command_by_id(sim *s, const char *id)
{
    for (unsigned i = s->command_n; i-- > 0;)
        if (strcmp(s->commands[i]->id, id) == 0)
            return s->commands[i];
    return NULL;
}

sim_command *sim_command_new(sim *s, const char *id, const char *text)
{
    const sim_plan *plan = NULL;
    sim_command *k;

    for (unsigned i = 0; i < s->plan_n && !plan; i++)
        if (!s->plans[i].command || strcmp(s->plans[i].command, text) == 0)
            plan = &s->plans[i];
    if (!plan)
        return NULL;
    if (s->command_n == s->command_cap) {
        s->command_cap = s->command_cap ? 2 * s->command_cap : 16;
        s->commands = (sim_command **)realloc(s->commands, s->command_cap * sizeof *s->commands);
        if (!s->commands)
            abort();
    }
    k = s->commands[s->command_n++] = (sim_command *)calloc(1, sizeof *k);
    if (!k)
        abort();
    snprintf(k->id, sizeof k->id, "%s", plan->id ? plan->id : id);
    k->plan = plan;
    k->pid = 1000 + s->command_n;
    k->exit_code = plan->exit_code;
    k->next_at = s->now;
    sim_puts(&k->log, "");
    sim_puts(&k->heard, "");
    return k;
}

void sim_conn_gone(sim_conn *c)
{
    if (c->command && c->command->conn == c)
        c->command->conn = NULL;
}

int64_t sim_command_next(const sim_command *k)
{
    return k->ended || k->plan->talk[0] ? SIM_NEVER : k->next_at;
}

static void sim_produce(sim *s, sim_command *k)
{
    const sim_plan *p = k->plan;
    unsigned pieces = p->pieces ? p->pieces : 1;

    while (!k->ended && k->next_at <= s->now) {
        k->steps++;
        for (unsigned i = 0; i < 2; i++) {
            uint64_t left = p->n[i] - k->made[i];

            if (k->steps >= pieces)
                k->made[i] = p->n[i];
            else if (left > 1)
                k->made[i] += sim_pattern_cut(p->from[i] + k->made[i], (size_t)(left / (pieces - k->steps + 1)));
        }
        k->ended = k->steps >= pieces && !p->until_kill && !p->until_eof;
        k->next_at = s->now + 1 + sim_draw(s, p->every_ms + 1);
        if (k->steps >= pieces)
            k->next_at = k->ended ? SIM_NEVER : SIM_NEVER;
    }
}

void sim_truncate(sim_conn *c, size_t n)
{
    c->out.n = n;
    while (c->seg_n > c->seg_at && (c->seg_n == c->seg_at + 1 ? c->out_at : c->segs[c->seg_n - 2].end) >= n)
        c->seg_n--;
    if (c->seg_n > c->seg_at)
        c->segs[c->seg_n - 1].end = n;
}

/* The connection breaks: behind the last message, or somewhere inside it. */
static void sim_drop(sim *s, sim_conn *c, size_t message)
{
    static const sim_end ends[] = { SIM_EOF, SIM_RST, SIM_CLOSE_1000, SIM_CLOSE_1001, SIM_CLOSE_1011 };
    sim_end end = ends[sim_draw(s, 5)];

    if (message < c->out_at)
        message = c->out_at;
    if (end <= SIM_RST && c->out.n > message)
        sim_truncate(c, message + sim_draw(s, (uint32_t)(c->out.n - message + 1)));
    sim_conn_end(c, end, s->now + sim_draw(s, 20));
    sim_conn_gone(c);
}

static void sim_odd(sim *s, sim_conn *c)
{
    static const char *const odd[] = {
        "{\"type\":\"heartbeat\",\"data\":\"not output\",\"offset\":7}",
        "{\"type\":\"started\",\"command_id\":\"another\",\"pid\":1}",
        "{\"new\":[{\"type\":\"exit\",\"exit_code\":1}],\"type\":\"news\"}",
        "{}", "[1,2]", "null",
    };

    if (sim_chance(s, 400)) {
        c->pings++;
        sim_ws_frame(c, SBX_WS_OP_PING, true, "ping", 4, s->now);
    } else {
        sim_ws_text(c, odd[sim_draw(s, 6)], s->now);
    }
}

static void sim_output(sim *s, sim_conn *c, unsigned i)
{
    sim_command *k = c->command;
    const sim_plan *p = k->plan;
    uint64_t start = p->ring && k->made[i] > p->ring ? k->made[i] - p->ring : 0;
    size_t n, message = c->out.n;
    sim_bytes b = { NULL, 0, 0 };
    const char *name = i ? "stderr" : "stdout";
    bool pieces, whole;

    while (start && !sim_border(p->from[i] + start))
        start++;
    if (c->cursor[i] < start)
        c->cursor[i] = start;
    n = 1 + sim_draw(s, p->chunk ? p->chunk : 1000);
    if (n > k->made[i] - c->cursor[i])
        n = (size_t)(k->made[i] - c->cursor[i]);
    n = sim_pattern_cut(p->from[i] + c->cursor[i], n);
    /* Only a message that the client sees whole may have its parts in any order. */
    pieces = sim_chance(s, 200);
    whole = !pieces && (!s->knobs.whole || 6 * n + 120 <= s->knobs.whole);
    if (whole && sim_chance(s, s->knobs.odd)) {
        /* In another order, among fields of a later version. */
        sim_puts(&b, "{ \"data\" : \"");
        sim_pattern_text(s, &b, p->from[i] + c->cursor[i], n);
        sim_putf(&b, "\" ,\"x\":{\"data\":\"no\",\"offset\":1,\"type\":\"exit\"},\"offset\":%llu,\"type\":\"%s\"}", (unsigned long long)c->cursor[i], name);
    } else if ((p->ring && !whole) || sim_chance(s, 500)) {
        sim_putf(&b, "{\"type\":\"%s\",\"offset\":%llu,\"data\":\"", name, (unsigned long long)c->cursor[i]);
        sim_pattern_text(s, &b, p->from[i] + c->cursor[i], n);
        sim_puts(&b, "\"}");
    } else {
        sim_putf(&b, "{\"type\":\"%s\",\"data\":\"", name);
        sim_pattern_text(s, &b, p->from[i] + c->cursor[i], n);
        sim_putf(&b, "\",\"offset\":%llu}", (unsigned long long)c->cursor[i]);
    }
    if (pieces)
        sim_ws_pieces(c, b.p, b.n, 1 + b.n / (1 + sim_draw(s, 4)), s->now);
    else
        sim_ws_frame(c, SBX_WS_OP_TEXT, true, b.p, b.n, s->now);
    free(b.p);
    c->cursor[i] += n;
    if (sim_chance(s, s->knobs.odd))
        sim_odd(s, c);
    if (sim_chance(s, s->knobs.drop))
        sim_drop(s, c, message);
}

void sim_command_run(sim *s, sim_command *k)
{
    sim_conn *c;

    if (k->plan->talk[0])
        return;
    sim_produce(s, k);
    if (k->sse) {
        sim_sse_run(s, k);
        return;
    }
    while ((c = k->conn) != NULL && c->end == SIM_OPEN && sim_conn_backlog(c) < 16384) {
        bool out = c->cursor[0] < k->made[0], err = c->cursor[1] < k->made[1];

        if (out || err) {
            sim_output(s, c, out && err ? sim_draw(s, 2) : err ? 1 : 0);
        } else if (k->ended && !c->exit_sent) {
            char text[80];
            size_t message = c->out.n;

            c->exit_sent = true;
            snprintf(text, sizeof text, "{\"type\":\"exit\",\"exit_code\":%d}", k->exit_code);
            sim_ws_text(c, text, s->now);
            if (sim_chance(s, s->knobs.drop))
                sim_drop(s, c, message);
        } else {
            return;
        }
    }
}

/* ---- talks ---- */

static void sim_talk_text(sim_conn *c, const char *p, size_t n, sim_bytes *out)
{
    while (n) {
        if (n >= 3 && memcmp(p, "$ID", 3) == 0) {
            sim_puts(out, c->command->id);
            p += 3;
            n -= 3;
        } else {
            sim_put(out, p++, 1);
            n--;
        }
    }
}

static void sim_talk_directive(sim_conn *c, const char *line)
{
    sim *s = c->world;
    char word[16];
    unsigned long long a = 0, b = 0, off = 0;
    sim_bytes out = { NULL, 0, 0 };
    int used = 0;

    if (strncmp(line, "@ms ", 4) == 0) {
        c->talk_at = s->now + strtoll(line + 4, NULL, 10);
    } else if (strncmp(line, "@eof", 4) == 0) {
        sim_conn_end(c, SIM_EOF, s->now);
    } else if (strncmp(line, "@rst", 4) == 0) {
        sim_conn_end(c, SIM_RST, s->now);
    } else if (sscanf(line, "@close %llu", &a) == 1) {
        unsigned char payload[2];

        payload[0] = (unsigned char)(a >> 8);
        payload[1] = (unsigned char)a;
        sim_ws_frame(c, SBX_WS_OP_CLOSE, true, payload, 2, s->now);
        sim_conn_end(c, SIM_EOF, s->now);
    } else if (strncmp(line, "@hex ", 5) == 0) {
        unsigned v;

        for (line += 5; sscanf(line, "%2x%n", &v, &used) == 1; line += used) {
            unsigned char byte = (unsigned char)v;

            sim_conn_write(c, &byte, 1, s->now);
        }
    } else if (sscanf(line, "@frag %llu %n", &a, &used) == 1) {
        sim_talk_text(c, line + used, strcspn(line + used, "\n"), &out);
        for (size_t i = 0; i < out.n; i += (size_t)a)
            sim_ws_frame(c, i ? SBX_WS_OP_CONT : SBX_WS_OP_TEXT, i + a >= out.n, out.p + i, i + a > out.n ? out.n - i : (size_t)a, s->now);
    } else if (sscanf(line, "@big %15s %llu %llu %llu", word, &a, &b, &off) == 4) {
        sim_putf(&out, "{\"type\":\"%s\",\"data\":\"", word);
        sim_pattern_text(s, &out, b, (size_t)a);
        sim_putf(&out, "\",\"offset\":%llu}", off);
        sim_ws_frame(c, SBX_WS_OP_TEXT, true, out.p, out.n, s->now);
    } else if (sscanf(line, "@huge %llu", &a) == 1) {
        char block[4096];

        memset(block, 'x', sizeof block);
        sim_puts(&out, "{\"type\":\"stdout\",\"offset\":0,\"data\":\"");
        while (a) {
            size_t n = a > sizeof block ? sizeof block : (size_t)a;

            sim_put(&out, block, n);
            a -= n;
        }
        sim_puts(&out, "\"}");
        sim_ws_frame(c, SBX_WS_OP_TEXT, true, out.p, out.n, s->now);
    } else if (sscanf(line, "@ping %llu", &a) == 1) {
        for (; a; a--) {
            c->pings++;
            sim_ws_frame(c, SBX_WS_OP_PING, true, "0123456789", 10, s->now);
        }
    } else {
        sim_complain(s, "unknown line in a talk: %.60s", line);
    }
    free(out.p);
}

void sim_talk(sim_conn *c)
{
    if (c->events) {
        sim_sse_talk(c);
        return;
    }
    while (c->talk && *c->talk && !c->talk_at && c->end == SIM_OPEN) {
        const char *line = c->talk;
        size_t n = strcspn(line, "\n");

        if (*line == '?') {
            c->talk_waits = true;
            return;
        }
        c->talk += n + (line[n] == '\n');
        if (*line == '@') {
            sim_talk_directive(c, line);
        } else {
            sim_bytes out = { NULL, 0, 0 };

            sim_talk_text(c, line, n, &out);
            sim_ws_frame(c, SBX_WS_OP_TEXT, true, out.p, out.n, c->world->now);
            free(out.p);
        }
    }
}

static void sim_talk_heard(sim_conn *c, const char *text)
{
    const char *line = c->talk;
    size_t n;
    sim_bytes want = { NULL, 0, 0 };

    if (!c->talk_waits)
        return;
    n = strcspn(line, "\n");
    sim_talk_text(c, line + 1, n - 1, &want);
    if (want.n && !strstr(text, want.p))
        sim_complain(c->world, "heard %.150s instead of %.100s", text, want.p);
    free(want.p);
    c->talk += n + (line[n] == '\n');
    c->talk_waits = false;
    sim_talk(c);
}

/* ---- the client's messages ---- */

void sim_text_of(const char *msg, const char *key, sim_bytes *out)
{
    char pattern[40];
    const char *p;

    snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
    p = strstr(msg, pattern);
    if (!p)
        return;
    for (p += strlen(pattern); *p && *p != '"'; p++) {
        char ch = *p;

        if (ch == '\\') {
            unsigned v;

            p++;
            ch = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p == 'b' ? '\b' : *p == 'f' ? '\f' : *p;
            if (*p == 'u' && sscanf(p + 1, "%4x", &v) == 1) {
                ch = (char)v;
                p += 4;
            }
        }
        sim_put(out, &ch, 1);
    }
}

unsigned long long sim_number_of(const char *msg, const char *key)
{
    char pattern[40];
    const char *p;

    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    p = strstr(msg, pattern);
    return p ? strtoull(p + strlen(pattern), NULL, 10) : 0;
}

static void sim_hello(sim_conn *c, const char *msg, bool again)
{
    sim *s = c->world;
    sim_bytes id = { NULL, 0, 0 }, text = { NULL, 0, 0 };
    sim_command *k;
    char answer[200];
    unsigned which;

    sim_puts(&id, "");
    sim_puts(&text, "");
    sim_text_of(msg, "command_id", &id);
    sim_text_of(msg, again ? "command_id" : "command", &text);
    k = sim_command_by_id(s, id.p);
    if (!k)
        k = sim_command_new(s, id.p, text.p);
    free(id.p);
    free(text.p);
    if (!k) {
        sim_ws_text(c, "{\"type\":\"error\",\"error_type\":\"CommandNotFound\",\"error\":\"no such command\"}", s->now);
        return;
    }
    if (k->conn)
        k->conn->command = NULL;
    c->command = k;
    k->conn = c;
    k->connections++;
    k->executes += !again;
    c->cursor[0] = again ? sim_number_of(msg, "stdout_offset") : 0;
    c->cursor[1] = again ? sim_number_of(msg, "stderr_offset") : 0;
    if (again)
        sim_putf(&k->log, "R(%llu,%llu)", (unsigned long long)c->cursor[0], (unsigned long long)c->cursor[1]);
    else
        sim_puts(&k->log, "E");
    if (k->plan->talk[0]) {
        which = k->connections - 1;
        while (!k->plan->talk[which])
            which--;
        c->talk = k->plan->talk[which];
        if (*c->talk == '?') {
            c->talk_waits = true;
            sim_talk_heard(c, msg);
        } else {
            sim_talk(c);
        }
        return;
    }
    if (++k->fruitless <= 2 && sim_chance(s, s->knobs.drop_open)) {
        sim_drop(s, c, c->out.n);
        return;
    }
    snprintf(answer, sizeof answer, "{\"type\":\"started\",\"command_id\":\"%s\",\"pid\":%u}", k->id, k->pid);
    sim_ws_text(c, answer, s->now + sim_draw(s, s->knobs.delay_ms + 1));
    c->started_end = c->out.n - 1;
    for (unsigned i = 0; i < 2; i++)
        if (c->cursor[i] > k->made[i] || !sim_border(k->plan->from[i] + c->cursor[i]))
            sim_complain(s, "offset %llu asked for, %llu made", (unsigned long long)c->cursor[i], (unsigned long long)k->made[i]);
    sim_command_run(s, k);
}

static void sim_message(sim_conn *c, const char *msg)
{
    sim *s = c->world;
    sim_command *k = c->command;
    sim_bytes type = { NULL, 0, 0 };

    sim_puts(&type, "");
    sim_text_of(msg, "type", &type);
    if (strcmp(type.p, "execute") == 0 || strcmp(type.p, "reconnect") == 0) {
        if (k || c->talk)
            sim_complain(s, "a second hello: %.100s", msg);
        sim_hello(c, msg, type.p[0] == 'r');
        free(type.p);
        return;
    }
    if (!k) {
        sim_complain(s, "no hello before %.100s", msg);
        free(type.p);
        return;
    }
    if (strcmp(type.p, "input") == 0) {
        size_t before = k->heard.n;

        sim_puts(&k->log, "I");
        sim_text_of(msg, "data", &k->heard);
        if (k->plan->echo) {
            sim_bytes b = { NULL, 0, 0 };

            sim_puts(&b, "{\"type\":\"stdout\",\"data\":\"");
            sim_put(&b, k->heard.p + before, k->heard.n - before);
            sim_putf(&b, "\",\"offset\":%zu}", before);
            sim_ws_frame(c, SBX_WS_OP_TEXT, true, b.p, b.n, s->now);
            free(b.p);
            c->no_read = sim_conn_backlog(c) > 4096;
        }
    } else if (strcmp(type.p, "close_stdin") == 0) {
        sim_puts(&k->log, "S");
        if (k->plan->until_eof)
            k->ended = true;
    } else if (strcmp(type.p, "kill") == 0) {
        sim_puts(&k->log, "K");
        if (k->plan->until_kill && !k->ended) {
            k->ended = true;
            k->exit_code = -9;
        }
    } else if (strcmp(type.p, "ssh_agent_data") == 0 || strcmp(type.p, "ssh_agent_close") == 0) {
        sim_puts(&k->log, type.p[10] == 'd' ? "A(" : "C(");
        sim_text_of(msg, "channel_id", &k->log);
        sim_puts(&k->log, " ");
        sim_text_of(msg, "data", &k->log);
        sim_puts(&k->log, ")");
    } else if (strcmp(type.p, "resize") == 0) {
        sim_putf(&k->log, "Z%llux%llu", sim_number_of(msg, "cols"), sim_number_of(msg, "rows"));
    } else {
        sim_complain(s, "unknown message %.100s", msg);
    }
    free(type.p);
    sim_talk_heard(c, msg);
    sim_command_run(s, k);
}

void sim_ws_input(sim_conn *c)
{
    sim *s = c->world;
    sim_bytes in = c->in;
    char *p = in.p, *end = p + in.n;
    sbx_ws_event ev;
    sbx_ws_kind kind;

    memset(&c->in, 0, sizeof c->in);
    while ((kind = sbx_ws_read(&c->codec, &p, end, &ev)) != SBX_WS_MORE) {
        if (kind == SBX_WS_ERROR) {
            sim_complain(s, "the client's frames are wrong: %u", ev.code);
            break;
        }
        if (kind == SBX_WS_TEXT) {
            sim_put(&c->msg, ev.p, ev.n);
            if (ev.last) {
                sim_message(c, c->msg.p);
                c->msg.n = 0;
            }
        } else if (kind == SBX_WS_PING && ev.last) {
            s->pings++;
            sim_ws_frame(c, SBX_WS_OP_PONG, true, "", 0, s->now);
        } else if (kind == SBX_WS_PONG && ev.last) {
            s->pongs++;
            c->pongs++;
        } else if (kind == SBX_WS_CLOSE && ev.last) {
            unsigned char payload[2];

            c->close_code = s->close_code = ev.code;
            if (c->end == SIM_OPEN && !s->mute) {
                payload[0] = (unsigned char)(ev.code >> 8);
                payload[1] = (unsigned char)ev.code;
                sim_ws_frame(c, SBX_WS_OP_CLOSE, true, payload, ev.code == 1005 ? 0 : 2, s->now);
                sim_conn_end(c, SIM_EOF, s->now);
            }
            sim_conn_gone(c);
        } else if (kind == SBX_WS_BINARY && c->tunnel) {
            sim_tunnel_input(c, ev.p, ev.n);
        } else if (kind == SBX_WS_BINARY) {
            sim_complain(s, "a binary message");
        }
    }
    free(in.p);
}

/* ---- the upgrade ---- */

void sim_upgrade(sim_conn *c)
{
    sim *s = c->world;
    char key[64], accept[28], text[64];
    sim_bytes out = { NULL, 0, 0 };
    size_t begin = c->out.n;

    if (!sim_header(&c->req, "Sec-WebSocket-Key", key, sizeof key) || strlen(key) != 24 || !sim_header(&c->req, "Upgrade", text, sizeof text) || strcmp(text, "websocket") != 0 ||
        !sim_header(&c->req, "Connection", text, sizeof text) || strcmp(text, "Upgrade") != 0 ||
        !sim_header(&c->req, "Sec-WebSocket-Version", text, sizeof text) || strcmp(text, "13") != 0)
        sim_complain(s, "a wrong upgrade: %.200s", c->req.head);
    if (sim_chance(s, s->knobs.drop_open)) {
        static const char busy[] = "{\"detail\":\"busy\"}";

        switch (sim_draw(s, 4)) {
        case 0: sim_answer(c, 503, NULL, busy, sizeof busy - 1, s->now); return;
        case 1: sim_answer(c, 429, "Retry-After: 1\r\n", busy, sizeof busy - 1, s->now); return;
        case 2: sim_conn_end(c, SIM_RST, s->now); return;
        default: sim_conn_end(c, SIM_EOF, s->now); return;
        }
    }
    sbx_ws_accept(accept, sbx_s(key));
    sim_putf(&out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %.28s\r\n\r\n", accept);
    sim_conn_write(c, out.p, out.n, s->now + sim_draw(s, s->knobs.delay_ms + 1));
    free(out.p);
    sbx_ws_init(&c->codec, SBX_WS_SERVER, 0);
    c->ws = true;
    if (sim_chance(s, s->knobs.drop_open)) {
        sim_truncate(c, begin + sim_draw(s, (uint32_t)(c->out.n - begin)));
        sim_conn_end(c, sim_draw(s, 2) ? SIM_EOF : SIM_RST, s->now);
    }
}
