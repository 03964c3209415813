/* WebSocket /execute/ws: a command's streams, live and resumable. */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "commands.h"
#include "generation.h"
#include "server.h"
#include "ssh.h"
#include "text.h"
#include "ws.h"

#define CHUNK 65536
#define INPUT_QUEUE_MAX (4 << 20) /* unread stdin at which the connection is not read further */
#define FIRST_MESSAGE_MS 60000

struct session {
	struct ws *ws;
	char box_id[37];
	struct watcher watcher;
	struct box_waiter waiter;
	struct timer first;
	struct command_spec spec; /* while the sandbox wakes up */
	bool begun, started_sent, ended;
	int turn; /* which stream comes next */
};

static void send_json(struct session *s, json_t *msg)
{
	char *text = json_dumps(msg, JSON_COMPACT);

	json_decref(msg);
	if (text)
		ws_send(s->ws, false, text, strlen(text));
	free(text);
}

static void end_with_error(struct session *s, const char *type, const char *text, int code)
{
	if (s->ended)
		return;
	s->ended = true;
	send_json(s, json_pack("{s:s,s:s,s:s}", "type", "error", "error_type", type, "error", text));
	ws_close(s->ws, code, code == 1000 ? "" : "invalid request");
}

/* Sends the next piece of one stream; false when there is none. */
static bool send_output(struct session *s, int i)
{
	static char message[JSON_ESCAPE_MAX(CHUNK) + 128], linear[CHUNK];
	struct command *c = s->watcher.command;
	const struct ring *ring = &c->out[i].ring;
	uint64_t from = s->watcher.offset[i];
	struct iovec v[2];
	size_t n, used, at;
	int pieces;
	bool last;

	if (from < ring->start) /* overwritten meanwhile: the offset tells the client */
		from = s->watcher.offset[i] = ring->start;
	pieces = ring_view(ring, from, CHUNK, v);
	if (!pieces)
		return false;
	n = v[0].iov_len;
	if (pieces == 2) {
		memcpy(linear, v[0].iov_base, v[0].iov_len);
		memcpy(linear + v[0].iov_len, v[1].iov_base, v[1].iov_len);
		n += v[1].iov_len;
		v[0].iov_base = linear;
	}
	last = from + n == ring->end && (c->out[i].fd < 0 || command_done(c));
	at = (size_t)sprintf(message, "{\"type\":\"%s\",\"data\":\"", i ? "stderr" : "stdout");
	at += json_escape(message + at, v[0].iov_base, n, last, &used);
	if (!used)
		return false;
	at += (size_t)sprintf(message + at, "\",\"offset\":%llu}", (unsigned long long)from);
	s->watcher.offset[i] = from + used;
	ws_send(s->ws, false, message, at);
	if (s->watcher.command)
		command_progress(c);
	return true;
}

/* The next piece of a channel to the client's SSH agent; false when there is none. */
static bool send_ssh(struct session *s, struct ssh *ssh)
{
	static struct ssh_piece piece;
	struct buf b = { 0 };

	if (!ssh_next(ssh, s, &piece))
		return false;
	buf_addf(&b, "{\"type\":\"ssh_agent_%s\",\"channel_id\":\"%u\"", piece.n ? "data" : "close", piece.channel);
	if (piece.n) {
		buf_adds(&b, ",\"data\":\"");
		buf_add_base64(&b, piece.data, piece.n);
		buf_adds(&b, "\"");
	}
	buf_adds(&b, "}");
	ws_send(s->ws, false, b.p, b.n);
	buf_free(&b);
	return true;
}

static void take_ssh(struct session *s, struct ssh *ssh, const json_t *msg, bool end)
{
	const char *channel = json_string_value(json_object_get(msg, "channel_id"));
	const json_t *data = json_object_get(msg, "data");
	struct buf bytes = { 0 };

	if (channel && end)
		ssh_end_channel(ssh, s, channel);
	else if (channel && json_is_string(data) &&
		 base64_decode(json_string_value(data), json_string_length(data), &bytes))
		ssh_data(ssh, s, channel, bytes.p, bytes.n);
	buf_free(&bytes);
}

