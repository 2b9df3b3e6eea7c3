/* See evictor.h.
 *
 *     the watcher   look: measures, says what is refused and how much writers are slowed; sleep
 *     the evictor   too much is alive -> draw: a transaction that reads keys behind a random place; the least used
 *                                        become victims
 *                                     -> remove: a transaction that reads them again and deletes them
 *                                     -> look
 *
 * They are two because a draw may wait for the disk, and writers go on meanwhile.
 *
 * Invariants
 * - A victim is chosen by a transaction that writes nothing, so "which keys exist" is in no read set of a commit.
 * - No more is removed than the last look said, by what the victims were seen to take.
 * - Who finds nothing to evict says so (`is_exhausted`), and writers are refused instead of held for ever.
 *
 * Threads: two; `lock` guards what they and others see, `looking` that one thread at a time looks. */
#include "expire/evictor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "config/config.h"
#include "expire/removal.h"
#include "keyspace/accesses.h"
#include "keyspace/key.h"
#include "repl/replication.h"
#include "storage/base/stepper.h"
#include "storage/engine.h"
#include "txn/pause.h"
#include "types/type.h"

enum {
	CANDIDATES_MAX = 1024,
	VICTIMS_MAX = 256,   /* in one transaction */
	WALK_MAX = 16384,    /* keys that are looked at in one draw, where few have deadlines */
	NAMES_MAX = 1 << 20, /* bytes of the candidates' names */
	DATABASES_MAX = 256, /* that are asked for their number of keys in one draw */
	DRAWS_MAX = 16,      /* without a victim: then there is none */
	LOOK_SHARE = 20,     /* a look takes one part in so many of the time */
	ENTRY_BYTES = 24,    /* about what a key takes beside name and value */
};
#define REST_NS 100000000ull       /* where nothing could be evicted */
#define HOLD_MOST_NS 5000000000ull /* writers wait for room; then they are refused */
#define WARN_NS 60000000000ull     /* between two warnings */
#define NS_PER_MS 1000000ull

struct candidate {
	uint64_t rank; /* the highest go first */
	uint64_t tie;  /* a random number: which of those with the same */
	uint64_t bytes;
	struct bytes name; /* as key_open_stored takes it; in the removal's arena */
};

struct evictor {
	struct server *server;
	struct stepper watcher, stepper;
	uint64_t evicted; /* atomic (relaxed): a figure */
	struct mutex looking;
	uint64_t next_warning_ns; /* under `looking` */
	/* under lock */
	struct mutex lock;
	bool is_exhausted; /* nothing that the policy evicts was found */
	struct disk_room room;
	uint64_t exceeded_ns, exceeded_since_ns; /* the latter 0: it is not so now */
	uint64_t held_since_ns;                  /* 0: writers are not held */
	/* the evictor's */
	struct removal removal;
	struct key_list victims;
	struct candidate *candidates;
	unsigned next_db; /* where the next draw begins to count */
};

/* ---- policies ---- */

/* Whether this is a replica, which has what its master has. */
static bool
follows(const struct evictor *e)
{
	return e->server->replication != NULL && replication_is_replica(e->server->replication) &&
		__atomic_load_n(&e->server->config->replica_ignore_maxmemory, __ATOMIC_RELAXED);
}

static enum config_policy
policy_of(const struct evictor *e)
{
	if (follows(e))
		return CONFIG_POLICY_NOEVICTION;
	return (enum config_policy)__atomic_load_n(&e->server->config->max_memory_policy, __ATOMIC_RELAXED);
}

static bool
is_volatile(enum config_policy policy)
{
	return policy == CONFIG_POLICY_VOLATILE_LRU || policy == CONFIG_POLICY_VOLATILE_LFU ||
		policy == CONFIG_POLICY_VOLATILE_RANDOM || policy == CONFIG_POLICY_VOLATILE_TTL;
}

/* How much rather than others the key goes. */
static uint64_t
rank_of(const struct evictor *e, enum config_policy policy, const struct key *k)
{
	enum { FREQUENCY_MAX = 255 };
	const struct server *server = e->server;
	/* acquire: partner of server_note_accesses */
	const struct accesses *accesses = __atomic_load_n(&server->accesses, __ATOMIC_ACQUIRE);
	uint64_t now_ms = k->view->now_ms;
	if (policy == CONFIG_POLICY_VOLATILE_TTL)
		return UINT64_MAX - k->root.expires_at;
	if (accesses == NULL || policy == CONFIG_POLICY_VOLATILE_RANDOM ||
	    policy == CONFIG_POLICY_ALLKEYS_RANDOM)
		return 0;
	uint64_t hash = sett_engine_hash(server->engine, k->engine_key.bytes);
	if (policy == CONFIG_POLICY_VOLATILE_LRU || policy == CONFIG_POLICY_ALLKEYS_LRU)
		return accesses_idle_seconds(accesses, hash, now_ms);
	return FREQUENCY_MAX - accesses_frequency(accesses, hash, now_ms, server_access_rule(server));
}

