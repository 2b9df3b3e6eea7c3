/* Databases, their epochs and their counts.
 *
 * A database's content lives under its epoch. FLUSHDB gives it a fresh one and drops the old prefixes, SWAPDB
 * exchanges two: both cost the same whatever the databases hold.
 *
 * Invariants
 * - Epochs are never used twice: each comes from `00 'n'`, which the same transaction moves on, or is that of one
 *   database by its number, which it never has again once it was given another (SWAPDB hands it to one that keeps
 *   it in `00 'e'`).
 * - A transaction uses one epoch per database, the one of its snapshot: the epochs in memory carry the
 *   timestamp of the commit that made them, and one newer than the snapshot is a conflict (the transaction is
 *   run again). A writer joins the database's epoch in its read set, so it cannot commit into an old epoch. Who reads as of a
 *   moment of the past takes the epoch from the entry, as memory has that of now; counters are not kept of then, so keys are
 *   counted by a walk.
 * - Epochs in memory change under the commit lock, before the commit is visible: a snapshot that includes the
 *   commit finds the new epoch, and one that finds the old one does not include it.
 * - What a reply says of an empty database depends on the commit that emptied it: `observed` carries its
 *   timestamp to the runner (I1). */
#include "keyspace/private.h"
#include "keyspace/replacement.h"

#include <assert.h>

#include "storage/base/hash.h"
#include "storage/base/random.h"
#include "storage/base/varint.h"

enum { META_KEY_SIZE = 6 };

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
	if (db >= NUMBERED_DATABASES) {
		put_be32(room + 2, db);
		return bytes_of(room, 6);
	}
	room[2] = (uint8_t)(db >> 8);
	room[3] = (uint8_t)db;
	return bytes_of(room, 4);
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

int
keyspace_take_epoch(struct sett_txn *txn, uint64_t *ret)
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
	if (next == 0 || next >= EPOCHS_BY_DATABASE)
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

enum { WORD_BITS = 64 };

static void
note_in_use(struct keyspace *k, unsigned db)
{
	if (__builtin_expect(db < NUMBERED_DATABASES, 1))
		return;
	uint64_t *word = &k->in_use[db / WORD_BITS], bit = (uint64_t)1 << db % WORD_BITS;
	if ((__atomic_load_n(word, __ATOMIC_RELAXED) & bit) == 0)
		__atomic_fetch_or(word, bit, __ATOMIC_RELEASE);
}

unsigned
keyspace_next_database(const struct keyspace *k, unsigned db)
{
	if (db < NUMBERED_DATABASES || db >= k->count)
		return db < k->count ? db : k->count;
	for (size_t word = db / WORD_BITS; word * WORD_BITS < k->count; word++) {
		uint64_t bits = __atomic_load_n(&k->in_use[word], __ATOMIC_ACQUIRE);
		if (word == db / WORD_BITS)
			bits &= ~(uint64_t)0 << db % WORD_BITS;
		if (bits != 0)
			return (unsigned)(word * WORD_BITS) + (unsigned)__builtin_ctzll(bits);
	}
	return k->count;
}

/* The number of a database that has an epoch of its own beside those with numbered ones. */
static bool
parse_epoch_meta_key(const struct keyspace *k, struct bytes key, unsigned *ret_db)
{
	if (key.size != META_KEY_SIZE)
		return false;
	*ret_db = get_be32(key.data + 2);
	return *ret_db >= NUMBERED_DATABASES && *ret_db < k->count;
}

