/* parts: model text json */
/* Answers into structs: whole, byte by byte and at every split the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model.h"

typedef struct item {
    char id[40];
    char note[16];
    int64_t a_rather_long_number, small, when;
    sbx_tri tri;
    bool flag, cut;
} item;

typedef struct page {
    char next[32];
    int64_t offset;
    bool truncated;
} page;

static const sbxi_field item_fields[] = {
    SBXI_FIELD("id", SBXI_F_ID, item, id),
    SBXI_FIELD("note", SBXI_F_TEXT, item, note),
    SBXI_FIELD("a_rather_long_number_name", SBXI_F_I64, item, a_rather_long_number),
    SBXI_FIELD("small", SBXI_F_I64, item, small),
    SBXI_FIELD("labels", SBXI_F_SKIP, item, cut),
    SBXI_FIELD("when", SBXI_F_TIME, item, when),
    SBXI_FIELD("tri", SBXI_F_TRI, item, tri),
    SBXI_FIELD("flag", SBXI_F_BOOL, item, flag),
};

static const sbxi_model item_model = { item_fields, SBXI_COUNT(item_fields), false, SBXI_MINUS(item, small, small), offsetof(item, cut), NULL };

static const sbxi_field page_fields[] = {
    SBXI_FIELD("items", SBXI_F_LIST, page, truncated),
    SBXI_FIELD("things", SBXI_F_LIST, page, truncated),
    SBXI_FIELD("next_cursor", SBXI_F_ID, page, next),
    SBXI_FIELD("offset", SBXI_F_I64, page, offset),
};
static const sbxi_model page_model = { page_fields, SBXI_COUNT(page_fields), false, SBXI_NO_MINUS(page), 0, &item_model };

typedef struct log {
    char text[8192];
    size_t n;
} log;

static void put(log *l, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    l->n += (size_t)vsnprintf(l->text + l->n, sizeof l->text - l->n, format, args);
    va_end(args);
    assert_true(l->n < sizeof l->text);
}

static void put_item(log *l, const item *i)
{
    put(l, "[%s|%s|%lld|%lld|%lld|%d|%d|%d]", i->id, i->note, (long long)i->a_rather_long_number, (long long)i->small, (long long)i->when,
        (int)i->tri, i->flag, i->cut);
}

/* Decodes text in pieces: `first` bytes, then `step` at a time. */
static void decode(log *l, const char *text, size_t first, size_t step)
{
    size_t n = strlen(text), at = 0;
    sbxi_dec_result r = SBXI_DEC_MORE;
    sbxi_dec d;
    page pg;
    item it;

    memset(l, 0, sizeof *l);
    sbxi_dec_init(&d, &page_model, &pg, &it);
    while (at < n && r == SBXI_DEC_MORE) {
        size_t take = at == 0 ? first : step;
        char *chunk, *p;

        if (take > n - at)
            take = n - at;
        p = chunk = malloc(take); /* exact: a read behind it is seen */
        memcpy(chunk, text + at, take);
        while ((r = sbxi_dec_run(&d, &p, chunk + take)) == SBXI_DEC_ITEM)
            put_item(l, &it);
        free(chunk);
        at += take;
    }
    if (r == SBXI_DEC_MORE)
        r = sbxi_dec_end(&d);
    put(l, "%s next=%s offset=%lld%s", r == SBXI_DEC_DONE ? "done" : "error", pg.next, (long long)pg.offset, d.too_large ? " too-large" : "");
}

static void check(const char *text, const char *expected)
{
    size_t n = strlen(text);
    log l;

    decode(&l, text, n, n);
    assert_string_equal(l.text, expected);
    decode(&l, text, 1, 1);
    assert_string_equal(l.text, expected);
    for (size_t i = 1; i < n; i++) {
        decode(&l, text, i, n);
        assert_string_equal(l.text, expected);
    }
}

