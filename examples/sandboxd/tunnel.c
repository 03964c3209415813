/* WebSocket /tunnel: yamux streams to TCP ports inside a sandbox.
 *
 * A stream begins with three bytes, version and port; one byte answers. Bytes
 * from a service stay in its socket until the connection has room and the
 * stream's window allows; bytes for it are credited once it took them. */
#include "tunnel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bulk.h"
#include "dial.h"
#include "mux.h"
#include "server.h"

#define PIECE 131072 /* of one stream, before the others have their turn */
#define BATCH 16
#define MAX_STREAMS 4096
#define MAX_CONTROL 65536 /* unsent frames without data at which nothing more is read */
#define VERSION 1
#define HEADER 3

enum status { STATUS_OK, STATUS_NOT_ALLOWED, STATUS_DIAL_FAILED, STATUS_BAD_VERSION };

struct tunnel {
	struct tunnel *next, *prev;
	struct bulk *link;
	struct mux mux;
	char box_id[37];
	struct timer ping;
	struct stream *ready_first, *ready_last; /* have something to send, in turn */
};

struct stream {
	struct mux_stream mux;
	struct tunnel *tunnel;
	struct stream *ready_next;
	bool ready;
	enum { STREAM_HEADER, STREAM_DIALLING, STREAM_OPEN, STREAM_DEAF /* what comes is dropped */ } state;
	int status; /* the byte to send first; -1: sent, or not known yet */
	struct buf in; /* for the service, which does not take it yet */
	size_t in_at;
	struct dial dial;
	struct source socket;
	bool held;
};

static struct tunnel *tunnels;

static struct stream *stream_of(struct mux_stream *s)
{
	return container(s, struct stream, mux);
}

/* ---- what is to be sent ---- */

static void want_turn(struct stream *s)
{
	struct tunnel *t = s->tunnel;

	if (!s->ready) {
		s->ready = true;
		s->ready_next = NULL;
		*(t->ready_last ? &t->ready_last->ready_next : &t->ready_first) = s;
		t->ready_last = s;
	}
	bulk_kick(t->link);
}

static void lose_turn(struct stream *s)
{
	struct tunnel *t = s->tunnel;
	struct stream **p = &t->ready_first, *before = NULL;

	if (!s->ready)
		return;
	while (*p != s) {
		before = *p;
		p = &before->ready_next;
	}
	*p = s->ready_next;
	if (t->ready_last == s)
		t->ready_last = before;
	s->ready = false;
}

static void watch(struct stream *s)
{
	uint32_t events = 0;

	if (!source_active(&s->socket))
		return;
	if (!s->ready && !s->mux.fin_out && s->mux.may_send && s->status < 0)
		events |= EPOLLIN;
	if (s->in_at < s->in.n)
		events |= EPOLLOUT;
	source_set(&s->socket, events);
}

/* As much of it as there is room for. */
static bool send_control(struct tunnel *t)
{
	struct buf *out = &t->mux.out;
	size_t n;
	char *p;

	if (!out->n)
		return false;
	p = bulk_room(t->link, &n);
	n = n < out->n ? n : out->n;
	memcpy(p, out->p, n);
	bulk_added(t->link, n);
	out->n -= n;
	memmove(out->p, out->p + n, out->n);
	if (!out->n)
		bulk_pause(t->link, false);
	return true;
}

/* Both ways have ended, and all that came is delivered. */
static void end_if_done(struct stream *s)
{
	if (s->mux.fin_in && s->mux.fin_out && s->in_at == s->in.n)
		mux_close(&s->mux);
}

static void send_fin(struct stream *s)
{
	mux_fin(&s->mux);
	end_if_done(s);
}

static void add_data(struct stream *s, char *frame, size_t n)
{
	mux_data(&s->mux, n, (unsigned char *)frame);
	bulk_added(s->tunnel->link, MUX_HEAD + n);
}

static void send_status(struct stream *s, char *frame)
{
	frame[MUX_HEAD] = (char)s->status;
	s->status = -1;
	add_data(s, frame, 1);
	if (s->state == STREAM_DEAF)
		send_fin(s);
}

/* One frame of a stream whose turn it is; false when it had nothing. */
static bool send_turn(struct stream *s)
{
	size_t room;
	char *frame = bulk_room(s->tunnel->link, &room);
	ssize_t n;

	room = room - MUX_HEAD < PIECE ? room - MUX_HEAD : PIECE;
	room = s->mux.may_send < room ? s->mux.may_send : room;
	if (s->mux.fin_out || !room)
		return false;
	if (s->status >= 0) {
		send_status(s, frame);
		return true;
	}
	if (!source_active(&s->socket))
		return false;
	n = recv(s->socket.fd, frame + MUX_HEAD, room, MSG_DONTWAIT);
	if (n > 0)
		add_data(s, frame, (size_t)n);
	else if (n == 0)
		send_fin(s);
	else if (errno != EAGAIN && errno != EINTR)
		mux_reset(&s->mux);
	return n > 0;
}

