/* The whole client against a world that the input makes up: what the caller
   does, what the server answers, how the transport behaves. Three parts, all of
   them text, so that inputs can be written by hand; no byte is refused:

     line 1   how: c (odd) compares deliveries, f (even) lets everything happen;
              then one character each: memory, flags, pieces, blocking, seed,
              refused connects, stuck connects, failing call, failing entropy
     line 2   what the caller does: a letter and a character of options each
     rest     what the server answers (client_world.h)

   Compared are the events and results of the first call in line 2, its bytes
   delivered at once, byte by byte, byte by byte with a block between, and by
   ports to a client without a transport: all must be the same. */
#include "../sim/impl.c"

#include "client_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 24, BARREN = 3000 };
enum { HOW_COMPARE = 1, HOW_MEMORY = 1, HOW_FLAGS, HOW_PIECES, HOW_BLOCK, HOW_SEED, HOW_REFUSE, HOW_STICK, HOW_FAIL, HOW_ENTROPY, HOW_COUNT };
enum { FLAG_PORTS = 1, FLAG_NO_WAIT = 2, FLAG_SILENT = 4, FLAG_LEAVE = 8, FLAG_ALLOC_FAILS = 16, FLAG_NEXT_OF = 32, FLAG_TOTAL = 64 };

static const char calls[] = "CGLUDSWBERMAFPTglpVQNOHXYZJ856123";

#include "client_slots.h"

/* ---- results ---- */

static void log_box(run *r, const sbx_box *b)
{
    log_text(r, "box %s %s %s", b->id, b->name, b->url);
}

static void log_info(run *r, const sbx_box_info *i)
{
    log_box(r, &i->box);
    log_text(r, "info %d %d %s %s %lld %lld %lld", i->status, i->cut, i->status_text, i->status_message, (long long)i->created_ms, (long long)i->vcpus,
             (long long)i->idle_ttl_s);
}

static void log_snapshot(run *r, const sbx_snapshot *s)
{
    log_text(r, "snapshot %s %s %d %d %s %s %lld", s->id, s->name, s->status, s->cut, s->status_text, s->status_message, (long long)s->created_ms);
}

static void log_match(run *r, const sbx_match *m)
{
    log_text(r, "match %s %s %lld %lld %lld %d %d", m->path, m->text, (long long)m->size, (long long)m->modified_ms, (long long)m->line, m->is_dir, m->cut);
}

static void log_item(run *r, const slot *s, const void *item)
{
    switch (s->kind) {
    case 'L': log_info(r, (const sbx_box_info *)item); break;
    case 'J': log_snapshot(r, (const sbx_snapshot *)item); break;
    default: log_match(r, (const sbx_match *)item);
    }
}

static size_t item_size(char kind)
{
    return kind == 'L' ? sizeof(sbx_box_info) : kind == 'J' ? sizeof(sbx_snapshot) : sizeof(sbx_match);
}

static void log_out(run *r, const slot *s, unsigned i, size_t n, char *p)
{
    log_text(r, "result %u: %zu", i, n);
    if (p) {
        MUST(p[n] == 0, "an allocated result has no terminator");
        log_data(r, 8 + i, 0, p, n, false);
    } else if (n && s->buf[i]) {
        MUST(n <= s->buf_n, "more stored than there was room");
        log_data(r, 8 + i, 0, s->buf[i], n, false);
    }
}

/* Of an older server; the result's size says what it is. */
static void log_old(run *r, size_t n, const void *p)
{
    const sbx_template *t = (const sbx_template *)p;
    const sbx_volume *v = (const sbx_volume *)p;
    const sbx_pool *o = (const sbx_pool *)p;

    if (n == sizeof *t)
        log_text(r, "template %s %s %s %s %s %s %d", t->id, t->name, t->image, t->cpu, t->memory, t->storage, t->cut);
    else if (n == sizeof *v)
        log_text(r, "volume %s %s %s %s %d", v->id, v->name, v->size, v->storage_class, v->cut);
    else if (n == sizeof *o)
        log_text(r, "pool %s %s %s %lld %d", o->id, o->name, o->template_name, (long long)o->replicas, o->cut);
    else
        log_text(r, "list %llu", (unsigned long long)((const sbx_list_result *)p)->count);
}

