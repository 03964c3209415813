#include "service.h"

/* ---- answers ---- */

#define SBXI_BOX(name, kind, member) SBXI_FIELD(name, kind, sbx_box_info, member)

static const sbxi_field sbxi_box_fields[] = {
    SBXI_BOX("id", SBXI_F_ID, box.id),
    SBXI_BOX("name", SBXI_F_ID, box.name),
    SBXI_BOX("dataplane_url", SBXI_F_ID, box.url),
    SBXI_BOX("status", SBXI_F_TEXT, status_text),
    SBXI_BOX("status_message", SBXI_F_TEXT, status_message),
    SBXI_BOX("created_at", SBXI_F_TIME, created_ms),
    SBXI_BOX("updated_at", SBXI_F_TIME, updated_ms),
    SBXI_BOX("idle_ttl_seconds", SBXI_F_I64, idle_ttl_s),
    SBXI_BOX("delete_after_stop_seconds", SBXI_F_I64, delete_after_stop_s),
    SBXI_BOX("stopped_at", SBXI_F_TIME, stopped_ms),
    SBXI_BOX("snapshot_id", SBXI_F_TEXT, snapshot_id),
    SBXI_BOX("vcpus", SBXI_F_I64, vcpus),
    SBXI_BOX("mem_bytes", SBXI_F_I64, mem_bytes),
    SBXI_BOX("fs_capacity_bytes", SBXI_F_I64, fs_capacity_bytes),
    SBXI_BOX("run_config", SBXI_F_SKIP, cut),
    SBXI_BOX("access_delegation", SBXI_F_SKIP, cut),
    SBXI_BOX("mount_config", SBXI_F_SKIP, cut),
    SBXI_BOX("proxy_config", SBXI_F_SKIP, cut),
    SBXI_BOX("labels", SBXI_F_SKIP, cut),
    SBXI_BOX("created_by", SBXI_F_TEXT, created_by),
    SBXI_BOX("updated_by", SBXI_F_TEXT, updated_by),
    SBXI_BOX("cpu_millicores", SBXI_F_I64, cpu_millicores),
    SBXI_BOX("size_class", SBXI_F_TEXT, size_class),
    SBXI_BOX("preserve_memory_on_stop", SBXI_F_TRI, preserve_memory_on_stop),
#if !SBX_NO_LEGACY
    SBXI_BOX("template_name", SBXI_F_TEXT, template_name),
    SBXI_BOX("ttl_seconds", SBXI_F_I64, ttl_s),
    SBXI_BOX("expires_at", SBXI_F_TIME, expires_ms),
#endif
};

const sbxi_model sbxi_box_model = {
    sbxi_box_fields, SBXI_COUNT(sbxi_box_fields), false, SBXI_MINUS(sbx_box_info, ttl_s, cpu_millicores), offsetof(sbx_box_info, cut), NULL
};

static const sbxi_field sbxi_status_fields[] = {
    SBXI_FIELD("status", SBXI_F_TEXT, sbx_status_info, status_text),
    SBXI_FIELD("status_message", SBXI_F_TEXT, sbx_status_info, status_message),
};

const sbxi_model sbxi_status_model = {
    sbxi_status_fields, SBXI_COUNT(sbxi_status_fields), false, SBXI_NO_MINUS(sbx_status_info), offsetof(sbx_status_info, cut), NULL
};

#define SBXI_PAGE(name, kind, member) SBXI_FIELD(name, kind, sbxi_page, member)

/* The arrays have no member of their own: `truncated` only stands in. */
static const sbxi_field sbxi_page_fields[] = {
    SBXI_PAGE("items", SBXI_F_LIST, truncated),
    SBXI_PAGE("sandboxes", SBXI_F_LIST, truncated),
    SBXI_PAGE("next_cursor", SBXI_F_ID, next_cursor),
    SBXI_PAGE("offset", SBXI_F_I64, next_offset),
    SBXI_PAGE("snapshots", SBXI_F_LIST, truncated),
    SBXI_PAGE("tags", SBXI_F_LIST, truncated),
    SBXI_PAGE("registries", SBXI_F_LIST, truncated),
    SBXI_PAGE("service_urls", SBXI_F_LIST, truncated),
};

#define SBXI_PAGE_OF(item) { sbxi_page_fields, SBXI_COUNT(sbxi_page_fields), false, SBXI_NO_MINUS(sbxi_page), 0, item }

const sbxi_model sbxi_box_page_model = SBXI_PAGE_OF(&sbxi_box_model);

#define SBXI_SNAPSHOT(name, kind, member) SBXI_FIELD(name, kind, sbx_snapshot, member)

