/* /s/{id}/{port}/…: requests to a service inside a sandbox.
 *
 * libmicrohttpd reads the request. It could send an answer only once it has
 * read all of it, and a service that answers while it reads would wait for
 * ever, so the answer goes to the connection's socket directly and the
 * connection ends with it. Each way holds one piece at most: who does not read
 * stops the other side. */
#include "proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dial.h"
#include "proxy_head.h"
#include "services.h"

#define PIECE 65536
#define MAX_HEAD 65536
#define MAX_DROPPED (1 << 20) /* of a request that is sent on although its answer is complete */

struct flow {
	struct buf buf;
	size_t at;
};

struct proxy {
	struct req *r;
	struct dial dial;
	struct proxy_request request;
	struct source up, client;
	struct flow to_up, to_client;
	struct buf head; /* of the answer, until it is complete */
	struct framing framing;
	size_t dropped;
	bool held, request_done, upgraded;
	bool relaying; /* a part of the answer was sent */
	bool up_ended, up_deaf;	   /* it sends no more; it takes no more */
	bool client_ended;	   /* the same of an upgraded one's sending side */
	bool answered, refused;	   /* the answer is complete; an error was answered instead */
};

static void update(struct proxy *p);

static bool pending(const struct flow *f)
{
	return f->at < f->buf.n;
}

