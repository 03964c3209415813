/* sandbox_files.h: whole files between this machine and a sandbox, or from a
   link, over the public API of sandbox.h. POSIX files (Linux, the BSDs, macOS).

   Use
       #define SANDBOX_IMPLEMENTATION      in one C or C++ file
       #include "sandbox.h"                before any system header
       #include "sandbox_files.h"          a transport stands in any order

   All calls block, so the client's transport must be able to wait. Events of
   other operations are neither consumed nor lost meanwhile. Memory is bounded:
   about 17 KiB of stack, whatever the file's size; nothing is allocated.

   Nothing is ever half done. A download is written beside its place
   (LOCAL.sbx-XXXXXX, with `resume` LOCAL.sbx-part and LOCAL.sbx-etag), synced
   and renamed when it is complete; until then a file that was there stays as
   it was. An upload replaces the sandbox's file when its last byte was
   received.

   Errors are those of sbx_stat, sbx_read and sbx_write. For what fails on
   this machine the code is SBX_ERR_ARGUMENT, the layer SBX_LAYER_LOCAL,
   `field` "local_path", `sys` errno, and the text names the file. */
#ifndef SBX_FILES_H
#define SBX_FILES_H

#ifndef SBX_LANGSMITH_H
#error "include sandbox.h before sandbox_files.h"
#endif

SBX_EXTERN_C_BEGIN

/* Called after each piece, outside of the client: total is UINT64_MAX where it
   is not known. `done` goes back when an upload has to begin again. False
   ends the transfer with SBX_ERR_CANCELLED. */
typedef bool (*sbx_file_progress)(void *user, uint64_t done, uint64_t total);

typedef struct sbx_file_opts {
    sbx_call call; /* of each request; call.user is not used */
    sbx_file_progress progress;
    void *user;    /* of progress */
    /* Download: keep what came when it fails, and go on from there the next
       time, if the sandbox's file is still the same (by its ETag). */
    bool resume;
    unsigned mode; /* download: permissions of the new file, 0 = 0644 less the umask */
} sbx_file_opts;

/* The sandbox's file into a local one. `opts` and `err` may be NULL. Errors
   besides: SBX_ERR_CHANGED (it changed during the download). */
SBX_API sbx_code sbx_file_download(sbx_client *c, const sbx_box *box, sbx_str remote_path, const char *local_path, const sbx_file_opts *opts, sbx_error *err);

/* The same from a link, such as sbx_download.url: any http or https URL whose
   server answers HEAD with the size. Not there under SBX_NO_URLS. Errors
   besides: those of sbx_fetch. */
SBX_API sbx_code sbx_file_fetch(sbx_client *c, sbx_str url, const char *local_path, const sbx_file_opts *opts, sbx_error *err);

/* A local file into the sandbox. Its size is taken at the beginning: what is
   appended later is left out, and SBX_ERR_CHANGED says that it became shorter.
   What is no regular file (a pipe) is sent to its end, but cannot be sent
   again after a lost connection. */
SBX_API sbx_code sbx_file_upload(sbx_client *c, const sbx_box *box, const char *local_path, sbx_str remote_path, const sbx_file_opts *opts, sbx_error *err);

SBX_EXTERN_C_END
#endif /* SBX_FILES_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_FILES_IMPLEMENTED)
#define SBXI_FILES_IMPLEMENTED

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SBXI_FILES_NAME 1024
#define SBXI_FILES_PIECE 16384

/* ---- errors ---- */

static sbx_code sbxi_files_error(sbx_error *err, sbx_code code, const char *operation, const char *what, const char *path, int sys)
{
    if (!err)
        return code;
    memset(err, 0, sizeof *err);
    err->code = code;
    err->layer = SBX_LAYER_LOCAL;
    err->sys = sys;
    err->retry_after_ms = -1;
    snprintf(err->operation, sizeof err->operation, "%s", operation);
    if (path)
        snprintf(err->field, sizeof err->field, "local_path");
    err->cut = snprintf(err->text, sizeof err->text, "%s%s%s%s%s", what, path ? " " : "", path ? path : "", sys ? ": " : "", sys ? strerror(sys) : "") >= (int)sizeof err->text;
    return code;
}

