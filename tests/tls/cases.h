/* What a TLS transport must do with servers right and wrong, as a program sees
   it through a client: one list for all of them. */
#ifndef TLS_CASES_H
#define TLS_CASES_H
#include "sandbox.h"

/* What a case wants of the transport's configuration; paths, NULL = not set. */
typedef struct tls_wish {
    const char *ca_file, *ca_dir, *cert, *key;
    const char *proxy, *proxy_ca; /* https:// */
    bool insecure;
} tls_wish;

typedef struct tls_rig {
    const char *name;
    const sbx_transport *transport;
    const void *(*config)(const tls_wish *wish); /* valid until the next call */
    bool tls13;        /* speaks TLS 1.3 */
    bool tickets;      /* resumes by session ticket, else by session id only */
    bool renegotiates; /* takes part where the server insists; else it refuses */
    bool client_certs; /* can show a certificate of its own */
    bool proxies;      /* goes through https proxies */
    bool insecure;     /* can do without checks */
    bool only_right;   /* what is wrong ends otherwise, or in other words: not asked */
} tls_rig;

/* Runs all cases; main's status. */
int tls_main(const tls_rig *rig);
#endif
