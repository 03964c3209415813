#include "service.h"

/* ---- hooks ---- */

static bool sbxi_find_after(sbx_client *c, sbxi_op *op);

#define SBXI_DATA SBXI_BASE_BOX, SBXI_RETRY_SAFE
#define SBXI_FILE_ROW SBX_RESOURCE_FILE, 60000

static const sbxi_row sbxi_read_row = { "read", "GET", "/download", "", SBXI_DATA, SBXI_ANSWER_FILE, SBXI_FILE_ROW, NULL, &sbxi_data_rules, NULL, NULL, NULL, NULL, sbxi_read_failed, sbxi_read_finished };
static const sbxi_row sbxi_write_row = { "write", "POST", "/upload", "", SBXI_DATA, SBXI_ANSWER_NONE, SBXI_FILE_ROW, NULL, &sbxi_data_rules, NULL, NULL, NULL, NULL, sbxi_push_failed, NULL };
static const sbxi_row sbxi_stat_row = { "stat", "HEAD", "/download", "", SBXI_DATA, SBXI_ANSWER_STAT, SBXI_FILE_ROW, NULL, &sbxi_data_rules, NULL, sbxi_stat_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_glob_row = { "glob", "POST", SBXI_APART("/glob"), "", SBXI_DATA, SBXI_ANSWER_LIST, SBXI_FILE_ROW, &sbxi_match_page_model, &sbxi_find_rules, NULL, sbxi_find_after, NULL, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_grep_row = { "grep", "POST", SBXI_APART("/grep"), "", SBXI_DATA, SBXI_ANSWER_LIST, SBXI_FILE_ROW, &sbxi_match_page_model, &sbxi_find_rules, NULL, sbxi_find_after, NULL, sbxi_op_item, NULL, NULL };

/* ---- read ---- */

/* A transfer that broke goes on where it stopped, if the file can be told from
   a changed one; nothing is lost of what came. */
SBXI_FN bool sbxi_read_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;

    if (op->fail.status >= 300)
        return false;
    if (h->total && h->want && h->total >= h->want) {
        op->fail.sys = 0;
        sbxi_op_fail(c, op, SBX_OK, SBX_LAYER_NONE, NULL); /* all that was asked for had come */
        return true;
    }
    if (h->total && (!h->resume || !op->block || !op->block->stat_known)) {
        sbxi_op_finish(c, op);
        return true;
    }
    return false;
}

SBXI_FN void sbxi_read_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_read_result *r = (sbx_read_result *)h->out;

    if (op->fail.code != SBX_OK || !r) {
        if (op->flags & SBXI_OP_ALLOC)
            sbx_free(c, h->sink.p);
        return;
    }
    memset(r, 0, sizeof *r);
    r->n = sbxi_sink_n(&h->sink);
    r->total = h->total;
    r->size = h->size;
    r->offset = h->pos;
    r->cut = !(op->flags & SBXI_OP_STREAMING) && r->n < h->total;
    r->not_modified = h->not_modified;
    r->stat = op->block->answer.stat;
    if (h->size != UINT64_MAX)
        r->stat.size = h->size;
    if (op->flags & SBXI_OP_ALLOC) {
        if (h->sink.p)
            h->sink.p[r->n] = 0;
        r->p = h->sink.p;
    }
}

static const char *sbxi_read_bad(const sbx_read_opts *o, const char **why)
{
    *why = SBXI_T("must not be negative");
    if (o->length < 0)
        return SBXI_T("length");
    *why = SBXI_T("cannot be given with a negative offset (the last bytes are meant)");
    if (o->offset < 0 && o->length)
        return SBXI_T("length");
    *why = SBXI_T("must be above -2^63, and with length 2^63 - 1 at most");
    if (o->offset == INT64_MIN || (o->offset > 0 && o->length > INT64_MAX - o->offset))
        return SBXI_T("offset");
    *why = SBXI_T("excludes a buffer and alloc");
    if (o->stream && (o->out.p || o->alloc))
        return SBXI_T("stream");
    *why = SBXI_T("needs alloc: a buffer's size is a cap of its own");
    if (o->max_bytes && !o->alloc)
        return SBXI_T("max_bytes");
    return NULL;
}

