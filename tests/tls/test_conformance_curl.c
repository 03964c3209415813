/* The libcurl transport, the conformance suite over TLS. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_curl.h"

#include "../transport/conformance.h"
#include "wire.h"

static const void *trusting(const char *ca_file)
{
    static sbx_curl_config config;

    config.ca_file = ca_file;
    return &config;
}

int main(void)
{
    return tls_conformance(&sbx_curl, trusting);
}
