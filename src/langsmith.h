/* ---- langsmith: sandboxes, commands and files of LangSmith (public) ---- */
#ifndef SBX_LANGSMITH_H
#define SBX_LANGSMITH_H
#include "api.h"
#include "langsmith_config.h"
SBX_EXTERN_C_BEGIN

/* The service: LangSmith sandboxes, in the generation of its API that the npm
   package `langsmith` 0.10.5 speaks ("current"). Control plane calls go to the
   client's endpoint, …/v2/sandboxes; data plane calls (commands, files, tunnels)
   to the sandbox's own URL, with the same key and headers. The data plane wakes
   a stopped sandbox (but not on servers of 2026-04).

   Every call returns at once with an operation (see sbx_op, which also lists
   the errors that any call can end with) and takes NULL for `opts`. Texts and
   options are read during the call; out-pointers, buffers and the sbx_box are
   borrowed until END, and written only on success unless it says otherwise.
   A value put into a URL is percent-encoded, with nothing left but unreserved
   characters; empty ones, `.` and `..`, NUL and what is not UTF-8 are refused.
   An option that is a text and set must not be empty, and must be UTF-8 without
   NUL where it goes as JSON. */

/* A sandbox: what every call on it needs. Plain data, copyable, nothing to
   free. It must outlive the operations that were given it. */
typedef struct sbx_box {
    char id[64];
    char name[128]; /* control plane calls use it, or the id where it is "" */
    char url[512];  /* data plane; "" = not known yet: data plane calls are refused. They go to this host with
                       the API key: take boxes from the service, or from a configuration that you trust. http:// where the
                       endpoint is https:// is refused (sbx_client_desc.allow_http_boxes) */
} sbx_box;

/* A box known by its name and, where url is not empty, data plane only, from a
   configuration. False: the name is empty or holds a NUL, or one of them is too
   long. The API key is sent to whatever host the URL names. */
SBX_API bool sbx_box_named(sbx_box *box, sbx_str name, sbx_str url);

typedef enum sbx_status {
    SBX_STATUS_UNKNOWN, /* a value newer than this library: see status_text */
    SBX_STATUS_PROVISIONING,
    SBX_STATUS_READY,
    SBX_STATUS_FAILED,
    SBX_STATUS_STOPPED,
    SBX_STATUS_DELETING,
    SBX_STATUS_BUILDING /* of a snapshot */
} sbx_status;

/* The whole model. A text that is longer than its field is cut at a character
   border and `cut` is set; ids and URLs are never cut (SBX_ERR_TOO_LARGE).
   Times are Unix ms, 0 = not given; numbers are -1 where not given; a missing
   status reads as ready.
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
    char template_name[128]; /* with expires_ms and ttl_s: servers of 2026-04 */
    int64_t expires_ms;
    int64_t created_ms, updated_ms, stopped_ms;
    int64_t ttl_s, idle_ttl_s, delete_after_stop_s;
    int64_t vcpus, mem_bytes, fs_capacity_bytes, cpu_millicores;
} sbx_box_info;

/* Defaults of a sandbox's commands: Unix user, working directory, environment.
   Layered by the server: snapshot < sandbox < command. */
typedef struct sbx_run_config {
    sbx_str user, work_dir;
    const sbx_pair *env;
    size_t env_n;
} sbx_run_config;

