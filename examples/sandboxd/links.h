#ifndef SANDBOXD_LINKS_H
#define SANDBOXD_LINKS_H

#include "http.h"

extern const struct route links_routes[];

#endif
