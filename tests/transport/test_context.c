/* transports/sandbox_context.h: .dockerignore by vectors, the tar by tar(1). */
#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- .dockerignore ---- */

static sbxi_ignore ignore;

static unsigned parse(const char *text)
{
    size_t n = strlen(text);

    memset(&ignore, 0xAA, sizeof ignore);
    memcpy(ignore.text, text, n);
    return sbxi_ignore_parse(&ignore, n);
}

static const struct {
    const char *text; /* of the file */
    const char *path;
    bool out;
} vectors[] = {
    { "", "a", false },
    { "a", "a", true },
    { "a", "b/a", false },
    { "a", "a/b/c", true },
    { "a", "ab", false },
    { "ab", "a", false },
    { "/a", "a", true },
    { "/a", "b/a", false },
    { "a/", "a", true },
    { "a/", "a/b", true },
    { "./a//b/../c/", "a/c", true },
    { "a/../../b", "b", false },
    { "../a", "a", false },
    { ".", "a", false },
    { "/", "a", false },
    { "  a\t\r\n\n \r\nb", "a", true },
    { "  a\t\r\n\n \r\nb", "b", true },
    { "\xEF\xBB\xBF" "a", "a", true },
    { "# a\n#b", "b", false },
    { "#b", "#b", false },
    { " #b", "#b", true },
    { "a b", "a b", true },
    { "*", "a", true },
    { "*", "a/b", true },
    { "*", ".dot", true },
    { "*/temp*", "a/temporary", true },
    { "*/temp*", "temporary", false },
    { "*/temp*", "a/b/temporary", false },
    { "*/*/temp*", "a/b/temporary", true },
    { "temp?", "tempa", true },
    { "temp?", "temp", false },
    { "temp?", "temp/", false },
    { "temp?", "tempab", false },
    { "t?", "t\xC3\xA9", true },
    { "*.md", "a.md", true },
    { "*.md", "b/a.md", false },
    { "**/*.md", "a.md", true },
    { "**/*.md", "x/y/a.md", true },
    { "**/*.md", "x/y/a.mdx", false },
    { "**/a", "a", true },
    { "**/a", "x/a", true },
    { "**/a", "x/y/a/b", true },
    { "**/a", "xa", false },
    { "**a", "xa", true },
    { "**a", "y/xa", true },
    { "**a", "xab", false },
    { "**", "a", true },
    { "**", "a/b/c", true },
    { "a/**", "a", false },
    { "a/**", "a/b", true },
    { "a/**", "a/b/c", true },
    { "a/**/", "a/b/c", true },
    { "a/**/b", "a/b", true },
    { "a/**/b", "a/x/y/b", true },
    { "a/**/b", "a/x/yb", false },
    { "a/**/b/**/c", "a/1/b/2/3/c", true },
    { "a/**/b/**/c", "a/1/b/2/3/d", false },
    { "a**b", "a/x/b", true },
    { "a**b", "ab", true },
    { "a**b", "axb", false },
    { "**/**/**/z", "q/w/z", true },
    { "[a-c]x", "bx", true },
    { "[a-c]x", "dx", false },
    { "[^a-c]x", "dx", true },
    { "[^a-c]x", "bx", false },
    { "[\\]]x", "]x", true },
    { "[a\\-z]x", "-x", true },
    { "[a\\-z]x", "bx", false },
    { "[\xC3\xA0-\xC3\xBF]", "\xC3\xA9", true },
    { "[\xC3\xA0-\xC3\xBF]", "e", false },
    { "\\*", "*", true },
    { "\\*", "a", false },
    { "a\\?", "a?", true },
    { "a.b", "axb", false },
    { "a(b)$^|+{1}", "a(b)$^|+{1}", true },
    { "*\n!a", "a", false },
    { "*\n!a", "b", true },
    { "*\n!a\na", "a", true },
    { "!a\na", "a", true },
    { "*.md\n!README*.md\nREADME-secret.md", "README.md", false },
    { "*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true },
    { "a\n!a/b", "a/b", false },
    { "a\n!a/b", "a/b/c", false },
    { "a\n!a/b", "a/c", true },
    { "a\n! /a/b/ ", "a/b", false },
    { "node_modules\n!**/keep", "node_modules/x/keep", false },
    { "\\!a", "!a", true },
    { "a*b*c*d*e*f*g*h*i*j*k*l*m", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
};

static void test_ignore(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        if (parse(vectors[i].text) || sbxi_ignore_out(&ignore, vectors[i].path, strlen(vectors[i].path)) != vectors[i].out)
            fail_msg("'%s': %s", vectors[i].text, vectors[i].path);
    }
}

static void test_ignore_malformed(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
    } bad[] = { { "a\n!\n", 2 }, { "[", 1 }, { "[]", 1 }, { "a\n\n[a", 3 }, { "[a-]", 1 }, { "[-a]", 1 }, { "[z-a]", 1 }, { "a\\", 1 }, { "[\\", 1 }, { "[^]", 1 } };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i].text) != bad[i].line)
            fail_msg("%s", bad[i].text);
    memcpy(ignore.text, "a\0b", 3);
    assert_int_equal(sbxi_ignore_parse(&ignore, 3), 1);
}