static const sbxi_field sbxi_snapshot_fields[] = {
    SBXI_SNAPSHOT("id", SBXI_F_ID, id),
    SBXI_SNAPSHOT("name", SBXI_F_ID, name),
    SBXI_SNAPSHOT("status", SBXI_F_TEXT, status_text),
    SBXI_SNAPSHOT("fs_capacity_bytes", SBXI_F_I64, fs_capacity_bytes),
    SBXI_SNAPSHOT("docker_image", SBXI_F_TEXT, docker_image),
    SBXI_SNAPSHOT("image_digest", SBXI_F_TEXT, image_digest),
    SBXI_SNAPSHOT("source_sandbox_id", SBXI_F_TEXT, source_sandbox_id),
    SBXI_SNAPSHOT("status_message", SBXI_F_TEXT, status_message),
    SBXI_SNAPSHOT("fs_used_bytes", SBXI_F_I64, fs_used_bytes),
    SBXI_SNAPSHOT("created_by", SBXI_F_TEXT, created_by),
    SBXI_SNAPSHOT("registry_id", SBXI_F_TEXT, registry_id),
    SBXI_SNAPSHOT("created_at", SBXI_F_TIME, created_ms),
    SBXI_SNAPSHOT("updated_at", SBXI_F_TIME, updated_ms),
    SBXI_SNAPSHOT("memory_snapshot_size_bytes", SBXI_F_I64, memory_bytes),
};

const sbxi_model sbxi_snapshot_model = {
    sbxi_snapshot_fields, SBXI_COUNT(sbxi_snapshot_fields), false, SBXI_MINUS(sbx_snapshot, fs_capacity_bytes, memory_bytes), offsetof(sbx_snapshot, cut), NULL
};
const sbxi_model sbxi_snapshot_page_model = SBXI_PAGE_OF(&sbxi_snapshot_model);

static const sbxi_field sbxi_tag_fields[] = {
    SBXI_FIELD("snapshot_id", SBXI_F_ID, sbx_snapshot_tag, snapshot_id),
    SBXI_FIELD("tag", SBXI_F_ID, sbx_snapshot_tag, tag),
};
static const sbxi_model sbxi_tag_model = { sbxi_tag_fields, SBXI_COUNT(sbxi_tag_fields), false, SBXI_NO_MINUS(sbx_snapshot_tag), 0, NULL };
const sbxi_model sbxi_snapshot_tags_model = SBXI_PAGE_OF(&sbxi_tag_model);

#define SBXI_REGISTRY(name, kind, member) SBXI_FIELD(name, kind, sbx_registry, member)

static const sbxi_field sbxi_registry_fields[] = {
    SBXI_REGISTRY("id", SBXI_F_ID, id),
    SBXI_REGISTRY("name", SBXI_F_ID, name),
    SBXI_REGISTRY("url", SBXI_F_TEXT, url),
    SBXI_REGISTRY("created_at", SBXI_F_TIME, created_ms),
    SBXI_REGISTRY("created_by", SBXI_F_TEXT, created_by),
    SBXI_REGISTRY("updated_at", SBXI_F_TIME, updated_ms),
    SBXI_REGISTRY("updated_by", SBXI_F_TEXT, updated_by),
    SBXI_REGISTRY("auth_type", SBXI_F_TEXT, auth_type),
    SBXI_REGISTRY("aws_role_arn", SBXI_F_TEXT, aws_role_arn),
};
const sbxi_model sbxi_registry_model = {
    sbxi_registry_fields, SBXI_COUNT(sbxi_registry_fields), false, SBXI_NO_MINUS(sbx_registry), offsetof(sbx_registry, cut), NULL
};
const sbxi_model sbxi_registry_page_model = SBXI_PAGE_OF(&sbxi_registry_model);

static const sbxi_field sbxi_match_fields[] = {
    SBXI_FIELD("path", SBXI_F_ID, sbx_match, path),
    SBXI_FIELD("is_dir", SBXI_F_BOOL, sbx_match, is_dir),
    SBXI_FIELD("size_bytes", SBXI_F_I64, sbx_match, size),
    SBXI_FIELD("modified_at", SBXI_F_TIME, sbx_match, modified_ms),
    SBXI_FIELD("line", SBXI_F_I64, sbx_match, line),
    SBXI_FIELD("text", SBXI_F_TEXT, sbx_match, text),
};

static const sbxi_model sbxi_match_model = {
    sbxi_match_fields, SBXI_COUNT(sbxi_match_fields), false, SBXI_MINUS(sbx_match, size, size), offsetof(sbx_match, cut), NULL
};

static const sbxi_field sbxi_match_page_fields[] = {
    SBXI_PAGE("matches", SBXI_F_LIST, truncated),
    SBXI_PAGE("truncated", SBXI_F_BOOL, truncated),
};

const sbxi_model sbxi_match_page_model = {
    sbxi_match_page_fields, SBXI_COUNT(sbxi_match_page_fields), false, SBXI_NO_MINUS(sbxi_page), 0, &sbxi_match_model
};

