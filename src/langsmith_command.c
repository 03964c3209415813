#include "langsmith_stream.h"

/* After so many drops in a row without any progress the stream is given up. */
#define SBXI_DROPS_MAX 5
#define SBXI_STREAM_BACKOFF_MS 500u
#define SBXI_STREAM_BACKOFF_MAX_MS 8000u
/* How long `exit` is waited for after a kill. */
#define SBXI_KILL_WAIT_MS 10000

static sbxi_run sbxi_stream_run(sbx_client *c, sbxi_op *op, sbx_event *ev);

const sbxi_row sbxi_command_row = { "command", "GET", "/execute/ws", "", SBXI_BASE_BOX, SBXI_RETRY_SAFE, SBXI_ANSWER_STREAM, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_stream_rules, NULL, NULL, NULL, sbxi_stream_run, sbxi_stream_failed, sbxi_stream_finished };

/* ---- phases ---- */

/* Only headers of the call, an id that is no UUID and an agent are needed again. */
static void sbxi_stream_forget(sbx_client *c, sbxi_op *op)
{
    if (op->block && !op->block->header_n && !op->s.named && !sbxi_agent_of(op))
        sbxi_op_drop_block(c, op);
    else if (op->block)
        op->block->body_n = 0;
}

SBXI_FN void sbxi_stream_started(sbx_client *c, sbxi_op *op)
{
    bool sse = sbxi_op_is_sse(op);

    op->s.phase = SBXI_PHASE_RUNNING;
    op->flags |= op->s.killing ? 0 : SBXI_OP_LIVE;
    if (!(op->s.want & SBXI_WANT_KILL))
        op->attempt_at = sse ? sbxi_after(c->net.now, c->desc.sse_read_ms) : SBXI_NEVER;
    op->wake_at = sse ? SBXI_NEVER : sbxi_after(c->net.now, c->desc.ws_ping_interval_ms);
    op->attempts = 1;
    sbxi_op_arm(c, op);
    if (!op->s.started)
        op->notes |= op->flags & SBXI_OP_STREAMING ? SBXI_NOTE_STARTED : 0;
    else if (op->s.reattached)
        op->notes |= op->flags & SBXI_OP_STREAMING ? SBXI_NOTE_RECONNECTED : 0;
    op->s.started = true;
    op->s.reattached = false;
    op->fail.status = 0;
    op->fail.code = SBX_OK;
    sbxi_stream_forget(c, op);
}

SBXI_FN void sbxi_stream_dropped(sbx_client *c, sbxi_op *op, sbxi_got got)
{
    sbxi_link *l = sbxi_op_link(c, op);
    bool protocol = got == SBXI_GOT_FAIL && c->net.fault.code == SBX_ERR_PROTOCOL;

    sbxi_op_set_fail(op, got == SBXI_GOT_EOF ? SBX_ERR_CONNECTION : c->net.fault.code,
                     !protocol ? SBX_LAYER_TRANSPORT : l->is_ws ? SBX_LAYER_WS : SBX_LAYER_HTTP,
                     got == SBXI_GOT_EOF ? SBXI_T("the stream ended before the command did") : c->net.fault.text);
    op->fail.sys = got == SBXI_GOT_EOF ? 0 : c->net.fault.sys;
    op->fail.status = got == SBXI_GOT_EOF ? sbxi_ws_close_code(l) : 0;
    sbxi_op_attempt_failed(c, op);
}

SBXI_FN void sbxi_stream_protocol_error(sbx_client *c, sbxi_op *op, const char *text)
{
    if (!sbxi_op_is_sse(op))
        sbxi_ws_close(&c->net, sbxi_op_link(c, op), op->u.command.json.error == SBX_JSON_ERR_UTF8 ? 1007 : 1002);
    sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, text);
    op->fail.status = 0;
    sbxi_op_attempt_failed(c, op);
}

static bool sbxi_retry_status(unsigned status)
{
    return status == 429 || status == 500 || (status >= 502 && status <= 504);
}

SBXI_FN SBXI_ONCE bool sbxi_stream_transient(const sbxi_fail *f)
{
    if (f->layer == SBX_LAYER_SERVICE)
        return sbxi_retry_status(f->status);
    if (f->permanent)
        return false;
    switch (f->code) {
    case SBX_ERR_RESOLVE:
    case SBX_ERR_CONNECT:
    case SBX_ERR_CONNECTION:
    case SBX_ERR_TLS:
    case SBX_ERR_DEADLINE: return true;
    default: return false;
    }
}

/* Output behind a certain offset is asked for again and dropped. Where bytes
   are exact nothing that was received is asked for: to ask is to acknowledge,
   and the server may have forgotten what lies before. */
