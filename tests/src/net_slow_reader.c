/* Clients that write without reading: they go on writing, memory stays bounded, and limits close them. */
#include "net_support.h"

enum { REPLIES_SIZE = 8 << 20 }; /* more than a throttled connection and its socket hold */

static char *
filler(size_t size)
{
	char *data = malloc(size);
	cr_assert_not_null(data);
	memset(data, 'x', size);
	return data;
}

/* The shown figures of the only client. */
struct figures {
	uint64_t input, output;
};

static int
take_figures(void *arg, struct client *client)
{
	struct figures *f = arg;
	uint64_t input = __atomic_load_n(&client->query_buffer_bytes, __ATOMIC_RELAXED);
	if (input >= f->input) {
		f->input = input;
		f->output = __atomic_load_n(&client->output_bytes, __ATOMIC_RELAXED);
	}
	return 0;
}

Test(net_slow_reader, a_pipeline_is_written_as_a_whole_before_its_replies_are_read, .timeout = 300)
{
	enum { COUNT = 200000, ARGUMENT = 92 };
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	char text[ARGUMENT + 16], *rest = filler(ARGUMENT);
	struct buffer out = {0};
	for (int i = 0; i < COUNT; i++) {
		int size = snprintf(text, sizeof(text), "ECHO %08d%.*s\r\n", i, ARGUMENT, rest);
		cr_assert_eq(buffer_append(&out, text, (size_t)size), 0);
	}
	put_bytes(fd, out.data, out.size);
	cr_assert_lt(load(&w->executed), COUNT, "all was executed though nothing was read");
	for (int i = 0; i < COUNT; i++) {
		snprintf(text, sizeof(text), "$100\r\n%08d", i);
		expect(fd, text);
		char got[ARGUMENT + 2];
		get_bytes(fd, got, sizeof(got));
		cr_assert(memcmp(got, rest, ARGUMENT) == 0 && got[ARGUMENT] == '\r');
	}
	ping(fd);
	buffer_free(&out);
	free(rest);
	close(fd);
	world_destroy(w);
}

/* What waits holds every kind of argument, cut anywhere, and the end of the input. */
Test(net_slow_reader, what_waits_is_run_like_any_input, .timeout = 300)
{
	enum { LARGE = 3 << 20, MEDIUM = 300000 };
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	char text[128], *data = filler(LARGE), *reply = malloc(REPLIES_SIZE);
	cr_assert_not_null(reply);
	for (int round = 0; round < 3; round++) {
		snprintf(text, sizeof(text), "BIG %d\r\n*2\r\n$5\r\nSTORE\r\n$%d\r\n", REPLIES_SIZE, LARGE);
		put(fd, text);
		put_bytes(fd, data, LARGE);
		snprintf(text, sizeof(text), "\r\nPING\r\n*2\r\n$4\r\nSIZE\r\n$%d\r\n", MEDIUM);
		put(fd, text);
		put_bytes(fd, data, MEDIUM);
		put(fd, "\r\nPOOL x\r\nCOMMIT\r\n");
	}
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	for (int round = 0; round < 3; round++) {
		snprintf(text, sizeof(text), "$%d\r\n", REPLIES_SIZE);
		expect(fd, text);
		get_bytes(fd, reply, REPLIES_SIZE);
		snprintf(text, sizeof(text), "\r\n*1\r\n-body %d %d, shown 128 %d\r\n+PONG\r\n-%d %d\r\n",
			 LARGE, LARGE * 'x', 128 * 'x', MEDIUM, MEDIUM * 'x');
		expect(fd, text);
		snprintf(text, sizeof(text), "$1\r\nx\r\n:%d\r\n", round + 1);
		expect(fd, text);
	}
	expect_closed(fd);
	free(data);
	free(reply);
	close(fd);
	world_destroy(w);
}

