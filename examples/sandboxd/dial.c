#include "dial.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void ask(struct dial *d, struct box *b);

static void failed(struct dial *d, int err)
{
	struct box *b = box_find(d->box_id, false);

	if (!b)
		err = DIAL_GONE;
	/* Some services listen on one of the two loopback addresses only. */
	if (err == ECONNREFUSED && !d->six) {
		d->six = true;
		ask(d, b);
	} else {
		/* Where there is no ::1 the first answer stays. */
		d->done(d, -1, d->six && err > 0 ? ECONNREFUSED : err);
	}
}

static void on_connected(struct source *s, uint32_t events)
{
	struct dial *d = container(s, struct dial, source);
	int fd = s->fd, err = 0;
	socklen_t n = sizeof err;

	(void)events;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	source_del(s);
	if (!err) {
		d->done(d, fd, 0);
		return;
	}
	close(fd);
	failed(d, err);
}

static void on_answer(void *arg, const struct wire *w, const struct buf *payload, const int *fds, int nfds)
{
	struct dial *d = arg;
	struct box *b = box_find(d->box_id, false);

	(void)payload;
	if (b && w->op != WIRE_LOST)
		box_call_end(b, d->call);
	d->call = 0;
	if (w->op == WIRE_OPENED && nfds)
		source_add(&d->source, fds[0], EPOLLOUT, on_connected);
	else
		failed(d, w->op == WIRE_LOST ? DIAL_UNAVAILABLE : w->a);
}

static void ask(struct dial *d, struct box *b)
{
	d->call = box_call(b, WIRE_DIAL, (int32_t)d->port, d->six, NULL, -1, on_answer, d);
	if (!d->call)
		d->done(d, -1, DIAL_UNAVAILABLE);
}

static void on_ready(struct box_waiter *w, bool ok)
{
	struct dial *d = container(w, struct dial, waiter);
	struct box *b = box_find(d->box_id, false);

	if (b && ok)
		ask(d, b);
	else
		d->done(d, -1, b ? DIAL_NOT_READY : DIAL_GONE);
}

void dial_start(struct dial *d, struct box *b, unsigned port)
{
	memcpy(d->box_id, b->id, sizeof d->box_id);
	d->port = port;
	d->six = false;
	box_when_ready(b, &d->waiter, on_ready);
}

void dial_cancel(struct dial *d)
{
	struct box *b = d->call ? box_find(d->box_id, false) : NULL;

	box_wait_cancel(&d->waiter);
	if (b)
		box_call_end(b, d->call);
	d->call = 0;
	if (source_active(&d->source)) {
		int fd = d->source.fd;

		source_del(&d->source);
		close(fd);
	}
}
