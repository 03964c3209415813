#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire.h"

#define MAX_DEFERRED 256 /* messages taken while kills wait to be finished together */

struct child {
	struct child *next;
	uint32_t id;
	pid_t pid;
	char *tag;
	bool quiet;  /* a search: its end needs no message */
	bool doomed; /* its offspring is to be killed */
};

static struct child *children;
static int sock;

static void send_fds(const struct wire *w, const void *payload, const int *fds, int nfds)
{
	/* The socket blocks: a server that does not read stops its own sandbox only. */
	if (wire_send(sock, w, payload, fds, nfds) < 0)
		exit(0);
}

static void send_msg(const struct wire *w, const void *payload, int fd)
{
	send_fds(w, payload, &fd, fd >= 0 ? 1 : 0);
}

static void add_child(uint32_t id, pid_t pid, const char *tag, bool quiet)
{
	struct child *c = xcalloc(1, sizeof *c);

	*c = (struct child){ .next = children, .id = id, .pid = pid, .tag = xstrdup(tag), .quiet = quiet };
	children = c;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (struct child **p = &children; *p; p = &(*p)->next) {
			struct child *c = *p;

			if (c->pid != pid)
				continue;
			*p = c->next;
			if (!c->quiet)
				send_msg(&(struct wire){ .op = WIRE_EXIT, .id = c->id, .a = status }, NULL, -1);
			free(c->tag);
			free(c);
			break;
		}
	}
}

/* What the child of vfork reports when it cannot become the command. */
static volatile int spawn_errno;
static const char *volatile spawn_step;

static void spawn_failed(const char *step)
{
	spawn_errno = errno;
	spawn_step = step;
	_exit(127);
}

/* vfork: the parent waits until exec, so no descriptor is needed to learn of a
 * failure, and the cost does not grow with the agent. Only system calls here. */
static pid_t spawn_child(const char *cwd, char *const argv[], char *const env[], const int fds[3], bool pty)
{
	pid_t pid = vfork();

	if (pid)
		return pid;
	sigset_t none;

	setsid();
	if (pty && ioctl(fds[0], TIOCSCTTY, 0) < 0)
		spawn_failed("controlling terminal");
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			spawn_failed("standard streams");
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (*cwd && chdir(cwd) < 0)
		spawn_failed("working directory");
	execve(argv[0], argv, env);
	spawn_failed("shell");
	return -1;
}

static int open_pty(int *slave, int cols, int rows)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0;
	struct winsize size = { .ws_col = (unsigned short)(cols > 0 ? cols : 80),
				.ws_row = (unsigned short)(rows > 0 ? rows : 24) };

	if (master < 0)
		return -1;
	if (ioctl(master, TIOCSPTLCK, &unlock) == 0 && ioctl(master, TIOCSWINSZ, &size) == 0) {
		*slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (*slave >= 0)
			return master;
	}
	close(master);
	return -1;
}

/* Pipes are made here, so that they belong to the commands' user and
 * /dev/stdout can be opened by name. */
static bool open_streams(bool pty, int size, int theirs[3], int ours[3])
{
	if (pty) {
		ours[0] = open_pty(&theirs[0], size >> 16, size & 0xffff);
		theirs[1] = theirs[2] = theirs[0];
		return ours[0] >= 0;
	}
	for (int i = 0; i < 3; i++) {
		int p[2];

		if (pipe2(p, O_CLOEXEC) < 0)
			return false;
		theirs[i] = p[i != 0];
		ours[i] = p[i == 0];
	}
	return true;
}

static void do_spawn(const struct wire *w, const struct buf *payload)
{
	struct wire answer = { .op = WIRE_STARTED, .id = w->id };
	size_t at = 0;
	const char *cwd = wire_next(payload, &at), *tag = wire_next(payload, &at), *count = wire_next(payload, &at);
	int argc = count ? atoi(count) : 0, n = 0, theirs[3] = { -1, -1, -1 }, ours[3] = { -1, -1, -1 };
	char **argv = xcalloc((size_t)argc + 1, sizeof *argv), **env;
	size_t cap = 16;
	const char *s;

	for (int i = 0; i < argc; i++)
		argv[i] = (char *)(uintptr_t)wire_next(payload, &at);
	env = xcalloc(cap, sizeof *env);
	while ((s = wire_next(payload, &at))) {
		if ((size_t)n + 2 > cap)
			env = xrealloc(env, (cap *= 2) * sizeof *env);
		env[n++] = (char *)(uintptr_t)s;
	}
	env[n] = NULL;
	spawn_errno = 0;
	spawn_step = "process";
	if (argc <= 0 || !argv[0]) {
		spawn_errno = EINVAL;
	} else if (!open_streams(w->a != 0, w->b, theirs, ours)) {
		spawn_errno = errno;
		spawn_step = w->a ? "pseudo-terminal" : "standard streams";
	} else {
		pid_t pid = spawn_child(cwd, argv, env, theirs, w->a != 0);

		if (pid < 0)
			spawn_errno = errno;
		else if (spawn_errno)
			waitpid(pid, NULL, 0);
		else
			add_child(w->id, pid, tag, false);
		answer.a = (int32_t)pid;
	}
	if (spawn_errno) {
		answer.a = 0;
		answer.b = spawn_errno;
		answer.n = (uint32_t)strlen(spawn_step) + 1;
		send_msg(&answer, spawn_step, -1);
	} else {
		send_fds(&answer, NULL, ours, w->a ? 1 : 3);
	}
	for (int i = 0; i < 3; i++) {
		close_fd(&ours[i]);
		if (i == 0 || !w->a)
			close_fd(&theirs[i]);
	}
	free(argv);
	free(env);
}

