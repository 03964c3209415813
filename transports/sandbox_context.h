/* sandbox_context.h: the build context of a Dockerfile as a tar, made piece by
   piece, and .dockerignore. A part of sandbox_build.h, which includes it; it
   declares nothing public. POSIX. */
#ifndef SBX_CONTEXT_H
#define SBX_CONTEXT_H

#ifndef SBX_LANGSMITH_SNAPSHOTS_H
#error "include sandbox.h before sandbox_context.h"
#endif
#endif /* SBX_CONTEXT_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_CONTEXT_IMPLEMENTED)
#define SBXI_CONTEXT_IMPLEMENTED

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Longest path, .dockerignore or other text; deepest directory; hard links. */
#define SBXI_IMAGE_PATH 4096
#define SBXI_IMAGE_TEXT 16384
#define SBXI_IMAGE_DEPTH 64
#define SBXI_IMAGE_LINKS 64

static sbx_code sbxi_image_error(sbx_error *err, sbx_code code, const char *field, const char *what, const char *path, int sys)
{
    memset(err, 0, sizeof *err);
    err->code = code;
    err->layer = SBX_LAYER_LOCAL;
    err->sys = sys;
    err->retry_after_ms = -1;
    snprintf(err->operation, sizeof err->operation, "image_build");
    snprintf(err->field, sizeof err->field, "%s", field);
    err->cut = snprintf(err->text, sizeof err->text, "%s%s%s%s%s", what, path ? " " : "", path ? path : "", sys ? ": " : "", sys ? strerror(sys) : "") >= (int)sizeof err->text;
    return code;
}

static sbx_code sbxi_image_local(sbx_error *err, const char *what, const char *path)
{
    return sbxi_image_error(err, SBX_ERR_ARGUMENT, "local_path", what, path, errno);
}

/* ---- .dockerignore ---- */

/* Its patterns, cleaned, one behind the other, each with its NUL; those that
   take something back begin with `!`. */
typedef struct sbxi_ignore {
    size_t n;
    char text[SBXI_IMAGE_TEXT];
} sbxi_ignore;

typedef enum sbxi_glob_kind { SBXI_GLOB_BYTE, SBXI_GLOB_ONE, SBXI_GLOB_SET, SBXI_GLOB_NAME, SBXI_GLOB_DIRS, SBXI_GLOB_ALL } sbxi_glob_kind;

typedef struct sbxi_glob {
    sbxi_glob_kind kind;
    char byte;
    const char *set; /* behind its [ */
} sbxi_glob;

/* A character of a path or set; bytes that are no UTF-8 stand for themselves. */
static unsigned long sbxi_glob_char(const char **p)
{
    const unsigned char *s = (const unsigned char *)*p;
    unsigned more = *s >= 0xF0 ? 3 : *s >= 0xE0 ? 2 : *s >= 0xC0 ? 1 : 0;
    unsigned long c = more == 3 ? *s & 7u : more == 2 ? *s & 15u : more ? *s & 31u : *s;

    for (unsigned i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            (*p)++;
            return *s;
        }
        c = c << 6 | (s[i] & 63u);
    }
    *p += more + 1;
    return c;
}

static bool sbxi_glob_set_char(const char **p, unsigned long *c)
{
    if (**p == '\\')
        (*p)++;
    else if (**p == '-' || **p == ']')
        return false;
    if (!**p)
        return false;
    *c = sbxi_glob_char(p);
    return true;
}

/* Reads a set up to its end; false: it is none. *in: whether c is in it. */
static bool sbxi_glob_set(const char **p, unsigned long c, bool *in)
{
    bool inverted = **p == '^';
    unsigned long low, high;

    *p += inverted;
    *in = false;
    do {
        if (!sbxi_glob_set_char(p, &low))
            return false;
        high = low;
        if (**p == '-') {
            (*p)++;
            if (!sbxi_glob_set_char(p, &high))
                return false;
        }
        if (high < low)
            return false;
        *in = *in || (c >= low && c <= high);
    } while (**p && **p != ']');
    if (!**p)
        return false;
    (*p)++;
    *in = *in != inverted;
    return true;
}

