/* One sandbox: its record, its life, and the calls to its agent. */
#ifndef SANDBOXD_BOX_H
#define SANDBOXD_BOX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "job.h"
#include "loop.h"
#include "util.h"
#include "wire.h"

enum box_status { BOX_PROVISIONING, BOX_READY, BOX_FAILED, BOX_STOPPED, BOX_DELETING };

/* Where the answers to one call go. op WIRE_LOST: the agent ended. */
typedef void (*call_cb)(void *arg, const struct wire *w, const struct buf *payload, const int *fds, int nfds);

struct call {
	call_cb cb; /* NULL: free slot */
	void *arg;
	uint16_t generation;
};

/* Someone who waits for a change of status. Embedded in the waiter. */
struct box_waiter {
	struct box_waiter *next;
	struct box *box; /* NULL: not waiting */
	/* ok: the sandbox is ready (or, for box_when_stopped, stopped). */
	void (*done)(struct box_waiter *w, bool ok);
	bool for_stop;
};

struct req;

struct box {
	struct box *next;
	char id[37];
	json_t *doc; /* every field as given; what is stored */
	enum box_status status;
	char *status_message; /* NULL: none */
	bool stopping;	      /* the agent was told to end */
	bool restart;	      /* start again once it ended */
	uid_t uid;
	char *home; /* as its commands see it */

	struct job seeding; /* its root is being filled */
	pid_t pid;
	struct source process, agent;
	struct buf unsent;	/* wire_send_later's queue: headers and payloads */
	struct call *calls;
	size_t calls_n, calls_cap, calls_free;

	struct box_waiter *waiters;
	struct timer start_limit, stop_limit, idle, removal, expiry;
	int holds; /* what keeps it from being idle */
	struct command *commands;
};

extern struct box *boxes;

/* By id, or by name when by_name. */
struct box *box_find(const char *name_or_id, bool by_name);
const char *box_name(const struct box *b);
const char *box_status_text(const struct box *b);
/* The record as the API shows it to who sent r: secrets redacted. */
json_t *box_json(const struct box *b, struct req *r);

/* Takes over doc (which has a name); makes the directory and starts it. What
 * doc says of where the root's files come from is seed.h's. */
struct box *box_create(json_t *doc, char **why);
void box_load_all(void);
/* The record was changed: updated_at, saving, timers. */
void box_changed(struct box *b);
void box_start(struct box *b);
void box_stop(struct box *b);
/* Gone for the API at once; processes and files follow. */
void box_delete(struct box *b);

/* Waits for readiness, starting a stopped sandbox. May call back before it returns. */
void box_when_ready(struct box *b, struct box_waiter *w, void (*done)(struct box_waiter *, bool));
void box_when_stopped(struct box *b, struct box_waiter *w, void (*done)(struct box_waiter *, bool));
void box_wait_cancel(struct box_waiter *w);

/* Activity, for idle_ttl_seconds. */
void box_hold(struct box *b);
void box_release(struct box *b);

/* Sends a request; the callback gets its answers until box_call_end. 0 when the agent is not there. */
uint32_t box_call(struct box *b, uint32_t op, int32_t a, int32_t b2, const struct buf *payload, int fd, call_cb cb,
		  void *arg);
/* A further message for a call, or (id 0) one without an answer. */
void box_send(struct box *b, uint32_t op, uint32_t id, const struct buf *payload);
void box_call_end(struct box *b, uint32_t id);

/* Ends all agents and waits for them. */
void boxes_shutdown(void);

#endif
