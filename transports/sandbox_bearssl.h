/* sandbox_bearssl.h: TLS for sandbox.h by BearSSL, over any other transport.

   Use (Debian: libbearssl-dev; link with -lbearssl)
       #define SANDBOX_IMPLEMENTATION      in one C or C++ file
       #include "sandbox.h"                before any system header
       #include "sandbox_posix.h"
       #include "sandbox_bearssl.h"
   and set sbx_client_desc.transport = &sbx_bearssl_posix. https:// targets
   speak TLS, http:// ones pass through to the lower transport untouched.
   Over a transport of your own, or with buffers of another size, fill a
   transport by sbx_bearssl:

       sbx_transport tls;                  outlives the client
       sbx_bearssl(&tls, &my_uart, NULL);
       desc.transport = &tls;

   What is spoken
   TLS 1.2. BearSSL has no TLS 1.3: a server that accepts nothing else is
   refused with SBX_ERR_TLS, and sbx_curl is the way to it. TLS 1.0 and 1.1
   are refused unless min_version allows them. Server name indication (not
   for IP literals), ALPN http/1.1, resumption by session id (BearSSL has no
   tickets: a server that offers those only makes a full handshake each
   time). Renegotiation and client certificates are refused.

   What is checked
   The chain up to a trust anchor, each certificate's validity against the
   wall clock, the name: dNSName entries (the common name only where the
   certificate has no alternative names), a wildcard for the whole left-most
   label alone; an IP literal against iPAddress entries only. Then the pins,
   if any. Revocation, name constraints and the extended key usage are not checked. A resumed session
   was checked when it was made, at most an hour ago.

   End of stream
   SBX_IO_EOF is the server's close_notify. A stream that ends without one
   may have been cut by anybody: SBX_IO_FAIL with SBX_ERR_TLS. A message that
   carries its length was complete before that and is not touched by it, and
   a kept connection that ends so while it is idle is closed quietly. `close`
   sends a close_notify if it can be sent at once.

   Memory
   All state lies in the client's memory. A connection costs about 7 KiB and
   its two buffers: rx_bytes + 325 and tx_bytes + 85, by default 33 KiB
   together. They are apart, so that a WebSocket can send while a record is
   half received; one buffer for both would stop that, and two peers that
   both write would wait for each other. Small buffers announce their size to
   the server (max_fragment_length). A server that ignores this and sends
   larger records fails the connection, so keep rx_bytes at 16384 unless the
   server is known; tx_bytes is free: 4096 gives 21 KiB a connection. The
   context costs about 0.4 KiB and 144 bytes a remembered session.
   malloc is used for one thing: trust anchors read from files, about
   0.6 KiB each (a system's bundle has about 140), from open to shut. With
   `anchors` nothing is allocated and no file is read.
   Reading files takes about 7 KiB of stack in open.

   Configuration macros, 0 or 1, read by the implementation only
       SBX_BEARSSL_MINIMAL   fewer algorithms, chosen for size: TLS 1.2 with
                             ECDHE on P-256, P-384 and P-521, AES-GCM or
                             ChaCha20-Poly1305; certificates by RSA or ECDSA
                             with SHA-256 and up. Without it everything that
                             BearSSL has, in its fastest form, but 3DES
       SBX_BEARSSL_NO_FILES  no file is read and malloc not used: trust
                             anchors are compiled in. Default: SBX_NO_MALLOC */
#ifndef SBX_BEARSSL_H
#define SBX_BEARSSL_H

#ifndef SBX_TRANSPORT_H
#error "include sandbox.h before sandbox_bearssl.h"
#endif

#include <bearssl.h>

SBX_EXTERN_C_BEGIN

/* What decides the state's size. NULL or all zero = defaults. */
typedef struct sbx_bearssl_options {
    uint16_t rx_bytes; /* largest incoming record: 512, 1024, 2048, 4096 or 16384; 0 = 16384 */
    uint16_t tx_bytes; /* largest outgoing record, likewise */
    uint8_t sessions;  /* remembered for resumption, by host and port; 0 = 8 */
} sbx_bearssl_options;

/* SHA-256 of a SubjectPublicKeyInfo in DER:
   openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der | openssl sha256 */
typedef struct sbx_bearssl_pin {
    unsigned char sha256[32];
} sbx_bearssl_pin;

/* Counted by a client, where asked for. */
typedef struct sbx_bearssl_stats {
    uint32_t full, resumed; /* handshakes that succeeded */
    uint32_t failed;
} sbx_bearssl_stats;

/* sbx_client_desc.transport_config. NULL or all zero = defaults. Read during
   open; what it points to must live as long as the client where that is said. */
typedef struct sbx_bearssl_config {
    const void *lower_config; /* given to the lower transport's open */

    /* Trust: one of these; none = the system's bundle, where there is one. */
    const char *ca_file; /* certificates in PEM; read during open */
    const char *ca_dir;  /* every file in it, likewise; both may be given */
    const br_x509_trust_anchor *anchors; /* live as long as the client; no file is read. examples/anchors/pem_to_c.c makes them */
    size_t anchors_n;

    /* Besides: the server's own key must be one of these. They live as long
       as the client. */
    const sbx_bearssl_pin *pins;
    size_t pins_n;

    unsigned min_version; /* BR_TLS10, BR_TLS11, BR_TLS12; 0 = BR_TLS12. The minimal profile has no other */
    bool no_alpn;         /* do not announce http/1.1 */
    bool no_resume;       /* a full handshake each time */
    bool no_clock;        /* validity is NOT checked: for machines without a wall clock */

    /* Used in place of the lower transport's; NULL = the lower one's. Rules
       as in sbx_transport; `user` is given to both. */
    bool (*entropy)(void *user, void *p, size_t n);
    int64_t (*wall_ms)(void *user);
    void *user;

    sbx_bearssl_stats *stats; /* lives as long as the client; NULL = not counted */
} sbx_bearssl_config;

/* Fills *out with a transport that speaks TLS over `lower`; both must live as
   long as the clients that use them. SBX_ERR_ARGUMENT: a pointer is NULL, a
   size is none of those allowed. Calls neither.

   Codes in the fault, beside the lower transport's own:
   open     SBX_ERR_ARGUMENT (config), SBX_ERR_MEMORY
   connect  SBX_ERR_TLS: the handshake or the certificate, with BearSSL's
            number in `sys` where there is one; SBX_ERR_ENTROPY
   recv     SBX_ERR_TLS: cut off, or a broken record
   send     SBX_ERR_TLS, SBX_ERR_CONNECTION (the server has said goodbye)
   A text stays valid until the next call. When send answered WANT_…, the next
   send must begin with the same bytes: they may be encrypted already. */
extern sbx_code sbx_bearssl(sbx_transport *out, const sbx_transport *lower, const sbx_bearssl_options *options);

#ifdef SBX_POSIX_H
/* Ready made over sbx_posix, with the default options. */
extern const sbx_transport sbx_bearssl_posix;
#endif

/* Calls `each` for every certificate of a PEM file that can be a trust anchor;
   *a is borrowed until it returns, false ends with SBX_ERR_MEMORY. Certificates
   with keys that BearSSL does not know are left out. SBX_ERR_ARGUMENT: the file
   cannot be read, is not PEM, or has none; SBX_ERR_UNSUPPORTED under
   SBX_BEARSSL_NO_FILES. Blocks while it reads; needs no client. */
extern sbx_code sbx_bearssl_pem(const char *file, bool (*each)(void *user, const br_x509_trust_anchor *a), void *user);

SBX_EXTERN_C_END
#endif /* SBX_BEARSSL_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_BEARSSL_IMPLEMENTED)
#define SBXI_BEARSSL_IMPLEMENTED

#ifndef SBX_BEARSSL_MINIMAL
#define SBX_BEARSSL_MINIMAL 0
#endif
#ifndef SBX_BEARSSL_NO_FILES
#if defined(SBX_NO_MALLOC) && SBX_NO_MALLOC
#define SBX_BEARSSL_NO_FILES 1
#else
#define SBX_BEARSSL_NO_FILES 0
#endif
#endif

#if !SBX_BEARSSL_NO_FILES
#include <sys/types.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#endif

SBX_EXTERN_C_BEGIN

#if defined(SBX_NO_ERROR_TEXT) && SBX_NO_ERROR_TEXT
#define SBXI_BEARSSL_TEXTS 0
#define SBXI_BEARSSL_TEXT(s) NULL
#else
#define SBXI_BEARSSL_TEXTS 1
#define SBXI_BEARSSL_TEXT(s) (s)
#endif

enum {
    SBXI_BEARSSL_DEPTH = 9,             /* of the elements read in a certificate */
    SBXI_BEARSSL_HANDSHAKE = 256 << 10, /* bytes that a server may send in one */
    SBXI_BEARSSL_BARREN = 64 << 10,     /* bytes behind each other that bring no data */
    SBXI_BEARSSL_CHAIN = 16,            /* certificates */
    SBXI_BEARSSL_SESSION_MS = 3600000,
    SBXI_BEARSSL_SESSIONS = 8,
    SBXI_BEARSSL_DN = 2048              /* bytes of an anchor's name */
};

/* ---- reading a certificate as it passes by ----

   BearSSL's own engine does the checking; this one reads what it does not
   tell: iPAddress names, the public key's hash, and what a text should name. */

/* Where in the certificate an element's children are. */
enum {
    SBXI_BEARSSL_TOP,
    SBXI_BEARSSL_CERT,
    SBXI_BEARSSL_TBS,
    SBXI_BEARSSL_VALIDITY,
    SBXI_BEARSSL_ISSUER,
    SBXI_BEARSSL_RDN,
    SBXI_BEARSSL_ATTRIBUTE,
    SBXI_BEARSSL_WRAPPED, /* [3] around the extensions */
    SBXI_BEARSSL_EXTENSIONS,
    SBXI_BEARSSL_EXTENSION,
    SBXI_BEARSSL_STRING, /* OCTET STRING around the alternative names */
    SBXI_BEARSSL_NAMES,
    /* no place: an element without children of interest */
    SBXI_BEARSSL_LEAVES,
    SBXI_BEARSSL_SKIP = SBXI_BEARSSL_LEAVES,
    SBXI_BEARSSL_BEFORE,
    SBXI_BEARSSL_AFTER,
    SBXI_BEARSSL_OID,
    SBXI_BEARSSL_COMMON_NAME,
    SBXI_BEARSSL_DNS,
    SBXI_BEARSSL_IP
};

typedef struct sbxi_bearssl_level {
    uint32_t left; /* bytes of it that are not in a child yet */
    uint8_t place, index;
} sbxi_bearssl_level;

/* The reader of one certificate; all zero to begin with. */
typedef struct sbxi_bearssl_der {
    sbxi_bearssl_level level[SBXI_BEARSSL_DEPTH];
    uint32_t len, leaf; /* the header's length; bytes of the leaf still to come */
    uint8_t depth, head, more, tag, kind, region, oid[4], oid_n, value_n;
    bool bad;
    unsigned char value[64]; /* of the leaf, its beginning */
    uint64_t name_hash[2];   /* issuer, subject */
} sbxi_bearssl_der;

