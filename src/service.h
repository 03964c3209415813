/* ---- service: LangSmith's tables, shared by its files (private) ---- */
#ifndef SBXI_SERVICE_H
#define SBXI_SERVICE_H
#include "client.h"
#include "langsmith.h"
#include "langsmith_snapshots.h"
#include "langsmith_legacy.h"
#include "op.h"
#if !SBX_NO_TUNNEL
#include "tunnel.h"
#endif

/* Options that were not given: all zero. */
typedef union sbxi_options {
    char zero[sizeof(sbx_create_opts) > sizeof(sbx_run_opts) ? sizeof(sbx_create_opts) : sizeof(sbx_run_opts)];
    sbx_create_opts create;
    sbx_list_opts list;
    sbx_update_opts update;
    sbx_box_opts box;
    sbx_run_opts run;
    sbx_attach_opts attach;
    sbx_read_opts read;
    sbx_write_opts write;
    sbx_find_opts find;
    sbx_snapshot_opts snapshot;
    sbx_registry_opts registry;
    sbx_service_opts service;
    sbx_download_opts download;
    sbx_request_opts request;
#if !SBX_NO_LEGACY
    sbx_template_opts old_template;
    sbx_volume_opts old_volume;
    sbx_pool_opts old_pool;
#endif
#if !SBX_NO_TUNNEL
    sbx_tunnel_opts tunnel;
    sbx_dial_opts dial;
#endif
} sbxi_options;

SBX_EXTERN_C_BEGIN
extern const sbxi_options sbxi_no_opts;
extern const sbxi_model sbxi_box_model, sbxi_status_model, sbxi_box_page_model, sbxi_match_page_model, sbxi_exec_model;
extern const sbxi_model sbxi_snapshot_model, sbxi_snapshot_page_model, sbxi_snapshot_tags_model, sbxi_registry_model, sbxi_registry_page_model;
extern const sbxi_schema sbxi_create_schema, sbxi_create_no_wait_schema, sbxi_update_schema, sbxi_list_schema;
extern const sbxi_schema sbxi_execute_http_schema, sbxi_execute_ws_schema, sbxi_execute_sse_schema, sbxi_sse_schema, sbxi_find_schema;
extern const sbxi_schema sbxi_snapshot_build_schema, sbxi_snapshot_capture_schema, sbxi_registry_create_schema, sbxi_registry_update_schema;
/* named: 404 is the thing, or a path that the server does not know; made: likewise, of a POST whose path names no thing; drop: a DELETE that 409 may refuse. */
extern const sbxi_rules sbxi_named_rules, sbxi_made_rules, sbxi_drop_rules, sbxi_snapshot_build_rules, sbxi_snapshot_capture_rules;
extern const sbxi_model sbxi_grant_model, sbxi_port_page_model;
extern const sbxi_schema sbxi_download_schema;
extern const sbxi_rules sbxi_share_rules, sbxi_fetch_rules;
extern const sbxi_rules sbxi_control_rules, sbxi_list_rules, sbxi_create_rules, sbxi_update_rules, sbxi_data_rules, sbxi_find_rules, sbxi_stream_rules;
extern const sbxi_row sbxi_command_row;
SBX_EXTERN_C_END

/* Puts a call together step by step; the first thing that is refused sticks. */
typedef struct sbxi_build {
    sbx_client *c;
    sbxi_op *op;
    sbx_op refused;
} sbxi_build;

