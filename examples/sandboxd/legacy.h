/* The resources of the older generations: templates, volumes, pools. */
#ifndef SANDBOXD_LEGACY_H
#define SANDBOXD_LEGACY_H

#include <jansson.h>
#include <stdbool.h>

#include "record.h"

struct box;
struct req;

extern struct record_kind templates, volumes, pools;

/* The directory whose content a volume is. */
char *volume_dir(const char *id);

/* Completes a sandbox's record from the template that template_name names.
 * False: the request was answered with an error. */
bool template_apply(struct req *r, const json_t *body, json_t *doc);

/* Who uses it; each NULL for nobody. */
const struct record *template_using_volume(const char *volume_id);
const struct box *box_using(const char *key, const char *id);

#endif
