/* The world of fuzz_client.c: connections that end in a server which answers by
   a script, on a virtual clock. A script is one line an answer; every text is
   one, so that no input is refused:

     a V F   what fits the request, well-formed      n       no answer
     b V F   a box        l V F  a list of boxes     0       the connection ends
     s V F   a status     m V F  matches             !       … and is reset
     f V F   a file       x V F  an execute's answer
     u V F   a URL, granted
     e V F   an error     j F …  a body as it stands r …     a whole answer as it stands
     w …     an upgrade and a talk
     v V F   a command's event stream     y F …  one as it stands
     k F …   one as the service makes it, from where the request says
     ^ before it: at the request's head, its body is not taken

   V chooses among forms. F: bits 0, 1 the framing (length, chunked, to the
   end), 2 end after it, 3 reset, 4 close, 5 cut in the middle. In texts that
   stand as they are | is CRLF and \ takes the next character: \n \r \0. */
#ifndef FUZZ_CLIENT_WORLD_H
#define FUZZ_CLIENT_WORLD_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIRES = 64, TEXT_MAX = 1 << 18 };

#define MUST(ok, why) ((ok) ? (void)0 : die(__LINE__, why))
static void die(int line, const char *why)
{
    fprintf(stderr, "line %d: %s\n", line, why);
    abort();
}

typedef struct bytes {
    char *p;
    size_t n, cap;
} bytes;

