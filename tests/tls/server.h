/* A TLS server in a process of its own, by OpenSSL, that does what a test
   wants, right or wrong. It serves one connection after the other. */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Certificates for this run (certs.py), in a directory of their own. */
bool tls_certs(char *dir, size_t room);
void tls_certs_remove(const char *dir);

typedef enum tls_act {
    TLS_SERVES,      /* answers requests until the client ends */
    TLS_ONE_ANSWER,  /* answers one, then ends with close_notify */
    TLS_NO_NOTIFY,   /* answers one, then ends without */
    TLS_HALF_ANSWER, /* ends in the middle of a body, without close_notify */
    TLS_HALF_NOTIFY, /* the same with close_notify */
    TLS_RENEGOTIATES, /* asks for another handshake behind the first request */
    TLS_PROXY,       /* tunnels what follows CONNECT to that port of this machine */
    TLS_FLOODS,      /* TLS 1.3: TLS_FLOOD key updates in one go before each answer */
    TLS_HANGS_UP,    /* ends behind the client's first message */
    TLS_RESETS,      /* resets there */
    TLS_SILENT,      /* takes the connection and says nothing */
    TLS_GARBAGE,     /* answers with noise */
    TLS_HELLO_FLOOD, /* answers with HelloRequests without end, which a client is to ignore */
    TLS_NO_TLS       /* answers with HTTP in the clear */
} tls_act;

typedef struct tls_server_desc {
    const char *dir;  /* of certs.py */
    const char *cert; /* which of them */
    const char *client_ca; /* asks for a client certificate of this CA; NULL = does not */
    int min, max;     /* TLS versions: 11, 12, 13; 0 = 12 and 13 */
    tls_act act;
    bool tiny;        /* records of one byte, in segments of their own: the plain ones of the handshake, and data */
    bool no_tickets;  /* sessions are resumed by their id (TLS 1.2) */
    bool no_length;   /* a body ends with the stream */
} tls_server_desc;

typedef struct tls_server {
    pid_t pid;
    unsigned port;
} tls_server;

/* Every request is answered with a status as JSON. Its message tells of the
   connection: "TLSv1.2 resumed, sni localhost, alpn http/1.1, client -,
   3 full 1 resumed", the last of all connections until then. A request for a
   file is answered with TLS_FILE_BYTES of 'x'. */
enum { TLS_FILE_BYTES = 50000, TLS_FLOOD = 1000 };
tls_server tls_start(const tls_server_desc *desc);
void tls_stop(tls_server *s);

/* For a directory of CAs: writes dir/HASH.0 for the first certificate of a file. */
bool tls_hashed(const char *file, const char *dir);
#endif