static const sbxi_field sbxi_exec_fields[] = {
    SBXI_FIELD("stdout", SBXI_F_SINK, sbxi_exec, out),
    SBXI_FIELD("stderr", SBXI_F_SINK, sbxi_exec, err),
    SBXI_FIELD("exit_code", SBXI_F_INT, sbxi_exec, exit_code),
};

const sbxi_model sbxi_exec_model = {
    sbxi_exec_fields, SBXI_COUNT(sbxi_exec_fields), false, SBXI_MINUS(sbxi_exec, exit_code, exit_code), 0, NULL
};

/* Both calls that grant a URL. */
static const sbxi_field sbxi_grant_fields[] = {
    SBXI_FIELD("browser_url", SBXI_F_SINK, sbxi_grant, link),
    SBXI_FIELD("service_url", SBXI_F_ID, sbxi_grant, url),
    SBXI_FIELD("download_url", SBXI_F_SINK, sbxi_grant, link),
    SBXI_FIELD("token", SBXI_F_SINK, sbxi_grant, token),
    SBXI_FIELD("expires_at", SBXI_F_TIME, sbxi_grant, expires_ms),
};

const sbxi_model sbxi_grant_model = {
    sbxi_grant_fields, SBXI_COUNT(sbxi_grant_fields), false, SBXI_NO_MINUS(sbxi_grant), 0, NULL
};

#define SBXI_PORT(name, kind, member) SBXI_FIELD(name, kind, sbx_shared_port, member)

static const sbxi_field sbxi_port_fields[] = {
    SBXI_PORT("port", SBXI_F_INT, port),
    SBXI_PORT("access", SBXI_F_TEXT, access_text),
    SBXI_PORT("created_at", SBXI_F_TIME, created_ms),
    SBXI_PORT("expires_at", SBXI_F_TIME, expires_ms),
    SBXI_PORT("created_by", SBXI_F_TEXT, created_by),
};
static const sbxi_model sbxi_port_model = {
    sbxi_port_fields, SBXI_COUNT(sbxi_port_fields), false, SBXI_NO_MINUS(sbx_shared_port), offsetof(sbx_shared_port, cut), NULL
};
const sbxi_model sbxi_port_page_model = SBXI_PAGE_OF(&sbxi_port_model);

/* {"detail":{"error","message"}}, {"detail":[{"loc","msg","type"}]},
   {"detail":TEXT} and the daemon's flat form: the names say enough wherever
   they stand. */
static const sbxi_field sbxi_failure_fields[] = {
    SBXI_FIELD("error", SBXI_F_TEXT, sbxi_failure, type),
    SBXI_FIELD("message", SBXI_F_TEXT, sbxi_failure, text),
    SBXI_FIELD("detail", SBXI_F_TEXT, sbxi_failure, text),
    SBXI_FIELD("msg", SBXI_F_TEXTS, sbxi_failure, text),
    SBXI_FIELD("type", SBXI_F_TEXT, sbxi_failure, type),
    SBXI_FIELD("loc", SBXI_F_WORDS, sbxi_failure, field),
    SBXI_FIELD("error_id", SBXI_F_TEXT, sbxi_failure, error_id),
};

const sbxi_model sbxi_failure_model = {
    sbxi_failure_fields, SBXI_COUNT(sbxi_failure_fields), true, SBXI_NO_MINUS(sbxi_failure), offsetof(sbxi_failure, cut), NULL
};

/* ---- requests ---- */

#define SBXI_PARAM(name, option, kind, type, member, arg, sub) { SBXI_PARAM_NAMES(name, option), kind, 0, (uint16_t)offsetof(type, member), SBXI_ARG(arg), sub }
#define SBXI_CLEARABLE(name, option, kind, type, member, arg, sub, bit) { SBXI_PARAM_NAMES(name, option), kind, bit, (uint16_t)offsetof(type, member), SBXI_ARG(arg), sub }

static const sbxi_param sbxi_run_config_params[] = {
    SBXI_PARAM("user", "user", SBXI_P_STR, sbx_run_config, user, 0, NULL),
    SBXI_PARAM("work_dir", "work_dir", SBXI_P_STR, sbx_run_config, work_dir, 0, NULL),
    SBXI_PARAM("env_vars", "env", SBXI_P_PAIRS, sbx_run_config, env, 0, NULL),
};
static const sbxi_schema sbxi_run_config_schema = { sbxi_run_config_params, SBXI_COUNT(sbxi_run_config_params), 0 };

#define SBXI_CREATE(name, option, kind, member, arg, sub) SBXI_PARAM(name, option, kind, sbx_create_opts, member, arg, sub)

