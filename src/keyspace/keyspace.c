/* Databases, their epochs and their counts.
 *
 * A database's content lives under its epoch. FLUSHDB gives it a fresh one and drops the old prefixes, SWAPDB
 * exchanges two: both cost the same whatever the databases hold.
 *
 * Invariants
 * - Epochs are never used twice: each comes from `00 'n'`, which the same transaction moves on.
 * - A transaction uses one epoch per database, the one of its snapshot: the epochs in memory carry the
 *   timestamp of the commit that made them, and one newer than the snapshot is a conflict (the transaction is
 *   run again). A writer joins the database's epoch in its read set, so it cannot commit into an old epoch.
 * - Epochs in memory change under the commit lock, before the commit is visible: a snapshot that includes the
 *   commit finds the new epoch, and one that finds the old one does not include it.
 * - What a reply says of an empty database depends on the commit that emptied it: `observed` carries its
 *   timestamp to the runner (I1). */
#include "keyspace/private.h"

#include "storage/base/hash.h"
#include "storage/base/random.h"
#include "storage/base/varint.h"

enum { META_KEY_SIZE = 4 };

/* splitmix64's finalizer (Steele, Lea, Flood 2014). */
static uint64_t
mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t
existence_conflict_key(uint64_t epoch)
{
	return mix(epoch + 0x9e3779b97f4a7c15u);
}

static uint64_t
epoch_conflict_key(unsigned db)
{
	return mix(~(uint64_t)db);
}

static uint64_t
next_epoch_conflict_key(void)
{
	return mix(0x6e65787465706f63u);
}

uint64_t
keyspace_member_seed(const struct keyspace *k, uint64_t epoch)
{
	return mix(k->member_seed + epoch);
}

uint64_t
keyspace_random(struct keyspace *k)
{
	return mix(__atomic_add_fetch(&k->random_counter, 0x9e3779b97f4a7c15u, __ATOMIC_RELAXED));
}

static struct bytes
epoch_meta_key(uint8_t room[META_KEY_SIZE], unsigned db)
{
	room[0] = KIND_META;
	room[1] = 'e';
	room[2] = (uint8_t)(db >> 8);
	room[3] = (uint8_t)db;
	return bytes_of(room, META_KEY_SIZE);
}

static const uint8_t next_epoch_key[2] = {KIND_META, 'n'};
static const uint8_t member_seed_key[2] = {KIND_META, 's'};

/* ---- opening ---- */

static int
read_number(struct sett_txn *txn, struct bytes key, uint64_t *ret)
{
	struct sett_record record;
	int status = sett_txn_get(txn, key, &record);
	if (status != SETT_OK)
		return status;
	if (record.head.size != 8)
		return SETT_CORRUPT;
	*ret = get_le64(record.head.data);
	return SETT_OK;
}

static int
write_number(struct sett_txn *txn, struct bytes key, uint64_t value)
{
	uint8_t text[8];
	put_le64(text, value);
	return sett_txn_put(txn, key, &(struct sett_put){.head = bytes_of(text, sizeof(text))});
}

/* An epoch that was never used. */
static int
take_epoch(struct sett_txn *txn, uint64_t *ret)
{
	uint64_t next = 1;
	struct bytes key = bytes_of(next_epoch_key, sizeof(next_epoch_key));
	int status = sett_txn_read_conflict(txn, next_epoch_conflict_key());
	if (status == SETT_OK)
		status = sett_txn_write_conflict(txn, next_epoch_conflict_key());
	if (status == SETT_OK)
		status = read_number(txn, key, &next);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	/* The counters' numbers are twice the epoch. */
	if (next == 0 || next > UINT64_MAX / 4)
		return SETT_CORRUPT;
	status = write_number(txn, key, next + 1);
	if (status == SETT_OK)
		*ret = next;
	return status;
}

/* The seed is made once, with the first start that knows of it. */
static int
load_member_seed(struct keyspace *k, struct sett_txn *txn)
{
	struct bytes key = bytes_of(member_seed_key, sizeof(member_seed_key));
	int status = read_number(txn, key, &k->member_seed);
	if (status != SETT_NOT_FOUND)
		return status;
	k->member_seed = random_entropy();
	return write_number(txn, key, k->member_seed);
}

static int
load_epochs(struct keyspace *k, struct sett_txn *txn)
{
	for (unsigned db = 0; db < k->count; db++) {
		uint8_t room[META_KEY_SIZE];
		struct bytes key = epoch_meta_key(room, db);
		uint64_t epoch;
		int status = read_number(txn, key, &epoch);
		if (status == SETT_NOT_FOUND) {
			status = take_epoch(txn, &epoch);
			if (status == SETT_OK)
				status = write_number(txn, key, epoch);
		}
		if (status != SETT_OK)
			return status;
		if (epoch == 0)
			return SETT_CORRUPT;
		k->databases[db].epoch = epoch;
	}
	return load_member_seed(k, txn);
}

