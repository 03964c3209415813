/* UTF-8, and turning arbitrary output bytes into the inside of a JSON string. */
#ifndef SANDBOXD_TEXT_H
#define SANDBOXD_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

bool text_is_utf8(const char *in, size_t n);

/* The most bytes that json_escape writes for n input bytes. */
#define JSON_ESCAPE_MAX(n) (6 * (n) + 8)

/* Escapes in[0..n) into out and returns the bytes written. Ill-formed UTF-8
 * becomes U+FFFD, one for each maximal ill-formed part. Unless `last`, a
 * character that is cut at the end is left out; *used says how far it came. */
size_t json_escape(char *out, const char *in, size_t n, bool last, size_t *used);

/* Appends a complete JSON string with its quotes. */
void buf_add_json(struct buf *b, const char *s, size_t n);

#endif
