/* sandbox_curl.h: TCP, TLS and proxies for sandbox.h through libcurl, on Linux.

   libcurl looks up the name, connects, goes through a proxy and speaks TLS;
   then it carries bytes. Its own HTTP and WebSocket are not used. http and
   https targets both work.

   Use
       #define SANDBOX_IMPLEMENTATION      in one C or C++ file
       #include "sandbox.h"                before any system header
       #include "sandbox_curl.h"
   and set sbx_client_desc.transport = &sbx_curl. Link with -lcurl (or what
   `pkg-config --libs libcurl` says), and with -pthread and -ldl where the C
   library keeps those apart. Debian: libcurl4-openssl-dev. libcurl 7.87 or
   newer, at build and at run time, made with OpenSSL. With GnuTLS errors say
   less, sessions of TLS 1.3 are not resumed, and a connection through an
   https:// proxy can stall; other libraries were not tried (and see End of
   stream). Elsewhere than on Linux: epoll is missing, use another transport.

   TLS
   The peer's certificate is always checked, against the host's name or IP
   address, its dates, and libcurl's own trusted CAs or those of `ca_file` and
   `ca_dir`. ALPN offers http/1.1 alone. TLS 1.2 is the least that is spoken.
   Sessions are resumed between connections of one client.

   Proxies
   `proxy`, or without it the environment as libcurl reads it: https_proxy or
   HTTPS_PROXY for https targets, http_proxy (lower case only) for http
   targets, else all_proxy or ALL_PROXY; no_proxy or NO_PROXY lists the hosts
   that need none. Every connection is a tunnel (HTTP CONNECT, or SOCKS), those
   to http targets too, so one rule holds for requests, WebSockets and all
   else; an HTTP proxy must allow CONNECT to the port in question.

   Names
   libcurl's threaded resolver (Debian's; or c-ares) looks names up: one thread
   for each name in the works, none for IP literals, so nothing blocks. Closing
   a connection gives its lookup up at once; a thread whose getaddrinfo hangs
   goes on by itself, and frees what it holds when that returns. A libcurl
   built without either is refused by open.

   Waiting
   One epoll instance a client; `poll_handle` is its descriptor, readable
   whenever `wait` would report something. While a connection is made, libcurl
   says which of its sockets to watch, level-triggered, and `wait` moves it on;
   the client hears of it when it stands or failed. From then on its socket is
   watched edge-triggered, one registration for its life: no system call a
   read, and what TLS keeps decrypted in its own buffers is found, because a
   connection counts as readable until `recv` answered WANT_READ. TLS may need
   to write in order to read, and the reverse, which libcurl does not tell: so
   either change of a TLS connection's socket can be reported as both. `wait` goes on after a signal. `wake` may be called from any
   thread and from a signal handler.

   End of stream
   TLS: a peer that ends without close_notify may have been cut off by someone
   else, so recv answers SBX_ERR_TLS. libcurl does not tell; over OpenSSL this
   transport asks that library itself (SSL_get_shutdown, sought by dlsym in what
   libcurl is linked to); GnuTLS makes an error of it; over others, and over an
   OpenSSL that is linked statically, a cut looks like a clean end.

   Floods of TLS messages (key updates, tickets, requests to begin anew)
   recv takes in 32 without data at most, a handshake 20000 in one go, so that a
   server that sends nothing else keeps neither step nor deadlines waiting.
   Again by asking OpenSSL itself; over what else libcurl may use their number
   is what that library allows, and so it is in an https:// proxy's session
   behind its handshake.

   Memory
   This transport's state lies in the client's memory (about 330 bytes a
   connection), but libcurl takes its own from malloc: 10 KB a connection, with
   TLS 43 KB, and for each SBX_CURL_GROUP connections that were ever open at
   once 300 KB, with TLS one copy of the trusted CAs more (Debian's: 0.7 MB and
   20 ms). This transport itself takes 16 KiB for TLS sends, and 16 KiB more for
   each connection whose send would block, until it went out. No memory =
   SBX_ERR_MEMORY.
   Passwords given in the configuration stay in libcurl's memory until shut and
   are not wiped.

   Threads, global state, fork
   open calls curl_global_init and shut curl_global_cleanup; libcurl counts
   them. Where curl_version_info() does not have CURL_VERSION_THREADSAFE, call
   curl_global_init yourself before the program starts its second thread.
   SIGPIPE is neither raised nor changed. The child of a fork must not touch a
   client that was opened before.

   Configuration macro, read by the implementation only
       SBX_CURL_GROUP=n   connections a curl_multi handle, default 128. libcurl
                          seeks a connection among those of its handle at each
                          read and write, so more make these slower, fewer
                          cost memory and descriptors (2 a handle). */
#ifndef SBX_CURL_H
#define SBX_CURL_H

#ifndef SBX_TRANSPORT_H
#error "include sandbox.h before sandbox_curl.h"
#endif

SBX_EXTERN_C_BEGIN

/* sbx_client_desc.transport_config; NULL or all zero = defaults. Read during
   open only; texts are NUL-terminated and copied. What is wrong in it fails
   open with SBX_ERR_ARGUMENT, naming the field; but libcurl reads the files
   when it connects, so what is broken inside a PEM block, a key that does not
   belong to its certificate, and a wrong key_password are SBX_ERR_TLS of the
   first call. */
typedef struct sbx_curl_config {
    const char *ca_file;      /* PEM file of trusted CAs, in place of the system's */
    const char *ca_dir;       /* directory of them (openssl rehash), in place of the system's; slower: read for every connection */
    const char *cert;         /* client certificate with its chain, PEM file */
    const char *key;          /* its key, PEM file; NULL = in `cert` too */
    const char *key_password; /* of an encrypted key */
    int min_tls;              /* 12 = TLS 1.2, 13 = TLS 1.3; 0 = 12 */

    /* http://host:3128, https://, socks5:// (names looked up here), socks5h://
       (looked up by the proxy), socks4://, socks4a://; also with user:password@.
       NULL = by the environment, "" = none. Names of an HTTP proxy's targets
       are looked up by the proxy. */
    const char *proxy;
    const char *no_proxy;       /* "localhost,.example.org,10.0.0.0/8", "*" = all; NULL = by the environment */
    const char *proxy_user;     /* with password, in place of those in the URL; HTTP: Basic */
    const char *proxy_password; /* in no error text */
    const char *proxy_ca_file;  /* CAs for an https:// proxy; NULL = as ca_file and ca_dir */

    const char *bind;       /* local address or interface: "192.0.2.7", "if!eth0"; NULL = any */
    int connect_timeout_ms; /* lookup, TCP, proxy and TLS together; half of it for an address when there is another; 0 = 15000 */
    bool no_keepalive;      /* default: probe after 45 s of silence, then each 15 s */

    /* Takes any certificate from anyone: whoever sits between reads and changes
       everything, the API key included. For experiments on one machine. An
       https:// proxy's certificate is checked all the same. */
    bool insecure_no_verify;
} sbx_curl_config;

/* Codes in the fault, with libcurl's CURLcode in `sys` (open: errno where a
   descriptor could not be had):
   open     SBX_ERR_ARGUMENT (config), SBX_ERR_UNSUPPORTED (libcurl too old or
            without TLS or asynchronous lookups), SBX_ERR_CONNECT (no
            descriptor left), SBX_ERR_MEMORY
   connect  SBX_ERR_RESOLVE, SBX_ERR_CONNECT (TCP, proxy), SBX_ERR_TLS,
            SBX_ERR_MEMORY, SBX_ERR_FULL (more connections than max_conns),
            SBX_ERR_STATE (connect after FAIL without close)
   recv     SBX_ERR_CONNECTION, SBX_ERR_TLS (also: ended without close_notify);
   send     SBX_ERR_STATE before connect was OK; SBX_ERR_ARGUMENT for a length
            of 0
   Texts hold libcurl's own words where they help, and are valid until the
   next call. A connection's state must stay at its address, and its tag the
   same, from connect to close; the state is all zero again after close.
   With TLS, what send answered WANT_WRITE for must come first in the next send,
   unchanged and not less (it may be encrypted already): else SBX_ERR_STATE. */
extern const sbx_transport sbx_curl;

SBX_EXTERN_C_END
#endif /* SBX_CURL_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_CURL_IMPLEMENTED)
#define SBXI_CURL_IMPLEMENTED

#ifndef __linux__
#error "sandbox_curl.h needs epoll (Linux)"
#endif
#ifndef SBX_CURL_GROUP
#define SBX_CURL_GROUP 128
#endif
#if SBX_CURL_GROUP < 1 || SBX_CURL_GROUP > 100000
#error "SBX_CURL_GROUP must be 1 to 100000"
#endif

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <curl/curl.h>

#if !defined(CLOCK_MONOTONIC) || !defined(SIG_SETMASK) || (defined(__GLIBC__) && !defined(__USE_MISC))
#error "sandbox_curl.h: POSIX is hidden (-std=c99?) and a system header came first: include sandbox.h before every system header in this file, or compile it with -D_DEFAULT_SOURCE"
#endif
#if LIBCURL_VERSION_NUM < 0x075700
#error "sandbox_curl.h needs libcurl 7.87 or newer (CURLOPT_QUICK_EXIT; no SIGPIPE from TLS)"
#endif

SBX_EXTERN_C_BEGIN

#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
#define SBXI_CURL_TEXT(s) NULL
#else
#define SBXI_CURL_TEXT(s) (s)
#endif

