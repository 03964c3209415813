/* Mounts, proxy and access: what is sent, what is refused, and where their
   secrets are not. */
#include "kit.h"

#define SECRET "s3cr3t-value"

/* One of everything, to be changed by a case. */
static sbx_create_opts C;
static sbx_update_opts U;
static sbx_mount M[2];
static sbx_mount_auth A;
static sbx_box_proxy P;
static sbx_proxy_rule R[3];
static sbx_proxy_header H[2];
static sbx_proxy_callback B;
static sbx_delegation D;
static sbx_str words[2], empty[2], scopes[1];
static sbx_pair pairs[1];
static bool traced;

static sbx_secret secret(const char *value, sbx_secret_kind kind)
{
    sbx_secret x;

    x.value = sbx_s(value);
    x.kind = kind;
    return x;
}

static void aws_keys(sbx_aws_auth *aws)
{
    aws->access_key_id = secret("AKID", SBX_SECRET_WORKSPACE);
    aws->secret_access_key = secret(SECRET, SBX_SECRET_OPAQUE);
}

/* An s3 mount with its credentials, and a rule with headers. */
static void prepare(void)
{
    memset(&C, 0, sizeof C);
    memset(&U, 0, sizeof U);
    memset(M, 0, sizeof M);
    memset(&A, 0, sizeof A);
    memset(&P, 0, sizeof P);
    memset(R, 0, sizeof R);
    memset(H, 0, sizeof H);
    memset(&B, 0, sizeof B);
    memset(&D, 0, sizeof D);
    words[0] = sbx_s("api.example.com");
    words[1] = sbx_s("*.example.org");
    empty[0] = sbx_s("x");
    empty[1] = sbx_s("");
    scopes[0] = sbx_s("scope/1");
    pairs[0].name = sbx_s("GH_TOKEN");
    pairs[0].value = sbx_s("dummy");
    M[0].id = sbx_s("data");
    M[0].mount_path = sbx_s("/mnt/data");
    M[0].s3.bucket = sbx_s("b");
    M[1].id = sbx_s("code");
    M[1].mount_path = sbx_s("/mnt/code");
    M[1].git.remote_url = sbx_s("https://example.com/o/r.git");
    aws_keys(&A.aws);
    C.mounts = M;
    C.mounts_n = 1;
    C.mount_auth = &A;
    H[0].name = sbx_s("Authorization");
    H[0].value = secret("Bearer {KEY}", SBX_SECRET_WORKSPACE);
    H[1].name = sbx_s("X-B");
    H[1].value = secret("b", SBX_SECRET_PLAINTEXT);
    R[0].name = sbx_s("h");
    R[0].headers = H;
    R[0].headers_n = 1;
    R[0].match_hosts = words;
    R[0].match_hosts_n = 2;
    P.rules = R;
    P.rules_n = 1;
    B.match_hosts = words;
    B.match_hosts_n = 1;
    B.url = sbx_s("https://cb.example.com/x");
}

/* The body that a create of C sends, behind what is always in it. */
static void assert_created(const char *config)
{
    char body[4096];

    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &C, NULL)), SBX_OK);
    snprintf(body, sizeof body, "{\"timeout\":30,\"wait_for_ready\":true,%s}", config);
    assert_string_equal(kit_request(0)->body, body);
}

