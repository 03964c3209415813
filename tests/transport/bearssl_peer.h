/* A TLS server in memory, by BearSSL's own server engine, and a lower transport
   that plays one connection to it, as badly as a test wants. Included by one
   test program, behind the transport. */
#ifndef BEARSSL_PEER_H
#define BEARSSL_PEER_H

#include "bearssl_certs.h"

/* ---- who the server is ---- */

enum { PEER_CHAIN = 4, PEER_DER = 4096 };

typedef struct peer_identity {
    br_x509_certificate chain[PEER_CHAIN];
    size_t chain_n;
    unsigned char der[PEER_CHAIN][PEER_DER], key_der[PEER_DER];
    size_t key_n;
    br_skey_decoder_context key;
} peer_identity;

typedef struct peer_object {
    unsigned char *p;
    size_t n;
} peer_object;

static void peer_object_bytes(void *user, const void *p, size_t n)
{
    peer_object *o = (peer_object *)user;

    assert_true(o->n + n <= PEER_DER);
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

/* The objects of a PEM file, `max` at most; their number. */
static size_t peer_read_pem(const char *path, unsigned char (*der)[PEER_DER], size_t *lengths, size_t max)
{
    static char text[16384];
    br_pem_decoder_context pem;
    peer_object o = {NULL, 0};
    size_t at = 0, n, found = 0;
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    n = fread(text, 1, sizeof text, f);
    fclose(f);
    br_pem_decoder_init(&pem);
    while (at < n && found < max) {
        at += br_pem_decoder_push(&pem, text + at, n - at);
        switch (br_pem_decoder_event(&pem)) {
        case BR_PEM_BEGIN_OBJ:
            o.p = der[found];
            o.n = 0;
            br_pem_decoder_setdest(&pem, peer_object_bytes, &o);
            break;
        case BR_PEM_END_OBJ: lengths[found++] = o.n; break;
        default: break;
        }
    }
    return found;
}

static void peer_identify(peer_identity *id, const char *name)
{
    size_t n[PEER_CHAIN], i;

    memset(id, 0, sizeof *id);
    id->chain_n = peer_read_pem(peer_path(name, ".pem"), id->der, n, PEER_CHAIN);
    assert_true(id->chain_n > 0);
    for (i = 0; i < id->chain_n; i++) {
        id->chain[i].data = id->der[i];
        id->chain[i].data_len = n[i];
    }
    assert_int_equal(peer_read_pem(peer_path(name, ".key"), &id->key_der, &id->key_n, 1), 1);
    br_skey_decoder_init(&id->key);
    br_skey_decoder_push(&id->key, id->key_der, id->key_n);
    assert_int_equal(br_skey_decoder_key_type(&id->key), BR_KEYTYPE_EC);
}

/* ---- the connection ---- */

static struct {
    br_ssl_server_context ssl;
    unsigned char ibuf[BR_SSL_BUFSIZE_INPUT], obuf[BR_SSL_BUFSIZE_OUTPUT];
    br_ssl_session_cache_lru cache;
    unsigned char cache_bytes[4096];
    const peer_identity *id;
    const br_x509_certificate *chain; /* in place of the identity's own; NULL = that one */
    size_t chain_n;
    /* how it behaves */
    const char *greeting;  /* sent once the handshake is done */
    bool says_goodbye;     /* close_notify behind it */
    bool echoes;
    bool slow;             /* half of the calls wait, the others move one byte */
    size_t cut_at;         /* the stream ends behind that many bytes of the server's; 0 = never */
    bool cut_is_reset;
    int fail_at;           /* this call fails, from 1; 0 = none */
    bool blocked;          /* send waits until a test says otherwise */
    int64_t wall, mono;
    /* what happened */
    int calls, opens, shuts, connects, closes;
    uint32_t asleep;
    bool greeted, got_goodbye, tls;
    size_t said, heard;    /* bytes on the wire, the server's and the client's */
    unsigned watched;
    char plain[64];        /* what came in the clear */
    size_t plain_n;
} peer;

static bool peer_hook(sbx_fault *fault)
{
    if (++peer.calls != peer.fail_at)
        return false;
    if (fault) {
        fault->code = SBX_ERR_CONNECTION;
        fault->sys = 99;
        fault->text = "the script says so";
    }
    return true;
}

static bool peer_sleeps(void)
{
    peer.asleep = peer.asleep * 1664525u + 1013904223u;
    return peer.slow && peer.asleep >> 31;
}

/* A fresh server for the next connection; sessions are kept. */
static void peer_reset(void)
{
    br_ssl_server_init_full_ec(&peer.ssl, peer.chain ? peer.chain : peer.id->chain, peer.chain ? peer.chain_n : peer.id->chain_n, BR_KEYTYPE_EC, br_skey_decoder_get_ec(&peer.id->key));
    br_ssl_engine_set_versions(&peer.ssl.eng, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_buffers_bidi(&peer.ssl.eng, peer.ibuf, sizeof peer.ibuf, peer.obuf, sizeof peer.obuf);
    br_ssl_server_set_cache(&peer.ssl, &peer.cache.vtable);
    br_ssl_engine_inject_entropy(&peer.ssl.eng, "not random, but a test", 22);
    br_ssl_server_reset(&peer.ssl);
    peer.greeted = peer.got_goodbye = false;
    peer.said = peer.heard = 0;
}

/* All zero but for the certificate and the clocks. */
static void peer_begin(const peer_identity *id)
{
    memset(&peer, 0, sizeof peer);
    peer.id = id;
    peer.wall = (int64_t)time(NULL) * 1000;
    peer.mono = 1000;
    br_ssl_session_cache_lru_init(&peer.cache, peer.cache_bytes, sizeof peer.cache_bytes);
}

static void peer_write(const char *p, size_t n)
{
    while (n) {
        size_t room;
        unsigned char *to = br_ssl_engine_sendapp_buf(&peer.ssl.eng, &room);

        assert_non_null(to);
        room = room < n ? room : n;
        memcpy(to, p, room);
        br_ssl_engine_sendapp_ack(&peer.ssl.eng, room);
        p += room;
        n -= room;
    }
    br_ssl_engine_flush(&peer.ssl.eng, 0);
}

/* What the server's program does with what there is. */
static void peer_turn(void)
{
    br_ssl_engine_context *e = &peer.ssl.eng;
    unsigned char *from, *to;
    size_t n, room;

    if (!peer.greeted && br_ssl_engine_current_state(e) & BR_SSL_SENDAPP) {
        peer.greeted = true;
        if (peer.greeting)
            peer_write(peer.greeting, strlen(peer.greeting));
        if (peer.says_goodbye)
            br_ssl_engine_close(e);
    }
    while (peer.echoes && (from = br_ssl_engine_recvapp_buf(e, &n)) != NULL && (to = br_ssl_engine_sendapp_buf(e, &room)) != NULL) {
        n = n < room ? n : room;
        memcpy(to, from, n);
        br_ssl_engine_recvapp_ack(e, n);
        br_ssl_engine_sendapp_ack(e, n);
        br_ssl_engine_flush(e, 0);
    }
    peer.got_goodbye = !(br_ssl_engine_current_state(e) & (BR_SSL_RECVREC | BR_SSL_RECVAPP)) && br_ssl_engine_last_error(e) == 0;
}

static sbx_code peer_open(void *ctx, const void *config, uint32_t max, sbx_fault *fault)
{
    (void)config;
    (void)max;
    if (peer_hook(fault))
        return SBX_ERR_CONNECT;
    memset(ctx, 7, 24);
    peer.opens++;
    return SBX_OK;
}

static void peer_shut(void *ctx)
{
    assert_int_equal(*(char *)ctx, 7);
    peer.shuts++;
}

static sbx_io peer_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    assert_int_equal(*(char *)ctx, 7);
    peer.tls = peer.tls || to->tls;
    if (peer_hook(fault))
        return SBX_IO_FAIL;
    if (peer_sleeps())
        return SBX_IO_WANT_WRITE;
    *(char *)conn = 9;
    peer.connects++;
    peer_reset();
    return SBX_IO_OK;
}

static sbx_io peer_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    const unsigned char *from;
    size_t n;

    (void)ctx;
    assert_int_equal(*(char *)conn, 9);
    if (peer_hook(fault))
        return SBX_IO_FAIL;
    if (peer.cut_at && peer.said >= peer.cut_at && peer.cut_is_reset) {
        fault->code = SBX_ERR_CONNECTION;
        return SBX_IO_FAIL;
    }
    if (peer.cut_at && peer.said >= peer.cut_at)
        return SBX_IO_EOF;
    if (peer_sleeps())
        return SBX_IO_WANT_READ;
    peer_turn();
    from = br_ssl_engine_sendrec_buf(&peer.ssl.eng, &n);
    if (!from)
        return br_ssl_engine_current_state(&peer.ssl.eng) == BR_SSL_CLOSED ? SBX_IO_EOF : SBX_IO_WANT_READ;
    n = n < room ? n : room;
    n = peer.slow ? 1 : n;
    if (peer.cut_at && n > peer.cut_at - peer.said)
        n = peer.cut_at - peer.said;
    memcpy(p, from, n);
    br_ssl_engine_sendrec_ack(&peer.ssl.eng, n);
    peer.said += n;
    peer_turn();
    *got = n;
    return SBX_IO_OK;
}

