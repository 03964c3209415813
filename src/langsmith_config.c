#include "service.h"

#if !SBX_NO_CONFIG

/* A member of `type`; flags besides its kind. */
#define SBXI_CONF(name, option, kind, type, member) { SBXI_PARAM_NAMES(name, option), (uint8_t)(kind), 0, (uint16_t)offsetof(type, member), 0, NULL }
#define SBXI_CONF_SUB(name, option, kind, type, member, sub) { SBXI_PARAM_NAMES(name, option), (uint8_t)(kind), 0, (uint16_t)offsetof(type, member), 0, sub }
/* Members that stand in the struct around them: their object begins where it does. */
#define SBXI_CONF_GROUP(name, kind, sub) { SBXI_PARAM_NAMES(name, ""), (uint8_t)(kind), 0, 0, 0, sub }
#define SBXI_SHAPE(params, type, begin) { { params, SBXI_COUNT(params), 0 }, (uint16_t)sizeof(type), begin }

#define SBXI_NEED_STR (SBXI_P_STR | SBXI_P_NEED)
#define SBXI_FILLED_STR (SBXI_P_STR | SBXI_P_FILLED)

static bool sbxi_space(char c)
{
    return (unsigned char)c <= ' ';
}

/* ---- secrets ---- */

static const char sbxi_why_given[] = SBXI_T("must be given");

/* {NAME}: whether the braces of a value are paired, not nested and not empty. */
static bool sbxi_braces_ok(sbx_str v, size_t *pairs)
{
    size_t open = SIZE_MAX;
    bool named = false;

    *pairs = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '{') {
            if (open != SIZE_MAX)
                return false;
            open = i;
            named = false;
        } else if (v.p[i] == '}') {
            if (open == SIZE_MAX || !named)
                return false;
            open = SIZE_MAX;
            ++*pairs;
        } else if (!sbxi_space(v.p[i])) {
            named = true;
        }
    }
    return open == SIZE_MAX;
}

/* A workspace secret's name without braces gets them. */
static const char *sbxi_workspace_put(sbx_jsonw *w, sbx_str v, bool header)
{
    const char *in_header = SBXI_T("must name the secret in braces, as in `Bearer {NAME}`");
    char braced[128];
    size_t pairs;

    if (!sbxi_braces_ok(v, &pairs) || (!header && pairs && (pairs > 1 || v.p[0] != '{' || v.p[v.n - 1] != '}')))
        return header ? in_header : SBXI_T("must be the secret's name, as NAME or {NAME}, with both braces or none");
    if (pairs)
        return sbxi_text_put(w, v);
    for (size_t i = 0; i < v.n; i++)
        if (header && sbxi_space(v.p[i]))
            return in_header;
    if (v.n > sizeof braced - 2)
        return SBXI_T("is longer than 126 bytes: put the secret's name in braces");
    braced[0] = '{';
    memcpy(braced + 1, v.p, v.n);
    braced[v.n + 1] = '}';
    return sbxi_text_put(w, sbx_sn(braced, v.n + 2));
}

/* The members `type` and `value`. NULL, or why not. */
static const char *sbxi_secret_put(sbx_jsonw *w, const sbx_secret *s, bool header)
{
    static const char *const types[] = { "opaque", "workspace_secret", "plaintext" };
    sbx_str value;

    if ((unsigned)s->kind >= SBXI_COUNT(types) - !header)
        return header ? SBXI_T("has a kind that is none of SBX_SECRET_…") : SBXI_T("must be of kind SBX_SECRET_OPAQUE or SBX_SECRET_WORKSPACE");
    if (!s->value.p)
        return sbxi_why_given;
    value = sbxi_trim(s->value);
    if (!value.n)
        return SBXI_T("must not be blank");
    if (header)
        value = s->value;
    sbxi_build_text(w, "type", types[s->kind]);
    sbx_jsonw_key(w, sbx_s("value"));
    return s->kind == SBX_SECRET_WORKSPACE ? sbxi_workspace_put(w, value, header) : sbxi_text_put(w, value);
}

static const char *sbxi_secret_begin(sbx_jsonw *w, const void *at, const char **why)
{
    *why = sbxi_secret_put(w, (const sbx_secret *)at, false);
    return *why ? "" : NULL;
}

