#include "ws.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <wslay/wslay.h>

#include "fault.h"
#include "loop.h"
#include "server.h"
#include "upgrade.h"

#define READ_ROUND 65536   /* bytes taken from one peer before others get a turn */
#define FILL_ROUND 4	   /* messages sent to one peer before others get a turn */
#define PENDING_MAX (1 << 20) /* unsent bytes at which reading stops: a peer that only pings */
#define CLOSE_WAIT_MS 10000
#define SILENT_PINGS 4

struct ws {
	struct ws *next, *prev;
	struct source source;
	struct MHD_UpgradeResponseHandle *urh;
	wslay_event_context_ptr rx;
	wslay_frame_context_ptr tx;
	const struct ws_ops *ops;
	void *user;
	struct buf early; /* what came along with the request */
	size_t early_at;
	struct buf out;
	size_t out_at;
	unsigned char header[16]; /* a frame's header waits for its payload: one system call */
	size_t header_n;
	struct timer ping, linger;
	struct fault_ws fault;
	uint64_t sent;
	size_t budget;
	int silent;
	bool paused, closing, broken, filling, more, draining;
};

struct pending {
	const struct ws_ops *ops;
	void (*opened)(struct ws *w, void *user);
	void *user;
};

static struct ws *all;

void ws_set_user(struct ws *w, void *user)
{
	w->user = user;
}

void *ws_user(const struct ws *w)
{
	return w->user;
}

static void update(struct ws *w)
{
	uint32_t events = 0;

	if (w->broken)
		return;
	if (!w->paused && w->out.n - w->out_at < PENDING_MAX)
		events |= EPOLLIN;
	if (w->out.n || w->more)
		events |= EPOLLOUT;
	/* Nothing else would tell of a peer that is gone. */
	source_set(&w->source, events | EPOLLRDHUP);
}

static void destroy(struct ws *w)
{
	*(w->prev ? &w->prev->next : &all) = w->next;
	if (w->next)
		w->next->prev = w->prev;
	source_del(&w->source);
	timer_del(&w->ping);
	timer_del(&w->linger);
	wslay_event_context_free(w->rx);
	wslay_frame_context_free(w->tx);
	buf_free(&w->early);
	buf_free(&w->out);
	MHD_upgrade_action(w->urh, MHD_UPGRADE_ACTION_CLOSE);
	http_kick();
	loop_free_later(w);
}

static void on_destroy(struct timer *t)
{
	destroy(container(t, struct ws, linger));
}

/* Ends the connection: the owner learns of it now, the rest follows when no
 * function that uses it is on the stack any more. */
static void drop(struct ws *w, bool abrupt)
{
	struct linger now = { 1, 0 };

	if (w->broken)
		return;
	w->broken = true;
	if (abrupt)
		setsockopt(w->source.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	source_set(&w->source, 0);
	timer_del(&w->ping);
	timer_set(&w->linger, 0, on_destroy);
	w->ops->closed(w);
}

/* ---- out ---- */

static void write_out(struct ws *w, struct iovec *v, int n)
{
	size_t total = 0;
	ssize_t r = 0;

	for (int i = 0; i < n; i++)
		total += v[i].iov_len;
	if (w->broken)
		return;
	if (!w->out.n) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)n };

		r = sendmsg(w->source.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r < 0 && errno != EAGAIN && errno != EINTR) {
			drop(w, false);
			return;
		}
		r = r < 0 ? 0 : r;
	}
	w->sent += total;
	for (int i = 0; i < n; i++) {
		size_t skip = (size_t)r < v[i].iov_len ? (size_t)r : v[i].iov_len;

		buf_add(&w->out, (char *)v[i].iov_base + skip, v[i].iov_len - skip);
		r -= (ssize_t)skip;
	}
	if (w->fault.after && w->sent >= w->fault.after) {
		w->fault.after = 0;
		if (!w->fault.code)
			drop(w, true);
		else
			ws_close(w, w->fault.code, "fault");
	}
}

/* Both of wslay's contexts send through here. It always accepts: what the
 * socket does not take is queued, and nobody adds to a queue but answers to
 * the peer's control frames (bounded by PENDING_MAX) and one message. */
