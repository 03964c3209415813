#include "snapshot.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "export.h"
#include "image.h"
#include "seed.h"
#include "server.h"
#include "store.h"

struct record_kind snapshots = { .dir = "snapshots", .what = "Snapshot", .size = sizeof(struct snapshot) };

static const char *text(const struct snapshot *s, const char *key)
{
	return record_text(&s->rec, key);
}

static bool is(const struct snapshot *s, const char *status)
{
	return strcmp(text(s, "status"), status) == 0;
}

char *snapshot_dir(const char *id)
{
	return xasprintf("%s/snapshots/%s", server.state, id);
}

/* ---- names and tags ---- */

static struct snapshot *next_of(struct snapshot *s)
{
	return (struct snapshot *)(void *)s->rec.next;
}

static struct snapshot *first(void)
{
	return (struct snapshot *)(void *)snapshots.all;
}

static bool has_tag(const struct snapshot *s, const char *tag)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(s->rec.doc, "tags"), i, v)
	{
		if (strcmp(json_string_value(v), tag) == 0)
			return true;
	}
	return false;
}

static struct snapshot *tagged(const char *name, const char *tag)
{
	struct snapshot *s = first();

	while (s && (strcmp(text(s, "name"), name) != 0 || !has_tag(s, tag)))
		s = next_of(s);
	return s;
}

static struct snapshot *newest_untagged(const char *name)
{
	struct snapshot *found = NULL;

	for (struct snapshot *s = first(); s; s = next_of(s))
		if (strcmp(text(s, "name"), name) == 0 && is(s, "ready") &&
		    !json_array_size(json_object_get(s->rec.doc, "tags")) &&
		    (!found || strcmp(text(s, "created_at"), text(found, "created_at")) > 0))
			found = s;
	return found;
}

struct snapshot *snapshot_by_id(const char *id)
{
	struct snapshot *s = first();

	while (s && strcmp(s->rec.id, id) != 0)
		s = next_of(s);
	return s;
}

struct snapshot *snapshot_by_name(const char *reference)
{
	const char *colon = strrchr(reference, ':');
	char *name = xasprintf("%.*s", colon ? (int)(colon - reference) : (int)strlen(reference), reference);
	struct snapshot *s = tagged(name, colon ? colon + 1 : "latest");

	if (!s && !colon)
		s = newest_untagged(name);
	free(name);
	return s;
}

struct snapshot *snapshot_find(const char *reference)
{
	struct snapshot *s = snapshot_by_id(reference);

	return s ? s : snapshot_by_name(reference);
}

/* A tag leads to one snapshot: it leaves the one that had it. */
static void put_tag(struct snapshot *s)
{
	const char *tag = text(s, "wanted_tag"), *name = text(s, "name");
	struct snapshot *before;
	size_t i;
	json_t *v;

	while ((before = tagged(name, tag))) {
		json_t *tags = json_object_get(before->rec.doc, "tags");

		json_array_foreach(tags, i, v)
		{
			if (strcmp(json_string_value(v), tag) == 0)
				json_array_remove(tags, i--);
		}
		record_changed(&snapshots, &before->rec);
	}
	json_array_append_new(json_object_get(s->rec.doc, "tags"), json_string(tag));
}

/* ---- life ---- */

static void set_status(struct snapshot *s, const char *status, const char *message)
{
	logf_info("snapshot %s: %s -> %s%s%s", s->rec.id, text(s, "status"), status, message ? ": " : "",
		  message ? message : "");
	json_object_set_new(s->rec.doc, "status", json_string(status));
	json_object_set_new(s->rec.doc, "status_message", message ? json_string(message) : json_null());
	record_changed(&snapshots, &s->rec);
}

void snapshot_fail(struct snapshot *s, const char *fmt, ...)
{
	json_t *message;
	va_list ap;

	va_start(ap, fmt);
	message = json_vsprintf(fmt, ap);
	va_end(ap);
	set_status(s, "failed", message ? json_string_value(message) : "it failed");
	json_decref(message);
}

