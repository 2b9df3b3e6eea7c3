/* Listening sockets and accepting: see listener.h.
 *
 * One reactor accepts for all and hands each connection to the least loaded one. (SO_REUSEPORT would let the
 * kernel spread them, but by a hash of the addresses: with few connections some reactors get none.)
 *
 * Other addresses on the same port: sockets whose addresses stay are shared by the old and the new listeners. The others can be
 * in each other's way, as all addresses and one of them are. For the moment in which new ones are bound, both sides carry
 * SO_REUSEPORT, so that the old ones go on listening until the new ones do; a socket of another program is in the way all the
 * same, as it has not that mark. */
#include "net/listener.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
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
	NO_LISTEN = -1,
};

static const char default_bind[] = "* -::*";

struct listener {
	struct loop_watch watch;
	struct listeners *all;
	char *address;   /* in `bind`, for which it was opened, without a mark; NULL: none */
	char *unix_path; /* NULL: TCP */
	int fd;
};

struct listeners {
	struct listener_options options;
	int port; /* of TCP, as is the next one */
	char *bind;
	int backlog;  /* NO_LISTEN: they are just bound */
	bool is_shut; /* atomic: by another thread */
	bool was_passed;
	const struct listeners *old; /* while these are opened beside it, on the same port; or NULL */
	struct loop *loop;           /* while accepting */
	struct timer retry;          /* accepting pauses when descriptors run out */
	unsigned count;
	struct listener items[LISTENERS_MAX];
};

/* Takes the descriptor over; the texts are copied. On failure it is closed. */
static int
add_listener(struct listeners *all, int fd, const char *address, const char *unix_path)
{
	assert(all->count < LISTENERS_MAX);
	struct listener *l = &all->items[all->count];
	*l = (struct listener){.all = all,
			       .fd = fd,
			       .address = address != NULL ? strdup(address) : NULL,
			       .unix_path = unix_path != NULL ? strdup(unix_path) : NULL};
	if ((address != NULL && l->address == NULL) || (unix_path != NULL && l->unix_path == NULL)) {
		free(l->address);
		free(l->unix_path);
		close(fd);
		return SETT_NO_MEMORY;
	}
	all->count++;
	return SETT_OK;
}

/* Whether it may be bound beside others that may, too. */
static bool
set_shared_port(int fd, bool on)
{
	int value = on;
	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof(value)) == 0;
}

/* How a socket is opened. */
struct opening {
	int backlog; /* or NO_LISTEN */
	bool shares_port;
};

/* The descriptor, or -1 with the failed call's name in `ret_call`. */
static int
open_socket(const struct sockaddr *address, socklen_t size, struct opening how, const char **ret_call)
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
	if (ok && how.shares_port)
		ok = set_shared_port(fd, true);
	if (ok && address->sa_family == AF_INET6)
		ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0;
	if (ok) {
		*ret_call = "bind";
		ok = bind(fd, address, size) == 0;
	}
	if (ok && how.backlog != NO_LISTEN) {
		*ret_call = "listen";
		ok = listen(fd, how.backlog) == 0;
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
listen_on(const char *text, int port, struct opening how, char *ret_why, size_t why_size)
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
		fd = open_socket(a->ai_addr, a->ai_addrlen, how, &call);
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

/* The failed opening of an address, of which errno says why. */
static int
refuse_word(const struct listeners *all, const char *address, bool optional, const char *why)
{
	int saved = errno;
	log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING,
			"Warning: Could not create server TCP listening socket %s:%d: %s", address, all->port,
			why);
	return is_tolerable(saved, optional) ? SETT_OK : SETT_IO;
}

/* The socket of `old` for an address, or NULL. */
static const struct listener *
find_shared(const struct listeners *all, const char *address)
{
	for (unsigned i = 0; all->old != NULL && i < all->old->count; i++) {
		const struct listener *l = &all->old->items[i];
		if (l->address != NULL && strcmp(l->address, address) == 0)
			return l;
	}
	return NULL;
}

