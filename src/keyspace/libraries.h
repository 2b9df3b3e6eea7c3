/* Libraries of functions (FUNCTION LOAD): texts under names, which belong to the server and to no database, so FLUSHALL
 * leaves them alone.
 *
 *     00 'l'            -> libraries:u64le functions:u64le bytes:u64le, written anew with each change
 *     00 'l' name       -> functions:u64le; body: the text
 *
 * Who looks at libraries in any way has looked at the first entry: it is the one conflict key of all. */
#ifndef SETT_KEYSPACE_LIBRARIES_H
#define SETT_KEYSPACE_LIBRARIES_H

#include "keyspace/keyspace.h"

enum { LIBRARY_NAME_MAX = KEYSPACE_MAX_KEY_SIZE };

/* All libraries, as the transaction sees them. */
struct libraries_state {
	/* 0: there never was one. UINT64_MAX: this transaction has changed them. Else no other state of them has this
	 * number, so what was made of them is good for as long as the number is the same. */
	uint64_t version;
	uint64_t libraries, functions;
	uint64_t bytes; /* of their texts */
};
/* One point read. SETT_WOULD_BLOCK, SETT_CORRUPT, SETT_IO, SETT_NO_MEMORY, as all below. */
int libraries_read(struct keyspace_view *, struct libraries_state *ret);

struct library {
	struct bytes name;
	uint64_t version; /* as of libraries_state, of this one */
	uint64_t functions;
	struct sett_record record; /* for library_text */
};
/* In the order of their names. What `each` returns but SETT_OK ends the walk, and is returned. What it is given is valid
 * until it returns; it writes nothing. */
int libraries_walk(struct keyspace_view *, int (*each)(void *arg, const struct library *), void *arg);
/* SETT_NOT_FOUND. */
int library_find(struct keyspace_view *, struct bytes name, struct library *ret);
int library_text(struct keyspace_view *, const struct library *, struct bytes *ret);

/* Puts one in place of another of that name. SETT_TOO_LARGE: the name is longer than LIBRARY_NAME_MAX. */
int library_put(struct keyspace_view *, struct bytes name, struct bytes text, uint64_t functions);
/* SETT_NOT_FOUND. */
int library_delete(struct keyspace_view *, struct bytes name);
int libraries_clear(struct keyspace_view *);

#endif