/* `timeout` first: without waiting it is left out. */
static const sbxi_param sbxi_create_params[] = {
    SBXI_CREATE("timeout", "wait_s", SBXI_P_SECONDS, wait_s, 30, NULL),
    SBXI_CREATE("wait_for_ready", "no_wait", SBXI_P_NOT, no_wait, 0, NULL),
    SBXI_CREATE("snapshot", "snapshot", SBXI_P_STR, snapshot, 0, NULL),
    SBXI_CREATE("snapshot_name", "snapshot_name", SBXI_P_STR, snapshot_name, 0, NULL),
    SBXI_CREATE("snapshot_id", "snapshot_id", SBXI_P_STR, snapshot_id, 0, NULL),
    SBXI_CREATE("name", "name", SBXI_P_STR, name, 0, NULL),
    SBXI_CREATE("idle_ttl_seconds", "idle_ttl_s", SBXI_P_TTL, idle_ttl_s, 0, NULL),
    SBXI_CREATE("delete_after_stop_seconds", "delete_after_stop_s", SBXI_P_TTL, delete_after_stop_s, 2592000, NULL),
    SBXI_CREATE("vcpus", "vcpus", SBXI_P_I64, vcpus, 0, NULL),
    SBXI_CREATE("mem_bytes", "mem_bytes", SBXI_P_I64, mem_bytes, 0, NULL),
    SBXI_CREATE("fs_capacity_bytes", "fs_capacity_bytes", SBXI_P_I64, fs_capacity_bytes, 0, NULL),
    SBXI_CREATE("cpu_millicores", "cpu_millicores", SBXI_P_I64, cpu_millicores, 0, NULL),
    SBXI_CREATE("run_config", "run_config", SBXI_P_OBJECT, run_config, 0, &sbxi_run_config_schema),
    SBXI_CREATE("env_vars", "env", SBXI_P_PAIRS, env, 0, NULL),
    SBXI_CREATE("labels", "labels", SBXI_P_PAIRS, labels, 0, NULL),
    SBXI_CREATE("tag_value_ids", "tag_value_ids", SBXI_P_STRS, tag_value_ids, 0, NULL),
    SBXI_CREATE("preserve_memory_on_stop", "preserve_memory_on_stop", SBXI_P_TRI, preserve_memory_on_stop, 0, NULL),
    SBXI_CREATE("restore_memory", "restore_memory", SBXI_P_TRI, restore_memory, 0, NULL),
    SBXI_CREATE("mount_config", "mount_config", SBXI_P_RAW, mount_config, 0, NULL),
    SBXI_CREATE("proxy_config", "proxy_config", SBXI_P_RAW, proxy_config, 0, NULL),
    SBXI_CREATE("access_delegation", "access_delegation", SBXI_P_RAW, access_delegation, 0, NULL),
#if !SBX_NO_LEGACY
    SBXI_CREATE("template_name", "template_name", SBXI_P_STR, template_name, 0, NULL),
    SBXI_CREATE("ttl_seconds", "ttl_s", SBXI_P_TTL, ttl_s, 0, NULL),
#endif
};
const sbxi_schema sbxi_create_schema = { sbxi_create_params, SBXI_COUNT(sbxi_create_params), 0 };
const sbxi_schema sbxi_create_no_wait_schema = { sbxi_create_params + 1, SBXI_COUNT(sbxi_create_params) - 1, 0 };

#define SBXI_UPDATE(name, option, kind, member, sub) SBXI_PARAM(name, option, kind, sbx_update_opts, member, 0, sub)

static const sbxi_param sbxi_update_params[] = {
    SBXI_UPDATE("name", "name", SBXI_P_STR, name, NULL),
    SBXI_UPDATE("idle_ttl_seconds", "idle_ttl_s", SBXI_P_TTL, idle_ttl_s, NULL),
    SBXI_PARAM("delete_after_stop_seconds", "delete_after_stop_s", SBXI_P_TTL, sbx_update_opts, delete_after_stop_s, 2592000, NULL),
#if !SBX_NO_LEGACY
    SBXI_UPDATE("ttl_seconds", "ttl_s", SBXI_P_TTL, ttl_s, NULL),
#endif
    SBXI_UPDATE("vcpus", "vcpus", SBXI_P_I64, vcpus, NULL),
    SBXI_UPDATE("mem_bytes", "mem_bytes", SBXI_P_I64, mem_bytes, NULL),
    SBXI_UPDATE("fs_capacity_bytes", "fs_capacity_bytes", SBXI_P_I64, fs_capacity_bytes, NULL),
    SBXI_UPDATE("cpu_millicores", "cpu_millicores", SBXI_P_I64, cpu_millicores, NULL),
    SBXI_CLEARABLE("run_config", "run_config", SBXI_P_OBJECT, sbx_update_opts, run_config, 0, &sbxi_run_config_schema, SBX_CLEAR_RUN_CONFIG),
    SBXI_CLEARABLE("proxy_config", "proxy_config", SBXI_P_RAW, sbx_update_opts, proxy_config, 0, NULL, SBX_CLEAR_PROXY_CONFIG),
    SBXI_CLEARABLE("tag_value_ids", "tag_value_ids", SBXI_P_STRS, sbx_update_opts, tag_value_ids, 0, NULL, SBX_CLEAR_TAGS),
};
const sbxi_schema sbxi_update_schema = { sbxi_update_params, SBXI_COUNT(sbxi_update_params), offsetof(sbx_update_opts, clear_mask) };

