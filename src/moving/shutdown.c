/* See shutdown.h. */
#include "moving/shutdown.h"

#include <assert.h>
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
	bool asked;                /* since the last decision, or abort */
	struct shutdown_wish wish; /* then */
	bool aborted;              /* what was asked for before that; main has yet to see it */
	uint64_t until_ms;         /* monotonic; 0: replicas are not waited for */
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
	s->wish.no_save |= wish->no_save;
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
					     .no_save = (flags & CONFIG_SHUTDOWN_NOSAVE) != 0,
					     .now = (flags & CONFIG_SHUTDOWN_NOW) != 0,
					     .force = (flags & CONFIG_SHUTDOWN_FORCE) != 0});
}

void
shutdown_leave(const struct shutdown *s)
{
	saver_remove_own(s->server);
}

bool
shutdown_abort(struct shutdown *s)
{
	mutex_lock(&s->lock);
	/* What is asked for while Redis' files are taken over ends that, and the server. */
	bool is_there = s->asked && !loading_is_active(&s->server->loading);
	if (is_there) {
		s->asked = false;
		s->wish = (struct shutdown_wish){0};
		s->aborted = true;
		condition_signal(&s->changed);
	}
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

static struct roll_call
call_roll(struct shutdown *s, const struct log_sink *sink)
{
	struct replication_state state;
	replication_get(s->server->replication, &state);
	struct roll_call call = {.sink = sink, .offset = state.position.offset};
	replicas_each(s->server->replication, call_replica, &call);
	return call;
}

static void
log_roll(struct shutdown *s)
{
	const struct log_sink *sink = &s->server->sink;
	struct roll_call call = call_roll(s, sink);
	if (call.count > 0)
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "%u of %u replicas are in sync when shutting down.",
				call.current, call.count);
}

/* Before replicas are looked at, and up to the end: what is acknowledged in between would be asked of nobody. False: nobody
 * is waited for. */
static bool
hold_writes(struct shutdown *s)
{
	int64_t timeout = __atomic_load_n(&s->server->config->shutdown_timeout, __ATOMIC_RELAXED);
	mutex_lock(&s->lock);
	bool waits = !s->wish.now && timeout > 0;
	mutex_unlock(&s->lock);
	struct roll_call call = call_roll(s, NULL);
	if (!waits || call.count == 0)
		return false;
	writes_hold(s->server);
	if (call.current < call.count)
		log_sink_printf(&s->server->sink, LOG_LEVEL_NOTICE,
				"Waiting for replicas before shutting down.");
	mutex_lock(&s->lock);
	s->until_ms = now_ms(s) + (uint64_t)timeout * 1000;
	mutex_unlock(&s->lock);
	return true;
}

static bool
may_wait_locked(struct shutdown *s) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	return !s->aborted && !s->wish.now && s->until_ms > now_ms(s);
}

/* The first look is some time after writes are held: those that had begun come to their end. */
static void
wait_for_replicas_locked(struct shutdown *s) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	bool is_over = false;
	while (!is_over && may_wait_locked(s)) {
		(void)condition_wait_for(&s->changed, &s->lock, LOOK_MS * NS_PER_MS);
		mutex_unlock(&s->lock);
		struct roll_call call = call_roll(s, NULL);
		is_over = call.current == call.count;
		mutex_lock(&s->lock);
	}
}

/* When the wait is over. True: it goes on as `ret` says, and can't be aborted any more. */
static bool
decide(struct shutdown *s, struct shutdown_wish *ret)
{
	mutex_lock(&s->lock);
	wait_for_replicas_locked(s);
	bool goes_on = !s->aborted;
	if (goes_on) {
		*ret = s->wish;
		s->wish = (struct shutdown_wish){0};
		s->asked = false;
	}
	s->aborted = false;
	s->until_ms = 0;
	mutex_unlock(&s->lock);
	return goes_on;
}

/* ---- all of it ---- */

/* What was acknowledged becomes durable, whatever the wish. A log that has failed never does that again: the server ends all
 * the same, and its exit code says so. */
static void
make_durable(struct shutdown *s)
{
	struct sett_error error = {0};
	if (sett_engine_sync(s->server->engine, &error) != SETT_OK)
		log_sink_printf(&s->server->sink, LOG_LEVEL_WARNING,
				"What was written last can't be made durable: %s", error.message);
}

static int
save(struct shutdown *s, struct sett_error *error)
{
	struct saver *saver = s->server->saver;
	int status;
	do { /* again if another one has begun in the background since */
		saver_end_background(saver);
		status = saver_run(saver, 0, NULL, error);
	} while (status == SETT_LOCKED && saver_is_in_background(saver));
	if (status == SETT_LOCKED)
		sett_error_set(error, status, 0, "it is being saved already");
	return status;
}

/* False: the server is to stay. */
static bool
save_or_not(struct shutdown *s, const struct shutdown_wish *wish)
{
	struct server *server = s->server;
	struct sett_error error = {0};
	make_durable(s);
	if (!wish->save && (wish->no_save || !saver_has_points(server->saver)))
		return true;
	log_sink_printf(&server->sink, LOG_LEVEL_NOTICE, "Saving the final RDB snapshot before exiting.");
	if (save(s, &error) == SETT_OK)
		return true;
	log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "Error trying to save the DB, %s: %s",
			wish->force ? "exit anyway" : "can't exit", error.message);
	__atomic_store_n(&server->shutdown_failed, 1, __ATOMIC_RELAXED);
	if (!wish->force)
		log_sink_printf(
			&server->sink, LOG_LEVEL_WARNING,
			"Errors trying to shut down the server. Check the logs for more information.");
	return wish->force;
}

/* The end of one attempt, which has come to nothing. What was asked for since is the next one's, and all clients wait for
 * how that ends. */
static void
give_up(struct shutdown *s, bool holds_writes)
{
	mutex_lock(&s->lock);
	bool again = s->asked;
	mutex_unlock(&s->lock);
	if (again)
		net_request_shutdown(s->server->net);
	else
		acks_end_shutdown(s->server->replication);
	if (holds_writes)
		writes_release(s->server);
}

bool
shutdown_carry_out(struct shutdown *s)
{
	struct shutdown_wish wish;
	mutex_lock(&s->lock);
	bool asked = s->asked || s->aborted;
	mutex_unlock(&s->lock);
	if (!asked)
		return false; /* an attempt has had it already */
	log_sink_printf(&s->server->sink, LOG_LEVEL_WARNING, "User requested shutdown...");
	bool holds_writes = hold_writes(s);
	bool ends = decide(s, &wish);
	if (ends) {
		log_roll(s);
		ends = save_or_not(s, &wish);
	}
	if (!ends)
		give_up(s, holds_writes);
	return ends;
}
