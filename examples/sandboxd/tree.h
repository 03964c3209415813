/* Copies of directory trees that somebody may be changing meanwhile. */
#ifndef SANDBOXD_TREE_H
#define SANDBOXD_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util.h"

/* A directory below root, as the root's own processes would find it: symlinks
 * lead nowhere outside. -1 with errno. */
int tree_open(const char *root, const char *path);

/* Copies the content of the directory `from` to `to`, which must not exist and
 * is there only when all of it is (it is made as TO.new and renamed).
 * Everything then belongs to uid. Modes, times, symlinks and holes are kept;
 * a hard link becomes a file of its own, sockets and devices are left out.
 * Files that vanish meanwhile are left out, too. Closes `from`.
 * False, with the reason in `why`, also when the files take more than limit bytes. */
bool tree_copy(int from, const char *to, uid_t uid, uint64_t limit, uint64_t *used, struct buf *why);

#endif