static const sbxi_param sbxi_secret_params[] = { SBXI_CONF("value", "value", SBXI_P_OWN, sbx_secret, value) };
static const sbxi_shape sbxi_secret_shape = SBXI_SHAPE(sbxi_secret_params, sbx_secret, sbxi_secret_begin);

static const char *sbxi_header_begin(sbx_jsonw *w, const void *at, const char **why)
{
    *why = sbxi_secret_put(w, &((const sbx_proxy_header *)at)->value, true);
    return *why ? "value" : NULL;
}

static const sbxi_param sbxi_header_params[] = { SBXI_CONF("name", "name", SBXI_NEED_STR, sbx_proxy_header, name) };
static const sbxi_shape sbxi_header_shape = SBXI_SHAPE(sbxi_header_params, sbx_proxy_header, sbxi_header_begin);

/* ---- credentials ---- */

static const char *sbxi_aws_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_aws_auth *a = (const sbx_aws_auth *)at;
    bool id = a->access_key_id.value.p != NULL, key = a->secret_access_key.value.p != NULL;

    (void)w;
    *why = SBXI_T("and the keys exclude each other");
    if (a->role_arn.p)
        return id || key ? "role_arn" : NULL;
    *why = SBXI_T("must be given: both keys, or role_arn alone");
    return !id ? "access_key_id" : !key ? "secret_access_key" : NULL;
}

#define SBXI_AWS_SECRET(name, member) SBXI_CONF_SUB(name, name, SBXI_P_PART, sbx_aws_auth, member, &sbxi_secret_shape.schema)

static const sbxi_param sbxi_aws_params[] = {
    SBXI_AWS_SECRET("access_key_id", access_key_id),
    SBXI_AWS_SECRET("secret_access_key", secret_access_key),
    SBXI_CONF("role_arn", "role_arn", SBXI_FILLED_STR, sbx_aws_auth, role_arn),
};
static const sbxi_shape sbxi_aws_shape = SBXI_SHAPE(sbxi_aws_params, sbx_aws_auth, sbxi_aws_begin);

static const sbxi_param sbxi_gcp_params[] = {
    SBXI_CONF_SUB("service_account_json", "service_account_json", SBXI_P_PART | SBXI_P_NEED, sbx_gcp_auth, service_account_json, &sbxi_secret_shape.schema),
    SBXI_CONF("scopes", "scopes", SBXI_P_STRS, sbx_gcp_auth, scopes),
};
static const sbxi_shape sbxi_gcp_shape = SBXI_SHAPE(sbxi_gcp_params, sbx_gcp_auth, NULL);

/* ---- mounts ---- */

static bool sbxi_url_has_user(sbx_str url)
{
    size_t slashes = 0;

    for (size_t i = 0; i < url.n && slashes < 3; i++) {
        if (url.p[i] == '@')
            return true;
        slashes += url.p[i] == '/';
    }
    return false;
}

static bool sbxi_git_url_ok(sbx_str url)
{
    const size_t scheme = 8; /* https:// */
    const char *path = url.n > scheme ? (const char *)memchr(url.p + scheme, '/', url.n - scheme) : NULL;
    size_t at = path ? (size_t)(path - url.p) : 0;
    sbxi_url origin;

    if (!sbxi_url_parse(sbx_sn(url.p, at), &origin) || !origin.tls || at + 1 == url.n)
        return false;
    while (at < url.n && !sbxi_space(url.p[at]) && url.p[at] != '\x7F' && url.p[at] != '?' && url.p[at] != '#')
        at++;
    return at == url.n;
}

static const char *sbxi_git_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_mount_git *g = (const sbx_mount_git *)at;
    sbx_str name = g->branch.p ? g->branch : g->tag;

    if (!g->remote_url.p)
        return NULL; /* as its members say */
    *why = SBXI_T("must be https://HOST/PATH, without user, password (use a proxy rule for the credentials), query, fragment, white space and NUL");
    if (!sbxi_git_url_ok(g->remote_url))
        return "remote_url";
    *why = SBXI_T("and tag exclude each other");
    if (g->branch.p && g->tag.p)
        return "branch";
    if (!name.p)
        return NULL;
    sbx_jsonw_key(w, sbx_s("ref"));
    sbx_jsonw_begin(w, '{');
    sbxi_build_text(w, "type", g->branch.p ? "branch" : "tag");
    sbx_jsonw_key(w, sbx_s("name"));
    *why = sbxi_trim(name).n ? sbxi_text_put(w, name) : SBXI_T("must not be empty");
    sbx_jsonw_end(w, '}');
    return !*why ? NULL : g->branch.p ? "branch" : "tag";
}

