/* A world for simulations: a transport whose connections end in a scripted
   server in the same process, on a virtual clock. `wait` jumps to whatever
   comes next and never sleeps; every chance is drawn from one seeded
   generator, so a seed is a run.

   The server speaks HTTP/1.1 and WebSocket on its own; of the library it takes
   only the WebSocket framer in its server role. It answers from the script
   first (sim_expect), then as a small LangSmith service: boxes, files,
   commands, services and links. */
#ifndef SIM_PEER_H
#define SIM_PEER_H

#include "sandbox.h"

#define SIM_API "http://api.test/v2/sandboxes"
#define SIM_NEVER INT64_MAX
#define SIM_PATTERN (1u << 20)

typedef struct sim sim;
typedef struct sim_conn sim_conn;
typedef struct sim_command sim_command;
typedef struct sim_tunnel sim_tunnel;

/* How a connection ends. */
typedef enum sim_end { SIM_OPEN, SIM_EOF, SIM_RST, SIM_CLOSE_1000, SIM_CLOSE_1001, SIM_CLOSE_1011 } sim_end;

/* How an answer that is an event stream is framed. */
typedef enum sim_events { SIM_EVENTS_NONE, SIM_EVENTS_CHUNKED, SIM_EVENTS_TO_END } sim_events;

/* Bytes that grow. */
typedef struct sim_bytes {
    char *p;
    size_t n, cap;
} sim_bytes;

void sim_put(sim_bytes *b, const void *p, size_t n);
void sim_puts(sim_bytes *b, const char *z);
void sim_putf(sim_bytes *b, const char *format, ...);

/* Chances are in thousandths, times in ms; 0 = does not happen. */
typedef struct sim_knobs {
    uint32_t recv_max, send_max; /* a call moves 1..n bytes; 0 = all */
    uint32_t block;       /* a call that could go on says WANT_… once */
    uint32_t again;       /* a ready connection is reported although nothing changed */
    uint32_t connect_ms;  /* a connect takes 0..n */
    uint32_t delay_ms;    /* an answer takes 0..n */
    uint32_t drop;        /* a message is a connection's last, or only begins */
    uint32_t drop_open;   /* an upgrade fails: refused, cut, 503 */
    uint32_t whole;       /* messages up to this size fit into the client's buffer; 0 = all */
    uint32_t odd;         /* unknown messages, fields and pings between messages */
} sim_knobs;

/* What the server does with a request; the first entry that fits counts. */
typedef struct sim_script {
    const char *match;  /* "GET /boxes": method and a part of the target; NULL = any */
    int skip;           /* so many fitting requests pass first */
    int times;          /* 0 = once, -1 = always */
    int status;
    const char *head;   /* further lines, each with CRLF */
    const char *body;   /* NULL = "" */
    size_t body_n;      /* 0 = strlen */
    const char *raw;    /* verbatim instead of status, head and body */
    size_t raw_n;
    bool chunked, close;
    bool at_head;       /* before the body came; what comes of it is dropped */
    bool stop_reading;  /* with at_head: nothing more is taken */
    bool no_answer;
    int64_t delay_ms;
    int64_t cut;        /* bytes of the answer that are sent; 0 = all */
    sim_end end;        /* and then */
    void (*make)(sim *s, sim_conn *c); /* writes the answer itself */
} sim_script;
void sim_expect(sim *s, const sim_script *e);

/* A command of the service, by its text. Either its output is a piece of the
   pattern for each stream, or `talk` says line by line what passes:
     {…}            a text message; $ID is the command's id
     ?TEXT          the client's next message holds TEXT
     @ms N          pause      @eof  @rst   the end
     @close N       close frame, then EOF
     @hex …         bytes as they are
     @frag N {…}    in fragments of N bytes
     @big S N FROM OFF  a message of N bytes of the pattern, named OFF (S: stdout, stderr)
     @huge N        a message of N times x       @ping N   so many pings
   talk[i] is for the i-th connection, the last one for all after it. */
