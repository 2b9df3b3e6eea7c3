/* Listening sockets, and what happens to a connection until it has a reactor.
 *
 * One reactor accepts for all and hands each connection to the least loaded one. (SO_REUSEPORT would let the
 * kernel spread them, but by a hash of the addresses: with few connections some reactors get none.)
 *
 * A connection that may not stay (maxclients, protected mode) gets its error line, if the socket takes it at
 * once, and is closed. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/config.h"
#include "net/net_private.h"

enum {
	LISTENERS_MAX = 17,       /* Redis' 16 addresses and the unix socket */
	ACCEPTS_PER_EVENT = 1000, /* then the other sockets get their turn */
	ACCEPT_RETRY_MS = 100,    /* after running out of descriptors */
	ADDRESS_TEXT = 256,
};

static const char default_bind[] = "* -::*";
static const char max_clients_error[] = "-ERR max number of clients reached\r\n";
static const char protected_error[] =
	"-DENIED Sett is running in protected mode because protected mode is enabled and no password is set "
	"for "
	"the default user. In this mode connections are only accepted from the loopback interface. To "
	"connect "
	"from other machines, do one of the following: 1) set a password with the 'requirepass' directive or "
	"'CONFIG SET requirepass', followed by 'CONFIG REWRITE' to keep it; 2) send 'CONFIG SET "
	"protected-mode "
	"no' from the machine the server runs on, once you are sure that the server cannot be reached from "
	"the "
	"internet; 3) set 'protected-mode no' in the configuration file and restart the server; 4) restart "
	"it "
	"with the option '--protected-mode no'.\r\n";

struct listener {
	struct loop_watch watch;
	struct listeners *all;
	int fd;
	bool unix_socket;
};

struct listeners {
	struct net *net;
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
	struct net *net = all->net;
	int port = net->config->port;
	char why[ADDRESS_TEXT] = "";
	bool optional = word[0] == '-';
	const char *address = optional ? word + 1 : word;
	int fd = listen_on(address, port, net->config->tcp_backlog, why, sizeof(why));
	if (fd >= 0) {
		add_listener(all, fd, false);
		return SETT_OK;
	}
	int saved = errno;
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING,
			"Warning: Could not create server TCP listening socket %s:%d: %s", address, port,
			why);
	return is_tolerable(saved, optional) ? SETT_OK : SETT_IO;
}

static int
open_tcp(struct listeners *all)
{
	const char *next = all->net->config->bind != NULL ? all->net->config->bind : default_bind;
	while (*(next += strspn(next, " \t")) != '\0') {
		char word[ADDRESS_TEXT];
		size_t size = strcspn(next, " \t");
		if (size >= sizeof(word) || all->count == LISTENERS_MAX - 1)
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
	unsigned count = config->unix_socket != NULL && config->unix_socket[0] != '\0';
	const char *next = config->bind != NULL ? config->bind : default_bind;
	while (config->port != 0 && *(next += strspn(next, " \t")) != '\0') {
		next += strcspn(next, " \t");
		count++;
	}
	return count;
}

static int
open_unix(struct listeners *all, const char *path)
{
	struct net *net = all->net;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path)) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING,
				"Failed opening Unix socket: bind: unix socket path too long");
		return SETT_INVALID;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* What a killed server left behind; if it is not there, all the better. */
	unlink(path);
	const char *call;
	int fd = open_socket((struct sockaddr *)&address, sizeof(address), net->config->tcp_backlog, &call);
	if (fd < 0) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Failed opening Unix socket: %s: %s", call,
				strerror(errno));
		return SETT_IO;
	}
	add_listener(all, fd, true);
	if (net->config->unix_socket_permission != 0 &&
	    chmod(path, (mode_t)net->config->unix_socket_permission) != 0)
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Setting the mode of the unix socket: %s",
				strerror(errno));
	all->unix_path = strdup(path);
	return all->unix_path != NULL ? SETT_OK : SETT_NO_MEMORY;
}

int
listeners_open(struct net *net, struct listeners **ret, struct sett_error *error)
{
	struct listeners *all = calloc(1, sizeof(*all));
	if (all == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	all->net = net;
	int status = SETT_OK;
	const char *path = net->config->unix_socket;
	bool with_unix = path != NULL && path[0] != '\0';
	if (net->config->port != 0 && (status = open_tcp(all)) != SETT_OK) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Failed listening on port %d (TCP), aborting.",
				net->config->port);
		sett_error_set(error, status, 0, "Failed listening on port %d (TCP), aborting.",
			       net->config->port);
	} else if (with_unix && (status = open_unix(all, path)) != SETT_OK) {
		sett_error_set(error, status, 0, "Failed opening Unix socket %s", path);
	} else if (all->count == 0) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Configured to not listen anywhere, exiting.");
		status =
			sett_error_set(error, SETT_INVALID, 0, "Configured to not listen anywhere, exiting.");
	}
	if (status != SETT_OK) {
		listeners_close(all);
		return status;
	}
	*ret = all;
	return SETT_OK;
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
	free(all);
}

