/* Commands: processes of a sandbox, their streams, and who watches them. */
#ifndef SANDBOXD_COMMANDS_H
#define SANDBOXD_COMMANDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "box.h"
#include "loop.h"
#include "ring.h"
#include "util.h"

struct command;

/* Someone who gets a command's output. Embedded in a connection. */
struct watcher {
	struct watcher *next;
	struct command *command; /* NULL: not attached */
	uint64_t offset[2];	 /* next byte to deliver of stdout, stderr */
	/* There is something new: started, output, or the end. */
	void (*notify)(struct watcher *w);
	/* The command is about to vanish (its sandbox is deleted). */
	void (*gone)(struct watcher *w);
};

/* How to run one. Filled from JSON by command_spec_parse. */
struct command_spec {
	char *id; /* never NULL once started */
	char *command, *shell, *cwd;
	json_t *argv; /* instead of command: its words */
	json_t *env;
	double timeout_s;      /* 0: none */
	double idle_timeout_s; /* < 0: none */
	double ttl_s;	       /* < 0: for ever */
	bool kill_on_disconnect, close_stdin, pty, ssh_agent;
	bool keep_unacked; /* output is kept until command_ack; for lack of room the command waits */
	int cols, rows;
	size_t ring_max;
};

enum command_state { COMMAND_STARTING, COMMAND_RUNNING, COMMAND_DONE };

struct output {
	struct source source;
	int fd; /* -1: at its end */
	struct ring ring;
	struct command *command;
	bool discard; /* the command ended, but others hold the pipe: read and drop */
};

struct command {
	struct command *next;	 /* of its sandbox */
	struct command *kept_next, *kept_prev; /* finished ones, oldest first */
	struct command *hash_next;
	struct box *box;
	char *id;
	enum command_state state;
	bool pty, keep_unacked, kill_on_disconnect, exited, timed_out, given_up, kill_pending;
	uint32_t call;
	int pid, exit_code;
	char *error_type, *error; /* ended by an error instead of an exit */
	struct output out[2];
	struct source input_source;
	int input_fd;
	uint64_t delivered[2]; /* the furthest that was sent to a client, of keep_unacked */
	struct buf input;
	size_t input_at;
	bool input_close; /* once the queue is written */
	double idle_timeout_s, ttl_s;
	struct timer timeout, idle, ttl, grace;
	struct ssh *ssh; /* the client's SSH agent, while it runs; NULL: not asked for */
	struct watcher *watchers; /* newest first: the first one governs back-pressure */
};

/* Reads the fields of an execute message or body. On failure false, with a
 * type and text for the answer. */
bool command_spec_parse(const json_t *msg, struct command_spec *spec, const char **type, char **why);
void command_spec_free(struct command_spec *spec);

struct command *command_find(struct box *b, const char *id);
/* Whether a command of this id existed and is forgotten. */
bool command_expired(struct box *b, const char *id);
/* Starts one; the sandbox must be ready. NULL when its agent is not there. Takes spec->id. */
struct command *command_start(struct box *b, struct command_spec *spec);

void command_attach(struct command *c, struct watcher *w, uint64_t out_offset, uint64_t err_offset);
void command_detach(struct watcher *w);
/* The watcher took output: reading may go on. */
void command_progress(struct command *c);

/* Forgets what is below these offsets, of a command with keep_unacked. */
void command_ack(struct command *c, const uint64_t offset[2]);

void command_kill(struct command *c);
void command_input(struct command *c, const char *p, size_t n);
void command_close_input(struct command *c);
/* Bytes of input that the process has not taken yet. */
size_t command_input_queued(const struct command *c);
void command_resize(struct command *c, int cols, int rows);

/* The end of both streams is known and delivered output can be followed by the end. */
static inline bool command_done(const struct command *c)
{
	return c->state == COMMAND_DONE;
}

/* Forgets all commands of a sandbox that goes away. */
void commands_forget(struct box *b);

#endif
