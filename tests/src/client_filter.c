/* Options of CLIENT LIST and CLIENT KILL that Redis 7.0 does not have, as Redis 7.4 and Valkey 9 document them: which of
 * four clients each means. Those that it has are compared with it (redis-tests/scripts/client.txt). */
#include "cmd/client_filter.h"
#include "server_support.h"

enum { CLIENTS = 4 }; /* of the fixture's */

static void
set_up(struct fixture *f)
{
	static const struct {
		const char *address, *name;
		uint64_t age, idle;
		unsigned db, tracking;
	} rows[CLIENTS] = {{"127.0.0.1:1000", "", 100, 50, 0, 0},
			   {"127.0.0.1:1001", "worker", 10, 10, 1, TRACKING_ON},
			   {"[::1]:1000", "worker", 5, 0, 0, TRACKING_ON | TRACKING_BROADCAST},
			   {"/tmp/s:0", "", 0, 0, 3, 0}};
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &f->clients[i];
		snprintf(c->address, CLIENT_ADDRESS_SIZE, "%s", rows[i].address);
		cr_assert_eq(buffer_append(&c->name, rows[i].name, strlen(rows[i].name)), SETT_OK);
		c->created_ms = f->now_ms - rows[i].age * 1000;
		c->last_active_ms = f->now_ms - rows[i].idle * 1000;
		c->db = rows[i].db;
		c->tracking = rows[i].tracking;
	}
	f->clients[3].unix_socket = true;
}

/* `expected`: the numbers of the clients that are meant by client 1, or the error. */
static void
expect_meant(struct fixture *f, const char *line, const char *expected)
{
	struct bytes argv[FIXTURE_ARGUMENTS];
	struct client_filter filter = {0};
	struct arena arena;
	char meant[CLIENTS + 1] = "", *end = meant;
	size_t argc = 0;
	for (const char *at = line; *at != 0; at += strspn(at, " ")) {
		argv[argc++] = bytes_of(at, strcspn(at, " "));
		at += argv[argc - 1].size;
	}
	arena_init(&arena, 4096);
	resp_truncate(&f->reply, 0);
	struct command_context c = {.server = &f->server,
				    .client = &f->clients[0],
				    .argc = argc,
				    .argv = argv,
				    .reply = &f->reply,
				    .arena = &arena};
	int status = client_filter_parse(&c, 0, "ERR Invalid client ID", &filter);
	for (int i = 0; i < CLIENTS && status == SETT_OK; i++)
		if (client_filter_means(&filter, &f->clients[i]))
			*end++ = (char)('1' + i);
	if (status == OUTCOME_FAILED)
		cr_assert(f->reply.size == strlen(expected) + 2 &&
				  memcmp(f->reply.data, expected, strlen(expected)) == 0,
			  "%s: %.*s", line, (int)f->reply.size, (const char *)f->reply.data);
	else
		cr_assert_str_eq(meant, expected, "%s: %s, not %s", line, meant, expected);
	arena_free(&arena);
}

Test(client_filter, who_is_meant)
{
	static const struct {
		const char *line, *expected;
	} rows[] = {
		{"", "1234"},
		{"ID 1 3 9", "13"},
		{"ID 1 ID 2 DB 1", "2"},
		{"ID 1 x", "-ERR syntax error"},
		{"ID x", "-ERR Invalid client ID"},
		{"NOT-ID 1 3", "24"},
		{"MAXAGE 5", "123"},
		{"MAXAGE 101", ""},
		{"MAXAGE 0", "-ERR maxage should be greater than 0"},
		{"MAXAGE x", "-ERR maxage is not an integer or out of range"},
		{"IDLE 10", "12"},
		{"IDLE -1", "-ERR idle should be greater than 0"},
		{"NAME worker", "23"},
		{"NOT-NAME worker", "14"},
		{"IP 127.0.0.1", "12"},
		{"NOT-IP 127.0.0.1", "34"},
		{"IP [::1]", "3"},
		{"ADDR 127.0.0.1:1000", "1"},
		{"NOT-ADDR 127.0.0.1:1000", "234"},
		{"DB 0", "13"},
		{"NOT-DB 0", "24"},
		{"DB 16", "-ERR DB index is out of range"},
		{"FLAGS t", "23"},
		{"FLAGS tB", "3"},
		{"NOT-FLAGS t", "14"},
		{"FLAGS N NOT-DB 3", "1"},
		{"FLAGS U", "4"},
		{"FLAGS q", "-ERR Unknown flags found in the provided filter: q"},
		{"TYPE normal NOT-TYPE pubsub", "1234"},
		{"NOT-TYPE normal", ""},
		{"NOT-TYPE bogus", "-ERR Unknown client type 'bogus'"},
		{"NOT-USER default", ""},
		{"USER default SKIPME yes", "234"},
		{"NOT-SKIPME yes", "-ERR syntax error"},
		{"NOT-MAXAGE 1", "-ERR syntax error"},
		{"NAME", "-ERR syntax error"},
		{"not-id 1 skipme NO name worker idle 1", "2"},
	};
	struct fixture *f = fixture_open();
	set_up(f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_meant(f, rows[i].line, rows[i].expected);
	for (int i = 0; i < CLIENTS; i++) {
		f->clients[i].tracking = 0;
		buffer_free(&f->clients[i].name);
	}
	fixture_close(f);
}
