/* Databases that are written at once: whole, in order, from several streams; or not at all. */
#include <pthread.h>
#include <stdio.h>

#include "allocation_fault.h"
#include "storage/base/random.h"
#include "storage/bulk_load.h"
#include "storage/inspect.h"
#include "support.h"

enum { KEYS = 4000, STREAMS = 4, LARGE = 300, SMALL = 40 };

static struct vfs *vfs;

static void
set_up(void)
{
	vfs = vfs_memory_create();
}

static void
tear_down(void)
{
	test_vfs_destroy(vfs);
}

TestSuite(bulk_load, .init = set_up, .fini = tear_down);

static struct bytes
key_of(unsigned i, char room[16])
{
	return bytes_of(room, (size_t)snprintf(room, 16, "key%06u", i));
}

static struct bytes
body_of(unsigned i, uint8_t room[LARGE])
{
	struct random random;
	size_t size = i % 7 == 0 ? LARGE : SMALL; /* some in the value log */
	random_seed(&random, i + 1);
	for (size_t b = 0; b < size; b++)
		room[b] = (uint8_t)random_next(&random);
	return bytes_of(room, size);
}

static struct sett_bulk_options
options_for(struct vfs *files)
{
	return (struct sett_bulk_options){.vfs = files,
					  .value_threshold = 256,
					  .value_log_file_size = 64 << 10,
					  .table_size = 16 << 10};
}

static int
add(struct sett_bulk_stream *s, unsigned from, unsigned to, struct sett_error *error)
{
	int r = SETT_OK;
	for (unsigned i = from; r == SETT_OK && i < to; i++) {
		char key[16];
		uint8_t body[LARGE];
		struct sett_put put = {
			.head = bytes_of(&i, sizeof(i)), .body = body_of(i, body), .expires_at = i};
		r = sett_bulk_stream_add(s, key_of(i, key), &put, error);
	}
	return r;
}

/* One stream after the other, the last keys first. */
static int
load(struct vfs *files, struct sett_error *error)
{
	struct sett_bulk_load *l;
	struct sett_bulk_stream *s;
	struct sett_bulk_options options = options_for(files);
	int r = sett_bulk_load_open("db", &options, &l, error);
	if (r != SETT_OK)
		return r;
	for (unsigned i = 2; r == SETT_OK && i-- > 0;) {
		r = sett_bulk_stream_open(l, &s);
		if (r != SETT_OK)
			break;
		(void)add(s, i * KEYS / 2, (i + 1) * KEYS / 2, error);
		r = sett_bulk_stream_close(s, error);
	}
	if (r != SETT_OK) {
		sett_bulk_load_abandon(l);
		return r;
	}
	return sett_bulk_load_finish(l, error);
}

static struct sett_options
engine_options(struct vfs *files)
{
	return (struct sett_options){.vfs = files,
				     .seed = 42,
				     .memory_budget = 2 << 20,
				     .value_threshold = 256,
				     .manual_work = true};
}

static void
check_whole(struct vfs *files)
{
	struct sett_error error = {0};
	struct sett_engine *engine;
	struct sett_txn *txn;
	struct sett_iterator *it;
	struct sett_options options = engine_options(files);
	struct sett_check_figures figures;
	MUST(sett_check("db", &(struct sett_check_options){.vfs = files}, &figures, &error), &error);
	cr_assert_eq(figures.damages + figures.cuts, 0U);
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	cr_assert_eq(sett_engine_visible(engine), 1U);
	cr_assert_eq(sett_engine_durable(engine), 1U);
	SUCCEED(sett_txn_create(engine, &txn));
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_iterator_open(txn, NULL, &it));
	int r = sett_iterator_first(it);
	for (unsigned i = 0; i < KEYS; i++, r = sett_iterator_next(it)) {
		char key[16];
		uint8_t room[LARGE];
		struct sett_record record, found;
		struct bytes body;
		cr_assert_eq(r, SETT_OK);
		cr_assert(bytes_equal(sett_iterator_key(it), key_of(i, key)));
		SUCCEED(sett_iterator_record(it, &record));
		SUCCEED(sett_txn_body(txn, &record, &body));
		cr_assert(bytes_equal(body, body_of(i, room)));
		cr_assert(bytes_equal(record.head, bytes_of(&i, sizeof(i))) && record.expires_at == i);
		SUCCEED(sett_txn_get(txn, key_of(i, key), &found));
		cr_assert_eq(found.timestamp, 1U);
	}
	cr_assert_eq(r, SETT_NOT_FOUND);
	sett_txn_discard(txn);
	/* And it goes on as any other. */
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_put(txn, BYTES_LITERAL("key000007"),
			     &(struct sett_put){.body = BYTES_LITERAL("new")}));
	SUCCEED(sett_txn_commit(txn, NULL, NULL));
	sett_txn_destroy(txn);
	MUST(sett_engine_compact(engine, &error), &error);
	MUST(sett_engine_close(engine, &error), &error);
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	cr_assert_eq(sett_engine_visible(engine), 2U);
	MUST(sett_engine_close(engine, &error), &error);
}