static void put(bytes *b, const void *p, size_t n)
{
    if (b->n + n + 1 > b->cap) {
        b->cap = 2 * (b->n + n) + 256;
        b->p = (char *)realloc(b->p, b->cap);
        MUST(b->p, "memory");
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
}

static void puts_to(bytes *b, const char *z)
{
    put(b, z, strlen(z));
}

static void putf(bytes *b, const char *format, ...)
{
    char text[4096];
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    MUST(n >= 0, "format");
    put(b, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

typedef struct script {
    const unsigned char *p, *end;
} script;

static unsigned take(script *s)
{
    return s->p < s->end && *s->p != '\n' ? *s->p++ : '0';
}

/* A digit or letter as a number; any byte is one. */
static unsigned number(script *s)
{
    return (unsigned char)(take(s) - '0');
}

static bool at_line_end(const script *s)
{
    return s->p == s->end || *s->p == '\n';
}

static void line_end(script *s)
{
    while (s->p < s->end && *s->p++ != '\n') {
    }
}

typedef struct wire {
    bool used, open, eof, rst, ws, tunnel, talks, deaf, stuck;
    bool armed_r, armed_w, bounced_r, bounced_w;
    bytes in, out;
    size_t out_at;
    script talk;
    char id[64];
    uint64_t off[2];
    /* a transport-less client's */
    bool told, ended;
} wire;

typedef struct world {
    wire wires[WIRES];
    int64_t now;
    uint64_t rng;
    script answers;
    uint32_t recv_max, send_max; /* 0 = all */
    bool bounce;       /* every other call blocks */
    uint32_t block;    /* of 256 calls so many block */
    unsigned refuse;   /* bit i: the i-th connect fails */
    unsigned stick;    /* … never comes about */
    bool silent;       /* no answer where the script ends; default: the end */
    bool dead;         /* every connection ends, none comes about */
    bool unfair;       /* what came depends on how bytes were delivered */
    bool uncertain;    /* a talk may hold U+FFFD, which may stand for fewer bytes than it has */
    bool strange;      /* an event stream was answered by what the service would not say */
    unsigned connects, open;
    uint64_t calls, fail_at, randoms, random_fail_at;
    uint64_t moved;    /* whatever changes counts it up */
    unsigned waits;    /* with a limit */
    unsigned barren;   /* waits in a row that could have no end */
    sbx_client *client;
} world;

static uint32_t draw(world *w, uint32_t n)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return n ? (uint32_t)(w->rng >> 20) % n : 0;
}

static void wire_reset(wire *x)
{
    free(x->in.p);
    free(x->out.p);
    memset(x, 0, sizeof *x);
}

/* ---- what the server says ---- */

static void raw_text(bytes *b, script *s)
{
    while (!at_line_end(s)) {
        char ch = (char)take(s);

        if (ch == '|') {
            put(b, "\r\n", 2);
            continue;
        }
        if (ch == '\\') {
            ch = (char)take(s);
            ch = ch == 'n' ? '\n' : ch == 'r' ? '\r' : ch == '0' ? 0 : ch;
        }
        put(b, &ch, 1);
    }
}

static void frame(wire *x, unsigned opcode, bool fin, const void *p, size_t n)
{
    unsigned char head[SBX_WS_HEAD_MAX];

    put(&x->out, head, sbx_ws_head(head, opcode, fin, n, NULL));
    put(&x->out, p, n);
}

static void say(wire *x, const bytes *b, unsigned pieces)
{
    size_t at = 0;

    for (unsigned i = 0; i < pieces; i++) {
        size_t n = i + 1 == pieces ? b->n - at : b->n / pieces;

        frame(x, i ? SBX_WS_OP_CONT : SBX_WS_OP_TEXT, i + 1 == pieces, b->p + at, n);
        at += n;
    }
}

/* Output as JSON text; its bytes in the stream. Forms: letters by their place,
   two-byte characters, escapes, U+FFFD, a lone surrogate. */
static uint64_t output(bytes *b, uint64_t off, unsigned form, unsigned n)
{
    uint64_t raw = 0;

    for (unsigned i = 0; i < n; i++) {
        char ch = (char)('a' + (off + i) % 26);

        switch (form % 8) {
        case 1: puts_to(b, "\xc3\xa9"); raw += 2; break;
        case 2: puts_to(b, "\\u00e9\\n"); raw += 3; break;
        case 3: puts_to(b, "\xef\xbf\xbd"); raw += 1; break; /* for one bad byte */
        case 4: puts_to(b, "\\ud800"); raw += 3; break;
        case 5: puts_to(b, "\\ud83d\\ude00"); raw += 4; break;
        default: put(b, &ch, 1); raw++;
        }
    }
    return raw;
}

/* A frame of yamux. */
static void talk_frame(wire *x, script *s, unsigned char letter, unsigned pieces)
{
    unsigned type = letter == 'Y' ? number(s) & 7 : 0, flags = letter == 'Y' ? number(s) & 31 : letter == 'K' ? 2 : 0;
    unsigned id = number(s), v = letter == 'K' ? 1 : number(s);
    unsigned char head[12] = { 0, (unsigned char)type, 0, (unsigned char)flags };
    bytes b = { 0 };

    v = v > 60 ? v * 2000 : v;
    for (unsigned i = 0; i < 4; i++) {
        head[4 + i] = (unsigned char)(id >> (24 - 8 * i));
        head[8 + i] = (unsigned char)(v >> (24 - 8 * i));
    }
    put(&b, head, sizeof head);
    for (unsigned i = 0; type == 0 && i < v; i++) {
        char ch = letter == 'K' ? 0 : (char)('a' + (i + i / 26) % 26);

        put(&b, &ch, 1);
    }
    for (unsigned i = 0, at = 0; i < pieces; i++) { /* borders of messages mean nothing */
        unsigned n = i + 1 == pieces ? (unsigned)b.n - at : (unsigned)b.n / pieces;

        frame(x, SBX_WS_OP_BINARY, true, b.p + at, n);
        at += n;
    }
    free(b.p);
}

/* The letters of a talk; those that take a number are followed by it:
     S started  T V  of another form   o V, e V, E V  output (E: of its own offset)
     N V without an offset   B V a long one   x V exit   X V error   u V others
     J … ; a message as it stands   R … ; bytes as they stand   F V the next in pieces
     p V ping   q pong   c V close   ~ waits for the client   . the end   ! reset
   and of a tunnel: K I the daemon's yes to stream I   D I V data   Y T F I V any frame */
static void talk_message(wire *x, script *s, unsigned char letter, unsigned pieces)
{
    static const char *const others[] = { "{\"type\":\"hello\",\"data\":\"x\"}", "{}", "[1]", "{\"type\":7}", "{\"type\":\"stdout\"}",
        "{\"type\":\"exit\"}", "{\"data\":\"late\",\"type\":\"stdout\",\"offset\":0}", "{\"offset\":0,\"type\":\"stderr\",\"data\":\"q\"}",
        "{\"type\":\"stdout\",\"data\":null,\"offset\":null}", "{\"type\":\"stdout\",\"offset\":-5,\"data\":\"m\"}",
        "{\"type\":\"stdout\",\"data\":\"h\",\"offset\":18446744073709551615}", "{\"type\":\"started\",\"command_id\":null,\"pid\":null}",
        "{\"type\":\"ssh_agent_data\",\"channel_id\":\"c\\u00e9\",\"data\":\"aGVsbG8gYWdlbnQ=\"}", "{\"channel_id\":\"d\",\"data\":\"AAEC\",\"type\":\"ssh_agent_data\"}",
        "{\"type\":\"ssh_agent_data\",\"channel_id\":\"d\",\"data\":\"A=\"}", "{\"type\":\"ssh_agent_close\",\"channel_id\":\"d\"}" };
    static const char *const errors[] = { "CommandTimeout", "CommandNotFound", "SessionExpired", "CommandError", "Other", "" };
    bytes b = { 0 };
    unsigned v = 0, k = letter == 'e' || letter == 'E';

    puts_to(&b, "");
    if (letter != 'S' && letter != 'J')
        v = number(s);
    switch (letter) {
    case 'S': putf(&b, "{\"type\":\"started\",\"command_id\":\"%s\",\"pid\":7}", x->id); break;
    case 'T': putf(&b, v & 1 ? "{\"type\":\"started\",\"command_id\":\"%.*s\"}" : "{\"pid\":%u,\"type\":\"started\"}", v & 1 ? (int)(v & 63) : v,
                   "other-id-other-id-other-id-other-id-other-id-other-id"); break;
    case 'o': case 'e': case 'B': {
        bytes text = { 0 };
        uint64_t n = output(&text, x->off[k], v >> 3, letter == 'B' ? 12 * v : v & 7);

        putf(&b, "{\"type\":\"%s\",\"data\":\"", k ? "stderr" : "stdout");
        put(&b, text.p, text.n);
        putf(&b, "\",\"offset\":%llu}", (unsigned long long)x->off[k]);
        x->off[k] += n;
        free(text.p);
        break;
    }
    case 'E': putf(&b, "{\"type\":\"stderr\",\"offset\":%u,\"data\":\"%.*s\"}", v, (int)(v & 7), "ABCDEFGH"); break;
    case 'N': putf(&b, "{\"type\":\"stdout\",\"data\":\"%.*s\"}", (int)(v & 7), "ABCDEFGH"); x->off[0] += v & 7; break;
    case 'x': putf(&b, "{\"type\":\"exit\",\"exit_code\":%d}", (int)v - 9); break;
    case 'X': putf(&b, "{\"type\":\"error\",\"error_type\":\"%s\",\"error\":\"why %u\"}", errors[v % 6], v); break;
    case 'u': puts_to(&b, others[v % (sizeof others / sizeof *others)]); break;
    default:
        while (!at_line_end(s) && *s->p != ';')
            put(&b, s->p++, 1);
        take(s);
    }
    say(x, &b, pieces);
    free(b.p);
}

static void talk(wire *x)
{
    unsigned pieces = 1;
    unsigned char code[2];
    char mark[8] = "pingping";

    x->talks = true;
    while (!at_line_end(&x->talk) && !x->eof && !x->rst) {
        unsigned char letter = (unsigned char)take(&x->talk);

        switch (letter) {
        case 'F': pieces = 1 + number(&x->talk) % 5; continue;
        case 'p': frame(x, SBX_WS_OP_PING, true, mark, number(&x->talk) & 7); break;
        case 'q': frame(x, SBX_WS_OP_PONG, true, mark, 0); break;
        case 'c': {
            unsigned v = number(&x->talk), number_of = v % 8 == 0 ? 1000 : v % 8 == 1 ? 1001 : v % 8 == 2 ? 1011 : 990 + 3 * v;

            code[0] = (unsigned char)(number_of >> 8);
            code[1] = (unsigned char)number_of;
            frame(x, SBX_WS_OP_CLOSE, true, code, v == 7 ? 0 : 2);
            break;
        }
        case '~': return;
        case '.': x->eof = true; break;
        case '!': x->rst = true; break;
        case 'R':
            while (!at_line_end(&x->talk) && *x->talk.p != ';')
                put(&x->out, x->talk.p++, 1);
            take(&x->talk);
            break;
        case 'S': case 'T': case 'o': case 'e': case 'B': case 'E': case 'N': case 'x': case 'X': case 'u': case 'J':
            talk_message(x, &x->talk, letter, pieces);
            break;
        case 'K': case 'D': case 'Y': talk_frame(x, &x->talk, letter, pieces); break;
        default: break;
        }
        pieces = 1;
    }
}

static void box_text(bytes *b, unsigned v, unsigned i)
{
    static const char *const status[] = { "ready", "provisioning", "failed", "stopped", "deleting", "brand-new" };

    putf(b, "{\"id\":\"id-%u\",\"name\":\"box-%u\",\"status\":\"%s\",\"vcpus\":%u,\"created_at\":\"2026-01-0%uT00:00:00.5Z\",\"labels\":{\"a\":[1,{}]}", i, i,
         status[v % 6], v, v % 10);
    if (v & 8)
        puts_to(b, ",\"status_message\":\"caf\\u00e9 \\ud83d\\ude00\",\"dataplane_url\":null");
    else
        putf(b, ",\"dataplane_url\":\"http://dp.test/b/%.*s\"", v == 7 ? 600 : 3, v == 7 ? "onexxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" : "one");
    if (v & 16)
        putf(b, ",\"stopped_at\":null,\"idle_ttl_seconds\":%u,\"new\":\"%0300u\"", v, v);
    puts_to(b, "}");
}

/* Of a service and of a link in one; whoever asks takes what it knows. */
static void grant_text(bytes *b, unsigned v)
{
    static const char *const ends[] = { "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "soon", "" };

    putf(b, "{\"service_url\":\"%s\"", v & 4 ? "ftp://svc.test" : "http://svc.test/svc");
    if (!(v & 16))
        putf(b, ",\"download_url\":\"http://dl.test/download?t=%0*u\"", (int)(v & 32 ? 3000 : 3), v);
    if (!(v & 8))
        putf(b, ",\"token\":\"%0*u\"", (int)(v & 64 ? 1500 : 5), v);
    putf(b, ",\"expires_at\":\"%s\"}", ends[v & 3]);
}

/* A command's events: output from 0 on, then an end of some kind, or none. */
static void events_text(bytes *b, unsigned v)
{
    static const char *const ends[] = { "event: exit\ndata: {\"exit_code\":3}\n\n", "event: ack_required\ndata: {}\n\n",
        "event: error\ndata: {\"error\":\"m\",\"error_type\":\"ServerShuttingDown\"}\n\n", "event: error\ndata: {\"error\":\"m\",\"error_type\":\"InvalidOffset\"}\n\n",
        "", ": beat\n\ndata: x\n\nevent: stream_end\ndata: {}\n\n", "event: exit\r\ndata: {\"exit_code\":-1}\r\n\r\n", "event: exit\ndata: [\n\n" };
    unsigned at[2] = { 0, 0 };

    puts_to(b, v & 16 ? ": hello\n\n" : "event: started\ndata: {\"command_id\":\"x\",\"pid\":7}\n\n");
    for (unsigned i = 0; i < v % 8; i++) {
        static const char *const texts[] = { "YQ==", "YWJj", "/+\\/A", "" };
        static const unsigned sizes[] = { 1, 3, 3, 0 };
        unsigned stream = v >> 5 & i & 1, which = (v + i) % 4;

        putf(b, i % 3 == 2 ? "event: %s\ndata: {\"data\":\"%s\",\ndata: \"offset\":%u}\n\n" : "event: %s\ndata: {\"data\":\"%s\",\"offset\":%u}\n\n", stream ? "stderr" : "stdout",
             texts[which], at[stream]);
        at[stream] += sizes[which];
    }
    puts_to(b, ends[v >> 3 & 7]);
}

/* The command's output, the same for every request. */
static unsigned char event_byte(unsigned stream, uint64_t at)
{
    return (unsigned char)(at * 37 + at / 251 + stream * 101);
}

/* One piece of it: the members in either order, slashes escaped, the data on two
   lines, a comment before, other ends of lines. */
static void event_output(bytes *b, wire *x, unsigned stream, size_t n, unsigned form)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *eol = form & 4 ? "\r\n" : "\n";
    bytes data = { 0 };

    puts_to(&data, "");
    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        unsigned long v = 0;

        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < have ? event_byte(stream, x->off[stream] + i + k) : 0u);
        for (size_t k = 0; k <= 3; k++) {
            char ch = k > have ? '=' : digits[v >> (18 - 6 * k) & 63];

            if (ch == '/' && form & 1)
                puts_to(&data, "\\");
            put(&data, &ch, 1);
        }
    }
    if (form & 4)
        putf(b, ": beat%s%s", eol, eol);
    putf(b, "event: %s%sdata: {", stream ? "stderr" : "stdout", eol);
    if (form & 2)
        putf(b, "\"offset\":%llu,%s%s", (unsigned long long)x->off[stream], form & 1 ? eol : "", form & 1 ? "data:" : "");
    puts_to(b, "\"data\":\"");
    put(b, data.p, data.n);
    puts_to(b, "\"");
    if (!(form & 2))
        putf(b, ",%s%s\"offset\":%llu", form & 1 ? eol : "", form & 1 ? "data: " : "", (unsigned long long)x->off[stream]);
    putf(b, "}%s%s", eol, eol);
    x->off[stream] += n;
    free(data.p);
}

