/* parts: text json json_fast json_num json_write */
#include "vectors.h"

#include "json.h"
#include "json_member.h"
#include "text.h"

/* ---- the reader as a codec of vectors.h ---- */

typedef struct reader {
    sbx_json j;
    unsigned max_depth;
    unsigned depth;   /* counted here, to compare */
    uint64_t fed;
    int open;         /* kind of the text under way, or -1 */
    bool over;
    bool known;       /* takes what it can by the steps for known bytes */
} reader;

static const char *const error_names[] = { "NONE", "SYNTAX", "DEPTH", "UTF8", "CONTROL", "ESCAPE", "NUMBER", "TRUNCATED" };

static void reader_start(void *ctx)
{
    reader *r = (reader *)ctx;
    sbx_json_init(&r->j, r->max_depth);
    r->depth = 0;
    r->fed = 0;
    r->open = -1;
    r->over = false;
}

static bool has_fffd(const char *p, size_t n)
{
    for (size_t i = 0; i + 3 <= n; i++)
        if (memcmp(p + i, "\xEF\xBF\xBD", 3) == 0)
            return true;
    return false;
}

static void reader_text(reader *r, vec_log *log, const sbx_json_tok *t)
{
    uint32_t state = 0;
    if (r->open < 0)
        vec_logf(log, t->kind == SBX_JSON_KEY ? "k\"" : t->kind == SBX_JSON_STRING ? "s\"" : "n\"");
    else
        assert_int_equal(r->open, t->kind);
    if (t->more)
        assert_true(t->n > 0);
    assert_true(sbxi_utf8(&state, t->p, t->n));
    assert_int_equal(state, 0); /* pieces end at character borders */
    assert_int_equal(t->replaced, has_fffd(t->p, t->n));
    vec_log_bytes(log, t->p, t->n);
    r->open = t->more ? t->kind : -1;
    if (!t->more)
        vec_logf(log, "\" ");
}

static void reader_token(reader *r, vec_log *log, const sbx_json_tok *t)
{
    static const char marks[] = "{ } [ ] k s n t f z ";
    if (t->kind == SBX_JSON_OBJECT_END || t->kind == SBX_JSON_ARRAY_END)
        r->depth--;
    if (t->kind < SBX_JSON_MORE)
        assert_int_equal(t->depth, r->depth);
    if (t->kind == SBX_JSON_OBJECT || t->kind == SBX_JSON_ARRAY)
        r->depth++;
    if (t->kind == SBX_JSON_KEY || t->kind == SBX_JSON_STRING || t->kind == SBX_JSON_NUMBER) {
        reader_text(r, log, t);
        return;
    }
    assert_int_equal(t->n, 0);
    assert_false(t->more);
    assert_false(t->replaced);
    if (t->kind < SBX_JSON_MORE)
        vec_log_put(log, marks + 2 * t->kind, 2);
    else if (t->kind == SBX_JSON_ERROR)
        vec_logf(log, "!%s@%u", error_names[r->j.error], (unsigned)r->j.offset);
}

/* Logs what sbx_json_next would have said. */
static void reader_known(reader *r, vec_log *log, char **p, char *end)
{
#if !SBX_SMALL
    sbx_json_tok t;
    uint64_t v;
    if (sbxi_json_enter(&r->j, p, end)) {
        r->depth = 1;
        vec_logf(log, "{ ");
        if (sbxi_json_skip(p, end, "\"type\":\"stdout\",", 16))
            vec_logf(log, "k\"type\" s\"stdout\" ");
        if (sbxi_json_key(&r->j, p, end, "\"data\":", 7)) {
            vec_logf(log, "k\"data\" ");
            if (sbxi_json_string(&r->j, p, end, &t) < SBX_JSON_MORE)
                reader_token(r, log, &t);
        }
    }
    if (sbxi_json_last(&r->j, p, end, "\"offset\":", 9, &v)) {
        r->depth = 0;
        vec_logf(log, "k\"offset\" n\"%llu\" } ", (unsigned long long)v);
    }
#else
    (void)r, (void)log, (void)p, (void)end;
#endif
}

static void reader_feed(void *ctx, vec_log *log, char *p, char *end)
{
    reader *r = (reader *)ctx;
    char *begin = p;
    sbx_json_tok t;
    sbx_json_kind kind;
    if (r->over)
        return;
    do {
        if (r->known)
            reader_known(r, log, &p, end);
        char *from = p;
        memset(&t, 0x55, sizeof t);
        kind = sbx_json_next(&r->j, &p, end, &t);
        assert_int_equal(kind, t.kind);
        assert_true(p >= from && p <= end);
        assert_true((t.p >= begin && t.p + t.n <= p) || (t.p >= r->j.held && t.p + t.n <= r->j.held + sizeof r->j.held));
        reader_token(r, log, &t);
    } while (kind < SBX_JSON_MORE);
    if (kind != SBX_JSON_ERROR) {
        assert_ptr_equal(p, end);
        r->fed += (uint64_t)(end - begin);
        assert_int_equal(r->j.offset, r->fed);
        return;
    }
    assert_int_equal(r->j.offset, r->fed + (uint64_t)(p - begin));
    r->over = true;
    uint64_t offset = r->j.offset;
    uint8_t error = r->j.error;
    assert_int_equal(sbx_json_next(&r->j, &p, end, &t), SBX_JSON_ERROR);
    assert_int_equal(sbx_json_end(&r->j, &t), SBX_JSON_ERROR);
    assert_true(r->j.offset == offset && r->j.error == error);
}

static void reader_finish(void *ctx, vec_log *log)
{
    reader *r = (reader *)ctx;
    sbx_json_tok t;
    sbx_json_kind kind;
    if (r->over)
        return;
    while ((kind = sbx_json_end(&r->j, &t)) < SBX_JSON_MORE) {
        assert_int_equal(kind, SBX_JSON_NUMBER);
        assert_true(t.n == 0 && !t.more);
        reader_token(r, log, &t);
    }
    assert_int_equal(kind, t.kind);
    reader_token(r, log, &t);
    if (kind == SBX_JSON_DONE)
        vec_logf(log, ".");
    assert_int_equal(sbx_json_end(&r->j, &t), kind);
}

static const vec_codec reader_codec = { reader_start, reader_feed, reader_finish };


