/* Counters of commands and of error replies.
 *
 * Calls are counted, and their durations sorted into histograms, in a block of each thread's own: an addition
 * costs no more than memory that no other thread writes. A reader adds the blocks up. Blocks stay until the end,
 * as threads do. A reset cannot write into them: it notes what the sums are, and readers subtract that.
 *
 * Error codes are few and rare: one table that only grows, searched from its start. */
#include "info/command_stats.h"

#include <assert.h>

#include "storage/base/thread.h"
#include "storage/status.h"
#include "txn/command.h"

enum { CODES_MAX = 128, CODE_SIZE_MAX = 32, LINE_SIZE = 64 };

/* All relaxed: each is a number of its own. */
struct counters {
	uint64_t calls, nanoseconds, rejected, failed;
};

struct lookups {
	uint64_t misses, hits;
};

/* Written by its thread alone. */
struct thread_block {
	struct thread_block *next;
	struct lookups lookups;
	struct histogram **histograms; /* by command, NULL until the first call; released once they are empty,
					  partner: the acquire in command_stats_latency */
	struct counters counters[];    /* by command */
};

struct error_code {
	char code[CODE_SIZE_MAX]; /* written before code_count passes it */
	uint64_t count;
};

struct command_stats {
	uint64_t id; /* no other of this process had it: a thread knows its block by it */
	size_t commands;
	struct mutex blocks_lock;    /* guards growth of `blocks`, and what follows */
	struct thread_block *blocks; /* released with the new block, partner: the acquires of readers */
	struct counters *base;       /* the sums at the last reset */
	struct lookups base_lookups;
	struct histogram **base_histograms;
	uint64_t total_errors;
	struct mutex codes_lock; /* guards growth */
	unsigned code_count;     /* released after a code is written; partner: the acquire in find_code */
	struct error_code codes[CODES_MAX];
	struct mutex rates_lock; /* all below */
	uint64_t sampled_ns;     /* when, 0 = not yet */
	struct command_rates sample, rates;
};

/* The block of this thread, and whose it is. */
static __thread struct {
	uint64_t id;
	struct thread_block *block;
} mine;

int
command_stats_create(size_t commands, struct command_stats **ret)
{
	static uint64_t last_id;
	struct command_stats *stats = calloc(1, sizeof *stats);
	if (stats == NULL)
		return SETT_NO_MEMORY;
	stats->base = calloc(commands, sizeof *stats->base);
	stats->base_histograms = calloc(commands, sizeof(struct histogram *));
	if (stats->base == NULL || stats->base_histograms == NULL) {
		free(stats->base);
		free(stats->base_histograms);
		free(stats);
		return SETT_NO_MEMORY;
	}
	stats->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	stats->commands = commands;
	mutex_init(&stats->blocks_lock);
	mutex_init(&stats->codes_lock);
	mutex_init(&stats->rates_lock);
	*ret = stats;
	return SETT_OK;
}

static void
free_histograms(struct histogram **histograms, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(histograms[i]);
	free(histograms);
}

void
command_stats_destroy(struct command_stats *stats)
{
	if (stats == NULL)
		return;
	for (struct thread_block *b = stats->blocks, *next; b != NULL; b = next) {
		next = b->next;
		free_histograms(b->histograms, stats->commands);
		free(b);
	}
	free_histograms(stats->base_histograms, stats->commands);
	mutex_destroy(&stats->blocks_lock);
	mutex_destroy(&stats->codes_lock);
	mutex_destroy(&stats->rates_lock);
	free(stats->base);
	free(stats);
}

/* ---- counting ---- */

static struct thread_block *
add_block(struct command_stats *stats)
{
	size_t size = sizeof(struct thread_block) + stats->commands * sizeof(struct counters);
	size = (size + LINE_SIZE - 1) / LINE_SIZE * LINE_SIZE;
	struct thread_block *block = aligned_alloc(LINE_SIZE, size);
	if (block == NULL)
		return NULL;
	memset(block, 0, size);
	block->histograms = calloc(stats->commands, sizeof(struct histogram *));
	if (block->histograms == NULL) {
		free(block);
		return NULL;
	}
	mutex_lock(&stats->blocks_lock);
	block->next = stats->blocks;
	__atomic_store_n(&stats->blocks, block, __ATOMIC_RELEASE);
	mutex_unlock(&stats->blocks_lock);
	mine.id = stats->id;
	mine.block = block;
	return block;
}

/* NULL if out of memory: then nothing is counted. */
static inline struct thread_block *
own_block(struct command_stats *stats)
{
	return __builtin_expect(mine.id == stats->id, 1) ? mine.block : add_block(stats);
}

/* To a counter that only this thread writes. */
static inline void
add(uint64_t *counter, uint64_t amount)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

