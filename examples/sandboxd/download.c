/* GET and HEAD /download: whole files, ranges, validators. */
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datacall.h"
#include "files.h"
#include "model.h"

#define VIRTUAL_MAX (1 << 20)

struct download {
	struct data_call call;
	char *path, *type, *disposition;
};

char *file_path(struct req *r)
{
	char *path = http_query(r, "path");
	json_t *details;

	if (path && *path)
		return path;
	free(path);
	details = json_array();
	model_problem(details, "query", "path", "path is required and must be percent-encoded UTF-8 without NUL");
	http_invalid(r, details);
	return NULL;
}

void file_error(struct req *r, const char *type, const char *path, int err)
{
	const char *why = err == EINVAL ? "not a regular file" : strerror(err);

	if ((err == ENOENT || err == ENOTDIR) && *type == 'R')
		http_error(r, 404, "FileNotFound", "%s: %s", path, why);
	else if (err == EACCES || err == EPERM || err == EROFS)
		http_error(r, 403, "PermissionDenied", "%s: %s", path, why);
	else
		http_error(r, err == ENOSPC || err == EIO ? 500 : 400, type, "%s: %s", path, why);
}

static const char *content_type(const char *path)
{
	static const char *const types[][2] = {
		{ "txt", "text/plain; charset=utf-8" },	 { "md", "text/markdown; charset=utf-8" },
		{ "html", "text/html; charset=utf-8" },	 { "css", "text/css; charset=utf-8" },
		{ "csv", "text/csv; charset=utf-8" },	 { "js", "text/javascript; charset=utf-8" },
		{ "py", "text/x-python; charset=utf-8" }, { "json", "application/json" },
		{ "xml", "application/xml" },		 { "pdf", "application/pdf" },
		{ "zip", "application/zip" },		 { "gz", "application/gzip" },
		{ "tar", "application/x-tar" },		 { "png", "image/png" },
		{ "jpg", "image/jpeg" },		 { "svg", "image/svg+xml" },
	};
	const char *base = strrchr(path, '/'), *dot = strrchr(base ? base : path, '.');

	for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
		if (strcasecmp(dot + 1, types[i][0]) == 0)
			return types[i][1];
	return "application/octet-stream";
}

