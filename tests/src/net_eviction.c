/* The buffers of all clients together: clients are throttled earlier, then the one with the most is closed. */
#include "net/net_private.h"
#include "net/reactor_private.h"
#include "net_support.h"

enum { MIB = 1 << 20 };

static const char evicting[] = "Evicting client: id=";

static char *
repeat(const char *request, size_t size)
{
	size_t length = strlen(request);
	char *data = malloc(size + length);
	cr_assert_not_null(data);
	for (size_t at = 0; at < size; at += length)
		memcpy(data + at, request, length);
	return data;
}

/* Sends until all is sent, or the socket takes no more although the server had its turn, or is closed. */
static void
send_what_it_takes(int fd, int other, const char *data, size_t size)
{
	size_t sent = 0;
	for (int full = 0; full < 3 && sent < size;) {
		ssize_t n = send(fd, data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return;
		sent += n > 0 ? (size_t)n : 0;
		full = n > 0 ? 0 : full + 1;
		let_tick_pass(other);
	}
}

static uint64_t
buffers(struct world *w)
{
	struct net_stats stats;
	net_stats(w->net, &stats);
	return stats.client_buffer_bytes;
}

Test(net_eviction, who_holds_the_most_is_closed, .timeout = 300)
{
	struct world *w = world_create();
	w->config.max_memory = 16 * MIB; /* of which the buffers have twelve */
	world_start(w);
	int small = dial(w), large = dial(w), other = dial(w);
	char *requests = repeat("PING\r\n", 64 * MIB);
	put(small, "BIG 1000000\r\n");
	put(large, "BIG 8000000\r\n");
	send_what_it_takes(large, other, requests, 64 * MIB);
	wait_for(&w->closed_clients, 1);
	cr_assert(world_logged(w, evicting) && world_logged(w, "Evicting client: id=2 "));
	cr_assert_lt(buffers(w), 12 * MIB);
	struct net_stats stats;
	net_stats(w->net, &stats);
	cr_assert_eq(stats.clients_evicted, 1);
	char *reply = malloc(1000000);
	cr_assert_not_null(reply);
	expect(small, "$1000000\r\n");
	get_bytes(small, reply, 1000000);
	free(reply);
	free(requests);
	close(small);
	close(large);
	close(other);
	world_destroy(w);
}

/* A request that is still arriving counts, too. */
Test(net_eviction, large_requests_that_arrive_are_bounded, .timeout = 300)
{
	enum { CLIENTS = 8, PART = 3 * MIB };
	struct world *w = world_create();
	w->config.max_memory = 16 * MIB;
	world_start(w);
	int fds[CLIENTS], other = dial(w);
	char *part = repeat("x", PART);
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = dial(w);
		put(fds[i], "*2\r\n$4\r\nECHO\r\n$4000000\r\n");
		send_what_it_takes(fds[i], other, part, PART);
		let_tick_pass(other);
		cr_assert_leq(buffers(w), 12 * MIB + 5 * MIB);
	}
	wait_for(&w->closed_clients, CLIENTS - 4);
	cr_assert(world_logged(w, evicting));
	for (int i = 0; i < CLIENTS; i++)
		close(fds[i]);
	free(part);
	close(other);
	world_destroy(w);
}

/* Many that do not read hold little each, and all of them get every reply when they read. */
Test(net_eviction, near_the_limit_replies_are_held_back_earlier, .timeout = 300)
{
	enum { CLIENTS = 40, COUNT = 3000, SIZE = 1000 };
	struct world *w = world_create();
	w->config.max_memory = 32 * MIB; /* with OUTPUT_HIGH for each they would hold 160 */
	world_start(w);
	int fds[CLIENTS], other = dial(w);
	char *requests = repeat("BIG 1000\r\n", COUNT * 10), *got = malloc(SIZE);
	cr_assert_not_null(got);
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = dial(w);
		send_what_it_takes(fds[i], other, requests, COUNT * 10);
		cr_assert_leq(buffers(w), 24 * MIB);
	}
	cr_assert_eq(load(&w->closed_clients), 0);
	for (int i = 0; i < CLIENTS; i++) {
		for (int n = 0; n < COUNT; n++) {
			expect(fds[i], "$1000\r\n");
			get_bytes(fds[i], got, SIZE);
			expect(fds[i], "\r\n");
		}
		close(fds[i]);
	}
	free(got);
	free(requests);
	close(other);
	world_destroy(w);
}

