/* TLS in front: a haproxy of the server's own.
 *
 * libmicrohttpd speaks TLS too, but hands an upgraded connection out as a
 * socket pair that it pumps, and that does not hold here: of 1,000 WebSockets
 * that ended at once 86 never saw the end of their stream, and one that
 * streamed 200 MB stopped on the way. Through haproxy all of them closed
 * cleanly, idle ones cost no time, and 1,000 took 39 MB of memory.
 *
 * It inherits the listening socket, so that port 0 works and nobody is refused
 * while it starts. Certificate, key and configuration reach it in memory
 * files: no copy of the key lies on a disk. It relays bytes (mode tcp); what
 * gets lost is the difference between a reset and an end of the stream. */
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "server.h"
#include "util.h"

#define LISTEN_FD 3
#define PEM_FD 4
#define CONFIG_FD 5
#define STOP_MS 500 /* idle clients may never end theirs */

static const char config_text[] =
	"global\n"
	"  nbthread 1\n"
	"  fd-hard-limit 20000\n" /* by the system's limit it would reserve memory for a million */
	"  ssl-default-bind-options ssl-min-ver TLSv1.2\n"
	"defaults\n"
	"  mode tcp\n"
	"  timeout connect 10s\n"
	"  timeout client 1h\n"
	"  timeout server 1h\n"
	"  timeout tunnel 7d\n" /* HTTP's own timeouts and WebSocket pings decide */
	"listen tls\n"
	"  bind fd@3 ssl crt /proc/self/fd/4 alpn http/1.1\n"
	"  server sandboxd 127.0.0.1:%u\n";

static pid_t proxy = -1;
static struct source proxy_end;

static bool add_file(int fd, const char *path, char **why)
{
	char part[4096];
	ssize_t n = -1;
	int from = open(path, O_RDONLY | O_CLOEXEC);

	while (from >= 0 && (n = read(from, part, sizeof part)) > 0 && write_all(fd, part, (size_t)n))
		;
	if (n != 0)
		*why = xasprintf("%s: %s", path, strerror(errno));
	close_fd(&from);
	return n == 0 && write_all(fd, "\n", 1);
}

static void child(int listener, int pem, int config, bool check)
{
	const char *argv[] = { "haproxy", "-db", "-f", "/proc/self/fd/5", check ? "-c" : "-q", NULL };
	int from[] = { listener, pem, config }, to[] = { LISTEN_FD, PEM_FD, CONFIG_FD }, null;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid(); /* a terminal's ^C is for the server, which stops it */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	for (int i = 0; i < 3; i++) /* out of the way of the numbers that are assigned next */
		from[i] = fcntl(from[i], F_DUPFD, 16);
	for (int i = 0; i < 3; i++)
		if (dup2(from[i], to[i]) < 0)
			_exit(126);
	close_range(6, ~0U, 0);
	execvp("haproxy", (char *const *)(uintptr_t)argv);
	execv("/usr/sbin/haproxy", (char *const *)(uintptr_t)argv);
	fprintf(stderr, "sandboxd: haproxy: %s\n", strerror(errno));
	_exit(127);
}

static pid_t spawn(int listener, int pem, int config, bool check)
{
	pid_t pid = fork();

	if (pid == 0)
		child(listener, pem, config, check);
	return pid;
}

static bool check(int listener, int pem, int config, char **why)
{
	pid_t pid = spawn(listener, pem, config, true);
	int status = -1;

	if (pid > 0)
		waitpid(pid, &status, 0);
	if (status == 0)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		*why = xstrdup("TLS needs haproxy (Debian's package haproxy)");
	else
		*why = xasprintf("haproxy does not take the certificate %s with the key %s", server.tls_cert, server.tls_key);
	return false;
}

static void on_end(struct source *s, uint32_t events)
{
	(void)events;
	source_del(s);
	logf_err("haproxy ended, and TLS with it");
	kill(getpid(), SIGTERM);
}

static bool run(int listener, int pem, int config, char **why)
{
	int fd;

	if (!check(listener, pem, config, why))
		return false;
	proxy = spawn(listener, pem, config, false);
	fd = proxy > 0 ? (int)syscall(SYS_pidfd_open, proxy, 0) : -1;
	if (fd >= 0 && source_add(&proxy_end, fd, EPOLLIN, on_end))
		return true;
	*why = xasprintf("cannot start haproxy: %s", strerror(errno));
	return false;
}

bool tls_start(int listener, unsigned port, char **why)
{
	int pem = memfd_create("pem", MFD_CLOEXEC), config = memfd_create("haproxy.cfg", MFD_CLOEXEC);
	bool ok = false;

	if (pem < 0 || config < 0 || dprintf(config, config_text, port) < 0)
		*why = xasprintf("cannot make a memory file: %s", strerror(errno));
	else
		ok = add_file(pem, server.tls_cert, why) && add_file(pem, server.tls_key, why) &&
		     run(listener, pem, config, why);
	close_fd(&pem);
	close_fd(&config);
	return ok;
}

void tls_stop(void)
{
	struct pollfd end = { .fd = proxy_end.fd, .events = POLLIN };

	if (proxy <= 0)
		return;
	source_del(&proxy_end);
	kill(proxy, SIGUSR1); /* no new connections; it ends with the last one */
	if (poll(&end, 1, STOP_MS) == 0)
		kill(proxy, SIGKILL);
	waitpid(proxy, NULL, 0);
	close(proxy_end.fd);
}
