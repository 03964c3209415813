/* Commands as event streams: POST …/execute/stream/start and /resume. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the answer's bytes ---- */

void sim_base64(sim_bytes *out, const void *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)data;

    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        unsigned long v = (unsigned long)p[i] << 16 | (have > 1 ? (unsigned long)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);

        for (size_t k = 0; k < 4; k++)
            sim_put(out, k > have ? "=" : &digits[v >> (18 - 6 * k) & 63], 1);
    }
}

static void sse_chunk(sim_conn *c, const void *p, size_t n)
{
    char size[24];

    if (!n)
        return;
    if (c->events == SIM_EVENTS_CHUNKED) {
        snprintf(size, sizeof size, "%zx\r\n", n);
        sim_conn_write(c, size, strlen(size), c->world->now);
    }
    sim_conn_write(c, p, n, c->world->now);
    if (c->events == SIM_EVENTS_CHUNKED)
        sim_conn_write(c, "\r\n", 2, c->world->now);
}

/* Bytes of the stream, now and then in chunks that have nothing to do with its
   lines. */
static void sse_bytes(sim_conn *c, const char *p, size_t n)
{
    sim *s = c->world;

    while (n && sim_chance(s, s->knobs.odd)) {
        size_t k = sim_draw(s, (uint32_t)n) + 1;

        sse_chunk(c, p, k);
        p += k;
        n -= k;
    }
    sse_chunk(c, p, n);
}

static void sse_line(sim_conn *c, sim_bytes *b, const char *text, size_t n)
{
    static const char *const ends[] = { "\n", "\r\n", "\r" };

    sim_put(b, text, n);
    sim_puts(b, ends[c->tag % 3 * !!c->world->knobs.odd]);
}

/* A line break of the data begins a line of its own. */
static void sse_event(sim_conn *c, const char *name, const char *data, size_t n)
{
    sim *s = c->world;
    sim_bytes b = { NULL, 0, 0 }, line = { NULL, 0, 0 };

    sim_putf(&line, "event:%s%s", sim_chance(s, s->knobs.odd) ? "" : " ", name);
    sse_line(c, &b, line.p, line.n);
    for (const char *end = data + n; data <= end;) {
        const char *to = (const char *)memchr(data, '\n', (size_t)(end - data));

        to = to ? to : end;
        line.n = 0;
        sim_puts(&line, sim_chance(s, s->knobs.odd) ? "data:" : "data: ");
        sim_put(&line, data, (size_t)(to - data));
        sse_line(c, &b, line.p, line.n);
        data = to + 1;
    }
    sse_line(c, &b, "", 0);
    sse_bytes(c, b.p, b.n);
    free(b.p);
    free(line.p);
}

/* The answer is complete; the connection serves the next request. */
static void sse_done(sim_conn *c)
{
    if (c->events == SIM_EVENTS_CHUNKED)
        sim_conn_write(c, "0\r\n\r\n", 5, c->world->now);
    else
        sim_conn_end(c, SIM_EOF, c->world->now);
    sim_conn_gone(c);
    c->events = SIM_EVENTS_NONE;
    c->command = NULL;
    c->talk = NULL;
}

/* ---- commands that print the pattern ---- */

static void sse_odd(sim *s, sim_conn *c)
{
    static const char *const odd[] = { ": keep-alive\n\n", "id: 7\n\n", "retry: 100\n\n", "event: news\ndata: no JSON\n\n", "data: {\"offset\":0}\n\n",
                                       "event: stream_end\ndata: {\"stream\":\"stdout\",\"offset\":0}\n\n", "unknown: x\n\n", "event: exit\n\n" };
    const char *text = odd[sim_draw(s, 8)];

    sse_bytes(c, text, strlen(text));
}

