/* ---- langsmith_urls: services and files of a sandbox by URL (public) ---- */
#ifndef SBX_LANGSMITH_URLS_H
#define SBX_LANGSMITH_URLS_H
#include "langsmith.h"
SBX_EXTERN_C_BEGIN

/* ---------------------------------------------------------------- services */

/* Who may use a shared port. */
typedef enum sbx_access {
    SBX_ACCESS_TOKEN,      /* whoever has the short-lived token */
    SBX_ACCESS_RESTRICTED, /* in a browser, by a LangSmith login: the server's "restricted" */
    SBX_ACCESS_WORKSPACE,  /* likewise, its "workspace" */
    SBX_ACCESS_UNKNOWN     /* listed only: a value newer than this library, see access_text */
} sbx_access;

/* An HTTP service that listens on a port in a sandbox. Plain data of 5.2 KiB,
   copyable, nothing to free; `token` and `browser_url` are secrets. It must
   outlive the operations that were given it. */
typedef struct sbx_service {
    char box[128];          /* the sandbox's id, or its name where the sbx_box had none: it is asked for new tokens */
    char url[512];          /* where requests go, with the token in the header X-Langsmith-Sandbox-Service-Token */
    char browser_url[2560]; /* for a browser: logs in (by a token in its query, or asking the person), then redirects */
    char token[2048];       /* "" with a login */
    int64_t expires_ms;     /* of the token: Unix ms by the service's clock; 0 = never */
    int64_t clock_ms;       /* the service's clock less this client's, as the Date of its answer told; 0 = not known */
    int32_t expires_in_s;   /* as it was asked for */
    uint16_t port;
    sbx_access access;
} sbx_service;

typedef struct sbx_service_opts {
    sbx_call call;
    sbx_access access;    /* default: a token */
    int32_t expires_in_s; /* life of a token, 1 to 86,400 seconds; 0 = the server's 600. Excludes a login, which does not expire */
    sbx_buf raw;          /* gets the answer's JSON text, token included */
    size_t *raw_n;        /* written with the result: its length, > raw.n = cut */
} sbx_service_opts;

/* POST …/boxes/{name}/service-url: shares a port (1 to 65,535), or gets a
   further token for it. Nothing need listen there yet: until something does,
   the server answers requests itself (sandboxd with 502). `out` must not be
   NULL. URL and token of the answer need room in request_bytes until they are
   written. A port is shared in one mode at a time: SBX_ERR_CONFLICT until
   sbx_service_close has ended the other. Errors: SBX_ERR_NOT_FOUND,
   SBX_ERR_CONFLICT, SBX_ERR_NOT_READY, SBX_ERR_TOO_LARGE (a URL or token longer than its field, or than request_bytes leaves room for),
   SBX_ERR_PROTOCOL (an answer without URL or token). */
SBX_API sbx_op sbx_service_open(sbx_client *c, const sbx_box *box, int port, const sbx_service_opts *opts, sbx_service *out);

/* A port that is shared. */
typedef struct sbx_shared_port {
    int port;
    sbx_access access;
    char access_text[16]; /* the server's word */
    char created_by[64];
    int64_t created_ms;   /* Unix ms, 0 = not given */
    int64_t expires_ms;   /* 0 = never, or not given */
    bool cut;             /* a text was longer than its field */
} sbx_shared_port;

/* GET …/boxes/{name}/service-urls: an SBX_EV_ITEM (sbx_shared_port) for each
   shared port, all pages unless one_page; or into `items`. Of the options the
   server knows cursor and page_size; further fields (embed_origins) stand in
   `raw`. A port that a shifting page brings again comes again. `out` may be
   NULL. Errors: SBX_ERR_NOT_FOUND, SBX_ERR_NO_ENDPOINT (an older server). */
SBX_API sbx_op sbx_service_list(sbx_client *c, const sbx_box *box, const sbx_list_opts *opts, sbx_list_result *out);

/* DELETE …/boxes/{name}/service-urls: ends the sharing of one port, or (port 0)
   of all, and so frees it for the other mode. Tokens that are out stay valid
   until their end. A repetition's 404 counts as success, that of the first
   attempt is SBX_ERR_NOT_FOUND. */
SBX_API sbx_op sbx_service_close(sbx_client *c, const sbx_box *box, int port, const sbx_box_opts *opts);

typedef struct sbx_request_opts {
    sbx_call call;        /* timeout_ms: to the answer's head. headers: of the request. api_key: for a new token only */
    sbx_str body;         /* borrowed until END and sent without a copy */
    bool push;            /* the body comes by sbx_push, `body` is empty */
    int64_t size;         /* with push: its bytes (0 = none); SBX_NONE = not known (chunked) */
    sbx_str content_type; /* of the body; none = not sent */
    sbx_tri repeat;       /* whether the request may be sent again once it may have been carried out: UNSET = as its method
                             says (RFC 9110 9.2.2: GET, HEAD, OPTIONS, TRACE, PUT and DELETE may) */
    /* The answer's body: one of these four. */
    sbx_buf out;          /* collected here (what is beyond is counted and dropped), */
    bool alloc;           /* or in memory of desc.resize, */
    bool stream;          /* or as SBX_EV_DATA, behind an SBX_EV_HEAD, */
    bool discard;         /* or only counted */
    size_t max_bytes;     /* with alloc only: cap, 0 = 64 MiB */
    sbx_buf head;         /* the answer's header lines, "Name: value" and CRLF each (sbx_head_find); what is beyond is dropped */
    int32_t silence_ms;   /* how long the answer's body may be silent: 0 = as timeout_ms, SBX_FOREVER = as long as it likes (server-sent events) */
} sbx_request_opts;

