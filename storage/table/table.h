/* Sorted tables: immutable files of entries in internal-key order. Format: docs/format-table.md.
 *
 * Data blocks (about 4 KiB, prefix compression, restart points; raw, lz4 or zstd), a two-level index, one
 * blocked Bloom filter over the user keys (10 bits a key, held in memory while the table is open),
 * properties, footer. Each block carries a 64-bit XXH3 checksum seeded with the table's number and the
 * block's offset, so that a misplaced block is found too. */
#ifndef SETT_TABLE_H
#define SETT_TABLE_H

#include "block_cache.h"
#include "internal_iterator.h"
#include "storage/vfs.h"

enum table_compression { TABLE_RAW = 0, TABLE_LZ4 = 1, TABLE_ZSTD = 2 };

struct table_reference { /* value-log bytes (stored_size) that a table's entries point at in one file */
	uint64_t file, bytes, entries;
};

struct table_properties {
	uint64_t entries, tombstones;
	uint64_t key_bytes, value_bytes; /* uncompressed, as added */
	uint64_t smallest_timestamp, largest_timestamp;
	uint64_t smallest_expiry;           /* ms; UINT64_MAX if none */
	uint64_t referenced_bytes;          /* sum over references */
	struct table_reference *references; /* sorted by file; owned (malloc) by whoever owns the struct */
	size_t reference_count;
	struct buffer smallest, largest; /* encoded internal keys; owned */
};
void table_properties_free(struct table_properties *);

/* ---- writing ---- */
struct table_builder;
struct table_builder_options {
	uint64_t number;                    /* file number */
	size_t block_size;                  /* 0 = 4096 */
	enum table_compression compression; /* a block that does not shrink by an eighth is stored raw */
	int zstd_level;                     /* 0 = 1 */
};
/* Writes to `file` (open for writing, empty, stays the caller's) in runs of about 256 KiB. */
int table_builder_create(struct vfs_file *file, const struct table_builder_options *,
			 struct table_builder **ret);
/* Strictly increasing keys; `value` is an encoded entry, checked (SETT_CORRUPT). */
int table_builder_add(struct table_builder *, struct ikey key, struct bytes value, struct sett_error *);
/* Bytes of the file so far, the unfinished block included. */
uint64_t table_builder_size(const struct table_builder *);
uint64_t table_builder_entries(const struct table_builder *);
uint64_t table_builder_referenced_bytes(const struct table_builder *);
/* Writes index, filter, properties and footer; does not sync. At least one entry was added. `ret` is owned by
 * the caller. */
int table_builder_finish(struct table_builder *, struct table_properties *ret, uint64_t *ret_size,
			 struct sett_error *);
void table_builder_destroy(struct table_builder *);

/* ---- reading ---- */
struct table;
/* Reads footer, properties, top index and filter, verifies their checksums. Takes over `file` also on
 * failure. `cache` may be NULL. `path` is copied for error texts. */
int table_open(struct vfs_file *file, const char *path, uint64_t number, struct block_cache *cache,
	       struct table **ret, struct sett_error *);
/* Closes the file; no reader may be left. */
void table_close(struct table *);
const struct table_properties *table_properties(const struct table *);
uint64_t table_number(const struct table *);
uint64_t table_file_size(const struct table *);
uint64_t table_block_count(const struct table *);
/* Memory held by filter and index. */
size_t table_memory(const struct table *);

struct table_hit {
	struct bytes value;
	uint64_t timestamp;
	struct block *pin; /* keeps `value` alive; the caller releases it */
};
/* The newest version of `user_key` with timestamp <= `snapshot` (tombstones count). SETT_NOT_FOUND,
 * SETT_WOULD_BLOCK (only with VFS_NOWAIT in `flags`), SETT_CORRUPT (text names file and offset), SETT_IO.
 * `hash` = table_filter_hash(user_key). */
int table_get(struct table *, struct bytes user_key, uint64_t hash, uint64_t snapshot, unsigned flags,
	      struct table_hit *ret, struct sett_error *);
uint64_t table_filter_hash(struct bytes user_key);
/* A hint: the key with that hash is about to be looked for. */
void table_fetch(const struct table *, uint64_t hash);

enum table_iterator_flags {
	TABLE_NOWAIT = 1, /* = VFS_NOWAIT */
	TABLE_NO_FILL =
		2, /* do not put blocks into the cache; read ahead in larger runs (compaction, sweeps) */
};
int table_iterator_create(struct table *, unsigned flags, struct internal_iterator **ret);
/* Reads the whole file: every checksum, order of keys, and that the properties agree. */
int table_verify(struct table *, struct sett_error *);
struct table_visitor {
	/* Each entry in order, valid during the call; `offset` is its block's. Results other than SETT_OK end
	 * the walk; not SETT_CORRUPT. May be NULL. */
	int (*entry)(void *arg, struct ikey key, struct bytes value, uint64_t offset);
	/* Each damage, file and offset in the text; the walk goes on with the next block. May be NULL: then
	 * the first damage ends it. */
	void (*damage)(void *arg, const char *text);
	void *arg;
};
/* table_verify for those who want to hear of it: SETT_CORRUPT if there was any damage. */
int table_examine(struct table *, const struct table_visitor *, struct sett_error *);
/* Appends the user key that parts data block number (random mod block count) from the next: for sampling.
 * Not necessarily a key of the table: between two user keys the index holds the shortest that parts them.
 * Needs the index blocks. */
int table_sample(struct table *, uint64_t random, unsigned flags, struct buffer *ret, struct sett_error *);

#endif
