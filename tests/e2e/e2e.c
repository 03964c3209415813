#define SANDBOX_IMPLEMENTATION
#include "e2e.h"
#include "sandbox_curl.h"
#include "sandbox_bearssl.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

sbx_client *c;
sbx_box box;

/* ---- over which transport ---- */

static const char *variable(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value && *value ? value : otherwise;
}

static void over_posix(sbx_client_desc *d)
{
    d->transport = &sbx_posix;
}

static void over_curl(sbx_client_desc *d)
{
    static sbx_curl_config config;

    config.ca_file = variable("SANDBOXD_CA", NULL);
    d->transport = &sbx_curl;
    d->transport_config = &config;
}

static void over_bearssl(sbx_client_desc *d)
{
    static sbx_bearssl_config config;

    config.ca_file = variable("SANDBOXD_CA", NULL);
    d->transport = &sbx_bearssl_posix;
    d->transport_config = &config;
}

static const struct {
    const char *name;
    void (*choose)(sbx_client_desc *d);
} transports[] = {
    { "posix", over_posix },
    { "curl", over_curl },
    { "bearssl", over_bearssl },
};

bool e2e_over(const char *transport)
{
    return strcmp(variable("E2E_TRANSPORT", "posix"), transport) == 0;
}

void e2e_transport(sbx_client_desc *d)
{
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++)
        if (e2e_over(transports[i].name)) {
            transports[i].choose(d);
            return;
        }
    fail_msg("E2E_TRANSPORT=%s: no such transport", getenv("E2E_TRANSPORT"));
}

sbx_client *e2e_open(const sbx_client_desc *desc)
{
    sbx_client_desc d = desc ? *desc : (sbx_client_desc){ 0 };
    sbx_client *client;
    sbx_error e;

    e2e_transport(&d);
    if (sbx_open(&d, &client, &e))
        fail_msg("open: %s %s", sbx_code_name(e.code), e.text);
    return client;
}

sbx_box e2e_create(sbx_client *client)
{
    sbx_box b = { { 0 }, { 0 }, { 0 } };

    OK_ON(client, sbx_create(client, NULL, &b));
    return b;
}

int e2e_begin(void **state)
{
    (void)state;
    if (!getenv("LANGSMITH_ENDPOINT")) {
        print_error("run it beside sandboxd: tests/build/with_sandboxd.py %s\n", "PROGRAM");
        return -1;
    }
    c = e2e_open(NULL);
    box = e2e_create(c);
    return 0;
}

int e2e_end(void **state)
{
    (void)state;
    OK(sbx_delete(c, &box, NULL));
    sbx_close(c);
    return 0;
}

static void show(const char *what, const sbx_error *e, const char *file, int line)
{
    print_error("%s:%d: %s: %s, layer %d, status %d, sys %d, type '%s', field '%s', operation %s, attempts %d, sent %d: %s\n",
                file, line, what, sbx_code_name(e->code), e->layer, e->status, e->sys, e->type, e->field, e->operation,
                e->attempts, e->sent, e->text);
}

void e2e_ok(sbx_client *client, sbx_op op, const char *file, int line)
{
    sbx_code code = sbx_await(client, op);
    sbx_error e;

    sbx_error_of(client, op, &e);
    if (code != SBX_OK)
        show("failed", &e, file, line);
    _assert_int_equal(code, SBX_OK, file, line);
    _assert_int_equal(e.code, SBX_OK, file, line);
}

sbx_error e2e_fails(sbx_client *client, sbx_op op, sbx_code want, const char *file, int line)
{
    sbx_code code = sbx_await(client, op);
    sbx_error e;

    sbx_error_of(client, op, &e);
    if (code != want)
        show("unexpected", &e, file, line);
    _assert_int_equal(code, want, file, line);
    _assert_int_equal(e.code, want, file, line);
    return e;
}

