/* parts: text json json_fast */
/* The JSON reader gives the same tokens however its input is cut; what it read
   can be written and read again; escaping and reading are each other's inverse.
   The first bytes of the input choose the cuts. */
#include "base.h"
#include "json.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(c) ((c) ? (void)0 : fail(#c, __LINE__))

static void fail(const char *what, int line)
{
    fprintf(stderr, "line %d: %s\n", line, what);
    abort();
}

typedef struct log {
    char *p;
    size_t n, cap;
} log;

static void put(log *l, const void *p, size_t n)
{
    if (l->cap - l->n < n) {
        l->cap = 2 * (l->n + n) + 256;
        l->p = (char *)realloc(l->p, l->cap);
        CHECK(l->p);
    }
    if (n)
        memcpy(l->p + l->n, p, n);
    l->n += n;
}

static bool has_fffd(const char *p, size_t n)
{
    for (size_t i = 0; i + 3 <= n; i++)
        if (memcmp(p + i, "\xEF\xBF\xBD", 3) == 0)
            return true;
    return false;
}

/* ---- reading ---- */

typedef struct run {
    sbx_json j;
    log out;      /* kind, depth, text; pieces put together */
    int open;     /* kind of the text under way, -1 none */
    unsigned depth;
    uint64_t fed;
    bool over;
} run;

static void token(run *r, const sbx_json_tok *t)
{
    unsigned char head[2];
    uint32_t state = 0;
    if (t->kind == SBX_JSON_OBJECT_END || t->kind == SBX_JSON_ARRAY_END)
        r->depth--;
    CHECK(t->depth == r->depth || t->kind >= SBX_JSON_MORE);
    if (t->kind == SBX_JSON_OBJECT || t->kind == SBX_JSON_ARRAY)
        r->depth++;
    head[0] = t->kind;
    head[1] = t->depth;
    if (t->kind < SBX_JSON_KEY || t->kind > SBX_JSON_NUMBER) {
        CHECK(r->open < 0 && t->n == 0 && !t->more && !t->replaced);
        put(&r->out, head, 2);
        return;
    }
    CHECK(r->open < 0 || r->open == t->kind);
    CHECK(t->n || !t->more);
    CHECK(sbxi_utf8(&state, t->p, t->n) && state == 0);
    CHECK(t->replaced == has_fffd(t->p, t->n));
    if (r->open < 0)
        put(&r->out, head, 2);
    put(&r->out, t->p, t->n);
    if (!t->more)
        put(&r->out, "\xFE", 1); /* no UTF-8: an end that no text holds */
    r->open = t->more ? t->kind : -1;
}

static void feed(run *r, const uint8_t *in, size_t n)
{
    char *copy = (char *)malloc(n + 1), *p = copy + 1, *end = p + n; /* not aligned, and with a border that is watched */
    sbx_json_tok t;
    sbx_json_kind kind;
    if (r->over) {
        free(copy);
        return;
    }
    memcpy(p, in, n);
    do {
        char *from = p;
        kind = sbx_json_next(&r->j, &p, end, &t);
        CHECK(kind == (sbx_json_kind)t.kind && p >= from && p <= end);
        if (kind < SBX_JSON_MORE)
            token(r, &t);
    } while (kind < SBX_JSON_MORE);
    r->fed += (uint64_t)(p - (copy + 1));
    CHECK(r->j.offset == r->fed);
    if (kind == SBX_JSON_ERROR) {
        unsigned char error[9];
        error[0] = r->j.error;
        for (int i = 0; i < 8; i++)
            error[i + 1] = (unsigned char)((uint64_t)r->j.offset >> 8 * i);
        put(&r->out, error, sizeof error);
        CHECK(r->j.error && sbx_json_next(&r->j, &p, end, &t) == SBX_JSON_ERROR && r->j.offset == r->fed);
        r->over = true;
    } else {
        CHECK(p == end);
    }
    free(copy);
}

static void finish(run *r)
{
    sbx_json_tok t;
    sbx_json_kind kind;
    if (r->over)
        return;
    while ((kind = sbx_json_end(&r->j, &t)) < SBX_JSON_MORE)
        token(r, &t);
    put(&r->out, kind == SBX_JSON_DONE ? "D" : "T", 1);
    CHECK(kind == SBX_JSON_DONE || (r->j.error == SBX_JSON_ERR_TRUNCATED && r->j.offset == r->fed));
}

/* cuts: sizes of the pieces, in turn; none: whole. */
static run read_all(const uint8_t *in, size_t n, const uint8_t *cuts, size_t cut_n)
{
    run r;
    memset(&r, 0, sizeof r);
    r.open = -1;
    sbx_json_init(&r.j, 0);
    for (size_t at = 0, i = 0; at < n; i++) {
        size_t k = cut_n ? cuts[i % cut_n] : n;
        if (k > 200)
            k = (k - 200) * 40;
        if (k > n - at)
            k = n - at;
        if (cut_n && k == 0 && i >= 1000)
            k = 1;
        feed(&r, in + at, k);
        at += k;
    }
    finish(&r);
    return r;
}

static void same(const run *a, const run *b)
{
    CHECK(a->out.n == b->out.n && (a->out.n == 0 || memcmp(a->out.p, b->out.p, a->out.n) == 0));
}

