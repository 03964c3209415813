/* The server's HTTP/1.1 and the service's boxes and files. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- reading requests ---- */

static int sim_lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* A header's value, NULL = not there. A name that comes twice is "(twice)". */
const char *sim_header(const sim_request *r, const char *name, char *buf, size_t cap)
{
    const char *line = r->head, *found = NULL;
    size_t k = strlen(name);

    while (line && (line = strstr(line, "\r\n")) != NULL && *(line += 2)) {
        size_t i = 0;

        while (i < k && sim_lower(line[i]) == sim_lower(name[i]))
            i++;
        if (i == k && line[k] == ':') {
            const char *v = line + k + 1, *end = strstr(v, "\r\n");

            if (found)
                return "(twice)";
            while (*v == ' ')
                v++;
            snprintf(buf, cap, "%.*s", (int)(end - v), v);
            found = buf;
        }
    }
    return found;
}

static void sim_log(sim *s, const sim_request *r)
{
    sim_request *e;

    s->request_n++;
    if (s->log_n == s->log_max)
        return;
    if (s->log_n == s->log_cap) {
        s->log_cap = s->log_cap ? 2 * s->log_cap : 16;
        s->log = (sim_request *)realloc(s->log, s->log_cap * sizeof *s->log);
        if (!s->log)
            abort();
    }
    e = &s->log[s->log_n++];
    *e = *r;
    e->head = (char *)malloc(strlen(r->head) + 1);
    e->body = (char *)malloc(r->body_n + 1);
    if (!e->head || !e->body)
        abort();
    strcpy(e->head, r->head);
    if (r->body_n)
        memcpy(e->body, r->body, r->body_n);
    e->body[r->body_n] = 0;
}

/* ---- answers ---- */

static const char *sim_reason(int status)
{
    return status == 200 ? "OK" : status == 404 ? "Not Found" : "";
}

void sim_answer(sim_conn *c, int status, const char *head, const char *body, size_t n, int64_t at)
{
    sim_bytes out = { NULL, 0, 0 };

    sim_putf(&out, "HTTP/1.1 %d %s\r\n%sContent-Length: %zu\r\n\r\n", status, sim_reason(status), head ? head : "", n);
    if (strcmp(c->req.method, "HEAD") != 0)
        sim_put(&out, body, n);
    sim_conn_write(c, out.p, out.n, at);
    free(out.p);
}

static void sim_say(sim_conn *c, int status, const char *body)
{
    sim *s = c->world;

    sim_answer(c, status, "Content-Type: application/json\r\n", body, strlen(body), s->now + sim_draw(s, s->knobs.delay_ms + 1));
}

static bool sim_fits(const sim_script *e, const sim_request *r)
{
    char line[2100];

    if (!e->match)
        return true;
    snprintf(line, sizeof line, "%s %s", r->method, r->target);
    {
        const char *blank = strchr(e->match, ' ');
        size_t k = blank ? (size_t)(blank - e->match) : 0;

        if (!blank)
            return strstr(line, e->match) != NULL;
        return strlen(r->method) == k && memcmp(r->method, e->match, k) == 0 && strstr(r->target, blank + 1);
    }
}

static sim_script *sim_find_script(sim *s, const sim_request *r, bool at_head)
{
    for (unsigned i = 0; i < s->script_n; i++) {
        sim_script *e = &s->scripts[i];

        if (e->times == -2 || e->at_head != at_head || !sim_fits(e, r))
            continue;
        if (e->skip) {
            e->skip--;
            continue;
        }
        return e;
    }
    return NULL;
}

static void sim_play(sim_conn *c, sim_script *e)
{
    sim *s = c->world;
    sim_bytes out = { NULL, 0, 0 };
    const char *body = e->body ? e->body : "";
    size_t n = e->body_n ? e->body_n : strlen(body);
    int64_t at = s->now + e->delay_ms + sim_draw(s, s->knobs.delay_ms + 1);

    if (e->times >= 0)
        e->times = e->times <= 1 ? -2 : e->times - 1;
    if (e->no_answer)
        return;
    if (e->make) {
        e->make(s, c);
    } else {
        if (e->raw) {
            sim_put(&out, e->raw, e->raw_n ? e->raw_n : strlen(e->raw));
        } else if (e->status) {
            sim_putf(&out, "HTTP/1.1 %d %s\r\n%s", e->status, sim_reason(e->status), e->head ? e->head : "");
            if (e->close)
                sim_puts(&out, "Connection: close\r\n");
            if (e->chunked) {
                sim_puts(&out, "Transfer-Encoding: chunked\r\n\r\n");
                for (size_t i = 0; i < n;) {
                    size_t k = 1 + sim_draw(s, 700);

                    k = k > n - i ? n - i : k;
                    sim_putf(&out, "%zx\r\n", k);
                    sim_put(&out, body + i, k);
                    sim_puts(&out, "\r\n");
                    i += k;
                }
                sim_puts(&out, "0\r\n\r\n");
            } else {
                if (e->status != 304 && e->status != 204)
                    sim_putf(&out, "Content-Length: %zu\r\n", n);
                sim_puts(&out, "\r\n");
                if (strcmp(c->req.method, "HEAD") != 0)
                    sim_put(&out, body, n);
            }
        }
        sim_conn_write(c, out.p, e->cut && (size_t)e->cut < out.n ? (size_t)e->cut : out.n, at);
        free(out.p);
    }
    if (e->stop_reading)
        c->no_read = true;
    if (e->end != SIM_OPEN || e->close)
        sim_conn_end(c, e->end ? e->end : SIM_EOF, at);
}

