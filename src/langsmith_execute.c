#include "langsmith_stream.h"

/* A command by POST …/execute: one request, and an answer with all of its output. */

#if !SBX_NO_EXECUTE
static void sbxi_exec_prepare(sbx_client *c, sbxi_op *op)
{
    (void)c;
    op->block->answer.exec.out = op->u.http.sink;
    op->block->answer.exec.err = op->u.http.err;
}

static bool sbxi_exec_after(sbx_client *c, sbxi_op *op)
{
    (void)c;
    op->u.http.executed = true;
    return false;
}

static void sbxi_exec_finished(sbx_client *c, sbxi_op *op)
{
    sbxi_http *h = &op->u.http;
    sbx_result *r = (sbx_result *)h->out;
    sbxi_sink none[2];
    bool ok = h->executed && op->fail.code == SBX_OK;

    if (op->block && op->block->dec.model == &sbxi_exec_model) {
        none[0] = op->block->answer.exec.out;
        none[1] = op->block->answer.exec.err;
    } else {
        none[0] = h->sink;
        none[1] = h->err;
    }
    if (ok && r) {
        memset(r, 0, sizeof *r);
        r->exit_code = op->block->answer.exec.exit_code;
    }
    sbxi_result_write(c, op, r, none, ok);
}

static const sbxi_row sbxi_execute_row = { "run", "POST", SBXI_APART("/execute"), "", SBXI_BASE_BOX, SBXI_RETRY_ONCE, SBXI_ANSWER_MODEL, SBX_RESOURCE_SANDBOX, 0, &sbxi_exec_model, &sbxi_data_rules, sbxi_exec_prepare, sbxi_exec_after, NULL, NULL, NULL, sbxi_exec_finished };

static sbx_op sbxi_run_http(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *o, sbx_result *out);

static const struct sbxi_via sbxi_via_execute = {
    NULL, NULL, &sbxi_execute_http_schema, NULL, sbxi_run_http,
    SBXI_HAS_PTY | SBXI_HAS_AGENT | SBXI_HAS_INPUT | SBXI_HAS_ID | SBXI_HAS_KILL | SBXI_HAS_IDLE | SBXI_HAS_TTL | SBXI_HAS_DATA | SBXI_HAS_ARGV,
    SBX_ERR_ARGUMENT, SBXI_T("must be SBX_VIA_WS or SBX_VIA_SSE: SBX_VIA_HTTP belongs to sbx_run"),
    SBXI_T("is not possible over HTTP: leave via at SBX_VIA_WS")
};

static sbx_op sbxi_run_http(sbx_client *c, const sbx_box *box, sbx_str command, const sbx_run_opts *o, sbx_result *out)
{
    const char *why, *bad;
    sbxi_build b;

    if (!sbxi_build_begin(&b, c, &sbxi_execute_row, &o->call))
        return b.refused;
    bad = sbxi_run_bad(&sbxi_via_execute, o, command, &why);
    if (bad)
        sbxi_build_refuse(&b, SBX_ERR_ARGUMENT, bad, why);
    sbxi_build_box(&b, box);
    sbxi_build_headers(&b, &o->call);
    sbxi_run_json(&b, &sbxi_via_execute, command, o);
    if (b.op && sbxi_run_sinks(&b, o, &b.op->u.http.sink, &b.op->u.http.err)) {
        b.op->u.http.out = out;
        if (!o->call.timeout_ms)
            b.op->timeout_ms = o->timeout_s < 0 ? SBX_FOREVER : SBXI_MIN(o->timeout_s ? o->timeout_s : 60, 1000000) * 1000 + 10000;
    }
    return sbxi_build_end(&b);
}
#else
static const struct sbxi_via sbxi_via_execute = {
    NULL, NULL, NULL, NULL, NULL, 0, SBX_ERR_UNSUPPORTED, SBXI_T("SBX_VIA_HTTP is not in this build (SBX_NO_EXECUTE)"), NULL
};
#endif

SBX_API const struct sbxi_via *sbx_via_http(void)
{
    return &sbxi_via_execute;
}