static ssize_t accept_out(struct ws *w, const uint8_t *data, size_t n, bool more)
{
	struct iovec v[2] = { { w->header, w->header_n }, { (void *)(uintptr_t)data, n } };

	if (more && !w->header_n && n <= sizeof w->header) {
		memcpy(w->header, data, n);
		w->header_n = n;
		return (ssize_t)n;
	}
	w->header_n = 0;
	write_out(w, v, 2);
	return (ssize_t)n;
}

static ssize_t on_frame_send(const uint8_t *data, size_t n, int flags, void *user)
{
	return accept_out(user, data, n, flags & WSLAY_MSG_MORE);
}

static ssize_t on_event_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t n, int flags, void *user)
{
	(void)ctx;
	return accept_out(user, data, n, flags & WSLAY_MSG_MORE);
}

static bool flush_queue(struct ws *w)
{
	while (w->out_at < w->out.n) {
		ssize_t r = send(w->source.fd, w->out.p + w->out_at, w->out.n - w->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return false;
		if (r < 0) {
			drop(w, false);
			return false;
		}
		w->out_at += (size_t)r;
	}
	buf_free(&w->out);
	w->out_at = 0;
	return true;
}

static void send_more(struct ws *w)
{
	if (w->broken || w->filling)
		return;
	w->filling = true;
	w->more = false;
	for (int i = 0; flush_queue(w) && !w->closing; i++) {
		if (i == FILL_ROUND) {
			w->more = true;
			break;
		}
		if (!w->ops->fill(w))
			break;
	}
	w->filling = false;
	if (!w->broken && w->closing && !w->out.n && wslay_event_get_close_received(w->rx))
		drop(w, false); /* both close frames are through */
	update(w);
}

void ws_kick(struct ws *w)
{
	if (!w->out.n) /* else the writable event comes anyway */
		send_more(w);
}

void ws_send(struct ws *w, bool binary, const char *p, size_t n)
{
	struct wslay_frame_iocb f = { .fin = 1,
				      .opcode = binary ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME,
				      .payload_length = n,
				      .data = (const uint8_t *)p,
				      .data_length = n };

	if (!w->broken && !w->closing)
		wslay_frame_send(w->tx, &f);
}

static void send_control(struct ws *w)
{
	if (!w->broken && wslay_event_want_write(w->rx))
		wslay_event_send(w->rx);
}

static void on_linger(struct timer *t)
{
	drop(container(t, struct ws, linger), false);
}

void ws_close(struct ws *w, int code, const char *reason)
{
	if (w->broken || w->closing)
		return;
	w->closing = true;
	wslay_event_queue_close(w->rx, (uint16_t)code, (const uint8_t *)reason, strlen(reason));
	send_control(w);
	if (!w->broken)
		timer_set(&w->linger, CLOSE_WAIT_MS, on_linger);
	update(w);
}

/* ---- in ---- */

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *data, size_t n, int flags, void *user)
{
	struct ws *w = user;
	ssize_t r;

	(void)flags;
	if (w->early_at < w->early.n) {
		size_t left = w->early.n - w->early_at;

		n = n < left ? n : left;
		memcpy(data, w->early.p + w->early_at, n);
		w->early_at += n;
		return (ssize_t)n;
	}
	if (w->broken || w->paused || !w->budget) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	do
		r = recv(w->source.fd, data, n < w->budget ? n : w->budget, MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r > 0) {
		w->silent = 0;
		w->budget -= (size_t)r;
		return r;
	}
	wslay_event_set_error(ctx, r < 0 && errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *user)
{
	struct ws *w = user;

	(void)ctx;
	if (m->opcode == WSLAY_CONNECTION_CLOSE)
		w->closing = true;
	else if (!wslay_is_ctrl_frame(m->opcode) && !w->broken && !w->closing)
		w->ops->message(w, m->opcode == WSLAY_BINARY_FRAME, (const char *)m->msg, m->msg_length);
}

/* Our close frame is out and nothing more is wanted. To end with input unread
 * would be a reset, which destroys that frame on its way: so the rest is read. */
static void drain(struct ws *w)
{
	char scratch[16384];
	ssize_t r;

	for (int round = 0; round < 16; round++) {
		r = recv(w->source.fd, scratch, sizeof scratch, MSG_DONTWAIT);
		if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
			drop(w, false);
		if (r <= 0)
			return;
	}
}

static void begin_to_drain(struct ws *w)
{
	w->draining = w->closing = true;
	ws_pause(w, false);
	shutdown(w->source.fd, SHUT_WR);
	timer_set(&w->linger, CLOSE_WAIT_MS, on_linger);
	drain(w);
}

static void receive(struct ws *w)
{
	bool lost;

	if (w->draining) {
		drain(w);
		return;
	}
	w->budget = READ_ROUND;
	lost = wslay_event_recv(w->rx) != 0;
	send_control(w);
	if (lost)
		drop(w, false);
	if (w->broken || wslay_event_want_read(w->rx) || wslay_event_want_write(w->rx) || w->out.n)
		return;
	if (wslay_event_get_close_received(w->rx))
		drop(w, false);
	else
		begin_to_drain(w);
}

static void on_ready(struct source *s, uint32_t events)
{
	struct ws *w = container(s, struct ws, source);

	if (events & (EPOLLERR | EPOLLHUP)) {
		drop(w, false);
		return;
	}
	if (events & EPOLLIN)
		receive(w);
	else if ((events & EPOLLRDHUP) && w->paused)
		drop(w, false); /* gone, and what it sent is not wanted now */
	else if (events & EPOLLRDHUP)
		receive(w);
	if (!w->broken)
		send_more(w);
}

void ws_pause(struct ws *w, bool paused)
{
	if (w->paused == paused)
		return;
	w->paused = paused;
	update(w);
}

/* A peer that was silent for several pings is gone. Its pongs count, so a slow
 * reader that still answers stays. */
static void on_ping(struct timer *t)
{
	struct ws *w = container(t, struct ws, ping);
	struct wslay_event_msg ping = { .opcode = WSLAY_PING };

	if (++w->silent > SILENT_PINGS && !w->paused) {
		drop(w, true);
		return;
	}
	if (!w->out.n && !w->closing) {
		wslay_event_queue_msg(w->rx, &ping);
		send_control(w);
		update(w);
	}
	if (!w->broken)
		timer_set(t, server.ws_ping_ms, on_ping);
}

/* ---- opening ---- */

static void on_upgraded(void *user, const struct upgraded *u)
{
	static const struct wslay_event_callbacks events = { .recv_callback = on_recv,
							     .send_callback = on_event_send,
							     .on_msg_recv_callback = on_message };
	static const struct wslay_frame_callbacks frames = { .send_callback = on_frame_send };
	struct pending *p = user;
	struct ws *w = u ? xcalloc(1, sizeof *w) : NULL;

	if (!u) {
		p->opened(NULL, p->user);
		free(p);
		return;
	}
	if (wslay_event_context_server_init(&w->rx, &events, w) != 0 || wslay_frame_context_init(&w->tx, &frames, w) != 0)
		abort();
	wslay_event_config_set_max_recv_msg_length(w->rx, server.max_message);
	w->urh = u->urh;
	w->ops = p->ops;
	w->fault = fault_websocket(u->path);
	buf_add(&w->early, u->early, u->early_n);
	w->next = all;
	if (all)
		all->prev = w;
	all = w;
	source_add(&w->source, u->fd, EPOLLIN | EPOLLRDHUP, on_ready);
	if (server.ws_ping_ms)
		timer_set(&w->ping, server.ws_ping_ms, on_ping);
	p->opened(w, p->user);
	free(p);
	if (w->early.n && !w->broken) {
		receive(w);
		if (!w->broken)
			send_more(w);
	}
}

void ws_accept(struct req *r, const struct ws_ops *ops, void (*opened)(struct ws *w, void *user), void *user)
{
	struct pending *p = xcalloc(1, sizeof *p);

	*p = (struct pending){ ops, opened, user };
	upgrade(r, on_upgraded, p);
}

void ws_shutdown(void)
{
	for (struct ws *w = all, *next; w; w = next) {
		next = w->next;
		ws_close(w, 1001, "the server is shutting down");
		drop(w, false);
	}
	while (all)
		destroy(all);
}