static void test_mounts(void **state)
{
    (void)state;
    kit_start(1);
    prepare();
    assert_created("\"mount_config\":{\"auth\":{\"aws\":{\"access_key_id\":{\"type\":\"workspace_secret\",\"value\":\"{AKID}\"},"
                   "\"secret_access_key\":{\"type\":\"opaque\",\"value\":\"" SECRET "\"}}},"
                   "\"mounts\":[{\"type\":\"s3\",\"s3\":{\"endpoint_url\":\"https://s3.amazonaws.com\",\"region\":\"us-east-1\",\"bucket\":\"b\",\"path_style\":false},"
                   "\"id\":\"data\",\"mount_path\":\"/mnt/data\"}]}");

    memset(&A, 0, sizeof A); /* everything that an s3 mount has; a role */
    A.aws.role_arn = sbx_s("arn:aws:iam::1:role/r");
    M[0].s3.prefix = sbx_s("p/");
    M[0].s3.region = sbx_s("eu-west-1");
    M[0].s3.endpoint_url = sbx_s("https://minio.example.com");
    M[0].s3.path_style = true;
    M[0].read_only = SBX_TRI_YES;
    M[0].cache.max_size_bytes = INT64_C(5000000000);
    M[0].cache.writeback_s = 7;
    assert_created("\"mount_config\":{\"auth\":{\"aws\":{\"role_arn\":\"arn:aws:iam::1:role/r\"}},"
                   "\"mounts\":[{\"type\":\"s3\",\"s3\":{\"bucket\":\"b\",\"prefix\":\"p/\",\"region\":\"eu-west-1\",\"endpoint_url\":\"https://minio.example.com\",\"path_style\":true},"
                   "\"id\":\"data\",\"mount_path\":\"/mnt/data\",\"read_only\":true,\"cache\":{\"max_size_bytes\":5000000000,\"writeback_seconds\":7}}]}");

    prepare(); /* what is blank around a secret is none of it; no delay at all */
    A.aws.access_key_id = secret(" AKID\n", SBX_SECRET_WORKSPACE);
    A.aws.secret_access_key = secret("\t" SECRET " x\r\n", SBX_SECRET_OPAQUE);
    M[0].cache.writeback_s = SBX_NONE;
    assert_created("\"mount_config\":{\"auth\":{\"aws\":{\"access_key_id\":{\"type\":\"workspace_secret\",\"value\":\"{AKID}\"},"
                   "\"secret_access_key\":{\"type\":\"opaque\",\"value\":\"" SECRET " x\"}}},"
                   "\"mounts\":[{\"type\":\"s3\",\"s3\":{\"endpoint_url\":\"https://s3.amazonaws.com\",\"region\":\"us-east-1\",\"bucket\":\"b\",\"path_style\":false},"
                   "\"id\":\"data\",\"mount_path\":\"/mnt/data\",\"cache\":{\"writeback_seconds\":0}}]}");

    prepare(); /* two mounts, no credentials at all */
    memset(&M[0].s3, 0, sizeof M[0].s3);
    M[0].contexthub.repo = sbx_s("-/agent");
    M[0].contexthub.initial_pull_only = true;
    M[1].git.tag = sbx_s("v1");
    M[1].git.refresh_interval_s = 60;
    C.mounts_n = 2;
    C.mount_auth = NULL;
    assert_created("\"mount_config\":{\"auth\":{},\"mounts\":["
                   "{\"type\":\"contexthub\",\"contexthub\":{\"repo\":\"-/agent\",\"initial_pull_only\":true},\"id\":\"data\",\"mount_path\":\"/mnt/data\"},"
                   "{\"type\":\"git\",\"git\":{\"ref\":{\"type\":\"tag\",\"name\":\"v1\"},\"remote_url\":\"https://example.com/o/r.git\",\"refresh_interval_seconds\":60},"
                   "\"id\":\"code\",\"mount_path\":\"/mnt/code\"}]}");

    prepare();
    memset(&M[0].s3, 0, sizeof M[0].s3);
    memset(&A, 0, sizeof A);
    M[0].gcs.bucket = sbx_s("g");
    M[0].read_only = SBX_TRI_NO;
    A.gcp.service_account_json = secret("{SA}", SBX_SECRET_WORKSPACE);
    assert_created("\"mount_config\":{\"auth\":{\"gcp\":{\"service_account_json\":{\"type\":\"workspace_secret\",\"value\":\"{SA}\"}}},"
                   "\"mounts\":[{\"type\":\"gcs\",\"gcs\":{\"bucket\":\"g\"},\"id\":\"data\",\"mount_path\":\"/mnt/data\",\"read_only\":false}]}");
    kit_end();
}