static const struct {
    const char *in;
    size_t n;
    const char *log;
} good[] = {
    { VEC("{}"), "{ } ." },
    { VEC("[]"), "[ ] ." },
    { VEC("[[]   ]"), "[ [ ] ] ." },
    { VEC("[\"\"]"), "[ s\"\" ] ." },
    { VEC(" [] "), "[ ] ." },
    { VEC("null"), "z ." },
    { VEC("true"), "t ." },
    { VEC(" false"), "f ." },
    { VEC("0"), "n\"0\" ." },
    { VEC("-0"), "n\"-0\" ." },
    { VEC("42"), "n\"42\" ." },
    { VEC("-12.5e+3 "), "n\"-12.5e+3\" ." },
    { VEC("\"\""), "s\"\" ." },
    { VEC("\"asd\""), "s\"asd\" ." },
    { VEC("[null, 1, \"1\", {}]"), "[ z n\"1\" s\"1\" { } ] ." },
    { VEC("[1\n]"), "[ n\"1\" ] ." },
    { VEC("[1,null,null,null,2]"), "[ n\"1\" z z z n\"2\" ] ." },
    { VEC("[2] "), "[ n\"2\" ] ." },
    { VEC(" [1]"), "[ n\"1\" ] ." },
    { VEC("[123e65]"), "[ n\"123e65\" ] ." },
    { VEC("[0e+1]"), "[ n\"0e+1\" ] ." },
    { VEC("[0e1]"), "[ n\"0e1\" ] ." },
    { VEC("[ 4]"), "[ n\"4\" ] ." },
    { VEC("[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]"), "[ n\"-0.000000000000000000000000000000000000000000000000000000000000000000000000000001\" ] ." },
    { VEC("[20e1]"), "[ n\"20e1\" ] ." },
    { VEC("[-0]"), "[ n\"-0\" ] ." },
    { VEC("[-123]"), "[ n\"-123\" ] ." },
    { VEC("[-1]"), "[ n\"-1\" ] ." },
    { VEC("[1E22]"), "[ n\"1E22\" ] ." },
    { VEC("[1E-2]"), "[ n\"1E-2\" ] ." },
    { VEC("[1E+2]"), "[ n\"1E+2\" ] ." },
    { VEC("[123e45]"), "[ n\"123e45\" ] ." },
    { VEC("[123.456e78]"), "[ n\"123.456e78\" ] ." },
    { VEC("[1e-2]"), "[ n\"1e-2\" ] ." },
    { VEC("[1e+2]"), "[ n\"1e+2\" ] ." },
    { VEC("[123]"), "[ n\"123\" ] ." },
    { VEC("[123.456789]"), "[ n\"123.456789\" ] ." },
    { VEC("{\"asd\":\"sdf\", \"dfg\":\"fgh\"}"), "{ k\"asd\" s\"sdf\" k\"dfg\" s\"fgh\" } ." },
    { VEC("{\"a\":\"b\",\"a\":\"c\"}"), "{ k\"a\" s\"b\" k\"a\" s\"c\" } ." },
    { VEC("{\"a\":\"b\",\"a\":\"b\"}"), "{ k\"a\" s\"b\" k\"a\" s\"b\" } ." },
    { VEC("{\"\":0}"), "{ k\"\" n\"0\" } ." },
    { VEC("{\"foo\\u0000bar\": 42}"), "{ k\"foo\\x00bar\" n\"42\" } ." },
    { VEC("{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"), "{ k\"min\" n\"-1.0e+28\" k\"max\" n\"1.0e+28\" } ." },
    { VEC("{\"x\":[{\"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}], \"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"), "{ k\"x\" [ { k\"id\" s\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" } ] k\"id\" s\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" } ." },
    { VEC("{\"a\":[]}"), "{ k\"a\" [ ] } ." },
    { VEC("{\"title\":\"\\u041f\\u043e\\u043b\\u0442\\u043e\\u0440\\u0430\" }"), "{ k\"title\" s\"\\xD0\\x9F\\xD0\\xBE\\xD0\\xBB\\xD1\\x82\\xD0\\xBE\\xD1\\x80\\xD0\\xB0\" } ." },
    { VEC("{\n\"a\": \"b\"\n}"), "{ k\"a\" s\"b\" } ." },
    { VEC("[\"\\u0060\\u012a\\u12AB\"]"), "[ s\"`\\xC4\\xAA\\xE1\\x8A\\xAB\" ] ." },
    { VEC("[\"\\ud801\\udc37\"]"), "[ s\"\\xF0\\x90\\x90\\xB7\" ] ." },
    { VEC("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"), "[ s\"\\xF0\\x9F\\x98\\xB9\\xF0\\x9F\\x92\\x8D\" ] ." },
    { VEC("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"), "[ s\"\"\\x5C/\\x08\\x0C\\x0A\\x0D\\x09\" ] ." },
    { VEC("[\"\\\\u0000\"]"), "[ s\"\\x5Cu0000\" ] ." },
    { VEC("[\"\\\"\"]"), "[ s\"\"\" ] ." },
    { VEC("[\"a/*b*/c/*d//e\"]"), "[ s\"a/*b*/c/*d//e\" ] ." },
    { VEC("[\"\\\\a\"]"), "[ s\"\\x5Ca\" ] ." },
    { VEC("[\"\\\\n\"]"), "[ s\"\\x5Cn\" ] ." },
    { VEC("[\"\\u0012\"]"), "[ s\"\\x12\" ] ." },
    { VEC("[\"\\uFFFF\"]"), "[ s\"\\xEF\\xBF\\xBF\" ] ." },
    { VEC("[\"asd\"]"), "[ s\"asd\" ] ." },
    { VEC("[ \"asd\"]"), "[ s\"asd\" ] ." },
    { VEC("[\"\\uDBFF\\uDFFF\"]"), "[ s\"\\xF4\\x8F\\xBF\\xBF\" ] ." },
    { VEC("[\"new\\u00A0line\"]"), "[ s\"new\\xC2\\xA0line\" ] ." },
    { VEC("[\"\xF4\x8F\xBF\xBF\"]"), "[ s\"\\xF4\\x8F\\xBF\\xBF\" ] ." },
    { VEC("[\"\xEF\xBF\xBF\"]"), "[ s\"\\xEF\\xBF\\xBF\" ] ." },
    { VEC("[\"\\u0000\"]"), "[ s\"\\x00\" ] ." },
    { VEC("[\"\\u002c\"]"), "[ s\",\" ] ." },
    { VEC("[\"\xCF\x80\"]"), "[ s\"\\xCF\\x80\" ] ." },
    { VEC("[\"\xF0\x9B\xBF\xBF\"]"), "[ s\"\\xF0\\x9B\\xBF\\xBF\" ] ." },
    { VEC("[\"asd \"]"), "[ s\"asd \" ] ." },
    { VEC("\" \""), "s\" \" ." },
    { VEC("[\"\\uD834\\uDd1e\"]"), "[ s\"\\xF0\\x9D\\x84\\x9E\" ] ." },
    { VEC("[\"\\u0821\"]"), "[ s\"\\xE0\\xA0\\xA1\" ] ." },
    { VEC("[\"\\u0123\"]"), "[ s\"\\xC4\\xA3\" ] ." },
    { VEC("[\"\xE2\x80\xA8\"]"), "[ s\"\\xE2\\x80\\xA8\" ] ." },
    { VEC("[\"\xE2\x80\xA9\"]"), "[ s\"\\xE2\\x80\\xA9\" ] ." },
    { VEC("[\"\\u0061\\u30af\\u30EA\\u30b9\"]"), "[ s\"a\\xE3\\x82\\xAF\\xE3\\x83\\xAA\\xE3\\x82\\xB9\" ] ." },
    { VEC("[\"new\\u000Aline\"]"), "[ s\"new\\x0Aline\" ] ." },
    { VEC("[\"\x7F\"]"), "[ s\"\\x7F\" ] ." },
    { VEC("[\"\\uA66D\"]"), "[ s\"\\xEA\\x99\\xAD\" ] ." },
    { VEC("[\"\\u005C\"]"), "[ s\"\\x5C\" ] ." },
    { VEC("[\"\xE2\x8D\x82\xE3\x88\xB4\xE2\x8D\x82\"]"), "[ s\"\\xE2\\x8D\\x82\\xE3\\x88\\xB4\\xE2\\x8D\\x82\" ] ." },
    { VEC("[\"\\u0022\"]"), "[ s\"\"\" ] ." },
    { VEC("[\"a\x7F" "a\"]"), "[ s\"a\\x7Fa\" ] ." },
    { VEC("\t\r\n []\n\t "), "[ ] ." },
    { VEC("[\"\\ud800\"]"), "[ s\"\\xEF\\xBF\\xBD\" ] ." },
    { VEC("[\"\\ud800\\u0041\"]"), "[ s\"\\xEF\\xBF\\xBDA\" ] ." },
    { VEC("[\"\\ud800A\"]"), "[ s\"\\xEF\\xBF\\xBDA\" ] ." },
    { VEC("[\"\\ud800\\n\"]"), "[ s\"\\xEF\\xBF\\xBD\\x0A\" ] ." },
    { VEC("[\"\\ud800\\ud800\\n\"]"), "[ s\"\\xEF\\xBF\\xBD\\xEF\\xBF\\xBD\\x0A\" ] ." },
    { VEC("[\"\\ud800\\ud801\\udc02z\"]"), "[ s\"\\xEF\\xBF\\xBD\\xF0\\x90\\x90\\x82z\" ] ." },
    { VEC("[\"\\udc00\\ud800\"]"), "[ s\"\\xEF\\xBF\\xBD\\xEF\\xBF\\xBD\" ] ." },
    { VEC("[\"a\\uDADA\xC3\xA9\"]"), "[ s\"a\\xEF\\xBF\\xBD\\xC3\\xA9\" ] ." },
    { VEC("[\"\\udfaa\"]"), "[ s\"\\xEF\\xBF\\xBD\" ] ." },
    { VEC("[\"\\ud800\\u20ac\"]"), "[ s\"\\xEF\\xBF\\xBD\\xE2\\x82\\xAC\" ] ." },
    { VEC("[\"ab\xEF\xBF\xBD" "cd\"]"), "[ s\"ab\\xEF\\xBF\\xBDcd\" ] ." },
    { VEC("[\"\xEF\xBF\xBC\xEF\xBE\xBD\xEE\xBF\xBD\"]"), "[ s\"\\xEF\\xBF\\xBC\\xEF\\xBE\\xBD\\xEE\\xBF\\xBD\" ] ." },
    { VEC("{\"\\ud888\\ud889\\udbff\":\"\\ud888\\ud889\\udfff\"}"), "{ k\"\\xEF\\xBF\\xBD\\xEF\\xBF\\xBD\\xEF\\xBF\\xBD\" s\"\\xEF\\xBF\\xBD\\xF0\\xB2\\x9F\\xBF\" } ." },
    { VEC("[1.5,-7,0.25e-3,true,false,null,\"x\"]"), "[ n\"1.5\" n\"-7\" n\"0.25e-3\" t f z s\"x\" ] ." },
    { VEC("{\"a\":{\"b\":[{},[],[[1]],{\"c\":null}]},\"d\":1}"), "{ k\"a\" { k\"b\" [ { } [ ] [ [ n\"1\" ] ] { k\"c\" z } ] } k\"d\" n\"1\" } ." },
};

