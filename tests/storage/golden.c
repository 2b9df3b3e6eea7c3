/* Directories that earlier releases have left: they must open, whole, for ever.
 *
 * golden/0.1 was written and closed by Sett 0.1.0: twelve commits, tables flushed after the fourth and the eighth,
 * four commits in the log alone, values in the value log, a deletion, a counter, a dropped prefix. Its log
 * segments are cut to their first page: what follows are preallocated zeros. golden/archive-1 is an archive of version 1 with
 * commits behind those. */
#include <stdio.h>
#include <stdlib.h>

#include "manifest_format.h"
#include "storage/archive.h"
#include "storage/engine.h"
#include "storage/inspect.h"
#include "support.h"

enum { COMMITS = 12, KEYS = 8, SIZE_MAX_BODY = 150 };

static const char *const files[] = {"MANIFEST",   "000003.vlog", "000004.sst",
				    "000005.log", "000006.sst",  "000007.log"};

/* Reads the directory into memory. */
static struct vfs *
load_golden(const char *version)
{
	static uint8_t content[64 << 10];
	struct vfs *vfs = test_memory_vfs("db");
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char path[1024];
		snprintf(path, sizeof(path), "%s/%s/%s", SETT_GOLDEN, version, files[i]);
		FILE *file = fopen(path, "rb");
		cr_assert_not_null(file, "%s", path);
		size_t size = fread(content, 1, sizeof(content), file);
		cr_assert(size > 0 && size < sizeof(content), "%s", path);
		cr_assert_eq(fclose(file), 0);
		snprintf(path, sizeof(path), "db/%s", files[i]);
		test_put_file(vfs, path, bytes_of(content, size));
	}
	return vfs;
}

/* What commit `number` wrote. */
static struct bytes
body_of(unsigned number, uint8_t room[SIZE_MAX_BODY])
{
	size_t size = number % 3 == 0 ? SIZE_MAX_BODY : 20;
	for (size_t i = 0; i < size; i++)
		room[i] = (uint8_t)(number * 31 + i);
	return bytes_of(room, size);
}

static void
check_content(struct sett_engine *engine)
{
	struct sett_txn *txn;
	int64_t counter;
	cr_assert_eq(sett_engine_visible(engine), COMMITS);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
	for (unsigned key = 0; key < KEYS; key++) {
		/* The newest commit that wrote it. */
		unsigned number = key == 0 ? 8 : key + 8 <= COMMITS ? key + 8 : key;
		uint8_t room[SIZE_MAX_BODY];
		char name[16];
		struct sett_record record;
		struct bytes body;
		snprintf(name, sizeof(name), "key %u", key);
		MUST_FAIL(sett_txn_get(txn, bytes_of_string(name), &record), SETT_OK);
		cr_assert(bytes_equal(record.head, BYTES_LITERAL("h")));
		MUST_FAIL(sett_txn_body(txn, &record, &body), SETT_OK);
		cr_assert(bytes_equal(body, body_of(number, room)), "%s", name);
	}
	MUST_FAIL(sett_txn_counter(txn, 7, &counter), SETT_OK);
	cr_assert_eq(counter, COMMITS * (COMMITS + 1) / 2);
	sett_txn_destroy(txn);
}

static void
check_files(struct vfs *vfs, unsigned manifest_version, bool is_closed)
{
	struct sett_error error = {0};
	struct sett_check_figures figures;
	struct sett_description description;
	MUST(sett_check("db", &(struct sett_check_options){.vfs = vfs}, &figures, &error), &error);
	cr_assert_eq(figures.damages + figures.cuts, 0);
	MUST(sett_describe("db", vfs, &description, &error), &error);
	cr_assert_eq(description.manifest_version, manifest_version);
	cr_assert_eq(description.is_closed, is_closed);
	cr_assert_eq(description.last, COMMITS);
	cr_assert_eq(description.dead_prefix_count, 1);
	sett_description_free(&description);
}

