/* What the files of this room share: version.c (pictures of the tree), version_set.c (the set and its
 * manifest). */
#ifndef SETT_VERSION_PRIVATE_H
#define SETT_VERSION_PRIVATE_H

#include "manifest.h"
#include "version.h"

/* Lock order: apply_lock, manifest_lock, lock. */
struct version_set {
	struct version_set_options options;
	char *directory;
	struct mutex apply_lock; /* one edit at a time, from its first step to on_install */

	struct mutex manifest_lock; /* guards the next four */
	struct manifest *manifest;
	uint64_t file_limit; /* what the manifest says: numbers from here on are unused */
	uint64_t first_size; /* of the manifest when it was written anew */
	int failed;          /* status that every later edit gets; 0 = none */

	/* Of the opening, until version_set_take_over. */
	uint64_t *orphans; /* numbers of table files that no edit knows; owned */
	size_t orphan_count;
	uint64_t manifest_end, torn_at; /* as in struct manifest_state */

	struct dead_set dead;    /* has a lock of its own, which comes before `lock` */
	uint64_t version_number; /* of the newest version; under apply_lock */
	uint64_t manifest_bytes; /* atomic: as of the last edit */
	uint64_t table_bytes;    /* atomic: of all finished tables on the disk, obsolete ones too */

	struct mutex lock; /* guards all below, and being_compacted of every table; held for moments */
	struct version *current;
	struct buffer pending; /* as of `flushed` */
	struct counter_value *counters;
	size_t counter_count;
	uint64_t next_file;
	uint64_t log_segment, flushed, now_ms;
	uint64_t durable; /* what the manifest says is durable; changed under manifest_lock too */
	bool is_closed;   /* the manifest says that the engine was closed in good order; likewise */
	uint64_t sequence;
};

/* A new version: `base` (may be NULL) changed by the edit's tables. SETT_CORRUPT if tables of a deeper level
 * overlap. One reference; each table in it gets one. */
int version_build(struct version_set *, const struct version *base, const struct version_edit *,
		  struct version **ret, struct sett_error *);
void table_file_release(struct version_set *, struct table_file *);

#endif
