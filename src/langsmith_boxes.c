#include "service.h"

SBXI_FN sbx_status sbxi_status_of(char text[16])
{
    static const char *const names[] = { "", "provisioning", "ready", "failed", "stopped", "deleting", "building" };

    if (!text[0])
        memcpy(text, "ready", 6); /* the service's default */
    for (unsigned i = 1; i < SBXI_COUNT(names); i++)
        if (strcmp(text, names[i]) == 0)
            return (sbx_status)i;
    return SBX_STATUS_UNKNOWN;
}

SBX_API bool sbx_box_named(sbx_box *box, sbx_str name, sbx_str url)
{
    memset(box, 0, sizeof *box);
    return name.n && name.n < sizeof box->name && url.n < sizeof box->url && !memchr(name.p, 0, name.n) && sbxi_copy_text(box->name, sizeof box->name, name) &&
           sbxi_copy_text(box->url, sizeof box->url, url);
}

/* ---- hooks ---- */

static void sbxi_box_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    sbx_box_info *info = (sbx_box_info *)model;

    (void)c;
    (void)op;
    info->status = sbxi_status_of(info->status_text);
}

SBXI_FN void sbxi_write_raw(const sbxi_http *h)
{
    if (h->raw_n)
        *h->raw_n = h->raw_total;
}

/* A missing answer (a body that is empty or null) leaves what is known. */
static bool sbxi_box_after(sbx_client *c, sbxi_op *op)
{
    const sbx_box_info *info = &op->block->answer.box;
    sbxi_http *h = &op->u.http;

    (void)c;
    if (h->out)
        *(sbx_box *)h->out = info->box;
    if (h->info && op->fail.code == SBX_OK)
        *(sbx_box_info *)h->info = *info;
    sbxi_write_raw(h);
    return false;
}

SBXI_FN bool sbxi_raw_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    sbxi_write_raw(&op->u.http);
    return false;
}

SBXI_FN bool sbxi_model_after(sbx_client *c, sbxi_op *op)
{
    if (op->u.http.out)
        memcpy(op->u.http.out, &op->block->answer, op->row->model->size);
    return sbxi_raw_after(c, op);
}

static void sbxi_status_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    sbx_status_info *s = (sbx_status_info *)model;

    (void)c;
    (void)op;
    if (!s->status_text[0])
        memcpy(s->status_text, "provisioning", 13);
    s->status = sbxi_status_of(s->status_text);
}

static bool sbxi_poll_after(sbx_client *c, sbxi_op *op);
static bool sbxi_start_after(sbx_client *c, sbxi_op *op);
#if SBX_NO_OWNED
#define SBXI_OWNED_HOOK(hook) NULL
#else
#define SBXI_OWNED_HOOK(hook) hook
static void sbxi_delete_finished(sbx_client *c, sbxi_op *op);
static void sbxi_create_finished(sbx_client *c, sbxi_op *op);
#endif

/* ---- rows ---- */

#define SBXI_BOX_ROW SBX_RESOURCE_SANDBOX, 0