typedef struct sbxi_bearssl_date {
    uint16_t year;
    uint8_t month, day;
    int64_t unix_s; /* 0 = unreadable */
} sbxi_bearssl_date;

/* BearSSL calls this one, and it calls BearSSL's. */
typedef struct sbxi_bearssl_x509 {
    const br_x509_class *vtable;
    br_x509_minimal_context min;
    sbxi_bearssl_der der;
    br_sha256_context key;
    const sbx_bearssl_pin *pins;
    size_t pins_n;
    int64_t now_s; /* 0 = validity is not to be checked */
    unsigned char ip[16];
    uint8_t ip_n; /* 0 = a name was asked for */
    uint8_t certs, bad_date_at; /* certificates so far; 1 + number of the one out of date */
    bool ip_found, pin_failed, self_signed, too_early;
    sbxi_bearssl_date not_before, bad_date;
#if SBXI_BEARSSL_TEXTS
    char names[80];  /* "a.example, *.b.example" */
    char issuer[64]; /* of the last certificate */
#endif
} sbxi_bearssl_x509;

static bool sbxi_bearssl_oid_is(const sbxi_bearssl_der *d, unsigned char second, unsigned char third)
{
    return d->oid_n == 3 && d->oid[0] == 0x55 && d->oid[1] == second && d->oid[2] == third;
}

static int sbxi_bearssl_in_tbs(uint8_t tag, uint8_t index)
{
    if (tag == 0xA3)
        return SBXI_BEARSSL_WRAPPED;
    return index == 2 ? SBXI_BEARSSL_ISSUER : index == 3 ? SBXI_BEARSSL_VALIDITY : SBXI_BEARSSL_SKIP;
}

/* What the element is that begins with d->tag. */
static int sbxi_bearssl_kind(const sbxi_bearssl_der *d, const sbxi_bearssl_level *in)
{
    switch (in->place) {
    case SBXI_BEARSSL_TOP: return SBXI_BEARSSL_CERT;
    case SBXI_BEARSSL_CERT: return in->index == 0 ? SBXI_BEARSSL_TBS : SBXI_BEARSSL_SKIP;
    case SBXI_BEARSSL_TBS: return sbxi_bearssl_in_tbs(d->tag, in->index);
    case SBXI_BEARSSL_VALIDITY: return in->index == 0 ? SBXI_BEARSSL_BEFORE : SBXI_BEARSSL_AFTER;
    case SBXI_BEARSSL_ISSUER: return SBXI_BEARSSL_RDN;
    case SBXI_BEARSSL_RDN: return SBXI_BEARSSL_ATTRIBUTE;
    case SBXI_BEARSSL_ATTRIBUTE:
        return in->index == 0 ? SBXI_BEARSSL_OID : sbxi_bearssl_oid_is(d, 4, 3) ? SBXI_BEARSSL_COMMON_NAME : SBXI_BEARSSL_SKIP;
    case SBXI_BEARSSL_WRAPPED: return SBXI_BEARSSL_EXTENSIONS;
    case SBXI_BEARSSL_EXTENSIONS: return SBXI_BEARSSL_EXTENSION;
    case SBXI_BEARSSL_EXTENSION:
        return in->index == 0 ? SBXI_BEARSSL_OID : d->tag == 4 && sbxi_bearssl_oid_is(d, 0x1D, 0x11) ? SBXI_BEARSSL_STRING : SBXI_BEARSSL_SKIP;
    case SBXI_BEARSSL_STRING: return SBXI_BEARSSL_NAMES;
    default: return d->tag == 0x82 ? SBXI_BEARSSL_DNS : d->tag == 0x87 ? SBXI_BEARSSL_IP : SBXI_BEARSSL_SKIP;
    }
}

/* Days from 1970 to a date of the Gregorian calendar. */
static int64_t sbxi_bearssl_days(int64_t year, int64_t month, int64_t day)
{
    int64_t era;

    year -= month <= 2;
    era = year / 400;
    year -= era * 400;
    return era * 146097 + year * 365 + year / 4 - year / 100 + (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1 - 719468;
}

static sbxi_bearssl_date sbxi_bearssl_read_date(const sbxi_bearssl_der *d)
{
    sbxi_bearssl_date out;
    unsigned part[7], i, n = d->tag == 0x18 ? 7 : 6;

    memset(&out, 0, sizeof out);
    if (d->value_n != 2 * n + 1)
        return out;
    for (i = 0; i < 2 * n; i++)
        if (d->value[i] < '0' || d->value[i] > '9')
            return out;
    for (i = 0; i < n; i++)
        part[i + 7 - n] = (unsigned)(d->value[2 * i] - '0') * 10 + (unsigned)(d->value[2 * i + 1] - '0');
    out.year = (uint16_t)(n == 7 ? part[0] * 100 + part[1] : part[1] + (part[1] < 50 ? 2000 : 1900));
    out.month = (uint8_t)part[2];
    out.day = (uint8_t)part[3];
    out.unix_s = sbxi_bearssl_days(out.year, out.month, out.day) * 86400 + part[4] * 3600 + part[5] * 60 + part[6];
    return out;
}

static void sbxi_bearssl_set_time(br_x509_minimal_context *min, int64_t unix_s)
{
    int64_t days = unix_s / 86400;

    if (unix_s >= 0)
        br_x509_minimal_set_time(min, (uint32_t)(days + 719528), (uint32_t)(unix_s - days * 86400));
}

/* The first date out of order, for the text. Without a clock BearSSL's engine
   is told that it is the first moment of this certificate. */
static void sbxi_bearssl_check_date(sbxi_bearssl_x509 *x, bool after)
{
    sbxi_bearssl_date date = sbxi_bearssl_read_date(&x->der);

    if (!after && !x->now_s)
        sbxi_bearssl_set_time(&x->min, date.unix_s);
    if (!x->now_s || x->bad_date_at || (after ? date.unix_s >= x->now_s : date.unix_s <= x->now_s))
        return;
    x->bad_date_at = (uint8_t)(x->certs + 1);
    x->bad_date = date;
    x->too_early = !after;
}

#if SBXI_BEARSSL_TEXTS
/* A piece of a certificate for a text: what cannot be printed becomes '?'. */
static size_t sbxi_bearssl_print(char *to, size_t at, size_t room, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n && at + 1 < room; i++)
        to[at++] = (char)(p[i] < ' ' || p[i] > '~' ? '?' : p[i]);
    to[at] = 0;
    return at;
}

static void sbxi_bearssl_note_name(sbxi_bearssl_x509 *x, const unsigned char *p, size_t n)
{
    size_t at = strlen(x->names);

    if (at + n + 8 > sizeof x->names) {
        if (at && at + 6 <= sizeof x->names && x->names[at - 1] != '.')
            memcpy(x->names + at, ", ...", 6);
        return;
    }
    if (at)
        at = sbxi_bearssl_print(x->names, at, sizeof x->names, (const unsigned char *)", ", 2);
    sbxi_bearssl_print(x->names, at, sizeof x->names, p, n);
}

static size_t sbxi_bearssl_number(char *to, size_t at, size_t room, unsigned v, unsigned width)
{
    unsigned char digits[10];
    unsigned n = 0;

    do {
        digits[9 - n++] = (unsigned char)('0' + v % 10);
        v /= 10;
    } while ((v || n < width) && n < 10);
    return sbxi_bearssl_print(to, at, room, digits + 10 - n, n);
}

static void sbxi_bearssl_note_ip(sbxi_bearssl_x509 *x, const unsigned char *p, size_t n)
{
    char text[16];
    size_t at = 0, i;

    if (n != 4)
        return;
    for (i = 0; i < 4; i++) {
        at = sbxi_bearssl_number(text, at, sizeof text, p[i], 1);
        if (i < 3)
            at = sbxi_bearssl_print(text, at, sizeof text, (const unsigned char *)".", 1);
    }
    sbxi_bearssl_note_name(x, (const unsigned char *)text, at);
}
#else
static void sbxi_bearssl_note_name(sbxi_bearssl_x509 *x, const unsigned char *p, size_t n)
{
    (void)x;
    (void)p;
    (void)n;
}
#define sbxi_bearssl_note_ip sbxi_bearssl_note_name
#endif

static void sbxi_bearssl_leaf_done(sbxi_bearssl_x509 *x)
{
    sbxi_bearssl_der *d = &x->der;

    switch (d->kind) {
    case SBXI_BEARSSL_BEFORE:
    case SBXI_BEARSSL_AFTER: sbxi_bearssl_check_date(x, d->kind == SBXI_BEARSSL_AFTER); break;
    case SBXI_BEARSSL_OID:
        d->oid_n = d->value_n;
        memcpy(d->oid, d->value, sizeof d->oid);
        break;
#if SBXI_BEARSSL_TEXTS
    case SBXI_BEARSSL_COMMON_NAME: sbxi_bearssl_print(x->issuer, 0, sizeof x->issuer, d->value, d->value_n); break;
#endif
    case SBXI_BEARSSL_DNS:
        if (!x->certs)
            sbxi_bearssl_note_name(x, d->value, d->value_n);
        break;
    case SBXI_BEARSSL_IP:
        if (!x->certs) {
            x->ip_found = x->ip_found || (x->ip_n && d->value_n == x->ip_n && memcmp(d->value, x->ip, x->ip_n) == 0);
            sbxi_bearssl_note_ip(x, d->value, d->value_n);
        }
        break;
    default: break;
    }
}

/* Bytes within the issuer (1), the subject (2) or the end certificate's key (3). */
static void sbxi_bearssl_absorb(sbxi_bearssl_x509 *x, const unsigned char *p, size_t n)
{
    sbxi_bearssl_der *d = &x->der;

    if (d->region == 3 && !x->certs)
        br_sha256_update(&x->key, p, n);
    if (d->region == 1 || d->region == 2)
        for (size_t i = 0; i < n; i++)
            d->name_hash[d->region - 1] = (d->name_hash[d->region - 1] ^ p[i]) * UINT64_C(0x100000001B3);
}

static void sbxi_bearssl_begin_element(sbxi_bearssl_der *d, unsigned char tag)
{
    const sbxi_bearssl_level *in = &d->level[d->depth];

    d->tag = tag;
    if (in->place == SBXI_BEARSSL_TBS)
        d->region = (uint8_t)(tag == 0xA0 ? 0 : in->index == 2 ? 1 : in->index == 4 ? 2 : in->index == 5 ? 3 : 0);
    else if (in->place < SBXI_BEARSSL_TBS)
        d->region = 0;
}

