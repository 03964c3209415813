/* mount_config and proxy_config: what a sandbox is to mount, and what its
 * requests get on their way out. */
#include "model.h"

#include <string.h>

#include "server.h"
#include "util.h"

/* Where the check is: problems name the whole way to the member. */
struct check {
	json_t *details, *loc;
};

static void problem(struct check *c, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void problem(struct check *c, const char *key, const char *fmt, ...)
{
	json_t *loc = json_copy(c->loc), *msg;
	va_list ap;

	va_start(ap, fmt);
	msg = json_vsprintf(fmt, ap);
	va_end(ap);
	if (key)
		json_array_append_new(loc, json_string(key));
	json_array_append_new(c->details, json_pack("{s:o,s:o,s:s}", "loc", loc, "msg", msg, "type", "value_error"));
}

static void enter(struct check *c, const char *key)
{
	json_array_append_new(c->loc, json_string(key));
}

static void enter_item(struct check *c, size_t i)
{
	json_array_append_new(c->loc, json_integer((json_int_t)i));
}

static void leave(struct check *c)
{
	json_array_remove(c->loc, json_array_size(c->loc) - 1);
}

static const json_t *member(const json_t *v, const char *key)
{
	const json_t *m = json_object_get(v, key);

	return m && !json_is_null(m) ? m : NULL;
}

static bool blank(const char *s)
{
	return !s || !s[strspn(s, " \t\r\n")];
}

static void need_text(struct check *c, const json_t *v, const char *key)
{
	if (blank(json_string_value(member(v, key))))
		problem(c, key, "%s must be a non-empty string", key);
}

static void maybe_text(struct check *c, const json_t *v, const char *key)
{
	if (member(v, key))
		need_text(c, v, key);
}

static void maybe_bool(struct check *c, const json_t *v, const char *key)
{
	if (member(v, key) && !json_is_boolean(member(v, key)))
		problem(c, key, "%s must be a boolean", key);
}

static void maybe_number(struct check *c, const json_t *v, const char *key, json_int_t min)
{
	const json_t *m = member(v, key);

	if (m && (!json_is_integer(m) || json_integer_value(m) < min))
		problem(c, key, "%s must be an integer >= %lld", key, (long long)min);
}

static void texts(struct check *c, const json_t *v, const char *key, bool required)
{
	const json_t *m = member(v, key);
	bool ok = json_is_array(m) && (!required || json_array_size(m));

	if (!m && !required)
		return;
	for (size_t i = 0; ok && i < json_array_size(m); i++)
		ok = !blank(json_string_value(json_array_get(m, i)));
	if (!ok)
		problem(c, key, "%s must be a %sarray of non-empty strings", key, required ? "non-empty " : "");
}

static bool is_one_of(const char *s, const char *const *words)
{
	while (s && *words && strcmp(s, *words) != 0)
		words++;
	return s && *words;
}

/* ---- secrets ---- */

/* {"type", "value"}. Written back as it was shown, a secret has is_set in place of its value. */
static void check_secret(struct check *c, const json_t *v, bool plain)
{
	static const char *const types[] = { "workspace_secret", "opaque", "plaintext", NULL };
	const char *type = json_string_value(member(v, "type")), *value = json_string_value(member(v, "value"));
	size_t n = value ? strlen(value) : 0;

	if (!is_one_of(type, types) || (!plain && strcmp(type, "plaintext") == 0)) {
		problem(c, "type", "the type must be workspace_secret%s or opaque", plain ? ", plaintext" : "");
	} else if (!member(v, "value")) {
		if (!json_is_true(member(v, "is_set")))
			problem(c, "value", "the value is required");
	} else if (blank(value)) {
		problem(c, "value", "the value must be a non-empty string");
	} else if (!plain && strcmp(type, "workspace_secret") == 0 &&
		   (*value != '{' || value[n - 1] != '}' || n < 3 || strpbrk(value + 1, "{") || strcspn(value, "}") != n - 1)) {
		problem(c, "value", "a workspace secret is named as {NAME}");
	}
}

static void need_secret(struct check *c, const json_t *v, const char *key)
{
	enter(c, key);
	if (json_is_object(member(v, key)))
		check_secret(c, member(v, key), false);
	else
		problem(c, NULL, "%s is required", key);
	leave(c);
}

static void check_aws(struct check *c, const json_t *v)
{
	const char *role = json_string_value(member(v, "role_arn"));

	if (member(v, "role_arn") && (!role || *role)) {
		if (blank(role))
			problem(c, "role_arn", "role_arn must be a non-empty string");
		if (json_object_size(v) > 1)
			problem(c, "role_arn", "role_arn cannot be combined with keys");
		return;
	}
	need_secret(c, v, "access_key_id");
	need_secret(c, v, "secret_access_key");
}

static void check_gcp(struct check *c, const json_t *v, bool scopes)
{
	need_secret(c, v, "service_account_json");
	if (scopes)
		texts(c, v, "scopes", true);
}

/* ---- mounts ---- */

bool model_mount_path_ok(const char *path)
{
	static const char *const taken[] = { "/proc", "/dev",   "/tmp",	  "/run", "/sys",   "/usr", "/bin",
					     "/sbin", "/lib",	"/lib32", "/lib64", "/libx32", "/etc", TOOLS_DIR, NULL };

	if (!path || *path != '/' || !path[1] || path[strlen(path) - 1] == '/' || strstr(path, "//") || strstr(path, "/./") ||
	    strstr(path, "/../") || strlen(path) > 1024)
		return false;
	if (strcmp(strrchr(path, '/'), "/.") == 0 || strcmp(strrchr(path, '/'), "/..") == 0)
		return false;
	for (int i = 0; taken[i]; i++)
		if (model_path_covers(taken[i], path))
			return false;
	return true;
}

bool model_path_covers(const char *above, const char *path)
{
	size_t n = strlen(above);

	return strncmp(above, path, n) == 0 && (!path[n] || path[n] == '/');
}

static const char *git_url_problem(const char *url)
{
	static const char scheme[] = "https://";
	const char *host, *path;

	if (!url || strncmp(url, scheme, sizeof scheme - 1) != 0)
		return "must be an absolute https URL";
	host = url + sizeof scheme - 1;
	if (!*host || *host == '/')
		return "must be an absolute https URL";
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return "must not hold white space";
	path = strchr(host, '/');
	if (!path || !path[1])
		return "must have a repository's path";
	if (memchr(host, '@', (size_t)(path - host)))
		return "must not hold credentials";
	if (strpbrk(host, "?#"))
		return "must have no query and no fragment";
	return NULL;
}

static void check_git(struct check *c, const json_t *git)
{
	static const char *const kinds[] = { "branch", "tag", NULL };
	const json_t *url = member(git, "remote_url"), *ref = member(git, "ref");
	const char *text = json_string_value(url), *why = git_url_problem(text);

	if (!why && strlen(text) != json_string_length(url))
		why = "must not hold a NUL";
	if (why)
		problem(c, "remote_url", "remote_url %s", why);
	maybe_number(c, git, "refresh_interval_seconds", 1);
	if (!ref)
		return;
	enter(c, "ref");
	if (!is_one_of(json_string_value(member(ref, "type")), kinds))
		problem(c, "type", "the type of a ref is branch or tag");
	need_text(c, ref, "name");
	leave(c);
}

static void check_store(struct check *c, const char *type, const json_t *v)
{
	if (strcmp(type, "git") == 0) {
		check_git(c, v);
	} else if (strcmp(type, "contexthub") == 0) {
		need_text(c, v, "repo");
		maybe_bool(c, v, "initial_pull_only");
	} else {
		need_text(c, v, "bucket");
		maybe_text(c, v, "prefix");
		maybe_text(c, v, "endpoint_url");
		maybe_bool(c, v, "path_style");
		if (strcmp(type, "s3") == 0)
			need_text(c, v, "region");
	}
}

static void no_credentials(struct check *c, const json_t *v)
{
	static const char *const forbidden[] = { "access_key_id", "secret_access_key", "session_token", "service_account_json",
						 "access_token",  "refresh_token",     "credentials",	"credential", NULL };
	const char *key;
	json_t *each;

	json_object_foreach((json_t *)(uintptr_t)v, key, each)
	{
		if (is_one_of(key, forbidden))
			problem(c, key, "credentials belong to mount_config.auth, not to a mount");
		enter(c, key);
		no_credentials(c, each);
		leave(c);
	}
}

static void check_cache(struct check *c, const json_t *cache)
{
	if (!cache)
		return;
	enter(c, "cache");
	if (!json_is_object(cache))
		problem(c, NULL, "cache must be an object");
	maybe_number(c, cache, "max_size_bytes", 0);
	maybe_number(c, cache, "writeback_seconds", 0);
	leave(c);
}

static void check_mount(struct check *c, const json_t *v)
{
	static const char *const types[] = { "s3", "gcs", "git", "contexthub", NULL };
	const char *type = json_string_value(member(v, "type"));

	need_text(c, v, "id");
	if (!model_mount_path_ok(json_string_value(member(v, "mount_path"))))
		problem(c, "mount_path", "mount_path must be an absolute path outside of the system's directories");
	maybe_bool(c, v, "read_only");
	check_cache(c, member(v, "cache"));
	no_credentials(c, v);
	if (!is_one_of(type, types)) {
		problem(c, "type", "the type of a mount is s3, gcs, git or contexthub");
	} else if (!json_is_object(member(v, type))) {
		problem(c, type, "a mount of type %s has a block of that name", type);
	} else {
		enter(c, type);
		check_store(c, type, member(v, type));
		leave(c);
	}
}

static bool any_mount(const json_t *mounts, const char *type)
{
	size_t i;
	json_t *v;

	json_array_foreach((json_t *)(uintptr_t)mounts, i, v)
	{
		const char *t = json_string_value(member(v, "type"));

		if (t && strcmp(t, type) == 0)
			return true;
	}
	return false;
}

/* Whether the proxy has a rule of a provider. */
static bool proxy_rule(const json_t *proxy, const char *provider, bool enabled)
{
	size_t i;
	json_t *v;

	json_array_foreach((json_t *)(uintptr_t)member(proxy, "rules"), i, v)
	{
		const char *t = json_string_value(member(v, "type"));

		if (t && strcmp(t, provider) == 0 && (!enabled || json_is_true(member(v, "enabled"))))
			return true;
	}
	return false;
}

static void check_auth(struct check *c, const json_t *auth, const json_t *mounts, const json_t *proxy)
{
	static const char *const providers[] = { "aws", "gcp" }, *const stores[] = { "s3", "gcs" };

	enter(c, "auth");
	if (auth && !json_is_object(auth))
		problem(c, NULL, "auth must be an object");
	for (int i = 0; i < 2; i++) {
		const json_t *block = member(auth, providers[i]);
		bool mounted = any_mount(mounts, stores[i]);

		enter(c, providers[i]);
		if (block && !json_is_object(block))
			problem(c, NULL, "%s must be an object", providers[i]);
		else if (block && i == 0)
			check_aws(c, block);
		else if (block)
			check_gcp(c, block, false);
		if (block && !mounted)
			problem(c, NULL, "%s auth needs a mount of type %s", providers[i], stores[i]);
		if (!block && mounted && (i == 1 || !proxy_rule(proxy, "aws", true)))
			problem(c, NULL, "mounts of type %s need %s auth", stores[i], providers[i]);
		if (block && proxy_rule(proxy, providers[i], false))
			problem(c, NULL, "%s auth cannot be both in mount_config and in proxy_config", providers[i]);
		leave(c);
	}
	leave(c);
}

static void check_mounts(struct check *c, const json_t *config, const json_t *proxy)
{
	const json_t *mounts = member(config, "mounts");

	enter(c, "mount_config");
	if (!json_is_object(config)) {
		problem(c, NULL, "mount_config must be an object");
	} else if (!json_array_size(mounts)) {
		problem(c, "mounts", "mounts must be a non-empty array");
	} else {
		enter(c, "mounts");
		for (size_t i = 0; i < json_array_size(mounts); i++) {
			enter_item(c, i);
			check_mount(c, json_array_get(mounts, i));
			leave(c);
		}
		leave(c);
		check_auth(c, member(config, "auth"), mounts, proxy);
	}
	leave(c);
}

/* ---- proxy ---- */

static void check_headers(struct check *c, const json_t *v, const char *key)
{
	const json_t *headers = member(v, key);

	if (!headers)
		return;
	enter(c, key);
	if (!json_is_array(headers))
		problem(c, NULL, "%s must be an array", key);
	for (size_t i = 0; i < json_array_size(headers); i++) {
		const json_t *h = json_array_get(headers, i);

		enter_item(c, i);
		need_text(c, h, "name");
		check_secret(c, h, true);
		leave(c);
	}
	leave(c);
}

static void check_provider(struct check *c, const char *type, const json_t *rule)
{
	const json_t *block = member(rule, type);

	if (member(rule, "match_hosts"))
		problem(c, "match_hosts", "match_hosts is for header rules; providers have hosts of their own");
	enter(c, type);
	if (!json_is_object(block))
		problem(c, NULL, "a rule of type %s has a block of that name", type);
	else if (strcmp(type, "aws") == 0)
		check_aws(c, block);
	else
		check_gcp(c, block, true);
	leave(c);
}

static void check_rule(struct check *c, const json_t *rule)
{
	static const char *const providers[] = { "aws", "gcp", NULL };
	const char *type = json_string_value(member(rule, "type"));

	need_text(c, rule, "name");
	maybe_bool(c, rule, "enabled");
	model_check_env(member(rule, "env_vars"), "env_vars", c->details);
	if (is_one_of(type, providers)) {
		check_provider(c, type, rule);
		return;
	}
	texts(c, rule, "match_hosts", false);
	texts(c, rule, "match_paths", false);
	check_headers(c, rule, "headers");
}

static void check_callback(struct check *c, const json_t *v)
{
	texts(c, v, "match_hosts", true);
	need_text(c, v, "url");
	if (!member(v, "ttl_seconds"))
		problem(c, "ttl_seconds", "ttl_seconds is required");
	maybe_number(c, v, "ttl_seconds", 0);
	maybe_bool(c, v, "full_request");
	check_headers(c, v, "request_headers");
}

static void check_each(struct check *c, const json_t *v, const char *key, void (*one)(struct check *c, const json_t *v))
{
	const json_t *list = member(v, key);

	if (!list)
		return;
	enter(c, key);
	if (!json_is_array(list))
		problem(c, NULL, "%s must be an array", key);
	for (size_t i = 0; i < json_array_size(list); i++) {
		enter_item(c, i);
		one(c, json_array_get(list, i));
		leave(c);
	}
	leave(c);
}

static void check_proxy(struct check *c, const json_t *config)
{
	const json_t *access = member(config, "access_control");

	enter(c, "proxy_config");
	if (!json_is_object(config))
		problem(c, NULL, "proxy_config must be an object");
	check_each(c, config, "rules", check_rule);
	check_each(c, config, "callbacks", check_callback);
	texts(c, config, "no_proxy", false);
	if (access) {
		enter(c, "access_control");
		texts(c, access, "allow_list", false);
		texts(c, access, "deny_list", false);
		if (json_array_size(member(access, "allow_list")) && json_array_size(member(access, "deny_list")))
			problem(c, "deny_list", "allow_list and deny_list exclude each other");
		leave(c);
	}
	leave(c);
}

void model_check_configs(const json_t *body, json_t *details)
{
	struct check c = { details, json_pack("[s]", "body") };

	if (member(body, "mount_config"))
		check_mounts(&c, member(body, "mount_config"), member(body, "proxy_config"));
	if (member(body, "proxy_config"))
		check_proxy(&c, member(body, "proxy_config"));
	json_decref(c.loc);
}
