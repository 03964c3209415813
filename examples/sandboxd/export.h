/* Takes the files of a Docker image out of a sandbox, with its own `docker`. */
#ifndef SANDBOXD_EXPORT_H
#define SANDBOXD_EXPORT_H

#include <stdbool.h>

struct box;
struct snapshot;

/* Starts it; the snapshot becomes ready or failed. */
void export_start(struct snapshot *s, struct box *b);
/* What was taken out is copied: the sandbox forgets it. False: the sandbox is
 * gone, so that the copy may miss something. Snapshots of no image: always true. */
bool export_finished(const struct snapshot *s);
/* The snapshot goes away. */
void export_cancel(struct snapshot *s);

#endif
