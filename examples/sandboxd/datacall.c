#include "datacall.h"

#include <string.h>
#include <unistd.h>

static void give_up(struct data_call *d, unsigned status, const char *type, const char *text)
{
	d->busy = false;
	if (d->r)
		http_error(d->r, status, type, "%s", text);
	d->failed(d);
}

static void on_answer(void *arg, const struct wire *w, const struct buf *payload, const int *fds, int nfds)
{
	struct data_call *d = arg;
	struct box *b = box_find(d->box_id, false);

	for (int i = 1; i < nfds; i++)
		close(fds[i]);
	if (w->op == WIRE_LOST) {
		give_up(d, 503, "ServiceUnavailable", "The sandbox stopped during the request");
		return;
	}
	if (b)
		box_call_end(b, d->call);
	d->busy = false;
	d->done(d, w, payload, nfds ? fds[0] : -1);
}

static void on_ready(struct box_waiter *waiter, bool ok)
{
	struct data_call *d = container(waiter, struct data_call, waiter);
	struct box *b = box_find(d->box_id, false);

	if (!b) {
		give_up(d, 404, "ResourceNotFound", "The sandbox was deleted");
		return;
	}
	if (!ok) {
		give_up(d, 400, "NotReady", b->status_message ? b->status_message : "The sandbox is not ready");
		return;
	}
	/* A request counts as activity. */
	box_hold(b);
	box_release(b);
	d->call = box_call(b, d->op, d->a, d->b, &d->payload, d->fd, on_answer, d);
	close_fd(&d->fd);
	buf_free(&d->payload);
	if (!d->call)
		give_up(d, 503, "ServiceUnavailable", "The sandbox takes no more requests now");
}

void data_call_start(struct data_call *d, struct req *r, struct box *b)
{
	d->r = r;
	d->busy = true;
	memcpy(d->box_id, b->id, sizeof d->box_id);
	box_when_ready(b, &d->waiter, on_ready);
}

bool data_call_orphan(struct data_call *d)
{
	d->r = NULL;
	if (d->waiter.box) {
		box_wait_cancel(&d->waiter);
		d->busy = false;
		close_fd(&d->fd);
		buf_free(&d->payload);
	}
	return !d->busy;
}