/* ---- the service ---- */

static const char sim_base[] = "/v2/sandboxes/boxes", sim_snapshot_base[] = "/v2/sandboxes/snapshots";

static void sim_box_text(sim_bytes *b, const sim_box *x)
{
    sim_putf(b, "{\"id\":\"id-%s\",\"name\":\"%s\",\"dataplane_url\":\"http://dp.test/b/%s\",\"status\":\"%s\",\"created_at\":\"2025-01-02T03:04:05.678901234Z\",\"unknown\":[{}]}",
             x->name, x->name, x->name, x->status);
}

static void sim_json_text(const char *body, const char *key, char *out, size_t cap)
{
    char pattern[64];
    const char *p;
    size_t n = 0;

    snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
    p = body ? strstr(body, pattern) : NULL;
    if (p)
        for (p += strlen(pattern); *p && *p != '"' && n + 1 < cap; p++)
            out[n++] = *p;
    out[n] = 0;
}

static void sim_not_found(sim_conn *c)
{
    sim_say(c, 404, "{\"detail\":{\"error\":\"ResourceNotFound\",\"message\":\"no such thing\"}}");
}

/* Snapshots are numbered; one is building while `ready_after` counts down. */
static void sim_snapshot(sim_conn *c, unsigned number, bool made)
{
    sim *s = c->world;
    sim_bytes b = { NULL, 0, 0 };
    bool ready = !made && !s->ready_after;

    s->ready_after -= !made && s->ready_after;
    sim_putf(&b, "{\"id\":\"s-%u\",\"name\":\"base\",\"status\":\"%s\"}", number, ready ? "ready" : "building");
    sim_say(c, made ? 201 : 200, b.p);
    free(b.p);
}

static void sim_snapshots(sim_conn *c, const char *rest)
{
    sim *s = c->world;
    unsigned number = strncmp(rest, "/s-", 3) == 0 ? (unsigned)strtoul(rest + 3, NULL, 10) : 0;

    if (!*rest && strcmp(c->req.method, "POST") == 0)
        sim_snapshot(c, ++s->snapshot_n, true);
    else if (!number || number > s->snapshot_n)
        sim_not_found(c);
    else
        sim_snapshot(c, number, false);
}

