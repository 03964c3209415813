#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "model.h"
#include "server.h"
#include "ssh.h"

#define READ_MAX 65536
#define GRACE_MS 100
#define BUCKETS 4096
#define TOMBSTONES 4096
#define KEPT_COMMANDS 20000

static struct command *table[BUCKETS];
static struct command *kept_oldest, *kept_newest;
static size_t kept_bytes, kept_n;
/* Hashes of forgotten commands, to tell "expired" from "never existed". */
static uint64_t tombstones[TOMBSTONES];
static size_t tombstone_at;

static void on_output(struct source *s, uint32_t events);
static void command_free(struct command *c);

static uint64_t hash_of(const char *box_id, const char *id)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *box_id; box_id++)
		h = (h ^ (unsigned char)*box_id) * 0x100000001b3u;
	for (; *id; id++)
		h = (h ^ (unsigned char)*id) * 0x100000001b3u;
	return h ? h : 1;
}

struct command *command_find(struct box *b, const char *id)
{
	struct command *c = table[hash_of(b->id, id) % BUCKETS];

	while (c && (c->box != b || strcmp(c->id, id) != 0))
		c = c->hash_next;
	return c;
}

bool command_expired(struct box *b, const char *id)
{
	uint64_t h = hash_of(b->id, id);

	for (size_t i = 0; i < TOMBSTONES; i++)
		if (tombstones[i] == h)
			return true;
	return false;
}

static void notify_all(struct command *c)
{
	for (struct watcher *w = c->watchers, *next; w; w = next) {
		next = w->next;
		w->notify(w);
	}
}

/* ---- output ---- */

/* How much may be read without dropping what the governing watcher still needs. */
static size_t room_for(const struct command *c, int i)
{
	const struct ring *r = &c->out[i].ring;
	uint64_t waiting;

	if (c->keep_unacked)
		waiting = r->end - r->start;
	else if (!c->watchers)
		return READ_MAX;
	else
		waiting = r->end > c->watchers->offset[i] ? r->end - c->watchers->offset[i] : 0;
	return waiting >= r->max ? 0 : r->max - waiting < READ_MAX ? r->max - waiting : READ_MAX;
}

static void update_reading(struct command *c)
{
	for (int i = 0; i < 2; i++)
		if (c->out[i].fd >= 0)
			source_set(&c->out[i].source, c->out[i].discard || room_for(c, i) ? EPOLLIN : 0);
}

void command_progress(struct command *c)
{
	update_reading(c);
}

void command_ack(struct command *c, const uint64_t offset[2])
{
	for (int i = 0; i < 2; i++)
		ring_drop(&c->out[i].ring, offset[i]);
	update_reading(c);
}

static void end_output(struct output *o)
{
	source_del(&o->source);
	close_fd(&o->fd);
}

static void finish(struct command *c);

static void on_grace(struct timer *t)
{
	struct command *c = container(t, struct command, grace);

	for (int i = 0; i < 2; i++) {
		int waiting = 0;

		/* Back-pressure holds output back, or did until now: look again later. */
		if (c->out[i].fd >= 0 && !c->given_up &&
		    (!room_for(c, i) || (ioctl(c->out[i].fd, FIONREAD, &waiting) == 0 && waiting))) {
			timer_set(&c->grace, GRACE_MS, on_grace);
			return;
		}
	}
	finish(c);
}

static void maybe_finish(struct command *c)
{
	if (!c->exited || c->state == COMMAND_DONE)
		return;
	if (c->out[0].fd < 0 && c->out[1].fd < 0)
		finish(c);
	else /* a background process holds a pipe: wait a moment for what it writes */
		timer_set(&c->grace, GRACE_MS, on_grace);
}

static void on_output(struct source *s, uint32_t events)
{
	static char drop[READ_MAX];
	struct output *o = container(s, struct output, source);
	struct command *c = o->command;
	int i = o == &c->out[1];
	struct iovec v[2];
	size_t room;
	ssize_t n;

	(void)events;
	if (o->discard) {
		n = read(o->fd, drop, sizeof drop);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			end_output(o);
		return;
	}
	room = room_for(c, i);
	if (!room) {
		source_set(s, 0);
		return;
	}
	n = ring_room(&o->ring, room, v, &room);
	n = readv(o->fd, v, (int)n);
	if (n > 0) {
		ring_added(&o->ring, (size_t)n);
		notify_all(c);
		update_reading(c);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		/* A pty reports EIO when its last user is gone. */
		end_output(o);
		notify_all(c); /* a cut character can go out now */
	} else {
		return;
	}
	if (c->exited)
		maybe_finish(c);
}

