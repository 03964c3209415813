/* Isolation: one bubblewrap around one agent.
 *
 * A root server does not run sandboxes as root: user id 0 of the initial user
 * namespace may write /proc/sys even without capabilities. Each sandbox gets an
 * otherwise unused user id, which the user namespace shows as root inside. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"
#include "store.h"
#include "wire.h"

#define UID_BASE 0x70000000u
#define SOCK_FD 3
#define EXE_FD 4
#define LOADER_FD 5
#define LIBRARY_FD 6 /* and on */
#define MAX_LIBRARY_DIRS 8
#define EMPTY_FD 15

struct args {
	const char *v[256];
	int n;
};

/* This program's dynamic loader, and where its libraries lie. */
struct loader {
	char *path;
	char *dirs[MAX_LIBRARY_DIRS];
	int n;
};

static void add(struct args *a, const char *s)
{
	if (a->n < (int)(sizeof a->v / sizeof *a->v) - 1)
		a->v[a->n++] = s;
	a->v[a->n] = NULL;
}

static void add3(struct args *a, const char *x, const char *y, const char *z)
{
	add(a, x);
	add(a, y);
	if (z)
		add(a, z);
}

uid_t launch_uid(const char *id)
{
	unsigned low = 0;

	if (geteuid() != 0 || !server.isolation)
		return geteuid();
	sscanf(id, "%6x", &low);
	return UID_BASE + low;
}

static void die(const char *what)
{
	fprintf(stderr, "sandboxd: cannot start a sandbox: %s: %s\n", what, strerror(errno));
	_exit(126);
}

static int look_at_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct loader *l = arg;
	const char *slash = strrchr(info->dlpi_name, '/');
	char *dir;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum && !l->path; i++)
		if (info->dlpi_phdr[i].p_type == PT_INTERP)
			l->path = xstrdup((const char *)(uintptr_t)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr));
	if (!slash || slash == info->dlpi_name || l->n == MAX_LIBRARY_DIRS)
		return 0;
	dir = xasprintf("%.*s", (int)(slash - info->dlpi_name), info->dlpi_name);
	for (int i = 0; i < l->n; i++) {
		if (strcmp(l->dirs[i], dir) == 0) {
			free(dir);
			return 0;
		}
	}
	l->dirs[l->n++] = dir;
	return 0;
}

static void at_number(const char *path, int flags, int number)
{
	int fd = open(path, flags);

	if (fd < 0 || (fd != number && dup2(fd, number) < 0))
		die(path);
	if (fd != number)
		close(fd);
}

/* Inside a root with a system of its own, the agent's libraries are not found by
 * name. Opened outside, they are reached through descriptors. */
static void agent_by_loader(struct args *a)
{
	struct loader l = { 0 };
	struct buf path = { 0 };

	dl_iterate_phdr(look_at_object, &l);
	if (!l.path) /* linked statically */
		return;
	at_number(l.path, O_RDONLY, LOADER_FD);
	for (int i = 0; i < l.n; i++) {
		at_number(l.dirs[i], O_RDONLY | O_DIRECTORY, LIBRARY_FD + i);
		buf_addf(&path, "%s/proc/self/fd/%d", i ? ":" : "", LIBRARY_FD + i);
	}
	buf_add(&path, "", 1);
	add3(a, "/proc/self/fd/5", "--library-path", path.p);
}

/* `bind`: the caller's directories are not mounted yet. */
static void bwrap_args(struct args *a, const struct launch *l, const char *root, bool bind)
{
	static const char sock_text[] = "3", exe_text[] = "/proc/self/fd/4";

	add(a, "bwrap");
	add(a, "--unshare-user");
	add(a, "--disable-userns");
	add3(a, "--uid", "0", NULL);
	add3(a, "--gid", "0", NULL);
	add(a, "--unshare-pid");
	add(a, "--unshare-ipc");
	add(a, "--unshare-uts");
	add(a, "--unshare-cgroup-try");
	if (!server.share_net)
		add(a, "--unshare-net");
	add3(a, "--hostname", "sandbox", NULL);
	add(a, "--die-with-parent");
	add(a, "--new-session");
	add(a, "--clearenv");
	add3(a, "--cap-drop", "ALL", NULL);
	add3(a, "--bind", root, "/");
	for (int i = 0; !l->own_system && store_host_dirs[i]; i++)
		if (store_host_is_dir(store_host_dirs[i]))
			add3(a, "--ro-bind", store_host_dirs[i], store_host_dirs[i]);
	for (int i = 0; !l->own_system && store_host_etc[i]; i++)
		add3(a, "--ro-bind-try", store_host_etc[i], store_host_etc[i]);
	if (server.share_net)
		add3(a, "--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf");
	/* Else what a sandbox names there would be loaded into its next agent. */
	at_number("/dev/null", O_RDONLY, EMPTY_FD);
	add3(a, "--ro-bind-data", "15", "/etc/ld.so.preload");
	add3(a, "--proc", "/proc", NULL);
	add3(a, "--dev", "/dev", NULL);
	add3(a, "--perms", "1777", NULL);
	add3(a, "--tmpfs", "/tmp", NULL);
	add3(a, "--tmpfs", "/run", NULL);
	for (size_t i = 0; bind && i < l->binds_n; i++)
		add3(a, l->binds[i].read_only ? "--ro-bind" : "--bind", l->binds[i].from, l->binds[i].to);
	add3(a, "--chdir", "/", NULL);
	add(a, "--as-pid-1");
	add(a, "--");
	if (l->own_system)
		agent_by_loader(a);
	add3(a, exe_text, "--agent", sock_text);
	add(a, l->home);
}