enum {
    SBXI_CURL_HOST = 256,      /* the longest name has 253 bytes */
    SBXI_CURL_BATCH = 64,      /* events taken from the kernel at a time */
    SBXI_CURL_RECORD = 16384,  /* a TLS record's content */
    SBXI_CURL_READ = 512 * 1024, /* most bytes that libcurl reads at a time */
    SBXI_CURL_BARREN = 32,     /* TLS messages without data that one recv takes */
    SBXI_CURL_MESSAGES = 20000, /* TLS messages of handshakes in one go, those of a whole group */
    SBXI_CURL_PAGE = 256 * 1024 /* most bytes of a proxy's answer that are read in one go */
};

/* States of a connection; zeroed memory is NEW. */
enum {
    SBXI_CURL_NEW,
    SBXI_CURL_BUSY,   /* libcurl is at it */
    SBXI_CURL_FAILED, /* and could not; not yet told */
    SBXI_CURL_OPEN,
    SBXI_CURL_DEAD
};

struct sbxi_curl_ctx;

/* Functions of OpenSSL, and the numbers that its header gives them. */
typedef int (*sbxi_curl_ssl_shutdown)(const void *ssl);
typedef long (*sbxi_curl_ssl_ctrl)(void *ssl, int command, long number, void *p);
typedef long (*sbxi_curl_ssl_callback)(void *ssl, int command, void (*f)(void));
typedef void (*sbxi_curl_ssl_set_bio)(void *ssl, void *bio);
typedef void *(*sbxi_curl_bio_new)(const void *method);
typedef const void *(*sbxi_curl_bio_null)(void);
enum {
    SBXI_CURL_SSL_RECEIVED_SHUTDOWN = 2,
    SBXI_CURL_SSL_SET_MSG_CALLBACK = 15,
    SBXI_CURL_SSL_SET_MSG_ARG = 16,
    SBXI_CURL_SSL_CLEAR_MODE = 78,
    SBXI_CURL_SSL_AUTO_RETRY = 4
};

/* Some connections that share a multi handle. */
typedef struct sbxi_curl_group {
    struct sbxi_curl_ctx *ctx;
    CURLM *multi;
    int64_t due; /* when libcurl's timer is over; -1 = not set */
    uint32_t used;
    uint32_t bare; /* BUSY ones that have no socket */
} sbxi_curl_group;

typedef struct sbxi_curl_conn {
    CURL *easy;
    sbxi_curl_group *group;
    struct sbxi_curl_conn *next, *prev; /* of those to report */
    char *held; /* TLS: bytes that libcurl must be given again at their address */
    uint32_t held_n;
    uint32_t tag;
    int fd1;    /* socket + 1, 0 = none */
    int result; /* CURLcode of a failed connect */
    int err;    /* errno of what failed outside libcurl, 0 = none */
    uint8_t state, want;
    uint8_t sockets; /* that libcurl has us watch */
    bool listed, tls;
    bool fresh; /* the kernel has reported nothing yet */
    bool listens, heard; /* OpenSSL tells of messages; there was one */
    char error[CURL_ERROR_SIZE];
} sbxi_curl_conn;

typedef struct sbxi_curl_ctx {
    bool opened, global, timer_stale, proxy_tls;
    bool waiting; /* in `wait`, which reports what is listed */
    int epoll, wake, timer;
    int64_t armed; /* what the timer stands at; -1 = off */
    CURL *model;   /* every connection's options */
    CURLSH *share; /* names and TLS sessions */
    char *record;  /* where TLS sends copy to, so that they can be repeated from there */
    sbxi_curl_conn *first, *last;
    sbxi_curl_ssl_shutdown ssl_shutdown; /* OpenSSL's SSL_get_shutdown, NULL = not known */
    sbxi_curl_ssl_ctrl ssl_ctrl, ctx_ctrl; /* SSL_ctrl, SSL_CTX_ctrl and the next five: all or none */
    sbxi_curl_ssl_callback ssl_callback, ctx_callback;
    sbxi_curl_ssl_set_bio set_bio;
    sbxi_curl_bio_new bio_new;
    sbxi_curl_bio_null bio_null;
    uint32_t groups;                     /* places */
    uint32_t begun;                      /* of them with a multi handle */
    uint32_t looked;                     /* times that libcurl asked in one go whether to go on */
    uint32_t messages;                   /* of TLS handshakes in one go */
    char text[256];
} sbxi_curl_ctx;

static sbxi_curl_group *sbxi_curl_groups(sbxi_curl_ctx *x)
{
    return (sbxi_curl_group *)(void *)((char *)x + SBX_TRANSPORT_ALIGN(sizeof *x));
}

/* ---- errors ---- */

static sbx_io sbxi_curl_fail(sbx_fault *fault, sbx_code code, int sys, const char *text)
{
    if (fault) {
        fault->code = code;
        fault->sys = sys;
        fault->text = text;
    }
    return SBX_IO_FAIL;
}

static bool sbxi_curl_has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
#define sbxi_curl_say(x, what, detail) ((void)(x), (void)(what), (void)(detail), (const char *)NULL)
#define sbxi_curl_unreadable(x, field, path) ((void)(x), (void)(field), (void)(path), (const char *)NULL)
#define sbxi_curl_no_pem(x, field, path, kind) ((void)(x), (void)(field), (void)(path), (void)(kind), (const char *)NULL)
#else
/* Puts texts together, up to a NULL; what has no room is left out. */
static const char *sbxi_curl_join(sbxi_curl_ctx *x, const char *const *parts)
{
    size_t n = 0;
    for (; *parts; parts++) {
        const char *p = *parts;
        while (*p && n < sizeof x->text - 1)
            x->text[n++] = *p++;
    }
    x->text[n] = 0;
    return x->text;
}

static const char *sbxi_curl_unreadable(sbxi_curl_ctx *x, const char *field, const char *path)
{
    const char *parts[6];
    parts[0] = field;
    parts[1] = " cannot be read (";
    parts[2] = strerror(errno);
    parts[3] = "): ";
    parts[4] = path;
    parts[5] = NULL;
    return sbxi_curl_join(x, parts);
}

static const char *sbxi_curl_no_pem(sbxi_curl_ctx *x, const char *field, const char *path, const char *kind)
{
    const char *parts[6];
    parts[0] = field;
    parts[1] = " is no PEM file with a \"-----BEGIN ";
    parts[2] = kind;
    parts[3] = "\" in it: ";
    parts[4] = path;
    parts[5] = NULL;
    return sbxi_curl_join(x, parts);
}

/* Whether libcurl's words may hold a proxy's URL with its password. They are
   cut at their buffer's end, so a long password can stand there without its @,
   and so can a URL that lacks it. */
static bool sbxi_curl_tells(const char *detail)
{
    return strchr(detail, '@') || sbxi_curl_has(detail, "Unsupported proxy") || strlen(detail) + 1 >= CURL_ERROR_SIZE;
}

/* What we say of it, then libcurl's words. */
static const char *sbxi_curl_say(sbxi_curl_ctx *x, const char *what, const char *detail)
{
    const char *parts[5];
    if (!*detail || sbxi_curl_tells(detail))
        return what;
    parts[0] = what;
    parts[1] = " (libcurl: ";
    parts[2] = detail;
    parts[3] = ")";
    parts[4] = NULL;
    return sbxi_curl_join(x, parts);
}
#endif

static const char *sbxi_curl_why(int err)
{
    switch (err) {
    case 0: return SBXI_CURL_TEXT("the connection could not be made");
    case ECONNREFUSED: return SBXI_CURL_TEXT("connection refused: nothing listens on that host and port");
    case ENETUNREACH:
    case ENETDOWN: return SBXI_CURL_TEXT("the network is unreachable from this machine");
    case EHOSTUNREACH: return SBXI_CURL_TEXT("no route to the host");
    case ETIMEDOUT: return SBXI_CURL_TEXT("timed out: the host does not answer");
    case ECONNRESET: return SBXI_CURL_TEXT("the peer reset the connection");
    case EMFILE: return SBXI_CURL_TEXT("too many open files in this process: raise the limit (ulimit -n, RLIMIT_NOFILE)");
    case ENFILE: return SBXI_CURL_TEXT("too many open files on this machine");
    case EADDRNOTAVAIL: return SBXI_CURL_TEXT("no local address or port is free (many recent connections, or a wrong `bind`)");
    case EACCES:
    case EPERM: return SBXI_CURL_TEXT("the system forbids this connection (firewall or sandbox policy)");
    case ENOBUFS:
    case ENOMEM: return SBXI_CURL_TEXT("the system has no memory for this");
    case ENOSPC: return SBXI_CURL_TEXT("the limit of epoll watches is reached (fs.epoll.max_user_watches)");
    default: return SBXI_CURL_TEXT("the system refused the connection");
    }
}

/* By OpenSSL's verify result; other TLS libraries leave libcurl's words. */
static const char *sbxi_curl_verify_why(long verify)
{
    switch (verify) {
    case 9: return SBXI_CURL_TEXT("the server's certificate is not yet valid: check this machine's clock");
    case 10: return SBXI_CURL_TEXT("the server's certificate has expired: it must be renewed (or this machine's clock is wrong)");
    case 18: return SBXI_CURL_TEXT("the server's certificate is self-signed: if it is yours, name it in ca_file");
    case 19: return SBXI_CURL_TEXT("the certificate's CA is unknown (a self-signed one in the chain): name that CA in ca_file");
    case 2:
    case 20:
    case 21:
        return SBXI_CURL_TEXT("the certificate's issuer is unknown: name its CA in ca_file, or the server does not send its intermediate certificate");
    default: return SBXI_CURL_TEXT("the server's certificate was refused");
    }
}

