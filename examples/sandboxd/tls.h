/* TLS in front: a haproxy of the server's own. */
#ifndef SANDBOXD_TLS_H
#define SANDBOXD_TLS_H

#include <stdbool.h>

/* Serves TLS on a listening socket, by server.tls_cert and server.tls_key, and
 * passes what it decrypts to 127.0.0.1:port. False with a reason. */
bool tls_start(int listener, unsigned port, char **why);
/* Ends it once what is on its way was delivered, or after a while. */
void tls_stop(void);

#endif
