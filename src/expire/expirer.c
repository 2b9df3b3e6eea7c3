/* The expirer's thread.
 *
 *     commits --note--> deadlines (heap) --.
 *     reads   --met---> met (list)  -------+--> batch --> transaction that reads again and deletes
 *     tables  --sweep--> swept (list) -----'
 *
 * The heap holds the nearest deadlines of commits since the start. What it had no room for, and what was
 * there before the start, is found in tables: the engine sweeps those whose earliest deadline has come.
 * Entries still in a memtable are in no table, so after a start with deadlines around, and when a deadline
 * that the heap lost has come, memtables are flushed before the sweep.
 *
 * Invariants
 * - A key, or an element, is deleted only by a transaction that read it past its deadline in its own snapshot.
 * - Nothing is deleted while CLIENT PAUSE holds writes, nor on a replica (I27), but for keys to which clients of a writable
 *   replica gave deadlines since its start, as in Redis: `own`. One that becomes a master begins as after a start: tables are
 *   swept for all that came due meanwhile.
 * - A noted deadline that was renewed meanwhile is noted again, never dropped.
 *
 * Threads: one thread; `lock` guards the lists it is fed through and is never held during engine calls. */
#include "expire/expirer.h"

#include <assert.h>

#include "config/config.h"
#include "expire/deadlines.h"
#include "expire/removal.h"
#include "keyspace/keyspace.h"
#include "storage/base/stepper.h"
#include "storage/engine.h"
#include "txn/pause.h"
#include "types/type.h"

enum {
	BATCH_MAX = 64,
	ELEMENTS_MAX = 1024, /* of collections, in one transaction; the rest follows in the next */
	MET_MAX = 4096,
	NOTED_MAX = 512 * 1024,
	OWN_MAX = 64 * 1024,
	SWEEP_BYTES = 256 * 1024,
	SWEPT_MAX = 128 * 1024,
	RETRY_MS = 5000, /* after a failure */
};
#define NOTED_BYTES_MAX (32u * 1024 * 1024)
#define OWN_BYTES_MAX (4u * 1024 * 1024)
#define SWEEP_PERIOD_NS 1000000000ull
#define FLUSH_PERIOD_NS 30000000000ull
#define PAUSE_PERIOD_NS 50000000ull
#define NS_PER_MS 1000000ull

struct expirer {
	struct server *server;
	struct stepper stepper;
	uint64_t expired;     /* atomic (relaxed): a figure */
	uint64_t cpu_base_ns; /* atomic (relaxed): what the thread had used at the last reset */
	/* under lock */
	struct mutex lock;
	struct deadlines *deadlines;
	struct deadlines *own; /* of keys that a replica's clients wrote; NULL until there are such */
	struct key_list met;
	uint64_t wake_at;   /* ms: the deadline the thread sleeps for; 0 while it is awake */
	bool wakes_for_own; /* it is one of `own` */
	/* the thread's */
	struct removal removal;
	size_t elements; /* of collections, that the present transaction may still delete */
	struct key_list batch, swept;
	size_t swept_next;
	uint64_t swept_ns, flushed_ns; /* when last; monotonic */
	bool flush_wanted, was_replica;
	bool deletes_own; /* the present batch is of `own` */
};

/* ---- deleting ---- */

static void
begin_batch(void *arg)
{
	((struct expirer *)arg)->elements = ELEMENTS_MAX;
}

/* Deletes the key, or elements of it, if they are past their deadlines. */
static int
delete_expired(void *arg, struct keyspace_view *view, const struct listed_key *d, uint64_t *deleted)
{
	struct expirer *e = arg;
	struct type_expired expired;
	if (!e->deletes_own && replica_role_is_active(&e->server->replica_role))
		return SETT_OK; /* it has become one since the key was listed */
	view->needs_master = !e->deletes_own;
	int status = type_expire(view, d->db, bytes_of(d->key, d->size), &e->elements, &expired);
	if (status != SETT_OK)
		return status;
	*deleted += expired.key;
	if (expired.deadline != 0)
		expirer_note(e, d->db, bytes_of(d->key, d->size), expired.deadline, e->deletes_own);
	return SETT_OK;
}

