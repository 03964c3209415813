#ifndef SANDBOXD_BOXES_H
#define SANDBOXD_BOXES_H

#include "http.h"

extern const struct route boxes_routes[];

#endif
