/* transports/sandbox_build.h where the network fails: the builder is gone and
   the answer true, whatever breaks. */
#define _GNU_SOURCE 1
#include "script.h"

#define SANDBOX_IMPLEMENTATION
#include "sandbox_build.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void store(const char *name, size_t n)
{
    FILE *f = fopen(in_dir(name), "wb");

    assert_non_null(f);
    for (size_t i = 0; i < n; i++)
        fputc((int)('a' + i % 26), f);
    assert_int_equal(fclose(f), 0);
}

static int begin(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/sbx-image-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    store("Dockerfile", 20);
    store("file", 30000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(in_dir("Dockerfile"));
    unlink(in_dir("file"));
    return rmdir(dir);
}

static void new_world(uint64_t seed)
{
    sim_plan p = { 0 };

    kit_new(seed);
    p.n[1] = 2000;
    p.chunk = 900;
    sim_add_plan(K.s, &p);
    K.d.buffers = 3;
    K.d.rx_bytes = 700;
    K.d.close_ms = 60000;
}

static bool drain(sbx_image_build *b)
{
    sbx_event ev;
    bool ended = false;

    while (sbx_image_next(b, &ev)) {
        assert_false(ended);
        ended = ev.kind == SBX_EV_END;
        if (ended)
            assert_int_equal(ev.code, b->err.code);
    }
    return ended;
}

static sbx_code build(sbx_image_build *b)
{
    sbx_image_opts o = { 0 };

    o.context = dir;
    o.snapshot.poll_ms = 100;
    assert_int_equal(sbx_image_begin(b, K.c, sbx_s("base"), "Dockerfile", &o), SBX_OK);
    assert_true(drain(b));
    assert_null(b->own);
    return b->err.code;
}

/* No sandbox is left once the client is closed. */
static void finish(void)
{
    sbx_close(K.c);
    K.c = NULL;
    for (unsigned i = 0; i < K.s->box_n; i++)
        assert_true(K.s->boxes[i].gone);
    kit_end();
}

static const sim_file *uploaded(const char *name)
{
    for (unsigned i = 0; i < K.s->file_n; i++)
        if (strstr(K.s->files[i].path, name))
            return &K.s->files[i];
    fail_msg("no %s", name);
    return NULL;
}

static void test_whole(void **state)
{
    sbx_image_build b;

    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        new_world(seed);
        K.s->knobs.recv_max = K.s->knobs.send_max = seed == 2 ? 1 : seed == 3 ? 60 : 0;
        K.s->knobs.delay_ms = K.s->knobs.connect_ms = seed == 4 ? 50 : 0;
        K.s->ready_after = 3;
        kit_open();
        ASSERT_CODE(build(&b), SBX_OK);
        assert_string_equal(b.snapshot.id, "s-1");
        assert_int_equal(b.sent, uploaded("context.tar")->data.n);
        assert_int_equal(uploaded("context.tar")->data.n, 512 + 512 + 512 + 30208 + 1024);
        assert_non_null(memmem(uploaded("build.sh")->data.p, uploaded("build.sh")->data.n, "--opt 'filename=Dockerfile'", 27));
        finish();
    }
}

/* One call of the transport fails, for each in turn. */
static void test_one_call(void **state)
{
    (void)state;
    for (int kind = SIM_FAULT_FAIL; kind <= SIM_FAULT_EOF; kind++)
        for (uint64_t n = 1;; n++) {
            sbx_image_build b;
            bool reached;

            new_world(1);
            K.s->fail_at = n;
            K.s->fail_kind = (sim_fault_kind)kind;
            kit_open();
            build(&b);
            /* Only what must not be sent twice ends it. */
            if (b.err.code != SBX_OK && b.err.code != SBX_ERR_OUTCOME)
                fail_msg("kind %d, call %llu: %s %s", kind, (unsigned long long)n, sbx_code_name(b.err.code), b.err.text);
            assert_false(b.builder_left);
            if (b.err.code == SBX_OK)
                assert_int_equal(uploaded("context.tar")->data.n, 32768);
            reached = K.s->calls >= n;
            finish();
            if (!reached)
                break;
            assert_true(n < 5000);
        }
}