SBXI_FN void sbxi_stream_reset(sbxi_op *op)
{
    sbxi_command *k = &op->u.command;

    op->s.phase = SBXI_PHASE_HELLO;
    op->s.hello_begun = false;
    op->s.has_data = op->s.message_done = op->s.in_message = false;
    op->wake_at = SBXI_NEVER;
    op->s.says_upgrade = op->s.says_connection = false;
    op->flags &= (uint16_t)~(SBXI_OP_ACCEPTED | SBXI_OP_PING_DUE | SBXI_OP_LIVE);
    for (unsigned i = 0; i < 2; i++) {
        k->stream[i].skip = SBXI_MIN(UINT32_MAX - k->stream[i].skip, k->stream[i].since) + k->stream[i].skip;
        k->stream[i].since = 0;
        if (sbxi_op_is_sse(op)) {
            k->stream[i].base += k->stream[i].skip;
            k->stream[i].skip = 0;
        }
    }
}

/* Opening, dropping and reattaching (the service's own rules). True always. */
SBXI_FN bool sbxi_stream_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    sbxi_fail *f = &op->fail;
    bool again = sbxi_stream_transient(f), at_once, nameless = sbxi_id_unknown(op);
    uint32_t delay;

    /* Once at once; without any output since then it backs off like any drop. */
    at_once = op->s.started && !op->s.hasty && f->layer != SBX_LAYER_SERVICE && f->status == SBXI_CLOSE_GOING_AWAY;
    op->s.hasty = at_once;
    if (nameless && op->s.phase != SBXI_PHASE_HELLO) {
        /* Sent again, it would be another command; and there is no name to ask for this one. */
        again = false;
        if (!op->s.started && f->layer != SBX_LAYER_SERVICE)
            sbxi_op_set_fail(op, SBX_ERR_OUTCOME, (sbx_layer)f->layer, SBXI_T("the stream broke before the server named the command: it may run"));
    }
    sbxi_stream_reset(op);
    if (op->s.started && (op->s.killed || op->s.no_reconnect || c->net.entropy_failed))
        again = false;
    if (op->s.drops >= SBXI_DROPS_MAX)
        again = false;
    delay = f->retry_after_s > 0 ? (uint32_t)f->retry_after_s * 1000 : at_once ? 0 : sbxi_backoff(c, op->s.drops, SBXI_STREAM_BACKOFF_MS, SBXI_STREAM_BACKOFF_MAX_MS);
    if (!op->s.started && sbxi_after(c->net.now, delay) > (int64_t)k->assumed) /* the connect budget's end, until a message is read */
        again = false;
    op->s.drops++;
    if (op->s.started) {
        op->s.reattached = true;
        c->net.usage.reconnects++;
    }
    if (!again || !sbxi_op_again(c, op, delay)) {
        sbxi_op_finish(c, op);
        return true;
    }
    f->retry_after_s = -1;
    f->has_text = false;
    if (op->s.started)
        sbxi_stream_forget(c, op);
    return true;
}

SBXI_FN void sbxi_result_write(sbx_client *c, const sbxi_op *op, sbx_result *r, const sbxi_sink *sinks, bool write)
{
    bool alloc = (op->flags & SBXI_OP_ALLOC) != 0;

    for (unsigned i = 0; alloc && i < 2; i++) {
        if (!write || !r)
            sbx_free(c, sinks[i].p);
        else if (sinks[i].p)
            sinks[i].p[sbxi_sink_n(&sinks[i])] = 0;
    }
    if (!write || !r)
        return;
    r->out_n = sbxi_sink_n(&sinks[0]);
    r->err_n = sbxi_sink_n(&sinks[1]);
    r->out_total = sinks[0].total;
    r->err_total = sinks[1].total;
    r->out_cut = r->out_n < r->out_total;
    r->err_cut = r->err_n < r->err_total;
    r->out_p = alloc ? sinks[0].p : NULL;
    r->err_p = alloc ? sinks[1].p : NULL;
}

SBXI_FN void sbxi_stream_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    sbx_result *r = k->result;
    bool write = (op->s.started || op->fail.code == SBX_OK) && op->fail.code != SBX_ERR_CANCELLED && op->fail.code != SBX_ERR_CLOSED;

    if (op->flags & SBXI_OP_STREAMING)
        return;
    if (write && r) {
        memset(r, 0, sizeof *r);
        r->exit_code = op->exit_code;
        r->pid = k->pid;
        r->gap = op->s.lost;
        sbxi_id_get(op, r->command_id);
    }
    sbxi_result_write(c, op, r, k->sink, write);
}

/* ---- talking ---- */

