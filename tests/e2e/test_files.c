/* Files: every call and option, of every size and name. */
#include "e2e.h"

static char buffer[65536];

static sbx_read_result get(const char *path, sbx_read_opts o)
{
    sbx_read_result r;

    memset(&r, 0xA5, sizeof r);
    if (!o.out.p && !o.alloc) {
        o.out.p = buffer;
        o.out.n = sizeof buffer - 1;
    }
    OK(sbx_read(c, &box, sbx_s(path), &o, &r));
    if (!o.alloc && r.n < sizeof buffer)
        buffer[r.n] = 0;
    return r;
}

static void put(const char *path, const char *text)
{
    OK(sbx_write(c, &box, sbx_s(path), sbx_s(text), NULL));
}

static void whole(void **state)
{
    sbx_read_result r;
    sbx_file_stat st;

    (void)state;
    put("a.txt", "Grüße\n");
    r = get("a.txt", (sbx_read_opts){ 0 });
    assert_string_equal(buffer, "Grüße\n");
    assert_int_equal(r.n, 8);
    assert_int_equal(r.total, 8);
    assert_int_equal(r.size, 8);
    assert_int_equal(r.offset, 0);
    assert_false(r.cut || r.not_modified);
    assert_null(r.p);
    assert_int_equal(r.stat.size, 8);
    assert_string_equal(r.stat.content_type, "text/plain; charset=utf-8");
    assert_true(r.stat.etag[0] == '"' && r.stat.etag[strlen(r.stat.etag) - 1] == '"');
    assert_true(r.stat.modified_ms > INT64_C(1500000000000));
    OK(sbx_stat(c, &box, sbx_s("a.txt"), NULL, &st));
    assert_int_equal(st.size, 8);
    assert_string_equal(st.etag, r.stat.etag);
    assert_string_equal(st.content_type, r.stat.content_type);
    assert_int_equal(st.modified_ms, r.stat.modified_ms);
    OK(sbx_stat(c, &box, sbx_s("a.txt"), NULL, NULL));
    assert_string_equal(e2e_sh("cat $HOME/a.txt"), "Grüße\n");

    /* Replaced, not appended; shorter than before. */
    put("a.txt", "x");
    r = get("a.txt", (sbx_read_opts){ 0 });
    assert_string_equal(buffer, "x");
    assert_int_equal(r.size, 1);

    put("empty", "");
    r = get("empty", (sbx_read_opts){ 0 });
    assert_int_equal(r.n, 0);
    assert_int_equal(r.total, 0);
    assert_int_equal(r.size, 0);
    r = get("empty", (sbx_read_opts){ .alloc = true });
    assert_int_equal(r.n, 0);
    sbx_free(c, r.p);
    OK(sbx_stat(c, &box, sbx_s("empty"), NULL, &st));
    assert_int_equal(st.size, 0);
    /* Folders are made on the way. */
    put("/tmp/new/deep/file", "d");
    get("/tmp/new/deep/file", (sbx_read_opts){ 0 });
    assert_string_equal(buffer, "d");
}

static void binary(void **state)
{
    enum { SIZE = 16 << 20 };
    char *big = malloc(SIZE);
    sbx_read_result r;
    e2e_run s;
    sbx_usage before, after;

    (void)state;
    e2e_noise(big, SIZE, 1);
    sbx_get_usage(c, &before);
    OK(sbx_write(c, &box, sbx_s("/tmp/big"), sbx_sn(big, SIZE), NULL));
    assert_string_equal(e2e_sh("stat -c %s /tmp/big"), "16777216\n");
    r = get("/tmp/big", (sbx_read_opts){ .alloc = true });
    assert_int_equal(r.n, SIZE);
    assert_memory_equal(r.p, big, SIZE);
    assert_int_equal(r.p[r.n], 0);
    assert_string_equal(r.stat.content_type, "application/octet-stream");
    sbx_free(c, r.p);
    s = e2e_collect(c, sbx_read(c, &box, sbx_s("/tmp/big"), &(sbx_read_opts){ .stream = true }, &r));
    assert_int_equal(s.code, SBX_OK);
    e2e_same(&s.out, big, SIZE, __FILE__, __LINE__);
    assert_int_equal(r.total, SIZE);
    assert_int_equal(r.n, 0);
    assert_false(r.cut);
    e2e_free(&s);
    sbx_get_usage(c, &after);
    assert_int_equal(after.memory, before.memory);
    assert_int_equal(after.retries, before.retries);
    /* Every byte value in a small one. */
    OK(sbx_write(c, &box, sbx_s("/tmp/all bytes"), sbx_sn(big, 4099), NULL));
    r = get("/tmp/all bytes", (sbx_read_opts){ 0 });
    assert_int_equal(r.n, 4099);
    assert_memory_equal(buffer, big, 4099);
    free(big);
}

