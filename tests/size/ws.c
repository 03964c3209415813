/* Size of the WebSocket framer alone: handshake, a message each way, close. */
#include "sandbox.h"

extern char in[], out[];
char in[512], out[512];

int main(void)
{
    sbx_ws ws;
    sbx_ws_event ev;
    sbx_ws_kind kind;
    char *p = in;
    const unsigned char *mask = (const unsigned char *)in;
    size_t n;

    sbx_ws_key(out, mask);
    sbx_ws_accept(out + 24, sbx_sn(out, 24));
    sbx_ws_init(&ws, 0, 0);
    do
        kind = sbx_ws_read(&ws, &p, in + sizeof in, &ev);
    while (kind != SBX_WS_ERROR && kind != SBX_WS_MORE && kind != SBX_WS_CLOSE);
    n = sbx_ws_head((unsigned char *)out, SBX_WS_OP_TEXT, true, sizeof in, mask);
    sbx_ws_mask(in, sizeof in, mask, 0);
    return (int)(n + sbx_ws_close_payload((unsigned char *)out + n, 1000, sbx_sn(in, 9)));
}
