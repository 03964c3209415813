/* A peer (peer.h) that is spoken to by TLS where E2E_TRANSPORT is a transport
   with TLS: a process in front of it ends the TLS, as a proxy would, by the
   certificate that SANDBOXD_CERT and SANDBOXD_KEY name. What the peer does to
   its connection, the front does to the client's: bytes, an end (with
   close_notify), a reset. */
#ifndef E2E_FRONT_H
#define E2E_FRONT_H
#include "peer.h"

peer front_start(peer_act act, void *arg);
void front_stop(peer *p);
#endif