/* Who sent goes to the end of the line; who had nothing waits for its socket. */
static bool next_turn(struct tunnel *t)
{
	struct stream *s;

	while ((s = t->ready_first)) {
		uint32_t id = s->mux.id;
		bool sent;

		lose_turn(s);
		sent = send_turn(s);
		if (mux_find(&t->mux, id)) /* it has not ended */
			watch(s);
		if (sent)
			return true;
	}
	return false;
}

static bool fill(struct bulk *b)
{
	struct tunnel *t = bulk_user(b);
	bool sent;

	if (send_control(t))
		return true;
	sent = next_turn(t) || t->mux.out.n;
	if (!sent && t->mux.peer_leaves && !t->mux.streams)
		bulk_close(b, 1000, "");
	return sent;
}

/* ---- the service's side ---- */

/* How much of it the service takes now. */
static size_t deliver(struct stream *s, const struct iovec *v, size_t n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = n };
	size_t taken = 0;
	ssize_t r = -1;

	if (s->state != STREAM_DEAF && source_active(&s->socket))
		r = sendmsg(s->socket.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	else
		errno = EAGAIN;
	if (r < 0 && errno != EAGAIN && errno != EINTR) /* it takes no more: what it has sent can still be read */
		s->state = STREAM_DEAF;
	for (size_t i = 0; s->state == STREAM_DEAF && i < n; i++)
		taken += v[i].iov_len;
	taken = r > 0 ? (size_t)r : taken;
	if (taken)
		mux_consumed(&s->mux, taken);
	return taken;
}

/* What one read brought for a stream, to be delivered by one system call. */
static struct {
	struct stream *to;
	struct iovec v[BATCH];
	size_t n;
} batch;

static void keep(struct stream *s, const char *p, size_t n)
{
	if (s->in_at > MUX_WINDOW) { /* a service that never quite keeps up */
		memmove(s->in.p, s->in.p + s->in_at, s->in.n - s->in_at);
		s->in.n -= s->in_at;
		s->in_at = 0;
	}
	buf_add(&s->in, p, n);
}

static void deliver_batch(void)
{
	struct stream *s = batch.to;
	size_t taken;

	if (!s)
		return;
	batch.to = NULL;
	taken = deliver(s, batch.v, batch.n);
	for (size_t i = 0; i < batch.n; i++) {
		size_t skip = taken < batch.v[i].iov_len ? taken : batch.v[i].iov_len;

		keep(s, (char *)batch.v[i].iov_base + skip, batch.v[i].iov_len - skip);
		taken -= skip;
	}
	batch.n = 0;
	watch(s);
}

static void add_to_batch(struct stream *s, const char *p, size_t n)
{
	if (batch.to != s || batch.n == BATCH)
		deliver_batch();
	if (s->in.n) { /* what came before has to wait */
		keep(s, p, n);
		return;
	}
	batch.to = s;
	batch.v[batch.n++] = (struct iovec){ (char *)(uintptr_t)p, n };
}

static void to_service(struct stream *s)
{
	struct iovec rest = { s->in.p + s->in_at, s->in.n - s->in_at };

	if (rest.iov_len)
		s->in_at += deliver(s, &rest, 1);
	if (s->in_at < s->in.n)
		return;
	buf_free(&s->in);
	s->in_at = 0;
	if (s->mux.fin_in && source_active(&s->socket))
		shutdown(s->socket.fd, SHUT_WR);
	end_if_done(s);
}

