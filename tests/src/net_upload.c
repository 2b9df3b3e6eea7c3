/* Large arguments, which are stored as they come. */
#include "net_support.h"

enum { PIECE = 256 * 1024, MIB = 1024 * 1024, SHOWN = ARGUMENT_BODY_SHOWN };

static uint8_t *
make_data(size_t size)
{
	uint8_t *data = malloc(size);
	cr_assert_not_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 131 + i / 255 + size);
	return data;
}

static uint64_t
sum_of(const uint8_t *data, size_t size)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < size; i++)
		sum += data[i];
	return sum;
}

static void
expect_body(int fd, const uint8_t *data, size_t size)
{
	char text[128];
	snprintf(text, sizeof(text), "-body %zu %llu, shown %d %llu\r\n", size,
		 (unsigned long long)sum_of(data, size), SHOWN, (unsigned long long)sum_of(data, SHOWN));
	expect(fd, text);
}

static void
expect_bytes(int fd, const uint8_t *data, size_t size)
{
	char text[128];
	snprintf(text, sizeof(text), "-%zu %llu\r\n", size, (unsigned long long)sum_of(data, size));
	expect(fd, text);
}

static void
put_header(int fd, size_t size)
{
	char text[32];
	snprintf(text, sizeof(text), "$%zu\r\n", size);
	put(fd, text);
}

Test(net_upload, bodies_of_any_size_arrive_whole)
{
	static const size_t sizes[] = {MIB - 1,       MIB,           MIB + 1,     5 * PIECE,
				       5 * PIECE - 1, 5 * PIECE + 1, 9 * MIB + 77};
	struct world *w = world_create();
	world_start(w);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		/* A connection's buffer may have grown so that one read takes a whole argument, which then is no body. */
		int fd = dial(w);
		uint8_t *data = make_data(sizes[i]);
		put(fd, "PING\r\n*4\r\n$5\r\nSTORE\r\n$3\r\nkey\r\n");
		put_header(fd, sizes[i]);
		put_bytes(fd, data, sizes[i]);
		put(fd, "\r\n$5\r\nafter\r\nPING\r\n");
		expect(fd, "+PONG\r\n*3\r\n");
		expect_bytes(fd, (const uint8_t *)"key", 3);
		if (sizes[i] < MIB)
			expect_bytes(fd, data, sizes[i]);
		else
			expect_body(fd, data, sizes[i]);
		expect_bytes(fd, (const uint8_t *)"after", 5);
		expect(fd, "+PONG\r\n");
		free(data);
		close(fd);
	}
	cr_assert_eq(load(&w->engine.body_opened), sizeof(sizes) / sizeof(sizes[0]) - 1);
	world_destroy(w);
}

/* Cut anywhere about its beginning and its end. */
Test(net_upload, a_request_cut_anywhere_is_the_same)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	size_t size = MIB + 10, head_size, whole;
	uint8_t *data = make_data(size), *request = malloc(size + 200);
	cr_assert_not_null(request);
	head_size = (size_t)snprintf((char *)request, 100, "*3\r\n$5\r\nSTORE\r\n$%zu\r\n", size);
	memcpy(request + head_size, data, size);
	whole = head_size + size +
		(size_t)snprintf((char *)request + head_size + size, 100, "\r\n$1\r\nx\r\nPING\r\n");
	for (size_t i = 0; i < 40; i++) {
		size_t cut = i < 20 ? head_size - 10 + i : head_size + size - 10 + (i - 20);
		put_bytes(fd, request, cut);
		let_tick_pass(other);
		put_bytes(fd, request + cut, whole - cut);
		expect(fd, "*2\r\n");
		expect_body(fd, data, size);
		expect_bytes(fd, (const uint8_t *)"x", 1);
		expect(fd, "+PONG\r\n");
	}
	free(request);
	free(data);
	close(fd);
	close(other);
	world_destroy(w);
}

/* Several in one request, and behind so many arguments that the input buffer is large. */
Test(net_upload, many_arguments_and_bodies)
{
	enum { SMALL = 100000, BODIES = 3 };
	struct world *w = world_create();
	char text[64];
	world_start(w);
	int fd = dial(w);
	size_t size = 3 * MIB + 5;
	uint8_t *data = make_data(size), *small = malloc(SMALL * 8);
	cr_assert_not_null(small);
	for (size_t i = 0; i < SMALL; i++)
		memcpy(small + i * 8, "$2\r\nab\r\n", 8);
	snprintf(text, sizeof(text), "*%d\r\n$5\r\nSTORE\r\n", 1 + SMALL + BODIES);
	put(fd, text);
	put_bytes(fd, small, SMALL * 8);
	for (int i = 0; i < BODIES; i++) {
		put_header(fd, size - (size_t)i);
		put_bytes(fd, data, size - (size_t)i);
		put(fd, "\r\n");
	}
	snprintf(text, sizeof(text), "*%d\r\n", SMALL + BODIES);
	expect(fd, text);
	for (int i = 0; i < SMALL; i++)
		expect_bytes(fd, (const uint8_t *)"ab", 2);
	for (int i = 0; i < BODIES; i++)
		expect_body(fd, data, size - (size_t)i);
	free(small);
	free(data);
	close(fd);
	world_destroy(w);
}