SBXI_FN sbx_op sbxi_read_call(sbxi_build *b, const sbx_read_opts *o, sbx_read_result *out)
{
    const char *why, *bad;
    sbxi_http *h;

    bad = sbxi_read_bad(o, &why);
    if (bad)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, bad, why);
    else if (!o->stream && !o->out.p && !o->alloc)
        sbxi_build_refuse(b, SBX_ERR_NO_BUFFER, "out", SBXI_T("must be given, or alloc, or stream"));
    sbxi_build_headers(b, &o->call);
    sbxi_build_header(b, "If-None-Match", o->if_none_match, "if_none_match");
    sbxi_build_header(b, "If-Range", o->if_match_etag, "if_match_etag");
    /* A compressed body would not be the file's bytes. */
    sbxi_build_header(b, "Accept-Encoding", sbx_s("identity"), NULL);
    if (!b->op)
        return b->refused;
    h = &b->op->u.http;
    if (!sbxi_build_sink(b, &h->sink, o->out, o->alloc, o->max_bytes, (size_t)64 << 20))
        return b->refused;
    h->out = out;
    h->size = UINT64_MAX;
    h->resume = !o->no_resume && !o->if_match_etag.n;
    h->if_range = o->if_match_etag.n != 0;
    h->from_end = o->offset < 0;
    if (h->from_end)
        h->want = (uint64_t)-o->offset;
    else {
        h->pos = (uint64_t)o->offset;
        h->want = (uint64_t)o->length;
    }
    if (o->stream)
        b->op->flags |= SBXI_OP_STREAMING;
    return sbxi_build_end(b);
}

SBX_API sbx_op sbx_read(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_read_opts *opts, sbx_read_result *out)
{
    const sbx_read_opts *o = opts ? opts : &sbxi_no_opts.read;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_read_row, &o->call))
        return b.refused;
    sbxi_build_box(&b, box);
    sbxi_build_path(&b, path);
    return sbxi_read_call(&b, o, out);
}

/* ---- write ---- */

static const char sbxi_part_head[] = "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\nContent-Type: application/octet-stream\r\n\r\n";

/* The frame of the one part: "--B", its headers; behind the data "\r\n--B--\r\n". */
static void sbxi_write_frame(sbxi_build *b)
{
    static const char digits[] = "0123456789abcdef";
    sbxi_block *block;
    unsigned char random[12];
    size_t room, n = sizeof random * 2;
    char *p;

    if (!b->op)
        return;
    if (!sbxi_net_random(&b->c->net, random, sizeof random)) {
        sbxi_build_refuse(b, SBX_ERR_ENTROPY, NULL, NULL);
        return;
    }
    block = b->op->block;
    for (unsigned i = 0; i < sizeof random; i++) {
        block->boundary[2 * i] = digits[random[i] >> 4];
        block->boundary[2 * i + 1] = digits[random[i] & 15];
    }
    p = sbxi_op_room(b->c, b->op, &room);
    if (room < 2 * n + sizeof sbxi_part_head + 10) {
        sbxi_build_refuse(b, SBX_ERR_TOO_LARGE, "request_bytes", SBXI_T("is too small for this request: raise it in the client's description"));
        return;
    }
    memcpy(p, "--", 2);
    memcpy(p + 2, block->boundary, n);
    memcpy(p + 2 + n, sbxi_part_head, sizeof sbxi_part_head - 1);
    b->op->u.http.want = 2 + n + sizeof sbxi_part_head - 1;
    p += b->op->u.http.want;
    memcpy(p, "\r\n--", 4);
    memcpy(p + 4, block->boundary, n);
    memcpy(p + 4 + n, "--\r\n", 4);
    block->body_n = (uint32_t)(b->op->u.http.want + 8 + n);
}

/* Bytes that were pushed, and their end, are the caller's to give again. */
SBXI_FN bool sbxi_push_failed(sbx_client *c, sbxi_op *op)
{
    const sbxi_fail *f = &op->fail;

    if (!op->u.http.pushed || !(op->u.http.pos || op->flags & SBXI_OP_PUSH_END))
        return false;
    if (op->row->retry == SBXI_RETRY_ONCE && op->flags & SBXI_OP_SENT)
        return false;
    if ((f->status && f->status != 429 && f->status != 502 && f->status != 503 && f->status != 504) || op->attempts > op->max_retries ||
        (!f->status && f->code != SBX_ERR_CONNECTION && f->code != SBX_ERR_DEADLINE)) {
        sbxi_op_finish(c, op);
        return true;
    }
    sbxi_op_release_link(c, op, false);
    op->flags &= (uint16_t)~(SBXI_OP_SENT | SBXI_OP_FAILING | SBXI_OP_DRAIN | SBXI_OP_PUSH_END);
    op->state = SBXI_OP_REWIND;
    op->attempt_at = SBXI_NEVER;
    op->notes |= SBXI_NOTE_REWIND;
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, SBXI_LIST_EVENT);
    return true;
}