/* POST …/boxes. What is zero is left out of the request. */
typedef struct sbx_create_opts {
    sbx_call call;
    sbx_str name;          /* at most 127 bytes; none = the server (or, with delete_on_close, the client) makes one */
    sbx_str snapshot;      /* name or name:tag; at most one of the three is given, none = the server's default */
    sbx_str snapshot_name;
    sbx_str snapshot_id;
    sbx_str template_name; /* servers of 2026-04 (langsmith_legacy); excludes the three */
    bool no_wait;          /* return at once, status provisioning (see sbx_wait_ready) */
    int32_t wait_s;        /* how long the server waits for ready: 30; excludes no_wait */
    int32_t idle_ttl_s;    /* seconds until an unused sandbox is stopped, a multiple of 60; SBX_NONE = never; 0 = the server's default */
    int32_t ttl_s;         /* servers of 2026-04: deleted so long after its creation; a multiple of 60, SBX_NONE = never, 0 = the server's default */
    int32_t delete_after_stop_s; /* multiple of 60, at most 2,592,000; SBX_NONE = never; 0 = the server's default */
    int64_t vcpus, mem_bytes, fs_capacity_bytes, cpu_millicores; /* 0 = the server's; it checks their ratio */
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
    /* Their typed forms, each in place of the JSON one (langsmith_config). */
    const sbx_mount *mounts;
    size_t mounts_n;
    const sbx_mount_auth *mount_auth;
    const sbx_box_proxy *proxy;
    const sbx_delegation *access;
    bool delete_on_close;  /* sbx_close and sbx_shutdown delete it, even when the answer to create was lost; takes one of max_owned */
    sbx_buf raw;           /* gets the answer's JSON text as it comes; see raw_n */
    size_t *raw_n;         /* written with the result: bytes of the answer, > raw.n = cut */
    sbx_box_info *info;    /* written with the result */
} sbx_create_opts;

/* Creates a sandbox and (unless no_wait) waits until it is ready. `out` may be
   NULL. *out is written on success, and on SBX_ERR_TOO_LARGE with id and name,
   so that it can be deleted. One attempt has wait_s + 30 s (no_wait: 30 s),
   unless call.timeout_ms is set. Repeated only when the request was not sent,
   on 429, or on 503 without a typed body.
   Errors: SBX_ERR_ARGUMENT (also more than one snapshot, JSON that is not
   well-formed), SBX_ERR_FULL (max_owned), SBX_ERR_CREATION (type: ImagePull,
   CrashLoop, SandboxConfig, Unschedulable, or another: a 422 that names no part of the request), SBX_ERR_TIMEOUT (408: not ready
   within wait_s), SBX_ERR_NOT_FOUND (resource snapshot or template), SBX_ERR_NO_ENDPOINT
   (404 without a type: check the endpoint), SBX_ERR_CONFLICT (the name is
   taken), SBX_ERR_QUOTA (with its kind in `quota`), SBX_ERR_OUTCOME (it may
   exist: look for its name; delete_on_close sees to that). */
SBX_API sbx_op sbx_create(sbx_client *c, const sbx_create_opts *opts, sbx_box *out);

typedef struct sbx_box_opts {
    sbx_call call;
    sbx_buf raw;     /* gets the answer's JSON text (sbx_stat, sbx_fetch_stat: unused) */
    size_t *raw_n;   /* written with the result: its length, > raw.n = cut */
    /* Of sbx_wait_ready, sbx_start and sbx_snapshot_wait. */
    int32_t wait_s;  /* limit in seconds: 120, for a snapshot 300; SBX_FOREVER = none */
    int32_t poll_ms; /* interval: 1,000, for a snapshot 2,000, jittered by 10 % */
} sbx_box_opts;

/* GET …/boxes/{name}: the sandbox as it is now; an id serves as well. `out` and
   `info` may each be NULL; on SBX_ERR_TOO_LARGE *out has what fitted. Errors:
   SBX_ERR_NOT_FOUND, SBX_ERR_NO_ENDPOINT (a 404 that says `Not Found` and no
   type: check the endpoint). */
SBX_API sbx_op sbx_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info);

