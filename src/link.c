#include "link.h"

/* ---- URL ---- */

static bool sbxi_url_port(sbx_str s, uint16_t *port)
{
    uint32_t v = 0;

    if (!s.n || s.n > 5)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(s.p[i] - '0');
    }
    *port = (uint16_t)v;
    return v > 0 && v <= UINT16_MAX;
}

static bool sbxi_url_chars_ok(sbx_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f || s.p[i] == '?' || s.p[i] == '#' ||
            s.p[i] == '@' || s.p[i] == '\\')
            return false;
    return true;
}

SBXI_FN bool sbxi_url_parse(sbx_str text, sbxi_url *out)
{
    size_t scheme, i;
    sbx_str rest;

    memset(out, 0, sizeof *out);
    if (text.n > 8 && sbxi_eq_nocase(sbx_sn(text.p, 8), sbx_sn("https://", 8)))
        scheme = 8;
    else if (text.n > 7 && sbxi_eq_nocase(sbx_sn(text.p, 7), sbx_sn("http://", 7)))
        scheme = 7;
    else
        return false;
    out->tls = scheme == 8;
    out->port = out->tls ? 443 : 80;
    rest = sbx_sn(text.p + scheme, text.n - scheme);
    if (!sbxi_url_chars_ok(rest))
        return false;
    out->host.p = rest.p;
    if (rest.p[0] == '[') {
        for (i = 1; i < rest.n && rest.p[i] != ']'; i++)
            if (rest.p[i] == '/')
                return false;
        if (i == rest.n)
            return false;
        out->host = sbx_sn(rest.p + 1, i - 1);
        i++;
    } else {
        for (i = 0; i < rest.n && rest.p[i] != ':' && rest.p[i] != '/'; i++)
            if (rest.p[i] == '[' || rest.p[i] == ']')
                return false;
        out->host.n = i;
    }
    if (!out->host.n || out->host.n > 253)
        return false;
    if (i < rest.n && rest.p[i] == ':') {
        size_t from = ++i;

        while (i < rest.n && rest.p[i] != '/')
            i++;
        if (!sbxi_url_port(sbx_sn(rest.p + from, i - from), &out->port))
            return false;
    }
    if (i < rest.n && rest.p[i] != '/')
        return false;
    out->path = sbx_sn(rest.p + i, rest.n - i);
    while (out->path.n && out->path.p[out->path.n - 1] == '/')
        out->path.n--;
    return true;
}

SBXI_FN bool sbxi_url_is_loopback(const sbxi_url *url)
{
    sbx_str h = url->host;

    if (sbxi_eq_nocase(h, sbx_s("localhost")) || sbxi_eq(h, sbx_s("::1")))
        return true;
    /* 127.0.0.0/8 in its plain form: 127.example.org is somebody's name. */
    for (size_t i = 0; i < h.n; i++)
        if ((h.p[i] < '0' || h.p[i] > '9') && h.p[i] != '.')
            return false;
    return h.n > 4 && memcmp(h.p, "127.", 4) == 0;
}

/* ---- what links share ---- */

SBXI_FN size_t sbxi_conn_size(const sbx_transport *t)
{
    size_t n = 0;

    for (; t; t = t->lower)
        n = sbxi_add(n, sbxi_align(t->conn_size));
    return n;
}

SBXI_FN size_t sbxi_ctx_size(const sbx_transport *t, uint32_t max_links)
{
    size_t n = 0;

    for (; t; t = t->lower)
        n = sbxi_add(n, sbxi_align(sbxi_add(t->ctx_size, sbxi_mul(t->ctx_per_conn, max_links))));
    return n;
}

static SBXI_ONCE sbxi_nodes sbxi_link_nodes(sbxi_net *net)
{
    sbxi_nodes n;

    n.first = (char *)&net->links[0].node;
    n.stride = sizeof *net->links;
    return n;
}

