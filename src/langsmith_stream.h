/* ---- stream: a command's WebSocket, phase by phase (private) ---- */
#ifndef SBXI_STREAM_H
#define SBXI_STREAM_H
#include "service.h"

enum { SBXI_PHASE_HELLO, SBXI_PHASE_STARTING, SBXI_PHASE_RUNNING, SBXI_PHASE_EXITED };
/* What the caller asked for and the server was not told yet; STDIN stays, for
   it is told again after every reattach. */
enum { SBXI_WANT_KILL = 1, SBXI_WANT_CLOSE_STDIN = 2, SBXI_WANT_RESIZE = 4, SBXI_STDIN_CLOSED = 8 };

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

#endif