static void log_result(run *r, slot *s)
{
    void *p = s->result;

    switch (p ? s->kind : 0) {
    case 'C': case 'G': case 'U': case 'W': case 'B': log_box(r, (sbx_box *)p); break;
    case 'R': {
        sbx_result *x = (sbx_result *)p;

        log_text(r, "exit %d pid %u cut %d %d gap %d total %llu %llu", x->exit_code, x->pid, x->out_cut, x->err_cut, x->gap, (unsigned long long)x->out_total,
                 (unsigned long long)x->err_total);
        log_out(r, s, 0, x->out_n, x->out_p);
        log_out(r, s, 1, x->err_n, x->err_p);
        sbx_free(r->c, x->out_p);
        sbx_free(r->c, x->err_p);
        break;
    }
    case 'Q': {
        sbx_response *x = (sbx_response *)p;

        log_text(r, "status %d head %zu %d total %llu size %llu cut %d token %.9s", x->status, x->head_n, x->head_cut, (unsigned long long)x->total,
                 (unsigned long long)x->size, x->cut, s->service->token);
        MUST(x->head_n <= sizeof s->head, "a head larger than its buffer");
        log_data(r, 7, 0, s->head, x->head_n, false);
        log_out(r, s, 0, x->n, x->p);
        sbx_free(r->c, x->p);
        break;
    }
    case 'V': log_text(r, "service %s %s %zu %lld", ((sbx_service *)p)->box, ((sbx_service *)p)->url, strlen(((sbx_service *)p)->token), (long long)((sbx_service *)p)->expires_ms); break;
    case 'N': log_text(r, "link %zu %zu %lld", strlen(((sbx_download *)p)->url), strlen(((sbx_download *)p)->token), (long long)((sbx_download *)p)->expires_ms); break;
    case 'O':
    case 'F': {
        sbx_read_result *x = (sbx_read_result *)p;

        log_text(r, "read total %llu size %llu offset %llu cut %d same %d etag %s", (unsigned long long)x->total, (unsigned long long)x->size,
                 (unsigned long long)x->offset, x->cut, x->not_modified, x->stat.etag);
        log_out(r, s, 0, x->n, x->p);
        sbx_free(r->c, x->p);
        break;
    }
    case 'H':
    case 'T': log_text(r, "stat %llu %s", (unsigned long long)((sbx_file_stat *)p)->size, ((sbx_file_stat *)p)->content_type); break;
    case '8': log_old(r, s->result_n, p); break;
    case 'S': log_text(r, "status %s %s", ((sbx_status_info *)p)->status_text, ((sbx_status_info *)p)->status_message); break;
    case 'X': log_snapshot(r, (sbx_snapshot *)p); break;
    case 'Y': log_text(r, "registry %s %s %d", ((sbx_registry *)p)->id, ((sbx_registry *)p)->name, ((sbx_registry *)p)->cut); break;
    case 'L': case 'J': case 'g': case 'l': case 'p': {
        sbx_list_result *x = (sbx_list_result *)p;

        log_text(r, "list %llu %llu %d %d %s %lld", (unsigned long long)x->count, (unsigned long long)x->stored, x->cut, x->truncated, x->next_cursor,
                 (long long)x->next_offset);
        if (s->buf[0])
            for (uint64_t i = 0; i < x->stored; i++)
                log_item(r, s, s->buf[0] + i * item_size(s->kind));
        break;
    }
    default: break;
    }
    if (s->info && !untouched(s->info, sizeof *s->info))
        log_info(r, s->info);
}

/* A failed call writes results only where its manual says so. */
static bool may_write(const slot *s, sbx_code code)
{
    if (code == SBX_ERR_CANCELLED || code == SBX_ERR_CLOSED)
        return false;
    return code == SBX_OK || s->kind == 'R' || (code == SBX_ERR_TOO_LARGE && strchr("CGUWBLJXYglp8", s->kind));
}