SBXI_FN void sbxi_net_init(sbxi_net *net, const sbx_client_desc *d, char *rx, char *tx)
{
    net->t = d->transport;
    net->conn_size = sbxi_conn_size(d->transport);
    sbxi_pool_init(&net->rx, rx, sbxi_align(d->rx_bytes), d->buffers);
    sbxi_pool_init(&net->tx, tx, sbxi_align(d->tx_bytes), d->buffers);
    sbxi_list_init(&net->free_links);
    sbxi_list_init(&net->idle_links);
    net->link_count = d->max_links;
    net->max_connects = d->max_connects;
    net->awaited = SBXI_NIL;
    net->idle_ms = d->idle_ms;
    net->close_ms = d->ws_close_ms;
    net->caps.head_bytes = d->head_bytes;
    net->trace = d->trace;
    net->trace_user = d->trace_user;
    for (uint32_t i = 0; i < d->max_links; i++)
        sbxi_list_append(sbxi_link_nodes(net), &net->free_links, i);
}

/* The last buffer is kept for the operation that the caller waits for: others
   that hold theirs half consumed cannot make it wait for ever. */
static char *sbxi_net_take(sbxi_net *net, sbxi_pool *pool, uint32_t owner)
{
    if (pool->used + 1 >= pool->count && (owner != net->awaited || owner == SBXI_NIL))
        return NULL;
    return sbxi_pool_take(pool);
}

SBXI_FN SBXI_ONCE uint32_t sbxi_link_id(const sbxi_net *net, const sbxi_link *l)
{
    return (uint32_t)(l - net->links);
}

SBXI_FN void *sbxi_link_conn(sbxi_net *net, const sbxi_link *l)
{
    return net->conns + net->conn_size * sbxi_link_id(net, l);
}

SBXI_FN void sbxi_net_trace(sbxi_net *net, sbx_trace_kind kind, const sbxi_link *l, uint32_t op, int64_t number, sbx_str text)
{
    bool inside = net->inside;
    sbx_trace t;

    if (SBX_NO_TRACE || !net->trace)
        return;
    t.kind = kind;
    t.op = op;
    t.link = l ? sbxi_link_id(net, l) + 1 : 0;
    t.number = number;
    t.text = text;
    net->inside = true;
    net->trace(net->trace_user, &t);
    net->inside = inside;
}

/* Masks take 4 bytes a frame: the transport is asked for 64 at a time. Used
   bytes are wiped. */
SBXI_FN bool sbxi_net_random(sbxi_net *net, void *p, size_t n)
{
    unsigned char *out = (unsigned char *)p;

    net->entropy_failed = false;
    while (n) {
        size_t take;

        if (!net->random_left) {
            bool inside = net->inside, ok;

            net->inside = true;
            ok = net->t->entropy(net->ctx, net->random, sizeof net->random);
            net->inside = inside;
            if (!ok) {
                net->entropy_failed = true;
                return false;
            }
            net->random_left = sizeof net->random;
        }
        take = SBXI_MIN(n, net->random_left);
        net->random_left = (uint8_t)(net->random_left - take);
        memcpy(out, net->random + net->random_left, take);
        memset(net->random + net->random_left, 0, take);
        out += take;
        n -= take;
    }
    return true;
}

SBXI_FN SBXI_ONCE uint32_t sbxi_net_jitter(sbxi_net *net, uint32_t n)
{
    net->seed[1] = net->seed[1] * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return n ? (uint32_t)(net->seed[1] >> 33) % n : 0;
}

/* Which connections may serve one another: scheme, host and port, hashed with
   a secret so that no server can choose a name that collides. */
SBXI_FN uint64_t sbxi_net_origin(const sbxi_net *net, const sbxi_url *url)
{
    uint64_t h = net->seed[0] ^ ((uint64_t)url->port << 1 | url->tls);

    for (size_t i = 0; i < url->host.n; i++) {
        h = (h ^ (unsigned char)sbxi_lower(url->host.p[i])) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
    }
    return h * UINT64_C(0xD6E8FEB86659FD93) ^ h >> 32;
}

/* ---- life of a link ---- */

/* Gives the send buffer back without the key that it may hold. */
static void sbxi_link_drop_tx(sbxi_net *net, sbxi_link *l)
{
    if (!l->tx)
        return;
    if (!l->plain)
        memset(l->tx, 0, l->tx_end);
    sbxi_pool_give(&net->tx, l->tx);
    l->plain = false;
    l->tx = NULL;
    l->tx_at = l->tx_end = 0;
}

