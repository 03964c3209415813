/* The heads of messages that pass the service proxy. */
#ifndef SANDBOXD_PROXY_HEAD_H
#define SANDBOXD_PROXY_HEAD_H

#include "framing.h"
#include "http.h"

struct proxy_request {
	unsigned port;
	bool by_key;  /* the API key let it pass: the service does not get to see it */
	bool upgrade; /* asks for another protocol */
	bool chunked; /* the body has no length */
};

/* Fills upgrade and chunked, and writes the head that the service gets. */
void proxy_request_head(struct req *r, struct proxy_request *q, struct buf *out);

enum { HEAD_INCOMPLETE = 0, HEAD_BAD = -1 };

/* Reads the head of the service's answer at the start of in, and writes the
 * one that the client gets. Returns the status, and how long the head was. */
int proxy_answer_head(const struct buf *in, size_t *used, struct buf *out);
/* How the body behind a head of that status ends. */
struct framing proxy_answer_framing(const struct buf *in, size_t head, int status, bool to_head);

#endif
