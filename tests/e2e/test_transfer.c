/* transports/sandbox_files.h: whole files both ways, complete or not at all. */
#include "e2e.h"
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

static char dir[64];
static const char *in_dir(const char *name)
{
    static char path[2][2048];
    static int turn;

    turn ^= 1;
    snprintf(path[turn], sizeof path[0], "%s/%s", dir, name);
    return path[turn];
}

static void store(const char *name, const char *p, size_t n)
{
    FILE *f = fopen(in_dir(name), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

static void holds(const char *name, const char *p, size_t n)
{
    FILE *f = fopen(in_dir(name), "rb");
    char *got = malloc(n + 1);

    assert_non_null(f);
    assert_int_equal(fread(got, 1, n + 1, f), n);
    assert_memory_equal(got, p, n);
    fclose(f);
    free(got);
}

/* How many files the folder has. */
static int entries(void)
{
    char command[128];
    FILE *f;
    int n = -1;

    snprintf(command, sizeof command, "ls -1A %s | wc -l", dir);
    f = popen(command, "r");
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

typedef struct progress {
    uint64_t done, total, stop_at;
    unsigned calls, back;
} progress;

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    progress *p = user;

    p->back += done < p->done;
    p->done = done;
    p->total = total;
    p->calls++;
    return !p->stop_at || done < p->stop_at;
}

static sbx_code down(const char *remote, const char *local, const sbx_file_opts *opts, sbx_error *err)
{
    return sbx_file_download(c, &box, sbx_s(remote), in_dir(local), opts, err);
}

static sbx_code up(const char *local, const char *remote, const sbx_file_opts *opts, sbx_error *err)
{
    return sbx_file_upload(c, &box, in_dir(local), sbx_s(remote), opts, err);
}

static void both_ways(void **state)
{
    static const size_t sizes[] = { 0, 1, 16384, 16385, 3000017 };
    char *data = malloc(3000017);

    (void)state;
    e2e_noise(data, 3000017, 5);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        progress sent = { 0 }, got = { 0 };
        struct stat st;
        sbx_error e;

        store("from", data, sizes[i]);
        assert_int_equal(up("from", "/tmp/there and back", &(sbx_file_opts){ .progress = on_progress, .user = &sent }, &e), SBX_OK);
        assert_int_equal(e.code, SBX_OK);
        assert_int_equal(down("/tmp/there and back", "to", &(sbx_file_opts){ .progress = on_progress, .user = &got, .mode = 0751 }, &e), SBX_OK);
        assert_int_equal(e.code, SBX_OK);
        holds("to", data, sizes[i]);
        assert_int_equal(stat(in_dir("to"), &st), 0);
        assert_int_equal(st.st_mode & 0710, 0710);
        if (sizes[i]) {
            assert_int_equal(sent.done, sizes[i]);
            assert_int_equal(sent.total, sizes[i]);
            assert_int_equal(got.done, sizes[i]);
            assert_int_equal(got.total, sizes[i]);
        }
        assert_int_equal(sent.back + got.back, 0);
        assert_int_equal(entries(), 2);
    }
    /* Without options, onto a file that is there. */
    assert_int_equal(down("/tmp/there and back", "to", NULL, NULL), SBX_OK);
    holds("to", data, 3000017);
    free(data);
}

static void failures(void **state)
{
    sbx_error e;

    (void)state;
    store("keep", "mine", 4);
    assert_int_equal(down("/no/such", "keep", NULL, &e), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_FILE);
    holds("keep", "mine", 4);
    assert_int_equal(down("/etc/passwd", "no/such/folder", NULL, &e), SBX_ERR_ARGUMENT);
    assert_int_equal(e.sys, ENOENT);
    assert_string_equal(e.field, "local_path");
    assert_string_equal(e.operation, "download");
    assert_non_null(strstr(e.text, "/no/such/folder.sbx-"));
    assert_non_null(strstr(e.text, ": No such file or directory"));
    assert_int_equal(up("missing", "/tmp/x", NULL, &e), SBX_ERR_ARGUMENT);
    assert_int_equal(e.sys, ENOENT);
    assert_int_equal(e.layer, SBX_LAYER_LOCAL);
    assert_non_null(strstr(e.text, "cannot open "));
    assert_int_equal(up(".", "/tmp/x", NULL, &e), SBX_ERR_ARGUMENT);
    assert_int_equal(e.sys, EISDIR);
    assert_int_equal(up("keep", "/usr/no", NULL, &e), SBX_ERR_PERMISSION);
    assert_string_equal(e.type, "PermissionDenied");
    assert_int_equal(up("keep", "", NULL, &e), SBX_ERR_ARGUMENT);
    assert_string_equal(e.field, "path");
    assert_int_equal(sbx_file_download(c, &box, sbx_s("/etc/passwd"), in_dir("keep/inside"), NULL, &e), SBX_ERR_ARGUMENT);
    assert_int_equal(e.sys, ENOTDIR);
    {
        static char name[1100];

        memset(name, 'n', sizeof name - 1);
        assert_int_equal(down("/etc/passwd", name, NULL, &e), SBX_ERR_ARGUMENT);
        assert_int_equal(e.sys, ENAMETOOLONG);
    }
}

static void cancelled(void **state)
{
    enum { SIZE = 2000000 };
    char *data = malloc(SIZE);
    progress p = { .stop_at = 500000 };
    sbx_error e;
    int before;

    (void)state;
    e2e_noise(data, SIZE, 9);
    store("big", data, SIZE);
    before = entries();
    assert_int_equal(up("big", "/tmp/cancelled", &(sbx_file_opts){ .progress = on_progress, .user = &p }, &e), SBX_ERR_CANCELLED);
    assert_int_equal(e.code, SBX_ERR_CANCELLED);
    assert_string_equal(e2e_sh("ls -A /tmp | grep -c cancelled"), "0\n");
    assert_int_equal(up("big", "/tmp/whole", NULL, &e), SBX_OK);
    p = (progress){ .stop_at = 500000 };
    assert_int_equal(down("/tmp/whole", "part", &(sbx_file_opts){ .progress = on_progress, .user = &p }, &e), SBX_ERR_CANCELLED);
    assert_true(p.done >= 500000 && p.done < SIZE);
    assert_int_equal(entries(), before); /* nothing is left */

    /* With resume what came is kept and not asked for again. */
    p = (progress){ .stop_at = 500000 };
    assert_int_equal(down("/tmp/whole", "part", &(sbx_file_opts){ .progress = on_progress, .user = &p, .resume = true }, &e), SBX_ERR_CANCELLED);
    assert_int_equal(entries(), before + 2);
    {
        progress rest = { 0 };
        sbx_usage u, v;

        sbx_get_usage(c, &u);
        assert_int_equal(down("/tmp/whole", "part", &(sbx_file_opts){ .progress = on_progress, .user = &rest, .resume = true }, &e), SBX_OK);
        sbx_get_usage(c, &v);
        assert_true(v.bytes_in - u.bytes_in < SIZE - p.done + 4000);
        assert_int_equal(rest.done, SIZE);
    }
    holds("part", data, SIZE);
    assert_int_equal(entries(), before + 1);

    /* A file that is another one by now is begun anew. */
    p = (progress){ .stop_at = 500000 };
    assert_int_equal(down("/tmp/whole", "part", &(sbx_file_opts){ .progress = on_progress, .user = &p, .resume = true }, &e), SBX_ERR_CANCELLED);
    holds("part", data, SIZE); /* as it was */
    data[3] ^= 1;
    store("big", data, SIZE);
    assert_int_equal(up("big", "/tmp/whole", NULL, &e), SBX_OK);
    assert_int_equal(down("/tmp/whole", "part", &(sbx_file_opts){ .resume = true }, &e), SBX_OK);
    holds("part", data, SIZE);
    assert_int_equal(entries(), before + 1);
    free(data);
}

static void *feed(void *arg)
{
    int fd = open(arg, O_WRONLY);

    for (int i = 0; i < 100; i++)
        assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    return NULL;
}

static void from_a_pipe(void **state)
{
    pthread_t thread;
    progress p = { 0 };
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&thread, NULL, feed, path), 0);
    assert_int_equal(up("pipe", "/tmp/from pipe", &(sbx_file_opts){ .progress = on_progress, .user = &p }, NULL), SBX_OK);
    pthread_join(thread, NULL);
    assert_int_equal(p.done, 1000);
    assert_int_equal(p.total, UINT64_MAX);
    assert_string_equal(e2e_sh("wc -c < '/tmp/from pipe'; tail -c 3 '/tmp/from pipe'"), "1000\n789");
}

