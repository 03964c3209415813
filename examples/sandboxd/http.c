#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "box.h"
#include "fault.h"
#include "generation.h"
#include "loop.h"
#include "server.h"
#include "tls.h"

#define MAX_BODY (16 << 20)
#define IDLE_SECONDS 300u
#define HOST_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]"
#define CONNECTION_MEMORY (64u << 10)

static struct MHD_Daemon *daemon_;
static struct source epoll_source;
static struct req *requests;
static bool kicked;

void http_kick(void)
{
	kicked = true;
}

static int64_t on_idle(void)
{
	for (int i = 0; i < 8; i++) {
		MHD_UNSIGNED_LONG_LONG wait;

		if (kicked) {
			kicked = false;
			MHD_run(daemon_);
		}
		if (kicked)
			continue;
		if (MHD_get_timeout(daemon_, &wait) != MHD_YES)
			return -1;
		if (wait)
			return (int64_t)wait;
		kicked = true;
	}
	return 0;
}

static void on_epoll(struct source *s, uint32_t events)
{
	(void)s;
	(void)events;
	MHD_run(daemon_);
}

/* ---- answers ---- */

static void resume(struct req *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	MHD_resume_connection(r->conn);
	http_kick();
}

void http_continue(struct req *r)
{
	resume(r);
}

void http_suspend(struct req *r)
{
	MHD_suspend_connection(r->conn);
	r->suspended = true;
}

void http_abandon(struct req *r)
{
	r->abandoned = true;
	resume(r);
}

int http_socket(struct req *r)
{
	return MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

void http_reply(struct req *r, unsigned status, struct MHD_Response *response)
{
	if (r->response) { /* the first answer counts */
		MHD_destroy_response(response);
		return;
	}
	r->response = response;
	r->status = status;
	logf_info("%s %s -> %u", r->method, r->path, status);
	resume(r);
}

void http_text(struct req *r, unsigned status, const char *content_type, char *body, size_t n)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(n, body, MHD_RESPMEM_MUST_FREE);

	MHD_add_response_header(response, "Content-Type", content_type);
	http_reply(r, status, response);
}

void http_json(struct req *r, unsigned status, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);

	json_decref(body);
	if (!text)
		text = xstrdup("{}");
	http_text(r, status, "application/json", text, strlen(text));
}

