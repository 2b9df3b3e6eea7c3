/* The replication's life, its ids, and what commits put into the stream: see replication.h. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/net.h"
#include "repl/full_sync.h"
#include "repl/kept_history.h"
#include "repl/private.h"
#include "storage/base/random.h"

/* ---- life ---- */

static void
observe_locked(struct replication *r) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	keyspace_set_observed(r->options.keyspace, OBSERVER_REPLICATION,
			      r->streams && r->role == REPLICATION_MASTER);
}

static void
start_history(struct replication *r)
{
	mutex_lock(&r->lock);
	r->safe = r->position.offset;
	r->streams = true;
	r->alone_since_ms = replication_now_ms(r);
	observe_locked(r);
	mutex_unlock(&r->lock);
}

/* What the process before has kept for replicas, if the data stand where they stood then. */
static void
take_kept_history(struct replication *r)
{
	struct sett_error error = {0};
	mutex_lock(&r->lock);
	history_restart(&r->history, r->position.offset);
	int status = kept_history_take(&r->history, &r->position, &error);
	if (status == SETT_OK)
		r->lacking = r->history.start - 1;
	mutex_unlock(&r->lock);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		log_sink_printf(r->options.sink, LOG_LEVEL_WARNING,
				"The kept replication backlog can't be read: %s", error.message);
}

static void
keep_history(struct replication *r)
{
	struct sett_error error = {0};
	mutex_lock(&r->lock);
	bool keeps = r->is_ending && r->streams && r->lacking < r->position.offset;
	int status = keeps ? kept_history_write(&r->history, &r->position, r->lacking, &error) : SETT_OK;
	mutex_unlock(&r->lock);
	if (status != SETT_OK)
		log_sink_printf(
			r->options.sink, LOG_LEVEL_WARNING,
			"The replication backlog is not kept: %s; replicas that lack some of it will sync "
			"fully",
			error.message);
}

int
replication_create(const struct replication_options *options, struct replication **ret,
		   struct sett_error *error)
{
	struct replication *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	r->options = *options;
	mutex_init(&r->lock);
	condition_init(&r->news);
	list_init(&r->replicas);
	list_init(&r->ack_waits);
	if (r->options.vfs == NULL)
		r->options.vfs = vfs_posix();
	int status = history_init(&r->history, r->options.vfs, options->config->dir);
	if (status == SETT_OK)
		status = position_read(options->engine, &r->position, error);
	else
		sett_error_set(error, status, 0, "out of memory");
	bool goes_on = status == SETT_OK && r->position.id[0] != '\0';
	r->role = options->follows ? REPLICATION_REPLICA : REPLICATION_MASTER;
	r->ids_are_kept = goes_on;
	r->lacking = UINT64_MAX;
	if (goes_on)
		take_kept_history(r);
	if (status == SETT_OK && !(goes_on && options->follows))
		replication_shift(r);
	if (goes_on) {
		start_history(r);
		status = keeper_start(r);
	}
	if (status != SETT_OK) {
		replication_destroy(r);
		return status;
	}
	*ret = r;
	return SETT_OK;
}

void
replication_end(struct replication *r)
{
	mutex_lock(&r->lock);
	r->is_ending = true;
	mutex_unlock(&r->lock);
}

void
replication_stop(struct replication *r)
{
	if (r != NULL)
		keeper_stop(r);
}

void
replication_destroy(struct replication *r)
{
	if (r == NULL)
		return;
	keeper_stop(r);
	assert(list_is_empty(&r->replicas));
	keep_history(r);
	history_free(&r->history);
	condition_destroy(&r->news);
	mutex_destroy(&r->lock);
	free(r);
}

void
replication_get(struct replication *r, struct replication_state *ret)
{
	mutex_lock(&r->lock);
	*ret = (struct replication_state){.role = r->role,
					  .position = r->position,
					  .streams = r->streams,
					  .history_start = r->history.start,
					  .history_size = history_size(&r->history),
					  .history_memory = history_memory(&r->history),
					  .syncs = r->sync != NULL,
					  .syncs_full = r->syncs_full,
					  .syncs_partial = r->syncs_partial,
					  .syncs_refused = r->syncs_refused};
	mutex_unlock(&r->lock);
}

void
replication_reset_counts(struct replication *r)
{
	mutex_lock(&r->lock);
	r->syncs_full = r->syncs_partial = r->syncs_refused = 0;
	mutex_unlock(&r->lock);
}

