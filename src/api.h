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

/* A request header. Names compare without case and only one value of a name
   is sent: the call's before the client's. Names must be tokens; a value with
   CR, LF, NUL or another control character is refused (SBX_ERR_ARGUMENT).
   Host, Content-Length, Transfer-Encoding, Connection, Upgrade and
   Sec-WebSocket-* are the library's own and refused. */
typedef struct sbx_header {
    sbx_str name, value;
} sbx_header;

/* A name and a value: an environment variable, a label. */
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
   bodies. */
typedef enum sbx_trace_kind {
    SBX_TRACE_CONNECT, /* text = host */
    SBX_TRACE_REQUEST, /* text = method and path without the query */
    SBX_TRACE_STATUS,  /* number = HTTP status */
    SBX_TRACE_CLOSE,   /* a connection was closed; number = sbx_code */
    SBX_TRACE_RETRY,   /* number = wait in ms */
    SBX_TRACE_END      /* number = sbx_code */
} sbx_trace_kind;

typedef struct sbx_trace {
    sbx_trace_kind kind;
    uint32_t op;   /* the operation's slot, 0 = none */
    uint32_t link; /* the connection's number, 0 = none */
    int64_t number;
    sbx_str text;
} sbx_trace;

/* Times in milliseconds, sizes in bytes. Zero is the default everywhere;
   SBX_FOREVER switches a time limit off. */
typedef struct sbx_client_desc {
    const sbx_transport *transport; /* NULL = transport-less: the caller moves the bytes (see sbx_port_next) */
    const void *transport_config;   /* given to the transport's open; its own type */

    const char *endpoint;  /* full base URL, "https://api.smith.langchain.com/v2/sandboxes"; copied */
    const char *api_key;   /* copied, at most 511 bytes, wiped on close */
    const char *tenant_id; /* X-Tenant-Id of an organisation's key; NULL = not sent; copied */
    const char *user_agent; /* put before the library's own product token; copied */
    const sbx_header *headers; /* sent with every request, WebSocket upgrades included; copied */
    size_t headers_n;

    uint32_t max_ops;       /* operations at once: 64 */
    uint32_t max_links;     /* connections at once: 32 */
    uint32_t max_connects;  /* connections being made at once: 16 */
    uint32_t max_requests;  /* requests whose answer has not begun: 16 */
    uint32_t request_bytes; /* largest request without its bulk data: 4,096, at least 256 */
    uint32_t buffers;       /* receive and send buffers, shared by all: 4 of each, at least 2 */
    uint32_t rx_bytes;      /* a receive buffer: 16,384, at least 512 */
    uint32_t tx_bytes;      /* a send buffer: 4,096, at least 1,024 */
    uint32_t max_owned;     /* sandboxes with delete_on_close at once: 4 */

    int32_t timeout_ms;   /* one attempt at a request, to its answer's head, and any silence after it: 10,000 */
    int32_t total_ms;     /* a whole operation with its retries: no limit */
    int32_t connect_ms;   /* one connection, names and TLS included: 10,000 */
    int32_t idle_ms;      /* how long an idle connection is kept: 30,000; SBX_NONE = never */
    int32_t close_ms;     /* what sbx_close may spend on delete_on_close: 10,000 */
    int32_t max_retries;  /* repetitions after the first attempt: 3; SBX_NONE = none */
    uint32_t head_bytes;  /* cap on an answer's head: 65,536 */

    int32_t ws_open_ms;     /* one WebSocket upgrade: 30,000 */
    int32_t ws_connect_budget_ms; /* all attempts to open a command's stream: 120,000 */
    int32_t ws_ping_interval_ms;  /* 30,000 */
    int32_t ws_ping_ms;     /* wait for the pong: 60,000 */
    int32_t ws_close_ms;    /* wait for the peer's close: 10,000 */

    void *(*resize)(void *user, void *p, size_t n); /* allocator for results that ask for it (`alloc`): realloc's rules, n 0 frees; NULL = none */
    void *resize_user;
    void (*trace)(void *user, const sbx_trace *t);
    void *trace_user;
} sbx_client_desc;

/* Bytes of memory that sbx_client_init needs for this description; SIZE_MAX:
   it can never be met. */
SBX_API size_t sbx_client_size(const sbx_client_desc *desc);

/* Lays a client out in `mem` (any alignment, borrowed until sbx_close). Reads no
   environment and allocates nothing, now or later.
   Errors: SBX_ERR_ARGUMENT (err->field names the option), SBX_ERR_MEMORY
   (err->text says how many bytes are needed), SBX_ERR_ENTROPY, and what the
   transport's open says. `err` may be NULL. On failure *out is NULL. */
SBX_API sbx_code sbx_client_init(void *mem, size_t n, const sbx_client_desc *desc, sbx_client **out, sbx_error *err);

