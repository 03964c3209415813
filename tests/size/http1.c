/* Size of the HTTP/1.1 writer and parser alone: one request and its answer. */
#include "sandbox.h"

extern char in[], out[];
char in[512], out[512];

int main(void)
{
    sbx_http1 h;
    sbx_http1w w;
    sbx_http1_event ev;
    sbx_http1_kind kind;
    const char *p = in;

    sbx_http1w_request(&w, out, sizeof out, sbx_s("POST"), sbx_s("/boxes"), sbx_s("localhost"));
    sbx_http1w_header(&w, sbx_s("X-Api-Key"), sbx_sn(in, 8));
    sbx_http1w_header_u64(&w, sbx_s("Content-Length"), 2);
    sbx_http1w_end(&w);
    sbx_http1_init(&h, false, NULL);
    do
        kind = sbx_http1_read(&h, &p, in + sizeof in, true, &ev);
    while (kind != SBX_HTTP1_DONE && kind != SBX_HTTP1_ERROR && kind != SBX_HTTP1_MORE && kind != SBX_HTTP1_UPGRADE);
    sbx_http1_eof(&h);
    return w.error + (int)sbx_http1_chunk(out, h.length);
}
