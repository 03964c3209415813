/* sandbox_proxy.h: an HTTP proxy (CONNECT) for sandbox.h, over any transport.

   It lies between a transport that makes connections (sandbox_posix.h, yours)
   and, for https, a TLS transport above it: TLS over proxy over TCP. It speaks
   no TLS itself: an https target that reaches it is answered
   SBX_ERR_UNSUPPORTED.

   Use
       #define SANDBOX_IMPLEMENTATION      in one C or C++ file
       #include "sandbox.h"
       #include "sandbox_posix.h"
       #include "sandbox_proxy.h"
   and set sbx_client_desc.transport = &sbx_proxy_posix. Over another transport:
       sbx_transport mine;                 outlives the client
       sbx_proxy(&mine, &your_transport);
   Beneath TLS (sandbox_bearssl.h), lower_config there being an sbx_proxy_config:
       sbx_bearssl(&tls, &sbx_proxy_posix, NULL);

   One rule on every path
   Every connection goes through a tunnel (CONNECT host:port), REST calls and
   WebSockets, https and http targets alike; the proxy must allow CONNECT to the
   ports in question. It also looks up the names. Connections to hosts that
   `no_proxy` lists are made by the lower transport as if this one were absent.

   Which proxy
   sbx_proxy_config.url, or without it the first of these environment variables
   that is there and not empty: https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY,
   http_proxy. What lies beneath TLS cannot tell https targets from others, so
   they count for both. HTTP_PROXY in capitals is never read: in a CGI program
   it is a header of the request. Without any, connections are direct.
   A proxy is http://[user[:password]@]host[:port], http:// and a last / may be
   left out, the port is 80 then; user and password are percent-encoded. For
   https:// and socks5:// proxies take the libcurl transport (sandbox_curl.h).

   Which hosts are direct
   sbx_proxy_config.no_proxy, or without it the variable no_proxy, else
   NO_PROXY: entries between commas or blanks.
       example.org, .example.org, *.example.org    the name and all below it
       10.0.0.1, ::1, [::1]                        the address, as it stands in the URL
       10.0.0.0/8, fd00::/8                        the addresses of a network
       example.org:8443, [::1]:8443                on that port only
       *                                           every host
   Names are compared without case, and not looked up: an address matches no
   name. IPv4 addresses are equal to their IPv6-mapped form.

   Credentials
   go out as Basic authentication, with each CONNECT and nowhere else. They
   stand in no error and no trace, and are wiped when the client is closed.

   Memory
   Nothing is allocated: about 4.6 KiB of context a client, nearly half of it
   for the list of direct hosts, and 320 bytes a connection.

   Configuration macros, read by the implementation only
       SBX_PROXY_NO_ENVIRONMENT=1  reads no environment variable (and needs no
                                   getenv); the default with SBX_FREESTANDING
       SBX_PROXY_LIST=n            room for no_proxy in bytes, default 2048 */
#ifndef SBX_PROXY_H
#define SBX_PROXY_H

#ifndef SBX_TRANSPORT_H
#error "include sandbox.h before sandbox_proxy.h"
#endif

SBX_EXTERN_C_BEGIN

/* sbx_client_desc.transport_config, or the lower_config of a transport above;
   NULL or all zero = by the environment. Read during open only. */
typedef struct sbx_proxy_config {
    const void *lower_config;   /* the lower transport's configuration */
    const char *url;            /* "http://user:password@host:3128"; NULL = by the environment, "" = none */
    const char *no_proxy;       /* "localhost,.example.org,10.0.0.0/8"; NULL = by the environment, "" = none */
    const char *user, *password; /* in place of those in the URL, not encoded; at most 255 bytes each */
} sbx_proxy_config;

/* Makes *out a transport that connects through an HTTP proxy by means of
   `lower`, which must outlive it. Its context also holds the state of lower.
   Codes in the fault; where the proxy answered, `sys` is the HTTP status:
   open     SBX_ERR_ARGUMENT (a URL, list or user that cannot be used),
            SBX_ERR_UNSUPPORTED (a proxy of another kind), SBX_ERR_TOO_LARGE
            (the list), and those of lower
   connect  SBX_ERR_RESOLVE (of the proxy's name; or the target's cannot be
            given to a proxy: no name, no address, or one with a scope),
            SBX_ERR_CONNECT (no way to the proxy; its answer was no, no HTTP,
            or missing), SBX_ERR_UNSUPPORTED (tls), SBX_ERR_STATE (connect
            after FAIL without close)
   recv     those of lower; SBX_ERR_STATE before connect was OK,
   send     SBX_ERR_ARGUMENT for a length of 0
   A proxy that does not answer is given up by the client, after connect_ms. */
SBX_API void sbx_proxy(sbx_transport *out, const sbx_transport *lower);

#ifdef SBX_POSIX_H
/* Over sbx_posix, whose configuration is lower_config. */
extern const sbx_transport sbx_proxy_posix;
#endif

SBX_EXTERN_C_END
#endif /* SBX_PROXY_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_PROXY_IMPLEMENTED)
#define SBXI_PROXY_IMPLEMENTED

#ifndef SBX_PROXY_NO_ENVIRONMENT
#if defined(SBX_FREESTANDING) && SBX_FREESTANDING
#define SBX_PROXY_NO_ENVIRONMENT 1
#else
#define SBX_PROXY_NO_ENVIRONMENT 0
#endif
#endif
#ifndef SBX_PROXY_LIST
#define SBX_PROXY_LIST 2048
#endif
#if SBX_PROXY_LIST < 1 || SBX_PROXY_LIST > 1000000
#error "SBX_PROXY_LIST must be 1 to 1000000"
#endif
#if !SBX_PROXY_NO_ENVIRONMENT
#include <stdlib.h>
#endif

