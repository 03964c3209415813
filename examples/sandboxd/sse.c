/* POST /execute/stream/start and /resume: a command's output as server-sent
 * events, byte-exact. What is sent stays in the command's buffer until a resume
 * acknowledges it; a command whose buffer is full waits. */
#include "sse.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "commands.h"
#include "fault.h"
#include "http_stream.h"
#include "server.h"

#define CHUNK 32768

struct follower {
	struct follower *next, *prev;
	struct req *r;
	struct http_stream stream;
	struct watcher watcher;
	struct box_waiter waiter;
	struct timer heartbeat;
	struct command_spec spec;
	struct buf input; /* for a command that is started */
	char box_id[37];
	bool resume;
	uint64_t offset[2];
	struct buf out; /* the event being sent */
	size_t out_at;
	uint64_t output; /* bytes of it in this response */
	struct fault_ws fault;
	uint64_t sent;
	bool started_sent, ended[2], over;
	int turn; /* which stream comes next */
};

static struct follower *followers;
static const char *const names[] = { "stdout", "stderr" };

/* ---- events ---- */

static void add_event(struct follower *f, const char *type, json_t *data)
{
	char *text = json_dumps(data, JSON_COMPACT);

	json_decref(data);
	buf_addf(&f->out, "event: %s\ndata: %s\n\n", type, text ? text : "{}");
	free(text);
}

static void end_with_error(struct follower *f, const char *type, const char *text)
{
	if (f->over)
		return;
	add_event(f, "error", json_pack("{s:s,s:s}", "error_type", type, "error", text));
	f->over = true;
}

/* The next piece of one stream; false when there is none. */
static bool add_output(struct follower *f, int i)
{
	struct command *c = f->watcher.command;
	const struct ring *ring = &c->out[i].ring;
	uint64_t from = f->watcher.offset[i];
	struct iovec v[2];
	size_t n = 0;

	if (from < ring->start) {
		end_with_error(f, "ReadOffsetUnavailable", "another response of this command acknowledged what follows here");
		return true;
	}
	if (!ring_view(ring, from, CHUNK, v))
		return false;
	n = v[0].iov_len;
	buf_addf(&f->out, "event: %s\ndata: {\"offset\":%llu,\"data\":\"", names[i], (unsigned long long)from);
	buf_add_base64(&f->out, v[0].iov_base, n);
	buf_adds(&f->out, "\"}\n\n");
	f->watcher.offset[i] += n;
	f->output += n;
	if (c->delivered[i] < f->watcher.offset[i])
		c->delivered[i] = f->watcher.offset[i];
	return true;
}

static bool add_stream_end(struct follower *f, int i)
{
	struct command *c = f->watcher.command;

	if (f->ended[i] || (c->out[i].fd >= 0 && !command_done(c)))
		return false;
	f->ended[i] = true;
	add_event(f, "stream_end",
		  json_pack("{s:s,s:I}", "stream", names[i], "offset", (json_int_t)f->watcher.offset[i]));
	return true;
}

/* Half of the buffer: the rest has room while the client acknowledges. */
static bool wants_ack(const struct follower *f)
{
	const struct command *c = f->watcher.command;

	return f->output >= c->out[0].ring.max / 2 && !command_done(c);
}

static void add_end(struct follower *f, const struct command *c)
{
	if (c->error_type) {
		end_with_error(f, c->error_type, c->error);
		return;
	}
	add_event(f, "exit", json_pack("{s:i}", "exit_code", c->exit_code));
	f->over = true;
}

/* Makes the next event; false when there is none now. */
static bool next_event(struct follower *f)
{
	struct command *c = f->watcher.command;

	if (!c || (!f->started_sent && c->state == COMMAND_STARTING))
		return false;
	if (!f->started_sent) {
		f->started_sent = true;
		if (c->pid) {
			add_event(f, "started", json_pack("{s:s,s:i}", "command_id", c->id, "pid", c->pid));
			return true;
		}
	}
	if (wants_ack(f)) {
		add_event(f, "ack_required",
			  json_pack("{s:I,s:I}", "stdout_offset", (json_int_t)f->watcher.offset[0], "stderr_offset",
				    (json_int_t)f->watcher.offset[1]));
		f->over = true;
		return true;
	}
	for (int k = 0; k < 2; k++) {
		int i = f->turn ^ k;

		if (add_output(f, i)) {
			f->turn = i ^ 1;
			return true;
		}
	}
	if (add_stream_end(f, 0) || add_stream_end(f, 1))
		return true;
	if (command_done(c))
		add_end(f, c);
	return f->over;
}