/* Whether two sockets of one port can't both listen. */
static bool
are_in_conflict(int a, int b)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} x = {0}, y = {0};
	socklen_t x_size = sizeof(x), y_size = sizeof(y);
	if (getsockname(a, &x.any, &x_size) != 0 || getsockname(b, &y.any, &y_size) != 0 ||
	    x.any.sa_family != y.any.sa_family)
		return false;
	if (x.any.sa_family == AF_INET)
		return x.in.sin_addr.s_addr == y.in.sin_addr.s_addr || x.in.sin_addr.s_addr == INADDR_ANY ||
			y.in.sin_addr.s_addr == INADDR_ANY;
	return (IN6_ARE_ADDR_EQUAL(&x.in6.sin6_addr, &y.in6.sin6_addr) &&
		x.in6.sin6_scope_id == y.in6.sin6_scope_id) ||
		IN6_IS_ADDR_UNSPECIFIED(&x.in6.sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&y.in6.sin6_addr);
}

/* While ports are shared the system does not look. */
static bool
is_taken(const struct listeners *all, int fd)
{
	for (unsigned i = 0; all->old != NULL && i < all->count; i++)
		if (are_in_conflict(fd, all->items[i].fd))
			return true;
	return false;
}

static int
open_word(struct listeners *all, const char *address, bool optional)
{
	char why[ADDRESS_TEXT] = "";
	struct opening how = {.backlog = all->backlog, .shares_port = all->old != NULL};
	const struct listener *shared = find_shared(all, address);
	int fd = shared != NULL ? fcntl(shared->fd, F_DUPFD_CLOEXEC, 0)
				: listen_on(address, all->port, how, why, sizeof(why));
	if (fd >= 0 && is_taken(all, fd)) {
		close(fd);
		fd = -1;
		errno = EADDRINUSE;
		snprintf(why, sizeof(why), "bind: %s", strerror(errno));
	} else if (fd < 0 && shared != NULL) {
		snprintf(why, sizeof(why), "%s", strerror(errno));
	}
	if (fd >= 0)
		return add_listener(all, fd, address, NULL);
	return refuse_word(all, address, optional, why);
}

/* Each word of `bind`. */
static int
open_words(struct listeners *all)
{
	const char *next = all->port != 0 ? all->bind : "";
	while (*(next += strspn(next, " \t")) != '\0') {
		char word[ADDRESS_TEXT];
		size_t size = strcspn(next, " \t");
		if (size >= sizeof(word) || all->count == LISTENERS_MAX)
			return SETT_INVALID;
		memcpy(word, next, size);
		word[size] = '\0';
		next += size;
		bool optional = word[0] == '-';
		int status = open_word(all, optional ? word + 1 : word, optional);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

unsigned
listeners_count(const struct config *config)
{
	bool has_path = config->unix_socket != NULL && config->unix_socket[0] != '\0';
	unsigned ports = (config->port != 0) + (config->tls_port != 0) + (config->metrics_port != 0),
		 words = 0;
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
				"Failed opening Unix socket: unix socket path too long (%zu), must be under "
				"%zu",
				strlen(path), sizeof(address.sun_path));
		return SETT_INVALID;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* What a killed server left behind; if it is not there, all the better. */
	unlink(path);
	const char *call;
	struct opening how = {.backlog = all->backlog};
	int fd = open_socket((struct sockaddr *)&address, sizeof(address), how, &call);
	if (fd < 0) {
		log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING, "Failed opening Unix socket: %s: %s",
				call, strerror(errno));
		return SETT_IO;
	}
	if (all->options.config->unix_socket_permission != 0 &&
	    chmod(path, (mode_t)all->options.config->unix_socket_permission) != 0)
		log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING,
				"Setting the mode of the unix socket: %s", strerror(errno));
	return add_listener(all, fd, NULL, path);
}

int
listeners_make(const struct listener_options *options, int port, const char *addresses,
	       struct listeners **ret)
{
	struct listeners *all = calloc(1, sizeof(*all));
	if (all == NULL)
		return SETT_NO_MEMORY;
	all->options = *options;
	all->port = port;
	all->backlog = options->config->tcp_backlog;
	all->bind = strdup(addresses != NULL ? addresses : default_bind);
	if (all->bind == NULL) {
		listeners_close(all);
		return SETT_NO_MEMORY;
	}
	*ret = all;
	return SETT_OK;
}