/* From one call on the network is gone: it ends, and says that the builder is left. */
static void test_all_calls(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n += 5) {
        sbx_image_build b;
        bool reached;

        new_world(n);
        K.s->fail_at = n;
        K.s->fail_all = true;
        K.s->fail_kind = SIM_FAULT_FAIL;
        K.d.close_ms = 1000;
        kit_open();
        build(&b);
        reached = K.s->calls >= n;
        if (b.err.code == SBX_OK && b.builder_left)
            assert_true(reached);
        for (unsigned i = 0; i < K.s->box_n; i++)
            assert_true(K.s->boxes[i].gone || b.builder_left);
        kit_end();
        if (!reached)
            break;
        assert_true(n < 5000);
    }
}

/* An answer of the server's at each step: its error, and no builder. */
static void test_answers(void **state)
{
    static const struct {
        const char *match;
        int status;
        const char *body;
        sbx_code code;
    } answers[] = {
        { "POST /boxes", 429, "{\"detail\":\"sandbox limit\"}", SBX_ERR_QUOTA },
        { "POST /boxes", 422, "{\"detail\":{\"error\":\"CrashLoop\",\"message\":\"x\"}}", SBX_ERR_CREATION },
        { "POST /upload", 403, "{\"error\":\"PermissionDenied\",\"message\":\"x\"}", SBX_ERR_PERMISSION },
        { "POST build.sh", 500, "{\"error\":\"WriteError\",\"message\":\"x\"}", SBX_ERR_OPERATION },
        { "GET /execute/ws", 404, "{\"detail\":\"Not Found\"}", SBX_ERR_NO_ENDPOINT },
        { "POST /boxes/snapshot-", 422, "{\"detail\":{\"error\":\"ImagePull\",\"message\":\"x\"}}", SBX_ERR_CREATION },
        { "GET /snapshots/s-1", 200, "{\"id\":\"s-1\",\"status\":\"failed\",\"status_message\":\"x\"}", SBX_ERR_CREATION },
        { "GET /snapshots/s-1", 404, "{}", SBX_ERR_NOT_FOUND },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
        sbx_image_build b;
        sim_script e = { 0 };

        new_world(i);
        kit_open();
        e.match = answers[i].match;
        e.status = answers[i].status;
        e.body = answers[i].body;
        e.times = -1;
        sim_expect(K.s, &e);
        ASSERT_CODE(build(&b), answers[i].code);
        assert_false(b.builder_left);
        assert_int_equal(b.err.status, answers[i].status);
        finish();
    }
}

/* The answer to create is lost: the builder is deleted by the name it was given. */
static void test_create_lost(void **state)
{
    sbx_image_build b;
    sim_script e = { 0 };

    (void)state;
    new_world(1);
    kit_open();
    K.s->box_n = 1; /* as the server made it */
    strcpy(K.s->boxes[0].status, "ready");
    e.match = "POST /boxes";
    e.end = SIM_RST;
    sim_expect(K.s, &e);
    {
        sbx_image_opts o = { 0 };

        o.context = dir;
        assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base"), "Dockerfile", &o), SBX_OK);
        strcpy(K.s->boxes[0].name, b.builder.name);
        assert_true(drain(&b));
    }
    ASSERT_CODE(b.err.code, SBX_ERR_OUTCOME);
    assert_true(K.s->boxes[0].gone);
    assert_false(b.builder_left);
    finish();
}

/* The builder cannot be deleted at once: sbx_close does it. */
static void test_delete_later(void **state)
{
    sbx_image_build b;
    sim_script e = { 0 };

    (void)state;
    new_world(1);
    kit_open();
    e.match = "DELETE /boxes";
    e.status = 500;
    e.body = "{}";
    sim_expect(K.s, &e);
    ASSERT_CODE(build(&b), SBX_OK);
    assert_true(b.builder_left);
    assert_false(K.s->boxes[0].gone);
    finish();
}

/* A file becomes shorter while it is sent. */
static void test_changing(void **state)
{
    sbx_image_opts o = { 0 };
    sbx_image_build b;

    (void)state;
    new_world(1);
    K.s->knobs.send_max = 500;
    K.s->knobs.block = 500;
    kit_open();
    store("file", 300000);
    o.context = dir;
    assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base"), "Dockerfile", &o), SBX_OK);
    for (sbx_event ev; b.sent < 2000;) {
        sbx_wait(K.c, SBX_FOREVER);
        while (b.sent < 2000 && sbx_next(K.c, &ev))
            assert_true(sbx_image_take(&b, &ev));
    }
    store("file", 3000);
    assert_true(drain(&b));
    ASSERT_CODE(b.err.code, SBX_ERR_CHANGED);
    assert_non_null(strstr(b.err.text, "/file"));
    store("file", 30000);
    finish();
}

