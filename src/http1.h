/* ---- http1: public API of the HTTP/1.1 request writer and response parser ----
   The client's side of RFC 9112: bytes in, events out. No I/O, no allocation,
   no content codings.

   One sbx_http1 reads one exchange's answer:

       HEADER*  HEAD  BODY*  HEADER* (trailer)  DONE     a final answer
       HEADER*  UPGRADE                                  101

   Other 1xx answers are checked and skipped. `status` is known from the first
   HEADER on; `length`, `chunked` and `keep_alive` from HEAD on.

   Two parsers that disagree about one message are how answers get smuggled, so
   nothing is guessed. Refused are:
   - line ends other than CRLF, in heads, chunks and trailers (2.2: neither bare LF
     nor bare CR), and an empty line before the status line;
   - obs-fold and blanks before the first field (2.2, 5.2), blanks before a
     colon (5.1), names that are no token, control characters other than HTAB in
     values and reasons (bytes from 0x80 pass);
   - versions other than HTTP/1.0 and HTTP/1.1, status codes other than three
     digits from 100 up (the reason may be empty, with or without its blank);
   - Content-Length that is not one decimal number (below 10 * 2^60), or is
     repeated with another value: the same one again passes, a list does not;
   - Content-Length beside Transfer-Encoding;
   - Transfer-Encoding that is anything but one `chunked`, or in HTTP/1.0 (6.1);
   - chunk sizes above 64 bits, blanks behind one that no `;` follows, quotes in
     chunk extensions that do not close. Extensions are skipped.
   Answers without a body (6.3 rule 1: to HEAD, 1xx, 204, 304) may declare
   whatever framing they like, but Content-Length of a final one must still be
   a number. Fields of a trailer have no effect on framing. */
#ifndef SBX_HTTP1_H
#define SBX_HTTP1_H
#include "types.h"
SBX_EXTERN_C_BEGIN

typedef enum sbx_http1_kind {
    SBX_HTTP1_MORE,    /* needs bytes behind `*p` (which must be kept and given again, with more behind) */
    SBX_HTTP1_HEADER,  /* name, value; `more`: the line is longer than the caller's buffer and goes on */
    SBX_HTTP1_HEAD,    /* end of a final head: status and framing are known */
    SBX_HTTP1_BODY,    /* a piece of the body, never empty, a slice of the input */
    SBX_HTTP1_DONE,    /* the message is complete; *p stands behind it; repeated if called again */
    SBX_HTTP1_UPGRADE, /* 101: *p stands at the first byte of the new protocol; repeated if called again */
    SBX_HTTP1_ERROR    /* sticky; see sbx_http1.error */
} sbx_http1_kind;

typedef enum sbx_http1_error {
    SBX_HTTP1_OK,
    SBX_HTTP1_BAD_STATUS_LINE,
    SBX_HTTP1_BAD_HEADER, /* name, colon, value or line end */
    SBX_HTTP1_OBS_FOLD,   /* a line of head or trailer begins with a blank */
    SBX_HTTP1_BAD_LENGTH, /* Content-Length: no number, two numbers, or beside Transfer-Encoding */
    SBX_HTTP1_BAD_CHUNK,  /* size, extension, or no CRLF behind the data */
    SBX_HTTP1_TOO_LARGE,  /* a cap below, a chunk line above 256 bytes, or `full` (below) */
    SBX_HTTP1_TRUNCATED,  /* sbx_http1_eof before the end */
    SBX_HTTP1_BAD_CODING  /* Transfer-Encoding that is not `chunked` once */
} sbx_http1_error;

/* Slices of the input. Means something after HEADER and BODY only. */
typedef struct sbx_http1_event {
    sbx_str name;  /* HEADER: as sent; compare without case. Empty in the second and later pieces of one line */
    sbx_str value; /* HEADER: trimmed, the last of several pieces may be empty; BODY: the bytes */
    bool more;
    bool trailer;  /* HEADER of a trailer section */
} sbx_http1_event;

#define SBX_HTTP1_UNKNOWN UINT64_MAX

