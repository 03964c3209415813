/* Small named things that are kept as one file each: STATE/KIND/ID.json. */
#ifndef SANDBOXD_RECORD_H
#define SANDBOXD_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct req;

/* Embedded first in what has more to remember. */
struct record {
	struct record *next;
	char id[37];
	json_t *doc; /* everything, id and times too; what is stored */
};

struct record_kind {
	const char *dir;    /* below the state directory, and the plural in answers */
	const char *what;   /* in messages: "Registry" */
	size_t size;	    /* of the whole struct; 0: a bare record */
	struct record *all; /* the newest first */
};

/* Reads what an earlier server stored. */
void record_load(struct record_kind *k);
/* Takes over doc, which has a name; gives it an id and times, and stores it. */
struct record *record_new(struct record_kind *k, json_t *doc);
/* The record was changed: updated_at, storing. */
void record_changed(struct record_kind *k, struct record *r);
/* Forgets and frees it. */
void record_remove(struct record_kind *k, struct record *r);

/* By name, else by id; NULL when there is none. */
struct record *record_find(const struct record_kind *k, const char *name_or_id);
/* The one that a request's path names; answers 404 and returns NULL when there is none. */
struct record *record_named(const struct record_kind *k, struct req *r);
const char *record_text(const struct record *r, const char *key);

/* Answers 409 when another record than `self` (NULL: any) has this name. */
bool record_name_free(const struct record_kind *k, struct req *r, const char *name, const struct record *self);
/* Answers a list of them, filtered and paged. */
void record_list(const struct record_kind *k, struct req *r, json_t *(*show)(void *record));

#endif
