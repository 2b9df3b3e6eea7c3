/* What a power cut leaves.
 *
 * What was synced is there. What was not is decided change by change, and independently between files and
 * directories, since a kernel writes back in any order it likes:
 *
 *     a write                 lost, whole, or torn: some of the 512-byte sectors that it touches arrived (the
 *                             first ones, or any of them), and the file ends after the last of them, or at
 *                             the end of the write, with zeros in between
 *     truncate, allocate      lost or done
 *     create, remove, rename  lost or done; a rename within a directory is one step. A file whose own bytes
 *                             were synced is gone if its name was not
 *
 * Real cuts are seldom an even mix, and an even mix over a hundred changes never shows "all but the last". So
 * each file first draws a temper: nearly all kept, nearly all lost, a mix, or kept up to a point and lost
 * from there. */
#include "memory_node.h"

#include <stdlib.h>

#include "storage/base/hash.h"
#include "storage/base/random.h"
#include "storage/status.h"
#include "storage/vfs.h"

enum { SECTOR = 512 };

enum fate { LOST, TORN, WHOLE };

/* How one file's, or directory's, changes fare. */
struct luck {
	enum vfs_crash_mode mode;
	struct random random;
	unsigned lost, torn; /* percent of changes, before `turn` */
	uint64_t turn;       /* from this change on (counted from 0) all are lost */
};

static struct luck
luck_of(const struct memory_node *n, enum vfs_crash_mode mode, uint64_t seed, uint64_t changes)
{
	struct luck l = {.mode = mode, .turn = UINT64_MAX};
	random_seed(&l.random, hash64(&n->id, sizeof n->id, seed));
	switch (random_below(&l.random, 4)) {
	case 0:
		l.lost = 5;
		l.torn = 5;
		break;
	case 1:
		l.lost = 90;
		l.torn = 5;
		break;
	case 2:
		l.lost = 34;
		l.torn = 33;
		break;
	default:
		l.turn = random_below(&l.random, changes + 1);
		break;
	}
	return l;
}

static enum fate
draw_fate(struct luck *l, uint64_t change)
{
	if (l->mode != VFS_CRASH_RANDOM)
		return l->mode == VFS_CRASH_KEEP ? WHOLE : LOST;
	if (change >= l->turn) /* the one at the turn may be caught half-way */
		return change == l->turn && random_below(&l->random, 2) == 0 ? TORN : LOST;
	uint64_t dice = random_below(&l->random, 100);
	return dice < l->lost ? LOST : dice < l->lost + l->torn ? TORN : WHOLE;
}

/* Writes those sectors of `c` that arrived. */
static int
apply_torn(const struct memory_file_change *c, struct random *r, struct memory_content *content)
{
	uint64_t first = c->offset / SECTOR, last = (c->offset + c->size - 1) / SECTOR;
	bool leading = random_below(r, 2) == 0;
	uint64_t cut = first + random_below(r, last - first + 1);
	int status = SETT_OK;
	for (uint64_t sector = first; status == SETT_OK && sector <= last; sector++) {
		if (leading ? sector >= cut : random_below(r, 2) == 0)
			continue;
		uint64_t from = sector * SECTOR > c->offset ? sector * SECTOR : c->offset;
		uint64_t to = (sector + 1) * SECTOR;
		if (to > c->offset + c->size)
			to = c->offset + c->size;
		status = memory_content_write(content, c->data + (from - c->offset), (size_t)(to - from),
					      from);
	}
	bool length_arrived = random_below(r, 4) == 0;
	if (status == SETT_OK && length_arrived && content->size < c->offset + c->size)
		status = memory_content_resize(content, c->offset + c->size);
	return status;
}

static int
crash_file(const struct memory_node *n, enum vfs_crash_mode mode, uint64_t seed, struct memory_content *ret)
{
	uint64_t changes = 0, at = 0;
	for (const struct memory_file_change *c = n->first_change; c != NULL; c = c->next)
		changes++;
	struct luck luck = luck_of(n, mode, seed, changes);
	struct memory_content content = {0};
	int status = memory_content_copy(&content, &n->durable);
	for (const struct memory_file_change *c = n->first_change; status == SETT_OK && c != NULL;
	     c = c->next, at++) {
		enum fate fate = draw_fate(&luck, at);
		if (fate == TORN && c->kind == MEMORY_WRITE)
			status = apply_torn(c, &luck.random, &content);
		else if (fate != LOST)
			status = memory_change_apply(c, &content);
	}
	if (status != SETT_OK) {
		memory_content_free(&content);
		return status;
	}
	*ret = content;
	return SETT_OK;
}

/* The names that are left, still of the old nodes. */
static int
crash_entries(const struct memory_node *n, enum vfs_crash_mode mode, uint64_t seed,
	      struct memory_entries *ret)
{
	uint64_t changes = 0, at = 0;
	for (const struct memory_directory_change *c = n->first_entry_change; c != NULL; c = c->next)
		changes++;
	struct luck luck = luck_of(n, mode, seed, changes);
	struct memory_entries entries;
	int status = memory_entries_copy(&entries, &n->durable_entries);
	if (status != SETT_OK)
		return status;
	for (const struct memory_directory_change *c = n->first_entry_change; status == SETT_OK && c != NULL;
	     c = c->next, at++) {
		enum fate fate = draw_fate(&luck, at);
		if (fate == TORN) /* a change of a directory is never half */
			fate = random_below(&luck.random, 2) == 0 ? LOST : WHOLE;
		if (fate == WHOLE)
			status = memory_directory_change_apply(c, &entries);
	}
	if (status != SETT_OK) {
		memory_entries_free(&entries);
		return status;
	}
	*ret = entries;
	return SETT_OK;
}

static struct memory_node *crash_node(struct memory_node *n, enum vfs_crash_mode mode, uint64_t seed,
				      uint64_t pass);

static int
crash_directory(struct memory_node *n, enum vfs_crash_mode mode, uint64_t seed, uint64_t pass,
		struct memory_node *copy)
{
	struct memory_entries left;
	int status = crash_entries(n, mode, seed, &left);
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; status == SETT_OK && i < left.count; i++) {
		struct memory_node *child = crash_node(left.list[i].node, mode, seed, pass);
		if (child == NULL)
			status = SETT_NO_MEMORY;
		else
			status = memory_entries_set(&copy->entries, left.list[i].name, child);
		memory_node_unref(child);
	}
	memory_entries_free(&left);
	if (status == SETT_OK)
		status = memory_entries_copy(&copy->durable_entries, &copy->entries);
	return status;
}

/* With one reference for the caller. A file that is left under two names (a rename between directories of
 * which half arrived) has one copy. */
static struct memory_node *
crash_node(struct memory_node *n, enum vfs_crash_mode mode, uint64_t seed, uint64_t pass)
{
	if (n->clone_pass == pass)
		return memory_node_ref(n->clone);
	struct memory_node *copy = memory_node_new(n->is_directory, n->id);
	if (copy == NULL)
		return NULL;
	int status;
	if (n->is_directory) {
		status = crash_directory(n, mode, seed, pass, copy);
	} else {
		status = crash_file(n, mode, seed, &copy->durable);
		if (status == SETT_OK)
			status = memory_content_copy(&copy->current, &copy->durable);
	}
	if (status != SETT_OK) {
		memory_node_unref(copy);
		return NULL;
	}
	n->clone = copy;
	n->clone_pass = pass;
	return copy;
}

struct memory_node *
memory_crash_tree(struct memory_node *root, enum vfs_crash_mode mode, uint64_t seed, uint64_t pass)
{
	return crash_node(root, mode, seed, pass);
}
