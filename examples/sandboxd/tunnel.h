#ifndef SANDBOXD_TUNNEL_H
#define SANDBOXD_TUNNEL_H

#include "http.h"

extern const struct route tunnel_routes[];

/* Tells all peers that no more streams are taken. */
void tunnel_shutdown(void);

#endif
