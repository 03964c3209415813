/* One yamux session over a socket, for the interop tests: the codec of
   sandbox.h, poll, and a behaviour for each stream. */
#ifndef MUX_H
#define MUX_H
#include "sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#define MUX_STREAMS 300

/* A stream and what is done with it. What is sent: `first`, then `pattern`
   bytes of the pattern both sides know, or what came (`echo`). */
typedef struct lane {
    sbx_yamux_stream *stream; /* NULL after its end */
    unsigned char first[9];
    size_t first_n, first_at;
    uint64_t pattern, sent;
    char *held; /* an echo's bytes that are not sent yet */
    size_t held_n;
    uint64_t got;
    char tail[40]; /* the first bytes that came */
    bool echo, still, verify, mismatch; /* still: consumes and echoes nothing for now */
    bool opened, ending, ended, eof, reset;
} lane;

typedef struct mux {
    int fd;
    sbx_yamux codec;
    sbx_yamux_stream streams[MUX_STREAMS];
    lane lanes[MUX_STREAMS];
    size_t lane_n;
    char out[1 << 17];
    size_t out_at, out_n;
    unsigned resets, pongs, goaways;
    uint32_t goaway_code;
    bool closed; /* the peer hung up */
    const char *error;
} mux;

/* ---- the peer (tests/interop/main.go) ---- */

typedef struct peer {
    pid_t pid;
    int in, out;
    uint16_t port;
} peer;
peer peer_start(const char *role, const char *argument); /* argument may be NULL */
/* Waits for its verdict in the role of a client: true = "passed". */
bool peer_passed(peer *p);
void peer_stop(peer *p);

/* ---- the session ---- */

mux *mux_connect(uint16_t port, bool server);
void mux_close(mux *m);
/* Opens a stream that begins with `first`; NULL: not possible now. */
lane *mux_open(mux *m, const void *first, size_t first_n);
/* Composes what can be sent, and waits for the socket once. */
void mux_turn(mux *m);
void mux_drop(mux *m, lane *l);
/* A frame that was composed. */
void mux_put(mux *m, const void *p, size_t n);
bool mux_all_free(const mux *m);

void pattern(unsigned char *p, size_t n, uint64_t at);
/* Most memory that this program has had, bytes. */
size_t memory_peak(void);

#endif