static int
compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	return x->tie > y->tie ? -1 : x->tie < y->tie;
}

/* ---- drawing victims ---- */

/* A database, each as likely as it has keys for the policy. SETT_NOT_FOUND: none has. */
static int
choose_database(struct evictor *e, struct keyspace_view *view, bool with_deadline, unsigned *ret)
{
	const struct keyspace *keyspace = e->server->keyspace;
	unsigned all = keyspace_databases(keyspace), db = keyspace_next_database(keyspace, e->next_db);
	uint64_t sum = 0;
	bool has_turned = false;
	for (unsigned i = 0; i < DATABASES_MAX; i++, db = keyspace_next_database(keyspace, db + 1)) {
		int64_t keys, expires;
		if (db >= all && (has_turned || e->next_db == 0))
			break;
		if (db >= all) {
			has_turned = true;
			db = keyspace_next_database(keyspace, 0);
		}
		if (db >= all || (has_turned && db >= e->next_db))
			break;
		int status = keyspace_count(view, db, &keys, &expires);
		if (status != SETT_OK)
			return status;
		uint64_t count = (uint64_t)(with_deadline ? expires : keys);
		sum += count;
		if (count > 0 && keyspace_random(view->keyspace) % sum < count)
			*ret = db;
	}
	e->next_db = db < all ? db : 0;
	return sum > 0 ? SETT_OK : SETT_NOT_FOUND;
}

/* Adds the keys from `place` on. SETT_NOT_FOUND: the last key was passed. */
static int
walk(struct evictor *e, struct keyspace_view *view, unsigned db, struct bytes place, size_t *count)
{
	struct keyspace_cursor *cursor;
	struct key k;
	enum config_policy policy = policy_of(e);
	size_t names = 0;
	int status = keyspace_cursor_open(view, db, (struct bytes){0}, place, &cursor);
	if (status != SETT_OK)
		return status;
	for (unsigned i = 0; i < WALK_MAX && *count < CANDIDATES_MAX && names < NAMES_MAX; i++) {
		status = keyspace_cursor_next(cursor, &k);
		if (status != SETT_OK)
			break;
		if (is_volatile(policy) && k.root.expires_at == 0)
			continue;
		struct bytes name = keyspace_cursor_place(&k);
		const uint8_t *copy = arena_copy(view->arena, name.data, name.size);
		if (copy == NULL) {
			status = SETT_NO_MEMORY;
			break;
		}
		names += name.size;
		e->candidates[(*count)++] =
			(struct candidate){.rank = rank_of(e, policy, &k),
					   .tie = keyspace_random(view->keyspace),
					   .bytes = type_stored_size(&k.root) + name.size + ENTRY_BYTES,
					   .name = bytes_of(copy, name.size)};
	}
	keyspace_cursor_close(cursor);
	return status;
}

