/* See migrate_target.h. */
#include "cmd/migrate_target.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t
now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until the socket is ready, or the time has come. */
static bool
wait_for(int fd, short events, int64_t until_ms)
{
	struct pollfd wait = {.fd = fd, .events = events};
	for (;;) {
		int64_t left = until_ms - now_ms();
		if (left < 0)
			left = 0;
		int ready = poll(&wait, 1, (int)left);
		if (ready > 0)
			return true;
		if (ready == 0 || errno != EINTR)
			return false;
	}
}

static bool
connect_one(struct target *t, const struct addrinfo *address, int64_t until_ms)
{
	int error = 0, on = 1;
	socklen_t size = sizeof(error);
	t->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
	if (t->fd < 0)
		return false;
	bool ok = connect(t->fd, address->ai_addr, address->ai_addrlen) == 0;
	/* As in Redis, a refusal of the last address is found by the first write. */
	if (!ok && errno == EINPROGRESS)
		ok = wait_for(t->fd, POLLOUT, until_ms) &&
			(address->ai_next == NULL ||
			 (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0));
	if (ok)
		(void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* it is but faster */
	else
		target_close(t);
	return ok;
}

bool
target_connect(struct target *t, struct bytes host, struct bytes port, int timeout_ms)
{
	enum { HOST_MAX = 255, PORT_MAX = 5 };
	char host_text[HOST_MAX + 1], port_text[PORT_MAX + 1];
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
	*t = (struct target){.fd = -1, .timeout_ms = timeout_ms};
	if (host.size > HOST_MAX || port.size > PORT_MAX)
		return false;
	snprintf(host_text, sizeof(host_text), "%.*s", (int)host.size, (const char *)host.data);
	snprintf(port_text, sizeof(port_text), "%.*s", (int)port.size, (const char *)port.data);
	if (getaddrinfo(host_text, port_text, &hints, &found) != 0)
		return false;
	int64_t until_ms = now_ms() + timeout_ms;
	bool ok = false;
	for (const struct addrinfo *a = found; a != NULL && !ok; a = a->ai_next)
		ok = connect_one(t, a, until_ms);
	freeaddrinfo(found);
	return ok;
}

bool
target_send(struct target *t, struct bytes data)
{
	while (data.size > 0) {
		ssize_t sent = send(t->fd, data.data, data.size, MSG_NOSIGNAL);
		if (sent > 0)
			data = bytes_of(data.data + sent, data.size - (size_t)sent);
		else if (errno == EINTR)
			continue;
		else if (errno != EAGAIN || !wait_for(t->fd, POLLOUT, now_ms() + t->timeout_ms))
			return false;
	}
	return true;
}

bool
target_read_line(struct target *t, char ret[TARGET_LINE_SIZE])
{
	int64_t until_ms = now_ms() + t->timeout_ms;
	size_t size = 0;
	for (;;) {
		const uint8_t *end = memchr(t->received, '\n', t->received_size);
		size_t taken = end != NULL ? (size_t)(end - t->received) + 1 : t->received_size;
		for (size_t i = 0; i < taken && size + 1 < TARGET_LINE_SIZE; i++)
			if (t->received[i] != '\r' && t->received[i] != '\n')
				ret[size++] = (char)t->received[i];
		memmove(t->received, t->received + taken, t->received_size - taken);
		t->received_size -= taken;
		ret[size] = '\0';
		if (end != NULL)
			return true;
		ssize_t got = recv(t->fd, t->received, sizeof(t->received), 0);
		if (got > 0)
			t->received_size = (size_t)got;
		else if (got == 0 || (errno != EAGAIN && errno != EINTR) ||
			 (errno == EAGAIN && !wait_for(t->fd, POLLIN, until_ms)))
			return false;
	}
}

void
target_close(struct target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	t->received_size = 0;
}