static void test_proxy(void **state)
{
    (void)state;
    kit_start(1);
    prepare();
    C.mounts_n = 0;
    C.mount_auth = NULL;
    C.proxy = &P;
    R[1].disabled = true;
    aws_keys(&R[1].aws);
    R[1].env = pairs;
    R[1].env_n = 1;
    R[2].name = sbx_s("google");
    R[2].gcp.service_account_json = secret(SECRET, SBX_SECRET_OPAQUE);
    R[2].gcp.scopes = scopes;
    R[2].gcp.scopes_n = 1;
    R[0].headers_n = 2;
    R[0].match_paths = scopes;
    R[0].match_paths_n = 1;
    P.rules_n = 3;
    P.no_proxy = words;
    P.no_proxy_n = 1;
    P.deny_list = words;
    P.deny_list_n = 2;
    P.callbacks = &B;
    P.callbacks_n = 1;
    B.request_headers = H;
    B.request_headers_n = 1;
    B.full_request = true;
    B.ttl_s = 30;
    assert_created("\"proxy_config\":{\"rules\":["
                   "{\"name\":\"h\",\"match_hosts\":[\"api.example.com\",\"*.example.org\"],\"match_paths\":[\"scope/1\"],\"headers\":["
                   "{\"type\":\"workspace_secret\",\"value\":\"Bearer {KEY}\",\"name\":\"Authorization\"},{\"type\":\"plaintext\",\"value\":\"b\",\"name\":\"X-B\"}]},"
                   "{\"name\":\"aws\",\"type\":\"aws\",\"enabled\":false,\"aws\":{\"access_key_id\":{\"type\":\"workspace_secret\",\"value\":\"{AKID}\"},"
                   "\"secret_access_key\":{\"type\":\"opaque\",\"value\":\"" SECRET "\"}},\"env_vars\":{\"GH_TOKEN\":\"dummy\"}},"
                   "{\"type\":\"gcp\",\"enabled\":true,\"name\":\"google\",\"gcp\":{\"service_account_json\":{\"type\":\"opaque\",\"value\":\"" SECRET "\"},\"scopes\":[\"scope/1\"]}}],"
                   "\"no_proxy\":[\"api.example.com\"],\"access_control\":{\"deny_list\":[\"api.example.com\",\"*.example.org\"]},"
                   "\"callbacks\":[{\"match_hosts\":[\"api.example.com\"],\"url\":\"https://cb.example.com/x\",\"ttl_seconds\":30,\"full_request\":true,"
                   "\"request_headers\":[{\"type\":\"workspace_secret\",\"value\":\"Bearer {KEY}\",\"name\":\"Authorization\"}]}]}");

    memset(&P, 0, sizeof P); /* all zero: no rule */
    assert_created("\"proxy_config\":{\"rules\":[]}");
    P.allow_list = words;
    P.allow_list_n = 1;
    P.callbacks = &B;
    P.callbacks_n = 1;
    B.request_headers_n = 0;
    B.full_request = false;
    B.ttl_s = 0;
    assert_created("\"proxy_config\":{\"rules\":[],\"access_control\":{\"allow_list\":[\"api.example.com\"]},"
                   "\"callbacks\":[{\"match_hosts\":[\"api.example.com\"],\"url\":\"https://cb.example.com/x\",\"ttl_seconds\":0}]}");

    prepare(); /* an enabled rule serves the mounts too */
    memset(&R[0], 0, sizeof R[0]);
    R[0].aws.role_arn = sbx_s("arn");
    C.mount_auth = NULL;
    C.proxy = &P;
    assert_created("\"mount_config\":{\"auth\":{},\"mounts\":[{\"type\":\"s3\",\"s3\":{\"endpoint_url\":\"https://s3.amazonaws.com\",\"region\":\"us-east-1\",\"bucket\":\"b\",\"path_style\":false},"
                   "\"id\":\"data\",\"mount_path\":\"/mnt/data\"}]},\"proxy_config\":{\"rules\":[{\"name\":\"aws\",\"type\":\"aws\",\"enabled\":true,\"aws\":{\"role_arn\":\"arn\"}}]}");
    kit_end();
}

