#include "wsframe.h"

#include <string.h>

#include "text.h"

enum { FIN = 0x80, RESERVED = 0x70, MASKED = 0x80 };
enum { NO_CODE = 1005, PROTOCOL_ERROR = 1002, BAD_TEXT = 1007, TOO_BIG = 1009 };

void wsframe_init(struct wsframe *f, uint64_t max_message)
{
	*f = (struct wsframe){ .max_message = max_message };
}

/* ---- in ---- */

/* Words first, in blocks that the compiler makes vectors of. */
static void unmask(unsigned char *p, size_t n, const unsigned char mask[4], unsigned at)
{
	unsigned char key[8];
	uint64_t k, w[4];

	for (unsigned i = 0; i < sizeof key; i++)
		key[i] = mask[(at + i) & 3];
	memcpy(&k, key, sizeof k);
	for (; n >= sizeof w; n -= sizeof w, p += sizeof w) {
		memcpy(w, p, sizeof w);
		for (int i = 0; i < 4; i++)
			w[i] ^= k;
		memcpy(p, w, sizeof w);
	}
	for (size_t i = 0; i < n; i++)
		p[i] ^= key[i & 7];
}

static bool is_control(unsigned op)
{
	return op & 8;
}

static size_t extended(unsigned seven)
{
	return seven < 126 ? 0 : seven == 126 ? 2 : 8;
}

/* How long the head is, as far as is known. */
static size_t head_size(const struct wsframe *f)
{
	return f->head_n < 2 ? 2 : 2 + extended(f->head[1] & 127) + sizeof f->mask;
}

/* False: the length is not in its shortest form, or above 2^63-1. */
static bool read_length(struct wsframe *f)
{
	unsigned seven = f->head[1] & 127;
	uint64_t n = 0;

	for (size_t i = 0; i < extended(seven); i++)
		n = n << 8 | f->head[2 + i];
	f->left = seven < 126 ? seven : n;
	return seven < 126 || (n >= (seven == 126 ? 126u : 65536u) && !(n >> 63));
}

/* What the first two bytes have wrong, before any more is waited for. */
static unsigned check_beginning(const struct wsframe *f)
{
	unsigned op = f->head[0] & 15, seven = f->head[1] & 127;
	bool fin = f->head[0] & FIN;

	if (f->head[0] & RESERVED || !(f->head[1] & MASKED))
		return PROTOCOL_ERROR;
	if (is_control(op))
		return op > WSFRAME_PONG || !fin || seven > WSFRAME_CONTROL_MAX ? PROTOCOL_ERROR : 0;
	if (op > WSFRAME_BINARY || (op == WSFRAME_CONT) != (f->kind != WSFRAME_CONT))
		return PROTOCOL_ERROR;
	return 0;
}

static unsigned begin_payload(struct wsframe *f)
{
	if (!read_length(f))
		return PROTOCOL_ERROR;
	f->op = f->head[0] & 15;
	f->fin = f->head[0] & FIN;
	memcpy(f->mask, f->head + f->head_n - sizeof f->mask, sizeof f->mask);
	f->mask_at = 0;
	f->control_n = f->head_n = 0;
	f->in_payload = true;
	if (is_control(f->op))
		return 0;
	if (f->op != WSFRAME_CONT) {
		f->kind = f->op;
		f->message = 0;
	}
	if (f->max_message && f->left > f->max_message - f->message)
		return TOO_BIG;
	f->message += f->left;
	return 0;
}

/* As much of a head as is there; 0 or what is wrong with it. */
static unsigned take_head(struct wsframe *f, unsigned char **p, const unsigned char *end)
{
	while (*p < end) {
		size_t want = head_size(f) - f->head_n, have = (size_t)(end - *p);
		size_t n = want < have ? want : have;
		unsigned wrong;

		memcpy(f->head + f->head_n, *p, n);
		f->head_n += n;
		*p += n;
		if (n < want)
			return 0;
		wrong = f->head_n == 2 ? check_beginning(f) : begin_payload(f);
		if (wrong || f->in_payload)
			return wrong;
	}
	return 0;
}

