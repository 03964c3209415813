#ifndef SANDBOXD_EXECUTE_H
#define SANDBOXD_EXECUTE_H

#include "http.h"

extern const struct route execute_routes[];

#endif
