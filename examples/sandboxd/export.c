#include "export.h"

#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "commands.h"
#include "snapshot.h"
#include "store.h"

#define LIMIT_S 1800
#define ERROR_MAX 2000

struct export {
	struct snapshot *snapshot;
	char box_id[37];
	char *dir; /* where its files are unpacked, below the root */
	struct box_waiter waiter;
	struct watcher watcher;
	struct command_spec spec;
};

/* Unpacked inside, so that nothing in the archive can reach outside. A real
 * daemon wants a container to export from, and a command even where the image
 * has none. */
static const char take_out[] = "set -eu -o pipefail; mkdir -p \"$SANDBOXD_EXPORT\"; "
			       "container=$(docker create \"$SANDBOXD_IMAGE\" /bin/true); "
			       "docker export \"$container\" | tar -C \"$SANDBOXD_EXPORT\" -xf -; "
			       "docker rm \"$container\" >/dev/null";

static char *export_dir(const char *home, const struct snapshot *s)
{
	return xasprintf("%s/.sandboxd-export/%s", home, s->rec.id);
}

static struct command_spec spec_of(const struct snapshot *s, const struct box *b, const char *what, const char *command)
{
	char *dir = export_dir(b->home, s);
	struct command_spec spec = { .id = xasprintf("%s-%s", what, s->rec.id),
				     .command = xstrdup(command),
				     .shell = xstrdup("/bin/bash"),
				     .env = json_pack("{s:s,s:s}", "SANDBOXD_EXPORT", dir, "SANDBOXD_IMAGE",
						      record_text(&s->rec, "docker_image")),
				     .timeout_s = LIMIT_S,
				     .idle_timeout_s = -1,
				     .close_stdin = true };

	free(dir);
	return spec;
}

static void export_free(struct export *e)
{
	e->snapshot->export = NULL;
	box_wait_cancel(&e->waiter);
	command_detach(&e->watcher);
	command_spec_free(&e->spec);
	free(e->dir);
	loop_free_later(e);
}

static void fail(struct export *e, const char *why, const char *more)
{
	snapshot_fail(e->snapshot, "the image '%s' cannot be exported from the sandbox: %s%s%s",
		      record_text(&e->snapshot->rec, "docker_image"), why, *more ? ": " : "", more);
	export_free(e);
}

static void fail_with_output(struct export *e, const struct command *c)
{
	const struct ring *ring = &c->out[1].ring;
	size_t n = (size_t)(ring->end - ring->start);
	struct buf text = { 0 };
	struct iovec v[2];
	int parts;

	n = n > ERROR_MAX ? ERROR_MAX : n;
	parts = ring_view(ring, ring->end - n, n, v);
	for (int i = 0; i < parts; i++)
		buf_add(&text, v[i].iov_base, v[i].iov_len);
	while (text.n && text.p[text.n - 1] == '\n')
		text.n--;
	buf_add(&text, "", 1);
	fail(e, c->error ? c->error : "its docker failed", text.p);
	buf_free(&text);
}

static void on_notify(struct watcher *w)
{
	struct export *e = container(w, struct export, watcher);
	struct command *c = w->command;
	struct box *b = c->box;
	char *root;

	w->offset[0] = c->out[0].ring.end;
	w->offset[1] = c->out[1].ring.end;
	if (!command_done(c))
		return;
	if (c->error_type || c->exit_code != 0) {
		fail_with_output(e, c);
		return;
	}
	root = store_root(b->id);
	snapshot_take(e->snapshot, root, e->dir);
	free(root);
	export_free(e);
}

static void on_gone(struct watcher *w)
{
	fail(container(w, struct export, watcher), "the sandbox was deleted", "");
}

static void on_ready(struct box_waiter *w, bool ok)
{
	struct export *e = container(w, struct export, waiter);
	struct box *b = box_find(e->box_id, false);
	struct command *c = ok && b ? command_start(b, &e->spec) : NULL;

	if (!c) {
		fail(e, b ? "the sandbox is not ready" : "the sandbox was deleted", "");
		return;
	}
	e->watcher.notify = on_notify;
	e->watcher.gone = on_gone;
	command_attach(c, &e->watcher, 0, 0);
}

void export_start(struct snapshot *s, struct box *b)
{
	struct export *e = xcalloc(1, sizeof *e);

	e->snapshot = s;
	s->export = e;
	memcpy(e->box_id, b->id, sizeof e->box_id);
	/* Without isolation the sandbox sees its home directory elsewhere than below its root. */
	e->dir = export_dir("/root", s);
	e->spec = spec_of(s, b, "export", take_out);
	e->spec.kill_on_disconnect = true;
	box_when_ready(b, &e->waiter, on_ready);
}

bool export_finished(const struct snapshot *s)
{
	const char *id = record_text(&s->rec, "source_sandbox_id");
	struct box *b = id ? box_find(id, false) : NULL;
	struct command_spec spec;

	if (!id || !record_text(&s->rec, "docker_image"))
		return true;
	if (b) {
		spec = spec_of(s, b, "forget", "rm -rf \"$SANDBOXD_EXPORT\"");
		command_start(b, &spec);
		command_spec_free(&spec);
	}
	return b != NULL;
}

void export_cancel(struct snapshot *s)
{
	if (s->export)
		export_free(s->export);
}
