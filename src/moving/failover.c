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

/* From one stage to the next; false: another thread was first. */
static bool
move_on(struct failover *f, enum failover_stage from, enum failover_stage to, struct failover_wish *ret)
{
	mutex_lock(&f->lock);
	bool moves = f->stage == from && from != FAILOVER_NONE;
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

static bool
abort_stage(struct failover *f, enum failover_stage stage, const char *why)
{
	struct failover_wish wish;
	if (!move_on(f, stage, FAILOVER_NONE, &wish))
		return false;
	log_abort(f, stage, &wish, why);
	if (stage == FAILOVER_HANDS_OVER) {
		int status = follower_switch(f->server->follower, "", 0, NULL);
		if (status != SETT_OK)
			log_sink_printf(&f->server->sink, LOG_LEVEL_WARNING,
					"This server stays a replica, REPLICAOF NO ONE ends that: %s",
					sett_status_text(status));
	}
	writes_release(f->server);
	return true;
}

bool
failover_abort(struct failover *f, const char *why)
{
	/* It may hand over in between. */
	return abort_stage(f, FAILOVER_WAITS, why) || abort_stage(f, FAILOVER_HANDS_OVER, why);
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

/* This server is the target's replica from now on. At `offset` alone, if that is given. */
static bool
hand_over(struct failover *f, const char *host, unsigned port, const uint64_t *offset)
{
	/* The stage is the next one before the follower's thread could see whom to follow: it is this one. */
	int status = follower_switch(f->server->follower, host, port, offset);
	if (status != SETT_OK)
		return false; /* written to meanwhile: again */
	mutex_lock(&f->lock);
	bool goes_on = f->stage == FAILOVER_WAITS;
	if (goes_on) {
		f->stage = FAILOVER_HANDS_OVER;
		snprintf(f->wish.host, sizeof(f->wish.host), "%s", host);
		f->wish.port = port;
	}
	mutex_unlock(&f->lock);
	if (!goes_on) /* aborted in between */
		(void)follower_switch(f->server->follower, "", 0, NULL);
	return true;
}

static void
run_out_of_time(struct failover *f, const struct failover_wish *wish)
{
	if (!wish->force) {
		(void)abort_stage(f, FAILOVER_WAITS, "Replica never caught up before timeout");
		return;
	}
	log_sink_printf(&f->server->sink, LOG_LEVEL_NOTICE,
			"Failover to %s:%u time out exceeded, failing over.", wish->host, wish->port);
	(void)hand_over(f, wish->host, wish->port, NULL);
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
	(void)abort_stage(f, FAILOVER_WAITS, "REPLICAOF came in between");
}

void
failover_settle(struct failover *f)
{
	struct failover_wish wish;
	if (move_on(f, FAILOVER_HANDS_OVER, FAILOVER_NONE, &wish))
		writes_release(f->server);
}