static bool fill(struct ws *w)
{
	struct session *s = ws_user(w);
	struct command *c = s->watcher.command;

	if (!c || s->ended)
		return false;
	if (!s->started_sent) {
		if (c->state == COMMAND_STARTING)
			return false;
		s->started_sent = true;
		if (c->pid) {
			send_json(s, json_pack("{s:s,s:s,s:i}", "type", "started", "command_id", c->id, "pid", c->pid));
			return true;
		}
	}
	if (c->ssh && send_ssh(s, c->ssh))
		return true;
	for (int k = 0; k < 2; k++) {
		int i = s->turn ^ k;

		if (send_output(s, i)) {
			s->turn = i ^ 1;
			return true;
		}
	}
	if (!command_done(c))
		return false;
	if (c->error_type) {
		end_with_error(s, c->error_type, c->error, 1000);
	} else {
		s->ended = true;
		send_json(s, json_pack("{s:s,s:i}", "type", "exit", "exit_code", c->exit_code));
		ws_close(w, 1000, "");
	}
	return false;
}

static void on_notify(struct watcher *watcher)
{
	struct session *s = container(watcher, struct session, watcher);

	if (command_input_queued(watcher->command) < INPUT_QUEUE_MAX / 2)
		ws_pause(s->ws, false);
	ws_kick(s->ws);
}

static void on_gone(struct watcher *watcher)
{
	end_with_error(container(watcher, struct session, watcher), "SessionExpired", "the sandbox was deleted", 1000);
}

static void on_ssh(void *arg)
{
	ws_kick(((struct session *)arg)->ws);
}

static void attach(struct session *s, struct command *c, uint64_t out_offset, uint64_t err_offset)
{
	if (c->keep_unacked) { /* what this one read would never be acknowledged */
		end_with_error(s, "TransportMismatch", "this command streams as events: resume it there (execute/stream/resume)",
			       1000);
		return;
	}
	s->watcher.notify = on_notify;
	s->watcher.gone = on_gone;
	command_attach(c, &s->watcher, out_offset, err_offset);
	if (c->ssh)
		ssh_attach(c->ssh, on_ssh, s);
	ws_kick(s->ws);
}

static void unknown_command(struct session *s, struct box *b, const char *id)
{
	bool expired = command_expired(b, id);
	char *text = xasprintf(expired ? "the session of command %s has expired" : "there is no command %s", id);

	end_with_error(s, expired ? "SessionExpired" : "CommandNotFound", text, 1000);
	free(text);
}

static void on_ready(struct box_waiter *waiter, bool ok)
{
	struct session *s = container(waiter, struct session, waiter);
	struct box *b = box_find(s->box_id, false);
	struct command *c;

	if (!b || !ok) {
		end_with_error(s, b ? "NotReady" : "ResourceNotFound", b ? "the sandbox is not ready" : "the sandbox is gone",
			       1000);
		return;
	}
	/* Whoever names a known command means that one: a repeated execute never runs twice. */
	c = command_find(b, s->spec.id);
	if (!c && command_expired(b, s->spec.id)) {
		unknown_command(s, b, s->spec.id);
		return;
	}
	if (!c)
		c = command_start(b, &s->spec);
	command_spec_free(&s->spec);
	if (c)
		attach(s, c, 0, 0);
	else
		end_with_error(s, "CommandError", "the sandbox takes no more commands", 1000);
}

static void begin_execute(struct session *s, const json_t *msg)
{
	struct box *b = box_find(s->box_id, false);
	const char *type;
	char *why;

	if (!command_spec_parse(msg, &s->spec, &type, &why)) {
		end_with_error(s, type, why, 1008);
		free(why);
	} else if (!b) {
		end_with_error(s, "ResourceNotFound", "the sandbox is gone", 1000);
	} else {
		box_when_ready(b, &s->waiter, on_ready);
	}
}