static ssize_t pull(struct http_stream *s, char *p, size_t max)
{
	struct follower *f = container(s, struct follower, stream);
	size_t n;

	if (f->out_at == f->out.n) {
		f->out.n = f->out_at = 0;
		if (f->over)
			return HTTP_STREAM_END;
		if (!next_event(f))
			return 0;
	}
	n = f->out.n - f->out_at < max ? f->out.n - f->out_at : max;
	if (f->fault.after && f->sent + n >= f->fault.after) {
		f->over = true;
		f->out.n = f->out_at;
		return f->fault.code ? HTTP_STREAM_END : HTTP_STREAM_ABORT;
	}
	memcpy(p, f->out.p + f->out_at, n);
	f->out_at += n;
	f->sent += n;
	return (ssize_t)n;
}

static void on_heartbeat(struct timer *t)
{
	struct follower *f = container(t, struct follower, heartbeat);

	if (f->out_at == f->out.n) {
		buf_adds(&f->out, ": keep-alive\n\n");
		http_stream_kick(&f->stream);
	}
	timer_set(t, server.heartbeat_ms, on_heartbeat);
}

static void on_notify(struct watcher *w)
{
	http_stream_kick(&container(w, struct follower, watcher)->stream);
}

static void on_gone(struct watcher *w)
{
	struct follower *f = container(w, struct follower, watcher);

	end_with_error(f, "SessionExpired", "the sandbox was deleted");
	http_stream_kick(&f->stream);
}

/* ---- the request ---- */

static void begin_stream(struct follower *f, struct command *c)
{
	f->watcher.notify = on_notify;
	f->watcher.gone = on_gone;
	command_attach(c, &f->watcher, f->offset[0], f->offset[1]);
	f->stream.r = f->r;
	f->stream.pull = pull;
	f->fault = fault_websocket(f->r->path);
	timer_set(&f->heartbeat, server.heartbeat_ms, on_heartbeat);
	http_stream_start(&f->stream, 200, "text/event-stream");
}

/* Acknowledges; false with an error event when the offsets are none to go on from. */
static bool take_offsets(struct follower *f, struct command *c)
{
	for (int i = 0; i < 2; i++) {
		char text[128];

		if (f->offset[i] > c->delivered[i]) {
			snprintf(text, sizeof text, "%s_offset %llu is past the %llu bytes that were sent", names[i],
				 (unsigned long long)f->offset[i], (unsigned long long)c->delivered[i]);
			end_with_error(f, "InvalidOffset", text);
		} else if (f->offset[i] < c->out[i].ring.start) {
			snprintf(text, sizeof text, "%s before offset %llu was acknowledged and is gone", names[i],
				 (unsigned long long)c->out[i].ring.start);
			end_with_error(f, "ReadOffsetUnavailable", text);
		}
	}
	if (!f->over && f->resume)
		command_ack(c, f->offset);
	return !f->over;
}

static void follow(struct follower *f, struct command *c)
{
	if (!c->keep_unacked) {
		http_flat_error(f->r, 409, "TransportMismatch",
				"command %s was started over the WebSocket: stream it there (execute/ws)", c->id);
		return;
	}
	take_offsets(f, c);
	begin_stream(f, c);
}

static void start_command(struct follower *f, struct box *b)
{
	struct command *c = command_find(b, f->spec.id);

	if (c) {
		follow(f, c);
		return;
	}
	if (command_expired(b, f->spec.id)) {
		http_flat_error(f->r, 409, "SessionExpired", "command %s has run, and its session has expired", f->spec.id);
		return;
	}
	c = command_start(b, &f->spec);
	if (!c) {
		http_flat_error(f->r, 503, "ServiceUnavailable", "The sandbox takes no more commands");
		return;
	}
	command_input(c, f->input.p, f->input.n);
	command_close_input(c);
	buf_free(&f->input);
	begin_stream(f, c);
}

static void on_ready(struct box_waiter *w, bool ok)
{
	struct follower *f = container(w, struct follower, waiter);
	struct box *b = box_find(f->box_id, false);

	if (!b)
		http_error(f->r, 404, "ResourceNotFound", "The sandbox was deleted");
	else if (!ok)
		http_flat_error(f->r, 400, "NotReady", "%s", b->status_message ? b->status_message : "The sandbox is not ready");
	else
		start_command(f, b);
}

static void cleanup(struct req *r)
{
	struct follower *f = r->state;

	*(f->prev ? &f->prev->next : &followers) = f->next;
	if (f->next)
		f->next->prev = f->prev;
	http_stream_end(&f->stream);
	timer_del(&f->heartbeat);
	box_wait_cancel(&f->waiter);
	command_detach(&f->watcher);
	command_spec_free(&f->spec);
	buf_free(&f->input);
	buf_free(&f->out);
	loop_free_later(f);
}

