/* COMMAND: the command table, told to clients. Everything comes from the rows of txn/command.h; only how a
 * command uses its keys, where that is not what its flags suggest, has a table of its own here. */
#include "cmd/groups.h"
#include "cmd/help.h"
#include "keyspace/glob.h"

struct flag_name {
	uint32_t flag;
	const char *name;
};

/* In the order in which Redis names them. */
static const struct flag_name flag_names[] = {
	{COMMAND_WRITE, "write"},
	{COMMAND_READONLY, "readonly"},
	{COMMAND_DENYOOM, "denyoom"},
	{COMMAND_ADMIN, "admin"},
	{COMMAND_PUBSUB, "pubsub"},
	{COMMAND_NOSCRIPT, "noscript"},
	{COMMAND_BLOCKING, "blocking"},
	{COMMAND_LOADING, "loading"},
	{COMMAND_STALE, "stale"},
	{COMMAND_SKIP_MONITOR, "skip_monitor"},
	{COMMAND_SKIP_SLOWLOG, "skip_slowlog"},
	{COMMAND_FAST, "fast"},
	{COMMAND_NO_AUTH, "no_auth"},
	{COMMAND_MAY_REPLICATE, "may_replicate"},
	{COMMAND_NO_MANDATORY_KEYS, "no_mandatory_keys"},
	{COMMAND_NO_ASYNC_LOADING, "no_async_loading"},
	{COMMAND_NO_MULTI, "no_multi"},
	{COMMAND_ALLOW_BUSY, "allow_busy"},
	{COMMAND_MOVABLE_KEYS, "movablekeys"},
};
enum { FLAG_COUNT = sizeof flag_names / sizeof *flag_names };

