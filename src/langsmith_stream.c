#include "json_member.h"
#include "langsmith_stream.h"

/* Server messages of DP/execute/ws. A message that lies whole in the receive
   buffer is read to its end before anything of it is delivered, so that its
   offset is known wherever it stands. A larger one streams: its offset is then
   taken as the expected one and checked when it comes. Of a member that comes
   twice the last one counts; in a message that streams, no second `data`, or
   `type` behind it, can. */

enum { SBXI_K_OTHER, SBXI_K_TYPE, SBXI_K_DATA, SBXI_K_OFFSET, SBXI_K_EXIT_CODE, SBXI_K_ERROR, SBXI_K_ERROR_TYPE, SBXI_K_COMMAND_ID, SBXI_K_PID, SBXI_K_CHANNEL_ID };

static uint8_t sbxi_which(const char *const *words, unsigned count, uint8_t none, const char *p, size_t n)
{
    for (unsigned i = 0; i < count; i++) {
        const char *w = words[i];
        size_t k = 0;

        while (k < n && w[k] == p[k] && w[k])
            k++;
        if (k == n && !w[k])
            return (uint8_t)(i + 1);
    }
    return none;
}

static const char *const sbxi_keys[] = { "type", "data", "offset", "exit_code", "error", "error_type", "command_id", "pid",
#if !SBX_NO_SSH_AGENT
    "channel_id",
#endif
};
static const char *const sbxi_types[] = { "stdout", "stderr", "started", "exit", "error", "ack_required" };

static const char sbxi_why_json[] = SBXI_T("a message of the server is not well-formed JSON");

SBXI_FN uint8_t sbxi_message_type(const char *p, size_t n)
{
    return sbxi_which(sbxi_types, SBXI_COUNT(sbxi_types), SBXI_T_OTHER, p, n);
}

/* ---- output and its offsets ---- */

/* The message's place is known (`offset`), or assumed to be the expected one.
   False: output was lost; the gap is noted. */
static bool sbxi_out_place(sbxi_op *op, unsigned stream, uint64_t offset)
{
    sbxi_out *o = &op->u.command.stream[stream];
    uint64_t expected = o->base + o->since;
    /* Below the expected one it is sent again, unless the caller has a
       replacement character that made the expected one too high. */
    bool again = !o->since || !(op->s.loose >> stream & 1);
    bool known = offset <= expected || offset - expected <= o->skip;

    if (offset <= expected) {
        if (again) {
            uint32_t back = (uint32_t)SBXI_MIN(expected - offset, UINT32_MAX - o->skip);

            /* What lies further back than is counted is dropped as if it lay
               there: its messages are shorter than 4 GiB. */
            o->skip += back;
            offset = expected - back;
        }
    } else if (known) {
        o->skip -= (uint32_t)(offset - expected);
    } else {
        op->u.command.assumed = expected + o->skip;
        o->skip = 0;
    }
    o->base = offset;
    o->since = 0;
    if (!o->skip)
        op->s.loose &= ~(1u << stream) & 3;
    return known;
}

/* n bytes of a message were decoded: what of them is new is left in *p, *n. */
static void sbxi_out_take(sbxi_op *op, unsigned stream, char **p, uint32_t *n, bool replaced)
{
    sbxi_out *o = &op->u.command.stream[stream];
    uint32_t drop = SBXI_MIN(o->skip, *n);

    o->skip -= drop;
    if (replaced || o->since) {
        o->since = UINT32_MAX - o->since > *n ? o->since + *n : UINT32_MAX;
        if (drop < *n)
            op->s.loose |= 1u << stream & 3;
    } else {
        o->base += *n;
    }
    *p += drop;
    *n -= drop;
}

/* The gap is told before the output behind it. True: that waits for a pull. */
static bool sbxi_deliver_gap(sbxi_op *op, unsigned stream)
{
    op->s.lost = true;
    if (!(op->flags & SBXI_OP_STREAMING))
        return false;
    op->s.gap_stream = (stream + 1) & 3;
    op->notes |= SBXI_NOTE_GAP;
    return true;
}

/* The message says where its output stands. What is missing before it is told,
   or is the server's mistake: an event stream waits rather than lose some. */
static void sbxi_message_place(sbx_client *c, sbxi_op *op, unsigned stream)
{
    sbxi_command *k = &op->u.command;
    sbxi_out *o = &k->stream[stream];

    if (sbxi_op_is_sse(op) && k->offset > o->base + o->skip)
        sbxi_stream_protocol_error(c, op, SBXI_T("the server left output out: an event begins behind what it sent before"));
    else if (!sbxi_out_place(op, stream, k->offset))
        sbxi_deliver_gap(op, stream);
}

