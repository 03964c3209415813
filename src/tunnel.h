/* ---- tunnel: TCP connections into a sandbox over one WebSocket (public) ---- */
#ifndef SBX_TUNNEL_H
#define SBX_TUNNEL_H
#include "langsmith.h"
SBX_EXTERN_C_BEGIN

/* A tunnel is one WebSocket to a sandbox (…/tunnel) that carries any number of
   TCP connections to ports inside it, multiplexed by yamux. The tunnel is an
   operation, and so is each connection: both are pulled like any other.

       tunnel = sbx_tunnel_open(c, &box, NULL);
       op = sbx_tunnel_dial(c, tunnel, 5432, NULL);
       while (sbx_next_of(c, &op, &ev))
           if (ev.kind == SBX_EV_STARTED || ev.kind == SBX_EV_WRITABLE)
               sbx_tunnel_send(c, op, rest, true, &taken);  (what was not taken goes out at the next WRITABLE)
           else if (ev.kind == SBX_EV_DATA)
               fwrite(ev.data.p, 1, ev.data.n, stdout);
           else if (ev.kind == SBX_EV_END)
               code = ev.code;
       sbx_tunnel_close(c, tunnel);

   How much can be under way, and where it lies
   --------------------------------------------
   Every connection has a ring of `window` bytes for what came and was not
   pulled. The peer is told that it may send more only when bytes were pulled,
   so a ring never overflows, a connection that is not pulled stops its own
   sender, and the others go on. That holds without exception for a window of
   256 KiB (the default) or more: yamux lets each peer send the first 256 KiB of
   a stream unasked. With a smaller window those first 256 KiB can find the
   ring full. Then the bytes stay in the socket, and all connections of the
   tunnel wait until the full one is pulled; this lasts for at most those 256
   KiB. Should the program meanwhile block for an event of another one
   (sbx_next_of, sbx_await), which would never come, the full one is reset and
   ends with SBX_ERR_TOO_LARGE behind its last data. A program that pulls all
   events (sbx_next) never meets it.
   A tunnel that waits so for longer than its server waits for the answer to a
   ping (hashicorp's default: 40 s) can be ended by the server. */

typedef struct sbx_tunnel_opts {
    sbx_call call;        /* timeout_ms: one attempt to open it, ws_open_ms; total_ms: the tunnel's whole life; max_retries: 2.
                             Its headers and key go with every upgrade, also when it is opened again */
    sbx_buf memory;       /* sbx_tunnel_size bytes, borrowed until END; none: the client's allocator, until END */
    uint32_t max_streams; /* connections at once: 32. Each is an operation, too (max_ops) */
    uint32_t window;      /* bytes of each connection's ring: 262,144, at least 1,024 */
    int32_t ping_interval_ms; /* silence before a yamux ping: 30,000; SBX_FOREVER = no pings */
    int32_t ping_ms;      /* wait for its answer: 30,000. Does not run while the tunnel waits for the program */
} sbx_tunnel_opts;

/* Bytes of memory for a tunnel with these options (NULL: the default ones):
   max_streams times window and about 100; SIZE_MAX: more than can be
   addressed. Memory is touched only as far as it is used. */
SBX_API size_t sbx_tunnel_size(const sbx_tunnel_opts *opts);

/* GET …/tunnel (yamux, protocol version 0). An operation that lasts until it is
   closed, cancelled or cannot be opened; holds one of max_links while it is
   open. Events: STARTED (open), RETRYING (an attempt failed), RECONNECTED (open
   again), END. They need not be pulled for the connections to run.
   Attempts to open are repeated like those of a command, 0.5 s, doubled, up to
   8 s apart. A tunnel that is lost later ends its connections with
   SBX_ERR_CONNECTION, stays itself, and is opened again, in the same way, by
   the next dial; when that fails, the dials that wait end with the error and
   the next one tries again. Of WebSocket pings none are sent: yamux's own are,
   and their answers are checked.
   Errors: SBX_ERR_NO_BUFFER (no memory and no allocator), SBX_ERR_MEMORY (the
   memory is smaller than sbx_tunnel_size, or the allocator refused),
   SBX_ERR_NO_ENDPOINT (404: a server without tunnels). */
SBX_API sbx_op sbx_tunnel_open(sbx_client *c, const sbx_box *box, const sbx_tunnel_opts *opts);

