/* The record cache: the newest committed entry of hot keys, found without a walk through memtables and
 * tables.
 *
 * A hash table of fixed size: buckets of one cache line, each with its own spin lock, up to six records and
 * the timestamp of the newest commit that wrote any key of the bucket. Records are copied in and out, so
 * nobody holds on to them; CLOCK decides which go when the memory bound is met. Absence is a record too.
 *
 * Of an entry that points into the value log the pointer means nothing here, as GC may have moved the value:
 * it tells head, size and timestamp, and the tree where the body is. Who has read the body may have the
 * record hold it, as an inline entry.
 *
 * All functions may be called from any thread. */
#ifndef SETT_RECORD_CACHE_H
#define SETT_RECORD_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/arena.h"
#include "storage/base/bytes.h"

struct record_cache;

/* `memory` bounds buckets and records together. 0 or SETT_NO_MEMORY. */
int record_cache_create(size_t memory, uint64_t seed, struct record_cache **ret);
void record_cache_destroy(struct record_cache *);
/* Another bound; the table of buckets stays as it is. Evicts what is too much, unless all is in use: then
 * insertions go on with it. */
void record_cache_set_memory(struct record_cache *, size_t memory);

uint64_t record_cache_hash(const struct record_cache *, struct bytes key);
/* The key's newest entry at or before `snapshot`, if the cache knows it: SETT_OK and a copy of the encoded
 * entry in `arena` (a tombstone for a key that is absent), with its timestamp (0 for a key never written).
 * SETT_NOT_FOUND: ask the tree. SETT_NO_MEMORY. */
int record_cache_get(struct record_cache *, uint64_t hash, struct bytes key, uint64_t snapshot,
		     struct arena *, struct bytes *ret_value, uint64_t *ret_timestamp);
/* What a reader found in the tree at `snapshot`; an empty `value` says that there was nothing. Kept only if
 * nothing of the bucket was committed after that snapshot (I14), and in place of an entry with a pointer only
 * if `value` is the same version with its body. */
void record_cache_admit(struct record_cache *, uint64_t hash, struct bytes key, uint64_t snapshot,
			struct bytes value, uint64_t timestamp);
/* What records may take in all. */
size_t record_cache_capacity(const struct record_cache *);
/* Whether a record of so many bytes, key and value, may be kept. */
bool record_cache_takes(const struct record_cache *, size_t size);
/* A commit wrote the key: called under the commit lock, before the commit is visible, in timestamp order.
 * `whole`: the same entry with its body, if `value` has a pointer and the body is at hand; it is kept where
 * the record held a body before, or while three quarters of the memory are not used. An empty `value`: no record is right. */
void record_cache_update(struct record_cache *, uint64_t hash, struct bytes key, struct bytes value,
			 struct bytes whole, uint64_t timestamp);

/* A large commit (I17), outside the commit lock: nobody admits anything from record_cache_hold to record_cache_release,
 * whose `timestamp` is that of the commit, which is visible by now, or 0 if it failed. In between it has the cache
 * forget each key that it writes. */
void record_cache_hold(struct record_cache *);
void record_cache_forget(struct record_cache *, uint64_t hash, struct bytes key);
void record_cache_release(struct record_cache *, uint64_t timestamp);

/* Hints to the processor: first ask for the bucket, later, once it is there, for the record. The latter says
 * whether there is one, or was a moment ago. */
void record_cache_fetch_bucket(const struct record_cache *, uint64_t hash);
bool record_cache_fetch_record(const struct record_cache *, uint64_t hash);

/* Bytes of the records. */
void record_cache_stats(const struct record_cache *, uint64_t *ret_bytes, uint64_t *ret_hits,
			uint64_t *ret_misses);
/* Bytes that the table of buckets takes by now. A system call for every 16 MiB. */
size_t record_cache_table_memory(const struct record_cache *);

#endif