static int
find_candidates(struct evictor *e, struct keyspace_view *view, unsigned *ret_db, size_t *ret_count)
{
	struct buffer place = {0};
	size_t count = 0;
	int status = choose_database(e, view, is_volatile(policy_of(e)), ret_db);
	if (status == SETT_OK)
		status = keyspace_random_place(view, *ret_db, &place);
	if (status == SETT_OK)
		status = walk(e, view, *ret_db, buffer_bytes(&place), &count);
	/* What stands in front of the place, where there was little behind it. */
	if (status == SETT_NOT_FOUND && place.size > 0 && count < CANDIDATES_MAX / 2)
		status = walk(e, view, *ret_db, (struct bytes){0}, &count);
	buffer_free(&place);
	*ret_count = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Of the candidates one in maxmemory-samples at most, and no more than take `excess` bytes. */
static void
choose_victims(struct evictor *e, unsigned db, size_t count, uint64_t excess)
{
	uint64_t samples =
		(uint64_t)__atomic_load_n(&e->server->config->max_memory_samples, __ATOMIC_RELAXED);
	uint64_t most = count / samples > 0 ? count / samples : 1, bytes = 0;
	assert(samples > 0);
	qsort(e->candidates, count, sizeof(*e->candidates), compare_candidates);
	for (size_t i = 0; i < count && i < most && bytes < excess; i++) {
		const struct candidate *c = &e->candidates[i];
		if (!key_list_add(&e->victims, VICTIMS_MAX, db, c->name))
			break;
		bytes += c->bytes;
	}
}

/* Fills the list of victims. */
static int
draw(struct evictor *e, uint64_t excess)
{
	struct keyspace_view view;
	struct removal *r = &e->removal;
	unsigned db = 0;
	size_t count = 0;
	arena_reset(&r->arena);
	int status = sett_txn_begin(r->txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&view, e->server->keyspace, r->txn, &r->arena);
	if (status == SETT_OK)
		status = find_candidates(e, &view, &db, &count);
	if (status == SETT_OK && count > 0)
		choose_victims(e, db, count, excess);
	sett_txn_discard(r->txn);
	return status;
}

/* ---- evicting ---- */

static int
evict(void *arg, struct keyspace_view *view, const struct listed_key *victim, uint64_t *evicted)
{
	const struct evictor *e = arg;
	struct key k;
	/* It may have become a replica since: then a commit that was prepared before is run again. */
	if (policy_of(e) == CONFIG_POLICY_NOEVICTION)
		return SETT_OK;
	int status = key_open_stored(view, victim->db, bytes_of(victim->key, victim->size), &k);
	if (status != SETT_OK || !k.exists || (is_volatile(policy_of(e)) && k.root.expires_at == 0))
		return status;
	status = key_delete(&k);
	if (status == SETT_OK)
		status = keyspace_propagate(
			view, k.db, 2, (const struct bytes[]){BYTES_LITERAL("DEL"), view->last_touched->key});
	if (status == SETT_OK)
		status = key_event(&k, EVENT_EVICTED, "evicted");
	*evicted += status == SETT_OK;
	return status;
}

/* The next look says how much is left to do. */
static void
leave_victim(void *arg, const struct listed_key *victim)
{
	(void)arg;
	(void)victim;
}

/* Whether something was evicted. */
static bool
evict_some(struct evictor *e, uint64_t excess)
{
	int status = SETT_OK;
	uint64_t began = clock_monotonic_ns(e->server->clock);
	for (int draws = 0; draws < DRAWS_MAX && e->victims.count == 0; draws++) {
		status = draw(e, excess);
		if (status != SETT_OK && status != SETT_CONFLICT)
			break;
	}
	uint64_t evicted = removal_run(&e->removal, &e->victims);
	server_took(e->server, WORK_EVICT, clock_monotonic_ns(e->server->clock) - began);
	__atomic_add_fetch(&e->evicted, evicted, __ATOMIC_RELAXED);
	return evicted > 0;
}

/* ---- looking ---- */

static void
warn(struct evictor *e, const struct disk_room *room, uint64_t now_ns)
{
	if (now_ns < e->next_warning_ns)
		return;
	e->next_warning_ns = now_ns + WARN_NS;
	log_sink_printf(&e->server->sink, LOG_LEVEL_WARNING,
			"Commands that take space are refused: maxdisk allows %" PRIu64
			" MB of files and %" PRIu64 " MB of live data, there are %" PRIu64 " MB and %" PRIu64
			" MB",
			room->limit >> 20, room->live_limit >> 20, room->files >> 20, room->live >> 20);
}

/* How long more is alive than should be. */
static void
note_time_locked(struct evictor *e, uint64_t now_ns) REQUIRES(&e->lock)
{
	assert(mutex_is_mine(&e->lock));
	bool exceeds = e->room.limit != 0 && e->room.live > e->room.live_limit;
	if (exceeds && e->exceeded_since_ns == 0)
		e->exceeded_since_ns = now_ns;
	if (!exceeds && e->exceeded_since_ns != 0) {
		e->exceeded_ns += now_ns - e->exceeded_since_ns;
		e->exceeded_since_ns = 0;
	}
}

/* While nothing may be evicted. */
static bool
must_rest(const struct evictor *e)
{
	const struct server *server = e->server;
	return loading_is_active(&server->loading) ||
		(server->pause != NULL &&
		 pause_mode_at(server->pause, clock_wall_ms(server->clock)) != PAUSE_NONE);
}

/* The time in which no room is made by order does not count. */
static bool
may_hold_locked(struct evictor *e, uint64_t now_ns) REQUIRES(&e->lock)
{
	assert(mutex_is_mine(&e->lock));
	if (e->held_since_ns == 0 || must_rest(e))
		e->held_since_ns = now_ns;
	return now_ns - e->held_since_ns < HOLD_MOST_NS;
}

static void
measure(const struct evictor *e, struct disk_room *ret)
{
	struct sett_engine *engine = e->server->engine;
	struct sett_stats stats;
	*ret = (struct disk_room){.limit = disk_room_limit(e->server->config)};
	/* A file system as small as that is no limit that could be kept: it will be full first. */
	if (ret->limit < sett_engine_least_disk(engine))
		ret->limit = 0;
	if (ret->limit == 0)
		return;
	sett_engine_stats(engine, &stats);
	ret->live_limit = sett_engine_live_limit(engine, ret->limit);
	ret->files = stats.disk_bytes + __atomic_load_n(&e->server->backup_held_bytes, __ATOMIC_RELAXED);
	ret->live = stats.live_bytes;
}

void
evictor_look(struct evictor *e)
{
	struct disk_room room;
	mutex_lock(&e->looking);
	measure(e, &room);
	uint64_t now_ns = clock_monotonic_ns(e->server->clock);
	mutex_lock(&e->lock);
	bool evicts = policy_of(e) != CONFIG_POLICY_NOEVICTION && !e->is_exhausted;
	bool is_full = disk_room_is_full(&room, evicts);
	e->room = room;
	note_time_locked(e, now_ns);
	bool holds = is_full && evicts && may_hold_locked(e, now_ns);
	if (!is_full)
		e->held_since_ns = 0;
	mutex_unlock(&e->lock);
	stepper_wake(&e->stepper);
	server_refuse(e->server, REFUSE_FULL_DISK, is_full && !holds);
	server_refuse(e->server, HOLD_FULL_DISK, holds);
	uint64_t time_ns = disk_room_time_ns(&room);
	__atomic_store_n(&e->server->room_until_ns, now_ns + time_ns, __ATOMIC_RELAXED);
	server_refuse(e->server, HOLD_LATE_LOOK, time_ns != UINT64_MAX);
	__atomic_store_n(&e->server->disk_is_short, disk_room_files_are_many(&room), __ATOMIC_RELAXED);
	/* A slow replica would only fall behind. */
	sett_engine_slow_writers(e->server->engine, follows(e) ? 0 : disk_room_pressure(&room, evicts));
	if (is_full && !holds)
		warn(e, &room, now_ns);
	mutex_unlock(&e->looking);
}

/* ---- the threads ---- */

/* The time of the processor that this thread has used. */
static uint64_t
own_cpu_ns(void)
{
	struct timespec used;
	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static uint64_t
watch(void *arg)
{
	struct evictor *e = arg;
	uint64_t start_ns = own_cpu_ns();
	evictor_look(e);
	uint64_t least_ns = LOOK_SHARE * (own_cpu_ns() - start_ns);
	mutex_lock(&e->lock);
	uint64_t pause_ns = disk_room_pause_ns(&e->room);
	mutex_unlock(&e->lock);
	return pause_ns > least_ns ? pause_ns : least_ns;
}

/* A batch of evictions where too much is alive; else rests until somebody has looked. */
static uint64_t
step(void *arg)
{
	struct evictor *e = arg;
	mutex_lock(&e->lock);
	uint64_t excess = policy_of(e) != CONFIG_POLICY_NOEVICTION ? disk_room_excess(&e->room) : 0;
	if (excess == 0)
		e->is_exhausted = false;
	mutex_unlock(&e->lock);
	if (excess == 0 || must_rest(e))
		return REST_NS;
	bool has_evicted = evict_some(e, excess);
	mutex_lock(&e->lock);
	e->is_exhausted = !has_evicted;
	mutex_unlock(&e->lock);
	if (!has_evicted)
		return REST_NS;
	evictor_look(e);
	return 0;
}

static void
free_all(struct evictor *e)
{
	removal_close(&e->removal);
	key_list_free(&e->victims);
	free(e->candidates);
	stepper_free(&e->watcher);
	stepper_free(&e->stepper);
	mutex_destroy(&e->lock);
	mutex_destroy(&e->looking);
	free(e);
}

static int
open_parts(struct evictor *e)
{
	e->removal =
		(struct removal){.server = e->server,
				 .flags = SETT_TXN_PACED, /* it makes the room that others are slowed for */
				 .arg = e,
				 .remove = evict,
				 .failed = leave_victim};
	e->candidates = calloc(CANDIDATES_MAX, sizeof(*e->candidates));
	int status = removal_open(&e->removal);
	return e->candidates != NULL ? status : SETT_NO_MEMORY;
}

/* How much may be alive, and what happens then; or that maxdisk bounds nothing. */
static void
log_limit(struct evictor *e)
{
	const struct log_sink *sink = &e->server->sink;
	uint64_t limit = disk_room_limit(e->server->config);
	bool evicts = policy_of(e) != CONFIG_POLICY_NOEVICTION;
	if (limit != 0 && e->room.limit == 0)
		log_sink_printf(sink, LOG_LEVEL_WARNING,
				"maxdisk is %" PRIu64 " MB here, less than the %" PRIu64
				" MB that a database needs under this maxmemory: it bounds nothing",
				limit >> 20, sett_engine_least_disk(e->server->engine) >> 20);
	else if (evicts && limit == 0)
		log_sink_printf(sink, LOG_LEVEL_NOTICE, "maxdisk is 0: no key is evicted");
	else if (limit != 0)
		log_sink_printf(sink, LOG_LEVEL_NOTICE,
				"%s when their live data comes to %" PRIu64 " MB: the files may take %" PRIu64
				" MB (maxdisk), garbage among them until it is collected",
				evicts ? "Keys are evicted"
				       : "Commands that give keys more space are refused",
				e->room.live_limit >> 20, e->room.limit >> 20);
}

bool
evictor_allows(void *evictor, const struct config *planned, char *ret_reason, size_t size)
{
	const struct evictor *e = evictor;
	uint64_t least = sett_engine_least_disk(e->server->engine);
	if (planned->max_disk <= 0 || (uint64_t)planned->max_disk >= least)
		return true;
	snprintf(ret_reason, size,
		 "maxdisk must be at least %" PRIu64
		 " bytes: that much a database needs under this maxmemory",
		 least);
	return false;
}

static int
start_threads(struct evictor *e)
{
	int status = stepper_start(&e->watcher, "sett-room");
	if (status != SETT_OK)
		return status;
	status = stepper_start(&e->stepper, "sett-evict");
	if (status != SETT_OK)
		stepper_stop(&e->watcher);
	return status;
}

int
evictor_create(struct server *server, struct evictor **ret, struct sett_error *error)
{
	char reason[160];
	struct evictor *e = calloc(1, sizeof(*e));
	if (e == NULL)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	e->server = server;
	mutex_init(&e->looking);
	mutex_init(&e->lock);
	stepper_init(&e->watcher, NULL, watch, e);
	stepper_init(&e->stepper, NULL, step, e);
	int status = open_parts(e);
	if (status == SETT_OK && !evictor_allows(e, server->config, reason, sizeof(reason))) {
		free_all(e);
		return sett_error_set(error, SETT_INVALID, 0, "%s", reason);
	}
	if (status == SETT_OK) {
		evictor_look(e);
		log_limit(e);
		status = start_threads(e);
	}
	if (status != SETT_OK) {
		free_all(e);
		return sett_error_set(error, status, 0, "starting the evictor: %s", sett_status_text(status));
	}
	*ret = e;
	return SETT_OK;
}

void
evictor_destroy(struct evictor *e)
{
	if (e == NULL)
		return;
	stepper_stop(&e->watcher);
	stepper_stop(&e->stepper);
	free_all(e);
}

/* ---- figures ---- */

void
evictor_figures(struct evictor *e, struct evictor_figures *ret)
{
	uint64_t now_ns = clock_monotonic_ns(e->server->clock);
	mutex_lock(&e->lock);
	uint64_t since = e->exceeded_since_ns, present = since != 0 && now_ns > since ? now_ns - since : 0;
	*ret = (struct evictor_figures){.room = e->room,
					.evicted_keys = __atomic_load_n(&e->evicted, __ATOMIC_RELAXED),
					.exceeded_ms = (e->exceeded_ns + present) / NS_PER_MS,
					.present_exceeded_ms = present / NS_PER_MS};
	mutex_unlock(&e->lock);
}

void
evictor_reset_stats(struct evictor *e)
{
	mutex_lock(&e->lock);
	__atomic_store_n(&e->evicted, 0, __ATOMIC_RELAXED);
	e->exceeded_ns = 0;
	if (e->exceeded_since_ns != 0)
		e->exceeded_since_ns = clock_monotonic_ns(e->server->clock);
	mutex_unlock(&e->lock);
}