/* The server did not like our certificate, or that there is none. */
static const char *sbxi_curl_alert_why(const char *error)
{
    if (sbxi_curl_has(error, "certificate required"))
        return SBXI_CURL_TEXT("the server wants a client certificate: set cert and key");
    if (sbxi_curl_has(error, "alert") && (sbxi_curl_has(error, "certificate") || sbxi_curl_has(error, "unknown ca")))
        return SBXI_CURL_TEXT("the server refused our client certificate: check cert and key");
    return NULL;
}

static const char *sbxi_curl_tls_why(const sbxi_curl_ctx *x, const char *error)
{
    const char *alert = sbxi_curl_alert_why(error);
    if (alert)
        return alert;
    if (sbxi_curl_has(error, "unsupported protocol") || sbxi_curl_has(error, "protocol version"))
        return SBXI_CURL_TEXT("no TLS version in common: the server must speak TLS 1.2 or newer (see min_tls)");
    if (sbxi_curl_has(error, "wrong version number") || sbxi_curl_has(error, "packet length too long"))
        return SBXI_CURL_TEXT("the server does not speak TLS on this port: is it an http endpoint?");
    if (sbxi_curl_has(error, "handshake failure"))
        return SBXI_CURL_TEXT("the server refused the TLS handshake: if it wants a client certificate, set cert and key");
    if (x->proxy_tls && sbxi_curl_has(error, "SYSCALL")) /* the outer session wiped OpenSSL's reasons */
        return SBXI_CURL_TEXT("the TLS handshake through the https:// proxy failed: if not the network did, the server's certificate was refused (is its CA unknown? name it in ca_file)");
    if (sbxi_curl_has(error, "SYSCALL") || sbxi_curl_has(error, "reset") || sbxi_curl_has(error, "eof"))
        return SBXI_CURL_TEXT("the server ended the connection in the middle of the TLS handshake");
    return SBXI_CURL_TEXT("the TLS handshake failed");
}

/* Of a connection that was not made because of a proxy. */
static const char *sbxi_curl_proxy_why(long status, const char *error)
{
    if (status == 407 || sbxi_curl_has(error, "No authentication method was acceptable"))
        return SBXI_CURL_TEXT("the proxy wants a user and password: set proxy_user and proxy_password, or put them into its URL");
    if (status == 401)
        return SBXI_CURL_TEXT("the proxy refused the user and password: check proxy_user and proxy_password, or those in its URL");
    if (sbxi_curl_has(error, "rejected by the SOCKS5"))
        return SBXI_CURL_TEXT("the SOCKS proxy refused the user and password: check proxy_user and proxy_password");
    if (status == 403 || status == 405)
        return SBXI_CURL_TEXT("the proxy does not allow this host and port: allow CONNECT to it there, or list the host in no_proxy");
    if (status >= 500)
        return SBXI_CURL_TEXT("the proxy could not reach the host");
    if (status)
        return SBXI_CURL_TEXT("the proxy refused the connection");
    return SBXI_CURL_TEXT("the proxy failed, or what answers there is no such proxy: check its URL and scheme");
}

/* How far a connection came before its time was over. */
static sbx_io sbxi_curl_late(sbxi_curl_ctx *x, sbxi_curl_conn *c, sbx_fault *fault)
{
    curl_off_t looked_up = 0;
    sbx_code code = SBX_ERR_CONNECT;
    const char *what = SBXI_CURL_TEXT("no connection within connect_timeout_ms: the host or proxy does not answer");
    curl_easy_getinfo(c->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
    if (!looked_up) {
        code = SBX_ERR_RESOLVE;
        what = SBXI_CURL_TEXT("no name server answered within connect_timeout_ms");
    } else if (sbxi_curl_has(c->error, "SSL")) {
        code = SBX_ERR_TLS;
        what = SBXI_CURL_TEXT("no end of the TLS handshake within connect_timeout_ms");
    }
    return sbxi_curl_fail(fault, code, c->result, sbxi_curl_say(x, what, c->error));
}

static sbx_io sbxi_curl_untrusted(sbxi_curl_ctx *x, sbxi_curl_conn *c, sbx_fault *fault)
{
    long verify = 0, proxy = 0;
    const char *what;
    curl_easy_getinfo(c->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    curl_easy_getinfo(c->easy, CURLINFO_PROXY_SSL_VERIFYRESULT, &proxy);
    what = sbxi_curl_verify_why(verify);
    if (proxy)
        what = SBXI_CURL_TEXT("the certificate of the https:// proxy was refused: its CA belongs into proxy_ca_file, and it must be for the name in the proxy's URL");
    else if (sbxi_curl_has(c->error, "subject name") || sbxi_curl_has(c->error, "does not match"))
        what = SBXI_CURL_TEXT("the server's certificate is for another name than the one asked for");
    return sbxi_curl_fail(fault, SBX_ERR_TLS, c->result, sbxi_curl_say(x, what, c->error));
}

/* Whether it would end like this again: certificates, settings, what the two
   ends have in common, a proxy that says no. */
static bool sbxi_curl_permanent(const sbxi_curl_conn *c, long status)
{
    switch ((CURLcode)c->result) {
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_SSL_CIPHER:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_NOT_BUILT_IN:
    case CURLE_INTERFACE_FAILED: return true;
    case CURLE_SSL_CONNECT_ERROR: return sbxi_curl_has(c->error, "alert") || sbxi_curl_has(c->error, "unsupported protocol") || sbxi_curl_has(c->error, "wrong version number");
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_COULDNT_RESOLVE_HOST: return false;
    default: return (status >= 400 && status < 500) || sbxi_curl_has(c->error, "No authentication method was acceptable") || sbxi_curl_has(c->error, "rejected by the SOCKS5");
    }
}

/* Tells why a connection was not made. */
static sbx_io sbxi_curl_unmade(sbxi_curl_ctx *x, sbxi_curl_conn *c, sbx_fault *fault)
{
    long status = 0, err = 0;
    sbx_code code = SBX_ERR_CONNECT;
    const char *what;
    curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &err);
    if (fault)
        fault->permanent = sbxi_curl_permanent(c, status);
    switch ((CURLcode)c->result) {
    case CURLE_COULDNT_RESOLVE_HOST:
        code = SBX_ERR_RESOLVE;
        what = SBXI_CURL_TEXT("the host name could not be looked up");
        break;
    case CURLE_COULDNT_RESOLVE_PROXY:
        code = SBX_ERR_RESOLVE;
        what = SBXI_CURL_TEXT("the proxy could not be looked up: check `proxy` or https_proxy, http_proxy, all_proxy");
        break;
    case CURLE_URL_MALFORMAT:
        code = SBX_ERR_RESOLVE;
        what = SBXI_CURL_TEXT("the host is not a valid name or address");
        break;
    case CURLE_OPERATION_TIMEDOUT: return sbxi_curl_late(x, c, fault);
    case CURLE_PEER_FAILED_VERIFICATION: return sbxi_curl_untrusted(x, c, fault);
    case CURLE_SSL_CONNECT_ERROR:
        code = SBX_ERR_TLS;
        what = c->err == EPROTO ? SBXI_CURL_TEXT("the server's part of the TLS handshake has no end") : sbxi_curl_tls_why(x, c->error);
        break;
    case CURLE_SSL_CERTPROBLEM:
        code = SBX_ERR_TLS;
        what = SBXI_CURL_TEXT("the client certificate or key could not be used: check cert, key and key_password");
        break;
    case CURLE_SSL_CACERT_BADFILE:
        code = SBX_ERR_TLS;
        what = SBXI_CURL_TEXT("the trusted CAs could not be read: check ca_file and ca_dir (Debian's are in the package ca-certificates)");
        break;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_NOT_BUILT_IN:
        code = SBX_ERR_UNSUPPORTED;
        what = SBXI_CURL_TEXT("this libcurl lacks something that is needed here (TLS, or the proxy's scheme)");
        break;
    case CURLE_OUT_OF_MEMORY:
        code = SBX_ERR_MEMORY;
        what = SBXI_CURL_TEXT("libcurl got no memory");
        break;
    case CURLE_ABORTED_BY_CALLBACK: what = SBXI_CURL_TEXT("the proxy's answer has no end: what answers there is no proxy that works"); break;
    case CURLE_INTERFACE_FAILED: what = SBXI_CURL_TEXT("the local address or interface of `bind` cannot be used"); break;
    case CURLE_COULDNT_CONNECT: what = sbxi_curl_why(c->err ? c->err : (int)err); break;
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
        code = SBX_ERR_TLS;
        what = sbxi_curl_tls_why(x, c->error);
        break;
    default:
        what = c->err ? sbxi_curl_why(c->err) : sbxi_curl_proxy_why(status, c->error);
        break;
    }
    return sbxi_curl_fail(fault, code, c->result, sbxi_curl_say(x, what, c->error));
}

/* An end without TLS's close_notify, which whoever sits between can make. */
static sbx_io sbxi_curl_cut(sbx_fault *fault, CURLcode result)
{
    return sbxi_curl_fail(fault, SBX_ERR_TLS, (int)result,
                          SBXI_CURL_TEXT("the peer ended the connection without TLS's close_notify: what came last may be missing"));
}

/* Tells what ended a connection that stood. */
static sbx_io sbxi_curl_lost(sbxi_curl_ctx *x, sbxi_curl_conn *c, CURLcode result, sbx_fault *fault)
{
    if (result == CURLE_OUT_OF_MEMORY)
        return sbxi_curl_fail(fault, SBX_ERR_MEMORY, (int)result, SBXI_CURL_TEXT("libcurl got no memory"));
    if (sbxi_curl_has(c->error, "unexpected eof") || sbxi_curl_has(c->error, "properly terminated"))
        return sbxi_curl_cut(fault, result);
    if (sbxi_curl_has(c->error, "SSL routines")) {
        const char *alert = sbxi_curl_alert_why(c->error);
        return sbxi_curl_fail(fault, SBX_ERR_TLS, (int)result, sbxi_curl_say(x, alert ? alert : SBXI_CURL_TEXT("the TLS session broke"), c->error));
    }
    if (result == CURLE_UNSUPPORTED_PROTOCOL) /* libcurl saw the end while it was idle */
        return sbxi_curl_fail(fault, SBX_ERR_CONNECTION, (int)result, SBXI_CURL_TEXT("the peer has closed the connection"));
    return sbxi_curl_fail(fault, SBX_ERR_CONNECTION, (int)result, sbxi_curl_say(x, SBXI_CURL_TEXT("the connection was lost"), c->error));
}

/* ---- clocks, random bytes, waking ---- */

static int64_t sbxi_curl_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t))
        return 0;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t sbxi_curl_mono_ms(void *ctx)
{
    (void)ctx;
    return sbxi_curl_clock(CLOCK_MONOTONIC);
}