static sbxi_run sbxi_deliver(sbx_client *c, sbxi_op *op, sbx_event *ev, unsigned stream, char *p, uint32_t n)
{
    sbxi_command *k = &op->u.command;
    sbxi_out *o = &k->stream[stream];
    bool replaced = op->s.replaced;

    if (!SBX_NO_SSH_AGENT && op->s.type >= SBXI_T_AGENT_DATA)
        return op->block->answer.agent.calls->deliver(c, op, ev, p, n);
    op->s.replaced = false;
    sbxi_out_take(op, stream, &p, &n, replaced);
    if (n || !sbxi_op_is_sse(op)) {
        op->s.drops = 0;
        op->s.hasty = false;
    }
    if (!n)
        return SBXI_RUN_IDLE;
    if (!(op->flags & SBXI_OP_STREAMING)) {
        if (!sbxi_sink_put(&k->sink[stream], op->flags & SBXI_OP_ALLOC ? &c->desc : NULL, p, n))
            sbxi_op_fail(c, op, SBX_ERR_MEMORY, SBX_LAYER_LOCAL, SBXI_T("the allocator refused"));
        return SBXI_RUN_IDLE;
    }
    sbxi_event_init(c, op, ev, stream ? SBX_EV_STDERR : SBX_EV_STDOUT);
    ev->stream = (int)stream + 1;
    ev->offset = o->base + o->since - n;
    ev->data = sbx_sn(p, n);
    return SBXI_RUN_EVENT;
}

SBXI_FN bool sbxi_id_ok(sbx_str id)
{
    for (size_t i = 0; i < id.n; i++) {
        char ch = sbxi_lower(id.p[i]);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9') && ch != '-' && ch != '_' && ch != '.')
            return false;
    }
    return true;
}

/* ---- values ---- */

static sbxi_failure *sbxi_message_failure(sbx_client *c, sbxi_op *op)
{
    if (!op->block)
        op->block = sbxi_op_block(c);
    return op->block ? &op->block->failure : NULL;
}

static void sbxi_append_text(char *dst, size_t cap, const sbx_json_tok *t)
{
    size_t at = strlen(dst);

    sbxi_copy_text(dst + at, cap - at, sbx_sn(t->p, t->n));
}

static void sbxi_message_text(sbx_client *c, sbxi_op *op, const sbx_json_tok *t)
{
    static const char *const shutdown[] = { "ServerShuttingDown" };
    sbxi_failure *f;
    const char *p;
    size_t n;

    if (op->s.type != SBXI_T_NONE && op->s.type != SBXI_T_ERROR)
        return;
    /* No failure of the command, told also where no memory is left for texts. */
    if (sbxi_op_is_sse(op) && op->s.field == SBXI_K_ERROR_TYPE && (p = sbxi_message_part(op, t, &n)) != NULL && sbxi_which(shutdown, 1, 0, p, n)) {
        op->s.type = SBXI_T_SHUTDOWN;
        return;
    }
    f = sbxi_message_failure(c, op);
    if (!f)
        return;
    if (op->s.field == SBXI_K_ERROR)
        sbxi_append_text(f->text, sizeof f->text, t);
    else
        sbxi_append_text(f->type, sizeof f->type, t);
}

SBXI_FN const char *sbxi_message_part(sbxi_op *op, const sbx_json_tok *t, size_t *n)
{
    *n = t->n;
    if (!t->more && !op->s.part_n)
        return t->p;
    *n = SBXI_MIN(t->n, sizeof op->u.command.held.part - op->s.part_n);
    memcpy(op->u.command.held.part + op->s.part_n, t->p, *n);
    *n += op->s.part_n;
    op->s.part_n = (uint8_t)*n;
    if (t->more)
        return NULL;
    op->s.part_n = 0;
    if (*n == sizeof op->u.command.held.part)
        *n = 0; /* fits none of ours */
    return op->u.command.held.part;
}

SBXI_FN void sbxi_id_get(const sbxi_op *op, char out[SBXI_ID_MAX + 1])
{
    if (!op->s.named)
        sbxi_uuid_text(out, op->u.command.id);
    else
        sbxi_copy_z(out, SBXI_ID_MAX + 1, op->block ? op->block->command_id : "");
    out[SBXI_ID_MAX] = 0;
}

