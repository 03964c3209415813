/* ---- langsmith_snapshots: snapshots and registries of LangSmith (public) ---- */
#ifndef SBX_LANGSMITH_SNAPSHOTS_H
#define SBX_LANGSMITH_SNAPSHOTS_H
#include "langsmith.h"
SBX_EXTERN_C_BEGIN

/* A snapshot is a root filesystem (and at will a memory) that new sandboxes
   begin with: sbx_create_opts.snapshot and its like. It is built from an image
   of a registry, or captured from a sandbox. Servers of 2026-04-a have none:
   every call ends with SBX_ERR_NO_ENDPOINT there, as the server's 404 is told
   from that for a missing snapshot by its words (`Not Found`, no error type).

   A snapshot is named by its id, its name (the one with the tag `latest`), or
   name:tag. Rules for texts, options and results are langsmith.h's. */

/* ---------------------------------------------------------------- snapshots */

/* The whole model but run_config and labels, which have no bound: read them
   from the raw answer. Cuts, times and numbers as in sbx_box_info (`cut`; 0;
   -1 where not given); a missing status reads as building. */
typedef struct sbx_snapshot {
    char id[64];
    char name[128];
    sbx_status status; /* BUILDING, READY, FAILED, DELETING or UNKNOWN */
    bool cut;
    char status_text[16];
    char status_message[256]; /* why it failed */
    char docker_image[224];   /* what it was built from */
    char image_digest[96];
    char source_sandbox_id[64]; /* what it was captured from */
    char registry_id[64];
    char created_by[64];
    int64_t created_ms, updated_ms;
    int64_t fs_capacity_bytes, fs_used_bytes;
    int64_t memory_bytes;     /* of the captured memory; -1 = the filesystem alone */
} sbx_snapshot;

/* Of sbx_snapshot_build and sbx_snapshot_capture. What is zero is left out of
   the request. An option that belongs to the other call is refused. */
typedef struct sbx_snapshot_opts {
    sbx_call call;
    int64_t fs_capacity_bytes; /* today's servers want it for a build, and to capture an image from a sandbox without a capacity */
    sbx_run_config run_config; /* layered over that of the image or sandbox */
    const sbx_pair *labels;    /* limits as in sbx_create_opts */
    size_t labels_n;
    sbx_str tag;               /* none = the server's: latest */
    bool no_wait;              /* return at once, status building (see sbx_snapshot_wait); excludes wait_s */
    int32_t wait_s;            /* limit in seconds, counted from the call: 60, as the official clients have it (sbx_snapshot_wait goes on with 300); SBX_FOREVER = none */
    int32_t poll_ms;           /* interval 2,000, jittered by 10 % */
    /* Build alone: a private image's registry, by the id that sbx_registry_create gave, or (2026-04-b) by itself. */
    sbx_str registry_id, registry_url, registry_username, registry_password;
    /* Capture alone. */
    sbx_str docker_image;      /* an image of the Docker inside the sandbox, in place of its root filesystem */
    sbx_str checkpoint;        /* one that exists; none = what the sandbox is now */
    bool include_memory;       /* the running sandbox's memory too; no effect with a checkpoint */
    sbx_buf raw;               /* gets the last answer's JSON text */
    size_t *raw_n;             /* written with the result: its length, > raw.n = cut */
} sbx_snapshot_opts;

/* POST …/snapshots: builds one from an image ("python:3.12-slim"), and
   (unless no_wait) polls until it is ready. Its name has at most 127 bytes and
   no colon: the tag is an option.
   `out` may be NULL; on SBX_ERR_TOO_LARGE it has what fitted. One attempt has
   30 s. The POST is not repeated once sent, the polls are. When the wait ends
   with an error or is cancelled the server builds on.
   Errors: SBX_ERR_CREATION (it failed; text: the server's status message; or
   the image is refused at once, type ImagePull and the like), SBX_ERR_TIMEOUT
   (type: the last status; the build goes on), SBX_ERR_NOT_FOUND (resource
   registry), SBX_ERR_CONFLICT (the server takes a name once only; sandboxd
   gives name and tag to the newer snapshot instead), SBX_ERR_QUOTA,
   SBX_ERR_OUTCOME (it may be built: look for its name). */
SBX_API sbx_op sbx_snapshot_build(sbx_client *c, sbx_str name, sbx_str image, const sbx_snapshot_opts *opts, sbx_snapshot *out);

