/* sandbox_build.h: a snapshot from a Dockerfile, over the public API of
   sandbox.h. POSIX (Linux, the BSDs, macOS).

   Use
       #define SANDBOX_IMPLEMENTATION      in one C or C++ file
       #include "sandbox.h"                before any system header
       #include "sandbox_build.h"          a transport stands in any order

   Beside it must lie sandbox_context.h, a part of it.

   A sandbox is created as the builder, the build context goes into it as a tar
   that is made while it is sent, BuildKit and Docker inside it make an image,
   which is captured as the snapshot; then the builder is deleted, whatever
   happened. That is what the service's official clients do.

       sbx_image_build b;
       if (sbx_image_begin(&b, c, sbx_s("app"), "Dockerfile", NULL) == SBX_OK)
           while (sbx_image_next(&b, &ev))
               if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR)
                   fwrite(ev.data.p, 1, ev.data.n, stderr);
       if (b.err.code != SBX_OK)
           fprintf(stderr, "%s\n", b.err.text);

   The context has every file below its directory but `.git` and what
   .dockerignore names, by Docker's rules (`!`, `**`, `#`; DOCKERFILE.dockerignore
   beside the Dockerfile comes before it); the Dockerfile and .dockerignore
   themselves are always sent. Modes, times, symlinks and hard links (of the
   first 64 files that have more than one) are kept, owners are not; sockets,
   pipes and devices are left out.

   Memory: one block of about 80 KiB from malloc until END, and the C library's
   for each directory that is open; none of a file's or directory's size.
   Limits: .dockerignore 16 KiB, the build's script with its arguments 16 KiB,
   paths 4,095 bytes, 64 directories deep (SBX_ERR_TOO_LARGE names the one that
   is over).

   The sandbox that the builder begins with must have bash, tar, buildkitd,
   buildctl, buildkit-runc and a Docker that runs, as the official clients expect
   of the service's default. */
#ifndef SBX_BUILD_H
#define SBX_BUILD_H

#ifndef SBX_LANGSMITH_SNAPSHOTS_H
#error "include sandbox.h before sandbox_build.h"
#endif

SBX_EXTERN_C_BEGIN

typedef enum sbx_image_stage {
    SBX_IMAGE_CREATE,  /* of the builder */
    SBX_IMAGE_UPLOAD,  /* of the context */
    SBX_IMAGE_BUILD,
    SBX_IMAGE_CAPTURE,
    SBX_IMAGE_CLEAN,   /* the builder is deleted */
    SBX_IMAGE_DONE     /* END was given */
} sbx_image_stage;

/* Zero is the default. What it points to, `builder` and `snapshot` included,
   is borrowed until END. */
typedef struct sbx_image_opts {
    sbx_call call;       /* of each request (total_ms too: for all of them bound it yourself, by sbx_image_cancel); call.user is not used */
    const char *context; /* a directory, NULL = "." */
    sbx_str target;      /* the stage to build */
    const sbx_pair *build_args;
    size_t build_args_n;
    int64_t fs_capacity_bytes; /* of builder and snapshot, where those below name none; 0 = the server's */
    int32_t timeout_s;   /* of the build: 1,800; SBX_NONE = none */
    sbx_create_opts builder;    /* vcpus, mem_bytes, snapshot, …; its name, no_wait and delete_on_close are set here */
    sbx_snapshot_opts snapshot; /* labels, tag, run_config, wait_s (300), …; its docker_image is set here */
} sbx_image_opts;

/* A build under way. Its fields are for reading. */
typedef struct sbx_image_build {
    sbx_image_stage stage;
    uint64_t sent;         /* bytes of the context's tar so far; begins anew with an upload that is repeated */
    sbx_box builder;
    bool builder_left;     /* with END: it could not be deleted; sbx_close tries again */
    sbx_snapshot snapshot; /* with END on success */
    sbx_error err;         /* with END, or when begin refuses */
    struct sbxi_image *own;
} sbx_image_build;

/* Begins to make snapshot `name` (no colon: the tag is snapshot.tag) of a Dockerfile (relative to the context;
   inside of it or elsewhere). Looks at the files named, reads .dockerignore and
   sends nothing yet. Takes one of max_owned: should this program end in the
   midst of it, sbx_close deletes the builder. Anything but SBX_OK: b->err tells
   why, and there is nothing to pull. Errors: SBX_ERR_ARGUMENT (field
   local_path: sys is errno, the text names the file; or the option),
   SBX_ERR_TOO_LARGE, SBX_ERR_MEMORY, SBX_ERR_ENTROPY. */
