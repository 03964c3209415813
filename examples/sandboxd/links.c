/* Links that download one file without any other credential. */
#include "links.h"

#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "files.h"
#include "model.h"
#include "token.h"

#define PURPOSE "download"
#define MAX_PATH 4096
#define MAX_TYPE 255
#define MAX_EXPIRY_S 3153600000 /* a hundred years */

static const char *text_field(const json_t *body, const char *key, size_t max, json_t *details)
{
	const json_t *v = json_object_get(body, key);
	const char *text = json_string_value(v);

	if (!v || json_is_null(v))
		return NULL;
	if (text && *text && strlen(text) == json_string_length(v) && strlen(text) <= max)
		return text;
	model_problem(details, "body", key, "%s must be a string of 1 to %zu bytes without NUL", key, max);
	return NULL;
}

/* It becomes a header. */
static void check_type(const char *type, json_t *details)
{
	for (const char *p = type; p && *p; p++) {
		if (*p < ' ' || *p > '~') {
			model_problem(details, "body", "content_type", "content_type must be printable ASCII");
			return;
		}
	}
}

static int64_t expiry(const json_t *body, json_t *details)
{
	const json_t *v = json_object_get(body, "expires_in_seconds");
	json_int_t s = json_integer_value(v);

	if (!v || json_is_null(v))
		return 0;
	if (s >= 1 && s <= MAX_EXPIRY_S)
		return wall_ms() + s * 1000;
	model_problem(details, "body", "expires_in_seconds", "expires_in_seconds must be an integer of at least 1");
	return 0;
}

static void answer(struct req *r, const struct box *b, json_t *claims, int64_t expires_ms)
{
	char *token = token_make(PURPOSE, claims, expires_ms), *base = http_base(r), until[40];

	if (expires_ms)
		format_rfc3339(expires_ms, until);
	http_json(r, 200,
		  json_pack("{s:o,s:s,s:s?}", "download_url", json_sprintf("%s/d/%s?token=%s", base, b->id, token), "token",
			    token, "expires_at", expires_ms ? until : NULL));
	free(token);
	free(base);
}

static void mint(struct req *r)
{
	struct box *b = box_find(r->arg[0], true);
	json_t *body, *details;
	const char *path, *type, *disposition;
	int64_t expires_ms;

	if (!b) {
		http_error(r, 404, "ResourceNotFound", "Sandbox '%s' not found", r->arg[0]);
		return;
	}
	body = http_body_json(r);
	if (!body)
		return;
	details = json_array();
	path = text_field(body, "path", MAX_PATH, details);
	type = text_field(body, "content_type", MAX_TYPE, details);
	disposition = text_field(body, "content_disposition", MAX_TYPE, details);
	expires_ms = expiry(body, details);
	check_type(type, details);
	if (disposition && strcmp(disposition, "attachment") != 0 && strcmp(disposition, "inline") != 0)
		model_problem(details, "body", "content_disposition", "content_disposition must be attachment or inline");
	if (!path && !json_array_size(details))
		model_problem(details, "body", "path", "path is required");
	if (json_array_size(details)) {
		http_invalid(r, details);
		return;
	}
	json_decref(details);
	answer(r, b,
	       json_pack("{s:s,s:s,s:s*,s:s*}", "box", b->id, "path", path, "type", type, "disposition", disposition),
	       expires_ms);
}

/* RFC 6266: a plain name for all, and the exact one where that differs. */
static char *disposition_header(const char *kind, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct buf plain = { 0 }, exact = { 0 };
	char *out;

	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		bool simple = *p >= ' ' && *p < 0x7f && *p != '"' && *p != '\\' && *p != '%';
		bool unreserved = (*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || strchr("-._~", *p);

		buf_addf(&plain, "%c", simple ? *p : '_');
		buf_addf(&exact, unreserved ? "%c" : "%%%02X", *p);
	}
	buf_add(&plain, "", 1);
	buf_add(&exact, "", 1);
	if (strcmp(plain.p, name) == 0)
		out = xasprintf("%s; filename=\"%s\"", kind, plain.p);
	else
		out = xasprintf("%s; filename=\"%s\"; filename*=UTF-8''%s", kind, plain.p, exact.p);
	buf_free(&plain);
	buf_free(&exact);
	return out;
}

static void fetch(struct req *r)
{
	char *token = http_query(r, "token"), *disposition = NULL;
	bool expired = false;
	json_t *claims = token ? token_read(PURPOSE, token, &expired) : NULL;
	const char *id = json_string_value(json_object_get(claims, "box"));
	const char *path = json_string_value(json_object_get(claims, "path"));
	const char *kind = json_string_value(json_object_get(claims, "disposition"));
	struct box *b = id && strcmp(id, r->arg[0]) == 0 ? box_find(id, false) : NULL;

	if (expired) {
		http_flat_error(r, 410, "LinkExpired", "This download link has expired");
	} else if (!path || strcmp(id, r->arg[0]) != 0) {
		http_flat_error(r, 403, "PermissionDenied", "This is not a valid download link");
	} else if (!b) {
		http_flat_error(r, 404, "ResourceNotFound", "The sandbox of this link does not exist any more");
	} else {
		if (kind)
			disposition = disposition_header(kind, path);
		file_send(r, b, xstrdup(path), json_string_value(json_object_get(claims, "type")), disposition);
	}
	json_decref(claims);
	free(disposition);
	free(token);
}

const struct route links_routes[] = {
	{ "POST", "/v2/sandboxes/boxes/{}/download-url", ROUTE_CONTROL, mint, NULL },
	{ "GET", "/d/{}", ROUTE_PUBLIC, fetch, NULL },
	{ 0 },
};