static void see_end(run *r, slot *s, const sbx_op op, sbx_code code, int exit_code)
{
    sbx_error e;
    bool written = s->result && !untouched(s->result, s->result_n);

    sbx_error_of(r->c, op, &e);
    MUST(e.code == code, "the error of an operation is not the one that its END has");
    MUST(memchr(e.text, 0, sizeof e.text) && memchr(e.type, 0, sizeof e.type) && memchr(e.field, 0, sizeof e.field), "a text of an error has no end");
    MUST(code != SBX_ERR_ARGUMENT && code != SBX_ERR_NO_BUFFER && code != SBX_ERR_HANDLE && code != SBX_ERR_STATE, "an error of the caller's came late");
    MUST(!s->late || code != SBX_ERR_CANCELLED, "an event after cancel");
    MUST(!written || may_write(s, code), "a failed call wrote its result");
    MUST(s->result == NULL || s->kind == 'h' || written || code != SBX_OK, "a call wrote no result");
    if (code == SBX_ERR_CONNECTION) /* its words tell of the last of several attempts */
        log_text(r, "end %s exit %d", sbx_code_name(code), exit_code);
    else
        log_text(r, "end %s exit %d status %d layer %d type %s text %s", sbx_code_name(code), exit_code, e.status, e.layer, e.type, e.text);
    if (written)
        log_result(r, s);
    slot_done(s);
}

/* ---- events ---- */

static void act(run *r, slot *s, char what, unsigned v);

static void log_position(run *r, const slot *s)
{
    char id[37];
    uint64_t o = 0, e = 0;

    if (strchr("MA", s->kind) && sbx_command_position(r->c, s->op, id, &o, &e) == SBX_OK)
        log_text(r, "position %llu %llu", (unsigned long long)o, (unsigned long long)e);
}

static void see_started(run *r, slot *s)
{
    MUST(!s->started, "STARTED twice");
    s->started = true;
    log_position(r, s);
    for (size_t i = 0; r->compare && s->live && i + 1 < r->actions_n; i += 2)
        if (strchr("iyzkjd", r->actions[i]))
            act(r, s, r->actions[i], (unsigned char)(r->actions[i + 1] - '0'));
}

/* What was given back came again; and some of this is. */
static void see_tunnel_data(run *r, slot *s, const sbx_event *ev)
{
    size_t n = s->back < ev->data.n ? s->back : ev->data.n;

    MUST(memcmp(ev->data.p, s->again, s->again_n < ev->data.n ? s->again_n : ev->data.n) == 0, "other bytes came than were given back");
    s->back = 0;
    MUST(sbx_tunnel_unread(r->c, s->op, ev->data.n + 1) == SBX_ERR_STATE, "more was taken back than was given");
    MUST(sbx_tunnel_unread(r->c, s->op, n) == SBX_OK, "borrowed bytes were not taken back");
    s->end[0] -= n;
    s->again_n = n < sizeof s->again ? n : sizeof s->again;
    memcpy(s->again, ev->data.p + ev->data.n - n, s->again_n);
}