/* A full disk may heal. */
static void
try_later(void *arg, const struct listed_key *d)
{
	struct expirer *e = arg;
	expirer_note(e, d->db, bytes_of(d->key, d->size), clock_wall_ms(e->server->clock) + RETRY_MS,
		     e->deletes_own);
}

static void
delete_batch(struct expirer *e)
{
	uint64_t began = clock_monotonic_ns(e->server->clock);
	uint64_t deleted = removal_run(&e->removal, &e->batch);
	server_took(e->server, WORK_EXPIRE, clock_monotonic_ns(e->server->clock) - began);
	__atomic_add_fetch(&e->expired, deleted, __ATOMIC_RELAXED);
}

/* ---- sweeping ---- */

static void
on_swept(void *arg, struct bytes engine_key, uint64_t expires_at)
{
	struct expirer *e = arg;
	unsigned db;
	struct bytes key;
	/* A table is not read twice for the same deadline: what does not fit here is kept elsewhere. */
	if (keyspace_parse_root_key(e->server->keyspace, engine_key, &db, &key) &&
	    !key_list_add(&e->swept, SWEPT_MAX, db, key))
		expirer_note(e, db, key, expires_at, false);
}

/* Whether there is anything to sweep in, for the first time after a start. */
static bool
has_deadlines(struct expirer *e)
{
	struct keyspace_view view;
	int64_t keys, expires = 0, due = 0;
	arena_reset(&e->removal.arena);
	if (sett_txn_begin(e->removal.txn, SETT_TXN_MANUAL_CONFLICTS) != SETT_OK)
		return true;
	keyspace_begin(&view, e->server->keyspace, e->removal.txn, &e->removal.arena);
	const struct keyspace *keyspace = e->server->keyspace;
	unsigned db = keyspace_next_database(keyspace, 0);
	for (; db < keyspace_databases(keyspace) && expires == 0 && due == 0;
	     db = keyspace_next_database(keyspace, db + 1))
		if (keyspace_count(&view, db, &keys, &expires) != SETT_OK ||
		    keyspace_count_due(&view, db, &due) != SETT_OK)
			expires = 1;
	sett_txn_discard(e->removal.txn);
	return expires != 0 || due != 0;
}

/* One step of a sweep, when one is due; whether it may go on at once. */
static bool
sweep(struct expirer *e, uint64_t now_ns, uint64_t now_ms)
{
	if (e->swept_ns != 0 && now_ns - e->swept_ns < SWEEP_PERIOD_NS)
		return false;
	if (e->flush_wanted && (e->flushed_ns == 0 || now_ns - e->flushed_ns >= FLUSH_PERIOD_NS)) {
		e->flush_wanted = false;
		e->flushed_ns = now_ns;
		(void)sett_engine_flush(e->server->engine, NULL);
	}
	int status = sett_engine_sweep_expired(e->server->engine, now_ms, SWEEP_BYTES, on_swept, e);
	if (status != SETT_OK)
		e->swept_ns = now_ns; /* done, or failed: again in a while */
	return status == SETT_OK;
}

/* ---- the thread ---- */

/* Moves what was noted and is due into the batch. With the lock. */
static void
collect_due(struct expirer *e, struct deadlines *deadlines, uint64_t now_ms)
{
	struct buffer key = {0};
	while (deadlines_nearest(deadlines) < now_ms && e->batch.count < BATCH_MAX) {
		unsigned db;
		buffer_clear(&key);
		if (!deadlines_take(deadlines, &db, &key))
			break;
		key_list_add(&e->batch, BATCH_MAX, db, buffer_bytes(&key));
	}
	buffer_free(&key);
}