/* By bit, see categories.h. */
static const char *const category_names[COMMAND_CATEGORY_COUNT] = {
	"keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
	"string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
	"fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};

/* How the first key, and the others, are used; `others` is NULL where all are used alike. */
struct key_use {
	const char *command;
	const char *first, *others;
};

static const struct key_use key_uses[] = {
	{"append", "RW insert", NULL},
	{"copy", "RO access", "OW update"},
	{"del", "RM delete", NULL},
	{"exists", "RO", NULL},
	{"expire", "RW update", NULL},
	{"expireat", "RW update", NULL},
	{"getdel", "RW access delete", NULL},
	{"memory|usage", "RO", NULL},
	{"mset", "OW update", NULL},
	{"msetnx", "OW insert", NULL},
	{"object|encoding", "RO", NULL},
	{"object|freq", "RO", NULL},
	{"object|idletime", "RO", NULL},
	{"object|refcount", "RO", NULL},
	{"persist", "RW update", NULL},
	{"pexpire", "RW update", NULL},
	{"pexpireat", "RW update", NULL},
	{"psetex", "OW update", NULL},
	{"rename", "RW access delete", "OW update"},
	{"renamenx", "RW access delete", "OW insert"},
	{"set", "RW access update variable_flags", NULL},
	{"setex", "OW update", NULL},
	{"setnx", "OW insert", NULL},
	{"setrange", "RW update", NULL},
	{"strlen", "RO", NULL},
	{"touch", "RO", NULL},
	{"type", "RO", NULL},
	{"unlink", "RM delete", NULL},
	{"watch", "RO", NULL},
};

static struct key_use
key_use_of(const struct command *command)
{
	struct key_use use = {.command = command->full_name};
	use.first = command->flags & COMMAND_READONLY ? "RO access" : "RW access update";
	for (size_t i = 0; i < sizeof key_uses / sizeof *key_uses; i++)
		if (strcmp(key_uses[i].command, command->full_name) == 0)
			use = key_uses[i];
	return use;
}

/* ---- COMMAND INFO ---- */

/* Words separated by spaces, as a set of statuses. */
static void
reply_words(struct resp_writer *reply, const char *words)
{
	size_t count = 0, token = resp_deferred_begin(reply);
	while (*words != '\0') {
		char word[32];
		size_t size = strcspn(words, " ");
		snprintf(word, sizeof word, "%.*s", (int)size, words);
		resp_status(reply, word);
		count++;
		words += size + (words[size] == ' ');
	}
	resp_deferred_set_end(reply, token, count);
}

static void
reply_flags(struct resp_writer *reply, const struct command *command)
{
	size_t count = 0, token = resp_deferred_begin(reply);
	for (size_t i = 0; i < FLAG_COUNT; i++)
		if (command->flags & flag_names[i].flag) {
			resp_status(reply, flag_names[i].name);
			count++;
		}
	resp_deferred_set_end(reply, token, count);
}

static void
reply_categories(struct resp_writer *reply, const struct command *command)
{
	size_t count = 0, token = resp_deferred_begin(reply);
	for (unsigned i = 0; i < COMMAND_CATEGORY_COUNT; i++)
		if (command->acl_categories & 1ULL << i) {
			char name[32];
			snprintf(name, sizeof name, "@%s", category_names[i]);
			resp_status(reply, name);
			count++;
		}
	resp_deferred_set_end(reply, token, count);
}

static void
reply_key_spec(struct resp_writer *reply, const char *flags, int index, int last, int step)
{
	resp_map(reply, 3);
	resp_bulk_string(reply, "flags");
	reply_words(reply, flags);
	resp_bulk_string(reply, "begin_search");
	resp_map(reply, 2);
	resp_bulk_string(reply, "type");
	resp_bulk_string(reply, "index");
	resp_bulk_string(reply, "spec");
	resp_map(reply, 1);
	resp_bulk_string(reply, "index");
	resp_integer(reply, index);
	resp_bulk_string(reply, "find_keys");
	resp_map(reply, 2);
	resp_bulk_string(reply, "type");
	resp_bulk_string(reply, "range");
	resp_bulk_string(reply, "spec");
	resp_map(reply, 3);
	resp_bulk_string(reply, "lastkey");
	resp_integer(reply, last);
	resp_bulk_string(reply, "keystep");
	resp_integer(reply, step);
	resp_bulk_string(reply, "limit");
	resp_integer(reply, 0);
}

static void
reply_key_specs(struct resp_writer *reply, const struct command *command)
{
	struct key_use use = key_use_of(command);
	int first = command->first_key, last = command->last_key, step = command->key_step;
	if (first == 0) {
		resp_set(reply, 0);
	} else if (use.others != NULL) {
		resp_set(reply, 2);
		reply_key_spec(reply, use.first, first, 0, step);
		reply_key_spec(reply, use.others, first + step, last < 0 ? last : last - first - step, step);
	} else {
		resp_set(reply, 1);
		reply_key_spec(reply, use.first, first, last < 0 ? last : last - first, step);
	}
}

static void
reply_info(struct resp_writer *reply, const struct command *command)
{
	enum { FIELDS = 10 };
	size_t count = 0;
	const struct command *sub = command->subcommands;
	while (sub != NULL && sub[count].name != NULL)
		count++;
	resp_array(reply, FIELDS);
	resp_bulk_string(reply, command->full_name);
	resp_integer(reply, command->arity);
	reply_flags(reply, command);
	resp_integer(reply, command->first_key);
	resp_integer(reply, command->last_key);
	resp_integer(reply, command->key_step);
	reply_categories(reply, command);
	resp_set(reply, 0);
	reply_key_specs(reply, command);
	/* None are an empty set, some are an array. One level deep: subcommands have none of their own. */
	if (count == 0)
		resp_set(reply, 0);
	else
		resp_array(reply, count);
	for (size_t i = 0; i < count; i++)
		reply_info(reply, &sub[i]);
}

/* "get", or "config|get". */
static const struct command *
find_by_full_name(struct bytes name)
{
	const uint8_t *bar = name.size ? memchr(name.data, '|', name.size) : NULL;
	struct bytes words[2] = {name};
	size_t count = 1;
	if (bar != NULL) {
		words[0].size = (size_t)(bar - name.data);
		words[1] = bytes_of(bar + 1, name.size - words[0].size - 1);
		count = 2;
	}
	const struct command *found = command_find(words, count, NULL);
	/* Behind a bar only a subcommand counts. */
	return found != NULL && bar != NULL && strchr(found->full_name, '|') == NULL ? NULL : found;
}

static int
reply_all_infos(struct command_context *c)
{
	size_t count;
	const struct command *table = command_table(&count);
	resp_array(c->reply, count);
	for (size_t i = 0; i < count; i++)
		reply_info(c->reply, &table[i]);
	return SETT_OK;
}

static int
command_command(struct command_context *c)
{
	return reply_all_infos(c);
}

static int
command_command_info(struct command_context *c)
{
	if (c->argc == 2)
		return reply_all_infos(c);
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++) {
		const struct command *command = find_by_full_name(c->argv[i]);
		if (command != NULL)
			reply_info(c->reply, command);
		else
			resp_null(c->reply);
	}
	return SETT_OK;
}

static int
command_command_count(struct command_context *c)
{
	size_t count;
	command_table(&count);
	resp_integer(c->reply, (int64_t)count);
	return SETT_OK;
}

/* ---- COMMAND DOCS ---- */

