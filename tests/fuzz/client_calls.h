/* The calls of fuzz_client.c with their options: a part of that file. */
#ifndef FUZZ_CLIENT_CALLS_H
#define FUZZ_CLIENT_CALLS_H

static sbx_call call_of(run *r, slot *s, unsigned v)
{
    static const sbx_header headers[] = { { { "X-One", 5 }, { "1", 1 } }, { { "user-agent", 10 }, { "mine", 4 } }, { { "Host", 4 }, { "no", 2 } } };
    sbx_call call;

    memset(&call, 0, sizeof call);
    call.user = s;
    if (v & 1 || r->how[HOW_FLAGS] & FLAG_TOTAL)
        call.total_ms = 20000;
    if (v & 32) {
        call.headers = headers;
        call.headers_n = v & 64 && v & 128 ? 3 : 2;
        call.max_retries = 1;
    }
    if (v & 64)
        call.timeout_ms = 700;
    if (call.total_ms)
        s->total_at = r->w.now + call.total_ms;
    return call;
}

static sbx_buf buffer(slot *s, unsigned i, size_t n)
{
    sbx_buf b;

    s->buf[i] = (char *)filled(n);
    s->buf_n = n;
    b.p = s->buf[i];
    b.n = n;
    return b;
}

static sbx_op start_box(run *r, slot *s, unsigned v)
{
    static const sbx_pair pairs[] = { { { "A", 1 }, { "x\"y", 3 } }, { { "B", 1 }, { "", 0 } } };
    sbx_mount mount;
    sbx_mount_auth auth;
    sbx_box_proxy proxy;
    sbx_create_opts c;
    sbx_update_opts u;
    sbx_box_opts b;
    sbx_box *out;

    memset(&mount, 0, sizeof mount);
    memset(&auth, 0, sizeof auth);
    memset(&proxy, 0, sizeof proxy);
    mount.id = mount.mount_path = sbx_s("/m");
    mount.s3.bucket = sbx_s("b");
    auth.aws.role_arn = sbx_s("arn");
    memset(&c, 0, sizeof c);
    memset(&u, 0, sizeof u);
    memset(&b, 0, sizeof b);
    c.call = u.call = b.call = call_of(r, s, v);
    b.wait_s = v & 2 ? 3 : 0;
    s->result_n = s->kind == 'S' ? sizeof(sbx_status_info) : sizeof(sbx_box);
    if (!strchr("DE", s->kind) && !(v & 4))
        s->result = filled(s->result_n);
    if (v & 8 && strchr("CGUWB", s->kind))
        s->info = (sbx_box_info *)filled(sizeof *s->info);
    if (v & 16) {
        b.raw = buffer(s, 0, v);
        c.raw = u.raw = b.raw;
    }
    out = (sbx_box *)s->result;
    switch (s->kind) {
    case 'C':
        c.info = s->info;
        c.delete_on_close = (v & 2) != 0;
        c.no_wait = (v & 32) != 0;
        c.name = v & 64 ? sbx_s("mine") : sbx_s(NULL);
        c.env = c.labels = pairs;
        c.env_n = c.labels_n = v & 16 ? 2 : 0;
        if (v & 128) {
            c.mounts = &mount;
            c.mounts_n = 1;
            c.mount_auth = v & 2 ? NULL : &auth;
            c.proxy = &proxy;
        }
        c.mount_config = v & 64 ? sbx_s("{\"mounts\":[]}") : sbx_s(NULL);
        return sbx_create(r->c, &c, out);
    case 'G': return sbx_get(r->c, sbx_s("box-1"), &b, out, s->info);
    case 'U':
        u.name = v & 64 ? sbx_s("new") : sbx_s(NULL);
        u.idle_ttl_s = v & 16 ? 60 : 0;
        return sbx_update(r->c, s->box, &u, out, s->info);
    case 'D': return sbx_delete(r->c, s->box, &b);
    case 'S': return sbx_get_status(r->c, s->box, &b, (sbx_status_info *)s->result);
    case 'W': return sbx_wait_ready(r->c, s->box, &b, out, s->info);
    case 'B': return sbx_start(r->c, s->box, &b, out, s->info);
    default: return sbx_stop(r->c, s->box, &b);
    }
}

