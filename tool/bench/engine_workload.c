/*
 * A load on an engine: one thread's loop, and the sum over the threads.
 *
 * With a rate, operation n of a thread is due n intervals after its start; a thread that is late does not
 * wait, so the rate holds on average, and `response` counts from the moment that was due.
 */
#include "engine_workload.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const names[] = {"fill", "overwrite", "read", "scan", "mixed"};

struct worker {
	struct sett_engine *engine;
	const struct engine_workload *load;
	int *stop;         /* atomic: somebody failed */
	uint64_t first;    /* of ENGINE_FILL: ranks [first, first + operations) */
	uint64_t quota;    /* operations; UINT64_MAX: by time */
	uint64_t start_ns; /* the same for all */
	uint64_t interval_ns;
	uint64_t stride;
	uint64_t random;
	struct sett_txn *txn;
	uint8_t *value;
	struct engine_workload_result result;
	int status;
	pthread_t thread;
};

static uint64_t
now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void
sleep_ns(uint64_t duration)
{
	struct timespec pause = {(time_t)(duration / 1000000000ULL), (long)(duration % 1000000000ULL)};
	(void)nanosleep(&pause, NULL);
}

const char *
engine_workload_name(enum engine_workload_kind kind)
{
	return names[kind];
}

bool
engine_workload_find(const char *name, enum engine_workload_kind *ret)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0) {
			*ret = (enum engine_workload_kind)i;
			return true;
		}
	}
	return false;
}

/* ---- one operation ---- */

static struct bytes
make_key(uint8_t memory[ENGINE_KEY_SIZE], uint64_t number)
{
	memset(memory, '0', ENGINE_KEY_SIZE);
	for (int i = 0; i < 8; i++)
		memory[i] = (uint8_t)(number >> (56 - 8 * i));
	return bytes_of(memory, ENGINE_KEY_SIZE);
}

static uint64_t
key_number(struct bytes key)
{
	uint64_t number = 0;
	for (int i = 0; i < 8; i++)
		number = number << 8 | key.data[i];
	return number;
}

static int
write_one(struct worker *w, uint64_t number)
{
	const struct values *values = w->load->values;
	uint8_t memory[ENGINE_KEY_SIZE];
	struct bytes key = make_key(memory, number);
	values_write(values, bench_random(&w->random), w->value, number);
	int r;
	do {
		r = sett_txn_begin(w->txn, 0);
		if (r == SETT_OK)
			r = sett_txn_put(w->txn, key,
					 &(struct sett_put){.body = bytes_of(w->value, values->size)});
		if (r == SETT_OK)
			r = sett_txn_commit(w->txn, NULL, NULL);
		else
			sett_txn_discard(w->txn);
	} while (r == SETT_CONFLICT); /* it reads nothing, so only room in the log can be in its way */
	w->result.writes++;
	return r == SETT_OK ? sett_engine_write(w->engine) : r;
}

/* The value of an entry that was found must be its key's. */
static int
check(struct worker *w, uint64_t number, const struct sett_record *record)
{
	const struct values *values = w->load->values;
	struct bytes body;
	int r = sett_txn_body(w->txn, record, &body);
	if (r != SETT_OK)
		return r;
	w->result.entries++;
	bool right = body.size == values->size &&
		(w->load->check_all ? values_match(values, body.data, number)
				    : values_belong(values, body.data, number));
	return right ? SETT_OK : SETT_CORRUPT;
}

static int
read_one(struct worker *w, uint64_t number)
{
	uint8_t memory[ENGINE_KEY_SIZE];
	struct sett_record record;
	int r = sett_txn_begin(w->txn, 0);
	if (r != SETT_OK)
		return r;
	r = sett_txn_get(w->txn, make_key(memory, number), &record);
	if (r == SETT_OK)
		r = check(w, number, &record);
	else if (r == SETT_NOT_FOUND) {
		w->result.missing++;
		r = SETT_OK;
	}
	sett_txn_discard(w->txn);
	return r;
}

static int
walk(struct worker *w, struct sett_iterator *it, struct bytes from)
{
	struct sett_record record;
	int r = sett_iterator_seek(it, from);
	for (unsigned i = 0; r == SETT_OK; r = sett_iterator_next(it)) {
		r = sett_iterator_record(it, &record);
		if (r == SETT_OK)
			r = check(w, key_number(sett_iterator_key(it)), &record);
		if (r != SETT_OK || ++i == w->load->scan_length)
			return r;
	}
	return r == SETT_NOT_FOUND ? SETT_OK : r; /* the last key */
}

static int
scan_one(struct worker *w, uint64_t number)
{
	uint8_t memory[ENGINE_KEY_SIZE];
	struct sett_iterator *it;
	int r = sett_txn_begin(w->txn, 0);
	if (r != SETT_OK)
		return r;
	r = sett_iterator_open(w->txn, NULL, &it);
	if (r == SETT_OK) {
		r = walk(w, it, make_key(memory, number));
		sett_iterator_close(it);
	}
	sett_txn_discard(w->txn);
	return r;
}

