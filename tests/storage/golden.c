/* Directories that earlier releases have left: they must open, whole, for ever.
 *
 * golden/0.1 was written and closed by Sett 0.1.0: twelve commits, tables flushed after the fourth and the eighth,
 * four commits in the log alone, values in the value log, a deletion, a counter, a dropped prefix. Its log
 * segments are cut to their first page: what follows are preallocated zeros. */
#include <stdio.h>

#include "manifest_format.h"
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