/* A limit that is lowered counts at once, and closes no more than need be, the largest first, whichever reactors have them. */
static void
check_lowered_limit(int reactors)
{
	enum { CLIENTS = 6, PART = 100000 };
	struct world *w = world_create();
	w->config.max_memory_clients = 16 * MIB;
	w->config.io_threads = reactors;
	world_start(w);
	net_pause_cron(w->net, true);
	int fds[CLIENTS], other = dial(w);
	char *part = repeat("x", CLIENTS * PART), text[64];
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = dial(w);
		snprintf(text, sizeof(text), "*2\r\n$4\r\nECHO\r\n$%d\r\n", (i + 1) * PART);
		put(fds[i], text);
		send_what_it_takes(fds[i], other, part, (size_t)i * PART + PART / 2);
	}
	/* 2,100,000 bytes in all; without the two largest 1,000,000. */
	while (buffers(w) < 21 * PART)
		let_tick_pass(other);
	cr_assert_eq(load(&w->closed_clients), 0);
	__atomic_store_n(&w->config.max_memory_clients, 12 * PART, __ATOMIC_RELAXED);
	net_check_clients_memory(w->net);
	wait_for(&w->closed_clients, 2);
	let_tick_pass(other);
	cr_assert_eq(load(&w->closed_clients), 2);
	cr_assert(world_logged(w, "Evicting client: id=6 ") && world_logged(w, "Evicting client: id=7 "));
	cr_assert_lt(buffers(w), 12 * PART);
	for (int i = 0; i < CLIENTS; i++)
		close(fds[i]);
	close(other);
	free(part);
	world_destroy(w);
}

Test(net_eviction, a_lowered_limit_closes_the_largest, .timeout = 300)
{
	check_lowered_limit(1);
	for (int i = 0; i < 10; i++)
		check_lowered_limit(2);
}

Test(net_eviction, maxmemory_clients_is_the_limit_and_no_evict_protects, .timeout = 300)
{
	struct world *w = world_create();
	w->config.max_memory_clients = 1 * MIB;
	world_start(w);
	int protected_one = dial(w), victim = dial(w), other = dial(w);
	put(protected_one, "PROTECT\r\nBIG 900000\r\n");
	put(victim, "BIG 400000\r\n");
	wait_for(&w->closed_clients, 1);
	cr_assert(world_logged(w, "Evicting client: id=2 "));
	char *reply = malloc(900000);
	cr_assert_not_null(reply);
	expect(protected_one, "+OK\r\n$900000\r\n");
	get_bytes(protected_one, reply, 900000);
	expect(protected_one, "\r\n");
	__atomic_store_n(&w->config.max_memory_clients, -1, __ATOMIC_RELAXED); /* of 1 GiB: 10 MiB */
	w->config.max_memory = 1024 * MIB;
	put(other, "BIG 900000\r\n");
	expect(other, "$900000\r\n");
	get_bytes(other, reply, 900000);
	expect(other, "\r\n");
	ping(other);
	free(reply);
	close(protected_one);
	close(victim);
	close(other);
	world_destroy(w);
}

static void
expect_body(int fd, size_t size)
{
	char text[80];
	snprintf(text, sizeof(text), "*1\r\n-body %zu %zu, shown 128 %d\r\n", size, size * 'x', 128 * 'x');
	expect(fd, text);
}