/* If-None-Match: a list of tags, or * */
static bool none_match_hits(const char *list, const char *etag)
{
	size_t n = strlen(etag);

	while (list && *list) {
		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		if (strncmp(list, "W/", 2) == 0)
			list += 2;
		if (strncmp(list, etag, n) == 0)
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

enum range { RANGE_NONE, RANGE_OK, RANGE_UNSATISFIABLE };

static bool digits(const char **s, uint64_t *v)
{
	char *end;

	if (**s < '0' || **s > '9')
		return false;
	errno = 0;
	*v = strtoull(*s, &end, 10);
	if (errno)
		*v = UINT64_MAX;
	*s = end;
	return true;
}

/* One range; several, or a malformed header, count as none (RFC 9110 14.2). */
static enum range parse_range(const char *s, uint64_t size, uint64_t *first, uint64_t *last)
{
	if (!s || strncasecmp(s, "bytes=", 6) != 0)
		return RANGE_NONE;
	s += 6;
	s += strspn(s, " \t");
	if (*s == '-') {
		uint64_t n;

		s++;
		if (!digits(&s, &n) || *s)
			return RANGE_NONE;
		if (!n || !size)
			return RANGE_UNSATISFIABLE;
		*first = n < size ? size - n : 0;
		*last = size - 1;
		return RANGE_OK;
	}
	if (!digits(&s, first) || *s++ != '-')
		return RANGE_NONE;
	*last = UINT64_MAX;
	if (*s && (!digits(&s, last) || *s || *last < *first))
		return RANGE_NONE;
	if (*first >= size)
		return RANGE_UNSATISFIABLE;
	if (*last >= size)
		*last = size - 1;
	return RANGE_OK;
}

static void add_headers(struct MHD_Response *resp, const char *etag, const char *modified, const char *type)
{
	MHD_add_response_header(resp, "ETag", etag);
	MHD_add_response_header(resp, "Last-Modified", modified);
	MHD_add_response_header(resp, "Accept-Ranges", "bytes");
	if (type)
		MHD_add_response_header(resp, "Content-Type", type);
}

static void add_disposition(struct MHD_Response *resp, const struct download *d)
{
	if (d->disposition)
		MHD_add_response_header(resp, "Content-Disposition", d->disposition);
}

/* /proc and /sys files say that they are empty; their content is what a read gives. */
static struct MHD_Response *virtual_file(int fd)
{
	char *p = xmalloc(VIRTUAL_MAX);
	size_t n = 0;
	ssize_t r;

	while (n < VIRTUAL_MAX && (r = read(fd, p + n, VIRTUAL_MAX - n)) > 0)
		n += (size_t)r;
	close(fd);
	return MHD_create_response_from_buffer(n, p, MHD_RESPMEM_MUST_FREE);
}

static void send_file(struct req *r, const struct download *d, int fd, const struct stat *st)
{
	const char *type = d->type ? d->type : content_type(d->path);
	const char *range = r->head ? NULL : http_header(r, "Range"), *if_range = http_header(r, "If-Range");
	const char *none_match = http_header(r, "If-None-Match");
	uint64_t size = (uint64_t)st->st_size, first = 0, last = size - 1;
	char etag[96], modified[40], content_range[96];
	struct MHD_Response *resp;
	unsigned status = 200;

	snprintf(etag, sizeof etag, "\"%llx-%llx-%llx%08lx\"", (unsigned long long)st->st_ino, (unsigned long long)size,
		 (unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec);
	format_http_date(st->st_mtim.tv_sec, modified);
	if (none_match_hits(none_match, etag)) {
		close(fd);
		resp = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
		add_headers(resp, etag, modified, NULL);
		http_reply(r, 304, resp);
		return;
	}
	if (!size && st->st_blksize && !st->st_blocks) {
		resp = virtual_file(fd);
		add_headers(resp, etag, modified, type);
		add_disposition(resp, d);
		http_reply(r, 200, resp);
		return;
	}
	/* A validator that no longer fits asks for the whole file. */
	if (range && if_range && strcmp(if_range, etag) != 0 && strcmp(if_range, modified) != 0)
		range = NULL;
	switch (parse_range(range, size, &first, &last)) {
	case RANGE_UNSATISFIABLE:
		close(fd);
		snprintf(content_range, sizeof content_range, "bytes */%llu", (unsigned long long)size);
		resp = MHD_create_response_from_buffer(strlen("range not satisfiable\n"),
						       (void *)(uintptr_t) "range not satisfiable\n",
						       MHD_RESPMEM_PERSISTENT);
		add_headers(resp, etag, modified, "text/plain; charset=utf-8");
		MHD_add_response_header(resp, "Content-Range", content_range);
		http_reply(r, 416, resp);
		return;
	case RANGE_OK:
		status = 206;
		break;
	default:
		first = 0;
		last = size - 1;
	}
	resp = MHD_create_response_from_fd_at_offset64(size ? last - first + 1 : 0, fd, first);
	if (!resp) {
		close(fd);
		http_error(r, 500, "ReadError", "%s: cannot be sent", d->path);
		return;
	}
	add_headers(resp, etag, modified, type);
	add_disposition(resp, d);
	if (status == 206) {
		snprintf(content_range, sizeof content_range, "bytes %llu-%llu/%llu", (unsigned long long)first,
			 (unsigned long long)last, (unsigned long long)size);
		MHD_add_response_header(resp, "Content-Range", content_range);
	}
	http_reply(r, status, resp);
}

static void download_free(struct download *d)
{
	free(d->path);
	free(d->type);
	free(d->disposition);
	loop_free_later(d);
}

static void on_opened(struct data_call *call, const struct wire *w, const struct buf *payload, int fd)
{
	struct download *d = container(call, struct download, call);
	struct stat st;

	(void)payload;
	if (!call->r) {
		close_fd(&fd);
		download_free(d);
	} else if (w->a || fd < 0 || fstat(fd, &st) < 0) {
		close_fd(&fd);
		file_error(call->r, "ReadError", d->path, w->a ? w->a : EIO);
	} else {
		send_file(call->r, d, fd, &st);
	}
}

static void on_failed(struct data_call *call)
{
	if (!call->r)
		download_free(container(call, struct download, call));
}

static void cleanup(struct req *r)
{
	struct download *d = r->state;

	if (data_call_orphan(&d->call))
		download_free(d);
}

void file_send(struct req *r, struct box *b, char *path, const char *type, const char *disposition)
{
	struct download *d = xcalloc(1, sizeof *d);

	d->path = path;
	d->type = type ? xstrdup(type) : NULL;
	d->disposition = disposition ? xstrdup(disposition) : NULL;
	d->call.op = WIRE_READ;
	d->call.fd = -1;
	d->call.done = on_opened;
	d->call.failed = on_failed;
	buf_addz(&d->call.payload, path);
	r->state = d;
	r->cleanup = cleanup;
	data_call_start(&d->call, r, b);
}

static void run(struct req *r)
{
	struct box *b = http_box(r);
	char *path = b ? file_path(r) : NULL;

	if (path)
		file_send(r, b, path, NULL, NULL);
}

const struct route download_routes[] = {
	{ "GET", "/dataplane/{}/download", ROUTE_DATA, run, NULL },
	{ 0 },
};
