/* Which directories from outside a sandbox sees. */
#ifndef SANDBOXD_BINDS_H
#define SANDBOXD_BINDS_H

#include <stdbool.h>
#include <stddef.h>

#include "server.h"

struct box;

struct binds {
	struct bind *v;
	size_t n;
};

/* False with a reason. What was added is to be freed in either case. */
bool binds_of(const struct box *b, struct binds *binds, char **why);
void binds_free(struct binds *binds);

#endif
