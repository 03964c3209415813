#include "proxy_head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server.h"
#include "services.h"

/* ---- requests ---- */

struct building {
	struct req *r;
	struct proxy_request *q;
	struct buf *out;
};

/* What is between this server and its client only, and what was for this server. */
static bool withheld(const struct building *b, const char *name, const char *value)
{
	static const char *const names[] = { "Connection",	 "Keep-Alive", "Proxy-Connection",  "TE",
					     "Transfer-Encoding", "Expect",	 "Content-Length",
					     SERVICE_TOKEN_HEADER, NULL };

	for (int i = 0; names[i]; i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	if (strcasecmp(name, "Upgrade") == 0)
		return !b->q->upgrade;
	return b->q->by_key && strcasecmp(name, "X-Api-Key") == 0 && server.api_key && strcmp(value, server.api_key) == 0;
}

/* All cookies but ours; nothing when there are no others. */
static void add_cookies(struct building *b, const char *value)
{
	char own[40];
	const char *before = "Cookie: ";
	size_t n;

	service_cookie(b->q->port, own);
	for (; *value; value += n + (value[n] == ';')) {
		value += strspn(value, " \t");
		n = strcspn(value, ";");
		if (!n || (strncmp(value, own, strlen(own)) == 0 && value[strlen(own)] == '='))
			continue;
		buf_adds(b->out, before);
		buf_add(b->out, value, n);
		before = "; ";
	}
	if (*before == ';')
		buf_adds(b->out, "\r\n");
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct building *b = cls;

	(void)kind;
	value = value ? value : "";
	if (strcasecmp(name, "Cookie") == 0)
		add_cookies(b, value);
	else if (!withheld(b, name, value))
		buf_addf(b->out, "%s: %s\r\n", name, value);
	return MHD_YES;
}

/* What follows /s/{}/{} in the target as it came. */
static const char *target_of(const struct req *r)
{
	const char *p = r->uri + strlen("/s/");

	for (int i = 0; i < 2; i++)
		p += strcspn(p, i ? "/?" : "/") + (i == 0);
	return p;
}

void proxy_request_head(struct req *r, struct proxy_request *q, struct buf *out)
{
	struct building b = { r, q, out };
	const char *target = target_of(r), *coding = http_header(r, "Transfer-Encoding");
	const char *length = http_header(r, "Content-Length");

	q->upgrade = !r->http10 && http_header(r, "Upgrade") && http_has_token(http_header(r, "Connection"), "upgrade");
	q->chunked = coding != NULL;
	buf_addf(out, "%s %s%s HTTP/1.%d\r\n", r->method, *target == '/' ? "" : "/", target, !r->http10);
	MHD_get_connection_values(r->conn, MHD_HEADER_KIND, on_header, &b);
	/* As libmicrohttpd understood it, and once: nobody may read another end out of it. */
	if (q->chunked)
		buf_adds(out, "Transfer-Encoding: chunked\r\n");
	else if (length)
		buf_addf(out, "Content-Length: %s\r\n", length);
	buf_addf(out, "Connection: %s\r\n\r\n", q->upgrade ? "Upgrade" : "close");
}

/* ---- answers ---- */

/* The next line of a head, without its end; n 0 at the empty one. NULL when it is not complete. */
static const char *next_line(const struct buf *in, size_t *at, size_t *n)
{
	const char *line = in->p + *at, *end = *at < in->n ? memchr(line, '\n', in->n - *at) : NULL;

	if (!end)
		return NULL;
	*at += (size_t)(end - line) + 1;
	*n = (size_t)(end - line);
	if (*n && line[*n - 1] == '\r')
		--*n;
	return line;
}

/* The value of a header line of that name; NULL for another. */
static const char *value_of(const char *line, size_t n, const char *name)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return NULL;
	line += len + 1;
	return line + strspn(line, " \t");
}

static int status_of(const char *line, size_t n)
{
	int status;

	if (n < 12 || strncmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ')
		return HEAD_BAD;
	status = atoi(line + 9);
	return status >= 100 && status <= 999 ? status : HEAD_BAD;
}

int proxy_answer_head(const struct buf *in, size_t *used, struct buf *out)
{
	size_t at = 0, n, begin = out->n;
	const char *line = next_line(in, &at, &n);
	int status = line ? status_of(line, n) : HEAD_INCOMPLETE;

	if (status <= 0)
		return status;
	do {
		bool own = value_of(line, n, "Connection") || value_of(line, n, "Keep-Alive") ||
			   value_of(line, n, "Proxy-Connection");

		if (!own || status == 101) {
			buf_add(out, line, n);
			buf_adds(out, "\r\n");
		}
		line = next_line(in, &at, &n);
	} while (line && n);
	if (!line) {
		out->n = begin;
		return HEAD_INCOMPLETE;
	}
	/* The end of the connection ends the exchange: libmicrohttpd has no part in this answer. */
	buf_adds(out, status >= 200 ? "Connection: close\r\n\r\n" : "\r\n");
	*used = at;
	return status;
}

struct framing proxy_answer_framing(const struct buf *in, size_t head, int status, bool to_head)
{
	struct framing f = { .kind = FRAMING_TO_EOF };
	size_t at = 0, n;
	const char *line, *v;

	if (to_head || status == 204 || status == 304)
		return (struct framing){ .kind = FRAMING_LENGTH, .done = true };
	while (at < head && (line = next_line(in, &at, &n))) {
		if ((v = value_of(line, n, "Transfer-Encoding"))) {
			f.kind = FRAMING_CHUNKED;
			return f;
		}
		if ((v = value_of(line, n, "Content-Length"))) {
			f.kind = FRAMING_LENGTH;
			f.left = strtoull(v, NULL, 10);
			f.done = !f.left;
		}
	}
	return f;
}
