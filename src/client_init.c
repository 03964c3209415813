#include "client.h"

/* ---- the description ---- */

typedef enum sbxi_memory {
    SBXI_M_CTX, SBXI_M_CONNS, SBXI_M_LINKS, SBXI_M_OPS, SBXI_M_OWNED, /* begin as zeros */
    SBXI_M_RX, SBXI_M_TX, SBXI_M_BLOCKS, SBXI_M_TIMERS, SBXI_M_ENDPOINT, SBXI_M_HEADERS, SBXI_M_AGENT, SBXI_M_COUNT
} sbxi_memory;

#define SBXI_TEXT_OF(x) #x
#define SBXI_VERSION(major, minor, patch) SBXI_TEXT_OF(major) "." SBXI_TEXT_OF(minor) "." SBXI_TEXT_OF(patch)

static const char sbxi_product[] = "sandbox.h/" SBXI_VERSION(SBX_VERSION_MAJOR, SBX_VERSION_MINOR, SBX_VERSION_PATCH);

static size_t sbxi_block_size(const sbx_client_desc *d)
{
    return sbxi_align(sbxi_add(sizeof(sbxi_block), d->request_bytes));
}

static size_t sbxi_agent_size(const sbx_client_desc *d)
{
    return sizeof sbxi_product + (d->user_agent ? strlen(d->user_agent) + 1 : 0);
}

static size_t sbxi_headers_size(const sbx_client_desc *d)
{
    size_t n = 0;

    sbxi_header_lines(NULL, 0, &n, d->headers, d->headers_n);
    return n + (d->tenant_id ? sizeof "X-Tenant-Id: \r\n" - 1 + strlen(d->tenant_id) : 0);
}

/* The one layout: sbx_client_size adds it up, sbx_client_init carves by it. */
static void sbxi_sizes(const sbx_client_desc *d, size_t n[SBXI_M_COUNT])
{
    n[SBXI_M_CTX] = sbxi_ctx_size(d->transport, d->max_links);
    n[SBXI_M_CONNS] = sbxi_mul(sbxi_conn_size(d->transport), d->max_links);
    n[SBXI_M_LINKS] = sbxi_mul(sizeof(sbxi_link), d->max_links);
    n[SBXI_M_RX] = sbxi_mul(sbxi_align(d->rx_bytes), d->buffers);
    n[SBXI_M_TX] = sbxi_mul(sbxi_align(d->tx_bytes), d->buffers);
    n[SBXI_M_OPS] = sbxi_mul(sizeof(sbxi_op), d->max_ops);
    n[SBXI_M_BLOCKS] = sbxi_mul(sbxi_block_size(d), d->max_requests);
    n[SBXI_M_TIMERS] = sbxi_mul(SBXI_TIMER_BYTES, d->max_ops);
    n[SBXI_M_OWNED] = SBX_NO_OWNED ? 0 : sbxi_mul(sizeof(sbxi_owned), d->max_owned);
    n[SBXI_M_ENDPOINT] = d->endpoint ? strlen(d->endpoint) + 1 : 1;
    n[SBXI_M_HEADERS] = sbxi_headers_size(d);
    n[SBXI_M_AGENT] = sbxi_agent_size(d);
}

/* A number of the description: what 0 stands for, and what is allowed. */
typedef struct sbxi_setting {
#if !SBX_NO_ERROR_TEXT
    const char *name;
#endif
    uint8_t off, most; /* most: the exponent of 2; 0 = no limit, or a time */
    uint16_t least;
    uint32_t value;
} sbxi_setting;

#if SBX_NO_ERROR_TEXT
#define SBXI_SETTING_NAME(member)
#define SBXI_NAME_OF(s) ""
#else
#define SBXI_SETTING_NAME(member) #member,
#define SBXI_NAME_OF(s) ((s)->name)
#endif
#define SBXI_SETTING(member, least, most, value) { SBXI_SETTING_NAME(member) (uint8_t)offsetof(sbx_client_desc, member), most, least, value }
#define SBXI_SETTING_TIME UINT16_MAX
#define SBXI_SETTING_MS(member, value) SBXI_SETTING(member, SBXI_SETTING_TIME, 0, (uint32_t)(value))

