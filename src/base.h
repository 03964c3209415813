/* ---- base: configuration, linkage of private functions, checked arithmetic ---- */
#ifndef SBXI_BASE_H
#define SBXI_BASE_H

#include "types.h"

/* Configuration macros, all 0 or 1, read by the implementation only. They
   never change a public type. */
#ifndef SBX_NO_MALLOC
#define SBX_NO_MALLOC 0
#endif
#ifndef SBX_NO_ERROR_TEXT
#define SBX_NO_ERROR_TEXT 0
#endif
#ifndef SBX_NO_ALLOC
#define SBX_NO_ALLOC 0
#endif
#ifndef SBX_NO_CONFIG
#define SBX_NO_CONFIG 0
#endif
#ifndef SBX_NO_DATES
#define SBX_NO_DATES 0
#endif
#ifndef SBX_NO_EXECUTE
#define SBX_NO_EXECUTE 0
#endif
#ifndef SBX_NO_LEGACY
#define SBX_NO_LEGACY 0
#endif
#ifndef SBX_NO_OWNED
#define SBX_NO_OWNED 0
#endif
#ifndef SBX_NO_PORTS
#define SBX_NO_PORTS 0
#endif
#ifndef SBX_NO_SSE
#define SBX_NO_SSE 0
#endif
#ifndef SBX_NO_SSH_AGENT
#define SBX_NO_SSH_AGENT 0
#endif
#ifndef SBX_NO_TRACE
#define SBX_NO_TRACE 0
#endif
#ifndef SBX_NO_TUNNEL
#define SBX_NO_TUNNEL 0
#endif
#ifndef SBX_NO_URLS
#define SBX_NO_URLS 0
#endif
#ifndef SBX_FREESTANDING
#define SBX_FREESTANDING 0
#endif
#ifndef SBX_SMALL
#define SBX_SMALL 0
#endif

/* Private functions are static in the single file. The parts can also be
   built one by one (SBXI_SPLIT=1), where they need external linkage. */
#ifndef SBXI_SPLIT
#define SBXI_SPLIT 0
#endif
#if defined(__GNUC__)
#define SBXI_UNUSED __attribute__((unused))
#define SBXI_NOINLINE __attribute__((noinline))
#define SBXI_LIKELY(x) __builtin_expect(!!(x), 1)
#define SBXI_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define SBXI_UNUSED
#define SBXI_NOINLINE
#define SBXI_LIKELY(x) (x)
#define SBXI_UNLIKELY(x) (x)
#endif
/* A function that a compiler would repeat in its callers, also where that makes
   them larger. */
#if SBX_SMALL
#define SBXI_ONCE SBXI_NOINLINE
#else
#define SBXI_ONCE
#endif
#if SBXI_SPLIT
#define SBXI_FN SBX_EXTERN_C
#else
#define SBXI_FN static SBXI_UNUSED
#endif
#define SBXI_INLINE static inline SBXI_UNUSED

/* A text for people; also the name of an option that is refused. */
#if SBX_NO_ERROR_TEXT
#define SBXI_T(text) ""
#else
#define SBXI_T(text) text
#endif

/* A text of a table, which no other has: where the language allows, in a
   section of its own, so that it is linked with its table only. */
#ifdef __cplusplus
#define SBXI_APART(text) text
#else
#define SBXI_APART(text) ((const char[]){ text })
#endif

#define SBXI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SBXI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define SBXI_COUNT(a) (sizeof(a) / sizeof(0 [a]))

/* a + b, or SIZE_MAX when it does not fit; likewise a * b. A size that was
   capped once stays capped, so one comparison at the end is enough. */
SBXI_INLINE size_t sbxi_add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

SBXI_INLINE size_t sbxi_mul(size_t a, size_t b)
{
    return b && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* n rounded up to 16 bytes, SIZE_MAX when it does not fit. */
SBXI_INLINE size_t sbxi_align(size_t n)
{
    return n > SIZE_MAX - 15 ? SIZE_MAX : (n + 15) & ~(size_t)15;
}

/* The text number i of texts that stand one behind the other. */
SBXI_INLINE const char *sbxi_text_at(const char *texts, unsigned i)
{
    while (i--)
        texts += strlen(texts) + 1;
    return texts;
}

SBXI_INLINE bool sbxi_eq(sbx_str a, sbx_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

SBXI_INLINE char sbxi_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

/* ASCII case-insensitive comparison. */
SBXI_INLINE bool sbxi_eq_nocase(sbx_str a, sbx_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (sbxi_lower(a.p[i]) != sbxi_lower(b.p[i]))
            return false;
    return true;
}

#endif
