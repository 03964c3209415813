/* Control plane: create, get, list, update, delete, status, start, stop. */
#include "boxes.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "box.h"
#include "model.h"

#define DEFAULT_WAIT_S 30

/* A request that waits for a sandbox. */
struct waiting {
	struct req *r;
	struct box_waiter waiter;
	struct timer limit;
	double limit_s;
	char box_id[37];
	unsigned status; /* of the answer */
};

static struct box *named_box(struct req *r)
{
	struct box *b = box_find(r->arg[0], true);

	if (!b)
		http_error(r, 404, "ResourceNotFound", "Sandbox '%s' not found", r->arg[0]);
	return b;
}

static void waiting_cleanup(struct req *r)
{
	struct waiting *w = r->state;

	box_wait_cancel(&w->waiter);
	timer_del(&w->limit);
	loop_free_later(w);
}

static struct waiting *wait_begin(struct req *r, struct box *b, unsigned status)
{
	struct waiting *w = xcalloc(1, sizeof *w);

	w->r = r;
	w->status = status;
	memcpy(w->box_id, b->id, sizeof w->box_id);
	r->state = w;
	r->cleanup = waiting_cleanup;
	return w;
}

static void on_created(struct box_waiter *waiter, bool ok)
{
	struct waiting *w = container(waiter, struct waiting, waiter);
	struct box *b = box_find(w->box_id, false);

	timer_del(&w->limit);
	if (ok && b)
		http_json(w->r, w->status, box_json(b));
	else if (b)
		http_error(w->r, 422, "SandboxConfig", "%s",
			   b->status_message ? b->status_message : "Sandbox creation failed");
	else
		http_error(w->r, 404, "ResourceNotFound", "The sandbox was deleted while it was created");
}

static void on_wait_limit(struct timer *t)
{
	struct waiting *w = container(t, struct waiting, limit);
	struct box *b = box_find(w->box_id, false);

	box_wait_cancel(&w->waiter);
	http_error(w->r, 408, "Timeout", "Sandbox did not become ready within %g seconds (last status: %s)", w->limit_s,
		   b ? box_status_text(b) : "deleting");
}

static void create(struct req *r)
{
	json_t *body = http_body_json(r), *details, *doc;
	const char *snapshot = NULL, *name;
	static const char *const references[] = { "snapshot_id", "snapshot_name", "snapshot" };
	struct waiting *w;
	struct box *b;
	char *why = NULL;

	if (!body)
		return;
	details = json_array();
	doc = model_create(body, details);
	if (!doc) {
		http_invalid(r, details);
		return;
	}
	json_decref(details);
	for (int i = 0; i < 3 && !snapshot; i++)
		snapshot = json_string_value(json_object_get(body, references[i]));
	name = json_string_value(json_object_get(doc, "name"));
	if (snapshot) {
		http_error(r, 404, "ResourceNotFound", "Snapshot '%s' not found", snapshot);
		json_decref(doc);
		return;
	}
	if (box_find(name, true)) {
		http_error(r, 409, "Conflict", "A sandbox named '%s' exists already", name);
		json_decref(doc);
		return;
	}
	b = box_create(doc, &why);
	if (!b) {
		http_error(r, 503, "Unschedulable", "%s", why);
		json_decref(doc);
		free(why);
		return;
	}
	if (!json_is_true(json_object_get(body, "wait_for_ready"))) {
		http_json(r, 201, box_json(b));
		return;
	}
	w = wait_begin(r, b, 201);
	w->limit_s = json_number_value(json_object_get(body, "timeout"));
	if (!(w->limit_s > 0) || w->limit_s > 86400)
		w->limit_s = DEFAULT_WAIT_S;
	timer_set(&w->limit, (int64_t)(w->limit_s * 1000), on_wait_limit);
	box_when_ready(b, &w->waiter, on_created);
}

static void get(struct req *r)
{
	struct box *b = named_box(r);

	if (b)
		http_json(r, 200, box_json(b));
}

static void update(struct req *r)
{
	struct box *b = named_box(r), *other;
	json_t *body = b ? http_body_json(r) : NULL, *details;
	const char *name;

	if (!body)
		return;
	name = json_string_value(json_object_get(body, "name"));
	other = name ? box_find(name, true) : NULL;
	if (other && other != b) {
		http_error(r, 409, "Conflict", "Sandbox name '%s' is already in use", name);
		return;
	}
	details = json_array();
	if (!model_update(b->doc, body, details)) {
		http_invalid(r, details);
		return;
	}
	json_decref(details);
	if (json_object_size(body))
		box_changed(b);
	http_json(r, 200, box_json(b));
}

static void delete_box(struct req *r)
{
	struct box *b = named_box(r);

	if (!b)
		return;
	box_delete(b);
	http_empty(r, 204);
}

