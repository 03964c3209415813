/* How to run a command, as execute messages and bodies say it. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "generation.h"
#include "model.h"

#define FOREVER_S 1e9 /* longer times are cut to this */

static bool number_field(const json_t *msg, const char *key, double *out, char **why)
{
	const json_t *v = json_object_get(msg, key);

	if (!v || json_is_null(v))
		return true;
	if (!json_is_number(v)) {
		*why = xasprintf("%s must be a number", key);
		return false;
	}
	*out = json_number_value(v);
	if (*out > FOREVER_S)
		*out = FOREVER_S;
	return true;
}

static bool string_field(const json_t *msg, const char *key, char **out, char **why)
{
	const json_t *v = json_object_get(msg, key);

	if (!v || json_is_null(v))
		return true;
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v)) {
		*why = xasprintf("%s must be a string without NUL characters", key);
		return false;
	}
	free(*out);
	*out = xstrdup(json_string_value(v));
	return true;
}

static bool bool_field(const json_t *msg, const char *key, bool *out, char **why)
{
	const json_t *v = json_object_get(msg, key);

	if (!v || json_is_null(v))
		return true;
	if (!json_is_boolean(v)) {
		*why = xasprintf("%s must be a boolean", key);
		return false;
	}
	*out = json_is_true(v);
	return true;
}

static bool environment_fields(const json_t *msg, struct command_spec *s, char **why)
{
	json_t *env = json_object_get(msg, "env"), *rc = json_object_get(msg, "run_config"), *details = json_array();
	bool ok;

	if (rc && !json_is_null(rc) && (s->cwd || (env && !json_is_null(env))))
		*why = xstrdup("run_config cannot be combined with env or cwd");
	model_check_env(env, "env", details);
	model_check_run_config(rc, details);
	if (!*why && json_array_size(details))
		*why = xstrdup(json_string_value(json_object_get(json_array_get(details, 0), "msg")));
	ok = !*why;
	if (ok && json_is_object(rc)) {
		ok = string_field(rc, "work_dir", &s->cwd, why);
		env = json_object_get(rc, "env_vars");
	}
	if (ok && json_is_object(env))
		s->env = json_incref(env);
	json_decref(details);
	return ok;
}

/* A command as a list of words instead of a text for the shell. */
static bool words_field(json_t *v, struct command_spec *s, char **why)
{
	json_t *word;
	size_t i;

	json_array_foreach(v, i, word)
	{
		if (json_is_string(word) && strlen(json_string_value(word)) == json_string_length(word))
			continue;
		*why = xstrdup("command must be a list of strings without NUL characters");
		return false;
	}
	if (!i) {
		*why = xstrdup("command must not be an empty list");
		return false;
	}
	s->argv = json_incref(v);
	return true;
}

static bool command_field(const json_t *msg, struct command_spec *s, char **why)
{
	json_t *v = json_object_get(msg, "command");

	return json_is_array(v) ? words_field(v, s, why) : string_field(msg, "command", &s->command, why);
}

bool command_spec_parse(const json_t *msg, struct command_spec *s, const char **type, char **why)
{
	bool ok;

	*s = (struct command_spec){ .shell = xstrdup("/bin/bash"), .idle_timeout_s = 3600, .ttl_s = 300 };
	*type = "InvalidRequest";
	*why = NULL;
	ok = command_field(msg, s, why) && string_field(msg, "shell", &s->shell, why) &&
	     string_field(msg, "cwd", &s->cwd, why) && string_field(msg, "command_id", &s->id, why) &&
	     number_field(msg, "timeout_seconds", &s->timeout_s, why) &&
	     number_field(msg, "idle_timeout_seconds", &s->idle_timeout_s, why) &&
	     number_field(msg, "ttl_seconds", &s->ttl_s, why) &&
	     bool_field(msg, "kill_on_disconnect", &s->kill_on_disconnect, why) &&
	     bool_field(msg, "close_stdin", &s->close_stdin, why) && bool_field(msg, "pty", &s->pty, why) &&
	     bool_field(msg, "ssh_agent_forward", &s->ssh_agent, why) &&
	     environment_fields(msg, s, why);
	s->cols = (int)json_integer_value(json_object_get(msg, "cols"));
	s->rows = (int)json_integer_value(json_object_get(msg, "rows"));
	if (ok && !s->command && !s->argv && !s->pty) {
		*why = xstrdup("command is required");
		ok = false;
	}
	if (generation_old()) { /* it knows no ids but its own */
		free(s->id);
		s->id = NULL;
	}
	if (ok && s->id && (!*s->id || strlen(s->id) > 128)) {
		*why = xstrdup("command_id must be a string of 1 to 128 bytes");
		ok = false;
	}
	if (ok && !s->id) {
		s->id = xmalloc(37);
		make_uuid(s->id);
	}
	return ok;
}

void command_spec_free(struct command_spec *s)
{
	free(s->id);
	free(s->command);
	free(s->shell);
	free(s->cwd);
	json_decref(s->argv);
	json_decref(s->env);
	*s = (struct command_spec){ 0 };
}