static void sse_break(sim *s, sim_conn *c, size_t event)
{
    static const char down[] = "{\"error\":\"going down\",\"error_type\":\"ServerShuttingDown\"}";

    switch (sim_draw(s, 4)) {
    case 0: sse_done(c); return;
    case 1:
        sse_event(c, "error", down, sizeof down - 1);
        sse_done(c);
        return;
    default:
        if (event < c->out_at)
            event = c->out_at;
        if (c->out.n > event)
            sim_truncate(c, event + sim_draw(s, (uint32_t)(c->out.n - event + 1)));
        sim_conn_end(c, sim_draw(s, 2) ? SIM_EOF : SIM_RST, s->now + sim_draw(s, 20));
        sim_conn_gone(c);
    }
}

static void sse_output(sim *s, sim_conn *c, unsigned i, size_t room)
{
    sim_command *k = c->command;
    const sim_plan *p = k->plan;
    size_t n = 1 + sim_draw(s, p->chunk ? p->chunk : 1000), back = 0, event = c->out.n;
    sim_bytes b = { NULL, 0, 0 }, text = { NULL, 0, 0 };
    bool first = sim_chance(s, s->knobs.odd);

    n = n > room ? room : n;
    if (!first && c->cursor[i] > k->acked[i] && sim_chance(s, s->knobs.odd))
        back = sim_draw(s, (uint32_t)(c->cursor[i] - k->acked[i])); /* sent again */
    sim_base64(&b, sim_pattern() + p->from[i] + c->cursor[i] - back, n + back);
    if (first)
        sim_putf(&text, "{\"data\":\"%s", "");
    else
        sim_putf(&text, "{%s\"offset\": %llu,%s\"data\":\"", sim_chance(s, s->knobs.odd) ? "\"x\":[{\"data\":\"no\"}],\n" : "",
                 (unsigned long long)(c->cursor[i] - back), sim_chance(s, s->knobs.odd) ? "\n" : "");
    for (size_t at = 0; at < b.n; at++) {
        if (b.p[at] == '/' && sim_chance(s, 300))
            sim_puts(&text, "\\");
        sim_put(&text, &b.p[at], 1);
    }
    sim_puts(&text, "\"");
    if (first)
        sim_putf(&text, ",\"offset\":%llu", (unsigned long long)c->cursor[i]);
    sim_puts(&text, "}");
    sse_event(c, i ? "stderr" : "stdout", text.p, text.n);
    c->cursor[i] += n;
    if (k->sent[i] < c->cursor[i])
        k->sent[i] = c->cursor[i];
    free(b.p);
    free(text.p);
    if (sim_chance(s, s->knobs.odd))
        sse_odd(s, c);
    if (k->fruitless < 3 && sim_chance(s, s->knobs.drop))
        sse_break(s, c, event);
}

/* What is left of a stream that the server may send before an acknowledgement. */
static size_t sse_room(const sim_command *k, const sim_conn *c, unsigned i)
{
    uint64_t to = k->made[i];

    if (k->plan->ring && to > k->acked[i] + k->plan->ring)
        to = k->acked[i] + k->plan->ring;
    return (size_t)(to - c->cursor[i]);
}

void sim_sse_run(sim *s, sim_command *k)
{
    sim_conn *c;

    while ((c = k->conn) != NULL && c->end == SIM_OPEN && sim_conn_backlog(c) < 16384) {
        size_t out = sse_room(k, c, 0), err = sse_room(k, c, 1);
        char text[100];

        if (out || err) {
            unsigned i = out && err ? sim_draw(s, 2) : err ? 1 : 0;

            sse_output(s, c, i, i ? err : out);
        } else if (c->cursor[0] < k->made[0] || c->cursor[1] < k->made[1]) {
            snprintf(text, sizeof text, "{\"stdout_offset\":%llu,\"stderr_offset\":%llu}", (unsigned long long)c->cursor[0], (unsigned long long)c->cursor[1]);
            sse_event(c, "ack_required", text, strlen(text));
            k->acks++;
            sse_done(c);
        } else if (k->ended) {
            snprintf(text, sizeof text, "{\"exit_code\":%d}", k->exit_code);
            sse_event(c, "exit", text, strlen(text));
            sse_done(c);
        } else {
            return;
        }
    }
}