static const sbxi_row sbxi_create_row = { "create", "POST", "/boxes", "", SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_box_model, &sbxi_create_rules, NULL, sbxi_box_after, sbxi_box_decoded, NULL, NULL, SBXI_OWNED_HOOK(sbxi_create_finished) };
static const sbxi_row sbxi_get_row = { "get", "GET", "/boxes/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_box_model, &sbxi_named_rules, NULL, sbxi_box_after, sbxi_box_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_list_row = { "list", "GET", "/boxes", "", SBXI_CTL, SBXI_ANSWER_LIST, SBXI_BOX_ROW, &sbxi_box_page_model, &sbxi_list_rules, NULL, sbxi_list_after, sbxi_box_decoded, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_update_row = { "update", "PATCH", "/boxes/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_box_model, &sbxi_update_rules, NULL, sbxi_box_after, sbxi_box_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_delete_row = { "delete", "DELETE", "/boxes/", "", SBXI_CTL, SBXI_ANSWER_NONE, SBXI_BOX_ROW, NULL, &sbxi_control_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, SBXI_OWNED_HOOK(sbxi_delete_finished) };
static const sbxi_row sbxi_status_row = { SBXI_APART("get_status"), "GET", "/boxes/", "/status", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_status_model, &sbxi_control_rules, NULL, sbxi_model_after, sbxi_status_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_poll_row = { "wait_ready", "GET", "/boxes/", "/status", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_status_model, &sbxi_control_rules, NULL, sbxi_poll_after, sbxi_status_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_start_row = { "start", "POST", "/boxes/", SBXI_APART("/start"), SBXI_CTL_ONCE, SBXI_ANSWER_NONE, SBXI_BOX_ROW, NULL, &sbxi_named_rules, NULL, sbxi_start_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_stop_row = { "stop", "POST", "/boxes/", SBXI_APART("/stop"), SBXI_CTL_ONCE, SBXI_ANSWER_NONE, SBXI_BOX_ROW, NULL, &sbxi_named_rules, NULL, sbxi_raw_after, NULL, NULL, NULL, NULL };

/* ---- polling ---- */

static SBXI_ONCE bool sbxi_next_row(sbxi_op *op, const sbxi_row *row)
{
    op->row = row;
    op->attempts = 0;
    op->block->body_n = 0;
    op->state = SBXI_OP_START;
    return true;
}

static bool sbxi_start_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    return sbxi_next_row(op, &sbxi_poll_row);
}

static bool sbxi_poll_failed(sbxi_op *op, sbx_code code, const char *word, const char *message)
{
    sbxi_failure *f = &op->block->failure;

    memset(f, 0, sizeof *f);
    sbxi_copy_z(f->type, sizeof f->type, word);
    sbxi_copy_z(f->text, sizeof f->text, message);
    op->fail.has_text = true;
    op->fail.resource = op->row->resource;
    sbxi_op_set_fail(op, code, SBX_LAYER_SERVICE, NULL);
    return false;
}

/* Each interval, within 10 %, the last sleep cut to the time that is left. */
SBXI_FN bool sbxi_poll(sbx_client *c, sbxi_op *op, const sbxi_row *row, sbx_status status, const char *word, const char *message)
{
    sbxi_http *h = &op->u.http;
    uint32_t every = (uint32_t)h->poll_ms;
    int64_t at;

    if (status == SBX_STATUS_FAILED)
        return sbxi_poll_failed(op, SBX_ERR_CREATION, word, message);
    if (c->net.now >= h->until)
        return sbxi_poll_failed(op, SBX_ERR_TIMEOUT, word, message);
    at = sbxi_after(c->net.now, every - every / 10 + sbxi_net_jitter(&c->net, every / 5 + 1));
    sbxi_next_row(op, row);
    op->state = SBXI_OP_PAUSE;
    op->wake_at = SBXI_MIN(at, h->until);
    return true;
}

static bool sbxi_poll_after(sbx_client *c, sbxi_op *op)
{
    const sbx_status_info *s = &op->block->answer.status;

    if (s->status == SBX_STATUS_READY)
        return sbxi_next_row(op, &sbxi_get_row);
    return sbxi_poll(c, op, &sbxi_poll_row, s->status, s->status_text, s->status_message);
}

SBXI_FN void sbxi_build_wait(sbxi_build *b, int32_t wait_s, int32_t wait_default_s, int32_t poll_ms, int32_t poll_default_ms)
{
    if (wait_s < SBX_FOREVER || poll_ms < 0)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, poll_ms < 0 ? "poll_ms" : "wait_s", poll_ms < 0 ? SBXI_T("must not be negative") : SBXI_T("must be positive seconds, 0 (the default) or SBX_FOREVER"));
    if (!b->op)
        return;
    b->op->u.http.until = wait_s < 0 ? -1 : (int64_t)(wait_s ? wait_s : wait_default_s) * 1000;
    b->op->u.http.poll_ms = poll_ms ? poll_ms : poll_default_ms;
}

/* ---- lists ---- */

static uint64_t sbxi_hash(const char *p)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *p; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    return h;
}

/* Puts the next page's place behind the filters; the headers move for it. */
static bool sbxi_list_place(sbx_client *c, sbxi_op *op, const char *name, sbx_str value)
{
    sbxi_block *b = op->block;
    char *text = sbxi_block_text(b), *headers = text + b->seg_n + b->query_n, *to;
    size_t name_n = strlen(name), value_n = sbxi_percent(NULL, 0, value, ""), filters = (size_t)op->u.http.pos;
    size_t query_n = filters + 2 + name_n + value_n;

    if (b->seg_n + query_n + b->header_n > c->desc.request_bytes) {
        sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("the next page's cursor does not fit: raise request_bytes"));
        return false;
    }
    memmove(text + b->seg_n + query_n, headers, b->header_n);
    to = text + b->seg_n + filters;
    *to = filters ? '&' : '?';
    memcpy(to + 1, name, name_n);
    to[1 + name_n] = '=';
    sbxi_percent(to + 2 + name_n, value_n, value, "");
    b->query_n = (uint32_t)query_n;
    return true;
}