/* GET …/boxes, all pages unless one_page. Zero = not sent. */
typedef struct sbx_list_opts {
    sbx_call call;
    /* Filters and order, the server's words; sort_direction is the older
       server's name of sort_order; created_by knows "me". cursor: begin at this
       page (excludes offset). */
    sbx_str name_contains, status, sort_by, sort_direction, sort_order, created_by, cursor;
    const sbx_str *labels; /* `key` or `key=value`; all must match */
    size_t labels_n;
    int32_t page_size;   /* items a request, 0 = the server's */
    int32_t limit;       /* the same on older servers */
    int32_t offset;      /* items to skip, older servers */
    bool one_page;       /* only the first page */
    sbx_buf items;       /* an array of the call's items, here sbx_box_info (its size in bytes), instead of events */
    sbx_buf raw;         /* the JSON text of the last page */
    size_t *raw_n;
} sbx_list_opts;
typedef struct sbx_list_result {
    uint64_t count;       /* items that came */
    uint64_t stored;      /* items in `items` */
    bool cut;             /* with `items`: stored < count */
    bool truncated;       /* the server said that there are more (glob, grep) */
    char next_cursor[256]; /* one_page: where the next page begins, "" = the end */
    int64_t next_offset;  /* one_page, older servers; 0 = the end */
} sbx_list_result;
/* An SBX_EV_ITEM (sbx_box_info) for each sandbox; or into `items`. An item
   that a shifting page brings again is dropped (by id, of the last 32). `out`
   may be NULL; it is written also on SBX_ERR_TOO_LARGE (an id or cursor longer
   than its field). Errors: SBX_ERR_NO_ENDPOINT (404: check the endpoint),
   SBX_ERR_PROTOCOL (also a next page that does not move, and more than 1,000
   pages in a row without a new item). */
SBX_API sbx_op sbx_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out);

/* What sbx_update can clear. */
typedef enum sbx_clear {
    SBX_CLEAR_PROXY_CONFIG = 2, SBX_CLEAR_RUN_CONFIG = 4, SBX_CLEAR_TAGS = 8
} sbx_clear;
/* 0/NULL = leave as it is. */
typedef struct sbx_update_opts {
    sbx_call call;
    sbx_str name; /* the new name */
    int32_t idle_ttl_s, delete_after_stop_s, ttl_s;
    int64_t vcpus, mem_bytes, fs_capacity_bytes, cpu_millicores;
    sbx_run_config run_config;
    sbx_str proxy_config; /* JSON; replaces all rules */
    const sbx_box_proxy *proxy; /* its typed form, in its place */
    const sbx_str *tag_value_ids;
    size_t tag_value_ids_n;
    unsigned clear_mask;  /* SBX_CLEAR_…: sends an explicit null; excludes a value */
    sbx_buf raw;
    size_t *raw_n;
} sbx_update_opts;
/* PATCH …/boxes/{name}; with nothing to change a GET. Units and limits as in
   sbx_create_opts. `out` and `info` may each be NULL. After a
   new name use *out: *box has the old one. Errors: SBX_ERR_NOT_FOUND,
   SBX_ERR_CONFLICT (the name is taken), SBX_ERR_NOT_READY (proxy_config of a
   stopped sandbox on older servers). */
SBX_API sbx_op sbx_update(sbx_client *c, const sbx_box *box, const sbx_update_opts *opts, sbx_box *out, sbx_box_info *info);

/* DELETE …/boxes/{name}. A repetition's 404 counts as success, that of the
   first attempt is SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_delete(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts);

/* Of a status without a value it reads provisioning. */
typedef struct sbx_status_info {
    sbx_status status;
    bool cut;
    char status_text[16];
    char status_message[256];
} sbx_status_info;
/* GET …/boxes/{name}/status, once. `out` may be NULL. Errors: SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_get_status(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_status_info *out);

/* Polls the status until ready, then GETs the sandbox into `out` and `info`
   (each may be NULL). SBX_ERR_CREATION when it failed (text: the status
   message), SBX_ERR_TIMEOUT (type: the last status) after wait_s,
   SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_wait_ready(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info);

/* POST …/start, then as sbx_wait_ready; POST …/stop, which does not wait.
   Neither is repeated once sent: after SBX_ERR_OUTCOME ask for the status.
   SBX_ERR_NO_ENDPOINT: a server of 2026-04-a. */