static void
reply_docs(struct resp_writer *reply, const struct command *command)
{
	const char *const pairs[][2] = {{"summary", command->summary},
					{"since", command->since},
					{"group", command->group},
					{"complexity", command->complexity}};
	size_t count = 0, subcommands = 0;
	const struct command *sub = command->subcommands;
	resp_bulk_string(reply, command->full_name);
	size_t token = resp_deferred_begin(reply);
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		if (pairs[i][1] == NULL)
			continue;
		resp_bulk_string(reply, pairs[i][0]);
		resp_bulk_string(reply, pairs[i][1]);
		count++;
	}
	while (sub != NULL && sub[subcommands].name != NULL)
		subcommands++;
	if (subcommands > 0) {
		resp_bulk_string(reply, "subcommands");
		resp_map(reply, subcommands);
		for (size_t i = 0; i < subcommands; i++)
			reply_docs(reply, &sub[i]);
		count++;
	}
	resp_deferred_map_end(reply, token, count);
}

static int
command_command_docs(struct command_context *c)
{
	size_t count = 0, all, token = resp_deferred_begin(c->reply);
	const struct command *table = command_table(&all);
	for (size_t i = 0; c->argc == 2 && i < all; i++, count++)
		reply_docs(c->reply, &table[i]);
	for (size_t i = 2; i < c->argc; i++) {
		const struct command *command = find_by_full_name(c->argv[i]);
		if (command == NULL)
			continue;
		reply_docs(c->reply, command);
		count++;
	}
	resp_deferred_map_end(c->reply, token, count);
	return SETT_OK;
}

/* ---- COMMAND LIST ---- */

struct list_filter {
	enum { FILTER_NONE, FILTER_NOTHING, FILTER_CATEGORY, FILTER_PATTERN } kind;
	uint64_t category;
	struct bytes pattern;
};

static bool
passes(const struct list_filter *filter, const struct command *command)
{
	switch (filter->kind) {
	case FILTER_NONE:
		return true;
	case FILTER_CATEGORY:
		return (command->acl_categories & filter->category) != 0;
	case FILTER_PATTERN:
		return glob_match(filter->pattern, bytes_of_string(command->full_name), true);
	default:
		return false;
	}
}

static size_t
list_command(struct resp_writer *reply, const struct list_filter *filter, const struct command *command)
{
	size_t count = 0;
	if (passes(filter, command)) {
		resp_bulk_string(reply, command->full_name);
		count++;
	}
	const struct command *sub = command->subcommands;
	for (; sub != NULL && sub->name != NULL; sub++)
		count += list_command(reply, filter, sub);
	return count;
}

/* False: the error reply was given. */
static bool
parse_filter(struct command_context *c, struct list_filter *filter)
{
	filter->kind = FILTER_NONE;
	if (c->argc == 2)
		return true;
	if (c->argc != 5 || !argument_is(c->argv[2], "FILTERBY")) {
		context_syntax_error(c);
		return false;
	}
	struct bytes value = c->argv[4];
	if (argument_is(c->argv[3], "PATTERN")) {
		filter->kind = FILTER_PATTERN;
		filter->pattern = value;
	} else if (argument_is(c->argv[3], "ACLCAT")) {
		filter->kind = FILTER_CATEGORY;
		for (unsigned i = 0; i < COMMAND_CATEGORY_COUNT; i++)
			if (argument_is(value, category_names[i]))
				filter->category = 1ULL << i;
	} else if (argument_is(c->argv[3], "MODULE")) {
		/* There are no modules. */
		filter->kind = FILTER_NOTHING;
	} else {
		context_syntax_error(c);
		return false;
	}
	return true;
}

static int
command_command_list(struct command_context *c)
{
	struct list_filter filter = {0};
	if (!parse_filter(c, &filter))
		return SETT_OK;
	size_t all, count = 0, token = resp_deferred_begin(c->reply);
	const struct command *table = command_table(&all);
	for (size_t i = 0; i < all; i++)
		count += list_command(c->reply, &filter, &table[i]);
	resp_deferred_array_end(c->reply, token, count);
	return SETT_OK;
}

/* ---- COMMAND GETKEYS ---- */

/* SET reads its key only with GET: the one use that depends on the arguments. */
static struct key_use
key_use_in(const struct command *command, const struct bytes *argv, size_t argc)
{
	struct key_use use = key_use_of(command);
	if (strcmp(command->full_name, "set") != 0)
		return use;
	use.first = "OW update";
	for (size_t i = 3; i < argc; i++)
		if (argument_is(argv[i], "GET"))
			use.first = "RW access update";
	return use;
}

