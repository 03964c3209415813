#include "services.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "server.h"
#include "store.h"
#include "token.h"

#define PURPOSE "service"
#define DEFAULT_EXPIRY_S 600
#define MAX_EXPIRY_S 86400

unsigned service_port(const char *text)
{
	char *end;
	unsigned long v = *text >= '1' && *text <= '9' ? strtoul(text, &end, 10) : 0;

	return v && !*end && v <= 65535 ? (unsigned)v : 0;
}

void service_cookie(unsigned port, char name[40])
{
	snprintf(name, 40, "sandbox-service-%u", port);
}

/* ---- what is shared: kept in the sandbox's record as "shares" ---- */

static json_t *shares_of(struct box *b)
{
	json_t *shares = json_object_get(b->doc, "shares");

	if (!shares) {
		shares = json_object();
		json_object_set_new(b->doc, "shares", shares);
	}
	return shares;
}

static json_t *share_find(const struct box *b, unsigned port)
{
	char text[16];
	json_t *share;

	snprintf(text, sizeof text, "%u", port);
	share = json_object_get(json_object_get(b->doc, "shares"), text);
	if (share && json_integer_value(json_object_get(share, "expires_ms")) <= wall_ms() &&
	    json_object_get(share, "expires_ms"))
		return NULL;
	return share;
}

static bool is_login(const json_t *share)
{
	const char *access = json_string_value(json_object_get(share, "access"));

	return access && strcmp(access, "token") != 0;
}

static json_t *time_json(int64_t ms)
{
	char text[40];

	format_rfc3339(ms, text);
	return json_string(text);
}

static void share_set(struct box *b, unsigned port, const char *access, int64_t expires_ms)
{
	json_t *old = share_find(b, port), *share = json_object(), *created;
	char text[16];

	created = old ? json_incref(json_object_get(old, "created_at")) : time_json(wall_ms());
	json_object_set_new(share, "port", json_integer(port));
	json_object_set_new(share, "access", json_string(access));
	json_object_set_new(share, "created_at", created);
	if (expires_ms) {
		json_object_set_new(share, "expires_at", time_json(expires_ms));
		json_object_set_new(share, "expires_ms", json_integer(expires_ms));
	}
	snprintf(text, sizeof text, "%u", port);
	json_object_set_new(shares_of(b), text, share);
	store_save(b->id, b->doc);
}

/* ---- the URLs ---- */

static struct box *named_box(struct req *r)
{
	struct box *b = box_find(r->arg[0], true);

	if (!b)
		http_error(r, 404, "ResourceNotFound", "Sandbox '%s' not found", r->arg[0]);
	return b;
}

struct wanted {
	json_int_t port, expires_s;
	const char *access; /* NULL: by token */
};

static void read_wanted(const json_t *body, struct wanted *w, json_t *details)
{
	json_t *expires = json_object_get(body, "expires_in_seconds"), *access = json_object_get(body, "access");

	w->port = json_integer_value(json_object_get(body, "port"));
	w->access = json_string_value(access);
	w->expires_s = DEFAULT_EXPIRY_S;
	if (w->port < 1 || w->port > 65535)
		model_problem(details, "body", "port", "port must be an integer from 1 to 65535");
	if (access && !json_is_null(access) &&
	    (!w->access || (strcmp(w->access, "restricted") != 0 && strcmp(w->access, "workspace") != 0)))
		model_problem(details, "body", "access", "access must be restricted or workspace");
	if (!expires || json_is_null(expires))
		return;
	w->expires_s = json_integer_value(expires);
	if (w->access)
		model_problem(details, "body", "expires_in_seconds", "expires_in_seconds does not go with access");
	else if (w->expires_s < 1 || w->expires_s > MAX_EXPIRY_S)
		model_problem(details, "body", "expires_in_seconds", "expires_in_seconds must be an integer from 1 to %d",
			      MAX_EXPIRY_S);
}

