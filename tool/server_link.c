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
	REPLY_MAX = 64 << 20,
	LINE_MAX_SIZE = 64 << 10,
	DEPTH_MAX = 8, /* of arrays */
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

/* Nothing more comes. */
static bool
complain(struct server_link *l, const char *what, const char *why)
{
	return server_link_complain(l, what, why) == EXIT_WELL;
}

/* Receives more. */
static bool
receive(struct server_link *l, struct buffer *reply)
{
	char piece[16384];
	ssize_t got;
	do
		got = recv(l->fd, piece, sizeof(piece), 0);
	while (got < 0 && errno == EINTR && !server_link_is_ended);
	if (got <= 0)
		return complain(l, "reading from the server",
				got == 0 ? "it closed the connection" : strerror(errno));
	if (buffer_append(reply, piece, (size_t)got) != SETT_OK)
		return complain(l, "reading from the server", strerror(ENOMEM));
	return true;
}

/* What a server says must not command the terminal. */
static void
disarm(uint8_t *data, size_t size, bool has_lines)
{
	for (size_t i = 0; i < size; i++)
		if ((data[i] < ' ' || data[i] > '~') && !(has_lines && (data[i] == '\r' || data[i] == '\n')))
			data[i] = '?';
}

/* A reply that comes in, and where in it the next part begins. */
struct reading {
	struct server_link *link;
	struct buffer raw;
	size_t at;
	struct buffer *parts;
	size_t count;
};

static bool
strange(struct server_link *l)
{
	return complain(l, "reading from the server", "what answers there does not speak Redis' protocol");
}

static bool
await(struct reading *r, size_t size)
{
	while (r->raw.size - r->at < size) {
		if (!receive(r->link, &r->raw))
			return false;
	}
	return true;
}

static bool
add_part(struct reading *r, size_t from, size_t size)
{
	r->count++;
	if (buffer_append(r->parts, r->raw.data + from, size) != SETT_OK ||
	    buffer_append(r->parts, "", 1) != SETT_OK)
		return complain(r->link, "reading from the server", strerror(ENOMEM));
	return true;
}

/* Bytes of the line at `at`, without its end. */
static bool
read_line(struct reading *r, size_t *ret)
{
	for (size_t looked = 0;;) {
		if (!await(r, looked + 1))
			return false;
		const uint8_t *from = r->raw.data + r->at;
		size_t size = r->raw.size - r->at;
		const uint8_t *end = memchr(from + looked, '\n', size - looked);
		if (end != NULL) {
			*ret = (size_t)(end - from) - 1;
			return (end - from >= 2 && end[-1] == '\r') || strange(r->link);
		}
		looked = size;
		if (size > LINE_MAX_SIZE)
			return strange(r->link);
	}
}

static bool
read_reply(struct reading *r, unsigned depth)
{
	size_t line, from = r->at;
	if (depth > DEPTH_MAX || !read_line(r, &line))
		return depth > DEPTH_MAX ? strange(r->link) : false;
	r->raw.data[from + line] = '\0';
	char kind = (char)r->raw.data[from];
	const char *text = (const char *)r->raw.data + from + 1;
	long long number = strtoll(text, NULL, 10);
	r->at += line + 2;
	switch (kind) {
	case '-':
		disarm(r->raw.data + from + 1, line - 1, false);
		return complain(r->link, "the server", text);
	case '+':
	case ':':
		return add_part(r, from + 1, line - 1);
	case '$':
		if (number < 0)
			return add_part(r, from, 0);
		if (number > REPLY_MAX)
			return complain(r->link, "reading from the server", "no answer is that long");
		if (!await(r, (size_t)number + 2) || !add_part(r, r->at, (size_t)number))
			return false;
		r->at += (size_t)number + 2;
		return true;
	case '*':
		for (long long i = 0; i < number; i++) {
			if (!read_reply(r, depth + 1))
				return false;
		}
		return true;
	default:
		return strange(r->link);
	}
}

int
server_link_ask_parts(struct server_link *l, const char *const *words, size_t count, struct buffer *ret,
		      size_t *ret_count)
{
	struct reading r = {.link = l, .parts = ret};
	buffer_clear(ret);
	if (!send_words(l->fd, words, count))
		return server_link_complain(l, "asking the server", strerror(errno));
	bool ok = read_reply(&r, 0);
	buffer_free(&r.raw);
	*ret_count = r.count;
	return ok ? EXIT_WELL : EXIT_FAILED;
}

int
server_link_ask(struct server_link *l, const char *const *words, size_t count, struct buffer *ret)
{
	size_t parts;
	int code = server_link_ask_parts(l, words, count, ret, &parts);
	if (code == EXIT_WELL && parts != 1)
		return server_link_complain(l, "reading from the server", "it has answered something else");
	if (code == EXIT_WELL)
		disarm(ret->data, ret->size - 1, true);
	return code;
}

int
server_link_open(struct server_link *l)
{
	struct timeval limit = {.tv_sec = (time_t)l->timeout_seconds};
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
	l->fd = -1;
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

bool
server_link_parse(struct server_link *l, const char *text)
{
	size_t size = strlen(text);
	if (size >= sizeof(l->address))
		return false;
	memcpy(l->address, text, size + 1);
	char *colon = strrchr(l->address, ':');
	if (colon == NULL || colon[1] == '\0')
		return false;
	bool has_brackets = colon > l->address + 1 && l->address[0] == '[' && colon[-1] == ']';
	colon[has_brackets ? -1 : 0] = '\0';
	l->port = colon + 1;
	l->host = colon != l->address ? l->address + has_brackets : "127.0.0.1";
	return true;
}