static const sbxi_param sbxi_git_params[] = {
    SBXI_CONF("remote_url", "remote_url", SBXI_NEED_STR, sbx_mount_git, remote_url),
    SBXI_CONF("branch", "branch", SBXI_P_OWN, sbx_mount_git, branch),
    SBXI_CONF("tag", "tag", SBXI_P_OWN, sbx_mount_git, tag),
    SBXI_CONF("refresh_interval_seconds", "refresh_interval_s", SBXI_P_INT, sbx_mount_git, refresh_interval_s),
};
static const sbxi_shape sbxi_git_shape = SBXI_SHAPE(sbxi_git_params, sbx_mount_git, sbxi_git_begin);

static const char *sbxi_s3_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_mount_s3 *s = (const sbx_mount_s3 *)at;

    *why = SBXI_T("must hold no user or password: mount_auth has the credentials");
    if (s->endpoint_url.p && sbxi_url_has_user(s->endpoint_url))
        return "endpoint_url";
    if (!s->endpoint_url.p)
        sbxi_build_text(w, "endpoint_url", "https://s3.amazonaws.com");
    if (!s->region.p)
        sbxi_build_text(w, "region", "us-east-1");
    return NULL;
}

static const sbxi_param sbxi_s3_params[] = {
    SBXI_CONF("bucket", "bucket", SBXI_NEED_STR, sbx_mount_s3, bucket),
    SBXI_CONF("prefix", "prefix", SBXI_FILLED_STR, sbx_mount_s3, prefix),
    SBXI_CONF("region", "region", SBXI_FILLED_STR, sbx_mount_s3, region),
    SBXI_CONF("endpoint_url", "endpoint_url", SBXI_FILLED_STR, sbx_mount_s3, endpoint_url),
    SBXI_CONF("path_style", "path_style", SBXI_P_BOOL | SBXI_P_ALWAYS, sbx_mount_s3, path_style),
};
static const sbxi_shape sbxi_s3_shape = SBXI_SHAPE(sbxi_s3_params, sbx_mount_s3, sbxi_s3_begin);

static const sbxi_param sbxi_gcs_params[] = {
    SBXI_CONF("bucket", "bucket", SBXI_NEED_STR, sbx_mount_gcs, bucket),
    SBXI_CONF("prefix", "prefix", SBXI_FILLED_STR, sbx_mount_gcs, prefix),
};
static const sbxi_shape sbxi_gcs_shape = SBXI_SHAPE(sbxi_gcs_params, sbx_mount_gcs, NULL);

static const sbxi_param sbxi_contexthub_params[] = {
    SBXI_CONF("repo", "repo", SBXI_NEED_STR, sbx_mount_contexthub, repo),
    SBXI_CONF("initial_pull_only", "initial_pull_only", SBXI_P_BOOL, sbx_mount_contexthub, initial_pull_only),
};
static const sbxi_shape sbxi_contexthub_shape = SBXI_SHAPE(sbxi_contexthub_params, sbx_mount_contexthub, NULL);

static const sbxi_param sbxi_cache_params[] = {
    SBXI_CONF("max_size_bytes", "max_size_bytes", SBXI_P_I64, sbx_mount_cache, max_size_bytes),
    SBXI_CONF("writeback_seconds", "writeback_s", SBXI_P_COUNT, sbx_mount_cache, writeback_s),
};
static const sbxi_shape sbxi_cache_shape = SBXI_SHAPE(sbxi_cache_params, sbx_mount_cache, NULL);

static const char *sbxi_mount_begin(sbx_jsonw *w, const void *at, const char **why);

/* The four that exclude each other stand first, s3 and gcs in the order of the
   providers in sbxi_mount_auth_params. */