SBX_API sbx_code sbx_image_begin(sbx_image_build *b, sbx_client *c, sbx_str name, const char *dockerfile, const sbx_image_opts *opts);

/* Blocks for the build's next event: the build's log as SBX_EV_STDOUT and
   _STDERR (BuildKit's progress is on the second), SBX_EV_GAP, _RETRYING,
   _RECONNECTED, _STARTED; SBX_EV_END with its code comes last, when the builder
   is gone. Then, and for a transport that cannot wait, false. Reads local files.
   Pull until END before sbx_close: only END frees what the build holds here
   (sbx_shutdown leads to it as well).
   Errors at END, besides those of the calls it is made of: SBX_ERR_CREATION
   (the build failed: its log tells why; or the capture), SBX_ERR_CHANGED (a
   file became shorter while it was sent), SBX_ERR_COMMAND_TIMEOUT (timeout_s),
   SBX_ERR_CANCELLED. The first error counts. */
SBX_API bool sbx_image_next(sbx_image_build *b, sbx_event *ev);

/* The same for an event loop: show it each event that sbx_next gives. False:
   not the build's. True: it was, and *ev is what to make of it (kind
   SBX_EV_NONE: nothing). Call it once with ev->kind SBX_EV_NONE to get going. */
SBX_API bool sbx_image_take(sbx_image_build *b, sbx_event *ev);

/* Ends it early: go on pulling until END, the builder is deleted first (one
   that is being created, when it is there). Does not block. */
SBX_API void sbx_image_cancel(sbx_image_build *b);

SBX_EXTERN_C_END
#endif /* SBX_BUILD_H */

#if defined(SANDBOX_IMPLEMENTATION) && !defined(SBXI_BUILD_IMPLEMENTED)
#define SBXI_BUILD_IMPLEMENTED

#include "sandbox_context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the build ---- */

typedef enum sbxi_image_step {
    SBXI_IMAGE_CREATE,
    SBXI_IMAGE_CONTEXT,
    SBXI_IMAGE_DOCKERFILE, /* where it lies outside of the context */
    SBXI_IMAGE_SCRIPT,
    SBXI_IMAGE_RUN,
    SBXI_IMAGE_CAPTURE_IT,
    SBXI_IMAGE_DELETE,
    SBXI_IMAGE_END
} sbxi_image_step;

struct sbxi_image {
    sbx_client *c;
    sbx_op op;
    sbxi_image_step step;
    sbx_image_opts o;
    char name[128], builder[40], image[64], root[48]; /* root: the build's directory in the builder */
    char context[SBXI_IMAGE_PATH], dockerfile[SBXI_IMAGE_PATH];
    bool outside;  /* the Dockerfile is */
    bool ended;    /* the last byte was pushed */
    sbxi_ignore ignore;
    sbxi_tar tar;
    size_t at, n;  /* of text */
    char text[SBXI_IMAGE_TEXT];
};

/* Text that grows in `text`; what has no room is only counted. */
static void sbxi_image_put(struct sbxi_image *i, const char *p, size_t n)
{
    if (i->n <= sizeof i->text && n <= sizeof i->text - i->n)
        memcpy(i->text + i->n, p, n);
    i->n = n > SIZE_MAX / 2 - i->n ? SIZE_MAX / 2 : i->n + n;
}

static void sbxi_image_puts(struct sbxi_image *i, const char *z)
{
    sbxi_image_put(i, z, strlen(z));
}

/* A word of the shell that stands for exactly these bytes. */
static void sbxi_image_quote(struct sbxi_image *i, const char *before, sbx_str a, const char *between, sbx_str b)
{
    sbx_str parts[4];

    parts[0] = sbx_s(before);
    parts[1] = a;
    parts[2] = sbx_s(between);
    parts[3] = b;
    sbxi_image_puts(i, " '");
    for (unsigned k = 0; k < 4; k++)
        for (size_t j = 0; j < parts[k].n; j++)
            if (parts[k].p[j] == '\'')
                sbxi_image_puts(i, "'\\''");
            else
                sbxi_image_put(i, parts[k].p + j, 1);
    sbxi_image_puts(i, "'");
}

