/* The sandbox model: checking what clients send, showing what is stored. */
#ifndef SANDBOXD_MODEL_H
#define SANDBOXD_MODEL_H

#include <jansson.h>
#include <stdbool.h>

#include "util.h"

struct box;

/* Adds one validation problem: {"loc":[where, field], "msg", "type":"value_error"}. */
void model_problem(json_t *details, const char *where, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Checks a create body and returns the record, or fills details and returns NULL. */
json_t *model_create(const json_t *body, json_t *details);
/* Checks an update and applies it, all or nothing. */
bool model_update(json_t *doc, const json_t *body, json_t *details);

/* A copy with the values of write-only secrets taken out. */
json_t *model_redact(const json_t *value);

/* Check one member, if it is given. */
void model_check_name(const json_t *body, json_t *details);
void model_check_labels(const json_t *body, json_t *details);
void model_check_integer(const json_t *body, const char *key, json_int_t min, json_int_t max, json_t *details);

/* Checks a run_config, which commands carry too. */
void model_check_run_config(const json_t *rc, json_t *details);
void model_check_env(const json_t *env, const char *field, json_t *details);

/* Checks mount_config and proxy_config; a problem's loc is the whole way to the member. */
void model_check_configs(const json_t *body, json_t *details);
/* Whether something may be mounted there: absolute, plain, and none of the system's directories. */
bool model_mount_path_ok(const char *path);
/* Whether path is `above` or lies below it. */
bool model_path_covers(const char *above, const char *path);

/* Where commands start that name no directory. */
const char *model_work_dir(const struct box *b);
/* The environment of a sandbox's commands: the server's own, proxy rules, the
 * snapshot's run_config, env_vars, run_config, then the command's env; later
 * ones win. Appends NUL-terminated NAME=VALUE. */
void model_environment(const struct box *b, const json_t *env, bool pty, struct buf *out);

#endif