static const sbxi_param sbxi_mount_params[] = {
    SBXI_CONF_SUB("s3", "s3", SBXI_P_PART, sbx_mount, s3, &sbxi_s3_shape.schema),
    SBXI_CONF_SUB("gcs", "gcs", SBXI_P_PART, sbx_mount, gcs, &sbxi_gcs_shape.schema),
    SBXI_CONF_SUB("git", "git", SBXI_P_PART, sbx_mount, git, &sbxi_git_shape.schema),
    SBXI_CONF_SUB("contexthub", "contexthub", SBXI_P_PART, sbx_mount, contexthub, &sbxi_contexthub_shape.schema),
    SBXI_CONF("id", "id", SBXI_NEED_STR, sbx_mount, id),
    SBXI_CONF("mount_path", "mount_path", SBXI_NEED_STR, sbx_mount, mount_path),
    SBXI_CONF("read_only", "read_only", SBXI_P_TRI, sbx_mount, read_only),
    SBXI_CONF_SUB("cache", "cache", SBXI_P_PART, sbx_mount, cache, &sbxi_cache_shape.schema),
};
enum { SBXI_MOUNT_KINDS = 4 };

static bool sbxi_mount_is(const sbx_mount *m, unsigned kind)
{
    const sbxi_param *p = &sbxi_mount_params[kind];

    return sbxi_given(p->sub, (const char *)m + p->off);
}

static const char *sbxi_mount_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const char *type = NULL;

    for (unsigned i = 0; i < SBXI_MOUNT_KINDS; i++) {
        if (!sbxi_mount_is((const sbx_mount *)at, i))
            continue;
        *why = SBXI_T("excludes the other kinds of mount: one entry for each");
        if (type)
            return sbxi_mount_params[i].name;
        type = sbxi_mount_params[i].name;
    }
    *why = SBXI_T("must have one of s3, gcs, git and contexthub");
    if (!type)
        return "";
    sbxi_build_text(w, "type", type);
    return NULL;
}

static const sbxi_shape sbxi_mount_shape = SBXI_SHAPE(sbxi_mount_params, sbx_mount, sbxi_mount_begin);

static const char *sbxi_mount_auth_begin(sbx_jsonw *w, const void *at, const char **why)
{
    (void)w;
    *why = SBXI_T("belong to a proxy rule: mounts take none");
    return ((const sbx_mount_auth *)at)->gcp.scopes_n ? "gcp.scopes" : NULL;
}

static const sbxi_param sbxi_mount_auth_params[] = {
    SBXI_CONF_SUB("aws", "aws", SBXI_P_PART, sbx_mount_auth, aws, &sbxi_aws_shape.schema),
    SBXI_CONF_SUB("gcp", "gcp", SBXI_P_PART, sbx_mount_auth, gcp, &sbxi_gcp_shape.schema),
};
static const sbxi_shape sbxi_mount_auth_shape = SBXI_SHAPE(sbxi_mount_auth_params, sbx_mount_auth, sbxi_mount_auth_begin);

/* The provider i (0 aws, 1 gcp) in the proxy's rules: 0 not, 1 switched off, 2 enabled. */
static unsigned sbxi_proxy_has(const sbx_box_proxy *proxy, unsigned i)
{
    const sbxi_shape *shape = i ? &sbxi_gcp_shape : &sbxi_aws_shape;
    unsigned found = 0;

    for (size_t k = 0; proxy && proxy->rules && k < proxy->rules_n; k++) {
        const sbx_proxy_rule *r = &proxy->rules[k];

        if (sbxi_given(&shape->schema, i ? (const void *)&r->gcp : (const void *)&r->aws))
            found = SBXI_MAX(found, r->disabled ? 1u : 2u);
    }
    return found;
}

static const char *sbxi_mount_auth_bad(const sbx_create_opts *o, unsigned i, const char **why)
{
    static const char *const options[] = { SBXI_T("mount_auth.aws"), SBXI_T("mount_auth.gcp") };
    const sbxi_param *auth = &sbxi_mount_auth_params[i];
    bool given = o->mount_auth && sbxi_given(auth->sub, (const char *)o->mount_auth + auth->off), needed = false;
    unsigned rule = sbxi_proxy_has(o->proxy, i);

    for (size_t k = 0; k < o->mounts_n; k++)
        needed = needed || sbxi_mount_is(&o->mounts[k], i);
    *why = SBXI_T("and a rule of proxy for the same provider exclude each other");
    if (given && rule)
        return options[i];
    *why = SBXI_T("needs a mount of its provider: s3 for aws, gcs for gcp");
    if (given && !needed)
        return options[i];
    *why = i ? SBXI_T("must be given for gcs mounts") : SBXI_T("must be given for s3 mounts, or an enabled aws rule in proxy");
    return needed && !given && (i || (rule < 2 && !o->proxy_config.p)) ? options[i] : NULL;
}

