/* The proxy suite over libcurl. */
#define SANDBOX_IMPLEMENTATION
#include "proxy.h"
#include "sandbox_curl.h"

static const void *config(const proxy_use *use)
{
    static sbx_curl_config f;

    memset(&f, 0, sizeof f);
    f.proxy = use->url;
    f.no_proxy = use->no_proxy;
    f.proxy_user = use->user;
    f.proxy_password = use->password;
    return &f;
}

int main(void)
{
    static const proxy_kind kind = { &sbx_curl, config, true };

    return proxy_main(&kind);
}