static const sbxi_setting sbxi_settings[] = {
    SBXI_SETTING(max_ops, 1, 24, 64), SBXI_SETTING(max_links, 1, 24, 32), SBXI_SETTING(max_connects, 1, 0, 16),
    SBXI_SETTING(max_requests, 1, 24, 16), SBXI_SETTING(request_bytes, 256, 28, 4096), SBXI_SETTING(buffers, 2, 24, 4),
    SBXI_SETTING(rx_bytes, 512, 28, 16384), SBXI_SETTING(tx_bytes, 1024, 28, 4096), SBXI_SETTING(max_owned, 0, 20, 4),
    SBXI_SETTING(head_bytes, 256, 28, 65536),
    SBXI_SETTING_MS(timeout_ms, 10000), SBXI_SETTING_MS(total_ms, SBX_FOREVER), SBXI_SETTING_MS(connect_ms, 10000),
    SBXI_SETTING_MS(idle_ms, 30000), SBXI_SETTING_MS(close_ms, 10000), SBXI_SETTING_MS(max_retries, 3),
    SBXI_SETTING_MS(ws_open_ms, 30000), SBXI_SETTING_MS(ws_connect_budget_ms, 120000),
    SBXI_SETTING_MS(ws_ping_interval_ms, 30000), SBXI_SETTING_MS(ws_ping_ms, 60000), SBXI_SETTING_MS(ws_close_ms, 10000), SBXI_SETTING_MS(sse_read_ms, 60000),
};

/* The table's offsets take a byte. */
typedef char sbxi_settings_fit[sizeof(sbx_client_desc) <= 256 ? 1 : -1];

static void sbxi_desc_defaults(sbx_client_desc *d)
{
    for (size_t i = 0; i < SBXI_COUNT(sbxi_settings); i++) {
        uint32_t *v = (uint32_t *)(void *)((char *)d + sbxi_settings[i].off);

        if (!*v)
            *v = sbxi_settings[i].value;
    }
}

/* The name of an option that is out of range, or NULL. */
static const char *sbxi_desc_range(const sbx_client_desc *d, const char **why, uint32_t *limit)
{
    *limit = 0;
    for (size_t i = 0; i < SBXI_COUNT(sbxi_settings); i++) {
        const sbxi_setting *s = &sbxi_settings[i];
        uint32_t v = *(const uint32_t *)(const void *)((const char *)d + s->off), most = s->most ? (uint32_t)1 << s->most : UINT32_MAX;

        *why = SBXI_T("must be positive, 0 (the default) or -1 (SBX_FOREVER, or SBX_NONE where the option knows it)");
        if (s->least == SBXI_SETTING_TIME) {
            if ((int32_t)v < SBX_FOREVER)
                return SBXI_NAME_OF(s);
            continue;
        }
        if (v >= s->least && v <= most)
            continue;
        *why = v < s->least ? SBXI_T("must be at least ") : SBXI_T("must be at most ");
        *limit = v < s->least ? s->least : most;
        return SBXI_NAME_OF(s);
    }
    *why = SBXI_T("must be 100 at most");
    return d->max_retries > 100 ? SBXI_T("max_retries") : NULL;
}

#if !SBX_NO_ERROR_TEXT
static bool sbxi_url_begins(sbx_str url, const char *scheme)
{
    size_t n = strlen(scheme);

    return url.n >= n && sbxi_eq_nocase(sbx_sn(url.p, n), sbx_sn(scheme, n));
}
#endif

/* What is wrong with a URL that sbxi_url_parse refuses. */
static const char *sbxi_url_why(sbx_str url)
{
#if SBX_NO_ERROR_TEXT
    (void)url;
#else
    if (!sbxi_url_begins(url, "https://") && !sbxi_url_begins(url, "http://"))
        return "must begin with https:// or http://, such as https://api.smith.langchain.com/v2/sandboxes";
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] == '@')
            return "must not have @, or a user and password (the key goes into api_key)";
        if (url.p[i] == '?' || url.p[i] == '#')
            return "must not have a query or fragment (? or #)";
        if ((unsigned char)url.p[i] <= ' ' || (unsigned char)url.p[i] >= 0x7f || url.p[i] == '\\')
            return "must not have spaces, control characters, backslashes or bytes beyond ASCII";
    }
