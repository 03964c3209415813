/* sandboxd: a local server that speaks the sandbox API. */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent.h"
#include "box.h"
#include "boxes.h"
#include "bulk.h"
#include "execute.h"
#include "fault.h"
#include "files.h"
#include "generation.h"
#include "http.h"
#include "image.h"
#include "job.h"
#include "links.h"
#include "loop.h"
#include "proxy.h"
#include "resources.h"
#include "server.h"
#include "services.h"
#include "snapshot.h"
#include "sse.h"
#include "store.h"
#include "stream.h"
#include "tls.h"
#include "token.h"
#include "tunnel.h"
#include "util.h"
#include "ws.h"

struct server server = {
	.isolation = true,
	.ring_bytes = 1 << 20,
	.kept_bytes = 256 << 20,
	.max_message = 16 << 20,
	.ws_ping_ms = 30000,
	.heartbeat_ms = 15000,
	.exe_fd = -1,
	.time_scale = 1,
};

const struct route *const route_tables[] = {
	boxes_routes, stream_routes, execute_routes, upload_routes, download_routes, search_routes,
	snapshots_routes, registries_routes,
	sse_routes,
	volumes_routes, templates_routes, pools_routes, services_routes, proxy_routes, tunnel_routes, links_routes,
	NULL,
};

static const char help[] =
	"usage: sandboxd [options]\n"
	"\n"
	"Serves the sandbox API on this machine. Prints one line,\n"
	"  sandboxd listening on http://127.0.0.1:PORT\n"
	"(https with --tls-cert) when it is ready; the API's base URL is that plus /v2/sandboxes.\n"
	"\n"
	"  --listen ADDRESS:PORT  where to listen (127.0.0.1:8787; port 0 picks a free one)\n"
	"  --tls-cert FILE        speak TLS (https, wss): the certificate and what leads up to its CA, PEM\n"
	"  --tls-key FILE         the certificate's key, PEM\n"
	"  --api-key KEY          ask for this key in X-Api-Key (none: every request is accepted)\n"
	"  --state DIR            keep sandboxes here (none: a temporary directory, removed at the end)\n"
	"  --image NAME=DIR       the Docker image NAME is the root directory DIR; may be repeated.\n"
	"                         A root without programs of its own sees this machine's\n"
	"  --generation G         only what this generation of the API has: 2026-04-a, 2026-04-b or\n"
	"                         current (all: everything at once)\n"
	"  --time-scale N         lifetimes of sandboxes pass N times as fast, to test clients (1)\n"
	"  --tools DIR            more programs for all sandboxes, first in their PATH\n"
	"  --no-isolation         run commands on this machine directly, WITHOUT ANY ISOLATION:\n"
	"                         paths are the machine's own, only relative ones are a sandbox's\n"
	"  --share-net            sandboxes use this machine's network (else: their own, loopback only)\n"
	"  --ring-bytes N         output kept a stream for reconnects (1048576)\n"
	"  --kept-bytes N         output kept by all finished commands (268435456)\n"
	"  --max-message N        largest WebSocket message accepted (16777216)\n"
	"  --ws-ping SECONDS      ping interval on WebSockets, 0 for none (30)\n"
	"  --deny-port PORT       tunnels do not reach this port; may be repeated\n"
	"  --sse-heartbeat SECONDS  comment interval on event streams (15)\n"
	"  --verbose              log to stderr\n"
	"  --fault SPEC           misbehave, to test clients; may be repeated. SPEC is one of\n"
	"      status=503[:count=N][:path=TEXT][:type=T][:message=M][:retry-after=S]\n"
	"                         answer requests whose path holds TEXT with this status\n"
	"      drop-ws-after=BYTES[:count=N][:path=TEXT]\n"
	"                         reset WebSockets and event streams once they sent more than BYTES\n"
	"      close-ws-after=BYTES[:code=1001][:count=N][:path=TEXT]\n"
	"                         close them with that code instead (event streams: end them)\n";

static bool running = true;

static void on_signal(struct source *s, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	while (read(s->fd, &info, sizeof info) > 0)
		running = false;
}

static void fail(const char *why)
{
	fprintf(stderr, "sandboxd: %s\n", why);
	exit(1);
}

static size_t number(const char *option, const char *text, size_t min)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (!*text || *end || v < min) {
		fprintf(stderr, "sandboxd: %s %s: a number of at least %zu is needed\n", option, text, min);
		exit(2);
	}
	return (size_t)v;
}