/* Directories that are left out are looked into only where that can matter. */
static void test_ignore_descend(void **state)
{
    static const struct {
        const char *text, *dir;
        bool may;
    } dirs[] = {
        { "a", "a", false },        { "a\n!a/b", "a", true },    { "a\n!ab", "a", false },       { "a\n!**/x", "a", true },
        { "a\n!a/b/c", "a/b", true }, { "a\n!a/b/c", "a/c", false }, { "a\n!a/*/c", "a/c", true }, { "a\n!b*", "a", false },
        { "a\n!a", "a/b", true },   { "ab\n!a", "ab", false },   { "a\n!a*/c", "ab", true },     { "a\n!a/b*", "a", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        assert_int_equal(parse(dirs[i].text), 0);
        if (sbxi_ignore_may_hold(&ignore, dirs[i].dir, strlen(dirs[i].dir)) != dirs[i].may)
            fail_msg("'%s': %s", dirs[i].text, dirs[i].dir);
    }
}

/* ---- tar ---- */

static char dir[64];
static sbxi_tar tar;
static sbx_error err;

static const char *in_dir(const char *name)
{
    static char path[4][6000];
    static unsigned turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[0], "%s/%s", dir, name);
    return path[turn];
}

static void shell(const char *format, ...)
{
    char command[9000];
    va_list list;

    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    if (setenv("SCRIPT", command, 1) || system("bash -euo pipefail -c \"$SCRIPT\""))
        fail_msg("%s", command);
}

static void begin_tree(void)
{
    strcpy(dir, "/tmp/sbx-context-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mkdir(in_dir("in"), 0755), 0);
    ignore.n = 0;
    memset(&tar, 0, sizeof tar);
    tar.fd = -1;
    tar.err = &err;
    tar.ignore = &ignore;
}

static void end_tree(void)
{
    sbxi_tar_close(&tar);
    shell("rm -rf %s", dir);
}

/* The whole tar into a file, `piece` bytes a time (0: of all sizes). */
static void write_tar(const char *to, size_t piece)
{
    FILE *f = fopen(in_dir(to), "wb");
    char p[16384];
    size_t n, want;

    assert_non_null(f);
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_OK);
    do {
        want = piece ? piece : 1 + (size_t)rand() % sizeof p;
        if (sbxi_tar_fill(&tar, p, want, &n) != SBX_OK)
            fail_msg("%s", err.text);
        assert_int_equal(fwrite(p, 1, n, f), n);
    } while (n == want);
    assert_int_equal(fclose(f), 0);
}