static sbx_io peer_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    unsigned char *to;
    size_t room;

    (void)ctx;
    assert_int_equal(*(char *)conn, 9);
    if (peer_hook(fault))
        return SBX_IO_FAIL;
    if (peer.blocked || peer_sleeps())
        return SBX_IO_WANT_WRITE;
    if (peer.plain_n + n <= sizeof peer.plain) {
        memcpy(peer.plain + peer.plain_n, p, n);
        peer.plain_n += n;
    }
    peer_turn();
    to = br_ssl_engine_recvrec_buf(&peer.ssl.eng, &room);
    if (!to)
        return SBX_IO_WANT_WRITE;
    n = n < room ? n : room;
    n = peer.slow ? 1 : n;
    memcpy(to, p, n);
    br_ssl_engine_recvrec_ack(&peer.ssl.eng, n);
    peer.heard += n;
    peer_turn();
    *sent = n;
    return SBX_IO_OK;
}

static void peer_close(void *ctx, void *conn)
{
    (void)ctx;
    (void)conn;
    peer.closes++;
}

static void peer_watch(void *ctx, void *conn, unsigned bits)
{
    (void)ctx;
    (void)conn;
    peer.watched = bits;
}

static bool peer_entropy(void *ctx, void *p, size_t n)
{
    static unsigned char next;

    (void)ctx;
    if (peer_hook(NULL))
        return false;
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)p)[i] = next++;
    return true;
}

static int64_t peer_mono(void *ctx)
{
    (void)ctx;
    return peer.mono;
}

static int64_t peer_wall(void *ctx)
{
    (void)ctx;
    return peer.wall;
}

static const sbx_transport peer_transport = {
    "peer", 0, 24, 8, 8, NULL, peer_open, peer_shut, peer_connect, peer_recv, peer_send, peer_close,
    peer_watch, NULL, NULL, NULL, NULL, peer_entropy, peer_mono, peer_wall
};

#endif