/* The letters of an event stream; those that take a number are followed by it:
     o V, e V output   b V a long one   n V what is passed over   x V exit
     X V a last error   A asks for an acknowledgement   d shuts down   . no more
   and N at first: without a start. */
static void events_talk(bytes *b, wire *x, script *s)
{
    static const char *const others[] = { ": beat\n\n", "event: stream_end\ndata: {\"stream\":\"stdout\",\"offset\":0}\n\n", "data: x\n\n", "event: later\ndata: {\"data\":\"QQ==\"}\n\n",
        "id: 7\nretry: 5\n\n", "\n\n\r\n", "event: stdout\n\n", ":\n" };
    static const char *const errors[] = { "CommandTimeout", "ReadOffsetUnavailable", "InvalidOffset", "Other" };
    bool over = false;

    if (!at_line_end(s) && *s->p == 'N')
        take(s);
    else
        putf(b, "event: started\ndata: {\"command_id\":\"%s\",\"pid\":7}\n\n", x->id);
    while (!over && !at_line_end(s)) {
        unsigned char letter = (unsigned char)take(s);
        unsigned v = letter && strchr("oebnxX", letter) ? number(s) : 0;

        switch (letter) {
        case 'o': case 'e': event_output(b, x, letter == 'e', v & 31, v >> 5); break;
        case 'b': event_output(b, x, 0, 40 * v, v & 7); break;
        case 'n': puts_to(b, others[v & 7]); break;
        case 'x': putf(b, "event: exit\ndata: {\"exit_code\":%d}\n\n", (int)v - 9); over = true; break;
        case 'X': putf(b, "event: error\ndata: {\"error\":\"why\",\"error_type\":\"%s\"}\n\n", errors[v & 3]); over = true; break;
        case 'A': putf(b, "event: ack_required\ndata: {\"stdout_offset\":%llu,\"stderr_offset\":%llu}\n\n", (unsigned long long)x->off[0], (unsigned long long)x->off[1]); over = true; break;
        case 'd': puts_to(b, "event: error\ndata: {\"error\":\"m\",\"error_type\":\"ServerShuttingDown\"}\n\n"); over = true; break;
        case '.': over = true; break;
        default: break;
        }
    }
}

