/* Control plane, older generations: templates. */
#include "legacy.h"

#include <string.h>

#include "box.h"
#include "http.h"
#include "image.h"
#include "model.h"
#include "quantity.h"
#include "resources.h"
#include "seed.h"
#include "server.h"

#define MAX_MOUNTS 16

struct record_kind templates = { .dir = "templates", .what = "Template" };

/* volume_mounts is stored with volume_id beside mount_path, and shown with the volume's name. */

void templates_load(void)
{
	record_load(&templates);
}

static json_t *show(void *record)
{
	const struct record *t = record;
	json_t *out = json_copy(t->doc), *mounts = json_array(), *v;
	size_t i;

	json_array_foreach(json_object_get(t->doc, "volume_mounts"), i, v)
	{
		const struct record *volume = record_find(&volumes, json_string_value(json_object_get(v, "volume_id")));

		json_array_append_new(mounts, json_pack("{s:s,s:O}", "volume_name", volume ? record_text(volume, "name") : "",
							"mount_path", json_object_get(v, "mount_path")));
	}
	json_object_set_new(out, "volume_mounts", mounts);
	return out;
}

const struct record *template_using_volume(const char *volume_id)
{
	size_t i;
	json_t *v;

	for (const struct record *t = templates.all; t; t = t->next) {
		json_array_foreach(json_object_get(t->doc, "volume_mounts"), i, v)
		{
			if (strcmp(json_string_value(json_object_get(v, "volume_id")), volume_id) == 0)
				return t;
		}
	}
	return NULL;
}

const struct box *box_using(const char *key, const char *id)
{
	for (const struct box *b = boxes; b; b = b->next) {
		const json_t *v = json_object_get(b->doc, key);
		const char *own = json_string_value(v);
		json_t *mount;
		size_t i;

		if (b->status == BOX_DELETING)
			continue;
		if (own && strcmp(own, id) == 0)
			return b;
		json_array_foreach(v, i, mount)
		{
			if (strcmp(json_string_value(json_object_get(mount, "volume_id")), id) == 0)
				return b;
		}
	}
	return NULL;
}

/* ---- checks ---- */

static void check_mount(const json_t *mounts, size_t i, json_t *details)
{
	const json_t *v = json_array_get(mounts, i);
	const char *path = json_string_value(json_object_get(v, "mount_path"));
	const char *volume = json_string_value(json_object_get(v, "volume_name"));

	if (!volume || !*volume)
		model_problem(details, "body", "volume_name", "volume_mounts[%zu].volume_name is required", i);
	if (!model_mount_path_ok(path)) {
		model_problem(details, "body", "mount_path",
			      "volume_mounts[%zu].mount_path must be an absolute path outside of the system's directories", i);
		return;
	}
	for (size_t k = 0; k < i; k++) {
		const char *other = json_string_value(json_object_get(json_array_get(mounts, k), "mount_path"));

		if (other && (model_path_covers(other, path) || model_path_covers(path, other)))
			model_problem(details, "body", "mount_path", "volume_mounts[%zu].mount_path overlaps with %s", i, other);
	}
}

static void check_resources(const json_t *body, json_t *details)
{
	const json_t *res = json_object_get(body, "resources");
	const json_t *cpu = json_object_get(res, "cpu"), *memory = json_object_get(res, "memory");
	const json_t *storage = json_object_get(res, "storage");
	int64_t n;

	if (!json_is_object(res))
		model_problem(details, "body", "resources", "resources must be an object with cpu and memory");
	if (cpu && !quantity_millicores(json_string_value(cpu), &n))
		model_problem(details, "body", "cpu", "resources.cpu must be an amount, like 500m or 2");
	if (memory && !quantity_bytes(json_string_value(memory), &n))
		model_problem(details, "body", "memory", "resources.memory must be an amount, like 512Mi");
	if (storage && !json_is_null(storage) && !quantity_bytes(json_string_value(storage), &n))
		model_problem(details, "body", "storage", "resources.storage must be an amount, like 10Gi");
}

static bool checked(struct req *r, const json_t *body)
{
	const json_t *mounts = json_object_get(body, "volume_mounts");
	json_t *details = json_array();

	model_check_name(body, details);
	if (!json_is_string(json_object_get(body, "name")))
		model_problem(details, "body", "name", "name is required");
	if (!json_string_length(json_object_get(body, "image")))
		model_problem(details, "body", "image", "image must be a non-empty string");
	check_resources(body, details);
	if (mounts && !json_is_null(mounts) && (!json_is_array(mounts) || json_array_size(mounts) > MAX_MOUNTS))
		model_problem(details, "body", "volume_mounts", "volume_mounts must be an array of at most %d", MAX_MOUNTS);
	for (size_t i = 0; i < json_array_size(mounts) && i < MAX_MOUNTS; i++)
		check_mount(mounts, i, details);
	if (json_array_size(details)) {
		http_invalid(r, details);
		return false;
	}
	json_decref(details);
	return true;
}

/* By id, since a volume may be renamed. NULL when it was answered. */
static json_t *mounts_by_id(struct req *r, const json_t *body)
{
	json_t *out = json_array(), *v;
	size_t i;

	json_array_foreach(json_object_get(body, "volume_mounts"), i, v)
	{
		const char *name = json_string_value(json_object_get(v, "volume_name"));
		const struct record *volume = record_find(&volumes, name);

		if (!volume) {
			http_error(r, 404, "ResourceNotFound", "Volume '%s' not found", name);
			json_decref(out);
			return NULL;
		}
		json_array_append_new(out, json_pack("{s:s,s:O}", "volume_id", volume->id, "mount_path",
						     json_object_get(v, "mount_path")));
	}
	return out;
}

