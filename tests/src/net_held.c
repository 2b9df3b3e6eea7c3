/* When a reply may leave (I1), and what happens to a connection while its request is with the pool or paused.
 */
#include "net_support.h"

Test(net_held, under_always_replies_leave_in_order_and_only_when_durable)
{
	struct world *w = world_create();
	w->config.sync = CONFIG_SYNC_ALWAYS;
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "PING\r\nCOMMIT\r\nPING\r\nCOMMIT\r\nREAD 1\r\nCOMMIT\r\n");
	wait_for(&w->executed, 6);
	let_tick_pass(other);
	expect(fd, "+PONG\r\n");
	expect_nothing(fd);
	cr_assert_eq(load(&w->engine.written), 3);
	make_durable(w, 1);
	expect(fd, ":1\r\n+PONG\r\n");
	let_tick_pass(other);
	expect_nothing(fd);
	make_durable(w, 3);
	expect(fd, ":2\r\n:1\r\n:3\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_held, under_always_a_sync_begins_by_itself_and_few_for_many_commits)
{
	struct world *w = world_create();
	w->config.sync = CONFIG_SYNC_ALWAYS;
	world_start(w);
	int fd = dial(w);
	ping(fd);
	for (uint64_t i = 1; i <= 3; i++) { /* one commit, then silence */
		put(fd, "COMMIT\r\n");
		wait_for(&w->engine.syncs_begun, i);
		make_durable(w, i);
		char text[16];
		snprintf(text, sizeof(text), ":%d\r\n", (int)i);
		expect(fd, text);
	}
	uint64_t before = load(&w->engine.syncs_begun);
	struct buffer out = {0};
	for (int i = 0; i < 500; i++)
		cr_assert_eq(buffer_append(&out, "COMMIT\r\n", 8), 0);
	put_bytes(fd, out.data, out.size);
	wait_for(&w->engine.written, 503);
	wait_for(&w->engine.syncs_begun, before + 1);
	make_durable(w, 503);
	for (int i = 4; i <= 503; i++) {
		char text[16];
		snprintf(text, sizeof(text), ":%d\r\n", i);
		expect(fd, text);
	}
	cr_assert_leq(load(&w->engine.syncs_begun) - before, 20);
	buffer_free(&out);
	close(fd);
	world_destroy(w);
}

Test(net_held, under_always_what_somebody_else_wrote_is_synced_too)
{
	struct world *w = world_create();
	w->config.sync = CONFIG_SYNC_ALWAYS;
	world_start(w);
	store(&w->engine.newest, 8);
	store(&w->engine.written, 9); /* ahead of the commit: the reactor finds nothing to write */
	int fd = dial(w);
	put(fd, "COMMIT\r\n");
	wait_for(&w->engine.syncs_begun, 1);
	make_durable(w, 9);
	expect(fd, ":9\r\n");
	cr_assert_eq(load(&w->engine.writes), 0);
	close(fd);
	world_destroy(w);
}

Test(net_held, a_read_waits_for_what_it_saw)
{
	struct world *w = world_create();
	w->config.sync = CONFIG_SYNC_ALWAYS;
	world_start(w);
	int writer = dial(w), reader = dial(w), other = dial(w);
	put(writer, "COMMIT\r\n");
	wait_for(&w->executed, 1);
	put(reader, "READ 1\r\n");
	wait_for(&w->executed, 2);
	let_tick_pass(other);
	expect_nothing(reader);
	expect_nothing(writer);
	make_durable(w, 1);
	expect(reader, ":1\r\n");
	expect(writer, ":1\r\n");
	close(writer);
	close(reader);
	close(other);
	world_destroy(w);
}

Test(net_held, without_always_nothing_leaves_before_it_is_written)
{
	struct world *w = world_create();
	w->engine.hold_write = true;
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "COMMIT\r\n");
	wait_for(&w->executed, 1);
	let_tick_pass(other);
	expect_nothing(fd);
	store(&w->engine.written, 1);
	net_on_progress(w->net);
	expect(fd, ":1\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_held, one_write_serves_all_commits_of_a_tick)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	ping(fd);
	struct buffer out = {0};
	for (int i = 0; i < 500; i++)
		cr_assert_eq(buffer_append(&out, "COMMIT\r\n", 8), 0);
	put_bytes(fd, out.data, out.size);
	char text[16];
	for (int i = 1; i <= 500; i++) {
		snprintf(text, sizeof(text), ":%d\r\n", i);
		expect(fd, text);
	}
	cr_assert(load(&w->engine.writes) <= 20, "%llu writes for one pipeline",
		  (unsigned long long)load(&w->engine.writes));
	buffer_free(&out);
	close(fd);
	world_destroy(w);
}

Test(net_held, everysec_holds_new_writes_while_a_sync_is_late)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "COMMIT\r\n");
	expect(fd, ":1\r\n");
	store(&w->engine.lag_ns, 2500000000);
	put(fd, "READ 1\r\nCOMMIT\r\n");
	expect(fd, ":1\r\n");
	wait_for(&w->executed, 3);
	let_tick_pass(other);
	expect_nothing(fd);
	store(&w->engine.lag_ns, 0);
	make_durable(w, 2);
	expect(fd, ":2\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

/* A sync that is always behind by a few commits while the client never stops sending. */
Test(net_held, a_client_that_pipelines_without_end_gets_its_earlier_replies)
{
	enum { AHEAD = 300, ROUNDS = 3000 };
	struct world *w = world_create();
	w->config.sync = CONFIG_SYNC_ALWAYS;
	world_start(w);
	int fd = dial(w), other = dial(w);
	uint64_t got = 0;
	char text[32];
	for (uint64_t sent = 1; sent <= ROUNDS; sent++) {
		put(fd, "COMMIT\r\n");
		if (sent % 10 != 0 || sent <= AHEAD)
			continue;
		wait_for(&w->executed, sent);
		make_durable(w, sent - AHEAD);
		/* All but what may share a mark has to arrive, though nothing is ever quiet. */
		while (got + AHEAD + AHEAD / 4 < sent) {
			snprintf(text, sizeof(text), ":%llu\r\n", (unsigned long long)++got);
			expect(fd, text);
		}
		expect_nothing(other);
	}
	cr_assert(got >= ROUNDS - AHEAD - AHEAD / 4);
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_held, a_failed_log_closes_those_that_wait_for_it)
{
	struct world *w = world_create();
	w->engine.write_status = SETT_IO;
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "COMMIT\r\n");
	wait_for(&w->executed, 1);
	let_tick_pass(other);
	expect_nothing(fd);
	cr_assert(world_logged(w, "Writing the log"));
	__atomic_store_n(&w->engine.health, SETT_FAILED, __ATOMIC_SEQ_CST);
	expect_closed(fd);
	ping(other);
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_held, a_stop_syncs_and_answers_those_that_wait)
{
	struct world *w = world_create();
	w->config.sync = CONFIG_SYNC_ALWAYS;
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "COMMIT\r\nCOMMIT\r\n");
	wait_for(&w->executed, 2);
	let_tick_pass(other);
	expect_nothing(fd);
	world_destroy(w);
	expect(fd, ":1\r\n:2\r\n");
	expect_closed(fd);
	close(fd);
	close(other);
}

