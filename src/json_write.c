#include "json.h"
#include "base.h"
#include "text.h"

#if SBX_SMALL

/* What a control character, quote or backslash becomes; its length (1: itself). */
static size_t sbxi_json_escaped(char out[8], unsigned c)
{
    static const char sbxi_json_named[] = "\"\\\b\f\n\r\t", sbxi_json_escape_names[] = "\"\\bfnrt";
    const char *name = (const char *)memchr(sbxi_json_named, (int)c, sizeof sbxi_json_named - 1);
    out[0] = (char)c;
    if (c >= 0x20 && !name)
        return 1;
    memcpy(out, "\\u00", 4);
    out[4] = (char)('0' + (c >> 4));
    out[5] = "0123456789abcdef"[c & 15];
    if (!name)
        return 6;
    out[1] = sbxi_json_escape_names[name - sbxi_json_named];
    return 2;
}

#else

/* What each ASCII character becomes, and the length of that. */
static const char sbxi_json_escape_text[128][8] = {
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007", "\\b", "\\t", "\\n", "\\u000b", "\\f", "\\r", "\\u000e",
    "\\u000f", "\\u0010", "\\u0011", "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017", "\\u0018", "\\u0019", "\\u001a", "\\u001b",
    "\\u001c", "\\u001d", "\\u001e", "\\u001f", " ", "!", "\\\"", "#", "$", "%", "&", "'", "(", ")", "*", "+", ",", "-", ".", "/", "0", "1", "2", "3",
    "4", "5", "6", "7", "8", "9", ":", ";", "<", "=", ">", "?", "@", "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P",
    "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z", "[", "\\\\", "]", "^", "_", "`", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l",
    "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z", "{", "|", "}", "~", "\x7F"
};

static const size_t sbxi_json_escape_n[128] = {
    6, 6, 6, 6, 6, 6, 6, 6, 2, 2, 2, 6, 2, 2, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
    1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
};

static inline size_t sbxi_json_escaped(char out[8], unsigned c)
{
    memcpy(out, sbxi_json_escape_text[c], 8);
    return sbxi_json_escape_n[c];
}

/* Four characters of ASCII, without a branch for any of them. */
static inline char *sbxi_json_escape_four(char *d, const unsigned char *s)
{
    size_t c0 = s[0], c1 = s[1], c2 = s[2], c3 = s[3];
    memcpy(d, sbxi_json_escape_text[c0], 8);
    d += sbxi_json_escape_n[c0];
    memcpy(d, sbxi_json_escape_text[c1], 8);
    d += sbxi_json_escape_n[c1];
    memcpy(d, sbxi_json_escape_text[c2], 8);
    d += sbxi_json_escape_n[c2];
    memcpy(d, sbxi_json_escape_text[c3], 8);
    d += sbxi_json_escape_n[c3];
    return d;
}

/* n of them, a multiple of 16. */
static inline char *sbxi_json_escape_ascii(char *d, const char *from, size_t n)
{
    const unsigned char *s = (const unsigned char *)from, *end = s + n;
    for (; s != end; s += 16) {
        d = sbxi_json_escape_four(d, s);
        d = sbxi_json_escape_four(d, s + 4);
        d = sbxi_json_escape_four(d, s + 8);
        d = sbxi_json_escape_four(d, s + 12);
    }
    return d;
}

/* Blocks, as long as any fits: what needs nothing is copied, other ASCII goes
   through the table, 64 at once where much is escaped. */
static inline size_t sbxi_json_escape_blocks(char *dst, size_t cap, const char *src, size_t n, size_t *used)
{
    const char *s = src, *s_end = src + n;
    char *d = dst, *d_end = dst + cap;
    while (s_end - s >= 16 && d_end - d >= 16 * 6 + 2) {
        const char *from = d;
        if (sbxi_plain16(s) == 16) {
            memcpy(d, s, 16);
            s += 16;
            d += 16;
        } else if (((sbxi_word(s) | sbxi_word(s + 8)) & UINT64_MAX / 255 * 0x80) == 0) {
            d = sbxi_json_escape_ascii(d, s, 16);
            s += 16;
            if (d - from > 17)
                while (s_end - s >= 64 && d_end - d >= 64 * 6 + 2 && sbxi_ascii64(s)) {
                    from = d;
                    d = sbxi_json_escape_ascii(d, s, 64);
                    s += 64;
                    if (d - from < 68)
                        break;
                }
        } else {
            for (const char *last = s + 12; s <= last;) {
                size_t length;
                if (!(*s & 0x80)) {
                    d += sbxi_json_escaped(d, (unsigned char)*s++);
                    continue;
                }
                length = sbxi_utf8_length(sbxi_load32(s));
                if (!length)
                    goto end;
                memcpy(d, s, 4);
                s += length;
                d += length;
            }
        }
    }
end:
    *used = (size_t)(s - src);
    return (size_t)(d - dst);
}

#endif