/* Likewise what reads met, and what was swept. With the lock. */
static void
collect(struct expirer *e, uint64_t now_ms, bool active)
{
	while (e->met.count > 0 && e->batch.count < BATCH_MAX) {
		struct listed_key d = e->met.items[--e->met.count];
		key_list_add(&e->batch, BATCH_MAX, d.db, bytes_of(d.key, d.size));
		free(d.key);
	}
	for (; active && e->swept_next < e->swept.count && e->batch.count < BATCH_MAX; e->swept_next++) {
		const struct listed_key *d = &e->swept.items[e->swept_next];
		key_list_add(&e->batch, BATCH_MAX, d->db, bytes_of(d->key, d->size));
	}
	if (e->swept_next == e->swept.count) {
		key_list_clear(&e->swept);
		e->swept_next = 0;
	}
	if (active)
		collect_due(e, e->deadlines, now_ms);
	if (active && deadlines_lost(e->deadlines) < now_ms) {
		deadlines_forget_lost(e->deadlines);
		e->flush_wanted = true;
	}
}

/* How long it may sleep: until the nearest of the deadlines (NULL: there are none), or the next sweep. With the lock. */
static uint64_t
rest_locked(struct expirer *e, const struct deadlines *deadlines, uint64_t now_ms) REQUIRES(&e->lock)
{
	assert(mutex_is_mine(&e->lock));
	uint64_t nearest = deadlines != NULL ? deadlines_nearest(deadlines) : UINT64_MAX;
	uint64_t wait_ns = SWEEP_PERIOD_NS;
	if (nearest < now_ms)
		return 0;
	if (nearest - now_ms < wait_ns / NS_PER_MS)
		wait_ns = (nearest - now_ms + 1) * NS_PER_MS;
	e->wake_at = nearest;
	e->wakes_for_own = e->deletes_own;
	return wait_ns;
}

/* A replica's step: the keys of its own clients alone. */
static uint64_t
step_on_replica(struct expirer *e, uint64_t now_ms, bool active)
{
	e->was_replica = e->deletes_own = true;
	mutex_lock(&e->lock);
	key_list_clear(&e->met);
	if (active && e->own != NULL)
		collect_due(e, e->own, now_ms);
	mutex_unlock(&e->lock);
	delete_batch(e);
	mutex_lock(&e->lock);
	uint64_t rest_ns = rest_locked(e, active ? e->own : NULL, now_ms);
	mutex_unlock(&e->lock);
	e->deletes_own = false;
	return rest_ns;
}

/* One batch: taken under the lock, deleted without it. */
static uint64_t
step(void *arg)
{
	struct expirer *e = arg;
	const struct server *server = e->server;
	uint64_t now_ms = clock_wall_ms(server->clock);
	mutex_lock(&e->lock);
	e->wake_at = 0;
	mutex_unlock(&e->lock);
	/* While Redis' files are read, the rest of a file may give a key past its deadline a new one. */
	if (loading_is_active(&server->loading) ||
	    (server->pause != NULL && pause_mode_at(server->pause, now_ms) != PAUSE_NONE))
		return PAUSE_PERIOD_NS;
	bool active = __atomic_load_n(&server->config->active_expire, __ATOMIC_RELAXED);
	if (replica_role_is_active(&server->replica_role))
		return step_on_replica(e, now_ms, active);
	if (e->was_replica) {
		e->was_replica = false;
		e->flush_wanted = true;
		e->flushed_ns = e->swept_ns = 0;
		expirer_forget_own(e);
	}
	mutex_lock(&e->lock);
	collect(e, now_ms, active);
	mutex_unlock(&e->lock);
	bool more = e->batch.count > 0;
	delete_batch(e);
	if (!more && active)
		more = sweep(e, clock_monotonic_ns(server->clock), now_ms) || e->swept.count > 0;
	mutex_lock(&e->lock);
	uint64_t rest_ns =
		more || e->met.count > 0 ? 0 : rest_locked(e, active ? e->deadlines : NULL, now_ms);
	mutex_unlock(&e->lock);
	return rest_ns;
}

static void
begin(void *arg)
{
	struct expirer *e = arg;
	e->flush_wanted = has_deadlines(e);
}

static void
free_all(struct expirer *e)
{
	removal_close(&e->removal);
	deadlines_destroy(e->deadlines);
	deadlines_destroy(e->own);
	key_list_free(&e->met);
	key_list_free(&e->batch);
	key_list_free(&e->swept);
	stepper_free(&e->stepper);
	mutex_destroy(&e->lock);
	free(e);
}

