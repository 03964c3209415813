#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "generation.h"
#include "http.h"
#include "server.h"

#define MAX_DELETE_AFTER 2592000
#define GIB (1024LL * 1024 * 1024)
#define DEFAULT_IDLE_TTL 600
#define DEFAULT_FS_BYTES (16 * GIB)

void model_problem(json_t *details, const char *where, const char *field, const char *fmt, ...)
{
	va_list ap;
	json_t *msg;

	va_start(ap, fmt);
	msg = json_vsprintf(fmt, ap);
	va_end(ap);
	json_array_append_new(details, json_pack("{s:[s,s],s:o,s:s}", "loc", where, field, "msg",
						 msg ? msg : json_string("Invalid value"), "type", "value_error"));
}

#define PROBLEM(field, ...) model_problem(details, "body", field, __VA_ARGS__)

static bool given(const json_t *body, const char *key)
{
	const json_t *v = json_object_get(body, key);

	return v && !json_is_null(v);
}

void model_check_integer(const json_t *body, const char *key, json_int_t min, json_int_t max, json_t *details)
{
	const json_t *v = json_object_get(body, key);

	if (!given(body, key))
		return;
	if (!json_is_integer(v))
		PROBLEM(key, "%s must be an integer", key);
	else if (json_integer_value(v) < min)
		PROBLEM(key, "%s must be >= %lld", key, (long long)min);
	else if (json_integer_value(v) > max)
		PROBLEM(key, "%s must be <= %lld", key, (long long)max);
}

static void check_ttl(const json_t *body, const char *key, json_int_t max, json_t *details)
{
	size_t before = json_array_size(details);

	model_check_integer(body, key, 0, max, details);
	if (given(body, key) && json_array_size(details) == before &&
	    json_integer_value(json_object_get(body, key)) % 60 != 0)
		PROBLEM(key, "%s must be a multiple of 60 seconds", key);
}

static void check_bool(const json_t *body, const char *key, json_t *details)
{
	if (given(body, key) && !json_is_boolean(json_object_get(body, key)))
		PROBLEM(key, "%s must be a boolean", key);
}

void model_check_name(const json_t *body, json_t *details)
{
	const json_t *v = json_object_get(body, "name");
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);

	if (!given(body, "name"))
		return;
	if (!s || !n || n > 128) {
		PROBLEM("name", "name must be a string of 1 to 128 bytes");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) {
			PROBLEM("name", "name must not hold control characters");
			return;
		}
	}
}

void model_check_env(const json_t *env, const char *field, json_t *details)
{
	const char *key;
	json_t *v;

	if (!env || json_is_null(env))
		return;
	if (!json_is_object(env)) {
		PROBLEM(field, "%s must be an object of strings", field);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)env, key, v)
	{
		if (!json_is_string(v))
			PROBLEM(field, "the value of %s must be a string", key);
		else if (!*key || strchr(key, '='))
			PROBLEM(field, "'%s' is not a variable name", key);
		else if (strlen(json_string_value(v)) != json_string_length(v))
			PROBLEM(field, "the value of %s must not hold a NUL character", key);
	}
}

void model_check_run_config(const json_t *rc, json_t *details)
{
	const char *user = json_string_value(json_object_get(rc, "user"));
	const char *dir = json_string_value(json_object_get(rc, "work_dir"));

	if (!rc || json_is_null(rc))
		return;
	if (!json_is_object(rc)) {
		PROBLEM("run_config", "run_config must be an object");
		return;
	}
	if (given(rc, "user") && (!user || (*user && strcmp(user, "root") != 0 && strcmp(user, "0") != 0)))
		PROBLEM("user", "run_config.user: only root exists in this server's sandboxes");
	if (given(rc, "work_dir") && (!dir || (*dir && *dir != '/')))
		PROBLEM("work_dir", "run_config.work_dir must be an absolute path");
	model_check_env(json_object_get(rc, "env_vars"), "env_vars", details);
}