static int64_t sbxi_curl_wall_ms(void *ctx)
{
    (void)ctx;
    return sbxi_curl_clock(CLOCK_REALTIME);
}

static bool sbxi_curl_entropy(void *ctx, void *p, size_t n)
{
    char *at = (char *)p;
    (void)ctx;
    while (n) {
        /* Early after boot there is nothing strong yet, and this must not block. */
        ssize_t r = getrandom(at, n, GRND_NONBLOCK);
        if (r > 0) {
            at += r;
            n -= (size_t)r;
        } else if (r == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* The eventfd's number counts wakes, and above them our own calls to look at
   the list, which end no wait. */
#define SBXI_CURL_LOOK ((uint64_t)1 << 32)

static void sbxi_curl_ring(const sbxi_curl_ctx *x, uint64_t n)
{
    ssize_t r;
    int saved = errno; /* may run in a signal handler */
    do {
        r = write(x->wake, &n, sizeof n);
    } while (r < 0 && errno == EINTR); /* EAGAIN: it is rung already */
    errno = saved;
}

static void sbxi_curl_wake(void *ctx)
{
    sbxi_curl_ring((const sbxi_curl_ctx *)ctx, 1);
}

/* Was it a wake? */
static bool sbxi_curl_unring(const sbxi_curl_ctx *x)
{
    uint64_t n = 0;
    ssize_t r;
    do {
        r = read(x->wake, &n, sizeof n);
    } while (r < 0 && errno == EINTR);
    return r > 0 && (uint32_t)n != 0;
}

/* ---- connections to report ---- */

static void sbxi_curl_unlist(sbxi_curl_ctx *x, sbxi_curl_conn *c)
{
    if (!c->listed)
        return;
    if (c->prev)
        c->prev->next = c->next;
    else
        x->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        x->last = c->prev;
    c->next = c->prev = NULL;
    c->listed = false;
}

static void sbxi_curl_enlist(sbxi_curl_ctx *x, sbxi_curl_conn *c)
{
    if (c->listed)
        return;
    if (!x->first && !x->waiting)
        sbxi_curl_ring(x, SBXI_CURL_LOOK); /* so that a foreign event loop looks here */
    c->prev = x->last;
    c->next = NULL;
    if (x->last)
        x->last->next = c;
    else
        x->first = c;
    x->last = c;
    c->listed = true;
}

static int sbxi_curl_flush(sbxi_curl_ctx *x, sbx_ready *ready, int max)
{
    int n = 0;
    while (x->first && n < max) {
        ready[n].tag = x->first->tag;
        ready[n++].bits = SBX_READABLE | SBX_WRITABLE;
        sbxi_curl_unlist(x, x->first);
    }
    if (x->first)
        sbxi_curl_ring(x, SBXI_CURL_LOOK); /* more than `ready` takes */
    return n;
}

/* ---- libcurl's sockets and timers ---- */

/* What an epoll event is about, by its lowest bits: an open connection, whose
   address ends in zeros; one of these; or a socket of a group's. */
#define SBXI_CURL_WOKEN ((uint64_t)1)
#define SBXI_CURL_TIMED ((uint64_t)2)
#define SBXI_CURL_UNDERWAY(group, fd) ((uint64_t)(uint32_t)(fd) << 32 | (uint64_t)(group) << 4 | 3)

static sbxi_curl_conn *sbxi_curl_of(CURL *easy)
{
    char *p = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &p);
    return (sbxi_curl_conn *)(void *)p;
}

static void sbxi_curl_set_state(sbxi_curl_conn *c, int state)
{
    if (c->state == SBXI_CURL_BUSY && !c->sockets)
        c->group->bare--;
    c->state = (uint8_t)state;
    if (c->state == SBXI_CURL_BUSY && !c->sockets)
        c->group->bare++;
}

static void sbxi_curl_count_socket(sbxi_curl_conn *c, int more)
{
    bool bare = c->sockets == 0;
    c->sockets = (uint8_t)(c->sockets + more);
    if (c->state == SBXI_CURL_BUSY && bare != (c->sockets == 0))
        c->group->bare += bare ? (uint32_t)-1 : 1u;
}

static int sbxi_curl_watch_fd(const sbxi_curl_ctx *x, int fd, uint32_t events, uint64_t what)
{
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    e.events = events;
    e.data.u64 = what;
    if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, fd, &e) == 0)
        return 0;
    if (errno == EEXIST && epoll_ctl(x->epoll, EPOLL_CTL_MOD, fd, &e) == 0)
        return 0;
    return errno;
}

static void sbxi_curl_unwatch_fd(const sbxi_curl_ctx *x, int fd)
{
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    (void)epoll_ctl(x->epoll, EPOLL_CTL_DEL, fd, &e); /* a closed one has left by itself */
}

/* libcurl says which socket to watch. It may be one of its own handles' (a
   closing connection's), which has no sbxi_curl_conn. */
static int sbxi_curl_on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
    sbxi_curl_group *g = (sbxi_curl_group *)user;
    sbxi_curl_ctx *x = g->ctx;
    sbxi_curl_conn *c = sbxi_curl_of(easy);
    uint32_t events = 0;
    int err;
    if (what == CURL_POLL_REMOVE) {
        sbxi_curl_unwatch_fd(x, fd);
        if (c && socket_user)
            sbxi_curl_count_socket(c, -1);
        return 0;
    }
    if (c && !socket_user && curl_multi_assign(g->multi, fd, g) == CURLM_OK)
        sbxi_curl_count_socket(c, 1);
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    if (c)
        c->want = (what & CURL_POLL_OUT) ? SBX_WRITABLE : SBX_READABLE;
    err = sbxi_curl_watch_fd(x, fd, events, SBXI_CURL_UNDERWAY((uint32_t)(g - sbxi_curl_groups(x)), fd));
    if (err && c && c->state == SBXI_CURL_BUSY) {
        sbxi_curl_set_state(c, SBXI_CURL_FAILED);
        c->result = CURLE_COULDNT_CONNECT;
        c->err = err;
        sbxi_curl_enlist(x, c);
    }
    return 0;
}

static int sbxi_curl_on_timer(CURLM *multi, long ms, void *user)
{
    sbxi_curl_group *g = (sbxi_curl_group *)user;
    (void)multi;
    g->due = ms < 0 ? -1 : sbxi_curl_clock(CLOCK_MONOTONIC) + ms;
    g->ctx->timer_stale = true;
    return 0;
}

static curl_socket_t sbxi_curl_on_open(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
    sbxi_curl_conn *c = (sbxi_curl_conn *)user;
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    (void)purpose;
    if (fd < 0)
        c->err = errno;
    return fd;
}

static size_t sbxi_curl_on_write(char *p, size_t size, size_t n, void *user)
{
    (void)p;
    (void)user;
    return size * n; /* a proxy's page of an error */
}

/* libcurl reads a proxy's answer byte by byte and, as long as bytes come, to its
   end, whatever the time: here it asks at each. */
static int sbxi_curl_on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return ++((sbxi_curl_ctx *)user)->looked > SBXI_CURL_PAGE;
}

