/* The one event loop: descriptors (epoll), timers (a heap), work for the end of a round. */
#ifndef SANDBOXD_LOOP_H
#define SANDBOXD_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct source {
	int fd;
	uint32_t events; /* what epoll watches now */
	void (*ready)(struct source *s, uint32_t events);
};

struct timer {
	int64_t when;
	size_t at; /* heap position + 1; 0 = not armed */
	void (*fire)(struct timer *t);
};

bool loop_init(void);
bool source_add(struct source *s, int fd, uint32_t events, void (*ready)(struct source *, uint32_t));
void source_set(struct source *s, uint32_t events);
/* Stops watching; the descriptor stays open. */
void source_del(struct source *s);
static inline bool source_active(const struct source *s)
{
	return s->ready != NULL;
}

/* Arms or re-arms: fires once, delay_ms from now. */
void timer_set(struct timer *t, int64_t delay_ms, void (*fire)(struct timer *));
void timer_del(struct timer *t);

/* free(p) once no event of this round can refer to p any more. */
void loop_free_later(void *p);

/* Runs before every wait; returns the longest wait it allows in ms, -1 for any. */
void loop_set_idle(int64_t (*idle)(void));
/* One round: wait, events, timers, deferred frees. limit_ms -1 = no limit of its own. */
void loop_once(int64_t limit_ms);

#define container(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