SBX_API sbx_code sbx_rewind(sbx_client *c, sbx_op handle)
{
    sbxi_op *op = sbxi_op_get(c, handle);

    if (!op)
        return SBX_ERR_HANDLE;
    if (op->state != SBXI_OP_REWIND || c->net.inside)
        return SBX_ERR_STATE;
    op->u.http.pos = 0;
    op->fail.status = 0;
    op->fail.code = SBX_OK;
    op->fail.has_text = false;
    op->flags |= SBXI_OP_WANTS_ROOM;
    op->state = SBXI_OP_PAUSE;
    op->wake_at = sbxi_after(c->net.now, sbxi_backoff(c, (unsigned)SBXI_MAX(op->attempts, 1) - 1, 1000, 10000));
    sbxi_op_arm(c, op);
    return SBX_OK;
}

SBX_API sbx_op sbx_write(sbx_client *c, const sbx_box *box, sbx_str path, sbx_str data, const sbx_write_opts *opts)
{
    const sbx_write_opts *o = opts ? opts : &sbxi_no_opts.write;
    sbxi_build b;
    sbxi_http *h;

    if (!sbxi_build_begin(&b, c, &sbxi_write_row, &o->call))
        return b.refused;
    if (o->stream && data.n)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "stream", SBXI_T("and data exclude each other"));
    else if (!o->stream && o->size)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "size", SBXI_T("belongs to stream"));
    else if (o->size < SBX_NONE)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "size", SBXI_T("must be 0 or more, or SBX_NONE"));
    sbxi_build_box(&b, box);
    sbxi_build_path(&b, path);
    sbxi_build_headers(&b, &o->call);
    sbxi_write_frame(&b);
    if (!b.op)
        return b.refused;
    h = &b.op->u.http;
    h->data = data.p;
    h->size = o->stream ? (uint64_t)o->size : data.n;
    h->chunked = o->stream && o->size == SBX_NONE;
    h->pushed = o->stream;
    if (o->stream)
        b.op->flags |= SBXI_OP_STREAMING | SBXI_OP_WANTS_ROOM;
    return sbxi_build_end(&b);
}

/* As much of data as the send buffer has room for; its length. */
static size_t sbxi_push_some(sbx_client *c, sbxi_op *op, sbx_str data)
{
    sbxi_link *l = sbxi_op_link(c, op);
    size_t room, n, frame = op->u.http.chunked ? 20 : 0;
    char size[18];
    sbxi_got got;
    char *p = sbxi_link_room(&c->net, l, &room, &got);

    if (!p || room <= frame)
        return 0;
    n = SBXI_MIN(data.n, room - frame);
    if (op->u.http.chunked) {
        size_t size_n = sbx_http1_chunk(size, n);

        memcpy(p, size, size_n);
        memcpy(p + size_n, data.p, n);
        memcpy(p + size_n + n, "\r\n", 2);
        l->tx_end += (uint32_t)(size_n + n + 2);
    } else {
        memcpy(p, data.p, n);
        l->tx_end += (uint32_t)n;
    }
    return n;
}