static void
record_latency(struct thread_block *block, const struct command *command, uint64_t duration_ns)
{
	struct histogram *histogram = block->histograms[command->index];
	if (__builtin_expect(histogram == NULL, 0)) {
		histogram = calloc(1, sizeof *histogram);
		if (histogram == NULL)
			return;
		__atomic_store_n(&block->histograms[command->index], histogram, __ATOMIC_RELEASE);
	}
	add(&histogram->counts[histogram_bucket(duration_ns)], 1);
}

void
command_stats_record(struct command_stats *stats, const struct command *command,
		     const struct command_outcome *outcome)
{
	struct thread_block *block = own_block(stats);
	assert(command->index < stats->commands);
	if (block == NULL)
		return;
	struct counters *counters = &block->counters[command->index];
	add(&counters->calls, 1);
	add(&counters->nanoseconds, outcome->duration_ns);
	if (outcome->failed)
		add(&counters->failed, 1);
	if (outcome->misses > 0)
		add(&block->lookups.misses, outcome->misses);
	if (outcome->hits > 0)
		add(&block->lookups.hits, outcome->hits);
	if (outcome->tracks_latency)
		record_latency(block, command, outcome->duration_ns);
}

void
command_stats_record_rejected(struct command_stats *stats, const struct command *command)
{
	struct thread_block *block = own_block(stats);
	assert(command->index < stats->commands);
	if (block != NULL)
		add(&block->counters[command->index].rejected, 1);
}

/* ---- reading ---- */

static struct lookups
sum_lookups(struct command_stats *stats)
{
	struct lookups sum = {0};
	for (struct thread_block *b = __atomic_load_n(&stats->blocks, __ATOMIC_ACQUIRE); b != NULL;
	     b = b->next) {
		sum.misses += __atomic_load_n(&b->lookups.misses, __ATOMIC_RELAXED);
		sum.hits += __atomic_load_n(&b->lookups.hits, __ATOMIC_RELAXED);
	}
	return sum;
}

void
command_stats_lookups(struct command_stats *stats, uint64_t *ret_misses, uint64_t *ret_hits)
{
	mutex_lock(&stats->blocks_lock);
	struct lookups sum = sum_lookups(stats), base = stats->base_lookups;
	mutex_unlock(&stats->blocks_lock);
	*ret_misses = sum.misses - base.misses;
	*ret_hits = sum.hits - base.hits;
}

static struct counters
sum_counters(struct command_stats *stats, unsigned index)
{
	struct counters sum = {0};
	for (struct thread_block *b = __atomic_load_n(&stats->blocks, __ATOMIC_ACQUIRE); b != NULL;
	     b = b->next) {
		const struct counters *c = &b->counters[index];
		sum.calls += __atomic_load_n(&c->calls, __ATOMIC_RELAXED);
		sum.nanoseconds += __atomic_load_n(&c->nanoseconds, __ATOMIC_RELAXED);
		sum.rejected += __atomic_load_n(&c->rejected, __ATOMIC_RELAXED);
		sum.failed += __atomic_load_n(&c->failed, __ATOMIC_RELAXED);
	}
	return sum;
}

/* Whether there was anything to add to `sum`. */
static bool
add_latencies(struct command_stats *stats, unsigned index, struct histogram *sum)
{
	bool found = false;
	for (struct thread_block *b = __atomic_load_n(&stats->blocks, __ATOMIC_ACQUIRE); b != NULL;
	     b = b->next) {
		const struct histogram *h = __atomic_load_n(&b->histograms[index], __ATOMIC_ACQUIRE);
		for (unsigned i = 0; h != NULL && i < HISTOGRAM_BUCKETS; i++)
			sum->counts[i] += __atomic_load_n(&h->counts[i], __ATOMIC_RELAXED);
		found = found || h != NULL;
	}
	return found;
}

static bool
sum_latencies(struct command_stats *stats, unsigned index, struct histogram *ret)
{
	memset(ret, 0, sizeof *ret);
	return add_latencies(stats, index, ret);
}

void
command_stats_all_latencies(struct command_stats *stats, struct histogram *ret)
{
	memset(ret, 0, sizeof *ret);
	for (unsigned i = 0; i < stats->commands; i++)
		(void)add_latencies(stats, i, ret); /* a command that was not called adds nothing */
}

void
command_stats_get(struct command_stats *stats, unsigned index, struct command_figures *ret)
{
	assert(index < stats->commands);
	mutex_lock(&stats->blocks_lock);
	struct counters sum = sum_counters(stats, index), base = stats->base[index];
	mutex_unlock(&stats->blocks_lock);
	*ret = (struct command_figures){.calls = sum.calls - base.calls,
					.microseconds = (sum.nanoseconds - base.nanoseconds) / 1000,
					.rejected = sum.rejected - base.rejected,
					.failed = sum.failed - base.failed};
}

