/* One question of a data plane request to a sandbox's agent: wakes the sandbox, asks, and waits. */
#ifndef SANDBOXD_DATACALL_H
#define SANDBOXD_DATACALL_H

#include "box.h"
#include "http.h"

struct data_call {
	struct req *r; /* NULL once the request is gone */
	struct box_waiter waiter;
	char box_id[37];
	uint32_t op, call;
	int32_t a, b;
	struct buf payload;
	int fd;
	bool busy; /* waiting for readiness or for the answer */
	/* The answer; takes the descriptors. fd is -1 when there is none. r may be NULL. */
	void (*done)(struct data_call *d, const struct wire *w, const struct buf *payload, int fd);
	/* No answer will come; the request was answered. Also called when r is NULL. */
	void (*failed)(struct data_call *d);
};

/* op, a, b, payload, fd, done and failed are set by the caller. */
void data_call_start(struct data_call *d, struct req *r, struct box *b);
/* The request ends. True: nothing is under way, d can be freed now. False: done or failed follows. */
bool data_call_orphan(struct data_call *d);

#endif
