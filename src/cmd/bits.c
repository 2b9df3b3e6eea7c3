/* Bits of strings, the most significant of a byte first. A change rewrites the value. */
#include "cmd/groups.h"
#include "cmd/lookup.h"
#include "config/config.h"

static bool
bit_offset(struct command_context *c, struct bytes argument, uint64_t *ret)
{
	static const char error[] = "ERR bit offset is not an integer or out of range";
	int64_t offset, limit = __atomic_load_n(&c->server->config->proto_max_bulk_len, __ATOMIC_RELAXED);
	if (!context_integer_or(c, argument, error, &offset))
		return false;
	if (offset < 0 || offset >> 3 >= limit) {
		context_error(c, error);
		return false;
	}
	*ret = (uint64_t)offset;
	return true;
}

static bool
bit_of(struct bytes value, uint64_t offset)
{
	return offset >> 3 < value.size && (value.data[offset >> 3] >> (7 - (offset & 7)) & 1) != 0;
}

static int
command_getbit(struct command_context *c)
{
	uint64_t offset;
	struct found_string found;
	if (!bit_offset(c, c->argv[2], &offset))
		return SETT_OK;
	int status = lookup_string(c, c->argv[1], &found);
	if (status == SETT_OK && !c->failed)
		resp_integer(c->reply, bit_of(found.value, offset));
	return status;
}

static int
command_setbit(struct command_context *c)
{
	uint64_t offset;
	int64_t bit;
	struct found_string old;
	if (!bit_offset(c, c->argv[2], &offset) ||
	    !context_integer_range(c, c->argv[3], 0, 1, "ERR bit is not an integer or out of range", &bit))
		return SETT_OK;
	int status = lookup_string(c, c->argv[1], &old);
	if (status != SETT_OK || c->failed)
		return status;
	resp_integer(c->reply, bit_of(old.value, offset));
	size_t size = (offset >> 3) + 1;
	if (size < old.value.size)
		size = old.value.size;
	uint8_t *value = calloc(1, size);
	if (value == NULL)
		return SETT_NO_MEMORY;
	if (old.value.size > 0)
		memcpy(value, old.value.data, old.value.size);
	uint8_t mask = (uint8_t)(0x80 >> (offset & 7));
	if (bit != 0)
		value[offset >> 3] |= mask;
	else
		value[offset >> 3] &= (uint8_t)~mask;
	status = keyspace_put_encoded(&c->view, c->db, c->argv[1], bytes_of(value, size), STRING_RAW,
				      found_deadline(&old), found_root(&old));
	free(value);
	return status;
}

const struct command bit_commands[] = {
	{.name = "setbit",
	 .full_name = "setbit",
	 .run = command_setbit,
	 .arity = 4,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_BITMAP | CATEGORY_SLOW,
	 .summary = "Sets or clears the bit at offset in the string value stored at key",
	 .since = "2.2.0",
	 .group = "bitmap",
	 .complexity = "O(1)"},
	{.name = "getbit",
	 .full_name = "getbit",
	 .run = command_getbit,
	 .arity = 3,
	 .flags = COMMAND_READONLY | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_READ | CATEGORY_BITMAP | CATEGORY_FAST,
	 .summary = "Returns the bit value at offset in the string value stored at key",
	 .since = "2.2.0",
	 .group = "bitmap",
	 .complexity = "O(1)"},
	{0},
};
