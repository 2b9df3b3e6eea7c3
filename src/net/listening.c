/* Where the server listens: see listening.h.
 *
 * A change of `port`, `tls-port` or `bind` is asked for twice. The guard tries it when the command runs, and leaves nothing behind,
 * since a command may run again: it binds sockets beside those that listen, and closes them. When the change is made, its thread opens the new
 * sockets and nobody can connect to the old ones any more, so the change holds before its reply leaves; the accepting reactor
 * then watches the new ones and closes the old.
 *
 * Sockets that the service manager has passed stand in place of what the configuration says for their kind (a port, the TLS
 * port, the unix socket), and stay as they are. */
#include "net/listening.h"

#include <assert.h>

#include "config/config.h"
#include "net/arrivals.h"
#include "net/net_private.h"
#include "net/passed_sockets.h"

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

/* Under the configuration's lock, once there are threads. */
static const char *
bind_of(const struct config *config)
{
	return config->bind != NULL ? config->bind : "";
}

/* ---- changes ---- */

static bool
allows_door_locked(struct net *net, int door, const struct config *planned, char *ret_reason, size_t size)
{
	struct listener_options options = make_options(net, door);
	struct listeners *present = net->listening.doors[door].newest;
	int port = port_of(planned, door);
	bool same_port = port == listeners_port(present);
	if (same_port && strcmp(bind_of(planned), listeners_bind(present)) == 0)
		return true;
	if (listeners_were_passed(present)) {
		snprintf(ret_reason, size, "The service manager has passed the sockets to the server.");
		return false;
	}
	if (listeners_try_tcp(&options, port, bind_of(planned), present) == SETT_OK)
		return true;
	snprintf(ret_reason, size, "%s",
		 same_port ? "Failed to bind to specified addresses."
			   : "Unable to listen on this port. Check server logs.");
	return false;
}

bool
listening_allows(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	struct net *net = arg;
	bool allows = true;
	mutex_lock(&net->listening.mutex);
	for (int door = 0; door < DOORS && allows; door++)
		allows = allows_door_locked(net, door, planned, ret_reason, size);
	mutex_unlock(&net->listening.mutex);
	return allows;
}

/* Whether there are new sockets for the accepting reactor to take over. */
static bool
follow_config_locked(struct net *net, int door, int port, const char *addresses)
{
	struct door *d = &net->listening.doors[door];
	struct listener_options options = make_options(net, door);
	struct listeners *opened = NULL;
	if (port == listeners_port(d->newest) && strcmp(addresses, listeners_bind(d->newest)) == 0)
		return false;
	if (listeners_replace_tcp(&options, port, addresses, d->newest, &opened) != SETT_OK) {
		log_sink_printf(
			&net->sink, LOG_LEVEL_WARNING,
			"Can't listen on port %d as CONFIG SET asked; the server listens where it did", port);
		return false;
	}
	if (d->newest != d->watched)
		listeners_close(d->newest);
	d->newest = opened;
	return true;
}

void
listening_change(void *arg)
{
	struct net *net = arg;
	struct listening *l = &net->listening;
	const struct config *config = net->config;
	bool opened = false;
	mutex_lock(config_lock(net->config));
	mutex_lock(&l->mutex);
	for (int door = 0; door < DOORS; door++)
		opened |= follow_config_locked(net, door, port_of(config, door), bind_of(config));
	mutex_unlock(&l->mutex);
	mutex_unlock(config_lock(net->config));
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

/* Sorts the passed sockets by their kind. A kind of which there are none stays NULL. */
static int
take_passed(struct net *net, const struct passed_sockets *passed, struct sett_error *error)
{
	struct listening *l = &net->listening;
	const struct config *config = net->config;
	for (unsigned i = 0; i < passed->count; i++) {
		const struct passed_socket *p = &passed->items[i];
		int door = p->port != 0 && p->port == config->tls_port ? DOOR_TLS : DOOR_PLAIN;
		struct listeners **all = p->unix_path[0] != '\0' ? &l->unix_socket : &l->doors[door].watched;
		struct listener_options options = make_options(net, door);
		int status = *all != NULL
			? SETT_OK
			: listeners_make(&options, port_of(config, door), bind_of(config), all);
		if (status == SETT_OK)
			status = listeners_add(*all, p->fd, p->unix_path[0] != '\0' ? p->unix_path : NULL);
		if (status != SETT_OK)
			return sett_error_set(error, status, 0, "taking over passed sockets: %s",
					      sett_status_text(status));
	}
	return SETT_OK;
}

static int
open_door(struct net *net, int door, struct sett_error *error)
{
	struct door *d = &net->listening.doors[door];
	const struct config *config = net->config;
	struct listener_options options = make_options(net, door);
	int port = port_of(config, door);
	const char *what = door == DOOR_TLS ? "TLS" : "TCP";
	int status =
		d->watched != NULL ? SETT_OK : listeners_open_tcp(&options, port, config->bind, &d->watched);
	d->newest = d->watched;
	if (status == SETT_OK)
		return SETT_OK;
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Failed listening on port %d (%s), aborting.", port,
			what);
	return sett_error_set(error, status, 0, "Failed listening on port %d (%s), aborting.", port, what);
}

/* As Redis warns. */
static void
check_backlog(struct net *net)
{
	int limit = 0, backlog = net->config->tcp_backlog;
	FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");
	if (file == NULL)
		return;
	if (fscanf(file, "%d", &limit) == 1 && limit > 0 && limit < backlog)
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING,
				"WARNING: The TCP backlog setting of %d cannot be enforced because "
				"/proc/sys/net/core/somaxconn is set to the lower value of %d.",
				backlog, limit);
	fclose(file);
}

int
listening_open(struct net *net, const struct passed_sockets *passed, struct sett_error *error)
{
	struct listening *l = &net->listening;
	const struct config *config = net->config;
	struct listener_options options = make_options(net, DOOR_PLAIN);
	unsigned sockets = 0;
	check_backlog(net);
	int status = take_passed(net, passed, error);
	if (status != SETT_OK)
		return status;
	for (int door = 0; door < DOORS; door++) {
		status = open_door(net, door, error);
		if (status != SETT_OK)
			return status;
		sockets += listeners_size(l->doors[door].watched);
	}
	if (l->unix_socket == NULL)
		status = listeners_open_unix(&options, &l->unix_socket);
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
