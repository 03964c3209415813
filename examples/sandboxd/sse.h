#ifndef SANDBOXD_SSE_H
#define SANDBOXD_SSE_H

#include "http.h"

extern const struct route sse_routes[];

/* Tells all that follow a command this way that the server goes away. */
void sse_shutdown(void);

#endif