static void sbxi_link_buffers(sbxi_net *net, sbxi_link *l)
{
    l->rx_at = l->rx_end;
    sbxi_link_consumed(net, l);
    sbxi_link_drop_tx(net, l);
    if (!l->is_ws)
        l->out.body.n = 0;
}

SBXI_FN void sbxi_link_close(sbxi_net *net, sbxi_link *l, sbx_code code)
{
    uint32_t id = sbxi_link_id(net, l);
    bool inside = net->inside;

    if (l->state == SBXI_LINK_IDLE || l->state == SBXI_LINK_CLOSING)
        sbxi_list_remove(sbxi_link_nodes(net), &net->idle_links, id);
    if (l->state == SBXI_LINK_CONNECTING)
        net->connecting--;
    net->inside = true;
    if (l->open)
        net->t->close(net->ctx, sbxi_link_conn(net, l));
    net->inside = inside;
    sbxi_link_buffers(net, l);
    sbxi_net_trace(net, SBX_TRACE_CLOSE, l, 0, code, sbx_sn("", 0));
    memset(l, 0, sizeof *l);
    sbxi_list_append(sbxi_link_nodes(net), &net->free_links, id);
    net->links_used--;
}

static sbxi_got sbxi_link_fill(sbxi_net *net, sbxi_link *l);

static int64_t sbxi_link_idle_until(const sbxi_net *net, const sbxi_link *l)
{
    return sbxi_after(l->last_rx, l->state == SBXI_LINK_CLOSING ? net->close_ms : net->idle_ms);
}

SBXI_FN sbxi_link *sbxi_link_reuse(sbxi_net *net, uint64_t origin, uint32_t owner)
{
    uint32_t i = net->idle_links.tail, prev;

    for (; i != SBXI_NIL; i = prev) {
        sbxi_link *l = &net->links[i];
        sbxi_got got;

        prev = l->node.prev;
        if (l->state != SBXI_LINK_IDLE || l->out.body.origin != origin)
            continue;
        /* A server that closed it, or spoke out of turn, shows here. */
        l->ready |= SBX_READABLE;
        got = sbxi_link_idle_until(net, l) <= net->now ? SBXI_GOT_EOF : sbxi_link_fill(net, l);
        if (got != SBXI_GOT_BLOCKED && got != SBXI_GOT_STARVED) {
            sbxi_link_close(net, l, SBX_ERR_CONNECTION);
            continue;
        }
        sbxi_list_remove(sbxi_link_nodes(net), &net->idle_links, i);
        l->state = SBXI_LINK_BUSY;
        l->owner = owner;
        l->reused = true;
        l->sent_any = l->got_any = false;
        net->usage.reused++;
        return l;
    }
    return NULL;
}

SBXI_FN sbxi_link *sbxi_link_new(sbxi_net *net, uint64_t origin, uint32_t owner)
{
    uint32_t id = net->free_links.head;
    sbxi_link *l;

    if (net->connecting >= net->max_connects)
        return NULL;
    if (id == SBXI_NIL) {
        if (net->idle_links.head == SBXI_NIL)
            return NULL;
        sbxi_link_close(net, &net->links[net->idle_links.head], SBX_OK);
        id = net->free_links.head;
    }
    sbxi_list_remove(sbxi_link_nodes(net), &net->free_links, id);
    l = &net->links[id];
    memset(l, 0, sizeof *l);
    memset(sbxi_link_conn(net, l), 0, net->conn_size);
    l->node.prev = l->node.next = SBXI_NIL;
    l->state = SBXI_LINK_CONNECTING;
    l->owner = owner;
    l->out.body.origin = origin;
    l->ready = SBX_READABLE | SBX_WRITABLE;
    net->connecting++;
    net->links_used++;
    net->usage.links_high = SBXI_MAX(net->usage.links_high, net->links_used);
    return l;
}

static void sbxi_link_watch(sbxi_net *net, sbxi_link *l, unsigned bits)
{
    if (l->open && net->t->watch)
        net->t->watch(net->ctx, sbxi_link_conn(net, l), bits & (SBX_READABLE | SBX_WRITABLE));
}

/* What is known to be ready is not waited for until it was tried: poll() would
   report it each time. */
