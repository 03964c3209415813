/* Control plane: create, get, list, update, delete, status, start, stop. */
#include "boxes.h"

#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "generation.h"
#include "model.h"
#include "page.h"
#include "seed.h"

#define DEFAULT_WAIT_S 30

/* A request that waits for a sandbox. */
struct waiting {
	struct req *r;
	struct box_waiter waiter;
	struct timer limit;
	double limit_s;
	char box_id[37];
	unsigned status; /* of the answer */
};

static struct box *named_box(struct req *r)
{
	struct box *b = box_find(r->arg[0], true);

	if (!b)
		http_error(r, 404, "ResourceNotFound", "Sandbox '%s' not found", r->arg[0]);
	return b;
}

static void waiting_cleanup(struct req *r)
{
	struct waiting *w = r->state;

	box_wait_cancel(&w->waiter);
	timer_del(&w->limit);
	loop_free_later(w);
}

static struct waiting *wait_begin(struct req *r, struct box *b, unsigned status)
{
	struct waiting *w = xcalloc(1, sizeof *w);

	w->r = r;
	w->status = status;
	memcpy(w->box_id, b->id, sizeof w->box_id);
	r->state = w;
	r->cleanup = waiting_cleanup;
	return w;
}

static void on_created(struct box_waiter *waiter, bool ok)
{
	struct waiting *w = container(waiter, struct waiting, waiter);
	struct box *b = box_find(w->box_id, false);

	timer_del(&w->limit);
	if (ok && b)
		http_json(w->r, w->status, box_json(b, w->r));
	else if (b)
		http_error(w->r, 422, "SandboxConfig", "%s",
			   b->status_message ? b->status_message : "Sandbox creation failed");
	else
		http_error(w->r, 404, "ResourceNotFound", "The sandbox was deleted while it was created");
}

static void on_wait_limit(struct timer *t)
{
	struct waiting *w = container(t, struct waiting, limit);
	struct box *b = box_find(w->box_id, false);

	box_wait_cancel(&w->waiter);
	http_error(w->r, 408, "Timeout", "Sandbox did not become ready within %g seconds (last status: %s)", w->limit_s,
		   b ? box_status_text(b) : "deleting");
}

static void create(struct req *r)
{
	json_t *body = http_body_json(r), *details, *doc;
	const char *name;
	struct waiting *w;
	struct box *b;
	char *why = NULL;

	if (!body)
		return;
	details = json_array();
	doc = model_create(body, details);
	if (!doc) {
		http_invalid(r, details);
		return;
	}
	json_decref(details);
	name = json_string_value(json_object_get(doc, "name"));
	if (!seed_choose(r, body, doc)) {
		json_decref(doc);
		return;
	}
	if (box_find(name, true)) {
		http_error(r, 409, "Conflict", "A sandbox named '%s' exists already", name);
		json_decref(doc);
		return;
	}
	b = box_create(doc, &why);
	if (!b) {
		http_error(r, 503, "Unschedulable", "%s", why);
		json_decref(doc);
		free(why);
		return;
	}
	if (!json_is_true(json_object_get(body, "wait_for_ready"))) {
		http_json(r, 201, box_json(b, r));
		return;
	}
	w = wait_begin(r, b, 201);
	w->limit_s = json_number_value(json_object_get(body, "timeout"));
	if (!(w->limit_s > 0) || w->limit_s > 86400)
		w->limit_s = DEFAULT_WAIT_S;
	timer_set(&w->limit, (int64_t)(w->limit_s * 1000), on_wait_limit);
	box_when_ready(b, &w->waiter, on_created);
}

static void get(struct req *r)
{
	struct box *b = named_box(r);

	if (b)
		http_json(r, 200, box_json(b, r));
}

static void update(struct req *r)
{
	struct box *b = named_box(r), *other;
	json_t *body = b ? http_body_json(r) : NULL, *details;
	const char *name;

	if (!body)
		return;
	name = json_string_value(json_object_get(body, "name"));
	other = name ? box_find(name, true) : NULL;
	if (other && other != b) {
		http_error(r, 409, "Conflict", "Sandbox name '%s' is already in use", name);
		return;
	}
	if (generation_old() && b->status != BOX_READY && json_object_get(body, "proxy_config")) {
		http_error(r, 400, "InvalidRequest", "Sandbox '%s' is %s; proxy_config needs a ready one", r->arg[0],
			   box_status_text(b));
		return;
	}
	details = json_array();
	if (!model_update(b->doc, body, details)) {
		http_invalid(r, details);
		return;
	}
	json_decref(details);
	if (json_object_size(body))
		box_changed(b);
	http_json(r, 200, box_json(b, r));
}

static void delete_box(struct req *r)
{
	struct box *b = named_box(r);

	if (!b)
		return;
	box_delete(b);
	http_empty(r, 204);
}

static void status(struct req *r)
{
	struct box *b = named_box(r);

	if (b)
		http_json(r, 200,
			  json_pack("{s:s,s:s?}", "status", box_status_text(b), "status_message", b->status_message));
}

static void start(struct req *r)
{
	struct box *b = named_box(r);

	if (!b)
		return;
	if (!b->stopping && b->status != BOX_STOPPED && b->status != BOX_FAILED) {
		http_error(r, 409, "Conflict", "Sandbox '%s' is %s, not stopped", r->arg[0], box_status_text(b));
		return;
	}
	box_start(b);
	http_json(r, 200, box_json(b, r));
}

static void on_stopped(struct box_waiter *waiter, bool ok)
{
	struct waiting *w = container(waiter, struct waiting, waiter);

	if (ok)
		http_empty(w->r, 204);
	else
		http_error(w->r, 409, "Conflict", "The sandbox did not stop");
}

static void stop(struct req *r)
{
	struct box *b = named_box(r);
	struct waiting *w;

	if (!b)
		return;
	if (b->status == BOX_STOPPED) {
		http_error(r, 409, "Conflict", "Sandbox '%s' is stopped already", r->arg[0]);
		return;
	}
	w = wait_begin(r, b, 204);
	box_when_stopped(b, &w->waiter, on_stopped);
}

static struct req *list_for; /* who asked: pages_answer passes things only */

static json_t *show(void *box)
{
	return box_json(box, list_for);
}

static void list(struct req *r)
{
	static const char *const columns[] = { "created_at", "name", "status", "stopped_at", "idle_ttl_seconds",
					       "delete_after_stop_seconds", NULL };
	struct pages p;

	if (!pages_begin(&p, r, columns))
		return;
	for (struct box *b = boxes; b; b = b->next)
		pages_add(&p, b->id, box_status_text(b), b->doc, b);
	list_for = r;
	pages_answer(&p, "sandboxes", show);
}

const struct route boxes_routes[] = {
	{ "POST", "/v2/sandboxes/boxes", ROUTE_CONTROL, create, NULL },
	{ "GET", "/v2/sandboxes/boxes", ROUTE_CONTROL, list, NULL },
	{ "GET", "/v2/sandboxes/boxes/{}", ROUTE_CONTROL, get, NULL },
	{ "PATCH", "/v2/sandboxes/boxes/{}", ROUTE_CONTROL, update, NULL },
	{ "DELETE", "/v2/sandboxes/boxes/{}", ROUTE_CONTROL, delete_box, NULL },
	{ "GET", "/v2/sandboxes/boxes/{}/status", ROUTE_CONTROL, status, NULL },
	{ "POST", "/v2/sandboxes/boxes/{}/start", ROUTE_CONTROL, start, NULL },
	{ "POST", "/v2/sandboxes/boxes/{}/stop", ROUTE_CONTROL, stop, NULL },
	{ 0 },
};
