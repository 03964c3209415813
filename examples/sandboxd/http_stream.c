#include "http_stream.h"

static ssize_t on_pull(void *cls, uint64_t at, char *p, size_t max)
{
	struct http_stream *s = cls;
	ssize_t n;

	(void)at;
	if (s->gone || s->r->abandoned)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = s->pull(s, p, max);
	if (n == HTTP_STREAM_END)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n == 0)
		http_suspend(s->r);
	return n;
}

/* Nobody looks at the socket while the connection is suspended. A client that
 * sends its FIN counts as gone: nothing else tells one that waits in silence
 * from one that left. */
static void on_client(struct source *source, uint32_t events)
{
	struct http_stream *s = container(source, struct http_stream, client);

	(void)events;
	source_del(source);
	s->gone = true;
	http_continue(s->r);
}

void http_stream_start(struct http_stream *s, unsigned status, const char *content_type)
{
	struct MHD_Response *response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, on_pull, s, NULL);

	MHD_add_response_header(response, "Content-Type", content_type);
	MHD_add_response_header(response, "Cache-Control", "no-cache");
	source_add(&s->client, http_socket(s->r), EPOLLRDHUP, on_client);
	http_reply(s->r, status, response);
}

void http_stream_kick(struct http_stream *s)
{
	http_continue(s->r);
}

void http_stream_end(struct http_stream *s)
{
	source_del(&s->client);
}