static void test_access_and_update(void **state)
{
    (void)state;
    kit_start(1);
    K.s->box_n = 1;
    strcpy(K.s->boxes[0].name, "one");
    prepare();
    C.mounts_n = 0;
    C.mount_auth = NULL;
    C.access = &D;
    assert_created("\"access_delegation\":{\"mode\":\"INHERIT\"}");
    D.mode = SBX_DELEGATION_EXPLICIT;
    D.permissions = scopes;
    D.permissions_n = 1;
    assert_created("\"access_delegation\":{\"mode\":\"EXPLICIT\",\"permissions\":[\"scope/1\"]}");

    U.proxy = &P;
    ASSERT_CODE(sbx_await(K.c, sbx_update(K.c, &K.box, &U, NULL, NULL)), SBX_OK);
    assert_string_equal(kit_request(0)->method, "PATCH");
    assert_string_equal(kit_request(0)->body, "{\"proxy_config\":{\"rules\":[{\"name\":\"h\",\"match_hosts\":[\"api.example.com\",\"*.example.org\"],"
                                              "\"headers\":[{\"type\":\"workspace_secret\",\"value\":\"Bearer {KEY}\",\"name\":\"Authorization\"}]}]}}");
    kit_end();
}

/* ---- what is refused ---- */

static char long_name[200];

