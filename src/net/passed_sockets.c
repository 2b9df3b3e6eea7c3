/* See passed_sockets.h. */
#include "net/passed_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_DESCRIPTOR = 3 };

/* A number of the environment; 0: it is not there, or none. */
static long
read_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	long number = strtol(text, &end, 10);
	return errno == 0 && *end == '\0' ? number : 0;
}

static bool
get_option(int fd, int option, int *ret)
{
	socklen_t size = sizeof(*ret);
	return getsockopt(fd, SOL_SOCKET, option, ret, &size) == 0;
}

/* False: it is not what it should be. */
static bool
describe(int fd, struct passed_socket *ret)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} address = {.any.sa_family = AF_UNSPEC};
	socklen_t size = sizeof(address);
	int type = 0, listens = 0, flags;
	if (!get_option(fd, SO_TYPE, &type) || !get_option(fd, SO_ACCEPTCONN, &listens) ||
	    type != SOCK_STREAM || !listens || getsockname(fd, &address.any, &size) != 0)
		return false;
	if ((flags = fcntl(fd, F_GETFL)) < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return false;
	*ret = (struct passed_socket){.fd = fd};
	switch (address.any.sa_family) {
	case AF_INET:
		ret->port = ntohs(address.in.sin_port);
		return true;
	case AF_INET6:
		ret->port = ntohs(address.in6.sin6_port);
		return true;
	case AF_UNIX:
		/* One without a name in the file system is shown as such. */
		snprintf(ret->unix_path, sizeof(ret->unix_path), "%.*s",
			 (int)(sizeof(address.un.sun_path) - 1),
			 size > offsetof(struct sockaddr_un, sun_path) && address.un.sun_path[0] != '\0'
				 ? address.un.sun_path
				 : "unix");
		return true;
	default:
		return false;
	}
}

int
passed_sockets_find(struct passed_sockets *ret, struct sett_error *error)
{
	long process = read_number("LISTEN_PID"), count = read_number("LISTEN_FDS");
	ret->count = 0;
	if (process != (long)getpid())
		return SETT_OK;
	if (count > PASSED_SOCKETS_MAX)
		return sett_error_set(error, SETT_INVALID, 0, "LISTEN_FDS: more than %d sockets are passed",
				      PASSED_SOCKETS_MAX);
	for (int i = 0; i < count; i++) {
		if (!describe(FIRST_DESCRIPTOR + i, &ret->items[i]))
			return sett_error_set(error, SETT_INVALID, 0,
					      "LISTEN_FDS: descriptor %d is no stream socket that listens",
					      FIRST_DESCRIPTOR + i);
		ret->count++;
	}
	return SETT_OK;
}