static void sbxi_bearssl_enter(sbxi_bearssl_x509 *x)
{
    sbxi_bearssl_der *d = &x->der;
    sbxi_bearssl_level *in = &d->level[d->depth];
    int kind = sbxi_bearssl_kind(d, in);

    if (d->depth && (d->len > in->left || d->head > in->left - d->len)) {
        d->bad = true;
        return;
    }
    if (d->depth)
        in->left -= d->len + d->head;
    if (!(in->place == SBXI_BEARSSL_TBS && d->tag == 0xA0) && in->index < 255)
        in->index++;
    d->head = 0;
    d->value_n = 0;
    d->kind = (uint8_t)kind;
    d->leaf = 0;
    if (kind >= SBXI_BEARSSL_LEAVES) {
        d->leaf = d->len;
        if (!d->leaf)
            sbxi_bearssl_leaf_done(x);
    } else if (d->depth + 1 == SBXI_BEARSSL_DEPTH) {
        d->bad = true;
        return;
    } else {
        in = &d->level[++d->depth];
        in->left = d->len;
        in->place = (uint8_t)kind;
        in->index = 0;
    }
}

static void sbxi_bearssl_head_byte(sbxi_bearssl_x509 *x, unsigned char b)
{
    sbxi_bearssl_der *d = &x->der;

    while (d->head == 0 && d->depth && d->level[d->depth].left == 0)
        d->depth--;
    if (d->head == 0)
        sbxi_bearssl_begin_element(d, b);
    sbxi_bearssl_absorb(x, &b, 1);
    d->head++;
    if (d->head == 1)
        return;
    if (d->head == 2) {
        d->more = b & 0x80 ? b & 0x7F : 0;
        d->len = b & 0x80 ? 0 : b;
        d->bad = b == 0x80 || d->more > 3;
    } else {
        d->len = d->len << 8 | b;
        d->more--;
    }
    if (!d->more && !d->bad)
        sbxi_bearssl_enter(x);
}

static void sbxi_bearssl_der_push(sbxi_bearssl_x509 *x, const unsigned char *p, size_t n)
{
    sbxi_bearssl_der *d = &x->der;

    while (n && !d->bad) {
        size_t k = d->leaf < n ? d->leaf : n, keep;

        if (!d->leaf) {
            sbxi_bearssl_head_byte(x, *p++);
            n--;
            continue;
        }
        sbxi_bearssl_absorb(x, p, k);
        keep = sizeof d->value - d->value_n;
        keep = k < keep ? k : keep;
        memcpy(d->value + d->value_n, p, keep);
        d->value_n = (uint8_t)(d->value_n + keep);
        d->leaf -= (uint32_t)k;
        p += k;
        n -= k;
        if (!d->leaf)
            sbxi_bearssl_leaf_done(x);
    }
}

/* ---- the engine that BearSSL calls for a chain ---- */

static void sbxi_bearssl_start_chain(const br_x509_class **ctx, const char *server_name)
{
    sbxi_bearssl_x509 *x = (sbxi_bearssl_x509 *)(void *)ctx;

    br_sha256_init(&x->key);
    x->min.vtable->start_chain(&x->min.vtable, server_name);
}

static void sbxi_bearssl_start_cert(const br_x509_class **ctx, uint32_t length)
{
    sbxi_bearssl_x509 *x = (sbxi_bearssl_x509 *)(void *)ctx;

    memset(&x->der, 0, sizeof x->der);
    x->der.bad = x->certs >= SBXI_BEARSSL_CHAIN;
    x->min.vtable->start_cert(&x->min.vtable, length);
}

static void sbxi_bearssl_append(const br_x509_class **ctx, const unsigned char *p, size_t n)
{
    sbxi_bearssl_x509 *x = (sbxi_bearssl_x509 *)(void *)ctx;

    /* First here: without a clock, the date must be known before it is checked. */
    sbxi_bearssl_der_push(x, p, n);
    /* Each costs a signature: what is beyond the limit counts as cut off. */
    if (x->certs < SBXI_BEARSSL_CHAIN)
        x->min.vtable->append(&x->min.vtable, p, n);
}

static void sbxi_bearssl_end_cert(const br_x509_class **ctx)
{
    sbxi_bearssl_x509 *x = (sbxi_bearssl_x509 *)(void *)ctx;

    if (!x->certs)
        x->self_signed = x->der.name_hash[0] == x->der.name_hash[1];
    if (x->certs < SBXI_BEARSSL_CHAIN)
        x->certs++;
    x->min.vtable->end_cert(&x->min.vtable);
}

static bool sbxi_bearssl_pinned(const sbxi_bearssl_x509 *x)
{
    unsigned char hash[32];
    size_t i;

    br_sha256_out(&x->key, hash);
    for (i = 0; i < x->pins_n; i++)
        if (memcmp(hash, x->pins[i].sha256, sizeof hash) == 0)
            return true;
    return x->pins_n == 0;
}

static unsigned sbxi_bearssl_end_chain(const br_x509_class **ctx)
{
    sbxi_bearssl_x509 *x = (sbxi_bearssl_x509 *)(void *)ctx;
    unsigned err = x->min.vtable->end_chain(&x->min.vtable);

    if (err)
        return err;
    if (x->ip_n && !x->ip_found)
        return BR_ERR_X509_BAD_SERVER_NAME;
    x->pin_failed = !sbxi_bearssl_pinned(x);
    return x->pin_failed ? BR_ERR_X509_NOT_TRUSTED : 0;
}

static const br_x509_pkey *sbxi_bearssl_get_pkey(const br_x509_class *const *ctx, unsigned *usages)
{
    const sbxi_bearssl_x509 *x = (const sbxi_bearssl_x509 *)(const void *)ctx;

    return x->min.vtable->get_pkey(&x->min.vtable, usages);
}

static const br_x509_class sbxi_bearssl_x509_class = {
    sizeof(sbxi_bearssl_x509), sbxi_bearssl_start_chain, sbxi_bearssl_start_cert, sbxi_bearssl_append,
    sbxi_bearssl_end_cert, sbxi_bearssl_end_chain, sbxi_bearssl_get_pkey
};

/* ---- state ---- */

typedef struct sbxi_bearssl_session {
    unsigned char key[32]; /* SHA-256 of host and port */
    br_ssl_session_parameters params;
    int64_t made_at, used_at;
    bool there;
} sbxi_bearssl_session;

typedef struct sbxi_bearssl_ctx {
    const sbx_transport *self; /* put there by sbx_transport_open */
    sbx_bearssl_config config;
    void *lower; /* its context */
    br_x509_trust_anchor *owned;
    size_t owned_n, owned_room;
#if SBXI_BEARSSL_TEXTS
    char text[256];
#endif
} sbxi_bearssl_ctx;

/* States of a connection; zeroed memory is NEW. */
enum {
    SBXI_BEARSSL_NEW,
    SBXI_BEARSSL_PLAIN,
    SBXI_BEARSSL_CONNECTING,
    SBXI_BEARSSL_SHAKING,
    SBXI_BEARSSL_OPEN,
    SBXI_BEARSSL_DEAD
};

/* The two buffers lie behind it, then the lower transport's state. */
typedef struct sbxi_bearssl_conn {
    br_ssl_client_context ssl;
    sbxi_bearssl_x509 x509;
    unsigned char key[32], offered[32]; /* the session's key; the id that was offered */
    uint8_t offered_n;
    size_t taken;   /* bytes of the caller's that are encrypted and on their way */
    uint32_t heard; /* bytes received in the handshake, or since the last data */
    sbx_code dead;  /* why */
    sbx_code mute;  /* the lower transport's send failed; what came before can still be read */
    uint8_t state, first; /* first byte received */
} sbxi_bearssl_conn;

#define SBXI_BEARSSL_RX(n) ((uint32_t)(n) + (BR_SSL_BUFSIZE_INPUT - 16384))
#define SBXI_BEARSSL_TX(n) ((uint32_t)(n) + (BR_SSL_BUFSIZE_OUTPUT - 16384))
#define SBXI_BEARSSL_CTX_SIZE(sessions) \
    ((uint32_t)(SBX_TRANSPORT_ALIGN(sizeof(sbxi_bearssl_ctx)) + (sessions) * sizeof(sbxi_bearssl_session)))
#define SBXI_BEARSSL_CONN_SIZE(rx, tx) \
    ((uint32_t)(SBX_TRANSPORT_ALIGN(sizeof(sbxi_bearssl_conn)) + SBXI_BEARSSL_RX(rx) + SBXI_BEARSSL_TX(tx)))
/* The options travel in the transport's own flags: sizes as powers of two. */
#define SBXI_BEARSSL_FLAGS(rx_log, tx_log, sessions) \
    ((unsigned)SBX_TRANSPORT_TLS | (unsigned)(rx_log) << 8 | (unsigned)(tx_log) << 12 | (unsigned)(sessions) << 16)

static uint32_t sbxi_bearssl_rx_bytes(const sbxi_bearssl_ctx *x)
{
    return (uint32_t)1 << (x->self->flags >> 8 & 15);
}

static uint32_t sbxi_bearssl_tx_bytes(const sbxi_bearssl_ctx *x)
{
    return (uint32_t)1 << (x->self->flags >> 12 & 15);
}

static unsigned sbxi_bearssl_session_count(const sbxi_bearssl_ctx *x)
{
    return x->self->flags >> 16;
}

static sbxi_bearssl_session *sbxi_bearssl_sessions(sbxi_bearssl_ctx *x)
{
    return (sbxi_bearssl_session *)(void *)((char *)x + SBX_TRANSPORT_ALIGN(sizeof *x));
}

static unsigned char *sbxi_bearssl_buffers(sbxi_bearssl_conn *c)
{
    return (unsigned char *)c + SBX_TRANSPORT_ALIGN(sizeof *c);
}

static const sbx_transport *sbxi_bearssl_below(const sbxi_bearssl_ctx *x)
{
    return x->self->lower;
}

static void *sbxi_bearssl_lower_conn(const sbxi_bearssl_ctx *x, void *conn)
{
    return sbx_lower(conn, x->self->conn_size);
}

/* ---- errors ---- */

static sbx_io sbxi_bearssl_fail(sbx_fault *fault, sbx_code code, int sys, const char *text)
{
    if (fault) {
        fault->code = code;
        fault->sys = sys;
        fault->text = text;
    }
    return SBX_IO_FAIL;
}

static sbx_code sbxi_bearssl_refuse(sbx_fault *fault, const char *text)
{
    sbxi_bearssl_fail(fault, SBX_ERR_ARGUMENT, 0, text);
    return SBX_ERR_ARGUMENT;
}

#if SBXI_BEARSSL_TEXTS
/* One after the other into the context's text, cut at its end. */
static const char *sbxi_bearssl_say(sbxi_bearssl_ctx *x, const char *a, sbx_str b, const char *c, const char *d, const char *e)
{
    sbx_str part[5];
    size_t at = 0;

    part[0] = sbx_s(a);
    part[1] = b;
    part[2] = sbx_s(c);
    part[3] = sbx_s(d);
    part[4] = sbx_s(e);
    for (unsigned i = 0; i < 5; i++)
        at = sbxi_bearssl_print(x->text, at, sizeof x->text, (const unsigned char *)part[i].p, part[i].n);
    return x->text;
}

