#include "box.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "binds.h"
#include "commands.h"
#include "generation.h"
#include "model.h"
#include "seed.h"
#include "server.h"
#include "store.h"

#define START_LIMIT_MS 60000
#define STOP_LIMIT_MS 3000

struct box *boxes;

static void idle_touch(struct box *b);

struct box *box_find(const char *name_or_id, bool by_name)
{
	for (struct box *b = boxes; b; b = b->next)
		if (b->status != BOX_DELETING && by_name && strcmp(box_name(b), name_or_id) == 0)
			return b;
	for (struct box *b = boxes; b; b = b->next)
		if (b->status != BOX_DELETING && strcmp(b->id, name_or_id) == 0)
			return b;
	return NULL;
}

const char *box_name(const struct box *b)
{
	return json_string_value(json_object_get(b->doc, "name"));
}

const char *box_status_text(const struct box *b)
{
	static const char *const text[] = { "provisioning", "ready", "failed", "stopped", "deleting" };

	return text[b->status];
}

static void put_time(json_t *doc, const char *key, int64_t wall)
{
	char text[40];

	format_rfc3339(wall, text);
	json_object_set_new(doc, key, json_string(text));
}

static void set_status(struct box *b, enum box_status status, const char *message)
{
	logf_info("sandbox %s: %s -> %s%s%s", b->id, box_status_text(b),
		  (const char *[]){ "provisioning", "ready", "failed", "stopped", "deleting" }[status],
		  message ? ": " : "", message ? message : "");
	b->status = status;
	free(b->status_message);
	b->status_message = message ? xstrdup(message) : NULL;
	if (status == BOX_STOPPED) {
		put_time(b->doc, "stopped_at", wall_ms());
		json_object_set_new(b->doc, "stopped_ms", json_integer(wall_ms()));
	} else if (status == BOX_PROVISIONING) {
		json_object_del(b->doc, "stopped_at");
		json_object_del(b->doc, "stopped_ms");
	}
	json_object_set_new(b->doc, "status", json_string(box_status_text(b)));
	if (status == BOX_DELETING)
		store_save(b->id, b->doc);
	else
		box_changed(b);
}

static void wake_waiters(struct box *b)
{
	struct box_waiter *w = b->waiters, *next;

	b->waiters = NULL;
	for (; w; w = next) {
		bool done = w->for_stop ? !b->stopping : b->status != BOX_PROVISIONING;

		next = w->next;
		if (!done || (!w->for_stop && b->restart)) {
			w->next = b->waiters;
			b->waiters = w;
			continue;
		}
		w->box = NULL;
		w->done(w, b->status == (w->for_stop ? BOX_STOPPED : BOX_READY));
	}
}

static void on_removal(struct timer *t)
{
	struct box *b = container(t, struct box, removal);

	logf_info("sandbox %s: delete_after_stop_seconds passed", b->id);
	box_delete(b);
}

static void on_idle(struct timer *t)
{
	struct box *b = container(t, struct box, idle);

	if (b->holds || b->status != BOX_READY)
		return;
	logf_info("sandbox %s: idle_ttl_seconds passed", b->id);
	if (generation_old())
		box_delete(b);
	else
		box_stop(b);
}

static void on_expiry(struct timer *t)
{
	struct box *b = container(t, struct box, expiry);

	logf_info("sandbox %s: ttl_seconds passed", b->id);
	box_delete(b);
}

/* How long until so many seconds have passed since a time. */
static int64_t remaining_ms(json_int_t seconds, int64_t since)
{
	return seconds * 1000 / server.time_scale - (wall_ms() - since);
}

static void idle_touch(struct box *b)
{
	json_int_t ttl = json_integer_value(json_object_get(b->doc, "idle_ttl_seconds"));

	if (ttl > 0 && !b->holds && b->status == BOX_READY)
		timer_set(&b->idle, remaining_ms(ttl, wall_ms()), on_idle);
	else
		timer_del(&b->idle);
}

static int64_t stored_time(const struct box *b, const char *key)
{
	return json_integer_value(json_object_get(b->doc, key));
}

