#include "service.h"

#if !SBX_NO_LEGACY

/* ---- answers ---- */

/* What all three have. */
#define SBXI_OLD(name, kind, type, member) SBXI_FIELD(name, kind, type, member)
#define SBXI_OLD_HEAD(type) SBXI_OLD("id", SBXI_F_ID, type, id), SBXI_OLD("name", SBXI_F_ID, type, name)
#define SBXI_OLD_TIMES(type) SBXI_OLD("created_at", SBXI_F_TIME, type, created_ms), SBXI_OLD("updated_at", SBXI_F_TIME, type, updated_ms)
#define SBXI_OLD_MODEL(fields, any_depth, type, minus) { fields, SBXI_COUNT(fields), any_depth, minus, offsetof(type, cut), NULL }

static const sbxi_field sbxi_template_fields[] = {
    SBXI_OLD_HEAD(sbx_template),
    SBXI_OLD("image", SBXI_F_TEXT, sbx_template, image),
    SBXI_OLD("cpu", SBXI_F_TEXT, sbx_template, cpu), /* these three stand inside `resources` */
    SBXI_OLD("memory", SBXI_F_TEXT, sbx_template, memory),
    SBXI_OLD("storage", SBXI_F_TEXT, sbx_template, storage),
    SBXI_OLD_TIMES(sbx_template),
};
static const sbxi_model sbxi_template_model = SBXI_OLD_MODEL(sbxi_template_fields, true, sbx_template, SBXI_NO_MINUS(sbx_template));

static const sbxi_field sbxi_volume_fields[] = {
    SBXI_OLD_HEAD(sbx_volume),
    SBXI_OLD("size", SBXI_F_TEXT, sbx_volume, size),
    SBXI_OLD("storage_class", SBXI_F_TEXT, sbx_volume, storage_class),
    SBXI_OLD_TIMES(sbx_volume),
};
static const sbxi_model sbxi_volume_model = SBXI_OLD_MODEL(sbxi_volume_fields, false, sbx_volume, SBXI_NO_MINUS(sbx_volume));

static const sbxi_field sbxi_pool_fields[] = {
    SBXI_OLD_HEAD(sbx_pool),
    SBXI_OLD("template_name", SBXI_F_ID, sbx_pool, template_name),
    SBXI_OLD("replicas", SBXI_F_I64, sbx_pool, replicas),
    SBXI_OLD_TIMES(sbx_pool),
};

static const sbxi_model sbxi_pool_model = SBXI_OLD_MODEL(sbxi_pool_fields, false, sbx_pool, SBXI_MINUS(sbx_pool, replicas, replicas));

/* The arrays have no member of their own: `truncated` only stands in. */
static const sbxi_field sbxi_old_page_fields[] = {
    SBXI_OLD("templates", SBXI_F_LIST, sbxi_page, truncated),
    SBXI_OLD("volumes", SBXI_F_LIST, sbxi_page, truncated),
    SBXI_OLD("pools", SBXI_F_LIST, sbxi_page, truncated),
};
#define SBXI_OLD_PAGE(item) { sbxi_old_page_fields, SBXI_COUNT(sbxi_old_page_fields), false, SBXI_NO_MINUS(sbxi_page), 0, item }
static const sbxi_model sbxi_template_page_model = SBXI_OLD_PAGE(&sbxi_template_model);
static const sbxi_model sbxi_volume_page_model = SBXI_OLD_PAGE(&sbxi_volume_model);
static const sbxi_model sbxi_pool_page_model = SBXI_OLD_PAGE(&sbxi_pool_model);

/* ---- requests ---- */

#define SBXI_OLDP(name, kind, type, member) { SBXI_PARAM_NAMES(name, #member), (uint8_t)(kind), 0, (uint16_t)offsetof(type, member), 0, NULL }
#define SBXI_OLD_WAIT(type, seconds) { SBXI_PARAM_NAMES("timeout", "wait_s"), SBXI_P_SECONDS, 0, (uint16_t)offsetof(type, wait_s), SBXI_ARG(seconds), NULL }
#define SBXI_OLD_NEED(name, type, member) SBXI_OLDP(name, SBXI_P_STR | SBXI_P_NEED, type, member)

