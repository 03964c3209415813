#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store.h"

#define MAX_DEPTH 1000 /* each level takes a few descriptors */
#define CHUNK (1 << 20)

struct copying {
	uid_t uid;
	bool give;    /* uid is not ours */
	uint64_t used, limit;
	int depth;
	struct buf *why;
};

int tree_open(const char *root, const char *path)
{
	int dir = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd, err;
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

	if (dir < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
	err = errno;
	close(dir);
	errno = err;
	return fd;
}

static bool failed(struct copying *c, const char *what, const char *name)
{
	if (!c->why->n)
		buf_addf(c->why, "cannot %s '%s': %s", what, name, strerror(errno));
	return false;
}

static bool count(struct copying *c, uint64_t bytes)
{
	c->used += bytes;
	if (c->used <= c->limit)
		return true;
	if (!c->why->n)
		buf_addf(c->why, "the files do not fit into fs_capacity_bytes (%llu)", (unsigned long long)c->limit);
	return false;
}

/* One stretch of data, at the same place in both. */
static bool copy_range(int in, int out, off_t at, off_t end)
{
	static char block[65536];

	while (at < end) {
		off_t from = at, to = at;
		ssize_t n = copy_file_range(in, &from, out, &to, (size_t)(end - at < CHUNK ? end - at : CHUNK), 0);

		if (n < 0) { /* not between these two file systems */
			size_t want = (size_t)(end - at < (off_t)sizeof block ? end - at : (off_t)sizeof block);

			n = pread(in, block, want, at);
			if (n > 0 && pwrite(out, block, (size_t)n, at) != n)
				return false;
		}
		if (n < 0)
			return false;
		if (n == 0) /* it was cut meanwhile */
			return true;
		at += n;
	}
	return true;
}

static bool copy_data(int in, int out, off_t size)
{
	off_t at = 0;

	if (ioctl(out, FICLONE, in) == 0)
		return true;
	while (at < size) {
		off_t data = lseek(in, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = at;
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		if (!copy_range(in, out, data, hole))
			return false;
		at = hole > at ? hole : size;
	}
	return ftruncate(out, size) == 0;
}

static bool copy_file(struct copying *c, int from, int to, const char *name)
{
	/* Never a FIFO or link that took the place of the file seen before. */
	int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), out;
	struct timespec times[2];
	struct stat st;
	bool ok;

	if (in < 0)
		return errno == ENOENT || errno == ELOOP ? true : failed(c, "read", name);
	if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(in);
		return true;
	}
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ok = out >= 0 && copy_data(in, out, st.st_size) && (!c->give || fchown(out, c->uid, c->uid) == 0) &&
	     fchmod(out, st.st_mode & 07777) == 0;
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	ok = ok && futimens(out, times) == 0;
	if (!ok)
		failed(c, "copy", name);
	ok = ok && count(c, (uint64_t)st.st_blocks * 512);
	close(in);
	close_fd(&out);
	return ok;
}

static bool copy_link(struct copying *c, int from, int to, const char *name, const struct stat *st)
{
	char *target = xmalloc(PATH_MAX + 1);
	ssize_t n = readlinkat(from, name, target, PATH_MAX);
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	bool ok = true;

	if (n >= 0) {
		target[n] = 0;
		ok = symlinkat(target, to, name) == 0 &&
		     (!c->give || fchownat(to, name, c->uid, c->uid, AT_SYMLINK_NOFOLLOW) == 0) &&
		     utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) == 0;
		if (!ok)
			failed(c, "copy", name);
	}
	free(target);
	return ok;
}

static bool copy_fifo(struct copying *c, int to, const char *name, const struct stat *st)
{
	if (mkfifoat(to, name, 0600) == 0 && (!c->give || fchownat(to, name, c->uid, c->uid, AT_SYMLINK_NOFOLLOW) == 0) &&
	    fchmodat(to, name, st->st_mode & 0777, 0) == 0)
		return true;
	return failed(c, "copy", name);
}

static bool copy_content(struct copying *c, int from, int to);

static bool copy_dir(struct copying *c, int from, int to, const char *name)
{
	int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), out = -1;
	bool ok;

	if (in < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? true : failed(c, "read", name);
	if (mkdirat(to, name, 0700) == 0)
		out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0) {
		close(in);
		return failed(c, "make", name);
	}
	ok = copy_content(c, in, out);
	close(out);
	return ok;
}

static bool copy_entry(struct copying *c, int from, int to, const char *name)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? true : failed(c, "read", name);
	if (S_ISDIR(st.st_mode))
		return copy_dir(c, from, to, name);
	if (S_ISREG(st.st_mode))
		return copy_file(c, from, to, name);
	if (S_ISLNK(st.st_mode))
		return copy_link(c, from, to, name, &st);
	if (S_ISFIFO(st.st_mode))
		return copy_fifo(c, to, name, &st);
	return true;
}

/* Closes `from`. The directory's own mode and times come last: it may be read-only. */
static bool copy_content(struct copying *c, int from, int to)
{
	struct timespec times[2];
	struct dirent *e;
	struct stat st;
	bool ok = true;
	DIR *d;

	if (++c->depth > MAX_DEPTH) {
		errno = ENAMETOOLONG;
		ok = failed(c, "copy", "a directory more than 1000 levels deep");
	}
	if (fstat(from, &st) < 0)
		ok = failed(c, "read", ".");
	d = ok ? fdopendir(from) : NULL;
	if (!d) {
		close(from);
		return ok ? failed(c, "read", ".") : false;
	}
	while (ok && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			ok = copy_entry(c, dirfd(d), to, e->d_name);
	closedir(d);
	c->depth--;
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	if (ok && ((c->give && fchown(to, c->uid, c->uid) < 0) || fchmod(to, st.st_mode & 07777) < 0 || futimens(to, times) < 0))
		ok = failed(c, "set the mode of", ".");
	return ok && count(c, (uint64_t)st.st_blocks * 512);
}

bool tree_copy(int from, const char *to, uid_t uid, uint64_t limit, uint64_t *used, struct buf *why)
{
	struct copying c = { .uid = uid, .give = uid != geteuid(), .limit = limit, .why = why };
	char *tmp = xasprintf("%s.new", to);
	int dir = -1;
	bool ok;

	store_remove_tree(tmp);
	if (mkdir(tmp, 0700) == 0)
		dir = open(tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0) {
		close(from);
		ok = failed(&c, "make", tmp);
	} else {
		ok = copy_content(&c, from, dir);
		close(dir);
	}
	if (ok && rename(tmp, to) < 0)
		ok = failed(&c, "make", to);
	if (!ok)
		store_remove_tree(tmp);
	*used = c.used;
	free(tmp);
	return ok;
}
