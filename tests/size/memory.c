/* Client memory by what it is for: each array is as large as one of the thing.
   Only compiled; size.py reads the sizes from the object. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#if !SBX_FREESTANDING
#include "transports/sandbox_posix.h"
#define TRANSPORT_CONNECTION SBX_TRANSPORT_ALIGN(sizeof(sbxi_posix_conn))
#else
#define TRANSPORT_CONNECTION 16 /* a board's own: say, 16 bytes */
#endif

char memory_client[sizeof(sbx_client)];
char memory_operation[sizeof(sbxi_op) + SBXI_TIMER_BYTES];
char memory_connection[sizeof(sbxi_link)];
char memory_transport[TRANSPORT_CONNECTION];
char memory_request[sizeof(sbxi_block)];
char memory_owned[sizeof(sbxi_owned)];
