/* Docker images, as far as the command line names a root directory for them. */
#ifndef SANDBOXD_IMAGE_H
#define SANDBOXD_IMAGE_H

#include <stdbool.h>

/* Takes one --image NAME=DIR; false with a reason. */
bool image_add(const char *spec, char **why);
/* The root directory of an image (a missing tag means latest), or NULL. */
const char *image_root(const char *name);

#endif
