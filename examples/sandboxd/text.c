#include "text.h"

#include <stdint.h>
#include <string.h>

/* True when none of 8 bytes needs a look: no control, quote, backslash or non-ASCII byte. */
static inline bool plain8(uint64_t v)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');

	return !((v | (v - ones * 0x20) | (quote - ones) | (slash - ones)) & high);
}

/* Length of the well-formed character at p; 0 = cut off at the end of the
 * input; negative: the length of the ill-formed part. */
static int character(const unsigned char *p, size_t n)
{
	unsigned char c = p[0], lo = 0x80, hi = 0xbf;
	int len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

	if (c < 0xc2 || c > 0xf4)
		return -1;
	if (c == 0xe0)
		lo = 0xa0;
	else if (c == 0xed)
		hi = 0x9f;
	else if (c == 0xf0)
		lo = 0x90;
	else if (c == 0xf4)
		hi = 0x8f;
	for (int i = 1; i < len; i++) {
		if ((size_t)i >= n)
			return 0;
		if (p[i] < lo || p[i] > hi)
			return -i;
		lo = 0x80;
		hi = 0xbf;
	}
	return len;
}

bool text_is_utf8(const char *in, size_t n)
{
	const unsigned char *p = (const unsigned char *)in;

	for (size_t i = 0; i < n;) {
		int len = p[i] < 0x80 ? 1 : character(p + i, n - i);

		if (len <= 0)
			return false;
		i += (size_t)len;
	}
	return true;
}

size_t json_escape(char *out, const char *in, size_t n, bool last, size_t *used)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)in, *end = p + n;
	char *o = out;

	while (p < end) {
		unsigned char c = *p;

		while (end - p >= 8) {
			uint64_t v;

			memcpy(&v, p, 8);
			if (!plain8(v))
				break;
			memcpy(o, &v, 8);
			o += 8;
			p += 8;
		}
		if (p == end)
			break;
		c = *p;
		if (c >= 0x80) {
			int len = character(p, (size_t)(end - p));

			if (len > 0) {
				memcpy(o, p, (size_t)len);
				o += len;
				p += len;
				continue;
			}
			if (len == 0 && !last)
				break;
			memcpy(o, "\xef\xbf\xbd", 3);
			o += 3;
			p += len == 0 ? end - p : -len;
			continue;
		}
		p++;
		if (c >= 0x20 && c != '"' && c != '\\') {
			*o++ = (char)c;
			continue;
		}
		*o++ = '\\';
		if (c == '"' || c == '\\') {
			*o++ = (char)c;
		} else if (c == '\n') {
			*o++ = 'n';
		} else if (c == '\r') {
			*o++ = 'r';
		} else if (c == '\t') {
			*o++ = 't';
		} else {
			memcpy(o, "u00", 3);
			o[3] = hex[c >> 4];
			o[4] = hex[c & 15];
			o += 5;
		}
	}
	*used = (size_t)(p - (const unsigned char *)in);
	return (size_t)(o - out);
}

void buf_add_json(struct buf *b, const char *s, size_t n)
{
	size_t used;

	buf_reserve(b, JSON_ESCAPE_MAX(n));
	b->p[b->n++] = '"';
	b->n += json_escape(b->p + b->n, s, n, true, &used);
	b->p[b->n++] = '"';
}
