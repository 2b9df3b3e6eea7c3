/* Where among its arguments a command has keys and values: what a row says, applied to arguments. */
#include <assert.h>

#include "keyspace/integer.h"
#include "storage/status.h"
#include "table/command_table.h"

bool
argument_is(struct bytes argument, const char *word)
{
	for (size_t i = 0; i < argument.size; i++) {
		uint8_t a = argument.data[i], b = (uint8_t)word[i];
		if (a >= 'A' && a <= 'Z')
			a = (uint8_t)(a + 32);
		if (b >= 'A' && b <= 'Z')
			b = (uint8_t)(b + 32);
		/* A NUL in the argument must not match the word's end. */
		if (a != b || b == 0)
			return false;
	}
	return word[argument.size] == 0;
}

/* The argument after the keyword; 0 if it is not there. */
static size_t
after_keyword(const struct key_spec *spec, const struct bytes *argv, size_t argc)
{
	if (spec->index >= 0) {
		/* The last one is not looked at: nothing follows it. */
		for (size_t i = (size_t)spec->index; i + 1 < argc; i++)
			if (argument_is(argv[i], spec->keyword))
				return i + 1;
	} else {
		/* Argument 1 is not looked at, as in Redis. */
		for (int64_t i = (int64_t)argc + spec->index; i > 1; i--)
			if (argument_is(argv[i], spec->keyword))
				return (size_t)i + 1;
	}
	return 0;
}

static int
find_by_keynum(const struct key_spec *spec, const struct bytes *argv, size_t argc, size_t begin,
	       struct key_range *ret)
{
	int64_t count;
	size_t keynum = begin + (size_t)spec->keynum;
	if (keynum >= argc || !parse_integer(argv[keynum], &count) || count < 0 || count > (int64_t)argc)
		return SETT_INVALID;
	size_t first = begin + (size_t)spec->first;
	*ret = (struct key_range){first, first + (size_t)count * (size_t)spec->step, (size_t)spec->step};
	return SETT_OK;
}

int
key_spec_search(const struct key_spec *spec, const struct bytes *argv, size_t argc, struct key_range *ret)
{
	struct key_range range = {0, 0, 1};
	size_t begin = 0;
	assert(spec->find == FIND_UNKNOWN || spec->step > 0);
	if (spec->begin == BEGIN_INDEX)
		begin = (size_t)spec->index;
	else if (spec->begin == BEGIN_KEYWORD)
		begin = after_keyword(spec, argv, argc);
	else
		return SETT_INVALID;
	if (begin == 0 || (spec->flags & KEY_NOT_KEY) != 0) {
		*ret = range;
		return SETT_OK;
	}
	if (spec->find == FIND_KEYNUM) {
		int status = find_by_keynum(spec, argv, argc, begin, &range);
		if (status != SETT_OK)
			return status;
	} else if (spec->find == FIND_RANGE) {
		int64_t last = (int64_t)begin + spec->last;
		if (spec->last < 0)
			last = spec->limit > 0 ? last + (int64_t)(argc - begin) / spec->limit
					       : (int64_t)argc + spec->last;
		range = (struct key_range){begin, (size_t)(last + 1), (size_t)spec->step};
	} else {
		return SETT_INVALID;
	}
	if (range.first >= range.end || range.end > argc)
		return SETT_INVALID;
	*ret = range;
	return SETT_OK;
}

static int
positions_by_specs(const struct command *command, const struct bytes *argv, size_t argc,
		   struct command_key *ret, size_t *ret_count)
{
	size_t count = 0;
	for (unsigned i = 0; i < command->key_spec_count; i++) {
		const struct key_spec *spec = &command->key_specs[i];
		struct key_range range;
		if (key_spec_range(spec, argv, argc, &range) != SETT_OK ||
		    (spec->flags & KEY_INCOMPLETE) != 0)
			return SETT_INVALID;
		/* Specifications may meet: no more than all arguments are keys. */
		for (size_t at = range.first; at < range.end && count < argc; at += range.step)
			ret[count++] = (struct command_key){.position = at, .flags = spec->flags};
	}
	*ret_count = count;
	return SETT_OK;
}

int
command_key_positions(const struct command *command, const struct bytes *argv, size_t argc,
		      struct command_key *ret, size_t *ret_count)
{
	int status = command->key_rule != NULL ? command->key_rule(argv, argc, ret, ret_count)
					       : positions_by_specs(command, argv, argc, ret, ret_count);
	assert(status != SETT_OK || *ret_count <= argc);
	return status;
}

size_t
command_key_of_value(const struct command *command, size_t position)
{
	size_t first_value = (size_t)command->first_value;
	if (first_value == 0 || position < first_value)
		return 0;
	size_t after = position - first_value;
	/* Only where keys go on to the end are there further values. */
	if (after > 0 && (command->last_key > 0 || after % (size_t)command->key_step != 0))
		return 0;
	return (size_t)command->first_key + after;
}