/* A server that breaks off the first upload half-way: it is sent again whole. */
static void breaks_once(int fd, void *arg)
{
    static int turn;
    char head[4096], *at;
    size_t want, n;
    char *body;

    if (!(n = peer_head(fd, head, sizeof head)) || !(at = strstr(head, "Content-Length: ")))
        return;
    want = strtoul(at + 16, NULL, 10);
    if (turn++ == 0) {
        struct linger hard = { 1, 0 };

        body = malloc(want / 2);
        peer_read(fd, body, want / 2);
        free(body);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(fd);
        return;
    }
    body = malloc(want + 1);
    if (peer_read(fd, body, want)) {
        const char *start;

        /* The content as it must be: 4,000,000 bytes of noise. */
        char *data = malloc(4000000);

        body[want] = 0;
        start = strstr(body, "\r\n\r\n");
        e2e_noise(data, 4000000, *(unsigned *)arg);
        peer_say(fd, start && memcmp(start + 4, data, 4000000) == 0 ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
        free(data);
    }
    free(body);
}

static void sent_again(void **state)
{
    unsigned seed = 77;
    char *data = malloc(4000000);
    peer p = peer_start(breaks_once, &seed);
    sbx_client *cl = e2e_open(&(sbx_client_desc){ .endpoint = p.base, .timeout_ms = 5000 });
    sbx_box b = { "i", "n", "" };
    progress seen = { 0 };
    sbx_error e;

    (void)state;
    strcpy(b.url, p.base);
    e2e_noise(data, 4000000, seed);
    store("again", data, 4000000);
    assert_int_equal(sbx_file_upload(cl, &b, in_dir("again"), sbx_s("f"), &(sbx_file_opts){ .progress = on_progress, .user = &seen }, &e), SBX_OK);
    assert_int_equal(seen.back, 1);
    assert_int_equal(seen.done, 4000000);
    sbx_close(cl);
    peer_stop(&p);
    free(data);
}

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/sbx-transfer-XXXXXX");
    return mkdtemp(dir) ? e2e_begin(state) : -1;
}

static int remove_dir(void **state)
{
    char command[96];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) | e2e_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(failures),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(from_a_pipe),
        cmocka_unit_test(sent_again),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