/* ---- talks ----
     NAME {…}       an event; $ID is the command's id
     @out S OFF TEXT  output as base64 (S: stdout, stderr)
     @big S N OFF   N bytes of the pattern from OFF on in one event
     @raw TEXT      bytes of the stream as they are, \n and \r escaped
     @ms N  pause   @end  the answer is complete   @eof  @rst  the end */

static void sse_talk_raw(sim_conn *c, const char *p, size_t n)
{
    sim_bytes b = { NULL, 0, 0 };

    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\\' && i + 1 < n && (p[i + 1] == 'n' || p[i + 1] == 'r'))
            sim_puts(&b, p[++i] == 'n' ? "\n" : "\r");
        else
            sim_put(&b, &p[i], 1);
    }
    sse_bytes(c, b.p, b.n);
    free(b.p);
}

static void sse_talk_line(sim_conn *c, const char *line, size_t n)
{
    sim *s = c->world;
    char word[32], name[16];
    unsigned long long a = 0, b = 0;
    sim_bytes text = { NULL, 0, 0 };
    int used = 0;

    if (sscanf(line, "@out %15s %llu %n", name, &a, &used) == 2 || sscanf(line, "@big %15s %llu %llu", name, &a, &b) == 3) {
        bool big = line[1] == 'b';

        sim_putf(&text, "{\"offset\":%llu,\"data\":\"", big ? b : a);
        if (big)
            sim_base64(&text, sim_pattern() + b, (size_t)a);
        else
            sim_base64(&text, line + used, n - (size_t)used);
        sim_puts(&text, "\"}");
        sse_event(c, name, text.p, text.n);
    } else if (strncmp(line, "@raw ", 5) == 0) {
        sse_talk_raw(c, line + 5, n - 5);
    } else if (strncmp(line, "@ms ", 4) == 0) {
        c->talk_at = s->now + strtoll(line + 4, NULL, 10);
    } else if (strncmp(line, "@end", 4) == 0) {
        sse_done(c);
    } else if (strncmp(line, "@eof", 4) == 0) {
        sim_conn_end(c, SIM_EOF, s->now);
    } else if (strncmp(line, "@rst", 4) == 0) {
        sim_conn_end(c, SIM_RST, s->now);
    } else if (*line != '@' && sscanf(line, "%31s %n", word, &used) == 1 && used) {
        for (size_t i = (size_t)used; i < n; i++) {
            if (n - i >= 3 && memcmp(line + i, "$ID", 3) == 0) {
                sim_puts(&text, c->command->id);
                i += 2;
            } else {
                sim_put(&text, line + i, 1);
            }
        }
        sse_event(c, word, text.p ? text.p : "", text.n);
    } else {
        sim_complain(s, "unknown line in a talk: %.60s", line);
    }
    free(text.p);
}

void sim_sse_talk(sim_conn *c)
{
    while (c->talk && *c->talk && !c->talk_at && c->end == SIM_OPEN) {
        const char *line = c->talk;
        size_t n = strcspn(line, "\n");

        c->talk += n + (line[n] == '\n');
        sse_talk_line(c, line, n);
    }
}

/* ---- requests ---- */

static void sse_refuse(sim_conn *c)
{
    static const char body[] = "{\"detail\":{\"error\":\"CommandNotFound\",\"message\":\"no such command\"}}";

    sim_answer(c, 404, "Content-Type: application/json\r\n", body, sizeof body - 1, c->world->now);
}

static bool sse_drop_open(sim *s, sim_conn *c)
{
    static const char busy[] = "{\"detail\":\"busy\"}";

    if (c->command->fruitless >= 3 || !sim_chance(s, s->knobs.drop_open))
        return false;
    switch (sim_draw(s, 4)) {
    case 0: sim_answer(c, 503, NULL, busy, sizeof busy - 1, s->now); break;
    case 1: sim_answer(c, 429, "Retry-After: 1\r\n", busy, sizeof busy - 1, s->now); break;
    case 2: sim_conn_end(c, SIM_RST, s->now); break;
    default: sim_conn_end(c, SIM_EOF, s->now); break;
    }
    sim_conn_gone(c);
    c->command = NULL;
    return true;
}

