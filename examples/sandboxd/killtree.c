/* Ending all processes of a command. A process group is not enough (setsid,
 * daemons), so three marks count: group or session, descent, and the tag in the
 * environment, which survives re-parenting. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "util.h"

struct proc {
	pid_t pid, parent, group, session;
	bool hit;
};

static bool read_stat(pid_t pid, struct proc *p)
{
	char path[64], text[512], *end;
	ssize_t n;
	int fd, parent, group, session;
	char state;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	end = strrchr(text, ')'); /* the name before it may hold anything */
	if (!end || sscanf(end + 1, " %c %d %d %d", &state, &parent, &group, &session) != 4 || state == 'Z')
		return false;
	*p = (struct proc){ .pid = pid, .parent = parent, .group = group, .session = session };
	return true;
}

/* The value of the tag in a process's environment, to be freed; NULL without. */
static char *tag_of(pid_t pid)
{
	static const char name[] = AGENT_TAG "=";
	char path[64], *tag = NULL;
	struct buf b = { 0 };
	int fd;
	ssize_t r;

	snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	do {
		buf_reserve(&b, 4096);
		r = read(fd, b.p + b.n, 4096);
		b.n += r > 0 ? (size_t)r : 0;
	} while (r > 0);
	close(fd);
	for (size_t at = 0; at < b.n && !tag;) {
		size_t len = strnlen(b.p + at, b.n - at);

		if (len > sizeof name && strncmp(b.p + at, name, sizeof name - 1) == 0)
			tag = strndup(b.p + at + sizeof name - 1, len - sizeof name + 1);
		at += len + 1;
	}
	buf_free(&b);
	return tag;
}

static size_t list_processes(struct proc **out)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	size_t n = 0, cap = 0;

	*out = NULL;
	while (d && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 64;
			*out = xrealloc(*out, cap * sizeof **out);
		}
		if (read_stat((pid_t)atoi(e->d_name), &(*out)[n]))
			n++;
	}
	if (d)
		closedir(d);
	return n;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = ((const struct proc *)a)->pid, y = ((const struct proc *)b)->pid;

	return (x > y) - (x < y);
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Marks what descends from marked processes; the list is sorted by pid. */
static void mark_offspring(struct proc *p, size_t n, pid_t self)
{
	bool grew;

	do {
		grew = false;
		for (size_t i = 0; i < n; i++) {
			struct proc key = { .pid = p[i].parent }, *parent;

			if (p[i].hit || p[i].pid == self)
				continue;
			parent = bsearch(&key, p, n, sizeof *p, by_pid);
			if (parent && parent->hit)
				grew = p[i].hit = true;
		}
	} while (grew);
}

static bool kill_marked(const struct proc *p, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++)
		if (p[i].hit && kill(p[i].pid, SIGKILL) == 0)
			any = true;
	return any;
}

/* One sweep; true when something was hit. Repeated, because a process may fork
 * between being listed and being killed. */
static bool sweep(const pid_t *leaders, char *const *tags, size_t count)
{
	struct proc *p;
	size_t n = list_processes(&p);
	pid_t self = getpid();
	bool any;

	qsort(p, n, sizeof *p, by_pid);
	for (size_t i = 0; i < n; i++) {
		char *tag;

		if (p[i].pid == self)
			continue;
		p[i].hit = bsearch(&p[i].group, leaders, count, sizeof *leaders, by_number) ||
			   bsearch(&p[i].session, leaders, count, sizeof *leaders, by_number);
		if (p[i].hit)
			continue;
		tag = tag_of(p[i].pid);
		p[i].hit = tag && bsearch(&tag, tags, count, sizeof *tags, by_text);
		free(tag);
	}
	mark_offspring(p, n, self);
	any = kill_marked(p, n);
	free(p);
	return any;
}

void kill_trees(pid_t *leaders, char **tags, size_t count)
{
	qsort(leaders, count, sizeof *leaders, by_number);
	qsort(tags, count, sizeof *tags, by_text);
	for (int i = 0; i < 10 && sweep(leaders, tags, count); i++)
		;
}

void kill_everything(void)
{
	pid_t self = getpid();

	for (int i = 0; i < 10; i++) {
		struct proc *p;
		size_t n = list_processes(&p);
		bool any;

		qsort(p, n, sizeof *p, by_pid);
		/* As a child subreaper every descendant hangs below this process. */
		for (size_t k = 0; k < n; k++)
			p[k].hit = p[k].parent == self;
		mark_offspring(p, n, self);
		any = kill_marked(p, n);
		free(p);
		if (!any)
			return;
	}
}
