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

static struct job *jobs;

static int forget(struct job *j)
{
	int status = 0;

	for (struct job **p = &jobs; *p; p = &(*p)->next) {
		if (*p == j) {
			*p = j->next;
			break;
		}
	}
	while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
		;
	source_del(&j->process);
	close(j->process.fd);
	j->pid = 0;
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

bool job_start(struct job *j, job_work work, const void *arg, int fd, void (*done)(struct job *j, bool ok, const char *text))
{
	pid_t parent = getpid();
	int pidfd = -1;

	j->result = memfd_create("result", MFD_CLOEXEC);
	j->pid = j->result >= 0 ? fork() : -1;
	if (j->pid == 0)
		child(work, arg, fd, j->result, parent);
	if (j->pid > 0) {
		pidfd = (int)syscall(SYS_pidfd_open, j->pid, 0);
		if (pidfd < 0) {
			kill(j->pid, SIGKILL);
			waitpid(j->pid, NULL, 0);
		}
	}
	close(fd);
	if (pidfd < 0) {
		logf_err("cannot start a process: %s", strerror(errno));
		close_fd(&j->result);
		j->pid = 0;
		return false;
	}
	j->done = done;
	j->next = jobs;
	jobs = j;
	source_add(&j->process, pidfd, EPOLLIN, on_end);
	return true;
}

void job_kill(struct job *j)
{
	if (!j->pid)
		return;
	kill(j->pid, SIGKILL);
	forget(j);
	close_fd(&j->result);
}

void jobs_shutdown(void)
{
	while (jobs)
		job_kill(jobs);
}