Test(net_upload, only_what_may_be_stored_is)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	size_t size = 2 * MIB;
	uint8_t *data = make_data(size);
	put(fd, "*2\r\n$4\r\nSIZE\r\n");
	put_header(fd, size);
	put_bytes(fd, data, size);
	put(fd, "\r\n");
	expect_bytes(fd, data, size);
	/* A name is no value. */
	put(fd, "*1\r\n");
	put_header(fd, size);
	put_bytes(fd, data, size);
	put(fd, "\r\n");
	expect(fd, "+OK\r\n");
	cr_assert_eq(load(&w->engine.body_opened), 0);
	free(data);
	close(fd);
	world_destroy(w);
}

/* The request is told, the rest of the argument is skipped, and the connection goes on. */
Test(net_upload, a_full_disk_is_an_error_of_that_request)
{
	static const uint64_t rooms[] = {0, PIECE, 3 * MIB - 1, UINT64_MAX};
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	size_t size = 3 * MIB;
	uint8_t *data = make_data(size);
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		store(&w->engine.body_room, rooms[i]);
		put(fd, "*3\r\n$5\r\nSTORE\r\n");
		for (int k = 0; k < 2; k++) {
			put_header(fd, size);
			put_bytes(fd, data, size);
			put(fd, "\r\n");
		}
		put(fd, "PING\r\n");
		expect(fd, "*2\r\n");
		for (int k = 0; k < 2; k++) {
			if (rooms[i] == UINT64_MAX)
				expect_body(fd, data, size);
			else
				expect(fd, "-no space left on the device\r\n");
		}
		expect(fd, "+PONG\r\n");
	}
	cr_assert(world_logged(w, "A value of 3145728 bytes cannot be stored (no room for a body)"));
	free(data);
	close(fd);
	world_destroy(w);
}

/* What will be refused is not kept meanwhile, and no disk hears of it. */
Test(net_upload, what_is_not_wanted_is_dropped)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w);
	size_t size = 5 * MIB + 1;
	uint8_t *data = make_data(size);
	for (int i = 0; i < 3; i++) {
		put(fd, "*3\r\n$4\r\nDROP\r\n");
		put_header(fd, size);
		put_bytes(fd, data, size);
		put(fd, "\r\n$1\r\nx\r\nPING\r\n");
		expect(fd, "+OK\r\n+PONG\r\n");
	}
	cr_assert_eq(load(&w->engine.body_opened), 0);
	cr_assert_not(world_logged(w, "cannot be stored"));
	free(data);
	close(fd);
	world_destroy(w);
}

static int
most_query_bytes(void *arg, struct client *client)
{
	uint64_t *most = arg, bytes = load(&client->query_buffer_bytes);
	*most = bytes > *most ? bytes : *most;
	return 0;
}

/* CLIENT LIST's qbuf: what of it is in memory. */
Test(net_upload, what_waits_to_be_stored_is_shown)
{
	struct world *w = world_create();
	world_start(w);
	int fd = dial(w), other = dial(w);
	size_t size = 2 * MIB, part = PIECE + 100000;
	uint8_t *data = make_data(size);
	uint64_t most = 0;
	put(fd, "*2\r\n$5\r\nSTORE\r\n$2097152\r\n");
	put_bytes(fd, data, part);
	for (int i = 0; i < 100000 && most < 100000; i++) {
		ping(other);
		most = 0;
		net_each_client(w->net, most_query_bytes, &most);
	}
	cr_assert(most >= 100000 && most < 2 * PIECE, "%llu bytes", (unsigned long long)most);
	put_bytes(fd, data + part, size - part);
	put(fd, "\r\n");
	expect(fd, "*1\r\n");
	expect_body(fd, data, size);
	free(data);
	close(fd);
	close(other);
	world_destroy(w);
}

/* world_destroy sees that no body is forgotten. */
Test(net_upload, clients_that_leave_and_a_server_that_stops_in_the_middle)
{
	struct world *w = world_create();
	world_start(w);
	size_t size = 4 * MIB;
	uint8_t *data = make_data(size);
	int open[4], other = dial(w);
	for (int i = 0; i < 32; i++) {
		int fd = dial(w);
		put(fd, "*3\r\n$5\r\nSTORE\r\n");
		for (int k = 0; k < i % 2; k++) {
			put_header(fd, size);
			put_bytes(fd, data, size);
			put(fd, "\r\n");
		}
		put_header(fd, size);
		put_bytes(fd, data, (size_t)i * PIECE / 4 + (size_t)i);
		if (i < 28)
			close(fd);
		else
			open[i - 28] = fd;
	}
	wait_for(&w->closed_clients, 28);
	let_tick_pass(other);
	world_destroy(w);
	for (int i = 0; i < 4; i++)
		close(open[i]);
	close(other);
	free(data);
}
