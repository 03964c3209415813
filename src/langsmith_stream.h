/* ---- stream: a command's WebSocket, phase by phase (private) ---- */
#ifndef SBXI_STREAM_H
#define SBXI_STREAM_H
#include "service.h"

enum { SBXI_PHASE_HELLO, SBXI_PHASE_STARTING, SBXI_PHASE_RUNNING, SBXI_PHASE_EXITED };
/* What the caller asked for and the server was not told yet; STDIN stays, for
   it is told again after every reattach. */
enum { SBXI_WANT_KILL = 1, SBXI_WANT_CLOSE_STDIN = 2, SBXI_WANT_RESIZE = 4, SBXI_STDIN_CLOSED = 8 };

/* What a message is about; of an event stream, what an event is called. */
enum { SBXI_T_NONE, SBXI_T_STDOUT, SBXI_T_STDERR, SBXI_T_STARTED, SBXI_T_EXIT, SBXI_T_ERROR, SBXI_T_ACK, SBXI_T_OTHER, SBXI_T_SHUTDOWN };

SBXI_FN uint8_t sbxi_message_type(const char *p, size_t n);
/* A short value or a key, put together when the input cut it. NULL: more has
   to come, or it is longer than anything that we know. */
SBXI_FN const char *sbxi_message_part(sbxi_op *op, const sbx_json_tok *t, size_t *n);
/* A message in JSON: begins (whole: all of it lies in the input), goes on to
   the input's end unless something has to be pulled first, and is complete. */
SBXI_FN void sbxi_message_begin(sbxi_op *op, bool whole);
SBXI_FN sbxi_run sbxi_message_read(sbx_client *c, sbxi_op *op, sbx_event *ev, char **at, char *end);
SBXI_FN SBXI_ONCE sbxi_run sbxi_message_end(sbx_client *c, sbxi_op *op);
/* Output that was read and not delivered yet. */
SBXI_FN sbxi_run sbxi_stream_pending(sbx_client *c, sbxi_op *op, sbx_event *ev);
/* Messages of an SSH agent's channel; types behind the stream's own. */
enum { SBXI_T_AGENT_DATA = 14, SBXI_T_AGENT_CLOSE };
/* What is done about them, reached by the operation that has an agent: only
   sbx_command links it. */
typedef struct sbxi_agent_calls {
    /* 0: none of ours. */
    uint8_t (*type)(const char *p, size_t n);
    void (*channel)(sbxi_agent *a, const sbx_json_tok *t);
    /* A piece of `data` of a message that is not whole, decoded in place; false:
       it ends the operation. */
    bool (*piece)(sbx_client *c, sbxi_op *op, char *p, size_t *n, bool last);
    /* The message is complete. */
    void (*end)(sbx_client *c, sbxi_op *op);
    sbxi_run (*deliver)(sbx_client *c, sbxi_op *op, sbx_event *ev, const char *p, uint32_t n);
} sbxi_agent_calls;
#if !SBX_NO_SSH_AGENT
SBX_EXTERN_C_BEGIN
extern const sbxi_agent_calls sbxi_agent_all;
SBX_EXTERN_C_END
#endif
/* NULL: the caller has none. */
SBXI_INLINE sbxi_agent *sbxi_agent_of(const sbxi_op *op)
{
    return !SBX_NO_SSH_AGENT && op->block && op->block->answer.agent.calls ? &op->block->answer.agent : NULL;
}

/* A piece of a message came; it is read by sbxi_stream_read. */
SBXI_FN void sbxi_stream_piece(sbxi_op *op, const sbx_ws_event *e);
SBXI_FN sbxi_run sbxi_stream_read(sbx_client *c, sbxi_op *op, sbx_event *ev);
/* Whether a command id can be told back as it is, without escaping. */
SBXI_FN bool sbxi_id_ok(sbx_str id);
/* The command's id as text; "" when it is not known any more. */
SBXI_FN void sbxi_id_get(const sbxi_op *op, char out[SBXI_ID_MAX + 1]);
/* The server chooses it and did not say it yet. */
SBXI_FN bool sbxi_id_unknown(const sbxi_op *op);
/* Takes an id of at most SBXI_ID_MAX characters; needs the operation's block. */
SBXI_FN void sbxi_id_set(sbxi_op *op, sbx_str id);
/* The server acknowledged the command (again). */
SBXI_FN void sbxi_stream_started(sbx_client *c, sbxi_op *op);
/* Whether to open the stream again can help. */
SBXI_FN SBXI_ONCE bool sbxi_stream_transient(const sbxi_fail *f);
SBXI_FN void sbxi_stream_protocol_error(sbx_client *c, sbxi_op *op, const char *text);
/* A stream that broke: its drop is treated as any failed attempt. */
SBXI_FN void sbxi_stream_dropped(sbx_client *c, sbxi_op *op, sbxi_got got);
/* Back to where the next connection begins. */
SBXI_FN void sbxi_stream_reset(sbxi_op *op);
/* Hooks of a command's rows. */
SBXI_FN bool sbxi_stream_failed(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_stream_finished(sbx_client *c, sbxi_op *op);

/* The server does not know a command whose start it may never have seen. */
SBXI_INLINE bool sbxi_sse_lost(const sbxi_op *op)
{
    return sbxi_op_is_sse(op) && !op->s.started && !op->s.attach;
}

/* ---- ways to run a command ---- */

/* Options that not every way has, in the order in which they are refused. */
enum {
    SBXI_HAS_PTY = 1, SBXI_HAS_AGENT = 2, SBXI_HAS_INPUT = 4, SBXI_HAS_ID = 8, SBXI_HAS_KILL = 16, SBXI_HAS_IDLE = 32, SBXI_HAS_TTL = 64,
    SBXI_HAS_NO_ID = 128, SBXI_HAS_DATA = 256, SBXI_HAS_ARGV = 512
};

struct sbxi_via {
    const sbxi_row *row, *attach; /* of a command, and of one that runs already; NULL: not to be had */
    const sbxi_schema *schema;
    const sbxi_schema *more;      /* NULL: no more */
    /* All of sbx_run; NULL: by `row`. */
    sbx_op (*run)(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *o, sbx_result *out);
    uint16_t refuses;             /* SBXI_HAS_… */
    uint8_t code;                 /* what is wrong where there is no row, */
    const char *lacks;            /* and how it is put */
    const char *why;              /* of the options that it refuses */
};

/* The first option that is not allowed, with *why; NULL: none. */
SBXI_FN const char *sbxi_run_bad(const struct sbxi_via *via, const sbx_run_opts *o, sbx_str command, const char **why);
/* The request's body. */
SBXI_FN void sbxi_run_json(sbxi_build *b, const struct sbxi_via *via, sbx_str command, const sbx_run_opts *o);
/* Where the output of sbx_run is collected; false: refused. */
SBXI_FN bool sbxi_run_sinks(sbxi_build *b, const sbx_run_opts *o, sbxi_sink *out, sbxi_sink *err);
/* What was collected, into the result (with `write`), or back to the allocator. */
SBXI_FN void sbxi_result_write(sbx_client *c, const sbxi_op *op, sbx_result *r, const sbxi_sink *sinks, bool write);

#endif