int
listeners_add(struct listeners *all, int fd, const char *unix_path)
{
	if (all->count == LISTENERS_MAX)
		return SETT_INVALID;
	all->was_passed = true;
	return add_listener(all, fd, NULL, unix_path);
}

int
listeners_open_tcp(const struct listener_options *options, int port, const char *addresses,
		   struct listeners **ret)
{
	struct listeners *all;
	int status = listeners_make(options, port, addresses, &all);
	if (status != SETT_OK)
		return status;
	status = open_words(all);
	if (status == SETT_OK)
		*ret = all;
	else
		listeners_close(all);
	return status;
}

int
listeners_open_unix(const struct listener_options *options, struct listeners **ret)
{
	struct listeners *all;
	int status = listeners_make(options, 0, NULL, &all);
	const char *path = options->config->unix_socket;
	if (status == SETT_OK && path != NULL && path[0] != '\0')
		status = open_unix(all, path);
	if (status == SETT_OK)
		*ret = all;
	else
		listeners_close(all);
	return status;
}

static bool
has_address(const char *words, const char *address)
{
	size_t size = strlen(address);
	while (*(words += strspn(words, " \t")) != '\0') {
		words += words[0] == '-';
		size_t length = strcspn(words, " \t");
		if (length == size && memcmp(words, address, size) == 0)
			return true;
		words += length;
	}
	return false;
}

/* Nobody can connect to these any more, but to those of the addresses that stay. */
static void
stop_listening(struct listeners *all, const char *staying)
{
	__atomic_store_n(&all->is_shut, true, __ATOMIC_RELEASE); /* partner: accept_ready */
	for (unsigned i = 0; i < all->count; i++) {
		const struct listener *l = &all->items[i];
		if (l->address == NULL || !has_address(staying, l->address))
			shutdown(l->fd, SHUT_RDWR);
	}
}

static void
share_ports(const struct listeners *all, bool on)
{
	for (unsigned i = 0; i < all->count; i++)
		if (!set_shared_port(all->items[i].fd, on))
			log_sink_printf(&all->options.sink, LOG_LEVEL_WARNING, "setsockopt SO_REUSEPORT: %s",
					strerror(errno));
}

/* Opens sockets beside `old`, which goes on listening. */
static int
open_beside(const struct listener_options *options, int port, const char *addresses,
	    const struct listeners *old, bool listens, struct listeners **ret)
{
	struct listeners *all;
	int status = listeners_make(options, port, addresses, &all);
	if (status != SETT_OK)
		return status;
	if (!listens)
		all->backlog = NO_LISTEN;
	if (port == old->port) {
		all->old = old;
		share_ports(old, true);
	}
	status = open_words(all);
	if (all->old != NULL) {
		share_ports(all, false);
		share_ports(old, false);
		all->old = NULL;
	}
	if (status == SETT_OK)
		*ret = all;
	else
		listeners_close(all);
	return status;
}

int
listeners_try_tcp(const struct listener_options *options, int port, const char *addresses,
		  const struct listeners *old)
{
	struct listeners *tried;
	int status = open_beside(options, port, addresses, old, false, &tried);
	if (status == SETT_OK)
		listeners_close(tried);
	return status;
}

int
listeners_replace_tcp(const struct listener_options *options, int port, const char *addresses,
		      struct listeners *old, struct listeners **ret)
{
	struct listeners *all;
	int status = open_beside(options, port, addresses, old, true, &all);
	if (status != SETT_OK)
		return status;
	stop_listening(old, port == old->port ? all->bind : "");
	*ret = all;
	return SETT_OK;
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

bool
listeners_were_passed(const struct listeners *all)
{
	return all->was_passed;
}

void
listeners_close(struct listeners *all)
{
	if (all == NULL)
		return;
	for (unsigned i = 0; i < all->count; i++) {
		struct listener *l = &all->items[i];
		close(l->fd);
		if (l->unix_path != NULL && !all->was_passed)
			unlink(l->unix_path);
		free(l->unix_path);
		free(l->address);
	}
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
						  .unix_path = l->unix_path,
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
