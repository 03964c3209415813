/* ---- langsmith: sandboxes, commands and files of LangSmith (public) ---- */
#ifndef SBX_LANGSMITH_H
#define SBX_LANGSMITH_H
#include "api.h"
SBX_EXTERN_C_BEGIN

/* A sandbox: what every call on it needs. Plain data, copyable, nothing to
   free. It must outlive the operations that were given it. */
typedef struct sbx_box {
    char id[64];
    char name[128];
    char url[512]; /* data plane; "" = not known yet */
} sbx_box;

/* A box known by its name (and data plane) only, from a configuration. False:
   empty or too long. */
SBX_API bool sbx_box_named(sbx_box *box, sbx_str name, sbx_str url);

typedef enum sbx_status {
    SBX_STATUS_UNKNOWN, /* a value newer than this library: see status_text */
    SBX_STATUS_PROVISIONING,
    SBX_STATUS_READY,
    SBX_STATUS_FAILED,
    SBX_STATUS_STOPPED,
    SBX_STATUS_DELETING
} sbx_status;

/* The whole model. A text that is longer than its field is cut at a character
   border and `cut` is set; ids and URLs are never cut (SBX_ERR_TOO_LARGE).
   Times are Unix ms, 0 = not given; numbers are -1 where not given.
   run_config, mount_config, proxy_config, access_delegation and labels have
   no bound: read them from the raw answer (sbx_box_opts.raw). */
typedef struct sbx_box_info {
    sbx_box box;
    sbx_status status;
    bool cut;
    sbx_tri preserve_memory_on_stop;
    char status_text[16];
    char status_message[256];
    char snapshot_id[64];
    char size_class[32];
    char created_by[64];
    char updated_by[64];
    int64_t created_ms, updated_ms, stopped_ms;
    int64_t idle_ttl_s, delete_after_stop_s;
    int64_t vcpus, mem_bytes, fs_capacity_bytes, cpu_millicores;
} sbx_box_info;

/* Defaults of a sandbox's commands; layered snapshot < sandbox < command. */
typedef struct sbx_run_config {
    sbx_str user, work_dir;
    const sbx_pair *env;
    size_t env_n;
} sbx_run_config;

/* POST …/boxes. */
typedef struct sbx_create_opts {
    sbx_call call;
    sbx_str name;          /* none = the server (or, with delete_on_close, the client) makes one */
    sbx_str snapshot;      /* name or name:tag; at most one of the three is given */
    sbx_str snapshot_name;
    sbx_str snapshot_id;
    bool no_wait;          /* return at once, status provisioning (see sbx_wait_ready) */
    int32_t wait_s;        /* how long the server waits for ready: 30 */
    int32_t idle_ttl_s;    /* multiple of 60; SBX_NONE = never stop; 0 = the server's default */
    int32_t delete_after_stop_s; /* multiple of 60, at most 2,592,000; SBX_NONE = never */
    int64_t vcpus, mem_bytes, fs_capacity_bytes, cpu_millicores;
    sbx_run_config run_config;
    const sbx_pair *env;   /* env_vars */
    size_t env_n;
    const sbx_pair *labels; /* at most 128; names 1..256, values up to 4,096 bytes */
    size_t labels_n;
    const sbx_str *tag_value_ids;
    size_t tag_value_ids_n;
    sbx_tri preserve_memory_on_stop;
    sbx_tri restore_memory;
    /* JSON values, passed as they are (checked to be well-formed). */
    sbx_str mount_config, proxy_config, access_delegation;
    bool delete_on_close;  /* sbx_close and sbx_shutdown delete it, even when the answer to create was lost */
    sbx_buf raw;           /* gets the answer's JSON text; see raw_n */
    size_t *raw_n;         /* written with the result: bytes of the answer, > raw.n = cut */
    sbx_box_info *info;    /* written with the result */
} sbx_create_opts;

