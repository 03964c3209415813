/* transports/sandbox_build.h: snapshots from Dockerfiles, with stand-ins for
   BuildKit and Docker inside the builder. */
#include "e2e.h"

#include <errno.h>

static char dir[64];

static void shell(const char *format, ...)
{
    char command[4096];
    va_list list;

    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    if (setenv("SCRIPT", command, 1) || system("bash -euo pipefail -c \"$SCRIPT\""))
        fail_msg("%s", command);
}

static int begin(void **state)
{
    strcpy(dir, "/tmp/sbx-build-XXXXXX");
    return mkdtemp(dir) ? e2e_begin(state) : -1;
}

static int end(void **state)
{
    shell("rm -rf %s", dir);
    return e2e_end(state);
}

typedef struct built {
    sbx_image_build b;
    e2e_bytes log;
    unsigned retries;
} built;

static void drain(built *r)
{
    sbx_event ev;
    bool ended = false;

    while (sbx_image_next(&r->b, &ev)) {
        assert_false(ended);
        if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR)
            e2e_add(&r->log, ev.data.p, ev.data.n);
        r->retries += ev.kind == SBX_EV_RETRYING;
        ended = ev.kind == SBX_EV_END;
        if (ended)
            assert_int_equal(ev.code, r->b.err.code);
    }
    assert_true(ended);
    assert_null(r->b.own);
    assert_int_equal(r->b.stage, SBX_IMAGE_DONE);
    e2e_add(&r->log, "", 1);
}

/* A build to its end; its builder must be gone then. */
static built build(sbx_client *client, const char *name, const char *dockerfile, sbx_image_opts *o)
{
    built r;
    char context[80];

    memset(&r, 0, sizeof r);
    snprintf(context, sizeof context, "%s/context", dir);
    o->context = context;
    o->snapshot.poll_ms = 50;
    if (sbx_image_begin(&r.b, client, sbx_s(name), dockerfile, o) == SBX_OK)
        drain(&r);
    assert_null(r.b.own);
    return r;
}

static void assert_gone(const built *r)
{
    sbx_list_opts l = { .name_contains = sbx_s("snapshot-builder-") };
    sbx_list_result listed;
    sbx_box_info info;

    assert_false(r->b.builder_left);
    l.items.p = &info;
    l.items.n = sizeof info;
    OK(sbx_list(c, &l, &listed));
    assert_int_equal(listed.count, 0);
}

#define BUILT(r) do { if ((r).b.err.code) fail_msg("%s: %s\n%s", sbx_code_name((r).b.err.code), (r).b.err.text, (r).log.p); } while (0)

/* What a command prints in a sandbox that begins with the snapshot. */
static const char *run_in(const char *snapshot, const char *command)
{
    static char text[4096];
    sbx_create_opts create = { .snapshot_id = sbx_s(snapshot) };
    sbx_run_opts o = { .out = { text, sizeof text - 1 } };
    sbx_result result;
    sbx_box made;

    OK(sbx_create(c, &create, &made));
    OK(sbx_run(c, &made, sbx_s(command), &o, &result));
    text[result.out_n] = 0;
    OK(sbx_delete(c, &made, NULL));
    return text;
}

static void fresh(void)
{
    shell("rm -rf %s/context && mkdir %s/context", dir, dir);
}

static void test_build(void **state)
{
    static const sbx_pair args[] = { { { "WHO", 3 }, { "it's $HOME \"you\"", 16 } }, { { "EMPTY", 5 }, { "", 0 } } };
    sbx_pair label = { { "made", 4 }, { "here", 4 } };
    sbx_image_opts o = { .build_args = args, .build_args_n = 2, .target = sbx_s("final") };
    sbx_snapshot found;
    built r;

    (void)state;
    fresh();
    shell("cd %s/context && mkdir -p src/deep sub && echo one >src/one && printf '#!/bin/sh\\necho ran\\n' >src/deep/run && chmod 755 src/deep/run && ln -s deep/run src/link"
          " && echo secret >src/drop.me && mkdir .git && echo g >.git/g && printf '*.me\\n**/*.me\\n' >.dockerignore && head -c 3000000 /dev/urandom >big && sha256sum <big >sum", dir);
    shell("cd %s/context && printf 'FROM scratch AS first\\nARG WHO=nobody\\nCOPY src /app/\\nCOPY big sum /data/\\nRUN echo \"$WHO\" >who\\n"
          "FROM first AS final\\nRUN ls -a /app 2>/dev/null; pwd >/dev/null; echo built\\nFROM first AS never\\nRUN false\\n' >sub/Dockerfile.x", dir);
    o.snapshot.labels = &label;
    o.snapshot.labels_n = 1;
    o.snapshot.tag = sbx_s("v1");
    r = build(c, "app", "sub/Dockerfile.x", &o);
    BUILT(r);
    assert_int_equal(r.b.snapshot.status, SBX_STATUS_READY);
    assert_non_null(strstr(r.log.p, "#1 FROM scratch AS first"));
    assert_non_null(strstr(r.log.p, "Loaded image: langsmith-snapshot-build:"));
    assert_true(r.b.sent > 3000000 && r.b.sent < 3100000);
    assert_gone(&r);
    free(r.log.p);
    assert_string_equal(run_in(r.b.snapshot.id, "cd /app && cat one && ./link && ls -A /app && sha256sum </data/big | cmp - /data/sum && cat /who; ls -d /app/drop.me /.git 2>/dev/null"),
                        "one\nran\ndeep\nlink\none\nit's $HOME \"you\"\n");
    OK(sbx_snapshot_get(c, sbx_s("app:v1"), NULL, &found));
    assert_string_equal(found.id, r.b.snapshot.id);
    OK(sbx_snapshot_delete(c, sbx_s(found.id), NULL));
}

