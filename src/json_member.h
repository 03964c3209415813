/* ---- json: members of an object whose names are expected (private) ---- */
#ifndef SBXI_JSON_MEMBER_H
#define SBXI_JSON_MEMBER_H
#include "base.h"
#include "json.h"

#if !SBX_SMALL
/* Whether the next thing is a member of the object `depth` containers deep. It
   stays so for as long as sbxi_json_member takes members. */
SBXI_FN bool sbxi_json_at_member(const sbx_json *j, unsigned depth);
/* If the next member has this name and a value that is short, simple, whole in
   the input and followed by another member, takes both and returns the value's
   kind (NULL for {}, too); else MORE with nothing taken: sbx_json_next goes on. */
SBXI_FN sbx_json_kind sbxi_json_member(char **p, char *end, const char *name, size_t name_n, sbx_json_tok *tok);
#endif

/* Whether two texts of n bytes are equal. Two loads that overlap cover 4 to 16
   bytes: names are short, and a call to memcmp would cost more. */
SBXI_INLINE bool sbxi_json_same(const char *a, const char *b, size_t n)
{
#if !SBX_SMALL
    uint64_t x, y, u, v;
    uint32_t p, q, r, s;

    if (n >= 8 && n <= 16) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        memcpy(&u, a + n - 8, 8);
        memcpy(&v, b + n - 8, 8);
        return ((x ^ y) | (u ^ v)) == 0;
    }
    if (n >= 4 && n < 8) {
        memcpy(&p, a, 4);
        memcpy(&q, b, 4);
        memcpy(&r, a + n - 4, 4);
        memcpy(&s, b + n - 4, 4);
        return ((p ^ q) | (r ^ s)) == 0;
    }
    if (n > 16) {
        const char *last_a = a + n - 8, *last_b = b + n - 8;

        for (; a < last_a; a += 8, b += 8) {
            memcpy(&x, a, 8);
            memcpy(&y, b, 8);
            if (x != y)
                return false;
        }
        memcpy(&u, last_a, 8);
        memcpy(&v, last_b, 8);
        return u == v;
    }
#endif
    while (n--)
        if (*a++ != *b++)
            return false;
    return true;
}

#endif