static void set_timers(struct box *b)
{
	json_int_t after = stored_time(b, "delete_after_stop_seconds"), ttl = stored_time(b, "ttl_seconds");

	idle_touch(b);
	timer_del(&b->removal);
	timer_del(&b->expiry);
	if (after > 0 && b->status == BOX_STOPPED)
		timer_set(&b->removal, remaining_ms(after, stored_time(b, "stopped_ms")), on_removal);
	if (ttl > 0)
		timer_set(&b->expiry, remaining_ms(ttl, stored_time(b, "created_ms")), on_expiry);
}

void box_changed(struct box *b)
{
	json_int_t ttl = json_integer_value(json_object_get(b->doc, "ttl_seconds"));

	if (b->status == BOX_DELETING)
		return;
	if (ttl > 0)
		put_time(b->doc, "expires_at", stored_time(b, "created_ms") + ttl * 1000);
	else if (json_object_get(b->doc, "ttl_seconds"))
		json_object_set_new(b->doc, "expires_at", json_null());
	put_time(b->doc, "updated_at", wall_ms());
	store_save(b->id, b->doc);
	set_timers(b);
}

void box_hold(struct box *b)
{
	b->holds++;
	timer_del(&b->idle);
}

void box_release(struct box *b)
{
	if (--b->holds == 0)
		idle_touch(b);
}

/* ---- calls to the agent ---- */

static struct call *call_of(struct box *b, uint32_t id)
{
	size_t slot = (id & 0xffff) - 1;

	if (!id || slot >= b->calls_n || !b->calls[slot].cb || b->calls[slot].generation != id >> 16)
		return NULL;
	return &b->calls[slot];
}

