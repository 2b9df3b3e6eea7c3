/* Where the server listens: see listening.h.
 *
 * A change of `port`, `tls-port` or `bind` is asked for twice. The guard tries it when the command runs, and leaves nothing behind,
 * since a command may run again: it opens the sockets and closes them. On the present port, which is taken by the
 * server itself, it tries the addresses on a port of the system's choice. When the change is made, its thread opens the new
 * sockets and shuts the old ones down, so the change holds before its reply leaves; the accepting reactor then watches the
 * new ones and closes the old. */
#include "net/listening.h"

#include <assert.h>

#include "config/config.h"
#include "net/arrivals.h"
#include "net/net_private.h"

static void
take_arrival(void *net, const struct arrival *arrival)
{
	arrivals_take(net, arrival);
}

static struct listener_options
make_options(struct net *net, int door)
{
	return (struct listener_options){.config = net->config,
					 .sink = net->sink,
					 .speaks_tls = door == DOOR_TLS,
					 .take = take_arrival,
					 .arg = net};
}

static int
port_of(const struct config *config, int door)
{
	return door == DOOR_TLS ? config->tls_port : config->port;
}

/* ---- changes ---- */

static bool
allows_door(struct net *net, int door, const struct config *planned, char *ret_reason, size_t size)
{
	struct listener_options options = make_options(net, door);
	int port = port_of(planned, door);
	bool same_port = port == port_of(net->config, door);
	struct listeners *tried = NULL;
	if (port == 0)
		return true;
	int status = same_port ? listeners_try(&options, planned->bind)
			       : listeners_open_tcp(&options, port, planned->bind, &tried);
	listeners_close(tried);
	if (status == SETT_OK)
		return true;
	snprintf(ret_reason, size, "%s",
		 same_port ? "Failed to bind to specified addresses."
			   : "Unable to listen on this port. Check server logs.");
	return false;
}

bool
listening_allows(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	for (int door = 0; door < DOORS; door++)
		if (!allows_door(arg, door, planned, ret_reason, size))
			return false;
	return true;
}

/* On the present port the old sockets have to go first. If the new ones can't be had then, the old come back. */
static int
replace_locked(struct net *net, int door, int port, const char *addresses, struct listeners **ret)
{
	struct listener_options options = make_options(net, door);
	struct listeners *old = net->listening.doors[door].newest;
	bool same_port = port == listeners_port(old);
	if (same_port)
		listeners_shut_down(old);
	int status = listeners_open_tcp(&options, port, addresses, ret);
	if (status == SETT_OK) {
		if (!same_port)
			listeners_shut_down(old);
		return SETT_OK;
	}
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING,
			"Can't listen on port %d as CONFIG SET asked; the server listens where it did", port);
	return same_port ? listeners_open_tcp(&options, listeners_port(old), listeners_bind(old), ret)
			 : status;
}

/* Whether there are new sockets for the accepting reactor to take over. */
static bool
follow_config_locked(struct net *net, int door, int port, const char *addresses)
{
	struct door *d = &net->listening.doors[door];
	struct listeners *opened = NULL;
	if (port == listeners_port(d->newest) && strcmp(addresses, listeners_bind(d->newest)) == 0)
		return false;
	if (replace_locked(net, door, port, addresses, &opened) != SETT_OK)
		return false;
	if (d->newest != d->watched)
		listeners_close(d->newest);
	d->newest = opened;
	return true;
}

/* A value of the configuration that this thread may keep. */
static char *
copy_bind(struct config *config, int ret_ports[DOORS])
{
	mutex_lock(config_lock(config));
	char *copy = strdup(config->bind != NULL ? config->bind : "");
	for (int door = 0; door < DOORS; door++)
		ret_ports[door] = port_of(config, door);
	mutex_unlock(config_lock(config));
	return copy;
}

void
listening_change(void *arg)
{
	struct net *net = arg;
	struct listening *l = &net->listening;
	bool opened = false;
	int ports[DOORS];
	mutex_lock(&l->mutex);
	char *addresses = copy_bind(net->config, ports);
	for (int door = 0; door < DOORS && addresses != NULL; door++)
		opened |= follow_config_locked(net, door, ports[door], addresses);
	mutex_unlock(&l->mutex);
	free(addresses);
	if (opened)
		reactor_control(net->reactors[0], REACTOR_LISTEN);
}

void
listening_follow(struct net *net, struct loop *loop)
{
	struct listening *l = &net->listening;
	mutex_lock(&l->mutex);
	for (struct door *d = l->doors; d < l->doors + DOORS; d++) {
		if (d->newest == d->watched)
			continue;
		listeners_unwatch(d->watched, loop);
		listeners_close(d->watched);
		d->watched = d->newest;
		if (listeners_watch(d->watched, loop) != SETT_OK)
			log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Can't accept connections on port %d",
					listeners_port(d->watched));
	}
	mutex_unlock(&l->mutex);
}

/* ---- life ---- */

static int
open_door(struct net *net, int door, struct sett_error *error)
{
	struct door *d = &net->listening.doors[door];
	const struct config *config = net->config;
	struct listener_options options = make_options(net, door);
	int port = port_of(config, door);
	const char *what = door == DOOR_TLS ? "TLS" : "TCP";
	int status = listeners_open_tcp(&options, port, config->bind, &d->watched);
	d->newest = d->watched;
	if (status == SETT_OK)
		return SETT_OK;
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Failed listening on port %d (%s), aborting.", port,
			what);
	return sett_error_set(error, status, 0, "Failed listening on port %d (%s), aborting.", port, what);
}

int
listening_open(struct net *net, struct sett_error *error)
{
	struct listening *l = &net->listening;
	const struct config *config = net->config;
	struct listener_options options = make_options(net, DOOR_PLAIN);
	unsigned sockets = 0;
	for (int door = 0; door < DOORS; door++) {
		int status = open_door(net, door, error);
		if (status != SETT_OK)
			return status;
		sockets += listeners_size(l->doors[door].watched);
	}
	int status = listeners_open_unix(&options, &l->unix_socket);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "Failed opening Unix socket %s", config->unix_socket);
	if (sockets + listeners_size(l->unix_socket) > 0)
		return SETT_OK;
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Configured to not listen anywhere, exiting.");
	return sett_error_set(error, SETT_INVALID, 0, "Configured to not listen anywhere, exiting.");
}

void
listening_close(struct net *net)
{
	struct listening *l = &net->listening;
	for (struct door *d = l->doors; d < l->doors + DOORS; d++) {
		if (d->newest != d->watched)
			listeners_close(d->newest);
		listeners_close(d->watched);
	}
	listeners_close(l->unix_socket);
}

int
listening_watch(struct net *net, struct loop *loop)
{
	struct listening *l = &net->listening;
	int status = listeners_watch(l->unix_socket, loop);
	for (int door = 0; door < DOORS && status == SETT_OK; door++)
		status = listeners_watch(l->doors[door].watched, loop);
	return status;
}

void
listening_unwatch(struct net *net, struct loop *loop)
{
	for (int door = 0; door < DOORS; door++)
		listeners_unwatch(net->listening.doors[door].watched, loop);
	listeners_unwatch(net->listening.unix_socket, loop);
}