SBXI_FN bool sbxi_id_unknown(const sbxi_op *op)
{
    return op->s.named && op->block && !op->block->command_id[0];
}

/* A UUID is kept in 16 bytes if it reads the same again. */
SBXI_FN void sbxi_id_set(sbxi_op *op, sbx_str id)
{
    sbxi_command *k = &op->u.command;
    char text[SBXI_ID_MAX + 1];

    op->s.named = false;
    if (id.n == SBXI_ID_MAX && sbxi_uuid_parse(k->id, id)) {
        sbxi_uuid_text(text, k->id);
        if (memcmp(text, id.p, SBXI_ID_MAX) == 0)
            return;
    }
    op->s.named = true;
    sbxi_copy_text(op->block->command_id, sizeof op->block->command_id, id);
}

/* Compared as it comes. What an older server chose is kept aside until the
   message proves to be `started`. */
static void sbxi_message_id(sbxi_op *op, const sbx_json_tok *t)
{
    char id[SBXI_ID_MAX + 1];
    size_t at = op->s.part_n, n = SBXI_MIN(t->n, SBXI_ID_MAX - at);

    sbxi_id_get(op, id);
    op->s.same = (at == 0 || op->s.same) && n == t->n && strlen(id) >= at + n && memcmp(id + at, t->p, n) == 0;
    if (op->block && !op->s.started && !op->s.attach) {
        char *chosen = op->block->failure.error_id;

        memcpy(chosen + at, t->p, n);
        chosen[at + n] = 0;
        if (n < t->n)
            chosen[0] = ' '; /* too long: no id either */
    }
    op->s.part_n = (uint8_t)(at + n);
    if (!t->more) {
        op->s.same = op->s.same && !id[op->s.part_n];
        op->s.part_n = 0;
    }
}

/* What a message says to an agent's channel begins. */
static SBXI_ONCE void sbxi_agent_begin(sbxi_op *op)
{
    sbxi_agent *a = sbxi_agent_of(op);

    if (a) {
        a->channel_n = 0;
        a->base64 = 0;
    }
}

/* A member begins: what an earlier one of its name said does not count. False:
   that was acted on already. */
static SBXI_ONCE bool sbxi_message_member(sbxi_op *op)
{
    sbxi_failure *f = op->block ? &op->block->failure : NULL;

    op->u.command.held.out.base64 = 0;
    switch (op->s.field) {
    case SBXI_K_TYPE: return sbxi_op_is_sse(op) || !op->s.assuming; /* an event's type is its name */
    case SBXI_K_DATA: return !op->s.assuming;
    case SBXI_K_ERROR:
        if (f)
            f->text[0] = 0;
        break;
    case SBXI_K_ERROR_TYPE:
        if (f)
            f->type[0] = 0;
        if (op->s.type == SBXI_T_SHUTDOWN)
            op->s.type = SBXI_T_ERROR;
        break;
#if !SBX_NO_SSH_AGENT
    case SBXI_K_CHANNEL_ID: sbxi_agent_begin(op); break;
#endif
    default: break;
    }
    return true;
}

static SBXI_ONCE void sbxi_message_value(sbx_client *c, sbxi_op *op, const sbx_json_tok *t)
{
    sbxi_command *k = &op->u.command;
    bool text = t->kind == SBX_JSON_STRING;
    sbxi_agent *a = sbxi_agent_of(op);
    uint8_t type;
    const char *p;
    size_t n;
    int64_t v;

    if (op->s.field == SBXI_K_ERROR || op->s.field == SBXI_K_ERROR_TYPE) {
        if (text)
            sbxi_message_text(c, op, t);
        return;
    }
    if (op->s.field == SBXI_K_COMMAND_ID) {
        if (text)
            sbxi_message_id(op, t);
        return;
    }
    if (op->s.field == SBXI_K_CHANNEL_ID) {
        if (text && a)
            a->calls->channel(a, t);
        return;
    }
    if (op->s.field == SBXI_K_OTHER || (!text && t->kind != SBX_JSON_NUMBER) || !(p = sbxi_message_part(op, t, &n)))
        return;
    switch (op->s.field) {
    case SBXI_K_TYPE:
        if (sbxi_op_is_sse(op)) /* its events have names */
            return;
        type = text && a ? a->calls->type(p, n) : 0;
        op->s.type = type ? type & 15 : text ? sbxi_message_type(p, n) : (uint8_t)SBXI_T_OTHER;
        return;
    case SBXI_K_OFFSET: op->s.has_offset = !text && sbx_json_u64(sbx_sn(p, n), &k->offset); return;
    default: break;
    }
    if (text || !sbx_json_i64(sbx_sn(p, n), &v))
        return;
    if (op->s.field == SBXI_K_EXIT_CODE)
        op->exit_code = (int32_t)SBXI_MAX(INT32_MIN, SBXI_MIN(INT32_MAX, v));
    else if (op->s.field == SBXI_K_PID && op->s.phase == SBXI_PHASE_STARTING)
        k->pid = (uint32_t)v;
}

