#ifndef SANDBOXD_PROXY_H
#define SANDBOXD_PROXY_H

#include "http.h"

extern const struct route proxy_routes[];

#endif