SBX_API sbx_op sbx_start(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info);
SBX_API sbx_op sbx_stop(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts);

/* ---------------------------------------------------------------- commands */

/* How a command and its output travel: a function of the library's, given by
   its name and not to be called. A program is linked only with those that it
   names.
   SBX_VIA_WS: streamed over a WebSocket with reconnect (NULL: the default).
   SBX_VIA_HTTP: sbx_run only: one POST …/execute. No streaming, reconnect, pty,
   stdin, kill, command id, idle_timeout_s or ttl_s; a proxy of the service cuts
   it at about 310 s.
   SBX_VIA_SSE: streamed as server-sent events of plain HTTP requests, byte for
   byte: a slow reader pauses the command and nothing is lost, however much it
   prints. No pty, live standard input (stdin_data instead), SSH agent, sbx_kill
   or kill_on_disconnect. Needs the newest servers; a command is reached the way
   it was started. */
SBX_API const struct sbxi_via *sbx_via_http(void);
SBX_API const struct sbxi_via *sbx_via_sse(void);
typedef const struct sbxi_via *(*sbx_via)(void);
#define SBX_VIA_WS ((sbx_via)0)
#define SBX_VIA_HTTP sbx_via_http
#define SBX_VIA_SSE sbx_via_sse

/* One of out and err, alloc or discard must be given to sbx_run
   (SBX_ERR_NO_BUFFER), none of them to sbx_command. */

typedef struct sbx_run_opts {
    sbx_call call;
    sbx_buf out, err;      /* where the output goes; what is beyond is counted and dropped */
    bool alloc;            /* into memory of desc.resize instead; free with sbx_free */
    bool discard;          /* no output wanted, only the exit code; excludes the others */
    size_t max_output;     /* with alloc only: cap a stream, 0 = 16 MiB */
    sbx_via via;
    int32_t timeout_s;     /* of the command, by the server: 60; SBX_NONE = none */
    int32_t idle_timeout_s; /* killed after so long without clients: 300; SBX_NONE = never */
    int32_t ttl_s;         /* kept after its end, for sbx_attach: 600; SBX_NONE = for ever */
    sbx_str shell;         /* "/bin/bash" */
    sbx_str cwd;
    const sbx_pair *env;
    size_t env_n;
    sbx_run_config run_config; /* excludes cwd and env */
    sbx_str command_id;    /* a UUID (36 characters): makes the call idempotent across programs; none = a version 7 one is made */
    bool no_command_id;    /* for servers of 2026-04, which choose it: excludes command_id. A stream that breaks before `started` may have
                              started the command, so it is not opened again: SBX_ERR_OUTCOME */
    bool stdin_open;       /* keep standard input open for sbx_input; default: closed at once */
    bool pty;              /* a terminal, its input open; its output comes as stdout; `command` may be empty */
    uint16_t cols, rows;   /* with pty; one without the other: 80, 24 */
    bool ssh_agent_forward; /* sbx_command: programs in the sandbox find the caller's SSH agent (sbx_agent_send); keeps one of max_requests until END */
    bool kill_on_disconnect; /* the server kills it when the connection goes */
    bool no_reconnect;     /* a drop ends the operation with SBX_ERR_CONNECTION */
    sbx_str stdin_data;    /* SBX_VIA_SSE only: the whole standard input, any bytes. Sent with the request: a third more than its size must fit in request_bytes */
    const sbx_str *argv;   /* SBX_VIA_SSE only: program and arguments, run without a shell; `command` is empty then */
    size_t argv_n;
} sbx_run_opts;

typedef struct sbx_result {
    int exit_code;          /* may be negative or above 128 (signals) */
    uint32_t pid;
    bool out_cut, err_cut;  /* more came than was stored */
    bool gap;               /* output was lost in a reconnect */
    size_t out_n, err_n;    /* bytes stored */
    uint64_t out_total, err_total; /* bytes that came */
    char *out_p, *err_p;    /* with alloc: NUL-terminated, the caller's (sbx_free); NULL where nothing came */
    char command_id[37];    /* "" and pid 0 with SBX_VIA_HTTP */
} sbx_result;

