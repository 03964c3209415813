/* ---- ws: public API of the WebSocket framer (RFC 6455) ---- */
#ifndef SBX_WS_H
#define SBX_WS_H
#include "types.h"
SBX_EXTERN_C_BEGIN

/* A pure codec: bytes in, events out; no I/O, no allocation, no clock. It
   does not answer pings or closes: the caller does, with the writer below.

       sbx_ws_kind k;
       while ((k = sbx_ws_read(&w, &p, end, &ev)) != SBX_WS_MORE) {
           if (k == SBX_WS_ERROR)
               break;      (answer with a close frame of ev.code, hang up)
           ...             (ev.p[0 .. ev.n) is a piece of kind k)
       }
*/

/* Data and control kinds have the value of their opcode. */
typedef enum sbx_ws_kind {
    SBX_WS_MORE = 0,    /* the input is consumed; call again with the next bytes; *ev says nothing */
    SBX_WS_TEXT = 1,    /* a piece of a text message */
    SBX_WS_BINARY = 2,  /* a piece of a binary message */
    SBX_WS_CLOSE = 8,   /* `code` in every piece; p/n: a piece of the reason */
    SBX_WS_PING = 9,    /* a piece of a control frame's payload (whole where the input holds it whole) */
    SBX_WS_PONG = 10,
    SBX_WS_ERROR = 16   /* sticky; `code` is the close code to answer with */
} sbx_ws_kind;

typedef struct sbx_ws_event {
    char *p;       /* payload piece inside the input, unmasked in place */
    size_t n;      /* its length; 0 is possible with `first` or `last` */
    uint16_t code; /* CLOSE: the peer's code (1005: none). ERROR: 1002, 1007, 1009 (n = 0, the rest says nothing). Otherwise 0 */
    uint8_t total; /* PING/PONG: payload length of the whole frame; CLOSE: of the whole reason */
    bool first;    /* first piece of the message (of the control frame) */
    bool last;     /* last piece of it */
} sbx_ws_event;

enum {
    SBX_WS_SERVER = 1,   /* the reader is a server: frames must be masked; default client: must not be */
    SBX_WS_RAW_TEXT = 2  /* leave the UTF-8 check of text to the consumer (close reasons stay checked) */
};

/* Private fields; copy freely, nothing to free. */
typedef struct sbx_ws {
    uint8_t state;
    uint8_t at;           /* bytes of the frame's head taken so far */
    uint8_t message;      /* kind of the message under way, 0 between messages */
    uint8_t server;       /* (these four are read as one word) */
    uint8_t raw_text;
    uint8_t head;         /* first byte of the head */
    uint8_t mask_from, code_from, need; /* where the head's parts begin, its size */
    uint8_t mask_at;      /* runs on over mask and payload, modulo 4 */
    uint8_t kind;         /* of the frame being read */
    uint8_t total;
    bool first;
    uint8_t mask[4];      /* rotated by mask_at; zero in a client */
    uint16_t code;        /* of the close frame being read, or of the error */
    uint32_t utf8;
    uint64_t left;        /* payload bytes of the current frame still to come */
    uint64_t room;        /* what the current message may still grow by */
    uint64_t max_message; /* UINT64_MAX: no limit */
} sbx_ws;

/* max_message: a longer message (in bytes, all fragments) is ERROR 1009;
   0 = no limit. */
SBX_API void sbx_ws_init(sbx_ws *w, unsigned flags, uint64_t max_message);

/* Reads *p .. end, moves *p on, and returns one event, or MORE when all is
   consumed. A cut frame head is held inside; payload never is: frames of any
   length (to 2^63-1) come in pieces as they arrive, valid as long as the
   input. Where the pieces end depends on the input's borders, all else does
   not.
   - A message is a run of pieces from `first` to `last`; PING, PONG and CLOSE
     can come between two pieces of it. An empty last fragment gives n = 0,
     an empty fragment elsewhere no event, unless it is the first.
   - After CLOSE with `last` all further input is ignored (MORE).
   - ERROR consumes the whole input and comes back on every further call:
       1002  reserved bits or opcodes, wrong masking for the role, a length
             not in its shortest form or above 2^63-1, a control frame that is
             fragmented or above 125 bytes, fragments out of order, a close
             frame of 1 byte or with a code that may not be sent (5.2-5.5, 7.4)
       1007  text or a close reason that is not UTF-8, found at the first byte
             that cannot be right; what is before it was delivered (8.1)
       1009  the message would exceed max_message; found in the frame's head,
             before any of that frame is delivered */
SBX_API sbx_ws_kind sbx_ws_read(sbx_ws *w, char **p, char *end, sbx_ws_event *ev);

enum { SBX_WS_OP_CONT = 0, SBX_WS_OP_TEXT = 1, SBX_WS_OP_BINARY = 2, SBX_WS_OP_CLOSE = 8, SBX_WS_OP_PING = 9, SBX_WS_OP_PONG = 10 };
#define SBX_WS_HEAD_MAX 14
/* Frame head into buf; its length returned. mask NULL = unmasked (server).
   n: payload length, at most 2^63-1 (125 for a control frame, whose fin must
   be true). The caller sends the payload after it, masked. */
SBX_API size_t sbx_ws_head(unsigned char buf[SBX_WS_HEAD_MAX], unsigned opcode, bool fin, uint64_t n, const unsigned char mask[4]);
/* Masks (or unmasks) in place; `at` = bytes of the frame's payload before these.
   A client takes a fresh unpredictable mask for each frame (5.3). */
SBX_API void sbx_ws_mask(void *p, size_t n, const unsigned char mask[4], uint64_t at);
/* A whole close frame's payload, at most 125; its length. Empty (0) with a
   code that may not be sent, such as 0 or 1005: the code of a CLOSE event
   can be echoed as it is. The reason (UTF-8) is cut to 123 bytes at a
   character border. */
SBX_API size_t sbx_ws_close_payload(unsigned char buf[125], unsigned code, sbx_str reason);
/* Whether a peer may send this close code (RFC 6455 7.4 and the registry):
   1000-1003, 1007-1014, 3000-4999. */
SBX_API bool sbx_ws_close_code_ok(unsigned code);
/* Sec-WebSocket-Key from 16 random bytes (24 characters), and the
   Sec-WebSocket-Accept that answers it (28 characters), neither terminated.
   A key has 24 characters (4.2.1): with none or more the answer is all NULs,
   which match no header. */
SBX_API void sbx_ws_key(char out[24], const unsigned char random[16]);
SBX_API void sbx_ws_accept(char out[28], sbx_str key);

SBX_EXTERN_C_END
#endif
