/* Commands on single fields of hashes. */
#include "cmd/hashes.h"

#include <math.h>

#include "cmd/commands.h"
#include "config/config.h"
#include "txn/propagation.h"
#include "types/limits.h"
#include "types/zset.h"

enum { INTEGER_TEXT_MAX = 20 };

struct hash_limits
hash_limits_of(const struct command_context *c)
{
	return limits_of_hashes(c->server->config);
}

int
open_hash(struct command_context *c, struct bytes name, struct open_hash *ret)
{
	struct hash_limits limits = hash_limits_of(c);
	int status = open_typed(c, name, VALUE_HASH, &ret->key);
	if (status != SETT_OK)
		return status;
	status = hash_open(&ret->key, &limits, &ret->hash);
	if (status == SETT_OK && __builtin_expect(ret->hash.some_due, 0))
		status = key_note_due(&ret->key);
	return status;
}

int
reply_field_value(struct command_context *c, struct hash *h, const struct hash_field *field)
{
	struct bytes value;
	double score;
	if (h->type == VALUE_ZSET) {
		int found = zset_score(h, field, &score);
		if (found == SETT_OK)
			resp_double(c->reply, score);
		return found;
	}
	if (field->is_spread)
		return context_reply_record(c, &field->member.record, field->member.name_size);
	int status = hash_value(h, field, &value);
	if (status == SETT_OK)
		reply_bytes(c, value);
	return status;
}

/* ---- writing ---- */

int
open_to_change(struct command_context *c, struct bytes name, enum value_type type, struct open_hash *room,
	       struct open_hash **ret)
{
	struct open_hash *held = may_hold(c) ? hash_held(&c->view, c->db, name, type) : NULL;
	if (held != NULL) {
		note_access(c, &held->key);
		*ret = held;
		return SETT_OK;
	}
	*ret = room;
	return type == VALUE_SET ? open_set(c, name, room) : open_hash(c, name, room);
}

int
save_changed(const struct command_context *c, struct open_hash *h)
{
	return may_hold(c) ? hash_save_or_hold(&h->hash) : hash_save(&h->hash);
}

static int
set_pairs(struct command_context *c, struct open_hash *h, int64_t *ret_created)
{
	int64_t created = 0;
	for (size_t i = 2; i + 1 < c->argc; i += 2) {
		bool existed;
		int status = hash_put(&h->hash, c->argv[i], c->argv[i + 1], 0, &existed);
		if (status != SETT_OK)
			return status;
		created += !existed;
	}
	*ret_created = created;
	return tell(save_changed(c, h), &h->key, EVENT_HASH, "hset");
}

static int
set_fields(struct command_context *c, int64_t *ret_created)
{
	struct open_hash room, *h;
	if (c->argc % 2 != 0)
		return context_wrong_arity(c);
	int status = open_to_change(c, c->argv[1], VALUE_HASH, &room, &h);
	return status == SETT_OK ? set_pairs(c, h, ret_created) : status;
}

int
command_hset(struct command_context *c)
{
	int64_t created;
	int status = set_fields(c, &created);
	if (status == SETT_OK)
		resp_integer(c->reply, created);
	return status;
}

int
command_hmset(struct command_context *c)
{
	int64_t created;
	int status = set_fields(c, &created);
	if (status == SETT_OK)
		resp_status(c->reply, "OK");
	return status;
}

int
command_hsetnx(struct command_context *c)
{
	struct open_hash h;
	struct hash_field field;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	status = hash_find(&h.hash, c->argv[2], &field);
	if (status == SETT_OK)
		resp_integer(c->reply, 0);
	if (status != SETT_NOT_FOUND)
		return status;
	resp_integer(c->reply, 1);
	status = hash_put(&h.hash, c->argv[2], c->argv[3], 0, NULL);
	if (status == SETT_OK)
		status = hash_save(&h.hash);
	return tell(status, &h.key, EVENT_HASH, "hset");
}

int
remove_named(struct command_context *c, struct open_hash *h, enum event_class class, const char *event)
{
	int64_t removed = 0;
	for (size_t i = 2; i < c->argc && h->hash.count > 0; i++) {
		struct hash_field field;
		struct sett_read_mark reads = hash_read_mark(&h->hash);
		int status = hash_find(&h->hash, c->argv[i], &field);
		if (status == SETT_OK) {
			status = hash_remove(&h->hash, &field);
			removed++;
		}
		hash_forget_reads(&h->hash, &reads);
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
	}
	resp_integer(c->reply, removed);
	int status = save_changed(c, h);
	return removed > 0 ? tell(status, &h->key, class, event) : status;
}

int
command_hdel(struct command_context *c)
{
	struct open_hash room, *h;
	int status = open_to_change(c, c->argv[1], VALUE_HASH, &room, &h);
	return status == SETT_OK ? remove_named(c, h, EVENT_HASH, "hdel") : status;
}

/* ---- numbers ---- */

/* The text in a field, if it is not longer than `most`; empty if there is none. `ret_deadline` is the field's. */
static int
read_number(struct open_hash *h, struct bytes name, uint64_t most, struct bytes *ret, bool *ret_exists,
	    uint64_t *ret_deadline)
{
	struct hash_field field;
	*ret = (struct bytes){0};
	*ret_exists = false;
	*ret_deadline = 0;
	int status = hash_find(&h->hash, name, &field);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_OK : status;
	*ret_exists = true;
	*ret_deadline = field.deadline;
	return field.value_size <= most ? hash_value(&h->hash, &field, ret) : SETT_OK;
}

