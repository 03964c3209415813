/* The libcurl transport: the conformance suite, then what is its own. */
#ifdef __has_include
#if __has_include("sandbox.h")
#include "sandbox.h"
#endif
#endif
#include "conformance.h"

#define SANDBOX_IMPLEMENTATION
#include "sandbox.h"
#include "sandbox_curl.h"

int main(void)
{
    static const sbxt_suite suite = {&sbx_curl, NULL, false, NULL};
    const struct CMUnitTest tests[] = {
        SBXT_CONFORMANCE,
    };
    sbxt_prepare(&suite);
    return cmocka_run_group_tests_name(sbx_curl.name, tests, NULL, NULL);
}