static void ranges(void **state)
{
    static const struct {
        int64_t offset, length;
        const char *want;
    } cases[] = {
        { 0, 0, "0123456789" }, { 0, 3, "012" }, { 4, 3, "456" }, { 9, 1, "9" }, { 8, 100, "89" }, { 7, 0, "789" },
        { -3, 0, "789" },       { -10, 0, "0123456789" }, { -100, 0, "0123456789" }, { 0, 10, "0123456789" }, { 0, INT64_MAX, "0123456789" },
    };
    sbx_read_result r;
    sbx_error e;

    (void)state;
    put("digits", "0123456789");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        r = get("digits", (sbx_read_opts){ .offset = cases[i].offset, .length = cases[i].length });
        assert_string_equal(buffer, cases[i].want);
        assert_int_equal(r.size, 10);
        assert_int_equal(r.stat.size, 10);
        assert_int_equal(r.offset, cases[i].offset >= 0 ? cases[i].offset : cases[i].offset < -10 ? 0 : 10 + cases[i].offset);
        assert_int_equal(r.total, r.n);
    }
    e = FAILS(sbx_read(c, &box, sbx_s("digits"), &(sbx_read_opts){ .offset = 10, .out = { buffer, 9 } }, &r), SBX_ERR_RANGE);
    assert_int_equal(e.status, 416);
    assert_int_equal(e.resource, SBX_RESOURCE_FILE);
    assert_string_equal(FAILS(sbx_read(c, &box, sbx_s("digits"), &(sbx_read_opts){ .offset = -1, .length = 1, .out = { buffer, 9 } }, &r), SBX_ERR_ARGUMENT).field, "length");
    assert_string_equal(FAILS(sbx_read(c, &box, sbx_s("digits"), &(sbx_read_opts){ 0 }, &r), SBX_ERR_NO_BUFFER).field, "out");

    /* A buffer that is too short: the rest is counted. */
    memset(buffer, '#', 16);
    OK(sbx_read(c, &box, sbx_s("digits"), &(sbx_read_opts){ .offset = 2, .out = { buffer, 5 } }, &r));
    assert_memory_equal(buffer, "23456#", 6);
    assert_int_equal(r.n, 5);
    assert_int_equal(r.total, 8);
    assert_true(r.cut);
    r = get("digits", (sbx_read_opts){ .alloc = true, .max_bytes = 4 });
    assert_string_equal(r.p, "0123");
    assert_true(r.cut);
    assert_int_equal(r.total, 10);
    sbx_free(c, r.p);
    /* As events they say where they belong. */
    {
        sbx_op op = sbx_read(c, &box, sbx_s("digits"), &(sbx_read_opts){ .stream = true, .offset = -4 }, &r);
        sbx_event ev;

        assert_true(sbx_next_of(c, &op, &ev));
        assert_int_equal(ev.kind, SBX_EV_DATA);
        assert_int_equal(ev.offset, 6);
        assert_int_equal(ev.data.n, 4);
        assert_memory_equal(ev.data.p, "6789", 4);
        assert_true(sbx_next_of(c, &op, &ev));
        assert_int_equal(ev.kind, SBX_EV_END);
        assert_int_equal(r.total, 4);
    }
}

