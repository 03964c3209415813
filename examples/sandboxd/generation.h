/* The generations of the API: what an older (or the newest) server lacks. */
#ifndef SANDBOXD_GENERATION_H
#define SANDBOXD_GENERATION_H

#include <stdbool.h>

enum generation {
	GENERATION_ALL,	    /* everything at once, the default */
	GENERATION_2026_04_A, /* templates, volumes, pools */
	GENERATION_2026_04_B, /* the same and snapshots */
	GENERATION_CURRENT, /* no templates, volumes, pools */
};

/* Reads a name of --generation; false when there is none of it. */
bool generation_choose(const char *name);
enum generation generation(void);
/* One of 2026-04: sandboxes are not woken, idle ones are deleted, commands have
 * no ids of the client's, and lists no cursors. */
bool generation_old(void);
/* Whether the path of a route (without /api) exists. */
bool generation_serves(const char *route_path);

#endif