SBX_EXTERN_C_BEGIN

#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
#define SBXI_PROXY_TEXT(s) NULL
#else
#define SBXI_PROXY_TEXT(s) (s)
#endif

enum {
    SBXI_PROXY_HOST = 253, /* the longest name */
    SBXI_PROXY_NAME = SBXI_PROXY_HOST + 8, /* with brackets and :port */
    SBXI_PROXY_USER = 255,
    SBXI_PROXY_PAIR = 2 * SBXI_PROXY_USER + 1,
    SBXI_PROXY_BASIC = (SBXI_PROXY_PAIR + 2) / 3 * 4,
    SBXI_PROXY_HEAD = 2 * SBXI_PROXY_NAME + SBXI_PROXY_BASIC + 80, /* a CONNECT request */
    SBXI_PROXY_ANSWER = 8192 /* bytes of head that a proxy may answer */
};

/* States of a connection; zeroed memory is NEW. */
enum {
    SBXI_PROXY_NEW,
    SBXI_PROXY_DIRECT,   /* the lower transport's alone */
    SBXI_PROXY_REACHING, /* connecting to the proxy */
    SBXI_PROXY_ASKING,   /* CONNECT is on its way */
    SBXI_PROXY_READING,  /* its answer is to come */
    SBXI_PROXY_OPEN,
    SBXI_PROXY_DEAD
};

typedef struct sbxi_proxy_conn {
    uint8_t state;
    bool below;       /* connect of the lower transport was called */
    bool basic, other; /* 407: ways of authentication that the proxy offers */
    uint16_t sent;    /* of the request */
    uint16_t at, end; /* bytes in buf: of the answer, later those behind it */
    sbx_http1 http;
    char buf[256];
} sbxi_proxy_conn;

typedef struct sbxi_proxy_ctx {
    const sbx_transport *self; /* put here before open */
    uint16_t port;             /* of the proxy; 0 = there is none */
    uint16_t host_n, basic_n;
    char host[SBXI_PROXY_HOST + 1]; /* without brackets */
    char basic[SBXI_PROXY_BASIC];
    char list[SBX_PROXY_LIST];
    char head[SBXI_PROXY_HEAD];
    char text[384];
} sbxi_proxy_ctx;

#define SBXI_PROXY_CTX ((uint32_t)sizeof(sbxi_proxy_ctx))
#define SBXI_PROXY_CONN ((uint32_t)sizeof(sbxi_proxy_conn))

/* ---- texts ---- */

/* Appends what fits. */
static size_t sbxi_proxy_add(char *to, size_t room, size_t at, sbx_str s)
{
    size_t n = s.n < room - at ? s.n : room - at;
    if (n)
        memcpy(to + at, s.p, n);
    return at + n;
}

/* host:port as CONNECT has it. */
static size_t sbxi_proxy_add_name(char *to, size_t room, size_t at, sbx_str host, uint16_t port)
{
    char digits[20];
    bool v6 = memchr(host.p, ':', host.n) != NULL;
    at = sbxi_proxy_add(to, room, at, sbx_s(v6 ? "[" : ""));
    at = sbxi_proxy_add(to, room, at, host);
    at = sbxi_proxy_add(to, room, at, sbx_s(v6 ? "]:" : ":"));
    return sbxi_proxy_add(to, room, at, sbx_sn(digits, sbxi_u64_text(digits, port)));
}

static sbx_io sbxi_proxy_fault(sbx_fault *fault, sbx_code code, int sys, const char *text)
{
    if (fault) {
        fault->code = code;
        fault->sys = sys;
        fault->text = text;
    }
    return SBX_IO_FAIL;
}

/* Ends a connection: "proxy host:port: <what>". */
static sbx_io sbxi_proxy_fail(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, sbx_fault *fault, sbx_code code, int sys, const char *what)
{
#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
    const char *text = NULL;
    (void)x;
    (void)what;
#else
    const char *text = x->text;
    size_t room = sizeof x->text - 1, n;
    n = sbxi_proxy_add(x->text, room, 0, sbx_s("proxy "));
    n = sbxi_proxy_add_name(x->text, room, n, sbx_sn(x->host, x->host_n), x->port);
    n = sbxi_proxy_add(x->text, room, n, sbx_s(": "));
    n = sbxi_proxy_add(x->text, room, n, sbx_s(what ? what : "the connection failed"));
    x->text[n] = 0;
#endif
    c->state = SBXI_PROXY_DEAD;
    return sbxi_proxy_fault(fault, code, sys, text);
}

/* ---- the lower transport ---- */

static const sbx_transport *sbxi_proxy_below(const void *ctx)
{
    return ((const sbxi_proxy_ctx *)ctx)->self->lower;
}

static void *sbxi_proxy_ctx_below(void *ctx)
{
    return sbx_lower(ctx, SBXI_PROXY_CTX);
}

static void *sbxi_proxy_conn_below(void *conn)
{
    return sbx_lower(conn, SBXI_PROXY_CONN);
}

/* ---- addresses ---- */