typedef struct sim_plan {
    const char *command; /* NULL = any */
    const char *id;      /* the server's own choice instead of the client's id */
    const char *talk[10];
    uint64_t from[2], n[2]; /* pieces of the pattern */
    uint32_t chunk;      /* message sizes 1..n */
    uint32_t every_ms;   /* between two pieces of output: 0..n */
    uint32_t ring;       /* bytes kept a stream (as events: before an acknowledgement); 0 = all */
    uint32_t pieces;     /* output comes in so many steps */
    int exit_code;
    bool until_kill;     /* it ends when killed, with -9 */
    bool until_eof;      /* or when its input ends */
    bool echo;           /* input comes back; it is read while the output is */
} sim_plan;
void sim_add_plan(sim *s, const sim_plan *p);

struct sim_command {
    char id[64];
    const sim_plan *plan;
    uint32_t pid;
    uint64_t made[2];    /* output so far */
    int64_t next_at;
    uint32_t steps;
    int exit_code;
    bool ended;
    sim_conn *conn;
    unsigned fruitless;  /* connections in a row that brought nothing */
    unsigned connections, executes;
    bool sse;            /* it is streamed as events */
    uint64_t acked[2], sent[2]; /* then: what the client has, and was sent at most */
    unsigned acks;       /* asked for */
    sim_bytes log;       /* what the client sent: E R(o,e) S K Z80x24 I A(channel base64) C(channel ) */
    sim_bytes heard;     /* its standard input */
};

typedef struct sim_box {
    char name[128];
    char status[16];
    bool gone;
} sim_box;

typedef struct sim_file {
    char path[256];
    sim_bytes data;
    unsigned version;
} sim_file;

typedef struct sim_request {
    char method[16];
    char target[2048];
    char *head; /* with its lines */
    char *body;
    size_t body_n;
    int64_t at;
} sim_request;

typedef struct sim_seg {
    size_t end;
    int64_t at;
} sim_seg;

typedef enum sim_fault_kind { SIM_FAULT_NONE, SIM_FAULT_FAIL, SIM_FAULT_EOF } sim_fault_kind;

struct sim_conn {
    sim *world;
    uint32_t tag;
    int64_t open_at;
    bool connected, closed;       /* closed: by the client */
    bool armed_r, armed_w, again_r, again_w, refused, for_good;
    bool no_read;                 /* the client's bytes are not taken */
    unsigned watched;             /* by sim_level */
    sim_bytes in, out;
    size_t out_at;
    sim_seg *segs;
    size_t seg_n, seg_cap, seg_at;
    sim_end end;
    int64_t end_at;
    /* HTTP */
    sim_request req;
    size_t body_left, requests;
    bool in_body, chunked_body, dropping, close_after;
    /* WebSocket */
    bool ws, ws_closed;
    sbx_ws codec;
    sim_bytes msg;
    sim_command *command;
    sim_tunnel *tunnel;
    const char *talk;
    int64_t talk_at;
    bool talk_waits;
    uint64_t sent[2];
    uint64_t cursor[2];
    bool exit_sent;
    sim_events events;
    size_t started_end;
    unsigned pongs, pings; /* from the client */
    int close_code;        /* the client's close frame; 0 = none */
    sim_conn *next;
};

struct sim {
    int64_t now, wall0;
    uint64_t rng, seed;
    sim_knobs knobs;
    sim_conn **conns;      /* by tag */
    uint32_t conn_max;
    uint32_t scan;
    uint32_t open_conns, connects, accepted;
    sim_script scripts[64];
    unsigned script_n;
    sim_plan *plans;
    unsigned plan_n, plan_cap;
    sim_command **commands;
    unsigned command_n, command_cap;
    sim_box boxes[64];
    unsigned box_n;
    unsigned ready_after;  /* status polls until a box or snapshot is ready */
    unsigned snapshot_n;
    sim_file files[16];
    unsigned file_n;
    sim_request *log;      /* the first requests, up to log_max */
    unsigned log_n, log_cap, log_max;
    unsigned request_n;
    char complaint[400];   /* the client did something wrong, or a talk did not fit */
    int64_t idle_calls;
    /* one transport call fails */
    uint64_t calls, fail_at;
    sim_fault_kind fail_kind;
    bool fail_all;         /* and every one after it */
    bool no_entropy, no_open;
    int close_code;        /* of the last close frame that came */
    bool mute;             /* the server answers no close frame */
    uint64_t entropy_calls, entropy_fail_at;
    bool entropy_fail_all; /* and every one after it */
    unsigned pongs, pings;
    /* Tunnels. Ports: 1 to 3 are refused with that number, 4 with one that is
       unknown, 5 resets, 6 ends, 8 says nothing; 7 echoes, 9 listens, 20 says
       100 bytes and resets, 19 and those above 20 say tunnel_make bytes, 10
       exceeds the window. */
    sim_conn *tunnel; /* the last one */
    uint64_t tunnel_make, tunnel_heard;
    uint64_t tunnel_extra;  /* what the client's windows have above 256 KiB */
    unsigned tunnels, tunnel_dials, tunnel_fins, tunnel_resets, tunnel_pings, tunnel_pongs;
    int tunnel_goaway;      /* of the client, -1 = none came */
    bool tunnel_mute;       /* pings are not answered */
    bool tunnel_no_credit;  /* nothing is credited but by sim_tunnel_credit */
    bool tunnel_greets;     /* port 7 speaks first */
    bool tunnel_waits;      /* dials are not answered but by sim_tunnel_accept */
    sbx_client *client;    /* checked whenever it goes to sleep */
    void (*before_sleep)(sim *s); /* a test's own look, NULL = none */
    void (*in_call)(sim *s);      /* called from inside recv */
    bool woken;
    bool level;            /* of sim_level: reports what is watched, for as long as it is so */
};

