/* An answer whose body is made while it is sent: it waits for more as long as
 * needed, and learns when the client went away meanwhile. */
#ifndef SANDBOXD_HTTP_STREAM_H
#define SANDBOXD_HTTP_STREAM_H

#include <sys/types.h>

#include "http.h"
#include "loop.h"

enum { HTTP_STREAM_END = -1, HTTP_STREAM_ABORT = -2 };

struct http_stream {
	struct req *r;
	/* Writes at most max bytes and returns how many. 0: none now (http_stream_kick
	 * has it called again), HTTP_STREAM_END after the last, HTTP_STREAM_ABORT to
	 * break the connection. */
	ssize_t (*pull)(struct http_stream *s, char *p, size_t max);
	struct source client;
	bool gone;
};

/* r and pull are set by the caller. */
void http_stream_start(struct http_stream *s, unsigned status, const char *content_type);
void http_stream_kick(struct http_stream *s);
/* For the request's cleanup. */
void http_stream_end(struct http_stream *s);

#endif
