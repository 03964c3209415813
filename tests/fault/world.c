/* The simulated world of tests/sim, for this suite's programs. */
#include "../sim/impl.c"

#include "../sim/peer.c"
#include "../sim/peer_http.c"
#include "../sim/peer_sse.c"
#include "../sim/peer_command.c"
#include "../sim/peer_tunnel.c"