/* sbx_client_init in memory from malloc, with what the description leaves out
   taken from the environment: LANGSMITH_ENDPOINT, else LANGCHAIN_ENDPOINT,
   else https://api.smith.langchain.com (with /v2/sandboxes put behind);
   LANGSMITH_API_KEY, else LANGCHAIN_API_KEY; LANGSMITH_SANDBOX_WS_TIMEOUT_*
   (OPEN, PING_INTERVAL, PING, CLOSE, CONNECT_BUDGET; then LANGCHAIN_…) in
   seconds. Not there under SBX_NO_MALLOC. */
SBX_API sbx_code sbx_open(const sbx_client_desc *desc, sbx_client **out, sbx_error *err);

/* Deletes what delete_on_close owns (within close_ms; blocks only for that,
   and only when the transport can wait), closes every connection, wipes the
   keys and frees what sbx_open took. No event comes after it; open operations
   end unreported. NULL is allowed. */
SBX_API void sbx_close(sbx_client *c);

/* Replaces the API key for every request not yet written. Errors:
   SBX_ERR_ARGUMENT (empty, over 511 bytes, or not a legal header value). */
SBX_API sbx_code sbx_set_api_key(sbx_client *c, sbx_str key);

/* High-water marks and counters, for sizing. */
typedef struct sbx_usage {
    size_t memory;           /* bytes of client memory */
    uint32_t ops, ops_high;  /* operations now and at most */
    uint32_t links, links_high;
    uint32_t requests, requests_high;
    uint32_t rx_high, tx_high; /* buffers in use at most */
    uint32_t timers_high;
    uint64_t connects, reused; /* connections made; requests on a kept one */
    uint64_t retries, reconnects;
    uint64_t bytes_in, bytes_out;
} sbx_usage;
SBX_API void sbx_get_usage(const sbx_client *c, sbx_usage *out);

/* -------------------------------------------------------------- operations */

/* An operation: what every call returns. A call that is refused at once gives
   slot 0 with its code inside; await, next_of and error_of take it like any
   other, no event comes for it. Handles never come back to life: a slot's
   generation counts 32 bits. */
typedef struct sbx_op {
    uint32_t slot;
    uint32_t gen;
} sbx_op;

/* The part of its options that every call has; the first member of each
   options struct. */
typedef struct sbx_call {
    int32_t total_ms;   /* the whole operation; 0 = the client's */
    int32_t timeout_ms; /* one attempt; 0 = the client's or the call's own */
    int32_t max_retries; /* 0 = the client's, SBX_NONE = none */
    const sbx_header *headers; /* added, or in place of the client's; read during the call */
    size_t headers_n;
    sbx_str api_key;    /* instead of the client's; read during the call */
    void *user;         /* comes back in every event */
} sbx_call;

typedef enum sbx_event_kind {
    SBX_EV_NONE,
    SBX_EV_STARTED,     /* the command runs: pid */
    SBX_EV_STDOUT,      /* data, offset */
    SBX_EV_STDERR,
    SBX_EV_DATA,        /* file bytes: data, offset */
    SBX_EV_ITEM,        /* one item of a list: `item` */
    SBX_EV_GAP,         /* output was lost: stream, offset (where it begins), lost (bytes) */
    SBX_EV_RETRYING,    /* an attempt failed with `code`; the next comes in delay_ms */
    SBX_EV_RECONNECTED, /* the command's stream goes on after a drop */
    SBX_EV_WRITABLE,    /* sbx_push or sbx_input takes bytes again */
    SBX_EV_REWIND,      /* a pushed body must be sent again from its first byte, or cancelled */
    SBX_EV_END          /* the last one: code, exit_code; the handle is dead after it */
} sbx_event_kind;

typedef struct sbx_event {
    sbx_event_kind kind;
    sbx_op op;
    void *user;        /* sbx_call.user */
    sbx_str data;      /* borrowed until the next sbx_next…, sbx_await, sbx_step or sbx_wait */
    const void *item;  /* ITEM: sbx_box_info or sbx_match, by the call; borrowed alike */
    uint64_t offset;   /* of the first byte of data in its stream or file */
    uint64_t lost;     /* GAP */
    uint32_t delay_ms; /* RETRYING */
    uint32_t pid;      /* STARTED */
    int stream;        /* STDOUT, STDERR, GAP: 1 or 2 */
    int exit_code;     /* END of a command */
    sbx_code code;     /* END, RETRYING */
} sbx_event;

/* Runs an operation to its end and returns its code. Events of other
   operations are neither consumed nor lost; the operation's own output events
   are (it is for calls that collect). Needs a transport that can wait, else
   SBX_ERR_UNSUPPORTED. The handle is dead afterwards. */
SBX_API sbx_code sbx_await(sbx_client *c, sbx_op op);

/* Blocks for the operation's next event. True with *ev filled; false after its
   END was returned, or for a handle that is stale (a call refused at once gives
   one END event first). */