/* The pattern's next part; false: it is malformed. */
static bool sbxi_glob_next(const char **p, sbxi_glob *g)
{
    bool in;

    g->byte = *(*p)++;
    g->set = *p;
    g->kind = SBXI_GLOB_BYTE;
    if (g->byte == '?') {
        g->kind = SBXI_GLOB_ONE;
    } else if (g->byte == '[') {
        g->kind = SBXI_GLOB_SET;
        return sbxi_glob_set(p, 0, &in);
    } else if (g->byte == '\\') {
        g->byte = *(*p)++;
        return g->byte != 0;
    } else if (g->byte == '*' && **p != '*') {
        g->kind = SBXI_GLOB_NAME;
    } else if (g->byte == '*') {
        *p += 1 + ((*p)[1] == '/');
        g->kind = **p ? SBXI_GLOB_DIRS : SBXI_GLOB_ALL;
    }
    return true;
}

/* Places in a path, as a set: all ways to match are gone at once. */
typedef struct sbxi_places {
    uint32_t bits[SBXI_IMAGE_PATH / 32];
} sbxi_places;

static bool sbxi_place_has(const sbxi_places *s, size_t i)
{
    return s->bits[i / 32] >> i % 32 & 1;
}

static void sbxi_place_add(sbxi_places *s, size_t i)
{
    s->bits[i / 32] |= (uint32_t)1 << i % 32;
}

/* Where the part, begun at any of `from`, can end. False: nowhere. */
static bool sbxi_glob_step(const sbxi_glob *g, const char *path, size_t n, const sbxi_places *from, sbxi_places *to)
{
    bool open = false, any = false;

    memset(to, 0, sizeof *to);
    for (size_t i = 0; i <= n; i++) {
        const char *p = path + i, *set = g->set;
        bool here = sbxi_place_has(from, i), in = true;

        switch (g->kind) {
        case SBXI_GLOB_ALL: open = open || here; break;
        case SBXI_GLOB_NAME: open = here || (open && p[-1] != '/'); break;
        case SBXI_GLOB_DIRS:
            if (here || (open && p[-1] == '/')) {
                sbxi_place_add(to, i);
                any = true;
            }
            open = open || here;
            continue;
        default:
            if (!here || i == n)
                continue;
            if (g->kind == SBXI_GLOB_BYTE) {
                in = *p++ == g->byte;
            } else {
                unsigned long c = sbxi_glob_char(&p);

                in = g->kind == SBXI_GLOB_ONE ? c != '/' : sbxi_glob_set(&set, c, &in) && in;
            }
            if (in && p <= path + n) {
                sbxi_place_add(to, (size_t)(p - path));
                any = true;
            }
            continue;
        }
        if (open) {
            sbxi_place_add(to, i);
            any = true;
        }
    }
    return any;
}

/* Whether the pattern fits the path, or a directory that it lies in. */
static bool sbxi_ignore_fits(const char *pattern, const char *path, size_t n)
{
    sbxi_places at[2];
    unsigned turn = 0;
    sbxi_glob g;

    memset(&at[0], 0, sizeof at[0]);
    sbxi_place_add(&at[0], 0);
    /* Docker takes `**name` for whatever ends with it. */
    if (strncmp(pattern, "**", 2) == 0 && pattern[2] && pattern[2] != '/' && !strpbrk(pattern + 2, "*?[\\")) {
        memset(&at[0], 0xFF, sizeof at[0]);
        pattern += 2;
    }
    while (*pattern) {
        if (!sbxi_glob_next(&pattern, &g) || !sbxi_glob_step(&g, path, n, &at[turn], &at[turn ^ 1]))
            return false;
        turn ^= 1;
    }
    for (size_t i = 1; i <= n; i++)
        if (sbxi_place_has(&at[turn], i) && (i == n || path[i] == '/'))
            return true;
    return false;
}

/* Whether the path is left out: the last pattern that fits decides. */
static bool sbxi_ignore_out(const sbxi_ignore *ig, const char *path, size_t n)
{
    bool out = false;

    for (size_t at = 0; at < ig->n; at += strlen(ig->text + at) + 1) {
        bool back = ig->text[at] == '!';

        if (out == back && sbxi_ignore_fits(ig->text + at + back, path, n))
            out = !back;
    }
    return out;
}