static uint64_t offset_field(const json_t *msg, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(msg, key));

	return v > 0 ? (uint64_t)v : 0;
}

static void begin_reconnect(struct session *s, const json_t *msg)
{
	const char *id = json_string_value(json_object_get(msg, "command_id"));
	struct box *b = box_find(s->box_id, false);
	struct command *c = b && id ? command_find(b, id) : NULL;

	if (!id) {
		end_with_error(s, "InvalidRequest", "command_id is required", 1008);
	} else if (!b) {
		end_with_error(s, "ResourceNotFound", "the sandbox is gone", 1000);
	} else if (!c) {
		unknown_command(s, b, id);
	} else {
		s->started_sent = generation_old(); /* which says nothing of a reconnect */
		attach(s, c, offset_field(msg, "stdout_offset"), offset_field(msg, "stderr_offset"));
	}
}

static void on_message(struct ws *w, bool binary, const char *p, size_t n)
{
	struct session *s = ws_user(w);
	struct command *c = s->watcher.command;
	json_t *msg = binary ? NULL : json_loadb(p, n, JSON_ALLOW_NUL, NULL);
	const char *type = json_string_value(json_object_get(msg, "type"));

	if (s->ended) {
		/* nothing of this command matters any more */
	} else if (!type) {
		end_with_error(s, "InvalidRequest", "a message is a JSON object with a type", 1008);
	} else if (!s->begun) {
		s->begun = true;
		timer_del(&s->first);
		if (strcmp(type, "execute") == 0)
			begin_execute(s, msg);
		else if (strcmp(type, "reconnect") == 0)
			begin_reconnect(s, msg);
		else
			end_with_error(s, "InvalidRequest", "the first message must be execute or reconnect", 1008);
	} else if (c && strcmp(type, "input") == 0) {
		const json_t *data = json_object_get(msg, "data");

		command_input(c, json_string_value(data), json_string_length(data));
		if (command_input_queued(c) >= INPUT_QUEUE_MAX)
			ws_pause(w, true);
	} else if (c && strcmp(type, "close_stdin") == 0) {
		command_close_input(c);
	} else if (c && strcmp(type, "resize") == 0) {
		command_resize(c, (int)json_integer_value(json_object_get(msg, "cols")),
			       (int)json_integer_value(json_object_get(msg, "rows")));
	} else if (c && strcmp(type, "kill") == 0) {
		command_kill(c);
	} else if (c && c->ssh && strncmp(type, "ssh_agent_", 10) == 0) {
		take_ssh(s, c->ssh, msg, strcmp(type, "ssh_agent_close") == 0);
	}
	json_decref(msg);
}

static void on_closed(struct ws *w)
{
	struct session *s = ws_user(w);

	s->ended = true;
	timer_del(&s->first);
	box_wait_cancel(&s->waiter);
	if (s->watcher.command && s->watcher.command->ssh)
		ssh_detach(s->watcher.command->ssh, s);
	command_detach(&s->watcher);
	command_spec_free(&s->spec);
	loop_free_later(s);
}

static void on_first_missing(struct timer *t)
{
	end_with_error(container(t, struct session, first), "InvalidRequest", "no execute or reconnect message came", 1008);
}

static void on_opened(struct ws *w, void *user)
{
	struct session *s = user;

	if (!w) {
		free(s);
		return;
	}
	s->ws = w;
	ws_set_user(w, s);
	timer_set(&s->first, FIRST_MESSAGE_MS, on_first_missing);
}

static void run(struct req *r)
{
	static const struct ws_ops ops = { on_message, fill, on_closed };
	struct box *b = http_box(r);
	struct session *s;

	if (!b)
		return;
	s = xcalloc(1, sizeof *s);
	memcpy(s->box_id, b->id, sizeof s->box_id);
	ws_accept(r, &ops, on_opened, s);
}

const struct route stream_routes[] = {
	{ "GET", "/dataplane/{}/execute/ws", ROUTE_DATA, run, NULL },
	{ 0 },
};
