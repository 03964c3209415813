/* Small helpers: memory that never fails silently, byte buffers, text, time. */
#ifndef SANDBOXD_UTIL_H
#define SANDBOXD_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Allocation failure ends the process: a server that cannot allocate a few
 * bytes cannot answer with an error either. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct buf {
	char *p;
	size_t n, cap;
};
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addz(struct buf *b, const char *s); /* with its final NUL */
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_free(struct buf *b);

extern bool log_verbose;
void logf_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void logf_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Monotonic and wall clock, milliseconds. */
int64_t now_ms(void);
int64_t wall_ms(void);
/* RFC 3339 in UTC with microseconds. */
void format_rfc3339(int64_t wall, char out[40]);
/* IMF-fixdate, as Last-Modified carries it. */
void format_http_date(int64_t seconds, char out[40]);

void make_uuid(char out[37]);
void random_bytes(void *p, size_t n);

/* Decodes %XX; false for a malformed escape or an embedded NUL. plus: '+' is a space. */
bool percent_decode(const char *in, size_t n, bool plus, struct buf *out);
bool set_nonblock(int fd);
/* Closes *fd unless it is -1, and marks it closed. */
void close_fd(int *fd);
bool write_all(int fd, const void *p, size_t n);

#endif
