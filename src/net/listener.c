/* Listening sockets and accepting: see listener.h.
 *
 * One reactor accepts for all and hands each connection to the least loaded one. (SO_REUSEPORT would let the
 * kernel spread them, but by a hash of the addresses: with few connections some reactors get none.) */
#include "net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/config.h"
#include "loop/list.h"
#include "loop/loop.h"

enum {
	LISTENERS_MAX = 16,       /* as Redis */
	ACCEPTS_PER_EVENT = 1000, /* then the other sockets get their turn */
	ACCEPT_RETRY_MS = 100,    /* after running out of descriptors */
	ADDRESS_TEXT = 256,
};

static const char default_bind[] = "* -::*";
struct listener {
	struct loop_watch watch;
	struct listeners *all;
	int fd;
	bool unix_socket;
};

struct listeners {
	struct listener_options options;
	int port; /* of TCP, as is the next one */
	char *bind;
	bool is_shut;       /* atomic: by another thread */
	struct loop *loop;  /* while accepting */
	struct timer retry; /* accepting pauses when descriptors run out */
	char *unix_path;    /* its file is removed at the end; NULL if there is none */
	unsigned count;
	struct listener items[LISTENERS_MAX];
};

static struct listener *
add_listener(struct listeners *all, int fd, bool unix_socket)
{
	struct listener *l = &all->items[all->count++];
	*l = (struct listener){.all = all, .fd = fd, .unix_socket = unix_socket};
	return l;
}

/* Opens, binds and listens; the descriptor, or -1 with the failed call's name in `ret_call`. */
static int
open_socket(const struct sockaddr *address, socklen_t size, int backlog, const char **ret_call)
{
	int one = 1;
	*ret_call = "socket";
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	*ret_call = "setsockopt";
	bool ok = true;
	if (address->sa_family != AF_UNIX)
		ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0;
	if (ok && address->sa_family == AF_INET6)
		ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0;
	if (ok) {
		*ret_call = "bind";
		ok = bind(fd, address, size) == 0;
	}
	if (ok) {
		*ret_call = "listen";
		ok = listen(fd, backlog) == 0;
	}
	if (ok)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* Binds one address. `text` is "*", "::*" or what getaddrinfo knows. */
static int
listen_on(const char *text, int port, int backlog, char *ret_why, size_t why_size)
{
	const char *host = text;
	int family = AF_UNSPEC;
	if (strcmp(text, "*") == 0) {
		host = NULL;
		family = AF_INET;
	} else if (strcmp(text, "::*") == 0) {
		host = NULL;
		family = AF_INET6;
	}
	char service[16];
	snprintf(service, sizeof(service), "%d", port);
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	int status = getaddrinfo(host, service, &hints, &found);
	if (status != 0) {
		snprintf(ret_why, why_size, "%s", gai_strerror(status));
		errno = status == EAI_NONAME ? EADDRNOTAVAIL : EINVAL;
		return -1;
	}
	const char *call = "socket";
	int fd = -1;
	for (struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next)
		fd = open_socket(a->ai_addr, a->ai_addrlen, backlog, &call);
	int saved = errno;
	freeaddrinfo(found);
	if (fd < 0)
		snprintf(ret_why, why_size, "%s: %s", call, strerror(saved));
	errno = saved;
	return fd;
}

/* Whether an address that cannot be had may be left out. */
static bool
is_tolerable(int error, bool optional)
{
	switch (error) {
	case ENOPROTOOPT:
	case EPROTONOSUPPORT:
	case ESOCKTNOSUPPORT:
	case EPFNOSUPPORT:
	case EAFNOSUPPORT:
		return true;
	case EADDRNOTAVAIL:
		return optional;
	default:
		return false;
	}
}

/* One word of `bind`: a leading '-' makes it optional. */
static int
open_word(struct listeners *all, const char *word)
{
	int port = all->port;
	char why[ADDRESS_TEXT] = "";
	bool optional = word[0] == '-';
	const char *address = optional ? word + 1 : word;
	int fd = listen_on(address, port, all->options.config->tcp_backlog, why, sizeof(why));
	if (fd >= 0) {
		add_listener(all, fd, false);
		return SETT_OK;
	}
	int saved = errno;
	log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING,
			"Warning: Could not create server TCP listening socket %s:%d: %s", address, port,
			why);
	return is_tolerable(saved, optional) ? SETT_OK : SETT_IO;
}

static int
open_words(struct listeners *all)
{
	const char *next = all->bind;
	while (*(next += strspn(next, " \t")) != '\0') {
		char word[ADDRESS_TEXT];
		size_t size = strcspn(next, " \t");
		if (size >= sizeof(word) || all->count == LISTENERS_MAX)
			return SETT_INVALID;
		memcpy(word, next, size);
		word[size] = '\0';
		next += size;
		int status = open_word(all, word);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

unsigned
listeners_count(const struct config *config)
{
	bool has_path = config->unix_socket != NULL && config->unix_socket[0] != '\0';
	unsigned ports = (config->port != 0) + (config->tls_port != 0), words = 0;
	const char *next = config->bind != NULL ? config->bind : default_bind;
	while (*(next += strspn(next, " \t")) != '\0') {
		next += strcspn(next, " \t");
		words++;
	}
	return ports * words + has_path;
}

static int
open_unix(struct listeners *all, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path)) {
		log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING,
				"Failed opening Unix socket: bind: unix socket path too long");
		return SETT_INVALID;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* What a killed server left behind; if it is not there, all the better. */
	unlink(path);
	const char *call;
	int fd = open_socket((struct sockaddr *)&address, sizeof(address), all->options.config->tcp_backlog,
			     &call);
	if (fd < 0) {
		log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING, "Failed opening Unix socket: %s: %s",
				call, strerror(errno));
		return SETT_IO;
	}
	add_listener(all, fd, true);
	if (all->options.config->unix_socket_permission != 0 &&
	    chmod(path, (mode_t)all->options.config->unix_socket_permission) != 0)
		log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING,
				"Setting the mode of the unix socket: %s", strerror(errno));
	all->unix_path = strdup(path);
	return all->unix_path != NULL ? SETT_OK : SETT_NO_MEMORY;
}

