/* ---- transport: the interface between the client and the world (public) ---- */
#ifndef SBX_TRANSPORT_H
#define SBX_TRANSPORT_H
#include "error.h"
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
