/* glob and grep, run in a child of the agent: a long search blocks nobody. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "text.h"
#include "util.h"

#define MAX_DEPTH 128
#define MAX_GREP_FILE (64 << 20)
#define MAX_LINE_TEXT 4096
#define DEADLINE_MS 30000

struct pattern {
	char *text;
	char *part[MAX_DEPTH];
	int n;
	bool deep; /* holds ** */
};

struct search {
	struct buf out;
	int kind, limit, found;
	bool truncated, stop;
	int64_t deadline;
	const char *needle;
	struct pattern pattern; /* glob's pattern, or grep's file filter */
	bool filter_names;	/* the filter has no '/': it looks at names only */
	char *name[MAX_DEPTH];	/* path below the start, part by part */
};

static bool pattern_split(struct pattern *p, const char *text)
{
	char *save = NULL;

	*p = (struct pattern){ .text = xstrdup(text) };
	for (char *s = strtok_r(p->text, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
		if (p->n == MAX_DEPTH)
			return false;
		p->deep |= strcmp(s, "**") == 0;
		p->part[p->n++] = s;
	}
	return true;
}

/* Does the pattern from part i on match the names from k on? */
static bool match(const struct pattern *p, int i, char *const name[], int k, int n)
{
	for (; i < p->n; i++, k++) {
		if (strcmp(p->part[i], "**") == 0) {
			while (i + 1 < p->n && strcmp(p->part[i + 1], "**") == 0)
				i++;
			for (; k <= n; k++)
				if (match(p, i + 1, name, k, n))
					return true;
			return false;
		}
		if (k >= n || fnmatch(p->part[i], name[k], 0) != 0)
			return false;
	}
	return k == n;
}

static bool may_add(struct search *s)
{
	if (s->found >= s->limit || now_ms() > s->deadline) {
		s->truncated = s->stop = true;
		return false;
	}
	if (s->found++)
		buf_adds(&s->out, ",");
	return true;
}

static void add_entry(struct search *s, const char *path, const struct stat *st)
{
	char when[40];

	if (!may_add(s))
		return;
	format_rfc3339((int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000, when);
	buf_adds(&s->out, "{\"path\":");
	buf_add_json(&s->out, path, strlen(path));
	buf_addf(&s->out, ",\"is_dir\":%s,\"size_bytes\":%lld,\"modified_at\":\"%s\"}",
		 S_ISDIR(st->st_mode) ? "true" : "false", (long long)st->st_size, when);
}

static void grep_file(struct search *s, int dir, const char *name, const char *path)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char head[8192], *line = NULL;
	size_t cap = 0, needle_n = strlen(s->needle);
	ssize_t n;
	FILE *f;
	long number = 0;

	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (n = pread(fd, head, sizeof head, 0)) <= 0 ||
	    memchr(head, 0, (size_t)n)) {
		close(fd);
		return;
	}
	if (st.st_size > MAX_GREP_FILE) {
		s->truncated = true;
		close(fd);
		return;
	}
	f = fdopen(fd, "r");
	while (f && !s->stop && (n = getline(&line, &cap, f)) > 0) {
		number++;
		if (line[n - 1] == '\n')
			n--;
		if (n && line[n - 1] == '\r')
			n--;
		if (!memmem(line, (size_t)n, s->needle, needle_n) || !may_add(s))
			continue;
		buf_adds(&s->out, "{\"path\":");
		buf_add_json(&s->out, path, strlen(path));
		buf_addf(&s->out, ",\"line\":%ld,\"text\":", number);
		buf_add_json(&s->out, line, n > MAX_LINE_TEXT ? MAX_LINE_TEXT : (size_t)n);
		buf_adds(&s->out, "}");
	}
	free(line);
	if (f)
		fclose(f);
}

static bool filter_accepts(struct search *s, int depth)
{
	if (!s->pattern.n)
		return true;
	return s->filter_names ? match(&s->pattern, 0, &s->name[depth], 0, 1)
			       : match(&s->pattern, 0, s->name, 0, depth + 1);
}

static void walk(struct search *s, int fd, const char *path, int depth)
{
	struct dirent **list;
	int n = scandirat(fd, ".", &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		struct stat st, target;
		char *full;

		if (s->stop || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (now_ms() > s->deadline)
			s->truncated = s->stop = true;
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		s->name[depth] = list[i]->d_name;
		full = xasprintf("%s/%s", strcmp(path, "/") == 0 ? "" : path, name);
		if (s->kind == 'g') {
			bool link = S_ISLNK(st.st_mode) && fstatat(fd, name, &target, 0) == 0;

			if (match(&s->pattern, 0, s->name, 0, depth + 1))
				add_entry(s, full, link ? &target : &st);
		} else if (S_ISREG(st.st_mode) && filter_accepts(s, depth)) {
			grep_file(s, fd, name, full);
		}
		/* Symlinks are not entered: they can form circles. */
		if (S_ISDIR(st.st_mode) && depth + 1 < MAX_DEPTH && !s->stop &&
		    (s->kind == 'r' || s->pattern.deep || depth + 1 < s->pattern.n)) {
			int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0) {
				walk(s, sub, full, depth + 1);
				close(sub);
			}
		}
		free(full);
	}
	for (int i = 0; i < n; i++)
		free(list[i]);
	if (n >= 0)
		free(list);
}

static void fail(int fd, const char *path, int err)
{
	struct buf b = { 0 };

	/* The server turns this into the matching HTTP error. */
	buf_addf(&b, "{\"errno\":%d,\"path\":", err);
	buf_add_json(&b, path, strlen(path));
	buf_adds(&b, "}");
	write_all(fd, b.p, b.n);
	buf_free(&b);
}

void search_run(int fd, int kind, int limit, const char *pattern, const char *path, const char *filter)
{
	struct search s = { .kind = kind, .limit = limit, .needle = pattern, .deadline = now_ms() + DEADLINE_MS };
	int dir = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *start = xstrdup(path);

	if (dir < 0 || fstat(dir, &st) < 0) {
		fail(fd, path, errno);
		return;
	}
	if (!S_ISDIR(st.st_mode) && (kind == 'g' || !S_ISREG(st.st_mode))) {
		fail(fd, path, ENOTDIR);
		return;
	}
	while (strlen(start) > 1 && start[strlen(start) - 1] == '/')
		start[strlen(start) - 1] = 0;
	if (!pattern_split(&s.pattern, kind == 'g' ? pattern : filter)) {
		fail(fd, path, EINVAL);
		return;
	}
	s.filter_names = !strchr(filter, '/');
	buf_adds(&s.out, "{\"matches\":[");
	if (S_ISDIR(st.st_mode))
		walk(&s, dir, start, 0);
	else
		grep_file(&s, AT_FDCWD, path, start);
	buf_addf(&s.out, "],\"truncated\":%s}", s.truncated ? "true" : "false");
	write_all(fd, s.out.p, s.out.n);
}