Test(net_held, the_policy_may_change_while_replies_are_held)
{
	struct world *w = world_create();
	w->config.sync = CONFIG_SYNC_ALWAYS;
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "COMMIT\r\n");
	wait_for(&w->executed, 1);
	let_tick_pass(other);
	expect_nothing(fd);
	__atomic_store_n(&w->config.sync, CONFIG_SYNC_NO, __ATOMIC_RELAXED);
	put(fd, "PING\r\n");
	expect(fd, ":1\r\n+PONG\r\n");
	__atomic_store_n(&w->config.sync, CONFIG_SYNC_ALWAYS, __ATOMIC_RELAXED);
	put(fd, "READ 1\r\n");
	wait_for(&w->executed, 3 + 2); /* with the two pings of the other */
	let_tick_pass(other);
	expect_nothing(fd);
	make_durable(w, 1);
	expect(fd, ":1\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

/* ---- the pool ---- */

Test(net_pool, order_is_kept_around_a_request_that_waits)
{
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "PING\r\nPOOL a\r\nECHO b\r\nPOOL c\r\nECHO d\r\n");
	expect(fd, "+PONG\r\n");
	wait_for(&w->pool_running, 1);
	let_tick_pass(other);
	expect_nothing(fd);
	put(fd, "ECHO e\r\n");
	let_tick_pass(other);
	expect_nothing(fd);
	set_gate(w, false);
	expect(fd, "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_pool, a_client_may_leave_while_its_request_is_in_the_pool)
{
	enum { COUNT = 20 };
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int other = dial(w);
	ping(other);
	int fds[COUNT];
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], "POOL abcdefgh\r\nPING\r\n");
	}
	wait_for(&w->pool_running, 4);
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	let_tick_pass(other);
	cr_assert_eq(load(&w->closed_clients), 0, "freed while the pool has it");
	set_gate(w, false);
	wait_for(&w->closed_clients, COUNT);
	ping(other);
	close(other);
	world_destroy(w);
}

