#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "util.h"

#define BATCH 256

static int epoll_fd = -1;
static struct timer **heap;
static size_t heap_n, heap_cap;
static void **doomed;
static size_t doomed_n, doomed_cap;
static int64_t (*idle_hook)(void);

/* The events of the current round that are still to come: a source that is
 * removed meanwhile is struck out here, since its memory may be reused. */
static struct epoll_event batch[BATCH];
static int batch_n, batch_at;

bool loop_init(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return epoll_fd >= 0;
}

bool source_add(struct source *s, int fd, uint32_t events, void (*ready)(struct source *, uint32_t))
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	s->fd = fd;
	s->events = events;
	s->ready = ready;
	if (!events || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0)
		return true;
	s->ready = NULL;
	return false;
}

/* A source that wants nothing leaves epoll, which would go on reporting hang-ups. */
void source_set(struct source *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (!s->ready || s->events == events)
		return;
	if (!events)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	else
		epoll_ctl(epoll_fd, s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &ev);
	s->events = events;
}

void source_del(struct source *s)
{
	if (!s->ready)
		return;
	if (s->events)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	s->ready = NULL;
	s->events = 0;
	for (int i = batch_at; i < batch_n; i++)
		if (batch[i].data.ptr == s)
			batch[i].data.ptr = NULL;
}

static void heap_put(size_t i, struct timer *t)
{
	heap[i] = t;
	t->at = i + 1;
}

static void heap_up(size_t i)
{
	struct timer *t = heap[i];

	while (i && heap[(i - 1) / 2]->when > t->when) {
		heap_put(i, heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(i, t);
}

static void heap_down(size_t i)
{
	struct timer *t = heap[i];

	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= heap_n)
			break;
		if (kid + 1 < heap_n && heap[kid + 1]->when < heap[kid]->when)
			kid++;
		if (heap[kid]->when >= t->when)
			break;
		heap_put(i, heap[kid]);
		i = kid;
	}
	heap_put(i, t);
}

void timer_del(struct timer *t)
{
	size_t i;

	if (!t->at)
		return;
	i = t->at - 1;
	t->at = 0;
	if (i == --heap_n)
		return;
	heap_put(i, heap[heap_n]);
	heap_up(i);
	heap_down(i);
}

void timer_set(struct timer *t, int64_t delay_ms, void (*fire)(struct timer *))
{
	timer_del(t);
	if (heap_n == heap_cap) {
		heap_cap = heap_cap ? 2 * heap_cap : 64;
		heap = xrealloc(heap, heap_cap * sizeof *heap);
	}
	t->when = now_ms() + (delay_ms < 0 ? 0 : delay_ms);
	t->fire = fire;
	heap_put(heap_n++, t);
	heap_up(heap_n - 1);
}

void loop_free_later(void *p)
{
	if (doomed_n == doomed_cap) {
		doomed_cap = doomed_cap ? 2 * doomed_cap : 64;
		doomed = xrealloc(doomed, doomed_cap * sizeof *doomed);
	}
	doomed[doomed_n++] = p;
}

void loop_set_idle(int64_t (*idle)(void))
{
	idle_hook = idle;
}

void loop_once(int64_t limit_ms)
{
	int64_t wait = limit_ms, hook = idle_hook ? idle_hook() : -1, now;

	if (hook >= 0 && (wait < 0 || hook < wait))
		wait = hook;
	if (heap_n) {
		int64_t left = heap[0]->when - now_ms();

		left = left < 0 ? 0 : left;
		if (wait < 0 || left < wait)
			wait = left;
	}
	if (wait > 3600 * 1000)
		wait = 3600 * 1000;
	batch_n = epoll_wait(epoll_fd, batch, BATCH, (int)wait);
	if (batch_n < 0 && errno != EINTR)
		logf_err("epoll_wait failed (errno %d)", errno);
	for (batch_at = 0; batch_at < batch_n;) {
		struct epoll_event ev = batch[batch_at++];
		struct source *s = ev.data.ptr;

		if (s && s->ready)
			s->ready(s, ev.events);
	}
	batch_n = batch_at = 0;
	now = now_ms();
	while (heap_n && heap[0]->when <= now) {
		struct timer *t = heap[0];

		timer_del(t);
		t->fire(t);
	}
	while (doomed_n)
		free(doomed[--doomed_n]);
}