bool
command_stats_latency(struct command_stats *stats, unsigned index, struct histogram *ret)
{
	assert(index < stats->commands);
	mutex_lock(&stats->blocks_lock);
	bool any = sum_latencies(stats, index, ret);
	const struct histogram *base = stats->base_histograms[index];
	if (any && base != NULL) {
		any = false;
		for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
			ret->counts[i] -= base->counts[i];
			any = any || ret->counts[i] > 0;
		}
	}
	mutex_unlock(&stats->blocks_lock);
	return any;
}

/* Out of memory: the histogram goes on with what it had. */
static void
reset_latency(struct command_stats *stats, unsigned index)
{
	struct histogram *sum = malloc(sizeof *sum);
	if (sum != NULL && sum_latencies(stats, index, sum)) {
		free(stats->base_histograms[index]);
		stats->base_histograms[index] = sum;
	} else {
		free(sum);
	}
}

/* ---- errors ---- */

/* To a counter that all threads write. */
static void
add_shared(uint64_t *counter, uint64_t amount)
{
	__atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
}

static struct error_code *
find_code(struct command_stats *stats, struct bytes code)
{
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < count; i++)
		if (strlen(stats->codes[i].code) == code.size &&
		    memcmp(stats->codes[i].code, code.data, code.size) == 0)
			return &stats->codes[i];
	return NULL;
}

/* NULL when the table is full. */
static struct error_code *
add_code(struct command_stats *stats, struct bytes code)
{
	mutex_lock(&stats->codes_lock);
	struct error_code *found = find_code(stats, code);
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_RELAXED);
	if (found == NULL && count < CODES_MAX) {
		found = &stats->codes[count];
		memcpy(found->code, code.data, code.size);
		__atomic_store_n(&stats->code_count, count + 1, __ATOMIC_RELEASE);
	}
	mutex_unlock(&stats->codes_lock);
	return found;
}

void
command_stats_record_error(struct command_stats *stats, struct bytes text)
{
	size_t size = 0;
	while (size < text.size && text.data[size] != ' ' && text.data[size] != '\r')
		size++;
	struct bytes code = bytes_of(text.data, size);
	if (size == 0 || size >= CODE_SIZE_MAX)
		code = BYTES_LITERAL("ERR");
	add_shared(&stats->total_errors, 1);
	struct error_code *found = find_code(stats, code);
	if (found == NULL)
		found = add_code(stats, code);
	if (found != NULL)
		add_shared(&found->count, 1);
}

uint64_t
command_stats_total_errors(struct command_stats *stats)
{
	return __atomic_load_n(&stats->total_errors, __ATOMIC_RELAXED);
}

void
command_stats_each_error(struct command_stats *stats,
			 void (*each)(void *arg, const char *code, uint64_t count), void *arg)
{
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < count; i++) {
		uint64_t errors = __atomic_load_n(&stats->codes[i].count, __ATOMIC_RELAXED);
		if (errors > 0)
			each(arg, stats->codes[i].code, errors);
	}
}

/* A total that was reset meanwhile gives 0. */
static uint64_t
rate(uint64_t before, uint64_t now, uint64_t elapsed_ns)
{
	return now > before ? (uint64_t)((double)(now - before) * 1e9 / (double)elapsed_ns) : 0;
}

void
command_stats_rates(struct command_stats *stats, uint64_t monotonic_ns, const struct command_rates *totals,
		    struct command_rates *ret)
{
	static const uint64_t interval_ns = 100000000;
	mutex_lock(&stats->rates_lock);
	uint64_t elapsed = monotonic_ns - stats->sampled_ns;
	if (stats->sampled_ns == 0 || elapsed >= interval_ns) {
		const struct command_rates *before = &stats->sample;
		if (stats->sampled_ns != 0)
			stats->rates =
				(struct command_rates){rate(before->commands, totals->commands, elapsed),
						       rate(before->bytes_in, totals->bytes_in, elapsed),
						       rate(before->bytes_out, totals->bytes_out, elapsed)};
		stats->sample = *totals;
		stats->sampled_ns = monotonic_ns;
	}
	*ret = stats->rates;
	mutex_unlock(&stats->rates_lock);
}

void
command_stats_reset(struct command_stats *stats)
{
	mutex_lock(&stats->blocks_lock);
	for (unsigned i = 0; i < stats->commands; i++) {
		stats->base[i] = sum_counters(stats, i);
		reset_latency(stats, i);
	}
	stats->base_lookups = sum_lookups(stats);
	mutex_unlock(&stats->blocks_lock);
	__atomic_store_n(&stats->total_errors, 0, __ATOMIC_RELAXED);
	/* Codes stay, with nothing counted: readers hold no lock. */
	unsigned count = __atomic_load_n(&stats->code_count, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < count; i++)
		__atomic_store_n(&stats->codes[i].count, 0, __ATOMIC_RELAXED);
}
