/* Counters of commands and error codes. */
#include <criterion/criterion.h>

#include "info/command_stats.h"
#include "storage/base/thread.h"
#include "txn/command.h"

enum { THREADS = 4, ROUNDS = 1000 };

static const struct command get = {.name = "get", .full_name = "get", .index = 3};

static void *
count_up(void *arg)
{
	struct command_stats *stats = arg;
	for (int i = 0; i < ROUNDS; i++) {
		struct command_outcome outcome = {.duration_ns = i % 100 == 0 ? 900000 : 1500,
						  .misses = 2,
						  .hits = (unsigned)i % 2,
						  .failed = i % 10 == 0,
						  .tracks_latency = true};
		command_stats_record(stats, &get, &outcome);
		command_stats_record_rejected(stats, &get);
		command_stats_record_error(stats,
					   i % 2 ? BYTES_LITERAL("WRONGTYPE Operation")
						 : BYTES_LITERAL("ERR no such key"));
	}
	return NULL;
}

static void
keep_code(void *arg, const char *code, uint64_t count)
{
	uint64_t *counts = arg;
	if (strcmp(code, "ERR") == 0)
		counts[0] = count;
	else if (strcmp(code, "WRONGTYPE") == 0)
		counts[1] = count;
	else
		counts[2] += count;
}

Test(command_stats, threads_add_up)
{
	struct command_stats *stats;
	pthread_t threads[THREADS];
	cr_assert_eq(command_stats_create(5, &stats), SETT_OK);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(thread_start(&threads[i], "count", count_up, stats), SETT_OK);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	struct command_figures figures;
	command_stats_get(stats, get.index, &figures);
	cr_assert_eq(figures.calls, THREADS * ROUNDS);
	cr_assert_eq(figures.rejected, THREADS * ROUNDS);
	cr_assert_eq(figures.failed, THREADS * ROUNDS / 10);
	cr_assert_eq(figures.microseconds, THREADS * ROUNDS / 100 * (900000 + 99 * 1500) / 1000);
	uint64_t counts[3] = {0};
	command_stats_each_error(stats, keep_code, counts);
	cr_assert_eq(counts[0], THREADS * ROUNDS / 2);
	cr_assert_eq(counts[1], THREADS * ROUNDS / 2);
	cr_assert_eq(counts[2], 0);
	cr_assert_eq(command_stats_total_errors(stats), THREADS * ROUNDS);
	uint64_t misses, hits;
	command_stats_lookups(stats, &misses, &hits);
	cr_assert_eq(misses, THREADS * ROUNDS * 2);
	cr_assert_eq(hits, THREADS * ROUNDS / 2);
	struct histogram latency;
	cr_assert(command_stats_latency(stats, get.index, &latency));
	cr_assert_eq(latency.counts[histogram_bucket(1500)], THREADS * ROUNDS * 99 / 100);
	cr_assert_eq(latency.counts[histogram_bucket(900000)], THREADS * ROUNDS / 100);
	cr_assert_not(command_stats_latency(stats, 0, &latency));
	/* A reset hides what was, and what follows counts from 0; twice, so that both kinds of base are used. */
	for (int round = 0; round < 2; round++) {
		command_stats_reset(stats);
		command_stats_get(stats, get.index, &figures);
		cr_assert_eq(figures.calls, 0);
		command_stats_lookups(stats, &misses, &hits);
		cr_assert_eq(misses + hits, 0);
		cr_assert_not(command_stats_latency(stats, get.index, &latency));
		struct command_outcome outcome = {.duration_ns = 2000, .tracks_latency = true};
		command_stats_record(stats, &get, &outcome);
		command_stats_get(stats, get.index, &figures);
		cr_assert_eq(figures.calls, 1);
		cr_assert_eq(figures.microseconds, 2);
		cr_assert_eq(figures.failed, 0);
		cr_assert(command_stats_latency(stats, get.index, &latency));
		cr_assert_eq(histogram_percentile(&latency, 100),
			     histogram_bucket_top(histogram_bucket(2000)));
		command_stats_reset(stats);
	}
	cr_assert_eq(command_stats_total_errors(stats), 0);
	command_stats_destroy(stats);
}

Test(command_stats, any_number_of_codes)
{
	struct command_stats *stats;
	cr_assert_eq(command_stats_create(1, &stats), SETT_OK);
	for (int i = 0; i < 1000; i++) {
		char text[100];
		snprintf(text, sizeof text, "CODE%d text", i);
		command_stats_record_error(stats, bytes_of_string(text));
	}
	command_stats_record_error(stats, (struct bytes){0});
	cr_assert_eq(command_stats_total_errors(stats), 1001);
	command_stats_destroy(stats);
}

Test(command_stats, rates)
{
	struct command_stats *stats;
	struct command_rates totals = {100, 0, 0}, rates;
	cr_assert_eq(command_stats_create(1, &stats), SETT_OK);
	command_stats_rates(stats, 1000000000, &totals, &rates);
	cr_assert_eq(rates.commands, 0);
	totals.commands = 300;
	command_stats_rates(stats, 3000000000, &totals, &rates);
	cr_assert_eq(rates.commands, 100);
	totals.commands = 0;
	command_stats_rates(stats, 4000000000, &totals, &rates);
	cr_assert_eq(rates.commands, 0, "totals were reset");
	command_stats_destroy(stats);
}
