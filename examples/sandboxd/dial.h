/* A TCP connection to a port inside a sandbox, which is woken for it. */
#ifndef SANDBOXD_DIAL_H
#define SANDBOXD_DIAL_H

#include "box.h"

/* What else than an errno a dial can end with. */
enum { DIAL_GONE = -1, DIAL_NOT_READY = -2, DIAL_UNAVAILABLE = -3 };

struct dial {
	char box_id[37];
	unsigned port;
	bool six; /* 127.0.0.1 refused: ::1 is asked */
	uint32_t call;
	struct box_waiter waiter;
	struct source source; /* of the connection being made */
	/* fd is connected, non-blocking and the callee's; or -1, and err says why. */
	void (*done)(struct dial *d, int fd, int err);
};

/* done is set by the caller; it may be called before this returns. */
void dial_start(struct dial *d, struct box *b, unsigned port);
/* Harmless after the end. */
void dial_cancel(struct dial *d);

#endif