#define SBXI_MAKE(name, option, kind, member, sub) SBXI_PARAM(name, option, kind, sbx_snapshot_opts, member, 0, sub)

/* A build begins with what it alone has, a capture ends with that. */
static const sbxi_param sbxi_snapshot_params[] = {
    SBXI_MAKE("registry_id", "registry_id", SBXI_P_STR, registry_id, NULL),
    SBXI_MAKE("registry_url", "registry_url", SBXI_P_STR, registry_url, NULL),
    SBXI_MAKE("registry_username", "registry_username", SBXI_P_STR, registry_username, NULL),
    SBXI_MAKE("registry_password", "registry_password", SBXI_P_STR, registry_password, NULL),
    SBXI_MAKE("fs_capacity_bytes", "fs_capacity_bytes", SBXI_P_I64, fs_capacity_bytes, NULL),
    SBXI_MAKE("run_config", "run_config", SBXI_P_OBJECT, run_config, &sbxi_run_config_schema),
    SBXI_MAKE("labels", "labels", SBXI_P_PAIRS, labels, NULL),
    SBXI_MAKE("tag", "tag", SBXI_P_STR, tag, NULL),
    SBXI_MAKE("docker_image", "docker_image", SBXI_P_STR, docker_image, NULL),
    SBXI_MAKE("checkpoint", "checkpoint", SBXI_P_STR, checkpoint, NULL),
    SBXI_MAKE("include_memory", "include_memory", SBXI_P_BOOL, include_memory, NULL),
};
const sbxi_schema sbxi_snapshot_build_schema = { sbxi_snapshot_params, 8, 0 };
const sbxi_schema sbxi_snapshot_capture_schema = { sbxi_snapshot_params + 4, SBXI_COUNT(sbxi_snapshot_params) - 4, 0 };

#define SBXI_REGISTRYP(name, option, member) SBXI_PARAM(name, option, SBXI_P_STR, sbx_registry_opts, member, 0, NULL)

/* `url` first: a create writes it itself. */
static const sbxi_param sbxi_registry_params[] = {
    SBXI_REGISTRYP("url", "url", url),
    SBXI_REGISTRYP("username", "username", username),
    SBXI_REGISTRYP("password", "password", password),
    SBXI_REGISTRYP("auth_type", "auth_type", auth_type),
    SBXI_REGISTRYP("aws_role_arn", "aws_role_arn", aws_role_arn),
};
const sbxi_schema sbxi_registry_update_schema = { sbxi_registry_params, SBXI_COUNT(sbxi_registry_params), 0 };
const sbxi_schema sbxi_registry_create_schema = { sbxi_registry_params + 1, SBXI_COUNT(sbxi_registry_params) - 1, 0 };

#define SBXI_LISTP(name, option, kind, member) SBXI_PARAM(name, option, kind, sbx_list_opts, member, 0, NULL)

static const sbxi_param sbxi_list_params[] = {
    SBXI_LISTP("name_contains", "name_contains", SBXI_P_STR, name_contains),
    SBXI_LISTP("status", "status", SBXI_P_STR, status),
    SBXI_LISTP("sort_by", "sort_by", SBXI_P_STR, sort_by),
    SBXI_LISTP("sort_direction", "sort_direction", SBXI_P_STR, sort_direction),
    SBXI_LISTP("sort_order", "sort_order", SBXI_P_STR, sort_order),
    SBXI_LISTP("created_by", "created_by", SBXI_P_STR, created_by),
    SBXI_LISTP("label", "labels", SBXI_P_STRS, labels),
    SBXI_LISTP("limit", "limit", SBXI_P_INT, limit),
    SBXI_LISTP("page_size", "page_size", SBXI_P_INT, page_size),
};
const sbxi_schema sbxi_list_schema = { sbxi_list_params, SBXI_COUNT(sbxi_list_params), 0 };

#define SBXI_RUNP(name, option, kind, member, arg, sub) SBXI_PARAM(name, option, kind, sbx_run_opts, member, arg, sub)

/* Both forms of a command begin with what HTTP's /execute takes, whose name
   for the time limit differs. */
