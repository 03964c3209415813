/* What the WebSocket handshake needs. */
#ifndef SANDBOXD_SHA1_H
#define SANDBOXD_SHA1_H

#include <stddef.h>

void sha1(const void *data, size_t n, unsigned char out[20]);
/* out: 4 * ((n + 2) / 3) + 1 bytes */
void base64(const unsigned char *p, size_t n, char *out);

#endif
