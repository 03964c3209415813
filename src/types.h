/* ---- types: what every part shares ---- */
#ifndef SBX_TYPES_H
#define SBX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#define SBX_EXTERN_C extern "C"
#define SBX_EXTERN_C_BEGIN extern "C" {
#define SBX_EXTERN_C_END }
#else
#define SBX_EXTERN_C
#define SBX_EXTERN_C_BEGIN
#define SBX_EXTERN_C_END
#endif

/* Linkage of the public functions. Define it as `static` before the include
   to keep the whole library private to one file (what that file does not call
   is then unused: -Wno-unused-function). */
#ifndef SBX_API
#define SBX_API extern
#endif

/* For functions in a header that a program may leave unused. */
#if defined(__GNUC__)
#define SBX_UNUSED __attribute__((unused))
#else
#define SBX_UNUSED
#endif

SBX_EXTERN_C_BEGIN

/* Borrowed bytes: not NUL-terminated, never owned. `{NULL, 0}` is "not
   given" where an option is optional; p must not be NULL where n is not 0. How
   long they must live stands with each call. */
typedef struct sbx_str {
    const char *p;
    size_t n;
} sbx_str;

/* A buffer of the caller's, borrowed until the operation's END. Nothing is
   terminated in it: the result says how many bytes were stored. */
typedef struct sbx_buf {
    void *p;
    size_t n; /* bytes of room */
} sbx_buf;

/* A C string as sbx_str, which points to it; NULL gives `{NULL, 0}`. */
static inline SBX_UNUSED sbx_str sbx_s(const char *z)
{
    sbx_str s;
    s.p = z;
    s.n = z ? strlen(z) : 0;
    return s;
}

/* n bytes as sbx_str. */
static inline SBX_UNUSED sbx_str sbx_sn(const char *p, size_t n)
{
    sbx_str s;
    s.p = p;
    s.n = n;
    return s;
}

SBX_EXTERN_C_END
#endif