static void sbxi_list_result(sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_list_result *r = (sbx_list_result *)h->out;
    const sbxi_page *page = &op->block->page;

    sbxi_write_raw(h);
    if (!r)
        return;
    memset(r, 0, sizeof *r);
    r->count = h->total;
    r->stored = h->sink.total / op->row->model->item->size;
    r->cut = h->sink.cap && r->stored < r->count;
    r->truncated = page->truncated;
    memcpy(r->next_cursor, page->next_cursor, sizeof r->next_cursor);
    r->next_offset = page->next_offset;
}

/* So many pages in a row may bring nothing new, each naming another one. */
#define SBXI_PAGES_IN_VAIN 1000

SBXI_FN bool sbxi_list_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    const sbxi_page *page = &op->block->page;
    bool more = page->next_cursor[0] || page->next_offset > 0;
    char digits[20];
    uint64_t place;

    if (op->fail.code != SBX_OK || h->one_page || !more) {
        sbxi_list_result(op);
        return false;
    }
    h->poll_ms = h->total == h->size ? h->poll_ms + 1 : 0;
    h->size = h->total;
    if (h->poll_ms > SBXI_PAGES_IN_VAIN) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the server named more than 1,000 pages in a row without an item"));
        return false;
    }
    place = page->next_cursor[0] ? sbxi_hash(page->next_cursor) : (uint64_t)page->next_offset;
    /* A place that does not move would never end. */
    if (place == h->cursor || place == h->skip || (!page->next_cursor[0] && place < h->cursor)) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the server names the same next page again"));
        return false;
    }
    /* Nor do places that go round: each is compared with the one that stood at
       the last power of two, which is in any circle sooner or later (Brent). */
    if (!(h->want & (h->want + 1)))
        h->skip = place;
    h->want++;
    h->cursor = place;
    if (page->next_cursor[0] ? !sbxi_list_place(c, op, "cursor", sbx_s(page->next_cursor))
                             : !sbxi_list_place(c, op, "offset", sbx_sn(digits, sbxi_u64_text(digits, place))))
        return false;
    return sbxi_next_row(op, op->row);
}

SBXI_FN bool sbxi_delete_failed(sbx_client *c, sbxi_op *op)
{
    /* The first attempt was carried out and its answer lost. */
    if (op->fail.status != 404 || op->attempts < 2)
        return false;
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
    sbxi_op_finish(c, op);
    return true;
}

/* ---- sandboxes that the client owns ---- */

#if SBX_NO_OWNED
SBXI_FN void sbxi_owned_run(sbx_client *c)
{
    if (c->shutdown != SBXI_NIL && c->ops[c->shutdown].state != SBXI_OP_DONE)
        sbxi_op_finish(c, &c->ops[c->shutdown]);
}
#else
enum { SBXI_OWNED_FREE, SBXI_OWNED_HELD, SBXI_OWNED_DELETING };

