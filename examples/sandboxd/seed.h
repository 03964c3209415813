/* Where the files of a new sandbox's root come from: a snapshot or an image. */
#ifndef SANDBOXD_SEED_H
#define SANDBOXD_SEED_H

#include <jansson.h>
#include <stdbool.h>

#include "job.h"

struct box;
struct req;

/* Reads what a create body says of it, and adds to the record what the sandbox
 * takes over from there. False: the request was answered with an error. */
bool seed_choose(struct req *r, const json_t *body, json_t *doc);

/* Whether the root is still to be filled. */
bool seed_wanted(const struct box *b);
/* Fills it, as b->seeding; false with a reason. */
bool seed_start(struct box *b, void (*done)(struct job *j, bool ok, const char *text), char **why);
/* The root is filled: it is not done again. */
void seed_done(struct box *b);

/* Starts a job that copies a directory, whose descriptor it takes, to `to`; the
 * copy belongs to nobody else than uid. Its result is the reason, or the bytes used. */
void seed_copy(struct job *j, int from, const char *to, uid_t uid, uint64_t limit,
	       void (*done)(struct job *j, bool ok, const char *text));
/* A root directory, locked against removal; -1 with a reason. */
int seed_open(const char *root, const char *path, char **why);
/* Whether a root brings programs of its own. */
bool seed_own_system(const char *root);

#endif