static const struct {
    const char *in;
    size_t n;
    const char *log; /* what came before the error, the error and its offset */
} bad[] = {
    { VEC("[1 true]"), "[ n\"1\" !SYNTAX@3" },
    { VEC("[a\xE5]"), "[ !SYNTAX@1" },
    { VEC("[\"\": 1]"), "[ s\"\" !SYNTAX@3" },
    { VEC("[\"\"],"), "[ s\"\" ] !SYNTAX@4" },
    { VEC("[,1]"), "[ !SYNTAX@1" },
    { VEC("[1,,2]"), "[ n\"1\" !SYNTAX@3" },
    { VEC("[\"x\",,]"), "[ s\"x\" !SYNTAX@5" },
    { VEC("[\"x\"]]"), "[ s\"x\" ] !SYNTAX@5" },
    { VEC("[\"\",]"), "[ s\"\" !SYNTAX@4" },
    { VEC("[\"x\""), "[ s\"x\" !TRUNCATED@4" },
    { VEC("[x"), "[ !SYNTAX@1" },
    { VEC("[3[4]]"), "[ n\"3\" !SYNTAX@2" },
    { VEC("[\xFF]"), "[ !SYNTAX@1" },
    { VEC("[1:2]"), "[ n\"1\" !SYNTAX@2" },
    { VEC("[,]"), "[ !SYNTAX@1" },
    { VEC("[-]"), "[ n\"-!NUMBER@2" },
    { VEC("[   , \"\"]"), "[ !SYNTAX@4" },
    { VEC("[\"a\",\n4\n,1,"), "[ s\"a\" n\"4\" n\"1\" !TRUNCATED@11" },
    { VEC("[1,]"), "[ n\"1\" !SYNTAX@3" },
    { VEC("[1,,]"), "[ n\"1\" !SYNTAX@3" },
    { VEC("[\"\va\"\\f]"), "[ !CONTROL@2" },
    { VEC("[*]"), "[ !SYNTAX@1" },
    { VEC("[\"\""), "[ s\"\" !TRUNCATED@3" },
    { VEC("[1,"), "[ n\"1\" !TRUNCATED@3" },
    { VEC("[1,\n1\n,1"), "[ n\"1\" n\"1\" n\"1!TRUNCATED@8" },
    { VEC("[{}"), "[ { } !TRUNCATED@3" },
    { VEC("[fals]"), "[ !SYNTAX@5" },
    { VEC("[nul]"), "[ !SYNTAX@4" },
    { VEC("[tru]"), "[ !SYNTAX@4" },
    { VEC("[trueX]"), "[ t !SYNTAX@5" },
    { VEC("123\0"), "n\"123\" !SYNTAX@3" },
    { VEC("[++1234]"), "[ !SYNTAX@1" },
    { VEC("[+1]"), "[ !SYNTAX@1" },
    { VEC("[+Inf]"), "[ !SYNTAX@1" },
    { VEC("[-01]"), "[ n\"-0!NUMBER@3" },
    { VEC("[-1.0.]"), "[ n\"-1.0\" !SYNTAX@5" },
    { VEC("[-2.]"), "[ n\"-2.!NUMBER@4" },
    { VEC("[-NaN]"), "[ n\"-!NUMBER@2" },
    { VEC("[.-1]"), "[ !SYNTAX@1" },
    { VEC("[.2e-3]"), "[ !SYNTAX@1" },
    { VEC("[0.1.2]"), "[ n\"0.1\" !SYNTAX@4" },
    { VEC("[0.3e+]"), "[ n\"0.3e+!NUMBER@6" },
    { VEC("[0.3e]"), "[ n\"0.3e!NUMBER@5" },
    { VEC("[0.e1]"), "[ n\"0.!NUMBER@3" },
    { VEC("[0E+]"), "[ n\"0E+!NUMBER@4" },
    { VEC("[0E]"), "[ n\"0E!NUMBER@3" },
    { VEC("[1.0e+]"), "[ n\"1.0e+!NUMBER@6" },
    { VEC("[1.0e-]"), "[ n\"1.0e-!NUMBER@6" },
    { VEC("[1.0e]"), "[ n\"1.0e!NUMBER@5" },
    { VEC("[1 000.0]"), "[ n\"1\" !SYNTAX@3" },
    { VEC("[1eE2]"), "[ n\"1e!NUMBER@3" },
    { VEC("[2.e+3]"), "[ n\"2.!NUMBER@3" },
    { VEC("[2.e-3]"), "[ n\"2.!NUMBER@3" },
    { VEC("[2.e3]"), "[ n\"2.!NUMBER@3" },
    { VEC("[9.e+]"), "[ n\"9.!NUMBER@3" },
    { VEC("[Inf]"), "[ !SYNTAX@1" },
    { VEC("[NaN]"), "[ !SYNTAX@1" },
    { VEC("[\xEF\xBC\x91]"), "[ !SYNTAX@1" },
    { VEC("[1+2]"), "[ n\"1\" !SYNTAX@2" },
    { VEC("[0x1]"), "[ n\"0\" !SYNTAX@2" },
    { VEC("[0x42]"), "[ n\"0\" !SYNTAX@2" },
    { VEC("[Infinity]"), "[ !SYNTAX@1" },
    { VEC("[0e+-1]"), "[ n\"0e+!NUMBER@4" },
    { VEC("[-123.123foo]"), "[ n\"-123.123\" !SYNTAX@9" },
    { VEC("[123\xE5]"), "[ n\"123\" !SYNTAX@4" },
    { VEC("[1e1\xE5]"), "[ n\"1e1\" !SYNTAX@4" },
    { VEC("[-Infinity]"), "[ n\"-!NUMBER@2" },
    { VEC("[-foo]"), "[ n\"-!NUMBER@2" },
    { VEC("[- 1]"), "[ n\"-!NUMBER@2" },
    { VEC("[-012]"), "[ n\"-0!NUMBER@3" },
    { VEC("[-.123]"), "[ n\"-!NUMBER@2" },
    { VEC("[-1x]"), "[ n\"-1\" !SYNTAX@3" },
    { VEC("[1ea]"), "[ n\"1e!NUMBER@3" },
    { VEC("[1e\xE5]"), "[ n\"1e!NUMBER@3" },
    { VEC("[1.]"), "[ n\"1.!NUMBER@3" },
    { VEC("[.123]"), "[ !SYNTAX@1" },
    { VEC("[1.2a-3]"), "[ n\"1.2\" !SYNTAX@4" },
    { VEC("[1.8011670033376514H-308]"), "[ n\"1.8011670033376514\" !SYNTAX@19" },
    { VEC("[012]"), "[ n\"0!NUMBER@2" },
    { VEC("{,\"}"), "{ !SYNTAX@1" },
    { VEC("[\"x\", truth]"), "[ s\"x\" !SYNTAX@9" },
    { VEC("{[: \"x\"}\n"), "{ !SYNTAX@1" },
    { VEC("{\"x\", null}"), "{ k\"x\" !SYNTAX@4" },
    { VEC("{\"x\"::\"b\"}"), "{ k\"x\" !SYNTAX@5" },
    { VEC("{\xF0\x9F\x87\xA8}"), "{ !SYNTAX@1" },
    { VEC("{\"a\":\"a\" 123}"), "{ k\"a\" s\"a\" !SYNTAX@9" },
    { VEC("{key: 'value'}"), "{ !SYNTAX@1" },
    { VEC("{\"\xB9\":\"0\",}"), "{ !UTF8@2" },
    { VEC("{\"a\" b}"), "{ k\"a\" !SYNTAX@5" },
    { VEC("{:\"b\"}"), "{ !SYNTAX@1" },
    { VEC("{\"a\" \"b\"}"), "{ k\"a\" !SYNTAX@5" },
    { VEC("{\"a\":"), "{ k\"a\" !TRUNCATED@5" },
    { VEC("{\"a\""), "{ k\"a\" !TRUNCATED@4" },
    { VEC("{1:1}"), "{ !SYNTAX@1" },
    { VEC("{9999E9999:1}"), "{ !SYNTAX@1" },
    { VEC("{null:null,null:null}"), "{ !SYNTAX@1" },
    { VEC("{\"id\":0,,,,,}"), "{ k\"id\" n\"0\" !SYNTAX@8" },
    { VEC("{'a':0}"), "{ !SYNTAX@1" },
    { VEC("{\"id\":0,}"), "{ k\"id\" n\"0\" !SYNTAX@8" },
    { VEC("{\"a\":\"b\"}/**/"), "{ k\"a\" s\"b\" } !SYNTAX@9" },
    { VEC("{\"a\":\"b\"}/"), "{ k\"a\" s\"b\" } !SYNTAX@9" },
    { VEC("{\"a\":\"b\",,\"c\":\"d\"}"), "{ k\"a\" s\"b\" !SYNTAX@9" },
    { VEC("{a: \"b\"}"), "{ !SYNTAX@1" },
    { VEC("{\"a\":\"a"), "{ k\"a\" s\"a!TRUNCATED@7" },
    { VEC("{ \"foo\" : \"bar\", \"a\" }"), "{ k\"foo\" s\"bar\" k\"a\" !SYNTAX@21" },
    { VEC("{\"a\":\"b\"}#"), "{ k\"a\" s\"b\" } !SYNTAX@9" },
    { VEC(" "), "!TRUNCATED@1" },
    { VEC(""), "!TRUNCATED@0" },
    { VEC("[\"\\uD800\\\"]"), "[ s\"\\xEF\\xBF\\xBD\"]!TRUNCATED@11" },
    { VEC("[\"\\uD800\\u\"]"), "[ !ESCAPE@10" },
    { VEC("[\"\\uD800\\u1\"]"), "[ !ESCAPE@11" },
    { VEC("[\"\\uD800\\u1x\"]"), "[ !ESCAPE@11" },
    { VEC("[\xC3\xA9]"), "[ !SYNTAX@1" },
    { VEC("[\"\\\0\"]"), "[ !ESCAPE@3" },
    { VEC("[\"\\x00\"]"), "[ !ESCAPE@3" },
    { VEC("[\"\\\\\\\"]"), "[ s\"\\x5C\"]!TRUNCATED@7" },
    { VEC("[\"\\\t\"]"), "[ !ESCAPE@3" },
    { VEC("[\"\\\xF0\x9F\x8C\x80\"]"), "[ !ESCAPE@3" },
    { VEC("[\"\\\"]"), "[ s\"\"]!TRUNCATED@5" },
    { VEC("[\"\\u00A\"]"), "[ !ESCAPE@7" },
    { VEC("[\"\\uD834\\uDd\"]"), "[ !ESCAPE@12" },
    { VEC("[\"\\uD800\\uD800\\x\"]"), "[ s\"\\xEF\\xBF\\xBD!ESCAPE@15" },
    { VEC("[\"\\u\xE5\"]"), "[ !ESCAPE@4" },
    { VEC("[\"\\a\"]"), "[ !ESCAPE@3" },
    { VEC("[\"\\uqqqq\"]"), "[ !ESCAPE@4" },
    { VEC("[\"\\\xE5\"]"), "[ !ESCAPE@3" },
    { VEC("[\\u0020\"asd\"]"), "[ !SYNTAX@1" },
    { VEC("[\\n]"), "[ !SYNTAX@1" },
    { VEC("\""), "!TRUNCATED@1" },
    { VEC("['single quote']"), "[ !SYNTAX@1" },
    { VEC("abc"), "!SYNTAX@0" },
    { VEC("[\"\\"), "[ !TRUNCATED@3" },
    { VEC("[\"a\0a\"]"), "[ s\"a!CONTROL@3" },
    { VEC("[\"new\nline\"]"), "[ s\"new!CONTROL@5" },
    { VEC("[\"\t\"]"), "[ !CONTROL@2" },
    { VEC("\"\\UA66D\""), "!ESCAPE@2" },
    { VEC("\"\"x"), "s\"\" !SYNTAX@2" },
    { VEC("<.>"), "!SYNTAX@0" },
    { VEC("[<null>]"), "[ !SYNTAX@1" },
    { VEC("[1]x"), "[ n\"1\" ] !SYNTAX@3" },
    { VEC("[1]]"), "[ n\"1\" ] !SYNTAX@3" },
    { VEC("[\"asd]"), "[ s\"asd]!TRUNCATED@6" },
    { VEC("a\xC3\xA5"), "!SYNTAX@0" },
    { VEC("[True]"), "[ !SYNTAX@1" },
    { VEC("1]"), "n\"1\" !SYNTAX@1" },
    { VEC("{\"x\": true,"), "{ k\"x\" t !TRUNCATED@11" },
    { VEC("[][]"), "[ ] !SYNTAX@2" },
    { VEC("]"), "!SYNTAX@0" },
    { VEC("\xEF\xBB\xBF{}"), "!SYNTAX@0" },
    { VEC("\xFF\xFE[\0"), "!SYNTAX@0" },
    { VEC("\xE5"), "!SYNTAX@0" },
    { VEC("["), "[ !TRUNCATED@1" },
    { VEC("[\0\"\"]"), "[ !SYNTAX@1" },
    { VEC("2@"), "n\"2\" !SYNTAX@1" },
    { VEC("{}}"), "{ } !SYNTAX@2" },
    { VEC("{\"\":"), "{ k\"\" !TRUNCATED@4" },
    { VEC("{\"a\":/*comment*/\"b\"}"), "{ k\"a\" !SYNTAX@5" },
    { VEC("{\"a\": true} \"x\""), "{ k\"a\" t } !SYNTAX@12" },
    { VEC("['"), "[ !SYNTAX@1" },
    { VEC("[,"), "[ !SYNTAX@1" },
    { VEC("[{"), "[ { !TRUNCATED@2" },
    { VEC("[\"a"), "[ s\"a!TRUNCATED@3" },
    { VEC("[\"a\""), "[ s\"a\" !TRUNCATED@4" },
    { VEC("{"), "{ !TRUNCATED@1" },
    { VEC("{]"), "{ !SYNTAX@1" },
    { VEC("{,"), "{ !SYNTAX@1" },
    { VEC("{["), "{ !SYNTAX@1" },
    { VEC("{\"a"), "{ k\"a!TRUNCATED@3" },
    { VEC("{'a'"), "{ !SYNTAX@1" },
    { VEC("[\"\\{[\"\\{"), "[ !ESCAPE@3" },
    { VEC("\xE9"), "!SYNTAX@0" },
    { VEC("*"), "!SYNTAX@0" },
    { VEC("{\"a\":\"b\"}#{}"), "{ k\"a\" s\"b\" } !SYNTAX@9" },
    { VEC("[1"), "[ n\"1!TRUNCATED@2" },
    { VEC("[ false, nul"), "[ f !TRUNCATED@12" },
    { VEC("[ true, fals"), "[ t !TRUNCATED@12" },
    { VEC("[ false, tru"), "[ f !TRUNCATED@12" },
    { VEC("[\v]"), "[ !SYNTAX@1" },
    { VEC("[\f]"), "[ !SYNTAX@1" },
    { VEC("[\xE2\x81\xA0]"), "[ !SYNTAX@1" },
    { VEC("\xC2\xA0[]"), "!SYNTAX@0" },
    { VEC("[\"\xC0\xAF\"]"), "[ !UTF8@2" },
    { VEC("[\"\xE0\x80\xAF\"]"), "[ !UTF8@3" },
    { VEC("[\"\xED\xA0\x80\"]"), "[ !UTF8@3" },
    { VEC("[\"\xF4\x90\x80\x80\"]"), "[ !UTF8@3" },
    { VEC("[\"\xF5\x80\x80\x80\"]"), "[ !UTF8@2" },
    { VEC("[\"\xFC\x83\xBF\xBF\xBF\xBF\"]"), "[ !UTF8@2" },
    { VEC("[\"\x80\"]"), "[ !UTF8@2" },
    { VEC("[\"ok\xE2\x82\"]"), "[ s\"ok!UTF8@6" },
    { VEC("[\"ok\xE2\x28\xA1\"]"), "[ s\"ok!UTF8@5" },
    { VEC("[\"\xFF\"]"), "[ !UTF8@2" },
    { VEC("[\"\xC3"), "[ !TRUNCATED@3" },
    { VEC("-"), "n\"-!TRUNCATED@1" },
    { VEC("1e"), "n\"1e!TRUNCATED@2" },
    { VEC("0."), "n\"0.!TRUNCATED@2" },
    { VEC("1 2"), "n\"1\" !SYNTAX@2" },
    { VEC("tru"), "!TRUNCATED@3" },
    { VEC("nullx"), "z !SYNTAX@4" },
    { VEC("{\"a\":1]"), "{ k\"a\" n\"1\" !SYNTAX@6" },
    { VEC("[1}"), "[ n\"1\" !SYNTAX@2" },
    { VEC("[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\n\x1F\"]"), "[ s\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\x0A!CONTROL@41" },
    { VEC("\"\\ud800\\q"), "!ESCAPE@8" },
    { VEC("\"x\\ud800\\ud800\\q"), "s\"x\\xEF\\xBF\\xBD!ESCAPE@15" },
    { VEC("{\"a\":1 \"b\":2}"), "{ k\"a\" n\"1\" !SYNTAX@7" },
    { VEC("[01]"), "[ n\"0!NUMBER@2" },
    { VEC("[-00]"), "[ n\"-0!NUMBER@3" },
    { VEC("{\"k\\q\":1}"), "{ k\"k!ESCAPE@4" },
};

