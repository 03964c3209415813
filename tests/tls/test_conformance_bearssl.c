/* The BearSSL transport over the POSIX one, the conformance suite over TLS. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_posix.h"
#include "sandbox_bearssl.h"

#define SBXT_HALF_CLOSE 0 /* in TLS 1.2 one side's end is both sides' */
#include "../transport/conformance.h"
#include "wire.h"

static const void *trusting(const char *ca_file)
{
    static sbx_bearssl_config config;

    config.ca_file = ca_file;
    return &config;
}

int main(void)
{
    return tls_conformance(&sbx_bearssl_posix, trusting);
}
