/* What the control plane has besides sandboxes. */
#ifndef SANDBOXD_RESOURCES_H
#define SANDBOXD_RESOURCES_H

#include <stdbool.h>

#include "http.h"

extern const struct route registries_routes[];
void registries_load(void);
bool registry_exists(const char *name_or_id);

extern const struct route snapshots_routes[];

/* Of the older generations. */
extern const struct route volumes_routes[], templates_routes[], pools_routes[];
void volumes_load(void);
void templates_load(void);
void pools_load(void);

#endif
