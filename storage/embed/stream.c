/* Streams; see storage/stream.h. */
#include "storage/stream.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/base/thread.h"
#include "storage/key_ranges.h"

enum { DEFAULT_THREADS = 4, MOST_THREADS = 64, RANGES_PER_THREAD = 8 };

struct stream {
	struct sett_engine *engine;
	const struct sett_stream_options *options;
	struct sett_snapshot *snapshot;
	struct sett_cuts cuts;
	unsigned next; /* atomic: the range that is taken next */
	bool failed;   /* atomic (relaxed): the others may stop */
};

struct stream_thread {
	struct stream *stream;
	pthread_t thread;
	int status;
	struct sett_error error;
};

static int
fail(struct stream_thread *t, const struct sett_txn *txn, int status)
{
	const char *why = txn ? sett_txn_failure(txn) : "";
	return sett_error_set(&t->error, status, 0, "%s", why[0] ? why : sett_status_text(status));
}

static int
walk(struct stream_thread *t, unsigned range, struct sett_txn *txn, struct sett_iterator *it)
{
	struct stream *s = t->stream;
	int r = sett_iterator_first(it);
	while (r == SETT_OK && !__atomic_load_n(&s->failed, __ATOMIC_RELAXED)) {
		struct sett_read_mark before = sett_txn_read_mark(txn);
		int said = s->options->entry(s->options->arg, range, txn, it);
		if (said != SETT_OK)
			return fail(t, NULL, said);
		sett_txn_forget_reads(txn, &before);
		r = sett_iterator_next(it);
	}
	return r == SETT_NOT_FOUND || r == SETT_OK ? SETT_OK : fail(t, txn, r);
}

static int
stream_range(struct stream_thread *t, unsigned range, struct sett_txn *txn)
{
	const struct stream *s = t->stream;
	const struct sett_stream_options *o = s->options;
	struct sett_iterator_options options = {.prefix = o->prefix,
						.since = o->since,
						.all_versions = o->all_versions,
						.is_committed = true};
	struct sett_iterator *it;
	if (range > 0)
		options.lower = buffer_bytes(&s->cuts.keys[range - 1]);
	if (range < s->cuts.count)
		options.upper = buffer_bytes(&s->cuts.keys[range]);
	int r = sett_txn_begin_kept(txn, s->snapshot, SETT_TXN_MANUAL_CONFLICTS);
	if (r == SETT_OK)
		r = sett_iterator_open(txn, &options, &it);
	r = r == SETT_OK ? walk(t, range, txn, it) : fail(t, txn, r);
	sett_txn_discard(txn);
	if (r == SETT_OK && o->range_done && !__atomic_load_n(&s->failed, __ATOMIC_RELAXED)) {
		int said = o->range_done(o->arg, range);
		r = said == SETT_OK ? r : fail(t, NULL, said);
	}
	return r;
}

static void *
run(void *arg)
{
	struct stream_thread *t = arg;
	struct stream *s = t->stream;
	struct sett_txn *txn;
	t->status = sett_txn_create(s->engine, &txn);
	if (t->status != SETT_OK) {
		(void)fail(t, NULL, t->status);
		txn = NULL;
	}
	while (t->status == SETT_OK && !__atomic_load_n(&s->failed, __ATOMIC_RELAXED)) {
		unsigned range = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
		if (range > s->cuts.count)
			break;
		t->status = stream_range(t, range, txn);
	}
	if (t->status != SETT_OK)
		__atomic_store_n(&s->failed, true, __ATOMIC_RELAXED);
	sett_txn_destroy(txn);
	return NULL;
}

/* The snapshot, and the ranges of it. */
static int
begin(struct stream *s, unsigned threads, uint64_t *ret_snapshot, struct sett_error *error)
{
	struct bytes prefix = s->options->prefix;
	unsigned ranges = s->options->ranges ? s->options->ranges : threads * RANGES_PER_THREAD;
	struct buffer upper = {0};
	struct sett_txn *txn;
	int r = sett_txn_create(s->engine, &txn);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "%s", sett_status_text(r));
	r = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (r == SETT_OK)
		r = sett_snapshot_keep(txn, &s->snapshot);
	if (r == SETT_OK)
		r = buffer_append(&upper, prefix.data, prefix.size);
	while (upper.size > 0 && upper.data[upper.size - 1] == 0xff)
		upper.size--;
	if (upper.size > 0)
		upper.data[upper.size - 1]++;
	if (r == SETT_OK)
		r = sett_txn_cut(txn, prefix, buffer_bytes(&upper), ranges, &s->cuts);
	if (r == SETT_OK && ret_snapshot)
		*ret_snapshot = sett_txn_snapshot(txn);
	if (r != SETT_OK)
		(void)sett_error_set(error, r, 0, "%s",
				     sett_txn_failure(txn)[0] ? sett_txn_failure(txn) : sett_status_text(r));
	buffer_free(&upper);
	sett_txn_destroy(txn);
	return r;
}

static int
run_threads(struct stream *s, struct stream_thread *threads, unsigned count, struct sett_error *error)
{
	unsigned started = 0;
	int r = SETT_OK;
	for (; started < count; started++) {
		threads[started].stream = s;
		r = thread_start(&threads[started].thread, "sett-stream", run, &threads[started]);
		if (r != SETT_OK)
			break;
	}
	if (started > 0)
		r = SETT_OK; /* the others do it all */
	else
		(void)sett_error_set(error, r, 0, "can't start a thread");
	for (unsigned i = 0; i < started; i++) {
		thread_join(threads[i].thread);
		if (r == SETT_OK && threads[i].status != SETT_OK) {
			r = threads[i].status;
			if (error)
				*error = threads[i].error;
		}
	}
	return r;
}

int
sett_stream(struct sett_engine *engine, const struct sett_stream_options *options, uint64_t *ret_snapshot,
	    struct sett_error *error)
{
	struct stream s = {.engine = engine, .options = options};
	unsigned count = options->threads ? options->threads : DEFAULT_THREADS;
	count = count < MOST_THREADS ? count : MOST_THREADS;
	struct stream_thread *threads = calloc(count, sizeof(*threads));
	if (!threads)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	int r = begin(&s, count, ret_snapshot, error);
	if (r == SETT_OK) {
		assert(s.cuts.count < UINT32_MAX / 2);
		count = s.cuts.count + 1 < count ? (unsigned)s.cuts.count + 1 : count;
		r = run_threads(&s, threads, count, error);
	}
	sett_cuts_free(&s.cuts);
	sett_snapshot_release(s.snapshot);
	free(threads);
	return r;
}
