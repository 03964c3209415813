#include "service.h"

/* ---- hooks ---- */

static void sbxi_snapshot_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    sbx_snapshot *s = (sbx_snapshot *)model;

    (void)c;
    (void)op;
    if (!s->status_text[0])
        memcpy(s->status_text, "building", 9);
    s->status = sbxi_status_of(s->status_text);
}

static bool sbxi_snapshot_polled(sbx_client *c, sbxi_op *op);
static bool sbxi_snapshot_made(sbx_client *c, sbxi_op *op);

/* ---- rows ---- */

#define SBXI_SNAPSHOT_ROW SBX_RESOURCE_SNAPSHOT, 0
/* The POST answers when the work has begun, which may take a moment. */
#define SBXI_MAKE_ROW SBX_RESOURCE_SNAPSHOT, 30000

static const sbxi_row sbxi_snapshot_build_row = { "snapshot_build", "POST", "/snapshots", "", SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, SBXI_MAKE_ROW, &sbxi_snapshot_model, &sbxi_snapshot_build_rules, NULL, sbxi_snapshot_made, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_built_row = { "snapshot_build", "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_snapshot_polled, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_capture_row = { "snapshot_capture", "POST", "/boxes/", SBXI_APART("/snapshot"), SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, SBXI_MAKE_ROW, &sbxi_snapshot_model, &sbxi_snapshot_capture_rules, NULL, sbxi_snapshot_made, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_captured_row = { "snapshot_capture", "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_snapshot_polled, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_wait_row = { SBXI_APART("snapshot_wait"), "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_snapshot_polled, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_get_row = { SBXI_APART("snapshot_get"), "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_model_after, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_delete_row = { SBXI_APART("snapshot_delete"), "DELETE", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_NONE, SBXI_SNAPSHOT_ROW, NULL, &sbxi_drop_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL };
static const sbxi_row sbxi_snapshot_list_row = { SBXI_APART("snapshot_list"), "GET", "/snapshots", "", SBXI_CTL, SBXI_ANSWER_LIST, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_page_model, &sbxi_list_rules, NULL, sbxi_list_after, sbxi_snapshot_decoded, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_snapshot_tags_row = { SBXI_APART("snapshot_tags"), "GET", SBXI_APART("/snapshots-by-name/"), "", SBXI_CTL, SBXI_ANSWER_LIST, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_tags_model, &sbxi_named_rules, NULL, sbxi_list_after, NULL, sbxi_op_item, NULL, NULL };

/* ---- waiting ---- */

static bool sbxi_snapshot_poll(sbx_client *c, sbxi_op *op, const sbxi_row *row)
{
    const sbx_snapshot *s = &op->block->answer.snapshot;

    if (op->fail.code != SBX_OK || s->status == SBX_STATUS_READY)
        return sbxi_model_after(c, op);
    return sbxi_poll(c, op, row, s->status, s->status_text, s->status_message);
}

static bool sbxi_snapshot_polled(sbx_client *c, sbxi_op *op)
{
    return sbxi_snapshot_poll(c, op, op->row);
}

/* What was just begun is asked for by its id. */
static bool sbxi_snapshot_made(sbx_client *c, sbxi_op *op)
{
    const sbx_snapshot *s = &op->block->answer.snapshot;
    bool over = op->fail.code != SBX_OK || s->status == SBX_STATUS_READY || s->status == SBX_STATUS_FAILED;

    if (!op->u.http.until)
        return sbxi_model_after(c, op);
    if (!over && !s->id[0]) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the server names no id for the snapshot that it makes: look for its name"));
        return false;
    }
    if (!over && !sbxi_op_resegment(c, op, sbx_s(s->id))) {
        sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("the snapshot's id does not fit: raise request_bytes"));
        return false;
    }
    return sbxi_snapshot_poll(c, op, op->row == &sbxi_snapshot_build_row ? &sbxi_snapshot_built_row : &sbxi_snapshot_captured_row);
}

/* ---- calls on snapshots ---- */

static const char *sbxi_snapshot_bad(const sbxi_row *row, const sbx_snapshot_opts *o, const char **why)
{
    bool build = row == &sbxi_snapshot_build_row;

    *why = SBXI_T("belongs to sbx_snapshot_build");
    if (!build && (o->registry_id.p || o->registry_url.p || o->registry_username.p || o->registry_password.p))
        return o->registry_id.p ? "registry_id" : o->registry_url.p ? "registry_url" : o->registry_username.p ? "registry_username" : "registry_password";
    *why = SBXI_T("belongs to sbx_snapshot_capture");
    if (build && (o->docker_image.p || o->checkpoint.p || o->include_memory))
        return o->docker_image.p ? "docker_image" : o->checkpoint.p ? "checkpoint" : "include_memory";
    *why = SBXI_T("and no_wait exclude each other");
    if (o->no_wait && o->wait_s)
        return "wait_s";
    return sbxi_labels_bad(o->labels, o->labels_n, why);
}

static sbx_op sbxi_snapshot_make(sbx_client *c, const sbxi_row *row, const sbx_box *box, sbx_str name, sbx_str image, const sbx_snapshot_opts *opts, sbx_snapshot *out)
{
    const sbx_snapshot_opts *o = opts ? opts : &sbxi_no_opts.snapshot;
    bool build = row == &sbxi_snapshot_build_row;
    const char *why, *bad;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, row, &o->call))
        return b.refused;
    bad = sbxi_snapshot_bad(row, o, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    if (!build)
        sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_needed(&b, &w, "name", name, "name", 127);
    if (build)
        sbxi_build_needed(&b, &w, "docker_image", image, "image", SIZE_MAX);
    sbxi_build_opts(&b, &w, build ? &sbxi_snapshot_build_schema : &sbxi_snapshot_capture_schema, o);
    sbxi_build_json_end(&b, &w);
    sbxi_build_result(&b, out, NULL, o->raw, o->raw_n);
    if (!o->no_wait)
        sbxi_build_wait(&b, o->wait_s, 60, o->poll_ms, 2000);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_snapshot_build(sbx_client *c, sbx_str name, sbx_str image, const sbx_snapshot_opts *opts, sbx_snapshot *out)
{
    return sbxi_snapshot_make(c, &sbxi_snapshot_build_row, NULL, name, image, opts, out);
}

SBX_API sbx_op sbx_snapshot_capture(sbx_client *c, const sbx_box *box, sbx_str name, const sbx_snapshot_opts *opts, sbx_snapshot *out)
{
    return sbxi_snapshot_make(c, &sbxi_snapshot_capture_row, box, name, sbx_s(NULL), opts, out);
}

static SBXI_NOINLINE sbx_op sbxi_named_call(sbx_client *c, const sbxi_row *row, sbx_str name, const sbx_box_opts *opts, void *out)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    bool registry = row->resource == SBX_RESOURCE_REGISTRY;
    sbxi_build b;

    sbxi_name_call(&b, c, row, name, registry ? SBXI_T("name") : SBXI_T("snapshot"), o, out, NULL);
    if (row == &sbxi_snapshot_wait_row)
        sbxi_build_wait(&b, o->wait_s, 300, o->poll_ms, 2000);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_snapshot_get(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts, sbx_snapshot *out)
{
    return sbxi_named_call(c, &sbxi_snapshot_get_row, snapshot, opts, out);
}

SBX_API sbx_op sbx_snapshot_wait(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts, sbx_snapshot *out)
{
    return sbxi_named_call(c, &sbxi_snapshot_wait_row, snapshot, opts, out);
}

SBX_API sbx_op sbx_snapshot_delete(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts)
{
    return sbxi_named_call(c, &sbxi_snapshot_delete_row, snapshot, opts, NULL);
}

SBX_API sbx_op sbx_snapshot_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_snapshot_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_snapshot_tags(sbx_client *c, sbx_str name, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_snapshot_tags_row, &name, opts, out);
}

/* ---- registries ---- */

#define SBXI_ROOT SBXI_BASE_ROOT, SBXI_RETRY_SAFE
#define SBXI_REGISTRY_ROW SBX_RESOURCE_REGISTRY, 0

static const char sbxi_registries[] = "/api/v2/sandboxes/registries", sbxi_registries_of[] = "/api/v2/sandboxes/registries/";

static const sbxi_row sbxi_registry_create_row = { SBXI_APART("registry_create"), "POST", sbxi_registries, "", SBXI_BASE_ROOT, SBXI_RETRY_ONCE, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_made_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_get_row = { SBXI_APART("registry_get"), "GET", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_named_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_update_row = { "registry_update", "PATCH", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_named_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_reget_row = { "registry_update", "GET", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_named_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_delete_row = { SBXI_APART("registry_delete"), "DELETE", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_NONE, SBXI_REGISTRY_ROW, NULL, &sbxi_drop_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL };
static const sbxi_row sbxi_registry_list_row = { SBXI_APART("registry_list"), "GET", sbxi_registries, "", SBXI_ROOT, SBXI_ANSWER_LIST, SBXI_REGISTRY_ROW, &sbxi_registry_page_model, &sbxi_list_rules, NULL, sbxi_list_after, NULL, sbxi_op_item, NULL, NULL };

static sbx_op sbxi_registry_write(sbx_client *c, const sbxi_row *row, sbx_str name, const sbx_registry_opts *opts, sbx_registry *out)
{
    const sbx_registry_opts *o = opts ? opts : &sbxi_no_opts.registry;
    bool create = row == &sbxi_registry_create_row;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, row, &o->call))
        return b.refused;
    if (!create)
        sbxi_build_name(&b, name, "name");
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    if (create || o->name.p)
        sbxi_build_needed(&b, &w, "name", o->name, "name", 127);
    if (create)
        sbxi_build_needed(&b, &w, "url", o->url, "url", SIZE_MAX);
    sbxi_build_opts(&b, &w, create ? &sbxi_registry_create_schema : &sbxi_registry_update_schema, o);
    sbxi_build_json_end(&b, &w);
    if (!create)
        sbxi_build_or_get(&b, &sbxi_registry_reget_row);
    sbxi_build_result(&b, out, NULL, o->raw, o->raw_n);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_registry_create(sbx_client *c, const sbx_registry_opts *opts, sbx_registry *out)
{
    return sbxi_registry_write(c, &sbxi_registry_create_row, sbx_s(NULL), opts, out);
}

SBX_API sbx_op sbx_registry_update(sbx_client *c, sbx_str name, const sbx_registry_opts *opts, sbx_registry *out)
{
    return sbxi_registry_write(c, &sbxi_registry_update_row, name, opts, out);
}

SBX_API sbx_op sbx_registry_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_registry *out)
{
    return sbxi_named_call(c, &sbxi_registry_get_row, name, opts, out);
}

SBX_API sbx_op sbx_registry_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_named_call(c, &sbxi_registry_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_registry_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_registry_list_row, NULL, opts, out);
}
