#include "base64.h"

#include "sha1.h"

void buf_add_base64(struct buf *b, const void *p, size_t n)
{
	size_t out = 4 * ((n + 2) / 3);

	buf_reserve(b, out + 1);
	base64(p, n, b->p + b->n);
	b->n += out;
}

void buf_add_base64url(struct buf *b, const void *p, size_t n)
{
	size_t at = b->n;

	buf_add_base64(b, p, n);
	while (b->n > at && b->p[b->n - 1] == '=')
		b->n--;
	for (; at < b->n; at++)
		b->p[at] = b->p[at] == '+' ? '-' : b->p[at] == '/' ? '_' : b->p[at];
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool base64_decode(const char *text, size_t n, struct buf *out)
{
	unsigned bits = 0;
	int have = 0;

	for (int pad = 0; pad < 2 && n && text[n - 1] == '='; pad++)
		n--;
	if (n % 4 == 1)
		return false;
	buf_reserve(out, n / 4 * 3 + 3);
	for (size_t i = 0; i < n; i++) {
		int v = value_of(text[i]);

		if (v < 0)
			return false;
		bits = bits << 6 | (unsigned)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out->p[out->n++] = (char)(bits >> have & 0xff);
		}
	}
	return true;
}
