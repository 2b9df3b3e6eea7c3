/* See shutdown.h. */
#include "moving/shutdown.h"

#include <inttypes.h>
#include <stdlib.h>

#include "config/config.h"
#include "moving/held_writes.h"
#include "moving/saver.h"
#include "net/net.h"
#include "repl/acks.h"
#include "repl/replicas.h"
#include "storage/base/thread.h"
#include "storage/engine.h"

enum { LOOK_MS = 10 };
#define NS_PER_MS 1000000ull

struct shutdown {
	struct server *server;
	struct mutex lock;
	struct condition changed;
	/* under the lock */
	struct shutdown_wish wish;
	bool asked, aborted;
	uint64_t until_ms; /* monotonic; 0: replicas are not waited for */
};

int
shutdown_create(struct server *server, struct shutdown **ret)
{
	struct shutdown *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return SETT_NO_MEMORY;
	s->server = server;
	mutex_init(&s->lock);
	condition_init(&s->changed);
	*ret = s;
	return SETT_OK;
}

void
shutdown_destroy(struct shutdown *s)
{
	if (s == NULL)
		return;
	condition_destroy(&s->changed);
	mutex_destroy(&s->lock);
	free(s);
}

static uint64_t
now_ms(const struct shutdown *s)
{
	return clock_monotonic_ns(s->server->clock) / NS_PER_MS;
}

void
shutdown_ask(struct shutdown *s, const struct shutdown_wish *wish)
{
	mutex_lock(&s->lock);
	s->wish.save |= wish->save;
	s->wish.now |= wish->now;
	s->wish.force |= wish->force;
	s->asked = true;
	condition_signal(&s->changed);
	mutex_unlock(&s->lock);
	net_request_shutdown(s->server->net);
}

void
shutdown_ask_by_signal(struct shutdown *s, bool is_sigint)
{
	/* relaxed: a word that stands for itself */
	const struct config *config = s->server->config;
	int flags = __atomic_load_n(is_sigint ? &config->shutdown_on_sigint : &config->shutdown_on_sigterm,
				    __ATOMIC_RELAXED);
	shutdown_ask(s,
		     &(struct shutdown_wish){.save = (flags & CONFIG_SHUTDOWN_SAVE) != 0,
					     .now = (flags & CONFIG_SHUTDOWN_NOW) != 0,
					     .force = (flags & CONFIG_SHUTDOWN_FORCE) != 0});
}

bool
shutdown_abort(struct shutdown *s)
{
	mutex_lock(&s->lock);
	bool is_there = s->asked && !s->aborted;
	s->aborted |= is_there;
	condition_signal(&s->changed);
	mutex_unlock(&s->lock);
	if (is_there)
		log_sink_printf(&s->server->sink, LOG_LEVEL_NOTICE, "Shutdown manually aborted.");
	return is_there;
}

uint64_t
shutdown_left_ms(struct shutdown *s)
{
	mutex_lock(&s->lock);
	uint64_t now = now_ms(s), left = s->until_ms > now ? s->until_ms - now : 0;
	mutex_unlock(&s->lock);
	return left;
}

/* ---- replicas ---- */

struct roll_call {
	const struct log_sink *sink; /* NULL: those that lag are counted alone */
	uint64_t offset;
	unsigned count, current;
};

static void
call_replica(void *arg, const struct replica_facts *replica)
{
	struct roll_call *call = arg;
	if (replica->only_databases)
		return;
	bool is_online = replica->state == REPLICA_ONLINE;
	call->count++;
	if (is_online && replica->acknowledged == call->offset)
		call->current++;
	else if (call->sink != NULL)
		log_sink_printf(call->sink, LOG_LEVEL_NOTICE,
				"Lagging replica %s:%" PRId64 " reported offset %" PRIu64
				" behind master, lag=%" PRId64 ", state=%s.",
				replica->ip, replica->port, call->offset - replica->acknowledged,
				is_online ? replica->lag_seconds : 0, replica_state_name(replica->state));
}