static sbx_op start_find(run *r, slot *s, unsigned v)
{
    sbx_list_opts l;
    sbx_find_opts f;
    sbx_list_result *out;

    memset(&l, 0, sizeof l);
    memset(&f, 0, sizeof f);
    l.call = f.call = call_of(r, s, v);
    s->result_n = sizeof *out;
    out = s->result = v & 4 ? NULL : filled(s->result_n);
    s->streaming = !(v & 8);
    if (!s->streaming)
        l.items = f.items = buffer(s, 0, (v >> 4) * item_size(s->kind) + (v & 2 ? 5 : 8));
    l.one_page = (v & 16) != 0;
    l.page_size = v & 2 ? 3 : 0;
    switch (s->kind) {
    case 'L': return sbx_list(r->c, &l, out);
    case 'J': return sbx_snapshot_list(r->c, &l, out);
    case 'g': return sbx_glob(r->c, s->box, sbx_s("*.c"), &f, out);
    case 'l': return sbx_ls(r->c, s->box, sbx_s("/a b"), &f, out);
    default: return sbx_grep(r->c, s->box, sbx_s("te\"xt"), &f, out);
    }
}

static sbx_op start_command(run *r, slot *s, unsigned v)
{
    sbx_run_opts o;
    sbx_attach_opts a;

    memset(&o, 0, sizeof o);
    memset(&a, 0, sizeof a);
    o.call = a.call = call_of(r, s, v);
    s->streaming = s->kind != 'R';
    if (s->kind == 'A') {
        a.stdout_offset = v & 8 ? v : 0;
        s->end[0] = a.stdout_offset;
        a.no_reconnect = (v & 16) != 0;
        a.via = s->sse ? SBX_VIA_SSE : SBX_VIA_WS;
        return sbx_attach(r->c, s->box, v & 2 ? sbx_s("c-1") : sbx_s("01900000-0000-7000-8000-000000000001"), &a);
    }
    o.no_command_id = v & 128 && !r->compare;
    if (s->sse) {
        o.via = SBX_VIA_SSE;
        o.stdin_data = v & 2 ? sbx_s("in\xff") : sbx_s(NULL);
        o.no_command_id = false;
    } else {
        o.stdin_open = (v & 2) != 0;
        o.pty = (v & 10) == 10;
    }
    o.no_reconnect = (v & 16) != 0;
    o.timeout_s = v & 4 ? 5 : 0;
    if (!s->streaming) {
        s->result_n = sizeof(sbx_result);
        s->result = filled(s->result_n);
        o.via = s->sse ? SBX_VIA_SSE : v & 4 ? SBX_VIA_HTTP : SBX_VIA_WS;
        if ((v & 10) == 0)
            o.out = buffer(s, 0, 16), o.err = buffer(s, 1, 16);
        else
            o.alloc = (v & 8) == 0, o.discard = !o.alloc, o.max_output = v & 16 ? 9 : 0;
        return sbx_run(r->c, s->box, sbx_s("make -j4"), &o, (sbx_result *)s->result);
    }
    o.ssh_agent_forward = (v & 12) == 12;
    return sbx_command(r->c, s->box, sbx_s("make \xc3\xa9"), &o);
}

static sbx_op start_file(run *r, slot *s, unsigned v)
{
    sbx_read_opts o;
    sbx_write_opts w;
    sbx_box_opts b;
    sbx_str data;

    memset(&o, 0, sizeof o);
    memset(&w, 0, sizeof w);
    memset(&b, 0, sizeof b);
    o.call = w.call = b.call = call_of(r, s, v);
    if (strchr("TH", s->kind)) {
        s->result_n = sizeof(sbx_file_stat);
        s->result = filled(s->result_n);
        if (s->kind == 'H')
            return sbx_fetch_stat(r->c, sbx_s("http://dl.test/download?t=secret"), &b, (sbx_file_stat *)s->result);
        return sbx_stat(r->c, s->box, sbx_s("a/b"), &b, (sbx_file_stat *)s->result);
    }
    if (s->kind == 'P') {
        w.stream = s->pushes = v & 2 && !r->compare;
        w.size = s->pushes && v & 4 ? SBX_NONE : 300;
        s->left = 300;
        data = sbx_sn((const char *)buffer(s, 0, 300).p, s->pushes ? 0 : 300);
        return sbx_write(r->c, s->box, sbx_s("/up load"), data, &w);
    }
    s->result_n = sizeof(sbx_read_result);
    s->result = filled(s->result_n);
    o.stream = s->streaming = (v & 2) != 0;
    o.alloc = !o.stream && v & 4;
    if (!o.stream && !o.alloc)
        o.out = buffer(s, 0, v);
    o.max_bytes = v & 64 ? 20 : 0;
    o.offset = v & 8 ? (v & 16 ? -7 : 5) : 0;
    o.length = v & 16 && o.offset >= 0 ? 9 : 0;
    o.no_resume = (v & 32) != 0;
    o.if_match_etag = v & 64 ? sbx_s("\"tag-0\"") : sbx_s(NULL);
    if (s->kind == 'O')
        return sbx_fetch(r->c, sbx_s("http://dl.test/download?t=secret"), &o, (sbx_read_result *)s->result);
    return sbx_read(r->c, s->box, sbx_s("/x"), &o, (sbx_read_result *)s->result);
}