static void status(struct req *r)
{
	struct box *b = named_box(r);

	if (b)
		http_json(r, 200,
			  json_pack("{s:s,s:s?}", "status", box_status_text(b), "status_message", b->status_message));
}

static void start(struct req *r)
{
	struct box *b = named_box(r);

	if (!b)
		return;
	if (!b->stopping && b->status != BOX_STOPPED && b->status != BOX_FAILED) {
		http_error(r, 409, "Conflict", "Sandbox '%s' is %s, not stopped", r->arg[0], box_status_text(b));
		return;
	}
	box_start(b);
	http_json(r, 200, box_json(b));
}

static void on_stopped(struct box_waiter *waiter, bool ok)
{
	struct waiting *w = container(waiter, struct waiting, waiter);

	if (ok)
		http_empty(w->r, 204);
	else
		http_error(w->r, 409, "Conflict", "The sandbox did not stop");
}

static void stop(struct req *r)
{
	struct box *b = named_box(r);
	struct waiting *w;

	if (!b)
		return;
	if (b->status == BOX_STOPPED) {
		http_error(r, 409, "Conflict", "Sandbox '%s' is stopped already", r->arg[0]);
		return;
	}
	w = wait_begin(r, b, 204);
	box_when_stopped(b, &w->waiter, on_stopped);
}

/* ---- list ---- */

struct query {
	char *name_contains, *status, *sort_by, *cursor;
	bool descending;
	json_t *labels; /* wanted: "key" or "key=value" */
};

struct row {
	struct box *box;
	char *key; /* what it is sorted by */
};

static const char *const sort_columns[] = { "created_at", "name", "status", "stopped_at", "idle_ttl_seconds",
					     "delete_after_stop_seconds", NULL };

static void add_label(void *arg, const char *value)
{
	json_array_append_new(arg, json_string(value));
}

static bool has_label(const struct box *b, const char *want)
{
	const char *eq = strchr(want, '=');
	char *key = xstrdup(want);
	const char *value;

	if (eq)
		key[eq - want] = 0;
	value = json_string_value(json_object_get(json_object_get(b->doc, "labels"), key));
	free(key);
	return value && (!eq || strcmp(value, eq + 1) == 0);
}

static bool wanted(const struct box *b, const struct query *q)
{
	size_t i;
	json_t *v;

	if (b->status == BOX_DELETING && (!q->status || strcmp(q->status, "deleting") != 0))
		return false;
	if (q->name_contains && !strcasestr(box_name(b), q->name_contains))
		return false;
	if (q->status && strcmp(box_status_text(b), q->status) != 0)
		return false;
	json_array_foreach(q->labels, i, v)
	{
		if (!has_label(b, json_string_value(v)))
			return false;
	}
	return true;
}

static char *sort_key(const struct box *b, const char *column)
{
	const json_t *v = json_object_get(b->doc, column);

	if (strcmp(column, "status") == 0)
		return xstrdup(box_status_text(b));
	if (json_is_integer(v))
		return xasprintf("%020lld", (long long)json_integer_value(v));
	return xstrdup(json_is_string(v) ? json_string_value(v) : "");
}

static int compare(const char *key_a, const char *id_a, const char *key_b, const char *id_b)
{
	int c = strcmp(key_a, key_b);

	return c ? c : strcmp(id_a, id_b);
}

static int by_key(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return compare(x->key, x->box->id, y->key, y->box->id);
}

/* A cursor names the last item of its page (key and id), so that changes in
 * between neither repeat nor skip others. Hexadecimal, to be opaque and URL-safe. */
static char *cursor_make(const struct row *last)
{
	struct buf b = { 0 };

	for (const char *p = last->box->id; *p; p++)
		buf_addf(&b, "%02x", (unsigned char)*p);
	for (const char *p = last->key; *p; p++)
		buf_addf(&b, "%02x", (unsigned char)*p);
	buf_add(&b, "", 1);
	return b.p;
}

static bool cursor_read(const char *text, char id[37], char **key)
{
	size_t n = strlen(text);
	struct buf b = { 0 };
	bool ok = n >= 72 && n % 2 == 0 && strspn(text, "0123456789abcdef") == n;

	for (size_t i = 0; ok && i < n; i += 2) {
		char c = (char)strtol((char[]){ text[i], text[i + 1], 0 }, NULL, 16);

		ok = c != 0;
		buf_add(&b, &c, 1);
	}
	if (ok) {
		memcpy(id, b.p, 36);
		id[36] = 0;
		buf_add(&b, "", 1);
		*key = xstrdup(b.p + 36);
	}
	buf_free(&b);
	return ok;
}