static void validators(void **state)
{
    sbx_read_result r, again;
    sbx_error e;

    (void)state;
    put("v", "version one");
    r = get("v", (sbx_read_opts){ 0 });
    again = get("v", (sbx_read_opts){ .if_none_match = sbx_s(r.stat.etag) });
    assert_true(again.not_modified);
    assert_int_equal(again.total, 0);
    assert_string_equal(again.stat.etag, r.stat.etag);
    again = get("v", (sbx_read_opts){ .offset = 8, .if_match_etag = sbx_s(r.stat.etag) });
    assert_string_equal(buffer, "one");

    put("v", "version two!");
    again = get("v", (sbx_read_opts){ .if_none_match = sbx_s(r.stat.etag) });
    assert_false(again.not_modified);
    assert_string_equal(buffer, "version two!");
    assert_string_not_equal(again.stat.etag, r.stat.etag);
    e = FAILS(sbx_read(c, &box, sbx_s("v"), &(sbx_read_opts){ .offset = 8, .if_match_etag = sbx_s(r.stat.etag), .out = { buffer, 99 } }, &again), SBX_ERR_CHANGED);
    assert_int_equal(e.layer, SBX_LAYER_SERVICE);
    assert_int_equal(e.status, 200);
}

static void names(void **state)
{
    static const char *const odd[] = {
        "with space", "50%", "%2F", "a+b", "q?x=1&y=2#z", "\"quoted\" 'too'", "Grüße €𝄞.txt", "semi;colon,comma", "-dash", "back\\slash",
        "new\nline", "tab\there", "[brackets]", "~tilde", "dots..", "a=b", "\x01",
    };
    char path[64], text[64];

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        sbx_file_stat st;

        snprintf(path, sizeof path, "/tmp/odd/%s", odd[i]);
        snprintf(text, sizeof text, "this is %u", (unsigned)i);
        put(path, text);
        get(path, (sbx_read_opts){ 0 });
        assert_string_equal(buffer, text);
        OK(sbx_stat(c, &box, sbx_s(path), NULL, &st));
        assert_int_equal(st.size, strlen(text));
    }
    /* As many files as names, under their own names. */
    assert_string_equal(e2e_sh("cd /tmp/odd; ls -1U | wc -l; cat 'with space' '50%' '%2F' 'Grüße €𝄞.txt' '\"quoted\" '\\''too'\\'''"),
                        "18\nthis is 0this is 1this is 2this is 6this is 5");
    assert_string_equal(FAILS(sbx_read(c, &box, sbx_s(""), &(sbx_read_opts){ .out = { buffer, 1 } }, NULL), SBX_ERR_ARGUMENT).field, "path");
    assert_string_equal(FAILS(sbx_write(c, &box, sbx_s("\xff"), sbx_s("x"), NULL), SBX_ERR_ARGUMENT).field, "path");
    assert_string_equal(FAILS(sbx_write(c, &box, sbx_sn("a\0b", 3), sbx_s("x"), NULL), SBX_ERR_ARGUMENT).field, "path");
}

/* ---- search ---- */

/* "path|path|…" of the items, the line number before a match's text. */
static const char *found(sbx_op op, const sbx_list_result *r)
{
    static char text[2048];
    sbx_event ev;
    size_t n = 0, count = 0;

    text[0] = 0;
    while (sbx_next_of(c, &op, &ev)) {
        const sbx_match *m = ev.item;

        if (ev.kind == SBX_EV_END) {
            assert_int_equal(ev.code, SBX_OK);
            continue;
        }
        assert_int_equal(ev.kind, SBX_EV_ITEM);
        count++;
        if (m->line)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s:%d:%s|", m->path, (int)m->line, m->text);
        else
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%d|", m->path, m->is_dir ? "/" : "=", m->is_dir ? 0 : (int)m->size);
        if (!m->line)
            assert_true(m->modified_ms > INT64_C(1500000000000));
    }
    assert_int_equal(r->count, count);
    return text;
}

