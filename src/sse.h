/* ---- sse: public API of the reader of event streams (WHATWG HTML, "server-sent events", 9.2.5 and 9.2.6) ---- */
#ifndef SBX_SSE_H
#define SBX_SSE_H
#include "types.h"
SBX_EXTERN_C_BEGIN

/* A pure codec: bytes in, events out; no I/O, no allocation, no clock. Every
   input is an event stream, so there are no errors: lines that mean nothing
   are skipped.

       sbx_sse_kind k;
       while ((k = sbx_sse_read(&s, &p, end, &ev)) != SBX_SSE_MORE)
           if (k == SBX_SSE_DATA)
               ...         (ev.p[0 .. ev.n) is a piece of the event's data)
           else if (k == SBX_SSE_END && ev.dispatch)
               ...         (the event is complete)

   What the stream's end leaves without its empty line is no event: forget it.
   Bytes are handed on as they come. The standard takes them as UTF-8 with
   U+FFFD for what is none: where that matters, the caller checks.
   Not there under SBX_NO_SSE. */

typedef enum sbx_sse_kind {
    SBX_SSE_MORE,  /* the input is consumed; call again with the next bytes; *ev says nothing */
    SBX_SSE_TYPE,  /* a piece of an `event` line: the event's type. The last such line counts; none, or an empty one: "message" */
    SBX_SSE_DATA,  /* a piece of the event's data; its lines come joined by LF */
    SBX_SSE_ID,    /* a piece of an `id` line. It counts from END on, whether or not that is dispatched */
    SBX_SSE_RETRY, /* a `retry` line of digits: retry_ms, which counts at once */
    SBX_SSE_END    /* the empty line behind any of the first three: `dispatch` */
} sbx_sse_kind;

typedef struct sbx_sse_event {
    char *p;           /* piece of a value, inside the input or (an LF between two lines of data) inside sbx_sse; never overlaps the next one */
    size_t n;          /* its length; 0 is possible with `first` or `last` */
    uint32_t retry_ms; /* RETRY; what is larger is UINT32_MAX */
    bool first;        /* first piece of the line; DATA: of the event's data */
    bool last;         /* last piece of the line; never of DATA, which END ends */
    bool bad;          /* ID, with `last`: the line has a NUL and does not count */
    bool dispatch;     /* END: the event is one. False: it had no data; forget its type */
} sbx_sse_event;

/* Private fields; copy freely, nothing to free. All zero is the beginning of a
   stream. */
typedef struct sbx_sse {
    uint8_t state;
    uint8_t field;
    uint8_t flags;
    char lf; /* what DATA points to between two lines */
    uint32_t retry;
} sbx_sse;

SBX_API void sbx_sse_init(sbx_sse *s);

/* Reads *p .. end, moves *p on, and returns one event, or MORE when all is
   consumed. Lines of any length come in pieces as they arrive, valid as long
   as the input (an LF: until the next call). Where the pieces end depends on
   the input's borders, all else does not. Lines end with CR, LF or CRLF. One
   blank behind the colon and one U+FEFF before the first line are dropped;
   comments, other fields, and a `retry` line that is no number are skipped.
   An END comes for each event that was announced by a piece, and for no other
   empty line. */
SBX_API sbx_sse_kind sbx_sse_read(sbx_sse *s, char **p, char *end, sbx_sse_event *ev);

/* Right behind a DATA piece inside the input of which not all was wanted: *p may
   be set back into it. The rest comes again, without `first`. */
SBX_API void sbx_sse_back(sbx_sse *s);

SBX_EXTERN_C_END
#endif
