/* Damage: a byte flipped, or a file cut short or gone, in a small database of every kind of file.
 *
 * The database has tables on two levels, value-log files, a log with commits that are durable and commits
 * that are only written, and after them what the segment held in an earlier life. It was killed; or it was idle
 * for a while before, so that the manifest says how much is durable; or it was closed. After each damage, opening
 * must refuse (naming file and offset, and changing nothing) or give a prefix of the commits that covers what
 * the files say was durable, with every read right or refused: never a crash, never wrong data. What looks at
 * the files without opening the database (storage/inspect.h) must find whatever the engine stumbles over, and
 * change nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "engine_private.h"
#include "log_format.h"
#include "oracle.h"
#include "salvage_check.h"
#include "storage/inspect.h"
#include "storage/keyring.h"
#include "support.h"
#include "table_format.h"

enum { COMMITS = 160, MAX_FILES = 64 };

/* The first and last EDGE bytes of a file, where its headers and footers lie, are damaged one by one, of the bytes between them as
 * many as SETT_DAMAGE_TRIES says. Under the address sanitizer, which takes ten times as long, every other of the edge, and a third
 * between: only fields of a single byte may be missed. ENOUGH: so many of each common outcome must come. */
#ifdef __SANITIZE_ADDRESS__
enum { EDGE = 64, EDGE_STEP = 2, QUICK_TRIES = 400, ENOUGH = 15 };
#else
enum { EDGE = 64, EDGE_STEP = 1, QUICK_TRIES = 1200, ENOUGH = 50 };
#endif

/* How the database came to rest. */
enum ending {
	KILLED, /* with commits that are only written */
	IDLE,   /* killed, after all was synced and the manifest says so */
	CLOSED,
};

/* SETT_DAMAGE_TRIES in the environment: about so many places of each kind of damage, up to all of them. */
static uint64_t
tries(void)
{
	const char *text = getenv("SETT_DAMAGE_TRIES");
	uint64_t wanted = text ? strtoull(text, NULL, 10) : 0;
	return wanted > QUICK_TRIES ? wanted : QUICK_TRIES;
}

struct file {
	char path[64];
	uint64_t size;
	uint64_t meaning_end; /* of bytes that are looked at; behind, anything may stand (docs/format-log.md)
			       */
};

struct database {
	struct vfs *vfs; /* never changed: each try clones it */
	struct oracle oracle;
	char why[400];
	enum ending ending;
	uint64_t durable; /* commits that a record of the newest log segment calls durable, or the manifest */
	uint64_t noted;   /* commits that the manifest calls durable */
	uint64_t notes;   /* what sett_check has to say of it undamaged */
	struct salvage_check *salvage;
	bool is_encrypted;
	struct file files[MAX_FILES];
	size_t file_count;
};

struct outcome {
	unsigned refused, unreadable, cut, none;
	unsigned unnoticed; /* by sett_check: neither damage nor a note that was not there before */
	unsigned found;     /* damage that sett_check found, and the engine did not stumble over */
	unsigned salvaged_whole, salvaged_in_part;
};

static int
open_engine(struct vfs *vfs, struct test_log *log, struct sett_engine **ret, struct sett_error *error)
{
	struct sett_options options = {.vfs = vfs,
				       .sink = log->sink,
				       .seed = 3,
				       .memory_budget = 1 << 20,
				       .value_threshold = 512,
				       .value_log_file_size = 32 << 10,
				       .manual_work = true};
	return sett_engine_open("db", &options, ret, error);
}

static const uint8_t master_key[SETT_MASTER_KEY_SIZE] = {7, 1, 2, 3};

