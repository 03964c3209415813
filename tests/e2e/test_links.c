/* Links to files of a sandbox: fetched, and into a file of this machine. */
#include "e2e.h"

#include <sys/stat.h>
#include <unistd.h>

static char buffer[1000];

static sbx_download link_to(const char *path, sbx_download_opts o)
{
    sbx_download d;

    OK(sbx_download_url(c, &box, sbx_s(path), &o, &d));
    return d;
}

static void links(void **state)
{
    sbx_read_opts o = { .out = { buffer, sizeof buffer } };
    sbx_file_stat st;
    sbx_read_result r;
    sbx_download d;
    char etag[96];

    (void)state;
    OK(sbx_write(c, &box, sbx_s("a b.txt"), sbx_s("0123456789"), NULL));
    d = link_to("a b.txt", (sbx_download_opts){ .content_type = sbx_s("text/x-mine") });
    assert_int_equal(d.expires_ms, 0);
    OK(sbx_fetch(c, sbx_s(d.url), &o, &r));
    assert_int_equal(r.n, 10);
    assert_memory_equal(buffer, "0123456789", 10);
    assert_string_equal(r.stat.content_type, "text/x-mine");
    strcpy(etag, r.stat.etag);
    assert_int_equal(etag[0], '"');
    OK(sbx_fetch_stat(c, sbx_s(d.url), NULL, &st));
    assert_int_equal(st.size, 10);
    assert_string_equal(st.etag, etag);
    o.offset = 7;
    o.if_match_etag = sbx_s(etag);
    OK(sbx_fetch(c, sbx_s(d.url), &o, &r));
    assert_memory_equal(buffer, "789", 3);
    o.if_match_etag = sbx_s("\"another\"");
    FAILS(sbx_fetch(c, sbx_s(d.url), &o, &r), SBX_ERR_CHANGED);
    memset(&o, 0, sizeof o);
    o.stream = true;
    o.offset = 10;
    FAILS(sbx_fetch(c, sbx_s(d.url), &o, NULL), SBX_ERR_RANGE);
    o.offset = 0;
    o.if_none_match = sbx_s(etag);
    OK(sbx_fetch(c, sbx_s(d.url), &o, &r));
    assert_true(r.not_modified);
    /* Not of this file, and no token at all. */
    strcat(d.url, "x");
    o.if_none_match = sbx_sn(NULL, 0);
    FAILS(sbx_fetch(c, sbx_s(d.url), &o, NULL), SBX_ERR_PERMISSION);
}

static void expired(void **state)
{
    sbx_read_opts o = { .stream = true };
    sbx_download d;
    sbx_error e;

    (void)state;
    OK(sbx_write(c, &box, sbx_s("short"), sbx_s("x"), NULL));
    d = link_to("short", (sbx_download_opts){ .expires_in_s = 1, .disposition = SBX_DISPOSITION_ATTACHMENT });
    assert_true(d.expires_ms > INT64_C(1500000000000));
    sleep(2);
    e = FAILS(sbx_fetch(c, sbx_s(d.url), &o, NULL), SBX_ERR_PERMISSION);
    assert_int_equal(e.resource, SBX_RESOURCE_FILE);
    FAILS(sbx_fetch_stat(c, sbx_s(d.url), NULL, NULL), SBX_ERR_PERMISSION);
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    return done < *(uint64_t *)user;
}

/* Into a file of this machine: interrupted, it goes on where it was. */
static void into_a_file(void **state)
{
    enum { SIZE = 3000000 };
    uint64_t enough = 1000000, rest = 0;
    sbx_file_opts first = { .progress = stop_at_once, .user = &enough, .resume = true }, second = { .progress = stop_at_once, .user = &rest, .resume = true };
    char *data = malloc(SIZE), *got = malloc(SIZE + 1), path[] = "/tmp/sbx-urls-XXXXXX", part[64];
    int fd = mkstemp(path);
    struct stat st;
    sbx_download d;
    sbx_error e;
    FILE *f;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    e2e_noise(data, SIZE, 4);
    OK(sbx_write(c, &box, sbx_s("big"), sbx_sn(data, SIZE), NULL));
    d = link_to("big", (sbx_download_opts){ 0 });
    assert_int_equal(sbx_file_fetch(c, sbx_s(d.url), path, &first, &e), SBX_ERR_CANCELLED);
    snprintf(part, sizeof part, "%s.sbx-part", path);
    assert_int_equal(stat(part, &st), 0);
    assert_in_range(st.st_size, 1000000, SIZE);
    rest = UINT64_MAX;
    second.call.total_ms = 60000;
    assert_int_equal(sbx_file_fetch(c, sbx_s(d.url), path, &second, &e), SBX_OK);
    f = fopen(path, "rb");
    assert_int_equal(fread(got, 1, SIZE + 1, f), SIZE);
    assert_memory_equal(got, data, SIZE);
    fclose(f);
    assert_int_not_equal(stat(part, &st), 0);
    unlink(path);
    free(data);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(links), cmocka_unit_test(expired), cmocka_unit_test(into_a_file) };

    return cmocka_run_group_tests(tests, e2e_begin, e2e_end);
}