static void body_text(bytes *b, unsigned char kind, unsigned v)
{
    static const char *const errors[] = { "{\"detail\":{\"error\":\"ImagePull\",\"message\":\"no image\"}}",
        "{\"detail\":[{\"loc\":[\"body\",\"name\"],\"msg\":\"too long\",\"type\":\"value_error\"},{\"loc\":[1]}]}", "{\"detail\":\"cpu quota\"}",
        "{\"error\":\"NotReady\",\"message\":\"later\"}", "<html>", "", "{\"detail\":{\"message\":\"m\",\"error_id\":\"E1\"}}", "{\"detail\":{\"error\":\"Unsch" };

    switch (kind) {
    case 'b': box_text(b, v, v); break;
    case 'u': grant_text(b, v); break;
    case 'o': /* templates, volumes and pools at once, alone and in lists */
        for (unsigned i = 0; i < 4; i++)
            putf(b, "%s{\"id\":\"o%u\",\"name\":\"%.*s\",\"image\":\"i\\u00e9\",\"resources\":{\"cpu\":\"1\",\"memory\":%s},\"size\":\"1Gi\",\"template_name\":\"t\",\"replicas\":%u%s",
                 i == 0 ? "" : i == 1 ? ",\"volumes\":[" : i == 2 ? ",{\"x\":[{\"name\":1}]}," : ",", i, v & 1 ? 150 : 3,
                 "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo",
                 v & 2 ? "null" : "\"512Mi\"", v, i ? "}" : "");
        puts_to(b, "]}");
        break;
    case 'l':
        puts_to(b, v & 1 ? "{\"items\":[" : "{\"sandboxes\":[");
        for (unsigned i = 0; i < v % 5; i++) {
            puts_to(b, i ? "," : "");
            box_text(b, v >> 2, v + i);
        }
        puts_to(b, "]");
        if (v & 8)
            putf(b, ",\"next_cursor\":\"c%u\"", v);
        else if (v & 16)
            putf(b, ",\"offset\":%u", v);
        puts_to(b, "}");
        break;
    case 's': putf(b, "{\"status\":\"%s\",\"status_message\":\"s%u\"}", v % 4 == 0 ? "ready" : v % 4 == 1 ? "provisioning" : v % 4 == 2 ? "failed" : "stopped", v); break;
    case 'm':
        puts_to(b, "{\"matches\":[");
        for (unsigned i = 0; i < v % 5; i++)
            putf(b, "%s{\"path\":\"/a/%u\",\"is_dir\":%s,\"size_bytes\":%u,\"modified_at\":\"2026-01-01T00:00:00Z\",\"line\":%u,\"text\":\"t\\u00e9\"}", i ? "," : "", i,
                 i & 1 ? "true" : "false", v, i);
        putf(b, "],\"truncated\":%s}", v & 8 ? "true" : "false");
        break;
    case 'f':
        for (unsigned i = 0; i < v * (v & 64 ? 40u : 1u); i++)
            putf(b, "%c", 'a' + (int)(i % 26));
        break;
    case 'x':
        puts_to(b, "{\"stdout\":\"");
        output(b, 0, v >> 3, v & 7);
        putf(b, "\",\"stderr\":\"E\",\"exit_code\":%u}", v);
        break;
    case 'v': events_text(b, v); break;
    default: puts_to(b, errors[v % 8]);
    }
}

