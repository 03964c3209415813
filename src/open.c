#include "client.h"

#if !SBX_NO_MALLOC
#include <stdlib.h>

SBXI_FN void sbxi_heap_free(void *p)
{
    free(p);
}

static const char sbxi_default_endpoint[] = "https://api.smith.langchain.com";
static const char sbxi_endpoint_path[] = "/v2/sandboxes";

/* A blank value counts as unset. */
static const char *sbxi_env(const char *name)
{
    const char *v = getenv(name);

    if (v && v[strspn(v, " \t\r\n")])
        return v;
    return NULL;
}

static const char *sbxi_env2(const char *a, const char *b)
{
    const char *v = sbxi_env(a);

    return v ? v : sbxi_env(b);
}

/* Seconds as a decimal; <= 0 switches the limit off, what cannot be read is
   ignored. */
static void sbxi_env_seconds(int32_t *ms, const char *name)
{
    static const char *const prefixes[] = { "LANGSMITH", "LANGCHAIN" };
    char full[64];

    for (unsigned i = 0; i < SBXI_COUNT(prefixes) && !*ms; i++) {
        const char *v;
        double s;
        size_t n = strlen(prefixes[i]), m = strlen(name);
        sbx_str text;

        memcpy(full, prefixes[i], n);
        memcpy(full + n, name, m + 1);
        v = sbxi_env(full);
        if (!v)
            continue;
        text = sbx_s(v);
        while (text.n && (*text.p == ' ' || *text.p == '\t')) {
            text.p++;
            text.n--;
        }
        while (text.n && strchr(" \t\r\n", text.p[text.n - 1]))
            text.n--;
        if (!sbx_json_f64(text, &s))
            continue;
        *ms = s <= 0 ? SBX_FOREVER : s * 1000 >= INT32_MAX ? INT32_MAX : s < 0.001 ? 1 : (int32_t)(s * 1000);
    }
}

static char *sbxi_env_endpoint(void)
{
    const char *v = sbxi_env2("LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT");
    size_t n;
    char *p;

    if (!v)
        v = sbxi_default_endpoint;
    n = strlen(v);
    while (n && (v[n - 1] == '/' || v[n - 1] == ' '))
        n--;
    p = (char *)malloc(n + sizeof sbxi_endpoint_path);
    if (!p)
        return NULL;
    memcpy(p, v, n);
    memcpy(p + n, sbxi_endpoint_path, sizeof sbxi_endpoint_path);
    return p;
}

static void *sbxi_heap_resize(void *user, void *p, size_t n)
{
    (void)user;
    if (n)
        return realloc(p, n);
    free(p);
    return NULL;
}

static sbx_code sbxi_open_desc(const sbx_client_desc *d, sbx_client **out, sbx_error *err)
{
    size_t n = sbx_client_size(d);
    void *mem = n == SIZE_MAX ? NULL : malloc(n);
    /* Without memory it says what is wrong, or how much would be needed. */
    sbx_code code = sbx_client_init(mem, mem ? n : 0, d, out, err);

    if (code == SBX_OK) {
        (*out)->from_malloc = true;
        (*out)->mem = mem;
    } else {
        free(mem);
    }
    return code;
}

SBX_API sbx_code sbx_open(const sbx_client_desc *desc, sbx_client **out, sbx_error *err)
{
    sbx_client_desc d = *desc;
    char *endpoint = NULL;
    sbx_code code;

    *out = NULL;
    if (!d.endpoint)
        d.endpoint = endpoint = sbxi_env_endpoint();
    if (!d.api_key)
        d.api_key = sbxi_env2("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY");
    if (!d.config)
        d.config = SBX_CONFIG;
    if (!d.resize)
        d.resize = sbxi_heap_resize;
    sbxi_env_seconds(&d.ws_open_ms, "_SANDBOX_WS_TIMEOUT_OPEN");
    sbxi_env_seconds(&d.ws_ping_interval_ms, "_SANDBOX_WS_TIMEOUT_PING_INTERVAL");
    sbxi_env_seconds(&d.ws_ping_ms, "_SANDBOX_WS_TIMEOUT_PING");
    sbxi_env_seconds(&d.ws_close_ms, "_SANDBOX_WS_TIMEOUT_CLOSE");
    sbxi_env_seconds(&d.ws_connect_budget_ms, "_SANDBOX_WS_TIMEOUT_CONNECT_BUDGET");
    sbxi_env_seconds(&d.sse_read_ms, "_SANDBOX_SSE_TIMEOUT_READ");
    code = sbxi_open_desc(&d, out, err);
    free(endpoint);
    return code;
}
#else
SBXI_FN void sbxi_heap_free(void *p)
{
    (void)p;
}
#endif