/* Runs a command in a shell and collects its output. *out (may be NULL) is
   written at the end also when the command was started and then failed (a
   timeout, a lost stream): what is in the buffers is then what came until
   there; not after cancel and close. A non-zero exit code is not an error.

   The stream reconnects: what broke is opened again at once (close code 1001)
   or after 0.5 s doubling up to 8 s, jittered, five times in a row, counted
   anew from every sign of the command; output goes on where it stopped, complete and once, or with a
   gap that is reported. Opening it the first time has ws_connect_budget_ms
   altogether; the server runs a command_id once, however often it is sent.
   Silence is answered with pings (ws_ping_…).

   Errors: SBX_ERR_COMMAND, _COMMAND_TIMEOUT (timeout_s), _COMMAND_NOT_FOUND and
   _SESSION_EXPIRED (the server gave it up meanwhile), _NO_ENDPOINT (404: no
   such sandbox or an older server), _CONNECTION (the stream was lost for good),
   _DEADLINE, _MEMORY (alloc), _TOO_LARGE (a message above rx_bytes that does
   not begin with its type). With SBX_VIA_HTTP one attempt has timeout_s + 10 s
   and SBX_ERR_OUTCOME means that the command may have run.

   With SBX_VIA_SSE the request to start it and the wait for `started` have
   ws_open_ms each; after that sse_read_ms of silence break the stream. It is
   made again as above, but only output counts as a sign, and each request
   tells the server what was received, which it then forgets: there are no
   gaps. Once a start may have arrived it is not sent again, the next request
   only attaches. Errors besides: SBX_ERR_OUTCOME (the server does not know the
   command then: it may have run, or never arrived), SBX_ERR_NO_ENDPOINT also
   from servers that only have the WebSocket, SBX_ERR_PROTOCOL (output that is
   no base64, or lies behind the expected offset). */
SBX_API sbx_op sbx_run(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts, sbx_result *out);
/* The same, its output as events: STARTED, STDOUT, STDERR, GAP, RETRYING,
   RECONNECTED, WRITABLE, END. `offset` counts the bytes of each stream. Events
   that are not pulled stay in the socket and slow the sender down; the client
   sends pongs meanwhile, so that the connection lives on. */
SBX_API sbx_op sbx_command(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts);

typedef struct sbx_attach_opts {
    sbx_call call;
    uint64_t stdout_offset, stderr_offset; /* bytes of each stream that are known already */
    bool no_reconnect;
    sbx_via via;          /* SBX_VIA_WS, or SBX_VIA_SSE for a command that was started so */
} sbx_attach_opts;
/* Attaches to a command that runs already, or ended within its ttl, from the
   given offsets on; older output than the server keeps is a GAP. Never starts
   one. command_id: 1 to 36 characters. Events and errors as sbx_command's,
   SBX_ERR_COMMAND_NOT_FOUND for an id that the server does not know. Over SSE
   the offsets also acknowledge what lies before them. SBX_ERR_RANGE (types
   ReadOffsetUnavailable, InvalidOffset): they lie before what the server still
   has, or behind what was printed. SBX_ERR_UNSUPPORTED (TransportMismatch): it
   was started over the WebSocket; the other way round sandboxd answers with
   SBX_ERR_COMMAND of that type. */
SBX_API sbx_op sbx_attach(sbx_client *c, const sbx_box *box, sbx_str command_id, const sbx_attach_opts *opts);
/* The command's id and how far each stream was delivered, to go on later or
   elsewhere; each pointer may be NULL. Behind U+FFFD, which may stand for fewer
   bytes than it has, the offset stays where it was last certain: the output
   from there comes again. SBX_ERR_HANDLE after END: ask before. */