/* What the fields of a small message take at most, beside their marks. */
#define SBXI_MESSAGE_FIELDS (SBXI_ID_MAX + 2 * 20)

/* In a small message's text \1 stands for the command's id (it needs no
   escaping, sbx_attach saw to that), \2 and \3 for the offsets of its streams,
   \4 and \5 for the terminal's size. Returns the message's length. */
static SBXI_ONCE size_t sbxi_message_fill(const sbxi_op *op, char *p, const char *text)
{
    const sbxi_command *k = &op->u.command;
    char *to = p;

    for (; *text; text++) {
        switch (*text) {
        case 1:
            sbxi_id_get(op, to);
            to += strlen(to);
            break;
        case 2:
        case 3: to += sbxi_u64_text(to, k->stream[*text - 2].base); break;
        case 4: to += sbxi_u64_text(to, k->cols); break;
        case 5: to += sbxi_u64_text(to, k->rows); break;
        default: *to++ = *text;
        }
    }
    return (size_t)(to - p);
}

#define SBXI_MESSAGE_POSITION "\"command_id\":\"\1\",\"stdout_offset\":\2,\"stderr_offset\":\3}"

SBXI_FN size_t sbxi_resume_body(const sbxi_op *op, char *to)
{
    return sbxi_message_fill(op, to, "{" SBXI_MESSAGE_POSITION);
}

static SBXI_ONCE sbxi_got sbxi_message_send(sbx_client *c, sbxi_op *op, const char *text)
{
    sbxi_link *l = sbxi_op_link(c, op);
    size_t room;
    sbxi_got got;
    char *p = sbxi_ws_compose(&c->net, l, &room, &got);

    if (!p)
        return got;
    if (room < strlen(text) + SBXI_MESSAGE_FIELDS)
        return SBXI_GOT_BLOCKED;
    sbxi_ws_composed(&c->net, l, SBX_WS_OP_TEXT, sbxi_message_fill(op, p, text));
    return SBXI_GOT_EVENT;
}

static SBXI_ONCE sbxi_got sbxi_hello(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_block *b = op->block;

    if (op->s.started || op->s.attach) {
        sbxi_got got = sbxi_message_send(c, op, "{\"type\":\"reconnect\"," SBXI_MESSAGE_POSITION);

        if (got != SBXI_GOT_EVENT)
            return got;
    } else {
        const char *body = sbxi_block_text(b) + b->seg_n + b->query_n + b->header_n;

        if (!op->s.hello_begun) {
            if (!sbxi_ws_frame(&c->net, l, SBX_WS_OP_TEXT, b->body_n))
                return l->tx ? SBXI_GOT_BLOCKED : SBXI_GOT_STARVED;
            op->s.hello_begun = true;
        }
        while (l->out.frame.left) {
            sbxi_got got;

            if (!sbxi_ws_append(&c->net, l, body + b->body_n - l->out.frame.left, l->out.frame.left) && !l->tx)
                return SBXI_GOT_STARVED;
            if (!l->out.frame.left)
                break;
            got = sbxi_link_flush(&c->net, l);
            if (got != SBXI_GOT_EVENT)
                return got;
        }
    }
    op->s.hello_begun = false;
    op->s.phase = SBXI_PHASE_STARTING;
    /* Told again: whether the last connection brought it over is not known. */
    if (op->s.want & SBXI_STDIN_CLOSED)
        op->s.want |= SBXI_WANT_CLOSE_STDIN;
    if (k->cols)
        op->s.want |= SBXI_WANT_RESIZE;
    if (op->s.killing)
        op->s.want |= SBXI_WANT_KILL;
    sbxi_op_allow(c, op, c->desc.ws_open_ms);
    return SBXI_GOT_EVENT;
}

/* What was asked for, also while the stream was down. */
static void sbxi_stream_controls(sbx_client *c, sbxi_op *op)
{
    static const struct {
        uint8_t want;
        const char *text;
    } controls[] = {
        { SBXI_WANT_RESIZE, "{\"type\":\"resize\",\"cols\":\4,\"rows\":\5}" },
        { SBXI_WANT_CLOSE_STDIN, "{\"type\":\"close_stdin\"}" },
        { SBXI_WANT_KILL, "{\"type\":\"kill\"}" },
    };

    for (unsigned i = 0; i < SBXI_COUNT(controls); i++) {
        if (!(op->s.want & controls[i].want) || sbxi_message_send(c, op, controls[i].text) != SBXI_GOT_EVENT)
            continue;
        op->s.want &= (uint8_t)~controls[i].want;
        if (controls[i].want == SBXI_WANT_KILL) {
            op->s.killing = true;
            op->flags &= (uint16_t)~SBXI_OP_LIVE; /* its exit has a time of its own */
            sbxi_op_allow(c, op, SBXI_KILL_WAIT_MS);
        }
    }
}