/* Unpacks the context, starts BuildKit, waits for it and for Docker, builds and
   loads the image. */
static void sbxi_image_script(struct sbxi_image *i)
{
    static const char begin[] = "set -euo pipefail\n"
                                "mkdir -p context buildkit-root buildkit-run\n"
                                "tar -xf context.tar -C context\n"
                                "rm -f context.tar\n"
                                "address=unix://$PWD/buildkit-run/buildkitd.sock\n"
                                "log=$PWD/buildkit-run/buildkitd.log\n"
                                "buildkitd --addr \"$address\" --root \"$PWD/buildkit-root\" --oci-worker=true --containerd-worker=false"
                                " --oci-worker-snapshotter=native --oci-worker-binary buildkit-runc >\"$log\" 2>&1 &\n"
                                "daemon=$!\n"
                                "trap 'kill \"$daemon\" 2>/dev/null || true' EXIT\n"
                                "answers() {\n"
                                "    for try in $(seq 300); do\n"
                                "        if \"$@\" >/dev/null 2>&1; then return 0; fi\n"
                                "        kill -0 \"$daemon\" 2>/dev/null || return 1\n"
                                "        sleep 0.1\n"
                                "    done\n"
                                "    return 1\n"
                                "}\n"
                                "answers buildctl --addr \"$address\" debug workers || { cat \"$log\" >&2; exit 1; }\n"
                                "answers docker info || { docker info >&2; exit 1; }\n"
                                "buildctl --addr \"$address\" build --progress=plain --frontend dockerfile.v0 --local context=\"$PWD/context\"";
    static const char end[] = " | docker load\nrm -rf context buildkit-root || true\n";
    const char *in = i->outside ? "Dockerfile" : i->dockerfile, *slash = strrchr(in, '/');
    sbx_str none = sbx_sn(NULL, 0);

    i->at = i->n = 0;
    sbxi_image_puts(i, "cd ");
    sbxi_image_puts(i, i->root);
    sbxi_image_puts(i, "\n");
    sbxi_image_puts(i, begin);
    sbxi_image_puts(i, " --local");
    sbxi_image_quote(i, "dockerfile=", sbx_s(i->root), i->outside ? "/dockerfile" : slash ? "/context/" : "/context", sbx_sn(in, slash ? (size_t)(slash - in) : 0));
    sbxi_image_puts(i, " --opt");
    sbxi_image_quote(i, "filename=", sbx_s(slash ? slash + 1 : in), "", none);
    if (i->o.target.n) {
        sbxi_image_puts(i, " --opt");
        sbxi_image_quote(i, "target=", i->o.target, "", none);
    }
    for (size_t k = 0; k < i->o.build_args_n; k++) {
        sbxi_image_puts(i, " --opt");
        sbxi_image_quote(i, "build-arg:", i->o.build_args[k].name, "=", i->o.build_args[k].value);
    }
    sbxi_image_puts(i, " --output");
    sbxi_image_quote(i, "type=docker,name=", sbx_s(i->image), "", none);
    sbxi_image_puts(i, end);
}

/* What would be refused only after a build of many minutes is refused here. */
static const char *sbxi_image_bad(const sbx_image_opts *o, const char **why)
{
    *why = "has a count but no address";
    if (o->build_args_n && !o->build_args)
        return "build_args";
    *why = "must have names without = and no NUL";
    for (size_t k = 0; k < o->build_args_n; k++) {
        const sbx_pair *a = &o->build_args[k];

        if (!a->name.n || memchr(a->name.p, '=', a->name.n) || memchr(a->name.p, 0, a->name.n) || (a->value.n && memchr(a->value.p, 0, a->value.n)))
            return "build_args";
    }
    if (o->target.n && memchr(o->target.p, 0, o->target.n))
        return "target";
    *why = "must be positive seconds, 0 (1,800) or SBX_NONE";
    if (o->timeout_s < SBX_NONE)
        return "timeout_s";
    *why = "is set by the build itself";
    if (o->builder.name.p || o->builder.no_wait)
        return o->builder.name.p ? "builder.name" : "builder.no_wait";
    if (o->snapshot.docker_image.p || o->snapshot.no_wait)
        return o->snapshot.docker_image.p ? "snapshot.docker_image" : "snapshot.no_wait";
    *why = "belongs to sbx_snapshot_build";
    if (o->snapshot.registry_id.p || o->snapshot.registry_url.p || o->snapshot.registry_username.p || o->snapshot.registry_password.p)
        return "snapshot.registry_id";
    return NULL;
}