static void see(run *r, const sbx_event *ev)
{
    slot *s = slot_of(r, ev->op);
    unsigned k = ev->stream == 2;

    r->w.moved++;
    MUST(s, "an event of an operation that is over");
    MUST(ev->user == (s->kind == 'h' ? NULL : (void *)s), "another operation's user pointer");
    s->late = s->late || (s->cancelled && ev->kind != SBX_EV_END);
    switch (ev->kind) {
    case SBX_EV_STARTED:
        log_text(r, "started %u", ev->pid);
        see_started(r, s);
        break;
    case SBX_EV_STDOUT:
    case SBX_EV_STDERR:
        MUST(s->started && s->streaming && ev->data.n && ev->stream == (ev->kind == SBX_EV_STDOUT ? 1 : 2), "output out of place");
        MUST(r->w.uncertain || ev->offset >= s->end[k], "output came again");
        for (size_t i = 0; s->sse && !r->w.strange && i < ev->data.n; i++)
            MUST((unsigned char)ev->data.p[i] == event_byte(k, ev->offset + i), "output over SSE that is not the command's");
        log_data(r, 1 + k, ev->offset, ev->data.p, ev->data.n, ev->offset == s->end[k]);
        s->end[k] = ev->offset + ev->data.n;
        break;
    case SBX_EV_HEAD:
        MUST(s->kind == 'Q' && s->streaming && !s->headed && ev->status >= 200, "an answer's head out of place");
        log_text(r, "head %d", ev->status);
        log_data(r, 7, 0, ev->data.p, ev->data.n, false);
        s->headed = true;
        break;
    case SBX_EV_DATA:
        MUST(strchr("FOQ6", s->kind) && (s->kind != '6' || (s->started && !s->held)) && s->streaming && ev->data.n && s->headed == (s->kind == 'Q'), "file bytes out of place");
        MUST(!s->started || ev->offset == s->end[0], "file bytes that do not adjoin");
        log_data(r, 1, ev->offset, ev->data.p, ev->data.n, s->started && ev->offset == s->end[0]);
        s->started = true;
        s->end[0] = ev->offset + ev->data.n;
        if (s->kind == '6')
            see_tunnel_data(r, s, ev);
        break;
    case SBX_EV_ITEM:
        MUST(s->streaming && ev->item, "an item out of place");
        log_item(r, s, ev->item);
        break;
    case SBX_EV_GAP:
        MUST(s->started && ev->lost && (ev->stream == 1 || ev->stream == 2), "a gap out of place");
        log_text(r, "gap %d at %llu: %llu", ev->stream, (unsigned long long)ev->offset, (unsigned long long)ev->lost);
        break;
    case SBX_EV_RETRYING:
        MUST(ev->code != SBX_OK, "a retry without reason");
        r->retried = true; /* how often is a matter of time, not of the bytes */
        break;
    case SBX_EV_RECONNECTED:
        MUST(s->started, "a reconnect before the start");
        log_text(r, "reconnected");
        log_position(r, s);
        break;
    case SBX_EV_AGENT_DATA:
        MUST(s->started && s->kind == 'M' && ev->data.n && ev->channel.n && ev->channel.n < 64, "an agent's data out of place");
        log_data(r, 9, 0, ev->data.p, ev->data.n, true);
        break;
    case SBX_EV_AGENT_CLOSE:
        MUST(s->started && s->kind == 'M' && !ev->data.n && ev->channel.n && ev->channel.n < 64, "an agent's end out of place");
        log_text(r, "agent close %.*s", (int)ev->channel.n, ev->channel.p);
        break;
    case SBX_EV_WRITABLE:
        if (s->pushes || s->kind == '6')
            act(r, s, s->pushes ? 'u' : 'i', 40);
        break;
    case SBX_EV_EOF: MUST(s->kind == '6' && s->started && !s->held, "an end of half out of place"); break;
    case SBX_EV_REWIND:
        MUST(s->pushes, "a rewind of what was not pushed");
        act(r, s, 'w', s->left & 1);
        break;
    case SBX_EV_END: see_end(r, s, ev->op, ev->code, ev->exit_code); break;
    default: MUST(false, "an unknown event");
    }
}

static unsigned pull(run *r)
{
    sbx_event ev;
    unsigned n = 0;

    while (sbx_next(r->c, &ev)) {
        see(r, &ev);
        MUST(++n < 1000000, "events without end");
    }
    return n;
}

#include "client_calls.h"

/* ---- time ---- */

/* One round of a client without a transport, as its manual says. */
static void pump(run *r)
{
    world *w = &r->w;
    sbx_port port;
    char room[257];

    while (sbx_port_next(r->c, &port)) {
        wire *x = &w->wires[port.id - 1];

        w->moved++;
        if (port.action == SBX_PORT_CLOSE) {
            MUST(x->used, "close of a port that was never opened");
            wire_reset(x);
            w->open--;
            continue;
        }
        MUST(!x->used && port.host.n, "connect of a port that is in use");
        x->used = x->told = true;
        x->rst = w->dead || (w->refuse >> (w->connects & 15) & 1);
        x->stuck = w->stick >> (w->connects & 15) & 1;
        w->connects++;
        w->open++;
    }
    for (uint32_t i = 0; i < WIRES; i++) {
        wire *x = &w->wires[i];
        size_t n;

        if (!x->used)
            continue;
        if (!x->open) {
            if (x->ended || (x->stuck && !x->rst && !w->dead))
                continue;
            x->open = !x->rst;
            x->ended = x->rst;
            x->open ? sbx_port_opened(r->c, i + 1) : sbx_port_failed(r->c, i + 1, SBX_ERR_CONNECT);
            w->moved++;
            continue;
        }
        n = x->out.n - x->out_at;
        if (n && w->recv_max && n > w->recv_max)
            n = w->recv_max;
        n = n ? sbx_port_recv(r->c, i + 1, x->out.p + x->out_at, n) : 0;
        x->out_at += n;
        w->moved += n;
        n = sbx_port_send(r->c, i + 1, room, w->send_max ? w->send_max : sizeof room);
        if (n)
            wire_write(w, x, room, n);
        if (x->out_at == x->out.n && (x->eof || x->rst) && !x->ended) {
            x->ended = true;
            x->rst ? sbx_port_failed(r->c, i + 1, SBX_ERR_CONNECTION) : sbx_port_eof(r->c, i + 1);
            w->moved++;
        }
    }
}