static int
operate(struct worker *w, uint64_t n)
{
	const struct engine_workload *load = w->load;
	if (load->kind == ENGINE_FILL)
		return write_one(w, bench_scatter(w->first + n, w->stride, load->keys));
	uint64_t number = bench_random_below(&w->random, load->keys);
	switch (load->kind) {
	case ENGINE_READ:
		return read_one(w, number);
	case ENGINE_SCAN:
		return scan_one(w, number);
	case ENGINE_MIXED:
		if (bench_random_below(&w->random, 100) < load->read_percent)
			return read_one(w, number);
		return write_one(w, number);
	default:
		return write_one(w, number);
	}
}

/* ---- one thread ---- */

static bool
is_over(const struct worker *w, uint64_t n, uint64_t now)
{
	if (n >= w->quota || __atomic_load_n(w->stop, __ATOMIC_RELAXED))
		return true;
	return w->load->seconds > 0 && (double)(now - w->start_ns) >= w->load->seconds * 1e9;
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	uint64_t now = now_ns(), n = 0;
	for (; w->status == SETT_OK && !is_over(w, n, now); n++) {
		uint64_t due = w->start_ns + n * w->interval_ns;
		if (w->interval_ns && due > now) {
			sleep_ns(due - now);
			now = now_ns();
		}
		uint64_t begun = now;
		w->status = operate(w, n);
		now = now_ns();
		histogram_add(&w->result.latency, now - begun);
		if (w->interval_ns)
			histogram_add(&w->result.response, now - due);
	}
	w->result.operations = n;
	if (w->status != SETT_OK)
		__atomic_store_n(w->stop, 1, __ATOMIC_RELAXED);
	return NULL;
}

static int
prepare(struct worker *w, unsigned i)
{
	const struct engine_workload *load = w->load;
	uint64_t total = load->kind == ENGINE_FILL ? load->keys : load->operations;
	uint64_t share = total / load->threads, rest = total % load->threads;
	w->first = i * share + (i < rest ? i : rest);
	w->quota = total ? share + (i < rest) : UINT64_MAX;
	w->interval_ns = load->rate > 0 ? (uint64_t)(1e9 * load->threads / load->rate) : 0;
	w->stride = bench_stride(load->keys);
	w->random = load->seed * ENGINE_THREADS_MAX + i;
	w->value = malloc(load->values->size);
	return w->value ? sett_txn_create(w->engine, &w->txn) : SETT_NO_MEMORY;
}

static void
add(struct engine_workload_result *sum, const struct engine_workload_result *part)
{
	sum->operations += part->operations;
	sum->writes += part->writes;
	sum->entries += part->entries;
	sum->missing += part->missing;
	histogram_merge(&sum->latency, &part->latency);
	histogram_merge(&sum->response, &part->response);
}

int
engine_workload_run(struct sett_engine *engine, const struct engine_workload *load,
		    struct engine_workload_result *ret)
{
	int stop = 0, r = SETT_OK;
	unsigned started = 0;
	memset(ret, 0, sizeof(*ret));
	if (load->threads == 0 || load->threads > ENGINE_THREADS_MAX || load->keys == 0)
		return SETT_INVALID;
	struct worker *workers = calloc(load->threads, sizeof(*workers));
	if (!workers)
		return SETT_NO_MEMORY;
	for (unsigned i = 0; i < load->threads && r == SETT_OK; i++) {
		workers[i].engine = engine;
		workers[i].load = load;
		workers[i].stop = &stop;
		r = prepare(&workers[i], i);
	}
	uint64_t start = now_ns();
	for (; started < load->threads && r == SETT_OK; started++) {
		workers[started].start_ns = start;
		if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0) {
			__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
			r = SETT_NO_MEMORY;
			break;
		}
	}
	for (unsigned i = 0; i < started; i++)
		(void)pthread_join(workers[i].thread, NULL);
	ret->seconds = (double)(now_ns() - start) / 1e9;
	for (unsigned i = 0; i < load->threads; i++) {
		add(ret, &workers[i].result);
		if (r == SETT_OK)
			r = workers[i].status;
		sett_txn_destroy(workers[i].txn);
		free(workers[i].value);
	}
	free(workers);
	return r;
}

bool
engine_wait_idle(struct sett_engine *engine, double quiet_seconds, double patience_seconds)
{
	static const uint64_t step_ns = 50000000;
	uint64_t start = now_ns(), changed = start, written = 0;
	for (;;) {
		struct sett_stats stats;
		sett_engine_stats(engine, &stats);
		uint64_t now = now_ns();
		if (stats.bytes_written != written || stats.memtables_waiting > 0) {
			written = stats.bytes_written;
			changed = now;
		}
		if ((double)(now - changed) >= quiet_seconds * 1e9)
			return true;
		if ((double)(now - start) >= patience_seconds * 1e9)
			return false;
		sleep_ns(step_ns);
	}
}