/* Creates a sandbox and (unless no_wait) waits until it is ready. *out is
   written on success, and on SBX_ERR_TOO_LARGE with id and name, so that it
   can be deleted. Repeated only when the request was not sent, on 429, or on
   503 without a typed body. Errors besides the general ones: SBX_ERR_CREATION
   (type: ImagePull, CrashLoop, SandboxConfig, Unschedulable), SBX_ERR_TIMEOUT,
   SBX_ERR_QUOTA, SBX_ERR_CONFLICT, SBX_ERR_OUTCOME. */
SBX_API sbx_op sbx_create(sbx_client *c, const sbx_create_opts *opts, sbx_box *out);

typedef struct sbx_box_opts {
    sbx_call call;
    sbx_buf raw;     /* gets the answer's JSON text */
    size_t *raw_n;   /* written with the result: its length, > raw.n = cut */
    int32_t wait_s;  /* sbx_wait_ready, sbx_start: limit 120 */
    int32_t poll_ms; /* sbx_wait_ready, sbx_start: interval 1,000, jittered by 10 % */
} sbx_box_opts;

/* GET …/boxes/{name}. `out` and `info` may each be NULL. */
SBX_API sbx_op sbx_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info);

/* GET …/boxes: an SBX_EV_ITEM (sbx_box_info) for each sandbox of every page;
   or into `items`, an array of sbx_box_info. */
typedef struct sbx_list_opts {
    sbx_call call;
    sbx_str name_contains, status, sort_by, sort_direction, sort_order, created_by, cursor;
    const sbx_str *labels; /* `key` or `key=value`; all must match */
    size_t labels_n;
    int32_t page_size;   /* items a request, 0 = the server's */
    int32_t limit;       /* the same on older servers */
    int32_t offset;
    bool one_page;       /* only the first page */
    sbx_buf items;       /* instead of events */
    sbx_buf raw;         /* the JSON text of the last page */
    size_t *raw_n;
} sbx_list_opts;
typedef struct sbx_list_result {
    uint64_t count;       /* items seen */
    uint64_t stored;      /* items in `items` */
    bool cut;             /* stored < count */
    bool truncated;       /* the server said that there are more (glob, grep) */
    char next_cursor[256]; /* one_page: where the next page begins */
    int64_t next_offset;  /* one_page, older servers; 0 = the end */
} sbx_list_result;
SBX_API sbx_op sbx_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out);

/* PATCH …/boxes/{name}: 0/NULL = leave. Nothing to change is a GET. */
typedef enum sbx_clear {
    SBX_CLEAR_MOUNT_CONFIG = 1, SBX_CLEAR_PROXY_CONFIG = 2, SBX_CLEAR_RUN_CONFIG = 4, SBX_CLEAR_TAGS = 8
} sbx_clear;
typedef struct sbx_update_opts {
    sbx_call call;
    sbx_str name;
    int32_t idle_ttl_s, delete_after_stop_s;
    int64_t vcpus, mem_bytes, fs_capacity_bytes, cpu_millicores;
    sbx_run_config run_config;
    sbx_str proxy_config; /* JSON; replaces all rules */
    const sbx_str *tag_value_ids;
    size_t tag_value_ids_n;
    unsigned clear_mask;  /* SBX_CLEAR_…: sends an explicit null */
    sbx_buf raw;
    size_t *raw_n;
} sbx_update_opts;
SBX_API sbx_op sbx_update(sbx_client *c, const sbx_box *box, const sbx_update_opts *opts, sbx_box *out, sbx_box_info *info);

/* DELETE …/boxes/{name}. A repetition's 404 counts as success. */
SBX_API sbx_op sbx_delete(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts);

typedef struct sbx_status_info {
    sbx_status status;
    bool cut;
    char status_text[16];
    char status_message[256];
} sbx_status_info;
SBX_API sbx_op sbx_get_status(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_status_info *out);

/* Polls the status until ready, then GETs the sandbox. SBX_ERR_CREATION when
   it failed, SBX_ERR_TIMEOUT (with the last status) after wait_s. */