static const char *sbxi_mounts_bad(const sbx_create_opts *o, const char **why)
{
    const char *bad = sbxi_mount_auth_bad(o, 0, why);

    return bad ? bad : sbxi_mount_auth_bad(o, 1, why);
}

static const sbxi_param sbxi_mounts_params[] = {
    SBXI_CONF_SUB("auth", "mount_auth", SBXI_P_REF | SBXI_P_ALWAYS, sbx_create_opts, mount_auth, &sbxi_mount_auth_shape.schema),
    SBXI_CONF_SUB("mounts", "mounts", SBXI_P_LIST | SBXI_P_NEED, sbx_create_opts, mounts, &sbxi_mount_shape.schema),
};
static const sbxi_shape sbxi_mounts_shape = SBXI_SHAPE(sbxi_mounts_params, sbx_create_opts, NULL);

/* ---- proxy ---- */

static const char *sbxi_header_rule_bad(const sbx_proxy_rule *r, const char **why)
{
    *why = sbxi_why_given;
    if (!r->name.p)
        return "name";
    *why = SBXI_T("must have at least one host");
    return r->match_hosts_n ? NULL : "match_hosts";
}

static const char *sbxi_rule_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_proxy_rule *r = (const sbx_proxy_rule *)at;
    bool aws = sbxi_given(&sbxi_aws_shape.schema, &r->aws), gcp = sbxi_given(&sbxi_gcp_shape.schema, &r->gcp);
    const char *bad;

    *why = SBXI_T("must have exactly one of aws, gcp and headers");
    if (aws + gcp + (r->headers_n != 0) != 1)
        return "";
    *why = SBXI_T("belong to a rule with headers: aws and gcp know their hosts");
    if ((aws || gcp) && (r->match_hosts_n || r->match_paths_n))
        return r->match_hosts_n ? "match_hosts" : "match_paths";
    *why = SBXI_T("must have at least one scope");
    if (gcp && !r->gcp.scopes_n)
        return "gcp.scopes";
    bad = aws || gcp ? NULL : sbxi_header_rule_bad(r, why);
    if (bad)
        return bad;
    if (!r->name.p)
        sbxi_build_text(w, "name", aws ? "aws" : "gcp");
    if (aws || gcp)
        sbxi_build_text(w, "type", aws ? "aws" : "gcp");
    if (aws || gcp || r->disabled) {
        sbx_jsonw_key(w, sbx_s("enabled"));
        sbx_jsonw_bool(w, !r->disabled);
    }
    return NULL;
}

#define SBXI_RULEP(name, option, kind, member) SBXI_CONF(name, option, kind, sbx_proxy_rule, member)

static const sbxi_param sbxi_rule_params[] = {
    SBXI_RULEP("name", "name", SBXI_FILLED_STR, name),
    SBXI_CONF_SUB("aws", "aws", SBXI_P_PART, sbx_proxy_rule, aws, &sbxi_aws_shape.schema),
    SBXI_CONF_SUB("gcp", "gcp", SBXI_P_PART, sbx_proxy_rule, gcp, &sbxi_gcp_shape.schema),
    SBXI_RULEP("match_hosts", "match_hosts", SBXI_P_STRS, match_hosts),
    SBXI_RULEP("match_paths", "match_paths", SBXI_P_STRS, match_paths),
    SBXI_CONF_SUB("headers", "headers", SBXI_P_LIST, sbx_proxy_rule, headers, &sbxi_header_shape.schema),
    SBXI_RULEP("env_vars", "env", SBXI_P_PAIRS, env),
};
static const sbxi_shape sbxi_rule_shape = SBXI_SHAPE(sbxi_rule_params, sbx_proxy_rule, sbxi_rule_begin);

static const char *sbxi_access_lists_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_box_proxy *p = (const sbx_box_proxy *)at;

    (void)w;
    *why = SBXI_T("and deny_list exclude each other");
    return p->allow_list_n && p->deny_list_n ? "allow_list" : NULL;
}

static const sbxi_param sbxi_access_lists_params[] = {
    SBXI_CONF("allow_list", "allow_list", SBXI_P_STRS, sbx_box_proxy, allow_list),
    SBXI_CONF("deny_list", "deny_list", SBXI_P_STRS, sbx_box_proxy, deny_list),
};
static const sbxi_shape sbxi_access_lists_shape = SBXI_SHAPE(sbxi_access_lists_params, sbx_box_proxy, sbxi_access_lists_begin);

