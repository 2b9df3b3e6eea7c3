/* See failover.h. */
#include "moving/failover.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "moving/follower.h"
#include "moving/held_writes.h"
#include "repl/replicas.h"

#define NS_PER_MS 1000000ull

void
failover_init(struct failover *f, struct server *server)
{
	*f = (struct failover){.server = server};
	mutex_init(&f->lock);
}

void
failover_free(struct failover *f)
{
	mutex_destroy(&f->lock);
}

enum failover_stage
failover_stage(struct failover *f)
{
	mutex_lock(&f->lock);
	enum failover_stage stage = f->stage;
	mutex_unlock(&f->lock);
	return stage;
}

const char *
failover_stage_name(enum failover_stage stage)
{
	static const char *const names[] = {[FAILOVER_NONE] = "no-failover",
					    [FAILOVER_WAITS] = "waiting-for-sync",
					    [FAILOVER_HANDS_OVER] = "failover-in-progress"};
	return names[stage];
}

/* ---- its beginning, its end ---- */

bool
failover_begin(struct failover *f, const struct failover_wish *wish)
{
	mutex_lock(&f->lock);
	bool begins = f->stage == FAILOVER_NONE;
	if (begins) {
		f->stage = FAILOVER_WAITS;
		f->wish = *wish;
		writes_hold(f->server);
	}
	mutex_unlock(&f->lock);
	return begins;
}

/* From one stage to the next; false: it was in another one. */
static bool
move_on(struct failover *f, enum failover_stage from, enum failover_stage to, struct failover_wish *ret)
{
	mutex_lock(&f->lock);
	bool moves = f->stage == from;
	if (moves)
		f->stage = to;
	*ret = f->wish;
	mutex_unlock(&f->lock);
	return moves;
}

static void
log_abort(struct failover *f, enum failover_stage stage, const struct failover_wish *wish, const char *why)
{
	const struct log_sink *sink = &f->server->sink;
	const char *name = failover_stage_name(stage);
	if (wish->host[0] != '\0')
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "Aborting failover to %s:%u while %s: %s", wish->host,
				wish->port, name, why);
	else
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "Aborting failover while %s: %s", name, why);
}

/* While it waits, on the follower's thread. */
static void
stop_waiting(struct failover *f, const char *why)
{
	struct failover_wish wish;
	if (!move_on(f, FAILOVER_WAITS, FAILOVER_NONE, &wish))
		return;
	log_abort(f, FAILOVER_WAITS, &wish, why);
	writes_release(f->server);
}

/* ---- changes of the stage that are part of a commit ---- */

/* Under the commit lock, as what a change is decided by: the stage, who is master, where the stream ends. */
static bool
may_change(struct commit_participant *p)
{
	const struct failover_change *change = (const struct failover_change *)p;
	struct failover *f = change->failover;
	struct replication_state state;
	replication_get(f->server->replication, &state);
	if (change->to == FAILOVER_HANDS_OVER && state.role != REPLICATION_MASTER)
		return false;
	if (change->offset != NULL && state.position.offset != *change->offset)
		return false;
	return failover_stage(f) == change->from;
}

static void
make_change(struct commit_participant *p, uint64_t timestamp)
{
	struct failover_change *change = (struct failover_change *)p;
	struct failover *f = change->failover;
	(void)timestamp;
	mutex_lock(&f->lock);
	change->is_made = f->stage == change->from; /* not, if the same MULTI block has ended it before */
	if (change->is_made) {
		f->stage = change->to;
		f->wish = change->wish;
	}
	mutex_unlock(&f->lock);
}

static void
prepare_change(struct failover *f, enum failover_stage to, struct failover_change *ret)
{
	*ret = (struct failover_change){
		.participant = {.validate = may_change, .apply = make_change}, .failover = f, .to = to};
	mutex_lock(&f->lock);
	ret->from = f->stage;
	ret->wish = f->wish;
	mutex_unlock(&f->lock);
}

bool
failover_prepare_abort(struct failover *f, struct failover_change *ret)
{
	prepare_change(f, FAILOVER_NONE, ret);
	return ret->from != FAILOVER_NONE;
}

void
failover_aborted(const struct failover_change *change, const char *why)
{
	if (!change->is_made)
		return;
	log_abort(change->failover, change->from, &change->wish, why);
	writes_release(change->failover->server);
}

