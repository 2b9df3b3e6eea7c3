/* One Redis key within a transaction: the only way to its root record.
 *
 * A command opens a key, looks at it, and changes it through the handle. Each change keeps everything that
 * depends on the root: the counters of its database, the conflict keys, the list of touched keys, and the
 * elements that an overwrite or a deletion leaves without a root. A type adds its own reading and writing
 * (types/).
 *
 * A handle holds no resource. It is valid until the transaction ends or is rolled back to a point before
 * key_open. `name` must last as long as the handle: it is an argument of the command, or in the view's arena. */
#ifndef SETT_KEYSPACE_KEY_H
#define SETT_KEYSPACE_KEY_H

#include <assert.h>

#include "keyspace/keyspace.h"

/* In files. The numbers never change. */
enum value_type {
	VALUE_STRING = 1,
	VALUE_LIST = 2,
	VALUE_SET = 3,
	VALUE_ZSET = 4,
	VALUE_HASH = 5,
	VALUE_STREAM = 6,
};
enum { VALUE_TYPE_END = 7 };

/* What TYPE says of it. */
const char *value_type_name(enum value_type);

/* Whether a text is a 64-bit integer as it would be printed. */
bool value_is_integer(struct bytes text);

/* How a string is shown by OBJECT ENCODING; all are stored as text. */
enum string_encoding { STRING_INT = 1, STRING_EMBSTR = 2, STRING_RAW = 3 };

/* A root record as read. Slices live until the transaction ends. */
struct root {
	enum value_type type;
	uint8_t encoding;      /* the type's own */
	uint64_t expires_at;   /* the key's deadline: ms since 1970, 0 = never */
	uint64_t due_at;       /* the earliest deadline among its elements; 0 = none */
	uint64_t body_size;    /* of a string: its length, wherever its bytes are */
	uint64_t object;       /* the id under which its elements are stored; 0: all is in the body */
	uint64_t object_bytes; /* about how many bytes those elements take */
	struct bytes fields;   /* what the type keeps in the head */
	struct sett_record record;
};

struct key {
	struct keyspace_view *view;
	struct bytes name;
	struct sett_key engine_key; /* in the view's arena; its hash is the conflict key */
	uint64_t epoch;
	unsigned db;
	bool exists;      /* a record is there, and it is not past its deadline */
	struct root root; /* if it exists, as it was opened */
	bool was_stored; /* `root` is set, though its deadline may have passed: what the first write overwrites */
	/* What is stored now, seen or not: a record past its deadline still counts until it is replaced. */
	bool is_stored;
	bool has_due;                  /* a deadline among its elements */
	uint64_t deadline;             /* its own; 0 = none */
	uint64_t object, object_bytes; /* elements of that record; 0 = none */
	uint64_t
		new_deadline; /* of a key that does not exist: what a type gives it with its root; 0 = none */
};

/* Reads the root; joins the key to the read set. An absent or expired key is no failure (`exists`).
 * SETT_WOULD_BLOCK, SETT_CONFLICT (the epoch moved: run again), SETT_CORRUPT, SETT_NO_MEMORY, ... */
int key_open(struct keyspace_view *, unsigned db, struct bytes name, struct key *ret);
/* The same for a key as keyspace_parse_root_key gives it: the key itself up to KEYSPACE_MAX_KEY_SIZE. Of a key
 * past its deadline too `root` is read (`is_stored`), so that it can be deleted. */
int key_open_stored(struct keyspace_view *, unsigned db, struct bytes stored, struct key *ret);
/* The same without a look: nothing is stored under the key, and nobody else writes it. SETT_NO_MEMORY, ... */
int key_open_absent(struct keyspace_view *, unsigned db, struct bytes name, struct key *ret);
/* The deadline that a new root of the key is to have if it stays as it is. */
static inline uint64_t
key_kept_deadline(const struct key *k)
{
	return k->exists ? k->root.expires_at : k->new_deadline;
}
/* The key was met with elements past their deadlines: the runner or the expirer deletes them. SETT_NO_MEMORY. */
int key_note_due(const struct key *);

/* ---- reading the body ----
 * A string's body is all of it, also if parts of it are stored elsewhere (chunks.h). */

