/* The tables that a job writes: cut by size, synced, opened, and listed until an edit takes them. One thread.
 */
#ifndef SETT_TABLE_OUTPUT_H
#define SETT_TABLE_OUTPUT_H

#include "version.h"

struct table_output {
	/* Set by the caller. */
	struct vfs *vfs;
	const char *directory;
	struct version_set *versions;
	uint64_t sequence;   /* of the job */
	uint64_t table_size; /* a table is full at this size; 0: never */
	enum table_compression compression;
	int zstd_level;

	/* The table being written; NULL if none. */
	struct table_builder *builder;
	struct vfs_file *file;
	uint64_t number, held_bytes, held_timestamp;

	/* Done and opened. */
	struct table_file **tables;
	size_t count, capacity;
	uint64_t bytes_written;
	struct weight dropped; /* entries that the job left out */
};

/* Adds an entry; `held_until` as retention_judge says. With `may_cut`, a full table is finished first: a
 * key's versions must stay in one table. */
int table_output_add(struct table_output *, struct ikey key, struct bytes value, bool may_cut,
		     uint64_t held_until, struct sett_error *);
/* An entry that is left out. */
void table_output_drop(struct table_output *, struct ikey key, struct bytes value);
/* Shares out what is left of `garbage`, which the job's sources shadowed or held, among the tables of its
 * `count` outputs. */
void table_outputs_set_shadowed(struct table_output *const *outputs, size_t count, struct weight garbage);
/* Finishes the table being written, if there is one. */
int table_output_finish(struct table_output *, struct sett_error *);
/* Bytes written so far, those of the table that is being written too. */
uint64_t table_output_bytes(const struct table_output *);
/* After an edit took the tables. */
void table_output_forget(struct table_output *);
/* Frees everything; tables that no edit took are removed. */
void table_output_free(struct table_output *);

#endif