/* Up to n decimal digits of a number up to `max`, without a leading zero. */
static bool sbxi_proxy_number(sbx_str *s, uint32_t max, uint32_t *out)
{
    uint32_t v = 0;
    size_t n = 0;
    for (; n < s->n && n < 6 && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        v = v * 10 + (uint32_t)(s->p[n] - '0');
    if (n == 0 || v > max || (n > 1 && s->p[0] == '0'))
        return false;
    s->p += n;
    s->n -= n;
    *out = v;
    return true;
}

static bool sbxi_proxy_v4(sbx_str s, unsigned char ip[4])
{
    uint32_t v;
    int i;
    for (i = 0; i < 4; i++) {
        if (i) {
            if (s.n == 0 || *s.p != '.')
                return false;
            s.p++;
            s.n--;
        }
        if (!sbxi_proxy_number(&s, 255, &v))
            return false;
        ip[i] = (unsigned char)v;
    }
    return s.n == 0;
}

static int sbxi_proxy_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = sbxi_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of an IPv6 address at s->p. */
static bool sbxi_proxy_group(sbx_str *s, unsigned char two[2])
{
    unsigned v = 0;
    size_t n = 0;
    for (; n < s->n && n < 5 && sbxi_proxy_hex(s->p[n]) >= 0; n++)
        v = v << 4 | (unsigned)sbxi_proxy_hex(s->p[n]);
    if (n == 0 || n > 4)
        return false;
    two[0] = (unsigned char)(v >> 8);
    two[1] = (unsigned char)v;
    s->p += n;
    s->n -= n;
    return true;
}

static bool sbxi_proxy_v6(sbx_str s, unsigned char ip[16])
{
    size_t n = 0, gap = 17; /* bytes read; where "::" stands */
    memset(ip, 0, 16);
    if (s.n >= 2 && s.p[0] == ':' && s.p[1] == ':') {
        gap = 0;
        s.p += 2;
        s.n -= 2;
    }
    while (s.n) {
        if (n <= 12 && sbxi_proxy_v4(s, ip + n)) {
            n += 4;
            break;
        }
        if (n > 14 || !sbxi_proxy_group(&s, ip + n))
            return false;
        n += 2;
        if (s.n == 0)
            break;
        if (*s.p != ':' || s.n == 1)
            return false;
        s.p++;
        s.n--;
        if (*s.p == ':') {
            if (gap <= 16)
                return false;
            gap = n;
            s.p++;
            s.n--;
        }
    }
    if (gap > 16)
        return n == 16;
    if (n > 14)
        return false;
    memmove(ip + 16 - (n - gap), ip + gap, n - gap);
    memset(ip + gap, 0, 16 - n);
    return true;
}

/* Both kinds as 16 bytes, IPv4 in its mapped form; *bits = length of such an
   address. */
static bool sbxi_proxy_ip(sbx_str s, unsigned char ip[16], unsigned *bits)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    *bits = 128;
    if (sbxi_proxy_v6(s, ip))
        return true;
    memcpy(ip, mapped, sizeof mapped);
    *bits = 32;
    return sbxi_proxy_v4(s, ip + 12);
}

static bool sbxi_proxy_same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

/* ---- which hosts are direct ---- */

/* "a.b.c/n" beside an address. */
static bool sbxi_proxy_in_network(sbx_str entry, sbx_str bits_text, const unsigned char ip[16])
{
    unsigned char net[16];
    unsigned size;
    uint32_t bits;
    if (!sbxi_proxy_ip(entry, net, &size) || !sbxi_proxy_number(&bits_text, size, &bits) || bits_text.n)
        return false;
    return sbxi_proxy_same_bits(net, ip, bits + 128 - size);
}

static bool sbxi_proxy_in_domain(sbx_str entry, sbx_str host)
{
    if (entry.n && *entry.p == '*' && entry.n > 1 && entry.p[1] == '.')
        entry = sbx_sn(entry.p + 1, entry.n - 1);
    if (entry.n && *entry.p == '.')
        entry = sbx_sn(entry.p + 1, entry.n - 1);
    if (entry.n && entry.p[entry.n - 1] == '.')
        entry.n--;
    if (entry.n == 0 || entry.n > host.n)
        return false;
    if (entry.n < host.n && host.p[host.n - entry.n - 1] != '.')
        return false;
    return sbxi_eq_nocase(entry, sbx_sn(host.p + host.n - entry.n, entry.n));
}

/* Cuts ":port" and brackets off; false = a port, and not this one. */
static bool sbxi_proxy_cut_port(sbx_str *entry, uint16_t port)
{
    sbx_str digits;
    uint32_t v;
    size_t i = entry->n;
    while (i && entry->p[i - 1] >= '0' && entry->p[i - 1] <= '9')
        i--;
    digits = sbx_sn(entry->p + i, entry->n - i);
    if (i && digits.n && entry->p[i - 1] == ':' &&
        (entry->p[0] == '[' ? i >= 2 && entry->p[i - 2] == ']' : !memchr(entry->p, ':', i - 1))) {
        if (!sbxi_proxy_number(&digits, 65535, &v) || digits.n || v != port)
            return false;
        entry->n = i - 1;
    }
    if (entry->n >= 2 && entry->p[0] == '[' && entry->p[entry->n - 1] == ']')
        *entry = sbx_sn(entry->p + 1, entry->n - 2);
    return true;
}

static bool sbxi_proxy_matches(sbx_str entry, sbx_str host, uint16_t port)
{
    unsigned char ip[16], other[16];
    const char *slash;
    unsigned bits;
    if (entry.n == 1 && *entry.p == '*')
        return true;
    if (!sbxi_proxy_cut_port(&entry, port))
        return false;
    if (!sbxi_proxy_ip(host, ip, &bits))
        return sbxi_proxy_in_domain(entry, host);
    slash = entry.n ? (const char *)memchr(entry.p, '/', entry.n) : NULL;
    if (slash) {
        size_t n = (size_t)(slash - entry.p);
        return sbxi_proxy_in_network(sbx_sn(entry.p, n), sbx_sn(slash + 1, entry.n - n - 1), ip);
    }
    return sbxi_proxy_ip(entry, other, &bits) && memcmp(ip, other, sizeof ip) == 0;
}

