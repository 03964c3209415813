#include "record.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http.h"
#include "page.h"
#include "server.h"
#include "store.h"
#include "util.h"

static char *path_of(const struct record_kind *k, const char *id)
{
	return xasprintf("%s/%s/%s.json", server.state, k->dir, id);
}

static struct record *add(struct record_kind *k, const char *id, json_t *doc)
{
	struct record *r = xcalloc(1, k->size ? k->size : sizeof *r);

	memcpy(r->id, id, 36);
	r->doc = doc;
	r->next = k->all;
	k->all = r;
	return r;
}

static void load_one(struct record_kind *k, const char *file)
{
	char *path = xasprintf("%s/%s/%s", server.state, k->dir, file), id[37];
	json_error_t err;
	json_t *doc = json_load_file(path, 0, &err);

	memcpy(id, file, 36);
	id[36] = 0;
	if (doc && json_string_value(json_object_get(doc, "name"))) {
		add(k, id, doc);
	} else {
		logf_err("ignoring %s: %s", path, doc ? "it has no name" : err.text);
		json_decref(doc);
	}
	free(path);
}

void record_load(struct record_kind *k)
{
	char *dir = xasprintf("%s/%s", server.state, k->dir);
	struct dirent *e;
	DIR *d;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		logf_err("cannot make %s: %s", dir, strerror(errno));
	d = opendir(dir);
	while (d && (e = readdir(d)))
		if (strlen(e->d_name) == 41 && strcmp(e->d_name + 36, ".json") == 0)
			load_one(k, e->d_name);
	if (d)
		closedir(d);
	free(dir);
}

/* Never the same twice, so that lists by time have one order. */
static void next_time(char text[40])
{
	static int64_t last;
	int64_t now = wall_ms();

	last = now > last ? now : last + 1;
	format_rfc3339(last, text);
}

static void save(const struct record_kind *k, const struct record *r)
{
	char *path = path_of(k, r->id);

	store_save_json(path, r->doc);
	free(path);
}

struct record *record_new(struct record_kind *k, json_t *doc)
{
	struct record *r;
	char id[37], now[40];

	make_uuid(id);
	next_time(now);
	json_object_set_new(doc, "id", json_string(id));
	json_object_set_new(doc, "created_at", json_string(now));
	json_object_set_new(doc, "updated_at", json_string(now));
	json_object_set_new(doc, "created_by", json_string("sandboxd"));
	json_object_set_new(doc, "updated_by", json_string("sandboxd"));
	r = add(k, id, doc);
	save(k, r);
	return r;
}

void record_changed(struct record_kind *k, struct record *r)
{
	char now[40];

	next_time(now);
	json_object_set_new(r->doc, "updated_at", json_string(now));
	json_object_set_new(r->doc, "updated_by", json_string("sandboxd"));
	save(k, r);
}

void record_remove(struct record_kind *k, struct record *r)
{
	char *path = path_of(k, r->id);

	for (struct record **p = &k->all; *p; p = &(*p)->next) {
		if (*p == r) {
			*p = r->next;
			break;
		}
	}
	if (unlink(path) < 0 && errno != ENOENT)
		logf_err("cannot remove %s: %s", path, strerror(errno));
	free(path);
	json_decref(r->doc);
	free(r);
}

const char *record_text(const struct record *r, const char *key)
{
	return json_string_value(json_object_get(r->doc, key));
}

struct record *record_find(const struct record_kind *k, const char *name_or_id)
{
	for (struct record *r = k->all; r; r = r->next)
		if (strcmp(record_text(r, "name"), name_or_id) == 0)
			return r;
	for (struct record *r = k->all; r; r = r->next)
		if (strcmp(r->id, name_or_id) == 0)
			return r;
	return NULL;
}

struct record *record_named(const struct record_kind *k, struct req *r)
{
	struct record *found = record_find(k, r->arg[0]);

	if (!found)
		http_error(r, 404, "ResourceNotFound", "%s '%s' not found", k->what, r->arg[0]);
	return found;
}

bool record_name_free(const struct record_kind *k, struct req *r, const char *name, const struct record *self)
{
	for (const struct record *other = k->all; name && other; other = other->next) {
		if (other == self || strcmp(record_text(other, "name"), name) != 0)
			continue;
		http_error(r, 409, "Conflict", "%s '%s' exists already", k->what, name);
		return false;
	}
	return true;
}

void record_list(const struct record_kind *k, struct req *r, json_t *(*show)(void *record))
{
	static const char *const columns[] = { "created_at", "name", "updated_at", NULL };
	struct pages p;

	if (!pages_begin(&p, r, columns))
		return;
	for (struct record *each = k->all; each; each = each->next)
		pages_add(&p, each->id, NULL, each->doc, each);
	pages_answer(&p, k->dir, show);
}
