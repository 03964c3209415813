/* ---- yamux: public API of the stream multiplexer (hashicorp/yamux, protocol version 0) ---- */
#ifndef SBX_YAMUX_H
#define SBX_YAMUX_H
#include "types.h"
SBX_EXTERN_C_BEGIN

/* A pure codec for both roles: bytes in, events out; frame heads out into the
   caller's buffer; no I/O, no allocation, no clock. The streams lie in a table
   of the caller's. What is composed must be sent in the order in which it was
   composed, so compose only when it can be sent.

       sbx_yamux_kind k;
       while ((k = sbx_yamux_read(&y, &p, end, &ev)) != SBX_YAMUX_MORE) {
           if (ev.n && (k == SBX_YAMUX_REPLY || k == SBX_YAMUX_ERROR))
               ...     (send the frame ev.p[0 .. ev.n))
           if (k == SBX_YAMUX_ERROR)
               break;  (and hang up)
           ...
       }
*/

#define SBX_YAMUX_HEAD 12                /* bytes of a frame's head, the largest frame without a payload */
#define SBX_YAMUX_INITIAL ((uint32_t)262144) /* each stream's first window, both ways: the specification fixes it */

typedef enum sbx_yamux_kind {
    SBX_YAMUX_MORE,     /* the input is consumed; *ev says nothing */
    SBX_YAMUX_OPENED,   /* the peer opened `stream`: sbx_yamux_update or _data accepts it, _drop refuses it */
    SBX_YAMUX_ACCEPTED, /* the peer acknowledged a stream of ours; hashicorp's does not where our half ended before */
    SBX_YAMUX_DATA,     /* p, n: a piece of what came on `stream`, inside the input */
    SBX_YAMUX_WINDOW,   /* `stream` may send more: value more bytes */
    SBX_YAMUX_EOF,      /* the peer's half of `stream` has ended */
    SBX_YAMUX_RESET,    /* the peer ended `stream` both ways; nothing comes or goes any more: drop it */
    SBX_YAMUX_REPLY,    /* p, n: a frame that must be sent (an answer to a ping; a refusal of what the table cannot hold),
                           valid until the next read */
    SBX_YAMUX_PONG,     /* the answer to sbx_yamux_ping came */
    SBX_YAMUX_GOAWAY,   /* value: an sbx_yamux_code. The peer takes no new streams; those that are open go on */
    SBX_YAMUX_ERROR     /* sticky; value: an sbx_yamux_reason; p, n: the GoAway to send, once (n 0: sent before) */
} sbx_yamux_kind;

/* GoAway's codes; a peer can send others. */
typedef enum sbx_yamux_code { SBX_YAMUX_NORMAL, SBX_YAMUX_PROTOCOL, SBX_YAMUX_INTERNAL } sbx_yamux_code;

/* How the peer broke the protocol. */
typedef enum sbx_yamux_reason {
    SBX_YAMUX_BAD_VERSION = 1,
    SBX_YAMUX_BAD_TYPE,
    SBX_YAMUX_BAD_ID,    /* 0 for a stream, not 0 for the session, of the wrong parity, or never opened */
    SBX_YAMUX_BAD_SYN,   /* for a stream that is open */
    SBX_YAMUX_BAD_FIN,   /* a second one, or data behind it */
    SBX_YAMUX_BAD_LENGTH, /* more data than the stream's window allows */
    SBX_YAMUX_BAD_DELTA  /* a window above 2^32-1 */
} sbx_yamux_reason;

/* One stream. Free while id is 0. All but `user` is read only. */
typedef struct sbx_yamux_stream {
    uint32_t id;
    uint32_t send; /* bytes that the peer takes now (see sbx_yamux_sendable) */
    uint32_t recv; /* bytes that the peer may still send */
    uint32_t held; /* bytes given out as DATA and not reported as consumed */
    uint8_t flags;
    void *user;    /* the caller's; NULL in a new stream */
} sbx_yamux_stream;

