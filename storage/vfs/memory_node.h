/* Files and directories of the in-memory vfs, each in two states: what programs see now, and what a power cut
 * would find if it lost all that was not synced; between them, the changes in their order.
 *
 * No locks here: one lock of the vfs covers all nodes. A node lives as long as something refers to it: a
 * directory's entry (in either state), a change, an open file. */
#ifndef SETT_VFS_MEMORY_NODE_H
#define SETT_VFS_MEMORY_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory_content.h"
#include "storage/vfs.h"

enum { MEMORY_NAME_MAX = 255 };

struct memory_node;

struct memory_entry {
	char *name;               /* owned */
	struct memory_node *node; /* one reference */
};

/* A directory's names, sorted. All zero is empty. */
struct memory_entries {
	struct memory_entry *list;
	size_t count, capacity;
};

enum memory_change_kind {
	MEMORY_WRITE,    /* `size` bytes of data at `offset` */
	MEMORY_TRUNCATE, /* the length becomes `size` */
	MEMORY_ALLOCATE, /* the length becomes at least `size` */
};

struct memory_file_change {
	struct memory_file_change *next; /* newer */
	enum memory_change_kind kind;
	uint64_t number; /* rises within a file */
	uint64_t offset;
	uint64_t size;
	uint8_t data[];
};

/* Removes the name `from` (if not NULL) and makes `to` (if not NULL) stand for `node`: in one step, as a
 * rename is. */
struct memory_directory_change {
	struct memory_directory_change *next; /* newer */
	char *from, *to;                      /* owned */
	struct memory_node *node;             /* one reference, or NULL */
};

struct memory_node {
	unsigned references;
	bool is_directory;
	bool is_volatile; /* no power cut comes: what is not synced is not remembered, and `durable` stays empty */
	uint64_t id;      /* in the order of creation: a crash draws its luck from it */

	/* a file */
	struct memory_content current, durable;
	struct memory_file_change *first_change, **last_change;
	uint64_t changes; /* number of the newest one ever made */
	int locks;        /* readers that hold it locked; -1: one that has it to itself */

	/* a directory */
	struct memory_entries entries, durable_entries;
	struct memory_directory_change *first_entry_change, **last_entry_change;

	/* while a crash clone is made: this node's copy, if `clone_pass` is the pass under way */
	struct memory_node *clone;
	uint64_t clone_pass;
};

/* With one reference, for the caller; NULL if out of memory. */
struct memory_node *memory_node_new(bool is_directory, uint64_t id);
struct memory_node *memory_node_ref(struct memory_node *);
void memory_node_unref(struct memory_node *); /* NULL is fine */

/* ---- files ---- */
/* The status codes of memory_content_write; nothing is changed on failure. */
int memory_file_write(struct memory_node *, const struct iovec *, int count, uint64_t offset);
int memory_file_resize(struct memory_node *, enum memory_change_kind, uint64_t size);
/* The changes up to number `until` reach the device. */
int memory_file_sync(struct memory_node *, uint64_t until);
/* One change as it is, to a content. */
int memory_change_apply(const struct memory_file_change *, struct memory_content *);

/* ---- directories ---- */
/* NULL if there is no such name. Borrowed. */
struct memory_node *memory_entries_find(const struct memory_entries *, const char *name);
/* Takes a reference; replaces what had the name. SETT_NO_MEMORY. */
int memory_entries_set(struct memory_entries *, const char *name, struct memory_node *);
void memory_entries_remove(struct memory_entries *, const char *name);
int memory_entries_copy(struct memory_entries *to, const struct memory_entries *from);
void memory_entries_free(struct memory_entries *);

/* Does the change to the present entries and remembers it as not synced. SETT_NO_MEMORY: nothing changed. */
int memory_directory_change(struct memory_node *, const char *from, const char *to, struct memory_node *);
/* Does one remembered change to some entries. SETT_NO_MEMORY. */
int memory_directory_change_apply(const struct memory_directory_change *, struct memory_entries *);
int memory_directory_sync(struct memory_node *);

/* What a power cut leaves of the tree under `root`. NULL if out of memory. `pass` differs from call to call.
 */
struct memory_node *memory_crash_tree(struct memory_node *root, enum vfs_crash_mode mode, uint64_t seed,
				      uint64_t pass);

#endif