/* A create that was never sent left nothing behind. */
static void sbxi_create_finished(sbx_client *c, sbxi_op *op)
{
    for (uint32_t i = 0; i < c->desc.max_owned; i++) {
        sbxi_owned *o = &c->owned[i];

        if (o->state == SBXI_OWNED_HELD && o->op == sbxi_op_id(c, op)) {
            o->op = SBXI_NIL;
            if (op->fail.code != SBX_OK && (!(op->flags & SBXI_OP_EVER_SENT) || op->fail.code == SBX_ERR_CONFLICT || op->fail.code == SBX_ERR_VALIDATION))
                o->state = SBXI_OWNED_FREE;
        }
    }
}

static void sbxi_delete_finished(sbx_client *c, sbxi_op *op)
{
    bool gone = op->fail.code == SBX_OK || op->fail.code == SBX_ERR_NOT_FOUND;

    for (uint32_t i = 0; i < c->desc.max_owned; i++) {
        sbxi_owned *o = &c->owned[i];

        if (o->state == SBXI_OWNED_DELETING && o->op == sbxi_op_id(c, op)) {
            o->op = SBXI_NIL;
            o->state = gone ? SBXI_OWNED_FREE : SBXI_OWNED_HELD;
            if (!gone)
                o->failed = true;
        } else if (o->state == SBXI_OWNED_HELD && gone && op->box && strcmp(o->name, op->box->name) == 0) {
            o->state = SBXI_OWNED_FREE;
        }
    }
}

/* Starts the deletions of a shutdown, and ends it when none remains. */
SBXI_FN void sbxi_owned_run(sbx_client *c)
{
    sbxi_op *shut = c->shutdown == SBXI_NIL ? NULL : &c->ops[c->shutdown];
    uint32_t left = 0, tried = 0;
    sbx_call call;

    if (!c->closing)
        return;
    /* Its own deletions can outlast the shutdown. */
    for (uint32_t i = 0; i < c->desc.max_ops; i++)
        if (c->ops[i].state == SBXI_OP_DONE && c->ops[i].flags & SBXI_OP_INTERNAL)
            sbxi_op_free(c, &c->ops[i]);
    if (!shut || shut->state == SBXI_OP_DONE)
        return;
    memset(&call, 0, sizeof call);
    for (uint32_t i = 0; i < c->desc.max_owned; i++) {
        sbxi_owned *o = &c->owned[i];
        sbxi_build b;
        bool started;

        if (o->state == SBXI_OWNED_HELD && !o->failed) {
            c->closing = false;
            started = sbxi_build_begin(&b, c, &sbxi_delete_row, &call);
            c->closing = true;
            if (started) {
                sbxi_build_name(&b, sbx_s(o->name), "name");
                if (b.op) {
                    o->op = sbxi_op_id(c, b.op);
                    o->state = SBXI_OWNED_DELETING;
                    b.op->flags |= SBXI_OP_INTERNAL;
                    sbxi_build_end(&b);
                }
            }
        }
        left += o->state != SBXI_OWNED_FREE;
        tried += o->state != SBXI_OWNED_FREE && o->failed;
    }
    shut->exit_code = (int32_t)left;
    if (left == tried) {
        if (left)
            sbxi_op_fail(c, shut, SBX_ERR_SERVER, SBX_LAYER_SERVICE, SBXI_T("some sandboxes could not be deleted"));
        else
            sbxi_op_finish(c, shut);
    }
}

