/* ---- client: memory layout, turns, lists of ready operations (private) ---- */
#ifndef SBXI_CLIENT_H
#define SBXI_CLIENT_H
#include "op.h"

/* Runs what can run: transport, timers, operations. Waits for up to
   timeout_ms first. */
SBXI_FN void sbxi_client_turn(sbx_client *c, int64_t timeout_ms);
/* The next event of one operation, or (NULL) of any, without waiting. */
SBXI_FN bool sbxi_client_pull(sbx_client *c, sbxi_op *only, sbx_event *ev);
/* Time by the transport's clock. */
SBXI_FN void sbxi_client_clock(sbx_client *c);
SBXI_FN void sbxi_heap_free(void *p);

/* The bytes are moved by the caller: nothing is tried unasked. */
#define SBXI_IS_PORTS(t) (!SBX_NO_PORTS && ((t)->flags & SBX_TRANSPORT_PORTS))

#endif
