/* The opening of a WebSocket (RFC 6455, 4.2), by libmicrohttpd's upgrade. */
#ifndef SANDBOXD_UPGRADE_H
#define SANDBOXD_UPGRADE_H

#include "http.h"

/* Valid during the call. */
struct upgraded {
	int fd; /* non-blocking; given back by MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE) */
	struct MHD_UpgradeResponseHandle *urh;
	const char *path;
	const void *early; /* what came along with the request */
	size_t early_n;
};

/* Answers with 101, or with an error. done is called once: with the socket, or
 * with NULL when there never will be one. */
void upgrade(struct req *r, void (*done)(void *user, const struct upgraded *u), void *user);

#endif
