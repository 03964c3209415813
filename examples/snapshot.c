/* Prepare once, fork many: a sandbox is set up and captured, then eight new
   ones begin where it stood, all at once, each with a part of the work.

     cc -std=c99 snapshot.c -lpthread -o snapshot
     LANGSMITH_ENDPOINT=… LANGSMITH_API_KEY=… ./snapshot */
#define SANDBOX_IMPLEMENTATION
#include "../sandbox.h"
#include "../transports/sandbox_posix.h"

#include <stdio.h>

enum { FORKS = 8 };

/* What takes its time: here, numbers to work on; else a clone, a build, a download. */
static const char prepare[] = "mkdir -p /workspace && seq 8000 >/workspace/numbers && wc -l </workspace/numbers";

static sbx_client *c;

/* Blocks until the call is done; other operations go on meanwhile. */
static bool done(const char *what, sbx_op op)
{
    sbx_error e;

    if (sbx_await(c, op) == SBX_OK)
        return true;
    sbx_error_of(c, op, &e);
    fprintf(stderr, "%s: %s: %s\n", what, sbx_code_name(e.code), e.text);
    return false;
}

static bool make_snapshot(sbx_snapshot *snapshot)
{
    sbx_create_opts create = { .delete_on_close = true };
    sbx_snapshot_opts capture = { .poll_ms = 500 };
    char text[32], name[48];
    sbx_run_opts run = { .out = { text, sizeof text } };
    sbx_result result;
    sbx_box box;

    if (!done("create", sbx_create(c, &create, &box)) || !done("prepare", sbx_run(c, &box, sbx_s(prepare), &run, &result)))
        return false;
    printf("prepared %.*s", (int)result.out_n, text);
    snprintf(name, sizeof name, "numbers-%.32s", box.name);
    return done("capture", sbx_snapshot_capture(c, &box, sbx_s(name), &capture, snapshot)) && done("delete", sbx_delete(c, &box, NULL));
}

/* Every step is begun for all before the first one is waited for. */
static bool work(const sbx_snapshot *snapshot)
{
    sbx_create_opts create = { .snapshot_id = sbx_s(snapshot->id), .delete_on_close = true };
    sbx_box boxes[FORKS];
    sbx_result results[FORKS];
    char sums[FORKS][32], command[96];
    long long total = 0, sum;
    sbx_op ops[FORKS];
    int begun = 0;
    bool ok = true;

    for (int i = 0; i < FORKS; i++)
        ops[i] = sbx_create(c, &create, &boxes[i]);
    for (int i = 0; i < FORKS; i++)
        ok = done("create", ops[i]) && ok;
    for (; ok && begun < FORKS; begun++) {
        int i = begun;
        sbx_run_opts run = { .out = { sums[i], sizeof sums[i] - 1 } };

        snprintf(command, sizeof command, "awk 'NR %% %d == %d { s += $1 } END { print s }' /workspace/numbers", FORKS, i);
        ops[i] = sbx_run(c, &boxes[i], sbx_s(command), &run, &results[i]);
    }
    /* All are waited for, also after a failure: they write into these arrays. */
    for (int i = 0; i < begun; i++) {
        if (!done("run", ops[i])) {
            ok = false;
            continue;
        }
        sums[i][results[i].out_n] = 0;
        if (sscanf(sums[i], "%lld", &sum) == 1)
            total += sum;
        printf("fork %d: %s", i + 1, sums[i]);
    }
    printf("together %lld\n", total);
    return ok; /* sbx_close deletes all eight */
}

int main(void)
{
    sbx_client_desc desc = { .transport = &sbx_posix, .max_owned = FORKS };
    sbx_snapshot snapshot;
    sbx_error err;
    bool ok;

    if (sbx_open(&desc, &c, &err))
        return fprintf(stderr, "open: %s: %s\n", sbx_code_name(err.code), err.text), 1;
    ok = make_snapshot(&snapshot);
    if (ok) {
        printf("captured, %s\n", snapshot.status_text);
        ok = work(&snapshot);
        ok = done("delete", sbx_snapshot_delete(c, sbx_s(snapshot.id), NULL)) && ok;
    }
    sbx_close(c);
    return ok ? 0 : 1;
}
