/* What the fuzzed client's caller keeps: an operation each, with its results,
   and the log of what was seen. A part of fuzz_client.c. */
#ifndef FUZZ_CLIENT_SLOTS_H
#define FUZZ_CLIENT_SLOTS_H

/* An operation as the caller sees it. Results and buffers are blocks of their
   own, freed the moment the library has no right to them any more. */
typedef struct slot {
    sbx_op op;
    char kind;
    bool live, sse, streaming, pushes, started, headed, cancelled, late, held;
    sbx_box *box;
    sbx_service *service;
    void *result;
    size_t result_n;
    sbx_box_info *info;
    char *buf[2];
    size_t buf_n;
    size_t left; /* bytes still to be pushed */
    char head[40];
    int64_t total_at;
    uint64_t end[2];
    unsigned back;         /* of the next data so much is given back */
    char again[32];        /* its first bytes, which come again */
    size_t again_n;
} slot;

typedef struct run {
    world w;
    unsigned how[HOW_COUNT];
    bool ports, compare, retried;
    sbx_client *c;
    slot slots[SLOTS];
    const char *actions; /* compared: done once the command started */
    size_t actions_n;
    bytes log;
    unsigned last_stream;
    long blocks;
    unsigned allocs;
} run;

/* ---- the log ---- */

static void log_text(run *r, const char *format, ...)
{
    char text[1024];
    va_list list;

    r->last_stream = 0;
    if (!r->compare)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    putf(&r->log, "%s\n", text);
}

/* Bytes that adjoin are one entry, however they came. */
static void log_data(run *r, unsigned stream, uint64_t offset, const void *p, size_t n, bool adjoins)
{
    if (!adjoins || r->last_stream != stream)
        log_text(r, "\ndata %u at %llu: ", stream, (unsigned long long)offset);
    r->last_stream = stream;
    if (r->compare)
        put(&r->log, p, n);
    else
        for (size_t i = 0; i < n; i++) /* it must be there */
            r->w.rng ^= (uint64_t)((const unsigned char *)p)[i] << 32;
}

/* ---- slots ---- */

static slot *slot_free(run *r)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (!r->slots[i].live)
            return &r->slots[i];
    return NULL;
}

static slot *slot_of(run *r, sbx_op op)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (r->slots[i].live && r->slots[i].op.slot == op.slot && r->slots[i].op.gen == op.gen)
            return &r->slots[i];
    return NULL;
}

static slot *slot_nth(run *r, unsigned n)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (r->slots[(n + i) % SLOTS].live)
            return &r->slots[(n + i) % SLOTS];
    return NULL;
}

static bool untouched(const void *p, size_t n)
{
    const unsigned char *b = (const unsigned char *)p;

    for (size_t i = 0; i < n; i++)
        if (b[i] != 0x5A)
            return false;
    return true;
}

/* The library has no right to these any more. */
static void slot_results_free(slot *s)
{
    free(s->result);
    free(s->info);
    free(s->buf[0]);
    free(s->buf[1]);
    s->result = NULL;
    s->info = NULL;
    s->buf[0] = s->buf[1] = NULL;
}

static void slot_done(slot *s)
{
    slot_results_free(s);
    free(s->box);
    free(s->service);
    memset(s, 0, sizeof *s);
}

static void *filled(size_t n)
{
    void *p = malloc(n ? n : 1);

    MUST(p, "memory");
    memset(p, 0x5A, n);
    return p;
}

#endif
