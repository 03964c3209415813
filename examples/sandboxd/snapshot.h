/* Snapshots: copies of roots, STATE/snapshots/ID beside ID.json. */
#ifndef SANDBOXD_SNAPSHOT_H
#define SANDBOXD_SNAPSHOT_H

#include <jansson.h>
#include <stdbool.h>

#include "job.h"
#include "record.h"

struct box;
struct export;

struct snapshot {
	struct record rec;
	struct job job;
	struct timer refusal; /* nothing can be built from its image */
	struct export *export; /* a Docker image of a sandbox is being taken out */
};

extern struct record_kind snapshots;

void snapshots_load(void);
struct snapshot *snapshot_by_id(const char *id);
/* By name or name:tag. A name alone is name:latest, else the newest ready one of that name without tags. */
struct snapshot *snapshot_by_name(const char *reference);
/* By either. */
struct snapshot *snapshot_find(const char *reference);
char *snapshot_dir(const char *id);

/* Both take over doc: name, fs_capacity_bytes, and what else was given. They
 * return a snapshot that is building. */
struct snapshot *snapshot_build(json_t *doc);
struct snapshot *snapshot_capture(json_t *doc, struct box *b);
/* Gone for the API at once; its files follow. */
void snapshot_delete(struct snapshot *s);

/* Copies its root from a directory below root, and is ready or failed then. */
void snapshot_take(struct snapshot *s, const char *root, const char *path);
void snapshot_fail(struct snapshot *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