static void do_read(const struct wire *w, const char *path)
{
	/* O_NONBLOCK: opening a FIFO must not stop the agent. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = fd < 0 ? errno : 0;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		err = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		close_fd(&fd);
	}
	send_msg(&(struct wire){ .op = WIRE_OPENED, .id = w->id, .a = err }, NULL, fd);
	close_fd(&fd);
}

static int make_parents(const char *path)
{
	char *copy = xstrdup(path);
	int err = 0;

	for (char *p = copy + 1; *p && !err; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			err = errno;
		*p = '/';
	}
	free(copy);
	return err;
}

/* The new content goes to a temporary file beside the target and replaces it
 * only when it is complete. Symlinks are followed to what they name. */
static void do_write(const struct wire *w, const char *path)
{
	struct wire answer = { .op = WIRE_OPENED, .id = w->id };
	struct buf names = { 0 };
	char real[PATH_MAX], *copy, *dir;
	struct stat st;
	mode_t mode = 0644;
	int fd = -1;

	answer.a = *path ? make_parents(path) : ENOENT;
	if (!answer.a && path[strlen(path) - 1] == '/')
		answer.a = EISDIR;
	if (!answer.a && realpath(path, real)) {
		if (stat(real, &st) == 0) {
			mode = st.st_mode & 07777;
			answer.a = S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
			if (!answer.a && access(real, W_OK) < 0)
				answer.a = errno;
		}
	} else if (!answer.a) {
		/* Does not exist: take the directory's real name and keep the last part. */
		char *base = strrchr(path, '/');

		copy = xstrdup(path);
		dir = dirname(copy);
		if (strlen(path) >= PATH_MAX || !realpath(dir, real)) {
			answer.a = strlen(path) >= PATH_MAX ? ENAMETOOLONG : errno;
		} else {
			size_t n = strlen(real);

			snprintf(real + n, sizeof real - n, "%s%s", n > 1 ? "/" : "", base ? base + 1 : path);
			if (lstat(real, &st) == 0) /* a dangling symlink */
				answer.a = ENOENT;
		}
		free(copy);
	}
	if (!answer.a) {
		copy = xstrdup(real);
		dir = dirname(copy);
		buf_addf(&names, "%s/.upload-XXXXXX", strcmp(dir, "/") == 0 ? "" : dir);
		buf_add(&names, "", 1);
		free(copy);
		fd = mkostemp(names.p, O_CLOEXEC);
		if (fd < 0)
			answer.a = errno;
		else
			fchmod(fd, mode);
		buf_addz(&names, real);
	}
	answer.n = fd >= 0 ? (uint32_t)names.n : 0;
	send_msg(&answer, names.p, fd);
	close_fd(&fd);
	buf_free(&names);
}

static void do_search(const struct wire *w, const struct buf *payload, int fd)
{
	size_t at = 0;
	const char *pattern = wire_next(payload, &at), *path = wire_next(payload, &at);
	const char *filter = wire_next(payload, &at);
	pid_t pid = pattern && path && filter && fd >= 0 ? fork() : -1;

	if (pid == 0) {
		sigset_t none;

		close(sock);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		search_run(fd, w->b, w->a, pattern, path, filter);
		_exit(0);
	}
	if (pid > 0)
		add_child(w->id, pid, "", true);
}

static void do_dial(const struct wire *w)
{
	int err = 0;
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)w->a),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)w->a), .sin6_addr = in6addr_loopback };
	const struct sockaddr *to = w->b ? (void *)&v6 : (void *)&v4;
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (connect(fd, to, w->b ? sizeof v6 : sizeof v4) < 0 && errno != EINPROGRESS)) {
		err = errno;
		close_fd(&fd);
	}
	send_msg(&(struct wire){ .op = WIRE_OPENED, .id = w->id, .a = err }, NULL, fd);
	close_fd(&fd);
}

