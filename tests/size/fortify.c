/* Debian's libbearssl.a calls these of glibc; musl has none. */
#include <string.h>

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room);
void *__memset_chk(void *to, int c, size_t n, size_t room);

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room)
{
    (void)room;
    return memcpy(to, from, n);
}

void *__memset_chk(void *to, int c, size_t n, size_t room)
{
    (void)room;
    return memset(to, c, n);
}