static void check_delegation(const json_t *body, json_t *details)
{
	const json_t *d = json_object_get(body, "access_delegation"), *p = json_object_get(d, "permissions");
	const char *mode = json_string_value(json_object_get(d, "mode"));
	size_t n = json_array_size(p);

	if (!given(body, "access_delegation"))
		return;
	if (!mode || (strcmp(mode, "INHERIT") != 0 && strcmp(mode, "EXPLICIT") != 0))
		PROBLEM("access_delegation", "access_delegation.mode must be INHERIT or EXPLICIT");
	else if (*mode == 'I' && n)
		PROBLEM("access_delegation", "access_delegation.permissions is not allowed with mode INHERIT");
	else if (*mode == 'E' && !n)
		PROBLEM("access_delegation", "access_delegation.permissions is required with mode EXPLICIT");
	for (size_t i = 0; i < n; i++)
		if (!json_is_string(json_array_get(p, i)))
			PROBLEM("access_delegation", "access_delegation.permissions must be strings");
}

void model_check_labels(const json_t *body, json_t *details)
{
	json_t *labels = json_object_get(body, "labels"), *v;
	const char *key;

	if (!given(body, "labels"))
		return;
	if (!json_is_object(labels) || json_object_size(labels) > 128) {
		PROBLEM("labels", "labels must be an object of at most 128 strings");
		return;
	}
	json_object_foreach(labels, key, v)
	{
		if (!*key || strlen(key) > 256 || !json_is_string(v) || json_string_length(v) > 4096)
			PROBLEM("labels", "a label has a key of 1 to 256 bytes and a string of at most 4096 bytes");
	}
}

/* What create and update share. */
static void check_common(const json_t *body, json_t *details)
{
	model_check_name(body, details);
	check_ttl(body, "idle_ttl_seconds", INT32_MAX, details);
	check_ttl(body, "delete_after_stop_seconds", MAX_DELETE_AFTER, details);
	if (generation() != GENERATION_CURRENT)
		check_ttl(body, "ttl_seconds", INT32_MAX, details);
	model_check_integer(body, "vcpus", 1, 64, details);
	model_check_integer(body, "cpu_millicores", 1, 64000, details);
	model_check_integer(body, "mem_bytes", 1, 64 * GIB, details);
	model_check_integer(body, "fs_capacity_bytes", 1, INT64_MAX, details);
	if (given(body, "run_config"))
		model_check_run_config(json_object_get(body, "run_config"), details);
	model_check_configs(body, details);
	if (given(body, "tag_value_ids") && !json_is_array(json_object_get(body, "tag_value_ids")))
		PROBLEM("tag_value_ids", "tag_value_ids must be an array");
}

static void copy(json_t *doc, const json_t *body, const char *key)
{
	if (given(body, key))
		json_object_set_new(doc, key, json_deep_copy(json_object_get(body, key)));
}

/* CPU and memory follow each other at 4 GiB a CPU. */
static void size_resources(json_t *doc, json_t *details)
{
	json_int_t vcpus = json_integer_value(json_object_get(doc, "vcpus"));
	json_int_t milli = json_integer_value(json_object_get(doc, "cpu_millicores"));
	json_int_t mem = json_integer_value(json_object_get(doc, "mem_bytes"));
	double ratio;

	if (!milli)
		milli = vcpus ? vcpus * 1000 : mem ? (mem + 4 * GIB - 1) / (4 * GIB) * 1000 : 1000;
	else
		vcpus = 0;
	if (!vcpus)
		vcpus = (milli + 999) / 1000;
	if (!mem)
		mem = milli * (4 * GIB) / 1000;
	else {
		ratio = (double)mem / ((double)milli * (4.0 * (double)GIB) / 1000);
		if (given(doc, "vcpus") || given(doc, "cpu_millicores"))
			if (ratio < 0.5 || ratio > 1.5)
				PROBLEM("mem_bytes", "mem_bytes must be within 50%% of 4 GiB per vCPU");
	}
	json_object_set_new(doc, "vcpus", json_integer(vcpus));
	json_object_set_new(doc, "cpu_millicores", json_integer(milli));
	json_object_set_new(doc, "mem_bytes", json_integer(mem));
}

/* Where it is made from, which the older generations require. */
static void check_source(const json_t *body, json_t *details)
{
	int snapshots = given(body, "snapshot_id") + (given(body, "snapshot_name") || given(body, "snapshot"));
	int templates = generation() != GENERATION_CURRENT && given(body, "template_name");

	if (snapshots > 1)
		PROBLEM("snapshot_id", "give at most one of snapshot_id and snapshot_name");
	if (snapshots && templates)
		PROBLEM("template_name", "give either template_name or a snapshot");
	if (generation() == GENERATION_2026_04_A && !templates)
		PROBLEM("template_name", "template_name is required");
	if (generation() == GENERATION_2026_04_B && !templates && !snapshots)
		PROBLEM("template_name", "template_name or snapshot_id is required");
	if (templates && !json_string_length(json_object_get(body, "template_name")))
		PROBLEM("template_name", "template_name must be a non-empty string");
}

