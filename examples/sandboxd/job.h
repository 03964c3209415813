/* Work that takes long, in a child process, out of the way of the loop. */
#ifndef SANDBOXD_JOB_H
#define SANDBOXD_JOB_H

#include <stdbool.h>
#include <sys/types.h>

#include "loop.h"
#include "util.h"

/* Does something in the child. fd is the descriptor given to job_start. Returns
 * whether it succeeded; result is what done gets as text. */
typedef bool (*job_work)(const void *arg, int fd, struct buf *result);

struct job {
	struct job *next;
	bool active; /* waits or runs */
	job_work work;
	void *arg;
	int fd;
	struct source process;
	pid_t pid; /* 0: it waits until others have ended */
	int result;
	void (*done)(struct job *j, bool ok, const char *text);
};

/* Runs work in a child of this process, a few at a time: what it changes in
 * memory stays there, and only its result comes back to done, at the next round
 * of the loop or later. Takes fd, and arg, which is malloc'ed. */
void job_start(struct job *j, job_work work, void *arg, int fd, void (*done)(struct job *j, bool ok, const char *text));
/* Ends it, if it waits or runs, without calling back. */
void job_kill(struct job *j);
/* Ends all. */
void jobs_shutdown(void);

#endif