static sbx_code sbxi_files_local(sbx_error *err, const char *operation, const char *what, const char *path)
{
    return sbxi_files_error(err, SBX_ERR_ARGUMENT, operation, what, path, errno);
}

static sbx_code sbxi_files_ended(sbx_client *c, sbx_op op, sbx_code code, sbx_error *err)
{
    if (err)
        sbx_error_of(c, op, err);
    return code;
}

/* Ends what is under way for a reason of our own, which *err has already. */
static sbx_code sbxi_files_cancel(sbx_client *c, sbx_op op, sbx_code code)
{
    sbx_cancel(c, op);
    sbx_await(c, op);
    return code;
}

static bool sbxi_files_write(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t put = write(fd, p, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        p += put;
        n -= (size_t)put;
    }
    return true;
}

/* ---- download ---- */

typedef struct sbxi_files_down {
    sbx_client *c;
    const sbx_box *box;
    sbx_str remote;
    bool link; /* remote is a URL, there is no sandbox */
    const char *local;
    const sbx_file_opts *o;
    sbx_error *err;
    sbx_file_stat stat;
    uint64_t done;
    int fd;
    char part[SBXI_FILES_NAME], tag[SBXI_FILES_NAME];
} sbxi_files_down;

static const char sbxi_files_down_name[] = "download";

/* How much of the same file is there from the last time. */
static uint64_t sbxi_files_kept(const sbxi_files_down *d)
{
    char etag[sizeof d->stat.etag + 1];
    int fd = open(d->tag, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, etag, sizeof etag);
    struct stat st;

    if (fd >= 0)
        close(fd);
    if (n <= 0 || (size_t)n != strlen(d->stat.etag) || memcmp(etag, d->stat.etag, (size_t)n) != 0)
        return 0;
    return fstat(d->fd, &st) == 0 && (uint64_t)st.st_size <= d->stat.size ? (uint64_t)st.st_size : 0;
}

/* A file of its own beside the place. Not by mkstemp: the mode less the umask is
   what open gives, and asking for the umask changes it for all threads. */
