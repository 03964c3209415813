/* printf and fprintf with what the examples use of them (%s, %.*s, %d, %lu,
   %llu, %%), for a small static program: the C library's bring floating point,
   wide characters and positions with them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One conversion, behind its %; where it ends. */
static const char *convert(FILE *f, const char *p, va_list *args)
{
    char digits[24], *at = digits + sizeof digits;
    unsigned long long v;
    const char *text;
    size_t n = (size_t)-1;
    int longs = 0, d;

    if (p[0] == '.' && p[1] == '*') {
        n = (size_t)va_arg(*args, int);
        p += 2;
    }
    while (*p == 'l') {
        longs++;
        p++;
    }
    if (*p == 's') {
        text = va_arg(*args, const char *);
        fwrite(text, 1, n == (size_t)-1 ? strlen(text) : strnlen(text, n), f);
    } else if (*p == 'd' || *p == 'u') {
        d = longs ? 0 : va_arg(*args, int);
        v = longs > 1 ? va_arg(*args, unsigned long long) : longs ? va_arg(*args, unsigned long) : d < 0 ? 0ull - (unsigned long long)d : (unsigned long long)d;
        do
            *--at = (char)('0' + v % 10);
        while ((v /= 10) != 0);
        if (d < 0)
            *--at = '-';
        fwrite(at, 1, (size_t)(digits + sizeof digits - at), f);
    } else {
        fwrite(p, 1, 1, f);
    }
    return p + 1;
}

static int print(FILE *f, const char *format, va_list *args)
{
    while (*format) {
        size_t n = strcspn(format, "%");

        fwrite(format, 1, n, f);
        format += n;
        if (*format)
            format = convert(f, format + 1, args);
    }
    return 0;
}

int printf(const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = print(stdout, format, &args);
    va_end(args);
    return n;
}

int fprintf(FILE *f, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = print(f, format, &args);
    va_end(args);
    return n;
}