SBX_API sbx_op sbx_wait_ready(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info);

/* POST …/start, then as sbx_wait_ready; POST …/stop. Neither is repeated once
   sent: after SBX_ERR_OUTCOME ask for the status. */
SBX_API sbx_op sbx_start(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info);
SBX_API sbx_op sbx_stop(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts);

/* ---------------------------------------------------------------- commands */

typedef enum sbx_via {
    SBX_VIA_WS,  /* streamed over a WebSocket with reconnect (default) */
    SBX_VIA_HTTP /* one POST /execute: no streaming, no reconnect, cut at about 310 s */
} sbx_via;

typedef struct sbx_run_opts {
    sbx_call call;
    sbx_buf out, err;      /* sbx_run: where the output goes */
    bool alloc;            /* sbx_run: into memory of desc.resize instead; free with sbx_free */
    bool discard;          /* sbx_run: no output wanted, only the exit code */
    size_t max_output;     /* with alloc: cap a stream, 0 = 16 MiB */
    sbx_via via;
    int32_t timeout_s;     /* of the command: 60; SBX_NONE = none */
    int32_t idle_timeout_s; /* killed after so long without clients: 300; SBX_NONE = never */
    int32_t ttl_s;         /* kept after its end: 600; SBX_NONE = for ever */
    sbx_str shell;         /* "/bin/bash" */
    sbx_str cwd;
    const sbx_pair *env;
    size_t env_n;
    sbx_run_config run_config; /* excludes cwd and env */
    sbx_str command_id;    /* a UUID: makes the call idempotent across programs; none = made here */
    bool stdin_open;       /* keep standard input open for sbx_input; default: closed at once */
    bool pty;              /* a terminal; its output comes as stdout */
    uint16_t cols, rows;   /* with pty */
    bool kill_on_disconnect;
    bool no_reconnect;     /* a drop ends the operation with SBX_ERR_CONNECTION */
} sbx_run_opts;

typedef struct sbx_result {
    int exit_code;          /* may be negative or above 128 (signals) */
    uint32_t pid;
    bool out_cut, err_cut;  /* more came than was stored */
    bool gap;               /* output was lost in a reconnect */
    size_t out_n, err_n;    /* bytes stored */
    uint64_t out_total, err_total; /* bytes that came */
    char *out_p, *err_p;    /* with alloc: NUL-terminated, the caller's */
    char command_id[37];
} sbx_result;

/* Runs a command and collects its output. *out (may be NULL) is written at the
   end also when the command was started and then failed (a timeout, a lost
   stream): what is in the buffers is then what came until there.
   A non-zero exit code is not an error. */
SBX_API sbx_op sbx_run(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts, sbx_result *out);
/* The same, its output as events: STARTED, STDOUT, STDERR, GAP, RETRYING,
   RECONNECTED, END. The sender is slowed while events are not pulled. */
SBX_API sbx_op sbx_command(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts);

/* Attaches to a command that runs already, or ended within its ttl, from the
   given offsets on. */
typedef struct sbx_attach_opts {
    sbx_call call;
    uint64_t stdout_offset, stderr_offset;
    bool no_reconnect;
} sbx_attach_opts;
SBX_API sbx_op sbx_attach(sbx_client *c, const sbx_box *box, sbx_str command_id, const sbx_attach_opts *opts);
/* The command's id and how far each stream was delivered, to go on later or
   elsewhere. */
SBX_API sbx_code sbx_command_position(const sbx_client *c, sbx_op op, char command_id[37], uint64_t *stdout_offset, uint64_t *stderr_offset);

/* Standard input: takes what can be sent now, *taken says how much; with 0
   wait for SBX_EV_WRITABLE. Bytes of an unfinished UTF-8 character at the end
   are left to the caller; SBX_ERR_ARGUMENT when data is not UTF-8 (the
   protocol carries text), SBX_ERR_STATE after close_stdin. */