void e2e_add(e2e_bytes *b, const char *p, size_t n)
{
    if (b->n + n + 1 > b->cap) {
        b->cap = (b->n + n + 1) * 2;
        b->p = realloc(b->p, b->cap);
        assert_non_null(b->p);
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
}

static void order(e2e_run *r, char letter)
{
    size_t n = strlen(r->order);

    if ((!n || r->order[n - 1] != letter) && n + 1 < sizeof r->order)
        r->order[n] = letter;
}

bool e2e_take(e2e_run *r, const sbx_event *ev)
{
    e2e_bytes *b = ev->kind == SBX_EV_STDERR ? &r->err : &r->out;

    switch (ev->kind) {
    case SBX_EV_STDOUT:
    case SBX_EV_STDERR:
        if (ev->stream != (ev->kind == SBX_EV_STDOUT ? 1 : 2) || ev->offset != b->n + (b == &r->out ? r->lost : 0))
            r->torn = true;
        order(r, ev->kind == SBX_EV_STDOUT ? 's' : 'e');
        e2e_add(b, ev->data.p, ev->data.n);
        r->chunks++;
        break;
    case SBX_EV_DATA:
        e2e_add(b, ev->data.p, ev->data.n);
        r->chunks++;
        break;
    case SBX_EV_STARTED:
        r->started++;
        r->pid = ev->pid;
        break;
    case SBX_EV_GAP:
        r->gaps++;
        r->lost += ev->lost;
        order(r, 'g');
        break;
    case SBX_EV_RECONNECTED:
        r->reconnects++;
        order(r, 'r');
        break;
    case SBX_EV_RETRYING:
        r->retries++;
        r->delay_ms = ev->delay_ms;
        order(r, 't');
        break;
    case SBX_EV_WRITABLE: r->writable++; break;
    case SBX_EV_REWIND: r->rewinds++; break;
    case SBX_EV_END:
        r->code = ev->code;
        r->exit_code = ev->exit_code;
        return false;
    default: fail_msg("event %d", ev->kind);
    }
    return true;
}

e2e_run e2e_collect(sbx_client *client, sbx_op op)
{
    e2e_run r;
    sbx_event ev;
    bool ended = false;

    memset(&r, 0, sizeof r);
    e2e_add(&r.out, "", 0);
    e2e_add(&r.err, "", 0);
    while (sbx_next_of(client, &op, &ev)) {
        assert_false(ended);
        ended = !e2e_take(&r, &ev);
        if (ended)
            sbx_error_of(client, ev.op, &r.error);
    }
    assert_true(ended);
    return r;
}

void e2e_free(e2e_run *r)
{
    free(r->out.p);
    free(r->err.p);
}

void e2e_same(const e2e_bytes *b, const char *p, size_t n, const char *file, int line)
{
    if (b->n != n || memcmp(b->p, p, n) != 0) {
        size_t at = 0;

        while (at < b->n && at < n && b->p[at] == p[at])
            at++;
        print_error("%s:%d: %lu bytes instead of %lu, different from byte %lu on: '%.80s' instead of '%.80s'\n", file, line,
                    (unsigned long)b->n, (unsigned long)n, (unsigned long)at, b->p ? b->p + (at < b->n ? at : b->n) : "", at < n ? p + at : "");
        _fail(file, line);
    }
}

const char *e2e_sh(const char *command)
{
    static char text[4096];
    sbx_result result;
    sbx_run_opts o = { .out = { text, sizeof text - 1 }, .err = { text, 0 } };

    OK(sbx_run(c, &box, sbx_s(command), &o, &result));
    assert_false(result.out_cut);
    text[result.out_n] = 0;
    return text;
}

/* ---- a sandboxd of its own ---- */

e2e_server e2e_serve(const char *const *options)
{
    const char *cert = variable("SANDBOXD_CERT", NULL);
    const char *argv[32];
    char path[512], line[256];
    e2e_server s;
    int out[2], n = 0;
    size_t got = 0;

    snprintf(path, sizeof path, "%s/sandboxd", variable("BUILD", "build"));
    argv[n++] = variable("SANDBOXD", path);
    argv[n++] = "--listen";
    argv[n++] = "127.0.0.1:0";
    argv[n++] = "--api-key";
    argv[n++] = "k";
    if (cert) {
        argv[n++] = "--tls-cert";
        argv[n++] = cert;
        argv[n++] = "--tls-key";
        argv[n++] = variable("SANDBOXD_KEY", "");
    }
    for (; *options; options++) {
        assert_true(n < 30);
        argv[n++] = *options;
    }
    argv[n] = NULL;
    assert_int_equal(pipe(out), 0);
    s.pid = fork();
    assert_true(s.pid >= 0);
    if (s.pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(out[1]);
    while (got < sizeof line - 1 && read(out[0], line + got, 1) == 1 && line[got] != '\n')
        got++;
    line[got] = 0;
    close(out[0]);
    assert_int_equal(strncmp(line, "sandboxd listening on ", 22), 0);
    assert_true((size_t)snprintf(s.endpoint, sizeof s.endpoint, "%s/v2/sandboxes", line + 22) < sizeof s.endpoint);
    return s;
}

void e2e_stop(e2e_server *s)
{
    int status;

    kill(s->pid, SIGTERM);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

sbx_client *e2e_connect(const e2e_server *s, const sbx_client_desc *desc)
{
    sbx_client_desc d = desc ? *desc : (sbx_client_desc){ 0 };

    d.endpoint = s->endpoint;
    d.api_key = "k";
    return e2e_open(&d);
}

/* ---- bytes ---- */

void e2e_lines(e2e_bytes *b, unsigned from, unsigned to)
{
    char line[16];

    for (; from <= to; from++)
        e2e_add(b, line, (size_t)snprintf(line, sizeof line, "%u\n", from));
}

void e2e_noise(char *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (char)(seed >> 24);
    }
}
