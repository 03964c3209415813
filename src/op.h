/* ---- op: life of an operation: request, retry, back-off, errors (private) ---- */
#ifndef SBXI_OP_H
#define SBXI_OP_H
#include "api.h"
#include "base.h"
#include "langsmith.h"
#include "langsmith_snapshots.h"
#include "langsmith_urls.h"
#include "langsmith_legacy.h"
#include "link.h"
#include "model.h"
#include "pool.h"
#include "timer.h"

typedef struct sbxi_op sbxi_op;

/* ---- endpoints are data ---- */

typedef enum sbxi_base {
    SBXI_BASE_CONTROL, /* the client's endpoint */
    SBXI_BASE_ROOT,    /* the endpoint without the sandbox API's own path */
    SBXI_BASE_BOX,     /* the sandbox's data plane */
    /* Hosts that get neither key nor default headers: */
    SBXI_BASE_URL,     /* the origin is the segment, path and query the query */
    SBXI_BASE_SERVICE  /* the sbx_service in u.http.info; path and query are the query */
} sbxi_base;

typedef enum sbxi_retry {
    SBXI_RETRY_SAFE, /* repeating does no harm */
    SBXI_RETRY_ONCE  /* only while unsent, on 429, or on 503 without a typed body */
} sbxi_retry;

typedef enum sbxi_answer {
    SBXI_ANSWER_NONE,  /* the body is of no interest */
    SBXI_ANSWER_MODEL, /* one object */
    SBXI_ANSWER_LIST,  /* items, one by one */
    SBXI_ANSWER_FILE,  /* bytes */
    SBXI_ANSWER_STAT,  /* only its headers */
    SBXI_ANSWER_HTTP,  /* whatever it is: status, head, bytes */
    SBXI_ANSWER_STREAM, /* a WebSocket: row->stream goes on */
    SBXI_ANSWER_EVENTS  /* an event stream: row->stream reads the body */
} sbxi_answer;

/* Of an operation. */
#define SBXI_IS_HTTP(op) (!SBX_NO_URLS && (op)->row->answer == SBXI_ANSWER_HTTP)

/* What an answer means; the first that fits counts. */
typedef struct sbxi_rule {
    uint16_t status;  /* 0 = any */
    uint8_t code;     /* sbx_code */
    uint8_t resource; /* sbx_resource; NONE = the row's */
    const char *type; /* the body's error type; NULL = any */
} sbxi_rule;

typedef struct sbxi_rules {
    const sbxi_rule *rules;
    uint8_t count;
    const struct sbxi_rules *next; /* asked when none of these fits */
    void (*refine)(sbxi_op *op);   /* details that only the text tells */
} sbxi_rules;

typedef enum sbxi_run { SBXI_RUN_IDLE, SBXI_RUN_EVENT, SBXI_RUN_HELD, SBXI_RUN_STARVED } sbxi_run;

typedef struct sbxi_row {
    const char *operation;
    const char *method; /* "" = the block's command_id has it */
    const char *prefix, *suffix; /* around the encoded segment of the path */
    uint8_t base, retry, answer, resource;
    int32_t timeout_ms; /* 0 = the client's */
    const sbxi_model *model;
    const sbxi_rules *rules;
    /* A model is about to be decoded, or an event stream to be read.
       SBXI_ANSWER_HTTP: the head is complete. */
    void (*prepare)(sbx_client *c, sbxi_op *op);
    /* The answer is complete. True: the operation goes on (it has a new row
       or a time to wake at). NULL = it is done. */
    bool (*after)(sbx_client *c, sbxi_op *op);
    /* An item or object was decoded and may be finished by hand.
       SBXI_ANSWER_HTTP: a header came, `model` is its sbx_http1_event.
       SBXI_ANSWER_EVENTS: likewise; then, in a stream, a piece of output came,
       `model` is its sbx_json_tok, whose text becomes bytes in place. */
    void (*decoded)(sbx_client *c, sbxi_op *op, void *model);
    /* SBXI_ANSWER_STREAM: the upgrade is done; runs like sbxi_op_run.
       SBXI_ANSWER_HTTP: an attempt begins; may put another row first.
       SBXI_ANSWER_LIST: an item is complete (sbxi_op_item); named here so that
       a program without lists does not link it. */
    sbxi_run (*stream)(sbx_client *c, sbxi_op *op, sbx_event *ev);
    /* An attempt failed: the stream's own rules. True = it was dealt with. */
    bool (*failed)(sbx_client *c, sbxi_op *op);
    /* The operation is over, whatever its end: results are written here. */
    void (*finished)(sbx_client *c, sbxi_op *op);
} sbxi_row;