/* The caller holds the next bytes back: they wait in the socket. (What lies in
   the receive buffer of a socket that has no more is a message half come.) */
static bool sbxi_stream_paused(const sbxi_op *op, const sbxi_link *l)
{
    return op->flags & SBXI_OP_STREAMING && (op->piece_n || op->s.has_data || op->s.message_done || (l->ready & (SBX_READABLE | SBXI_GUESSED)) == SBX_READABLE);
}

/* A silent stream is asked for a sign of life; one that the caller holds back
   gives one of its own. */
static void sbxi_stream_ping(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    int64_t every = c->desc.ws_ping_interval_ms;

    op->flags &= (uint16_t)~SBXI_OP_PING_DUE;
    op->wake_at = sbxi_after(c->net.now, every);
    if (sbxi_stream_paused(op, l)) {
        sbxi_ws_send(&c->net, l, SBX_WS_OP_PONG, "", 0);
    } else if (sbxi_after(l->last_rx, every) > c->net.now) {
        op->wake_at = sbxi_after(l->last_rx, every);
    } else if (!sbxi_link_has_room(&c->net, l) && l->owner != c->net.awaited) {
        op->flags |= SBXI_OP_PING_DUE; /* others have all send buffers: it is still to be asked */
    } else {
        /* Where it finds no room, since the peer takes nothing, it is still to be
           sent, and its time runs all the same. */
        if (!sbxi_ws_send(&c->net, l, SBX_WS_OP_PING, "", 0))
            op->flags |= SBXI_OP_PING_DUE;
        if (op->attempt_at == SBXI_NEVER)
            sbxi_op_allow(c, op, c->desc.ws_ping_ms);
    }
    sbxi_op_arm(c, op);
}

/* What has to go out, as far as the connection takes it. */
static sbxi_got sbxi_stream_talk(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_got got = SBXI_GOT_EVENT, sent = SBXI_GOT_EVENT;

    c->net.entropy_failed = false; /* another's failure is no business of this one */
    do {
        if (op->s.phase == SBXI_PHASE_HELLO)
            got = sbxi_hello(c, op);
        if (op->s.phase == SBXI_PHASE_RUNNING && op->flags & SBXI_OP_PING_DUE)
            sbxi_stream_ping(c, op);
        if (op->s.phase == SBXI_PHASE_RUNNING && op->s.want & ~SBXI_STDIN_CLOSED)
            sbxi_stream_controls(c, op);
        if (got == SBXI_GOT_FAIL)
            return got;
        if (c->net.entropy_failed) {
            c->net.fault.code = SBX_ERR_ENTROPY;
            return SBXI_GOT_FAIL;
        }
        sent = sbxi_link_flush(&c->net, l); /* gives a buffer back, too, that was taken for nothing */
    } while (got == SBXI_GOT_BLOCKED && sent == SBXI_GOT_EVENT && op->s.phase == SBXI_PHASE_HELLO); /* there is room now */
    if (got != SBXI_GOT_EVENT || sent != SBXI_GOT_EVENT)
        return got != SBXI_GOT_EVENT ? got : sent;
    if (op->s.killing)
        op->s.killed = true; /* delivered: the stream is not opened again for it */
    if (op->flags & SBXI_OP_WANTS_ROOM && op->s.phase == SBXI_PHASE_RUNNING && !l->out.frame.left && sbxi_link_has_room(&c->net, l)) {
        op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM;
        op->notes |= op->flags & SBXI_OP_STREAMING ? SBXI_NOTE_WRITABLE : 0;
    }
    return got;
}

/* With nothing to read: whether something waits for a send buffer, and not for
   the rest of a ping whose pong has begun. */
static sbxi_run sbxi_stream_idle(const sbxi_op *op, const sbxi_link *l)
{
    bool waits = op->s.want & ~SBXI_STDIN_CLOSED || op->flags & (SBXI_OP_WANTS_ROOM | SBXI_OP_PING_DUE);

    return waits && op->s.phase == SBXI_PHASE_RUNNING && !l->tx && !l->out.frame.left ? SBXI_RUN_STARVED : SBXI_RUN_IDLE;
}

/* Whether something that came is not delivered yet. */
static bool sbxi_stream_unread(const sbxi_op *op, const sbxi_link *l)
{
    return op->piece_n || op->s.has_data || op->s.message_done || l->rx_at < l->rx_end;
}

