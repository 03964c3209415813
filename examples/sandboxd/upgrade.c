#include "upgrade.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sha1.h"

struct pending {
	void (*done)(void *user, const struct upgraded *u);
	void *user;
};

static void finish(struct req *r, const struct upgraded *u)
{
	struct pending *p = r->state;

	r->state = NULL;
	r->cleanup = NULL;
	p->done(p->user, u);
	free(p);
}

static void on_refused(struct req *r)
{
	finish(r, NULL);
}

static void on_upgraded(void *cls, struct MHD_Connection *conn, void *con_cls, const char *extra, size_t extra_n,
			MHD_socket fd, struct MHD_UpgradeResponseHandle *urh)
{
	struct req *r = con_cls;
	struct upgraded u = { fd, urh, r->path, extra, extra_n };
	int one = 1;

	(void)cls;
	(void)conn;
	set_nonblock(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	finish(r, &u);
}

static bool asks_for_websocket(struct req *r)
{
	const char *version = http_header(r, "Sec-WebSocket-Version");

	return http_header(r, "Sec-WebSocket-Key") && http_has_token(http_header(r, "Upgrade"), "websocket") &&
	       http_has_token(http_header(r, "Connection"), "upgrade") && version && strcmp(version, "13") == 0;
}

static void refuse(struct req *r)
{
	char *text = xstrdup("{\"detail\":\"This endpoint is a WebSocket (version 13)\"}");
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

	MHD_add_response_header(response, "Content-Type", "application/json");
	MHD_add_response_header(response, "Sec-WebSocket-Version", "13");
	http_reply(r, 426, response);
}

void upgrade(struct req *r, void (*done)(void *user, const struct upgraded *u), void *user)
{
	struct MHD_Response *response;
	struct pending *p;
	unsigned char digest[20];
	char accept[32], *text;

	if (!asks_for_websocket(r)) {
		done(user, NULL);
		refuse(r);
		return;
	}
	text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", http_header(r, "Sec-WebSocket-Key"));
	sha1(text, strlen(text), digest);
	free(text);
	base64(digest, sizeof digest, accept);
	p = xcalloc(1, sizeof *p);
	*p = (struct pending){ done, user };
	r->state = p;
	r->cleanup = on_refused;
	response = MHD_create_response_for_upgrade(on_upgraded, NULL);
	MHD_add_response_header(response, "Upgrade", "websocket");
	MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
	http_reply(r, MHD_HTTP_SWITCHING_PROTOCOLS, response);
}