/* The earliest of libcurl's timers makes the epoll descriptor readable. */
static void sbxi_curl_arm(sbxi_curl_ctx *x)
{
    const sbxi_curl_group *g = sbxi_curl_groups(x);
    struct itimerspec t;
    int64_t due = -1;
    uint32_t i;
    if (!x->timer_stale)
        return;
    x->timer_stale = false;
    for (i = 0; i < x->begun; i++)
        if (g[i].due >= 0 && (due < 0 || g[i].due < due))
            due = g[i].due;
    if (due == x->armed)
        return;
    memset(&t, 0, sizeof t);
    if (due >= 0) {
        t.it_value.tv_sec = (time_t)(due / 1000);
        t.it_value.tv_nsec = (long)(due % 1000) * 1000000 + 1;
    }
    x->armed = due;
    (void)timerfd_settime(x->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

/* OpenSSL's session of a connection; NULL = none, or another library's. */
static void *sbxi_curl_ssl(const sbxi_curl_conn *c)
{
    struct curl_tlssessioninfo *s = NULL;
    if (!c->tls || curl_easy_getinfo(c->easy, CURLINFO_TLS_SSL_PTR, &s) || !s || s->backend != CURLSSLBACKEND_OPENSSL)
        return NULL;
    return s->internals;
}

/* Within a handshake OpenSSL passes over any number of TLS 1.2's HelloRequests,
   as long as they come: after this many it finds the stream at its end. */
static void sbxi_curl_count(sbxi_curl_ctx *x, void *ssl)
{
    if (++x->messages % SBXI_CURL_MESSAGES == 0)
        x->set_bio(ssl, x->bio_new(x->bio_null()));
}

static void sbxi_curl_on_message(int out, int version, int type, const void *p, size_t n, void *ssl, void *user)
{
    sbxi_curl_conn *c = (sbxi_curl_conn *)user;
    (void)version;
    (void)type;
    (void)p;
    (void)n;
    if (out)
        return;
    c->heard = true;
    sbxi_curl_count(c->group->ctx, ssl);
}

/* By itself OpenSSL goes on reading as long as messages without data come (TLS
   1.3: key updates, tickets), so a server that sends nothing else would keep a
   recv for ever. It is told to return after each, and to say so. libcurl gives
   its session out once it has sent or received: our first send comes before
   the server can say anything. */
static void sbxi_curl_listen(const sbxi_curl_ctx *x, sbxi_curl_conn *c)
{
    void (*f)(int, int, int, const void *, size_t, void *, void *) = sbxi_curl_on_message;
    void *ssl = x->ssl_ctrl && !c->listens ? sbxi_curl_ssl(c) : NULL;
    if (!ssl)
        return;
    c->listens = true;
    (void)x->ssl_ctrl(ssl, SBXI_CURL_SSL_SET_MSG_ARG, 0, c);
    (void)x->ssl_callback(ssl, SBXI_CURL_SSL_SET_MSG_CALLBACK, (void (*)(void))f);
    (void)x->ssl_ctrl(ssl, SBXI_CURL_SSL_CLEAR_MODE, SBXI_CURL_SSL_AUTO_RETRY, NULL);
}

static void sbxi_curl_on_handshake(int out, int version, int type, const void *p, size_t n, void *ssl, void *user)
{
    (void)version;
    (void)type;
    (void)p;
    (void)n;
    if (!out)
        sbxi_curl_count((sbxi_curl_ctx *)user, ssl);
}

static CURLcode sbxi_curl_on_ssl_ctx(CURL *easy, void *ssl_ctx, void *user)
{
    const sbxi_curl_ctx *x = (const sbxi_curl_ctx *)user;
    void (*f)(int, int, int, const void *, size_t, void *, void *) = sbxi_curl_on_handshake;
    (void)easy;
    (void)x->ctx_ctrl(ssl_ctx, SBXI_CURL_SSL_SET_MSG_ARG, 0, user);
    (void)x->ctx_callback(ssl_ctx, SBXI_CURL_SSL_SET_MSG_CALLBACK, (void (*)(void))f);
    return CURLE_OK;
}

static void sbxi_curl_unlisten(const sbxi_curl_ctx *x, sbxi_curl_conn *c)
{
    void *ssl = c->listens ? sbxi_curl_ssl(c) : NULL;
    if (ssl)
        (void)x->ssl_callback(ssl, SBXI_CURL_SSL_SET_MSG_CALLBACK, NULL);
}

static void sbxi_curl_stand(sbxi_curl_ctx *x, sbxi_curl_conn *c)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd);
    c->err = ECONNRESET;
    if (fd != CURL_SOCKET_BAD)
        c->err = sbxi_curl_watch_fd(x, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, (uint64_t)(uintptr_t)c);
    if (c->err) {
        sbxi_curl_set_state(c, SBXI_CURL_FAILED);
        c->result = CURLE_COULDNT_CONNECT;
        return;
    }
    c->fd1 = fd + 1;
    c->fresh = true;
    sbxi_curl_set_state(c, SBXI_CURL_OPEN);
    /* Now it is only a limit of a read; before, libcurl makes a buffer of it. */
    (void)curl_easy_setopt(c->easy, CURLOPT_BUFFERSIZE, (long)SBXI_CURL_READ);
}

static void sbxi_curl_collect(sbxi_curl_ctx *x, sbxi_curl_group *g)
{
    const CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(g->multi, &left)) != NULL) {
        sbxi_curl_conn *c = m->msg == CURLMSG_DONE ? sbxi_curl_of(m->easy_handle) : NULL;
        if (!c || c->state != SBXI_CURL_BUSY)
            continue;
        c->result = (int)m->data.result;
        if (m->data.result == CURLE_OK)
            sbxi_curl_stand(x, c);
        else
            sbxi_curl_set_state(c, SBXI_CURL_FAILED);
        if (m->data.result == CURLE_SSL_CONNECT_ERROR && x->messages >= SBXI_CURL_MESSAGES)
            c->err = EPROTO;
        sbxi_curl_enlist(x, c);
    }
}

/* libcurl 7.88 gives an address up when its time is over, but takes the next one
   only when it is run again, for which no socket and no timer asks. */
static void sbxi_curl_run_all(sbxi_curl_group *g)
{
    int running;
#ifdef __GNUC__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif
    (void)curl_multi_socket_all(g->multi, &running);
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif
}

/* Moves a group's connections on. */
static void sbxi_curl_drive(sbxi_curl_ctx *x, sbxi_curl_group *g, curl_socket_t fd, int bits)
{
    int running;
    if (fd == CURL_SOCKET_TIMEOUT) {
        g->due = -1;
        x->timer_stale = true;
    }
    x->looked = x->messages = 0;
    (void)curl_multi_socket_action(g->multi, fd, bits, &running);
    sbxi_curl_collect(x, g);
    if (g->bare) {
        sbxi_curl_run_all(g);
        sbxi_curl_collect(x, g);
    }
}

static void sbxi_curl_timers(sbxi_curl_ctx *x)
{
    int64_t now = sbxi_curl_clock(CLOCK_MONOTONIC);
    uint32_t i;
    x->armed = -1; /* it went off; setting it again ends its being readable */
    x->timer_stale = true;
    for (i = 0; i < x->begun; i++) {
        sbxi_curl_group *g = &sbxi_curl_groups(x)[i];
        if (g->due >= 0 && g->due <= now)
            sbxi_curl_drive(x, g, CURL_SOCKET_TIMEOUT, 0);
    }
    if (x->armed < 0) {
        struct itimerspec off;
        memset(&off, 0, sizeof off);
        (void)timerfd_settime(x->timer, 0, &off, NULL);
    }
}

/* ---- connecting ---- */

/* The URL's host part; false = not one. */
static bool sbxi_curl_host(sbx_str host, char *out, size_t room)
{
    static const char never[] = "/\\?#@[]%:<>\"'`{}|^$&;,!*()=+~";
    char z[SBXI_CURL_HOST], *scope;
    unsigned char ip[16];
    size_t i;
    if (host.n == 0 || host.n >= sizeof z)
        return false;
    for (i = 0; i < host.n; i++)
        if ((unsigned char)host.p[i] <= ' ' || host.p[i] == 0x7F)
            return false;
    memcpy(z, host.p, host.n);
    z[host.n] = 0;
    if (!strchr(z, ':')) {
        if (strpbrk(z, never))
            return false;
        snprintf(out, room, "%s", z);
        return true;
    }
    scope = strchr(z, '%');
    if (scope)
        *scope++ = 0;
    if (inet_pton(AF_INET6, z, ip) != 1 || (scope && (!*scope || strlen(scope) > IF_NAMESIZE || strpbrk(scope, never))))
        return false;
    snprintf(out, room, scope ? "[%s%%25%s]" : "[%s]", z, scope);
    return true;
}

static sbxi_curl_group *sbxi_curl_place(sbxi_curl_ctx *x, sbx_code *code)
{
    sbxi_curl_group *g = sbxi_curl_groups(x);
    uint32_t i;
    for (i = 0; i < x->begun; i++)
        if (g[i].used < SBX_CURL_GROUP)
            return &g[i];
    *code = x->begun < x->groups ? SBX_ERR_MEMORY : SBX_ERR_FULL;
    if (x->begun == x->groups)
        return NULL;
    g = &g[x->begun];
    g->multi = curl_multi_init();
    if (!g->multi)
        return NULL;
    g->ctx = x;
    g->due = -1;
    g->used = 0;
    curl_multi_setopt(g->multi, CURLMOPT_SOCKETFUNCTION, sbxi_curl_on_socket);
    curl_multi_setopt(g->multi, CURLMOPT_SOCKETDATA, g);
    curl_multi_setopt(g->multi, CURLMOPT_TIMERFUNCTION, sbxi_curl_on_timer);
    curl_multi_setopt(g->multi, CURLMOPT_TIMERDATA, g);
    x->begun++;
    return g;
}

static bool sbxi_curl_dress(sbxi_curl_ctx *x, sbxi_curl_conn *c, const char *url)
{
    c->easy = curl_easy_duphandle(x->model);
    return c->easy && !curl_easy_setopt(c->easy, CURLOPT_URL, url) && !curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c) &&
           !curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error) && !curl_easy_setopt(c->easy, CURLOPT_SHARE, x->share) &&
           !curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
}

