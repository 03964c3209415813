/* transports/sandbox_files.h where the server says one thing and does another. */
#define _GNU_SOURCE 1
#include "script.h"

#define SANDBOX_IMPLEMENTATION
#include "sandbox_files.h"

#include <unistd.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_longer_than_told) };

    return cmocka_run_group_tests_name("transfers", tests, NULL, NULL);
}
