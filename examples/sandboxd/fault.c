#include "fault.h"

#include <stdlib.h>
#include <string.h>

struct fault {
	struct fault *next;
	int status, code;
	long count; /* < 0: for ever */
	uint64_t after;
	char *path, *type, *message, *retry_after;
};

static struct fault *faults;

bool fault_add(const char *spec, char **why)
{
	struct fault *f = xcalloc(1, sizeof *f), **p = &faults;
	char *copy = xstrdup(spec), *save = NULL;

	f->count = -1;
	for (char *s = strtok_r(copy, ":", &save); s; s = strtok_r(NULL, ":", &save)) {
		char *v = strchr(s, '=');

		if (v)
			*v++ = 0;
		if (v && strcmp(s, "status") == 0)
			f->status = atoi(v);
		else if (v && strcmp(s, "drop-ws-after") == 0)
			f->after = strtoull(v, NULL, 10) + 1;
		else if (v && strcmp(s, "close-ws-after") == 0) {
			f->after = strtoull(v, NULL, 10) + 1;
			f->code = f->code ? f->code : 1001;
		} else if (v && strcmp(s, "code") == 0)
			f->code = atoi(v);
		else if (v && strcmp(s, "count") == 0)
			f->count = atol(v);
		else if (v && strcmp(s, "path") == 0)
			f->path = xstrdup(v);
		else if (v && strcmp(s, "type") == 0)
			f->type = xstrdup(v);
		else if (v && strcmp(s, "message") == 0)
			f->message = xstrdup(v);
		else if (v && strcmp(s, "retry-after") == 0)
			f->retry_after = xstrdup(v);
		else {
			*why = xasprintf("--fault: '%s' is not understood", s);
			free(copy);
			free(f);
			return false;
		}
	}
	free(copy);
	if (!f->after && (f->status < 200 || f->status > 599)) {
		*why = xasprintf("--fault %s: needs status=200..599, drop-ws-after= or close-ws-after=", spec);
		free(f);
		return false;
	}
	while (*p)
		p = &(*p)->next;
	*p = f;
	return true;
}

static bool due(struct fault *f, const char *path)
{
	if (!f->count || (f->path && !strstr(path, f->path)))
		return false;
	if (f->count > 0)
		f->count--;
	return true;
}

bool fault_http(struct req *r)
{
	for (struct fault *f = faults; f; f = f->next) {
		json_t *body;
		char *text;
		struct MHD_Response *response;

		if (!f->status || !due(f, r->path))
			continue;
		body = json_pack("{s:{s:s,s:s}}", "detail", "error", f->type ? f->type : "InjectedFault", "message",
				 f->message ? f->message : "a fault was asked for");
		text = json_dumps(body, JSON_COMPACT);
		json_decref(body);
		response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
		MHD_add_response_header(response, "Content-Type", "application/json");
		if (f->retry_after)
			MHD_add_response_header(response, "Retry-After", f->retry_after);
		http_reply(r, (unsigned)f->status, response);
		return true;
	}
	return false;
}

struct fault_ws fault_websocket(const char *path)
{
	for (struct fault *f = faults; f; f = f->next)
		if (f->after && due(f, path))
			return (struct fault_ws){ f->after, f->code };
	return (struct fault_ws){ 0, 0 };
}