typedef struct sbx_response {
    int status;
    bool cut;             /* more of the body came than was stored */
    bool head_cut;        /* the same of its header lines */
    size_t head_n;        /* bytes stored in opts.head */
    size_t n;             /* bytes of the body stored */
    uint64_t total;       /* bytes of the body that came */
    uint64_t size;        /* as Content-Length said, UINT64_MAX = it did not */
    char *p;              /* with alloc: NUL-terminated, the caller's (sbx_free); NULL where nothing came */
} sbx_response;

/* A request to a service, over HTTP/1.1. method: a token of up to 36 bytes in
   the letters that the service wants, not CONNECT. path: begins with / and is
   sent as it is behind the service's URL, percent-encoded already, with its
   query. Content-Type goes by its option. Accept-Encoding is not sent and no
   content coding undone; there are no upgrades. `out` may be NULL; it is written
   on success, with `stream` together with END.

   Whatever status the service answers is a success: look at `status`. Redirects
   are not followed and cookies not kept; both stand in the header lines. The
   operation fails where no answer came whole, by the errors of any call, and
   SBX_ERR_NO_BUFFER (none of out, alloc, stream, discard), SBX_ERR_OUTCOME (a
   request that is not to be repeated was sent, and its answer's head was lost),
   SBX_ERR_CONNECTION (also an answer that broke off behind its head, which is
   never asked for again), SBX_ERR_DEADLINE (also silence_ms), SBX_ERR_MEMORY.

   The service gets its token and the call's headers, not the API key and none
   of the client's headers. A service opened with a login takes no requests
   (SBX_ERR_ARGUMENT). http:// where the endpoint is https:// is refused
   (allow_http_boxes), but for this machine itself.

   The token is renewed, as part of the operation and with the client's key,
   when at most 60 s of it remain by the service's clock: this client's, moved
   by clock_ms. The clock is the transport's wall_ms, or, where it has none, its
   mono_ms if the Date of the token's answer told what that means. Besides, once
   after a 401, where the request may be repeated, its body is not pushed, and
   the token was not renewed just before; the 401 of a second attempt is the
   answer. *service is written then, and not where that fails, which ends the
   operation with the errors of sbx_service_open. A copy does not learn of it.

   A pushed body: as for sbx_write; an SBX_EV_REWIND asks for all of it again.
   An answer that comes before its end ends it. Path and headers count for
   request_bytes, and so does the request for a token, some 100 bytes, which is
   kept beside them; where it is made, URL and token of its answer need room
   there too, as for sbx_service_open. */
SBX_API sbx_op sbx_request(sbx_client *c, sbx_service *service, sbx_str method, sbx_str path, const sbx_request_opts *opts, sbx_response *out);

/* The value of the first whole line of that name (compared without case) in an
   answer's header lines; false: none. The next one of the same name: search
   behind the value. */
SBX_API bool sbx_head_find(sbx_str head, sbx_str name, sbx_str *value);

/* ------------------------------------------------------ files by their URL */

typedef enum sbx_disposition {
    SBX_DISPOSITION_DEFAULT,    /* as the server likes */
    SBX_DISPOSITION_ATTACHMENT, /* a browser saves it */
    SBX_DISPOSITION_INLINE      /* a browser shows it */
} sbx_disposition;

/* A link to one file. Whoever has the URL can read the file, without a key: it
   is a secret. Plain data of 4.5 KiB, copyable. */
typedef struct sbx_download {
    char url[2560];     /* with its token: GET, HEAD and ranges (sbx_fetch, or any HTTP client) */
    char token[2048];   /* the same token by itself */
    int64_t expires_ms; /* Unix ms by the service's clock, 0 = never */
} sbx_download;

typedef struct sbx_download_opts {
    sbx_call call;
    int32_t expires_in_s;        /* 0 = it never expires */
    sbx_str content_type;        /* to serve the file as; none = the server's guess */
    sbx_disposition disposition;
    sbx_buf raw;                 /* gets the answer's JSON text, token included */
    size_t *raw_n;
} sbx_download_opts;

/* POST …/boxes/{name}/download-url: a link to the file at `path` (absolute, or
   relative to the home directory). It stays with that sandbox and path; a file
   written again later may or may not show through it: make a new link then.
   Fetching wakes a stopped sandbox. A link can be made before its file is there:
   it is fetching that ends with SBX_ERR_NOT_FOUND then. `out` must not be NULL;
   room as for sbx_service_open. Errors: SBX_ERR_NOT_FOUND (resource sandbox),
   SBX_ERR_NOT_READY, SBX_ERR_TOO_LARGE, SBX_ERR_PROTOCOL (an answer without
   URL). */
SBX_API sbx_op sbx_download_url(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_download_opts *opts, sbx_download *out);

/* GET of an absolute http or https URL, such as sbx_download.url, and HEAD of
   it: options, results, limits of time and resumption are those of sbx_read and
   sbx_stat. The URL is read during the call and sent as it is, percent-encoded
   already, with its query and without its fragment; it counts for
   request_bytes and must fit in half of tx_bytes.
   Its host is taken for a stranger's: it gets no API key and none of the
   client's headers, only those of `call` (call.api_key is refused). http://
   where the endpoint is https:// is refused (allow_http_boxes), but for this
   machine itself. Redirects are not followed: SBX_ERR_UNSUPPORTED.
   Errors: SBX_ERR_PERMISSION (401, 403, 410: the link has expired, or never was
   one), SBX_ERR_NOT_FOUND, and those of sbx_read and sbx_stat. */
SBX_API sbx_op sbx_fetch(sbx_client *c, sbx_str url, const sbx_read_opts *opts, sbx_read_result *out);
SBX_API sbx_op sbx_fetch_stat(sbx_client *c, sbx_str url, const sbx_box_opts *opts, sbx_file_stat *out);

SBX_EXTERN_C_END
#endif
