#include "generation.h"

#include <string.h>

static enum generation chosen = GENERATION_ALL;

bool generation_choose(const char *name)
{
	static const char *const names[] = { "all", "2026-04-a", "2026-04-b", "current" };

	for (int i = 0; i < 4; i++) {
		if (strcmp(name, names[i]) == 0) {
			chosen = (enum generation)i;
			return true;
		}
	}
	return false;
}

enum generation generation(void)
{
	return chosen;
}

bool generation_old(void)
{
	return chosen == GENERATION_2026_04_A || chosen == GENERATION_2026_04_B;
}

/* How the paths of routes start. */
static const struct {
	const char *path;
	bool a, b, current; /* lacks it */
} missing[] = {
	{ "/v2/sandboxes/templates", false, false, true },
	{ "/v2/sandboxes/volumes", false, false, true },
	{ "/v2/sandboxes/pools", false, false, true },
	{ "/v2/sandboxes/registries", true, true, false },
	{ "/v2/sandboxes/snapshots-by-name/", true, true, false },
	{ "/v2/sandboxes/snapshots", true, false, false },
	{ "/v2/sandboxes/boxes/{}/snapshot", true, false, false },
	{ "/v2/sandboxes/boxes/{}/start", true, false, false },
	{ "/v2/sandboxes/boxes/{}/stop", true, false, false },
	{ "/v2/sandboxes/boxes/{}/service-urls", true, true, false },
	{ "/v2/sandboxes/boxes/{}/download-url", true, true, false },
	{ "/v2/sandboxes/{}/execute/stream/", true, true, false },
	{ "/dataplane/{}/execute/stream/", true, true, false },
	{ "/dataplane/{}/glob", true, true, false },
	{ "/dataplane/{}/grep", true, true, false },
};

bool generation_serves(const char *path)
{
	for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
		bool lacks = chosen == GENERATION_2026_04_A ? missing[i].a
			     : chosen == GENERATION_2026_04_B ? missing[i].b
			     : chosen == GENERATION_CURRENT   ? missing[i].current
							      : false;

		if (lacks && strncmp(path, missing[i].path, strlen(missing[i].path)) == 0)
			return false;
	}
	return true;
}
