/* Connections as a client meets them: pipelines, big arguments, slow readers, limits, kills, many at once. */
#include "net/arrivals.h"
#include "net_support.h"

Test(net, a_pipeline_split_at_every_byte_gives_the_same_replies)
{
	static const char requests[] = "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$5\r\na\r\nbc\r\nECHO "
				       "\"x y\"\r\n\r\n*2\r\n$4\r\nPOOL\r\n$1\r\np\r\nPING\r\n";
	static const char replies[] = "+PONG\r\n$5\r\na\r\nbc\r\n$3\r\nx y\r\n$1\r\np\r\n+PONG\r\n";
	struct world *w = world_create();
	world_start(w);
	int whole = dial(w), other = dial(w);
	put(whole, requests);
	expect(whole, replies);
	for (size_t cut = 1; cut < sizeof(requests) - 1; cut++) {
		int fd = dial(w);
		put_bytes(fd, requests, cut);
		ping(other); /* the first part was read alone */
		put_bytes(fd, requests + cut, sizeof(requests) - 1 - cut);
		expect(fd, replies);
		close(fd);
	}
	for (size_t i = 0; i < sizeof(requests) - 1; i++) {
		put_bytes(whole, requests + i, 1);
		ping(other);
	}
	expect(whole, replies);
	close(whole);
	close(other);
	world_destroy(w);
}

Test(net, thousands_of_pipelined_requests_are_all_answered_in_order)
{
	enum { COUNT = 10000 };
	struct world *w = world_create();
	w->config.io_threads = 2;
	world_start(w);
	int fd = dial(w);
	struct buffer out = {0};
	for (int i = 0; i < COUNT; i++) {
		char line[32];
		int n = snprintf(line, sizeof(line), "ECHO %05d\r\n", i);
		cr_assert_eq(buffer_append(&out, line, (size_t)n), 0);
	}
	put_bytes(fd, out.data, out.size);
	for (int i = 0; i < COUNT; i++) {
		char want[32];
		snprintf(want, sizeof(want), "$5\r\n%05d\r\n", i);
		expect(fd, want);
	}
	struct net_stats stats;
	net_stats(w->net, &stats);
	cr_assert_eq(stats.commands_processed, COUNT);
	cr_assert_eq(stats.bytes_in, out.size);
	cr_assert_eq(stats.connections, 1);
	net_reset_stats(w->net);
	net_stats(w->net, &stats);
	cr_assert_eq(stats.commands_processed, 0);
	cr_assert_eq(stats.connections, 1);
	buffer_free(&out);
	close(fd);
	world_destroy(w);
}

static void
check_big_argument(struct world *w, int fd, size_t size)
{
	uint8_t *data = malloc(size);
	cr_assert_not_null(data);
	uint64_t sum = 0;
	for (size_t i = 0; i < size; i++) {
		data[i] = (uint8_t)(i * 7 + i / 251);
		sum += data[i];
	}
	char text[96];
	snprintf(text, sizeof(text), "*2\r\n$4\r\nSIZE\r\n$%zu\r\n", size);
	put(fd, text);
	put_bytes(fd, data, size);
	put(fd, "\r\nPING\r\n");
	snprintf(text, sizeof(text), "-%zu %llu\r\n+PONG\r\n", size, (unsigned long long)sum);
	expect(fd, text);
	free(data);
}

Test(net, arguments_of_any_size_arrive_whole)
{
	static const size_t sizes[] = {0, 1, 16383, 16384, 20480, 32767, 32768, 65536, 1 << 20, 50000000};
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		check_big_argument(w, fd, sizes[i]);
	close(fd);
	world_destroy(w);
}

Test(net, a_slow_reader_gets_all_and_is_not_executed_ahead_of_its_reading)
{
	enum { COUNT = 64, SIZE = 1 << 20 };
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	for (int i = 0; i < COUNT; i++)
		put(fd, "BIG 1048576\r\nPING\r\n");
	let_tick_pass(other);
	let_tick_pass(other);
	cr_assert(load(&w->executed) < COUNT, "all was executed though nothing was read: no backpressure");
	uint8_t *data = malloc(SIZE);
	cr_assert_not_null(data);
	for (int i = 0; i < COUNT; i++) {
		expect(fd, "$1048576\r\n");
		get_bytes(fd, data, SIZE);
		cr_assert(data[0] == 'b' && data[SIZE - 1] == 'b');
		expect(fd, "\r\n+PONG\r\n");
	}
	free(data);
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net, a_thousand_connections_over_two_reactors)
{
	enum { COUNT = 1000 };
	struct world *w = world_create();
	w->config.io_threads = 2;
	world_start(w);
	static int fds[COUNT];
	for (int i = 0; i < COUNT; i++)
		fds[i] = dial(w);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < COUNT; i++)
			put(fds[i], i % 3 == 0 ? "COMMIT\r\nPING\r\n" : "READ 1\r\nPING\r\n");
		for (int i = 0; i < COUNT; i++) {
			char byte = 0;
			while (byte != '+')
				get_bytes(fds[i], &byte, 1);
			expect(fds[i], "PONG\r\n");
		}
	}
	struct net_stats stats;
	net_stats(w->net, &stats);
	cr_assert_eq(stats.connections, COUNT);
	cr_assert_eq(stats.connections_received, COUNT);
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	wait_for(&w->closed_clients, COUNT);
	world_destroy(w);
}

