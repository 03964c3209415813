/* The conformance suite as a user runs it, over a transport of a user's kind:
   a few functions around another one's, which send and receive little at a
   time, and hold fewer connections. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"

#define SBXT_CONNS 8
#include "conformance.h"

enum { PIECE = 1009 };

static sbx_io little_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    return sbx_posix.recv(ctx, conn, p, room < PIECE ? room : PIECE, got, fault);
}

static sbx_io little_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    return sbx_posix.send(ctx, conn, p, n < PIECE ? n : PIECE, sent, fault);
}

static sbx_code little_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    assert_true(max_conns <= SBXT_CONNS);
    return sbx_posix.open(ctx, config, max_conns, fault);
}

int main(void)
{
    static const sbx_posix_config config = { .address_timeout_ms = 1000 };
    sbx_transport little = sbx_posix;
    sbxt_suite suite = { .t = &little, .config = &config };

    little.name = "own";
    little.open = little_open;
    little.recv = little_recv;
    little.send = little_send;
    return sbxt_main(&suite);
}
