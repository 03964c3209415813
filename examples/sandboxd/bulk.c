#include "bulk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fault.h"
#include "loop.h"
#include "server.h"
#include "upgrade.h"
#include "wsframe.h"

#define READ_SIZE (256 << 10) /* bytes taken from one peer before others get a turn */
#define SEND_SIZE (256 << 10) /* of one message */
#define ROOM_MIN 4096	      /* with less, the message goes out first */
#define SEND_ROUND 4	      /* messages sent to one peer before others get a turn */
#define CLOSE_WAIT_MS 10000
#define SILENT_PINGS 4

struct control {
	bool due;
	unsigned char p[WSFRAME_CONTROL_MAX];
	size_t n;
};

struct bulk {
	struct bulk *next, *prev;
	struct source source;
	struct MHD_UpgradeResponseHandle *urh;
	const struct bulk_ops *ops;
	void *user;
	struct wsframe in;
	char *out; /* what goes out now lies in out + out_at .. out + out_n; NULL: nothing */
	size_t out_at, out_n;
	struct control pong, bye; /* of several pings the last is answered (5.5.3) */
	struct timer ping, linger;
	struct fault_ws fault;
	uint64_t sent;
	int silent;
	bool ping_due;
	bool closing;	/* nothing that comes counts but the peer's close frame */
	bool finishing; /* what fill has goes before the close frame */
	bool said_bye, heard_bye;
	bool failed;   /* the peer's frames are not understood: its close frame will not be */
	bool draining; /* our half has ended */
	bool paused, broken, more;
	bool busy; /* what is kicked now is sent at its end */
};

static struct bulk *all;
static char *spare; /* the send buffer that nobody has; most peers take all at once */

void bulk_set_user(struct bulk *b, void *user)
{
	b->user = user;
}

void *bulk_user(const struct bulk *b)
{
	return b->user;
}

static void update(struct bulk *b)
{
	uint32_t events = 0;

	if (b->broken)
		return;
	if (!b->paused)
		events |= EPOLLIN;
	if (b->out || b->more)
		events |= EPOLLOUT;
	/* Nothing else would tell of a peer that is gone. */
	source_set(&b->source, events | EPOLLRDHUP);
}

/* ---- end ---- */

static void give_back(struct bulk *b)
{
	if (spare)
		free(b->out);
	else
		spare = b->out;
	b->out = NULL;
}

static void destroy(struct bulk *b)
{
	*(b->prev ? &b->prev->next : &all) = b->next;
	if (b->next)
		b->next->prev = b->prev;
	source_del(&b->source);
	timer_del(&b->ping);
	timer_del(&b->linger);
	free(b->out);
	MHD_upgrade_action(b->urh, MHD_UPGRADE_ACTION_CLOSE);
	http_kick();
	loop_free_later(b);
}

static void on_destroy(struct timer *t)
{
	destroy(container(t, struct bulk, linger));
}

/* The owner learns of it now, the rest follows when no function that uses it is
 * on the stack any more. */
