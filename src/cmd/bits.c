/* GETBIT and SETBIT, and the numbers of bits in arguments. */
#include "cmd/bits.h"

#include "cmd/commands.h"
#include "cmd/splice.h"
#include "config/config.h"

bool
context_bit_offset(struct command_context *c, struct bytes argument, unsigned width, uint64_t *ret)
{
	static const char error[] = "ERR bit offset is not an integer or out of range";
	int64_t offset, limit = __atomic_load_n(&c->server->config->proto_max_bulk_len, __ATOMIC_RELAXED);
	bool in_fields = width > 0 && argument.size > 0 && argument.data[0] == '#';
	if (in_fields)
		argument = bytes_of(argument.data + 1, argument.size - 1);
	if (!context_integer_or(c, argument, error, &offset))
		return false;
	if (in_fields && __builtin_mul_overflow(offset, (int64_t)width, &offset))
		offset = -1;
	if (offset < 0 || offset >> 3 >= limit) {
		context_error(c, error);
		return false;
	}
	*ret = (uint64_t)offset;
	return true;
}

/* The byte that has the bit; 0 after the string's end. */
static int
byte_of(const struct key *k, uint64_t offset, uint8_t *ret)
{
	*ret = 0;
	if (offset >> 3 >= string_size(k))
		return SETT_OK;
	return key_body_part(k, offset >> 3, 1, ret);
}

static uint8_t
mask_of(uint64_t offset)
{
	return (uint8_t)(0x80 >> (offset & 7));
}

int
command_getbit(struct command_context *c)
{
	uint64_t offset;
	uint8_t byte;
	struct key k;
	if (!context_bit_offset(c, c->argv[2], 0, &offset))
		return OUTCOME_FAILED;
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	status = byte_of(&k, offset, &byte);
	if (status == SETT_OK)
		resp_integer(c->reply, (byte & mask_of(offset)) != 0);
	return status;
}

int
command_setbit(struct command_context *c)
{
	uint64_t offset;
	int64_t bit;
	uint8_t byte;
	struct key k;
	if (!context_bit_offset(c, c->argv[2], 0, &offset) ||
	    !context_integer_range(c, c->argv[3], 0, 1, "ERR bit is not an integer or out of range", &bit))
		return OUTCOME_FAILED;
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	status = byte_of(&k, offset, &byte);
	if (status != SETT_OK)
		return status;
	bool old = (byte & mask_of(offset)) != 0;
	resp_integer(c->reply, old);
	if (old == (bit != 0) && offset >> 3 < string_size(&k) && k.root.encoding == STRING_RAW)
		return SETT_OK;
	byte = bit != 0 ? byte | mask_of(offset) : byte & (uint8_t)~mask_of(offset);
	struct string_part part = {.offset = offset >> 3, .size = 1, .data = &byte};
	bool is_same = old == (bit != 0) && offset >> 3 < string_size(&k); /* but for its encoding */
	status = string_splice(c, &k, &part, 1);
	return is_same ? status : tell(status, &k, EVENT_STRING, "setbit");
}