/* ---- whole messages ---- */

SBXI_FN void sbxi_message_begin(sbxi_op *op, bool whole)
{
    sbxi_command *k = &op->u.command;

    if (op->block)
        memset(&op->block->failure, 0, sizeof op->block->failure);
    sbx_json_init(&k->json, 16);
    if (!sbxi_op_is_sse(op))
        op->s.type = SBXI_T_NONE;
    k->held.out.base64 = 0;
    op->s.field = SBXI_K_OTHER;
    op->s.part_n = 0;
    op->s.has_offset = op->s.same = op->s.placed = op->s.replaced = false;
    op->s.whole = whole;
    op->s.has_data = false;
    sbxi_agent_begin(op);
}

/* A final `error` message. */
static void sbxi_message_error(sbx_client *c, sbxi_op *op)
{
    static const char *const types[] = { "CommandTimeout", "CommandNotFound", "SessionExpired", "ReadOffsetUnavailable", "InvalidOffset" };
    static const uint8_t codes[] = { SBX_ERR_COMMAND, SBX_ERR_COMMAND_TIMEOUT, SBX_ERR_COMMAND_NOT_FOUND, SBX_ERR_SESSION_EXPIRED, SBX_ERR_RANGE, SBX_ERR_RANGE };
    sbxi_failure *f = sbxi_message_failure(c, op);
    uint8_t which = 0;

    if (f) {
        if (!f->type[0])
            memcpy(f->type, "CommandError", 13);
        which = sbxi_which(types, SBXI_COUNT(types), 0, f->type, strlen(f->type));
        op->fail.has_text = true;
    }
    op->fail.status = 0;
    op->fail.resource = SBX_RESOURCE_COMMAND;
    sbxi_op_fail(c, op, codes[which] == SBX_ERR_COMMAND_NOT_FOUND && sbxi_sse_lost(op) ? SBX_ERR_OUTCOME : (sbx_code)codes[which], SBX_LAYER_SERVICE, NULL);
}

static void sbxi_message_started(sbx_client *c, sbxi_op *op)
{
    /* The first one names what an older server chose; after that, one that
       names another command is no sign of ours. */
    if (!op->s.same && !op->s.started && !op->s.attach && !sbxi_op_is_sse(op) && op->block && op->block->failure.error_id[0]) {
        if (!sbxi_id_ok(sbx_s(op->block->failure.error_id))) {
            sbxi_stream_protocol_error(c, op, SBXI_T("the server named the command by an id that is not 1 to 36 letters, digits, '-', '_' or '.'"));
            return;
        }
        sbxi_id_set(op, sbx_s(op->block->failure.error_id));
    } else if (!op->s.same && !sbxi_id_unknown(op)) {
        return;
    }
    if (!sbxi_op_is_sse(op)) /* there, only output is a sign that going on helps */
        op->s.drops = 0;
    if (op->s.phase != SBXI_PHASE_STARTING)
        return;
    sbxi_stream_started(c, op);
}