SBX_API sbx_code sbx_input(sbx_client *c, sbx_op op, sbx_str data, size_t *taken);
/* The next three are kept while the stream is down and sent after it is back. */
SBX_API sbx_code sbx_close_stdin(sbx_client *c, sbx_op op);
SBX_API sbx_code sbx_pty_resize(sbx_client *c, sbx_op op, uint16_t cols, uint16_t rows);
/* SIGKILL to the command's process group; the operation goes on until the
   exit code came (10 s at most). */
SBX_API sbx_code sbx_kill(sbx_client *c, sbx_op op);

/* ------------------------------------------------------------------- files */

typedef struct sbx_file_stat {
    uint64_t size;
    int64_t modified_ms;
    char etag[96];
    char content_type[64];
} sbx_file_stat;

typedef struct sbx_read_opts {
    sbx_call call;
    sbx_buf out;          /* collected here, */
    bool alloc;           /* or in memory of desc.resize, */
    bool stream;          /* or as SBX_EV_DATA */
    size_t max_bytes;     /* with alloc: cap, 0 = 64 MiB */
    int64_t offset;       /* first byte; negative: the last -offset bytes */
    int64_t length;       /* bytes wanted, 0 = to the end */
    sbx_str if_none_match; /* an ETag: unchanged = not_modified, no data */
    sbx_str if_match_etag; /* If-Range: refuse (SBX_ERR_CHANGED) when the file is not this any more */
    bool no_resume;       /* a drop is an error; default: the rest is asked for by range and ETag */
} sbx_read_opts;

typedef struct sbx_read_result {
    size_t n;             /* bytes stored */
    uint64_t total;       /* bytes that came */
    uint64_t size;        /* of the whole file, UINT64_MAX = not said */
    uint64_t offset;      /* of the first byte */
    bool cut, not_modified;
    char *p;              /* with alloc: NUL-terminated, the caller's */
    sbx_file_stat stat;
} sbx_read_result;

/* GET …/download. path: absolute, or relative to the home directory. */
SBX_API sbx_op sbx_read(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_read_opts *opts, sbx_read_result *out);

typedef struct sbx_write_opts {
    sbx_call call;
    bool stream;   /* the body comes by sbx_push */
    int64_t size;  /* with stream: its bytes; SBX_NONE = not known (chunked) */
} sbx_write_opts;

/* POST …/upload. `data` is borrowed until END. Writing a file again is the
   same file: it is repeated after a lost answer (with stream: after
   SBX_EV_REWIND). */
SBX_API sbx_op sbx_write(sbx_client *c, const sbx_box *box, sbx_str path, sbx_str data, const sbx_write_opts *opts);

/* HEAD …/download. */
SBX_API sbx_op sbx_stat(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_box_opts *opts, sbx_file_stat *out);

/* One answer of glob, ls or grep. */
typedef struct sbx_match {
    char path[512];
    char text[512];      /* grep: the line, cut if longer */
    int64_t size;        /* -1 = not given */
    int64_t modified_ms; /* 0 = not given */
    int64_t line;        /* grep: from 1 */
    bool is_dir;
    bool cut;
} sbx_match;

typedef struct sbx_find_opts {
    sbx_call call;
    sbx_str path;    /* directory; none = "/" */
    sbx_str glob;    /* grep: which files */
    int32_t limit;   /* 0 = the server's */
    sbx_buf items;   /* an array of sbx_match, instead of events */
} sbx_find_opts;
/* An SBX_EV_ITEM (sbx_match) for each; sbx_ls is the pattern `*`; grep looks
   for literal text. */
SBX_API sbx_op sbx_glob(sbx_client *c, const sbx_box *box, sbx_str pattern, const sbx_find_opts *opts, sbx_list_result *out);
SBX_API sbx_op sbx_ls(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_find_opts *opts, sbx_list_result *out);
SBX_API sbx_op sbx_grep(sbx_client *c, const sbx_box *box, sbx_str text, const sbx_find_opts *opts, sbx_list_result *out);

SBX_EXTERN_C_END
#endif
