#include "ssh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CHANNELS 64
#define MAX_QUEUED (1 << 20) /* answers that a program does not read */

struct channel {
	struct channel *next;
	struct ssh *ssh;
	struct source source;
	unsigned number;
	struct buf out;
	size_t out_at;
	bool readable; /* or at its end: has its turn in ssh_next */
	bool ending;   /* once the queue is written */
};

struct ssh {
	char box_id[37];
	char path[64];
	uint32_t call;
	struct source listener;
	struct channel *channels;
	unsigned count, numbers;
	void (*kick)(void *arg);
	void *arg;
};

static void update(struct ssh *s)
{
	if (source_active(&s->listener))
		source_set(&s->listener, s->kick && s->count < MAX_CHANNELS ? EPOLLIN : 0);
}

static void channel_free(struct channel *c)
{
	struct ssh *s = c->ssh;
	struct channel **p = &s->channels;
	int fd = c->source.fd;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	s->count--;
	source_del(&c->source);
	close(fd);
	buf_free(&c->out);
	loop_free_later(c);
	update(s);
}

static void watch(struct channel *c)
{
	source_set(&c->source, (c->readable || c->ending ? 0 : EPOLLIN) | (c->out_at < c->out.n ? EPOLLOUT : 0));
}

static void flush(struct channel *c)
{
	while (c->out_at < c->out.n) {
		ssize_t n = send(c->source.fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* nobody reads: its end is found by reading */
			c->out_at = c->out.n;
			break;
		}
		c->out_at += (size_t)n;
	}
	if (c->out_at == c->out.n) {
		buf_free(&c->out);
		c->out_at = 0;
		if (c->ending) {
			channel_free(c);
			return;
		}
	}
	watch(c);
}

static void on_channel(struct source *source, uint32_t events)
{
	struct channel *c = container(source, struct channel, source);
	struct ssh *s = c->ssh;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		c->readable = true;
	flush(c);
	if (s->kick)
		s->kick(s->arg);
}

static void on_listener(struct source *source, uint32_t events)
{
	struct ssh *s = container(source, struct ssh, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct channel *c;

	(void)events;
	if (fd < 0)
		return;
	c = xcalloc(1, sizeof *c);
	c->ssh = s;
	c->number = ++s->numbers;
	c->next = s->channels;
	s->channels = c;
	s->count++;
	source_add(&c->source, fd, EPOLLIN, on_channel);
	update(s);
}

static void on_listening(void *arg, const struct wire *w, const struct buf *payload, const int *fds, int nfds)
{
	struct ssh *s = arg;
	struct box *b = box_find(s->box_id, false);

	(void)payload;
	if (b && w->op != WIRE_LOST)
		box_call_end(b, s->call);
	s->call = 0;
	if (!nfds)
		return;
	set_nonblock(fds[0]);
	source_add(&s->listener, fds[0], 0, on_listener);
	update(s);
}

struct ssh *ssh_open(struct box *b)
{
	struct ssh *s = xcalloc(1, sizeof *s);
	struct buf path = { 0 };
	unsigned char noise[8];

	memcpy(s->box_id, b->id, sizeof s->box_id);
	random_bytes(noise, sizeof noise);
	snprintf(s->path, sizeof s->path, "/tmp/ssh-agent-%02x%02x%02x%02x%02x%02x%02x%02x.sock", noise[0], noise[1], noise[2],
		 noise[3], noise[4], noise[5], noise[6], noise[7]);
	buf_addz(&path, s->path);
	s->call = box_call(b, WIRE_LISTEN, 0, 0, &path, -1, on_listening, s);
	buf_free(&path);
	return s;
}

const char *ssh_path(const struct ssh *s)
{
	return s->path;
}

static void end_channels(struct ssh *s)
{
	while (s->channels)
		channel_free(s->channels);
}

void ssh_free(struct ssh *s)
{
	struct box *b = box_find(s->box_id, false);
	struct buf path = { 0 };

	end_channels(s);
	if (source_active(&s->listener)) {
		int fd = s->listener.fd;

		source_del(&s->listener);
		close(fd);
	}
	if (b) {
		if (s->call)
			box_call_end(b, s->call);
		buf_addz(&path, s->path);
		box_send(b, WIRE_ABORT, 0, &path);
		buf_free(&path);
	}
	loop_free_later(s);
}

void ssh_attach(struct ssh *s, void (*kick)(void *arg), void *arg)
{
	end_channels(s);
	s->kick = kick;
	s->arg = arg;
	update(s);
}

void ssh_detach(struct ssh *s, void *arg)
{
	if (s->arg != arg)
		return;
	s->kick = NULL;
	s->arg = NULL;
	end_channels(s);
	update(s);
}

bool ssh_next(struct ssh *s, const void *arg, struct ssh_piece *piece)
{
	struct channel *c = s->arg == arg ? s->channels : NULL;
	ssize_t n;

	while (c && !c->readable)
		c = c->next;
	if (!c)
		return false;
	n = recv(c->source.fd, piece->data, sizeof piece->data, MSG_DONTWAIT);
	c->readable = false;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch(c);
		return ssh_next(s, arg, piece);
	}
	piece->channel = c->number;
	piece->n = n > 0 ? (size_t)n : 0;
	if (n > 0)
		watch(c);
	else
		channel_free(c);
	return true;
}

static struct channel *channel_of(struct ssh *s, const void *arg, const char *number)
{
	struct channel *c = s->arg == arg ? s->channels : NULL;
	char text[16];

	for (; c; c = c->next) {
		snprintf(text, sizeof text, "%u", c->number);
		if (strcmp(text, number) == 0)
			return c;
	}
	return NULL;
}

void ssh_data(struct ssh *s, const void *arg, const char *channel, const char *p, size_t n)
{
	struct channel *c = channel_of(s, arg, channel);

	if (!c || c->ending)
		return;
	buf_add(&c->out, p, n);
	if (c->out.n - c->out_at > MAX_QUEUED)
		channel_free(c);
	else
		flush(c);
}

void ssh_end_channel(struct ssh *s, const void *arg, const char *channel)
{
	struct channel *c = channel_of(s, arg, channel);

	if (!c)
		return;
	c->ending = true;
	flush(c);
}
