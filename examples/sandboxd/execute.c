/* POST /execute: a command in one exchange. */
#include "execute.h"

#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "text.h"

#define OUTPUT_MAX (64u << 20)
#define DEFAULT_TIMEOUT_S 60

struct execution {
	struct req *r;
	struct box_waiter waiter;
	struct watcher watcher;
	struct command_spec spec;
	char box_id[37];
};

static void add_output(struct buf *b, const char *key, const struct ring *ring)
{
	struct iovec v[2];
	int n = ring_view(ring, ring->start, (size_t)(ring->end - ring->start), v);
	struct buf text = { 0 };

	for (int i = 0; i < n; i++)
		buf_add(&text, v[i].iov_base, v[i].iov_len);
	buf_addf(b, "\"%s\":", key);
	buf_add_json(b, text.p ? text.p : "", text.n);
	buf_adds(b, ",");
	buf_free(&text);
}

static void answer(struct execution *e, struct command *c)
{
	struct buf b = { 0 };

	if (c->error_type) {
		http_error(e->r, strcmp(c->error_type, "CommandTimeout") == 0 ? 408 : 400, c->error_type, "%s", c->error);
	} else if (c->out[0].ring.start || c->out[1].ring.start) {
		http_error(e->r, 400, "CommandError", "the command wrote more than %u bytes; stream it over the WebSocket",
			   OUTPUT_MAX);
	} else {
		buf_adds(&b, "{");
		add_output(&b, "stdout", &c->out[0].ring);
		add_output(&b, "stderr", &c->out[1].ring);
		buf_addf(&b, "\"exit_code\":%d}", c->exit_code);
		http_text(e->r, 200, "application/json", b.p, b.n);
	}
}

static void on_notify(struct watcher *w)
{
	struct execution *e = container(w, struct execution, watcher);
	struct command *c = w->command;

	/* Everything counts as delivered at once: the ring is the collected output. */
	w->offset[0] = c->out[0].ring.end;
	w->offset[1] = c->out[1].ring.end;
	if (!command_done(c))
		return;
	answer(e, c);
	command_detach(w);
}

static void on_gone(struct watcher *w)
{
	http_error(container(w, struct execution, watcher)->r, 404, "ResourceNotFound", "The sandbox was deleted");
}

static void on_ready(struct box_waiter *w, bool ok)
{
	struct execution *e = container(w, struct execution, waiter);
	struct box *b = box_find(e->box_id, false);
	struct command *c;

	if (!b || !ok) {
		http_error(e->r, b ? 400 : 404, b ? "NotReady" : "ResourceNotFound", "Sandbox is not ready%s%s",
			   b && b->status_message ? ": " : "", b && b->status_message ? b->status_message : "");
		return;
	}
	c = command_start(b, &e->spec);
	if (!c) {
		http_error(e->r, 503, "ServiceUnavailable", "The sandbox takes no more commands");
		return;
	}
	e->watcher.notify = on_notify;
	e->watcher.gone = on_gone;
	command_attach(c, &e->watcher, 0, 0);
}

static void cleanup(struct req *r)
{
	struct execution *e = r->state;

	box_wait_cancel(&e->waiter);
	command_detach(&e->watcher);
	command_spec_free(&e->spec);
	loop_free_later(e);
}

static void run(struct req *r)
{
	struct box *b = http_box(r);
	json_t *body = b ? http_body_json(r) : NULL, *timeout;
	struct execution *e;
	const char *type;
	char *why;

	if (!body)
		return;
	timeout = json_object_get(body, "timeout");
	json_object_set_new(body, "timeout_seconds",
			    timeout && !json_is_null(timeout) ? json_incref(timeout) : json_integer(DEFAULT_TIMEOUT_S));
	json_object_del(body, "pty");
	json_object_del(body, "ssh_agent_forward");
	json_object_del(body, "command_id");
	e = xcalloc(1, sizeof *e);
	e->r = r;
	memcpy(e->box_id, b->id, sizeof e->box_id);
	r->state = e;
	r->cleanup = cleanup;
	if (!command_spec_parse(body, &e->spec, &type, &why)) {
		http_error(r, 400, type, "%s", why);
		free(why);
		return;
	}
	e->spec.close_stdin = true;
	e->spec.kill_on_disconnect = true;
	e->spec.ttl_s = 0;
	e->spec.ring_max = OUTPUT_MAX;
	box_when_ready(b, &e->waiter, on_ready);
}

const struct route execute_routes[] = {
	{ "POST", "/dataplane/{}/execute", ROUTE_DATA, run, NULL },
	{ 0 },
};