SBXI_FN SBXI_ONCE sbxi_run sbxi_message_end(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    unsigned stream = op->s.type == SBXI_T_STDERR;

    op->s.in_message = false;
    switch (op->s.type) {
    case SBXI_T_STDOUT:
    case SBXI_T_STDERR:
        if (op->s.phase == SBXI_PHASE_STARTING)
            sbxi_stream_started(c, op); /* older servers acknowledge no reconnect */
        if (!op->s.whole) {
            /* It was delivered as it came; a gap shows only now. */
            if (op->s.has_offset && !op->s.placed && k->offset != k->assumed &&
                (sbxi_op_is_sse(op) || (k->offset < k->assumed && !(op->s.loose >> stream & 1)))) {
                sbxi_stream_protocol_error(c, op, SBXI_T("the server named another offset behind a long message's output than it was asked for"));
                return SBXI_RUN_IDLE;
            }
            if (op->s.has_offset && !op->s.placed && k->offset > k->assumed) {
                k->stream[stream].base += k->offset - k->assumed;
                return sbxi_deliver_gap(op, stream) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
            }
            return SBXI_RUN_IDLE;
        }
        if (op->s.has_offset)
            sbxi_message_place(c, op, stream);
        return op->flags & SBXI_OP_STREAMING && op->notes ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
    case SBXI_T_STARTED: sbxi_message_started(c, op); break;
    case SBXI_T_EXIT:
        op->fail.status = 0;
        op->fail.code = SBX_OK;
        op->fail.has_text = false;
        op->s.phase = SBXI_PHASE_EXITED;
        sbxi_op_finish(c, op);
        break;
    case SBXI_T_ERROR: sbxi_message_error(c, op); break;
#if !SBX_NO_SSH_AGENT
    case SBXI_T_AGENT_DATA:
    case SBXI_T_AGENT_CLOSE:
        op->block->answer.agent.calls->end(c, op);
        return op->flags & SBXI_OP_STREAMING && op->notes ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
#endif
    default: break;
    }
    op->s.has_data = false;
    return SBXI_RUN_IDLE;
}

/* A piece of `data`. Of a whole message it is kept until the rest is known. */
static SBXI_ONCE sbxi_run sbxi_message_data(sbx_client *c, sbxi_op *op, sbx_event *ev, sbx_json_tok *t)
{
    sbxi_command *k = &op->u.command;
    bool output = op->s.type == SBXI_T_STDOUT || op->s.type == SBXI_T_STDERR, agent = false;
    unsigned stream = op->s.type == SBXI_T_STDERR;
    sbxi_out *o = &k->stream[stream];
    size_t n;

    if (op->row->decoded)
        op->row->decoded(c, op, t);
    if (op->state != SBXI_OP_STREAM)
        return SBXI_RUN_IDLE;
    n = t->n;
    if (t->replaced && !sbxi_op_is_sse(op))
        op->s.replaced = true;
    if (op->s.whole) {
        op->s.has_data = true;
        k->held.out.data = t->p;
        k->held.out.data_n = (uint32_t)n;
        return SBXI_RUN_IDLE;
    }
#if !SBX_NO_SSH_AGENT
    agent = op->s.type == SBXI_T_AGENT_DATA;
    if (agent && !op->block->answer.agent.calls->piece(c, op, t->p, &n, !t->more))
        return SBXI_RUN_IDLE;
#endif
    if (!output && !agent) {
        if (op->s.type == SBXI_T_NONE && t->n)
            sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_WS, SBXI_T("a message in fragments, or larger than rx_bytes, does not begin with its type: raise rx_bytes"));
        return SBXI_RUN_IDLE;
    }
    if (op->s.phase == SBXI_PHASE_STARTING)
        sbxi_stream_started(c, op);
    if (!op->s.assuming) {
        op->s.assuming = true;
        if (agent) {
            ; /* has no place */
        } else if (op->s.has_offset) {
            op->s.placed = true;
            sbxi_message_place(c, op, stream);
            if (op->state != SBXI_OP_STREAM)
                return SBXI_RUN_IDLE;
        } else {
            k->assumed = o->base + o->since;
        }
    }
    if (op->flags & SBXI_OP_STREAMING && (op->notes || !ev)) {
        /* A start or a gap is told before the output behind it; and output that
           comes without a start, as behind an acknowledgement, waits to be asked for. */
        op->s.has_data = true;
        k->held.out.data = t->p;
        k->held.out.data_n = (uint32_t)n;
        return SBXI_RUN_HELD;
    }
    return sbxi_deliver(c, op, ev, stream, t->p, (uint32_t)n);
}

#if !SBX_SMALL
/* What servers write most, {"type":"stdout","data":"…","offset":N}, is taken by
   its bytes; from where it is written otherwise, the tokens are looked up. */
static sbx_json_kind sbxi_message_usual(sbxi_op *op, char **p, char *end, sbx_json_tok *t)
{
    if (!sbxi_json_enter(&op->u.command.json, p, end))
        return SBX_JSON_MORE;
    if (sbxi_op_is_sse(op))
        ; /* its type is known */
    else if (sbxi_json_skip(p, end, "\"type\":\"stdout\",", 16))
        op->s.type = SBXI_T_STDOUT;
    else if (sbxi_json_skip(p, end, "\"type\":\"stderr\",", 16))
        op->s.type = SBXI_T_STDERR;
    if (!sbxi_json_key(&op->u.command.json, p, end, "\"data\":", 7))
        return SBX_JSON_MORE;
    op->s.field = SBXI_K_DATA;
    return sbxi_json_string(&op->u.command.json, p, end, t);
}
#endif

