/* Lists: filters, order, and pages by cursor or by offset. */
#ifndef SANDBOXD_PAGE_H
#define SANDBOXD_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct req;

struct page_item {
	const char *id;
	char *key; /* what it is sorted by */
	void *thing;
};

struct pages {
	struct req *r;
	char *name_contains, *status, *sort_by, *cursor;
	bool descending;
	json_t *labels; /* wanted: "key" or "key=value" */
	long size, offset;
	struct page_item *items;
	size_t n, cap;
};

/* Reads the query; columns may be sorted by. False: it was answered with an error. */
bool pages_begin(struct pages *p, struct req *r, const char *const columns[]);
/* Offers one thing, which the filters may drop. status NULL: it has none. */
void pages_add(struct pages *p, const char *id, const char *status, const json_t *doc, void *thing);
/* Answers {"items", PLURAL, "next_cursor", "offset"} and frees what it holds. */
void pages_answer(struct pages *p, const char *plural, json_t *(*show)(void *thing));

#endif
