/* A binary heap of entry numbers ordered by deadline; entries know their place in the heap, and hash chains
 * over (database, key) find them.
 *
 * Invariants
 * - heap[entries[e].place] == e for each entry in use; no parent is later than its child.
 * - `lost` is at or before the deadline of every key that was noted and is neither here nor taken. */
#include "expire/deadlines.h"

#include "storage/base/hash.h"
#include "storage/status.h"

enum { BUCKETS = 16384, NONE = UINT32_MAX };

struct entry {
	uint64_t deadline;
	uint64_t hash;
	uint8_t *key; /* owned */
	size_t key_size;
	unsigned db;
	uint32_t place; /* in the heap */
	uint32_t next;  /* in its bucket, or in the list of free entries */
};

struct deadlines {
	struct entry *entries;
	uint32_t *heap;
	size_t count, capacity, max_entries;
	size_t bytes, max_bytes;
	uint32_t free_entry;
	uint64_t lost;
	uint32_t buckets[BUCKETS];
};

int
deadlines_create(size_t max_entries, size_t max_bytes, struct deadlines **ret)
{
	struct deadlines *d = calloc(1, sizeof(*d));
	if (d == NULL)
		return SETT_NO_MEMORY;
	d->max_entries = max_entries;
	d->max_bytes = max_bytes;
	d->free_entry = (uint32_t)NONE;
	d->lost = UINT64_MAX;
	for (size_t i = 0; i < BUCKETS; i++)
		d->buckets[i] = (uint32_t)NONE;
	*ret = d;
	return SETT_OK;
}

void
deadlines_destroy(struct deadlines *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->count; i++)
		free(d->entries[d->heap[i]].key);
	free(d->entries);
	free(d->heap);
	free(d);
}

/* ---- the heap ---- */

static void
place(struct deadlines *d, size_t at, uint32_t e)
{
	d->heap[at] = e;
	d->entries[e].place = (uint32_t)at;
}

static uint64_t
deadline_at(const struct deadlines *d, size_t at)
{
	return d->entries[d->heap[at]].deadline;
}

static void
sift_up(struct deadlines *d, size_t at)
{
	uint32_t e = d->heap[at];
	while (at > 0 && deadline_at(d, (at - 1) / 2) > d->entries[e].deadline) {
		place(d, at, d->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(d, at, e);
}

static void
sift_down(struct deadlines *d, size_t at)
{
	uint32_t e = d->heap[at];
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= d->count)
			break;
		if (child + 1 < d->count && deadline_at(d, child + 1) < deadline_at(d, child))
			child++;
		if (deadline_at(d, child) >= d->entries[e].deadline)
			break;
		place(d, at, d->heap[child]);
		at = child;
	}
	place(d, at, e);
}

/* ---- entries ---- */

static void
lose(struct deadlines *d, uint64_t deadline)
{
	if (deadline < d->lost)
		d->lost = deadline;
}

static uint32_t
find(const struct deadlines *d, uint64_t hash, unsigned db, struct bytes key)
{
	uint32_t e = d->buckets[hash % BUCKETS];
	while (e != (uint32_t)NONE) {
		const struct entry *entry = &d->entries[e];
		if (entry->hash == hash && entry->db == db &&
		    bytes_equal(bytes_of(entry->key, entry->key_size), key))
			break;
		e = entry->next;
	}
	return e;
}

/* Takes the entry at a place of the heap out of heap and index; the caller frees its key. */
static struct entry
take_out(struct deadlines *d, size_t at)
{
	uint32_t e = d->heap[at];
	struct entry taken = d->entries[e];
	uint32_t *link = &d->buckets[taken.hash % BUCKETS];
	while (*link != e)
		link = &d->entries[*link].next;
	*link = taken.next;
	d->entries[e].next = d->free_entry;
	d->free_entry = e;
	d->bytes -= taken.key_size;
	d->count--;
	if (at < d->count) {
		place(d, at, d->heap[d->count]);
		sift_up(d, at);
		sift_down(d, d->entries[d->heap[at]].place);
	}
	return taken;
}

static bool
grow(struct deadlines *d)
{
	if (d->count < d->capacity)
		return true;
	size_t capacity = d->capacity == 0 ? 256 : 2 * d->capacity;
	struct entry *entries = reallocarray(d->entries, capacity, sizeof(*entries));
	if (entries == NULL)
		return false;
	d->entries = entries;
	uint32_t *heap = reallocarray(d->heap, capacity, sizeof(*heap));
	if (heap == NULL)
		return false;
	d->heap = heap;
	for (size_t e = d->capacity; e < capacity; e++) {
		d->entries[e] = (struct entry){.next = d->free_entry};
		d->free_entry = (uint32_t)e;
	}
	d->capacity = capacity;
	return true;
}

/* Makes room for one more: the last leaf, which is a late one, gives way to an earlier deadline. */
static bool
make_room(struct deadlines *d, size_t key_size, uint64_t deadline)
{
	while (d->count > 0 && (d->count >= d->max_entries || d->bytes + key_size > d->max_bytes)) {
		if (deadline_at(d, d->count - 1) <= deadline)
			return false;
		struct entry gone = take_out(d, d->count - 1);
		lose(d, gone.deadline);
		free(gone.key);
	}
	return key_size <= d->max_bytes && grow(d);
}

void
deadlines_note(struct deadlines *d, unsigned db, struct bytes key, uint64_t deadline)
{
	uint64_t hash = hash64_bytes(key, db);
	uint32_t e = find(d, hash, db, key);
	if (e != (uint32_t)NONE) {
		if (deadline < d->entries[e].deadline) {
			d->entries[e].deadline = deadline;
			sift_up(d, d->entries[e].place);
		}
		return;
	}
	uint8_t *copy = make_room(d, key.size, deadline) ? malloc(key.size + 1) : NULL;
	if (copy == NULL) {
		lose(d, deadline);
		return;
	}
	if (key.size > 0)
		memcpy(copy, key.data, key.size);
	e = d->free_entry;
	d->free_entry = d->entries[e].next;
	d->entries[e] = (struct entry){.deadline = deadline,
				       .hash = hash,
				       .key = copy,
				       .key_size = key.size,
				       .db = db,
				       .next = d->buckets[hash % BUCKETS]};
	d->buckets[hash % BUCKETS] = e;
	d->bytes += key.size;
	place(d, d->count, e);
	sift_up(d, d->count++);
}

uint64_t
deadlines_nearest(const struct deadlines *d)
{
	return d->count > 0 ? deadline_at(d, 0) : UINT64_MAX;
}

bool
deadlines_take(struct deadlines *d, unsigned *ret_db, struct buffer *ret_key)
{
	if (d->count == 0)
		return false;
	const struct entry *nearest = &d->entries[d->heap[0]];
	if (buffer_append(ret_key, nearest->key, nearest->key_size) != SETT_OK)
		return false;
	struct entry taken = take_out(d, 0);
	free(taken.key);
	*ret_db = taken.db;
	return true;
}

uint64_t
deadlines_lost(const struct deadlines *d)
{
	return d->lost;
}

void
deadlines_forget_lost(struct deadlines *d)
{
	d->lost = UINT64_MAX;
}

size_t
deadlines_count(const struct deadlines *d)
{
	return d->count;
}