/* As in Redis; else it comes a piece at a time. */
Test(net_eviction, a_value_that_passes_maxmemory_clients_closes_its_client, .timeout = 300)
{
	enum { SIZE = 3000000 };
	struct world *w = world_create();
	w->config.max_memory_clients = SIZE;
	world_start(w);
	int protected_one = dial(w), victim = dial(w), other = dial(w);
	char *value = repeat("x", SIZE), text[64];
	put(victim, "*2\r\n$5\r\nSTORE\r\n$2000000\r\n");
	put_bytes(victim, value, 2000000);
	put(victim, "\r\n");
	expect_body(victim, 2000000);
	put(protected_one, "PROTECT\r\n");
	expect(protected_one, "+OK\r\n");
	snprintf(text, sizeof(text), "*2\r\n$5\r\nSTORE\r\n$%d\r\n", SIZE);
	put(protected_one, text);
	put_bytes(protected_one, value, SIZE);
	put(protected_one, "\r\n");
	cr_assert_eq(load(&w->closed_clients), 0);
	put(victim, text);
	send_what_it_takes(victim, other, value, SIZE);
	wait_for(&w->closed_clients, 1);
	cr_assert(world_logged(w, "Evicting client: id=2 "));
	expect_body(protected_one, SIZE);
	cr_assert_eq(load(&w->engine.body_opened), 2);
	free(value);
	close(protected_one);
	close(victim);
	close(other);
	world_destroy(w);
}

/* Another reactor would be woken for one that is published, and would find nothing to close. */
Test(net_eviction, who_may_not_be_closed_is_not_published, .timeout = 300)
{
	struct world *w = world_create();
	w->config.io_threads = 1;
	world_start(w);
	net_pause_cron(w->net, true);
	const uint64_t *largest = &w->net->reactors[0]->counters.largest_buffers;
	int protected_one = dial(w), other = dial(w);
	char *reply = malloc(900002);
	cr_assert_not_null(reply);
	put(protected_one, "PROTECT\r\n");
	expect(protected_one, "+OK\r\n");
	put(protected_one, "BIG 900000\r\n");
	expect(protected_one, "$900000\r\n");
	get_bytes(protected_one, reply, 900002);
	let_tick_pass(other);
	cr_assert_lt(load(largest), 900000);
	put(other, "BIG 900000\r\n");
	expect(other, "$900000\r\n");
	get_bytes(other, reply, 900002);
	let_tick_pass(protected_one);
	cr_assert_geq(load(largest), 900000);
	free(reply);
	close(protected_one);
	close(other);
	world_destroy(w);
}

static int
check_pool_request(void *arg, struct client *client)
{
	const struct pool_request *p = &client->connection->pool;
	if (client->id == 1) {
		++*(unsigned *)arg;
		cr_assert_lt(p->reply.capacity, 100000);
		cr_assert_lt(p->argument_capacity, 100000);
	}
	return 0;
}

/* What a request through the pool has taken counts nowhere, so none of it stays. */
Test(net_eviction, a_large_request_leaves_nothing_that_is_not_counted, .timeout = 300)
{
	enum { COUNT = 200000, SIZE = 900000 };
	struct world *w = world_create();
	world_start(w);
	net_pause_cron(w->net, true);
	int fd = dial(w);
	char *text = repeat("x", SIZE), *many = repeat("$1\r\nx\r\n", COUNT * 7), line[64];
	/* The second reply is taken in exchange for the buffer of the first. */
	for (int i = 0; i < 2; i++) {
		snprintf(line, sizeof(line), "*2\r\n$4\r\nPOOL\r\n$%d\r\n", SIZE);
		put(fd, line);
		put_bytes(fd, text, SIZE);
		put(fd, "\r\n");
		snprintf(line, sizeof(line), "$%d\r\n", SIZE);
		expect(fd, line);
		get_bytes(fd, text, SIZE);
		expect(fd, "\r\n");
	}
	snprintf(line, sizeof(line), "*%d\r\n$4\r\nPOOL\r\n", COUNT + 1);
	put(fd, line);
	put_bytes(fd, many, COUNT * 7);
	expect(fd, "$1\r\nx\r\n");
	unsigned seen = 0;
	net_each_client(w->net, check_pool_request, &seen);
	cr_assert_eq(seen, 1);
	free(many);
	free(text);
	close(fd);
	world_destroy(w);
}
