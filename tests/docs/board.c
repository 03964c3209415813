/* The board of README's modem.c, played by sockets. It hands out little at a
   time, and says "not yet" before each answer, so that every WANT is met. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINES 4

static struct {
    int fd, reads, writes;
} lines[LINES + 1];

int modem_dial(const char *host, int port);
int modem_state(int line);
int modem_read(int line, void *p, int room);
int modem_write(int line, const void *p, int n);
void modem_hang_up(int line);
void modem_sleep(int64_t ms);
int64_t modem_ms(void);
bool modem_random(void *p, size_t n);

int modem_dial(const char *host, int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int line = 1;

    while (line <= LINES && lines[line].fd)
        line++;
    if (line > LINES || inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return 0;
    lines[line].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (lines[line].fd <= 0)
        abort();
    if (connect(lines[line].fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        modem_hang_up(line);
        return 0;
    }
    return line;
}

int modem_state(int line)
{
    struct pollfd p = { .fd = lines[line].fd, .events = POLLOUT };
    int err = 0;
    socklen_t n = sizeof err;

    if (poll(&p, 1, 0) <= 0)
        return 0;
    getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &err, &n);
    return err ? -1 : 1;
}

int modem_read(int line, void *p, int room)
{
    ssize_t n;

    if (++lines[line].reads & 1)
        return 0;
    n = recv(lines[line].fd, p, room > 100 ? 100 : (size_t)room, 0);
    return n > 0 ? (int)n : n == 0 ? -1 : errno == EAGAIN ? 0 : -2;
}

int modem_write(int line, const void *p, int n)
{
    ssize_t sent;

    if (++lines[line].writes & 1)
        return 0;
    sent = send(lines[line].fd, p, n > 100 ? 100 : (size_t)n, MSG_NOSIGNAL);
    return sent >= 0 ? (int)sent : errno == EAGAIN ? 0 : -2;
}

void modem_hang_up(int line)
{
    if (!lines[line].fd)
        abort();
    close(lines[line].fd);
    lines[line].fd = 0;
}

/* It may wake early: a line that said "not yet" has changed at once. */
void modem_sleep(int64_t ms)
{
    struct timespec t = { 0, 200000 };

    if (ms)
        nanosleep(&t, NULL);
}

int64_t modem_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool modem_random(void *p, size_t n)
{
    return getrandom(p, n, 0) == (ssize_t)n;
}