static const sbxi_param sbxi_execute_params[] = {
    SBXI_RUNP("timeout", "timeout_s", SBXI_P_SECONDS, timeout_s, 60, NULL),
    SBXI_RUNP("cwd", "cwd", SBXI_P_STR, cwd, 0, NULL),
    SBXI_RUNP("env", "env", SBXI_P_PAIRS, env, 0, NULL),
    SBXI_RUNP("run_config", "run_config", SBXI_P_OBJECT, run_config, 0, &sbxi_run_config_schema),
    SBXI_RUNP("timeout_seconds", "timeout_s", SBXI_P_SECONDS, timeout_s, 60, NULL),
    SBXI_RUNP("idle_timeout_seconds", "idle_timeout_s", SBXI_P_LIFE, idle_timeout_s, 300, NULL),
    SBXI_RUNP("ttl_seconds", "ttl_s", SBXI_P_LIFE, ttl_s, 600, NULL),
    SBXI_RUNP("kill_on_disconnect", "kill_on_disconnect", SBXI_P_FLAG, kill_on_disconnect, 0, NULL),
    SBXI_RUNP("pty", "pty", SBXI_P_BOOL, pty, 0, NULL),
#if !SBX_NO_SSH_AGENT
    SBXI_RUNP("ssh_agent_forward", "ssh_agent_forward", SBXI_P_BOOL, ssh_agent_forward, 0, NULL),
#endif
};
const sbxi_schema sbxi_execute_http_schema = { sbxi_execute_params, 4, 0 };
const sbxi_schema sbxi_execute_sse_schema = { sbxi_execute_params + 1, 6, 0 };
const sbxi_schema sbxi_execute_ws_schema = { sbxi_execute_params + 1, SBXI_COUNT(sbxi_execute_params) - 1, 0 };

/* Only over SSE. */
static const sbxi_param sbxi_sse_params[] = {
    SBXI_RUNP("command", "argv", SBXI_P_ARGV, argv, 0, NULL),
    SBXI_RUNP("stdin", "stdin_data", SBXI_P_BASE64, stdin_data, 0, NULL),
};
const sbxi_schema sbxi_sse_schema = { sbxi_sse_params, SBXI_COUNT(sbxi_sse_params), 0 };

#define SBXI_FIND(name, option, kind, member) SBXI_PARAM(name, option, kind, sbx_find_opts, member, 0, NULL)

static const sbxi_param sbxi_find_params[] = {
    SBXI_FIND("glob", "glob", SBXI_P_STR, glob),
    SBXI_FIND("limit", "limit", SBXI_P_INT, limit),
};
const sbxi_schema sbxi_find_schema = { sbxi_find_params, SBXI_COUNT(sbxi_find_params), 0 };

static const sbxi_param sbxi_download_params[] = {
    SBXI_PARAM("expires_in_seconds", "expires_in_s", SBXI_P_INT, sbx_download_opts, expires_in_s, 0, NULL),
    SBXI_PARAM("content_type", "content_type", SBXI_P_STR, sbx_download_opts, content_type, 0, NULL),
};
const sbxi_schema sbxi_download_schema = { sbxi_download_params, SBXI_COUNT(sbxi_download_params), 0 };

/* ---- what failing answers mean ---- */

#define SBXI_RULE(status, code, resource, type) { status, code, resource, type }

