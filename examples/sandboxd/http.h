/* HTTP: routes, requests, answers, over libmicrohttpd on the event loop. */
#ifndef SANDBOXD_HTTP_H
#define SANDBOXD_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>

#include "util.h"

#define HTTP_MAX_ARGS 3

struct req;
struct box;

enum route_kind {
	ROUTE_CONTROL, /* body is JSON, wrong key: 401 or 403 */
	ROUTE_DATA,    /* the first path argument is a sandbox id; wrong key: 401 */
	ROUTE_PUBLIC,  /* no key is asked for: the handler checks what the request carries */
};

struct route {
	const char *method; /* GET serves HEAD, too; * any */
	const char *path;   /* {} stands for one segment, which is percent-decoded; * at the end for any rest */
	enum route_kind kind;
	void (*run)(struct req *r); /* the whole body is there; answers now or later */
	/* Set for a body that is streamed: called for each piece; returns false
	 * while it cannot take it (http_continue goes on). run follows at the end. */
	bool (*body)(struct req *r, const char *p, size_t n);
};

struct req {
	struct MHD_Connection *conn;
	const struct route *route;
	const char *method;
	char *uri;  /* the request's target as it came */
	char *path; /* raw, without the query */
	char *arg[HTTP_MAX_ARGS];
	bool head, http10;
	struct buf body;
	bool too_large;
	json_t *json; /* the parsed body, for control routes and when asked for */
	void *state;  /* of the handler */
	void (*cleanup)(struct req *r); /* the request ends, answered or not */

	struct MHD_Response *response;
	unsigned status;
	bool suspended, in_handler;
	bool raw;	/* its handler writes to the socket itself */
	bool abandoned; /* the connection ends, without an answer or within one */
	struct req *next, *prev;
};

extern const struct route *const route_tables[];

bool http_start(const char *host, unsigned port, char **why);
/* Answers what is pending with 503 and ends. */
void http_stop(void);
/* Something was done on a connection outside of its handler: look at it soon. */
void http_kick(void);
/* A body handler can take more. */
void http_continue(struct req *r);
/* Within libmicrohttpd's callbacks: nothing more until http_continue. */
void http_suspend(struct req *r);
/* Ends the connection without a further word. */
void http_abandon(struct req *r);
/* The request's socket, which stays the connection's own. */
int http_socket(struct req *r);

/* Answers. Each takes over what it is given and may be called from anywhere. */
void http_reply(struct req *r, unsigned status, struct MHD_Response *response);
void http_json(struct req *r, unsigned status, json_t *body);
/* body is malloc'ed text. */
void http_text(struct req *r, unsigned status, const char *content_type, char *body, size_t n);
void http_empty(struct req *r, unsigned status);
/* {"detail":{"error","message"}} */
void http_error(struct req *r, unsigned status, const char *type, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The daemon's flat form: {"error","message"} */
void http_flat_error(struct req *r, unsigned status, const char *type, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* 422 with a list of problems, which is taken over. */
void http_invalid(struct req *r, json_t *details);

const char *http_header(struct req *r, const char *name);
/* Whether a comma-separated header value holds a token. */
bool http_has_token(const char *list, const char *token);
/* What URLs of this server begin with for this client: its own way here, by the
 * Host that it asked. To be freed. */
char *http_base(struct req *r);
/* A query argument, decoded; NULL when absent. To be freed. */
char *http_query(struct req *r, const char *name);
/* Calls back for each query argument of a name. */
void http_query_each(struct req *r, const char *name, void (*each)(void *arg, const char *value), void *arg);
/* A whole number from the query; false (after answering 422) when it is none or out of range. */
bool http_query_int(struct req *r, const char *name, long min, long max, long *out);
/* Parses the body as a JSON object (an empty one counts as {}); answers 422 and returns NULL otherwise. */
json_t *http_body_json(struct req *r);
/* The sandbox of a data plane request; answers 404 and returns NULL when there is none. */
struct box *http_box(struct req *r);

#endif