typedef struct sbx_yamux_event {
    sbx_yamux_stream *stream; /* NULL where the kind names none */
    const char *p;
    size_t n;
    uint32_t value;
} sbx_yamux_event;

/* Private fields. */
typedef struct sbx_yamux {
    sbx_yamux_stream *streams, *current;
    uint32_t count, window, next_id, left, ping;
    uint8_t at, todo, reason, flags;
    unsigned char head[SBX_YAMUX_HEAD];
} sbx_yamux;

/* `streams`: a table for `count` of them (at least 1), borrowed; need not be
   cleared. A client's streams have odd ids, a server's even ones. window: bytes
   that a peer may send ahead of what was consumed, 0 = SBX_YAMUX_INITIAL. A
   smaller one holds only from a stream's first 256 KiB on, since no peer
   asks before it sends them. */
SBX_API void sbx_yamux_init(sbx_yamux *y, bool server, sbx_yamux_stream *streams, uint32_t count, uint32_t window);

/* Reads *p .. end, moves *p on, and returns one event, or MORE when all is
   consumed. A cut frame head is held inside, payload never is. Where pieces of
   DATA end depends on the input's borders, all else does not.
   - A frame's events come in the order OPENED or ACCEPTED, DATA or WINDOW,
     EOF, RESET. A frame with RST has no others but OPENED.
   - What comes on a stream that was dropped, or after its RESET, is skipped.
   - A stream of the peer's that the table has no room for, or that comes after
     sbx_yamux_goaway, is refused by a REPLY.
   - Pings are answered by REPLY; an answer that fits no ping of ours is
     ignored, and so are flags that the specification does not know.
   - ERROR consumes the whole input and comes back on every further call. */
SBX_API sbx_yamux_kind sbx_yamux_read(sbx_yamux *y, const char **p, const char *end, sbx_yamux_event *ev);

/* A new stream, or NULL: the table is full, the peer said GoAway or was sent
   it, or the ids are used up. The peer learns of it by the first frame
   composed. */
SBX_API sbx_yamux_stream *sbx_yamux_open(sbx_yamux *y);
/* Head of a data frame with up to *n bytes, as many as the window takes now:
   *n says how many, which the caller sends behind it. Returns SBX_YAMUX_HEAD,
   or 0 where that is none (the window is empty, our half has ended, the stream
   is over). */
SBX_API size_t sbx_yamux_data(sbx_yamux_stream *s, size_t *n, unsigned char out[SBX_YAMUX_HEAD]);
/* Our half ends: nothing more is sent on the stream. A frame of its own, since
   hashicorp's reader heeds a frame's end before its data, which is then lost.
   SBX_YAMUX_HEAD, or 0 when it was said before or the stream is over. */
SBX_API size_t sbx_yamux_end(sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD]);
/* What sbx_yamux_data would take now. */
SBX_API uint32_t sbx_yamux_sendable(const sbx_yamux_stream *s);
/* n bytes of DATA were used up: the peer may send as many again. */
SBX_API void sbx_yamux_consumed(sbx_yamux_stream *s, size_t n);
/* A window update, if one is due: half a window was consumed, or the stream's
   beginning was not told. SBX_YAMUX_HEAD or 0. */
SBX_API size_t sbx_yamux_update(const sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD]);
/* Frees a stream, as every stream must be at last. Where one of its halves is
   open it is reset: SBX_YAMUX_HEAD, else 0. */
SBX_API size_t sbx_yamux_drop(sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD]);
/* A ping, answered by PONG. A new one replaces one that was not answered. */
SBX_API size_t sbx_yamux_ping(sbx_yamux *y, unsigned char out[SBX_YAMUX_HEAD]);
/* No new streams from now on, either way; those that are open go on. */
SBX_API size_t sbx_yamux_goaway(sbx_yamux *y, sbx_yamux_code code, unsigned char out[SBX_YAMUX_HEAD]);
/* "more data than the stream's window allows" and the like; "" under
   SBX_NO_ERROR_TEXT. */
SBX_API const char *sbx_yamux_reason_text(uint32_t reason);

SBX_EXTERN_C_END
#endif
