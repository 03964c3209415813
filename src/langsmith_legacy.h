/* ---- langsmith_legacy: templates, volumes and pools of older servers (public) ---- */
#ifndef SBX_LANGSMITH_LEGACY_H
#define SBX_LANGSMITH_LEGACY_H
#include "langsmith.h"
SBX_EXTERN_C_BEGIN

/* Servers of 2026-04 know sandboxes by templates. "2026-04-a" has these three
   resources and no snapshots, "2026-04-b" both, the current one snapshots
   alone. There is nothing to switch: a call that a server does not know ends
   with SBX_ERR_NO_ENDPOINT, by which a program tells the generation. Rules for
   texts, options and results are langsmith.h's.

   What else is different there:
   - sbx_create_opts.template_name must be given (b: it or snapshot_id), and
     ttl_s is how long a sandbox lives at all. idle_ttl_s deletes an unused one,
     which the current server only stops.
   - 2026-04-a has no start and no stop. In both a stopped sandbox does not wake
     by itself, and a stop clears its URL: sbx_start first, and use the box that
     it gives.
   - Commands: set sbx_run_opts.no_command_id. Runs over HTTP may be repeated by
     no one: SBX_VIA_HTTP is never sent again once it may have arrived.
   - Options that came later are refused or ignored by the server.

   Under SBX_NO_LEGACY these calls are not there, and template_name, ttl_s and
   no_command_id are refused (SBX_ERR_UNSUPPORTED). */

/* --------------------------------------------------------------- templates */

/* What sandboxes are made from. Cuts and times as in sbx_box_info; its
   volume_mounts have no bound: read them from the raw answer. */
typedef struct sbx_template {
    char id[64]; /* "" from servers that have none yet */
    char name[128];
    bool cut;
    char image[256];
    char cpu[32], memory[32], storage[32]; /* Kubernetes quantities: "500m", "512Mi" */
    int64_t created_ms, updated_ms;
} sbx_template;

typedef struct sbx_volume_mount {
    sbx_str volume_name, mount_path; /* both must be given */
} sbx_volume_mount;

typedef struct sbx_template_opts {
    sbx_call call;
    sbx_str name;    /* at most 127 bytes; create needs it; update: the new name, all that can be changed */
    sbx_str image;   /* create needs it */
    sbx_str cpu;     /* none = 500m */
    sbx_str memory;  /* none = 512Mi */
    sbx_str storage; /* ephemeral; none = the server's */
    const sbx_volume_mount *volume_mounts;
    size_t volume_mounts_n;
    sbx_buf raw;     /* gets the answer's JSON text */
    size_t *raw_n;   /* written with the result: its length, > raw.n = cut */
} sbx_template_opts;

/* POST …/templates. `out` may be NULL, here and below; on SBX_ERR_TOO_LARGE it
   has what fitted. Not repeated once sent.
   Errors: SBX_ERR_CONFLICT (the name is taken), SBX_ERR_NOT_FOUND (resource volume), SBX_ERR_OUTCOME (it may exist). */
SBX_API sbx_op sbx_template_create(sbx_client *c, const sbx_template_opts *opts, sbx_template *out);
/* GET …/templates/{name}. Errors: SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_template_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_template *out);
/* PATCH …/templates/{name}; with nothing to change a GET. Only the name can be
   changed: what else is given is refused. Errors: SBX_ERR_NOT_FOUND,
   SBX_ERR_CONFLICT (the new name is taken). */
SBX_API sbx_op sbx_template_update(sbx_client *c, sbx_str name, const sbx_template_opts *opts, sbx_template *out);
/* DELETE …/templates/{name}; 404 as with sbx_delete. Errors: SBX_ERR_NOT_FOUND,
   SBX_ERR_IN_USE (by sandboxes or pools). */
SBX_API sbx_op sbx_template_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts);
/* GET …/templates, as sbx_list; items are sbx_template. The server knows no
   pages and no filters. */
SBX_API sbx_op sbx_template_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out);

/* ----------------------------------------------------------------- volumes */

/* Storage that outlives sandboxes; templates mount it. */
typedef struct sbx_volume {
    char id[64];
    char name[128];
    bool cut;
    char size[32]; /* "10Gi" */
    char storage_class[64];
    int64_t created_ms, updated_ms;
} sbx_volume;

typedef struct sbx_volume_opts {
    sbx_call call;
    sbx_str name;   /* at most 127 bytes; create needs it; update: the new name */
    sbx_str size;   /* create needs it; update: it can only grow */
    int32_t wait_s; /* create: how long the server waits for it, 60 */
    sbx_buf raw;
    size_t *raw_n;
} sbx_volume_opts;

/* POST …/volumes; waits until it is ready. One attempt has wait_s + 30 s unless
   call.timeout_ms is set. Errors: SBX_ERR_CREATION (type VolumeProvisioning),
   SBX_ERR_TIMEOUT (not ready within wait_s), SBX_ERR_CONFLICT, SBX_ERR_OUTCOME. */
SBX_API sbx_op sbx_volume_create(sbx_client *c, const sbx_volume_opts *opts, sbx_volume *out);
/* These as for templates. An update to a smaller size is SBX_ERR_VALIDATION
   (type VolumeResize); SBX_ERR_IN_USE: templates refer to it. */
SBX_API sbx_op sbx_volume_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_volume *out);
SBX_API sbx_op sbx_volume_update(sbx_client *c, sbx_str name, const sbx_volume_opts *opts, sbx_volume *out);
SBX_API sbx_op sbx_volume_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts);
SBX_API sbx_op sbx_volume_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out);

/* ------------------------------------------------------------------- pools */

/* Sandboxes of a template that are kept ready. */
typedef struct sbx_pool {
    char id[64];
    char name[128];
    bool cut;
    char template_name[128];
    int64_t replicas; /* wanted; -1 = not given */
    int64_t created_ms, updated_ms;
} sbx_pool;

typedef struct sbx_pool_opts {
    sbx_call call;
    sbx_str name;          /* at most 127 bytes; create needs it; update: the new name */
    sbx_str template_name; /* create needs it; cannot be changed. It must mount no volumes */
    int32_t replicas;      /* create: from 1; update: 0 = as it is, SBX_NONE = none, the pool rests */
    int32_t wait_s;        /* create: how long the server waits for them, 30 */
    sbx_buf raw;
    size_t *raw_n;
} sbx_pool_opts;

/* POST …/pools; waits until its sandboxes are ready. Time as for volumes.
   Errors: SBX_ERR_EXISTS, SBX_ERR_NOT_FOUND (resource template),
   SBX_ERR_VALIDATION (the template mounts volumes), SBX_ERR_TIMEOUT,
   SBX_ERR_QUOTA, SBX_ERR_OUTCOME. */
SBX_API sbx_op sbx_pool_create(sbx_client *c, const sbx_pool_opts *opts, sbx_pool *out);
/* These as for templates; an update also has the errors of create. A deletion
   ends the pool's sandboxes. */
SBX_API sbx_op sbx_pool_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_pool *out);
SBX_API sbx_op sbx_pool_update(sbx_client *c, sbx_str name, const sbx_pool_opts *opts, sbx_pool *out);
SBX_API sbx_op sbx_pool_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts);
SBX_API sbx_op sbx_pool_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out);

SBX_EXTERN_C_END
#endif
