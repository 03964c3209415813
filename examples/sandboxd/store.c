#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "server.h"
#include "util.h"

const char *const store_host_dirs[] = { "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", NULL };
const char *const store_host_etc[] = { "/etc/alternatives", "/etc/ssl/certs", "/etc/ld.so.cache", NULL };

static int lock_fd = -1;
static int removals;

/* A child process that removes one directory. */
struct removal {
	struct source source;
};

bool store_host_is_dir(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *store_box_dir(const char *id)
{
	return xasprintf("%s/boxes/%s", server.state, id);
}

char *store_root(const char *id)
{
	return xasprintf("%s/boxes/%s/root", server.state, id);
}

static bool ensure(const char *dir)
{
	return mkdir(dir, 0700) == 0 || errno == EEXIST;
}

bool store_open(const char *dir, char **why)
{
	char *boxes, *trash, *lock;
	bool ok;

	if (dir) {
		ok = ensure(dir);
		server.state = ok ? realpath(dir, NULL) : NULL;
	} else {
		const char *tmp = getenv("TMPDIR");

		server.state = xasprintf("%s/sandboxd-XXXXXX", tmp && *tmp ? tmp : "/tmp");
		ok = mkdtemp(server.state) != NULL;
		server.state_is_temporary = ok;
	}
	if (!ok || !server.state) {
		*why = xasprintf("cannot make the state directory %s: %s", dir ? dir : server.state, strerror(errno));
		return false;
	}
	boxes = xasprintf("%s/boxes", server.state);
	trash = xasprintf("%s/trash", server.state);
	lock = xasprintf("%s/lock", server.state);
	store_remove_tree(trash); /* removals that the last server did not finish */
	ok = ensure(boxes) && ensure(trash);
	lock_fd = ok ? open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (lock_fd < 0)
		*why = xasprintf("cannot use the state directory %s: %s", server.state, strerror(errno));
	else if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
		*why = xasprintf("the state directory %s is in use by another sandboxd", server.state);
	else
		*why = NULL;
	free(boxes);
	free(trash);
	free(lock);
	return *why == NULL;
}

void store_close(void)
{
	store_wait();
	if (server.state_is_temporary)
		store_remove_tree(server.state);
	close_fd(&lock_fd);
}

/* A real directory named name below dir, whatever was there; its descriptor or -1. */
static int real_dir(int dir, const char *name, mode_t mode, uid_t uid)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	unlinkat(dir, name, 0);
	if (mkdirat(dir, name, mode) < 0)
		return -1;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && (fchmod(fd, mode) < 0 || (uid != geteuid() && fchown(fd, uid, uid) < 0)))
		close_fd(&fd);
	return fd;
}

static void remove_at(int dir, const char *name);

