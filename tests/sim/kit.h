/* What every test of this suite begins and ends with. */
#ifndef SIM_KIT_H
#define SIM_KIT_H

#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct kit {
    sim *s;
    sbx_client *c;
    void *mem;
    sbx_client_desc d;
    sbx_box box;
    long blocks; /* of the allocator */
    long allocs, alloc_fail_at;
} kit;

static kit K;

static void *kit_resize(void *user, void *p, size_t n)
{
    (void)user;
    if (!n) {
        K.blocks -= p != NULL;
        free(p);
        return NULL;
    }
    K.allocs++;
    if (K.allocs == K.alloc_fail_at)
        return NULL;
    K.blocks += p == NULL;
    return realloc(p, n);
}

/* A world and a description to change before kit_open. */
static void kit_new(uint64_t seed)
{
    memset(&K, 0, sizeof K);
    K.s = sim_new(seed);
    K.d.transport = &sim_transport;
    K.d.transport_config = K.s;
    K.d.endpoint = SIM_API;
    K.d.api_key = "key-1";
    K.d.config = SBX_CONFIG;
    K.d.resize = kit_resize;
    assert_true(sbx_box_named(&K.box, sbx_s("one"), sbx_s("http://dp.test/b/one")));
}

static void kit_open(void)
{
    size_t n = sbx_client_size(&K.d);
    sbx_error err;

    K.mem = malloc(n);
    assert_non_null(K.mem);
    memset(K.mem, 0xA5, n);
    if (sbx_client_init(K.mem, n, &K.d, &K.c, &err) != SBX_OK)
        fail_msg("init: %s %s", sbx_code_name(err.code), err.text);
    K.s->client = K.c;
}

static inline void kit_start(uint64_t seed)
{
    kit_new(seed);
    kit_open();
}

/* Nothing is held, nothing leaked, the client did nothing wrong. */
static void kit_end(void)
{
    const char *busy = K.c ? sim_client_busy(K.c) : NULL;
    sbx_usage u;

    if (busy)
        fail_msg("seed %llu: %s", (unsigned long long)K.s->seed, busy);
    if (K.c) {
        sbx_get_usage(K.c, &u);
        assert_int_equal(u.ops, 0);
        assert_int_equal(u.requests, 0);
    }
    K.s->client = NULL;
    sbx_close(K.c);
    assert_int_equal(K.s->open_conns, 0);
    if (K.s->complaint[0])
        fail_msg("seed %llu: %s", (unsigned long long)K.s->seed, K.s->complaint);
    assert_int_equal(K.blocks, 0);
    free(K.mem);
    sim_free(K.s);
    memset(&K, 0, sizeof K);
}

#define ASSERT_CODE(got, want) kit_code(got, want, __FILE__, __LINE__)
static inline void kit_code(sbx_code got, sbx_code want, const char *file, int line)
{
    if (got != want) {
        print_error("seed %llu: %s instead of %s\n", (unsigned long long)K.s->seed, sbx_code_name(got), sbx_code_name(want));
        _fail(file, line);
    }
}

static inline sbx_error kit_error(sbx_op op)
{
    sbx_error e;

    sbx_error_of(K.c, op, &e);
    return e;
}

/* Answers to what fits `match`, once, in this order. */
static inline void kit_expect(const char *match, int status, const char *head, const char *body)
{
    sim_script e = { 0 };

    e.match = match;
    e.status = status;
    e.head = head;
    e.body = body;
    sim_expect(K.s, &e);
}

/* The last request that was logged. */
static inline const sim_request *kit_request(unsigned back)
{
    assert_true(K.s->log_n > back);
    return &K.s->log[K.s->log_n - 1 - back];
}

#endif