/* Case i: what is wrong, and how the error calls it. NULL = there are no more. */
static const char *spoil(unsigned i)
{
#define GIT(text) (C.mounts_n = 2, M[1].git.remote_url = sbx_s(text), "mounts[1].git.remote_url")
#define PROXY (C.proxy = &P)
#define KEY A.aws.secret_access_key
    switch (i) {
    case 0: C.mounts_n = 0; return "mounts";
    case 1: C.mounts = NULL; return "mounts";
    case 2: M[0].id.p = NULL; return "mounts[0].id";
    case 3: M[0].id = sbx_s(" \t"); return "mounts[0].id";
    case 4: M[0].mount_path.p = NULL; return "mounts[0].mount_path";
    case 5: memset(&M[0].s3, 0, sizeof M[0].s3); return "mounts[0]";
    case 6: M[0].gcs.bucket = sbx_s("g"); return "mounts[0].gcs";
    case 7: M[0].s3.bucket.p = NULL; M[0].s3.prefix = sbx_s("p"); return "mounts[0].s3.bucket";
    case 8: M[0].s3.endpoint_url = sbx_s("https://u:" SECRET "@h"); return "mounts[0].s3.endpoint_url";
    case 9: M[0].s3.region = sbx_s(""); return "mounts[0].s3.region";
    case 10: M[0].cache.max_size_bytes = -1; return "mounts[0].cache.max_size_bytes";
    case 11: M[0].cache.writeback_s = -2; return "mounts[0].cache.writeback_s";
    case 12: M[0].read_only = (sbx_tri)3; return "mounts[0].read_only";
    case 13: C.mounts_n = 2; M[1].git.refresh_interval_s = -1; return "mounts[1].git.refresh_interval_s";
    case 14: C.mounts_n = 2; M[1].git.branch = M[1].git.tag = sbx_s("x"); return "mounts[1].git.branch";
    case 15: C.mounts_n = 2; M[1].git.tag = sbx_s(""); return "mounts[1].git.tag";
    case 16: C.mounts_n = 2; M[1].git.remote_url.p = NULL; M[1].git.tag = sbx_s("v1"); return "mounts[1].git.remote_url";
    case 17: return GIT("http://example.com/o/r");
    case 18: return GIT("example.com/o/r");
    case 19: return GIT("https://");
    case 20: return GIT("https:///o/r");
    case 21: return GIT("https://example.com");
    case 22: return GIT("https://example.com/");
    case 23: return GIT("https://u:" SECRET "@example.com/o/r");
    case 24: return GIT("https://example.com/o/r?token=" SECRET);
    case 25: return GIT("https://example.com/o/r#main");
    case 26: return GIT("https://example.com/o /r");
    case 27: C.mounts_n = 2; M[1].git.remote_url = sbx_sn("https://e.com/a\0b", 17); return "mounts[1].git.remote_url";
    case 28: C.mount_auth = NULL; return "mount_auth.aws";
    case 29: C.mount_auth = NULL; PROXY; memset(R, 0, sizeof R[0]); R[0].aws.role_arn = sbx_s("a"); R[0].disabled = true; return "mount_auth.aws";
    case 30: PROXY; memset(R, 0, sizeof R[0]); R[0].aws.role_arn = sbx_s("a"); R[0].disabled = true; return "mount_auth.aws";
    case 31: C.mounts = &M[1]; return "mount_auth.aws";
    case 32: A.gcp.service_account_json = secret(SECRET, SBX_SECRET_OPAQUE); return "mount_auth.gcp";
    case 33: memset(&M[0].s3, 0, sizeof M[0].s3); memset(&A, 0, sizeof A); M[0].gcs.bucket = sbx_s("g"); return "mount_auth.gcp";
    case 34: memset(&M[0].s3, 0, sizeof M[0].s3); memset(&A, 0, sizeof A); M[0].gcs.bucket = sbx_s("g");
        A.gcp.service_account_json = secret(SECRET, SBX_SECRET_OPAQUE); A.gcp.scopes = scopes; A.gcp.scopes_n = 1; return "mount_auth.gcp.scopes";
    case 35: A.aws.role_arn = sbx_s("arn"); return "mount_auth.aws.role_arn";
    case 36: KEY.value.p = NULL; return "mount_auth.aws.secret_access_key";
    case 37: A.aws.access_key_id.value.p = NULL; return "mount_auth.aws.access_key_id";
    case 38: KEY.value = sbx_s(" "); return "mount_auth.aws.secret_access_key";
    case 39: KEY.kind = SBX_SECRET_PLAINTEXT; return "mount_auth.aws.secret_access_key";
    case 40: KEY.kind = (sbx_secret_kind)9; return "mount_auth.aws.secret_access_key";
    case 41: KEY = secret("{NAME", SBX_SECRET_WORKSPACE); return "mount_auth.aws.secret_access_key";
    case 42: KEY = secret("NAME}", SBX_SECRET_WORKSPACE); return "mount_auth.aws.secret_access_key";
    case 43: KEY = secret("{ }", SBX_SECRET_WORKSPACE); return "mount_auth.aws.secret_access_key";
    case 44: KEY = secret("{{N}}", SBX_SECRET_WORKSPACE); return "mount_auth.aws.secret_access_key";
    case 45: KEY = secret("x{N}", SBX_SECRET_WORKSPACE); return "mount_auth.aws.secret_access_key";
    case 46: KEY = secret("{A}{B}", SBX_SECRET_WORKSPACE); return "mount_auth.aws.secret_access_key";
    case 47: memset(long_name, 'n', 127); KEY = secret(long_name, SBX_SECRET_WORKSPACE); return "mount_auth.aws.secret_access_key";
    case 48: KEY = secret(SECRET "\xff", SBX_SECRET_OPAQUE); return "mount_auth.aws.secret_access_key";
    case 49: C.mount_config = sbx_s("{}"); return "mounts";
    case 50: C.mount_config = sbx_s("{}"); C.mounts_n = 0; return "mount_auth";
    case 51: PROXY; C.proxy_config = sbx_s("{}"); return "proxy";
    case 52: C.access = &D; C.access_delegation = sbx_s("{}"); return "access";
    case 53: PROXY; R[0].name.p = NULL; return "proxy.rules[0].name";
    case 54: PROXY; R[0].match_hosts_n = 0; return "proxy.rules[0].match_hosts";
    case 55: PROXY; R[0].match_hosts = empty; return "proxy.rules[0].match_hosts";
    case 56: PROXY; R[0].match_hosts = NULL; return "proxy.rules[0].match_hosts";
    case 57: PROXY; P.rules_n = 2; return "proxy.rules[1]";
    case 58: PROXY; P.rules = NULL; return "proxy.rules";
    case 59: PROXY; R[0].gcp.scopes_n = 1; return "proxy.rules[0]";
    case 60: PROXY; P.rules_n = 2; R[1].gcp.service_account_json = secret(SECRET, SBX_SECRET_OPAQUE); return "proxy.rules[1].gcp.scopes";
    case 61: PROXY; P.rules_n = 2; R[1].gcp.scopes = scopes; R[1].gcp.scopes_n = 1; return "proxy.rules[1].gcp.service_account_json";
    case 62: PROXY; P.rules_n = 2; R[1].gcp.scopes = scopes; R[1].gcp.scopes_n = 1; R[1].match_hosts = words; R[1].match_hosts_n = 1; return "proxy.rules[1].match_hosts";
    case 63: PROXY; P.rules_n = 2; R[1].gcp.scopes = scopes; R[1].gcp.scopes_n = 1; R[1].match_paths = words; R[1].match_paths_n = 1; return "proxy.rules[1].match_paths";
    case 64: PROXY; R[0].headers_n = 2; H[1].name.p = NULL; return "proxy.rules[0].headers[1].name";
    case 65: PROXY; R[0].headers_n = 2; H[1].value.value.p = NULL; return "proxy.rules[0].headers[1].value";
    case 66: PROXY; H[0].value = secret("Bearer NAME", SBX_SECRET_WORKSPACE); return "proxy.rules[0].headers[0].value";
    case 67: PROXY; H[0].value = secret("Bearer {NAME", SBX_SECRET_WORKSPACE); return "proxy.rules[0].headers[0].value";
    case 68: PROXY; H[0].value.kind = (sbx_secret_kind)3; return "proxy.rules[0].headers[0].value";
    case 69: PROXY; P.allow_list = P.deny_list = words; P.allow_list_n = P.deny_list_n = 1; return "proxy.allow_list";
    case 70: PROXY; P.callbacks = &B; P.callbacks_n = 1; B.url.p = NULL; return "proxy.callbacks[0].url";
    case 71: PROXY; P.callbacks = &B; P.callbacks_n = 1; B.match_hosts_n = 0; return "proxy.callbacks[0].match_hosts";
    case 72: PROXY; P.callbacks = &B; P.callbacks_n = 1; B.ttl_s = -1; return "proxy.callbacks[0].ttl_s";
    case 73: PROXY; P.callbacks = &B; P.callbacks_n = 1; B.request_headers = &H[1]; B.request_headers_n = 1; H[1].value.value = sbx_s(""); return "proxy.callbacks[0].request_headers[0].value";
    case 74: PROXY; R[0].env = pairs; R[0].env_n = 1; pairs[0].name.n = 0; return "proxy.rules[0].env";
    case 75: C.access = &D; D.mode = (sbx_delegation_mode)2; return "access.mode";
    case 76: C.access = &D; D.mode = SBX_DELEGATION_EXPLICIT; return "access.permissions";
    case 77: C.access = &D; D.permissions = scopes; D.permissions_n = 1; return "access.permissions";
    case 78: C.access = &D; D.mode = SBX_DELEGATION_EXPLICIT; D.permissions = empty; D.permissions_n = 2; return "access.permissions";
    case 79: C.run_config.user = sbx_s(""); return "run_config.user";
    case 80: M[0].s3.bucket = sbx_sn("b\0c", 3); return "mounts[0].s3.bucket";
    case 81: C.name = sbx_sn("a\0b", 3); return "name";
    case 82: C.name = sbx_sn("a\0b", 3); C.delete_on_close = true; return "name";
    case 83: M[0].s3.region = sbx_s(" "); return "mounts[0].s3.region";
    case 84: M[0].s3.prefix = sbx_s("\t"); return "mounts[0].s3.prefix";
    case 85: M[0].s3.endpoint_url = sbx_s(" "); return "mounts[0].s3.endpoint_url";
    case 86: C.mounts_n = 2; M[1].git.branch = sbx_s(" "); return "mounts[1].git.branch";
    case 87: PROXY; R[0].name = sbx_s(" "); return "proxy.rules[0].name";
    case 88: PROXY; P.no_proxy = empty; P.no_proxy_n = 1; empty[0] = sbx_s(" "); return "proxy.no_proxy";
    case 89: C.access = &D; D.mode = SBX_DELEGATION_EXPLICIT; D.permissions = empty; D.permissions_n = 1; empty[0] = sbx_s("\n"); return "access.permissions";
    case 90: PROXY; words[1] = sbx_sn("h\0", 2); return "proxy.rules[0].match_hosts";
    case 91: KEY.value = sbx_sn("k\0y", 3); return "mount_auth.aws.secret_access_key";
    case 92: PROXY; R[0].env = pairs; R[0].env_n = 1; pairs[0].value = sbx_sn("x\0", 2); return "proxy.rules[0].env";
    case 93: PROXY; H[0].name = sbx_sn("X\0", 2); return "proxy.rules[0].headers[0].name";
    default: return NULL;
    }
}