/* The name of the builder, of its directory and of the image: nobody else's. */
static bool sbxi_image_names(struct sbxi_image *i)
{
    unsigned char random[16];
    char hex[2 * sizeof random + 1];
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool got = fd >= 0 && read(fd, random, sizeof random) == (ssize_t)sizeof random;

    if (fd >= 0)
        close(fd);
    if (!got)
        return false;
    for (unsigned k = 0; k < sizeof random; k++)
        snprintf(hex + 2 * k, 3, "%02x", random[k]);
    snprintf(i->builder, sizeof i->builder, "snapshot-builder-%.12s", hex);
    snprintf(i->root, sizeof i->root, "/var/lib/langsmith-build/%.12s", hex);
    snprintf(i->image, sizeof i->image, "langsmith-snapshot-build:%s", hex);
    return true;
}

/* The file's bytes into the patterns; false: there is none. */
static bool sbxi_image_ignore(struct sbxi_image *i, const char *path, sbx_error *err, sbx_code *code)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would block */
    struct stat st;
    ssize_t got = 1;
    size_t n = 0;
    unsigned line;
    char what[64];

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return false;
    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        close(fd);
        *code = sbxi_image_error(err, SBX_ERR_ARGUMENT, "local_path", "is no file:", path, 0);
        return true;
    }
    while (fd >= 0 && got > 0 && n < sizeof i->ignore.text) {
        got = read(fd, i->ignore.text + n, sizeof i->ignore.text - n);
        n += got > 0 ? (size_t)got : 0;
    }
    if (fd < 0 || got < 0)
        *code = sbxi_image_local(err, "cannot read", path);
    else if (n == sizeof i->ignore.text)
        *code = sbxi_image_error(err, SBX_ERR_TOO_LARGE, "local_path", "longer than 16,383 bytes:", path, 0);
    else if ((line = sbxi_ignore_parse(&i->ignore, n)) != 0) {
        snprintf(what, sizeof what, "line %u is no pattern:", line);
        *code = sbxi_image_error(err, SBX_ERR_ARGUMENT, "local_path", what, path, 0);
    }
    if (fd >= 0)
        close(fd);
    return true;
}

/* Where context and Dockerfile really lie, and what is left out. */
static sbx_code sbxi_image_places(struct sbxi_image *i, const char *dockerfile, sbx_error *err)
{
    const char *context = i->o.context ? i->o.context : ".";
    char *path = i->tar.path, *real;
    struct stat st;
    sbx_code code = SBX_OK;
    bool own; /* the Dockerfile has a .dockerignore of its own */
    size_t n;

    real = realpath(context, NULL);
    if (!real || strlen(real) >= sizeof i->context)
        return free(real), sbxi_image_local(err, "cannot open", context);
    strcpy(i->context, real);
    free(real);
    if (stat(i->context, &st) == 0 && !S_ISDIR(st.st_mode))
        return sbxi_image_error(err, SBX_ERR_ARGUMENT, "local_path", "the context is no directory:", context, ENOTDIR);
    if ((size_t)snprintf(path, SBXI_IMAGE_PATH, "%s%s%s", dockerfile[0] == '/' ? "" : i->context, dockerfile[0] == '/' ? "" : "/", dockerfile) >= SBXI_IMAGE_PATH)
        return sbxi_image_error(err, SBX_ERR_TOO_LARGE, "local_path", "too long a path:", dockerfile, ENAMETOOLONG);
    real = realpath(path, NULL);
    if (!real || strlen(real) >= sizeof i->dockerfile || stat(real, &st))
        return free(real), sbxi_image_local(err, "cannot open", path);
    strcpy(i->dockerfile, real);
    free(real);
    if (!S_ISREG(st.st_mode))
        return sbxi_image_error(err, SBX_ERR_ARGUMENT, "local_path", "the Dockerfile is no file:", path, 0);
    /* realpath gives "/" its slash and nothing else one. */
    n = strcmp(i->context, "/") == 0 ? 0 : strlen(i->context);
    own = (size_t)snprintf(path, SBXI_IMAGE_PATH, "%s.dockerignore", i->dockerfile) < SBXI_IMAGE_PATH && sbxi_image_ignore(i, path, err, &code);
    if (!own && (size_t)snprintf(path, SBXI_IMAGE_PATH, "%s/.dockerignore", i->context) < SBXI_IMAGE_PATH)
        sbxi_image_ignore(i, path, err, &code);
    i->outside = strncmp(i->dockerfile, i->context, n) != 0 || i->dockerfile[n] != '/';
    if (!i->outside)
        memmove(i->dockerfile, i->dockerfile + n + 1, strlen(i->dockerfile + n));
    return code;
}