static sbxi_run sbxi_stream_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_got got = sbxi_stream_talk(c, op);
    bool broken = got == SBXI_GOT_FAIL; /* it takes nothing more, but what came is read */
    sbx_fault fault = c->net.fault;
    sbxi_run r;

    if (broken && (op->s.phase != SBXI_PHASE_RUNNING || !sbxi_stream_unread(op, l))) {
        sbxi_stream_dropped(c, op, got);
        return SBXI_RUN_IDLE;
    }
    if (op->s.phase == SBXI_PHASE_HELLO)
        return got == SBXI_GOT_STARVED ? SBXI_RUN_STARVED : SBXI_RUN_IDLE;
    while (op->state == SBXI_OP_STREAM) {
        sbx_ws_event e;

        if (op->notes && ev)
            return SBXI_RUN_HELD;
        r = sbxi_stream_read(c, op, ev);
        if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
            return r;
        if (op->flags & SBXI_OP_STREAMING && !ev && op->s.phase == SBXI_PHASE_RUNNING)
            return broken || sbxi_ws_unread(&c->net, l) || l->ready & SBX_READABLE ? SBXI_RUN_HELD : sbxi_stream_idle(op, l);
        /* What waited for `started` goes out now. */
        if (!broken && op->s.phase == SBXI_PHASE_RUNNING && op->s.want & ~SBXI_STDIN_CLOSED && sbxi_stream_talk(c, op) == SBXI_GOT_FAIL) {
            broken = true;
            fault = c->net.fault;
        }
        got = sbxi_ws_next(&c->net, l, &e);
        if (broken && got != SBXI_GOT_EVENT && got != SBXI_GOT_EOF) {
            c->net.fault = fault;
            got = SBXI_GOT_FAIL;
        }
        switch (got) {
        case SBXI_GOT_EVENT: sbxi_stream_piece(op, &e); break;
        case SBXI_GOT_BLOCKED: return sbxi_stream_idle(op, l);
        case SBXI_GOT_STARVED: return SBXI_RUN_STARVED;
        default: sbxi_stream_dropped(c, op, got); return SBXI_RUN_IDLE;
        }
    }
    return SBXI_RUN_IDLE;
}

/* ---- calls ---- */

static const struct sbxi_via sbxi_via_ws = {
    &sbxi_command_row, &sbxi_command_row, &sbxi_execute_ws_schema, NULL, NULL, SBXI_HAS_DATA | SBXI_HAS_ARGV, 0, NULL, NULL
};

static const struct sbxi_via *sbxi_via_of(sbx_via via)
{
    return via ? via() : &sbxi_via_ws;
}

/* What that way to run a command does not have; NULL: nothing. */
static const char *sbxi_via_bad(const struct sbxi_via *via, const sbx_run_opts *o, const char **why)
{
    static const char names[] = SBXI_T("pty\0ssh_agent_forward\0stdin_open\0command_id\0kill_on_disconnect\0idle_timeout_s\0ttl_s\0no_command_id\0stdin_data\0argv");
    /* By the bits of SBXI_HAS_… */
    unsigned given = ((unsigned)o->pty | (unsigned)o->ssh_agent_forward << 1 | (unsigned)o->stdin_open << 2 | (unsigned)(o->command_id.p != NULL) << 3 |
                      (unsigned)o->kill_on_disconnect << 4 | (unsigned)(o->idle_timeout_s != 0) << 5 | (unsigned)(o->ttl_s != 0) << 6 |
                      (unsigned)o->no_command_id << 7 | (unsigned)(o->stdin_data.p != NULL) << 8 | (unsigned)(o->argv_n != 0) << 9) & via->refuses;
    unsigned i = 0;

    if (!given)
        return NULL;
    while (!(given >> i & 1))
        i++;
    *why = 1 << i < SBXI_HAS_DATA ? via->why : SBXI_T("is possible over SSE only: set via to SBX_VIA_SSE, or use `command`, stdin_open and sbx_input");
    return sbxi_text_at(names, SBX_NO_ERROR_TEXT ? 0 : i);
}

SBXI_FN const char *sbxi_run_bad(const struct sbxi_via *via, const sbx_run_opts *o, sbx_str command, const char **why)
{
    *why = SBXI_T("must not be empty, but with pty (the shell itself), or with argv over SSE");
    if (!command.n && !o->pty && !o->argv_n)
        return SBXI_T("command");
    *why = SBXI_T("and argv exclude each other");
    if (command.n && o->argv_n)
        return SBXI_T("command");
    *why = SBXI_T("must not be empty");
    if (o->shell.p && !o->shell.n)
        return SBXI_T("shell");
    *why = SBXI_T("excludes cwd and env (the service refuses both at once)");
    if ((o->run_config.user.p || o->run_config.work_dir.p || o->run_config.env_n) && (o->cwd.p || o->env_n))
        return SBXI_T("run_config");
    *why = SBXI_T("needs pty");
    if ((o->cols || o->rows) && !o->pty)
        return o->cols ? SBXI_T("cols") : SBXI_T("rows");
    *why = SBXI_T("needs alloc: a buffer's size is a cap of its own");
    if (o->max_output && !o->alloc)
        return SBXI_T("max_output");
    return sbxi_via_bad(via, o, why);
}