static const char *sbxi_bearssl_say_name(sbxi_bearssl_ctx *x, const sbxi_bearssl_conn *c, sbx_str host)
{
    const char *names = c->x509.names[0] ? c->x509.names : "no name or address at all";

    if (host.n > 80)
        host.n = 80;
    return sbxi_bearssl_say(x, "wrong name: asked for ", host, ", but the server's certificate is for ", names,
                            ": use a name that it has, or give the server another");
}

static const char *sbxi_bearssl_say_date(sbxi_bearssl_ctx *x, const sbxi_bearssl_conn *c)
{
    const sbxi_bearssl_x509 *v = &c->x509;
    const char *whose = v->bad_date_at > 1 ? "a certificate of the chain" : "the server's certificate";
    char date[16];
    size_t at;

    at = sbxi_bearssl_number(date, 0, sizeof date, v->bad_date.year, 4);
    at = sbxi_bearssl_print(date, at, sizeof date, (const unsigned char *)"-", 1);
    at = sbxi_bearssl_number(date, at, sizeof date, v->bad_date.month, 2);
    at = sbxi_bearssl_print(date, at, sizeof date, (const unsigned char *)"-", 1);
    at = sbxi_bearssl_number(date, at, sizeof date, v->bad_date.day, 2);
    return sbxi_bearssl_say(x, whose, sbx_s(v->too_early ? " is not yet valid: it is from " : " has expired: it was valid until "),
                            date, v->too_early ? " on" : "", ": check this machine's clock, or have the certificate renewed");
}

static const char *sbxi_bearssl_say_untrusted(sbxi_bearssl_ctx *x, const sbxi_bearssl_conn *c)
{
    const sbxi_bearssl_x509 *v = &c->x509;

    if (v->pin_failed)
        return "the server's public key is none of the pinned ones: it was changed, or somebody is in between; compare and set pins";
    if (!x->config.anchors_n)
        return SBX_BEARSSL_NO_FILES ? "there are no trust anchors: set anchors" : "no system bundle of certificates was found: set ca_file or ca_dir";
    if (v->self_signed && v->certs == 1)
        return SBX_BEARSSL_NO_FILES ? "the server's certificate is self-signed and not trusted: to trust it, make one of `anchors` of it" :
                                      "the server's certificate is self-signed and not trusted: to trust it, give it as ca_file";
    return sbxi_bearssl_say(x, "the certificate is not trusted: its issuer, \"", sbx_s(v->issuer), "\", is unknown here",
                            v->certs == 1 ? " (or the server does not send its intermediate certificate)" : "",
                            SBX_BEARSSL_NO_FILES ? ": make one of `anchors` of the CA's certificate" : ": set ca_file to the CA's certificate");
}

static const char *sbxi_bearssl_alert_text(unsigned alert, bool open)
{
    if (open)
        return "the server ended the TLS session by a fatal alert (its number: sys - 256)";
    switch (alert) {
    case 40: return "the server refused the TLS handshake: no cipher suite in common, or it wants a client certificate, or TLS 1.3: sbx_curl has those";
    case 70: return "the server refused the TLS version: this transport speaks TLS 1.2 at most; sbx_curl speaks 1.3";
    case 112: return "the server does not know the name that was asked for (unrecognized_name)";
    case 120: return "the server does not speak HTTP/1.1 (ALPN): check the endpoint, or set no_alpn";
    case 42:
    case 43:
    case 116: return "the server wants a client certificate, which this transport cannot show: sbx_curl can";
    default: return "the server refused the TLS handshake by a fatal alert (its number: sys - 256)";
    }
}

static const char *sbxi_bearssl_record_text(int err)
{
    switch (err) {
    case BR_ERR_UNSUPPORTED_VERSION:
        return "the server speaks an older TLS version than is allowed, which is 1.2 unless min_version says otherwise: have the server updated";
    case BR_ERR_BAD_VERSION: return "the server changed the TLS version in the middle of the session";
    case BR_ERR_BAD_MAC: return "a TLS record was altered on its way";
    case BR_ERR_TOO_LARGE: return "the server's TLS records are larger than rx_bytes: it ignores max_fragment_length; set rx_bytes to 16384";
    case BR_ERR_BAD_FRAGLEN: return "the server wants records of another size than rx_bytes and tx_bytes allow: set both to 16384";
    case BR_ERR_BAD_CIPHER_SUITE: return "the server chose a TLS cipher suite that was not offered";
    case BR_ERR_BAD_SIGNATURE: return "the server's TLS key exchange is not signed by its certificate's key";
    case BR_ERR_WRONG_KEY_USAGE: return "the server's certificate does not allow this use of its key";
    case BR_ERR_X509_WEAK_PUBLIC_KEY: return "a certificate's RSA key is too short: it needs at least 1024 bits";
    case BR_ERR_X509_BAD_SIGNATURE: return "a certificate of the chain has a wrong signature";
    case BR_ERR_X509_UNSUPPORTED: return "a certificate uses an algorithm that this build of the transport does not have";
    case BR_ERR_X509_CRITICAL_EXTENSION: return "a certificate has a critical extension that BearSSL does not know";
    case BR_ERR_X509_NOT_CA: return "a certificate of the chain is signed by one that is no CA's";
    case BR_ERR_X509_DN_MISMATCH: return "the server sends its certificates in a wrong order, or does not send an intermediate one: have its chain corrected, or give the intermediate as ca_file";
    case BR_ERR_X509_TRUNCATED: return "a certificate is cut off, or the server sends more than 16 of them";
    case BR_ERR_X509_TIME_UNKNOWN: return "the clock is unknown: certificates cannot be checked";
    default: return "the TLS protocol was broken: BearSSL's number is in sys";
    }
}

static const char *sbxi_bearssl_why(sbxi_bearssl_ctx *x, const sbxi_bearssl_conn *c, sbx_str host, int err)
{
    if (err == BR_ERR_OK)
        return "the server ended the TLS handshake";
    if (err >= BR_ERR_RECV_FATAL_ALERT && err < BR_ERR_SEND_FATAL_ALERT)
        return sbxi_bearssl_alert_text((unsigned)err - BR_ERR_RECV_FATAL_ALERT, c->state == SBXI_BEARSSL_OPEN);
    if (c->state == SBXI_BEARSSL_SHAKING && c->first && c->first != 22 && c->first != 21)
        return "the server does not speak TLS on this port: check the port, or use an http:// endpoint";
    switch (err) {
    case BR_ERR_X509_BAD_SERVER_NAME: return sbxi_bearssl_say_name(x, c, host);
    case BR_ERR_X509_EXPIRED: return sbxi_bearssl_say_date(x, c);
    case BR_ERR_X509_NOT_TRUSTED: return sbxi_bearssl_say_untrusted(x, c);
    default: return sbxi_bearssl_record_text(err);
    }
}
#else
static const char *sbxi_bearssl_why(sbxi_bearssl_ctx *x, const sbxi_bearssl_conn *c, sbx_str host, int err)
{
    (void)x;
    (void)c;
    (void)host;
    (void)err;
    return NULL;
}
#endif

/* ---- trust anchors from files ---- */

#if !SBX_BEARSSL_NO_FILES
/* What a PEM file goes through: text, certificates, anchors. */
typedef struct sbxi_bearssl_pem {
    br_pem_decoder_context pem;
    br_x509_decoder_context cert;
    unsigned char dn[SBXI_BEARSSL_DN];
    size_t dn_n, found;
    bool (*each)(void *user, const br_x509_trust_anchor *a);
    void *user;
    bool in_cert, broken;
} sbxi_bearssl_pem;

static void sbxi_bearssl_pem_name(void *user, const void *p, size_t n)
{
    sbxi_bearssl_pem *r = (sbxi_bearssl_pem *)user;

    if (n > sizeof r->dn - r->dn_n) {
        r->in_cert = false;
        return;
    }
    memcpy(r->dn + r->dn_n, p, n);
    r->dn_n += n;
}

static void sbxi_bearssl_pem_bytes(void *user, const void *p, size_t n)
{
    br_x509_decoder_push(&((sbxi_bearssl_pem *)user)->cert, p, n);
}

static void sbxi_bearssl_pem_begin(sbxi_bearssl_pem *r)
{
    const char *name = br_pem_decoder_name(&r->pem);

    r->in_cert = strcmp(name, "CERTIFICATE") == 0 || strcmp(name, "X509 CERTIFICATE") == 0;
    r->dn_n = 0;
    br_x509_decoder_init(&r->cert, sbxi_bearssl_pem_name, r);
    br_pem_decoder_setdest(&r->pem, r->in_cert ? sbxi_bearssl_pem_bytes : NULL, r);
}

static bool sbxi_bearssl_pem_end(sbxi_bearssl_pem *r)
{
    const br_x509_pkey *key = br_x509_decoder_get_pkey(&r->cert);
    br_x509_trust_anchor a;

    if (!r->in_cert || !key)
        return true;
    r->in_cert = false;
    memset(&a, 0, sizeof a);
    a.dn.data = r->dn;
    a.dn.len = r->dn_n;
    a.flags = br_x509_decoder_isCA(&r->cert) ? BR_X509_TA_CA : 0;
    a.pkey = *key;
    r->found++;
    return r->each(r->user, &a);
}

/* false: `each` refused. */
static bool sbxi_bearssl_pem_push(sbxi_bearssl_pem *r, const char *p, size_t n)
{
    while (n) {
        size_t k = br_pem_decoder_push(&r->pem, p, n);

        p += k;
        n -= k;
        switch (br_pem_decoder_event(&r->pem)) {
        case BR_PEM_BEGIN_OBJ: sbxi_bearssl_pem_begin(r); break;
        case BR_PEM_END_OBJ:
            if (!sbxi_bearssl_pem_end(r))
                return false;
            break;
        case BR_PEM_ERROR: r->broken = true; return true;
        default: break;
        }
    }
    return true;
}

static bool sbxi_bearssl_pem_read(sbxi_bearssl_pem *r, int fd)
{
    char buf[1024];

    while (!r->broken) {
        ssize_t n = read(fd, buf, sizeof buf);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r->broken = n < 0;
            return sbxi_bearssl_pem_push(r, "\n", 1); /* its last line may lack one */
        }
        if (!sbxi_bearssl_pem_push(r, buf, (size_t)n))
            return false;
    }
    return true;
}