static void sbxi_image_free(sbx_image_build *b)
{
    if (b->own)
        sbxi_tar_close(&b->own->tar);
    free(b->own);
    b->own = NULL;
}

static void sbxi_image_start(sbx_image_build *b);

SBX_API sbx_code sbx_image_begin(sbx_image_build *b, sbx_client *c, sbx_str name, const char *dockerfile, const sbx_image_opts *opts)
{
    const char *why, *bad;
    struct sbxi_image *i;
    sbx_code code;

    memset(b, 0, sizeof *b);
    b->err.retry_after_ms = -1;
    i = b->own = (struct sbxi_image *)calloc(1, sizeof *i);
    if (!i)
        return sbxi_image_error(&b->err, SBX_ERR_MEMORY, "", sbx_code_text(SBX_ERR_MEMORY), NULL, 0);
    i->c = c;
    i->tar.fd = -1;
    i->tar.err = &b->err;
    i->tar.ignore = &i->ignore;
    if (opts)
        i->o = *opts;
    bad = sbxi_image_bad(&i->o, &why);
    if (bad)
        code = sbxi_image_error(&b->err, SBX_ERR_ARGUMENT, bad, bad, why, 0);
    else if (!name.n || name.n >= sizeof i->name || memchr(name.p, ':', name.n))
        code = sbxi_image_error(&b->err, SBX_ERR_ARGUMENT, "name", "name", "must have 1 to 127 bytes and no colon (the tag is snapshot.tag)", 0);
    else if (!sbxi_image_names(i))
        code = sbxi_image_error(&b->err, SBX_ERR_ENTROPY, "", "/dev/urandom cannot be read", NULL, 0);
    else
        code = sbxi_image_places(i, dockerfile, &b->err);
    if (code == SBX_OK) {
        memcpy(i->name, name.p, name.n);
        sbxi_image_script(i);
        if (i->n > sizeof i->text)
            code = sbxi_image_error(&b->err, SBX_ERR_TOO_LARGE, "build_args", "build_args", "make the build's script longer than 16 KiB", 0);
    }
    if (code != SBX_OK) {
        sbxi_image_free(b);
        b->stage = SBX_IMAGE_DONE;
        return code;
    }
    i->tar.keep = i->outside ? NULL : i->dockerfile;
    i->n = 0;
    sbxi_image_start(b);
    return SBX_OK;
}

/* ---- its steps ---- */

/* The first error counts, and the builder goes first in any case. */
static void sbxi_image_fail(sbx_image_build *b, const sbx_error *err)
{
    struct sbxi_image *i = b->own;

    if (b->err.code == SBX_OK && err)
        b->err = *err;
    i->step = i->step < SBXI_IMAGE_DELETE ? SBXI_IMAGE_DELETE : SBXI_IMAGE_END;
}

static sbx_op sbxi_image_create(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;
    sbx_create_opts o = i->o.builder;

    b->stage = SBX_IMAGE_CREATE;
    o.call = i->o.call;
    o.name = sbx_s(i->builder);
    o.delete_on_close = true;
    if (!o.fs_capacity_bytes)
        o.fs_capacity_bytes = i->o.fs_capacity_bytes;
    sbx_box_named(&b->builder, o.name, sbx_s(""));
    return sbx_create(i->c, &o, &b->builder);
}

