/* What happens to an accepted socket until it has a reactor: see arrivals.h. */
#include "net/arrivals.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acl/users.h"
#include "config/config.h"
#include "net/blocked.h"
#include "net/connections.h"
#include "net/handshakes.h"
#include "net/net_private.h"
#include "net/output.h"
#include "net/transport.h"

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

bool
arrivals_protected_from(const struct sockaddr *peer, bool protected_mode, bool has_password)
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
describe(struct connection *c, const struct arrival *arrival)
{
	struct client *client = &c->client;
	bool unix_socket = arrival->unix_path != NULL;
	client->unix_socket = unix_socket;
	if (unix_socket) {
		snprintf(client->address, sizeof(client->address), "%s:0", arrival->unix_path);
		snprintf(client->local_address, sizeof(client->local_address), "%s:0", arrival->unix_path);
		return;
	}
	struct sockaddr_storage local = {0};
	socklen_t size = sizeof(local);
	format_address(arrival->peer, client->address);
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

/* Best effort: a peer that does not take it sees a closed connection. So does one that expects a handshake, as in Redis. */
static void
reject(struct net *net, const struct arrival *arrival, const char *text, size_t size)
{
	reactor_count_rejected(net->reactors[0]);
	struct transport transport = transport_socket(arrival->fd);
	ssize_t ignored = arrival->speaks_tls ? 0 : transport_send(&transport, text, size);
	(void)ignored;
	transport_close(&transport);
}

/* Who a new client is: the default user, who may have to log in first. */
static void
name_client(struct net *net, struct client *client)
{
	client->authenticated = net->users == NULL || !acl_asks_for_login(net->users);
	client->user = net->users != NULL ? acl_default_user(net->users) : NULL;
}

/* The reactor with the fewest connections, counting those that it has not adopted yet. */
static struct reactor *
choose_reactor(struct net *net)
{
	struct reactor *best = net->reactors[0];
	for (unsigned i = 1; i < net->reactor_count; i++)
		if (reactor_load(net->reactors[i]) < reactor_load(best))
			best = net->reactors[i];
	return best;
}

/* NULL: it is logged. */
static struct connection *
make_connection(struct net *net, const struct arrival *arrival)
{
	struct transport transport = transport_socket(arrival->fd);
	int status = arrival->speaks_tls ? tls_accept(&net->tls, arrival->fd, &transport) : SETT_OK;
	struct connection *c = status == SETT_OK ? connection_create(transport) : NULL;
	if (c != NULL) {
		blocked_init(c);
		return c;
	}
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "%s for a new client",
			status == SETT_INVALID ? "There is no TLS configuration" : "Out of memory");
	transport_close(&transport);
	return NULL;
}

/* A client that will hear, after its handshake, why it is not let in. */
static void
say_goodbye(struct connection *c, const char *text, size_t size)
{
	resp_raw(&c->output.writer, text, size);
	output_stamp_free(&c->output);
	c->client.close_after_reply = true;
}

static void
admit(struct net *net, const struct arrival *arrival, bool is_protected)
{
	struct connection *c = make_connection(net, arrival);
	if (c == NULL)
		return;
	if (arrival->unix_path == NULL)
		tune_tcp(arrival->fd, __atomic_load_n(&net->config->tcp_keepalive, __ATOMIC_RELAXED));
	describe(c, arrival);
	if (is_protected)
		say_goodbye(c, protected_error, sizeof(protected_error) - 1);
	name_client(net, &c->client);
	c->client.created_ms = c->client.last_active_ms = clock_wall_ms(net->clock);
	/* Relaxed: a count; only this thread adds. */
	__atomic_fetch_add(&net->accepted, 1, __ATOMIC_RELAXED);
	c->reactor = choose_reactor(net);
	c->client.reactor = reactor_index(c->reactor);
	registry_add(net, c);
	log_sink_printf(&net->sink, LOG_LEVEL_VERBOSE, "Accepted %s", c->client.address);
	if (transport_is_ready_at_once(&c->transport))
		connections_hand_over(c->reactor, c);
	else
		handshakes_hand_over(c->reactor, c);
}

void
arrivals_take(struct net *net, const struct arrival *arrival)
{
	int64_t max = __atomic_load_n(&net->config->max_clients, __ATOMIC_RELAXED);
	reactor_count_received(net->reactors[0]);
	if (max > 0 && __atomic_load_n(&net->accepted, __ATOMIC_RELAXED) >= (uint64_t)max) {
		reject(net, arrival, max_clients_error, sizeof(max_clients_error) - 1);
		return;
	}
	bool password = net->users != NULL && !acl_has_no_password(net->users);
	bool protected_mode = __atomic_load_n(&net->config->protected_mode, __ATOMIC_RELAXED);
	bool is_protected = arrival->unix_path == NULL &&
		arrivals_protected_from(arrival->peer, protected_mode, password);
	if (is_protected && !arrival->speaks_tls) {
		reject(net, arrival, protected_error, sizeof(protected_error) - 1);
		return;
	}
	if (is_protected)
		reactor_count_rejected(net->reactors[0]);
	admit(net, arrival, is_protected);
}