void
replication_set_link(struct replication *r, bool is_up)
{
	mutex_lock(&r->lock);
	r->link_is_up = is_up;
	mutex_unlock(&r->lock);
}

bool
replication_can_serve(struct replication *r)
{
	mutex_lock(&r->lock);
	bool can = r->role == REPLICATION_MASTER || r->link_is_up;
	mutex_unlock(&r->lock);
	return can;
}

void
replication_hold(struct replication *r)
{
	mutex_lock(&r->lock);
	r->holds++;
	r->wants_acks = true;
	condition_signal(&r->news);
	mutex_unlock(&r->lock);
}

void
replication_release(struct replication *r)
{
	mutex_lock(&r->lock);
	assert(r->holds > 0);
	r->holds--;
	mutex_unlock(&r->lock);
}

bool
replication_is_replica(const struct replication *r)
{
	/* relaxed: it stands for itself */
	return __atomic_load_n(&r->role, __ATOMIC_RELAXED) == REPLICATION_REPLICA;
}

/* ---- ids ---- */

static void
make_id(char ret[REPLICATION_ID_SIZE + 1])
{
	for (unsigned i = 0; i < REPLICATION_ID_SIZE; i += 8)
		snprintf(ret + i, REPLICATION_ID_SIZE + 1 - i, "%08x", (unsigned)random_entropy());
}

static void
change_id_locked(struct replication *r, const char *id) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	struct stream_position *p = &r->position;
	if (p->id[0] != '\0') {
		memcpy(p->second_id, p->id, sizeof(p->id));
		p->second_offset = (int64_t)p->offset + 1;
	}
	memcpy(p->id, id, sizeof(p->id));
	r->ids++;
	r->ids_are_kept = false;
}

void
replication_shift(struct replication *r)
{
	char id[REPLICATION_ID_SIZE + 1];
	make_id(id);
	mutex_lock(&r->lock);
	change_id_locked(r, id);
	r->position.db = STREAM_DB_ANY;
	mutex_unlock(&r->lock);
}

void
replication_rename(struct replication *r, const char *id)
{
	mutex_lock(&r->lock);
	if (strcmp(r->position.id, id) != 0) {
		change_id_locked(r, id);
		replicas_drop_locked(r, "the stream goes on under another id");
	}
	mutex_unlock(&r->lock);
	replication_wake(r);
}

int
replication_replace_prepare(struct replication *r, struct keyspace_view *view,
			    const struct stream_position *p)
{
	mutex_lock(&r->lock);
	uint64_t offset = r->position.offset;
	mutex_unlock(&r->lock);
	return position_replace(view, offset, p);
}

void
replication_replace_apply(struct replication *r, const struct stream_position *p, uint64_t timestamp)
{
	mutex_lock(&r->lock);
	r->position = *p;
	r->ids++;
	r->ids_are_kept = true;
	history_restart(&r->history, p->offset);
	r->lacking = UINT64_MAX;
	r->safe = p->offset;
	r->mark_count = 0;
	r->newest = timestamp;
	r->durable = 0;
	r->durable_next = (struct safety_mark){0};
	r->streams = true;
	mutex_unlock(&r->lock);
	replicas_drop(r, "the data was replaced by a full sync");
}

/* ---- the beginning and the end of the stream ---- */

struct change {
	struct replication *replication;
	struct stream_part *part;
	uint64_t timestamp;
	bool streams;
	enum replication_role role;
	struct stream_position position; /* to be kept, of the state `ids` */
	uint64_t ids;
};

static int
no_objection(void *arg)
{
	(void)arg;
	return SETT_OK;
}

/* A commit of no writes, or of those that `prepare` adds, for what has to happen under the commit lock. */
static int
commit_change(struct change *change, int (*prepare)(struct change *, struct keyspace_view *),
	      int (*check)(void *), void (*publish)(void *, uint64_t))
{
	struct replication *r = change->replication;
	struct keyspace_view view = {.keyspace = r->options.keyspace};
	struct sett_commit_hooks hooks = {
		.check = check != NULL ? check : no_objection, .publish = publish, .arg = change};
	int status = sett_txn_create(r->options.engine, &view.txn);
	if (status == SETT_OK)
		status = sett_txn_begin(view.txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK && prepare != NULL)
		status = prepare(change, &view);
	if (status == SETT_OK)
		status = sett_txn_commit(view.txn, &hooks, &change->timestamp);
	sett_txn_destroy(view.txn);
	return status;
}

