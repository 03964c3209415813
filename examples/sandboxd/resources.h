/* What the control plane has besides sandboxes. */
#ifndef SANDBOXD_RESOURCES_H
#define SANDBOXD_RESOURCES_H

#include <stdbool.h>

#include "http.h"

extern const struct route registries_routes[];
void registries_load(void);
bool registry_exists(const char *name_or_id);

extern const struct route snapshots_routes[];

#endif