SBXI_FN void sbxi_link_mark(sbxi_net *net, sbxi_link *l, unsigned bits)
{
    if (bits & ~(unsigned)l->ready & SBX_READABLE) {
        l->ready |= (uint8_t)(l->heard ? 0 : SBXI_GUESSED);
        l->heard = false;
    }
    l->ready |= (uint8_t)(bits & (SBX_READABLE | SBX_WRITABLE));
    sbxi_link_watch(net, l, ~(unsigned)l->ready);
}

/* Turns what the transport says into what the caller does about it. */
static sbxi_got sbxi_link_io(sbxi_net *net, sbxi_link *l, sbx_io io)
{
    switch (io) {
    case SBX_IO_OK:
        return SBXI_GOT_EVENT;
    case SBX_IO_WANT_READ:
        l->ready &= (uint8_t)~(SBX_READABLE | SBXI_GUESSED);
        sbxi_link_watch(net, l, ~(unsigned)l->ready); /* a send may wait too */
        return SBXI_GOT_BLOCKED;
    case SBX_IO_WANT_WRITE:
        l->ready &= (uint8_t)~SBX_WRITABLE;
        sbxi_link_watch(net, l, SBX_READABLE | SBX_WRITABLE);
        return SBXI_GOT_BLOCKED;
    case SBX_IO_EOF:
        return SBXI_GOT_EOF;
    default:
        if (net->fault.code == SBX_OK)
            net->fault.code = SBX_ERR_CONNECTION;
        return SBXI_GOT_FAIL;
    }
}

SBXI_FN sbxi_got sbxi_link_connect(sbxi_net *net, sbxi_link *l, const sbxi_url *url)
{
    sbx_target to;
    sbxi_got got;

    to.host = url->host;
    to.port = url->port;
    to.tls = url->tls;
    to.tag = sbxi_link_id(net, l);
    if (!l->open)
        sbxi_net_trace(net, SBX_TRACE_CONNECT, l, l->owner + 1, url->port, url->host);
    l->open = true;
    memset(&net->fault, 0, sizeof net->fault);
    got = sbxi_link_io(net, l, net->t->connect(net->ctx, sbxi_link_conn(net, l), &to, &net->fault));
    if (got == SBXI_GOT_EVENT) {
        l->state = SBXI_LINK_BUSY;
        l->ready = SBX_READABLE | SBX_WRITABLE;
        l->last_rx = net->now;
        net->connecting--;
        net->usage.connects++;
    } else if (got == SBXI_GOT_EOF) {
        net->fault.code = SBX_ERR_CONNECT;
        got = SBXI_GOT_FAIL;
    }
    return got;
}

static void sbxi_link_to_idle(sbxi_net *net, sbxi_link *l, sbxi_link_state state)
{
    l->state = (uint8_t)state;
    l->owner = SBXI_NIL;
    l->last_rx = net->now;
    sbxi_list_append(sbxi_link_nodes(net), &net->idle_links, sbxi_link_id(net, l));
    sbxi_link_watch(net, l, SBX_READABLE);
}

SBXI_FN void sbxi_link_release(sbxi_net *net, sbxi_link *l, bool keep)
{
    if (l->state != SBXI_LINK_BUSY) {
        sbxi_link_close(net, l, SBX_OK);
        return;
    }
    if (l->is_ws && !l->out.frame.close_code) {
        sbxi_ws_close(net, l, 1000);
        if (l->close_sent && net->close_ms >= 0 && sbxi_link_flush(net, l) == SBXI_GOT_EVENT) {
            sbxi_link_buffers(net, l);
            sbxi_link_to_idle(net, l, SBXI_LINK_CLOSING);
            sbxi_link_idle_ready(net, l); /* what is there already is not told again */
            return;
        }
    } else if (!l->is_ws && keep && net->idle_ms >= 0 && l->rx_at == l->rx_end && !sbxi_link_unsent(l)) {
        sbxi_link_buffers(net, l);
        sbxi_link_to_idle(net, l, SBXI_LINK_IDLE);
        return;
    }
    sbxi_link_close(net, l, SBX_OK);
}