static void
publish_role(void *arg, uint64_t timestamp)
{
	const struct change *change = arg;
	struct replication *r = change->replication;
	(void)timestamp;
	mutex_lock(&r->lock);
	__atomic_store_n(&r->role, change->role, __ATOMIC_RELAXED);
	observe_locked(r);
	mutex_unlock(&r->lock);
}

void
replication_take_role(struct replication *r, enum replication_role role)
{
	char id[REPLICATION_ID_SIZE + 1];
	make_id(id);
	mutex_lock(&r->lock);
	if (r->role == REPLICATION_REPLICA && role == REPLICATION_MASTER) {
		change_id_locked(r, id);
		r->position.db = STREAM_DB_ANY;
		replicas_drop_locked(r, "this server is a master now, and its stream another one");
	}
	__atomic_store_n(&r->role, role, __ATOMIC_RELAXED);
	observe_locked(r);
	mutex_unlock(&r->lock);
	replication_wake(r);
}

int
replication_set_role(struct replication *r, enum replication_role role)
{
	struct change change = {.replication = r, .role = role};
	return commit_change(&change, NULL, NULL, publish_role);
}

static void
publish_stream(void *arg, uint64_t timestamp)
{
	const struct change *change = arg;
	struct replication *r = change->replication;
	(void)timestamp;
	mutex_lock(&r->lock);
	if (change->streams && !r->streams) {
		history_restart(&r->history, r->position.offset);
		r->safe = r->position.offset;
		r->mark_count = 0;
		r->position.db = STREAM_DB_ANY;
	}
	r->streams = change->streams;
	if (!r->streams) {
		/* What follows is in no stream: no id may stand for it. */
		memset(r->position.second_id, '0', REPLICATION_ID_SIZE);
		r->position.second_offset = -1;
		make_id(r->position.id);
		r->ids++;
		r->ids_are_kept = false;
		r->lacking = UINT64_MAX;
		history_restart(&r->history, r->position.offset);
	}
	observe_locked(r);
	mutex_unlock(&r->lock);
}

int
replication_begin_stream(struct replication *r)
{
	struct change change = {.replication = r, .streams = true};
	return commit_change(&change, NULL, NULL, publish_stream);
}

static int
prepare_end(struct change *change, struct keyspace_view *view)
{
	(void)change;
	return position_forget(view);
}

static int
nobody_listens(void *arg)
{
	struct replication *r = ((struct change *)arg)->replication;
	mutex_lock(&r->lock);
	bool nobody = list_is_empty(&r->replicas) && r->role == REPLICATION_MASTER;
	mutex_unlock(&r->lock);
	return nobody ? SETT_OK : SETT_ABORTED;
}

int
replication_end_stream(struct replication *r)
{
	struct change change = {.replication = r};
	return commit_change(&change, prepare_end, nobody_listens, publish_stream);
}

static int
prepare_ids(struct change *change, struct keyspace_view *view)
{
	struct replication *r = change->replication;
	mutex_lock(&r->lock);
	change->position = r->position;
	change->ids = r->ids;
	mutex_unlock(&r->lock);
	return position_replace(view, change->position.offset, &change->position);
}

static int
are_ids_present(void *arg)
{
	const struct change *change = arg;
	struct replication *r = change->replication;
	mutex_lock(&r->lock);
	bool same = change->ids == r->ids && change->position.db == r->position.db && r->streams;
	mutex_unlock(&r->lock);
	return same ? SETT_OK : SETT_ABORTED;
}

static void
publish_ids(void *arg, uint64_t timestamp)
{
	struct replication *r = ((struct change *)arg)->replication;
	(void)timestamp;
	mutex_lock(&r->lock);
	r->ids_are_kept = true;
	mutex_unlock(&r->lock);
}

int
replication_keep_ids(struct replication *r)
{
	struct change change = {.replication = r};
	mutex_lock(&r->lock);
	bool keeps = !r->ids_are_kept && r->streams && r->role == REPLICATION_MASTER && r->replica_count > 0;
	mutex_unlock(&r->lock);
	int status = keeps ? commit_change(&change, prepare_ids, are_ids_present, publish_ids) : SETT_OK;
	return keeps && status == SETT_OK ? sett_engine_write(r->options.engine) : status;
}

/* ---- parts ---- */