static sbx_op sbxi_image_upload(sbx_image_build *b, const char *to, const char *from)
{
    struct sbxi_image *i = b->own;
    sbx_write_opts o;
    char path[80];

    memset(&o, 0, sizeof o);
    b->stage = SBX_IMAGE_UPLOAD;
    o.call = i->o.call;
    snprintf(path, sizeof path, "%s/%s", i->root, to);
    if (!from) {
        sbxi_image_script(i);
        return sbx_write(i->c, &b->builder, sbx_s(path), sbx_sn(i->text, i->n), &o);
    }
    if (sbxi_tar_begin(&i->tar, from, i->step == SBXI_IMAGE_DOCKERFILE) != SBX_OK) {
        sbx_op none = { 0, 0 };

        none.gen = (uint32_t)b->err.code;
        return none;
    }
    i->at = i->n = 0;
    i->ended = false;
    o.stream = true;
    o.size = SBX_NONE; /* the directory may change until it was read */
    return sbx_write(i->c, &b->builder, sbx_s(path), sbx_sn(NULL, 0), &o);
}

static sbx_op sbxi_image_run(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;
    sbx_run_opts o;
    char command[96];

    memset(&o, 0, sizeof o);
    b->stage = SBX_IMAGE_BUILD;
    o.call = i->o.call;
    o.timeout_s = i->o.timeout_s ? i->o.timeout_s : 1800;
    o.shell = sbx_s("/bin/bash");
    snprintf(command, sizeof command, "exec /bin/bash %s/build.sh", i->root);
    return sbx_command(i->c, &b->builder, sbx_s(command), &o);
}

static sbx_op sbxi_image_capture(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;
    sbx_snapshot_opts o = i->o.snapshot;

    b->stage = SBX_IMAGE_CAPTURE;
    o.call = i->o.call;
    o.docker_image = sbx_s(i->image);
    if (!o.fs_capacity_bytes)
        o.fs_capacity_bytes = i->o.fs_capacity_bytes;
    if (!o.wait_s)
        o.wait_s = 300;
    return sbx_snapshot_capture(i->c, &b->builder, sbx_s(i->name), &o, &b->snapshot);
}

/* Within its own time, whatever the call's was. */
static sbx_op sbxi_image_delete(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;
    sbx_box_opts o;

    memset(&o, 0, sizeof o);
    b->stage = SBX_IMAGE_CLEAN;
    o.call = i->o.call;
    o.call.total_ms = 60000;
    o.call.timeout_ms = o.call.max_retries = 0;
    return sbx_delete(i->c, &b->builder, &o);
}

/* Starts the step's operation; one that is refused ends it at once. */
static void sbxi_image_start(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;
    sbx_error err;

    for (;;) {
        switch (i->step) {
        case SBXI_IMAGE_CREATE: i->op = sbxi_image_create(b); break;
        case SBXI_IMAGE_CONTEXT: i->op = sbxi_image_upload(b, "context.tar", i->context); break;
        case SBXI_IMAGE_DOCKERFILE: i->op = sbxi_image_upload(b, "dockerfile/Dockerfile", i->dockerfile); break;
        case SBXI_IMAGE_SCRIPT: i->op = sbxi_image_upload(b, "build.sh", NULL); break;
        case SBXI_IMAGE_RUN: i->op = sbxi_image_run(b); break;
        case SBXI_IMAGE_CAPTURE_IT: i->op = sbxi_image_capture(b); break;
        case SBXI_IMAGE_DELETE: i->op = sbxi_image_delete(b); break;
        default: return;
        }
        if (i->op.slot)
            return;
        sbx_error_of(i->c, i->op, &err);
        b->builder_left = i->step == SBXI_IMAGE_DELETE;
        if (i->step == SBXI_IMAGE_CREATE)
            i->step = SBXI_IMAGE_DELETE; /* there is none */
        sbxi_image_fail(b, b->err.code == SBX_OK ? &err : NULL);
    }
}

