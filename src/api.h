/* ---- api: the client, its operations and events (public) ---- */
#ifndef SBX_API_H
#define SBX_API_H
#include "error.h"
#include "http1.h"
#include "json.h"
#include "transport.h"
#include "types.h"
#include "ws.h"
SBX_EXTERN_C_BEGIN

#define SBX_VERSION_MAJOR 0
#define SBX_VERSION_MINOR 1
#define SBX_VERSION_PATCH 0
/* "0.1.0": the version compiled in. */
SBX_API const char *sbx_version(void);

typedef struct sbx_client sbx_client;

/* A request header (RFC 9110 5). Names compare without case. A call's header
   replaces the client's of the same name; User-Agent, X-Api-Key and Accept
   replace the library's own. Two of one name in the same list are both sent.
   Names must be tokens; a value with CR, LF, NUL or another control character
   is refused (SBX_ERR_ARGUMENT). Host, Content-Length, Content-Type,
   Transfer-Encoding, TE, Trailer, Connection, Upgrade, Expect and
   Sec-WebSocket-* are the library's own and refused alike. */
typedef struct sbx_header {
    sbx_str name, value;
} sbx_header;

/* A name and a value: an environment variable, a label. The name must not be
   empty; both must be UTF-8 without NUL. */
typedef struct sbx_pair {
    sbx_str name, value;
} sbx_pair;

/* A third state where "not given" differs from "no". */
typedef enum sbx_tri { SBX_TRI_UNSET, SBX_TRI_NO, SBX_TRI_YES } sbx_tri;

/* For a time: no limit. */
#define SBX_FOREVER (-1)
/* For a count or a time-to-live where 0 means "the default": none at all. */
#define SBX_NONE (-1)

/* ------------------------------------------------------------------ client */

/* What a trace hook is told. No secret is in it: neither header values nor
   bodies nor a URL's query. */
typedef enum sbx_trace_kind {
    SBX_TRACE_CONNECT, /* text = host; number = port */
    SBX_TRACE_REQUEST, /* text = the URL's path, without the query */
    SBX_TRACE_STATUS,  /* number = HTTP status */
    SBX_TRACE_CLOSE,   /* a connection was closed; number = sbx_code */
    SBX_TRACE_RETRY,   /* text = operation; number = wait in ms */
    SBX_TRACE_END      /* text = operation; number = sbx_code */
} sbx_trace_kind;

typedef struct sbx_trace {
    sbx_trace_kind kind;
    uint32_t op;   /* the operation's slot, 0 = none */
    uint32_t link; /* the connection's number, 0 = none */
    int64_t number;
    sbx_str text;  /* valid during the hook only */
} sbx_trace;

/* What writes the typed mounts, proxy and access of a sandbox
   (langsmith_config); a function of the library's, not to be called. */
SBX_API const struct sbxi_config *sbx_typed_config(void);
typedef const struct sbxi_config *(*sbx_config)(void);
#define SBX_CONFIG sbx_typed_config

/* What a client is made of. All zero is valid but for `transport`, and for
   `endpoint` (which sbx_open takes from the environment). Times are milliseconds, sizes bytes.
   Zero is the default, given behind the colon; SBX_FOREVER switches a time
   limit off. Read during sbx_client_size, _init and sbx_open only, except
   what `transport`, `resize` and `trace` point to, which must outlive the
   client. */
