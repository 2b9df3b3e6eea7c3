/* The command table: each row as commands.toml makes it, and where rows say that keys and secrets are. */
#include <criterion/criterion.h>

#include "cmd/commands.h"
#include "table/command_docs.h"

enum { WORDS_MAX = 16 };

/* Splits a line at its spaces; the words borrow from it. */
static size_t
split(const char *line, struct bytes *ret)
{
	size_t count = 0;
	while (*line != '\0') {
		size_t size = strcspn(line, " ");
		cr_assert_lt(count, WORDS_MAX);
		ret[count++] = bytes_of(line, size);
		line += size + (line[size] == ' ');
	}
	return count;
}

static const struct command *
find(const char *line)
{
	struct bytes words[WORDS_MAX];
	return command_find(&sett_commands, words, split(line, words), NULL);
}

Test(command_table, every_row_is_complete_and_found)
{
	for (size_t i = 0; i < sett_commands.row_count; i++) {
		const struct command *row = &sett_commands.rows[i];
		const struct command_docs *docs = row->docs;
		cr_assert_eq(row->index, i);
		cr_assert((row->run != NULL) || (row->subcommand_count > 0), "%s", row->full_name);
		cr_assert(docs->summary[0] != '\0' && docs->since && docs->group && row->arity != 0, "%s",
			  row->full_name);
		cr_assert_eq(command_find_full_name(&sett_commands, bytes_of_string(row->full_name)), row,
			     "%s", row->full_name);
		cr_assert_eq(strchr(row->full_name, '|') == NULL, i < sett_commands.top_count);
		for (unsigned s = 0; s < row->subcommand_count; s++)
			cr_assert_eq(memcmp(row->subcommands[s].full_name, row->name, strlen(row->name)), 0);
	}
}

/* Commands without keys that may share a transaction all the same: they answer, or publish. */
static bool
wants_no_keys(const struct command *row)
{
	static const char *const names[] = {"echo", "ping", "publish", "spublish", "time"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(row->full_name, names[i]) == 0)
			return true;
	return false;
}

/* What I16 asks of a command that shares a transaction. */
Test(command_table, batchable_rows_work_on_keys_alone)
{
	const uint32_t never = COMMAND_LONG | COMMAND_RUNNER | COMMAND_ADMIN | COMMAND_BLOCKING |
		COMMAND_PUBSUB | COMMAND_NO_MULTI;
	for (size_t i = 0; i < sett_commands.row_count; i++) {
		const struct command *row = &sett_commands.rows[i];
		if ((row->flags & COMMAND_BATCHABLE) == 0)
			continue;
		/* A script calls no script, but shares a transaction until it asks for what is not of keys alone. */
		bool is_script = (row->categories & CATEGORY_SCRIPTING) != 0;
		uint32_t allowed = is_script ? COMMAND_NOSCRIPT : wants_no_keys(row) ? COMMAND_PUBSUB : 0;
		cr_assert_eq(row->flags & never & ~allowed, 0, "%s", row->full_name);
		cr_assert(row->key_spec_count > 0 || wants_no_keys(row), "%s", row->full_name);
	}
}

