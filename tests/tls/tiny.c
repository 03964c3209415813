/* A filter between OpenSSL and its socket: cuts the records of a handshake,
   while they are not encrypted, into records of one byte, and sends each in a
   segment of its own. */
#include "tiny.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { HEADER = 5, HANDSHAKE = 22, CHANGE_CIPHER = 20 };

typedef struct tiny {
    int fd;
    unsigned char header[HEADER];
    unsigned header_n, left; /* of the present record */
    bool encrypted;
} tiny;

static bool put(int fd, const void *p, size_t n)
{
    return send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool header_byte(tiny *t, unsigned char ch)
{
    t->header[t->header_n++] = ch;
    if (t->header_n < HEADER)
        return true;
    t->left = t->header[3] * 256u + t->header[4];
    if (t->header[0] == CHANGE_CIPHER)
        t->encrypted = true;
    return (t->header[0] == HANDSHAKE && !t->encrypted) || put(t->fd, t->header, HEADER);
}

static bool body_byte(tiny *t, unsigned char ch)
{
    unsigned char record[] = { HANDSHAKE, t->header[1], t->header[2], 0, 1, ch };

    if (--t->left == 0)
        t->header_n = 0;
    if (t->header[0] == HANDSHAKE && !t->encrypted)
        return put(t->fd, record, sizeof record);
    return put(t->fd, &ch, 1);
}

static int tiny_write(BIO *b, const char *p, int n)
{
    tiny *t = BIO_get_data(b);

    for (int i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)p[i];

        if (!(t->header_n < HEADER ? header_byte(t, ch) : body_byte(t, ch)))
            return -1;
    }
    return n;
}

static long tiny_ctrl(BIO *b, int command, long number, void *p)
{
    (void)b;
    (void)number;
    (void)p;
    return command == BIO_CTRL_FLUSH;
}

static int tiny_free(BIO *b)
{
    free(BIO_get_data(b));
    return 1;
}

BIO *tiny_bio(int fd)
{
    static BIO_METHOD *method;
    tiny *t = calloc(1, sizeof *t);
    BIO *b;

    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "one byte a record");
        BIO_meth_set_write(method, tiny_write);
        BIO_meth_set_ctrl(method, tiny_ctrl);
        BIO_meth_set_destroy(method, tiny_free);
    }
    b = BIO_new(method);
    t->fd = fd;
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    return b;
}
