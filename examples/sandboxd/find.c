/* POST /glob and /grep: the search runs inside, its answer comes through a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"

#include "box.h"
#include "loop.h"

#define DEFAULT_LIMIT 1000
#define MAX_LIMIT 10000
#define ANSWER_MAX (64 << 20)

struct find {
	struct req *r;
	struct box_waiter waiter;
	struct source source;
	char box_id[37];
	struct buf payload, answer;
	int fd, kind, limit;
};

static void finish(struct find *f)
{
	json_t *failed;
	int err;

	source_del(&f->source);
	close_fd(&f->fd);
	if (!f->answer.n || f->answer.p[f->answer.n - 1] != '}') {
		http_flat_error(f->r, 503, "ServiceUnavailable", "the search did not finish");
		return;
	}
	if (f->answer.n < 4096 && strncmp(f->answer.p, "{\"errno\"", 8) == 0) {
		failed = json_loadb(f->answer.p, f->answer.n, 0, NULL);
		err = (int)json_integer_value(json_object_get(failed, "errno"));
		http_flat_error(f->r, err == ENOENT ? 404 : err == EACCES || err == EPERM ? 403 : 400,
				err == ENOENT ? "NotFound" : "InvalidRequest", "%s: %s",
				json_string_value(json_object_get(failed, "path")), strerror(err));
		json_decref(failed);
		return;
	}
	http_text(f->r, 200, "application/json", f->answer.p, f->answer.n);
	f->answer = (struct buf){ 0 };
}

static void on_readable(struct source *s, uint32_t events)
{
	struct find *f = container(s, struct find, source);
	ssize_t n;

	(void)events;
	buf_reserve(&f->answer, 65536);
	n = read(f->fd, f->answer.p + f->answer.n, 65536);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		f->answer.n += (size_t)n;
	if (n <= 0 || f->answer.n > ANSWER_MAX)
		finish(f);
}

static void ignore(void *arg, const struct wire *w, const struct buf *payload, const int *fds, int nfds)
{
	(void)arg;
	(void)w;
	(void)payload;
	for (int i = 0; i < nfds; i++)
		close(fds[i]);
}

static void on_ready(struct box_waiter *waiter, bool ok)
{
	struct find *f = container(waiter, struct find, waiter);
	struct box *b = box_find(f->box_id, false);
	uint32_t call;
	int p[2];

	if (!b || !ok) {
		http_error(f->r, b ? 400 : 404, b ? "NotReady" : "ResourceNotFound", "The sandbox is not ready");
		return;
	}
	if (pipe2(p, O_CLOEXEC) < 0) {
		http_flat_error(f->r, 503, "ServiceUnavailable", "no descriptor is free");
		return;
	}
	box_hold(b);
	box_release(b);
	/* The pipe's end is the answer, so the call itself waits for nothing. */
	call = box_call(b, WIRE_SEARCH, f->limit, f->kind, &f->payload, p[1], ignore, NULL);
	box_call_end(b, call);
	close(p[1]);
	f->fd = p[0];
	set_nonblock(f->fd);
	source_add(&f->source, f->fd, EPOLLIN, on_readable);
}

static void cleanup(struct req *r)
{
	struct find *f = r->state;

	box_wait_cancel(&f->waiter);
	source_del(&f->source);
	close_fd(&f->fd);
	buf_free(&f->payload);
	buf_free(&f->answer);
	loop_free_later(f);
}

static void run(struct req *r, int kind)
{
	struct box *b = http_box(r);
	json_t *body = b ? http_body_json(r) : NULL, *limit = json_object_get(body, "limit");
	const char *pattern = json_string_value(json_object_get(body, "pattern"));
	const char *path = json_string_value(json_object_get(body, "path"));
	const char *glob = json_string_value(json_object_get(body, "glob"));
	struct find *f;

	if (!body)
		return;
	if (!pattern || !*pattern) {
		http_flat_error(r, 400, "InvalidRequest", "pattern must be a non-empty string");
	} else if (!path || *path != '/') {
		http_flat_error(r, 400, "InvalidRequest", "path must be an absolute path");
	} else if (limit && !json_is_null(limit) &&
		   (!json_is_integer(limit) || json_integer_value(limit) < 1 || json_integer_value(limit) > MAX_LIMIT)) {
		http_flat_error(r, 400, "InvalidRequest", "limit must be an integer from 1 to %d", MAX_LIMIT);
	} else {
		f = xcalloc(1, sizeof *f);
		f->r = r;
		f->fd = -1;
		f->kind = kind;
		f->limit = json_is_integer(limit) ? (int)json_integer_value(limit) : DEFAULT_LIMIT;
		memcpy(f->box_id, b->id, sizeof f->box_id);
		buf_addz(&f->payload, pattern);
		buf_addz(&f->payload, path);
		buf_addz(&f->payload, glob ? glob : "");
		r->state = f;
		r->cleanup = cleanup;
		box_when_ready(b, &f->waiter, on_ready);
	}
}

static void glob(struct req *r)
{
	run(r, 'g');
}

static void grep(struct req *r)
{
	run(r, 'r');
}

const struct route search_routes[] = {
	{ "POST", "/dataplane/{}/glob", ROUTE_DATA, glob, NULL },
	{ "POST", "/dataplane/{}/grep", ROUTE_DATA, grep, NULL },
	{ 0 },
};