typedef struct sbx_client_desc {
    const sbx_transport *transport; /* must be given; &sbx_ports = the caller moves the bytes (see sbx_port_next) */
    const void *transport_config;   /* given to the transport's open; its own type */

    const char *endpoint;  /* full base URL, "https://api.smith.langchain.com/v2/sandboxes"; copied */
    const char *api_key;   /* sent as X-Api-Key; NULL or "" = none (sbx_open: "" = none also where the environment has one); copied, at most 511 bytes, wiped on close */
    const char *tenant_id; /* X-Tenant-Id of an organisation's key; NULL = not sent; copied */
    const char *user_agent; /* put before the library's own product token; copied */
    const sbx_header *headers; /* sent with every request, WebSocket upgrades included; copied */
    size_t headers_n;

    uint32_t max_ops;       /* operations at once, until their END was pulled: 64 */
    uint32_t max_links;     /* connections at once: 32. A running command holds one, idle ones count */
    uint32_t max_connects;  /* connections being made at once: 16 */
    uint32_t max_requests;  /* requests kept for repetition at once: 16. A call holds one until it ends, a command until it started (with headers of its own until it ends), an END with the server's text until it was pulled */
    uint32_t request_bytes; /* largest request without its bulk data (path, query, a call's headers, JSON): 4,096, at least 256 */
    uint32_t buffers;       /* receive and send buffers, shared by all: 4 of each, at least 2; the last of each serves only
                               the operation being awaited. A stream that sbx_next_of left in the midst of a chunk holds
                               one: more of them in turn than buffers, and one waits till its deadline. sbx_next over all
                               operations needs no more than the default */
    uint32_t rx_bytes;      /* a receive buffer: 16,384, at least 512 */
    uint32_t tx_bytes;      /* a send buffer; a request's head must fit in it, its URL in half of it: 4,096, at least 1,024 */
    uint32_t max_owned;     /* sandboxes with delete_on_close at once: 4 */

    int32_t timeout_ms;   /* one attempt at a request, to its answer's head, and any silence after it: 10,000. Calls with a limit of their own say so */
    int32_t total_ms;     /* a whole operation with its retries: no limit */
    int32_t connect_ms;   /* one connection, names and TLS included: 10,000 */
    int32_t idle_ms;      /* how long an idle connection is kept: 30,000; SBX_NONE = never */
    int32_t close_ms;     /* what sbx_close may spend on delete_on_close: 10,000 */
    int32_t max_retries;  /* repetitions after the first attempt: 3, at most 100; SBX_NONE = none */
    uint32_t head_bytes;  /* cap on an answer's head: 65,536, at least 256 */

    int32_t ws_open_ms;     /* one WebSocket upgrade, and then the wait for `started`: 30,000 */
    int32_t ws_connect_budget_ms; /* all attempts to open a command's stream: 120,000 */
    int32_t ws_ping_interval_ms;  /* silence before a ping: 30,000; SBX_FOREVER = no pings */
    int32_t ws_ping_ms;     /* wait for the pong: 60,000 */
    int32_t ws_close_ms;    /* wait for the peer's close, whatever it still sends: 10,000; SBX_NONE = hang up at once */
    int32_t sse_read_ms;    /* silence on a command's event stream (SBX_VIA_SSE), whose server gives a sign of life every 15 s: 60,000 */

    bool allow_http_boxes; /* with an https endpoint, send the key also to a data plane of http://, unencrypted. Default: calls on
                              such a sandbox's data plane are refused (SBX_ERR_ARGUMENT, box.url), but for localhost, 127.* and ::1 */

    sbx_config config; /* SBX_CONFIG: the options with typed mounts, proxy and access can be given, and the program is linked with
                          what they need; NULL = none of them (sbx_open: SBX_CONFIG) */
    void *(*resize)(void *user, void *p, size_t n); /* allocator for results that ask for it (`alloc`): realloc's rules, n 0 frees; NULL = none */
    void *resize_user;
    void (*trace)(void *user, const sbx_trace *t);  /* must not call the client */
    void *trace_user;
} sbx_client_desc;

/* Bytes of memory that sbx_client_init needs for this description; SIZE_MAX:
   more than can be addressed. Checks nothing else. What a part costs stands
   in the guide under "Memory". */
SBX_API size_t sbx_client_size(const sbx_client_desc *desc);

/* Lays a client out in `mem` (any alignment, borrowed until sbx_close). Reads no
   environment and allocates nothing, now or later (a transport may: see its
   manual). Does not block.
   Errors: SBX_ERR_ARGUMENT (err->field names the option), SBX_ERR_MEMORY
   (err->text says how many bytes are needed), SBX_ERR_ENTROPY, and what the
   transport's open says. `err` may be NULL; it is written on failure only, and *out is
   NULL then. */