static unsigned status_of(unsigned char kind, unsigned v)
{
    static const unsigned errors[] = { 500, 400, 401, 403, 404, 408, 409, 416, 422, 429, 502, 503, 504, 301, 304, 418 };

    return kind == 'e' ? errors[(v >> 2) % 16] : kind == 'f' && v & 1 ? 206 : v % 32 == 31 ? 204 : 200;
}

static void headers_of(bytes *b, unsigned char kind, unsigned v, size_t n)
{
    if (kind == 'f') {
        if (v & 2)
            putf(b, "ETag: %s\"tag-%u\"\r\n", v & 4 ? "W/" : "", v & 8);
        if (v & 1)
            putf(b, "Content-Range: bytes %u-%zu/%zu\r\n", v & 16 ? v : 0u, n + (v & 16 ? v : 0) - 1, n + v);
        puts_to(b, "Last-Modified: Tue, 06 Jan 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n");
    }
    if (kind == 'v')
        puts_to(b, "Content-Type: text/event-stream\r\n");
    if (kind == 'u' && v & 2)
        puts_to(b, "Date: Tue, 06 Jan 2026 10:00:00 GMT\r\n");
    if (kind == 'e' && v & 2)
        putf(b, "Retry-After: %u\r\n", v);
}

static void send_answer(wire *x, unsigned char kind, unsigned v, unsigned f, const bytes *body, bool head_only)
{
    bytes h = { 0 };
    unsigned framing = f & 3, status = status_of(kind, v);

    if (f & 64)
        puts_to(&h, "HTTP/1.1 100 Continue\r\n\r\n");
    putf(&h, "HTTP/1.1 %u Why\r\n", status);
    headers_of(&h, kind, v, body->n);
    if (framing == 1)
        puts_to(&h, "Transfer-Encoding: chunked\r\n");
    else if (framing != 2)
        putf(&h, "Content-Length: %zu\r\n", body->n);
    puts_to(&h, f & 16 ? "Connection: close\r\n\r\n" : "\r\n");
    if (!head_only && status != 204 && status != 304) {
        size_t half = framing == 1 ? body->n / 2 : body->n;

        if (framing == 1 && half)
            putf(&h, "%zx;x=1\r\n", half);
        put(&h, body->p, half);
        if (framing == 1) {
            putf(&h, "%s%zX\r\n", half ? "\r\n" : "", body->n - half);
            put(&h, body->p + half, body->n - half);
            puts_to(&h, body->n - half ? "\r\n0\r\nT: r\r\n\r\n" : "\r\n");
        }
    }
    put(&x->out, h.p, f & 32 ? h.n - (body->n / 2 + 1) % h.n : h.n);
    x->eof = x->eof || f & (4 | 32) || framing == 2;
    x->rst = x->rst || f & 8;
    free(h.p);
}

