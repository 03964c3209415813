/* WebSocket frames (RFC 6455) in the server's role, for bytes in bulk. No I/O
 * and no memory: input is unmasked where it lies and given out as it comes, so
 * that a message of any length needs no room. Written for this server and not
 * shared with the client, so that neither is tested against itself only. */
#ifndef SANDBOXD_WSFRAME_H
#define SANDBOXD_WSFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WSFRAME_HEAD_MAX 10	/* of what a server sends */
#define WSFRAME_CONTROL_MAX 125 /* payload of a control frame */

enum wsframe_op { WSFRAME_CONT, WSFRAME_TEXT, WSFRAME_BINARY, WSFRAME_CLOSE = 8, WSFRAME_PING, WSFRAME_PONG };

enum wsframe_kind {
	WSFRAME_GOT_NONE, /* the input is used up */
	WSFRAME_GOT_DATA, /* a piece of a message: p, n, binary */
	WSFRAME_GOT_PING, /* p, n: what the pong repeats */
	WSFRAME_GOT_PONG,
	WSFRAME_GOT_CLOSE, /* code, 1005 when it had none; nothing counts behind it */
	WSFRAME_GOT_ERROR  /* code: what to close with; nothing counts behind it */
};

struct wsframe_event {
	unsigned char *p;
	size_t n;
	bool binary;
	unsigned code;
};

struct wsframe {
	uint64_t max_message; /* 0: no limit */
	uint64_t message;     /* bytes of the message, the current frame's included */
	uint64_t left;	      /* payload of the current frame still to come */
	unsigned char head[14];
	unsigned char mask[4];
	unsigned char control[WSFRAME_CONTROL_MAX];
	size_t head_n, control_n;
	unsigned mask_at;
	unsigned char op, kind; /* of the frame, of the message: WSFRAME_CONT when none is open */
	bool fin, in_payload, ended;
};

void wsframe_init(struct wsframe *f, uint64_t max_message);
/* One event of *p .. end, and *p moves on. Payload is pointed to inside the
 * input, a control frame's inside f until the next call. */
enum wsframe_kind wsframe_read(struct wsframe *f, unsigned char **p, unsigned char *end, struct wsframe_event *ev);

/* The head of a whole message, or of a control frame, of n bytes; its size. */
size_t wsframe_head(unsigned char out[WSFRAME_HEAD_MAX], enum wsframe_op op, size_t n);
/* The payload of a close frame; 1005 makes an empty one. */
size_t wsframe_close(unsigned char out[WSFRAME_CONTROL_MAX], unsigned code, const char *reason);

#endif