static const sbxi_param sbxi_resources_params[] = {
    SBXI_OLDP("cpu", SBXI_P_STR, sbx_template_opts, cpu),
    SBXI_OLDP("memory", SBXI_P_STR, sbx_template_opts, memory),
    SBXI_OLDP("storage", SBXI_P_STR, sbx_template_opts, storage),
};

static const char *sbxi_resources_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_template_opts *o = (const sbx_template_opts *)at;

    (void)why;
    if (!o->cpu.p)
        sbxi_build_text(w, "cpu", "500m");
    if (!o->memory.p)
        sbxi_build_text(w, "memory", "512Mi");
    return NULL;
}

static const sbxi_shape sbxi_resources_shape = { { sbxi_resources_params, SBXI_COUNT(sbxi_resources_params), 0 }, sizeof(sbx_template_opts), sbxi_resources_begin };

static const sbxi_param sbxi_volume_mount_params[] = {
    SBXI_OLD_NEED("volume_name", sbx_volume_mount, volume_name),
    SBXI_OLD_NEED("mount_path", sbx_volume_mount, mount_path),
};
static const sbxi_shape sbxi_volume_mount_shape = { { sbxi_volume_mount_params, SBXI_COUNT(sbxi_volume_mount_params), 0 }, sizeof(sbx_volume_mount), NULL };

/* `resources` are members of the options themselves. */
static const sbxi_param sbxi_template_params[] = {
    SBXI_OLD_NEED("name", sbx_template_opts, name),
    SBXI_OLD_NEED("image", sbx_template_opts, image),
    { SBXI_PARAM_NAMES("resources", ""), (uint8_t)(SBXI_P_PART | SBXI_P_ALWAYS), 0, 0, 0, &sbxi_resources_shape.schema },
    { SBXI_PARAM_NAMES("volume_mounts", "volume_mounts"), SBXI_P_LIST, 0, (uint16_t)offsetof(sbx_template_opts, volume_mounts), 0, &sbxi_volume_mount_shape.schema },
};
static const sbxi_schema sbxi_template_create_schema = { sbxi_template_params, SBXI_COUNT(sbxi_template_params), 0 };

static const sbxi_param sbxi_template_update_params[] = { SBXI_OLDP("name", SBXI_P_STR, sbx_template_opts, name) };
static const sbxi_schema sbxi_template_update_schema = { sbxi_template_update_params, 1, 0 };

static const sbxi_param sbxi_volume_params[] = {
    SBXI_OLD_WAIT(sbx_volume_opts, 60),
    SBXI_OLD_NEED("name", sbx_volume_opts, name),
    SBXI_OLD_NEED("size", sbx_volume_opts, size),
};
static const sbxi_schema sbxi_volume_create_schema = { sbxi_volume_params, SBXI_COUNT(sbxi_volume_params), 0 };

static const sbxi_param sbxi_volume_update_params[] = {
    SBXI_OLDP("name", SBXI_P_STR, sbx_volume_opts, name),
    SBXI_OLDP("size", SBXI_P_STR, sbx_volume_opts, size),
};
static const sbxi_schema sbxi_volume_update_schema = { sbxi_volume_update_params, SBXI_COUNT(sbxi_volume_update_params), 0 };

static const sbxi_param sbxi_pool_params[] = {
    SBXI_OLD_WAIT(sbx_pool_opts, 30),
    SBXI_OLD_NEED("name", sbx_pool_opts, name),
    SBXI_OLD_NEED("template_name", sbx_pool_opts, template_name),
    SBXI_OLDP("replicas", SBXI_P_INT | SBXI_P_NEED, sbx_pool_opts, replicas),
};
static const sbxi_schema sbxi_pool_create_schema = { sbxi_pool_params, SBXI_COUNT(sbxi_pool_params), 0 };

static const sbxi_param sbxi_pool_update_params[] = {
    SBXI_OLDP("name", SBXI_P_STR, sbx_pool_opts, name),
    SBXI_OLDP("replicas", SBXI_P_COUNT, sbx_pool_opts, replicas),
};
static const sbxi_schema sbxi_pool_update_schema = { sbxi_pool_update_params, SBXI_COUNT(sbxi_pool_update_params), 0 };

/* ---- what failing answers mean ---- */