/* Operations of an open that ends at once, since the directory is locked: it makes sure of the directory. */
static uint64_t
idle_operations(struct vfs *vfs)
{
	struct sett_error error = {0};
	struct test_log log;
	struct sett_engine *engine;
	struct vfs_file *lock;
	test_log_init(&log);
	MUST(vfs_lock(vfs, "db/LOCK", &lock, &error), &error);
	uint64_t before = vfs_memory_operation_count(vfs);
	MUST_FAIL(open_engine(vfs, &log, &engine, &error), SETT_LOCKED);
	uint64_t count = vfs_memory_operation_count(vfs) - before;
	MUST(vfs_close(lock, &error), &error);
	test_log_free(&log);
	return count;
}

/* What the count of operations will be after an open that is refused and changes nothing. */
static uint64_t
operations_after_refusal(struct vfs *vfs)
{
	uint64_t before = vfs_memory_operation_count(vfs);
	return before + 2 * idle_operations(vfs);
}

/* An open that is refused changes nothing; `ret` is its words. */
static void
must_refuse(struct vfs *vfs, struct sett_error *ret)
{
	struct test_log log;
	struct sett_engine *engine;
	uint64_t expected = operations_after_refusal(vfs);
	test_log_init(&log);
	MUST_FAIL(open_engine(vfs, &log, &engine, ret), SETT_CORRUPT);
	cr_assert_eq(vfs_memory_operation_count(vfs), expected, "something was changed: %s", ret->message);
	test_log_free(&log);
}

static int
note_file(void *arg, const char *name)
{
	struct database *db = arg;
	struct sett_error error = {0};
	struct vfs_file *f;
	if (strcmp(name, "RESERVE") == 0)
		return 0; /* space, no data */
	if (strcmp(name, SETT_KEYS_NAME) == 0)
		return 0; /* without it there is no salvage */
	cr_assert_lt(db->file_count, MAX_FILES);
	struct file *file = &db->files[db->file_count++];
	snprintf(file->path, sizeof(file->path), "db/%s", name);
	MUST(vfs_open(db->vfs, file->path, VFS_READ, &f, &error), &error);
	MUST(vfs_size(f, &file->size, &error), &error);
	MUST(vfs_close(f, &error), &error);
	return 0;
}

static int
note_end(void *arg, const struct sett_item *item)
{
	struct file *file = arg;
	if (item->kind == SETT_ITEM_UNUSED && item->offset + item->size == file->size)
		file->meaning_end = log_page_end(item->offset);
	return SETT_OK;
}

/* A log ends with the page of its last record, and one that is left over has no meaning at all. Says how many
 * segments have the bytes of an earlier life behind their end. */
static int
note_meaning_ends(struct database *db)
{
	int used_again = 0;
	struct sett_error error = {0};
	struct sett_description description;
	MUST(sett_describe("db", db->vfs, &description, &error), &error);
	for (size_t i = 0; i < db->file_count; i++) {
		struct file *file = &db->files[i];
		enum sett_file_kind kind;
		uint64_t number;
		struct buffer content;
		file->meaning_end = file->size;
		if (!sett_file_classify(file->path + strlen("db/"), &kind, &number) || kind != SETT_FILE_LOG)
			continue;
		MUST(sett_read_file(db->vfs, file->path, kind, number, note_end, file, &error), &error);
		cr_assert(test_get_file(db->vfs, file->path, &content));
		if (number < description.first_segment)
			file->meaning_end = 0;
		else
			for (size_t at = file->meaning_end; at < content.size; at++)
				if (content.data[at] != 0) {
					used_again++;
					break;
				}
		buffer_free(&content);
	}
	sett_description_free(&description);
	return used_again;
}

static void
commit(struct database *db, struct random *random, struct sett_txn *txn)
{
	MUST_FAIL(oracle_prepare(&db->oracle, random, txn), SETT_OK);
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
}