SBX_API sbx_code sbx_client_init(void *mem, size_t n, const sbx_client_desc *desc, sbx_client **out, sbx_error *err);

/* sbx_client_init in memory from malloc, with what the description leaves out
   taken from the environment: LANGSMITH_ENDPOINT, else LANGCHAIN_ENDPOINT,
   else https://api.smith.langchain.com (/v2/sandboxes is put behind each);
   LANGSMITH_API_KEY, else LANGCHAIN_API_KEY; LANGSMITH_SANDBOX_WS_TIMEOUT_*
   (OPEN, PING_INTERVAL, PING, CLOSE, CONNECT_BUDGET) and
   LANGSMITH_SANDBOX_SSE_TIMEOUT_READ (then LANGCHAIN_…) in seconds, <= 0 = off. A blank value counts as unset, a number that cannot be
   read is ignored. `resize` defaults to realloc. Errors as sbx_client_init's.
   Not there under SBX_NO_MALLOC. */
SBX_API sbx_code sbx_open(const sbx_client_desc *desc, sbx_client **out, sbx_error *err);

/* Deletes what delete_on_close owns (within close_ms; blocks only for that,
   and only when the transport can wait and sbx_shutdown was not called),
   closes every connection, overwrites the client's memory, keys included,
   with zeros and frees what sbx_open took. No event comes after it; open
   operations end unreported, their out-pointers unwritten. Results in
   allocated memory are the caller's: sbx_free them before. NULL is allowed.
   Must not be called from the trace hook or the transport: there it does
   nothing, and the client still has to be closed. */
SBX_API void sbx_close(sbx_client *c);

/* Replaces the API key for every request not yet written; an empty one: none
   is sent, as with desc.api_key. Errors: SBX_ERR_ARGUMENT (over 511 bytes, or
   not a legal header value). */
SBX_API sbx_code sbx_set_api_key(sbx_client *c, sbx_str key);

/* High-water marks and counters, for sizing. */
typedef struct sbx_usage {
    size_t memory;           /* bytes of client memory, as given */
    uint32_t ops, ops_high;  /* operations now and at most */
    uint32_t links, links_high;
    uint32_t requests, requests_high;
    uint32_t rx_high, tx_high; /* buffers in use at most */
    uint32_t timers_high;
    uint64_t connects, reused; /* connections made; requests on a kept one */
    uint64_t retries, reconnects;
    uint64_t bytes_in, bytes_out; /* as the transport moved them */
} sbx_usage;
/* *out is filled; nothing else changes. */
SBX_API void sbx_get_usage(const sbx_client *c, sbx_usage *out);

/* -------------------------------------------------------------- operations */

/* An operation: what every call returns. The call itself never blocks and
   does no I/O; the operation runs inside sbx_await, sbx_next…, sbx_step and
   sbx_wait. A call that is refused at once gives slot 0 with its code in gen;
   await, next_of and error_of take it like any other, sbx_next reports no
   event for it. A handle is dead once its END was pulled or awaited, and never
   comes back to life: a slot's generation counts 32 bits.

   Any call can end with these, and its comment names only what comes besides:
   at once  SBX_ERR_ARGUMENT (the error's field names the option), _FULL
            (max_ops, max_requests), _TOO_LARGE (request_bytes), _CLOSED
            (after sbx_shutdown), _STATE (called from inside the transport),
            _ENTROPY
   later    SBX_ERR_RESOLVE, _CONNECT, _CONNECTION, _TLS, _UNSUPPORTED (https
            without a TLS transport), _DEADLINE, _PROTOCOL, _ENTROPY,
            _TOO_LARGE (the head does not fit tx_bytes; an id or URL in the
            answer does not fit its field), _CANCELLED, _CLOSED
   answers  SBX_ERR_AUTH, _NOT_FOUND, _VALIDATION, _CONFLICT, _QUOTA,
            _NOT_READY, _SERVER; data plane calls also _PERMISSION, _OPERATION

   Repeated, at most max_retries times with jittered back-off (Retry-After
   where the server names it), until the total deadline: what was not sent,
   429, and 503 without an error type of the service; where repeating does no
   harm also any 503, 502, 504, lost connections and silence. Where it may do
   harm a call is never sent again once it may have been carried out:
   SBX_ERR_OUTCOME. These are the calls that create something (sandboxes,
   snapshots, registries, templates, volumes, pools), start and stop, commands
   with SBX_VIA_HTTP or no_command_id, the start of one with SBX_VIA_SSE, and
   sbx_request unless its method or `repeat` allows it. After SBX_ERR_DEADLINE
   the error's `sent` says whether it may have been. */