static void items_in_the_expected_order(void **state)
{
    (void)state;
    check("{\"items\":[{\"id\":\"0123456789abcdef0123456789abcdef\",\"note\":\"hello\",\"a_rather_long_number_name\":123456789012345678,"
          "\"small\":7,\"labels\":{},\"when\":\"2025-11-20T12:34:56Z\",\"tri\":null,\"flag\":true},"
          "{\"id\":\"b\",\"note\":null,\"a_rather_long_number_name\":-5,\"small\":0,\"labels\":{\"id\":\"x\",\"n\":[{\"id\":\"y\"}]},"
          "\"when\":null,\"tri\":false,\"flag\":false,\"newer\":[1,{\"id\":2}]}],\"next_cursor\":null,\"offset\":50}",
          "[0123456789abcdef0123456789abcdef|hello|123456789012345678|7|1763642096000|0|1|0][b||-5|0|0|1|0|0]done next= offset=50");
}

static void items_in_any_order(void **state)
{
    (void)state;
    check("{ \"next_cursor\" : \"c\\u0041\" , \"items\" : [ { \"flag\" : true , \"when\" : \"2025-11-20t12:34:56.789+01:00\" , \"id\" : \"k\\n\" } , "
          "{} , { \"small\" : 1.5 , \"small\" : 9 , \"note\" : 12 , \"id\" : { \"id\" : \"no\" } , \"tri\" : true } ] }",
          "[k\n||0|-1|1763638496789|0|1|0][||0|-1|0|0|0|0][||0|9|0|2|0|0]done next=cA offset=0");
}

static void the_same_items_under_two_names(void **state)
{
    (void)state;
    check("{\"things\":[{\"id\":\"1\"},{\"id\":\"2\"}],\"items\":[{\"id\":\"1\"},{\"id\":\"2\"}],\"offset\":0}",
          "[1||0|-1|0|0|0|0][2||0|-1|0|0|0|0]done next= offset=0");
}

/* Of a member that comes twice the last one counts; of lists the first, whose
   items are out already. */
static void members_that_come_twice(void **state)
{
    (void)state;
    check("{\"next_cursor\":\"first\",\"items\":[{\"id\":\"one\",\"id\":\"2\",\"note\":\"a long one\",\"note\":\"b\",\"small\":5,\"small\":6,\"flag\":true,\"flag\":false}],"
          "\"next_cursor\":\"2nd\",\"items\":[{\"id\":\"3\"}],\"offset\":1,\"offset\":2}",
          "[2|b|0|6|0|0|0|0]done next=2nd offset=2");
}

typedef struct answer {
    sbxi_sink out, err;
} answer;

static void bytes_that_come_twice(void **state)
{
    static const sbxi_field fields[] = { SBXI_FIELD("out", SBXI_F_SINK, answer, out), SBXI_FIELD("err", SBXI_F_SINK, answer, err) };
    static const sbxi_model model = { fields, SBXI_COUNT(fields), false, SBXI_NO_MINUS(answer), 0, NULL };
    static const char text[] = "{\"out\":\"first\",\"err\":\"one\",\"out\":\"2\\n\",\"err\":\"longer than it\"}";
    size_t n = sizeof text - 1;

    (void)state;
    for (size_t split = 1; split <= n; split++) {
        char copy[sizeof text], out[16], err[8], *p = copy;
        answer a;
        sbxi_dec d;

        memcpy(copy, text, sizeof text);
        sbxi_dec_init(&d, &model, &a, NULL);
        a.out.p = out;
        a.out.cap = sizeof out;
        a.err.p = err;
        a.err.cap = sizeof err;
        if (split < n)
            assert_int_equal(sbxi_dec_run(&d, &p, copy + split), SBXI_DEC_MORE);
        p = copy + split;
        if (split == n)
            p = copy;
        sbxi_dec_run(&d, &p, copy + n);
        assert_int_equal(sbxi_dec_end(&d), SBXI_DEC_DONE);
        assert_int_equal(a.out.total, 2);
        assert_memory_equal(out, "2\n", 2);
        assert_int_equal(a.err.total, 14);
        assert_memory_equal(err, "longer t", 8);
    }
}

typedef struct refusal {
    char why[12];
    bool cut;
} refusal;

