/* yamux (hashicorp's, protocol version 0) in the server's role: many streams
 * over one connection. Written for this server and not shared with the client,
 * so that neither is tested against itself only. No I/O: bytes go in, frames
 * collect in `out`, and data leaves in pieces that the owner makes room for. */
#ifndef SANDBOXD_MUX_H
#define SANDBOXD_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define MUX_HEAD 12
#define MUX_WINDOW (256u << 10) /* of every stream and each way, at its start */
#define MUX_BUCKETS 256

struct mux;

struct mux_stream {
	struct mux_stream *next; /* of its bucket */
	struct mux *mux;
	uint32_t id;
	uint32_t may_send, may_receive;
	uint32_t consumed; /* received and done with, but not credited yet */
	bool fin_in, fin_out;
};

struct mux_ops {
	/* The peer opens a stream: memory for it, or NULL to refuse. */
	struct mux_stream *(*open)(struct mux *m);
	void (*data)(struct mux_stream *s, const char *p, size_t n);
	/* The peer sends no more. */
	void (*fin)(struct mux_stream *s);
	/* More may be sent. */
	void (*window)(struct mux_stream *s);
	/* The stream is no longer one of the session: its memory can be freed. */
	void (*closed)(struct mux_stream *s, bool by_reset);
};

struct mux {
	const struct mux_ops *ops;
	struct mux_stream *table[MUX_BUCKETS];
	size_t streams;
	unsigned char head[MUX_HEAD];
	size_t head_n;
	uint32_t payload;	   /* bytes of the current frame still to come */
	struct mux_stream *into;   /* whose they are; NULL: nobody's any more */
	uint16_t flags;		   /* of that frame */
	struct buf out;		   /* frames without data */
	bool peer_leaves, broken;
	uint32_t pings;
};

/* false: the peer broke the protocol, and a GoAway that says so waits in out. */
bool mux_input(struct mux *m, const char *p, size_t n);

/* The head of a data frame of n bytes, which the window must allow. */
void mux_data(struct mux_stream *s, size_t n, unsigned char head[MUX_HEAD]);
/* n received bytes are done with. */
void mux_consumed(struct mux_stream *s, size_t n);
/* Sends no more on it. */
void mux_fin(struct mux_stream *s);
/* Forgets a stream whose both ways have ended. */
void mux_close(struct mux_stream *s);
/* The stream of that number, NULL when there is none. */
struct mux_stream *mux_find(struct mux *m, uint32_t id);
void mux_reset(struct mux_stream *s);
void mux_ping(struct mux *m);
void mux_go_away(struct mux *m, uint32_t code);
/* Closes every stream without a word, for a session that is lost; what is in
 * out stays there. */
void mux_end(struct mux *m);

#endif