Test(golden, a_directory_of_0_1_opens_whole)
{
	struct vfs *vfs = load_golden("0.1");
	check_files(vfs, 1, false);
	for (int opening = 0; opening < 2; opening++) {
		struct sett_error error = {0};
		struct sett_engine *engine;
		struct sett_options options = {
			.vfs = vfs, .memory_budget = 1 << 20, .value_threshold = 64, .manual_work = true};
		MUST(sett_engine_open("db", &options, &engine, &error), &error);
		check_content(engine);
		MUST(sett_engine_close(engine, &error), &error);
		check_files(vfs, MANIFEST_VERSION, true);
	}
	test_vfs_destroy(vfs);
}

/* ---- archives ---- */

enum { LARGE_BODY = (1 << 20) + 5 };

/* What golden/archive-1 has behind the twelve commits of golden/0.1: all that a commit can say. */
static void
commit_more(struct sett_engine *engine)
{
	struct sett_error error = {0};
	struct sett_txn *txn;
	struct sett_body_writer *writer;
	struct bytes stem = BYTES_LITERAL("i");
	uint8_t *large = malloc(LARGE_BODY), room[SIZE_MAX_BODY], prefix[SETT_MAX_PREFIX_SIZE];
	cr_assert_not_null(large);
	memset(large, 'z', LARGE_BODY);
	MUST(sett_body_writer_open(engine, LARGE_BODY, &writer, &error), &error);
	MUST(sett_body_writer_append(writer, large, LARGE_BODY, &error), &error);
	MUST(sett_body_writer_finish(writer, &error), &error);
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	for (unsigned number = COMMITS + 1; number <= COMMITS + 4; number++) {
		MUST_FAIL(sett_txn_begin(txn, 0), SETT_OK);
		switch (number - COMMITS) {
		case 1:
			MUST_FAIL(sett_txn_put(txn, BYTES_LITERAL("key 1"),
					       &(struct sett_put){.head = BYTES_LITERAL("new"),
								  .body = body_of(number, room),
								  .expires_at = 99}),
				  SETT_OK);
			MUST_FAIL(sett_txn_put(txn, BYTES_LITERAL("key 2"),
					       &(struct sett_put){.body = body_of(15, room)}),
				  SETT_OK);
			MUST_FAIL(sett_txn_pend_id(txn, stem, 5), SETT_OK);
			break;
		case 2:
			MUST_FAIL(sett_txn_delete(txn, BYTES_LITERAL("key 3")), SETT_OK);
			MUST_FAIL(sett_txn_counter_add(txn, 7, -3), SETT_OK);
			MUST_FAIL(sett_txn_counter_drop(txn, 8), SETT_OK);
			MUST_FAIL(sett_txn_check_pending(txn, stem, 5), SETT_OK);
			size_t size = sett_id_prefix(stem, 5, prefix);
			MUST_FAIL(sett_txn_put(txn, bytes_of(prefix, size),
					       &(struct sett_put){.body = BYTES_LITERAL("x")}),
				  SETT_OK);
			break;
		case 3:
			MUST_FAIL(sett_txn_put(txn, BYTES_LITERAL("large"),
					       &(struct sett_put){.written = writer}),
				  SETT_OK);
			MUST_FAIL(sett_txn_publish_id(txn, stem, 5), SETT_OK);
			break;
		default:
			MUST_FAIL(sett_txn_drop_prefix(txn, BYTES_LITERAL("nothing of it")), SETT_OK);
			MUST_FAIL(sett_txn_drop_id(txn, stem, 6, 100), SETT_OK);
		}
		MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	}
	sett_txn_destroy(txn);
	sett_body_writer_close(writer);
	free(large);
}

static struct sett_engine *
open_more(struct vfs *vfs, bool replays, const struct sett_archive_options *archive)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_options options = {.vfs = vfs,
				       .memory_budget = 1 << 20,
				       .value_threshold = 64,
				       .replays = replays,
				       .archive = archive,
				       .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	return engine;
}