static sbx_code sbxi_files_create(sbxi_files_down *d, mode_t mode)
{
    char *end = d->part + strlen(d->part) - 6;
    uint32_t name = (uint32_t)time(NULL) * 2654435761u ^ (uint32_t)getpid() << 8;

    for (unsigned i = 0; i < 100; i++) {
        snprintf(end, 7, "%06x", (unsigned)((name + i * 40503u) & 0xFFFFFF));
        d->fd = open(d->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (d->fd >= 0)
            return SBX_OK;
        if (errno != EEXIST)
            break;
    }
    return sbxi_files_local(d->err, sbxi_files_down_name, "cannot create", d->part);
}

/* The names that are kept can be foretold: what lies there may be another's
   link or pipe, and is not followed, nor waited for. */
static sbx_code sbxi_files_open_part(sbxi_files_down *d)
{
    const int own = O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    mode_t mode = d->o->mode ? (mode_t)d->o->mode : 0644;
    struct stat st;
    int fd;

    if (!d->o->resume)
        return sbxi_files_create(d, mode);
    d->fd = open(d->part, O_RDWR | own, mode);
    if (d->fd < 0)
        return sbxi_files_local(d->err, sbxi_files_down_name, "cannot create", d->part);
    if (fstat(d->fd, &st) || !S_ISREG(st.st_mode))
        return sbxi_files_error(d->err, SBX_ERR_ARGUMENT, sbxi_files_down_name, "is no file:", d->part, 0);
    /* Only a strong tag tells that two parts belong together. */
    if (d->stat.etag[0] == '"')
        d->done = sbxi_files_kept(d);
    if (ftruncate(d->fd, (off_t)d->done) || lseek(d->fd, (off_t)d->done, SEEK_SET) < 0)
        return sbxi_files_local(d->err, sbxi_files_down_name, "cannot write", d->part);
    if (d->done)
        return SBX_OK;
    fd = open(d->tag, O_WRONLY | O_TRUNC | own, 0600);
    if (fd < 0 || !sbxi_files_write(fd, d->stat.etag, strlen(d->stat.etag))) {
        sbx_code code = sbxi_files_local(d->err, sbxi_files_down_name, "cannot write", d->tag);

        if (fd >= 0)
            close(fd);
        return code;
    }
    close(fd);
    return SBX_OK;
}

static sbx_code sbxi_files_receive(sbxi_files_down *d)
{
    sbx_read_opts r;
    sbx_read_result got;
    sbx_event ev;
    sbx_op op;
    sbx_code code = SBX_ERR_HANDLE;

    memset(&r, 0, sizeof r);
    memset(&got, 0, sizeof got);
    r.call = d->o->call;
    r.stream = true;
    r.offset = (int64_t)d->done;
    if (d->done)
        r.if_match_etag = sbx_s(d->stat.etag);
#if !SBX_NO_URLS
    if (d->link)
        op = sbx_fetch(d->c, d->remote, &r, &got);
    else
#endif
        op = sbx_read(d->c, d->box, d->remote, &r, &got);
    while (sbx_next_of(d->c, &op, &ev)) {
        if (ev.kind == SBX_EV_END) {
            code = sbxi_files_ended(d->c, ev.op, ev.code, d->err);
        } else if (ev.kind == SBX_EV_DATA) {
            if (ev.data.n > d->stat.size - d->done) { /* what it grew by is not wanted, and may never end */
                code = sbxi_files_error(d->err, SBX_ERR_CHANGED, sbxi_files_down_name, sbx_code_text(SBX_ERR_CHANGED), NULL, 0);
                return sbxi_files_cancel(d->c, op, code);
            }
            if (!sbxi_files_write(d->fd, ev.data.p, ev.data.n)) {
                code = sbxi_files_local(d->err, sbxi_files_down_name, "cannot write", d->part);
                return sbxi_files_cancel(d->c, op, code);
            }
            d->done += ev.data.n;
            if (d->o->progress && !d->o->progress(d->o->user, d->done, d->stat.size)) {
                code = sbxi_files_error(d->err, SBX_ERR_CANCELLED, sbxi_files_down_name, sbx_code_text(SBX_ERR_CANCELLED), NULL, 0);
                return sbxi_files_cancel(d->c, op, code);
            }
        }
    }
    if (code == SBX_OK && (d->done != d->stat.size || strcmp(got.stat.etag, d->stat.etag) != 0))
        code = sbxi_files_error(d->err, SBX_ERR_CHANGED, sbxi_files_down_name, sbx_code_text(SBX_ERR_CHANGED), NULL, 0);
    return code;
}

static sbx_code sbxi_files_download(sbx_client *c, const sbx_box *box, sbx_str remote, bool link, const char *local_path, const sbx_file_opts *opts, sbx_error *err)
{
    sbx_file_opts none;
    sbx_box_opts stat_opts;
    sbxi_files_down d;
    sbx_code code;
    sbx_op op;

    memset(&none, 0, sizeof none);
    memset(&stat_opts, 0, sizeof stat_opts);
    memset(&d, 0, sizeof d);
    d.c = c;
    d.box = box;
    d.remote = remote;
    d.link = link;
    d.local = local_path;
    d.o = opts ? opts : &none;
    d.err = err;
    d.fd = -1;
    if ((size_t)snprintf(d.part, sizeof d.part, d.o->resume ? "%s.sbx-part" : "%s.sbx-XXXXXX", local_path) >= sizeof d.part ||
        (size_t)snprintf(d.tag, sizeof d.tag, "%s.sbx-etag", local_path) >= sizeof d.tag)
        return sbxi_files_error(err, SBX_ERR_ARGUMENT, sbxi_files_down_name, "too long a name:", local_path, ENAMETOOLONG);
    stat_opts.call = d.o->call;
#if !SBX_NO_URLS
    if (link)
        op = sbx_fetch_stat(c, remote, &stat_opts, &d.stat);
    else
#endif
        op = sbx_stat(c, box, remote, &stat_opts, &d.stat);
    code = sbx_await(c, op);
    if (code != SBX_OK)
        return sbxi_files_ended(c, op, code, err);
    code = sbxi_files_open_part(&d);
    if (code == SBX_OK && d.o->progress && d.done && !d.o->progress(d.o->user, d.done, d.stat.size))
        code = sbxi_files_error(err, SBX_ERR_CANCELLED, sbxi_files_down_name, sbx_code_text(SBX_ERR_CANCELLED), NULL, 0);
    if (code == SBX_OK && (!d.done || d.done < d.stat.size))
        code = sbxi_files_receive(&d);
    if (code == SBX_OK && fsync(d.fd) && errno != EINVAL && errno != EROFS)
        code = sbxi_files_local(err, sbxi_files_down_name, "cannot write", d.part);
    if (d.fd >= 0 && close(d.fd) && code == SBX_OK)
        code = sbxi_files_local(err, sbxi_files_down_name, "cannot write", d.part);
    if (code == SBX_OK && rename(d.part, local_path))
        code = sbxi_files_local(err, sbxi_files_down_name, "cannot replace", local_path);
    if (code == SBX_OK && d.o->resume)
        unlink(d.tag);
    else if (code != SBX_OK && d.fd >= 0 && (!d.o->resume || code == SBX_ERR_CHANGED)) {
        unlink(d.part);
        if (d.o->resume)
            unlink(d.tag);
    }
    if (code == SBX_OK && err) {
        memset(err, 0, sizeof *err);
        err->retry_after_ms = -1;
    }
    return code;
}

SBX_API sbx_code sbx_file_download(sbx_client *c, const sbx_box *box, sbx_str remote_path, const char *local_path, const sbx_file_opts *opts, sbx_error *err)
{
    return sbxi_files_download(c, box, remote_path, false, local_path, opts, err);
}

#if !SBX_NO_URLS
SBX_API sbx_code sbx_file_fetch(sbx_client *c, sbx_str url, const char *local_path, const sbx_file_opts *opts, sbx_error *err)
{
    return sbxi_files_download(c, NULL, url, true, local_path, opts, err);
}
#endif

/* ---- upload ---- */

typedef struct sbxi_files_up {
    sbx_client *c;
    sbx_op op;
    const char *local;
    const sbx_file_opts *o;
    sbx_error *err;
    uint64_t done, size; /* UINT64_MAX: not known */
    int fd;
    bool ended;
    size_t at, n; /* of piece */
    char piece[SBXI_FILES_PIECE];
} sbxi_files_up;

static const char sbxi_files_up_name[] = "upload";

/* The next bytes of the file; at its end none. */
static sbx_code sbxi_files_piece(sbxi_files_up *u)
{
    uint64_t left = u->size == UINT64_MAX ? UINT64_MAX : u->size - u->done;
    ssize_t got;

    u->at = u->n = 0;
    if (!left)
        return SBX_OK;
    do
        got = read(u->fd, u->piece, left < sizeof u->piece ? (size_t)left : sizeof u->piece);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return sbxi_files_local(u->err, sbxi_files_up_name, "cannot read", u->local);
    if (!got && u->size != UINT64_MAX)
        return sbxi_files_error(u->err, SBX_ERR_CHANGED, sbxi_files_up_name, "became shorter during the upload:", u->local, 0);
    u->n = (size_t)got;
    return SBX_OK;
}

static sbx_code sbxi_files_push(sbxi_files_up *u)
{
    while (!u->ended) {
        bool last;
        size_t taken;
        sbx_code code = u->at == u->n ? sbxi_files_piece(u) : SBX_OK;

        if (code != SBX_OK)
            return code;
        last = u->size == UINT64_MAX ? u->n == 0 : u->done + (u->n - u->at) == u->size;
        code = sbx_push(u->c, u->op, sbx_sn(u->piece + u->at, u->n - u->at), last, &taken);
        if (code != SBX_OK)
            return SBX_OK; /* it is over already, or to be rewound: the next event tells */
        u->at += taken;
        u->done += taken;
        if (taken && u->o->progress && !u->o->progress(u->o->user, u->done, u->size))
            return sbxi_files_error(u->err, SBX_ERR_CANCELLED, sbxi_files_up_name, sbx_code_text(SBX_ERR_CANCELLED), NULL, 0);
        if (u->at < u->n)
            return SBX_OK;
        u->ended = last;
    }
    return SBX_OK;
}

static sbx_code sbxi_files_again(sbxi_files_up *u)
{
    if (lseek(u->fd, 0, SEEK_SET) < 0)
        return sbxi_files_error(u->err, SBX_ERR_CONNECTION, sbxi_files_up_name, "the connection was lost and this cannot be read again:", u->local, 0);
    u->at = u->n = 0;
    u->done = 0;
    u->ended = false;
    return sbx_rewind(u->c, u->op);
}

static sbx_code sbxi_files_send(sbxi_files_up *u)
{
    sbx_code code = SBX_ERR_HANDLE;
    sbx_event ev;

    while (sbx_next_of(u->c, &u->op, &ev)) {
        if (ev.kind == SBX_EV_END) {
            code = sbxi_files_ended(u->c, ev.op, ev.code, u->err);
        } else if (ev.kind == SBX_EV_REWIND || ev.kind == SBX_EV_WRITABLE) {
            sbx_code own = ev.kind == SBX_EV_REWIND ? sbxi_files_again(u) : sbxi_files_push(u);

            if (own != SBX_OK)
                return sbxi_files_cancel(u->c, u->op, own);
        }
    }
    return code;
}

SBX_API sbx_code sbx_file_upload(sbx_client *c, const sbx_box *box, const char *local_path, sbx_str remote_path, const sbx_file_opts *opts, sbx_error *err)
{
    sbx_file_opts none;
    sbx_write_opts w;
    sbxi_files_up u;
    struct stat st;
    sbx_code code;

    memset(&none, 0, sizeof none);
    memset(&w, 0, sizeof w);
    u.c = c;
    u.o = opts ? opts : &none;
    u.err = err;
    u.local = local_path;
    u.done = 0;
    u.at = u.n = 0;
    u.ended = false;
    u.fd = open(local_path, O_RDONLY | O_CLOEXEC);
    if (u.fd < 0)
        return sbxi_files_local(err, sbxi_files_up_name, "cannot open", local_path);
    if (fstat(u.fd, &st)) {
        code = sbxi_files_local(err, sbxi_files_up_name, "cannot open", local_path);
    } else if (S_ISDIR(st.st_mode)) {
        code = sbxi_files_error(err, SBX_ERR_ARGUMENT, sbxi_files_up_name, "cannot open", local_path, EISDIR);
    } else {
        u.size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
        w.call = u.o->call;
        w.stream = true;
        w.size = S_ISREG(st.st_mode) ? (int64_t)st.st_size : SBX_NONE;
        u.op = sbx_write(c, box, remote_path, sbx_sn(NULL, 0), &w);
        code = sbxi_files_send(&u);
    }
    close(u.fd);
    return code;
}

#endif /* SANDBOX_IMPLEMENTATION */