static void agent_writable(struct box *b)
{
	size_t at = 0;

	while (at < b->unsent.n) {
		struct wire w;
		int r;

		memcpy(&w, b->unsent.p + at, sizeof w);
		r = wire_send(b->agent.fd, &w, b->unsent.p + at + sizeof w, NULL, 0);
		if (r == 0)
			break;
		if (r < 0)
			at = b->unsent.n; /* its end will be reported by the process */
		else
			at += sizeof w + w.n;
	}
	memmove(b->unsent.p, b->unsent.p + at, b->unsent.n - at);
	b->unsent.n -= at;
	source_set(&b->agent, b->unsent.n ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_wire(struct box *b, const struct wire *w, const struct buf *payload, int fd)
{
	int r = 0;

	if (!source_active(&b->agent))
		return;
	if (!b->unsent.n || fd >= 0)
		r = wire_send(b->agent.fd, w, payload ? payload->p : NULL, &fd, fd >= 0 ? 1 : 0);
	if (r != 0)
		return;
	if (fd >= 0)
		logf_err("sandbox %s: its agent does not keep up", b->id); /* the caller sees its pipe end */
	else {
		buf_add(&b->unsent, w, sizeof *w);
		buf_add(&b->unsent, payload ? payload->p : NULL, w->n);
		source_set(&b->agent, EPOLLIN | EPOLLOUT);
	}
}

uint32_t box_call(struct box *b, uint32_t op, int32_t a, int32_t b2, const struct buf *payload, int fd, call_cb cb,
		  void *arg)
{
	struct wire w = { .op = op, .a = a, .b = b2, .n = payload ? (uint32_t)payload->n : 0 };
	size_t slot = b->calls_free;

	if (!source_active(&b->agent) || b->status != BOX_READY || b->stopping)
		return 0;
	while (slot < b->calls_n && b->calls[slot].cb)
		slot++;
	if (slot >= 0xfffe)
		return 0;
	if (slot >= b->calls_cap) {
		size_t cap = b->calls_cap ? 2 * b->calls_cap : 16;

		b->calls = xrealloc(b->calls, cap * sizeof *b->calls);
		memset(b->calls + b->calls_cap, 0, (cap - b->calls_cap) * sizeof *b->calls);
		b->calls_cap = cap;
	}
	if (slot >= b->calls_n)
		b->calls_n = slot + 1;
	b->calls_free = slot + 1;
	b->calls[slot].cb = cb;
	b->calls[slot].arg = arg;
	b->calls[slot].generation++;
	w.id = (uint32_t)(slot + 1) | (uint32_t)b->calls[slot].generation << 16;
	send_wire(b, &w, payload, fd);
	return w.id;
}

void box_send(struct box *b, uint32_t op, uint32_t id, const struct buf *payload)
{
	send_wire(b, &(struct wire){ .op = op, .id = id, .n = payload ? (uint32_t)payload->n : 0 }, payload, -1);
}

void box_call_end(struct box *b, uint32_t id)
{
	struct call *c = call_of(b, id);
	size_t slot = (id & 0xffff) - 1;

	if (!c)
		return;
	c->cb = NULL;
	if (slot < b->calls_free)
		b->calls_free = slot;
}

static void agent_lost(struct box *b)
{
	int fd = b->agent.fd;

	if (!source_active(&b->agent))
		return;
	source_del(&b->agent);
	close(fd);
	buf_free(&b->unsent);
	for (size_t i = 0; i < b->calls_n; i++) {
		struct call c = b->calls[i];
		uint32_t id = (uint32_t)(i + 1) | (uint32_t)c.generation << 16;

		if (!c.cb)
			continue;
		b->calls[i].cb = NULL;
		c.cb(c.arg, &(struct wire){ .op = WIRE_LOST, .id = id }, &(struct buf){ 0 }, NULL, 0);
	}
	b->calls_free = 0;
}

static void on_agent(struct source *s, uint32_t events)
{
	static struct buf payload;
	struct box *b = container(s, struct box, agent);

	if (events & EPOLLOUT)
		agent_writable(b);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	for (int i = 0; i < 64 && source_active(s); i++) {
		struct wire w;
		int fds[WIRE_MAX_FDS], nfds = 0, r = wire_recv(s->fd, &w, &payload, fds, &nfds);
		struct call *c;

		if (r == 0)
			return;
		if (r < 0) {
			agent_lost(b);
			return;
		}
		if (w.op == WIRE_HELLO) {
			timer_del(&b->start_limit);
			if (b->status == BOX_PROVISIONING)
				set_status(b, BOX_READY, NULL);
			wake_waiters(b);
		} else if ((c = call_of(b, w.id))) {
			c->cb(c->arg, &w, &payload, fds, nfds); /* takes the descriptors */
			nfds = 0;
		}
		while (nfds)
			close(fds[--nfds]);
	}
}

/* ---- life ---- */

static void box_free(struct box *b)
{
	for (struct box **p = &boxes; *p; p = &(*p)->next) {
		if (*p == b) {
			*p = b->next;
			break;
		}
	}
	timer_del(&b->idle);
	timer_del(&b->removal);
	timer_del(&b->expiry);
	timer_del(&b->start_limit);
	timer_del(&b->stop_limit);
	json_decref(b->doc);
	free(b->status_message);
	free(b->home);
	free(b->calls);
	loop_free_later(b);
}

static void process_ended(struct box *b)
{
	int fd = b->process.fd;
	bool told = b->stopping;

	waitpid(b->pid, NULL, 0);
	source_del(&b->process);
	close(fd);
	timer_del(&b->start_limit);
	timer_del(&b->stop_limit);
	b->pid = 0;
	b->stopping = false;
	agent_lost(b);
	if (b->status == BOX_DELETING) {
		commands_forget(b);
		store_remove_box_later(b->id);
		box_free(b);
		return;
	}
	if (told)
		set_status(b, BOX_STOPPED, NULL);
	else
		set_status(b, BOX_FAILED, b->status == BOX_PROVISIONING ? "the sandbox did not start"
									 : "the sandbox's init process ended");
	wake_waiters(b);
	if (b->restart) {
		b->restart = false;
		box_start(b);
	}
}

static void on_process(struct source *s, uint32_t events)
{
	(void)events;
	process_ended(container(s, struct box, process));
}

static void on_start_limit(struct timer *t)
{
	struct box *b = container(t, struct box, start_limit);

	logf_err("sandbox %s did not start within %d s", b->id, START_LIMIT_MS / 1000);
	kill(b->pid, SIGKILL);
}

static void on_stop_limit(struct timer *t)
{
	kill(container(t, struct box, stop_limit)->pid, SIGKILL);
}

static bool own_system(const struct box *b)
{
	return json_is_true(json_object_get(b->doc, "own_system"));
}

static void start_failed(struct box *b, const char *why)
{
	set_status(b, BOX_FAILED, why);
	wake_waiters(b);
}

/* Nothing is fetched for mount_config: its mounts are directories of the sandbox. */
static bool mount_stand_ins(const struct box *b, char **why)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(json_object_get(b->doc, "mount_config"), "mounts"), i, v)
	{
		if (!store_mount_point(b->id, json_string_value(json_object_get(v, "mount_path")), b->uid, why))
			return false;
	}
	return true;
}