static void
must_be_equal(struct sett_engine *one, struct sett_engine *other)
{
	struct sett_txn *txn[2];
	struct sett_iterator *it[2];
	int64_t counters[2];
	unsigned entries = 0;
	MUST_FAIL(sett_txn_create(one, &txn[0]), SETT_OK);
	MUST_FAIL(sett_txn_create(other, &txn[1]), SETT_OK);
	for (int i = 0; i < 2; i++) {
		MUST_FAIL(sett_txn_begin(txn[i], 0), SETT_OK);
		MUST_FAIL(sett_txn_counter(txn[i], 7, &counters[i]), SETT_OK);
		MUST_FAIL(sett_iterator_open(txn[i], &(struct sett_iterator_options){0}, &it[i]), SETT_OK);
	}
	cr_assert_eq(counters[0], counters[1]);
	int r = sett_iterator_first(it[0]);
	MUST_FAIL(sett_iterator_first(it[1]), r);
	for (; r == SETT_OK; entries++) {
		struct sett_record record[2];
		struct bytes body[2];
		cr_assert(bytes_equal(sett_iterator_key(it[0]), sett_iterator_key(it[1])));
		for (int i = 0; i < 2; i++) {
			MUST_FAIL(sett_iterator_record(it[i], &record[i]), SETT_OK);
			MUST_FAIL(sett_txn_body(txn[i], &record[i], &body[i]), SETT_OK);
		}
		cr_assert(bytes_equal(record[0].head, record[1].head) && bytes_equal(body[0], body[1]));
		cr_assert(record[0].expires_at == record[1].expires_at &&
			  record[0].timestamp == record[1].timestamp);
		r = sett_iterator_next(it[0]);
		MUST_FAIL(sett_iterator_next(it[1]), r);
	}
	cr_assert_gt(entries, KEYS);
	sett_txn_destroy(txn[0]);
	sett_txn_destroy(txn[1]);
}

/* With SETT_GOLDEN_MAKE=FILE it is written there. */
Test(golden, an_archive_of_version_1_is_applied)
{
	struct sett_error error = {0};
	struct vfs *direct = load_golden("0.1"), *restored = load_golden("0.1");
	struct sett_archive_options archive = {.directory = "archive"};
	struct sett_engine *expected = open_more(direct, false, &archive);
	commit_more(expected);
	MUST(sett_engine_archive(expected, &error), &error);
	const char *make = getenv("SETT_GOLDEN_MAKE");
	static uint8_t content[2 << 20];
	struct buffer made;
	if (make) {
		cr_assert(test_get_file(direct, "archive/000001.arc", &made));
		FILE *file = fopen(make, "wb");
		cr_assert(file && fwrite(made.data, made.size, 1, file) == 1 && fclose(file) == 0);
		buffer_free(&made);
	}
	FILE *file = fopen(SETT_GOLDEN "/archive-1/000001.arc", "rb");
	cr_assert_not_null(file);
	size_t size = fread(content, 1, sizeof(content), file);
	cr_assert(size > LARGE_BODY && size < sizeof(content) && fclose(file) == 0);
	MUST(vfs_make_directory(restored, "archive", &error), &error);
	test_put_file(restored, "archive/000001.arc", bytes_of(content, size));

	struct sett_archive_point point;
	struct sett_moment end = {.kind = SETT_MOMENT_END};
	struct sett_description d;
	MUST(sett_archive_find(restored, "archive", &end, &point, &error), &error);
	cr_assert_eq(point.commit, COMMITS + 4);
	MUST(sett_describe("db", restored, &d, &error), &error);
	struct sett_archive_replay replay = {.vfs = restored,
					     .directory = "archive",
					     .chain = point.chain,
					     .from = COMMITS,
					     .from_now_ms = d.now_ms,
					     .to = point.commit};
	sett_description_free(&d);
	MUST(sett_archive_check(&replay, &error), &error);
	struct sett_engine *engine = open_more(restored, true, NULL);
	MUST(sett_archive_apply(engine, &replay, &error), &error);
	must_be_equal(engine, expected);
	MUST(sett_engine_close(engine, &error), &error);
	MUST(sett_engine_close(expected, &error), &error);
	test_vfs_destroy(direct);
	test_vfs_destroy(restored);
}
