/* Events as one line of text, for scripted talks. */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include "kit.h"

static char record_text[8192];

/* Adjoining output is joined, so that the text does not depend on how the
   bytes came: started o0:abc e0:x gap1(3+2) retry(CODE) again end(CODE,0) */
static void record(const sbx_event *ev)
{
    size_t n = strlen(record_text);
    char *p = record_text + n;
    size_t room = sizeof record_text - n;
    static uint64_t next[2];
    static int last;

    if (!n)
        last = 0;
    if (ev->kind == SBX_EV_STDOUT || ev->kind == SBX_EV_STDERR) {
        int k = ev->stream;

        if (last == k && ev->offset == next[k - 1])
            snprintf(p, room, "%.*s", (int)ev->data.n, ev->data.p);
        else
            snprintf(p, room, " %c%llu:%.*s", k == 1 ? 'o' : 'e', (unsigned long long)ev->offset, (int)ev->data.n, ev->data.p);
        next[k - 1] = ev->offset + ev->data.n;
        last = k;
        return;
    }
    last = 0;
    switch (ev->kind) {
    case SBX_EV_STARTED: snprintf(p, room, " started"); break;
    case SBX_EV_GAP: snprintf(p, room, " gap%d(%llu+%llu)", ev->stream, (unsigned long long)ev->offset, (unsigned long long)ev->lost); break;
    case SBX_EV_RETRYING: snprintf(p, room, " retry(%s)", sbx_code_name(ev->code) + 8); break;
    case SBX_EV_RECONNECTED: snprintf(p, room, " again"); break;
    case SBX_EV_WRITABLE: snprintf(p, room, " writable"); break;
    case SBX_EV_REWIND: snprintf(p, room, " rewind"); break;
    case SBX_EV_AGENT_DATA: snprintf(p, room, " a(%.*s:%.*s)", (int)ev->channel.n, ev->channel.p, (int)ev->data.n, ev->data.p); break;
    case SBX_EV_AGENT_CLOSE: snprintf(p, room, " close(%.*s)", (int)ev->channel.n, ev->channel.p); break;
    case SBX_EV_END: snprintf(p, room, " end(%s,%d)", ev->code ? sbx_code_name(ev->code) + 8 : "OK", ev->exit_code); break;
    default: fail_msg("event %d", (int)ev->kind);
    }
}

static const char *record_rest(sbx_op op)
{
    sbx_event ev;

    while (sbx_next_of(K.c, &op, &ev))
        record(&ev);
    return record_text + (record_text[0] == ' ');
}

static inline const char *record_all(sbx_op op)
{
    record_text[0] = 0;
    return record_rest(op);
}

/* Pulls until an event of that kind came. */
static inline void record_until(sbx_op op, sbx_event_kind kind)
{
    sbx_event ev;

    do {
        assert_true(sbx_next_of(K.c, &op, &ev));
        record(&ev);
    } while (ev.kind != kind);
}

#define STARTED "{\"type\":\"started\",\"command_id\":\"$ID\",\"pid\":77}\n"
#define OUT(text, offset) "{\"type\":\"stdout\",\"data\":\"" text "\",\"offset\":" #offset "}\n"
#define ERR(text, offset) "{\"type\":\"stderr\",\"data\":\"" text "\",\"offset\":" #offset "}\n"
#define EXIT(code) "{\"type\":\"exit\",\"exit_code\":" #code "}\n"

/* One command whose connections talk like this. */
static inline void talk(const char *a, const char *b, const char *c)
{
    sim_plan p = { 0 };

    p.talk[0] = a;
    p.talk[1] = b;
    p.talk[2] = c;
    sim_add_plan(K.s, &p);
}

static inline sbx_op command(const sbx_run_opts *o)
{
    sbx_op op = sbx_command(K.c, &K.box, sbx_s("true"), o);

    assert_int_not_equal(op.slot, 0);
    return op;
}

static inline sim_command *the_command(void)
{
    assert_int_equal(K.s->command_n, 1);
    return K.s->commands[0];
}

/* Their events are dropped. */
static inline void cancel_all(const sbx_op *ops, unsigned n)
{
    sbx_event ev;

    for (unsigned i = 0; i < n; i++)
        sbx_cancel(K.c, ops[i]);
    while (sbx_next(K.c, &ev)) {
    }
}

#endif
