/* What main decides once and everyone reads. */
#ifndef SANDBOXD_SERVER_H
#define SANDBOXD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct server {
	const char *api_key; /* NULL: no check */
	const char *tls_cert, *tls_key; /* PEM files; NULL: plain HTTP */
	char *url;	     /* http://127.0.0.1:PORT, or https */
	char *state;	     /* the state directory */
	bool state_is_temporary;
	bool isolation;
	bool share_net;
	char *tools; /* a directory of programs for all sandboxes, NULL: none */
	size_t ring_bytes;	/* most output kept a stream */
	size_t kept_bytes;	/* most output kept by all finished commands */
	size_t max_message;	/* largest WebSocket message accepted */
	int64_t time_scale;	/* how much faster than the clock sandboxes age */
	int64_t ws_ping_ms;	/* 0: none */
	int64_t heartbeat_ms; /* of event streams */
	uint16_t denied[16];	/* ports that tunnels do not reach */
	size_t denied_n;
	int exe_fd;		/* this program, executed again as the agent */
	struct rlimit files;	/* descriptor limit that commands get back */
	bool stopping;
};
extern struct server server;

/* Where sandboxes see --tools. */
#define TOOLS_DIR "/opt/sandboxd/bin"

/* The agent of a sandbox, started and connected. */
struct launched {
	pid_t pid;
	int pidfd;
	int sock;
};
/* The host user id a sandbox runs under: an otherwise unused one when the server is root. */
uid_t launch_uid(const char *id);
/* A directory from outside that a sandbox sees. */
struct bind {
	char *from, *to;
	bool read_only;
};
struct launch {
	const char *root, *home;
	uid_t uid;
	bool own_system; /* the root has its programs itself and is shown none of the host's */
	const struct bind *binds; /* their places in the root are there */
	size_t binds_n;
};
/* Starts the agent for a root directory; false with a reason. */
bool launch_agent(const struct launch *l, struct launched *out, char **why);
/* Starts and ends one agent; false with a reason when sandboxes cannot work here. */
bool launch_probe(char **why);

#endif
