/* Servers of 2026-04 and those after them: templates, volumes, pools, what a
   sandbox made from them says, commands that the server names, and how a
   program tells which server it speaks to. */
#include "e2e.h"

#include <unistd.h>

#define IMAGE "example/image:1"

/* A volume, a template that mounts it, and a sandbox from that. */
static void resources(void **state)
{
    sbx_volume_mount mount = { sbx_s("store"), sbx_s("/data") };
    sbx_template_opts t = { .name = sbx_s("py"), .image = sbx_s(IMAGE), .memory = sbx_s("1Gi"), .volume_mounts = &mount, .volume_mounts_n = 1 };
    sbx_volume_opts v = { .name = sbx_s("store"), .size = sbx_s("1Gi") };
    sbx_template template;
    sbx_volume volume, volumes[4];
    sbx_list_result listed;
    sbx_box_info info;
    sbx_error e;
    sbx_box made, again;
    char text[100];
    sbx_result r;

    (void)state;
    OK(sbx_volume_create(c, &v, &volume));
    assert_string_equal(volume.size, "1Gi");
    assert_true(volume.id[0] && volume.created_ms);
    FAILS(sbx_volume_create(c, &v, NULL), SBX_ERR_CONFLICT);
    OK(sbx_template_create(c, &t, &template));
    assert_string_equal(template.image, IMAGE);
    assert_string_equal(template.cpu, "500m");
    assert_string_equal(template.memory, "1Gi");
    assert_string_equal(template.storage, "");
    e = FAILS(sbx_volume_delete(c, sbx_s("store"), NULL), SBX_ERR_IN_USE);
    assert_int_equal(e.resource, SBX_RESOURCE_VOLUME);

    OK(sbx_create(c, &(sbx_create_opts){ .template_name = sbx_s("py"), .ttl_s = 3600, .info = &info }, &made));
    assert_string_equal(info.template_name, "py");
    assert_int_equal(info.ttl_s, 3600);
    assert_int_equal(info.expires_ms, info.created_ms + 3600 * 1000);
    OK(sbx_run(c, &made, sbx_s("cat /opt/image/hello && echo kept > /data/f"), &(sbx_run_opts){ .out = { text, sizeof text } }, &r));
    assert_memory_equal(text, "hello from the image\n", 21);
    FAILS(sbx_template_delete(c, sbx_s("py"), NULL), SBX_ERR_IN_USE);
    OK(sbx_update(c, &made, &(sbx_update_opts){ .ttl_s = SBX_NONE }, NULL, &info));
    assert_true(info.ttl_s <= 0 && !info.expires_ms);
    OK(sbx_delete(c, &made, NULL));
    OK(sbx_create(c, &(sbx_create_opts){ .template_name = sbx_s("py") }, &again)); /* the volume outlives it */
    OK(sbx_run(c, &again, sbx_s("cat /data/f"), &(sbx_run_opts){ .out = { text, sizeof text } }, &r));
    assert_int_equal(r.out_n, 5);
    OK(sbx_delete(c, &again, NULL));
    e = FAILS(sbx_create(c, &(sbx_create_opts){ .template_name = sbx_s("none") }, &again), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_TEMPLATE);

    OK(sbx_template_update(c, sbx_s("py"), &(sbx_template_opts){ .name = sbx_s("py2") }, &template));
    assert_string_equal(template.name, "py2");
    OK(sbx_template_update(c, sbx_s("py2"), NULL, &template));
    e = FAILS(sbx_template_get(c, sbx_s("py"), NULL, &template), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_TEMPLATE);
    e = FAILS(sbx_volume_update(c, sbx_s("store"), &(sbx_volume_opts){ .size = sbx_s("1Mi") }, NULL), SBX_ERR_VALIDATION);
    assert_string_equal(e.type, "VolumeResize");
    OK(sbx_volume_update(c, sbx_s("store"), &(sbx_volume_opts){ .size = sbx_s("2Gi"), .name = sbx_s("store2") }, &volume));
    OK(sbx_volume_get(c, sbx_s("store2"), NULL, &volume));
    assert_string_equal(volume.size, "2Gi");
    OK(sbx_volume_list(c, &(sbx_list_opts){ .items = { volumes, sizeof volumes } }, &listed));
    assert_int_equal(listed.stored, 1);
    assert_string_equal(volumes[0].name, "store2");
    OK(sbx_template_list(c, NULL, &listed));
    assert_int_equal(listed.count, 1);
    OK(sbx_template_delete(c, sbx_s("py2"), NULL));
    OK(sbx_volume_delete(c, sbx_s("store2"), NULL));
}