typedef struct sbx_dial_opts {
    sbx_call call; /* timeout_ms: until the connection stands, the tunnel's opening included, ws_open_ms; headers and api_key
                      are the tunnel's: refused here. No retries: dial again */
} sbx_dial_opts;

/* A TCP connection to a port (1 to 65,535) inside the sandbox. The tunnel need
   not be open yet. Events: STARTED (it stands), DATA (data, offset), WRITABLE,
   EOF (the other side sends no more; what we send still arrives), END. The END
   of a connection whose halves have both ended has SBX_OK; before it, each of
   the two must have ended: by sbx_tunnel_send with `end`, and by EOF. What came
   before a failure is delivered before END. sbx_cancel resets the connection.
   At most 128 connections of a tunnel are being made at once, further ones
   wait: servers reset those that exceed their backlog (hashicorp's: 256).
   Errors at once: SBX_ERR_HANDLE (no tunnel), SBX_ERR_STATE (it was closed),
   SBX_ERR_FULL (max_streams). Later: SBX_ERR_PORT_DENIED (the sandbox does not
   let this port be reached), SBX_ERR_DIAL (nothing answers there),
   SBX_ERR_TUNNEL_VERSION (the server speaks another version),
   SBX_ERR_CONNECTION (reset by the other side, or the tunnel was lost, or the
   server takes no new connections), SBX_ERR_TOO_LARGE (see above),
   SBX_ERR_DEADLINE, what opening the tunnel can end with. */
SBX_API sbx_op sbx_tunnel_dial(sbx_client *c, sbx_op tunnel, uint16_t port, const sbx_dial_opts *opts);

/* The next bytes for the other side: copies what the send buffer and the
   peer's window take, *taken says how much (possibly 0: wait for
   SBX_EV_WRITABLE, and give the rest again; always so before STARTED, which
   says that it may be given). Connections that wait get their WRITABLE in
   turn. `end` with everything taken ends our half; `data` may be empty for
   that. Does not block. The larger tx_bytes, the fewer and larger frames.
   Errors: SBX_ERR_HANDLE (not a connection), SBX_ERR_STATE
   (our half has ended, or the connection; called from inside the transport),
   SBX_ERR_ENTROPY. */
SBX_API sbx_code sbx_tunnel_send(sbx_client *c, sbx_op op, sbx_str data, bool end, size_t *taken);

/* sbx_tunnel_send without its copy: *room is where the next bytes go, inside the
   send buffer, and how many there can be now. n 0: none, wait for
   SBX_EV_WRITABLE, as before STARTED. It stands until the next call that is
   given this client, which is sbx_tunnel_commit, in every case where n is not 0.
   What ends our half is sbx_tunnel_send.
   Errors: those of sbx_tunnel_send. */
SBX_API sbx_code sbx_tunnel_reserve(sbx_client *c, sbx_op op, sbx_buf *room);

/* The first n bytes of it, which were written there meanwhile, go out; with 0
   the buffer is given back. Errors: those of sbx_tunnel_send,
   SBX_ERR_TOO_LARGE (n is more than there was room for: nothing is sent). */
SBX_API sbx_code sbx_tunnel_commit(sbx_client *c, sbx_op op, size_t n);

/* Holds a connection's DATA and what comes behind it back from sbx_next, and so
   slows its sender, until it is let go; WRITABLE still comes. For a program
   that cannot pass on what comes; sbx_next_of must not wait for a connection
   that is held. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (called from inside the
   transport). */
SBX_API sbx_code sbx_tunnel_hold(sbx_client *c, sbx_op op, bool hold);

/* The last n bytes of the connection's DATA that was pulled last come once more,
   with its next DATA; only while that event's data is borrowed. With
   sbx_tunnel_hold for a program that could pass on a part of it: nothing has to
   be copied. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (so many bytes are not
   borrowed). */
SBX_API sbx_code sbx_tunnel_unread(sbx_client *c, sbx_op op, size_t n);

/* Ends a tunnel: no new connections; those that stand go on; END (SBX_OK)
   comes when that of the last of them was pulled. sbx_cancel ends it at once,
   its connections with it. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (called from
   inside the transport). */
SBX_API sbx_code sbx_tunnel_close(sbx_client *c, sbx_op tunnel);

SBX_EXTERN_C_END
#endif
