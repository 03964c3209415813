#include "image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "util.h"

static struct image {
	struct image *next;
	char *name, *root;
} *images;

/* The tag is what follows a colon of the last part: a registry may have a port. */
static char *full_name(const char *name, size_t n)
{
	char *full = xasprintf("%.*s", (int)n, name);
	const char *slash = strrchr(full, '/'), *last = slash ? slash + 1 : full;
	char *tagged;

	if (strpbrk(last, ":@"))
		return full;
	tagged = xasprintf("%s:latest", full);
	free(full);
	return tagged;
}

bool image_add(const char *spec, char **why)
{
	const char *eq = strchr(spec, '=');
	struct image *i;
	char *root;

	if (!eq || eq == spec || !eq[1]) {
		*why = xasprintf("--image %s: NAME=DIR is needed", spec);
		return false;
	}
	root = realpath(eq + 1, NULL);
	if (!root || !store_host_is_dir(root)) {
		*why = xasprintf("--image %s: not a directory", spec);
		free(root);
		return false;
	}
	i = xcalloc(1, sizeof *i);
	i->name = full_name(spec, (size_t)(eq - spec));
	i->root = root;
	i->next = images;
	images = i;
	return true;
}

const char *image_root(const char *name)
{
	char *full = full_name(name, strlen(name));
	const struct image *i = images;

	while (i && strcmp(i->name, full) != 0)
		i = i->next;
	free(full);
	return i ? i->root : NULL;
}
