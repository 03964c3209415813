/* The same without epoll. */
#define SBX_TUNNEL_POLL 1
#include "test_forward.c"