/* The way to an option is not cut, however long the arrays around it are. */
static void test_longest_option(void **state)
{
    static sbx_proxy_callback callbacks[1500];
    static sbx_proxy_header headers[1500];
    sbx_error e;

    (void)state;
    assert_true(sim_longest_option() < sizeof e.field);
    kit_start(1);
    prepare();
    C.proxy = &P;
    B.request_headers = &H[0];
    B.request_headers_n = 1;
    for (unsigned i = 0; i < 1500; i++) {
        callbacks[i] = B;
        headers[i] = H[0];
    }
    headers[1499].value.value = sbx_s("");
    callbacks[1499].request_headers = headers;
    callbacks[1499].request_headers_n = 1500;
    P.callbacks = callbacks;
    P.callbacks_n = 1500;
    e = kit_error(sbx_create(K.c, &C, NULL));
    assert_string_equal(e.field, "proxy.callbacks[1499].request_headers[1499].value");
    kit_end();
}

static void no_secret_in(const void *p, size_t n)
{
    for (size_t i = 0; i + sizeof SECRET <= n; i++)
        assert_memory_not_equal((const char *)p + i, SECRET, sizeof SECRET - 1);
}

static void test_refusals(void **state)
{
    const char *field;

    (void)state;
    kit_start(1);
    for (unsigned i = 0; prepare(), (field = spoil(i)) != NULL; i++) {
        sbx_op op = sbx_create(K.c, &C, NULL);
        sbx_error e = kit_error(op);

        if (op.slot || e.code != SBX_ERR_ARGUMENT || strcmp(e.field, field) != 0)
            fail_msg("case %u: %s: %s, %s", i, field, sbx_code_name(e.code), e.text);
        if (strncmp(e.text, field, strlen(field)) != 0 || strlen(e.text) < strlen(field) + 10)
            fail_msg("case %u: %s", i, e.text);
        if ((i == 66 || i == 67) && !strstr(e.text, "`Bearer {NAME}`")) /* a secret inside a header */
            fail_msg("case %u: %s", i, e.text);
        no_secret_in(&e, sizeof e);
        no_secret_in(K.mem, sbx_client_size(&K.d));
    }
    prepare();
    U.proxy = &P;
    U.clear_mask = SBX_CLEAR_PROXY_CONFIG;
    assert_string_equal(kit_error(sbx_update(K.c, &K.box, &U, NULL, NULL)).field, "proxy");
    U.clear_mask = 0;
    U.proxy_config = sbx_s("{}");
    assert_string_equal(kit_error(sbx_update(K.c, &K.box, &U, NULL, NULL)).field, "proxy");
    memset(&U, 0, sizeof U);
    memset(long_name, 'n', 128);
    U.name = sbx_s(long_name);
    assert_string_equal(kit_error(sbx_update(K.c, &K.box, &U, NULL, NULL)).field, "name");
    assert_int_equal(K.s->request_n, 0);
    kit_end();
}