/* Kind, permissions, size, links, time and target of everything must agree. */
static void compare(void)
{
    shell("mkdir %s/out && tar -xpf %s/tar -C %s/out --no-same-owner", dir, dir, dir);
    shell("cd %s/in && find . -mindepth 1 ! -type p ! -path '*/.git' ! -path '*/.git/*' -printf '%%P|%%y|%%m|%%l\\n' | LC_ALL=C sort >../listed.in", dir);
    shell("cd %s/out && find . -mindepth 1 -printf '%%P|%%y|%%m|%%l\\n' | LC_ALL=C sort >../listed.out", dir);
    shell("cd %s && diff -u listed.in listed.out", dir);
    shell("cd %s/in && find . -mindepth 1 -type f ! -path '*/.git/*' -printf '%%P|%%s|%%n|%%Ts\\n' | LC_ALL=C sort >../files.in", dir);
    shell("cd %s/out && find . -mindepth 1 -type f -printf '%%P|%%s|%%n|%%Ts\\n' | LC_ALL=C sort >../files.out", dir);
    shell("cd %s && diff -u files.in files.out", dir);
    shell("cd %s && diff -r --no-dereference -x .git -x pipe in out", dir);
}

static void test_tree(void **state)
{
    static const size_t sizes[] = { 0, 1, 511, 512, 513, 20000, 1 << 20 };
    char name[300];

    (void)state;
    begin_tree();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        shell("head -c %zu /dev/urandom >%s/in/size-%zu", sizes[i], dir, sizes[i]);
    shell("cd %s/in && mkdir -p a/b/c .git/x a/.git && echo no >.git/config && echo no >a/.git/x && echo yes >a/b/c/gitless && mkfifo pipe", dir);
    shell("cd %s/in && echo x >mode && chmod 4751 mode && mkdir tight && chmod 0700 tight && echo y >tight/0600 && chmod 0600 tight/0600 && mkdir empty", dir);
    shell("cd %s/in && touch -d @86400 old && touch 'a b' \"q'\\\"\" $'new\\nline' 'gr\xC3\xBC\xC3\x9F' ./-dash", dir);
    shell("cd %s/in && ln -s mode link && ln -s nowhere/at/all dangling && ln -s / root && ln -s $(head -c 150 /dev/zero | tr '\\0' l) long-link", dir);
    shell("cd %s/in && echo h >hard && ln hard a/hard2 && ln hard a/b/hard3", dir);
    /* Names at and around the limits of ustar. */
    for (unsigned n = 97; n <= 103; n++) {
        memset(name, 'n', n);
        name[n] = 0;
        shell("cd %s/in && echo %u >%s && mkdir d%s && echo %u >a/b/%s", dir, n, name, name + 2, n, name + 4);
    }
    memset(name, 'p', 255);
    name[255] = 0;
    shell("cd %s/in && echo 255 >%s && ln -s %s to-%.100s", dir, name, name, name);
    memset(name, 'e', 50);
    name[50] = 0;
    shell("cd %s/in && for i in 1 2 3 4 5 6 7 8; do mkdir -p deep && mv deep inner 2>/dev/null; mkdir deep && mv inner deep/%s && echo $i >deep/$i; done; ln deep/8 a/far-link", dir, name);
    memset(name, 'f', 153);
    name[153] = 0;
    shell("cd %s/in && mkdir -p x/%s && echo 1 >x/%s/short && echo 2 >x/%s/%.101s", dir, name, name, name, name);
    write_tar("tar", sizeof tar.head);
    compare();
    write_tar("again", 1);
    shell("cmp %s/tar %s/again", dir, dir);
    for (unsigned i = 0; i < 3; i++) {
        srand(i);
        write_tar("again", 0);
        shell("cmp %s/tar %s/again", dir, dir);
    }
    end_tree();
}