/* On return `db->vfs` is what the ending has left. */
static struct database *
make_database_with(uint64_t seed, enum ending ending, bool is_encrypted)
{
	struct database *db = calloc(1, sizeof(*db));
	struct sett_error error = {0};
	struct random random;
	struct test_log log;
	struct sett_engine *engine;
	struct sett_txn *txn;
	cr_assert_not_null(db);
	db->oracle.why = db->why;
	db->oracle.why_size = sizeof(db->why);
	random_seed(&random, seed);
	test_log_init(&log);
	struct vfs *vfs = vfs_memory_create();
	struct keyring *keys = NULL;
	if (is_encrypted)
		MUST(sett_keyring_open(vfs, "db", master_key, &keys, &error), &error);
	db->is_encrypted = is_encrypted;
	MUST(open_engine(keys ? sett_keyring_vfs(keys) : vfs, &log, &engine, &error), &error);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	for (int i = 0; i < COMMITS; i++) {
		commit(db, &random, txn);
		if (i == 60)
			MUST(sett_engine_compact(engine, &error), &error);
		if (i == 100 || i == 120)
			MUST(sett_engine_flush(engine, &error), &error);
		if (i == COMMITS - 20)
			MUST(sett_engine_sync(engine, &error), &error);
	}
	MUST_FAIL(sett_engine_write(engine), SETT_OK);
	db->ending = ending;
	db->durable = COMMITS - 19;
	db->noted = 121; /* in tables */
	cr_assert_eq(sett_engine_durable(engine), db->durable);
	if (ending == IDLE) {
		MUST(sett_engine_sync(engine, &error), &error);
		engine_note_durable(engine, false);
	}
	if (ending != KILLED)
		db->durable = db->noted = COMMITS;
	if (ending != CLOSED)
		db->vfs = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 0);
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
	if (ending == CLOSED)
		db->vfs = vfs_memory_crash_clone(vfs, VFS_CRASH_KEEP, 0);
	sett_keyring_close(keys);
	test_vfs_destroy(vfs);
	test_log_free(&log);
	MUST(vfs_list(db->vfs, "db", note_file, db, &error), &error);
	db->salvage = salvage_check_create(db->vfs, is_encrypted ? master_key : NULL);
	if (is_encrypted) /* what looks at the files by other ways is held against those in clear */
		return db;
	struct sett_check_figures figures;
	MUST(sett_check("db", &(struct sett_check_options){.vfs = db->vfs}, &figures, &error), &error);
	cr_assert_eq(figures.damages, 0);
	cr_assert_eq(figures.cuts, 0);
	db->notes = figures.notes;
	cr_assert_gt(note_meaning_ends(db), 0);
	return db;
}

static struct database *
make_database(uint64_t seed, enum ending ending)
{
	return make_database_with(seed, ending, false);
}

static void
free_database(struct database *db)
{
	test_vfs_destroy(db->vfs);
	salvage_check_destroy(db->salvage);
	free(db);
}

/* Whether the text names a file of the directory. */
static bool
names_a_file(const char *text)
{
	return strstr(text, "db/") != NULL;
}

/* ---- without opening ---- */

struct inspected {
	struct vfs *vfs;
	uint64_t damages, cuts, notes;
	unsigned damage_items; /* of sett_read_file */
};

static void
on_finding(void *arg, const struct sett_finding *finding)
{
	struct inspected *i = arg;
	cr_assert(names_a_file(finding->text), "%s", finding->text);
	i->damages += finding->kind == SETT_DAMAGE;
	i->cuts += finding->kind == SETT_CUT;
	i->notes += finding->kind == SETT_NOTE;
}

static int
on_item(void *arg, const struct sett_item *item)
{
	((struct inspected *)arg)->damage_items += item->kind == SETT_ITEM_DAMAGE;
	return SETT_OK;
}

static int
read_file(void *arg, const char *name)
{
	struct inspected *i = arg;
	enum sett_file_kind kind;
	uint64_t number;
	char path[64];
	struct sett_error error = {0};
	if (!sett_file_classify(name, &kind, &number))
		return SETT_OK;
	snprintf(path, sizeof(path), "db/%s", name);
	MUST(sett_read_file(i->vfs, path, kind, number, on_item, i, &error), &error);
	return SETT_OK;
}