static void sim_boxes(sim_conn *c, const char *rest)
{
    sim *s = c->world;
    sim_request *r = &c->req;
    sim_bytes b = { NULL, 0, 0 };
    char name[128];
    sim_box *x = NULL;
    size_t n;

    if (!*rest || *rest == '?') {
        if (strcmp(r->method, "POST") == 0) {
            x = &s->boxes[s->box_n++ % 64];
            memset(x, 0, sizeof *x);
            sim_json_text(r->body, "name", x->name, sizeof x->name);
            if (!x->name[0])
                snprintf(x->name, sizeof x->name, "box-%u", s->box_n);
            strcpy(x->status, strstr(r->body, "\"wait_for_ready\":true") ? "ready" : "provisioning");
            sim_box_text(&b, x);
        } else {
            sim_puts(&b, "{\"sandboxes\":[");
            for (unsigned i = 0, any = 0; i < s->box_n && i < 64; i++)
                if (!s->boxes[i].gone) {
                    sim_puts(&b, any++ ? "," : "");
                    sim_box_text(&b, &s->boxes[i]);
                }
            sim_puts(&b, "]}");
        }
        sim_say(c, 200, b.p);
        free(b.p);
        return;
    }
    rest++;
    n = strcspn(rest, "/?");
    snprintf(name, sizeof name, "%.*s", (int)n, rest);
    for (unsigned i = 0; i < s->box_n && i < 64; i++)
        if (strcmp(s->boxes[i].name, name) == 0 && !s->boxes[i].gone)
            x = &s->boxes[i];
    rest += n;
    if (!x) {
        sim_not_found(c);
    } else if (strcmp(rest, "/status") == 0) {
        if (strcmp(x->status, "provisioning") == 0) {
            if (s->ready_after)
                s->ready_after--;
            else
                strcpy(x->status, "ready");
        }
        sim_putf(&b, "{\"status\":\"%s\",\"status_message\":\"as told\"}", x->status);
        sim_say(c, 200, b.p);
    } else if (strcmp(rest, "/snapshot") == 0) {
        sim_snapshot(c, ++s->snapshot_n, true);
    } else if (strcmp(rest, "/start") == 0 || strcmp(rest, "/stop") == 0) {
        strcpy(x->status, rest[3] == 'a' ? "provisioning" : "stopped");
        sim_say(c, 202, "{}");
    } else if (strcmp(rest, "/service-url") == 0) {
        sim_putf(&b, "{\"browser_url\":\"http://svc.test/login?t=token-%s\",\"service_url\":\"http://svc.test/b/%s/service\",\"token\":\"token-%s\",\"expires_at\":\"2100-01-01T00:00:00Z\"}",
                 x->name, x->name, x->name);
        sim_say(c, 200, b.p);
    } else if (strcmp(rest, "/download-url") == 0) {
        sim_json_text(r->body, "path", name, sizeof name);
        sim_putf(&b, "{\"download_url\":\"http://dl.test/b/%s/download?token=d&path=%s\",\"token\":\"d\",\"expires_at\":null}", x->name, name);
        sim_say(c, 200, b.p);
    } else if (strcmp(r->method, "DELETE") == 0) {
        x->gone = true;
        sim_answer(c, 204, NULL, "", 0, s->now);
    } else {
        sim_box_text(&b, x);
        sim_say(c, 200, b.p);
    }
    free(b.p);
}

static sim_file *sim_file_of(sim *s, const char *target, bool make)
{
    const char *p = strstr(target, "path=");
    char path[256];

    snprintf(path, sizeof path, "%s", p ? p + 5 : "");
    for (unsigned i = 0; i < s->file_n; i++)
        if (strcmp(s->files[i].path, path) == 0)
            return &s->files[i];
    if (!make)
        return NULL;
    strcpy(s->files[s->file_n].path, path);
    return &s->files[s->file_n++];
}

static void sim_upload(sim_conn *c)
{
    sim_request *r = &c->req;
    char type[200], *mark, *from;
    sim_file *f = sim_file_of(c->world, r->target, true);
    size_t k, n;

    if (!sim_header(r, "Content-Type", type, sizeof type) || !(mark = strstr(type, "boundary="))) {
        sim_say(c, 400, "{\"error\":\"BadRequest\",\"message\":\"no boundary\"}");
        return;
    }
    mark += 9;
    k = strlen(mark);
    from = r->body_n ? strstr(r->body, "\r\n\r\n") : NULL;
    if (!from || r->body_n < 2 * k + 8 || memcmp(r->body, "--", 2) != 0 || memcmp(r->body + 2, mark, k) != 0 ||
        !strstr(r->body, "name=\"file\"; filename=\"file\"")) {
        sim_complain(c->world, "the upload is no multipart body");
        sim_say(c, 400, "{}");
        return;
    }
    from += 4;
    n = r->body_n - (size_t)(from - r->body);
    if (n < k + 8 || memcmp(r->body + r->body_n - k - 8, "\r\n--", 4) != 0 || memcmp(r->body + r->body_n - 4 - k, mark, k) != 0 || memcmp(r->body + r->body_n - 4, "--\r\n", 4) != 0) {
        sim_complain(c->world, "the upload's end is wrong");
        sim_say(c, 400, "{}");
        return;
    }
    f->data.n = 0;
    sim_put(&f->data, from, n - k - 8);
    f->version++;
    sim_say(c, 200, "{}");
}

