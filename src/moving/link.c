/* See link.h. */
#include "moving/link.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
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

/* SETT_OK: the socket is ready; SETT_NOT_FOUND: the time is over. */
static int
wait_for(struct link *l, short events, int64_t until_ms, struct sett_error *error)
{
	struct pollfd polls[] = {{.fd = l->transport.fd, .events = events},
				 {.fd = l->wake, .events = POLLIN}};
	for (;;) {
		int64_t left = until_ms - now_ms();
		int ready = poll(polls, 2, left > 0 ? (int)left : 0);
		if (ready < 0 && errno != EINTR)
			return sett_error_set(error, SETT_IO, errno, "poll: %s", strerror(errno));
		if (ready > 0 && (polls[1].revents & POLLIN) != 0)
			return sett_error_set(error, SETT_ABORTED, 0, "it was given up");
		if (ready > 0)
			return SETT_OK;
		if (ready == 0)
			return SETT_NOT_FOUND;
	}
}

/* As in Redis, the system chooses where that is no address of this machine's, or of the other family; and if connecting
 * from it fails at once (connect_one). */
static void
bind_source(int fd, int family, const char *source)
{
	int on = 1;
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found = NULL;
	if (source == NULL || getaddrinfo(source, NULL, &hints, &found) != 0)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	for (const struct addrinfo *a = found; a != NULL; a = a->ai_next)
		if (bind(fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
	freeaddrinfo(found);
}

static void
close_socket(struct link *l)
{
	if (l->transport.fd >= 0)
		transport_close(&l->transport);
	l->transport.fd = -1;
}

/* SETT_NOT_FOUND: it is under way. */
static int
begin_connect(struct link *l, const struct addrinfo *address, const char *source, struct sett_error *error)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
	if (fd < 0)
		return sett_error_set(error, SETT_IO, errno, "socket: %s", strerror(errno));
	l->transport = transport_socket(fd);
	bind_source(fd, address->ai_family, source);
	if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
		return SETT_OK;
	if (errno == EINPROGRESS)
		return SETT_NOT_FOUND;
	return sett_error_set(error, SETT_IO, errno, "%s", strerror(errno));
}

static int
connect_one(struct link *l, const struct addrinfo *address, const char *source, int64_t until_ms,
	    struct sett_error *error)
{
	int failure = 0;
	socklen_t size = sizeof(failure);
	int status = begin_connect(l, address, source, error);
	if (status == SETT_IO && source != NULL) {
		/* As in Redis: from that address there may be no way to the peer. */
		close_socket(l);
		status = begin_connect(l, address, NULL, error);
	}
	if (status != SETT_NOT_FOUND)
		return status;
	status = wait_for(l, POLLOUT, until_ms, error);
	if (status == SETT_NOT_FOUND)
		return sett_error_set(error, SETT_IO, ETIMEDOUT, "Connection timed out");
	if (status != SETT_OK)
		return status;
	if (getsockopt(l->transport.fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
		failure = errno;
	return failure == 0 ? SETT_OK : sett_error_set(error, SETT_IO, failure, "%s", strerror(failure));
}

static int
establish(struct link *l, int64_t until_ms, struct sett_error *error)
{
	char why[256] = "";
	for (;;) {
		enum transport_step step = transport_establish(&l->transport, why, sizeof(why));
		if (step == TRANSPORT_READY)
			return SETT_OK;
		if (step == TRANSPORT_FAILED)
			return sett_error_set(error, SETT_IO, 0, "TLS: %s", why);
		int status = wait_for(l, step == TRANSPORT_AWAITS_OUTPUT ? POLLOUT : POLLIN, until_ms, error);
		if (status == SETT_NOT_FOUND)
			return sett_error_set(error, SETT_IO, ETIMEDOUT, "TLS: the handshake takes too long");
		if (status != SETT_OK)
			return status;
	}
}

static int
begin_tls(struct link *l, struct net *tls, int64_t until_ms, struct sett_error *error)
{
	struct transport transport;
	int status = net_connect_tls(tls, l->transport.fd, &transport);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "TLS: %s",
				      status == SETT_INVALID ? "no certificates are loaded (tls-ca-cert-file)"
							     : sett_status_text(status));
	l->transport = transport;
	return establish(l, until_ms, error);
}

int
link_open(struct link *l, int wake, const struct link_peer *peer, int timeout_ms, struct sett_error *error)
{
	char service[16];
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
	*l = (struct link){.transport.fd = -1, .wake = wake, .room = malloc(LINK_ROOM)};
	if (l->room == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	snprintf(service, sizeof(service), "%u", peer->port);
	int failure = getaddrinfo(peer->host, service, &hints, &found);
	if (failure != 0)
		return sett_error_set(error, SETT_IO, 0, "%s", gai_strerror(failure));
	int64_t until_ms = now_ms() + timeout_ms;
	int status = SETT_IO;
	for (const struct addrinfo *a = found; a != NULL && status == SETT_IO; a = a->ai_next) {
		close_socket(l);
		status = connect_one(l, a, peer->source, until_ms, error);
	}
	freeaddrinfo(found);
	return status == SETT_OK && peer->tls != NULL ? begin_tls(l, peer->tls, until_ms, error) : status;
}

void
link_close(struct link *l)
{
	close_socket(l);
	free(l->room);
	l->room = NULL;
	l->begin = l->end = 0;
}

void
link_set_no_delay(struct link *l, bool on)
{
	int value = on, keep = 1;
	(void)setsockopt(l->transport.fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value));
	(void)setsockopt(l->transport.fd, SOL_SOCKET, SO_KEEPALIVE, &keep, sizeof(keep));
}

int
link_send(struct link *l, struct bytes data, int timeout_ms, struct sett_error *error)
{
	while (data.size > 0) {
		ssize_t sent = transport_send(&l->transport, data.data, data.size);
		if (sent >= 0) {
			data = bytes_of(data.data + sent, data.size - (size_t)sent);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return sett_error_set(error, SETT_IO, errno, "%s", strerror(errno));
		int status = wait_for(l, POLLOUT, now_ms() + timeout_ms, error);
		if (status == SETT_NOT_FOUND)
			return sett_error_set(error, SETT_IO, ETIMEDOUT, "it takes no more bytes");
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

int
link_send_request(struct link *l, const struct bytes *argv, size_t argc, int timeout_ms,
		  struct sett_error *error)
{
	struct buffer text = {0};
	char line[32];
	snprintf(line, sizeof(line), "*%zu\r\n", argc);
	int status = buffer_append(&text, line, strlen(line));
	for (size_t i = 0; i < argc && status == SETT_OK; i++) {
		snprintf(line, sizeof(line), "$%zu\r\n", argv[i].size);
		status = buffer_append(&text, line, strlen(line));
		if (status == SETT_OK)
			status = buffer_append(&text, argv[i].data, argv[i].size);
		if (status == SETT_OK)
			status = buffer_append(&text, "\r\n", 2);
	}
	status = status == SETT_OK ? link_send(l, buffer_bytes(&text), timeout_ms, error)
				   : sett_error_set(error, status, 0, "out of memory");
	buffer_free(&text);
	return status;
}

int
link_send_words(struct link *l, const char *const *words, size_t count, int timeout_ms,
		struct sett_error *error)
{
	struct bytes argv[LINK_WORDS_MAX];
	assert(count <= LINK_WORDS_MAX);
	for (size_t i = 0; i < count; i++)
		argv[i] = bytes_of_string(words[i]);
	return link_send_request(l, argv, count, timeout_ms, error);
}

int
link_fill(struct link *l, int timeout_ms, struct sett_error *error)
{
	int64_t until_ms = now_ms() + timeout_ms;
	if (l->begin < l->end)
		return SETT_OK;
	l->begin = l->end = 0;
	for (;;) {
		ssize_t got = transport_receive(&l->transport, l->room, LINK_ROOM);
		if (got > 0) {
			l->end = (size_t)got;
			return SETT_OK;
		}
		if (got == 0)
			return sett_error_set(error, SETT_IO, 0, "the other side has closed the connection");
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return sett_error_set(error, SETT_IO, errno, "%s", strerror(errno));
		int status = wait_for(l, l->transport.receive_awaits_out ? POLLOUT : POLLIN, until_ms, error);
		if (status != SETT_OK)
			return status;
	}
}

struct bytes
link_received(const struct link *l)
{
	return bytes_of(l->room + l->begin, l->end - l->begin);
}

void
link_take(struct link *l, size_t size)
{
	l->begin += size;
}

int
link_read_line(struct link *l, char *ret, size_t size, int timeout_ms, struct sett_error *error)
{
	size_t used = 0;
	for (;;) {
		int status = link_fill(l, timeout_ms, error);
		if (status == SETT_NOT_FOUND)
			return sett_error_set(error, SETT_IO, ETIMEDOUT, "it does not answer");
		if (status != SETT_OK)
			return status;
		struct bytes received = link_received(l);
		const uint8_t *end = memchr(received.data, '\n', received.size);
		size_t piece = end != NULL ? (size_t)(end - received.data) : received.size;
		if (piece >= size - used)
			return sett_error_set(error, SETT_CORRUPT, 0, "it answers with a line without end");
		memcpy(ret + used, received.data, piece);
		used += piece;
		link_take(l, piece + (end != NULL));
		if (end == NULL)
			continue;
		if (used > 0 && ret[used - 1] == '\r')
			used--;
		if (used == 0)
			continue;
		ret[used] = '\0';
		return SETT_OK;
	}
}