/* What only the capture would refuse, after the build, is refused before it. */
static void test_refused(void **state)
{
    sbx_image_opts o = { 0 };
    sbx_image_build b;

    (void)state;
    new_world(1);
    kit_open();
    o.context = dir;
    assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base:1"), "Dockerfile", &o), SBX_ERR_ARGUMENT);
    assert_string_equal(b.err.field, "name");
    assert_non_null(strstr(b.err.text, "snapshot.tag"));
    o.snapshot.registry_id = sbx_s("r");
    assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base"), "Dockerfile", &o), SBX_ERR_ARGUMENT);
    assert_string_equal(b.err.field, "snapshot.registry_id");
    finish();
}

/* A pipe in the place of .dockerignore, or of the Dockerfile behind its back, is
   refused, and not waited for. */
static void test_pipes(void **state)
{
    sbx_image_opts o = { 0 };
    sbx_image_build b;

    (void)state;
    new_world(1);
    kit_open();
    o.context = dir;
    assert_int_equal(mkfifo(in_dir(".dockerignore"), 0600), 0);
    assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base"), "Dockerfile", &o), SBX_ERR_ARGUMENT);
    assert_non_null(strstr(b.err.text, "/.dockerignore"));
    unlink(in_dir(".dockerignore"));

    assert_int_equal(mkdir(in_dir("empty"), 0700), 0);
    o.context = in_dir("empty");
    assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base"), "../Dockerfile", &o), SBX_OK);
    unlink(in_dir("Dockerfile"));
    assert_int_equal(mkfifo(in_dir("Dockerfile"), 0600), 0);
    assert_true(drain(&b));
    ASSERT_CODE(b.err.code, SBX_ERR_CHANGED);
    unlink(in_dir("Dockerfile"));
    store("Dockerfile", 20);
    rmdir(in_dir("empty"));
    finish();
}

/* No slot for its first call: refused, and END all the same. */
static void test_full(void **state)
{
    sbx_create_opts own = { 0 };
    sbx_image_opts o = { 0 };
    sbx_image_build b;
    sbx_box box;

    (void)state;
    new_world(1);
    K.d.max_owned = 1;
    kit_open();
    own.delete_on_close = true;
    ASSERT_CODE(sbx_await(K.c, sbx_create(K.c, &own, &box)), SBX_OK);
    o.context = dir;
    assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base"), "Dockerfile", &o), SBX_OK);
    assert_true(drain(&b));
    ASSERT_CODE(b.err.code, SBX_ERR_FULL);
    assert_string_equal(b.err.field, "max_owned");
    assert_false(b.builder_left);
    finish();
}

/* A shutdown in the midst of it leads to END, and deletes the builder. */
static void test_shutdown(void **state)
{
    sbx_image_opts o = { 0 };
    sbx_image_build b;
    sbx_event ev;
    sbx_op op;

    (void)state;
    new_world(1);
    kit_open();
    o.context = dir;
    assert_int_equal(sbx_image_begin(&b, K.c, sbx_s("base"), "Dockerfile", &o), SBX_OK);
    while (b.stage < SBX_IMAGE_BUILD) {
        sbx_wait(K.c, SBX_FOREVER);
        while (sbx_next(K.c, &ev))
            assert_true(sbx_image_take(&b, &ev));
    }
    op = sbx_shutdown(K.c, 60000);
    assert_true(drain(&b));
    ASSERT_CODE(b.err.code, SBX_ERR_CLOSED);
    ASSERT_CODE(sbx_await(K.c, op), SBX_OK);
    assert_true(K.s->boxes[0].gone);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_one_call), cmocka_unit_test(test_all_calls), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_create_lost), cmocka_unit_test(test_delete_later), cmocka_unit_test(test_changing), cmocka_unit_test(test_refused), cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_full), cmocka_unit_test(test_shutdown),
    };

    return cmocka_run_group_tests_name("image builds", tests, begin, end);
}