Test(bulk_load, what_was_added_is_a_database)
{
	struct sett_error error = {0};
	MUST(load(vfs, &error), &error);
	check_whole(vfs);
}

struct worker {
	pthread_t thread;
	struct sett_bulk_load *load;
	unsigned number;
	int status;
};

static void *
run_stream(void *arg)
{
	struct worker *w = arg;
	struct sett_bulk_stream *s;
	w->status = sett_bulk_stream_open(w->load, &s);
	if (w->status == SETT_OK) {
		(void)add(s, w->number * KEYS / STREAMS, (w->number + 1) * KEYS / STREAMS, NULL);
		w->status = sett_bulk_stream_close(s, NULL);
	}
	return NULL;
}

Test(bulk_load, several_threads)
{
	struct sett_error error = {0};
	struct sett_bulk_load *l;
	struct sett_bulk_options options = options_for(vfs);
	struct worker workers[STREAMS];
	MUST(sett_bulk_load_open("db", &options, &l, &error), &error);
	for (unsigned i = 0; i < STREAMS; i++) {
		workers[i] = (struct worker){.load = l, .number = i};
		cr_assert_eq(pthread_create(&workers[i].thread, NULL, run_stream, &workers[i]), 0);
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		pthread_join(workers[i].thread, NULL);
		cr_assert_eq(workers[i].status, SETT_OK);
	}
	MUST(sett_bulk_load_finish(l, &error), &error);
	check_whole(vfs);
}

static bool
is_empty(struct vfs *files)
{
	struct sett_bulk_load *l;
	struct sett_bulk_options options = options_for(files);
	int r = sett_bulk_load_open("db", &options, &l, NULL);
	if (r == SETT_OK)
		sett_bulk_load_abandon(l);
	return r == SETT_OK;
}

Test(bulk_load, what_is_out_of_order_is_refused)
{
	struct sett_error error = {0};
	struct sett_bulk_load *l;
	struct sett_bulk_stream *s, *other;
	struct sett_record record;
	struct sett_bulk_options options = options_for(vfs);
	MUST(sett_bulk_load_open("db", &options, &l, &error), &error);
	SUCCEED(sett_bulk_stream_open(l, &s));
	MUST(add(s, 5, 10, &error), &error);
	MUST_FAIL(add(s, 9, 10, &error), SETT_INVALID); /* the same again */
	MUST_FAIL(add(s, 20, 21, &error), SETT_INVALID);
	MUST_FAIL(sett_bulk_stream_close(s, &error), SETT_INVALID);
	MUST_FAIL(sett_bulk_load_finish(l, &error), SETT_INVALID);
	cr_assert(is_empty(vfs));
	/* Two streams. */
	MUST(sett_bulk_load_open("db", &options, &l, &error), &error);
	SUCCEED(sett_bulk_stream_open(l, &s));
	SUCCEED(sett_bulk_stream_open(l, &other));
	MUST(add(s, 0, 100, &error), &error);
	MUST(add(other, 99, 200, &error), &error);
	MUST(sett_bulk_stream_close(s, &error), &error);
	MUST(sett_bulk_stream_close(other, &error), &error);
	MUST_FAIL(sett_bulk_load_finish(l, &error), SETT_INVALID);
	cr_assert_not_null(strstr(error.message, "overlap"));
	cr_assert(is_empty(vfs));
	/* Nothing, and a value that is not given in bytes. */
	MUST(sett_bulk_load_open("db", &options, &l, &error), &error);
	SUCCEED(sett_bulk_stream_open(l, &s));
	SUCCEED(sett_bulk_stream_close(s, &error));
	MUST_FAIL(sett_bulk_load_finish(l, &error), SETT_INVALID);
	MUST(sett_bulk_load_open("db", &options, &l, &error), &error);
	SUCCEED(sett_bulk_stream_open(l, &s));
	MUST_FAIL(sett_bulk_stream_add(s, BYTES_LITERAL("a"), &(struct sett_put){.body_of = &record}, &error),
		  SETT_INVALID);
	MUST_FAIL(sett_bulk_stream_close(s, &error), SETT_INVALID);
	sett_bulk_load_abandon(l);
	cr_assert(is_empty(vfs));
}

