/* Mounts, proxy and access: a server that checks each member takes what the
   typed forms make, and shows no secret of it. */
#include "e2e.h"

#define SECRET "hidden-value"

static char raw[8192];
static size_t raw_n;

static void shows(const char *text)
{
    assert_true(raw_n < sizeof raw);
    raw[raw_n] = 0;
    if (!strstr(raw, text))
        fail_msg("%s is not in %s", text, raw);
    assert_null(strstr(raw, SECRET));
}

static sbx_secret opaque(void)
{
    return (sbx_secret){ .value = sbx_s(SECRET) };
}

static void everything(void **state)
{
    sbx_str hosts[] = { sbx_s("api.example.com"), sbx_s("*.example.org") }, scopes[] = { sbx_s("scope/1") }, permissions[] = { sbx_s("runs:read") };
    sbx_mount mounts[] = {
        { .id = sbx_s("s"), .mount_path = sbx_s("/mnt/s3"), .s3 = { .bucket = sbx_s("logs"), .prefix = sbx_s("p") }, .cache = { 10, 5 } },
        { .id = sbx_s("g"), .mount_path = sbx_s("/data"), .gcs = { .bucket = sbx_s("b") }, .read_only = SBX_TRI_YES },
        { .id = sbx_s("r"), .mount_path = sbx_s("/repo"), .git = { .remote_url = sbx_s("https://example.com/a/b.git"), .tag = sbx_s("v1"), .refresh_interval_s = 60 } },
        { .id = sbx_s("c"), .mount_path = sbx_s("/ctx"), .contexthub = { .repo = sbx_s("-/agent"), .initial_pull_only = true } },
    };
    sbx_mount_auth auth = { .gcp = { .service_account_json = opaque() } };
    sbx_proxy_header headers[] = { { sbx_s("X-Key"), opaque() }, { sbx_s("Authorization"), { sbx_s("Bearer {KEY}"), SBX_SECRET_WORKSPACE } } };
    sbx_pair env[] = { { sbx_s("FROM_RULE"), sbx_s("1") } };
    sbx_proxy_rule rules[] = {
        { .aws = { .access_key_id = opaque(), .secret_access_key = opaque() }, .env = env, .env_n = 1 },
        { .name = sbx_s("h"), .match_hosts = hosts, .match_hosts_n = 2, .headers = headers, .headers_n = 2 },
    };
    sbx_proxy_callback callback = { .match_hosts = hosts, .match_hosts_n = 1, .url = sbx_s("https://cb.example.com/x"), .ttl_s = 60 };
    sbx_box_proxy proxy = { .rules = rules, .rules_n = 2, .deny_list = hosts, .deny_list_n = 1, .callbacks = &callback, .callbacks_n = 1 };
    sbx_proxy_rule google = { .disabled = true, .gcp = { .service_account_json = opaque(), .scopes = scopes, .scopes_n = 1 } };
    sbx_delegation access = { SBX_DELEGATION_EXPLICIT, permissions, 1 };
    sbx_create_opts create = { .mounts = mounts, .mounts_n = 4, .mount_auth = &auth, .proxy = &proxy, .access = &access, .raw = { raw, sizeof raw }, .raw_n = &raw_n };
    sbx_update_opts update = { .proxy = &(sbx_box_proxy){ .rules = &google, .rules_n = 1 }, .raw = { raw, sizeof raw }, .raw_n = &raw_n };
    char text[40];
    sbx_result r;
    sbx_box b;

    (void)state;
    OK(sbx_create(c, &create, &b));
    shows("\"mount_path\":\"/mnt/s3\"");
    shows("\"remote_url\":\"https://example.com/a/b.git\"");
    shows("\"is_set\":true");
    shows("\"deny_list\":[\"api.example.com\"]");
    shows("\"permissions\":[\"runs:read\"]");
    OK(sbx_run(c, &b, sbx_s("echo $FROM_RULE"), &(sbx_run_opts){ .out = { text, sizeof text } }, &r));
    assert_memory_equal(text, "1\n", 2);
    OK(sbx_delete(c, &b, NULL));
    create.mounts_n = 0;
    create.mount_auth = NULL;
    OK(sbx_create(c, &create, &b));
    OK(sbx_update(c, &b, &update, NULL, NULL));
    shows("\"type\":\"gcp\"");
    shows("\"enabled\":false");
    OK(sbx_delete(c, &b, NULL));
}

/* What only the server knows to be wrong names its member. */
static void refused_by_the_server(void **state)
{
    sbx_mount mount = { .id = sbx_s("r"), .mount_path = sbx_s("not/absolute"), .git = { .remote_url = sbx_s("https://example.com/a/b") } };
    sbx_create_opts create = { .mounts = &mount, .mounts_n = 1 };
    sbx_error e;
    sbx_box b;

    (void)state;
    e = FAILS(sbx_create(c, &create, &b), SBX_ERR_VALIDATION);
    assert_string_equal(e.field, "mount_path");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(everything), cmocka_unit_test(refused_by_the_server) };

    return cmocka_run_group_tests_name("config", tests, e2e_begin, e2e_end);
}