SBXI_FN void sbxi_link_idle_ready(sbxi_net *net, sbxi_link *l)
{
    sbxi_got got = sbxi_link_fill(net, l);

    /* Output that was under way when we said goodbye: the peer's own stands
       behind it. */
    for (unsigned left = 16; got == SBXI_GOT_EVENT && l->state == SBXI_LINK_CLOSING; left--) {
        l->rx_at = l->rx_end;
        if (!left) {
            sbxi_link_consumed(net, l);
            return;
        }
        got = sbxi_link_fill(net, l);
    }
    if (got != SBXI_GOT_BLOCKED && got != SBXI_GOT_STARVED)
        sbxi_link_close(net, l, SBX_OK);
}

SBXI_FN int64_t sbxi_net_sweep_at(const sbxi_net *net)
{
    uint32_t i = net->idle_links.head;
    int64_t at = SBXI_NEVER;

    /* The list is in order of time for each of the two kinds; the first of
       each is enough, and they stand near its head. */
    for (unsigned seen = 0; i != SBXI_NIL && seen < 8; i = net->links[i].node.next, seen++)
        at = SBXI_MIN(at, sbxi_link_idle_until(net, &net->links[i]));
    return at;
}

SBXI_FN void sbxi_net_sweep(sbxi_net *net)
{
    uint32_t i = net->idle_links.head, next;

    for (; i != SBXI_NIL; i = next) {
        next = net->links[i].node.next;
        if (sbxi_link_idle_until(net, &net->links[i]) <= net->now)
            sbxi_link_close(net, &net->links[i], SBX_OK);
    }
}

/* ---- bytes ---- */

SBXI_FN bool sbxi_link_unsent(const sbxi_link *l)
{
    return l->tx_at < l->tx_end || (l->is_ws ? l->out.frame.left : l->out.body.n) != 0;
}

SBXI_FN bool sbxi_link_has_room(const sbxi_net *net, const sbxi_link *l)
{
    return l->tx || net->tx.used + 1 < net->tx.count;
}

SBXI_FN char *sbxi_link_room(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got)
{
    if (!l->tx) {
        l->tx = sbxi_net_take(net, &net->tx, l->owner);
        l->tx_at = l->tx_end = 0;
        if (!l->tx) {
            *got = SBXI_GOT_STARVED;
            *room = 0;
            return NULL;
        }
    }
    *got = SBXI_GOT_EVENT;
    *room = net->tx.size - l->tx_end;
    return l->tx + l->tx_end;
}

SBXI_FN sbxi_got sbxi_link_flush(sbxi_net *net, sbxi_link *l)
{
    while (l->tx_at < l->tx_end || (!l->is_ws && l->out.body.n)) {
        bool head = l->tx_at < l->tx_end;
        const char *p = head ? l->tx + l->tx_at : l->out.body.p;
        size_t n = head ? l->tx_end - l->tx_at : l->out.body.n, sent = 0;
        bool inside = net->inside;
        sbxi_got got;

        if (!(l->ready & SBX_WRITABLE))
            return SBXI_GOT_BLOCKED;
        memset(&net->fault, 0, sizeof net->fault);
        net->inside = true;
        got = sbxi_link_io(net, l, net->t->send(net->ctx, sbxi_link_conn(net, l), p, n, &sent, &net->fault));
        net->inside = inside;
        if (got == SBXI_GOT_EOF) {
            net->fault.code = SBX_ERR_CONNECTION;
            return SBXI_GOT_FAIL;
        }
        if (got != SBXI_GOT_EVENT)
            return got;
        if (sent > n)
            sent = n;
        if (!sent) /* a transport that takes nothing and says OK would spin */
            return SBXI_GOT_BLOCKED;
        l->sent_any = true;
        net->usage.bytes_out += sent;
        if (head) {
            l->tx_at += (uint32_t)sent;
        } else {
            l->out.body.p += sent;
            l->out.body.n -= sent;
        }
    }
    sbxi_link_drop_tx(net, l);
    return SBXI_GOT_EVENT;
}

SBXI_FN void sbxi_link_consumed(sbxi_net *net, sbxi_link *l)
{
    if (l->rx && l->rx_at == l->rx_end) {
        sbxi_pool_give(&net->rx, l->rx);
        l->rx = NULL;
        l->rx_at = l->rx_end = 0;
    }
}