int
keyspace_open(struct sett_engine *engine, unsigned databases, struct keyspace **ret, struct sett_error *error)
{
	if (databases == 0 || databases > KEYSPACE_MAX_DATABASES)
		return sett_error_set(error, SETT_INVALID, 0, "number of databases %u is out of range",
				      databases);
	struct keyspace *k = calloc(1, sizeof(*k) + databases * sizeof(k->databases[0]));
	struct sett_txn *txn = NULL;
	int status = SETT_NO_MEMORY;
	if (k == NULL)
		return sett_error_set(error, status, 0, "no memory for the keyspace");
	k->engine = engine;
	k->count = databases;
	k->random_counter = random_entropy();
	status = scan_cursors_open(engine, &k->cursors);
	if (status == SETT_OK)
		status = object_ids_open(engine, &k->objects);
	if (status == SETT_OK)
		status = sett_txn_create(engine, &txn);
	if (status == SETT_OK)
		status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = load_epochs(k, txn);
	if (status == SETT_OK)
		status = sett_txn_commit(txn, NULL, NULL);
	if (status != SETT_OK) {
		const char *failure = txn != NULL ? sett_txn_failure(txn) : "";
		sett_error_set(error, status, 0, "cannot read the databases' epochs: %s",
			       failure[0] != 0 ? failure : sett_status_text(status));
		keyspace_close(k);
	}
	sett_txn_destroy(txn);
	if (status != SETT_OK)
		return status;
	*ret = k;
	return SETT_OK;
}

void
keyspace_close(struct keyspace *k)
{
	if (k == NULL)
		return;
	object_ids_close(k->objects);
	scan_cursors_close(k->cursors);
	free(k);
}

unsigned
keyspace_databases(const struct keyspace *k)
{
	return k->count;
}

/* ---- a transaction's view ---- */

int
keyspace_begin(struct keyspace_view *view, struct keyspace *k, struct sett_txn *txn, struct arena *arena)
{
	*view = (struct keyspace_view){
		.keyspace = k, .txn = txn, .arena = arena, .now_ms = sett_txn_now_ms(txn)};
	return SETT_OK;
}

int
keyspace_epoch(struct keyspace_view *view, unsigned db, uint64_t *ret)
{
	struct keyspace *k = view->keyspace;
	if (db >= k->count)
		return SETT_INVALID;
	if (view->epochs == NULL) {
		uint64_t *epochs = arena_allocate(view->arena, k->count * sizeof(*epochs), 8);
		if (epochs == NULL)
			return SETT_NO_MEMORY;
		memset(epochs, 0, k->count * sizeof(*epochs));
		view->epochs = epochs;
	}
	if (view->epochs[db] == 0) {
		/* Acquire: partner of the release store in keyspace_publish. */
		uint64_t epoch = __atomic_load_n(&k->databases[db].epoch, __ATOMIC_ACQUIRE);
		uint64_t since = __atomic_load_n(&k->databases[db].since, __ATOMIC_RELAXED);
		if (since > sett_txn_snapshot(view->txn))
			return SETT_CONFLICT;
		int status = sett_txn_read_conflict(view->txn, epoch_conflict_key(db));
		if (status != SETT_OK)
			return status;
		if (since > view->observed)
			view->observed = since;
		view->epochs[db] = epoch;
	}
	*ret = view->epochs[db];
	return SETT_OK;
}

void
keyspace_publish(struct keyspace_view *view, uint64_t timestamp)
{
	for (const struct epoch_change *c = view->last_change; c != NULL; c = c->older) {
		struct database *d = &view->keyspace->databases[c->db];
		__atomic_store_n(&d->since, timestamp, __ATOMIC_RELAXED);
		/* Release: `since` is there for whoever sees the epoch (keyspace_epoch). */
		__atomic_store_n(&d->epoch, view->epochs[c->db], __ATOMIC_RELEASE);
	}
}

struct keyspace_savepoint
keyspace_savepoint(const struct keyspace_view *view)
{
	return (struct keyspace_savepoint){.txn = sett_txn_savepoint(view->txn),
					   .change = view->last_change,
					   .touched = view->last_touched};
}

void
keyspace_rollback(struct keyspace_view *view, const struct keyspace_savepoint *to)
{
	sett_txn_rollback_to(view->txn, to->txn);
	for (; view->last_change != to->change; view->last_change = view->last_change->older)
		view->epochs[view->last_change->db] = view->last_change->before;
	view->last_touched = to->touched;
	if (to->touched != NULL)
		to->touched->next = NULL;
	else
		view->first_touched = NULL;
}

struct touched_key *
keyspace_touch(struct keyspace_view *view, unsigned db, struct bytes key)
{
	struct touched_key *t = arena_allocate(view->arena, sizeof(*t), _Alignof(struct touched_key));
	if (t == NULL)
		return NULL;
	*t = (struct touched_key){.db = db, .key = key};
	if (view->last_touched != NULL)
		view->last_touched->next = t;
	else
		view->first_touched = t;
	view->last_touched = t;
	return t;
}

int
keyspace_touch_key(struct keyspace_view *view, unsigned db, struct bytes key)
{
	const void *copy = arena_copy(view->arena, key.data, key.size);
	bool done = copy != NULL && keyspace_touch(view, db, bytes_of(copy, key.size)) != NULL;
	return done ? SETT_OK : SETT_NO_MEMORY;
}

