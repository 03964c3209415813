/* Faults on demand (--fault), so that clients can be tested against them. */
#ifndef SANDBOXD_FAULT_H
#define SANDBOXD_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "http.h"

/* Reads one --fault value; false with a reason. */
bool fault_add(const char *spec, char **why);
/* Answers the request when a fault is due for it. */
bool fault_http(struct req *r);

struct fault_ws {
	uint64_t after; /* bytes sent before it happens; 0: never */
	int code;	/* close code, 0: abrupt */
};
/* What a new WebSocket gets. */
struct fault_ws fault_websocket(const char *path);

#endif
