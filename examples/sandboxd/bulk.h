/* A WebSocket that carries a byte stream, both ways in bulk: binary messages
 * whose borders mean nothing. Reads are large, what is read is unmasked and
 * given out where it lies, and what is to be sent is put straight into the
 * buffer that goes out. Nothing is queued: while the peer does not take what
 * was made for it, nothing more is made. */
#ifndef SANDBOXD_BULK_H
#define SANDBOXD_BULK_H

#include <stdbool.h>
#include <stddef.h>

#include "http.h"

struct bulk;

struct bulk_ops {
	/* The next bytes, to be changed at will. */
	void (*data)(struct bulk *b, char *p, size_t n);
	/* That was all for now: what data was given stays only until this returns. */
	void (*read)(struct bulk *b);
	/* There is room to send: adds something, or says false: it has nothing. */
	bool (*fill)(struct bulk *b);
	/* The connection is gone; user can be freed. Called once. */
	void (*closed)(struct bulk *b);
};

/* Answers an upgrade request with 101, or with an error. opened is called with
 * the connection once it exists (or NULL when it never will). */
void bulk_accept(struct req *r, const struct bulk_ops *ops, void (*opened)(struct bulk *b, void *user), void *user);

void bulk_set_user(struct bulk *b, void *user);
void *bulk_user(const struct bulk *b);
/* Only inside fill: where the next bytes go, and how many there can be (many),
 * and then how many they are. */
char *bulk_room(struct bulk *b, size_t *n);
void bulk_added(struct bulk *b, size_t n);
/* There is something to send: fill will be called. */
void bulk_kick(struct bulk *b);
/* Stops or goes on reading from the peer. */
void bulk_pause(struct bulk *b, bool paused);
/* Sends what fill still has, then a close frame, and ends. No more data comes. */
void bulk_close(struct bulk *b, unsigned code, const char *reason);
/* Tells all peers that the server goes away, and ends all connections. */
void bulk_shutdown(void);

#endif