Test(command_table, names_are_found_in_any_case_and_whole)
{
	const struct command *container = NULL;
	struct bytes words[WORDS_MAX];
	cr_assert_str_eq(find("GeT")->full_name, "get");
	cr_assert_str_eq(find("CONFIG gEt x")->full_name, "config|get");
	cr_assert_str_eq(find("config")->full_name, "config");
	cr_assert_null(find("ge"));
	cr_assert_null(find("gett"));
	cr_assert_null(find("config|get"));
	cr_assert_null(find("get\x7f"));
	/* Every length about the eight bytes that are compared at once, and bytes that differ by the bit of case alone. */
	cr_assert_str_eq(find("ECHO")->full_name, "echo");
	cr_assert_str_eq(find("INCRBYFLOAT")->full_name, "incrbyfloat");
	cr_assert_str_eq(find("FLUSHALL")->full_name, "flushall");
	cr_assert_str_eq(find("expirEtimE")->full_name, "expiretime");
	cr_assert_null(find("incrbyfloa"));
	cr_assert_null(find("incrbyflobt"));
	cr_assert_null(find("flushallx"));
	cr_assert_null(find("client no\rEvict"));
	cr_assert_str_eq(find("client NO-EVICT")->full_name, "client|no-evict");
	cr_assert_null(command_find(&sett_commands, words, split("config nosuch", words), &container));
	cr_assert_str_eq(container->full_name, "config");
	struct bytes cut = bytes_of("get\0", 4);
	cr_assert_null(command_find(&sett_commands, &cut, 1, NULL));
	cr_assert_null(command_find(&sett_commands, &cut, 0, NULL));
	static const char *const unknown[] = {"",      "|", "get|", "get|get", "config|", "config|nosuch",
					      "nosuch"};
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		cr_assert_null(command_find_full_name(&sett_commands, bytes_of_string(unknown[i])));
}

/* ---- keys ---- */

/* The keys' positions, as "1 3"; "-" if the arguments make no sense. */
static void
assert_keys(const struct command *command, const char *line, const char *expected)
{
	struct bytes argv[WORDS_MAX];
	struct command_key keys[WORDS_MAX];
	char text[WORDS_MAX * 4] = "";
	size_t count = 0, argc = split(line, argv);
	if (command_key_positions(command, argv, argc, keys, &count) != SETT_OK) {
		cr_assert_str_eq("-", expected, "%s", line);
		return;
	}
	for (size_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%zu", i > 0 ? " " : "",
			 keys[i].position);
	cr_assert_str_eq(text, expected, "%s: %s", line, text);
}

Test(command_table, keys_of_rows)
{
	assert_keys(find("get"), "get k", "1");
	assert_keys(find("mset"), "mset a 1 b 2", "1 3");
	assert_keys(find("rename"), "rename a b", "1 2");
	assert_keys(find("object encoding"), "object encoding k", "2");
	assert_keys(find("ping"), "ping a", "");
	assert_keys(find("mget"), "mget", "-");
}

/* ZUNIONSTORE, EVAL, XREAD, SORT, MIGRATE, SPUBLISH: rows of kinds that the table will have. */
Test(command_table, keys_that_other_arguments_place)
{
	static const struct key_spec zunionstore[] = {
		{.begin = BEGIN_INDEX, .index = 1, .find = FIND_RANGE, .step = 1},
		{.begin = BEGIN_INDEX, .index = 2, .find = FIND_KEYNUM, .first = 1, .step = 1}};
	static const struct key_spec eval[] = {
		{.begin = BEGIN_INDEX, .index = 2, .find = FIND_KEYNUM, .first = 1, .step = 1}};
	static const struct key_spec xread[] = {{.begin = BEGIN_KEYWORD,
						 .keyword = "STREAMS",
						 .index = 1,
						 .find = FIND_RANGE,
						 .last = -1,
						 .step = 1,
						 .limit = 2}};
	static const struct key_spec sort[] = {
		{.begin = BEGIN_INDEX, .index = 1, .find = FIND_RANGE, .step = 1}, {.flags = KEY_OW}};
	static const struct key_spec migrate[] = {{.begin = BEGIN_KEYWORD,
						   .keyword = "KEYS",
						   .index = -2,
						   .find = FIND_RANGE,
						   .last = -1,
						   .step = 1}};
	static const struct key_spec incomplete[] = {
		{.begin = BEGIN_INDEX, .index = 1, .find = FIND_RANGE, .step = 1, .flags = KEY_INCOMPLETE}};
	static const struct key_spec channel[] = {
		{.begin = BEGIN_INDEX, .index = 1, .find = FIND_RANGE, .step = 1, .flags = KEY_NOT_KEY}};
	struct command command = {.key_specs = zunionstore, .key_spec_count = 2};
	assert_keys(&command, "zunionstore d 2 a b weights 1 2", "1 3 4");
	assert_keys(&command, "zunionstore d 3 a b", "-");
	assert_keys(&command, "zunionstore d x a b", "-");
	assert_keys(&command, "zunionstore d -1 a b", "-");
	assert_keys(&command, "zunionstore d 9223372036854775807 a", "-");
	command = (struct command){.key_specs = eval, .key_spec_count = 1};
	assert_keys(&command, "eval s 1 a b", "3");
	assert_keys(&command, "eval s 0 b", "-");
	assert_keys(&command, "eval s", "-");
	command.key_specs = xread;
	assert_keys(&command, "xread count 2 streams a b 0 0", "4 5");
	assert_keys(&command, "xread count 2 STREAMS a 0", "4");
	assert_keys(&command, "xread count 2 streams", "");
	assert_keys(&command, "xread count 2", "");
	command.key_specs = migrate;
	assert_keys(&command, "migrate h 1 x 0 9 KEYS a b", "7 8");
	assert_keys(&command, "migrate h 1 KEYS 0 9", "4 5");
	assert_keys(&command, "migrate KEYS 1 x 0 9", "");
	assert_keys(&command, "migrate h 1 x 0 KEYS", "");
	command.key_specs = incomplete;
	assert_keys(&command, "x a", "-");
	command.key_specs = channel;
	assert_keys(&command, "spublish c m", "");
	command = (struct command){.key_specs = sort, .key_spec_count = 2};
	assert_keys(&command, "sort k store d", "-");
}