/* Each case is wrong by itself alone: as prepared, the request goes out. A proxy
   in JSON may hold what a mount needs. */
static void test_taken(void **state)
{
    (void)state;
    kit_start(1);
    prepare();
    C.proxy = &P;
    C.access = &D;
    C.mounts_n = 2;
    M[1].git.remote_url = sbx_s("HTTPS://example.com:8443/@scope/r\xc3\xa9.git");
    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &C, NULL)), SBX_OK);
    C.mount_auth = NULL;
    C.proxy = NULL;
    C.proxy_config = sbx_s("{\"rules\":[{\"type\":\"aws\"}]}");
    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &C, NULL)), SBX_OK);
    kit_end();
}

/* ---- secrets ---- */

static void on_trace(void *user, const sbx_trace *t)
{
    (void)user;
    traced = true;
    no_secret_in(t->text.p, t->text.n);
}

/* A body larger than the send buffer, byte by byte, over a connection that
   breaks once: whole each time, and gone from the client's memory afterwards. */
static void test_secrets_are_wiped(void **state)
{
    sbx_proxy_rule many[12];
    sim_script e = { 0 };
    sbx_error err;
    size_t n;
    sbx_op op;

    (void)state;
    for (unsigned bytes = 0; bytes < 2; bytes++) {
        kit_new(1);
        K.d.trace = on_trace;
        K.d.tx_bytes = 1024;
        K.d.buffers = 2;
        kit_open();
        K.s->knobs.send_max = bytes;
        K.s->knobs.block = bytes * 300;
        n = sbx_client_size(&K.d);
        prepare();
        for (unsigned i = 0; i < 12; i++)
            many[i] = R[0];
        H[0].value = secret(SECRET, SBX_SECRET_OPAQUE);
        C.proxy = &P;
        P.rules = many;
        P.rules_n = 12;
        e.match = "POST /boxes";
        e.status = 429;
        sim_expect(K.s, &e);
        e.status = 422;
        e.body = "{\"detail\":[{\"loc\":[\"body\",\"proxy_config\"],\"msg\":\"no\",\"type\":\"value_error\"}]}";
        sim_expect(K.s, &e);
        op = sbx_create(K.c, &C, NULL);
        ASSERT_CODE(sbx_await(K.c, op), SBX_ERR_VALIDATION);
        err = kit_error(op);
        assert_string_equal(err.field, "proxy_config");
        no_secret_in(&err, sizeof err);
        no_secret_in(K.mem, n);
        assert_int_equal(K.s->request_n, 2);
        assert_true(kit_request(0)->body_n > 1500);
        assert_int_equal(kit_request(0)->body_n, kit_request(1)->body_n);
        assert_memory_equal(kit_request(0)->body, kit_request(1)->body, kit_request(0)->body_n);
        assert_true(traced);
        kit_end();
    }
}