static const sbxi_param sbxi_callback_params[] = {
    SBXI_CONF("match_hosts", "match_hosts", SBXI_P_STRS | SBXI_P_NEED, sbx_proxy_callback, match_hosts),
    SBXI_CONF("url", "url", SBXI_NEED_STR, sbx_proxy_callback, url),
    SBXI_CONF("ttl_seconds", "ttl_s", SBXI_P_INT | SBXI_P_ALWAYS, sbx_proxy_callback, ttl_s),
    SBXI_CONF("full_request", "full_request", SBXI_P_BOOL, sbx_proxy_callback, full_request),
    SBXI_CONF_SUB("request_headers", "request_headers", SBXI_P_LIST, sbx_proxy_callback, request_headers, &sbxi_header_shape.schema),
};
static const sbxi_shape sbxi_callback_shape = SBXI_SHAPE(sbxi_callback_params, sbx_proxy_callback, NULL);

static const sbxi_param sbxi_proxy_params[] = {
    SBXI_CONF_SUB("rules", "rules", SBXI_P_LIST | SBXI_P_ALWAYS, sbx_box_proxy, rules, &sbxi_rule_shape.schema),
    SBXI_CONF("no_proxy", "no_proxy", SBXI_P_STRS, sbx_box_proxy, no_proxy),
    SBXI_CONF_GROUP("access_control", SBXI_P_PART, &sbxi_access_lists_shape.schema),
    SBXI_CONF_SUB("callbacks", "callbacks", SBXI_P_LIST, sbx_box_proxy, callbacks, &sbxi_callback_shape.schema),
};
static const sbxi_shape sbxi_proxy_shape = SBXI_SHAPE(sbxi_proxy_params, sbx_box_proxy, NULL);

/* ---- access ---- */

static const char *sbxi_access_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_delegation *a = (const sbx_delegation *)at;

    *why = SBXI_T("must be SBX_DELEGATION_INHERIT or SBX_DELEGATION_EXPLICIT");
    if ((unsigned)a->mode > SBX_DELEGATION_EXPLICIT)
        return "mode";
    *why = a->mode == SBX_DELEGATION_INHERIT ? SBXI_T("belong to mode SBX_DELEGATION_EXPLICIT") : SBXI_T("must have at least one for mode SBX_DELEGATION_EXPLICIT");
    if ((a->permissions_n != 0) != (a->mode == SBX_DELEGATION_EXPLICIT))
        return "permissions";
    sbxi_build_text(w, "mode", a->mode == SBX_DELEGATION_INHERIT ? "INHERIT" : "EXPLICIT");
    return NULL;
}

static const sbxi_param sbxi_access_params[] = { SBXI_CONF("permissions", "permissions", SBXI_P_STRS, sbx_delegation, permissions) };
static const sbxi_shape sbxi_access_shape = SBXI_SHAPE(sbxi_access_params, sbx_delegation, sbxi_access_begin);

/* ---- of the calls ---- */

static const sbxi_param sbxi_typed_create_params[] = {
    SBXI_CONF_GROUP("mount_config", SBXI_P_PART, &sbxi_mounts_shape.schema),
    SBXI_CONF_SUB("proxy_config", "proxy", SBXI_P_REF, sbx_create_opts, proxy, &sbxi_proxy_shape.schema),
    SBXI_CONF_SUB("access_delegation", "access", SBXI_P_REF, sbx_create_opts, access, &sbxi_access_shape.schema),
};
static const sbxi_schema sbxi_typed_create_schema = { sbxi_typed_create_params, SBXI_COUNT(sbxi_typed_create_params), 0 };
static const sbxi_param sbxi_typed_update_params[] = { SBXI_CONF_SUB("proxy_config", "proxy", SBXI_P_REF, sbx_update_opts, proxy, &sbxi_proxy_shape.schema) };
static const sbxi_schema sbxi_typed_update_schema = { sbxi_typed_update_params, SBXI_COUNT(sbxi_typed_update_params), 0 };

static const struct sbxi_config sbxi_typed_config = { &sbxi_typed_create_schema, &sbxi_typed_update_schema, sbxi_mounts_bad };

SBX_API const struct sbxi_config *sbx_typed_config(void)
{
    return &sbxi_typed_config;
}
#endif