/* Whether a list of direct hosts names this one. */
static bool sbxi_proxy_listed(const char *list, sbx_str host, uint16_t port)
{
    const char *p = list, *scope = host.n ? (const char *)memchr(host.p, '%', host.n) : NULL;
    if (scope)
        host.n = (size_t)(scope - host.p);
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    for (;;) {
        size_t n = 0;
        while (*p == ',' || *p == ' ' || *p == '\t')
            p++;
        if (!*p)
            return false;
        while (p[n] && p[n] != ',' && p[n] != ' ' && p[n] != '\t')
            n++;
        if (sbxi_proxy_matches(sbx_sn(p, n), host, port))
            return true;
        p += n;
    }
}

/* ---- the proxy's URL ---- */

/* A name that may go into a request line. */
static bool sbxi_proxy_host_ok(sbx_str host)
{
    unsigned char ip[16];
    size_t i;
    if (host.n == 0 || host.n > SBXI_PROXY_HOST)
        return false;
    if (memchr(host.p, ':', host.n))
        return sbxi_proxy_v6(host, ip);
    for (i = 0; i < host.n; i++) {
        char c = sbxi_lower(host.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return true;
}

/* Percent-decodes into `to`; false = bad code, or longer than a user may be. */
static bool sbxi_proxy_decode(sbx_str s, char *to, size_t *n)
{
    size_t i;
    for (i = 0, *n = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? sbxi_proxy_hex(s.p[i + 1]) : -1;
            int low = i + 2 < s.n ? sbxi_proxy_hex(s.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (*n == SBXI_PROXY_USER)
            return false;
        to[(*n)++] = c;
    }
    return true;
}

/* RFC 7617 2: no control characters, and no colon in the user. */
static bool sbxi_proxy_user_ok(sbx_str s, bool colon)
{
    size_t i;
    if (s.n > SBXI_PROXY_USER)
        return false;
    for (i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F || (s.p[i] == ':' && !colon))
            return false;
    return true;
}

static void sbxi_proxy_wipe(void *p, size_t n)
{
    volatile char *at = (volatile char *)p;
    while (n--)
        *at++ = 0;
}

static bool sbxi_proxy_set_user(sbxi_proxy_ctx *x, sbx_str user, sbx_str password)
{
    size_t n;
    if (!sbxi_proxy_user_ok(user, false) || !sbxi_proxy_user_ok(password, true))
        return false;
    /* The room of a request is free yet. */
    n = sbxi_proxy_add(x->head, sizeof x->head, 0, user);
    n = sbxi_proxy_add(x->head, sizeof x->head, n, sbx_s(":"));
    n = sbxi_proxy_add(x->head, sizeof x->head, n, password);
    x->basic_n = (uint16_t)sbxi_base64(x->basic, (const unsigned char *)x->head, n);
    return true;
}

/* user[:password] of a URL. */
static bool sbxi_proxy_userinfo(sbxi_proxy_ctx *x, sbx_str s)
{
    char plain[2][SBXI_PROXY_USER];
    size_t n[2] = {0, 0}, user = 0;
    bool ok;
    while (user < s.n && s.p[user] != ':')
        user++;
    ok = sbxi_proxy_decode(sbx_sn(s.p, user), plain[0], &n[0]);
    if (ok && user < s.n)
        ok = sbxi_proxy_decode(sbx_sn(s.p + user + 1, s.n - user - 1), plain[1], &n[1]);
    ok = ok && sbxi_proxy_set_user(x, sbx_sn(plain[0], n[0]), sbx_sn(plain[1], n[1]));
    sbxi_proxy_wipe(plain, sizeof plain);
    return ok;
}

/* host[:port] */
static bool sbxi_proxy_authority(sbxi_proxy_ctx *x, sbx_str s)
{
    sbx_str host = s, port;
    uint32_t v = 80;
    bool v6 = s.n && *s.p == '[';
    const char *end = s.n ? (const char *)memchr(s.p, v6 ? ']' : ':', s.n) : NULL;
    if (v6) {
        if (!end)
            return false;
        host = sbx_sn(s.p + 1, (size_t)(end - s.p) - 1);
        port = sbx_sn(end + 1, s.n - host.n - 2);
    } else {
        host.n = end ? (size_t)(end - s.p) : s.n;
        port = sbx_sn(s.p + host.n, s.n - host.n);
    }
    if (port.n) {
        sbx_str digits = sbx_sn(port.p + 1, port.n - 1);
        if (*port.p != ':' || !sbxi_proxy_number(&digits, 65535, &v) || digits.n || v == 0)
            return false;
    }
    if (!sbxi_proxy_host_ok(host) || v6 != (memchr(host.p, ':', host.n) != NULL))
        return false;
    memcpy(x->host, host.p, host.n);
    x->host_n = (uint16_t)host.n;
    x->port = (uint16_t)v;
    return true;
}

/* The scheme, cut off; empty = there is none. */
static sbx_str sbxi_proxy_scheme(sbx_str *url)
{
    size_t i;
    for (i = 0; i + 2 < url->n; i++)
        if (url->p[i] == ':' && url->p[i + 1] == '/' && url->p[i + 2] == '/') {
            sbx_str scheme = sbx_sn(url->p, i);
            *url = sbx_sn(url->p + i + 3, url->n - i - 3);
            return scheme;
        }
    return sbx_sn(url->p, 0);
}

/* `from`: the option or variable, for the text. */
static sbx_code sbxi_proxy_bad(sbxi_proxy_ctx *x, sbx_fault *fault, sbx_code code, const char *from, const char *what)
{
#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
    const char *text = NULL;
    (void)x;
    (void)from;
    (void)what;
#else
    const char *text = x->text;
    size_t n = sbxi_proxy_add(x->text, sizeof x->text - 1, 0, sbx_s(from));
    n = sbxi_proxy_add(x->text, sizeof x->text - 1, n, sbx_s(what));
    x->text[n] = 0;
#endif
    sbxi_proxy_fault(fault, code, 0, text);
    return code;
}

static bool sbxi_proxy_is_other(sbx_str scheme)
{
    return sbxi_eq_nocase(scheme, sbx_s("https")) || sbxi_eq_nocase(scheme, sbx_s("socks4")) || sbxi_eq_nocase(scheme, sbx_s("socks4a")) ||
           sbxi_eq_nocase(scheme, sbx_s("socks5")) || sbxi_eq_nocase(scheme, sbx_s("socks5h")) || sbxi_eq_nocase(scheme, sbx_s("socks"));
}

static sbx_code sbxi_proxy_parse(sbxi_proxy_ctx *x, const char *from, const char *text, sbx_fault *fault)
{
    sbx_str url = sbx_s(text), scheme = sbxi_proxy_scheme(&url);
    size_t at = url.n;
    if (sbxi_proxy_is_other(scheme))
        return sbxi_proxy_bad(x, fault, SBX_ERR_UNSUPPORTED, from,
                              SBXI_PROXY_TEXT(": only http:// proxies are spoken to here; for https:// and socks5:// ones take the libcurl transport (sandbox_curl.h)"));
    if (scheme.n && !sbxi_eq_nocase(scheme, sbx_s("http")))
        return sbxi_proxy_bad(x, fault, SBX_ERR_ARGUMENT, from, SBXI_PROXY_TEXT(": unknown kind of proxy; write http://host:port"));
    if (url.n && url.p[url.n - 1] == '/')
        at = --url.n;
    while (at && url.p[at - 1] != '@')
        at--;
    if (at && !sbxi_proxy_userinfo(x, sbx_sn(url.p, at - 1)))
        return sbxi_proxy_bad(x, fault, SBX_ERR_ARGUMENT, from,
                              SBXI_PROXY_TEXT(": the user or password is longer than 255 bytes, or has a control character or bad percent-encoding"));
    if (!sbxi_proxy_authority(x, sbx_sn(url.p + at, url.n - at))) {
        x->port = 0;
        return sbxi_proxy_bad(x, fault, SBX_ERR_ARGUMENT, from,
                              SBXI_PROXY_TEXT(": not a proxy's URL; write http://host:port, in user and password @ : / and % percent-encoded"));
    }
    return SBX_OK;
}

/* ---- open and shut ---- */

/* The first variable that is not empty; its name goes to *from. */
static const char *sbxi_proxy_variable(const char *const *names, size_t n, const char **from)
{
#if SBX_PROXY_NO_ENVIRONMENT
    (void)names;
    (void)n;
    (void)from;
#else
    for (; n; n--, names++) {
        const char *value = getenv(*names);
        if (value && *value) {
            *from = *names;
            return value;
        }
    }
#endif
    return "";
}

static sbx_code sbxi_proxy_setup(sbxi_proxy_ctx *x, const sbx_proxy_config *config, sbx_fault *fault)
{
    static const char *const urls[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy"};
    static const char *const lists[] = {"no_proxy", "NO_PROXY"};
    const char *from = "sbx_proxy_config.url", *url = config->url, *list = config->no_proxy;
    sbx_code code;
    size_t n;
    if (!url)
        url = sbxi_proxy_variable(urls, sizeof urls / sizeof *urls, &from);
    if (!*url)
        return SBX_OK;
    code = sbxi_proxy_parse(x, from, url, fault);
    if (code)
        return code;
    if (config->password && !config->user)
        return sbxi_proxy_bad(x, fault, SBX_ERR_ARGUMENT, "sbx_proxy_config.password", SBXI_PROXY_TEXT(": needs sbx_proxy_config.user"));
    if (config->user && !sbxi_proxy_set_user(x, sbx_s(config->user), sbx_s(config->password ? config->password : "")))
        return sbxi_proxy_bad(x, fault, SBX_ERR_ARGUMENT, "sbx_proxy_config.user",
                              SBXI_PROXY_TEXT(": user and password are at most 255 bytes without control characters, the user without a colon"));
    from = "sbx_proxy_config.no_proxy";
    if (!list)
        list = sbxi_proxy_variable(lists, sizeof lists / sizeof *lists, &from);
    n = strlen(list);
    if (n >= sizeof x->list)
        return sbxi_proxy_bad(x, fault, SBX_ERR_TOO_LARGE, from, SBXI_PROXY_TEXT(": the list is too long; set SBX_PROXY_LIST higher, or shorten it"));
    memcpy(x->list, list, n + 1);
    return SBX_OK;
}

static sbx_code sbxi_proxy_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    sbxi_proxy_ctx *x = (sbxi_proxy_ctx *)ctx;
    const sbx_transport *self = x->self;
    sbx_proxy_config f;
    sbx_code code;
    memset(x, 0, sizeof *x);
    x->self = self;
    memset(&f, 0, sizeof f);
    if (config)
        f = *(const sbx_proxy_config *)config;
    code = sbxi_proxy_setup(x, &f, fault);
    if (code == SBX_OK)
        code = sbx_transport_open(self->lower, sbxi_proxy_ctx_below(x), f.lower_config, max_conns, fault);
    sbxi_proxy_wipe(x->head, sizeof x->head);
    if (code)
        sbxi_proxy_wipe(x->basic, sizeof x->basic);
    return code;
}

static void sbxi_proxy_shut(void *ctx)
{
    sbxi_proxy_ctx *x = (sbxi_proxy_ctx *)ctx;
    const sbx_transport *self = x->self;
    if (self->lower->shut)
        self->lower->shut(sbxi_proxy_ctx_below(ctx));
    sbxi_proxy_wipe(x, sizeof *x);
    x->self = self;
}

/* ---- connecting ---- */

/* The CONNECT request; it lies in the context, where the next one replaces it. */
static size_t sbxi_proxy_request(sbxi_proxy_ctx *x, const sbx_target *to)
{
    size_t room = sizeof x->head, n = sbxi_proxy_add(x->head, room, 0, sbx_s("CONNECT "));
    n = sbxi_proxy_add_name(x->head, room, n, to->host, to->port);
    n = sbxi_proxy_add(x->head, room, n, sbx_s(" HTTP/1.1\r\nHost: "));
    n = sbxi_proxy_add_name(x->head, room, n, to->host, to->port);
    if (x->basic_n) {
        n = sbxi_proxy_add(x->head, room, n, sbx_s("\r\nProxy-Authorization: Basic "));
        n = sbxi_proxy_add(x->head, room, n, sbx_sn(x->basic, x->basic_n));
    }
    return sbxi_proxy_add(x->head, room, n, sbx_s("\r\n\r\n"));
}

/* No request went to the service, so every way to lose the proxy is
   SBX_ERR_CONNECT. */
static sbx_io sbxi_proxy_lost(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, const sbx_fault *below, sbx_fault *fault)
{
    sbx_code code = below->code == SBX_ERR_CONNECTION || below->code == SBX_OK ? SBX_ERR_CONNECT : below->code;

    if (fault)
        fault->permanent = below->permanent;
    return sbxi_proxy_fail(x, c, fault, code, below->sys, below->text);
}

static sbx_io sbxi_proxy_reach(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, const sbx_target *to, sbx_fault *fault)
{
    const sbx_transport *lower = sbxi_proxy_below(x);
    sbx_target proxy = *to;
    sbx_fault below;
    sbx_io io;
    memset(&below, 0, sizeof below);
    proxy.host = sbx_sn(x->host, x->host_n);
    proxy.port = x->port;
    c->below = true;
    io = lower->connect(sbxi_proxy_ctx_below(x), sbxi_proxy_conn_below(c), &proxy, &below);
    if (io == SBX_IO_OK)
        c->state = SBXI_PROXY_ASKING;
    return io == SBX_IO_FAIL || io == SBX_IO_EOF ? sbxi_proxy_lost(x, c, &below, fault) : io;
}

static sbx_io sbxi_proxy_ask(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, const sbx_target *to, sbx_fault *fault)
{
    const sbx_transport *lower = sbxi_proxy_below(x);
    size_t n = sbxi_proxy_request(x, to);
    sbx_http1_caps caps;
    sbx_fault below;
    memset(&below, 0, sizeof below);
    while (c->sent < n) {
        size_t sent = 0;
        sbx_io io = lower->send(sbxi_proxy_ctx_below(x), sbxi_proxy_conn_below(c), x->head + c->sent, n - c->sent, &sent, &below);
        if (io == SBX_IO_FAIL || io == SBX_IO_EOF)
            return sbxi_proxy_lost(x, c, &below, fault);
        if (io != SBX_IO_OK)
            return io;
        c->sent = (uint16_t)(c->sent + sent);
    }
    memset(&caps, 0, sizeof caps);
    caps.head_bytes = SBXI_PROXY_ANSWER;
    sbx_http1_init(&c->http, true, &caps);
    c->state = SBXI_PROXY_READING;
    return SBX_IO_OK;
}

/* ---- the answer ---- */

#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
#define sbxi_proxy_advice(x, c) NULL
#else
static const char *sbxi_proxy_advice(const sbxi_proxy_ctx *x, const sbxi_proxy_conn *c)
{
    if (c->http.status == 407) {
        if (c->other && !c->basic)
            return " (authentication needed): it wants another authentication than Basic, which is the only one spoken here";
        if (x->basic_n)
            return " (authentication needed): it refused the user and password; check them in the proxy's URL or configuration";
        return " (authentication needed): put user and password into the proxy's URL, http://user:password@host:port, or its configuration";
    }
    if (c->http.status >= 500)
        return ": it could not reach that host, or failed itself; see its log";
    if (c->http.status >= 400)
        return ": it does not allow that; allow CONNECT to this host and port there, or list the host in no_proxy";
    return ": only 2xx opens a tunnel; is this an HTTP proxy?";
}
#endif

/* "CONNECT host:port was answered 403: …" */
static sbx_io sbxi_proxy_refused(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, const sbx_target *to, sbx_fault *fault)
{
    char what[300];
    size_t room = sizeof what - 1, n = 0;
    char digits[20];
    const char *advice = sbxi_proxy_advice(x, c);
    n = sbxi_proxy_add(what, room, n, sbx_s("CONNECT "));
    n = sbxi_proxy_add_name(what, room / 2, n, to->host, to->port);
    n = sbxi_proxy_add(what, room, n, sbx_s(" was answered "));
    n = sbxi_proxy_add(what, room, n, sbx_sn(digits, sbxi_u64_text(digits, c->http.status)));
    n = sbxi_proxy_add(what, room, n, sbx_s(advice ? advice : ""));
    what[n] = 0;
    if (fault)
        fault->permanent = c->http.status >= 400 && c->http.status < 500;
    return sbxi_proxy_fail(x, c, fault, SBX_ERR_CONNECT, c->http.status, what);
}

/* Notes whether Basic is among the challenges. Finding the word at a wrong
   place makes the text a little less exact, no more. */
static void sbxi_proxy_challenge(sbxi_proxy_conn *c, const sbx_http1_event *ev)
{
    size_t i;
    if (!sbxi_eq_nocase(ev->name, sbx_s("Proxy-Authenticate")))
        return;
    c->other = true;
    for (i = 0; i + 5 <= ev->value.n; i++)
        if (sbxi_eq_nocase(sbx_sn(ev->value.p + i, 5), sbx_s("basic")))
            c->basic = true;
}

/* What came so far. OK = the tunnel stands. */
static sbx_io sbxi_proxy_digest(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, const sbx_target *to, sbx_fault *fault)
{
    const char *p = c->buf, *end = c->buf + c->end;
    bool full = c->end == sizeof c->buf;
    for (;;) {
        sbx_http1_event ev;
        switch (sbx_http1_read(&c->http, &p, end, full && p == c->buf, &ev)) {
        case SBX_HTTP1_HEADER:
            sbxi_proxy_challenge(c, &ev);
            break;
        case SBX_HTTP1_HEAD:
            if (c->http.status / 100 != 2)
                return sbxi_proxy_refused(x, c, to, fault);
            break;
        case SBX_HTTP1_DONE:
            c->at = (uint16_t)(p - c->buf);
            c->state = SBXI_PROXY_OPEN;
            return SBX_IO_OK;
        case SBX_HTTP1_MORE:
            c->end = (uint16_t)(end - p);
            memmove(c->buf, p, c->end);
            return SBX_IO_WANT_READ;
        case SBX_HTTP1_UPGRADE:
            return sbxi_proxy_refused(x, c, to, fault);
        default:
            return sbxi_proxy_fail(x, c, fault, SBX_ERR_CONNECT, 0, SBXI_PROXY_TEXT("its answer is not HTTP, or breaks its rules; is this an HTTP proxy?"));
        }
    }
}

static sbx_io sbxi_proxy_read(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, const sbx_target *to, sbx_fault *fault)
{
    const sbx_transport *lower = sbxi_proxy_below(x);
    sbx_fault below;
    memset(&below, 0, sizeof below);
    for (;;) {
        size_t got = 0;
        sbx_io io = lower->recv(sbxi_proxy_ctx_below(x), sbxi_proxy_conn_below(c), c->buf + c->end, sizeof c->buf - c->end, &got, &below);
        if (io == SBX_IO_FAIL)
            return sbxi_proxy_lost(x, c, &below, fault);
        if (io == SBX_IO_EOF)
            return sbxi_proxy_fail(x, c, fault, SBX_ERR_CONNECT, 0,
                                   SBXI_PROXY_TEXT("it closed the connection instead of answering CONNECT; is this an HTTP proxy, and may this machine use it?"));
        if (io != SBX_IO_OK)
            return io;
        c->end = (uint16_t)(c->end + got);
        io = sbxi_proxy_digest(x, c, to, fault);
        if (io != SBX_IO_WANT_READ)
            return io;
    }
}

/* The first call: which way, or none. */
static sbx_io sbxi_proxy_begin(sbxi_proxy_ctx *x, sbxi_proxy_conn *c, const sbx_target *to, sbx_fault *fault)
{
    c->state = SBXI_PROXY_DEAD;
    if (to->tls)
        return sbxi_proxy_fault(fault, SBX_ERR_UNSUPPORTED, 0, SBXI_PROXY_TEXT("https needs a TLS transport, laid over the proxy transport"));
    if (x->port == 0 || sbxi_proxy_listed(x->list, to->host, to->port)) {
        c->state = SBXI_PROXY_DIRECT;
        return SBX_IO_OK;
    }
    if (!sbxi_proxy_host_ok(to->host))
        return sbxi_proxy_fault(fault, SBX_ERR_RESOLVE, 0,
                                SBXI_PROXY_TEXT("no host name or address that a proxy could be given (IPv6 without scope; names in letters, digits, - . and _)"));
    c->state = SBXI_PROXY_REACHING;
    return SBX_IO_OK;
}

static sbx_io sbxi_proxy_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    sbxi_proxy_ctx *x = (sbxi_proxy_ctx *)ctx;
    sbxi_proxy_conn *c = (sbxi_proxy_conn *)conn;
    sbx_io io = SBX_IO_OK;
    while (io == SBX_IO_OK && c->state != SBXI_PROXY_OPEN) {
        switch (c->state) {
        case SBXI_PROXY_NEW: io = sbxi_proxy_begin(x, c, to, fault); break;
        case SBXI_PROXY_REACHING: io = sbxi_proxy_reach(x, c, to, fault); break;
        case SBXI_PROXY_ASKING: io = sbxi_proxy_ask(x, c, to, fault); break;
        case SBXI_PROXY_READING: io = sbxi_proxy_read(x, c, to, fault); break;
        case SBXI_PROXY_DIRECT:
            c->below = true;
            return sbxi_proxy_below(x)->connect(sbxi_proxy_ctx_below(x), sbxi_proxy_conn_below(c), to, fault);
        default: return sbxi_proxy_fault(fault, SBX_ERR_STATE, 0, SBXI_PROXY_TEXT("connect after it failed: close first"));
        }
    }
    return io;
}

/* ---- the tunnel ---- */

static bool sbxi_proxy_carries(const sbxi_proxy_conn *c, size_t n, sbx_fault *fault)
{
    if (c->state != SBXI_PROXY_OPEN && c->state != SBXI_PROXY_DIRECT)
        sbxi_proxy_fault(fault, SBX_ERR_STATE, 0, SBXI_PROXY_TEXT("the connection is not open"));
    else if (n == 0)
        sbxi_proxy_fault(fault, SBX_ERR_ARGUMENT, 0, SBXI_PROXY_TEXT("a length of 0"));
    else
        return true;
    return false;
}

static sbx_io sbxi_proxy_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    sbxi_proxy_conn *c = (sbxi_proxy_conn *)conn;
    size_t n = (size_t)(c->end - c->at);
    if (!sbxi_proxy_carries(c, room, fault))
        return SBX_IO_FAIL;
    if (n == 0)
        return sbxi_proxy_below(ctx)->recv(sbxi_proxy_ctx_below(ctx), sbxi_proxy_conn_below(c), p, room, got, fault);
    /* Bytes that came together with the proxy's answer. */
    n = n < room ? n : room;
    memcpy(p, c->buf + c->at, n);
    c->at = (uint16_t)(c->at + n);
    *got = n;
    return SBX_IO_OK;
}

static sbx_io sbxi_proxy_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    if (!sbxi_proxy_carries((const sbxi_proxy_conn *)conn, n, fault))
        return SBX_IO_FAIL;
    return sbxi_proxy_below(ctx)->send(sbxi_proxy_ctx_below(ctx), sbxi_proxy_conn_below(conn), p, n, sent, fault);
}