/* Of a refusal with many details each is told, as far as there is room. */
static void texts_in_a_row(void **state)
{
    static const sbxi_field fields[] = { SBXI_FIELD("why", SBXI_F_TEXTS, refusal, why) };
    static const sbxi_model model = { fields, SBXI_COUNT(fields), true, SBXI_NO_MINUS(refusal), offsetof(refusal, cut), NULL };
    static const struct {
        const char *json, *why;
        bool cut;
    } cases[] = {
        { "{\"a\":[{\"why\":\"no\"},{\"why\":\"low\"},{\"why\":\"x\"}]}", "no; low; x", false },
        { "{\"why\":\"\",\"b\":{\"why\":\"123456789ab\"}}", "123456789ab", false },
        { "{\"why\":\"123456789ab\",\"b\":{\"why\":\"c\"}}", "123456789ab", true },
        { "{\"why\":\"123456789\",\"b\":{\"why\":\"c\"}}", "123456789; ", true },
        { "{\"why\":\"1\",\"b\":{\"why\":\"234567\xC3\xA9\xC3\xA9\"},\"why\":\"3\"}", "1; 234567\xC3\xA9", true },
    };

    (void)state;
    for (size_t i = 0; i < SBXI_COUNT(cases); i++) {
        size_t n = strlen(cases[i].json);

        for (size_t split = 1; split <= n; split++) {
            char copy[96], *p = copy;
            refusal r;
            sbxi_dec d;

            memcpy(copy, cases[i].json, n);
            sbxi_dec_init(&d, &model, &r, NULL);
            sbxi_dec_run(&d, &p, copy + split);
            p = copy + split;
            sbxi_dec_run(&d, &p, copy + n);
            assert_int_equal(sbxi_dec_end(&d), SBXI_DEC_DONE);
            assert_string_equal(r.why, cases[i].why);
            assert_int_equal(r.cut, cases[i].cut);
        }
    }
}

static void texts_are_cut_and_ids_are_not(void **state)
{
    (void)state;
    /* 14 bytes and a character of two: the cut lies before it. */
    check("{\"items\":[{\"id\":\"1\",\"note\":\"01234567890123\xC3\xA9tail\",\"small\":3}]}", "[1|01234567890123|0|3|0|0|0|1]done next= offset=0");
    check("{\"next_cursor\":\"0123456789012345678901234567890123456789\",\"offset\":3}", "done next= offset=3 too-large");
}

static void broken_answers(void **state)
{
    (void)state;
    check("{\"items\":[{\"id\":\"1\",\"note\":\"a\",", "error next= offset=0");
    check("{\"items\":[{\"id\":\"1\",\"note\":\"\xFF\",\"small\":1}]}", "error next= offset=0");
    check("{\"items\":[{\"id\":\"1\",\"note\":01,\"small\":1}]}", "error next= offset=0");
    check("null", "done next= offset=0");
    check("{\"items\":{\"id\":\"1\"},\"offset\":9223372036854775807}", "done next= offset=9223372036854775807");
    check("{\"offset\":9223372036854775808}", "done next= offset=0");
}

static void json_values(void **state)
{
    static const char *const good[] = { "5", "-0.5e3", "null", " true ", "\"x\"", "{\"a\":[1,{}]}", "[]" };
    static const char *const bad[] = { "", " ", "5 6", "-", "{\"a\":1}x", "[1,]", "\"\xFF\"", "nul" };

    (void)state;
    for (size_t i = 0; i < SBXI_COUNT(good); i++)
        assert_true(sbxi_json_ok(sbx_s(good[i])));
    for (size_t i = 0; i < SBXI_COUNT(bad); i++)
        assert_false(sbxi_json_ok(sbx_s(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_in_the_expected_order), cmocka_unit_test(items_in_any_order), cmocka_unit_test(the_same_items_under_two_names),
        cmocka_unit_test(members_that_come_twice), cmocka_unit_test(bytes_that_come_twice), cmocka_unit_test(texts_in_a_row), cmocka_unit_test(texts_are_cut_and_ids_are_not), cmocka_unit_test(broken_answers), cmocka_unit_test(json_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