static void sim_download(sim_conn *c)
{
    sim *s = c->world;
    sim_request *r = &c->req;
    sim_file *f = sim_file_of(s, r->target, false);
    char range[100], text[100], tag[32], head[400];
    unsigned long long from = 0, to;
    size_t n;

    if (!f) {
        sim_say(c, 404, "{\"error\":\"FileNotFound\",\"message\":\"no such file\"}");
        return;
    }
    snprintf(tag, sizeof tag, "\"v%u\"", f->version);
    n = f->data.n;
    snprintf(head, sizeof head, "ETag: %s\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n", tag);
    if (sim_header(r, "If-None-Match", text, sizeof text) && strcmp(text, tag) == 0) {
        char answer[600];

        snprintf(answer, sizeof answer, "HTTP/1.1 304 Not Modified\r\n%s\r\n", head);
        sim_conn_write(c, answer, strlen(answer), s->now);
        return;
    }
    if (sim_header(r, "If-Range", text, sizeof text) && strcmp(text, tag) != 0)
        range[0] = 0;
    else if (!sim_header(r, "Range", range, sizeof range))
        range[0] = 0;
    to = n ? n - 1 : 0;
    if (range[0]) {
        char *end;

        if (range[6] == '-') {
            unsigned long long last = strtoull(range + 7, NULL, 10);

            from = last < n ? n - last : 0;
        } else {
            from = strtoull(range + 6, &end, 10);
            if (end[1])
                to = strtoull(end + 1, NULL, 10);
            if (to >= n)
                to = n - 1;
        }
        if (from >= n) {
            snprintf(head + strlen(head), sizeof head - strlen(head), "Content-Range: bytes */%zu\r\n", n);
            sim_answer(c, 416, head, "{\"error\":\"ReadError\",\"message\":\"range\"}", 38, s->now);
            return;
        }
        snprintf(head + strlen(head), sizeof head - strlen(head), "Content-Range: bytes %llu-%llu/%zu\r\n", from, to, n);
        sim_answer(c, 206, head, f->data.p + from, (size_t)(to - from + 1), s->now + sim_draw(s, s->knobs.delay_ms + 1));
        return;
    }
    sim_answer(c, 200, head, n ? f->data.p : "", n, s->now + sim_draw(s, s->knobs.delay_ms + 1));
}

/* A service in a sandbox: says what it was asked. */
static void sim_echo(sim_conn *c)
{
    sim_request *r = &c->req;
    sim_bytes b = { NULL, 0, 0 };
    char token[200];

    if (!sim_header(r, "X-Langsmith-Sandbox-Service-Token", token, sizeof token) || strncmp(token, "token-", 6) != 0) {
        sim_say(c, 401, "{}");
        return;
    }
    sim_putf(&b, "%s %s\n", r->method, r->target);
    sim_put(&b, r->body, r->body_n);
    sim_answer(c, 200, "X-Service: yes\r\n", b.p, b.n, c->world->now + sim_draw(c->world, c->world->knobs.delay_ms + 1));
    free(b.p);
}

/* Templates, volumes and pools: there is always one, which nothing changes. */
static bool sim_old(sim_conn *c)
{
    static const char *const paths[] = { "/v2/sandboxes/templates", "/v2/sandboxes/volumes", "/v2/sandboxes/pools" };
    static const char one[] = "{\"id\":\"o-1\",\"name\":\"one\",\"image\":\"i\",\"resources\":{\"cpu\":\"1\"},\"size\":\"1Gi\",\"template_name\":\"t\",\"replicas\":2}";
    const char *target = c->req.target;
    char text[600];

    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(paths[i]);

        if (strncmp(target, paths[i], n) != 0)
            continue;
        snprintf(text, sizeof text, "{\"%s\":[%s]}", paths[i] + sizeof "/v2/sandboxes", one);
        if (strcmp(c->req.method, "DELETE") == 0)
            sim_answer(c, 204, NULL, "", 0, c->world->now);
        else
            sim_say(c, 200, strcmp(c->req.method, "GET") == 0 && !target[n] ? text : one);
        return true;
    }
    return false;
}

void sim_service(sim_conn *c)
{
    sim_request *r = &c->req;
    const char *at;

    if (sim_old(c))
        return;
    if (strncmp(r->target, sim_base, sizeof sim_base - 1) == 0)
        sim_boxes(c, r->target + sizeof sim_base - 1);
    else if (strncmp(r->target, sim_snapshot_base, sizeof sim_snapshot_base - 1) == 0)
        sim_snapshots(c, r->target + sizeof sim_snapshot_base - 1);
    else if (strncmp(r->target, "/b/", 3) != 0 || !(at = strchr(r->target + 3, '/')))
        sim_not_found(c);
    else if (strncmp(at, "/upload", 7) == 0)
        sim_upload(c);
    else if (strncmp(at, "/download", 9) == 0)
        sim_download(c);
    else if (strncmp(at, "/service/", 9) == 0)
        sim_echo(c);
    else if (strcmp(at, "/execute/ws") == 0)
        sim_upgrade(c);
    else if (strcmp(at, "/execute/stream/start") == 0 || strcmp(at, "/execute/stream/resume") == 0)
        sim_sse(c, at[16] == 'r');
    else if (strcmp(at, "/tunnel") == 0) {
        sim_upgrade(c);
        if (c->ws)
            sim_tunnel_begin(c);
    } else if (strcmp(at, "/execute") == 0)
        sim_say(c, 200, "{\"stdout\":\"out\\u00e9\\n\",\"stderr\":\"err\",\"exit_code\":4}");
    else if (strcmp(at, "/glob") == 0)
        sim_say(c, 200, "{\"matches\":[{\"path\":\"/a\",\"is_dir\":true},{\"path\":\"/b\",\"is_dir\":false,\"size_bytes\":7,\"modified_at\":\"1970-01-01T00:00:01Z\"}],\"truncated\":true}");
    else if (strcmp(at, "/grep") == 0)
        sim_say(c, 200, "{\"matches\":[{\"path\":\"/b\",\"line\":3,\"text\":\"needle\"}],\"truncated\":false}");
    else
        sim_not_found(c);
}

