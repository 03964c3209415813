/* The libcurl transport beside TLS servers right and wrong. */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_curl.h"
#include "cases.h"

static const void *config(const tls_wish *wish)
{
    static sbx_curl_config k;

    memset(&k, 0, sizeof k);
    k.ca_file = wish->ca_file;
    k.ca_dir = wish->ca_dir;
    k.cert = wish->cert;
    k.key = wish->key;
    k.proxy = wish->proxy ? wish->proxy : "";
    k.proxy_ca_file = wish->proxy_ca;
    k.insecure_no_verify = wish->insecure;
    return &k;
}

int main(void)
{
    static const tls_rig rig = { "curl", &sbx_curl, config, .tls13 = true, .tickets = true, .renegotiates = true,
                                 .client_certs = true, .proxies = true, .insecure = true };

    return tls_main(&rig);
}