/* ---- the end ---- */

static size_t kept_size(const struct command *c)
{
	return sizeof *c + c->out[0].ring.cap + c->out[1].ring.cap;
}

static void unkeep(struct command *c)
{
	if (!c->kept_prev && !c->kept_next && kept_oldest != c)
		return;
	*(c->kept_prev ? &c->kept_prev->kept_next : &kept_oldest) = c->kept_next;
	*(c->kept_next ? &c->kept_next->kept_prev : &kept_newest) = c->kept_prev;
	c->kept_prev = c->kept_next = NULL;
	kept_bytes -= kept_size(c);
	kept_n--;
}

static void keep(struct command *c)
{
	c->kept_prev = kept_newest;
	*(kept_newest ? &kept_newest->kept_next : &kept_oldest) = c;
	kept_newest = c;
	kept_bytes += kept_size(c);
	kept_n++;
	for (struct command *old = kept_oldest, *next; old && (kept_bytes > server.kept_bytes || kept_n > KEPT_COMMANDS);
	     old = next) {
		next = old->kept_next;
		if (old != c && !old->watchers)
			command_free(old);
	}
}

static void on_ttl(struct timer *t)
{
	struct command *c = container(t, struct command, ttl);

	if (c->watchers) /* still being delivered */
		timer_set(t, 1000, on_ttl);
	else
		command_free(c);
}

static void end_ssh(struct command *c)
{
	if (c->ssh)
		ssh_free(c->ssh);
	c->ssh = NULL;
}

static void finish(struct command *c)
{
	if (c->state == COMMAND_DONE)
		return;
	c->state = COMMAND_DONE;
	end_ssh(c);
	timer_del(&c->timeout);
	timer_del(&c->idle);
	timer_del(&c->grace);
	source_del(&c->input_source);
	close_fd(&c->input_fd);
	buf_free(&c->input);
	for (int i = 0; i < 2; i++) {
		c->out[i].discard = true;
		ring_shrink(&c->out[i].ring);
	}
	update_reading(c);
	if (c->timed_out && !c->error_type) {
		c->error_type = xstrdup("CommandTimeout");
		c->error = xstrdup("the command ran longer than its timeout and was killed");
	}
	keep(c);
	if (c->ttl_s >= 0)
		timer_set(&c->ttl, (int64_t)(c->ttl_s * 1000), on_ttl);
	box_release(c->box);
	notify_all(c);
}

static void fail(struct command *c, const char *type, char *text)
{
	if (!c->error_type) {
		c->error_type = xstrdup(type);
		c->error = text;
	} else {
		free(text);
	}
	for (int i = 0; i < 2; i++)
		end_output(&c->out[i]);
	c->exited = true;
	finish(c);
}