static void
hear_deadline(struct server *server, unsigned db, struct bytes key, uint64_t deadline_ms, bool is_own)
{
	if (server->expirer != NULL)
		expirer_note(server->expirer, db, key, deadline_ms, is_own);
}

static void
hear_met_expired(struct server *server, unsigned db, struct bytes key)
{
	if (server->expirer != NULL)
		expirer_met(server->expirer, db, key);
}

static void
hear_expired(struct server *server, uint64_t count)
{
	if (server->expirer != NULL)
		__atomic_add_fetch(&server->expirer->expired, count, __ATOMIC_RELAXED);
}

int
expirer_create(struct server *server, struct expirer **ret)
{
	struct expirer *e = calloc(1, sizeof(*e));
	if (e == NULL)
		return SETT_NO_MEMORY;
	e->server = server;
	mutex_init(&e->lock);
	stepper_init(&e->stepper, begin, step, e);
	e->removal = (struct removal){.server = server,
				      .arg = e,
				      .begin = begin_batch,
				      .remove = delete_expired,
				      .failed = try_later};
	int status = deadlines_create(NOTED_MAX, NOTED_BYTES_MAX, &e->deadlines);
	if (status == SETT_OK)
		status = removal_open(&e->removal);
	if (status == SETT_OK)
		status = stepper_start(&e->stepper, "sett-expire");
	if (status != SETT_OK) {
		free_all(e);
		return status;
	}
	*ret = e;
	server->listeners.deadline = hear_deadline;
	server->listeners.met_expired = hear_met_expired;
	server->listeners.expired = hear_expired;
	return SETT_OK;
}

void
expirer_destroy(struct expirer *e)
{
	if (e == NULL)
		return;
	stepper_stop(&e->stepper);
	free_all(e);
}

void
expirer_note(struct expirer *e, unsigned db, struct bytes key, uint64_t deadline_ms, bool is_own)
{
	/* Of a longer key the engine keeps another form, which the sweep finds. */
	if (key.size > KEYSPACE_MAX_KEY_SIZE)
		return;
	mutex_lock(&e->lock);
	if (is_own && e->own == NULL)
		(void)deadlines_create(OWN_MAX, OWN_BYTES_MAX, &e->own); /* without memory the key stays */
	struct deadlines *deadlines = is_own ? e->own : e->deadlines;
	if (deadlines != NULL)
		deadlines_note(deadlines, db, key, deadline_ms);
	bool wakes = deadline_ms < e->wake_at && is_own == e->wakes_for_own;
	mutex_unlock(&e->lock);
	if (wakes)
		stepper_wake(&e->stepper);
}

void
expirer_forget_own(struct expirer *e)
{
	mutex_lock(&e->lock);
	struct deadlines *own = e->own;
	e->own = NULL;
	mutex_unlock(&e->lock);
	deadlines_destroy(own);
}

void
expirer_met(struct expirer *e, unsigned db, struct bytes key)
{
	if (key.size > KEYSPACE_MAX_KEY_SIZE)
		return;
	mutex_lock(&e->lock);
	key_list_add(&e->met, MET_MAX, db, key);
	mutex_unlock(&e->lock);
	stepper_wake(&e->stepper);
}

void
expirer_kick(struct expirer *e)
{
	stepper_wake(&e->stepper);
}

uint64_t
expirer_expired_keys(const struct expirer *e)
{
	return __atomic_load_n(&e->expired, __ATOMIC_RELAXED);
}

static uint64_t
thread_cpu_ns(const struct expirer *e)
{
	clockid_t clock;
	struct timespec used;
	if (pthread_getcpuclockid(e->stepper.thread, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

uint64_t
expirer_cpu_ns(const struct expirer *e)
{
	uint64_t used = thread_cpu_ns(e), base = __atomic_load_n(&e->cpu_base_ns, __ATOMIC_RELAXED);
	return used > base ? used - base : 0;
}

void
expirer_reset_stats(struct expirer *e)
{
	__atomic_store_n(&e->cpu_base_ns, thread_cpu_ns(e), __ATOMIC_RELAXED);
	__atomic_store_n(&e->expired, 0, __ATOMIC_RELAXED);
}
