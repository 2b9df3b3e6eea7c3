/* Looking a command up by its name: open addressing over the names of top-level rows; a subcommand by walking its
 * container's few rows.
 *
 * Names are compared in lower case, eight bytes at a time: most names have no more. generate_commands.py gives each
 * row its name's first eight bytes, and fills the slots with the same hash. */
#include "table/command_table.h"

#include <assert.h>

static const uint64_t every_byte = 0x0101010101010101;

/* The bytes in lower case (ASCII). */
static uint64_t
fold(uint64_t bytes)
{
	uint64_t low = bytes & 0x7f * every_byte;
	uint64_t from_a = low + (0x80 - 'A') * every_byte, past_z = low + (0x7f - 'Z') * every_byte;
	uint64_t is_upper = ~bytes & (from_a ^ past_z) & 0x80 * every_byte;
	return bytes | is_upper >> 2;
}

uint64_t
command_name_head(struct bytes name)
{
	return fold(command_name_word(name));
}

static bool
name_equal(struct bytes typed, uint64_t head, const struct command *row)
{
	if (head != row->name_head || typed.size != row->name_size)
		return false;
	for (size_t i = 8; i < typed.size; i++)
		if (fold(typed.data[i]) != (uint8_t)row->name[i])
			return false;
	return true;
}

size_t
command_first_slot(const struct command_table *table, uint64_t head, size_t size)
{
	return ((head ^ size) * 0x9e3779b97f4a7c15) >> 32 & table->slot_mask;
}

static const struct command *
find_top(const struct command_table *table, struct bytes name)
{
	if (name.size == 0)
		return NULL;
	uint64_t head = command_name_head(name);
	size_t slot = command_first_slot(table, head, name.size);
	for (; table->slots[slot] != 0; slot = (slot + 1) & table->slot_mask) {
		const struct command *row = &table->rows[table->slots[slot] - 1];
		if (name_equal(name, head, row))
			return row;
	}
	return NULL;
}

static const struct command *
find_subcommand(const struct command *container, struct bytes name)
{
	uint64_t head = name.size > 0 ? command_name_head(name) : 0;
	for (unsigned i = 0; i < container->subcommand_count; i++)
		if (name_equal(name, head, &container->subcommands[i]))
			return &container->subcommands[i];
	return NULL;
}

const struct command *
command_find(const struct command_table *table, const struct bytes *argv, size_t argc,
	     const struct command **ret_container)
{
	if (argc == 0)
		return NULL;
	const struct command *found = find_top(table, argv[0]);
	if (found == NULL || found->subcommands == NULL || argc == 1)
		return found;
	assert(found->subcommand_count > 0);
	const struct command *sub = find_subcommand(found, argv[1]);
	/* A container with a function of its own (COMMAND) takes what is no subcommand only when alone. */
	if (sub == NULL && ret_container != NULL)
		*ret_container = found;
	return sub;
}

const struct command *
command_find_full_name(const struct command_table *table, struct bytes name)
{
	const uint8_t *bar = name.size ? memchr(name.data, '|', name.size) : NULL;
	if (bar == NULL)
		return command_find(table, &name, 1, NULL);
	size_t before = (size_t)(bar - name.data);
	struct bytes words[2] = {bytes_of(name.data, before), bytes_of(bar + 1, name.size - before - 1)};
	const struct command *found = command_find(table, words, 2, NULL);
	/* After a bar only a subcommand counts. */
	return found != NULL && strchr(found->full_name, '|') != NULL ? found : NULL;
}
