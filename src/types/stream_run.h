/* Entries of a stream in one run of bytes: in a node, or in the body of the root.
 *
 *     run    = entry ...
 *     entry  = size:varint ms:varint seq:varint texts:varint (size:varint text) ...
 *
 *     size   of what follows it
 *     ms     of the entry's id, less that of the run's base
 *     texts  how many follow: names and values in turn
 *
 * The base is an id that no id of the run is below; who has the run keeps it. Ids ascend. */
#ifndef SETT_TYPES_STREAM_RUN_H
#define SETT_TYPES_STREAM_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/status.h"

struct stream_id {
	uint64_t ms, seq;
};

static inline int
stream_id_compare(struct stream_id a, struct stream_id b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return a.seq < b.seq ? -1 : a.seq > b.seq;
}

/* False, and nothing changes, if there is none after it, or before it. */
bool stream_id_increase(struct stream_id *);
bool stream_id_decrease(struct stream_id *);

/* As read; slices of the run. */
struct stream_entry {
	struct stream_id id;
	uint64_t texts;    /* to come */
	struct bytes rest; /* in which they are */
	size_t offset;     /* in the run */
	size_t end;
};

/* The entry at `offset`, which is the end of another, or 0. SETT_NOT_FOUND at the end; SETT_CORRUPT. */
int stream_run_at(struct bytes run, struct stream_id base, size_t offset, struct stream_entry *ret);
/* The next of its texts. SETT_CORRUPT. */
int stream_entry_text(struct stream_entry *, struct bytes *ret);

/* The texts of an entry that is to be written. */
struct stream_texts {
	const struct bytes *list; /* each, */
	struct bytes written;     /* or (NULL) all as they are in a run: (size:varint text) ... */
	size_t count;
};

/* Bytes of an entry, and the entry written at `p`; returns its end. */
size_t stream_entry_size(struct stream_id base, struct stream_id, const struct stream_texts *);
uint8_t *stream_entry_write(uint8_t *p, struct stream_id base, struct stream_id, const struct stream_texts *);

#endif