int key_body(const struct key *, struct bytes *ret);
/* `size` bytes starting at `offset`, which must lie within the body, into `ret`. Of a large body little more
 * is read. */
int key_body_part(const struct key *, uint64_t offset, size_t size, void *ret);
/* The same as a stream (storage/engine.h), which the caller closes. SETT_INVALID: the body can't be streamed;
 * key_body and key_body_part have it. */
int key_body_stream(const struct key *, uint64_t offset, uint64_t size, struct sett_body_stream **ret);

/* What it takes to find the record of a key again, in a later transaction of the same snapshot. */
struct key_place {
	uint64_t epoch, hash;
	struct buffer engine_key; /* owned */
};
/* SETT_NO_MEMORY. */
int key_place_of(const struct key *, struct key_place *ret);
/* The key in a view of that snapshot, for reading alone; it has no name. `place` stays as long as it. SETT_CORRUPT if it is
 * not there, ... */
int key_open_place(struct keyspace_view *, const struct key_place *place, struct key *ret);

/* ---- writing ----
 * Each of these writes the record; later ones replace earlier ones. `root` stays as it was opened. */

/* What a root is to hold. The body is `value`, or else that of the record `body_of`, or one that was finished
 * in pieces (`written`); neither of the latter may begin with a key's text. */
struct root_content {
	enum value_type type;
	uint8_t encoding;
	uint64_t expires_at;
	uint64_t due_at; /* the earliest deadline among its elements, 0 = none */
	uint64_t object, object_bytes;
	struct bytes fields;
	struct bytes value;
	const struct sett_record *body_of;
	const struct sett_body_writer *written;
};
/* Elements of another object than `content->object` that the key had are dropped. */
int key_put(struct key *, const struct root_content *content);
/* Of a key that was touched (key_touch), with its deadlines and its object as they are, and a name of up to
 * KEYSPACE_MAX_KEY_SIZE: a root without a body. Nothing else is told of it. */
int key_rewrite(struct key *, const struct root_content *content);
/* A string, with the encoding that its text gives; with one of the caller's choice (APPEND and SETRANGE leave
 * raw strings). `expires_at` 0 = no deadline. */
int key_put_string(struct key *, struct bytes value, uint64_t expires_at);
int key_put_encoded(struct key *, struct bytes value, enum string_encoding, uint64_t expires_at);
/* A string that was finished in pieces, which stays open until the transaction ends. Only under a key that
 * takes it. */
bool key_takes_body(struct bytes name);
int key_put_body(struct key *, const struct sett_body_writer *, uint64_t expires_at);
/* Puts bytes into a string at their offsets, which ascend and do not overlap, zero bytes between, and makes it as long as
 * they reach. The deadline stays. Costs what the edits touch, however long the string is: the first makes a few entries
 * beside its body (chunks.h), which is worth it for long strings alone. The key is absent or holds a string, and its name
 * is not too long. */
struct key_edit {
	uint64_t offset;
	struct bytes data;
};
bool key_takes_edits(const struct key *);
int key_edit(struct key *, const struct key_edit *, size_t count);
/* Rewrites the head alone; the key exists. */
int key_set_expiry(struct key *, uint64_t expires_at);
/* Deletes the record and drops its elements. The key exists or is stored. */
int key_delete(struct key *);
/* RENAME: `to` becomes what `from` is, elements and deadline included; `from` is gone. Both are of one
 * database, and of one transaction. */
int key_rename(struct key *from, struct key *to);
/* Gives `to` a copy of a root whose content is all in the body, deadline included. */
int key_copy_packed(const struct key *from, struct key *to);
/* The same of any string. */
int key_copy_string(const struct key *from, struct key *to);
/* Tells of what the command did to the key, if events of the class are wanted. Names are static. SETT_NO_MEMORY. */
static inline int
key_event(const struct key *k, enum event_class class, const char *name)
{
	if (__builtin_expect((k->view->events & class) == 0, 1))
		return SETT_OK;
	return keyspace_add_event(k->view, k->db, k->name, name);
}
/* Whether the transaction changed the key, or its whole database: then no snapshot has what it sees of it. */
bool key_is_changed(const struct key *);
/* An element was changed without a write of the root: WATCH and conflicts must know of it. */
int key_touch(struct key *);

#endif