static void sbxi_proxy_close(void *ctx, void *conn)
{
    if (((const sbxi_proxy_conn *)conn)->below)
        sbxi_proxy_below(ctx)->close(sbxi_proxy_ctx_below(ctx), sbxi_proxy_conn_below(conn));
    memset(conn, 0, sizeof(sbxi_proxy_conn));
}

/* ---- what is the lower transport's ---- */

static void sbxi_proxy_watch(void *ctx, void *conn, unsigned bits)
{
    const sbx_transport *lower = sbxi_proxy_below(ctx);
    if (lower->watch && ((const sbxi_proxy_conn *)conn)->below)
        lower->watch(sbxi_proxy_ctx_below(ctx), sbxi_proxy_conn_below(conn), bits);
}

static int sbxi_proxy_wait(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    return sbxi_proxy_below(ctx)->wait(sbxi_proxy_ctx_below(ctx), timeout_ms, ready, max);
}

static void sbxi_proxy_wake(void *ctx)
{
    sbxi_proxy_below(ctx)->wake(sbxi_proxy_ctx_below(ctx));
}

static intptr_t sbxi_proxy_conn_handle(void *ctx, void *conn)
{
    const sbx_transport *lower = sbxi_proxy_below(ctx);
    return lower->conn_handle ? lower->conn_handle(sbxi_proxy_ctx_below(ctx), sbxi_proxy_conn_below(conn)) : -1;
}

