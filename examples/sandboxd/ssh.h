/* The SSH agent of a client, lent to a command: a socket inside the sandbox
 * whose connections are channels of the command's stream. */
#ifndef SANDBOXD_SSH_H
#define SANDBOXD_SSH_H

#include <stdbool.h>
#include <stddef.h>

#include "box.h"

#define SSH_PIECE 16384 /* most bytes of one message */

struct ssh;

/* A piece of a channel for the client, or its end. */
struct ssh_piece {
	unsigned channel;
	size_t n; /* 0: the channel ended */
	char data[SSH_PIECE];
};

/* The socket exists before any process that is started later. */
struct ssh *ssh_open(struct box *b);
/* Its path inside, for SSH_AUTH_SOCK. */
const char *ssh_path(const struct ssh *s);
void ssh_free(struct ssh *s);

/* The connection that serves the channels from now on; the last one wins. kick
 * is called when ssh_next has something. Without one, those who connect wait. */
void ssh_attach(struct ssh *s, void (*kick)(void *arg), void *arg);
/* It is gone, and with it the channels that it served. */
void ssh_detach(struct ssh *s, void *arg);

/* The next piece for the one that is attached; false when there is none. */
bool ssh_next(struct ssh *s, const void *arg, struct ssh_piece *piece);
/* What the client sends. Unknown channels, which have just ended, are ignored. */
void ssh_data(struct ssh *s, const void *arg, const char *channel, const char *p, size_t n);
void ssh_end_channel(struct ssh *s, const void *arg, const char *channel);

#endif