/* POST …/boxes/{name}/snapshot: captures a sandbox, which runs on. The rest
   and the errors as sbx_snapshot_build's, but for SBX_ERR_NOT_FOUND (resource
   sandbox) and SBX_ERR_NOT_READY (include_memory of a stopped one). */
SBX_API sbx_op sbx_snapshot_capture(sbx_client *c, const sbx_box *box, sbx_str name, const sbx_snapshot_opts *opts, sbx_snapshot *out);

/* GET …/snapshots/{id, name or name:tag}: as it is now. `out` may be NULL.
   Errors: SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_snapshot_get(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts, sbx_snapshot *out);

/* Polls until ready (wait_s: 300, poll_ms: 2,000). Give the id: whether a name
   already means a snapshot that is still being made is the server's choice (of
   sandboxd not before it is ready). SBX_ERR_CREATION when it failed,
   SBX_ERR_TIMEOUT (type: the last status), SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_snapshot_wait(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts, sbx_snapshot *out);

/* DELETE …/snapshots/{id, name or name:tag}. Sandboxes that began with it live
   on. 404 as with sbx_delete. Errors: SBX_ERR_NOT_FOUND, SBX_ERR_IN_USE (409). */
SBX_API sbx_op sbx_snapshot_delete(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts);

/* GET …/snapshots, as sbx_list: all pages (servers give 50 items a page, and
   take page_size and limit up to 500), the same filters; status: building,
   ready, failed, deleting; items are sbx_snapshot. */
SBX_API sbx_op sbx_snapshot_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out);

/* One tag of a name. */
typedef struct sbx_snapshot_tag {
    char snapshot_id[64];
    char tag[128];
} sbx_snapshot_tag;
/* GET …/snapshots-by-name/{name}: its tags; items are sbx_snapshot_tag, the
   filters of `opts` are of no use. Errors: SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_snapshot_tags(sbx_client *c, sbx_str name, const sbx_list_opts *opts, sbx_list_result *out);

/* --------------------------------------------------------------- registries */

/* A registry holds the credentials for private images; its id is what
   sbx_snapshot_opts.registry_id takes. Servers of 2026-04 have none
   (SBX_ERR_NO_ENDPOINT); their path is
   {root}/api/v2/sandboxes/registries, root being the client's endpoint without
   /api/v2/sandboxes, else without /v2/sandboxes at its end. */
typedef struct sbx_registry {
    char id[64];
    char name[128];
    bool cut;
    char url[512];
    char auth_type[32];     /* DOCKER_CONFIG, AWS_ROLE; "" where not given */
    char aws_role_arn[160];
    char created_by[64];
    char updated_by[64];
    int64_t created_ms, updated_ms;
} sbx_registry;

/* What is not given is left out, and so not changed by an update. */
typedef struct sbx_registry_opts {
    sbx_call call;
    sbx_str name;         /* at most 127 bytes; create needs it; update: the new name */
    sbx_str url;          /* "registry.example.com"; create needs it */
    sbx_str username;     /* create: sandboxd wants both, whatever auth_type says */
    sbx_str password;     /* a secret: in no error, trace or answer; wiped with the request */
    sbx_str auth_type;    /* the server's words, newer servers: AWS_ROLE with aws_role_arn, else DOCKER_CONFIG */
    sbx_str aws_role_arn;
    sbx_buf raw;          /* gets the answer's JSON text */
    size_t *raw_n;
} sbx_registry_opts;

/* POST; `out` may be NULL. Not repeated once sent. Errors: SBX_ERR_CONFLICT (the
   name is taken), SBX_ERR_OUTCOME (it may exist: look for its name). */
SBX_API sbx_op sbx_registry_create(sbx_client *c, const sbx_registry_opts *opts, sbx_registry *out);
/* GET …/{name}. Errors: SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_registry_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_registry *out);
/* PATCH …/{name}; with nothing to change a GET. Errors: SBX_ERR_NOT_FOUND,
   SBX_ERR_CONFLICT (the new name is taken). */
SBX_API sbx_op sbx_registry_update(sbx_client *c, sbx_str name, const sbx_registry_opts *opts, sbx_registry *out);
/* DELETE …/{name}, as sbx_delete. Errors: SBX_ERR_NOT_FOUND, SBX_ERR_IN_USE (409). */
SBX_API sbx_op sbx_registry_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts);
/* GET, as sbx_list; the server filters by name_contains alone; items are
   sbx_registry. */
SBX_API sbx_op sbx_registry_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out);

SBX_EXTERN_C_END
#endif
