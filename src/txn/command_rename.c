/* See command_rename.h.
 *
 * The copy owns its rows, slots and new names. Rows of commands that are gone are left out, with those of their
 * subcommands, and the rest is numbered again: whoever walks the table meets only what can be called. */
#include "txn/command_rename.h"

#include <assert.h>
#include <stdlib.h>

struct renamed_table {
	struct command_table table; /* first: command_table_free gets this */
	struct command *rows;
	uint16_t *slots;
	char **names; /* by rename; NULL where a command is gone */
	size_t name_count;
};

/* What a table is made from: its top-level rows with their names of the moment. */
struct draft {
	struct command *rows;
	bool *gone;
	size_t count;
};

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool
is_named(const struct command *row, struct bytes name)
{
	if (row->name_size != name.size)
		return false;
	for (size_t i = 0; i < name.size; i++)
		if ((uint8_t)row->name[i] != lower(name.data[i]))
			return false;
	return true;
}

static struct command *
find(struct draft *draft, struct bytes name)
{
	for (size_t i = 0; i < draft->count; i++)
		if (!draft->gone[i] && is_named(&draft->rows[i], name))
			return &draft->rows[i];
	return NULL;
}

static int
rename_one(struct draft *draft, const struct command_rename *rename, char **ret_name, const char **ret_reason)
{
	struct command *row = find(draft, rename->from);
	if (row == NULL) {
		*ret_reason = "No such command in rename-command";
		return SETT_INVALID;
	}
	draft->gone[row - draft->rows] = true;
	if (rename->to.size == 0)
		return SETT_OK;
	if (find(draft, rename->to) != NULL) {
		*ret_reason = "Target command name already exists";
		return SETT_INVALID;
	}
	char *name = malloc(rename->to.size + 1);
	if (name == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < rename->to.size; i++)
		name[i] = (char)lower(rename->to.data[i]);
	name[rename->to.size] = '\0';
	draft->gone[row - draft->rows] = false;
	row->name = name;
	row->name_size = (unsigned)rename->to.size;
	row->name_head = command_name_head(rename->to);
	*ret_name = name;
	return SETT_OK;
}

/* The rows that are left, and each container's subcommands after them. */
static void
copy_rows(const struct draft *draft, struct renamed_table *made)
{
	size_t top = 0, next;
	for (size_t i = 0; i < draft->count; i++)
		if (!draft->gone[i])
			made->rows[top++] = draft->rows[i];
	next = top;
	for (size_t i = 0; i < top; i++) {
		struct command *row = &made->rows[i];
		if (row->subcommand_count == 0)
			continue;
		memcpy(&made->rows[next], row->subcommands, row->subcommand_count * sizeof *row);
		row->subcommands = &made->rows[next];
		next += row->subcommand_count;
	}
	for (size_t i = 0; i < next; i++)
		made->rows[i].index = (unsigned)i;
	made->table.top_count = top;
	made->table.row_count = next;
}

static void
fill_slots(struct renamed_table *made)
{
	const struct command_table *table = &made->table;
	for (size_t i = 0; i < table->top_count; i++) {
		const struct command *row = &made->rows[i];
		size_t slot = command_first_slot(table, row->name_head, row->name_size);
		while (made->slots[slot] != 0)
			slot = (slot + 1) & table->slot_mask;
		made->slots[slot] = (uint16_t)(i + 1);
	}
}

int
command_table_rename(const struct command_table *from, const struct command_rename *renames, size_t count,
		     struct command_table **ret, size_t *ret_failed, const char **ret_reason)
{
	struct draft draft = {.count = from->top_count};
	struct renamed_table *made = calloc(1, sizeof *made);
	int status = SETT_NO_MEMORY;
	if (made == NULL)
		return status;
	made->table = (struct command_table){.slot_mask = from->slot_mask};
	made->rows = calloc(from->row_count, sizeof *made->rows);
	made->slots = calloc(from->slot_mask + 1, sizeof *made->slots);
	made->names = calloc(count, sizeof *made->names);
	made->name_count = count;
	draft.rows = malloc(from->top_count * sizeof *draft.rows);
	draft.gone = calloc(from->top_count, sizeof *draft.gone);
	if (made->rows == NULL || made->slots == NULL || made->names == NULL || draft.rows == NULL ||
	    draft.gone == NULL)
		goto out;
	memcpy(draft.rows, from->rows, from->top_count * sizeof *draft.rows);
	status = SETT_OK;
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		status = rename_one(&draft, &renames[i], &made->names[i], ret_reason);
		if (status == SETT_INVALID)
			*ret_failed = i;
	}
	if (status != SETT_OK)
		goto out;
	copy_rows(&draft, made);
	assert(made->table.row_count <= from->row_count);
	made->table.rows = made->rows;
	made->table.slots = made->slots;
	fill_slots(made);
	*ret = &made->table;
out:
	free(draft.rows);
	free(draft.gone);
	if (status != SETT_OK)
		command_table_free(&made->table);
	return status;
}

void
command_table_free(struct command_table *table)
{
	struct renamed_table *made = (struct renamed_table *)table;
	if (made == NULL)
		return;
	for (size_t i = 0; made->names != NULL && i < made->name_count; i++)
		free(made->names[i]);
	free(made->names);
	free(made->rows);
	free(made->slots);
	free(made);
}
