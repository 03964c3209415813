/* ---- error: codes and the full error (public) ---- */
#ifndef SBX_ERROR_H
#define SBX_ERROR_H
#include "types.h"

/* X(NAME, text): every code that a call can return, with its default text.
   SBX_ERR_TLS comes from a TLS transport or sbx_port_failed. */
#define SBX_CODES(X) \
    X(OK, "no error") \
    /* the caller's side; nothing was sent */ \
    X(ERR_ARGUMENT, "an argument or option is not allowed") \
    X(ERR_NO_BUFFER, "output has nowhere to go: give a buffer, or ask for the allocator") \
    X(ERR_TOO_LARGE, "larger than the client's configured memory allows") \
    X(ERR_FULL, "no free slot: pull events of finished operations, or raise the limit in the description") \
    X(ERR_STATE, "not possible in this state") \
    X(ERR_HANDLE, "the handle is stale or was never valid") \
    X(ERR_MEMORY, "the memory given is smaller than sbx_client_size() says, or the allocator refused") \
    X(ERR_UNSUPPORTED, "not supported by this build, transport or server") \
    X(ERR_CANCELLED, "cancelled by the caller") \
    X(ERR_CLOSED, "the client is shutting down") \
    /* time and transport */ \
    X(ERR_DEADLINE, "the deadline passed") \
    X(ERR_RESOLVE, "the host name could not be resolved") \
    X(ERR_CONNECT, "the connection could not be made") \
    X(ERR_CONNECTION, "the connection was lost") \
    X(ERR_TLS, "the TLS session failed") \
    X(ERR_ENTROPY, "no random bytes: the transport has none, or sbx_port_seed is due") \
    X(ERR_PROTOCOL, "the peer broke the protocol") \
    X(ERR_OUTCOME, "the answer was lost: it is not known whether the request was carried out") \
    /* the service's answers */ \
    X(ERR_AUTH, "the API key was refused") \
    X(ERR_PERMISSION, "permission denied") \
    X(ERR_NOT_FOUND, "not found") \
    X(ERR_NO_ENDPOINT, "the server does not know this call: check the endpoint, or its API is of another generation") \
    X(ERR_CONFLICT, "the name is taken, or the state forbids it") \
    X(ERR_EXISTS, "it exists already") \
    X(ERR_IN_USE, "it is in use") \
    X(ERR_VALIDATION, "the server refused a value") \
    X(ERR_QUOTA, "a quota or rate limit is exhausted") \
    X(ERR_CREATION, "the sandbox or snapshot could not be created") \
    X(ERR_NOT_READY, "the sandbox is not ready") \
    X(ERR_TIMEOUT, "the resource was not ready in time") \
    X(ERR_SERVER, "the server failed") \
    X(ERR_OPERATION, "the operation failed inside the sandbox") \
    X(ERR_RANGE, "the range lies outside the file, or outside the output that the server keeps") \
    X(ERR_CHANGED, "the file changed between two parts of a transfer") \
    X(ERR_COMMAND, "the command could not be run") \
    X(ERR_COMMAND_TIMEOUT, "the command ran into its timeout") \
    X(ERR_COMMAND_NOT_FOUND, "the server does not know this command id (any more)") \
    X(ERR_SESSION_EXPIRED, "the command's session expired") \
    X(ERR_PORT_DENIED, "the sandbox does not let this port be reached") \
    X(ERR_DIAL, "nothing answers at this port inside the sandbox") \
    X(ERR_TUNNEL_VERSION, "the server speaks another version of the tunnel's protocol")

#define SBXI_CODE_ENUM(name, text) SBX_##name,
typedef enum sbx_code { SBX_CODES(SBXI_CODE_ENUM) SBX_CODE_COUNT } sbx_code;
#undef SBXI_CODE_ENUM

/* Which layer found the error. */
typedef enum sbx_layer {
    SBX_LAYER_NONE,
    SBX_LAYER_LOCAL,     /* arguments and limits of this client */
    SBX_LAYER_TRANSPORT, /* names, sockets, TLS */
    SBX_LAYER_HTTP,
    SBX_LAYER_WS,
    SBX_LAYER_JSON,
    SBX_LAYER_SERVICE    /* the server's own answer */
} sbx_layer;

/* What was not found or in conflict. */
typedef enum sbx_resource {
    SBX_RESOURCE_NONE,
    SBX_RESOURCE_SANDBOX,
    SBX_RESOURCE_FILE,
    SBX_RESOURCE_COMMAND,
    SBX_RESOURCE_SNAPSHOT,
    SBX_RESOURCE_TEMPLATE,
    SBX_RESOURCE_VOLUME,
    SBX_RESOURCE_POOL,
    SBX_RESOURCE_REGISTRY
} sbx_resource;

/* Which quota an SBX_ERR_QUOTA is about; NONE = a rate limit, or one that the
   server's text does not name. */
typedef enum sbx_quota {
    SBX_QUOTA_NONE,
    SBX_QUOTA_SANDBOX_COUNT,
    SBX_QUOTA_CPU,
    SBX_QUOTA_MEMORY,
    SBX_QUOTA_VOLUME_COUNT,
    SBX_QUOTA_STORAGE
} sbx_quota;

/* Everything known of a failure. Plain data, nothing to free; texts are
   NUL-terminated and cut at a character border. The library puts neither keys
   nor header values into it; `text` can be the server's own words. Under
   SBX_NO_ERROR_TEXT `text` stays empty, and so does `field` where it would
   name an option that this client refused; the rest is the same. */
typedef struct sbx_error {
    sbx_code code;
    sbx_layer layer;
    sbx_resource resource;
    sbx_quota quota;
    int status;             /* HTTP status, or the WebSocket close code; 0 = none */
    int sys;                /* the transport's own number (errno); 0 = none */
    int64_t retry_after_ms; /* the answer's Retry-After, at most a day; -1 = none */
    bool sent;              /* the request, or a part of it, was sent */
    bool cut;               /* `text` is shorter than what the server said */
    uint8_t attempts;       /* tries made, the first included */
    char operation[24];     /* the function called, without sbx_: "create", "run", "wait_ready", … */
    char field[80];         /* the option or field that was refused: "proxy.rules[2].headers[0].value" (an option of ours is never cut) */
    char type[48];          /* the service's own error type */
    char text[256];         /* what happened and what to do; of a request refused for several reasons all of them, `field` is the first's */
} sbx_error;

SBX_EXTERN_C_BEGIN

/* "SBX_ERR_AUTH" and the like; never NULL. */
SBX_API const char *sbx_code_name(sbx_code code);
/* The code's default text; "" under SBX_NO_ERROR_TEXT. */
SBX_API const char *sbx_code_text(sbx_code code);

SBX_EXTERN_C_END
#endif