SBX_API sbx_code sbx_command_position(const sbx_client *c, sbx_op op, char command_id[37], uint64_t *stdout_offset, uint64_t *stderr_offset);

/* The calls below are for commands over a WebSocket. None blocks. Errors of
   all: SBX_ERR_HANDLE (dead, or no such command), SBX_ERR_STATE (it has ended),
   SBX_ERR_UNSUPPORTED (a command over SSE: use SBX_VIA_WS). */

/* Standard input (stdin_open or pty): takes what can be sent now, *taken says
   how much; where that is less, give the rest after SBX_EV_WRITABLE. Before
   `started` and while the stream is down it takes nothing. Bytes of an
   unfinished UTF-8 character at the end are left to the caller, to be given
   with what follows. What was taken is sent once: a drop can lose it. Errors:
   SBX_ERR_ARGUMENT when data is not UTF-8 (the protocol carries text),
   SBX_ERR_STATE when standard input is closed, SBX_ERR_ENTROPY. */
SBX_API sbx_code sbx_input(sbx_client *c, sbx_op op, sbx_str data, size_t *taken);
/* The next three are kept while the stream is down and sent after it is back. */
/* End of file for the command's standard input. */
SBX_API sbx_code sbx_close_stdin(sbx_client *c, sbx_op op);
/* Both from 1; the last one given counts. SBX_ERR_ARGUMENT for 0. */
SBX_API sbx_code sbx_pty_resize(sbx_client *c, sbx_op op, uint16_t cols, uint16_t rows);
/* SIGKILL to the command's process group; the operation goes on until the
   exit code came, SBX_ERR_DEADLINE after 10 s without. Once it was sent a drop
   is not mended any more (SBX_ERR_CONNECTION). */
SBX_API sbx_code sbx_kill(sbx_client *c, sbx_op op);

/* With ssh_agent_forward a program in the sandbox (ssh, git) that asks its SSH
   agent opens a channel: the bytes that it writes come as SBX_EV_AGENT_DATA with
   the channel's id, in pieces of any size; what the caller's agent answers goes
   back by sbx_agent_send; SBX_EV_AGENT_CLOSE, or sbx_agent_close, ends the
   channel. Ids are the server's. The library keeps nothing of channels: how many
   there may be is the caller's choice, who closes those beyond. The protocol does not say
   what becomes of them when the stream breaks: after SBX_EV_RECONNECTED take
   those from before as closed.

       case SBX_EV_AGENT_DATA:   (agent: a connection to $SSH_AUTH_SOCK for each channel)
           write(agent_of(ev.channel), ev.data.p, ev.data.n);
           break;
       case SBX_EV_AGENT_CLOSE:
           close_agent_of(ev.channel);
           break;
       ... and when the connection of channel `id` can be read:
           n = read(fd, bytes, sizeof bytes);
           if (n > 0)
               sbx_agent_send(c, op, id, sbx_sn(bytes, n), &taken);
           else
               sbx_agent_close(c, op, id);

   sbx_agent_send takes what can be sent now, as sbx_input does; the rest after
   SBX_EV_WRITABLE. Both: SBX_ERR_ARGUMENT (an id that is empty, over 63 bytes or
   not UTF-8), SBX_ERR_STATE also without ssh_agent_forward, SBX_ERR_ENTROPY;
   sbx_agent_close: SBX_ERR_FULL when it cannot be sent now: again after
   SBX_EV_WRITABLE. */
SBX_API sbx_code sbx_agent_send(sbx_client *c, sbx_op op, sbx_str channel, sbx_str data, size_t *taken);
SBX_API sbx_code sbx_agent_close(sbx_client *c, sbx_op op, sbx_str channel);

/* ------------------------------------------------------------------- files */

/* From an answer's headers (RFC 9110 8.6, 8.8); 0 or "" where not given. */
typedef struct sbx_file_stat {
    uint64_t size;        /* bytes of the whole file */
    int64_t modified_ms;  /* Unix ms */
    char etag[96];        /* "" also when longer */
    char content_type[64]; /* cut when longer */
} sbx_file_stat;