#endif
    return SBXI_T("must name a host (253 bytes at most; an IPv6 address in brackets) and, if any, a port of 1 to 65535");
}

static const char *sbxi_desc_bad(const sbx_client_desc *d, const char **why)
{
    sbxi_url url;
    size_t n = 0;

    if (!d->endpoint || !sbxi_url_parse(sbx_s(d->endpoint), &url)) {
        *why = sbxi_url_why(sbx_s(d->endpoint ? d->endpoint : ""));
        return SBXI_T("endpoint");
    }
    if (d->api_key && strlen(d->api_key) >= sizeof(((sbx_client *)0)->key)) {
        *why = SBXI_T("must be 511 bytes at most");
        return SBXI_T("api_key");
    }
    *why = SBXI_T("must not have CR, LF or other control characters");
    if (d->api_key && !sbx_http1_value_ok(sbx_s(d->api_key)))
        return SBXI_T("api_key");
    if (d->tenant_id && !sbx_http1_value_ok(sbx_s(d->tenant_id)))
        return SBXI_T("tenant_id");
    if (d->user_agent && !sbx_http1_value_ok(sbx_s(d->user_agent)))
        return SBXI_T("user_agent");
    *why = sbxi_header_lines(NULL, 0, &n, d->headers, d->headers_n);
    if (*why)
        return SBXI_T("headers");
    *why = SBXI_T("is not in this build (SBX_NO_TRACE)");
    if (SBX_NO_TRACE && d->trace)
        return SBXI_T("trace");
    if (!d->transport || !d->transport->connect || !d->transport->recv || !d->transport->send || !d->transport->close || !d->transport->mono_ms || !d->transport->entropy) {
        *why = SBXI_T("must be given (&sbx_ports = the program moves the bytes), with connect, recv, send, close, entropy and mono_ms");
        return SBXI_T("transport");
    }
    return NULL;
}

/* One slot is kept for the deletions of sbx_shutdown, whatever ENDs hold. */
static uint32_t sbxi_op_slots(uint32_t max_ops)
{
    return max_ops + (max_ops < UINT32_MAX);
}

SBX_API size_t sbx_client_size(const sbx_client_desc *desc)
{
    sbx_client_desc d = *desc;
    size_t n[SBXI_M_COUNT], sum = 15 + sbxi_align(sizeof(sbx_client));

    sbxi_desc_defaults(&d);
    d.max_ops = sbxi_op_slots(d.max_ops);
    sbxi_sizes(&d, n);
    for (unsigned i = 0; i < SBXI_M_COUNT; i++)
        sum = sbxi_add(sum, sbxi_align(n[i]));
    return sum;
}

/* ---- laying out ---- */

static sbx_code sbxi_init_error(sbx_error *err, sbx_code code, const char *field, const char *text)
{
    if (err)
        sbxi_error_local(err, code, "client_init", field, text);
    return code;
}

/* Behind a text that ends with a space. */
static void sbxi_init_number(sbx_error *err, uint64_t v)
{
#if !SBX_NO_ERROR_TEXT
    char digits[20];
    size_t n = sbxi_u64_text(digits, v);

    if (err)
        sbxi_copy_text(err->text + strlen(err->text), n + 1, sbx_sn(digits, n));
#else
    (void)err;
    (void)v;
#endif
}

static sbx_code sbxi_init_memory(sbx_error *err, size_t need)
{
    sbxi_init_error(err, SBX_ERR_MEMORY, NULL, SBXI_T("too little memory; bytes needed: "));
    sbxi_init_number(err, need);
    return SBX_ERR_MEMORY;
}

/* What can be judged without any memory: a number that is absurd is said to be
   so, and not what it would need. */