static bool
replicas_have_all(struct shutdown *s, const struct log_sink *sink)
{
	struct replication_state state;
	replication_get(s->server->replication, &state);
	struct roll_call call = {.sink = sink, .offset = state.position.offset};
	replicas_each(s->server->replication, call_replica, &call);
	if (sink != NULL && call.count > 0)
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "%u of %u replicas are in sync when shutting down.",
				call.current, call.count);
	return call.current == call.count;
}

static bool
may_wait_locked(struct shutdown *s) REQUIRES(&s->lock)
{
	return !s->aborted && !s->wish.now && s->until_ms > now_ms(s);
}

/* False: it was aborted. */
static bool
wait_for_replicas(struct shutdown *s)
{
	mutex_lock(&s->lock);
	while (may_wait_locked(s)) {
		mutex_unlock(&s->lock);
		bool is_over = replicas_have_all(s, NULL);
		mutex_lock(&s->lock);
		if (is_over)
			break;
		(void)condition_wait_for(&s->changed, &s->lock, LOOK_MS * NS_PER_MS);
	}
	bool goes_on = !s->aborted;
	mutex_unlock(&s->lock);
	return goes_on;
}

/* ---- all of it ---- */

/* What was acknowledged is durable first, whatever the wish; with SAVE it is also in an RDB file. */
static int
save(struct shutdown *s, const struct shutdown_wish *wish, struct sett_error *error)
{
	int status = sett_engine_sync(s->server->engine, error);
	if (status == SETT_OK && wish->save) {
		saver_end_background(s->server->saver);
		status = saver_run(s->server->saver, 0, NULL, error);
	}
	if (status == SETT_LOCKED)
		sett_error_set(error, status, 0, "it is being saved already");
	return status;
}

static bool
save_or_not(struct shutdown *s, const struct shutdown_wish *wish)
{
	struct server *server = s->server;
	struct sett_error error = {0};
	if (save(s, wish, &error) == SETT_OK)
		return true;
	log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "Error trying to save the DB: %s", error.message);
	__atomic_store_n(&server->shutdown_failed, 1, __ATOMIC_RELAXED);
	if (!wish->force)
		log_sink_printf(
			&server->sink, LOG_LEVEL_WARNING,
			"Errors trying to shut down the server. Check the logs for more information.");
	return wish->force;
}

/* The end of one attempt, which has come to nothing. */
static void
give_up(struct shutdown *s)
{
	mutex_lock(&s->lock);
	s->wish = (struct shutdown_wish){0};
	s->asked = s->aborted = false;
	s->until_ms = 0;
	mutex_unlock(&s->lock);
	acks_end_shutdown(s->server->replication);
}

bool
shutdown_carry_out(struct shutdown *s)
{
	const struct log_sink *sink = &s->server->sink;
	mutex_lock(&s->lock);
	bool asked = s->asked;
	mutex_unlock(&s->lock);
	if (!asked)
		return false; /* two have asked, and it was aborted for both */
	int64_t timeout = __atomic_load_n(&s->server->config->shutdown_timeout, __ATOMIC_RELAXED);
	log_sink_printf(sink, LOG_LEVEL_WARNING, "User requested shutdown...");
	mutex_lock(&s->lock);
	bool waits = !s->wish.now && timeout > 0;
	mutex_unlock(&s->lock);
	waits = waits && !replicas_have_all(s, NULL);
	if (waits) {
		writes_hold(s->server);
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "Waiting for replicas before shutting down.");
	}
	mutex_lock(&s->lock);
	s->until_ms = waits ? now_ms(s) + (uint64_t)timeout * 1000 : 0;
	mutex_unlock(&s->lock);
	bool ends = wait_for_replicas(s);
	mutex_lock(&s->lock);
	struct shutdown_wish wish = s->wish;
	mutex_unlock(&s->lock);
	if (ends) {
		(void)replicas_have_all(s, sink);
		ends = save_or_not(s, &wish);
	}
	if (ends)
		return true;
	give_up(s);
	if (waits)
		writes_release(s->server);
	return false;
}
