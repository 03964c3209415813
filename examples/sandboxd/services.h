/* Ports of a sandbox that are shared by URL: who may use them, and the URLs. */
#ifndef SANDBOXD_SERVICES_H
#define SANDBOXD_SERVICES_H

#include "box.h"
#include "http.h"

extern const struct route services_routes[];

#define SERVICE_TOKEN_HEADER "X-Langsmith-Sandbox-Service-Token"

/* The cookie that a browser gets for a token: its name for a port. */
void service_cookie(unsigned port, char name[40]);
/* Whether a request to the service at this port may pass; else it was answered
 * with 401. *by_key: what let it pass is the API key. */
bool service_admits(struct req *r, const struct box *b, unsigned port, bool *by_key);
/* A port number from a path segment, 0 when it is none. */
unsigned service_port(const char *text);

#endif