/* ---- whole databases ---- */

static int
change_epoch(struct keyspace_view *view, unsigned db, uint64_t before, uint64_t epoch, bool swapped)
{
	uint8_t room[META_KEY_SIZE];
	struct epoch_change *c = arena_allocate(view->arena, sizeof(*c), _Alignof(struct epoch_change));
	struct touched_key *t = keyspace_touch(view, db, (struct bytes){0});
	if (c == NULL || t == NULL)
		return SETT_NO_MEMORY;
	t->whole_database = true;
	t->swapped = swapped;
	int status = write_number(view->txn, epoch_meta_key(room, db), epoch);
	if (status == SETT_OK)
		status = sett_txn_write_conflict(view->txn, epoch_conflict_key(db));
	if (status != SETT_OK)
		return status;
	*c = (struct epoch_change){.older = view->last_change, .db = db, .before = before};
	view->last_change = c;
	view->epochs[db] = epoch;
	return SETT_OK;
}

static int
drop_epoch(struct keyspace_view *view, uint64_t epoch)
{
	static const uint8_t kinds[] = {KIND_ROOT, KIND_ELEMENT};
	int status = SETT_OK;
	for (size_t i = 0; i < sizeof(kinds) && status == SETT_OK; i++) {
		uint8_t prefix[EPOCH_PREFIX_SIZE];
		epoch_prefix(prefix, kinds[i], epoch);
		status = sett_txn_drop_prefix(view->txn, bytes_of(prefix, sizeof(prefix)));
	}
	if (status == SETT_OK)
		status = sett_txn_counter_drop(view->txn, keys_counter(epoch));
	if (status == SETT_OK)
		status = sett_txn_counter_drop(view->txn, deadlines_counter(epoch));
	if (status == SETT_OK)
		status = sett_txn_counter_drop(view->txn, due_counter(epoch));
	if (status == SETT_OK)
		status = sett_txn_counter_drop(view->txn, deadline_sum_counter(epoch));
	return status;
}

int
keyspace_flush(struct keyspace_view *view, unsigned db)
{
	uint64_t old, epoch;
	int64_t keys, expires;
	int status = keyspace_count(view, db, &keys, &expires);
	if (status != SETT_OK || keys == 0)
		return status;
	status = keyspace_epoch(view, db, &old);
	if (status == SETT_OK)
		status = take_epoch(view->txn, &epoch);
	if (status == SETT_OK)
		status = drop_epoch(view, old);
	return status == SETT_OK ? change_epoch(view, db, old, epoch, false) : status;
}

int
keyspace_swap(struct keyspace_view *view, unsigned a, unsigned b)
{
	uint64_t epoch_a, epoch_b;
	int status = keyspace_epoch(view, a, &epoch_a);
	if (status == SETT_OK)
		status = keyspace_epoch(view, b, &epoch_b);
	if (status != SETT_OK || a == b)
		return status;
	status = change_epoch(view, a, epoch_a, epoch_b, true);
	return status == SETT_OK ? change_epoch(view, b, epoch_b, epoch_a, true) : status;
}

int
keyspace_count(struct keyspace_view *view, unsigned db, int64_t *ret_keys, int64_t *ret_expires)
{
	uint64_t epoch;
	int64_t keys, expires;
	int status = keyspace_epoch(view, db, &epoch);
	/* The number of keys is guarded; that of deadlines alone may be a moment old when it is validated. */
	if (status == SETT_OK)
		status = sett_txn_read_conflict(view->txn, existence_conflict_key(epoch));
	if (status == SETT_OK)
		status = sett_txn_counter(view->txn, keys_counter(epoch), &keys);
	if (status == SETT_OK)
		status = sett_txn_counter(view->txn, deadlines_counter(epoch), &expires);
	if (status != SETT_OK)
		return status;
	*ret_keys = keys;
	*ret_expires = expires;
	return SETT_OK;
}

int
keyspace_average_ttl(struct keyspace_view *view, unsigned db, uint64_t *ret_ms)
{
	uint64_t epoch;
	int64_t expires, sum;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK)
		status = sett_txn_counter(view->txn, deadlines_counter(epoch), &expires);
	if (status == SETT_OK)
		status = sett_txn_counter(view->txn, deadline_sum_counter(epoch), &sum);
	if (status != SETT_OK)
		return status;
	int64_t deadline = 0, now = (int64_t)view->now_ms - DEADLINE_SHARE_BASE_MS;
	if (expires > 0)
		deadline = (int64_t)((double)sum / (double)expires * DEADLINE_SHARE_MS);
	*ret_ms = deadline > now ? (uint64_t)(deadline - now) : 0;
	return SETT_OK;
}

int
keyspace_count_due(struct keyspace_view *view, unsigned db, int64_t *ret)
{
	uint64_t epoch;
	int status = keyspace_epoch(view, db, &epoch);
	return status == SETT_OK ? sett_txn_counter(view->txn, due_counter(epoch), ret) : status;
}