static void search(void **state)
{
    sbx_list_result r;
    sbx_match items[2];
    sbx_error e;

    (void)state;
    e2e_sh("mkdir -p /tmp/s/sub/deep; cd /tmp/s; printf 'one\\ntwo [x]\\n' > a.txt; printf 'two [x]\\r\\n' > 'b ü.md'; printf 'bin\\0two' > c.bin; "
           "printf 'zwei\\nx two [x] y' > sub/deep/d.txt");
    assert_string_equal(found(sbx_ls(c, &box, sbx_s("/tmp/s"), NULL, &r), &r), "/tmp/s/a.txt=12|/tmp/s/b ü.md=9|/tmp/s/c.bin=7|/tmp/s/sub/0|");
    assert_false(r.truncated || r.cut);
    assert_string_equal(found(sbx_glob(c, &box, sbx_s("**/*.txt"), &(sbx_find_opts){ .path = sbx_s("/tmp/s") }, &r), &r), "/tmp/s/a.txt=12|/tmp/s/sub/deep/d.txt=16|");
    assert_string_equal(found(sbx_glob(c, &box, sbx_s("tmp/s/*.md"), NULL, &r), &r), "/tmp/s/b ü.md=9|");
    assert_string_equal(found(sbx_glob(c, &box, sbx_s("*.none"), &(sbx_find_opts){ .path = sbx_s("/tmp/s") }, &r), &r), "");
    assert_string_equal(found(sbx_glob(c, &box, sbx_s("*"), &(sbx_find_opts){ .path = sbx_s("/tmp/s"), .limit = 2 }, &r), &r), "/tmp/s/a.txt=12|/tmp/s/b ü.md=9|");
    assert_true(r.truncated);
    assert_string_equal(found(sbx_grep(c, &box, sbx_s("two [x]"), &(sbx_find_opts){ .path = sbx_s("/tmp/s") }, &r), &r),
                        "/tmp/s/a.txt:2:two [x]|/tmp/s/b ü.md:1:two [x]|/tmp/s/sub/deep/d.txt:2:x two [x] y|");
    assert_string_equal(found(sbx_grep(c, &box, sbx_s("two"), &(sbx_find_opts){ .path = sbx_s("/tmp/s"), .glob = sbx_s("*.md") }, &r), &r), "/tmp/s/b ü.md:1:two [x]|");

    OK(sbx_ls(c, &box, sbx_s("/tmp/s"), &(sbx_find_opts){ .items = { items, sizeof items } }, &r));
    assert_int_equal(r.count, 4);
    assert_int_equal(r.stored, 2);
    assert_true(r.cut);
    assert_string_equal(items[0].path, "/tmp/s/a.txt");
    assert_int_equal(items[0].size, 12);
    assert_string_equal(items[1].path, "/tmp/s/b ü.md");
    assert_string_equal(items[1].text, "");

    /* A line longer than its field is cut at a character. */
    e2e_sh("{ printf needle; printf '€€€€€€€€€€%.0s' $(seq 100); } > /tmp/s/long");
    OK(sbx_grep(c, &box, sbx_s("needle"), &(sbx_find_opts){ .path = sbx_s("/tmp/s"), .items = { items, sizeof items } }, &r));
    assert_int_equal(r.count, 1);
    assert_true(items[0].cut);
    assert_int_equal(strlen(items[0].text), 510);
    assert_string_equal(items[0].text + 510 - 6, "€€");

    e = FAILS(sbx_ls(c, &box, sbx_s("/tmp/none"), &(sbx_find_opts){ .items = { items, sizeof items } }, &r), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_FILE);
    assert_string_equal(e.type, "NotFound");
    assert_string_equal(e.text, "/tmp/none: No such file or directory");
    e = FAILS(sbx_ls(c, &box, sbx_s("relative"), &(sbx_find_opts){ .items = { items, sizeof items } }, &r), SBX_ERR_VALIDATION);
    assert_string_equal(e.text, "path must be an absolute path");
    assert_string_equal(FAILS(sbx_grep(c, &box, sbx_s(""), NULL, &r), SBX_ERR_ARGUMENT).field, "text");
    assert_string_equal(FAILS(sbx_glob(c, &box, sbx_s("*"), &(sbx_find_opts){ .glob = sbx_s("x") }, &r), SBX_ERR_ARGUMENT).field, "glob");
}

/* Thousands of items through a fixed memory. */
static void many_items(void **state)
{
    sbx_op op;
    sbx_event ev;
    sbx_list_result r;
    unsigned n = 0;

    (void)state;
    e2e_sh("mkdir /tmp/many; cd /tmp/many; for i in $(seq -w 3000); do : > \"file number $i\"; done");
    op = sbx_ls(c, &box, sbx_s("/tmp/many"), &(sbx_find_opts){ .limit = 5000 }, &r);
    while (sbx_next_of(c, &op, &ev)) {
        char want[64];

        if (ev.kind == SBX_EV_END) {
            assert_int_equal(ev.code, SBX_OK);
            continue;
        }
        snprintf(want, sizeof want, "/tmp/many/file number %04u", ++n);
        assert_string_equal(((const sbx_match *)ev.item)->path, want);
    }
    assert_int_equal(n, 3000);
    assert_int_equal(r.count, 3000);
    assert_false(r.truncated);
}