/* The chosen user id may have no way through the directories above the state
 * directory, so the root is mounted, in a mount namespace that nobody else
 * sees, on a directory that everyone can reach. */
static const char *reachable(const char *root)
{
	static const char *const places[] = { "/mnt", "/srv", "/media", "/opt", "/home", NULL };

	for (int i = 0; places[i]; i++)
		if (mount(root, places[i], NULL, MS_BIND | MS_REC, NULL) == 0)
			return places[i];
	die("mounting its root");
	return NULL;
}

/* Nothing runs in the root yet, so its directories are what the server made them. */
static void bind_all(const struct launch *l)
{
	for (size_t i = 0; i < l->binds_n; i++) {
		char *to = xasprintf("%s%s", l->root, l->binds[i].to);

		if (mount(l->binds[i].from, to, NULL, MS_BIND, NULL) < 0 ||
		    (l->binds[i].read_only && mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0))
			die(to);
		free(to);
	}
}

static void child(const struct launch *l, int sock)
{
	const char *root = l->root;
	struct args a = { .n = 0 };
	bool own_uid = l->uid != geteuid();
	sigset_t none;
	int null;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setrlimit(RLIMIT_NOFILE, &server.files);
	/* Out of the way of the numbers that are assigned next. */
	sock = fcntl(sock, F_DUPFD, 16);
	null = open("/dev/null", O_RDWR);
	if (sock < 0 || null < 0 || dup2(server.exe_fd, EXE_FD) < 0 || dup2(sock, SOCK_FD) < 0 || dup2(null, 0) < 0 ||
	    dup2(null, 1) < 0)
		die("descriptors");
	close_range(5, ~0U, 0);
	/* Of the server's terminal and process group only stderr remains, for messages. */
	setsid();
	if (!server.isolation) {
		char *const env[] = { NULL };
		char *const argv[] = { (char *)(uintptr_t)"sandboxd-agent", (char *)(uintptr_t)"--agent",
				       (char *)(uintptr_t)"3", (char *)(uintptr_t)l->home, NULL };

		execve("/proc/self/fd/4", argv, env);
		die("agent");
	}
	if (own_uid) {
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			die("mount namespace");
		bind_all(l);
		root = reachable(root);
		if (setgroups(0, NULL) < 0 || setresgid(l->uid, l->uid, l->uid) < 0 || setresuid(l->uid, l->uid, l->uid) < 0)
			die("user id");
	}
	if (chdir("/") < 0)
		die("/");
	bwrap_args(&a, l, root, !own_uid);
	execvp("bwrap", (char *const *)(uintptr_t)a.v);
	die("bubblewrap (bwrap) is needed for isolation");
}

bool launch_agent(const struct launch *l, struct launched *out, char **why)
{
	int pair[2], size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		*why = xasprintf("no socket for its agent: %s", strerror(errno));
		return false;
	}
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	out->pid = fork();
	if (out->pid == 0)
		child(l, pair[1]);
	close(pair[1]);
	out->pidfd = out->pid > 0 ? (int)syscall(SYS_pidfd_open, out->pid, 0) : -1;
	if (out->pidfd < 0) {
		*why = xasprintf("no process for its agent: %s", strerror(errno));
		close(pair[0]);
		return false;
	}
	fcntl(out->pidfd, F_SETFD, FD_CLOEXEC);
	set_nonblock(pair[0]);
	out->sock = pair[0];
	return true;
}

bool launch_probe(char **why)
{
	static const char id[] = "ffffff00-probe";
	struct launched l;
	struct buf payload = { 0 };
	struct wire w = { 0 };
	int fds[WIRE_MAX_FDS], nfds, status = 0;
	bool ok;
	char *root;

	if (!store_make_root(id, launch_uid(id), false, why))
		return false;
	root = store_root(id);
	ok = launch_agent(&(struct launch){ .root = root, .home = "/root", .uid = launch_uid(id) }, &l, why);
	if (ok) {
		struct pollfd p = { .fd = l.sock, .events = POLLIN };

		ok = poll(&p, 1, 10000) == 1 && wire_recv(l.sock, &w, &payload, fds, &nfds) == 1 && w.op == WIRE_HELLO;
		close(l.sock);
		if (!ok)
			kill(l.pid, SIGKILL);
		waitpid(l.pid, &status, 0);
		close(l.pidfd);
		if (!ok)
			*why = xstrdup("a trial sandbox did not start");
	}
	free(root);
	root = store_box_dir(id);
	store_remove_tree(root);
	free(root);
	buf_free(&payload);
	return ok;
}