/* A Dockerfile elsewhere, with a .dockerignore of its own. */
static void test_outside(void **state)
{
    sbx_image_opts o = { 0 };
    char path[100];
    built r;

    (void)state;
    fresh();
    shell("cd %s && echo 1 >context/keep && echo 1 >context/drop && echo 1 >context/Dockerfile && echo drop >elsewhere.dockerignore && echo keep >context/.dockerignore"
          " && printf 'FROM scratch\\nCOPY . /app\\n' >elsewhere", dir);
    snprintf(path, sizeof path, "%s/elsewhere", dir);
    r = build(c, "outside", path, &o);
    BUILT(r);
    assert_gone(&r);
    free(r.log.p);
    assert_string_equal(run_in(r.b.snapshot.id, "ls -A /app"), ".dockerignore\nDockerfile\nkeep\n");
    OK(sbx_snapshot_delete(c, sbx_s(r.b.snapshot.id), NULL));
}

static void test_fails(void **state)
{
    sbx_image_opts o = { 0 };
    built r;

    (void)state;
    fresh();
    shell("printf 'FROM scratch\\nRUN echo about to fail; exit 7\\n' >%s/context/Dockerfile", dir);
    r = build(c, "fails", "Dockerfile", &o);
    assert_int_equal(r.b.err.code, SBX_ERR_CREATION);
    assert_int_equal(r.b.err.resource, SBX_RESOURCE_SNAPSHOT);
    assert_non_null(strstr(r.b.err.text, "exit code 1"));
    assert_non_null(strstr(r.log.p, "about to fail"));
    assert_gone(&r);
    free(r.log.p);
    /* The builder cannot be made: nothing to clean. */
    o.builder.snapshot_name = sbx_s("no-such-snapshot");
    r = build(c, "fails", "Dockerfile", &o);
    assert_int_equal(r.b.err.code, SBX_ERR_NOT_FOUND);
    assert_gone(&r);
    free(r.log.p);
    memset(&o.builder, 0, sizeof o.builder);
    shell("printf 'FROM scratch\\nRUN sleep 60\\n' >%s/context/Dockerfile", dir);
    o.timeout_s = 1;
    r = build(c, "fails", "Dockerfile", &o);
    assert_int_equal(r.b.err.code, SBX_ERR_COMMAND_TIMEOUT);
    assert_gone(&r);
    free(r.log.p);
}

/* A cancel at each stage leaves neither builder nor memory. */
static void test_cancelled(void **state)
{
    (void)state;
    fresh();
    shell("cd %s/context && head -c 2000000 /dev/zero >f && printf 'FROM scratch\\nCOPY f /\\nRUN sleep 60\\n' >Dockerfile", dir);
    for (sbx_image_stage stage = SBX_IMAGE_CREATE; stage <= SBX_IMAGE_BUILD; stage = (sbx_image_stage)(stage + 1)) {
        sbx_image_opts o = { 0 };
        char context[80];
        sbx_event ev;
        built r;

        memset(&r, 0, sizeof r);
        snprintf(context, sizeof context, "%s/context", dir);
        o.context = context;
        assert_int_equal(sbx_image_begin(&r.b, c, sbx_s("cancelled"), "Dockerfile", &o), SBX_OK);
        /* The upload shows no events: it is met by the loop's own. */
        while (r.b.stage < stage) {
            sbx_wait(c, SBX_FOREVER);
            while (r.b.stage < stage && sbx_next(c, &ev))
                assert_true(sbx_image_take(&r.b, &ev));
        }
        if (stage == SBX_IMAGE_BUILD)
            while (sbx_image_next(&r.b, &ev) && ev.kind != SBX_EV_STDERR)
                continue;
        sbx_image_cancel(&r.b);
        sbx_image_cancel(&r.b);
        drain(&r);
        assert_int_equal(r.b.err.code, SBX_ERR_CANCELLED);
        assert_gone(&r);
        free(r.log.p);
        assert_false(sbx_image_next(&r.b, &ev));
    }
}