static void pools(void **state)
{
    sbx_pool_opts p = { .name = sbx_s("p"), .template_name = sbx_s("pt"), .replicas = 2 };
    sbx_list_result listed;
    sbx_pool pool;
    sbx_error e;

    (void)state;
    e = FAILS(sbx_pool_create(c, &p, &pool), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_TEMPLATE);
    OK(sbx_template_create(c, &(sbx_template_opts){ .name = sbx_s("pt"), .image = sbx_s(IMAGE) }, NULL));
    OK(sbx_pool_create(c, &p, &pool));
    assert_string_equal(pool.template_name, "pt");
    assert_int_equal(pool.replicas, 2);
    e = FAILS(sbx_pool_create(c, &p, &pool), SBX_ERR_EXISTS);
    assert_int_equal(e.resource, SBX_RESOURCE_POOL);
    FAILS(sbx_template_delete(c, sbx_s("pt"), NULL), SBX_ERR_IN_USE);
    OK(sbx_pool_update(c, sbx_s("p"), &(sbx_pool_opts){ .replicas = SBX_NONE }, &pool));
    assert_int_equal(pool.replicas, 0);
    OK(sbx_pool_update(c, sbx_s("p"), &(sbx_pool_opts){ .name = sbx_s("q"), .replicas = 3 }, &pool));
    OK(sbx_pool_get(c, sbx_s("q"), NULL, &pool));
    assert_int_equal(pool.replicas, 3);
    OK(sbx_pool_list(c, NULL, &listed));
    assert_int_equal(listed.count, 1);
    OK(sbx_pool_delete(c, sbx_s("q"), NULL));
    e = FAILS(sbx_pool_get(c, sbx_s("q"), NULL, &pool), SBX_ERR_NOT_FOUND);
    assert_int_equal(e.resource, SBX_RESOURCE_POOL);
    OK(sbx_template_delete(c, sbx_s("pt"), NULL));
}

static sbx_client *of_generation(e2e_server *s, const char *generation, char *root)
{
    char image[600];

    snprintf(image, sizeof image, "py=%s", root);
    *s = e2e_serve((const char *const[]){ "--generation", generation, "--image", image, "--fault", "drop-ws-after=60:count=1", NULL });
    return e2e_connect(s, NULL);
}

/* A whole run on a server of that time, over a stream that breaks once: the
   command's name is the server's, and no second one is started. */
static void commands(sbx_client *old, sbx_box *b)
{
    e2e_run run;
    sbx_op op = sbx_command(old, b, sbx_s("echo $$; sleep 0.3; echo 0123456789012345678901234567890123456789; echo run >> runs; wc -l < runs"),
                            &(sbx_run_opts){ .no_command_id = true });

    run = e2e_collect(old, op);
    assert_int_equal(run.code, SBX_OK);
    assert_int_equal(run.reconnects, 1);
    assert_false(run.torn);
    assert_true(run.out.n > 43 && memcmp(run.out.p + run.out.n - 2, "1\n", 2) == 0);
    e2e_free(&run);
}

static void generations(void **state)
{
    static const char *const names[] = { "2026-04-a", "2026-04-b", "current" };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char root[] = "/tmp/sbx-image-XXXXXX";
        sbx_template_opts t = { .name = sbx_s("t"), .image = sbx_s("py") };
        sbx_create_opts create = { .template_name = sbx_s("t") };
        sbx_list_result listed;
        e2e_server s;
        sbx_client *old;
        sbx_error e;
        sbx_box b;

        assert_non_null(mkdtemp(root));
        old = of_generation(&s, names[i], root);
        if (i < 2) {
            OK_ON(old, sbx_template_create(old, &t, NULL));
            OK_ON(old, sbx_create(old, &create, &b));
            commands(old, &b);
            OK_ON(old, sbx_delete(old, &b, NULL));
        } else {
            e = FAILS_ON(old, sbx_template_create(old, &t, NULL), SBX_ERR_NO_ENDPOINT);
            assert_non_null(strstr(e.text, "another generation"));
            FAILS_ON(old, sbx_volume_get(old, sbx_s("v"), NULL, NULL), SBX_ERR_NO_ENDPOINT);
            FAILS_ON(old, sbx_pool_delete(old, sbx_s("p"), NULL), SBX_ERR_NO_ENDPOINT);
            FAILS_ON(old, sbx_volume_list(old, NULL, &listed), SBX_ERR_NO_ENDPOINT);
        }
        if (i == 0)
            FAILS_ON(old, sbx_snapshot_list(old, NULL, &listed), SBX_ERR_NO_ENDPOINT);
        else
            OK_ON(old, sbx_snapshot_list(old, NULL, &listed));
        sbx_close(old);
        e2e_stop(&s);
        rmdir(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(resources), cmocka_unit_test(pools), cmocka_unit_test(generations) };

    return cmocka_run_group_tests_name("legacy", tests, e2e_begin, e2e_end);
}
