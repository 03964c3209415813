#include "mux.h"

#include <string.h>

enum { TYPE_DATA, TYPE_WINDOW, TYPE_PING, TYPE_GO_AWAY };
enum { FLAG_SYN = 1, FLAG_ACK = 2, FLAG_FIN = 4, FLAG_RST = 8 };
enum { GO_AWAY_PROTOCOL_ERROR = 1 };

/* ---- out ---- */

static void put_head(unsigned char h[MUX_HEAD], unsigned type, unsigned flags, uint32_t id, uint32_t value)
{
	h[0] = 0;
	h[1] = (unsigned char)type;
	h[2] = (unsigned char)(flags >> 8);
	h[3] = (unsigned char)flags;
	for (int i = 0; i < 4; i++) {
		h[4 + i] = (unsigned char)(id >> (24 - 8 * i));
		h[8 + i] = (unsigned char)(value >> (24 - 8 * i));
	}
}

static void add_frame(struct mux *m, unsigned type, unsigned flags, uint32_t id, uint32_t value)
{
	unsigned char h[MUX_HEAD];

	put_head(h, type, flags, id, value);
	buf_add(&m->out, h, sizeof h);
}

void mux_data(struct mux_stream *s, size_t n, unsigned char head[MUX_HEAD])
{
	s->may_send -= (uint32_t)n;
	put_head(head, TYPE_DATA, 0, s->id, (uint32_t)n);
}

void mux_ping(struct mux *m)
{
	add_frame(m, TYPE_PING, FLAG_SYN, 0, ++m->pings);
}

void mux_go_away(struct mux *m, uint32_t code)
{
	add_frame(m, TYPE_GO_AWAY, 0, 0, code);
}

/* ---- streams ---- */

static struct mux_stream **slot_of(struct mux *m, uint32_t id)
{
	struct mux_stream **p = &m->table[id / 2 % MUX_BUCKETS];

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void close_stream(struct mux_stream *s, bool by_reset)
{
	struct mux *m = s->mux;

	*slot_of(m, s->id) = s->next;
	m->streams--;
	if (m->into == s)
		m->into = NULL;
	m->ops->closed(s, by_reset);
}

void mux_consumed(struct mux_stream *s, size_t n)
{
	s->consumed += (uint32_t)n;
	if (s->consumed < MUX_WINDOW / 2 || s->fin_in)
		return;
	add_frame(s->mux, TYPE_WINDOW, 0, s->id, s->consumed);
	s->may_receive += s->consumed;
	s->consumed = 0;
}

void mux_fin(struct mux_stream *s)
{
	if (s->fin_out)
		return;
	s->fin_out = true;
	add_frame(s->mux, TYPE_WINDOW, FLAG_FIN, s->id, 0);
}

void mux_close(struct mux_stream *s)
{
	close_stream(s, false);
}

struct mux_stream *mux_find(struct mux *m, uint32_t id)
{
	return *slot_of(m, id);
}

void mux_reset(struct mux_stream *s)
{
	add_frame(s->mux, TYPE_WINDOW, FLAG_RST, s->id, 0);
	close_stream(s, true);
}

void mux_end(struct mux *m)
{
	m->broken = true;
	for (int i = 0; i < MUX_BUCKETS; i++)
		while (m->table[i])
			close_stream(m->table[i], true);
}

/* ---- in ---- */

static bool violated(struct mux *m)
{
	m->broken = true;
	mux_go_away(m, GO_AWAY_PROTOCOL_ERROR);
	return false;
}

static bool open_stream(struct mux *m, uint32_t id)
{
	struct mux_stream **p = slot_of(m, id), *s;

	if (id % 2 == 0 || *p)
		return violated(m);
	s = m->ops->open(m);
	if (!s) {
		add_frame(m, TYPE_WINDOW, FLAG_RST, id, 0);
		return true;
	}
	s->next = NULL;
	s->mux = m;
	s->id = id;
	s->may_send = s->may_receive = MUX_WINDOW;
	s->consumed = 0;
	s->fin_in = s->fin_out = false;
	*p = s;
	m->streams++;
	add_frame(m, TYPE_WINDOW, FLAG_ACK, id, 0);
	return true;
}

/* What the flags of a frame mean once its data, if it has any, is through. */
static void end_of_frame(struct mux_stream *s, unsigned flags)
{
	if (flags & FLAG_RST) {
		close_stream(s, true);
	} else if ((flags & FLAG_FIN) && !s->fin_in) {
		s->fin_in = true;
		s->mux->ops->fin(s);
	}
}

static bool take_window(struct mux_stream *s, uint32_t delta)
{
	if (delta > UINT32_MAX - s->may_send)
		return violated(s->mux);
	s->may_send += delta;
	if (delta)
		s->mux->ops->window(s);
	return true;
}

static bool stream_frame(struct mux *m, unsigned type, unsigned flags, uint32_t id, uint32_t value)
{
	struct mux_stream *s;

	if (!id || ((flags & FLAG_SYN) && !open_stream(m, id)))
		return m->broken ? false : violated(m);
	s = mux_find(m, id);
	if (type == TYPE_DATA) {
		if (s && (value > s->may_receive || (value && s->fin_in)))
			return violated(m);
		if (s)
			s->may_receive -= value;
		m->payload = value;
		m->into = s;
		m->flags = (uint16_t)flags;
		if (value || !s)
			return true;
	} else if (s && !take_window(s, value)) {
		return false;
	}
	/* A callback may have closed it. */
	s = mux_find(m, id);
	if (s)
		end_of_frame(s, flags);
	return true;
}

static uint32_t number(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool take_frame(struct mux *m)
{
	unsigned type = m->head[1], flags = (unsigned)m->head[2] << 8 | m->head[3];
	uint32_t id = number(m->head + 4), value = number(m->head + 8);

	if (m->head[0] != 0 || type > TYPE_GO_AWAY)
		return violated(m);
	if (type <= TYPE_WINDOW)
		return stream_frame(m, type, flags, id, value);
	if (id)
		return violated(m);
	if (type == TYPE_GO_AWAY)
		m->peer_leaves = true;
	else if (flags & FLAG_SYN)
		add_frame(m, TYPE_PING, FLAG_ACK, 0, value);
	return true;
}

static void take_payload(struct mux *m, const char *p, size_t n)
{
	struct mux_stream *s = m->into;

	m->payload -= (uint32_t)n;
	if (s)
		m->ops->data(s, p, n);
	if (!m->payload && m->into)
		end_of_frame(m->into, m->flags);
}

bool mux_input(struct mux *m, const char *p, size_t n)
{
	while (n && !m->broken) {
		size_t take;

		if (m->payload) {
			take = n < m->payload ? n : m->payload;
			take_payload(m, p, take);
		} else {
			take = MUX_HEAD - m->head_n < n ? MUX_HEAD - m->head_n : n;
			memcpy(m->head + m->head_n, p, take);
			m->head_n += take;
			if (m->head_n == MUX_HEAD) {
				m->head_n = 0;
				take_frame(m);
			}
		}
		p += take;
		n -= take;
	}
	return !m->broken;
}
