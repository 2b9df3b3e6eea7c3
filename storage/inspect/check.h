/* The state of a check, shared by check.c (manifest, tables, log) and check_values.c (the value log). */
#ifndef SETT_INSPECT_CHECK_H
#define SETT_INSPECT_CHECK_H

#include "directory.h"
#include "storage/inspect.h"
#include "value_log.h"
#include "version.h"

enum { CHECK_NAME_MAX = 64 };

/* A pointer of a table that waits for its value to be read. */
struct held_pointer {
	struct value_pointer pointer;
	uint64_t table;
	size_t key, key_size; /* in `keys` */
};
struct value_place {
	uint64_t file, offset;
};

struct check {
	struct directory directory;
	const struct sett_check_options *options;
	struct sett_check_figures *figures;
	struct sett_error *error; /* what stopped the check; the caller's */
	struct manifest_state manifest;
	bool has_manifest;
	uint64_t torn_size;         /* bytes of a torn last edit, at manifest.torn_at */
	char lacks[CHECK_NAME_MAX]; /* a file that the manifest needs and that is gone; "" if there is none */
	uint64_t stray;             /* a table that no edit knows; 0: none */
	bool is_stopped;            /* the caller wants no more */
	bool is_whole; /* no table and no part of the log was left out: who points where is known */
	struct level levels[SETT_LEVELS]; /* what could be opened: number and a copy of the properties */
	size_t level_capacity[SETT_LEVELS];
	uint64_t done, reported, total; /* bytes */

	struct value_log *values; /* NULL if it can't be opened */
	bool *is_referenced;      /* by index of directory.value_files */
	struct held_pointer *held;
	size_t held_count, held_capacity;
	struct buffer keys;       /* of the held pointers */
	struct buffer body;       /* scratch */
	struct value_place *lost; /* of values that keys need and that are not whole */
	size_t lost_count, lost_capacity;
};

void check_find(struct check *, enum sett_finding_kind, const char *file, struct bytes key, const char *text);
int check_no_memory(struct check *);
int check_aborted(struct check *);
void check_progress(struct check *, uint64_t bytes);
void check_file_name(uint64_t number, const char *suffix, char ret[CHECK_NAME_MAX]);

/* ---- check_values.c; 0, SETT_NO_MEMORY or SETT_ABORTED ---- */
/* Opens the value log's files; what can't be opened is damage. */
int check_values_open(struct check *);
void check_values_close(struct check *);
/* Takes note of a pointer of a table; its value is read later, many at once, in the order of the files. */
int check_values_hold(struct check *, const struct value_pointer *, uint64_t table, struct bytes key);
int check_values_read_held(struct check *);
/* Reads the value of a log record. SETT_NOT_FOUND if it is not whole; `error` says why. */
int check_values_read(struct check *, const struct value_pointer *, struct sett_error *error);
/* The file is needed. */
void check_values_reference(struct check *, uint64_t file);
/* `file` at `offset`: a key needs it and it is not whole. */
int check_values_lose(struct check *, const struct value_pointer *, const char *holder, struct bytes key,
		      const struct sett_error *why);
/* Every file from front to back. */
int check_values_walk(struct check *);

#endif
