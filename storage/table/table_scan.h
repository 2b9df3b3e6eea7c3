/* A table's entries, read without its index: what is whole of a damaged file (sett-tool salvage).
 *
 * Data blocks stand one behind another from the beginning of the file on. How long one is follows from its own
 * bytes: of a packed one from what was packed, of another from its entries. Its checksum, which is seeded with the
 * file's number and the block's place, then says whether it is one. Where none is, the next is searched for byte by
 * byte. Footer, index, filter and properties may all be damaged. One thread at a time.
 *
 * Of a sealed block nothing can be told by its bytes but where it ends: it ends in its seal, which begins with the id of a
 * data key that the directory's keys have (docs/format-encryption.md). */
#ifndef SETT_TABLE_SCAN_H
#define SETT_TABLE_SCAN_H

#include "file_window.h"
#include "internal_key.h"
#include "table_block.h"

/* Bytes in which no whole block was found: what blocks stood there is lost. None at all: the file ends, and nothing says that it
 * should. */
struct table_gap {
	uint64_t offset, size;
	struct bytes before, behind; /* user keys next to it; no data: none was found */
};

struct table_scan {
	/* The entry at which the scan is, valid until the next call. */
	struct ikey key;
	struct bytes value; /* an encoded entry */
	/* Set by the caller after the opening. May be NULL. Told before the entries behind the gap are given. */
	void (*on_gap)(void *arg, const struct table_scan *, const struct table_gap *);
	void *arg;

	uint64_t number, size; /* of the file */
	uint64_t offset;       /* where the next block is looked for: all before it was read */
	uint64_t blocks;       /* whole ones so far */
	bool has_footer;       /* it is whole, and says where the blocks end */
	bool end_is_known;     /* by the footer, or by the index behind the last block */
	/* The rest is the scan's own. */
	struct vfs *vfs;
	char path[SETT_PATH_MAX];
	uint64_t end, budget;
	struct keyring *keys;             /* NULL: no block can be sealed */
	bool may_be_plain, may_be_sealed; /* not both once a whole block or the footer was seen */
	/* The search for seals: the first one that begins at `seal_from` or behind it ends there, with the block's trailer; 0: there is
	   none. Before the first search all are 0. */
	uint64_t seal_from, seal_end, last_seal_end;
	uint64_t largest; /* sealed block so far */
	struct file_window bytes;
	bool is_open;
	struct block *block;
	struct block_view view;
	const uint8_t *at;
	struct buffer user; /* key of the entry */
	uint64_t timestamp;
	bool has_key;
	struct sett_error *error;
};

/* Looks at the size and the footer. `error` gets the words of every later failure too. SETT_NOT_FOUND, SETT_IO,
 * SETT_NO_MEMORY; what is in the file is no reason to fail. */
int table_scan_open(struct table_scan *, struct vfs *, const char *path, uint64_t number,
		    struct sett_error *error);
/* The next entry, in the order of the table. SETT_NOT_FOUND: there is no more; SETT_IO, SETT_NO_MEMORY. */
int table_scan_next(struct table_scan *);
/* Gives back the file handle and the memory of the file's bytes until the next block is wanted. */
void table_scan_pause(struct table_scan *);
void table_scan_close(struct table_scan *);

#endif