SBXI_FN bool sbxi_build_begin(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call);
/* For a function that is not called like its row. */
SBXI_FN bool sbxi_build_begin_as(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as);
SBXI_FN void sbxi_build_refuse(sbxi_build *b, sbx_code code, const char *field, const char *text);
/* It does not fit in request_bytes. */
SBXI_FN void sbxi_build_too_large(sbxi_build *b);
/* Refuses what this build does not have. */
SBXI_FN void sbxi_build_absent(sbxi_build *b, bool asked, const char *field, const char *text);
/* An option that only older servers know. */
SBXI_FN void sbxi_build_old(sbxi_build *b, bool given, const char *field);
/* The sandbox (and for its data plane, the URL) is there. */
SBXI_FN void sbxi_build_box(sbxi_build *b, const sbx_box *box);
/* Whether it would carry a secret unencrypted that the endpoint does not. */
SBXI_FN bool sbxi_url_is_weak(const sbx_client *c, const sbxi_url *url);
SBXI_FN void sbxi_build_name(sbxi_build *b, sbx_str name, const char *field);
SBXI_FN void sbxi_build_query(sbxi_build *b, const sbxi_schema *schema, const void *opts);
/* One more parameter of the query, encoded. */
SBXI_FN void sbxi_build_param(sbxi_build *b, const char *name, sbx_str value);
SBXI_FN void sbxi_build_headers(sbxi_build *b, const sbx_call *call);
/* One more header, behind those of the call. */
SBXI_FN void sbxi_build_header(sbxi_build *b, const char *name, sbx_str value, const char *field);
/* A JSON body: members, then the options by their schema. */
SBXI_FN void sbxi_build_json(sbxi_build *b, sbx_jsonw *w);
/* A text that the caller gave as `field`. */
SBXI_FN void sbxi_build_member(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field);
/* Likewise, with 1 to `most` bytes (127 or SIZE_MAX). */
SBXI_FN void sbxi_build_needed(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field, size_t most);
/* A member of the library's own. */
SBXI_FN void sbxi_build_text(sbx_jsonw *w, const char *name, const char *value);
SBXI_FN void sbxi_build_opts(sbxi_build *b, sbx_jsonw *w, const sbxi_schema *schema, const void *opts);
SBXI_FN void sbxi_build_json_end(sbxi_build *b, sbx_jsonw *w);
/* A body without members (`{}`) changes nothing: row `get` takes its place. */
SBXI_FN void sbxi_build_or_get(sbxi_build *b, const sbxi_row *get);
/* Where the answer and its text go. */
SBXI_FN void sbxi_build_result(sbxi_build *b, void *out, void *info, sbx_buf raw, size_t *raw_n);
/* How long and how often it polls. */
SBXI_FN void sbxi_build_wait(sbxi_build *b, int32_t wait_s, int32_t wait_default_s, int32_t poll_ms, int32_t poll_default_ms);
SBXI_FN sbx_op sbxi_build_end(sbxi_build *b);
/* A call on a thing that its name alone says, up to sbxi_build_end; false: refused. */
SBXI_FN bool sbxi_name_call(sbxi_build *b, sbx_client *c, const sbxi_row *row, sbx_str name, const char *field, const sbx_box_opts *o, void *out, void *info);
/* A whole list call. With a name it lists what belongs to that; items are then
   not compared by their ids. */
SBXI_FN sbx_op sbxi_list_call(sbx_client *c, const sbxi_row *row, const sbx_str *name, const sbx_list_opts *opts, sbx_list_result *out);
/* Where a call's bytes are collected; false: refused. */
SBXI_FN bool sbxi_build_sink(sbxi_build *b, sbxi_sink *s, sbx_buf buf, bool alloc, size_t limit, size_t limit_default);

/* `refine`: a 404 without words of the service's own is an unknown path. */
SBXI_FN void sbxi_refine_endpoint(sbxi_op *op);
SBXI_FN sbx_status sbxi_status_of(char text[16]);
SBXI_FN const char *sbxi_labels_bad(const sbx_pair *labels, size_t n, const char **why);

/* ---- what rows share ---- */

#define SBXI_CTL SBXI_BASE_CONTROL, SBXI_RETRY_SAFE
#define SBXI_CTL_ONCE SBXI_BASE_CONTROL, SBXI_RETRY_ONCE

SBXI_FN void sbxi_write_raw(const sbxi_http *h);
/* `after`: no result but the answer's text. */
SBXI_FN bool sbxi_raw_after(sbx_client *c, sbxi_op *op);
/* `after`: the model is the result. */
SBXI_FN bool sbxi_model_after(sbx_client *c, sbxi_op *op);
/* `after` of a list: its next page, or its result. */
SBXI_FN bool sbxi_list_after(sbx_client *c, sbxi_op *op);
/* `failed` of a DELETE. */
SBXI_FN bool sbxi_delete_failed(sbx_client *c, sbxi_op *op);
/* `after` of what polls and is not ready: asks by `row` again after a while, or
   ends for good when it failed or its time is over. What `after` returns. */
SBXI_FN bool sbxi_poll(sbx_client *c, sbxi_op *op, const sbxi_row *row, sbx_status status, const char *word, const char *message);

/* The typed forms of a sandbox's configuration, reached by the client's
   description. */
struct sbxi_config {
    const sbxi_schema *create, *update; /* of those options' structs */
    /* Which mounts need which credentials, of options whose parts are right by
       themselves. A proxy given as JSON is not looked into. */
    const char *(*mounts_bad)(const sbx_create_opts *o, const char **why);
};
/* Calls that read a file, or its stat, from there on where it is known which. */
SBXI_FN sbx_op sbxi_read_call(sbxi_build *b, const sbx_read_opts *o, sbx_read_result *out);
SBXI_FN sbx_op sbxi_stat_call(sbxi_build *b, const sbx_box_opts *o, sbx_file_stat *out);
/* `failed` of a body that is pushed: the caller has to push it again. */
SBXI_FN bool sbxi_push_failed(sbx_client *c, sbxi_op *op);
/* Their hooks. */
SBXI_FN bool sbxi_read_failed(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_read_finished(sbx_client *c, sbxi_op *op);
SBXI_FN bool sbxi_stat_after(sbx_client *c, sbxi_op *op);

/* A path in a sandbox, encoded as the query. */
SBXI_FN void sbxi_build_path(sbxi_build *b, sbx_str path);

#endif