static sbx_op start_request(run *r, slot *s, unsigned v)
{
    static const char *const methods[] = { "GET", "POST", "HEAD", "X" };
    sbx_request_opts o;

    memset(&o, 0, sizeof o);
    o.call = call_of(r, s, v);
    s->service = (sbx_service *)calloc(1, sizeof *s->service);
    MUST(s->service, "memory");
    strcpy(s->service->box, "one");
    strcpy(s->service->url, "http://svc.test/svc");
    strcpy(s->service->token, "token-0");
    s->service->port = 80;
    s->service->expires_ms = v & 2 ? 1 : 0;
    s->result_n = sizeof(sbx_response);
    s->result = filled(s->result_n);
    o.head.p = s->head;
    o.head.n = sizeof s->head;
    o.push = s->pushes = v & 16 && !r->compare;
    o.size = o.push && v & 1 ? SBX_NONE : o.push ? 300 : 0;
    s->left = 300;
    o.stream = s->streaming = (v & 4) != 0;
    o.alloc = !o.stream && v & 8;
    o.discard = !o.stream && !o.alloc && o.push;
    if (o.push)
        buffer(s, 0, 300);
    else if (!o.stream && !o.alloc)
        o.out = buffer(s, 0, v);
    else if (v & 32)
        o.body = sbx_s("a body");
    o.silence_ms = v & 32 ? SBX_FOREVER : 0;
    return sbx_request(r->c, s->service, sbx_s(methods[v >> 6 & 3]), sbx_s("/ask?x"), &o, (sbx_response *)s->result);
}

static sbx_op start_url(run *r, slot *s, unsigned v)
{
    sbx_service_opts o;
    sbx_download_opts d;

    memset(&o, 0, sizeof o);
    memset(&d, 0, sizeof d);
    o.call = d.call = call_of(r, s, v);
    o.access = v & 4 ? SBX_ACCESS_WORKSPACE : SBX_ACCESS_TOKEN;
    o.raw = d.raw = buffer(s, 0, v);
    d.expires_in_s = (int32_t)v;
    s->result_n = s->kind == 'V' ? sizeof(sbx_service) : sizeof(sbx_download);
    s->result = filled(s->result_n);
    if (s->kind == 'V')
        return sbx_service_open(r->c, s->box, 80, &o, (sbx_service *)s->result);
    return sbx_download_url(r->c, s->box, sbx_s("/x"), &d, (sbx_download *)s->result);
}

/* Snapshots and registries. */
static sbx_op start_snapshot(run *r, slot *s, unsigned v)
{
    static const sbx_pair label = { { "k", 1 }, { "v", 1 } };
    sbx_snapshot_opts o;
    sbx_registry_opts g;
    sbx_box_opts b;

    memset(&o, 0, sizeof o);
    memset(&g, 0, sizeof g);
    memset(&b, 0, sizeof b);
    o.call = g.call = b.call = call_of(r, s, v);
    if (s->kind == 'Z')
        return v & 4 ? sbx_snapshot_delete(r->c, sbx_s("base:v1"), &b) : sbx_registry_delete(r->c, sbx_s("r"), &b);
    o.raw = g.raw = b.raw = buffer(s, 0, v);
    s->result_n = s->kind == 'X' ? sizeof(sbx_snapshot) : sizeof(sbx_registry);
    s->result = filled(s->result_n);
    if (s->kind == 'Y') {
        g.name = v & 4 ? sbx_s("r") : sbx_s(NULL);
        g.url = v & 8 ? sbx_s("registry.test") : sbx_s(NULL);
        g.password = v & 16 ? sbx_s("secret") : sbx_s(NULL);
        return v & 2 ? sbx_registry_update(r->c, sbx_s("r"), &g, (sbx_registry *)s->result) : sbx_registry_create(r->c, &g, (sbx_registry *)s->result);
    }
    o.labels = &label;
    o.labels_n = v & 16 ? 1 : 0;
    o.no_wait = (v & 8) != 0;
    o.wait_s = b.wait_s = v & 24 ? 0 : 5;
    o.registry_password = v & 16 && v & 2 ? sbx_s("secret") : sbx_s(NULL);
    switch (v & 6) {
    case 0: return sbx_snapshot_capture(r->c, s->box, sbx_s("base"), &o, (sbx_snapshot *)s->result);
    case 2: return sbx_snapshot_build(r->c, sbx_s("base"), sbx_s("alpine"), &o, (sbx_snapshot *)s->result);
    case 4: return sbx_snapshot_get(r->c, sbx_s("base:v1"), &b, (sbx_snapshot *)s->result);
    default: return sbx_snapshot_wait(r->c, sbx_s("s-1"), &b, (sbx_snapshot *)s->result);
    }
}

