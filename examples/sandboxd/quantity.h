/* Amounts as templates and volumes write them: "500m", "512Mi", "10Gi". */
#ifndef SANDBOXD_QUANTITY_H
#define SANDBOXD_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes; false when the text is no amount above 0. */
bool quantity_bytes(const char *text, int64_t *out);
/* Thousandths of a processor: "500m", "2" or "0.5". */
bool quantity_millicores(const char *text, int64_t *out);

#endif