/* More bytes behind those that are there. */
static sbxi_got sbxi_link_fill(sbxi_net *net, sbxi_link *l)
{
    size_t n = 0;
    sbxi_got got;

    if (!(l->ready & SBX_READABLE)) {
        sbxi_link_consumed(net, l);
        return SBXI_GOT_BLOCKED;
    }
    if (!l->rx) {
        l->rx = sbxi_net_take(net, &net->rx, l->owner);
        l->rx_at = l->rx_end = 0;
        if (!l->rx)
            return SBXI_GOT_STARVED;
    }
    if (l->rx_at) {
        memmove(l->rx, l->rx + l->rx_at, l->rx_end - l->rx_at);
        l->rx_end -= l->rx_at;
        l->rx_at = 0;
    }
    memset(&net->fault, 0, sizeof net->fault);
    got = sbxi_link_io(net, l, net->t->recv(net->ctx, sbxi_link_conn(net, l), l->rx + l->rx_end, net->rx.size - l->rx_end, &n, &net->fault));
    if (got == SBXI_GOT_EVENT) {
        if (!n) {
            sbxi_link_consumed(net, l);
            return SBXI_GOT_BLOCKED;
        }
        l->rx_end += (uint32_t)n;
        l->half = false;
        l->heard = true;
        l->ready &= (uint8_t)~SBXI_GUESSED;
        if (l->state == SBXI_LINK_BUSY) /* while it closes, its time is not prolonged */
            l->last_rx = net->now;
        l->got_any = true;
        net->usage.bytes_in += n;
    } else {
        sbxi_link_consumed(net, l);
    }
    return got;
}

SBXI_FN void sbxi_link_take_ahead(sbxi_net *net, sbxi_link *l)
{
    if (!l->rx || l->rx_end < net->rx.size)
        sbxi_link_fill(net, l);
}

/* ---- exchange ---- */

SBXI_FN void sbxi_exchange_begin(sbxi_net *net, sbxi_link *l, bool head)
{
    l->is_ws = false;
    sbx_http1_init(&l->codec.http, head, &net->caps);
}

/* The same for one that is running, within its share of the turn: a peer that
   sends without end keeps neither the others nor the deadlines waiting. */
static sbxi_got sbxi_link_more(sbxi_net *net, sbxi_link *l)
{
    uint64_t before = net->usage.bytes_in;
    sbxi_got got = net->run_left ? sbxi_link_fill(net, l) : SBXI_GOT_BLOCKED;

    net->run_left -= (size_t)SBXI_MIN(net->usage.bytes_in - before, net->run_left);
    return got;
}

SBXI_FN sbxi_got sbxi_exchange_next(sbxi_net *net, sbxi_link *l, sbx_http1_kind *kind, sbx_http1_event *ev)
{
    for (;;) {
        sbxi_got got;

        if (l->rx) {
            const char *p = l->rx + l->rx_at;
            bool full = l->rx_at == 0 && l->rx_end == net->rx.size;

            *kind = sbx_http1_read(&l->codec.http, &p, l->rx + l->rx_end, full, ev);
            l->rx_at = (uint32_t)(p - l->rx);
        } else {
            /* A body of no bytes is complete without any. */
            const char *none = "";

            *kind = sbx_http1_read(&l->codec.http, &none, none, false, ev);
        }
        if (*kind == SBX_HTTP1_ERROR) {
            net->fault.code = SBX_ERR_PROTOCOL;
            net->fault.sys = l->codec.http.error;
            return SBXI_GOT_FAIL;
        }
        if (*kind != SBX_HTTP1_MORE)
            return SBXI_GOT_EVENT;
        got = sbxi_link_more(net, l);
        if (got == SBXI_GOT_EOF && l->got_any) {
            *kind = sbx_http1_eof(&l->codec.http);
            if (*kind == SBX_HTTP1_DONE)
                return SBXI_GOT_EVENT;
        }
        if (got != SBXI_GOT_EVENT)
            return got;
    }
}

/* ---- WebSocket messages ---- */

SBXI_FN unsigned sbxi_ws_close_code(const sbxi_link *l)
{
    return l->is_ws ? l->out.frame.close_code : 0;
}

SBXI_FN void sbxi_ws_begin(sbxi_net *net, sbxi_link *l)
{
    l->is_ws = true;
    memset(&l->out, 0, sizeof l->out);
    l->last_rx = net->now;
    /* The JSON reader checks the UTF-8 of what it takes. */
    sbx_ws_init(&l->codec.ws, SBX_WS_RAW_TEXT, 0);
}