/* The second one reports as poll() does: exactly what `watch` asked for. */
extern const sbx_transport sim_transport, sim_level;
extern const unsigned char *sim_pattern(void);

sim *sim_new(uint64_t seed);
void sim_free(sim *s);
uint32_t sim_draw(sim *s, uint32_t n); /* 0..n-1 */
bool sim_chance(sim *s, uint32_t thousandths);
void sim_complain(sim *s, const char *format, ...);

/* The client's internals (impl.c): NULL, or what is wrong. */
const char *sim_client_busy(sbx_client *c);  /* something is held though nothing runs */
const char *sim_client_stall(sbx_client *c); /* an operation that nothing will wake */
size_t sim_longest_option(void);             /* what sbx_error.field has to hold */

/* ---- between the peer's parts ---- */

void sim_conn_write(sim_conn *c, const void *p, size_t n, int64_t at);
void sim_conn_end(sim_conn *c, sim_end end, int64_t at);
size_t sim_conn_backlog(const sim_conn *c);
void sim_http_input(sim_conn *c);
void sim_answer(sim_conn *c, int status, const char *head, const char *body, size_t n, int64_t at);
const char *sim_header(const sim_request *r, const char *name, char *buf, size_t cap);
void sim_service(sim_conn *c);
void sim_upgrade(sim_conn *c);
void sim_ws_input(sim_conn *c);
void sim_ws_frame(sim_conn *c, unsigned opcode, bool fin, const void *p, size_t n, int64_t at);
void sim_ws_text(sim_conn *c, const char *z, int64_t at);
void sim_command_run(sim *s, sim_command *k);
void sim_talk(sim_conn *c);
int64_t sim_command_next(const sim_command *k);
void sim_conn_gone(sim_conn *c);
void sim_commands_free(sim *s);
void sim_tunnel_begin(sim_conn *c);
void sim_tunnel_input(sim_conn *c, const char *p, size_t n);
void sim_tunnel_send(sim_conn *c, unsigned type, unsigned flags, uint32_t id, uint32_t n);
void sim_tunnel_credit(sim_conn *c, uint32_t n);
void sim_tunnel_accept(sim_conn *c);
void sim_tunnel_free(sim_conn *c);
unsigned char sim_tunnel_byte(uint16_t port, uint64_t at);
/* peer_sse.c: its talks are described there */
void sim_sse(sim_conn *c, bool resume);
void sim_sse_run(sim *s, sim_command *k);
void sim_sse_talk(sim_conn *c);
void sim_base64(sim_bytes *out, const void *data, size_t n);
sim_command *sim_command_by_id(sim *s, const char *id);
sim_command *sim_command_new(sim *s, const char *id, const char *text);
void sim_truncate(sim_conn *c, size_t n);
void sim_text_of(const char *msg, const char *key, sim_bytes *out);
unsigned long long sim_number_of(const char *msg, const char *key);
void sim_pattern_text(sim *s, sim_bytes *out, uint64_t from, size_t n);
size_t sim_pattern_cut(uint64_t from, size_t n);

#endif