static struct listeners *
make_listeners(const struct listener_options *options)
{
	struct listeners *all = calloc(1, sizeof(*all));
	if (all != NULL)
		all->options = *options;
	return all;
}

/* Of `open_it`: the listeners, or what it failed with. */
static int
finish(struct listeners *all, int status, struct listeners **ret)
{
	if (status == SETT_OK)
		*ret = all;
	else
		listeners_close(all);
	return status;
}

int
listeners_open_tcp(const struct listener_options *options, int port, const char *addresses,
		   struct listeners **ret)
{
	struct listeners *all = make_listeners(options);
	if (all == NULL)
		return SETT_NO_MEMORY;
	all->port = port;
	all->bind = strdup(addresses != NULL ? addresses : default_bind);
	if (all->bind == NULL)
		return finish(all, SETT_NO_MEMORY, ret);
	return finish(all, port == 0 ? SETT_OK : open_words(all), ret);
}

int
listeners_try(const struct listener_options *options, const char *addresses)
{
	struct listeners all = {.options = *options};
	all.bind = strdup(addresses != NULL ? addresses : default_bind);
	if (all.bind == NULL)
		return SETT_NO_MEMORY;
	int status = open_words(&all); /* port 0: one of the system's choice */
	for (unsigned i = 0; i < all.count; i++)
		close(all.items[i].fd);
	free(all.bind);
	return status;
}

int
listeners_open_unix(const struct listener_options *options, struct listeners **ret)
{
	struct listeners *all = make_listeners(options);
	if (all == NULL)
		return SETT_NO_MEMORY;
	const char *path = options->config->unix_socket;
	return finish(all, path != NULL && path[0] != '\0' ? open_unix(all, path) : SETT_OK, ret);
}

unsigned
listeners_size(const struct listeners *all)
{
	return all->count;
}

int
listeners_port(const struct listeners *all)
{
	return all->port;
}

const char *
listeners_bind(const struct listeners *all)
{
	return all->bind;
}

void
listeners_shut_down(struct listeners *all)
{
	__atomic_store_n(&all->is_shut, true, __ATOMIC_RELEASE); /* partner: accept_ready */
	for (unsigned i = 0; i < all->count; i++)
		shutdown(all->items[i].fd, SHUT_RDWR);
}

void
listeners_close(struct listeners *all)
{
	if (all == NULL)
		return;
	for (unsigned i = 0; i < all->count; i++)
		close(all->items[i].fd);
	if (all->unix_path != NULL)
		unlink(all->unix_path);
	free(all->unix_path);
	free(all->bind);
	free(all);
}

/* ---- accepting ---- */

static void
resume_accepting(void *arg)
{
	struct listeners *all = arg;
	for (unsigned i = 0; i < all->count; i++)
		loop_change(all->loop, &all->items[i].watch, EPOLLIN);
}

/* Out of descriptors or memory: the waiting connection would be reported again at once, for ever. */
static void
pause_accepting(struct listeners *all)
{
	for (unsigned i = 0; i < all->count; i++)
		loop_change(all->loop, &all->items[i].watch, 0);
	if (timers_arm(loop_timers(all->loop), &all->retry,
		       loop_now_ns(all->loop) + ACCEPT_RETRY_MS * 1000000ULL) != SETT_OK)
		resume_accepting(all);
}

static void
accept_ready(struct loop_watch *watch, uint32_t events)
{
	struct listener *l = list_entry(watch, struct listener, watch);
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t size = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			struct arrival arrival = {.fd = fd,
						  .peer = (struct sockaddr *)&peer,
						  .unix_path = l->unix_socket ? l->all->unix_path : NULL,
						  .speaks_tls = l->all->options.speaks_tls};
			l->all->options.take(l->all->options.arg, &arrival);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		if (__atomic_load_n(&l->all->is_shut, __ATOMIC_ACQUIRE))
			return; /* until it is no longer watched, which is soon */
		log_sink_printf(&l->all->options.sink, LOG_LEVEL_WARNING,
				"Accepting client connection: accept: %s", strerror(errno));
		pause_accepting(l->all);
		return;
	}
}

int
listeners_watch(struct listeners *all, struct loop *loop)
{
	all->loop = loop;
	all->retry = (struct timer){.run = resume_accepting, .arg = all};
	for (unsigned i = 0; i < all->count; i++) {
		struct listener *l = &all->items[i];
		if (loop_add(loop, &l->watch, l->fd, EPOLLIN, accept_ready) != SETT_OK) {
			listeners_unwatch(all, loop);
			return SETT_IO;
		}
	}
	return SETT_OK;
}

void
listeners_unwatch(struct listeners *all, struct loop *loop)
{
	for (unsigned i = 0; i < all->count; i++)
		loop_remove(loop, &all->items[i].watch);
	timers_disarm(loop_timers(loop), &all->retry);
}