json_t *model_create(const json_t *body, json_t *details)
{
	static const char *const stored[] = {
		"name",		"idle_ttl_seconds", "delete_after_stop_seconds", "vcpus",	       "mem_bytes",
		"cpu_millicores", "fs_capacity_bytes", "mount_config",	       "proxy_config",	       "run_config",
		"access_delegation", "labels",	     "env_vars",		 "preserve_memory_on_stop", "tag_value_ids",
		NULL
	};
	json_t *doc = json_object();
	char name[40], id[37];

	if (!json_is_object(body)) {
		PROBLEM("body", "the body must be a JSON object");
		json_decref(doc);
		return NULL;
	}
	check_common(body, details);
	check_delegation(body, details);
	model_check_labels(body, details);
	model_check_env(json_object_get(body, "env_vars"), "env_vars", details);
	check_bool(body, "wait_for_ready", details);
	check_bool(body, "preserve_memory_on_stop", details);
	check_bool(body, "restore_memory", details);
	if (json_is_true(json_object_get(body, "restore_memory")))
		PROBLEM("restore_memory", "this server's snapshots hold no memory to restore");
	if (given(body, "timeout") && !(json_number_value(json_object_get(body, "timeout")) > 0))
		PROBLEM("timeout", "timeout must be a number of seconds > 0");
	check_source(body, details);
	for (int i = 0; stored[i]; i++)
		copy(doc, body, stored[i]);
	if (!json_array_size(details))
		size_resources(doc, details);
	if (json_array_size(details)) {
		json_decref(doc);
		return NULL;
	}
	if (!given(doc, "name")) {
		make_uuid(id);
		snprintf(name, sizeof name, "sandbox-%.8s", id);
		json_object_set_new(doc, "name", json_string(name));
	}
	if (!given(doc, "idle_ttl_seconds"))
		json_object_set_new(doc, "idle_ttl_seconds", json_integer(generation_old() ? 0 : DEFAULT_IDLE_TTL));
	if (generation() != GENERATION_CURRENT)
		copy(doc, body, "ttl_seconds");
	if (!given(doc, "delete_after_stop_seconds"))
		json_object_set_new(doc, "delete_after_stop_seconds", json_integer(0));
	if (!given(doc, "fs_capacity_bytes"))
		json_object_set_new(doc, "fs_capacity_bytes", json_integer(DEFAULT_FS_BYTES));
	if (!given(doc, "preserve_memory_on_stop"))
		json_object_set_new(doc, "preserve_memory_on_stop", json_false());
	json_object_set_new(doc, "created_by", json_string("sandboxd"));
	return doc;
}

bool model_update(json_t *doc, const json_t *body, json_t *details)
{
	static const char *const fields[] = { "name",	      "idle_ttl_seconds", "delete_after_stop_seconds",
					      "proxy_config", "run_config",	  "vcpus",
					      "mem_bytes",    "fs_capacity_bytes", "cpu_millicores",
					      "tag_value_ids", NULL };
	/* An explicit null takes these away. */
	static const char *const clearable[] = { "mount_config", "proxy_config", "run_config", "tag_value_ids", NULL };

	if (!json_is_object(body)) {
		PROBLEM("body", "the body must be a JSON object");
		return false;
	}
	check_common(body, details);
	if (json_array_size(details))
		return false;
	for (int i = 0; fields[i]; i++)
		copy(doc, body, fields[i]);
	if (generation() != GENERATION_CURRENT)
		copy(doc, body, "ttl_seconds");
	for (int i = 0; clearable[i]; i++)
		if (json_is_null(json_object_get(body, clearable[i])))
			json_object_del(doc, clearable[i]);
	if (given(body, "vcpus") && !given(body, "cpu_millicores"))
		json_object_set_new(doc, "cpu_millicores",
				    json_integer(json_integer_value(json_object_get(body, "vcpus")) * 1000));
	else if (given(body, "cpu_millicores"))
		json_object_set_new(
			doc, "vcpus",
			json_integer((json_integer_value(json_object_get(body, "cpu_millicores")) + 999) / 1000));
	json_object_set_new(doc, "updated_by", json_string("sandboxd"));
	return true;
}