SBX_API bool sbx_next_of(sbx_client *c, sbx_op *op, sbx_event *ev);

/* The next event of any operation, without waiting; false = none now. */
SBX_API bool sbx_next(sbx_client *c, sbx_event *ev);

/* Moves everything that can move, without blocking. now_ms: a clock that never
   steps back, of the caller's choice, the same in every call. */
SBX_API void sbx_step(sbx_client *c, int64_t now_ms);

/* Blocks until something is ready, sbx_wake was called or timeout_ms passed
   (SBX_FOREVER: no limit), then steps by the transport's clock. False when
   the transport cannot wait. */
SBX_API bool sbx_wait(sbx_client *c, int64_t timeout_ms);

/* When the next sbx_step is due at the latest, on now_ms's clock; INT64_MAX =
   never; a time in the past = now (events or work wait). A pure query. */
SBX_API int64_t sbx_next_deadline(const sbx_client *c);

/* Ends a running sbx_wait, sbx_await or sbx_next_of's sleep early. The one
   call allowed from another thread, while the client lives. */
SBX_API void sbx_wake(sbx_client *c);

/* One handle for a foreign event loop that is readable whenever sbx_step has
   work (an epoll descriptor), -1 where the transport has none. */
SBX_API intptr_t sbx_poll_handle(const sbx_client *c);

/* Ends an operation with SBX_ERR_CANCELLED; its out-pointers are not written
   any more. A command that runs on the server goes on (sbx_kill ends it). END
   is still reported. SBX_ERR_HANDLE for a dead handle. */
SBX_API sbx_code sbx_cancel(sbx_client *c, sbx_op op);

/* The error of an operation: of one refused at once, of one whose END is the
   last event returned, or of the last that was awaited. Else code is SBX_OK. */
SBX_API void sbx_error_of(const sbx_client *c, sbx_op op, sbx_error *out);

/* Starts to shut down: every operation ends with SBX_ERR_CLOSED, new calls
   are refused, then the sandboxes of delete_on_close are deleted. Its END
   carries SBX_OK, or SBX_ERR_DEADLINE after `ms`, exit_code = sandboxes that
   remain. */
SBX_API sbx_op sbx_shutdown(sbx_client *c, int32_t ms);

/* The next bytes of a streamed upload (sbx_write with `stream`): takes what
   fits, *taken says how much (possibly 0: wait for SBX_EV_WRITABLE). `end`
   with everything taken ends the body. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE
   (not an upload, ended, or a rewind is due), SBX_ERR_ARGUMENT (more than
   the size that was announced, or end before it). */
SBX_API sbx_code sbx_push(sbx_client *c, sbx_op op, sbx_str data, bool end, size_t *taken);
/* The answer to SBX_EV_REWIND: the body will be pushed again from its start. */
SBX_API sbx_code sbx_rewind(sbx_client *c, sbx_op op);

/* Memory that a result with `alloc` was given. */
SBX_API void sbx_free(sbx_client *c, void *p);

/* ---------------------------------------------------------- transport-less */

/* With desc.transport NULL the program owns the connections. sbx_port_next
   lists what has to be done: each port is one connection, named by `id`. */
typedef enum sbx_port_action {
    SBX_PORT_CONNECT, /* connect to host:port (with TLS if tls), then sbx_port_opened */
    SBX_PORT_CLOSE    /* close it and forget the id */
} sbx_port_action;

typedef struct sbx_port {
    uint32_t id;
    sbx_port_action action;
    sbx_str host; /* borrowed until the next call */
    uint16_t port;
    bool tls;
} sbx_port;

/* The next action, false = none now. Call it after each step and event. */
SBX_API bool sbx_port_next(sbx_client *c, sbx_port *out);
SBX_API sbx_code sbx_port_opened(sbx_client *c, uint32_t id);
/* It could not be opened, or broke: SBX_ERR_RESOLVE, _CONNECT, _CONNECTION or _TLS. */
SBX_API sbx_code sbx_port_failed(sbx_client *c, uint32_t id, sbx_code code);
/* The peer ended its stream. */
SBX_API sbx_code sbx_port_eof(sbx_client *c, uint32_t id);
/* Bytes that arrived: returns how many were taken; keep the rest and give it
   again after the next event or step. */
SBX_API size_t sbx_port_recv(sbx_client *c, uint32_t id, const void *p, size_t n);
/* Bytes to be sent: fills p, returns their number, 0 = none. */
SBX_API size_t sbx_port_send(sbx_client *c, uint32_t id, void *p, size_t room);
/* A transport-less client has no randomness of its own: seed it before the
   first call with 32 strong random bytes, again to add more. wall_ms: Unix
   time in ms, 0 = not known. */
SBX_API sbx_code sbx_port_seed(sbx_client *c, const void *seed, size_t n, int64_t wall_ms);

SBX_EXTERN_C_END
#endif