SBXI_FN void sbxi_run_json(sbxi_build *b, const struct sbxi_via *via, sbx_str command, const sbx_run_opts *o)
{
    char id[SBXI_ID_MAX + 1];
    unsigned answer;
    sbx_jsonw w;

    sbxi_build_json(b, &w);
    if (!b->op)
        return;
    answer = b->op->row->answer;
    if (answer == SBXI_ANSWER_STREAM)
        sbxi_build_text(&w, "type", "execute");
    if (command.n)
        sbxi_build_member(b, &w, "command", command, "command");
    if (o->shell.p || !o->argv_n)
        sbxi_build_member(b, &w, "shell", o->shell.p ? o->shell : sbx_s("/bin/bash"), "shell");
    if (answer != SBXI_ANSWER_MODEL && b->op) {
        sbxi_id_get(b->op, id);
        if (id[0])
            sbxi_build_text(&w, "command_id", id);
    }
    if (answer == SBXI_ANSWER_STREAM && !o->stdin_open && !o->pty) {
        sbx_jsonw_key(&w, sbx_s("close_stdin"));
        sbx_jsonw_bool(&w, true);
    }
    sbxi_build_opts(b, &w, via->schema, o);
    if (via->more)
        sbxi_build_opts(b, &w, via->more, o);
    sbxi_build_json_end(b, &w);
}

/* Made by the client, so that a repeated execute is the same command. */
static void sbxi_command_id(sbxi_build *b, const sbx_run_opts *o)
{
    sbx_str given = o->command_id;
    unsigned char *uuid = b->op->u.command.id, random[10];
    sbx_client *c = b->c;

    sbxi_build_old(b, o->no_command_id, "no_command_id");
    if (o->no_command_id && given.p)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "no_command_id", SBXI_T("and command_id exclude each other"));
    if (!b->op)
        return;
    if (o->no_command_id) {
        sbxi_id_set(b->op, sbx_s(""));
        return;
    }
    if (given.p) {
        if (given.n != 36 || !sbxi_uuid_parse(uuid, given)) {
            sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "command_id", SBXI_T("must be a UUID of 36 characters"));
            return;
        }
        sbxi_id_set(b->op, given);
        return;
    }
    if (!sbxi_net_random(&c->net, random, sizeof random)) {
        sbxi_build_refuse(b, SBX_ERR_ENTROPY, NULL, NULL);
        return;
    }
    sbxi_uuid7(uuid, c->net.t->wall_ms ? (uint64_t)c->net.t->wall_ms(c->net.ctx) : 0, random);
}

static bool sbxi_command_begin(sbxi_build *b, sbx_client *c, const sbx_box *box, const sbx_call *call, const struct sbxi_via *via, sbxi_as as)
{
    const sbxi_row *row = as == SBXI_AS_ATTACH ? via->attach : via->row;

    if (!sbxi_build_begin_as(b, c, row ? row : &sbxi_command_row, call, as))
        return false;
    if (!row)
        sbxi_build_refuse(b, (sbx_code)via->code, "via", via->lacks);
    sbxi_build_box(b, box);
    sbxi_build_headers(b, call);
    if (!b->op)
        return false;
    if (!call->timeout_ms)
        b->op->timeout_ms = c->desc.ws_open_ms;
    b->op->exit_code = -1;
    return true;
}

static sbx_op sbxi_command_start(sbxi_build *b, const sbx_run_opts *o)
{
    sbxi_op *op = b->op;

    if (op) {
        op->s.no_reconnect = o->no_reconnect;
        if (o->cols || o->rows) {
            op->u.command.cols = o->cols ? o->cols : 80;
            op->u.command.rows = o->rows ? o->rows : 24;
            op->s.want |= SBXI_WANT_RESIZE;
        }
        if (!o->stdin_open && !o->pty)
            op->s.want |= SBXI_STDIN_CLOSED;
    }
    return sbxi_build_end(b);
}

