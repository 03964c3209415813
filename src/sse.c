/* ---- sse: reader of event streams ---- */
#include "sse.h"
#include "base.h"

#if !SBX_NO_SSE
/* Where the next byte stands. NAME + n: behind n characters of a field's name. */
enum {
    SBXI_SSE_BOM, /* and the two states after it: the first line, perhaps with a byte order mark */
    SBXI_SSE_LINE = SBXI_SSE_BOM + 3,
    SBXI_SSE_LF,   /* behind a CR: an LF belongs to it */
    SBXI_SSE_SKIP, /* in a line of no interest */
    SBXI_SSE_COLON, /* behind a name's colon */
    SBXI_SSE_VALUE,
    SBXI_SSE_NAME
};

enum { SBXI_SSE_HAS_DATA = 1, SBXI_SSE_SEEN = 2, SBXI_SSE_BEGINS = 4, SBXI_SSE_BAD = 8 };

static bool sbxi_sse_ends(char c)
{
    return c == '\n' || c == '\r';
}

/* The line's end from p on, or `end`. Two searches, in steps: of many short lines
   none is searched far for the other end. */
static char *sbxi_sse_scan(char *p, char *end)
{
    while (p != end) {
        size_t n = SBXI_MIN((size_t)(end - p), 1024);
        char *lf = (char *)memchr(p, '\n', n), *cr;

        n = lf ? (size_t)(lf - p) : n;
        cr = (char *)memchr(p, '\r', n);
        if (cr || lf)
            return cr ? cr : lf;
        p += n;
    }
    return p;
}

static void sbxi_sse_line_end(sbx_sse *s, char **p)
{
    s->state = **p == '\r' ? SBXI_SSE_LF : SBXI_SSE_LINE;
    ++*p;
}

/* Behind a field's name. True: the data goes on with a line of its own. */
static bool sbxi_sse_field(sbx_sse *s)
{
    uint8_t before = s->flags;

    s->state = SBXI_SSE_COLON;
    s->retry = 0;
    s->flags &= (uint8_t)~(SBXI_SSE_BEGINS | SBXI_SSE_BAD);
    if (s->field != SBX_SSE_RETRY)
        s->flags |= SBXI_SSE_SEEN;
    if (s->field == SBX_SSE_DATA)
        s->flags |= SBXI_SSE_HAS_DATA;
    if (s->field != SBX_SSE_DATA || !(before & SBXI_SSE_HAS_DATA))
        s->flags |= SBXI_SSE_BEGINS;
    return !(s->flags & SBXI_SSE_BEGINS);
}

/* In a field's name. True: as sbxi_sse_field. */
static bool sbxi_sse_name(sbx_sse *s, char **p, const char *end)
{
    static const char names[][6] = { "event", "data", "id", "retry" };
    const char *from = names[s->field - SBX_SSE_TYPE] + (s->state - SBXI_SSE_NAME), *name = from;
    char *r = *p;

    while (*name && r != end && *r == *name) {
        name++;
        r++;
    }
    *p = r;
    if (r == end) {
        s->state = (uint8_t)(s->state + (name - from));
        return false;
    }
    if (*name || (*r != ':' && !sbxi_sse_ends(*r))) {
        s->state = SBXI_SSE_SKIP;
        return false;
    }
    *p += *r == ':';
    return sbxi_sse_field(s);
}

/* `retry`: the digits up to the line's end. False: there is more to come, or it
   is no number. */
static bool sbxi_sse_retry(sbx_sse *s, char **p, char *to, bool last)
{
    for (; *p != to; ++*p) {
        unsigned digit = (unsigned char)**p - (unsigned)'0';

        if (digit > 9)
            s->flags |= SBXI_SSE_BAD;
        else
            s->retry = s->retry > (UINT32_MAX - digit) / 10 ? UINT32_MAX : s->retry * 10 + digit;
        s->flags &= (uint8_t)~SBXI_SSE_BEGINS;
    }
    return last && !(s->flags & (SBXI_SSE_BEGINS | SBXI_SSE_BAD));
}

