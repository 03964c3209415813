/* parts: ws text */
/* The frames of count_ws, read by wslay's frame layer. */
#define main own_main
#include "count_ws.c"
#undef main
#include <wslay/wslay.h>

typedef struct source {
    const char *p, *end;
} source;

static ssize_t receive(uint8_t *to, size_t n, int flags, void *user)
{
    source *s = (source *)user;
    size_t left = (size_t)(s->end - s->p);
    (void)flags;
    if (!left)
        return -1;
    n = n < left ? n : left;
    memcpy(to, s->p, n);
    s->p += n;
    return (ssize_t)n;
}

SBXI_NOINLINE unsigned long count_peer(wslay_frame_context_ptr context, source *s);
unsigned long count_peer(wslay_frame_context_ptr context, source *s)
{
    unsigned long sum = 0;
    for (unsigned i = 0; i < INPUTS; i++) {
        struct wslay_frame_iocb frame;
        ssize_t got;
        s->p = input[i];
        s->end = s->p + input_n[i];
        while ((got = wslay_frame_recv(context, &frame)) >= 0)
            sum += (unsigned long)got;
        if (got != WSLAY_ERR_WANT_READ)
            abort();
    }
    return sum;
}

int main(void)
{
    struct wslay_frame_callbacks callbacks = { NULL, receive, NULL };
    wslay_frame_context_ptr context;
    source s = { NULL, NULL };
    unsigned long bytes;
    if (wslay_frame_context_init(&context, &callbacks, &s))
        return 1;
    fill(SBX_WS_OP_TEXT, 64, false, NULL);
    bytes = count_peer(context, &s);
    wslay_frame_context_free(context);
    printf("peer_ws text64 bytes=%lu frames=%u\n", bytes, frames);
    return bytes != 64ul * frames;
}
