/* The latency monitor: what it keeps, and the graph of it. */
#include "server_support.h"

enum { MS = 1000000 };

Test(latency, keeps_the_longest_of_a_second_and_the_newest_seconds)
{
	struct latency_monitor *monitor;
	struct latency_history history;
	cr_assert_eq(latency_monitor_create(&monitor), SETT_OK);
	latency_monitor_get(monitor, LATENCY_COMMAND, &history);
	cr_assert_eq(history.count, 0);
	latency_monitor_record(monitor, LATENCY_COMMAND, 5000, 30ULL * MS);
	latency_monitor_record(monitor, LATENCY_COMMAND, 5900, 50ULL * MS);
	latency_monitor_record(monitor, LATENCY_COMMAND, 5999, 40ULL * MS);
	latency_monitor_record(monitor, LATENCY_FAST_COMMAND, 5999, 99ULL * MS);
	latency_monitor_get(monitor, LATENCY_COMMAND, &history);
	cr_assert_eq(history.count, 1);
	cr_assert_eq(history.samples[0].time_seconds, 5);
	cr_assert_eq(history.samples[0].milliseconds, 50);
	for (uint64_t second = 6; second < 6 + LATENCY_SAMPLES_MAX; second++)
		latency_monitor_record(monitor, LATENCY_COMMAND, second * 1000, second * MS);
	latency_monitor_get(monitor, LATENCY_COMMAND, &history);
	cr_assert_eq(history.count, LATENCY_SAMPLES_MAX);
	cr_assert_eq(history.samples[0].time_seconds, 6, "the oldest is gone");
	cr_assert_eq(history.samples[LATENCY_SAMPLES_MAX - 1].time_seconds, 5 + LATENCY_SAMPLES_MAX);
	cr_assert_eq(history.longest_ms, 5 + LATENCY_SAMPLES_MAX);
	latency_monitor_reset(monitor, LATENCY_COMMAND);
	latency_monitor_get(monitor, LATENCY_COMMAND, &history);
	cr_assert(history.count == 0 && history.longest_ms == 0);
	latency_monitor_get(monitor, LATENCY_FAST_COMMAND, &history);
	cr_assert_eq(history.samples[0].milliseconds, 99);
	latency_monitor_destroy(monitor);
}

Test(latency, threshold)
{
	struct config config = {.latency_monitor_threshold = 10};
	cr_assert(latency_monitor_wants(&config, 10ULL * MS));
	cr_assert_not(latency_monitor_wants(&config, 10ULL * MS - 1));
	config.latency_monitor_threshold = 0;
	cr_assert_not(latency_monitor_wants(&config, UINT64_MAX));
}

Test(latency, event_names)
{
	for (unsigned event = 0; event < LATENCY_EVENTS; event++)
		cr_assert_eq(latency_event_of(bytes_of_string(latency_event_name(event))), event);
	cr_assert_eq(latency_event_of(BYTES_LITERAL("comman")), LATENCY_EVENTS);
	cr_assert_eq(latency_event_of(BYTES_LITERAL("")), LATENCY_EVENTS);
}

Test(latency, work_beside_commands_is_recorded)
{
	static const enum latency_event events[] = {[WORK_EXPIRE] = LATENCY_EXPIRE_CYCLE,
						    [WORK_EVICT] = LATENCY_EVICTION_CYCLE,
						    [WORK_WRITE_LOG] = LATENCY_LOG_WRITE,
						    [WORK_SYNC_LOG] = LATENCY_LOG_SYNC};
	struct fixture *f = fixture_open();
	struct latency_history history;
	f->server.config->latency_monitor_threshold = 2;
	for (unsigned work = 0; work < sizeof(events) / sizeof(events[0]); work++) {
		server_took(&f->server, (enum server_work)work, 1999999);
		latency_monitor_get(f->server.latency_monitor, events[work], &history);
		cr_assert_eq(history.count, 0);
		server_took(&f->server, (enum server_work)work, 3000000);
		latency_monitor_get(f->server.latency_monitor, events[work], &history);
		cr_assert(history.count == 1 && history.samples[0].milliseconds == 3);
	}
	fixture_close(f);
}

/* As redis-server draws the same samples. */
Test(latency, graph)
{
	static const struct {
		uint64_t age, ms;
	} samples[] = {{7, 100}, {5, 300}, {4, 50}, {2, 501}, {1, 200}};
	struct fixture *f = fixture_open();
	uint64_t now = clock_wall_ms(&f->clock);
	for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
		latency_monitor_record(f->server.latency_monitor, LATENCY_COMMAND,
				       now - samples[i].age * 1000, samples[i].ms * MS);
	fixture_run_line(f, 0, "LATENCY GRAPH command");
	static const char expected[] =
		"command - high 501 ms, low 50 ms (all time high 501 ms)\n"
		"--------------------------------------------------------------------------------\n"
		"   # \n _ | \n | |_\no|_||\n     \n75421\nsssss\n";
	cr_assert(memmem(f->reply.data, f->reply.size, expected, sizeof expected - 1) != NULL, "%.*s",
		  (int)f->reply.size, (const char *)f->reply.data);
	fixture_close(f);
}
