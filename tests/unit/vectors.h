/* Shared by the codec tests: wire bytes in, a log of events as text out. A
   vector is run whole, byte by byte and at every split, each input in memory
   that ends (and, whole, also begins) at a guard page. */
#ifndef VECTORS_H
#define VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* A literal that may hold NULs, as pointer and length. */
#define VEC(s) (s), (sizeof(s) - 1)

/* A code point in UTF-8, written here anew. */
static inline size_t vec_utf8(char *out, uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 63));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 63));
        out[2] = (char)(0x80 | (cp & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 63));
    out[2] = (char)(0x80 | (cp >> 6 & 63));
    out[3] = (char)(0x80 | (cp & 63));
    return 4;
}

/* ---- log ---- */

typedef struct vec_log {
    char *p; /* terminated */
    size_t n, cap;
} vec_log;

static inline void vec_log_put(vec_log *log, const void *p, size_t n)
{
    if (log->cap - log->n < n + 1) {
        log->cap = 2 * (log->n + n) + 64;
        log->p = (char *)realloc(log->p, log->cap);
        assert_non_null(log->p);
    }
    if (n)
        memcpy(log->p + log->n, p, n);
    log->n += n;
    log->p[log->n] = 0;
}

static inline void vec_log_free(vec_log *log)
{
    free(log->p);
    memset(log, 0, sizeof *log);
}

__attribute__((format(printf, 2, 3))) static inline void vec_logf(vec_log *log, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof text);
    vec_log_put(log, text, (size_t)n);
}

/* Bytes as text: printable ASCII as it is, the rest and backslashes as \xNN. */
static inline void vec_log_bytes(vec_log *log, const void *p, size_t n)
{
    const unsigned char *s = (const unsigned char *)p;
    for (size_t i = 0; i < n; i++) {
        if (s[i] >= 0x20 && s[i] < 0x7F && s[i] != '\\')
            vec_log_put(log, s + i, 1);
        else
            vec_logf(log, "\\x%02X", s[i]);
    }
}

/* ---- guarded memory ---- */

typedef struct vec_guard {
    char *map;
    size_t room, page;
} vec_guard;

/* Room for n bytes between two pages that trap. */
static inline vec_guard vec_guard_new(size_t n)
{
    vec_guard g;
    g.page = (size_t)sysconf(_SC_PAGESIZE);
    g.room = (n + g.page) / g.page * g.page;
    g.map = (char *)mmap(NULL, g.room + 2 * g.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g.map, MAP_FAILED);
    assert_int_equal(mprotect(g.map, g.page, PROT_NONE), 0);
    assert_int_equal(mprotect(g.map + g.page + g.room, g.page, PROT_NONE), 0);
    return g;
}

static inline void vec_guard_free(vec_guard *g)
{
    munmap(g->map, g->room + 2 * g->page);
}

/* A copy of the bytes, the last one right before the trap (p NULL: only
   the room). */
static inline char *vec_guard_at_end(vec_guard *g, const void *p, size_t n)
{
    char *to = g->map + g->page + g->room - n;
    if (p && n)
        memcpy(to, p, n);
    return to;
}

/* A copy of the bytes, the first one right behind the trap. */
static inline char *vec_guard_at_begin(vec_guard *g, const void *p, size_t n)
{
    if (n)
        memcpy(g->map + g->page, p, n);
    return g->map + g->page;
}

/* ---- runs ---- */

typedef struct vec_codec {
    void (*start)(void *ctx);
    void (*feed)(void *ctx, vec_log *log, char *p, char *end); /* consumes all, or has met an error or an end */
    void (*finish)(void *ctx, vec_log *log);                   /* no more input; may be NULL */
} vec_codec;

enum { VEC_AT_BEGIN = 1 };

/* Runs the input cut at the given positions (ascending). */
static inline void vec_run(const vec_codec *codec, void *ctx, vec_log *log, vec_guard *g, const char *in, size_t n,
                           const size_t *cuts, size_t cut_n, unsigned flags)
{
    size_t from = 0;
    codec->start(ctx);
    for (size_t i = 0; i <= cut_n; i++) {
        size_t to = i < cut_n ? cuts[i] : n;
        char *p = flags & VEC_AT_BEGIN ? vec_guard_at_begin(g, in + from, to - from) : vec_guard_at_end(g, in + from, to - from);
        codec->feed(ctx, log, p, p + (to - from));
        from = to;
    }
    if (codec->finish)
        codec->finish(ctx, log);
}

static inline void vec_equal(const vec_log *log, const char *expect, const char *in, size_t n, const char *how, size_t at)
{
    if (strcmp(log->p ? log->p : "", expect) != 0) {
        vec_log text = { NULL, 0, 0 };
        vec_log_bytes(&text, in, n > 300 ? 300 : n);
        print_message("input    %s\n%s at %zu\nlog      %s\nexpected %s\n", text.p ? text.p : "", how, at, log->p ? log->p : "", expect);
        vec_log_free(&text);
        fail();
    }
}

/* The log must be `expect` whatever the cuts are. */
static inline void vec_check(const vec_codec *codec, void *ctx, const char *in, size_t n, const char *expect)
{
    vec_guard g = vec_guard_new(n);
    vec_log log = { NULL, 0, 0 };
    size_t *each = (size_t *)malloc((n + 1) * sizeof *each);
    assert_non_null(each);
    vec_run(codec, ctx, &log, &g, in, n, NULL, 0, 0);
    vec_equal(&log, expect, in, n, "whole, end", 0);
    vec_log_free(&log);
    vec_run(codec, ctx, &log, &g, in, n, NULL, 0, VEC_AT_BEGIN);
    vec_equal(&log, expect, in, n, "whole, begin", 0);
    vec_log_free(&log);
    for (size_t i = 0; i < n; i++)
        each[i] = i + 1;
    vec_run(codec, ctx, &log, &g, in, n, each, n, 0);
    vec_equal(&log, expect, in, n, "by bytes", 0);
    vec_log_free(&log);
    for (size_t i = 0; i <= n; i++) {
        vec_run(codec, ctx, &log, &g, in, n, &i, 1, 0);
        vec_equal(&log, expect, in, n, "split", i);
        vec_log_free(&log);
    }
    for (size_t step = 2; step <= 37 && step < n; step += step < 9 ? 1 : 7) {
        size_t k = 0;
        for (size_t at = step; at < n; at += step)
            each[k++] = at;
        vec_run(codec, ctx, &log, &g, in, n, each, k, 0);
        vec_equal(&log, expect, in, n, "steps", step);
        vec_log_free(&log);
    }
    free(each);
    vec_guard_free(&g);
}

#endif
