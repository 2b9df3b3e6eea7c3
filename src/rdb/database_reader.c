/* See database_reader.h. */
#include "rdb/database_reader.h"

#include <ctype.h>
#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "rdb/crc64.h"
#include "rdb/payload.h"
#include "rdb/skip.h"

enum {
	MAGIC_SIZE = 5,
	VERSION_DIGITS = 4,
	VERSION_CHECKSUM = 5, /* the first whose files end with one */
	TYPE_MODULE_OLD = 6,
	TYPE_MODULE = 7,
	MODULE_NAME_SIZE = 9,
	MS_PER_SECOND = 1000,
};

static int problem(struct rdb_database_reader *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int
problem(struct rdb_database_reader *r, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(r->problem, sizeof(r->problem), format, arguments);
	va_end(arguments);
	return RDB_MALFORMED;
}

bool
rdb_database_begins(struct bytes file)
{
	return bytes_has_prefix(file, BYTES_LITERAL("REDIS"));
}

int
rdb_database_open(struct rdb_database_reader *r, struct bytes file, struct rdb_room *room,
		  struct rdb_room *value_room)
{
	*r = (struct rdb_database_reader){.in = {file.data, file.data + file.size},
					  .begin = file.data,
					  .summed = file.data,
					  .room = room,
					  .value_room = value_room};
	if (file.size < MAGIC_SIZE + VERSION_DIGITS || !rdb_database_begins(file))
		return problem(r, "it does not begin as an RDB file");
	for (int i = 0; i < VERSION_DIGITS; i++) {
		uint8_t digit = file.data[MAGIC_SIZE + i];
		if (!isdigit(digit))
			return problem(r, "its version is no number");
		r->version = 10 * r->version + (digit - '0');
	}
	if (r->version < 1 || r->version > RDB_VERSION_MAX)
		return problem(r, "it is of version %u, which can't be read: 1 to %d can", r->version,
			       (int)RDB_VERSION_MAX);
	r->in.at += MAGIC_SIZE + VERSION_DIGITS;
	return SETT_OK;
}

/* ---- what the checksum says ---- */

/* Long parts cost less. */
enum { SUM_STEP = 64 * 1024 };

static void
sum_up(struct rdb_database_reader *r, ptrdiff_t least)
{
	if (r->ignores_checksum || r->in.at - r->summed < least)
		return;
	r->crc = crc64(r->crc, bytes_of(r->summed, (size_t)(r->in.at - r->summed)));
	r->summed = r->in.at;
}

static int
end(struct rdb_database_reader *r)
{
	uint64_t stored;
	sum_up(r, 0);
	if (r->version < VERSION_CHECKSUM)
		return SETT_NOT_FOUND;
	int status = rdb_get_u64le(&r->in, &stored);
	if (status != SETT_OK)
		return status;
	if (stored != 0 && stored != r->crc && !r->ignores_checksum)
		return problem(r, "RDB CRC error: its checksum is not that of its content");
	return SETT_NOT_FOUND;
}

/* ---- opcodes ---- */

/* What can't be taken over, whose end is known: an entry for who surveys the file, else a problem. */
static int
meet_foreign(struct rdb_database_reader *r, const char *what, struct rdb_entry *e)
{
	enum { SHOWN_MAX = 60 };
	if (!r->surveys && e->name.size > 0)
		return problem(r, "the key '%.*s' holds %s",
			       e->name.size < SHOWN_MAX ? (int)e->name.size : SHOWN_MAX,
			       (const char *)e->name.data, what);
	(void)problem(r, "%s", what);
	if (!r->surveys)
		return RDB_MALFORMED;
	e->kind = RDB_ENTRY_FOREIGN;
	e->value = bytes_of_string(r->problem);
	return SETT_OK;
}

/* 64 bits: nine characters of six, then ten bits of a version. */
static int
get_module_name(struct rdb_database_reader *r, char ret[MODULE_NAME_SIZE + 1])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint64_t id;
	int status = rdb_get_length(&r->in, &id);
	if (status != SETT_OK)
		return status;
	for (int i = 0; i < MODULE_NAME_SIZE; i++)
		ret[i] = letters[id >> (10 + 6 * (MODULE_NAME_SIZE - 1 - i)) & 0x3f];
	ret[MODULE_NAME_SIZE] = '\0';
	return SETT_OK;
}

static int
meet_module(struct rdb_database_reader *r, const char *what, struct rdb_entry *e)
{
	char name[MODULE_NAME_SIZE + 1], text[RDB_DATABASE_PROBLEM_SIZE];
	int status = get_module_name(r, name);
	if (status != SETT_OK)
		return status;
	snprintf(text, sizeof(text), "%s of the module type %s, and there are no modules", what, name);
	return meet_foreign(r, text, e);
}

/* When the module wanted it to be loaded, then its data. */
static int
meet_module_data(struct rdb_database_reader *r, struct rdb_entry *e)
{
	uint64_t when;
	int status = meet_module(r, "data", e);
	for (int i = 0; i < 2 && status == SETT_OK; i++)
		status = rdb_get_length(&r->in, &when);
	return status == SETT_OK ? rdb_skip_module_data(&r->in) : status;
}

