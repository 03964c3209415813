/* Many commands at once in an event loop of the program's own: one thread, no
   callbacks. The client is one more descriptor in the loop's epoll, and its
   next deadline is one more timeout.

     cc -std=c99 events.c -lpthread -o events        (Linux)
     LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… ./events [commands] */
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"
#include "../transports/sandbox_posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Output comes in pieces of any size: a line is printed once it is whole. */
typedef struct job {
    int number;
    size_t n;
    char line[128];
} job;

static void print_lines(job *j, sbx_str data)
{
    for (size_t i = 0; i < data.n; i++) {
        if (data.p[i] != '\n' && j->n < sizeof j->line)
            j->line[j->n++] = data.p[i];
        if (data.p[i] == '\n') {
            printf("%3d | %.*s\n", j->number, (int)j->n, j->line);
            j->n = 0;
        }
    }
}

/* Everything that happened since the last time; how many commands ended. */
static int take_events(sbx_client *c, int *failed)
{
    int ended = 0;

    for (sbx_event ev; sbx_next(c, &ev);) {
        job *j = (job *)ev.user;

        if (ev.kind == SBX_EV_STDOUT || ev.kind == SBX_EV_STDERR)
            print_lines(j, ev.data);
        if (ev.kind != SBX_EV_END)
            continue;
        ended++;
        if (ev.code) {
            sbx_error e;

            sbx_error_of(c, ev.op, &e);
            printf("%3d | %s: %s\n", j->number, sbx_code_name(e.code), e.text);
            ++*failed;
        } else {
            printf("%3d | exit %d\n", j->number, ev.exit_code);
        }
    }
    return ended;
}

static int run(sbx_client *c, const sbx_box *box, job *jobs, int count)
{
    struct epoll_event watch, ready[8];
    int loop = epoll_create1(EPOLL_CLOEXEC), open = 0, failed = 0;

    watch.events = EPOLLIN;
    watch.data.ptr = c; /* a program's other descriptors would have other marks */
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, (int)sbx_poll_handle(c), &watch)) {
        perror("epoll");
        return 1;
    }
    for (int i = 0; i < count; i++, open++) {
        char command[128];
        sbx_run_opts o = { .call = { .user = &jobs[i] } };

        jobs[i].number = i + 1;
        snprintf(command, sizeof command, "for k in 1 2 3; do sleep 0.%d; echo line $k of %d; done; exit %d", 1 + i % 3, i + 1, i % 5);
        if (!sbx_command(c, box, sbx_s(command), &o).slot) {
            fprintf(stderr, "command %d was refused\n", i + 1);
            close(loop);
            return 1;
        }
    }
    while (open) {
        int64_t at = sbx_next_deadline(c), left = at - now_ms();
        int timeout = at == INT64_MAX ? -1 : left < 0 ? 0 : left > 60000 ? 60000 : (int)left;

        epoll_wait(loop, ready, 8, timeout);
        sbx_step(c, now_ms());
        open -= take_events(c, &failed);
    }
    close(loop);
    return failed != 0;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 20, status = 1;
    sbx_client_desc desc = { 0 };
    sbx_create_opts create = { .delete_on_close = true };
    sbx_client *c;
    sbx_error err;
    sbx_box box;
    job *jobs;

    if (count < 1 || count > 1000)
        return fprintf(stderr, "1 to 1000 commands\n"), 1;
    desc.transport = &sbx_posix;
    desc.max_ops = desc.max_links = desc.max_requests = (uint32_t)count; /* all at once */
    if (sbx_open(&desc, &c, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    jobs = (job *)calloc((size_t)count, sizeof *jobs);
    /* Blocking calls and a loop go together: this one waits, in the loop none does. */
    if (jobs && sbx_await(c, sbx_create(c, &create, &box)) == SBX_OK)
        status = run(c, &box, jobs, count);
    free(jobs);
    sbx_close(c); /* deletes the sandbox, too */
    return status;
}
