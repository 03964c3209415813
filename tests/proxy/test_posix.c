/* The proxy suite over the proxy transport, on plain TCP. */
#define SANDBOX_IMPLEMENTATION
#include "proxy.h"
#include "sandbox_posix.h"
#include "sandbox_proxy.h"

static const void *config(const proxy_use *use)
{
    static sbx_proxy_config f;

    memset(&f, 0, sizeof f);
    f.url = use->url;
    f.no_proxy = use->no_proxy;
    f.user = use->user;
    f.password = use->password;
    return &f;
}

int main(void)
{
    static const proxy_kind kind = { &sbx_proxy_posix, config, false };

    return proxy_main(&kind);
}