/* Notes the sandbox before it exists: its create's answer may be lost. */
static void sbxi_create_own(sbxi_build *b, const sbx_create_opts *o, sbx_jsonw *w)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[10];
    sbxi_owned *slot = NULL;

    if (!b->op)
        return;
    for (uint32_t i = 0; i < b->c->desc.max_owned; i++)
        if (b->c->owned[i].state == SBXI_OWNED_FREE)
            slot = &b->c->owned[i];
    if (!slot) {
        sbxi_build_refuse(b, SBX_ERR_FULL, "max_owned", SBXI_T("sandboxes are owned already: delete one, or raise it in sbx_client_desc"));
        return;
    }
    if (o->name.n) {
        sbxi_copy_text(slot->name, sizeof slot->name, o->name);
    } else {
        if (!sbxi_net_random(&b->c->net, random, sizeof random)) {
            sbxi_build_refuse(b, SBX_ERR_ENTROPY, NULL, NULL);
            return;
        }
        memcpy(slot->name, "sbx-", 4);
        for (unsigned i = 0; i < sizeof random; i++) {
            slot->name[4 + 2 * i] = digits[random[i] >> 4];
            slot->name[5 + 2 * i] = digits[random[i] & 15];
        }
        slot->name[4 + 2 * sizeof random] = 0;
        sbxi_build_text(w, "name", slot->name);
    }
    slot->state = SBXI_OWNED_HELD;
    slot->failed = false;
    slot->op = sbxi_op_id(b->c, b->op);
}

/* A create that was refused holds no place. */
static void sbxi_create_disown(sbx_client *c)
{
    for (uint32_t i = 0; i < c->desc.max_owned; i++)
        if (c->owned[i].state == SBXI_OWNED_HELD && c->owned[i].op != SBXI_NIL && c->ops[c->owned[i].op].state == SBXI_OP_FREE)
            c->owned[i].state = SBXI_OWNED_FREE;
}
#endif

/* ---- calls ---- */

static const char sbxi_why_one_snapshot[] = SBXI_T("excludes the other two ways to name a snapshot");

SBXI_FN const char *sbxi_labels_bad(const sbx_pair *labels, size_t n, const char **why)
{
    *why = SBXI_T("must be 128 at most, names of 1 to 256 and values of up to 4,096 bytes");
    if (n > 128 || (n && !labels))
        return SBXI_T("labels");
    for (size_t i = 0; i < n; i++)
        if (!labels[i].name.n || labels[i].name.n > 256 || labels[i].value.n > 4096)
            return SBXI_T("labels");
    return NULL;
}

static const char *sbxi_create_bad(const sbx_create_opts *o, const char **why)
{
    *why = sbxi_why_one_snapshot;
    if (o->snapshot.p && (o->snapshot_name.p || o->snapshot_id.p))
        return SBXI_T("snapshot");
    if (o->snapshot_name.p && o->snapshot_id.p)
        return SBXI_T("snapshot_name");
    if (sbxi_labels_bad(o->labels, o->labels_n, why))
        return SBXI_T("labels");
    *why = SBXI_T("and a snapshot exclude each other");
    if (o->template_name.p && (o->snapshot.p || o->snapshot_name.p || o->snapshot_id.p))
        return SBXI_T("template_name");
    *why = SBXI_T("must be 127 bytes at most");
    if (o->name.n > 127)
        return SBXI_T("name");
    *why = SBXI_T("and no_wait exclude each other");
    if (o->no_wait && o->wait_s)
        return SBXI_T("wait_s");
    return NULL;
}

#if SBX_NO_CONFIG
SBX_API const struct sbxi_config *sbx_typed_config(void)
{
    return NULL;
}
#endif

/* What writes typed forms; NULL: this client has nothing that does. */
static const struct sbxi_config *sbxi_config_of(const sbx_client *c)
{
    return !SBX_NO_CONFIG && c->desc.config ? c->desc.config() : NULL;
}

/* A typed form stands in place of the JSON one. */
static void sbxi_build_typed(sbxi_build *b, const struct sbxi_config *config, bool typed, bool excluded, const char *field)
{
    if (!typed)
        return;
    if (!config)
        sbxi_build_refuse(b, SBX_ERR_UNSUPPORTED, field, SBX_NO_CONFIG ? SBXI_T("is not in this build (SBX_NO_CONFIG): give it as JSON") : SBXI_T("needs `config` in the client's description: SBX_CONFIG"));
    else if (excluded)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("and its JSON form (mount_config, proxy_config, access_delegation), or its clearing, exclude each other"));
}