/* More files with several names than are remembered: the rest are sent again. */
static void test_many_links(void **state)
{
    (void)state;
    begin_tree();
    shell("cd %s/in && for i in $(seq 200); do echo $i >f$i && ln f$i g$i; done", dir);
    write_tar("tar", 4096);
    shell("mkdir %s/out && tar -xf %s/tar -C %s/out && diff -r %s/in %s/out", dir, dir, dir, dir, dir);
    shell("test $(find %s/out -links 2 | grep -c /f) -ge 63", dir);
    end_tree();
}

static void test_ignored(void **state)
{
    (void)state;
    begin_tree();
    shell("cd %s/in && mkdir -p a/b c/d && echo 1 >a/b/keep && echo 1 >a/b/drop && echo 1 >a/x && echo 1 >c/d/Dockerfile && echo 1 >c/d/e && echo 1 >.dockerignore && echo 1 >top", dir);
    assert_int_equal(parse("*\n!a/b/keep\n"), 0);
    tar.keep = "c/d/Dockerfile";
    write_tar("tar", 1000);
    shell("test \"$(tar -tf %s/tar | LC_ALL=C sort | tr '\\n' ' ')\" = '.dockerignore a/b/keep c/d/Dockerfile '", dir);
    assert_int_equal(parse("**/b\n!c/**"), 0);
    tar.keep = NULL;
    write_tar("tar", 1000);
    shell("test \"$(tar -tf %s/tar | LC_ALL=C sort | tr '\\n' ' ')\" = '.dockerignore a/ a/x c/ c/d/ c/d/Dockerfile c/d/e top '", dir);
    end_tree();
}

/* A size that ustar cannot say. */
static void test_huge(void **state)
{
    char p[4096];
    size_t n;
    FILE *f;

    (void)state;
    begin_tree();
    shell("truncate -s 9663676417 %s/in/huge", dir);
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_OK);
    assert_int_equal(sbxi_tar_fill(&tar, p, sizeof p, &n), SBX_OK);
    assert_int_equal(n, sizeof p);
    f = fopen(in_dir("tar"), "wb");
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
    shell("(tar -tvf %s/tar 2>/dev/null || true) | grep -q ' 9663676417 .* huge$'", dir);
    assert_int_equal(tar.left, INT64_C(9663676417) - (int64_t)(n - 1536));
    end_tree();
}

/* A file that changes its size once its header is written. */
static void test_changing(void **state)
{
    char p[1024];
    size_t n;

    (void)state;
    begin_tree();
    shell("head -c 5000 /dev/zero >%s/in/f", dir);
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_OK);
    assert_int_equal(sbxi_tar_fill(&tar, p, sizeof p, &n), SBX_OK);
    shell("truncate -s 1000 %s/in/f", dir);
    assert_int_equal(sbxi_tar_fill(&tar, p, sizeof p, &n), SBX_OK + (int)SBX_ERR_CHANGED);
    assert_non_null(strstr(err.text, "/in/f"));
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_OK);
    assert_int_equal(sbxi_tar_fill(&tar, p, 600, &n), SBX_OK);
    shell("head -c 9000 /dev/zero >>%s/in/f", dir);
    n = 600;
    for (size_t total = n;; total += n) {
        assert_int_equal(sbxi_tar_fill(&tar, p, sizeof p, &n), SBX_OK);
        if (n < sizeof p) {
            assert_int_equal(total + n, 512 + 1024 + 1024);
            break;
        }
    }
    end_tree();
}

/* Directories that become links elsewhere while they are read: what lies there
   is not sent. */
