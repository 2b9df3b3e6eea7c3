/* Notes, and what a transaction makes of them: see engine.h.
 *
 * A note is a record of the record cache that no entry of the tree stands behind. Changes wait in the transaction and are
 * brought to the cache with its writes, as those are: so (I14) holds of notes, too. */
#include <string.h>

#include "engine_private.h"

/* Lives in the transaction's arena. */
struct note_change {
	struct note_change *next;
	uint64_t hash;
	struct bytes key;
	struct bytes value; /* an encoded entry; empty: nothing is kept */
	size_t capacity;    /* of the value's memory */
};

static struct note_change *
find_change(const struct sett_txn *txn, struct bytes key, uint64_t hash)
{
	const struct note_changes *changes = &txn->note_changes;
	if (changes->count == 0)
		return NULL;
	struct note_change *change = changes->buckets[hash % NOTE_BUCKETS];
	while (change && (change->hash != hash || !bytes_equal(change->key, key)))
		change = change->next;
	return change;
}

/* The key is copied. */
static struct note_change *
add_change(struct sett_txn *txn, struct bytes key, uint64_t hash)
{
	struct note_changes *changes = &txn->note_changes;
	struct note_change *change =
		arena_allocate(&txn->arena, sizeof(*change) + key.size, _Alignof(struct note_change));
	if (!change)
		return NULL;
	uint8_t *copy = (uint8_t *)(change + 1);
	if (key.size > 0)
		memcpy(copy, key.data, key.size);
	*change = (struct note_change){
		.next = changes->buckets[hash % NOTE_BUCKETS], .hash = hash, .key = bytes_of(copy, key.size)};
	changes->buckets[hash % NOTE_BUCKETS] = change;
	changes->count++;
	return change;
}

bool
sett_txn_note(struct sett_txn *txn, struct bytes key, struct bytes *ret)
{
	struct bytes value;
	uint64_t timestamp, hash = sett_engine_hash(txn->engine, key);
	struct entry entry;
	const struct note_change *change = find_change(txn, key, hash);
	if (change)
		value = change->value;
	else if (record_cache_get(txn->engine->records, hash, key, txn->snapshot, &txn->reads_arena, &value,
				  &timestamp) != SETT_OK)
		return false;
	if (value.size == 0 || entry_decode(value, &entry) != SETT_OK || entry.kind != ENTRY_INLINE)
		return false;
	*ret = entry.body;
	return true;
}

void
sett_txn_keep_note(struct sett_txn *txn, struct bytes key, struct bytes content)
{
	struct entry entry = {.kind = ENTRY_INLINE, .body = content};
	struct arena_mark place = arena_mark(&txn->reads_arena);
	size_t size = entry_encoded_size(&entry);
	uint8_t *value = NULL;
	if (record_cache_takes(txn->engine->records, key.size + size))
		value = arena_allocate(&txn->reads_arena, size, 1);
	if (!value)
		return;
	(void)entry_encode(&entry, value);
	record_cache_admit(txn->engine->records, sett_engine_hash(txn->engine, key), key, txn->snapshot,
			   bytes_of(value, size), txn->snapshot);
	arena_rewind(&txn->reads_arena, &place);
}

int
sett_txn_change_note(struct sett_txn *txn, struct bytes key, const struct bytes *content)
{
	uint64_t hash = sett_engine_hash(txn->engine, key);
	struct note_change *change = find_change(txn, key, hash);
	if (!change)
		change = add_change(txn, key, hash);
	if (!change)
		return SETT_NO_MEMORY;
	if (!content) {
		change->value.size = 0;
		return SETT_OK;
	}
	struct entry entry = {.kind = ENTRY_INLINE, .body = *content};
	size_t size = entry_encoded_size(&entry);
	if (size > change->capacity) {
		size_t capacity = size + size / 8;
		uint8_t *data = arena_allocate(&txn->arena, capacity, 1);
		if (!data)
			return SETT_NO_MEMORY;
		change->value.data = data;
		change->capacity = capacity;
	}
	change->value.size = size;
	(void)entry_encode(&entry, (uint8_t *)change->value.data);
	return SETT_OK;
}

bool
sett_txn_changes_note(const struct sett_txn *txn, struct bytes key)
{
	return find_change(txn, key, sett_engine_hash(txn->engine, key)) != NULL;
}

unsigned
sett_txn_changed_notes(const struct sett_txn *txn)
{
	return txn->note_changes.count;
}

bool
sett_txn_has_room_for_notes(const struct sett_txn *txn, uint64_t bytes)
{
	return bytes <= record_cache_capacity(txn->engine->records) / 4;
}

void
notes_apply(const struct sett_txn *txn, uint64_t timestamp)
{
	if (txn->note_changes.count == 0)
		return;
	for (size_t i = 0; i < NOTE_BUCKETS; i++)
		for (const struct note_change *c = txn->note_changes.buckets[i]; c; c = c->next)
			record_cache_update(txn->engine->records, c->hash, c->key, c->value,
					    (struct bytes){0}, timestamp);
}

void
notes_roll_back(struct sett_txn *txn)
{
	if (txn->note_changes.count == 0)
		return;
	for (size_t i = 0; i < NOTE_BUCKETS; i++)
		for (struct note_change *c = txn->note_changes.buckets[i]; c; c = c->next)
			c->value.size = 0;
}

void
notes_clear(struct sett_txn *txn)
{
	if (txn->note_changes.count > 0)
		txn->note_changes = (struct note_changes){0};
}