static bool anything_live(const run *r)
{
    sbx_usage u;

    sbx_get_usage(r->c, &u);
    return u.ops != 0;
}

/* Whoever has a total deadline is over when it has passed. */
static void check_deadlines(run *r)
{
    for (unsigned i = 0; i < SLOTS; i++)
        MUST(!r->slots[i].live || !r->slots[i].total_at || r->w.now <= r->slots[i].total_at + 1, "an operation outlives its total deadline");
}

static void turn(run *r)
{
    sbx_step(r->c, r->w.now);
    if (r->ports)
        pump(r);
    pull(r);
    if (r->ports)
        pump(r);
}

static bool idle_jump(run *r)
{
    int64_t at = sbx_next_deadline(r->c);

    if (at <= r->w.now)
        return false;
    if (at == INT64_MAX) {
        MUST(r->ports || !sim_client_stall(r->c), sim_client_stall(r->c));
        MUST(!r->w.dead || r->w.barren < 50, "operations that nothing can wake");
        r->w.barren++;
        world_end(&r->w);
        return true;
    }
    r->w.barren = 0;
    r->w.now = at;
    sbx_step(r->c, at);
    pull(r);
    if (r->ports)
        pump(r);
    pull(r);
    check_deadlines(r);
    return true;
}

/* To the end of everything that runs; time goes on only when nothing else does. */
static void drain(run *r)
{
    unsigned barren = 0, jumps = 0, patience = r->w.bounce ? 4 : r->w.block ? 40 : 2;

    while (anything_live(r)) {
        uint64_t moved = r->w.moved;

        turn(r);
        if (r->w.moved != moved) {
            barren = 0;
            continue;
        }
        MUST(++barren < BARREN, "the client works for ever without result");
        if (barren > patience && idle_jump(r)) {
            barren = 0;
            MUST(++jumps < 200000, "operations that never end");
        }
    }
}

static void next_of(run *r, slot *s)
{
    sbx_op op = s->op;
    sbx_event ev;

    if (s->pushes || s->held || s->kind == '5')
        return; /* it waits for its caller */
    if (sbx_next_of(r->c, &op, &ev))
        see(r, &ev);
}

static void await(run *r, slot *s)
{
    sbx_op op = s->op;
    sbx_code code;

    if (s->pushes || s->held || s->kind == '5')
        return;
    code = sbx_await(r->c, op);
    if (code == SBX_ERR_UNSUPPORTED && (r->ports || r->how[HOW_FLAGS] & FLAG_NO_WAIT))
        return;
    see_end(r, s, op, code, 0);
}

/* ---- what the caller does besides ---- */

static void push(run *r, slot *s, unsigned v)
{
    size_t n = v < s->left ? v : s->left, taken = 0;
    sbx_code code = sbx_push(r->c, s->op, sbx_sn(s->buf[0], s->buf[0] ? n : 0), n == s->left, &taken);

    if (code != SBX_OK)
        return;
    MUST(taken <= n, "more taken than given");
    s->left -= taken;
}

/* Of a connection through a tunnel. */
static void say_more(run *r, slot *s, unsigned v)
{
    size_t n = v * 20 < s->left ? v * 20 : s->left, taken = 0;

    if (sbx_tunnel_send(r->c, s->op, sbx_sn(s->buf[0], s->buf[0] ? n : 0), n == s->left, &taken) != SBX_OK)
        return;
    MUST(taken <= n, "more taken than given");
    s->left -= taken;
}