Test(net, more_than_maxclients_are_told_so_and_closed)
{
	struct world *w = world_create();
	w->config.max_clients = 2;
	world_start(w);
	int a = dial(w), b = dial(w);
	ping(a);
	ping(b);
	int c = dial(w);
	expect(c, "-ERR max number of clients reached\r\n");
	expect_closed(c);
	struct net_stats stats;
	net_stats(w->net, &stats);
	cr_assert_eq(stats.connections_rejected, 1);
	close(a);
	wait_for(&w->closed_clients, 1);
	ping(b); /* reap of that tick is over */
	int d = dial(w);
	ping(d);
	close(b);
	close(c);
	close(d);
	world_destroy(w);
}

Test(net, malformed_input_gets_its_error_behind_earlier_replies_and_a_close)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	put(fd, "PING\r\n*1\r\n!3\r\nPING\r\n");
	expect(fd, "+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n");
	expect_closed(fd);
	cr_assert(world_logged(w, "Protocol error"));
	close(fd);
	world_destroy(w);
}

Test(net, quit_is_answered_then_closed_and_what_follows_is_not_run)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	put(fd, "PING\r\nQUIT\r\nPING\r\n");
	expect(fd, "+PONG\r\n+OK\r\n");
	expect_closed(fd);
	cr_assert_eq(load(&w->executed), 2);
	close(fd);
	world_destroy(w);
}

Test(net, a_peer_that_closes_its_side_still_gets_its_replies)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	put(fd, "PING\r\nPOOL x\r\nPING\r\nECHO cut");
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	expect(fd, "+PONG\r\n$1\r\nx\r\n+PONG\r\n");
	expect_closed(fd);
	close(fd);
	wait_for(&w->closed_clients, 1);
	world_destroy(w);
}

static int
kill_if(void *arg, struct client *client)
{
	struct world *w = ((void **)arg)[0];
	if (client->id == *(uint64_t *)((void **)arg)[1])
		client_kill_locked(w->net, client);
	return 0;
}

static int
check_order(void *arg, struct client *client)
{
	uint64_t *last = arg;
	cr_assert(client->id > *last);
	*last = client->id;
	return 0;
}

Test(net, a_client_is_killed_from_another_thread_and_ids_are_in_order)
{
	struct world *w = world_create();
	w->config.io_threads = 2;
	world_start(w);
	int fds[5];
	for (int i = 0; i < 5; i++) {
		fds[i] = dial(w);
		ping(fds[i]);
	}
	uint64_t last = 0, victim = 3;
	net_each_client(w->net, check_order, &last);
	cr_assert_eq(last, 5);
	void *arg[] = {w, &victim};
	net_each_client(w->net, kill_if, arg);
	expect_closed(fds[2]);
	for (int i = 0; i < 5; i++) {
		if (i != 2)
			ping(fds[i]);
		close(fds[i]);
	}
	world_destroy(w);
}

static int
set_name(void *arg, struct client *client)
{
	*(struct client **)arg = client;
	return 0;
}

Test(net, names_change_under_the_registry)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	ping(fd);
	struct client *client = NULL;
	net_each_client(w->net, set_name, &client);
	cr_assert_not_null(client);
	cr_assert_eq(net_set_client_name(w->net, client, BYTES_LITERAL("anna")), 0);
	cr_assert(bytes_equal(buffer_bytes(&client->name), BYTES_LITERAL("anna")));
	cr_assert_eq(net_set_client_name(w->net, client, BYTES_LITERAL("")), 0);
	cr_assert_eq(client->name.size, 0);
	close(fd);
	world_destroy(w);
}

/* The peer waits for the close: no sleep. */
Test(net, idle_clients_are_closed_after_the_timeout)
{
	struct world *w = world_create();
	w->config.timeout_seconds = 1;
	world_start(w);
	int fd = dial(w);
	ping(fd);
	expect_closed(fd);
	cr_assert(world_logged(w, "Closing idle client"));
	close(fd);
	world_destroy(w);
}

/* ---- TCP ---- */