static const sbxi_rule sbxi_control_rule_list[] = {
    SBXI_RULE(401, SBX_ERR_AUTH, 0, NULL),
    SBXI_RULE(403, SBX_ERR_AUTH, 0, NULL),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL),
    SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL),
    SBXI_RULE(422, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(429, SBX_ERR_QUOTA, 0, NULL),
    SBXI_RULE(400, SBX_ERR_NOT_READY, 0, "NotReady"),
    SBXI_RULE(400, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(502, SBX_ERR_CONNECTION, 0, "ConnectionError"),
};

static bool sbxi_has_word(const char *text, const char *word)
{
    for (; *text; text++) {
        size_t i = 0;

        while (word[i] && sbxi_lower(text[i]) == word[i])
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

/* The service tells quotas apart in words only. */
static void sbxi_refine_quota(sbxi_op *op)
{
    static const struct {
        const char *word;
        uint8_t counted, quota;
    } quotas[] = {
        { "sandbox", 1, SBX_QUOTA_SANDBOX_COUNT }, { "cpu", 0, SBX_QUOTA_CPU }, { "memory", 0, SBX_QUOTA_MEMORY },
        { "volume", 1, SBX_QUOTA_VOLUME_COUNT }, { "storage", 0, SBX_QUOTA_STORAGE },
    };
    const char *text = op->block && op->fail.has_text ? op->block->failure.text : "";
    bool counted = sbxi_has_word(text, "count") || sbxi_has_word(text, "limit");

    for (unsigned i = 0; i < SBXI_COUNT(quotas) && op->fail.code == SBX_ERR_QUOTA; i++) {
        if ((quotas[i].counted && !counted) || !sbxi_has_word(text, quotas[i].word))
            continue;
        op->fail.quota = quotas[i].quota;
        return;
    }
}

const sbxi_rules sbxi_control_rules = { sbxi_control_rule_list, SBXI_COUNT(sbxi_control_rule_list), NULL, sbxi_refine_quota };

/* A server's words for a path that it does not know say less than our own. */
static bool sbxi_is_unknown_path(const sbxi_op *op)
{
    const sbxi_failure *f = op->block ? &op->block->failure : NULL;

    return op->fail.status == 404 && f && !f->type[0] && (!f->text[0] || sbxi_eq_nocase(sbx_s(f->text), sbx_s("Not Found")));
}

/* 404 for a collection's own path. */
SBXI_FN void sbxi_refine_endpoint(sbxi_op *op)
{
    if (!sbxi_is_unknown_path(op))
        return;
    op->fail.code = SBX_ERR_NO_ENDPOINT;
    op->fail.resource = op->row->resource;
    op->fail.has_text = false;
    op->fail.text = SBXI_T("the server has no such path: check the endpoint (LANGSMITH_ENDPOINT is the server alone, /v2/sandboxes is put behind it; `endpoint` is the whole URL), or its API is of another generation");
}

static const sbxi_rule sbxi_list_rule_list[] = { SBXI_RULE(404, SBX_ERR_NO_ENDPOINT, 0, NULL) };
const sbxi_rules sbxi_list_rules = { sbxi_list_rule_list, SBXI_COUNT(sbxi_list_rule_list), &sbxi_control_rules, sbxi_refine_endpoint };

static const sbxi_rule sbxi_made_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL) };
const sbxi_rules sbxi_made_rules = { sbxi_made_rule_list, SBXI_COUNT(sbxi_made_rule_list), &sbxi_control_rules, sbxi_refine_endpoint };

/* 422 is the sandbox that failed, unless it names a part of the request. */
static const sbxi_rule sbxi_create_rule_list[] = {
#if !SBX_NO_LEGACY
    SBXI_RULE(0, SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "TemplateNotFound"),
#endif
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT, NULL),
    SBXI_RULE(408, SBX_ERR_TIMEOUT, 0, NULL),
    SBXI_RULE(422, SBX_ERR_VALIDATION, 0, "value_error"),
    SBXI_RULE(422, SBX_ERR_CREATION, 0, NULL),
    SBXI_RULE(503, SBX_ERR_CREATION, 0, NULL),
};

static void sbxi_refine_creation(sbxi_op *op)
{
    sbxi_refine_endpoint(op);
    if (!SBX_NO_LEGACY && op->fail.status == 404 && op->block && op->fail.has_text && sbxi_has_word(op->block->failure.text, "template"))
        op->fail.resource = SBX_RESOURCE_TEMPLATE; /* older servers tell it in words only */
    if (op->fail.status == 422 && op->block && op->block->failure.field[0])
        op->fail.code = SBX_ERR_VALIDATION;
    if (op->fail.status == 503 && op->block && op->fail.has_text && !op->block->failure.type[0])
        sbxi_copy_z(op->block->failure.type, sizeof op->block->failure.type, "Unschedulable");
}
const sbxi_rules sbxi_create_rules = { sbxi_create_rule_list, SBXI_COUNT(sbxi_create_rule_list), &sbxi_control_rules, sbxi_refine_creation };

static const sbxi_rule sbxi_update_rule_list[] = {
    SBXI_RULE(400, SBX_ERR_NOT_READY, 0, "InvalidRequest"),
    SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL),
};
const sbxi_rules sbxi_update_rules = { sbxi_update_rule_list, SBXI_COUNT(sbxi_update_rule_list), &sbxi_control_rules, NULL };

/* A path that the server does not know at all is no missing thing. The words
   are those of its framework, the service's own errors have a type. */
static void sbxi_refine_path(sbxi_op *op)
{
    if (op->block && strcmp(op->block->failure.text, "Not Found") == 0)
        sbxi_refine_endpoint(op);
}

static const sbxi_rule sbxi_named_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL) };
const sbxi_rules sbxi_named_rules = { sbxi_named_rule_list, SBXI_COUNT(sbxi_named_rule_list), &sbxi_control_rules, sbxi_refine_path };

static const sbxi_rule sbxi_drop_rule_list[] = { SBXI_RULE(409, SBX_ERR_IN_USE, 0, NULL) };
const sbxi_rules sbxi_drop_rules = { sbxi_drop_rule_list, SBXI_COUNT(sbxi_drop_rule_list), &sbxi_named_rules, NULL };