/* The same without a copy. */
static void say_in_place(run *r, slot *s, unsigned v)
{
    size_t n = v * 20 < s->left ? v * 20 : s->left;
    sbx_buf room;

    if (s->kind != '6' || sbx_tunnel_reserve(r->c, s->op, &room) != SBX_OK)
        return;
    n = n < room.n ? n : room.n;
    if (n)
        memset(room.p, 'f', n);
    if (sbx_tunnel_commit(r->c, s->op, n) == SBX_OK)
        s->left -= n;
}

static void cancel(run *r, slot *s)
{
    MUST(sbx_cancel(r->c, s->op) == SBX_OK, "cancel of a live operation");
    if (s->kind == 'h')
        return;
    s->cancelled = true;
    if (s->result && untouched(s->result, s->result_n))
        slot_results_free(s);
}

static void shut_down(run *r, unsigned v)
{
    slot *s = slot_free(r);

    if (!s)
        return;
    memset(s, 0, sizeof *s);
    s->kind = 'h';
    s->op = sbx_shutdown(r->c, v & 1 ? SBX_FOREVER : (int32_t)v * 100);
    s->live = s->op.slot != 0;
    MUST(s->live || s->op.gen == SBX_ERR_CLOSED || s->op.gen == SBX_ERR_FULL, "a refused shutdown");
}

static void act(run *r, slot *s, char what, unsigned v)
{
    static const char text[] = "in\xc3\xa9put\n\xf0\x9f\x98\x80\xff";
    size_t taken = 0, n = v % sizeof text;

    switch (what) {
    case 'x': cancel(r, s); break;
    case 'i':
        if (s->kind == '6') {
            say_more(r, s, v);
            break;
        }
        sbx_input(r->c, s->op, sbx_sn(text, n), &taken);
        MUST(taken <= n, "more input taken than given");
        break;
    case 'j':
        sbx_agent_send(r->c, s->op, sbx_s("c\xc3\xa9"), sbx_sn(text, n), &taken);
        MUST(taken <= n, "more of an agent's answer taken than given");
        break;
    case 'd': sbx_agent_close(r->c, s->op, sbx_s("d")); break;
    case 'z': sbx_close_stdin(r->c, s->op); break;
    case 'b': s->held = sbx_tunnel_hold(r->c, s->op, (v & 1) != 0) == SBX_OK && v & 1; break;
    case 'r':
        if (s->kind == '6')
            s->back = v * 40;
        else
            MUST(sbx_tunnel_unread(r->c, s->op, 0) == SBX_ERR_HANDLE, "what is no connection took bytes back");
        break;
    case 'c': sbx_tunnel_close(r->c, s->op); break;
    case 'y': sbx_pty_resize(r->c, s->op, (uint16_t)v, (uint16_t)(v + 1)); break;
    case 'k': sbx_kill(r->c, s->op); break;
    case 'u': push(r, s, v); break;
    case 'w':
        if (v & 1)
            cancel(r, s);
        else if (sbx_rewind(r->c, s->op) == SBX_OK)
            s->left = 300;
        break;
    case 'o': log_position(r, s); break;
    case 'n': next_of(r, s); break;
    case 'a': await(r, s); break;
    case 'f': say_in_place(r, s, v); break;
    default: break;
    }
}

static void free_action(run *r, char what, unsigned v)
{
    sbx_event ev;
    slot *s;

    if (what && strchr(calls, what)) {
        begin(r, what, v);
        return;
    }
    switch (what) {
    case 's':
    case 't': /* twice: a total deadline counts from the first step */
        sbx_step(r->c, r->w.now);
        r->w.now += what == 's' ? v : v * 1000;
        sbx_step(r->c, r->w.now);
        break;
    case 'e': turn(r); break;
    case 'v':
        if (sbx_next(r->c, &ev))
            see(r, &ev);
        break;
    case 'm': if (r->ports) pump(r); break;
    case 'q': sbx_wait(r->c, v * 10); break;
    case 'K': sbx_set_api_key(r->c, v & 1 ? sbx_s("key-2") : sbx_s("a\nb")); break;
    case 'h': shut_down(r, v); break;
    default:
        if ((s = slot_nth(r, v & 7)) != NULL)
            act(r, s, what, v >> 3);
    }
}

/* ---- a client from its start to its end ---- */

