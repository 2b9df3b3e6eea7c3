/* The replication's thread. It runs from the first replica on, or the first client that waits for acknowledgements, some
 * times a second and when there is news: moves old bytes of the history to the file, begins full syncs, asks for
 * acknowledgements, keeps new ids, ends waits for the disk, keeps connections, drops replicas that are silent, and ends the stream when
 * nobody comes for it. */
#include <assert.h>
#include <stdlib.h>

#include "repl/full_sync.h"
#include "repl/private.h"

enum { STEP_MS = 100 };

static const char ping[] = "*1\r\n$4\r\nPING\r\n";
static const char get_ack[] = "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

struct keeper {
	struct replication *replication;
	uint64_t second_ms, ping_ms; /* when the last of each was */
};

/* ---- the history's file ---- */

static void
spill(struct replication *r)
{
	struct history_block *b;
	uint64_t number;
	mutex_lock(&r->lock);
	while (!r->stopping && (b = history_next_to_spill(&r->history, &number)) != NULL) {
		struct sett_error error = {0};
		mutex_unlock(&r->lock);
		int status = history_write(&r->history, b, &error);
		if (status != SETT_OK)
			log_sink_printf(
				r->options.sink, LOG_LEVEL_WARNING,
				"The replication backlog can't be written: %s; its oldest bytes are gone",
				error.message);
		mutex_lock(&r->lock);
		history_spilled(&r->history, b, number, status);
	}
	mutex_unlock(&r->lock);
}

/* Space of what was forgotten goes back to the system. */
static void
cut_file(struct replication *r)
{
	uint64_t slots;
	struct sett_error error = {0};
	mutex_lock(&r->lock);
	bool cuts = history_must_cut(&r->history, &slots);
	mutex_unlock(&r->lock);
	if (cuts && history_cut_file(&r->history, slots, &error) != SETT_OK)
		log_sink_printf(r->options.sink, LOG_LEVEL_WARNING,
				"The replication backlog's file can't be cut: %s", error.message);
}

/* ---- what the master says by itself ---- */

static void
say(struct replication *r, const char *text, size_t size)
{
	struct stream_part part = {
		.bytes = bytes_of(text, size), .db_before = STREAM_DB_ANY, .db = STREAM_DB_SAME};
	int status = replication_commit(r, &part);
	if (status != SETT_OK && status != SETT_ABORTED)
		log_sink_printf(r->options.sink, LOG_LEVEL_WARNING, "Nothing can be said to replicas: %s",
				sett_status_text(status));
}

static void
ask_for_acks(struct replication *r)
{
	mutex_lock(&r->lock);
	bool wants = r->wants_acks && r->role == REPLICATION_MASTER && r->streams && r->replica_count > 0;
	r->wants_acks = false;
	mutex_unlock(&r->lock);
	if (wants)
		say(r, get_ack, sizeof(get_ack) - 1);
}

static void
ping_replicas(struct keeper *k)
{
	struct replication *r = k->replication;
	uint64_t now = replication_now_ms(r);
	int64_t period = __atomic_load_n(&r->options.config->repl_ping_replica_period, __ATOMIC_RELAXED);
	if (now - k->ping_ms < (uint64_t)period * MS_PER_SECOND)
		return;
	k->ping_ms = now;
	mutex_lock(&r->lock);
	bool pings = r->role == REPLICATION_MASTER && r->streams && r->replica_count > 0 && r->holds == 0;
	mutex_unlock(&r->lock);
	if (pings)
		say(r, ping, sizeof(ping) - 1);
}

/* What was written here becomes durable without a word from replicas. */
static void
settle_acks(struct replication *r)
{
	mutex_lock(&r->lock);
	acks_settle_locked(r);
	mutex_unlock(&r->lock);
}

/* ---- once a second ---- */

static void
check_replica_locked(struct replication *r, struct replica *replica, uint64_t now) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	uint64_t timeout = (uint64_t)__atomic_load_n(&r->options.config->repl_timeout, __ATOMIC_RELAXED);
	replica->wants_line = replica->state == REPLICA_WAITS || replica->state == REPLICA_SYNCS;
	bool is_silent = replica->state >= REPLICA_SENT && replica->client != NULL &&
		now - replica->heard_ms > timeout * MS_PER_SECOND;
	/* What never says anything, as an old one or a tool, is kept as long as it reads. */
	if (!is_silent || replica->gone != NULL || replica->is_old)
		return;
	replica->gone = "it was silent for longer than repl-timeout";
	log_sink_printf(r->options.sink, LOG_LEVEL_WARNING,
			"Disconnecting timedout replica (streaming sync): %s", replica->client->address);
}

static void
check_replicas(struct keeper *k)
{
	struct replication *r = k->replication;
	uint64_t now = replication_now_ms(r);
	if (now - k->second_ms < MS_PER_SECOND)
		return;
	k->second_ms = now;
	mutex_lock(&r->lock);
	for (struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next)
		check_replica_locked(r, list_entry(l, struct replica, link), now);
	replicas_judge_locked(r);
	replication_trim_locked(r);
	mutex_unlock(&r->lock);
	replication_wake(r);
}

static void
end_unwanted_stream(struct replication *r)
{
	uint64_t ttl = (uint64_t)__atomic_load_n(&r->options.config->repl_backlog_ttl, __ATOMIC_RELAXED);
	mutex_lock(&r->lock);
	bool ends = r->streams && ttl != 0 && r->role == REPLICATION_MASTER && r->replica_count == 0 &&
		r->alone_since_ms != 0 && !r->has_sync_thread &&
		replication_now_ms(r) - r->alone_since_ms > ttl * MS_PER_SECOND;
	if (ends)
		r->alone_since_ms = replication_now_ms(r); /* in case it fails */
	mutex_unlock(&r->lock);
	if (ends && replication_end_stream(r) == SETT_OK)
		log_sink_printf(r->options.sink, LOG_LEVEL_NOTICE,
				"Replication backlog freed after %llu seconds without connected replicas.",
				(unsigned long long)ttl);
}

/* ---- the thread ---- */

static void *
run(void *arg)
{
	struct replication *r = arg;
	uint64_t now = replication_now_ms(r);
	struct keeper k = {.replication = r, .second_ms = now, .ping_ms = now};
	mutex_lock(&r->lock);
	while (!r->stopping) {
		mutex_unlock(&r->lock);
		spill(r);
		cut_file(r);
		full_sync_begin(r);
		(void)replication_keep_ids(r); /* again in a moment; why nothing can be written, others say */
		ask_for_acks(r);
		settle_acks(r);
		ping_replicas(&k);
		check_replicas(&k);
		end_unwanted_stream(r);
		mutex_lock(&r->lock);
		if (!r->stopping && !r->wants_acks)
			(void)condition_wait_for(&r->news, &r->lock, STEP_MS * 1000000ULL);
	}
	mutex_unlock(&r->lock);
	return NULL;
}

int
keeper_start(struct replication *r)
{
	int status = SETT_OK;
	mutex_lock(&r->lock);
	if (!r->has_keeper && !r->stopping) {
		status = thread_start(&r->keeper, "sett-repl", run, r);
		r->has_keeper = status == SETT_OK;
	}
	mutex_unlock(&r->lock);
	return status;
}

void
keeper_stop(struct replication *r)
{
	mutex_lock(&r->lock);
	r->stopping = true;
	bool joins = r->has_keeper;
	r->has_keeper = false;
	condition_signal(&r->news);
	mutex_unlock(&r->lock);
	if (joins)
		thread_join(r->keeper);
	full_sync_stop(r);
}
