/* parts: http1 http1_write */
/* Instruction counts of the HTTP/1.1 parser and writer, for callgrind:
     --toggle-collect=count_WORKLOAD ./count_http1 WORKLOAD
   head: heads of 21 fields, with the first bytes of a body behind, read through
   the public API to HEAD by a consumer that compares each name with four it
   knows; only the head's bytes are counted. chunked: 64-byte chunks. fed: the
   same heads, one byte more at each call. write: request heads of 9 fields. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "http1.h"

enum { INPUT = 4096, INPUTS = 512 };

static char input[INPUTS][INPUT];
static size_t input_n[INPUTS];
static unsigned long bytes, frames;

static unsigned next(void)
{
    static unsigned s = 12345;
    s = s * 1103515245u + 12345u;
    return s >> 8;
}

static size_t at;

static void add(const char *s)
{
    for (; *s; s++) {
        char c = *s;
        /* # a digit, % a hexadecimal digit, ^ a letter, & a letter or nothing */
        if (c == '#')
            c = (char)('0' + next() % 10);
        else if (c == '%')
            c = "0123456789abcdef"[next() % 16];
        else if (c == '^' || c == '&')
            c = c == '&' && next() % 2 ? 0 : (char)((next() % 2 ? 'a' : 'A') + next() % 26);
        if (c)
            input[frames][at++] = c;
    }
}

static const char *pick(const char *a, const char *b, const char *c)
{
    unsigned k = next() % 3;
    return k == 0 ? a : k == 1 ? b : c;
}

static void fill_heads(void)
{
    for (frames = 0; frames < INPUTS; frames++) {
        at = 0;
        add(pick("HTTP/1.1 200 OK\r\n", "HTTP/1.1 201 Created\r\n", "HTTP/1.1 404 Not Found\r\n"));
        add(pick("Date: Mon, ## Nov 20## ##:##:## GMT\r\n", "Date: Wed, ## Feb 20## ##:##:## GMT\r\n",
                 "date: Sun, ## Aug 20## ##:##:## GMT\r\n"));
        add(pick("Content-Type: application/json\r\n", "content-type: application/json; charset=utf-8\r\n",
                 "Content-Type: text/plain; charset=utf-8\r\n"));
        add("Content-Length: ####\r\n");
        add(pick("Connection: keep-alive\r\n", "connection: Keep-Alive\r\n", "Connection: keep-alive\r\n"));
        add("Server: &&&&cloud&&&\r\n");
        add("X-Request-Id: %%%%%%%%-%%%%-4%%%-%%%%-%%%%%%%%%%%%\r\n");
        add("CF-Ray: %%%%%%%%%%%%%%%%-^^^\r\n");
        add(pick("CF-Cache-Status: DYNAMIC\r\n", "CF-Cache-Status: HIT\r\n", "X-Cache: Miss from ^^^&&&&front\r\n"));
        add("ETag: W/\"%%%-%%%%%%%%%%%%%%%%%%%%%%%%\"\r\n");
        add(pick("Vary: Accept-Encoding\r\n", "Vary: Origin, Accept-Encoding\r\n", "vary: Cookie\r\n"));
        add(pick("Cache-Control: no-store\r\n", "Cache-Control: private, max-age=##\r\n",
                 "Cache-Control: no-cache, no-store, must-revalidate\r\n"));
        add("Strict-Transport-Security: max-age=31######; includeSubDomains\r\n");
        add("X-Content-Type-Options: nosniff\r\n");
        add(pick("X-Frame-Options: SAMEORIGIN\r\n", "Referrer-Policy: strict-origin-when-cross-origin\r\n",
                 "Content-Security-Policy: frame-ancestors 'self'; object-src 'none'\r\n"));
        add("X-RateLimit-Limit: ###0\r\n");
        add("X-RateLimit-Remaining: ###\r\n");
        add("Alt-Svc: h3=\":443\"; ma=#####00,h3-29=\":443\"; ma=#####00\r\n");
        add("Access-Control-Allow-Origin: *\r\n");
        add("Set-Cookie: sid&&&&=%%%%%%%%%%%%%%%%&&&&&&; Path=/; HttpOnly; Secure\r\n");
        add("Via: 1.1 &&&edge-##\r\n");
        add("X-Envoy-Upstream-Service-Time: ##\r\n");
        add("\r\n");
        bytes += at;
        add("{\"id\":\"%%%%%%%%");
        input_n[frames] = at;
    }
}