SBX_API sbx_op sbx_create(sbx_client *c, const sbx_create_opts *opts, sbx_box *out)
{
    const sbx_create_opts *o = opts ? opts : &sbxi_no_opts.create;
    const struct sbxi_config *config = sbxi_config_of(c);
    const char *why, *bad;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, &sbxi_create_row, &o->call))
        return b.refused;
    bad = sbxi_create_bad(o, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    sbxi_build_old(&b, o->template_name.p != NULL, "template_name");
    sbxi_build_old(&b, o->ttl_s != 0, "ttl_s");
    sbxi_build_typed(&b, config, o->mounts_n || o->mount_auth, o->mount_config.p != NULL, o->mounts_n ? "mounts" : "mount_auth");
    sbxi_build_typed(&b, config, o->proxy != NULL, o->proxy_config.p != NULL, "proxy");
    sbxi_build_typed(&b, config, o->access != NULL, o->access_delegation.p != NULL, "access");
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_opts(&b, &w, o->no_wait ? &sbxi_create_no_wait_schema : &sbxi_create_schema, o);
    if (config)
        sbxi_build_opts(&b, &w, config->create, o);
    bad = config && b.op ? config->mounts_bad(o, &why) : NULL;
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
#if SBX_NO_OWNED
    if (o->delete_on_close)
        sbxi_build_refuse(&b, SBX_ERR_UNSUPPORTED, "delete_on_close", SBXI_T("is not in this build (SBX_NO_OWNED)"));
#else
    if (o->delete_on_close)
        sbxi_create_own(&b, o, &w);
#endif
    sbxi_build_json_end(&b, &w);
    sbxi_build_result(&b, out, o->info, o->raw, o->raw_n);
    if (b.op && !o->call.timeout_ms)
        b.op->timeout_ms = o->no_wait ? 30000 : SBXI_MIN(o->wait_s > 0 ? o->wait_s : 30, 86400) * 1000 + 30000;
#if !SBX_NO_OWNED
    if (!b.op && o->delete_on_close)
        sbxi_create_disown(c);
#endif
    return sbxi_build_end(&b);
}

/* What get, update, status, wait, start, stop and delete have in common. */
static bool sbxi_box_call(sbxi_build *b, sbx_client *c, const sbxi_row *row, sbxi_as as, const sbx_box *box, const sbx_box_opts *o, void *out, void *info)
{
    if (!sbxi_build_begin_as(b, c, row, &o->call, as))
        return false;
    sbxi_build_box(b, box);
    sbxi_build_headers(b, &o->call);
    sbxi_build_result(b, out, info, o->raw, o->raw_n);
    return b->op != NULL;
}

SBXI_FN bool sbxi_name_call(sbxi_build *b, sbx_client *c, const sbxi_row *row, sbx_str name, const char *field, const sbx_box_opts *o, void *out, void *info)
{
    if (!sbxi_build_begin(b, c, row, &o->call))
        return false;
    sbxi_build_name(b, name, field);
    sbxi_build_headers(b, &o->call);
    sbxi_build_result(b, out, info, o->raw, o->raw_n);
    return b->op != NULL;
}

SBX_API sbx_op sbx_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info)
{
    sbxi_build b;

    sbxi_name_call(&b, c, &sbxi_get_row, name, "name", opts ? opts : &sbxi_no_opts.box, out, info);
    return sbxi_build_end(&b);
}