static int
get_keys(struct command_context *c, bool with_flags)
{
	const struct bytes *argv = c->argv + 2;
	size_t argc = c->argc - 2, count = 0;
	const struct command *command = command_find(argv, argc, NULL);
	if (command == NULL)
		return context_error(c, "ERR Invalid command specified");
	if (command->first_key == 0 && (command->flags & COMMAND_MOVABLE_KEYS) == 0)
		return context_error(c, "ERR The command has no key arguments");
	if (command->arity >= 0 ? argc != (size_t)command->arity : argc < (size_t)-command->arity)
		return context_error(c, "ERR Invalid number of arguments specified for command");
	size_t *keys = arena_allocate(c->arena, argc * sizeof *keys, sizeof *keys);
	if (keys == NULL)
		return SETT_NO_MEMORY;
	if (command_keys(command, argv, argc, keys, &count) != SETT_OK || count == 0)
		return context_error(c,
				     command->flags & COMMAND_NO_MANDATORY_KEYS
					     ? "ERR The command has no key arguments"
					     : "ERR Invalid arguments specified for command");
	struct key_use use = key_use_in(command, argv, argc);
	resp_array(c->reply, count);
	for (size_t i = 0; i < count; i++) {
		if (with_flags)
			resp_array(c->reply, 2);
		resp_bulk(c->reply, argv[keys[i]].data, argv[keys[i]].size);
		if (with_flags)
			reply_words(c->reply, i > 0 && use.others ? use.others : use.first);
	}
	return SETT_OK;
}

static int
command_command_getkeys(struct command_context *c)
{
	return get_keys(c, false);
}

static int
command_command_getkeysandflags(struct command_context *c)
{
	return get_keys(c, true);
}

static int
command_command_help(struct command_context *c)
{
	static const char *const lines[] = {
		"(no subcommand)",
		"    Return details about all Redis commands.",
		"COUNT",
		"    Return the total number of commands in this Redis server.",
		"LIST",
		"    Return a list of all commands in this Redis server.",
		"INFO [<command-name> ...]",
		"    Return details about multiple Redis commands.",
		"    If no command names are given, documentation details for all",
		"    commands are returned.",
		"DOCS [<command-name> ...]",
		"    Return documentation details about multiple Redis commands.",
		"    If no command names are given, documentation details for all",
		"    commands are returned.",
		"GETKEYS <full-command>",
		"    Return the keys from a full Redis command.",
		"GETKEYSANDFLAGS <full-command>",
		"    Return the keys and the access flags from a full Redis command.",
		NULL,
	};
	return context_help(c, "COMMAND", lines);
}

static const struct command command_subcommands[] = {
	{.name = "count",
	 .full_name = "command|count",
	 .run = command_command_count,
	 .arity = 2,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Get total number of Redis commands",
	 .since = "2.8.13",
	 .group = "server",
	 .complexity = "O(1)"},
	{.name = "docs",
	 .full_name = "command|docs",
	 .run = command_command_docs,
	 .arity = -2,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Get array of specific Redis command documentation",
	 .since = "7.0.0",
	 .group = "server",
	 .complexity = "O(N) where N is the number of commands to look up"},
	{.name = "getkeys",
	 .full_name = "command|getkeys",
	 .run = command_command_getkeys,
	 .arity = -4,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Extract keys given a full Redis command",
	 .since = "2.8.13",
	 .group = "server",
	 .complexity = "O(N) where N is the number of arguments to the command"},
	{.name = "getkeysandflags",
	 .full_name = "command|getkeysandflags",
	 .run = command_command_getkeysandflags,
	 .arity = -4,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Extract keys and access flags given a full Redis command",
	 .since = "7.0.0",
	 .group = "server",
	 .complexity = "O(N) where N is the number of arguments to the command"},
	{.name = "help",
	 .full_name = "command|help",
	 .run = command_command_help,
	 .arity = 2,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Show helpful text about the different subcommands",
	 .since = "5.0.0",
	 .group = "server",
	 .complexity = "O(1)"},
	{.name = "info",
	 .full_name = "command|info",
	 .run = command_command_info,
	 .arity = -2,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Get array of specific Redis command details, or all when no argument is given.",
	 .since = "2.8.13",
	 .group = "server",
	 .complexity = "O(N) where N is the number of commands to look up"},
	{.name = "list",
	 .full_name = "command|list",
	 .run = command_command_list,
	 .arity = -2,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Get an array of Redis command names",
	 .since = "7.0.0",
	 .group = "server",
	 .complexity = "O(N) where N is the total number of Redis commands"},
	{0},
};

const struct command command_commands[] = {
	{.name = "command",
	 .full_name = "command",
	 .run = command_command,
	 .arity = -1,
	 .flags = COMMAND_LOADING | COMMAND_STALE,
	 .acl_categories = CATEGORY_SLOW | CATEGORY_CONNECTION,
	 .summary = "Get array of Redis command details",
	 .since = "2.8.13",
	 .group = "server",
	 .complexity = "O(N) where N is the total number of Redis commands",
	 .subcommands = command_subcommands},
	{0},
};