/* What the input has of a value; MORE: nothing to be told. */
static sbx_sse_kind sbxi_sse_value(sbx_sse *s, char **p, char *end, sbx_sse_event *ev)
{
    char *from = *p, *to = sbxi_sse_scan(from, end);
    bool last = to != end;
    sbx_sse_kind kind = (sbx_sse_kind)s->field;

    if (kind == SBX_SSE_RETRY) {
        if (!sbxi_sse_retry(s, p, to, last))
            kind = SBX_SSE_MORE;
    } else {
        ev->p = from;
        ev->n = (size_t)(to - from);
        ev->first = s->flags & SBXI_SSE_BEGINS;
        ev->last = last && kind != SBX_SSE_DATA;
        s->flags &= (uint8_t)~SBXI_SSE_BEGINS;
        if (kind == SBX_SSE_ID && ev->n && memchr(from, 0, ev->n))
            s->flags |= SBXI_SSE_BAD;
        ev->bad = ev->last && s->flags & SBXI_SSE_BAD;
        if (!ev->n && !ev->first && !ev->last)
            kind = SBX_SSE_MORE;
    }
    ev->retry_ms = s->retry;
    *p = to;
    if (last)
        sbxi_sse_line_end(s, p);
    return kind;
}

/* The first byte of a line. True: it ends an event. */
static bool sbxi_sse_begin(sbx_sse *s, char **p)
{
    s->state = SBXI_SSE_NAME;
    switch (**p) {
    case 'e': s->field = SBX_SSE_TYPE; return false;
    case 'd': s->field = SBX_SSE_DATA; return false;
    case 'i': s->field = SBX_SSE_ID; return false;
    case 'r': s->field = SBX_SSE_RETRY; return false;
    case '\r':
    case '\n': sbxi_sse_line_end(s, p); return s->flags & SBXI_SSE_SEEN;
    default: s->state = SBXI_SSE_SKIP; return false;
    }
}

SBX_API void sbx_sse_init(sbx_sse *s)
{
    memset(s, 0, sizeof *s);
}

SBX_API void sbx_sse_back(sbx_sse *s)
{
    s->state = SBXI_SSE_VALUE;
}

SBX_API sbx_sse_kind sbx_sse_read(sbx_sse *s, char **p, char *end, sbx_sse_event *ev)
{
    memset(ev, 0, sizeof *ev);
    while (*p != end) {
        sbx_sse_kind kind;

        switch (s->state) {
        case SBXI_SSE_SKIP:
            *p = sbxi_sse_scan(*p, end);
            if (*p != end)
                sbxi_sse_line_end(s, p);
            break;
        case SBXI_SSE_LF:
            s->state = SBXI_SSE_LINE;
            *p += **p == '\n';
            break;
        case SBXI_SSE_COLON:
            s->state = SBXI_SSE_VALUE;
            *p += **p == ' ';
            break;
        case SBXI_SSE_VALUE:
            kind = sbxi_sse_value(s, p, end, ev);
            if (kind != SBX_SSE_MORE)
                return kind;
            break;
        case SBXI_SSE_BOM:
        case SBXI_SSE_BOM + 1:
        case SBXI_SSE_BOM + 2:
            /* What begins like a mark and is none is no known field either. */
            if (**p == "\xEF\xBB\xBF"[s->state]) {
                s->state++;
                ++*p;
                break;
            }
            s->state = s->state == SBXI_SSE_BOM ? SBXI_SSE_LINE : SBXI_SSE_SKIP;
            break;
        case SBXI_SSE_LINE:
            if (sbxi_sse_begin(s, p)) {
                ev->dispatch = s->flags & SBXI_SSE_HAS_DATA;
                s->flags = 0;
                return SBX_SSE_END;
            }
            break;
        default:
            if (sbxi_sse_name(s, p, end)) {
                s->lf = '\n';
                ev->p = &s->lf;
                ev->n = 1;
                return SBX_SSE_DATA;
            }
        }
    }
    return SBX_SSE_MORE;
}
#endif