static void test_good(void **unused)
{
    (void)unused;
    reader r = { .known = false };
    r.max_depth = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        vec_check(&reader_codec, &r, good[i].in, good[i].n, good[i].log);
}

static void test_bad(void **unused)
{
    (void)unused;
    reader r = { .known = false };
    r.max_depth = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        vec_check(&reader_codec, &r, bad[i].in, bad[i].n, bad[i].log);
}

/* The same behind and inside long texts, so that it meets every way through
   the fast paths and not only the ends of inputs. */
static void test_bad_inside(void **unused)
{
    (void)unused;
    reader r = { .known = false };
    r.max_depth = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char in[1200];
        vec_log whole = { NULL, 0, 0 }, bytes = { NULL, 0, 0 };
        vec_guard g = vec_guard_new(sizeof in);
        size_t n = (size_t)sprintf(in, "[\"%*s\", ", (int)(i % 41), ""), cuts[1200];
        memcpy(in + n, bad[i].in, bad[i].n);
        n += bad[i].n;
        memset(in + n, 'x', 90);
        n += 90;
        for (size_t k = 0; k < n; k++)
            cuts[k] = k;
        vec_run(&reader_codec, &r, &whole, &g, in, n, NULL, 0, 0);
        vec_run(&reader_codec, &r, &bytes, &g, in, n, cuts, n, 0);
        vec_equal(&whole, bytes.p, in, n, "inside", i);
        assert_non_null(strchr(whole.p, '!'));
        vec_log_free(&whole);
        vec_log_free(&bytes);
        vec_guard_free(&g);
    }
}