static sbx_io sbxi_curl_start(sbxi_curl_ctx *x, sbxi_curl_conn *c, const sbx_target *to, sbx_fault *fault)
{
    char host[SBXI_CURL_HOST + IF_NAMESIZE + 8], url[SBXI_CURL_HOST + IF_NAMESIZE + 32];
    sbx_code code = SBX_ERR_MEMORY;
    sigset_t all, before;
    c->state = SBXI_CURL_DEAD; /* until it is known better */
    c->tls = to->tls || x->proxy_tls;
    if (!sbxi_curl_host(to->host, host, sizeof host))
        return sbxi_curl_fail(fault, SBX_ERR_RESOLVE, 0,
                              SBXI_CURL_TEXT("the host is empty, too long, not a valid IPv6 address, or has a character that no name has"));
    snprintf(url, sizeof url, "%s://%s:%u/", to->tls ? "https" : "http", host, (unsigned)to->port);
    c->group = sbxi_curl_place(x, &code);
    if (!c->group)
        return sbxi_curl_fail(fault, code, 0, NULL);
    c->group->used++;
    if (!sbxi_curl_dress(x, c, url))
        return sbxi_curl_fail(fault, SBX_ERR_MEMORY, CURLE_OUT_OF_MEMORY, SBXI_CURL_TEXT("libcurl got no memory"));
    sbxi_curl_set_state(c, SBXI_CURL_BUSY);
    c->want = SBX_WRITABLE;
    /* The program's signals are not the business of a resolver's thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (curl_multi_add_handle(c->group->multi, c->easy) != CURLM_OK) {
        sbxi_curl_set_state(c, SBXI_CURL_FAILED);
        c->result = CURLE_OUT_OF_MEMORY;
    } else {
        sbxi_curl_drive(x, c->group, CURL_SOCKET_TIMEOUT, 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return SBX_IO_OK;
}

/* ---- the transport's functions ---- */

static sbx_io sbxi_curl_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    sbxi_curl_ctx *x = (sbxi_curl_ctx *)ctx;
    sbxi_curl_conn *c = (sbxi_curl_conn *)conn;
    c->tag = to->tag;
    if (c->state == SBXI_CURL_DEAD)
        return sbxi_curl_fail(fault, SBX_ERR_STATE, 0, SBXI_CURL_TEXT("the connection failed before: close it first"));
    if (c->state == SBXI_CURL_NEW && sbxi_curl_start(x, c, to, fault) == SBX_IO_FAIL)
        return SBX_IO_FAIL;
    sbxi_curl_arm(x);
    if (c->state == SBXI_CURL_BUSY)
        return c->want == SBX_WRITABLE ? SBX_IO_WANT_WRITE : SBX_IO_WANT_READ;
    sbxi_curl_unlist(x, c);
    if (c->state == SBXI_CURL_OPEN)
        return SBX_IO_OK;
    c->state = SBXI_CURL_DEAD;
    return sbxi_curl_unmade(x, c, fault);
}

static sbx_io sbxi_curl_idle(const sbxi_curl_conn *c, size_t n, sbx_fault *fault)
{
    if (c->state != SBXI_CURL_OPEN)
        return sbxi_curl_fail(fault, SBX_ERR_STATE, 0, SBXI_CURL_TEXT("the connection is not established"));
    return n ? SBX_IO_OK : sbxi_curl_fail(fault, SBX_ERR_ARGUMENT, 0, SBXI_CURL_TEXT("a length of 0"));
}

/* libcurl over OpenSSL takes the end of TCP for the end of the stream; OpenSSL
   knows whether close_notify came before. */
static bool sbxi_curl_clean(const sbxi_curl_ctx *x, const sbxi_curl_conn *c)
{
    void *ssl = x->ssl_shutdown ? sbxi_curl_ssl(c) : NULL;
    return !ssl || (x->ssl_shutdown(ssl) & SBXI_CURL_SSL_RECEIVED_SHUTDOWN) != 0;
}

/* Whether AGAIN came behind a message without data, which says nothing of what
   else is there. Libraries that do not tell leave that in the socket. */
static bool sbxi_curl_barren(const sbxi_curl_conn *c)
{
    char byte;
    return c->listens ? c->heard : c->tls && recv(c->fd1 - 1, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static CURLcode sbxi_curl_read(sbxi_curl_ctx *x, sbxi_curl_conn *c, void *p, size_t room, size_t *got)
{
    CURLcode result;
    int i;
    x->messages = 0;
    for (i = 0; i < SBXI_CURL_BARREN; i++) {
        c->heard = false;
        result = curl_easy_recv(c->easy, p, room, got);
        if (result != CURLE_AGAIN || !sbxi_curl_barren(c))
            return result;
    }
    sbxi_curl_enlist(x, c); /* more in the next round */
    return CURLE_AGAIN;
}

static sbx_io sbxi_curl_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    sbxi_curl_ctx *x = (sbxi_curl_ctx *)ctx;
    sbxi_curl_conn *c = (sbxi_curl_conn *)conn;
    CURLcode result;
    *got = 0;
    if (sbxi_curl_idle(c, room, fault))
        return SBX_IO_FAIL;
    c->error[0] = 0;
    result = sbxi_curl_read(x, c, p, room, got);
    if (result == CURLE_OK && !*got)
        return sbxi_curl_clean(x, c) ? SBX_IO_EOF : sbxi_curl_cut(fault, CURLE_RECV_ERROR);
    if (result == CURLE_OK)
        return SBX_IO_OK;
    *got = 0;
    return result == CURLE_AGAIN ? SBX_IO_WANT_READ : sbxi_curl_lost(x, c, result, fault);
}

/* A TLS record that found no room is fixed: it must be offered again with the
   same bytes at the same address. So records are sent from a place that stays. */
static CURLcode sbxi_curl_send_record(sbxi_curl_ctx *x, sbxi_curl_conn *c, const void *p, size_t n, size_t *sent)
{
    CURLcode result;
    if (!c->held) {
        if (!x->record)
            x->record = (char *)malloc(SBXI_CURL_RECORD);
        if (!x->record)
            return CURLE_OUT_OF_MEMORY;
        c->held = x->record;
        x->record = NULL;
        c->held_n = n < SBXI_CURL_RECORD ? (uint32_t)n : (uint32_t)SBXI_CURL_RECORD;
        memcpy(c->held, p, c->held_n);
    } else if (n < c->held_n || memcmp(c->held, p, c->held_n) != 0) {
        return CURLE_BAD_FUNCTION_ARGUMENT;
    }
    result = curl_easy_send(c->easy, c->held, c->held_n, sent);
    sbxi_curl_listen(x, c);
    if (result == CURLE_AGAIN)
        return result;
    if (x->record)
        free(c->held);
    else
        x->record = c->held;
    c->held = NULL;
    return result;
}

static sbx_io sbxi_curl_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    sbxi_curl_ctx *x = (sbxi_curl_ctx *)ctx;
    sbxi_curl_conn *c = (sbxi_curl_conn *)conn;
    CURLcode result;
    *sent = 0;
    if (sbxi_curl_idle(c, n, fault))
        return SBX_IO_FAIL;
    c->error[0] = 0;
    result = c->tls ? sbxi_curl_send_record(x, c, p, n, sent) : curl_easy_send(c->easy, p, n, sent);
    if (result == CURLE_OK && *sent)
        return SBX_IO_OK;
    *sent = 0;
    if (result == CURLE_OK || result == CURLE_AGAIN)
        return SBX_IO_WANT_WRITE;
    if (result == CURLE_BAD_FUNCTION_ARGUMENT)
        return sbxi_curl_fail(fault, SBX_ERR_STATE, (int)result,
                              SBXI_CURL_TEXT("other bytes than those that send answered WANT_WRITE for"));
    return sbxi_curl_lost(x, c, result, fault);
}

static void sbxi_curl_close(void *ctx, void *conn)
{
    sbxi_curl_ctx *x = (sbxi_curl_ctx *)ctx;
    sbxi_curl_conn *c = (sbxi_curl_conn *)conn;
    sbxi_curl_unlist(x, c);
    sbxi_curl_set_state(c, SBXI_CURL_DEAD);
    if (c->fd1)
        sbxi_curl_unwatch_fd(x, c->fd1 - 1);
    if (c->easy) {
        sbxi_curl_unlisten(x, c);
        (void)curl_multi_remove_handle(c->group->multi, c->easy);
        curl_easy_cleanup(c->easy);
    }
    if (c->group)
        c->group->used--;
    free(c->held);
    memset(c, 0, sizeof *c);
    sbxi_curl_arm(x);
}

/* TLS may wait for the other direction than the one asked for. The first
   report is no change: a socket starts as writable. */