static int
write_number(struct open_hash *h, struct bytes name, const char *text, size_t size, uint64_t deadline)
{
	int status = hash_put(&h->hash, name, bytes_of(text, size), deadline, NULL);
	return status == SETT_OK ? hash_save(&h->hash) : status;
}

int
command_hincrby(struct command_context *c)
{
	struct open_hash h;
	struct bytes old;
	bool exists;
	uint64_t deadline;
	int64_t delta, value = 0;
	char text[RESP_INTEGER_MAX_SIZE];
	if (!context_integer(c, c->argv[3], &delta))
		return OUTCOME_FAILED;
	int status = open_hash(c, c->argv[1], &h);
	if (status == SETT_OK)
		status = read_number(&h, c->argv[2], INTEGER_TEXT_MAX, &old, &exists, &deadline);
	if (status != SETT_OK)
		return status;
	if (exists && !context_integer_or(c, old, "ERR hash value is not an integer", &value))
		return OUTCOME_FAILED;
	if (__builtin_add_overflow(value, delta, &value))
		return context_error(c, "ERR increment or decrement would overflow");
	resp_integer(c->reply, value);
	status = write_number(&h, c->argv[2], text, resp_format_integer(value, text), deadline);
	return tell(status, &h.key, EVENT_HASH, "hincrby");
}

/* What sums of fractions are depends on the machine. HSET takes the field's deadline. */
static int
propagate_number(struct command_context *c, const struct open_hash *h, const char *text, size_t size,
		 uint64_t deadline)
{
	struct bytes key = h->key.name, field = c->argv[2];
	if (!is_propagated(c))
		return SETT_OK;
	int status = propagate(c, "HSET", key, field, bytes_of(arena_copy(c->arena, text, size), size));
	if (status != SETT_OK || deadline == 0)
		return status;
	return propagate(c, "HPEXPIREAT", key, propagated_unsigned(c, deadline), BYTES_LITERAL("FIELDS"),
			 BYTES_LITERAL("1"), field);
}

int
command_hincrbyfloat(struct command_context *c)
{
	struct open_hash h;
	struct bytes old;
	bool exists;
	uint64_t deadline;
	long double delta, value = 0;
	char text[LONG_DOUBLE_TEXT_MAX];
	if (!context_long_double(c, c->argv[3], &delta))
		return OUTCOME_FAILED;
	if (isinf(delta))
		return context_error(c, "ERR value is NaN or Infinity");
	int status = open_hash(c, c->argv[1], &h);
	if (status == SETT_OK)
		status = read_number(&h, c->argv[2], LONG_DOUBLE_TEXT_MAX, &old, &exists, &deadline);
	if (status != SETT_OK)
		return status;
	if (exists && !parse_long_double(old, &value))
		return context_error(c, "ERR hash value is not a float");
	value += delta;
	if (isnan(value) || isinf(value))
		return context_error(c, "ERR increment would produce NaN or Infinity");
	size_t size = format_long_double(value, text, sizeof(text));
	resp_bulk(c->reply, text, size);
	status = tell(write_number(&h, c->argv[2], text, size, deadline), &h.key, EVENT_HASH, "hincrbyfloat");
	return status == SETT_OK ? propagate_number(c, &h, text, size, deadline) : status;
}

/* ---- reading ---- */

/* The field's value, or null. */
static int
reply_field(struct command_context *c, struct hash *h, struct bytes name)
{
	struct hash_field field;
	struct sett_read_mark reads = hash_read_mark(h);
	int status = hash_find(h, name, &field);
	if (status == SETT_OK)
		status = reply_field_value(c, h, &field);
	else if (status == SETT_NOT_FOUND)
		resp_null(c->reply);
	hash_forget_reads(h, &reads);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
command_hget(struct command_context *c)
{
	struct open_hash h;
	int status = open_hash(c, c->argv[1], &h);
	return status == SETT_OK ? reply_field(c, &h.hash, c->argv[2]) : status;
}

int
command_hmget(struct command_context *c)
{
	struct open_hash h;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc && status == SETT_OK; i++)
		status = reply_field(c, &h.hash, c->argv[i]);
	return status;
}

/* HLEN counts what is stored: a field past its deadline until it is deleted, as in Redis. */
int
command_hlen(struct command_context *c)
{
	struct open_hash h;
	int status = open_hash(c, c->argv[1], &h);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)h.hash.count);
	return status;
}

/* HEXISTS and HSTRLEN. */
static int
reply_about(struct command_context *c, bool length)
{
	struct open_hash h;
	struct hash_field field;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	status = hash_find(&h.hash, c->argv[2], &field);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	bool exists = status == SETT_OK;
	resp_integer(c->reply, length && exists ? (int64_t)field.value_size : exists);
	return SETT_OK;
}

int
command_hexists(struct command_context *c)
{
	return reply_about(c, false);
}

int
command_hstrlen(struct command_context *c)
{
	return reply_about(c, true);
}