/* Every beginning of some longer documents, cut off right before a trap: the
   fast paths must stop in time, and see what the slow ones see. */
static void test_beginnings(void **unused)
{
    (void)unused;
    static const struct {
        const char *in;
        size_t n;
    } documents[] = {
        { VEC("{\"type\":\"stdout\",\"data\":\"one line of text\\nand \\\"another\\\" one\\n\\u001b[32m\xE2\x9C\x93 caf\xC3\xA9 \xF0\x9F\x9A\x80\\u001b[0m\\n"
              "\\ud83d\\ude80 and a lone \\ud83d, \\ud83d\\n, \\ud83d\\u20ac, \\ude80 and\\n0123456789ab\\ud83d\\ude80, \\ufffd or \xEF\xBF\xBD at the end\\t\\\\\",\"offset\":12345}") },
        { VEC("{\"a\":\"\",\"bb\":\"b\",\"seventeen_letters\":\"sixteen letters.\",\"a_key_of_more_than_thirty_two_letters\":\"and a value of thirty-three letters\","
              "\"null\":null,\"true\":true,\"false\":false,\"n\":0,\"m\":12,\"long\":12345678901234567890,\"minus\":-5,\"f\":0.5e-3,\"o\":{},\"l\":[],"
              "\"lo\":[{\"x\":1},{\"y\":\"z\"},[null,true,false,\"s\",\"t\",1,2]],\"end\":{\"id\":\"0123456789abcdef0123456789abcdef\"}}") },
        { VEC("[\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBD\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\",\"\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n"
              "\\n\\n\\n\\nx\\n0123456789abcde\\n0123456789abcd\\n0123456789abc\xEF\xBF\xBD\",{\"\\u006b\":\"\\u0000\\u07ff\\u0800\\uffff\\udbff\\udfff\"}]") },
        { VEC(" { \"spaces\" : \"between\" , \"all\" : [ 1 , 2 , { } , [ ] ] , \"of\" : null , \"the\" : true , \"tokens\" : 12 } ") },
        { VEC("{\"zero\":00,\"x\":\"0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"zero\":01,\"x\":\"0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"zero\":1.,\"x\":\"0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"word\":nulx,\"x\":\"0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"word\":truE,\"x\":\"0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"word\":fals,\"x\":\"0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"word\":null \"x\":\"0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"text\":\"0123456789abcdef\\u12g4 0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"text\":\"0123456789abcdef\\ud800\\u12g4 0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"text\":\"0123456789abcdef\\ud800\\x 0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"text\":\"\\q123456789abcdef0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"text\":\"\x01" "123456789abcdef0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"text\":\"\xE2\x82 0123456789abcdef0123456789abcdef0123456789abcdef\"}") },
        { VEC("{\"text\\q123456789abcdef0123456789abcdef0123456789abcdef\":1}") },
    };
    reader r = { .known = false };
    vec_guard g = vec_guard_new(1024);
    size_t cuts[1024];
    r.max_depth = 0;
    for (size_t i = 0; i < 1024; i++)
        cuts[i] = i;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        for (size_t from = 0; from < 1 + 20 * (documents[i].n < 100); from++)
            for (size_t n = from; n <= documents[i].n; n++) {
                /* spaces move it, so that the same byte is at other places */
                char in[1024];
                vec_log whole = { NULL, 0, 0 }, bytes = { NULL, 0, 0 };
                memset(in, ' ', from);
                memcpy(in + from, documents[i].in, n - from);
                vec_run(&reader_codec, &r, &whole, &g, in, n, NULL, 0, 0);
                vec_run(&reader_codec, &r, &bytes, &g, in, n, cuts, n, 0);
                vec_equal(&whole, bytes.p, in, n, "beginning", n);
                vec_log_free(&whole);
                vec_log_free(&bytes);
            }
    for (size_t i = 0; i < 4; i++) {
        vec_log bytes = { NULL, 0, 0 };
        vec_run(&reader_codec, &r, &bytes, &g, documents[i].in, documents[i].n, cuts, documents[i].n, 0);
        assert_non_null(strstr(bytes.p, "."));
        assert_int_equal(bytes.p[bytes.n - 1], '.');
        vec_check(&reader_codec, &r, documents[i].in, documents[i].n, bytes.p);
        vec_log_free(&bytes);
    }
    vec_guard_free(&g);
}

