/* The POSIX transport over poll(), as it is where there is no epoll. */
#define SBX_POSIX_POLL 1
#include "test_posix.c"
