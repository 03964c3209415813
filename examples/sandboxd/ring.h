/* The last bytes of a stream, addressed by their offset in it. Grows up to max. */
#ifndef SANDBOXD_RING_H
#define SANDBOXD_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ring {
	char *p;
	size_t cap, max;
	uint64_t start, end; /* what is held: [start, end) */
};

/* Room for up to want new bytes, as one or two pieces; overwrites the oldest
 * bytes once max is reached. Returns how many pieces; *room is their sum. */
int ring_room(struct ring *r, size_t want, struct iovec v[2], size_t *room);
void ring_added(struct ring *r, size_t n);
/* The bytes from offset `from` on, at most want, as one or two pieces. */
int ring_view(const struct ring *r, uint64_t from, size_t want, struct iovec v[2]);
/* Forgets the bytes before an offset. */
void ring_drop(struct ring *r, uint64_t before);
/* Gives back memory that the held bytes do not need. */
void ring_shrink(struct ring *r);
void ring_free(struct ring *r);

#endif