static SBXI_NOINLINE sbx_code sbxi_init_range(const sbx_client_desc *desc, sbx_error *err)
{
    sbx_client_desc d = *desc;
    const char *why, *bad;
    uint32_t limit;

    sbxi_desc_defaults(&d);
    bad = sbxi_desc_range(&d, &why, &limit);
    if (!bad)
        return SBX_OK;
    sbxi_init_error(err, SBX_ERR_ARGUMENT, bad, why);
    if (limit)
        sbxi_init_number(err, limit);
    return SBX_ERR_ARGUMENT;
}

static void sbxi_copy_headers(sbx_client *c, const sbx_client_desc *d, char *p, size_t cap)
{
    size_t n = 0;

    if (d->tenant_id) {
        sbx_header h;

        h.name = sbx_s("X-Tenant-Id");
        h.value = sbx_s(d->tenant_id);
        sbxi_header_lines(p, cap, &n, &h, 1);
    }
    sbxi_header_lines(p, cap, &n, d->headers, d->headers_n);
    c->headers = p;
    c->headers_n = n;
}

static void sbxi_fill_ops(sbx_client *c)
{
    c->free_head = SBXI_NIL;
    for (uint32_t i = c->desc.max_ops; i-- > 0;) {
        c->ops[i].gen = 1;
        c->ops[i].node.next = c->free_head;
        c->free_head = i;
    }
    for (unsigned i = 0; i < SBXI_LIST_COUNT; i++)
        sbxi_list_init(&c->lists[i]);
}

static void sbxi_fill_agent(sbx_client *c)
{
    const char *first = c->desc.user_agent;
    size_t n = first ? strlen(first) : 0;

    if (n) {
        memcpy(c->agent, first, n);
        c->agent[n++] = ' ';
    }
    memcpy(c->agent + n, sbxi_product, sizeof sbxi_product);
}

/* Carves in the order of sbxi_memory; p stands behind the client itself. */
static SBXI_NOINLINE void sbxi_client_fill(sbx_client *c, char *p, const size_t *sizes)
{
    const sbx_client_desc *d = &c->desc;
    char *at[SBXI_M_COUNT];

    for (unsigned i = 0; i < SBXI_M_COUNT; i++) {
        at[i] = p;
        p += sbxi_align(sizes[i]);
    }
    memset(at[0], 0, (size_t)(at[SBXI_M_RX] - at[0])); /* ports are looked at before they are ever used */
    c->net.ctx = at[SBXI_M_CTX];
    c->net.conns = at[SBXI_M_CONNS];
    c->net.links = (sbxi_link *)(void *)at[SBXI_M_LINKS];
    sbxi_net_init(&c->net, d, at[SBXI_M_RX], at[SBXI_M_TX]);
    c->ops = (sbxi_op *)(void *)at[SBXI_M_OPS];
    sbxi_fill_ops(c);
    sbxi_pool_init(&c->blocks, at[SBXI_M_BLOCKS], sbxi_block_size(d), d->max_requests);
    sbxi_timers_init(&c->timers, at[SBXI_M_TIMERS], d->max_ops);
    c->owned = (sbxi_owned *)(void *)at[SBXI_M_OWNED];
    c->endpoint = at[SBXI_M_ENDPOINT];
    memcpy(c->endpoint, d->endpoint, sizes[SBXI_M_ENDPOINT]);
    sbxi_url_parse(sbx_s(c->endpoint), &c->base);
    sbxi_copy_headers(c, d, at[SBXI_M_HEADERS], sizes[SBXI_M_HEADERS]);
    c->agent = at[SBXI_M_AGENT];
    sbxi_fill_agent(c);
    if (d->api_key) {
        c->key_n = strlen(d->api_key);
        memcpy(c->key, d->api_key, c->key_n);
    }
    c->borrowed = c->blocked = c->shutdown = SBXI_NIL;
}

/* Opens the transport and takes its first random bytes. */
static SBXI_NOINLINE sbx_code sbxi_client_transport(sbx_client *c, sbx_error *err)
{
    const sbx_transport *t = c->net.t;
    sbx_fault fault;

    memset(&fault, 0, sizeof fault);
    if (sbx_transport_open(t, c->net.ctx, c->desc.transport_config, c->desc.max_links, &fault) != SBX_OK)
        return sbxi_init_error(err, fault.code ? fault.code : SBX_ERR_UNSUPPORTED, "transport", fault.text);
    if (!SBXI_IS_PORTS(t) && !t->entropy(c->net.ctx, c->net.seed, sizeof c->net.seed)) {
        if (t->shut)
            t->shut(c->net.ctx);
        return sbxi_init_error(err, SBX_ERR_ENTROPY, NULL, NULL);
    }
    return SBX_OK;
}