static void *resize(void *user, void *p, size_t n)
{
    run *r = (run *)user;

    if (!n) {
        r->blocks -= p != NULL;
        free(p);
        return NULL;
    }
    if (++r->allocs % 3 == 0 && r->how[HOW_FLAGS] & FLAG_ALLOC_FAILS && !r->compare)
        return NULL;
    r->blocks += p == NULL;
    return realloc(p, n);
}

static void trace(void *user, const sbx_trace *t)
{
    run *r = (run *)user;

    MUST(!memmem(t->text.p ? t->text.p : "", t->text.n, "key-1", 5) && !memmem(t->text.p ? t->text.p : "", t->text.n, "secret", 6), "a secret was traced");
    sbx_step(r->c, r->w.now); /* refused, as is this: */
    sbx_close(r->c);
}

static void describe(run *r, sbx_client_desc *d)
{
    unsigned m = r->how[HOW_MEMORY];
    static const uint32_t sizes[][9] = { /* ops links requests request_bytes buffers rx tx owned head */
        { 2, 1, 2, 512, 2, 512, 1024, 1, 1024 }, { 4, 2, 3, 512, 2, 600, 1100, 2, 600 }, { 16, 4, 8, 1024, 3, 1024, 1024, 2, 4096 }, { 32, 8, 8, 4096, 4, 4096, 4096, 4, 0 } };
    const uint32_t *z = sizes[m & 3];

    memset(d, 0, sizeof *d);
    d->transport = r->ports ? &sbx_ports : r->how[HOW_FLAGS] & FLAG_NO_WAIT ? &world_steps : &world_waits;
    d->transport_config = &r->w;
    d->endpoint = "http://api.test/v2/sandboxes";
    d->api_key = "key-1";
    d->config = SBX_CONFIG;
    d->max_ops = z[0];
    d->max_links = z[1];
    d->max_requests = z[2];
    d->request_bytes = z[3];
    d->buffers = r->compare && z[4] < 3 ? 3 : z[4]; /* with fewer a message is not waited for, however short */
    d->rx_bytes = z[5];
    d->tx_bytes = z[6];
    d->max_owned = z[7];
    d->head_bytes = z[8];
    d->max_connects = m & 4 ? 1 : 0;
    d->idle_ms = m & 8 ? SBX_NONE : 0;
    d->ws_close_ms = m & 16 ? SBX_NONE : 0;
    d->max_retries = m & 32 ? SBX_NONE : 0;
    d->ws_ping_interval_ms = m & 64 ? SBX_FOREVER : 0;
    d->resize = resize;
    d->resize_user = r;
    d->trace = trace;
    d->trace_user = r;
}

static void close_all(run *r, char *mem, size_t n)
{
    const char *busy;
    bool over = !anything_live(r);

    r->w.client = NULL;
    if (over && !r->ports) {
        busy = sim_client_busy(r->c);
        MUST(!busy, busy);
    }
    sbx_close(r->c);
    MUST(r->ports || r->w.open == 0, "a connection was left open");
    MUST(!mem[0] && !memcmp(mem, mem + 1, n - 1), "memory was not wiped");
    for (unsigned i = 0; i < SLOTS; i++) {
        slot *s = &r->slots[i];

        if (s->live && s->result && r->blocks)
            MUST(untouched(s->result, s->result_n), "a result was written after close");
        if (s->live)
            slot_done(s);
    }
    MUST(r->blocks == 0, "an allocated result was lost");
}

/* The events of the input's first call, as text. */
static void run_compared(run *r, const unsigned char *todo, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (!todo[i] || !strchr(calls, todo[i]) || strchr("56", todo[i])) /* a tunnel ends by its caller alone */
            continue;
        r->actions = (const char *)todo + i + 2;
        r->actions_n = n - i - 2;
        begin(r, (char)todo[i], (unsigned char)(todo[i + 1] - '0'));
        break;
    }
    if (r->how[HOW_FLAGS] & FLAG_NEXT_OF && !r->ports && !(r->how[HOW_FLAGS] & FLAG_NO_WAIT))
        while (r->slots[0].live)
            next_of(r, &r->slots[0]);
    drain(r);
}