int64_t
replication_selected(struct replication *r)
{
	mutex_lock(&r->lock);
	int64_t db = r->position.db;
	if (r->selects > 0) {
		r->selects--;
		db = STREAM_DB_ANY;
	}
	mutex_unlock(&r->lock);
	return db;
}

/* Whether another database is selected behind it. A master's part is prepared beside others, so what counts is what it finds
 * when it is committed; a replica's parts come one after another. */
static bool
changes_database_locked(const struct replication *r, const struct stream_part *part) REQUIRES(&r->lock)
{
	int64_t before = r->role == REPLICATION_REPLICA ? r->position.db : part->db_before;
	return part->db != STREAM_DB_SAME && part->db != before;
}

int
replication_prepare(struct replication *r, struct keyspace_view *view, struct stream_part *part)
{
	uint64_t size = part->bytes.size;
	mutex_lock(&r->lock);
	struct stream_position next = r->position;
	bool keeps = !r->ids_are_kept || changes_database_locked(r, part);
	part->ids = r->ids;
	int status = history_reserve(&r->history, size);
	mutex_unlock(&r->lock);
	if (status != SETT_OK)
		return status;
	uint64_t before = next.offset;
	next.offset += size;
	if (part->db != STREAM_DB_SAME)
		next.db = part->db;
	part->kept_db = keeps ? next.db : STREAM_DB_SAME;
	status = keeps ? position_replace(view, before, &next) : position_advance(view, size);
	if (status != SETT_OK)
		replication_drop(r, part);
	return status;
}

bool
replication_allows(struct replication *r, const struct stream_part *part)
{
	mutex_lock(&r->lock);
	bool db_is_right = part->db_before == STREAM_DB_ANY || part->db_before == r->position.db;
	if (!db_is_right)
		r->selects++;
	/* Who goes on from there as a replica is to know what is selected (I25). */
	int64_t after = part->db != STREAM_DB_SAME ? part->db : r->position.db;
	int64_t kept = part->kept_db != STREAM_DB_SAME ? part->kept_db : r->position.db;
	bool allows = db_is_right && part->ids == r->ids && r->streams && kept == after;
	mutex_unlock(&r->lock);
	return allows;
}

static void
add_mark_locked(struct replication *r, uint64_t timestamp) REQUIRES(&r->lock)
{
	assert(mutex_is_mine(&r->lock));
	struct safety_mark *last = &r->marks[(r->mark_first + r->mark_count - 1) % MARKS];
	if (r->mark_count == 0 || (r->mark_count < MARKS && last->timestamp != timestamp))
		last = &r->marks[(r->mark_first + r->mark_count++) % MARKS];
	*last = (struct safety_mark){r->position.offset, timestamp};
}

void
replication_append(struct replication *r, struct stream_part *part, uint64_t timestamp)
{
	mutex_lock(&r->lock);
	uint64_t block = r->history.block_end;
	history_append(&r->history, part->bytes);
	part->end = r->position.offset += part->bytes.size;
	if (part->db != STREAM_DB_SAME)
		r->position.db = part->db;
	r->ids_are_kept = true;
	r->newest = timestamp;
	add_mark_locked(r, timestamp);
	if (r->history.block_end != block) {
		replication_trim_locked(r);
		if (r->history.memory_blocks > HISTORY_MEMORY / HISTORY_BLOCK)
			condition_signal(&r->news);
	}
	mutex_unlock(&r->lock);
}

void
replication_drop(struct replication *r, const struct stream_part *part)
{
	mutex_lock(&r->lock);
	history_unreserve(&r->history, part->bytes.size);
	mutex_unlock(&r->lock);
}

void
replication_trim_locked(struct replication *r)
{
	/* relaxed: figures that stand for themselves */
	const struct config *config = r->options.config;
	uint64_t size = (uint64_t)__atomic_load_n(&config->repl_backlog_size, __ATOMIC_RELAXED);
	uint64_t limit =
		__atomic_load_n(&config->output_limits[CONFIG_CLIENT_REPLICA].hard, __ATOMIC_RELAXED);
	uint64_t end = r->history.end, from = end > size ? end - size + 1 : 1;
	/* Likewise what those will need that join a full sync, which is some time behind when it begins. */
	const struct full_sync *sync = r->sync;
	bool is_joined = sync != NULL && sync->id[0] != '\0' &&
		!__atomic_load_n(&sync->unwanted, __ATOMIC_RELAXED) &&
		(limit == 0 || end - sync->offset <= limit + HISTORY_MEMORY);
	if (is_joined && sync->offset + 1 < from)
		from = sync->offset + 1;
	for (const struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		const struct replica *replica = list_entry(l, struct replica, link);
		/* What a replica needs stays until it is closed for being too far behind. */
		bool needs = replica->state >= REPLICA_SYNCS && replica->gone == NULL &&
			(limit == 0 || end - replica->offset <= limit + HISTORY_MEMORY);
		if (needs && replica->offset + 1 < from)
			from = replica->offset + 1;
	}
	history_trim(&r->history, from);
}