static void on_socket(struct source *source, uint32_t events)
{
	struct stream *s = container(source, struct stream, socket);
	struct tunnel *t = s->tunnel;
	uint32_t id = s->mux.id;

	if (events & EPOLLOUT)
		to_service(s);
	/* It may have ended, here or in its turn. */
	if (mux_find(&t->mux, id) && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		want_turn(s);
	else
		bulk_kick(t->link);
	if (mux_find(&t->mux, id))
		watch(s);
}

static void answer(struct stream *s, enum status status)
{
	s->state = status == STATUS_OK ? STREAM_OPEN : STREAM_DEAF;
	s->status = (int)status;
	to_service(s);
	want_turn(s);
}

static void on_dialled(struct dial *d, int fd, int err)
{
	struct stream *s = container(d, struct stream, dial);
	struct box *b = box_find(d->box_id, false);
	int one = 1;

	(void)err;
	if (fd < 0 || !b) {
		close_fd(&fd);
		answer(s, STATUS_DIAL_FAILED);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	s->held = true;
	box_hold(b);
	source_add(&s->socket, fd, 0, on_socket);
	answer(s, STATUS_OK);
}

static bool denied(unsigned port)
{
	for (size_t i = 0; i < server.denied_n; i++)
		if (server.denied[i] == port)
			return true;
	return !port;
}

static void read_header(struct stream *s)
{
	const unsigned char *h = (const unsigned char *)s->in.p;
	struct box *b = box_find(s->tunnel->box_id, false);
	unsigned port;

	if (s->in.n < HEADER)
		return;
	port = (unsigned)h[1] << 8 | h[2];
	s->in_at = HEADER;
	mux_consumed(&s->mux, HEADER);
	if (h[0] != VERSION) {
		answer(s, STATUS_BAD_VERSION);
	} else if (denied(port)) {
		answer(s, STATUS_NOT_ALLOWED);
	} else if (!b) {
		answer(s, STATUS_DIAL_FAILED);
	} else {
		s->state = STREAM_DIALLING;
		s->dial.done = on_dialled;
		dial_start(&s->dial, b, port);
	}
}

/* ---- what the session tells ---- */

static struct mux_stream *on_open(struct mux *m)
{
	struct tunnel *t = container(m, struct tunnel, mux);
	struct stream *s;

	if (m->streams >= MAX_STREAMS || server.stopping)
		return NULL;
	s = xcalloc(1, sizeof *s);
	s->tunnel = t;
	s->status = -1;
	return &s->mux;
}

static void on_data(struct mux_stream *m, const char *p, size_t n)
{
	struct stream *s = stream_of(m);

	if (s->state == STREAM_OPEN || s->state == STREAM_DEAF) {
		add_to_batch(s, p, n);
		return;
	}
	keep(s, p, n);
	if (s->state == STREAM_HEADER)
		read_header(s);
}

static void on_fin(struct mux_stream *m)
{
	struct stream *s = stream_of(m);

	deliver_batch();
	if (s->state == STREAM_HEADER) {
		s->in_at = s->in.n; /* of a header, which is for nobody */
		send_fin(s);
	} else {
		to_service(s);
	}
	bulk_kick(s->tunnel->link);
}

static void on_window(struct mux_stream *m)
{
	watch(stream_of(m));
}

/* What came before a reset, in the same read, still goes to the service. */
static void last_batch(struct stream *s)
{
	struct msghdr m = { .msg_iov = batch.v, .msg_iovlen = batch.n };

	if (batch.to != s)
		return;
	if (s->state != STREAM_DEAF && source_active(&s->socket))
		sendmsg(s->socket.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	batch.to = NULL;
	batch.n = 0;
}

/* A reset of the stream is one of the connection, too. */
static void on_closed(struct mux_stream *m, bool by_reset)
{
	struct stream *s = stream_of(m);
	struct linger now = { 1, 0 };
	struct box *b = s->held ? box_find(s->dial.box_id, false) : NULL;

	last_batch(s);
	lose_turn(s);
	dial_cancel(&s->dial);
	if (source_active(&s->socket)) {
		int fd = s->socket.fd;

		if (by_reset)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		source_del(&s->socket);
		close(fd);
	}
	if (b)
		box_release(b);
	buf_free(&s->in);
	loop_free_later(s);
}

/* ---- the connection ---- */

static void on_bytes(struct bulk *b, char *p, size_t n)
{
	struct tunnel *t = bulk_user(b);

	if (!mux_input(&t->mux, p, n)) {
		mux_end(&t->mux);
		bulk_close(b, 1002, "yamux");
	} else if (t->mux.out.n > MAX_CONTROL) {
		bulk_pause(b, true);
	}
}

static void on_read(struct bulk *b)
{
	(void)b;
	deliver_batch();
}

static void on_lost(struct bulk *b)
{
	struct tunnel *t = bulk_user(b);

	*(t->prev ? &t->prev->next : &tunnels) = t->next;
	if (t->next)
		t->next->prev = t->prev;
	timer_del(&t->ping);
	mux_end(&t->mux);
	buf_free(&t->mux.out);
	loop_free_later(t);
}

static void on_ping(struct timer *timer)
{
	struct tunnel *t = container(timer, struct tunnel, ping);

	mux_ping(&t->mux);
	bulk_kick(t->link);
	timer_set(timer, server.ws_ping_ms, on_ping);
}

static void on_opened(struct bulk *b, void *user)
{
	struct tunnel *t = user;

	if (!b) {
		free(t);
		return;
	}
	t->link = b;
	bulk_set_user(b, t);
	t->next = tunnels;
	if (tunnels)
		tunnels->prev = t;
	tunnels = t;
	if (server.ws_ping_ms)
		timer_set(&t->ping, server.ws_ping_ms, on_ping);
}

static void run(struct req *r)
{
	static const struct bulk_ops ops = { on_bytes, on_read, fill, on_lost };
	static const struct mux_ops mux = { on_open, on_data, on_fin, on_window, on_closed };
	struct box *b = http_box(r);
	struct tunnel *t;

	if (!b)
		return;
	t = xcalloc(1, sizeof *t);
	t->mux.ops = &mux;
	memcpy(t->box_id, b->id, sizeof t->box_id);
	bulk_accept(r, &ops, on_opened, t);
}

void tunnel_shutdown(void)
{
	for (struct tunnel *t = tunnels; t; t = t->next) {
		mux_go_away(&t->mux, 0);
		bulk_kick(t->link);
	}
}

const struct route tunnel_routes[] = {
	{ "GET", "/dataplane/{}/tunnel", ROUTE_DATA, run, NULL },
	{ 0 },
};