Test(bulk_load, a_directory_that_has_something_is_left_alone)
{
	struct sett_error error = {0};
	struct sett_bulk_load *l, *second;
	struct sett_bulk_options options = options_for(vfs);
	MUST(load(vfs, &error), &error);
	MUST_FAIL(sett_bulk_load_open("db", &options, &l, &error), SETT_INVALID);
	check_whole(vfs);
	MUST(sett_bulk_load_open("other", &options, &l, &error), &error);
	MUST_FAIL(sett_bulk_load_open("other", &options, &second, &error), SETT_LOCKED);
	sett_bulk_load_abandon(l);
	MUST(sett_bulk_load_open("other", &options, &l, &error), &error);
	sett_bulk_load_abandon(l);
}

/* Cut short before any operation, and whatever of it reached the disk: all of it or no database. */
Test(bulk_load, a_power_cut_leaves_all_of_it_or_none)
{
	unsigned none = 0, whole = 0;
	for (uint64_t n = 1;; n += 1 + n / 40) {
		struct sett_error error = {0};
		struct test_cut cut;
		test_cut_arm(&cut, vfs, n, n % 3 == 0 ? VFS_CRASH_KEEP : VFS_CRASH_RANDOM, n);
		MUST(load(vfs, &error), &error);
		vfs_memory_on_operation(vfs, 0, NULL, NULL);
		struct vfs *clone = cut.clone ? cut.clone : vfs_memory_crash_clone(vfs, VFS_CRASH_DROP, n);
		struct sett_engine *engine;
		struct sett_options options = engine_options(clone);
		options.read_only = true;
		int r = sett_engine_open("db", &options, &engine, &error);
		if (r == SETT_OK) {
			MUST(sett_engine_close(engine, &error), &error);
			check_whole(clone);
			whole++;
		} else {
			cr_assert(r == SETT_NOT_FOUND || r == SETT_CORRUPT);
			none++;
		}
		test_vfs_destroy(clone);
		tear_down();
		set_up();
		if (!cut.clone)
			break;
	}
	cr_assert(none > 20 && whole > 0);
}

/* Each call in turn fails: the load says so and leaves nothing, or it is whole. */
Test(bulk_load, faults_leave_nothing)
{
	static const enum vfs_fault_kind kinds[] = {VFS_FAULT_WRITE, VFS_FAULT_SYNC, VFS_FAULT_NO_SPACE,
						    VFS_FAULT_DIRECTORY};
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		bool failed = true;
		for (uint64_t n = 1; failed; n += 1 + n / 10) {
			struct sett_error error = {0};
			struct vfs *faults = vfs_fault_create(vfs);
			vfs_fault_arm(faults, kinds[k], n, false);
			int r = load(faults, &error);
			failed = vfs_fault_count(faults, kinds[k]) >= n && r != SETT_OK;
			vfs_fault_arm(faults, kinds[k], 0, false);
			test_vfs_destroy(faults);
			if (r == SETT_OK)
				check_whole(vfs);
			else
				cr_assert(error.message[0] != 0 && (r == SETT_FAILED || is_empty(vfs)));
			tear_down();
			set_up();
		}
	}
}

/* Each allocation in turn. */
Test(bulk_load, allocations_that_fail)
{
	bool failed = true;
	for (uint64_t n = 1; failed; n += 1 + n / 20) {
		struct sett_error error = {0};
		allocation_fault_arm(n, false);
		int r = load(vfs, &error);
		failed = allocation_fault_count() >= n;
		allocation_fault_arm(0, false);
		if (r == SETT_OK)
			check_whole(vfs);
		else
			cr_assert(failed && error.message[0] != 0 && is_empty(vfs), "%s", error.message);
		tear_down();
		set_up();
	}
}