/* Whether something in a directory that is left out may be taken back. */
static bool sbxi_ignore_may_hold(const sbxi_ignore *ig, const char *dir, size_t n)
{
    for (size_t at = 0; at < ig->n; at += strlen(ig->text + at) + 1) {
        const char *pattern = ig->text + at + 1;
        size_t fixed = strcspn(pattern, "*?[\\"), same = fixed < n ? fixed : n;

        /* A wildcard takes any rest; without one the shorter must end where the longer has a part's end. */
        if (ig->text[at] == '!' && memcmp(pattern, dir, same) == 0 &&
            (fixed > n ? pattern[n] == '/' : pattern[fixed] || fixed == n || dir[fixed] == '/'))
            return true;
    }
    return false;
}

/* A path without empty parts, `.` and `..`, in place; its new length. */
static size_t sbxi_ignore_clean(char *p, size_t n)
{
    bool rooted = n && *p == '/';
    size_t to = 0, up = 0; /* up: what `..` cannot take back */

    for (size_t from = 0; from < n;) {
        size_t end = from, part;

        while (end < n && p[end] != '/')
            end++;
        part = end - from;
        if (part == 2 && memcmp(p + from, "..", 2) == 0 && (to > up || rooted)) {
            while (to > up && p[to - 1] != '/')
                to--;
            to -= to > up;
        } else if (part && (part != 1 || p[from] != '.')) {
            bool dots = part == 2 && memcmp(p + from, "..", 2) == 0;

            if (to)
                p[to++] = '/';
            memmove(p + to, p + from, part);
            to += part;
            up = dots ? to : up;
        }
        from = end + 1;
    }
    return to;
}

static bool sbxi_ignore_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One line; false: it is malformed. What it becomes is never longer. */
static bool sbxi_ignore_line(sbxi_ignore *ig, char *p, char *end)
{
    const char *check;
    char *to = ig->text + ig->n;
    bool back;
    size_t n;
    sbxi_glob g;

    if (p < end && *p == '#')
        return true;
    while (p < end && sbxi_ignore_space(*p))
        p++;
    while (p < end && sbxi_ignore_space(end[-1]))
        end--;
    back = p < end && *p == '!';
    p += back;
    while (p < end && sbxi_ignore_space(*p))
        p++;
    if (p == end)
        return !back;
    n = sbxi_ignore_clean(p, (size_t)(end - p));
    if (!n)
        return true;
    if (memchr(p, 0, n))
        return false;
    memmove(to + back, p, n);
    to[back + n] = 0;
    for (check = to + back; *check;)
        if (!sbxi_glob_next(&check, &g))
            return false;
    if (back)
        *to = '!';
    ig->n += back + n + 1;
    return true;
}

/* text[0..n) is the file and is made the patterns. 0, or the line that is malformed. */
static SBX_UNUSED unsigned sbxi_ignore_parse(sbxi_ignore *ig, size_t n)
{
    char *p = ig->text, *end = p + n;
    unsigned line = 1;

    ig->n = 0;
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
        p += 3;
    for (; p < end; line++) {
        char *eol = (char *)memchr(p, '\n', (size_t)(end - p));

        if (!eol)
            eol = end;
        if (!sbxi_ignore_line(ig, p, eol))
            return line;
        p = eol + 1;
    }
    return 0;
}

/* ---- tar ---- */

typedef struct sbxi_tar_link {
    dev_t dev;
    ino_t ino;
    char name[112];
} sbxi_tar_link;

/* Makes a tar of a directory piece by piece (POSIX.1-2017, pax: ustar with
   extended headers where a name or a size needs one), or passes one file.
   Everything is opened by its name in the directory that is open, never by its
   path and never through a link: what is swapped for a link meanwhile does not
   lead outside. */
typedef struct sbxi_tar {
    const sbxi_ignore *ignore;
    const char *keep; /* a file that is never left out; NULL = none */
    sbx_error *err;
    DIR *dirs[SBXI_IMAGE_DEPTH];
    size_t dir_n[SBXI_IMAGE_DEPTH]; /* length of its path */
    unsigned depth, links;
    size_t root_n;
    int fd;
    uint64_t left;    /* bytes of the file */
    size_t zeros;     /* and what follows them */
    size_t head_at, head_n;
    bool ended;
    sbxi_tar_link link[SBXI_IMAGE_LINKS];
    char path[SBXI_IMAGE_PATH + 2]; /* room for a directory's slash */
    char target[SBXI_IMAGE_PATH];
    char head[12 * 1024];
} sbxi_tar;