/* Sends until the socket takes no more although the server had its turn. */
static size_t
send_until_full(int fd, int other, const char *data, size_t size)
{
	size_t sent = 0;
	for (int full = 0; full < 3 && sent < size;) {
		ssize_t n = send(fd, data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		cr_assert(n > 0 || errno == EAGAIN, "send: %s", strerror(errno));
		full = n > 0 ? 0 : full + 1;
		let_tick_pass(other);
	}
	return sent;
}

static void
expect_bounded(struct world *w, uint64_t bound)
{
	enum { COUNT = 2000000 };
	int fd = dial(w), other = dial(w);
	size_t size = COUNT * (sizeof("PING\r\n") - 1);
	char *requests = malloc(size), text[32];
	cr_assert_not_null(requests);
	for (size_t i = 0; i < COUNT; i++)
		memcpy(requests + 6 * i, "PING\r\n", 6);
	snprintf(text, sizeof(text), "BIG %d\r\n", REPLIES_SIZE);
	put(fd, text);
	size_t sent = send_until_full(fd, other, requests, size);
	cr_assert_lt(sent, size, "nothing bounds what is received");
	struct figures figures = {0};
	net_each_client(w->net, take_figures, &figures);
	cr_assert(figures.input >= bound && figures.input < bound + (128 << 10), "%llu bytes wait",
		  (unsigned long long)figures.input);
	/* It is no dead end: what was sent is run as its replies are read, and the rest can follow. */
	char *replies = malloc(REPLIES_SIZE + 64);
	cr_assert_not_null(replies);
	snprintf(text, sizeof(text), "$%d\r\n", REPLIES_SIZE);
	expect(fd, text);
	get_bytes(fd, replies, REPLIES_SIZE);
	expect(fd, "\r\n");
	size_t answered = 0, missing = sizeof("+PONG\r\n") - 1;
	while (answered < COUNT) {
		ssize_t n = send(fd, requests + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		ssize_t got = recv(fd, replies, REPLIES_SIZE, 0);
		cr_assert(got > 0, "recv: %s", got == 0 ? "closed" : strerror(errno));
		for (ssize_t i = 0; i < got; i++) {
			cr_assert_eq(replies[i], "+PONG\r\n"[7 - missing]);
			missing = missing > 1 ? missing - 1 : 7;
			answered += missing == 7;
		}
	}
	free(replies);
	free(requests);
	close(fd);
	close(other);
	world_destroy(w);
}

Test(net_slow_reader, the_query_buffer_limit_bounds_what_waits, .timeout = 300)
{
	struct world *w = world_create();
	w->config.client_query_buffer_limit = 1 << 20;
	world_start(w);
	expect_bounded(w, 1 << 20);
}

/* ---- who reads nothing ---- */

static uint64_t
wall(void *ahead)
{
	return clock_wall_ms(sett_system_clock()) + load(ahead) / 1000000;
}

static uint64_t
monotonic(void *ahead)
{
	return clock_monotonic_ns(sett_system_clock()) + load(ahead);
}

/* Time goes on by so many seconds; before and after it the cron has time to look. */
static void
let_pass(uint64_t *ahead, uint64_t seconds)
{
	enum { CRON_MS = 300 };
	(void)poll(NULL, 0, CRON_MS);
	store(ahead, load(ahead) + seconds * 1000000000);
	(void)poll(NULL, 0, CRON_MS);
}

/* It is closed once nothing of it has moved for a minute, and not before. */
Test(net_slow_reader, who_writes_to_the_limit_and_reads_nothing_is_closed, .timeout = 300)
{
	enum { SIZE = 16 << 20, SOME = 2 << 20 };
	uint64_t ahead = 0;
	struct sett_clock clock = {.wall_ms = wall, .monotonic_ns = monotonic, .arg = &ahead};
	struct world *w = world_create();
	w->clock = &clock;
	w->config.client_query_buffer_limit = 1 << 20;
	world_start(w);
	int fd = dial(w), other = dial(w);
	char *requests = filler(SIZE), *replies = malloc(SOME), text[32];
	cr_assert_not_null(replies);
	snprintf(text, sizeof(text), "BIG %d\r\n", REPLIES_SIZE);
	put(fd, text);
	put(fd, "ECHO "); /* whose argument does not end */
	cr_assert_lt(send_until_full(fd, other, requests, SIZE), SIZE);
	let_pass(&ahead, 50);
	cr_assert_eq(load(&w->closed_clients), 0);
	snprintf(text, sizeof(text), "$%d\r\n", REPLIES_SIZE);
	expect(fd, text);
	get_bytes(fd, replies, SOME);
	let_pass(&ahead, 50);
	let_pass(&ahead, 5);
	cr_assert_eq(load(&w->closed_clients), 0);
	let_pass(&ahead, 60);
	wait_for(&w->closed_clients, 1);
	cr_assert(world_logged(w, "Closing client that reached max query buffer length: id=1 addr="));
	ping(other);
	free(replies);
	free(requests);
	close(fd);
	close(other);
	world_destroy(w);
}

/* ---- client-output-buffer-limit ---- */

static const char scheduled[] = " scheduled to be closed ASAP for overcoming of output buffer limits.";

Test(net_slow_reader, the_hard_limit_closes_at_once)
{
	struct world *w = world_create();
	w->config.output_limits[CONFIG_CLIENT_NORMAL].hard = 1 << 20;
	w->config.output_limits[CONFIG_CLIENT_PUBSUB].hard = 1; /* of another class */
	world_start(w);
	int fd = dial(w);
	put(fd, "BIG 1000000\r\n"); /* a little less, with what does not count */
	char *data = malloc(1000000);
	cr_assert_not_null(data);
	expect(fd, "$1000000\r\n");
	get_bytes(fd, data, 1000000);
	expect(fd, "\r\n");
	ping(fd);
	cr_assert_eq(load(&w->closed_clients), 0);
	put(fd, "BIG 1100000\r\nPING\r\n");
	expect_closed(fd);
	wait_for(&w->closed_clients, 1);
	cr_assert(world_logged(w, "Client id=1 addr=") && world_logged(w, scheduled));
	cr_assert_eq(load(&w->executed), 3, "what follows was executed");
	free(data);
	close(fd);
	world_destroy(w);
}

/* A limit beyond the bytes at which a connection is throttled by itself is reached, too. */
Test(net_slow_reader, a_large_hard_limit_closes_who_reads_nothing, .timeout = 300)
{
	struct world *w = world_create();
	w->config.output_limits[CONFIG_CLIENT_NORMAL].hard = 32 << 20;
	world_start(w);
	int fd = dial(w);
	struct buffer out = {0};
	for (int i = 0; i < 64; i++)
		cr_assert_eq(buffer_append(&out, "BIG 1000000\r\n", 13), 0);
	put_bytes(fd, out.data, out.size);
	wait_for(&w->closed_clients, 1);
	cr_assert(world_logged(w, scheduled));
	cr_assert_gt(load(&w->executed), 30);
	cr_assert_lt(load(&w->executed), 40);
	buffer_free(&out);
	close(fd);
	world_destroy(w);
}

Test(net_slow_reader, the_soft_limit_closes_after_its_seconds, .timeout = 300)
{
	struct world *w = world_create();
	w->config.output_limits[CONFIG_CLIENT_NORMAL].soft = 1 << 20;
	w->config.output_limits[CONFIG_CLIENT_NORMAL].soft_seconds = 3;
	world_start(w);
	int fd = dial(w), reader = dial(w);
	uint64_t begin = clock_monotonic_ns(sett_system_clock());
	put(reader, "BIG 3000000\r\n");
	char *data = malloc(3000000);
	cr_assert_not_null(data);
	expect(reader, "$3000000\r\n");
	get_bytes(reader, data, 3000000);
	expect(reader, "\r\n");
	put(fd, "BIG 3000000\r\n");
	wait_for(&w->closed_clients, 1);
	cr_assert_gt(clock_monotonic_ns(sett_system_clock()) - begin, 3000000000);
	cr_assert(world_logged(w, "Client id=1 addr="));
	cr_assert(world_logged(w, " closed for overcoming of output buffer limits."));
	ping(reader);
	free(data);
	close(fd);
	close(reader);
	world_destroy(w);
}