static int
kill_all_but_first(void *arg, struct client *client)
{
	struct world *w = arg;
	if (client->id > 1)
		client_kill_locked(w->net, client);
	return 0;
}

Test(net_pool, a_client_killed_in_the_pool_is_closed_at_once_and_freed_later)
{
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int other = dial(w);
	ping(other);
	int fd = dial(w);
	put(fd, "POOL x\r\n");
	wait_for(&w->pool_running, 1);
	net_each_client(w->net, kill_all_but_first, w);
	expect_closed(fd);
	let_tick_pass(other);
	cr_assert_eq(load(&w->closed_clients), 0);
	set_gate(w, false);
	wait_for(&w->closed_clients, 1);
	close(fd);
	close(other);
	world_destroy(w);
}

/* Half of these clients go by themselves; the first of all stays. */
static void
leave_or_be_killed(struct world *w, const int *fds, int count)
{
	for (int i = 0; i < count / 2; i++)
		close(fds[i]);
	net_each_client(w->net, kill_all_but_first, w);
	for (int i = count / 2; i < count; i++) {
		expect_closed(fds[i]);
		close(fds[i]);
	}
}

/* Two may wait in the pool, where these are held while the gate is shut; the rest are tried again on the
 * reactor. */
static void
hold_two(struct world *w, int held[2])
{
	for (int i = 0; i < 2; i++) {
		held[i] = dial(w);
		put(held[i], "COLD 1 1\r\n");
	}
	wait_for(&w->pool_running, 2);
}

static void
release_two(const int held[2])
{
	for (int i = 0; i < 2; i++) {
		expect(held[i], "+pool\r\n");
		close(held[i]);
	}
}

Test(net_cold, requests_that_missed_are_tried_again_without_a_thread)
{
	enum { COUNT = 20 };
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int held[2], fds[COUNT];
	hold_two(w, held);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], "PING\r\nCOLD 3 2\r\nPING\r\nCOLD 0 0\r\n");
	}
	for (int i = 0; i < COUNT; i++)
		expect(fds[i], "+PONG\r\n+reactor\r\n+PONG\r\n+reactor\r\n");
	set_gate(w, false);
	release_two(held);
	for (int i = 0; i < COUNT; i++) {
		put(fds[i], "COLD 2 1\r\n"); /* one at a time: in the pool */
		expect(fds[i], "+pool\r\n");
		close(fds[i]);
	}
	world_destroy(w);
}

Test(net_cold, what_reads_many_things_does_so_in_the_pool)
{
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int held[2], fd = dial(w);
	hold_two(w, held);
	put(fd, "COLD 4 1\r\n");
	expect(fd, "+reactor\r\n");
	put(fd, "COLD 100000 1\r\nCOLD 4 1\r\n");
	wait_for(&w->pool_running, 3);
	set_gate(w, false);
	expect(fd, "+pool\r\n");
	release_two(held);
	close(fd);
	world_destroy(w);
}

Test(net_cold, what_does_not_come_is_waited_for_in_the_pool)
{
	enum { COUNT = 20 };
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int held[2], fds[COUNT];
	hold_two(w, held);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], "COLD 1000000 1000000\r\nPING\r\n");
	}
	wait_for(&w->pool_running, 3); /* all short threads of four */
	set_gate(w, false);
	for (int i = 0; i < COUNT; i++) {
		expect(fds[i], "+pool\r\n+PONG\r\n");
		close(fds[i]);
	}
	release_two(held);
	world_destroy(w);
}