/* Writes what waits; false when the peer takes no more at all. */
static bool flush(struct flow *f, int fd)
{
	while (pending(f)) {
		ssize_t n = send(fd, f->buf.p + f->at, f->buf.n - f->at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		f->at += (size_t)n;
	}
	f->buf.n = f->at = 0;
	return true;
}

static void close_up(struct proxy *p)
{
	if (source_active(&p->up)) {
		int fd = p->up.fd;

		source_del(&p->up);
		close(fd);
	}
	p->up_ended = p->up_deaf = true;
}

static void refuse(struct proxy *p, const char *text)
{
	p->refused = true;
	close_up(p);
	http_flat_error(p->r, 502, "ConnectionError", "Port %u: %s", p->request.port, text);
}

/* The client has all of it. What it still sends is read and dropped, within
 * bounds: to end with input unread would be a reset, which takes the answer away. */
static void finish(struct proxy *p)
{
	p->answered = true;
	close_up(p);
	source_del(&p->client);
	shutdown(p->client.fd, SHUT_WR);
	if (p->request_done)
		http_abandon(p->r);
	else
		http_continue(p->r);
}

static void client_lost(struct proxy *p)
{
	p->answered = true;
	close_up(p);
	source_del(&p->client);
	http_abandon(p->r);
}

/* ---- the answer ---- */

static void begin_relaying(struct proxy *p)
{
	int one = 1;

	p->relaying = p->r->raw = true;
	setsockopt(p->client.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Bytes of the body, or of whatever follows an upgrade. */
static void take_body(struct proxy *p, const char *data, size_t n)
{
	if (!p->upgraded)
		n = framing_take(&p->framing, data, n);
	buf_add(&p->to_client.buf, data, n);
}

/* The next head. A change of protocol that was not asked for is none: the
 * client's side is still read as HTTP. */
static int next_head(struct proxy *p, size_t *used)
{
	size_t before = p->to_client.buf.n;
	int status = proxy_answer_head(&p->head, used, &p->to_client.buf);

	if (status != 101 || (p->request.upgrade && p->request_done))
		return status;
	p->to_client.buf.n = before;
	return HEAD_BAD;
}

/* Heads of interim answers pass, too. */
static void take_head(struct proxy *p, const char *data, size_t n)
{
	size_t used = 0;
	int status;

	buf_add(&p->head, data, n);
	while ((status = next_head(p, &used)) > 0) {
		if (!p->relaying)
			begin_relaying(p);
		p->upgraded = status == 101;
		logf_info("%s %s -> %d", p->r->method, p->r->path, status);
		if (status >= 200 || p->upgraded)
			break;
		memmove(p->head.p, p->head.p + used, p->head.n - used);
		p->head.n -= used;
	}
	if (status == HEAD_BAD || (status == HEAD_INCOMPLETE && p->head.n > MAX_HEAD)) {
		p->up_ended = true;
		p->framing.done = p->relaying;
	} else if (status > 0) {
		p->framing = proxy_answer_framing(&p->head, used, status, p->r->head);
		take_body(p, p->head.p + used, p->head.n - used);
		buf_free(&p->head);
	}
}

/* Whether a final head came: the rest is body. */
static bool in_body(const struct proxy *p)
{
	return p->relaying && !p->head.p;
}

static void read_up(struct proxy *p)
{
	static char piece[PIECE];
	ssize_t n = recv(p->up.fd, piece, sizeof piece, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		p->up_ended = true;
	else if (in_body(p))
		take_body(p, piece, (size_t)n);
	else
		take_head(p, piece, (size_t)n);
	if (!p->relaying && p->up_ended)
		refuse(p, n < 0 ? "the service broke the connection" : "the service sent no HTTP answer");
}

static bool both_ended(const struct proxy *p)
{
	return p->client_ended && !pending(&p->to_up);
}

/* Sends what came, and ends what is complete. */
static void progress_client(struct proxy *p)
{
	if (!flush(&p->to_client, p->client.fd)) {
		client_lost(p);
		return;
	}
	if (pending(&p->to_client) || !p->relaying)
		return;
	if (p->upgraded && p->up_ended && !p->up_deaf && !both_ended(p))
		shutdown(p->client.fd, SHUT_WR);
	else if (p->up_ended || (!p->upgraded && p->framing.done))
		finish(p);
}

/* ---- the request ---- */

static void progress_up(struct proxy *p)
{
	if (!source_active(&p->up) || p->up_deaf)
		return;
	if (!flush(&p->to_up, p->up.fd)) { /* it may have answered all the same */
		p->up_deaf = true;
		p->to_up.buf.n = p->to_up.at = 0;
	}
	if (pending(&p->to_up))
		return;
	if (p->client_ended)
		shutdown(p->up.fd, SHUT_WR);
	if (!p->request_done)
		http_continue(p->r);
}

/* An upgraded client's bytes. */
static void read_client(struct proxy *p)
{
	static char piece[PIECE];
	ssize_t n = recv(p->client.fd, piece, sizeof piece, MSG_DONTWAIT);

	if (n > 0 && !p->up_deaf)
		buf_add(&p->to_up.buf, piece, (size_t)n);
	if (n == 0)
		p->client_ended = true;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		client_lost(p);
	else
		progress_up(p);
}

static void on_client(struct source *s, uint32_t events)
{
	struct proxy *p = container(s, struct proxy, client);

	if ((events & (EPOLLERR | EPOLLHUP)) || (!p->upgraded && (events & EPOLLRDHUP))) {
		client_lost(p);
		return;
	}
	if (events & EPOLLIN)
		read_client(p);
	if (!p->answered)
		progress_client(p);
	update(p);
}

static void on_up(struct source *s, uint32_t events)
{
	struct proxy *p = container(s, struct proxy, up);

	if (events & EPOLLOUT)
		progress_up(p);
	if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !pending(&p->to_client))
		read_up(p);
	if (!p->answered && !p->refused)
		progress_client(p);
	update(p);
}

/* Reads only what the other side has room for. */
static void update(struct proxy *p)
{
	uint32_t up = 0, client = 0;

	if (p->answered || p->refused)
		return;
	if (!p->up_ended && !pending(&p->to_client))
		up |= EPOLLIN;
	if (pending(&p->to_up) && !p->up_deaf)
		up |= EPOLLOUT;
	if (source_active(&p->up))
		source_set(&p->up, up);
	if (pending(&p->to_client))
		client |= EPOLLOUT;
	if (p->upgraded && !p->client_ended && !pending(&p->to_up))
		client |= EPOLLIN;
	if (p->request_done && !p->upgraded)
		client |= EPOLLRDHUP;
	source_set(&p->client, client);
}

static void on_dialled(struct dial *d, int fd, int err)
{
	struct proxy *p = container(d, struct proxy, dial);
	struct box *b = box_find(d->box_id, false);

	if (fd >= 0 && b) {
		p->held = true;
		box_hold(b);
		source_add(&p->up, fd, EPOLLOUT, on_up);
		return;
	}
	close_fd(&fd);
	p->refused = true;
	if (err > 0)
		refuse(p, err == ECONNREFUSED ? "nothing listens there" : strerror(err));
	else if (err == DIAL_NOT_READY)
		http_flat_error(p->r, 400, "NotReady", "The sandbox is not ready");
	else if (err == DIAL_UNAVAILABLE)
		http_flat_error(p->r, 503, "ServiceUnavailable", "The sandbox takes no more requests now");
	else
		http_flat_error(p->r, 404, "ResourceNotFound", "The sandbox was deleted");
}

static void cleanup(struct req *r)
{
	struct proxy *p = r->state;
	struct box *b = p->held ? box_find(p->dial.box_id, false) : NULL;

	if (b)
		box_release(b);
	dial_cancel(&p->dial);
	close_up(p);
	source_del(&p->client);
	buf_free(&p->to_up.buf);
	buf_free(&p->to_client.buf);
	buf_free(&p->head);
	loop_free_later(p);
}

static struct proxy *begin(struct req *r)
{
	struct proxy *p;
	struct box *b = http_box(r);
	struct proxy_request q = { .port = service_port(r->arg[1]) };

	if (!b)
		return NULL;
	if (!q.port) {
		http_flat_error(r, 404, "ResourceNotFound", "'%s' is not a port", r->arg[1]);
		return NULL;
	}
	if (!service_admits(r, b, q.port, &q.by_key))
		return NULL;
	p = xcalloc(1, sizeof *p);
	p->r = r;
	p->request = q;
	proxy_request_head(r, &p->request, &p->to_up.buf);
	source_add(&p->client, http_socket(r), 0, on_client);
	p->dial.done = on_dialled;
	r->state = p;
	r->cleanup = cleanup;
	dial_start(&p->dial, b, q.port);
	return p;
}

static void add_piece(struct proxy *p, const char *data, size_t n)
{
	if (p->request.chunked)
		buf_addf(&p->to_up.buf, "%zx\r\n", n);
	buf_add(&p->to_up.buf, data, n);
	if (p->request.chunked)
		buf_adds(&p->to_up.buf, "\r\n");
}

static bool on_body(struct req *r, const char *data, size_t n)
{
	struct proxy *p = r->state ? r->state : begin(r);

	if (!p || p->refused)
		return true;
	if (p->answered) {
		p->dropped += n;
		if (p->dropped > MAX_DROPPED)
			http_abandon(r);
		return true;
	}
	if (p->up_deaf)
		return true;
	if (!source_active(&p->up) || pending(&p->to_up))
		return false;
	add_piece(p, data, n);
	progress_up(p);
	update(p);
	return true;
}

static void run(struct req *r)
{
	struct proxy *p = r->state ? r->state : begin(r);

	if (!p || p->refused)
		return;
	p->request_done = true;
	if (p->answered) {
		http_abandon(r);
		return;
	}
	if (p->request.chunked && !p->up_deaf)
		buf_adds(&p->to_up.buf, "0\r\n\r\n");
	progress_up(p);
	update(p);
}

const struct route proxy_routes[] = {
	{ "*", "/s/{}/{}*", ROUTE_PUBLIC, run, on_body },
	{ 0 },
};
