/* ---- langsmith_config: mounts, proxy and access of a sandbox (public) ---- */
#ifndef SBX_LANGSMITH_CONFIG_H
#define SBX_LANGSMITH_CONFIG_H
#include "api.h"
SBX_EXTERN_C_BEGIN

/* Typed forms of what sbx_create and sbx_update also take as JSON
   (mount_config, proxy_config, access_delegation); a typed one and the JSON of
   the same exclude each other. Zero is the default, NULL or an empty text means
   "not given". Everything is read during the call.

       sbx_mount mount = { .id = sbx_s("data"), .mount_path = sbx_s("/mnt/data"),
                           .s3 = { .bucket = sbx_s("measurements") } };
       sbx_mount_auth auth = { .aws = { .role_arn = sbx_s("arn:aws:iam::1:role/r") } };
       sbx_create_opts create = { .mounts = &mount, .mounts_n = 1, .mount_auth = &auth };

   What is wrong is refused before anything is sent (SBX_ERR_ARGUMENT); the
   error names the option by its way, `mounts[2].s3.bucket`. What the JSON
   forms hold is not looked into: checks between mounts and proxy need both
   typed. A client of sbx_client_init knows the typed forms if its description
   says `.config = SBX_CONFIG`, else and under SBX_NO_CONFIG they are
   SBX_ERR_UNSUPPORTED.

   Secrets are in no error text and no trace, and the request that holds them
   is wiped when it ends. Answers tell of a secret only that it is set. */

typedef enum sbx_secret_kind {
    SBX_SECRET_OPAQUE,    /* the value itself, which no answer shows again */
    SBX_SECRET_WORKSPACE, /* a workspace's secret by its name, `NAME` or `{NAME}` */
    SBX_SECRET_PLAINTEXT  /* not secret; only in a header */
} sbx_secret_kind;

typedef struct sbx_secret {
    sbx_str value; /* must not be blank; what is blank at its ends is left out, except in headers. A workspace secret's name
                      without braces gets them (at most 126 bytes); one brace alone is refused */
    sbx_secret_kind kind;
} sbx_secret;

/* Either both keys, or the role alone. */
typedef struct sbx_aws_auth {
    sbx_secret access_key_id, secret_access_key;
    sbx_str role_arn;
} sbx_aws_auth;

typedef struct sbx_gcp_auth {
    sbx_secret service_account_json;
    const sbx_str *scopes; /* a proxy rule needs at least one, mounts take none */
    size_t scopes_n;
} sbx_gcp_auth;

/* ------------------------------------------------------------------ mounts */

typedef struct sbx_mount_cache {
    int64_t max_size_bytes; /* 0 = the server's */
    int32_t writeback_s;    /* seconds before a change is written back, SBX_NONE = at once, 0 = the server's */
} sbx_mount_cache;

typedef struct sbx_mount_s3 {
    sbx_str bucket;
    sbx_str prefix;       /* of the keys; none = the whole bucket */
    sbx_str region;       /* none = us-east-1 */
    sbx_str endpoint_url; /* none = https://s3.amazonaws.com; must hold no user or password */
    bool path_style;
} sbx_mount_s3;

typedef struct sbx_mount_gcs {
    sbx_str bucket, prefix;
} sbx_mount_gcs;

typedef struct sbx_mount_git {
    sbx_str remote_url;  /* https://HOST/PATH without user, password, query, fragment or white space */
    sbx_str branch, tag; /* at most one of the two; none = the remote's own choice */
    int32_t refresh_interval_s; /* from 1; 0 = the server's */
} sbx_mount_git;

/* One way only: what is written below the mount path is not pushed back. */
typedef struct sbx_mount_contexthub {
    sbx_str repo;           /* "owner/repo" */
    bool initial_pull_only; /* synced once at the start only */
} sbx_mount_contexthub;

/* What is mounted: exactly one of s3, gcs, git and contexthub is given. */
typedef struct sbx_mount {
    sbx_str id;         /* must be given, the caller's choice */
    sbx_str mount_path; /* must be given: absolute, inside the sandbox */
    sbx_tri read_only;
    sbx_mount_cache cache; /* of buckets */
    sbx_mount_s3 s3;
    sbx_mount_gcs gcs;
    sbx_mount_git git;
    sbx_mount_contexthub contexthub;
} sbx_mount;

/* Credentials of all mounts. s3 mounts need `aws` here, or an enabled aws rule
   in the proxy's; gcs mounts need `gcp` here. Without such a mount a provider
   is refused, and so is one that has a rule in the proxy's as well. */
typedef struct sbx_mount_auth {
    sbx_aws_auth aws;
    sbx_gcp_auth gcp;
} sbx_mount_auth;

/* ------------------------------------------------------------------- proxy */

typedef struct sbx_proxy_header {
    sbx_str name;     /* must be given */
    sbx_secret value; /* must be given; a workspace's secret may stand inside it, as in `Bearer {NAME}` */
} sbx_proxy_header;

/* What the proxy in front of the sandbox does with requests from it: signs
   them (aws, gcp, whose hosts the service knows) or sets headers. Exactly one
   of aws, gcp and headers is given. */
typedef struct sbx_proxy_rule {
    sbx_str name;   /* must be given with headers; none = "aws", "gcp" */
    bool disabled;
    sbx_aws_auth aws;
    sbx_gcp_auth gcp;
    const sbx_proxy_header *headers;
    size_t headers_n;
    const sbx_str *match_hosts; /* with headers, at least one: domains, globs, addresses, `~regular expression` */
    size_t match_hosts_n;
    const sbx_str *match_paths; /* with headers */
    size_t match_paths_n;
    const sbx_pair *env; /* environment of every command while the rule is enabled; not secret */
    size_t env_n;
} sbx_proxy_rule;

/* A URL that is asked for the headers of matching requests. */
typedef struct sbx_proxy_callback {
    const sbx_str *match_hosts; /* at least one */
    size_t match_hosts_n;
    sbx_str url;         /* must be given */
    int32_t ttl_s;       /* seconds its answer is kept */
    bool full_request;   /* it gets the whole request */
    const sbx_proxy_header *request_headers;
    size_t request_headers_n;
} sbx_proxy_callback;

/* All zero: no rule at all. An update replaces the whole. */
typedef struct sbx_box_proxy {
    const sbx_proxy_rule *rules;
    size_t rules_n;
    const sbx_str *no_proxy; /* newer servers ignore it */
    size_t no_proxy_n;
    const sbx_str *allow_list; /* hosts that may be reached; patterns as match_hosts */
    size_t allow_list_n;
    const sbx_str *deny_list; /* hosts that may not; excludes allow_list */
    size_t deny_list_n;
    const sbx_proxy_callback *callbacks;
    size_t callbacks_n;
} sbx_box_proxy;

/* ------------------------------------------------------------------ access */

/* What the sandbox may do in the creator's name. */
typedef enum sbx_delegation_mode {
    SBX_DELEGATION_INHERIT, /* all that the creator may; excludes permissions */
    SBX_DELEGATION_EXPLICIT /* the permissions, at least one */
} sbx_delegation_mode;

typedef struct sbx_delegation {
    sbx_delegation_mode mode;
    const sbx_str *permissions;
    size_t permissions_n;
} sbx_delegation;

SBX_EXTERN_C_END
#endif
