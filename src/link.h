/* ---- link: one connection, its codec and its buffers; exchanges and messages on it (private) ---- */
#ifndef SBXI_LINK_H
#define SBXI_LINK_H
#include "api.h"
#include "base.h"
#include "pool.h"
#include "sse.h"
#include "text.h"
#include "timer.h"

/* An absolute http or https URL: no user information, query or fragment. */
typedef struct sbxi_url {
    sbx_str host; /* without brackets */
    sbx_str path; /* "" or "/…", no trailing slash */
    uint16_t port;
    bool tls;
} sbxi_url;
SBXI_FN bool sbxi_url_parse(sbx_str text, sbxi_url *out);
/* This machine itself, by a name or address that nobody else can have. */
SBXI_FN bool sbxi_url_is_loopback(const sbxi_url *url);

typedef enum sbxi_got {
    SBXI_GOT_EVENT,   /* done, or something to look at */
    SBXI_GOT_BLOCKED, /* waits for the connection */
    SBXI_GOT_STARVED, /* waits for a shared buffer */
    SBXI_GOT_EOF,     /* the peer closed; a WebSocket: sbxi_ws_close_code */
    SBXI_GOT_FAIL     /* net->fault says why */
} sbxi_got;

typedef enum sbxi_link_state {
    SBXI_LINK_FREE,
    SBXI_LINK_CONNECTING,
    SBXI_LINK_BUSY,   /* belongs to an operation */
    SBXI_LINK_IDLE,   /* kept for the next exchange */
    SBXI_LINK_CLOSING /* our close frame is out, the peer's is awaited */
} sbxi_link_state;

/* In `ready`, beside SBX_READABLE: nobody but the turn itself said so, because
   the transport cannot say, or the transport, whose last word was wrong, and
   nobody has tried since. It is not known then whether anything came. */
#define SBXI_GUESSED 4u

/* A link keeps codec state, not bytes: it holds a shared buffer only while it
   is half consumed (rx) or half sent (tx). */
typedef struct sbxi_link {
    uint8_t state, ready;
    bool is_ws : 1, reused : 1, sent_any : 1, got_any : 1, close_sent : 1, open : 1, pong_open : 1;
    bool half : 1;    /* rx holds the beginning of a message, whose rest did not come yet */
    bool heard : 1;   /* bytes came since the transport said last that some would */
    bool plain : 1;   /* what is in tx need not be wiped: bytes of a tunnel */
    uint32_t owner; /* operation index */
    char *rx, *tx;
    uint32_t rx_at, rx_end;
    uint32_t tx_at, tx_end;
    union {
        struct {          /* HTTP */
            const char *p; /* the caller's bytes, sent behind tx without a copy */
            size_t n;
            uint64_t origin; /* which other exchanges it may serve */
        } body;
        struct {               /* WebSocket */
            uint32_t left;     /* bytes of the outgoing frame, not yet in tx */
            unsigned char mask[4];
            uint8_t at;        /* its payload bytes so far, modulo 4 */
            uint16_t close_code; /* the peer's, 0 = none came */
        } frame;
    } out;
    int64_t last_rx;  /* when bytes came last, or when it became idle */
    union {
        sbx_http1 http;
        sbx_ws ws;
#if !SBX_NO_SSE
        struct {
            sbx_http1 http; /* of the answer whose body is the stream: the one above */
            sbx_sse sse;
        } events;
#endif
    } codec;
    sbxi_node node;
} sbxi_link;

/* What links share: the transport, buffers, idle connections, randomness. What
   is used most stands first, as in sbxi_op. */
typedef struct sbxi_net {
    const sbx_transport *t;
    void *ctx;
    char *conns;
    sbxi_link *links;
    bool inside;      /* the transport or the trace hook may be running: calls are refused */
    bool entropy_failed;
    uint8_t random_left;
    uint32_t awaited; /* operation that may take the last buffer, SBXI_NIL = none */
    int64_t now;
    size_t run_left;  /* bytes that the running operation may still read in this turn */
    uint32_t link_count, links_used, connecting, max_connects;
    sbx_fault fault;
    size_t conn_size;
    sbxi_list free_links, idle_links;
    sbxi_pool rx, tx;
    int64_t idle_ms, close_ms;
    sbx_http1_caps caps;
    uint64_t seed[2];
    unsigned char random[64];
    sbx_usage usage;
    void (*trace)(void *user, const sbx_trace *t);
    void *trace_user;
} sbxi_net;

SBXI_FN size_t sbxi_conn_size(const sbx_transport *t);
/* ctx, conns and links point to their memory; rx and tx are the buffers'. */
SBXI_FN void sbxi_net_init(sbxi_net *net, const sbx_client_desc *d, char *rx, char *tx);
SBXI_FN size_t sbxi_ctx_size(const sbx_transport *t, uint32_t max_links);
SBXI_FN void sbxi_net_trace(sbxi_net *net, sbx_trace_kind kind, const sbxi_link *l, uint32_t op, int64_t number, sbx_str text);
/* Random bytes; false (and net->entropy_failed) when the transport has none. */
SBXI_FN bool sbxi_net_random(sbxi_net *net, void *p, size_t n);
/* 0..n-1; for jitter only. */
SBXI_FN SBXI_ONCE uint32_t sbxi_net_jitter(sbxi_net *net, uint32_t n);
SBXI_FN uint64_t sbxi_net_origin(const sbxi_net *net, const sbxi_url *url);