/* ---- writing ---- */

static void write_again(const uint8_t *in, size_t n, sbx_jsonw *w)
{
    char *copy = (char *)malloc(n + 1), *p = copy, *end = copy + n;
    sbx_json j;
    sbx_json_tok t;
    sbx_json_kind kind;
    memcpy(copy, in, n);
    sbx_json_init(&j, 0);
    for (;;) {
        kind = sbx_json_next(&j, &p, end, &t);
        if (kind >= SBX_JSON_MORE && (kind = sbx_json_end(&j, &t)) >= SBX_JSON_MORE)
            break;
        switch (kind) {
        case SBX_JSON_OBJECT: sbx_jsonw_begin(w, '{'); break;
        case SBX_JSON_OBJECT_END: sbx_jsonw_end(w, '}'); break;
        case SBX_JSON_ARRAY: sbx_jsonw_begin(w, '['); break;
        case SBX_JSON_ARRAY_END: sbx_jsonw_end(w, ']'); break;
        case SBX_JSON_KEY: sbx_jsonw_key(w, sbx_sn(t.p, t.n)); break;
        case SBX_JSON_STRING: sbx_jsonw_str(w, sbx_sn(t.p, t.n)); break;
        case SBX_JSON_TRUE: case SBX_JSON_FALSE: sbx_jsonw_bool(w, kind == SBX_JSON_TRUE); break;
        case SBX_JSON_NULL: sbx_jsonw_null(w); break;
        default: /* a top-level number comes in two pieces */
            if (t.n) {
                int64_t i;
                uint64_t u;
                double d;
                sbx_str s = sbx_sn(t.p, t.n);
                if (sbx_json_i64(s, &i) && !(i == 0 && t.p[0] == '-'))
                    sbx_jsonw_i64(w, i);
                else if (sbx_json_u64(s, &u) && t.p[0] != '-')
                    sbx_jsonw_u64(w, u);
                else
                    sbx_jsonw_raw(w, s);
                sbx_json_f64(s, &d);
            }
        }
    }
    free(copy);
}

static void round_trip(const uint8_t *in, size_t n, const run *whole)
{
    sbx_jsonw measure, w;
    char *out;
    run again;
    sbx_jsonw_init(&measure, NULL, 0);
    write_again(in, n, &measure);
    out = (char *)malloc(measure.n + 1);
    sbx_jsonw_init(&w, out, measure.n);
    write_again(in, n, &w);
    CHECK(w.error == 0 && w.n == measure.n);
    again = read_all((const uint8_t *)out, w.n, NULL, 0);
    same(whole, &again);
    free(again.out.p);
    free(out);
}

static void escape_and_back(const uint8_t *in, size_t n, size_t room)
{
    char *all = (char *)malloc(6 * n + 3), *parts = (char *)malloc(6 * n + 3), *src = (char *)malloc(n + 1);
    size_t used, wrote, at = 0, total = 1;
    bool bad, part_bad = false;
    uint32_t state = 0;
    memcpy(src, in, n);
    all[0] = parts[0] = '"';
    wrote = sbx_json_escape(all + 1, 6 * n + 1, src, n, &used, &bad);
    CHECK(used <= n && wrote <= 6 * n && (bad || n - used < 4));
    CHECK(sbxi_utf8(&state, src, used) && state == 0);
    state = 0;
    CHECK(sbxi_utf8(&state, src, n) == !bad);
    room = room < 6 ? 6 : room;
    while (at < n) {
        size_t piece_used, piece;
        char *to = (char *)malloc(room);
        piece = sbx_json_escape(to, room, src + at, n - at, &piece_used, &part_bad);
        CHECK(piece <= room);
        memcpy(parts + total, to, piece);
        free(to);
        total += piece;
        at += piece_used;
        if (!piece_used)
            break;
    }
    CHECK(at == used && part_bad == bad && total == wrote + 1 && memcmp(all, parts, total) == 0);
    all[++wrote] = '"';
    wrote++;
    char *p = all;
    sbx_json j;
    sbx_json_tok t;
    sbx_json_init(&j, 0);
    CHECK(sbx_json_next(&j, &p, all + wrote, &t) == SBX_JSON_STRING && !t.more && t.n == used && (used == 0 || memcmp(t.p, src, used) == 0));
    CHECK(sbx_json_next(&j, &p, all + wrote, &t) == SBX_JSON_DONE);
    free(all);
    free(parts);
    free(src);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
    static const uint8_t one[1] = { 1 };
    uint8_t cuts[4];
    run whole, split, bytes;
    if (n < sizeof cuts)
        return 0;
    memcpy(cuts, in, sizeof cuts);
    in += sizeof cuts;
    n -= sizeof cuts;
    whole = read_all(in, n, NULL, 0);
    split = read_all(in, n, cuts, sizeof cuts);
    bytes = read_all(in, n, one, 1);
    same(&whole, &split);
    same(&whole, &bytes);
    if (whole.out.n && whole.out.p[whole.out.n - 1] == 'D' && !whole.over)
        round_trip(in, n, &whole);
    escape_and_back(in, n, cuts[0]);
    free(whole.out.p);
    free(split.out.p);
    free(bytes.out.p);
    return 0;
}
