/* Tokens that carry what they are for, signed with a key of the state directory. */
#ifndef SANDBOXD_TOKEN_H
#define SANDBOXD_TOKEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Reads or makes the key; false with a reason. */
bool token_open(char **why);

/* A token for a purpose, URL-safe. Takes over claims; expires_ms 0: never. To be freed. */
char *token_make(const char *purpose, json_t *claims, int64_t expires_ms);

/* The claims of a token made for that purpose, NULL when it is none; *expired
 * when it once was. */
json_t *token_read(const char *purpose, const char *token, bool *expired);

#endif
