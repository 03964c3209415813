/* The POSIX transport without a resolver thread. */
#define SBX_POSIX_NO_THREADS 1
#include "test_posix.c"
