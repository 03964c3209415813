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
#if !SBX_NO_SSH_AGENT
/* Messages of an SSH agent's channel; types behind the stream's own. */
enum { SBXI_T_AGENT_DATA = 14, SBXI_T_AGENT_CLOSE };
SBXI_FN bool sbxi_agent_on(const sbxi_op *op);
/* A message begins. */
SBXI_FN void sbxi_agent_begin(sbxi_op *op);
/* 0: none of ours, or the caller has no agent. */
SBXI_FN uint8_t sbxi_agent_type(const sbxi_op *op, const char *p, size_t n);
SBXI_FN void sbxi_agent_channel(sbxi_op *op, const sbx_json_tok *t);
/* A piece of `data` of a message that is not whole, decoded in place; false: it
   ends the operation. */
SBXI_FN bool sbxi_agent_piece(sbx_client *c, sbxi_op *op, char *p, size_t *n, bool last);
/* The message is complete. */
SBXI_FN void sbxi_agent_end(sbx_client *c, sbxi_op *op);
SBXI_FN sbxi_run sbxi_agent_deliver(sbx_client *c, sbxi_op *op, sbx_event *ev, const char *p, uint32_t n);
#else
#define sbxi_agent_on(op) false
#endif

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

#if !SBX_NO_SSE
/* An attempt failed: how the next one begins. True: it begins at once. */
SBXI_FN bool sbxi_sse_failed(sbx_client *c, sbxi_op *op);
/* The server does not know a command whose start it may never have seen. */
SBXI_FN bool sbxi_sse_lost(const sbxi_op *op);
#else
#define sbxi_sse_failed(c, op) false
#define sbxi_sse_lost(op) false
#endif

#endif
