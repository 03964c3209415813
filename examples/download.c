/* A link to a file of a sandbox, downloaded with a progress bar. What came
   before an interruption (Ctrl-C, a kill, a power cut) is kept beside the file
   and goes on from there the next time, if the linked file is still the same.

     cc -std=c99 download.c -lpthread -o download
     ./download URL FILE
     ./download              makes a sandbox, a file in it and a link to that, and
                             removes what it downloaded

   For https: -DDOWNLOAD_CURL and -lcurl. A link needs no API key. */
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"
#include "../transports/sandbox_posix.h"
#include "../transports/sandbox_files.h"

#ifdef DOWNLOAD_CURL
#include "../transports/sandbox_curl.h"
#define TRANSPORT sbx_curl
#else
#define TRANSPORT sbx_posix
#endif

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

typedef struct bar {
    int64_t began, drawn; /* ms */
    uint64_t first;       /* bytes that were there already */
    bool begun;
} bar;

static void draw(const bar *b, int64_t now, uint64_t done, uint64_t total)
{
    enum { WIDTH = 30 };
    double seconds = (double)(now - b->began) / 1000, share = total ? (double)done / (double)total : 1;
    int full = (int)(share * WIDTH);

    fprintf(stderr, "\r[%.*s%.*s] %3.0f %%  %.1f of %.1f MB  %.1f MB/s ", full, "##############################", WIDTH - full,
            "..............................", 100 * share, (double)done / 1e6, (double)total / 1e6, seconds > 0 ? (double)(done - b->first) / 1e6 / seconds : 0);
}

/* Ten times a second, and at the end. */
static bool progress(void *user, uint64_t done, uint64_t total)
{
    bar *b = (bar *)user;
    int64_t now = sbx_posix.mono_ms(NULL);

    if (!b->begun) {
        b->begun = true;
        b->began = now;
        b->first = done;
    }
    if (done == total || now - b->drawn >= 100) {
        draw(b, now, done, total);
        b->drawn = now;
    }
    return !interrupted;
}

static int fail(const char *what, const sbx_error *e)
{
    fprintf(stderr, "%s: %s: %s\n", what, sbx_code_name(e->code), e->text);
    return 1;
}

static int download(sbx_client *c, const char *url, const char *path)
{
    sbx_file_opts options = { .progress = progress, .resume = true };
    bar b = { 0 };
    sbx_error err;
    sbx_code code;

    options.user = &b;
    code = sbx_file_fetch(c, sbx_s(url), path, &options, &err);
    if (b.begun)
        fputc('\n', stderr);
    if (code == SBX_ERR_CANCELLED) {
        printf("interrupted: the same command goes on\n");
        return 130;
    }
    if (code != SBX_OK)
        return fail("download", &err);
    printf("%s is complete\n", path);
    return 0;
}

/* Without arguments: something to download. */
static int make_link(sbx_client *c, sbx_download *link)
{
    sbx_create_opts create = { .delete_on_close = true };
    sbx_run_opts run = { .discard = true };
    sbx_download_opts lasting = { .expires_in_s = 600 };
    sbx_error err;
    sbx_box box;
    sbx_op op = sbx_create(c, &create, &box);

    if (sbx_await(c, op) == SBX_OK)
        op = sbx_run(c, &box, sbx_s("seq 400000 > numbers.txt"), &run, NULL);
    if (sbx_await(c, op) == SBX_OK)
        op = sbx_download_url(c, &box, sbx_s("numbers.txt"), &lasting, link);
    if (sbx_await(c, op) == SBX_OK)
        return 0;
    sbx_error_of(c, op, &err);
    return fail("link", &err);
}

int main(int argc, char **argv)
{
    sbx_client_desc desc = { .transport = &TRANSPORT };
    char sample[] = "/tmp/sandbox-numbers-XXXXXX";
    static sbx_download link;
    sbx_client *c;
    sbx_error err;
    int status;

    if (argc != 1 && argc != 3)
        return fprintf(stderr, "%s [URL FILE]\n", argv[0]), 2;
    if (sbx_open(&desc, &c, &err))
        return fail("open", &err);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (argc == 3) {
        status = download(c, argv[1], argv[2]);
    } else {
        int fd = mkstemp(sample);

        status = fd < 0 || make_link(c, &link);
        if (!status)
            status = download(c, link.url, sample);
        if (fd >= 0)
            close(fd);
        remove(sample);
    }
    sbx_close(c);
    return status;
}