/* Whatever is taken by known bytes, the tokens are the same. */
static void test_known(void **unused)
{
    (void)unused;
    static const char *const heads[] = { "{\"type\":\"stdout\",\"data\":\"a\\nb", "{\"type\":\"stdout\",\"data\":\"" , "{\"data\":\"plain text of more than sixteen",
        "{\"type\":\"stdout\",\"data\":\"\xC3\xA9\\ud83d\\ude80 and \\ud800", "{\"type\":\"stderr\",\"data\":\"x", "{\"type\": \"stdout\",\"data\":\"x",
        "{ \"data\":\"x", "{\"type\":\"stdout\",\"data\": \"x", "{\"type\":\"stdout\",\"data\":{\"in\":\"x", "[{\"data\":\"x", "{\"type\":\"stdout\",\"data\":\"\xFF",
        "{\"type\":\"stdout\",\"data\":\"\x01", "{\"type\":\"stdout\",\"data\":\"\\q" };
    static const char *const tails[] = { "\",\"offset\":0}", "\",\"offset\":7}", "\",\"offset\":12345678}", "\",\"offset\":123456789}", "\",\"offset\":9876543210987654}",
        "\",\"offset\":98765432109876543}", "\",\"offset\":18446744073709551615}", "\",\"offset\":00}", "\",\"offset\":012345678}", "\",\"offset\":-1}", "\",\"offset\":1.5}",
        "\",\"offset\":1e3}", "\",\"offset\":}", "\",\"offset\":1:}", "\",\"offset\":1/345678}", "\",\"offset\":\"1\"}", "\",\"offset\":1} ", "\",\"offset\":1}}",
        "\",\"offset\":1,\"x\":2}", "\",\"offset\" :1}", "\", \"offset\":1}", "\",\"offset\":1]", "\",\"offsets\":1}", "\",\"offset\":1", "\"}", "\",}", "" };
    vec_guard g = vec_guard_new(256);
    for (size_t h = 0; h < sizeof heads / sizeof *heads; h++)
        for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
            char in[256];
            reader r = { .known = false };
            vec_log plain = { NULL, 0, 0 };
            size_t n = (size_t)snprintf(in, sizeof in, "%s%s", heads[h], tails[i]);
            r.max_depth = 0;
            vec_run(&reader_codec, &r, &plain, &g, in, n, NULL, 0, 0);
            r.known = true;
            vec_check(&reader_codec, &r, in, n, plain.p);
            vec_log_free(&plain);
        }
    vec_guard_free(&g);
}