static void fill_chunked(void)
{
    for (unsigned i = 0; i < INPUTS; i++) {
        char *p = input[i];
        p += sprintf(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while (p < input[i] + INPUT - 100) {
            p += sbx_http1_chunk(p, 64);
            for (int k = 0; k < 64; k++)
                *p++ = (char)(next() & 255);
            *p++ = '\r';
            *p++ = '\n';
            frames++;
        }
        p += sprintf(p, "0\r\n\r\n");
        input_n[i] = (size_t)(p - input[i]);
        bytes += input_n[i];
    }
}

/* Names are tokens, in which | 0x20 is as good as lower case for letters. */
static bool is(sbx_str name, const char *lower, size_t n)
{
    size_t i = 0;
    if (name.n != n)
        return false;
    while (i < n && (name.p[i] | 0x20) == lower[i])
        i++;
    return i == n;
}

static unsigned known(sbx_str name)
{
    return is(name, "content-type", 12)   ? 1
           : is(name, "retry-after", 11)  ? 2
           : is(name, "x-request-id", 12) ? 3
           : is(name, "location", 8)      ? 4
                                          : 0;
}

static unsigned long read_all(size_t step, sbx_http1_kind last)
{
    unsigned long sum = 0;
    for (unsigned i = 0; i < INPUTS; i++) {
        const char *p = input[i], *end = p + input_n[i], *to = step ? p : end;
        sbx_http1 h;
        sbx_http1_event ev;
        sbx_http1_kind kind = SBX_HTTP1_MORE;
        sbx_http1_init(&h, false, NULL);
        while (kind != last) {
            kind = sbx_http1_read(&h, &p, to, false, &ev);
            if (kind == SBX_HTTP1_HEADER)
                sum += known(ev.name);
            else if (kind == SBX_HTTP1_BODY)
                sum += ev.value.n;
            else if (kind == SBX_HTTP1_ERROR)
                abort();
            else if (kind == SBX_HTTP1_MORE) {
                if (to == end)
                    break;
                to += step;
            }
        }
    }
    return sum;
}

#define READER(name, step, last) \
    SBXI_NOINLINE unsigned long name(void); \
    unsigned long name(void) { return read_all(step, last); }
READER(count_head, 0, SBX_HTTP1_HEAD)
READER(count_fed, 1, SBX_HTTP1_HEAD)
READER(count_chunked, 0, SBX_HTTP1_DONE)

SBXI_NOINLINE unsigned long count_write(void);
unsigned long count_write(void)
{
    unsigned long sum = 0;
    for (unsigned i = 0; i < INPUTS; i++) {
        char out[1024];
        sbx_http1w w;
        const char *id = input[i];
        sbx_http1w_request(&w, out, sizeof out, sbx_s("POST"), sbx_sn(id, 40 + i % 9), sbx_s("api.example.com"));
        sbx_http1w_header(&w, sbx_s("User-Agent"), sbx_s("sandbox.h/1.0"));
        sbx_http1w_header(&w, sbx_s("Accept"), sbx_s("application/json"));
        sbx_http1w_header(&w, sbx_s("Accept-Encoding"), sbx_s("identity"));
        sbx_http1w_header(&w, sbx_s("X-Api-Key"), sbx_sn(id + 100, 50 + i % 7));
        sbx_http1w_header(&w, sbx_s("X-Request-Id"), sbx_sn(id + 200, 36));
        sbx_http1w_header(&w, sbx_s("Content-Type"), sbx_s("application/json"));
        sbx_http1w_header(&w, sbx_s("Idempotency-Key"), sbx_sn(id + 300, 36));
        sbx_http1w_header_u64(&w, sbx_s("Content-Length"), 100 + i);
        sbx_http1w_end(&w);
        if (w.error)
            abort();
        sum += w.n;
    }
    return sum;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "head";
    unsigned long sum;
    if (strcmp(what, "head") == 0) {
        fill_heads();
        sum = count_head();
    } else if (strcmp(what, "fed") == 0) {
        fill_heads();
        sum = count_fed();
    } else if (strcmp(what, "chunked") == 0) {
        fill_chunked();
        sum = count_chunked();
    } else if (strcmp(what, "write") == 0) {
        for (unsigned i = 0; i < INPUTS; i++)
            for (unsigned k = 0; k < INPUT; k++)
                input[i][k] = k ? (char)('a' + next() % 26) : '/';
        frames = INPUTS;
        bytes = sum = count_write();
    } else {
        return 1;
    }
    printf("count_http1 %s bytes=%lu frames=%lu sum=%lu\n", what, bytes, frames, sum);
    return 0;
}
