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

#include "net/net.h"

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

/* The socket of a connection that is made, or -1. */
static int
connect_one(const struct addrinfo *address, int64_t until_ms)
{
	int error = 0, on = 1;
	socklen_t size = sizeof(error);
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
	if (fd < 0)
		return -1;
	bool ok = connect(fd, address->ai_addr, address->ai_addrlen) == 0;
	/* As in Redis, a refusal of the last address is found by the first write. */
	if (!ok && errno == EINPROGRESS)
		ok = wait_for(fd, POLLOUT, until_ms) &&
			(address->ai_next == NULL ||
			 (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0));
	if (!ok) {
		close(fd);
		return -1;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* it is but faster */
	return fd;
}

/* Why a handshake fails is not told: the caller's reply is Redis'. */
static bool
shake_hands(struct target *t, int64_t until_ms)
{
	char why[256];
	for (;;) {
		switch (transport_establish(&t->transport, why, sizeof(why))) {
		case TRANSPORT_READY:
			return true;
		case TRANSPORT_AWAITS_INPUT:
			if (!wait_for(t->transport.fd, POLLIN, until_ms))
				return false;
			break;
		case TRANSPORT_AWAITS_OUTPUT:
			if (!wait_for(t->transport.fd, POLLOUT, until_ms))
				return false;
			break;
		case TRANSPORT_FAILED:
			return false;
		}
	}
}

/* Takes the socket over. */
static bool
open_transport(struct target *t, int fd, struct net *tls, int64_t until_ms)
{
	t->transport = transport_socket(fd);
	t->is_open = true;
	return tls == NULL ||
		(net_connect_tls(tls, fd, &t->transport) == SETT_OK && shake_hands(t, until_ms));
}

bool
target_connect(struct target *t, struct bytes host, struct bytes port, int timeout_ms, struct net *tls)
{
	enum { HOST_MAX = 255, PORT_MAX = 5 };
	char host_text[HOST_MAX + 1], port_text[PORT_MAX + 1];
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
	*t = (struct target){.timeout_ms = timeout_ms};
	if (host.size > HOST_MAX || port.size > PORT_MAX)
		return false;
	snprintf(host_text, sizeof(host_text), "%.*s", (int)host.size, (const char *)host.data);
	snprintf(port_text, sizeof(port_text), "%.*s", (int)port.size, (const char *)port.data);
	if (getaddrinfo(host_text, port_text, &hints, &found) != 0)
		return false;
	int64_t until_ms = now_ms() + timeout_ms;
	int fd = -1;
	for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next)
		fd = connect_one(a, until_ms);
	freeaddrinfo(found);
	return fd >= 0 && open_transport(t, fd, tls, until_ms);
}

bool
target_send(struct target *t, struct bytes data)
{
	while (data.size > 0) {
		ssize_t sent = transport_send(&t->transport, data.data, data.size);
		if (sent > 0)
			data = bytes_of(data.data + sent, data.size - (size_t)sent);
		else if (errno == EINTR)
			continue;
		else if (errno != EAGAIN || !wait_for(t->transport.fd, POLLOUT, now_ms() + t->timeout_ms))
			return false;
	}
	return true;
}

static bool
wait_to_receive(const struct target *t, int64_t until_ms)
{
	return wait_for(t->transport.fd, t->transport.receive_awaits_out ? POLLOUT : POLLIN, until_ms);
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
		ssize_t got = transport_receive(&t->transport, t->received, sizeof(t->received));
		if (got > 0)
			t->received_size = (size_t)got;
		else if (got == 0 || (errno != EAGAIN && errno != EINTR) ||
			 (errno == EAGAIN && !wait_to_receive(t, until_ms)))
			return false;
	}
}

void
target_close(struct target *t)
{
	if (t->is_open)
		transport_close(&t->transport);
	t->is_open = false;
	t->received_size = 0;
}
