/* What the files of salvage share: findings, and the sources that entries come from. */
#ifndef SETT_SALVAGE_PRIVATE_H
#define SETT_SALVAGE_PRIVATE_H

#include "directory.h"
#include "drop_list.h"
#include "storage/base/arena.h"
#include "storage/salvage.h"
#include "table_scan.h"
#include "value_log.h"

enum { SALVAGE_NAME_MAX = 64 };

/* Entries in order: a table, or all of the log. */
struct salvage_source {
	struct ikey key;
	struct bytes value;
	struct table_scan *table; /* NULL: the log */
	uint64_t counted;         /* bytes of the table that were read, for the progress */
};

struct log_item {
	struct bytes key, value; /* in the arena */
	uint64_t timestamp;
};

struct sett_salvage {
	struct sett_salvage_options options;
	struct sett_salvage_figures figures;
	struct directory directory;
	char path[SETT_PATH_MAX]; /* of the directory */
	struct manifest_state manifest;
	struct sett_error *error; /* of the present call; the caller's */
	uint64_t done, reported, total;
	bool is_stopped;

	struct arena arena; /* of the log */
	struct log_item *log;
	size_t log_count, log_capacity, log_at;
	uint64_t last_commit; /* the newest of the log */
	struct drop_list drops;
	struct dead_list *dead;
	struct dead_cursor dead_cursor;

	struct table_scan *tables; /* owned, as is what they hold */
	size_t table_count;
	struct salvage_source *sources; /* a heap: the first has the least key */
	size_t source_count;

	struct value_log *values;       /* NULL if it can't be opened */
	struct buffer key, value, body; /* of the present entry */
	struct value_pointer pointer;
	uint64_t streamed;
};

void salvage_name(uint64_t number, const char *suffix, char ret[SALVAGE_NAME_MAX]);
/* "DIRECTORY/FILE" and the text. `from` and `to` as in the finding; both are without data for any key. */
void salvage_find(struct sett_salvage *, enum sett_salvage_kind, const char *file, struct bytes from,
		  struct bytes to, const char *format, ...) __attribute__((format(printf, 6, 7)));
int salvage_no_memory(struct sett_salvage *);
/* SETT_ABORTED once nobody wants more. */
int salvage_progress(struct sett_salvage *, uint64_t bytes);

/* ---- salvage_log.c ---- */
/* Reads the segments from `first` on: entries, and what was dropped, of all records that are whole. */
int salvage_read_log(struct sett_salvage *, uint64_t first);

#endif
