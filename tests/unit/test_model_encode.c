/* parts: model text json */
/* Structs to JSON: structs in structs, arrays of them, what a shape adds and
   refuses, and how what is refused is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model.h"

typedef struct leaf {
    sbx_str text, hidden;
    int32_t number;
} leaf;

typedef struct branch {
    const leaf *leaves;
    size_t leaves_n;
    leaf own;
    const leaf *other;
} branch;

typedef struct tree {
    const branch *branches;
    size_t branches_n;
    branch trunk;
    const sbx_str *words;
    size_t words_n;
    bool flag;
    unsigned clear;
} tree;

#define P(name, option, kind, type, member, sub) { SBXI_PARAM_NAMES(name, option), (uint8_t)(kind), 0, (uint16_t)offsetof(type, member), 0, sub }

/* A leaf says whether it has something hidden, and "bad" is none. */
static const char *leaf_begin(sbx_jsonw *w, const void *at, const char **why)
{
    const leaf *l = (const leaf *)at;

    *why = "is bad";
    if (l->hidden.n == 3)
        return l->number ? "number" : "";
    sbx_jsonw_key(w, sbx_s("hides"));
    if (l->hidden.n == 1)
        sbx_jsonw_str(w, sbx_s("\xff"));
    else
        sbx_jsonw_bool(w, l->hidden.p != NULL);
    return NULL;
}

static const sbxi_param leaf_params[] = {
    P("t", "text", SBXI_P_STR | SBXI_P_NEED, leaf, text, NULL),
    P("h", "hidden", SBXI_P_OWN, leaf, hidden, NULL),
    P("n", "number", SBXI_P_INT | SBXI_P_ALWAYS, leaf, number, NULL),
};
static const sbxi_shape leaf_shape = { { leaf_params, 3, 0 }, sizeof(leaf), leaf_begin };

static const sbxi_param branch_params[] = {
    P("leaves", "leaves", SBXI_P_LIST, branch, leaves, &leaf_shape.schema),
    P("own", "own", SBXI_P_PART, branch, own, &leaf_shape.schema),
    P("other", "other", SBXI_P_REF | SBXI_P_ALWAYS, branch, other, &leaf_shape.schema),
};
static const sbxi_shape branch_shape = { { branch_params, 3, 0 }, sizeof(branch), NULL };

/* Members of the tree itself, as an object in it. */
static const sbxi_param group_params[] = { P("words", "words", SBXI_P_STRS, tree, words, NULL) };
static const sbxi_shape group_shape = { { group_params, 1, 0 }, sizeof(tree), NULL };

static const sbxi_param tree_params[] = {
    P("branches", "branches", SBXI_P_LIST | SBXI_P_ALWAYS, tree, branches, &branch_shape.schema),
    P("trunk", "trunk", SBXI_P_PART, tree, trunk, &branch_shape.schema),
    { SBXI_PARAM_NAMES("group", ""), SBXI_P_PART, 0, 0, 0, &group_shape.schema },
    { SBXI_PARAM_NAMES("flag", "flag"), SBXI_P_BOOL, 4, offsetof(tree, flag), 0, NULL },
};
static const sbxi_schema tree_schema = { tree_params, 4, offsetof(tree, clear) };

static leaf two[2];
static branch three[3];
static tree T;

static void prepare(void)
{
    memset(two, 0, sizeof two);
    memset(three, 0, sizeof three);
    memset(&T, 0, sizeof T);
    two[0].text = sbx_s("a");
    two[1].text = sbx_s("b");
    two[1].number = 7;
    two[1].hidden = sbx_s("hh");
    three[1].leaves = two;
    three[1].leaves_n = 2;
    three[2].own = two[0];
    three[2].other = &two[1];
    T.branches = three;
    T.branches_n = 3;
}

static char text[1024];