static void answer_login(struct req *r, struct box *b, const struct wanted *w)
{
	json_t *old = share_find(b, (unsigned)w->port);
	char *base, *url;

	if (old && !is_login(old)) {
		http_error(r, 409, "Conflict", "Port %d is shared by token; end that first (DELETE service-urls?port=%d)",
			   (int)w->port, (int)w->port);
		return;
	}
	share_set(b, (unsigned)w->port, w->access, 0);
	base = http_base(r);
	url = xasprintf("%s/s/%s/%d/", base, b->id, (int)w->port);
	http_json(r, 200, json_pack("{s:s,s:s,s:s}", "browser_url", url, "service_url", url, "access", w->access));
	free(base);
	free(url);
}

static void answer_token(struct req *r, struct box *b, const struct wanted *w)
{
	json_t *old = share_find(b, (unsigned)w->port);
	int64_t expires_ms = wall_ms() + w->expires_s * 1000, shared_until;
	char *base, *token;

	if (is_login(old)) {
		http_error(r, 409, "Conflict", "Port %d is shared by login; end that first (DELETE service-urls?port=%d)",
			   (int)w->port, (int)w->port);
		return;
	}
	shared_until = json_integer_value(json_object_get(old, "expires_ms"));
	share_set(b, (unsigned)w->port, "token", shared_until > expires_ms ? shared_until : expires_ms);
	base = http_base(r);
	token = token_make(PURPOSE, json_pack("{s:s,s:I}", "box", b->id, "port", w->port), expires_ms);
	http_json(r, 200,
		  json_pack("{s:o,s:o,s:s,s:o}", "browser_url",
			    json_sprintf("%s/service-auth/%s/%d?token=%s", base, b->id, (int)w->port, token), "service_url",
			    json_sprintf("%s/s/%s/%d/", base, b->id, (int)w->port), "token", token, "expires_at",
			    time_json(expires_ms)));
	free(base);
	free(token);
}

static void mint(struct req *r)
{
	struct box *b = named_box(r);
	json_t *body = b ? http_body_json(r) : NULL, *details;
	struct wanted w;

	if (!body)
		return;
	details = json_array();
	read_wanted(body, &w, details);
	if (json_array_size(details)) {
		http_invalid(r, details);
		return;
	}
	json_decref(details);
	if (w.access)
		answer_login(r, b, &w);
	else
		answer_token(r, b, &w);
}