/* ---- a request and its answer ---- */

/* The longest command id. */
#define SBXI_ID_MAX 36

/* What a failing answer says. */
typedef struct sbxi_failure {
    char type[48], field[48], text[256];
    char error_id[40]; /* for the service's support; of a stream's message: the id that the server chose */
    bool cut, typed; /* typed: the server itself named a type */
} sbxi_failure;

/* What POST /execute answers. */
typedef struct sbxi_exec {
    sbxi_sink out, err;
    int exit_code;
} sbxi_exec;

/* A URL that the service hands out. The texts without bound lie behind the
   request. */
typedef struct sbxi_grant {
    sbxi_sink link, token;
    char url[512];
    int64_t expires_ms;
} sbxi_grant;

/* Around a list's items. */
typedef struct sbxi_page {
    char next_cursor[256];
    int64_t next_offset;
    bool truncated;
} sbxi_page;

#define SBXI_RECENT 32

/* A command whose SSH agent is the caller's: of the message that is read. */
#define SBXI_CHANNEL_MAX 63
typedef struct sbxi_agent {
    const struct sbxi_agent_calls *calls; /* NULL: the caller has none */
    uint8_t channel_n; /* SBXI_CHANNEL_MAX + 1: longer */
    char channel[SBXI_CHANNEL_MAX];
    uint32_t base64;   /* state of the text that is decoded */
} sbxi_agent;

/* Shared among operations whose answer has not ended: request bytes behind
   it, kept for repetition, and the answer while it is decoded. */
typedef struct sbxi_block {
    uint32_t at;   /* where its text begins behind the block */
    uint32_t seg_n, query_n, header_n, body_n; /* lengths of the parts of its text, in this order */
    uint32_t other[5]; /* the same of another request that this one needs, or follows (sbxi_op_other) */
    uint32_t seen; /* bytes of an error body */
    bool overflow;
    bool stat_known;
    uint8_t recent_at;
    char boundary[32]; /* of a multipart body; "" = none */
    char command_id[SBXI_ID_MAX + 1]; /* see sbxi_command.id; of an exchange the method, where the row has none */
    sbxi_dec dec;
    sbxi_failure failure;
    union {
        sbx_box_info box;
        sbx_match match;
        sbx_status_info status;
        sbx_file_stat stat;
        sbxi_exec exec;
        sbx_snapshot snapshot;
        sbx_snapshot_tag tag;
        sbx_registry registry;
        sbxi_grant grant;
#if !SBX_NO_LEGACY
        sbx_template old_template;
        sbx_volume old_volume;
        sbx_pool old_pool;
#endif
        sbx_shared_port port;
        sbxi_agent agent;
    } answer; /* of an item in lists: its id stands first */
    sbxi_page page;
    uint64_t recent[SBXI_RECENT]; /* hashes of the last items, to drop those that a shifting page repeats */
} sbxi_block;

/* ---- the operation ---- */

typedef enum sbxi_state {
    SBXI_OP_FREE,
    SBXI_OP_NEW,     /* deadlines are not set yet */
    SBXI_OP_START,   /* wants a connection */
    SBXI_OP_CONNECT,
    SBXI_OP_SEND,
    SBXI_OP_HEAD,
    SBXI_OP_BODY,
    SBXI_OP_STREAM,
    SBXI_OP_REWIND,  /* wants the caller to push the body again */
    SBXI_OP_PAUSE,   /* until wake_at: back-off or poll interval */
    SBXI_OP_DONE     /* END was not pulled yet */
} sbxi_state;