static struct inspected
inspect(struct vfs *vfs, const char *damage)
{
	struct inspected i = {.vfs = vfs};
	struct sett_error error = {0};
	struct sett_check_figures figures;
	struct sett_description description;
	uint64_t operations = vfs_memory_operation_count(vfs);
	struct sett_check_options options = {.vfs = vfs, .on_finding = on_finding, .arg = &i};
	int r = sett_check("db", &options, &figures, &error);
	cr_assert_eq(r, SETT_OK, "%s: %s", damage, error.message);
	cr_assert_eq(figures.damages, i.damages);
	cr_assert_eq(figures.cuts, i.cuts);
	cr_assert_eq(figures.notes, i.notes);
	r = sett_describe("db", vfs, &description, &error);
	cr_assert(r == SETT_OK || r == SETT_CORRUPT, "%s: %d %s", damage, r, error.message);
	if (r == SETT_OK)
		sett_description_free(&description);
	MUST(vfs_list(vfs, "db", read_file, &i, &error), &error);
	cr_assert_eq(vfs_memory_operation_count(vfs), operations, "%s: something was changed", damage);
	return i;
}

/* ---- damages ---- */

/* Opens the damaged clone, which must still know of its first `least` commits, and looks at all of it. A refusal
 * must name `file`, if that is not NULL, and change nothing. */
static void
examine(struct database *db, struct vfs *vfs, const char *file, uint64_t least, const char *damage,
	bool has_meaning, struct outcome *outcome)
{
	struct sett_error error = {0};
	struct test_log log;
	struct sett_engine *engine;
	struct sett_txn *txn;
	bool is_lost = salvage_check_run(db->salvage, vfs, damage);
	outcome->salvaged_in_part += is_lost;
	outcome->salvaged_whole += !is_lost;
	if (db->is_encrypted)
		return;
	struct inspected inspected = inspect(vfs, damage);
	outcome->unnoticed +=
		has_meaning && inspected.damages + inspected.cuts == 0 && inspected.notes <= db->notes;
	cr_assert(has_meaning || inspected.damages == 0, "%s: means nothing, and yet was found", damage);
	test_log_init(&log);
	uint64_t operations = operations_after_refusal(vfs);
	int r = open_engine(vfs, &log, &engine, &error);
	if (r != SETT_OK) {
		cr_assert_eq(vfs_memory_operation_count(vfs), operations, "%s: refused, but changed: %s",
			     damage, error.message);
		cr_assert(file == NULL || strstr(error.message, file), "%s: %s", damage, error.message);
		cr_assert_gt(inspected.damages, 0, "%s: not found: %s", damage, error.message);
		cr_assert_eq(r, SETT_CORRUPT, "%s: %d %s", damage, r, error.message);
		cr_assert(names_a_file(error.message), "%s: %s", damage, error.message);
		outcome->refused++;
		test_log_free(&log);
		return;
	}
	uint64_t kept = sett_engine_visible(engine);
	cr_assert_geq(kept, least, "%s: %d of %d durable commits", damage, (int)kept, (int)least);
	cr_assert_leq(kept, db->oracle.count, "%s", damage);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	r = oracle_check(&db->oracle, txn, kept, true, SETT_CORRUPT);
	cr_assert_eq(r, 0, "%s: %s", damage, db->why);
	if (oracle_check(&db->oracle, txn, kept, true, SETT_OK) != 0) {
		cr_assert(test_log_contains(&log, "A read failed: db/"),
			  "%s: a read failed, and no line names the file", damage);
		cr_assert_gt(inspected.damages, 0, "%s: not found", damage);
		outcome->unreadable++;
	} else if (kept < db->oracle.count) {
		cr_assert(test_log_contains(&log, "The log was cut: db/"), "%s: cut without a word", damage);
		/* A log that was cut short between two records is a shorter log: nothing can tell. */
		bool may_be_clean = least < db->durable;
		cr_assert(inspected.damages + inspected.cuts > 0 || may_be_clean,
			  "%s: the cut was not told of", damage);
		outcome->cut++;
		outcome->found += inspected.damages > 0;
	} else {
		outcome->none++;
		outcome->found += inspected.damages > 0;
	}
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
	test_log_free(&log);
}