static const char *after(const char *head, const char *name)
{
    const char *at = strstr(head, name);

    return at ? at + strlen(name) : NULL;
}

static void upgrade(wire *x, const char *head, script line)
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const char *key = after(head, "Sec-WebSocket-Key: ");
    char joined[64], accept[32];
    unsigned char digest[20];
    size_t n = key ? strcspn(key, "\r") : 0;

    if (n != 24)
        return;
    memcpy(joined, key, n);
    memcpy(joined + n, magic, sizeof magic - 1);
    sbxi_sha1(digest, joined, n + sizeof magic - 1);
    accept[sbxi_base64(accept, digest, 20)] = 0;
    putf(&x->out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    x->ws = true;
    x->tunnel = strstr(head, "/tunnel HTTP/") != NULL;
    x->talk = line;
}

/* What fits a request, by its path. */
static unsigned char fitting(const char *head)
{
    const char *end = strchr(head, '\r');
    size_t n = end ? (size_t)(end - head) : 0;
    char line[256];

    snprintf(line, sizeof line, "%.*s", (int)(n < 255 ? n : 255), head);
    if (strstr(line, "/templates") || strstr(line, "/volumes") || strstr(line, "/pools")) return 'o';
    if (strstr(line, "/execute/ws") || strstr(line, "/tunnel ")) return 'w';
    if (strstr(line, "/execute/stream/")) return 'v';
    if (strstr(line, "/execute ")) return 'x';
    if (strstr(line, "/status ")) return 's';
    if (strstr(line, "/service-url ") || strstr(line, "/download-url ")) return 'u';
    if (strstr(line, "/download") || strstr(line, "/svc/")) return 'f';
    if (strstr(line, "/glob ") || strstr(line, "/grep ")) return 'm';
    if (strncmp(line, "GET ", 4) == 0 && (strstr(line, "/boxes ") || strstr(line, "/boxes?") || strstr(line, "/snapshots ") || strstr(line, "/snapshots?"))) return 'l';
    return 'b';
}

static void answer(world *w, wire *x, const char *head)
{
    script *s = &w->answers;
    unsigned char kind;
    unsigned v = 0, f = 0;
    bytes body = { 0 };
    bool head_only = strncmp(head, "HEAD ", 5) == 0;

    puts_to(&body, "");
    w->unfair = w->unfair || x->out_at < x->out.n;
    if (s->p == s->end) {
        x->eof = !w->silent;
        free(body.p);
        return;
    }
    kind = (unsigned char)take(s);
    if (kind == '^')
        kind = (unsigned char)take(s);
    if (kind == 'a' && (kind = fitting(head)) != 'w') {
        v = number(s);
        f = number(s);
    } else if (strchr("blsfmxeuov", kind)) {
        v = number(s);
        f = number(s);
    }
    if (strstr(head, "/execute/stream/") && !strchr("ke0!n", kind))
        w->strange = w->unfair = true; /* what came before a mistake depends on how it came */
    switch (kind) {
    case 'k': f = number(s); events_talk(&body, x, s); send_answer(x, 'v', 0, f, &body, head_only); break;
    case 'w': upgrade(x, head, *s); break;
    case 'r': raw_text(&x->out, s); x->eof = true; break;
    case 'j':
    case 'y': f = number(s); raw_text(&body, s); send_answer(x, kind == 'y' ? 'v' : kind, 0, f, &body, head_only); break;
    case '0': x->eof = true; break;
    case '!': x->rst = true; break;
    case 'n': break;
    default: body_text(&body, kind, v); send_answer(x, kind, v, f, &body, head_only); break;
    }
    free(body.p);
    line_end(s);
}

/* ---- what the server hears ---- */

static void drop(bytes *b, size_t n)
{
    memmove(b->p, b->p + n, b->n - n + 1);
    b->n -= n;
}

/* Client frames: masked, whole, of a known opcode. */
static void hear_frames(wire *x)
{
    while (x->in.n >= 6) {
        unsigned char *p = (unsigned char *)x->in.p;
        size_t n = p[1] & 127, head = 6;

        MUST(p[1] & 128, "a frame of the client is not masked");
        MUST((p[0] & 0x70) == 0 && ((p[0] & 15) <= 2 || ((p[0] & 15) >= 8 && (p[0] & 15) <= 10)), "a frame of the client has an unknown opcode");
        MUST((p[0] & 15) < 8 || n < 126, "a control frame of the client is too long");
        if (n >= 126) {
            size_t more = n == 126 ? 2 : 8;

            if (x->in.n < head + more)
                return;
            n = 0;
            for (size_t i = 0; i < more; i++)
                n = n << 8 | p[2 + i];
            head += more;
        }
        if (x->in.n < head + n)
            return;
        for (size_t i = 0; i < n; i++)
            p[head + i] ^= p[head - 4 + i % 4];
        MUST((p[0] & 15) > 2 || x->tunnel == ((p[0] & 15) == SBX_WS_OP_BINARY), "a message of the wrong kind");
        if ((p[0] & 15) == SBX_WS_OP_BINARY)
            talk(x);
        if ((p[0] & 15) == SBX_WS_OP_TEXT) {
            bytes m = { 0 };
            const char *at;

            put(&m, p + head, n);
            MUST(strncmp(m.p, "{\"type\":\"", 9) == 0 && m.p[n - 1] == '}', "a message of the client is no object");
            at = after(m.p, "\"command_id\":\"");
            if (at)
                snprintf(x->id, sizeof x->id, "%.*s", (int)strcspn(at, "\""), at);
            at = after(m.p, "\"stdout_offset\":");
            if (at)
                x->off[0] = strtoull(at, NULL, 10);
            at = after(m.p, "\"stderr_offset\":");
            if (at)
                x->off[1] = strtoull(at, NULL, 10);
            free(m.p);
            talk(x);
        }
        drop(&x->in, head + n);
    }
}