Test(net_cold, clients_may_leave_or_be_killed_while_they_wait)
{
	enum { COUNT = 20 };
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int other = dial(w);
	ping(other);
	int held[2], fds[COUNT];
	hold_two(w, held);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], "COLD 1000000000 1000\r\n");
	}
	let_tick_pass(other);
	leave_or_be_killed(w, fds, COUNT);
	set_gate(w, false); /* some had gone on to the pool */
	wait_for(&w->closed_clients, COUNT + 2);
	ping(other);
	close(held[0]);
	close(held[1]);
	close(other);
	world_destroy(w);
}

Test(net_slowed, the_next_request_waits_and_the_reply_does_not)
{
	enum { COUNT = 20 };
	struct world *w = world_create();
	world_start(w);
	int fds[COUNT];
	uint64_t begin = clock_monotonic_ns(sett_system_clock());
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], "PING\r\nSLOW 20\r\nSLOW 10\r\nPING\r\n");
	}
	for (int i = 0; i < COUNT; i++) {
		expect(fds[i], "+PONG\r\n+OK\r\n+OK\r\n+PONG\r\n");
		cr_assert_geq(clock_monotonic_ns(sett_system_clock()) - begin, 30u * 1000 * 1000);
		close(fds[i]);
	}
	int fd = dial(w);
	put(fd, "SLOW 100000000\r\nPING\r\n");
	expect(fd, "+OK\r\n");
	close(fd);
	world_destroy(w);
}

Test(net_slowed, clients_may_leave_or_be_killed_while_they_wait)
{
	enum { COUNT = 10 };
	struct world *w = world_create();
	world_start(w);
	int fds[COUNT], other = dial(w);
	ping(other);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], "SLOW 100000000\r\n");
		expect(fds[i], "+OK\r\n");
	}
	leave_or_be_killed(w, fds, COUNT);
	wait_for(&w->closed_clients, COUNT);
	int last = dial(w);
	put(last, "SLOW 100000000\r\nPING\r\n");
	expect(last, "+OK\r\n");
	world_destroy(w); /* with one that waits */
	close(last);
	close(other);
}

/* Others go on meanwhile, and so do its own later requests once it has come. */
Test(net_turn, requests_wait_for_their_turn_on_the_reactor)
{
	struct world *w = world_create();
	world_start(w);
	int first = dial(w), second = dial(w), other = dial(w);
	put(first, "PING\r\nTURN\r\nECHO a\r\n");
	put(second, "TURN\r\n");
	expect(first, "+PONG\r\n");
	ping(other);
	store(&w->turn_is_free, 1);
	net_turn_came(w->net, 0);
	expect(first, "+OK\r\n$1\r\na\r\n");
	expect(second, "+OK\r\n");
	close(first);
	close(second);
	close(other);
	world_destroy(w);
}

/* It is called again in a moment, and told when it is overdue. */
Test(net_turn, who_is_not_told_of_his_turn_goes_on_in_the_end)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	put(fd, "TURN\r\nTURN\r\nPING\r\n");
	expect(fd, "+OK\r\n+OK\r\n+PONG\r\n");
	put(fd, "TURN\r\n");
	store(&w->turn_is_free, 1);
	expect(fd, "+OK\r\n");
	close(fd);
	world_destroy(w);
}

Test(net_turn, clients_may_leave_or_be_killed_while_they_wait)
{
	enum { COUNT = 10 };
	struct world *w = world_create();
	world_start(w);
	int fds[COUNT], other = dial(w);
	store(&w->turn_never_comes, 1);
	ping(other);
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], "TURN\r\n");
	}
	let_tick_pass(other);
	leave_or_be_killed(w, fds, COUNT);
	wait_for(&w->closed_clients, COUNT);
	int last = dial(w);
	put(last, "TURN\r\n");
	let_tick_pass(other);
	world_destroy(w); /* with one that waits */
	close(last);
	close(other);
}

Test(net_cold, a_server_may_stop_while_requests_wait)
{
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int fds[8];
	for (int i = 0; i < 8; i++) {
		fds[i] = dial(w);
		put(fds[i], "COLD 1000000000 1000\r\n");
	}
	wait_for(&w->pool_running, 2);
	set_gate(w, false);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	world_destroy(w);
}

