/* The agent: init of one sandbox. It starts commands, opens files and searches
 * directories inside, and hands descriptors out. */
#ifndef SANDBOXD_AGENT_H
#define SANDBOXD_AGENT_H

#include <stddef.h>
#include <sys/types.h>

/* Environment variable that marks a command's processes, so that a kill finds
 * those that left the process group, too. */
#define AGENT_TAG "SANDBOX_COMMAND_ID"

/* argv: --agent SOCKET-FD HOME */
int agent_main(int argc, char **argv);

/* Writes the JSON answer of a glob ('g') or grep ('r') to fd. */
void search_run(int fd, int kind, int limit, const char *pattern, const char *path, const char *filter);

/* SIGKILL to the process groups and sessions of some commands, to whatever
 * carries their tags, and to all that descends from those. Sorts both lists. */
void kill_trees(pid_t *leaders, char **tags, size_t count);
/* SIGKILL to everything started by this agent: needed where no namespace ends it. */
void kill_everything(void);

#endif