/* WebSocket close code 1001: reattach at once. */
#define SBXI_CLOSE_GOING_AWAY 1001

/* Lists that an operation can be in, one at a time. */
typedef enum sbxi_list_id { SBXI_LIST_NONE, SBXI_LIST_RUN, SBXI_LIST_EVENT, SBXI_LIST_LINK, SBXI_LIST_STARVED, SBXI_LIST_COUNT } sbxi_list_id;

/* Events that wait to be pulled. */
enum { SBXI_NOTE_RETRYING = 1, SBXI_NOTE_WRITABLE = 2, SBXI_NOTE_REWIND = 4, SBXI_NOTE_RECONNECTED = 8, SBXI_NOTE_STARTED = 16, SBXI_NOTE_GAP = 32, SBXI_NOTE_HEAD = 64 };

enum {
    SBXI_OP_STREAMING = 1,  /* its output is pulled by the caller */
    SBXI_OP_SENT = 2,       /* some of this attempt's request went out */
    SBXI_OP_EVER_SENT = 4,  /* of any attempt's */
    SBXI_OP_DRAIN = 8,      /* the rest of the answer is only counted */
    SBXI_OP_INTERNAL = SBX_NO_OWNED ? 0 : 16, /* the client's own; no event is reported */
    SBXI_OP_PUSH_END = 32,  /* the caller pushed the last byte */
    SBXI_OP_WANTS_ROOM = 64, /* a call that sends took less than it was given: WRITABLE is due */
    SBXI_OP_FAILING = 128,  /* the answer's body is an error */
    SBXI_OP_ACCEPTED = 256, /* the upgrade's answer fits its key */
    SBXI_OP_PING_DUE = 512,
    SBXI_OP_ALLOC = SBX_NO_ALLOC ? 0 : 1024, /* results lie in the allocator's memory */
    SBXI_OP_LIVE = 2048,    /* a stream under way: only silence ends it */
    SBXI_OP_HOLDS = 4096,   /* something that only its end gives back */
    SBXI_OP_AS = 8192       /* from this bit on: the function called (sbxi_as) */
};

/* The compact error; texts are static, the server's own lie in the block. */
typedef struct sbxi_fail {
    uint8_t code, layer, resource, quota;
    uint16_t status;
    bool has_text;  /* block->failure counts */
    bool permanent; /* as the transport says: repeating cannot help */
    int32_t sys;
    int32_t retry_after_s; /* -1 = none */
    const char *text;
} sbxi_fail;

typedef struct sbxi_http {
    void *out, *info;
    sbxi_sink sink;     /* file bytes, items, a command's stdout */
    sbxi_sink err;      /* a command's stderr; an answer's head */
    sbx_buf raw;        /* the answer's text */
    size_t raw_total;
    size_t *raw_n;
    uint64_t total;     /* bytes or items that came */
    uint64_t cursor;    /* list: hash of the last page's cursor; SBXI_ANSWER_HTTP: its status */
    const char *data;   /* upload: the caller's bytes */
    uint64_t size;      /* upload: bytes of the file, UINT64_MAX = not known; read: of the file; list: items before the last page */
    uint64_t pos;       /* upload: bytes pushed; read: first byte asked for */
    uint64_t want;      /* read: bytes asked for, 0 = all; list: pages before */
    int64_t until;      /* polling ends; a token: the answer's Date; SBXI_ANSWER_HTTP: its length, -1 = not said */
    int32_t poll_ms;    /* SBXI_ANSWER_HTTP: the silence that its body may have; list: pages in a row without a new item */
    uint8_t step;       /* upload: the part that is sent; list: options */
    bool chunked : 1, resume : 1, from_end : 1, bad_range : 1, if_range : 1, not_modified : 1, one_page : 1, unique : 1, executed : 1;
    bool dated : 1;     /* of a model, the Date is wanted */
    bool pushed : 1;    /* the body comes by sbx_push */
    bool safe : 1, renew : 1, renewed : 1; /* request to a service: it may be repeated; its token is, or was, replaced */
    uint64_t skip;      /* read: bytes to drop, where the server ignored the range; list: like cursor, of an older page */
} sbxi_http;