static void
fill_the_long_lane(const char *request)
{
	enum { COUNT = 12 };
	struct world *w = world_create();
	set_gate(w, true);
	world_start(w);
	int fds[COUNT];
	for (int i = 0; i < COUNT; i++) {
		fds[i] = dial(w);
		put(fds[i], request);
	}
	wait_for(&w->pool_running, 1);
	/* One of four threads is the long lane's: the others are still there. The gate is shut, so short
	 * requests cannot end, but they begin. */
	int fd = dial(w), second = dial(w), third = dial(w);
	put(fd, "POOL a\r\n");
	put(second, "POOL b\r\n");
	put(third, "POOL c\r\n");
	wait_for(&w->pool_running, 4);
	cr_assert_eq(load(&w->long_begun), 1);
	struct net_stats stats;
	net_stats(w->net, &stats);
	cr_assert_leq(stats.pool_queue, COUNT - 1);
	set_gate(w, false);
	expect(fd, "$1\r\na\r\n");
	for (int i = 0; i < COUNT; i++) {
		expect(fds[i], "$1\r\nx\r\n");
		close(fds[i]);
	}
	close(fd);
	close(second);
	close(third);
	world_destroy(w);
}

Test(net_pool, long_requests_do_not_hold_up_short_ones)
{
	fill_the_long_lane("LONG x\r\n");
}

Test(net_pool, what_turns_out_to_be_long_in_the_pool_leaves_the_short_lane)
{
	fill_the_long_lane("GROWN x\r\n");
}

static void
count_run(void *arg, void *thread)
{
	__atomic_add_fetch((uint64_t *)arg, 1, __ATOMIC_SEQ_CST);
}

Test(net_pool, other_rooms_run_their_jobs_there)
{
	struct world *w = world_create();
	world_start(w);
	uint64_t runs = 0;
	for (int i = 0; i < 100; i++)
		cr_assert_eq(net_run_in_pool(w->net, count_run, &runs), SETT_OK);
	wait_for(&runs, 100);
	world_destroy(w);
}

Test(net_pool, stopping_with_requests_in_the_pool_ends)
{
	struct world *w = world_create();
	w->config.io_threads = 2;
	world_start(w);
	int fds[30];
	for (int i = 0; i < 30; i++) {
		fds[i] = dial(w);
		for (int k = 0; k < 50; k++)
			put(fds[i], "POOL x\r\nCOMMIT\r\n");
	}
	wait_for(&w->executed, 100);
	world_destroy(w);
	for (int i = 0; i < 30; i++)
		close(fds[i]);
}

/* ---- pauses ---- */

Test(net_pause, a_paused_request_runs_after_the_pause_and_keeps_its_place)
{
	struct world *w = world_create();
	store(&w->paused, 1);
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "PING\r\nPAUSABLE\r\nPING\r\n");
	expect(fd, "+PONG\r\n");
	let_tick_pass(other);
	expect_nothing(fd);
	struct net_stats stats;
	net_stats(w->net, &stats);
	cr_assert_eq(stats.paused_clients, 1);
	store(&w->paused, 0);
	net_resume_paused(w->net);
	expect(fd, "+OK\r\n+PONG\r\n");
	let_tick_pass(other);
	net_stats(w->net, &stats);
	cr_assert_eq(stats.paused_clients, 0);
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_pause, a_pause_that_ends_by_its_time_needs_no_call)
{
	struct world *w = world_create();
	store(&w->paused, 1);
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "PAUSABLE\r\n");
	let_tick_pass(other);
	expect_nothing(fd);
	store(&w->paused, 0);
	expect(fd, "+OK\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_pause, a_paused_client_may_leave)
{
	struct world *w = world_create();
	store(&w->paused, 1);
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "PAUSABLE\r\n");
	let_tick_pass(other);
	close(fd);
	wait_for(&w->closed_clients, 1);
	ping(other);
	struct net_stats stats;
	net_stats(w->net, &stats);
	cr_assert_eq(stats.paused_clients, 0);
	close(other);
	world_destroy(w);
}