SBXI_FN bool sbxi_ws_frame(sbxi_net *net, sbxi_link *l, unsigned opcode, uint32_t n)
{
    sbxi_got got;
    size_t room;
    char *p = sbxi_link_room(net, l, &room, &got);

    if (!p || room < SBX_WS_HEAD_MAX || l->out.frame.left)
        return false;
    if (!sbxi_net_random(net, l->out.frame.mask, sizeof l->out.frame.mask))
        return false;
    l->tx_end += (uint32_t)sbx_ws_head((unsigned char *)p, opcode, true, n, l->out.frame.mask);
    l->out.frame.left = n;
    l->out.frame.at = 0;
    return true;
}

SBXI_FN size_t sbxi_ws_append(sbxi_net *net, sbxi_link *l, const void *src, size_t n)
{
    sbxi_got got;
    size_t room;
    char *p = sbxi_link_room(net, l, &room, &got);

    n = SBXI_MIN(n, SBXI_MIN(room, l->out.frame.left));
    if (!p || !n)
        return 0;
    memcpy(p, src, n);
    sbx_ws_mask(p, n, l->out.frame.mask, l->out.frame.at);
    l->out.frame.at = (uint8_t)((l->out.frame.at + n) & 3);
    l->out.frame.left -= (uint32_t)n;
    l->tx_end += (uint32_t)n;
    return n;
}

SBXI_FN char *sbxi_ws_compose(sbxi_net *net, sbxi_link *l, size_t *room, sbxi_got *got)
{
    char *p = NULL;

    *got = SBXI_GOT_BLOCKED;
    if (!l->out.frame.left) /* else there is no use for a buffer */
        p = sbxi_link_room(net, l, room, got);
    if (!p)
        return NULL;
    *got = SBXI_GOT_BLOCKED;
    if (*room <= SBX_WS_HEAD_MAX)
        return NULL;
    *room -= SBX_WS_HEAD_MAX;
    return p + SBX_WS_HEAD_MAX;
}

SBXI_FN void sbxi_ws_composed(sbxi_net *net, sbxi_link *l, unsigned opcode, size_t n)
{
    char *at = l->tx + l->tx_end, *p = at + SBX_WS_HEAD_MAX;
    unsigned char head[SBX_WS_HEAD_MAX];
    size_t head_n;

    if (!sbxi_net_random(net, l->out.frame.mask, sizeof l->out.frame.mask))
        return; /* nothing goes out unmasked; the caller sees entropy_failed */
    head_n = sbx_ws_head(head, opcode, true, n, l->out.frame.mask);
    if (l->tx_at == l->tx_end) /* nothing stands before it: the payload can stay */
        l->tx_at = l->tx_end = (uint32_t)(p - head_n - l->tx);
    else
        memmove(at + head_n, p, n);
    at = l->tx + l->tx_end;
    memcpy(at, head, head_n);
    sbx_ws_mask(at + head_n, n, l->out.frame.mask, 0);
    l->tx_end += (uint32_t)(head_n + n);
}

SBXI_FN bool sbxi_ws_send(sbxi_net *net, sbxi_link *l, unsigned opcode, const void *p, size_t n)
{
    sbxi_got got;
    size_t room;

    if (!sbxi_link_room(net, l, &room, &got) || room < n + SBX_WS_HEAD_MAX || !sbxi_ws_frame(net, l, opcode, (uint32_t)n))
        return false;
    sbxi_ws_append(net, l, p, n);
    return true;
}

SBXI_FN void sbxi_ws_close(sbxi_net *net, sbxi_link *l, unsigned code)
{
    unsigned char payload[2];

    payload[0] = (unsigned char)(code >> 8);
    payload[1] = (unsigned char)code;
    if (!l->close_sent)
        l->close_sent = sbxi_ws_send(net, l, SBX_WS_OP_CLOSE, payload, sbx_ws_close_code_ok(code) ? 2 : 0);
    sbxi_link_flush(net, l);
}

/* Whether a pong has room. A control frame is taken from the input only then:
   a peer that pings without reading is not read from either. */
