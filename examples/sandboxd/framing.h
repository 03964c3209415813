/* Where the body of an HTTP/1 message ends, told from bytes as they pass by. */
#ifndef SANDBOXD_FRAMING_H
#define SANDBOXD_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct framing {
	enum { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_TO_EOF } kind;
	enum { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, TRAILER_START, TRAILER } state;
	uint64_t left; /* of the body, or of the chunk */
	bool done;
};

/* How many of the n bytes belong to the body; sets done behind the last one. */
size_t framing_take(struct framing *f, const char *p, size_t n);

#endif
