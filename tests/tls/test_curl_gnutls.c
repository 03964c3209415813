/* The libcurl transport over a libcurl with GnuTLS in place of OpenSSL. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_curl.h"
#include "cases.h"

static const void *config(const tls_wish *wish)
{
    static sbx_curl_config k;

    memset(&k, 0, sizeof k);
    k.ca_file = wish->ca_file;
    k.cert = wish->cert;
    k.key = wish->key;
    k.proxy = "";
    return &k;
}

int main(void)
{
    static const tls_rig rig = { "curl, GnuTLS", &sbx_curl, config, .tls13 = true, .client_certs = true, .only_right = true };

    return tls_main(&rig);
}