typedef struct sbx_op {
    uint32_t slot;
    uint32_t gen;
} sbx_op;

/* The part of its options that every call has; the first member of each
   options struct. Everything is read during the call. */
typedef struct sbx_call {
    int32_t total_ms;   /* the whole operation; 0 = the client's, SBX_FOREVER = no limit */
    int32_t timeout_ms; /* one attempt; 0 = the call's own or the client's, SBX_FOREVER = no limit */
    int32_t max_retries; /* 0 = the client's, SBX_NONE = none, at most 100 */
    const sbx_header *headers; /* added, or in place of the client's */
    size_t headers_n;
    sbx_str api_key;    /* instead of the client's */
    void *user;         /* comes back in every event */
} sbx_call;

typedef enum sbx_event_kind {
    SBX_EV_NONE,
    SBX_EV_STARTED,     /* the command runs: pid; a tunnel or connection stands */
    SBX_EV_STDOUT,      /* data, offset */
    SBX_EV_STDERR,
    SBX_EV_DATA,        /* bytes of a file, answer or connection: data, offset */
    SBX_EV_ITEM,        /* one item of a list: `item` */
    SBX_EV_GAP,         /* output was lost: stream, offset (where it begins), lost (bytes) */
    SBX_EV_RETRYING,    /* any call: an attempt failed with `code`; the next comes in delay_ms */
    SBX_EV_RECONNECTED, /* the command's stream goes on after a drop; a tunnel is open again */
    SBX_EV_WRITABLE,    /* sbx_push, sbx_input or sbx_tunnel_send takes bytes again */
    SBX_EV_EOF,         /* the other side of a connection sends no more */
    SBX_EV_REWIND,      /* a pushed body must be sent again from its first byte (sbx_rewind), or cancelled */
    SBX_EV_HEAD,        /* sbx_request with `stream`: the answer began: status; data = its header lines, as far as opts.head took them */
    SBX_EV_AGENT_DATA,  /* ssh_agent_forward: data for the SSH agent, of one channel: channel, data */
    SBX_EV_AGENT_CLOSE, /* that channel is closed: channel */
    SBX_EV_END          /* the last one: code, exit_code; the handle is dead after it */
} sbx_event_kind;

/* Fields that an event's kind does not name are 0. */
typedef struct sbx_event {
    sbx_event_kind kind;
    sbx_op op;
    void *user;        /* sbx_call.user */
    sbx_str data;      /* borrowed until the next sbx_next…, sbx_await, sbx_step, sbx_wait, sbx_cancel, sbx_port_… or sbx_close */
    sbx_str channel;   /* AGENT_DATA, AGENT_CLOSE: the channel's id, at most 63 bytes; borrowed like data */
    const void *item;  /* ITEM: sbx_box_info, sbx_match, sbx_snapshot, …, by the call; borrowed alike */
    uint64_t offset;   /* of the first byte of data in its stream or file */
    uint64_t lost;     /* GAP */
    uint32_t delay_ms; /* RETRYING */
    uint32_t pid;      /* STARTED */
    int stream;        /* STDOUT, STDERR, GAP: 1 or 2 */
    int exit_code;     /* END of a command (-1 where it has none), of sbx_shutdown: sandboxes left */
    sbx_code code;     /* END, RETRYING */
    int status;        /* HEAD: the answer's HTTP status */
} sbx_event;