static void
try_flip(struct database *db, const struct file *file, uint64_t offset, uint8_t mask, struct outcome *outcome)
{
	char damage[128];
	struct vfs *clone = vfs_memory_crash_clone(db->vfs, VFS_CRASH_KEEP, 0);
	cr_assert_not_null(clone);
	snprintf(damage, sizeof(damage), "%s, byte %llu ^ %02x", file->path, (unsigned long long)offset,
		 mask);
	MUST_FAIL(vfs_memory_damage(clone, file->path, offset, mask), SETT_OK);
	examine(db, clone, file->path, db->durable, damage, offset < file->meaning_end, outcome);
	test_vfs_destroy(clone);
}

static void
try_truncate(struct database *db, const struct file *file, uint64_t size, struct outcome *outcome)
{
	char damage[128];
	struct sett_error error = {0};
	struct vfs_file *f;
	struct vfs *clone = vfs_memory_crash_clone(db->vfs, VFS_CRASH_KEEP, 0);
	cr_assert_not_null(clone);
	snprintf(damage, sizeof(damage), "%s cut to %llu bytes", file->path, (unsigned long long)size);
	MUST(vfs_open(clone, file->path, VFS_READ | VFS_WRITE, &f, &error), &error);
	MUST(vfs_truncate(f, size, &error), &error);
	MUST(vfs_close(f, &error), &error);
	/* A log cut between two records is a shorter log: the records that told how much was durable are gone
	 * with the rest. What the manifest says stays known. Where the chain breaks may be the next segment. */
	bool is_log = strstr(file->path, ".log") != NULL;
	examine(db, clone, is_log ? NULL : file->path, is_log ? db->noted : db->durable, damage,
		size < file->meaning_end, outcome);
	test_vfs_destroy(clone);
}

/* Bytes in use: preallocated zeros at the end are looked at more sparsely. */
static uint64_t
used_size(struct database *db, const struct file *file)
{
	struct buffer content;
	cr_assert(test_get_file(db->vfs, file->path, &content));
	uint64_t used = content.size;
	while (used > 0 && content.data[used - 1] == 0)
		used--;
	buffer_free(&content);
	return used;
}

static uint64_t
total_used(struct database *db)
{
	uint64_t total = 0;
	for (size_t i = 0; i < db->file_count; i++)
		total += used_size(db, &db->files[i]);
	return total;
}

Test(engine_damage, an_undamaged_clone_is_whole)
{
	for (enum ending ending = KILLED; ending <= CLOSED; ending++) {
		struct database *db = make_database(1, ending);
		struct outcome outcome = {0};
		struct vfs *clone = vfs_memory_crash_clone(db->vfs, VFS_CRASH_KEEP, 0);
		struct inspected inspected = inspect(clone, "nothing");
		cr_assert_eq(inspected.damages + inspected.cuts, 0);
		cr_assert_eq(inspected.damage_items, 0);
		examine(db, clone, NULL, db->durable, "nothing", false, &outcome);
		cr_assert_eq(outcome.none, 1);
		test_vfs_destroy(clone);
		free_database(db);
	}
}

/* Flips a bit at about one in `stride` bytes of each file in use. */
static void
flip_everywhere(struct database *db, uint64_t stride, struct outcome *outcome)
{
	struct random random;
	random_seed(&random, 1);
	for (size_t i = 0; i < db->file_count; i++) {
		const struct file *file = &db->files[i];
		uint64_t used = used_size(db, file);
		for (uint64_t at = random_below(&random, stride); at < file->size;
		     at += at < used && (at < EDGE || used - at < EDGE) ? EDGE_STEP
			     : at < used                                ? stride
									: 64 * stride)
			try_flip(db, file, at, (uint8_t)(1u << random_below(&random, 8)), outcome);
	}
}