/* ---- accepting ---- */

bool
listener_is_protected_from(const struct sockaddr *peer, bool protected_mode, bool has_password)
{
	if (!protected_mode || has_password)
		return false;
	if (peer->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
		return ntohl(in->sin_addr.s_addr) >> 24 != 127;
	}
	if (peer->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)peer;
		return !IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	}
	return false;
}

static void
format_address(const struct sockaddr *address, char text[CLIENT_ADDRESS_SIZE])
{
	char host[INET6_ADDRSTRLEN] = "?";
	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, CLIENT_ADDRESS_SIZE, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, CLIENT_ADDRESS_SIZE, "%s:%u", host, ntohs(in->sin_port));
	}
}

static void
describe(struct listener *l, struct connection *c, const struct sockaddr *peer)
{
	struct client *client = &c->client;
	client->unix_socket = l->unix_socket;
	if (l->unix_socket) {
		snprintf(client->address, sizeof(client->address), "%s:0", l->all->unix_path);
		snprintf(client->local_address, sizeof(client->local_address), "%s:0", l->all->unix_path);
		return;
	}
	struct sockaddr_storage local = {0};
	socklen_t size = sizeof(local);
	format_address(peer, client->address);
	if (getsockname(client->fd, (struct sockaddr *)&local, &size) == 0)
		format_address((struct sockaddr *)&local, client->local_address);
}

/* No delay, and keepalive probes: three, a third of the interval apart, so that a peer that is gone is
 * noticed in about twice the interval. Failures are not worth losing a client over. */
static void
tune_tcp(int fd, int64_t keepalive)
{
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (keepalive <= 0)
		return;
	int idle = (int)keepalive, interval = idle / 3 > 0 ? idle / 3 : 1, count = 3;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static void
reject(struct net *net, int fd, const char *text, size_t size)
{
	reactor_count_rejected(net->reactors[0]);
	/* Best effort: the peer that does not read it sees a closed connection. */
	ssize_t ignored = send(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)ignored;
	close(fd);
}

static bool
has_password(struct net *net)
{
	struct mutex *lock = config_lock(net->config);
	mutex_lock(lock);
	bool set = net->config->require_password != NULL && net->config->require_password[0] != '\0';
	mutex_unlock(lock);
	return set;
}

/* The reactor with the fewest connections; the count is of connections handed over, adopted or not. */
static struct reactor *
choose_reactor(struct net *net)
{
	struct reactor *best = net->reactors[0];
	for (unsigned i = 1; i < net->reactor_count; i++)
		if (reactor_load(net->reactors[i]) < reactor_load(best))
			best = net->reactors[i];
	return best;
}

static void
welcome(struct listener *l, int fd, const struct sockaddr *peer)
{
	struct net *net = l->all->net;
	int64_t max = __atomic_load_n(&net->config->max_clients, __ATOMIC_RELAXED);
	reactor_count_received(net->reactors[0]);
	if (max > 0 && __atomic_load_n(&net->accepted, __ATOMIC_RELAXED) >= (uint64_t)max) {
		reject(net, fd, max_clients_error, sizeof(max_clients_error) - 1);
		return;
	}
	bool password = has_password(net);
	bool protected_mode = __atomic_load_n(&net->config->protected_mode, __ATOMIC_RELAXED);
	if (!l->unix_socket && listener_is_protected_from(peer, protected_mode, password)) {
		reject(net, fd, protected_error, sizeof(protected_error) - 1);
		return;
	}
	struct connection *c = connection_create(fd);
	if (c == NULL) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Out of memory for a new client");
		close(fd);
		return;
	}
	if (!l->unix_socket)
		tune_tcp(fd, __atomic_load_n(&net->config->tcp_keepalive, __ATOMIC_RELAXED));
	describe(l, c, peer);
	c->client.authenticated = !password;
	c->client.created_ms = c->client.last_active_ms = clock_wall_ms(net->clock);
	/* Relaxed: a count; only this thread adds. */
	__atomic_fetch_add(&net->accepted, 1, __ATOMIC_RELAXED);
	c->reactor = choose_reactor(net);
	registry_add(net, c);
	log_sink_printf(&net->sink, LOG_LEVEL_VERBOSE, "Accepted %s", c->client.address);
	reactor_hand_over(c->reactor, c);
}

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
			welcome(l, fd, (struct sockaddr *)&peer);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		log_sink_printf(&l->all->net->sink, LOG_LEVEL_WARNING,
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
