/* A WebSocket connection for messages: wslay's framing, the loop. */
#ifndef SANDBOXD_WS_H
#define SANDBOXD_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"

struct ws;

struct ws_ops {
	/* A whole message arrived. */
	void (*message)(struct ws *w, bool binary, const char *p, size_t n);
	/* Nothing waits to be sent: send the next message; false when there is none. */
	bool (*fill)(struct ws *w);
	/* The connection is gone; user can be freed. Called once. */
	void (*closed)(struct ws *w);
};

/* Answers an upgrade request with 101, or with an error. opened is called with
 * the connection once it exists (or NULL when it never will). */
void ws_accept(struct req *r, const struct ws_ops *ops, void (*opened)(struct ws *w, void *user), void *user);

void ws_set_user(struct ws *w, void *user);
void *ws_user(const struct ws *w);
/* Sends one message, made of head, body and tail: it leaves as one frame. */
void ws_send(struct ws *w, bool binary, const char *p, size_t n);
/* There is something to send: fill will be called. */
void ws_kick(struct ws *w);
/* Stops or goes on taking messages from the peer. */
void ws_pause(struct ws *w, bool paused);
/* Sends a close frame after what was sent, and ends. */
void ws_close(struct ws *w, int code, const char *reason);
/* Tells all peers that the server goes away, and ends all connections. */
void ws_shutdown(void);

#endif