/* ---- calls ---- */

static void create(struct req *r)
{
	json_t *body = http_body_json(r), *doc, *mounts, *resources;

	if (!body || !checked(r, body) ||
	    !record_name_free(&templates, r, json_string_value(json_object_get(body, "name")), NULL))
		return;
	mounts = mounts_by_id(r, body);
	if (!mounts)
		return;
	resources = json_pack("{s:s,s:s}", "cpu", "500m", "memory", "512Mi");
	json_object_update(resources, json_object_get(body, "resources"));
	doc = json_pack("{s:O,s:O,s:o,s:o}", "name", json_object_get(body, "name"), "image", json_object_get(body, "image"),
			"resources", resources, "volume_mounts", mounts);
	http_json(r, 201, show(record_new(&templates, doc)));
}

static void get(struct req *r)
{
	struct record *found = record_named(&templates, r);

	if (found)
		http_json(r, 200, show(found));
}

static void update(struct req *r)
{
	struct record *found = record_named(&templates, r);
	json_t *body = found ? http_body_json(r) : NULL, *details;
	const char *name;

	if (!body)
		return;
	details = json_array();
	model_check_name(body, details);
	if (json_array_size(details)) {
		http_invalid(r, details);
		return;
	}
	json_decref(details);
	name = json_string_value(json_object_get(body, "name"));
	if (!record_name_free(&templates, r, name, found))
		return;
	if (name) {
		json_object_set_new(found->doc, "name", json_string(name));
		record_changed(&templates, found);
	}
	http_json(r, 200, show(found));
}

static const struct record *pool_using(const char *template_id)
{
	const struct record *p = pools.all;

	while (p && strcmp(record_text(p, "template_id"), template_id) != 0)
		p = p->next;
	return p;
}

static void delete_template(struct req *r)
{
	struct record *found = record_named(&templates, r);
	const struct record *pool = found ? pool_using(found->id) : NULL;
	const struct box *b = found ? box_using("template_id", found->id) : NULL;

	if (!found)
		return;
	if (pool || b) {
		http_error(r, 409, "Conflict", "Template '%s' is in use by %s '%s'", r->arg[0], pool ? "pool" : "sandbox",
			   pool ? record_text(pool, "name") : box_name(b));
		return;
	}
	record_remove(&templates, found);
	http_empty(r, 204);
}

static void list(struct req *r)
{
	record_list(&templates, r, show);
}

/* ---- sandboxes ---- */

static void apply_resources(const json_t *body, const json_t *resources, json_t *doc)
{
	int64_t n;

	if (!json_object_get(body, "vcpus") && !json_object_get(body, "cpu_millicores") &&
	    quantity_millicores(json_string_value(json_object_get(resources, "cpu")), &n)) {
		json_object_set_new(doc, "cpu_millicores", json_integer(n));
		json_object_set_new(doc, "vcpus", json_integer((n + 999) / 1000));
	}
	if (!json_object_get(body, "mem_bytes") &&
	    quantity_bytes(json_string_value(json_object_get(resources, "memory")), &n))
		json_object_set_new(doc, "mem_bytes", json_integer(n));
	if (!json_object_get(body, "fs_capacity_bytes") &&
	    quantity_bytes(json_string_value(json_object_get(resources, "storage")), &n))
		json_object_set_new(doc, "fs_capacity_bytes", json_integer(n));
}

bool template_apply(struct req *r, const json_t *body, json_t *doc)
{
	const char *name = json_string_value(json_object_get(body, "template_name")), *image;
	const struct record *t = record_find(&templates, name);
	json_t *mounts;

	if (!t) {
		http_error(r, 404, "ResourceNotFound", "Template '%s' not found", name);
		return false;
	}
	image = record_text(t, "image");
	mounts = json_object_get(t->doc, "volume_mounts");
	if (!image_root(image)) {
		http_error(r, 422, "ImagePull", "The image '%s' cannot be pulled: no --image names it", image);
		return false;
	}
	if (json_array_size(mounts) && !server.isolation) {
		http_error(r, 422, "SandboxConfig", "Volumes can be mounted only with isolation");
		return false;
	}
	json_object_set_new(doc, "seed", json_pack("{s:s}", "image", image));
	if (seed_own_system(image_root(image)))
		json_object_set_new(doc, "own_system", json_true());
	json_object_set_new(doc, "template_name", json_string(record_text(t, "name")));
	json_object_set_new(doc, "template_id", json_string(t->id));
	if (json_array_size(mounts))
		json_object_set_new(doc, "volume_mounts", json_deep_copy(mounts));
	apply_resources(body, json_object_get(t->doc, "resources"), doc);
	return true;
}

const struct route templates_routes[] = {
	{ "POST", "/v2/sandboxes/templates", ROUTE_CONTROL, create, NULL },
	{ "GET", "/v2/sandboxes/templates", ROUTE_CONTROL, list, NULL },
	{ "GET", "/v2/sandboxes/templates/{}", ROUTE_CONTROL, get, NULL },
	{ "PATCH", "/v2/sandboxes/templates/{}", ROUTE_CONTROL, update, NULL },
	{ "DELETE", "/v2/sandboxes/templates/{}", ROUTE_CONTROL, delete_template, NULL },
	{ 0 },
};