static struct follower *follower_new(struct req *r, const struct box *b)
{
	struct follower *f = xcalloc(1, sizeof *f);

	f->r = r;
	memcpy(f->box_id, b->id, sizeof f->box_id);
	f->next = followers;
	if (followers)
		followers->prev = f;
	followers = f;
	r->state = f;
	r->cleanup = cleanup;
	return f;
}

/* What this way of streaming does not have; true when it was answered. */
static bool refused(struct req *r, const struct command_spec *spec)
{
	if (spec->pty)
		http_flat_error(r, 409, "PTYUnsupported", "a terminal needs the WebSocket (execute/ws)");
	else if (spec->ssh_agent)
		http_flat_error(r, 400, "InvalidRequest", "ssh_agent_forward needs the WebSocket (execute/ws)");
	else if (spec->kill_on_disconnect)
		http_flat_error(r, 400, "InvalidRequest", "kill_on_disconnect needs the WebSocket (execute/ws)");
	return r->response != NULL;
}

static bool read_stdin(struct follower *f, const json_t *body)
{
	const json_t *v = json_object_get(body, "stdin");

	if (!v || json_is_null(v))
		return true;
	if (json_is_string(v) && base64_decode(json_string_value(v), json_string_length(v), &f->input))
		return true;
	http_flat_error(f->r, 400, "InvalidRequest", "stdin must be a base64 string");
	return false;
}

static void run_start(struct req *r, struct box *b)
{
	json_t *body = b ? http_body_json(r) : NULL;
	struct follower *f;
	const char *type;
	char *why;

	if (!body)
		return;
	f = follower_new(r, b);
	if (!command_spec_parse(body, &f->spec, &type, &why)) {
		http_flat_error(r, 400, type, "%s", why);
		free(why);
	} else if (!refused(r, &f->spec) && read_stdin(f, body)) {
		f->spec.keep_unacked = true;
		box_when_ready(b, &f->waiter, on_ready);
	}
}

static bool read_offset(struct follower *f, const json_t *body, int i)
{
	const json_t *v = json_object_get(body, i ? "stderr_offset" : "stdout_offset");
	json_int_t n = json_integer_value(v);

	if ((v && !json_is_null(v) && !json_is_integer(v)) || n < 0) {
		http_flat_error(f->r, 400, "InvalidRequest", "%s_offset must be a whole number of bytes", names[i]);
		return false;
	}
	f->offset[i] = (uint64_t)n;
	return true;
}

static void run_resume(struct req *r, struct box *b)
{
	json_t *body = b ? http_body_json(r) : NULL;
	const char *id = json_string_value(json_object_get(body, "command_id"));
	struct command *c;
	struct follower *f;

	if (!body)
		return;
	if (!id) {
		http_flat_error(r, 400, "InvalidRequest", "command_id is required");
		return;
	}
	c = command_find(b, id);
	if (!c) {
		http_flat_error(r, 404, "CommandNotFound",
				command_expired(b, id) ? "the session of command %s has expired" : "there is no command %s", id);
		return;
	}
	f = follower_new(r, b);
	f->resume = true;
	if (read_offset(f, body, 0) && read_offset(f, body, 1))
		follow(f, c);
}

/* By the sandbox's id or name, on the control plane's address. */
static struct box *named_box(struct req *r)
{
	struct box *b = box_find(r->arg[0], true);

	if (!b)
		http_error(r, 404, "ResourceNotFound", "Sandbox '%s' not found", r->arg[0]);
	return b;
}

static void data_start(struct req *r)
{
	run_start(r, http_box(r));
}

static void data_resume(struct req *r)
{
	run_resume(r, http_box(r));
}

static void control_start(struct req *r)
{
	run_start(r, named_box(r));
}

static void control_resume(struct req *r)
{
	run_resume(r, named_box(r));
}

void sse_shutdown(void)
{
	for (struct follower *f = followers; f; f = f->next) {
		command_detach(&f->watcher);
		end_with_error(f, "ServerShuttingDown", "the server is shutting down");
		http_stream_kick(&f->stream);
	}
}

const struct route sse_routes[] = {
	{ "POST", "/dataplane/{}/execute/stream/start", ROUTE_DATA, data_start, NULL },
	{ "POST", "/dataplane/{}/execute/stream/resume", ROUTE_DATA, data_resume, NULL },
	{ "POST", "/v2/sandboxes/{}/execute/stream/start", ROUTE_CONTROL, control_start, NULL },
	{ "POST", "/v2/sandboxes/{}/execute/stream/resume", ROUTE_CONTROL, control_resume, NULL },
	{ 0 },
};