static sbxi_got sbxi_ws_can_answer(sbxi_net *net, sbxi_link *l)
{
    size_t need = l->pong_open ? l->out.frame.left : SBXI_WS_CONTROL_MAX;

    if (l->out.frame.left && !l->pong_open)
        return SBXI_GOT_BLOCKED;
    if (l->tx && net->tx.size - l->tx_end < need) {
        sbxi_got got = sbxi_link_flush(net, l);

        if (got != SBXI_GOT_EVENT)
            return got;
    }
    return sbxi_link_has_room(net, l) || l->owner == net->awaited ? SBXI_GOT_EVENT : SBXI_GOT_STARVED;
}

static SBXI_ONCE sbxi_got sbxi_ws_control(sbxi_net *net, sbxi_link *l, sbx_ws_kind kind, const sbx_ws_event *ev)
{
    bool ok = true;

    switch (kind) {
    case SBX_WS_PING:
        if (ev->first)
            l->pong_open = ok = sbxi_ws_frame(net, l, SBX_WS_OP_PONG, ev->total);
        if (ok && ev->n)
            sbxi_ws_append(net, l, ev->p, ev->n);
        if (ev->last)
            l->pong_open = false;
        if (ok && ev->last && sbxi_link_flush(net, l) == SBXI_GOT_FAIL)
            return SBXI_GOT_FAIL;
        break;
    case SBX_WS_CLOSE:
        if (!ev->last)
            break;
        l->out.frame.close_code = ev->code;
        sbxi_ws_close(net, l, ev->code);
        return SBXI_GOT_EOF;
    case SBX_WS_ERROR:
        sbxi_ws_close(net, l, ev->code);
        net->fault.code = SBX_ERR_PROTOCOL;
        net->fault.sys = ev->code;
        return SBXI_GOT_FAIL;
    default:
        break;
    }
    if (!ok) {
        net->fault.code = net->entropy_failed ? SBX_ERR_ENTROPY : SBX_ERR_CONNECTION;
        return SBXI_GOT_FAIL;
    }
    return SBXI_GOT_EVENT;
}

/* Peers that stop half-way must not keep all buffers. */
static bool sbxi_ws_may_wait(const sbxi_net *net)
{
    return net->rx.used + 2 <= net->rx.count;
}

SBXI_FN bool sbxi_ws_unread(const sbxi_net *net, const sbxi_link *l)
{
    return l->rx_at < l->rx_end && !(l->half && sbxi_ws_may_wait(net));
}

/* The beginning of a text message that fits into the receive buffer: it is left
   there until the rest has come, so that the reader sees it whole. Of binary
   ones the borders mean nothing. */
static bool sbxi_ws_rest_to_come(const sbxi_net *net, const sbxi_link *l, const sbx_ws *after, const sbx_ws_event *ev)
{
    return sbxi_ws_may_wait(net) && ev->first && !ev->last && after->left && after->left <= net->rx.size - (l->rx_end - l->rx_at);
}

SBXI_FN sbxi_got sbxi_ws_next(sbxi_net *net, sbxi_link *l, sbx_ws_event *ev)
{
    for (;;) {
        sbxi_got got = SBXI_GOT_EVENT;
        sbx_ws_kind kind = SBX_WS_MORE;

        if (l->rx_at < l->rx_end) {
            char *p = l->rx + l->rx_at;
            sbx_ws after;

            got = sbxi_ws_can_answer(net, l);
            if (got != SBXI_GOT_EVENT)
                return got;
            after = l->codec.ws;
            kind = sbx_ws_read(&after, &p, l->rx + l->rx_end, ev);
            if (kind == SBX_WS_TEXT && sbxi_ws_rest_to_come(net, l, &after, ev)) {
                l->half = true;
                got = sbxi_link_more(net, l);
                if (got != SBXI_GOT_EVENT)
                    return got;
                continue;
            }
            l->codec.ws = after;
            l->rx_at = (uint32_t)(p - l->rx);
            if (kind == SBX_WS_TEXT || kind == SBX_WS_BINARY)
                return SBXI_GOT_EVENT;
        }
        got = kind == SBX_WS_MORE ? sbxi_link_more(net, l) : sbxi_ws_control(net, l, kind, ev);
        if (got != SBXI_GOT_EVENT)
            return got;
    }
}