/* Two at once on an event loop. */
static void test_loop(void **state)
{
    static sbx_image_build b[2];
    sbx_image_opts o = { 0 };
    char context[80];
    unsigned ended = 0;
    sbx_event ev;

    (void)state;
    fresh();
    shell("cd %s/context && printf 'FROM scratch\\nCOPY . /app\\n' >Dockerfile", dir);
    snprintf(context, sizeof context, "%s/context", dir);
    o.context = context;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(sbx_image_begin(&b[i], c, sbx_s(i ? "two" : "one"), "Dockerfile", &o), SBX_OK);
    while (ended < 2) {
        sbx_wait(c, SBX_FOREVER);
        while (sbx_next(c, &ev)) {
            bool first = sbx_image_take(&b[0], &ev);

            assert_true(first || sbx_image_take(&b[1], &ev));
            ended += ev.kind == SBX_EV_END;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(b[i].err.code, SBX_OK);
        OK(sbx_snapshot_delete(c, sbx_s(b[i].snapshot.id), NULL));
    }
}

static void refused(const char *dockerfile, sbx_image_opts *o, sbx_code code, const char *field)
{
    built r = build(c, "refused", dockerfile, o);

    assert_int_equal(r.b.err.code, code);
    assert_string_equal(r.b.err.field, field);
    if (strcmp(field, "local_path")) /* the text alone says which option */
        assert_int_equal(strncmp(r.b.err.text, field, strlen(field)), 0);
    assert_int_equal(r.b.stage, SBX_IMAGE_DONE);
}

static void test_refused(void **state)
{
    static char much[17000];
    sbx_pair arg = { { "A=", 2 }, { "", 0 } };
    sbx_image_opts o = { 0 };
    sbx_image_build b;

    (void)state;
    fresh();
    refused("Dockerfile", &o, SBX_ERR_ARGUMENT, "local_path");
    refused(".", &o, SBX_ERR_ARGUMENT, "local_path");
    shell("cd %s/context && printf 'FROM scratch\\n' >Dockerfile && printf 'a\\n[\\n' >.dockerignore", dir);
    refused("Dockerfile", &o, SBX_ERR_ARGUMENT, "local_path");
    shell("head -c 20000 /dev/zero | tr '\\0' a >%s/context/.dockerignore", dir);
    refused("Dockerfile", &o, SBX_ERR_TOO_LARGE, "local_path");
    shell("rm %s/context/.dockerignore", dir);
    o.build_args = &arg;
    o.build_args_n = 1;
    refused("Dockerfile", &o, SBX_ERR_ARGUMENT, "build_args");
    memset(much, 'x', sizeof much);
    arg.name = sbx_s("A");
    arg.value = sbx_sn(much, sizeof much);
    refused("Dockerfile", &o, SBX_ERR_TOO_LARGE, "build_args");
    memset(&o, 0, sizeof o);
    o.builder.name = sbx_s("x");
    refused("Dockerfile", &o, SBX_ERR_ARGUMENT, "builder.name");
    memset(&o, 0, sizeof o);
    o.snapshot.docker_image = sbx_s("x");
    refused("Dockerfile", &o, SBX_ERR_ARGUMENT, "snapshot.docker_image");
    memset(&o, 0, sizeof o);
    o.timeout_s = -2;
    refused("Dockerfile", &o, SBX_ERR_ARGUMENT, "timeout_s");
    memset(&o, 0, sizeof o);
    o.context = "/no/such/place";
    assert_int_equal(sbx_image_begin(&b, c, sbx_s("x"), "Dockerfile", &o), SBX_ERR_ARGUMENT);
    assert_int_equal(b.err.sys, ENOENT);
    assert_non_null(strstr(b.err.text, "/no/such/place"));
    assert_int_equal(sbx_image_begin(&b, c, sbx_s(""), "Dockerfile", NULL), SBX_ERR_ARGUMENT);
    assert_string_equal(b.err.field, "name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build), cmocka_unit_test(test_outside), cmocka_unit_test(test_fails), cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_loop), cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests_name("builds", tests, begin, end);
}