Test(engine_damage, a_flipped_bit_is_detected_or_has_no_effect_or_cuts_the_tail)
{
	struct database *db = make_database(1, KILLED);
	struct outcome outcome = {0};
	flip_everywhere(db, total_used(db) / tries() + 1, &outcome);
	cr_assert(outcome.refused > ENOUGH && outcome.unreadable > ENOUGH && outcome.cut > 10 &&
			  outcome.none > 10,
		  "%u refused, %u unreadable, %u cut, %u without effect", outcome.refused, outcome.unreadable,
		  outcome.cut, outcome.none);
	cr_assert_eq(outcome.unnoticed, 0, "%u flips went unnoticed", outcome.unnoticed);
	cr_assert(outcome.salvaged_whole > ENOUGH && outcome.salvaged_in_part > ENOUGH,
		  "%u salvaged whole, %u in part", outcome.salvaged_whole, outcome.salvaged_in_part);
	free_database(db);
}

static void
truncate_everywhere(struct database *db, uint64_t stride, struct outcome *outcome)
{
	struct random random;
	random_seed(&random, 2);
	for (size_t i = 0; i < db->file_count; i++) {
		const struct file *file = &db->files[i];
		uint64_t used = used_size(db, file);
		for (uint64_t at = 0; at < file->size;
		     at += at < used ? 1 + random_below(&random, 2 * stride) : 64 * stride)
			try_truncate(db, file, at, outcome);
	}
}

Test(engine_damage, a_truncated_file_is_detected_or_has_no_effect_or_cuts_the_tail)
{
	struct database *db = make_database(2, KILLED);
	struct outcome outcome = {0};
	truncate_everywhere(db, total_used(db) / (tries() / 4) + 1, &outcome);
	cr_assert(outcome.refused > 5 && outcome.unreadable > 20 && outcome.cut > 5,
		  "%u refused, %u unreadable, %u cut, %u without effect", outcome.refused, outcome.unreadable,
		  outcome.cut, outcome.none);
	free_database(db);
}

/* The same damages, and the same of a salvage: each costs what it has met alone. */
Test(engine_damage, an_encrypted_database_is_salvaged_as_one_in_clear)
{
	for (enum ending ending = KILLED; ending <= CLOSED; ending += CLOSED) {
		struct database *db = make_database_with(1, ending, true);
		struct outcome outcome = {0};
		uint64_t stride = total_used(db) / tries() + 1;
		struct vfs *clone = vfs_memory_crash_clone(db->vfs, VFS_CRASH_KEEP, 0);
		cr_assert(!salvage_check_run(db->salvage, clone, "nothing"));
		test_vfs_destroy(clone);
		flip_everywhere(db, stride, &outcome);
		truncate_everywhere(db, 8 * stride, &outcome);
		cr_assert(outcome.salvaged_whole > ENOUGH && outcome.salvaged_in_part > ENOUGH,
			  "%u salvaged whole, %u in part", outcome.salvaged_whole, outcome.salvaged_in_part);
		free_database(db);
	}
}

Test(engine_damage, a_missing_file_is_detected_or_held_nothing)
{
	struct database *db = make_database(3, KILLED);
	struct outcome outcome = {0};
	for (size_t i = 0; i < db->file_count; i++) {
		char damage[128];
		struct sett_error error = {0};
		struct vfs *clone = vfs_memory_crash_clone(db->vfs, VFS_CRASH_KEEP, 0);
		snprintf(damage, sizeof(damage), "%s gone", db->files[i].path);
		MUST(vfs_remove(clone, db->files[i].path, &error), &error);
		examine(db, clone, NULL, db->durable, damage, true, &outcome);
		test_vfs_destroy(clone);
	}
	cr_assert_gt(outcome.refused + outcome.unreadable, 4);
	free_database(db);
}

