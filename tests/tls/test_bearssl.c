/* The BearSSL transport over the POSIX one, beside TLS servers right and wrong. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"
#include "sandbox_bearssl.h"
#include "cases.h"

static const void *config(const tls_wish *wish)
{
    static sbx_bearssl_config k;

    memset(&k, 0, sizeof k);
    k.ca_file = wish->ca_file;
    k.ca_dir = wish->ca_dir;
    return &k;
}

int main(void)
{
    static const tls_rig rig = { .name = "bearssl", .transport = &sbx_bearssl_posix, .config = config };

    return tls_main(&rig);
}