static int
load_changed_epochs(struct keyspace *k, struct sett_txn *txn)
{
	static const uint8_t lower[] = {KIND_META, 'e'}, upper[] = {KIND_META, 'e' + 1};
	const struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						      .upper = bytes_of(upper, sizeof(upper))};
	struct sett_iterator *iterator;
	int status = sett_iterator_open(txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct sett_record record;
		unsigned db;
		if (!parse_epoch_meta_key(k, sett_iterator_key(iterator), &db))
			continue;
		status = sett_iterator_record(iterator, &record);
		if (status == SETT_OK && record.head.size != 8)
			status = SETT_CORRUPT;
		if (status != SETT_OK)
			break;
		k->databases[db].epoch = get_le64(record.head.data);
		note_in_use(k, db);
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Finds the databases with epochs by their number that hold keys: a seek for each. */
static int
find_in_use(struct keyspace *k, struct sett_txn *txn)
{
	uint8_t prefix[EPOCH_PREFIX_SIZE], upper[EPOCH_PREFIX_SIZE];
	epoch_prefix(prefix, KIND_ROOT, EPOCHS_BY_DATABASE);
	epoch_prefix(upper, KIND_ROOT, EPOCHS_BY_DATABASE + k->count);
	const struct sett_iterator_options options = {.lower = bytes_of(prefix, sizeof(prefix)),
						      .upper = bytes_of(upper, sizeof(upper))};
	struct sett_iterator *iterator;
	int status = sett_iterator_open(txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	status = sett_iterator_first(iterator);
	while (status == SETT_OK) {
		uint64_t epoch = get_be64(sett_iterator_key(iterator).data + 1);
		assert(epoch >= EPOCHS_BY_DATABASE && epoch - EPOCHS_BY_DATABASE < k->count);
		note_in_use(k, (unsigned)(epoch - EPOCHS_BY_DATABASE));
		epoch_prefix(prefix, KIND_ROOT, epoch + 1);
		status = sett_iterator_seek(iterator, bytes_of(prefix, sizeof(prefix)));
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
load_epochs(struct keyspace *k, struct sett_txn *txn)
{
	for (unsigned db = 0; db < k->count && db < NUMBERED_DATABASES; db++) {
		uint8_t room[META_KEY_SIZE];
		struct bytes key = epoch_meta_key(room, db);
		uint64_t epoch;
		int status = read_number(txn, key, &epoch);
		if (status == SETT_NOT_FOUND) {
			status = keyspace_take_epoch(txn, &epoch);
			if (status == SETT_OK)
				status = write_number(txn, key, epoch);
		}
		if (status != SETT_OK)
			return status;
		if (epoch == 0)
			return SETT_CORRUPT;
		k->databases[db].epoch = epoch;
	}
	int status = SETT_OK;
	if (k->count > NUMBERED_DATABASES) {
		status = load_changed_epochs(k, txn);
		if (status == SETT_OK)
			status = find_in_use(k, txn);
	}
	return status == SETT_OK ? load_member_seed(k, txn) : status;
}

int
keyspace_open(struct sett_engine *engine, unsigned databases, struct keyspace **ret, struct sett_error *error)
{
	if (databases == 0 || databases > INT32_MAX)
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
	k->in_use = calloc(databases / WORD_BITS + 1, sizeof(*k->in_use));
	status = k->in_use != NULL ? scan_cursors_open(engine, &k->cursors) : SETT_NO_MEMORY;
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
	free(k->in_use);
	free(k);
}

unsigned
keyspace_databases(const struct keyspace *k)
{
	return k->count;
}

/* ---- a transaction's view ---- */

struct view_epoch {
	uint64_t epoch; /* 0: the slot is free */
	unsigned db;
};

/* The slot of a database, or the free one where it belongs. */
static struct view_epoch *
find_slot(struct view_epoch *slots, unsigned capacity, unsigned db)
{
	unsigned i = db & (capacity - 1);
	while (slots[i].epoch != 0 && slots[i].db != db)
		i = (i + 1) & (capacity - 1);
	return &slots[i];
}

/* The epoch, in the view, of a database that this transaction has used. */
static uint64_t *
view_epoch(struct keyspace_view *view, unsigned db)
{
	struct view_epoch *slot = find_slot(view->epochs, view->epoch_capacity, db);
	assert(slot->epoch != 0);
	return &slot->epoch;
}

static int
grow_epochs(struct keyspace_view *view)
{
	enum { FIRST_CAPACITY = 4 };
	unsigned capacity = view->epoch_capacity > 0 ? view->epoch_capacity * 2 : FIRST_CAPACITY;
	struct view_epoch *slots = arena_allocate(view->arena, capacity * sizeof(*slots), 8);
	if (slots == NULL)
		return SETT_NO_MEMORY;
	memset(slots, 0, capacity * sizeof(*slots));
	for (unsigned i = 0; i < view->epoch_capacity; i++)
		if (view->epochs[i].epoch != 0)
			*find_slot(slots, capacity, view->epochs[i].db) = view->epochs[i];
	view->epochs = slots;
	view->epoch_capacity = capacity;
	return SETT_OK;
}

int
keyspace_begin(struct keyspace_view *view, struct keyspace *k, struct sett_txn *txn, struct arena *arena)
{
	*view = (struct keyspace_view){.keyspace = k,
				       .txn = txn,
				       .arena = arena,
				       .now_ms = sett_txn_now_ms(txn),
				       .events = __atomic_load_n(&k->events, __ATOMIC_RELAXED)};
	view->propagates = (view->events & OBSERVER_REPLICATION) != 0;
	return SETT_OK;
}

static int
enter_epoch(struct keyspace_view *view, unsigned db, uint64_t epoch)
{
	/* A free slot stays, so that searches end. */
	int status = view->epoch_count + 1 >= view->epoch_capacity ? grow_epochs(view) : SETT_OK;
	if (status != SETT_OK)
		return status;
	*find_slot(view->epochs, view->epoch_capacity, db) = (struct view_epoch){.epoch = epoch, .db = db};
	view->epoch_count++;
	return SETT_OK;
}

/* Of a replacement, which nobody else uses: there is nothing to conflict with. */
static int
read_replaced_epoch(struct keyspace_view *view, unsigned db, uint64_t *ret)
{
	uint64_t epoch;
	int status = replacement_epoch(view->replacement, db, &epoch);
	if (status == SETT_OK)
		status = enter_epoch(view, db, epoch);
	if (status == SETT_OK)
		*ret = epoch;
	return status;
}

/* As of a moment of the past: what is in memory is that of now. */
static int
read_past_epoch(struct keyspace_view *view, unsigned db, uint64_t *ret)
{
	uint8_t room[META_KEY_SIZE];
	uint64_t epoch = EPOCHS_BY_DATABASE + db;
	int status = read_number(view->txn, epoch_meta_key(room, db), &epoch);
	if (status == SETT_NOT_FOUND && db >= NUMBERED_DATABASES)
		status = SETT_OK;
	if (status == SETT_NOT_FOUND)
		return SETT_CORRUPT; /* each start makes sure of them */
	if (status == SETT_OK)
		status = enter_epoch(view, db, epoch);
	if (status == SETT_OK)
		*ret = epoch;
	return status;
}

/* The first use of a database: its epoch joins the read set and the view. */
static int
read_epoch(struct keyspace_view *view, unsigned db, uint64_t *ret)
{
	struct keyspace *k = view->keyspace;
	if (__builtin_expect(view->replacement != NULL, 0))
		return read_replaced_epoch(view, db, ret);
	if (__builtin_expect(sett_txn_is_as_of(view->txn), 0))
		return read_past_epoch(view, db, ret);
	uint64_t epoch = database_epoch(k, db);
	uint64_t since = __atomic_load_n(&k->databases[db].since, __ATOMIC_RELAXED);
	if (since > sett_txn_snapshot(view->txn))
		return SETT_CONFLICT;
	int status = sett_txn_read_conflict(view->txn, epoch_conflict_key(db));
	if (status == SETT_OK)
		status = enter_epoch(view, db, epoch);
	if (status != SETT_OK)
		return status;
	note_in_use(k, db);
	if (since > view->observed)
		view->observed = since;
	*ret = epoch;
	return SETT_OK;
}

int
keyspace_epoch(struct keyspace_view *view, unsigned db, uint64_t *ret)
{
	if (db >= view->keyspace->count)
		return SETT_INVALID;
	if (view->epoch_capacity > 0) {
		const struct view_epoch *slot = find_slot(view->epochs, view->epoch_capacity, db);
		if (slot->epoch != 0) {
			*ret = slot->epoch;
			return SETT_OK;
		}
	}
	return read_epoch(view, db, ret);
}

void
keyspace_publish(struct keyspace_view *view, uint64_t timestamp)
{
	for (const struct epoch_change *c = view->last_change; c != NULL; c = c->older) {
		struct database *d = &view->keyspace->databases[c->db];
		__atomic_store_n(&d->since, timestamp, __ATOMIC_RELAXED);
		/* Release: `since` is there for whoever sees the epoch (keyspace_epoch). */
		__atomic_store_n(&d->epoch, *view_epoch(view, c->db), __ATOMIC_RELEASE);
	}
}

/* Where what comes before all else belongs. */
static struct effect **
front_of(struct keyspace_view *view)
{
	return view->front != NULL ? &view->front->next : &view->first_effect;
}

void
keyspace_rollback(struct keyspace_view *view, const struct keyspace_savepoint *to)
{
	sett_txn_rollback_to(view->txn, to->txn);
	for (; view->last_change != to->change; view->last_change = view->last_change->older)
		*view_epoch(view, view->last_change->db) = view->last_change->before;
	view->last_touched = to->touched;
	if (to->touched != NULL)
		to->touched->next = NULL;
	else
		view->first_touched = NULL;
	view->last_tracked = to->tracked;
	if (to->tracked != NULL)
		to->tracked->next = NULL;
	else
		view->first_tracked = NULL;
	view->front = to->front;
	*front_of(view) = to->behind_front;
	view->flushed = to->flushed;
	view->held_is_lost |= view->held_steps != to->held_steps;
	view->last_effect = to->effect;
	if (to->effect != NULL)
		to->effect->next = NULL;
	else
		view->first_effect = NULL;
}

/* ---- effects ---- */

void
keyspace_set_events(struct keyspace *k, unsigned events)
{
	unsigned before = __atomic_load_n(&k->events, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&k->events, &before,
					    (before & OBSERVERS) | (events & ~(unsigned)OBSERVERS), false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void
keyspace_set_observed(struct keyspace *k, enum observer observer, bool on)
{
	if (on)
		__atomic_fetch_or(&k->events, (unsigned)observer, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&k->events, ~(unsigned)observer, __ATOMIC_RELAXED);
}

bool
keyspace_events_are_stale(const struct keyspace_view *view)
{
	return view->events != __atomic_load_n(&view->keyspace->events, __ATOMIC_RELAXED);
}

static void
append_effect(struct keyspace_view *view, struct effect *e)
{
	e->next = NULL;
	if (view->last_effect != NULL)
		view->last_effect->next = e;
	else
		view->first_effect = e;
	view->last_effect = e;
}

static int
add_effect(struct keyspace_view *view, const struct effect *effect)
{
	struct effect *e = arena_allocate(view->arena, sizeof(*e), _Alignof(struct effect));
	if (e == NULL)
		return SETT_NO_MEMORY;
	*e = *effect;
	append_effect(view, e);
	return SETT_OK;
}

void
keyspace_keep_lines(struct keyspace_view *view, struct effect *dropped)
{
	for (struct effect *e = dropped, *next; e != NULL; e = next) {
		next = e->next;
		if (e->kind == EFFECT_LINE)
			append_effect(view, e);
	}
}

void
keyspace_effects_to_front(struct keyspace_view *view, struct effect *last)
{
	if (last == NULL || last == view->last_effect || last == view->front)
		return;
	struct effect **front = front_of(view), *moved = last->next;
	view->last_effect->next = *front;
	*front = moved;
	last->next = NULL;
	view->last_effect = last;
}

int
keyspace_add_event(struct keyspace_view *view, unsigned db, struct bytes key, const char *event)
{
	return add_effect(view,
			  &(struct effect){.kind = EFFECT_EVENT, .db = db, .event = event, .channel = key});
}

int
keyspace_add_message(struct keyspace_view *view, enum effect_kind kind, struct bytes channel,
		     struct bytes message)
{
	assert(kind != EFFECT_EVENT && kind != EFFECT_COMMAND);
	return add_effect(view, &(struct effect){.kind = kind, .channel = channel, .message = message});
}

int
keyspace_add_command(struct keyspace_view *view, unsigned db, size_t argc, const struct bytes *argv,
		     const struct argument_body *bodies)
{
	assert(view->propagates && argc > 0);
	struct effect command = {.kind = EFFECT_COMMAND,
				 .apart = view->begins_apart,
				 .db = db,
				 .argc = argc,
				 .argv = argv,
				 .bodies = bodies};
	view->begins_apart = false;
	return add_effect(view, &command);
}

int
keyspace_propagate_expired(struct keyspace_view *view, unsigned db, struct bytes key)
{
	struct bytes *argv = arena_allocate(view->arena, 2 * sizeof(*argv), _Alignof(struct bytes));
	struct effect *e = arena_allocate(view->arena, sizeof(*e), _Alignof(struct effect));
	if (argv == NULL || e == NULL)
		return SETT_NO_MEMORY;
	assert(view->propagates);
	argv[0] = BYTES_LITERAL("DEL");
	argv[1] = key;
	struct effect **front = front_of(view);
	*e = (struct effect){.next = *front,
			     .kind = EFFECT_COMMAND,
			     .apart = view->shares,
			     .db = db,
			     .argc = 2,
			     .argv = argv};
	*front = e;
	if (e->next == NULL)
		view->last_effect = e;
	return SETT_OK;
}

int
keyspace_propagate(struct keyspace_view *view, unsigned db, size_t argc, const struct bytes *argv)
{
	if (!view->propagates)
		return SETT_OK;
	struct bytes *copy = arena_allocate(view->arena, argc * sizeof(*copy), _Alignof(struct bytes));
	if (copy == NULL)
		return SETT_NO_MEMORY;
	memcpy(copy, argv, argc * sizeof(*copy));
	return keyspace_add_command(view, db, argc, copy, NULL);
}

/* ---- touched keys, and keys that are told of ---- */

int
keyspace_note_read(struct keyspace_view *view, struct bytes key)
{
	struct tracked_read *r = arena_allocate(view->arena, sizeof(*r), _Alignof(struct tracked_read));
	if (r == NULL)
		return SETT_NO_MEMORY;
	*r = (struct tracked_read){.key = key, .after = view->last_touched};
	if (view->last_tracked != NULL)
		view->last_tracked->next = r;
	else
		view->first_tracked = r;
	view->last_tracked = r;
	return SETT_OK;
}

struct touched_key *
keyspace_touch(struct keyspace_view *view, unsigned db, struct bytes key)
{
	struct touched_key *t = arena_allocate(view->arena, sizeof(*t), _Alignof(struct touched_key));
	if (t == NULL)
		return NULL;
	uint32_t before = view->last_touched != NULL ? view->last_touched->number : 0;
	*t = (struct touched_key){.db = db, .number = before + 1, .key = key, .client = view->client};
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
	*view_epoch(view, db) = epoch;
	return SETT_OK;
}

int
keyspace_drop_counters(struct keyspace_view *view, uint64_t epoch)
{
	int status = sett_txn_counter_drop(view->txn, keys_counter(epoch));
	if (status == SETT_OK)
		status = sett_txn_counter_drop(view->txn, deadlines_counter(epoch));
	if (status == SETT_OK)
		status = sett_txn_counter_drop(view->txn, due_counter(epoch));
	if (status == SETT_OK)
		status = sett_txn_counter_drop(view->txn, deadline_sum_counter(epoch));
	return status;
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
	return status == SETT_OK ? keyspace_drop_counters(view, epoch) : status;
}

int
keyspace_flush(struct keyspace_view *view, unsigned db)
{
	uint64_t old, epoch;
	int64_t keys, expires;
	int status = keyspace_count(view, db, &keys, &expires);
	view->flushed = true;
	if (status != SETT_OK || keys == 0)
		return status;
	status = keyspace_epoch(view, db, &old);
	if (status == SETT_OK)
		status = keyspace_take_epoch(view->txn, &epoch);
	if (status == SETT_OK)
		status = drop_epoch(view, old);
	return status == SETT_OK ? change_epoch(view, db, old, epoch, false) : status;
}

int
keyspace_replace(struct keyspace_view *view, unsigned db, uint64_t epoch)
{
	uint64_t old;
	view->flushed = true;
	int status = keyspace_epoch(view, db, &old);
	if (status == SETT_OK)
		status = drop_epoch(view, old);
	/* Keys may also have appeared, as with SWAPDB. */
	return status == SETT_OK ? change_epoch(view, db, old, epoch, true) : status;
}

bool
keyspace_uses_epoch(const struct keyspace_view *view, unsigned db)
{
	return view->epoch_capacity > 0 && find_slot(view->epochs, view->epoch_capacity, db)->epoch != 0;
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

static int
count_past(struct keyspace_view *view, uint64_t epoch, int64_t *ret_keys, int64_t *ret_expires)
{
	struct sett_iterator *iterator;
	struct sett_iterator_options options = {.lower = {0}};
	int64_t keys = 0, expires = 0;
	int status = keyspace_prefix_bounds(view, epoch, (struct bytes){0}, &options.lower, &options.upper);
	if (status == SETT_OK)
		status = sett_iterator_open(view->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct sett_record record;
		status = sett_iterator_record(iterator, &record);
		if (status != SETT_OK)
			break;
		keys++;
		expires += record.expires_at != 0;
	}
	sett_iterator_close(iterator);
	if (status != SETT_NOT_FOUND)
		return status;
	*ret_keys = keys;
	*ret_expires = expires;
	return SETT_OK;
}

int
keyspace_count(struct keyspace_view *view, unsigned db, int64_t *ret_keys, int64_t *ret_expires)
{
	uint64_t epoch;
	int64_t keys, expires;
	int status = keyspace_epoch(view, db, &epoch);
	if (status == SETT_OK && sett_txn_is_as_of(view->txn))
		return count_past(view, epoch, ret_keys, ret_expires);
	/* The number of keys is guarded; that of deadlines alone may be a moment old when it is validated. */
	if (status == SETT_OK)
		status = sett_txn_read_conflict(view->txn, existence_conflict_key(epoch));
	/* FLUSHDB drops the counter. Again, as it may have been read before the mark of sett_txn_check_reads. */
	if (status == SETT_OK)
		status = sett_txn_read_conflict(view->txn, epoch_conflict_key(db));
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