static intptr_t sbxi_proxy_poll_handle(void *ctx)
{
    const sbx_transport *lower = sbxi_proxy_below(ctx);
    return lower->poll_handle ? lower->poll_handle(sbxi_proxy_ctx_below(ctx)) : -1;
}

static bool sbxi_proxy_entropy(void *ctx, void *p, size_t n)
{
    return sbxi_proxy_below(ctx)->entropy(sbxi_proxy_ctx_below(ctx), p, n);
}

static int64_t sbxi_proxy_mono_ms(void *ctx)
{
    return sbxi_proxy_below(ctx)->mono_ms(sbxi_proxy_ctx_below(ctx));
}

static int64_t sbxi_proxy_wall_ms(void *ctx)
{
    const sbx_transport *lower = sbxi_proxy_below(ctx);
    return lower->wall_ms ? lower->wall_ms(sbxi_proxy_ctx_below(ctx)) : 0;
}

#define SBXI_PROXY_TABLE(lower, wait, wake)                                                                                             \
    {                                                                                                                                   \
        "proxy", 0, SBXI_PROXY_CTX, 0, SBXI_PROXY_CONN, lower, sbxi_proxy_open, sbxi_proxy_shut, sbxi_proxy_connect, sbxi_proxy_recv,   \
            sbxi_proxy_send, sbxi_proxy_close, sbxi_proxy_watch, wait, wake, sbxi_proxy_conn_handle, sbxi_proxy_poll_handle,            \
            sbxi_proxy_entropy, sbxi_proxy_mono_ms, sbxi_proxy_wall_ms                                                                  \
    }

SBX_API void sbx_proxy(sbx_transport *out, const sbx_transport *lower)
{
    const sbx_transport made = SBXI_PROXY_TABLE(lower, lower->wait ? sbxi_proxy_wait : NULL, lower->wake ? sbxi_proxy_wake : NULL);
    *out = made;
}

#ifdef SBX_POSIX_H
const sbx_transport sbx_proxy_posix = SBXI_PROXY_TABLE(&sbx_posix, sbxi_proxy_wait, sbxi_proxy_wake);
#endif

SBX_EXTERN_C_END
#endif /* SANDBOX_IMPLEMENTATION */
