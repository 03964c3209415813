#include "token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base64.h"
#include "server.h"
#include "sha1.h"

#define MAC_BYTES 20

static unsigned char key[64];

/* Complete or not there at all: it is written beside and renamed. */
static bool make_key(const char *path)
{
	char *temporary = xasprintf("%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok;

	random_bytes(key, sizeof key);
	ok = fd >= 0 && write_all(fd, key, sizeof key) && fsync(fd) == 0;
	close_fd(&fd);
	ok = ok && rename(temporary, path) == 0;
	free(temporary);
	return ok;
}

bool token_open(char **why)
{
	char *path = xasprintf("%s/token.key", server.state);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 ? read(fd, key, sizeof key) == (ssize_t)sizeof key : errno == ENOENT && make_key(path);

	if (!ok)
		*why = xasprintf("cannot use %s: remove it to have it made again (tokens made with it end then)", path);
	close_fd(&fd);
	free(path);
	return ok;
}

/* HMAC-SHA1 (RFC 2104) of the purpose, a newline, and the text. */
static void sign(const char *purpose, const char *text, size_t n, unsigned char mac[MAC_BYTES])
{
	struct buf inner = { 0 }, outer = { 0 };
	unsigned char pad[sizeof key];

	for (size_t i = 0; i < sizeof key; i++)
		pad[i] = key[i] ^ 0x36;
	buf_add(&inner, pad, sizeof pad);
	buf_addf(&inner, "%s\n", purpose);
	buf_add(&inner, text, n);
	sha1(inner.p, inner.n, mac);
	for (size_t i = 0; i < sizeof key; i++)
		pad[i] = key[i] ^ 0x5c;
	buf_add(&outer, pad, sizeof pad);
	buf_add(&outer, mac, MAC_BYTES);
	sha1(outer.p, outer.n, mac);
	buf_free(&inner);
	buf_free(&outer);
}

char *token_make(const char *purpose, json_t *claims, int64_t expires_ms)
{
	unsigned char mac[MAC_BYTES];
	struct buf b = { 0 };
	char *text;

	if (expires_ms)
		json_object_set_new(claims, "exp", json_integer(expires_ms));
	text = json_dumps(claims, JSON_COMPACT);
	json_decref(claims);
	buf_add_base64url(&b, text, strlen(text));
	free(text);
	sign(purpose, b.p, b.n, mac);
	buf_adds(&b, ".");
	buf_add_base64url(&b, mac, sizeof mac);
	buf_add(&b, "", 1);
	return b.p;
}

static bool signature_fits(const char *purpose, const char *token, const char *dot)
{
	unsigned char mac[MAC_BYTES], diff = 0;
	struct buf given = { 0 };
	bool ok = base64_decode(dot + 1, strlen(dot + 1), &given) && given.n == MAC_BYTES;

	if (ok)
		sign(purpose, token, (size_t)(dot - token), mac);
	for (size_t i = 0; ok && i < MAC_BYTES; i++)
		diff |= mac[i] ^ (unsigned char)given.p[i];
	buf_free(&given);
	return ok && !diff;
}

json_t *token_read(const char *purpose, const char *token, bool *expired)
{
	const char *dot = strchr(token, '.');
	struct buf text = { 0 };
	json_t *claims = NULL, *until;

	*expired = false;
	if (!dot || !signature_fits(purpose, token, dot))
		return NULL;
	if (base64_decode(token, (size_t)(dot - token), &text))
		claims = json_loadb(text.p, text.n, 0, NULL);
	buf_free(&text);
	until = json_object_get(claims, "exp");
	if (until && json_integer_value(until) <= wall_ms()) {
		*expired = true;
		json_decref(claims);
		return NULL;
	}
	return claims;
}
