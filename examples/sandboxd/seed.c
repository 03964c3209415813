#include "seed.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box.h"
#include "generation.h"
#include "http.h"
#include "image.h"
#include "legacy.h"
#include "snapshot.h"
#include "store.h"
#include "tree.h"

/* The record's "seed": {"snapshot": ID} or {"image": NAME}, until it was used. */

static json_t *merged(const json_t *below, const json_t *above)
{
	json_t *out = json_is_object(below) ? json_copy((json_t *)(uintptr_t)below) : json_object();

	if (json_is_object(above))
		json_object_update(out, (json_t *)(uintptr_t)above);
	return out;
}

static void take_over(json_t *doc, const struct snapshot *s)
{
	const json_t *from = s->rec.doc, *labels = json_object_get(from, "labels");

	json_object_set_new(doc, "seed", json_pack("{s:s}", "snapshot", s->rec.id));
	json_object_set_new(doc, "snapshot_id", json_string(s->rec.id));
	if (json_is_object(json_object_get(from, "run_config")))
		json_object_set(doc, "snapshot_run_config", json_object_get(from, "run_config"));
	if (json_object_size(labels))
		json_object_set_new(doc, "labels", merged(labels, json_object_get(doc, "labels")));
	if (json_is_true(json_object_get(from, "own_system")))
		json_object_set_new(doc, "own_system", json_true());
}

bool seed_choose(struct req *r, const json_t *body, json_t *doc)
{
	const char *id = json_string_value(json_object_get(body, "snapshot_id")), *status;
	const char *name = json_string_value(json_object_get(body, "snapshot_name"));
	struct snapshot *s;
	json_t *capacity = json_object_get(body, "fs_capacity_bytes");

	if (json_string_value(json_object_get(body, "template_name")) && generation() != GENERATION_CURRENT)
		return template_apply(r, body, doc);
	if (!name)
		name = json_string_value(json_object_get(body, "snapshot"));
	if (!id && !name)
		return true;
	s = id ? snapshot_by_id(id) : snapshot_by_name(name);
	if (!s) {
		http_error(r, 404, "ResourceNotFound", "Snapshot '%s' not found", id ? id : name);
		return false;
	}
	status = record_text(&s->rec, "status");
	if (strcmp(status, "ready") != 0) {
		http_error(r, 409, "Conflict", "Snapshot '%s' is %s, not ready", id ? id : name, status);
		return false;
	}
	take_over(doc, s);
	if (!json_is_integer(capacity))
		json_object_set(doc, "fs_capacity_bytes", json_object_get(s->rec.doc, "fs_capacity_bytes"));
	return true;
}

bool seed_wanted(const struct box *b)
{
	return json_is_object(json_object_get(b->doc, "seed"));
}

void seed_done(struct box *b)
{
	json_object_del(b->doc, "seed");
}

int seed_open(const char *root, const char *path, char **why)
{
	int fd = tree_open(root, path);

	if (fd < 0)
		*why = xasprintf("cannot read the files to copy: %s", strerror(errno));
	else if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		logf_info("%s%s: somebody inside holds a lock on it", root, path);
	return fd;
}

struct copy {
	uid_t uid;
	uint64_t limit;
	char to[];
};

static bool copy(const void *arg, int from, struct buf *result)
{
	const struct copy *c = arg;
	uint64_t used = 0;
	bool ok;

	store_remove_tree(c->to);
	ok = tree_copy(from, c->to, c->uid, c->limit, &used, result);
	if (ok)
		buf_addf(result, "%llu", (unsigned long long)used);
	return ok;
}

void seed_copy(struct job *j, int from, const char *to, uid_t uid, uint64_t limit,
	       void (*done)(struct job *j, bool ok, const char *text))
{
	struct copy *c = xmalloc(sizeof *c + strlen(to) + 1);

	c->uid = uid;
	c->limit = limit;
	strcpy(c->to, to);
	job_start(j, copy, c, from, done);
}

static bool has_entries(const char *root, const char *name)
{
	char *path = xasprintf("%s/%s", root, name);
	DIR *d = store_host_is_dir(path) ? opendir(path) : NULL;
	struct dirent *e;
	bool any = false;

	while (d && !any && (e = readdir(d)))
		any = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	if (d)
		closedir(d);
	free(path);
	return any;
}

bool seed_own_system(const char *root)
{
	return has_entries(root, "usr") || has_entries(root, "bin");
}

/* The directory to copy; NULL with a reason. */
static char *source_dir(const struct box *b, char **why)
{
	const json_t *seed = json_object_get(b->doc, "seed");
	const char *id = json_string_value(json_object_get(seed, "snapshot"));
	const char *image = json_string_value(json_object_get(seed, "image"));
	const char *root = image ? image_root(image) : NULL;

	if (id)
		return snapshot_dir(id);
	if (root)
		return xstrdup(root);
	*why = xasprintf("the image '%s' cannot be pulled: no --image names it", image ? image : "");
	return NULL;
}

bool seed_start(struct box *b, void (*done)(struct job *j, bool ok, const char *text), char **why)
{
	char *dir = source_dir(b, why), *root = store_root(b->id);
	int fd = dir ? seed_open(dir, "/", why) : -1;

	if (fd >= 0)
		seed_copy(&b->seeding, fd, root, b->uid,
			  (uint64_t)json_integer_value(json_object_get(b->doc, "fs_capacity_bytes")), done);
	free(dir);
	free(root);
	return fd >= 0;
}
