/* Control plane, older generations: volumes. */
#include "legacy.h"

#include <dirent.h>
#include <errno.h>
#include <linux/posix_acl_xattr.h>
#include <linux/posix_acl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "box.h"
#include "http.h"
#include "model.h"
#include "quantity.h"
#include "resources.h"
#include "server.h"
#include "store.h"

struct record_kind volumes = { .dir = "volumes", .what = "Volume" };

char *volume_dir(const char *id)
{
	return xasprintf("%s/volumes/%s", server.state, id);
}

static json_t *show(void *record)
{
	return json_copy(((struct record *)record)->doc);
}

/* Each sandbox has a user id of its own, so what one writes must be open to the
 * others, whatever its umask says. */
static bool make_dir(const char *path)
{
	struct {
		struct posix_acl_xattr_header header;
		struct posix_acl_xattr_entry entries[3];
	} acl = { { POSIX_ACL_XATTR_VERSION },
		  { { ACL_USER_OBJ, 7, ACL_UNDEFINED_ID },
		    { ACL_GROUP_OBJ, 7, ACL_UNDEFINED_ID },
		    { ACL_OTHER, 7, ACL_UNDEFINED_ID } } };

	if (mkdir(path, 0700) < 0 || chmod(path, 0777) < 0)
		return false;
	if (setxattr(path, "system.posix_acl_default", &acl, sizeof acl, 0) < 0)
		logf_err("%s: no default rights (%s): sandboxes may not be able to change each other's files", path,
			 strerror(errno));
	return true;
}

/* What a server left that ended between removing a record and its directory. */
static void remove_leftovers(void)
{
	char *path = xasprintf("%s/volumes", server.state);
	struct dirent *e;
	DIR *d = opendir(path);

	while (d && (e = readdir(d))) {
		char *dir = volume_dir(e->d_name);

		if (e->d_name[0] != '.' && store_host_is_dir(dir) && !record_find(&volumes, e->d_name))
			store_remove_later(dir);
		free(dir);
	}
	if (d)
		closedir(d);
	free(path);
}

void volumes_load(void)
{
	record_load(&volumes);
	remove_leftovers();
	/* The last server may have ended between a record and its directory. */
	for (const struct record *v = volumes.all; v; v = v->next) {
		char *dir = volume_dir(v->id);

		if (!store_host_is_dir(dir) && !make_dir(dir))
			logf_err("cannot make %s: %s", dir, strerror(errno));
		free(dir);
	}
}

static bool checked(struct req *r, const json_t *body, bool all)
{
	json_t *details = json_array();
	const json_t *name = json_object_get(body, "name"), *size = json_object_get(body, "size");
	int64_t bytes;

	model_check_name(body, details);
	if (all && !json_is_string(name))
		model_problem(details, "body", "name", "name is required");
	if ((all || size) && !quantity_bytes(json_string_value(size), &bytes))
		model_problem(details, "body", "size", "size must be an amount of storage, like 1Gi");
	if (json_array_size(details)) {
		http_invalid(r, details);
		return false;
	}
	json_decref(details);
	return true;
}

static void create(struct req *r)
{
	json_t *body = http_body_json(r), *doc;
	struct record *made;
	char *dir;

	if (!body || !checked(r, body, true) ||
	    !record_name_free(&volumes, r, json_string_value(json_object_get(body, "name")), NULL))
		return;
	doc = json_pack("{s:O,s:O,s:s}", "name", json_object_get(body, "name"), "size", json_object_get(body, "size"),
			"storage_class", "default");
	made = record_new(&volumes, doc);
	dir = volume_dir(made->id);
	if (make_dir(dir)) {
		http_json(r, 201, show(made));
	} else {
		http_error(r, 503, "VolumeProvisioning", "cannot make the volume's directory: %s", strerror(errno));
		record_remove(&volumes, made);
	}
	free(dir);
}

static void get(struct req *r)
{
	struct record *found = record_named(&volumes, r);

	if (found)
		http_json(r, 200, show(found));
}

static void update(struct req *r)
{
	struct record *found = record_named(&volumes, r);
	json_t *body = found ? http_body_json(r) : NULL;
	const char *name, *size;
	int64_t before, after;

	if (!body || !checked(r, body, false))
		return;
	name = json_string_value(json_object_get(body, "name"));
	size = json_string_value(json_object_get(body, "size"));
	if (!record_name_free(&volumes, r, name, found))
		return;
	if (size && quantity_bytes(size, &after) && quantity_bytes(record_text(found, "size"), &before) && after < before) {
		http_error(r, 400, "VolumeResize", "A volume cannot shrink (from %s to %s)", record_text(found, "size"), size);
		return;
	}
	if (name)
		json_object_set_new(found->doc, "name", json_string(name));
	if (size)
		json_object_set_new(found->doc, "size", json_string(size));
	if (name || size)
		record_changed(&volumes, found);
	http_json(r, 200, show(found));
}

static void delete_volume(struct req *r)
{
	struct record *found = record_named(&volumes, r);
	const struct record *template = found ? template_using_volume(found->id) : NULL;
	const struct box *b = found ? box_using("volume_mounts", found->id) : NULL;
	char *dir;

	if (!found)
		return;
	if (template || b) {
		http_error(r, 409, "Conflict", "Volume '%s' is in use by %s '%s'", r->arg[0], template ? "template" : "sandbox",
			   template ? record_text(template, "name") : box_name(b));
		return;
	}
	dir = volume_dir(found->id);
	record_remove(&volumes, found);
	store_remove_later(dir);
	free(dir);
	http_empty(r, 204);
}

static void list(struct req *r)
{
	record_list(&volumes, r, show);
}

const struct route volumes_routes[] = {
	{ "POST", "/v2/sandboxes/volumes", ROUTE_CONTROL, create, NULL },
	{ "GET", "/v2/sandboxes/volumes", ROUTE_CONTROL, list, NULL },
	{ "GET", "/v2/sandboxes/volumes/{}", ROUTE_CONTROL, get, NULL },
	{ "PATCH", "/v2/sandboxes/volumes/{}", ROUTE_CONTROL, update, NULL },
	{ "DELETE", "/v2/sandboxes/volumes/{}", ROUTE_CONTROL, delete_volume, NULL },
	{ 0 },
};