extern sbx_code sbx_bearssl_pem(const char *file, bool (*each)(void *user, const br_x509_trust_anchor *a), void *user)
{
    sbxi_bearssl_pem r;
    bool whole;
    int fd;

    do {
        fd = open(file, O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return SBX_ERR_ARGUMENT;
    memset(&r, 0, sizeof r);
    r.each = each;
    r.user = user;
    br_pem_decoder_init(&r.pem);
    whole = sbxi_bearssl_pem_read(&r, fd);
    close(fd);
    if (!whole)
        return SBX_ERR_MEMORY;
    return r.broken || !r.found ? SBX_ERR_ARGUMENT : SBX_OK;
}

static size_t sbxi_bearssl_key_bytes(const br_x509_pkey *k)
{
    return k->key_type == BR_KEYTYPE_RSA ? k->key.rsa.nlen + k->key.rsa.elen : k->key.ec.qlen;
}

static bool sbxi_bearssl_same_anchor(const br_x509_trust_anchor *a, const br_x509_trust_anchor *b)
{
    if (a->dn.len != b->dn.len || memcmp(a->dn.data, b->dn.data, a->dn.len) || a->pkey.key_type != b->pkey.key_type ||
        sbxi_bearssl_key_bytes(&a->pkey) != sbxi_bearssl_key_bytes(&b->pkey))
        return false;
    if (a->pkey.key_type == BR_KEYTYPE_EC)
        return memcmp(a->pkey.key.ec.q, b->pkey.key.ec.q, a->pkey.key.ec.qlen) == 0;
    return a->pkey.key.rsa.nlen == b->pkey.key.rsa.nlen && memcmp(a->pkey.key.rsa.n, b->pkey.key.rsa.n, a->pkey.key.rsa.nlen) == 0;
}

/* An anchor and all that it points to, in one block behind its name. */
static bool sbxi_bearssl_copy_anchor(br_x509_trust_anchor *to, const br_x509_trust_anchor *a)
{
    unsigned char *p = (unsigned char *)malloc(a->dn.len + sbxi_bearssl_key_bytes(&a->pkey) + 1);

    if (!p)
        return false;
    *to = *a;
    to->dn.data = p;
    memcpy(p, a->dn.data, a->dn.len);
    p += a->dn.len;
    if (a->pkey.key_type == BR_KEYTYPE_EC) {
        to->pkey.key.ec.q = p;
        memcpy(p, a->pkey.key.ec.q, a->pkey.key.ec.qlen);
    } else {
        to->pkey.key.rsa.n = p;
        memcpy(p, a->pkey.key.rsa.n, a->pkey.key.rsa.nlen);
        to->pkey.key.rsa.e = p + a->pkey.key.rsa.nlen;
        memcpy(to->pkey.key.rsa.e, a->pkey.key.rsa.e, a->pkey.key.rsa.elen);
    }
    return true;
}

static bool sbxi_bearssl_resize(sbxi_bearssl_ctx *x, size_t n)
{
    void *p = realloc(x->owned, n * sizeof *x->owned);

    if (!p)
        return false;
    x->owned = (br_x509_trust_anchor *)p;
    x->owned_room = n;
    return true;
}

/* A directory often has each certificate under two names. */
static bool sbxi_bearssl_keep_anchor(void *user, const br_x509_trust_anchor *a)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)user;
    size_t i;

    for (i = 0; i < x->owned_n; i++)
        if (sbxi_bearssl_same_anchor(&x->owned[i], a))
            return true;
    if (x->owned_n == x->owned_room && !sbxi_bearssl_resize(x, x->owned_room ? x->owned_room * 2 : 16))
        return false;
    if (!sbxi_bearssl_copy_anchor(&x->owned[x->owned_n], a))
        return false;
    x->owned_n++;
    return true;
}

static void sbxi_bearssl_drop_anchors(sbxi_bearssl_ctx *x)
{
    while (x->owned_n)
        free(x->owned[--x->owned_n].dn.data);
    free(x->owned);
    x->owned = NULL;
    x->owned_room = 0;
}

static sbx_code sbxi_bearssl_load_dir(sbxi_bearssl_ctx *x, const char *dir)
{
    sbx_code code = SBX_OK;
    const struct dirent *e;
    size_t n = strlen(dir);
    DIR *d = opendir(dir);

    if (!d)
        return SBX_ERR_ARGUMENT;
    while (code != SBX_ERR_MEMORY && (e = readdir(d)) != NULL) {
        char path[1024];
        size_t m = strlen(e->d_name);

        if (e->d_name[0] == '.' || n + m + 2 > sizeof path)
            continue;
        memcpy(path, dir, n);
        path[n] = '/';
        memcpy(path + n + 1, e->d_name, m + 1);
        code = sbx_bearssl_pem(path, sbxi_bearssl_keep_anchor, x); /* what is no certificate is passed over */
    }
    closedir(d);
    return code == SBX_ERR_MEMORY ? code : x->owned_n ? SBX_OK : SBX_ERR_ARGUMENT;
}

/* Where systems keep their bundle. */
static sbx_code sbxi_bearssl_load_system(sbxi_bearssl_ctx *x)
{
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Ubuntu, Alpine, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL */
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* newer ones */
        "/etc/ssl/ca-bundle.pem",                            /* SUSE */
        "/etc/ssl/cert.pem",                                 /* macOS, OpenBSD, Alpine */
        "/usr/local/share/certs/ca-root-nss.crt",            /* FreeBSD */
        "/etc/openssl/certs/ca-certificates.crt"             /* NetBSD */
    };
    size_t i;

    for (i = 0; i < sizeof places / sizeof places[0]; i++) {
        sbx_code code = sbx_bearssl_pem(places[i], sbxi_bearssl_keep_anchor, x);

        if (code != SBX_ERR_ARGUMENT)
            return code;
        sbxi_bearssl_drop_anchors(x);
    }
    /* No failure yet: the client may want http:// only. */
    return SBX_OK;
}

static sbx_code sbxi_bearssl_unloaded(sbxi_bearssl_ctx *x, sbx_code code, const char *option, const char *path, sbx_fault *fault)
{
    if (code == SBX_ERR_MEMORY) {
        sbxi_bearssl_fail(fault, code, 0, SBXI_BEARSSL_TEXT("no memory for the trust anchors"));
        return code;
    }
#if SBXI_BEARSSL_TEXTS
    return sbxi_bearssl_refuse(fault, sbxi_bearssl_say(x, option, sbx_s(": "), path, ": cannot be read, or has no certificate in PEM", ""));
#else
    (void)x;
    (void)option;
    (void)path;
    return sbxi_bearssl_refuse(fault, NULL);
#endif
}

static sbx_code sbxi_bearssl_load(sbxi_bearssl_ctx *x, sbx_fault *fault)
{
    const sbx_bearssl_config *k = &x->config;
    sbx_code code = SBX_OK;

    if (k->ca_file && (code = sbx_bearssl_pem(k->ca_file, sbxi_bearssl_keep_anchor, x)) != SBX_OK)
        return sbxi_bearssl_unloaded(x, code, "ca_file", k->ca_file, fault);
    if (k->ca_dir && (code = sbxi_bearssl_load_dir(x, k->ca_dir)) != SBX_OK)
        return sbxi_bearssl_unloaded(x, code, "ca_dir", k->ca_dir, fault);
    if (!k->ca_file && !k->ca_dir && (code = sbxi_bearssl_load_system(x)) != SBX_OK)
        return sbxi_bearssl_unloaded(x, code, "", "", fault);
    if (x->owned_n && x->owned_n < x->owned_room)
        sbxi_bearssl_resize(x, x->owned_n);
    x->config.anchors = x->owned;
    x->config.anchors_n = x->owned_n;
    return SBX_OK;
}
#else
extern sbx_code sbx_bearssl_pem(const char *file, bool (*each)(void *user, const br_x509_trust_anchor *a), void *user)
{
    (void)file;
    (void)each;
    (void)user;
    return SBX_ERR_UNSUPPORTED;
}

static void sbxi_bearssl_drop_anchors(sbxi_bearssl_ctx *x)
{
    (void)x;
}

static sbx_code sbxi_bearssl_load(sbxi_bearssl_ctx *x, sbx_fault *fault)
{
    (void)x;
    return sbxi_bearssl_refuse(fault, SBXI_BEARSSL_TEXT("this build reads no files (SBX_BEARSSL_NO_FILES): set anchors"));
}
#endif

/* ---- clocks, random bytes ---- */

static int64_t sbxi_bearssl_mono_ms(void *ctx)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;

    return sbxi_bearssl_below(x)->mono_ms(x->lower);
}

static int64_t sbxi_bearssl_wall_ms(void *ctx)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;
    const sbx_transport *t = sbxi_bearssl_below(x);

    if (x->config.wall_ms)
        return x->config.wall_ms(x->config.user);
    return t->wall_ms ? t->wall_ms(x->lower) : 0;
}

static bool sbxi_bearssl_entropy(void *ctx, void *p, size_t n)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;
    const sbx_transport *t = sbxi_bearssl_below(x);

    if (x->config.entropy)
        return x->config.entropy(x->config.user, p, n);
    return t->entropy && t->entropy(x->lower, p, n);
}

/* What no one reads afterwards: a compiler leaves memset out there. */
static void sbxi_bearssl_erase(void *p, size_t n)
{
    volatile char *at = (volatile char *)p;

    while (n--)
        *at++ = 0;
}

/* ---- sessions ---- */

static void sbxi_bearssl_session_key(const sbx_target *to, unsigned char *key)
{
    br_sha256_context h;
    unsigned char c[2];
    size_t i;

    br_sha256_init(&h);
    for (i = 0; i < to->host.n; i++) {
        c[0] = (unsigned char)to->host.p[i];
        c[0] = (unsigned char)(c[0] >= 'A' && c[0] <= 'Z' ? c[0] | 32 : c[0]);
        br_sha256_update(&h, c, 1);
    }
    c[0] = (unsigned char)(to->port >> 8);
    c[1] = (unsigned char)to->port;
    br_sha256_update(&h, c, 2);
    br_sha256_out(&h, key);
}

static sbxi_bearssl_session *sbxi_bearssl_find(sbxi_bearssl_ctx *x, const unsigned char *key)
{
    sbxi_bearssl_session *s = sbxi_bearssl_sessions(x);
    unsigned i, n = sbxi_bearssl_session_count(x);
    int64_t now = sbxi_bearssl_mono_ms(x);

    for (i = 0; i < n; i++) {
        if (s[i].there && now - s[i].made_at > SBXI_BEARSSL_SESSION_MS)
            memset(&s[i], 0, sizeof s[i]);
        if (s[i].there && memcmp(s[i].key, key, sizeof s[i].key) == 0)
            return &s[i];
    }
    return NULL;
}

static void sbxi_bearssl_forget(sbxi_bearssl_ctx *x, const sbxi_bearssl_conn *c)
{
    sbxi_bearssl_session *s = sbxi_bearssl_find(x, c->key);

    if (s)
        memset(s, 0, sizeof *s);
}

/* A free place, or the one that was not used for longest. */
static sbxi_bearssl_session *sbxi_bearssl_place(sbxi_bearssl_ctx *x)
{
    sbxi_bearssl_session *s = sbxi_bearssl_sessions(x), *oldest = s;
    unsigned i, n = sbxi_bearssl_session_count(x);

    for (i = 0; i < n; i++) {
        if (!s[i].there)
            return &s[i];
        if (s[i].used_at < oldest->used_at)
            oldest = &s[i];
    }
    return oldest;
}