SBX_API sbx_code sbx_client_init(void *mem, size_t n, const sbx_client_desc *desc, sbx_client **out, sbx_error *err)
{
    size_t sizes[SBXI_M_COUNT], need = sbx_client_size(desc);
    sbx_client *c;
    const char *why, *bad;
    sbx_code code;

    *out = NULL;
    code = sbxi_init_range(desc, err);
    if (code != SBX_OK)
        return code;
    if (!mem || n < sizeof *c + 15)
        return sbxi_init_memory(err, need);
    c = (sbx_client *)(void *)((char *)mem + (16 - ((uintptr_t)mem & 15)) % 16);
    memset(c, 0, sizeof *c);
    c->desc = *desc;
    sbxi_desc_defaults(&c->desc);
    bad = sbxi_desc_bad(&c->desc, &why);
    if (bad)
        return sbxi_init_error(err, SBX_ERR_ARGUMENT, bad, why);
    if (need == SIZE_MAX || n < need)
        return sbxi_init_memory(err, need);
    c->desc.max_ops = sbxi_op_slots(c->desc.max_ops);
    sbxi_sizes(&c->desc, sizes);
    sbxi_client_fill(c, (char *)c + sbxi_align(sizeof *c), sizes);
    c->memory = n;
    c->mem = mem;
    code = sbxi_client_transport(c, err);
    /* What was copied is not to be read through the caller's pointers again. */
    c->desc.endpoint = c->desc.api_key = c->desc.tenant_id = c->desc.user_agent = NULL;
    c->desc.headers = NULL;
    c->desc.headers_n = 0;
    if (code != SBX_OK) {
        memset(mem, 0, n);
        return code;
    }
    c->net.now = c->net.t->mono_ms(c->net.ctx);
    *out = c;
    return SBX_OK;
}

SBX_API sbx_code sbx_set_api_key(sbx_client *c, sbx_str key)
{
    if (key.n >= sizeof c->key || !sbx_http1_value_ok(key))
        return SBX_ERR_ARGUMENT;
    memset(c->key, 0, sizeof c->key);
    if (key.n)
        memcpy(c->key, key.p, key.n);
    c->key_n = key.n;
    return SBX_OK;
}

SBX_API void sbx_get_usage(const sbx_client *c, sbx_usage *out)
{
    *out = c->net.usage;
    out->memory = c->memory;
    out->ops = c->ops_used;
    out->links = c->net.links_used;
    out->requests = c->blocks.used;
    out->requests_high = c->blocks.high;
    out->rx_high = c->net.rx.high;
    out->tx_high = c->net.tx.high;
    out->timers_high = c->timers.high;
}

SBX_API const char *sbx_version(void)
{
    return sbxi_product + sizeof "sandbox.h/" - 1;
}

/* ---- codes ---- */

/* One text, so that a program that names no code does not link it. */
#define SBXI_CODE_NAME(name, text) "SBX_" #name "\0"
static const char sbxi_code_names[] = SBX_CODES(SBXI_CODE_NAME) "SBX_ERR_?";
#undef SBXI_CODE_NAME

SBX_API const char *sbx_code_name(sbx_code code)
{
    return sbxi_text_at(sbxi_code_names, SBXI_MIN((unsigned)code, (unsigned)SBX_CODE_COUNT));
}

SBX_API const char *sbx_code_text(sbx_code code)
{
#if SBX_NO_ERROR_TEXT
    (void)code;
    return "";
#else
#define SBXI_CODE_TEXT(name, text) text,
    static const char *const texts[] = { SBX_CODES(SBXI_CODE_TEXT) };
#undef SBXI_CODE_TEXT

    return (unsigned)code < SBX_CODE_COUNT ? texts[code] : "unknown code";
#endif
}
