/* ---- http1_write: HTTP/1.1 request head writer ---- */
#include "http1.h"
#include "base.h"

/* Sets of ASCII characters, bit c % 32 of word c / 32: visible but for '#', and
   what RFC 3986 3.2.2 and 3.2.3 allow in host[:port]. */
static const uint32_t sbxi_http1_write_target[4] = { 0, 0xfffffff6u, 0xffffffffu, 0x7fffffffu };
static const uint32_t sbxi_http1_write_host[4] = { 0, 0x2fff7ff2u, 0xaffffffeu, 0x47fffffeu };

static bool sbxi_http1_write_all_in(sbx_str s, const uint32_t set[4])
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c > 127 || !(set[c >> 5] >> (c & 31) & 1))
            return false;
    }
    return s.n != 0;
}

/* FULL gives way to the other errors: more room would not help. */
static void sbxi_http1_write_check(sbx_http1w *w, bool ok, uint8_t error)
{
    if (!ok && w->error <= SBX_HTTP1W_FULL) {
        w->error = error;
        w->n = 0;
    }
}

static void sbxi_http1_write_put(sbx_http1w *w, const char *p, size_t n)
{
    if (w->error > SBX_HTTP1W_FULL)
        return;
    if (w->error || n > w->cap - w->n)
        w->error = SBX_HTTP1W_FULL;
    else if (n)
        memcpy(w->p + w->n, p, n);
    w->n = sbxi_add(w->n, n);
}

SBX_API void sbx_http1w_request(sbx_http1w *w, char *buf, size_t cap, sbx_str method, sbx_str target, sbx_str host)
{
    w->p = buf;
    w->n = 0;
    w->cap = cap;
    w->error = 0;
    sbxi_http1_write_check(w, sbx_http1_name_ok(method), SBX_HTTP1W_BAD_NAME);
    sbxi_http1_write_check(w, sbxi_http1_write_all_in(target, sbxi_http1_write_target) && target.p[0] == '/',
                           SBX_HTTP1W_BAD_TARGET);
    sbxi_http1_write_check(w, sbxi_http1_write_all_in(host, sbxi_http1_write_host), SBX_HTTP1W_BAD_VALUE);
    sbxi_http1_write_put(w, method.p, method.n);
    sbxi_http1_write_put(w, " ", 1);
    sbxi_http1_write_put(w, target.p, target.n);
    sbxi_http1_write_put(w, " HTTP/1.1\r\n", 11);
    sbx_http1w_header(w, sbx_sn("Host", 4), host);
}

SBX_API void sbx_http1w_header(sbx_http1w *w, sbx_str name, sbx_str value)
{
    sbxi_http1_write_check(w, sbx_http1_name_ok(name), SBX_HTTP1W_BAD_NAME);
    sbxi_http1_write_check(w, sbx_http1_value_ok(value), SBX_HTTP1W_BAD_VALUE);
    sbxi_http1_write_put(w, name.p, name.n);
    sbxi_http1_write_put(w, ": ", 2);
    sbxi_http1_write_put(w, value.p, value.n);
    sbxi_http1_write_put(w, "\r\n", 2);
}

SBX_API void sbx_http1w_header_u64(sbx_http1w *w, sbx_str name, uint64_t value)
{
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value);
    sbx_http1w_header(w, name, sbx_sn(text + at, sizeof text - at));
}

SBX_API void sbx_http1w_end(sbx_http1w *w)
{
    sbxi_http1_write_put(w, "\r\n", 2);
}

SBX_API size_t sbx_http1_chunk(char buf[18], uint64_t size)
{
    char text[18];
    size_t at = 16;
    text[16] = '\r';
    text[17] = '\n';
    do {
        text[--at] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size);
    memcpy(buf, text + at, sizeof text - at);
    return sizeof text - at;
}
