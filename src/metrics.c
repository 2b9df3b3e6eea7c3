/* See metrics.h.
 *
 * HTTP as far as a collector needs it (RFC 9110, 9112): one GET or HEAD of /metrics, and the connection is closed. A peer has TIME_MS for its
 * request, as long to take the reply, and DRAIN_MS to see the end of it. Others wait behind it for so long at most: each of several silent peers
 * costs who comes behind them TIME_MS. */
#include "metrics.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acl/users.h"
#include "config/config.h"
#include "info/info.h"
#include "info/openmetrics.h"
#include "loop/loop.h"
#include "net/arrivals.h"
#include "net/listener.h"
#include "storage/engine.h"

enum {
	TIME_MS = 2000,
	DRAIN_MS = 1000,
	STEP_MS = 50,
	REQUEST_SIZE = 8192,
	BLOCK = 4096,
	LOOP_DESCRIPTORS = 2
};

struct metrics {
	struct server *server;
	struct loop *loop;
	struct listeners *listeners;
	pthread_t thread;
	bool stop; /* atomic */
};

/* ---- the figures ---- */

static int
write_info(struct server *server, struct buffer *ret)
{
	const struct bytes everything = BYTES_LITERAL("everything");
	struct sett_txn *txn = NULL;
	struct keyspace_view view;
	struct arena arena;
	arena_init(&arena, BLOCK);
	int status = sett_txn_create(server->engine, &txn);
	if (status == SETT_OK)
		status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = keyspace_begin(&view, server->keyspace, txn, &arena);
	if (status == SETT_OK)
		status = info_write(server, &view, NULL, &everything, 1, ret);
	sett_txn_destroy(txn);
	arena_free(&arena);
	return status;
}

static int
write_figures(struct server *server, struct buffer *ret)
{
	struct buffer info = {0};
	int status = write_info(server, &info);
	if (status == SETT_OK)
		status = openmetrics_write(buffer_bytes(&info), ret);
	buffer_free(&info);
	return status;
}

/* ---- one request ---- */

/* Waits a moment for the socket; false: the time is over. */
static bool
wait_for(struct metrics *m, int fd, short events, uint64_t end_ns)
{
	uint64_t now = clock_monotonic_ns(m->server->clock);
	struct pollfd poll_fd = {.fd = fd, .events = events};
	if (now >= end_ns || __atomic_load_n(&m->stop, __ATOMIC_RELAXED))
		return false;
	uint64_t left_ms = (end_ns - now) / 1000000 + 1;
	/* In steps, as the server may end meanwhile. */
	int ready = poll(&poll_fd, 1, left_ms < STEP_MS ? (int)left_ms : STEP_MS);
	return ready >= 0 || errno == EINTR;
}

static uint64_t
deadline(const struct metrics *m, uint64_t ms)
{
	return clock_monotonic_ns(m->server->clock) + ms * 1000000ULL;
}