/* The service names no type for these two. */
static void sbxi_refine_volume(sbxi_op *op)
{
    const char *type = op->fail.code == SBX_ERR_CREATION ? "VolumeProvisioning" : op->fail.code == SBX_ERR_VALIDATION ? "VolumeResize" : "";

    if (op->block && !op->block->failure.type[0])
        sbxi_copy_z(op->block->failure.type, sizeof op->block->failure.type, type);
}

#define SBXI_OLD_RULES(list, next, refine) { list, SBXI_COUNT(list), next, refine }

/* What a template's creation may miss is a volume that it mounts. */
static const sbxi_rule sbxi_template_create_list[] = { { 404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_VOLUME, NULL } };
static const sbxi_rules sbxi_template_create_rules = SBXI_OLD_RULES(sbxi_template_create_list, &sbxi_control_rules, sbxi_refine_endpoint);

static const sbxi_rule sbxi_volume_create_list[] = { { 503, SBX_ERR_CREATION, 0, NULL }, { 504, SBX_ERR_TIMEOUT, 0, NULL } };
static const sbxi_rules sbxi_volume_create_rules = SBXI_OLD_RULES(sbxi_volume_create_list, &sbxi_made_rules, sbxi_refine_volume);

static const sbxi_rule sbxi_volume_update_list[] = { { 400, SBX_ERR_VALIDATION, 0, NULL } };
static const sbxi_rules sbxi_volume_update_rules = SBXI_OLD_RULES(sbxi_volume_update_list, &sbxi_named_rules, sbxi_refine_volume);

static const sbxi_rule sbxi_pool_create_list[] = {
    { 400, SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "TemplateNotFound" },
    { 504, SBX_ERR_TIMEOUT, 0, NULL },
    { 409, SBX_ERR_EXISTS, 0, NULL },
    { 404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, NULL },
};
static const sbxi_rules sbxi_pool_create_rules = SBXI_OLD_RULES(sbxi_pool_create_list, &sbxi_control_rules, sbxi_refine_endpoint);
/* All but the last two: the new name's conflict here, and the pool itself. */
static const sbxi_rules sbxi_pool_update_rules = { sbxi_pool_create_list, 2, &sbxi_named_rules, NULL };

/* ---- rows ---- */

#define SBXI_OLD_CREATE(name, path, model, rules, resource) \
    { name, "POST", path, "", SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, resource, 0, model, rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL }
#define SBXI_OLD_NAMED(name, method, path, model, rules, resource) \
    { name, method, path "/", "", SBXI_CTL, SBXI_ANSWER_MODEL, resource, 0, model, rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL }
#define SBXI_OLD_DELETE(name, path, rules, resource) \
    { name, "DELETE", path "/", "", SBXI_CTL, SBXI_ANSWER_NONE, resource, 0, NULL, rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL }
#define SBXI_OLD_LIST(name, path, model, resource) \
    { name, "GET", path, "", SBXI_CTL, SBXI_ANSWER_LIST, resource, 0, model, &sbxi_list_rules, NULL, sbxi_list_after, NULL, sbxi_op_item, NULL, NULL }

