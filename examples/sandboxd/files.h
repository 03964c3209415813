#ifndef SANDBOXD_FILES_H
#define SANDBOXD_FILES_H

#include "http.h"

extern const struct route upload_routes[];
extern const struct route download_routes[];
extern const struct route search_routes[];

/* Answers with a file, or a part of it, as the request's headers ask. Takes over
 * path. type NULL: by the name; disposition NULL: no such header. */
void file_send(struct req *r, struct box *b, char *path, const char *type, const char *disposition);
/* Answers with the HTTP error for a failed file operation; type is ReadError or WriteError. */
void file_error(struct req *r, const char *type, const char *path, int err);
/* The path argument; answers 422 and returns NULL when it is missing or not usable. To be freed. */
char *file_path(struct req *r);

#endif
