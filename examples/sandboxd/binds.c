#include "binds.h"

#include <stdlib.h>

#include "box.h"

static void add(struct binds *b, char *from, char *to, bool read_only)
{
	b->v = xrealloc(b->v, (b->n + 1) * sizeof *b->v);
	b->v[b->n++] = (struct bind){ from, to, read_only };
}

bool binds_of(const struct box *b, struct binds *binds, char **why)
{
	(void)b;
	(void)why;
	*binds = (struct binds){ 0 };
	if (server.tools && server.isolation)
		add(binds, xstrdup(server.tools), xstrdup(TOOLS_DIR), true);
	return true;
}

void binds_free(struct binds *binds)
{
	for (size_t i = 0; i < binds->n; i++) {
		free(binds->v[i].from);
		free(binds->v[i].to);
	}
	free(binds->v);
}
