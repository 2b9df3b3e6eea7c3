/* An open table, as its own files see it. */
#ifndef SETT_TABLE_PRIVATE_H
#define SETT_TABLE_PRIVATE_H

#include "table.h"
#include "table_block.h"
#include "table_index.h"

/* Immutable after table_open: any number of threads may read. */
struct table {
	struct vfs_file *file;
	char *path; /* for error texts */
	uint64_t number, file_size;
	struct block_cache *cache; /* may be NULL */
	struct keyring *keys;      /* of a table whose blocks are sealed, NULL of others */
	struct table_footer footer;
	struct table_properties properties;
	uint64_t data_blocks;
	uint8_t *filter; /* aligned to a cache line */
	uint32_t filter_lines;
	struct block *top_block;
	struct index_view top; /* one entry per index block */
	/* All index blocks, if they are small enough together to stay in memory; else NULL. */
	struct block **index_blocks;
	struct index_view *index;
	size_t memory;
};

/* A run of stored bytes read ahead of a sequential reader. All zero is valid. */
struct table_readahead {
	uint8_t *data; /* owned */
	size_t size, capacity;
	uint64_t offset; /* in the file */
	size_t run;      /* bytes to read the next time */
};
void table_readahead_free(struct table_readahead *);

/* How a reader wants blocks. */
struct table_access {
	unsigned flags;                    /* enum table_iterator_flags */
	bool bypass_cache;                 /* read from the file even what is cached */
	struct table_readahead *readahead; /* NULL: one read a block */
};

/* SETT_CORRUPT with the file, the offset and a phrase. */
int table_corrupt(const struct table *, uint64_t offset, const char *why, struct sett_error *);

/* The block that stands at [offset, end), pinned. */
int table_block(struct table *, uint64_t offset, uint64_t end, const struct table_access *,
		struct block **ret, struct sett_error *);
/* Index block number `i` < top.count: a view, and the pin that keeps it alive (NULL if it always is). */
int table_index(struct table *, uint32_t i, const struct table_access *, struct index_view *ret,
		struct block **ret_pin, struct sett_error *);
/* Reads the block [offset, end), which is stored raw, into `memory` (end - offset bytes) and verifies it;
 * `what` is the phrase for a wrong checksum. */
int table_read_raw(const struct table *, uint64_t offset, uint64_t end, uint8_t *memory, const char *what,
		   struct sett_error *);
/* The data block that may hold the first key >= target: its place. SETT_NOT_FOUND if target is behind the
 * last one. */
int table_find(struct table *, struct ikey target, const struct table_access *, uint64_t *ret_offset,
	       uint64_t *ret_end, struct sett_error *);

#endif