static json_t *share_json(const json_t *share)
{
	json_t *out = json_copy((json_t *)(uintptr_t)share);

	json_object_del(out, "expires_ms");
	return out;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The shared ports, ascending; to be freed. */
static int *shared_ports(struct box *b, size_t *n)
{
	json_t *shares = shares_of(b), *share;
	int *ports = xcalloc(json_object_size(shares), sizeof *ports);
	const char *key;

	*n = 0;
	json_object_foreach(shares, key, share)
	{
		if (share_find(b, service_port(key)))
			ports[(*n)++] = (int)service_port(key);
	}
	qsort(ports, *n, sizeof *ports, by_number);
	return ports;
}

/* By port; the cursor is the last one of a page. */
static void list(struct req *r)
{
	struct box *b = named_box(r);
	long size = 50, after = 0;
	json_t *items;
	char *next = NULL;
	int *ports;
	size_t n, at = 0;

	if (!b || !http_query_int(r, "page_size", 1, 500, &size) || !http_query_int(r, "cursor", 0, 65535, &after))
		return;
	items = json_array();
	ports = shared_ports(b, &n);
	while (at < n && ports[at] <= after)
		at++;
	for (; at < n && json_array_size(items) < (size_t)size; at++)
		json_array_append_new(items, share_json(share_find(b, (unsigned)ports[at])));
	if (at < n)
		next = xasprintf("%d", ports[at - 1]);
	free(ports);
	http_json(r, 200, json_pack("{s:o,s:s?}", "items", items, "next_cursor", next));
	free(next);
}

/* Tokens that were given out stay valid until they expire. */
static void end_sharing(struct req *r)
{
	struct box *b = named_box(r);
	long port = 0;
	char text[16];

	if (!b || !http_query_int(r, "port", 1, 65535, &port))
		return;
	if (port) {
		snprintf(text, sizeof text, "%ld", port);
		json_object_del(shares_of(b), text);
	} else {
		json_object_clear(shares_of(b));
	}
	store_save(b->id, b->doc);
	http_empty(r, 204);
}

/* ---- admission ---- */

/* The value of our cookie among the request's, NULL when it is not there. To be freed. */
static char *cookie_token(struct req *r, unsigned port)
{
	char name[40];
	const char *value;

	service_cookie(port, name);
	value = MHD_lookup_connection_value(r->conn, MHD_COOKIE_KIND, name);
	return value ? xstrdup(value) : NULL;
}

static bool token_fits(const char *token, const struct box *b, unsigned port, bool *expired)
{
	json_t *claims = token_read(PURPOSE, token, expired);
	const char *id = json_string_value(json_object_get(claims, "box"));
	bool ok = id && strcmp(id, b->id) == 0 && json_integer_value(json_object_get(claims, "port")) == port;

	json_decref(claims);
	return ok;
}

/* There is no one to log in with here: the API key stands for it. */
static bool logged_in(struct req *r)
{
	const char *key = http_header(r, "X-Api-Key");

	return !server.api_key || (key && strcmp(key, server.api_key) == 0);
}

bool service_admits(struct req *r, const struct box *b, unsigned port, bool *by_key)
{
	const char *header = http_header(r, SERVICE_TOKEN_HEADER);
	char *token = header ? xstrdup(header) : cookie_token(r, port);
	bool login = is_login(share_find(b, port)), expired = false;
	bool ok = token && token_fits(token, b, port, &expired);

	free(token);
	*by_key = !ok && login && logged_in(r);
	if (ok || *by_key)
		return true;
	http_flat_error(r, 401, "Unauthorized", "%s",
			expired ? "The service token has expired"
			: token ? "The service token is not one for this port"
			: login ? "This port is shared by login, for which the API key stands here"
				: "A service token is needed (" SERVICE_TOKEN_HEADER ")");
	return false;
}

/* What a browser opens: its token becomes a cookie. */
static void browser(struct req *r)
{
	struct box *b = box_find(r->arg[0], false);
	unsigned port = service_port(r->arg[1]);
	char *token = http_query(r, "token"), name[40], *text;
	bool expired = false;
	struct MHD_Response *response;

	if (!b || !port || !token || !token_fits(token, b, port, &expired)) {
		http_flat_error(r, 401, "Unauthorized", expired ? "The service token has expired" : "The service token is not valid");
		free(token);
		return;
	}
	response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	text = xasprintf("/s/%s/%u/", b->id, port);
	MHD_add_response_header(response, "Location", text);
	free(text);
	service_cookie(port, name);
	text = xasprintf("%s=%s; Path=/s/%s/%u/; HttpOnly; SameSite=Lax", name, token, b->id, port);
	MHD_add_response_header(response, "Set-Cookie", text);
	free(text);
	free(token);
	http_reply(r, 302, response);
}

const struct route services_routes[] = {
	{ "POST", "/v2/sandboxes/boxes/{}/service-url", ROUTE_CONTROL, mint, NULL },
	{ "GET", "/v2/sandboxes/boxes/{}/service-urls", ROUTE_CONTROL, list, NULL },
	{ "DELETE", "/v2/sandboxes/boxes/{}/service-urls", ROUTE_CONTROL, end_sharing, NULL },
	{ "GET", "/service-auth/{}/{}", ROUTE_PUBLIC, browser, NULL },
	{ 0 },
};