json_t *model_redact(const json_t *value)
{
	const char *key, *type = json_string_value(json_object_get(value, "type"));
	json_t *out, *v;
	size_t i;

	if (json_is_array(value)) {
		out = json_array();
		json_array_foreach(value, i, v) json_array_append_new(out, model_redact(v));
		return out;
	}
	if (!json_is_object(value))
		return json_deep_copy(value);
	out = json_object();
	json_object_foreach((json_t *)(uintptr_t)value, key, v) json_object_set_new(out, key, model_redact(v));
	/* A workspace secret's value is only a reference ({NAME}) and stays. */
	if (type && strcmp(type, "opaque") == 0 && json_object_get(out, "value")) {
		json_object_del(out, "value");
		json_object_set_new(out, "is_set", json_true());
	}
	return out;
}

json_t *box_json(const struct box *b, struct req *r)
{
	static const char *const hidden[] = { "stopped_ms",	     "created_ms", "status",	   "env_vars",	    "seed",
					      "snapshot_run_config", "own_system", "template_id", "volume_mounts", "shares", NULL };
	json_t *out = json_object(), *v;
	const char *key;
	char *base = http_base(r);

	json_object_set_new(out, "id", json_string(b->id));
	json_object_foreach(b->doc, key, v)
	{
		int h = 0;

		while (hidden[h] && strcmp(hidden[h], key) != 0)
			h++;
		if (hidden[h])
			continue;
		if (strcmp(key, "mount_config") == 0 || strcmp(key, "proxy_config") == 0)
			json_object_set_new(out, key, model_redact(v));
		else
			json_object_set(out, key, v);
	}
	json_object_set_new(out, "status", json_string(box_status_text(b)));
	json_object_set_new(out, "status_message", b->status_message ? json_string(b->status_message) : json_null());
	if (generation_old() && b->status != BOX_READY)
		json_object_set_new(out, "dataplane_url", json_null());
	else
		json_object_set_new(out, "dataplane_url", json_sprintf("%s/dataplane/%s", base, b->id));
	free(base);
	if (!json_object_get(out, "stopped_at"))
		json_object_set_new(out, "stopped_at", json_null());
	return out;
}

const char *model_work_dir(const struct box *b)
{
	static const char *const layers[] = { "run_config", "snapshot_run_config" };

	for (int i = 0; i < 2; i++) {
		const char *dir = json_string_value(json_object_get(json_object_get(b->doc, layers[i]), "work_dir"));

		if (dir && *dir)
			return dir;
	}
	return b->home;
}

static void merge_env(json_t *all, const json_t *env)
{
	if (json_is_object(env))
		json_object_update(all, (json_t *)(uintptr_t)env);
}

void model_environment(const struct box *b, const json_t *env, bool pty, struct buf *out)
{
	json_t *all = json_object(), *v;
	json_t *rules = json_object_get(json_object_get(b->doc, "proxy_config"), "rules");
	const char *key, *tools = !server.tools ? "" : server.isolation ? TOOLS_DIR : server.tools;
	size_t i;

	json_object_set_new(all, "PATH",
			    json_sprintf("%s%s/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", tools, *tools ? ":" : ""));
	json_object_set_new(all, "HOME", json_string(b->home));
	json_object_set_new(all, "USER", json_string("root"));
	json_object_set_new(all, "LOGNAME", json_string("root"));
	json_object_set_new(all, "SHELL", json_string("/bin/bash"));
	json_object_set_new(all, "LANG", json_string("C.UTF-8"));
	json_object_set_new(all, "HOSTNAME", json_string("sandbox"));
	if (pty)
		json_object_set_new(all, "TERM", json_string("xterm-256color"));
	json_array_foreach(rules, i, v)
	{
		if (!json_is_false(json_object_get(v, "enabled")))
			merge_env(all, json_object_get(v, "env_vars"));
	}
	merge_env(all, json_object_get(json_object_get(b->doc, "snapshot_run_config"), "env_vars"));
	merge_env(all, json_object_get(b->doc, "env_vars"));
	merge_env(all, json_object_get(json_object_get(b->doc, "run_config"), "env_vars"));
	merge_env(all, env);
	json_object_foreach(all, key, v)
	{
		if (!json_is_string(v))
			continue;
		buf_adds(out, key);
		buf_adds(out, "=");
		buf_addz(out, json_string_value(v));
	}
	json_decref(all);
}
