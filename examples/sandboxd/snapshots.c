/* Control plane: snapshots. */
#include "resources.h"

#include <string.h>

#include "box.h"
#include "model.h"
#include "page.h"
#include "snapshot.h"

static json_t *show(void *snapshot)
{
	static const char *const hidden[] = { "wanted_tag", "own_system", "updated_by", NULL };
	const struct snapshot *s = snapshot;
	json_t *out = json_copy(s->rec.doc);

	for (int i = 0; hidden[i]; i++)
		json_object_del(out, hidden[i]);
	return out;
}

static struct snapshot *named(struct req *r)
{
	struct snapshot *s = snapshot_find(r->arg[0]);

	if (!s)
		http_error(r, 404, "ResourceNotFound", "Snapshot '%s' not found", r->arg[0]);
	return s;
}

/* ---- building ---- */

static bool given(const json_t *body, const char *key)
{
	const json_t *v = json_object_get(body, key);

	return v && !json_is_null(v);
}

static void check_text(const json_t *body, const char *key, bool required, json_t *details)
{
	const json_t *v = json_object_get(body, key);

	if (!given(body, key)) {
		if (required)
			model_problem(details, "body", key, "%s is required", key);
	} else if (!json_string_length(v) || strlen(json_string_value(v)) != json_string_length(v)) {
		model_problem(details, "body", key, "%s must be a non-empty string", key);
	}
}