/* What a command's stream is about. */
typedef struct sbxi_phase {
    uint8_t part_n, want, drops;
    unsigned field : 6;
    unsigned loose : 2; /* bit i: of stream i, some of `since` was delivered, or `skip` counts it */
    unsigned type : 4, phase : 2, gap_stream : 2;
    bool whole : 1, has_offset : 1, placed : 1, assuming : 1, replaced : 1, same : 1, in_message : 1, message_done : 1;
    bool has_data : 1, named : 1, killing : 1, killed : 1, no_reconnect : 1, attach : 1, lost : 1, started : 1;
    bool reattached : 1, hello_begun : 1, hasty : 1;
    bool says_upgrade : 1, says_connection : 1; /* the handshake's answer */
    bool acked : 1;  /* SSE: the server waits for an acknowledgement, and its answer ends */
    bool stuck : 1;  /* tunnel: what came waits for the peer to take something, not for the caller */
} sbxi_phase;

/* A command's output stream. `base` is an offset that the server named, `since`
   the decoded bytes seen behind it: more than 0 only after a replacement
   character, which may stand for fewer raw bytes. Then only `base` can be
   asked for again, and `skip` decoded bytes are dropped. Of what the server
   repeats unasked, `skip` counts raw bytes, and the next offset that it names
   says how many of them a replaced text was. */
typedef struct sbxi_out {
    uint64_t base;
    uint32_t since, skip;
} sbxi_out;

typedef struct sbxi_command {
    unsigned char id[16]; /* a UUID; any other id lies in the block, which is kept for it (`named`) */
    sbxi_out stream[2];
    sbxi_sink sink[2];   /* sbx_run */
    sbx_result *result;
    uint64_t offset;     /* of the message being read, where it named one */
    uint64_t assumed;    /* and where it did not when its data came; a gap lies between the two. Before the first
                            message: when the connect budget ends */
    sbx_json json;
    uint32_t pid;
    uint16_t cols, rows;
    union {
        char part[24];   /* a key or short value cut by the end of input; the handshake's nonce before */
        struct {
            char *data;  /* output that is decoded and not delivered */
            uint32_t data_n;
            uint32_t base64; /* SSE: state of the text that is decoded */
        } out;
    } held;
} sbxi_command;

/* A tunnel, or one of its connections. */
typedef struct sbxi_session sbxi_session;
typedef struct sbxi_tunnel {
    sbxi_session *session; /* NULL: the tunnel has ended */
    uint64_t total;        /* bytes given out */
    uint32_t slot;         /* of a connection: which of the session's */
    uint32_t carrier;      /* of a connection: its tunnel's operation */
} sbxi_tunnel;

/* What is used most stands first: offsets below 32 and 128 take shorter
   instructions on small machines. */
struct sbxi_op {
    uint8_t list, state, notes;
    uint8_t attempts, max_retries;
    uint8_t retry_code;
    uint16_t flags;
    sbxi_phase s;      /* of a command */
    sbxi_fail fail;
    sbxi_node node;
    uint32_t gen;
    uint32_t link; /* index, SBXI_NIL = none */
    const sbxi_row *row;
    const sbx_box *box;
    void *user;
    sbxi_block *block;
    char *piece;      /* bytes of the answer in the receive buffer, not read yet */
    int64_t total_at, attempt_at, wake_at;
    uint32_t piece_n;
    int32_t timeout_ms;
    uint32_t delay_ms;
    int32_t exit_code; /* of END: a command's, or the sandboxes that a shutdown left */
    union {
        sbxi_http http;
        sbxi_command command;
        sbxi_tunnel tunnel;
    } u;
};