/* What the manifest calls durable is never cut, whatever is damaged: not a commit is taken back silently. */
static void
check_nothing_is_cut(enum ending ending)
{
	struct database *db = make_database(4, ending);
	struct outcome outcome = {0};
	uint64_t stride = total_used(db) / tries() + 1;
	flip_everywhere(db, 2 * stride, &outcome);
	cr_assert_eq(outcome.unnoticed, 0, "%u flips went unnoticed", outcome.unnoticed);
	truncate_everywhere(db, 8 * stride, &outcome);
	cr_assert_eq(outcome.cut, 0, "%u cuts", outcome.cut);
	cr_assert(outcome.refused > ENOUGH && outcome.unreadable > ENOUGH && outcome.none > 10,
		  "%u refused, %u unreadable, %u without effect", outcome.refused, outcome.unreadable,
		  outcome.none);
	free_database(db);
}

Test(engine_damage, once_the_manifest_says_how_much_is_durable_damage_takes_nothing_back)
{
	check_nothing_is_cut(IDLE);
}

Test(engine_damage, after_a_close_damage_takes_nothing_back)
{
	check_nothing_is_cut(CLOSED);
}

/* After a close even bytes after the last commit are damage: nothing was being written. */
Test(engine_damage, after_a_close_the_log_has_no_torn_end)
{
	for (enum ending ending = IDLE; ending <= CLOSED; ending++) {
		struct database *db = make_database(5, ending);
		struct outcome outcome = {0};
		unsigned ends = 0;
		for (size_t i = 0; i < db->file_count; i++) {
			const struct file *file = &db->files[i];
			if (!strstr(file->path, ".log") || file->meaning_end == 0)
				continue;
			ends++;
			try_flip(db, file, file->meaning_end - 1, 1, &outcome);
		}
		cr_assert_gt(ends, 0);
		cr_assert_eq(outcome.refused, ending == CLOSED ? ends : 0);
		cr_assert_eq(outcome.none, ending == CLOSED ? 0 : ends);
		free_database(db);
	}
}

/* Values of the newest commits, which no record calls durable, are read back at an open. */
Test(engine_damage, a_damaged_value_of_the_last_commits_is_refused_and_not_cut)
{
	struct test_log log;
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_txn *txn;
	uint8_t body[2000];
	test_log_init(&log);
	struct vfs *vfs = vfs_memory_create();
	MUST(open_engine(vfs, &log, &engine, &error), &error);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	for (uint8_t i = 0; i < 50; i++) { /* none is synced before the last is committed */
		memset(body, i, sizeof(body));
		MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
		MUST_FAIL(sett_txn_put(txn, bytes_of(&i, 1),
				       &(struct sett_put){.body = bytes_of(body, sizeof(body))}),
			  SETT_OK);
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	}
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
	struct sett_description description;
	MUST(sett_describe("db", vfs, &description, &error), &error);
	cr_assert(description.is_closed && description.durable == 50 && description.last == 50);
	char path[64], place[96];
	snprintf(path, sizeof(path), "db/%06llu.vlog", (unsigned long long)description.value_files[0].number);
	snprintf(place, sizeof(place), "%s at offset ", path);
	sett_description_free(&description);
	MUST_FAIL(vfs_memory_damage(vfs, path, 12 * 2016 + 500, 1), SETT_OK);
	must_refuse(vfs, &error);
	cr_assert_not_null(strstr(error.message, place), "%s", error.message);
	cr_assert_not_null(strstr(error.message, ".log at offset "), "%s", error.message);
	struct inspected inspected = inspect(vfs, path);
	cr_assert_gt(inspected.damages, 0);
	cr_assert_eq(inspected.cuts, 0);
	test_vfs_destroy(vfs);
	test_log_free(&log);
}