static void test_depth(void **unused)
{
    (void)unused;
    static const unsigned limits[][2] = { { 0, 64 }, { 64, 64 }, { 65, 64 }, { 1000, 64 }, { 1, 1 }, { 7, 7 }, { 63, 63 } };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        reader r = { .known = false };
        char in[400], log[800];
        unsigned max = limits[i][1];
        size_t n = 0, l = 0;
        r.max_depth = limits[i][0];
        /* as deep as may be: objects and arrays in turn */
        for (unsigned d = 0; d < max; d++) {
            n += (size_t)sprintf(in + n, d % 3 == 1 && d + 1 < max ? "{\"\":" : "[");
            l += (size_t)sprintf(log + l, d % 3 == 1 && d + 1 < max ? "{ k\"\" " : "[ ");
        }
        size_t bottom = n, log_bottom = l;
        for (unsigned d = max; d--;) {
            n += (size_t)sprintf(in + n, d % 3 == 1 && d + 1 < max ? "}" : "]");
            l += (size_t)sprintf(log + l, d % 3 == 1 && d + 1 < max ? "} " : "] ");
        }
        strcpy(log + l, ".");
        vec_check(&reader_codec, &r, in, n, log);
        for (int c = 0; c < 2; c++) {
            in[bottom] = "{["[c];
            sprintf(log + log_bottom, "!DEPTH@%u", (unsigned)bottom);
            vec_check(&reader_codec, &r, in, n, log);
        }
    }
}

/* ---- text ---- */

/* One string behind `pad` letters: what the reader makes of body, as one piece. */
static void one_piece(vec_guard *g, size_t pad, const char *body, size_t n, const char *expect, size_t expect_n, size_t tail)
{
    char in[512];
    in[0] = '"';
    memset(in + 1, 'p', pad);
    memcpy(in + 1 + pad, body, n);
    memset(in + 1 + pad + n, 'q', tail);
    in[1 + pad + n + tail] = '"';
    size_t total = n + pad + tail + 2;
    char *p = vec_guard_at_end(g, in, total), *begin = p, *end = p + total;
    sbx_json j;
    sbx_json_tok t;
    sbx_json_init(&j, 0);
    assert_int_equal(sbx_json_next(&j, &p, end, &t), SBX_JSON_STRING);
    assert_false(t.more);
    assert_ptr_equal(t.p, begin + 1);
    assert_int_equal(t.n, pad + expect_n + tail);
    assert_memory_equal(t.p + pad, expect, expect_n);
    for (size_t i = 0; i < pad; i++)
        assert_int_equal(t.p[i], 'p');
    for (size_t i = 0; i < tail; i++)
        assert_int_equal(t.p[pad + expect_n + i], 'q');
    assert_int_equal(t.replaced, has_fffd(expect, expect_n));
    assert_ptr_equal(p, end);
    assert_int_equal(sbx_json_next(&j, &p, end, &t), SBX_JSON_DONE);
}

static void test_every_escape(void **unused)
{
    (void)unused;
    vec_guard g = vec_guard_new(512);
    for (uint32_t u = 0; u < 0x10000; u++) {
        char in[16], out[8];
        size_t n = (size_t)sprintf(in, u & 1 ? "\\u%04x" : "\\u%04X", (unsigned)u);
        one_piece(&g, u % 67, in, n, out, vec_utf8(out, u >= 0xD800 && u < 0xE000 ? 0xFFFD : u), u / 67 % 61);
    }
    for (uint32_t cp = 0x10000; cp < 0x110000; cp += 37) {
        char in[16], out[8];
        size_t n = (size_t)sprintf(in, "\\u%04x\\u%04X", (unsigned)(0xD7C0 + (cp >> 10)), (unsigned)(0xDC00 | (cp & 0x3FF)));
        one_piece(&g, cp % 67, in, n, out, vec_utf8(out, cp), cp / 67 % 61);
    }
    vec_guard_free(&g);
}