SBXI_FN sbx_op sbxi_list_call(sbx_client *c, const sbxi_row *row, const sbx_str *name, const sbx_list_opts *opts, sbx_list_result *out)
{
    const sbx_list_opts *o = opts ? opts : &sbxi_no_opts.list;
    uint32_t filters;
    char digits[20];
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, row, &o->call))
        return b.refused;
    if (name)
        sbxi_build_name(&b, *name, row->resource == SBX_RESOURCE_SANDBOX ? "box.name" : "name");
    if (o->offset < 0)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "offset", SBXI_T("must not be negative"));
    if (o->cursor.p && o->offset)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "cursor", SBXI_T("and offset exclude each other"));
    sbxi_build_query(&b, &sbxi_list_schema, o);
    filters = b.op ? b.op->block->query_n : 0;
    if (o->cursor.n)
        sbxi_build_param(&b, "cursor", o->cursor);
    if (o->offset > 0)
        sbxi_build_param(&b, "offset", sbx_sn(digits, sbxi_u64_text(digits, (uint64_t)o->offset)));
    sbxi_build_headers(&b, &o->call);
    sbxi_build_result(&b, out, NULL, o->raw, o->raw_n);
    if (b.op) {
        sbxi_http *h = &b.op->u.http;

        h->pos = filters;
        h->one_page = o->one_page;
        h->unique = !name;
        h->sink.p = (char *)o->items.p;
        h->sink.cap = o->items.p ? o->items.n : 0;
        if (!o->items.p)
            b.op->flags |= SBXI_OP_STREAMING;
    }
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_update(sbx_client *c, const sbx_box *box, const sbx_update_opts *opts, sbx_box *out, sbx_box_info *info)
{
    const sbx_update_opts *o = opts ? opts : &sbxi_no_opts.update;
    const struct sbxi_config *config = sbxi_config_of(c);
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin_as(&b, c, &sbxi_update_row, &o->call, SBXI_AS_UPDATE))
        return b.refused;
    if (o->clear_mask & ~(unsigned)(SBX_CLEAR_PROXY_CONFIG | SBX_CLEAR_RUN_CONFIG | SBX_CLEAR_TAGS))
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "clear_mask", SBXI_T("has a bit that clears nothing"));
    if (o->name.n > 127)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "name", SBXI_T("must be 127 bytes at most"));
    sbxi_build_old(&b, o->ttl_s != 0, "ttl_s");
    sbxi_build_typed(&b, config, o->proxy != NULL, o->proxy_config.p || o->clear_mask & SBX_CLEAR_PROXY_CONFIG, "proxy");
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_opts(&b, &w, &sbxi_update_schema, o);
    if (config)
        sbxi_build_opts(&b, &w, config->update, o);
    sbxi_build_json_end(&b, &w);
    sbxi_build_or_get(&b, &sbxi_get_row);
    sbxi_build_result(&b, out, info, o->raw, o->raw_n);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_delete(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts)
{
    sbxi_build b;

    sbxi_box_call(&b, c, &sbxi_delete_row, SBXI_AS_ROW, box, opts ? opts : &sbxi_no_opts.box, NULL, NULL);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_get_status(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_status_info *out)
{
    sbxi_build b;

    sbxi_box_call(&b, c, &sbxi_status_row, SBXI_AS_ROW, box, opts ? opts : &sbxi_no_opts.box, out, NULL);
    return sbxi_build_end(&b);
}

static void sbxi_box_body(sbxi_build *b)
{
    sbx_jsonw w;

    sbxi_build_json(b, &w);
    sbxi_build_json_end(b, &w);
}

static sbx_op sbxi_wait_call(sbx_client *c, const sbxi_row *row, const sbx_box *box, const sbx_box_opts *o, sbx_box *out, sbx_box_info *info)
{
    sbxi_build b;

    sbxi_box_call(&b, c, row, row == &sbxi_start_row ? SBXI_AS_START : SBXI_AS_WAIT_READY, box, o, out, info);
    sbxi_build_wait(&b, o->wait_s, 120, o->poll_ms, 1000);
    if (b.op && row == &sbxi_start_row)
        sbxi_box_body(&b);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_wait_ready(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info)
{
    return sbxi_wait_call(c, &sbxi_poll_row, box, opts ? opts : &sbxi_no_opts.box, out, info);
}

SBX_API sbx_op sbx_start(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info)
{
    return sbxi_wait_call(c, &sbxi_start_row, box, opts ? opts : &sbxi_no_opts.box, out, info);
}

SBX_API sbx_op sbx_stop(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts)
{
    sbxi_build b;

    if (sbxi_box_call(&b, c, &sbxi_stop_row, SBXI_AS_ROW, box, opts ? opts : &sbxi_no_opts.box, NULL, NULL))
        sbxi_box_body(&b);
    return sbxi_build_end(&b);
}
