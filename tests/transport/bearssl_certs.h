/* Certificates for one run of a test program, by tests/tls/certs.py. */
#ifndef BEARSSL_CERTS_H
#define BEARSSL_CERTS_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char peer_dir[256];

static const char *peer_path(const char *name, const char *end)
{
    static char path[2][512];
    static unsigned at;
    char *p = path[at++ % 2];

    snprintf(p, sizeof path[0], "%s/%s%s", peer_dir, name, end);
    return p;
}

static int peer_make_certificates(void **state)
{
    char command[600];

    (void)state;
    snprintf(peer_dir, sizeof peer_dir, "%s/bearssl-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(peer_dir))
        return -1;
    snprintf(command, sizeof command, "python3 tests/tls/certs.py '%s'", peer_dir);
    return system(command);
}

static int peer_drop_certificates(void **state)
{
    char command[600];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", peer_dir);
    return system(command);
}

#endif
