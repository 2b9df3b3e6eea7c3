/* The last bytes of the replication stream, which replicas read from their own places.
 *
 *     start ............................. end
 *     | blocks in the file | blocks in memory |
 *
 * Blocks have a fixed size and lie at multiples of it in the stream, so a byte's block is found by its number. The newest
 * are in memory; beyond HISTORY_MEMORY the oldest of them go to a file without a name, by a thread that may wait
 * (history_spill). If that can't keep up, or fails, the oldest bytes are forgotten: memory is bounded, and a commit never
 * waits.
 *
 * A byte's number is its offset in the stream, from 1; 0 stands before the first.
 *
 * Who calls holds the lock of the history's owner, but for the two functions that say so. */
#ifndef SETT_REPL_HISTORY_H
#define SETT_REPL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/vfs.h"

enum {
	HISTORY_BLOCK = 64 * 1024,
	HISTORY_MEMORY = 8 * 1024 * 1024,      /* more is to go to the file */
	HISTORY_SLACK = 64,                    /* slots that the file may have too many */
	HISTORY_MEMORY_MAX = 64 * 1024 * 1024, /* more, and than the largest commit there, is forgotten */
};

struct history_block {
	uint8_t *data;  /* NULL: in the file */
	uint64_t slot;  /* in the file */
	unsigned users; /* who read or write it outside the lock: it stays */
	bool forgotten; /* to be freed by the last of them */
};

struct history {
	struct vfs *vfs;
	char *directory;
	uint64_t start, end; /* of the first byte that is there, and of the last; start = end + 1: none */
	struct history_block **ring;  /* by the number of a block */
	uint64_t ring_size;           /* a power of two */
	uint64_t first_block;         /* number of the oldest block that is there */
	uint64_t block_end;           /* one past the number of the newest */
	uint64_t promised;            /* bytes that were reserved and not appended yet */
	struct history_block **spare; /* for them */
	size_t spare_count, spare_capacity;
	uint64_t memory_blocks;
	uint64_t next_spill; /* number of the first block that may be in memory */
	uint64_t large_size,
		large_end; /* of appends of HISTORY_MEMORY and more: the largest of those that may be in
					   memory, and the end of the last; 0: none is */
	struct vfs_file *file;
	uint64_t *used_slots; /* a bit each: the lowest free one is taken, so that the file can be cut */
	uint64_t slots,
		slot_capacity; /* one past the last that is used; bits that there are, a multiple of 64 */
	uint64_t file_slots;   /* the file is so long */
};

/* In `directory` the file is made when it is needed. SETT_NO_MEMORY. */
int history_init(struct history *, struct vfs *, const char *directory);
void history_free(struct history *);
/* Nothing is there, and the next byte is that behind `end`. Keeps what is reserved. */
void history_restart(struct history *, uint64_t end);

/* Room for a later append. SETT_NO_MEMORY. */
int history_reserve(struct history *, uint64_t size);
/* It won't come. */
void history_unreserve(struct history *, uint64_t size);
/* So much was reserved. */
void history_append(struct history *, struct bytes);

/* Bytes before `from` are not there any more; whole blocks of them are given back. */
void history_trim(struct history *, uint64_t from);
/* Bytes that are there. */
static inline uint64_t
history_size(const struct history *h)
{
	return h->end + 1 - h->start;
}
uint64_t history_memory(const struct history *);

/* Where bytes lie. */
struct history_place {
	struct bytes bytes; /* in memory, or: */
	struct history_block *block;
	size_t skip; /* bytes of the block before the first */
};
/* The bytes behind `offset`, up to `limit` in offset, of one block: their number. In memory: `ret->bytes`. In the file: the
 * block is kept until history_release; history_read_file has them. They are there: start <= offset + 1. */
size_t history_find(struct history *, uint64_t offset, uint64_t limit, struct history_place *ret);
/* Without the lock; waits for the disk. */
int history_read_file(struct history *, const struct history_place *, void *to, size_t size,
		      struct sett_error *);
void history_release(struct history *, const struct history_place *);

/* A block that is to go to the file, NULL if there is none; it stays until history_spilled. By one thread. */
struct history_block *history_next_to_spill(struct history *, uint64_t *ret_number);
/* Without the lock: writes it. */
int history_write(struct history *, struct history_block *, struct sett_error *);
/* Whether the file is to be cut, as it has grown beyond what is used by HISTORY_SLACK: so many slots stay. By the same thread,
 * which then calls history_cut_file without the lock, and nothing of the spill in between. */
bool history_must_cut(struct history *, uint64_t *ret_slots);
int history_cut_file(struct history *, uint64_t slots, struct sett_error *);
/* It was written, or not: then it and all before it is forgotten. */
void history_spilled(struct history *, struct history_block *, uint64_t number, int status);

#endif