static void read_options(int argc, char **argv, char **host, unsigned *port, const char **state)
{
	static const struct option options[] = {
		{ "listen", 1, NULL, 'l' },	{ "api-key", 1, NULL, 'k' },	 { "state", 1, NULL, 's' },
		{ "no-isolation", 0, NULL, 'n' }, { "share-net", 0, NULL, 'N' }, { "ring-bytes", 1, NULL, 'r' },
		{ "kept-bytes", 1, NULL, 'K' }, { "max-message", 1, NULL, 'm' }, { "ws-ping", 1, NULL, 'p' },
		{ "verbose", 0, NULL, 'v' },	{ "fault", 1, NULL, 'f' },	 { "help", 0, NULL, 'h' },
		{ "tls-cert", 1, NULL, 'c' },	{ "tls-key", 1, NULL, 'y' },	 { "image", 1, NULL, 'i' },	 { "tools", 1, NULL, 't' },
		{ "deny-port", 1, NULL, 'D' },
		{ "sse-heartbeat", 1, NULL, 'H' },
		{ "generation", 1, NULL, 'g' }, { "time-scale", 1, NULL, 'x' },
		{ 0 },
	};
	char *why, *colon;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			colon = strrchr(optarg, ':');
			if (!colon)
				fail("--listen needs ADDRESS:PORT");
			*port = (unsigned)number("--listen", colon + 1, 0);
			free(*host);
			*host = strndup(optarg, (size_t)(colon - optarg));
			break;
		case 'k':
			server.api_key = optarg;
			break;
		case 's':
			*state = optarg;
			break;
		case 'n':
			server.isolation = false;
			break;
		case 'N':
			server.share_net = true;
			break;
		case 'r':
			server.ring_bytes = number("--ring-bytes", optarg, 64);
			break;
		case 'K':
			server.kept_bytes = number("--kept-bytes", optarg, 0);
			break;
		case 'm':
			server.max_message = number("--max-message", optarg, 1024);
			break;
		case 'p':
			server.ws_ping_ms = (int64_t)(number("--ws-ping", optarg, 0) * 1000);
			break;
		case 'D':
			if (server.denied_n == sizeof server.denied / sizeof *server.denied)
				fail("--deny-port: no more than 16");
			server.denied[server.denied_n++] = (uint16_t)number("--deny-port", optarg, 1);
			break;
		case 'H':
			server.heartbeat_ms = (int64_t)(number("--sse-heartbeat", optarg, 1) * 1000);
			break;
		case 'c':
			server.tls_cert = optarg;
			break;
		case 'y':
			server.tls_key = optarg;
			break;
		case 'i':
			if (!image_add(optarg, &why))
				fail(why);
			break;
		case 'g':
			if (!generation_choose(optarg))
				fail("--generation is all, 2026-04-a, 2026-04-b or current");
			break;
		case 'x':
			server.time_scale = (int64_t)number("--time-scale", optarg, 1);
			break;
		case 't':
			free(server.tools);
			server.tools = realpath(optarg, NULL);
			if (!server.tools || !store_host_is_dir(server.tools))
				fail("--tools needs a directory");
			break;
		case 'v':
			log_verbose = true;
			break;
		case 'f':
			if (!fault_add(optarg, &why))
				fail(why);
			break;
		case 'h':
			fputs(help, stdout);
			exit(0);
		default:
			fputs("sandboxd: --help shows the options\n", stderr);
			exit(2);
		}
	}
	if (optind < argc)
		fail("there are no arguments besides options; see --help");
	if (!server.tls_cert != !server.tls_key)
		fail("--tls-cert and --tls-key come together");
	if (server.api_key && !*server.api_key)
		server.api_key = NULL;
}

static void raise_descriptor_limit(void)
{
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &server.files);
	r = server.files;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

/* Descriptors 0 to 2 must exist, or a socket would take their place. */
static void check_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < 3);
	close(fd);
}

int main(int argc, char **argv)
{
	struct source signals = { 0 };
	sigset_t watch;
	unsigned port = 8787;
	char *why = NULL, *host;
	const char *state = NULL;

	if (argc > 1 && strcmp(argv[1], "--agent") == 0)
		return agent_main(argc, argv);
	check_standard_streams();
	host = xstrdup("127.0.0.1");
	read_options(argc, argv, &host, &port, &state);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&watch);
	sigaddset(&watch, SIGTERM);
	sigaddset(&watch, SIGINT);
	sigprocmask(SIG_BLOCK, &watch, NULL);
	raise_descriptor_limit();
	server.exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (server.exe_fd < 0)
		fail("cannot open its own program (/proc/self/exe)");
	if (!loop_init() ||
	    !source_add(&signals, signalfd(-1, &watch, SFD_CLOEXEC | SFD_NONBLOCK), EPOLLIN, on_signal))
		fail("cannot make an event loop");
	if (!store_open(state, &why))
		fail(why);
	if (!token_open(&why)) {
		store_close();
		fail(why);
	}
	if (server.isolation && !launch_probe(&why)) {
		fprintf(stderr,
			"sandboxd: %s\n"
			"sandboxd: isolation needs bubblewrap (bwrap) and user namespaces. --no-isolation does without:\n"
			"sandboxd: commands then run on this machine directly, with all that its user may do.\n",
			why);
		store_close();
		return 1;
	}
	if (!server.isolation)
		fputs("sandboxd: WARNING: no isolation: commands run on this machine directly\n", stderr);
	if (!http_start(host, port, &why)) {
		fprintf(stderr, "sandboxd: %s\n", why);
		store_close();
		return 1;
	}
	registries_load();
	snapshots_load();
	volumes_load();
	templates_load();
	pools_load();
	box_load_all();
	printf("sandboxd listening on %s\n", server.url);
	fflush(stdout);

	while (running)
		loop_once(-1);
	logf_info("ending");
	server.stopping = true;
	tunnel_shutdown();
	ws_shutdown();
	bulk_shutdown();
	jobs_shutdown();
	sse_shutdown();
	boxes_shutdown();
	http_stop();
	tls_stop();
	store_close();
	free(host);
	return 0;
}