/* ---- bodies that are pushed ---- */

static void pushed(void **state)
{
    enum { SIZE = 12000001 };
    char *big = malloc(SIZE);
    sbx_read_result got;
    sbx_error e;
    sbx_event ev;
    size_t taken;
    sbx_op op;

    (void)state;
    e2e_noise(big, SIZE, 7);
    for (int sized = 0; sized < 2; sized++) {
        sbx_op up = sbx_write(c, &box, sbx_s("/tmp/pushed"), sbx_sn(NULL, 0), &(sbx_write_opts){ .stream = true, .size = sized ? SIZE : SBX_NONE });
        size_t at = 0;
        unsigned writable = 0;
        bool ended = false;

        while (sbx_next_of(c, &up, &ev)) {
            if (ev.kind == SBX_EV_END) {
                assert_int_equal(ev.code, SBX_OK);
                ended = true;
                continue;
            }
            assert_int_equal(ev.kind, SBX_EV_WRITABLE);
            writable++;
            while (at < SIZE) {
                size_t n = SIZE - at < 70000 ? SIZE - at : 70000;

                assert_int_equal(sbx_push(c, up, sbx_sn(big + at, n), at + n == SIZE, &taken), SBX_OK);
                assert_true(taken <= n);
                at += taken;
                if (taken < n)
                    break;
            }
        }
        assert_true(ended);
        assert_int_equal(at, SIZE);
        assert_true(writable >= 1);
        got = get("/tmp/pushed", (sbx_read_opts){ .alloc = true });
        assert_int_equal(got.n, SIZE);
        assert_memory_equal(got.p, big, SIZE);
        sbx_free(c, got.p);
    }
    /* Nothing at all, both ways. */
    for (int sized = 0; sized < 2; sized++) {
        op = sbx_write(c, &box, sbx_s("/tmp/nothing"), sbx_sn(NULL, 0), &(sbx_write_opts){ .stream = true, .size = sized ? 0 : SBX_NONE });
        while (sbx_next_of(c, &op, &ev) && ev.kind != SBX_EV_END)
            assert_int_equal(sbx_push(c, op, sbx_sn(NULL, 0), true, &taken), SBX_OK);
        assert_int_equal(ev.code, SBX_OK);
        assert_string_equal(e2e_sh("stat -c %s /tmp/nothing"), "0\n");
    }
    /* More or less than was announced. */
    op = sbx_write(c, &box, sbx_s("/tmp/nothing"), sbx_sn(NULL, 0), &(sbx_write_opts){ .stream = true, .size = 5 });
    assert_int_equal(sbx_push(c, op, sbx_s("123456"), false, &taken), SBX_ERR_ARGUMENT);
    assert_int_equal(sbx_push(c, op, sbx_s("123"), true, &taken), SBX_ERR_ARGUMENT);
    assert_int_equal(taken, 0);
    sbx_cancel(c, op);
    assert_int_equal(sbx_await(c, op), SBX_ERR_CANCELLED);
    assert_int_equal(sbx_push(c, op, sbx_s("1"), false, &taken), SBX_ERR_HANDLE);
    /* What was cut off is not there. */
    assert_string_equal(e2e_sh("stat -c %s /tmp/nothing; ls -a /tmp | grep -c nothing"), "0\n1\n");
    op = sbx_read(c, &box, sbx_s("/tmp/nothing"), &(sbx_read_opts){ .out = { buffer, 1 } }, NULL);
    assert_int_equal(sbx_push(c, op, sbx_s("1"), false, &taken), SBX_ERR_STATE);
    OK(op);
    e = FAILS(sbx_write(c, &box, sbx_s("x"), sbx_s("x"), &(sbx_write_opts){ .size = 1 }), SBX_ERR_ARGUMENT);
    assert_string_equal(e.field, "size");
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(binary),
        cmocka_unit_test(ranges),
        cmocka_unit_test(validators),
        cmocka_unit_test(names),
        cmocka_unit_test(search),
        cmocka_unit_test(many_items),
        cmocka_unit_test(pushed),
    };

    return cmocka_run_group_tests(tests, e2e_begin, e2e_end);
}