/* The request's body: whether it is there, and its length. */
static bool body_there(const bytes *in, size_t head, size_t *n)
{
    const char *at = after(in->p, "Content-Length: ");

    *n = 0;
    if (at && at < in->p + head) {
        *n = (size_t)strtoull(at, NULL, 10);
        return in->n - head >= *n;
    }
    at = after(in->p, "Transfer-Encoding: chunked");
    if (!at || at > in->p + head)
        return true;
    at = strstr(in->p + head - 2, "\r\n0\r\n\r\n");
    *n = at ? (size_t)(at + 7 - in->p) - head : 0;
    return at != NULL;
}

/* Which command's event stream is asked for, and where it is to go on. */
static void hear_offsets(wire *x, const char *p, size_t n)
{
    bytes body = { 0 };
    const char *at;

    put(&body, p, n);
    at = after(body.p, "\"command_id\":\"");
    snprintf(x->id, sizeof x->id, "%.*s", at ? (int)strcspn(at, "\"") : 0, at ? at : "");
    at = after(body.p, "\"stdout_offset\":");
    x->off[0] = at ? strtoull(at, NULL, 10) : 0;
    at = after(body.p, "\"stderr_offset\":");
    x->off[1] = at ? strtoull(at, NULL, 10) : 0;
    free(body.p);
}

static void hear(world *w, wire *x)
{
    while (!x->deaf && x->in.n && !x->eof && !x->rst) {
        const char *end;
        size_t head, n;
        bytes copy = { 0 };
        bool early, there;

        if (x->ws) {
            hear_frames(x);
            w->uncertain = w->uncertain || memchr(x->out.p, 0xEF, x->out.n) || memchr(x->out.p, '\\', x->out.n);
            return;
        }
        end = strstr(x->in.p, "\r\n\r\n");
        if (!end)
            return;
        head = (size_t)(end + 4 - x->in.p);
        there = body_there(&x->in, head, &n);
        early = !there && w->answers.p < w->answers.end && *w->answers.p == '^';
        if (!there && !early)
            return;
        put(&copy, x->in.p, head);
        hear_offsets(x, x->in.p + head, n);
        MUST(strstr(copy.p, "\r\nHost: ") && strstr(copy.p, " HTTP/1.1\r\n"), "a request's head is not well-formed");
        x->deaf = early;
        answer(w, x, copy.p);
        free(copy.p);
        w->moved++;
        if (!early)
            drop(&x->in, head + n);
    }
}

/* ---- connections, as both kinds of clients reach them ---- */

static bool wire_readable(const wire *x)
{
    return x->out_at < x->out.n || x->eof || x->rst;
}

static size_t wire_read(world *w, wire *x, void *p, size_t room)
{
    size_t n = x->out.n - x->out_at;

    if (n > room)
        n = room;
    if (w->recv_max && n > w->recv_max)
        n = 1 + draw(w, w->recv_max);
    if (n)
        memcpy(p, x->out.p + x->out_at, n);
    x->out_at += n;
    w->moved += n;
    return n;
}

static void wire_write(world *w, wire *x, const void *p, size_t n)
{
    w->moved += n;
    w->unfair = w->unfair || x->eof || x->rst;
    if (x->in.n < TEXT_MAX) /* what is not understood is not kept for ever */
        put(&x->in, p, n);
    hear(w, x);
}

static bool blocks(world *w, bool *bounced)
{
    *bounced = w->bounce && !*bounced;
    return *bounced || (w->block && draw(w, 256) < w->block);
}

static bool call_fails(world *w)
{
    return ++w->calls == w->fail_at;
}

/* ---- the transport ---- */

typedef struct state {
    wire *x;
} state;

static sbx_code world_open(void *ctx, const void *config, uint32_t max_conns, sbx_fault *fault)
{
    (void)fault;
    *(world **)ctx = (world *)(uintptr_t)config;
    return max_conns <= WIRES ? SBX_OK : SBX_ERR_UNSUPPORTED;
}

static void world_shut(void *ctx)
{
    MUST((*(world **)ctx)->open == 0, "shut with connections open");
}

static sbx_io world_fail(sbx_fault *fault, sbx_code code)
{
    fault->code = code;
    fault->sys = 104;
    return SBX_IO_FAIL;
}

static bool connect_refused(world *w)
{
    return w->dead || (w->refuse >> (w->connects & 15) & 1);
}