SBX_API sbx_code sbx_push(sbx_client *c, sbx_op handle, sbx_str data, bool end, size_t *taken)
{
    sbxi_op *op = sbxi_op_get(c, handle);
    sbxi_http *h;

    *taken = 0;
    if (!op)
        return SBX_ERR_HANDLE;
    h = &op->u.http;
    if (op->row->answer == SBXI_ANSWER_STREAM || !op->u.http.pushed || op->flags & SBXI_OP_PUSH_END || op->state == SBXI_OP_REWIND || op->state == SBXI_OP_DONE || c->net.inside)
        return SBX_ERR_STATE;
    if (!h->chunked && (data.n > h->size - h->pos || (end && h->pos + data.n != h->size)))
        return SBX_ERR_ARGUMENT;
    while (data.n > *taken && op->state == SBXI_OP_SEND && sbxi_is_upload(op) && h->step == 1 && !op->block->overflow) {
        size_t n = sbxi_push_some(c, op, sbx_sn(data.p + *taken, data.n - *taken));

        *taken += n;
        h->pos += n;
        if (sbxi_link_flush(&c->net, sbxi_op_link(c, op)) != SBXI_GOT_EVENT || !n)
            break;
    }
    if (*taken < data.n)
        op->flags |= SBXI_OP_WANTS_ROOM;
    else if (end && (op->state == SBXI_OP_SEND || !data.n) && (h->chunked || h->pos == h->size))
        op->flags |= SBXI_OP_PUSH_END;
    if (op->state == SBXI_OP_SEND) {
        sbxi_op_allow(c, op, op->timeout_ms);
    }
    /* It runs, whatever its connection said: a failure is dealt with there. */
    sbxi_op_wake(c, op);
    return SBX_OK;
}

/* ---- stat and search ---- */

SBXI_FN bool sbxi_stat_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    if (op->u.http.out)
        *(sbx_file_stat *)op->u.http.out = op->block->answer.stat;
    return false;
}

SBXI_FN sbx_op sbxi_stat_call(sbxi_build *b, const sbx_box_opts *o, sbx_file_stat *out)
{
    sbxi_build_headers(b, &o->call);
    sbxi_build_header(b, "Accept-Encoding", sbx_s("identity"), NULL);
    if (b->op)
        b->op->u.http.out = out;
    return sbxi_build_end(b);
}

SBX_API sbx_op sbx_stat(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_box_opts *opts, sbx_file_stat *out)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_stat_row, &o->call))
        return b.refused;
    sbxi_build_box(&b, box);
    sbxi_build_path(&b, path);
    return sbxi_stat_call(&b, o, out);
}

static bool sbxi_find_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_list_result *r = (sbx_list_result *)h->out;

    (void)c;
    if (!r)
        return false;
    memset(r, 0, sizeof *r);
    r->count = h->total;
    r->stored = h->sink.total / sizeof(sbx_match);
    r->cut = h->sink.cap && r->stored < r->count;
    r->truncated = op->block->page.truncated;
    return false;
}

static sbx_op sbxi_find(sbx_client *c, const sbxi_row *row, sbxi_as as, const sbx_box *box, sbx_str pattern, sbx_str path, const sbx_find_opts *opts, sbx_list_result *out)
{
    const sbx_find_opts *o = opts ? opts : &sbxi_no_opts.find;
    const char *argument = row == &sbxi_grep_row ? "text" : "pattern";
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin_as(&b, c, row, &o->call, as))
        return b.refused;
    if (!pattern.n || (path.p && !path.n))
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, pattern.n ? "path" : argument, SBXI_T("must not be empty"));
    if (b.op && o->glob.p && row != &sbxi_grep_row)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "glob", SBXI_T("belongs to grep"));
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_member(&b, &w, "pattern", pattern, argument);
    sbxi_build_member(&b, &w, "path", path.p ? path : sbx_s("/"), "path");
    sbxi_build_opts(&b, &w, &sbxi_find_schema, o);
    sbxi_build_json_end(&b, &w);
    if (b.op) {
        sbxi_http *h = &b.op->u.http;

        h->out = out;
        h->sink.p = (char *)o->items.p;
        h->sink.cap = o->items.p ? o->items.n : 0;
        if (!o->items.p)
            b.op->flags |= SBXI_OP_STREAMING;
    }
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_glob(sbx_client *c, const sbx_box *box, sbx_str pattern, const sbx_find_opts *opts, sbx_list_result *out)
{
    return sbxi_find(c, &sbxi_glob_row, SBXI_AS_ROW, box, pattern, opts ? opts->path : sbx_sn(NULL, 0), opts, out);
}

SBX_API sbx_op sbx_ls(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_find_opts *opts, sbx_list_result *out)
{
    return sbxi_find(c, &sbxi_glob_row, SBXI_AS_LS, box, sbx_s("*"), path, opts, out);
}

SBX_API sbx_op sbx_grep(sbx_client *c, const sbx_box *box, sbx_str text, const sbx_find_opts *opts, sbx_list_result *out)
{
    return sbxi_find(c, &sbxi_grep_row, SBXI_AS_ROW, box, text, opts ? opts->path : sbx_sn(NULL, 0), opts, out);
}