/* A sandbox that delete_on_close owns. */
typedef struct sbxi_owned {
    char name[128];
    uint8_t state; /* 0 = free */
    bool failed;   /* to be deleted */
    uint32_t op;   /* its create or delete, SBXI_NIL = none */
} sbxi_owned;

struct sbx_client {
    sbxi_net net;
    sbx_client_desc desc;
    sbxi_op *ops;
    sbxi_list lists[SBXI_LIST_COUNT];
    uint32_t free_head; /* free operations, chained by node.next */
    uint32_t ops_used;   /* the last one is left to sbx_shutdown's deletions */
    sbxi_pool blocks;
    sbxi_timers timers;
    sbxi_owned *owned;
    char *endpoint;
    sbxi_url base;
    char *headers;      /* the client's own, as lines */
    size_t headers_n;
    char *agent;
    char key[512];
    size_t key_n;
    uint32_t borrowed;  /* operation whose event's data is out, SBXI_NIL = none */
    uint32_t blocked;   /* operation that the caller waits for, SBXI_NIL = none */
    bool closing;
    bool from_malloc;
    uint32_t shutdown;  /* operation of sbx_shutdown, SBXI_NIL = none */
    sbx_op last_op;
    sbx_error last;     /* of last_op */
    sbx_error refused;  /* of the last call that was refused at once */
    size_t memory;
    void *mem;          /* as it was given */
    uint32_t turn_events;
};

/* ---- starting ---- */

/* The public function that was called, where its row has another's name or
   does not stay. */
typedef enum sbxi_as { SBXI_AS_ROW, SBXI_AS_RUN, SBXI_AS_ATTACH, SBXI_AS_LS, SBXI_AS_UPDATE, SBXI_AS_WAIT_READY, SBXI_AS_START } sbxi_as;
/* As errors call it. */
SBXI_FN const char *sbxi_op_name(const sbxi_op *op);

/* A new operation with a block, or NULL: *refused is what the call returns. */
SBXI_FN sbxi_op *sbxi_op_new(sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as, sbx_op *refused);
/* An error of the caller's: what was refused, and why. */
SBXI_FN void sbxi_error_local(sbx_error *e, sbx_code code, const char *operation, const char *field, const char *text);
/* Refuses: frees the operation and notes the error. */
SBXI_FN sbx_op sbxi_op_refuse(sbx_client *c, sbxi_op *op, sbx_code code, const char *operation, const char *field, const char *text);
/* Makes it run. */
SBXI_FN sbx_op sbxi_op_start(sbx_client *c, sbxi_op *op);
SBXI_FN sbx_op sbxi_op_handle(const sbx_client *c, const sbxi_op *op);
SBXI_FN sbxi_op *sbxi_op_get(const sbx_client *c, sbx_op h);
SBXI_FN SBXI_ONCE uint32_t sbxi_op_id(const sbx_client *c, const sbxi_op *op);
SBXI_FN sbxi_link *sbxi_op_link(sbx_client *c, const sbxi_op *op);
/* Where its requests go; false: the sandbox's URL is none. */
SBXI_FN SBXI_ONCE bool sbxi_op_url(const sbx_client *c, const sbxi_op *op, sbxi_url *url);
/* Tells the trace hook of its link's status, its repetition or its end. */
SBXI_FN SBXI_ONCE void sbxi_trace_op(sbx_client *c, const sbxi_op *op, sbx_trace_kind kind, uint32_t number);

/* Whether its body is sent part by part, from the caller's bytes. */
SBXI_FN bool sbxi_is_upload(const sbxi_op *op);

SBXI_FN char *sbxi_block_text(const sbxi_block *b);
/* Goes over to the block's other request; at first that is an empty one behind
   the first. */
SBXI_FN void sbxi_op_other(sbxi_op *op);
SBXI_FN sbxi_block *sbxi_op_block(sbx_client *c); /* a clean one, or NULL */
SBXI_FN void sbxi_op_drop_block(sbx_client *c, sbxi_op *op);
/* Puts the segment, query or body into the block, in this order. */
SBXI_FN bool sbxi_op_segment(sbx_client *c, sbxi_op *op, sbx_str seg);
/* Another segment in place of it. Query and body go, without a trace: they may
   hold a secret. False: it does not fit. */