SBX_API sbx_op sbx_command(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts)
{
    const sbx_run_opts *o = opts ? opts : &sbxi_no_opts.run;
    const struct sbxi_via *via = sbxi_via_of(o->via);
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_command_begin(&b, c, box, &o->call, via, SBXI_AS_ROW))
        return b.refused;
    bad = sbxi_run_bad(via, o, command, &why);
    if (!bad && (o->out.p || o->err.p || o->alloc || o->discard)) {
        bad = SBXI_T("out");
        why = SBXI_T("belongs to sbx_run: this call's output comes as events");
    }
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    if (b.op)
        sbxi_command_id(&b, o);
    if (SBX_NO_SSH_AGENT)
        sbxi_build_absent(&b, o->ssh_agent_forward, "ssh_agent_forward", SBXI_T("is not in this build (SBX_NO_SSH_AGENT)"));
    if (b.op) {
        b.op->flags |= SBXI_OP_STREAMING;
#if !SBX_NO_SSH_AGENT
        b.op->block->answer.agent.calls = o->ssh_agent_forward ? &sbxi_agent_all : NULL;
#endif
        sbxi_run_json(&b, via, command, o);
    }
    return sbxi_command_start(&b, o);
}

SBXI_FN bool sbxi_run_sinks(sbxi_build *b, const sbx_run_opts *o, sbxi_sink *out, sbxi_sink *err)
{
    if (!o->out.p && !o->err.p && !o->alloc && !o->discard) {
        sbxi_build_refuse(b, SBX_ERR_NO_BUFFER, "out", SBXI_T("must be given, or err, alloc or discard"));
        return false;
    }
    if (o->discard && (o->out.p || o->err.p || o->alloc)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "discard", SBXI_T("excludes out, err and alloc"));
        return false;
    }
    return sbxi_build_sink(b, out, o->out, o->alloc, o->max_output, (size_t)16 << 20) &&
           sbxi_build_sink(b, err, o->err, o->alloc, o->max_output, (size_t)16 << 20);
}

#if SBX_NO_SSE
static const struct sbxi_via sbxi_via_events = {
    NULL, NULL, NULL, NULL, NULL, 0, SBX_ERR_UNSUPPORTED, SBXI_T("SBX_VIA_SSE is not in this build (SBX_NO_SSE)"), NULL
};

SBX_API const struct sbxi_via *sbx_via_sse(void)
{
    return &sbxi_via_events;
}
#endif

SBX_API sbx_op sbx_run(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts, sbx_result *out)
{
    const sbx_run_opts *o = opts ? opts : &sbxi_no_opts.run;
    const struct sbxi_via *via = sbxi_via_of(o->via);
    const char *why, *bad;
    sbxi_build b;

    if (via->run)
        return via->run(c, box, command, o, out);
    if (!sbxi_command_begin(&b, c, box, &o->call, via, SBXI_AS_RUN))
        return b.refused;
    bad = sbxi_run_bad(via, o, command, &why);
    if (!bad && o->ssh_agent_forward) {
        bad = SBXI_T("ssh_agent_forward");
        why = SBXI_T("belongs to sbx_command: the agent's messages come as events");
    }
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    if (b.op)
        sbxi_command_id(&b, o);
    if (b.op && sbxi_run_sinks(&b, o, &b.op->u.command.sink[0], &b.op->u.command.sink[1])) {
        b.op->u.command.result = out;
        sbxi_run_json(&b, via, command, o);
    }
    return sbxi_command_start(&b, o);
}

SBX_API sbx_op sbx_attach(sbx_client *c, const sbx_box *box, sbx_str command_id, const sbx_attach_opts *opts)
{
    const sbx_attach_opts *o = opts ? opts : &sbxi_no_opts.attach;
    sbxi_command *k;
    sbxi_build b;

    if (!sbxi_command_begin(&b, c, box, &o->call, sbxi_via_of(o->via), SBXI_AS_ATTACH))
        return b.refused;
    k = &b.op->u.command;
    if (!command_id.n || command_id.n > SBXI_ID_MAX || !sbxi_id_ok(command_id)) {
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "command_id", SBXI_T("must have 1 to 36 letters, digits, '-', '_' or '.'"));
        return b.refused;
    }
    sbxi_id_set(b.op, command_id);
    b.op->s.attach = true;
    b.op->s.no_reconnect = o->no_reconnect;
    k->stream[0].base = o->stdout_offset;
    k->stream[1].base = o->stderr_offset;
    b.op->flags |= SBXI_OP_STREAMING;
    return sbxi_build_end(&b);
}

/* ---- calls on a running command ---- */

static sbxi_op *sbxi_command_of(const sbx_client *c, sbx_op h)
{
    sbxi_op *op = sbxi_op_get(c, h);

    return op && (op->row == &sbxi_command_row || sbxi_op_is_sse(op)) ? op : NULL;
}

