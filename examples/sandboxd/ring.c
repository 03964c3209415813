#include "ring.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

static void resize(struct ring *r, size_t cap)
{
	size_t held = (size_t)(r->end - r->start);
	char *p = cap ? xmalloc(cap) : NULL;
	struct iovec v[2];
	uint64_t at = r->start;
	int n = r->cap ? ring_view(r, r->start, held, v) : 0;

	for (int i = 0; i < n; i++) {
		const char *from = v[i].iov_base;
		size_t left = v[i].iov_len;

		while (left) {
			size_t pos = (size_t)(at % cap), piece = cap - pos < left ? cap - pos : left;

			memcpy(p + pos, from, piece);
			from += piece;
			left -= piece;
			at += piece;
		}
	}
	free(r->p);
	r->p = p;
	r->cap = cap;
}

static int pieces(const struct ring *r, uint64_t from, size_t n, struct iovec v[2])
{
	size_t pos, first;

	if (!n)
		return 0;
	pos = (size_t)(from % r->cap);
	first = r->cap - pos < n ? r->cap - pos : n;
	v[0] = (struct iovec){ r->p + pos, first };
	v[1] = (struct iovec){ r->p, n - first };
	return first < n ? 2 : 1;
}

int ring_room(struct ring *r, size_t want, struct iovec v[2], size_t *room)
{
	size_t held = (size_t)(r->end - r->start), cap = r->cap ? r->cap : 4096;

	if (want > r->max)
		want = r->max;
	while (cap < held + want && cap < r->max)
		cap *= 2;
	if (cap > r->max)
		cap = r->max;
	if (cap > r->cap)
		resize(r, cap);
	*room = want < r->cap ? want : r->cap;
	return pieces(r, r->end, *room, v);
}

void ring_added(struct ring *r, size_t n)
{
	r->end += n;
	if (r->end - r->start > r->cap)
		r->start = r->end - r->cap;
}

int ring_view(const struct ring *r, uint64_t from, size_t want, struct iovec v[2])
{
	size_t n;

	if (from < r->start || from >= r->end)
		return 0;
	n = (size_t)(r->end - from);
	return pieces(r, from, n < want ? n : want, v);
}

void ring_drop(struct ring *r, uint64_t before)
{
	if (before > r->start)
		r->start = before < r->end ? before : r->end;
}

void ring_shrink(struct ring *r)
{
	size_t held = (size_t)(r->end - r->start);

	if (r->cap > held + held / 4)
		resize(r, held);
}

void ring_free(struct ring *r)
{
	free(r->p);
	*r = (struct ring){ 0 };
}
