/* parts: text */
/* Workloads for callgrind: count_text NAME, counted in
   count_NAME. */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define COUNT __attribute__((noinline))
#else
#define COUNT
#endif

enum { TEXT_N = 64, TEXT_BYTES = 16384 };
static char text[TEXT_N][TEXT_BYTES];
static uint64_t random_state = 1;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((random_state >> 33) % n);
}

/* most: the longest character. */
static void make(unsigned least, unsigned most)
{
    static const char *const characters[5] = { "", "x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80" };
    for (size_t i = 0; i < TEXT_N; i++)
        for (size_t k = 0; k < TEXT_BYTES;) {
            unsigned n = least + random_below(most - least + 1);
            if (k + n > TEXT_BYTES)
                n = 1;
            memcpy(text[i] + k, characters[n], n);
            if (n == 1)
                text[i][k] = (char)(' ' + random_below(95));
            else
                text[i][k + n - 1] = (char)(0x80 + random_below(64));
            k += n;
        }
}

static unsigned checked;

static void check_all(void)
{
    for (size_t i = 0; i < TEXT_N; i++) {
        uint32_t state = 0;
        if (!sbxi_utf8(&state, text[i], TEXT_BYTES) || state)
            exit(2);
    }
}

/* One function a workload, each different, or the compiler makes them one. */
COUNT void count_utf8_ascii(void)
{
    check_all();
    checked += 1;
}

COUNT void count_utf8_mixed(void)
{
    check_all();
    checked += 2;
}

COUNT void count_utf8_latin(void)
{
    check_all();
    checked += 3;
}

COUNT void count_utf8_cjk(void)
{
    check_all();
    checked += 4;
}

int main(int argc, char **argv)
{
    const char *name = argc == 2 ? argv[1] : "";
    if (!strcmp(name, "utf8_ascii")) {
        make(1, 1);
        count_utf8_ascii();
    } else if (!strcmp(name, "utf8_mixed")) {
        make(2, 4);
        count_utf8_mixed();
    } else if (!strcmp(name, "utf8_latin")) {
        make(1, 2);
        count_utf8_latin();
    } else if (!strcmp(name, "utf8_cjk")) {
        make(3, 3);
        count_utf8_cjk();
    } else {
        fprintf(stderr, "usage: count_text utf8_ascii|utf8_mixed|utf8_latin|utf8_cjk\n");
        return 1;
    }
    printf("count_text %s bytes=%lu\n", name, (unsigned long)sizeof text);
    return checked == 0;
}