static void test_every_character(void **unused)
{
    (void)unused;
    vec_guard g = vec_guard_new(512);
    for (uint32_t cp = 0x20; cp < 0x110000; cp += cp < 0x900 ? 1 : cp > 0xFF00 && cp < 0x10010 ? 1 : 29) {
        char text[8], twice[24];
        if (cp == '"' || cp == '\\' || (cp >= 0xD800 && cp < 0xE000))
            continue;
        size_t n = vec_utf8(text, cp);
        memcpy(twice, text, n);
        memcpy(twice + n, text, n);
        memcpy(twice + 2 * n, text, n);
        one_piece(&g, cp % 67, twice, 3 * n, twice, 3 * n, cp / 67 % 61);
        /* behind an escape, so that it must move */
        char in[32], out[32];
        in[0] = '\\';
        in[1] = 'n';
        memcpy(in + 2, twice, 3 * n);
        out[0] = '\n';
        memcpy(out + 1, twice, 3 * n);
        one_piece(&g, cp % 67, in, 3 * n + 2, out, 3 * n + 1, cp / 67 % 61);
    }
    vec_guard_free(&g);
}

/* Every byte at every place of a block: an end, an escape, an error or text. */
static void test_every_byte(void **unused)
{
    (void)unused;
    vec_guard g = vec_guard_new(256);
    for (size_t pad = 0; pad < 72; pad++)
        for (unsigned c = 0; c < 256; c++)
            for (size_t moved = 0; moved < 2; moved++) {
                char in[200];
                size_t n = moved ? (size_t)sprintf(in, "[\"\\t") : (size_t)sprintf(in, "[\"");
                memset(in + n, 'p', pad);
                n += pad;
                size_t at = n;
                in[n++] = (char)c;
                memset(in + n, 'q', 80);
                n += 80;
                char *p = vec_guard_at_end(&g, in, n), *end = p + n;
                sbx_json j;
                sbx_json_tok t;
                sbx_json_init(&j, 0);
                assert_int_equal(sbx_json_next(&j, &p, end, &t), SBX_JSON_ARRAY);
                sbx_json_kind kind = sbx_json_next(&j, &p, end, &t);
                if (c == '"') {
                    assert_int_equal(kind, SBX_JSON_STRING);
                    assert_false(t.more);
                    assert_int_equal(t.n, pad + moved);
                    assert_ptr_equal(p, end - 80);
                } else if (c < 0x20 || c >= 0x80 || c == '\\') {
                    /* none of them is followed by what it needs */
                    if (pad + moved) {
                        assert_int_equal(kind, SBX_JSON_STRING);
                        assert_true(t.more);
                        assert_int_equal(t.n, pad + moved);
                        kind = sbx_json_next(&j, &p, end, &t);
                    }
                    assert_int_equal(kind, SBX_JSON_ERROR);
                    assert_int_equal(j.error, c < 0x20 ? SBX_JSON_ERR_CONTROL : c == '\\' ? SBX_JSON_ERR_ESCAPE : SBX_JSON_ERR_UTF8);
                    assert_int_equal(j.offset, at + (c == '\\' || (c >= 0xC2 && c <= 0xF4)));
                } else {
                    assert_int_equal(kind, SBX_JSON_STRING);
                    assert_true(t.more);
                    assert_int_equal(t.n, pad + moved + 81);
                    assert_int_equal(t.p[pad + moved], c);
                    assert_ptr_equal(p, end);
                }
            }
    vec_guard_free(&g);
}

/* Texts longer than any input, and a character in the hands of the reader. */
static void test_streaming(void **unused)
{
    (void)unused;
    sbx_json j;
    sbx_json_tok t;
    size_t total = 0;
    char piece[] = "0123456789\xF0\x9F\x98";
    char rest[] = "\x80";
    char *p;
    sbx_json_init(&j, 0);
    char open[] = "{\"";
    p = open;
    assert_int_equal(sbx_json_next(&j, &p, open + 2, &t), SBX_JSON_OBJECT);
    assert_int_equal(sbx_json_next(&j, &p, open + 2, &t), SBX_JSON_MORE);
    for (int i = 0; i < 1000; i++) {
        p = piece;
        assert_int_equal(sbx_json_next(&j, &p, piece + 13, &t), SBX_JSON_KEY);
        assert_true(t.more && t.n == 10);
        total += t.n;
        assert_int_equal(sbx_json_next(&j, &p, piece + 13, &t), SBX_JSON_MORE);
        p = rest;
        assert_int_equal(sbx_json_next(&j, &p, rest + 1, &t), SBX_JSON_KEY);
        assert_true(t.more && t.n == 4 && t.p == j.held);
        assert_memory_equal(t.p, "\xF0\x9F\x98\x80", 4);
        total += t.n;
        assert_int_equal(sbx_json_next(&j, &p, rest + 1, &t), SBX_JSON_MORE);
    }
    char close[] = "\":1}";
    p = close;
    assert_int_equal(sbx_json_next(&j, &p, close + 4, &t), SBX_JSON_KEY);
    assert_true(!t.more && t.n == 0);
    assert_int_equal(sbx_json_next(&j, &p, close + 4, &t), SBX_JSON_NUMBER);
    assert_true(!t.more && t.n == 1);
    assert_int_equal(sbx_json_next(&j, &p, close + 4, &t), SBX_JSON_OBJECT_END);
    assert_int_equal(sbx_json_end(&j, &t), SBX_JSON_DONE);
    assert_int_equal(j.offset, 2 + 14 * 1000 + 4);
    assert_int_equal(total, 14000);
    /* a number of any length */
    sbx_json_init(&j, 0);
    total = 0;
    for (int i = 0; i < 1000; i++) {
        char digits[] = "1234567890";
        p = digits;
        assert_int_equal(sbx_json_next(&j, &p, digits + 10, &t), SBX_JSON_NUMBER);
        assert_true(t.more);
        total += t.n;
    }
    assert_int_equal(sbx_json_end(&j, &t), SBX_JSON_NUMBER);
    assert_true(!t.more && t.n == 0);
    assert_int_equal(sbx_json_end(&j, &t), SBX_JSON_DONE);
    assert_int_equal(total, 10000);
}

static void test_size(void **unused)
{
    (void)unused;
    assert_true(sizeof(sbx_json) <= 48);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_bad_inside),
        cmocka_unit_test(test_beginnings),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_every_escape),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_streaming),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