static void on_taken(struct job *j, bool ok, const char *result)
{
	struct snapshot *s = container(j, struct snapshot, job);
	bool whole = export_finished(s);
	char *dir;

	if (!ok || !whole) {
		snapshot_fail(s, "%s", ok ? "the sandbox was deleted" : *result ? result : "its files could not be copied");
		return;
	}
	dir = snapshot_dir(s->rec.id);
	json_object_set_new(s->rec.doc, "fs_used_bytes", json_integer(strtoll(result, NULL, 10)));
	json_object_set_new(s->rec.doc, "own_system", json_boolean(seed_own_system(dir)));
	free(dir);
	put_tag(s);
	set_status(s, "ready", NULL);
}

/* The user id owns nothing but these files. */
static uid_t owner(const struct snapshot *s)
{
	return launch_uid(s->rec.id);
}

void snapshot_take(struct snapshot *s, const char *root, const char *path)
{
	char *dir = snapshot_dir(s->rec.id), *why = NULL;
	int fd = seed_open(root, path, &why);

	if (fd < 0)
		snapshot_fail(s, "%s", why);
	else
		seed_copy(&s->job, fd, dir, owner(s),
			  (uint64_t)json_integer_value(json_object_get(s->rec.doc, "fs_capacity_bytes")), on_taken);
	free(dir);
	free(why);
}

static struct snapshot *new_snapshot(json_t *doc)
{
	json_object_set_new(doc, "status", json_string("building"));
	json_object_set_new(doc, "tags", json_array());
	return (struct snapshot *)(void *)record_new(&snapshots, doc);
}

static void on_refusal(struct timer *t)
{
	struct snapshot *s = container(t, struct snapshot, refusal);

	snapshot_fail(s, "ImagePull: the image '%s' cannot be pulled: no --image names it", text(s, "docker_image"));
}

struct snapshot *snapshot_build(json_t *doc)
{
	struct snapshot *s = new_snapshot(doc);
	const char *root = image_root(text(s, "docker_image"));

	if (root)
		snapshot_take(s, root, "/");
	else
		timer_set(&s->refusal, 0, on_refusal);
	return s;
}

struct snapshot *snapshot_capture(json_t *doc, struct box *b)
{
	struct snapshot *s;
	char *root;

	json_object_set_new(doc, "source_sandbox_id", json_string(b->id));
	s = new_snapshot(doc);
	if (text(s, "docker_image")) {
		export_start(s, b);
		return s;
	}
	root = store_root(b->id);
	snapshot_take(s, root, "/");
	free(root);
	return s;
}

void snapshot_delete(struct snapshot *s)
{
	char *dir = snapshot_dir(s->rec.id), *tmp = xasprintf("%s.new", dir);

	export_cancel(s);
	job_kill(&s->job);
	timer_del(&s->refusal);
	/* The record first: without it the files are only left over. */
	record_remove(&snapshots, &s->rec);
	store_remove_later(dir);
	store_remove_later(tmp);
	free(dir);
	free(tmp);
}

/* ---- after a restart ---- */

static void remove_leftover(const char *name)
{
	char *path = xasprintf("%s/snapshots/%s", server.state, name);
	const struct snapshot *s = snapshot_by_id(name);

	if ((!s || !is(s, "ready")) && store_host_is_dir(path))
		store_remove_later(path);
	free(path);
}

void snapshots_load(void)
{
	char *path = xasprintf("%s/snapshots", server.state);
	struct dirent *e;
	DIR *d;

	record_load(&snapshots);
	for (struct snapshot *s = first(); s; s = next_of(s))
		if (is(s, "building"))
			snapshot_fail(s, "the server ended while it was built");
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_leftover(e->d_name);
	if (d)
		closedir(d);
	free(path);
}
