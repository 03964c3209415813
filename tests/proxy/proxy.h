/* The proxy suite: one list of cases (cases.c) for every transport that goes
   through proxies. A test_X.c implements the transport, describes it as a
   proxy_kind and returns proxy_main(&kind). It runs beside sandboxd, by
   tests/build/with_sandboxd.py. */
#ifndef PROXY_H
#define PROXY_H
#include "sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/types.h>

#include <cmocka.h>

/* What a case asks of the transport's configuration; NULL as in its own. */
typedef struct proxy_use {
    const char *url, *no_proxy, *user, *password;
} proxy_use;

typedef struct proxy_kind {
    const sbx_transport *transport;
    const void *(*config)(const proxy_use *use); /* its transport_config, good until the next call */
    bool socks;                                  /* speaks SOCKS5 */
} proxy_kind;

int proxy_main(const proxy_kind *kind);

/* ---- proxies (relay.c) ---- */

/* Debian's, started on a port of 127.0.0.1 that is free. */
typedef struct proxy_real {
    pid_t pid;
    uint16_t port;
    char folder[32];
} proxy_real;
proxy_real proxy_tinyproxy(const char *user, const char *password); /* NULL = asks for none */
proxy_real proxy_microsocks(const char *user, const char *password);
void proxy_stop(proxy_real *p);

/* A scripted HTTP proxy. It takes a CONNECT's head, then sends `answer` (in
   pieces of `piece` bytes, 0 = whole), and where that is an agreement connects
   to `to`, whatever it was asked for. */
typedef struct proxy_relay {
    const char *answer; /* NULL = never answers */
    const char *again; /* behind it for ever; NULL = nothing. Set after proxy_relay_start */
    size_t piece;
    uint16_t to;
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock;
    bool stop;
    unsigned heads, live; /* heads taken; connections that are served now */
    char head[2048];      /* the last one */
} proxy_relay;
void proxy_relay_start(proxy_relay *r, const char *answer, size_t piece, uint16_t to);
void proxy_relay_stop(proxy_relay *r);
unsigned proxy_relay_heads(proxy_relay *r);

#endif