static void launch(struct box *b)
{
	struct launched l;
	struct binds binds = { 0 };
	char *why = NULL, *root = store_root(b->id);
	struct launch how = { .root = root, .home = b->home, .uid = b->uid, .own_system = own_system(b) };
	bool ok = binds_of(b, &binds, &why) && store_prepare_root(b->id, b->uid, how.own_system, &why);

	for (size_t i = 0; ok && i < binds.n; i++)
		ok = store_mount_point(b->id, binds.v[i].to, b->uid, &why);
	ok = ok && mount_stand_ins(b, &why);
	how.binds = binds.v;
	how.binds_n = binds.n;
	if (!ok || !launch_agent(&how, &l, &why)) {
		start_failed(b, why);
	} else {
		b->pid = l.pid;
		source_add(&b->process, l.pidfd, EPOLLIN, on_process);
		source_add(&b->agent, l.sock, EPOLLIN, on_agent);
		timer_set(&b->start_limit, START_LIMIT_MS, on_start_limit);
	}
	binds_free(&binds);
	free(root);
	free(why);
}

static void on_seeded(struct job *j, bool ok, const char *text)
{
	struct box *b = container(j, struct box, seeding);
	char *why = NULL;

	if (ok)
		ok = store_make_root(b->id, b->uid, own_system(b), &why);
	if (ok) {
		seed_done(b);
		box_changed(b);
		launch(b);
	} else {
		start_failed(b, why ? why : text);
	}
	free(why);
}

void box_start(struct box *b)
{
	char *why;

	if (b->status == BOX_DELETING || server.stopping || b->seeding.active)
		return;
	if (b->pid) {
		b->restart = b->stopping;
		return;
	}
	set_status(b, BOX_PROVISIONING, NULL);
	if (!seed_wanted(b)) {
		launch(b);
	} else if (!seed_start(b, on_seeded, &why)) {
		start_failed(b, why);
		free(why);
	}
}

/* The agent ends when its socket does, and with it everything inside. */
static void end_agent(struct box *b)
{
	b->stopping = true;
	agent_lost(b);
	timer_set(&b->stop_limit, STOP_LIMIT_MS, on_stop_limit);
}

void box_stop(struct box *b)
{
	b->restart = false;
	if (b->pid && !b->stopping)
		end_agent(b);
	else if (!b->pid && b->status == BOX_FAILED)
		set_status(b, BOX_STOPPED, NULL);
}

void box_delete(struct box *b)
{
	struct box_waiter *w = b->waiters, *next;

	if (b->status == BOX_DELETING)
		return;
	set_status(b, BOX_DELETING, NULL);
	timer_del(&b->idle);
	timer_del(&b->removal);
	timer_del(&b->expiry);
	job_kill(&b->seeding);
	b->waiters = NULL;
	b->restart = false;
	for (; w; w = next) {
		next = w->next;
		w->box = NULL;
		w->done(w, false);
	}
	if (b->pid) {
		if (!b->stopping)
			end_agent(b);
		return;
	}
	commands_forget(b);
	store_remove_box_later(b->id);
	box_free(b);
}