void
failover_refused(struct failover *f)
{
	struct failover_change change;
	struct failover_wish wish;
	prepare_change(f, FAILOVER_NONE, &change);
	if (change.from != FAILOVER_HANDS_OVER)
		return;
	int status = follower_switch(f->server->follower, "", 0, &change.participant);
	/* A client's ABORT came before, or nothing can be committed. */
	if (status != SETT_OK && status != SETT_ABORTED &&
	    move_on(f, FAILOVER_HANDS_OVER, FAILOVER_NONE, &wish)) {
		change.is_made = true;
		log_sink_printf(&f->server->sink, LOG_LEVEL_WARNING,
				"This server stays a replica, REPLICAOF NO ONE ends that: %s",
				sett_status_text(status));
	}
	failover_aborted(&change, "Failover target rejected psync request");
}

/* ---- a replica that has all ---- */

struct search {
	const struct failover_wish *wish;
	uint64_t offset;
	bool found;
	char host[FAILOVER_HOST_SIZE];
	unsigned port;
};

static void
look_at_replica(void *arg, const struct replica_facts *replica)
{
	struct search *s = arg;
	bool is_meant = s->wish->host[0] == '\0' ||
		(strcasecmp(s->wish->host, replica->ip) == 0 && s->wish->port == replica->port);
	if (s->found || !is_meant || replica->only_databases || replica->state != REPLICA_ONLINE ||
	    replica->acknowledged != s->offset)
		return;
	s->found = true;
	snprintf(s->host, sizeof(s->host), "%s", replica->ip);
	s->port = (unsigned)replica->port;
}

/* This server is the target's replica from now on, if it still waits for that. At `offset` alone, if that is given. */
static bool
hand_over(struct failover *f, const char *host, unsigned port, const uint64_t *offset)
{
	char why[128];
	struct failover_change change;
	prepare_change(f, FAILOVER_HANDS_OVER, &change);
	if (change.from != FAILOVER_WAITS)
		return false;
	snprintf(change.wish.host, sizeof(change.wish.host), "%s", host);
	change.wish.port = port;
	change.offset = offset;
	int status = follower_switch(f->server->follower, host, port, &change.participant);
	if (status != SETT_OK && status != SETT_ABORTED) { /* written to, or ended: it is looked at again */
		snprintf(why, sizeof(why), "This server can't become a replica: %s",
			 sett_status_text(status));
		stop_waiting(f, why);
	}
	return status == SETT_OK;
}

static void
run_out_of_time(struct failover *f, const struct failover_wish *wish)
{
	if (!wish->force)
		stop_waiting(f, "Replica never caught up before timeout");
	else if (hand_over(f, wish->host, wish->port, NULL))
		log_sink_printf(&f->server->sink, LOG_LEVEL_NOTICE,
				"Failover to %s:%u time out exceeded, failing over.", wish->host, wish->port);
}

static void
look_for_replica(struct failover *f, const struct failover_wish *wish)
{
	struct replication_state state;
	replication_get(f->server->replication, &state);
	struct search s = {.wish = wish, .offset = state.position.offset};
	replicas_each(f->server->replication, look_at_replica, &s);
	if (s.found && hand_over(f, s.host, s.port, &s.offset))
		log_sink_printf(&f->server->sink, LOG_LEVEL_NOTICE,
				"Failover target %s:%u is synced, failing over.", s.host, s.port);
}

bool
failover_step(struct failover *f)
{
	mutex_lock(&f->lock);
	enum failover_stage stage = f->stage;
	struct failover_wish wish = f->wish;
	mutex_unlock(&f->lock);
	if (stage == FAILOVER_HANDS_OVER) /* REPLICAOF NO ONE came in between */
		failover_settle(f);
	if (stage != FAILOVER_WAITS)
		return false;
	if (wish.until_ms != 0 && clock_monotonic_ns(f->server->clock) / NS_PER_MS >= wish.until_ms)
		run_out_of_time(f, &wish);
	else
		look_for_replica(f, &wish);
	return true;
}

void
failover_follow(struct failover *f)
{
	stop_waiting(f, "REPLICAOF came in between");
}

void
failover_settle(struct failover *f)
{
	struct failover_change change;
	struct failover_wish wish;
	prepare_change(f, FAILOVER_NONE, &change);
	if (change.from != FAILOVER_HANDS_OVER)
		return;
	/* In a commit, so that a client's ABORT comes before or after, not in between. */
	int status = commit_alone(f->server, &change.participant);
	if (status != SETT_OK && status != SETT_ABORTED)
		change.is_made = move_on(f, FAILOVER_HANDS_OVER, FAILOVER_NONE, &wish);
	if (change.is_made)
		writes_release(f->server);
}
