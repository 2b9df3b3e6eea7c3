/* See server_link.h. */
#include "server_link.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tool.h"

enum {
	TIMEOUT_S = 10,
	REPLY_MAX = 64 << 20,
	LINE_LEAST = 3,
	LINE_MAX_SIZE = 64 << 10, /* of a reply's first line */
};

volatile sig_atomic_t server_link_is_ended;

int
server_link_complain(struct server_link *l, const char *what, const char *why)
{
	if (l->complaint[0] == '\0')
		snprintf(l->complaint, sizeof(l->complaint), "sett-tool: %s: %s", what, why);
	return EXIT_FAILED;
}

static int
connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int saved_errno = errno;
		(void)close(fd);
		errno = saved_errno;
		return -1;
	}
	return fd;
}

static int
connect_tcp(struct server_link *l)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int why = getaddrinfo(l->host, l->port, &hints, &found), fd = -1;
	if (why != 0) {
		(void)server_link_complain(l, l->host, gai_strerror(why));
		errno = EHOSTUNREACH;
		return -1;
	}
	for (struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
			int saved_errno = errno;
			(void)close(fd);
			errno = saved_errno;
			fd = -1;
		}
	}
	freeaddrinfo(found);
	return fd;
}

static bool
send_words(int fd, const char *const *words, size_t count)
{
	struct buffer request = {0};
	char head[32];
	int size = snprintf(head, sizeof(head), "*%zu\r\n", count);
	int status = buffer_append(&request, head, (size_t)size);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		size = snprintf(head, sizeof(head), "$%zu\r\n", strlen(words[i]));
		status = buffer_append(&request, head, (size_t)size);
		if (status == SETT_OK)
			status = buffer_append(&request, words[i], strlen(words[i]));
		if (status == SETT_OK)
			status = buffer_append(&request, "\r\n", 2);
	}
	size_t done = 0;
	while (status == SETT_OK && done < request.size) {
		ssize_t sent = send(fd, request.data + done, request.size - done, MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR)
			status = SETT_IO;
		done += sent > 0 ? (size_t)sent : 0;
	}
	buffer_free(&request);
	return status == SETT_OK;
}

/* Receives more. False with errno: 0 if the server closed the connection. */
static bool
receive(int fd, struct buffer *reply)
{
	char piece[16384];
	ssize_t got;
	do
		got = recv(fd, piece, sizeof(piece), 0);
	while (got < 0 && errno == EINTR && !server_link_is_ended);
	if (got == 0)
		errno = 0;
	if (got > 0 && buffer_append(reply, piece, (size_t)got) != SETT_OK) {
		errno = ENOMEM;
		return false;
	}
	return got > 0;
}

/* What a server says must not command the terminal. */
static void
disarm(uint8_t *data, size_t size, bool has_lines)
{
	for (size_t i = 0; i < size; i++)
		if ((data[i] < ' ' || data[i] > '~') && !(has_lines && (data[i] == '\r' || data[i] == '\n')))
			data[i] = '?';
}

int
server_link_ask(struct server_link *l, const char *const *words, size_t count, struct buffer *ret)
{
	buffer_clear(ret);
	size_t line = 0, need = 0;
	if (!send_words(l->fd, words, count))
		return server_link_complain(l, "asking the server", strerror(errno));
	while (need == 0 || ret->size < need) {
		if (!receive(l->fd, ret))
			return server_link_complain(l, "reading from the server",
						    errno == 0 ? "it closed the connection"
							       : strerror(errno));
		const char *end_of_line = memchr(ret->data, '\n', ret->size);
		if (need == 0 && end_of_line == NULL && ret->size > LINE_MAX_SIZE)
			return server_link_complain(l, "reading from the server",
						    "what answers there does not speak Redis' protocol");
		if (need > 0 || end_of_line == NULL)
			continue;
		line = (size_t)(end_of_line - (const char *)ret->data) + 1;
		if (line < LINE_LEAST)
			return server_link_complain(l, "reading from the server",
						    "what answers there does not speak Redis' protocol");
		unsigned long long size =
			ret->data[0] == '$' ? strtoull((const char *)ret->data + 1, NULL, 10) : 0;
		if (size > REPLY_MAX)
			return server_link_complain(l, "reading from the server", "no answer is that long");
		need = ret->data[0] == '$' ? line + (size_t)size + 2 : line;
	}
	disarm(ret->data + (ret->data[0] == '$' ? line : 1), need - 2 - (ret->data[0] == '$' ? line : 1),
	       ret->data[0] == '$');
	if (ret->data[0] == '-') {
		ret->data[line - 2] = '\0';
		return server_link_complain(l, "the server", (const char *)ret->data + 1);
	}
	ret->data[need - 2] = '\0';
	memmove(ret->data, ret->data + (ret->data[0] == '$' ? line : 1),
		need - (ret->data[0] == '$' ? line : 1));
	return EXIT_WELL;
}

int
server_link_open(struct server_link *l)
{
	struct timeval limit = {.tv_sec = TIMEOUT_S};
	struct buffer reply = {0};
	l->fd = l->socket != NULL ? connect_unix(l->socket) : connect_tcp(l);
	if (l->fd < 0)
		return server_link_complain(l, l->socket != NULL ? l->socket : l->port, strerror(errno));
	if (setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
	    setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
		return server_link_complain(l, "setsockopt", strerror(errno));
	if (l->password == NULL)
		return EXIT_WELL;
	const char *words[] = {"AUTH", l->user, l->password};
	int code = server_link_ask(l, words, 3, &reply);
	buffer_free(&reply);
	return code;
}

int
server_link_close(struct server_link *l, int code)
{
	if (l->fd >= 0)
		(void)close(l->fd); /* nothing is on its way */
	if (code != EXIT_WELL)
		fprintf(stderr, "%s\n", l->complaint);
	return code;
}

bool
server_link_takes(struct server_link *l, int option, const char *value)
{
	if (option == 'H')
		l->host = value;
	else if (option == 'p')
		l->port = value;
	else if (option == 's')
		l->socket = value;
	else if (option == 'u')
		l->user = value;
	else
		return false;
	return true;
}