static unsigned sbxi_curl_bits(sbxi_curl_conn *c, uint32_t events)
{
    bool in = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    bool out = (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    unsigned bits = 0;
    if (in || (out && c->tls && !c->fresh))
        bits |= SBX_READABLE;
    if (out || (in && c->held))
        bits |= SBX_WRITABLE;
    c->fresh = false;
    return bits;
}

static int sbxi_curl_select(uint32_t events)
{
    int bits = 0;
    if (events & (EPOLLIN | EPOLLRDHUP))
        bits |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (events & (EPOLLERR | EPOLLHUP))
        bits |= CURL_CSELECT_ERR;
    return bits;
}

/* What an epoll event says; false = nothing for the client. */
static bool sbxi_curl_event(sbxi_curl_ctx *x, const struct epoll_event *e, sbx_ready *ready, bool *woken, bool *fired)
{
    uint64_t what = e->data.u64;
    if (what == SBXI_CURL_WOKEN) {
        if (sbxi_curl_unring(x))
            *woken = true;
        return false;
    }
    if (what == SBXI_CURL_TIMED) {
        *fired = true;
        return false;
    }
    if (what & 15) {
        sbxi_curl_drive(x, &sbxi_curl_groups(x)[(uint32_t)what >> 4], (curl_socket_t)(what >> 32), sbxi_curl_select(e->events));
        return false;
    }
    ready->tag = ((const sbxi_curl_conn *)(uintptr_t)what)->tag;
    ready->bits = sbxi_curl_bits((sbxi_curl_conn *)(uintptr_t)what, e->events);
    return true;
}

static int sbxi_curl_sleep(sbxi_curl_ctx *x, int ms, sbx_ready *ready, int max, bool *woken)
{
    struct epoll_event e[SBXI_CURL_BATCH];
    bool fired = false;
    int i, n = 0, r = epoll_wait(x->epoll, e, max < SBXI_CURL_BATCH ? max : SBXI_CURL_BATCH, ms);
    if (r < 0)
        *woken = errno != EINTR;
    for (i = 0; i < r; i++)
        if (sbxi_curl_event(x, &e[i], &ready[n], woken, &fired))
            n++;
    if (fired)
        sbxi_curl_timers(x);
    return n;
}

static int sbxi_curl_wait(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    sbxi_curl_ctx *x = (sbxi_curl_ctx *)ctx;
    int64_t now = sbxi_curl_clock(CLOCK_MONOTONIC);
    int64_t end = timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
    bool woken = false;
    int n;
    if (max <= 0)
        return 0;
    x->waiting = true;
    n = sbxi_curl_flush(x, ready, max);
    while (n < max) {
        int64_t left = timeout_ms < 0 ? -1 : end - now;
        int ms = n ? 0 : left > INT_MAX ? INT_MAX : (int)left;
        n += sbxi_curl_sleep(x, ms, ready + n, max - n, &woken);
        n += sbxi_curl_flush(x, ready + n, max - n);
        sbxi_curl_arm(x);
        if (n || woken || timeout_ms == 0)
            break;
        now = sbxi_curl_clock(CLOCK_MONOTONIC);
        if (timeout_ms > 0 && now >= end)
            break;
    }
    x->waiting = false;
    return n;
}

static intptr_t sbxi_curl_conn_handle(void *ctx, void *conn)
{
    (void)ctx;
    return ((const sbxi_curl_conn *)conn)->fd1 - 1;
}

static intptr_t sbxi_curl_poll_handle(void *ctx)
{
    return ((const sbxi_curl_ctx *)ctx)->epoll;
}

static void sbxi_curl_shut(void *ctx)
{
    sbxi_curl_ctx *x = (sbxi_curl_ctx *)ctx;
    uint32_t i;
    if (!x->opened)
        return;
    for (i = 0; i < x->begun; i++)
        curl_multi_cleanup(sbxi_curl_groups(x)[i].multi);
    if (x->model)
        curl_easy_cleanup(x->model);
    if (x->share)
        curl_share_cleanup(x->share);
    if (x->timer >= 0)
        close(x->timer);
    if (x->wake >= 0)
        close(x->wake);
    if (x->epoll >= 0)
        close(x->epoll);
    free(x->record);
    if (x->global)
        curl_global_cleanup();
    memset(x, 0, sizeof *x);
}

/* ---- open ---- */

static sbx_code sbxi_curl_bad(sbx_fault *fault, const char *text)
{
    sbxi_curl_fail(fault, SBX_ERR_ARGUMENT, 0, text);
    return SBX_ERR_ARGUMENT;
}

/* A file or directory that is named must be readable. */
static bool sbxi_curl_there(sbxi_curl_ctx *x, const char *field, const char *path, int how, sbx_fault *fault)
{
    if (!path || access(path, how) == 0)
        return true;
    sbxi_curl_fail(fault, SBX_ERR_ARGUMENT, errno, sbxi_curl_unreadable(x, field, path));
    return false;
}

/* Whether a PEM block of this kind begins in it. What is no regular file is
   left to libcurl: it may be readable once. */
static bool sbxi_curl_has_pem(FILE *f, const char *kind)
{
    char line[256];
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return true;
    errno = 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "-----BEGIN ", 11) == 0 && sbxi_curl_has(line, kind))
            return true;
    return false;
}

/* libcurl reads these files when it connects; what can be seen before is told at open. */
static bool sbxi_curl_pem(sbxi_curl_ctx *x, const char *field, const char *path, const char *kind, sbx_fault *fault)
{
    FILE *f = path ? fopen(path, "re") : NULL;
    bool good = !path || (f && sbxi_curl_has_pem(f, kind));
    if (!good && (!f || errno))
        sbxi_curl_fail(fault, SBX_ERR_ARGUMENT, errno, sbxi_curl_unreadable(x, field, path));
    else if (!good)
        sbxi_curl_fail(fault, SBX_ERR_ARGUMENT, 0, sbxi_curl_no_pem(x, field, path, kind));
    if (f)
        fclose(f);
    return good;
}

/* A proxy's URL as libcurl understands it. */
static bool sbxi_curl_proxy_url(const char *url)
{
    static const char *const schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL;
    bool good = false;
    size_t i;
    if (u && !curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) && !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
        !curl_url_get(u, CURLUPART_HOST, &host, 0))
        for (i = 0; i < sizeof schemes / sizeof *schemes; i++)
            good = good || strcmp(scheme, schemes[i]) == 0;
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);
    return good;
}

static sbx_code sbxi_curl_check(sbxi_curl_ctx *x, const sbx_curl_config *f, sbx_fault *fault)
{
    static const char certificate[] = "CERTIFICATE-----", key[] = "PRIVATE KEY-----";
    if (!sbxi_curl_pem(x, "ca_file", f->ca_file, certificate, fault) || !sbxi_curl_there(x, "ca_dir", f->ca_dir, R_OK | X_OK, fault) ||
        !sbxi_curl_pem(x, "cert", f->cert, certificate, fault) || !sbxi_curl_pem(x, f->key ? "key" : "cert", f->key ? f->key : f->cert, key, fault) ||
        !sbxi_curl_pem(x, "proxy_ca_file", f->proxy_ca_file, certificate, fault))
        return SBX_ERR_ARGUMENT;
    if ((f->key || f->key_password) && !f->cert)
        return sbxi_curl_bad(fault, SBXI_CURL_TEXT("key and key_password need cert"));
    if (f->min_tls != 0 && f->min_tls != 12 && f->min_tls != 13)
        return sbxi_curl_bad(fault, SBXI_CURL_TEXT("min_tls is 12 (TLS 1.2), 13 (TLS 1.3) or 0 (12)"));
    if (f->connect_timeout_ms < 0)
        return sbxi_curl_bad(fault, SBXI_CURL_TEXT("connect_timeout_ms is negative"));
    if (f->proxy && *f->proxy && !sbxi_curl_proxy_url(f->proxy))
        return sbxi_curl_bad(fault, SBXI_CURL_TEXT("proxy is not a URL such as http://host:3128 or socks5h://host:1080"));
    if (!f->proxy_user != !f->proxy_password)
        return sbxi_curl_bad(fault, SBXI_CURL_TEXT("proxy_user and proxy_password go together"));
    return SBX_OK;
}

/* What this libcurl must have. */
static sbx_code sbxi_curl_able(sbx_fault *fault)
{
    const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
    const char *text = NULL;
    if (v->version_num < 0x075700)
        text = SBXI_CURL_TEXT("the libcurl that is loaded is older than 7.87");
    else if (!(v->features & CURL_VERSION_SSL))
        text = SBXI_CURL_TEXT("the libcurl that is loaded has no TLS");
    else if (!(v->features & CURL_VERSION_ASYNCHDNS))
        text = SBXI_CURL_TEXT("the libcurl that is loaded looks names up in the calling thread: use one with the threaded resolver or c-ares");
    else
        return SBX_OK;
    sbxi_curl_fail(fault, SBX_ERR_UNSUPPORTED, 0, text);
    return SBX_ERR_UNSUPPORTED;
}

static bool sbxi_curl_secure(const char *url)
{
    return url && curl_strnequal(url, "https:", 6);
}

/* A proxy that is itself spoken to by TLS. */
static bool sbxi_curl_proxy_tls(const char *proxy)
{
    if (proxy)
        return sbxi_curl_secure(proxy);
    return sbxi_curl_secure(getenv("http_proxy")) || sbxi_curl_secure(getenv("all_proxy")) || sbxi_curl_secure(getenv("ALL_PROXY"));
}

/* The trusted CAs. libcurl keeps those of a file for all connections of a
   multi handle, but only if no directory is set. */
static CURLcode sbxi_curl_trust(CURL *m, const sbx_curl_config *f)
{
    const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
    const char *file = f->ca_file, *dir = f->ca_dir, *proxy;
    CURLcode r = CURLE_OK;
    if (!file && !dir) {
        if (!v->cainfo || access(v->cainfo, R_OK))
            return r; /* whatever libcurl has by default */
        file = v->cainfo;
    }
    proxy = f->proxy_ca_file ? f->proxy_ca_file : file;
    r = r ? r : curl_easy_setopt(m, CURLOPT_CAINFO, file);
    r = r ? r : curl_easy_setopt(m, CURLOPT_CAPATH, dir);
    r = r ? r : curl_easy_setopt(m, CURLOPT_PROXY_CAINFO, proxy);
    r = r ? r : curl_easy_setopt(m, CURLOPT_PROXY_CAPATH, f->proxy_ca_file ? NULL : dir);
    return r;
}