/* Templates, volumes and pools. */
static sbx_op start_old(run *r, slot *s, unsigned v)
{
    static const size_t sizes[] = { sizeof(sbx_template), sizeof(sbx_volume), sizeof(sbx_pool), sizeof(sbx_list_result) };
    sbx_template_opts t;
    sbx_volume_opts o;
    sbx_pool_opts p;
    sbx_list_opts l;
    sbx_box_opts b;
    sbx_str name;

    memset(&t, 0, sizeof t);
    memset(&o, 0, sizeof o);
    memset(&p, 0, sizeof p);
    memset(&l, 0, sizeof l);
    memset(&b, 0, sizeof b);
    t.call = o.call = p.call = l.call = b.call = call_of(r, s, v);
    name = t.name = p.name = sbx_s("o/1");
    t.image = p.template_name = v & 8 ? sbx_s(NULL) : sbx_s("i");
    o.size = v & 8 ? sbx_s("2Gi") : sbx_s(NULL);
    p.replicas = 2;
    s->result_n = sizes[v & 3];
    s->result = filled(s->result_n);
    l.items = buffer(s, 0, 2 * sizeof(sbx_volume));
    switch (v & 3) {
    case 0: return v & 4 ? sbx_template_create(r->c, &t, (sbx_template *)s->result) : sbx_template_get(r->c, name, &b, (sbx_template *)s->result);
    case 1: return sbx_volume_update(r->c, name, &o, (sbx_volume *)s->result);
    case 2: return sbx_pool_create(r->c, &p, (sbx_pool *)s->result);
    default: return sbx_volume_list(r->c, &l, (sbx_list_result *)s->result);
    }
}

/* Tunnels and their connections. */
static sbx_op start_tunnel(run *r, slot *s, unsigned v)
{
    static const sbx_op none = { 0, 0 };
    sbx_tunnel_opts o;
    sbx_dial_opts d;
    const slot *through = NULL;

    memset(&o, 0, sizeof o);
    memset(&d, 0, sizeof d);
    o.call = d.call = call_of(r, s, v);
    o.window = v & 2 ? 1024 : v & 4 ? 300000 : 0;
    o.max_streams = v & 8 ? 1 : 5;
    o.ping_interval_ms = v & 16 ? 1000 : 0;
    o.ping_ms = 1500;
    if (s->kind == '5')
        return sbx_tunnel_open(r->c, s->box, &o);
    for (unsigned i = 0; i < SLOTS; i++)
        if (r->slots[i].live && r->slots[i].kind == '5')
            through = &r->slots[i];
    s->streaming = true;
    s->left = 3000;
    memset(buffer(s, 0, 3000).p, 'q', 3000);
    return sbx_tunnel_dial(r->c, through ? through->op : none, (uint16_t)v, &d);
}

static void begin(run *r, char kind, unsigned v)
{
    static const char *const urls[] = { "http://dp.test/b/one", "http://dp.test/b/one", "http://dp.test:81", "https://dp.test/b" };
    slot *s = slot_free(r);
    sbx_error e;

    if (!s)
        return;
    memset(s, 0, sizeof *s);
    s->kind = kind;
    if (kind >= '1' && kind <= '3') {
        s->kind = kind = "RMA"[kind - '1'];
        s->sse = true;
    }
    s->box = (sbx_box *)calloc(1, sizeof *s->box);
    MUST(s->box && sbx_box_named(s->box, sbx_s("one"), sbx_s(urls[r->compare ? 0 : r->how[HOW_SEED] >> 3 & 3])), "box");
    if (strchr("RMA", kind))
        s->op = start_command(r, s, v);
    else if (kind == '8')
        s->op = start_old(r, s, v);
    else if (strchr("56", kind))
        s->op = start_tunnel(r, s, v);
    else if (kind == 'Q')
        s->op = start_request(r, s, v);
    else if (strchr("VN", kind))
        s->op = start_url(r, s, v);
    else if (strchr("FPTOH", kind))
        s->op = start_file(r, s, v);
    else if (strchr("XYZ", kind))
        s->op = start_snapshot(r, s, v);
    else
        s->op = strchr("LJglp", kind) ? start_find(r, s, v) : start_box(r, s, v);
    if (s->op.slot) {
        s->live = true;
        return;
    }
    sbx_error_of(r->c, s->op, &e);
    MUST(s->op.gen && e.code == (sbx_code)s->op.gen, "a call was refused without an error");
    MUST(!s->result || untouched(s->result, s->result_n), "a refused call wrote its result");
    log_text(r, "refused %s %s", sbx_code_name(e.code), e.text);
    slot_done(s);
}

#endif