static void drop(struct bulk *b, bool abrupt)
{
	struct linger now = { 1, 0 };

	if (b->broken)
		return;
	b->broken = true;
	if (abrupt)
		setsockopt(b->source.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	source_set(&b->source, 0);
	timer_del(&b->ping);
	timer_set(&b->linger, 0, on_destroy);
	b->ops->closed(b);
}

static void on_linger(struct timer *t)
{
	drop(container(t, struct bulk, linger), false);
}

static void begin_to_close(struct bulk *b, unsigned code, const char *reason)
{
	if (b->broken || b->closing)
		return;
	b->closing = true;
	b->bye.n = wsframe_close(b->bye.p, code, reason);
	b->bye.due = true;
	timer_set(&b->linger, CLOSE_WAIT_MS, on_linger);
}

/* ---- out ---- */

/* Each message has its head directly before it. */
static char *begin_message(struct bulk *b)
{
	if (!b->out) {
		b->out = spare ? spare : xmalloc(WSFRAME_HEAD_MAX + SEND_SIZE);
		spare = NULL;
		b->out_at = b->out_n = WSFRAME_HEAD_MAX;
	}
	return b->out + b->out_n;
}

static void end_message(struct bulk *b, enum wsframe_op op)
{
	unsigned char head[WSFRAME_HEAD_MAX];
	size_t n = wsframe_head(head, op, b->out_n - WSFRAME_HEAD_MAX);

	b->out_at = WSFRAME_HEAD_MAX - n;
	memcpy(b->out + b->out_at, head, n);
}

char *bulk_room(struct bulk *b, size_t *n)
{
	char *p = begin_message(b);

	*n = WSFRAME_HEAD_MAX + SEND_SIZE - b->out_n;
	return p;
}

void bulk_added(struct bulk *b, size_t n)
{
	b->out_n += n;
}

static void put_control(struct bulk *b, enum wsframe_op op, struct control *c)
{
	memcpy(begin_message(b), c->p, c->n);
	b->out_n += c->n;
	c->due = false;
	end_message(b, op);
}

/* One message of all that there is to say. */
static bool put_data(struct bulk *b)
{
	bool any = true;

	while (any && !b->broken && (!b->out || b->out_n < SEND_SIZE + WSFRAME_HEAD_MAX - ROOM_MIN))
		any = b->ops->fill(b);
	if (b->broken || !b->out)
		return false;
	if (b->out_n == WSFRAME_HEAD_MAX) {
		give_back(b); /* it asked for room and did not use it */
		return false;
	}
	end_message(b, WSFRAME_BINARY);
	return true;
}

/* The next message into the empty buffer; false: there is none. */
static bool compose(struct bulk *b)
{
	struct control ping = { .n = 0 };

	if (b->pong.due && !b->closing) {
		put_control(b, WSFRAME_PONG, &b->pong);
	} else if (b->ping_due && !b->closing) {
		b->ping_due = false;
		put_control(b, WSFRAME_PING, &ping);
	} else if ((!b->closing || (b->finishing && !b->said_bye)) && put_data(b)) {
		return true;
	} else if (!b->broken && b->bye.due) {
		put_control(b, WSFRAME_CLOSE, &b->bye);
		b->said_bye = true;
	}
	return b->out && !b->broken;
}

static void inject_fault(struct bulk *b)
{
	if (!b->fault.after || b->sent < b->fault.after)
		return;
	b->fault.after = 0;
	if (b->fault.code)
		begin_to_close(b, (unsigned)b->fault.code, "fault");
	else
		drop(b, true);
}

/* False: the peer does not take all of it now. */
static bool flush(struct bulk *b)
{
	while (!b->broken && b->out && b->out_at < b->out_n) {
		ssize_t r = send(b->source.fd, b->out + b->out_at, b->out_n - b->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno != EAGAIN)
			drop(b, false);
		if (r < 0)
			return false;
		b->out_at += (size_t)r;
		b->sent += (uint64_t)r;
		inject_fault(b);
	}
	if (b->out)
		give_back(b);
	return !b->broken;
}

/* To end with input unread would be a reset, which destroys our close frame on
 * its way: so the rest is read. */
static void drain(struct bulk *b)
{
	static char scratch[READ_SIZE];
	ssize_t r = recv(b->source.fd, scratch, sizeof scratch, MSG_DONTWAIT);

	if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
		drop(b, false);
}

/* Our close frame is out: what follows? */
static void after_bye(struct bulk *b)
{
	if (b->heard_bye) {
		drop(b, false);
	} else if (b->failed && !b->draining) {
		b->draining = true;
		bulk_pause(b, false);
		shutdown(b->source.fd, SHUT_WR);
	}
}

static void send_more(struct bulk *b)
{
	if (b->broken || b->busy)
		return;
	b->busy = true;
	b->more = false;
	for (int i = 0; flush(b) && !b->more && compose(b); i++)
		b->more = i + 1 == SEND_ROUND;
	b->busy = false;
	if (!b->broken && !b->out && b->said_bye)
		after_bye(b);
	update(b);
}

void bulk_kick(struct bulk *b)
{
	if (!b->out) /* else the writable event comes anyway */
		send_more(b);
}

void bulk_close(struct bulk *b, unsigned code, const char *reason)
{
	b->finishing = !b->closing;
	begin_to_close(b, code, reason);
	bulk_kick(b);
}

/* ---- in ---- */

static void take_event(struct bulk *b, enum wsframe_kind kind, const struct wsframe_event *ev)
{
	if (kind == WSFRAME_GOT_DATA && !b->closing) {
		if (ev->binary)
			b->ops->data(b, (char *)ev->p, ev->n);
		else
			begin_to_close(b, 1003, "binary messages only");
	} else if (kind == WSFRAME_GOT_PING) {
		b->pong.due = true;
		b->pong.n = ev->n;
		memcpy(b->pong.p, ev->p, ev->n);
	} else if (kind == WSFRAME_GOT_CLOSE) {
		b->heard_bye = true;
		b->finishing = false;
		begin_to_close(b, ev->code, "");
	} else if (kind == WSFRAME_GOT_ERROR) {
		b->failed = true;
		begin_to_close(b, ev->code, "");
	}
}

static void take(struct bulk *b, unsigned char *p, size_t n)
{
	unsigned char *end = p + n;
	struct wsframe_event ev;
	enum wsframe_kind kind;

	b->busy = true;
	while (!b->broken && (kind = wsframe_read(&b->in, &p, end, &ev)) != WSFRAME_GOT_NONE)
		take_event(b, kind, &ev);
	if (!b->broken)
		b->ops->read(b);
	b->busy = false;
}

static void receive(struct bulk *b)
{
	static unsigned char piece[READ_SIZE];
	ssize_t r = recv(b->source.fd, piece, sizeof piece, MSG_DONTWAIT);

	if (r > 0) {
		b->silent = 0;
		take(b, piece, (size_t)r);
	} else if (r == 0 || (errno != EAGAIN && errno != EINTR)) {
		drop(b, false);
	}
}

void bulk_pause(struct bulk *b, bool paused)
{
	if (b->paused == paused)
		return;
	b->paused = paused;
	update(b);
}

static void on_ready(struct source *s, uint32_t events)
{
	struct bulk *b = container(s, struct bulk, source);

	if (events & (EPOLLERR | EPOLLHUP))
		drop(b, false);
	else if ((events & EPOLLRDHUP) && b->paused)
		drop(b, false); /* gone, and what it sent is not wanted now */
	else if (b->draining)
		drain(b);
	else if (events & (EPOLLIN | EPOLLRDHUP))
		receive(b);
	if (!b->broken)
		send_more(b);
}

/* A peer that was silent for several pings is gone. Its pongs count, so a slow
 * reader that still answers stays. */
static void on_ping(struct timer *t)
{
	struct bulk *b = container(t, struct bulk, ping);

	if (++b->silent > SILENT_PINGS && !b->paused) {
		drop(b, true);
		return;
	}
	b->ping_due = true;
	bulk_kick(b);
	if (!b->broken)
		timer_set(t, server.ws_ping_ms, on_ping);
}

/* ---- opening ---- */

struct pending {
	const struct bulk_ops *ops;
	void (*opened)(struct bulk *b, void *user);
	void *user;
};

static struct bulk *begin(const struct upgraded *u, const struct bulk_ops *ops)
{
	struct bulk *b = xcalloc(1, sizeof *b);

	wsframe_init(&b->in, server.max_message);
	b->urh = u->urh;
	b->ops = ops;
	b->fault = fault_websocket(u->path);
	b->next = all;
	if (all)
		all->prev = b;
	all = b;
	source_add(&b->source, u->fd, EPOLLIN | EPOLLRDHUP, on_ready);
	if (server.ws_ping_ms)
		timer_set(&b->ping, server.ws_ping_ms, on_ping);
	return b;
}

static void take_early(struct bulk *b, const struct upgraded *u)
{
	char *copy = xmalloc(u->early_n);

	memcpy(copy, u->early, u->early_n);
	take(b, (unsigned char *)copy, u->early_n);
	free(copy);
	send_more(b);
}

static void on_upgraded(void *user, const struct upgraded *u)
{
	struct pending *p = user;
	struct bulk *b = u ? begin(u, p->ops) : NULL;

	p->opened(b, p->user);
	free(p);
	if (b && u->early_n)
		take_early(b, u);
}

void bulk_accept(struct req *r, const struct bulk_ops *ops, void (*opened)(struct bulk *b, void *user), void *user)
{
	struct pending *p = xcalloc(1, sizeof *p);

	*p = (struct pending){ ops, opened, user };
	upgrade(r, on_upgraded, p);
}

void bulk_shutdown(void)
{
	for (struct bulk *b = all, *next; b; b = next) {
		next = b->next;
		begin_to_close(b, 1001, "the server is shutting down");
		b->finishing = false;
		send_more(b);
		drop(b, false);
	}
	while (all)
		destroy(all);
	free(spare);
	spare = NULL;
}