static void test_swapped(void **state)
{
    static char all[1 << 20];
    size_t n, got = 0;
    sbx_code code;

    (void)state;
    for (int way = 0; way < 3; way++) {
        begin_tree();
        shell("mkdir -p %s/in/a/b %s/else/b/c && ln -s secret %s/else/l && for f in f b/g b/c/h; do echo secret >%s/else/$f; done", dir, dir, dir, dir);
        shell("cd %s/in/a && echo own >f && echo own >b/g && ln -s own l", dir);
        assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_OK);
        if (way == 0)
            shell("mv %s/in %s/away && ln -s else %s/in", dir, dir, dir);
        assert_int_equal(sbxi_tar_fill(&tar, all, 512, &got), SBX_OK); /* a/ */
        if (way == 1)
            shell("mv %s/in/a %s/away && ln -s ../else %s/in/a", dir, dir, dir);
        do {
            code = sbxi_tar_fill(&tar, all + got, 512, &n);
            got += n;
            if (way == 2 && code == SBX_OK && memmem(all, got, "a/b/", 5))
                shell("cd %s/in/a && if [ ! -L b ]; then mv b ../../away && ln -s ../../else/b b; fi", dir);
        } while (code == SBX_OK && n);
        assert_null(memmem(all, got, "secret", 6));
        if (code == SBX_OK)
            assert_non_null(memmem(all, got, "own", 3));
        end_tree();
    }
}

/* The root, and a file that is sent alone, are looked up once. */
static void test_swapped_root(void **state)
{
    (void)state;
    begin_tree();
    shell("cd %s && echo secret >other && rmdir in && ln -s /etc in && ln -s other D", dir);
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_ERR_ARGUMENT);
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("D"), true), SBX_ERR_ARGUMENT);
    assert_int_equal(err.sys, ELOOP);
    end_tree();
}

static void test_refused(void **state)
{
    char name[256], p[16384];
    sbx_code code = SBX_OK;
    size_t n = 1;

    (void)state;
    begin_tree();
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("none"), false), SBX_ERR_ARGUMENT);
    assert_int_equal(err.sys, ENOENT);
    assert_string_equal(err.field, "local_path");
    shell("cd %s/in && mkdir -p $(printf 'd/%%.0s' $(seq 70))", dir);
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_OK);
    while (code == SBX_OK && n)
        code = sbxi_tar_fill(&tar, p, sizeof p, &n);
    assert_int_equal(code, SBX_ERR_TOO_LARGE);
    shell("rm -rf %s/in/d", dir);
    memset(name, 'n', 255);
    name[255] = 0;
    for (int i = 0, fd = open(in_dir("in"), O_RDONLY); i < 16; i++) {
        int inner;

        assert_int_equal(mkdirat(fd, name, 0755), 0);
        inner = openat(fd, name, O_RDONLY);
        close(fd);
        fd = inner;
        if (i == 15)
            close(fd);
    }
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in"), false), SBX_OK);
    for (n = 1, code = SBX_OK; code == SBX_OK && n;)
        code = sbxi_tar_fill(&tar, p, sizeof p, &n);
    assert_int_equal(code, SBX_ERR_TOO_LARGE);
    end_tree();
}

/* One file as it is. */
static void test_plain(void **state)
{
    char p[100];
    size_t n;

    (void)state;
    begin_tree();
    shell("printf 'FROM scratch' >%s/in/D", dir);
    assert_int_equal(sbxi_tar_begin(&tar, in_dir("in/D"), true), SBX_OK);
    assert_int_equal(sbxi_tar_fill(&tar, p, sizeof p, &n), SBX_OK);
    assert_int_equal(n, 12);
    assert_memory_equal(p, "FROM scratch", 12);
    end_tree();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ignore), cmocka_unit_test(test_ignore_malformed), cmocka_unit_test(test_ignore_descend), cmocka_unit_test(test_tree),
        cmocka_unit_test(test_many_links), cmocka_unit_test(test_ignored), cmocka_unit_test(test_huge), cmocka_unit_test(test_changing),
        cmocka_unit_test(test_swapped), cmocka_unit_test(test_swapped_root), cmocka_unit_test(test_refused), cmocka_unit_test(test_plain),
    };

    return cmocka_run_group_tests_name("build context", tests, NULL, NULL);
}