/* What a build or capture may not find, or pull. */
static const sbxi_rule sbxi_build_image_rule_list[] = { SBXI_RULE(422, SBX_ERR_CREATION, 0, "ImagePull") };
static const sbxi_rules sbxi_build_image_rules = { sbxi_build_image_rule_list, SBXI_COUNT(sbxi_build_image_rule_list), &sbxi_control_rules, NULL };
static const sbxi_rule sbxi_build_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_REGISTRY, NULL) };
const sbxi_rules sbxi_snapshot_build_rules = { sbxi_build_rule_list, SBXI_COUNT(sbxi_build_rule_list), &sbxi_build_image_rules, sbxi_refine_endpoint };
static const sbxi_rule sbxi_capture_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, NULL) };
const sbxi_rules sbxi_snapshot_capture_rules = { sbxi_capture_rule_list, SBXI_COUNT(sbxi_capture_rule_list), &sbxi_build_image_rules, sbxi_refine_path };

static const sbxi_rule sbxi_data_rule_list[] = {
    SBXI_RULE(401, SBX_ERR_AUTH, 0, NULL),
    SBXI_RULE(403, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound"),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL),
    SBXI_RULE(0, SBX_ERR_NOT_FOUND, SBX_RESOURCE_FILE, "FileNotFound"),
    SBXI_RULE(416, SBX_ERR_RANGE, 0, NULL),
    SBXI_RULE(412, SBX_ERR_CHANGED, 0, NULL),
    SBXI_RULE(502, SBX_ERR_CONNECTION, 0, "ConnectionError"),
    SBXI_RULE(400, SBX_ERR_NOT_READY, 0, "NotReady"),
    SBXI_RULE(503, SBX_ERR_NOT_READY, 0, "ServiceUnavailable"),
    SBXI_RULE(0, SBX_ERR_OPERATION, 0, "WriteError"),
    SBXI_RULE(0, SBX_ERR_OPERATION, 0, "ReadError"),
    SBXI_RULE(0, SBX_ERR_OPERATION, 0, "CommandError"),
    SBXI_RULE(0, SBX_ERR_COMMAND_TIMEOUT, SBX_RESOURCE_COMMAND, "CommandTimeout"),
    SBXI_RULE(400, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL),
    SBXI_RULE(422, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(429, SBX_ERR_QUOTA, 0, NULL),
};
const sbxi_rules sbxi_data_rules = { sbxi_data_rule_list, SBXI_COUNT(sbxi_data_rule_list), NULL, sbxi_refine_quota };

/* Older servers know no search. */
static const sbxi_rule sbxi_find_rule_list[] = {
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound"),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL),
};
const sbxi_rules sbxi_find_rules = { sbxi_find_rule_list, SBXI_COUNT(sbxi_find_rule_list), &sbxi_data_rules, sbxi_refine_path };

/* A link has no key that could be wrong, but an end. */
static const sbxi_rule sbxi_fetch_rule_list[] = {
    SBXI_RULE(401, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(403, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(410, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(301, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(302, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(303, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(307, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(308, SBX_ERR_UNSUPPORTED, 0, NULL),
};

static void sbxi_refine_fetch(sbxi_op *op)
{
    if (op->fail.code == SBX_ERR_PERMISSION)
        op->fail.text = SBXI_T("the link has expired, or is not a whole one: get a new one (sbx_download_url)");
    else if (op->fail.code == SBX_ERR_UNSUPPORTED)
        op->fail.text = SBXI_T("the server redirects, which is not followed: fetch the URL that it names");
}
const sbxi_rules sbxi_fetch_rules = { sbxi_fetch_rule_list, SBXI_COUNT(sbxi_fetch_rule_list), &sbxi_data_rules, sbxi_refine_fetch };

static const sbxi_rule sbxi_share_rule_list[] = { SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL) };

/* The server's words come behind what to do. */
static void sbxi_refine_share(sbxi_op *op)
{
#if SBX_NO_ERROR_TEXT
    (void)op;
#else
    static const char why[] = "the port is shared in the other mode (token or login): sbx_service_close ends that. ";
    sbxi_failure *f = op->fail.has_text && op->block ? &op->block->failure : NULL;
    size_t n = f ? strlen(f->text) : 0, at = sizeof why - 1;

    if (!f)
        return;
    if (n >= sizeof f->text - at) {
        n = sbxi_utf8_cut(f->text, sizeof f->text - at - 1);
        f->cut = true;
    }
    memmove(f->text + at, f->text, n);
    memcpy(f->text, why, at);
    f->text[at + n] = 0;
#endif
}
const sbxi_rules sbxi_share_rules = { sbxi_share_rule_list, SBXI_COUNT(sbxi_share_rule_list), &sbxi_named_rules, sbxi_refine_share };

/* No such path at all: the server is older, or it is not a data plane. */
static const sbxi_rule sbxi_stream_rule_list[] = {
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound"),
    SBXI_RULE(404, SBX_ERR_NO_ENDPOINT, 0, NULL),
    SBXI_RULE(200, SBX_ERR_PROTOCOL, 0, NULL), /* it did not upgrade */
};
const sbxi_rules sbxi_stream_rules = { sbxi_stream_rule_list, SBXI_COUNT(sbxi_stream_rule_list), &sbxi_data_rules, NULL };
