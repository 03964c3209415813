/* Output to a socket in TLS records of one byte. */
#ifndef TLS_TINY_H
#define TLS_TINY_H
#include <openssl/bio.h>

BIO *tiny_bio(int fd);
#endif
