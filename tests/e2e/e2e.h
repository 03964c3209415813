/* What the end-to-end tests share: a client and a sandbox, calls that must
   succeed or fail in a given way, a command's whole output, and a sandboxd of
   the test's own with faults. */
#ifndef E2E_H
#define E2E_H
#include "sandbox.h"
#include "sandbox_posix.h"
#include "sandbox_build.h"
#include "sandbox_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <cmocka.h>

extern sbx_client *c; /* of the group */
extern sbx_box box;

/* The transport that E2E_TRANSPORT names, with its configuration: posix (also
   where it is not set), or one with TLS, which trusts SANDBOXD_CA. */
void e2e_transport(sbx_client_desc *d);
bool e2e_over(const char *transport);
/* A client by the environment, with `desc` for the rest (NULL = defaults). */
sbx_client *e2e_open(const sbx_client_desc *desc);
int e2e_begin(void **state); /* group set-up: c and box */
int e2e_end(void **state);

/* Must succeed. */
#define OK(op) e2e_ok(c, (op), __FILE__, __LINE__)
#define OK_ON(client, op) e2e_ok((client), (op), __FILE__, __LINE__)
void e2e_ok(sbx_client *client, sbx_op op, const char *file, int line);

/* Must fail with that code; the error is left for the caller to look at. */
#define FAILS(op, code) e2e_fails(c, (op), (code), __FILE__, __LINE__)
#define FAILS_ON(client, op, code) e2e_fails((client), (op), (code), __FILE__, __LINE__)
sbx_error e2e_fails(sbx_client *client, sbx_op op, sbx_code code, const char *file, int line);

typedef struct e2e_bytes {
    char *p;
    size_t n, cap;
} e2e_bytes;
void e2e_add(e2e_bytes *b, const char *p, size_t n);

/* All that a streamed operation reported. */
typedef struct e2e_run {
    e2e_bytes out, err; /* file bytes are in out */
    char order[256];    /* a letter a run of equal events: s out, e err, r reconnected, g gap, t retrying */
    sbx_code code;
    int exit_code;
    uint32_t pid;
    unsigned started, gaps, reconnects, retries, writable, rewinds, chunks;
    uint64_t lost;
    uint32_t delay_ms; /* the last RETRYING's */
    bool torn; /* an event's offset was not behind the last one's */
    sbx_error error;
} e2e_run;
e2e_run e2e_collect(sbx_client *client, sbx_op op);
void e2e_free(e2e_run *r);
/* One event into it; false behind END. */
bool e2e_take(e2e_run *r, const sbx_event *ev);

#define SAME(bytes, text) e2e_same(&(bytes), (text), strlen(text), __FILE__, __LINE__)
void e2e_same(const e2e_bytes *b, const char *p, size_t n, const char *file, int line);

/* Runs a command in the group's sandbox and returns its stdout (static). */
const char *e2e_sh(const char *command);

/* A sandboxd of its own: its options, NULL-terminated; key "k". It speaks TLS
   where SANDBOXD_CERT is set. */
typedef struct e2e_server {
    pid_t pid;
    char endpoint[64]; /* the full base */
} e2e_server;
e2e_server e2e_serve(const char *const *options);
void e2e_stop(e2e_server *s);
sbx_client *e2e_connect(const e2e_server *s, const sbx_client_desc *desc);
sbx_box e2e_create(sbx_client *client);

/* Numbered lines, so that a byte that is lost or repeated shows. */
void e2e_lines(e2e_bytes *b, unsigned from, unsigned to);
void e2e_noise(char *p, size_t n, uint32_t seed);
#endif
