/* transports/sandbox_files.h where the server says one thing and does another. */
#define _GNU_SOURCE 1
#include "script.h"

#include <sys/stat.h>
#include <unistd.h>

static unsigned umasks;

__attribute__((unused)) static mode_t count_umask(mode_t mask)
{
    umasks++;
    return umask(mask);
}

#define umask count_umask
#define SANDBOX_IMPLEMENTATION
#include "sandbox_files.h"
#undef umask

static uint64_t most;

static bool progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)total;
    most = done > most ? done : most;
    return true;
}

/* More bytes than the file was said to have end the download: they would fill
   the disk. */
static void test_longer_than_told(void **state)
{
    static char body[200000];
    static const char tag[] = "ETag: \"one\"\r\n";
    char path[] = "/tmp/sbx-transfer-XXXXXX", local[64];
    sbx_file_opts o = { 0 };
    sim_script e = { 0 };
    sbx_error err;

    (void)state;
    assert_non_null(mkdtemp(path));
    snprintf(local, sizeof local, "%s/file", path);
    memset(body, 'x', sizeof body);
    for (unsigned i = 0; i < 4; i++) {
        kit_start(i);
        most = 0;
        e.match = "HEAD /";
        e.status = 200;
        e.raw = "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 10\r\n\r\n";
        sim_expect(K.s, &e);
        memset(&e, 0, sizeof e);
        e.match = "GET /";
        e.status = 200;
        e.head = tag;
        e.body = body;
        e.body_n = sizeof body;
        e.chunked = true;
        sim_expect(K.s, &e);
        memset(&e, 0, sizeof e);
        o.progress = progress;
        o.resume = i & 1;
        if (i & 2)
            ASSERT_CODE(sbx_file_fetch(K.c, sbx_s("http://dp.test/link"), local, &o, &err), SBX_ERR_CHANGED);
        else
            ASSERT_CODE(sbx_file_download(K.c, &K.box, sbx_s("/f"), local, &o, &err), SBX_ERR_CHANGED);
        assert_int_equal(err.code, SBX_ERR_CHANGED);
        assert_true(most <= 10);
        kit_end();
    }
    assert_int_equal(rmdir(path), 0); /* nothing is left in it */
}

static sbx_code download(const char *local, bool resume, sbx_error *err)
{
    sbx_file_opts o = { 0 };
    sim_script e = { 0 };
    sbx_code code;

    kit_start(1);
    e.match = "HEAD /";
    e.raw = "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 3\r\n\r\n";
    sim_expect(K.s, &e);
    memset(&e, 0, sizeof e);
    e.match = "GET /";
    e.status = 200;
    e.head = "ETag: \"one\"\r\n";
    e.body = "new";
    sim_expect(K.s, &e);
    o.resume = resume;
    code = sbx_file_download(K.c, &K.box, sbx_s("/f"), local, &o, err);
    kit_end();
    return code;
}

static void holds(const char *path, const char *text)
{
    char got[16] = { 0 };
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, got, sizeof got - 1), strlen(text));
    assert_string_equal(got, text);
    close(fd);
}

/* The names that `resume` uses can be foretold: in a folder that others write
   to, a link or a pipe may lie there. */
static void test_names_in_the_way(void **state)
{
    static const char *const ends[] = { "sbx-part", "sbx-etag" };
    char folder[] = "/tmp/sbx-transfer-XXXXXX", local[64], way[80], other[64];
    sbx_error err;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(local, sizeof local, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    fd = open(other, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "theirs", 6), 6);
    close(fd);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(way, sizeof way, "%s.%s", local, ends[i & 1]);
        assert_int_equal(i & 2 ? mkfifo(way, 0600) : symlink(other, way), 0);
        assert_int_equal(download(local, true, &err), SBX_ERR_ARGUMENT);
        assert_non_null(strstr(err.text, ends[i & 1]));
        holds(other, "theirs");
        unlink(way);
        snprintf(way, sizeof way, "%s.sbx-part", local);
        unlink(way);
    }
    assert_int_equal(download(local, true, &err), SBX_OK);
    holds(local, "new");
    unlink(local);
    unlink(other);
    assert_int_equal(rmdir(folder), 0);
}

/* Another thread's new file must not meet a umask that is not the program's. */
static void test_umask(void **state)
{
    char folder[] = "/tmp/sbx-transfer-XXXXXX", local[64];
    mode_t old = umask(027);
    struct stat st;
    sbx_error err;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(local, sizeof local, "%s/file", folder);
    for (int resume = 0; resume < 2; resume++) {
        assert_int_equal(download(local, resume, &err), SBX_OK);
        assert_int_equal(stat(local, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0640);
        unlink(local);
    }
    assert_int_equal(umasks, 0);
    assert_int_equal(rmdir(folder), 0);
    umask(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_longer_than_told), cmocka_unit_test(test_names_in_the_way), cmocka_unit_test(test_umask) };

    return cmocka_run_group_tests_name("transfers", tests, NULL, NULL);
}