/* ---- a part alone ---- */

static int
prepare_part(struct change *change, struct keyspace_view *view)
{
	return replication_prepare(change->replication, view, change->part);
}

static int
allows_part(void *arg)
{
	const struct change *change = arg;
	/* On a replica the stream is its master's, who may have come in between. */
	return !replication_is_replica(change->replication) &&
			replication_allows(change->replication, change->part)
		? SETT_OK
		: SETT_ABORTED;
}

static void
publish_part(void *arg, uint64_t timestamp)
{
	struct change *change = arg;
	replication_append(change->replication, change->part, timestamp);
	change->streams = true; /* it is taken */
}

int
replication_commit(struct replication *r, struct stream_part *part)
{
	struct change change = {.replication = r, .part = part};
	int status = commit_change(&change, prepare_part, allows_part, publish_part);
	if (status == SETT_OK)
		replication_wake(r);
	return status;
}

/* ---- release ---- */

uint64_t
replication_safe_locked(struct replication *r)
{
	struct sett_engine *engine = r->options.engine;
	bool always = __atomic_load_n(&r->options.config->sync, __ATOMIC_RELAXED) == CONFIG_SYNC_ALWAYS;
	uint64_t frontier = always ? sett_engine_durable(engine) : sett_engine_written(engine);
	while (r->mark_count > 0 && r->marks[r->mark_first].timestamp <= frontier) {
		r->safe = r->marks[r->mark_first].end;
		r->mark_first = (r->mark_first + 1) % MARKS;
		r->mark_count--;
	}
	return r->safe;
}

uint64_t
replication_durable(struct replication *r)
{
	mutex_lock(&r->lock);
	uint64_t frontier = sett_engine_durable(r->options.engine);
	struct safety_mark now = {r->position.offset, r->newest}, *next = &r->durable_next;
	if (now.timestamp <= frontier) {
		r->durable = now.end;
		next->timestamp = 0;
	} else if (next->timestamp <= frontier) {
		if (next->timestamp != 0)
			r->durable = next->end;
		*next = now;
	}
	uint64_t durable = r->durable;
	mutex_unlock(&r->lock);
	return durable;
}

void
replication_call(struct replication *r, uint64_t reactors)
{
	/* Release: partner of replication_deliver. */
	uint64_t before = __atomic_fetch_or(&r->called, reactors, __ATOMIC_RELEASE);
	reactors &= ~before;
	for (unsigned i = 0; reactors != 0 && i < r->options.reactors; i++)
		if ((reactors & reactor_bit(i)) != 0)
			r->options.wake(r->options.wake_arg, i);
}

void
replication_wake(struct replication *r)
{
	uint64_t reactors = __atomic_load_n(&r->listening, __ATOMIC_RELAXED);
	if (reactors != 0)
		replication_call(r, reactors);
}

void
replication_on_progress(struct replication *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* partner: that of replica_source.c */
	uint64_t reactors = __atomic_load_n(&r->held, __ATOMIC_RELAXED);
	if (reactors == 0)
		return;
	__atomic_fetch_and(&r->held, ~reactors, __ATOMIC_RELAXED);
	replication_call(r, reactors);
}

void
replication_deliver(struct replication *r, unsigned reactor)
{
	uint64_t bit = reactor_bit(reactor);
	if ((__atomic_load_n(&r->called, __ATOMIC_RELAXED) & bit) == 0)
		return;
	/* Acquire: partner of replication_call. */
	__atomic_fetch_and(&r->called, ~bit, __ATOMIC_ACQUIRE);
	mutex_lock(&r->lock);
	for (struct list_link *l = r->replicas.next; l != &r->replicas; l = l->next) {
		struct replica *replica = list_entry(l, struct replica, link);
		if (replica->reactor == reactor && replica->client != NULL)
			client_resume(replica->client, r->newest);
	}
	mutex_unlock(&r->lock);
}
