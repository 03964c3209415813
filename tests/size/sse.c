/* Size of the reader of event streams alone. */
#include "sandbox.h"

extern char in[];
char in[512];

int main(void)
{
    sbx_sse sse;
    sbx_sse_event ev;
    sbx_sse_kind kind;
    char *p = in;

    sbx_sse_init(&sse);
    do
        kind = sbx_sse_read(&sse, &p, in + sizeof in, &ev);
    while (kind != SBX_SSE_MORE && kind != SBX_SSE_END);
    return ev.dispatch;
}