/* "" or what was refused. */
static const char *encode(void)
{
    static char refused[200];
    sbxi_bad bad;
    sbx_jsonw w;

    memset(text, 0, sizeof text);
    sbx_jsonw_init(&w, text, sizeof text - 1);
    if (sbxi_encode(&w, &tree_schema, &T, &bad))
        return "";
    assert_non_null(bad.why);
    snprintf(refused, sizeof refused, "%s: %s", bad.option, bad.why);
    return refused;
}

static void nested(void **state)
{
    sbx_str words[2] = { { "x", 1 }, { "y", 1 } };

    (void)state;
    prepare();
    assert_string_equal(encode(), "");
    assert_string_equal(text, "\"branches\":[{\"other\":{}},"
                              "{\"leaves\":[{\"hides\":false,\"t\":\"a\",\"n\":0},{\"hides\":true,\"t\":\"b\",\"n\":7}],\"other\":{}},"
                              "{\"own\":{\"hides\":false,\"t\":\"a\",\"n\":0},\"other\":{\"hides\":true,\"t\":\"b\",\"n\":7}}]");
    T.branches_n = 0;
    T.words = words;
    T.words_n = 2;
    T.trunk.leaves = two;
    T.trunk.leaves_n = 1;
    T.clear = 4;
    assert_string_equal(encode(), "");
    assert_string_equal(text, "\"branches\":[],\"trunk\":{\"leaves\":[{\"hides\":false,\"t\":\"a\",\"n\":0}],\"other\":{}},\"group\":{\"words\":[\"x\",\"y\"]},\"flag\":null");
}

static void refused_by_their_way(void **state)
{
    static const sbx_str empty = { "", 0 };

    (void)state;
    prepare();
    two[1].text.p = NULL;
    assert_string_equal(encode(), "branches[1].leaves[1].text: must be given");
    two[1].text = sbx_s(" \n");
    assert_string_equal(encode(), "branches[1].leaves[1].text: must not be empty");
    two[1].text = sbx_s("\xff");
    assert_string_equal(encode(), "branches[1].leaves[1].text: must be UTF-8 without NUL");
    two[1].text = sbx_s("b");
    two[1].hidden = sbx_s("bad");
    assert_string_equal(encode(), "branches[1].leaves[1].number: is bad");
    two[1].number = 0;
    assert_string_equal(encode(), "branches[1].leaves[1]: is bad");
    two[1].hidden = sbx_s("u");
    assert_string_equal(encode(), "branches[1].leaves[1]: must be UTF-8 without NUL");
    three[1].leaves_n = 0;
    assert_string_equal(encode(), "branches[2].other: must be UTF-8 without NUL");
    three[2].other = NULL;
    three[2].own.number = -1;
    assert_string_equal(encode(), "branches[2].own.number: must not be negative");
    three[2].own.number = 0;
    three[0].leaves_n = 1;
    assert_string_equal(encode(), "branches[0].leaves: has a count but no address");
    T.branches = NULL;
    assert_string_equal(encode(), "branches: has a count but no address");
    T.branches_n = 0;
    T.words_n = 1;
    assert_string_equal(encode(), "words: has a count but no address");
    T.words = &empty;
    assert_string_equal(encode(), "words: has a blank text");
    T.words_n = 0;
    T.flag = true;
    T.clear = 4;
    assert_string_equal(encode(), "flag: is given and cleared at once");
}

/* What does not fit is counted, whatever is nested in it. */
static void too_large(void **state)
{
    sbxi_bad bad;
    sbx_jsonw w;
    size_t whole;

    (void)state;
    prepare();
    encode();
    whole = strlen(text);
    for (size_t cap = 0; cap <= 40; cap++) {
        char *exact = (char *)malloc(cap ? cap : 1);

        sbx_jsonw_init(&w, exact, cap);
        assert_true(sbxi_encode(&w, &tree_schema, &T, &bad));
        assert_int_equal(w.error, SBX_JSONW_FULL);
        assert_int_equal(w.n, whole);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nested), cmocka_unit_test(refused_by_their_way), cmocka_unit_test(too_large) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
