/* Requests that wait for something to happen: a wait ends once, and its connection lives until then. */
#include "net_support.h"

static void
serve(struct world *w)
{
	w->wait.end = WAIT_SERVED;
	net_wait_has_news(w->wait.client);
}

static uint64_t
blocked(struct world *w)
{
	struct net_stats stats;
	net_stats(w->net, &stats);
	return stats.blocked_clients;
}

Test(net_blocked, another_thread_ends_a_wait_and_what_follows_it_runs, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "WAIT 0\r\nPING\r\n");
	wait_for(&w->wait.begun, 1);
	ping(other);
	cr_assert_eq(blocked(w), 1);
	serve(w);
	expect(fd, "+served\r\n+PONG\r\n");
	cr_assert_eq(blocked(w), 0);
	put(fd, "WAIT 0\r\n");
	wait_for(&w->wait.begun, 2);
	serve(w);
	expect(fd, "+served\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_blocked, time_ends_a_wait, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	uint64_t begin = clock_monotonic_ns(sett_system_clock());
	put(fd, "WAIT 20\r\nPING\r\n");
	expect(fd, "+timed out\r\n+PONG\r\n");
	cr_assert_geq(clock_monotonic_ns(sett_system_clock()) - begin, 20000000);
	close(fd);
	world_destroy(w);
}

/* News move the moment at which it is to be woken; the wait goes on, and its own end stays. */
Test(net_blocked, a_wait_is_woken_when_its_news_say, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	for (int ends = 0; ends < 2; ends++) {
		put(fd, ends ? "WAIT 2000\r\nPING\r\n" : "WAIT 0\r\nPING\r\n");
		wait_for(&w->wait.begun, 1 + (uint64_t)ends);
		for (uint64_t ms = 2; ms > 0; ms--) {
			uint64_t woken = load(&w->wait.woken), now = clock_monotonic_ns(sett_system_clock());
			__atomic_store_n(&w->wait.wake_ns, now + ms * 1000000, __ATOMIC_SEQ_CST);
			net_wait_has_news(w->wait.client);
			wait_for(&w->wait.woken, woken + 1);
			cr_assert_geq(clock_monotonic_ns(sett_system_clock()), now + ms * 1000000);
		}
		if (!ends)
			serve(w);
		expect(fd, ends ? "+timed out\r\n+PONG\r\n" : "+served\r\n+PONG\r\n");
	}
	close(fd);
	world_destroy(w);
}

/* The moment that it was armed for is not the end of a wait without one. */
Test(net_blocked, a_wait_without_an_end_does_not_end_at_a_moment_taken_back, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	put(fd, "WAIT 0\r\n");
	wait_for(&w->wait.begun, 1);
	uint64_t moment = clock_monotonic_ns(sett_system_clock()) + 30000000;
	__atomic_store_n(&w->wait.wake_ns, moment, __ATOMIC_SEQ_CST);
	net_wait_has_news(w->wait.client);
	while (load(&w->wait.wake_ns) != 0)
		ping(other);
	__atomic_store_n(&w->wait.wake_ns, UINT64_MAX, __ATOMIC_SEQ_CST);
	net_wait_has_news(w->wait.client);
	while (clock_monotonic_ns(sett_system_clock()) < moment + 1000000)
		ping(other);
	ping(other);
	cr_assert_eq(blocked(w), 1);
	serve(w);
	expect(fd, "+served\r\n");
	close(fd);
	close(other);
	world_destroy(w);
}

/* Its time comes while another thread serves it. */
Test(net_blocked, who_serves_is_waited_for, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	__atomic_store_n(&w->wait.served, true, __ATOMIC_SEQ_CST);
	put(fd, "WAIT 5\r\n");
	wait_for(&w->wait.asked, 1);
	serve(w);
	expect(fd, "+served\r\n");
	close(fd);
	world_destroy(w);
}

Test(net_blocked, a_client_that_leaves_waits_no_more, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	put(fd, "WAIT 0\r\n");
	wait_for(&w->wait.begun, 1);
	close(fd);
	wait_for(&w->closed_clients, 1);
	cr_assert_eq(w->wait.end, WAIT_CLOSED);
	/* One that closed its side before the wait began. */
	fd = dial(w);
	put(fd, "WAIT 0\r\n");
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	wait_for(&w->closed_clients, 2);
	close(fd);
	world_destroy(w);
}

/* What it sends meanwhile waits in its socket: the reactor is not woken for it again and again, and notices its end. */
Test(net_blocked, who_waits_may_send_on, .timeout = 300)
{
	enum { PINGS = 200 };
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	for (int i = 0; i < 2; i++) {
		put(fd, "WAIT 0\r\n");
		wait_for(&w->wait.begun, 1 + (uint64_t)i);
		put(fd, "ECHO x\r\n");
		ping(other);
		uint64_t before = load(&w->ticks);
		for (int p = 0; p < PINGS; p++)
			ping(other);
		cr_assert_leq(load(&w->ticks) - before, 4 * PINGS);
		if (i == 0) {
			serve(w);
			expect(fd, "+served\r\n$1\r\nx\r\n");
		}
	}
	close(fd);
	wait_for(&w->closed_clients, 1);
	cr_assert_eq(w->wait.end, WAIT_CLOSED);
	close(other);
	world_destroy(w);
}

Test(net_blocked, a_client_that_leaves_while_it_is_served_is_kept_until_then, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	__atomic_store_n(&w->wait.served, true, __ATOMIC_SEQ_CST);
	put(fd, "WAIT 0\r\n");
	wait_for(&w->wait.begun, 1);
	close(fd);
	wait_for(&w->wait.asked, 1);
	ping(other);
	cr_assert_eq(load(&w->closed_clients), 0);
	serve(w);
	wait_for(&w->closed_clients, 1);
	close(other);
	world_destroy(w);
}

Test(net_blocked, a_wait_that_begins_in_the_pool_may_be_over_before_it_is_back, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	for (int with_close = 0; with_close < 2; with_close++) {
		set_gate(w, true);
		put(fd, "WAITPOOL 0\r\n");
		wait_for(&w->wait.begun, 1 + (uint64_t)with_close);
		if (with_close)
			close(fd);
		serve(w);
		ping(other);
		set_gate(w, false);
		if (!with_close)
			expect(fd, "+served\r\n");
	}
	wait_for(&w->closed_clients, 1);
	close(other);
	world_destroy(w);
}

static void *
serve_late(void *arg)
{
	struct world *w = arg;
	wait_for(&w->wait.asked, 1); /* the reactor closes its connections */
	serve(w);
	return NULL;
}

Test(net_blocked, stopping_waits_for_who_serves, .timeout = 300)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	pthread_t thread;
	put(fd, "WAIT 0\r\n");
	wait_for(&w->wait.begun, 1);
	__atomic_store_n(&w->wait.served, true, __ATOMIC_SEQ_CST);
	cr_assert_eq(pthread_create(&thread, NULL, serve_late, w), 0);
	world_destroy(w);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	close(fd);
}
