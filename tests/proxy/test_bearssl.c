/* The proxy suite over TLS over the proxy transport: beside a sandboxd that
   speaks https. */
#define SANDBOX_IMPLEMENTATION
#include "proxy.h"
#include "sandbox_posix.h"
#include "sandbox_proxy.h"
#include "sandbox_bearssl.h"

static const void *config(const proxy_use *use)
{
    static sbx_proxy_config below;
    static sbx_bearssl_config f;

    memset(&below, 0, sizeof below);
    below.url = use->url;
    below.no_proxy = use->no_proxy;
    below.user = use->user;
    below.password = use->password;
    memset(&f, 0, sizeof f);
    f.lower_config = &below;
    f.ca_file = getenv("SANDBOXD_CA");
    return &f;
}

int main(void)
{
    static sbx_transport tls;
    static const proxy_kind kind = { &tls, config, false };

    if (sbx_bearssl(&tls, &sbx_proxy_posix, NULL))
        return 1;
    return proxy_main(&kind);
}