typedef struct sbx_http1 {
    uint64_t length;    /* HEAD: Content-Length, or SBX_HTTP1_UNKNOWN */
    uint64_t left;      /* body or chunk bytes to come */
    uint32_t head_left; /* bytes of head still allowed */
    uint32_t scanned;   /* bytes of the unfinished line already looked at */
    uint16_t status;
    uint16_t headers_left;
    uint8_t state, error, flags;
    uint8_t interim_left; /* 1xx answers still allowed */
    bool keep_alive; /* after DONE: the connection may carry another request */
    bool chunked;
} sbx_http1;

/* Each cap covers the whole exchange: skipped 1xx heads, the final head and
   the trailer together. */
typedef struct sbx_http1_caps {
    uint32_t head_bytes; /* 0 = 65,536; every byte of their lines */
    uint16_t headers;    /* 0 = 128 */
    uint8_t interim;     /* 0 = 8 */
} sbx_http1_caps;

/* head: the answer belongs to a HEAD request (no body whatever it says), or to
   a CONNECT (whose 2xx has none; DONE stands at the tunnel's first byte).
   caps: NULL for the defaults. */
SBX_API void sbx_http1_init(sbx_http1 *h, bool head, const sbx_http1_caps *caps);
/* Parses *p..end up to the next event and moves *p behind what it consumed.
   A line that is not yet whole is not consumed: MORE leaves *p at its start,
   and the next call must begin with those bytes, at any address. How far it
   was scanned is remembered, so delivery byte by byte costs no more.
   full: *p..end is all that the caller can hold (pass it where nothing before
   *p can be given up either). Then a value comes in pieces, of which the first
   has the name; blanks at a piece's end and a CR are left for the next call;
   the reason of a status line is dropped in pieces; and TOO_LARGE is what
   cannot be cut: a name, a value of blanks only, Connection, Content-Length,
   Transfer-Encoding, a chunk's line. MORE has always consumed something then. */
SBX_API sbx_http1_kind sbx_http1_read(sbx_http1 *h, const char **p, const char *end, bool full, sbx_http1_event *ev);
/* The peer closed, and read has answered MORE to all that came: DONE where the
   close ends the body (RFC 9112 6.3 rule 8) or the message was complete, UPGRADE
   after UPGRADE, else ERROR/TRUNCATED. */
SBX_API sbx_http1_kind sbx_http1_eof(sbx_http1 *h);

/* Request head writer. Begin with _request (request line and Host), add
   fields, finish with _end; the head is p[0..n) if error is still 0.
   Errors are sticky. FULL: nothing was written past cap, and n goes on counting
   what is needed (cap 0, buf NULL measures). The others, which also replace
   FULL, make n 0: a name/value/target with CR, LF, NUL, a control or non-token
   character. Fields are not compared: adding Host twice is the caller's. */
typedef struct sbx_http1w {
    char *p;
    size_t n, cap;
    uint8_t error;
} sbx_http1w;
enum {
    SBX_HTTP1W_FULL = 1,
    SBX_HTTP1W_BAD_NAME,  /* method or field name is no token */
    SBX_HTTP1W_BAD_VALUE, /* field value, or a host that is empty or no host[:port] */
    SBX_HTTP1W_BAD_TARGET /* does not begin with '/', or has a blank, control, '#' or byte from 0x80 */
};
/* target: origin-form, already percent-encoded. host: as in the URL, `name`,
   `name:port`, `[v6]:port`. */
SBX_API void sbx_http1w_request(sbx_http1w *w, char *buf, size_t cap, sbx_str method, sbx_str target, sbx_str host);
SBX_API void sbx_http1w_header(sbx_http1w *w, sbx_str name, sbx_str value);
SBX_API void sbx_http1w_header_u64(sbx_http1w *w, sbx_str name, uint64_t value);
SBX_API void sbx_http1w_end(sbx_http1w *w);
/* Whether name is a token / value is a legal field value (RFC 9110 5.5, 5.6.2).
   Blanks around a value pass: the peer drops them. */
SBX_API bool sbx_http1_name_ok(sbx_str name);
SBX_API bool sbx_http1_value_ok(sbx_str value);
/* Chunk framing: "SIZE\r\n" into buf (at most 18 bytes), its length returned.
   Data, then "\r\n"; the last is "0\r\n\r\n". */
SBX_API size_t sbx_http1_chunk(char buf[18], uint64_t size);

SBX_EXTERN_C_END
#endif
