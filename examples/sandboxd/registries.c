/* Control plane: registries. Their passwords are stored and never shown. */
#include "resources.h"

#include <string.h>

#include "http.h"
#include "model.h"
#include "record.h"

static struct record_kind registries = { .dir = "registries", .what = "Registry" };

static const char *const fields[] = { "name", "url", "username", "password", NULL };

void registries_load(void)
{
	record_load(&registries);
}

bool registry_exists(const char *id)
{
	return record_find(&registries, id) != NULL;
}

static json_t *show(void *record)
{
	static const char *const shown[] = { "id",	   "name",	 "url",	       "created_at",
					     "created_by", "updated_at", "updated_by", NULL };
	const struct record *r = record;
	json_t *out = json_object();

	for (int i = 0; shown[i]; i++)
		json_object_set(out, shown[i], json_object_get(r->doc, shown[i]));
	return out;
}

static bool checked(struct req *r, const json_t *body, bool all)
{
	json_t *details = json_array();

	model_check_name(body, details);
	for (int i = 0; fields[i]; i++) {
		const json_t *v = json_object_get(body, fields[i]);

		if (!v || json_is_null(v)) {
			if (all)
				model_problem(details, "body", fields[i], "%s is required", fields[i]);
		} else if (!json_string_length(v)) {
			model_problem(details, "body", fields[i], "%s must be a non-empty string", fields[i]);
		}
	}
	if (json_array_size(details)) {
		http_invalid(r, details);
		return false;
	}
	json_decref(details);
	return true;
}

static void copy_fields(json_t *doc, const json_t *body)
{
	for (int i = 0; fields[i]; i++)
		if (json_is_string(json_object_get(body, fields[i])))
			json_object_set(doc, fields[i], json_object_get(body, fields[i]));
}

static void create(struct req *r)
{
	json_t *body = http_body_json(r), *doc;

	if (!body || !checked(r, body, true) ||
	    !record_name_free(&registries, r, json_string_value(json_object_get(body, "name")), NULL))
		return;
	doc = json_object();
	copy_fields(doc, body);
	http_json(r, 201, show(record_new(&registries, doc)));
}

static void get(struct req *r)
{
	struct record *found = record_named(&registries, r);

	if (found)
		http_json(r, 200, show(found));
}

static void update(struct req *r)
{
	struct record *found = record_named(&registries, r);
	json_t *body = found ? http_body_json(r) : NULL;

	if (!body || !checked(r, body, false) ||
	    !record_name_free(&registries, r, json_string_value(json_object_get(body, "name")), found))
		return;
	copy_fields(found->doc, body);
	if (json_object_size(body))
		record_changed(&registries, found);
	http_json(r, 200, show(found));
}

static void delete_registry(struct req *r)
{
	struct record *found = record_named(&registries, r);

	if (!found)
		return;
	record_remove(&registries, found);
	http_empty(r, 204);
}

static void list(struct req *r)
{
	record_list(&registries, r, show);
}

const struct route registries_routes[] = {
	{ "POST", "/v2/sandboxes/registries", ROUTE_CONTROL, create, NULL },
	{ "GET", "/v2/sandboxes/registries", ROUTE_CONTROL, list, NULL },
	{ "GET", "/v2/sandboxes/registries/{}", ROUTE_CONTROL, get, NULL },
	{ "PATCH", "/v2/sandboxes/registries/{}", ROUTE_CONTROL, update, NULL },
	{ "DELETE", "/v2/sandboxes/registries/{}", ROUTE_CONTROL, delete_registry, NULL },
	{ 0 },
};