/* Runs an operation to its end and returns its code. Blocks; set total_ms to
   bound it. Events of other operations are neither consumed nor lost; the
   operation's own are dropped (await is for calls that collect, and not for
   uploads by sbx_push). Other errors, none of which ends the operation, and of
   which sbx_error_of therefore knows nothing:
   SBX_ERR_UNSUPPORTED (the transport cannot wait), SBX_ERR_HANDLE (a dead
   handle), SBX_ERR_STATE (called from inside the transport). */
SBX_API sbx_code sbx_await(sbx_client *c, sbx_op op);

/* Blocks for the operation's next event. True with *ev filled; false after its
   END was returned, or for a dead handle. A call refused at once gives one END
   event first and changes *op, so ask sbx_error_of for ev->op. With a
   transport that cannot wait it does not block: false also means none now. */
SBX_API bool sbx_next_of(sbx_client *c, sbx_op *op, sbx_event *ev);

/* The next event of any operation, without waiting; false = none now. Reads
   what the event needs from the transport, in turn with other operations. */
SBX_API bool sbx_next(sbx_client *c, sbx_event *ev);

/* Moves everything that can move, without blocking. now_ms: milliseconds of
   the transport's clock (mono_ms; sbx_posix: CLOCK_MONOTONIC), since sbx_wait,
   sbx_await and sbx_next_of read that; for a transport-less client any clock
   that begins at 0 or above and never steps back. A time before the last one
   is ignored. */
SBX_API void sbx_step(sbx_client *c, int64_t now_ms);

/* Blocks until something is ready, sbx_wake was called or timeout_ms passed
   (SBX_FOREVER: no limit), then steps by the transport's clock; does not
   block while events or work wait. False, at once, when the transport cannot
   wait. */
SBX_API bool sbx_wait(sbx_client *c, int64_t timeout_ms);

/* When the next sbx_step is due at the latest, on now_ms's clock; INT64_MAX =
   never; not later than the last step = now (events or work wait). A pure
   query. */
SBX_API int64_t sbx_next_deadline(const sbx_client *c);

/* Ends a running sbx_wait early; sbx_await and sbx_next_of look around and
   wait on. The one call allowed from another thread, while the client lives.
   No effect where the transport has no wake. */
SBX_API void sbx_wake(sbx_client *c);

/* One handle for a foreign event loop that is readable whenever a connection
   is ready (an epoll descriptor), -1 where the transport has none. Watch it
   for reading together with sbx_next_deadline. */
SBX_API intptr_t sbx_poll_handle(const sbx_client *c);

/* Ends an operation with SBX_ERR_CANCELLED; its out-pointers are not written
   any more, its borrowed buffers are free. END is still reported. What the
   server has begun goes on: a command runs on (sbx_kill ends it, or
   kill_on_disconnect). SBX_OK without effect when it has ended already;
   SBX_ERR_HANDLE for a dead handle. */
SBX_API sbx_code sbx_cancel(sbx_client *c, sbx_op op);

/* The error of an operation: of the last call refused at once, or of the
   operation whose END was pulled or awaited last. Ask before the next one
   ends; for any other handle code is SBX_OK. */
SBX_API void sbx_error_of(const sbx_client *c, sbx_op op, sbx_error *out);

/* Starts to shut down: every operation ends with SBX_ERR_CLOSED (their END
   events are still to be pulled), new calls are refused, then the sandboxes of
   delete_on_close are deleted, for which there is a slot beside max_ops. `ms`
   bounds it, SBX_FOREVER = no limit. Its END has exit_code = sandboxes that
   remain, and SBX_OK for none, SBX_ERR_SERVER when some could not be deleted,
   SBX_ERR_DEADLINE after `ms`; deletions under way end by themselves, also
   after it: step on until sbx_usage.ops is 0. An END not pulled before may lose
   the server's words, not its code. At once: SBX_ERR_CLOSED (called before),
   SBX_ERR_FULL (END events hold every slot of max_ops: pull one). */