Test(command_table, keys_of_values)
{
	cr_assert_eq(command_key_of_value(find("set"), 2), 1);
	cr_assert_eq(command_key_of_value(find("set"), 1), 0);
	cr_assert_eq(command_key_of_value(find("set"), 3), 0);
	cr_assert_eq(command_key_of_value(find("setex"), 3), 1);
	cr_assert_eq(command_key_of_value(find("mset"), 2), 1);
	cr_assert_eq(command_key_of_value(find("mset"), 3), 0);
	cr_assert_eq(command_key_of_value(find("mset"), 6), 5);
	cr_assert_eq(command_key_of_value(find("get"), 1), 0);
}

/* ---- secrets ---- */

/* The positions of the sensitive arguments, as "1 3". */
static void
assert_sensitive(const struct command *command, const char *line, const char *expected)
{
	struct bytes argv[WORDS_MAX];
	char text[WORDS_MAX * 4] = "";
	size_t argc = split(line, argv);
	for (size_t i = 0; i < argc; i++)
		if (command_argument_is_sensitive(command, argv, argc, i))
			snprintf(text + strlen(text), sizeof text - strlen(text), "%s%zu",
				 text[0] != '\0' ? " " : "", i);
	cr_assert_str_eq(text, expected, "%s: %s", line, text);
}

Test(command_table, sensitive_arguments)
{
	assert_sensitive(find("get"), "get auth k", "");
	assert_sensitive(find("auth"), "auth secret", "1");
	assert_sensitive(find("auth"), "auth user secret surplus", "1 2 3");
	assert_sensitive(find("hello"), "hello 3 setname me auth user secret", "5 6");
	assert_sensitive(find("hello"), "hello 3 AUTH user secret SETNAME me", "3 4");
	assert_sensitive(find("hello"), "hello 3", "");
	assert_sensitive(find("config set"), "config set maxmemory 1 RequirePass secret masterauth x", "5 7");
	assert_sensitive(find("config set"), "config set requirepass", "");
	static const struct sensitive_argument migrate[] = {
		{.kind = SENSITIVE_AFTER, .keyword = "AUTH", .first = 1, .count = 1},
		{.kind = SENSITIVE_AFTER, .keyword = "AUTH2", .first = 1, .count = 2}};
	struct command command = {.sensitive = migrate, .sensitive_count = 2};
	assert_sensitive(&command, "migrate h 1 k 0 9 AUTH secret KEYS a", "7");
	assert_sensitive(&command, "migrate h 1 k 0 9 AUTH2 user secret KEYS a", "7 8");
}