/* The request up to its empty line, with a NUL behind it. False: there is none, or it is too long. */
static bool
read_request(struct metrics *m, int fd, char *request)
{
	uint64_t end_ns = deadline(m, TIME_MS);
	size_t size = 0;
	while (size < REQUEST_SIZE - 1) {
		ssize_t got = recv(fd, request + size, REQUEST_SIZE - 1 - size, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (got < 0) {
			if (!wait_for(m, fd, POLLIN, end_ns))
				return false;
			continue;
		}
		size += (size_t)got;
		request[size] = '\0';
		if (strstr(request, "\r\n\r\n") != NULL || strstr(request, "\n\n") != NULL)
			return true;
	}
	return false;
}

/* False: the peer does not take it. */
static bool
send_all(struct metrics *m, int fd, struct bytes bytes, uint64_t end_ns)
{
	while (bytes.size > 0) {
		ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
		if (sent >= 0)
			bytes = bytes_of(bytes.data + sent, bytes.size - (size_t)sent);
		else if (errno != EAGAIN && errno != EINTR)
			return false;
		else if (!wait_for(m, fd, POLLOUT, end_ns))
			return false;
	}
	return true;
}

static void
reply(struct metrics *m, int fd, const char *status, const char *type, struct bytes body, bool with_body)
{
	char head[512];
	uint64_t end_ns = deadline(m, TIME_MS);
	int size = snprintf(
		head, sizeof(head),
		"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
		type, body.size);
	assert(size > 0 && (size_t)size < sizeof(head));
	if (send_all(m, fd, bytes_of(head, (size_t)size), end_ns) && with_body)
		(void)send_all(m, fd, body, end_ns);
}

static void
refuse(struct metrics *m, int fd, const char *status)
{
	reply(m, fd, status, "text/plain", bytes_of_string(status), true);
}

/* What the peer has sent and nobody reads would cost it the reply: closing resets the connection then. So that is read until the
 * peer closes, for a moment. */
static void
drain(struct metrics *m, int fd)
{
	char ignored[BLOCK];
	uint64_t end_ns = deadline(m, DRAIN_MS);
	(void)shutdown(fd, SHUT_WR); /* the peer sees the end of the reply */
	for (;;) {
		ssize_t got = recv(fd, ignored, sizeof(ignored), 0);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return;
		if (got > 0 ? clock_monotonic_ns(m->server->clock) >= end_ns
			    : !wait_for(m, fd, POLLIN, end_ns))
			return;
	}
}

static bool
begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static void
answer(struct metrics *m, int fd)
{
	char request[REQUEST_SIZE];
	struct buffer figures = {0};
	if (!read_request(m, fd, request))
		return;
	bool is_head = begins(request, "HEAD ");
	const char *path = strchr(request, ' ');
	if (path == NULL || strstr(path, " HTTP/1.") == NULL) {
		refuse(m, fd, "400 Bad Request");
	} else if (!is_head && !begins(request, "GET ")) {
		refuse(m, fd, "405 Method Not Allowed");
	} else if (!begins(path, " /metrics ") && !begins(path, " /metrics?")) {
		refuse(m, fd, "404 Not Found");
	} else {
		int status = write_figures(m->server, &figures);
		if (status == SETT_OK)
			reply(m, fd, "200 OK", OPENMETRICS_TYPE, buffer_bytes(&figures), !is_head);
		else
			refuse(m, fd, "503 Service Unavailable");
		buffer_free(&figures);
	}
	drain(m, fd);
}

/* ---- the thread ---- */

static void
take(void *arg, const struct arrival *arrival)
{
	struct metrics *m = arg;
	struct server *s = m->server;
	bool is_protected = __atomic_load_n(&s->config->protected_mode, __ATOMIC_RELAXED);
	if (!arrivals_protected_from(arrival->peer, is_protected, !acl_has_no_password(s->users)))
		answer(m, arrival->fd);
	(void)close(arrival->fd);
}

static void *
serve(void *arg)
{
	struct metrics *m = arg;
	while (!__atomic_load_n(&m->stop, __ATOMIC_RELAXED))
		loop_wait(m->loop, true, NULL);
	return NULL;
}

static void
destroy(struct metrics *m)
{
	if (m->listeners != NULL) {
		listeners_unwatch(m->listeners, m->loop);
		listeners_close(m->listeners);
	}
	loop_destroy(m->loop);
	free(m);
}

static int
open_port(struct metrics *m, struct sett_error *error)
{
	struct server *s = m->server;
	int port = s->config->metrics_port;
	struct listener_options options = {.config = s->config, .sink = s->sink, .take = take, .arg = m};
	int status = loop_create(s->clock, &m->loop, error);
	if (status != SETT_OK)
		return status;
	mutex_lock(config_lock(s->config));
	status = listeners_open_tcp(&options, port, s->config->bind, &m->listeners);
	mutex_unlock(config_lock(s->config));
	if (status == SETT_OK)
		status = listeners_watch(m->listeners, m->loop);
	if (status != SETT_OK)
		sett_error_set(error, status, 0, "metrics-port %d can't be opened", port);
	return status;
}

int
metrics_start(struct server *server, struct metrics **ret, struct sett_error *error)
{
	*ret = NULL;
	if (server->config->metrics_port == 0)
		return SETT_OK;
	struct metrics *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	m->server = server;
	int status = open_port(m, error);
	if (status == SETT_OK) {
		status = thread_start(&m->thread, "metrics", serve, m);
		if (status != SETT_OK)
			sett_error_set(error, status, 0, "starting the thread of metrics-port failed");
	}
	if (status != SETT_OK) {
		destroy(m);
		return status;
	}
	log_sink_printf(&server->sink, LOG_LEVEL_NOTICE, "Figures in OpenMetrics' form: port %d, /metrics",
			server->config->metrics_port);
	*ret = m;
	return SETT_OK;
}

void
metrics_stop(struct metrics *m)
{
	if (m == NULL)
		return;
	__atomic_store_n(&m->stop, true, __ATOMIC_RELAXED);
	loop_wake(m->loop);
	thread_join(m->thread);
	destroy(m);
}

unsigned
metrics_descriptors(const struct config *config)
{
	return config->metrics_port == 0 ? 0 : LOOP_DESCRIPTORS + 1;
}
