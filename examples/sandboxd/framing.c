#include "framing.h"

#include <string.h>

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = memchr(digits, c | 0x20, 16);

	return c >= '0' && at ? (int)(at - digits) : -1;
}

/* Passes over counted bytes; returns how many of n. */
static size_t skip(struct framing *f, size_t n)
{
	size_t take = n < f->left ? n : (size_t)f->left;

	f->left -= take;
	return take;
}

static void chunk_byte(struct framing *f, char c)
{
	switch (f->state) {
	case CHUNK_SIZE:
		if (hex(c) >= 0) {
			f->left = f->left << 4 | (unsigned)hex(c);
			break;
		}
		f->state = CHUNK_EXTENSION;
		/* fall through */
	case CHUNK_EXTENSION:
		if (c == '\n')
			f->state = f->left ? CHUNK_DATA : TRAILER_START;
		break;
	case CHUNK_END:
		if (c == '\n')
			f->state = CHUNK_SIZE;
		break;
	case TRAILER_START:
		f->done = c == '\n';
		if (c != '\r')
			f->state = TRAILER;
		break;
	default:
		if (c == '\n')
			f->state = TRAILER_START;
	}
}

static size_t take_chunked(struct framing *f, const char *p, size_t n)
{
	size_t at = 0;

	while (at < n && !f->done) {
		if (f->state != CHUNK_DATA) {
			chunk_byte(f, p[at++]);
			continue;
		}
		at += skip(f, n - at);
		if (!f->left)
			f->state = CHUNK_END;
	}
	return at;
}

size_t framing_take(struct framing *f, const char *p, size_t n)
{
	if (f->kind == FRAMING_TO_EOF)
		return n;
	if (f->kind == FRAMING_CHUNKED)
		return take_chunked(f, p, n);
	n = skip(f, n);
	f->done = !f->left;
	return n;
}