static CURLcode sbxi_curl_secrets(CURL *m, const sbx_curl_config *f)
{
    const long version = f->min_tls == 13 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2;
    CURLcode r = curl_easy_setopt(m, CURLOPT_SSLVERSION, version);
    r = r ? r : curl_easy_setopt(m, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    r = r ? r : curl_easy_setopt(m, CURLOPT_SSL_VERIFYPEER, f->insecure_no_verify ? 0L : 1L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_SSL_VERIFYHOST, f->insecure_no_verify ? 0L : 2L);
    if (f->cert) {
        r = r ? r : curl_easy_setopt(m, CURLOPT_SSLCERT, f->cert);
        r = r ? r : curl_easy_setopt(m, CURLOPT_SSLKEY, f->key ? f->key : f->cert);
        r = r ? r : curl_easy_setopt(m, CURLOPT_KEYPASSWD, f->key_password);
    }
    return r ? r : sbxi_curl_trust(m, f);
}

static CURLcode sbxi_curl_route(CURL *m, const sbx_curl_config *f)
{
    CURLcode r = curl_easy_setopt(m, CURLOPT_HTTPPROXYTUNNEL, 1L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_PROXY, f->proxy);
    r = r ? r : curl_easy_setopt(m, CURLOPT_NOPROXY, f->no_proxy);
    r = r ? r : curl_easy_setopt(m, CURLOPT_PROXYUSERNAME, f->proxy_user);
    r = r ? r : curl_easy_setopt(m, CURLOPT_PROXYPASSWORD, f->proxy_password);
    r = r ? r : curl_easy_setopt(m, CURLOPT_INTERFACE, f->bind);
    return r;
}

/* Options of every connection, but for what is its own. */
static CURLcode sbxi_curl_model(sbxi_curl_ctx *x, const sbx_curl_config *f)
{
    CURL *m = x->model;
    CURLcode r = curl_easy_setopt(m, CURLOPT_CONNECT_ONLY, 1L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_NOSIGNAL, 1L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_QUICK_EXIT, 1L); /* closing waits for no lookup */
    r = r ? r : curl_easy_setopt(m, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    r = r ? r : curl_easy_setopt(m, CURLOPT_OPENSOCKETFUNCTION, sbxi_curl_on_open);
    r = r ? r : curl_easy_setopt(m, CURLOPT_WRITEFUNCTION, sbxi_curl_on_write);
    r = r ? r : curl_easy_setopt(m, CURLOPT_XFERINFOFUNCTION, sbxi_curl_on_progress);
    r = r ? r : curl_easy_setopt(m, CURLOPT_XFERINFODATA, x);
    r = r ? r : curl_easy_setopt(m, CURLOPT_NOPROGRESS, 0L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_CONNECTTIMEOUT_MS, f->connect_timeout_ms ? (long)f->connect_timeout_ms : 15000L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_TCP_KEEPALIVE, f->no_keepalive ? 0L : 1L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_TCP_KEEPIDLE, 45L);
    r = r ? r : curl_easy_setopt(m, CURLOPT_TCP_KEEPINTVL, 15L);
    r = r ? r : sbxi_curl_route(m, f);
    /* Refused where OpenSSL is there but libcurl uses another library. */
    if (x->ssl_ctrl && curl_easy_setopt(m, CURLOPT_SSL_CTX_FUNCTION, sbxi_curl_on_ssl_ctx) == CURLE_OK)
        r = r ? r : curl_easy_setopt(m, CURLOPT_SSL_CTX_DATA, x);
    return r ? r : sbxi_curl_secrets(m, f);
}

/* Puts a function's address where its pointer is: ISO C has no cast for it. */
static void sbxi_curl_symbol(void *library, const char *name, void *pointer)
{
    void *found = dlsym(library, name);
    memcpy(pointer, &found, sizeof found);
}

/* The functions of that OpenSSL which libcurl itself uses. */
static void sbxi_curl_seek(sbxi_curl_ctx *x)
{
    CURLcode (*in_curl)(CURL *, void *, size_t, size_t *) = curl_easy_recv;
    const void *address;
    void *library;
    Dl_info info;
    memcpy(&address, &in_curl, sizeof address); /* ISO C has no cast for it */
    if (!dladdr(address, &info) || !info.dli_fname)
        return;
    library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (!library)
        library = dlopen(NULL, RTLD_LAZY); /* libcurl is a part of the program */
    if (!library)
        return;
    sbxi_curl_symbol(library, "SSL_get_shutdown", &x->ssl_shutdown);
    sbxi_curl_symbol(library, "SSL_callback_ctrl", &x->ssl_callback);
    sbxi_curl_symbol(library, "SSL_CTX_callback_ctrl", &x->ctx_callback);
    sbxi_curl_symbol(library, "SSL_CTX_ctrl", &x->ctx_ctrl);
    sbxi_curl_symbol(library, "SSL_set0_rbio", &x->set_bio);
    sbxi_curl_symbol(library, "BIO_new", &x->bio_new);
    sbxi_curl_symbol(library, "BIO_s_null", &x->bio_null);
    if (x->ssl_callback && x->ctx_callback && x->ctx_ctrl && x->set_bio && x->bio_new && x->bio_null)
        sbxi_curl_symbol(library, "SSL_ctrl", &x->ssl_ctrl);
    dlclose(library); /* it stays, as it was here before */
}

static int sbxi_curl_descriptors(sbxi_curl_ctx *x)
{
    int err;
    x->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (x->epoll < 0)
        return errno;
    x->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (x->wake < 0)
        return errno;
    x->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (x->timer < 0)
        return errno;
    err = sbxi_curl_watch_fd(x, x->wake, EPOLLIN, SBXI_CURL_WOKEN);
    return err ? err : sbxi_curl_watch_fd(x, x->timer, EPOLLIN, SBXI_CURL_TIMED);
}

static sbx_code sbxi_curl_handles(sbxi_curl_ctx *x, const sbx_curl_config *f, sbx_fault *fault)
{
    CURLcode r = CURLE_OUT_OF_MEMORY;
    x->model = curl_easy_init();
    x->share = curl_share_init();
    if (x->model && x->share)
        r = sbxi_curl_model(x, f);
    if (r == CURLE_OK && (curl_share_setopt(x->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) ||
                          curl_share_setopt(x->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION)))
        r = CURLE_OUT_OF_MEMORY;
    if (r == CURLE_OK)
        return SBX_OK;
    if (r == CURLE_OUT_OF_MEMORY) {
        sbxi_curl_fail(fault, SBX_ERR_MEMORY, (int)r, SBXI_CURL_TEXT("libcurl got no memory"));
        return SBX_ERR_MEMORY;
    }
    sbxi_curl_fail(fault, SBX_ERR_UNSUPPORTED, (int)r, SBXI_CURL_TEXT("this libcurl lacks an option that is needed here"));
    return SBX_ERR_UNSUPPORTED;
}

static sbx_code sbxi_curl_prepare(sbxi_curl_ctx *x, const sbx_curl_config *f, sbx_fault *fault)
{
    sbx_code code = sbxi_curl_able(fault);
    int err;
    if (code)
        return code;
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
        sbxi_curl_fail(fault, SBX_ERR_MEMORY, 0, SBXI_CURL_TEXT("libcurl could not be initialised"));
        return SBX_ERR_MEMORY;
    }
    x->global = true;
    sbxi_curl_seek(x);
    code = sbxi_curl_check(x, f, fault);
    if (code)
        return code;
    err = sbxi_curl_descriptors(x);
    if (err) {
        sbxi_curl_fail(fault, SBX_ERR_CONNECT, err, sbxi_curl_why(err));
        return SBX_ERR_CONNECT;
    }
    return sbxi_curl_handles(x, f, fault);
}

static sbx_code sbxi_curl_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    sbxi_curl_ctx *x = (sbxi_curl_ctx *)ctx;
    sbx_curl_config f;
    sbx_code code;
    memset(x, 0, sizeof *x);
    memset(&f, 0, sizeof f);
    if (config)
        f = *(const sbx_curl_config *)config;
    x->opened = true;
    x->epoll = x->wake = x->timer = -1;
    x->armed = -1;
    x->groups = max_conns / SBX_CURL_GROUP + 1;
    x->proxy_tls = sbxi_curl_proxy_tls(f.proxy);
    code = sbxi_curl_prepare(x, &f, fault);
    if (code) {
        char text[sizeof x->text];
        memcpy(text, x->text, sizeof text);
        sbxi_curl_shut(x);
        memcpy(x->text, text, sizeof text); /* the fault may point to it */
    }
    return code;
}

const sbx_transport sbx_curl = {
    "curl",
    SBX_TRANSPORT_TLS,
    (uint32_t)(SBX_TRANSPORT_ALIGN(sizeof(sbxi_curl_ctx)) + sizeof(sbxi_curl_group)),
    (uint32_t)(sizeof(sbxi_curl_group) / SBX_CURL_GROUP + 1), /* a place for each group */
    (uint32_t)sizeof(sbxi_curl_conn),
    NULL,
    sbxi_curl_open,
    sbxi_curl_shut,
    sbxi_curl_connect,
    sbxi_curl_recv,
    sbxi_curl_send,
    sbxi_curl_close,
    NULL,
    sbxi_curl_wait,
    sbxi_curl_wake,
    sbxi_curl_conn_handle,
    sbxi_curl_poll_handle,
    sbxi_curl_entropy,
    sbxi_curl_mono_ms,
    sbxi_curl_wall_ms
};

SBX_EXTERN_C_END
#endif /* SANDBOX_IMPLEMENTATION */
