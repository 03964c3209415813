/* Messages between the server and a sandbox's agent, over a SOCK_SEQPACKET pair.
 * A header, then n payload bytes (NUL-terminated strings mostly), with
 * descriptors alongside. A payload too long for one packet travels in a memfd. */
#ifndef SANDBOXD_WIRE_H
#define SANDBOXD_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define WIRE_MAX_FDS 4
#define WIRE_INLINE 32768

enum wire_op {
	/* agent → server */
	WIRE_HELLO = 1, /* the agent runs; a: its process id as it sees it */
	WIRE_STARTED,	/* a: process id, or b: errno and the failed step as payload; fds: stdin, stdout, stderr, or the pty */
	WIRE_EXIT,	/* a: wait status */
	WIRE_OPENED,	/* a: errno; fd; payload for a write: temporary path, final path */
	WIRE_DONE,	/* a: errno */
	WIRE_LOST,	/* never sent: how the server tells waiting calls that the agent is gone */
	/* server → agent */
	WIRE_SPAWN,  /* a: pty, b: columns << 16 | rows; payload: cwd, tag, argc, argv…, env… */
	WIRE_KILL,   /* the command with this id and all its offspring */
	WIRE_READ,   /* open for reading; payload: path */
	WIRE_WRITE,  /* open a temporary file beside path, making its directories; payload: path */
	WIRE_COMMIT, /* payload: temporary path, final path */
	WIRE_ABORT,  /* payload: temporary path */
	WIRE_DIAL,   /* a TCP connection to a port of the sandbox itself; a: port, b: at ::1; WIRE_OPENED answers, the connection may be pending */
	WIRE_LISTEN, /* a Unix socket that listens; payload: path; WIRE_OPENED answers */
	WIRE_SEARCH, /* a: limit, b: 'g' glob or 'r' grep; payload: pattern, path, glob; fd: result pipe */
};

struct wire {
	uint32_t op, id;
	int32_t a, b;
	uint32_t n, in_memfd;
};

/* Both return 1 for a message, 0 for would block, -1 for a lost peer (recv: also end of file). */
int wire_send(int sock, const struct wire *w, const void *payload, const int *fds, int nfds);
int wire_recv(int sock, struct wire *w, struct buf *payload, int fds[WIRE_MAX_FDS], int *nfds);

/* The next string of a payload, NULL after the last. */
const char *wire_next(const struct buf *payload, size_t *at);

#endif
