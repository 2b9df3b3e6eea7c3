/* Each kind of load does what it says on an engine in memory, and notices what is wrong. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "engine_workload.h"

enum { KEYS = 2000, VALUE_SIZE = 100 };

static struct vfs *vfs;
static struct sett_engine *engine;
static struct values values;
static struct engine_workload_result *result;

static void
set_up(void)
{
	struct sett_error error = {0};
	vfs = vfs_memory_create();
	result = malloc(sizeof(*result));
	cr_assert(vfs && result);
	cr_assert_eq(values_open(&values, VALUE_SIZE), 0);
	struct sett_options options = {.vfs = vfs, .memory_budget = 4 << 20};
	cr_assert_eq(sett_engine_open("db", &options, &engine, &error), SETT_OK, "%s", error.message);
}

static void
tear_down(void)
{
	struct sett_error error = {0};
	cr_assert_eq(sett_engine_close(engine, &error), SETT_OK);
	values_close(&values);
	vfs->operations->destroy(vfs);
	free(result);
}

TestSuite(engine_workload, .init = set_up, .fini = tear_down);

static struct engine_workload
load_of(enum engine_workload_kind kind, uint64_t operations)
{
	return (struct engine_workload){.kind = kind,
					.keys = KEYS,
					.values = &values,
					.check_all = true,
					.threads = 2,
					.operations = operations,
					.scan_length = 50,
					.read_percent = 40,
					.seed = 5};
}

static void
fill(void)
{
	struct engine_workload load = load_of(ENGINE_FILL, 0);
	cr_assert_eq(engine_workload_run(engine, &load, result), SETT_OK);
}

Test(engine_workload, names_are_found)
{
	enum engine_workload_kind kind;
	for (int i = ENGINE_FILL; i <= ENGINE_MIXED; i++) {
		cr_assert(engine_workload_find(engine_workload_name((enum engine_workload_kind)i), &kind));
		cr_assert_eq((int)kind, i);
	}
	cr_assert_not(engine_workload_find("fills", &kind));
}

Test(engine_workload, a_fill_writes_every_key_and_reads_find_them)
{
	fill();
	cr_assert_eq(result->operations, KEYS);
	cr_assert_eq(result->writes, KEYS);
	cr_assert_eq(result->latency.count, KEYS);
	struct engine_workload load = load_of(ENGINE_READ, 3 * KEYS);
	cr_assert_eq(engine_workload_run(engine, &load, result), SETT_OK);
	cr_assert_eq(result->entries, 3 * KEYS);
	cr_assert_eq(result->missing, 0);
	cr_assert_eq(result->writes, 0);
}

Test(engine_workload, absent_keys_are_counted)
{
	struct engine_workload load = load_of(ENGINE_READ, 10);
	cr_assert_eq(engine_workload_run(engine, &load, result), SETT_OK);
	cr_assert_eq(result->missing, 10);
	cr_assert_eq(result->entries, 0);
}

Test(engine_workload, a_scan_of_all_meets_every_key)
{
	fill();
	struct engine_workload load = load_of(ENGINE_SCAN, 20);
	load.scan_length = KEYS;
	load.threads = 1;
	cr_assert_eq(engine_workload_run(engine, &load, result), SETT_OK);
	cr_assert_eq(result->operations, 20);
	cr_assert(result->entries > 20 && result->entries < 20 * KEYS, "%lu entries from random starts",
		  result->entries);
}

Test(engine_workload, a_mix_has_reads_and_writes)
{
	fill();
	struct engine_workload load = load_of(ENGINE_MIXED, 2000);
	cr_assert_eq(engine_workload_run(engine, &load, result), SETT_OK);
	cr_assert_eq(result->writes + result->entries, 2000);
	cr_assert(result->entries > 600 && result->entries < 1000, "%lu reads of 2000", result->entries);
}

Test(engine_workload, a_value_of_another_key_is_noticed)
{
	fill();
	struct sett_txn *txn;
	struct sett_record record;
	struct bytes body;
	uint8_t one[ENGINE_KEY_SIZE] = "\0\0\0\0\0\0\0\0"
				       "00000000",
		two[ENGINE_KEY_SIZE];
	memcpy(two, one, sizeof(two));
	two[7] = 1;
	cr_assert_eq(sett_txn_create(engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, 0), SETT_OK);
	cr_assert_eq(sett_txn_get(txn, bytes_of(one, sizeof(one)), &record), SETT_OK);
	cr_assert_eq(sett_txn_body(txn, &record, &body), SETT_OK);
	cr_assert_eq(sett_txn_put(txn, bytes_of(two, sizeof(two)), &(struct sett_put){.body = body}),
		     SETT_OK);
	cr_assert_eq(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_txn_destroy(txn);
	struct engine_workload load = load_of(ENGINE_READ, 50 * KEYS);
	cr_assert_eq(engine_workload_run(engine, &load, result), SETT_CORRUPT);
}

Test(engine_workload, a_rate_is_kept)
{
	struct engine_workload load = load_of(ENGINE_OVERWRITE, 200);
	load.rate = 2000;
	cr_assert_eq(engine_workload_run(engine, &load, result), SETT_OK);
	cr_assert_eq(result->operations, 200);
	cr_assert_eq(result->response.count, 200);
	/* The last one is due 99 intervals of a millisecond after the start. */
	cr_assert(result->seconds >= 0.099, "%g s", result->seconds);
}

Test(engine_workload, an_engine_that_rests_is_seen_to)
{
	fill();
	cr_assert(engine_wait_idle(engine, 0.1, 60));
	cr_assert_not(engine_wait_idle(engine, 60, 0.1));
}
