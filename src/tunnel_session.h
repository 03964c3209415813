/* ---- tunnel: a session and its connections (private) ---- */
#ifndef SBXI_TUNNEL_SESSION_H
#define SBXI_TUNNEL_SESSION_H
#include "langsmith_stream.h"

#if !SBX_NO_TUNNEL
#include "yamux.h"

/* The tunnel's operation owns the link and moves all bytes: what comes goes
   into the rings of the connections, whose operations give it out. What these
   have to tell the peer is noted (`todo`) and said when the send buffer has
   room. All of it lies in the tunnel's own memory. */

/* Room in the send buffer: what one reply, or one connection's frames, and then a pong may need. */
#define SBXI_TUNNEL_ROOM (SBXI_WS_CONTROL_MAX + 2 * (SBX_WS_HEAD_MAX + SBX_YAMUX_HEAD) + 3)

/* What the peer has to be told, in this order. */
enum { SBXI_SAY_HELLO = 1, SBXI_SAY_FIN = 2, SBXI_SAY_CREDIT = 4 };
/* How far a connection is. */
enum {
    SBXI_DIAL_ASKED = 1,    /* its hello went out */
    SBXI_DIAL_OPEN = 2,     /* the daemon said yes */
    SBXI_DIAL_EOF = 4,      /* the peer's half has ended */
    SBXI_DIAL_EOF_TOLD = 8,
    SBXI_DIAL_ENDED = 16,   /* and so has ours, by the caller's word */
    SBXI_DIAL_OVER = 32,    /* failed: its operation has the error */
    SBXI_DIAL_HELD = 64
};

typedef struct sbxi_dial {
    sbx_yamux_stream *stream; /* NULL: the peer knows nothing of it */
    uint32_t op;              /* SBXI_NIL = this place is free */
    uint32_t at, n;           /* what its ring holds */
    uint16_t port;
    uint8_t todo, is;
} sbxi_dial;

struct sbxi_session {
    sbx_yamux y;
    sbx_yamux_stream *streams;
    sbxi_dial *dials;
    char *rings;
    uint32_t count, window;
    uint32_t op;
    uint32_t live, ops;   /* streams that are not dropped yet; connections whose operation has not ended */
    uint32_t asking;      /* connections that wait for the daemon's word */
    uint32_t target;      /* whose the next data_n bytes of the operation's piece are, SBXI_NIL = nobody's */
    uint32_t data_n;
    uint32_t lent, lent_n; /* what of whose ring the last event points to */
    uint32_t turn;        /* who is asked first to write */
    int32_t ping_interval_ms, ping_ms;
    bool open, was_open, away, closing, todo, drops, wanting, goodbye, allocated;
    bool unheard; /* the frame that was read last may have more events */
    bool pinging; /* a ping is still to be sent */
};

SBX_EXTERN_C_BEGIN
extern const sbxi_row sbxi_tunnel_row, sbxi_dial_row;
SBX_EXTERN_C_END

SBXI_INLINE sbxi_op *sbxi_tunnel_op(const sbx_client *c, const sbxi_session *s)
{
    return &c->ops[s->op];
}

SBXI_INLINE uint32_t sbxi_dial_id(const sbxi_session *s, const sbxi_dial *d)
{
    return (uint32_t)(d - s->dials);
}

/* Something waits to be pulled. */
SBXI_FN void sbxi_dial_tell(sbx_client *c, const sbxi_dial *d);
/* The peer has to be told. */
SBXI_FN void sbxi_dial_todo(sbx_client *c, sbxi_session *s, sbxi_dial *d, uint8_t todo);
/* It was lost and waits for a dial. */
SBXI_FN bool sbxi_tunnel_resting(const sbxi_op *op);
SBXI_FN void sbxi_tunnel_reopen(sbx_client *c, sbxi_op *op);

#endif
#endif
