#include "wire.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int wire_send(int sock, const struct wire *w0, const void *payload, const int *fds, int nfds)
{
	struct wire w = *w0;
	int all[WIRE_MAX_FDS + 1], n = 0, mem = -1, r = 1;
	struct iovec iov[2] = { { &w, sizeof w }, { (void *)(uintptr_t)payload, w.n } };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof all)];
	} control;
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	for (; n < nfds; n++)
		all[n] = fds[n];
	w.in_memfd = w.n > WIRE_INLINE;
	if (w.in_memfd) {
		mem = memfd_create("wire", MFD_CLOEXEC);
		if (mem < 0 || !write_all(mem, payload, w.n)) {
			close_fd(&mem);
			return -1;
		}
		all[n++] = mem;
		m.msg_iovlen = 1;
	}
	if (n) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof control);
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), all, sizeof(int) * (size_t)n);
	}
	while (sendmsg(sock, &m, MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		r = errno == EAGAIN || errno == ETOOMANYREFS ? 0 : -1;
		break;
	}
	close_fd(&mem);
	return r;
}

static bool read_memfd(int fd, struct buf *payload, size_t n)
{
	struct stat st;
	size_t got = 0;

	if (fstat(fd, &st) < 0 || st.st_size < 0 || (size_t)st.st_size < n)
		return false;
	buf_reserve(payload, n);
	while (got < n) {
		ssize_t r = pread(fd, payload->p + got, n - got, (off_t)got);

		if (r <= 0)
			return false;
		got += (size_t)r;
	}
	payload->n = n;
	return true;
}

int wire_recv(int sock, struct wire *w, struct buf *payload, int fds[WIRE_MAX_FDS], int *nfds)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * (WIRE_MAX_FDS + 1))];
	} control;
	int all[WIRE_MAX_FDS + 1], n = 0;
	struct iovec iov[2];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t r;

	payload->n = 0;
	buf_reserve(payload, WIRE_INLINE);
	iov[0] = (struct iovec){ w, sizeof *w };
	iov[1] = (struct iovec){ payload->p, WIRE_INLINE };
	do
		r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN ? 0 : -1;
	if ((size_t)r < sizeof *w)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(all, CMSG_DATA(c), sizeof(int) * (size_t)n);
	}
	payload->n = (size_t)r - sizeof *w;
	if (w->in_memfd) {
		bool ok = n > 0 && read_memfd(all[n - 1], payload, w->n);

		if (n > 0)
			close(all[--n]);
		if (!ok) {
			while (n > 0)
				close(all[--n]);
			return -1;
		}
	}
	*nfds = n;
	memcpy(fds, all, sizeof(int) * (size_t)n);
	return 1;
}

const char *wire_next(const struct buf *payload, size_t *at)
{
	const char *s = payload->p + *at;
	const char *end = *at < payload->n ? memchr(s, 0, payload->n - *at) : NULL;

	if (!end)
		return NULL;
	*at += (size_t)(end - s) + 1;
	return s;
}
