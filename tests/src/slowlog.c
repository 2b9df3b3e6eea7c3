/* The slow log: threshold, order, bound, cut arguments. */
#include <criterion/criterion.h>

#include "info/slowlog.h"
#include "table/command_table.h"

struct seen {
	size_t count;
	uint64_t ids[8];
	char last[SLOWLOG_ARGUMENTS_MAX][256];
	size_t last_argc;
};

static void
look(void *arg, const struct slowlog_entry *entry)
{
	struct seen *seen = arg;
	if (seen->count < 8)
		seen->ids[seen->count] = entry->id;
	seen->count++;
	seen->last_argc = entry->argc;
	for (size_t i = 0; i < entry->argc; i++)
		snprintf(seen->last[i], sizeof seen->last[i], "%.*s", (int)entry->argv[i].size,
			 (const char *)entry->argv[i].data);
}

static void
record_command(struct slowlog *log, const struct command *command, size_t argc, const struct bytes *argv)
{
	slowlog_record(log,
		       &(struct slowlog_record){.duration_ns = 5000,
						.wall_ms = 7000,
						.command = command,
						.argc = argc,
						.argv = argv,
						.client_address = "127.0.0.1:1",
						.client_name = BYTES_LITERAL("me")});
}

static void
record(struct slowlog *log, size_t argc, const struct bytes *argv)
{
	static const struct command command = {.name = "ping"};
	record_command(log, &command, argc, argv);
}

Test(slowlog, threshold)
{
	struct config config = {.slowlog_slower_than = 10};
	cr_assert(slowlog_wants(&config, 10000));
	cr_assert_not(slowlog_wants(&config, 9999));
	config.slowlog_slower_than = 0;
	cr_assert(slowlog_wants(&config, 0));
	config.slowlog_slower_than = -1;
	cr_assert_not(slowlog_wants(&config, UINT64_MAX));
}

Test(slowlog, newest_first_and_bounded)
{
	struct config config = {.slowlog_max_len = 3};
	struct slowlog *log;
	struct bytes argv[] = {BYTES_LITERAL("ping")};
	cr_assert_eq(slowlog_create(&config, &log), SETT_OK);
	for (int i = 0; i < 5; i++)
		record(log, 1, argv);
	struct seen seen = {0};
	slowlog_each(log, SIZE_MAX, look, &seen);
	cr_assert_eq(seen.count, 3);
	cr_assert_eq(seen.ids[0], 4);
	cr_assert_eq(seen.ids[2], 2);
	cr_assert_eq(slowlog_length(log), 3);
	seen = (struct seen){0};
	slowlog_each(log, 1, look, &seen);
	cr_assert_eq(seen.count, 1);
	slowlog_reset(log);
	cr_assert_eq(slowlog_length(log), 0);
	record(log, 1, argv);
	slowlog_each(log, 1, look, &seen);
	cr_assert_eq(seen.ids[1], 5, "ids go on after a reset");
	config.slowlog_max_len = 0;
	record(log, 1, argv);
	cr_assert_eq(slowlog_length(log), 0);
	slowlog_destroy(log);
}

Test(slowlog, cuts_what_is_long)
{
	struct config config = {.slowlog_max_len = 3};
	struct slowlog *log;
	char text[200];
	struct bytes argv[40];
	memset(text, 'a', sizeof text);
	for (size_t i = 0; i < 40; i++)
		argv[i] = bytes_of(text, i == 1 ? 200 : i == 2 ? 128 : 1);
	cr_assert_eq(slowlog_create(&config, &log), SETT_OK);
	record(log, 40, argv);
	struct seen seen = {0};
	slowlog_each(log, 1, look, &seen);
	cr_assert_eq(seen.last_argc, 32);
	cr_assert_str_eq(seen.last[1] + 128, "... (72 more bytes)");
	cr_assert_eq(strlen(seen.last[2]), 128);
	cr_assert_str_eq(seen.last[31], "... (9 more arguments)");
	record(log, 32, argv);
	slowlog_each(log, 1, look, &seen);
	cr_assert_str_eq(seen.last[31], "a");
	slowlog_destroy(log);
}

static void
check_name(void *arg, const struct slowlog_entry *entry)
{
	++*(unsigned *)arg;
	cr_assert_eq(entry->client_name.size, 128 + 21);
	cr_assert(memcmp(entry->client_name.data + 128, "... (4872 more bytes)", 21) == 0);
}

/* The log outlives its clients. */
Test(slowlog, cuts_the_names_of_clients)
{
	struct config config = {.slowlog_max_len = 3};
	struct slowlog *log;
	char name[5000];
	static const struct command command = {.name = "ping"};
	struct bytes argv[] = {BYTES_LITERAL("ping")};
	unsigned count = 0;
	memset(name, 'n', sizeof name);
	cr_assert_eq(slowlog_create(&config, &log), SETT_OK);
	slowlog_record(log,
		       &(struct slowlog_record){.command = &command,
						.argc = 1,
						.argv = argv,
						.client_address = "127.0.0.1:1",
						.client_name = bytes_of(name, sizeof name)});
	slowlog_each(log, 1, check_name, &count);
	cr_assert_eq(count, 1);
	slowlog_destroy(log);
}

Test(slowlog, keeps_no_secrets)
{
	static const struct sensitive_argument sensitive = {
		.kind = SENSITIVE_AFTER, .keyword = "AUTH", .first = 1, .count = 1};
	static const struct command command = {.name = "x", .sensitive = &sensitive, .sensitive_count = 1};
	struct config config = {.slowlog_max_len = 3};
	struct slowlog *log;
	struct bytes argv[] = {BYTES_LITERAL("x"), BYTES_LITERAL("auth"), BYTES_LITERAL("secret"),
			       BYTES_LITERAL("shown")};
	cr_assert_eq(slowlog_create(&config, &log), SETT_OK);
	record_command(log, &command, 4, argv);
	struct seen seen = {0};
	slowlog_each(log, 1, look, &seen);
	cr_assert_eq(seen.last_argc, 4);
	cr_assert_str_eq(seen.last[1], "auth");
	cr_assert_str_eq(seen.last[2], "(redacted)");
	cr_assert_str_eq(seen.last[3], "shown");
	slowlog_destroy(log);
}