/* Only the commands' own user may connect. */
static void do_listen(const struct wire *w, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;
	mode_t before = umask(077);

	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 64) < 0) {
		err = errno;
		close_fd(&fd);
	}
	umask(before);
	send_msg(&(struct wire){ .op = WIRE_OPENED, .id = w->id, .a = err }, NULL, fd);
	close_fd(&fd);
}

static bool kills_pending;

/* The group at once; what left it is found later, for all kills that are
 * waiting together, since that means looking at every process. */
static void do_kill(const struct wire *w)
{
	for (struct child *c = children; c; c = c->next) {
		if (c->id != w->id)
			continue;
		kill(-c->pid, SIGKILL);
		c->doomed = kills_pending = true;
	}
}

static void finish_kills(void)
{
	size_t n = 0, count = 0;
	pid_t *leaders;
	char **tags;

	for (struct child *c = children; c; c = c->next)
		count += c->doomed;
	leaders = xcalloc(count, sizeof *leaders);
	tags = xcalloc(count, sizeof *tags);
	for (struct child *c = children; c; c = c->next) {
		if (!c->doomed)
			continue;
		c->doomed = false;
		leaders[n] = c->pid;
		tags[n++] = c->tag;
	}
	kill_trees(leaders, tags, count);
	free(leaders);
	free(tags);
	kills_pending = false;
}

static void handle(const struct wire *w, const struct buf *payload, int *fds, int nfds)
{
	size_t at = 0;
	const char *one, *two;

	switch (w->op) {
	case WIRE_SPAWN:
		do_spawn(w, payload);
		return;
	case WIRE_SEARCH:
		do_search(w, payload, nfds ? fds[0] : -1);
		return;
	case WIRE_DIAL:
		do_dial(w);
		return;
	case WIRE_KILL:
		do_kill(w);
		return;
	default:
		break;
	}
	one = wire_next(payload, &at);
	two = wire_next(payload, &at);
	if (!one)
		return;
	if (w->op == WIRE_LISTEN) {
		do_listen(w, one);
	} else if (w->op == WIRE_READ) {
		do_read(w, one);
	} else if (w->op == WIRE_WRITE) {
		do_write(w, one);
	} else if (w->op == WIRE_COMMIT && two) {
		int err = rename(one, two) < 0 ? errno : 0;

		if (err)
			unlink(one);
		send_msg(&(struct wire){ .op = WIRE_DONE, .id = w->id, .a = err }, NULL, -1);
	} else if (w->op == WIRE_ABORT) {
		unlink(one);
	}
}

int agent_main(int argc, char **argv)
{
	struct buf payload = { 0 };
	struct pollfd p[2];
	int deferred = 0;
	sigset_t watch;

	if (argc < 4)
		return 2;
	sock = atoi(argv[2]);
	/* Not dumpable: commands run under the same user id and must not reach the
	 * agent's descriptors or memory through /proc. */
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	close_range((unsigned)sock + 1, ~0U, 0);
	if (sock > 3)
		close_range(3, (unsigned)sock - 1, 0);
	fcntl(sock, F_SETFD, FD_CLOEXEC);
	umask(022);
	if (chdir(argv[3]) < 0 && chdir("/") < 0)
		return 1;
	sigemptyset(&watch);
	sigaddset(&watch, SIGCHLD);
	sigprocmask(SIG_SETMASK, &watch, NULL);
	p[0] = (struct pollfd){ .fd = sock, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = signalfd(-1, &watch, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN };
	send_msg(&(struct wire){ .op = WIRE_HELLO, .a = getpid() }, NULL, -1);
	for (;;) {
		if (poll(p, 2, kills_pending ? 0 : -1) < 0 && errno != EINTR)
			break;
		if (kills_pending && (!p[0].revents || ++deferred > MAX_DEFERRED)) {
			finish_kills();
			deferred = 0;
		}
		/* Before reaping: a leader's number must not be reused while it counts. */
		if (p[1].revents && !kills_pending) {
			struct signalfd_siginfo info;

			while (read(p[1].fd, &info, sizeof info) > 0)
				;
			reap();
		}
		if (p[0].revents) {
			struct wire w;
			int fds[WIRE_MAX_FDS], nfds;

			if (wire_recv(sock, &w, &payload, fds, &nfds) < 0)
				break; /* the server closed the sandbox, or is gone */
			handle(&w, &payload, fds, nfds);
			while (nfds)
				close(fds[--nfds]);
		}
	}
	if (getpid() != 1)
		kill_everything();
	buf_free(&payload);
	return 0;
}