SBX_API size_t sbx_json_escape(char *dst, size_t cap, const char *src, size_t n, size_t *used, bool *bad)
{
    size_t done = 0, at = 0; /* written, read: both at character borders */
    uint32_t state = 0;
    *bad = false;
#if !SBX_SMALL
    if (n >= 16 && cap >= 16 * 6 + 2)
        done = sbxi_json_escape_blocks(dst, cap, src, n, &at);
#endif
    while (at < n) {
        const char *from = src + at;
        char out[8];
        size_t take = 0, need;
        do {
            if (at + take == n) /* cut */
                goto end;
            if (!sbxi_utf8(&state, from + take, 1)) {
                *bad = true;
                goto end;
            }
            take++;
        } while (state);
        need = take;
        if (take == 1) {
            need = sbxi_json_escaped(out, (unsigned char)*from);
            from = out;
        }
        if (cap - done < need)
            break;
        memcpy(dst + done, from, need);
        done += need;
        at += take;
    }
end:
    *used = at;
    return done;
}

/* ---- writer ---- */

static void sbxi_jsonw_fail(sbx_jsonw *w, uint8_t error)
{
    if (!w->error)
        w->error = error;
}

static void sbxi_jsonw_put(sbx_jsonw *w, const char *p, size_t n)
{
    if (w->n <= w->cap && n <= w->cap - w->n) {
        if (n)
            memcpy(w->p + w->n, p, n);
    } else {
        sbxi_jsonw_fail(w, SBX_JSONW_FULL);
        w->cap = SBXI_MIN(w->cap, w->n); /* nothing behind what did not fit */
    }
    w->n = sbxi_add(w->n, n);
}

static void sbxi_jsonw_char(sbx_jsonw *w, char c)
{
    sbxi_jsonw_put(w, &c, 1);
}

static void sbxi_jsonw_value(sbx_jsonw *w)
{
    if (w->comma)
        sbxi_jsonw_char(w, ',');
    w->comma = true;
}

/* A bracket or colon; whether a comma comes before what follows. */
static SBXI_NOINLINE void sbxi_jsonw_mark(sbx_jsonw *w, char c, bool comma)
{
    sbxi_jsonw_char(w, c);
    w->comma = comma;
}

static void sbxi_jsonw_text(sbx_jsonw *w, const char *p, size_t n)
{
    sbxi_jsonw_value(w);
    sbxi_jsonw_put(w, p, n);
}

SBX_API void sbx_jsonw_init(sbx_jsonw *w, char *buf, size_t cap)
{
    memset(w, 0, sizeof *w);
    w->p = buf;
    w->cap = cap;
}

SBX_API void sbx_jsonw_begin(sbx_jsonw *w, char bracket)
{
    sbxi_jsonw_value(w);
    sbxi_jsonw_mark(w, bracket, false);
}

SBX_API void sbx_jsonw_end(sbx_jsonw *w, char bracket)
{
    sbxi_jsonw_mark(w, bracket, true);
}

SBX_API void sbx_jsonw_str(sbx_jsonw *w, sbx_str s)
{
    size_t used;
    bool bad = false;
    sbxi_jsonw_value(w);
    sbxi_jsonw_char(w, '"');
#if !SBX_SMALL
    if (s.n && w->n < w->cap) {
        w->n += sbx_json_escape(w->p + w->n, w->cap - w->n, s.p, s.n, &used, &bad);
        s.p += used;
        s.n -= used;
    }
#endif
    /* what does not fit whole, or ends inside a character */
    while (s.n) {
        char piece[48];
        size_t n = sbx_json_escape(piece, sizeof piece, s.p, s.n, &used, &bad);
        if (!used) {
            sbxi_jsonw_fail(w, SBX_JSONW_UTF8);
            break;
        }
        sbxi_jsonw_put(w, piece, n);
        s.p += used;
        s.n -= used;
    }
    sbxi_jsonw_char(w, '"');
}

SBX_API void sbx_jsonw_key(sbx_jsonw *w, sbx_str key)
{
    sbx_jsonw_str(w, key);
    sbxi_jsonw_mark(w, ':', false);
}

SBX_API void sbx_jsonw_raw(sbx_jsonw *w, sbx_str json)
{
    sbxi_jsonw_text(w, json.p, json.n);
}

static SBXI_NOINLINE void sbxi_jsonw_number(sbx_jsonw *w, uint64_t v, bool minus)
{
    char text[21];
    text[0] = '-';
    sbxi_jsonw_text(w, text + !minus, minus + sbxi_u64_text(text + 1, v));
}

SBX_API void sbx_jsonw_u64(sbx_jsonw *w, uint64_t v)
{
    sbxi_jsonw_number(w, v, false);
}

SBX_API void sbx_jsonw_i64(sbx_jsonw *w, int64_t v)
{
    sbxi_jsonw_number(w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

SBX_API void sbx_jsonw_bool(sbx_jsonw *w, bool v)
{
    sbxi_jsonw_text(w, v ? "true" : "false", 5u - v);
}

SBX_API void sbx_jsonw_null(sbx_jsonw *w)
{
    sbxi_jsonw_text(w, "null", 4);
}