/* A client whose description does not name them refuses the typed forms, and
   takes JSON all the same. */
static void test_not_named(void **state)
{
    static const char *const fields[] = { "mounts", "mount_auth", "proxy", "access", "proxy" };
    sbx_mount mount = { 0 };
    sbx_mount_auth auth = { 0 };
    sbx_box_proxy proxy = { 0 };
    sbx_delegation access = { 0 };

    (void)state;
    kit_new(1);
    K.d.config = NULL;
    kit_open();
    for (unsigned i = 0; i < 5; i++) {
        sbx_create_opts create = { .mounts = i == 0 ? &mount : NULL, .mounts_n = i == 0, .mount_auth = i == 1 ? &auth : NULL, .proxy = i == 2 ? &proxy : NULL, .access = i == 3 ? &access : NULL };
        sbx_update_opts update = { .proxy = &proxy };
        sbx_op op = i < 4 ? sbx_create(K.c, &create, NULL) : sbx_update(K.c, &K.box, &update, NULL, NULL);

        assert_int_equal(op.slot, 0);
        ASSERT_CODE(kit_error(op).code, SBX_ERR_UNSUPPORTED);
        assert_string_equal(kit_error(op).field, fields[i]);
        assert_non_null(strstr(kit_error(op).text, "SBX_CONFIG"));
    }
    assert_int_equal(K.s->connects, 0);
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mounts), cmocka_unit_test(test_proxy), cmocka_unit_test(test_access_and_update),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_longest_option), cmocka_unit_test(test_taken), cmocka_unit_test(test_secrets_are_wiped),
        cmocka_unit_test(test_not_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
