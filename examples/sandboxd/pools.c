/* Control plane, older generations: pools. A sandbox starts in a fraction of a
 * second here, so replicas are a number that is kept, and nothing is warmed. */
#include "legacy.h"

#include <string.h>

#include "http.h"
#include "model.h"
#include "resources.h"

struct record_kind pools = { .dir = "pools", .what = "Pool" };

void pools_load(void)
{
	record_load(&pools);
}

static json_t *show(void *record)
{
	const struct record *p = record, *template = record_find(&templates, record_text(p, "template_id"));
	json_t *out = json_copy(p->doc);

	json_object_del(out, "template_id");
	json_object_set_new(out, "template_name", json_string(template ? record_text(template, "name") : ""));
	return out;
}

static bool checked(struct req *r, const json_t *body, bool all)
{
	json_t *details = json_array();

	model_check_name(body, details);
	model_check_integer(body, "replicas", all ? 1 : 0, 100, details); /* with none it rests */
	if (all && !json_is_string(json_object_get(body, "name")))
		model_problem(details, "body", "name", "name is required");
	if (all && !json_is_integer(json_object_get(body, "replicas")))
		model_problem(details, "body", "replicas", "replicas is required");
	if (all && !json_string_length(json_object_get(body, "template_name")))
		model_problem(details, "body", "template_name", "template_name is required");
	if (json_array_size(details)) {
		http_invalid(r, details);
		return false;
	}
	json_decref(details);
	return true;
}

static void create(struct req *r)
{
	json_t *body = http_body_json(r);
	const struct record *template;
	const char *name;

	if (!body || !checked(r, body, true) ||
	    !record_name_free(&pools, r, json_string_value(json_object_get(body, "name")), NULL))
		return;
	name = json_string_value(json_object_get(body, "template_name"));
	template = record_find(&templates, name);
	if (!template)
		http_error(r, 400, "TemplateNotFound", "Template '%s' not found", name);
	else if (json_array_size(json_object_get(template->doc, "volume_mounts")))
		http_error(r, 400, "ValidationError", "Template '%s' mounts volumes, which pools do not support", name);
	else
		http_json(r, 201,
			  show(record_new(&pools, json_pack("{s:O,s:O,s:s}", "name", json_object_get(body, "name"), "replicas",
							    json_object_get(body, "replicas"), "template_id", template->id))));
}

static void get(struct req *r)
{
	struct record *found = record_named(&pools, r);

	if (found)
		http_json(r, 200, show(found));
}

static void update(struct req *r)
{
	static const char *const fields[] = { "name", "replicas" };
	struct record *found = record_named(&pools, r);
	json_t *body = found ? http_body_json(r) : NULL;

	if (!body || !checked(r, body, false) ||
	    !record_name_free(&pools, r, json_string_value(json_object_get(body, "name")), found))
		return;
	for (int i = 0; i < 2; i++)
		if (json_object_get(body, fields[i]) && !json_is_null(json_object_get(body, fields[i])))
			json_object_set(found->doc, fields[i], json_object_get(body, fields[i]));
	if (json_object_size(body))
		record_changed(&pools, found);
	http_json(r, 200, show(found));
}

static void delete_pool(struct req *r)
{
	struct record *found = record_named(&pools, r);

	if (!found)
		return;
	record_remove(&pools, found);
	http_empty(r, 204);
}

static void list(struct req *r)
{
	record_list(&pools, r, show);
}

const struct route pools_routes[] = {
	{ "POST", "/v2/sandboxes/pools", ROUTE_CONTROL, create, NULL },
	{ "GET", "/v2/sandboxes/pools", ROUTE_CONTROL, list, NULL },
	{ "GET", "/v2/sandboxes/pools/{}", ROUTE_CONTROL, get, NULL },
	{ "PATCH", "/v2/sandboxes/pools/{}", ROUTE_CONTROL, update, NULL },
	{ "DELETE", "/v2/sandboxes/pools/{}", ROUTE_CONTROL, delete_pool, NULL },
	{ 0 },
};