static void sbxi_bearssl_remember(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c)
{
    br_ssl_session_parameters p;
    sbxi_bearssl_session *s = sbxi_bearssl_find(x, c->key);
    bool resumed;

    br_ssl_engine_get_session_parameters(&c->ssl.eng, &p);
    resumed = c->offered_n && p.session_id_len == c->offered_n && memcmp(p.session_id, c->offered, c->offered_n) == 0;
    if (x->config.stats) {
        x->config.stats->resumed += resumed;
        x->config.stats->full += !resumed;
    }
    if (!x->config.no_resume && !resumed && p.session_id_len) {
        s = s ? s : sbxi_bearssl_place(x);
        memset(s, 0, sizeof *s);
        memcpy(s->key, c->key, sizeof s->key);
        s->params = p;
        s->there = true;
        s->made_at = sbxi_bearssl_mono_ms(x);
    }
    if (s)
        s->used_at = sbxi_bearssl_mono_ms(x);
    sbxi_bearssl_erase(&p, sizeof p);
}

static void sbxi_bearssl_offer(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c)
{
    const sbxi_bearssl_session *s = x->config.no_resume ? NULL : sbxi_bearssl_find(x, c->key);

    if (!s)
        return;
    br_ssl_engine_set_session_parameters(&c->ssl.eng, &s->params);
    c->offered_n = s->params.session_id_len;
    memcpy(c->offered, s->params.session_id, sizeof c->offered);
}

/* ---- the beginning of a handshake ---- */

#if SBX_BEARSSL_MINIMAL
static void sbxi_bearssl_algorithms(br_ssl_client_context *ssl, br_x509_minimal_context *min, const br_x509_trust_anchor *anchors, size_t n)
{
    static const uint16_t suites[] = {
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    };
    static const br_hash_class *const hashes[] = {&br_sha256_vtable, &br_sha384_vtable, &br_sha512_vtable};
    br_ssl_engine_context *e = &ssl->eng;
    int i;

    br_ssl_client_zero(ssl);
    br_ssl_engine_set_suites(e, suites, sizeof suites / sizeof suites[0]);
    br_ssl_engine_set_ec(e, &br_ec_prime_i31);
    br_ssl_engine_set_rsavrfy(e, br_rsa_i31_pkcs1_vrfy);
    br_ssl_engine_set_ecdsa(e, br_ecdsa_i31_vrfy_asn1);
    br_ssl_engine_set_prf_sha256(e, br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(e, br_tls12_sha384_prf);
    br_ssl_engine_set_gcm(e, &br_sslrec_in_gcm_vtable, &br_sslrec_out_gcm_vtable);
    br_ssl_engine_set_aes_ctr(e, &br_aes_small_ctr_vtable);
    br_ssl_engine_set_ghash(e, br_ghash_ctmul);
    br_ssl_engine_set_chapol(e, &br_sslrec_in_chapol_vtable, &br_sslrec_out_chapol_vtable);
    br_ssl_engine_set_chacha20(e, br_chacha20_ct_run);
    br_ssl_engine_set_poly1305(e, br_poly1305_ctmul_run);
    br_x509_minimal_init(min, &br_sha256_vtable, anchors, n);
    br_x509_minimal_set_rsa(min, br_rsa_i31_pkcs1_vrfy);
    br_x509_minimal_set_ecdsa(min, &br_ec_prime_i31, br_ecdsa_i31_vrfy_asn1);
    for (i = 0; i < 3; i++) {
        br_ssl_engine_set_hash(e, br_sha256_ID + i, hashes[i]);
        br_x509_minimal_set_hash(min, br_sha256_ID + i, hashes[i]);
    }
}
#else
static void sbxi_bearssl_algorithms(br_ssl_client_context *ssl, br_x509_minimal_context *min, const br_x509_trust_anchor *anchors, size_t n)
{
    static const uint16_t suites[] = {
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_CCM, BR_TLS_ECDHE_ECDSA_WITH_AES_256_CCM,
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384,
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, BR_TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
        BR_TLS_RSA_WITH_AES_128_GCM_SHA256, BR_TLS_RSA_WITH_AES_256_GCM_SHA384,
        BR_TLS_RSA_WITH_AES_128_CBC_SHA256, BR_TLS_RSA_WITH_AES_256_CBC_SHA256,
        BR_TLS_RSA_WITH_AES_128_CBC_SHA, BR_TLS_RSA_WITH_AES_256_CBC_SHA
    };

    br_ssl_client_init_full(ssl, min, anchors, n);
    br_ssl_engine_set_suites(&ssl->eng, suites, sizeof suites / sizeof suites[0]);
}
#endif

static unsigned sbxi_bearssl_ipv4(sbx_str s, unsigned char *ip)
{
    unsigned part = 0, value = 0, digits = 0;
    size_t i;

    for (i = 0; i <= s.n; i++) {
        /* No 010: to some systems that is 8. */
        if (i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && digits < 3 && (value || !digits)) {
            value = value * 10 + (unsigned)(s.p[i] - '0');
            digits++;
        } else if ((i == s.n || s.p[i] == '.') && digits && value < 256 && part < 4) {
            ip[part++] = (unsigned char)value;
            value = digits = 0;
        } else {
            return 0;
        }
    }
    return part == 4 ? 4 : 0;
}

static int sbxi_bearssl_hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Up to four hexadecimal digits; their number. */
static unsigned sbxi_bearssl_group(sbx_str s, uint16_t *value)
{
    unsigned n = 0;

    for (*value = 0; n < s.n && n < 4 && sbxi_bearssl_hex(s.p[n]) >= 0; n++)
        *value = (uint16_t)(*value << 4 | (unsigned)sbxi_bearssl_hex(s.p[n]));
    return n;
}

static unsigned sbxi_bearssl_ipv6(sbx_str s, unsigned char *ip)
{
    unsigned n = 0, gap = 17;
    bool colon = false; /* the last thing was a single one */

    while (s.n && n <= 14) {
        uint16_t value;
        unsigned digits = sbxi_bearssl_group(s, &value);

        if (s.n >= 2 && s.p[0] == ':' && s.p[1] == ':' && gap == 17 && !colon) {
            gap = n;
            digits = 2;
        } else if (s.p[0] == ':' && n && !colon && gap != n) {
            colon = true;
            s = sbx_sn(s.p + 1, s.n - 1);
            continue;
        } else if (digits < s.n && s.p[digits] == '.' && n <= 12 && sbxi_bearssl_ipv4(s, ip + n)) {
            n += 4;
            digits = (unsigned)s.n;
        } else if (digits && (n == 0 || colon || gap == n)) {
            ip[n++] = (unsigned char)(value >> 8);
            ip[n++] = (unsigned char)value;
        } else {
            return 0;
        }
        colon = false;
        s = sbx_sn(s.p + digits, s.n - digits);
    }
    if (s.n || colon || (gap == 17) != (n == 16))
        return 0;
    if (gap != 17) {
        memmove(ip + 16 - (n - gap), ip + gap, n - gap);
        memset(ip + gap, 0, 16 - n);
    }
    return 16;
}

/* Which kind of name it is: an IP literal goes into x->ip, another name into
   `name` for the server name indication. */
static bool sbxi_bearssl_name(sbxi_bearssl_x509 *x, sbx_str host, char *name, size_t room)
{
    const char *scope = (const char *)memchr(host.p, '%', host.n);

    if (memchr(host.p, ':', host.n)) {
        x->ip_n = (uint8_t)sbxi_bearssl_ipv6(scope ? sbx_sn(host.p, (size_t)(scope - host.p)) : host, x->ip);
        return x->ip_n != 0;
    }
    x->ip_n = (uint8_t)sbxi_bearssl_ipv4(host, x->ip);
    if (x->ip_n)
        return true;
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (!host.n || host.n >= room || memchr(host.p, 0, host.n))
        return false;
    memcpy(name, host.p, host.n);
    name[host.n] = 0;
    return true;
}

static bool sbxi_bearssl_set_clock(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c)
{
    int64_t now = x->config.no_clock ? 0 : sbxi_bearssl_wall_ms(x);

    c->x509.now_s = now > 0 ? now / 1000 : 0;
    if (c->x509.now_s)
        sbxi_bearssl_set_time(&c->x509.min, c->x509.now_s);
    return c->x509.now_s || x->config.no_clock;
}

static void sbxi_bearssl_setup(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c)
{
    static const char *const protocols[] = {"http/1.1"};
    const sbx_bearssl_config *k = &x->config;
    br_ssl_engine_context *e = &c->ssl.eng;
    unsigned char *buffers = sbxi_bearssl_buffers(c);
    uint32_t rx = SBXI_BEARSSL_RX(sbxi_bearssl_rx_bytes(x)), tx = SBXI_BEARSSL_TX(sbxi_bearssl_tx_bytes(x));

    memset(&c->x509, 0, sizeof c->x509);
    sbxi_bearssl_algorithms(&c->ssl, &c->x509.min, k->anchors, k->anchors_n);
    c->x509.vtable = &sbxi_bearssl_x509_class;
    c->x509.pins = k->pins;
    c->x509.pins_n = k->pins_n;
    br_ssl_engine_set_x509(e, &c->x509.vtable);
    br_ssl_engine_set_versions(e, k->min_version ? k->min_version : BR_TLS12, BR_TLS12);
    br_ssl_engine_add_flags(e, BR_OPT_NO_RENEGOTIATION | BR_OPT_FAIL_ON_ALPN_MISMATCH);
    if (!k->no_alpn)
        br_ssl_engine_set_protocol_names(e, (const char **)(uintptr_t)protocols, 1); /* it only reads them */
    br_ssl_engine_set_buffers_bidi(e, buffers, rx, buffers + rx, tx);
}

/* The connection is there: a fresh engine, and its first message. */
static sbx_io sbxi_bearssl_begin(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, const sbx_target *to, sbx_fault *fault)
{
    unsigned char seed[32];
    char name[256];
    int reset;

    sbxi_bearssl_setup(x, c);
    if (!sbxi_bearssl_set_clock(x, c))
        return sbxi_bearssl_fail(fault, SBX_ERR_TLS, BR_ERR_X509_TIME_UNKNOWN,
                                 SBXI_BEARSSL_TEXT("the clock is unknown, so no certificate can be checked: set wall_ms, or no_clock to do without"));
    if (!sbxi_bearssl_name(&c->x509, to->host, name, sizeof name))
        return sbxi_bearssl_fail(fault, SBX_ERR_TLS, 0, SBXI_BEARSSL_TEXT("the host is no name that a certificate could have"));
    if (!sbxi_bearssl_entropy(x, seed, sizeof seed))
        return sbxi_bearssl_fail(fault, SBX_ERR_ENTROPY, 0, NULL);
    br_ssl_engine_inject_entropy(&c->ssl.eng, seed, sizeof seed);
    sbxi_bearssl_erase(seed, sizeof seed);
    sbxi_bearssl_session_key(to, c->key);
    sbxi_bearssl_offer(x, c);
    reset = br_ssl_client_reset(&c->ssl, c->x509.ip_n ? NULL : name, c->offered_n != 0);
    c->state = SBXI_BEARSSL_SHAKING;
    c->heard = 0;
    if (!reset)
        return sbxi_bearssl_fail(fault, SBX_ERR_TLS, br_ssl_engine_last_error(&c->ssl.eng), SBXI_BEARSSL_TEXT("BearSSL could not begin a handshake"));
    return SBX_IO_OK;
}

/* ---- bytes between the engine and the lower transport ---- */

static sbx_io sbxi_bearssl_die(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, const sbx_fault *fault)
{
    if (c->state == SBXI_BEARSSL_SHAKING) {
        sbxi_bearssl_forget(x, c);
        if (x->config.stats)
            x->config.stats->failed++;
    }
    c->dead = fault->code ? fault->code : SBX_ERR_CONNECTION;
    c->state = SBXI_BEARSSL_DEAD;
    return SBX_IO_FAIL;
}

/* Of a handshake: the certificate, or that the two have nothing in common, which
   the server's alert or its version tells (RFC 5246 7.2.2: handshake_failure to
   access_denied, protocol_version, insufficient_security, unrecognized_name and
   later ones). */
static bool sbxi_bearssl_permanent(int err)
{
    int alert = err - BR_ERR_RECV_FATAL_ALERT;

    if (err > BR_ERR_X509_OK && err <= BR_ERR_X509_NOT_TRUSTED)
        return true;
    if (err == BR_ERR_UNSUPPORTED_VERSION || err == BR_ERR_BAD_CIPHER_SUITE)
        return true;
    return (alert >= 40 && alert <= 49) || alert == 70 || alert == 71 || alert >= 110;
}

/* The engine has failed, or said goodbye in the middle of the handshake. */
static sbx_io sbxi_bearssl_engine_failed(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, sbx_str host, sbx_fault *fault)
{
    int err = br_ssl_engine_last_error(&c->ssl.eng);

    sbxi_bearssl_fail(fault, SBX_ERR_TLS, err, sbxi_bearssl_why(x, c, host, err));
    if (fault && c->state == SBXI_BEARSSL_SHAKING)
        fault->permanent = sbxi_bearssl_permanent(err);
    if (c->state == SBXI_BEARSSL_OPEN)
        sbxi_bearssl_forget(x, c);
    return sbxi_bearssl_die(x, c, fault);
}

static sbx_io sbxi_bearssl_muted(sbxi_bearssl_conn *c, sbx_fault *fault)
{
    c->mute = fault->code ? fault->code : SBX_ERR_CONNECTION;
    return SBX_IO_FAIL;
}

/* Sends what the engine has for the server, to the end of it. */
static sbx_io sbxi_bearssl_push(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, sbx_fault *fault)
{
    const sbx_transport *t = sbxi_bearssl_below(x);
    unsigned char *p;
    size_t n, sent;

    if (c->mute)
        return sbxi_bearssl_fail(fault, c->mute, 0, NULL);
    while ((p = br_ssl_engine_sendrec_buf(&c->ssl.eng, &n)) != NULL) {
        sbx_io io;

        sent = 0;
        io = t->send(x->lower, sbxi_bearssl_lower_conn(x, c), p, n, &sent, fault);
        if (io == SBX_IO_OK && (sent == 0 || sent > n))
            io = sbxi_bearssl_fail(fault, SBX_ERR_CONNECTION, 0, SBXI_BEARSSL_TEXT("the lower transport sent an impossible number of bytes"));
        if (io == SBX_IO_FAIL || io == SBX_IO_EOF)
            return sbxi_bearssl_muted(c, fault);
        if (io != SBX_IO_OK)
            return io;
        br_ssl_engine_sendrec_ack(&c->ssl.eng, sent);
    }
    return SBX_IO_OK;
}

/* Takes from the lower transport once; the engine has room. */
static sbx_io sbxi_bearssl_pull(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, sbx_fault *fault)
{
    const sbx_transport *t = sbxi_bearssl_below(x);
    size_t n, got = 0;
    unsigned char *p = br_ssl_engine_recvrec_buf(&c->ssl.eng, &n);
    sbx_io io = t->recv(x->lower, sbxi_bearssl_lower_conn(x, c), p, n, &got, fault);

    if (io != SBX_IO_OK)
        return io;
    if (got == 0 || got > n)
        return sbxi_bearssl_fail(fault, SBX_ERR_CONNECTION, 0, SBXI_BEARSSL_TEXT("the lower transport received an impossible number of bytes"));
    if (!c->first)
        c->first = p[0];
    c->heard += (uint32_t)got;
    br_ssl_engine_recvrec_ack(&c->ssl.eng, got);
    return SBX_IO_OK;
}

static sbx_io sbxi_bearssl_shake_lost(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, sbx_io io, sbx_fault *fault)
{
    if (io == SBX_IO_EOF) {
        sbxi_bearssl_fail(fault, SBX_ERR_TLS, 0,
                          SBXI_BEARSSL_TEXT("the server closed the connection in the TLS handshake: check the port, and whether it wants TLS 1.3 only"));
    } else {
        const char *why = fault->text;
#if SBXI_BEARSSL_TEXTS
        why = sbxi_bearssl_say(x, "the connection was lost in the TLS handshake", sbx_s(why ? ": " : ""), why ? why : "", "", "");
#endif
        sbxi_bearssl_fail(fault, SBX_ERR_TLS, fault->sys, why);
    }
    return sbxi_bearssl_die(x, c, fault);
}

static sbx_io sbxi_bearssl_shake(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, sbx_str host, sbx_fault *fault)
{
    while (c->heard < SBXI_BEARSSL_HANDSHAKE) {
        unsigned state = br_ssl_engine_current_state(&c->ssl.eng);
        sbx_io io;

        if (state & BR_SSL_CLOSED)
            return sbxi_bearssl_engine_failed(x, c, host, fault);
        if (state & BR_SSL_SENDAPP) {
            c->state = SBXI_BEARSSL_OPEN;
            c->heard = 0;
            sbxi_bearssl_remember(x, c);
            return SBX_IO_OK;
        }
        io = state & BR_SSL_SENDREC ? sbxi_bearssl_push(x, c, fault) : SBX_IO_OK;
        if (io == SBX_IO_OK && !(state & BR_SSL_SENDREC)) {
            if (!(state & BR_SSL_RECVREC)) /* the server's close_notify */
                return sbxi_bearssl_engine_failed(x, c, host, fault);
            io = sbxi_bearssl_pull(x, c, fault);
        }
        if (io == SBX_IO_WANT_READ || io == SBX_IO_WANT_WRITE)
            return io;
        if (io != SBX_IO_OK)
            return sbxi_bearssl_shake_lost(x, c, io, fault);
    }
    sbxi_bearssl_fail(fault, SBX_ERR_TLS, 0, SBXI_BEARSSL_TEXT("the server's part of the TLS handshake is longer than 256 KiB"));
    return sbxi_bearssl_die(x, c, fault);
}

/* ---- the transport's functions ---- */

static sbx_io sbxi_bearssl_connect_below(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, const sbx_target *to, sbx_fault *fault)
{
    sbx_target plain = *to;

    plain.tls = false;
    return sbxi_bearssl_below(x)->connect(x->lower, sbxi_bearssl_lower_conn(x, c), &plain, fault);
}

static sbx_io sbxi_bearssl_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;
    sbxi_bearssl_conn *c = (sbxi_bearssl_conn *)conn;
    sbx_fault own;
    sbx_io io;

    memset(&own, 0, sizeof own);
    fault = fault ? fault : &own;
    if (c->state == SBXI_BEARSSL_NEW)
        c->state = to->tls ? SBXI_BEARSSL_CONNECTING : SBXI_BEARSSL_PLAIN;
    switch (c->state) {
    case SBXI_BEARSSL_PLAIN: return sbxi_bearssl_connect_below(x, c, to, fault);
    case SBXI_BEARSSL_CONNECTING:
        io = sbxi_bearssl_connect_below(x, c, to, fault);
        if (io == SBX_IO_OK)
            io = sbxi_bearssl_begin(x, c, to, fault);
        if (io != SBX_IO_OK)
            return io == SBX_IO_FAIL ? sbxi_bearssl_die(x, c, fault) : io;
        return sbxi_bearssl_shake(x, c, to->host, fault);
    case SBXI_BEARSSL_SHAKING: return sbxi_bearssl_shake(x, c, to->host, fault);
    case SBXI_BEARSSL_OPEN: return SBX_IO_OK;
    default: return sbxi_bearssl_fail(fault, SBX_ERR_STATE, 0, SBXI_BEARSSL_TEXT("the connection failed before: close it first"));
    }
}