/* The command of a call that needs a way to it; NULL: *code says why not. */
static sbxi_op *sbxi_command_socket(sbx_client *c, sbx_op h, sbx_code *code)
{
    sbxi_op *op = sbxi_command_of(c, h);

    *code = op ? SBX_OK : SBX_ERR_HANDLE;
    if (op && sbxi_op_is_sse(op)) {
        *code = SBX_ERR_UNSUPPORTED;
        op = NULL;
    }
    return op;
}

static uint64_t sbxi_command_at(const sbxi_op *op, unsigned stream)
{
    const sbxi_out *o = &op->u.command.stream[stream];

    return o->base + (sbxi_op_is_sse(op) ? o->skip : 0);
}

SBX_API sbx_code sbx_command_position(const sbx_client *c, sbx_op h, char command_id[37], uint64_t *stdout_offset, uint64_t *stderr_offset)
{
    const sbxi_op *op = sbxi_command_of(c, h);

    if (!op)
        return SBX_ERR_HANDLE;
    if (command_id)
        sbxi_id_get(op, command_id);
    if (stdout_offset)
        *stdout_offset = sbxi_command_at(op, 0);
    if (stderr_offset)
        *stderr_offset = sbxi_command_at(op, 1);
    return SBX_OK;
}

static sbx_code sbxi_command_want(sbx_client *c, sbx_op h, uint8_t want)
{
    sbx_code code;
    sbxi_op *op = sbxi_command_socket(c, h, &code);

    if (!op)
        return code;
    if (op->state == SBXI_OP_DONE || c->net.inside)
        return SBX_ERR_STATE;
    op->s.want |= want;
    sbxi_op_wake(c, op);
    return SBX_OK;
}

SBX_API sbx_code sbx_kill(sbx_client *c, sbx_op op)
{
    return sbxi_command_want(c, op, SBXI_WANT_KILL);
}

SBX_API sbx_code sbx_close_stdin(sbx_client *c, sbx_op op)
{
    return sbxi_command_want(c, op, SBXI_WANT_CLOSE_STDIN | SBXI_STDIN_CLOSED);
}

SBX_API sbx_code sbx_pty_resize(sbx_client *c, sbx_op h, uint16_t cols, uint16_t rows)
{
    sbx_code code;
    sbxi_op *op = sbxi_command_socket(c, h, &code);

    if (!op)
        return code;
    if (!cols || !rows)
        return SBX_ERR_ARGUMENT;
    op->u.command.cols = cols;
    op->u.command.rows = rows;
    return sbxi_command_want(c, h, SBXI_WANT_RESIZE);
}

static const char sbxi_input_head[] = "{\"type\":\"input\",\"data\":\"";

SBX_API sbx_code sbx_input(sbx_client *c, sbx_op h, sbx_str data, size_t *taken)
{
    sbx_code code;
    sbxi_op *op = sbxi_command_socket(c, h, &code);
    const size_t head = sizeof sbxi_input_head - 1;
    bool bad = false, rest = false;
    sbxi_link *l;

    *taken = 0;
    if (!op)
        return code;
    if (op->state == SBXI_OP_DONE || op->s.want & SBXI_STDIN_CLOSED || c->net.inside)
        return SBX_ERR_STATE;
    l = sbxi_op_link(c, op);
    while (l && *taken < data.n && op->state == SBXI_OP_STREAM && op->s.phase == SBXI_PHASE_RUNNING) {
        sbxi_got got;
        size_t room, used = 0, n;
        char *p = sbxi_ws_compose(&c->net, l, &room, &got);

        /* Room for a pong stays: without it nothing could be read, and a peer
           that writes before it reads on would wait for us as we for it. */
        if (!p || room < head + 64 + SBXI_WS_CONTROL_MAX)
            break;
        room -= SBXI_WS_CONTROL_MAX;
        memcpy(p, sbxi_input_head, head);
        n = sbx_json_escape(p + head, room - head - 2, data.p + *taken, data.n - *taken, &used, &bad);
        rest = !used;
        if (rest)
            break; /* an unfinished character, or none at all */
        memcpy(p + head + n, "\"}", 2);
        sbxi_ws_composed(&c->net, l, SBX_WS_OP_TEXT, head + n + 2);
        if (c->net.entropy_failed)
            return SBX_ERR_ENTROPY;
        *taken += used;
        if (sbxi_link_flush(&c->net, l) != SBXI_GOT_EVENT)
            break;
    }
    if (*taken < data.n && !rest)
        op->flags |= SBXI_OP_WANTS_ROOM;
    sbxi_op_wake(c, op);
    return bad && !*taken ? SBX_ERR_ARGUMENT : SBX_OK;
}
