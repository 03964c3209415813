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