static void sbxi_tar_close(sbxi_tar *t)
{
    while (t->depth)
        closedir(t->dirs[--t->depth]);
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

/* The directory that is read; what is named in it. */
static int sbxi_tar_at(const sbxi_tar *t)
{
    return t->depth ? dirfd(t->dirs[t->depth - 1]) : AT_FDCWD;
}

static const char *sbxi_tar_name(const sbxi_tar *t)
{
    return t->depth ? t->path + t->dir_n[t->depth - 1] + 1 : t->path;
}

static sbx_code sbxi_tar_enter(sbxi_tar *t, size_t n)
{
    DIR *d;
    int fd;

    if (t->depth == SBXI_IMAGE_DEPTH)
        return sbxi_image_error(t->err, SBX_ERR_TOO_LARGE, "local_path", "more than 64 directories deep:", t->path, 0);
    fd = openat(sbxi_tar_at(t), sbxi_tar_name(t), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        sbx_code code = sbxi_image_local(t->err, "cannot read", t->path);

        if (fd >= 0)
            close(fd);
        return code;
    }
    t->dirs[t->depth] = d;
    t->dir_n[t->depth++] = n;
    return SBX_OK;
}

/* From the start; `root` is its directory, or the file where it is plain, and no link. */
static SBX_UNUSED sbx_code sbxi_tar_begin(sbxi_tar *t, const char *root, bool plain)
{
    struct stat st;

    sbxi_tar_close(t);
    t->links = 0;
    t->left = t->zeros = t->head_at = t->head_n = 0;
    t->ended = plain;
    t->root_n = strlen(root);
    if (t->root_n >= SBXI_IMAGE_PATH)
        return sbxi_image_error(t->err, SBX_ERR_TOO_LARGE, "local_path", "too long a path:", root, ENAMETOOLONG);
    memcpy(t->path, root, t->root_n + 1);
    if (!plain)
        return sbxi_tar_enter(t, t->root_n);
    t->fd = open(root, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (t->fd < 0 || fstat(t->fd, &st))
        return sbxi_image_local(t->err, "cannot open", root);
    if (!S_ISREG(st.st_mode))
        return sbxi_image_error(t->err, SBX_ERR_CHANGED, "local_path", "is no file any more:", root, 0);
    t->left = (uint64_t)st.st_size;
    return SBX_OK;
}

/* v as octal digits and a NUL: what fits; the rest says an extended header. */
static void sbxi_tar_octal(char *p, size_t width, uint64_t v)
{
    p[--width] = 0;
    while (width) {
        p[--width] = (char)('0' + (v & 7));
        v >>= 3;
    }
}

static bool sbxi_tar_fits(uint64_t v)
{
    return v >> 33 == 0;
}

/* "LENGTH key=value\n", the length being that of the whole record. */
static void sbxi_tar_record(sbxi_tar *t, const char *key, const char *value, size_t value_n)
{
    size_t n = strlen(key) + value_n + 4;

    for (size_t ten = 10; n >= ten; ten *= 10)
        n++;
    t->head_n += (size_t)sprintf(t->head + t->head_n, "%zu %s=", n, key);
    memcpy(t->head + t->head_n, value, value_n);
    t->head_n += value_n;
    t->head[t->head_n++] = '\n';
}

/* Where a name is split into prefix and name; 0: it needs no prefix; its
   length: it cannot be. */
static size_t sbxi_tar_split(const char *name, size_t n)
{
    if (n <= 100)
        return 0;
    for (size_t i = n - 101; i <= 155 && i + 1 < n; i++)
        if (name[i] == '/' && i)
            return i;
    return n;
}

static void sbxi_tar_block(sbxi_tar *t, const char *name, size_t n, char type, unsigned mode, uint64_t size, uint64_t mtime, const char *link)
{
    char *h = t->head + t->head_n;
    size_t prefix = sbxi_tar_split(name, n), link_n = link ? strlen(link) : 0;
    unsigned sum = 0;

    if (prefix == n)
        prefix = 0; /* the extended header has it whole */
    memset(h, 0, 512);
    memcpy(h + 345, name, prefix);
    name += prefix + (prefix != 0);
    n -= prefix + (prefix != 0);
    memcpy(h, name, n < 100 ? n : 100);
    sbxi_tar_octal(h + 100, 8, mode & 07777);
    sbxi_tar_octal(h + 108, 8, 0);
    sbxi_tar_octal(h + 116, 8, 0);
    sbxi_tar_octal(h + 124, 12, size);
    sbxi_tar_octal(h + 136, 12, mtime);
    memset(h + 148, ' ', 8);
    h[156] = type;
    if (link_n)
        memcpy(h + 157, link, link_n < 100 ? link_n : 100);
    memcpy(h + 257, "ustar\0" "00", 8);
    for (unsigned i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    sbxi_tar_octal(h + 148, 7, sum);
    t->head_n += 512;
}

/* The header of what lies at `path`, with the extended one that it needs. */
static void sbxi_tar_header(sbxi_tar *t, const char *name, size_t n, char type, const struct stat *st, uint64_t size, const char *link)
{
    size_t link_n = link ? strlen(link) : 0, body = 512;
    uint64_t mtime = st->st_mtime > 0 && sbxi_tar_fits((uint64_t)st->st_mtime) ? (uint64_t)st->st_mtime : 0;
    char digits[24];

    t->head_at = t->head_n = 0;
    if (sbxi_tar_split(name, n) == n || link_n > 100 || !sbxi_tar_fits(size)) {
        t->head_n = body;
        if (sbxi_tar_split(name, n) == n)
            sbxi_tar_record(t, "path", name, n);
        if (link_n > 100)
            sbxi_tar_record(t, "linkpath", link, link_n);
        if (!sbxi_tar_fits(size))
            sbxi_tar_record(t, "size", digits, (size_t)sprintf(digits, "%llu", (unsigned long long)size));
        body = t->head_n;
        t->head_n = 0;
        sbxi_tar_block(t, "pax", 3, 'x', 0644, body - 512, mtime, NULL);
        t->head_n = (body + 511) / 512 * 512;
        memset(t->head + body, 0, t->head_n - body);
    }
    sbxi_tar_block(t, name, n, type, (unsigned)st->st_mode, size, mtime, link);
}

/* The name under which this file is in the tar already; NULL: it comes now. */
static const char *sbxi_tar_known(sbxi_tar *t, const char *name, size_t n, const struct stat *st)
{
    sbxi_tar_link *l = t->link + t->links;

    if (st->st_nlink < 2)
        return NULL;
    for (unsigned i = 0; i < t->links; i++)
        if (t->link[i].dev == st->st_dev && t->link[i].ino == st->st_ino)
            return t->link[i].name;
    if (t->links < SBXI_IMAGE_LINKS && n < sizeof l->name) {
        l->dev = st->st_dev;
        l->ino = st->st_ino;
        memcpy(l->name, name, n + 1);
        t->links++;
    }
    return NULL;
}

static sbx_code sbxi_tar_file(sbxi_tar *t, const char *name, size_t n)
{
    struct stat st;
    const char *known;

    t->fd = openat(sbxi_tar_at(t), sbxi_tar_name(t), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (t->fd < 0 || fstat(t->fd, &st))
        return sbxi_image_local(t->err, "cannot open", t->path);
    known = sbxi_tar_known(t, name, n, &st);
    if (known || !S_ISREG(st.st_mode)) {
        close(t->fd);
        t->fd = -1;
    }
    if (known) {
        sbxi_tar_header(t, name, n, '1', &st, 0, known);
    } else if (S_ISREG(st.st_mode)) {
        t->left = (uint64_t)st.st_size;
        t->zeros = (size_t)((512 - t->left % 512) % 512);
        sbxi_tar_header(t, name, n, '0', &st, t->left, NULL);
    }
    return SBX_OK;
}

static sbx_code sbxi_tar_symlink(sbxi_tar *t, const char *name, size_t n, const struct stat *st)
{
    ssize_t got = readlinkat(sbxi_tar_at(t), sbxi_tar_name(t), t->target, sizeof t->target);

    if (got < 0)
        return sbxi_image_local(t->err, "cannot read", t->path);
    if ((size_t)got == sizeof t->target)
        return sbxi_image_error(t->err, SBX_ERR_TOO_LARGE, "local_path", "too long a link:", t->path, ENAMETOOLONG);
    t->target[got] = 0;
    sbxi_tar_header(t, name, n, '2', st, 0, t->target);
    return SBX_OK;
}

/* A directory that is left out is looked into where something in it may stay. */
static sbx_code sbxi_tar_dir(sbxi_tar *t, char *name, size_t n, const struct stat *st, bool out)
{
    sbx_code code;

    if (out && !sbxi_ignore_may_hold(t->ignore, name, n) && !(t->keep && strncmp(t->keep, name, n) == 0 && t->keep[n] == '/'))
        return SBX_OK;
    code = sbxi_tar_enter(t, t->root_n + 1 + n);
    if (code != SBX_OK || out)
        return code;
    name[n] = '/';
    name[n + 1] = 0;
    sbxi_tar_header(t, name, n + 1, '5', st, 0, NULL);
    return SBX_OK;
}

/* The next thing in the innermost directory: at most one header comes of it. */
static sbx_code sbxi_tar_entry(sbxi_tar *t)
{
    size_t at = t->dir_n[t->depth - 1], n;
    const struct dirent *e;
    char *name = t->path + t->root_n + 1;
    struct stat st;
    bool out;

    errno = 0;
    t->path[at] = 0;
    e = readdir(t->dirs[t->depth - 1]);
    if (!e && errno)
        return sbxi_image_local(t->err, "cannot read", t->path);
    if (!e) {
        closedir(t->dirs[--t->depth]);
        return SBX_OK;
    }
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, ".git") == 0)
        return SBX_OK;
    n = strlen(e->d_name);
    if (at + 1 + n >= SBXI_IMAGE_PATH)
        return sbxi_image_error(t->err, SBX_ERR_TOO_LARGE, "local_path", "too long a path below", t->path, ENAMETOOLONG);
    t->path[at] = '/';
    memcpy(t->path + at + 1, e->d_name, n + 1);
    n += at - t->root_n;
    if (fstatat(sbxi_tar_at(t), sbxi_tar_name(t), &st, AT_SYMLINK_NOFOLLOW)) /* gone since it was listed */
        return errno == ENOENT ? SBX_OK : sbxi_image_local(t->err, "cannot read", t->path);
    out = sbxi_ignore_out(t->ignore, name, n) && strcmp(name, ".dockerignore") != 0 && !(t->keep && strcmp(name, t->keep) == 0);
    if (S_ISDIR(st.st_mode))
        return sbxi_tar_dir(t, name, n, &st, out);
    if (out)
        return SBX_OK;
    if (S_ISLNK(st.st_mode))
        return sbxi_tar_symlink(t, name, n, &st);
    return S_ISREG(st.st_mode) ? sbxi_tar_file(t, name, n) : SBX_OK;
}

/* Bytes of the file that is open. */
static sbx_code sbxi_tar_read(sbxi_tar *t, char *p, size_t cap, size_t *n)
{
    ssize_t got;

    if (cap > t->left)
        cap = (size_t)t->left;
    do
        got = read(t->fd, p, cap);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return sbxi_image_local(t->err, "cannot read", t->path);
    if (!got)
        return sbxi_image_error(t->err, SBX_ERR_CHANGED, "local_path", "became shorter during the upload:", t->path, 0);
    t->left -= (uint64_t)got;
    *n += (size_t)got;
    return SBX_OK;
}

static size_t sbxi_tar_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The next bytes, as many as have room; fewer only at the end. */
static SBX_UNUSED sbx_code sbxi_tar_fill(sbxi_tar *t, char *p, size_t cap, size_t *n)
{
    sbx_code code = SBX_OK;

    for (*n = 0; *n < cap && code == SBX_OK;) {
        size_t some;

        if (t->head_at < t->head_n) {
            some = sbxi_tar_min(cap - *n, t->head_n - t->head_at);
            memcpy(p + *n, t->head + t->head_at, some);
            t->head_at += some;
            *n += some;
        } else if (t->left) {
            code = sbxi_tar_read(t, p + *n, cap - *n, n);
        } else if (t->fd >= 0) {
            close(t->fd);
            t->fd = -1;
        } else if (t->zeros) {
            some = sbxi_tar_min(cap - *n, t->zeros);
            memset(p + *n, 0, some);
            t->zeros -= some;
            *n += some;
        } else if (t->depth) {
            code = sbxi_tar_entry(t);
        } else if (!t->ended) {
            t->ended = true;
            t->zeros = 1024;
        } else {
            break;
        }
    }
    return code;
}

#endif /* SANDBOX_IMPLEMENTATION */