static const sbxi_row sbxi_template_create_row = SBXI_OLD_CREATE(SBXI_APART("template_create"), "/templates", &sbxi_template_model, &sbxi_template_create_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_get_row = SBXI_OLD_NAMED(SBXI_APART("template_get"), "GET", "/templates", &sbxi_template_model, &sbxi_named_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_update_row = SBXI_OLD_NAMED("template_update", "PATCH", "/templates", &sbxi_template_model, &sbxi_named_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_reget_row = SBXI_OLD_NAMED("template_update", "GET", "/templates", &sbxi_template_model, &sbxi_named_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_delete_row = SBXI_OLD_DELETE(SBXI_APART("template_delete"), "/templates", &sbxi_drop_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_list_row = SBXI_OLD_LIST(SBXI_APART("template_list"), "/templates", &sbxi_template_page_model, SBX_RESOURCE_TEMPLATE);

static const sbxi_row sbxi_volume_create_row = SBXI_OLD_CREATE(SBXI_APART("volume_create"), "/volumes", &sbxi_volume_model, &sbxi_volume_create_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_get_row = SBXI_OLD_NAMED(SBXI_APART("volume_get"), "GET", "/volumes", &sbxi_volume_model, &sbxi_named_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_update_row = SBXI_OLD_NAMED("volume_update", "PATCH", "/volumes", &sbxi_volume_model, &sbxi_volume_update_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_reget_row = SBXI_OLD_NAMED("volume_update", "GET", "/volumes", &sbxi_volume_model, &sbxi_named_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_delete_row = SBXI_OLD_DELETE(SBXI_APART("volume_delete"), "/volumes", &sbxi_drop_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_list_row = SBXI_OLD_LIST(SBXI_APART("volume_list"), "/volumes", &sbxi_volume_page_model, SBX_RESOURCE_VOLUME);

static const sbxi_row sbxi_pool_create_row = SBXI_OLD_CREATE(SBXI_APART("pool_create"), "/pools", &sbxi_pool_model, &sbxi_pool_create_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_get_row = SBXI_OLD_NAMED(SBXI_APART("pool_get"), "GET", "/pools", &sbxi_pool_model, &sbxi_named_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_update_row = SBXI_OLD_NAMED("pool_update", "PATCH", "/pools", &sbxi_pool_model, &sbxi_pool_update_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_reget_row = SBXI_OLD_NAMED("pool_update", "GET", "/pools", &sbxi_pool_model, &sbxi_named_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_delete_row = SBXI_OLD_DELETE(SBXI_APART("pool_delete"), "/pools", &sbxi_named_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_list_row = SBXI_OLD_LIST(SBXI_APART("pool_list"), "/pools", &sbxi_pool_page_model, SBX_RESOURCE_POOL);

/* ---- calls ---- */

/* What creates and updates one kind. The options of all three begin alike. */
typedef struct sbxi_old_kind {
    const sbxi_row *create, *update, *get; /* get: an update that changes nothing */
    const sbxi_schema *creating, *updating;
    uint16_t raw_off;  /* in the options; raw_n stands behind it */
    uint8_t wait_off;  /* likewise, 0 = creating does not wait */
    uint8_t wait_s;    /* for so long, where they do not say */
} sbxi_old_kind;

#define SBXI_OLD_ALIKE(type) \
    (offsetof(type, call) == 0 && offsetof(type, name) == offsetof(sbx_template_opts, name) && offsetof(type, raw_n) == offsetof(type, raw) + sizeof(sbx_buf))
typedef char sbxi_old_options_are_alike[SBXI_OLD_ALIKE(sbx_template_opts) && SBXI_OLD_ALIKE(sbx_volume_opts) && SBXI_OLD_ALIKE(sbx_pool_opts) ? 1 : -1];

#define SBXI_OLD_KIND(kind, type, wait_off, wait_s) \
    { &sbxi_##kind##_create_row, &sbxi_##kind##_update_row, &sbxi_##kind##_reget_row, &sbxi_##kind##_create_schema, &sbxi_##kind##_update_schema, \
      (uint16_t)offsetof(type, raw), wait_off, wait_s }

static const sbxi_old_kind sbxi_old_template = SBXI_OLD_KIND(template, sbx_template_opts, 0, 0);
static const sbxi_old_kind sbxi_old_volume = SBXI_OLD_KIND(volume, sbx_volume_opts, offsetof(sbx_volume_opts, wait_s), 60);
static const sbxi_old_kind sbxi_old_pool = SBXI_OLD_KIND(pool, sbx_pool_opts, offsetof(sbx_pool_opts, wait_s), 30);

/* `of`: its name, NULL = it is created. `fixed`: an option that is given and
   belongs to the creation. */
static SBXI_NOINLINE sbx_op sbxi_old_write(sbx_client *c, const sbxi_old_kind *k, const sbx_str *of, const void *opts, void *out, const char *fixed)
{
    const char *o = (const char *)(opts ? opts : &sbxi_no_opts);
    const sbx_call *call = (const sbx_call *)(const void *)o;
    const sbx_buf *raw = (const sbx_buf *)(const void *)(o + k->raw_off);
    int32_t wait_s = *(const int32_t *)(const void *)(o + k->wait_off);
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, of ? k->update : k->create, call))
        return b.refused;
    if (of)
        sbxi_build_name(&b, *of, "name");
    if (of && fixed)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, fixed, SBXI_T("belongs to the creation: an update cannot change it"));
    if (((const sbx_str *)(const void *)(o + offsetof(sbx_template_opts, name)))->n > 127)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "name", SBXI_T("must be 127 bytes at most"));
    sbxi_build_headers(&b, call);
    sbxi_build_json(&b, &w);
    if (!of && k->wait_off && b.op) {
        sbx_jsonw_key(&w, sbx_s("wait_for_ready"));
        sbx_jsonw_bool(&w, true);
    }
    sbxi_build_opts(&b, &w, of ? k->updating : k->creating, o);
    sbxi_build_json_end(&b, &w);
    if (of)
        sbxi_build_or_get(&b, k->get);
    sbxi_build_result(&b, out, NULL, *raw, *(size_t *const *)(const void *)(raw + 1));
    if (!of && k->wait_off && b.op && !call->timeout_ms)
        b.op->timeout_ms = SBXI_MIN(wait_s > 0 ? wait_s : k->wait_s, 86400) * 1000 + 30000;
    return sbxi_build_end(&b);
}

static SBXI_NOINLINE sbx_op sbxi_old_named(sbx_client *c, const sbxi_row *row, sbx_str name, const sbx_box_opts *opts, void *out)
{
    sbxi_build b;

    sbxi_name_call(&b, c, row, name, "name", opts ? opts : &sbxi_no_opts.box, out, NULL);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_template_create(sbx_client *c, const sbx_template_opts *opts, sbx_template *out)
{
    return sbxi_old_write(c, &sbxi_old_template, NULL, opts, out, NULL);
}

SBX_API sbx_op sbx_template_update(sbx_client *c, sbx_str name, const sbx_template_opts *opts, sbx_template *out)
{
    const char *fixed = !opts ? NULL : opts->image.p ? SBXI_T("image") : opts->cpu.p ? SBXI_T("cpu") : opts->memory.p ? SBXI_T("memory") :
                        opts->storage.p ? SBXI_T("storage") : opts->volume_mounts_n ? SBXI_T("volume_mounts") : NULL;

    return sbxi_old_write(c, &sbxi_old_template, &name, opts, out, fixed);
}

SBX_API sbx_op sbx_template_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_template *out)
{
    return sbxi_old_named(c, &sbxi_template_get_row, name, opts, out);
}

SBX_API sbx_op sbx_template_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_old_named(c, &sbxi_template_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_template_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_template_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_volume_create(sbx_client *c, const sbx_volume_opts *opts, sbx_volume *out)
{
    return sbxi_old_write(c, &sbxi_old_volume, NULL, opts, out, NULL);
}

SBX_API sbx_op sbx_volume_update(sbx_client *c, sbx_str name, const sbx_volume_opts *opts, sbx_volume *out)
{
    const char *fixed = opts && opts->wait_s ? SBXI_T("wait_s") : NULL;

    return sbxi_old_write(c, &sbxi_old_volume, &name, opts, out, fixed);
}

SBX_API sbx_op sbx_volume_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_volume *out)
{
    return sbxi_old_named(c, &sbxi_volume_get_row, name, opts, out);
}

SBX_API sbx_op sbx_volume_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_old_named(c, &sbxi_volume_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_volume_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_volume_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_pool_create(sbx_client *c, const sbx_pool_opts *opts, sbx_pool *out)
{
    return sbxi_old_write(c, &sbxi_old_pool, NULL, opts, out, NULL);
}

SBX_API sbx_op sbx_pool_update(sbx_client *c, sbx_str name, const sbx_pool_opts *opts, sbx_pool *out)
{
    const char *fixed = !opts ? NULL : opts->template_name.p ? SBXI_T("template_name") : opts->wait_s ? SBXI_T("wait_s") : NULL;

    return sbxi_old_write(c, &sbxi_old_pool, &name, opts, out, fixed);
}

SBX_API sbx_op sbx_pool_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_pool *out)
{
    return sbxi_old_named(c, &sbxi_pool_get_row, name, opts, out);
}

SBX_API sbx_op sbx_pool_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_old_named(c, &sbxi_pool_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_pool_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_pool_list_row, NULL, opts, out);
}

#endif