static void check_tag(const json_t *body, json_t *details)
{
	const char *tag = json_string_value(json_object_get(body, "tag"));

	if (given(body, "tag") &&
	    (!tag || !*tag || strlen(tag) > 128 || *tag == '.' || *tag == '-' ||
	     strspn(tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != strlen(tag)))
		model_problem(details, "body", "tag", "tag must be 1 to 128 letters, digits, '_', '.' or '-'");
}

static void check_common(const json_t *body, json_t *details)
{
	const char *name = json_string_value(json_object_get(body, "name"));

	model_check_name(body, details);
	if (!given(body, "name"))
		model_problem(details, "body", "name", "name is required");
	else if (name && strchr(name, ':'))
		model_problem(details, "body", "name", "name must not hold a colon; the tag is a field of its own");
	model_check_integer(body, "fs_capacity_bytes", 1, INT64_MAX, details);
	model_check_run_config(json_object_get(body, "run_config"), details);
	model_check_labels(body, details);
	check_tag(body, details);
}

/* The record, or NULL when the problems were answered. Takes details. */
static json_t *record_of(struct req *r, const json_t *body, json_t *details)
{
	static const char *const stored[] = { "name",	     "docker_image", "fs_capacity_bytes", "registry_id",
					      "run_config", "labels",	     NULL };
	const char *tag = json_string_value(json_object_get(body, "tag"));
	json_t *doc;

	if (json_array_size(details)) {
		http_invalid(r, details);
		return NULL;
	}
	json_decref(details);
	doc = json_object();
	for (int i = 0; stored[i]; i++)
		if (given(body, stored[i]))
			json_object_set_new(doc, stored[i], json_deep_copy(json_object_get(body, stored[i])));
	json_object_set_new(doc, "wanted_tag", json_string(tag ? tag : "latest"));
	return doc;
}

static void build(struct req *r)
{
	/* The generation before registries had their own resource. Nothing here
	 * pulls, so they are checked and forgotten. */
	static const char *const older[] = { "registry_url", "registry_username", "registry_password" };
	json_t *body = http_body_json(r), *details, *doc;
	const char *registry;

	if (!body)
		return;
	details = json_array();
	check_common(body, details);
	check_text(body, "docker_image", true, details);
	check_text(body, "registry_id", false, details);
	for (int i = 0; i < 3; i++)
		check_text(body, older[i], false, details);
	if (!given(body, "fs_capacity_bytes"))
		model_problem(details, "body", "fs_capacity_bytes", "fs_capacity_bytes is required");
	doc = record_of(r, body, details);
	if (!doc)
		return;
	registry = json_string_value(json_object_get(doc, "registry_id"));
	if (registry && !registry_exists(registry)) {
		http_error(r, 404, "ResourceNotFound", "Registry '%s' not found", registry);
		json_decref(doc);
		return;
	}
	http_json(r, 201, show(snapshot_build(doc)));
}

/* ---- capturing ---- */

/* What the sandbox got from its own snapshot goes on in the new one. */
static void inherit(json_t *doc, const struct box *b)
{
	const json_t *config = json_object_get(b->doc, "snapshot_run_config");

	if (!json_object_get(doc, "fs_capacity_bytes"))
		json_object_set(doc, "fs_capacity_bytes", json_object_get(b->doc, "fs_capacity_bytes"));
	if (config && !json_object_get(doc, "run_config"))
		json_object_set_new(doc, "run_config", json_deep_copy(config));
}

static void capture(struct req *r)
{
	struct box *b = box_find(r->arg[0], true);
	json_t *body, *details, *doc;

	if (!b) {
		http_error(r, 404, "ResourceNotFound", "Sandbox '%s' not found", r->arg[0]);
		return;
	}
	body = http_body_json(r);
	if (!body)
		return;
	details = json_array();
	check_common(body, details);
	check_text(body, "docker_image", false, details);
	check_text(body, "checkpoint", false, details);
	if (given(body, "include_memory") && !json_is_boolean(json_object_get(body, "include_memory")))
		model_problem(details, "body", "include_memory", "include_memory must be a boolean");
	doc = record_of(r, body, details);
	if (!doc)
		return;
	if (given(body, "checkpoint")) {
		http_error(r, 404, "ResourceNotFound", "Checkpoint '%s' not found",
			   json_string_value(json_object_get(body, "checkpoint")));
		json_decref(doc);
	} else if (b->status != BOX_READY && b->status != BOX_STOPPED) {
		http_error(r, 409, "Conflict", "Sandbox '%s' is %s; it must be ready or stopped", r->arg[0],
			   box_status_text(b));
		json_decref(doc);
	} else {
		inherit(doc, b);
		http_json(r, 201, show(snapshot_capture(doc, b)));
	}
}

/* ---- the rest ---- */

static void get(struct req *r)
{
	struct snapshot *s = named(r);

	if (s)
		http_json(r, 200, show(s));
}

static void delete_one(struct req *r)
{
	struct snapshot *s = named(r);

	if (!s)
		return;
	snapshot_delete(s);
	http_empty(r, 204);
}

static void list(struct req *r)
{
	static const char *const columns[] = { "created_at", "name", "status", NULL };
	struct pages p;

	if (!pages_begin(&p, r, columns))
		return;
	for (struct record *each = snapshots.all; each; each = each->next)
		pages_add(&p, each->id, record_text(each, "status"), each->doc, each);
	pages_answer(&p, "snapshots", show);
}

static void by_name(struct req *r)
{
	json_t *tags = json_array(), *v;
	bool any = false;
	size_t i;

	for (struct record *each = snapshots.all; each; each = each->next) {
		if (strcmp(record_text(each, "name"), r->arg[0]) != 0)
			continue;
		any = true;
		json_array_foreach(json_object_get(each->doc, "tags"), i, v)
			json_array_append_new(tags, json_pack("{s:s,s:O}", "snapshot_id", each->id, "tag", v));
	}
	if (any)
		http_json(r, 200, json_pack("{s:s,s:o}", "name", r->arg[0], "tags", tags));
	else
		http_error(r, 404, "ResourceNotFound", "Snapshot '%s' not found", r->arg[0]);
	if (!any)
		json_decref(tags);
}

const struct route snapshots_routes[] = {
	{ "POST", "/v2/sandboxes/snapshots", ROUTE_CONTROL, build, NULL },
	{ "GET", "/v2/sandboxes/snapshots", ROUTE_CONTROL, list, NULL },
	{ "GET", "/v2/sandboxes/snapshots/{}", ROUTE_CONTROL, get, NULL },
	{ "DELETE", "/v2/sandboxes/snapshots/{}", ROUTE_CONTROL, delete_one, NULL },
	{ "GET", "/v2/sandboxes/snapshots-by-name/{}", ROUTE_CONTROL, by_name, NULL },
	{ "POST", "/v2/sandboxes/boxes/{}/snapshot", ROUTE_CONTROL, capture, NULL },
	{ 0 },
};