/* Makes PATH (absolute, as seen inside) a real directory, or an empty file. */
static bool mount_point(int root, const char *path, bool file, uid_t uid)
{
	char *copy = xstrdup(path), *save = NULL;
	int dir = dup(root);

	for (char *s = strtok_r(copy, "/", &save), *next; s && dir >= 0; s = next) {
		int sub;

		next = strtok_r(NULL, "/", &save);
		if (!next && file) {
			struct stat st;

			if (fstatat(dir, s, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) {
				remove_at(dir, s);
				sub = openat(dir, s, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
				close(dir);
				dir = sub;
			}
			break;
		}
		sub = real_dir(dir, s, 0755, uid);
		close(dir);
		dir = sub;
	}
	free(copy);
	if (dir < 0)
		return false;
	close(dir);
	return true;
}

static bool put_file(int etc, const char *name, const char *text, uid_t uid)
{
	int fd = openat(etc, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	bool ok = fd >= 0 && write_all(fd, text, strlen(text)) && (uid == geteuid() || fchown(fd, uid, uid) == 0);

	if (fd < 0 && errno == EEXIST)
		return true;
	close_fd(&fd);
	return ok;
}

/* What is missing of the usual directories. */
static bool usual_dir(int root, const char *path, uid_t uid)
{
	struct stat st;

	return fstatat(root, path + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 || mount_point(root, path, false, uid);
}

/* /bin and its like are symlinks where /usr was merged. */
static bool host_links(int root, uid_t uid)
{
	for (int i = 0; store_host_dirs[i]; i++) {
		const char *name = store_host_dirs[i] + 1;
		char target[256];
		ssize_t n = readlink(store_host_dirs[i], target, sizeof target - 1);

		if (n <= 0)
			continue;
		target[n] = 0;
		if (symlinkat(target, root, name) < 0 && errno != EEXIST)
			return false;
		if (uid != geteuid() && fchownat(root, name, uid, uid, AT_SYMLINK_NOFOLLOW) < 0)
			return false;
	}
	return true;
}

static bool etc_files(int root, uid_t uid)
{
	int etc = real_dir(root, "etc", 0755, uid);
	bool ok = etc >= 0 &&
		  put_file(etc, "passwd",
			   "root:x:0:0:root:/root:/bin/bash\n"
			   "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
			   uid) &&
		  put_file(etc, "group", "root:x:0:\nnogroup:x:65534:\n", uid) &&
		  put_file(etc, "hosts", "127.0.0.1\tlocalhost sandbox\n::1\tlocalhost\n", uid) &&
		  put_file(etc, "hostname", "sandbox\n", uid) &&
		  put_file(etc, "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", uid);

	close_fd(&etc);
	return ok;
}

bool store_make_dir(const char *id, char **why)
{
	char *path = store_box_dir(id);
	bool ok = ensure(path);

	if (!ok)
		*why = xasprintf("cannot make the sandbox's directory: %s", strerror(errno));
	free(path);
	return ok;
}

bool store_make_root(const char *id, uid_t uid, bool own_system, char **why)
{
	static const char *const dirs[] = { "/root", "/home", "/opt", "/srv", "/mnt", "/media", "/etc", "/var",
					    "/var/lib", "/var/log", "/var/cache", "/workspace", NULL };
	char *path = store_box_dir(id), *root = store_root(id);
	int fd = -1;
	bool ok = ensure(path) && ensure(root);

	if (ok)
		fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ok = fd >= 0 && fchmod(fd, 0755) == 0 && (uid == geteuid() || fchown(fd, uid, uid) == 0);
	for (int i = 0; ok && dirs[i]; i++)
		ok = usual_dir(fd, dirs[i], uid);
	if (ok) {
		int var = real_dir(fd, "var", 0755, uid);
		int tmp = real_dir(var, "tmp", 01777, uid);

		ok = tmp >= 0 && etc_files(fd, uid) && (own_system || host_links(fd, uid));
		close_fd(&tmp);
		close_fd(&var);
	}
	if (!ok)
		*why = xasprintf("cannot make the sandbox's directory: %s", strerror(errno));
	close_fd(&fd);
	free(path);
	free(root);
	return ok && store_prepare_root(id, uid, own_system, why);
}

bool store_prepare_root(const char *id, uid_t uid, bool own_system, char **why)
{
	static const char *const points[] = { "/proc", "/dev", "/tmp", "/run", "/etc", "/root", NULL };
	char *root = store_root(id);
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool ok = fd >= 0 && fchmod(fd, 0755) == 0;

	for (int i = 0; ok && points[i]; i++)
		ok = mount_point(fd, points[i], false, uid);
	for (int i = 0; ok && !own_system && store_host_dirs[i]; i++)
		if (store_host_is_dir(store_host_dirs[i]))
			ok = mount_point(fd, store_host_dirs[i], false, uid);
	for (int i = 0; ok && !own_system && store_host_etc[i]; i++)
		if (access(store_host_etc[i], F_OK) == 0)
			ok = mount_point(fd, store_host_etc[i], !store_host_is_dir(store_host_etc[i]), uid);
	ok = ok && mount_point(fd, "/etc/ld.so.preload", true, uid);
	if (ok && server.share_net)
		ok = mount_point(fd, "/etc/resolv.conf", true, uid);
	if (!ok)
		*why = xasprintf("cannot prepare the sandbox's directory: %s", strerror(errno));
	close_fd(&fd);
	free(root);
	return ok;
}

bool store_mount_point(const char *id, const char *path, uid_t uid, char **why)
{
	char *root = store_root(id);
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool ok = fd >= 0 && mount_point(fd, path, false, uid);

	if (!ok)
		*why = xasprintf("cannot make the directory %s: %s", path, strerror(errno));
	close_fd(&fd);
	free(root);
	return ok;
}

bool store_save_json(const char *path, const json_t *doc)
{
	char *tmp = xasprintf("%s.new", path), *text = json_dumps(doc, JSON_INDENT(1) | JSON_SORT_KEYS);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && text && write_all(fd, text, strlen(text));

	close_fd(&fd);
	ok = ok && rename(tmp, path) == 0;
	if (!ok)
		logf_err("cannot save %s: %s", path, strerror(errno));
	free(text);
	free(tmp);
	return ok;
}

bool store_save(const char *id, const json_t *doc)
{
	char *path = xasprintf("%s/boxes/%s/box.json", server.state, id);
	bool ok = store_save_json(path, doc);

	free(path);
	return ok;
}

void store_load(void (*found)(const char *id, json_t *doc))
{
	char *path = xasprintf("%s/boxes", server.state);
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *file;
		json_error_t err;
		json_t *doc;

		if (e->d_name[0] == '.')
			continue;
		file = xasprintf("%s/%s/box.json", path, e->d_name);
		doc = json_load_file(file, 0, &err);
		if (doc)
			found(e->d_name, doc);
		else
			logf_err("ignoring %s: %s", file, err.text);
		free(file);
	}
	if (d)
		closedir(d);
	free(path);
}

static void remove_at(int dir, const char *name)
{
	struct dirent *e;
	DIR *d;
	int fd;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	fchmod(fd, 0700);
	d = fdopendir(fd);
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_at(fd, e->d_name);
	if (d)
		closedir(d);
	unlinkat(dir, name, AT_REMOVEDIR);
}

void store_remove_tree(const char *path)
{
	remove_at(AT_FDCWD, path);
}

static void on_removed(struct source *s, uint32_t events)
{
	struct removal *r = container(s, struct removal, source);

	(void)events;
	waitid(P_PIDFD, (id_t)s->fd, NULL, WEXITED);
	source_del(s);
	close(s->fd);
	loop_free_later(r);
	removals--;
}

/* Waits for whoever still reads the directory. */
static void wait_for_readers(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0) {
		int root = openat(fd, "root", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		flock(fd, LOCK_EX);
		flock(root, LOCK_EX);
	}
}

void store_remove_later(const char *path)
{
	static unsigned number;
	char *to = xasprintf("%s/trash/%u", server.state, number++);
	struct removal *r;
	pid_t pid = -1;
	int pidfd;

	if (rename(path, to) == 0)
		pid = fork();
	if (pid == 0) {
		close_range(3, ~0U, 0);
		wait_for_readers(to);
		store_remove_tree(to);
		_exit(0);
	}
	pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (pidfd >= 0) {
		r = xcalloc(1, sizeof *r);
		source_add(&r->source, pidfd, EPOLLIN, on_removed);
		removals++;
	} else if (pid > 0) {
		waitpid(pid, NULL, 0);
	} else {
		store_remove_tree(to);
	}
	free(to);
}

void store_remove_box_later(const char *id)
{
	char *path = store_box_dir(id);

	store_remove_later(path);
	free(path);
}

void store_wait(void)
{
	while (removals)
		loop_once(-1);
}
