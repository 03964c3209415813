/* sandbox.h: client library for cloud code-execution sandboxes.
   Made by amalgamate.py of the files in src/: change those, not this one. */
/* The POSIX transport needs more than strict C99 lets the system headers show;
   a feature-test macro counts only before the first of them. */
#if defined(SANDBOX_IMPLEMENTATION) && defined(__linux__) && !defined(_GNU_SOURCE) && !defined(SBX_SANDBOX_H_INCLUDED)
#define _GNU_SOURCE 1
#endif

#ifndef SBX_SANDBOX_H_INCLUDED
#define SBX_SANDBOX_H_INCLUDED

/* ======== src/guide.h ======== */
/* ---- guide: how to use sandbox.h (no code) ----

   sandbox.h creates cloud sandboxes, runs commands in them with their output
   live, moves files, and cleans up. One C99 header: no other library, no
   thread of its own, and after its start no memory but what it was given. It
   speaks to LangSmith's sandbox service, and to anything with the same API,
   such as the local server examples/sandboxd of its repository.

   Contents: Drop in / First program / Errors / Streaming / Snapshots /
   Services and links / Tunnels / Mounts, proxy, access / Older servers / Event
   loop / The model / Memory / Transports / C++ / Threads / Limits /
   Configuration.


   Drop in
   -------
   Put sandbox.h and sandbox_posix.h beside your sources. In one file, before
   any system header:

       #define SANDBOX_IMPLEMENTATION
       #include "sandbox.h"
       #include "sandbox_posix.h"

   In every other file that uses it, include "sandbox.h" alone. Build with a
   C99 or C++11 compiler, and -pthread. The declarations depend on nothing but
   <stdbool.h>, <stddef.h>, <stdint.h> and <string.h>.

   Why before any system header: sandbox_posix.h needs more than strict C99
   shows. On Linux sandbox.h defines _GNU_SOURCE itself, where it is the first
   include of the implementing file. Where it cannot be, compile that file
   with -D_DEFAULT_SOURCE or without -std=c99; else an #error says so.


   First program
   -------------
   Endpoint and key come from LANGSMITH_ENDPOINT and LANGSMITH_API_KEY.

       #define SANDBOX_IMPLEMENTATION
       #include "sandbox.h"
       #include "sandbox_posix.h"
       #include <stdio.h>

       int main(void)
       {
           char text[256];
           sbx_client_desc desc = { .transport = &sbx_posix };
           sbx_create_opts create = { .delete_on_close = true };
           sbx_run_opts run = { .out = { text, sizeof text } };
           sbx_client *c;
           sbx_box box;
           sbx_result result;
           sbx_error err;
           sbx_op op;

           if (sbx_open(&desc, &c, &err))
               return fprintf(stderr, "%s\n", err.text), 1;
           op = sbx_create(c, &create, &box);
           if (!sbx_await(c, op)) {
               op = sbx_run(c, &box, sbx_s("echo hello from $(uname)"), &run, &result);
               if (!sbx_await(c, op))
                   printf("exit %d: %.*s", result.exit_code, (int)result.out_n, text);
           }
           sbx_error_of(c, op, &err);
           if (err.code)
               fprintf(stderr, "%s: %s\n", sbx_code_name(err.code), err.text);
           sbx_close(c);
           return err.code != SBX_OK;
       }

   sbx_posix carries plain TCP: an https endpoint, the default one included,
   ends each call with SBX_ERR_UNSUPPORTED. Use an http endpoint, such as
   sandboxd's, or a TLS transport, such as sbx_curl.


   Errors
   ------
   Codes are sbx_code; SBX_OK is 0. A command that exits with a number other
   than 0 is no error. sbx_error_of gives all that is known: the code, the
   server's status, type and text, the option that was refused, whether the
   request was sent. It knows the operation that ended last and the call that
   was refused last: ask at once.

       if (sbx_await(c, op) != SBX_OK) {
           sbx_error_of(c, op, &err);
           fprintf(stderr, "%s %s: %s (HTTP %d)\n", err.operation, sbx_code_name(err.code), err.text, err.status);
       }

   Which errors a call can have stands with it below; what to do about each
   code stands in the README.


   Streaming
   ---------
   The same command with its output as it comes. END is the last event.

       op = sbx_command(c, &box, sbx_s("make -j4"), NULL);
       while (sbx_next_of(c, &op, &ev)) {
           if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR)
               fwrite(ev.data.p, 1, ev.data.n, ev.stream == 1 ? stdout : stderr);
           else if (ev.kind == SBX_EV_GAP)
               fprintf(stderr, "[%llu bytes lost]\n", (unsigned long long)ev.lost);
           else if (ev.kind == SBX_EV_END && ev.code == SBX_OK)
               printf("exit %d\n", ev.exit_code);
       }

   Files stream in the same way: sbx_read with `stream` gives SBX_EV_DATA,
   sbx_write with `stream` takes sbx_push; lists give SBX_EV_ITEM. sbx_request
   with `stream` gives SBX_EV_HEAD, then SBX_EV_DATA; with `push` it takes
   sbx_push.

   Over its WebSocket a command's output is text: what is no UTF-8 comes as
   U+FFFD. With `via` SBX_VIA_SSE it comes byte for byte, `argv` starts a program
   without a shell, and `stdin_data` is its input, any bytes as well; a pty, live
   input and sbx_kill are the WebSocket's alone.

       sbx_str argv[] = { sbx_s("tar"), sbx_s("-c"), sbx_s("data") };
       sbx_run_opts tar = { .via = SBX_VIA_SSE, .argv = argv, .argv_n = 3 };

       op = sbx_command(c, &box, sbx_s(NULL), &tar);

   Output arrives complete and once, also over a lost connection, which is
   made again by itself (SBX_EV_RECONNECTED). What the server kept no longer is
   a gap, with its place and size. While you do not pull, bytes wait in the
   socket and the sender is slowed down; nothing grows here.


   Snapshots
   ---------
   What takes its time is done once, in one sandbox, and captured; others begin
   where it stood.

       sbx_create_opts from = { .delete_on_close = true };
       sbx_snapshot snapshot;

       op = sbx_snapshot_capture(c, &box, sbx_s("prepared"), NULL, &snapshot);
       if (!sbx_await(c, op)) {
           from.snapshot_id = sbx_s(snapshot.id);
           op = sbx_create(c, &from, &box);
       }

   sbx_snapshot_build makes one of a registry's image, sandbox_build.h one of a
   Dockerfile.


   Services and links
   ------------------
   A web service that listens on a port of a sandbox has a URL. A request to it
   succeeds whatever the service answers: look at `status`.

       char page[4096];
       sbx_request_opts get = { .out = { page, sizeof page } };
       sbx_service service;
       sbx_response answer;

       op = sbx_service_open(c, &box, 8000, NULL, &service);
       if (!sbx_await(c, op)) {
           op = sbx_request(c, &service, sbx_s("GET"), sbx_s("/"), &get, &answer);
           if (!sbx_await(c, op))
               printf("%d: %.*s\n", answer.status, (int)answer.n, page);
       }

   service.browser_url is for a person. sbx_download_url makes a link to a file,
   which needs no key: sbx_fetch reads it, sbx_file_fetch (sandbox_files.h)
   stores it as a local file.


   Tunnels
   -------
   Any other port, a database's for instance, is reached through a tunnel. It is
   an operation that lasts, and so is each of its connections.

       sbx_op tunnel = sbx_tunnel_open(c, &box, NULL);
       sbx_str query = sbx_s("PING\r\n");
       size_t taken;

       op = sbx_tunnel_dial(c, tunnel, 6379, NULL);
       while (sbx_next_of(c, &op, &ev)) {
           if ((ev.kind == SBX_EV_STARTED || ev.kind == SBX_EV_WRITABLE) && query.n) {
               sbx_tunnel_send(c, op, query, true, &taken);
               query = sbx_sn(query.p + taken, query.n - taken);
           } else if (ev.kind == SBX_EV_DATA) {
               fwrite(ev.data.p, 1, ev.data.n, stdout);
           }
       }
       sbx_tunnel_close(c, tunnel);
       sbx_await(c, tunnel);

   For programs that want a local port to connect to, sandbox_tunnel.h listens
   on one and passes every connection on.


   Mounts, proxy, access
   ---------------------
   Buckets, git repositories, the rules of the proxy in front of a sandbox, and
   what it may do in your name are structs of sbx_create_opts (`mounts`,
   `mount_auth`, `proxy`, `access`), checked before anything is sent; what is
   newer than they are goes as JSON (`mount_config`, …). For the structs a client
   of sbx_client_init needs desc.config = SBX_CONFIG; sbx_open sets it.

       sbx_proxy_header header = { sbx_s("Authorization"), { sbx_s("Bearer {TOKEN}"), SBX_SECRET_WORKSPACE } };
       sbx_str host = sbx_s("api.example.com");
       sbx_proxy_rule rule = { .name = sbx_s("api"), .headers = &header, .headers_n = 1, .match_hosts = &host, .match_hosts_n = 1 };
       sbx_box_proxy proxy = { .rules = &rule, .rules_n = 1 };
       sbx_create_opts create = { .proxy = &proxy };

       op = sbx_create(c, &create, &box);


   Older servers
   -------------
   There is nothing to set: a call that a server does not know ends with
   SBX_ERR_NO_ENDPOINT. Servers of 2026-04 make sandboxes of templates and
   choose the ids of commands themselves; what else differs stands at the
   beginning of langsmith_legacy.

       sbx_create_opts create = { .template_name = sbx_s("python"), .delete_on_close = true };
       sbx_run_opts run = { .discard = true, .no_command_id = true };

       op = sbx_create(c, &create, &box);
       if (!sbx_await(c, op))
           op = sbx_run(c, &box, sbx_s("true"), &run, &result);


   Event loop
   ----------
   Nothing above needs to block. Start any number of operations, then repeat:
   step, take all events, sleep until the handle is readable or the deadline.
   `user` in each call's options comes back with its events.

       for (;;) {
           int64_t now = sbx_posix.mono_ms(NULL), due;
           struct pollfd fd = { .fd = (int)sbx_poll_handle(c), .events = POLLIN };

           sbx_step(c, now);
           while (sbx_next(c, &ev))
               on_event(&ev);
           sbx_get_usage(c, &usage);
           if (!usage.ops)
               break;
           due = sbx_next_deadline(c);
           poll(&fd, 1, due <= now ? 0 : due - now > 60000 ? 60000 : (int)(due - now));
       }

   Without a foreign loop, sbx_wait does the sleeping and the step:

       for (sbx_get_usage(c, &usage); usage.ops && sbx_wait(c, SBX_FOREVER); sbx_get_usage(c, &usage))
           while (sbx_next(c, &ev))
               on_event(&ev);


   The model
   ---------
   - Every call starts an operation and returns its handle at once; nothing
     blocks but sbx_await, sbx_next_of, sbx_wait and sbx_close.
   - Await it (for a result), or pull its events (for a stream). An operation
     holds one of max_ops until its END was pulled or its await returned.
   - A call that is refused returns a handle too, with the code inside: check
     in one place, at await or END. sbx_next reports no event for it.
   - Waiting for one operation neither loses nor reorders another's events.
   - Options: zero is the default. They and texts are read during the call.
   - Borrowed until END: the sbx_box, result pointers, sbx_buf buffers, the
     bytes given to sbx_write. Results are written once, while the operation
     ends inside a blocking call or step, on success (exceptions stand with
     the call), and never after sbx_cancel or sbx_close returned.
   - An event's data is borrowed until the next call that pulls or steps.
   - Everything is plain data: no sbx_box, result or error has to be freed, but
     for results that asked for `alloc` (sbx_free).
   - A sandbox lives on when the program ends, unless delete_on_close is set.
   - Calls from inside a transport's function or the trace hook are refused.


   Memory
   ------
   sbx_open takes the client's memory from malloc, once, and frees it in
   sbx_close. sbx_client_init uses memory of yours instead: sbx_client_size
   says how much, the same layout is used for both. Nothing else is allocated
   later, except results with `alloc`, through `resize` of the description.

       static char memory[48 * 1024];

       desc.endpoint = "http://127.0.0.1:8080/v2/sandboxes";
       desc.api_key = "key";
       desc.max_ops = 4;
       desc.max_links = 2;
       desc.max_requests = 2;
       desc.request_bytes = 1024;
       desc.buffers = 2;
       desc.rx_bytes = 2048;
       desc.tx_bytes = 1024;
       desc.max_owned = 1;
       if (sbx_client_init(memory, sizeof memory, &desc, &c, &err))
           return fprintf(stderr, "%s\n", err.text), 1;

   Bytes that each field costs, at most:

     one of           64-bit   32-bit
     (the client)      2,800    2,600
     max_ops             416      368
     max_links           176      160   and the transport's conn_size
     max_requests      2,640    2,640   and request_bytes
     buffers                            rx_bytes and tx_bytes
     max_owned           144      144

   and the transport's context (sbx_posix: 8 KiB on Linux), the endpoint, the
   headers and the user agent. With the defaults and sbx_posix that is about
   220 KiB; above it is about 26 KiB. Sizes are rounded up to 16 bytes.
   sbx_get_usage tells how much of each was ever in use. A tunnel has memory of
   its own (sbx_tunnel_size).

   How small: a command's messages may be longer than rx_bytes, they stream
   through it. A request's head (URL, key, headers) must fit in tx_bytes, and
   what a call sends besides bulk data in request_bytes. Each of the two kinds
   of buffers keeps one back for the operation being awaited.


   Transports
   ----------
   A transport moves bytes, gives random bytes and tells the time: one const
   table of functions (sbx_transport). sandbox_posix.h brings sbx_posix,
   sandbox_curl.h sbx_curl (libcurl: TLS, proxies; link with -lcurl); the
   README shows one of your own in full. With desc.transport &sbx_ports there
   is none: the program owns the connections and moves the bytes itself
   (sbx_port_next), and nothing blocks.


   C++
   ---
   The header compiles as C++11 and later. C's designated initialisers are not
   to be had there in all versions; `= {}` is:

       sbx_run_opts options = {};
       options.discard = true;
       options.timeout_s = 5;
       if (sbx_await(c, sbx_run(c, &box, sbx_s("true"), &options, &result)) == SBX_OK)
           std::printf("exit %d\n", result.exit_code);


   Threads, signals, fork
   ----------------------
   A client belongs to one thread at a time; there is no global state, so
   several clients run in parallel freely. sbx_wake alone may be called from
   any other thread (with sbx_posix also from a signal handler), while the
   client lives. After fork only the parent goes on with a client; the child
   opens its own and does not close that of the parent.


   Limits
   ------
   Every growing thing has a cap: the description's fields (below, each with
   its default) and the fixed ones in the README. At a cap a call is refused
   (SBX_ERR_FULL, SBX_ERR_TOO_LARGE), output is cut and counted, or the sender
   waits; nothing is dropped silently.

   The one that is met first: calls made in one go, with no step between them,
   need a request each until it is answered (a command: until it started), and
   max_requests is 16. The 17th call is refused with SBX_ERR_FULL, its field
   "max_requests": a refused call keeps nothing, so it cannot queue. Step and
   pull events, then call again; or set max_requests to as many calls as are
   made in one go. A running command holds none (but one with headers of its
   own), and a connection: where all of those are taken (max_links, 32) the next
   call waits for one, and keeps its request. An END with the server's words
   keeps its request until it was pulled.


   Configuration
   -------------
   Macros, 0 or 1, read by the implementation only; 0 is the default.

     SBX_NO_MALLOC      no sbx_open, no <stdlib.h> of its own
     SBX_NO_ERROR_TEXT  no texts for people, no names of refused options
     SBX_FREESTANDING   no strtod; numbers are read by integer arithmetic
     SBX_SMALL          smaller code instead of faster
     SBX_NO_ALLOC       no results by the allocator: `alloc` is refused
     SBX_NO_CONFIG      no typed mounts, proxy and access: JSON only
     SBX_NO_DATES       no dates read: times in answers are 0
     SBX_NO_EXECUTE     no commands over HTTP: SBX_VIA_HTTP is refused
     SBX_NO_LEGACY      no templates, volumes, pools and their options
     SBX_NO_OWNED       no delete_on_close: it is refused
     SBX_NO_PORTS       no sbx_ports, no sbx_port_ functions
     SBX_NO_SSE         no SBX_VIA_SSE (it is refused), no sbx_sse_ functions
     SBX_NO_SSH_AGENT   no SSH agent of the caller's in a command
     SBX_NO_TRACE       no trace hook: a description with one is refused
     SBX_NO_TUNNEL      no tunnels, no sbx_tunnel_ functions
     SBX_NO_URLS        no services and links: no call that takes or gives a URL

   Compiled with a section a function and a datum (-ffunction-sections
   -fdata-sections) and linked with --gc-sections, a program holds the calls
   that it makes and, of what is not a call, what it names: SBX_VIA_HTTP,
   SBX_VIA_SSE, sbx_ports, SBX_CONFIG (sbx_open names that one itself). The
   switches leave out what is reached all the same.

   With SBX_NO_ERROR_TEXT sbx_error.text is empty, and sbx_error.field where it
   would name an option. With SBX_NO_DATES a Retry-After that is a date is not
   heeded (one in seconds is). With SBX_NO_OWNED sbx_shutdown only cancels.
   What is refused ends with SBX_ERR_UNSUPPORTED, a description with
   SBX_ERR_ARGUMENT. SBX_NO_MALLOC and SBX_FREESTANDING together leave nothing
   of the C library but the functions of <string.h>. SBX_API, where defined, is
   the linkage of the public functions (`static`: private to one file). The
   transports have switches of their own, listed at their beginnings. */
#ifndef SBX_GUIDE_H
#define SBX_GUIDE_H
#include <stddef.h> /* a file of no declarations at all is not C */
#endif

/* ======== src/types.h ======== */
/* ---- types: what every part shares ---- */
#ifndef SBX_TYPES_H
#define SBX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#define SBX_EXTERN_C extern "C"
#define SBX_EXTERN_C_BEGIN extern "C" {
#define SBX_EXTERN_C_END }
#else
#define SBX_EXTERN_C
#define SBX_EXTERN_C_BEGIN
#define SBX_EXTERN_C_END
#endif

/* Linkage of the public functions. Define it as `static` before the include
   to keep the whole library private to one file (what that file does not call
   is then unused: -Wno-unused-function). */
#ifndef SBX_API
#define SBX_API extern
#endif

/* For functions in a header that a program may leave unused. */
#if defined(__GNUC__)
#define SBX_UNUSED __attribute__((unused))
#else
#define SBX_UNUSED
#endif

SBX_EXTERN_C_BEGIN

/* Borrowed bytes: not NUL-terminated, never owned. `{NULL, 0}` is "not
   given" where an option is optional; p must not be NULL where n is not 0. How
   long they must live stands with each call. */
typedef struct sbx_str {
    const char *p;
    size_t n;
} sbx_str;

/* A buffer of the caller's, borrowed until the operation's END. Nothing is
   terminated in it: the result says how many bytes were stored. */
typedef struct sbx_buf {
    void *p;
    size_t n; /* bytes of room */
} sbx_buf;

/* A C string as sbx_str, which points to it; NULL gives `{NULL, 0}`. */
static inline SBX_UNUSED sbx_str sbx_s(const char *z)
{
    sbx_str s;
    s.p = z;
    s.n = z ? strlen(z) : 0;
    return s;
}

/* n bytes as sbx_str. */
static inline SBX_UNUSED sbx_str sbx_sn(const char *p, size_t n)
{
    sbx_str s;
    s.p = p;
    s.n = n;
    return s;
}

SBX_EXTERN_C_END
#endif

/* ======== src/error.h ======== */
/* ---- error: codes and the full error (public) ---- */
#ifndef SBX_ERROR_H
#define SBX_ERROR_H

/* X(NAME, text): every code that a call can return, with its default text.
   SBX_ERR_TLS comes from a TLS transport or sbx_port_failed. */
#define SBX_CODES(X) \
    X(OK, "no error") \
    /* the caller's side; nothing was sent */ \
    X(ERR_ARGUMENT, "an argument or option is not allowed") \
    X(ERR_NO_BUFFER, "output has nowhere to go: give a buffer, or ask for the allocator") \
    X(ERR_TOO_LARGE, "larger than the client's configured memory allows") \
    X(ERR_FULL, "no free slot: pull events of finished operations, or raise the limit in the description") \
    X(ERR_STATE, "not possible in this state") \
    X(ERR_HANDLE, "the handle is stale or was never valid") \
    X(ERR_MEMORY, "the memory given is smaller than sbx_client_size() says, or the allocator refused") \
    X(ERR_UNSUPPORTED, "not supported by this build, transport or server") \
    X(ERR_CANCELLED, "cancelled by the caller") \
    X(ERR_CLOSED, "the client is shutting down") \
    /* time and transport */ \
    X(ERR_DEADLINE, "the deadline passed") \
    X(ERR_RESOLVE, "the host name could not be resolved") \
    X(ERR_CONNECT, "the connection could not be made") \
    X(ERR_CONNECTION, "the connection was lost") \
    X(ERR_TLS, "the TLS session failed") \
    X(ERR_ENTROPY, "no random bytes: the transport has none, or sbx_port_seed is due") \
    X(ERR_PROTOCOL, "the peer broke the protocol") \
    X(ERR_OUTCOME, "the answer was lost: it is not known whether the request was carried out") \
    /* the service's answers */ \
    X(ERR_AUTH, "the API key was refused") \
    X(ERR_PERMISSION, "permission denied") \
    X(ERR_NOT_FOUND, "not found") \
    X(ERR_NO_ENDPOINT, "the server does not know this call: check the endpoint, or its API is of another generation") \
    X(ERR_CONFLICT, "the name is taken, or the state forbids it") \
    X(ERR_EXISTS, "it exists already") \
    X(ERR_IN_USE, "it is in use") \
    X(ERR_VALIDATION, "the server refused a value") \
    X(ERR_QUOTA, "a quota or rate limit is exhausted") \
    X(ERR_CREATION, "the sandbox or snapshot could not be created") \
    X(ERR_NOT_READY, "the sandbox is not ready") \
    X(ERR_TIMEOUT, "the resource was not ready in time") \
    X(ERR_SERVER, "the server failed") \
    X(ERR_OPERATION, "the operation failed inside the sandbox") \
    X(ERR_RANGE, "the range lies outside the file, or outside the output that the server keeps") \
    X(ERR_CHANGED, "the file changed between two parts of a transfer") \
    X(ERR_COMMAND, "the command could not be run") \
    X(ERR_COMMAND_TIMEOUT, "the command ran into its timeout") \
    X(ERR_COMMAND_NOT_FOUND, "the server does not know this command id (any more)") \
    X(ERR_SESSION_EXPIRED, "the command's session expired") \
    X(ERR_PORT_DENIED, "the sandbox does not let this port be reached") \
    X(ERR_DIAL, "nothing answers at this port inside the sandbox") \
    X(ERR_TUNNEL_VERSION, "the server speaks another version of the tunnel's protocol")

#define SBXI_CODE_ENUM(name, text) SBX_##name,
typedef enum sbx_code { SBX_CODES(SBXI_CODE_ENUM) SBX_CODE_COUNT } sbx_code;
#undef SBXI_CODE_ENUM

/* Which layer found the error. */
typedef enum sbx_layer {
    SBX_LAYER_NONE,
    SBX_LAYER_LOCAL,     /* arguments and limits of this client */
    SBX_LAYER_TRANSPORT, /* names, sockets, TLS */
    SBX_LAYER_HTTP,
    SBX_LAYER_WS,
    SBX_LAYER_JSON,
    SBX_LAYER_SERVICE    /* the server's own answer */
} sbx_layer;

/* What was not found or in conflict. */
typedef enum sbx_resource {
    SBX_RESOURCE_NONE,
    SBX_RESOURCE_SANDBOX,
    SBX_RESOURCE_FILE,
    SBX_RESOURCE_COMMAND,
    SBX_RESOURCE_SNAPSHOT,
    SBX_RESOURCE_TEMPLATE,
    SBX_RESOURCE_VOLUME,
    SBX_RESOURCE_POOL,
    SBX_RESOURCE_REGISTRY
} sbx_resource;

/* Which quota an SBX_ERR_QUOTA is about; NONE = a rate limit, or one that the
   server's text does not name. */
typedef enum sbx_quota {
    SBX_QUOTA_NONE,
    SBX_QUOTA_SANDBOX_COUNT,
    SBX_QUOTA_CPU,
    SBX_QUOTA_MEMORY,
    SBX_QUOTA_VOLUME_COUNT,
    SBX_QUOTA_STORAGE
} sbx_quota;

/* Everything known of a failure. Plain data, nothing to free; texts are
   NUL-terminated and cut at a character border. The library puts neither keys
   nor header values into it; `text` can be the server's own words. Under
   SBX_NO_ERROR_TEXT `text` stays empty, and so does `field` where it would
   name an option that this client refused; the rest is the same. */
typedef struct sbx_error {
    sbx_code code;
    sbx_layer layer;
    sbx_resource resource;
    sbx_quota quota;
    int status;             /* HTTP status, or the WebSocket close code; 0 = none */
    int sys;                /* the transport's own number (errno); 0 = none */
    int64_t retry_after_ms; /* the answer's Retry-After, at most a day; -1 = none */
    bool sent;              /* the request, or a part of it, was sent */
    bool cut;               /* `text` is shorter than what the server said */
    uint8_t attempts;       /* tries made, the first included */
    char operation[24];     /* the function called, without sbx_: "create", "run", "wait_ready", … */
    char field[80];         /* the option or field that was refused: "proxy.rules[2].headers[0].value" (an option of ours is never cut) */
    char type[48];          /* the service's own error type */
    char text[256];         /* what happened and what to do; of a request refused for several reasons all of them, `field` is the first's */
} sbx_error;

SBX_EXTERN_C_BEGIN

/* "SBX_ERR_AUTH" and the like; never NULL. */
SBX_API const char *sbx_code_name(sbx_code code);
/* The code's default text; "" under SBX_NO_ERROR_TEXT. */
SBX_API const char *sbx_code_text(sbx_code code);

SBX_EXTERN_C_END
#endif

/* ======== src/transport.h ======== */
/* ---- transport: the interface between the client and the world (public) ---- */
#ifndef SBX_TRANSPORT_H
#define SBX_TRANSPORT_H
SBX_EXTERN_C_BEGIN

/* A transport moves bytes, gives random bytes and tells the time. It is a
   const table of functions, which must outlive the client; all of its state
   lies in memory that the client lays out: one context a client, one state a
   connection, both aligned to 16 bytes and zeroed before first use (a
   connection's state anew for every connection). They stay where they are.

   No function may block but `wait`, and none may call the client. connect,
   recv, send, close, entropy and mono_ms must be there; the others may be NULL.
   The README shows a complete one. */

typedef enum sbx_io {
    SBX_IO_OK,         /* done; the count says how many bytes (at least 1) */
    SBX_IO_WANT_READ,  /* nothing now: call again once readable */
    SBX_IO_WANT_WRITE, /* nothing now: call again once writable */
    SBX_IO_EOF,        /* the peer ended its stream cleanly (recv only) */
    SBX_IO_FAIL        /* broken for good; the fault says why */
} sbx_io;

/* Filled on SBX_IO_FAIL. */
typedef struct sbx_fault {
    sbx_code code;    /* SBX_ERR_RESOLVE, _CONNECT, _CONNECTION, _TLS, _UNSUPPORTED, … */
    int sys;          /* errno or the library's number, 0 = none */
    const char *text; /* what happened, static or valid until the next call; NULL = the code's text */
    bool permanent;   /* the same again would end the same way (a certificate that is not right, a proxy that
                         says no): the client repeats nothing, it reports at once */
} sbx_fault;

/* Where to connect. Borrowed during `connect` only, given again at each call.
   A transport that speaks TLS must check the certificate against `host`. */
typedef struct sbx_target {
    sbx_str host;  /* a name or an IP literal, without brackets */
    uint16_t port;
    bool tls;      /* https / wss: a transport without TLS answers SBX_ERR_UNSUPPORTED */
    uint32_t tag;  /* names this connection in sbx_ready */
} sbx_target;

enum { SBX_READABLE = 1, SBX_WRITABLE = 2 };

typedef struct sbx_ready {
    uint32_t tag;
    unsigned bits; /* SBX_READABLE | SBX_WRITABLE; both for an error or a hang-up */
} sbx_ready;

enum {
    SBX_TRANSPORT_TLS = 1,  /* speaks TLS */
    SBX_TRANSPORT_PORTS = 2 /* sbx_ports only: the program moves the bytes */
}; /* bits from 8 up are the transport's own */

typedef struct sbx_transport sbx_transport;
struct sbx_transport {
    const char *name;
    unsigned flags;
    uint32_t ctx_size;     /* bytes of context a client; 0 is allowed */
    uint32_t ctx_per_conn; /* further bytes of context for each connection the client may hold */
    uint32_t conn_size;    /* bytes of state a connection */
    const sbx_transport *lower; /* a decorator's lower transport, NULL = none */

    /* Optional. Prepares ctx. `config` is sbx_client_desc.transport_config;
       max_conns the number of connections that can be open at once. Any code
       but SBX_OK fails sbx_client_init with the fault. A decorator opens its
       lower transport itself (sbx_transport_open), and likewise for every
       other call. */
    sbx_code (*open)(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault);
    /* Optional. Releases what open took. Every connection was closed before. */
    void (*shut)(void *ctx);

    /* Starts or continues a connection: OK when it can carry bytes, WANT_… to
       be called again when ready, FAIL. After FAIL the client calls close. */
    sbx_io (*connect)(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault);
    /* recv and send: OK with at least 1 byte in *got, *sent (up to room, n,
       neither of which is 0); less than asked for is fine. WANT_… and the rest
       move none, but after WANT_… the next send begins with the same bytes: a
       transport may have encrypted them already. */
    sbx_io (*recv)(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault);
    sbx_io (*send)(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault);
    /* Frees what the connection holds, at any stage, also in mid connect; once
       for each connection on which connect was called. */
    void (*close)(void *ctx, void *conn);

    /* Optional. What the client waits for on conn (bits, 0 = nothing). A
       transport that reports every change once (edge-triggered) needs none. */
    void (*watch)(void *ctx, void *conn, unsigned bits);
    /* Optional. Sleeps until a connection is ready, wake was called, or
       timeout_ms passed (0 = look only, -1 = no limit); fills up to max of
       `ready` and returns their number. A connection counts as readable until
       recv answered WANT_READ, as writable until send answered WANT_WRITE:
       reporting only changes is right, reporting too much is harmless. Without
       `wait` sbx_await and sbx_wait are not to be had, and sbx_step tries every
       connection each time. */
    int (*wait)(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max);
    /* Optional. Ends a wait early. The one function that may be called from
       another thread. */
    void (*wake)(void *ctx);

    /* Optional. The operating system's handle of a connection (-1 = none
       yet), and one handle that is readable whenever `wait` would report
       something (an epoll descriptor), for use in a foreign event loop. */
    intptr_t (*conn_handle)(void *ctx, void *conn);
    intptr_t (*poll_handle)(void *ctx);

    /* n cryptographically strong random bytes; false = none to be had. */
    bool (*entropy)(void *ctx, void *p, size_t n);
    /* Milliseconds of a clock that never steps back. */
    int64_t (*mono_ms)(void *ctx);
    /* Optional. Unix time in ms; 0 = not known. */
    int64_t (*wall_ms)(void *ctx);
};

/* n rounded up to 16. */
#define SBX_TRANSPORT_ALIGN(n) (((size_t)(n) + 15u) & ~(size_t)15u)
/* A decorator's own state comes first, its lower transport's behind it.
   own_size: conn_size; for the context ctx_size + ctx_per_conn * max_conns. */
static inline SBX_UNUSED void *sbx_lower(void *own, uint32_t own_size)
{
    return (char *)own + SBX_TRANSPORT_ALIGN(own_size);
}
/* Opens t as the client does, and as a decorator does its lower transport. A
   decorator's context begins with a pointer to its own table, put there before
   `open`: so one set of functions serves over any lower transport. */
static inline SBX_UNUSED sbx_code sbx_transport_open(const sbx_transport *t, void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    if (t->lower)
        memcpy(ctx, &t, sizeof t);
    return t->open ? t->open(ctx, config, max_conns, fault) : SBX_OK;
}

SBX_EXTERN_C_END
#endif

/* ======== src/json.h ======== */
/* ---- json: public API of the JSON tokenizer and writer ---- */
#ifndef SBX_JSON_H
#define SBX_JSON_H
SBX_EXTERN_C_BEGIN

/* RFC 8259, strictly: bytes in, tokens out; no tree, no allocation. The input
   may be cut anywhere; whatever the cuts, the tokens are the same, only the
   pieces of text differ.

       sbx_json j;  sbx_json_tok t;  sbx_json_kind k;
       sbx_json_init(&j, 0);
       ... for each input p..end:
       while ((k = sbx_json_next(&j, &p, end, &t)) < SBX_JSON_MORE)
           ...                     (a token; k is t.kind)
       ... after the last one:
       while ((k = sbx_json_end(&j, &t)) < SBX_JSON_MORE)
           ...                     (the end of a top-level number)
       if (k == SBX_JSON_ERROR) ...

   Keys that occur twice in an object are both passed on; to be like other
   parsers the consumer takes the last. */
typedef enum sbx_json_kind {
    SBX_JSON_OBJECT, SBX_JSON_OBJECT_END,
    SBX_JSON_ARRAY, SBX_JSON_ARRAY_END,
    SBX_JSON_KEY, SBX_JSON_STRING, SBX_JSON_NUMBER,
    SBX_JSON_TRUE, SBX_JSON_FALSE, SBX_JSON_NULL,
    SBX_JSON_MORE, /* the input is consumed; call again with the next bytes */
    SBX_JSON_DONE, /* the document is complete and the input consumed; only white space may follow */
    SBX_JSON_ERROR /* sticky; see sbx_json.error and .offset */
} sbx_json_kind;

typedef enum sbx_json_error {
    SBX_JSON_ERR_NONE,
    SBX_JSON_ERR_SYNTAX,   /* not what the grammar wants here; a byte order mark; more behind the document */
    SBX_JSON_ERR_DEPTH,    /* a container above max_depth */
    SBX_JSON_ERR_UTF8,     /* a string is not UTF-8 */
    SBX_JSON_ERR_CONTROL,  /* an unescaped control character in a string */
    SBX_JSON_ERR_ESCAPE,   /* no such escape */
    SBX_JSON_ERR_NUMBER,   /* 01, -, 1., 1e ... */
    SBX_JSON_ERR_TRUNCATED /* the input ended inside the document */
} sbx_json_error;

/* Text of KEY, STRING and NUMBER arrives in one or more pieces; `more` says
   that further pieces of the same token follow (as tokens of the same kind).
   Text that lies whole in the input is one piece. Pieces of KEY and STRING
   end at character borders. A piece with `more` is never empty; the last one
   is empty if the text is, or if all of it came before. */
typedef struct sbx_json_tok {
    char *p;       /* decoded text, inside the caller's input (or in the reader, for a character whose bytes were split), valid until the next call */
    size_t n;      /* its bytes; 0 for other kinds */
    uint8_t kind;
    bool more;
    bool replaced; /* this piece holds U+FFFD, literal or for a lone surrogate */
    uint8_t depth; /* containers around the token */
} sbx_json_tok;

#define SBX_JSON_MAX_DEPTH 64

/* Private but for offset and error; nothing to free. */
typedef struct sbx_json {
    uint64_t stack;  /* a bit a level: 1 = object */
    uint32_t offset; /* modulo 2^32; after MORE and DONE: bytes consumed. After ERROR: where the first byte stands that no document could have there
                        (if `end` stayed where it was until the input was consumed) */
    uint32_t cp;     /* of the character being put together */
    char tail[4];    /* last fields of the next key; the very last is the depth */
    uint8_t error;   /* sbx_json_error */
    uint8_t state, max_depth;
    uint8_t sub, held_n;
    char held[6];
} sbx_json;

/* max_depth: containers in each other, 1 to SBX_JSON_MAX_DEPTH; 0 = that. */
SBX_API void sbx_json_init(sbx_json *j, unsigned max_depth);
/* Reads the next token of *p..end and moves *p behind what it consumed. The
   input is decoded in place: its bytes are overwritten. After ERROR *p stands
   at the wrong byte; what came before it was delivered. */
SBX_API sbx_json_kind sbx_json_next(sbx_json *j, char **p, char *end, sbx_json_tok *tok);
/* No more input: DONE, or ERROR (truncated). A top-level number, which only
   the end of the input ends, comes first as an empty last piece of NUMBER;
   then call again. */
SBX_API sbx_json_kind sbx_json_end(sbx_json *j, sbx_json_tok *tok);

/* The text of a whole number. False (and *out untouched): not a JSON integer,
   or out of range; 1e3 and 1.0 are not integers, -0 is 0. */
SBX_API bool sbx_json_i64(sbx_str number, int64_t *out);
SBX_API bool sbx_json_u64(sbx_str number, uint64_t *out);
/* Any JSON number as a double; false: no number, or too large for a double.
   Independent of the locale. With libc (SBX_FREESTANDING 0) it is what strtod
   makes of the first 200 significant digits, the rest only rounding upwards.
   Freestanding builds: within 1.2 units of the last place; exact for integers
   up to 2^53. A double must be IEEE 754 binary64 there (else false). */
SBX_API bool sbx_json_f64(sbx_str number, double *out);

/* Writer into a fixed buffer. Overflow and invalid UTF-8 are sticky; `n`
   keeps counting what would have been needed (so cap 0 measures; p may be
   NULL then). Commas and colons are its own. That brackets match and keys
   come with values is the caller's part. */
typedef struct sbx_jsonw {
    char *p;
    size_t n, cap;
    uint8_t error; /* the first one: 0, SBX_JSONW_FULL, SBX_JSONW_UTF8 */
    bool comma;
} sbx_jsonw;
enum { SBX_JSONW_FULL = 1, SBX_JSONW_UTF8 = 2 };

SBX_API void sbx_jsonw_init(sbx_jsonw *w, char *buf, size_t cap);
SBX_API void sbx_jsonw_begin(sbx_jsonw *w, char bracket); /* '{' or '[' */
SBX_API void sbx_jsonw_end(sbx_jsonw *w, char bracket);   /* '}' or ']' */
SBX_API void sbx_jsonw_key(sbx_jsonw *w, sbx_str key);
SBX_API void sbx_jsonw_str(sbx_jsonw *w, sbx_str s);
SBX_API void sbx_jsonw_i64(sbx_jsonw *w, int64_t v);
SBX_API void sbx_jsonw_u64(sbx_jsonw *w, uint64_t v);
SBX_API void sbx_jsonw_bool(sbx_jsonw *w, bool v);
SBX_API void sbx_jsonw_null(sbx_jsonw *w);
SBX_API void sbx_jsonw_raw(sbx_jsonw *w, sbx_str json); /* a value that is JSON already, copied unchecked */

/* Escapes src[0..n) into dst without quotes, as much as fits; returns the
   bytes written; *used says how much of src was taken, never inside a
   character. Stops before invalid UTF-8 and sets *bad (else false). A
   character cut by the end of src is not taken. dst and src do not overlap. Bytes of dst behind the
   returned length, within cap, may be overwritten. */
SBX_API size_t sbx_json_escape(char *dst, size_t cap, const char *src, size_t n, size_t *used, bool *bad);

SBX_EXTERN_C_END
#endif

/* ======== src/http1.h ======== */
/* ---- http1: public API of the HTTP/1.1 request writer and response parser ----
   The client's side of RFC 9112: bytes in, events out. No I/O, no allocation,
   no content codings.

   One sbx_http1 reads one exchange's answer:

       HEADER*  HEAD  BODY*  HEADER* (trailer)  DONE     a final answer
       HEADER*  UPGRADE                                  101

   Other 1xx answers are checked and skipped. `status` is known from the first
   HEADER on; `length`, `chunked` and `keep_alive` from HEAD on.

   Two parsers that disagree about one message are how answers get smuggled, so
   nothing is guessed. Refused are:
   - line ends other than CRLF, in heads, chunks and trailers (2.2: neither bare LF
     nor bare CR), and an empty line before the status line;
   - obs-fold and blanks before the first field (2.2, 5.2), blanks before a
     colon (5.1), names that are no token, control characters other than HTAB in
     values and reasons (bytes from 0x80 pass);
   - versions other than HTTP/1.0 and HTTP/1.1, status codes other than three
     digits from 100 up (the reason may be empty, with or without its blank);
   - Content-Length that is not one decimal number (below 10 * 2^60), or is
     repeated with another value: the same one again passes, a list does not;
   - Content-Length beside Transfer-Encoding;
   - Transfer-Encoding that is anything but one `chunked`, or in HTTP/1.0 (6.1);
   - chunk sizes above 64 bits, blanks behind one that no `;` follows, quotes in
     chunk extensions that do not close. Extensions are skipped.
   Answers without a body (6.3 rule 1: to HEAD, 1xx, 204, 304) may declare
   whatever framing they like, but Content-Length of a final one must still be
   a number. Fields of a trailer have no effect on framing. */
#ifndef SBX_HTTP1_H
#define SBX_HTTP1_H
SBX_EXTERN_C_BEGIN

typedef enum sbx_http1_kind {
    SBX_HTTP1_MORE,    /* needs bytes behind `*p` (which must be kept and given again, with more behind) */
    SBX_HTTP1_HEADER,  /* name, value; `more`: the line is longer than the caller's buffer and goes on */
    SBX_HTTP1_HEAD,    /* end of a final head: status and framing are known */
    SBX_HTTP1_BODY,    /* a piece of the body, never empty, a slice of the input */
    SBX_HTTP1_DONE,    /* the message is complete; *p stands behind it; repeated if called again */
    SBX_HTTP1_UPGRADE, /* 101: *p stands at the first byte of the new protocol; repeated if called again */
    SBX_HTTP1_ERROR    /* sticky; see sbx_http1.error */
} sbx_http1_kind;

typedef enum sbx_http1_error {
    SBX_HTTP1_OK,
    SBX_HTTP1_BAD_STATUS_LINE,
    SBX_HTTP1_BAD_HEADER, /* name, colon, value or line end */
    SBX_HTTP1_OBS_FOLD,   /* a line of head or trailer begins with a blank */
    SBX_HTTP1_BAD_LENGTH, /* Content-Length: no number, two numbers, or beside Transfer-Encoding */
    SBX_HTTP1_BAD_CHUNK,  /* size, extension, or no CRLF behind the data */
    SBX_HTTP1_TOO_LARGE,  /* a cap below, a chunk line above 256 bytes, or `full` (below) */
    SBX_HTTP1_TRUNCATED,  /* sbx_http1_eof before the end */
    SBX_HTTP1_BAD_CODING  /* Transfer-Encoding that is not `chunked` once */
} sbx_http1_error;

/* Slices of the input. Means something after HEADER and BODY only. */
typedef struct sbx_http1_event {
    sbx_str name;  /* HEADER: as sent; compare without case. Empty in the second and later pieces of one line */
    sbx_str value; /* HEADER: trimmed, the last of several pieces may be empty; BODY: the bytes */
    bool more;
    bool trailer;  /* HEADER of a trailer section */
} sbx_http1_event;

#define SBX_HTTP1_UNKNOWN UINT64_MAX

typedef struct sbx_http1 {
    uint64_t length;    /* HEAD: Content-Length, or SBX_HTTP1_UNKNOWN */
    uint64_t left;      /* body or chunk bytes to come */
    uint32_t head_left; /* bytes of head still allowed */
    uint32_t scanned;   /* bytes of the unfinished line already looked at */
    uint16_t status;
    uint16_t headers_left;
    uint8_t state, error, flags;
    uint8_t interim_left; /* 1xx answers still allowed */
    bool keep_alive; /* after DONE: the connection may carry another request */
    bool chunked;
} sbx_http1;

/* Each cap covers the whole exchange: skipped 1xx heads, the final head and
   the trailer together. */
typedef struct sbx_http1_caps {
    uint32_t head_bytes; /* 0 = 65,536; every byte of their lines */
    uint16_t headers;    /* 0 = 128 */
    uint8_t interim;     /* 0 = 8 */
} sbx_http1_caps;

/* head: the answer belongs to a HEAD request (no body whatever it says), or to
   a CONNECT (whose 2xx has none; DONE stands at the tunnel's first byte).
   caps: NULL for the defaults. */
SBX_API void sbx_http1_init(sbx_http1 *h, bool head, const sbx_http1_caps *caps);
/* Parses *p..end up to the next event and moves *p behind what it consumed.
   A line that is not yet whole is not consumed: MORE leaves *p at its start,
   and the next call must begin with those bytes, at any address. How far it
   was scanned is remembered, so delivery byte by byte costs no more.
   full: *p..end is all that the caller can hold (pass it where nothing before
   *p can be given up either). Then a value comes in pieces, of which the first
   has the name; blanks at a piece's end and a CR are left for the next call;
   the reason of a status line is dropped in pieces; and TOO_LARGE is what
   cannot be cut: a name, a value of blanks only, Connection, Content-Length,
   Transfer-Encoding, a chunk's line. MORE has always consumed something then. */
SBX_API sbx_http1_kind sbx_http1_read(sbx_http1 *h, const char **p, const char *end, bool full, sbx_http1_event *ev);
/* The peer closed, and read has answered MORE to all that came: DONE where the
   close ends the body (RFC 9112 6.3 rule 8) or the message was complete, UPGRADE
   after UPGRADE, else ERROR/TRUNCATED. */
SBX_API sbx_http1_kind sbx_http1_eof(sbx_http1 *h);

/* Request head writer. Begin with _request (request line and Host), add
   fields, finish with _end; the head is p[0..n) if error is still 0.
   Errors are sticky. FULL: nothing was written past cap, and n goes on counting
   what is needed (cap 0, buf NULL measures). The others, which also replace
   FULL, make n 0: a name/value/target with CR, LF, NUL, a control or non-token
   character. Fields are not compared: adding Host twice is the caller's. */
typedef struct sbx_http1w {
    char *p;
    size_t n, cap;
    uint8_t error;
} sbx_http1w;
enum {
    SBX_HTTP1W_FULL = 1,
    SBX_HTTP1W_BAD_NAME,  /* method or field name is no token */
    SBX_HTTP1W_BAD_VALUE, /* field value, or a host that is empty or no host[:port] */
    SBX_HTTP1W_BAD_TARGET /* does not begin with '/', or has a blank, control, '#' or byte from 0x80 */
};
/* target: origin-form, already percent-encoded. host: as in the URL, `name`,
   `name:port`, `[v6]:port`. */
SBX_API void sbx_http1w_request(sbx_http1w *w, char *buf, size_t cap, sbx_str method, sbx_str target, sbx_str host);
SBX_API void sbx_http1w_header(sbx_http1w *w, sbx_str name, sbx_str value);
SBX_API void sbx_http1w_header_u64(sbx_http1w *w, sbx_str name, uint64_t value);
SBX_API void sbx_http1w_end(sbx_http1w *w);
/* Whether name is a token / value is a legal field value (RFC 9110 5.5, 5.6.2).
   Blanks around a value pass: the peer drops them. */
SBX_API bool sbx_http1_name_ok(sbx_str name);
SBX_API bool sbx_http1_value_ok(sbx_str value);
/* Chunk framing: "SIZE\r\n" into buf (at most 18 bytes), its length returned.
   Data, then "\r\n"; the last is "0\r\n\r\n". */
SBX_API size_t sbx_http1_chunk(char buf[18], uint64_t size);

SBX_EXTERN_C_END
#endif

/* ======== src/ws.h ======== */
/* ---- ws: public API of the WebSocket framer (RFC 6455) ---- */
#ifndef SBX_WS_H
#define SBX_WS_H
SBX_EXTERN_C_BEGIN

/* A pure codec: bytes in, events out; no I/O, no allocation, no clock. It
   does not answer pings or closes: the caller does, with the writer below.

       sbx_ws_kind k;
       while ((k = sbx_ws_read(&w, &p, end, &ev)) != SBX_WS_MORE) {
           if (k == SBX_WS_ERROR)
               break;      (answer with a close frame of ev.code, hang up)
           ...             (ev.p[0 .. ev.n) is a piece of kind k)
       }
*/

/* Data and control kinds have the value of their opcode. */
typedef enum sbx_ws_kind {
    SBX_WS_MORE = 0,    /* the input is consumed; call again with the next bytes; *ev says nothing */
    SBX_WS_TEXT = 1,    /* a piece of a text message */
    SBX_WS_BINARY = 2,  /* a piece of a binary message */
    SBX_WS_CLOSE = 8,   /* `code` in every piece; p/n: a piece of the reason */
    SBX_WS_PING = 9,    /* a piece of a control frame's payload (whole where the input holds it whole) */
    SBX_WS_PONG = 10,
    SBX_WS_ERROR = 16   /* sticky; `code` is the close code to answer with */
} sbx_ws_kind;

typedef struct sbx_ws_event {
    char *p;       /* payload piece inside the input, unmasked in place */
    size_t n;      /* its length; 0 is possible with `first` or `last` */
    uint16_t code; /* CLOSE: the peer's code (1005: none). ERROR: 1002, 1007, 1009 (n = 0, the rest says nothing). Otherwise 0 */
    uint8_t total; /* PING/PONG: payload length of the whole frame; CLOSE: of the whole reason */
    bool first;    /* first piece of the message (of the control frame) */
    bool last;     /* last piece of it */
} sbx_ws_event;

enum {
    SBX_WS_SERVER = 1,   /* the reader is a server: frames must be masked; default client: must not be */
    SBX_WS_RAW_TEXT = 2  /* leave the UTF-8 check of text to the consumer (close reasons stay checked) */
};

/* Private fields; copy freely, nothing to free. */
typedef struct sbx_ws {
    uint8_t state;
    uint8_t at;           /* bytes of the frame's head taken so far */
    uint8_t message;      /* kind of the message under way, 0 between messages */
    uint8_t server;       /* (these four are read as one word) */
    uint8_t raw_text;
    uint8_t head;         /* first byte of the head */
    uint8_t mask_from, code_from, need; /* where the head's parts begin, its size */
    uint8_t mask_at;      /* runs on over mask and payload, modulo 4 */
    uint8_t kind;         /* of the frame being read */
    uint8_t total;
    bool first;
    uint8_t mask[4];      /* rotated by mask_at; zero in a client */
    uint16_t code;        /* of the close frame being read, or of the error */
    uint32_t utf8;
    uint64_t left;        /* payload bytes of the current frame still to come */
    uint64_t room;        /* what the current message may still grow by */
    uint64_t max_message; /* UINT64_MAX: no limit */
} sbx_ws;

/* max_message: a longer message (in bytes, all fragments) is ERROR 1009;
   0 = no limit. */
SBX_API void sbx_ws_init(sbx_ws *w, unsigned flags, uint64_t max_message);

/* Reads *p .. end, moves *p on, and returns one event, or MORE when all is
   consumed. A cut frame head is held inside; payload never is: frames of any
   length (to 2^63-1) come in pieces as they arrive, valid as long as the
   input. Where the pieces end depends on the input's borders, all else does
   not.
   - A message is a run of pieces from `first` to `last`; PING, PONG and CLOSE
     can come between two pieces of it. An empty last fragment gives n = 0,
     an empty fragment elsewhere no event, unless it is the first.
   - After CLOSE with `last` all further input is ignored (MORE).
   - ERROR consumes the whole input and comes back on every further call:
       1002  reserved bits or opcodes, wrong masking for the role, a length
             not in its shortest form or above 2^63-1, a control frame that is
             fragmented or above 125 bytes, fragments out of order, a close
             frame of 1 byte or with a code that may not be sent (5.2-5.5, 7.4)
       1007  text or a close reason that is not UTF-8, found at the first byte
             that cannot be right; what is before it was delivered (8.1)
       1009  the message would exceed max_message; found in the frame's head,
             before any of that frame is delivered */
SBX_API sbx_ws_kind sbx_ws_read(sbx_ws *w, char **p, char *end, sbx_ws_event *ev);

enum { SBX_WS_OP_CONT = 0, SBX_WS_OP_TEXT = 1, SBX_WS_OP_BINARY = 2, SBX_WS_OP_CLOSE = 8, SBX_WS_OP_PING = 9, SBX_WS_OP_PONG = 10 };
#define SBX_WS_HEAD_MAX 14
/* Frame head into buf; its length returned. mask NULL = unmasked (server).
   n: payload length, at most 2^63-1 (125 for a control frame, whose fin must
   be true). The caller sends the payload after it, masked. */
SBX_API size_t sbx_ws_head(unsigned char buf[SBX_WS_HEAD_MAX], unsigned opcode, bool fin, uint64_t n, const unsigned char mask[4]);
/* Masks (or unmasks) in place; `at` = bytes of the frame's payload before these.
   A client takes a fresh unpredictable mask for each frame (5.3). */
SBX_API void sbx_ws_mask(void *p, size_t n, const unsigned char mask[4], uint64_t at);
/* A whole close frame's payload, at most 125; its length. Empty (0) with a
   code that may not be sent, such as 0 or 1005: the code of a CLOSE event
   can be echoed as it is. The reason (UTF-8) is cut to 123 bytes at a
   character border. */
SBX_API size_t sbx_ws_close_payload(unsigned char buf[125], unsigned code, sbx_str reason);
/* Whether a peer may send this close code (RFC 6455 7.4 and the registry):
   1000-1003, 1007-1014, 3000-4999. */
SBX_API bool sbx_ws_close_code_ok(unsigned code);
/* Sec-WebSocket-Key from 16 random bytes (24 characters), and the
   Sec-WebSocket-Accept that answers it (28 characters), neither terminated.
   A key has 24 characters (4.2.1): with none or more the answer is all NULs,
   which match no header. */
SBX_API void sbx_ws_key(char out[24], const unsigned char random[16]);
SBX_API void sbx_ws_accept(char out[28], sbx_str key);

SBX_EXTERN_C_END
#endif

/* ======== src/sse.h ======== */
/* ---- sse: public API of the reader of event streams (WHATWG HTML, "server-sent events", 9.2.5 and 9.2.6) ---- */
#ifndef SBX_SSE_H
#define SBX_SSE_H
SBX_EXTERN_C_BEGIN

/* A pure codec: bytes in, events out; no I/O, no allocation, no clock. Every
   input is an event stream, so there are no errors: lines that mean nothing
   are skipped.

       sbx_sse_kind k;
       while ((k = sbx_sse_read(&s, &p, end, &ev)) != SBX_SSE_MORE)
           if (k == SBX_SSE_DATA)
               ...         (ev.p[0 .. ev.n) is a piece of the event's data)
           else if (k == SBX_SSE_END && ev.dispatch)
               ...         (the event is complete)

   What the stream's end leaves without its empty line is no event: forget it.
   Bytes are handed on as they come. The standard takes them as UTF-8 with
   U+FFFD for what is none: where that matters, the caller checks.
   Not there under SBX_NO_SSE. */

typedef enum sbx_sse_kind {
    SBX_SSE_MORE,  /* the input is consumed; call again with the next bytes; *ev says nothing */
    SBX_SSE_TYPE,  /* a piece of an `event` line: the event's type. The last such line counts; none, or an empty one: "message" */
    SBX_SSE_DATA,  /* a piece of the event's data; its lines come joined by LF */
    SBX_SSE_ID,    /* a piece of an `id` line. It counts from END on, whether or not that is dispatched */
    SBX_SSE_RETRY, /* a `retry` line of digits: retry_ms, which counts at once */
    SBX_SSE_END    /* the empty line behind any of the first three: `dispatch` */
} sbx_sse_kind;

typedef struct sbx_sse_event {
    char *p;           /* piece of a value, inside the input or (an LF between two lines of data) inside sbx_sse; never overlaps the next one */
    size_t n;          /* its length; 0 is possible with `first` or `last` */
    uint32_t retry_ms; /* RETRY; what is larger is UINT32_MAX */
    bool first;        /* first piece of the line; DATA: of the event's data */
    bool last;         /* last piece of the line; never of DATA, which END ends */
    bool bad;          /* ID, with `last`: the line has a NUL and does not count */
    bool dispatch;     /* END: the event is one. False: it had no data; forget its type */
} sbx_sse_event;

/* Private fields; copy freely, nothing to free. All zero is the beginning of a
   stream. */
typedef struct sbx_sse {
    uint8_t state;
    uint8_t field;
    uint8_t flags;
    char lf; /* what DATA points to between two lines */
    uint32_t retry;
} sbx_sse;

SBX_API void sbx_sse_init(sbx_sse *s);

/* Reads *p .. end, moves *p on, and returns one event, or MORE when all is
   consumed. Lines of any length come in pieces as they arrive, valid as long
   as the input (an LF: until the next call). Where the pieces end depends on
   the input's borders, all else does not. Lines end with CR, LF or CRLF. One
   blank behind the colon and one U+FEFF before the first line are dropped;
   comments, other fields, and a `retry` line that is no number are skipped.
   An END comes for each event that was announced by a piece, and for no other
   empty line. */
SBX_API sbx_sse_kind sbx_sse_read(sbx_sse *s, char **p, char *end, sbx_sse_event *ev);

/* Right behind a DATA piece inside the input of which not all was wanted: *p may
   be set back into it. The rest comes again, without `first`. */
SBX_API void sbx_sse_back(sbx_sse *s);

SBX_EXTERN_C_END
#endif

/* ======== src/yamux.h ======== */
/* ---- yamux: public API of the stream multiplexer (hashicorp/yamux, protocol version 0) ---- */
#ifndef SBX_YAMUX_H
#define SBX_YAMUX_H
SBX_EXTERN_C_BEGIN

/* A pure codec for both roles: bytes in, events out; frame heads out into the
   caller's buffer; no I/O, no allocation, no clock. The streams lie in a table
   of the caller's. What is composed must be sent in the order in which it was
   composed, so compose only when it can be sent.

       sbx_yamux_kind k;
       while ((k = sbx_yamux_read(&y, &p, end, &ev)) != SBX_YAMUX_MORE) {
           if (ev.n && (k == SBX_YAMUX_REPLY || k == SBX_YAMUX_ERROR))
               ...     (send the frame ev.p[0 .. ev.n))
           if (k == SBX_YAMUX_ERROR)
               break;  (and hang up)
           ...
       }
*/

#define SBX_YAMUX_HEAD 12                /* bytes of a frame's head, the largest frame without a payload */
#define SBX_YAMUX_INITIAL ((uint32_t)262144) /* each stream's first window, both ways: the specification fixes it */

typedef enum sbx_yamux_kind {
    SBX_YAMUX_MORE,     /* the input is consumed; *ev says nothing */
    SBX_YAMUX_OPENED,   /* the peer opened `stream`: sbx_yamux_update or _data accepts it, _drop refuses it */
    SBX_YAMUX_ACCEPTED, /* the peer acknowledged a stream of ours; hashicorp's does not where our half ended before */
    SBX_YAMUX_DATA,     /* p, n: a piece of what came on `stream`, inside the input */
    SBX_YAMUX_WINDOW,   /* `stream` may send more: value more bytes */
    SBX_YAMUX_EOF,      /* the peer's half of `stream` has ended */
    SBX_YAMUX_RESET,    /* the peer ended `stream` both ways; nothing comes or goes any more: drop it */
    SBX_YAMUX_REPLY,    /* p, n: a frame that must be sent (an answer to a ping; a refusal of what the table cannot hold),
                           valid until the next read */
    SBX_YAMUX_PONG,     /* the answer to sbx_yamux_ping came */
    SBX_YAMUX_GOAWAY,   /* value: an sbx_yamux_code. The peer takes no new streams; those that are open go on */
    SBX_YAMUX_ERROR     /* sticky; value: an sbx_yamux_reason; p, n: the GoAway to send, once (n 0: sent before) */
} sbx_yamux_kind;

/* GoAway's codes; a peer can send others. */
typedef enum sbx_yamux_code { SBX_YAMUX_NORMAL, SBX_YAMUX_PROTOCOL, SBX_YAMUX_INTERNAL } sbx_yamux_code;

/* How the peer broke the protocol. */
typedef enum sbx_yamux_reason {
    SBX_YAMUX_BAD_VERSION = 1,
    SBX_YAMUX_BAD_TYPE,
    SBX_YAMUX_BAD_ID,    /* 0 for a stream, not 0 for the session, of the wrong parity, or never opened */
    SBX_YAMUX_BAD_SYN,   /* for a stream that is open */
    SBX_YAMUX_BAD_FIN,   /* a second one, or data behind it */
    SBX_YAMUX_BAD_LENGTH, /* more data than the stream's window allows */
    SBX_YAMUX_BAD_DELTA  /* a window above 2^32-1 */
} sbx_yamux_reason;

/* One stream. Free while id is 0. All but `user` is read only. */
typedef struct sbx_yamux_stream {
    uint32_t id;
    uint32_t send; /* bytes that the peer takes now (see sbx_yamux_sendable) */
    uint32_t recv; /* bytes that the peer may still send */
    uint32_t held; /* bytes given out as DATA and not reported as consumed */
    uint8_t flags;
    void *user;    /* the caller's; NULL in a new stream */
} sbx_yamux_stream;

typedef struct sbx_yamux_event {
    sbx_yamux_stream *stream; /* NULL where the kind names none */
    const char *p;
    size_t n;
    uint32_t value;
} sbx_yamux_event;

/* Private fields. */
typedef struct sbx_yamux {
    sbx_yamux_stream *streams, *current;
    uint32_t count, window, next_id, left, ping;
    uint8_t at, todo, reason, flags;
    unsigned char head[SBX_YAMUX_HEAD];
} sbx_yamux;

/* `streams`: a table for `count` of them (at least 1), borrowed; need not be
   cleared. A client's streams have odd ids, a server's even ones. window: bytes
   that a peer may send ahead of what was consumed, 0 = SBX_YAMUX_INITIAL. A
   smaller one holds only from a stream's first 256 KiB on, since no peer
   asks before it sends them. */
SBX_API void sbx_yamux_init(sbx_yamux *y, bool server, sbx_yamux_stream *streams, uint32_t count, uint32_t window);

/* Reads *p .. end, moves *p on, and returns one event, or MORE when all is
   consumed. A cut frame head is held inside, payload never is. Where pieces of
   DATA end depends on the input's borders, all else does not.
   - A frame's events come in the order OPENED or ACCEPTED, DATA or WINDOW,
     EOF, RESET. A frame with RST has no others but OPENED.
   - What comes on a stream that was dropped, or after its RESET, is skipped.
   - A stream of the peer's that the table has no room for, or that comes after
     sbx_yamux_goaway, is refused by a REPLY.
   - Pings are answered by REPLY; an answer that fits no ping of ours is
     ignored, and so are flags that the specification does not know.
   - ERROR consumes the whole input and comes back on every further call. */
SBX_API sbx_yamux_kind sbx_yamux_read(sbx_yamux *y, const char **p, const char *end, sbx_yamux_event *ev);

/* A new stream, or NULL: the table is full, the peer said GoAway or was sent
   it, or the ids are used up. The peer learns of it by the first frame
   composed. */
SBX_API sbx_yamux_stream *sbx_yamux_open(sbx_yamux *y);
/* Head of a data frame with up to *n bytes, as many as the window takes now:
   *n says how many, which the caller sends behind it. Returns SBX_YAMUX_HEAD,
   or 0 where that is none (the window is empty, our half has ended, the stream
   is over). */
SBX_API size_t sbx_yamux_data(sbx_yamux_stream *s, size_t *n, unsigned char out[SBX_YAMUX_HEAD]);
/* Our half ends: nothing more is sent on the stream. A frame of its own, since
   hashicorp's reader heeds a frame's end before its data, which is then lost.
   SBX_YAMUX_HEAD, or 0 when it was said before or the stream is over. */
SBX_API size_t sbx_yamux_end(sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD]);
/* What sbx_yamux_data would take now. */
SBX_API uint32_t sbx_yamux_sendable(const sbx_yamux_stream *s);
/* n bytes of DATA were used up: the peer may send as many again. */
SBX_API void sbx_yamux_consumed(sbx_yamux_stream *s, size_t n);
/* A window update, if one is due: half a window was consumed, or the stream's
   beginning was not told. SBX_YAMUX_HEAD or 0. */
SBX_API size_t sbx_yamux_update(const sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD]);
/* Frees a stream, as every stream must be at last. Where one of its halves is
   open it is reset: SBX_YAMUX_HEAD, else 0. */
SBX_API size_t sbx_yamux_drop(sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD]);
/* A ping, answered by PONG. A new one replaces one that was not answered. */
SBX_API size_t sbx_yamux_ping(sbx_yamux *y, unsigned char out[SBX_YAMUX_HEAD]);
/* No new streams from now on, either way; those that are open go on. */
SBX_API size_t sbx_yamux_goaway(sbx_yamux *y, sbx_yamux_code code, unsigned char out[SBX_YAMUX_HEAD]);
/* "more data than the stream's window allows" and the like; "" under
   SBX_NO_ERROR_TEXT. */
SBX_API const char *sbx_yamux_reason_text(uint32_t reason);

SBX_EXTERN_C_END
#endif

/* ======== src/api.h ======== */
/* ---- api: the client, its operations and events (public) ---- */
#ifndef SBX_API_H
#define SBX_API_H
SBX_EXTERN_C_BEGIN

#define SBX_VERSION_MAJOR 0
#define SBX_VERSION_MINOR 1
#define SBX_VERSION_PATCH 0
/* "0.1.0": the version compiled in. */
SBX_API const char *sbx_version(void);

typedef struct sbx_client sbx_client;

/* A request header (RFC 9110 5). Names compare without case. A call's header
   replaces the client's of the same name; User-Agent, X-Api-Key and Accept
   replace the library's own. Two of one name in the same list are both sent.
   Names must be tokens; a value with CR, LF, NUL or another control character
   is refused (SBX_ERR_ARGUMENT). Host, Content-Length, Content-Type,
   Transfer-Encoding, TE, Trailer, Connection, Upgrade, Expect and
   Sec-WebSocket-* are the library's own and refused alike. */
typedef struct sbx_header {
    sbx_str name, value;
} sbx_header;

/* A name and a value: an environment variable, a label. The name must not be
   empty; both must be UTF-8 without NUL. */
typedef struct sbx_pair {
    sbx_str name, value;
} sbx_pair;

/* A third state where "not given" differs from "no". */
typedef enum sbx_tri { SBX_TRI_UNSET, SBX_TRI_NO, SBX_TRI_YES } sbx_tri;

/* For a time: no limit. */
#define SBX_FOREVER (-1)
/* For a count or a time-to-live where 0 means "the default": none at all. */
#define SBX_NONE (-1)

/* ------------------------------------------------------------------ client */

/* What a trace hook is told. No secret is in it: neither header values nor
   bodies nor a URL's query. */
typedef enum sbx_trace_kind {
    SBX_TRACE_CONNECT, /* text = host; number = port */
    SBX_TRACE_REQUEST, /* text = the URL's path, without the query */
    SBX_TRACE_STATUS,  /* number = HTTP status */
    SBX_TRACE_CLOSE,   /* a connection was closed; number = sbx_code */
    SBX_TRACE_RETRY,   /* text = operation; number = wait in ms */
    SBX_TRACE_END      /* text = operation; number = sbx_code */
} sbx_trace_kind;

typedef struct sbx_trace {
    sbx_trace_kind kind;
    uint32_t op;   /* the operation's slot, 0 = none */
    uint32_t link; /* the connection's number, 0 = none */
    int64_t number;
    sbx_str text;  /* valid during the hook only */
} sbx_trace;

/* What writes the typed mounts, proxy and access of a sandbox
   (langsmith_config); a function of the library's, not to be called. */
SBX_API const struct sbxi_config *sbx_typed_config(void);
typedef const struct sbxi_config *(*sbx_config)(void);
#define SBX_CONFIG sbx_typed_config

/* What a client is made of. All zero is valid but for `transport`, and for
   `endpoint` (which sbx_open takes from the environment). Times are milliseconds, sizes bytes.
   Zero is the default, given behind the colon; SBX_FOREVER switches a time
   limit off. Read during sbx_client_size, _init and sbx_open only, except
   what `transport`, `resize` and `trace` point to, which must outlive the
   client. */
typedef struct sbx_client_desc {
    const sbx_transport *transport; /* must be given; &sbx_ports = the caller moves the bytes (see sbx_port_next) */
    const void *transport_config;   /* given to the transport's open; its own type */

    const char *endpoint;  /* full base URL, "https://api.smith.langchain.com/v2/sandboxes"; copied */
    const char *api_key;   /* sent as X-Api-Key; NULL or "" = none (sbx_open: "" = none also where the environment has one); copied, at most 511 bytes, wiped on close */
    const char *tenant_id; /* X-Tenant-Id of an organisation's key; NULL = not sent; copied */
    const char *user_agent; /* put before the library's own product token; copied */
    const sbx_header *headers; /* sent with every request, WebSocket upgrades included; copied */
    size_t headers_n;

    uint32_t max_ops;       /* operations at once, until their END was pulled: 64 */
    uint32_t max_links;     /* connections at once: 32. A running command holds one, idle ones count */
    uint32_t max_connects;  /* connections being made at once: 16 */
    uint32_t max_requests;  /* requests kept for repetition at once: 16. A call holds one until it ends, a command until it started (with headers of its own until it ends), an END with the server's text until it was pulled */
    uint32_t request_bytes; /* largest request without its bulk data (path, query, a call's headers, JSON): 4,096, at least 256 */
    uint32_t buffers;       /* receive and send buffers, shared by all: 4 of each, at least 2; the last of each serves only
                               the operation being awaited. A stream that sbx_next_of left in the midst of a chunk holds
                               one: more of them in turn than buffers, and one waits till its deadline. sbx_next over all
                               operations needs no more than the default */
    uint32_t rx_bytes;      /* a receive buffer: 16,384, at least 512 */
    uint32_t tx_bytes;      /* a send buffer; a request's head must fit in it, its URL in half of it: 4,096, at least 1,024 */
    uint32_t max_owned;     /* sandboxes with delete_on_close at once: 4 */

    int32_t timeout_ms;   /* one attempt at a request, to its answer's head, and any silence after it: 10,000. Calls with a limit of their own say so */
    int32_t total_ms;     /* a whole operation with its retries: no limit */
    int32_t connect_ms;   /* one connection, names and TLS included: 10,000 */
    int32_t idle_ms;      /* how long an idle connection is kept: 30,000; SBX_NONE = never */
    int32_t close_ms;     /* what sbx_close may spend on delete_on_close: 10,000 */
    int32_t max_retries;  /* repetitions after the first attempt: 3, at most 100; SBX_NONE = none */
    uint32_t head_bytes;  /* cap on an answer's head: 65,536, at least 256 */

    int32_t ws_open_ms;     /* one WebSocket upgrade, and then the wait for `started`: 30,000 */
    int32_t ws_connect_budget_ms; /* all attempts to open a command's stream: 120,000 */
    int32_t ws_ping_interval_ms;  /* silence before a ping: 30,000; SBX_FOREVER = no pings */
    int32_t ws_ping_ms;     /* wait for the pong: 60,000 */
    int32_t ws_close_ms;    /* wait for the peer's close, whatever it still sends: 10,000; SBX_NONE = hang up at once */
    int32_t sse_read_ms;    /* silence on a command's event stream (SBX_VIA_SSE), whose server gives a sign of life every 15 s: 60,000 */

    bool allow_http_boxes; /* with an https endpoint, send the key also to a data plane of http://, unencrypted. Default: calls on
                              such a sandbox's data plane are refused (SBX_ERR_ARGUMENT, box.url), but for localhost, 127.* and ::1 */

    sbx_config config; /* SBX_CONFIG: the options with typed mounts, proxy and access can be given, and the program is linked with
                          what they need; NULL = none of them (sbx_open: SBX_CONFIG) */
    void *(*resize)(void *user, void *p, size_t n); /* allocator for results that ask for it (`alloc`): realloc's rules, n 0 frees; NULL = none */
    void *resize_user;
    void (*trace)(void *user, const sbx_trace *t);  /* must not call the client */
    void *trace_user;
} sbx_client_desc;

/* Bytes of memory that sbx_client_init needs for this description; SIZE_MAX:
   more than can be addressed. Checks nothing else. What a part costs stands
   in the guide under "Memory". */
SBX_API size_t sbx_client_size(const sbx_client_desc *desc);

/* Lays a client out in `mem` (any alignment, borrowed until sbx_close). Reads no
   environment and allocates nothing, now or later (a transport may: see its
   manual). Does not block.
   Errors: SBX_ERR_ARGUMENT (err->field names the option), SBX_ERR_MEMORY
   (err->text says how many bytes are needed), SBX_ERR_ENTROPY, and what the
   transport's open says. `err` may be NULL; it is written on failure only, and *out is
   NULL then. */
SBX_API sbx_code sbx_client_init(void *mem, size_t n, const sbx_client_desc *desc, sbx_client **out, sbx_error *err);

/* sbx_client_init in memory from malloc, with what the description leaves out
   taken from the environment: LANGSMITH_ENDPOINT, else LANGCHAIN_ENDPOINT,
   else https://api.smith.langchain.com (/v2/sandboxes is put behind each);
   LANGSMITH_API_KEY, else LANGCHAIN_API_KEY; LANGSMITH_SANDBOX_WS_TIMEOUT_*
   (OPEN, PING_INTERVAL, PING, CLOSE, CONNECT_BUDGET) and
   LANGSMITH_SANDBOX_SSE_TIMEOUT_READ (then LANGCHAIN_…) in seconds, <= 0 = off. A blank value counts as unset, a number that cannot be
   read is ignored. `resize` defaults to realloc. Errors as sbx_client_init's.
   Not there under SBX_NO_MALLOC. */
SBX_API sbx_code sbx_open(const sbx_client_desc *desc, sbx_client **out, sbx_error *err);

/* Deletes what delete_on_close owns (within close_ms; blocks only for that,
   and only when the transport can wait and sbx_shutdown was not called),
   closes every connection, overwrites the client's memory, keys included,
   with zeros and frees what sbx_open took. No event comes after it; open
   operations end unreported, their out-pointers unwritten. Results in
   allocated memory are the caller's: sbx_free them before. NULL is allowed.
   Must not be called from the trace hook or the transport: there it does
   nothing, and the client still has to be closed. */
SBX_API void sbx_close(sbx_client *c);

/* Replaces the API key for every request not yet written; an empty one: none
   is sent, as with desc.api_key. Errors: SBX_ERR_ARGUMENT (over 511 bytes, or
   not a legal header value). */
SBX_API sbx_code sbx_set_api_key(sbx_client *c, sbx_str key);

/* High-water marks and counters, for sizing. */
typedef struct sbx_usage {
    size_t memory;           /* bytes of client memory, as given */
    uint32_t ops, ops_high;  /* operations now and at most */
    uint32_t links, links_high;
    uint32_t requests, requests_high;
    uint32_t rx_high, tx_high; /* buffers in use at most */
    uint32_t timers_high;
    uint64_t connects, reused; /* connections made; requests on a kept one */
    uint64_t retries, reconnects;
    uint64_t bytes_in, bytes_out; /* as the transport moved them */
} sbx_usage;
/* *out is filled; nothing else changes. */
SBX_API void sbx_get_usage(const sbx_client *c, sbx_usage *out);

/* -------------------------------------------------------------- operations */

/* An operation: what every call returns. The call itself never blocks and
   does no I/O; the operation runs inside sbx_await, sbx_next…, sbx_step and
   sbx_wait. A call that is refused at once gives slot 0 with its code in gen;
   await, next_of and error_of take it like any other, sbx_next reports no
   event for it. A handle is dead once its END was pulled or awaited, and never
   comes back to life: a slot's generation counts 32 bits.

   Any call can end with these, and its comment names only what comes besides:
   at once  SBX_ERR_ARGUMENT (the error's field names the option), _FULL
            (max_ops, max_requests), _TOO_LARGE (request_bytes), _CLOSED
            (after sbx_shutdown), _STATE (called from inside the transport),
            _ENTROPY
   later    SBX_ERR_RESOLVE, _CONNECT, _CONNECTION, _TLS, _UNSUPPORTED (https
            without a TLS transport), _DEADLINE, _PROTOCOL, _ENTROPY,
            _TOO_LARGE (the head does not fit tx_bytes; an id or URL in the
            answer does not fit its field), _CANCELLED, _CLOSED
   answers  SBX_ERR_AUTH, _NOT_FOUND, _VALIDATION, _CONFLICT, _QUOTA,
            _NOT_READY, _SERVER; data plane calls also _PERMISSION, _OPERATION

   Repeated, at most max_retries times with jittered back-off (Retry-After
   where the server names it), until the total deadline: what was not sent,
   429, and 503 without an error type of the service; where repeating does no
   harm also any 503, 502, 504, lost connections and silence. Where it may do
   harm a call is never sent again once it may have been carried out:
   SBX_ERR_OUTCOME. These are the calls that create something (sandboxes,
   snapshots, registries, templates, volumes, pools), start and stop, commands
   with SBX_VIA_HTTP or no_command_id, the start of one with SBX_VIA_SSE, and
   sbx_request unless its method or `repeat` allows it. After SBX_ERR_DEADLINE
   the error's `sent` says whether it may have been. */
typedef struct sbx_op {
    uint32_t slot;
    uint32_t gen;
} sbx_op;

/* The part of its options that every call has; the first member of each
   options struct. Everything is read during the call. */
typedef struct sbx_call {
    int32_t total_ms;   /* the whole operation; 0 = the client's, SBX_FOREVER = no limit */
    int32_t timeout_ms; /* one attempt; 0 = the call's own or the client's, SBX_FOREVER = no limit */
    int32_t max_retries; /* 0 = the client's, SBX_NONE = none, at most 100 */
    const sbx_header *headers; /* added, or in place of the client's */
    size_t headers_n;
    sbx_str api_key;    /* instead of the client's */
    void *user;         /* comes back in every event */
} sbx_call;

typedef enum sbx_event_kind {
    SBX_EV_NONE,
    SBX_EV_STARTED,     /* the command runs: pid; a tunnel or connection stands */
    SBX_EV_STDOUT,      /* data, offset */
    SBX_EV_STDERR,
    SBX_EV_DATA,        /* bytes of a file, answer or connection: data, offset */
    SBX_EV_ITEM,        /* one item of a list: `item` */
    SBX_EV_GAP,         /* output was lost: stream, offset (where it begins), lost (bytes) */
    SBX_EV_RETRYING,    /* any call: an attempt failed with `code`; the next comes in delay_ms */
    SBX_EV_RECONNECTED, /* the command's stream goes on after a drop; a tunnel is open again */
    SBX_EV_WRITABLE,    /* sbx_push, sbx_input or sbx_tunnel_send takes bytes again */
    SBX_EV_EOF,         /* the other side of a connection sends no more */
    SBX_EV_REWIND,      /* a pushed body must be sent again from its first byte (sbx_rewind), or cancelled */
    SBX_EV_HEAD,        /* sbx_request with `stream`: the answer began: status; data = its header lines, as far as opts.head took them */
    SBX_EV_AGENT_DATA,  /* ssh_agent_forward: data for the SSH agent, of one channel: channel, data */
    SBX_EV_AGENT_CLOSE, /* that channel is closed: channel */
    SBX_EV_END          /* the last one: code, exit_code; the handle is dead after it */
} sbx_event_kind;

/* Fields that an event's kind does not name are 0. */
typedef struct sbx_event {
    sbx_event_kind kind;
    sbx_op op;
    void *user;        /* sbx_call.user */
    sbx_str data;      /* borrowed until the next sbx_next…, sbx_await, sbx_step, sbx_wait, sbx_cancel, sbx_port_… or sbx_close */
    sbx_str channel;   /* AGENT_DATA, AGENT_CLOSE: the channel's id, at most 63 bytes; borrowed like data */
    const void *item;  /* ITEM: sbx_box_info, sbx_match, sbx_snapshot, …, by the call; borrowed alike */
    uint64_t offset;   /* of the first byte of data in its stream or file */
    uint64_t lost;     /* GAP */
    uint32_t delay_ms; /* RETRYING */
    uint32_t pid;      /* STARTED */
    int stream;        /* STDOUT, STDERR, GAP: 1 or 2 */
    int exit_code;     /* END of a command (-1 where it has none), of sbx_shutdown: sandboxes left */
    sbx_code code;     /* END, RETRYING */
    int status;        /* HEAD: the answer's HTTP status */
} sbx_event;

/* Runs an operation to its end and returns its code. Blocks; set total_ms to
   bound it. Events of other operations are neither consumed nor lost; the
   operation's own are dropped (await is for calls that collect, and not for
   uploads by sbx_push). Other errors, none of which ends the operation, and of
   which sbx_error_of therefore knows nothing:
   SBX_ERR_UNSUPPORTED (the transport cannot wait), SBX_ERR_HANDLE (a dead
   handle), SBX_ERR_STATE (called from inside the transport). */
SBX_API sbx_code sbx_await(sbx_client *c, sbx_op op);

/* Blocks for the operation's next event. True with *ev filled; false after its
   END was returned, or for a dead handle. A call refused at once gives one END
   event first and changes *op, so ask sbx_error_of for ev->op. With a
   transport that cannot wait it does not block: false also means none now. */
SBX_API bool sbx_next_of(sbx_client *c, sbx_op *op, sbx_event *ev);

/* The next event of any operation, without waiting; false = none now. Reads
   what the event needs from the transport, in turn with other operations. */
SBX_API bool sbx_next(sbx_client *c, sbx_event *ev);

/* Moves everything that can move, without blocking. now_ms: milliseconds of
   the transport's clock (mono_ms; sbx_posix: CLOCK_MONOTONIC), since sbx_wait,
   sbx_await and sbx_next_of read that; for a transport-less client any clock
   that begins at 0 or above and never steps back. A time before the last one
   is ignored. */
SBX_API void sbx_step(sbx_client *c, int64_t now_ms);

/* Blocks until something is ready, sbx_wake was called or timeout_ms passed
   (SBX_FOREVER: no limit), then steps by the transport's clock; does not
   block while events or work wait. False, at once, when the transport cannot
   wait. */
SBX_API bool sbx_wait(sbx_client *c, int64_t timeout_ms);

/* When the next sbx_step is due at the latest, on now_ms's clock; INT64_MAX =
   never; not later than the last step = now (events or work wait). A pure
   query. */
SBX_API int64_t sbx_next_deadline(const sbx_client *c);

/* Ends a running sbx_wait early; sbx_await and sbx_next_of look around and
   wait on. The one call allowed from another thread, while the client lives.
   No effect where the transport has no wake. */
SBX_API void sbx_wake(sbx_client *c);

/* One handle for a foreign event loop that is readable whenever a connection
   is ready (an epoll descriptor), -1 where the transport has none. Watch it
   for reading together with sbx_next_deadline. */
SBX_API intptr_t sbx_poll_handle(const sbx_client *c);

/* Ends an operation with SBX_ERR_CANCELLED; its out-pointers are not written
   any more, its borrowed buffers are free. END is still reported. What the
   server has begun goes on: a command runs on (sbx_kill ends it, or
   kill_on_disconnect). SBX_OK without effect when it has ended already;
   SBX_ERR_HANDLE for a dead handle. */
SBX_API sbx_code sbx_cancel(sbx_client *c, sbx_op op);

/* The error of an operation: of the last call refused at once, or of the
   operation whose END was pulled or awaited last. Ask before the next one
   ends; for any other handle code is SBX_OK. */
SBX_API void sbx_error_of(const sbx_client *c, sbx_op op, sbx_error *out);

/* Starts to shut down: every operation ends with SBX_ERR_CLOSED (their END
   events are still to be pulled), new calls are refused, then the sandboxes of
   delete_on_close are deleted, for which there is a slot beside max_ops. `ms`
   bounds it, SBX_FOREVER = no limit. Its END has exit_code = sandboxes that
   remain, and SBX_OK for none, SBX_ERR_SERVER when some could not be deleted,
   SBX_ERR_DEADLINE after `ms`; deletions under way end by themselves, also
   after it: step on until sbx_usage.ops is 0. An END not pulled before may lose
   the server's words, not its code. At once: SBX_ERR_CLOSED (called before),
   SBX_ERR_FULL (END events hold every slot of max_ops: pull one). */
SBX_API sbx_op sbx_shutdown(sbx_client *c, int32_t ms);

/* The next bytes of a body that the caller pushes (sbx_write with `stream`,
   sbx_request with `push`): copies what
   the send buffer takes, *taken says how much (possibly 0: wait for
   SBX_EV_WRITABLE, and give the rest again). `end` with everything taken ends
   the body. Does not block. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (not an
   upload, ended, or a rewind is due), SBX_ERR_ARGUMENT (more than the size
   that was announced, or end before it). */
SBX_API sbx_code sbx_push(sbx_client *c, sbx_op op, sbx_str data, bool end, size_t *taken);
/* The answer to SBX_EV_REWIND: the body will be pushed again from its start,
   after the next SBX_EV_WRITABLE. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (no
   rewind is due). */
SBX_API sbx_code sbx_rewind(sbx_client *c, sbx_op op);

/* Frees memory that a result with `alloc` was given; NULL is allowed. */
SBX_API void sbx_free(sbx_client *c, void *p);

/* ---------------------------------------------------------- transport-less */

/* With desc.transport &sbx_ports the program owns the connections. sbx_port_next
   lists what has to be done: each port is one connection, named by `id` (1 to
   max_links; a number is used again after its CLOSE). Nothing blocks, so
   sbx_await answers SBX_ERR_UNSUPPORTED; time comes with sbx_step. In a loop:
   sbx_step; bytes that came to sbx_port_recv; sbx_next until none; bytes of
   sbx_port_send to each open connection; sbx_port_next until none. */
typedef enum sbx_port_action {
    SBX_PORT_CONNECT, /* connect to host:port (with TLS if tls, checking the name), then sbx_port_opened */
    SBX_PORT_CLOSE    /* close it and forget the id */
} sbx_port_action;

typedef struct sbx_port {
    uint32_t id;
    sbx_port_action action;
    sbx_str host; /* CONNECT: a name or an IP literal; borrowed until the next call */
    uint16_t port;
    bool tls;
} sbx_port;

/* No transport but the mark of such a client: only a program that names it is
   linked with what moves its bytes. */
extern const sbx_transport sbx_ports;

/* The next action, false = none now. Call it after each step and event. Not
   meant (always false) for a client with another transport. */
SBX_API bool sbx_port_next(sbx_client *c, sbx_port *out);
/* These three: SBX_ERR_HANDLE for an id that has no connection any more. */
SBX_API sbx_code sbx_port_opened(sbx_client *c, uint32_t id);
/* It could not be opened, or broke: SBX_ERR_RESOLVE, _CONNECT, _CONNECTION or _TLS. */
SBX_API sbx_code sbx_port_failed(sbx_client *c, uint32_t id, sbx_code code);
/* The peer ended its stream, and all that it sent was taken. */
SBX_API sbx_code sbx_port_eof(sbx_client *c, uint32_t id);
/* Bytes that arrived: returns how many were taken; keep the rest and give it
   again after the next event or step. 0 for a port that is not open. */
SBX_API size_t sbx_port_recv(sbx_client *c, uint32_t id, const void *p, size_t n);
/* Bytes to be sent: fills p, returns their number, 0 = none. They count as
   sent: do not lose them. */
SBX_API size_t sbx_port_send(sbx_client *c, uint32_t id, void *p, size_t room);
/* A transport-less client has no randomness of its own: seed it before the
   first call with 32 strong random bytes (up to 64 are used), again to add
   more. wall_ms: Unix time in ms, 0 = not known. Without it the calls that
   need random bytes (commands, uploads, delete_on_close) end with
   SBX_ERR_ENTROPY. Errors: SBX_ERR_ARGUMENT (under 32), SBX_ERR_STATE (the
   client has another transport). */
SBX_API sbx_code sbx_port_seed(sbx_client *c, const void *seed, size_t n, int64_t wall_ms);

SBX_EXTERN_C_END
#endif

/* ======== src/langsmith_config.h ======== */
/* ---- langsmith_config: mounts, proxy and access of a sandbox (public) ---- */
#ifndef SBX_LANGSMITH_CONFIG_H
#define SBX_LANGSMITH_CONFIG_H
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

/* ======== src/langsmith.h ======== */
/* ---- langsmith: sandboxes, commands and files of LangSmith (public) ---- */
#ifndef SBX_LANGSMITH_H
#define SBX_LANGSMITH_H
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

/* ======== src/langsmith_snapshots.h ======== */
/* ---- langsmith_snapshots: snapshots and registries of LangSmith (public) ---- */
#ifndef SBX_LANGSMITH_SNAPSHOTS_H
#define SBX_LANGSMITH_SNAPSHOTS_H
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

/* ======== src/langsmith_urls.h ======== */
/* ---- langsmith_urls: services and files of a sandbox by URL (public) ---- */
#ifndef SBX_LANGSMITH_URLS_H
#define SBX_LANGSMITH_URLS_H
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

/* ======== src/langsmith_legacy.h ======== */
/* ---- langsmith_legacy: templates, volumes and pools of older servers (public) ---- */
#ifndef SBX_LANGSMITH_LEGACY_H
#define SBX_LANGSMITH_LEGACY_H
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

/* ======== src/tunnel.h ======== */
/* ---- tunnel: TCP connections into a sandbox over one WebSocket (public) ---- */
#ifndef SBX_TUNNEL_H
#define SBX_TUNNEL_H
SBX_EXTERN_C_BEGIN

/* A tunnel is one WebSocket to a sandbox (…/tunnel) that carries any number of
   TCP connections to ports inside it, multiplexed by yamux. The tunnel is an
   operation, and so is each connection: both are pulled like any other.

       tunnel = sbx_tunnel_open(c, &box, NULL);
       op = sbx_tunnel_dial(c, tunnel, 5432, NULL);
       while (sbx_next_of(c, &op, &ev))
           if (ev.kind == SBX_EV_STARTED || ev.kind == SBX_EV_WRITABLE)
               sbx_tunnel_send(c, op, rest, true, &taken);  (what was not taken goes out at the next WRITABLE)
           else if (ev.kind == SBX_EV_DATA)
               fwrite(ev.data.p, 1, ev.data.n, stdout);
           else if (ev.kind == SBX_EV_END)
               code = ev.code;
       sbx_tunnel_close(c, tunnel);

   How much can be under way, and where it lies
   --------------------------------------------
   Every connection has a ring of `window` bytes for what came and was not
   pulled. The peer is told that it may send more only when bytes were pulled,
   so a ring never overflows, a connection that is not pulled stops its own
   sender, and the others go on. That holds without exception for a window of
   256 KiB (the default) or more: yamux lets each peer send the first 256 KiB of
   a stream unasked. With a smaller window those first 256 KiB can find the
   ring full. Then the bytes stay in the socket, and all connections of the
   tunnel wait until the full one is pulled; this lasts for at most those 256
   KiB. Should the program meanwhile block for an event of another one
   (sbx_next_of, sbx_await), which would never come, the full one is reset and
   ends with SBX_ERR_TOO_LARGE behind its last data. A program that pulls all
   events (sbx_next) never meets it.
   A tunnel that waits so for longer than its server waits for the answer to a
   ping (hashicorp's default: 40 s) can be ended by the server. */

typedef struct sbx_tunnel_opts {
    sbx_call call;        /* timeout_ms: one attempt to open it, ws_open_ms; total_ms: the tunnel's whole life; max_retries: 2.
                             Its headers and key go with every upgrade, also when it is opened again */
    sbx_buf memory;       /* sbx_tunnel_size bytes, borrowed until END; none: the client's allocator, until END */
    uint32_t max_streams; /* connections at once: 32. Each is an operation, too (max_ops) */
    uint32_t window;      /* bytes of each connection's ring: 262,144, at least 1,024 */
    int32_t ping_interval_ms; /* silence before a yamux ping: 30,000; SBX_FOREVER = no pings */
    int32_t ping_ms;      /* wait for its answer: 30,000. Does not run while the tunnel waits for the program */
} sbx_tunnel_opts;

/* Bytes of memory for a tunnel with these options (NULL: the default ones):
   max_streams times window and about 100; SIZE_MAX: more than can be
   addressed. Memory is touched only as far as it is used. */
SBX_API size_t sbx_tunnel_size(const sbx_tunnel_opts *opts);

/* GET …/tunnel (yamux, protocol version 0). An operation that lasts until it is
   closed, cancelled or cannot be opened; holds one of max_links while it is
   open. Events: STARTED (open), RETRYING (an attempt failed), RECONNECTED (open
   again), END. They need not be pulled for the connections to run.
   Attempts to open are repeated like those of a command, 0.5 s, doubled, up to
   8 s apart. A tunnel that is lost later ends its connections with
   SBX_ERR_CONNECTION, stays itself, and is opened again, in the same way, by
   the next dial; when that fails, the dials that wait end with the error and
   the next one tries again. Of WebSocket pings none are sent: yamux's own are,
   and their answers are checked.
   Errors: SBX_ERR_NO_BUFFER (no memory and no allocator), SBX_ERR_MEMORY (the
   memory is smaller than sbx_tunnel_size, or the allocator refused),
   SBX_ERR_NO_ENDPOINT (404: a server without tunnels). */
SBX_API sbx_op sbx_tunnel_open(sbx_client *c, const sbx_box *box, const sbx_tunnel_opts *opts);

typedef struct sbx_dial_opts {
    sbx_call call; /* timeout_ms: until the connection stands, the tunnel's opening included, ws_open_ms; headers and api_key
                      are the tunnel's: refused here. No retries: dial again */
} sbx_dial_opts;

/* A TCP connection to a port (1 to 65,535) inside the sandbox. The tunnel need
   not be open yet. Events: STARTED (it stands), DATA (data, offset), WRITABLE,
   EOF (the other side sends no more; what we send still arrives), END. The END
   of a connection whose halves have both ended has SBX_OK; before it, each of
   the two must have ended: by sbx_tunnel_send with `end`, and by EOF. What came
   before a failure is delivered before END. sbx_cancel resets the connection.
   At most 128 connections of a tunnel are being made at once, further ones
   wait: servers reset those that exceed their backlog (hashicorp's: 256).
   Errors at once: SBX_ERR_HANDLE (no tunnel), SBX_ERR_STATE (it was closed),
   SBX_ERR_FULL (max_streams). Later: SBX_ERR_PORT_DENIED (the sandbox does not
   let this port be reached), SBX_ERR_DIAL (nothing answers there),
   SBX_ERR_TUNNEL_VERSION (the server speaks another version),
   SBX_ERR_CONNECTION (reset by the other side, or the tunnel was lost, or the
   server takes no new connections), SBX_ERR_TOO_LARGE (see above),
   SBX_ERR_DEADLINE, what opening the tunnel can end with. */
SBX_API sbx_op sbx_tunnel_dial(sbx_client *c, sbx_op tunnel, uint16_t port, const sbx_dial_opts *opts);

/* The next bytes for the other side: copies what the send buffer and the
   peer's window take, *taken says how much (possibly 0: wait for
   SBX_EV_WRITABLE, and give the rest again; always so before STARTED, which
   says that it may be given). Connections that wait get their WRITABLE in
   turn. `end` with everything taken ends our half; `data` may be empty for
   that. Does not block. The larger tx_bytes, the fewer and larger frames.
   Errors: SBX_ERR_HANDLE (not a connection), SBX_ERR_STATE
   (our half has ended, or the connection; called from inside the transport),
   SBX_ERR_ENTROPY. */
SBX_API sbx_code sbx_tunnel_send(sbx_client *c, sbx_op op, sbx_str data, bool end, size_t *taken);

/* sbx_tunnel_send without its copy: *room is where the next bytes go, inside the
   send buffer, and how many there can be now. n 0: none, wait for
   SBX_EV_WRITABLE, as before STARTED. It stands until the next call that is
   given this client, which is sbx_tunnel_commit, in every case where n is not 0.
   What ends our half is sbx_tunnel_send.
   Errors: those of sbx_tunnel_send. */
SBX_API sbx_code sbx_tunnel_reserve(sbx_client *c, sbx_op op, sbx_buf *room);

/* The first n bytes of it, which were written there meanwhile, go out; with 0
   the buffer is given back. Errors: those of sbx_tunnel_send,
   SBX_ERR_TOO_LARGE (n is more than there was room for: nothing is sent). */
SBX_API sbx_code sbx_tunnel_commit(sbx_client *c, sbx_op op, size_t n);

/* Holds a connection's DATA and what comes behind it back from sbx_next, and so
   slows its sender, until it is let go; WRITABLE still comes. For a program
   that cannot pass on what comes; sbx_next_of must not wait for a connection
   that is held. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (called from inside the
   transport). */
SBX_API sbx_code sbx_tunnel_hold(sbx_client *c, sbx_op op, bool hold);

/* The last n bytes of the connection's DATA that was pulled last come once more,
   with its next DATA; only while that event's data is borrowed. With
   sbx_tunnel_hold for a program that could pass on a part of it: nothing has to
   be copied. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (so many bytes are not
   borrowed). */
SBX_API sbx_code sbx_tunnel_unread(sbx_client *c, sbx_op op, size_t n);

/* Ends a tunnel: no new connections; those that stand go on; END (SBX_OK)
   comes when that of the last of them was pulled. sbx_cancel ends it at once,
   its connections with it. Errors: SBX_ERR_HANDLE, SBX_ERR_STATE (called from
   inside the transport). */
SBX_API sbx_code sbx_tunnel_close(sbx_client *c, sbx_op tunnel);

SBX_EXTERN_C_END
#endif

#endif /* SBX_SANDBOX_H_INCLUDED */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBX_SANDBOX_H_IMPLEMENTED)
#define SBX_SANDBOX_H_IMPLEMENTED

/* ======== src/base.h ======== */
/* ---- base: configuration, linkage of private functions, checked arithmetic ---- */
#ifndef SBXI_BASE_H
#define SBXI_BASE_H


/* Configuration macros, all 0 or 1, read by the implementation only. They
   never change a public type. */
#ifndef SBX_NO_MALLOC
#define SBX_NO_MALLOC 0
#endif
#ifndef SBX_NO_ERROR_TEXT
#define SBX_NO_ERROR_TEXT 0
#endif
#ifndef SBX_NO_ALLOC
#define SBX_NO_ALLOC 0
#endif
#ifndef SBX_NO_CONFIG
#define SBX_NO_CONFIG 0
#endif
#ifndef SBX_NO_DATES
#define SBX_NO_DATES 0
#endif
#ifndef SBX_NO_EXECUTE
#define SBX_NO_EXECUTE 0
#endif
#ifndef SBX_NO_LEGACY
#define SBX_NO_LEGACY 0
#endif
#ifndef SBX_NO_OWNED
#define SBX_NO_OWNED 0
#endif
#ifndef SBX_NO_PORTS
#define SBX_NO_PORTS 0
#endif
#ifndef SBX_NO_SSE
#define SBX_NO_SSE 0
#endif
#ifndef SBX_NO_SSH_AGENT
#define SBX_NO_SSH_AGENT 0
#endif
#ifndef SBX_NO_TRACE
#define SBX_NO_TRACE 0
#endif
#ifndef SBX_NO_TUNNEL
#define SBX_NO_TUNNEL 0
#endif
#ifndef SBX_NO_URLS
#define SBX_NO_URLS 0
#endif
#ifndef SBX_FREESTANDING
#define SBX_FREESTANDING 0
#endif
#ifndef SBX_SMALL
#define SBX_SMALL 0
#endif

/* Private functions are static in the single file. The parts can also be
   built one by one (SBXI_SPLIT=1), where they need external linkage. */
#ifndef SBXI_SPLIT
#define SBXI_SPLIT 0
#endif
#if defined(__GNUC__)
#define SBXI_UNUSED __attribute__((unused))
#define SBXI_NOINLINE __attribute__((noinline))
#define SBXI_LIKELY(x) __builtin_expect(!!(x), 1)
#define SBXI_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define SBXI_UNUSED
#define SBXI_NOINLINE
#define SBXI_LIKELY(x) (x)
#define SBXI_UNLIKELY(x) (x)
#endif
/* A function that a compiler would repeat in its callers, also where that makes
   them larger. */
#if SBX_SMALL
#define SBXI_ONCE SBXI_NOINLINE
#else
#define SBXI_ONCE
#endif
#if SBXI_SPLIT
#define SBXI_FN SBX_EXTERN_C
#else
#define SBXI_FN static SBXI_UNUSED
#endif
#define SBXI_INLINE static inline SBXI_UNUSED

/* A text for people; also the name of an option that is refused. */
#if SBX_NO_ERROR_TEXT
#define SBXI_T(text) ""
#else
#define SBXI_T(text) text
#endif

/* A text of a table, which no other has: where the language allows, in a
   section of its own, so that it is linked with its table only. */
#ifdef __cplusplus
#define SBXI_APART(text) text
#else
#define SBXI_APART(text) ((const char[]){ text })
#endif

#define SBXI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SBXI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define SBXI_COUNT(a) (sizeof(a) / sizeof(0 [a]))

/* a + b, or SIZE_MAX when it does not fit; likewise a * b. A size that was
   capped once stays capped, so one comparison at the end is enough. */
SBXI_INLINE size_t sbxi_add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

SBXI_INLINE size_t sbxi_mul(size_t a, size_t b)
{
    return b && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* n rounded up to 16 bytes, SIZE_MAX when it does not fit. */
SBXI_INLINE size_t sbxi_align(size_t n)
{
    return n > SIZE_MAX - 15 ? SIZE_MAX : (n + 15) & ~(size_t)15;
}

/* The text number i of texts that stand one behind the other. */
SBXI_INLINE const char *sbxi_text_at(const char *texts, unsigned i)
{
    while (i--)
        texts += strlen(texts) + 1;
    return texts;
}

SBXI_INLINE bool sbxi_eq(sbx_str a, sbx_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

SBXI_INLINE char sbxi_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

/* ASCII case-insensitive comparison. */
SBXI_INLINE bool sbxi_eq_nocase(sbx_str a, sbx_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (sbxi_lower(a.p[i]) != sbxi_lower(b.p[i]))
            return false;
    return true;
}

#endif

/* ======== src/pool.h ======== */
/* ---- pool: fixed-size buffers and index lists (private) ---- */
#ifndef SBXI_POOL_H
#define SBXI_POOL_H

#define SBXI_NIL UINT32_MAX

/* Equal buffers; free ones are chained through their first bytes. */
typedef struct sbxi_pool {
    char *base;
    size_t size;
    uint32_t count, free_head, used, high;
} sbxi_pool;

SBXI_FN SBXI_ONCE void sbxi_pool_init(sbxi_pool *p, void *base, size_t size, uint32_t count);
SBXI_FN char *sbxi_pool_take(sbxi_pool *p); /* NULL: none free */
SBXI_FN void sbxi_pool_give(sbxi_pool *p, char *buf);

/* Doubly linked lists over the items of an array; a node lies in the item and
   is in one list at most. */
typedef struct sbxi_node {
    uint32_t prev, next;
} sbxi_node;

typedef struct sbxi_list {
    uint32_t head, tail;
} sbxi_list;

/* An array of items whose nodes the lists chain. */
typedef struct sbxi_nodes {
    char *first; /* node of item 0 */
    size_t stride;
} sbxi_nodes;

SBXI_INLINE void sbxi_list_init(sbxi_list *l)
{
    l->head = l->tail = SBXI_NIL;
}

SBXI_FN void sbxi_list_append(sbxi_nodes n, sbxi_list *l, uint32_t i);
SBXI_FN void sbxi_list_remove(sbxi_nodes n, sbxi_list *l, uint32_t i);

#endif

/* ======== src/pool.c ======== */

SBXI_FN SBXI_ONCE void sbxi_pool_init(sbxi_pool *p, void *base, size_t size, uint32_t count)
{
    p->base = (char *)base;
    p->size = size;
    p->count = count;
    p->free_head = SBXI_NIL;
    p->used = p->high = 0;
    for (uint32_t i = count; i-- > 0;) {
        memcpy(p->base + (size_t)i * size, &p->free_head, sizeof p->free_head);
        p->free_head = i;
    }
}

SBXI_FN char *sbxi_pool_take(sbxi_pool *p)
{
    char *buf;

    if (p->free_head == SBXI_NIL)
        return NULL;
    buf = p->base + (size_t)p->free_head * p->size;
    memcpy(&p->free_head, buf, sizeof p->free_head);
    p->used++;
    if (p->used > p->high)
        p->high = p->used;
    return buf;
}

SBXI_FN void sbxi_pool_give(sbxi_pool *p, char *buf)
{
    memcpy(buf, &p->free_head, sizeof p->free_head);
    p->free_head = (uint32_t)((size_t)(buf - p->base) / p->size);
    p->used--;
}

static sbxi_node *sbxi_node_at(sbxi_nodes n, uint32_t i)
{
    return (sbxi_node *)(void *)(n.first + (size_t)i * n.stride);
}

SBXI_FN void sbxi_list_append(sbxi_nodes n, sbxi_list *l, uint32_t i)
{
    sbxi_node *node = sbxi_node_at(n, i);

    node->prev = l->tail;
    node->next = SBXI_NIL;
    if (l->tail == SBXI_NIL)
        l->head = i;
    else
        sbxi_node_at(n, l->tail)->next = i;
    l->tail = i;
}

SBXI_FN void sbxi_list_remove(sbxi_nodes n, sbxi_list *l, uint32_t i)
{
    sbxi_node *node = sbxi_node_at(n, i);

    if (node->prev == SBXI_NIL)
        l->head = node->next;
    else
        sbxi_node_at(n, node->prev)->next = node->next;
    if (node->next == SBXI_NIL)
        l->tail = node->prev;
    else
        sbxi_node_at(n, node->next)->prev = node->prev;
    node->prev = node->next = SBXI_NIL;
}

/* ======== src/timer.h ======== */
/* ---- timer: a heap of deadlines, one for each id (private) ---- */
#ifndef SBXI_TIMER_H
#define SBXI_TIMER_H

#define SBXI_NEVER INT64_MAX

typedef struct sbxi_timers {
    int64_t *at;   /* the heap's keys */
    uint32_t *id;  /* and whose they are */
    uint32_t *pos; /* place of an id in the heap, SBXI_NIL = not set */
    uint32_t count, high;
} sbxi_timers;

#define SBXI_TIMER_BYTES (sizeof(int64_t) + 2 * sizeof(uint32_t))
/* mem: SBXI_TIMER_BYTES for each id, aligned to 8. */
SBXI_FN void sbxi_timers_init(sbxi_timers *t, void *mem, uint32_t ids);
/* Sets, moves or (SBXI_NEVER) removes the deadline of an id. */
SBXI_FN void sbxi_timer_set(sbxi_timers *t, uint32_t id, int64_t at);

SBXI_FN SBXI_ONCE int64_t sbxi_timer_first(const sbxi_timers *t);

/* now + ms without overflow; a negative ms is never. */
SBXI_FN SBXI_ONCE int64_t sbxi_after(int64_t now, int64_t ms);

#endif

/* ======== src/timer.c ======== */

SBXI_FN SBXI_ONCE int64_t sbxi_after(int64_t now, int64_t ms)
{
    return ms < 0 || now > SBXI_NEVER - ms ? SBXI_NEVER : now + ms;
}

SBXI_FN void sbxi_timers_init(sbxi_timers *t, void *mem, uint32_t ids)
{
    t->at = (int64_t *)mem;
    t->id = (uint32_t *)(void *)(t->at + ids);
    t->pos = t->id + ids;
    t->count = t->high = 0;
    for (uint32_t i = 0; i < ids; i++)
        t->pos[i] = SBXI_NIL;
}

static void sbxi_timer_put(sbxi_timers *t, uint32_t place, int64_t at, uint32_t id)
{
    t->at[place] = at;
    t->id[place] = id;
    t->pos[id] = place;
}

static void sbxi_timer_up(sbxi_timers *t, uint32_t i, int64_t at, uint32_t id)
{
    while (i > 0 && t->at[(i - 1) / 2] > at) {
        sbxi_timer_put(t, i, t->at[(i - 1) / 2], t->id[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    sbxi_timer_put(t, i, at, id);
}

static void sbxi_timer_down(sbxi_timers *t, uint32_t i, int64_t at, uint32_t id)
{
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= t->count)
            break;
        if (child + 1 < t->count && t->at[child + 1] < t->at[child])
            child++;
        if (t->at[child] >= at)
            break;
        sbxi_timer_put(t, i, t->at[child], t->id[child]);
        i = child;
    }
    sbxi_timer_put(t, i, at, id);
}

SBXI_FN SBXI_ONCE int64_t sbxi_timer_first(const sbxi_timers *t)
{
    return t->count ? t->at[0] : SBXI_NEVER;
}

SBXI_FN void sbxi_timer_set(sbxi_timers *t, uint32_t id, int64_t at)
{
    uint32_t i = t->pos[id];

    if (i == SBXI_NIL) {
        if (at == SBXI_NEVER)
            return;
        i = t->count++;
        if (t->count > t->high)
            t->high = t->count;
    } else if (at == SBXI_NEVER) {
        /* The last one takes its place. */
        uint32_t last = t->id[--t->count];

        t->pos[id] = SBXI_NIL;
        if (last == id)
            return;
        at = t->at[t->count];
        id = last;
    }
    if (i > 0 && t->at[(i - 1) / 2] > at)
        sbxi_timer_up(t, i, at, id);
    else
        sbxi_timer_down(t, i, at, id);
}

/* ======== src/text.h ======== */
/* ---- text: UTF-8, base64, SHA-1, percent-encoding, UUID, RFC 3339 (private) ---- */
#ifndef SBXI_TEXT_H
#define SBXI_TEXT_H

/* Blocks of 16 bytes as plain loops where the compiler makes vectors of them
   (gcc does from version 12 at -O2), as 8-byte words elsewhere. */
#ifndef SBXI_TEXT_BLOCKS
#if !SBX_SMALL && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__OPTIMIZE__) && (defined(__SSE2__) || defined(__aarch64__))
#define SBXI_TEXT_BLOCKS 1
#else
#define SBXI_TEXT_BLOCKS 0
#endif
#endif

/* Little-endian words; the compiler makes one load of them. */
SBXI_INLINE uint32_t sbxi_load32(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

SBXI_INLINE uint64_t sbxi_load64(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40
        | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Eight bytes in the machine's order. */
SBXI_INLINE uint64_t sbxi_word(const char *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

/* Whether 64 bytes are ASCII. */
SBXI_INLINE bool sbxi_ascii64(const char *p)
{
    return ((sbxi_word(p) | sbxi_word(p + 8) | sbxi_word(p + 16) | sbxi_word(p + 24) | sbxi_word(p + 32) | sbxi_word(p + 40) | sbxi_word(p + 48)
             | sbxi_word(p + 56)) & UINT64_MAX / 255 * 0x80) == 0;
}

/* Index of the lowest byte that is not 0; v is not 0. */
SBXI_INLINE size_t sbxi_first_byte(uint64_t v)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(v) >> 3;
#else
    size_t n = 0;
    for (; !(v & 0xFF); v >>= 8)
        n++;
    return n;
#endif
}

#if !SBX_SMALL
/* How many of 8 bytes are plain in JSON: neither quote, backslash nor control,
   and ASCII. c ^ 2 puts the quote (22) right above the controls. A borrow goes
   upwards only, so the lowest mark is right. */
SBXI_INLINE size_t sbxi_plain8(const char *p)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t x = sbxi_load64(p), stop = (((x ^ ones * 2) - ones * 0x21) | ((x ^ ones * '\\') - ones) | x) & ones * 0x80;
    return stop ? sbxi_first_byte(stop) : 8;
}

/* Likewise of 16. As signed, what is not ASCII is below the controls. */
SBXI_INLINE size_t sbxi_plain16(const char *p)
{
#if SBXI_TEXT_BLOCKS
    const signed char *s = (const signed char *)p;
    unsigned char plain[16];
    uint64_t low, high;
    for (unsigned i = 0; i < 16; i++)
        plain[i] = s[i] == '\\' ? 0 : (signed char)(s[i] ^ 2) > 0x20 ? 0xFF : 0;
    low = ~sbxi_load64((const char *)plain);
    high = ~sbxi_load64((const char *)plain + 8);
    return low ? sbxi_first_byte(low) : high ? 8 + sbxi_first_byte(high) : 16;
#else
    size_t n = sbxi_plain8(p);
    return n < 8 ? n : 8 + sbxi_plain8(p + 8);
#endif
}
#endif

/* Length of the UTF-8 character above ASCII whose first four bytes are given
   (sbxi_load32), 0 if it is none. */
SBXI_INLINE size_t sbxi_utf8_length(uint32_t x)
{
    if ((x & 0xC0E0) == 0x80C0 && (x & 0x1E) != 0)
        return 2;
    if ((x & 0xC0C0F0) == 0x8080E0 && (x & 0x200F) != 0 && (x & 0x200F) != 0x200D)
        return 3;
    if ((x & 0xC0C0C0F8) == 0x808080F0 && (x & 0x3007) != 0 && ((x & 4) == 0 || (x & 0x3003) == 0))
        return 4;
    return 0;
}

/* Resumable UTF-8 check (RFC 3629). *state is 0 at the start and at every
   character border; false: invalid (overlong, surrogate, > U+10FFFF), found
   at the first byte that cannot be right. After false *state is undefined. */
SBXI_FN bool sbxi_utf8(uint32_t *state, const char *p, size_t n);
/* Longest prefix of p[0..n) that ends at a character border: a sequence cut
   by the end is left out, bytes that are no UTF-8 are left as they are. */
SBXI_FN size_t sbxi_utf8_cut(const char *p, size_t n);

/* RFC 4648 4 with padding. Writes and returns (n + 2) / 3 * 4 characters. */
SBXI_FN size_t sbxi_base64(char *out, const unsigned char *p, size_t n);
/* The way back, in place and in pieces cut anywhere: decodes p[0..n) and returns
   how many bytes stand at p then, never more than n. *state is 0 at the start,
   and 0 or SBXI_BASE64_PADDED where a text may end; SBXI_BASE64_BAD once
   something was no base64, or came behind its padding. */
enum { SBXI_BASE64_BAD = 1, SBXI_BASE64_PADDED = 9 };
SBXI_FN size_t sbxi_base64_decode(uint32_t *state, char *p, size_t n);
/* FIPS 180-4 6.1. For the WebSocket handshake only: SHA-1 is not secure. */
SBXI_FN void sbxi_sha1(unsigned char out[20], const void *p, size_t n);
/* One path segment or query value: all but RFC 3986 unreserved is encoded.
   Returns the length needed; writes at most cap bytes, never a part of a
   triplet. keep: further characters left as they are ("" or "/"). */
SBXI_FN size_t sbxi_percent(char *out, size_t cap, sbx_str s, const char *keep);
/* UUID version 7 (RFC 9562 5.7) from wall-clock ms and 10 random bytes. */
SBXI_FN void sbxi_uuid7(unsigned char out[16], uint64_t wall_ms, const unsigned char random[10]);
SBXI_FN void sbxi_uuid_text(char out[36], const unsigned char uuid[16]); /* lower case, not terminated */
/* Dashed or 32 hex digits, either case. out is written on success only. */
SBXI_FN bool sbxi_uuid_parse(unsigned char out[16], sbx_str text);
/* RFC 3339 5.6 date-time, any fraction, Z or offset, to Unix ms (years 0000 to
   9999; further digits of the fraction are cut). Lower-case t and z and a
   space for the T are taken. A leap second (:60, in any minute) is the next
   second, as POSIX counts. *ms is written on success only. */
SBXI_FN bool sbxi_rfc3339(sbx_str s, int64_t *ms);
/* An HTTP date (RFC 9110 5.6.7, IMF-fixdate; the day's name must be one, but
   is not compared with the date) to Unix ms. :60 as above. */
SBXI_FN bool sbxi_http_date(sbx_str s, int64_t *ms);
/* Decimal digits, not terminated; returns how many. */
SBXI_FN size_t sbxi_u64_text(char out[20], uint64_t v);

#endif

/* ======== src/text.c ======== */

/* ---- UTF-8 ---- */

/* The state holds what the next byte must be: how many continuation bytes
   are missing << 16 | lowest << 8 | highest value of the next one. Only the
   first continuation byte can have a narrower range than 80..BF. */
static bool sbxi_text_utf8(uint32_t *state, const char *p, size_t n)
{
    uint32_t s = *state;
    for (; n; n--) {
        unsigned c = (unsigned char)*p++, low = 0x80, high = 0xBF;
        if (s) {
            if (c < (s >> 8 & 0xFF) || c > (s & 0xFF))
                return false;
            s = (s >> 16) - 1;
        } else if (c >= 0x80) {
            if (c < 0xC2 || c > 0xF4)
                return false;
            s = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
            if (c == 0xE0)
                low = 0xA0;
            if (c == 0xED)
                high = 0x9F;
            if (c == 0xF0)
                low = 0x90;
            if (c == 0xF4)
                high = 0x8F;
        }
        if (s)
            s = s << 16 | low << 8 | high;
    }
    *state = s;
    return true;
}

#if SBX_SMALL

SBXI_FN bool sbxi_utf8(uint32_t *state, const char *p, size_t n)
{
    return sbxi_text_utf8(state, p, n);
}

#else

#if SBXI_TEXT_BLOCKS

#define SBXI_TEXT_16 for (int i = 0; i < 16; i++)

/* 16 bytes behind a character border, with three more before them: whether
   continuation bytes stand where they must and only there, and what else a
   byte forbids by itself or to the next. The last character may be cut. Each
   step is a loop of its own: so it becomes one operation on a vector. */
static inline bool sbxi_text_utf8_block(const char *text)
{
    const unsigned char *u = (const unsigned char *)text;
    const signed char *s = (const signed char *)text;
    unsigned char must[16], bad[16], t[16], m[16];
    /* above 0: a byte that starts two, three or four stands one, two or three before */
    SBXI_TEXT_16 must[i] = (unsigned char)((u[i - 1] > 0xBF ? u[i - 1] : 0xBF) - 0xBF);
    SBXI_TEXT_16 t[i] = (unsigned char)((u[i - 2] > 0xDF ? u[i - 2] : 0xDF) - 0xDF);
    SBXI_TEXT_16 m[i] = (unsigned char)((u[i - 3] > 0xEF ? u[i - 3] : 0xEF) - 0xEF);
    SBXI_TEXT_16 must[i] |= t[i] | m[i];
    SBXI_TEXT_16 m[i] = must[i] == 0 ? 0xFF : 0;
    SBXI_TEXT_16 t[i] = s[i] < -0x40 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] = m[i] == t[i] ? 0xFF : 0;
    /* C0, C1, F5..FF */
    SBXI_TEXT_16 m[i] = (u[i] & 0xFE) == 0xC0 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i];
    SBXI_TEXT_16 m[i] = u[i] > 0xF4 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i];
    /* E0 80..9F, ED A0..BF; F0 80..8F, F4 90..BF */
    SBXI_TEXT_16 t[i] = s[i] < -0x60 ? 0xFF : 0;
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xE0 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & t[i];
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xED ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & ~t[i];
    SBXI_TEXT_16 t[i] = s[i] < -0x70 ? 0xFF : 0;
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xF0 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & t[i];
    SBXI_TEXT_16 m[i] = u[i - 1] == 0xF4 ? 0xFF : 0;
    SBXI_TEXT_16 bad[i] |= m[i] & ~t[i];
    return (sbxi_word((const char *)bad) | sbxi_word((const char *)bad + 8)) == 0;
}

#undef SBXI_TEXT_16
#endif

/* About 128 bytes behind a border, which is behind the third byte at least:
   how many were good, to another border; 0: bad. */
static inline size_t sbxi_text_utf8_some(const char *p, size_t n)
{
    size_t i = 0;
#if SBXI_TEXT_BLOCKS
    for (; i < 128 && n - i >= 16; i += 16)
        if (!sbxi_text_utf8_block(p + i))
            return 0;
    return sbxi_utf8_cut(p, i);
#else
    while (i < 128 && n - i >= 4) {
        uint32_t x = sbxi_load32(p + i);
        size_t length = x & 0x80 ? sbxi_utf8_length(x) : 1;
        if (!length)
            return 0;
        i += length;
    }
    return i;
#endif
}

SBXI_FN bool sbxi_utf8(uint32_t *state, const char *p, size_t n)
{
    size_t i = 0;
    do {
        /* byte by byte to such a border */
        while (i < n && (*state || i < 3))
            if (!sbxi_text_utf8(state, p + i++, 1))
                return false;
        while (n - i >= 64 && sbxi_ascii64(p + i))
            i += 64;
        if (n - i >= 16) {
            size_t good = sbxi_text_utf8_some(p + i, n - i);
            if (!good)
                return false;
            i += good;
        }
    } while (n - i >= 16);
    return sbxi_text_utf8(state, p + i, n - i);
}

#endif

SBXI_FN size_t sbxi_utf8_cut(const char *p, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned c = (unsigned char)p[n - back];
        if (c >= 0xC0)
            return (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) > back ? n - back : n;
        if (c < 0x80)
            break;
    }
    return n;
}

/* ---- base64, SHA-1 ---- */

static char sbxi_text_base64_digit(unsigned v)
{
    return (char)(v < 26 ? 'A' + v : v < 52 ? 'a' + (v - 26) : v < 62 ? '0' + (v - 52) : v == 62 ? '+' : '/');
}

SBXI_FN size_t sbxi_base64(char *out, const unsigned char *p, size_t n)
{
    char *o = out;
    while (n) {
        unsigned have = n < 3 ? (unsigned)n : 3;
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)(have > 1 ? p[1] : 0) << 8 | (have > 2 ? p[2] : 0);
        for (unsigned i = 0; i < 4; i++)
            *o++ = i > have ? '=' : sbxi_text_base64_digit(v >> (18 - 6 * i) & 63);
        p += have;
        n -= have;
    }
    return (size_t)(o - out);
}

#if SBX_SMALL
static unsigned sbxi_base64_value(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A') : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 26 : c >= '0' && c <= '9' ? (unsigned)(c - '0') + 52 :
           c == '+' ? 62 : c == '/' ? 63 : 64;
}
#else
static const uint8_t sbxi_base64_values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64
};

static unsigned sbxi_base64_value(char c)
{
    return sbxi_base64_values[(unsigned char)c];
}
#endif

/* state: below, how many bits are left of the characters so far (0, 6, 4, 2; 8:
   one more = has to come); from bit 8 on, those bits. */
SBXI_FN size_t sbxi_base64_decode(uint32_t *state, char *p, size_t n)
{
    uint32_t left = *state & 0xFF, bits = *state >> 8;
    const char *end = p + n;
    char *to = p, *at = p;

    while (at != end && left != SBXI_BASE64_BAD) {
        unsigned v;

#if !SBX_SMALL
        for (; left == 0 && end - at >= 4; at += 4, to += 3) {
            unsigned a = sbxi_base64_value(at[0]), b = sbxi_base64_value(at[1]), c = sbxi_base64_value(at[2]), d = sbxi_base64_value(at[3]);

            if ((a | b | c | d) & 64)
                break;
            to[0] = (char)(a << 2 | b >> 4);
            to[1] = (char)(b << 4 | c >> 2);
            to[2] = (char)(c << 6 | d);
        }
        if (at == end)
            break;
#endif
        v = sbxi_base64_value(*at++);
        if (v < 64 && left < 8) {
            bits = bits << 6 | v;
            left += 6;
            if (left >= 8) {
                left -= 8;
                *to++ = (char)(bits >> left);
                bits &= (1u << left) - 1;
            }
        } else {
            left = at[-1] != '=' ? SBXI_BASE64_BAD : left == 4 ? 8 : left == 2 || left == 8 ? SBXI_BASE64_PADDED : SBXI_BASE64_BAD;
            bits = 0;
        }
    }
    *state = bits << 8 | left;
    return (size_t)(to - p);
}

static uint32_t sbxi_text_rol(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

/* One block: the window of the last 16 words slides by one a round. */
static SBXI_ONCE void sbxi_text_sha1_block(uint32_t h[5], uint32_t w[16])
{
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (unsigned i = 0; i < 80; i++) {
        uint32_t next = sbxi_text_rol(w[13] ^ w[8] ^ w[2] ^ w[0], 1), f = b ^ c ^ d, k = 0xCA62C1D6;
        if (i < 20) {
            f = d ^ (b & (c ^ d));
            k = 0x5A827999;
        } else if (i < 40) {
            k = 0x6ED9EBA1;
        } else if (i < 60) {
            f = (b & c) | (d & (b | c));
            k = 0x8F1BBCDC;
        }
        f += sbxi_text_rol(a, 5) + e + k + w[0];
        e = d;
        d = c;
        c = sbxi_text_rol(b, 30);
        b = a;
        a = f;
        memmove(w, w + 1, 15 * sizeof *w);
        w[15] = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

SBXI_FN void sbxi_sha1(unsigned char out[20], const void *p, size_t n)
{
    static const uint32_t start[5] = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 };
    const unsigned char *s = (const unsigned char *)p;
    uint32_t h[5], w[16];
    size_t at = 0;
    memcpy(h, start, sizeof h);
    memset(w, 0, sizeof w);
    /* Blocks of 64 bytes: the text, 0x80, zeros, and its length in bits at the end. */
    do {
        for (unsigned i = 0; i < 64; i++, at++)
            w[i / 4] = w[i / 4] << 8 | (at < n ? s[at] : at == n ? 0x80u : 0u);
        if (at - n > 8 && at > n) {
            w[14] = (uint32_t)((uint64_t)n >> 29);
            w[15] = (uint32_t)n << 3;
        }
        sbxi_text_sha1_block(h, w);
    } while (at <= n || at - n <= 8);
    for (unsigned i = 0; i < 20; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* ---- percent-encoding, UUID, numbers ---- */

static int sbxi_text_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = sbxi_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool sbxi_text_unreserved(char c)
{
    char l = sbxi_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

SBXI_FN size_t sbxi_percent(char *out, size_t cap, sbx_str s, const char *keep)
{
    size_t need = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (sbxi_text_unreserved(c) || (c && strchr(keep, c))) {
            if (need < cap)
                out[need] = c;
            need = sbxi_add(need, 1);
        } else {
            if (need <= cap && cap - need >= 3) {
                out[need] = '%';
                out[need + 1] = "0123456789ABCDEF"[(unsigned char)c >> 4];
                out[need + 2] = "0123456789ABCDEF"[c & 15];
            } else {
                cap = SBXI_MIN(cap, need); /* nothing behind a triplet that did not fit */
            }
            need = sbxi_add(need, 3);
        }
    }
    return need;
}

SBXI_FN void sbxi_uuid7(unsigned char out[16], uint64_t wall_ms, const unsigned char random[10])
{
    for (unsigned i = 0; i < 6; i++)
        out[i] = (unsigned char)(wall_ms >> (40 - 8 * i));
    memcpy(out + 6, random, 10);
    out[6] = (unsigned char)((out[6] & 0x0F) | 0x70);
    out[8] = (unsigned char)((out[8] & 0x3F) | 0x80);
}

SBXI_FN void sbxi_uuid_text(char out[36], const unsigned char uuid[16])
{
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = "0123456789abcdef"[uuid[i] >> 4];
        *out++ = "0123456789abcdef"[uuid[i] & 15];
    }
}

SBXI_FN bool sbxi_uuid_parse(unsigned char out[16], sbx_str text)
{
    unsigned char uuid[16];
    size_t at = 0;
    if (text.n != 36 && text.n != 32)
        return false;
    for (unsigned i = 0; i < 16; i++) {
        if (text.n == 36 && (i == 4 || i == 6 || i == 8 || i == 10) && text.p[at++] != '-')
            return false;
        int hi = sbxi_text_hex(text.p[at]), lo = sbxi_text_hex(text.p[at + 1]);
        if (hi < 0 || lo < 0)
            return false;
        uuid[i] = (unsigned char)(hi << 4 | lo);
        at += 2;
    }
    memcpy(out, uuid, 16);
    return true;
}

SBXI_FN size_t sbxi_u64_text(char out[20], uint64_t v)
{
    char digits[20];
    size_t n = 0, at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    n = sizeof digits - at;
    memcpy(out, digits + at, n);
    return n;
}

/* ---- dates ---- */

#if SBX_NO_DATES
SBXI_FN bool sbxi_rfc3339(sbx_str s, int64_t *ms)
{
    (void)s;
    (void)ms;
    return false;
}

SBXI_FN bool sbxi_http_date(sbx_str s, int64_t *ms)
{
    (void)s;
    (void)ms;
    return false;
}
#else
/* Days from 1970-01-01 (proleptic Gregorian), -1 << 30 for a day that the
   month does not have. Years begin in March here, so that the leap day is
   the last and a month's start is a linear formula. */
static int32_t sbxi_text_days(unsigned year, unsigned month, unsigned day)
{
    static const unsigned char sbxi_text_month[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month < 1 || month > 12 || day < 1 || day > sbxi_text_month[month - 1] + (unsigned)(leap && month == 2))
        return -(1 << 30);
    uint32_t y = year + 400 - (month <= 2), m = (month + 9) % 12; /* + 400: January of year 0 stays positive */
    return (int32_t)(y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1) - (719468 + 146097);
}

/* A pattern: 0 = a digit of the next number, anything else is itself (letters
   in either case). False unless s begins with it. */
static bool sbxi_text_fields(sbx_str s, const char *pattern, unsigned *number)
{
    size_t i = 0;
    for (; pattern[i]; i++) {
        if (i >= s.n)
            return false;
        if (pattern[i] != '0') {
            if (sbxi_lower(s.p[i]) != pattern[i])
                return false;
            if (i && pattern[i - 1] == '0')
                number++;
        } else {
            if (s.p[i] < '0' || s.p[i] > '9')
                return false;
            *number = (i && pattern[i - 1] == '0' ? *number * 10 : 0) + (unsigned)(s.p[i] - '0');
        }
    }
    return true;
}

static bool sbxi_text_unix(const unsigned date[3], const unsigned time[3], int64_t *seconds)
{
    int32_t days = sbxi_text_days(date[0], date[1], date[2]);
    *seconds = (int64_t)days * 86400 + (int64_t)time[0] * 3600 + (int64_t)time[1] * 60 + time[2];
    return days != -(1 << 30) && time[0] < 24 && time[1] < 60 && time[2] <= 60;
}

#if !SBX_SMALL
/* Eight characters at once against a shape whose zeros are digits; out gets
   the digits' values, 0 elsewhere. */
static bool sbxi_text_eight(unsigned char out[8], const char *p, const char *shape, const char *sixes)
{
    uint64_t x, want, six;

    memcpy(&x, p, 8);
    memcpy(&want, shape, 8);
    memcpy(&six, sixes, 8);
    x ^= want;
    memcpy(out, &x, 8);
    /* A digit's value plus 6 stays below 16; a separator must match whole,
       which adding 15 to it shows. */
    return (((x + six) | x) & UINT64_C(0xF0F0F0F0F0F0F0F0)) == 0;
}

/* "0000-00-00T00:00:00", the form that servers write. */
static bool sbxi_text_stamp(const char *p, unsigned f[6])
{
    static const char date[] = "\6\6\6\6\17\6\6\17", mid[] = "\6\6\17\6\6\17\6\6", time[] = "\6\6\17\6\6\17\6\6";
    unsigned char a[8], b[8], c[8];

    if (!sbxi_text_eight(a, p, "0000-00-", date) || !sbxi_text_eight(b, p + 8, "00T00:00", mid) || !sbxi_text_eight(c, p + 11, "00:00:00", time))
        return false;
    f[0] = a[0] * 1000u + a[1] * 100u + a[2] * 10u + a[3];
    f[1] = a[5] * 10u + a[6];
    f[2] = b[0] * 10u + b[1];
    f[3] = c[0] * 10u + c[1];
    f[4] = c[3] * 10u + c[4];
    f[5] = c[6] * 10u + c[7];
    return true;
}
#else
static bool sbxi_text_stamp(const char *p, unsigned f[6])
{
    (void)p;
    (void)f;
    return false;
}
#endif

static bool sbxi_text_stamp_slow(sbx_str s, unsigned f[6])
{
    return sbxi_text_fields(s, "0000-00-00", f) && (sbxi_lower(s.p[10]) == 't' || s.p[10] == ' ') &&
           sbxi_text_fields(sbx_sn(s.p + 11, s.n - 11), "00:00:00", f + 3);
}

SBXI_FN bool sbxi_rfc3339(sbx_str s, int64_t *ms)
{
    unsigned f[6] = { 0, 0, 0, 0, 0, 0 }, offset[2] = { 0, 0 }, milli = 0, weight = 100;
    int64_t seconds;
    if (s.n < 20 || (!sbxi_text_stamp(s.p, f) && !sbxi_text_stamp_slow(s, f)) || !sbxi_text_unix(f, f + 3, &seconds))
        return false;
    size_t i = 19;
    if (s.p[i] == '.') {
        for (i++; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
            milli += weight * (unsigned)(s.p[i] - '0');
            weight /= 10;
        }
        if (i == 20)
            return false;
    }
    if (s.n - i == 1) {
        if (sbxi_lower(s.p[i]) != 'z')
            return false;
    } else {
        if (s.n - i != 6 || (s.p[i] != '+' && s.p[i] != '-') || !sbxi_text_fields(sbx_sn(s.p + i + 1, 5), "00:00", offset)
            || offset[0] > 23 || offset[1] > 59)
            return false;
        int32_t east = (int32_t)(offset[0] * 3600 + offset[1] * 60);
        seconds -= s.p[i] == '+' ? east : -east;
    }
    *ms = seconds * 1000 + milli;
    return true;
}

/* Position of the three letters in a list of such, or `none`. */
static unsigned sbxi_text_name(const char *p, const char *list, unsigned none)
{
    for (unsigned i = 0; i < none; i++)
        if (memcmp(list + 3 * i, p, 3) == 0)
            return i;
    return none;
}

SBXI_FN bool sbxi_http_date(sbx_str s, int64_t *ms)
{
    /* Sun, 06 Nov 1994 08:49:37 GMT */
    unsigned day[1] = { 0 }, f[4] = { 0, 0, 0, 0 }, date[3];
    int64_t seconds;
    if (s.n != 29 || sbxi_text_name(s.p, "MonTueWedThuFriSatSun", 7) == 7 || !sbxi_text_fields(sbx_sn(s.p + 3, 5), ", 00 ", day)
        || !sbxi_text_fields(sbx_sn(s.p + 11, 14), " 0000 00:00:00", f) || memcmp(s.p + 25, " GMT", 4) != 0)
        return false;
    date[0] = f[0];
    date[1] = sbxi_text_name(s.p + 8, "JanFebMarAprMayJunJulAugSepOctNovDec", 12) + 1;
    date[2] = day[0];
    if (!sbxi_text_unix(date, f + 1, &seconds))
        return false;
    *ms = seconds * 1000;
    return true;
}
#endif

/* ======== src/json_reader.h ======== */
/* ---- json: the state of the reader, and the steps that its general and its fast ways share (private) ---- */
#ifndef SBXI_JSON_READER_H
#define SBXI_JSON_READER_H

/* What the reader expects. In the middle of a text the state is its kind's. */
enum {
    SBXI_JSON_NAME,      /* behind a comma in an object */
    SBXI_JSON_MEMBER,    /* a value behind a colon */
    SBXI_JSON_ELEMENT,   /* a value behind a comma in an array */
    SBXI_JSON_FIRST,     /* the first value of an array, or its end */
    SBXI_JSON_TOP,       /* the document's value */
    SBXI_JSON_FIRST_NAME,
    SBXI_JSON_COLON,
    SBXI_JSON_AFTER,     /* a value: comma or end */
    SBXI_JSON_IN_NAME,
    SBXI_JSON_IN_STRING,
    SBXI_JSON_IN_NUMBER,
    SBXI_JSON_IN_WORD,
    SBXI_JSON_OVER,
    SBXI_JSON_FAILED,
    SBXI_JSON_REPORTED,    /* `offset` says where */
    SBXI_JSON_FRESH = 0x80 /* flag: the next input is not yet in `offset` */
};

/* sbx_json.sub inside a string: how far the character in hand is. */
enum {
    SBXI_JSON_PLAIN, /* between characters */
    SBXI_JSON_UTF8,  /* cp: state of sbxi_utf8 */
    SBXI_JSON_HIGH,  /* cp >> 16: a high surrogate, whose low one may follow */
    SBXI_JSON_ESC,   /* behind a backslash; cp >> 16 as above, or 0 */
    SBXI_JSON_HEX    /* + digits seen; cp & FFFF: their value */
};

/* Steps that are quick where they stand, and small where they are shared. */
#if SBX_SMALL
#define SBXI_JSON_STEP static SBXI_UNUSED SBXI_NOINLINE
#else
#define SBXI_JSON_STEP SBXI_INLINE
#endif

static SBXI_UNUSED sbx_json_kind sbxi_json_fail(sbx_json *j, sbx_json_error error)
{
    j->error = (uint8_t)error;
    j->state = SBXI_JSON_FAILED;
    return SBX_JSON_ERROR;
}

/* The last four fields of a token are copied as one from j->tail, which holds
   those of a key; its last byte counts the depth. */
typedef char sbxi_json_tail_is_4_bytes[offsetof(sbx_json_tok, depth) - offsetof(sbx_json_tok, kind) == 3 ? 1 : -1];

static SBXI_UNUSED void sbxi_json_set(const sbx_json *j, sbx_json_tok *tok, char *p, size_t n)
{
    tok->p = p;
    tok->n = n;
    memcpy((char *)tok + offsetof(sbx_json_tok, kind), j->tail, 4);
}

static SBXI_UNUSED unsigned sbxi_json_depth(const sbx_json *j)
{
    return (unsigned char)j->tail[3];
}

/* The state behind a value that ends at p; takes a comma that follows. */
SBXI_JSON_STEP char *sbxi_json_after(sbx_json *j, char *p, const char *end)
{
    j->state = sbxi_json_depth(j) ? SBXI_JSON_AFTER : SBXI_JSON_OVER;
#if SBX_SMALL
    (void)end;
#else
    if (p != end && *p == ',' && sbxi_json_depth(j)) {
        j->state = j->stack & 1 ? SBXI_JSON_NAME : SBXI_JSON_ELEMENT;
        p++;
    }
#endif
    return p;
}

/* One container more or less: where it is quick, the tail changes as one word,
   as it is read. */
SBXI_INLINE void sbxi_json_nest(sbx_json *j, bool deeper)
{
#if SBX_SMALL
    j->tail[3] = (char)(j->tail[3] + (deeper ? 1 : -1));
#else
    static const char sbxi_json_deeper[4] = { 0, 0, 0, 1 };
    uint32_t tail, one;
    memcpy(&tail, j->tail, 4);
    memcpy(&one, sbxi_json_deeper, 4);
    tail = deeper ? tail + one : tail - one;
    memcpy(j->tail, &tail, 4);
#endif
}

SBXI_JSON_STEP sbx_json_kind sbxi_json_open(sbx_json *j, bool object)
{
    if (sbxi_json_depth(j) == j->max_depth)
        return sbxi_json_fail(j, SBX_JSON_ERR_DEPTH);
    sbxi_json_nest(j, true);
    j->stack = j->stack << 1 | object;
    j->state = object ? SBXI_JSON_FIRST_NAME : SBXI_JSON_FIRST;
    return object ? SBX_JSON_OBJECT : SBX_JSON_ARRAY;
}

SBXI_JSON_STEP sbx_json_kind sbxi_json_close(sbx_json *j, char **p, const char *end)
{
    bool object = j->stack & 1;
    sbxi_json_nest(j, false);
    j->stack >>= 1;
    *p = sbxi_json_after(j, *p + 1, end);
    return object ? SBX_JSON_OBJECT_END : SBX_JSON_ARRAY_END;
}

static SBXI_UNUSED size_t sbxi_json_encode(char *to, uint32_t cp)
{
    size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--) {
        to[i] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    to[0] = (char)(n == 1 ? cp : cp | (0xF00u >> n & 0xF0));
    return n;
}

/* The text ends at p, where its quote is; takes a colon or comma behind it. */
SBXI_INLINE char *sbxi_json_text_end(sbx_json *j, char *p, const char *end)
{
    p++;
    if (j->state != SBXI_JSON_IN_NAME)
        return sbxi_json_after(j, p, end);
    j->state = SBXI_JSON_COLON;
#if !SBX_SMALL
    if (p != end && *p == ':') {
        j->state = SBXI_JSON_MEMBER;
        p++;
    }
#else
    (void)end;
#endif
    return p;
}

/* Every token, wherever the input is cut. */
SBXI_FN sbx_json_kind sbxi_json_any(sbx_json *j, char **p, char *end, sbx_json_tok *tok);
/* Goes on with a piece of a string that is decoded in place: tok->p and tok->n
   hold what there is, and from *p it goes byte by byte. A character that began
   in an earlier input has no room here and is a piece of its own in `held`. */
SBXI_FN sbx_json_kind sbxi_json_text(sbx_json *j, char **p, char *end, sbx_json_tok *tok);
#if !SBX_SMALL
/* The same for a string that is plain from tok->p to r. */
SBXI_FN sbx_json_kind sbxi_json_long(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r);
#endif

#endif

/* ======== src/json_member.h ======== */
/* ---- json: members of an object whose names are expected (private) ---- */
#ifndef SBXI_JSON_MEMBER_H
#define SBXI_JSON_MEMBER_H

/* Whether two texts of n bytes are equal. Two loads that overlap cover 4 to 16
   bytes: names are short, and a call to memcmp would cost more. */
SBXI_INLINE bool sbxi_json_same(const char *a, const char *b, size_t n)
{
#if !SBX_SMALL
    uint64_t x, y, u, v;
    uint32_t p, q, r, s;

    if (n >= 8 && n <= 16) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        memcpy(&u, a + n - 8, 8);
        memcpy(&v, b + n - 8, 8);
        return ((x ^ y) | (u ^ v)) == 0;
    }
    if (n >= 4 && n < 8) {
        memcpy(&p, a, 4);
        memcpy(&q, b, 4);
        memcpy(&r, a + n - 4, 4);
        memcpy(&s, b + n - 4, 4);
        return ((p ^ q) | (r ^ s)) == 0;
    }
    if (n > 16) {
        const char *last_a = a + n - 8, *last_b = b + n - 8;

        for (; a < last_a; a += 8, b += 8) {
            memcpy(&x, a, 8);
            memcpy(&y, b, 8);
            if (x != y)
                return false;
        }
        memcpy(&u, last_a, 8);
        memcpy(&v, last_b, 8);
        return u == v;
    }
#endif
    while (n--)
        if (*a++ != *b++)
            return false;
    return true;
}

#if !SBX_SMALL
/* Whether the next thing is a member of the object `depth` containers deep. It
   stays so for as long as sbxi_json_member takes members. */
SBXI_FN bool sbxi_json_at_member(const sbx_json *j, unsigned depth);
/* If the next member has this name and a value that is short, simple, whole in
   the input and followed by another member, takes both and returns the value's
   kind (NULL for {}, too); else MORE with nothing taken: sbx_json_next goes on. */
SBXI_FN sbx_json_kind sbxi_json_member(char **p, char *end, const char *name, size_t name_n, sbx_json_tok *tok);

/* Whether n bytes are there: one comparison, where a difference takes two steps. */
SBXI_INLINE bool sbxi_json_room(const char *r, const char *end, size_t n)
{
    return (uintptr_t)r + n <= (uintptr_t)end;
}

/* The steps below take what is written exactly as given, or nothing (false):
   sbx_json_next goes on in either case. With a constant text they are a few
   instructions. The first opens the document's object; the others take what
   follows there, where the next thing is a member. */
SBXI_INLINE bool sbxi_json_enter(sbx_json *j, char **p, const char *end)
{
    char *r = *p;

    if (j->state != (SBXI_JSON_TOP | SBXI_JSON_FRESH) || !sbxi_json_room(r, end, 2) || r[0] != '{' || r[1] != '"')
        return false;
    j->offset += (uint32_t)(end - r);
    j->stack = 1;
    j->state = SBXI_JSON_NAME;
    sbxi_json_nest(j, true);
    *p = r + 1;
    return true;
}

/* Whole members, each with the comma behind it. */
SBXI_INLINE bool sbxi_json_skip(char **p, const char *end, const char *text, size_t n)
{
    if (!sbxi_json_room(*p, end, n + 1) || !sbxi_json_same(*p, text, n))
        return false;
    *p += n;
    return true;
}

/* A name in quotes and its colon. */
SBXI_INLINE bool sbxi_json_key(sbx_json *j, char **p, const char *end, const char *text, size_t n)
{
    if (!sbxi_json_skip(p, end, text, n))
        return false;
    j->state = SBXI_JSON_MEMBER;
    return true;
}

/* A string value, in one or more pieces: its first token, or MORE with nothing
   taken where the value is none. */
SBXI_INLINE sbx_json_kind sbxi_json_string(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;

    if (!sbxi_json_room(r, end, 1) || *r != '"')
        return SBX_JSON_MORE;
    sbxi_json_set(j, tok, r + 1, 0);
    tok->kind = SBX_JSON_STRING;
    j->state = SBXI_JSON_IN_STRING;
    j->sub = SBXI_JSON_PLAIN;
    return sbxi_json_long(j, p, end, tok, r + 1);
}

/* Eight bytes of which the last n are digits: their value, or UINT64_MAX. */
SBXI_INLINE uint64_t sbxi_json_digits8(const char *p, unsigned n)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t v = (sbxi_load64(p) ^ ones * '0') >> (64 - 8 * n) << (64 - 8 * n);

    if (((v + ones * 0x76) | v) & ones * 0x80)
        return UINT64_MAX;
    v = (v * 10 + (v >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
    v = (v * 100 + (v >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
    return (v * 10000 + (v >> 32)) & UINT32_MAX;
}

/* The last member, an integer of at most 16 digits, and the document's end where
   the input ends. The text has 8 bytes or more. */
SBXI_INLINE bool sbxi_json_last(sbx_json *j, char **p, char *end, const char *text, size_t n, uint64_t *number)
{
    char *r = *p;
    size_t digits = (size_t)(end - r) - n - 1;
    uint64_t v, high = 0;

    if (j->state != SBXI_JSON_NAME || sbxi_json_depth(j) != 1 || !sbxi_json_room(r, end, n + 2) || digits > 16 || end[-1] != '}' || !sbxi_json_same(r, text, n))
        return false;
    v = sbxi_json_digits8(end - 9, (unsigned)SBXI_MIN(digits, 8));
    if (digits > 8)
        high = sbxi_json_digits8(end - 17, (unsigned)digits - 8);
    if (v == UINT64_MAX || high == UINT64_MAX || (r[n] == '0' && digits > 1))
        return false;
    *number = high * 100000000 + v;
    j->stack = 0;
    j->state = SBXI_JSON_OVER | SBXI_JSON_FRESH;
    sbxi_json_nest(j, false);
    *p = end;
    return true;
}
#endif

#endif

/* ======== src/json.c ======== */

SBX_API void sbx_json_init(sbx_json *j, unsigned max_depth)
{
    memset(j, 0, sizeof *j);
    j->max_depth = (uint8_t)(max_depth - 1u < SBX_JSON_MAX_DEPTH ? max_depth : SBX_JSON_MAX_DEPTH);
    j->state = SBX_SMALL ? SBXI_JSON_TOP : SBXI_JSON_TOP | SBXI_JSON_FRESH;
    j->tail[0] = SBX_JSON_KEY;
}

/* ---- characters: one at a time, from any number of inputs ---- */

SBXI_JSON_STEP void sbxi_json_put(sbx_json *j, uint32_t cp)
{
    j->held_n = (uint8_t)(j->held_n + sbxi_json_encode(j->held + j->held_n, cp));
}

enum { SBXI_JSON_PART, SBXI_JSON_WHOLE, SBXI_JSON_WHOLE_BEFORE, SBXI_JSON_BAD };

/* An escape is complete: what it stands for, a UTF-16 code unit. */
static int sbxi_json_unit(sbx_json *j, uint32_t unit)
{
    uint32_t high = j->cp >> 16;
    j->sub = SBXI_JSON_PLAIN;
    if (high && unit - 0xDC00 < 0x400)
        unit += (high << 10) - (0xD800u << 10) - 0xDC00 + 0x10000;
    else if (high)
        sbxi_json_put(j, 0xFFFD);
    if (unit - 0xD800 < 0x400) {
        j->cp = unit << 16;
        j->sub = SBXI_JSON_HIGH;
        return high ? SBXI_JSON_WHOLE : SBXI_JSON_PART;
    }
    sbxi_json_put(j, unit - 0xD800 < 0x800 ? 0xFFFD : unit);
    return SBXI_JSON_WHOLE;
}

/* Takes the next byte of a character that is not plain ASCII. PART: more of
   it must come; WHOLE: it is in `held`; WHOLE_BEFORE: likewise, without this
   byte; otherwise an error + BAD. `held` can be a U+FFFD for a lone high
   surrogate and the character behind it. */
SBXI_JSON_STEP int sbxi_json_char(sbx_json *j, unsigned c)
{
    static const char sbxi_json_names[] = "\"\\/bfnrt", sbxi_json_named[] = "\"\\/\b\f\n\r\t";
    char byte = (char)c;
    const char *name;
    unsigned digit;
    switch (j->sub) {
    case SBXI_JSON_PLAIN:
        j->cp = 0;
        /* fall through */
    case SBXI_JSON_HIGH:
        j->held_n = 0;
        if (c == '\\') {
            j->sub = SBXI_JSON_ESC;
            return SBXI_JSON_PART;
        }
        if (j->cp) {
            j->sub = SBXI_JSON_PLAIN;
            sbxi_json_put(j, 0xFFFD);
            return SBXI_JSON_WHOLE_BEFORE;
        }
        if (c < 0x20)
            return SBXI_JSON_BAD + (int)SBX_JSON_ERR_CONTROL;
        j->sub = SBXI_JSON_UTF8;
        /* fall through */
    case SBXI_JSON_UTF8:
        if (!sbxi_utf8(&j->cp, &byte, 1))
            return SBXI_JSON_BAD + (int)SBX_JSON_ERR_UTF8;
        j->held[j->held_n++] = byte;
        if (j->cp)
            return SBXI_JSON_PART;
        j->sub = SBXI_JSON_PLAIN;
        return SBXI_JSON_WHOLE;
    case SBXI_JSON_ESC:
        if (c == 'u') {
            j->sub = SBXI_JSON_HEX;
            return SBXI_JSON_PART;
        }
        name = (const char *)memchr(sbxi_json_names, (int)c, sizeof sbxi_json_names - 1);
        return name ? sbxi_json_unit(j, (unsigned char)sbxi_json_named[name - sbxi_json_names]) : SBXI_JSON_BAD + (int)SBX_JSON_ERR_ESCAPE;
    default:
        digit = c - '0';
        if (digit > 9) {
            digit = (c | 32) - 'a' + 10;
            if (digit - 10 > 5)
                return SBXI_JSON_BAD + (int)SBX_JSON_ERR_ESCAPE;
        }
        j->cp = (j->cp & 0xFFFF0000) | (j->cp << 4 & 0xFFF0) | digit;
        return ++j->sub < SBXI_JSON_HEX + 4 ? SBXI_JSON_PART : sbxi_json_unit(j, j->cp & 0xFFFF);
    }
}

/* ---- strings ---- */

/* What a piece of text ends with: itself, or what kept it from being one. */
static sbx_json_kind sbxi_json_piece(const sbx_json *j, const sbx_json_tok *tok)
{
    return tok->n || !tok->more ? (sbx_json_kind)tok->kind : j->error ? SBX_JSON_ERROR : SBX_JSON_MORE;
}

SBXI_FN SBXI_NOINLINE sbx_json_kind sbxi_json_text(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p, *w = tok->p + tok->n;
    bool here = j->sub == SBXI_JSON_PLAIN;
    tok->more = true;
    while (r != end) {
        unsigned c = (unsigned char)*r;
        int step;
        if (j->sub == SBXI_JSON_PLAIN) {
            if (c == '"') {
                tok->more = false;
                r = sbxi_json_text_end(j, r, end);
                break;
            }
            if (c >= 0x20 && c != '\\' && c < 0x80) {
                *w++ = (char)c;
                r++;
                continue;
            }
        }
        step = sbxi_json_char(j, c);
        if (step >= SBXI_JSON_BAD) { /* what is good goes out first */
            sbxi_json_fail(j, (sbx_json_error)(step - SBXI_JSON_BAD));
            break;
        }
        r += step != SBXI_JSON_WHOLE_BEFORE;
        if (step == SBXI_JSON_PART)
            continue;
        if (j->held_n >= 3 && memcmp(j->held, "\xEF\xBF\xBD", 3) == 0)
            tok->replaced = true;
        if (!here) {
            tok->p = j->held;
            w = j->held + j->held_n;
            break;
        }
        memcpy(w, j->held, j->held_n);
        w += j->held_n;
    }
    *p = r;
    tok->n = (size_t)(w - tok->p);
#if !SBX_SMALL
    if (r == end)
        j->state |= SBXI_JSON_FRESH;
    else if (!tok->n && j->error)
        return sbxi_json_any(j, p, end, tok);
#endif
    return sbxi_json_piece(j, tok);
}

/* ---- numbers and words ---- */

/* sbx_json.sub inside a number: how far it is, and where it may end. */
enum {
    SBXI_JSON_MINUS = 1,
    SBXI_JSON_ZERO,
    SBXI_JSON_INTEGER,
    SBXI_JSON_POINT,
    SBXI_JSON_FRACTION,
    SBXI_JSON_E,
    SBXI_JSON_SIGN,
    SBXI_JSON_EXPONENT,
    SBXI_JSON_WHOLE_NUMBER = 1 << SBXI_JSON_ZERO | 1 << SBXI_JSON_INTEGER | 1 << SBXI_JSON_FRACTION | 1 << SBXI_JSON_EXPONENT
};

/* How far it is with c, too; 0: c is not part of it. */
static unsigned sbxi_json_number_next(unsigned sub, unsigned c)
{
    static const char sbxi_json_digit[] = "\3\3\0\3\5\5\10\10\10";
    if (c - '0' < 10)
        return c == '0' && sub <= SBXI_JSON_MINUS ? 0u + SBXI_JSON_ZERO : (unsigned)sbxi_json_digit[sub];
    if (c == '.')
        return sub == SBXI_JSON_ZERO || sub == SBXI_JSON_INTEGER ? SBXI_JSON_POINT : 0;
    if ((c | 32) == 'e')
        return sub != SBXI_JSON_EXPONENT && (SBXI_JSON_WHOLE_NUMBER >> sub & 1) ? SBXI_JSON_E : 0;
    if (c == '-' || c == '+')
        return sub == SBXI_JSON_E ? SBXI_JSON_SIGN : sub == 0 ? SBXI_JSON_MINUS : 0;
    return 0;
}

SBXI_JSON_STEP sbx_json_kind sbxi_json_number(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;
    tok->kind = SBX_JSON_NUMBER;
    tok->more = true;
    for (; r != end; r++) {
        unsigned c = (unsigned char)*r, next = sbxi_json_number_next(j->sub, c);
        if (!next) {
            if (!(SBXI_JSON_WHOLE_NUMBER >> j->sub & 1) || c - '0' < 10) {
                sbxi_json_fail(j, SBX_JSON_ERR_NUMBER);
                break;
            }
            tok->more = false;
            tok->n = (size_t)(r - *p);
            *p = sbxi_json_after(j, r, end);
            return SBX_JSON_NUMBER;
        }
        j->sub = (uint8_t)next;
    }
    tok->n = (size_t)(r - *p);
    *p = r;
    return sbxi_json_piece(j, tok);
}

/* true, false or null; sub counts along all three, held_n is the kind. */
SBXI_JSON_STEP sbx_json_kind sbxi_json_word(sbx_json *j, char **p, char *end)
{
    static const char sbxi_json_words[] = "true\0\0false\0null";
    while (*p != end) {
        if (**p != sbxi_json_words[j->sub])
            return sbxi_json_fail(j, SBX_JSON_ERR_SYNTAX);
        ++*p;
        if (!sbxi_json_words[++j->sub]) {
            *p = sbxi_json_after(j, *p, end);
            return (sbx_json_kind)j->held_n;
        }
    }
    return SBX_JSON_MORE;
}

/* ---- structure ---- */

/* Reads up to a bracket (returned), an error or the end, or into a text (MORE). */
SBXI_JSON_STEP sbx_json_kind sbxi_json_structure(sbx_json *j, char **p, char *end)
{
    for (; *p != end; ++*p) {
        unsigned c = (unsigned char)**p, state = j->state;
        bool object = j->stack & 1, value = state - SBXI_JSON_MEMBER <= SBXI_JSON_TOP - SBXI_JSON_MEMBER;
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
            continue;
        if (state == SBXI_JSON_COLON && c == ':') {
            j->state = SBXI_JSON_MEMBER;
            continue;
        }
        if (state == SBXI_JSON_AFTER && c == ',') {
            j->state = object ? SBXI_JSON_NAME : SBXI_JSON_ELEMENT;
            continue;
        }
        j->sub = 0;
        if (c == (object ? '}' : ']') && (state == SBXI_JSON_FIRST_NAME || state == SBXI_JSON_FIRST || state == SBXI_JSON_AFTER))
            return sbxi_json_close(j, p, end);
        if (c == '"' && (value || state == SBXI_JSON_NAME || state == SBXI_JSON_FIRST_NAME)) {
            j->state = value ? SBXI_JSON_IN_STRING : SBXI_JSON_IN_NAME;
            ++*p;
            return SBX_JSON_MORE;
        }
        if (value && (c | 32) == '{') {
            sbx_json_kind kind = sbxi_json_open(j, c == '{');
            *p += kind != SBX_JSON_ERROR;
            return kind;
        }
        if (value && (c == 't' || c == 'f' || c == 'n')) {
            unsigned which = c == 't' ? 0 : c == 'f' ? 1 : 2;
            j->state = SBXI_JSON_IN_WORD;
            j->sub = (uint8_t)(which * 6);
            j->held_n = (uint8_t)(SBX_JSON_TRUE + which);
            return SBX_JSON_MORE;
        }
        if (value && (c == '-' || c - '0' < 10)) {
            j->state = SBXI_JSON_IN_NUMBER;
            return SBX_JSON_MORE;
        }
        return sbxi_json_fail(j, SBX_JSON_ERR_SYNTAX);
    }
    return SBX_JSON_MORE;
}

SBXI_JSON_STEP sbx_json_kind sbxi_json_step(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    sbx_json_kind kind = SBX_JSON_MORE;
    if (j->state < SBXI_JSON_IN_NAME || j->state == SBXI_JSON_OVER)
        kind = sbxi_json_structure(j, p, end);
    if (kind != SBX_JSON_MORE)
        return kind;
    tok->p = *p;
    if (j->state == SBXI_JSON_IN_NUMBER)
        return sbxi_json_number(j, p, end, tok);
    if (j->state == SBXI_JSON_IN_WORD)
        return sbxi_json_word(j, p, end);
    if (j->state == SBXI_JSON_OVER)
        return SBX_JSON_DONE;
    if (j->state < SBXI_JSON_IN_NAME)
        return SBX_JSON_MORE;
    tok->kind = (uint8_t)(j->state == SBXI_JSON_IN_NAME ? SBX_JSON_KEY : SBX_JSON_STRING);
#if !SBX_SMALL
    if (j->sub == SBXI_JSON_PLAIN)
        return sbxi_json_long(j, p, end, tok, *p);
#endif
    return sbxi_json_text(j, p, end, tok);
}

/* Everything; the way of all tokens in a small build. */
SBXI_FN SBXI_NOINLINE sbx_json_kind sbxi_json_any(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    sbx_json_kind kind = SBX_JSON_ERROR;
    char *from = *p;
    sbxi_json_set(j, tok, from, 0);
#if SBX_SMALL
    if (!j->error)
        kind = sbxi_json_step(j, p, end, tok);
    j->offset += (uint32_t)(*p - from);
#else
    /* offset: of the end of the input, until it is consumed or has failed */
    if (j->state & SBXI_JSON_FRESH) {
        j->state &= SBXI_JSON_FRESH - 1;
        j->offset += (uint32_t)(end - from);
    }
    if (!j->error)
        kind = sbxi_json_step(j, p, end, tok);
    if (kind == SBX_JSON_ERROR && j->state == SBXI_JSON_FAILED) {
        j->state = SBXI_JSON_REPORTED;
        j->offset -= (uint32_t)(end - *p);
    }
    if (*p == end && !j->error)
        j->state |= SBXI_JSON_FRESH;
#endif
    if (kind >= SBX_JSON_MORE || kind == SBX_JSON_OBJECT_END || kind == SBX_JSON_ARRAY_END)
        sbxi_json_set(j, tok, *p, 0);
    tok->kind = (uint8_t)kind;
    return kind;
}

SBX_API sbx_json_kind sbx_json_end(sbx_json *j, sbx_json_tok *tok)
{
    sbx_json_kind kind = SBX_JSON_DONE;
    unsigned state = j->state & (SBXI_JSON_FRESH - 1u);
    sbxi_json_set(j, tok, j->held, 0);
    if (state == SBXI_JSON_IN_NUMBER && !sbxi_json_depth(j) && (SBXI_JSON_WHOLE_NUMBER >> j->sub & 1)) {
        j->state = SBXI_JSON_OVER;
        kind = SBX_JSON_NUMBER;
    } else if (j->error) {
        kind = SBX_JSON_ERROR;
    } else if (state != SBXI_JSON_OVER) {
        kind = sbxi_json_fail(j, SBX_JSON_ERR_TRUNCATED);
        j->state = SBXI_JSON_REPORTED;
    }
    tok->kind = (uint8_t)kind;
    return kind;
}

#if SBX_SMALL
SBX_API sbx_json_kind sbx_json_next(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    return sbxi_json_any(j, p, end, tok);
}
#endif

/* ======== src/json_fast.c ======== */

/* The fast ways: what is frequent, and whole in the input. */
#if !SBX_SMALL

/* How many of 16 bytes are digits. */
static inline size_t sbxi_json_digits(const char *p)
{
#if SBXI_TEXT_BLOCKS
    const unsigned char *s = (const unsigned char *)p;
    unsigned char digit[16];
    uint64_t low, high;
    for (unsigned i = 0; i < 16; i++)
        digit[i] = (unsigned char)(s[i] - '0') > 9 ? 0xFF : 0;
    low = sbxi_load64((const char *)digit);
    high = sbxi_load64((const char *)digit + 8);
    return low ? sbxi_first_byte(low) : high ? 8 + sbxi_first_byte(high) : 16;
#else
    size_t n = 0;
    while (n < 16 && p[n] >= '0' && p[n] <= '9')
        n++;
    return n;
#endif
}

/* Moves 16 bytes to a lower place that may overlap. */
static inline void sbxi_json_move16(char *to, const char *from)
{
    char block[16];
    memcpy(block, from, 16);
    memcpy(to, block, 16);
}

/* Likewise n < 16 bytes: reads before it writes. */
static inline void sbxi_json_move(char *to, const char *from, size_t n)
{
    if (n >= 8) {
        uint64_t a, b;
        memcpy(&a, from, 8);
        memcpy(&b, from + n - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + n - 8, &b, 8);
    } else if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, from, 4);
        memcpy(&b, from + n - 4, 4);
        memcpy(to, &a, 4);
        memcpy(to + n - 4, &b, 4);
    } else if (n) {
        char a = from[0], b = from[n >> 1], c = from[n - 1];
        to[0] = a;
        to[n >> 1] = b;
        to[n - 1] = c;
    }
}

/* What is behind a backslash; 0: not one of the short ones. */
static const char sbxi_json_short[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '/', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0,
    0, 0, '\b', 0, 0, 0, '\f', 0, 0, 0, 0, 0, 0, 0, '\n', 0, 0, 0, '\r', 0, '\t', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
};

/* Four hex digits, or UINT32_MAX. */
static uint32_t sbxi_json_hex4(const char *p)
{
    uint32_t x = sbxi_load32(p), letter = x >> 6 & 0x01010101, digit = (x & 0x0F0F0F0F) + letter * 9;
    /* written again from the values it must be the same, but for the case */
    uint32_t again = digit + 0x30303030 + ((digit + 0x06060606) >> 4 & 0x01010101) * 0x27;
    if ((digit & 0xF0F0F0F0) != 0 || again != (x | letter << 5))
        return UINT32_MAX;
    return (digit & 0xF) << 12 | (digit & 0xF00) | (digit >> 12 & 0xF0) | digit >> 24;
}

/* A \u escape at r, with 12 bytes there. Writes at w what it stands for and
   returns how long that is; *r goes behind the escape. 0 if it, or an escape
   behind a lone high surrogate, is wrong. */
static inline size_t sbxi_json_unicode(char *w, char **r, sbx_json_tok *tok)
{
    char *s = *r + 6;
    uint32_t cp = sbxi_json_hex4(s - 4);
    size_t n;
    if (cp == UINT32_MAX)
        return 0;
    if (cp - 0xD800 < 0x400) {
        uint32_t low = 0;
        if (s[0] == '\\' && s[1] == 'u')
            low = sbxi_json_hex4(s + 2);
        else if (s[0] == '\\' && !sbxi_json_short[(unsigned char)s[1]])
            low = UINT32_MAX;
        if (low == UINT32_MAX)
            return 0;
        if (low - 0xDC00 < 0x400) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            s += 6;
        }
    }
    if (cp - 0xD800 < 0x800)
        cp = 0xFFFD;
    if (cp == 0xFFFD)
        tok->replaced = true;
    n = sbxi_json_encode(w, cp);
    *r = s;
    return n;
}

/* In blocks: all but the errors and the last few bytes of the input. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_blocks(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r)
{
    char *w = r;
    if (end - r >= 19) {
        const char *last = end - 19; /* of a block with 3 bytes behind it */
        for (;;) {
            size_t n;
            unsigned c = (unsigned char)*r;
            if (c == '\\') {
                char plain = sbxi_json_short[(unsigned char)r[1]];
                if (plain) {
                    *w++ = plain;
                    r += 2;
                } else {
                    if (r[1] != 'u' || end - r < 12)
                        break;
                    n = sbxi_json_unicode(w, &r, tok);
                    if (!n)
                        break;
                    w += n;
                }
            } else if (c >= 0x80) {
                do {
                    uint32_t x = sbxi_load32(r);
                    char x0 = r[0], x1 = r[1], x2 = r[2], x3 = r[3];
                    n = sbxi_utf8_length(x);
                    if (n == 0)
                        break;
                    w[0] = x0;
                    w[1] = x1;
                    if (n > 2) {
                        w[2] = x2;
                        if (n > 3)
                            w[3] = x3;
                        if ((x & 0xFFFFFF) == 0xBDBFEF)
                            tok->replaced = true;
                    }
                    w += n;
                    r += n;
                } while (r <= last && (unsigned char)*r >= 0x80);
                if (n == 0)
                    break;
            } else if (c == '"' || c < 0x20) {
                break;
            }
            if (r > last)
                break;
            while ((n = sbxi_plain16(r)) == 16) {
                sbxi_json_move16(w, r);
                w += 16;
                r += 16;
                if (r > last)
                    goto rest;
            }
            if ((size_t)(r - w) + n >= 16)
                sbxi_json_move16(w, r); /* overwrites nothing that is still to be read */
            else if (w != r)
                sbxi_json_move(w, r, n);
            w += n;
            r += n;
        }
    }
rest:
    tok->n = (size_t)(w - tok->p);
    if (r != end && *r == '"') {
        *p = sbxi_json_text_end(j, r, end);
        return (sbx_json_kind)tok->kind;
    }
    *p = r;
    return sbxi_json_text(j, p, end, tok);
}

SBXI_FN SBXI_NOINLINE sbx_json_kind sbxi_json_long(sbx_json *j, char **p, char *end, sbx_json_tok *tok, char *r)
{
    while (end - r >= 17) {
        size_t n = sbxi_plain16(r);
        r += n;
        if (n != 16)
            break;
    }
    if (r == end || *r != '"')
        return sbxi_json_blocks(j, p, end, tok, r);
    tok->n = (size_t)(r - tok->p);
    *p = sbxi_json_text_end(j, r, end);
    return (sbx_json_kind)tok->kind;
}

/* Brackets and words inside the input. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_bracket(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;
    if (j->state == (SBXI_JSON_TOP | SBXI_JSON_FRESH)) {
        j->offset += (uint32_t)(end - r);
        j->state = SBXI_JSON_TOP;
    }
    if (*r == '{') {
        if (j->state - 1u < SBXI_JSON_TOP && sbxi_json_depth(j) < j->max_depth) {
            sbxi_json_set(j, tok, r, 0);
            tok->kind = SBX_JSON_OBJECT;
            sbxi_json_open(j, true);
            *p = r + 1;
            if (r[1] == '"')
                j->state = SBXI_JSON_NAME;
            return SBX_JSON_OBJECT;
        }
    } else if (*r == '}') {
        if (j->state == SBXI_JSON_FIRST_NAME || (j->state == SBXI_JSON_AFTER && (j->stack & 1))) {
            sbxi_json_close(j, p, end);
            sbxi_json_set(j, tok, r, 0);
            tok->kind = SBX_JSON_OBJECT_END;
            return SBX_JSON_OBJECT_END;
        }
    } else if (j->state == SBXI_JSON_MEMBER) {
        sbx_json_kind kind = SBX_JSON_MORE;
        size_t n = 4;
        if (memcmp(r, "true", 4) == 0) {
            kind = SBX_JSON_TRUE;
        } else if (*r == 'f' && memcmp(r + 1, "alse", 4) == 0) {
            kind = SBX_JSON_FALSE;
            n = 5;
        } else if (memcmp(r, "null", 4) == 0) {
            kind = SBX_JSON_NULL;
        }
        if (kind != SBX_JSON_MORE) {
            sbxi_json_set(j, tok, r, 0);
            tok->kind = (uint8_t)kind;
            *p = sbxi_json_after(j, r + n, end);
            return kind;
        }
    }
    return sbxi_json_any(j, p, end, tok);
}

/* What stands near the end of the input, if it is simple. */
static SBXI_NOINLINE sbx_json_kind sbxi_json_tail(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p, *q = r;
    size_t n;
    switch (j->state) {
    case SBXI_JSON_NAME:
        if (!sbxi_json_room(r, end, 11) || *r != '"')
            break;
        n = sbxi_plain8(r + 1);
        if (memcmp(r + n + 1, "\":", 2) != 0)
            break;
        sbxi_json_set(j, tok, r + 1, n);
        j->state = SBXI_JSON_MEMBER;
        *p = r + n + 3;
        return SBX_JSON_KEY;
    case SBXI_JSON_MEMBER:
        if (r == end || *r == '0')
            break;
        while (q != end && (unsigned char)(*q - '0') < 10)
            q++;
        if (q == end || q == r || *q != '}')
            break;
        sbxi_json_set(j, tok, r, (size_t)(q - r));
        tok->kind = SBX_JSON_NUMBER;
        j->state = SBXI_JSON_AFTER;
        *p = q;
        return SBX_JSON_NUMBER;
    case SBXI_JSON_AFTER:
        if (r == end || *r != '}' || sbxi_json_depth(j) != 1 || !(j->stack & 1))
            break;
        sbxi_json_close(j, p, end);
        sbxi_json_set(j, tok, r, 0);
        tok->kind = SBX_JSON_OBJECT_END;
        if (*p == end)
            j->state |= SBXI_JSON_FRESH;
        return SBX_JSON_OBJECT_END;
    case SBXI_JSON_OVER | SBXI_JSON_FRESH:
        if (r != end)
            break;
        sbxi_json_set(j, tok, r, 0);
        tok->kind = SBX_JSON_DONE;
        return SBX_JSON_DONE;
    default:
        break;
    }
    return sbxi_json_any(j, p, end, tok);
}

/* Like sbxi_json_plain, of 32 if they are there. */
static inline size_t sbxi_json_plain32(const char *p, const char *end)
{
    size_t n = sbxi_plain16(p);
    if (SBXI_UNLIKELY(n == 16) && sbxi_json_room(p, end, 34))
        n += sbxi_plain16(p + 16);
    return n;
}

/* First of all the members of objects, as long as they are short, well inside
   the input and without escapes. */
SBX_API sbx_json_kind sbx_json_next(sbx_json *j, char **p, char *end, sbx_json_tok *tok)
{
    char *r = *p;
    size_t n;
    if (SBXI_UNLIKELY(!sbxi_json_room(r, end, 20)))
        return sbxi_json_tail(j, p, end, tok);
    if (j->state == SBXI_JSON_NAME) {
        if (*r == '"') {
            n = sbxi_json_plain32(r + 1, end);
            sbxi_json_set(j, tok, r + 1, n);
            if (SBXI_LIKELY(memcmp(r + n + 1, "\":", 2) == 0)) {
                j->state = SBXI_JSON_MEMBER;
                *p = r + n + 3;
                return SBX_JSON_KEY;
            }
            j->state = SBXI_JSON_IN_NAME;
            j->sub = SBXI_JSON_PLAIN;
            return sbxi_json_long(j, p, end, tok, r + n + 1);
        }
    } else if (j->state == SBXI_JSON_MEMBER) {
        if (*r == '"') {
            n = sbxi_json_plain32(r + 1, end);
            sbxi_json_set(j, tok, r + 1, n);
            tok->kind = SBX_JSON_STRING;
            if (memcmp(r + n + 1, "\",", 2) == 0) {
                j->state = SBXI_JSON_NAME;
                *p = r + n + 3;
                return SBX_JSON_STRING;
            }
            j->state = SBXI_JSON_IN_STRING;
            j->sub = SBXI_JSON_PLAIN;
            return sbxi_json_long(j, p, end, tok, r + n + 1);
        }
        if (memcmp(r, "null", 4) == 0 && r[4] == ',') {
            sbxi_json_set(j, tok, r, 0);
            tok->kind = SBX_JSON_NULL;
            j->state = SBXI_JSON_NAME;
            *p = r + 5;
            return SBX_JSON_NULL;
        }
        if ((unsigned char)(*r - '0') < 10) {
            n = sbxi_json_digits(r);
            if (r[n] == ',' && (*r != '0' || n == 1)) {
                sbxi_json_set(j, tok, r, n);
                tok->kind = SBX_JSON_NUMBER;
                j->state = SBXI_JSON_NAME;
                *p = r + n + 1;
                return SBX_JSON_NUMBER;
            }
        }
    }
    return sbxi_json_bracket(j, p, end, tok);
}

/* The value at r, which another member follows; MORE: not a simple one. */
static inline sbx_json_kind sbxi_json_simple(char **p, char *end, sbx_json_tok *tok, char *r)
{
    sbx_json_kind kind;
    size_t n;
    tok->p = r;
    if (*r == '"') {
        size_t more = sbxi_plain16(++r);
        for (n = more; more == 16 && sbxi_json_room(r, end, n + 20); n += more)
            more = sbxi_plain16(r + n);
        tok->p = r;
        tok->n = n;
        kind = SBX_JSON_STRING;
        r += n;
        if (*r++ != '"')
            return SBX_JSON_MORE;
    } else if ((unsigned char)(*r - '0') < 10) {
        n = sbxi_json_digits(r);
        if (*r == '0' && n > 1)
            return SBX_JSON_MORE;
        tok->n = n;
        kind = SBX_JSON_NUMBER;
        r += n;
    } else if (memcmp(r, "null", 4) == 0) {
        kind = SBX_JSON_NULL;
        tok->n = 0;
        r += 4;
    } else if (memcmp(r, "{}", 2) == 0) { /* holds nothing either */
        kind = SBX_JSON_NULL;
        tok->n = 0;
        r += 2;
    } else {
        return SBX_JSON_MORE;
    }
    if (*r != ',')
        return SBX_JSON_MORE;
    *p = r + 1;
    return kind;
}

SBXI_FN bool sbxi_json_at_member(const sbx_json *j, unsigned depth)
{
    return j->state == SBXI_JSON_NAME && sbxi_json_depth(j) == depth;
}

SBXI_FN sbx_json_kind sbxi_json_member(char **p, char *end, const char *name, size_t name_n, sbx_json_tok *tok)
{
    char *r = *p;
    sbx_json_kind kind;
    if (!sbxi_json_room(r, end, name_n + 24))
        return SBX_JSON_MORE;
    if (*r != '"' || r[name_n + 1] != '"' || r[name_n + 2] != ':' || !sbxi_json_same(r + 1, name, name_n))
        return SBX_JSON_MORE;
    kind = sbxi_json_simple(p, end, tok, r + name_n + 3);
    tok->kind = (uint8_t)kind;
    return kind;
}

#endif

/* ======== src/json_num.c ======== */
#if !SBX_FREESTANDING
#include <stdlib.h>
#endif

/* An integer in two's complement, signed or not. */
static SBXI_NOINLINE bool sbxi_json_integer(const char *p, size_t n, void *out, bool is_signed)
{
    uint64_t v = 0, most = UINT64_MAX;
    bool minus = n && *p == '-';
    size_t i = minus;
    if (n == i || (p[i] == '0' && n > i + 1))
        return false;
    if (is_signed)
        most = (uint64_t)INT64_MAX + minus;
    else if (minus)
        most = 0;
    for (; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)p[i] - '0';
        uint64_t next = v * 10 + digit;
        if (digit > 9 || v > UINT64_MAX / 10 || next < digit || next > most)
            return false;
        v = next;
    }
    if (minus)
        v = 0 - v;
    memcpy(out, &v, sizeof v);
    return true;
}

SBX_API bool sbx_json_u64(sbx_str number, uint64_t *out)
{
    return sbxi_json_integer(number.p, number.n, out, false);
}

SBX_API bool sbx_json_i64(sbx_str number, int64_t *out)
{
    return sbxi_json_integer(number.p, number.n, out, true);
}

/* Splits any JSON number into digits (no leading zeros, at most cap; *tail:
   something other than zeros was cut behind them) and a power of ten. False:
   not a number. */
static bool sbxi_json_decimal(sbx_str s, char *digits, size_t cap, size_t *n, bool *tail, int32_t *exponent)
{
    size_t i = 0, count = 0;
    int32_t power = 0, e = 0;
    *tail = false;
    if (i < s.n && s.p[i] == '-')
        i++;
    for (unsigned part = 0; part < 2; part++) {
        size_t from = i;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
            if (count == cap) {
                *tail |= s.p[i] != '0';
                power += part == 0 && power < 100000;
            } else {
                if (count || s.p[i] != '0')
                    digits[count++] = s.p[i];
                power -= part == 1 && power > -100000;
            }
        }
        if (i == from || (part == 0 && s.p[from] == '0' && i - from > 1))
            return false;
        if (part == 0 && (i == s.n || s.p[i] != '.'))
            break;
        i += part == 0;
    }
    if (i < s.n && (s.p[i] | 32) == 'e') {
        bool minus = ++i < s.n && s.p[i] == '-';
        size_t from;
        i += i < s.n && (s.p[i] == '-' || s.p[i] == '+');
        for (from = i; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            if (e < 1000000)
                e = e * 10 + (s.p[i] - '0');
        if (i == from)
            return false;
        e = minus ? -e : e;
    }
    *n = count;
    *exponent = power + e;
    return i == s.n;
}

#if !SBX_FREESTANDING

/* strtod wants the locale's decimal point; digits and an exponent without a
   point mean the same number and read the same everywhere. */
SBX_API bool sbx_json_f64(sbx_str number, double *out)
{
    char text[224];
    size_t n;
    bool tail;
    int32_t e;
    double v;
    if (!sbxi_json_decimal(number, text + 1, 200, &n, &tail, &e))
        return false;
    text[0] = number.p[0] == '-' ? '-' : '+';
    if (n == 0)
        text[++n] = '0';
    if (tail) { /* a digit more, so that a tie is not seen where there is none */
        text[++n] = '1';
        e--;
    }
    n++;
    text[n++] = 'e';
    text[n++] = e < 0 ? '-' : '+';
    for (int32_t weight = 1000000, left = e < 0 ? -e : e; weight; weight /= 10) {
        text[n++] = (char)('0' + left / weight % 10);
    }
    text[n] = 0;
    v = strtod(text, NULL);
    if (v - v != 0) /* infinite */
        return false;
    *out = v;
    return true;
}

#else

/* A 64-bit mantissa with the top bit set, times powers of ten, one by one:
   each step cuts at most one unit of 2^-62, so that 342 of them stay below
   0.7 units of a double's last place; rounding adds the half. */
SBX_API bool sbx_json_f64(sbx_str number, double *out)
{
    char digits[19];
    size_t n;
    bool tail;
    int32_t ten, two = 0;
    uint64_t m = 0;
    if (sizeof(double) != 8 || !sbxi_json_decimal(number, digits, sizeof digits, &n, &tail, &ten))
        return false;
    for (size_t i = 0; i < n; i++)
        m = m * 10 + (unsigned)(digits[i] - '0');
    if (m && ten > 400)
        return false;
    if (ten < -400)
        m = 0;
    if (m) {
        unsigned drop;
        uint64_t half;
        for (; !(m >> 63); two--)
            m <<= 1;
        for (; ten > 0; ten--) { /* * 10 = * 5/4 * 8 */
            uint64_t quarter = m >> 2;
            two += 3;
            if (m > UINT64_MAX - quarter) {
                m = (m >> 1) + (quarter >> 1) + (m & quarter & 1);
                two++;
            } else {
                m += quarter;
            }
        }
        for (; ten < 0; ten++) { /* / 10 = * 4/5 / 8 */
            m = m / 5 * 4 + m % 5 * 4 / 5;
            two -= 3;
            if (!(m >> 63)) {
                m <<= 1;
                two--;
            }
        }
        /* m * 2^two; a double has 53 bits, fewer below 2^-1022 */
        drop = two < -1085 ? (unsigned)(-1085 - two) + 11 : 11;
        if (drop > 64) {
            m = 0;
        } else {
            half = (uint64_t)1 << (drop - 1);
            uint64_t rest = drop == 64 ? m : m & (half * 2 - 1);
            m = drop == 64 ? 0 : m >> drop;
            m += rest > half || (rest == half && (m & 1));
            two += (int32_t)drop;
            /* the sum carries into the exponent where m became 2^53 or 2^52 */
            if (m >> 52)
                m += (uint64_t)(uint32_t)(two + 1074) << 52;
            if (m >> 52 >= 2047)
                return false;
        }
    }
    m |= (uint64_t)(number.p[0] == '-') << 63;
    memcpy(out, &m, sizeof m);
    return true;
}

#endif

/* ======== src/json_write.c ======== */

#if SBX_SMALL

/* What a control character, quote or backslash becomes; its length (1: itself). */
static size_t sbxi_json_escaped(char out[8], unsigned c)
{
    static const char sbxi_json_named[] = "\"\\\b\f\n\r\t", sbxi_json_escape_names[] = "\"\\bfnrt";
    const char *name = (const char *)memchr(sbxi_json_named, (int)c, sizeof sbxi_json_named - 1);
    out[0] = (char)c;
    if (c >= 0x20 && !name)
        return 1;
    memcpy(out, "\\u00", 4);
    out[4] = (char)('0' + (c >> 4));
    out[5] = "0123456789abcdef"[c & 15];
    if (!name)
        return 6;
    out[1] = sbxi_json_escape_names[name - sbxi_json_named];
    return 2;
}

#else

/* What each ASCII character becomes, and the length of that. */
static const char sbxi_json_escape_text[128][8] = {
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007", "\\b", "\\t", "\\n", "\\u000b", "\\f", "\\r", "\\u000e",
    "\\u000f", "\\u0010", "\\u0011", "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017", "\\u0018", "\\u0019", "\\u001a", "\\u001b",
    "\\u001c", "\\u001d", "\\u001e", "\\u001f", " ", "!", "\\\"", "#", "$", "%", "&", "'", "(", ")", "*", "+", ",", "-", ".", "/", "0", "1", "2", "3",
    "4", "5", "6", "7", "8", "9", ":", ";", "<", "=", ">", "?", "@", "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P",
    "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z", "[", "\\\\", "]", "^", "_", "`", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l",
    "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z", "{", "|", "}", "~", "\x7F"
};

static const size_t sbxi_json_escape_n[128] = {
    6, 6, 6, 6, 6, 6, 6, 6, 2, 2, 2, 6, 2, 2, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
    1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
};

static inline size_t sbxi_json_escaped(char out[8], unsigned c)
{
    memcpy(out, sbxi_json_escape_text[c], 8);
    return sbxi_json_escape_n[c];
}

/* Four characters of ASCII, without a branch for any of them. */
static inline char *sbxi_json_escape_four(char *d, const unsigned char *s)
{
    size_t c0 = s[0], c1 = s[1], c2 = s[2], c3 = s[3];
    memcpy(d, sbxi_json_escape_text[c0], 8);
    d += sbxi_json_escape_n[c0];
    memcpy(d, sbxi_json_escape_text[c1], 8);
    d += sbxi_json_escape_n[c1];
    memcpy(d, sbxi_json_escape_text[c2], 8);
    d += sbxi_json_escape_n[c2];
    memcpy(d, sbxi_json_escape_text[c3], 8);
    d += sbxi_json_escape_n[c3];
    return d;
}

/* n of them, a multiple of 16. */
static inline char *sbxi_json_escape_ascii(char *d, const char *from, size_t n)
{
    const unsigned char *s = (const unsigned char *)from, *end = s + n;
    for (; s != end; s += 16) {
        d = sbxi_json_escape_four(d, s);
        d = sbxi_json_escape_four(d, s + 4);
        d = sbxi_json_escape_four(d, s + 8);
        d = sbxi_json_escape_four(d, s + 12);
    }
    return d;
}

/* Blocks, as long as any fits: what needs nothing is copied, other ASCII goes
   through the table, 64 at once where much is escaped. */
static inline size_t sbxi_json_escape_blocks(char *dst, size_t cap, const char *src, size_t n, size_t *used)
{
    const char *s = src, *s_end = src + n;
    char *d = dst, *d_end = dst + cap;
    while (s_end - s >= 16 && d_end - d >= 16 * 6 + 2) {
        const char *from = d;
        if (sbxi_plain16(s) == 16) {
            memcpy(d, s, 16);
            s += 16;
            d += 16;
        } else if (((sbxi_word(s) | sbxi_word(s + 8)) & UINT64_MAX / 255 * 0x80) == 0) {
            d = sbxi_json_escape_ascii(d, s, 16);
            s += 16;
            if (d - from > 17)
                while (s_end - s >= 64 && d_end - d >= 64 * 6 + 2 && sbxi_ascii64(s)) {
                    from = d;
                    d = sbxi_json_escape_ascii(d, s, 64);
                    s += 64;
                    if (d - from < 68)
                        break;
                }
        } else {
            for (const char *last = s + 12; s <= last;) {
                size_t length;
                if (!(*s & 0x80)) {
                    d += sbxi_json_escaped(d, (unsigned char)*s++);
                    continue;
                }
                length = sbxi_utf8_length(sbxi_load32(s));
                if (!length)
                    goto end;
                memcpy(d, s, 4);
                s += length;
                d += length;
            }
        }
    }
end:
    *used = (size_t)(s - src);
    return (size_t)(d - dst);
}

#endif

SBX_API size_t sbx_json_escape(char *dst, size_t cap, const char *src, size_t n, size_t *used, bool *bad)
{
    size_t done = 0, at = 0; /* written, read: both at character borders */
    uint32_t state = 0;
    *bad = false;
#if !SBX_SMALL
    if (n >= 16 && cap >= 16 * 6 + 2)
        done = sbxi_json_escape_blocks(dst, cap, src, n, &at);
#endif
    while (at < n) {
        const char *from = src + at;
        char out[8];
        size_t take = 0, need;
        do {
            if (at + take == n) /* cut */
                goto end;
            if (!sbxi_utf8(&state, from + take, 1)) {
                *bad = true;
                goto end;
            }
            take++;
        } while (state);
        need = take;
        if (take == 1) {
            need = sbxi_json_escaped(out, (unsigned char)*from);
            from = out;
        }
        if (cap - done < need)
            break;
        memcpy(dst + done, from, need);
        done += need;
        at += take;
    }
end:
    *used = at;
    return done;
}

/* ---- writer ---- */

static void sbxi_jsonw_fail(sbx_jsonw *w, uint8_t error)
{
    if (!w->error)
        w->error = error;
}

static void sbxi_jsonw_put(sbx_jsonw *w, const char *p, size_t n)
{
    if (w->n <= w->cap && n <= w->cap - w->n) {
        if (n)
            memcpy(w->p + w->n, p, n);
    } else {
        sbxi_jsonw_fail(w, SBX_JSONW_FULL);
        w->cap = SBXI_MIN(w->cap, w->n); /* nothing behind what did not fit */
    }
    w->n = sbxi_add(w->n, n);
}

static void sbxi_jsonw_char(sbx_jsonw *w, char c)
{
    sbxi_jsonw_put(w, &c, 1);
}

static void sbxi_jsonw_value(sbx_jsonw *w)
{
    if (w->comma)
        sbxi_jsonw_char(w, ',');
    w->comma = true;
}

/* A bracket or colon; whether a comma comes before what follows. */
static SBXI_NOINLINE void sbxi_jsonw_mark(sbx_jsonw *w, char c, bool comma)
{
    sbxi_jsonw_char(w, c);
    w->comma = comma;
}

static void sbxi_jsonw_text(sbx_jsonw *w, const char *p, size_t n)
{
    sbxi_jsonw_value(w);
    sbxi_jsonw_put(w, p, n);
}

SBX_API void sbx_jsonw_init(sbx_jsonw *w, char *buf, size_t cap)
{
    memset(w, 0, sizeof *w);
    w->p = buf;
    w->cap = cap;
}

SBX_API void sbx_jsonw_begin(sbx_jsonw *w, char bracket)
{
    sbxi_jsonw_value(w);
    sbxi_jsonw_mark(w, bracket, false);
}

SBX_API void sbx_jsonw_end(sbx_jsonw *w, char bracket)
{
    sbxi_jsonw_mark(w, bracket, true);
}

SBX_API void sbx_jsonw_str(sbx_jsonw *w, sbx_str s)
{
    size_t used;
    bool bad = false;
    sbxi_jsonw_value(w);
    sbxi_jsonw_char(w, '"');
#if !SBX_SMALL
    if (s.n && w->n < w->cap) {
        w->n += sbx_json_escape(w->p + w->n, w->cap - w->n, s.p, s.n, &used, &bad);
        s.p += used;
        s.n -= used;
    }
#endif
    /* what does not fit whole, or ends inside a character */
    while (s.n) {
        char piece[48];
        size_t n = sbx_json_escape(piece, sizeof piece, s.p, s.n, &used, &bad);
        if (!used) {
            sbxi_jsonw_fail(w, SBX_JSONW_UTF8);
            break;
        }
        sbxi_jsonw_put(w, piece, n);
        s.p += used;
        s.n -= used;
    }
    sbxi_jsonw_char(w, '"');
}

SBX_API void sbx_jsonw_key(sbx_jsonw *w, sbx_str key)
{
    sbx_jsonw_str(w, key);
    sbxi_jsonw_mark(w, ':', false);
}

SBX_API void sbx_jsonw_raw(sbx_jsonw *w, sbx_str json)
{
    sbxi_jsonw_text(w, json.p, json.n);
}

static SBXI_NOINLINE void sbxi_jsonw_number(sbx_jsonw *w, uint64_t v, bool minus)
{
    char text[21];
    text[0] = '-';
    sbxi_jsonw_text(w, text + !minus, minus + sbxi_u64_text(text + 1, v));
}

SBX_API void sbx_jsonw_u64(sbx_jsonw *w, uint64_t v)
{
    sbxi_jsonw_number(w, v, false);
}

SBX_API void sbx_jsonw_i64(sbx_jsonw *w, int64_t v)
{
    sbxi_jsonw_number(w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

SBX_API void sbx_jsonw_bool(sbx_jsonw *w, bool v)
{
    sbxi_jsonw_text(w, v ? "true" : "false", 5u - v);
}

SBX_API void sbx_jsonw_null(sbx_jsonw *w)
{
    sbxi_jsonw_text(w, "null", 4);
}

/* ======== src/http1.c ======== */
/* ---- http1: HTTP/1.1 response parser ---- */

/* The order matters: the first seven read lines, the next three bodies, and the
   last three stand for DONE, UPGRADE and ERROR. */
enum {
    SBXI_HTTP1_STATUS,
    SBXI_HTTP1_REASON, /* inside a status line, the rest of which means nothing */
    SBXI_HTTP1_LINE,   /* before a line of a head that is delivered */
    SBXI_HTTP1_REST,   /* inside such a line, or in a skipped head, or in a trailer */
    SBXI_HTTP1_VALUE,  /* inside a value that is delivered in pieces */
    SBXI_HTTP1_SIZE,   /* a chunk's size and extensions */
    SBXI_HTTP1_DATA_END,
    SBXI_HTTP1_DATA,   /* of a chunk */
    SBXI_HTTP1_LENGTH, /* body by Content-Length */
    SBXI_HTTP1_CLOSE,  /* body until the peer closes */
    SBXI_HTTP1_ENDED,
    SBXI_HTTP1_UPGRADED,
    SBXI_HTTP1_FAILED
};

enum {
    SBXI_HTTP1_F_NO_BODY = 1,
    SBXI_HTTP1_F_CLOSE = 2, /* Connection: close */
    SBXI_HTTP1_F_CODED = 4,
    SBXI_HTTP1_F_BAD_CODING = 8,
    SBXI_HTTP1_F_TRAILER = 16,
    SBXI_HTTP1_F_LENGTH = 32
};

/* Bytes of a chunk's line, CRLF included. */
#define SBXI_HTTP1_CHUNK_LINE 256
/* What a step answers beside the kinds of events: go on with the next state, or
   an error. */
#define SBXI_HTTP1_NEXT (-1)
#define SBXI_HTTP1_BAD(error) (SBXI_HTTP1_NEXT - (int)(error))

/* Functions that are worth a copy at each use where speed counts, and those that are
   not worth one where size counts. */
#if SBX_SMALL
#define SBXI_HTTP1_WITHIN static
#define SBXI_HTTP1_ONCE SBXI_NOINLINE static
#else
#define SBXI_HTTP1_WITHIN SBXI_INLINE
#define SBXI_HTTP1_ONCE static
#endif

#if SBX_SMALL
static const uint32_t sbxi_http1_token_bits[4] = { 0, 0x03ff6cfau, 0xc7fffffeu, 0x57ffffffu };
#define SBXI_HTTP1_IS_TOKEN(c) ((c) < 128 && (sbxi_http1_token_bits[(c) >> 5] >> ((c) & 31) & 1))
#else
static const unsigned char sbxi_http1_token[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0
};
#define SBXI_HTTP1_IS_TOKEN(c) (sbxi_http1_token[c])

SBXI_INLINE uint64_t sbxi_http1_word(const unsigned char *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
           (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* k of upto = 2^(8k+1) - 1, the bits of a word up to the lowest one of byte k.
   Twice the constant has k in byte 7-k, which the product moves to the top;
   for the - 1 it loses the constant once, so its last byte is one more. */
SBXI_INLINE size_t sbxi_http1_byte(uint64_t upto)
{
    return (size_t)((upto * 0x0000810182028304u) >> 56);
}

/* Both look at the 16 bytes at *s and move *s behind them, or to the first of
   another kind and are true: to a control character (HTAB among them), or to
   what is neither letter nor '-'. The loops become vector code. */
SBXI_INLINE bool sbxi_http1_text16(const unsigned char **s)
{
    const unsigned char *p = *s;
    unsigned char other[16];
    uint64_t x;
    for (int i = 0; i < 16; i++)
        other[i] = (unsigned char)(0 - ((p[i] < 0x20) | (p[i] == 0x7f)));
    if ((x = sbxi_http1_word(other)) != 0) {
        *s = p + sbxi_http1_byte(x ^ (x - 1));
        return true;
    }
    if ((x = sbxi_http1_word(other + 8)) != 0) {
        *s = p + 8 + sbxi_http1_byte(x ^ (x - 1));
        return true;
    }
    *s = p + 16;
    return false;
}

SBXI_INLINE bool sbxi_http1_name16(const unsigned char **s)
{
    const unsigned char *p = *s;
    unsigned char same[16];
    uint64_t x;
    for (int i = 0; i < 16; i++)
        same[i] = (unsigned char)(0 - (((unsigned char)((p[i] | 0x20) - 'a') < 26) | (p[i] == '-')));
    if ((x = sbxi_http1_word(same)) != UINT64_MAX) {
        *s = p + sbxi_http1_byte(x ^ (x + 1));
        return true;
    }
    if ((x = sbxi_http1_word(same + 8)) != UINT64_MAX) {
        *s = p + 8 + sbxi_http1_byte(x ^ (x + 1));
        return true;
    }
    *s = p + 16;
    return false;
}
#endif

/* First byte of s..end that is no token character. */
static const unsigned char *sbxi_http1_skip_token(const unsigned char *s, const unsigned char *end)
{
    while (s < end && SBXI_HTTP1_IS_TOKEN(*s))
        s++;
    return s;
}

/* First byte of s..end that may not stand in a value (which includes CR and LF). */
SBXI_HTTP1_ONCE const unsigned char *sbxi_http1_skip_text(const unsigned char *s, const unsigned char *end)
{
#if !SBX_SMALL
    while (end - s >= 16 && !sbxi_http1_text16(&s)) {
    }
#endif
    while (s < end && ((*s >= 0x20 && *s != 0x7f) || *s == '\t'))
        s++;
    return s;
}

#if !SBX_SMALL
SBXI_INLINE bool sbxi_http1_is8(const char *s, const char *lower)
{
    uint64_t a, b;
    memcpy(&a, s, 8);
    memcpy(&b, lower, 8);
    return (a | 0x2020202020202020u) == b;
}
#endif

/* lower has letters and '-' only. Exact, as CR (which | 0x20 makes '-') cannot
   be in s. */
SBXI_HTTP1_WITHIN bool sbxi_http1_is(const char *s, size_t n, const char *lower)
{
    size_t i = 0;
#if !SBX_SMALL
    /* With a constant this is two or three comparisons of words. */
    size_t m = strlen(lower);
    if (m >= 8)
        return n == m && sbxi_http1_is8(s, lower) && (m <= 16 || sbxi_http1_is8(s + 8, lower + 8)) &&
               sbxi_http1_is8(s + m - 8, lower + m - 8);
#endif
    while (i < n && (s[i] | 0x20) == lower[i])
        i++;
    return i == n && lower[n] == 0;
}

/* A 1xx head without events. */
static bool sbxi_http1_skipped(const sbx_http1 *h)
{
    return h->status < 200 && h->status != 101;
}

/* The state before a line: LINE where the quick path may take it. */
static uint8_t sbxi_http1_before_line(const sbx_http1 *h)
{
    if (SBX_SMALL || sbxi_http1_skipped(h) || h->headers_left == 0 || (h->flags & SBXI_HTTP1_F_TRAILER))
        return SBXI_HTTP1_REST;
    return SBXI_HTTP1_LINE;
}

/* At the beginning of a status line: whether it can be one. Each byte lies
   between these two; of what lies between the last ones only CR and SP pass
   as text. With n < 13 it cannot be whole. */
static bool sbxi_http1_status_ok(const unsigned char *p, size_t n)
{
    static const char low[] = "HTTP/1.0 100\r", high[] = "HTTP/1.1 999 ";
    size_t i = 0;
#if !SBX_SMALL
    /* Both comparisons for eight bytes below 0x80 at once. */
    const uint64_t top = 0x8080808080808080u;
    if (n >= 13) {
        uint64_t x = sbxi_http1_word(p + 5);
        return memcmp(p, "HTTP/", 5) == 0 &&
               (((x | top) - sbxi_http1_word((const unsigned char *)low + 5)) &
                ((sbxi_http1_word((const unsigned char *)high + 5) | top) - x) & ~x & top) == top;
    }
#endif
    for (; i < n && i < 13; i++)
        if (p[i] < (unsigned char)low[i] || p[i] > (unsigned char)high[i])
            return false;
    return true;
}

static int sbxi_http1_status(sbx_http1 *h, const unsigned char *p)
{
    h->keep_alive = p[7] == '1';
    if (!h->keep_alive)
        h->flags |= SBXI_HTTP1_F_BAD_CODING;
    h->status = (uint16_t)(p[9] * 100 + p[10] * 10 + p[11] - '0' * 111);
    if (sbxi_http1_skipped(h) && h->interim_left-- == 0)
        return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    return SBXI_HTTP1_NEXT;
}

static void sbxi_http1_connection(sbx_http1 *h, sbx_str v)
{
    const char *p = v.p, *end = v.p + v.n, *t;
    if (!SBX_SMALL && sbxi_http1_is(v.p, v.n, "keep-alive")) {
        h->keep_alive = true;
        return;
    }
    for (; p < end; p = t + 1) {
        for (t = p; t < end && (unsigned char)*t > ' ' && *t != ',';)
            t++;
        if (sbxi_http1_is(p, (size_t)(t - p), "close"))
            h->flags |= SBXI_HTTP1_F_CLOSE;
        if (sbxi_http1_is(p, (size_t)(t - p), "keep-alive"))
            h->keep_alive = true;
    }
}

static bool sbxi_http1_length(sbx_http1 *h, sbx_str v)
{
    uint64_t x = 0;
    for (size_t i = 0; i < v.n; i++) {
        unsigned d = (unsigned char)v.p[i] - (unsigned)'0';
        if (d > 9 || x >> 60)
            return false;
        x = x * 10 + d;
    }
    if (v.n == 0 || ((h->flags & SBXI_HTTP1_F_LENGTH) && h->length != x))
        return false;
    h->flags |= SBXI_HTTP1_F_LENGTH;
    h->length = x;
    return true;
}

/* Remembers what a final head's field says about framing, which must be whole. */
static int sbxi_http1_frame(sbx_http1 *h, const sbx_http1_event *ev)
{
    const char *name = ev->name.p;
    size_t n = ev->name.n;
    int which = h->status < 200                               ? 0
                : sbxi_http1_is(name, n, "connection")        ? 1
                : sbxi_http1_is(name, n, "content-length")    ? 2
                : sbxi_http1_is(name, n, "transfer-encoding") ? 3
                                                              : 0;
    if (which && ev->more)
        return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    if (which == 1)
        sbxi_http1_connection(h, ev->value);
    if (which == 2 && !sbxi_http1_length(h, ev->value))
        return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_LENGTH);
    if (which == 3) {
        if ((h->flags & SBXI_HTTP1_F_CODED) || !sbxi_http1_is(ev->value.p, ev->value.n, "chunked"))
            h->flags |= SBXI_HTTP1_F_BAD_CODING;
        h->flags |= SBXI_HTTP1_F_CODED;
    }
    return SBX_HTTP1_HEADER;
}

/* Behind the empty line. RFC 9112 6.3: how long the body is. */
static int sbxi_http1_head_end(sbx_http1 *h)
{
    unsigned flags = h->flags;
    h->head_left -= 2;
    if (flags & SBXI_HTTP1_F_TRAILER) {
        h->state = SBXI_HTTP1_ENDED;
        return SBX_HTTP1_DONE;
    }
    if (h->status < 200) {
        h->flags = (uint8_t)(flags & SBXI_HTTP1_F_NO_BODY);
        h->state = SBXI_HTTP1_STATUS;
        if (sbxi_http1_skipped(h))
            return SBXI_HTTP1_NEXT;
        h->state = SBXI_HTTP1_UPGRADED;
        return SBX_HTTP1_UPGRADE;
    }
    if (flags & SBXI_HTTP1_F_CLOSE)
        h->keep_alive = false;
    h->left = h->length;
    if ((flags & SBXI_HTTP1_F_NO_BODY) || h->status == 204 || h->status == 304) {
        h->state = SBXI_HTTP1_ENDED;
    } else if (flags & SBXI_HTTP1_F_CODED) {
        if (flags & SBXI_HTTP1_F_LENGTH)
            return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_LENGTH);
        if (flags & SBXI_HTTP1_F_BAD_CODING)
            return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CODING);
        h->left = 0;
        h->chunked = true;
        h->state = SBXI_HTTP1_SIZE;
    } else if (flags & SBXI_HTTP1_F_LENGTH) {
        h->state = h->left ? SBXI_HTTP1_LENGTH : SBXI_HTTP1_ENDED;
    } else {
        h->keep_alive = false;
        h->state = SBXI_HTTP1_CLOSE;
    }
    return SBX_HTTP1_HEAD;
}

static unsigned sbxi_http1_hex(unsigned char c)
{
    unsigned d = c - (unsigned)'0';
    if (d < 10)
        return d;
    d = (c | 0x20u) - 'a';
    return d < 6 ? d + 10 : 16;
}

/* The line p..s of a chunk: its size, or what ends its data. Extensions are
   skipped. */
static int sbxi_http1_chunk(sbx_http1 *h, const unsigned char *p, const unsigned char *s)
{
    const unsigned char *q = p;
    uint64_t x = 0;
    unsigned d;
    bool quoted = false;
    if (h->state == SBXI_HTTP1_DATA_END) {
        h->state = SBXI_HTTP1_SIZE;
        return p == s ? SBXI_HTTP1_NEXT : SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
    }
    for (; (d = sbxi_http1_hex(*q)) < 16; q++) {
        if (x >> 60)
            return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
        x = x << 4 | d;
    }
    h->left = x;
    h->state = SBXI_HTTP1_DATA;
    if (x == 0) {
        h->flags |= SBXI_HTTP1_F_TRAILER;
        h->state = SBXI_HTTP1_REST;
    }
    if (q == p)
        return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
    if (q == s)
        return SBXI_HTTP1_NEXT;
    while (q < s && *q <= ' ')
        q++;
    if (*q != ';')
        return SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK);
    for (; q < s; q++) {
        if (*q == '"')
            quoted = !quoted;
        if (*q == '\\' && quoted)
            q++;
    }
    return quoted ? SBXI_HTTP1_BAD(SBX_HTTP1_BAD_CHUNK) : SBXI_HTTP1_NEXT;
}

static SBXI_ONCE void sbxi_http1_event(sbx_http1_event *ev, const unsigned char *name, size_t name_n, const unsigned char *v,
                             size_t n)
{
    ev->name.p = (const char *)name;
    ev->name.n = name_n;
    ev->value.p = (const char *)v;
    ev->value.n = n;
    ev->more = false;
    ev->trailer = false;
}

/* A field, p..*to, from its beginning (first), to its end or (more) as far as it
   fits; then *to is moved to the end of the value. Of the legal text only
   blanks are <= ' '. */
static int sbxi_http1_field(sbx_http1 *h, const unsigned char *p, const unsigned char **to, bool first, bool more,
                            sbx_http1_event *ev)
{
    const unsigned char *v = p, *c = p, *s = *to;
    if (first) {
        c = sbxi_http1_skip_token(p, s);
        if (c == s && more)
            return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
        if (c == p || *c != ':')
            return *p <= ' ' ? SBXI_HTTP1_BAD(SBX_HTTP1_OBS_FOLD) : SBXI_HTTP1_BAD(SBX_HTTP1_BAD_HEADER);
        if (h->headers_left == 0)
            return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
        h->headers_left--;
        for (v = c + 1; v < s && *v <= ' ';)
            v++;
    }
    while (s > v && s[-1] <= ' ')
        s--;
    if (more && s == v)
        return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    *to = s;
    sbxi_http1_event(ev, p, (size_t)(c - p), v, (size_t)(s - v));
    ev->more = more;
    if (sbxi_http1_skipped(h))
        return SBXI_HTTP1_NEXT;
    ev->trailer = (h->flags & SBXI_HTTP1_F_TRAILER) != 0;
    return ev->trailer ? (int)SBX_HTTP1_HEADER : sbxi_http1_frame(h, ev);
}

/* Takes the line *pp..s, whole or (more) as far as it fits. */
SBXI_HTTP1_ONCE int sbxi_http1_take(sbx_http1 *h, const unsigned char **pp, const unsigned char *s, bool more,
                                     sbx_http1_event *ev)
{
    const unsigned char *p = *pp;
    const unsigned state = h->state;
    int kind = SBXI_HTTP1_NEXT;
    h->scanned = 0;
    *pp = more ? s : s + 2;
    if (state >= SBXI_HTTP1_SIZE)
        return sbxi_http1_chunk(h, p, s);
    h->state = SBXI_HTTP1_REASON;
    if (state == SBXI_HTTP1_STATUS) {
        kind = sbxi_http1_status(h, p);
    } else if (state != SBXI_HTTP1_REASON) {
        if (s == p && state != SBXI_HTTP1_VALUE)
            return sbxi_http1_head_end(h);
        kind = sbxi_http1_field(h, p, &s, state != SBXI_HTTP1_VALUE, more, ev);
        /* Blanks may be the value's end, so they wait. */
        if (more)
            *pp = s;
        h->state = SBXI_HTTP1_VALUE;
    }
    h->head_left -= (uint32_t)(*pp - p);
    if (!more)
        h->state = sbxi_http1_before_line(h);
    return kind;
}

/* One line, whole; or the part of it that fits, where the caller has no room
   for more; or nothing. */
static int sbxi_http1_line(sbx_http1 *h, const unsigned char **pp, const unsigned char *end, bool full,
                           sbx_http1_event *ev)
{
    static const uint8_t bad[] = { SBX_HTTP1_BAD_STATUS_LINE, SBX_HTTP1_BAD_STATUS_LINE, SBX_HTTP1_BAD_HEADER,
                                   SBX_HTTP1_BAD_HEADER, SBX_HTTP1_BAD_HEADER, SBX_HTTP1_BAD_CHUNK,
                                   SBX_HTTP1_BAD_CHUNK };
    const unsigned char *p = *pp, *s;
    const unsigned state = h->state;
    const size_t cap = state < SBXI_HTTP1_SIZE ? h->head_left : SBXI_HTTP1_CHUNK_LINE;
    size_t n = SBXI_MIN((size_t)(end - p), cap);
    end = p + n;
    s = sbxi_http1_skip_text(p + h->scanned, end);
    if ((s < end && *s != '\r') || (end - s > 1 && s[1] != '\n') ||
        (state == SBXI_HTTP1_STATUS && !sbxi_http1_status_ok(p, n)))
        return SBXI_HTTP1_BAD(bad[state]);
    if (end - s < 2) {
        if (n < cap && (!full || n == 0)) {
            h->scanned = (uint32_t)(s - p);
            if (state == SBXI_HTTP1_LINE)
                h->state = SBXI_HTTP1_REST;
            return SBX_HTTP1_MORE;
        }
        if (n == cap || s == p || state >= SBXI_HTTP1_SIZE || (state == SBXI_HTTP1_STATUS && n < 13))
            return SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE);
    }
    return sbxi_http1_take(h, pp, s, end - s < 2, ev);
}

static int sbxi_http1_body(sbx_http1 *h, const unsigned char **pp, const unsigned char *end, sbx_http1_event *ev)
{
    const unsigned char *p = *pp;
    size_t n = (size_t)(end - p);
    if (n == 0)
        return SBX_HTTP1_MORE;
    if (n >= h->left) {
        n = (size_t)h->left;
        h->state = h->state == SBXI_HTTP1_DATA ? SBXI_HTTP1_DATA_END : SBXI_HTTP1_ENDED;
    }
    h->left -= n;
    *pp = p + n;
    sbxi_http1_event(ev, NULL, 0, p, n);
    return SBX_HTTP1_BODY;
}

/* The event of what a step answered. */
static sbx_http1_kind sbxi_http1_answer(sbx_http1 *h, int kind)
{
    if (kind < SBXI_HTTP1_NEXT) {
        h->state = SBXI_HTTP1_FAILED;
        h->error = (uint8_t)(SBXI_HTTP1_NEXT - kind);
        h->keep_alive = false;
        kind = SBX_HTTP1_ERROR;
    }
    return (sbx_http1_kind)kind;
}

static sbx_http1_kind sbxi_http1_final(const sbx_http1 *h)
{
    return (sbx_http1_kind)(h->state - SBXI_HTTP1_ENDED + SBX_HTTP1_DONE);
}

#if !SBX_SMALL
SBXI_NOINLINE
#endif
static sbx_http1_kind sbxi_http1_run(sbx_http1 *h, const char **p, const char *end, bool full, sbx_http1_event *ev)
{
    const unsigned char *at = (const unsigned char *)*p, *to = (const unsigned char *)end;
    int kind;
    /* After a step there is room, or the next call says that there is none. */
    for (;; full = false) {
        if (h->state >= SBXI_HTTP1_ENDED)
            return sbxi_http1_final(h);
        kind = h->state < SBXI_HTTP1_DATA ? sbxi_http1_line(h, &at, to, full, ev) : sbxi_http1_body(h, &at, to, ev);
        *p = (const char *)at;
        if (kind != SBXI_HTTP1_NEXT)
            return sbxi_http1_answer(h, kind);
#if !SBX_SMALL
        /* A head begins: its first line too can take the quick path. */
        if (h->state == SBXI_HTTP1_LINE)
            return sbx_http1_read(h, p, end, false, ev);
#endif
    }
}

#if !SBX_SMALL
/* Takes a whole line with an ordinary name and value of a final head or a 101:
   nearly every line there is. Anything else, bad lines too, is left to the
   general path: false, and nothing but *ev has changed. What is written to *ev
   early and read again frees registers. */
SBXI_INLINE bool sbxi_http1_quick(sbx_http1 *h, const char **pp, const char *last, sbx_http1_event *ev)
{
    const unsigned char *s = (const unsigned char *)*pp, *v, *stop = (const unsigned char *)last;
    if (!sbxi_http1_name16(&s) && (s > stop || !sbxi_http1_name16(&s)))
        return false;
    if ((s[0] | s[1] << 8) != (':' | ' ' << 8)) {
        while (*s != ':') {
            if (s > stop || !SBXI_HTTP1_IS_TOKEN(*s))
                return false;
            s++;
        }
    }
    ev->name.p = *pp;
    ev->name.n = (size_t)((const char *)s - *pp);
    s += s[1] == ' ' ? 2 : 1;
    ev->value.p = (const char *)s;
    do {
        if (s > stop)
            return false;
    } while (!sbxi_http1_text16(&s));
    if ((s[0] | s[1] << 8) != ('\r' | '\n' << 8))
        return false;
    s += 2;
    if ((size_t)((const char *)s - *pp) > h->head_left)
        return false;
    h->head_left -= (uint32_t)((const char *)s - *pp);
    if (--h->headers_left == 0)
        h->state = SBXI_HTTP1_REST;
    *pp = (const char *)s;
    s -= 2;
    v = (const unsigned char *)ev->value.p;
    if (*v <= ' ' || s[-1] <= ' ') {
        while (v < s && *v <= ' ')
            v++;
        while (v < s && s[-1] <= ' ')
            s--;
        ev->value.p = (const char *)v;
    }
    ev->value.n = (size_t)(s - v);
    ev->more = false;
    ev->trailer = false;
    return true;
}

/* The rest of the work for a line that decides framing, and for an empty one. */
SBXI_NOINLINE static sbx_http1_kind sbxi_http1_quick_frame(sbx_http1 *h, const sbx_http1_event *ev)
{
    return sbxi_http1_answer(h, ev->name.n ? sbxi_http1_frame(h, ev) : SBXI_HTTP1_BAD(SBX_HTTP1_BAD_HEADER));
}

SBXI_NOINLINE static sbx_http1_kind sbxi_http1_quick_end(sbx_http1 *h, const char **p)
{
    if (h->head_left < 2)
        return sbxi_http1_answer(h, SBXI_HTTP1_BAD(SBX_HTTP1_TOO_LARGE));
    *p += 2;
    return sbxi_http1_answer(h, sbxi_http1_head_end(h));
}
#endif

SBX_API sbx_http1_kind sbx_http1_read(sbx_http1 *h, const char **p, const char *end, bool full, sbx_http1_event *ev)
{
#if !SBX_SMALL
    if (h->state == SBXI_HTTP1_LINE && end - *p >= 18) {
        /* From here 16 bytes and a CRLF can be read. */
        end -= 18;
        if (sbxi_http1_quick(h, p, end, ev)) {
            /* Lengths of the names that decide framing, and 0. */
            if (ev->name.n < 18 && (0x24401u >> ev->name.n & 1))
                return sbxi_http1_quick_frame(h, ev);
            return SBX_HTTP1_HEADER;
        }
        if ((*p)[0] == '\r' && (*p)[1] == '\n')
            return sbxi_http1_quick_end(h, p);
        end += 18;
    }
#endif
    return sbxi_http1_run(h, p, end, full, ev);
}

SBX_API sbx_http1_kind sbx_http1_eof(sbx_http1 *h)
{
    if (h->state == SBXI_HTTP1_CLOSE)
        h->state = SBXI_HTTP1_ENDED;
    if (h->state < SBXI_HTTP1_ENDED)
        return sbxi_http1_answer(h, SBXI_HTTP1_BAD(SBX_HTTP1_TRUNCATED));
    return sbxi_http1_final(h);
}

SBX_API void sbx_http1_init(sbx_http1 *h, bool head, const sbx_http1_caps *caps)
{
    memset(h, 0, sizeof *h);
    h->length = SBX_HTTP1_UNKNOWN;
    h->head_left = caps && caps->head_bytes ? caps->head_bytes : 65536;
    h->headers_left = caps && caps->headers ? caps->headers : 128;
    h->interim_left = caps && caps->interim ? caps->interim : 8;
    h->flags = (uint8_t)(head * SBXI_HTTP1_F_NO_BODY);
}

SBX_API bool sbx_http1_name_ok(sbx_str name)
{
    const unsigned char *s = (const unsigned char *)name.p;
    return name.n && sbxi_http1_skip_token(s, s + name.n) == s + name.n;
}

SBX_API bool sbx_http1_value_ok(sbx_str value)
{
    const unsigned char *s = (const unsigned char *)value.p;
    return !value.n || sbxi_http1_skip_text(s, s + value.n) == s + value.n;
}

/* ======== src/http1_write.c ======== */
/* ---- http1_write: HTTP/1.1 request head writer ---- */

/* Sets of ASCII characters, bit c % 32 of word c / 32: visible but for '#', and
   what RFC 3986 3.2.2 and 3.2.3 allow in host[:port]. */
static const uint32_t sbxi_http1_write_target[4] = { 0, 0xfffffff6u, 0xffffffffu, 0x7fffffffu };
static const uint32_t sbxi_http1_write_host[4] = { 0, 0x2fff7ff2u, 0xaffffffeu, 0x47fffffeu };

static bool sbxi_http1_write_all_in(sbx_str s, const uint32_t set[4])
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c > 127 || !(set[c >> 5] >> (c & 31) & 1))
            return false;
    }
    return s.n != 0;
}

/* FULL gives way to the other errors: more room would not help. */
static void sbxi_http1_write_check(sbx_http1w *w, bool ok, uint8_t error)
{
    if (!ok && w->error <= SBX_HTTP1W_FULL) {
        w->error = error;
        w->n = 0;
    }
}

static void sbxi_http1_write_put(sbx_http1w *w, const char *p, size_t n)
{
    if (w->error > SBX_HTTP1W_FULL)
        return;
    if (w->error || n > w->cap - w->n)
        w->error = SBX_HTTP1W_FULL;
    else if (n)
        memcpy(w->p + w->n, p, n);
    w->n = sbxi_add(w->n, n);
}

SBX_API void sbx_http1w_request(sbx_http1w *w, char *buf, size_t cap, sbx_str method, sbx_str target, sbx_str host)
{
    w->p = buf;
    w->n = 0;
    w->cap = cap;
    w->error = 0;
    sbxi_http1_write_check(w, sbx_http1_name_ok(method), SBX_HTTP1W_BAD_NAME);
    sbxi_http1_write_check(w, sbxi_http1_write_all_in(target, sbxi_http1_write_target) && target.p[0] == '/',
                           SBX_HTTP1W_BAD_TARGET);
    sbxi_http1_write_check(w, sbxi_http1_write_all_in(host, sbxi_http1_write_host), SBX_HTTP1W_BAD_VALUE);
    sbxi_http1_write_put(w, method.p, method.n);
    sbxi_http1_write_put(w, " ", 1);
    sbxi_http1_write_put(w, target.p, target.n);
    sbxi_http1_write_put(w, " HTTP/1.1\r\n", 11);
    sbx_http1w_header(w, sbx_sn("Host", 4), host);
}

SBX_API void sbx_http1w_header(sbx_http1w *w, sbx_str name, sbx_str value)
{
    sbxi_http1_write_check(w, sbx_http1_name_ok(name), SBX_HTTP1W_BAD_NAME);
    sbxi_http1_write_check(w, sbx_http1_value_ok(value), SBX_HTTP1W_BAD_VALUE);
    sbxi_http1_write_put(w, name.p, name.n);
    sbxi_http1_write_put(w, ": ", 2);
    sbxi_http1_write_put(w, value.p, value.n);
    sbxi_http1_write_put(w, "\r\n", 2);
}

SBX_API void sbx_http1w_header_u64(sbx_http1w *w, sbx_str name, uint64_t value)
{
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value);
    sbx_http1w_header(w, name, sbx_sn(text + at, sizeof text - at));
}

SBX_API void sbx_http1w_end(sbx_http1w *w)
{
    sbxi_http1_write_put(w, "\r\n", 2);
}

SBX_API size_t sbx_http1_chunk(char buf[18], uint64_t size)
{
    char text[18];
    size_t at = 16;
    text[16] = '\r';
    text[17] = '\n';
    do {
        text[--at] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size);
    memcpy(buf, text + at, sizeof text - at);
    return sizeof text - at;
}

/* ======== src/ws.c ======== */
/* ---- ws: WebSocket framing (RFC 6455) ---- */

enum {
    SBXI_WS_HEAD,
    SBXI_WS_PAYLOAD,
    SBXI_WS_DONE /* closed (code 0) or failed */
};

SBX_API void sbx_ws_init(sbx_ws *w, unsigned flags, uint64_t max_message)
{
    memset(w, 0, sizeof *w);
    w->server = flags & SBX_WS_SERVER;
    w->raw_text = flags & SBX_WS_RAW_TEXT;
    w->max_message = max_message ? max_message : UINT64_MAX;
}

/* Bytes of the extended length that this 7-bit length announces. */
static unsigned sbxi_ws_extended(unsigned n)
{
    return n < 126 ? 0 : n == 126 ? 2 : 8;
}

/* The code of a close frame is read as part of the head: its parts begin at 2
   (extended length), mask_from and code_from, it ends at need. These three
   return 0 or the error's code. */
static unsigned sbxi_ws_head_begin(sbx_ws *w, unsigned b0, unsigned b1)
{
    unsigned op = b0 & 15, n = b1 & 127;
    w->left = n < 126 ? n : 0;
    w->mask_from = (uint8_t)(2 + sbxi_ws_extended(n));
    w->code_from = (uint8_t)(w->mask_from + w->server * 4);
    w->need = w->code_from;
    w->code = 0;
    w->total = 0;
    if ((b0 & 0x77) > 2 || b1 >> 7 != w->server) /* 0-2 and 8-10, nothing reserved */
        return 1002;
    if (op & 8) {
        if (n > 125 || b0 < 0x80)
            return 1002;
        if (op == SBX_WS_OP_CLOSE) {
            if (n == 1)
                return 1002;
            w->utf8 = 0; /* an open text message is of no interest any more */
            w->code = 1005;
            if (n)
                w->need = (uint8_t)(w->need + 2);
        }
    } else if (!op == !w->message) {
        return 1002;
    }
    return 0;
}

static unsigned sbxi_ws_head_end(sbx_ws *w)
{
    unsigned op = w->head & 15;
    w->at = 0;
    w->state = SBXI_WS_PAYLOAD;
    w->first = op != SBX_WS_OP_CONT;
    if (op & 8) {
        w->kind = (uint8_t)op;
        if (w->need != w->code_from) {
            w->left -= 2;
            if (!sbx_ws_close_code_ok(w->code))
                return 1002;
        }
        w->total = (uint8_t)w->left;
        return 0;
    }
    if (op)
        w->room = w->max_message;
    w->kind = w->message = (uint8_t)(op | w->message); /* one of them is 0 */
    if (w->mask_from > 2 && (w->left < (w->mask_from == 4 ? 126u : 65536u) || w->left >> 63))
        return 1002;
    if (w->left > w->room)
        return 1009;
    w->room -= w->left;
    return 0;
}

static unsigned sbxi_ws_head_byte(sbx_ws *w, unsigned b)
{
    unsigned i = w->at++, code;
    if (i == 0) {
        w->head = (uint8_t)b;
        return 0;
    }
    if (i == 1) {
        code = sbxi_ws_head_begin(w, w->head, b);
        if (code)
            return code;
    } else if (i < w->mask_from) {
        w->left = w->left << 8 | b;
    } else {
        unsigned char *m = &w->mask[w->mask_at++ & 3];
        if (i < w->code_from)
            *m = (uint8_t)b;
        else
            w->code = (uint16_t)((unsigned)w->code << 8 | (b ^ *m));
    }
    return w->at < w->need ? 0 : sbxi_ws_head_end(w);
}

SBXI_NOINLINE static void sbxi_ws_xor(unsigned char *p, size_t n, const unsigned char mask[4], unsigned at)
{
    size_t i;
#if !SBX_SMALL
    unsigned char key[32];
    for (i = 0; i < 4; i++)
        key[i] = mask[(at + i) & 3];
    memcpy(key + 4, key, 4);
    memcpy(key + 8, key, 8);
    memcpy(key + 16, key, 16);
    for (; n >= 32; n -= 32, p += 32)
        for (i = 0; i < 32; i++)
            p[i] ^= key[i];
    for (; n >= 8; n -= 8, p += 8)
        for (i = 0; i < 8; i++)
            p[i] ^= key[i];
#endif
    for (i = 0; i < n; i++)
        p[i] = (unsigned char)(p[i] ^ mask[at++ & 3]);
}

/* How many bytes are right, one by one after the first that is not, so that
   the events do not depend on how the input was cut. */
static size_t sbxi_ws_text(sbx_ws *w, const char *p, size_t n)
{
    size_t i = 0;
#if !SBX_SMALL
    uint32_t state = w->utf8;
    if (sbxi_utf8(&state, p, n)) {
        w->utf8 = state;
        return n;
    }
#endif
    while (i < n && ((!w->utf8 && !(p[i] & 0x80)) || sbxi_utf8(&w->utf8, p + i, 1)))
        i++;
    return i;
}

/* Takes payload; MORE: no event. */
static sbx_ws_kind sbxi_ws_payload(sbx_ws *w, char **pp, size_t n, sbx_ws_event *ev)
{
    char *p = *pp;
    bool last;
    if (n > w->left)
        n = (size_t)w->left;
    if (w->server) {
        sbxi_ws_xor((unsigned char *)p, n, w->mask, w->mask_at);
        w->mask_at = (uint8_t)(w->mask_at + n);
    }
    w->left -= n;
    last = !w->left && w->head >= 0x80;
    ev->p = p;
    ev->code = w->code;
    ev->total = w->total;
    ev->first = w->first;
    w->first = false;
    if (!w->left)
        w->state = SBXI_WS_HEAD;
    if (last && w->kind == SBX_WS_CLOSE) {
        w->state = SBXI_WS_DONE;
        w->code = 0;
    }
    if (last && w->kind < SBX_WS_CLOSE)
        w->message = 0;
    if (w->kind == SBX_WS_CLOSE || (w->kind == SBX_WS_TEXT && !w->raw_text)) {
        size_t ok = sbxi_ws_text(w, p, n);
        if (ok < n || (last && w->utf8)) {
            if (n && ok == n)
                ok--; /* the last byte is wrong: it leaves a character open */
            n = ok;
            last = false;
            w->state = SBXI_WS_DONE;
            w->code = 1007;
            if (!n)
                return SBX_WS_MORE;
        }
    }
    ev->n = n;
    ev->last = last;
    *pp = p + n;
    return n || ev->first || last ? (sbx_ws_kind)w->kind : SBX_WS_MORE;
}

#if !SBX_SMALL
SBXI_INLINE uint64_t sbxi_ws_word(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

SBXI_INLINE uint64_t sbxi_ws_or32(const unsigned char *p)
{
    return sbxi_ws_word(p) | sbxi_ws_word(p + 8) | sbxi_ws_word(p + 16) | sbxi_ws_word(p + 24);
}

/* For n up to 128: blocks that overlap instead of loops. */
SBXI_INLINE bool sbxi_ws_ascii(const unsigned char *p, size_t n)
{
    uint64_t all = 0;
    if (n >= 32) {
        all = sbxi_ws_or32(p) | sbxi_ws_or32(p + n - 32);
        if (n > 64)
            all |= sbxi_ws_or32(p + 32) | sbxi_ws_or32(p + n - 64);
    } else if (n >= 8) {
        all = sbxi_ws_word(p) | sbxi_ws_word(p + n - 8);
        if (n > 16)
            all |= sbxi_ws_word(p + 8) | sbxi_ws_word(p + n - 16);
    } else {
        while (n)
            all |= p[--n];
    }
    return !(all & 0x8080808080808080u);
}

/* The event of a whole message in one frame; its kind. */
SBXI_INLINE sbx_ws_kind sbxi_ws_whole(unsigned kind, char **pp, unsigned char *p, size_t n, sbx_ws_event *ev)
{
    *pp = (char *)p + n;
    ev->p = (char *)p;
    ev->n = n;
    ev->code = 0;
    ev->total = 0;
    ev->first = true;
    ev->last = true;
    return (sbx_ws_kind)kind;
}

/* A client's frequent case, with nothing to keep: a whole message in one frame
   below 64 KiB, all of it there. MORE: not that case. */
static sbx_ws_kind sbxi_ws_quick(const sbx_ws *w, char **pp, char *end, sbx_ws_event *ev)
{
    unsigned char *p = (unsigned char *)*pp;
    size_t have = (size_t)(end - *pp), n;
    unsigned kind;
    uint32_t busy, utf8 = 0;
    memcpy(&busy, w, sizeof busy); /* state, at, message, server */
    if (busy || have < 4)
        return SBX_WS_MORE;
    kind = p[0] - 0x80u;
    n = p[1];
    p += 2;
    if (n == 126) {
        n = (size_t)(p[0] << 8 | p[1]);
        p += 2;
        if (n < 126)
            return SBX_WS_MORE;
    } else if (n > 125) {
        return SBX_WS_MORE;
    }
    if (kind - 1 > 1 || n > (size_t)(end - (char *)p) || n > w->max_message)
        return SBX_WS_MORE;
    if (kind == SBX_WS_TEXT && !w->raw_text && (!sbxi_utf8(&utf8, (char *)p, n) || utf8))
        return SBX_WS_MORE;
    return sbxi_ws_whole(kind, pp, p, n, ev);
}

SBXI_NOINLINE /* keeps its frame and saved registers out of the quick path */
#endif
static sbx_ws_kind sbxi_ws_step(sbx_ws *w, char **pp, char *end, sbx_ws_event *ev)
{
#if !SBX_SMALL
    sbx_ws_kind quick = sbxi_ws_quick(w, pp, end, ev);
    if (quick != SBX_WS_MORE)
        return quick;
#endif
    while (w->state < SBXI_WS_DONE) {
        sbx_ws_kind kind;
        unsigned code;
        if (w->state == SBXI_WS_PAYLOAD) {
            if (w->left && *pp == end)
                return SBX_WS_MORE;
            kind = sbxi_ws_payload(w, pp, (size_t)(end - *pp), ev);
            if (kind != SBX_WS_MORE)
                return kind;
            continue;
        }
        if (*pp == end)
            return SBX_WS_MORE;
        code = sbxi_ws_head_byte(w, (uint8_t)*(*pp)++);
        if (code) {
            w->code = (uint16_t)code;
            w->state = SBXI_WS_DONE;
        }
    }
    *pp = end;
    ev->n = 0;
    ev->code = w->code;
    return w->code ? SBX_WS_ERROR : SBX_WS_MORE;
}

SBX_API sbx_ws_kind sbx_ws_read(sbx_ws *w, char **pp, char *end, sbx_ws_event *ev)
{
#if !SBX_SMALL
    /* sbxi_ws_quick once more, for what needs neither a call nor a loop. */
    unsigned char *p = (unsigned char *)*pp;
    size_t have = (size_t)(end - *pp);
    uint32_t busy;
    memcpy(&busy, w, sizeof busy);
    if (!busy && have >= 2) {
        unsigned kind = p[0] - 0x80u;
        size_t n = p[1];
        if (kind - 1 <= 1 && n <= 125 && n <= have - 2 && n <= w->max_message &&
            (kind != SBX_WS_TEXT || w->raw_text || sbxi_ws_ascii(p + 2, n)))
            return sbxi_ws_whole(kind, pp, p + 2, n, ev);
    }
#endif
    return sbxi_ws_step(w, pp, end, ev);
}

SBX_API size_t sbx_ws_head(unsigned char buf[SBX_WS_HEAD_MAX], unsigned opcode, bool fin, uint64_t n, const unsigned char mask[4])
{
    unsigned small = n < 126 ? (unsigned)n : n < 65536 ? 126 : 127, k = sbxi_ws_extended(small);
    size_t at = 2 + k;
    buf[0] = (unsigned char)(opcode | (fin ? 128u : 0u));
    buf[1] = (unsigned char)small;
    for (; k; n >>= 8)
        buf[1 + k--] = (unsigned char)n;
    if (mask) {
        buf[1] |= 128;
        memcpy(buf + at, mask, 4);
        at += 4;
    }
    return at;
}

SBX_API void sbx_ws_mask(void *p, size_t n, const unsigned char mask[4], uint64_t at)
{
    sbxi_ws_xor((unsigned char *)p, n, mask, (unsigned)(at & 3));
}

SBX_API bool sbx_ws_close_code_ok(unsigned code)
{
    return (code >= 3000 && code <= 4999) || (code - 1000 <= 14 && !(0x70u >> (code - 1000) & 1));
}

SBX_API size_t sbx_ws_close_payload(unsigned char buf[125], unsigned code, sbx_str reason)
{
    size_t n = reason.n;
    if (!sbx_ws_close_code_ok(code))
        return 0;
    buf[0] = (unsigned char)(code >> 8);
    buf[1] = (unsigned char)code;
    if (n > 123)
        for (n = 123; n && (reason.p[n] & 0xC0) == 0x80; n--) {
        }
    if (n)
        memcpy(buf + 2, reason.p, n);
    return n + 2;
}

SBX_API void sbx_ws_key(char out[24], const unsigned char random[16])
{
    sbxi_base64(out, random, 16);
}

SBX_API void sbx_ws_accept(char out[28], sbx_str key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char hash[20];
    char text[24 + sizeof guid];
    if (key.n - 1 > 23) {
        memset(out, 0, 28);
        return;
    }
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, guid, sizeof guid);
    sbxi_sha1(hash, text, key.n + sizeof guid - 1);
    sbxi_base64(out, hash, sizeof hash);
}

/* ======== src/sse.c ======== */
/* ---- sse: reader of event streams ---- */

#if !SBX_NO_SSE
/* Where the next byte stands. NAME + n: behind n characters of a field's name. */
enum {
    SBXI_SSE_BOM, /* and the two states after it: the first line, perhaps with a byte order mark */
    SBXI_SSE_LINE = SBXI_SSE_BOM + 3,
    SBXI_SSE_LF,   /* behind a CR: an LF belongs to it */
    SBXI_SSE_SKIP, /* in a line of no interest */
    SBXI_SSE_COLON, /* behind a name's colon */
    SBXI_SSE_VALUE,
    SBXI_SSE_NAME
};

enum { SBXI_SSE_HAS_DATA = 1, SBXI_SSE_SEEN = 2, SBXI_SSE_BEGINS = 4, SBXI_SSE_BAD = 8 };

static bool sbxi_sse_ends(char c)
{
    return c == '\n' || c == '\r';
}

/* The line's end from p on, or `end`. Two searches, in steps: of many short lines
   none is searched far for the other end. */
static char *sbxi_sse_scan(char *p, char *end)
{
    while (p != end) {
        size_t n = SBXI_MIN((size_t)(end - p), 1024);
        char *lf = (char *)memchr(p, '\n', n), *cr;

        n = lf ? (size_t)(lf - p) : n;
        cr = (char *)memchr(p, '\r', n);
        if (cr || lf)
            return cr ? cr : lf;
        p += n;
    }
    return p;
}

static void sbxi_sse_line_end(sbx_sse *s, char **p)
{
    s->state = **p == '\r' ? SBXI_SSE_LF : SBXI_SSE_LINE;
    ++*p;
}

/* Behind a field's name. True: the data goes on with a line of its own. */
static bool sbxi_sse_field(sbx_sse *s)
{
    uint8_t before = s->flags;

    s->state = SBXI_SSE_COLON;
    s->retry = 0;
    s->flags &= (uint8_t)~(SBXI_SSE_BEGINS | SBXI_SSE_BAD);
    if (s->field != SBX_SSE_RETRY)
        s->flags |= SBXI_SSE_SEEN;
    if (s->field == SBX_SSE_DATA)
        s->flags |= SBXI_SSE_HAS_DATA;
    if (s->field != SBX_SSE_DATA || !(before & SBXI_SSE_HAS_DATA))
        s->flags |= SBXI_SSE_BEGINS;
    return !(s->flags & SBXI_SSE_BEGINS);
}

/* In a field's name. True: as sbxi_sse_field. */
static bool sbxi_sse_name(sbx_sse *s, char **p, const char *end)
{
    static const char names[][6] = { "event", "data", "id", "retry" };
    const char *from = names[s->field - SBX_SSE_TYPE] + (s->state - SBXI_SSE_NAME), *name = from;
    char *r = *p;

    while (*name && r != end && *r == *name) {
        name++;
        r++;
    }
    *p = r;
    if (r == end) {
        s->state = (uint8_t)(s->state + (name - from));
        return false;
    }
    if (*name || (*r != ':' && !sbxi_sse_ends(*r))) {
        s->state = SBXI_SSE_SKIP;
        return false;
    }
    *p += *r == ':';
    return sbxi_sse_field(s);
}

/* `retry`: the digits up to the line's end. False: there is more to come, or it
   is no number. */
static bool sbxi_sse_retry(sbx_sse *s, char **p, char *to, bool last)
{
    for (; *p != to; ++*p) {
        unsigned digit = (unsigned char)**p - (unsigned)'0';

        if (digit > 9)
            s->flags |= SBXI_SSE_BAD;
        else
            s->retry = s->retry > (UINT32_MAX - digit) / 10 ? UINT32_MAX : s->retry * 10 + digit;
        s->flags &= (uint8_t)~SBXI_SSE_BEGINS;
    }
    return last && !(s->flags & (SBXI_SSE_BEGINS | SBXI_SSE_BAD));
}

/* What the input has of a value; MORE: nothing to be told. */
static sbx_sse_kind sbxi_sse_value(sbx_sse *s, char **p, char *end, sbx_sse_event *ev)
{
    char *from = *p, *to = sbxi_sse_scan(from, end);
    bool last = to != end;
    sbx_sse_kind kind = (sbx_sse_kind)s->field;

    if (kind == SBX_SSE_RETRY) {
        if (!sbxi_sse_retry(s, p, to, last))
            kind = SBX_SSE_MORE;
    } else {
        ev->p = from;
        ev->n = (size_t)(to - from);
        ev->first = s->flags & SBXI_SSE_BEGINS;
        ev->last = last && kind != SBX_SSE_DATA;
        s->flags &= (uint8_t)~SBXI_SSE_BEGINS;
        if (kind == SBX_SSE_ID && ev->n && memchr(from, 0, ev->n))
            s->flags |= SBXI_SSE_BAD;
        ev->bad = ev->last && s->flags & SBXI_SSE_BAD;
        if (!ev->n && !ev->first && !ev->last)
            kind = SBX_SSE_MORE;
    }
    ev->retry_ms = s->retry;
    *p = to;
    if (last)
        sbxi_sse_line_end(s, p);
    return kind;
}

/* The first byte of a line. True: it ends an event. */
static bool sbxi_sse_begin(sbx_sse *s, char **p)
{
    s->state = SBXI_SSE_NAME;
    switch (**p) {
    case 'e': s->field = SBX_SSE_TYPE; return false;
    case 'd': s->field = SBX_SSE_DATA; return false;
    case 'i': s->field = SBX_SSE_ID; return false;
    case 'r': s->field = SBX_SSE_RETRY; return false;
    case '\r':
    case '\n': sbxi_sse_line_end(s, p); return s->flags & SBXI_SSE_SEEN;
    default: s->state = SBXI_SSE_SKIP; return false;
    }
}

SBX_API void sbx_sse_init(sbx_sse *s)
{
    memset(s, 0, sizeof *s);
}

SBX_API void sbx_sse_back(sbx_sse *s)
{
    s->state = SBXI_SSE_VALUE;
}

SBX_API sbx_sse_kind sbx_sse_read(sbx_sse *s, char **p, char *end, sbx_sse_event *ev)
{
    memset(ev, 0, sizeof *ev);
    while (*p != end) {
        sbx_sse_kind kind;

        switch (s->state) {
        case SBXI_SSE_SKIP:
            *p = sbxi_sse_scan(*p, end);
            if (*p != end)
                sbxi_sse_line_end(s, p);
            break;
        case SBXI_SSE_LF:
            s->state = SBXI_SSE_LINE;
            *p += **p == '\n';
            break;
        case SBXI_SSE_COLON:
            s->state = SBXI_SSE_VALUE;
            *p += **p == ' ';
            break;
        case SBXI_SSE_VALUE:
            kind = sbxi_sse_value(s, p, end, ev);
            if (kind != SBX_SSE_MORE)
                return kind;
            break;
        case SBXI_SSE_BOM:
        case SBXI_SSE_BOM + 1:
        case SBXI_SSE_BOM + 2:
            /* What begins like a mark and is none is no known field either. */
            if (**p == "\xEF\xBB\xBF"[s->state]) {
                s->state++;
                ++*p;
                break;
            }
            s->state = s->state == SBXI_SSE_BOM ? SBXI_SSE_LINE : SBXI_SSE_SKIP;
            break;
        case SBXI_SSE_LINE:
            if (sbxi_sse_begin(s, p)) {
                ev->dispatch = s->flags & SBXI_SSE_HAS_DATA;
                s->flags = 0;
                return SBX_SSE_END;
            }
            break;
        default:
            if (sbxi_sse_name(s, p, end)) {
                s->lf = '\n';
                ev->p = &s->lf;
                ev->n = 1;
                return SBX_SSE_DATA;
            }
        }
    }
    return SBX_SSE_MORE;
}
#endif

/* ======== src/yamux.c ======== */
/* ---- yamux: streams over one connection ---- */

enum { SBXI_YAMUX_TYPE_DATA, SBXI_YAMUX_TYPE_WINDOW, SBXI_YAMUX_TYPE_PING, SBXI_YAMUX_TYPE_GOAWAY };
enum { SBXI_YAMUX_SYN = 1, SBXI_YAMUX_ACK = 2, SBXI_YAMUX_FIN = 4, SBXI_YAMUX_RST = 8 };

/* Of a stream. The first two are flags that the next frame has to carry. */
enum {
    SBXI_YAMUX_SYN_DUE = SBXI_YAMUX_SYN,
    SBXI_YAMUX_ACK_DUE = SBXI_YAMUX_ACK,
    SBXI_YAMUX_DUE = SBXI_YAMUX_SYN_DUE | SBXI_YAMUX_ACK_DUE,
    SBXI_YAMUX_FIN_SENT = SBXI_YAMUX_FIN,
    SBXI_YAMUX_FIN_GOT = 8,
    SBXI_YAMUX_ENDED = SBXI_YAMUX_FIN_SENT | SBXI_YAMUX_FIN_GOT,
    SBXI_YAMUX_WAS_RESET = 16,
    SBXI_YAMUX_NOT_ACCEPTED = 32 /* the peer's ACK is outstanding */
};

/* Of a session. */
enum { SBXI_YAMUX_AWAY = 1 /* no new streams of ours */, SBXI_YAMUX_SAID_AWAY = 2, SBXI_YAMUX_PINGED = 4 };

/* Events of the frame being read lie in `todo`, a bit each, and come in the
   order of their numbers. */
#define SBXI_YAMUX_BIT(kind) (1u << (kind))
#define SBXI_YAMUX_UP_TO_DATA (2 * SBXI_YAMUX_BIT(SBX_YAMUX_DATA) - 1)

static uint32_t sbxi_yamux_get(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static SBXI_ONCE size_t sbxi_yamux_put(unsigned char *out, unsigned type, unsigned flags, uint32_t id, uint32_t n)
{
    memset(out, 0, 4);
    out[1] = (unsigned char)type;
    out[3] = (unsigned char)flags;
    for (unsigned i = 8; i > 4; id >>= 8)
        out[--i] = (unsigned char)id;
    for (unsigned i = 12; i > 8; n >>= 8)
        out[--i] = (unsigned char)n;
    return SBX_YAMUX_HEAD;
}

SBX_API void sbx_yamux_init(sbx_yamux *y, bool server, sbx_yamux_stream *streams, uint32_t count, uint32_t window)
{
    memset(y, 0, sizeof *y);
    memset(streams, 0, sizeof *streams * count);
    y->streams = streams;
    y->count = count;
    y->window = window ? window : SBX_YAMUX_INITIAL;
    y->next_id = server ? 2 : 1;
}

/* A stream is looked for from where its id would have it: ids count up, so it
   mostly is there. id 0 finds a free place, for the stream `home`. */
static SBXI_ONCE sbx_yamux_stream *sbxi_yamux_find(const sbx_yamux *y, uint32_t id, uint32_t home)
{
    uint32_t at = (home >> 1) % y->count;

    for (uint32_t i = 0; i < y->count; i++) {
        if (y->streams[at].id == id)
            return &y->streams[at];
        if (++at == y->count)
            at = 0;
    }
    return NULL;
}

static SBXI_ONCE sbx_yamux_stream *sbxi_yamux_take(sbx_yamux *y, uint32_t id, unsigned flags)
{
    sbx_yamux_stream *s = y->flags & SBXI_YAMUX_SAID_AWAY ? NULL : sbxi_yamux_find(y, 0, id);

    if (s) {
        memset(s, 0, sizeof *s);
        s->id = id;
        s->send = s->recv = SBX_YAMUX_INITIAL;
        s->flags = (uint8_t)flags;
    }
    return s;
}

/* ---- reading ---- */

/* A frame to be sent, in the place of the head that was read. */
static SBXI_ONCE sbx_yamux_kind sbxi_yamux_reply(sbx_yamux *y, sbx_yamux_event *ev, sbx_yamux_kind kind, unsigned type, unsigned flags, uint32_t n)
{
    ev->p = (const char *)y->head;
    ev->n = sbxi_yamux_put(y->head, type, flags, type < SBXI_YAMUX_TYPE_PING ? sbxi_yamux_get(y->head + 4) : 0, n);
    return kind;
}

static SBXI_ONCE sbx_yamux_kind sbxi_yamux_bad(sbx_yamux *y, sbx_yamux_event *ev, sbx_yamux_reason reason)
{
    y->reason = (uint8_t)reason;
    y->todo = 0;
    ev->value = reason;
    return sbxi_yamux_reply(y, ev, SBX_YAMUX_ERROR, SBXI_YAMUX_TYPE_GOAWAY, 0, SBX_YAMUX_PROTOCOL);
}

static sbx_yamux_kind sbxi_yamux_session(sbx_yamux *y, sbx_yamux_event *ev, unsigned type, unsigned flags, uint32_t n)
{
    if (type == SBXI_YAMUX_TYPE_GOAWAY) {
        y->flags |= SBXI_YAMUX_AWAY;
        ev->value = n;
        return SBX_YAMUX_GOAWAY;
    }
    if (flags & SBXI_YAMUX_SYN)
        return sbxi_yamux_reply(y, ev, SBX_YAMUX_REPLY, SBXI_YAMUX_TYPE_PING, SBXI_YAMUX_ACK, n);
    if (!(y->flags & SBXI_YAMUX_PINGED) || n != y->ping)
        return SBX_YAMUX_MORE;
    y->flags &= (uint8_t)~SBXI_YAMUX_PINGED;
    return SBX_YAMUX_PONG;
}

/* What a frame does to a stream that is open. MORE: its events are in todo. */
static sbx_yamux_kind sbxi_yamux_apply(sbx_yamux *y, sbx_yamux_stream *s, sbx_yamux_event *ev, unsigned type, unsigned flags, uint32_t n)
{
    unsigned todo = 0;

    if (flags & SBXI_YAMUX_ACK && s->flags & SBXI_YAMUX_NOT_ACCEPTED) {
        s->flags &= (uint8_t)~SBXI_YAMUX_NOT_ACCEPTED;
        todo = SBXI_YAMUX_BIT(SBX_YAMUX_ACCEPTED);
    }
    if (type == SBXI_YAMUX_TYPE_WINDOW) {
        if (n > UINT32_MAX - s->send)
            return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_DELTA);
        s->send += n;
        if (n)
            todo |= SBXI_YAMUX_BIT(SBX_YAMUX_WINDOW);
    } else if (n > s->recv) {
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_LENGTH);
    }
    if (s->flags & SBXI_YAMUX_FIN_GOT && (flags & SBXI_YAMUX_FIN || (type == SBXI_YAMUX_TYPE_DATA && n)))
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_FIN);
    if (flags & SBXI_YAMUX_FIN) {
        s->flags |= SBXI_YAMUX_FIN_GOT;
        todo |= SBXI_YAMUX_BIT(SBX_YAMUX_EOF);
    }
    if (flags & SBXI_YAMUX_RST) {
        s->flags |= SBXI_YAMUX_WAS_RESET;
        todo = SBXI_YAMUX_BIT(SBX_YAMUX_RESET); /* what the frame carries is skipped */
    }
    y->todo |= (uint8_t)todo;
    return SBX_YAMUX_MORE;
}

static sbx_yamux_kind sbxi_yamux_frame(sbx_yamux *y, sbx_yamux_event *ev, unsigned type, unsigned flags, uint32_t id, uint32_t n)
{
    sbx_yamux_stream *s = sbxi_yamux_find(y, id, id);
    bool ours = !((id ^ y->next_id) & 1), syn = flags & SBXI_YAMUX_SYN;

    if (ours && (syn || id >= y->next_id))
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_ID);
    if (s && syn)
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_SYN);
    y->left = type == SBXI_YAMUX_TYPE_DATA ? n : 0;
    y->todo = y->left ? SBXI_YAMUX_BIT(SBX_YAMUX_DATA) : 0;
    y->current = NULL;
    if (syn) {
        s = sbxi_yamux_take(y, id, SBXI_YAMUX_ACK_DUE);
        if (s)
            y->todo |= SBXI_YAMUX_BIT(SBX_YAMUX_OPENED);
    }
    if (s && !(s->flags & SBXI_YAMUX_WAS_RESET)) {
        y->current = s;
        return sbxi_yamux_apply(y, s, ev, type, flags, n);
    }
    /* Nobody was ever given more than this. */
    if (y->left > SBXI_MAX(y->window, SBX_YAMUX_INITIAL))
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_LENGTH);
    return syn && !(flags & SBXI_YAMUX_RST) ? sbxi_yamux_reply(y, ev, SBX_YAMUX_REPLY, SBXI_YAMUX_TYPE_WINDOW, SBXI_YAMUX_RST, 0) : SBX_YAMUX_MORE;
}

/* The head is complete. */
static sbx_yamux_kind sbxi_yamux_head(sbx_yamux *y, sbx_yamux_event *ev)
{
    unsigned type = y->head[1], flags = y->head[3];
    uint32_t id = sbxi_yamux_get(y->head + 4), n = sbxi_yamux_get(y->head + 8);

    y->at = 0;
    if (y->head[0])
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_VERSION);
    if (type > SBXI_YAMUX_TYPE_GOAWAY)
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_TYPE);
    if ((type < SBXI_YAMUX_TYPE_PING) == !id)
        return sbxi_yamux_bad(y, ev, SBX_YAMUX_BAD_ID);
    return type < SBXI_YAMUX_TYPE_PING ? sbxi_yamux_frame(y, ev, type, flags, id, n) : sbxi_yamux_session(y, ev, type, flags, n);
}

/* The next event of the frame being read; MORE: it has none that needs no more
   input. */
static sbx_yamux_kind sbxi_yamux_next(sbx_yamux *y, const char **p, const char *end, sbx_yamux_event *ev)
{
    sbx_yamux_stream *s = y->current;
    unsigned kind = SBX_YAMUX_OPENED;
    size_t n;

    while (!(y->todo & SBXI_YAMUX_BIT(kind)))
        kind++;
    if (kind != SBX_YAMUX_DATA) {
        ev->stream = s;
        y->todo &= (uint8_t)~SBXI_YAMUX_BIT(kind);
        if (kind == SBX_YAMUX_WINDOW)
            ev->value = sbxi_yamux_get(y->head + 8);
        return (sbx_yamux_kind)kind;
    }
    n = SBXI_MIN((size_t)(end - *p), y->left);
    *p += n;
    y->left -= (uint32_t)n;
    if (!y->left)
        y->todo &= (uint8_t)~SBXI_YAMUX_BIT(SBX_YAMUX_DATA);
    if (!s || !n || s->flags & SBXI_YAMUX_WAS_RESET)
        return SBX_YAMUX_MORE;
    ev->stream = s;
    ev->p = *p - n;
    ev->n = n;
    s->recv -= (uint32_t)n;
    s->held += (uint32_t)n;
    return SBX_YAMUX_DATA;
}

SBX_API sbx_yamux_kind sbx_yamux_read(sbx_yamux *y, const char **p, const char *end, sbx_yamux_event *ev)
{
    memset(ev, 0, sizeof *ev);
    while (!y->reason) {
        sbx_yamux_kind kind = SBX_YAMUX_MORE;
        size_t n;

        if (y->todo) {
            kind = sbxi_yamux_next(y, p, end, ev);
        } else if (*p != end) {
            n = SBXI_MIN((size_t)(end - *p), (size_t)(SBX_YAMUX_HEAD - y->at));
            memcpy(y->head + y->at, *p, n);
            *p += n;
            y->at = (uint8_t)(y->at + n);
            if (y->at == SBX_YAMUX_HEAD)
                kind = sbxi_yamux_head(y, ev);
        }
        if (kind == SBX_YAMUX_ERROR)
            *p = end;
        if (kind != SBX_YAMUX_MORE)
            return kind;
        /* Only the payload, and what stands behind it, needs input. */
        if (*p == end && (!y->todo || (y->todo & SBXI_YAMUX_UP_TO_DATA) == SBXI_YAMUX_BIT(SBX_YAMUX_DATA)))
            return SBX_YAMUX_MORE;
    }
    *p = end;
    ev->value = y->reason;
    return SBX_YAMUX_ERROR;
}

/* ---- writing ---- */

SBX_API sbx_yamux_stream *sbx_yamux_open(sbx_yamux *y)
{
    uint32_t id = y->next_id;
    sbx_yamux_stream *s = y->flags & SBXI_YAMUX_AWAY || y->reason || id > UINT32_MAX - 2 ? NULL : sbxi_yamux_take(y, id, SBXI_YAMUX_SYN_DUE | SBXI_YAMUX_NOT_ACCEPTED);

    if (s)
        y->next_id += 2;
    return s;
}

SBX_API uint32_t sbx_yamux_sendable(const sbx_yamux_stream *s)
{
    return s->flags & (SBXI_YAMUX_FIN_SENT | SBXI_YAMUX_WAS_RESET) ? 0 : s->send;
}

/* A frame of a stream, unless it would say nothing. */
static SBXI_ONCE size_t sbxi_yamux_say(sbx_yamux_stream *s, unsigned type, unsigned flags, uint32_t n, unsigned char *out)
{
    flags |= s->flags & SBXI_YAMUX_DUE;
    if (s->flags & SBXI_YAMUX_WAS_RESET || !(n || flags))
        return 0;
    s->flags &= (uint8_t)~SBXI_YAMUX_DUE;
    return sbxi_yamux_put(out, type, flags, s->id, n);
}

SBX_API size_t sbx_yamux_data(sbx_yamux_stream *s, size_t *n, unsigned char out[SBX_YAMUX_HEAD])
{
    uint32_t take = (uint32_t)SBXI_MIN(*n, sbx_yamux_sendable(s));

    *n = take;
    s->send -= take;
    return take ? sbxi_yamux_say(s, SBXI_YAMUX_TYPE_DATA, 0, take, out) : 0;
}

SBX_API size_t sbx_yamux_end(sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD])
{
    unsigned flags = ~s->flags & SBXI_YAMUX_FIN;

    s->flags |= (uint8_t)flags; /* SBXI_YAMUX_FIN_SENT is the same bit */
    return flags ? sbxi_yamux_say(s, SBXI_YAMUX_TYPE_WINDOW, flags, 0, out) : 0;
}

SBX_API void sbx_yamux_consumed(sbx_yamux_stream *s, size_t n)
{
    s->held -= (uint32_t)SBXI_MIN(n, s->held);
}

SBX_API size_t sbx_yamux_update(const sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD])
{
    uint32_t used = s->held + s->recv, delta = used < y->window ? y->window - used : 0;

    if (s->flags & SBXI_YAMUX_FIN_GOT || delta < y->window / 2)
        delta = 0;
    s->recv += delta;
    return sbxi_yamux_say(s, SBXI_YAMUX_TYPE_WINDOW, 0, delta, out);
}

SBX_API size_t sbx_yamux_drop(sbx_yamux *y, sbx_yamux_stream *s, unsigned char out[SBX_YAMUX_HEAD])
{
    uint32_t id = s->id;
    unsigned over = s->flags & (SBXI_YAMUX_SYN_DUE | SBXI_YAMUX_WAS_RESET);
    bool ended = (s->flags & SBXI_YAMUX_ENDED) == SBXI_YAMUX_ENDED;

    if (y->current == s) {
        y->current = NULL;
        y->todo &= SBXI_YAMUX_BIT(SBX_YAMUX_DATA); /* the rest of its frame is skipped */
    }
    memset(s, 0, sizeof *s);
    return over || ended ? 0 : sbxi_yamux_put(out, SBXI_YAMUX_TYPE_WINDOW, SBXI_YAMUX_RST, id, 0);
}

SBX_API size_t sbx_yamux_ping(sbx_yamux *y, unsigned char out[SBX_YAMUX_HEAD])
{
    y->flags |= SBXI_YAMUX_PINGED;
    return sbxi_yamux_put(out, SBXI_YAMUX_TYPE_PING, SBXI_YAMUX_SYN, 0, ++y->ping);
}

SBX_API size_t sbx_yamux_goaway(sbx_yamux *y, sbx_yamux_code code, unsigned char out[SBX_YAMUX_HEAD])
{
    y->flags |= SBXI_YAMUX_AWAY | SBXI_YAMUX_SAID_AWAY;
    return sbxi_yamux_put(out, SBXI_YAMUX_TYPE_GOAWAY, 0, 0, code);
}

SBX_API const char *sbx_yamux_reason_text(uint32_t reason)
{
#if SBX_NO_ERROR_TEXT
    (void)reason;
    return "";
#else
    static const char *const texts[] = {
        "no error", "an unknown protocol version", "an unknown frame type", "a stream id that cannot be", "a stream that is open was opened again",
        "data or a second end behind a stream's end", "more data than the stream's window allows", "a window above 2^32-1"
    };

    return texts[reason <= SBX_YAMUX_BAD_DELTA ? reason : 0];
#endif
}

/* ======== src/model.h ======== */
/* ---- model: field tables, JSON to structs and structs to JSON (private) ---- */
#ifndef SBXI_MODEL_H
#define SBXI_MODEL_H

/* ---- answers: JSON to struct ---- */

typedef enum sbxi_field_kind {
    SBXI_F_TEXT,  /* char[cap], cut at a character border when longer */
    SBXI_F_ID,    /* char[cap], longer = too_large */
    SBXI_F_I64,   /* int64_t; null leaves what it was before */
    SBXI_F_INT,   /* int */
    SBXI_F_BOOL,  /* bool */
    SBXI_F_TRI,   /* sbx_tri */
    SBXI_F_TIME,  /* RFC 3339 text to Unix ms */
    SBXI_F_SINK,  /* sbxi_sink, given by the caller before decoding */
    SBXI_F_WORDS, /* char[cap] of the last item of the first array of that name */
    SBXI_F_TEXTS, /* char[cap] of every value of that name, in a row (any_depth) */
    SBXI_F_SKIP,  /* known and of no interest: its place in the order is */
    SBXI_F_LIST   /* the array whose objects are items of model->item */
} sbxi_field_kind;

typedef struct sbxi_field {
    const char *name;
#if SBX_SMALL /* what does not fit is a compiler's warning */
    unsigned name_n : 5, kind : 4, off : 12, cap : 11;
#else
    uint8_t name_n;
    uint8_t kind;
    uint16_t off;
    uint16_t cap;
#endif
} sbxi_field;

#define SBXI_FIELD(name, kind, type, member) \
    { name, sizeof(name) - 1, kind, (uint16_t)offsetof(type, member), (uint16_t)sizeof(((type *)0)->member) }

/* Of a member that comes twice in one object the last value that fits its kind
   counts, as to any JSON parser; of lists the first, for its items are out.
   Of what is missing all is zero, but for numbers that are -1 then: those of
   `minus` bytes from `minus_off` on, members that stand together. */
typedef struct sbxi_model {
    const sbxi_field *fields;
    unsigned count : 8;
    unsigned any_depth : 1; /* names match in nested objects too, the first value wins (error bodies) */
    unsigned minus : 7;
    unsigned size : 16;     /* of the struct */
    uint16_t minus_off;
    uint16_t cut_off;       /* offset of a bool that is set when a text was cut, 0 = none */
    const struct sbxi_model *item; /* of SBXI_F_LIST */
} sbxi_model;

/* first, last: the members that are -1. */
#define SBXI_MINUS(type, first, last) offsetof(type, last) + sizeof(((type *)0)->last) - offsetof(type, first), sizeof(type), (uint16_t)offsetof(type, first)
#define SBXI_NO_MINUS(type) 0, sizeof(type), 0

/* Where bytes without bound are collected: the caller's buffer, or memory of
   the client's allocator that doubles up to a cap. What has no room is only
   counted, so the bytes stored follow from the total. */
typedef struct sbxi_sink {
    char *p;
    size_t cap;
    uint64_t total;
} sbxi_sink;

SBXI_FN SBXI_ONCE size_t sbxi_sink_n(const sbxi_sink *s);

/* grow: the client's allocator, NULL = a fixed buffer. A buffer that grew has
   room for a NUL behind its bytes. False: the allocator refused. */
SBXI_FN bool sbxi_sink_put(sbxi_sink *s, const sbx_client_desc *grow, const char *p, size_t n);

typedef enum sbxi_dec_result {
    SBXI_DEC_MORE,
    SBXI_DEC_ITEM, /* an item is complete in `item` */
    SBXI_DEC_DONE,
    SBXI_DEC_ERROR
} sbxi_dec_result;

typedef struct sbxi_dec {
    sbx_json json;
    const sbxi_model *model; /* of the object being filled: the root's or its items' */
    const sbxi_model *root;
    char *out, *item;        /* root struct, item struct */
    uint16_t at;             /* bytes of the current text stored; of a sink's: 1 */
    int8_t field;            /* current field, -1 = skip */
    uint8_t guess;           /* the field that is likely to come next */
    uint8_t depth;           /* of the keys that are looked up */
    uint8_t words_depth;
    uint8_t key_n;
    bool in_list, listed, too_large, no_memory;
    const sbx_client_desc *grow; /* for sinks that grow */
    char key[32];            /* a key or short value cut by the end of input */
} sbxi_dec;

SBXI_FN void sbxi_dec_init(sbxi_dec *d, const sbxi_model *m, void *out, void *item);
SBXI_FN sbxi_dec_result sbxi_dec_run(sbxi_dec *d, char **p, char *end);
SBXI_FN sbxi_dec_result sbxi_dec_end(sbxi_dec *d);
/* Copies s into a field of cap bytes with its NUL, cut at a character border;
   false = cut. */
SBXI_FN bool sbxi_copy_text(char *dst, size_t cap, sbx_str s);
SBXI_FN SBXI_ONCE bool sbxi_copy_z(char *dst, size_t cap, const char *z);

/* ---- requests: options struct to JSON or to a query ---- */

typedef enum sbxi_param_kind {
    SBXI_P_STR,      /* sbx_str, left out when p is NULL */
    SBXI_P_RAW,      /* sbx_str of JSON */
    SBXI_P_BASE64,   /* sbx_str of any bytes */
    SBXI_P_I64,      /* int64_t, left out at 0; negative refused */
    SBXI_P_INT,      /* int32_t, likewise */
    SBXI_P_COUNT,    /* int32_t, likewise; SBX_NONE = 0 on the wire */
    SBXI_P_TTL,      /* int32_t seconds, multiple of 60; SBX_NONE = 0 on the wire */
    SBXI_P_SECONDS,  /* int32_t, arg = SBXI_ARG(default); SBX_NONE = 0 on the wire */
    SBXI_P_LIFE,     /* int32_t, likewise; SBX_NONE = -1 on the wire */
    SBXI_P_BOOL,     /* bool, left out when false */
    SBXI_P_FLAG,     /* bool, always there */
    SBXI_P_NOT,      /* bool, its opposite, always there */
    SBXI_P_TRI,
    SBXI_P_PAIRS,    /* const sbx_pair *, size_t: an object */
    SBXI_P_STRS,     /* const sbx_str *, size_t: an array; in a query repeated */
    SBXI_P_ARGV,     /* likewise; its texts may be empty */
    SBXI_P_OBJECT,   /* a nested struct with its own table, left out when empty */
    SBXI_P_PART,     /* likewise; its `sub` is a shape, as of the next two */
    SBXI_P_REF,      /* const T *: left out when NULL */
    SBXI_P_LIST,     /* const T *, size_t: an array of objects */
    SBXI_P_OWN,      /* sbx_str that the shape itself writes: only whether it is given */
    SBXI_P_FILLED = 32, /* with a text: must not be blank */
    SBXI_P_NEED = 64,   /* with any of them: must be given, a text not blank */
    SBXI_P_ALWAYS = 128 /* with any of them: written also when it is not given (REF and LIST empty) */
} sbxi_param_kind;

typedef struct sbxi_param {
    const char *name;    /* on the wire */
#if !SBX_NO_ERROR_TEXT
    const char *option;  /* in the options struct, for errors */
#endif
    /* clear: bit of clear_mask that sends null. arg: of SECONDS and LIFE the
       default in units of 30 s, of others whether 30 days is the most. What
       does not fit is a compiler's warning. */
    unsigned kind : 8, clear : 4, off : 12, arg : 8;
    const struct sbxi_schema *sub;
} sbxi_param;

#if SBX_NO_ERROR_TEXT
#define SBXI_OPTION(p) ((p)->name)
#define SBXI_PARAM_NAMES(name, option) name
#else
#define SBXI_OPTION(p) ((p)->option)
#define SBXI_PARAM_NAMES(name, option) name, option
#endif

/* `arg` of so many seconds. */
#define SBXI_ARG(seconds) ((seconds) == 2592000 ? 1u : (seconds) / 30u)

typedef struct sbxi_schema {
    const sbxi_param *params;
    uint8_t count;
    uint16_t clear_off;  /* offset of clear_mask, 0 = none */
} sbxi_schema;

/* A struct that is more than its members. */
typedef struct sbxi_shape {
    sbxi_schema schema;
    uint16_t size;
    /* Checks it as a whole and writes members of its own, before the others.
       NULL, or the option inside it that is refused ("" = all of it). */
    const char *(*begin)(sbx_jsonw *w, const void *at, const char **why);
} sbxi_shape;

/* What was refused: `option` as the caller knows it, mounts[2].s3.bucket. */
typedef struct sbxi_bad {
    const char *why;
#if !SBX_NO_ERROR_TEXT
    char option[sizeof(((sbx_error *)0)->field)];
#endif
} sbxi_bad;

#if SBX_NO_ERROR_TEXT
#define SBXI_BAD_OPTION(bad) NULL
#else
#define SBXI_BAD_OPTION(bad) ((bad)->option)
#endif

/* The options as members of an object that is open already. False: *bad says
   which one was refused and what is allowed. */
SBXI_FN SBXI_ONCE bool sbxi_encode(sbx_jsonw *w, const sbxi_schema *s, const void *opts, sbxi_bad *bad);
/* Without what is blank at both ends. */
SBXI_FN sbx_str sbxi_trim(sbx_str s);
/* A text of the caller's; NULL, or why it is refused. */
SBXI_FN const char *sbxi_text_put(sbx_jsonw *w, sbx_str s);
/* Whether any of a struct's members is given. */
SBXI_FN bool sbxi_given(const sbxi_schema *s, const void *at);
SBXI_FN const char *sbxi_encode_query(char *p, size_t cap, size_t *n, const sbxi_schema *s, const void *opts, const char **why);
/* Whether text is one well-formed JSON value. */
SBXI_FN bool sbxi_json_ok(sbx_str text);

#endif

/* ======== src/model.c ======== */

SBXI_FN bool sbxi_copy_text(char *dst, size_t cap, sbx_str s)
{
    size_t n = s.n;

    if (n >= cap)
        n = sbxi_utf8_cut(s.p, cap - 1);
    if (n)
        memcpy(dst, s.p, n);
    dst[n] = 0;
    return n == s.n;
}

SBXI_FN SBXI_ONCE size_t sbxi_sink_n(const sbxi_sink *s)
{
    return (size_t)SBXI_MIN(s->total, s->cap);
}

SBXI_FN SBXI_ONCE bool sbxi_copy_z(char *dst, size_t cap, const char *z)
{
    return sbxi_copy_text(dst, cap, sbx_s(z));
}

static void sbxi_model_preset(const sbxi_model *m, void *out)
{
    memset(out, 0, m->size);
    memset((char *)out + m->minus_off, 0xFF, m->minus); /* -1 of any width */
}

/* Memory that holds n bytes and a NUL: a power of two. */
static SBXI_ONCE size_t sbxi_sink_room(size_t n)
{
    size_t room = 1024;

    while (room <= n)
        room = sbxi_add(room, room);
    return room;
}

SBXI_FN bool sbxi_sink_put(sbxi_sink *s, const sbx_client_desc *grow, const char *p, size_t n)
{
    size_t at = sbxi_sink_n(s), take = SBXI_MIN(n, s->cap - at);

    if (!SBX_NO_ALLOC && grow && (!s->p || sbxi_sink_room(at + take) != sbxi_sink_room(at))) {
        void *grown = grow->resize(grow->resize_user, s->p, sbxi_sink_room(at + take));

        if (!grown)
            return false;
        s->p = (char *)grown;
    }
    s->total += n;
    if (take)
        memcpy(s->p + at, p, take);
    return true;
}

SBXI_FN void sbxi_dec_init(sbxi_dec *d, const sbxi_model *m, void *out, void *item)
{
    memset(d, 0, sizeof *d);
    sbx_json_init(&d->json, 0);
    d->model = d->root = m;
    d->out = (char *)out;
    d->item = (char *)item;
    d->depth = 1;
    d->field = -1;
    sbxi_model_preset(m, out);
}

/* Servers write fields in a fixed order, mostly the table's: the one behind
   the last hit is tried first. */
static int8_t sbxi_dec_match(sbxi_dec *d, const char *p, size_t n)
{
    const sbxi_model *m = d->model;

    for (unsigned i = 0, at = SBX_SMALL ? 0 : d->guess; i < m->count; i++) {
        const sbxi_field *f;

        if (at >= m->count)
            at = 0;
        f = &m->fields[at];
        if (f->name_n == n && sbxi_json_same(f->name, p, n)) {
            d->guess = (uint8_t)(at + 1);
            return (int8_t)at;
        }
        at++;
    }
    return -1;
}

/* A key that the input cut, put together. One longer than any of ours fills the
   buffer and matches none. */
static void sbxi_dec_cut_key(sbxi_dec *d, const sbx_json_tok *t)
{
    size_t n = SBXI_MIN(t->n, sizeof d->key - d->key_n);

    memcpy(d->key + d->key_n, t->p, n);
    d->key_n = (uint8_t)(d->key_n + n);
    if (t->more)
        return;
    d->field = d->key_n < sizeof d->key ? sbxi_dec_match(d, d->key, d->key_n) : (int8_t)-1;
    d->key_n = 0;
}

static void sbxi_dec_key(sbxi_dec *d, const sbx_json_tok *t)
{
    const sbxi_field *f = &d->model->fields[d->guess];

    d->at = 0;
    if (t->more || d->key_n)
        sbxi_dec_cut_key(d, t);
    else if (!SBX_SMALL && d->guess < d->model->count && f->name_n == t->n && sbxi_json_same(f->name, t->p, t->n))
        d->field = (int8_t)d->guess++;
    else
        d->field = sbxi_dec_match(d, t->p, t->n);
}

static char *sbxi_dec_struct(sbxi_dec *d)
{
    return d->in_list ? d->item : d->out;
}

static void sbxi_dec_cut(sbxi_dec *d, const sbxi_field *f)
{
    if (f->kind == SBXI_F_ID)
        d->too_large = true;
    else if (d->model->cut_off)
        *(bool *)(sbxi_dec_struct(d) + d->model->cut_off) = true;
}

static void sbxi_dec_text(sbxi_dec *d, const sbxi_field *f, const sbx_json_tok *t)
{
    char *dst = sbxi_dec_struct(d) + f->off;
    size_t n = t->n, room;

    if (d->model->any_depth && d->at == 0 && dst[0] && f->kind != SBXI_F_WORDS) {
        if (f->kind != SBXI_F_TEXTS) {
            d->field = -1; /* the first value wins */
            return;
        }
        d->at = (uint16_t)strlen(dst);
        if (d->at + 2 < f->cap) {
            memcpy(dst + d->at, "; ", 2);
            d->at = (uint16_t)(d->at + 2);
        }
    }
    room = (size_t)f->cap - 1 - d->at;
    if (n > room) {
        n = sbxi_utf8_cut(t->p, room);
        sbxi_dec_cut(d, f);
        if (f->kind == SBXI_F_ID) /* a part of one names something else */
            d->at = (uint16_t)(n = 0);
    }
    if (n)
        memcpy(dst + d->at, t->p, n);
    d->at = (uint16_t)(d->at + n);
    dst[d->at] = 0;
    if (n < t->n)
        d->field = -1;
}

/* An integer as the tokenizer passed it. Up to 18 digits cannot overflow. */
static bool sbxi_dec_integer(const char *p, size_t n, int64_t *v)
{
    uint64_t u = 0;
    size_t i = 0;

    for (; !SBX_SMALL && i < n && i < 18; i++) {
        unsigned digit = (unsigned)(unsigned char)p[i] - '0';

        if (digit > 9)
            break;
        u = u * 10 + digit;
    }
    *v = (int64_t)u;
    return (n && i == n) || sbx_json_i64(sbx_sn(p, n), v);
}

/* Numbers and times are short: cut ones are put together in `key`. NULL while
   more has to come or when it is longer than any value that we take. */
static const char *sbxi_dec_put_together(sbxi_dec *d, const sbx_json_tok *t, size_t *n)
{
    *n = SBXI_MIN(t->n, sizeof d->key - d->key_n);
    memcpy(d->key + d->key_n, t->p, *n);
    *n += d->key_n;
    d->key_n = (uint8_t)*n;
    if (t->more)
        return NULL;
    d->key_n = 0;
    return *n < sizeof d->key ? d->key : NULL;
}

/* The common case: a text that lies whole in the input and fits. */
static bool sbxi_dec_whole_text(sbxi_dec *d, const sbxi_field *f, const sbx_json_tok *t)
{
    char *dst;

    if (t->more || d->at || t->n >= f->cap || d->model->any_depth)
        return false;
    dst = sbxi_dec_struct(d) + f->off;
    memcpy(dst, t->p, t->n);
    dst[t->n] = 0;
    return true;
}

static const char *sbxi_dec_short(sbxi_dec *d, const sbx_json_tok *t, size_t *n)
{
    *n = t->n;
    return t->more || d->key_n ? sbxi_dec_put_together(d, t, n) : t->p;
}

static void sbxi_dec_scalar(sbxi_dec *d, const sbxi_field *f, const sbx_json_tok *t)
{
    char *dst = sbxi_dec_struct(d) + f->off;
    bool is_text = t->kind == SBX_JSON_STRING;
    const char *p;
    size_t n;
    int64_t v;

    switch (f->kind) {
    case SBXI_F_TEXT:
    case SBXI_F_ID:
    case SBXI_F_WORDS:
    case SBXI_F_TEXTS:
        if (is_text)
            sbxi_dec_text(d, f, t);
        return;
    case SBXI_F_SINK:
        if (!is_text)
            return;
        if (!d->at) /* the value begins; one that came before it does not count */
            ((sbxi_sink *)(void *)dst)->total = 0;
        d->at = 1;
        if (!sbxi_sink_put((sbxi_sink *)(void *)dst, d->grow, t->p, t->n))
            d->no_memory = true;
        return;
    case SBXI_F_I64:
    case SBXI_F_INT:
        if (t->kind != SBX_JSON_NUMBER || !(p = sbxi_dec_short(d, t, &n)) || !sbxi_dec_integer(p, n, &v))
            return;
        if (f->kind == SBXI_F_I64)
            *(int64_t *)(void *)dst = v;
        else
            *(int *)(void *)dst = (int)SBXI_MAX(INT32_MIN, SBXI_MIN(INT32_MAX, v));
        return;
    case SBXI_F_TIME:
        if (is_text && (p = sbxi_dec_short(d, t, &n)) && sbxi_rfc3339(sbx_sn(p, n), &v))
            *(int64_t *)(void *)dst = v;
        return;
    case SBXI_F_BOOL:
        *(bool *)dst = t->kind == SBX_JSON_TRUE;
        return;
    case SBXI_F_TRI:
        *(sbx_tri *)(void *)dst = t->kind == SBX_JSON_TRUE ? SBX_TRI_YES : t->kind == SBX_JSON_FALSE ? SBX_TRI_NO : SBX_TRI_UNSET;
        return;
    default:
        return;
    }
}

static void sbxi_dec_open(sbxi_dec *d, const sbx_json_tok *t)
{
    const sbxi_field *f = d->field >= 0 ? &d->model->fields[d->field] : NULL;

    if (t->kind == SBX_JSON_ARRAY && f && f->kind == SBXI_F_LIST && !d->in_list && !d->listed && t->depth == 1) {
        d->in_list = true;
        d->listed = true; /* newer servers send the same items under two names */
        d->depth = 3;
        d->model = d->root->item;
        d->guess = 0;
    } else if (t->kind == SBX_JSON_ARRAY && f && f->kind == SBXI_F_WORDS && !d->words_depth) {
        d->words_depth = (uint8_t)(t->depth + 1);
        return;
    } else if (d->in_list && t->depth == 2 && t->kind == SBX_JSON_OBJECT) {
        sbxi_model_preset(d->model, d->item);
        d->guess = 0;
    }
    if (!d->words_depth || t->depth >= d->words_depth)
        d->field = -1;
}

/* True when an item is complete. */
static bool sbxi_dec_close(sbxi_dec *d, const sbx_json_tok *t)
{
    if (d->words_depth && t->depth < d->words_depth && t->kind == SBX_JSON_ARRAY_END) {
        d->words_depth = UINT8_MAX; /* only the first one is of interest */
        d->field = -1;
    }
    if (!d->in_list)
        return false;
    if (t->depth == 1 && t->kind == SBX_JSON_ARRAY_END) {
        d->in_list = false;
        d->depth = 1;
        d->model = d->root;
        d->guess = 0;
        return false;
    }
    return t->depth == 2 && t->kind == SBX_JSON_OBJECT_END;
}

static void sbxi_dec_value(sbxi_dec *d, const sbx_json_tok *t)
{
    const sbxi_field *f;

    if (d->field < 0)
        return;
    f = &d->model->fields[d->field];
    if (f->kind == SBXI_F_WORDS) {
        if (d->words_depth != t->depth)
            return;
        if (t->kind != SBX_JSON_STRING && t->kind != SBX_JSON_NUMBER)
            return;
        sbxi_dec_text(d, f, t);
        if (!t->more)
            d->at = 0;
        return;
    }
    if (SBX_SMALL || t->kind != SBX_JSON_STRING || f->kind > SBXI_F_ID || !sbxi_dec_whole_text(d, f, t))
        sbxi_dec_scalar(d, f, t);
    if (!t->more)
        d->field = -1;
}

#if !SBX_SMALL
/* Copies n bytes that do not overlap: blocks, of which the last two may. */
static void sbxi_dec_copy(char *dst, const char *src, size_t n)
{
    size_t i = 0;

    if (n >= 16) {
        for (; i + 16 < n; i += 16)
            memcpy(dst + i, src + i, 16);
        memcpy(dst + n - 16, src + n - 16, 16);
    } else if (n >= 8) {
        memcpy(dst, src, 8);
        memcpy(dst + n - 8, src + n - 8, 8);
    } else if (n >= 4) {
        memcpy(dst, src, 4);
        memcpy(dst + n - 4, src + n - 4, 4);
    } else {
        for (; i < n; i++)
            dst[i] = src[i];
    }
}

/* At most 16 digits, which the tokenizer saw to be digits. */
static int64_t sbxi_dec_digits(const char *p, size_t n)
{
    int64_t v = 0;

    for (const char *end = p + n; p < end; p++)
        v = v * 10 + (*p - '0');
    return v;
}

/* A simple value of the expected member. */
static void sbxi_dec_member(sbxi_dec *d, const sbxi_field *f, sbx_json_tok *t, char *dst)
{
    int64_t ms;

    if (t->kind == SBX_JSON_NULL)
        return;
    if (t->kind == SBX_JSON_STRING && f->kind <= SBXI_F_ID && t->n < f->cap) {
        sbxi_dec_copy(dst, t->p, t->n);
        dst[t->n] = 0;
    } else if (t->kind == SBX_JSON_NUMBER && f->kind == SBXI_F_I64 && t->n < 16) {
        *(int64_t *)(void *)dst = sbxi_dec_digits(t->p, t->n);
    } else if (t->kind == SBX_JSON_STRING && f->kind == SBXI_F_TIME) {
        if (sbxi_rfc3339(sbx_sn(t->p, t->n), &ms))
            *(int64_t *)(void *)dst = ms;
    } else {
        t->more = false;
        d->at = 0;
        sbxi_dec_scalar(d, f, t);
        d->field = -1;
    }
}

/* As long as the members come in the table's order. */
static void sbxi_dec_members(sbxi_dec *d, char **p, char *end)
{
    const sbxi_field *f = d->model->fields + d->guess, *last = d->model->fields + d->model->count;
    char *base = sbxi_dec_struct(d);
    sbx_json_tok t;

    for (; f < last && sbxi_json_member(p, end, f->name, f->name_n, &t) != SBX_JSON_MORE; f++)
        sbxi_dec_member(d, f, &t, base + f->off);
    d->guess = (uint8_t)(f - d->model->fields);
}
#endif

SBXI_FN sbxi_dec_result sbxi_dec_run(sbxi_dec *d, char **p, char *end)
{
    sbx_json_tok t;

    for (;;) {
        sbx_json_kind kind;

#if !SBX_SMALL
        if (!d->model->any_depth && sbxi_json_at_member(&d->json, d->depth))
            sbxi_dec_members(d, p, end);
#endif
        kind = sbx_json_next(&d->json, p, end, &t);

        if (SBXI_LIKELY(kind == SBX_JSON_KEY)) {
            if (t.depth == d->depth || d->model->any_depth)
                sbxi_dec_key(d, &t);
            continue;
        }
        switch (kind) {
        case SBX_JSON_MORE: return SBXI_DEC_MORE;
        case SBX_JSON_DONE: return SBXI_DEC_DONE;
        case SBX_JSON_ERROR: return SBXI_DEC_ERROR;
        case SBX_JSON_OBJECT:
        case SBX_JSON_ARRAY:
            sbxi_dec_open(d, &t);
            break;
        case SBX_JSON_OBJECT_END:
        case SBX_JSON_ARRAY_END:
            if (sbxi_dec_close(d, &t))
                return SBXI_DEC_ITEM;
            break;
        default:
            sbxi_dec_value(d, &t);
        }
    }
}

/* A number at the top ends with the input: its last piece comes first. */
static bool sbxi_json_complete(sbx_json *j)
{
    sbx_json_tok t;
    sbx_json_kind kind;

    do
        kind = sbx_json_end(j, &t);
    while (kind < SBX_JSON_MORE);
    return kind == SBX_JSON_DONE;
}

SBXI_FN sbxi_dec_result sbxi_dec_end(sbxi_dec *d)
{
    return sbxi_json_complete(&d->json) ? SBXI_DEC_DONE : SBXI_DEC_ERROR;
}

SBXI_FN bool sbxi_json_ok(sbx_str text)
{
    sbx_json j;
    sbx_json_tok t;
    char chunk[64];

    sbx_json_init(&j, 0);
    /* The reader decodes in place: it gets a copy, piece by piece. */
    for (size_t at = 0; at < text.n;) {
        size_t n = SBXI_MIN(sizeof chunk, text.n - at);
        char *p = chunk;
        sbx_json_kind k;

        memcpy(chunk, text.p + at, n);
        at += n;
        while ((k = sbx_json_next(&j, &p, chunk + n, &t)) != SBX_JSON_MORE && k != SBX_JSON_DONE)
            if (k == SBX_JSON_ERROR)
                return false;
        if (k == SBX_JSON_DONE && p < chunk + n)
            return false;
    }
    return sbxi_json_complete(&j);
}

/* ======== src/model_encode.c ======== */

static const char sbxi_why_utf8[] = SBXI_T("must be UTF-8 without NUL");

static const void *sbxi_at(const void *base, size_t off)
{
    return (const char *)base + off;
}

static sbx_str sbxi_str_at(const void *base, size_t off)
{
    return *(const sbx_str *)sbxi_at(base, off);
}

/* A pointer to an array of T, its count right behind it. */
static size_t sbxi_count_at(const void *base, size_t off)
{
    return *(const size_t *)sbxi_at(base, off + sizeof(void *));
}

static const void *sbxi_address_at(const void *base, size_t off)
{
    return *(const void *const *)sbxi_at(base, off);
}

static unsigned sbxi_param_kind_of(const sbxi_param *p)
{
    return p->kind & ~(unsigned)(SBXI_P_FILLED | SBXI_P_NEED | SBXI_P_ALWAYS);
}

static bool sbxi_param_set(const sbxi_param *p, const void *opts)
{
    switch (sbxi_param_kind_of(p)) {
    case SBXI_P_STR:
    case SBXI_P_OWN:
    case SBXI_P_BASE64:
    case SBXI_P_RAW: return sbxi_str_at(opts, p->off).p != NULL;
    case SBXI_P_I64: return *(const int64_t *)sbxi_at(opts, p->off) != 0;
    case SBXI_P_INT:
    case SBXI_P_COUNT:
    case SBXI_P_TTL: return *(const int32_t *)sbxi_at(opts, p->off) != 0;
    case SBXI_P_BOOL: return *(const bool *)sbxi_at(opts, p->off);
    case SBXI_P_TRI: return *(const sbx_tri *)sbxi_at(opts, p->off) != SBX_TRI_UNSET;
    case SBXI_P_PAIRS:
    case SBXI_P_LIST:
    case SBXI_P_ARGV:
    case SBXI_P_STRS: return sbxi_count_at(opts, p->off) != 0;
    case SBXI_P_REF: return sbxi_address_at(opts, p->off) != NULL;
    case SBXI_P_PART:
    case SBXI_P_OBJECT: return sbxi_given(p->sub, sbxi_at(opts, p->off));
    default: return true;
    }
}

SBXI_FN bool sbxi_given(const sbxi_schema *s, const void *at)
{
    for (unsigned i = 0; i < s->count; i++)
        if (sbxi_param_set(&s->params[i], at))
            return true;
    return false;
}

/* The wire's number of an integer parameter; NULL, or why it is refused. */
static const char *sbxi_param_int(const sbxi_param *p, const void *opts, int64_t *v)
{
    unsigned kind = sbxi_param_kind_of(p);

    *v = kind == SBXI_P_I64 ? *(const int64_t *)sbxi_at(opts, p->off) : *(const int32_t *)sbxi_at(opts, p->off);
    if (kind == SBXI_P_SECONDS || kind == SBXI_P_LIFE) {
        if (*v == 0)
            *v = (int64_t)p->arg * 30;
        else if (*v == SBX_NONE)
            *v = kind == SBXI_P_LIFE ? -1 : 0;
        else if (*v < 0)
            return SBXI_T("must be positive seconds, 0 (default) or SBX_NONE");
        return NULL;
    }
    if ((kind == SBXI_P_TTL || kind == SBXI_P_COUNT) && *v == SBX_NONE)
        *v = 0;
    else if (kind == SBXI_P_TTL && (*v < 0 || (int32_t)*v % 60 != 0))
        return SBXI_T("must be a multiple of 60 seconds, 0 (the server's default) or SBX_NONE");
    else if (*v < 0)
        return SBXI_T("must not be negative");
    if (p->arg && *v > 2592000) /* only times have a limit, and the same one */
        return SBXI_T("must be 2,592,000 seconds (30 days) at most");
    return NULL;
}

static const char sbxi_why_no_address[] = SBXI_T("has a count but no address");

SBXI_FN sbx_str sbxi_trim(sbx_str s)
{
    while (s.n && (unsigned char)*s.p <= ' ') {
        s.p++;
        s.n--;
    }
    while (s.n && (unsigned char)s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

SBXI_FN const char *sbxi_text_put(sbx_jsonw *w, sbx_str s)
{
    sbx_jsonw_str(w, s);
    return w->error == SBX_JSONW_UTF8 || (s.n && memchr(s.p, 0, s.n)) ? sbxi_why_utf8 : NULL;
}

static const char *sbxi_encode_pairs(sbx_jsonw *w, const void *opts, size_t off)
{
    const sbx_pair *pairs = *(const sbx_pair *const *)sbxi_at(opts, off);
    size_t n = sbxi_count_at(opts, off);
    const char *why = NULL;

    if (!pairs)
        return sbxi_why_no_address;
    sbx_jsonw_begin(w, '{');
    for (size_t i = 0; i < n && !why; i++) {
        if (!pairs[i].name.n || memchr(pairs[i].name.p, 0, pairs[i].name.n))
            return SBXI_T("has a name that is empty or holds a NUL");
        sbx_jsonw_key(w, pairs[i].name);
        why = sbxi_text_put(w, pairs[i].value);
    }
    sbx_jsonw_end(w, '}');
    return why;
}

static const char *sbxi_encode_strs(sbx_jsonw *w, const void *opts, size_t off, bool empty_ok)
{
    const sbx_str *strs = (const sbx_str *)sbxi_address_at(opts, off);
    const char *why = NULL;

    if (!strs)
        return sbxi_why_no_address;
    sbx_jsonw_begin(w, '[');
    for (size_t i = 0; i < sbxi_count_at(opts, off) && !why; i++) {
        if (!empty_ok && !sbxi_trim(strs[i]).n)
            return SBXI_T("has a blank text");
        why = sbxi_text_put(w, strs[i]);
    }
    sbx_jsonw_end(w, ']');
    return why;
}

static void sbxi_encode_base64(sbx_jsonw *w, sbx_str s)
{
    size_t n = sbxi_mul(sbxi_add(s.n, 2) / 3, 4);

    sbx_jsonw_raw(w, sbx_sn("\"", 1));
    if (w->error || w->cap - w->n < sbxi_add(n, 1)) {
        w->error = w->error ? w->error : (uint8_t)SBX_JSONW_FULL;
        w->n = sbxi_add(w->n, n);
        return;
    }
    w->n += sbxi_base64(w->p + w->n, (const unsigned char *)s.p, s.n);
    w->p[w->n++] = '"';
}

static const char *sbxi_encode_value(sbx_jsonw *w, const sbxi_param *p, const void *opts)
{
    const char *why = NULL;
    int64_t v;

    switch (sbxi_param_kind_of(p)) {
    case SBXI_P_STR:
        if (!sbxi_str_at(opts, p->off).n || (p->kind & (SBXI_P_NEED | SBXI_P_FILLED) && !sbxi_trim(sbxi_str_at(opts, p->off)).n))
            return SBXI_T("must not be empty");
        return sbxi_text_put(w, sbxi_str_at(opts, p->off));
    case SBXI_P_RAW:
        if (!sbxi_json_ok(sbxi_str_at(opts, p->off)))
            return SBXI_T("must be one well-formed JSON value");
        sbx_jsonw_raw(w, sbxi_str_at(opts, p->off));
        break;
    case SBXI_P_BASE64: sbxi_encode_base64(w, sbxi_str_at(opts, p->off)); break;
    case SBXI_P_BOOL:
    case SBXI_P_FLAG: sbx_jsonw_bool(w, *(const bool *)sbxi_at(opts, p->off)); break;
    case SBXI_P_NOT: sbx_jsonw_bool(w, !*(const bool *)sbxi_at(opts, p->off)); break;
    case SBXI_P_TRI:
        if ((unsigned)*(const sbx_tri *)sbxi_at(opts, p->off) > SBX_TRI_YES)
            return SBXI_T("must be SBX_TRI_UNSET, SBX_TRI_NO or SBX_TRI_YES");
        sbx_jsonw_bool(w, *(const sbx_tri *)sbxi_at(opts, p->off) == SBX_TRI_YES);
        break;
    case SBXI_P_PAIRS: return sbxi_encode_pairs(w, opts, p->off);
    case SBXI_P_STRS: return sbxi_encode_strs(w, opts, p->off, false);
    case SBXI_P_ARGV: return sbxi_encode_strs(w, opts, p->off, true);
    default:
        why = sbxi_param_int(p, opts, &v);
        if (!why)
            sbx_jsonw_i64(w, v);
    }
    return why;
}

/* ---- structs in structs: a stack instead of recursion ---- */

/* Structs around a member, the options themselves included. */
#define SBXI_LEVELS 5

/* A struct that is being written. What holds it is the member before `next` of
   the level below. */
typedef struct sbxi_level {
    const sbxi_schema *schema;
    const char *at;
    unsigned next; /* member */
} sbxi_level;

static const sbxi_param *sbxi_level_param(const sbxi_level *l)
{
    return &l->schema->params[l->next - 1];
}

static const sbxi_shape *sbxi_param_shape(const sbxi_param *p)
{
    return sbxi_param_kind_of(p) == SBXI_P_OBJECT ? NULL : (const sbxi_shape *)(const void *)p->sub;
}

/* Which one of an array's it is. */
static size_t sbxi_level_index(const sbxi_level *l)
{
    const sbxi_param *p = sbxi_level_param(l - 1);

    return (size_t)(l->at - (const char *)sbxi_address_at(l[-1].at, p->off)) / sbxi_param_shape(p)->size;
}

#if !SBX_NO_ERROR_TEXT
static void sbxi_bad_append(sbxi_bad *bad, const char *text)
{
    size_t n = strlen(bad->option);

    sbxi_copy_z(bad->option + n, sizeof bad->option - n, text);
}

static void sbxi_bad_index(sbxi_bad *bad, size_t index)
{
    char text[23];
    size_t n;

    text[0] = '[';
    n = 1 + sbxi_u64_text(text + 1, index);
    text[n] = ']';
    text[n + 1] = 0;
    sbxi_bad_append(bad, text);
}
#endif

/* The option as the caller knows it, by the way to it. */
static void sbxi_bad_note(sbxi_bad *bad, const sbxi_level *level, unsigned depth, const char *option)
{
#if SBX_NO_ERROR_TEXT
    (void)bad;
    (void)level;
    (void)depth;
    (void)option;
#else
    bad->option[0] = 0;
    for (unsigned i = 0; i < depth; i++) {
        const sbxi_param *p = sbxi_level_param(&level[i]);
        const char *name = i + 1 < depth ? SBXI_OPTION(p) : option;

        if (*name && bad->option[0])
            sbxi_bad_append(bad, ".");
        sbxi_bad_append(bad, name);
        if (i + 1 < depth && sbxi_param_kind_of(p) == SBXI_P_LIST)
            sbxi_bad_index(bad, sbxi_level_index(&level[i + 1]));
    }
#endif
}

/* A struct's own bracket and what its shape says. The option that is refused,
   with *why; else *why is NULL. */
static SBXI_NOINLINE const char *sbxi_level_begin(sbx_jsonw *w, sbxi_level *l, const char **why)
{
    const sbxi_shape *shape = sbxi_param_shape(sbxi_level_param(l - 1));
    const char *option = NULL;

    l->next = 0;
    sbx_jsonw_begin(w, '{');
    if (shape && shape->begin)
        option = shape->begin(w, l->at, why);
    if (option)
        return option;
    *why = w->error == SBX_JSONW_UTF8 ? sbxi_why_utf8 : NULL;
    return "";
}

/* The struct is complete. True: so is what held it. */
static bool sbxi_level_end(sbx_jsonw *w, sbxi_level *l)
{
    const sbxi_param *p = sbxi_level_param(l - 1);

    sbx_jsonw_end(w, '}');
    if (sbxi_param_kind_of(p) != SBXI_P_LIST)
        return true;
    if (sbxi_level_index(l) + 1 < sbxi_count_at(l[-1].at, p->off)) {
        l->at += sbxi_param_shape(p)->size;
        return false;
    }
    sbx_jsonw_end(w, ']');
    return true;
}

/* A member that holds structs. True: the first of them is to be written. */
static bool sbxi_level_enter(sbx_jsonw *w, sbxi_level *l, const sbxi_param *p, const void *at, const char **why)
{
    unsigned kind = sbxi_param_kind_of(p);
    bool list = kind == SBXI_P_LIST;

    l->schema = p->sub;
    l->at = (const char *)(list || kind == SBXI_P_REF ? sbxi_address_at(at, p->off) : sbxi_at(at, p->off));
    if (list) {
        sbx_jsonw_begin(w, '[');
        if (sbxi_count_at(at, p->off)) {
            *why = l->at ? NULL : sbxi_why_no_address;
            return l->at != NULL;
        }
    } else if (l->at) {
        return true;
    } else {
        sbx_jsonw_begin(w, '{');
    }
    sbx_jsonw_end(w, list ? ']' : '}');
    return false;
}

/* Writes a level's next member, if it is given. True: it holds structs, and
   l[1] is the first. */
static SBXI_NOINLINE bool sbxi_member(sbx_jsonw *w, sbxi_level *l, unsigned clear, const char **why)
{
    const sbxi_param *p = &l->schema->params[l->next++];
    unsigned kind = sbxi_param_kind_of(p);
    bool set = sbxi_param_set(p, l->at), cleared = (p->clear & clear) != 0, entered = false;

    if (set && cleared)
        *why = SBXI_T("is given and cleared at once");
    else if (!set && p->kind & SBXI_P_NEED)
        *why = SBXI_T("must be given");
    if (*why || kind == SBXI_P_OWN || !(set || cleared || p->kind & SBXI_P_ALWAYS))
        return false;
    sbx_jsonw_key(w, sbx_s(p->name));
    if (cleared)
        sbx_jsonw_null(w);
    else if (kind >= SBXI_P_OBJECT)
        entered = sbxi_level_enter(w, l + 1, p, l->at, why);
    else
        *why = sbxi_encode_value(w, p, l->at);
    if (!*why && w->error == SBX_JSONW_UTF8)
        *why = sbxi_why_utf8;
    return entered;
}

SBXI_FN SBXI_ONCE bool sbxi_encode(sbx_jsonw *w, const sbxi_schema *s, const void *opts, sbxi_bad *bad)
{
    unsigned clear = s->clear_off ? *(const unsigned *)sbxi_at(opts, s->clear_off) : 0, depth = 1;
    const char *option = "";
    sbxi_level level[SBXI_LEVELS];

    level[0].schema = s;
    level[0].at = (const char *)opts;
    level[0].next = 0;
    bad->why = NULL;
    while (!bad->why) {
        sbxi_level *l = &level[depth - 1];

        if (l->next < l->schema->count) {
            if (sbxi_member(w, l, depth == 1 ? clear : 0, &bad->why)) {
                depth++;
                option = sbxi_level_begin(w, l + 1, &bad->why);
            } else if (bad->why) {
                option = SBXI_OPTION(sbxi_level_param(l));
            }
        } else if (depth == 1) {
            return true;
        } else if (sbxi_level_end(w, l)) {
            depth--;
        } else {
            option = sbxi_level_begin(w, l, &bad->why);
        }
    }
    sbxi_bad_note(bad, level, depth, option);
    return false;
}

static void sbxi_query_put(char *p, size_t cap, size_t *n, const char *name, sbx_str value)
{
    char *at;
    size_t name_n = strlen(name);

    if (*n + name_n + 2 <= cap) {
        p[*n] = *n ? '&' : '?';
        memcpy(p + *n + 1, name, name_n);
        p[*n + 1 + name_n] = '=';
    }
    *n += name_n + 2;
    at = *n <= cap ? p + *n : p;
    *n += sbxi_percent(at, *n <= cap ? cap - *n : 0, value, "");
}

SBXI_FN const char *sbxi_encode_query(char *p, size_t cap, size_t *n, const sbxi_schema *s, const void *opts, const char **why)
{
    for (unsigned i = 0; i < s->count; i++) {
        const sbxi_param *par = &s->params[i];
        const sbx_str *strs;
        sbx_str one;
        size_t count = 1;
        char digits[20];
        int64_t v;

        if (!sbxi_param_set(par, opts))
            continue;
        if (par->kind == SBXI_P_STRS) {
            strs = *(const sbx_str *const *)sbxi_at(opts, par->off);
            count = sbxi_count_at(opts, par->off);
            if (!strs) {
                *why = sbxi_why_no_address;
                return SBXI_OPTION(par);
            }
        } else if (par->kind == SBXI_P_STR) {
            one = sbxi_str_at(opts, par->off);
            strs = &one;
        } else {
            *why = sbxi_param_int(par, opts, &v);
            if (*why)
                return SBXI_OPTION(par);
            one = sbx_sn(digits, sbxi_u64_text(digits, (uint64_t)v));
            strs = &one;
        }
        for (size_t k = 0; k < count; k++) {
            uint32_t state = 0;

            if (!sbxi_utf8(&state, strs[k].p, strs[k].n) || state) {
                *why = sbxi_why_utf8;
                return SBXI_OPTION(par);
            }
            if (!strs[k].n) {
                *why = SBXI_T("must not be empty");
                return SBXI_OPTION(par);
            }
            sbxi_query_put(p, cap, n, par->name, strs[k]);
        }
    }
    return NULL;
}

/* ======== src/link.h ======== */
/* ---- link: one connection, its codec and its buffers; exchanges and messages on it (private) ---- */
#ifndef SBXI_LINK_H
#define SBXI_LINK_H

/* An absolute http or https URL: no user information, query or fragment. */
typedef struct sbxi_url {
    sbx_str host; /* without brackets */
    sbx_str path; /* "" or "/…", no trailing slash */
    uint16_t port;
    bool tls;
} sbxi_url;
SBXI_FN bool sbxi_url_parse(sbx_str text, sbxi_url *out);
/* This machine itself, by a name or address that nobody else can have. */
SBXI_FN bool sbxi_url_is_loopback(const sbxi_url *url);

typedef enum sbxi_got {
    SBXI_GOT_EVENT,   /* done, or something to look at */
    SBXI_GOT_BLOCKED, /* waits for the connection */
    SBXI_GOT_STARVED, /* waits for a shared buffer */
    SBXI_GOT_EOF,     /* the peer closed; a WebSocket: sbxi_ws_close_code */
    SBXI_GOT_FAIL     /* net->fault says why */
} sbxi_got;

typedef enum sbxi_link_state {
    SBXI_LINK_FREE,
    SBXI_LINK_CONNECTING,
    SBXI_LINK_BUSY,   /* belongs to an operation */
    SBXI_LINK_IDLE,   /* kept for the next exchange */
    SBXI_LINK_CLOSING /* our close frame is out, the peer's is awaited */
} sbxi_link_state;

/* In `ready`, beside SBX_READABLE: nobody but the turn itself said so, because
   the transport cannot say, or the transport, whose last word was wrong, and
   nobody has tried since. It is not known then whether anything came. */
#define SBXI_GUESSED 4u

/* A link keeps codec state, not bytes: it holds a shared buffer only while it
   is half consumed (rx) or half sent (tx). */
typedef struct sbxi_link {
    uint8_t state, ready;
    bool is_ws : 1, reused : 1, sent_any : 1, got_any : 1, close_sent : 1, open : 1, pong_open : 1;
    bool half : 1;    /* rx holds the beginning of a message, whose rest did not come yet */
    bool heard : 1;   /* bytes came since the transport said last that some would */
    bool plain : 1;   /* what is in tx need not be wiped: bytes of a tunnel */
    uint32_t owner; /* operation index */
    char *rx, *tx;
    uint32_t rx_at, rx_end;
    uint32_t tx_at, tx_end;
    union {
        struct {          /* HTTP */
            const char *p; /* the caller's bytes, sent behind tx without a copy */
            size_t n;
            uint64_t origin; /* which other exchanges it may serve */
        } body;
        struct {               /* WebSocket */
            uint32_t left;     /* bytes of the outgoing frame, not yet in tx */
            unsigned char mask[4];
            uint8_t at;        /* its payload bytes so far, modulo 4 */
            uint16_t close_code; /* the peer's, 0 = none came */
        } frame;
    } out;
    int64_t last_rx;  /* when bytes came last, or when it became idle */
    union {
        sbx_http1 http;
        sbx_ws ws;
#if !SBX_NO_SSE
        struct {
            sbx_http1 http; /* of the answer whose body is the stream: the one above */
            sbx_sse sse;
        } events;
#endif
    } codec;
    sbxi_node node;
} sbxi_link;

/* What links share: the transport, buffers, idle connections, randomness. What
   is used most stands first, as in sbxi_op. */
typedef struct sbxi_net {
    const sbx_transport *t;
    void *ctx;
    char *conns;
    sbxi_link *links;
    bool inside;      /* the transport or the trace hook may be running: calls are refused */
    bool entropy_failed;
    uint8_t random_left;
    uint32_t awaited; /* operation that may take the last buffer, SBXI_NIL = none */
    int64_t now;
    size_t run_left;  /* bytes that the running operation may still read in this turn */
    uint32_t link_count, links_used, connecting, max_connects;
    sbx_fault fault;
    size_t conn_size;
    sbxi_list free_links, idle_links;
    sbxi_pool rx, tx;
    int64_t idle_ms, close_ms;
    sbx_http1_caps caps;
    uint64_t seed[2];
    unsigned char random[64];
    sbx_usage usage;
    void (*trace)(void *user, const sbx_trace *t);
    void *trace_user;
} sbxi_net;

SBXI_FN size_t sbxi_conn_size(const sbx_transport *t);
/* ctx, conns and links point to their memory; rx and tx are the buffers'. */
SBXI_FN void sbxi_net_init(sbxi_net *net, const sbx_client_desc *d, char *rx, char *tx);
SBXI_FN size_t sbxi_ctx_size(const sbx_transport *t, uint32_t max_links);
SBXI_FN void sbxi_net_trace(sbxi_net *net, sbx_trace_kind kind, const sbxi_link *l, uint32_t op, int64_t number, sbx_str text);
/* Random bytes; false (and net->entropy_failed) when the transport has none. */
SBXI_FN bool sbxi_net_random(sbxi_net *net, void *p, size_t n);
/* 0..n-1; for jitter only. */
SBXI_FN SBXI_ONCE uint32_t sbxi_net_jitter(sbxi_net *net, uint32_t n);
SBXI_FN uint64_t sbxi_net_origin(const sbxi_net *net, const sbxi_url *url);

SBXI_FN void *sbxi_link_conn(sbxi_net *net, const sbxi_link *l);
SBXI_FN SBXI_ONCE uint32_t sbxi_link_id(const sbxi_net *net, const sbxi_link *l);
/* An idle connection to that origin that is not known to be dead, or NULL. */
SBXI_FN sbxi_link *sbxi_link_reuse(sbxi_net *net, uint64_t origin, uint32_t owner);
/* A fresh link; closes an idle one for it when all are taken. NULL: none, or
   as many connects under way as may be. */
SBXI_FN sbxi_link *sbxi_link_new(sbxi_net *net, uint64_t origin, uint32_t owner);
SBXI_FN sbxi_got sbxi_link_connect(sbxi_net *net, sbxi_link *l, const sbxi_url *url);
SBXI_FN void sbxi_link_close(sbxi_net *net, sbxi_link *l, sbx_code code);
/* Back to the pool (keep) or closed; a WebSocket says goodbye first. */
SBXI_FN void sbxi_link_release(sbxi_net *net, sbxi_link *l, bool keep);
/* The transport says that it is ready, by SBX_READABLE and SBX_WRITABLE. */
SBXI_FN void sbxi_link_mark(sbxi_net *net, sbxi_link *l, unsigned bits);
/* An idle or closing link that became readable, or whose time is over. */
SBXI_FN void sbxi_link_idle_ready(sbxi_net *net, sbxi_link *l);
SBXI_FN void sbxi_net_sweep(sbxi_net *net);
SBXI_FN int64_t sbxi_net_sweep_at(const sbxi_net *net);

/* Room in the send buffer: its free end, or NULL (`*got` says why not). */
SBXI_FN char *sbxi_link_room(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got);
SBXI_FN sbxi_got sbxi_link_flush(sbxi_net *net, sbxi_link *l);
SBXI_FN bool sbxi_link_unsent(const sbxi_link *l);
/* Whether sbxi_link_room gives some to any operation, awaited or not. */
SBXI_FN bool sbxi_link_has_room(const sbxi_net *net, const sbxi_link *l);
/* Reads ahead into the link's own buffer, for bytes that cannot be asked for
   again later. */
SBXI_FN void sbxi_link_take_ahead(sbxi_net *net, sbxi_link *l);
/* Gives the receive buffer back when nothing in it is left to read. */
SBXI_FN void sbxi_link_consumed(sbxi_net *net, sbxi_link *l);

/* ---- exchange: one request and its answer. Today's carrier is HTTP/1.1: one
   at a time on a link. ---- */
SBXI_FN void sbxi_exchange_begin(sbxi_net *net, sbxi_link *l, bool head);
SBXI_FN sbxi_got sbxi_exchange_next(sbxi_net *net, sbxi_link *l, sbx_http1_kind *kind, sbx_http1_event *ev);

/* ---- messages of a WebSocket, after the upgrade ---- */

/* The largest control frame. The input is read only while one has room in the
   send buffer. */
#define SBXI_WS_CONTROL_MAX (SBX_WS_HEAD_MAX + 125)
/* The peer's close code, 0 = it sent none. */
SBXI_FN unsigned sbxi_ws_close_code(const sbxi_link *l);
SBXI_FN void sbxi_ws_begin(sbxi_net *net, sbxi_link *l);
/* EVENT: a piece of a data message. Pings are answered inside. */
SBXI_FN sbxi_got sbxi_ws_next(sbxi_net *net, sbxi_link *l, sbx_ws_event *ev);
/* Whether what lies in the receive buffer can be read: the beginning of a
   message is left there for its rest, unless buffers are scarce. */
SBXI_FN bool sbxi_ws_unread(const sbxi_net *net, const sbxi_link *l);
/* Starts a frame of n bytes; false while the send buffer has no room. */
SBXI_FN bool sbxi_ws_frame(sbxi_net *net, sbxi_link *l, unsigned opcode, uint32_t n);
/* Its payload, as much as fits; the number of bytes taken. */
SBXI_FN size_t sbxi_ws_append(sbxi_net *net, sbxi_link *l, const void *p, size_t n);
/* Room to write a whole payload into, behind a place for its head; NULL: *got
   says why not. Then its length. */
SBXI_FN char *sbxi_ws_compose(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got);
SBXI_FN void sbxi_ws_composed(sbxi_net *net, sbxi_link *l, unsigned opcode, size_t n);
/* Says goodbye, once; an illegal code is left out. */
SBXI_FN void sbxi_ws_close(sbxi_net *net, sbxi_link *l, unsigned code);
/* A whole small frame, or nothing. */
SBXI_FN bool sbxi_ws_send(sbxi_net *net, sbxi_link *l, unsigned opcode, const void *p, size_t n);

#endif

/* ======== src/link.c ======== */

/* ---- URL ---- */

static bool sbxi_url_port(sbx_str s, uint16_t *port)
{
    uint32_t v = 0;

    if (!s.n || s.n > 5)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(s.p[i] - '0');
    }
    *port = (uint16_t)v;
    return v > 0 && v <= UINT16_MAX;
}

static bool sbxi_url_chars_ok(sbx_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f || s.p[i] == '?' || s.p[i] == '#' ||
            s.p[i] == '@' || s.p[i] == '\\')
            return false;
    return true;
}

SBXI_FN bool sbxi_url_parse(sbx_str text, sbxi_url *out)
{
    size_t scheme, i;
    sbx_str rest;

    memset(out, 0, sizeof *out);
    if (text.n > 8 && sbxi_eq_nocase(sbx_sn(text.p, 8), sbx_sn("https://", 8)))
        scheme = 8;
    else if (text.n > 7 && sbxi_eq_nocase(sbx_sn(text.p, 7), sbx_sn("http://", 7)))
        scheme = 7;
    else
        return false;
    out->tls = scheme == 8;
    out->port = out->tls ? 443 : 80;
    rest = sbx_sn(text.p + scheme, text.n - scheme);
    if (!sbxi_url_chars_ok(rest))
        return false;
    out->host.p = rest.p;
    if (rest.p[0] == '[') {
        for (i = 1; i < rest.n && rest.p[i] != ']'; i++)
            if (rest.p[i] == '/')
                return false;
        if (i == rest.n)
            return false;
        out->host = sbx_sn(rest.p + 1, i - 1);
        i++;
    } else {
        for (i = 0; i < rest.n && rest.p[i] != ':' && rest.p[i] != '/'; i++)
            if (rest.p[i] == '[' || rest.p[i] == ']')
                return false;
        out->host.n = i;
    }
    if (!out->host.n || out->host.n > 253)
        return false;
    if (i < rest.n && rest.p[i] == ':') {
        size_t from = ++i;

        while (i < rest.n && rest.p[i] != '/')
            i++;
        if (!sbxi_url_port(sbx_sn(rest.p + from, i - from), &out->port))
            return false;
    }
    if (i < rest.n && rest.p[i] != '/')
        return false;
    out->path = sbx_sn(rest.p + i, rest.n - i);
    while (out->path.n && out->path.p[out->path.n - 1] == '/')
        out->path.n--;
    return true;
}

SBXI_FN bool sbxi_url_is_loopback(const sbxi_url *url)
{
    sbx_str h = url->host;

    if (sbxi_eq_nocase(h, sbx_s("localhost")) || sbxi_eq(h, sbx_s("::1")))
        return true;
    /* 127.0.0.0/8 in its plain form: 127.example.org is somebody's name. */
    for (size_t i = 0; i < h.n; i++)
        if ((h.p[i] < '0' || h.p[i] > '9') && h.p[i] != '.')
            return false;
    return h.n > 4 && memcmp(h.p, "127.", 4) == 0;
}

/* ---- what links share ---- */

SBXI_FN size_t sbxi_conn_size(const sbx_transport *t)
{
    size_t n = 0;

    for (; t; t = t->lower)
        n = sbxi_add(n, sbxi_align(t->conn_size));
    return n;
}

SBXI_FN size_t sbxi_ctx_size(const sbx_transport *t, uint32_t max_links)
{
    size_t n = 0;

    for (; t; t = t->lower)
        n = sbxi_add(n, sbxi_align(sbxi_add(t->ctx_size, sbxi_mul(t->ctx_per_conn, max_links))));
    return n;
}

static SBXI_ONCE sbxi_nodes sbxi_link_nodes(sbxi_net *net)
{
    sbxi_nodes n;

    n.first = (char *)&net->links[0].node;
    n.stride = sizeof *net->links;
    return n;
}

SBXI_FN void sbxi_net_init(sbxi_net *net, const sbx_client_desc *d, char *rx, char *tx)
{
    net->t = d->transport;
    net->conn_size = sbxi_conn_size(d->transport);
    sbxi_pool_init(&net->rx, rx, sbxi_align(d->rx_bytes), d->buffers);
    sbxi_pool_init(&net->tx, tx, sbxi_align(d->tx_bytes), d->buffers);
    sbxi_list_init(&net->free_links);
    sbxi_list_init(&net->idle_links);
    net->link_count = d->max_links;
    net->max_connects = d->max_connects;
    net->awaited = SBXI_NIL;
    net->idle_ms = d->idle_ms;
    net->close_ms = d->ws_close_ms;
    net->caps.head_bytes = d->head_bytes;
    net->trace = d->trace;
    net->trace_user = d->trace_user;
    for (uint32_t i = 0; i < d->max_links; i++)
        sbxi_list_append(sbxi_link_nodes(net), &net->free_links, i);
}

/* The last buffer is kept for the operation that the caller waits for: others
   that hold theirs half consumed cannot make it wait for ever. */
static char *sbxi_net_take(sbxi_net *net, sbxi_pool *pool, uint32_t owner)
{
    if (pool->used + 1 >= pool->count && (owner != net->awaited || owner == SBXI_NIL))
        return NULL;
    return sbxi_pool_take(pool);
}

SBXI_FN SBXI_ONCE uint32_t sbxi_link_id(const sbxi_net *net, const sbxi_link *l)
{
    return (uint32_t)(l - net->links);
}

SBXI_FN void *sbxi_link_conn(sbxi_net *net, const sbxi_link *l)
{
    return net->conns + net->conn_size * sbxi_link_id(net, l);
}

SBXI_FN void sbxi_net_trace(sbxi_net *net, sbx_trace_kind kind, const sbxi_link *l, uint32_t op, int64_t number, sbx_str text)
{
    bool inside = net->inside;
    sbx_trace t;

    if (SBX_NO_TRACE || !net->trace)
        return;
    t.kind = kind;
    t.op = op;
    t.link = l ? sbxi_link_id(net, l) + 1 : 0;
    t.number = number;
    t.text = text;
    net->inside = true;
    net->trace(net->trace_user, &t);
    net->inside = inside;
}

/* Masks take 4 bytes a frame: the transport is asked for 64 at a time. Used
   bytes are wiped. */
SBXI_FN bool sbxi_net_random(sbxi_net *net, void *p, size_t n)
{
    unsigned char *out = (unsigned char *)p;

    net->entropy_failed = false;
    while (n) {
        size_t take;

        if (!net->random_left) {
            bool inside = net->inside, ok;

            net->inside = true;
            ok = net->t->entropy(net->ctx, net->random, sizeof net->random);
            net->inside = inside;
            if (!ok) {
                net->entropy_failed = true;
                return false;
            }
            net->random_left = sizeof net->random;
        }
        take = SBXI_MIN(n, net->random_left);
        net->random_left = (uint8_t)(net->random_left - take);
        memcpy(out, net->random + net->random_left, take);
        memset(net->random + net->random_left, 0, take);
        out += take;
        n -= take;
    }
    return true;
}

SBXI_FN SBXI_ONCE uint32_t sbxi_net_jitter(sbxi_net *net, uint32_t n)
{
    net->seed[1] = net->seed[1] * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return n ? (uint32_t)(net->seed[1] >> 33) % n : 0;
}

/* Which connections may serve one another: scheme, host and port, hashed with
   a secret so that no server can choose a name that collides. */
SBXI_FN uint64_t sbxi_net_origin(const sbxi_net *net, const sbxi_url *url)
{
    uint64_t h = net->seed[0] ^ ((uint64_t)url->port << 1 | url->tls);

    for (size_t i = 0; i < url->host.n; i++) {
        h = (h ^ (unsigned char)sbxi_lower(url->host.p[i])) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
    }
    return h * UINT64_C(0xD6E8FEB86659FD93) ^ h >> 32;
}

/* ---- life of a link ---- */

/* Gives the send buffer back without the key that it may hold. */
static void sbxi_link_drop_tx(sbxi_net *net, sbxi_link *l)
{
    if (!l->tx)
        return;
    if (!l->plain)
        memset(l->tx, 0, l->tx_end);
    sbxi_pool_give(&net->tx, l->tx);
    l->plain = false;
    l->tx = NULL;
    l->tx_at = l->tx_end = 0;
}

static void sbxi_link_buffers(sbxi_net *net, sbxi_link *l)
{
    l->rx_at = l->rx_end;
    sbxi_link_consumed(net, l);
    sbxi_link_drop_tx(net, l);
    if (!l->is_ws)
        l->out.body.n = 0;
}

SBXI_FN void sbxi_link_close(sbxi_net *net, sbxi_link *l, sbx_code code)
{
    uint32_t id = sbxi_link_id(net, l);
    bool inside = net->inside;

    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING)
        sbxi_list_remove(sbxi_link_nodes(net), &net->idle_links, id);
    if (l->state == SBXI_LINK_CONNECTING)
        net->connecting--;
    net->inside = true;
    if (l->open)
        net->t->close(net->ctx, sbxi_link_conn(net, l));
    net->inside = inside;
    sbxi_link_buffers(net, l);
    sbxi_net_trace(net, SBX_TRACE_CLOSE, l, 0, code, sbx_sn("", 0));
    memset(l, 0, sizeof *l);
    sbxi_list_append(sbxi_link_nodes(net), &net->free_links, id);
    net->links_used--;
}

static sbxi_got sbxi_link_fill(sbxi_net *net, sbxi_link *l);

static int64_t sbxi_link_idle_until(const sbxi_net *net, const sbxi_link *l)
{
    return sbxi_after(l->last_rx, l->state == SBXI_LINK_CLOSING ? net->close_ms : net->idle_ms);
}

SBXI_FN sbxi_link *sbxi_link_reuse(sbxi_net *net, uint64_t origin, uint32_t owner)
{
    uint32_t i = net->idle_links.tail, prev;

    for (; i != SBXI_NIL; i = prev) {
        sbxi_link *l = &net->links[i];
        sbxi_got got;

        prev = l->node.prev;
        if (l->state != SBXI_LINK_IDLE || l->out.body.origin != origin)
            continue;
        /* A server that closed it, or spoke out of turn, shows here. */
        l->ready |= SBX_READABLE;
        got = sbxi_link_idle_until(net, l) <= net->now ? SBXI_GOT_EOF : sbxi_link_fill(net, l);
        if (got != SBXI_GOT_BLOCKED && got != SBXI_GOT_STARVED) {
            sbxi_link_close(net, l, SBX_ERR_CONNECTION);
            continue;
        }
        sbxi_list_remove(sbxi_link_nodes(net), &net->idle_links, i);
        l->state = SBXI_LINK_BUSY;
        l->owner = owner;
        l->reused = true;
        l->sent_any = l->got_any = false;
        net->usage.reused++;
        return l;
    }
    return NULL;
}

SBXI_FN sbxi_link *sbxi_link_new(sbxi_net *net, uint64_t origin, uint32_t owner)
{
    uint32_t id = net->free_links.head;
    sbxi_link *l;

    if (net->connecting >= net->max_connects)
        return NULL;
    if (id == SBXI_NIL) {
        if (net->idle_links.head == SBXI_NIL)
            return NULL;
        sbxi_link_close(net, &net->links[net->idle_links.head], SBX_OK);
        id = net->free_links.head;
    }
    sbxi_list_remove(sbxi_link_nodes(net), &net->free_links, id);
    l = &net->links[id];
    memset(l, 0, sizeof *l);
    memset(sbxi_link_conn(net, l), 0, net->conn_size);
    l->node.prev = l->node.next = SBXI_NIL;
    l->state = SBXI_LINK_CONNECTING;
    l->owner = owner;
    l->out.body.origin = origin;
    l->ready = SBX_READABLE | SBX_WRITABLE;
    net->connecting++;
    net->links_used++;
    net->usage.links_high = SBXI_MAX(net->usage.links_high, net->links_used);
    return l;
}

static void sbxi_link_watch(sbxi_net *net, sbxi_link *l, unsigned bits)
{
    if (l->open && net->t->watch)
        net->t->watch(net->ctx, sbxi_link_conn(net, l), bits & (SBX_READABLE | SBX_WRITABLE));
}

/* What is known to be ready is not waited for until it was tried: poll() would
   report it each time. */
SBXI_FN void sbxi_link_mark(sbxi_net *net, sbxi_link *l, unsigned bits)
{
    if (bits & ~(unsigned)l->ready & SBX_READABLE) {
        l->ready |= (uint8_t)(l->heard ? 0 : SBXI_GUESSED);
        l->heard = false;
    }
    l->ready |= (uint8_t)(bits & (SBX_READABLE | SBX_WRITABLE));
    sbxi_link_watch(net, l, ~(unsigned)l->ready);
}

/* Turns what the transport says into what the caller does about it. */
static sbxi_got sbxi_link_io(sbxi_net *net, sbxi_link *l, sbx_io io)
{
    switch (io) {
    case SBX_IO_OK:
        return SBXI_GOT_EVENT;
    case SBX_IO_WANT_READ:
        l->ready &= (uint8_t)~(SBX_READABLE | SBXI_GUESSED);
        sbxi_link_watch(net, l, ~(unsigned)l->ready); /* a send may wait too */
        return SBXI_GOT_BLOCKED;
    case SBX_IO_WANT_WRITE:
        l->ready &= (uint8_t)~SBX_WRITABLE;
        sbxi_link_watch(net, l, SBX_READABLE | SBX_WRITABLE);
        return SBXI_GOT_BLOCKED;
    case SBX_IO_EOF:
        return SBXI_GOT_EOF;
    default:
        if (net->fault.code == SBX_OK)
            net->fault.code = SBX_ERR_CONNECTION;
        return SBXI_GOT_FAIL;
    }
}

SBXI_FN sbxi_got sbxi_link_connect(sbxi_net *net, sbxi_link *l, const sbxi_url *url)
{
    sbx_target to;
    sbxi_got got;

    to.host = url->host;
    to.port = url->port;
    to.tls = url->tls;
    to.tag = sbxi_link_id(net, l);
    if (!l->open)
        sbxi_net_trace(net, SBX_TRACE_CONNECT, l, l->owner + 1, url->port, url->host);
    l->open = true;
    memset(&net->fault, 0, sizeof net->fault);
    got = sbxi_link_io(net, l, net->t->connect(net->ctx, sbxi_link_conn(net, l), &to, &net->fault));
    if (got == SBXI_GOT_EVENT) {
        l->state = SBXI_LINK_BUSY;
        l->ready = SBX_READABLE | SBX_WRITABLE;
        l->last_rx = net->now;
        net->connecting--;
        net->usage.connects++;
    } else if (got == SBXI_GOT_EOF) {
        net->fault.code = SBX_ERR_CONNECT;
        got = SBXI_GOT_FAIL;
    }
    return got;
}

static void sbxi_link_to_idle(sbxi_net *net, sbxi_link *l, sbxi_link_state state)
{
    l->state = (uint8_t)state;
    l->owner = SBXI_NIL;
    l->last_rx = net->now;
    sbxi_list_append(sbxi_link_nodes(net), &net->idle_links, sbxi_link_id(net, l));
    sbxi_link_watch(net, l, SBX_READABLE);
}

SBXI_FN void sbxi_link_release(sbxi_net *net, sbxi_link *l, bool keep)
{
    if (l->state != SBXI_LINK_BUSY) {
        sbxi_link_close(net, l, SBX_OK);
        return;
    }
    if (l->is_ws && !l->out.frame.close_code) {
        sbxi_ws_close(net, l, 1000);
        if (l->close_sent && net->close_ms >= 0 && sbxi_link_flush(net, l) == SBXI_GOT_EVENT) {
            sbxi_link_buffers(net, l);
            sbxi_link_to_idle(net, l, SBXI_LINK_CLOSING);
            sbxi_link_idle_ready(net, l); /* what is there already is not told again */
            return;
        }
    } else if (!l->is_ws && keep && net->idle_ms >= 0 && l->rx_at == l->rx_end && !sbxi_link_unsent(l)) {
        sbxi_link_buffers(net, l);
        sbxi_link_to_idle(net, l, SBXI_LINK_IDLE);
        return;
    }
    sbxi_link_close(net, l, SBX_OK);
}

SBXI_FN void sbxi_link_idle_ready(sbxi_net *net, sbxi_link *l)
{
    sbxi_got got = sbxi_link_fill(net, l);

    /* Output that was under way when we said goodbye: the peer's own stands
       behind it. */
    for (unsigned left = 16; got == SBXI_GOT_EVENT && l->state == SBXI_LINK_CLOSING; left--) {
        l->rx_at = l->rx_end;
        if (!left) {
            sbxi_link_consumed(net, l);
            return;
        }
        got = sbxi_link_fill(net, l);
    }
    if (got != SBXI_GOT_BLOCKED && got != SBXI_GOT_STARVED)
        sbxi_link_close(net, l, SBX_OK);
}

SBXI_FN int64_t sbxi_net_sweep_at(const sbxi_net *net)
{
    uint32_t i = net->idle_links.head;
    int64_t at = SBXI_NEVER;

    /* The list is in order of time for each of the two kinds; the first of
       each is enough, and they stand near its head. */
    for (unsigned seen = 0; i != SBXI_NIL && seen < 8; i = net->links[i].node.next, seen++)
        at = SBXI_MIN(at, sbxi_link_idle_until(net, &net->links[i]));
    return at;
}

SBXI_FN void sbxi_net_sweep(sbxi_net *net)
{
    uint32_t i = net->idle_links.head, next;

    for (; i != SBXI_NIL; i = next) {
        next = net->links[i].node.next;
        if (sbxi_link_idle_until(net, &net->links[i]) <= net->now)
            sbxi_link_close(net, &net->links[i], SBX_OK);
    }
}

/* ---- bytes ---- */

SBXI_FN bool sbxi_link_unsent(const sbxi_link *l)
{
    return l->tx_at < l->tx_end || (l->is_ws ? l->out.frame.left : l->out.body.n) != 0;
}

SBXI_FN bool sbxi_link_has_room(const sbxi_net *net, const sbxi_link *l)
{
    return l->tx || net->tx.used + 1 < net->tx.count;
}

SBXI_FN char *sbxi_link_room(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got)
{
    if (!l->tx) {
        l->tx = sbxi_net_take(net, &net->tx, l->owner);
        l->tx_at = l->tx_end = 0;
        if (!l->tx) {
            *got = SBXI_GOT_STARVED;
            *room = 0;
            return NULL;
        }
    }
    *got = SBXI_GOT_EVENT;
    *room = net->tx.size - l->tx_end;
    return l->tx + l->tx_end;
}

SBXI_FN sbxi_got sbxi_link_flush(sbxi_net *net, sbxi_link *l)
{
    while (l->tx_at < l->tx_end || (!l->is_ws && l->out.body.n)) {
        bool head = l->tx_at < l->tx_end;
        const char *p = head ? l->tx + l->tx_at : l->out.body.p;
        size_t n = head ? l->tx_end - l->tx_at : l->out.body.n, sent = 0;
        bool inside = net->inside;
        sbxi_got got;

        if (!(l->ready & SBX_WRITABLE))
            return SBXI_GOT_BLOCKED;
        memset(&net->fault, 0, sizeof net->fault);
        net->inside = true;
        got = sbxi_link_io(net, l, net->t->send(net->ctx, sbxi_link_conn(net, l), p, n, &sent, &net->fault));
        net->inside = inside;
        if (got == SBXI_GOT_EOF) {
            net->fault.code = SBX_ERR_CONNECTION;
            return SBXI_GOT_FAIL;
        }
        if (got != SBXI_GOT_EVENT)
            return got;
        if (sent > n)
            sent = n;
        if (!sent) /* a transport that takes nothing and says OK would spin */
            return SBXI_GOT_BLOCKED;
        l->sent_any = true;
        net->usage.bytes_out += sent;
        if (head) {
            l->tx_at += (uint32_t)sent;
        } else {
            l->out.body.p += sent;
            l->out.body.n -= sent;
        }
    }
    sbxi_link_drop_tx(net, l);
    return SBXI_GOT_EVENT;
}

SBXI_FN void sbxi_link_consumed(sbxi_net *net, sbxi_link *l)
{
    if (l->rx && l->rx_at == l->rx_end) {
        sbxi_pool_give(&net->rx, l->rx);
        l->rx = NULL;
        l->rx_at = l->rx_end = 0;
    }
}

/* More bytes behind those that are there. */
static sbxi_got sbxi_link_fill(sbxi_net *net, sbxi_link *l)
{
    size_t n = 0;
    sbxi_got got;

    if (!(l->ready & SBX_READABLE)) {
        sbxi_link_consumed(net, l);
        return SBXI_GOT_BLOCKED;
    }
    if (!l->rx) {
        l->rx = sbxi_net_take(net, &net->rx, l->owner);
        l->rx_at = l->rx_end = 0;
        if (!l->rx)
            return SBXI_GOT_STARVED;
    }
    if (l->rx_at) {
        memmove(l->rx, l->rx + l->rx_at, l->rx_end - l->rx_at);
        l->rx_end -= l->rx_at;
        l->rx_at = 0;
    }
    memset(&net->fault, 0, sizeof net->fault);
    got = sbxi_link_io(net, l, net->t->recv(net->ctx, sbxi_link_conn(net, l), l->rx + l->rx_end, net->rx.size - l->rx_end, &n, &net->fault));
    if (got == SBXI_GOT_EVENT) {
        if (!n) {
            sbxi_link_consumed(net, l);
            return SBXI_GOT_BLOCKED;
        }
        l->rx_end += (uint32_t)n;
        l->half = false;
        l->heard = true;
        l->ready &= (uint8_t)~SBXI_GUESSED;
        if (l->state == SBXI_LINK_BUSY) /* while it closes, its time is not prolonged */
            l->last_rx = net->now;
        l->got_any = true;
        net->usage.bytes_in += n;
    } else {
        sbxi_link_consumed(net, l);
    }
    return got;
}

SBXI_FN void sbxi_link_take_ahead(sbxi_net *net, sbxi_link *l)
{
    if (!l->rx || l->rx_end < net->rx.size)
        sbxi_link_fill(net, l);
}

/* ---- exchange ---- */

SBXI_FN void sbxi_exchange_begin(sbxi_net *net, sbxi_link *l, bool head)
{
    l->is_ws = false;
    sbx_http1_init(&l->codec.http, head, &net->caps);
}

/* The same for one that is running, within its share of the turn: a peer that
   sends without end keeps neither the others nor the deadlines waiting. */
static sbxi_got sbxi_link_more(sbxi_net *net, sbxi_link *l)
{
    uint64_t before = net->usage.bytes_in;
    sbxi_got got = net->run_left ? sbxi_link_fill(net, l) : SBXI_GOT_BLOCKED;

    net->run_left -= (size_t)SBXI_MIN(net->usage.bytes_in - before, net->run_left);
    return got;
}

SBXI_FN sbxi_got sbxi_exchange_next(sbxi_net *net, sbxi_link *l, sbx_http1_kind *kind, sbx_http1_event *ev)
{
    for (;;) {
        sbxi_got got;

        if (l->rx) {
            const char *p = l->rx + l->rx_at;
            bool full = l->rx_at == 0 && l->rx_end == net->rx.size;

            *kind = sbx_http1_read(&l->codec.http, &p, l->rx + l->rx_end, full, ev);
            l->rx_at = (uint32_t)(p - l->rx);
        } else {
            /* A body of no bytes is complete without any. */
            const char *none = "";

            *kind = sbx_http1_read(&l->codec.http, &none, none, false, ev);
        }
        if (*kind == SBX_HTTP1_ERROR) {
            net->fault.code = SBX_ERR_PROTOCOL;
            net->fault.sys = l->codec.http.error;
            return SBXI_GOT_FAIL;
        }
        if (*kind != SBX_HTTP1_MORE)
            return SBXI_GOT_EVENT;
        got = sbxi_link_more(net, l);
        if (got == SBXI_GOT_EOF && l->got_any) {
            *kind = sbx_http1_eof(&l->codec.http);
            if (*kind == SBX_HTTP1_DONE)
                return SBXI_GOT_EVENT;
        }
        if (got != SBXI_GOT_EVENT)
            return got;
    }
}

/* ---- WebSocket messages ---- */

SBXI_FN unsigned sbxi_ws_close_code(const sbxi_link *l)
{
    return l->is_ws ? l->out.frame.close_code : 0;
}

SBXI_FN void sbxi_ws_begin(sbxi_net *net, sbxi_link *l)
{
    l->is_ws = true;
    memset(&l->out, 0, sizeof l->out);
    l->last_rx = net->now;
    /* The JSON reader checks the UTF-8 of what it takes. */
    sbx_ws_init(&l->codec.ws, SBX_WS_RAW_TEXT, 0);
}

SBXI_FN bool sbxi_ws_frame(sbxi_net *net, sbxi_link *l, unsigned opcode, uint32_t n)
{
    sbxi_got got;
    size_t room;
    char *p = sbxi_link_room(net, l, &room, &got);

    if (!p || room < SBX_WS_HEAD_MAX || l->out.frame.left)
        return false;
    if (!sbxi_net_random(net, l->out.frame.mask, sizeof l->out.frame.mask))
        return false;
    l->tx_end += (uint32_t)sbx_ws_head((unsigned char *)p, opcode, true, n, l->out.frame.mask);
    l->out.frame.left = n;
    l->out.frame.at = 0;
    return true;
}

SBXI_FN size_t sbxi_ws_append(sbxi_net *net, sbxi_link *l, const void *src, size_t n)
{
    sbxi_got got;
    size_t room;
    char *p = sbxi_link_room(net, l, &room, &got);

    n = SBXI_MIN(n, SBXI_MIN(room, l->out.frame.left));
    if (!p || !n)
        return 0;
    memcpy(p, src, n);
    sbx_ws_mask(p, n, l->out.frame.mask, l->out.frame.at);
    l->out.frame.at = (uint8_t)((l->out.frame.at + n) & 3);
    l->out.frame.left -= (uint32_t)n;
    l->tx_end += (uint32_t)n;
    return n;
}

SBXI_FN char *sbxi_ws_compose(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got)
{
    char *p = NULL;

    *got = SBXI_GOT_BLOCKED;
    if (!l->out.frame.left) /* else there is no use for a buffer */
        p = sbxi_link_room(net, l, room, got);
    if (!p)
        return NULL;
    *got = SBXI_GOT_BLOCKED;
    if (*room <= SBX_WS_HEAD_MAX)
        return NULL;
    *room -= SBX_WS_HEAD_MAX;
    return p + SBX_WS_HEAD_MAX;
}

SBXI_FN void sbxi_ws_composed(sbxi_net *net, sbxi_link *l, unsigned opcode, size_t n)
{
    char *at = l->tx + l->tx_end, *p = at + SBX_WS_HEAD_MAX;
    unsigned char head[SBX_WS_HEAD_MAX];
    size_t head_n;

    if (!sbxi_net_random(net, l->out.frame.mask, sizeof l->out.frame.mask))
        return; /* nothing goes out unmasked; the caller sees entropy_failed */
    head_n = sbx_ws_head(head, opcode, true, n, l->out.frame.mask);
    if (l->tx_at == l->tx_end) /* nothing stands before it: the payload can stay */
        l->tx_at = l->tx_end = (uint32_t)(p - head_n - l->tx);
    else
        memmove(at + head_n, p, n);
    at = l->tx + l->tx_end;
    memcpy(at, head, head_n);
    sbx_ws_mask(at + head_n, n, l->out.frame.mask, 0);
    l->tx_end += (uint32_t)(head_n + n);
}

SBXI_FN bool sbxi_ws_send(sbxi_net *net, sbxi_link *l, unsigned opcode, const void *p, size_t n)
{
    sbxi_got got;
    size_t room;

    if (!sbxi_link_room(net, l, &room, &got) || room < n + SBX_WS_HEAD_MAX || !sbxi_ws_frame(net, l, opcode, (uint32_t)n))
        return false;
    sbxi_ws_append(net, l, p, n);
    return true;
}

SBXI_FN void sbxi_ws_close(sbxi_net *net, sbxi_link *l, unsigned code)
{
    unsigned char payload[2];

    payload[0] = (unsigned char)(code >> 8);
    payload[1] = (unsigned char)code;
    if (!l->close_sent)
        l->close_sent = sbxi_ws_send(net, l, SBX_WS_OP_CLOSE, payload, sbx_ws_close_code_ok(code) ? 2 : 0);
    sbxi_link_flush(net, l);
}

/* Whether a pong has room. A control frame is taken from the input only then:
   a peer that pings without reading is not read from either. */
static sbxi_got sbxi_ws_can_answer(sbxi_net *net, sbxi_link *l)
{
    size_t need = l->pong_open ? l->out.frame.left : SBXI_WS_CONTROL_MAX;

    if (l->out.frame.left && !l->pong_open)
        return SBXI_GOT_BLOCKED;
    if (l->tx && net->tx.size - l->tx_end < need) {
        sbxi_got got = sbxi_link_flush(net, l);

        if (got != SBXI_GOT_EVENT)
            return got;
    }
    return sbxi_link_has_room(net, l) || l->owner == net->awaited ? SBXI_GOT_EVENT : SBXI_GOT_STARVED;
}

static SBXI_ONCE sbxi_got sbxi_ws_control(sbxi_net *net, sbxi_link *l, sbx_ws_kind kind, const sbx_ws_event *ev)
{
    bool ok = true;

    switch (kind) {
    case SBX_WS_PING:
        if (ev->first)
            l->pong_open = ok = sbxi_ws_frame(net, l, SBX_WS_OP_PONG, ev->total);
        if (ok && ev->n)
            sbxi_ws_append(net, l, ev->p, ev->n);
        if (ev->last)
            l->pong_open = false;
        if (ok && ev->last && sbxi_link_flush(net, l) == SBXI_GOT_FAIL)
            return SBXI_GOT_FAIL;
        break;
    case SBX_WS_CLOSE:
        if (!ev->last)
            break;
        l->out.frame.close_code = ev->code;
        sbxi_ws_close(net, l, ev->code);
        return SBXI_GOT_EOF;
    case SBX_WS_ERROR:
        sbxi_ws_close(net, l, ev->code);
        net->fault.code = SBX_ERR_PROTOCOL;
        net->fault.sys = ev->code;
        return SBXI_GOT_FAIL;
    default:
        break;
    }
    if (!ok) {
        net->fault.code = net->entropy_failed ? SBX_ERR_ENTROPY : SBX_ERR_CONNECTION;
        return SBXI_GOT_FAIL;
    }
    return SBXI_GOT_EVENT;
}

/* Peers that stop half-way must not keep all buffers. */
static bool sbxi_ws_may_wait(const sbxi_net *net)
{
    return net->rx.used + 2 <= net->rx.count;
}

SBXI_FN bool sbxi_ws_unread(const sbxi_net *net, const sbxi_link *l)
{
    return l->rx_at < l->rx_end && !(l->half && sbxi_ws_may_wait(net));
}

/* The beginning of a text message that fits into the receive buffer: it is left
   there until the rest has come, so that the reader sees it whole. Of binary
   ones the borders mean nothing. */
static bool sbxi_ws_rest_to_come(const sbxi_net *net, const sbxi_link *l, const sbx_ws *after, const sbx_ws_event *ev)
{
    return sbxi_ws_may_wait(net) && ev->first && !ev->last && after->left && after->left <= net->rx.size - (l->rx_end - l->rx_at);
}

SBXI_FN sbxi_got sbxi_ws_next(sbxi_net *net, sbxi_link *l, sbx_ws_event *ev)
{
    for (;;) {
        sbxi_got got = SBXI_GOT_EVENT;
        sbx_ws_kind kind = SBX_WS_MORE;

        if (l->rx_at < l->rx_end) {
            char *p = l->rx + l->rx_at;
            sbx_ws after;

            got = sbxi_ws_can_answer(net, l);
            if (got != SBXI_GOT_EVENT)
                return got;
            after = l->codec.ws;
            kind = sbx_ws_read(&after, &p, l->rx + l->rx_end, ev);
            if (kind == SBX_WS_TEXT && sbxi_ws_rest_to_come(net, l, &after, ev)) {
                l->half = true;
                got = sbxi_link_more(net, l);
                if (got != SBXI_GOT_EVENT)
                    return got;
                continue;
            }
            l->codec.ws = after;
            l->rx_at = (uint32_t)(p - l->rx);
            if (kind == SBX_WS_TEXT || kind == SBX_WS_BINARY)
                return SBXI_GOT_EVENT;
        }
        got = kind == SBX_WS_MORE ? sbxi_link_more(net, l) : sbxi_ws_control(net, l, kind, ev);
        if (got != SBXI_GOT_EVENT)
            return got;
    }
}

/* ======== src/op.h ======== */
/* ---- op: life of an operation: request, retry, back-off, errors (private) ---- */
#ifndef SBXI_OP_H
#define SBXI_OP_H

typedef struct sbxi_op sbxi_op;

/* ---- endpoints are data ---- */

typedef enum sbxi_base {
    SBXI_BASE_CONTROL, /* the client's endpoint */
    SBXI_BASE_ROOT,    /* the endpoint without the sandbox API's own path */
    SBXI_BASE_BOX,     /* the sandbox's data plane */
    /* Hosts that get neither key nor default headers: */
    SBXI_BASE_URL,     /* the origin is the segment, path and query the query */
    SBXI_BASE_SERVICE  /* the sbx_service in u.http.info; path and query are the query */
} sbxi_base;

typedef enum sbxi_retry {
    SBXI_RETRY_SAFE, /* repeating does no harm */
    SBXI_RETRY_ONCE  /* only while unsent, on 429, or on 503 without a typed body */
} sbxi_retry;

typedef enum sbxi_answer {
    SBXI_ANSWER_NONE,  /* the body is of no interest */
    SBXI_ANSWER_MODEL, /* one object */
    SBXI_ANSWER_LIST,  /* items, one by one */
    SBXI_ANSWER_FILE,  /* bytes */
    SBXI_ANSWER_STAT,  /* only its headers */
    SBXI_ANSWER_HTTP,  /* whatever it is: status, head, bytes */
    SBXI_ANSWER_STREAM, /* a WebSocket: row->stream goes on */
    SBXI_ANSWER_EVENTS  /* an event stream: row->stream reads the body */
} sbxi_answer;

/* Of an operation. */
#define SBXI_IS_HTTP(op) (!SBX_NO_URLS && (op)->row->answer == SBXI_ANSWER_HTTP)

/* What an answer means; the first that fits counts. */
typedef struct sbxi_rule {
    uint16_t status;  /* 0 = any */
    uint8_t code;     /* sbx_code */
    uint8_t resource; /* sbx_resource; NONE = the row's */
    const char *type; /* the body's error type; NULL = any */
} sbxi_rule;

typedef struct sbxi_rules {
    const sbxi_rule *rules;
    uint8_t count;
    const struct sbxi_rules *next; /* asked when none of these fits */
    void (*refine)(sbxi_op *op);   /* details that only the text tells */
} sbxi_rules;

typedef enum sbxi_run { SBXI_RUN_IDLE, SBXI_RUN_EVENT, SBXI_RUN_HELD, SBXI_RUN_STARVED } sbxi_run;

typedef struct sbxi_row {
    const char *operation;
    const char *method; /* "" = the block's command_id has it */
    const char *prefix, *suffix; /* around the encoded segment of the path */
    uint8_t base, retry, answer, resource;
    int32_t timeout_ms; /* 0 = the client's */
    const sbxi_model *model;
    const sbxi_rules *rules;
    /* A model is about to be decoded, or an event stream to be read.
       SBXI_ANSWER_HTTP: the head is complete. */
    void (*prepare)(sbx_client *c, sbxi_op *op);
    /* The answer is complete. True: the operation goes on (it has a new row
       or a time to wake at). NULL = it is done. */
    bool (*after)(sbx_client *c, sbxi_op *op);
    /* An item or object was decoded and may be finished by hand.
       SBXI_ANSWER_HTTP: a header came, `model` is its sbx_http1_event.
       SBXI_ANSWER_EVENTS: likewise; then, in a stream, a piece of output came,
       `model` is its sbx_json_tok, whose text becomes bytes in place. */
    void (*decoded)(sbx_client *c, sbxi_op *op, void *model);
    /* SBXI_ANSWER_STREAM: the upgrade is done; runs like sbxi_op_run.
       SBXI_ANSWER_HTTP: an attempt begins; may put another row first.
       SBXI_ANSWER_LIST: an item is complete (sbxi_op_item); named here so that
       a program without lists does not link it. */
    sbxi_run (*stream)(sbx_client *c, sbxi_op *op, sbx_event *ev);
    /* An attempt failed: the stream's own rules. True = it was dealt with. */
    bool (*failed)(sbx_client *c, sbxi_op *op);
    /* The operation is over, whatever its end: results are written here. */
    void (*finished)(sbx_client *c, sbxi_op *op);
} sbxi_row;

/* ---- a request and its answer ---- */

/* The longest command id. */
#define SBXI_ID_MAX 36

/* What a failing answer says. */
typedef struct sbxi_failure {
    char type[48], field[48], text[256];
    char error_id[40]; /* for the service's support; of a stream's message: the id that the server chose */
    bool cut, typed; /* typed: the server itself named a type */
} sbxi_failure;

/* What POST /execute answers. */
typedef struct sbxi_exec {
    sbxi_sink out, err;
    int exit_code;
} sbxi_exec;

/* A URL that the service hands out. The texts without bound lie behind the
   request. */
typedef struct sbxi_grant {
    sbxi_sink link, token;
    char url[512];
    int64_t expires_ms;
} sbxi_grant;

/* Around a list's items. */
typedef struct sbxi_page {
    char next_cursor[256];
    int64_t next_offset;
    bool truncated;
} sbxi_page;

#define SBXI_RECENT 32

/* A command whose SSH agent is the caller's: of the message that is read. */
#define SBXI_CHANNEL_MAX 63
typedef struct sbxi_agent {
    const struct sbxi_agent_calls *calls; /* NULL: the caller has none */
    uint8_t channel_n; /* SBXI_CHANNEL_MAX + 1: longer */
    char channel[SBXI_CHANNEL_MAX];
    uint32_t base64;   /* state of the text that is decoded */
} sbxi_agent;

/* Shared among operations whose answer has not ended: request bytes behind
   it, kept for repetition, and the answer while it is decoded. */
typedef struct sbxi_block {
    uint32_t at;   /* where its text begins behind the block */
    uint32_t seg_n, query_n, header_n, body_n; /* lengths of the parts of its text, in this order */
    uint32_t other[5]; /* the same of another request that this one needs, or follows (sbxi_op_other) */
    uint32_t seen; /* bytes of an error body */
    bool overflow;
    bool stat_known;
    uint8_t recent_at;
    char boundary[32]; /* of a multipart body; "" = none */
    char command_id[SBXI_ID_MAX + 1]; /* see sbxi_command.id; of an exchange the method, where the row has none */
    sbxi_dec dec;
    sbxi_failure failure;
    union {
        sbx_box_info box;
        sbx_match match;
        sbx_status_info status;
        sbx_file_stat stat;
        sbxi_exec exec;
        sbx_snapshot snapshot;
        sbx_snapshot_tag tag;
        sbx_registry registry;
        sbxi_grant grant;
#if !SBX_NO_LEGACY
        sbx_template old_template;
        sbx_volume old_volume;
        sbx_pool old_pool;
#endif
        sbx_shared_port port;
        sbxi_agent agent;
    } answer; /* of an item in lists: its id stands first */
    sbxi_page page;
    uint64_t recent[SBXI_RECENT]; /* hashes of the last items, to drop those that a shifting page repeats */
} sbxi_block;

/* ---- the operation ---- */

typedef enum sbxi_state {
    SBXI_OP_FREE,
    SBXI_OP_NEW,     /* deadlines are not set yet */
    SBXI_OP_START,   /* wants a connection */
    SBXI_OP_CONNECT,
    SBXI_OP_SEND,
    SBXI_OP_HEAD,
    SBXI_OP_BODY,
    SBXI_OP_STREAM,
    SBXI_OP_REWIND,  /* wants the caller to push the body again */
    SBXI_OP_PAUSE,   /* until wake_at: back-off or poll interval */
    SBXI_OP_DONE     /* END was not pulled yet */
} sbxi_state;

/* WebSocket close code 1001: reattach at once. */
#define SBXI_CLOSE_GOING_AWAY 1001

/* Lists that an operation can be in, one at a time. */
typedef enum sbxi_list_id { SBXI_LIST_NONE, SBXI_LIST_RUN, SBXI_LIST_EVENT, SBXI_LIST_LINK, SBXI_LIST_STARVED, SBXI_LIST_COUNT } sbxi_list_id;

/* Events that wait to be pulled. */
enum { SBXI_NOTE_RETRYING = 1, SBXI_NOTE_WRITABLE = 2, SBXI_NOTE_REWIND = 4, SBXI_NOTE_RECONNECTED = 8, SBXI_NOTE_STARTED = 16, SBXI_NOTE_GAP = 32, SBXI_NOTE_HEAD = 64 };

enum {
    SBXI_OP_STREAMING = 1,  /* its output is pulled by the caller */
    SBXI_OP_SENT = 2,       /* some of this attempt's request went out */
    SBXI_OP_EVER_SENT = 4,  /* of any attempt's */
    SBXI_OP_DRAIN = 8,      /* the rest of the answer is only counted */
    SBXI_OP_INTERNAL = SBX_NO_OWNED ? 0 : 16, /* the client's own; no event is reported */
    SBXI_OP_PUSH_END = 32,  /* the caller pushed the last byte */
    SBXI_OP_WANTS_ROOM = 64, /* a call that sends took less than it was given: WRITABLE is due */
    SBXI_OP_FAILING = 128,  /* the answer's body is an error */
    SBXI_OP_ACCEPTED = 256, /* the upgrade's answer fits its key */
    SBXI_OP_PING_DUE = 512,
    SBXI_OP_ALLOC = SBX_NO_ALLOC ? 0 : 1024, /* results lie in the allocator's memory */
    SBXI_OP_LIVE = 2048,    /* a stream under way: only silence ends it */
    SBXI_OP_HOLDS = 4096,   /* something that only its end gives back */
    SBXI_OP_AS = 8192       /* from this bit on: the function called (sbxi_as) */
};

/* The compact error; texts are static, the server's own lie in the block. */
typedef struct sbxi_fail {
    uint8_t code, layer, resource, quota;
    uint16_t status;
    bool has_text;  /* block->failure counts */
    bool permanent; /* as the transport says: repeating cannot help */
    int32_t sys;
    int32_t retry_after_s; /* -1 = none */
    const char *text;
} sbxi_fail;

typedef struct sbxi_http {
    void *out, *info;
    sbxi_sink sink;     /* file bytes, items, a command's stdout */
    sbxi_sink err;      /* a command's stderr; an answer's head */
    sbx_buf raw;        /* the answer's text */
    size_t raw_total;
    size_t *raw_n;
    uint64_t total;     /* bytes or items that came */
    uint64_t cursor;    /* list: hash of the last page's cursor; SBXI_ANSWER_HTTP: its status */
    const char *data;   /* upload: the caller's bytes */
    uint64_t size;      /* upload: bytes of the file, UINT64_MAX = not known; read: of the file; list: items before the last page */
    uint64_t pos;       /* upload: bytes pushed; read: first byte asked for */
    uint64_t want;      /* read: bytes asked for, 0 = all; list: pages before */
    int64_t until;      /* polling ends; a token: the answer's Date; SBXI_ANSWER_HTTP: its length, -1 = not said */
    int32_t poll_ms;    /* SBXI_ANSWER_HTTP: the silence that its body may have; list: pages in a row without a new item */
    uint8_t step;       /* upload: the part that is sent; list: options */
    bool chunked : 1, resume : 1, from_end : 1, bad_range : 1, if_range : 1, not_modified : 1, one_page : 1, unique : 1, executed : 1;
    bool dated : 1;     /* of a model, the Date is wanted */
    bool pushed : 1;    /* the body comes by sbx_push */
    bool safe : 1, renew : 1, renewed : 1; /* request to a service: it may be repeated; its token is, or was, replaced */
    uint64_t skip;      /* read: bytes to drop, where the server ignored the range; list: like cursor, of an older page */
} sbxi_http;

/* What a command's stream is about. */
typedef struct sbxi_phase {
    uint8_t part_n, want, drops;
    unsigned field : 6;
    unsigned loose : 2; /* bit i: of stream i, some of `since` was delivered, or `skip` counts it */
    unsigned type : 4, phase : 2, gap_stream : 2;
    bool whole : 1, has_offset : 1, placed : 1, assuming : 1, replaced : 1, same : 1, in_message : 1, message_done : 1;
    bool has_data : 1, named : 1, killing : 1, killed : 1, no_reconnect : 1, attach : 1, lost : 1, started : 1;
    bool reattached : 1, hello_begun : 1, hasty : 1;
    bool says_upgrade : 1, says_connection : 1; /* the handshake's answer */
    bool acked : 1;  /* SSE: the server waits for an acknowledgement, and its answer ends */
    bool stuck : 1;  /* tunnel: what came waits for the peer to take something, not for the caller */
} sbxi_phase;

/* A command's output stream. `base` is an offset that the server named, `since`
   the decoded bytes seen behind it: more than 0 only after a replacement
   character, which may stand for fewer raw bytes. Then only `base` can be
   asked for again, and `skip` decoded bytes are dropped. Of what the server
   repeats unasked, `skip` counts raw bytes, and the next offset that it names
   says how many of them a replaced text was. */
typedef struct sbxi_out {
    uint64_t base;
    uint32_t since, skip;
} sbxi_out;

typedef struct sbxi_command {
    unsigned char id[16]; /* a UUID; any other id lies in the block, which is kept for it (`named`) */
    sbxi_out stream[2];
    sbxi_sink sink[2];   /* sbx_run */
    sbx_result *result;
    uint64_t offset;     /* of the message being read, where it named one */
    uint64_t assumed;    /* and where it did not when its data came; a gap lies between the two. Before the first
                            message: when the connect budget ends */
    sbx_json json;
    uint32_t pid;
    uint16_t cols, rows;
    union {
        char part[24];   /* a key or short value cut by the end of input; the handshake's nonce before */
        struct {
            char *data;  /* output that is decoded and not delivered */
            uint32_t data_n;
            uint32_t base64; /* SSE: state of the text that is decoded */
        } out;
    } held;
} sbxi_command;

/* A tunnel, or one of its connections. */
typedef struct sbxi_session sbxi_session;
typedef struct sbxi_tunnel {
    sbxi_session *session; /* NULL: the tunnel has ended */
    uint64_t total;        /* bytes given out */
    uint32_t slot;         /* of a connection: which of the session's */
    uint32_t carrier;      /* of a connection: its tunnel's operation */
} sbxi_tunnel;

/* What is used most stands first: offsets below 32 and 128 take shorter
   instructions on small machines. */
struct sbxi_op {
    uint8_t list, state, notes;
    uint8_t attempts, max_retries;
    uint8_t retry_code;
    uint16_t flags;
    sbxi_phase s;      /* of a command */
    sbxi_fail fail;
    sbxi_node node;
    uint32_t gen;
    uint32_t link; /* index, SBXI_NIL = none */
    const sbxi_row *row;
    const sbx_box *box;
    void *user;
    sbxi_block *block;
    char *piece;      /* bytes of the answer in the receive buffer, not read yet */
    int64_t total_at, attempt_at, wake_at;
    uint32_t piece_n;
    int32_t timeout_ms;
    uint32_t delay_ms;
    int32_t exit_code; /* of END: a command's, or the sandboxes that a shutdown left */
    union {
        sbxi_http http;
        sbxi_command command;
        sbxi_tunnel tunnel;
    } u;
};

/* A sandbox that delete_on_close owns. */
typedef struct sbxi_owned {
    char name[128];
    uint8_t state; /* 0 = free */
    bool failed;   /* to be deleted */
    uint32_t op;   /* its create or delete, SBXI_NIL = none */
} sbxi_owned;

struct sbx_client {
    sbxi_net net;
    sbx_client_desc desc;
    sbxi_op *ops;
    sbxi_list lists[SBXI_LIST_COUNT];
    uint32_t free_head; /* free operations, chained by node.next */
    uint32_t ops_used;   /* the last one is left to sbx_shutdown's deletions */
    sbxi_pool blocks;
    sbxi_timers timers;
    sbxi_owned *owned;
    char *endpoint;
    sbxi_url base;
    char *headers;      /* the client's own, as lines */
    size_t headers_n;
    char *agent;
    char key[512];
    size_t key_n;
    uint32_t borrowed;  /* operation whose event's data is out, SBXI_NIL = none */
    uint32_t blocked;   /* operation that the caller waits for, SBXI_NIL = none */
    bool closing;
    bool from_malloc;
    uint32_t shutdown;  /* operation of sbx_shutdown, SBXI_NIL = none */
    sbx_op last_op;
    sbx_error last;     /* of last_op */
    sbx_error refused;  /* of the last call that was refused at once */
    size_t memory;
    void *mem;          /* as it was given */
    uint32_t turn_events;
};

/* ---- starting ---- */

/* The public function that was called, where its row has another's name or
   does not stay. */
typedef enum sbxi_as { SBXI_AS_ROW, SBXI_AS_RUN, SBXI_AS_ATTACH, SBXI_AS_LS, SBXI_AS_UPDATE, SBXI_AS_WAIT_READY, SBXI_AS_START } sbxi_as;
/* As errors call it. */
SBXI_FN const char *sbxi_op_name(const sbxi_op *op);

/* A new operation with a block, or NULL: *refused is what the call returns. */
SBXI_FN sbxi_op *sbxi_op_new(sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as, sbx_op *refused);
/* An error of the caller's: what was refused, and why. */
SBXI_FN void sbxi_error_local(sbx_error *e, sbx_code code, const char *operation, const char *field, const char *text);
/* Refuses: frees the operation and notes the error. */
SBXI_FN sbx_op sbxi_op_refuse(sbx_client *c, sbxi_op *op, sbx_code code, const char *operation, const char *field, const char *text);
/* Makes it run. */
SBXI_FN sbx_op sbxi_op_start(sbx_client *c, sbxi_op *op);
SBXI_FN sbx_op sbxi_op_handle(const sbx_client *c, const sbxi_op *op);
SBXI_FN sbxi_op *sbxi_op_get(const sbx_client *c, sbx_op h);
SBXI_FN SBXI_ONCE uint32_t sbxi_op_id(const sbx_client *c, const sbxi_op *op);
SBXI_FN sbxi_link *sbxi_op_link(sbx_client *c, const sbxi_op *op);
/* Where its requests go; false: the sandbox's URL is none. */
SBXI_FN SBXI_ONCE bool sbxi_op_url(const sbx_client *c, const sbxi_op *op, sbxi_url *url);
/* Tells the trace hook of its link's status, its repetition or its end. */
SBXI_FN SBXI_ONCE void sbxi_trace_op(sbx_client *c, const sbxi_op *op, sbx_trace_kind kind, uint32_t number);

/* Whether its body is sent part by part, from the caller's bytes. */
SBXI_FN bool sbxi_is_upload(const sbxi_op *op);

SBXI_FN char *sbxi_block_text(const sbxi_block *b);
/* Goes over to the block's other request; at first that is an empty one behind
   the first. */
SBXI_FN void sbxi_op_other(sbxi_op *op);
SBXI_FN sbxi_block *sbxi_op_block(sbx_client *c); /* a clean one, or NULL */
SBXI_FN void sbxi_op_drop_block(sbx_client *c, sbxi_op *op);
/* Puts the segment, query or body into the block, in this order. */
SBXI_FN bool sbxi_op_segment(sbx_client *c, sbxi_op *op, sbx_str seg);
/* Another segment in place of it. Query and body go, without a trace: they may
   hold a secret. False: it does not fit. */
SBXI_FN bool sbxi_op_resegment(sbx_client *c, sbxi_op *op, sbx_str seg);
SBXI_FN char *sbxi_op_room(sbx_client *c, sbxi_op *op, size_t *room);
/* The headers of a call, behind segment and query. */
SBXI_FN const char *sbxi_header_lines(char *p, size_t cap, size_t *n, const sbx_header *h, size_t count);
SBXI_FN const char *sbxi_op_headers(sbx_client *c, sbxi_op *op, const sbx_call *call, const char **why);

/* A command whose output comes as an event stream. */
SBXI_INLINE bool sbxi_op_is_sse(const sbxi_op *op)
{
    return !SBX_NO_SSE && op->row->answer == SBXI_ANSWER_EVENTS;
}
/* Such a stream goes on with a request that is made anew each time, in at most
   SBXI_RESUME_MAX bytes: its length. Set by the service's part. */
#define SBXI_RESUME_MAX 192
SBXI_FN size_t sbxi_resume_body(const sbxi_op *op, char *to);

/* ---- running ---- */

SBXI_FN void sbxi_op_list(sbx_client *c, sbxi_op *op, sbxi_list_id list);
/* Something happened: it has to run. */
SBXI_FN void sbxi_op_wake(sbx_client *c, sbxi_op *op);
/* Sets its timer by the earliest of its times. */
SBXI_FN void sbxi_op_arm(sbx_client *c, sbxi_op *op);
/* Its attempt may take ms from now on. */
SBXI_FN void sbxi_op_allow(sbx_client *c, sbxi_op *op, int32_t ms);
SBXI_FN sbxi_run sbxi_op_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
SBXI_FN void sbxi_op_timer(sbx_client *c, sbxi_op *op);
/* Composes the request's head (and small body) into the send buffer. */
SBXI_FN bool sbxi_op_compose(sbx_client *c, sbxi_op *op);
SBXI_FN SBXI_ONCE bool sbxi_header_is(const sbx_http1_event *e, const char *name); /* in small letters */
SBXI_FN sbxi_run sbxi_op_item(sbx_client *c, sbxi_op *op, sbx_event *ev);
SBXI_FN sbxi_run sbxi_op_exchange(sbx_client *c, sbxi_op *op, sbx_event *ev);

/* ---- ending ---- */

SBXI_FN void sbxi_op_release_link(sbx_client *c, sbxi_op *op, bool keep);
SBXI_FN void sbxi_op_finish(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_op_fail(sbx_client *c, sbxi_op *op, sbx_code code, sbx_layer layer, const char *text);
SBXI_FN void sbxi_op_set_fail(sbxi_op *op, sbx_code code, sbx_layer layer, const char *text);
/* The attempt's error is set: repeats it or ends the operation. */
SBXI_FN void sbxi_op_attempt_failed(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_op_net_failed(sbx_client *c, sbxi_op *op, sbxi_got got);
/* Repeats after delay_ms; false when the total deadline comes first. */
SBXI_FN bool sbxi_op_again(sbx_client *c, sbxi_op *op, uint32_t delay_ms);
SBXI_FN void sbxi_op_free(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_event_init(sbx_client *c, const sbxi_op *op, sbx_event *ev, sbx_event_kind kind);
SBXI_FN uint32_t sbxi_backoff(sbx_client *c, unsigned n, uint32_t first_ms, uint32_t cap_ms);

/* How a failing answer's body reads; set by the service's part. */
SBX_EXTERN_C_BEGIN
extern const sbxi_model sbxi_failure_model;
SBX_EXTERN_C_END
/* The row that deletes a sandbox the client owns; set by the service's part. */
SBXI_FN void sbxi_owned_run(sbx_client *c);

#endif

/* ======== src/op.c ======== */

/* ---- handles, slots, blocks ---- */

SBXI_FN SBXI_ONCE uint32_t sbxi_op_id(const sbx_client *c, const sbxi_op *op)
{
    return (uint32_t)(op - c->ops);
}

SBXI_FN sbx_op sbxi_op_handle(const sbx_client *c, const sbxi_op *op)
{
    sbx_op h;

    h.slot = sbxi_op_id(c, op) + 1;
    h.gen = op->gen;
    return h;
}

SBXI_FN sbxi_op *sbxi_op_get(const sbx_client *c, sbx_op h)
{
    sbxi_op *op;

    if (h.slot == 0 || h.slot > c->desc.max_ops)
        return NULL;
    op = &c->ops[h.slot - 1];
    return op->gen == h.gen && op->state != SBXI_OP_FREE ? op : NULL;
}

SBXI_FN sbxi_link *sbxi_op_link(sbx_client *c, const sbxi_op *op)
{
    return op->link == SBXI_NIL ? NULL : &c->net.links[op->link];
}

/* Without the end that it has of these. */
static sbx_str sbxi_root_path(sbx_str path)
{
    static const char own[] = "/api/v2/sandboxes";

    for (size_t skip = 0; skip <= 4; skip += 4) { /* with "/api", then without */
        size_t n = sizeof own - 1 - skip;

        if (path.n >= n && memcmp(path.p + path.n - n, own + skip, n) == 0)
            return sbx_sn(path.p, path.n - n);
    }
    return path;
}

SBXI_FN SBXI_ONCE bool sbxi_op_url(const sbx_client *c, const sbxi_op *op, sbxi_url *url)
{
    sbx_str text;

    *url = c->base;
    if (op->row->base == SBXI_BASE_ROOT)
        url->path = sbxi_root_path(url->path);
    if (op->row->base < SBXI_BASE_BOX)
        return true;
    if (!SBX_NO_URLS && op->row->base == SBXI_BASE_URL)
        text = sbx_sn(sbxi_block_text(op->block), op->block->seg_n);
    else
        text = sbx_s(SBX_NO_URLS || op->row->base == SBXI_BASE_BOX ? op->box->url : ((const sbx_service *)op->u.http.info)->url);
    return sbxi_url_parse(text, url);
}

SBXI_FN SBXI_ONCE void sbxi_trace_op(sbx_client *c, const sbxi_op *op, sbx_trace_kind kind, uint32_t number)
{
    sbxi_net_trace(&c->net, kind, sbxi_op_link(c, op), sbxi_op_id(c, op) + 1, number, sbx_s(kind == SBX_TRACE_STATUS ? "" : sbxi_op_name(op)));
}

SBXI_FN char *sbxi_block_text(const sbxi_block *b)
{
    return (char *)(b + 1) + b->at;
}

static uint32_t sbxi_parts_end(const uint32_t *p)
{
    return p[0] + p[1] + p[2] + p[3] + p[4];
}

SBXI_FN void sbxi_op_other(sbxi_op *op)
{
    sbxi_block *b = op->block;
    uint32_t now[5];

    now[0] = b->at;
    now[1] = b->seg_n;
    now[2] = b->query_n;
    now[3] = b->header_n;
    now[4] = b->body_n;
    b->at = sbxi_parts_end(b->other) ? b->other[0] : sbxi_parts_end(now);
    b->seg_n = b->other[1];
    b->query_n = b->other[2];
    b->header_n = b->other[3];
    b->body_n = b->other[4];
    memcpy(b->other, now, sizeof now);
}

SBXI_FN sbxi_block *sbxi_op_block(sbx_client *c)
{
    sbxi_block *b = (sbxi_block *)(void *)sbxi_pool_take(&c->blocks);

    if (b)
        memset(b, 0, sizeof *b);
    return b;
}

/* Its headers may hold a key, also those that were refused or moved. */
SBXI_FN void sbxi_op_drop_block(sbx_client *c, sbxi_op *op)
{
    sbxi_block *b = op->block;

    if (!b)
        return;
    memset(b + 1, 0, c->desc.request_bytes);
    sbxi_pool_give(&c->blocks, (char *)b);
    op->block = NULL;
}

SBXI_FN void sbxi_error_local(sbx_error *e, sbx_code code, const char *operation, const char *field, const char *text)
{
    memset(e, 0, sizeof *e);
    e->code = code;
    e->layer = SBX_LAYER_LOCAL;
    e->retry_after_ms = -1;
    sbxi_copy_z(e->operation, sizeof e->operation, operation);
#if !SBX_NO_ERROR_TEXT
    sbxi_copy_z(e->field, sizeof e->field, field ? field : "");
    {
        size_t n = 0;

        if (field) {
            sbxi_copy_z(e->text, sizeof e->text, field);
            n = strlen(e->text);
            e->text[n++] = ' ';
        }
        sbxi_copy_z(e->text + n, sizeof e->text - n, text ? text : sbx_code_text(code));
    }
#else
    (void)field;
    (void)text;
#endif
}

SBXI_FN sbx_op sbxi_op_refuse(sbx_client *c, sbxi_op *op, sbx_code code, const char *operation, const char *field, const char *text)
{
    sbx_op h;

    sbxi_error_local(&c->refused, code, operation, field, text);
    if (op)
        sbxi_op_free(c, op);
    h.slot = 0;
    h.gen = (uint32_t)code;
    return h;
}

static const char *sbxi_check_call(const sbx_call *call, const char **why)
{
    *why = SBXI_T("must be positive milliseconds, 0 (the default) or SBX_FOREVER");
    if (call->total_ms < SBX_FOREVER)
        return SBXI_T("call.total_ms");
    if (call->timeout_ms < SBX_FOREVER)
        return SBXI_T("call.timeout_ms");
    *why = SBXI_T("must be 100 at most, 0 (the client's) or SBX_NONE");
    if (call->max_retries < SBX_NONE || call->max_retries > 100)
        return SBXI_T("call.max_retries");
    return NULL;
}

static const char *sbxi_name(const sbxi_row *row, unsigned as)
{
    static const char *const names[] = { "run", "attach", "ls", "update", "wait_ready", "start" };

    return as ? names[as - 1] : row->operation;
}

SBXI_FN const char *sbxi_op_name(const sbxi_op *op)
{
    return sbxi_name(op->row, op->flags / SBXI_OP_AS);
}

SBXI_FN sbxi_op *sbxi_op_new(sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as, sbx_op *refused)
{
    const char *why, *text = NULL, *field = sbxi_check_call(call, &why);
    const char *name = sbxi_name(row, as);
    sbx_code code = SBX_OK;
    uint32_t id = c->free_head, gen;
    sbxi_op *op;

    if (c->closing || c->net.inside) {
        code = c->closing ? SBX_ERR_CLOSED : SBX_ERR_STATE;
        field = NULL;
    } else if (field) {
        code = SBX_ERR_ARGUMENT;
        text = why;
    } else if (id == SBXI_NIL || (c->ops_used + 1 >= c->desc.max_ops && c->shutdown == SBXI_NIL)) {
        code = SBX_ERR_FULL;
        field = "max_ops";
        text = SBXI_T("operations are open already: pull END events, or raise it in sbx_client_desc");
    } else if (c->blocks.free_head == SBXI_NIL) {
        code = SBX_ERR_FULL;
        field = "max_requests";
        text = SBXI_T("requests wait for their answer already: step and pull events first, or raise it in sbx_client_desc");
    }
    if (code != SBX_OK) {
        *refused = sbxi_op_refuse(c, NULL, code, name, field, text);
        return NULL;
    }
    op = &c->ops[id];
    c->free_head = op->node.next;
    gen = op->gen;
    memset(op, 0, sizeof *op);
    op->gen = gen;
    op->node.prev = op->node.next = SBXI_NIL;
    op->link = SBXI_NIL;
    op->row = row;
    op->flags = (uint16_t)((unsigned)as * SBXI_OP_AS);
    op->user = call->user;
    op->block = sbxi_op_block(c);
    op->state = SBXI_OP_NEW;
    op->total_at = call->total_ms ? call->total_ms : c->desc.total_ms; /* a length, until it runs */
    op->attempt_at = op->wake_at = SBXI_NEVER;
    op->timeout_ms = call->timeout_ms ? call->timeout_ms : row->timeout_ms ? row->timeout_ms : c->desc.timeout_ms;
    op->max_retries = (uint8_t)SBXI_MAX(0, call->max_retries ? call->max_retries : c->desc.max_retries);
    op->fail.retry_after_s = -1;
    c->ops_used++;
    c->net.usage.ops_high = SBXI_MAX(c->net.usage.ops_high, c->ops_used);
    return op;
}

SBXI_FN void sbxi_op_free(sbx_client *c, sbxi_op *op)
{
    sbxi_op_list(c, op, SBXI_LIST_NONE);
    sbxi_timer_set(&c->timers, sbxi_op_id(c, op), SBXI_NEVER);
    sbxi_op_release_link(c, op, false);
    sbxi_op_drop_block(c, op);
    op->state = SBXI_OP_FREE;
    op->gen++;
    if (c->borrowed == sbxi_op_id(c, op))
        c->borrowed = SBXI_NIL;
    op->node.next = c->free_head;
    c->free_head = sbxi_op_id(c, op);
    c->ops_used--;
}

/* ---- request bytes ---- */

SBXI_FN char *sbxi_op_room(sbx_client *c, sbxi_op *op, size_t *room)
{
    sbxi_block *b = op->block;
    size_t used = (size_t)b->at + b->seg_n + b->query_n + b->header_n + b->body_n;

    used = SBXI_MAX(used, sbxi_parts_end(b->other));
    *room = c->desc.request_bytes - used;
    return (char *)(b + 1) + used;
}

SBXI_FN bool sbxi_op_segment(sbx_client *c, sbxi_op *op, sbx_str seg)
{
    size_t room, n;
    char *p = sbxi_op_room(c, op, &room);

    n = sbxi_percent(p, room, seg, "");
    if (n > room)
        return false;
    op->block->seg_n = (uint32_t)n;
    return true;
}

SBXI_FN bool sbxi_op_resegment(sbx_client *c, sbxi_op *op, sbx_str seg)
{
    sbxi_block *b = op->block;
    char *text = sbxi_block_text(b);
    size_t n = sbxi_percent(NULL, 0, seg, ""), used = n + b->header_n;

    if (used > c->desc.request_bytes)
        return false;
    memmove(text + n, text + b->seg_n + b->query_n, b->header_n);
    sbxi_percent(text, n, seg, "");
    memset(text + used, 0, c->desc.request_bytes - used);
    b->seg_n = (uint32_t)n;
    b->query_n = b->body_n = 0;
    return true;
}

/* Headers that frame the message or the connection are the library's own. */
static bool sbxi_header_reserved(sbx_str name)
{
    static const char *const own[] = { "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "content-type", "expect" };

    for (size_t i = 0; i < SBXI_COUNT(own); i++)
        if (sbxi_eq_nocase(name, sbx_s(own[i])))
            return true;
    return name.n > 14 && sbxi_eq_nocase(sbx_sn(name.p, 14), sbx_sn("sec-websocket-", 14));
}

/* "Name: value\r\n" for each, measured or written; NULL, or what is wrong. */
SBXI_FN const char *sbxi_header_lines(char *p, size_t cap, size_t *n, const sbx_header *h, size_t count)
{
    if (count && !h)
        return SBXI_T("has a count but no address");
    for (size_t i = 0; i < count; i++) {
        size_t need = h[i].name.n + h[i].value.n + 4;

        if (!sbx_http1_name_ok(h[i].name))
            return SBXI_T("has a name that is not a token (RFC 9110 5.6.2)");
        if (!sbx_http1_value_ok(h[i].value))
            return SBXI_T("has a value with CR, LF, NUL or another control character");
        if (sbxi_header_reserved(h[i].name))
            return SBXI_T("has a name that the library sets itself");
        if (p && *n + need <= cap) {
            char *at = p + *n;

            memcpy(at, h[i].name.p, h[i].name.n);
            at += h[i].name.n;
            *at++ = ':';
            *at++ = ' ';
            if (h[i].value.n)
                memcpy(at, h[i].value.p, h[i].value.n);
            at += h[i].value.n;
            *at++ = '\r';
            *at = '\n';
        }
        *n += need;
    }
    return NULL;
}

SBXI_FN const char *sbxi_op_headers(sbx_client *c, sbxi_op *op, const sbx_call *call, const char **why)
{
    size_t room, n = 0;
    char *p = sbxi_op_room(c, op, &room);
    sbx_header key;

    *why = sbxi_header_lines(p, room, &n, call->headers, call->headers_n);
    if (*why)
        return SBXI_T("call.headers");
    if (call->api_key.p) {
        *why = call->api_key.n ? NULL : SBXI_T("must not be empty");
        if (*why)
            return SBXI_T("call.api_key");
        key.name = sbx_s("X-Api-Key");
        key.value = call->api_key;
        *why = sbxi_header_lines(p, room, &n, &key, 1);
        if (*why)
            return SBXI_T("call.api_key");
    }
    if (n > room)
        op->block->overflow = true;
    else
        op->block->header_n = (uint32_t)n;
    return NULL;
}

static bool sbxi_lines_have(const char *p, size_t n, sbx_str name)
{
    const char *end = p + n;

    while (p < end) {
        const char *line = p;

        while (*p != '\n')
            p++;
        p++;
        if ((size_t)(p - line) > name.n && line[name.n] == ':' && sbxi_eq_nocase(sbx_sn(line, name.n), name))
            return true;
    }
    return false;
}

/* The name of the line at p. */
static sbx_str sbxi_line_name(const char *p)
{
    const char *q = p;

    while (*q != ':')
        q++;
    return sbx_sn(p, (size_t)(q - p));
}

/* ---- composing ---- */

typedef struct sbxi_lines {
    const char *own, *call; /* the client's and the call's */
    size_t own_n, call_n;
} sbxi_lines;

static SBXI_ONCE void sbxi_put_raw(sbx_http1w *w, const char *p, size_t n)
{
    if (n <= w->cap && w->n <= w->cap - n)
        memcpy(w->p + w->n, p, n);
    else
        w->error = SBX_HTTP1W_FULL;
    w->n += n;
}

static SBXI_ONCE void sbxi_put_header(sbx_http1w *w, const char *name, const char *value)
{
    sbx_http1w_header(w, sbx_s(name), sbx_s(value));
}

/* A header of the library's, unless the caller gave one of that name. */
static SBXI_ONCE void sbxi_put_default(sbx_http1w *w, const sbxi_lines *l, const char *name, const char *value)
{
    if (!sbxi_lines_have(l->own, l->own_n, sbx_s(name)) && !sbxi_lines_have(l->call, l->call_n, sbx_s(name)))
        sbxi_put_header(w, name, value);
}

static SBXI_NOINLINE void sbxi_put_lines(sbx_http1w *w, const sbxi_lines *l)
{
    const char *p = l->own, *end = l->own + l->own_n;

    while (p < end) {
        const char *line = p;

        while (*p != '\n')
            p++;
        p++;
        if (!sbxi_lines_have(l->call, l->call_n, sbxi_line_name(line)))
            sbxi_put_raw(w, line, (size_t)(p - line));
    }
    if (l->call_n)
        sbxi_put_raw(w, l->call, l->call_n);
}

static size_t sbxi_join(char *p, size_t room, const sbx_str *parts, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].n && n + parts[i].n <= room)
            memcpy(p + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    return n;
}

static SBXI_NOINLINE sbx_str sbxi_host_text(char *p, size_t room, const sbxi_url *url)
{
    bool v6 = memchr(url->host.p, ':', url->host.n) != NULL;
    char digits[21];
    sbx_str parts[4];
    size_t n;

    digits[0] = ':';
    n = 1 + sbxi_u64_text(digits + 1, url->port);
    if (url->port == (url->tls ? 443 : 80))
        n = 0;
    parts[0] = sbx_sn("[", v6 ? 1 : 0);
    parts[1] = url->host;
    parts[2] = sbx_sn("]", v6 ? 1 : 0);
    parts[3] = sbx_sn(digits, n);
    return sbx_sn(p, sbxi_join(p, room, parts, 4));
}

static SBXI_NOINLINE void sbxi_put_stream(sbx_client *c, sbxi_op *op, sbx_http1w *w)
{
    unsigned char *nonce = (unsigned char *)op->u.command.held.part; /* unused until a message is cut */
    char key[24];

    if (!sbxi_net_random(&c->net, nonce, 16))
        return;
    sbx_ws_key(key, nonce);
    sbxi_put_header(w, "Upgrade", "websocket");
    sbxi_put_header(w, "Connection", "Upgrade");
    sbxi_put_header(w, "Sec-WebSocket-Version", "13");
    sbx_http1w_header(w, sbx_s("Sec-WebSocket-Key"), sbx_sn(key, sizeof key));
}

static const char sbxi_range_unit[] = "bytes=";

static SBXI_NOINLINE void sbxi_put_range(sbxi_op *op, sbx_http1w *w, const sbxi_lines *lines)
{
    const sbxi_http *h = &op->u.http;
    char text[64];
    size_t n = sizeof sbxi_range_unit - 1;
    uint64_t from = h->pos + h->total;

    op->u.http.bad_range = true; /* until the answer names the right one */
    if (!from && !h->want && !h->from_end && !h->if_range)
        return;
    memcpy(text, sbxi_range_unit, n);
    if (h->from_end && !h->total) {
        text[n++] = '-';
        n += sbxi_u64_text(text + n, h->want);
    } else {
        n += sbxi_u64_text(text + n, from);
        text[n++] = '-';
        if (h->want)
            n += sbxi_u64_text(text + n, h->pos + h->want - 1);
    }
    sbx_http1w_header(w, sbx_s("Range"), sbx_sn(text, n));
    /* The rest of a transfer must be of the same file. */
    if (h->total && op->block->stat_known)
        sbxi_put_default(w, lines, "If-Range", op->block->answer.stat.etag);
}

static SBXI_ONCE const char *sbxi_op_method(const sbxi_op *op)
{
    return SBX_NO_URLS || op->row->method[0] || !op->block ? op->row->method : op->block->command_id;
}

SBXI_FN bool sbxi_is_upload(const sbxi_op *op)
{
    if (SBXI_IS_HTTP(op))
        return op->u.http.pushed || op->u.http.data;
    return op->block && op->block->boundary[0];
}

static SBXI_NOINLINE void sbxi_put_body_headers(sbxi_op *op, sbx_http1w *w, size_t body_n)
{
    sbxi_block *b = op->block;
    char text[80];
    sbx_str parts[2];

    /* A body of its own (multipart) has its text in the block's body. */
    if (b && b->boundary[0]) {
        parts[0] = sbx_s("multipart/form-data; boundary=");
        parts[1] = sbx_s(b->boundary);
        sbx_http1w_header(w, sbx_s("Content-Type"), sbx_sn(text, sbxi_join(text, sizeof text, parts, 2)));
    }
    if (sbxi_is_upload(op)) {
        if (op->u.http.chunked)
            sbxi_put_header(w, "Transfer-Encoding", "chunked");
        else
            sbx_http1w_header_u64(w, sbx_s("Content-Length"), op->u.http.size + b->body_n);
    } else if (body_n) {
        sbxi_put_header(w, "Content-Type", "application/json");
        sbx_http1w_header_u64(w, sbx_s("Content-Length"), body_n);
    } else if (sbxi_op_method(op)[0] == 'P') {
        sbx_http1w_header_u64(w, sbx_s("Content-Length"), 0);
    }
}

/* What the trace may see: no query, and of a link nothing at all. */
static sbx_str sbxi_shown(const sbxi_row *row, sbx_str target)
{
    const char *query = (const char *)memchr(target.p, '?', target.n);

    return sbx_sn(target.p, !SBX_NO_URLS && row->base == SBXI_BASE_URL ? 0 : query ? (size_t)(query - target.p) : target.n);
}

SBXI_FN SBXI_NOINLINE bool sbxi_op_compose(sbx_client *c, sbxi_op *op)
{
    const sbxi_row *row = op->row;
    const sbxi_block *b = op->block;
    const char *text = b ? sbxi_block_text(b) : "";
    sbxi_link *l = sbxi_op_link(c, op);
    const char *method = sbxi_op_method(op);
    bool foreign = !SBX_NO_URLS && row->base >= SBXI_BASE_URL;
    sbxi_url url;
    sbxi_lines lines;
    sbx_str parts[5], target, host;
    sbxi_got got;
    size_t room, tail, body_n = b ? b->body_n : 0;
    char *p = sbxi_link_room(&c->net, l, &room, &got);
    bool resumes = sbxi_op_is_sse(op) && !body_n;
    const char *body;
    sbx_http1w w;

    sbxi_op_url(c, op, &url);
    c->net.entropy_failed = false; /* another's failure is no business of this one */
    lines.own = c->headers;
    lines.own_n = foreign ? 0 : c->headers_n;
    lines.call = b ? text + b->seg_n + b->query_n : text;
    lines.call_n = b ? b->header_n : 0;
    body = lines.call + lines.call_n;
    if (resumes) {
        room -= SBXI_RESUME_MAX;
        body = p + room;
        body_n = sbxi_resume_body(op, p + room);
    }
    parts[0] = url.path;
    parts[1] = sbx_s(row->prefix);
    parts[2] = sbx_sn(text, b && !foreign ? b->seg_n : 0);
    parts[3] = sbx_s(row->suffix);
    parts[4] = sbx_sn(text + (b ? b->seg_n : 0), b ? b->query_n : 0);
    /* Target and host are put together at the buffer's end, then copied to
       where they belong at its start. */
    tail = room / 2;
    target = sbx_sn(p + tail, sbxi_join(p + tail, room - tail, parts, 5));
    if (target.n > room - tail || room - tail - target.n < 320) {
        sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("the URL does not fit: raise tx_bytes"));
        return false;
    }
    host = sbxi_host_text(p + tail + target.n, room - tail - target.n, &url);
    sbx_http1w_request(&w, p, tail, sbx_s(method), target, host);
    w.cap = room;
    if (w.n > tail)
        w.error = SBX_HTTP1W_FULL;
    sbxi_net_trace(&c->net, SBX_TRACE_REQUEST, l, sbxi_op_id(c, op) + 1, 0, sbxi_shown(row, target));
    sbxi_put_default(&w, &lines, "User-Agent", c->agent);
    if (c->key_n && !foreign)
        sbxi_put_default(&w, &lines, "X-Api-Key", c->key);
    if (!SBX_NO_URLS && row->base == SBXI_BASE_SERVICE)
        sbxi_put_default(&w, &lines, "X-Langsmith-Sandbox-Service-Token", ((const sbx_service *)op->u.http.info)->token);
    sbxi_put_default(&w, &lines, "Accept", sbxi_op_is_sse(op) ? "text/event-stream" : "*/*");
    if (row->answer == SBXI_ANSWER_STREAM)
        sbxi_put_stream(c, op, &w);
    else
        sbxi_put_body_headers(op, &w, body_n);
    if (row->answer == SBXI_ANSWER_FILE)
        sbxi_put_range(op, &w, &lines);
    sbxi_put_lines(&w, &lines);
    sbx_http1w_end(&w);
    if (c->net.entropy_failed || w.error)
        memset(p, 0, room); /* a key that nothing will send */
    if (c->net.entropy_failed) {
        sbxi_op_fail(c, op, SBX_ERR_ENTROPY, SBX_LAYER_TRANSPORT, NULL);
        return false;
    }
    if (w.error) {
        sbxi_op_fail(c, op, w.error == SBX_HTTP1W_FULL ? SBX_ERR_TOO_LARGE : SBX_ERR_ARGUMENT, SBX_LAYER_LOCAL,
                     w.error == SBX_HTTP1W_FULL ? SBXI_T("the request's head does not fit: raise tx_bytes") : SBXI_T("the URL or a header has a character that is not allowed"));
        return false;
    }
    l->tx_end += (uint32_t)w.n;
    if (body_n && !(b && b->boundary[0]) && row->answer != SBXI_ANSWER_STREAM) {
        if (resumes || body_n <= room - w.n) {
            memmove(p + w.n, body, body_n);
            l->tx_end += (uint32_t)body_n;
        } else {
            l->out.body.p = body;
            l->out.body.n = body_n;
        }
    }
    sbxi_exchange_begin(&c->net, l, strcmp(method, "HEAD") == 0);
    return true;
}

/* ======== src/op_exchange.c ======== */

/* An error body is read this far; a longer one is cut off with its
   connection. */
#define SBXI_ERROR_BODY_MAX 65536u

/* ---- sending ---- */

/* Text of the multipart frame, or (n 0) only what ends the body, into the send
   buffer; false while it has no room. */
static bool sbxi_send_text(sbx_client *c, sbxi_op *op, const char *p, size_t n, bool end)
{
    static const char tail[] = "\r\n0\r\n\r\n";
    sbxi_link *l = sbxi_op_link(c, op);
    bool chunked = op->u.http.chunked;
    char size[18];
    size_t room, size_n = chunked && n ? sbx_http1_chunk(size, n) : 0;
    sbxi_got got;
    char *to;

    if (!n && !(chunked && end))
        return true;
    to = sbxi_link_room(&c->net, l, &room, &got);
    if (!to || room < n + size_n + 7)
        return false;
    memcpy(to, size, size_n);
    memcpy(to + size_n, p, n);
    to += size_n + n;
    if (chunked) {
        size_n = (n ? 2 : 0) + (end ? 5 : 0);
        memcpy(to, tail + (n ? 0 : 2), size_n);
        to += size_n;
    }
    l->tx_end = (uint32_t)(to - l->tx);
    return true;
}

/* The next part of an upload; false: nothing can go on now. */
static bool sbxi_send_next(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbxi_block *b = op->block;
    const char *text = sbxi_block_text(b) + b->seg_n + b->query_n + b->header_n;
    sbxi_link *l = sbxi_op_link(c, op);

    switch (h->step) {
    case 0: /* `want` is where the frame's end begins */
        if (!sbxi_send_text(c, op, text, (size_t)h->want, false))
            return false;
        h->step = 1;
        return true;
    case 1:
        if (h->pushed) {
            if (op->flags & SBXI_OP_PUSH_END) {
                h->step = 2;
                return true;
            }
            op->attempt_at = SBXI_NEVER; /* it is the caller's turn */
            sbxi_op_arm(c, op);
            if (op->flags & SBXI_OP_WANTS_ROOM && sbxi_link_has_room(&c->net, l)) {
                op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM;
                op->notes |= SBXI_NOTE_WRITABLE;
            }
            return false;
        }
        l->out.body.p = h->data;
        l->out.body.n = (size_t)h->size;
        h->step = 2;
        return true;
    case 2:
        if (!sbxi_send_text(c, op, text + h->want, b->body_n - (size_t)h->want, true))
            return false;
        h->step = 3;
        return true;
    default:
        return false;
    }
}

/* Whether it is not the caller's turn, nor the connection's, but a send
   buffer's. */
static bool sbxi_send_starved(sbx_client *c, const sbxi_op *op)
{
    bool caller = sbxi_is_upload(op) && op->u.http.step == 1 && !(op->flags & SBXI_OP_WANTS_ROOM);

    return !caller && !sbxi_link_has_room(&c->net, sbxi_op_link(c, op));
}

static sbxi_run sbxi_op_answer(sbx_client *c, sbxi_op *op, sbx_event *ev);

static sbxi_run sbxi_op_send(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_link *l = sbxi_op_link(c, op);

    if (!l->tx && !l->sent_any && !l->out.body.n) {
        size_t room;
        sbxi_got got;

        if (!sbxi_link_room(&c->net, l, &room, &got))
            return SBXI_RUN_STARVED;
        if (sbxi_is_upload(op)) {
            op->u.http.step = 0;
            op->u.http.pos = 0;
        }
        if (!sbxi_op_compose(c, op))
            return SBXI_RUN_IDLE;
        sbxi_op_allow(c, op, op->timeout_ms);
    }
    for (;;) {
        uint64_t before = c->net.usage.bytes_out;
        sbxi_got got = sbxi_link_flush(&c->net, l);

        if (c->net.usage.bytes_out != before && sbxi_is_upload(op)) {
            sbxi_op_allow(c, op, op->timeout_ms);
        }
        if (got == SBXI_GOT_FAIL) {
            sbxi_op_net_failed(c, op, got);
            return SBXI_RUN_IDLE;
        }
        if (got == SBXI_GOT_EVENT && (!sbxi_is_upload(op) || op->u.http.step == 3)) {
            op->state = SBXI_OP_HEAD;
            return SBXI_RUN_IDLE;
        }
        if (got == SBXI_GOT_BLOCKED || !sbxi_send_next(c, op)) {
            /* A server may refuse before it has read everything. */
            sbxi_run r = l->ready & SBX_READABLE ? sbxi_op_answer(c, op, ev) : SBXI_RUN_IDLE;

            return r == SBXI_RUN_IDLE && op->state == SBXI_OP_SEND && sbxi_send_starved(c, op) ? SBXI_RUN_STARVED : r;
        }
    }
}

/* ---- headers ---- */

static bool sbxi_digits(sbx_str s, size_t *at, uint64_t *v)
{
    size_t from = *at;

    *v = 0;
    while (*at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9') {
        if (*v > (UINT64_MAX - 9) / 10)
            return false;
        *v = *v * 10 + (uint64_t)(s.p[(*at)++] - '0');
    }
    return *at > from;
}

static int32_t sbxi_retry_after(sbx_client *c, sbx_str value)
{
    size_t at = 0;
    uint64_t v;
    int64_t date, now;

    if (sbxi_digits(value, &at, &v))
        return (int32_t)SBXI_MIN(v, 86400);
    now = c->net.t->wall_ms ? c->net.t->wall_ms(c->net.ctx) : 0;
    if (!now || !sbxi_http_date(value, &date))
        return -1;
    return date <= now ? 0 : (int32_t)SBXI_MIN((date - now + 999) / 1000, 86400);
}

/* "bytes 5-9/100", "bytes 5-9/…" with * for the size, "bytes * /100" unspaced. */
static void sbxi_content_range(sbxi_op *op, sbx_str v)
{
    sbxi_http *h = &op->u.http;
    size_t at = 6;
    uint64_t from, to, size;

    h->bad_range = true;
    if (v.n < 8 || memcmp(v.p, "bytes ", 6) != 0)
        return;
    if (sbxi_digits(v, &at, &from) && at < v.n && v.p[at++] == '-' && sbxi_digits(v, &at, &to)) {
        if (h->from_end && !h->total)
            h->pos = from;
        h->from_end = false;
        h->bad_range = from != h->pos + h->total || to < from;
    }
    at = v.n;
    while (at && v.p[at - 1] >= '0' && v.p[at - 1] <= '9')
        at--;
    if (at && v.p[at - 1] == '/' && sbxi_digits(v, &at, &size))
        h->size = size;
}

SBXI_FN SBXI_ONCE bool sbxi_header_is(const sbx_http1_event *e, const char *name)
{
    return sbxi_eq_nocase(e->name, sbx_s(name));
}

static void sbxi_file_header(sbxi_op *op, const sbxi_link *l, const sbx_http1_event *e)
{
    sbx_file_stat *st = &op->block->answer.stat;
    bool first = op->row->answer == SBXI_ANSWER_STAT || !op->u.http.total;
    size_t at = 0;
    uint64_t v;

    if (l->codec.http.status >= 400 && l->codec.http.status != 416)
        return;
    if (sbxi_header_is(e, "content-range") && op->row->answer == SBXI_ANSWER_FILE) {
        sbxi_content_range(op, e->value);
    } else if (!first) {
        return;
    } else if (sbxi_header_is(e, "etag")) {
        /* A cut tag would never match: better none. Only a strong one may
           join two parts (RFC 9110 13.1.5). */
        if (!e->more && !sbxi_copy_text(st->etag, sizeof st->etag, e->value))
            st->etag[0] = 0;
        op->block->stat_known = st->etag[0] == '"';
    } else if (sbxi_header_is(e, "last-modified")) {
        sbxi_http_date(e->value, &st->modified_ms);
    } else if (sbxi_header_is(e, "content-type")) {
        sbxi_copy_text(st->content_type, sizeof st->content_type, e->value);
    } else if (sbxi_header_is(e, "content-length") && sbxi_digits(e->value, &at, &v)) {
        st->size = v;
    }
}

/* Whether one of the comma-separated words is this one, in small letters. */
static bool sbxi_list_has(sbx_str list, const char *word)
{
    const char *p = list.p, *end = list.p + list.n, *t;

    for (; p < end; p = t + 1) {
        for (t = p; t < end && (unsigned char)*t > ' ' && *t != ',';)
            t++;
        if (sbxi_eq_nocase(sbx_sn(p, (size_t)(t - p)), sbx_s(word)))
            return true;
    }
    return false;
}

/* RFC 6455 4.1: what an answer to the upgrade must say. */
static SBXI_NOINLINE void sbxi_upgrade_header(sbxi_op *op, const sbx_http1_event *e)
{
    char key[24], accept[28];

    if (sbxi_eq_nocase(e->name, sbx_s("upgrade")) && sbxi_list_has(e->value, "websocket"))
        op->s.says_upgrade = true;
    if (sbxi_eq_nocase(e->name, sbx_s("connection")) && sbxi_list_has(e->value, "upgrade"))
        op->s.says_connection = true;
    if (!sbxi_eq_nocase(e->name, sbx_s("sec-websocket-accept")))
        return;
    sbx_ws_key(key, (const unsigned char *)op->u.command.held.part);
    sbx_ws_accept(accept, sbx_sn(key, sizeof key));
    if (sbxi_eq(e->value, sbx_sn(accept, sizeof accept)))
        op->flags |= SBXI_OP_ACCEPTED;
}

static SBXI_NOINLINE void sbxi_op_header(sbx_client *c, sbxi_op *op, const sbx_http1_event *e)
{
    const sbxi_link *l = sbxi_op_link(c, op);

    if (e->trailer)
        return;
    if (SBXI_IS_HTTP(op) || sbxi_op_is_sse(op))
        op->row->decoded(c, op, (void *)e);
    if (SBXI_IS_HTTP(op))
        return;
    if (sbxi_header_is(e, "retry-after"))
        op->fail.retry_after_s = sbxi_retry_after(c, e->value);
    else if (!SBX_NO_URLS && op->row->answer == SBXI_ANSWER_MODEL && op->u.http.dated && sbxi_header_is(e, "date"))
        sbxi_http_date(e->value, &op->u.http.until);
    else if (op->row->answer == SBXI_ANSWER_FILE || op->row->answer == SBXI_ANSWER_STAT)
        sbxi_file_header(op, l, e);
}

/* ---- the head ---- */

static void sbxi_begin_failure(sbx_client *c, sbxi_op *op, uint16_t status)
{
    if (!op->block)
        op->block = sbxi_op_block(c);
    op->flags |= SBXI_OP_FAILING;
    op->fail.status = status;
    op->fail.has_text = op->block != NULL;
    if (op->block) {
        memset(&op->block->failure, 0, sizeof op->block->failure);
        op->block->seen = 0;
        sbxi_dec_init(&op->block->dec, &sbxi_failure_model, &op->block->failure, NULL);
    } else {
        op->flags |= SBXI_OP_DRAIN;
    }
}

/* A file's answer: whether it is the part that was asked for. */
static bool sbxi_file_head(sbx_client *c, sbxi_op *op, uint16_t status, uint64_t length)
{
    sbxi_http *h = &op->u.http;

    if (status == 206 && !h->bad_range)
        return true;
    if (h->total || h->if_range || status == 206) {
        sbxi_op_fail(c, op, SBX_ERR_CHANGED, SBX_LAYER_SERVICE, SBXI_T("the file changed while it was read: begin again"));
        return false;
    }
    /* The whole file, though a part was wanted: the rest is dropped here. */
    h->size = length == SBX_HTTP1_UNKNOWN ? UINT64_MAX : length;
    if (h->from_end) {
        if (h->size == UINT64_MAX) {
            sbxi_op_fail(c, op, SBX_ERR_UNSUPPORTED, SBX_LAYER_SERVICE, SBXI_T("the server knows no ranges and no length: ask from a positive offset"));
            return false;
        }
        h->pos = h->size > h->want ? h->size - h->want : 0;
        h->from_end = false;
    }
    h->skip = h->pos;
    return true;
}

static SBXI_NOINLINE bool sbxi_op_head(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    uint16_t status = l->codec.http.status;
    sbxi_block *b = op->block;

    sbxi_trace_op(c, op, SBX_TRACE_STATUS, status);
    op->flags |= SBXI_OP_SENT | SBXI_OP_EVER_SENT;
    op->state = SBXI_OP_BODY;
    sbxi_op_allow(c, op, op->timeout_ms);
    if (SBXI_IS_HTTP(op)) {
        op->row->prepare(c, op);
        return !(op->notes & SBXI_NOTE_HEAD); /* which comes before the data */
    }
    if (op->row->answer == SBXI_ANSWER_STREAM || status < 200 || (status >= 300 && status != 304) || (status == 304 && op->row->answer != SBXI_ANSWER_FILE) ||
        (sbxi_op_is_sse(op) && !(op->flags & SBXI_OP_ACCEPTED))) {
        sbxi_begin_failure(c, op, status);
        return true;
    }
    op->fail.status = status;
    if (sbxi_op_is_sse(op)) { /* it has no sbxi_http */
        op->state = SBXI_OP_STREAM;
        op->row->prepare(c, op);
        return true;
    }
    op->u.http.raw_total = 0; /* of this answer, not of an earlier one */
    switch (op->row->answer) {
    case SBXI_ANSWER_MODEL:
        sbxi_dec_init(&b->dec, op->row->model, &b->answer, NULL);
        b->dec.grow = op->flags & SBXI_OP_ALLOC ? &c->desc : NULL;
        if (op->row->prepare)
            op->row->prepare(c, op);
        break;
    case SBXI_ANSWER_LIST: sbxi_dec_init(&b->dec, op->row->model, &b->page, &b->answer); break;
    case SBXI_ANSWER_FILE:
        op->u.http.not_modified = status == 304;
        return status == 304 || sbxi_file_head(c, op, status, l->codec.http.length);
    case SBXI_ANSWER_STAT: break;
    default: op->flags |= SBXI_OP_DRAIN; break;
    }
    return true;
}

/* ---- the body ---- */

static void sbxi_op_complete(sbx_client *c, sbxi_op *op);

/* File bytes: into the buffer, or as an event. */
static sbxi_run sbxi_file_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_http *h = &op->u.http;
    char *p = op->piece;
    uint64_t n = op->piece_n, drop = SBXI_MIN(h->skip, n);

    op->piece_n = 0;
    h->skip -= drop;
    p += drop;
    n -= drop;
    if (h->want && h->total >= h->want && n) {
        /* The rest of the file, which may have no end, is not waited for. */
        sbxi_op_link(c, op)->codec.http.keep_alive = false;
        sbxi_op_complete(c, op);
        return SBXI_RUN_IDLE;
    }
    if (h->want)
        n = SBXI_MIN(n, h->want - h->total);
    if (!n)
        return SBXI_RUN_IDLE;
    h->total += n;
    op->attempts = 1; /* what came refills the budget */
    if (op->flags & SBXI_OP_STREAMING) {
        sbxi_event_init(c, op, ev, SBX_EV_DATA);
        ev->offset = h->total - n + (op->row->answer == SBXI_ANSWER_FILE ? h->pos : 0);
        ev->data = sbx_sn(p, (size_t)n);
        return SBXI_RUN_EVENT;
    }
    if (!sbxi_sink_put(&h->sink, op->flags & SBXI_OP_ALLOC ? &c->desc : NULL, p, (size_t)n))
        sbxi_op_fail(c, op, SBX_ERR_MEMORY, SBX_LAYER_LOCAL, SBXI_T("the allocator refused"));
    return SBXI_RUN_IDLE;
}

static void sbxi_keep_raw(sbxi_op *op)
{
    sbxi_http *h = &op->u.http;

    if (h->raw_n || h->raw.p) {
        size_t room = h->raw.p && h->raw.n > h->raw_total ? h->raw.n - h->raw_total : 0;

        if (room)
            memcpy((char *)h->raw.p + h->raw_total, op->piece, SBXI_MIN(room, op->piece_n));
        h->raw_total += op->piece_n;
    }
}

/* Pages shift when something is created or deleted between two requests. */
static bool sbxi_item_seen(sbxi_op *op)
{
    sbxi_block *b = op->block;
    uint64_t hash = UINT64_C(14695981039346656037);
    const char *p = (const char *)&b->answer; /* its id */

    if (!op->u.http.unique || !*p)
        return false;
    for (; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
    for (unsigned i = 0; i < SBXI_RECENT; i++)
        if (b->recent[i] == hash)
            return true;
    b->recent[b->recent_at++ % SBXI_RECENT] = hash;
    return false;
}

SBXI_FN sbxi_run sbxi_op_item(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_http *h = &op->u.http;
    size_t size = op->row->model->item->size;

    if (op->row->decoded)
        op->row->decoded(c, op, &op->block->answer);
    if (sbxi_item_seen(op))
        return SBXI_RUN_IDLE;
    h->total++;
    if (op->flags & SBXI_OP_STREAMING) {
        sbxi_event_init(c, op, ev, SBX_EV_ITEM);
        ev->item = &op->block->answer;
        return SBXI_RUN_EVENT;
    }
    if (h->sink.cap - h->sink.total >= size)
        sbxi_sink_put(&h->sink, NULL, (const char *)&op->block->answer, size);
    return SBXI_RUN_IDLE;
}

/* Decodes the piece. EVENT: an item came out and the piece may hold more. */
static sbxi_run sbxi_answer_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_dec *d = &op->block->dec;
    char *p = op->piece, *end = p + op->piece_n;

    for (;;) {
        sbxi_dec_result r = sbxi_dec_run(d, &p, end);

        op->piece = p;
        op->piece_n = (uint32_t)(end - p);
        if (r == SBXI_DEC_ITEM) {
            if (op->row->stream(c, op, ev) == SBXI_RUN_EVENT)
                return SBXI_RUN_EVENT;
            continue;
        }
        op->piece_n = 0;
        if (r == SBXI_DEC_ERROR)
            sbxi_op_fail(c, op, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, SBXI_T("the answer is not well-formed JSON"));
        return SBXI_RUN_IDLE;
    }
}

static void sbxi_failure_piece(sbx_client *c, sbxi_op *op)
{
    sbxi_block *b = op->block;
    char *p = op->piece, *end = p + op->piece_n;

    b->seen += op->piece_n;
    op->piece_n = 0;
    (void)c;
    /* What is no JSON (a proxy's page) is not shown, but the status is. */
    if (sbxi_dec_run(&b->dec, &p, end) != SBXI_DEC_MORE)
        op->flags |= SBXI_OP_DRAIN;
}

static sbxi_run sbxi_op_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    if (op->flags & SBXI_OP_DRAIN) {
        if (op->block)
            op->block->seen += op->piece_n;
        op->piece_n = 0;
        return SBXI_RUN_IDLE;
    }
    if (op->flags & SBXI_OP_FAILING) {
        sbxi_failure_piece(c, op);
        return SBXI_RUN_IDLE;
    }
    if (op->row->answer == SBXI_ANSWER_FILE || SBXI_IS_HTTP(op))
        return sbxi_file_piece(c, op, ev);
    return sbxi_answer_piece(c, op, ev);
}

/* ---- what a failing answer means ---- */

static bool sbxi_rule_fits(const sbxi_rule *r, const sbxi_op *op)
{
    if (r->status && r->status != op->fail.status)
        return false;
    return !r->type || (op->fail.has_text && op->block && strcmp(op->block->failure.type, r->type) == 0);
}

static void sbxi_op_map_answer(sbxi_op *op)
{
    sbxi_fail *f = &op->fail;

    f->layer = SBX_LAYER_SERVICE;
    f->resource = op->row->resource;
    f->code = SBX_ERR_SERVER;
    f->text = f->status / 100 == 3 ? SBXI_T("the server redirects elsewhere, which is not followed: check the URL (https:// in place of http://?)") : NULL;
    if (op->block) {
        op->block->failure.cut = op->block->dec.model == &sbxi_failure_model && op->block->failure.cut;
        op->block->failure.typed = op->block->failure.type[0] != 0;
        f->has_text = true;
    }
    for (const sbxi_rules *set = op->row->rules; set; set = set->next) {
        for (unsigned i = 0; i < set->count; i++) {
            const sbxi_rule *r = &set->rules[i];

            if (!sbxi_rule_fits(r, op))
                continue;
            f->code = r->code;
            if (r->resource)
                f->resource = r->resource;
            if (set->refine)
                set->refine(op);
            return;
        }
    }
}

/* ---- the end ---- */

/* The answer is complete. */
static SBXI_NOINLINE void sbxi_op_complete(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_block *b = op->block;
    bool keep = l->codec.http.keep_alive && !(sbxi_is_upload(op) && op->u.http.step < 3);

    if (op->flags & SBXI_OP_FAILING) {
        sbxi_op_map_answer(op);
        if (keep)
            sbxi_op_release_link(c, op, true);
        sbxi_op_attempt_failed(c, op);
        return;
    }
    if (op->row->answer == SBXI_ANSWER_MODEL || op->row->answer == SBXI_ANSWER_LIST) {
        if (b->dec.json.offset && sbxi_dec_end(&b->dec) == SBXI_DEC_ERROR) {
            sbxi_op_fail(c, op, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, SBXI_T("the answer is not well-formed JSON"));
            return;
        }
        if (b->dec.no_memory)
            sbxi_op_set_fail(op, SBX_ERR_MEMORY, SBX_LAYER_LOCAL, SBXI_T("the allocator refused"));
        if (b->dec.too_large)
            sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("an id or URL in the answer is longer than its field"));
        if (op->row->answer == SBXI_ANSWER_MODEL && op->row->decoded)
            op->row->decoded(c, op, &b->answer);
    }
    sbxi_op_release_link(c, op, keep);
    if (op->row->answer == SBXI_ANSWER_FILE && op->u.http.want && op->fail.status == 206 && op->u.http.total < op->u.http.want && op->u.http.pos + op->u.http.total < op->u.http.size && op->u.http.size != UINT64_MAX) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_HTTP, SBXI_T("the server sent less than the range it announced"));
        sbxi_op_finish(c, op);
        return;
    }
    op->attempt_at = SBXI_NEVER;
    if (op->row->after && op->row->after(c, op)) {
        op->flags &= (uint16_t)~(SBXI_OP_DRAIN | SBXI_OP_FAILING | SBXI_OP_SENT);
        sbxi_op_arm(c, op);
        sbxi_op_wake(c, op);
    } else if (op->state != SBXI_OP_DONE) {
        op->fail.status = op->fail.code ? op->fail.status : 0;
        sbxi_op_finish(c, op);
    }
}

static void sbxi_op_upgraded(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);

    op->flags |= SBXI_OP_SENT | SBXI_OP_EVER_SENT;
    sbxi_trace_op(c, op, SBX_TRACE_STATUS, 101);
    if (op->row->answer != SBXI_ANSWER_STREAM || !(op->flags & SBXI_OP_ACCEPTED) || !op->s.says_upgrade || !op->s.says_connection) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_WS,
                         op->row->answer != SBXI_ANSWER_STREAM ? SBXI_T("the server changed the protocol unasked") :
                         !op->s.says_upgrade ? SBXI_T("the server's WebSocket handshake lacks `Upgrade: websocket` (RFC 6455 4.1)") :
                         !op->s.says_connection ? SBXI_T("the server's WebSocket handshake lacks `Connection: Upgrade` (RFC 6455 4.1)") :
                         SBXI_T("the server's WebSocket handshake has a wrong Sec-WebSocket-Accept (RFC 6455 4.1)"));
        op->fail.status = 101;
        sbxi_op_attempt_failed(c, op);
        return;
    }
    op->flags &= (uint16_t)~SBXI_OP_ACCEPTED;
    sbxi_ws_begin(&c->net, l);
    op->state = SBXI_OP_STREAM;
}

/* Whether the next bytes have to wait until the caller pulls. */
static bool sbxi_op_must_wait(const sbxi_op *op, const sbx_event *ev)
{
    return !ev && op->state == SBXI_OP_BODY && op->flags & SBXI_OP_STREAMING && !(op->flags & (SBXI_OP_DRAIN | SBXI_OP_FAILING)) &&
           op->row->answer >= SBXI_ANSWER_LIST;
}

static sbxi_run sbxi_op_answer(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_link *l = sbxi_op_link(c, op);

    while (op->state <= SBXI_OP_BODY && op->link != SBXI_NIL) {
        sbx_http1_kind kind;
        sbx_http1_event e;
        sbxi_got got;

        if (sbxi_op_must_wait(op, ev))
            return op->piece_n || l->rx_at < l->rx_end || l->ready & SBX_READABLE ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
        if (op->piece_n) {
            if (sbxi_op_piece(c, op, ev) == SBXI_RUN_EVENT)
                return SBXI_RUN_EVENT;
            continue;
        }
        if (op->flags & (SBXI_OP_DRAIN | SBXI_OP_FAILING) && op->block && op->block->seen > SBXI_ERROR_BODY_MAX) {
            l->codec.http.keep_alive = false;
            sbxi_op_complete(c, op);
            return SBXI_RUN_IDLE;
        }
        got = sbxi_exchange_next(&c->net, l, &kind, &e);
        if (got == SBXI_GOT_BLOCKED)
            return SBXI_RUN_IDLE;
        if (got == SBXI_GOT_STARVED)
            return SBXI_RUN_STARVED;
        if (got != SBXI_GOT_EVENT) {
            sbxi_op_net_failed(c, op, got);
            return SBXI_RUN_IDLE;
        }
        switch (kind) {
        case SBX_HTTP1_HEADER:
            sbxi_op_header(c, op, &e);
            if (op->row->answer == SBXI_ANSWER_STREAM)
                sbxi_upgrade_header(op, &e);
            break;
        case SBX_HTTP1_HEAD:
            if (!sbxi_op_head(c, op))
                return SBXI_RUN_IDLE;
            break;
        case SBX_HTTP1_BODY:
            op->piece = (char *)e.value.p;
            op->piece_n = (uint32_t)e.value.n;
            if (op->row->answer <= SBXI_ANSWER_LIST && !(op->flags & SBXI_OP_FAILING))
                sbxi_keep_raw(op);
            break;
        case SBX_HTTP1_UPGRADE: sbxi_op_upgraded(c, op); break;
        case SBX_HTTP1_DONE: sbxi_op_complete(c, op); break;
        default: break;
        }
    }
    return SBXI_RUN_IDLE;
}

SBXI_FN SBXI_NOINLINE sbxi_run sbxi_op_exchange(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    return op->state == SBXI_OP_SEND ? sbxi_op_send(c, op, ev) : sbxi_op_answer(c, op, ev);
}

/* ======== src/op_life.c ======== */

/* ---- lists and times ---- */

static sbxi_nodes sbxi_op_nodes(sbx_client *c)
{
    sbxi_nodes n;

    n.first = (char *)&c->ops[0].node;
    n.stride = sizeof *c->ops;
    return n;
}

SBXI_FN void sbxi_op_list(sbx_client *c, sbxi_op *op, sbxi_list_id list)
{
    if (op->list == list)
        return;
    if (op->list != SBXI_LIST_NONE)
        sbxi_list_remove(sbxi_op_nodes(c), &c->lists[op->list], sbxi_op_id(c, op));
    if (list != SBXI_LIST_NONE)
        sbxi_list_append(sbxi_op_nodes(c), &c->lists[list], sbxi_op_id(c, op));
    op->list = (uint8_t)list;
}

SBXI_FN void sbxi_op_wake(sbx_client *c, sbxi_op *op)
{
    if (op->state != SBXI_OP_FREE && op->state != SBXI_OP_DONE)
        sbxi_op_list(c, op, SBXI_LIST_RUN);
}

SBXI_FN void sbxi_op_arm(sbx_client *c, sbxi_op *op)
{
    int64_t at = SBXI_MIN(op->total_at, SBXI_MIN(op->attempt_at, op->wake_at));

    sbxi_timer_set(&c->timers, sbxi_op_id(c, op), op->state == SBXI_OP_DONE ? SBXI_NEVER : at);
}

SBXI_FN void sbxi_op_allow(sbx_client *c, sbxi_op *op, int32_t ms)
{
    op->attempt_at = sbxi_after(c->net.now, ms);
    sbxi_op_arm(c, op);
}

SBXI_FN sbx_op sbxi_op_start(sbx_client *c, sbxi_op *op)
{
    c->net.usage.requests_high = c->blocks.high;
    sbxi_op_list(c, op, SBXI_LIST_RUN);
    return sbxi_op_handle(c, op);
}

SBXI_FN uint32_t sbxi_backoff(sbx_client *c, unsigned n, uint32_t first_ms, uint32_t cap_ms)
{
    uint32_t ms = n > 16 ? cap_ms : SBXI_MIN(cap_ms, first_ms << n);

    /* Half of it is drawn, so that many clients do not come back at once. */
    return ms - ms / 2 + sbxi_net_jitter(&c->net, ms / 2 + 1);
}

/* ---- errors ---- */

SBXI_FN void sbxi_op_set_fail(sbxi_op *op, sbx_code code, sbx_layer layer, const char *text)
{
    op->fail.code = (uint8_t)code;
    op->fail.layer = (uint8_t)layer;
    op->fail.permanent = false;
#if SBX_NO_ERROR_TEXT
    (void)text;
#else
    op->fail.text = text;
#endif
}

#if !SBX_NO_ERROR_TEXT
/* What to say of a failure that the service has no words for. */
static const char *sbxi_fail_text(const sbxi_fail *f)
{
    if (f->text)
        return f->text;
    if (f->code == SBX_ERR_NOT_FOUND && f->resource == SBX_RESOURCE_FILE) /* HEAD: no body says which */
        return "there is no such file, or the sandbox itself is gone";
    return sbx_code_text((sbx_code)f->code);
}

/* Of an attempt that failed without an answer: whether the server, which is
   spoken to in the clear, may have waited for TLS. */
static bool sbxi_op_perhaps_tls(sbx_client *c, const sbxi_op *op, bool noise)
{
    const sbxi_link *l = sbxi_op_link(c, op);
    sbxi_url url;

    return l && !l->reused && (l->got_any ? noise : l->sent_any) && sbxi_op_url(c, op, &url) && !url.tls;
}

/* What the service's support asks for. It stays whole: the text before it gives way. */
static void sbxi_append_id(sbx_error *out, const char *id)
{
    static const char open[] = " (error_id ";
    size_t need = sizeof open + strlen(id) + 1, n = strlen(out->text);
    char *p;

    if (n > sizeof out->text - need) {
        n = sbxi_utf8_cut(out->text, sizeof out->text - need);
        out->cut = true;
    }
    p = out->text + n;
    memcpy(p, open, sizeof open - 1);
    memcpy(p + sizeof open - 1, id, strlen(id));
    memcpy(p + need - 2, ")", 2);
}
#endif

static void sbxi_op_error(const sbxi_op *op, sbx_error *out)
{
    const sbxi_fail *f = &op->fail;
    const sbxi_failure *said = f->has_text && op->block ? &op->block->failure : NULL;

    memset(out, 0, sizeof *out);
    out->code = (sbx_code)f->code;
    out->layer = (sbx_layer)f->layer;
    out->resource = (sbx_resource)f->resource;
    out->quota = (sbx_quota)f->quota;
    out->status = f->status;
    out->sys = f->sys;
    out->retry_after_ms = f->retry_after_s < 0 ? -1 : (int64_t)f->retry_after_s * 1000;
    out->sent = (op->flags & (SBXI_OP_SENT | SBXI_OP_EVER_SENT)) != 0;
    out->attempts = op->attempts;
    sbxi_copy_z(out->operation, sizeof out->operation, sbxi_op_name(op));
    sbxi_copy_z(out->field, sizeof out->field, said ? said->field : "");
    if (said)
        sbxi_copy_z(out->type, sizeof out->type, said->type);
#if !SBX_NO_ERROR_TEXT
    if (f->code != SBX_OK) {
        const char *text = said && said->text[0] ? said->text : sbxi_fail_text(f);

        out->cut = !sbxi_copy_z(out->text, sizeof out->text, text) || (said && said->cut);
        if (said && f->status && said->error_id[0])
            sbxi_append_id(out, said->error_id);
    }
#endif
}

/* A connection, or the leave to make one, is free for whoever waits longest. */
static void sbxi_op_wake_waiting(sbx_client *c)
{
    if (c->lists[SBXI_LIST_LINK].head != SBXI_NIL)
        sbxi_op_wake(c, &c->ops[c->lists[SBXI_LIST_LINK].head]);
}

SBXI_FN void sbxi_op_release_link(sbx_client *c, sbxi_op *op, bool keep)
{
    sbxi_link *l = sbxi_op_link(c, op);

    op->link = SBXI_NIL;
    if (!l) {
        /* It was woken to take one and will not: the next in the queue may. */
        if (op->state == SBXI_OP_START && op->list != SBXI_LIST_LINK)
            sbxi_op_wake_waiting(c);
        return;
    }
    if (op->piece_n)
        keep = false;
    op->piece_n = 0;
    sbxi_link_release(&c->net, l, keep);
    sbxi_op_wake_waiting(c);
}

SBXI_FN void sbxi_op_finish(sbx_client *c, sbxi_op *op)
{
    sbxi_op_release_link(c, op, false);
    if (op->row->finished)
        op->row->finished(c, op);
    if (!op->fail.has_text)
        sbxi_op_drop_block(c, op);
    op->state = SBXI_OP_DONE;
    op->total_at = op->attempt_at = op->wake_at = SBXI_NEVER;
    sbxi_op_arm(c, op);
    sbxi_trace_op(c, op, SBX_TRACE_END, op->fail.code);
    sbxi_op_list(c, op, SBXI_LIST_EVENT);
}

SBXI_FN void sbxi_op_fail(sbx_client *c, sbxi_op *op, sbx_code code, sbx_layer layer, const char *text)
{
    sbxi_op_set_fail(op, code, layer, text);
    sbxi_op_finish(c, op);
}

/* ---- repetition ---- */

/* What went wrong with an attempt is no business of the next one. */
static void sbxi_op_fail_clear(sbxi_op *op)
{
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
}

SBXI_FN bool sbxi_op_again(sbx_client *c, sbxi_op *op, uint32_t delay_ms)
{
    int64_t at = sbxi_after(c->net.now, delay_ms);

    if (at >= op->total_at)
        return false;
    sbxi_op_release_link(c, op, false);
    op->flags &= (uint16_t)~(SBXI_OP_SENT | SBXI_OP_FAILING | SBXI_OP_DRAIN | SBXI_OP_PUSH_END);
    op->retry_code = op->fail.code;
    sbxi_op_fail_clear(op);
    op->delay_ms = delay_ms;
    op->attempt_at = SBXI_NEVER;
    op->state = SBXI_OP_PAUSE;
    op->wake_at = at;
    op->notes |= SBXI_NOTE_RETRYING;
    c->net.usage.retries++;
    sbxi_trace_op(c, op, SBX_TRACE_RETRY, delay_ms);
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, op->flags & SBXI_OP_INTERNAL ? SBXI_LIST_NONE : SBXI_LIST_EVENT);
    return true;
}

static bool sbxi_fail_is_network(const sbxi_fail *f)
{
    switch (f->code) {
    case SBX_ERR_RESOLVE:
    case SBX_ERR_CONNECT:
    case SBX_ERR_CONNECTION:
    case SBX_ERR_TLS: return true;
    case SBX_ERR_DEADLINE: return f->layer == SBX_LAYER_TRANSPORT;
    default: return false;
    }
}

/* Whether repeating this attempt can help and does no harm. */
static bool sbxi_op_may_repeat(const sbxi_op *op)
{
    const sbxi_fail *f = &op->fail;
    bool safe = op->row->retry == SBXI_RETRY_SAFE;

    if (f->status == 429)
        return true;
    if (f->status == 503)
        return safe || !f->has_text || !op->block || !op->block->failure.typed;
    if (f->status == 502 || f->status == 504)
        return safe;
    return !f->status && !f->permanent && sbxi_fail_is_network(f) && (safe || !(op->flags & SBXI_OP_SENT));
}

SBXI_FN void sbxi_op_attempt_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_fail *f = &op->fail;
    sbxi_link *l = sbxi_op_link(c, op);
    /* TLS: an end without close_notify. The handshake was long ago. */
    bool stale = l && l->reused && !l->got_any && (f->code == SBX_ERR_CONNECTION || f->code == SBX_ERR_TLS);
    const char *outcome = NULL;
    uint32_t delay;

#if !SBX_NO_ERROR_TEXT
    if (f->code == SBX_ERR_CONNECTION && sbxi_op_perhaps_tls(c, op, false))
        outcome = "there was no answer: it is not known whether the request was carried out. If the server speaks TLS, its URL must begin with https://";
#endif

    if (l && l->sent_any)
        op->flags |= SBXI_OP_SENT;
    if (op->flags & SBXI_OP_SENT)
        op->flags |= SBXI_OP_EVER_SENT;
    if (op->row->failed && op->row->failed(c, op))
        return;
    sbxi_op_release_link(c, op, false);
    if (stale && (op->row->retry == SBXI_RETRY_SAFE || !(op->flags & SBXI_OP_SENT)) && !(op->flags & SBXI_OP_STREAMING && op->u.http.total)) {
        /* The server closed a kept connection just now: no fault of this request. */
        op->flags &= (uint16_t)~SBXI_OP_SENT;
        sbxi_op_fail_clear(op);
        op->state = SBXI_OP_START;
        sbxi_op_wake(c, op);
        return;
    }
    if (!f->status && sbxi_fail_is_network(f) && op->flags & SBXI_OP_SENT && op->row->retry == SBXI_RETRY_ONCE) {
        sbxi_op_fail(c, op, SBX_ERR_OUTCOME, (sbx_layer)f->layer, outcome);
        return;
    }
    delay = f->retry_after_s >= 0 ? (uint32_t)SBXI_MIN(f->retry_after_s, 86400) * 1000 : sbxi_backoff(c, (unsigned)SBXI_MAX(op->attempts, 1) - 1, 1000, 10000);
    if (!sbxi_op_may_repeat(op) || op->attempts > op->max_retries || !sbxi_op_again(c, op, delay))
        sbxi_op_finish(c, op);
}

SBXI_FN void sbxi_op_net_failed(sbx_client *c, sbxi_op *op, sbxi_got got)
{
    const sbx_fault *fault = &c->net.fault;
    sbx_code code = got == SBXI_GOT_EOF ? SBX_ERR_CONNECTION : fault->code;

    sbxi_op_set_fail(op, code, code == SBX_ERR_PROTOCOL ? SBX_LAYER_HTTP : SBX_LAYER_TRANSPORT,
                     got == SBXI_GOT_EOF ? SBXI_T("the server closed the connection before its answer was complete") : fault->text);
    op->fail.sys = got == SBXI_GOT_EOF ? 0 : fault->sys;
    op->fail.permanent = got != SBXI_GOT_EOF && fault->permanent;
    op->fail.status = 0;
#if !SBX_NO_ERROR_TEXT
    if (code == SBX_ERR_CONNECTION && sbxi_op_perhaps_tls(c, op, false))
        op->fail.text = "the server ended the connection without an answer: if it speaks TLS, its URL must begin with https://";
    else if (code == SBX_ERR_PROTOCOL && fault->sys == SBX_HTTP1_BAD_STATUS_LINE && sbxi_op_perhaps_tls(c, op, true))
        op->fail.text = "what the server says is not HTTP: if it speaks TLS, its URL must begin with https://";
#endif
    sbxi_op_attempt_failed(c, op);
}

/* ---- running ---- */

SBXI_FN void sbxi_event_init(sbx_client *c, const sbxi_op *op, sbx_event *ev, sbx_event_kind kind)
{
    memset(ev, 0, sizeof *ev);
    ev->kind = kind;
    ev->op = sbxi_op_handle(c, op);
    ev->user = op->user;
}

/* The next event that waits in `notes`, in the order in which they make sense. */
static bool sbxi_op_note(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    static const uint8_t order[] = { SBXI_NOTE_STARTED, SBXI_NOTE_RETRYING, SBXI_NOTE_RECONNECTED, SBXI_NOTE_GAP, SBXI_NOTE_REWIND, SBXI_NOTE_WRITABLE, SBXI_NOTE_HEAD };
    static const uint8_t kinds[] = { SBX_EV_STARTED, SBX_EV_RETRYING, SBX_EV_RECONNECTED, SBX_EV_GAP, SBX_EV_REWIND, SBX_EV_WRITABLE, SBX_EV_HEAD };
    unsigned i = 0;

    if (!op->notes)
        return false;
    while (!(op->notes & order[i]))
        i++;
    op->notes &= (uint8_t)~order[i];
    sbxi_event_init(c, op, ev, (sbx_event_kind)kinds[i]);
    switch (order[i]) {
    case SBXI_NOTE_RETRYING:
        ev->code = (sbx_code)op->retry_code;
        ev->delay_ms = op->delay_ms;
        break;
    case SBXI_NOTE_STARTED:
        ev->pid = op->u.command.pid;
        break;
    case SBXI_NOTE_HEAD:
        ev->status = (int)op->u.http.cursor;
        ev->data = sbx_sn(op->u.http.err.p, sbxi_sink_n(&op->u.http.err));
        break;
    case SBXI_NOTE_GAP:
        ev->stream = op->s.gap_stream;
        ev->offset = op->u.command.assumed;
        ev->lost = op->u.command.offset - op->u.command.assumed;
        break;
    default:
        break;
    }
    return true;
}

static SBXI_NOINLINE sbxi_run sbxi_op_end(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    if (!ev)
        return SBXI_RUN_HELD;
    sbxi_event_init(c, op, ev, SBX_EV_END);
    ev->code = (sbx_code)op->fail.code;
    ev->exit_code = op->exit_code;
    sbxi_op_error(op, &c->last);
    c->last_op = ev->op;
    if (c->shutdown == sbxi_op_id(c, op))
        c->shutdown = SBXI_NIL;
    sbxi_op_free(c, op);
    return SBXI_RUN_EVENT;
}

/* Gets a connection: a kept one, else a new one, else a place in the queue. */
static SBXI_NOINLINE sbxi_run sbxi_op_connect_start(sbx_client *c, sbxi_op *op)
{
    sbxi_url url;
    uint32_t id = sbxi_op_id(c, op);
    uint64_t origin;
    sbxi_link *l;

    if (SBXI_IS_HTTP(op))
        op->row->stream(c, op, NULL);
    if (!sbxi_op_url(c, op, &url)) {
        sbxi_op_fail(c, op, SBX_ERR_ARGUMENT, SBX_LAYER_LOCAL, SBXI_T("the URL is not an http or https URL"));
        return SBXI_RUN_HELD;
    }
    origin = sbxi_net_origin(&c->net, &url);
    /* A kept connection may be closed by the server while the request is under
       way. What starts a command, once sent, could have started it: it takes a
       fresh one. */
    l = sbxi_op_is_sse(op) && op->block && op->block->body_n ? NULL : sbxi_link_reuse(&c->net, origin, id);
    if (l) {
        op->link = sbxi_link_id(&c->net, l);
        op->state = SBXI_OP_SEND;
    } else {
        l = sbxi_link_new(&c->net, origin, id);
        if (!l) {
            sbxi_op_list(c, op, SBXI_LIST_LINK);
            if (op->attempt_at == SBXI_NEVER) {
                sbxi_op_allow(c, op, op->timeout_ms);
            }
            return SBXI_RUN_IDLE;
        }
        op->link = sbxi_link_id(&c->net, l);
        op->state = SBXI_OP_CONNECT;
        sbxi_op_allow(c, op, c->desc.connect_ms);
    }
    sbxi_op_wake_waiting(c);
    op->flags &= (uint16_t)~SBXI_OP_SENT;
    if (op->attempts < UINT8_MAX)
        op->attempts++;
    return SBXI_RUN_IDLE;
}

static SBXI_NOINLINE sbxi_run sbxi_op_connect(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_url url;
    sbxi_got got;

    sbxi_op_url(c, op, &url);
    got = sbxi_link_connect(&c->net, l, &url);
    if (got == SBXI_GOT_BLOCKED)
        return SBXI_RUN_IDLE;
    if (got == SBXI_GOT_EVENT) {
        op->state = SBXI_OP_SEND;
        sbxi_op_wake_waiting(c);
        return SBXI_RUN_IDLE;
    }
    sbxi_op_net_failed(c, op, got);
    return SBXI_RUN_IDLE;
}

static void sbxi_op_first(sbx_client *c, sbxi_op *op)
{
    op->total_at = sbxi_after(c->net.now, op->total_at);
    if (op->u.http.until && op->row->answer < SBXI_ANSWER_STREAM)
        op->u.http.until = sbxi_after(c->net.now, op->u.http.until);
    if (op->row->answer >= SBXI_ANSWER_STREAM)
        op->u.command.assumed = (uint64_t)sbxi_after(c->net.now, c->desc.ws_connect_budget_ms);
    op->state = SBXI_OP_START;
    sbxi_op_arm(c, op);
}

SBXI_FN sbxi_run sbxi_op_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    for (;;) {
        uint8_t before = op->state;
        sbxi_run r = SBXI_RUN_IDLE;

        if (op->notes && !(op->flags & SBXI_OP_INTERNAL)) {
            if (ev)
                return sbxi_op_note(c, op, ev) ? SBXI_RUN_EVENT : SBXI_RUN_IDLE;
            if (op->state == SBXI_OP_PAUSE || op->state == SBXI_OP_DONE)
                return SBXI_RUN_HELD;
        }
        switch (op->state) {
        case SBXI_OP_NEW: sbxi_op_first(c, op); break;
        case SBXI_OP_START: r = sbxi_op_connect_start(c, op); break;
        case SBXI_OP_CONNECT: r = sbxi_op_connect(c, op); break;
        case SBXI_OP_SEND:
        case SBXI_OP_HEAD:
        case SBXI_OP_BODY: r = sbxi_op_exchange(c, op, ev); break;
        case SBXI_OP_STREAM: r = op->row->stream(c, op, ev); break;
        case SBXI_OP_DONE: return op->flags & SBXI_OP_INTERNAL ? SBXI_RUN_IDLE : sbxi_op_end(c, op, ev);
        default: return op->notes && !ev && !(op->flags & SBXI_OP_INTERNAL) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
        }
        if (r == SBXI_RUN_HELD && ev && op->notes)
            continue;
        if (r != SBXI_RUN_IDLE)
            return r;
        if (op->state == before && !(op->notes && ev))
            return op->notes && !(op->flags & SBXI_OP_INTERNAL) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
    }
}

/* It finds no buffer while the caller waits for it alone, so that nobody pulls
   those that hold them. */
static bool sbxi_op_hopeless(const sbx_client *c, const sbxi_op *op)
{
    return op->list == SBXI_LIST_STARVED && c->net.awaited == sbxi_op_id(c, op);
}

/* An attempt's time is over unless bytes came meanwhile, or the caller holds
   the next ones back. */
static SBXI_ONCE bool sbxi_op_progressed(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    bool live = op->state == SBXI_OP_STREAM && op->flags & SBXI_OP_LIVE, events = live && sbxi_op_is_sse(op);
    int32_t ms = events ? c->desc.sse_read_ms : op->timeout_ms;
    int64_t at;

    if (!l || op->state == SBXI_OP_CONNECT || op->s.acked || (op->s.stuck && !(l->ready & SBX_WRITABLE)) || sbxi_op_hopeless(c, op))
        return false;
    /* Where a turn only guessed that something came, it is looked for now. */
    if (l->ready & SBXI_GUESSED && !op->piece_n && !op->s.has_data)
        sbxi_link_take_ahead(&c->net, l);
    if (live && !events && sbxi_after(l->last_rx, c->desc.ws_ping_ms) >= op->attempt_at) {
        op->attempt_at = SBXI_NEVER; /* something came since the ping */
        return true;
    }
    if (op->flags & SBXI_OP_STREAMING && (l->ready & SBX_READABLE || op->piece_n))
        at = sbxi_after(c->net.now, ms);
    else if (op->state == SBXI_OP_BODY || events)
        at = sbxi_after(l->last_rx, ms);
    else
        return false;
    if (at <= c->net.now)
        return false;
    op->attempt_at = at;
    return true;
}

SBXI_FN void sbxi_op_timer(sbx_client *c, sbxi_op *op)
{
    int64_t now = c->net.now;

    if (op->total_at <= now) {
        sbxi_link *l = sbxi_op_link(c, op);

        if (l && l->sent_any)
            op->flags |= SBXI_OP_SENT;
        sbxi_op_fail(c, op, SBX_ERR_DEADLINE, SBX_LAYER_LOCAL, SBXI_T("the operation's time is over: raise total_ms (of sbx_shutdown: ms)"));
        return;
    }
    if (op->wake_at <= now) {
        op->wake_at = SBXI_NEVER;
        if (op->state == SBXI_OP_PAUSE)
            op->state = SBXI_OP_START;
        else
            op->flags |= SBXI_OP_PING_DUE;
        sbxi_op_wake(c, op);
    }
    if (op->attempt_at <= now && !sbxi_op_progressed(c, op)) {
        op->attempt_at = SBXI_NEVER;
        sbxi_op_set_fail(op, SBX_ERR_DEADLINE, SBX_LAYER_TRANSPORT,
                         op->state == SBXI_OP_START ? SBXI_T("no connection became free in time: end streams, or raise max_links") :
                         op->state == SBXI_OP_CONNECT ? SBXI_T("the connection was not made in time") :
                         sbxi_op_hopeless(c, op) ? SBXI_T("no buffer became free in time: pull the streams that are half read, or raise buffers") :
                         SBXI_T("the server did not answer in time"));
        op->fail.status = 0;
        if (op->state == SBXI_OP_START && op->attempts < UINT8_MAX)
            op->attempts++; /* to wait in vain is one, too */
        sbxi_op_attempt_failed(c, op);
    }
    sbxi_op_arm(c, op);
}

/* ======== src/client.h ======== */
/* ---- client: memory layout, turns, lists of ready operations (private) ---- */
#ifndef SBXI_CLIENT_H
#define SBXI_CLIENT_H

/* Runs what can run: transport, timers, operations. Waits for up to
   timeout_ms first. */
SBXI_FN void sbxi_client_turn(sbx_client *c, int64_t timeout_ms);
/* The next event of one operation, or (NULL) of any, without waiting. */
SBXI_FN bool sbxi_client_pull(sbx_client *c, sbxi_op *only, sbx_event *ev);
/* Time by the transport's clock. */
SBXI_FN void sbxi_client_clock(sbx_client *c);
SBXI_FN void sbxi_heap_free(void *p);

/* The bytes are moved by the caller: nothing is tried unasked. */
#define SBXI_IS_PORTS(t) (!SBX_NO_PORTS && ((t)->flags & SBX_TRANSPORT_PORTS))

#endif

/* ======== src/client.c ======== */

/* ---- turns ---- */

SBXI_FN void sbxi_client_clock(sbx_client *c)
{
    int64_t now = c->net.t->mono_ms(c->net.ctx);

    if (now > c->net.now)
        c->net.now = now;
}

static void sbxi_link_is_ready(sbx_client *c, uint32_t id, unsigned bits)
{
    sbxi_link *l = &c->net.links[id];

    if (l->state == SBXI_LINK_FREE)
        return;
    sbxi_link_mark(&c->net, l, bits);
    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING)
        sbxi_link_idle_ready(&c->net, l);
    else
        sbxi_op_wake(c, &c->ops[l->owner]);
}

/* Tried without a word of the transport's. What the caller left unread since
   the last turn is held back by it; before that, nothing is known. */
static void sbxi_link_guess(sbx_client *c, uint32_t id)
{
    sbxi_link *l = &c->net.links[id];

    if (l->ready & SBX_READABLE)
        l->ready &= (uint8_t)~SBXI_GUESSED;
    else
        l->ready |= SBXI_GUESSED;
    sbxi_link_is_ready(c, id, SBX_READABLE | SBX_WRITABLE);
}

/* Asks the transport what is ready; one that cannot say is tried everywhere. */
static void sbxi_client_poll(sbx_client *c, int64_t timeout_ms)
{
    sbx_ready ready[SBX_SMALL ? 4 : 16];
    int n;

    if (!c->net.t->wait) {
        if (!SBXI_IS_PORTS(c->net.t))
            for (uint32_t i = 0; i < c->net.link_count; i++)
                sbxi_link_guess(c, i);
        return;
    }
    for (uint32_t total = 0; total <= c->net.link_count; total += SBXI_COUNT(ready)) {
        n = c->net.t->wait(c->net.ctx, timeout_ms, ready, (int)SBXI_COUNT(ready));
        for (int i = 0; i < n; i++)
            if (ready[i].tag < c->net.link_count)
                sbxi_link_is_ready(c, ready[i].tag, ready[i].bits);
        if (n < (int)SBXI_COUNT(ready))
            return;
        timeout_ms = 0;
    }
}

/* Puts an operation where its last run says it belongs. */
static void sbxi_client_sort(sbx_client *c, sbxi_op *op, sbxi_run r)
{
    if (op->list != SBXI_LIST_NONE || op->state == SBXI_OP_FREE)
        return;
    if (r == SBXI_RUN_HELD || r == SBXI_RUN_EVENT)
        sbxi_op_list(c, op, SBXI_LIST_EVENT);
    else if (r == SBXI_RUN_STARVED)
        sbxi_op_list(c, op, SBXI_LIST_STARVED);
    else if (!c->net.run_left)
        sbxi_op_list(c, op, SBXI_LIST_RUN);
}

/* A buffer of which nothing is left to read is not kept for what may come. */
static void sbxi_client_tidy(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = op->state == SBXI_OP_FREE ? NULL : sbxi_op_link(c, op);

    if (l && !op->piece_n && c->borrowed != sbxi_op_id(c, op) && !(op->state == SBXI_OP_STREAM && op->s.has_data))
        sbxi_link_consumed(&c->net, l);
}

/* One operation's share of a turn. */
#define SBXI_RUN_BYTES 262144u

static void sbxi_client_run(sbx_client *c)
{
    /* A bound for one turn: whatever is left has its next one at once. */
    uint32_t budget = sbxi_mul(4, c->desc.max_ops) > UINT32_MAX - 16 ? UINT32_MAX : 4 * c->desc.max_ops + 16;

    uint32_t spent = SBXI_NIL, id;

    while ((id = c->lists[SBXI_LIST_RUN].head) != SBXI_NIL && id != spent && budget--) {
        sbxi_op *op = &c->ops[id];

        sbxi_op_list(c, op, SBXI_LIST_NONE);
        c->net.run_left = SBXI_RUN_BYTES;
        sbxi_client_sort(c, op, sbxi_op_run(c, op, NULL));
        sbxi_client_tidy(c, op);
        if (spent == SBXI_NIL && !c->net.run_left && op->list == SBXI_LIST_RUN)
            spent = id;
    }
}

static void sbxi_client_unstarve(sbx_client *c)
{
    uint32_t last = c->lists[SBXI_LIST_STARVED].tail, id;

    while ((id = c->lists[SBXI_LIST_STARVED].head) != SBXI_NIL) {
        sbxi_op_list(c, &c->ops[id], SBXI_LIST_RUN);
        if (id == last)
            break;
    }
}

/* The data of the last event is not looked at any more. */
static void sbxi_client_return(sbx_client *c)
{
    sbxi_op *op;
    sbxi_link *l;

    if (c->borrowed == SBXI_NIL)
        return;
    op = &c->ops[c->borrowed];
    c->borrowed = SBXI_NIL;
    l = sbxi_op_link(c, op);
    if (l && !op->piece_n)
        sbxi_link_consumed(&c->net, l);
    sbxi_client_unstarve(c);
}

static void sbxi_client_timers(sbx_client *c)
{
    uint32_t budget = c->desc.max_ops;

    while (sbxi_timer_first(&c->timers) <= c->net.now && budget--)
        sbxi_op_timer(c, &c->ops[c->timers.id[0]]);
    if (sbxi_net_sweep_at(&c->net) <= c->net.now)
        sbxi_net_sweep(&c->net);
}

SBXI_FN void sbxi_client_turn(sbx_client *c, int64_t timeout_ms)
{
    c->net.inside = true;
    sbxi_client_return(c);
    sbxi_client_unstarve(c);
    sbxi_client_poll(c, timeout_ms);
    if (timeout_ms)
        sbxi_client_clock(c);
    sbxi_client_run(c);
    sbxi_client_timers(c);
    sbxi_client_run(c);
    c->net.inside = false;
    sbxi_owned_run(c);
}

SBX_API void sbx_step(sbx_client *c, int64_t now_ms)
{
    if (c->net.inside)
        return;
    if (now_ms > c->net.now)
        c->net.now = now_ms;
    sbxi_client_turn(c, 0);
}

/* ---- events ---- */

static bool sbxi_client_event(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_run r;

    sbxi_op_list(c, op, SBXI_LIST_NONE);
    c->net.run_left = SBXI_RUN_BYTES;
    r = sbxi_op_run(c, op, ev);
    sbxi_client_sort(c, op, r);
    if (r == SBXI_RUN_EVENT && op->state != SBXI_OP_FREE && (ev->data.p || ev->item))
        c->borrowed = sbxi_op_id(c, op);
    sbxi_client_tidy(c, op);
    return r == SBXI_RUN_EVENT;
}

SBXI_FN bool sbxi_client_pull(sbx_client *c, sbxi_op *only, sbx_event *ev)
{
    uint32_t last = c->lists[SBXI_LIST_EVENT].tail, id;
    bool got = false;

    if (c->net.inside)
        return false;
    c->net.inside = true;
    sbxi_client_return(c);
    if (only) {
        got = only->list == SBXI_LIST_EVENT && sbxi_client_event(c, only, ev);
    } else {
        /* Each operation that waits now is asked once. */
        while (!got && (id = c->lists[SBXI_LIST_EVENT].head) != SBXI_NIL) {
            got = sbxi_client_event(c, &c->ops[id], ev);
            if (id == last)
                break;
        }
    }
    c->net.inside = false;
    return got;
}

SBX_API bool sbx_next(sbx_client *c, sbx_event *ev)
{
    if (c->net.inside)
        return false;
    if (c->lists[SBXI_LIST_RUN].head != SBXI_NIL) {
        c->net.inside = true;
        sbxi_client_return(c);
        sbxi_client_run(c);
        c->net.inside = false;
    }
    sbxi_owned_run(c); /* a deletion of the shutdown may have ended since the last step */
    return sbxi_client_pull(c, NULL, ev);
}

SBX_API int64_t sbx_next_deadline(const sbx_client *c)
{
    int64_t at;

    if (c->lists[SBXI_LIST_RUN].head != SBXI_NIL || c->lists[SBXI_LIST_EVENT].head != SBXI_NIL)
        return c->net.now;
    if (c->lists[SBXI_LIST_STARVED].head != SBXI_NIL && c->net.rx.used + 1 < c->net.rx.count && c->net.tx.used + 1 < c->net.tx.count)
        return c->net.now;
    at = sbxi_net_sweep_at(&c->net);
    return SBXI_MIN(at, sbxi_timer_first(&c->timers));
}

SBX_API void sbx_wake(sbx_client *c)
{
    if (c->net.t->wake)
        c->net.t->wake(c->net.ctx);
}

SBX_API intptr_t sbx_poll_handle(const sbx_client *c)
{
    return c->net.t->poll_handle ? c->net.t->poll_handle(c->net.ctx) : -1;
}

/* ---- ending ---- */

SBX_API sbx_code sbx_cancel(sbx_client *c, sbx_op h)
{
    sbxi_op *op = sbxi_op_get(c, h);

    if (!op)
        return SBX_ERR_HANDLE;
    if (c->net.inside)
        return SBX_ERR_STATE;
    if (op->state == SBXI_OP_DONE)
        return SBX_OK;
    if (c->borrowed == h.slot - 1)
        c->borrowed = SBXI_NIL;
    op->notes = 0;
    op->fail.has_text = false;
    sbxi_op_fail(c, op, SBX_ERR_CANCELLED, SBX_LAYER_LOCAL, NULL);
    return SBX_OK;
}

SBX_API void sbx_error_of(const sbx_client *c, sbx_op op, sbx_error *out)
{
    if (op.slot == 0 && op.gen != SBX_OK && c->refused.code == (sbx_code)op.gen) {
        *out = c->refused;
    } else if (op.slot == 0) {
        memset(out, 0, sizeof *out);
        out->code = (sbx_code)op.gen;
        out->retry_after_ms = -1;
    } else if (op.slot == c->last_op.slot && op.gen == c->last_op.gen) {
        *out = c->last;
    } else {
        memset(out, 0, sizeof *out);
        out->retry_after_ms = -1;
    }
}

SBX_API void sbx_free(sbx_client *c, void *p)
{
    if (p && c->desc.resize)
        c->desc.resize(c->desc.resize_user, p, 0);
}

/* ---- shutting down ---- */

static void sbxi_end_all(sbx_client *c, sbx_code code)
{
    for (uint32_t i = 0; i < c->desc.max_ops; i++) {
        sbxi_op *op = &c->ops[i];

        if (op->state != SBXI_OP_FREE && op->state != SBXI_OP_DONE && i != c->shutdown && !(op->flags & SBXI_OP_INTERNAL)) {
            op->notes = 0;
            op->fail.has_text = false;
            sbxi_op_fail(c, op, code, SBX_LAYER_LOCAL, NULL);
        }
    }
}

/* A shutdown, and its deletions one after the other, need one block. ENDs that
   nobody pulled may hold all of them, for no more than the server's words. */
static void sbxi_spare_block(sbx_client *c)
{
    for (uint32_t i = 0; c->blocks.free_head == SBXI_NIL && i < c->desc.max_ops; i++)
        if (c->ops[i].state == SBXI_OP_DONE)
            sbxi_op_drop_block(c, &c->ops[i]);
}

static const sbxi_row sbxi_shutdown_row = { "shutdown", "", "", "", SBXI_BASE_CONTROL, SBXI_RETRY_SAFE, SBXI_ANSWER_NONE, SBX_RESOURCE_NONE, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL };

SBX_API sbx_op sbx_shutdown(sbx_client *c, int32_t ms)
{
    sbx_call call;
    sbx_op h;
    sbxi_op *op;

    memset(&call, 0, sizeof call);
    if (!c->closing && !c->net.inside) {
        /* Its slot is one of those that end now. */
        sbxi_end_all(c, SBX_ERR_CLOSED);
        sbxi_spare_block(c);
    }
    op = sbxi_op_new(c, &sbxi_shutdown_row, &call, SBXI_AS_ROW, &h);
    if (!op)
        return h;
    sbxi_op_drop_block(c, op);
    op->state = SBXI_OP_PAUSE;
    sbxi_client_clock(c);
    op->total_at = sbxi_after(c->net.now, ms);
    c->shutdown = sbxi_op_id(c, op);
    c->closing = true;
    sbxi_op_arm(c, op);
    sbxi_owned_run(c);
    return sbxi_op_handle(c, op);
}

#if !SBX_NO_OWNED
/* Nobody pulls what ended any more, and its slots are needed to delete. */
static SBXI_NOINLINE void sbxi_drop_events(sbx_client *c)
{
    sbx_event ev;

    sbxi_end_all(c, SBX_ERR_CLOSED);
    while (sbxi_client_pull(c, NULL, &ev)) {
    }
}

static SBXI_NOINLINE void sbxi_close_owned(sbx_client *c)
{
    sbxi_drop_events(c);
    sbx_await(c, sbx_shutdown(c, c->desc.close_ms));
}

static void sbxi_delete_owned(sbx_client *c)
{
    bool owns = false;

    for (uint32_t i = 0; i < c->desc.max_owned; i++)
        owns |= c->owned[i].state != 0;
    if (owns && c->net.t->wait && !c->closing)
        sbxi_close_owned(c);
}
#endif

/* Keys lie in the client, in requests and in send buffers. */
static void sbxi_wipe(sbx_client *c)
{
    char *end = (char *)c->mem + c->memory;

    for (volatile char *p = (volatile char *)c; p < end; p++)
        *p = 0;
}

SBX_API void sbx_close(sbx_client *c)
{
    bool from_malloc;
    void *mem;

    if (!c || c->net.inside)
        return;
#if !SBX_NO_OWNED
    sbxi_delete_owned(c);
#endif
    for (uint32_t i = 0; i < c->desc.max_ops; i++)
        if (c->ops[i].flags & SBXI_OP_HOLDS && c->ops[i].state != SBXI_OP_FREE && c->ops[i].state != SBXI_OP_DONE)
            sbxi_op_fail(c, &c->ops[i], SBX_ERR_CLOSED, SBX_LAYER_LOCAL, NULL);
    for (uint32_t i = 0; i < c->net.link_count; i++)
        if (c->net.links[i].state != SBXI_LINK_FREE)
            sbxi_link_close(&c->net, &c->net.links[i], SBX_ERR_CLOSED);
    if (c->net.t->shut)
        c->net.t->shut(c->net.ctx);
    from_malloc = c->from_malloc;
    mem = c->mem;
    sbxi_wipe(c);
    if (from_malloc)
        sbxi_heap_free(mem);
}

/* ======== src/client_init.c ======== */

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

/* ======== src/service.h ======== */
/* ---- service: LangSmith's tables, shared by its files (private) ---- */
#ifndef SBXI_SERVICE_H
#define SBXI_SERVICE_H
#if !SBX_NO_TUNNEL
#endif

/* Options that were not given: all zero. */
typedef union sbxi_options {
    char zero[sizeof(sbx_create_opts) > sizeof(sbx_run_opts) ? sizeof(sbx_create_opts) : sizeof(sbx_run_opts)];
    sbx_create_opts create;
    sbx_list_opts list;
    sbx_update_opts update;
    sbx_box_opts box;
    sbx_run_opts run;
    sbx_attach_opts attach;
    sbx_read_opts read;
    sbx_write_opts write;
    sbx_find_opts find;
    sbx_snapshot_opts snapshot;
    sbx_registry_opts registry;
    sbx_service_opts service;
    sbx_download_opts download;
    sbx_request_opts request;
#if !SBX_NO_LEGACY
    sbx_template_opts old_template;
    sbx_volume_opts old_volume;
    sbx_pool_opts old_pool;
#endif
#if !SBX_NO_TUNNEL
    sbx_tunnel_opts tunnel;
    sbx_dial_opts dial;
#endif
} sbxi_options;

SBX_EXTERN_C_BEGIN
extern const sbxi_options sbxi_no_opts;
extern const sbxi_model sbxi_box_model, sbxi_status_model, sbxi_box_page_model, sbxi_match_page_model, sbxi_exec_model;
extern const sbxi_model sbxi_snapshot_model, sbxi_snapshot_page_model, sbxi_snapshot_tags_model, sbxi_registry_model, sbxi_registry_page_model;
extern const sbxi_schema sbxi_create_schema, sbxi_create_no_wait_schema, sbxi_update_schema, sbxi_list_schema;
extern const sbxi_schema sbxi_execute_http_schema, sbxi_execute_ws_schema, sbxi_execute_sse_schema, sbxi_sse_schema, sbxi_find_schema;
extern const sbxi_schema sbxi_snapshot_build_schema, sbxi_snapshot_capture_schema, sbxi_registry_create_schema, sbxi_registry_update_schema;
/* named: 404 is the thing, or a path that the server does not know; made: likewise, of a POST whose path names no thing; drop: a DELETE that 409 may refuse. */
extern const sbxi_rules sbxi_named_rules, sbxi_made_rules, sbxi_drop_rules, sbxi_snapshot_build_rules, sbxi_snapshot_capture_rules;
extern const sbxi_model sbxi_grant_model, sbxi_port_page_model;
extern const sbxi_schema sbxi_download_schema;
extern const sbxi_rules sbxi_share_rules, sbxi_fetch_rules;
extern const sbxi_rules sbxi_control_rules, sbxi_list_rules, sbxi_create_rules, sbxi_update_rules, sbxi_data_rules, sbxi_find_rules, sbxi_stream_rules;
extern const sbxi_row sbxi_command_row;
SBX_EXTERN_C_END

/* Puts a call together step by step; the first thing that is refused sticks. */
typedef struct sbxi_build {
    sbx_client *c;
    sbxi_op *op;
    sbx_op refused;
} sbxi_build;

SBXI_FN bool sbxi_build_begin(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call);
/* For a function that is not called like its row. */
SBXI_FN bool sbxi_build_begin_as(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as);
SBXI_FN void sbxi_build_refuse(sbxi_build *b, sbx_code code, const char *field, const char *text);
/* It does not fit in request_bytes. */
SBXI_FN void sbxi_build_too_large(sbxi_build *b);
/* Refuses what this build does not have. */
SBXI_FN void sbxi_build_absent(sbxi_build *b, bool asked, const char *field, const char *text);
/* An option that only older servers know. */
SBXI_FN void sbxi_build_old(sbxi_build *b, bool given, const char *field);
/* The sandbox (and for its data plane, the URL) is there. */
SBXI_FN void sbxi_build_box(sbxi_build *b, const sbx_box *box);
/* Whether it would carry a secret unencrypted that the endpoint does not. */
SBXI_FN bool sbxi_url_is_weak(const sbx_client *c, const sbxi_url *url);
SBXI_FN void sbxi_build_name(sbxi_build *b, sbx_str name, const char *field);
SBXI_FN void sbxi_build_query(sbxi_build *b, const sbxi_schema *schema, const void *opts);
/* One more parameter of the query, encoded. */
SBXI_FN void sbxi_build_param(sbxi_build *b, const char *name, sbx_str value);
SBXI_FN void sbxi_build_headers(sbxi_build *b, const sbx_call *call);
/* One more header, behind those of the call. */
SBXI_FN void sbxi_build_header(sbxi_build *b, const char *name, sbx_str value, const char *field);
/* A JSON body: members, then the options by their schema. */
SBXI_FN void sbxi_build_json(sbxi_build *b, sbx_jsonw *w);
/* A text that the caller gave as `field`. */
SBXI_FN void sbxi_build_member(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field);
/* Likewise, with 1 to `most` bytes (127 or SIZE_MAX). */
SBXI_FN void sbxi_build_needed(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field, size_t most);
/* A member of the library's own. */
SBXI_FN void sbxi_build_text(sbx_jsonw *w, const char *name, const char *value);
SBXI_FN void sbxi_build_opts(sbxi_build *b, sbx_jsonw *w, const sbxi_schema *schema, const void *opts);
SBXI_FN void sbxi_build_json_end(sbxi_build *b, sbx_jsonw *w);
/* A body without members (`{}`) changes nothing: row `get` takes its place. */
SBXI_FN void sbxi_build_or_get(sbxi_build *b, const sbxi_row *get);
/* Where the answer and its text go. */
SBXI_FN void sbxi_build_result(sbxi_build *b, void *out, void *info, sbx_buf raw, size_t *raw_n);
/* How long and how often it polls. */
SBXI_FN void sbxi_build_wait(sbxi_build *b, int32_t wait_s, int32_t wait_default_s, int32_t poll_ms, int32_t poll_default_ms);
SBXI_FN sbx_op sbxi_build_end(sbxi_build *b);
/* A call on a thing that its name alone says, up to sbxi_build_end; false: refused. */
SBXI_FN bool sbxi_name_call(sbxi_build *b, sbx_client *c, const sbxi_row *row, sbx_str name, const char *field, const sbx_box_opts *o, void *out, void *info);
/* A whole list call. With a name it lists what belongs to that; items are then
   not compared by their ids. */
SBXI_FN sbx_op sbxi_list_call(sbx_client *c, const sbxi_row *row, const sbx_str *name, const sbx_list_opts *opts, sbx_list_result *out);
/* Where a call's bytes are collected; false: refused. */
SBXI_FN bool sbxi_build_sink(sbxi_build *b, sbxi_sink *s, sbx_buf buf, bool alloc, size_t limit, size_t limit_default);

/* `refine`: a 404 without words of the service's own is an unknown path. */
SBXI_FN void sbxi_refine_endpoint(sbxi_op *op);
SBXI_FN sbx_status sbxi_status_of(char text[16]);
SBXI_FN const char *sbxi_labels_bad(const sbx_pair *labels, size_t n, const char **why);

/* ---- what rows share ---- */

#define SBXI_CTL SBXI_BASE_CONTROL, SBXI_RETRY_SAFE
#define SBXI_CTL_ONCE SBXI_BASE_CONTROL, SBXI_RETRY_ONCE

SBXI_FN void sbxi_write_raw(const sbxi_http *h);
/* `after`: no result but the answer's text. */
SBXI_FN bool sbxi_raw_after(sbx_client *c, sbxi_op *op);
/* `after`: the model is the result. */
SBXI_FN bool sbxi_model_after(sbx_client *c, sbxi_op *op);
/* `after` of a list: its next page, or its result. */
SBXI_FN bool sbxi_list_after(sbx_client *c, sbxi_op *op);
/* `failed` of a DELETE. */
SBXI_FN bool sbxi_delete_failed(sbx_client *c, sbxi_op *op);
/* `after` of what polls and is not ready: asks by `row` again after a while, or
   ends for good when it failed or its time is over. What `after` returns. */
SBXI_FN bool sbxi_poll(sbx_client *c, sbxi_op *op, const sbxi_row *row, sbx_status status, const char *word, const char *message);

/* The typed forms of a sandbox's configuration, reached by the client's
   description. */
struct sbxi_config {
    const sbxi_schema *create, *update; /* of those options' structs */
    /* Which mounts need which credentials, of options whose parts are right by
       themselves. A proxy given as JSON is not looked into. */
    const char *(*mounts_bad)(const sbx_create_opts *o, const char **why);
};
/* Calls that read a file, or its stat, from there on where it is known which. */
SBXI_FN sbx_op sbxi_read_call(sbxi_build *b, const sbx_read_opts *o, sbx_read_result *out);
SBXI_FN sbx_op sbxi_stat_call(sbxi_build *b, const sbx_box_opts *o, sbx_file_stat *out);
/* `failed` of a body that is pushed: the caller has to push it again. */
SBXI_FN bool sbxi_push_failed(sbx_client *c, sbxi_op *op);
/* Their hooks. */
SBXI_FN bool sbxi_read_failed(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_read_finished(sbx_client *c, sbxi_op *op);
SBXI_FN bool sbxi_stat_after(sbx_client *c, sbxi_op *op);

/* A path in a sandbox, encoded as the query. */
SBXI_FN void sbxi_build_path(sbxi_build *b, sbx_str path);

#endif

/* ======== src/service.c ======== */

const sbxi_options sbxi_no_opts = { { 0 } };

SBXI_FN bool sbxi_build_begin_as(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call, sbxi_as as)
{
    b->c = c;
    b->op = sbxi_op_new(c, row, call, as, &b->refused);
    return b->op != NULL;
}

SBXI_FN bool sbxi_build_begin(sbxi_build *b, sbx_client *c, const sbxi_row *row, const sbx_call *call)
{
    return sbxi_build_begin_as(b, c, row, call, SBXI_AS_ROW);
}

SBXI_FN void sbxi_build_refuse(sbxi_build *b, sbx_code code, const char *field, const char *text)
{
    if (b->op)
        b->refused = sbxi_op_refuse(b->c, b->op, code, sbxi_op_name(b->op), field, text);
    b->op = NULL;
}

SBXI_FN void sbxi_build_absent(sbxi_build *b, bool asked, const char *field, const char *text)
{
    if (asked)
        sbxi_build_refuse(b, SBX_ERR_UNSUPPORTED, field, text);
}

SBXI_FN void sbxi_build_old(sbxi_build *b, bool given, const char *field)
{
    if (SBX_NO_LEGACY)
        sbxi_build_absent(b, given, field, SBXI_T("is not in this build (SBX_NO_LEGACY)"));
}

SBXI_FN void sbxi_build_too_large(sbxi_build *b)
{
    sbxi_build_refuse(b, SBX_ERR_TOO_LARGE, "request_bytes", SBXI_T("is too small for this request: raise it in the client's description"));
}

SBXI_FN void sbxi_build_name(sbxi_build *b, sbx_str name, const char *field)
{
    uint32_t state = 0;

    if (!b->op)
        return;
    if (!name.n)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must not be empty"));
    else if (!sbxi_utf8(&state, name.p, name.n) || state || memchr(name.p, 0, name.n))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must be UTF-8 without NUL"));
    else if ((name.n == 1 && name.p[0] == '.') || (name.n == 2 && name.p[0] == '.' && name.p[1] == '.'))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must not be . or .."));
    else if (!sbxi_op_segment(b->c, b->op, name))
        sbxi_build_too_large(b);
}

SBXI_FN bool sbxi_url_is_weak(const sbx_client *c, const sbxi_url *url)
{
    return c->base.tls && !url->tls && !c->desc.allow_http_boxes && !sbxi_url_is_loopback(url);
}

SBXI_FN void sbxi_build_box(sbxi_build *b, const sbx_box *box)
{
    sbxi_url url;

    if (!b->op)
        return;
    if (!box) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box", SBXI_T("must be given"));
        return;
    }
    b->op->box = box;
    if (b->op->row->base == SBXI_BASE_CONTROL)
        sbxi_build_name(b, box->name[0] ? sbx_s(box->name) : sbx_s(box->id), "box.name");
    else if (!box->url[0])
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box.url", SBXI_T("is not known: get the sandbox, or start it, first"));
    else if (!sbxi_url_parse(sbx_s(box->url), &url))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box.url", SBXI_T("must be an http or https URL without user, query or fragment"));
    else if (sbxi_url_is_weak(b->c, &url))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "box.url", SBXI_T("is http:// though the endpoint is https://: the API key would go unencrypted (allow_http_boxes in the client's description permits it)"));
}

SBXI_FN void sbxi_build_query(sbxi_build *b, const sbxi_schema *schema, const void *opts)
{
    const char *why = NULL, *bad;
    size_t room, n = 0;
    char *p;

    if (!b->op)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    bad = sbxi_encode_query(p, room, &n, schema, opts, &why);
    if (bad)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, bad, why);
    else if (n > room)
        sbxi_build_too_large(b);
    else
        b->op->block->query_n = (uint32_t)n;
}

SBXI_FN void sbxi_build_param(sbxi_build *b, const char *name, sbx_str value)
{
    size_t room, n, name_n = strlen(name);
    char *p;

    if (!b->op)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    if (room < name_n + 2) {
        sbxi_build_too_large(b);
        return;
    }
    *p = b->op->block->query_n ? '&' : '?';
    memcpy(p + 1, name, name_n);
    p[1 + name_n] = '=';
    n = sbxi_percent(p + name_n + 2, room - name_n - 2, value, "/");
    if (n > room - name_n - 2)
        sbxi_build_too_large(b);
    else
        b->op->block->query_n += (uint32_t)(n + name_n + 2);
}

SBXI_FN void sbxi_build_path(sbxi_build *b, sbx_str path)
{
    uint32_t state = 0;

    if (!b->op)
        return;
    if (!path.n)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "path", SBXI_T("must not be empty"));
    else if (!sbxi_utf8(&state, path.p, path.n) || state || memchr(path.p, 0, path.n))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "path", SBXI_T("must be UTF-8 without NUL"));
    else
        sbxi_build_param(b, "path", path);
}

SBXI_FN void sbxi_build_headers(sbxi_build *b, const sbx_call *call)
{
    const char *why, *bad;

    if (!b->op)
        return;
    bad = sbxi_op_headers(b->c, b->op, call, &why);
    if (bad)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, bad, why);
    else if (b->op->block->overflow)
        sbxi_build_too_large(b);
}

SBXI_FN void sbxi_build_header(sbxi_build *b, const char *name, sbx_str value, const char *field)
{
    sbx_header h;
    size_t room, n = 0;
    const char *why;
    char *p;

    if (!b->op || !value.p)
        return;
    if (!value.n) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("must not be empty"));
        return;
    }
    h.name = sbx_s(name);
    h.value = value;
    p = sbxi_op_room(b->c, b->op, &room);
    why = sbxi_header_lines(p, room, &n, &h, 1);
    if (why)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, why);
    else if (n > room)
        sbxi_build_too_large(b);
    else
        b->op->block->header_n += (uint32_t)n;
}

SBXI_FN void sbxi_build_json(sbxi_build *b, sbx_jsonw *w)
{
    size_t room;
    char *p;

    memset(w, 0, sizeof *w);
    if (!b->op)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    sbx_jsonw_init(w, p, room);
    sbx_jsonw_begin(w, '{');
}

SBXI_FN void sbxi_build_member(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field)
{
    const char *why;

    if (!b->op)
        return;
    sbx_jsonw_key(w, sbx_s(name));
    why = sbxi_text_put(w, value);
    if (why)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, why);
}

SBXI_FN void sbxi_build_needed(sbxi_build *b, sbx_jsonw *w, const char *name, sbx_str value, const char *field, size_t most)
{
    if (!value.n || value.n > most)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, value.n ? SBXI_T("must be 127 bytes at most") : SBXI_T("must not be empty"));
    sbxi_build_member(b, w, name, value, field);
}

SBXI_FN void sbxi_build_text(sbx_jsonw *w, const char *name, const char *value)
{
    sbx_jsonw_key(w, sbx_s(name));
    sbx_jsonw_str(w, sbx_s(value));
}

SBXI_FN void sbxi_build_opts(sbxi_build *b, sbx_jsonw *w, const sbxi_schema *schema, const void *opts)
{
    sbxi_bad bad;

    if (b->op && !sbxi_encode(w, schema, opts, &bad))
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, SBXI_BAD_OPTION(&bad), bad.why);
}

SBXI_FN void sbxi_build_json_end(sbxi_build *b, sbx_jsonw *w)
{
    if (!b->op)
        return;
    sbx_jsonw_end(w, '}');
    if (w->error)
        sbxi_build_too_large(b);
    else
        b->op->block->body_n = (uint32_t)w->n;
}

SBXI_FN bool sbxi_build_sink(sbxi_build *b, sbxi_sink *s, sbx_buf buf, bool alloc, size_t limit, size_t limit_default)
{
    if (!b->op)
        return false;
    if (SBX_NO_ALLOC && alloc) {
        sbxi_build_refuse(b, SBX_ERR_UNSUPPORTED, "alloc", SBXI_T("is not in this build (SBX_NO_ALLOC)"));
        return false;
    }
    if (alloc && buf.p) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "alloc", SBXI_T("and a buffer exclude each other"));
        return false;
    }
    if (alloc && !b->c->desc.resize) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "alloc", SBXI_T("needs an allocator: set `resize` in the client's description"));
        return false;
    }
    if (buf.n && !buf.p) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "out", SBXI_T("has a size but no address"));
        return false;
    }
    s->p = (char *)buf.p;
    s->cap = alloc ? (limit ? limit : limit_default) : buf.n;
    if (alloc)
        b->op->flags |= SBXI_OP_ALLOC;
    return true;
}

SBXI_FN void sbxi_build_or_get(sbxi_build *b, const sbxi_row *get)
{
    if (!b->op || b->op->block->body_n != 2)
        return;
    b->op->row = get;
    b->op->block->body_n = 0;
}

SBXI_FN void sbxi_build_result(sbxi_build *b, void *out, void *info, sbx_buf raw, size_t *raw_n)
{
    sbxi_http *h;

    if (!b->op)
        return;
    h = &b->op->u.http;
    h->out = out;
    h->info = info;
    h->raw = raw;
    h->raw_n = raw_n;
}

SBXI_FN sbx_op sbxi_build_end(sbxi_build *b)
{
    return b->op ? sbxi_op_start(b->c, b->op) : b->refused;
}

/* ======== src/langsmith_stream.h ======== */
/* ---- stream: a command's WebSocket, phase by phase (private) ---- */
#ifndef SBXI_STREAM_H
#define SBXI_STREAM_H

enum { SBXI_PHASE_HELLO, SBXI_PHASE_STARTING, SBXI_PHASE_RUNNING, SBXI_PHASE_EXITED };
/* What the caller asked for and the server was not told yet; STDIN stays, for
   it is told again after every reattach. */
enum { SBXI_WANT_KILL = 1, SBXI_WANT_CLOSE_STDIN = 2, SBXI_WANT_RESIZE = 4, SBXI_STDIN_CLOSED = 8 };

/* What a message is about; of an event stream, what an event is called. */
enum { SBXI_T_NONE, SBXI_T_STDOUT, SBXI_T_STDERR, SBXI_T_STARTED, SBXI_T_EXIT, SBXI_T_ERROR, SBXI_T_ACK, SBXI_T_OTHER, SBXI_T_SHUTDOWN };

SBXI_FN uint8_t sbxi_message_type(const char *p, size_t n);
/* A short value or a key, put together when the input cut it. NULL: more has
   to come, or it is longer than anything that we know. */
SBXI_FN const char *sbxi_message_part(sbxi_op *op, const sbx_json_tok *t, size_t *n);
/* A message in JSON: begins (whole: all of it lies in the input), goes on to
   the input's end unless something has to be pulled first, and is complete. */
SBXI_FN void sbxi_message_begin(sbxi_op *op, bool whole);
SBXI_FN sbxi_run sbxi_message_read(sbx_client *c, sbxi_op *op, sbx_event *ev, char **at, char *end);
SBXI_FN SBXI_ONCE sbxi_run sbxi_message_end(sbx_client *c, sbxi_op *op);
/* Output that was read and not delivered yet. */
SBXI_FN sbxi_run sbxi_stream_pending(sbx_client *c, sbxi_op *op, sbx_event *ev);
/* Messages of an SSH agent's channel; types behind the stream's own. */
enum { SBXI_T_AGENT_DATA = 14, SBXI_T_AGENT_CLOSE };
/* What is done about them, reached by the operation that has an agent: only
   sbx_command links it. */
typedef struct sbxi_agent_calls {
    /* 0: none of ours. */
    uint8_t (*type)(const char *p, size_t n);
    void (*channel)(sbxi_agent *a, const sbx_json_tok *t);
    /* A piece of `data` of a message that is not whole, decoded in place; false:
       it ends the operation. */
    bool (*piece)(sbx_client *c, sbxi_op *op, char *p, size_t *n, bool last);
    /* The message is complete. */
    void (*end)(sbx_client *c, sbxi_op *op);
    sbxi_run (*deliver)(sbx_client *c, sbxi_op *op, sbx_event *ev, const char *p, uint32_t n);
} sbxi_agent_calls;
#if !SBX_NO_SSH_AGENT
SBX_EXTERN_C_BEGIN
extern const sbxi_agent_calls sbxi_agent_all;
SBX_EXTERN_C_END
#endif
/* NULL: the caller has none. */
SBXI_INLINE sbxi_agent *sbxi_agent_of(const sbxi_op *op)
{
    return !SBX_NO_SSH_AGENT && op->block && op->block->answer.agent.calls ? &op->block->answer.agent : NULL;
}

/* A piece of a message came; it is read by sbxi_stream_read. */
SBXI_FN void sbxi_stream_piece(sbxi_op *op, const sbx_ws_event *e);
SBXI_FN sbxi_run sbxi_stream_read(sbx_client *c, sbxi_op *op, sbx_event *ev);
/* Whether a command id can be told back as it is, without escaping. */
SBXI_FN bool sbxi_id_ok(sbx_str id);
/* The command's id as text; "" when it is not known any more. */
SBXI_FN void sbxi_id_get(const sbxi_op *op, char out[SBXI_ID_MAX + 1]);
/* The server chooses it and did not say it yet. */
SBXI_FN bool sbxi_id_unknown(const sbxi_op *op);
/* Takes an id of at most SBXI_ID_MAX characters; needs the operation's block. */
SBXI_FN void sbxi_id_set(sbxi_op *op, sbx_str id);
/* The server acknowledged the command (again). */
SBXI_FN void sbxi_stream_started(sbx_client *c, sbxi_op *op);
/* Whether to open the stream again can help. */
SBXI_FN SBXI_ONCE bool sbxi_stream_transient(const sbxi_fail *f);
SBXI_FN void sbxi_stream_protocol_error(sbx_client *c, sbxi_op *op, const char *text);
/* A stream that broke: its drop is treated as any failed attempt. */
SBXI_FN void sbxi_stream_dropped(sbx_client *c, sbxi_op *op, sbxi_got got);
/* Back to where the next connection begins. */
SBXI_FN void sbxi_stream_reset(sbxi_op *op);
/* Hooks of a command's rows. */
SBXI_FN bool sbxi_stream_failed(sbx_client *c, sbxi_op *op);
SBXI_FN void sbxi_stream_finished(sbx_client *c, sbxi_op *op);

/* The server does not know a command whose start it may never have seen. */
SBXI_INLINE bool sbxi_sse_lost(const sbxi_op *op)
{
    return sbxi_op_is_sse(op) && !op->s.started && !op->s.attach;
}

/* ---- ways to run a command ---- */

/* Options that not every way has, in the order in which they are refused. */
enum {
    SBXI_HAS_PTY = 1, SBXI_HAS_AGENT = 2, SBXI_HAS_INPUT = 4, SBXI_HAS_ID = 8, SBXI_HAS_KILL = 16, SBXI_HAS_IDLE = 32, SBXI_HAS_TTL = 64,
    SBXI_HAS_NO_ID = 128, SBXI_HAS_DATA = 256, SBXI_HAS_ARGV = 512
};

struct sbxi_via {
    const sbxi_row *row, *attach; /* of a command, and of one that runs already; NULL: not to be had */
    const sbxi_schema *schema;
    const sbxi_schema *more;      /* NULL: no more */
    /* All of sbx_run; NULL: by `row`. */
    sbx_op (*run)(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *o, sbx_result *out);
    uint16_t refuses;             /* SBXI_HAS_… */
    uint8_t code;                 /* what is wrong where there is no row, */
    const char *lacks;            /* and how it is put */
    const char *why;              /* of the options that it refuses */
};

/* The first option that is not allowed, with *why; NULL: none. */
SBXI_FN const char *sbxi_run_bad(const struct sbxi_via *via, const sbx_run_opts *o, sbx_str command, const char **why);
/* The request's body. */
SBXI_FN void sbxi_run_json(sbxi_build *b, const struct sbxi_via *via, sbx_str command, const sbx_run_opts *o);
/* Where the output of sbx_run is collected; false: refused. */
SBXI_FN bool sbxi_run_sinks(sbxi_build *b, const sbx_run_opts *o, sbxi_sink *out, sbxi_sink *err);
/* What was collected, into the result (with `write`), or back to the allocator. */
SBXI_FN void sbxi_result_write(sbx_client *c, const sbxi_op *op, sbx_result *r, const sbxi_sink *sinks, bool write);

#endif

/* ======== src/langsmith_agent.c ======== */

/* The SSH agent's channels of a command's WebSocket. Nothing is kept of them:
   what came names its channel, and so does what goes out. */

#if !SBX_NO_SSH_AGENT

static uint8_t sbxi_agent_type(const char *p, size_t n)
{
    return sbxi_eq(sbx_sn(p, n), sbx_s("ssh_agent_data")) ? SBXI_T_AGENT_DATA : sbxi_eq(sbx_sn(p, n), sbx_s("ssh_agent_close")) ? SBXI_T_AGENT_CLOSE : 0;
}

static void sbxi_agent_channel(sbxi_agent *a, const sbx_json_tok *t)
{
    if (a->channel_n + t->n > SBXI_CHANNEL_MAX) {
        a->channel_n = SBXI_CHANNEL_MAX + 1; /* too long */
        return;
    }
    memcpy(a->channel + a->channel_n, t->p, t->n);
    a->channel_n = (uint8_t)(a->channel_n + t->n);
}

/* A piece of `data`, in place. False: it ends the operation. */
static bool sbxi_agent_decode(sbx_client *c, sbxi_op *op, char *p, size_t *n, bool last)
{
    sbxi_agent *a = sbxi_agent_of(op);

    *n = sbxi_base64_decode(&a->base64, p, *n);
    if (a->base64 != SBXI_BASE64_BAD && (!last || !a->base64 || a->base64 == SBXI_BASE64_PADDED))
        return true;
    sbxi_stream_protocol_error(c, op, SBXI_T("the data of an SSH agent's channel is not base64"));
    return false;
}

/* Whether the message says which channel it is about. */
static bool sbxi_agent_named(sbx_client *c, sbxi_op *op)
{
    const sbxi_agent *a = sbxi_agent_of(op);

    if (a->channel_n <= SBXI_CHANNEL_MAX)
        return a->channel_n != 0;
    sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_WS, SBXI_T("the id of an SSH agent's channel is longer than 63 bytes"));
    return false;
}

static bool sbxi_agent_piece(sbx_client *c, sbxi_op *op, char *p, size_t *n, bool last)
{
    if (!sbxi_agent_of(op)->channel_n) {
        sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_WS, SBXI_T("an SSH agent's message in fragments, or larger than rx_bytes, does not begin with its channel: raise rx_bytes"));
        return false;
    }
    return sbxi_agent_named(c, op) && sbxi_agent_decode(c, op, p, n, last);
}

static void sbxi_agent_end(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    bool closes = op->s.type == SBXI_T_AGENT_CLOSE;
    size_t n = k->held.out.data_n;

    if (op->s.phase == SBXI_PHASE_STARTING)
        sbxi_stream_started(c, op);
    if (!op->s.whole && !closes)
        return; /* it was delivered as it came */
    if (!sbxi_agent_named(c, op)) {
        op->s.has_data = false;
        return;
    }
    if (closes) {
        op->s.has_data = true;
        k->held.out.data = sbxi_agent_of(op)->channel; /* any address */
        k->held.out.data_n = 0;
    } else if (op->s.has_data) {
        op->s.has_data = sbxi_agent_decode(c, op, k->held.out.data, &n, true);
        k->held.out.data_n = (uint32_t)n;
    }
}

static sbxi_run sbxi_agent_deliver(sbx_client *c, sbxi_op *op, sbx_event *ev, const char *p, uint32_t n)
{
    const sbxi_agent *a = sbxi_agent_of(op);
    bool closes = op->s.type == SBXI_T_AGENT_CLOSE;

    op->s.drops = 0;
    op->s.hasty = false;
    if (!n && !closes)
        return SBXI_RUN_IDLE;
    sbxi_event_init(c, op, ev, closes ? SBX_EV_AGENT_CLOSE : SBX_EV_AGENT_DATA);
    ev->channel = sbx_sn(a->channel, a->channel_n);
    ev->data = sbx_sn(p, n);
    return SBXI_RUN_EVENT;
}

const sbxi_agent_calls sbxi_agent_all = { sbxi_agent_type, sbxi_agent_channel, sbxi_agent_piece, sbxi_agent_end, sbxi_agent_deliver };

/* ---- calls ---- */

static sbxi_op *sbxi_agent_command(sbx_client *c, sbx_op h, sbx_str channel, sbx_code *code)
{
    sbxi_op *op = sbxi_op_get(c, h);

    *code = SBX_ERR_HANDLE;
    if (!op || op->row != &sbxi_command_row)
        return NULL;
    *code = !channel.n || channel.n > SBXI_CHANNEL_MAX ? SBX_ERR_ARGUMENT : SBX_ERR_STATE;
    if (*code == SBX_ERR_ARGUMENT || op->state == SBXI_OP_DONE || c->net.inside || !sbxi_agent_of(op))
        return NULL;
    *code = SBX_OK;
    return op;
}

/* Begins a message up to its channel, of which `room` bytes have place beside
   what the caller puts behind it. NULL: none now, or *code says what is wrong. */
static char *sbxi_agent_compose(sbx_client *c, sbxi_op *op, const char *type, sbx_str channel, char **start, size_t *room, sbx_code *code)
{
    static const char before[] = "{\"type\":\"ssh_agent_", between[] = "\",\"channel_id\":\"";
    const size_t before_n = sizeof before - 1, between_n = sizeof between - 1, type_n = strlen(type);
    size_t used = 0, n = 0;
    bool bad = false;
    sbxi_got got;
    char *p;

    if (op->state != SBXI_OP_STREAM || op->s.phase != SBXI_PHASE_RUNNING)
        return NULL;
    p = sbxi_ws_compose(&c->net, sbxi_op_link(c, op), room, &got);
    /* Room for a pong stays, as in sbx_input. */
    if (!p || *room < SBXI_CHANNEL_MAX * 6 + 128 + SBXI_WS_CONTROL_MAX)
        return NULL;
    *start = p;
    memcpy(p, before, before_n);
    p += before_n;
    memcpy(p, type, type_n);
    p += type_n;
    memcpy(p, between, between_n);
    p += between_n;
    n = sbx_json_escape(p, SBXI_CHANNEL_MAX * 6, channel.p, channel.n, &used, &bad);
    p += n;
    *room -= (size_t)(p - *start) + SBXI_WS_CONTROL_MAX;
    if (used == channel.n)
        return p;
    *code = SBX_ERR_ARGUMENT;
    return NULL;
}

static sbx_code sbxi_agent_composed(sbx_client *c, sbxi_op *op, const char *start, const char *end)
{
    sbxi_ws_composed(&c->net, sbxi_op_link(c, op), SBX_WS_OP_TEXT, (size_t)(end - start));
    return c->net.entropy_failed ? SBX_ERR_ENTROPY : SBX_OK;
}

SBX_API sbx_code sbx_agent_send(sbx_client *c, sbx_op h, sbx_str channel, sbx_str data, size_t *taken)
{
    static const char between[] = "\",\"data\":\"", after[] = "\"}";
    const size_t between_n = sizeof between - 1, after_n = sizeof after - 1;
    sbx_code code;
    sbxi_op *op = sbxi_agent_command(c, h, channel, &code);

    *taken = 0;
    while (op && code == SBX_OK && *taken < data.n) {
        size_t room, n;
        char *start, *p = sbxi_agent_compose(c, op, "data", channel, &start, &room, &code);

        if (!p)
            break;
        n = SBXI_MIN(data.n - *taken, (room - between_n - after_n) / 4 * 3);
        memcpy(p, between, between_n);
        p += between_n;
        p += sbxi_base64(p, (const unsigned char *)data.p + *taken, n);
        memcpy(p, after, after_n);
        code = sbxi_agent_composed(c, op, start, p + after_n);
        *taken += code == SBX_OK ? n : 0;
        if (sbxi_link_flush(&c->net, sbxi_op_link(c, op)) != SBXI_GOT_EVENT)
            break;
    }
    if (op && code == SBX_OK && *taken < data.n)
        op->flags |= SBXI_OP_WANTS_ROOM;
    if (op)
        sbxi_op_wake(c, op);
    return code;
}

SBX_API sbx_code sbx_agent_close(sbx_client *c, sbx_op h, sbx_str channel)
{
    sbx_code code;
    sbxi_op *op = sbxi_agent_command(c, h, channel, &code);
    size_t room;
    char *start, *p;

    if (!op)
        return code;
    p = sbxi_agent_compose(c, op, "close", channel, &start, &room, &code);
    if (p) {
        memcpy(p, "\"}", 2);
        code = sbxi_agent_composed(c, op, start, p + 2);
    } else if (code == SBX_OK) {
        op->flags |= SBXI_OP_WANTS_ROOM;
        code = SBX_ERR_FULL;
    }
    sbxi_op_wake(c, op);
    return code;
}

#endif

/* ======== src/langsmith_boxes.c ======== */

SBXI_FN sbx_status sbxi_status_of(char text[16])
{
    static const char *const names[] = { "", "provisioning", "ready", "failed", "stopped", "deleting", "building" };

    if (!text[0])
        memcpy(text, "ready", 6); /* the service's default */
    for (unsigned i = 1; i < SBXI_COUNT(names); i++)
        if (strcmp(text, names[i]) == 0)
            return (sbx_status)i;
    return SBX_STATUS_UNKNOWN;
}

SBX_API bool sbx_box_named(sbx_box *box, sbx_str name, sbx_str url)
{
    memset(box, 0, sizeof *box);
    return name.n && name.n < sizeof box->name && url.n < sizeof box->url && !memchr(name.p, 0, name.n) && sbxi_copy_text(box->name, sizeof box->name, name) &&
           sbxi_copy_text(box->url, sizeof box->url, url);
}

/* ---- hooks ---- */

static void sbxi_box_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    sbx_box_info *info = (sbx_box_info *)model;

    (void)c;
    (void)op;
    info->status = sbxi_status_of(info->status_text);
}

SBXI_FN void sbxi_write_raw(const sbxi_http *h)
{
    if (h->raw_n)
        *h->raw_n = h->raw_total;
}

/* A missing answer (a body that is empty or null) leaves what is known. */
static bool sbxi_box_after(sbx_client *c, sbxi_op *op)
{
    const sbx_box_info *info = &op->block->answer.box;
    sbxi_http *h = &op->u.http;

    (void)c;
    if (h->out)
        *(sbx_box *)h->out = info->box;
    if (h->info && op->fail.code == SBX_OK)
        *(sbx_box_info *)h->info = *info;
    sbxi_write_raw(h);
    return false;
}

SBXI_FN bool sbxi_raw_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    sbxi_write_raw(&op->u.http);
    return false;
}

SBXI_FN bool sbxi_model_after(sbx_client *c, sbxi_op *op)
{
    if (op->u.http.out)
        memcpy(op->u.http.out, &op->block->answer, op->row->model->size);
    return sbxi_raw_after(c, op);
}

static void sbxi_status_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    sbx_status_info *s = (sbx_status_info *)model;

    (void)c;
    (void)op;
    if (!s->status_text[0])
        memcpy(s->status_text, "provisioning", 13);
    s->status = sbxi_status_of(s->status_text);
}

static bool sbxi_poll_after(sbx_client *c, sbxi_op *op);
static bool sbxi_start_after(sbx_client *c, sbxi_op *op);
#if SBX_NO_OWNED
#define SBXI_OWNED_HOOK(hook) NULL
#else
#define SBXI_OWNED_HOOK(hook) hook
static void sbxi_delete_finished(sbx_client *c, sbxi_op *op);
static void sbxi_create_finished(sbx_client *c, sbxi_op *op);
#endif

/* ---- rows ---- */

#define SBXI_BOX_ROW SBX_RESOURCE_SANDBOX, 0

static const sbxi_row sbxi_create_row = { "create", "POST", "/boxes", "", SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_box_model, &sbxi_create_rules, NULL, sbxi_box_after, sbxi_box_decoded, NULL, NULL, SBXI_OWNED_HOOK(sbxi_create_finished) };
static const sbxi_row sbxi_get_row = { "get", "GET", "/boxes/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_box_model, &sbxi_named_rules, NULL, sbxi_box_after, sbxi_box_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_list_row = { "list", "GET", "/boxes", "", SBXI_CTL, SBXI_ANSWER_LIST, SBXI_BOX_ROW, &sbxi_box_page_model, &sbxi_list_rules, NULL, sbxi_list_after, sbxi_box_decoded, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_update_row = { "update", "PATCH", "/boxes/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_box_model, &sbxi_update_rules, NULL, sbxi_box_after, sbxi_box_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_delete_row = { "delete", "DELETE", "/boxes/", "", SBXI_CTL, SBXI_ANSWER_NONE, SBXI_BOX_ROW, NULL, &sbxi_control_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, SBXI_OWNED_HOOK(sbxi_delete_finished) };
static const sbxi_row sbxi_status_row = { SBXI_APART("get_status"), "GET", "/boxes/", "/status", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_status_model, &sbxi_control_rules, NULL, sbxi_model_after, sbxi_status_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_poll_row = { "wait_ready", "GET", "/boxes/", "/status", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_BOX_ROW, &sbxi_status_model, &sbxi_control_rules, NULL, sbxi_poll_after, sbxi_status_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_start_row = { "start", "POST", "/boxes/", SBXI_APART("/start"), SBXI_CTL_ONCE, SBXI_ANSWER_NONE, SBXI_BOX_ROW, NULL, &sbxi_named_rules, NULL, sbxi_start_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_stop_row = { "stop", "POST", "/boxes/", SBXI_APART("/stop"), SBXI_CTL_ONCE, SBXI_ANSWER_NONE, SBXI_BOX_ROW, NULL, &sbxi_named_rules, NULL, sbxi_raw_after, NULL, NULL, NULL, NULL };

/* ---- polling ---- */

static SBXI_ONCE bool sbxi_next_row(sbxi_op *op, const sbxi_row *row)
{
    op->row = row;
    op->attempts = 0;
    op->block->body_n = 0;
    op->state = SBXI_OP_START;
    return true;
}

static bool sbxi_start_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    return sbxi_next_row(op, &sbxi_poll_row);
}

static bool sbxi_poll_failed(sbxi_op *op, sbx_code code, const char *word, const char *message)
{
    sbxi_failure *f = &op->block->failure;

    memset(f, 0, sizeof *f);
    sbxi_copy_z(f->type, sizeof f->type, word);
    sbxi_copy_z(f->text, sizeof f->text, message);
    op->fail.has_text = true;
    op->fail.resource = op->row->resource;
    sbxi_op_set_fail(op, code, SBX_LAYER_SERVICE, NULL);
    return false;
}

/* Each interval, within 10 %, the last sleep cut to the time that is left. */
SBXI_FN bool sbxi_poll(sbx_client *c, sbxi_op *op, const sbxi_row *row, sbx_status status, const char *word, const char *message)
{
    sbxi_http *h = &op->u.http;
    uint32_t every = (uint32_t)h->poll_ms;
    int64_t at;

    if (status == SBX_STATUS_FAILED)
        return sbxi_poll_failed(op, SBX_ERR_CREATION, word, message);
    if (c->net.now >= h->until)
        return sbxi_poll_failed(op, SBX_ERR_TIMEOUT, word, message);
    at = sbxi_after(c->net.now, every - every / 10 + sbxi_net_jitter(&c->net, every / 5 + 1));
    sbxi_next_row(op, row);
    op->state = SBXI_OP_PAUSE;
    op->wake_at = SBXI_MIN(at, h->until);
    return true;
}

static bool sbxi_poll_after(sbx_client *c, sbxi_op *op)
{
    const sbx_status_info *s = &op->block->answer.status;

    if (s->status == SBX_STATUS_READY)
        return sbxi_next_row(op, &sbxi_get_row);
    return sbxi_poll(c, op, &sbxi_poll_row, s->status, s->status_text, s->status_message);
}

SBXI_FN void sbxi_build_wait(sbxi_build *b, int32_t wait_s, int32_t wait_default_s, int32_t poll_ms, int32_t poll_default_ms)
{
    if (wait_s < SBX_FOREVER || poll_ms < 0)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, poll_ms < 0 ? "poll_ms" : "wait_s", poll_ms < 0 ? SBXI_T("must not be negative") : SBXI_T("must be positive seconds, 0 (the default) or SBX_FOREVER"));
    if (!b->op)
        return;
    b->op->u.http.until = wait_s < 0 ? -1 : (int64_t)(wait_s ? wait_s : wait_default_s) * 1000;
    b->op->u.http.poll_ms = poll_ms ? poll_ms : poll_default_ms;
}

/* ---- lists ---- */

static uint64_t sbxi_hash(const char *p)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *p; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    return h;
}

/* Puts the next page's place behind the filters; the headers move for it. */
static bool sbxi_list_place(sbx_client *c, sbxi_op *op, const char *name, sbx_str value)
{
    sbxi_block *b = op->block;
    char *text = sbxi_block_text(b), *headers = text + b->seg_n + b->query_n, *to;
    size_t name_n = strlen(name), value_n = sbxi_percent(NULL, 0, value, ""), filters = (size_t)op->u.http.pos;
    size_t query_n = filters + 2 + name_n + value_n;

    if (b->seg_n + query_n + b->header_n > c->desc.request_bytes) {
        sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("the next page's cursor does not fit: raise request_bytes"));
        return false;
    }
    memmove(text + b->seg_n + query_n, headers, b->header_n);
    to = text + b->seg_n + filters;
    *to = filters ? '&' : '?';
    memcpy(to + 1, name, name_n);
    to[1 + name_n] = '=';
    sbxi_percent(to + 2 + name_n, value_n, value, "");
    b->query_n = (uint32_t)query_n;
    return true;
}

static void sbxi_list_result(sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_list_result *r = (sbx_list_result *)h->out;
    const sbxi_page *page = &op->block->page;

    sbxi_write_raw(h);
    if (!r)
        return;
    memset(r, 0, sizeof *r);
    r->count = h->total;
    r->stored = h->sink.total / op->row->model->item->size;
    r->cut = h->sink.cap && r->stored < r->count;
    r->truncated = page->truncated;
    memcpy(r->next_cursor, page->next_cursor, sizeof r->next_cursor);
    r->next_offset = page->next_offset;
}

/* So many pages in a row may bring nothing new, each naming another one. */
#define SBXI_PAGES_IN_VAIN 1000

SBXI_FN bool sbxi_list_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    const sbxi_page *page = &op->block->page;
    bool more = page->next_cursor[0] || page->next_offset > 0;
    char digits[20];
    uint64_t place;

    if (op->fail.code != SBX_OK || h->one_page || !more) {
        sbxi_list_result(op);
        return false;
    }
    h->poll_ms = h->total == h->size ? h->poll_ms + 1 : 0;
    h->size = h->total;
    if (h->poll_ms > SBXI_PAGES_IN_VAIN) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the server named more than 1,000 pages in a row without an item"));
        return false;
    }
    place = page->next_cursor[0] ? sbxi_hash(page->next_cursor) : (uint64_t)page->next_offset;
    /* A place that does not move would never end. */
    if (place == h->cursor || place == h->skip || (!page->next_cursor[0] && place < h->cursor)) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the server names the same next page again"));
        return false;
    }
    /* Nor do places that go round: each is compared with the one that stood at
       the last power of two, which is in any circle sooner or later (Brent). */
    if (!(h->want & (h->want + 1)))
        h->skip = place;
    h->want++;
    h->cursor = place;
    if (page->next_cursor[0] ? !sbxi_list_place(c, op, "cursor", sbx_s(page->next_cursor))
                             : !sbxi_list_place(c, op, "offset", sbx_sn(digits, sbxi_u64_text(digits, place))))
        return false;
    return sbxi_next_row(op, op->row);
}

SBXI_FN bool sbxi_delete_failed(sbx_client *c, sbxi_op *op)
{
    /* The first attempt was carried out and its answer lost. */
    if (op->fail.status != 404 || op->attempts < 2)
        return false;
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
    sbxi_op_finish(c, op);
    return true;
}

/* ---- sandboxes that the client owns ---- */

#if SBX_NO_OWNED
SBXI_FN void sbxi_owned_run(sbx_client *c)
{
    if (c->shutdown != SBXI_NIL && c->ops[c->shutdown].state != SBXI_OP_DONE)
        sbxi_op_finish(c, &c->ops[c->shutdown]);
}
#else
enum { SBXI_OWNED_FREE, SBXI_OWNED_HELD, SBXI_OWNED_DELETING };

/* A create that was never sent left nothing behind. */
static void sbxi_create_finished(sbx_client *c, sbxi_op *op)
{
    for (uint32_t i = 0; i < c->desc.max_owned; i++) {
        sbxi_owned *o = &c->owned[i];

        if (o->state == SBXI_OWNED_HELD && o->op == sbxi_op_id(c, op)) {
            o->op = SBXI_NIL;
            if (op->fail.code != SBX_OK && (!(op->flags & SBXI_OP_EVER_SENT) || op->fail.code == SBX_ERR_CONFLICT || op->fail.code == SBX_ERR_VALIDATION))
                o->state = SBXI_OWNED_FREE;
        }
    }
}

static void sbxi_delete_finished(sbx_client *c, sbxi_op *op)
{
    bool gone = op->fail.code == SBX_OK || op->fail.code == SBX_ERR_NOT_FOUND;

    for (uint32_t i = 0; i < c->desc.max_owned; i++) {
        sbxi_owned *o = &c->owned[i];

        if (o->state == SBXI_OWNED_DELETING && o->op == sbxi_op_id(c, op)) {
            o->op = SBXI_NIL;
            o->state = gone ? SBXI_OWNED_FREE : SBXI_OWNED_HELD;
            if (!gone)
                o->failed = true;
        } else if (o->state == SBXI_OWNED_HELD && gone && op->box && strcmp(o->name, op->box->name) == 0) {
            o->state = SBXI_OWNED_FREE;
        }
    }
}

/* Starts the deletions of a shutdown, and ends it when none remains. */
SBXI_FN void sbxi_owned_run(sbx_client *c)
{
    sbxi_op *shut = c->shutdown == SBXI_NIL ? NULL : &c->ops[c->shutdown];
    uint32_t left = 0, tried = 0;
    sbx_call call;

    if (!c->closing)
        return;
    /* Its own deletions can outlast the shutdown. */
    for (uint32_t i = 0; i < c->desc.max_ops; i++)
        if (c->ops[i].state == SBXI_OP_DONE && c->ops[i].flags & SBXI_OP_INTERNAL)
            sbxi_op_free(c, &c->ops[i]);
    if (!shut || shut->state == SBXI_OP_DONE)
        return;
    memset(&call, 0, sizeof call);
    for (uint32_t i = 0; i < c->desc.max_owned; i++) {
        sbxi_owned *o = &c->owned[i];
        sbxi_build b;
        bool started;

        if (o->state == SBXI_OWNED_HELD && !o->failed) {
            c->closing = false;
            started = sbxi_build_begin(&b, c, &sbxi_delete_row, &call);
            c->closing = true;
            if (started) {
                sbxi_build_name(&b, sbx_s(o->name), "name");
                if (b.op) {
                    o->op = sbxi_op_id(c, b.op);
                    o->state = SBXI_OWNED_DELETING;
                    b.op->flags |= SBXI_OP_INTERNAL;
                    sbxi_build_end(&b);
                }
            }
        }
        left += o->state != SBXI_OWNED_FREE;
        tried += o->state != SBXI_OWNED_FREE && o->failed;
    }
    shut->exit_code = (int32_t)left;
    if (left == tried) {
        if (left)
            sbxi_op_fail(c, shut, SBX_ERR_SERVER, SBX_LAYER_SERVICE, SBXI_T("some sandboxes could not be deleted"));
        else
            sbxi_op_finish(c, shut);
    }
}

/* Notes the sandbox before it exists: its create's answer may be lost. */
static void sbxi_create_own(sbxi_build *b, const sbx_create_opts *o, sbx_jsonw *w)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[10];
    sbxi_owned *slot = NULL;

    if (!b->op)
        return;
    for (uint32_t i = 0; i < b->c->desc.max_owned; i++)
        if (b->c->owned[i].state == SBXI_OWNED_FREE)
            slot = &b->c->owned[i];
    if (!slot) {
        sbxi_build_refuse(b, SBX_ERR_FULL, "max_owned", SBXI_T("sandboxes are owned already: delete one, or raise it in sbx_client_desc"));
        return;
    }
    if (o->name.n) {
        sbxi_copy_text(slot->name, sizeof slot->name, o->name);
    } else {
        if (!sbxi_net_random(&b->c->net, random, sizeof random)) {
            sbxi_build_refuse(b, SBX_ERR_ENTROPY, NULL, NULL);
            return;
        }
        memcpy(slot->name, "sbx-", 4);
        for (unsigned i = 0; i < sizeof random; i++) {
            slot->name[4 + 2 * i] = digits[random[i] >> 4];
            slot->name[5 + 2 * i] = digits[random[i] & 15];
        }
        slot->name[4 + 2 * sizeof random] = 0;
        sbxi_build_text(w, "name", slot->name);
    }
    slot->state = SBXI_OWNED_HELD;
    slot->failed = false;
    slot->op = sbxi_op_id(b->c, b->op);
}

/* A create that was refused holds no place. */
static void sbxi_create_disown(sbx_client *c)
{
    for (uint32_t i = 0; i < c->desc.max_owned; i++)
        if (c->owned[i].state == SBXI_OWNED_HELD && c->owned[i].op != SBXI_NIL && c->ops[c->owned[i].op].state == SBXI_OP_FREE)
            c->owned[i].state = SBXI_OWNED_FREE;
}
#endif

/* ---- calls ---- */

static const char sbxi_why_one_snapshot[] = SBXI_T("excludes the other two ways to name a snapshot");

SBXI_FN const char *sbxi_labels_bad(const sbx_pair *labels, size_t n, const char **why)
{
    *why = SBXI_T("must be 128 at most, names of 1 to 256 and values of up to 4,096 bytes");
    if (n > 128 || (n && !labels))
        return SBXI_T("labels");
    for (size_t i = 0; i < n; i++)
        if (!labels[i].name.n || labels[i].name.n > 256 || labels[i].value.n > 4096)
            return SBXI_T("labels");
    return NULL;
}

static const char *sbxi_create_bad(const sbx_create_opts *o, const char **why)
{
    *why = sbxi_why_one_snapshot;
    if (o->snapshot.p && (o->snapshot_name.p || o->snapshot_id.p))
        return SBXI_T("snapshot");
    if (o->snapshot_name.p && o->snapshot_id.p)
        return SBXI_T("snapshot_name");
    if (sbxi_labels_bad(o->labels, o->labels_n, why))
        return SBXI_T("labels");
    *why = SBXI_T("and a snapshot exclude each other");
    if (o->template_name.p && (o->snapshot.p || o->snapshot_name.p || o->snapshot_id.p))
        return SBXI_T("template_name");
    *why = SBXI_T("must be 127 bytes at most");
    if (o->name.n > 127)
        return SBXI_T("name");
    *why = SBXI_T("and no_wait exclude each other");
    if (o->no_wait && o->wait_s)
        return SBXI_T("wait_s");
    return NULL;
}

#if SBX_NO_CONFIG
SBX_API const struct sbxi_config *sbx_typed_config(void)
{
    return NULL;
}
#endif

/* What writes typed forms; NULL: this client has nothing that does. */
static const struct sbxi_config *sbxi_config_of(const sbx_client *c)
{
    return !SBX_NO_CONFIG && c->desc.config ? c->desc.config() : NULL;
}

/* A typed form stands in place of the JSON one. */
static void sbxi_build_typed(sbxi_build *b, const struct sbxi_config *config, bool typed, bool excluded, const char *field)
{
    if (!typed)
        return;
    if (!config)
        sbxi_build_refuse(b, SBX_ERR_UNSUPPORTED, field, SBX_NO_CONFIG ? SBXI_T("is not in this build (SBX_NO_CONFIG): give it as JSON") : SBXI_T("needs `config` in the client's description: SBX_CONFIG"));
    else if (excluded)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, field, SBXI_T("and its JSON form (mount_config, proxy_config, access_delegation), or its clearing, exclude each other"));
}

SBX_API sbx_op sbx_create(sbx_client *c, const sbx_create_opts *opts, sbx_box *out)
{
    const sbx_create_opts *o = opts ? opts : &sbxi_no_opts.create;
    const struct sbxi_config *config = sbxi_config_of(c);
    const char *why, *bad;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, &sbxi_create_row, &o->call))
        return b.refused;
    bad = sbxi_create_bad(o, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    sbxi_build_old(&b, o->template_name.p != NULL, "template_name");
    sbxi_build_old(&b, o->ttl_s != 0, "ttl_s");
    sbxi_build_typed(&b, config, o->mounts_n || o->mount_auth, o->mount_config.p != NULL, o->mounts_n ? "mounts" : "mount_auth");
    sbxi_build_typed(&b, config, o->proxy != NULL, o->proxy_config.p != NULL, "proxy");
    sbxi_build_typed(&b, config, o->access != NULL, o->access_delegation.p != NULL, "access");
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_opts(&b, &w, o->no_wait ? &sbxi_create_no_wait_schema : &sbxi_create_schema, o);
    if (config)
        sbxi_build_opts(&b, &w, config->create, o);
    bad = config && b.op ? config->mounts_bad(o, &why) : NULL;
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
#if SBX_NO_OWNED
    if (o->delete_on_close)
        sbxi_build_refuse(&b, SBX_ERR_UNSUPPORTED, "delete_on_close", SBXI_T("is not in this build (SBX_NO_OWNED)"));
#else
    if (o->delete_on_close)
        sbxi_create_own(&b, o, &w);
#endif
    sbxi_build_json_end(&b, &w);
    sbxi_build_result(&b, out, o->info, o->raw, o->raw_n);
    if (b.op && !o->call.timeout_ms)
        b.op->timeout_ms = o->no_wait ? 30000 : SBXI_MIN(o->wait_s > 0 ? o->wait_s : 30, 86400) * 1000 + 30000;
#if !SBX_NO_OWNED
    if (!b.op && o->delete_on_close)
        sbxi_create_disown(c);
#endif
    return sbxi_build_end(&b);
}

/* What get, update, status, wait, start, stop and delete have in common. */
static bool sbxi_box_call(sbxi_build *b, sbx_client *c, const sbxi_row *row, sbxi_as as, const sbx_box *box, const sbx_box_opts *o, void *out, void *info)
{
    if (!sbxi_build_begin_as(b, c, row, &o->call, as))
        return false;
    sbxi_build_box(b, box);
    sbxi_build_headers(b, &o->call);
    sbxi_build_result(b, out, info, o->raw, o->raw_n);
    return b->op != NULL;
}

SBXI_FN bool sbxi_name_call(sbxi_build *b, sbx_client *c, const sbxi_row *row, sbx_str name, const char *field, const sbx_box_opts *o, void *out, void *info)
{
    if (!sbxi_build_begin(b, c, row, &o->call))
        return false;
    sbxi_build_name(b, name, field);
    sbxi_build_headers(b, &o->call);
    sbxi_build_result(b, out, info, o->raw, o->raw_n);
    return b->op != NULL;
}

SBX_API sbx_op sbx_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info)
{
    sbxi_build b;

    sbxi_name_call(&b, c, &sbxi_get_row, name, "name", opts ? opts : &sbxi_no_opts.box, out, info);
    return sbxi_build_end(&b);
}

SBXI_FN sbx_op sbxi_list_call(sbx_client *c, const sbxi_row *row, const sbx_str *name, const sbx_list_opts *opts, sbx_list_result *out)
{
    const sbx_list_opts *o = opts ? opts : &sbxi_no_opts.list;
    uint32_t filters;
    char digits[20];
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, row, &o->call))
        return b.refused;
    if (name)
        sbxi_build_name(&b, *name, row->resource == SBX_RESOURCE_SANDBOX ? "box.name" : "name");
    if (o->offset < 0)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "offset", SBXI_T("must not be negative"));
    if (o->cursor.p && o->offset)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "cursor", SBXI_T("and offset exclude each other"));
    sbxi_build_query(&b, &sbxi_list_schema, o);
    filters = b.op ? b.op->block->query_n : 0;
    if (o->cursor.n)
        sbxi_build_param(&b, "cursor", o->cursor);
    if (o->offset > 0)
        sbxi_build_param(&b, "offset", sbx_sn(digits, sbxi_u64_text(digits, (uint64_t)o->offset)));
    sbxi_build_headers(&b, &o->call);
    sbxi_build_result(&b, out, NULL, o->raw, o->raw_n);
    if (b.op) {
        sbxi_http *h = &b.op->u.http;

        h->pos = filters;
        h->one_page = o->one_page;
        h->unique = !name;
        h->sink.p = (char *)o->items.p;
        h->sink.cap = o->items.p ? o->items.n : 0;
        if (!o->items.p)
            b.op->flags |= SBXI_OP_STREAMING;
    }
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_update(sbx_client *c, const sbx_box *box, const sbx_update_opts *opts, sbx_box *out, sbx_box_info *info)
{
    const sbx_update_opts *o = opts ? opts : &sbxi_no_opts.update;
    const struct sbxi_config *config = sbxi_config_of(c);
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin_as(&b, c, &sbxi_update_row, &o->call, SBXI_AS_UPDATE))
        return b.refused;
    if (o->clear_mask & ~(unsigned)(SBX_CLEAR_PROXY_CONFIG | SBX_CLEAR_RUN_CONFIG | SBX_CLEAR_TAGS))
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "clear_mask", SBXI_T("has a bit that clears nothing"));
    if (o->name.n > 127)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "name", SBXI_T("must be 127 bytes at most"));
    sbxi_build_old(&b, o->ttl_s != 0, "ttl_s");
    sbxi_build_typed(&b, config, o->proxy != NULL, o->proxy_config.p || o->clear_mask & SBX_CLEAR_PROXY_CONFIG, "proxy");
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_opts(&b, &w, &sbxi_update_schema, o);
    if (config)
        sbxi_build_opts(&b, &w, config->update, o);
    sbxi_build_json_end(&b, &w);
    sbxi_build_or_get(&b, &sbxi_get_row);
    sbxi_build_result(&b, out, info, o->raw, o->raw_n);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_delete(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts)
{
    sbxi_build b;

    sbxi_box_call(&b, c, &sbxi_delete_row, SBXI_AS_ROW, box, opts ? opts : &sbxi_no_opts.box, NULL, NULL);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_get_status(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_status_info *out)
{
    sbxi_build b;

    sbxi_box_call(&b, c, &sbxi_status_row, SBXI_AS_ROW, box, opts ? opts : &sbxi_no_opts.box, out, NULL);
    return sbxi_build_end(&b);
}

static void sbxi_box_body(sbxi_build *b)
{
    sbx_jsonw w;

    sbxi_build_json(b, &w);
    sbxi_build_json_end(b, &w);
}

static sbx_op sbxi_wait_call(sbx_client *c, const sbxi_row *row, const sbx_box *box, const sbx_box_opts *o, sbx_box *out, sbx_box_info *info)
{
    sbxi_build b;

    sbxi_box_call(&b, c, row, row == &sbxi_start_row ? SBXI_AS_START : SBXI_AS_WAIT_READY, box, o, out, info);
    sbxi_build_wait(&b, o->wait_s, 120, o->poll_ms, 1000);
    if (b.op && row == &sbxi_start_row)
        sbxi_box_body(&b);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_wait_ready(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info)
{
    return sbxi_wait_call(c, &sbxi_poll_row, box, opts ? opts : &sbxi_no_opts.box, out, info);
}

SBX_API sbx_op sbx_start(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts, sbx_box *out, sbx_box_info *info)
{
    return sbxi_wait_call(c, &sbxi_start_row, box, opts ? opts : &sbxi_no_opts.box, out, info);
}

SBX_API sbx_op sbx_stop(sbx_client *c, const sbx_box *box, const sbx_box_opts *opts)
{
    sbxi_build b;

    if (sbxi_box_call(&b, c, &sbxi_stop_row, SBXI_AS_ROW, box, opts ? opts : &sbxi_no_opts.box, NULL, NULL))
        sbxi_box_body(&b);
    return sbxi_build_end(&b);
}

/* ======== src/langsmith_command.c ======== */

/* After so many drops in a row without any progress the stream is given up. */
#define SBXI_DROPS_MAX 5
#define SBXI_STREAM_BACKOFF_MS 500u
#define SBXI_STREAM_BACKOFF_MAX_MS 8000u
/* How long `exit` is waited for after a kill. */
#define SBXI_KILL_WAIT_MS 10000

static sbxi_run sbxi_stream_run(sbx_client *c, sbxi_op *op, sbx_event *ev);

const sbxi_row sbxi_command_row = { "command", "GET", "/execute/ws", "", SBXI_BASE_BOX, SBXI_RETRY_SAFE, SBXI_ANSWER_STREAM, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_stream_rules, NULL, NULL, NULL, sbxi_stream_run, sbxi_stream_failed, sbxi_stream_finished };

/* ---- phases ---- */

/* Only headers of the call, an id that is no UUID and an agent are needed again. */
static void sbxi_stream_forget(sbx_client *c, sbxi_op *op)
{
    if (op->block && !op->block->header_n && !op->s.named && !sbxi_agent_of(op))
        sbxi_op_drop_block(c, op);
    else if (op->block)
        op->block->body_n = 0;
}

SBXI_FN void sbxi_stream_started(sbx_client *c, sbxi_op *op)
{
    bool sse = sbxi_op_is_sse(op);

    op->s.phase = SBXI_PHASE_RUNNING;
    op->flags |= op->s.killing ? 0 : SBXI_OP_LIVE;
    if (!(op->s.want & SBXI_WANT_KILL))
        op->attempt_at = sse ? sbxi_after(c->net.now, c->desc.sse_read_ms) : SBXI_NEVER;
    op->wake_at = sse ? SBXI_NEVER : sbxi_after(c->net.now, c->desc.ws_ping_interval_ms);
    op->attempts = 1;
    sbxi_op_arm(c, op);
    if (!op->s.started)
        op->notes |= op->flags & SBXI_OP_STREAMING ? SBXI_NOTE_STARTED : 0;
    else if (op->s.reattached)
        op->notes |= op->flags & SBXI_OP_STREAMING ? SBXI_NOTE_RECONNECTED : 0;
    op->s.started = true;
    op->s.reattached = false;
    op->fail.status = 0;
    op->fail.code = SBX_OK;
    sbxi_stream_forget(c, op);
}

SBXI_FN void sbxi_stream_dropped(sbx_client *c, sbxi_op *op, sbxi_got got)
{
    sbxi_link *l = sbxi_op_link(c, op);
    bool protocol = got == SBXI_GOT_FAIL && c->net.fault.code == SBX_ERR_PROTOCOL;

    sbxi_op_set_fail(op, got == SBXI_GOT_EOF ? SBX_ERR_CONNECTION : c->net.fault.code,
                     !protocol ? SBX_LAYER_TRANSPORT : l->is_ws ? SBX_LAYER_WS : SBX_LAYER_HTTP,
                     got == SBXI_GOT_EOF ? SBXI_T("the stream ended before the command did") : c->net.fault.text);
    op->fail.sys = got == SBXI_GOT_EOF ? 0 : c->net.fault.sys;
    op->fail.status = got == SBXI_GOT_EOF ? sbxi_ws_close_code(l) : 0;
    sbxi_op_attempt_failed(c, op);
}

SBXI_FN void sbxi_stream_protocol_error(sbx_client *c, sbxi_op *op, const char *text)
{
    if (!sbxi_op_is_sse(op))
        sbxi_ws_close(&c->net, sbxi_op_link(c, op), op->u.command.json.error == SBX_JSON_ERR_UTF8 ? 1007 : 1002);
    sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_JSON, text);
    op->fail.status = 0;
    sbxi_op_attempt_failed(c, op);
}

static bool sbxi_retry_status(unsigned status)
{
    return status == 429 || status == 500 || (status >= 502 && status <= 504);
}

SBXI_FN SBXI_ONCE bool sbxi_stream_transient(const sbxi_fail *f)
{
    if (f->layer == SBX_LAYER_SERVICE)
        return sbxi_retry_status(f->status);
    if (f->permanent)
        return false;
    switch (f->code) {
    case SBX_ERR_RESOLVE:
    case SBX_ERR_CONNECT:
    case SBX_ERR_CONNECTION:
    case SBX_ERR_TLS:
    case SBX_ERR_DEADLINE: return true;
    default: return false;
    }
}

/* Output behind a certain offset is asked for again and dropped. Where bytes
   are exact nothing that was received is asked for: to ask is to acknowledge,
   and the server may have forgotten what lies before. */
SBXI_FN void sbxi_stream_reset(sbxi_op *op)
{
    sbxi_command *k = &op->u.command;

    op->s.phase = SBXI_PHASE_HELLO;
    op->s.hello_begun = false;
    op->s.has_data = op->s.message_done = op->s.in_message = false;
    op->wake_at = SBXI_NEVER;
    op->s.says_upgrade = op->s.says_connection = false;
    op->flags &= (uint16_t)~(SBXI_OP_ACCEPTED | SBXI_OP_PING_DUE | SBXI_OP_LIVE);
    for (unsigned i = 0; i < 2; i++) {
        k->stream[i].skip = SBXI_MIN(UINT32_MAX - k->stream[i].skip, k->stream[i].since) + k->stream[i].skip;
        k->stream[i].since = 0;
        if (sbxi_op_is_sse(op)) {
            k->stream[i].base += k->stream[i].skip;
            k->stream[i].skip = 0;
        }
    }
}

/* Opening, dropping and reattaching (the service's own rules). True always. */
SBXI_FN bool sbxi_stream_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    sbxi_fail *f = &op->fail;
    bool again = sbxi_stream_transient(f), at_once, nameless = sbxi_id_unknown(op);
    uint32_t delay;

    /* Once at once; without any output since then it backs off like any drop. */
    at_once = op->s.started && !op->s.hasty && f->layer != SBX_LAYER_SERVICE && f->status == SBXI_CLOSE_GOING_AWAY;
    op->s.hasty = at_once;
    if (nameless && op->s.phase != SBXI_PHASE_HELLO) {
        /* Sent again, it would be another command; and there is no name to ask for this one. */
        again = false;
        if (!op->s.started && f->layer != SBX_LAYER_SERVICE)
            sbxi_op_set_fail(op, SBX_ERR_OUTCOME, (sbx_layer)f->layer, SBXI_T("the stream broke before the server named the command: it may run"));
    }
    sbxi_stream_reset(op);
    if (op->s.started && (op->s.killed || op->s.no_reconnect || c->net.entropy_failed))
        again = false;
    if (op->s.drops >= SBXI_DROPS_MAX)
        again = false;
    delay = f->retry_after_s > 0 ? (uint32_t)f->retry_after_s * 1000 : at_once ? 0 : sbxi_backoff(c, op->s.drops, SBXI_STREAM_BACKOFF_MS, SBXI_STREAM_BACKOFF_MAX_MS);
    if (!op->s.started && sbxi_after(c->net.now, delay) > (int64_t)k->assumed) /* the connect budget's end, until a message is read */
        again = false;
    op->s.drops++;
    if (op->s.started) {
        op->s.reattached = true;
        c->net.usage.reconnects++;
    }
    if (!again || !sbxi_op_again(c, op, delay)) {
        sbxi_op_finish(c, op);
        return true;
    }
    f->retry_after_s = -1;
    f->has_text = false;
    if (op->s.started)
        sbxi_stream_forget(c, op);
    return true;
}

SBXI_FN void sbxi_result_write(sbx_client *c, const sbxi_op *op, sbx_result *r, const sbxi_sink *sinks, bool write)
{
    bool alloc = (op->flags & SBXI_OP_ALLOC) != 0;

    for (unsigned i = 0; alloc && i < 2; i++) {
        if (!write || !r)
            sbx_free(c, sinks[i].p);
        else if (sinks[i].p)
            sinks[i].p[sbxi_sink_n(&sinks[i])] = 0;
    }
    if (!write || !r)
        return;
    r->out_n = sbxi_sink_n(&sinks[0]);
    r->err_n = sbxi_sink_n(&sinks[1]);
    r->out_total = sinks[0].total;
    r->err_total = sinks[1].total;
    r->out_cut = r->out_n < r->out_total;
    r->err_cut = r->err_n < r->err_total;
    r->out_p = alloc ? sinks[0].p : NULL;
    r->err_p = alloc ? sinks[1].p : NULL;
}

SBXI_FN void sbxi_stream_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    sbx_result *r = k->result;
    bool write = (op->s.started || op->fail.code == SBX_OK) && op->fail.code != SBX_ERR_CANCELLED && op->fail.code != SBX_ERR_CLOSED;

    if (op->flags & SBXI_OP_STREAMING)
        return;
    if (write && r) {
        memset(r, 0, sizeof *r);
        r->exit_code = op->exit_code;
        r->pid = k->pid;
        r->gap = op->s.lost;
        sbxi_id_get(op, r->command_id);
    }
    sbxi_result_write(c, op, r, k->sink, write);
}

/* ---- talking ---- */

/* What the fields of a small message take at most, beside their marks. */
#define SBXI_MESSAGE_FIELDS (SBXI_ID_MAX + 2 * 20)

/* In a small message's text \1 stands for the command's id (it needs no
   escaping, sbx_attach saw to that), \2 and \3 for the offsets of its streams,
   \4 and \5 for the terminal's size. Returns the message's length. */
static SBXI_ONCE size_t sbxi_message_fill(const sbxi_op *op, char *p, const char *text)
{
    const sbxi_command *k = &op->u.command;
    char *to = p;

    for (; *text; text++) {
        switch (*text) {
        case 1:
            sbxi_id_get(op, to);
            to += strlen(to);
            break;
        case 2:
        case 3: to += sbxi_u64_text(to, k->stream[*text - 2].base); break;
        case 4: to += sbxi_u64_text(to, k->cols); break;
        case 5: to += sbxi_u64_text(to, k->rows); break;
        default: *to++ = *text;
        }
    }
    return (size_t)(to - p);
}

#define SBXI_MESSAGE_POSITION "\"command_id\":\"\1\",\"stdout_offset\":\2,\"stderr_offset\":\3}"

SBXI_FN size_t sbxi_resume_body(const sbxi_op *op, char *to)
{
    return sbxi_message_fill(op, to, "{" SBXI_MESSAGE_POSITION);
}

static SBXI_ONCE sbxi_got sbxi_message_send(sbx_client *c, sbxi_op *op, const char *text)
{
    sbxi_link *l = sbxi_op_link(c, op);
    size_t room;
    sbxi_got got;
    char *p = sbxi_ws_compose(&c->net, l, &room, &got);

    if (!p)
        return got;
    if (room < strlen(text) + SBXI_MESSAGE_FIELDS)
        return SBXI_GOT_BLOCKED;
    sbxi_ws_composed(&c->net, l, SBX_WS_OP_TEXT, sbxi_message_fill(op, p, text));
    return SBXI_GOT_EVENT;
}

static SBXI_ONCE sbxi_got sbxi_hello(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_block *b = op->block;

    if (op->s.started || op->s.attach) {
        sbxi_got got = sbxi_message_send(c, op, "{\"type\":\"reconnect\"," SBXI_MESSAGE_POSITION);

        if (got != SBXI_GOT_EVENT)
            return got;
    } else {
        const char *body = sbxi_block_text(b) + b->seg_n + b->query_n + b->header_n;

        if (!op->s.hello_begun) {
            if (!sbxi_ws_frame(&c->net, l, SBX_WS_OP_TEXT, b->body_n))
                return l->tx ? SBXI_GOT_BLOCKED : SBXI_GOT_STARVED;
            op->s.hello_begun = true;
        }
        while (l->out.frame.left) {
            sbxi_got got;

            if (!sbxi_ws_append(&c->net, l, body + b->body_n - l->out.frame.left, l->out.frame.left) && !l->tx)
                return SBXI_GOT_STARVED;
            if (!l->out.frame.left)
                break;
            got = sbxi_link_flush(&c->net, l);
            if (got != SBXI_GOT_EVENT)
                return got;
        }
    }
    op->s.hello_begun = false;
    op->s.phase = SBXI_PHASE_STARTING;
    /* Told again: whether the last connection brought it over is not known. */
    if (op->s.want & SBXI_STDIN_CLOSED)
        op->s.want |= SBXI_WANT_CLOSE_STDIN;
    if (k->cols)
        op->s.want |= SBXI_WANT_RESIZE;
    if (op->s.killing)
        op->s.want |= SBXI_WANT_KILL;
    sbxi_op_allow(c, op, c->desc.ws_open_ms);
    return SBXI_GOT_EVENT;
}

/* What was asked for, also while the stream was down. */
static void sbxi_stream_controls(sbx_client *c, sbxi_op *op)
{
    static const struct {
        uint8_t want;
        const char *text;
    } controls[] = {
        { SBXI_WANT_RESIZE, "{\"type\":\"resize\",\"cols\":\4,\"rows\":\5}" },
        { SBXI_WANT_CLOSE_STDIN, "{\"type\":\"close_stdin\"}" },
        { SBXI_WANT_KILL, "{\"type\":\"kill\"}" },
    };

    for (unsigned i = 0; i < SBXI_COUNT(controls); i++) {
        if (!(op->s.want & controls[i].want) || sbxi_message_send(c, op, controls[i].text) != SBXI_GOT_EVENT)
            continue;
        op->s.want &= (uint8_t)~controls[i].want;
        if (controls[i].want == SBXI_WANT_KILL) {
            op->s.killing = true;
            op->flags &= (uint16_t)~SBXI_OP_LIVE; /* its exit has a time of its own */
            sbxi_op_allow(c, op, SBXI_KILL_WAIT_MS);
        }
    }
}

/* The caller holds the next bytes back: they wait in the socket. (What lies in
   the receive buffer of a socket that has no more is a message half come.) */
static bool sbxi_stream_paused(const sbxi_op *op, const sbxi_link *l)
{
    return op->flags & SBXI_OP_STREAMING && (op->piece_n || op->s.has_data || op->s.message_done || (l->ready & (SBX_READABLE | SBXI_GUESSED)) == SBX_READABLE);
}

/* A silent stream is asked for a sign of life; one that the caller holds back
   gives one of its own. */
static void sbxi_stream_ping(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    int64_t every = c->desc.ws_ping_interval_ms;

    op->flags &= (uint16_t)~SBXI_OP_PING_DUE;
    op->wake_at = sbxi_after(c->net.now, every);
    if (sbxi_stream_paused(op, l)) {
        sbxi_ws_send(&c->net, l, SBX_WS_OP_PONG, "", 0);
    } else if (sbxi_after(l->last_rx, every) > c->net.now) {
        op->wake_at = sbxi_after(l->last_rx, every);
    } else if (!sbxi_link_has_room(&c->net, l) && l->owner != c->net.awaited) {
        op->flags |= SBXI_OP_PING_DUE; /* others have all send buffers: it is still to be asked */
    } else {
        /* Where it finds no room, since the peer takes nothing, it is still to be
           sent, and its time runs all the same. */
        if (!sbxi_ws_send(&c->net, l, SBX_WS_OP_PING, "", 0))
            op->flags |= SBXI_OP_PING_DUE;
        if (op->attempt_at == SBXI_NEVER)
            sbxi_op_allow(c, op, c->desc.ws_ping_ms);
    }
    sbxi_op_arm(c, op);
}

/* What has to go out, as far as the connection takes it. */
static sbxi_got sbxi_stream_talk(sbx_client *c, sbxi_op *op)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_got got = SBXI_GOT_EVENT, sent = SBXI_GOT_EVENT;

    c->net.entropy_failed = false; /* another's failure is no business of this one */
    do {
        if (op->s.phase == SBXI_PHASE_HELLO)
            got = sbxi_hello(c, op);
        if (op->s.phase == SBXI_PHASE_RUNNING && op->flags & SBXI_OP_PING_DUE)
            sbxi_stream_ping(c, op);
        if (op->s.phase == SBXI_PHASE_RUNNING && op->s.want & ~SBXI_STDIN_CLOSED)
            sbxi_stream_controls(c, op);
        if (got == SBXI_GOT_FAIL)
            return got;
        if (c->net.entropy_failed) {
            c->net.fault.code = SBX_ERR_ENTROPY;
            return SBXI_GOT_FAIL;
        }
        sent = sbxi_link_flush(&c->net, l); /* gives a buffer back, too, that was taken for nothing */
    } while (got == SBXI_GOT_BLOCKED && sent == SBXI_GOT_EVENT && op->s.phase == SBXI_PHASE_HELLO); /* there is room now */
    if (got != SBXI_GOT_EVENT || sent != SBXI_GOT_EVENT)
        return got != SBXI_GOT_EVENT ? got : sent;
    if (op->s.killing)
        op->s.killed = true; /* delivered: the stream is not opened again for it */
    if (op->flags & SBXI_OP_WANTS_ROOM && op->s.phase == SBXI_PHASE_RUNNING && !l->out.frame.left && sbxi_link_has_room(&c->net, l)) {
        op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM;
        op->notes |= op->flags & SBXI_OP_STREAMING ? SBXI_NOTE_WRITABLE : 0;
    }
    return got;
}

/* With nothing to read: whether something waits for a send buffer, and not for
   the rest of a ping whose pong has begun. */
static sbxi_run sbxi_stream_idle(const sbxi_op *op, const sbxi_link *l)
{
    bool waits = op->s.want & ~SBXI_STDIN_CLOSED || op->flags & (SBXI_OP_WANTS_ROOM | SBXI_OP_PING_DUE);

    return waits && op->s.phase == SBXI_PHASE_RUNNING && !l->tx && !l->out.frame.left ? SBXI_RUN_STARVED : SBXI_RUN_IDLE;
}

/* Whether something that came is not delivered yet. */
static bool sbxi_stream_unread(const sbxi_op *op, const sbxi_link *l)
{
    return op->piece_n || op->s.has_data || op->s.message_done || l->rx_at < l->rx_end;
}

static sbxi_run sbxi_stream_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_got got = sbxi_stream_talk(c, op);
    bool broken = got == SBXI_GOT_FAIL; /* it takes nothing more, but what came is read */
    sbx_fault fault = c->net.fault;
    sbxi_run r;

    if (broken && (op->s.phase != SBXI_PHASE_RUNNING || !sbxi_stream_unread(op, l))) {
        sbxi_stream_dropped(c, op, got);
        return SBXI_RUN_IDLE;
    }
    if (op->s.phase == SBXI_PHASE_HELLO)
        return got == SBXI_GOT_STARVED ? SBXI_RUN_STARVED : SBXI_RUN_IDLE;
    while (op->state == SBXI_OP_STREAM) {
        sbx_ws_event e;

        if (op->notes && ev)
            return SBXI_RUN_HELD;
        r = sbxi_stream_read(c, op, ev);
        if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
            return r;
        if (op->flags & SBXI_OP_STREAMING && !ev && op->s.phase == SBXI_PHASE_RUNNING)
            return broken || sbxi_ws_unread(&c->net, l) || l->ready & SBX_READABLE ? SBXI_RUN_HELD : sbxi_stream_idle(op, l);
        /* What waited for `started` goes out now. */
        if (!broken && op->s.phase == SBXI_PHASE_RUNNING && op->s.want & ~SBXI_STDIN_CLOSED && sbxi_stream_talk(c, op) == SBXI_GOT_FAIL) {
            broken = true;
            fault = c->net.fault;
        }
        got = sbxi_ws_next(&c->net, l, &e);
        if (broken && got != SBXI_GOT_EVENT && got != SBXI_GOT_EOF) {
            c->net.fault = fault;
            got = SBXI_GOT_FAIL;
        }
        switch (got) {
        case SBXI_GOT_EVENT: sbxi_stream_piece(op, &e); break;
        case SBXI_GOT_BLOCKED: return sbxi_stream_idle(op, l);
        case SBXI_GOT_STARVED: return SBXI_RUN_STARVED;
        default: sbxi_stream_dropped(c, op, got); return SBXI_RUN_IDLE;
        }
    }
    return SBXI_RUN_IDLE;
}

/* ---- calls ---- */

static const struct sbxi_via sbxi_via_ws = {
    &sbxi_command_row, &sbxi_command_row, &sbxi_execute_ws_schema, NULL, NULL, SBXI_HAS_DATA | SBXI_HAS_ARGV, 0, NULL, NULL
};

static const struct sbxi_via *sbxi_via_of(sbx_via via)
{
    return via ? via() : &sbxi_via_ws;
}

/* What that way to run a command does not have; NULL: nothing. */
static const char *sbxi_via_bad(const struct sbxi_via *via, const sbx_run_opts *o, const char **why)
{
    static const char names[] = SBXI_T("pty\0ssh_agent_forward\0stdin_open\0command_id\0kill_on_disconnect\0idle_timeout_s\0ttl_s\0no_command_id\0stdin_data\0argv");
    /* By the bits of SBXI_HAS_… */
    unsigned given = ((unsigned)o->pty | (unsigned)o->ssh_agent_forward << 1 | (unsigned)o->stdin_open << 2 | (unsigned)(o->command_id.p != NULL) << 3 |
                      (unsigned)o->kill_on_disconnect << 4 | (unsigned)(o->idle_timeout_s != 0) << 5 | (unsigned)(o->ttl_s != 0) << 6 |
                      (unsigned)o->no_command_id << 7 | (unsigned)(o->stdin_data.p != NULL) << 8 | (unsigned)(o->argv_n != 0) << 9) & via->refuses;
    unsigned i = 0;

    if (!given)
        return NULL;
    while (!(given >> i & 1))
        i++;
    *why = 1 << i < SBXI_HAS_DATA ? via->why : SBXI_T("is possible over SSE only: set via to SBX_VIA_SSE, or use `command`, stdin_open and sbx_input");
    return sbxi_text_at(names, SBX_NO_ERROR_TEXT ? 0 : i);
}

SBXI_FN const char *sbxi_run_bad(const struct sbxi_via *via, const sbx_run_opts *o, sbx_str command, const char **why)
{
    *why = SBXI_T("must not be empty, but with pty (the shell itself), or with argv over SSE");
    if (!command.n && !o->pty && !o->argv_n)
        return SBXI_T("command");
    *why = SBXI_T("and argv exclude each other");
    if (command.n && o->argv_n)
        return SBXI_T("command");
    *why = SBXI_T("must not be empty");
    if (o->shell.p && !o->shell.n)
        return SBXI_T("shell");
    *why = SBXI_T("excludes cwd and env (the service refuses both at once)");
    if ((o->run_config.user.p || o->run_config.work_dir.p || o->run_config.env_n) && (o->cwd.p || o->env_n))
        return SBXI_T("run_config");
    *why = SBXI_T("needs pty");
    if ((o->cols || o->rows) && !o->pty)
        return o->cols ? SBXI_T("cols") : SBXI_T("rows");
    *why = SBXI_T("needs alloc: a buffer's size is a cap of its own");
    if (o->max_output && !o->alloc)
        return SBXI_T("max_output");
    return sbxi_via_bad(via, o, why);
}

SBXI_FN void sbxi_run_json(sbxi_build *b, const struct sbxi_via *via, sbx_str command, const sbx_run_opts *o)
{
    char id[SBXI_ID_MAX + 1];
    unsigned answer;
    sbx_jsonw w;

    sbxi_build_json(b, &w);
    if (!b->op)
        return;
    answer = b->op->row->answer;
    if (answer == SBXI_ANSWER_STREAM)
        sbxi_build_text(&w, "type", "execute");
    if (command.n)
        sbxi_build_member(b, &w, "command", command, "command");
    if (o->shell.p || !o->argv_n)
        sbxi_build_member(b, &w, "shell", o->shell.p ? o->shell : sbx_s("/bin/bash"), "shell");
    if (answer != SBXI_ANSWER_MODEL && b->op) {
        sbxi_id_get(b->op, id);
        if (id[0])
            sbxi_build_text(&w, "command_id", id);
    }
    if (answer == SBXI_ANSWER_STREAM && !o->stdin_open && !o->pty) {
        sbx_jsonw_key(&w, sbx_s("close_stdin"));
        sbx_jsonw_bool(&w, true);
    }
    sbxi_build_opts(b, &w, via->schema, o);
    if (via->more)
        sbxi_build_opts(b, &w, via->more, o);
    sbxi_build_json_end(b, &w);
}

/* Made by the client, so that a repeated execute is the same command. */
static void sbxi_command_id(sbxi_build *b, const sbx_run_opts *o)
{
    sbx_str given = o->command_id;
    unsigned char *uuid = b->op->u.command.id, random[10];
    sbx_client *c = b->c;

    sbxi_build_old(b, o->no_command_id, "no_command_id");
    if (o->no_command_id && given.p)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "no_command_id", SBXI_T("and command_id exclude each other"));
    if (!b->op)
        return;
    if (o->no_command_id) {
        sbxi_id_set(b->op, sbx_s(""));
        return;
    }
    if (given.p) {
        if (given.n != 36 || !sbxi_uuid_parse(uuid, given)) {
            sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "command_id", SBXI_T("must be a UUID of 36 characters"));
            return;
        }
        sbxi_id_set(b->op, given);
        return;
    }
    if (!sbxi_net_random(&c->net, random, sizeof random)) {
        sbxi_build_refuse(b, SBX_ERR_ENTROPY, NULL, NULL);
        return;
    }
    sbxi_uuid7(uuid, c->net.t->wall_ms ? (uint64_t)c->net.t->wall_ms(c->net.ctx) : 0, random);
}

static bool sbxi_command_begin(sbxi_build *b, sbx_client *c, const sbx_box *box, const sbx_call *call, const struct sbxi_via *via, sbxi_as as)
{
    const sbxi_row *row = as == SBXI_AS_ATTACH ? via->attach : via->row;

    if (!sbxi_build_begin_as(b, c, row ? row : &sbxi_command_row, call, as))
        return false;
    if (!row)
        sbxi_build_refuse(b, (sbx_code)via->code, "via", via->lacks);
    sbxi_build_box(b, box);
    sbxi_build_headers(b, call);
    if (!b->op)
        return false;
    if (!call->timeout_ms)
        b->op->timeout_ms = c->desc.ws_open_ms;
    b->op->exit_code = -1;
    return true;
}

static sbx_op sbxi_command_start(sbxi_build *b, const sbx_run_opts *o)
{
    sbxi_op *op = b->op;

    if (op) {
        op->s.no_reconnect = o->no_reconnect;
        if (o->cols || o->rows) {
            op->u.command.cols = o->cols ? o->cols : 80;
            op->u.command.rows = o->rows ? o->rows : 24;
            op->s.want |= SBXI_WANT_RESIZE;
        }
        if (!o->stdin_open && !o->pty)
            op->s.want |= SBXI_STDIN_CLOSED;
    }
    return sbxi_build_end(b);
}

SBX_API sbx_op sbx_command(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts)
{
    const sbx_run_opts *o = opts ? opts : &sbxi_no_opts.run;
    const struct sbxi_via *via = sbxi_via_of(o->via);
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_command_begin(&b, c, box, &o->call, via, SBXI_AS_ROW))
        return b.refused;
    bad = sbxi_run_bad(via, o, command, &why);
    if (!bad && (o->out.p || o->err.p || o->alloc || o->discard)) {
        bad = SBXI_T("out");
        why = SBXI_T("belongs to sbx_run: this call's output comes as events");
    }
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    if (b.op)
        sbxi_command_id(&b, o);
    if (SBX_NO_SSH_AGENT)
        sbxi_build_absent(&b, o->ssh_agent_forward, "ssh_agent_forward", SBXI_T("is not in this build (SBX_NO_SSH_AGENT)"));
    if (b.op) {
        b.op->flags |= SBXI_OP_STREAMING;
#if !SBX_NO_SSH_AGENT
        b.op->block->answer.agent.calls = o->ssh_agent_forward ? &sbxi_agent_all : NULL;
#endif
        sbxi_run_json(&b, via, command, o);
    }
    return sbxi_command_start(&b, o);
}

SBXI_FN bool sbxi_run_sinks(sbxi_build *b, const sbx_run_opts *o, sbxi_sink *out, sbxi_sink *err)
{
    if (!o->out.p && !o->err.p && !o->alloc && !o->discard) {
        sbxi_build_refuse(b, SBX_ERR_NO_BUFFER, "out", SBXI_T("must be given, or err, alloc or discard"));
        return false;
    }
    if (o->discard && (o->out.p || o->err.p || o->alloc)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "discard", SBXI_T("excludes out, err and alloc"));
        return false;
    }
    return sbxi_build_sink(b, out, o->out, o->alloc, o->max_output, (size_t)16 << 20) &&
           sbxi_build_sink(b, err, o->err, o->alloc, o->max_output, (size_t)16 << 20);
}

#if SBX_NO_SSE
static const struct sbxi_via sbxi_via_events = {
    NULL, NULL, NULL, NULL, NULL, 0, SBX_ERR_UNSUPPORTED, SBXI_T("SBX_VIA_SSE is not in this build (SBX_NO_SSE)"), NULL
};

SBX_API const struct sbxi_via *sbx_via_sse(void)
{
    return &sbxi_via_events;
}
#endif

SBX_API sbx_op sbx_run(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *opts, sbx_result *out)
{
    const sbx_run_opts *o = opts ? opts : &sbxi_no_opts.run;
    const struct sbxi_via *via = sbxi_via_of(o->via);
    const char *why, *bad;
    sbxi_build b;

    if (via->run)
        return via->run(c, box, command, o, out);
    if (!sbxi_command_begin(&b, c, box, &o->call, via, SBXI_AS_RUN))
        return b.refused;
    bad = sbxi_run_bad(via, o, command, &why);
    if (!bad && o->ssh_agent_forward) {
        bad = SBXI_T("ssh_agent_forward");
        why = SBXI_T("belongs to sbx_command: the agent's messages come as events");
    }
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    if (b.op)
        sbxi_command_id(&b, o);
    if (b.op && sbxi_run_sinks(&b, o, &b.op->u.command.sink[0], &b.op->u.command.sink[1])) {
        b.op->u.command.result = out;
        sbxi_run_json(&b, via, command, o);
    }
    return sbxi_command_start(&b, o);
}

SBX_API sbx_op sbx_attach(sbx_client *c, const sbx_box *box, sbx_str command_id, const sbx_attach_opts *opts)
{
    const sbx_attach_opts *o = opts ? opts : &sbxi_no_opts.attach;
    sbxi_command *k;
    sbxi_build b;

    if (!sbxi_command_begin(&b, c, box, &o->call, sbxi_via_of(o->via), SBXI_AS_ATTACH))
        return b.refused;
    k = &b.op->u.command;
    if (!command_id.n || command_id.n > SBXI_ID_MAX || !sbxi_id_ok(command_id)) {
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "command_id", SBXI_T("must have 1 to 36 letters, digits, '-', '_' or '.'"));
        return b.refused;
    }
    sbxi_id_set(b.op, command_id);
    b.op->s.attach = true;
    b.op->s.no_reconnect = o->no_reconnect;
    k->stream[0].base = o->stdout_offset;
    k->stream[1].base = o->stderr_offset;
    b.op->flags |= SBXI_OP_STREAMING;
    return sbxi_build_end(&b);
}

/* ---- calls on a running command ---- */

static sbxi_op *sbxi_command_of(const sbx_client *c, sbx_op h)
{
    sbxi_op *op = sbxi_op_get(c, h);

    return op && (op->row == &sbxi_command_row || sbxi_op_is_sse(op)) ? op : NULL;
}

/* The command of a call that needs a way to it; NULL: *code says why not. */
static sbxi_op *sbxi_command_socket(sbx_client *c, sbx_op h, sbx_code *code)
{
    sbxi_op *op = sbxi_command_of(c, h);

    *code = op ? SBX_OK : SBX_ERR_HANDLE;
    if (op && sbxi_op_is_sse(op)) {
        *code = SBX_ERR_UNSUPPORTED;
        op = NULL;
    }
    return op;
}

static uint64_t sbxi_command_at(const sbxi_op *op, unsigned stream)
{
    const sbxi_out *o = &op->u.command.stream[stream];

    return o->base + (sbxi_op_is_sse(op) ? o->skip : 0);
}

SBX_API sbx_code sbx_command_position(const sbx_client *c, sbx_op h, char command_id[37], uint64_t *stdout_offset, uint64_t *stderr_offset)
{
    const sbxi_op *op = sbxi_command_of(c, h);

    if (!op)
        return SBX_ERR_HANDLE;
    if (command_id)
        sbxi_id_get(op, command_id);
    if (stdout_offset)
        *stdout_offset = sbxi_command_at(op, 0);
    if (stderr_offset)
        *stderr_offset = sbxi_command_at(op, 1);
    return SBX_OK;
}

static sbx_code sbxi_command_want(sbx_client *c, sbx_op h, uint8_t want)
{
    sbx_code code;
    sbxi_op *op = sbxi_command_socket(c, h, &code);

    if (!op)
        return code;
    if (op->state == SBXI_OP_DONE || c->net.inside)
        return SBX_ERR_STATE;
    op->s.want |= want;
    sbxi_op_wake(c, op);
    return SBX_OK;
}

SBX_API sbx_code sbx_kill(sbx_client *c, sbx_op op)
{
    return sbxi_command_want(c, op, SBXI_WANT_KILL);
}

SBX_API sbx_code sbx_close_stdin(sbx_client *c, sbx_op op)
{
    return sbxi_command_want(c, op, SBXI_WANT_CLOSE_STDIN | SBXI_STDIN_CLOSED);
}

SBX_API sbx_code sbx_pty_resize(sbx_client *c, sbx_op h, uint16_t cols, uint16_t rows)
{
    sbx_code code;
    sbxi_op *op = sbxi_command_socket(c, h, &code);

    if (!op)
        return code;
    if (!cols || !rows)
        return SBX_ERR_ARGUMENT;
    op->u.command.cols = cols;
    op->u.command.rows = rows;
    return sbxi_command_want(c, h, SBXI_WANT_RESIZE);
}

static const char sbxi_input_head[] = "{\"type\":\"input\",\"data\":\"";

SBX_API sbx_code sbx_input(sbx_client *c, sbx_op h, sbx_str data, size_t *taken)
{
    sbx_code code;
    sbxi_op *op = sbxi_command_socket(c, h, &code);
    const size_t head = sizeof sbxi_input_head - 1;
    bool bad = false, rest = false;
    sbxi_link *l;

    *taken = 0;
    if (!op)
        return code;
    if (op->state == SBXI_OP_DONE || op->s.want & SBXI_STDIN_CLOSED || c->net.inside)
        return SBX_ERR_STATE;
    l = sbxi_op_link(c, op);
    while (l && *taken < data.n && op->state == SBXI_OP_STREAM && op->s.phase == SBXI_PHASE_RUNNING) {
        sbxi_got got;
        size_t room, used = 0, n;
        char *p = sbxi_ws_compose(&c->net, l, &room, &got);

        /* Room for a pong stays: without it nothing could be read, and a peer
           that writes before it reads on would wait for us as we for it. */
        if (!p || room < head + 64 + SBXI_WS_CONTROL_MAX)
            break;
        room -= SBXI_WS_CONTROL_MAX;
        memcpy(p, sbxi_input_head, head);
        n = sbx_json_escape(p + head, room - head - 2, data.p + *taken, data.n - *taken, &used, &bad);
        rest = !used;
        if (rest)
            break; /* an unfinished character, or none at all */
        memcpy(p + head + n, "\"}", 2);
        sbxi_ws_composed(&c->net, l, SBX_WS_OP_TEXT, head + n + 2);
        if (c->net.entropy_failed)
            return SBX_ERR_ENTROPY;
        *taken += used;
        if (sbxi_link_flush(&c->net, l) != SBXI_GOT_EVENT)
            break;
    }
    if (*taken < data.n && !rest)
        op->flags |= SBXI_OP_WANTS_ROOM;
    sbxi_op_wake(c, op);
    return bad && !*taken ? SBX_ERR_ARGUMENT : SBX_OK;
}

/* ======== src/langsmith_config.c ======== */

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

/* ======== src/langsmith_execute.c ======== */

/* A command by POST …/execute: one request, and an answer with all of its output. */

#if !SBX_NO_EXECUTE
static void sbxi_exec_prepare(sbx_client *c, sbxi_op *op)
{
    (void)c;
    op->block->answer.exec.out = op->u.http.sink;
    op->block->answer.exec.err = op->u.http.err;
}

static bool sbxi_exec_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    op->u.http.executed = true;
    return false;
}

static void sbxi_exec_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_result *r = (sbx_result *)h->out;
    sbxi_sink none[2];
    bool ok = h->executed && op->fail.code == SBX_OK;

    if (op->block && op->block->dec.model == &sbxi_exec_model) {
        none[0] = op->block->answer.exec.out;
        none[1] = op->block->answer.exec.err;
    } else {
        none[0] = h->sink;
        none[1] = h->err;
    }
    if (ok && r) {
        memset(r, 0, sizeof *r);
        r->exit_code = op->block->answer.exec.exit_code;
    }
    sbxi_result_write(c, op, r, none, ok);
}

static const sbxi_row sbxi_execute_row = { "run", "POST", SBXI_APART("/execute"), "", SBXI_BASE_BOX, SBXI_RETRY_ONCE, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_exec_model, &sbxi_data_rules, sbxi_exec_prepare, sbxi_exec_after, NULL, NULL, NULL, sbxi_exec_finished };

static sbx_op sbxi_run_http(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *o, sbx_result *out);

static const struct sbxi_via sbxi_via_execute = {
    NULL, NULL, &sbxi_execute_http_schema, NULL, sbxi_run_http,
    SBXI_HAS_PTY | SBXI_HAS_AGENT | SBXI_HAS_INPUT | SBXI_HAS_ID | SBXI_HAS_KILL | SBXI_HAS_IDLE | SBXI_HAS_TTL | SBXI_HAS_DATA | SBXI_HAS_ARGV,
    SBX_ERR_ARGUMENT, SBXI_T("must be SBX_VIA_WS or SBX_VIA_SSE: SBX_VIA_HTTP belongs to sbx_run"),
    SBXI_T("is not possible over HTTP: leave via at SBX_VIA_WS")
};

static sbx_op sbxi_run_http(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *o, sbx_result *out)
{
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_execute_row, &o->call))
        return b.refused;
    bad = sbxi_run_bad(&sbxi_via_execute, o, command, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_run_json(&b, &sbxi_via_execute, command, o);
    if (b.op && sbxi_run_sinks(&b, o, &b.op->u.http.sink, &b.op->u.http.err)) {
        b.op->u.http.out = out;
        if (!o->call.timeout_ms)
            b.op->timeout_ms = o->timeout_s < 0 ? SBX_FOREVER : SBXI_MIN(o->timeout_s ? o->timeout_s : 60, 1000000) * 1000 + 10000;
    }
    return sbxi_build_end(&b);
}
#else
static const struct sbxi_via sbxi_via_execute = {
    NULL, NULL, NULL, NULL, NULL, 0, SBX_ERR_UNSUPPORTED, SBXI_T("SBX_VIA_HTTP is not in this build (SBX_NO_EXECUTE)"), NULL
};
#endif

SBX_API const struct sbxi_via *sbx_via_http(void)
{
    return &sbxi_via_execute;
}

/* ======== src/langsmith_files.c ======== */

/* ---- hooks ---- */

static bool sbxi_find_after(sbx_client *c, sbxi_op *op);

#define SBXI_DATA SBXI_BASE_BOX, SBXI_RETRY_SAFE
#define SBXI_FILE_ROW SBX_RESOURCE_FILE, 60000

static const sbxi_row sbxi_read_row = { "read", "GET", "/download", "", SBXI_DATA, SBXI_ANSWER_FILE, SBXI_FILE_ROW, NULL, &sbxi_data_rules, NULL, NULL, NULL, NULL, sbxi_read_failed, sbxi_read_finished };
static const sbxi_row sbxi_write_row = { "write", "POST", "/upload", "", SBXI_DATA, SBXI_ANSWER_NONE, SBXI_FILE_ROW, NULL, &sbxi_data_rules, NULL, NULL, NULL, NULL, sbxi_push_failed, NULL };
static const sbxi_row sbxi_stat_row = { "stat", "HEAD", "/download", "", SBXI_DATA, SBXI_ANSWER_STAT, SBXI_FILE_ROW, NULL, &sbxi_data_rules, NULL, sbxi_stat_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_glob_row = { "glob", "POST", SBXI_APART("/glob"), "", SBXI_DATA, SBXI_ANSWER_LIST, SBXI_FILE_ROW, &sbxi_match_page_model, &sbxi_find_rules, NULL, sbxi_find_after, NULL, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_grep_row = { "grep", "POST", SBXI_APART("/grep"), "", SBXI_DATA, SBXI_ANSWER_LIST, SBXI_FILE_ROW, &sbxi_match_page_model, &sbxi_find_rules, NULL, sbxi_find_after, NULL, sbxi_op_item, NULL, NULL };

/* ---- read ---- */

/* A transfer that broke goes on where it stopped, if the file can be told from
   a changed one; nothing is lost of what came. */
SBXI_FN bool sbxi_read_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;

    if (op->fail.status >= 300)
        return false;
    if (h->total && h->want && h->total >= h->want) {
        op->fail.sys = 0;
        sbxi_op_fail(c, op, SBX_OK, SBX_LAYER_NONE, NULL); /* all that was asked for had come */
        return true;
    }
    if (h->total && (!h->resume || !op->block || !op->block->stat_known)) {
        sbxi_op_finish(c, op);
        return true;
    }
    return false;
}

SBXI_FN void sbxi_read_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_read_result *r = (sbx_read_result *)h->out;

    if (op->fail.code != SBX_OK || !r) {
        if (op->flags & SBXI_OP_ALLOC)
            sbx_free(c, h->sink.p);
        return;
    }
    memset(r, 0, sizeof *r);
    r->n = sbxi_sink_n(&h->sink);
    r->total = h->total;
    r->size = h->size;
    r->offset = h->pos;
    r->cut = !(op->flags & SBXI_OP_STREAMING) && r->n < h->total;
    r->not_modified = h->not_modified;
    r->stat = op->block->answer.stat;
    if (h->size != UINT64_MAX)
        r->stat.size = h->size;
    if (op->flags & SBXI_OP_ALLOC) {
        if (h->sink.p)
            h->sink.p[r->n] = 0;
        r->p = h->sink.p;
    }
}

static const char *sbxi_read_bad(const sbx_read_opts *o, const char **why)
{
    *why = SBXI_T("must not be negative");
    if (o->length < 0)
        return SBXI_T("length");
    *why = SBXI_T("cannot be given with a negative offset (the last bytes are meant)");
    if (o->offset < 0 && o->length)
        return SBXI_T("length");
    *why = SBXI_T("must be above -2^63, and with length 2^63 - 1 at most");
    if (o->offset == INT64_MIN || (o->offset > 0 && o->length > INT64_MAX - o->offset))
        return SBXI_T("offset");
    *why = SBXI_T("excludes a buffer and alloc");
    if (o->stream && (o->out.p || o->alloc))
        return SBXI_T("stream");
    *why = SBXI_T("needs alloc: a buffer's size is a cap of its own");
    if (o->max_bytes && !o->alloc)
        return SBXI_T("max_bytes");
    return NULL;
}

SBXI_FN sbx_op sbxi_read_call(sbxi_build *b, const sbx_read_opts *o, sbx_read_result *out)
{
    const char *why, *bad;
    sbxi_http *h;

    bad = sbxi_read_bad(o, &why);
    if (bad)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, bad, why);
    else if (!o->stream && !o->out.p && !o->alloc)
        sbxi_build_refuse(b, SBX_ERR_NO_BUFFER, "out", SBXI_T("must be given, or alloc, or stream"));
    sbxi_build_headers(b, &o->call);
    sbxi_build_header(b, "If-None-Match", o->if_none_match, "if_none_match");
    sbxi_build_header(b, "If-Range", o->if_match_etag, "if_match_etag");
    /* A compressed body would not be the file's bytes. */
    sbxi_build_header(b, "Accept-Encoding", sbx_s("identity"), NULL);
    if (!b->op)
        return b->refused;
    h = &b->op->u.http;
    if (!sbxi_build_sink(b, &h->sink, o->out, o->alloc, o->max_bytes, (size_t)64 << 20))
        return b->refused;
    h->out = out;
    h->size = UINT64_MAX;
    h->resume = !o->no_resume && !o->if_match_etag.n;
    h->if_range = o->if_match_etag.n != 0;
    h->from_end = o->offset < 0;
    if (h->from_end)
        h->want = (uint64_t)-o->offset;
    else {
        h->pos = (uint64_t)o->offset;
        h->want = (uint64_t)o->length;
    }
    if (o->stream)
        b->op->flags |= SBXI_OP_STREAMING;
    return sbxi_build_end(b);
}

SBX_API sbx_op sbx_read(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_read_opts *opts, sbx_read_result *out)
{
    const sbx_read_opts *o = opts ? opts : &sbxi_no_opts.read;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_read_row, &o->call))
        return b.refused;
    sbxi_build_box(&b, box);
    sbxi_build_path(&b, path);
    return sbxi_read_call(&b, o, out);
}

/* ---- write ---- */

static const char sbxi_part_head[] = "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\nContent-Type: application/octet-stream\r\n\r\n";

/* The frame of the one part: "--B", its headers; behind the data "\r\n--B--\r\n". */
static void sbxi_write_frame(sbxi_build *b)
{
    static const char digits[] = "0123456789abcdef";
    sbxi_block *block;
    unsigned char random[12];
    size_t room, n = sizeof random * 2;
    char *p;

    if (!b->op)
        return;
    if (!sbxi_net_random(&b->c->net, random, sizeof random)) {
        sbxi_build_refuse(b, SBX_ERR_ENTROPY, NULL, NULL);
        return;
    }
    block = b->op->block;
    for (unsigned i = 0; i < sizeof random; i++) {
        block->boundary[2 * i] = digits[random[i] >> 4];
        block->boundary[2 * i + 1] = digits[random[i] & 15];
    }
    p = sbxi_op_room(b->c, b->op, &room);
    if (room < 2 * n + sizeof sbxi_part_head + 10) {
        sbxi_build_refuse(b, SBX_ERR_TOO_LARGE, "request_bytes", SBXI_T("is too small for this request: raise it in the client's description"));
        return;
    }
    memcpy(p, "--", 2);
    memcpy(p + 2, block->boundary, n);
    memcpy(p + 2 + n, sbxi_part_head, sizeof sbxi_part_head - 1);
    b->op->u.http.want = 2 + n + sizeof sbxi_part_head - 1;
    p += b->op->u.http.want;
    memcpy(p, "\r\n--", 4);
    memcpy(p + 4, block->boundary, n);
    memcpy(p + 4 + n, "--\r\n", 4);
    block->body_n = (uint32_t)(b->op->u.http.want + 8 + n);
}

/* Bytes that were pushed, and their end, are the caller's to give again. */
SBXI_FN bool sbxi_push_failed(sbx_client *c, sbxi_op *op)
{
    const sbxi_fail *f = &op->fail;

    if (!op->u.http.pushed || !(op->u.http.pos || op->flags & SBXI_OP_PUSH_END))
        return false;
    if (op->row->retry == SBXI_RETRY_ONCE && op->flags & SBXI_OP_SENT)
        return false;
    if ((f->status && f->status != 429 && f->status != 502 && f->status != 503 && f->status != 504) || op->attempts > op->max_retries ||
        (!f->status && f->code != SBX_ERR_CONNECTION && f->code != SBX_ERR_DEADLINE)) {
        sbxi_op_finish(c, op);
        return true;
    }
    sbxi_op_release_link(c, op, false);
    op->flags &= (uint16_t)~(SBXI_OP_SENT | SBXI_OP_FAILING | SBXI_OP_DRAIN | SBXI_OP_PUSH_END);
    op->state = SBXI_OP_REWIND;
    op->attempt_at = SBXI_NEVER;
    op->notes |= SBXI_NOTE_REWIND;
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, SBXI_LIST_EVENT);
    return true;
}

SBX_API sbx_code sbx_rewind(sbx_client *c, sbx_op handle)
{
    sbxi_op *op = sbxi_op_get(c, handle);

    if (!op)
        return SBX_ERR_HANDLE;
    if (op->state != SBXI_OP_REWIND || c->net.inside)
        return SBX_ERR_STATE;
    op->u.http.pos = 0;
    op->fail.status = 0;
    op->fail.code = SBX_OK;
    op->fail.has_text = false;
    op->flags |= SBXI_OP_WANTS_ROOM;
    op->state = SBXI_OP_PAUSE;
    op->wake_at = sbxi_after(c->net.now, sbxi_backoff(c, (unsigned)SBXI_MAX(op->attempts, 1) - 1, 1000, 10000));
    sbxi_op_arm(c, op);
    return SBX_OK;
}

SBX_API sbx_op sbx_write(sbx_client *c, const sbx_box *box, sbx_str path, sbx_str data, const sbx_write_opts *opts)
{
    const sbx_write_opts *o = opts ? opts : &sbxi_no_opts.write;
    sbxi_build b;
    sbxi_http *h;

    if (!sbxi_build_begin(&b, c, &sbxi_write_row, &o->call))
        return b.refused;
    if (o->stream && data.n)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "stream", SBXI_T("and data exclude each other"));
    else if (!o->stream && o->size)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "size", SBXI_T("belongs to stream"));
    else if (o->size < SBX_NONE)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "size", SBXI_T("must be 0 or more, or SBX_NONE"));
    sbxi_build_box(&b, box);
    sbxi_build_path(&b, path);
    sbxi_build_headers(&b, &o->call);
    sbxi_write_frame(&b);
    if (!b.op)
        return b.refused;
    h = &b.op->u.http;
    h->data = data.p;
    h->size = o->stream ? (uint64_t)o->size : data.n;
    h->chunked = o->stream && o->size == SBX_NONE;
    h->pushed = o->stream;
    if (o->stream)
        b.op->flags |= SBXI_OP_STREAMING | SBXI_OP_WANTS_ROOM;
    return sbxi_build_end(&b);
}

/* As much of data as the send buffer has room for; its length. */
static size_t sbxi_push_some(sbx_client *c, sbxi_op *op, sbx_str data)
{
    sbxi_link *l = sbxi_op_link(c, op);
    size_t room, n, frame = op->u.http.chunked ? 20 : 0;
    char size[18];
    sbxi_got got;
    char *p = sbxi_link_room(&c->net, l, &room, &got);

    if (!p || room <= frame)
        return 0;
    n = SBXI_MIN(data.n, room - frame);
    if (op->u.http.chunked) {
        size_t size_n = sbx_http1_chunk(size, n);

        memcpy(p, size, size_n);
        memcpy(p + size_n, data.p, n);
        memcpy(p + size_n + n, "\r\n", 2);
        l->tx_end += (uint32_t)(size_n + n + 2);
    } else {
        memcpy(p, data.p, n);
        l->tx_end += (uint32_t)n;
    }
    return n;
}

SBX_API sbx_code sbx_push(sbx_client *c, sbx_op handle, sbx_str data, bool end, size_t *taken)
{
    sbxi_op *op = sbxi_op_get(c, handle);
    sbxi_http *h;

    *taken = 0;
    if (!op)
        return SBX_ERR_HANDLE;
    h = &op->u.http;
    if (op->row->answer == SBXI_ANSWER_STREAM || !op->u.http.pushed || op->flags & SBXI_OP_PUSH_END || op->state == SBXI_OP_REWIND || op->state == SBXI_OP_DONE || c->net.inside)
        return SBX_ERR_STATE;
    if (!h->chunked && (data.n > h->size - h->pos || (end && h->pos + data.n != h->size)))
        return SBX_ERR_ARGUMENT;
    while (data.n > *taken && op->state == SBXI_OP_SEND && sbxi_is_upload(op) && h->step == 1 && !op->block->overflow) {
        size_t n = sbxi_push_some(c, op, sbx_sn(data.p + *taken, data.n - *taken));

        *taken += n;
        h->pos += n;
        if (sbxi_link_flush(&c->net, sbxi_op_link(c, op)) != SBXI_GOT_EVENT || !n)
            break;
    }
    if (*taken < data.n)
        op->flags |= SBXI_OP_WANTS_ROOM;
    else if (end && (op->state == SBXI_OP_SEND || !data.n) && (h->chunked || h->pos == h->size))
        op->flags |= SBXI_OP_PUSH_END;
    if (op->state == SBXI_OP_SEND) {
        sbxi_op_allow(c, op, op->timeout_ms);
    }
    /* It runs, whatever its connection said: a failure is dealt with there. */
    sbxi_op_wake(c, op);
    return SBX_OK;
}

/* ---- stat and search ---- */

SBXI_FN bool sbxi_stat_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    if (op->u.http.out)
        *(sbx_file_stat *)op->u.http.out = op->block->answer.stat;
    return false;
}

SBXI_FN sbx_op sbxi_stat_call(sbxi_build *b, const sbx_box_opts *o, sbx_file_stat *out)
{
    sbxi_build_headers(b, &o->call);
    sbxi_build_header(b, "Accept-Encoding", sbx_s("identity"), NULL);
    if (b->op)
        b->op->u.http.out = out;
    return sbxi_build_end(b);
}

SBX_API sbx_op sbx_stat(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_box_opts *opts, sbx_file_stat *out)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_stat_row, &o->call))
        return b.refused;
    sbxi_build_box(&b, box);
    sbxi_build_path(&b, path);
    return sbxi_stat_call(&b, o, out);
}

static bool sbxi_find_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_list_result *r = (sbx_list_result *)h->out;

    (void)c;
    if (!r)
        return false;
    memset(r, 0, sizeof *r);
    r->count = h->total;
    r->stored = h->sink.total / sizeof(sbx_match);
    r->cut = h->sink.cap && r->stored < r->count;
    r->truncated = op->block->page.truncated;
    return false;
}

static sbx_op sbxi_find(sbx_client *c, const sbxi_row *row, sbxi_as as, const sbx_box *box, sbx_str pattern, sbx_str path, const sbx_find_opts *opts, sbx_list_result *out)
{
    const sbx_find_opts *o = opts ? opts : &sbxi_no_opts.find;
    const char *argument = row == &sbxi_grep_row ? "text" : "pattern";
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin_as(&b, c, row, &o->call, as))
        return b.refused;
    if (!pattern.n || (path.p && !path.n))
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, pattern.n ? "path" : argument, SBXI_T("must not be empty"));
    if (b.op && o->glob.p && row != &sbxi_grep_row)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "glob", SBXI_T("belongs to grep"));
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_member(&b, &w, "pattern", pattern, argument);
    sbxi_build_member(&b, &w, "path", path.p ? path : sbx_s("/"), "path");
    sbxi_build_opts(&b, &w, &sbxi_find_schema, o);
    sbxi_build_json_end(&b, &w);
    if (b.op) {
        sbxi_http *h = &b.op->u.http;

        h->out = out;
        h->sink.p = (char *)o->items.p;
        h->sink.cap = o->items.p ? o->items.n : 0;
        if (!o->items.p)
            b.op->flags |= SBXI_OP_STREAMING;
    }
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_glob(sbx_client *c, const sbx_box *box, sbx_str pattern, const sbx_find_opts *opts, sbx_list_result *out)
{
    return sbxi_find(c, &sbxi_glob_row, SBXI_AS_ROW, box, pattern, opts ? opts->path : sbx_sn(NULL, 0), opts, out);
}

SBX_API sbx_op sbx_ls(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_find_opts *opts, sbx_list_result *out)
{
    return sbxi_find(c, &sbxi_glob_row, SBXI_AS_LS, box, sbx_s("*"), path, opts, out);
}

SBX_API sbx_op sbx_grep(sbx_client *c, const sbx_box *box, sbx_str text, const sbx_find_opts *opts, sbx_list_result *out)
{
    return sbxi_find(c, &sbxi_grep_row, SBXI_AS_ROW, box, text, opts ? opts->path : sbx_sn(NULL, 0), opts, out);
}

/* ======== src/langsmith_legacy.c ======== */

#if !SBX_NO_LEGACY

/* ---- answers ---- */

/* What all three have. */
#define SBXI_OLD(name, kind, type, member) SBXI_FIELD(name, kind, type, member)
#define SBXI_OLD_HEAD(type) SBXI_OLD("id", SBXI_F_ID, type, id), SBXI_OLD("name", SBXI_F_ID, type, name)
#define SBXI_OLD_TIMES(type) SBXI_OLD("created_at", SBXI_F_TIME, type, created_ms), SBXI_OLD("updated_at", SBXI_F_TIME, type, updated_ms)
#define SBXI_OLD_MODEL(fields, any_depth, type, minus) { fields, SBXI_COUNT(fields), any_depth, minus, offsetof(type, cut), NULL }

static const sbxi_field sbxi_template_fields[] = {
    SBXI_OLD_HEAD(sbx_template),
    SBXI_OLD("image", SBXI_F_TEXT, sbx_template, image),
    SBXI_OLD("cpu", SBXI_F_TEXT, sbx_template, cpu), /* these three stand inside `resources` */
    SBXI_OLD("memory", SBXI_F_TEXT, sbx_template, memory),
    SBXI_OLD("storage", SBXI_F_TEXT, sbx_template, storage),
    SBXI_OLD_TIMES(sbx_template),
};
static const sbxi_model sbxi_template_model = SBXI_OLD_MODEL(sbxi_template_fields, true, sbx_template, SBXI_NO_MINUS(sbx_template));

static const sbxi_field sbxi_volume_fields[] = {
    SBXI_OLD_HEAD(sbx_volume),
    SBXI_OLD("size", SBXI_F_TEXT, sbx_volume, size),
    SBXI_OLD("storage_class", SBXI_F_TEXT, sbx_volume, storage_class),
    SBXI_OLD_TIMES(sbx_volume),
};
static const sbxi_model sbxi_volume_model = SBXI_OLD_MODEL(sbxi_volume_fields, false, sbx_volume, SBXI_NO_MINUS(sbx_volume));

static const sbxi_field sbxi_pool_fields[] = {
    SBXI_OLD_HEAD(sbx_pool),
    SBXI_OLD("template_name", SBXI_F_ID, sbx_pool, template_name),
    SBXI_OLD("replicas", SBXI_F_I64, sbx_pool, replicas),
    SBXI_OLD_TIMES(sbx_pool),
};

static const sbxi_model sbxi_pool_model = SBXI_OLD_MODEL(sbxi_pool_fields, false, sbx_pool, SBXI_MINUS(sbx_pool, replicas, replicas));

/* The arrays have no member of their own: `truncated` only stands in. */
static const sbxi_field sbxi_old_page_fields[] = {
    SBXI_OLD("templates", SBXI_F_LIST, sbxi_page, truncated),
    SBXI_OLD("volumes", SBXI_F_LIST, sbxi_page, truncated),
    SBXI_OLD("pools", SBXI_F_LIST, sbxi_page, truncated),
};
#define SBXI_OLD_PAGE(item) { sbxi_old_page_fields, SBXI_COUNT(sbxi_old_page_fields), false, SBXI_NO_MINUS(sbxi_page), 0, item }
static const sbxi_model sbxi_template_page_model = SBXI_OLD_PAGE(&sbxi_template_model);
static const sbxi_model sbxi_volume_page_model = SBXI_OLD_PAGE(&sbxi_volume_model);
static const sbxi_model sbxi_pool_page_model = SBXI_OLD_PAGE(&sbxi_pool_model);

/* ---- requests ---- */

#define SBXI_OLDP(name, kind, type, member) { SBXI_PARAM_NAMES(name, #member), (uint8_t)(kind), 0, (uint16_t)offsetof(type, member), 0, NULL }
#define SBXI_OLD_WAIT(type, seconds) { SBXI_PARAM_NAMES("timeout", "wait_s"), SBXI_P_SECONDS, 0, (uint16_t)offsetof(type, wait_s), SBXI_ARG(seconds), NULL }
#define SBXI_OLD_NEED(name, type, member) SBXI_OLDP(name, SBXI_P_STR | SBXI_P_NEED, type, member)

static const sbxi_param sbxi_resources_params[] = {
    SBXI_OLDP("cpu", SBXI_P_STR, sbx_template_opts, cpu),
    SBXI_OLDP("memory", SBXI_P_STR, sbx_template_opts, memory),
    SBXI_OLDP("storage", SBXI_P_STR, sbx_template_opts, storage),
};

static const char *sbxi_resources_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const sbx_template_opts *o = (const sbx_template_opts *)at;

    (void)why;
    if (!o->cpu.p)
        sbxi_build_text(w, "cpu", "500m");
    if (!o->memory.p)
        sbxi_build_text(w, "memory", "512Mi");
    return NULL;
}

static const sbxi_shape sbxi_resources_shape = { { sbxi_resources_params, SBXI_COUNT(sbxi_resources_params), 0 }, sizeof(sbx_template_opts), sbxi_resources_begin };

static const sbxi_param sbxi_volume_mount_params[] = {
    SBXI_OLD_NEED("volume_name", sbx_volume_mount, volume_name),
    SBXI_OLD_NEED("mount_path", sbx_volume_mount, mount_path),
};
static const sbxi_shape sbxi_volume_mount_shape = { { sbxi_volume_mount_params, SBXI_COUNT(sbxi_volume_mount_params), 0 }, sizeof(sbx_volume_mount), NULL };

/* `resources` are members of the options themselves. */
static const sbxi_param sbxi_template_params[] = {
    SBXI_OLD_NEED("name", sbx_template_opts, name),
    SBXI_OLD_NEED("image", sbx_template_opts, image),
    { SBXI_PARAM_NAMES("resources", ""), (uint8_t)(SBXI_P_PART | SBXI_P_ALWAYS), 0, 0, 0, &sbxi_resources_shape.schema },
    { SBXI_PARAM_NAMES("volume_mounts", "volume_mounts"), SBXI_P_LIST, 0, (uint16_t)offsetof(sbx_template_opts, volume_mounts), 0, &sbxi_volume_mount_shape.schema },
};
static const sbxi_schema sbxi_template_create_schema = { sbxi_template_params, SBXI_COUNT(sbxi_template_params), 0 };

static const sbxi_param sbxi_template_update_params[] = { SBXI_OLDP("name", SBXI_P_STR, sbx_template_opts, name) };
static const sbxi_schema sbxi_template_update_schema = { sbxi_template_update_params, 1, 0 };

static const sbxi_param sbxi_volume_params[] = {
    SBXI_OLD_WAIT(sbx_volume_opts, 60),
    SBXI_OLD_NEED("name", sbx_volume_opts, name),
    SBXI_OLD_NEED("size", sbx_volume_opts, size),
};
static const sbxi_schema sbxi_volume_create_schema = { sbxi_volume_params, SBXI_COUNT(sbxi_volume_params), 0 };

static const sbxi_param sbxi_volume_update_params[] = {
    SBXI_OLDP("name", SBXI_P_STR, sbx_volume_opts, name),
    SBXI_OLDP("size", SBXI_P_STR, sbx_volume_opts, size),
};
static const sbxi_schema sbxi_volume_update_schema = { sbxi_volume_update_params, SBXI_COUNT(sbxi_volume_update_params), 0 };

static const sbxi_param sbxi_pool_params[] = {
    SBXI_OLD_WAIT(sbx_pool_opts, 30),
    SBXI_OLD_NEED("name", sbx_pool_opts, name),
    SBXI_OLD_NEED("template_name", sbx_pool_opts, template_name),
    SBXI_OLDP("replicas", SBXI_P_INT | SBXI_P_NEED, sbx_pool_opts, replicas),
};
static const sbxi_schema sbxi_pool_create_schema = { sbxi_pool_params, SBXI_COUNT(sbxi_pool_params), 0 };

static const sbxi_param sbxi_pool_update_params[] = {
    SBXI_OLDP("name", SBXI_P_STR, sbx_pool_opts, name),
    SBXI_OLDP("replicas", SBXI_P_COUNT, sbx_pool_opts, replicas),
};
static const sbxi_schema sbxi_pool_update_schema = { sbxi_pool_update_params, SBXI_COUNT(sbxi_pool_update_params), 0 };

/* ---- what failing answers mean ---- */

/* The service names no type for these two. */
static void sbxi_refine_volume(sbxi_op *op)
{
    const char *type = op->fail.code == SBX_ERR_CREATION ? "VolumeProvisioning" : op->fail.code == SBX_ERR_VALIDATION ? "VolumeResize" : "";

    if (op->block && !op->block->failure.type[0])
        sbxi_copy_z(op->block->failure.type, sizeof op->block->failure.type, type);
}

#define SBXI_OLD_RULES(list, next, refine) { list, SBXI_COUNT(list), next, refine }

/* What a template's creation may miss is a volume that it mounts. */
static const sbxi_rule sbxi_template_create_list[] = { { 404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_VOLUME, NULL } };
static const sbxi_rules sbxi_template_create_rules = SBXI_OLD_RULES(sbxi_template_create_list, &sbxi_control_rules, sbxi_refine_endpoint);

static const sbxi_rule sbxi_volume_create_list[] = { { 503, SBX_ERR_CREATION, 0, NULL }, { 504, SBX_ERR_TIMEOUT, 0, NULL } };
static const sbxi_rules sbxi_volume_create_rules = SBXI_OLD_RULES(sbxi_volume_create_list, &sbxi_made_rules, sbxi_refine_volume);

static const sbxi_rule sbxi_volume_update_list[] = { { 400, SBX_ERR_VALIDATION, 0, NULL } };
static const sbxi_rules sbxi_volume_update_rules = SBXI_OLD_RULES(sbxi_volume_update_list, &sbxi_named_rules, sbxi_refine_volume);

static const sbxi_rule sbxi_pool_create_list[] = {
    { 400, SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "TemplateNotFound" },
    { 504, SBX_ERR_TIMEOUT, 0, NULL },
    { 409, SBX_ERR_EXISTS, 0, NULL },
    { 404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, NULL },
};
static const sbxi_rules sbxi_pool_create_rules = SBXI_OLD_RULES(sbxi_pool_create_list, &sbxi_control_rules, sbxi_refine_endpoint);
/* All but the last two: the new name's conflict here, and the pool itself. */
static const sbxi_rules sbxi_pool_update_rules = { sbxi_pool_create_list, 2, &sbxi_named_rules, NULL };

/* ---- rows ---- */

#define SBXI_OLD_CREATE(name, path, model, rules, resource) \
    { name, "POST", path, "", SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, resource, 0, model, rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL }
#define SBXI_OLD_NAMED(name, method, path, model, rules, resource) \
    { name, method, path "/", "", SBXI_CTL, SBXI_ANSWER_MODEL, resource, 0, model, rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL }
#define SBXI_OLD_DELETE(name, path, rules, resource) \
    { name, "DELETE", path "/", "", SBXI_CTL, SBXI_ANSWER_NONE, resource, 0, NULL, rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL }
#define SBXI_OLD_LIST(name, path, model, resource) \
    { name, "GET", path, "", SBXI_CTL, SBXI_ANSWER_LIST, resource, 0, model, &sbxi_list_rules, NULL, sbxi_list_after, NULL, sbxi_op_item, NULL, NULL }

static const sbxi_row sbxi_template_create_row = SBXI_OLD_CREATE(SBXI_APART("template_create"), "/templates", &sbxi_template_model, &sbxi_template_create_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_get_row = SBXI_OLD_NAMED(SBXI_APART("template_get"), "GET", "/templates", &sbxi_template_model, &sbxi_named_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_update_row = SBXI_OLD_NAMED("template_update", "PATCH", "/templates", &sbxi_template_model, &sbxi_named_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_reget_row = SBXI_OLD_NAMED("template_update", "GET", "/templates", &sbxi_template_model, &sbxi_named_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_delete_row = SBXI_OLD_DELETE(SBXI_APART("template_delete"), "/templates", &sbxi_drop_rules, SBX_RESOURCE_TEMPLATE);
static const sbxi_row sbxi_template_list_row = SBXI_OLD_LIST(SBXI_APART("template_list"), "/templates", &sbxi_template_page_model, SBX_RESOURCE_TEMPLATE);

static const sbxi_row sbxi_volume_create_row = SBXI_OLD_CREATE(SBXI_APART("volume_create"), "/volumes", &sbxi_volume_model, &sbxi_volume_create_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_get_row = SBXI_OLD_NAMED(SBXI_APART("volume_get"), "GET", "/volumes", &sbxi_volume_model, &sbxi_named_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_update_row = SBXI_OLD_NAMED("volume_update", "PATCH", "/volumes", &sbxi_volume_model, &sbxi_volume_update_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_reget_row = SBXI_OLD_NAMED("volume_update", "GET", "/volumes", &sbxi_volume_model, &sbxi_named_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_delete_row = SBXI_OLD_DELETE(SBXI_APART("volume_delete"), "/volumes", &sbxi_drop_rules, SBX_RESOURCE_VOLUME);
static const sbxi_row sbxi_volume_list_row = SBXI_OLD_LIST(SBXI_APART("volume_list"), "/volumes", &sbxi_volume_page_model, SBX_RESOURCE_VOLUME);

static const sbxi_row sbxi_pool_create_row = SBXI_OLD_CREATE(SBXI_APART("pool_create"), "/pools", &sbxi_pool_model, &sbxi_pool_create_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_get_row = SBXI_OLD_NAMED(SBXI_APART("pool_get"), "GET", "/pools", &sbxi_pool_model, &sbxi_named_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_update_row = SBXI_OLD_NAMED("pool_update", "PATCH", "/pools", &sbxi_pool_model, &sbxi_pool_update_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_reget_row = SBXI_OLD_NAMED("pool_update", "GET", "/pools", &sbxi_pool_model, &sbxi_named_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_delete_row = SBXI_OLD_DELETE(SBXI_APART("pool_delete"), "/pools", &sbxi_named_rules, SBX_RESOURCE_POOL);
static const sbxi_row sbxi_pool_list_row = SBXI_OLD_LIST(SBXI_APART("pool_list"), "/pools", &sbxi_pool_page_model, SBX_RESOURCE_POOL);

/* ---- calls ---- */

/* What creates and updates one kind. The options of all three begin alike. */
typedef struct sbxi_old_kind {
    const sbxi_row *create, *update, *get; /* get: an update that changes nothing */
    const sbxi_schema *creating, *updating;
    uint16_t raw_off;  /* in the options; raw_n stands behind it */
    uint8_t wait_off;  /* likewise, 0 = creating does not wait */
    uint8_t wait_s;    /* for so long, where they do not say */
} sbxi_old_kind;

#define SBXI_OLD_ALIKE(type) \
    (offsetof(type, call) == 0 && offsetof(type, name) == offsetof(sbx_template_opts, name) && offsetof(type, raw_n) == offsetof(type, raw) + sizeof(sbx_buf))
typedef char sbxi_old_options_are_alike[SBXI_OLD_ALIKE(sbx_template_opts) && SBXI_OLD_ALIKE(sbx_volume_opts) && SBXI_OLD_ALIKE(sbx_pool_opts) ? 1 : -1];

#define SBXI_OLD_KIND(kind, type, wait_off, wait_s) \
    { &sbxi_##kind##_create_row, &sbxi_##kind##_update_row, &sbxi_##kind##_reget_row, &sbxi_##kind##_create_schema, &sbxi_##kind##_update_schema, \
      (uint16_t)offsetof(type, raw), wait_off, wait_s }

static const sbxi_old_kind sbxi_old_template = SBXI_OLD_KIND(template, sbx_template_opts, 0, 0);
static const sbxi_old_kind sbxi_old_volume = SBXI_OLD_KIND(volume, sbx_volume_opts, offsetof(sbx_volume_opts, wait_s), 60);
static const sbxi_old_kind sbxi_old_pool = SBXI_OLD_KIND(pool, sbx_pool_opts, offsetof(sbx_pool_opts, wait_s), 30);

/* `of`: its name, NULL = it is created. `fixed`: an option that is given and
   belongs to the creation. */
static SBXI_NOINLINE sbx_op sbxi_old_write(sbx_client *c, const sbxi_old_kind *k, const sbx_str *of, const void *opts, void *out, const char *fixed)
{
    const char *o = (const char *)(opts ? opts : &sbxi_no_opts);
    const sbx_call *call = (const sbx_call *)(const void *)o;
    const sbx_buf *raw = (const sbx_buf *)(const void *)(o + k->raw_off);
    int32_t wait_s = *(const int32_t *)(const void *)(o + k->wait_off);
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, of ? k->update : k->create, call))
        return b.refused;
    if (of)
        sbxi_build_name(&b, *of, "name");
    if (of && fixed)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, fixed, SBXI_T("belongs to the creation: an update cannot change it"));
    if (((const sbx_str *)(const void *)(o + offsetof(sbx_template_opts, name)))->n > 127)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "name", SBXI_T("must be 127 bytes at most"));
    sbxi_build_headers(&b, call);
    sbxi_build_json(&b, &w);
    if (!of && k->wait_off && b.op) {
        sbx_jsonw_key(&w, sbx_s("wait_for_ready"));
        sbx_jsonw_bool(&w, true);
    }
    sbxi_build_opts(&b, &w, of ? k->updating : k->creating, o);
    sbxi_build_json_end(&b, &w);
    if (of)
        sbxi_build_or_get(&b, k->get);
    sbxi_build_result(&b, out, NULL, *raw, *(size_t *const *)(const void *)(raw + 1));
    if (!of && k->wait_off && b.op && !call->timeout_ms)
        b.op->timeout_ms = SBXI_MIN(wait_s > 0 ? wait_s : k->wait_s, 86400) * 1000 + 30000;
    return sbxi_build_end(&b);
}

static SBXI_NOINLINE sbx_op sbxi_old_named(sbx_client *c, const sbxi_row *row, sbx_str name, const sbx_box_opts *opts, void *out)
{
    sbxi_build b;

    sbxi_name_call(&b, c, row, name, "name", opts ? opts : &sbxi_no_opts.box, out, NULL);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_template_create(sbx_client *c, const sbx_template_opts *opts, sbx_template *out)
{
    return sbxi_old_write(c, &sbxi_old_template, NULL, opts, out, NULL);
}

SBX_API sbx_op sbx_template_update(sbx_client *c, sbx_str name, const sbx_template_opts *opts, sbx_template *out)
{
    const char *fixed = !opts ? NULL : opts->image.p ? SBXI_T("image") : opts->cpu.p ? SBXI_T("cpu") : opts->memory.p ? SBXI_T("memory") :
                        opts->storage.p ? SBXI_T("storage") : opts->volume_mounts_n ? SBXI_T("volume_mounts") : NULL;

    return sbxi_old_write(c, &sbxi_old_template, &name, opts, out, fixed);
}

SBX_API sbx_op sbx_template_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_template *out)
{
    return sbxi_old_named(c, &sbxi_template_get_row, name, opts, out);
}

SBX_API sbx_op sbx_template_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_old_named(c, &sbxi_template_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_template_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_template_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_volume_create(sbx_client *c, const sbx_volume_opts *opts, sbx_volume *out)
{
    return sbxi_old_write(c, &sbxi_old_volume, NULL, opts, out, NULL);
}

SBX_API sbx_op sbx_volume_update(sbx_client *c, sbx_str name, const sbx_volume_opts *opts, sbx_volume *out)
{
    const char *fixed = opts && opts->wait_s ? SBXI_T("wait_s") : NULL;

    return sbxi_old_write(c, &sbxi_old_volume, &name, opts, out, fixed);
}

SBX_API sbx_op sbx_volume_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_volume *out)
{
    return sbxi_old_named(c, &sbxi_volume_get_row, name, opts, out);
}

SBX_API sbx_op sbx_volume_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_old_named(c, &sbxi_volume_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_volume_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_volume_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_pool_create(sbx_client *c, const sbx_pool_opts *opts, sbx_pool *out)
{
    return sbxi_old_write(c, &sbxi_old_pool, NULL, opts, out, NULL);
}

SBX_API sbx_op sbx_pool_update(sbx_client *c, sbx_str name, const sbx_pool_opts *opts, sbx_pool *out)
{
    const char *fixed = !opts ? NULL : opts->template_name.p ? SBXI_T("template_name") : opts->wait_s ? SBXI_T("wait_s") : NULL;

    return sbxi_old_write(c, &sbxi_old_pool, &name, opts, out, fixed);
}

SBX_API sbx_op sbx_pool_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_pool *out)
{
    return sbxi_old_named(c, &sbxi_pool_get_row, name, opts, out);
}

SBX_API sbx_op sbx_pool_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_old_named(c, &sbxi_pool_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_pool_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_pool_list_row, NULL, opts, out);
}

#endif

/* ======== src/langsmith_model.c ======== */

/* ---- answers ---- */

#define SBXI_BOX(name, kind, member) SBXI_FIELD(name, kind, sbx_box_info, member)

static const sbxi_field sbxi_box_fields[] = {
    SBXI_BOX("id", SBXI_F_ID, box.id),
    SBXI_BOX("name", SBXI_F_ID, box.name),
    SBXI_BOX("dataplane_url", SBXI_F_ID, box.url),
    SBXI_BOX("status", SBXI_F_TEXT, status_text),
    SBXI_BOX("status_message", SBXI_F_TEXT, status_message),
    SBXI_BOX("created_at", SBXI_F_TIME, created_ms),
    SBXI_BOX("updated_at", SBXI_F_TIME, updated_ms),
    SBXI_BOX("idle_ttl_seconds", SBXI_F_I64, idle_ttl_s),
    SBXI_BOX("delete_after_stop_seconds", SBXI_F_I64, delete_after_stop_s),
    SBXI_BOX("stopped_at", SBXI_F_TIME, stopped_ms),
    SBXI_BOX("snapshot_id", SBXI_F_TEXT, snapshot_id),
    SBXI_BOX("vcpus", SBXI_F_I64, vcpus),
    SBXI_BOX("mem_bytes", SBXI_F_I64, mem_bytes),
    SBXI_BOX("fs_capacity_bytes", SBXI_F_I64, fs_capacity_bytes),
    SBXI_BOX("run_config", SBXI_F_SKIP, cut),
    SBXI_BOX("access_delegation", SBXI_F_SKIP, cut),
    SBXI_BOX("mount_config", SBXI_F_SKIP, cut),
    SBXI_BOX("proxy_config", SBXI_F_SKIP, cut),
    SBXI_BOX("labels", SBXI_F_SKIP, cut),
    SBXI_BOX("created_by", SBXI_F_TEXT, created_by),
    SBXI_BOX("updated_by", SBXI_F_TEXT, updated_by),
    SBXI_BOX("cpu_millicores", SBXI_F_I64, cpu_millicores),
    SBXI_BOX("size_class", SBXI_F_TEXT, size_class),
    SBXI_BOX("preserve_memory_on_stop", SBXI_F_TRI, preserve_memory_on_stop),
#if !SBX_NO_LEGACY
    SBXI_BOX("template_name", SBXI_F_TEXT, template_name),
    SBXI_BOX("ttl_seconds", SBXI_F_I64, ttl_s),
    SBXI_BOX("expires_at", SBXI_F_TIME, expires_ms),
#endif
};

const sbxi_model sbxi_box_model = {
    sbxi_box_fields, SBXI_COUNT(sbxi_box_fields), false, SBXI_MINUS(sbx_box_info, ttl_s, cpu_millicores), offsetof(sbx_box_info, cut), NULL
};

static const sbxi_field sbxi_status_fields[] = {
    SBXI_FIELD("status", SBXI_F_TEXT, sbx_status_info, status_text),
    SBXI_FIELD("status_message", SBXI_F_TEXT, sbx_status_info, status_message),
};

const sbxi_model sbxi_status_model = {
    sbxi_status_fields, SBXI_COUNT(sbxi_status_fields), false, SBXI_NO_MINUS(sbx_status_info), offsetof(sbx_status_info, cut), NULL
};

#define SBXI_PAGE(name, kind, member) SBXI_FIELD(name, kind, sbxi_page, member)

/* The arrays have no member of their own: `truncated` only stands in. */
static const sbxi_field sbxi_page_fields[] = {
    SBXI_PAGE("items", SBXI_F_LIST, truncated),
    SBXI_PAGE("sandboxes", SBXI_F_LIST, truncated),
    SBXI_PAGE("next_cursor", SBXI_F_ID, next_cursor),
    SBXI_PAGE("offset", SBXI_F_I64, next_offset),
    SBXI_PAGE("snapshots", SBXI_F_LIST, truncated),
    SBXI_PAGE("tags", SBXI_F_LIST, truncated),
    SBXI_PAGE("registries", SBXI_F_LIST, truncated),
    SBXI_PAGE("service_urls", SBXI_F_LIST, truncated),
};

#define SBXI_PAGE_OF(item) { sbxi_page_fields, SBXI_COUNT(sbxi_page_fields), false, SBXI_NO_MINUS(sbxi_page), 0, item }

const sbxi_model sbxi_box_page_model = SBXI_PAGE_OF(&sbxi_box_model);

#define SBXI_SNAPSHOT(name, kind, member) SBXI_FIELD(name, kind, sbx_snapshot, member)

static const sbxi_field sbxi_snapshot_fields[] = {
    SBXI_SNAPSHOT("id", SBXI_F_ID, id),
    SBXI_SNAPSHOT("name", SBXI_F_ID, name),
    SBXI_SNAPSHOT("status", SBXI_F_TEXT, status_text),
    SBXI_SNAPSHOT("fs_capacity_bytes", SBXI_F_I64, fs_capacity_bytes),
    SBXI_SNAPSHOT("docker_image", SBXI_F_TEXT, docker_image),
    SBXI_SNAPSHOT("image_digest", SBXI_F_TEXT, image_digest),
    SBXI_SNAPSHOT("source_sandbox_id", SBXI_F_TEXT, source_sandbox_id),
    SBXI_SNAPSHOT("status_message", SBXI_F_TEXT, status_message),
    SBXI_SNAPSHOT("fs_used_bytes", SBXI_F_I64, fs_used_bytes),
    SBXI_SNAPSHOT("created_by", SBXI_F_TEXT, created_by),
    SBXI_SNAPSHOT("registry_id", SBXI_F_TEXT, registry_id),
    SBXI_SNAPSHOT("created_at", SBXI_F_TIME, created_ms),
    SBXI_SNAPSHOT("updated_at", SBXI_F_TIME, updated_ms),
    SBXI_SNAPSHOT("memory_snapshot_size_bytes", SBXI_F_I64, memory_bytes),
};

const sbxi_model sbxi_snapshot_model = {
    sbxi_snapshot_fields, SBXI_COUNT(sbxi_snapshot_fields), false, SBXI_MINUS(sbx_snapshot, fs_capacity_bytes, memory_bytes), offsetof(sbx_snapshot, cut), NULL
};
const sbxi_model sbxi_snapshot_page_model = SBXI_PAGE_OF(&sbxi_snapshot_model);

static const sbxi_field sbxi_tag_fields[] = {
    SBXI_FIELD("snapshot_id", SBXI_F_ID, sbx_snapshot_tag, snapshot_id),
    SBXI_FIELD("tag", SBXI_F_ID, sbx_snapshot_tag, tag),
};
static const sbxi_model sbxi_tag_model = { sbxi_tag_fields, SBXI_COUNT(sbxi_tag_fields), false, SBXI_NO_MINUS(sbx_snapshot_tag), 0, NULL };
const sbxi_model sbxi_snapshot_tags_model = SBXI_PAGE_OF(&sbxi_tag_model);

#define SBXI_REGISTRY(name, kind, member) SBXI_FIELD(name, kind, sbx_registry, member)

static const sbxi_field sbxi_registry_fields[] = {
    SBXI_REGISTRY("id", SBXI_F_ID, id),
    SBXI_REGISTRY("name", SBXI_F_ID, name),
    SBXI_REGISTRY("url", SBXI_F_TEXT, url),
    SBXI_REGISTRY("created_at", SBXI_F_TIME, created_ms),
    SBXI_REGISTRY("created_by", SBXI_F_TEXT, created_by),
    SBXI_REGISTRY("updated_at", SBXI_F_TIME, updated_ms),
    SBXI_REGISTRY("updated_by", SBXI_F_TEXT, updated_by),
    SBXI_REGISTRY("auth_type", SBXI_F_TEXT, auth_type),
    SBXI_REGISTRY("aws_role_arn", SBXI_F_TEXT, aws_role_arn),
};
const sbxi_model sbxi_registry_model = {
    sbxi_registry_fields, SBXI_COUNT(sbxi_registry_fields), false, SBXI_NO_MINUS(sbx_registry), offsetof(sbx_registry, cut), NULL
};
const sbxi_model sbxi_registry_page_model = SBXI_PAGE_OF(&sbxi_registry_model);

static const sbxi_field sbxi_match_fields[] = {
    SBXI_FIELD("path", SBXI_F_ID, sbx_match, path),
    SBXI_FIELD("is_dir", SBXI_F_BOOL, sbx_match, is_dir),
    SBXI_FIELD("size_bytes", SBXI_F_I64, sbx_match, size),
    SBXI_FIELD("modified_at", SBXI_F_TIME, sbx_match, modified_ms),
    SBXI_FIELD("line", SBXI_F_I64, sbx_match, line),
    SBXI_FIELD("text", SBXI_F_TEXT, sbx_match, text),
};

static const sbxi_model sbxi_match_model = {
    sbxi_match_fields, SBXI_COUNT(sbxi_match_fields), false, SBXI_MINUS(sbx_match, size, size), offsetof(sbx_match, cut), NULL
};

static const sbxi_field sbxi_match_page_fields[] = {
    SBXI_PAGE("matches", SBXI_F_LIST, truncated),
    SBXI_PAGE("truncated", SBXI_F_BOOL, truncated),
};

const sbxi_model sbxi_match_page_model = {
    sbxi_match_page_fields, SBXI_COUNT(sbxi_match_page_fields), false, SBXI_NO_MINUS(sbxi_page), 0, &sbxi_match_model
};

static const sbxi_field sbxi_exec_fields[] = {
    SBXI_FIELD("stdout", SBXI_F_SINK, sbxi_exec, out),
    SBXI_FIELD("stderr", SBXI_F_SINK, sbxi_exec, err),
    SBXI_FIELD("exit_code", SBXI_F_INT, sbxi_exec, exit_code),
};

const sbxi_model sbxi_exec_model = {
    sbxi_exec_fields, SBXI_COUNT(sbxi_exec_fields), false, SBXI_MINUS(sbxi_exec, exit_code, exit_code), 0, NULL
};

/* Both calls that grant a URL. */
static const sbxi_field sbxi_grant_fields[] = {
    SBXI_FIELD("browser_url", SBXI_F_SINK, sbxi_grant, link),
    SBXI_FIELD("service_url", SBXI_F_ID, sbxi_grant, url),
    SBXI_FIELD("download_url", SBXI_F_SINK, sbxi_grant, link),
    SBXI_FIELD("token", SBXI_F_SINK, sbxi_grant, token),
    SBXI_FIELD("expires_at", SBXI_F_TIME, sbxi_grant, expires_ms),
};

const sbxi_model sbxi_grant_model = {
    sbxi_grant_fields, SBXI_COUNT(sbxi_grant_fields), false, SBXI_NO_MINUS(sbxi_grant), 0, NULL
};

#define SBXI_PORT(name, kind, member) SBXI_FIELD(name, kind, sbx_shared_port, member)

static const sbxi_field sbxi_port_fields[] = {
    SBXI_PORT("port", SBXI_F_INT, port),
    SBXI_PORT("access", SBXI_F_TEXT, access_text),
    SBXI_PORT("created_at", SBXI_F_TIME, created_ms),
    SBXI_PORT("expires_at", SBXI_F_TIME, expires_ms),
    SBXI_PORT("created_by", SBXI_F_TEXT, created_by),
};
static const sbxi_model sbxi_port_model = {
    sbxi_port_fields, SBXI_COUNT(sbxi_port_fields), false, SBXI_NO_MINUS(sbx_shared_port), offsetof(sbx_shared_port, cut), NULL
};
const sbxi_model sbxi_port_page_model = SBXI_PAGE_OF(&sbxi_port_model);

/* {"detail":{"error","message"}}, {"detail":[{"loc","msg","type"}]},
   {"detail":TEXT} and the daemon's flat form: the names say enough wherever
   they stand. */
static const sbxi_field sbxi_failure_fields[] = {
    SBXI_FIELD("error", SBXI_F_TEXT, sbxi_failure, type),
    SBXI_FIELD("message", SBXI_F_TEXT, sbxi_failure, text),
    SBXI_FIELD("detail", SBXI_F_TEXT, sbxi_failure, text),
    SBXI_FIELD("msg", SBXI_F_TEXTS, sbxi_failure, text),
    SBXI_FIELD("type", SBXI_F_TEXT, sbxi_failure, type),
    SBXI_FIELD("loc", SBXI_F_WORDS, sbxi_failure, field),
    SBXI_FIELD("error_id", SBXI_F_TEXT, sbxi_failure, error_id),
};

const sbxi_model sbxi_failure_model = {
    sbxi_failure_fields, SBXI_COUNT(sbxi_failure_fields), true, SBXI_NO_MINUS(sbxi_failure), offsetof(sbxi_failure, cut), NULL
};

/* ---- requests ---- */

#define SBXI_PARAM(name, option, kind, type, member, arg, sub) { SBXI_PARAM_NAMES(name, option), kind, 0, (uint16_t)offsetof(type, member), SBXI_ARG(arg), sub }
#define SBXI_CLEARABLE(name, option, kind, type, member, arg, sub, bit) { SBXI_PARAM_NAMES(name, option), kind, bit, (uint16_t)offsetof(type, member), SBXI_ARG(arg), sub }

static const sbxi_param sbxi_run_config_params[] = {
    SBXI_PARAM("user", "user", SBXI_P_STR, sbx_run_config, user, 0, NULL),
    SBXI_PARAM("work_dir", "work_dir", SBXI_P_STR, sbx_run_config, work_dir, 0, NULL),
    SBXI_PARAM("env_vars", "env", SBXI_P_PAIRS, sbx_run_config, env, 0, NULL),
};
static const sbxi_schema sbxi_run_config_schema = { sbxi_run_config_params, SBXI_COUNT(sbxi_run_config_params), 0 };

#define SBXI_CREATE(name, option, kind, member, arg, sub) SBXI_PARAM(name, option, kind, sbx_create_opts, member, arg, sub)

/* `timeout` first: without waiting it is left out. */
static const sbxi_param sbxi_create_params[] = {
    SBXI_CREATE("timeout", "wait_s", SBXI_P_SECONDS, wait_s, 30, NULL),
    SBXI_CREATE("wait_for_ready", "no_wait", SBXI_P_NOT, no_wait, 0, NULL),
    SBXI_CREATE("snapshot", "snapshot", SBXI_P_STR, snapshot, 0, NULL),
    SBXI_CREATE("snapshot_name", "snapshot_name", SBXI_P_STR, snapshot_name, 0, NULL),
    SBXI_CREATE("snapshot_id", "snapshot_id", SBXI_P_STR, snapshot_id, 0, NULL),
    SBXI_CREATE("name", "name", SBXI_P_STR, name, 0, NULL),
    SBXI_CREATE("idle_ttl_seconds", "idle_ttl_s", SBXI_P_TTL, idle_ttl_s, 0, NULL),
    SBXI_CREATE("delete_after_stop_seconds", "delete_after_stop_s", SBXI_P_TTL, delete_after_stop_s, 2592000, NULL),
    SBXI_CREATE("vcpus", "vcpus", SBXI_P_I64, vcpus, 0, NULL),
    SBXI_CREATE("mem_bytes", "mem_bytes", SBXI_P_I64, mem_bytes, 0, NULL),
    SBXI_CREATE("fs_capacity_bytes", "fs_capacity_bytes", SBXI_P_I64, fs_capacity_bytes, 0, NULL),
    SBXI_CREATE("cpu_millicores", "cpu_millicores", SBXI_P_I64, cpu_millicores, 0, NULL),
    SBXI_CREATE("run_config", "run_config", SBXI_P_OBJECT, run_config, 0, &sbxi_run_config_schema),
    SBXI_CREATE("env_vars", "env", SBXI_P_PAIRS, env, 0, NULL),
    SBXI_CREATE("labels", "labels", SBXI_P_PAIRS, labels, 0, NULL),
    SBXI_CREATE("tag_value_ids", "tag_value_ids", SBXI_P_STRS, tag_value_ids, 0, NULL),
    SBXI_CREATE("preserve_memory_on_stop", "preserve_memory_on_stop", SBXI_P_TRI, preserve_memory_on_stop, 0, NULL),
    SBXI_CREATE("restore_memory", "restore_memory", SBXI_P_TRI, restore_memory, 0, NULL),
    SBXI_CREATE("mount_config", "mount_config", SBXI_P_RAW, mount_config, 0, NULL),
    SBXI_CREATE("proxy_config", "proxy_config", SBXI_P_RAW, proxy_config, 0, NULL),
    SBXI_CREATE("access_delegation", "access_delegation", SBXI_P_RAW, access_delegation, 0, NULL),
#if !SBX_NO_LEGACY
    SBXI_CREATE("template_name", "template_name", SBXI_P_STR, template_name, 0, NULL),
    SBXI_CREATE("ttl_seconds", "ttl_s", SBXI_P_TTL, ttl_s, 0, NULL),
#endif
};
const sbxi_schema sbxi_create_schema = { sbxi_create_params, SBXI_COUNT(sbxi_create_params), 0 };
const sbxi_schema sbxi_create_no_wait_schema = { sbxi_create_params + 1, SBXI_COUNT(sbxi_create_params) - 1, 0 };

#define SBXI_UPDATE(name, option, kind, member, sub) SBXI_PARAM(name, option, kind, sbx_update_opts, member, 0, sub)

static const sbxi_param sbxi_update_params[] = {
    SBXI_UPDATE("name", "name", SBXI_P_STR, name, NULL),
    SBXI_UPDATE("idle_ttl_seconds", "idle_ttl_s", SBXI_P_TTL, idle_ttl_s, NULL),
    SBXI_PARAM("delete_after_stop_seconds", "delete_after_stop_s", SBXI_P_TTL, sbx_update_opts, delete_after_stop_s, 2592000, NULL),
#if !SBX_NO_LEGACY
    SBXI_UPDATE("ttl_seconds", "ttl_s", SBXI_P_TTL, ttl_s, NULL),
#endif
    SBXI_UPDATE("vcpus", "vcpus", SBXI_P_I64, vcpus, NULL),
    SBXI_UPDATE("mem_bytes", "mem_bytes", SBXI_P_I64, mem_bytes, NULL),
    SBXI_UPDATE("fs_capacity_bytes", "fs_capacity_bytes", SBXI_P_I64, fs_capacity_bytes, NULL),
    SBXI_UPDATE("cpu_millicores", "cpu_millicores", SBXI_P_I64, cpu_millicores, NULL),
    SBXI_CLEARABLE("run_config", "run_config", SBXI_P_OBJECT, sbx_update_opts, run_config, 0, &sbxi_run_config_schema, SBX_CLEAR_RUN_CONFIG),
    SBXI_CLEARABLE("proxy_config", "proxy_config", SBXI_P_RAW, sbx_update_opts, proxy_config, 0, NULL, SBX_CLEAR_PROXY_CONFIG),
    SBXI_CLEARABLE("tag_value_ids", "tag_value_ids", SBXI_P_STRS, sbx_update_opts, tag_value_ids, 0, NULL, SBX_CLEAR_TAGS),
};
const sbxi_schema sbxi_update_schema = { sbxi_update_params, SBXI_COUNT(sbxi_update_params), offsetof(sbx_update_opts, clear_mask) };

#define SBXI_MAKE(name, option, kind, member, sub) SBXI_PARAM(name, option, kind, sbx_snapshot_opts, member, 0, sub)

/* A build begins with what it alone has, a capture ends with that. */
static const sbxi_param sbxi_snapshot_params[] = {
    SBXI_MAKE("registry_id", "registry_id", SBXI_P_STR, registry_id, NULL),
    SBXI_MAKE("registry_url", "registry_url", SBXI_P_STR, registry_url, NULL),
    SBXI_MAKE("registry_username", "registry_username", SBXI_P_STR, registry_username, NULL),
    SBXI_MAKE("registry_password", "registry_password", SBXI_P_STR, registry_password, NULL),
    SBXI_MAKE("fs_capacity_bytes", "fs_capacity_bytes", SBXI_P_I64, fs_capacity_bytes, NULL),
    SBXI_MAKE("run_config", "run_config", SBXI_P_OBJECT, run_config, &sbxi_run_config_schema),
    SBXI_MAKE("labels", "labels", SBXI_P_PAIRS, labels, NULL),
    SBXI_MAKE("tag", "tag", SBXI_P_STR, tag, NULL),
    SBXI_MAKE("docker_image", "docker_image", SBXI_P_STR, docker_image, NULL),
    SBXI_MAKE("checkpoint", "checkpoint", SBXI_P_STR, checkpoint, NULL),
    SBXI_MAKE("include_memory", "include_memory", SBXI_P_BOOL, include_memory, NULL),
};
const sbxi_schema sbxi_snapshot_build_schema = { sbxi_snapshot_params, 8, 0 };
const sbxi_schema sbxi_snapshot_capture_schema = { sbxi_snapshot_params + 4, SBXI_COUNT(sbxi_snapshot_params) - 4, 0 };

#define SBXI_REGISTRYP(name, option, member) SBXI_PARAM(name, option, SBXI_P_STR, sbx_registry_opts, member, 0, NULL)

/* `url` first: a create writes it itself. */
static const sbxi_param sbxi_registry_params[] = {
    SBXI_REGISTRYP("url", "url", url),
    SBXI_REGISTRYP("username", "username", username),
    SBXI_REGISTRYP("password", "password", password),
    SBXI_REGISTRYP("auth_type", "auth_type", auth_type),
    SBXI_REGISTRYP("aws_role_arn", "aws_role_arn", aws_role_arn),
};
const sbxi_schema sbxi_registry_update_schema = { sbxi_registry_params, SBXI_COUNT(sbxi_registry_params), 0 };
const sbxi_schema sbxi_registry_create_schema = { sbxi_registry_params + 1, SBXI_COUNT(sbxi_registry_params) - 1, 0 };

#define SBXI_LISTP(name, option, kind, member) SBXI_PARAM(name, option, kind, sbx_list_opts, member, 0, NULL)

static const sbxi_param sbxi_list_params[] = {
    SBXI_LISTP("name_contains", "name_contains", SBXI_P_STR, name_contains),
    SBXI_LISTP("status", "status", SBXI_P_STR, status),
    SBXI_LISTP("sort_by", "sort_by", SBXI_P_STR, sort_by),
    SBXI_LISTP("sort_direction", "sort_direction", SBXI_P_STR, sort_direction),
    SBXI_LISTP("sort_order", "sort_order", SBXI_P_STR, sort_order),
    SBXI_LISTP("created_by", "created_by", SBXI_P_STR, created_by),
    SBXI_LISTP("label", "labels", SBXI_P_STRS, labels),
    SBXI_LISTP("limit", "limit", SBXI_P_INT, limit),
    SBXI_LISTP("page_size", "page_size", SBXI_P_INT, page_size),
};
const sbxi_schema sbxi_list_schema = { sbxi_list_params, SBXI_COUNT(sbxi_list_params), 0 };

#define SBXI_RUNP(name, option, kind, member, arg, sub) SBXI_PARAM(name, option, kind, sbx_run_opts, member, arg, sub)

/* Both forms of a command begin with what HTTP's /execute takes, whose name
   for the time limit differs. */
static const sbxi_param sbxi_execute_params[] = {
    SBXI_RUNP("timeout", "timeout_s", SBXI_P_SECONDS, timeout_s, 60, NULL),
    SBXI_RUNP("cwd", "cwd", SBXI_P_STR, cwd, 0, NULL),
    SBXI_RUNP("env", "env", SBXI_P_PAIRS, env, 0, NULL),
    SBXI_RUNP("run_config", "run_config", SBXI_P_OBJECT, run_config, 0, &sbxi_run_config_schema),
    SBXI_RUNP("timeout_seconds", "timeout_s", SBXI_P_SECONDS, timeout_s, 60, NULL),
    SBXI_RUNP("idle_timeout_seconds", "idle_timeout_s", SBXI_P_LIFE, idle_timeout_s, 300, NULL),
    SBXI_RUNP("ttl_seconds", "ttl_s", SBXI_P_LIFE, ttl_s, 600, NULL),
    SBXI_RUNP("kill_on_disconnect", "kill_on_disconnect", SBXI_P_FLAG, kill_on_disconnect, 0, NULL),
    SBXI_RUNP("pty", "pty", SBXI_P_BOOL, pty, 0, NULL),
#if !SBX_NO_SSH_AGENT
    SBXI_RUNP("ssh_agent_forward", "ssh_agent_forward", SBXI_P_BOOL, ssh_agent_forward, 0, NULL),
#endif
};
const sbxi_schema sbxi_execute_http_schema = { sbxi_execute_params, 4, 0 };
const sbxi_schema sbxi_execute_sse_schema = { sbxi_execute_params + 1, 6, 0 };
const sbxi_schema sbxi_execute_ws_schema = { sbxi_execute_params + 1, SBXI_COUNT(sbxi_execute_params) - 1, 0 };

/* Only over SSE. */
static const sbxi_param sbxi_sse_params[] = {
    SBXI_RUNP("command", "argv", SBXI_P_ARGV, argv, 0, NULL),
    SBXI_RUNP("stdin", "stdin_data", SBXI_P_BASE64, stdin_data, 0, NULL),
};
const sbxi_schema sbxi_sse_schema = { sbxi_sse_params, SBXI_COUNT(sbxi_sse_params), 0 };

#define SBXI_FIND(name, option, kind, member) SBXI_PARAM(name, option, kind, sbx_find_opts, member, 0, NULL)

static const sbxi_param sbxi_find_params[] = {
    SBXI_FIND("glob", "glob", SBXI_P_STR, glob),
    SBXI_FIND("limit", "limit", SBXI_P_INT, limit),
};
const sbxi_schema sbxi_find_schema = { sbxi_find_params, SBXI_COUNT(sbxi_find_params), 0 };

static const sbxi_param sbxi_download_params[] = {
    SBXI_PARAM("expires_in_seconds", "expires_in_s", SBXI_P_INT, sbx_download_opts, expires_in_s, 0, NULL),
    SBXI_PARAM("content_type", "content_type", SBXI_P_STR, sbx_download_opts, content_type, 0, NULL),
};
const sbxi_schema sbxi_download_schema = { sbxi_download_params, SBXI_COUNT(sbxi_download_params), 0 };

/* ---- what failing answers mean ---- */

#define SBXI_RULE(status, code, resource, type) { status, code, resource, type }

static const sbxi_rule sbxi_control_rule_list[] = {
    SBXI_RULE(401, SBX_ERR_AUTH, 0, NULL),
    SBXI_RULE(403, SBX_ERR_AUTH, 0, NULL),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL),
    SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL),
    SBXI_RULE(422, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(429, SBX_ERR_QUOTA, 0, NULL),
    SBXI_RULE(400, SBX_ERR_NOT_READY, 0, "NotReady"),
    SBXI_RULE(400, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(502, SBX_ERR_CONNECTION, 0, "ConnectionError"),
};

static bool sbxi_has_word(const char *text, const char *word)
{
    for (; *text; text++) {
        size_t i = 0;

        while (word[i] && sbxi_lower(text[i]) == word[i])
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

/* The service tells quotas apart in words only. */
static void sbxi_refine_quota(sbxi_op *op)
{
    static const struct {
        const char *word;
        uint8_t counted, quota;
    } quotas[] = {
        { "sandbox", 1, SBX_QUOTA_SANDBOX_COUNT }, { "cpu", 0, SBX_QUOTA_CPU }, { "memory", 0, SBX_QUOTA_MEMORY },
        { "volume", 1, SBX_QUOTA_VOLUME_COUNT }, { "storage", 0, SBX_QUOTA_STORAGE },
    };
    const char *text = op->block && op->fail.has_text ? op->block->failure.text : "";
    bool counted = sbxi_has_word(text, "count") || sbxi_has_word(text, "limit");

    for (unsigned i = 0; i < SBXI_COUNT(quotas) && op->fail.code == SBX_ERR_QUOTA; i++) {
        if ((quotas[i].counted && !counted) || !sbxi_has_word(text, quotas[i].word))
            continue;
        op->fail.quota = quotas[i].quota;
        return;
    }
}

const sbxi_rules sbxi_control_rules = { sbxi_control_rule_list, SBXI_COUNT(sbxi_control_rule_list), NULL, sbxi_refine_quota };

/* A server's words for a path that it does not know say less than our own. */
static bool sbxi_is_unknown_path(const sbxi_op *op)
{
    const sbxi_failure *f = op->block ? &op->block->failure : NULL;

    return op->fail.status == 404 && f && !f->type[0] && (!f->text[0] || sbxi_eq_nocase(sbx_s(f->text), sbx_s("Not Found")));
}

/* 404 for a collection's own path. */
SBXI_FN void sbxi_refine_endpoint(sbxi_op *op)
{
    if (!sbxi_is_unknown_path(op))
        return;
    op->fail.code = SBX_ERR_NO_ENDPOINT;
    op->fail.resource = op->row->resource;
    op->fail.has_text = false;
    op->fail.text = SBXI_T("the server has no such path: check the endpoint (LANGSMITH_ENDPOINT is the server alone, /v2/sandboxes is put behind it; `endpoint` is the whole URL), or its API is of another generation");
}

static const sbxi_rule sbxi_list_rule_list[] = { SBXI_RULE(404, SBX_ERR_NO_ENDPOINT, 0, NULL) };
const sbxi_rules sbxi_list_rules = { sbxi_list_rule_list, SBXI_COUNT(sbxi_list_rule_list), &sbxi_control_rules, sbxi_refine_endpoint };

static const sbxi_rule sbxi_made_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL) };
const sbxi_rules sbxi_made_rules = { sbxi_made_rule_list, SBXI_COUNT(sbxi_made_rule_list), &sbxi_control_rules, sbxi_refine_endpoint };

/* 422 is the sandbox that failed, unless it names a part of the request. */
static const sbxi_rule sbxi_create_rule_list[] = {
#if !SBX_NO_LEGACY
    SBXI_RULE(0, SBX_ERR_NOT_FOUND, SBX_RESOURCE_TEMPLATE, "TemplateNotFound"),
#endif
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SNAPSHOT, NULL),
    SBXI_RULE(408, SBX_ERR_TIMEOUT, 0, NULL),
    SBXI_RULE(422, SBX_ERR_VALIDATION, 0, "value_error"),
    SBXI_RULE(422, SBX_ERR_CREATION, 0, NULL),
    SBXI_RULE(503, SBX_ERR_CREATION, 0, NULL),
};

static void sbxi_refine_creation(sbxi_op *op)
{
    sbxi_refine_endpoint(op);
    if (!SBX_NO_LEGACY && op->fail.status == 404 && op->block && op->fail.has_text && sbxi_has_word(op->block->failure.text, "template"))
        op->fail.resource = SBX_RESOURCE_TEMPLATE; /* older servers tell it in words only */
    if (op->fail.status == 422 && op->block && op->block->failure.field[0])
        op->fail.code = SBX_ERR_VALIDATION;
    if (op->fail.status == 503 && op->block && op->fail.has_text && !op->block->failure.type[0])
        sbxi_copy_z(op->block->failure.type, sizeof op->block->failure.type, "Unschedulable");
}
const sbxi_rules sbxi_create_rules = { sbxi_create_rule_list, SBXI_COUNT(sbxi_create_rule_list), &sbxi_control_rules, sbxi_refine_creation };

static const sbxi_rule sbxi_update_rule_list[] = {
    SBXI_RULE(400, SBX_ERR_NOT_READY, 0, "InvalidRequest"),
    SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL),
};
const sbxi_rules sbxi_update_rules = { sbxi_update_rule_list, SBXI_COUNT(sbxi_update_rule_list), &sbxi_control_rules, NULL };

/* A path that the server does not know at all is no missing thing. The words
   are those of its framework, the service's own errors have a type. */
static void sbxi_refine_path(sbxi_op *op)
{
    if (op->block && strcmp(op->block->failure.text, "Not Found") == 0)
        sbxi_refine_endpoint(op);
}

static const sbxi_rule sbxi_named_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL) };
const sbxi_rules sbxi_named_rules = { sbxi_named_rule_list, SBXI_COUNT(sbxi_named_rule_list), &sbxi_control_rules, sbxi_refine_path };

static const sbxi_rule sbxi_drop_rule_list[] = { SBXI_RULE(409, SBX_ERR_IN_USE, 0, NULL) };
const sbxi_rules sbxi_drop_rules = { sbxi_drop_rule_list, SBXI_COUNT(sbxi_drop_rule_list), &sbxi_named_rules, NULL };

/* What a build or capture may not find, or pull. */
static const sbxi_rule sbxi_build_image_rule_list[] = { SBXI_RULE(422, SBX_ERR_CREATION, 0, "ImagePull") };
static const sbxi_rules sbxi_build_image_rules = { sbxi_build_image_rule_list, SBXI_COUNT(sbxi_build_image_rule_list), &sbxi_control_rules, NULL };
static const sbxi_rule sbxi_build_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_REGISTRY, NULL) };
const sbxi_rules sbxi_snapshot_build_rules = { sbxi_build_rule_list, SBXI_COUNT(sbxi_build_rule_list), &sbxi_build_image_rules, sbxi_refine_endpoint };
static const sbxi_rule sbxi_capture_rule_list[] = { SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, NULL) };
const sbxi_rules sbxi_snapshot_capture_rules = { sbxi_capture_rule_list, SBXI_COUNT(sbxi_capture_rule_list), &sbxi_build_image_rules, sbxi_refine_path };

static const sbxi_rule sbxi_data_rule_list[] = {
    SBXI_RULE(401, SBX_ERR_AUTH, 0, NULL),
    SBXI_RULE(403, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound"),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL),
    SBXI_RULE(0, SBX_ERR_NOT_FOUND, SBX_RESOURCE_FILE, "FileNotFound"),
    SBXI_RULE(416, SBX_ERR_RANGE, 0, NULL),
    SBXI_RULE(412, SBX_ERR_CHANGED, 0, NULL),
    SBXI_RULE(502, SBX_ERR_CONNECTION, 0, "ConnectionError"),
    SBXI_RULE(400, SBX_ERR_NOT_READY, 0, "NotReady"),
    SBXI_RULE(503, SBX_ERR_NOT_READY, 0, "ServiceUnavailable"),
    SBXI_RULE(0, SBX_ERR_OPERATION, 0, "WriteError"),
    SBXI_RULE(0, SBX_ERR_OPERATION, 0, "ReadError"),
    SBXI_RULE(0, SBX_ERR_OPERATION, 0, "CommandError"),
    SBXI_RULE(0, SBX_ERR_COMMAND_TIMEOUT, SBX_RESOURCE_COMMAND, "CommandTimeout"),
    SBXI_RULE(400, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL),
    SBXI_RULE(422, SBX_ERR_VALIDATION, 0, NULL),
    SBXI_RULE(429, SBX_ERR_QUOTA, 0, NULL),
};
const sbxi_rules sbxi_data_rules = { sbxi_data_rule_list, SBXI_COUNT(sbxi_data_rule_list), NULL, sbxi_refine_quota };

/* Older servers know no search. */
static const sbxi_rule sbxi_find_rule_list[] = {
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound"),
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, 0, NULL),
};
const sbxi_rules sbxi_find_rules = { sbxi_find_rule_list, SBXI_COUNT(sbxi_find_rule_list), &sbxi_data_rules, sbxi_refine_path };

/* A link has no key that could be wrong, but an end. */
static const sbxi_rule sbxi_fetch_rule_list[] = {
    SBXI_RULE(401, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(403, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(410, SBX_ERR_PERMISSION, 0, NULL),
    SBXI_RULE(301, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(302, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(303, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(307, SBX_ERR_UNSUPPORTED, 0, NULL),
    SBXI_RULE(308, SBX_ERR_UNSUPPORTED, 0, NULL),
};

static void sbxi_refine_fetch(sbxi_op *op)
{
    if (op->fail.code == SBX_ERR_PERMISSION)
        op->fail.text = SBXI_T("the link has expired, or is not a whole one: get a new one (sbx_download_url)");
    else if (op->fail.code == SBX_ERR_UNSUPPORTED)
        op->fail.text = SBXI_T("the server redirects, which is not followed: fetch the URL that it names");
}
const sbxi_rules sbxi_fetch_rules = { sbxi_fetch_rule_list, SBXI_COUNT(sbxi_fetch_rule_list), &sbxi_data_rules, sbxi_refine_fetch };

static const sbxi_rule sbxi_share_rule_list[] = { SBXI_RULE(409, SBX_ERR_CONFLICT, 0, NULL) };

/* The server's words come behind what to do. */
static void sbxi_refine_share(sbxi_op *op)
{
#if SBX_NO_ERROR_TEXT
    (void)op;
#else
    static const char why[] = "the port is shared in the other mode (token or login): sbx_service_close ends that. ";
    sbxi_failure *f = op->fail.has_text && op->block ? &op->block->failure : NULL;
    size_t n = f ? strlen(f->text) : 0, at = sizeof why - 1;

    if (!f)
        return;
    if (n >= sizeof f->text - at) {
        n = sbxi_utf8_cut(f->text, sizeof f->text - at - 1);
        f->cut = true;
    }
    memmove(f->text + at, f->text, n);
    memcpy(f->text, why, at);
    f->text[at + n] = 0;
#endif
}
const sbxi_rules sbxi_share_rules = { sbxi_share_rule_list, SBXI_COUNT(sbxi_share_rule_list), &sbxi_named_rules, sbxi_refine_share };

/* No such path at all: the server is older, or it is not a data plane. */
static const sbxi_rule sbxi_stream_rule_list[] = {
    SBXI_RULE(404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound"),
    SBXI_RULE(404, SBX_ERR_NO_ENDPOINT, 0, NULL),
    SBXI_RULE(200, SBX_ERR_PROTOCOL, 0, NULL), /* it did not upgrade */
};
const sbxi_rules sbxi_stream_rules = { sbxi_stream_rule_list, SBXI_COUNT(sbxi_stream_rule_list), &sbxi_data_rules, NULL };

/* ======== src/langsmith_snapshots.c ======== */

/* ---- hooks ---- */

static void sbxi_snapshot_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    sbx_snapshot *s = (sbx_snapshot *)model;

    (void)c;
    (void)op;
    if (!s->status_text[0])
        memcpy(s->status_text, "building", 9);
    s->status = sbxi_status_of(s->status_text);
}

static bool sbxi_snapshot_polled(sbx_client *c, sbxi_op *op);
static bool sbxi_snapshot_made(sbx_client *c, sbxi_op *op);

/* ---- rows ---- */

#define SBXI_SNAPSHOT_ROW SBX_RESOURCE_SNAPSHOT, 0
/* The POST answers when the work has begun, which may take a moment. */
#define SBXI_MAKE_ROW SBX_RESOURCE_SNAPSHOT, 30000

static const sbxi_row sbxi_snapshot_build_row = { "snapshot_build", "POST", "/snapshots", "", SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, SBXI_MAKE_ROW, &sbxi_snapshot_model, &sbxi_snapshot_build_rules, NULL, sbxi_snapshot_made, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_built_row = { "snapshot_build", "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_snapshot_polled, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_capture_row = { "snapshot_capture", "POST", "/boxes/", SBXI_APART("/snapshot"), SBXI_CTL_ONCE, SBXI_ANSWER_MODEL, SBXI_MAKE_ROW, &sbxi_snapshot_model, &sbxi_snapshot_capture_rules, NULL, sbxi_snapshot_made, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_captured_row = { "snapshot_capture", "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_snapshot_polled, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_wait_row = { SBXI_APART("snapshot_wait"), "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_snapshot_polled, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_get_row = { SBXI_APART("snapshot_get"), "GET", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_MODEL, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_model, &sbxi_named_rules, NULL, sbxi_model_after, sbxi_snapshot_decoded, NULL, NULL, NULL };
static const sbxi_row sbxi_snapshot_delete_row = { SBXI_APART("snapshot_delete"), "DELETE", "/snapshots/", "", SBXI_CTL, SBXI_ANSWER_NONE, SBXI_SNAPSHOT_ROW, NULL, &sbxi_drop_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL };
static const sbxi_row sbxi_snapshot_list_row = { SBXI_APART("snapshot_list"), "GET", "/snapshots", "", SBXI_CTL, SBXI_ANSWER_LIST, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_page_model, &sbxi_list_rules, NULL, sbxi_list_after, sbxi_snapshot_decoded, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_snapshot_tags_row = { SBXI_APART("snapshot_tags"), "GET", SBXI_APART("/snapshots-by-name/"), "", SBXI_CTL, SBXI_ANSWER_LIST, SBXI_SNAPSHOT_ROW, &sbxi_snapshot_tags_model, &sbxi_named_rules, NULL, sbxi_list_after, NULL, sbxi_op_item, NULL, NULL };

/* ---- waiting ---- */

static bool sbxi_snapshot_poll(sbx_client *c, sbxi_op *op, const sbxi_row *row)
{
    const sbx_snapshot *s = &op->block->answer.snapshot;

    if (op->fail.code != SBX_OK || s->status == SBX_STATUS_READY)
        return sbxi_model_after(c, op);
    return sbxi_poll(c, op, row, s->status, s->status_text, s->status_message);
}

static bool sbxi_snapshot_polled(sbx_client *c, sbxi_op *op)
{
    return sbxi_snapshot_poll(c, op, op->row);
}

/* What was just begun is asked for by its id. */
static bool sbxi_snapshot_made(sbx_client *c, sbxi_op *op)
{
    const sbx_snapshot *s = &op->block->answer.snapshot;
    bool over = op->fail.code != SBX_OK || s->status == SBX_STATUS_READY || s->status == SBX_STATUS_FAILED;

    if (!op->u.http.until)
        return sbxi_model_after(c, op);
    if (!over && !s->id[0]) {
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the server names no id for the snapshot that it makes: look for its name"));
        return false;
    }
    if (!over && !sbxi_op_resegment(c, op, sbx_s(s->id))) {
        sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("the snapshot's id does not fit: raise request_bytes"));
        return false;
    }
    return sbxi_snapshot_poll(c, op, op->row == &sbxi_snapshot_build_row ? &sbxi_snapshot_built_row : &sbxi_snapshot_captured_row);
}

/* ---- calls on snapshots ---- */

static const char *sbxi_snapshot_bad(const sbxi_row *row, const sbx_snapshot_opts *o, const char **why)
{
    bool build = row == &sbxi_snapshot_build_row;

    *why = SBXI_T("belongs to sbx_snapshot_build");
    if (!build && (o->registry_id.p || o->registry_url.p || o->registry_username.p || o->registry_password.p))
        return o->registry_id.p ? "registry_id" : o->registry_url.p ? "registry_url" : o->registry_username.p ? "registry_username" : "registry_password";
    *why = SBXI_T("belongs to sbx_snapshot_capture");
    if (build && (o->docker_image.p || o->checkpoint.p || o->include_memory))
        return o->docker_image.p ? "docker_image" : o->checkpoint.p ? "checkpoint" : "include_memory";
    *why = SBXI_T("and no_wait exclude each other");
    if (o->no_wait && o->wait_s)
        return "wait_s";
    return sbxi_labels_bad(o->labels, o->labels_n, why);
}

static sbx_op sbxi_snapshot_make(sbx_client *c, const sbxi_row *row, const sbx_box *box, sbx_str name, sbx_str image, const sbx_snapshot_opts *opts, sbx_snapshot *out)
{
    const sbx_snapshot_opts *o = opts ? opts : &sbxi_no_opts.snapshot;
    bool build = row == &sbxi_snapshot_build_row;
    const char *why, *bad;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, row, &o->call))
        return b.refused;
    bad = sbxi_snapshot_bad(row, o, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    if (!build)
        sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    sbxi_build_needed(&b, &w, "name", name, "name", 127);
    if (build)
        sbxi_build_needed(&b, &w, "docker_image", image, "image", SIZE_MAX);
    sbxi_build_opts(&b, &w, build ? &sbxi_snapshot_build_schema : &sbxi_snapshot_capture_schema, o);
    sbxi_build_json_end(&b, &w);
    sbxi_build_result(&b, out, NULL, o->raw, o->raw_n);
    if (!o->no_wait)
        sbxi_build_wait(&b, o->wait_s, 60, o->poll_ms, 2000);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_snapshot_build(sbx_client *c, sbx_str name, sbx_str image, const sbx_snapshot_opts *opts, sbx_snapshot *out)
{
    return sbxi_snapshot_make(c, &sbxi_snapshot_build_row, NULL, name, image, opts, out);
}

SBX_API sbx_op sbx_snapshot_capture(sbx_client *c, const sbx_box *box, sbx_str name, const sbx_snapshot_opts *opts, sbx_snapshot *out)
{
    return sbxi_snapshot_make(c, &sbxi_snapshot_capture_row, box, name, sbx_s(NULL), opts, out);
}

static SBXI_NOINLINE sbx_op sbxi_named_call(sbx_client *c, const sbxi_row *row, sbx_str name, const sbx_box_opts *opts, void *out)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    bool registry = row->resource == SBX_RESOURCE_REGISTRY;
    sbxi_build b;

    sbxi_name_call(&b, c, row, name, registry ? SBXI_T("name") : SBXI_T("snapshot"), o, out, NULL);
    if (row == &sbxi_snapshot_wait_row)
        sbxi_build_wait(&b, o->wait_s, 300, o->poll_ms, 2000);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_snapshot_get(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts, sbx_snapshot *out)
{
    return sbxi_named_call(c, &sbxi_snapshot_get_row, snapshot, opts, out);
}

SBX_API sbx_op sbx_snapshot_wait(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts, sbx_snapshot *out)
{
    return sbxi_named_call(c, &sbxi_snapshot_wait_row, snapshot, opts, out);
}

SBX_API sbx_op sbx_snapshot_delete(sbx_client *c, sbx_str snapshot, const sbx_box_opts *opts)
{
    return sbxi_named_call(c, &sbxi_snapshot_delete_row, snapshot, opts, NULL);
}

SBX_API sbx_op sbx_snapshot_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_snapshot_list_row, NULL, opts, out);
}

SBX_API sbx_op sbx_snapshot_tags(sbx_client *c, sbx_str name, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_snapshot_tags_row, &name, opts, out);
}

/* ---- registries ---- */

#define SBXI_ROOT SBXI_BASE_ROOT, SBXI_RETRY_SAFE
#define SBXI_REGISTRY_ROW SBX_RESOURCE_REGISTRY, 0

static const char sbxi_registries[] = "/api/v2/sandboxes/registries", sbxi_registries_of[] = "/api/v2/sandboxes/registries/";

static const sbxi_row sbxi_registry_create_row = { SBXI_APART("registry_create"), "POST", sbxi_registries, "", SBXI_BASE_ROOT, SBXI_RETRY_ONCE, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_made_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_get_row = { SBXI_APART("registry_get"), "GET", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_named_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_update_row = { "registry_update", "PATCH", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_named_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_reget_row = { "registry_update", "GET", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_MODEL, SBXI_REGISTRY_ROW, &sbxi_registry_model, &sbxi_named_rules, NULL, sbxi_model_after, NULL, NULL, NULL, NULL };
static const sbxi_row sbxi_registry_delete_row = { SBXI_APART("registry_delete"), "DELETE", sbxi_registries_of, "", SBXI_ROOT, SBXI_ANSWER_NONE, SBXI_REGISTRY_ROW, NULL, &sbxi_drop_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL };
static const sbxi_row sbxi_registry_list_row = { SBXI_APART("registry_list"), "GET", sbxi_registries, "", SBXI_ROOT, SBXI_ANSWER_LIST, SBXI_REGISTRY_ROW, &sbxi_registry_page_model, &sbxi_list_rules, NULL, sbxi_list_after, NULL, sbxi_op_item, NULL, NULL };

static sbx_op sbxi_registry_write(sbx_client *c, const sbxi_row *row, sbx_str name, const sbx_registry_opts *opts, sbx_registry *out)
{
    const sbx_registry_opts *o = opts ? opts : &sbxi_no_opts.registry;
    bool create = row == &sbxi_registry_create_row;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, row, &o->call))
        return b.refused;
    if (!create)
        sbxi_build_name(&b, name, "name");
    sbxi_build_headers(&b, &o->call);
    sbxi_build_json(&b, &w);
    if (create || o->name.p)
        sbxi_build_needed(&b, &w, "name", o->name, "name", 127);
    if (create)
        sbxi_build_needed(&b, &w, "url", o->url, "url", SIZE_MAX);
    sbxi_build_opts(&b, &w, create ? &sbxi_registry_create_schema : &sbxi_registry_update_schema, o);
    sbxi_build_json_end(&b, &w);
    if (!create)
        sbxi_build_or_get(&b, &sbxi_registry_reget_row);
    sbxi_build_result(&b, out, NULL, o->raw, o->raw_n);
    return sbxi_build_end(&b);
}

SBX_API sbx_op sbx_registry_create(sbx_client *c, const sbx_registry_opts *opts, sbx_registry *out)
{
    return sbxi_registry_write(c, &sbxi_registry_create_row, sbx_s(NULL), opts, out);
}

SBX_API sbx_op sbx_registry_update(sbx_client *c, sbx_str name, const sbx_registry_opts *opts, sbx_registry *out)
{
    return sbxi_registry_write(c, &sbxi_registry_update_row, name, opts, out);
}

SBX_API sbx_op sbx_registry_get(sbx_client *c, sbx_str name, const sbx_box_opts *opts, sbx_registry *out)
{
    return sbxi_named_call(c, &sbxi_registry_get_row, name, opts, out);
}

SBX_API sbx_op sbx_registry_delete(sbx_client *c, sbx_str name, const sbx_box_opts *opts)
{
    return sbxi_named_call(c, &sbxi_registry_delete_row, name, opts, NULL);
}

SBX_API sbx_op sbx_registry_list(sbx_client *c, const sbx_list_opts *opts, sbx_list_result *out)
{
    return sbxi_list_call(c, &sbxi_registry_list_row, NULL, opts, out);
}

/* ======== src/langsmith_sse.c ======== */

#if !SBX_NO_SSE
/* Commands over DP/execute/stream/start and /resume. An event's data is a
   message as the WebSocket has it, but that its output is base64. What the
   caller received is told by the next request; until then the server keeps it,
   and the command waits when it has no more room. */

/* How long the end of an answer is waited for that asks for an
   acknowledgement: with it, its connection serves the next request. */
#define SBXI_SSE_END_MS 1000

static void sbxi_sse_prepare(sbx_client *c, sbxi_op *op);
static sbxi_run sbxi_sse_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
static void sbxi_sse_refine(sbxi_op *op);
static void sbxi_sse_decoded(sbx_client *c, sbxi_op *op, void *what);
static bool sbxi_sse_failed(sbx_client *c, sbxi_op *op);

/* A 404 that names no command or sandbox is of the path itself. */
static const sbxi_rule sbxi_sse_rule_list[] = {
    { 404, SBX_ERR_COMMAND_NOT_FOUND, SBX_RESOURCE_COMMAND, "CommandNotFound" },
    { 404, SBX_ERR_NOT_FOUND, SBX_RESOURCE_SANDBOX, "ResourceNotFound" },
    { 404, SBX_ERR_NO_ENDPOINT, 0, NULL },
    { 409, SBX_ERR_UNSUPPORTED, SBX_RESOURCE_COMMAND, "TransportMismatch" },
    { 409, SBX_ERR_UNSUPPORTED, SBX_RESOURCE_COMMAND, "PTYUnsupported" },
    { 0, SBX_ERR_RANGE, SBX_RESOURCE_COMMAND, "ReadOffsetUnavailable" },
    { 0, SBX_ERR_RANGE, SBX_RESOURCE_COMMAND, "InvalidOffset" },
    { 0, SBX_ERR_SESSION_EXPIRED, SBX_RESOURCE_COMMAND, "SessionExpired" },
    { 200, SBX_ERR_PROTOCOL, 0, NULL },
};
static const sbxi_rules sbxi_sse_rules = { sbxi_sse_rule_list, SBXI_COUNT(sbxi_sse_rule_list), &sbxi_data_rules, sbxi_sse_refine };

#define SBXI_SSE_ROW(path) \
    { "command", "POST", path, "", SBXI_BASE_BOX, SBXI_RETRY_ONCE, SBXI_ANSWER_EVENTS, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_sse_rules, \
      sbxi_sse_prepare, NULL, sbxi_sse_decoded, sbxi_sse_run, sbxi_sse_failed, sbxi_stream_finished }
static const sbxi_row sbxi_sse_start_row = SBXI_SSE_ROW(SBXI_APART("/execute/stream/start"));
static const sbxi_row sbxi_sse_resume_row = SBXI_SSE_ROW(SBXI_APART("/execute/stream/resume"));

/* ---- what a failing answer means ---- */

/* What to do about it, where the server's words do not say. */
static void sbxi_sse_refine(sbxi_op *op)
{
    sbxi_fail *f = &op->fail;
    bool pty = op->block && strcmp(op->block->failure.type, "PTYUnsupported") == 0;

    switch (f->code) {
    case SBX_ERR_NO_ENDPOINT: f->text = SBXI_T("the server has no commands over SSE: leave via at SBX_VIA_WS, or check the sandbox's URL"); break;
    case SBX_ERR_PROTOCOL: f->text = SBXI_T("the server did not answer with an event stream (Content-Type: text/event-stream)"); break;
    case SBX_ERR_UNSUPPORTED: f->text = pty ? SBXI_T("the server gives no terminal over SSE: use SBX_VIA_WS") : SBXI_T("the command was not started over SSE: attach to it with SBX_VIA_WS"); break;
    case SBX_ERR_COMMAND_NOT_FOUND:
        if (!sbxi_sse_lost(op))
            return;
        f->code = SBX_ERR_OUTCOME;
        f->text = SBXI_T("the answer to the command's start was lost, and the server does not know the command: it may have run, or never arrived");
        break;
    default: return;
    }
    if (op->block)
        op->block->failure.text[0] = 0;
}

/* ---- requests ---- */

static void sbxi_sse_prepare(sbx_client *c, sbxi_op *op)
{
    sbx_sse_init(&sbxi_op_link(c, op)->codec.events.sse);
    op->s.phase = SBXI_PHASE_STARTING;
    op->s.type = SBXI_T_NONE;
    op->s.hasty = true; /* until output comes */
}

/* The answer has come to its end: its connection is free for the next request. */
static void sbxi_sse_release(sbx_client *c, sbxi_op *op)
{
    sbxi_op_release_link(c, op, sbxi_op_link(c, op)->codec.http.keep_alive);
}

/* An attempt failed: how the next one begins. True: it begins at once. */
static bool sbxi_sse_again(sbx_client *c, sbxi_op *op)
{
    bool sent = op->s.started || (op->fail.layer != SBX_LAYER_SERVICE && op->flags & SBXI_OP_EVER_SENT), acked = op->s.acked;

    op->s.acked = false;
    if (sent) {
        op->row = &sbxi_sse_resume_row;
        if (op->block)
            op->block->body_n = 0;
    }
    if (!acked)
        return false;
    sbxi_stream_reset(op);
    sbxi_op_release_link(c, op, false);
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
    op->attempt_at = SBXI_NEVER;
    op->state = SBXI_OP_START;
    sbxi_op_arm(c, op);
    sbxi_op_wake(c, op);
    return true;
}

static bool sbxi_sse_failed(sbx_client *c, sbxi_op *op)
{
    return sbxi_sse_again(c, op) || sbxi_stream_failed(c, op);
}

static void sbxi_sse_drop(sbx_client *c, sbxi_op *op, const char *text)
{
    sbxi_op_set_fail(op, SBX_ERR_CONNECTION, SBX_LAYER_HTTP, text);
    op->fail.status = 0;
    sbxi_op_attempt_failed(c, op);
}

/* The server has no room for more. With nothing received since it was asked
   last, to ask again at once would go on for ever. */
static void sbxi_sse_ack(sbx_client *c, sbxi_op *op)
{
    if (op->s.hasty) {
        sbxi_sse_drop(c, op, SBXI_T("the server asked for an acknowledgement again without any output since the last"));
        return;
    }
    op->s.acked = true;
    sbxi_op_allow(c, op, SBXI_SSE_END_MS);
}

/* ---- events ---- */

/* Whether a Content-Type is that of event streams, whatever its parameters. */
static bool sbxi_is_event_stream(sbx_str type)
{
    static const char name[] = "text/event-stream";
    size_t n = sizeof name - 1;

    return type.n >= n && sbxi_eq_nocase(sbx_sn(type.p, n), sbx_sn(name, n)) && (type.n == n || type.p[n] == ';' || type.p[n] == ' ');
}

/* The text of an event's `data` as bytes, in place. */
static void sbxi_sse_decode(sbx_client *c, sbxi_op *op, sbx_json_tok *t)
{
    uint32_t *state = &op->u.command.held.out.base64;

    t->n = sbxi_base64_decode(state, t->p, t->n);
    if (*state == SBXI_BASE64_BAD || (!t->more && *state && *state != SBXI_BASE64_PADDED))
        sbxi_stream_protocol_error(c, op, SBXI_T("the server's output is not well-formed base64"));
}

static void sbxi_sse_decoded(sbx_client *c, sbxi_op *op, void *what)
{
    const sbx_http1_event *e = (const sbx_http1_event *)what;

    if (op->state == SBXI_OP_STREAM)
        sbxi_sse_decode(c, op, (sbx_json_tok *)what);
    else if (sbxi_header_is(e, "content-type") && sbxi_is_event_stream(e->value))
        op->flags |= SBXI_OP_ACCEPTED;
}

static void sbxi_sse_type(sbx_client *c, sbxi_op *op, const sbx_sse_event *e)
{
    sbx_json_tok t;
    const char *p;
    size_t n;

    if (op->s.in_message) {
        sbxi_stream_protocol_error(c, op, SBXI_T("an event of the server names its type behind its data"));
        return;
    }
    memset(&t, 0, sizeof t);
    t.p = e->p;
    t.n = e->n;
    t.more = !e->last;
    if (e->first)
        op->s.part_n = 0;
    p = sbxi_message_part(op, &t, &n);
    if (p)
        op->s.type = sbxi_message_type(p, n);
}

/* Whether the event ends in what has come, so that its parts may stand in any
   order. */
static bool sbxi_sse_is_whole(const sbx_sse *s, char *p, char *end)
{
    sbx_sse ahead = *s;
    sbx_sse_event e;

    return sbx_sse_read(&ahead, &p, end, &e) == SBX_SSE_END;
}

static sbxi_run sbxi_sse_data(sbx_client *c, sbxi_op *op, sbx_event *ev, const sbx_sse_event *e)
{
    sbx_sse *s = &sbxi_op_link(c, op)->codec.events.sse;
    char *at = e->p, *to = at + e->n, *end = op->piece + op->piece_n;
    sbxi_run r;

    if (op->s.type < SBXI_T_STDOUT || op->s.type > SBXI_T_ERROR) {
        if (op->s.type != SBXI_T_SHUTDOWN)
            return SBXI_RUN_IDLE; /* of a later version, or nothing to read */
    }
    if (e->first) {
        sbxi_message_begin(op, sbxi_sse_is_whole(s, op->piece, end));
        op->s.in_message = true;
        op->s.assuming = false;
    }
    r = sbxi_message_read(c, op, ev, &at, to);
    if (r != SBXI_RUN_IDLE && at != to) {
        sbx_sse_back(s);
        op->piece = at;
        op->piece_n = (uint32_t)(end - at);
    }
    return r;
}

/* An event is complete. */
static sbxi_run sbxi_sse_end(sbx_client *c, sbxi_op *op)
{
    sbx_json_tok t;
    sbxi_run r;

    if (!op->s.in_message) {
        bool ack = op->s.type == SBXI_T_ACK;

        op->s.type = SBXI_T_NONE;
        if (ack)
            sbxi_sse_ack(c, op);
        return SBXI_RUN_IDLE;
    }
    if (sbx_json_end(&op->u.command.json, &t) == SBX_JSON_ERROR) {
        sbxi_stream_protocol_error(c, op, SBXI_T("an event of the server is not well-formed JSON"));
        return SBXI_RUN_IDLE;
    }
    if (op->s.type == SBXI_T_SHUTDOWN) {
        sbxi_sse_drop(c, op, SBXI_T("the server is shutting down"));
        return SBXI_RUN_IDLE;
    }
    if (op->s.type == SBXI_T_EXIT && !op->piece_n) {
        sbxi_link *l = sbxi_op_link(c, op);
        sbx_http1_event e;
        sbx_http1_kind kind;

        /* Mostly the answer's end is there as well. */
        if (sbxi_exchange_next(&c->net, l, &kind, &e) == SBXI_GOT_EVENT && kind == SBX_HTTP1_DONE)
            sbxi_sse_release(c, op);
    }
    r = sbxi_message_end(c, op);
    if (!op->s.has_data)
        op->s.type = SBXI_T_NONE;
    return r;
}

static sbxi_run sbxi_sse_piece(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    char *p = op->piece, *end = p + op->piece_n;
    sbx_sse_event e;
    sbx_sse_kind kind;

    if (op->s.acked) { /* nothing behind it counts */
        op->piece_n = 0;
        return SBXI_RUN_IDLE;
    }
    kind = sbx_sse_read(&sbxi_op_link(c, op)->codec.events.sse, &p, end, &e);
    op->piece = p;
    op->piece_n = (uint32_t)(end - p);
    switch (kind) {
    case SBX_SSE_TYPE: sbxi_sse_type(c, op, &e); return SBXI_RUN_IDLE;
    case SBX_SSE_DATA: return sbxi_sse_data(c, op, ev, &e);
    case SBX_SSE_END:
        if (e.dispatch)
            return sbxi_sse_end(c, op);
        op->s.type = SBXI_T_NONE;
        return SBXI_RUN_IDLE;
    default: return SBXI_RUN_IDLE;
    }
}

static sbxi_run sbxi_sse_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    while (op->state == SBXI_OP_STREAM) {
        sbxi_link *l = sbxi_op_link(c, op);
        sbx_http1_event e;
        sbx_http1_kind kind;
        sbxi_got got;
        sbxi_run r;

        if (op->notes && ev)
            return SBXI_RUN_HELD;
        r = sbxi_stream_pending(c, op, ev);
        if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
            return r;
        if (op->flags & SBXI_OP_STREAMING && !ev && op->s.phase == SBXI_PHASE_RUNNING && !op->s.acked)
            return op->piece_n || l->rx_at < l->rx_end || l->ready & SBX_READABLE ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
        if (op->piece_n) {
            r = sbxi_sse_piece(c, op, ev);
            if (r != SBXI_RUN_IDLE)
                return r;
            continue;
        }
        got = sbxi_exchange_next(&c->net, l, &kind, &e);
        if (got == SBXI_GOT_BLOCKED)
            return SBXI_RUN_IDLE;
        if (got == SBXI_GOT_STARVED)
            return SBXI_RUN_STARVED;
        if (got == SBXI_GOT_EVENT && kind == SBX_HTTP1_BODY) {
            op->piece = (char *)e.value.p;
            op->piece_n = (uint32_t)e.value.n;
        } else if (got != SBXI_GOT_EVENT) {
            sbxi_stream_dropped(c, op, got);
        } else if (kind == SBX_HTTP1_DONE) {
            if (op->s.acked) {
                sbxi_sse_release(c, op);
                sbxi_sse_again(c, op);
            } else {
                sbxi_stream_dropped(c, op, SBXI_GOT_EOF);
            }
        }
    }
    return SBXI_RUN_IDLE;
}

static const struct sbxi_via sbxi_via_events = {
    &sbxi_sse_start_row, &sbxi_sse_resume_row, &sbxi_execute_sse_schema, &sbxi_sse_schema, NULL,
    SBXI_HAS_PTY | SBXI_HAS_INPUT | SBXI_HAS_KILL | SBXI_HAS_NO_ID | SBXI_HAS_AGENT, 0, NULL, SBXI_T("is not possible over SSE: leave via at SBX_VIA_WS")
};

SBX_API const struct sbxi_via *sbx_via_sse(void)
{
    return &sbxi_via_events;
}
#endif

/* ======== src/langsmith_stream.c ======== */

/* Server messages of DP/execute/ws. A message that lies whole in the receive
   buffer is read to its end before anything of it is delivered, so that its
   offset is known wherever it stands. A larger one streams: its offset is then
   taken as the expected one and checked when it comes. Of a member that comes
   twice the last one counts; in a message that streams, no second `data`, or
   `type` behind it, can. */

enum { SBXI_K_OTHER, SBXI_K_TYPE, SBXI_K_DATA, SBXI_K_OFFSET, SBXI_K_EXIT_CODE, SBXI_K_ERROR, SBXI_K_ERROR_TYPE, SBXI_K_COMMAND_ID, SBXI_K_PID, SBXI_K_CHANNEL_ID };

static uint8_t sbxi_which(const char *const *words, unsigned count, uint8_t none, const char *p, size_t n)
{
    for (unsigned i = 0; i < count; i++) {
        const char *w = words[i];
        size_t k = 0;

        while (k < n && w[k] == p[k] && w[k])
            k++;
        if (k == n && !w[k])
            return (uint8_t)(i + 1);
    }
    return none;
}

static const char *const sbxi_keys[] = { "type", "data", "offset", "exit_code", "error", "error_type", "command_id", "pid",
#if !SBX_NO_SSH_AGENT
    "channel_id",
#endif
};
static const char *const sbxi_types[] = { "stdout", "stderr", "started", "exit", "error", "ack_required" };

static const char sbxi_why_json[] = SBXI_T("a message of the server is not well-formed JSON");

SBXI_FN uint8_t sbxi_message_type(const char *p, size_t n)
{
    return sbxi_which(sbxi_types, SBXI_COUNT(sbxi_types), SBXI_T_OTHER, p, n);
}

/* ---- output and its offsets ---- */

/* The message's place is known (`offset`), or assumed to be the expected one.
   False: output was lost; the gap is noted. */
static bool sbxi_out_place(sbxi_op *op, unsigned stream, uint64_t offset)
{
    sbxi_out *o = &op->u.command.stream[stream];
    uint64_t expected = o->base + o->since;
    /* Below the expected one it is sent again, unless the caller has a
       replacement character that made the expected one too high. */
    bool again = !o->since || !(op->s.loose >> stream & 1);
    bool known = offset <= expected || offset - expected <= o->skip;

    if (offset <= expected) {
        if (again) {
            uint32_t back = (uint32_t)SBXI_MIN(expected - offset, UINT32_MAX - o->skip);

            /* What lies further back than is counted is dropped as if it lay
               there: its messages are shorter than 4 GiB. */
            o->skip += back;
            offset = expected - back;
        }
    } else if (known) {
        o->skip -= (uint32_t)(offset - expected);
    } else {
        op->u.command.assumed = expected + o->skip;
        o->skip = 0;
    }
    o->base = offset;
    o->since = 0;
    if (!o->skip)
        op->s.loose &= ~(1u << stream) & 3;
    return known;
}

/* n bytes of a message were decoded: what of them is new is left in *p, *n. */
static void sbxi_out_take(sbxi_op *op, unsigned stream, char **p, uint32_t *n, bool replaced)
{
    sbxi_out *o = &op->u.command.stream[stream];
    uint32_t drop = SBXI_MIN(o->skip, *n);

    o->skip -= drop;
    if (replaced || o->since) {
        o->since = UINT32_MAX - o->since > *n ? o->since + *n : UINT32_MAX;
        if (drop < *n)
            op->s.loose |= 1u << stream & 3;
    } else {
        o->base += *n;
    }
    *p += drop;
    *n -= drop;
}

/* The gap is told before the output behind it. True: that waits for a pull. */
static bool sbxi_deliver_gap(sbxi_op *op, unsigned stream)
{
    op->s.lost = true;
    if (!(op->flags & SBXI_OP_STREAMING))
        return false;
    op->s.gap_stream = (stream + 1) & 3;
    op->notes |= SBXI_NOTE_GAP;
    return true;
}

/* The message says where its output stands. What is missing before it is told,
   or is the server's mistake: an event stream waits rather than lose some. */
static void sbxi_message_place(sbx_client *c, sbxi_op *op, unsigned stream)
{
    sbxi_command *k = &op->u.command;
    sbxi_out *o = &k->stream[stream];

    if (sbxi_op_is_sse(op) && k->offset > o->base + o->skip)
        sbxi_stream_protocol_error(c, op, SBXI_T("the server left output out: an event begins behind what it sent before"));
    else if (!sbxi_out_place(op, stream, k->offset))
        sbxi_deliver_gap(op, stream);
}

static sbxi_run sbxi_deliver(sbx_client *c, sbxi_op *op, sbx_event *ev, unsigned stream, char *p, uint32_t n)
{
    sbxi_command *k = &op->u.command;
    sbxi_out *o = &k->stream[stream];
    bool replaced = op->s.replaced;

    if (!SBX_NO_SSH_AGENT && op->s.type >= SBXI_T_AGENT_DATA)
        return op->block->answer.agent.calls->deliver(c, op, ev, p, n);
    op->s.replaced = false;
    sbxi_out_take(op, stream, &p, &n, replaced);
    if (n || !sbxi_op_is_sse(op)) {
        op->s.drops = 0;
        op->s.hasty = false;
    }
    if (!n)
        return SBXI_RUN_IDLE;
    if (!(op->flags & SBXI_OP_STREAMING)) {
        if (!sbxi_sink_put(&k->sink[stream], op->flags & SBXI_OP_ALLOC ? &c->desc : NULL, p, n))
            sbxi_op_fail(c, op, SBX_ERR_MEMORY, SBX_LAYER_LOCAL, SBXI_T("the allocator refused"));
        return SBXI_RUN_IDLE;
    }
    sbxi_event_init(c, op, ev, stream ? SBX_EV_STDERR : SBX_EV_STDOUT);
    ev->stream = (int)stream + 1;
    ev->offset = o->base + o->since - n;
    ev->data = sbx_sn(p, n);
    return SBXI_RUN_EVENT;
}

SBXI_FN bool sbxi_id_ok(sbx_str id)
{
    for (size_t i = 0; i < id.n; i++) {
        char ch = sbxi_lower(id.p[i]);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9') && ch != '-' && ch != '_' && ch != '.')
            return false;
    }
    return true;
}

/* ---- values ---- */

static sbxi_failure *sbxi_message_failure(sbx_client *c, sbxi_op *op)
{
    if (!op->block)
        op->block = sbxi_op_block(c);
    return op->block ? &op->block->failure : NULL;
}

static void sbxi_append_text(char *dst, size_t cap, const sbx_json_tok *t)
{
    size_t at = strlen(dst);

    sbxi_copy_text(dst + at, cap - at, sbx_sn(t->p, t->n));
}

static void sbxi_message_text(sbx_client *c, sbxi_op *op, const sbx_json_tok *t)
{
    static const char *const shutdown[] = { "ServerShuttingDown" };
    sbxi_failure *f;
    const char *p;
    size_t n;

    if (op->s.type != SBXI_T_NONE && op->s.type != SBXI_T_ERROR)
        return;
    /* No failure of the command, told also where no memory is left for texts. */
    if (sbxi_op_is_sse(op) && op->s.field == SBXI_K_ERROR_TYPE && (p = sbxi_message_part(op, t, &n)) != NULL && sbxi_which(shutdown, 1, 0, p, n)) {
        op->s.type = SBXI_T_SHUTDOWN;
        return;
    }
    f = sbxi_message_failure(c, op);
    if (!f)
        return;
    if (op->s.field == SBXI_K_ERROR)
        sbxi_append_text(f->text, sizeof f->text, t);
    else
        sbxi_append_text(f->type, sizeof f->type, t);
}

SBXI_FN const char *sbxi_message_part(sbxi_op *op, const sbx_json_tok *t, size_t *n)
{
    *n = t->n;
    if (!t->more && !op->s.part_n)
        return t->p;
    *n = SBXI_MIN(t->n, sizeof op->u.command.held.part - op->s.part_n);
    memcpy(op->u.command.held.part + op->s.part_n, t->p, *n);
    *n += op->s.part_n;
    op->s.part_n = (uint8_t)*n;
    if (t->more)
        return NULL;
    op->s.part_n = 0;
    if (*n == sizeof op->u.command.held.part)
        *n = 0; /* fits none of ours */
    return op->u.command.held.part;
}

SBXI_FN void sbxi_id_get(const sbxi_op *op, char out[SBXI_ID_MAX + 1])
{
    if (!op->s.named)
        sbxi_uuid_text(out, op->u.command.id);
    else
        sbxi_copy_z(out, SBXI_ID_MAX + 1, op->block ? op->block->command_id : "");
    out[SBXI_ID_MAX] = 0;
}

SBXI_FN bool sbxi_id_unknown(const sbxi_op *op)
{
    return op->s.named && op->block && !op->block->command_id[0];
}

/* A UUID is kept in 16 bytes if it reads the same again. */
SBXI_FN void sbxi_id_set(sbxi_op *op, sbx_str id)
{
    sbxi_command *k = &op->u.command;
    char text[SBXI_ID_MAX + 1];

    op->s.named = false;
    if (id.n == SBXI_ID_MAX && sbxi_uuid_parse(k->id, id)) {
        sbxi_uuid_text(text, k->id);
        if (memcmp(text, id.p, SBXI_ID_MAX) == 0)
            return;
    }
    op->s.named = true;
    sbxi_copy_text(op->block->command_id, sizeof op->block->command_id, id);
}

/* Compared as it comes. What an older server chose is kept aside until the
   message proves to be `started`. */
static void sbxi_message_id(sbxi_op *op, const sbx_json_tok *t)
{
    char id[SBXI_ID_MAX + 1];
    size_t at = op->s.part_n, n = SBXI_MIN(t->n, SBXI_ID_MAX - at);

    sbxi_id_get(op, id);
    op->s.same = (at == 0 || op->s.same) && n == t->n && strlen(id) >= at + n && memcmp(id + at, t->p, n) == 0;
    if (op->block && !op->s.started && !op->s.attach) {
        char *chosen = op->block->failure.error_id;

        memcpy(chosen + at, t->p, n);
        chosen[at + n] = 0;
        if (n < t->n)
            chosen[0] = ' '; /* too long: no id either */
    }
    op->s.part_n = (uint8_t)(at + n);
    if (!t->more) {
        op->s.same = op->s.same && !id[op->s.part_n];
        op->s.part_n = 0;
    }
}

/* What a message says to an agent's channel begins. */
static SBXI_ONCE void sbxi_agent_begin(sbxi_op *op)
{
    sbxi_agent *a = sbxi_agent_of(op);

    if (a) {
        a->channel_n = 0;
        a->base64 = 0;
    }
}

/* A member begins: what an earlier one of its name said does not count. False:
   that was acted on already. */
static SBXI_ONCE bool sbxi_message_member(sbxi_op *op)
{
    sbxi_failure *f = op->block ? &op->block->failure : NULL;

    op->u.command.held.out.base64 = 0;
    switch (op->s.field) {
    case SBXI_K_TYPE: return sbxi_op_is_sse(op) || !op->s.assuming; /* an event's type is its name */
    case SBXI_K_DATA: return !op->s.assuming;
    case SBXI_K_ERROR:
        if (f)
            f->text[0] = 0;
        break;
    case SBXI_K_ERROR_TYPE:
        if (f)
            f->type[0] = 0;
        if (op->s.type == SBXI_T_SHUTDOWN)
            op->s.type = SBXI_T_ERROR;
        break;
#if !SBX_NO_SSH_AGENT
    case SBXI_K_CHANNEL_ID: sbxi_agent_begin(op); break;
#endif
    default: break;
    }
    return true;
}

static SBXI_ONCE void sbxi_message_value(sbx_client *c, sbxi_op *op, const sbx_json_tok *t)
{
    sbxi_command *k = &op->u.command;
    bool text = t->kind == SBX_JSON_STRING;
    sbxi_agent *a = sbxi_agent_of(op);
    uint8_t type;
    const char *p;
    size_t n;
    int64_t v;

    if (op->s.field == SBXI_K_ERROR || op->s.field == SBXI_K_ERROR_TYPE) {
        if (text)
            sbxi_message_text(c, op, t);
        return;
    }
    if (op->s.field == SBXI_K_COMMAND_ID) {
        if (text)
            sbxi_message_id(op, t);
        return;
    }
    if (op->s.field == SBXI_K_CHANNEL_ID) {
        if (text && a)
            a->calls->channel(a, t);
        return;
    }
    if (op->s.field == SBXI_K_OTHER || (!text && t->kind != SBX_JSON_NUMBER) || !(p = sbxi_message_part(op, t, &n)))
        return;
    switch (op->s.field) {
    case SBXI_K_TYPE:
        if (sbxi_op_is_sse(op)) /* its events have names */
            return;
        type = text && a ? a->calls->type(p, n) : 0;
        op->s.type = type ? type & 15 : text ? sbxi_message_type(p, n) : (uint8_t)SBXI_T_OTHER;
        return;
    case SBXI_K_OFFSET: op->s.has_offset = !text && sbx_json_u64(sbx_sn(p, n), &k->offset); return;
    default: break;
    }
    if (text || !sbx_json_i64(sbx_sn(p, n), &v))
        return;
    if (op->s.field == SBXI_K_EXIT_CODE)
        op->exit_code = (int32_t)SBXI_MAX(INT32_MIN, SBXI_MIN(INT32_MAX, v));
    else if (op->s.field == SBXI_K_PID && op->s.phase == SBXI_PHASE_STARTING)
        k->pid = (uint32_t)v;
}

/* ---- whole messages ---- */

SBXI_FN void sbxi_message_begin(sbxi_op *op, bool whole)
{
    sbxi_command *k = &op->u.command;

    if (op->block)
        memset(&op->block->failure, 0, sizeof op->block->failure);
    sbx_json_init(&k->json, 16);
    if (!sbxi_op_is_sse(op))
        op->s.type = SBXI_T_NONE;
    k->held.out.base64 = 0;
    op->s.field = SBXI_K_OTHER;
    op->s.part_n = 0;
    op->s.has_offset = op->s.same = op->s.placed = op->s.replaced = false;
    op->s.whole = whole;
    op->s.has_data = false;
    sbxi_agent_begin(op);
}

/* A final `error` message. */
static void sbxi_message_error(sbx_client *c, sbxi_op *op)
{
    static const char *const types[] = { "CommandTimeout", "CommandNotFound", "SessionExpired", "ReadOffsetUnavailable", "InvalidOffset" };
    static const uint8_t codes[] = { SBX_ERR_COMMAND, SBX_ERR_COMMAND_TIMEOUT, SBX_ERR_COMMAND_NOT_FOUND, SBX_ERR_SESSION_EXPIRED, SBX_ERR_RANGE, SBX_ERR_RANGE };
    sbxi_failure *f = sbxi_message_failure(c, op);
    uint8_t which = 0;

    if (f) {
        if (!f->type[0])
            memcpy(f->type, "CommandError", 13);
        which = sbxi_which(types, SBXI_COUNT(types), 0, f->type, strlen(f->type));
        op->fail.has_text = true;
    }
    op->fail.status = 0;
    op->fail.resource = SBX_RESOURCE_COMMAND;
    sbxi_op_fail(c, op, codes[which] == SBX_ERR_COMMAND_NOT_FOUND && sbxi_sse_lost(op) ? SBX_ERR_OUTCOME : (sbx_code)codes[which], SBX_LAYER_SERVICE, NULL);
}

static void sbxi_message_started(sbx_client *c, sbxi_op *op)
{
    /* The first one names what an older server chose; after that, one that
       names another command is no sign of ours. */
    if (!op->s.same && !op->s.started && !op->s.attach && !sbxi_op_is_sse(op) && op->block && op->block->failure.error_id[0]) {
        if (!sbxi_id_ok(sbx_s(op->block->failure.error_id))) {
            sbxi_stream_protocol_error(c, op, SBXI_T("the server named the command by an id that is not 1 to 36 letters, digits, '-', '_' or '.'"));
            return;
        }
        sbxi_id_set(op, sbx_s(op->block->failure.error_id));
    } else if (!op->s.same && !sbxi_id_unknown(op)) {
        return;
    }
    if (!sbxi_op_is_sse(op)) /* there, only output is a sign that going on helps */
        op->s.drops = 0;
    if (op->s.phase != SBXI_PHASE_STARTING)
        return;
    sbxi_stream_started(c, op);
}

SBXI_FN SBXI_ONCE sbxi_run sbxi_message_end(sbx_client *c, sbxi_op *op)
{
    sbxi_command *k = &op->u.command;
    unsigned stream = op->s.type == SBXI_T_STDERR;

    op->s.in_message = false;
    switch (op->s.type) {
    case SBXI_T_STDOUT:
    case SBXI_T_STDERR:
        if (op->s.phase == SBXI_PHASE_STARTING)
            sbxi_stream_started(c, op); /* older servers acknowledge no reconnect */
        if (!op->s.whole) {
            /* It was delivered as it came; a gap shows only now. */
            if (op->s.has_offset && !op->s.placed && k->offset != k->assumed &&
                (sbxi_op_is_sse(op) || (k->offset < k->assumed && !(op->s.loose >> stream & 1)))) {
                sbxi_stream_protocol_error(c, op, SBXI_T("the server named another offset behind a long message's output than it was asked for"));
                return SBXI_RUN_IDLE;
            }
            if (op->s.has_offset && !op->s.placed && k->offset > k->assumed) {
                k->stream[stream].base += k->offset - k->assumed;
                return sbxi_deliver_gap(op, stream) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
            }
            return SBXI_RUN_IDLE;
        }
        if (op->s.has_offset)
            sbxi_message_place(c, op, stream);
        return op->flags & SBXI_OP_STREAMING && op->notes ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
    case SBXI_T_STARTED: sbxi_message_started(c, op); break;
    case SBXI_T_EXIT:
        op->fail.status = 0;
        op->fail.code = SBX_OK;
        op->fail.has_text = false;
        op->s.phase = SBXI_PHASE_EXITED;
        sbxi_op_finish(c, op);
        break;
    case SBXI_T_ERROR: sbxi_message_error(c, op); break;
#if !SBX_NO_SSH_AGENT
    case SBXI_T_AGENT_DATA:
    case SBXI_T_AGENT_CLOSE:
        op->block->answer.agent.calls->end(c, op);
        return op->flags & SBXI_OP_STREAMING && op->notes ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
#endif
    default: break;
    }
    op->s.has_data = false;
    return SBXI_RUN_IDLE;
}

/* A piece of `data`. Of a whole message it is kept until the rest is known. */
static SBXI_ONCE sbxi_run sbxi_message_data(sbx_client *c, sbxi_op *op, sbx_event *ev, sbx_json_tok *t)
{
    sbxi_command *k = &op->u.command;
    bool output = op->s.type == SBXI_T_STDOUT || op->s.type == SBXI_T_STDERR, agent = false;
    unsigned stream = op->s.type == SBXI_T_STDERR;
    sbxi_out *o = &k->stream[stream];
    size_t n;

    if (op->row->decoded)
        op->row->decoded(c, op, t);
    if (op->state != SBXI_OP_STREAM)
        return SBXI_RUN_IDLE;
    n = t->n;
    if (t->replaced && !sbxi_op_is_sse(op))
        op->s.replaced = true;
    if (op->s.whole) {
        op->s.has_data = true;
        k->held.out.data = t->p;
        k->held.out.data_n = (uint32_t)n;
        return SBXI_RUN_IDLE;
    }
#if !SBX_NO_SSH_AGENT
    agent = op->s.type == SBXI_T_AGENT_DATA;
    if (agent && !op->block->answer.agent.calls->piece(c, op, t->p, &n, !t->more))
        return SBXI_RUN_IDLE;
#endif
    if (!output && !agent) {
        if (op->s.type == SBXI_T_NONE && t->n)
            sbxi_op_fail(c, op, SBX_ERR_TOO_LARGE, SBX_LAYER_WS, SBXI_T("a message in fragments, or larger than rx_bytes, does not begin with its type: raise rx_bytes"));
        return SBXI_RUN_IDLE;
    }
    if (op->s.phase == SBXI_PHASE_STARTING)
        sbxi_stream_started(c, op);
    if (!op->s.assuming) {
        op->s.assuming = true;
        if (agent) {
            ; /* has no place */
        } else if (op->s.has_offset) {
            op->s.placed = true;
            sbxi_message_place(c, op, stream);
            if (op->state != SBXI_OP_STREAM)
                return SBXI_RUN_IDLE;
        } else {
            k->assumed = o->base + o->since;
        }
    }
    if (op->flags & SBXI_OP_STREAMING && (op->notes || !ev)) {
        /* A start or a gap is told before the output behind it; and output that
           comes without a start, as behind an acknowledgement, waits to be asked for. */
        op->s.has_data = true;
        k->held.out.data = t->p;
        k->held.out.data_n = (uint32_t)n;
        return SBXI_RUN_HELD;
    }
    return sbxi_deliver(c, op, ev, stream, t->p, (uint32_t)n);
}

#if !SBX_SMALL
/* What servers write most, {"type":"stdout","data":"…","offset":N}, is taken by
   its bytes; from where it is written otherwise, the tokens are looked up. */
static sbx_json_kind sbxi_message_usual(sbxi_op *op, char **p, char *end, sbx_json_tok *t)
{
    if (!sbxi_json_enter(&op->u.command.json, p, end))
        return SBX_JSON_MORE;
    if (sbxi_op_is_sse(op))
        ; /* its type is known */
    else if (sbxi_json_skip(p, end, "\"type\":\"stdout\",", 16))
        op->s.type = SBXI_T_STDOUT;
    else if (sbxi_json_skip(p, end, "\"type\":\"stderr\",", 16))
        op->s.type = SBXI_T_STDERR;
    if (!sbxi_json_key(&op->u.command.json, p, end, "\"data\":", 7))
        return SBX_JSON_MORE;
    op->s.field = SBXI_K_DATA;
    return sbxi_json_string(&op->u.command.json, p, end, t);
}
#endif

SBXI_FN sbxi_run sbxi_message_read(sbx_client *c, sbxi_op *op, sbx_event *ev, char **at, char *end)
{
    sbxi_command *k = &op->u.command;
    char *p = *at;
    sbxi_run r = SBXI_RUN_IDLE;
    size_t n;

    while (r == SBXI_RUN_IDLE && op->state == SBXI_OP_STREAM) {
        sbx_json_tok t;
        sbx_json_kind kind = SBX_JSON_MORE;
        const char *key;

#if !SBX_SMALL
        kind = sbxi_message_usual(op, &p, end, &t);
#endif
        if (kind == SBX_JSON_MORE)
            kind = sbx_json_next(&k->json, &p, end, &t);

        if (kind == SBX_JSON_MORE || kind == SBX_JSON_DONE)
            break;
        switch (kind) {
        case SBX_JSON_ERROR:
            sbxi_stream_protocol_error(c, op, sbxi_why_json);
            return SBXI_RUN_IDLE;
        case SBX_JSON_KEY:
            if (t.depth != 1)
                break;
            key = sbxi_message_part(op, &t, &n);
            if (!key)
                break;
            op->s.field = sbxi_which(sbxi_keys, SBXI_COUNT(sbxi_keys), SBXI_K_OTHER, key, n);
            if (!sbxi_message_member(op)) {
                sbxi_stream_protocol_error(c, op, SBXI_T("a long message of the server has two `data`, or a `type` behind it"));
                return SBXI_RUN_IDLE;
            }
            break;
        case SBX_JSON_STRING:
        case SBX_JSON_NUMBER:
            if (t.depth != 1)
                break;
            if (op->s.field == SBXI_K_DATA && kind == SBX_JSON_STRING)
                r = sbxi_message_data(c, op, ev, &t);
            else
                sbxi_message_value(c, op, &t);
#if !SBX_SMALL
            if (r == SBXI_RUN_IDLE && sbxi_json_last(&k->json, &p, end, "\"offset\":", 9, &k->offset)) {
                op->s.has_offset = true;
                return SBXI_RUN_IDLE;
            }
#endif
            break;
        default: break;
        }
    }
    *at = p;
    return r;
}

SBXI_FN sbxi_run sbxi_stream_pending(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_command *k = &op->u.command;
    unsigned stream = op->s.type == SBXI_T_STDERR;

    if (!op->s.has_data || (op->s.whole && op->s.in_message))
        return SBXI_RUN_IDLE;
    if (op->flags & SBXI_OP_STREAMING && !ev)
        return SBXI_RUN_HELD;
    op->s.has_data = false;
    if (!op->s.in_message && sbxi_op_is_sse(op))
        op->s.type = SBXI_T_NONE; /* an event's name is its own only */
    return sbxi_deliver(c, op, ev, stream, k->held.out.data, k->held.out.data_n);
}

SBXI_FN sbxi_run sbxi_stream_read(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    for (;;) {
        sbxi_run r = sbxi_stream_pending(c, op, ev);

        if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
            return r;
        if (!op->piece_n && !op->s.message_done)
            return SBXI_RUN_IDLE;
        if (op->piece_n) {
            char *p = op->piece, *end = p + op->piece_n;

            if (op->flags & SBXI_OP_STREAMING && !ev && !op->s.whole)
                return SBXI_RUN_HELD;
            r = sbxi_message_read(c, op, ev, &p, end);
            op->piece = p;
            op->piece_n = r != SBXI_RUN_IDLE ? (uint32_t)(end - p) : 0;
            if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
                return r;
        }
        if (op->s.message_done) {
            sbx_json_tok t;

            op->s.message_done = false;
            if (sbx_json_end(&op->u.command.json, &t) == SBX_JSON_ERROR) {
                sbxi_stream_protocol_error(c, op, sbxi_why_json);
                return SBXI_RUN_IDLE;
            }
            r = sbxi_message_end(c, op);
            if (r != SBXI_RUN_IDLE || op->state != SBXI_OP_STREAM)
                return r;
        }
    }
}

SBXI_FN void sbxi_stream_piece(sbxi_op *op, const sbx_ws_event *e)
{
    if (e->first) {
        sbxi_message_begin(op, e->last);
        op->s.in_message = true;
        op->s.assuming = false;
    }
    op->piece = e->p;
    op->piece_n = (uint32_t)e->n;
    op->s.message_done = e->last;
}

/* ======== src/langsmith_urls.c ======== */

#if !SBX_NO_URLS

/* ---- what the service grants: a URL and its token ---- */

/* Both texts are without bound: each gets half of the room behind the request,
   until the result is written. */
static void sbxi_grant_prepare(sbx_client *c, sbxi_op *op)
{
    sbxi_grant *g = &op->block->answer.grant;
    size_t room;

    g->link.p = sbxi_op_room(c, op, &room);
    g->link.cap = g->token.cap = room / 2;
    g->token.p = g->link.p + g->link.cap;
    op->block->dec.grow = NULL;
}

/* Whether all of it came and fits into the fields of the result. */
static bool sbxi_grant_whole(sbxi_op *op, bool there, size_t link_room, size_t token_room)
{
    const sbxi_grant *g = &op->block->answer.grant;

    if (op->fail.code != SBX_OK)
        return false;
    if (!there)
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the answer has no URL, or no token"));
    else if (g->link.total >= link_room || g->link.total > g->link.cap || g->token.total >= token_room || g->token.total > g->token.cap)
        sbxi_op_set_fail(op, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("a URL or token in the answer is longer than its field, or than the room for it: raise request_bytes"));
    return op->fail.code == SBX_OK;
}

/* Into a field that has the room. */
static void sbxi_grant_copy(char *dst, const sbxi_sink *s)
{
    size_t n = sbxi_sink_n(s);

    if (n)
        memcpy(dst, s->p, n);
    dst[n] = 0;
}

/* ---- services ---- */

/* The wall clock, where there is one. */
static int64_t sbxi_clock(const sbx_client *c)
{
    int64_t wall = c->net.t->wall_ms ? c->net.t->wall_ms(c->net.ctx) : 0;

    return wall ? wall : c->net.now;
}

/* The answer into the service, or nothing of it. */
static bool sbxi_service_take(sbx_client *c, sbxi_op *op, sbx_access access, sbx_service *s)
{
    const sbxi_grant *g = &op->block->answer.grant;
    bool login = access != SBX_ACCESS_TOKEN;

    if (!sbxi_grant_whole(op, login ? g->url[0] || g->link.total : g->url[0] && g->token.total, sizeof s->browser_url, sizeof s->token))
        return false;
    memcpy(s->url, g->url, sizeof s->url);
    sbxi_grant_copy(s->browser_url, &g->link);
    if (!g->link.total)
        memcpy(s->browser_url, g->url, sizeof g->url);
    sbxi_grant_copy(s->token, &g->token);
    s->expires_ms = login ? 0 : g->expires_ms;
    s->clock_ms = op->u.http.until ? op->u.http.until - sbxi_clock(c) : 0;
    return true;
}

static bool sbxi_service_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_service *s = (sbx_service *)h->out;

    sbxi_write_raw(h);
    if (!sbxi_service_take(c, op, (sbx_access)h->step, s))
        return false;
    sbxi_copy_z(s->box, sizeof s->box, op->box->id[0] ? op->box->id : op->box->name);
    s->port = (uint16_t)h->want;
    s->access = (sbx_access)h->step;
    s->expires_in_s = h->poll_ms;
    return false;
}

static const sbxi_row sbxi_service_row = { SBXI_APART("service_open"), "POST", "/boxes/", "/service-url", SBXI_CTL, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_share_rules, sbxi_grant_prepare, sbxi_service_after, NULL, NULL, NULL, NULL };

static void sbxi_service_body(sbxi_build *b, int port, sbx_access access, int32_t expires_in_s)
{
    sbx_jsonw w;

    sbxi_build_json(b, &w);
    if (!b->op)
        return;
    sbx_jsonw_key(&w, sbx_s("port"));
    sbx_jsonw_i64(&w, port);
    if (expires_in_s) {
        sbx_jsonw_key(&w, sbx_s("expires_in_seconds"));
        sbx_jsonw_i64(&w, expires_in_s);
    }
    if (access != SBX_ACCESS_TOKEN)
        sbxi_build_text(&w, "access", access == SBX_ACCESS_RESTRICTED ? "restricted" : "workspace");
    sbxi_build_json_end(b, &w);
}

static const char *sbxi_service_bad(int port, const sbx_service_opts *o, const char **why)
{
    *why = SBXI_T("must be 1 to 65535");
    if (port < 1 || port > 65535)
        return "port";
    *why = SBXI_T("must be SBX_ACCESS_TOKEN, _RESTRICTED or _WORKSPACE");
    if ((unsigned)o->access > SBX_ACCESS_WORKSPACE)
        return "access";
    *why = SBXI_T("must be 1 to 86400 seconds, or 0 for the server's 600");
    if (o->expires_in_s < 0 || o->expires_in_s > 86400)
        return "expires_in_s";
    *why = SBXI_T("and a login exclude each other: a login does not expire");
    if (o->expires_in_s && o->access != SBX_ACCESS_TOKEN)
        return "expires_in_s";
    return NULL;
}

/* What has an answer that must go somewhere. */
static void sbxi_build_grant(sbxi_build *b, const sbx_box *box, const sbx_call *call, void *out, sbx_buf raw, size_t *raw_n)
{
    if (!out)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "out", SBXI_T("must be given"));
    sbxi_build_box(b, box);
    sbxi_build_headers(b, call);
    sbxi_build_result(b, out, NULL, raw, raw_n);
}

SBX_API sbx_op sbx_service_open(sbx_client *c, const sbx_box *box, int port, const sbx_service_opts *opts, sbx_service *out)
{
    const sbx_service_opts *o = opts ? opts : &sbxi_no_opts.service;
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_service_row, &o->call))
        return b.refused;
    bad = sbxi_service_bad(port, o, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    sbxi_build_grant(&b, box, &o->call, out, o->raw, o->raw_n);
    sbxi_service_body(&b, port, o->access, o->expires_in_s);
    if (b.op) {
        sbxi_http *h = &b.op->u.http;

        h->dated = true;
        h->want = (uint64_t)port;
        h->step = (uint8_t)o->access;
        h->poll_ms = o->expires_in_s;
    }
    return sbxi_build_end(&b);
}

static void sbxi_port_decoded(sbx_client *c, sbxi_op *op, void *model)
{
    static const char *const words[] = { "token", "restricted", "workspace" };
    sbx_shared_port *p = (sbx_shared_port *)model;
    unsigned i = 0;

    (void)c;
    (void)op;
    while (i < SBXI_COUNT(words) && strcmp(p->access_text, words[i]) != 0)
        i++;
    p->access = (sbx_access)i;
}

static const sbxi_row sbxi_service_list_row = { SBXI_APART("service_list"), "GET", "/boxes/", "/service-urls", SBXI_CTL, SBXI_ANSWER_LIST, SBX_RESOURCE_SANDBOX, 0, &sbxi_port_page_model, &sbxi_named_rules, NULL, sbxi_list_after, sbxi_port_decoded, sbxi_op_item, NULL, NULL };
static const sbxi_row sbxi_service_close_row = { SBXI_APART("service_close"), "DELETE", "/boxes/", "/service-urls", SBXI_CTL, SBXI_ANSWER_NONE, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_named_rules, NULL, sbxi_raw_after, NULL, NULL, sbxi_delete_failed, NULL };

SBX_API sbx_op sbx_service_list(sbx_client *c, const sbx_box *box, const sbx_list_opts *opts, sbx_list_result *out)
{
    sbx_str name = sbx_s(!box ? NULL : box->name[0] ? box->name : box->id);

    return sbxi_list_call(c, &sbxi_service_list_row, &name, opts, out);
}

SBX_API sbx_op sbx_service_close(sbx_client *c, const sbx_box *box, int port, const sbx_box_opts *opts)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    char digits[20];
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_service_close_row, &o->call))
        return b.refused;
    if (port < 0 || port > 65535)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "port", SBXI_T("must be 1 to 65535, or 0 for all"));
    sbxi_build_box(&b, box);
    if (port)
        sbxi_build_param(&b, "port", sbx_sn(digits, sbxi_u64_text(digits, (uint64_t)port)));
    sbxi_build_headers(&b, &o->call);
    sbxi_build_result(&b, NULL, NULL, o->raw, o->raw_n);
    return sbxi_build_end(&b);
}

/* ---- requests to a service ---- */

/* Nothing but what a request target may hold. */
static bool sbxi_visible(sbx_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f || s.p[i] == '#')
            return false;
    return true;
}

/* A token's last seconds are not begun with. */
#define SBXI_TOKEN_MARGIN_MS 60000

static bool sbxi_service_stale(const sbx_client *c, const sbx_service *s)
{
    bool clock = s->clock_ms || (c->net.t->wall_ms && c->net.t->wall_ms(c->net.ctx));

    return clock && s->expires_ms && s->expires_ms - (sbxi_clock(c) + s->clock_ms) <= SBXI_TOKEN_MARGIN_MS;
}

/* Why no request may go there, or NULL. */
static const char *sbxi_service_url_bad(const sbx_client *c, const char *text)
{
    sbxi_url url;

    if (!sbxi_url_parse(sbx_s(text), &url))
        return SBXI_T("must be an http or https URL without user, query or fragment");
    if (sbxi_url_is_weak(c, &url))
        return SBXI_T("is http:// though the endpoint is https://: the token would go unencrypted (allow_http_boxes in the client's description permits it)");
    return NULL;
}

static bool sbxi_request_next(sbxi_op *op, const sbxi_row *row)
{
    sbxi_op_other(op);
    op->row = row;
    op->attempts = 0;
    op->state = SBXI_OP_START;
    return true;
}

static bool sbxi_token_after(sbx_client *c, sbxi_op *op);
static void sbxi_request_finished(sbx_client *c, sbxi_op *op);

static const sbxi_row sbxi_token_row = { "request", "POST", "/boxes/", "/service-url", SBXI_CTL, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_share_rules, sbxi_grant_prepare, sbxi_token_after, NULL, NULL, sbxi_push_failed, sbxi_request_finished };

static sbxi_run sbxi_request_begin(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_http *h = &op->u.http;

    (void)ev;
    h->err.total = 0;
    if (h->renew || (!h->renewed && sbxi_service_stale(c, (const sbx_service *)h->info))) {
        h->renew = false;
        h->renewed = true;
        sbxi_request_next(op, &sbxi_token_row);
    }
    return SBXI_RUN_IDLE;
}

/* A line may come in pieces, of which the first has the name. */
static void sbxi_request_header(sbx_client *c, sbxi_op *op, void *event)
{
    const sbx_http1_event *e = (const sbx_http1_event *)event;
    sbxi_sink *head = &op->u.http.err;

    (void)c;
    if (e->name.n) {
        sbxi_sink_put(head, NULL, e->name.p, e->name.n);
        sbxi_sink_put(head, NULL, ": ", 2);
    }
    sbxi_sink_put(head, NULL, e->value.p, e->value.n);
    if (!e->more)
        sbxi_sink_put(head, NULL, "\r\n", 2);
}

static void sbxi_request_head(sbx_client *c, sbxi_op *op)
{
    const sbx_http1 *http = &sbxi_op_link(c, op)->codec.http;
    sbxi_http *h = &op->u.http;

    if (http->status == 401 && h->safe && !h->pushed && !h->renewed) {
        h->renew = true;
        op->flags |= SBXI_OP_DRAIN;
        op->block->seen = 0;
        return;
    }
    h->cursor = http->status;
    h->until = http->length == SBX_HTTP1_UNKNOWN ? -1 : (int64_t)http->length;
    op->timeout_ms = h->poll_ms;
    sbxi_op_allow(c, op, op->timeout_ms);
    if (op->flags & SBXI_OP_STREAMING)
        op->notes |= SBXI_NOTE_HEAD;
}

static bool sbxi_request_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    if (!op->u.http.renew)
        return false;
    op->attempts = 0;
    op->state = SBXI_OP_START;
    return true;
}

/* Behind its head an answer is not asked for again, unless nobody wants it. */
static bool sbxi_request_failed(sbx_client *c, sbxi_op *op)
{
    if (op->state == SBXI_OP_BODY && !op->u.http.renew) {
        sbxi_op_finish(c, op);
        return true;
    }
    return sbxi_push_failed(c, op);
}

static void sbxi_request_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_response *r = (sbx_response *)h->out;

    if (op->fail.code != SBX_OK || !r) {
        if (op->flags & SBXI_OP_ALLOC)
            sbx_free(c, h->sink.p);
        return;
    }
    memset(r, 0, sizeof *r);
    r->status = (int)h->cursor;
    r->head_n = sbxi_sink_n(&h->err);
    r->head_cut = r->head_n < h->err.total;
    r->n = sbxi_sink_n(&h->sink);
    r->total = h->total;
    r->size = h->until < 0 ? UINT64_MAX : (uint64_t)h->until;
    r->cut = !(op->flags & SBXI_OP_STREAMING) && r->n < h->total;
    if (op->flags & SBXI_OP_ALLOC) {
        if (h->sink.p)
            h->sink.p[r->n] = 0;
        r->p = h->sink.p;
    }
}

#define SBXI_REQUEST_ROW(retry) \
    { "request", "", "", "", SBXI_BASE_SERVICE, retry, SBXI_ANSWER_HTTP, SBX_RESOURCE_NONE, 0, NULL, NULL, sbxi_request_head, sbxi_request_after, sbxi_request_header, sbxi_request_begin, sbxi_request_failed, sbxi_request_finished }

static const sbxi_row sbxi_request_rows[2] = { SBXI_REQUEST_ROW(SBXI_RETRY_ONCE), SBXI_REQUEST_ROW(SBXI_RETRY_SAFE) };

static bool sbxi_token_after(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    const char *url = op->block->answer.grant.url, *why = url[0] ? sbxi_service_url_bad(c, url) : NULL;

    if (why && op->fail.code == SBX_OK)
        sbxi_op_set_fail(op, SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE, SBXI_T("the service's new URL is no http or https URL, or http:// though the endpoint is https://"));
    return sbxi_service_take(c, op, SBX_ACCESS_TOKEN, (sbx_service *)h->info) && sbxi_request_next(op, &sbxi_request_rows[h->safe]);
}

static bool sbxi_method_safe(sbx_str method)
{
    static const char *const idempotent[] = { "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE" };

    for (size_t i = 0; i < SBXI_COUNT(idempotent); i++)
        if (sbxi_eq(method, sbx_s(idempotent[i])))
            return true;
    return false;
}

static const char *sbxi_request_bad(const sbx_service *s, sbx_str method, const sbx_request_opts *o, const char **why)
{
    *why = SBXI_T("must be given, as sbx_service_open wrote it");
    if (!s || !s->port)
        return "service";
    *why = SBXI_T("is none: a service opened with a login takes requests of browsers only");
    if (!s->token[0])
        return "service.token";
    *why = SBXI_T("must be a token (RFC 9110 5.6.2) of up to 36 bytes, and not CONNECT");
    if (method.n > SBXI_ID_MAX || !sbx_http1_name_ok(method) || sbxi_eq(method, sbx_s("CONNECT")))
        return "method";
    *why = SBXI_T("and body exclude each other");
    if (o->push && o->body.n)
        return "push";
    *why = SBXI_T("must be 0 or more, or SBX_NONE, and belongs to push");
    if (o->size < SBX_NONE || (o->size && !o->push))
        return "size";
    *why = SBXI_T("must be SBX_TRI_UNSET, SBX_TRI_NO or SBX_TRI_YES");
    if ((unsigned)o->repeat > SBX_TRI_YES)
        return "repeat";
    *why = SBXI_T("and the other places for the body (out, alloc, stream, discard) exclude each other");
    if (o->stream && (o->out.p || o->alloc || o->discard))
        return "stream";
    if (o->discard && (o->out.p || o->alloc))
        return "discard";
    *why = SBXI_T("needs alloc: a buffer's size is a cap of its own");
    if (o->max_bytes && !o->alloc)
        return "max_bytes";
    *why = SBXI_T("has a size but no address");
    if (o->head.n && !o->head.p)
        return "head";
    *why = SBXI_T("must be positive milliseconds, 0 (timeout_ms) or SBX_FOREVER");
    if (o->silence_ms < SBX_FOREVER)
        return "silence_ms";
    return NULL;
}

static void sbxi_build_target(sbxi_build *b, sbx_str target)
{
    size_t room;
    char *p;

    if (!b->op)
        return;
    if (!target.n || target.p[0] != '/' || !sbxi_visible(target)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "path", SBXI_T("must begin with / and be percent-encoded, without blanks, control characters, # or bytes beyond ASCII"));
        return;
    }
    p = sbxi_op_room(b->c, b->op, &room);
    if (target.n > room) {
        sbxi_build_too_large(b);
        return;
    }
    memcpy(p, target.p, target.n);
    b->op->block->query_n = (uint32_t)target.n;
}

/* The request for a token, which may be needed first. */
static void sbxi_request_token(sbxi_build *b, const sbx_service *s, sbx_str api_key)
{
    sbx_call call;

    if (!b->op)
        return;
    memset(&call, 0, sizeof call);
    call.api_key = api_key;
    sbxi_build_name(b, sbx_s(s->box), "service.box");
    sbxi_build_headers(b, &call);
    sbxi_service_body(b, s->port, SBX_ACCESS_TOKEN, s->expires_in_s);
    if (b->op)
        sbxi_op_other(b->op);
}

/* Beyond what a caller may set: Content-Type is the library's elsewhere. */
static void sbxi_request_type(sbxi_build *b, sbx_str type)
{
    static const char name[] = "Content-Type: ";
    size_t room, n = sizeof name - 1 + type.n + 2;
    char *p;

    if (!b->op || !type.p)
        return;
    p = sbxi_op_room(b->c, b->op, &room);
    if (!type.n || !sbx_http1_value_ok(type)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "content_type", SBXI_T("must be a header value that is not empty"));
    } else if (n > room) {
        sbxi_build_too_large(b);
    } else {
        memcpy(p, name, sizeof name - 1);
        memcpy(p + sizeof name - 1, type.p, type.n);
        memcpy(p + n - 2, "\r\n", 2);
        b->op->block->header_n += (uint32_t)n;
    }
}

static void sbxi_request_fill(sbxi_op *op, sbx_service *s, sbx_str method, const sbx_request_opts *o, sbx_response *out)
{
    sbxi_http *h = &op->u.http;

    memcpy(op->block->command_id, method.p, method.n);
    h->out = out;
    h->info = s;
    h->data = o->body.n ? o->body.p : NULL;
    h->size = o->push ? (uint64_t)o->size : o->body.n;
    h->chunked = o->push && o->size == SBX_NONE;
    h->pushed = o->push;
    h->dated = true;
    h->safe = op->row == &sbxi_request_rows[1];
    h->err.p = (char *)o->head.p;
    h->err.cap = o->head.n;
    h->poll_ms = o->silence_ms ? o->silence_ms : op->timeout_ms;
    op->flags |= (uint16_t)((o->stream ? SBXI_OP_STREAMING : 0) | (o->push ? SBXI_OP_WANTS_ROOM : 0));
}

SBX_API sbx_op sbx_request(sbx_client *c, sbx_service *service, sbx_str method, sbx_str path, const sbx_request_opts *opts, sbx_response *out)
{
    const sbx_request_opts *o = opts ? opts : &sbxi_no_opts.request;
    bool safe = o->repeat == SBX_TRI_UNSET ? sbxi_method_safe(method) : o->repeat == SBX_TRI_YES;
    sbx_call call = o->call;
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_request_rows[safe], &o->call))
        return b.refused;
    call.api_key = sbx_sn(NULL, 0);
    bad = sbxi_request_bad(service, method, o, &why);
    if (!bad) {
        why = sbxi_service_url_bad(c, service->url);
        bad = why ? "service.url" : NULL;
    }
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    else if (!o->stream && !o->out.p && !o->alloc && !o->discard)
        sbxi_build_refuse(&b, SBX_ERR_NO_BUFFER, "out", SBXI_T("must be given, or alloc, stream or discard"));
    sbxi_request_token(&b, service, o->call.api_key);
    sbxi_build_target(&b, path);
    sbxi_build_headers(&b, &call);
    sbxi_request_type(&b, o->content_type);
    if (!b.op || !sbxi_build_sink(&b, &b.op->u.http.sink, o->out, o->alloc, o->max_bytes, (size_t)64 << 20))
        return b.refused;
    sbxi_request_fill(b.op, service, method, o, out);
    return sbxi_build_end(&b);
}

SBX_API bool sbx_head_find(sbx_str head, sbx_str name, sbx_str *value)
{
    while (head.n) {
        const char *p = head.p, *line = (const char *)memchr(p, '\n', head.n);
        size_t n = line ? (size_t)(line - p) : 0;

        if (!line)
            return false;
        if (n > name.n + 2 && p[n - 1] == '\r' && p[name.n] == ':' && sbxi_eq_nocase(sbx_sn(p, name.n), name)) {
            *value = sbx_sn(p + name.n + 2, n - name.n - 3);
            return true;
        }
        head = sbx_sn(line + 1, head.n - n - 1);
    }
    return false;
}

/* ---- files ---- */

static bool sbxi_download_after(sbx_client *c, sbxi_op *op)
{
    const sbxi_grant *g = &op->block->answer.grant;
    sbxi_http *h = &op->u.http;
    sbx_download *d = (sbx_download *)h->out;

    (void)c;
    sbxi_write_raw(h);
    if (sbxi_grant_whole(op, g->link.total != 0, sizeof d->url, sizeof d->token)) {
        sbxi_grant_copy(d->url, &g->link);
        sbxi_grant_copy(d->token, &g->token);
        d->expires_ms = g->expires_ms;
    }
    return false;
}

static const sbxi_row sbxi_download_row = { "download_url", "POST", "/boxes/", SBXI_APART("/download-url"), SBXI_CTL, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_grant_model, &sbxi_named_rules, sbxi_grant_prepare, sbxi_download_after, NULL, NULL, NULL, NULL };

SBX_API sbx_op sbx_download_url(sbx_client *c, const sbx_box *box, sbx_str path, const sbx_download_opts *opts, sbx_download *out)
{
    const sbx_download_opts *o = opts ? opts : &sbxi_no_opts.download;
    sbxi_build b;
    sbx_jsonw w;

    if (!sbxi_build_begin(&b, c, &sbxi_download_row, &o->call))
        return b.refused;
    if (!path.n)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "path", SBXI_T("must not be empty"));
    if ((unsigned)o->disposition > SBX_DISPOSITION_INLINE)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "disposition", SBXI_T("must be SBX_DISPOSITION_DEFAULT, _ATTACHMENT or _INLINE"));
    sbxi_build_grant(&b, box, &o->call, out, o->raw, o->raw_n);
    sbxi_build_json(&b, &w);
    sbxi_build_member(&b, &w, "path", path, "path");
    sbxi_build_opts(&b, &w, &sbxi_download_schema, o);
    if (b.op && o->disposition)
        sbxi_build_text(&w, "content_disposition", o->disposition == SBX_DISPOSITION_INLINE ? "inline" : "attachment");
    sbxi_build_json_end(&b, &w);
    return sbxi_build_end(&b);
}

/* Up to where its path begins. */
static size_t sbxi_url_origin(sbx_str url)
{
    const char *p = (const char *)memchr(url.p, '/', url.n), *end = url.p + url.n;

    p = p && end - p > 2 ? p + 2 : end;
    while (p < end && *p != '/' && *p != '?')
        p++;
    return (size_t)(p - url.p);
}

/* An absolute URL with its query, as it was given. */
static void sbxi_build_url(sbxi_build *b, sbx_str url, const sbx_call *call)
{
    const char *cut = url.n ? (const char *)memchr(url.p, '#', url.n) : NULL;
    size_t origin, room;
    sbxi_url parsed;
    bool bare;
    char *p;

    if (b->op && call->api_key.p)
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "call.api_key", SBXI_T("does not belong here: a URL gets no key"));
    if (!b->op)
        return;
    url.n = cut ? (size_t)(cut - url.p) : url.n; /* the fragment is the reader's own */
    origin = url.n ? sbxi_url_origin(url) : 0;
    bare = origin == url.n || url.p[origin] != '/';
    if (!sbxi_url_parse(sbx_sn(url.p, origin), &parsed)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "url", SBXI_T("must be an absolute http or https URL without user"));
        return;
    }
    if (!sbxi_visible(sbx_sn(url.p + origin, url.n - origin))) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "url", SBXI_T("must be percent-encoded: it has a blank, a control character or one beyond ASCII"));
        return;
    }
    if (sbxi_url_is_weak(b->c, &parsed)) {
        sbxi_build_refuse(b, SBX_ERR_ARGUMENT, "url", SBXI_T("is http:// though the endpoint is https://: its token would go unencrypted (allow_http_boxes in the client's description permits it)"));
        return;
    }
    p = sbxi_op_room(b->c, b->op, &room);
    if (url.n + bare > room) {
        sbxi_build_too_large(b);
        return;
    }
    memcpy(p, url.p, origin);
    p += origin;
    if (bare)
        *p++ = '/';
    memcpy(p, url.p + origin, url.n - origin);
    b->op->block->seg_n = (uint32_t)origin;
    b->op->block->query_n = (uint32_t)(url.n + bare - origin);
}

#define SBXI_LINK_ROW "", "", SBXI_BASE_URL, SBXI_RETRY_SAFE

static const sbxi_row sbxi_fetch_row = { SBXI_APART("fetch"), "GET", SBXI_LINK_ROW, SBXI_ANSWER_FILE, SBX_RESOURCE_FILE, 60000, NULL, &sbxi_fetch_rules, NULL, NULL, NULL, NULL, sbxi_read_failed, sbxi_read_finished };
static const sbxi_row sbxi_fetch_stat_row = { SBXI_APART("fetch_stat"), "HEAD", SBXI_LINK_ROW, SBXI_ANSWER_STAT, SBX_RESOURCE_FILE, 60000, NULL, &sbxi_fetch_rules, NULL, sbxi_stat_after, NULL, NULL, NULL, NULL };

SBX_API sbx_op sbx_fetch(sbx_client *c, sbx_str url, const sbx_read_opts *opts, sbx_read_result *out)
{
    const sbx_read_opts *o = opts ? opts : &sbxi_no_opts.read;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_fetch_row, &o->call))
        return b.refused;
    sbxi_build_url(&b, url, &o->call);
    return sbxi_read_call(&b, o, out);
}

SBX_API sbx_op sbx_fetch_stat(sbx_client *c, sbx_str url, const sbx_box_opts *opts, sbx_file_stat *out)
{
    const sbx_box_opts *o = opts ? opts : &sbxi_no_opts.box;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_fetch_stat_row, &o->call))
        return b.refused;
    sbxi_build_url(&b, url, &o->call);
    return sbxi_stat_call(&b, o, out);
}
#endif

/* ======== src/tunnel_session.h ======== */
/* ---- tunnel: a session and its connections (private) ---- */
#ifndef SBXI_TUNNEL_SESSION_H
#define SBXI_TUNNEL_SESSION_H

#if !SBX_NO_TUNNEL

/* The tunnel's operation owns the link and moves all bytes: what comes goes
   into the rings of the connections, whose operations give it out. What these
   have to tell the peer is noted (`todo`) and said when the send buffer has
   room. All of it lies in the tunnel's own memory. */

/* Room in the send buffer: what one reply, or one connection's frames, and then a pong may need. */
#define SBXI_TUNNEL_ROOM (SBXI_WS_CONTROL_MAX + 2 * (SBX_WS_HEAD_MAX + SBX_YAMUX_HEAD) + 3)

/* What the peer has to be told, in this order. */
enum { SBXI_SAY_HELLO = 1, SBXI_SAY_FIN = 2, SBXI_SAY_CREDIT = 4 };
/* How far a connection is. */
enum {
    SBXI_DIAL_ASKED = 1,    /* its hello went out */
    SBXI_DIAL_OPEN = 2,     /* the daemon said yes */
    SBXI_DIAL_EOF = 4,      /* the peer's half has ended */
    SBXI_DIAL_EOF_TOLD = 8,
    SBXI_DIAL_ENDED = 16,   /* and so has ours, by the caller's word */
    SBXI_DIAL_OVER = 32,    /* failed: its operation has the error */
    SBXI_DIAL_HELD = 64
};

typedef struct sbxi_dial {
    sbx_yamux_stream *stream; /* NULL: the peer knows nothing of it */
    uint32_t op;              /* SBXI_NIL = this place is free */
    uint32_t at, n;           /* what its ring holds */
    uint16_t port;
    uint8_t todo, is;
} sbxi_dial;

struct sbxi_session {
    sbx_yamux y;
    sbx_yamux_stream *streams;
    sbxi_dial *dials;
    char *rings;
    uint32_t count, window;
    uint32_t op;
    uint32_t live, ops;   /* streams that are not dropped yet; connections whose operation has not ended */
    uint32_t asking;      /* connections that wait for the daemon's word */
    uint32_t target;      /* whose the next data_n bytes of the operation's piece are, SBXI_NIL = nobody's */
    uint32_t data_n;
    uint32_t lent, lent_n; /* what of whose ring the last event points to */
    uint32_t turn;        /* who is asked first to write */
    int32_t ping_interval_ms, ping_ms;
    bool open, was_open, away, closing, todo, drops, wanting, goodbye, allocated;
    bool unheard; /* the frame that was read last may have more events */
    bool pinging; /* a ping is still to be sent */
};

SBX_EXTERN_C_BEGIN
extern const sbxi_row sbxi_tunnel_row, sbxi_dial_row;
SBX_EXTERN_C_END

SBXI_INLINE sbxi_op *sbxi_tunnel_op(const sbx_client *c, const sbxi_session *s)
{
    return &c->ops[s->op];
}

SBXI_INLINE uint32_t sbxi_dial_id(const sbxi_session *s, const sbxi_dial *d)
{
    return (uint32_t)(d - s->dials);
}

/* Something waits to be pulled. */
SBXI_FN void sbxi_dial_tell(sbx_client *c, const sbxi_dial *d);
/* The peer has to be told. */
SBXI_FN void sbxi_dial_todo(sbx_client *c, sbxi_session *s, sbxi_dial *d, uint8_t todo);
/* It was lost and waits for a dial. */
SBXI_FN bool sbxi_tunnel_resting(const sbxi_op *op);
SBXI_FN void sbxi_tunnel_reopen(sbx_client *c, sbxi_op *op);

#endif
#endif

/* ======== src/tunnel.c ======== */

#if !SBX_NO_TUNNEL
#define SBXI_TUNNEL_BACKOFF_MS 500u
#define SBXI_TUNNEL_BACKOFF_MAX_MS 8000u
/* Connections that were asked for and not answered: a server resets those that
   it has not accepted yet beyond its backlog (hashicorp: 256). Others wait. */
#define SBXI_TUNNEL_ASKING 128u

/* What belongs to every stream's opening stands behind what a tunnel uses. */
typedef char sbxi_tunnel_fits[sizeof(sbxi_tunnel) <= offsetof(sbxi_command, offset) ? 1 : -1];

static sbxi_run sbxi_tunnel_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
static bool sbxi_tunnel_failed(sbx_client *c, sbxi_op *op);
static void sbxi_tunnel_finished(sbx_client *c, sbxi_op *op);
static sbxi_run sbxi_dial_run(sbx_client *c, sbxi_op *op, sbx_event *ev);
static bool sbxi_dial_failed(sbx_client *c, sbxi_op *op);
static void sbxi_dial_finished(sbx_client *c, sbxi_op *op);

const sbxi_row sbxi_tunnel_row = { SBXI_APART("tunnel_open"), "GET", SBXI_APART("/tunnel"), "", SBXI_BASE_BOX, SBXI_RETRY_SAFE, SBXI_ANSWER_STREAM, SBX_RESOURCE_SANDBOX, 0, NULL, &sbxi_stream_rules, NULL, NULL, NULL, sbxi_tunnel_run, sbxi_tunnel_failed, sbxi_tunnel_finished };
const sbxi_row sbxi_dial_row = { SBXI_APART("tunnel_dial"), "", "", "", SBXI_BASE_BOX, SBXI_RETRY_SAFE, SBXI_ANSWER_STREAM, SBX_RESOURCE_NONE, 0, NULL, NULL, NULL, NULL, NULL, sbxi_dial_run, sbxi_dial_failed, sbxi_dial_finished };

/* ---- connections ---- */

SBXI_FN void sbxi_dial_tell(sbx_client *c, const sbxi_dial *d)
{
    if (d->op != SBXI_NIL && !(d->is & SBXI_DIAL_HELD))
        sbxi_op_list(c, &c->ops[d->op], SBXI_LIST_EVENT);
}

SBXI_FN void sbxi_dial_todo(sbx_client *c, sbxi_session *s, sbxi_dial *d, uint8_t todo)
{
    d->todo |= todo;
    s->todo = true;
    sbxi_op_wake(c, sbxi_tunnel_op(c, s));
}

/* One that was asked for was answered, or is given up: the next may be. */
static void sbxi_tunnel_heard(sbxi_session *s)
{
    s->asking--;
    s->todo = true;
}

/* Its stream is nobody's (`user` is NULL) until it can be dropped. */
static void sbxi_dial_leave(sbx_client *c, sbxi_session *s, sbxi_dial *d)
{
    if (d->stream) {
        d->stream->user = NULL;
        s->drops = true;
        if (!(d->is & SBXI_DIAL_OPEN))
            sbxi_tunnel_heard(s);
    }
    d->stream = NULL;
    d->todo = 0;
    sbxi_op_wake(c, sbxi_tunnel_op(c, s));
}

/* It has failed; what its ring holds is given out before the END. */
static void sbxi_dial_over(sbx_client *c, sbxi_session *s, sbxi_dial *d, sbx_code code, sbx_layer layer, const char *text)
{
    sbxi_op *op;

    if (d->op == SBXI_NIL || d->is & SBXI_DIAL_OVER)
        return;
    op = &c->ops[d->op];
    sbxi_op_set_fail(op, code, layer, text);
    op->total_at = op->attempt_at = SBXI_NEVER;
    sbxi_op_arm(c, op);
    d->is |= SBXI_DIAL_OVER;
    sbxi_dial_leave(c, s, d);
    sbxi_dial_tell(c, d);
}

/* Both halves have ended. */
static bool sbxi_dial_complete(const sbxi_dial *d)
{
    const unsigned both = SBXI_DIAL_EOF | SBXI_DIAL_ENDED;

    return (d->is & both) == both && !(d->todo & SBXI_SAY_FIN);
}

/* The bytes of the last event are not looked at any more: they count as
   consumed. */
static void sbxi_tunnel_settle(sbx_client *c, sbxi_session *s)
{
    sbxi_dial *d = &s->dials[s->lent];
    uint32_t n = s->lent_n;

    if (!n)
        return;
    s->lent_n = 0;
    d->n -= n;
    d->at = d->n && d->at + n < s->window ? d->at + n : 0;
    if (d->stream) {
        sbx_yamux_consumed(d->stream, n);
        if (s->window - SBXI_MIN(s->window, d->stream->held + d->stream->recv) >= s->window / 2)
            sbxi_dial_todo(c, s, d, SBXI_SAY_CREDIT);
    }
    if (s->data_n && s->target == s->lent)
        sbxi_op_wake(c, sbxi_tunnel_op(c, s));
}

/* ---- saying ---- */

/* Behind half a pong only its rest may come: that of the ping is to arrive. */
static sbxi_got sbxi_tunnel_room(sbx_client *c, sbxi_link *l)
{
    if (l->out.frame.left)
        return SBXI_GOT_BLOCKED;
    if (l->tx && c->net.tx.size - l->tx_end < SBXI_TUNNEL_ROOM) {
        sbxi_got got = sbxi_link_flush(&c->net, l);

        if (got != SBXI_GOT_EVENT)
            return got;
    }
    return sbxi_link_has_room(&c->net, l) || l->owner == c->net.awaited ? SBXI_GOT_EVENT : SBXI_GOT_STARVED;
}

/* There is room; without random bytes the session fails as a whole. */
static void sbxi_tunnel_put(sbx_client *c, sbxi_link *l, const void *p, size_t n)
{
    if (n)
        sbxi_ws_send(&c->net, l, SBX_WS_OP_BINARY, p, n);
}

static void sbxi_dial_hello(sbx_client *c, sbxi_session *s, sbxi_link *l, sbxi_dial *d)
{
    unsigned char out[SBX_YAMUX_HEAD + 3];
    size_t n = 3;

    if (s->asking >= SBXI_TUNNEL_ASKING || (s->away && !s->live)) {
        d->todo = SBXI_SAY_HELLO; /* later, or in the next session where this one is over */
        return;
    }
    d->stream = sbx_yamux_open(&s->y);
    if (!d->stream) {
        sbxi_dial_over(c, s, d, SBX_ERR_CONNECTION, SBX_LAYER_SERVICE, SBXI_T("the server takes no new connections on this tunnel until those that stand have ended"));
        return;
    }
    d->stream->user = d;
    d->is |= SBXI_DIAL_ASKED;
    s->live++;
    s->asking++;
    if (s->window > SBX_YAMUX_INITIAL) /* told at once, with the opening */
        sbxi_tunnel_put(c, l, out, sbx_yamux_update(&s->y, d->stream, out));
    sbx_yamux_data(d->stream, &n, out);
    out[SBX_YAMUX_HEAD] = 1; /* the version */
    out[SBX_YAMUX_HEAD + 1] = (unsigned char)(d->port >> 8);
    out[SBX_YAMUX_HEAD + 2] = (unsigned char)d->port;
    sbxi_tunnel_put(c, l, out, sizeof out);
}

/* What a connection has to tell; there is room for it. */
static void sbxi_dial_say(sbx_client *c, sbxi_session *s, sbxi_link *l, sbxi_dial *d)
{
    unsigned char out[SBX_YAMUX_HEAD];
    unsigned todo = d->todo;

    d->todo = 0;
    if (todo & SBXI_SAY_HELLO)
        sbxi_dial_hello(c, s, l, d);
    if (!d->stream)
        return;
    if (todo & SBXI_SAY_FIN) {
        sbxi_tunnel_put(c, l, out, sbx_yamux_end(d->stream, out));
        sbxi_dial_tell(c, d);
    }
    if (todo & SBXI_SAY_CREDIT)
        sbxi_tunnel_put(c, l, out, sbx_yamux_update(&s->y, d->stream, out));
}

/* A silent tunnel is asked for a sign of life. One that waits for the program
   could not hear the answer. */
static void sbxi_tunnel_ping(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    int64_t due = sbxi_after(l->last_rx, s->ping_interval_ms);

    op->flags &= (uint16_t)~SBXI_OP_PING_DUE;
    op->wake_at = due > c->net.now ? due : sbxi_after(c->net.now, s->ping_interval_ms);
    if (due <= c->net.now && !s->data_n && op->attempt_at == SBXI_NEVER)
        s->pinging = true;
    sbxi_op_arm(c, op);
}

/* Where the peer takes nothing its time runs all the same; where others have
   all send buffers it does not. */
static sbxi_got sbxi_tunnel_ask(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    sbxi_got got = sbxi_tunnel_room(c, l);
    unsigned char out[SBX_YAMUX_HEAD];

    if (got == SBXI_GOT_EVENT) {
        sbxi_tunnel_put(c, l, out, sbx_yamux_ping(&s->y, out));
        s->pinging = false;
    }
    if (got != SBXI_GOT_STARVED && op->attempt_at == SBXI_NEVER) {
        op->attempt_at = sbxi_after(c->net.now, s->ping_ms);
        sbxi_op_arm(c, op);
    }
    return got;
}

static void sbxi_stream_drop(sbx_client *c, sbxi_session *s, sbxi_link *l, sbx_yamux_stream *stream)
{
    unsigned char out[SBX_YAMUX_HEAD];

    sbxi_tunnel_put(c, l, out, sbx_yamux_drop(&s->y, stream, out));
    s->live--;
}

static sbxi_got sbxi_tunnel_talk(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    sbxi_got got = SBXI_GOT_EVENT;

    c->net.entropy_failed = false; /* another's failure is no business of this one */
    if (op->flags & SBXI_OP_PING_DUE)
        sbxi_tunnel_ping(c, op, s, l);
    if (s->pinging)
        got = sbxi_tunnel_ask(c, op, s, l);
    if (got != SBXI_GOT_EVENT)
        return got;
    /* First, so that there is a place for each that begins. */
    for (uint32_t i = 0; s->drops && i < s->count; i++) {
        if (!s->streams[i].id || s->streams[i].user)
            continue;
        got = sbxi_tunnel_room(c, l);
        if (got != SBXI_GOT_EVENT)
            return got;
        sbxi_stream_drop(c, s, l, &s->streams[i]);
    }
    s->drops = false;
    for (uint32_t i = 0; s->todo && i < s->count; i++) {
        if (!s->dials[i].todo)
            continue;
        got = sbxi_tunnel_room(c, l);
        if (got != SBXI_GOT_EVENT)
            return got;
        sbxi_dial_say(c, s, l, &s->dials[i]);
    }
    s->todo = false;
    if (c->net.entropy_failed) {
        c->net.fault.code = SBX_ERR_ENTROPY;
        c->net.fault.text = NULL;
        return SBXI_GOT_FAIL;
    }
    return sbxi_link_unsent(l) ? sbxi_link_flush(&c->net, l) : SBXI_GOT_EVENT;
}

/* The send buffer is empty: those that wait may write, in turn, beginning
   behind the one that wrote last. */
static void sbxi_tunnel_writable(sbx_client *c, sbxi_session *s)
{
    s->wanting = false;
    for (uint32_t i = 0; i < s->count; i++) {
        sbxi_dial *d = &s->dials[(s->turn + i) % s->count];
        sbxi_op *op = d->op == SBXI_NIL ? NULL : &c->ops[d->op];

        if (!op || !(op->flags & SBXI_OP_WANTS_ROOM) || !(d->is & SBXI_DIAL_OPEN) || !d->stream || !sbx_yamux_sendable(d->stream))
            continue;
        op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM;
        op->notes |= SBXI_NOTE_WRITABLE;
        sbxi_op_list(c, op, SBXI_LIST_EVENT);
    }
}

/* ---- hearing ---- */

/* The daemon's word on a connection. */
static void sbxi_dial_answered(sbx_client *c, sbxi_session *s, sbxi_dial *d, unsigned said)
{
    static const uint8_t codes[] = { SBX_OK, SBX_ERR_PORT_DENIED, SBX_ERR_DIAL, SBX_ERR_TUNNEL_VERSION };
    sbxi_op *op;

    if (d->op == SBXI_NIL)
        return;
    if (said) {
        bool known = said < SBXI_COUNT(codes);

        sbxi_dial_over(c, s, d, known ? (sbx_code)codes[said] : SBX_ERR_PROTOCOL, SBX_LAYER_SERVICE,
                       known ? NULL : SBXI_T("the server answered the dial with a byte that the protocol does not know"));
        return;
    }
    op = &c->ops[d->op];
    sbxi_tunnel_heard(s);
    d->is |= SBXI_DIAL_OPEN;
    op->attempt_at = SBXI_NEVER;
    op->notes |= SBXI_NOTE_STARTED;
    op->flags |= SBXI_OP_SENT;
    op->flags &= (uint16_t)~SBXI_OP_WANTS_ROOM; /* that it may write is said so */
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, SBXI_LIST_EVENT);
}

/* The program blocks for another connection of the tunnel, which nothing can
   reach while this one's ring is full. */
static bool sbxi_tunnel_jammed(const sbx_client *c, const sbxi_session *s, const sbxi_dial *d)
{
    uint32_t blocked = c->blocked;

    return blocked != SBXI_NIL && blocked != d->op && c->net.t->wait && c->ops[blocked].row == &sbxi_dial_row && c->ops[blocked].u.tunnel.session == s;
}

/* The next data_n bytes of the piece: into the ring. False: it is full. */
static bool sbxi_tunnel_place(sbx_client *c, sbxi_op *op, sbxi_session *s)
{
    while (s->data_n) {
        sbxi_dial *d = s->target == SBXI_NIL ? NULL : &s->dials[s->target];
        uint32_t n = s->data_n, to;

        if (d && d->op != SBXI_NIL && !(d->is & SBXI_DIAL_OVER)) {
            if (d->n == s->window && sbxi_tunnel_jammed(c, s, d)) {
                sbxi_dial_over(c, s, d, SBX_ERR_TOO_LARGE, SBX_LAYER_LOCAL, SBXI_T("its ring was full while another connection of the tunnel was waited for: pull all of them, or raise the tunnel's window to 262,144"));
                continue;
            }
            to = d->at + d->n;
            to -= to >= s->window ? s->window : 0;
            n = SBXI_MIN(n, SBXI_MIN(s->window - d->n, s->window - to));
            if (!n)
                return false;
            memcpy(s->rings + (size_t)s->target * s->window + to, op->piece, n);
            d->n += n;
            sbxi_dial_tell(c, d);
        }
        op->piece += n;
        op->piece_n -= n;
        s->data_n -= n;
    }
    return true;
}

static sbxi_got sbxi_tunnel_fault(sbx_client *c, sbx_code code, const char *text)
{
    memset(&c->net.fault, 0, sizeof c->net.fault);
    c->net.fault.code = code;
    c->net.fault.text = text;
    return SBXI_GOT_FAIL;
}

static void sbxi_tunnel_data(sbx_client *c, sbxi_op *op, sbxi_session *s, const sbx_yamux_event *e)
{
    sbxi_dial *d = (sbxi_dial *)e->stream->user;

    /* The operation holds on to the piece until it lies in the ring. */
    op->piece -= e->n;
    op->piece_n += (uint32_t)e->n;
    s->data_n = (uint32_t)e->n;
    s->target = d ? sbxi_dial_id(s, d) : SBXI_NIL;
    if (!d || d->is & SBXI_DIAL_OPEN)
        return;
    sbxi_dial_answered(c, s, d, (unsigned char)*op->piece);
    sbx_yamux_consumed(e->stream, 1);
    op->piece++;
    op->piece_n--;
    s->data_n--;
}

/* What is told of one connection, but for its data. */
static void sbxi_dial_event(sbx_client *c, sbxi_session *s, sbxi_dial *d, sbx_yamux_kind kind)
{
    switch (kind) {
    case SBX_YAMUX_WINDOW: s->wanting = true; break;
    case SBX_YAMUX_EOF:
        if (!(d->is & SBXI_DIAL_OPEN))
            sbxi_dial_over(c, s, d, SBX_ERR_CONNECTION, SBX_LAYER_SERVICE, SBXI_T("the server ended the connection before it answered"));
        d->is |= SBXI_DIAL_EOF;
        sbxi_dial_tell(c, d);
        break;
    case SBX_YAMUX_RESET:
        sbxi_dial_over(c, s, d, SBX_ERR_CONNECTION, SBX_LAYER_SERVICE, SBXI_T("the connection was reset by the other side"));
        break;
    default: break;
    }
}

/* EVENT: go on. */
static sbxi_got sbxi_tunnel_event(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l, sbx_yamux_kind kind, const sbx_yamux_event *e)
{
    unsigned char out[SBX_YAMUX_HEAD];

    switch (kind) {
    case SBX_YAMUX_OPENED: sbxi_tunnel_put(c, l, out, sbx_yamux_drop(&s->y, e->stream, out)); break; /* nobody listens here */
    case SBX_YAMUX_DATA: sbxi_tunnel_data(c, op, s, e); break;
    case SBX_YAMUX_REPLY: sbxi_tunnel_put(c, l, e->p, e->n); break;
    case SBX_YAMUX_PONG:
        op->attempt_at = SBXI_NEVER;
        sbxi_op_arm(c, op);
        break;
    case SBX_YAMUX_GOAWAY:
        if (e->value)
            return sbxi_tunnel_fault(c, SBX_ERR_CONNECTION, SBXI_T("the server ended the tunnel for an error (yamux GoAway)"));
        s->away = true;
        break;
    case SBX_YAMUX_ERROR:
        sbxi_tunnel_put(c, l, e->p, e->n);
        sbxi_link_flush(&c->net, l);
        return sbxi_tunnel_fault(c, SBX_ERR_PROTOCOL, sbx_yamux_reason_text(e->value));
    default:
        if (e->stream && e->stream->user)
            sbxi_dial_event(c, s, (sbxi_dial *)e->stream->user, kind);
        break;
    }
    return SBXI_GOT_EVENT;
}

/* Reads on until nothing is there, or a full ring is in the way (BLOCKED). */
static sbxi_got sbxi_tunnel_read(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    char nothing[1];

    for (;;) {
        sbx_yamux_event e;
        sbx_yamux_kind kind;
        const char *p;
        sbxi_got got;

        if (!sbxi_tunnel_place(c, op, s))
            return SBXI_GOT_BLOCKED;
        if (!op->piece_n && !s->unheard) {
            sbx_ws_event w;

            got = sbxi_ws_next(&c->net, l, &w);
            if (got != SBXI_GOT_EVENT)
                return got;
            op->piece = w.p;
            op->piece_n = (uint32_t)w.n;
            continue;
        }
        got = sbxi_tunnel_room(c, l);
        if (got != SBXI_GOT_EVENT)
            return got;
        if (!op->piece_n)
            op->piece = nothing; /* what it pointed to may be gone */
        p = op->piece;
        kind = sbx_yamux_read(&s->y, &p, op->piece + op->piece_n, &e);
        op->piece_n -= (uint32_t)(p - op->piece);
        op->piece += p - op->piece;
        s->unheard = kind != SBX_YAMUX_MORE;
        got = sbxi_tunnel_event(c, op, s, l, kind, &e);
        if (got != SBXI_GOT_EVENT)
            return got;
    }
}

/* ---- opening, losing ---- */

/* Without a connection until a dial wants one. */
static void sbxi_tunnel_rest(sbx_client *c, sbxi_op *op)
{
    sbxi_op_release_link(c, op, false);
    if (op->block && !op->block->header_n)
        sbxi_op_drop_block(c, op);
    memset(&op->fail, 0, sizeof op->fail);
    op->fail.retry_after_s = -1;
    op->flags &= (uint16_t)~(SBXI_OP_ACCEPTED | SBXI_OP_PING_DUE | SBXI_OP_FAILING | SBXI_OP_DRAIN | SBXI_OP_SENT);
    op->s.says_upgrade = op->s.says_connection = false;
    op->attempts = 0;
    op->state = SBXI_OP_PAUSE;
    op->attempt_at = op->wake_at = SBXI_NEVER;
    sbxi_op_arm(c, op);
    sbxi_op_list(c, op, op->notes ? SBXI_LIST_EVENT : SBXI_LIST_NONE);
}

SBXI_FN bool sbxi_tunnel_resting(const sbxi_op *op)
{
    return op->state == SBXI_OP_PAUSE && op->wake_at == SBXI_NEVER;
}

SBXI_FN void sbxi_tunnel_reopen(sbx_client *c, sbxi_op *op)
{
    op->state = SBXI_OP_START;
    sbxi_op_wake(c, op);
}

static void sbxi_tunnel_opened(sbx_client *c, sbxi_op *op, sbxi_session *s)
{
    sbx_yamux_init(&s->y, false, s->streams, s->count, s->window);
    op->notes |= s->was_open ? SBXI_NOTE_RECONNECTED : SBXI_NOTE_STARTED;
    c->net.usage.reconnects += s->was_open;
    s->open = s->was_open = s->todo = true;
    op->fail.status = 0;
    op->fail.code = SBX_OK;
    op->fail.has_text = false;
    op->attempt_at = SBXI_NEVER;
    op->wake_at = sbxi_after(c->net.now, s->ping_interval_ms);
    sbxi_op_arm(c, op);
    if (op->block && !op->block->header_n) /* the call's headers are needed again */
        sbxi_op_drop_block(c, op);
}

/* The session is gone, the operation's error says why. */
static void sbxi_tunnel_lost(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;
    bool own = op->fail.code == SBX_ERR_PROTOCOL || op->fail.code == SBX_ERR_ENTROPY, waiting = false;
    const char *text = NULL;

#if !SBX_NO_ERROR_TEXT
    text = op->fail.text;
#endif
    s->open = s->away = s->drops = s->unheard = s->pinging = false;
    s->data_n = s->live = s->asking = 0;
    op->s.stuck = false;
    op->piece_n = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        sbxi_dial *d = &s->dials[i];
        bool complete = sbxi_dial_complete(d); /* not with an end that is still to be said */

        d->stream = NULL;
        d->todo &= SBXI_SAY_HELLO;
        waiting |= d->op != SBXI_NIL && d->todo;
        if (d->is & SBXI_DIAL_ASKED && !complete)
            sbxi_dial_over(c, s, d, own ? (sbx_code)op->fail.code : SBX_ERR_CONNECTION, (sbx_layer)op->fail.layer, text ? text : SBXI_T("the tunnel was lost"));
    }
    sbxi_tunnel_rest(c, op);
    if (waiting)
        sbxi_tunnel_reopen(c, op);
    else if (s->closing && !s->ops)
        sbxi_op_finish(c, op);
}

static void sbxi_tunnel_broke(sbx_client *c, sbxi_op *op, sbxi_got got)
{
    sbx_code code = got == SBXI_GOT_EOF ? SBX_ERR_CONNECTION : c->net.fault.code;

    sbxi_op_set_fail(op, code, code == SBX_ERR_PROTOCOL ? SBX_LAYER_WS : SBX_LAYER_TRANSPORT, got == SBXI_GOT_EOF ? SBXI_T("the server closed the tunnel") : c->net.fault.text);
    sbxi_tunnel_lost(c, op);
}

/* Every failure of an attempt to open, and a ping without an answer. */
static bool sbxi_tunnel_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;
    uint32_t delay = op->fail.retry_after_s > 0 ? (uint32_t)op->fail.retry_after_s * 1000 : sbxi_backoff(c, (unsigned)SBXI_MAX(op->attempts, 1) - 1, SBXI_TUNNEL_BACKOFF_MS, SBXI_TUNNEL_BACKOFF_MAX_MS);

    if (s->open) {
        sbxi_tunnel_lost(c, op);
        return true;
    }
    op->flags &= (uint16_t)~SBXI_OP_ACCEPTED;
    op->s.says_upgrade = op->s.says_connection = false;
    if (sbxi_stream_transient(&op->fail) && op->attempts <= op->max_retries && sbxi_op_again(c, op, delay))
        return true;
    if (!s->was_open || s->closing) {
        sbxi_op_finish(c, op);
        return true;
    }
    for (uint32_t i = 0; i < s->count; i++)
        sbxi_dial_over(c, s, &s->dials[i], (sbx_code)op->fail.code, (sbx_layer)op->fail.layer, NULL);
    sbxi_tunnel_rest(c, op);
    return true;
}

/* Its connections end with it. */
static void sbxi_tunnel_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;

    for (uint32_t i = 0; i < s->count; i++) {
        sbxi_op *of = s->dials[i].op == SBXI_NIL ? NULL : &c->ops[s->dials[i].op];

        if (!of)
            continue;
        if (!(s->dials[i].is & SBXI_DIAL_OVER))
            sbxi_op_set_fail(of, op->fail.code ? (sbx_code)op->fail.code : SBX_ERR_CLOSED, (sbx_layer)op->fail.layer, SBXI_T("its tunnel ended"));
        of->notes = 0;
        of->u.tunnel.session = NULL;
        sbxi_op_finish(c, of);
    }
    op->u.tunnel.session = NULL;
    if (s->allocated)
        c->desc.resize(c->desc.resize_user, s, 0);
}

/* ---- running ---- */

/* Nothing is left for it to do: true. */
static bool sbxi_tunnel_done(sbx_client *c, sbxi_op *op, sbxi_session *s, sbxi_link *l)
{
    unsigned char out[SBX_YAMUX_HEAD];

    if (s->closing && !s->ops && op->attempt_at == SBXI_NEVER) {
        op->attempt_at = sbxi_after(c->net.now, c->desc.ws_close_ms);
        sbxi_op_arm(c, op);
    }
    if (s->closing && !s->ops && !s->live) {
        if (!s->goodbye) {
            s->goodbye = sbxi_tunnel_room(c, l) == SBXI_GOT_EVENT;
            if (s->goodbye)
                sbxi_tunnel_put(c, l, out, sbx_yamux_goaway(&s->y, SBX_YAMUX_NORMAL, out));
        }
        if (!s->goodbye || (sbxi_link_unsent(l) && sbxi_link_flush(&c->net, l) == SBXI_GOT_BLOCKED))
            return false;
        sbxi_op_finish(c, op);
        return true;
    }
    if (s->away && !s->live) {
        sbxi_tunnel_broke(c, op, SBXI_GOT_EOF);
        return true;
    }
    return false;
}

static sbxi_run sbxi_tunnel_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_session *s = op->u.tunnel.session;
    sbxi_link *l = sbxi_op_link(c, op);
    sbxi_got sent, got;
    sbx_fault fault;
    bool wanting;

    (void)ev;
    if (!s->open)
        sbxi_tunnel_opened(c, op, s);
    sbxi_tunnel_settle(c, s);
    sent = sbxi_tunnel_talk(c, op, s, l);
    fault = c->net.fault;
    got = sbxi_tunnel_read(c, op, s, l); /* what came before it broke counts */
    if (sent != SBXI_GOT_FAIL && (got == SBXI_GOT_BLOCKED || got == SBXI_GOT_STARVED)) {
        sent = sbxi_tunnel_talk(c, op, s, l); /* what reading made necessary */
        fault = c->net.fault;
    }
    if (sent == SBXI_GOT_FAIL && got == SBXI_GOT_BLOCKED && !s->data_n) {
        c->net.fault = fault;
        got = SBXI_GOT_FAIL;
    }
    if (got == SBXI_GOT_EOF || got == SBXI_GOT_FAIL) {
        sbxi_tunnel_broke(c, op, got);
        return SBXI_RUN_IDLE;
    }
    op->s.stuck = sent == SBXI_GOT_BLOCKED && got == SBXI_GOT_BLOCKED && !s->data_n && (op->piece_n || l->rx_at < l->rx_end);
    if (sbxi_tunnel_done(c, op, s, l))
        return SBXI_RUN_IDLE;
    wanting = s->wanting && !l->tx && !l->out.frame.left;
    if (wanting && sbxi_link_has_room(&c->net, l)) {
        sbxi_tunnel_writable(c, s);
        wanting = false;
    }
    if (!c->net.run_left)
        sbxi_op_wake(c, op);
    return sent == SBXI_GOT_STARVED || got == SBXI_GOT_STARVED || wanting ? SBXI_RUN_STARVED : SBXI_RUN_IDLE;
}

/* Lets the tunnel go on now that a ring has room. */
static void sbxi_tunnel_pump(sbx_client *c, sbxi_op *op)
{
    sbxi_run r;

    if (op->state != SBXI_OP_STREAM || op->list != SBXI_LIST_RUN)
        return;
    sbxi_op_list(c, op, SBXI_LIST_NONE);
    r = sbxi_tunnel_run(c, op, NULL);
    if (op->list == SBXI_LIST_NONE && (r == SBXI_RUN_STARVED || op->notes) && op->state == SBXI_OP_STREAM)
        sbxi_op_list(c, op, r == SBXI_RUN_STARVED ? SBXI_LIST_STARVED : SBXI_LIST_EVENT);
}

static sbxi_run sbxi_dial_run(sbx_client *c, sbxi_op *op, sbx_event *ev)
{
    sbxi_session *s = op->u.tunnel.session;
    sbxi_dial *d = &s->dials[op->u.tunnel.slot];

    sbxi_tunnel_settle(c, s);
    if (ev && !d->n && !(d->is & (SBXI_DIAL_EOF | SBXI_DIAL_OVER)))
        sbxi_tunnel_pump(c, sbxi_tunnel_op(c, s));
    if (d->is & SBXI_DIAL_HELD)
        return SBXI_RUN_IDLE;
    if (!ev)
        return d->n || d->is & (SBXI_DIAL_EOF | SBXI_DIAL_OVER) ? SBXI_RUN_HELD : SBXI_RUN_IDLE;
    if (op->notes)
        return SBXI_RUN_HELD;
    if (d->n) {
        s->lent = op->u.tunnel.slot;
        s->lent_n = SBXI_MIN(d->n, s->window - d->at);
        sbxi_event_init(c, op, ev, SBX_EV_DATA);
        ev->data = sbx_sn(s->rings + (size_t)s->lent * s->window + d->at, s->lent_n);
        ev->offset = op->u.tunnel.total;
        op->u.tunnel.total += s->lent_n;
        return SBXI_RUN_EVENT;
    }
    if (d->is & SBXI_DIAL_EOF && d->is & SBXI_DIAL_OPEN && !(d->is & SBXI_DIAL_EOF_TOLD)) {
        d->is |= SBXI_DIAL_EOF_TOLD;
        sbxi_event_init(c, op, ev, SBX_EV_EOF);
        return SBXI_RUN_EVENT;
    }
    if (d->is & SBXI_DIAL_OVER || sbxi_dial_complete(d))
        sbxi_op_finish(c, op);
    return SBXI_RUN_IDLE;
}

/* Its time is over. */
static bool sbxi_dial_failed(sbx_client *c, sbxi_op *op)
{
    sbxi_op_finish(c, op);
    return true;
}

static void sbxi_dial_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_session *s = op->u.tunnel.session;
    sbxi_dial *d;

    if (!s)
        return;
    op->u.tunnel.session = NULL;
    d = &s->dials[op->u.tunnel.slot];
    if (s->lent == op->u.tunnel.slot)
        s->lent_n = 0;
    if (s->target == op->u.tunnel.slot)
        s->target = SBXI_NIL;
    d->op = SBXI_NIL;
    d->n = 0;
    s->ops--;
    sbxi_dial_leave(c, s, d);
    if (!s->open && s->closing && !s->ops)
        sbxi_op_finish(c, sbxi_tunnel_op(c, s));
}
#endif

/* ======== src/tunnel_calls.c ======== */

#if !SBX_NO_TUNNEL
#define SBXI_TUNNEL_STREAMS 32u
#define SBXI_TUNNEL_WINDOW_MIN 1024u
#define SBXI_TUNNEL_PING_MS 30000

/* Where the parts of a tunnel's memory begin; its end. */
static size_t sbxi_tunnel_layout(const sbx_tunnel_opts *o, size_t at[3])
{
    uint32_t count = o->max_streams ? o->max_streams : SBXI_TUNNEL_STREAMS;

    at[0] = sbxi_align(sizeof(sbxi_session));
    at[1] = sbxi_add(at[0], sbxi_align(sbxi_mul(count, sizeof(sbx_yamux_stream))));
    at[2] = sbxi_add(at[1], sbxi_align(sbxi_mul(count, sizeof(sbxi_dial))));
    return sbxi_add(at[2], sbxi_mul(count, o->window ? o->window : SBX_YAMUX_INITIAL));
}

SBX_API size_t sbx_tunnel_size(const sbx_tunnel_opts *opts)
{
    size_t at[3];

    return sbxi_add(15, sbxi_tunnel_layout(opts ? opts : &sbxi_no_opts.tunnel, at));
}

static void sbxi_tunnel_memory(sbxi_build *b, const sbx_tunnel_opts *o)
{
    size_t at[3], need = sbx_tunnel_size(o);
    char *p = (char *)o->memory.p;
    bool allocated = !p && !SBX_NO_ALLOC && b->c->desc.resize != NULL;
    sbxi_session *s;

    if (allocated && need != SIZE_MAX)
        p = (char *)b->c->desc.resize(b->c->desc.resize_user, NULL, need);
    else if (!p)
        sbxi_build_refuse(b, SBX_ERR_NO_BUFFER, "memory", SBXI_T("must be given (sbx_tunnel_size says how much), or an allocator in the client's description"));
    if (!b->op)
        return;
    if (!p || (!allocated && o->memory.n < need)) {
        sbxi_build_refuse(b, SBX_ERR_MEMORY, "memory", p ? SBXI_T("is smaller than sbx_tunnel_size says") : SBXI_T("was refused by the allocator"));
        return;
    }
    if (!allocated)
        p += (16 - ((uintptr_t)p & 15)) % 16;
    sbxi_tunnel_layout(o, at);
    s = (sbxi_session *)(void *)p;
    memset(s, 0, at[2]);
    s->streams = (sbx_yamux_stream *)(void *)(p + at[0]);
    s->dials = (sbxi_dial *)(void *)(p + at[1]);
    s->rings = p + at[2];
    s->count = o->max_streams ? o->max_streams : SBXI_TUNNEL_STREAMS;
    s->window = o->window ? o->window : SBX_YAMUX_INITIAL;
    s->ping_interval_ms = o->ping_interval_ms ? o->ping_interval_ms : SBXI_TUNNEL_PING_MS;
    s->ping_ms = o->ping_ms ? o->ping_ms : SBXI_TUNNEL_PING_MS;
    s->target = SBXI_NIL;
    s->allocated = allocated;
    s->op = sbxi_op_id(b->c, b->op);
    for (uint32_t i = 0; i < s->count; i++)
        s->dials[i].op = SBXI_NIL;
    b->op->u.tunnel.session = s;
}

SBX_API sbx_op sbx_tunnel_open(sbx_client *c, const sbx_box *box, const sbx_tunnel_opts *opts)
{
    const sbx_tunnel_opts *o = opts ? opts : &sbxi_no_opts.tunnel;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_tunnel_row, &o->call))
        return b.refused;
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    if (o->window && (o->window < SBXI_TUNNEL_WINDOW_MIN || o->window > INT32_MAX))
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "window", SBXI_T("must be 1,024 to 2,147,483,647, or 0 (262,144)"));
    if (o->max_streams > INT32_MAX)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "max_streams", SBXI_T("must be 2,147,483,647 at most"));
    if (o->ping_interval_ms < SBX_FOREVER || o->ping_ms < SBX_FOREVER)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, o->ping_ms < SBX_FOREVER ? "ping_ms" : "ping_interval_ms", SBXI_T("must be positive milliseconds, 0 (the default) or SBX_FOREVER"));
    if (!b.op)
        return b.refused;
    sbxi_tunnel_memory(&b, o);
    if (!b.op)
        return b.refused;
    b.op->flags |= SBXI_OP_STREAMING | SBXI_OP_HOLDS;
    if (!o->call.timeout_ms)
        b.op->timeout_ms = c->desc.ws_open_ms;
    if (!o->call.max_retries)
        b.op->max_retries = 2;
    return sbxi_build_end(&b);
}

/* The session of a tunnel that takes dials, or NULL. */
static sbxi_session *sbxi_tunnel_for(sbxi_build *b, sbx_op tunnel)
{
    sbxi_op *op = sbxi_op_get(b->c, tunnel);
    sbxi_session *s = op && op->row == &sbxi_tunnel_row ? op->u.tunnel.session : NULL;

    if (!op || op->row != &sbxi_tunnel_row)
        sbxi_build_refuse(b, !tunnel.slot && tunnel.gen ? (sbx_code)tunnel.gen : SBX_ERR_HANDLE, "tunnel", SBXI_T("is none, or its END was pulled"));
    else if (!s || s->closing)
        sbxi_build_refuse(b, SBX_ERR_STATE, "tunnel", SBXI_T("has ended or was closed: open another one"));
    return b->op ? s : NULL;
}

static sbxi_dial *sbxi_tunnel_free_dial(const sbxi_session *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->dials[i].op == SBXI_NIL)
            return &s->dials[i];
    return NULL;
}

SBX_API sbx_op sbx_tunnel_dial(sbx_client *c, sbx_op tunnel, uint16_t port, const sbx_dial_opts *opts)
{
    const sbx_call *call = &(opts ? opts : &sbxi_no_opts.dial)->call;
    sbxi_session *s;
    sbxi_dial *d;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_dial_row, call))
        return b.refused;
    if (!port)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, "port", SBXI_T("must be 1 to 65,535"));
    if (call->headers_n || call->api_key.p)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, call->headers_n ? "call.headers" : "call.api_key", SBXI_T("belongs to sbx_tunnel_open: a connection has no request of its own"));
    s = b.op ? sbxi_tunnel_for(&b, tunnel) : NULL;
    d = s ? sbxi_tunnel_free_dial(s) : NULL;
    if (s && !d)
        sbxi_build_refuse(&b, SBX_ERR_FULL, "max_streams", SBXI_T("connections are open already: end some, or raise it"));
    if (!b.op)
        return b.refused;
    sbxi_op_drop_block(c, b.op); /* there is no request */
    sbxi_client_clock(c);
    b.op->u.tunnel.session = s;
    b.op->u.tunnel.slot = sbxi_dial_id(s, d);
    b.op->u.tunnel.carrier = s->op;
    b.op->total_at = sbxi_after(c->net.now, b.op->total_at);
    b.op->attempt_at = sbxi_after(c->net.now, call->timeout_ms ? call->timeout_ms : c->desc.ws_open_ms);
    b.op->attempts = 1;
    b.op->state = SBXI_OP_STREAM;
    sbxi_op_arm(c, b.op);
    memset(d, 0, sizeof *d);
    d->op = sbxi_op_id(c, b.op);
    d->port = port;
    s->ops++;
    sbxi_dial_todo(c, s, d, SBXI_SAY_HELLO);
    if (sbxi_tunnel_resting(sbxi_tunnel_op(c, s)))
        sbxi_tunnel_reopen(c, sbxi_tunnel_op(c, s));
    return sbxi_op_handle(c, b.op);
}

static sbxi_dial *sbxi_dial_of(const sbx_client *c, sbx_op h, sbxi_op **out)
{
    sbxi_op *op = sbxi_op_get(c, h);

    *out = op && op->row == &sbxi_dial_row ? op : NULL;
    return *out && op->u.tunnel.session ? &op->u.tunnel.session->dials[op->u.tunnel.slot] : NULL;
}

/* Bytes go out in place: heads before them are put into the send buffer when
   their number is known. *n: how many the buffer and the peer's window take. */
static char *sbxi_dial_room(sbx_client *c, sbxi_session *s, const sbxi_dial *d, size_t *n)
{
    uint32_t take = d->is & SBXI_DIAL_OPEN ? sbx_yamux_sendable(d->stream) : 0;
    size_t room = 0;
    sbxi_got got;
    char *p = take ? sbxi_ws_compose(&c->net, sbxi_op_link(c, sbxi_tunnel_op(c, s)), &room, &got) : NULL;

    /* What keeps the session going stays free. */
    *n = p && room > SBX_YAMUX_HEAD + SBXI_TUNNEL_ROOM ? SBXI_MIN(take, room - (SBX_YAMUX_HEAD + SBXI_TUNNEL_ROOM)) : 0;
    return p ? p + SBX_YAMUX_HEAD : NULL;
}

/* One frame of the n bytes at p, which is what sbxi_dial_room said. */
static void sbxi_dial_frame(sbx_client *c, sbxi_session *s, sbxi_dial *d, char *p, size_t n)
{
    sbxi_link *l = sbxi_op_link(c, sbxi_tunnel_op(c, s));

    if (!l->tx_end) /* else the rest of the upgrade, with its key, may stand before it */
        l->plain = true;
    sbx_yamux_data(d->stream, &n, (unsigned char *)p - SBX_YAMUX_HEAD);
    sbxi_ws_composed(&c->net, l, SBX_WS_OP_BINARY, SBX_YAMUX_HEAD + n);
    if (c->net.entropy_failed)
        d->stream->send += (uint32_t)n; /* the peer has seen nothing of it */
    s->turn = sbxi_dial_id(s, d) + 1;
    sbxi_link_flush(&c->net, l);
}

/* The connection, where it may send now. */
static sbx_code sbxi_dial_sends(sbx_client *c, sbx_op h, sbxi_op **op, sbxi_dial **d)
{
    *d = sbxi_dial_of(c, h, op);
    if (!*op)
        return SBX_ERR_HANDLE;
    if (!*d || c->net.inside || (*d)->is & (SBXI_DIAL_ENDED | SBXI_DIAL_OVER))
        return SBX_ERR_STATE;
    c->net.entropy_failed = false;
    return SBX_OK;
}

static void sbxi_dial_wants_room(sbxi_op *op)
{
    op->flags |= SBXI_OP_WANTS_ROOM;
    op->u.tunnel.session->wanting = true;
}

/* The tunnel goes on with what a call left. */
static void sbxi_dial_sent(sbx_client *c, sbxi_op *op)
{
    sbxi_op *of = sbxi_tunnel_op(c, op->u.tunnel.session);

    if (of->state == SBXI_OP_STREAM)
        sbxi_op_wake(c, of);
}

SBX_API sbx_code sbx_tunnel_send(sbx_client *c, sbx_op h, sbx_str data, bool end, size_t *taken)
{
    sbxi_op *op;
    sbxi_dial *d;
    sbx_code code = sbxi_dial_sends(c, h, &op, &d);
    sbxi_session *s;

    *taken = 0;
    if (code)
        return code;
    s = op->u.tunnel.session;
    while (*taken < data.n) {
        size_t n;
        char *p = sbxi_dial_room(c, s, d, &n);

        if (!n)
            break;
        n = SBXI_MIN(n, data.n - *taken);
        memcpy(p, data.p + *taken, n);
        sbxi_dial_frame(c, s, d, p, n);
        if (c->net.entropy_failed)
            return SBX_ERR_ENTROPY;
        *taken += n;
    }
    if (*taken < data.n) {
        sbxi_dial_wants_room(op);
    } else if (end) {
        d->is |= SBXI_DIAL_ENDED;
        sbxi_dial_todo(c, s, d, SBXI_SAY_FIN);
    }
    sbxi_dial_sent(c, op);
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_reserve(sbx_client *c, sbx_op h, sbx_buf *room)
{
    sbxi_op *op;
    sbxi_dial *d;
    sbx_code code = sbxi_dial_sends(c, h, &op, &d);

    memset(room, 0, sizeof *room);
    if (code)
        return code;
    room->p = sbxi_dial_room(c, op->u.tunnel.session, d, &room->n);
    if (!room->n) {
        sbxi_dial_wants_room(op);
        sbxi_dial_sent(c, op); /* which waits for a buffer, where that is what is wanting */
    }
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_commit(sbx_client *c, sbx_op h, size_t n)
{
    sbxi_op *op;
    sbxi_dial *d;
    sbx_code code = sbxi_dial_sends(c, h, &op, &d);
    size_t room;
    char *p;

    if (code)
        return code;
    p = sbxi_dial_room(c, op->u.tunnel.session, d, &room);
    if (n > room)
        return SBX_ERR_TOO_LARGE;
    if (n)
        sbxi_dial_frame(c, op->u.tunnel.session, d, p, n);
    else if (p)
        sbxi_link_flush(&c->net, sbxi_op_link(c, sbxi_tunnel_op(c, op->u.tunnel.session))); /* gives back a buffer that is empty */
    sbxi_dial_sent(c, op);
    return c->net.entropy_failed ? SBX_ERR_ENTROPY : SBX_OK;
}

SBX_API sbx_code sbx_tunnel_hold(sbx_client *c, sbx_op h, bool hold)
{
    sbxi_op *op;
    sbxi_dial *d = sbxi_dial_of(c, h, &op);

    if (!op)
        return SBX_ERR_HANDLE;
    if (c->net.inside)
        return SBX_ERR_STATE;
    if (d) {
        d->is = (uint8_t)(hold ? d->is | SBXI_DIAL_HELD : d->is & ~SBXI_DIAL_HELD);
        sbxi_dial_tell(c, d);
    }
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_unread(sbx_client *c, sbx_op h, size_t n)
{
    sbxi_op *op;
    sbxi_dial *d = sbxi_dial_of(c, h, &op);
    sbxi_session *s;

    if (!op)
        return SBX_ERR_HANDLE;
    s = d ? op->u.tunnel.session : NULL;
    if (!d || s->lent != op->u.tunnel.slot || n > s->lent_n)
        return SBX_ERR_STATE;
    s->lent_n -= (uint32_t)n;
    op->u.tunnel.total -= n;
    sbxi_dial_tell(c, d);
    return SBX_OK;
}

SBX_API sbx_code sbx_tunnel_close(sbx_client *c, sbx_op tunnel)
{
    sbxi_op *op = sbxi_op_get(c, tunnel);
    sbxi_session *s;

    if (!op || op->row != &sbxi_tunnel_row)
        return SBX_ERR_HANDLE;
    if (c->net.inside)
        return SBX_ERR_STATE;
    s = op->u.tunnel.session;
    if (!s || s->closing)
        return SBX_OK;
    s->closing = true;
    if (!s->open && !s->ops)
        sbxi_op_finish(c, op);
    else
        sbxi_op_wake(c, op);
    return SBX_OK;
}
#endif

/* ======== src/ports.c ======== */

#if !SBX_NO_PORTS
/* The transport of a client without one: what the caller brings in is offered
   to recv for the length of a call, what send is given goes straight into the
   caller's buffer. */

typedef struct sbxi_port_ctx {
    unsigned char state[20]; /* of the generator; all zero = not seeded */
    uint64_t counter;
    int64_t wall_ms;
    bool seeded;
} sbxi_port_ctx;

typedef enum sbxi_port_state { SBXI_PORT_NONE, SBXI_PORT_ASKED, SBXI_PORT_TOLD, SBXI_PORT_OPEN, SBXI_PORT_FAILED, SBXI_PORT_EOF } sbxi_port_state;

typedef struct sbxi_port_conn {
    const char *in;
    size_t in_n;
    char *out;
    size_t out_n, out_room;
    uint16_t port;
    uint8_t state, code;
    bool tls;
} sbxi_port_conn;

static sbx_io sbxi_port_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    sbxi_port_conn *p = (sbxi_port_conn *)conn;

    (void)ctx;
    switch (p->state) {
    case SBXI_PORT_NONE:
        p->state = SBXI_PORT_ASKED;
        p->port = to->port;
        p->tls = to->tls;
        return SBX_IO_WANT_WRITE;
    case SBXI_PORT_OPEN: return SBX_IO_OK;
    case SBXI_PORT_FAILED: fault->code = (sbx_code)p->code; return SBX_IO_FAIL;
    default: return SBX_IO_WANT_WRITE;
    }
}

static sbx_io sbxi_port_recv_io(void *ctx, void *conn, void *to, size_t room, size_t *got, sbx_fault *fault)
{
    sbxi_port_conn *p = (sbxi_port_conn *)conn;

    (void)ctx;
    if (p->in_n) {
        *got = SBXI_MIN(room, p->in_n);
        memcpy(to, p->in, *got);
        p->in += *got;
        p->in_n -= *got;
        return SBX_IO_OK;
    }
    if (p->state == SBXI_PORT_EOF)
        return SBX_IO_EOF;
    if (p->state == SBXI_PORT_FAILED) {
        fault->code = (sbx_code)p->code;
        return SBX_IO_FAIL;
    }
    return SBX_IO_WANT_READ;
}

static sbx_io sbxi_port_send_io(void *ctx, void *conn, const void *from, size_t n, size_t *sent, sbx_fault *fault)
{
    sbxi_port_conn *p = (sbxi_port_conn *)conn;

    (void)ctx;
    if (p->state == SBXI_PORT_FAILED) {
        fault->code = (sbx_code)p->code;
        return SBX_IO_FAIL;
    }
    *sent = SBXI_MIN(n, p->out_room - p->out_n);
    if (!*sent)
        return SBX_IO_WANT_WRITE;
    memcpy(p->out + p->out_n, from, *sent);
    p->out_n += *sent;
    return SBX_IO_OK;
}

static void sbxi_port_close(void *ctx, void *conn)
{
    (void)ctx;
    (void)conn;
}

/* SHA-1 in counter mode over the caller's seed: good for masks, ids and
   nonces, none of which is a long-lived secret. */
static bool sbxi_port_entropy(void *ctx, void *to, size_t n)
{
    sbxi_port_ctx *x = (sbxi_port_ctx *)ctx;
    unsigned char block[29], digest[20], *out = (unsigned char *)to;

    if (!x->seeded)
        return false;
    while (n) {
        size_t take = SBXI_MIN(n, sizeof digest);

        memcpy(block, x->state, 20);
        memcpy(block + 20, &x->counter, 8);
        block[28] = 0;
        x->counter++;
        sbxi_sha1(digest, block, sizeof block);
        memcpy(out, digest, take);
        out += take;
        n -= take;
    }
    block[28] = 1; /* what was given out cannot be computed from what is kept */
    sbxi_sha1(x->state, block, sizeof block);
    return true;
}

static int64_t sbxi_port_mono(void *ctx)
{
    (void)ctx;
    return 0; /* time comes with sbx_step */
}

static int64_t sbxi_port_wall(void *ctx)
{
    return ((sbxi_port_ctx *)ctx)->wall_ms;
}

const sbx_transport sbx_ports = {
    "ports", (unsigned)SBX_TRANSPORT_TLS | (unsigned)SBX_TRANSPORT_PORTS, (uint32_t)sizeof(sbxi_port_ctx), 1, (uint32_t)sizeof(sbxi_port_conn), NULL,
    NULL, NULL, sbxi_port_connect, sbxi_port_recv_io, sbxi_port_send_io, sbxi_port_close,
    NULL, NULL, NULL, NULL, NULL, sbxi_port_entropy, sbxi_port_mono, sbxi_port_wall
};

/* ---- the caller's side ---- */

static sbxi_port_conn *sbxi_port_at(sbx_client *c, uint32_t id)
{
    if (c->net.t != &sbx_ports || id == 0 || id > c->net.link_count || c->net.inside)
        return NULL;
    return (sbxi_port_conn *)sbxi_link_conn(&c->net, &c->net.links[id - 1]);
}

SBX_API bool sbx_port_next(sbx_client *c, sbx_port *out)
{
    /* Connections that the caller has; one can be over, and its link taken
       again, between two calls. */
    unsigned char *told = (unsigned char *)c->net.ctx + sizeof(sbxi_port_ctx);

    memset(out, 0, sizeof *out);
    if (c->net.t != &sbx_ports)
        return false;
    for (uint32_t i = 0; i < c->net.link_count; i++) {
        const sbxi_link *l = &c->net.links[i];
        sbxi_port_conn *p = (sbxi_port_conn *)sbxi_link_conn(&c->net, l);
        sbxi_url url;

        out->id = i + 1;
        if (l->state == SBXI_LINK_FREE)
            p->state = SBXI_PORT_NONE;
        if (told[i] && p->state <= SBXI_PORT_ASKED) {
            told[i] = 0;
            out->action = SBX_PORT_CLOSE;
            return true;
        }
        if (l->state == SBXI_LINK_CONNECTING && p->state == SBXI_PORT_ASKED) {
            const sbxi_op *op = &c->ops[l->owner];

            sbxi_op_url(c, op, &url);
            p->state = SBXI_PORT_TOLD;
            told[i] = 1;
            out->action = SBX_PORT_CONNECT;
            out->host = url.host;
            out->port = url.port;
            out->tls = url.tls;
            return true;
        }
    }
    return false;
}

static sbx_code sbxi_port_change(sbx_client *c, uint32_t id, sbxi_port_state state, sbx_code code)
{
    sbxi_port_conn *p = sbxi_port_at(c, id);
    sbxi_link *l = p ? &c->net.links[id - 1] : NULL;

    if (!l || l->state == SBXI_LINK_FREE)
        return SBX_ERR_HANDLE;
    p->state = (uint8_t)state;
    p->code = (uint8_t)code;
    l->ready = SBX_READABLE | SBX_WRITABLE;
    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING)
        sbxi_link_idle_ready(&c->net, l);
    else
        sbxi_op_wake(c, &c->ops[l->owner]);
    return SBX_OK;
}

SBX_API sbx_code sbx_port_opened(sbx_client *c, uint32_t id)
{
    return sbxi_port_change(c, id, SBXI_PORT_OPEN, SBX_OK);
}

SBX_API sbx_code sbx_port_failed(sbx_client *c, uint32_t id, sbx_code code)
{
    return sbxi_port_change(c, id, SBXI_PORT_FAILED, code ? code : SBX_ERR_CONNECTION);
}

SBX_API sbx_code sbx_port_eof(sbx_client *c, uint32_t id)
{
    return sbxi_port_change(c, id, SBXI_PORT_EOF, SBX_OK);
}

/* Lets the connection's owner run with what the caller gave. */
static void sbxi_port_run(sbx_client *c, uint32_t id, unsigned bits)
{
    sbxi_link *l = &c->net.links[id - 1];
    bool starved;
    sbxi_op *op;

    l->ready |= (uint8_t)bits;
    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING) {
        sbxi_link_idle_ready(&c->net, l);
        return;
    }
    op = &c->ops[l->owner];
    if (op->state == SBXI_OP_DONE)
        return;
    c->net.inside = true;
    c->net.run_left = SIZE_MAX; /* what the caller gives has an end */
    /* A pull found no buffer for what can be read: one finds no more for having
       something sent. */
    starved = op->list == SBXI_LIST_STARVED && !(bits & SBX_READABLE);
    sbxi_op_list(c, op, SBXI_LIST_NONE);
    switch (sbxi_op_run(c, op, NULL)) {
    case SBXI_RUN_STARVED: sbxi_op_list(c, op, SBXI_LIST_STARVED); break;
    case SBXI_RUN_IDLE: break;
    default:
        if (op->state != SBXI_OP_FREE)
            sbxi_op_list(c, op, starved && !op->notes && op->state != SBXI_OP_DONE ? SBXI_LIST_STARVED : SBXI_LIST_EVENT);
    }
    c->net.inside = false;
}

/* Whether something in the link's receive buffer is pointed to, so that it may
   not move. */
static bool sbxi_port_pinned(const sbx_client *c, uint32_t owner)
{
    const sbxi_op *op = &c->ops[owner];

    return op->piece_n || c->borrowed == owner || (op->state == SBXI_OP_STREAM && op->s.has_data);
}

/* Output that has to be pulled is read only then: a part of the bytes is taken
   into the link's buffer now, as far as it has room. */
SBX_API size_t sbx_port_recv(sbx_client *c, uint32_t id, const void *data, size_t n)
{
    sbxi_port_conn *p = sbxi_port_at(c, id);
    size_t taken;

    if (!p || p->state != SBXI_PORT_OPEN || c->net.links[id - 1].state == SBXI_LINK_FREE || !n)
        return 0;
    p->in = (const char *)data;
    p->in_n = n;
    sbxi_port_run(c, id, SBX_READABLE);
    if (p->in_n && c->net.links[id - 1].state == SBXI_LINK_BUSY && !sbxi_port_pinned(c, c->net.links[id - 1].owner))
        sbxi_link_take_ahead(&c->net, &c->net.links[id - 1]);
    taken = n - p->in_n;
    p->in = NULL;
    p->in_n = 0;
    return taken;
}

SBX_API size_t sbx_port_send(sbx_client *c, uint32_t id, void *to, size_t room)
{
    sbxi_port_conn *p = sbxi_port_at(c, id);
    size_t n;

    if (!p || p->state != SBXI_PORT_OPEN || c->net.links[id - 1].state == SBXI_LINK_FREE || !room)
        return 0;
    p->out = (char *)to;
    p->out_room = room;
    p->out_n = 0;
    sbxi_port_run(c, id, SBX_WRITABLE);
    n = p->out_n;
    p->out = NULL;
    p->out_room = p->out_n = 0;
    return n;
}

SBX_API sbx_code sbx_port_seed(sbx_client *c, const void *seed, size_t n, int64_t wall_ms)
{
    sbxi_port_ctx *x = (sbxi_port_ctx *)c->net.ctx;
    unsigned char block[20 + 64];
    size_t take = SBXI_MIN(n, 64);

    if (c->net.t != &sbx_ports)
        return SBX_ERR_STATE;
    if (n < 32)
        return SBX_ERR_ARGUMENT;
    memcpy(block, x->state, 20);
    memcpy(block + 20, seed, take);
    sbxi_sha1(x->state, block, 20 + take);
    memset(block, 0, sizeof block);
    x->seeded = true;
    c->net.entropy_failed = false;
    x->wall_ms = wall_ms;
    sbxi_port_entropy(x, c->net.seed, sizeof c->net.seed);
    return SBX_OK;
}
#endif

/* ======== src/await.c ======== */

/* How many events of one operation are handed out before the others, and the
   clock, are looked after. */
#define SBXI_TURN_EVENTS 32

static bool sbxi_refused_event(sbx_op *h, sbx_event *ev)
{
    if (h->slot || h->gen == SBX_OK)
        return false;
    memset(ev, 0, sizeof *ev);
    ev->kind = SBX_EV_END;
    ev->op = *h;
    ev->code = (sbx_code)h->gen;
    h->gen = SBX_OK; /* the next call ends the loop */
    return true;
}

/* The operation that moves its bytes. (A tunnel's connection is told by what no
   other operation has: its row's address would link tunnels into every
   program.) */
static uint32_t sbxi_carrier(const sbx_client *c, const sbxi_op *op)
{
    bool dial = !SBX_NO_TUNNEL && op->row->answer == SBXI_ANSWER_STREAM && !op->row->method[0] && op->state == SBXI_OP_STREAM;

    return dial ? op->u.tunnel.carrier : sbxi_op_id(c, op);
}

/* How long to sleep while only one operation's events are of interest. */
static int64_t sbxi_sleep_ms(const sbx_client *c, const sbxi_op *op)
{
    int64_t at = SBXI_MIN(sbxi_net_sweep_at(&c->net), sbxi_timer_first(&c->timers));

    /* What it waits for may have been given back behind it in the last turn. */
    if (c->lists[SBXI_LIST_RUN].head != SBXI_NIL || (op->list == SBXI_LIST_STARVED && c->net.rx.used < c->net.rx.count && c->net.tx.used + 1 < c->net.tx.count))
        return 0;
    if (at == SBXI_NEVER)
        return -1;
    return at <= c->net.now ? 0 : at - c->net.now;
}

SBX_API bool sbx_next_of(sbx_client *c, sbx_op *h, sbx_event *ev)
{
    if (c->net.inside)
        return false;
    if (!h->slot)
        return sbxi_refused_event(h, ev);
    for (bool first = true;; first = false) {
        sbxi_op *op = sbxi_op_get(c, *h);
        bool got;

        if (!op || op->flags & SBXI_OP_INTERNAL)
            return false;
        c->blocked = h->slot - 1;
        c->net.awaited = sbxi_carrier(c, op);
        got = c->turn_events < SBXI_TURN_EVENTS && sbxi_client_pull(c, op, ev);
        c->turn_events = got ? c->turn_events + 1 : 0;
        if (!got && c->net.t->wait) {
            sbxi_client_clock(c);
            /* Everything that moves without waiting moves first. */
            sbxi_client_turn(c, first || op->list == SBXI_LIST_EVENT ? 0 : sbxi_sleep_ms(c, &c->ops[c->net.awaited]));
        }
        c->blocked = c->net.awaited = SBXI_NIL;
        if (got || !c->net.t->wait)
            return got;
    }
}

SBX_API sbx_code sbx_await(sbx_client *c, sbx_op h)
{
    sbx_event ev;
    sbx_code code = h.slot || !h.gen ? SBX_ERR_HANDLE : (sbx_code)h.gen; /* { 0, 0 } was no call's */

    if (h.slot && (c->net.inside || !c->net.t->wait))
        return c->net.inside ? SBX_ERR_STATE : SBX_ERR_UNSUPPORTED;
    while (h.slot && sbx_next_of(c, &h, &ev))
        if (ev.kind == SBX_EV_END)
            return ev.code;
    return code;
}

SBX_API bool sbx_wait(sbx_client *c, int64_t timeout_ms)
{
    int64_t at = sbx_next_deadline(c), left;

    if (c->net.inside || !c->net.t->wait)
        return false;
    sbxi_client_clock(c);
    if (at != SBXI_NEVER) {
        left = at <= c->net.now ? 0 : at - c->net.now;
        timeout_ms = timeout_ms < 0 ? left : SBXI_MIN(timeout_ms, left);
    }
    sbxi_client_turn(c, timeout_ms);
    return true;
}

/* ======== src/open.c ======== */

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

#endif /* SANDBOX_IMPLEMENTATION && !SBX_SANDBOX_H_IMPLEMENTED */
