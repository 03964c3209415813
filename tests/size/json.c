/* Size of the JSON reader and writer alone: a message read and answered. */
#include "sandbox.h"

extern char in[], out[];
char in[256], out[256];

int main(void)
{
    sbx_json j;
    sbx_json_tok tok;
    sbx_jsonw w;
    char *p = in;
    int64_t i = 0;
    uint64_t u = 0;
    sbx_json_kind kind;

    sbx_jsonw_init(&w, out, sizeof out);
    sbx_jsonw_begin(&w, '{');
    sbx_json_init(&j, 0);
    while ((kind = sbx_json_next(&j, &p, in + sizeof in, &tok)) != SBX_JSON_DONE && kind != SBX_JSON_ERROR && kind != SBX_JSON_MORE) {
        if (kind == SBX_JSON_KEY)
            sbx_jsonw_key(&w, sbx_sn(tok.p, tok.n));
        else if (kind == SBX_JSON_STRING)
            sbx_jsonw_str(&w, sbx_sn(tok.p, tok.n));
        else if (kind == SBX_JSON_NUMBER && sbx_json_i64(sbx_sn(tok.p, tok.n), &i))
            sbx_jsonw_i64(&w, i);
        else if (kind == SBX_JSON_NUMBER && sbx_json_u64(sbx_sn(tok.p, tok.n), &u))
            sbx_jsonw_u64(&w, u);
        else if (kind == SBX_JSON_TRUE)
            sbx_jsonw_bool(&w, true);
        else if (kind == SBX_JSON_NULL)
            sbx_jsonw_null(&w);
    }
    sbx_json_end(&j, &tok);
    sbx_jsonw_end(&w, '}');
    return w.error;
}
