/* The command table: every group's rows gathered into one array, and a hash table over their names.
 *
 * Built once, before main, from immutable arrays, and never changed after: any thread reads it without a
 * lock. Rows are numbered in the order of the groups, a container before its subcommands, whose rows are
 * copied behind the top-level ones so that they carry their numbers.
 *
 * A name is found by open addressing with its bytes folded to lower case; a subcommand by walking its
 * container's few rows. */
#include <assert.h>

#include "cmd/groups.h"

/* Ends with NULL. */
static const struct command *const groups[] = {
	string_commands,
	counter_commands,
	lcs_commands,
	bit_commands,
	key_commands,
	expiry_commands,
	scan_commands,
	database_commands,
	transaction_commands,
	connection_commands,
	client_commands,
	config_commands,
	command_commands,
	server_commands,
	debug_commands,
	function_commands,
	NULL,
};

enum { SLOTS = 1024, NAME_MAX_SIZE = 64 };
static_assert(SLOTS >= 2 * COMMAND_ROWS_MAX, "open addressing wants empty slots");

/* Written by build() alone. */
static struct command rows[COMMAND_ROWS_MAX];
static size_t top_count, row_count;
static uint16_t slots[SLOTS]; /* row + 1, 0 = empty */

/* ASCII lower case; other bytes may change too, but equal ones stay equal and command names have none. */
static uint8_t
fold(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint32_t
name_hash(struct bytes name)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < name.size; i++)
		h = (h ^ fold(name.data[i])) * 16777619u;
	return h ^ (h >> 15);
}

static bool
name_equal(struct bytes typed, const char *name)
{
	size_t i = 0;
	for (; i < typed.size; i++)
		if (fold(typed.data[i]) != (uint8_t)name[i] || name[i] == 0)
			return false;
	return name[i] == 0;
}

static void
insert(size_t row)
{
	uint32_t slot = name_hash(bytes_of_string(rows[row].name)) % SLOTS;
	while (slots[slot] != 0)
		slot = (slot + 1) % SLOTS;
	slots[slot] = (uint16_t)(row + 1);
}

static void
take(const struct command *row)
{
	if (row_count == COMMAND_ROWS_MAX)
		abort();
	rows[row_count++] = *row;
}

__attribute__((constructor)) static void
build(void)
{
	for (size_t g = 0; groups[g] != NULL; g++)
		for (const struct command *row = groups[g]; row->name != NULL; row++)
			take(row);
	top_count = row_count;
	for (size_t i = 0; i < top_count; i++) {
		insert(i);
		const struct command *sub = rows[i].subcommands;
		if (sub == NULL)
			continue;
		rows[i].subcommands = &rows[row_count];
		for (; sub->name != NULL; sub++)
			take(sub);
		take(&(struct command){0}); /* the end */
	}
	for (size_t i = 0; i < row_count; i++)
		rows[i].index = (unsigned)i;
}

static const struct command *
find_top(struct bytes name)
{
	if (name.size == 0 || name.size > NAME_MAX_SIZE)
		return NULL;
	for (uint32_t slot = name_hash(name) % SLOTS; slots[slot] != 0; slot = (slot + 1) % SLOTS)
		if (name_equal(name, rows[slots[slot] - 1].name))
			return &rows[slots[slot] - 1];
	return NULL;
}

const struct command *
command_find(const struct bytes *argv, size_t argc, const struct command **ret_container)
{
	if (argc == 0)
		return NULL;
	const struct command *found = find_top(argv[0]);
	if (found == NULL || found->subcommands == NULL || argc == 1)
		return found;
	for (const struct command *sub = found->subcommands; sub->name != NULL; sub++)
		if (name_equal(argv[1], sub->name))
			return sub;
	/* A container with a function of its own (COMMAND) takes what is no subcommand only when alone. */
	if (ret_container != NULL)
		*ret_container = found;
	return NULL;
}

const struct command *
command_table(size_t *ret_count)
{
	*ret_count = top_count;
	return rows;
}

size_t
command_index_count(void)
{
	return row_count;
}

int
command_keys(const struct command *command, const struct bytes *argv, size_t argc, size_t *ret,
	     size_t *ret_count)
{
	(void)argv;
	size_t count = 0;
	if (command->first_key > 0) {
		int64_t last = command->last_key >= 0 ? command->last_key : (int64_t)argc + command->last_key;
		int64_t step = command->key_step > 0 ? command->key_step : 1;
		if (last >= (int64_t)argc)
			return SETT_INVALID;
		for (int64_t i = command->first_key; i <= last; i += step)
			ret[count++] = (size_t)i;
	}
	*ret_count = count;
	return SETT_OK;
}