SBX_API sbx_op sbx_shutdown(sbx_client *c, int32_t ms);

/* The next bytes of a body that the caller pushes (sbx_write with `stream`,
   sbx_request with `push`): copies what
   the send buffer takes, *taken says how much (possibly 0: wait for
   SBX_EV_WRITABLE, and give the rest again). `end` with everything taken ends
   the body. Does not block. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (not an
   upload, ended, or a rewind is due), SBX_ERR_ARGUMENT (more than the size
   that was announced, or end before it). */
SBX_API sbx_code sbx_push(sbx_client *c, sbx_op op, sbx_str data, bool end, size_t *taken);
/* The answer to SBX_EV_REWIND: the body will be pushed again from its start,
   after the next SBX_EV_WRITABLE. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (no
   rewind is due). */
SBX_API sbx_code sbx_rewind(sbx_client *c, sbx_op op);

/* Frees memory that a result with `alloc` was given; NULL is allowed. */
SBX_API void sbx_free(sbx_client *c, void *p);

/* ---------------------------------------------------------- transport-less */

/* With desc.transport &sbx_ports the program owns the connections. sbx_port_next
   lists what has to be done: each port is one connection, named by `id` (1 to
   max_links; a number is used again after its CLOSE). Nothing blocks, so
   sbx_await answers SBX_ERR_UNSUPPORTED; time comes with sbx_step. In a loop:
   sbx_step; bytes that came to sbx_port_recv; sbx_next until none; bytes of
   sbx_port_send to each open connection; sbx_port_next until none. */
typedef enum sbx_port_action {
    SBX_PORT_CONNECT, /* connect to host:port (with TLS if tls, checking the name), then sbx_port_opened */
    SBX_PORT_CLOSE    /* close it and forget the id */
} sbx_port_action;

typedef struct sbx_port {
    uint32_t id;
    sbx_port_action action;
    sbx_str host; /* CONNECT: a name or an IP literal; borrowed until the next call */
    uint16_t port;
    bool tls;
} sbx_port;

/* No transport but the mark of such a client: only a program that names it is
   linked with what moves its bytes. */
extern const sbx_transport sbx_ports;

/* The next action, false = none now. Call it after each step and event. Not
   meant (always false) for a client with another transport. */
SBX_API bool sbx_port_next(sbx_client *c, sbx_port *out);
/* These three: SBX_ERR_HANDLE for an id that has no connection any more. */
SBX_API sbx_code sbx_port_opened(sbx_client *c, uint32_t id);
/* It could not be opened, or broke: SBX_ERR_RESOLVE, _CONNECT, _CONNECTION or _TLS. */
SBX_API sbx_code sbx_port_failed(sbx_client *c, uint32_t id, sbx_code code);
/* The peer ended its stream, and all that it sent was taken. */
SBX_API sbx_code sbx_port_eof(sbx_client *c, uint32_t id);
/* Bytes that arrived: returns how many were taken; keep the rest and give it
   again after the next event or step. 0 for a port that is not open. */
SBX_API size_t sbx_port_recv(sbx_client *c, uint32_t id, const void *p, size_t n);
/* Bytes to be sent: fills p, returns their number, 0 = none. They count as
   sent: do not lose them. */
SBX_API size_t sbx_port_send(sbx_client *c, uint32_t id, void *p, size_t room);
/* A transport-less client has no randomness of its own: seed it before the
   first call with 32 strong random bytes (up to 64 are used), again to add
   more. wall_ms: Unix time in ms, 0 = not known. Without it the calls that
   need random bytes (commands, uploads, delete_on_close) end with
   SBX_ERR_ENTROPY. Errors: SBX_ERR_ARGUMENT (under 32), SBX_ERR_STATE (the
   client has another transport). */
SBX_API sbx_code sbx_port_seed(sbx_client *c, const void *seed, size_t n, int64_t wall_ms);

SBX_EXTERN_C_END
#endif