/* The operation ended: the next step, or the way out. */
static void sbxi_image_ended(sbx_image_build *b, const sbx_event *ev)
{
    struct sbxi_image *i = b->own;
    sbx_error err;

    sbx_error_of(i->c, ev->op, &err);
    if (i->step == SBXI_IMAGE_DELETE) {
        b->builder_left = ev->code != SBX_OK && ev->code != SBX_ERR_NOT_FOUND;
        i->step = SBXI_IMAGE_END;
    } else if (b->err.code != SBX_OK) { /* what ended it is noted already */
        sbxi_image_fail(b, NULL);
    } else if (ev->code != SBX_OK) {
        /* Nothing was made where nothing was sent, or another's has the name. */
        if (i->step == SBXI_IMAGE_CREATE && (!err.sent || ev->code == SBX_ERR_CONFLICT))
            i->step = SBXI_IMAGE_DELETE;
        sbxi_image_fail(b, &err);
    } else if (i->step == SBXI_IMAGE_RUN && ev->exit_code) {
        memset(&err, 0, sizeof err);
        sbxi_image_error(&err, SBX_ERR_CREATION, "", "the build failed, its log tells why; exit code", NULL, 0);
        snprintf(err.text + strlen(err.text), sizeof err.text - strlen(err.text), " %d", ev->exit_code);
        err.layer = SBX_LAYER_SERVICE;
        err.resource = SBX_RESOURCE_SNAPSHOT;
        err.sent = true;
        sbxi_image_fail(b, &err);
    } else {
        i->step = (sbxi_image_step)(i->step + 1 + (i->step == SBXI_IMAGE_CONTEXT && !i->outside));
    }
    sbxi_image_start(b);
}

/* Ends what is under way for a reason that b->err has. */
static void sbxi_image_stop(sbx_image_build *b)
{
    sbx_cancel(b->own->c, b->own->op);
}

static void sbxi_image_push(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;

    while (!i->ended) {
        size_t taken;
        bool last;

        if (i->at == i->n) {
            i->at = 0;
            if (sbxi_tar_fill(&i->tar, i->text, sizeof i->text, &i->n) != SBX_OK) {
                sbxi_image_stop(b);
                return;
            }
        }
        last = i->n < sizeof i->text;
        if (sbx_push(i->c, i->op, sbx_sn(i->text + i->at, i->n - i->at), last, &taken) != SBX_OK)
            return; /* it is over, or to be rewound: the next event tells */
        i->at += taken;
        b->sent += i->step == SBXI_IMAGE_CONTEXT ? taken : 0;
        if (i->at < i->n)
            return;
        i->ended = last;
    }
}

static void sbxi_image_rewind(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;

    b->sent = 0;
    i->at = i->n = 0;
    i->ended = false;
    if (sbxi_tar_begin(&i->tar, i->step == SBXI_IMAGE_CONTEXT ? i->context : i->dockerfile, i->step == SBXI_IMAGE_DOCKERFILE) != SBX_OK)
        sbxi_image_stop(b);
    else
        sbx_rewind(i->c, i->op);
}

/* END, when all is over. */
static bool sbxi_image_over(sbx_image_build *b, sbx_event *ev)
{
    if (b->own->step != SBXI_IMAGE_END)
        return false;
    memset(ev, 0, sizeof *ev);
    ev->kind = SBX_EV_END;
    ev->code = b->err.code;
    b->stage = SBX_IMAGE_DONE;
    sbxi_image_free(b);
    return true;
}

SBX_API bool sbx_image_take(sbx_image_build *b, sbx_event *ev)
{
    struct sbxi_image *i = b->own;

    if (!i)
        return false;
    if (ev->kind != SBX_EV_NONE) {
        if (ev->op.slot != i->op.slot || ev->op.gen != i->op.gen)
            return false;
        switch (ev->kind) {
        case SBX_EV_WRITABLE: sbxi_image_push(b); break;
        case SBX_EV_REWIND: sbxi_image_rewind(b); break;
        case SBX_EV_END: sbxi_image_ended(b, ev); break;
        default: return true;
        }
        memset(ev, 0, sizeof *ev);
    }
    sbxi_image_over(b, ev);
    return true;
}

SBX_API bool sbx_image_next(sbx_image_build *b, sbx_event *ev)
{
    while (b->own) {
        if (sbxi_image_over(b, ev))
            return true;
        if (!sbx_next_of(b->own->c, &b->own->op, ev))
            return false;
        if (sbx_image_take(b, ev) && ev->kind != SBX_EV_NONE)
            return true;
    }
    return false;
}

SBX_API void sbx_image_cancel(sbx_image_build *b)
{
    struct sbxi_image *i = b->own;

    if (!i || i->step >= SBXI_IMAGE_DELETE || b->err.code != SBX_OK)
        return;
    sbxi_image_error(&b->err, SBX_ERR_CANCELLED, "", sbx_code_text(SBX_ERR_CANCELLED), NULL, 0);
    if (i->step != SBXI_IMAGE_CREATE) /* whether there is something to delete shows when that has ended */
        sbxi_image_stop(b);
}

#endif /* SANDBOX_IMPLEMENTATION */
