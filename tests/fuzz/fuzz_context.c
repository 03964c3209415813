/* .dockerignore: any file, and whether it leaves out any path, against the same
   rules written down by backtracking. Input: the path, NUL, the file. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_context.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH_MOST = 24, STARS_MOST = 5, TEXT_MOST = 2000 };

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* Whether the pattern takes the whole text. */
static bool whole(const char *p, const char *s)
{
    const char *at, *set;
    unsigned long c;
    bool in;

    if (!*p)
        return !*s;
    if (p[0] == '*' && p[1] == '*') {
        p += 2 + (p[2] == '/');
        if (!*p || whole(p, s))
            return true;
        for (; *s; s++)
            if (*s == '/' && whole(p, s + 1))
                return true;
        return false;
    }
    if (*p == '*') {
        for (;; s++) {
            if (whole(p + 1, s))
                return true;
            if (!*s || *s == '/')
                return false;
        }
    }
    if (!*s)
        return false;
    at = s;
    c = sbxi_glob_char(&at);
    if (*p == '?')
        return c != '/' && whole(p + 1, at);
    if (*p == '[') {
        set = p + 1;
        must(sbxi_glob_set(&set, c, &in));
        return in && whole(set, at);
    }
    p += *p == '\\';
    return *p == *s && whole(p + 1, s + 1);
}

/* Or a directory that it lies in. */
static bool fits(const char *pattern, const char *path, size_t n)
{
    bool any_start = strncmp(pattern, "**", 2) == 0 && pattern[2] && pattern[2] != '/' && !strpbrk(pattern + 2, "*?[\\");
    char part[PATH_MOST + 1];

    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (whole(pattern, part))
            return true;
        for (size_t k = 0; any_start && k <= i; k++)
            if (strcmp(part + k, pattern + 2) == 0)
                return true;
    }
    return false;
}

static bool few_stars(const sbxi_ignore *ig)
{
    for (size_t at = 0; at < ig->n; at += strlen(ig->text + at) + 1) {
        unsigned stars = 0;

        for (const char *p = ig->text + at; *p; p++)
            stars += *p == '*';
        if (stars > STARS_MOST)
            return false;
    }
    return true;
}

static void compare(const sbxi_ignore *ig, const char *path, size_t n)
{
    bool out = false, may = false;

    for (size_t at = 0; at < ig->n; at += strlen(ig->text + at) + 1) {
        bool back = ig->text[at] == '!';

        if (fits(ig->text + at + back, path, n))
            out = !back;
    }
    must(out == sbxi_ignore_out(ig, path, n));
    /* What is taken back out of a directory is looked for there. */
    for (size_t i = 1; i < n && !out; i++)
        if (path[i] == '/') {
            may = sbxi_ignore_may_hold(ig, path, i);
            must(may || !sbxi_ignore_out(ig, path, i));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? (const uint8_t *)memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)(nul - data) : 0, text_n = nul ? size - n - 1 : 0;
    char path[PATH_MOST + 1];
    sbxi_ignore *ig;

    if (!n || n > PATH_MOST || text_n > TEXT_MOST || data[0] == '/')
        return 0;
    memcpy(path, data, n);
    path[n] = 0;
    ig = (sbxi_ignore *)malloc(sizeof *ig);
    must(ig != NULL);
    memcpy(ig->text, nul + 1, text_n);
    if (!sbxi_ignore_parse(ig, text_n)) {
        must(ig->n <= text_n + 1);
        if (few_stars(ig))
            compare(ig, path, n);
        sbxi_ignore_out(ig, path, n);
    }
    free(ig);
    return 0;
}