static bool read_query(struct req *r, struct query *q)
{
	char *direction = http_query(r, "sort_order"), *creator = http_query(r, "created_by");
	json_t *details = json_array();
	int i = 0;
	bool ok;

	if (!direction)
		direction = http_query(r, "sort_direction");
	*q = (struct query){ .name_contains = http_query(r, "name_contains"),
			     .status = http_query(r, "status"),
			     .sort_by = http_query(r, "sort_by"),
			     .cursor = http_query(r, "cursor"),
			     .labels = json_array() };
	http_query_each(r, "label", add_label, q->labels);
	/* The newest first, unless something else is asked for. */
	q->descending = direction ? strcasecmp(direction, "desc") == 0 : !q->sort_by;
	if (direction && !q->descending && strcasecmp(direction, "asc") != 0)
		model_problem(details, "query", "sort_order", "the direction is asc or desc");
	if (!q->sort_by)
		q->sort_by = xstrdup("created_at");
	while (sort_columns[i] && strcmp(sort_columns[i], q->sort_by) != 0)
		i++;
	if (!sort_columns[i])
		model_problem(details, "query", "sort_by", "'%s' is not a sort column", q->sort_by);
	if (creator && strcmp(creator, "me") != 0)
		model_problem(details, "query", "created_by", "only 'me' is supported");
	free(direction);
	free(creator);
	ok = !json_array_size(details);
	if (ok)
		json_decref(details);
	else
		http_invalid(r, details);
	return ok;
}

static void query_free(struct query *q)
{
	free(q->name_contains);
	free(q->status);
	free(q->sort_by);
	free(q->cursor);
	json_decref(q->labels);
}

static size_t collect(const struct query *q, struct row **rows)
{
	size_t n = 0, cap = 64;

	*rows = xmalloc(cap * sizeof **rows);
	for (struct box *b = boxes; b; b = b->next) {
		if (!wanted(b, q))
			continue;
		if (n == cap)
			*rows = xrealloc(*rows, (cap *= 2) * sizeof **rows);
		(*rows)[n++] = (struct row){ b, sort_key(b, q->sort_by) };
	}
	qsort(*rows, n, sizeof **rows, by_key);
	for (size_t i = 0; q->descending && i < n / 2; i++) {
		struct row t = (*rows)[i];

		(*rows)[i] = (*rows)[n - 1 - i];
		(*rows)[n - 1 - i] = t;
	}
	return n;
}

static void list(struct req *r)
{
	long size = 50, limit = 0, offset = 0;
	struct query q;
	struct row *rows = NULL;
	size_t n, at, end;
	json_t *items;
	char id[37], *key = NULL, *next = NULL;

	if (!http_query_int(r, "limit", 1, 500, &limit) || !http_query_int(r, "offset", 0, 1L << 40, &offset) ||
	    !http_query_int(r, "page_size", 1, 500, &size))
		return;
	if (!read_query(r, &q)) {
		query_free(&q);
		return;
	}
	size = limit ? limit : size;
	if (q.cursor && *q.cursor && !cursor_read(q.cursor, id, &key)) {
		http_error(r, 400, "InvalidRequest", "The cursor is not valid");
		query_free(&q);
		return;
	}
	n = collect(&q, &rows);
	at = (size_t)offset < n ? (size_t)offset : n;
	if (key) {
		for (at = 0; at < n; at++) {
			int c = compare(rows[at].key, rows[at].box->id, key, id);

			if (q.descending ? c < 0 : c > 0)
				break;
		}
	}
	end = n - at < (size_t)size ? n : at + (size_t)size;
	items = json_array();
	for (size_t i = at; i < end; i++)
		json_array_append_new(items, box_json(rows[i].box));
	if (end < n && end > at)
		next = cursor_make(&rows[end - 1]);
	http_json(r, 200,
		  json_pack("{s:O,s:o,s:s?,s:I}", "items", items, "sandboxes", items, "next_cursor", next, "offset",
			    (json_int_t)(end < n ? end : 0)));
	for (size_t i = 0; i < n; i++)
		free(rows[i].key);
	free(rows);
	free(next);
	free(key);
	query_free(&q);
}

const struct route boxes_routes[] = {
	{ "POST", "/v2/sandboxes/boxes", ROUTE_CONTROL, create, NULL },
	{ "GET", "/v2/sandboxes/boxes", ROUTE_CONTROL, list, NULL },
	{ "GET", "/v2/sandboxes/boxes/{}", ROUTE_CONTROL, get, NULL },
	{ "PATCH", "/v2/sandboxes/boxes/{}", ROUTE_CONTROL, update, NULL },
	{ "DELETE", "/v2/sandboxes/boxes/{}", ROUTE_CONTROL, delete_box, NULL },
	{ "GET", "/v2/sandboxes/boxes/{}/status", ROUTE_CONTROL, status, NULL },
	{ "POST", "/v2/sandboxes/boxes/{}/start", ROUTE_CONTROL, start, NULL },
	{ "POST", "/v2/sandboxes/boxes/{}/stop", ROUTE_CONTROL, stop, NULL },
	{ 0 },
};