static void command_free(struct command *c)
{
	uint64_t h = hash_of(c->box->id, c->id);
	struct command **p;

	while (c->watchers) {
		struct watcher *w = c->watchers;

		c->watchers = w->next;
		w->command = NULL;
		w->gone(w);
	}
	if (c->state != COMMAND_DONE)
		box_release(c->box);
	unkeep(c);
	for (p = &table[h % BUCKETS]; *p != c; p = &(*p)->hash_next)
		;
	*p = c->hash_next;
	for (p = &c->box->commands; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	tombstones[tombstone_at++ % TOMBSTONES] = h;
	if (c->call)
		box_call_end(c->box, c->call);
	timer_del(&c->timeout);
	timer_del(&c->idle);
	timer_del(&c->ttl);
	timer_del(&c->grace);
	end_ssh(c);
	source_del(&c->input_source);
	close_fd(&c->input_fd);
	for (int i = 0; i < 2; i++) {
		end_output(&c->out[i]);
		ring_free(&c->out[i].ring);
	}
	buf_free(&c->input);
	free(c->error_type);
	free(c->error);
	free(c->id);
	loop_free_later(c);
}

void commands_forget(struct box *b)
{
	while (b->commands)
		command_free(b->commands);
}

/* ---- start ---- */

static void on_timeout(struct timer *t)
{
	struct command *c = container(t, struct command, timeout);

	c->timed_out = true;
	command_kill(c);
}

static void on_idle(struct timer *t)
{
	struct command *c = container(t, struct command, idle);

	logf_info("command %s: no client for %g s, killing it", c->id, c->idle_timeout_s);
	c->given_up = true;
	command_kill(c);
}

static void watch_idle(struct command *c)
{
	if (!c->watchers && c->state != COMMAND_DONE && c->idle_timeout_s >= 0)
		timer_set(&c->idle, (int64_t)(c->idle_timeout_s * 1000), on_idle);
	else
		timer_del(&c->idle);
}

static void started(struct command *c, const struct wire *w, const struct buf *payload, const int *fds, int nfds)
{
	int want = c->pty ? 1 : 3;
	size_t at = 0;

	if (w->b || nfds != want) {
		const char *step = wire_next(payload, &at);

		for (int i = 0; i < nfds; i++)
			close(fds[i]);
		box_call_end(c->box, c->call);
		c->call = 0;
		fail(c, "CommandError",
		     xasprintf("cannot start the command: %s: %s", step ? step : "agent", strerror(w->b ? w->b : EIO)));
		return;
	}
	c->pid = w->a;
	c->state = COMMAND_RUNNING;
	for (int i = 0; i < nfds; i++)
		set_nonblock(fds[i]);
	/* epoll takes a descriptor once, and a pty is both: hence the duplicate. */
	c->input_fd = c->pty ? fcntl(fds[0], F_DUPFD_CLOEXEC, 3) : fds[0];
	c->out[0].fd = fds[c->pty ? 0 : 1];
	c->out[1].fd = c->pty ? -1 : fds[2];
	for (int i = 0; i < 2; i++)
		if (c->out[i].fd >= 0)
			source_add(&c->out[i].source, c->out[i].fd, EPOLLIN, on_output);
	if (c->kill_pending)
		command_kill(c);
	notify_all(c);
	if (c->input.n)
		command_input(c, NULL, 0);
	else if (c->input_close)
		command_close_input(c);
}

static void on_agent_answer(void *arg, const struct wire *w, const struct buf *payload, const int *fds, int nfds)
{
	struct command *c = arg;

	if (w->op == WIRE_STARTED) {
		started(c, w, payload, fds, nfds);
	} else if (w->op == WIRE_EXIT) {
		box_call_end(c->box, c->call);
		c->call = 0;
		c->exited = true;
		c->exit_code = WIFSIGNALED(w->a) ? 128 + WTERMSIG(w->a) : WEXITSTATUS(w->a);
		maybe_finish(c);
	} else if (w->op == WIRE_LOST) {
		c->call = 0;
		fail(c, "SessionExpired", xstrdup("the sandbox was stopped while the command ran"));
	}
}

/* The process's arguments, counted. The shell finds a command given as words in
 * its PATH. */
static void add_words(struct buf *payload, const struct command_spec *spec)
{
	json_t *v;
	size_t i;

	buf_addf(payload, "%zu", spec->argv ? json_array_size(spec->argv) + 4 : spec->command ? 3 : 1);
	buf_add(payload, "", 1);
	buf_addz(payload, spec->shell);
	if (spec->argv) {
		buf_addz(payload, "-c");
		buf_addz(payload, "exec \"$@\"");
		buf_addz(payload, spec->shell);
		json_array_foreach(spec->argv, i, v) buf_addz(payload, json_string_value(v));
	} else if (spec->command) {
		buf_addz(payload, "-c");
		buf_addz(payload, spec->command);
	}
}

struct command *command_start(struct box *b, struct command_spec *spec)
{
	struct command *c = xcalloc(1, sizeof *c);
	struct buf payload = { 0 };
	struct command **bucket;
	const char *cwd = spec->cwd && *spec->cwd ? spec->cwd : model_work_dir(b);

	buf_addz(&payload, cwd);
	buf_addz(&payload, spec->id);
	add_words(&payload, spec);
	model_environment(b, spec->env, spec->pty, &payload);
	buf_addf(&payload, AGENT_TAG "=%s", spec->id);
	buf_add(&payload, "", 1);
	if (spec->ssh_agent) {
		c->ssh = ssh_open(b);
		buf_addf(&payload, "SSH_AUTH_SOCK=%s", ssh_path(c->ssh));
		buf_add(&payload, "", 1);
	}

	c->box = b;
	c->input_fd = c->out[0].fd = c->out[1].fd = -1;
	c->pty = spec->pty;
	c->keep_unacked = spec->keep_unacked;
	c->kill_on_disconnect = spec->kill_on_disconnect;
	c->idle_timeout_s = spec->idle_timeout_s;
	c->ttl_s = spec->ttl_s;
	c->input_close = spec->close_stdin && !spec->pty;
	for (int i = 0; i < 2; i++) {
		c->out[i].command = c;
		c->out[i].ring.max = spec->ring_max ? spec->ring_max : server.ring_bytes;
	}
	c->call = box_call(b, WIRE_SPAWN, spec->pty, spec->cols << 16 | spec->rows, &payload, -1, on_agent_answer, c);
	buf_free(&payload);
	if (!c->call) {
		end_ssh(c);
		free(c);
		return NULL;
	}
	c->id = spec->id;
	spec->id = NULL;
	bucket = &table[hash_of(b->id, c->id) % BUCKETS];
	c->hash_next = *bucket;
	*bucket = c;
	c->next = b->commands;
	b->commands = c;
	box_hold(b);
	if (spec->timeout_s > 0)
		timer_set(&c->timeout, (int64_t)(spec->timeout_s * 1000), on_timeout);
	watch_idle(c);
	return c;
}

/* ---- watchers and input ---- */

void command_attach(struct command *c, struct watcher *w, uint64_t out_offset, uint64_t err_offset)
{
	w->command = c;
	w->offset[0] = out_offset < c->out[0].ring.end ? out_offset : c->out[0].ring.end;
	w->offset[1] = err_offset < c->out[1].ring.end ? err_offset : c->out[1].ring.end;
	w->next = c->watchers;
	c->watchers = w;
	box_hold(c->box);
	watch_idle(c);
	update_reading(c);
}

void command_detach(struct watcher *w)
{
	struct command *c = w->command;

	if (!c)
		return;
	for (struct watcher **p = &c->watchers; *p; p = &(*p)->next) {
		if (*p == w) {
			*p = w->next;
			break;
		}
	}
	w->command = NULL;
	box_release(c->box);
	if (!c->watchers && c->kill_on_disconnect && !command_done(c))
		command_kill(c);
	watch_idle(c);
	update_reading(c);
}

void command_kill(struct command *c)
{
	if (c->state == COMMAND_STARTING)
		c->kill_pending = true; /* as soon as it runs */
	else if (c->call)
		box_send(c->box, WIRE_KILL, c->call, NULL);
}

static void on_input(struct source *s, uint32_t events)
{
	(void)events;
	command_input(container(s, struct command, input_source), NULL, 0);
}

static void stop_input(struct command *c)
{
	source_del(&c->input_source);
	close_fd(&c->input_fd);
	buf_free(&c->input);
	c->input_at = 0;
}

void command_input(struct command *c, const char *p, size_t n)
{
	if (c->state == COMMAND_DONE || (c->state == COMMAND_RUNNING && c->input_fd < 0) || (n && c->input_close))
		return;
	buf_add(&c->input, p, n);
	if (c->state == COMMAND_STARTING)
		return;
	while (c->input_at < c->input.n) {
		ssize_t r = write(c->input_fd, c->input.p + c->input_at, c->input.n - c->input_at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			break;
		if (r < 0) { /* nobody reads any more */
			stop_input(c);
			notify_all(c);
			return;
		}
		c->input_at += (size_t)r;
	}
	if (c->input_at == c->input.n) {
		bool waited = source_active(&c->input_source);

		buf_free(&c->input);
		c->input_at = 0;
		source_del(&c->input_source);
		if (c->input_close)
			stop_input(c);
		if (waited)
			notify_all(c); /* a paused connection may read on */
	} else if (!source_active(&c->input_source)) {
		source_add(&c->input_source, c->input_fd, EPOLLOUT, on_input);
	}
}

void command_close_input(struct command *c)
{
	if (c->pty || c->state == COMMAND_DONE)
		return;
	c->input_close = true;
	if (c->state == COMMAND_RUNNING && !c->input.n)
		stop_input(c);
}

size_t command_input_queued(const struct command *c)
{
	return c->input.n - c->input_at;
}

void command_resize(struct command *c, int cols, int rows)
{
	struct winsize size = { .ws_col = (unsigned short)cols, .ws_row = (unsigned short)rows };

	if (c->pty && c->out[0].fd >= 0 && cols > 0 && rows > 0 && cols < 65536 && rows < 65536)
		ioctl(c->out[0].fd, TIOCSWINSZ, &size);
}
