#ifndef SANDBOXD_STREAM_H
#define SANDBOXD_STREAM_H

#include "http.h"

extern const struct route stream_routes[];

#endif