static bool code_allowed(unsigned code)
{
	return (code >= 3000 && code <= 4999) || (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006));
}

static enum wsframe_kind end(struct wsframe *f, enum wsframe_kind kind, unsigned code, struct wsframe_event *ev)
{
	f->ended = true;
	ev->code = code;
	return kind;
}

static enum wsframe_kind closed(struct wsframe *f, struct wsframe_event *ev)
{
	unsigned code = (unsigned)f->control[0] << 8 | f->control[1];

	if (f->control_n == 0)
		return end(f, WSFRAME_GOT_CLOSE, NO_CODE, ev);
	if (f->control_n == 1 || !code_allowed(code))
		return end(f, WSFRAME_GOT_ERROR, PROTOCOL_ERROR, ev);
	if (!text_is_utf8((const char *)f->control + 2, f->control_n - 2))
		return end(f, WSFRAME_GOT_ERROR, BAD_TEXT, ev);
	return end(f, WSFRAME_GOT_CLOSE, code, ev);
}

/* The payload is gathered, and told when it is whole. */
static enum wsframe_kind take_control(struct wsframe *f, const unsigned char *p, size_t n, struct wsframe_event *ev)
{
	memcpy(f->control + f->control_n, p, n);
	f->control_n += n;
	if (f->left)
		return WSFRAME_GOT_NONE;
	ev->p = f->control;
	ev->n = f->control_n;
	if (f->op == WSFRAME_CLOSE)
		return closed(f, ev);
	return f->op == WSFRAME_PING ? WSFRAME_GOT_PING : WSFRAME_GOT_PONG;
}

static enum wsframe_kind take_payload(struct wsframe *f, unsigned char **p, size_t have, struct wsframe_event *ev)
{
	size_t n = f->left < have ? (size_t)f->left : have;
	unsigned char *at = *p;

	unmask(at, n, f->mask, f->mask_at);
	f->mask_at = (f->mask_at + n) & 3;
	f->left -= n;
	*p += n;
	f->in_payload = f->left != 0;
	if (is_control(f->op))
		return take_control(f, at, n, ev);
	ev->binary = f->kind == WSFRAME_BINARY;
	ev->p = at;
	ev->n = n;
	if (!f->left && f->fin)
		f->kind = WSFRAME_CONT;
	return WSFRAME_GOT_DATA;
}

enum wsframe_kind wsframe_read(struct wsframe *f, unsigned char **p, unsigned char *end_, struct wsframe_event *ev)
{
	enum wsframe_kind kind = WSFRAME_GOT_NONE;

	while (!f->ended && kind == WSFRAME_GOT_NONE) {
		if (!f->in_payload) {
			unsigned wrong = take_head(f, p, end_);

			if (wrong)
				return end(f, WSFRAME_GOT_ERROR, wrong, ev);
		}
		/* A frame of no bytes is complete without any. */
		if (!f->in_payload || (*p == end_ && f->left))
			return WSFRAME_GOT_NONE;
		kind = take_payload(f, p, (size_t)(end_ - *p), ev);
	}
	return kind;
}

/* ---- out ---- */

size_t wsframe_head(unsigned char out[WSFRAME_HEAD_MAX], enum wsframe_op op, size_t n)
{
	unsigned seven = n < 126 ? (unsigned)n : n < 65536 ? 126 : 127;
	size_t more = extended(seven);

	out[0] = (unsigned char)(FIN | op);
	out[1] = (unsigned char)seven;
	for (size_t i = 0; i < more; i++)
		out[2 + i] = (unsigned char)((uint64_t)n >> (8 * (more - 1 - i)));
	return 2 + more;
}

size_t wsframe_close(unsigned char out[WSFRAME_CONTROL_MAX], unsigned code, const char *reason)
{
	size_t n = strlen(reason);

	if (code == NO_CODE)
		return 0;
	n = n < WSFRAME_CONTROL_MAX - 2 ? n : WSFRAME_CONTROL_MAX - 2;
	out[0] = (unsigned char)(code >> 8);
	out[1] = (unsigned char)code;
	memcpy(out + 2, reason, n);
	return 2 + n;
}