SBXI_FN bool sbxi_op_resegment(sbx_client *c, sbxi_op *op, sbx_str seg);
SBXI_FN char *sbxi_op_room(sbx_client *c, sbxi_op *op, size_t *room);
/* The headers of a call, behind segment and query. */
SBXI_FN const char *sbxi_header_lines(char *p, size_t cap, size_t *n, const sbx_header *h, size_t count);
SBXI_FN const char *sbxi_op_headers(sbx_client *c, sbxi_op *op, const sbx_call *call, const char **why);

/* A command whose output comes as an event stream. */
SBXI_INLINE bool sbxi_op_is_sse(const sbxi_op *op)
{
    return !SBX_NO_SSE && op->row->answer == SBXI_ANSWER_EVENTS;
}
/* Such a stream goes on with a request that is made anew each time, in at most
   SBXI_RESUME_MAX bytes: its length. Set by the service's part. */
#define SBXI_RESUME_MAX 192
SBXI_FN size_t sbxi_resume_body(const sbxi_op *op, char *to);

/* ---- running ---- */

SBXI_FN void sbxi_op_list(sbx_client *c, sbxi_op *op, sbxi_list_id list);
/* Something happened: it has to run. */
SBXI_FN void sbxi_op_wake(sbx_client *c, sbxi_op *op);
/* Sets its timer by the earliest of its times. */
SBXI_FN void sbxi_op_arm(sbx_client *c, sbxi_op *op);
/* Its attempt may take ms from now on. */
SBXI_FN void sbxi_op_allow(sbx_client *c, sbxi_op *op, int32_t ms);
SBXI_FN sbxi_run sbxi_op_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
SBXI_FN void sbxi_op_timer(sbx_client *c, sbxi_op *op);
/* Composes the request's head (and small body) into the send buffer. */
SBXI_FN bool sbxi_op_compose(sbx_client *c, sbxi_op *op);
SBXI_FN SBXI_ONCE bool sbxi_header_is(const sbx_http1_event *e, const char *name); /* in small letters */
SBXI_FN sbxi_run sbxi_op_item(sbx_client *c, sbxi_op *op, sbx_event *ev);
SBXI_FN sbxi_run sbxi_op_exchange(sbx_client *c, sbxi_op *op, sbx_event *ev);

/* ---- ending ---- */

SBXI_FN void sbxi_op_release_link(sbx_client *c, sbxi_op *op, bool keep);
SBXI_FN void sbxi_op_finish(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_op_fail(sbx_client *c, sbxi_op *op, sbx_code code, sbx_layer layer, const char *text);
SBXI_FN void sbxi_op_set_fail(sbxi_op *op, sbx_code code, sbx_layer layer, const char *text);
/* The attempt's error is set: repeats it or ends the operation. */
SBXI_FN void sbxi_op_attempt_failed(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_op_net_failed(sbx_client *c, sbxi_op *op, sbxi_got got);
/* Repeats after delay_ms; false when the total deadline comes first. */
SBXI_FN bool sbxi_op_again(sbx_client *c, sbxi_op *op, uint32_t delay_ms);
SBXI_FN void sbxi_op_free(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_event_init(sbx_client *c, const sbxi_op *op, sbx_event *ev, sbx_event_kind kind);
SBXI_FN uint32_t sbxi_backoff(sbx_client *c, unsigned n, uint32_t first_ms, uint32_t cap_ms);

/* How a failing answer's body reads; set by the service's part. */
SBX_EXTERN_C_BEGIN
extern const sbxi_model sbxi_failure_model;
SBX_EXTERN_C_END
/* The row that deletes a sandbox the client owns; set by the service's part. */
SBXI_FN void sbxi_owned_run(sbx_client *c);

#endif