typedef struct sbx_read_opts {
    sbx_call call;
    sbx_buf out;          /* collected here (what is beyond is counted and dropped), */
    bool alloc;           /* or in memory of desc.resize, */
    bool stream;          /* or as SBX_EV_DATA */
    size_t max_bytes;     /* with alloc only: cap, 0 = 64 MiB */
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

/* GET …/download (RFC 9110 14). path: absolute, or relative to the home
   directory. `out` may be NULL; with `stream` it is written with END. Each
   attempt has 60 s to its answer's head, and for any silence after it. A
   transfer that breaks goes on by range where the server gave a strong ETag,
   else it ends with SBX_ERR_CONNECTION.
   Errors: SBX_ERR_NO_BUFFER (none of out, alloc, stream), SBX_ERR_NOT_FOUND
   (resource file), SBX_ERR_RANGE (416), SBX_ERR_CHANGED (another file than
   if_match_etag, or than the first part), SBX_ERR_PERMISSION,
   SBX_ERR_OPERATION, SBX_ERR_MEMORY (alloc), SBX_ERR_UNSUPPORTED (last bytes
   of a server that knows neither ranges nor lengths). */
SBX_API sbx_op sbx_read(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_read_opts *opts, sbx_read_result *out);

typedef struct sbx_write_opts {
    sbx_call call;
    bool stream;   /* the body comes by sbx_push, `data` is empty */
    int64_t size;  /* with stream: its bytes (0 = an empty file); SBX_NONE = not known (chunked) */
} sbx_write_opts;

/* POST …/upload: creates or replaces a file. `data` is borrowed until END and
   sent without a copy. Writing a file again is the same file: it is repeated
   after a lost answer (with stream: after SBX_EV_REWIND). Limits of time as
   sbx_read's; the clock stands while the caller pushes nothing. Errors:
   SBX_ERR_PERMISSION, SBX_ERR_OPERATION (type WriteError). */
SBX_API sbx_op sbx_write(sbx_client *c, const sbx_box *box, sbx_str path, sbx_str data, const sbx_write_opts *opts);

/* HEAD …/download: size, time and ETag. `out` may be NULL. Errors:
   SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_stat(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_box_opts *opts, sbx_file_stat *out);

/* One answer of glob, ls or grep. */
typedef struct sbx_match {
    char path[512];      /* a longer one ends the call with SBX_ERR_TOO_LARGE */
    char text[512];      /* grep: the line, cut if longer */
    int64_t size;        /* -1 = not given */
    int64_t modified_ms; /* 0 = not given */
    int64_t line;        /* grep: from 1 */
    bool is_dir;
    bool cut;
} sbx_match;

typedef struct sbx_find_opts {
    sbx_call call;
    sbx_str path;    /* directory; none = "/" (sbx_ls: its argument counts, { 0 } = "/") */
    sbx_str glob;    /* grep: which files */
    int32_t limit;   /* 0 = the server's */
    sbx_buf items;   /* an array of sbx_match (its size in bytes), instead of events */
} sbx_find_opts;
/* POST …/glob, …/grep. An SBX_EV_ITEM (sbx_match) for each, or into `items`;
   sbx_ls is the glob `*`; grep looks for literal text. `out` may be NULL.
   Limits of time as sbx_read's. Errors: SBX_ERR_NOT_FOUND, SBX_ERR_NO_ENDPOINT
   (servers of 2026-04). */
SBX_API sbx_op sbx_glob(sbx_client *c, const sbx_box *box, sbx_str pattern, const sbx_find_opts *opts, sbx_list_result *out);
SBX_API sbx_op sbx_ls(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_find_opts *opts, sbx_list_result *out);
SBX_API sbx_op sbx_grep(sbx_client *c, const sbx_box *box, sbx_str text, const sbx_find_opts *opts, sbx_list_result *out);

SBX_EXTERN_C_END
#endif
