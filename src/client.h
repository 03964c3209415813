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

/* ---- transport-less: a transport whose bytes the caller moves ---- */
#if SBX_NO_PORTS
#define SBXI_PORTS NULL
#define SBXI_IS_PORTS(t) false
#else
SBX_EXTERN_C_BEGIN
extern const sbx_transport sbxi_ports;
SBX_EXTERN_C_END
#define SBXI_PORTS (&sbxi_ports)
#define SBXI_IS_PORTS(t) ((t) == &sbxi_ports)
#endif

#endif
