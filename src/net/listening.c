/* Where the server listens: see listening.h.
 *
 * A change of `port` or `bind` is asked for twice. The guard tries it when the command runs, and leaves nothing behind,
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
make_options(struct net *net)
{
	return (struct listener_options){
		.config = net->config, .sink = net->sink, .take = take_arrival, .arg = net};
}

/* ---- changes ---- */

bool
net_allows_listening(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	struct net *net = arg;
	struct listener_options options = make_options(net);
	bool same_port = planned->port == net->config->port;
	struct listeners *tried = NULL;
	if (planned->port == 0)
		return true;
	int status = same_port ? listeners_try(&options, planned->bind)
			       : listeners_open_tcp(&options, planned->port, planned->bind, &tried);
	listeners_close(tried);
	if (status == SETT_OK)
		return true;
	snprintf(ret_reason, size, "%s",
		 same_port ? "Failed to bind to specified addresses."
			   : "Unable to listen on this port. Check server logs.");
	return false;
}

/* On the present port the old sockets have to go first. If the new ones can't be had then, the old come back. */
static int
replace_locked(struct net *net, int port, const char *addresses, struct listeners **ret)
{
	struct listener_options options = make_options(net);
	struct listeners *old = net->listening.newest;
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

/* A value of the configuration that this thread may keep. */
static char *
copy_bind(struct config *config, int *ret_port)
{
	mutex_lock(config_lock(config));
	char *copy = strdup(config->bind != NULL ? config->bind : "");
	*ret_port = config->port;
	mutex_unlock(config_lock(config));
	return copy;
}

void
net_listen_anew(void *arg)
{
	struct net *net = arg;
	struct listening *l = &net->listening;
	struct listeners *opened = NULL;
	int port;
	mutex_lock(&l->mutex);
	char *addresses = copy_bind(net->config, &port);
	bool differs = addresses != NULL &&
		(port != listeners_port(l->newest) || strcmp(addresses, listeners_bind(l->newest)) != 0);
	if (differs && replace_locked(net, port, addresses, &opened) == SETT_OK) {
		if (l->newest != l->watched)
			listeners_close(l->newest);
		l->newest = opened;
	}
	mutex_unlock(&l->mutex);
	free(addresses);
	if (opened != NULL)
		reactor_control(net->reactors[0], REACTOR_LISTEN);
}

void
listening_follow(struct net *net, struct loop *loop)
{
	struct listening *l = &net->listening;
	mutex_lock(&l->mutex);
	struct listeners *old = l->watched;
	if (l->newest != old) {
		listeners_unwatch(old, loop);
		listeners_close(old);
		l->watched = l->newest;
		if (listeners_watch(l->watched, loop) != SETT_OK)
			log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Can't accept connections on port %d",
					listeners_port(l->watched));
	}
	mutex_unlock(&l->mutex);
}

/* ---- life ---- */

int
listening_open(struct net *net, struct sett_error *error)
{
	struct listening *l = &net->listening;
	const struct config *config = net->config;
	struct listener_options options = make_options(net);
	int status = listeners_open_tcp(&options, config->port, config->bind, &l->watched);
	l->newest = l->watched;
	if (status != SETT_OK) {
		log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Failed listening on port %d (TCP), aborting.",
				config->port);
		return sett_error_set(error, status, 0, "Failed listening on port %d (TCP), aborting.",
				      config->port);
	}
	status = listeners_open_unix(&options, &l->unix_socket);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "Failed opening Unix socket %s", config->unix_socket);
	if (listeners_size(l->watched) + listeners_size(l->unix_socket) > 0)
		return SETT_OK;
	log_sink_printf(&net->sink, LOG_LEVEL_WARNING, "Configured to not listen anywhere, exiting.");
	return sett_error_set(error, SETT_INVALID, 0, "Configured to not listen anywhere, exiting.");
}

void
listening_close(struct net *net)
{
	struct listening *l = &net->listening;
	if (l->newest != l->watched)
		listeners_close(l->newest);
	listeners_close(l->watched);
	listeners_close(l->unix_socket);
}

int
listening_watch(struct net *net, struct loop *loop)
{
	int status = listeners_watch(net->listening.watched, loop);
	return status == SETT_OK ? listeners_watch(net->listening.unix_socket, loop) : status;
}

void
listening_unwatch(struct net *net, struct loop *loop)
{
	listeners_unwatch(net->listening.watched, loop);
	listeners_unwatch(net->listening.unix_socket, loop);
}
