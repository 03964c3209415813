/* Size of the stream multiplexer alone: a stream opened, used both ways, ended.
   The texts of its reasons are left out. */
#include "sandbox.h"

extern char in[], out[];
char in[512], out[SBX_YAMUX_HEAD];

int main(void)
{
    sbx_yamux y;
    sbx_yamux_stream streams[4], *s;
    sbx_yamux_event ev;
    sbx_yamux_kind kind;
    const char *p = in;
    unsigned char *to = (unsigned char *)out;
    size_t n = sizeof in;

    sbx_yamux_init(&y, false, streams, 4, 0);
    s = sbx_yamux_open(&y);
    n = s ? sbx_yamux_data(s, &n, to) : 0;
    do
        kind = sbx_yamux_read(&y, &p, in + sizeof in, &ev);
    while (kind != SBX_YAMUX_ERROR && kind != SBX_YAMUX_MORE && kind != SBX_YAMUX_EOF);
    n += sbx_yamux_sendable(s);
    sbx_yamux_consumed(s, ev.n);
    n += sbx_yamux_update(&y, s, to) + sbx_yamux_ping(&y, to) + sbx_yamux_goaway(&y, SBX_YAMUX_NORMAL, to);
    return (int)(n + sbx_yamux_drop(&y, s, to));
}