/* Name, engine, maybe a description, code. */
static int
meet_old_function(struct rdb_database_reader *r, struct rdb_entry *e)
{
	uint64_t has_description = 0;
	int status =
		meet_foreign(r, "a library of functions in the form of a release candidate of Redis 7.0", e);
	for (int i = 0; i < 2 && status == SETT_OK; i++)
		status = rdb_skip_string(&r->in);
	if (status == SETT_OK)
		status = rdb_get_length(&r->in, &has_description);
	if (status == SETT_OK && has_description != 0)
		status = rdb_skip_string(&r->in);
	return status == SETT_OK ? rdb_skip_string(&r->in) : status;
}

static int
get_deadline(struct rdb_database_reader *r, uint8_t opcode, uint64_t *ret)
{
	uint64_t value = 0;
	if (opcode == RDB_OPCODE_DEADLINE_MS) {
		int status = rdb_get_u64le(&r->in, &value);
		if (status == SETT_OK && value > INT64_MAX)
			value = 1; /* long ago, as for Redis, whose times have a sign */
		*ret = value != 0 ? value : 1;
		return status;
	}
	for (unsigned i = 0; i < 4; i++) {
		uint8_t byte;
		int status = rdb_get_byte(&r->in, &byte);
		if (status != SETT_OK)
			return status;
		value |= (uint64_t)byte << (8 * i);
	}
	value = value <= INT32_MAX ? value * MS_PER_SECOND : 0;
	*ret = value != 0 ? value : 1;
	return SETT_OK;
}

static int
get_pair(struct rdb_database_reader *r, struct rdb_entry *e)
{
	int status = rdb_get_string(&r->in, r->room, &e->name);
	if (status == SETT_OK)
		status = rdb_get_string(&r->in, r->value_room, &e->value);
	return status;
}

/* What stands before a key or an entry. SETT_NOT_FOUND: nothing follows. */
static int
read_opcode(struct rdb_database_reader *r, uint8_t opcode, struct rdb_entry *e, bool *ret_is_entry)
{
	uint64_t ignored;
	uint8_t counter = 0;
	int status;
	switch (opcode) {
	case RDB_OPCODE_AUXILIARY:
		*ret_is_entry = true;
		e->kind = RDB_ENTRY_AUXILIARY;
		return get_pair(r, e);
	case RDB_OPCODE_FUNCTION:
		*ret_is_entry = true;
		e->kind = RDB_ENTRY_FUNCTION;
		return rdb_get_string(&r->in, r->value_room, &e->value);
	case RDB_OPCODE_FUNCTION_OLD:
		*ret_is_entry = true;
		return meet_old_function(r, e);
	case RDB_OPCODE_MODULE:
		*ret_is_entry = true;
		return meet_module_data(r, e);
	case RDB_OPCODE_IDLE:
		status = rdb_get_length(&r->in, &ignored);
		e->idle = ignored < INT64_MAX ? (int64_t)ignored : INT64_MAX;
		return status;
	case RDB_OPCODE_FREQUENCY:
		status = rdb_get_byte(&r->in, &counter);
		e->frequency = counter;
		return status;
	case RDB_OPCODE_RESIZE:
		status = rdb_get_length(&r->in, &ignored);
		return status == SETT_OK ? rdb_get_length(&r->in, &ignored) : status;
	case RDB_OPCODE_DEADLINE_MS:
	case RDB_OPCODE_DEADLINE_SECONDS:
		return get_deadline(r, opcode, &e->deadline);
	case RDB_OPCODE_SELECT:
		return rdb_get_length(&r->in, &r->db);
	case RDB_OPCODE_END:
		return end(r);
	default:
		return problem(r, "there is no type of value %u", opcode);
	}
}

static int
read_key(struct rdb_database_reader *r, uint8_t type, struct rdb_entry *e)
{
	int status = rdb_get_string(&r->in, r->room, &e->name);
	if (status != SETT_OK)
		return status;
	if (type == TYPE_MODULE_OLD)
		return problem(r, "it has values of modules in a form whose end can't be found");
	if (type == TYPE_MODULE) {
		status = meet_module(r, "a value", e);
		return status == SETT_OK ? rdb_skip_module_data(&r->in) : status;
	}
	e->kind = RDB_ENTRY_KEY;
	e->type = type;
	e->value_at = r->in.at;
	return SETT_OK;
}

int
rdb_database_next(struct rdb_database_reader *r, struct rdb_entry *ret)
{
	struct rdb_entry e = {.idle = -1, .frequency = -1};
	bool is_entry = false;
	int status = SETT_OK;
	r->problem[0] = '\0'; /* that of what was passed over */
	sum_up(r, SUM_STEP);
	while (status == SETT_OK && !is_entry) {
		uint8_t byte;
		status = rdb_get_byte(&r->in, &byte);
		if (status == SETT_OK && byte < RDB_TYPE_END) {
			is_entry = true;
			status = read_key(r, byte, &e);
		} else if (status == SETT_OK) {
			status = read_opcode(r, byte, &e, &is_entry);
		}
	}
	/* Of what can't be taken over `problem` says what it is, not why its end is not found. */
	if (status == RDB_MALFORMED && (r->problem[0] == '\0' || e.kind == RDB_ENTRY_FOREIGN))
		problem(r, rdb_left(&r->in) < 16 ? "it ends too early" : "it makes no sense");
	if (status != SETT_OK)
		return status;
	e.db = r->db;
	*ret = e;
	return SETT_OK;
}

void
rdb_database_value_read(struct rdb_database_reader *r, struct rdb_input in)
{
	r->in = in;
}