SBXI_FN sbxi_run sbxi_message_read(sbx_client *c, sbxi_op *op, sbx_event *ev, char **at, char *end)
{
    sbxi_command *k = &op->u.command;
    char *p = *at;
    sbxi_run r = SBXI_RUN_IDLE;
    size_t n;

    while (r == SBXI_RUN_IDLE && op->state == SBXI_OP_STREAM) {
        sbx_json_tok t;
        sbx_json_kind kind = SBX_JSON_MORE;
        const char *key;

#if !SBX_SMALL
        kind = sbxi_message_usual(op, &p, end, &t);
#endif
        if (kind == SBX_JSON_MORE)
            kind = sbx_json_next(&k->json, &p, end, &t);

        if (kind == SBX_JSON_MORE || kind == SBX_JSON_DONE)
            break;
        switch (kind) {
        case SBX_JSON_ERROR:
            sbxi_stream_protocol_error(c, op, sbxi_why_json);
            return SBXI_RUN_IDLE;
        case SBX_JSON_KEY:
            if (t.depth != 1)
                break;
            key = sbxi_message_part(op, &t, &n);
            if (!key)
                break;
            op->s.field = sbxi_which(sbxi_keys, SBXI_COUNT(sbxi_keys), SBXI_K_OTHER, key, n);
            if (!sbxi_message_member(op)) {
                sbxi_stream_protocol_error(c, op, SBXI_T("a long message of the server has two `data`, or a `type` behind it"));
                return SBXI_RUN_IDLE;
            }
            break;
        case SBX_JSON_STRING:
        case SBX_JSON_NUMBER:
            if (t.depth != 1)
                break;
            if (op->s.field == SBXI_K_DATA && kind == SBX_JSON_STRING)
                r = sbxi_message_data(c, op, ev, &t);
            else
                sbxi_message_value(c, op, &t);
#if !SBX_SMALL
            if (r == SBXI_RUN_IDLE && sbxi_json_last(&k->json, &p, end, "\"offset\":", 9, &k->offset)) {
                op->s.has_offset = true;
                return SBXI_RUN_IDLE;
            }
#endif
            break;
        default: break;
        }
    }
    *at = p;
    return r;
}

SBXI_FN sbxi_run sbxi_stream_pending(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_command *k = &op->u.command;
    unsigned stream = op->s.type == SBXI_T_STDERR;

    if (!op->s.has_data || (op->s.whole && op->s.in_message))
        return SBXI_RUN_IDLE;
    if (op->flags & SBXI_OP_STREAMING && !ev)
        return SBXI_RUN_HELD;
    op->s.has_data = false;
    if (!op->s.in_message && sbxi_op_is_sse(op))
        op->s.type = SBXI_T_NONE; /* an event's name is its own only */
    return sbxi_deliver(c, op, ev, stream, k->held.out.data, k->held.out.data_n);
}

SBXI_FN sbxi_run sbxi_stream_read(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    for (;;) {
        sbxi_run r = sbxi_stream_pending(c, op, ev);

        if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
            return r;
        if (!op->piece_n && !op->s.message_done)
            return SBXI_RUN_IDLE;
        if (op->piece_n) {
            char *p = op->piece, *end = p + op->piece_n;

            if (op->flags & SBXI_OP_STREAMING && !ev && !op->s.whole)
                return SBXI_RUN_HELD;
            r = sbxi_message_read(c, op, ev, &p, end);
            op->piece = p;
            op->piece_n = r != SBXI_RUN_IDLE ? (uint32_t)(end - p) : 0;
            if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
                return r;
        }
        if (op->s.message_done) {
            sbx_json_tok t;

            op->s.message_done = false;
            if (sbx_json_end(&op->u.command.json, &t) == SBX_JSON_ERROR) {
                sbxi_stream_protocol_error(c, op, sbxi_why_json);
                return SBXI_RUN_IDLE;
            }
            r = sbxi_message_end(c, op);
            if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
                return r;
        }
    }
}

SBXI_FN void sbxi_stream_piece(sbxi_op *op, const sbx_ws_event *e)
{
    if (e->first) {
        sbxi_message_begin(op, e->last);
        op->s.in_message = true;
        op->s.assuming = false;
    }
    op->piece = e->p;
    op->piece_n = (uint32_t)e->n;
    op->s.message_done = e->last;
}
