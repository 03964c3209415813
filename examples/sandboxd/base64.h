/* base64, RFC 4648, into growing buffers. */
#ifndef SANDBOXD_BASE64_H
#define SANDBOXD_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

void buf_add_base64(struct buf *b, const void *p, size_t n);
/* The URL-safe alphabet, without padding. */
void buf_add_base64url(struct buf *b, const void *p, size_t n);
/* Takes both alphabets, with or without padding; false for anything else. */
bool base64_decode(const char *text, size_t n, struct buf *out);

#endif