static void wait_on(struct box *b, struct box_waiter *w, void (*done)(struct box_waiter *, bool), bool for_stop)
{
	*w = (struct box_waiter){ .next = b->waiters, .box = b, .done = done, .for_stop = for_stop };
	b->waiters = w;
}

void box_when_ready(struct box *b, struct box_waiter *w, void (*done)(struct box_waiter *, bool))
{
	if (b->status == BOX_READY && !b->stopping) {
		w->box = NULL;
		done(w, true);
	} else if (b->status == BOX_FAILED || b->status == BOX_DELETING || server.stopping ||
		   (generation_old() && b->status == BOX_STOPPED)) {
		w->box = NULL;
		done(w, false);
	} else {
		wait_on(b, w, done, false);
		box_start(b);
	}
}

void box_when_stopped(struct box *b, struct box_waiter *w, void (*done)(struct box_waiter *, bool))
{
	wait_on(b, w, done, true);
	box_stop(b);
	wake_waiters(b);
}

void box_wait_cancel(struct box_waiter *w)
{
	if (!w->box)
		return;
	for (struct box_waiter **p = &w->box->waiters; *p; p = &(*p)->next) {
		if (*p == w) {
			*p = w->next;
			break;
		}
	}
	w->box = NULL;
}

static struct box *box_new(const char *id, json_t *doc)
{
	struct box *b = xcalloc(1, sizeof *b);

	snprintf(b->id, sizeof b->id, "%s", id);
	b->doc = doc;
	b->uid = launch_uid(id);
	b->home = server.isolation ? xstrdup("/root") : xasprintf("%s/boxes/%s/root/root", server.state, id);
	b->next = boxes;
	boxes = b;
	return b;
}

struct box *box_create(json_t *doc, char **why)
{
	char id[37];
	struct box *b;

	make_uuid(id);
	put_time(doc, "created_at", wall_ms());
	json_object_set_new(doc, "created_ms", json_integer(wall_ms()));
	/* A root that is to be filled is completed afterwards. */
	if (!(json_object_get(doc, "seed") ? store_make_dir(id, why) : store_make_root(id, launch_uid(id), false, why))) {
		char *dir = store_box_dir(id);

		store_remove_tree(dir);
		free(dir);
		return NULL;
	}
	b = box_new(id, doc);
	box_start(b);
	return b;
}

static void load_one(const char *id, json_t *doc)
{
	const char *status = json_string_value(json_object_get(doc, "status"));
	struct box *b;

	if (strlen(id) != 36 || !json_string_value(json_object_get(doc, "name"))) {
		json_decref(doc);
		return;
	}
	if (status && strcmp(status, "deleting") == 0) {
		json_decref(doc);
		store_remove_box_later(id);
		return;
	}
	b = box_new(id, doc);
	b->status = BOX_STOPPED;
	/* One that ran when the server ended runs again. */
	if (status && strcmp(status, "stopped") != 0 && strcmp(status, "failed") != 0)
		box_start(b);
	else
		set_timers(b);
}

void box_load_all(void)
{
	store_load(load_one);
}

void boxes_shutdown(void)
{
	int64_t until = now_ms() + 2 * STOP_LIMIT_MS;

	for (struct box *b = boxes; b; b = b->next) {
		/* The saved record keeps saying "ready", so that it runs again next time. */
		if (b->pid && !b->stopping)
			end_agent(b);
	}
	for (struct box *b = boxes, *next; b; b = next) {
		next = b->next;
		while (b->pid && now_ms() < until) {
			if (waitpid(b->pid, NULL, WNOHANG) != 0)
				b->pid = 0;
			else
				usleep(2000);
		}
		if (b->pid) {
			kill(b->pid, SIGKILL);
			waitpid(b->pid, NULL, 0);
			b->pid = 0;
		}
		if (source_active(&b->process)) {
			int fd = b->process.fd;

			source_del(&b->process);
			close(fd);
		}
		timer_del(&b->stop_limit);
		timer_del(&b->idle);
		timer_del(&b->removal);
		timer_del(&b->expiry);
		if (b->status == BOX_DELETING)
			store_remove_box_later(b->id);
	}
}
