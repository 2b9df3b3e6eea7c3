/* A new database of what is whole of a damaged one (sett-tool salvage): what it takes, and its first half.
 *
 *     storage/salvage.h -> copy (here): the newest version of each key -> the target's engine; databases, counts and numbers
 *                               are made anew
 *                       -> mend (types/mend.h): collections of which something may be lost are built anew from what is there
 *
 * What a checksum vouches for is taken, and nothing else. Elements to which no root leads are left out. After the mending each
 * collection's root says what its elements are. What is older than what was lost comes back, and is told of. */
#ifndef SETT_KEYSPACE_SALVAGE_H
#define SETT_KEYSPACE_SALVAGE_H

#include "keyspace/key.h"
#include "storage/engine.h"
#include "storage/salvage.h"

struct config;

enum salvaged_kind {
	SALVAGED_MENDED,   /* it is there; `had` elements were counted by its root, `has` were found */
	SALVAGED_UNSORTED, /* the same of a list, some of whose elements may stand in another order */
	SALVAGED_OLDER, /* a long string that was edited in place: parts of it may be older, or lack an edit */
	SALVAGED_GONE,  /* none of its elements was found: it is left out */
	SALVAGED_STALE,   /* its elements are another key's, which is newer: it is left out */
	SALVAGED_ODD,     /* its root makes no sense to this version: it is left out */
	SALVAGED_ORPHANS, /* no key: `has` entries of the object, to which no key leads, are left out */
	SALVAGED_ADOPTED, /* no key: the `has` keys of an epoch are in database `db`, as the entry that said whose they are is lost */
	SALVAGED_HOMELESS, /* no key: the `has` keys of an epoch are of no database, and left out: it was flushed */
};
struct salvaged {
	enum salvaged_kind kind;
	unsigned db;
	uint64_t epoch, object;
	struct bytes name; /* the key; of one that is left out perhaps its beginning */
	enum value_type type;
	uint64_t had, has;
};

struct salvage_options {
	const char *directory;
	struct vfs *vfs;             /* of the directory; NULL: it is not encrypted */
	struct keyring *target_keys; /* of the target; NULL: it is not to be encrypted */
	struct sett_engine *engine;  /* of the target: empty, and nobody else uses it */
	const struct config *config;
	/* As in struct sett_salvage_options; texts and slices are valid during the call. */
	void (*on_finding)(void *arg, const struct sett_salvage_finding *);
	void (*on_salvaged)(void *arg, const struct salvaged *);
	void (*on_progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
	bool (*should_stop)(void *arg);
	void *arg;
};
struct salvage_figures {
	struct sett_salvage_figures files;
	uint64_t keys, elements, libraries, bytes; /* taken; bytes of keys and values */
	uint64_t mended, left_out;                 /* keys */
	uint64_t orphans;                          /* entries of objects without a key */
	uint64_t strangers;                        /* entries that no server writes: left out */
};

/* Engine keys that may be lost, or be older ones: from `from` to `to`, without these two where they are of whole entries. */
struct lost_range {
	uint8_t *from, *to; /* owned; `to` NULL: up to the last key */
	size_t from_size, to_size;
};
enum { LOST_RANGES_MAX = 4096 /* with more, any key may be: each key is held against all of them */ };
struct lost_ranges {
	struct lost_range *ranges;
	size_t count, capacity;
	bool any; /* any key may be */
};
/* SETT_NO_MEMORY. */
int lost_ranges_add(struct lost_ranges *, const struct sett_salvage_finding *);
/* Whether some key from `low` to before `high` may be. */
bool lost_ranges_meet(const struct lost_ranges *, struct bytes low, struct bytes high);
void lost_ranges_free(struct lost_ranges *);

/* A salvage under way. */
struct salvage_run {
	const struct salvage_options *options;
	struct salvage_figures *figures;
	struct sett_error *error;
	struct lost_ranges lost;
	unsigned databases; /* that the target has at least */
};
void salvage_tell(struct salvage_run *, const struct salvaged *);
/* Notes the words of a failure, unless there are some. Returns the status. */
int salvage_failed(struct salvage_run *, int status, const struct sett_txn *);

/* Copies all that is whole. Statuses of sett_salvage_open, and of writing: SETT_NO_SPACE, SETT_IO, SETT_FAILED, ... */
int salvage_copy(struct salvage_run *);

#endif