static sbx_io world_connect(void *ctx, void *conn, const sbx_target *to, sbx_fault *fault)
{
    world *w = *(world **)ctx;
    state *s = (state *)conn;

    if (!s->x) {
        MUST(to->tag < WIRES && !w->wires[to->tag].used, "connect on a tag that is in use");
        s->x = &w->wires[to->tag];
        s->x->used = true;
        s->x->stuck = w->stick >> (w->connects & 15) & 1;
        s->x->rst = connect_refused(w);
        w->connects++;
        w->open++;
        w->moved++;
    }
    if (to->tls)
        return world_fail(fault, SBX_ERR_UNSUPPORTED);
    if (call_fails(w) || s->x->rst || w->dead)
        return world_fail(fault, SBX_ERR_CONNECT);
    if (s->x->stuck || blocks(w, &s->x->bounced_w)) {
        s->x->armed_w = true;
        return SBX_IO_WANT_WRITE;
    }
    s->x->open = true;
    return SBX_IO_OK;
}

static sbx_io world_recv(void *ctx, void *conn, void *p, size_t room, size_t *got, sbx_fault *fault)
{
    world *w = *(world **)ctx;
    wire *x = ((state *)conn)->x;

    MUST(room && x && x->open, "recv without room or connection");
    if (call_fails(w))
        return world_fail(fault, SBX_ERR_CONNECTION);
    if (!wire_readable(x) || (x->out_at < x->out.n && blocks(w, &x->bounced_r))) {
        x->armed_r = true;
        return SBX_IO_WANT_READ;
    }
    *got = wire_read(w, x, p, room);
    if (*got)
        return SBX_IO_OK;
    return x->rst ? world_fail(fault, SBX_ERR_CONNECTION) : SBX_IO_EOF;
}

static sbx_io world_send(void *ctx, void *conn, const void *p, size_t n, size_t *sent, sbx_fault *fault)
{
    world *w = *(world **)ctx;
    wire *x = ((state *)conn)->x;

    MUST(n && x && x->open, "send of nothing or without connection");
    if (call_fails(w))
        return world_fail(fault, SBX_ERR_CONNECTION);
    if (blocks(w, &x->bounced_w)) {
        x->armed_w = true;
        return SBX_IO_WANT_WRITE;
    }
    *sent = w->send_max && n > w->send_max ? 1 + draw(w, w->send_max) : n;
    wire_write(w, x, p, *sent);
    return SBX_IO_OK;
}

static void world_close(void *ctx, void *conn)
{
    world *w = *(world **)ctx;
    state *s = (state *)conn;

    MUST(s->x && s->x->used, "close of a connection that was never begun");
    wire_reset(s->x);
    s->x = NULL;
    w->open--;
    w->moved++;
}

static void world_end(world *w)
{
    w->dead = true;
    for (unsigned i = 0; i < WIRES; i++)
        w->wires[i].eof = true;
}

/* Connections in which something changed since the client was told to wait. */
static int world_ready(world *w, sbx_ready *ready, int max)
{
    int n = 0;

    for (uint32_t i = 0; i < WIRES && n < max; i++) {
        wire *x = &w->wires[i];
        unsigned bits = 0;

        if (!x->used)
            continue;
        if (x->armed_r && wire_readable(x))
            bits |= SBX_READABLE;
        if (x->armed_w && (!x->stuck || w->dead))
            bits |= SBX_WRITABLE;
        if (!bits)
            continue;
        x->armed_r = x->armed_r && !(bits & SBX_READABLE);
        x->armed_w = x->armed_w && !(bits & SBX_WRITABLE);
        ready[n].tag = i;
        ready[n++].bits = bits;
    }
    return n;
}

static int world_wait(void *ctx, int64_t timeout_ms, sbx_ready *ready, int max)
{
    world *w = *(world **)ctx;
    int n = world_ready(w, ready, max);

    if (n || !timeout_ms)
        return n;
    if (w->client) {
        const char *why = sim_client_stall(w->client);

        MUST(!why, why);
    }
    if (timeout_ms > 0) {
        if (++w->waits > 3000) /* held back for ever, or silent without pings */
            world_end(w);
        MUST(w->waits < 100000, "operations that never end");
        w->now += timeout_ms;
        w->barren = 0;
        return 0;
    }
    /* No limit: then the connections end, and something must come of it. */
    MUST(++w->barren < 1000, "the client waits for ever");
    world_end(w);
    return world_ready(w, ready, max);
}

static bool world_entropy(void *ctx, void *p, size_t n)
{
    world *w = *(world **)ctx;

    for (size_t i = 0; i < n; i++)
        ((unsigned char *)p)[i] = (unsigned char)(w->randoms * 31 + i * 7 + 1);
    return ++w->randoms != w->random_fail_at;
}

static int64_t world_mono(void *ctx)
{
    return (*(world **)ctx)->now;
}

static int64_t world_wall(void *ctx)
{
    return INT64_C(1760000000000) + (*(world **)ctx)->now;
}

#define WORLD_TRANSPORT(name, wait) { name, 0, sizeof(world *), 0, sizeof(state), NULL, world_open, world_shut, world_connect, world_recv, world_send, \
    world_close, NULL, wait, NULL, NULL, NULL, world_entropy, world_mono, world_wall }
static const sbx_transport world_waits = WORLD_TRANSPORT("fuzz", world_wait);
static const sbx_transport world_steps = WORLD_TRANSPORT("fuzz without wait", NULL);

#endif
