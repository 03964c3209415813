#include "json.h"
#include "base.h"
#include "text.h"

/* What a control character, quote or backslash becomes; its length (1: itself). */
static unsigned sbxi_json_escaped(char out[6], unsigned c)
{
    static const char sbxi_json_short[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    out[0] = (char)c;
    if (c >= 0x20 && c != '"' && c != '\\')
        return 1;
    out[0] = '\\';
    for (const char *e = sbxi_json_short; *e; e += 2)
        if ((unsigned char)*e == c) {
            out[1] = e[1];
            return 2;
        }
    memcpy(out + 1, "u00", 3);
    out[4] = (char)('0' + (c >> 4));
    out[5] = "0123456789abcdef"[c & 15];
    return 6;
}

SBX_API size_t sbx_json_escape(char *dst, size_t cap, const char *src, size_t n, size_t *used, bool *bad)
{
    size_t done = 0, at = 0; /* written, read: both at character borders */
    uint32_t state = 0;
    *bad = false;
    while (at < n) {
        char out[6];
        unsigned c = (unsigned char)src[at], need = 0, take = 0;
        const char *from = src + at;
        if (c < 0x80) {
            need = sbxi_json_escaped(out, c);
            take = 1;
            from = out;
        } else {
            do {
                if (at + take == n) { /* cut */
                    *used = at;
                    return done;
                }
                if (!sbxi_utf8(&state, src + at + take, 1)) {
                    *bad = true;
                    *used = at;
                    return done;
                }
                take++;
            } while (state);
            need = take;
        }
        if (cap - done < need)
            break;
        for (unsigned i = 0; i < need; i++)
            dst[done++] = from[i];
        at += take;
    }
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

SBX_API void sbx_jsonw_init(sbx_jsonw *w, char *buf, size_t cap)
{
    memset(w, 0, sizeof *w);
    w->p = buf;
    w->cap = cap;
}

SBX_API void sbx_jsonw_begin(sbx_jsonw *w, char bracket)
{
    sbxi_jsonw_value(w);
    sbxi_jsonw_char(w, bracket);
    w->comma = false;
}

SBX_API void sbx_jsonw_end(sbx_jsonw *w, char bracket)
{
    sbxi_jsonw_char(w, bracket);
    w->comma = true;
}

SBX_API void sbx_jsonw_str(sbx_jsonw *w, sbx_str s)
{
    size_t used;
    bool bad = false;
    sbxi_jsonw_value(w);
    sbxi_jsonw_char(w, '"');
    while (s.n) {
        char piece[96];
        if (w->n < w->cap) {
            w->n += sbx_json_escape(w->p + w->n, w->cap - w->n, s.p, s.n, &used, &bad);
            s.p += used;
            s.n -= used;
            if (!s.n || bad)
                break;
        }
        /* what is left does not fit whole, or ends inside a character */
        size_t n = sbx_json_escape(piece, sizeof piece, s.p, s.n, &used, &bad);
        if (!used)
            break;
        sbxi_jsonw_put(w, piece, n);
        s.p += used;
        s.n -= used;
    }
    if (s.n)
        sbxi_jsonw_fail(w, SBX_JSONW_UTF8);
    sbxi_jsonw_char(w, '"');
}

SBX_API void sbx_jsonw_key(sbx_jsonw *w, sbx_str key)
{
    sbx_jsonw_str(w, key);
    sbxi_jsonw_char(w, ':');
    w->comma = false;
}

SBX_API void sbx_jsonw_raw(sbx_jsonw *w, sbx_str json)
{
    sbxi_jsonw_value(w);
    sbxi_jsonw_put(w, json.p, json.n);
}

SBX_API void sbx_jsonw_u64(sbx_jsonw *w, uint64_t v)
{
    char text[20];
    sbx_jsonw_raw(w, sbx_sn(text, sbxi_u64_text(text, v)));
}

SBX_API void sbx_jsonw_i64(sbx_jsonw *w, int64_t v)
{
    char text[21];
    bool minus = v < 0;
    text[0] = '-';
    sbx_jsonw_raw(w, sbx_sn(text + !minus, minus + sbxi_u64_text(text + 1, minus ? 0 - (uint64_t)v : (uint64_t)v)));
}

SBX_API void sbx_jsonw_bool(sbx_jsonw *w, bool v)
{
    sbx_jsonw_raw(w, v ? sbx_sn("true", 4) : sbx_sn("false", 5));
}

SBX_API void sbx_jsonw_null(sbx_jsonw *w)
{
    sbx_jsonw_raw(w, sbx_sn("null", 4));
}