static void run_once(run *r, const unsigned char *todo, size_t n)
{
    static const unsigned char seed[32] = "a seed of thirty-two bytes, ok!";
    sbx_client_desc d;
    sbx_error err;
    size_t size;
    char *mem;

    describe(r, &d);
    size = sbx_client_size(&d);
    mem = (char *)malloc(size);
    MUST(mem, "memory");
    memset(mem, 0xA5, size);
    if (sbx_client_init(mem, size, &d, &r->c, &err) != SBX_OK) {
        MUST(r->w.random_fail_at == 1, "the client did not begin");
        free(mem);
        return;
    }
    r->w.client = r->c;
    if (r->ports && r->w.random_fail_at != 1)
        sbx_port_seed(r->c, seed, sizeof seed, 1760000000000);
    if (r->compare) {
        run_compared(r, todo, n);
    } else {
        for (size_t i = 0; i + 1 < n && i < 400; i += 2)
            free_action(r, (char)todo[i], (unsigned char)(todo[i + 1] - '0'));
        if (!(r->how[HOW_FLAGS] & FLAG_LEAVE)) {
            for (unsigned i = 0; i < SLOTS; i++)
                if (r->slots[i].live && (r->slots[i].pushes || r->slots[i].kind == '5'))
                    cancel(r, &r->slots[i]);
            drain(r);
        }
    }
    close_all(r, mem, size);
    free(mem);
}

static void run_new(run *r, const unsigned *how, script answers)
{
    memset(r, 0, sizeof *r);
    puts_to(&r->log, "");
    memcpy(r->how, how, sizeof r->how);
    r->w.now = 1000;
    r->w.rng = 88172645463325252ull + how[HOW_SEED];
    r->w.answers = answers;
    r->w.silent = (how[HOW_FLAGS] & FLAG_SILENT) != 0;
    r->w.refuse = how[HOW_REFUSE];
    r->w.stick = how[HOW_STICK];
    r->compare = how[0] & HOW_COMPARE;
}

static void run_free(run *r)
{
    wire *x = r->w.wires;

    free(r->log.p);
    for (unsigned i = 0; i < WIRES; i++)
        wire_reset(&x[i]);
}

static void compare(const unsigned *how, const unsigned char *todo, size_t n, script answers)
{
    static run first, other;

    run_new(&first, how, answers);
    run_once(&first, todo, n);
    for (unsigned way = 0; way < 3; way++) {
        if (way == 2 && how[HOW_STICK])
            break; /* other random bytes, other back-off: where it meets a deadline may differ */
        run_new(&other, how, answers);
        other.w.recv_max = 1;
        other.w.bounce = way == 1;
        other.ports = way == 2;
        run_once(&other, todo, n);
        /* A program that moves the bytes itself has other random bytes, so other
           back-offs, and hears later that a kept connection has ended: what
           is tried again or meets a deadline is a matter of time there. */
        if (way == 2 && (first.retried || other.retried || strstr(first.log.p, "DEADLINE") || strstr(other.log.p, "DEADLINE")))
            other.w.unfair = true;
        if (!first.w.unfair && !other.w.unfair && (first.log.n != other.log.n || memcmp(first.log.p, other.log.p, first.log.n))) {
            fprintf(stderr, "at once:\n%s\nway %u:\n%s\n", first.log.p, way, other.log.p);
            MUST(false, "the same bytes gave other events");
        }
        run_free(&other);
    }
    run_free(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run r;
    script s;
    unsigned how[HOW_COUNT];
    const unsigned char *todo;
    size_t n;

    s.p = data;
    s.end = data + size;
    for (unsigned i = 0; i < HOW_COUNT; i++)
        how[i] = number(&s);
    how[0] = (how[0] + '0') & HOW_COMPARE;
    line_end(&s);
    todo = s.p;
    while (!at_line_end(&s))
        s.p++;
    n = (size_t)(s.p - todo);
    line_end(&s);
    if (how[0]) {
        compare(how, todo, n, s);
        return 0;
    }
    run_new(&r, how, s);
    r.ports = how[HOW_FLAGS] & FLAG_PORTS;
    r.w.recv_max = r.w.send_max = how[HOW_PIECES];
    r.w.block = how[HOW_BLOCK] < 200 ? how[HOW_BLOCK] : 200;
    r.w.fail_at = how[HOW_FAIL];
    r.w.random_fail_at = how[HOW_ENTROPY];
    run_once(&r, todo, n);
    run_free(&r);
    return 0;
}
