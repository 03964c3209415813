#include "page.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "generation.h"
#include "http.h"
#include "model.h"
#include "util.h"

#define DEFAULT_SIZE 50
#define MAX_SIZE 500

static void pages_free(struct pages *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->items[i].key);
	free(p->items);
	free(p->name_contains);
	free(p->status);
	free(p->sort_by);
	free(p->cursor);
	json_decref(p->labels);
}

static void add_label(void *arg, const char *value)
{
	json_array_append_new(arg, json_string(value));
}

static void check_order(struct pages *p, struct req *r, const char *const columns[], json_t *details)
{
	char *direction = http_query(r, "sort_order");
	int i = 0;

	if (!direction)
		direction = http_query(r, "sort_direction");
	/* The newest first, unless something else is asked for. */
	p->descending = direction ? strcasecmp(direction, "desc") == 0 : !p->sort_by;
	if (direction && !p->descending && strcasecmp(direction, "asc") != 0)
		model_problem(details, "query", "sort_order", "the direction is asc or desc");
	if (!p->sort_by)
		p->sort_by = xstrdup("created_at");
	while (columns[i] && strcmp(columns[i], p->sort_by) != 0)
		i++;
	if (!columns[i])
		model_problem(details, "query", "sort_by", "'%s' is not a sort column", p->sort_by);
	free(direction);
}

bool pages_begin(struct pages *p, struct req *r, const char *const columns[])
{
	long limit = 0;
	json_t *details;
	char *creator;
	bool ok;

	*p = (struct pages){ .r = r, .size = DEFAULT_SIZE };
	if (!http_query_int(r, "limit", 1, MAX_SIZE, &limit) || !http_query_int(r, "offset", 0, 1L << 40, &p->offset) ||
	    !http_query_int(r, "page_size", 1, MAX_SIZE, &p->size))
		return false;
	p->size = limit ? limit : p->size;
	p->name_contains = http_query(r, "name_contains");
	p->status = http_query(r, "status");
	p->sort_by = http_query(r, "sort_by");
	p->cursor = http_query(r, "cursor");
	p->labels = json_array();
	http_query_each(r, "label", add_label, p->labels);
	details = json_array();
	check_order(p, r, columns, details);
	creator = http_query(r, "created_by");
	if (creator && strcmp(creator, "me") != 0)
		model_problem(details, "query", "created_by", "only 'me' is supported");
	free(creator);
	ok = !json_array_size(details);
	if (ok) {
		json_decref(details);
	} else {
		http_invalid(r, details);
		pages_free(p);
	}
	return ok;
}

static bool has_label(const json_t *doc, const char *want)
{
	const char *eq = strchr(want, '=');
	char *key = xstrdup(want);
	const char *value;

	if (eq)
		key[eq - want] = 0;
	value = json_string_value(json_object_get(json_object_get(doc, "labels"), key));
	free(key);
	return value && (!eq || strcmp(value, eq + 1) == 0);
}

static bool wanted(const struct pages *p, const char *status, const json_t *doc)
{
	const char *name = json_string_value(json_object_get(doc, "name"));
	size_t i;
	json_t *v;

	if (status && strcmp(status, "deleting") == 0 && (!p->status || strcmp(p->status, "deleting") != 0))
		return false;
	if (p->name_contains && !strcasestr(name ? name : "", p->name_contains))
		return false;
	if (p->status && strcmp(status ? status : "", p->status) != 0)
		return false;
	json_array_foreach(p->labels, i, v)
	{
		if (!has_label(doc, json_string_value(v)))
			return false;
	}
	return true;
}

static char *sort_key(const struct pages *p, const char *status, const json_t *doc)
{
	const json_t *v = json_object_get(doc, p->sort_by);

	if (strcmp(p->sort_by, "status") == 0)
		return xstrdup(status ? status : "");
	if (json_is_integer(v))
		return xasprintf("%020lld", (long long)json_integer_value(v));
	return xstrdup(json_is_string(v) ? json_string_value(v) : "");
}

void pages_add(struct pages *p, const char *id, const char *status, const json_t *doc, void *thing)
{
	if (!wanted(p, status, doc))
		return;
	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 64;
		p->items = xrealloc(p->items, p->cap * sizeof *p->items);
	}
	p->items[p->n++] = (struct page_item){ id, sort_key(p, status, doc), thing };
}

static int compare(const char *key_a, const char *id_a, const char *key_b, const char *id_b)
{
	int c = strcmp(key_a, key_b);

	return c ? c : strcmp(id_a, id_b);
}

static int by_key(const void *a, const void *b)
{
	const struct page_item *x = a, *y = b;

	return compare(x->key, x->id, y->key, y->id);
}

static void sort(struct pages *p)
{
	if (p->n)
		qsort(p->items, p->n, sizeof *p->items, by_key);
	for (size_t i = 0; p->descending && i < p->n / 2; i++) {
		struct page_item t = p->items[i];

		p->items[i] = p->items[p->n - 1 - i];
		p->items[p->n - 1 - i] = t;
	}
}

/* A cursor names the last item of its page (key and id), so that changes in
 * between neither repeat nor skip others. Hexadecimal, to be opaque and URL-safe. */
static char *cursor_make(const struct page_item *last)
{
	struct buf b = { 0 };

	for (const char *p = last->id; *p; p++)
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

/* The first item after the one that a cursor names, which may be gone. */
static size_t after(const struct pages *p, const char *id, const char *key)
{
	size_t at = 0;

	for (; at < p->n; at++) {
		int c = compare(p->items[at].key, p->items[at].id, key, id);

		if (p->descending ? c < 0 : c > 0)
			break;
	}
	return at;
}

void pages_answer(struct pages *p, const char *plural, json_t *(*show)(void *thing))
{
	char id[37], *key = NULL, *next = NULL;
	json_t *items, *answer;
	size_t at, end;

	if (p->cursor && *p->cursor && !cursor_read(p->cursor, id, &key)) {
		http_error(p->r, 400, "InvalidRequest", "The cursor is not valid");
		pages_free(p);
		return;
	}
	sort(p);
	at = key ? after(p, id, key) : (size_t)p->offset < p->n ? (size_t)p->offset : p->n;
	end = p->n - at < (size_t)p->size ? p->n : at + (size_t)p->size;
	items = json_array();
	for (size_t i = at; i < end; i++)
		json_array_append_new(items, show(p->items[i].thing));
	if (end < p->n && end > at)
		next = cursor_make(&p->items[end - 1]);
	answer = json_object();
	if (!generation_old())
		json_object_set(answer, "items", items);
	json_object_set_new(answer, plural, items);
	if (!generation_old())
		json_object_set_new(answer, "next_cursor", next ? json_string(next) : json_null());
	json_object_set_new(answer, "offset", json_integer((json_int_t)(end < p->n ? end : 0)));
	http_json(p->r, 200, answer);
	free(next);
	free(key);
	pages_free(p);
}