/* Gives the file another version of its format, with the checksum that belongs to it. */
static void
change_version(struct vfs *vfs, const struct file *file, enum sett_file_kind kind, uint64_t number)
{
	struct buffer content;
	struct sett_error error = {0};
	struct vfs_file *f;
	cr_assert(test_get_file(vfs, file->path, &content));
	uint8_t *p = content.data, *footer = p + content.size - TABLE_FOOTER_SIZE;
	switch (kind) {
	case SETT_FILE_MANIFEST:
		put_le32(p + 8, 77);
		put_le32(p + 12, (uint32_t)hash64(p, 12, 0));
		break;
	case SETT_FILE_LOG:
		put_le32(p + 8, 77);
		put_le64(p + 32, hash64(p, 32, 0));
		break;
	case SETT_FILE_VALUE_LOG:
		put_le32(p + 8, 77);
		put_le64(p + 24, hash64(p, 24, 0));
		break;
	case SETT_FILE_TABLE:
		put_le32(footer + 48, 77);
		put_le64(footer + 56,
			 hash64(footer, 56, table_seed(number, content.size - TABLE_FOOTER_SIZE)));
		break;
	}
	MUST(vfs_open(vfs, file->path, VFS_WRITE, &f, &error), &error);
	MUST(vfs_write_bytes(f, p, content.size, 0, &error), &error);
	MUST(vfs_close(f, &error), &error);
	buffer_free(&content);
}

/* Whatever the kind of file: the start is refused, names the file and the reason, and changes nothing. */
Test(engine_damage, a_file_of_another_version_is_refused_as_such)
{
	struct database *db = make_database(7, CLOSED);
	unsigned refused[4] = {0};
	for (size_t i = 0; i < db->file_count; i++) {
		struct file *file = &db->files[i];
		enum sett_file_kind kind;
		uint64_t number;
		struct sett_error error = {0};
		if (!sett_file_classify(file->path + strlen("db/"), &kind, &number) || file->meaning_end == 0)
			continue;
		struct vfs *vfs = vfs_memory_crash_clone(db->vfs, VFS_CRASH_KEEP, 0);
		change_version(vfs, file, kind, number);
		must_refuse(vfs, &error);
		cr_assert(strstr(error.message, file->path) && strstr(error.message, "version"), "%s",
			  error.message);
		cr_assert_gt(inspect(vfs, file->path).damages, 0);
		refused[kind]++;
		test_vfs_destroy(vfs);
	}
	for (size_t kind = 0; kind < 4; kind++)
		cr_assert_gt(refused[kind], 0);
	free_database(db);
}

/* Whoever wants no cut at all is asked before one. */
Test(engine_damage, a_log_that_may_not_be_cut_is_refused)
{
	struct database *db = make_database(6, KILLED);
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_options options = {.memory_budget = 1 << 20, .manual_work = true, .never_cut_log = true};
	const struct file *newest = NULL;
	for (size_t i = 0; i < db->file_count; i++)
		if (strstr(db->files[i].path, ".log") && db->files[i].meaning_end > LOG_PAGE &&
		    (!newest || strcmp(db->files[i].path, newest->path) > 0))
			newest = &db->files[i];
	cr_assert_not_null(newest);
	options.vfs = vfs_memory_crash_clone(db->vfs, VFS_CRASH_KEEP, 0);
	MUST_FAIL(vfs_memory_damage(options.vfs, newest->path, newest->meaning_end - LOG_PAGE - 200, 1),
		  SETT_OK);
	uint64_t expected = operations_after_refusal(options.vfs);
	MUST_FAIL(sett_engine_open("db", &options, &engine, &error), SETT_CORRUPT);
	cr_assert_eq(vfs_memory_operation_count(options.vfs), expected);
	cr_assert_not_null(strstr(error.message, newest->path), "%s", error.message);
	options.never_cut_log = false;
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(options.vfs);
	free_database(db);
}