SBXI_FN void *sbxi_link_conn(sbxi_net *net, const sbxi_link *l);
SBXI_FN SBXI_ONCE uint32_t sbxi_link_id(const sbxi_net *net, const sbxi_link *l);
/* An idle connection to that origin that is not known to be dead, or NULL. */
SBXI_FN sbxi_link *sbxi_link_reuse(sbxi_net *net, uint64_t origin, uint32_t owner);
/* A fresh link; closes an idle one for it when all are taken. NULL: none, or
   as many connects under way as may be. */
SBXI_FN sbxi_link *sbxi_link_new(sbxi_net *net, uint64_t origin, uint32_t owner);
SBXI_FN sbxi_got sbxi_link_connect(sbxi_net *net, sbxi_link *l, const sbxi_url *url);
SBXI_FN void sbxi_link_close(sbxi_net *net, sbxi_link *l, sbx_code code);
/* Back to the pool (keep) or closed; a WebSocket says goodbye first. */
SBXI_FN void sbxi_link_release(sbxi_net *net, sbxi_link *l, bool keep);
/* The transport says that it is ready, by SBX_READABLE and SBX_WRITABLE. */
SBXI_FN void sbxi_link_mark(sbxi_net *net, sbxi_link *l, unsigned bits);
/* An idle or closing link that became readable, or whose time is over. */
SBXI_FN void sbxi_link_idle_ready(sbxi_net *net, sbxi_link *l);
SBXI_FN void sbxi_net_sweep(sbxi_net *net);
SBXI_FN int64_t sbxi_net_sweep_at(const sbxi_net *net);

/* Room in the send buffer: its free end, or NULL (`*got` says why not). */
SBXI_FN char *sbxi_link_room(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got);
SBXI_FN sbxi_got sbxi_link_flush(sbxi_net *net, sbxi_link *l);
SBXI_FN bool sbxi_link_unsent(const sbxi_link *l);
/* Whether sbxi_link_room gives some to any operation, awaited or not. */
SBXI_FN bool sbxi_link_has_room(const sbxi_net *net, const sbxi_link *l);
/* Reads ahead into the link's own buffer, for bytes that cannot be asked for
   again later. */
SBXI_FN void sbxi_link_take_ahead(sbxi_net *net, sbxi_link *l);
/* Gives the receive buffer back when nothing in it is left to read. */
SBXI_FN void sbxi_link_consumed(sbxi_net *net, sbxi_link *l);

/* ---- exchange: one request and its answer. Today's carrier is HTTP/1.1: one
   at a time on a link. ---- */
SBXI_FN void sbxi_exchange_begin(sbxi_net *net, sbxi_link *l, bool head);
SBXI_FN sbxi_got sbxi_exchange_next(sbxi_net *net, sbxi_link *l, sbx_http1_kind *kind, sbx_http1_event *ev);

/* ---- messages of a WebSocket, after the upgrade ---- */

/* The largest control frame. The input is read only while one has room in the
   send buffer. */
#define SBXI_WS_CONTROL_MAX (SBX_WS_HEAD_MAX + 125)
/* The peer's close code, 0 = it sent none. */
SBXI_FN unsigned sbxi_ws_close_code(const sbxi_link *l);
SBXI_FN void sbxi_ws_begin(sbxi_net *net, sbxi_link *l);
/* EVENT: a piece of a data message. Pings are answered inside. */
SBXI_FN sbxi_got sbxi_ws_next(sbxi_net *net, sbxi_link *l, sbx_ws_event *ev);
/* Whether what lies in the receive buffer can be read: the beginning of a
   message is left there for its rest, unless buffers are scarce. */
SBXI_FN bool sbxi_ws_unread(const sbxi_net *net, const sbxi_link *l);
/* Starts a frame of n bytes; false while the send buffer has no room. */
SBXI_FN bool sbxi_ws_frame(sbxi_net *net, sbxi_link *l, unsigned opcode, uint32_t n);
/* Its payload, as much as fits; the number of bytes taken. */
SBXI_FN size_t sbxi_ws_append(sbxi_net *net, sbxi_link *l, const void *p, size_t n);
/* Room to write a whole payload into, behind a place for its head; NULL: *got
   says why not. Then its length. */
SBXI_FN char *sbxi_ws_compose(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got);
SBXI_FN void sbxi_ws_composed(sbxi_net *net, sbxi_link *l, unsigned opcode, size_t n);
/* Says goodbye, once; an illegal code is left out. */
SBXI_FN void sbxi_ws_close(sbxi_net *net, sbxi_link *l, unsigned code);
/* A whole small frame, or nothing. */
SBXI_FN bool sbxi_ws_send(sbxi_net *net, sbxi_link *l, unsigned opcode, const void *p, size_t n);

#endif