/* send or recv where none can be. */
static sbx_io sbxi_bearssl_unready(const sbxi_bearssl_conn *c, sbx_fault *fault)
{
    if (c->state == SBXI_BEARSSL_DEAD)
        return sbxi_bearssl_fail(fault, c->dead, 0, SBXI_BEARSSL_TEXT("the connection failed before: close it first"));
    return sbxi_bearssl_fail(fault, SBX_ERR_STATE, 0, SBXI_BEARSSL_TEXT("the connection is not established"));
}

static bool sbxi_bearssl_take(sbxi_bearssl_conn *c, void *p, size_t room, size_t *got)
{
    size_t n;
    const unsigned char *from = br_ssl_engine_recvapp_buf(&c->ssl.eng, &n);

    if (!from)
        return false;
    *got = n < room ? n : room;
    memcpy(p, from, *got);
    br_ssl_engine_recvapp_ack(&c->ssl.eng, *got);
    c->heard = 0;
    return true;
}

/* Nothing to take: asks the lower transport for more. OK: look again. */
static sbx_io sbxi_bearssl_more(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, sbx_fault *fault)
{
    sbx_io out = SBX_IO_OK, in;

    /* An answer of the engine's own. A record of the caller's is left to send:
       the server must not see what is not reported as sent. If it fails, what
       the server said before may tell why. */
    if (!c->taken && br_ssl_engine_current_state(&c->ssl.eng) & BR_SSL_SENDREC)
        out = sbxi_bearssl_push(x, c, fault);
    if (br_ssl_engine_current_state(&c->ssl.eng) & BR_SSL_CLOSED)
        return br_ssl_engine_last_error(&c->ssl.eng) ? sbxi_bearssl_engine_failed(x, c, sbx_sn("", 0), fault) : SBX_IO_EOF;
    if (!(br_ssl_engine_current_state(&c->ssl.eng) & BR_SSL_RECVREC))
        return SBX_IO_EOF; /* its close_notify came, ours is on its way */
    if (c->heard > SBXI_BEARSSL_BARREN) {
        sbxi_bearssl_fail(fault, SBX_ERR_TLS, 0, SBXI_BEARSSL_TEXT("the server sends TLS records without data, one after the other"));
        return sbxi_bearssl_die(x, c, fault);
    }
    in = sbxi_bearssl_pull(x, c, fault);
    if (in == SBX_IO_EOF) {
        sbxi_bearssl_fail(fault, SBX_ERR_TLS, 0,
                          SBXI_BEARSSL_TEXT("the stream ended without close_notify: it may have been truncated on its way"));
        in = SBX_IO_FAIL;
    }
    if (in == SBX_IO_FAIL || (in != SBX_IO_OK && out == SBX_IO_FAIL))
        return sbxi_bearssl_die(x, c, fault);
    return in == SBX_IO_WANT_READ && out == SBX_IO_WANT_WRITE ? out : in;
}

