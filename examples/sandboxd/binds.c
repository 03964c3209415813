#include "binds.h"

#include <stdlib.h>

#include "box.h"
#include "legacy.h"

static void add(struct binds *b, char *from, char *to, bool read_only)
{
	b->v = xrealloc(b->v, (b->n + 1) * sizeof *b->v);
	b->v[b->n++] = (struct bind){ from, to, read_only };
}

bool binds_of(const struct box *b, struct binds *binds, char **why)
{
	size_t i;
	json_t *v;

	*binds = (struct binds){ 0 };
	if (server.tools && server.isolation)
		add(binds, xstrdup(server.tools), xstrdup(TOOLS_DIR), true);
	json_array_foreach(json_object_get(b->doc, "volume_mounts"), i, v)
	{
		const char *id = json_string_value(json_object_get(v, "volume_id"));

		if (!record_find(&volumes, id)) {
			*why = xasprintf("the volume %s is gone", id);
			return false;
		}
		add(binds, volume_dir(id), xstrdup(json_string_value(json_object_get(v, "mount_path"))), false);
	}
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