void http_empty(struct req *r, unsigned status)
{
	http_reply(r, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

static json_t *error_body(const char *type, const char *fmt, va_list ap)
{
	json_t *text = json_vsprintf(fmt, ap);

	return json_pack("{s:s,s:o}", "error", type, "message", text ? text : json_string("error"));
}

void http_error(struct req *r, unsigned status, const char *type, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	http_json(r, status, json_pack("{s:o}", "detail", error_body(type, fmt, ap)));
	va_end(ap);
}

void http_flat_error(struct req *r, unsigned status, const char *type, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	http_json(r, status, error_body(type, fmt, ap));
	va_end(ap);
}

void http_invalid(struct req *r, json_t *details)
{
	http_json(r, 422, json_pack("{s:o}", "detail", details));
}

static void plain_detail(struct req *r, unsigned status, const char *text)
{
	http_json(r, status, json_pack("{s:s}", "detail", text));
}

/* ---- reading requests ---- */

const char *http_header(struct req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

bool http_has_token(const char *list, const char *token)
{
	size_t n = strlen(token);

	while (list && *list) {
		list += strspn(list, " \t,");
		if (strncasecmp(list, token, n) == 0 && (!list[n] || strchr(" \t,", list[n])))
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

char *http_base(struct req *r)
{
	const char *host = http_header(r, "Host"), *proto = http_header(r, "X-Forwarded-Proto");
	bool tls = server.tls_cert || (proto && strcasecmp(proto, "https") == 0);

	if (!host || !*host || strlen(host) > 255 || host[strspn(host, HOST_CHARACTERS)])
		return xstrdup(server.url);
	return xasprintf("%s://%s", tls ? "https" : "http", host);
}

static char *decoded(const char *raw)
{
	struct buf b = { 0 };

	if (raw && percent_decode(raw, strlen(raw), true, &b))
		return b.p;
	buf_free(&b);
	return NULL;
}

char *http_query(struct req *r, const char *name)
{
	return decoded(MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name));
}

struct each {
	const char *name;
	void (*each)(void *arg, const char *value);
	void *arg;
};

static enum MHD_Result on_argument(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct each *e = cls;
	char *text = value && strcmp(key, e->name) == 0 ? decoded(value) : NULL;

	(void)kind;
	if (text)
		e->each(e->arg, text);
	free(text);
	return MHD_YES;
}

void http_query_each(struct req *r, const char *name, void (*each)(void *arg, const char *value), void *arg)
{
	struct each e = { name, each, arg };

	MHD_get_connection_values(r->conn, MHD_GET_ARGUMENT_KIND, on_argument, &e);
}

bool http_query_int(struct req *r, const char *name, long min, long max, long *out)
{
	char *text = http_query(r, name), *end;
	json_t *details;
	long v;

	if (!text)
		return true;
	errno = 0;
	v = strtol(text, &end, 10);
	if (*text && !*end && !errno && v >= min && v <= max) {
		*out = v;
		free(text);
		return true;
	}
	free(text);
	details = json_array();
	json_array_append_new(details, json_pack("{s:[s,s],s:o,s:s}", "loc", "query", name, "msg",
						 json_sprintf("%s must be an integer from %ld to %ld", name, min, max),
						 "type", "value_error"));
	http_invalid(r, details);
	return false;
}

json_t *http_body_json(struct req *r)
{
	json_error_t err;
	json_t *details;

	if (r->json)
		return r->json;
	r->json = r->body.n ? json_loadb(r->body.p, r->body.n, 0, &err) : json_object();
	if (json_is_object(r->json))
		return r->json;
	details = json_array();
	json_array_append_new(details, json_pack("{s:[s],s:o,s:s}", "loc", "body", "msg",
						 r->json ? json_string("the body must be a JSON object")
							 : json_sprintf("the body is not valid JSON: %s", err.text),
						 "type", r->json ? "dict_type" : "json_invalid"));
	http_invalid(r, details);
	return NULL;
}

struct box *http_box(struct req *r)
{
	struct box *b = box_find(r->arg[0], false);

	if (!b)
		http_error(r, 404, "ResourceNotFound", "Sandbox '%s' not found", r->arg[0]);
	return b;
}

/* ---- routing ---- */

static bool match(const char *pattern, const char *path, struct req *r)
{
	int n = 0;

	while (*pattern && *path && *pattern != '*') {
		if (strncmp(pattern, "{}", 2) == 0) {
			size_t len = strcspn(path, "/");
			struct buf b = { 0 };

			if (!len || n == HTTP_MAX_ARGS)
				break;
			free(r->arg[n]);
			r->arg[n] = NULL;
			if (!percent_decode(path, len, false, &b)) {
				buf_free(&b);
				break;
			}
			r->arg[n++] = b.p;
			path += len;
			pattern += 2;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *pattern == '*' || (!*pattern && !*path);
}

static bool authorized(struct req *r)
{
	const char *key = http_header(r, "X-Api-Key");
	unsigned char diff;

	if (!server.api_key || r->route->kind == ROUTE_PUBLIC)
		return true;
	if (!key || !*key) {
		plain_detail(r, 401, "No API key was sent (X-Api-Key)");
		return false;
	}
	/* Takes as long for a wrong first byte as for a wrong last one. */
	diff = strlen(key) != strlen(server.api_key);
	for (size_t i = 0; key[i]; i++)
		diff |= (unsigned char)(key[i] ^ server.api_key[diff ? 0 : i]);
	if (!diff)
		return true;
	if (r->route->kind == ROUTE_CONTROL)
		http_error(r, 403, "Forbidden", "The API key is not valid");
	else
		http_error(r, 401, "Unauthorized", "The API key is not valid");
	return false;
}

static void find_route(struct req *r)
{
	const char *path = r->path, *method = r->head ? "GET" : r->method;
	bool known = false;

	/* The generated clients write /api/v2/sandboxes. */
	if (strncmp(path, "/api/v2/sandboxes/", 18) == 0)
		path += 4;
	for (int t = 0; route_tables[t]; t++) {
		for (const struct route *e = route_tables[t]; e->method; e++) {
			if (!match(e->path, path, r) || !generation_serves(e->path))
				continue;
			known = true;
			if (*e->method != '*' && strcmp(e->method, method) != 0)
				continue;
			r->route = e;
			authorized(r);
			return;
		}
	}
	plain_detail(r, known ? 405 : 404, known ? "Method Not Allowed" : "Not Found");
}

/* ---- libmicrohttpd's side ---- */

/* The first that is heard of a request. The target as it came is told here only. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct req *r = xcalloc(1, sizeof *r);

	(void)cls;
	(void)conn;
	r->uri = xstrdup(uri);
	r->next = requests;
	if (requests)
		requests->prev = r;
	requests = r;
	return r;
}

static void request_begin(struct req *r, struct MHD_Connection *conn, const char *url, const char *method,
			  const char *version)
{
	r->conn = conn;
	r->path = xstrdup(url);
	r->head = strcmp(method, "HEAD") == 0;
	r->http10 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
	/* The method's text belongs to the connection and lives as long. */
	r->method = method;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct req *r = *con_cls;

	(void)cls;
	(void)conn;
	(void)why;
	if (!r)
		return;
	*con_cls = NULL;
	if (r->cleanup)
		r->cleanup(r);
	*(r->prev ? &r->prev->next : &requests) = r->next;
	if (r->next)
		r->next->prev = r->prev;
	if (r->response)
		MHD_destroy_response(r->response);
	json_decref(r->json);
	buf_free(&r->body);
	for (int i = 0; i < HTTP_MAX_ARGS; i++)
		free(r->arg[i]);
	free(r->path);
	free(r->uri);
	loop_free_later(r);
}

/* true: taken; false: wait. */
static bool take_body(struct req *r, const char *data, size_t n)
{
	if (r->response || r->too_large)
		return true; /* answered already: the rest is read and dropped */
	if (r->route->body)
		return r->route->body(r, data, n) || r->response;
	if (r->body.n + n > MAX_BODY)
		r->too_large = true;
	else
		buf_add(&r->body, data, n);
	return true;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
				  const char *version, const char *data, size_t *n, void **con_cls)
{
	struct req *r = *con_cls;

	(void)cls;
	if (!r->conn) {
		request_begin(r, conn, url, method, version);
		find_route(r);
		return MHD_YES;
	}
	if (r->abandoned)
		return MHD_NO;
	if (*n) {
		if (take_body(r, data, *n)) {
			*n = 0;
			return r->abandoned ? MHD_NO : MHD_YES;
		}
	} else if (!r->response && !r->in_handler) {
		r->in_handler = true;
		if (r->too_large)
			http_error(r, 413, "PayloadTooLarge", "The body is larger than %d bytes", MAX_BODY);
		else if (!fault_http(r))
			r->route->run(r);
	}
	if (r->abandoned)
		return MHD_NO;
	if (r->response && !*n)
		return MHD_queue_response(conn, r->status, r->response);
	http_suspend(r);
	return MHD_YES;
}

/* Paths stay raw, so that %2F can be part of a name. */
static size_t keep_raw(void *cls, struct MHD_Connection *conn, char *s)
{
	(void)cls;
	(void)conn;
	return strlen(s);
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
	char text[512];

	(void)cls;
	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\n")] = 0;
	logf_info("http: %s", text);
}

/* A listening socket, -1 with a reason; *port becomes the one it got. */
static int listen_at(const char *host, unsigned *port, char **why)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
	socklen_t len = sizeof a;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		*why = xasprintf("--listen %s: not an IPv4 address", host);
		close_fd(&fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0) {
		*why = xasprintf("cannot listen on %s:%u: %s", host, *port, strerror(errno));
		close_fd(&fd);
		return -1;
	}
	*port = ntohs(a.sin_port);
	return fd;
}

/* With TLS the proxy takes the public socket, and HTTP an inner one. */
static bool behind_tls(int *fd, char **why)
{
	unsigned port = 0;
	int inner = listen_at("127.0.0.1", &port, why);

	if (inner < 0 || !tls_start(*fd, port, why)) {
		close_fd(&inner);
		return false;
	}
	close(*fd);
	*fd = inner;
	return true;
}

bool http_start(const char *host, unsigned port, char **why)
{
	const union MHD_DaemonInfo *info;
	int fd = listen_at(host, &port, why);

	if (fd < 0)
		return false;
	server.url = xasprintf("%s://%s:%u", server.tls_cert ? "https" : "http",
			       strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1" : host, port);
	if (server.tls_cert && !behind_tls(&fd, why))
		return false;
	daemon_ = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
				   NULL, on_request, NULL, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
				   MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				   MHD_OPTION_UNESCAPE_CALLBACK, keep_raw, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL, MHD_OPTION_CONNECTION_TIMEOUT,
				   IDLE_SECONDS, MHD_OPTION_CONNECTION_LIMIT, 16384u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				   (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
	info = daemon_ ? MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info || !source_add(&epoll_source, info->epoll_fd, EPOLLIN, on_epoll)) {
		*why = xstrdup("cannot start the HTTP server");
		return false;
	}
	loop_set_idle(on_idle);
	return true;
}

void http_stop(void)
{
	for (struct req *r = requests, *next; r; r = next) {
		next = r->next;
		if (r->suspended && (r->response || r->raw))
			http_abandon(r);
		else if (r->suspended)
			http_error(r, 503, "ServiceUnavailable", "The server is shutting down");
	}
	for (int i = 0; i < 16; i++)
		MHD_run(daemon_);
	source_del(&epoll_source);
	loop_set_idle(NULL);
	MHD_stop_daemon(daemon_);
}
