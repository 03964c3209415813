#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULT_FD 3
#define GIVEN_FD 4
#define RESULT_MAX 65536
#define MAX_RUNNING 8
#define RETRY_MS 1000

/* The oldest first. */
static struct job *jobs;
static int running;

static void run_next(void);

/* Takes it out, whether it waits or runs; its wait status. */
static int forget(struct job *j)
{
	int status = 0;

	for (struct job **p = &jobs; *p; p = &(*p)->next) {
		if (*p == j) {
			*p = j->next;
			break;
		}
	}
	if (j->pid) {
		while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
			;
		source_del(&j->process);
		close(j->process.fd);
		running--;
	}
	close_fd(&j->fd);
	free(j->arg);
	j->pid = 0;
	j->active = false;
	return status;
}

static char *read_result(int fd)
{
	char *text = xcalloc(1, RESULT_MAX + 1);
	ssize_t n = pread(fd, text, RESULT_MAX, 0);

	text[n > 0 ? n : 0] = 0;
	return text;
}

static void on_end(struct source *s, uint32_t events)
{
	struct job *j = container(s, struct job, process);
	int status = forget(j);
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	char *text = read_result(j->result);

	(void)events;
	close_fd(&j->result);
	if (WIFSIGNALED(status)) {
		free(text);
		text = xasprintf("its process was ended by signal %d", WTERMSIG(status));
	}
	run_next();
	j->done(j, ok, text);
	free(text);
}

static void child(job_work work, const void *arg, int fd, int result, pid_t parent)
{
	struct buf text = { 0 };
	sigset_t none;
	bool ok;

	/* A server that dies must not leave a writer in its state directory. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Both out of the way of the numbers that are assigned next. */
	result = fcntl(result, F_DUPFD, 16);
	fd = fcntl(fd, F_DUPFD, 16);
	if (getppid() != parent || result < 0 || fd < 0 || dup2(result, RESULT_FD) < 0 || dup2(fd, GIVEN_FD) < 0)
		_exit(1);
	close_range(GIVEN_FD + 1, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	ok = work(arg, GIVEN_FD, &text);
	if (text.n && !write_all(RESULT_FD, text.p, text.n))
		ok = false;
	_exit(ok ? 0 : 1);
}

/* Starts the child; false when there can be none. */
static bool launch(struct job *j)
{
	pid_t parent = getpid();
	int pidfd = -1;

	j->result = memfd_create("result", MFD_CLOEXEC);
	j->pid = j->result >= 0 ? fork() : -1;
	if (j->pid == 0)
		child(j->work, j->arg, j->fd, j->result, parent);
	if (j->pid > 0) {
		pidfd = (int)syscall(SYS_pidfd_open, j->pid, 0);
		if (pidfd < 0) {
			kill(j->pid, SIGKILL);
			waitpid(j->pid, NULL, 0);
		}
	}
	if (pidfd < 0) {
		logf_err("cannot start a process: %s", strerror(errno));
		close_fd(&j->result);
		j->pid = 0;
		return false;
	}
	close_fd(&j->fd);
	running++;
	source_add(&j->process, pidfd, EPOLLIN, on_end);
	return true;
}

static void on_retry(struct timer *t)
{
	(void)t;
	run_next();
}

static void run_next(void)
{
	static struct timer retry;

	for (struct job *j = jobs; j && running < MAX_RUNNING; j = j->next) {
		if (!j->pid && !launch(j)) {
			timer_set(&retry, RETRY_MS, on_retry);
			return;
		}
	}
}

void job_start(struct job *j, job_work work, void *arg, int fd, void (*done)(struct job *j, bool ok, const char *text))
{
	struct job **end = &jobs;

	while (*end)
		end = &(*end)->next;
	*j = (struct job){ .active = true, .work = work, .arg = arg, .fd = fd, .result = -1, .done = done };
	*end = j;
	run_next();
}

void job_kill(struct job *j)
{
	if (!j->active)
		return;
	if (j->pid)
		kill(j->pid, SIGKILL);
	forget(j);
	close_fd(&j->result);
	run_next();
}

void jobs_shutdown(void)
{
	for (struct job *j = jobs, *next; j; j = next) {
		next = j->next;
		if (j->pid)
			kill(j->pid, SIGKILL);
		forget(j);
		close_fd(&j->result);
	}
}