static void sse_offsets(sim *s, sim_command *k, sim_conn *c, bool resume)
{
    bool forward = false;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = resume ? sim_number_of(c->req.body, i ? "stderr_offset" : "stdout_offset") : 0;

        if (at < k->acked[i] && !k->plan->talk[0])
            sim_complain(s, "offset %llu asked for, %llu acknowledged before", (unsigned long long)at, (unsigned long long)k->acked[i]);
        if (at > k->sent[i] && !k->plan->talk[0])
            sim_complain(s, "offset %llu asked for, %llu sent", (unsigned long long)at, (unsigned long long)k->sent[i]);
        forward = forward || at > k->acked[i];
        k->acked[i] = c->cursor[i] = at;
    }
    k->fruitless = forward ? 0 : k->fruitless + 1;
    if (resume)
        sim_putf(&k->log, "R(%llu,%llu)", (unsigned long long)k->acked[0], (unsigned long long)k->acked[1]);
    else
        sim_puts(&k->log, "E");
}

static void sse_begin(sim *s, sim_conn *c)
{
    sim_bytes head = { NULL, 0, 0 };

    c->events = sim_chance(s, s->knobs.odd) ? SIM_EVENTS_TO_END : SIM_EVENTS_CHUNKED;
    sim_putf(&head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream%s\r\n%s\r\n", sim_chance(s, 500) ? "; charset=utf-8" : "",
             c->events == SIM_EVENTS_CHUNKED ? "Transfer-Encoding: chunked\r\n" : "Connection: close\r\n");
    sim_conn_write(c, head.p, head.n, s->now + sim_draw(s, s->knobs.delay_ms + 1));
    free(head.p);
}

void sim_sse(sim_conn *c, bool resume)
{
    sim *s = c->world;
    sim_bytes id = { NULL, 0, 0 }, text = { NULL, 0, 0 };
    char value[100];
    sim_command *k;

    if (!sim_header(&c->req, "Accept", value, sizeof value) || strcmp(value, "text/event-stream") != 0 ||
        !sim_header(&c->req, "Content-Type", value, sizeof value) || strcmp(value, "application/json") != 0)
        sim_complain(s, "a wrong request for events: %.200s", c->req.head);
    sim_puts(&id, "");
    sim_puts(&text, "");
    sim_text_of(c->req.body, "command_id", &id);
    sim_text_of(c->req.body, "command", &text);
    k = sim_command_by_id(s, id.p);
    if (!k && (!resume || (s->plan_n && s->plans[0].id)))
        k = sim_command_new(s, id.p, text.p);
    free(id.p);
    free(text.p);
    if (!k) {
        sse_refuse(c);
        return;
    }
    if (k->conn)
        k->conn->command = NULL;
    c->command = k;
    c->started_end = SIZE_MAX;
    k->conn = c;
    k->sse = true;
    k->connections++;
    k->executes += !resume;
    sse_offsets(s, k, c, resume);
    if (k->plan->talk[0]) {
        unsigned which = k->connections - 1;
        size_t n;

        while (!k->plan->talk[which])
            which--;
        c->talk = k->plan->talk[which];
        n = strcspn(c->talk, "\n");
        if (*c->talk == '?') {
            snprintf(value, sizeof value, "%.*s", (int)n - 1, c->talk + 1);
            if (!strstr(c->req.body, value))
                sim_complain(s, "heard %.150s instead of %.100s", c->req.body, value);
            c->talk += n + (c->talk[n] == '\n');
        }
        if (strncmp(c->talk, "@rst", 4) != 0 && strncmp(c->talk, "@eof", 4) != 0)
            sse_begin(s, c);
        sim_sse_talk(c);
        return;
    }
    if (sse_drop_open(s, c))
        return;
    sse_begin(s, c);
    snprintf(value, sizeof value, "{\"command_id\":\"%s\",\"pid\":%u}", k->id, k->pid);
    sse_event(c, "started", value, strlen(value));
    sim_command_run(s, k);
}