/* ---- requests from bytes ---- */

static void sim_request_done(sim_conn *c)
{
    sim *s = c->world;
    sim_script *e;

    c->in_body = false;
    c->requests++;
    if (c->dropping) {
        c->dropping = false;
        return;
    }
    sim_log(s, &c->req);
    e = sim_find_script(s, &c->req, false);
    if (e)
        sim_play(c, e);
    else
        sim_service(c);
}

static bool sim_read_head(sim_conn *c)
{
    sim *s = c->world;
    char *end = c->in.n ? strstr(c->in.p, "\r\n\r\n") : NULL;
    sim_request *r = &c->req;
    sim_script *e;
    char text[2200];
    size_t n;

    if (!end)
        return false;
    n = (size_t)(end - c->in.p) + 4;
    free(r->head);
    free(r->body);
    memset(r, 0, sizeof *r);
    r->at = s->now;
    r->head = (char *)malloc(n + 1);
    if (!r->head)
        abort();
    memcpy(r->head, c->in.p, n);
    r->head[n] = 0;
    if (sscanf(r->head, "%15s %2047s HTTP/1.1\r\n", r->method, r->target) != 2)
        sim_complain(s, "no request line: %.100s", r->head);
    if (!sim_header(r, "Host", text, sizeof text) || strcmp(text, "(twice)") == 0)
        sim_complain(s, "not one Host");
    memmove(c->in.p, c->in.p + n, c->in.n - n + 1);
    c->in.n -= n;
    c->chunked_body = sim_header(r, "Transfer-Encoding", text, sizeof text) != NULL;
    c->body_left = sim_header(r, "Content-Length", text, sizeof text) ? strtoull(text, NULL, 10) : 0;
    c->in_body = true;
    e = sim_find_script(s, r, true);
    if (e) {
        c->dropping = true;
        sim_log(s, r);
        sim_play(c, e);
    }
    return true;
}

static void sim_add_body(sim_request *r, const char *p, size_t n)
{
    r->body = (char *)realloc(r->body, r->body_n + n + 1);
    if (!r->body)
        abort();
    memcpy(r->body + r->body_n, p, n);
    r->body_n += n;
    r->body[r->body_n] = 0;
}

static void sim_take(sim_conn *c, size_t n)
{
    memmove(c->in.p, c->in.p + n, c->in.n - n + 1);
    c->in.n -= n;
}

/* True: the body is complete. */
static bool sim_read_body(sim_conn *c)
{
    while (c->chunked_body) {
        char *line = c->in.n ? strstr(c->in.p, "\r\n") : NULL;
        size_t size, head;

        if (!line)
            return false;
        size = strtoull(c->in.p, NULL, 16);
        head = (size_t)(line - c->in.p) + 2;
        if (c->in.n < head + size + 2)
            return false;
        if (memcmp(c->in.p + head + size, "\r\n", 2) != 0)
            sim_complain(c->world, "a chunk does not end");
        sim_add_body(&c->req, c->in.p + head, size);
        sim_take(c, head + size + 2);
        if (!size)
            return true;
    }
    if (c->body_left && c->in.n) {
        size_t n = c->in.n < c->body_left ? c->in.n : c->body_left;

        sim_add_body(&c->req, c->in.p, n);
        sim_take(c, n);
        c->body_left -= n;
    }
    return !c->body_left;
}

void sim_http_input(sim_conn *c)
{
    while (!c->ws) {
        if (!c->in_body && !sim_read_head(c))
            return;
        if (!sim_read_body(c))
            return;
        sim_request_done(c);
    }
    if (c->in.n)
        sim_ws_input(c);
}