Test(net, protected_mode_lets_in_the_loopback_and_those_with_a_password)
{
	struct sockaddr_in inside = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000005)};
	struct sockaddr_in outside = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
	struct sockaddr_in6 inside6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in6 outside6 = {.sin6_family = AF_INET6, .sin6_addr.s6_addr = {0x20, 1}};
	cr_assert(!arrivals_protected_from((struct sockaddr *)&inside, true, false));
	cr_assert(arrivals_protected_from((struct sockaddr *)&outside, true, false));
	cr_assert(!arrivals_protected_from((struct sockaddr *)&outside, false, false));
	cr_assert(!arrivals_protected_from((struct sockaddr *)&outside, true, true));
	cr_assert(!arrivals_protected_from((struct sockaddr *)&inside6, true, false));
	cr_assert(arrivals_protected_from((struct sockaddr *)&outside6, true, false));
}

/* Listens on a free port of the loopback; the descriptor keeps it until it is closed. */
static int
free_port(int *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

Test(net, a_busy_port_is_reported_as_redis_words_it)
{
	struct world *w = world_create();
	char bind_text[] = "127.0.0.1";
	int busy = free_port(&w->config.port);
	w->config.bind = bind_text;
	struct net_options options = {
		.config = &w->config, .engine = &w->engine, .sink = {.write = world_log, .arg = w}};
	struct net *net = NULL;
	struct sett_error error = {0};
	cr_assert_neq(net_create(&options, &net, &error), SETT_OK);
	char want[160];
	snprintf(want, sizeof(want),
		 "Could not create server TCP listening socket 127.0.0.1:%d: bind: Address already in use\n"
		 "Failed listening on port %d (TCP), aborting.\n",
		 w->config.port, w->config.port);
	cr_assert(world_logged(w, want), "%s", w->log);
	cr_assert_null(net);
	close(busy);
	rmdir(w->directory);
	free(w);
}

Test(net, tcp_clients_are_served_and_shown_with_their_addresses)
{
	struct world *w = world_create();
	char bind_text[] = "127.0.0.1 -::1";
	close(free_port(&w->config.port));
	w->config.bind = bind_text;
	world_start(w);
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons((uint16_t)w->config.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ping(fd);
	struct client *client = NULL;
	net_each_client(w->net, set_name, &client);
	char want[64];
	snprintf(want, sizeof(want), "127.0.0.1:%d", w->config.port);
	cr_assert_str_eq(client->local_address, want);
	cr_assert(strncmp(client->address, "127.0.0.1:", 10) == 0);
	cr_assert(!client->unix_socket && client->authenticated && client->protocol == 2);
	close(fd);
	world_destroy(w);
}

/* The default user gets one. */
static void
ask_for_password(struct world *w)
{
	static const struct command_table no_commands;
	static const int closed;
	struct log_sink silent = {0};
	cr_assert_eq(acl_users_create(&no_commands, &closed, silent, &w->users), SETT_OK);
	struct acl_set *present = acl_set_hold(w->users), *set = acl_set_copy(present);
	acl_set_release(present);
	cr_assert_eq(acl_set_password(w->users, set, BYTES_LITERAL("secret")), SETT_OK);
	acl_publish(w->users, set);
}

Test(net, with_a_password_clients_start_unauthenticated_and_bounded)
{
	struct world *w = world_create();
	ask_for_password(w);
	world_start(w);
	int fd = dial(w);
	ping(fd);
	struct client *client = NULL;
	net_each_client(w->net, set_name, &client);
	cr_assert(!client->authenticated);
	put(fd, "*11\r\n");
	expect(fd, "-ERR Protocol error: unauthenticated multibulk length\r\n");
	expect_closed(fd);
	close(fd);
	world_destroy(w);
}

Test(net, without_the_password_nobody_piles_up_replies)
{
	struct world *w = world_create();
	ask_for_password(w);
	world_start(w);
	int fd = dial(w);
	enum { COUNT = 64 };
	char text[COUNT * 16] = "";
	for (int i = 0; i < COUNT; i++)
		memcpy(text + strlen(text), "BIG 1048576\r\n", sizeof("BIG 1048576\r\n"));
	put(fd, text); /* at once: the first replies may end the connection */
	wait_for(&w->closed_clients, 1);
	cr_assert(world_logged(w, "does not read its replies"));
	close(fd);
	world_destroy(w);
}

Test(net, a_query_beyond_the_limit_closes_the_client)
{
	struct world *w = world_create();
	w->config.client_query_buffer_limit = 1 << 20;
	world_start(w);
	int fd = dial(w);
	put(fd, "*100\r\n$2000000\r\n");
	char *data = calloc(1, 2000000);
	cr_assert_not_null(data);
	for (size_t sent = 0; sent < 2000000;) {
		ssize_t n = send(fd, data + sent, 2000000 - sent, MSG_NOSIGNAL);
		if (n < 0)
			break; /* closed while sending */
		sent += (size_t)n;
	}
	expect_closed(fd);
	cr_assert(world_logged(w, "max query buffer length"));
	free(data);
	close(fd);
	world_destroy(w);
}