static sbx_io sbxi_bearssl_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;
    sbxi_bearssl_conn *c = (sbxi_bearssl_conn *)conn;
    sbx_fault own;
    sbx_io io = SBX_IO_OK;

    if (c->state == SBXI_BEARSSL_PLAIN)
        return sbxi_bearssl_below(x)->recv(x->lower, sbxi_bearssl_lower_conn(x, c), p, room, got, fault);
    *got = 0;
    memset(&own, 0, sizeof own);
    fault = fault ? fault : &own;
    if (c->state != SBXI_BEARSSL_OPEN)
        return sbxi_bearssl_unready(c, fault);
    while (io == SBX_IO_OK && !sbxi_bearssl_take(c, p, room, got))
        io = sbxi_bearssl_more(x, c, fault);
    return io;
}

/* Hands the caller's next bytes to the engine, a record at most. */
static sbx_io sbxi_bearssl_give(sbxi_bearssl_ctx *x, sbxi_bearssl_conn *c, const void *p, size_t n, sbx_fault *fault)
{
    size_t room;
    unsigned char *to = br_ssl_engine_sendapp_buf(&c->ssl.eng, &room);

    if (!to) {
        sbx_io io = sbxi_bearssl_push(x, c, fault); /* an alert is on its way */

        if (io != SBX_IO_OK)
            return io;
        to = br_ssl_engine_sendapp_buf(&c->ssl.eng, &room);
    }
    if (!to) {
        if (br_ssl_engine_last_error(&c->ssl.eng))
            return sbxi_bearssl_engine_failed(x, c, sbx_sn("", 0), fault);
        return sbxi_bearssl_fail(fault, SBX_ERR_CONNECTION, 0, SBXI_BEARSSL_TEXT("the server has closed the TLS session"));
    }
    c->taken = n < room ? n : room;
    memcpy(to, p, c->taken);
    br_ssl_engine_sendapp_ack(&c->ssl.eng, c->taken);
    br_ssl_engine_flush(&c->ssl.eng, 0);
    return SBX_IO_OK;
}

/* A record counts as sent when all of it went down: nothing lies about that
   nobody would come back for. */
static sbx_io sbxi_bearssl_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;
    sbxi_bearssl_conn *c = (sbxi_bearssl_conn *)conn;
    sbx_fault own;
    sbx_io io = SBX_IO_OK;

    if (c->state == SBXI_BEARSSL_PLAIN)
        return sbxi_bearssl_below(x)->send(x->lower, sbxi_bearssl_lower_conn(x, c), p, n, sent, fault);
    *sent = 0;
    memset(&own, 0, sizeof own);
    fault = fault ? fault : &own;
    if (c->state != SBXI_BEARSSL_OPEN)
        return sbxi_bearssl_unready(c, fault);
    if (!n)
        return sbxi_bearssl_fail(fault, SBX_ERR_ARGUMENT, 0, SBXI_BEARSSL_TEXT("a length of 0"));
    if (!c->taken)
        io = sbxi_bearssl_give(x, c, p, n, fault);
    if (io == SBX_IO_OK)
        io = sbxi_bearssl_push(x, c, fault);
    if (io == SBX_IO_FAIL)
        return sbxi_bearssl_die(x, c, fault);
    if (io != SBX_IO_OK)
        return io;
    *sent = c->taken < n ? c->taken : n;
    c->taken -= *sent;
    return SBX_IO_OK;
}

static void sbxi_bearssl_close(void *ctx, void *conn)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;
    sbxi_bearssl_conn *c = (sbxi_bearssl_conn *)conn;
    sbx_fault fault;

    memset(&fault, 0, sizeof fault);
    if (c->state == SBXI_BEARSSL_OPEN && !c->taken) {
        br_ssl_engine_close(&c->ssl.eng);
        sbxi_bearssl_push(x, c, &fault);
    }
    sbxi_bearssl_below(x)->close(x->lower, sbxi_bearssl_lower_conn(x, c));
    memset(conn, 0, x->self->conn_size); /* keys and plaintext with it */
}

static void sbxi_bearssl_watch(void *ctx, void *conn, unsigned bits)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;

    if (sbxi_bearssl_below(x)->watch)
        sbxi_bearssl_below(x)->watch(x->lower, sbxi_bearssl_lower_conn(x, conn), bits);
}

static int sbxi_bearssl_wait(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;

    return sbxi_bearssl_below(x)->wait(x->lower, timeout_ms, ready, max);
}

static void sbxi_bearssl_wake(void *ctx)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;

    sbxi_bearssl_below(x)->wake(x->lower);
}

static intptr_t sbxi_bearssl_conn_handle(void *ctx, void *conn)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;

    return sbxi_bearssl_below(x)->conn_handle(x->lower, sbxi_bearssl_lower_conn(x, conn));
}

static intptr_t sbxi_bearssl_poll_handle(void *ctx)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;

    return sbxi_bearssl_below(x)->poll_handle(x->lower);
}

/* All of the context but whose it is. */
static void sbxi_bearssl_wipe(sbxi_bearssl_ctx *x)
{
    const sbx_transport *self = x->self;

    memset(x, 0, self->ctx_size);
    x->self = self;
}

static void sbxi_bearssl_shut(void *ctx)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;

    if (sbxi_bearssl_below(x)->shut)
        sbxi_bearssl_below(x)->shut(x->lower);
    sbxi_bearssl_drop_anchors(x);
    sbxi_bearssl_wipe(x);
}

static sbx_code sbxi_bearssl_check(const sbx_bearssl_config *k, sbx_fault *fault)
{
    if (k->min_version && (k->min_version < BR_TLS10 || k->min_version > BR_TLS12))
        return sbxi_bearssl_refuse(fault, SBXI_BEARSSL_TEXT("min_version: BR_TLS10, BR_TLS11 and BR_TLS12 are allowed"));
    if (SBX_BEARSSL_MINIMAL && k->min_version && k->min_version != BR_TLS12)
        return sbxi_bearssl_refuse(fault, SBXI_BEARSSL_TEXT("min_version: the minimal profile (SBX_BEARSSL_MINIMAL) has TLS 1.2 only"));
    if (!k->anchors_n != !k->anchors || !k->pins_n != !k->pins)
        return sbxi_bearssl_refuse(fault, SBXI_BEARSSL_TEXT("anchors or pins: a number without a pointer, or a pointer without a number (NULL = none)"));
    if (k->anchors_n && (k->ca_file || k->ca_dir))
        return sbxi_bearssl_refuse(fault, SBXI_BEARSSL_TEXT("anchors excludes ca_file and ca_dir: give one or the other"));
    return SBX_OK;
}

static sbx_code sbxi_bearssl_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    sbxi_bearssl_ctx *x = (sbxi_bearssl_ctx *)ctx;
    sbx_code code;

    sbxi_bearssl_wipe(x);
    if (config)
        x->config = *(const sbx_bearssl_config *)config;
    x->lower = sbx_lower(x, x->self->ctx_size);
    code = sbxi_bearssl_check(&x->config, fault);
    if (code == SBX_OK)
        code = sbx_transport_open(x->self->lower, x->lower, x->config.lower_config, max_conns, fault);
    if (code != SBX_OK || x->config.anchors_n)
        return code;
    code = sbxi_bearssl_load(x, fault);
    x->config.ca_file = x->config.ca_dir = NULL; /* borrowed for this call only */
    if (code != SBX_OK) {
        sbxi_bearssl_drop_anchors(x);
        if (sbxi_bearssl_below(x)->shut)
            sbxi_bearssl_below(x)->shut(x->lower);
    }
    return code;
}

/* The power of two, 0 = a size that is not allowed. */
static unsigned sbxi_bearssl_log(unsigned bytes)
{
    switch (bytes) {
    case 512: return 9;
    case 1024: return 10;
    case 2048: return 11;
    case 4096: return 12;
    case 0:
    case 16384: return 14;
    default: return 0;
    }
}

extern sbx_code sbx_bearssl(sbx_transport *out, const sbx_transport *lower, const sbx_bearssl_options *options)
{
    unsigned rx = sbxi_bearssl_log(options ? options->rx_bytes : 0u), tx = sbxi_bearssl_log(options ? options->tx_bytes : 0u);
    unsigned sessions = options && options->sessions ? options->sessions : (unsigned)SBXI_BEARSSL_SESSIONS;

    if (!out || !lower || !rx || !tx)
        return SBX_ERR_ARGUMENT;
    memset(out, 0, sizeof *out);
    out->name = "bearssl";
    out->flags = SBXI_BEARSSL_FLAGS(rx, tx, sessions);
    out->ctx_size = SBXI_BEARSSL_CTX_SIZE(sessions);
    out->conn_size = SBXI_BEARSSL_CONN_SIZE((uint32_t)1 << rx, (uint32_t)1 << tx);
    out->lower = lower;
    out->open = sbxi_bearssl_open;
    out->shut = sbxi_bearssl_shut;
    out->connect = sbxi_bearssl_connect;
    out->recv = sbxi_bearssl_recv;
    out->send = sbxi_bearssl_send;
    out->close = sbxi_bearssl_close;
    out->watch = lower->watch ? sbxi_bearssl_watch : NULL;
    out->wait = lower->wait ? sbxi_bearssl_wait : NULL;
    out->wake = lower->wake ? sbxi_bearssl_wake : NULL;
    out->conn_handle = lower->conn_handle ? sbxi_bearssl_conn_handle : NULL;
    out->poll_handle = lower->poll_handle ? sbxi_bearssl_poll_handle : NULL;
    out->entropy = sbxi_bearssl_entropy;
    out->mono_ms = sbxi_bearssl_mono_ms;
    out->wall_ms = sbxi_bearssl_wall_ms;
    return SBX_OK;
}

#ifdef SBX_POSIX_H
/* As sbx_posix: also without a context. */
static int64_t sbxi_bearssl_posix_mono_ms(void *ctx)
{
    (void)ctx;
    return sbx_posix.mono_ms(NULL);
}

const sbx_transport sbx_bearssl_posix = {
    "bearssl-posix",
    SBXI_BEARSSL_FLAGS(14, 14, SBXI_BEARSSL_SESSIONS),
    SBXI_BEARSSL_CTX_SIZE(SBXI_BEARSSL_SESSIONS),
    0,
    SBXI_BEARSSL_CONN_SIZE(16384, 16384),
    &sbx_posix,
    sbxi_bearssl_open,
    sbxi_bearssl_shut,
    sbxi_bearssl_connect,
    sbxi_bearssl_recv,
    sbxi_bearssl_send,
    sbxi_bearssl_close,
    sbxi_bearssl_watch,
    sbxi_bearssl_wait,
    sbxi_bearssl_wake,
    sbxi_bearssl_conn_handle,
    sbxi_bearssl_poll_handle,
    sbxi_bearssl_entropy,
    sbxi_bearssl_posix_mono_ms,
    sbxi_bearssl_wall_ms
};
#endif

SBX_EXTERN_C_END
#endif /* SANDBOX_IMPLEMENTATION */
