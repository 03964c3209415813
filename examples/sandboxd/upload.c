/* POST /upload: one multipart part, written through to disk as it arrives. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datacall.h"
#include "files.h"
#include "model.h"

#define PART_BUFFER 65536

struct upload {
	struct req *r;
	struct data_call call;
	struct MHD_PostProcessor *parts;
	char *path, *temporary, *final;
	int fd;
	uint64_t size;
	bool begun, got_file;
};

static void upload_free(struct upload *u)
{
	struct box *b = box_find(u->call.box_id, false);

	if (u->temporary && b) { /* not committed */
		struct buf name = { 0 };

		buf_addz(&name, u->temporary);
		box_send(b, WIRE_ABORT, 0, &name);
		buf_free(&name);
	}
	if (u->parts)
		MHD_destroy_post_processor(u->parts);
	close_fd(&u->fd);
	free(u->path);
	free(u->temporary);
	free(u->final);
	loop_free_later(u);
}

static void cleanup(struct req *r)
{
	struct upload *u = r->state;

	u->r = NULL;
	if (data_call_orphan(&u->call))
		upload_free(u);
}

static void on_failed(struct data_call *d)
{
	struct upload *u = container(d, struct upload, call);

	if (!d->r)
		upload_free(u);
}

static enum MHD_Result on_part(void *cls, enum MHD_ValueKind kind, const char *key, const char *filename,
			       const char *content_type, const char *encoding, const char *data, uint64_t offset, size_t n)
{
	struct upload *u = cls;

	(void)kind;
	(void)content_type;
	(void)encoding;
	if (!filename && (!key || strcmp(key, "file") != 0))
		return MHD_YES;
	if (u->got_file && offset == 0 && u->size)
		return MHD_YES; /* only the first file counts */
	u->got_file = true;
	if (u->r->response)
		return MHD_YES;
	if (!write_all(u->fd, data, n))
		file_error(u->r, "WriteError", u->path, errno);
	u->size += n;
	return MHD_YES;
}

static void on_opened(struct data_call *d, const struct wire *w, const struct buf *payload, int fd)
{
	struct upload *u = container(d, struct upload, call);
	size_t at = 0;
	const char *temporary = wire_next(payload, &at), *final = wire_next(payload, &at);

	if (w->a == 0 && fd >= 0 && temporary && final) {
		u->fd = fd;
		u->temporary = xstrdup(temporary);
		u->final = xstrdup(final);
	} else {
		close_fd(&fd);
	}
	if (!u->r) {
		upload_free(u);
		return;
	}
	if (u->fd < 0)
		file_error(u->r, "WriteError", u->path, w->a ? w->a : EIO);
	else
		http_continue(u->r);
}

static void begin(struct req *r)
{
	struct upload *u = xcalloc(1, sizeof *u);
	struct box *b = http_box(r);
	json_t *details;

	u->r = r;
	u->fd = u->call.fd = -1;
	u->begun = true;
	r->state = u;
	r->cleanup = cleanup;
	if (!b)
		return;
	u->path = file_path(r);
	if (!u->path)
		return;
	u->parts = MHD_create_post_processor(r->conn, PART_BUFFER, on_part, u);
	if (!u->parts) {
		details = json_array();
		model_problem(details, "body", "file", "the body must be multipart/form-data with a part named file");
		http_invalid(r, details);
		return;
	}
	u->call.op = WIRE_WRITE;
	u->call.done = on_opened;
	u->call.failed = on_failed;
	buf_addz(&u->call.payload, u->path);
	data_call_start(&u->call, r, b);
}

static bool on_body(struct req *r, const char *p, size_t n)
{
	struct upload *u;

	if (!r->state)
		begin(r);
	if (r->response)
		return true;
	u = r->state;
	if (u->fd < 0)
		return false;
	MHD_post_process(u->parts, p, n);
	return true;
}

static void on_committed(struct data_call *d, const struct wire *w, const struct buf *payload, int fd)
{
	struct upload *u = container(d, struct upload, call);

	(void)payload;
	close_fd(&fd);
	free(u->temporary); /* renamed, or removed by the agent */
	u->temporary = NULL;
	if (!u->r) {
		upload_free(u);
		return;
	}
	if (w->a)
		file_error(u->r, "WriteError", u->path, w->a);
	else
		http_json(u->r, 200,
			  json_pack("{s:s,s:I}", "path", u->final, "size_bytes", (json_int_t)u->size));
}

static void run(struct req *r)
{
	struct upload *u;
	struct box *b;
	json_t *details;

	if (!r->state)
		begin(r);
	if (r->response)
		return;
	u = r->state;
	b = http_box(r);
	if (!b)
		return;
	if (u->parts) {
		MHD_destroy_post_processor(u->parts);
		u->parts = NULL;
	}
	if (!u->got_file || u->fd < 0) {
		details = json_array();
		model_problem(details, "body", "file", "the form has no part named file");
		http_invalid(r, details);
		return;
	}
	close_fd(&u->fd);
	u->call.op = WIRE_COMMIT;
	u->call.done = on_committed;
	buf_addz(&u->call.payload, u->temporary);
	buf_addz(&u->call.payload, u->final);
	data_call_start(&u->call, r, b);
}

const struct route upload_routes[] = {
	{ "POST", "/dataplane/{}/upload", ROUTE_DATA, run, on_body },
	{ 0 },
};
