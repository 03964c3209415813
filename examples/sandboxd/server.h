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
	size_t ring_bytes;	/* most output kept a stream */
	size_t kept_bytes;	/* most output kept by all finished commands */
	size_t max_message;	/* largest WebSocket message accepted */
	int64_t ws_ping_ms;	/* 0: none */
	int exe_fd;		/* this program, executed again as the agent */
	struct rlimit files;	/* descriptor limit that commands get back */
	bool stopping;
};
extern struct server server;

/* The agent of a sandbox, started and connected. */
struct launched {
	pid_t pid;
	int pidfd;
	int sock;
};
/* The host user id a sandbox runs under: an otherwise unused one when the server is root. */
uid_t launch_uid(const char *id);
/* Starts the agent for a root directory, which is shown the host's programs
 * unless it has a system of its own; false with a reason. */
bool launch_agent(const char *root, const char *home, uid_t uid, bool own_system, struct launched *out, char **why);
/* Starts and ends one agent; false with a reason when sandboxes cannot work here. */
bool launch_probe(char **why);

#endif
