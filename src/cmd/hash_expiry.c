/* Deadlines of fields, and commands that read or set fields together with their deadlines, as Redis 7.4 and 8.0
 * have them. A field whose deadline would not be in the future is deleted at once. */
#include "cmd/commands.h"
#include "cmd/hashes.h"
#include "txn/propagation.h"

/* Redis keeps field deadlines in 46 bits. */
static const int64_t deadline_max = ((int64_t)1 << 46) - 1;

/* ---- arguments ---- */

static bool
is_in_seconds(enum deadline_form form)
{
	return form == DEADLINE_EX || form == DEADLINE_EXAT;
}

/* The deadline in ms since 1970; it may be in the past. */
static bool
parse_field_deadline(struct command_context *c, struct bytes argument, enum deadline_form form, uint64_t *ret)
{
	int64_t base = form == DEADLINE_EX || form == DEADLINE_PX ? (int64_t)c->view.now_ms : 0;
	int64_t unit = is_in_seconds(form) ? 1000 : 1, value;
	if (!context_integer(c, argument, &value))
		return false;
	if (value < 0) {
		context_error(c, "ERR invalid expire time, must be >= 0");
		return false;
	}
	if (value > deadline_max / unit || value * unit > deadline_max - base) {
		context_errorf(c, "ERR invalid expire time in '%s' command", c->command->full_name);
		return false;
	}
	*ret = (uint64_t)(value * unit + base);
	return true;
}

/* "FIELDS count field ..." from argument `at` to the end; `ret` is the first field's. */
static bool
parse_fields(struct command_context *c, size_t at, const char *bad_count, size_t *ret)
{
	int64_t count;
	if (at + 1 >= c->argc || !argument_is(c->argv[at], "FIELDS")) {
		context_error(c, "ERR Mandatory argument FIELDS is missing or not at the right position");
		return false;
	}
	if (!context_integer_range(c, c->argv[at + 1], 1, INT64_MAX, bad_count, &count))
		return false;
	if ((uint64_t)count != c->argc - at - 2) {
		context_error(c, "ERR The `numfields` parameter must match the number of arguments");
		return false;
	}
	*ret = at + 2;
	return true;
}

static const char bad_count[] = "ERR Number of fields must be a positive integer";

/* ---- one field ---- */

/* Sets the deadline, or deletes the field if it is not in the future. `ret_deleted` may be NULL. */
static int
set_deadline(struct open_hash *h, const struct hash_field *field, uint64_t deadline, bool *ret_deleted)
{
	bool deleted = deadline != 0 && keyspace_is_past(h->key.view, deadline);
	if (ret_deleted != NULL)
		*ret_deleted = deleted;
	return deleted ? hash_remove(&h->hash, field) : hash_set_deadline(&h->hash, field, deadline);
}

/* What a command did to deadlines: `event`, NULL if it did nothing, and whether fields went with it. */
static int
tell_deadlines(int status, const struct open_hash *h, const char *event, bool deleted)
{
	if (status == SETT_OK && event != NULL)
		status = key_event(&h->key, EVENT_HASH, event);
	return deleted ? tell(status, &h->key, EVENT_HASH, "hdel") : status;
}

/* ---- what replicas are told ---- */

/* Fields whose deadlines a command changed, and those that it deleted. */
struct told {
	struct propagated changed, deleted;
};

static int
note_field(struct command_context *c, struct told *told, struct bytes name, bool deleted)
{
	return propagated_add(c, deleted ? &told->deleted : &told->changed, name);
}

/* HPEXPIREAT key deadline FIELDS ..., HPERSIST key FIELDS ... */
static int
propagate_deadlines(struct command_context *c, struct bytes key, uint64_t deadline,
		    const struct propagated *fields)
{
	struct propagated all = {0};
	int status = propagated_add(c, &all, key);
	if (status == SETT_OK && deadline != 0)
		status = propagated_add(c, &all, propagated_unsigned(c, deadline));
	if (status == SETT_OK)
		status = propagated_add(c, &all, BYTES_LITERAL("FIELDS"));
	if (status == SETT_OK)
		status = propagated_add(c, &all, propagated_unsigned(c, fields->count));
	for (size_t i = 0; i < fields->count && status == SETT_OK; i++)
		status = propagated_add(c, &all, fields->arguments[i]);
	if (status != SETT_OK)
		return status;
	return propagate_as(c, deadline != 0 ? "HPEXPIREAT" : "HPERSIST", all.arguments, all.count);
}

static int
propagate_deletions(struct command_context *c, struct bytes key, const struct propagated *fields)
{
	struct propagated all = {0};
	int status = propagated_add(c, &all, key);
	for (size_t i = 0; i < fields->count && status == SETT_OK; i++)
		status = propagated_add(c, &all, fields->arguments[i]);
	return status == SETT_OK ? propagate_as(c, "HDEL", all.arguments, all.count) : status;
}

static int
propagate_fields(struct command_context *c, const struct open_hash *h, const struct told *told,
		 uint64_t deadline)
{
	int status = SETT_OK;
	if (told->changed.count > 0)
		status = propagate_deadlines(c, h->key.name, deadline, &told->changed);
	if (status == SETT_OK && told->deleted.count > 0)
		status = propagate_deletions(c, h->key.name, &told->deleted);
	return status;
}

/* ---- HEXPIRE and its kin ---- */

enum condition { CONDITION_NONE, CONDITION_NX, CONDITION_XX, CONDITION_GT, CONDITION_LT };

static enum condition
parse_condition(struct bytes argument)
{
	static const char *const words[] = {NULL, "NX", "XX", "GT", "LT"};
	for (int i = CONDITION_NX; i <= CONDITION_LT; i++)
		if (argument_is(argument, words[i]))
			return (enum condition)i;
	return CONDITION_NONE;
}

/* No deadline counts as an infinitely late one. */
static bool
condition_holds(enum condition condition, uint64_t old, uint64_t deadline)
{
	switch (condition) {
	case CONDITION_NX:
		return old == 0;
	case CONDITION_XX:
		return old != 0;
	case CONDITION_GT:
		return old != 0 && deadline > old;
	case CONDITION_LT:
		return old == 0 || deadline < old;
	default:
		return true;
	}
}

enum expire_result {
	FIELD_ABSENT = -2,
	FIELD_WITHOUT_DEADLINE = -1,
	CONDITION_FAILED = 0,
	DEADLINE_CHANGED = 1,
	FIELD_DELETED = 2,
};

static int
expire_field(struct open_hash *h, struct bytes name, enum condition condition, uint64_t deadline,
	     enum expire_result *ret)
{
	struct hash_field field;
	bool deleted;
	int status = hash_find(&h->hash, name, &field);
	if (status == SETT_NOT_FOUND) {
		*ret = FIELD_ABSENT;
		return SETT_OK;
	}
	*ret = CONDITION_FAILED;
	if (status != SETT_OK || !condition_holds(condition, field.deadline, deadline))
		return status;
	status = set_deadline(h, &field, deadline, &deleted);
	*ret = deleted ? FIELD_DELETED : DEADLINE_CHANGED;
	return status;
}

static int
expire_fields(struct command_context *c, enum deadline_form form)
{
	struct open_hash h;
	bool changed = false, deleted = false;
	uint64_t deadline;
	struct told told = {0};
	size_t first;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	if (!parse_field_deadline(c, c->argv[2], form, &deadline))
		return OUTCOME_FAILED;
	enum condition condition = parse_condition(c->argv[3]);
	if (!parse_fields(c, condition != CONDITION_NONE ? 4 : 3,
			  "ERR Parameter `numFields` should be greater than 0", &first))
		return OUTCOME_FAILED;
	resp_array(c->reply, c->argc - first);
	for (size_t i = first; i < c->argc; i++) {
		enum expire_result result;
		struct sett_read_mark reads = hash_read_mark(&h.hash);
		status = expire_field(&h, c->argv[i], condition, deadline, &result);
		hash_forget_reads(&h.hash, &reads);
		if (status == SETT_OK && result > CONDITION_FAILED)
			status = note_field(c, &told, c->argv[i], result == FIELD_DELETED);
		if (status != SETT_OK)
			return status;
		resp_integer(c->reply, result);
		changed |= result == DEADLINE_CHANGED;
		deleted |= result == FIELD_DELETED;
	}
	status = tell_deadlines(hash_save(&h.hash), &h, changed ? "hexpire" : NULL, deleted);
	return status == SETT_OK ? propagate_fields(c, &h, &told, deadline) : status;
}

int
command_hexpire(struct command_context *c)
{
	return expire_fields(c, DEADLINE_EX);
}

int
command_hpexpire(struct command_context *c)
{
	return expire_fields(c, DEADLINE_PX);
}

int
command_hexpireat(struct command_context *c)
{
	return expire_fields(c, DEADLINE_EXAT);
}

int
command_hpexpireat(struct command_context *c)
{
	return expire_fields(c, DEADLINE_PXAT);
}

/* ---- HTTL and its kin, HPERSIST ---- */

/* What is left until the deadline, or the deadline. Seconds are rounded up. */
static int64_t
shown_deadline(const struct command_context *c, uint64_t deadline, enum deadline_form form)
{
	bool is_left = form == DEADLINE_EX || form == DEADLINE_PX;
	uint64_t value = is_left ? deadline - c->view.now_ms : deadline;
	return (int64_t)(is_in_seconds(form) ? (value + 999) / 1000 : value);
}

static int
reply_deadlines(struct command_context *c, enum deadline_form form)
{
	struct open_hash h;
	size_t first;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	if (!parse_fields(c, 2, bad_count, &first))
		return OUTCOME_FAILED;
	resp_array(c->reply, c->argc - first);
	for (size_t i = first; i < c->argc; i++) {
		struct hash_field field;
		struct sett_read_mark reads = hash_read_mark(&h.hash);
		status = hash_find(&h.hash, c->argv[i], &field);
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
		if (status == SETT_NOT_FOUND)
			resp_integer(c->reply, FIELD_ABSENT);
		else if (field.deadline == 0)
			resp_integer(c->reply, FIELD_WITHOUT_DEADLINE);
		else
			resp_integer(c->reply, shown_deadline(c, field.deadline, form));
		hash_forget_reads(&h.hash, &reads);
	}
	return SETT_OK;
}

int
command_httl(struct command_context *c)
{
	return reply_deadlines(c, DEADLINE_EX);
}

int
command_hpttl(struct command_context *c)
{
	return reply_deadlines(c, DEADLINE_PX);
}

int
command_hexpiretime(struct command_context *c)
{
	return reply_deadlines(c, DEADLINE_EXAT);
}

int
command_hpexpiretime(struct command_context *c)
{
	return reply_deadlines(c, DEADLINE_PXAT);
}

static int
persist_field(struct open_hash *h, struct bytes name, enum expire_result *ret)
{
	struct hash_field field;
	int status = hash_find(&h->hash, name, &field);
	if (status == SETT_NOT_FOUND) {
		*ret = FIELD_ABSENT;
		return SETT_OK;
	}
	if (status != SETT_OK)
		return status;
	*ret = field.deadline == 0 ? FIELD_WITHOUT_DEADLINE : DEADLINE_CHANGED;
	return hash_set_deadline(&h->hash, &field, 0);
}

int
command_hpersist(struct command_context *c)
{
	struct open_hash h;
	bool changed = false;
	size_t first;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	if (!parse_fields(c, 2, bad_count, &first))
		return OUTCOME_FAILED;
	resp_array(c->reply, c->argc - first);
	for (size_t i = first; i < c->argc; i++) {
		enum expire_result result;
		struct sett_read_mark reads = hash_read_mark(&h.hash);
		status = persist_field(&h, c->argv[i], &result);
		hash_forget_reads(&h.hash, &reads);
		if (status != SETT_OK)
			return status;
		resp_integer(c->reply, result);
		changed |= result == DEADLINE_CHANGED;
	}
	return tell_deadlines(hash_save(&h.hash), &h, changed ? "hpersist" : NULL, false);
}

/* ---- HGETDEL, HGETEX ---- */

/* The field's value, or null; `ret_exists` says which. */
static int
reply_and_keep(struct command_context *c, struct open_hash *h, struct bytes name, struct hash_field *ret,
	       bool *ret_exists)
{
	int status = hash_find(&h->hash, name, ret);
	*ret_exists = status == SETT_OK;
	if (status == SETT_OK)
		return reply_field_value(c, &h->hash, ret);
	if (status != SETT_NOT_FOUND)
		return status;
	resp_null(c->reply);
	return SETT_OK;
}

int
command_hgetdel(struct command_context *c)
{
	struct open_hash h;
	struct told told = {0};
	bool deleted = false;
	size_t first;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	if (!parse_fields(c, 2, bad_count, &first))
		return OUTCOME_FAILED;
	resp_array(c->reply, c->argc - first);
	for (size_t i = first; i < c->argc && status == SETT_OK; i++) {
		struct hash_field field;
		bool exists;
		struct sett_read_mark reads = hash_read_mark(&h.hash);
		status = reply_and_keep(c, &h, c->argv[i], &field, &exists);
		deleted |= exists;
		if (status == SETT_OK && exists)
			status = hash_remove(&h.hash, &field);
		hash_forget_reads(&h.hash, &reads);
		if (status == SETT_OK && exists)
			status = note_field(c, &told, c->argv[i], true);
	}
	if (status == SETT_OK)
		status = hash_save(&h.hash);
	status = tell_deadlines(status, &h, NULL, deleted);
	return status == SETT_OK ? propagate_fields(c, &h, &told, 0) : status;
}

static bool
parse_form(struct bytes word, enum deadline_form *ret)
{
	static const char *const words[] = {[DEADLINE_EX] = "EX",
					    [DEADLINE_PX] = "PX",
					    [DEADLINE_EXAT] = "EXAT",
					    [DEADLINE_PXAT] = "PXAT"};
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (argument_is(word, words[i])) {
			*ret = (enum deadline_form)i;
			return true;
		}
	}
	return false;
}

int
command_hgetex(struct command_context *c)
{
	struct open_hash h;
	enum deadline_form form;
	uint64_t deadline = 0;
	size_t first, fields = 2;
	struct told told = {0};
	bool changed = false, deleted = false, gone;
	int status = open_hash(c, c->argv[1], &h);
	if (status != SETT_OK)
		return status;
	bool change = true;
	if (parse_form(c->argv[2], &form)) {
		if (!parse_field_deadline(c, c->argv[3], form, &deadline))
			return OUTCOME_FAILED;
		fields = 4;
	} else if (argument_is(c->argv[2], "PERSIST")) {
		fields = 3;
	} else {
		change = false;
	}
	if (!parse_fields(c, fields, bad_count, &first))
		return OUTCOME_FAILED;
	resp_array(c->reply, c->argc - first);
	for (size_t i = first; i < c->argc && status == SETT_OK; i++) {
		struct hash_field field;
		bool exists;
		struct sett_read_mark reads = hash_read_mark(&h.hash);
		status = reply_and_keep(c, &h, c->argv[i], &field, &exists);
		if (status == SETT_OK && exists && change) {
			bool changes = deadline != 0 || field.deadline != 0;
			changed |= changes;
			status = set_deadline(&h, &field, deadline, &gone);
			if (status == SETT_OK && changes)
				status = note_field(c, &told, c->argv[i], gone);
			deleted |= gone;
		}
		hash_forget_reads(&h.hash, &reads);
	}
	if (status == SETT_OK)
		status = hash_save(&h.hash);
	const char *event = deadline != 0 ? "hexpire" : "hpersist";
	status = tell_deadlines(status, &h, changed && !deleted ? event : NULL, deleted);
	return status == SETT_OK ? propagate_fields(c, &h, &told, deadline) : status;
}

/* ---- HSETEX ---- */

struct setex_options {
	bool if_absent, if_present;
	bool has_deadline, keep;
	uint64_t deadline;
	size_t first; /* argument: name, value, name, value, ... */
};

/* The count after FIELDS at argument `at`, and the pairs after it. */
static bool
parse_pairs(struct command_context *c, size_t at, struct setex_options *o)
{
	int64_t count;
	if (at + 3 >= c->argc) {
		context_wrong_arity(c);
		return false;
	}
	if (!context_integer_range(c, c->argv[at + 1], 1, INT32_MAX, "ERR invalid number of fields", &count))
		return false;
	size_t left = c->argc - at - 2;
	if (left % 2 != 0 || (uint64_t)count != left / 2) {
		context_wrong_arity(c);
		return false;
	}
	o->first = at + 2;
	return true;
}

/* One of EX, PX, EXAT, PXAT or KEEPTTL at argument `*at`, which is moved to its last. */
static bool
parse_setex_deadline(struct command_context *c, size_t *at, struct setex_options *o)
{
	enum deadline_form form;
	if (o->has_deadline || o->keep) {
		context_error(c, "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
		return false;
	}
	if (!parse_form(c->argv[*at], &form)) {
		o->keep = true;
		return true;
	}
	if (*at + 1 >= c->argc) {
		context_error(c, "ERR missing expire time");
		return false;
	}
	o->has_deadline = true;
	return parse_field_deadline(c, c->argv[++*at], form, &o->deadline);
}

static bool
parse_setex(struct command_context *c, struct setex_options *ret)
{
	struct setex_options o = {0};
	enum deadline_form form;
	for (size_t i = 2; i < c->argc; i++) {
		struct bytes word = c->argv[i];
		bool absent = argument_is(word, "FNX");
		if (argument_is(word, "FIELDS")) {
			if (!parse_pairs(c, i, &o))
				return false;
			*ret = o;
			return true;
		}
		if (parse_form(word, &form) || argument_is(word, "KEEPTTL")) {
			if (!parse_setex_deadline(c, &i, &o))
				return false;
		} else if (absent || argument_is(word, "FXX")) {
			if (o.if_absent || o.if_present) {
				context_error(c, "ERR Only one of FXX or FNX arguments can be specified");
				return false;
			}
			o.if_absent = absent;
			o.if_present = !absent;
		} else {
			context_errorf(c, "ERR unknown argument: %.*s",
				       (int)(word.size < 128 ? word.size : 128), (const char *)word.data);
			return false;
		}
	}
	/* Redis does not reach this: its arity leaves room for FIELDS in the end. */
	context_wrong_arity(c);
	return false;
}

/* Whether FNX or FXX lets the command go on. */
static int
check_setex(struct command_context *c, struct open_hash *h, const struct setex_options *o, bool *ret)
{
	*ret = true;
	if (!o->if_absent && !o->if_present)
		return SETT_OK;
	for (size_t i = o->first; i < c->argc && *ret; i += 2) {
		bool is_there;
		int status = hash_has(&h->hash, c->argv[i], &is_there);
		if (status != SETT_OK)
			return status;
		*ret = is_there == o->if_present;
	}
	return SETT_OK;
}

/* A field that was set, as Redis 7.0 does it, and its deadline. */
static int
propagate_set(struct command_context *c, const struct open_hash *h, struct bytes name, struct bytes value,
	      uint64_t deadline)
{
	int status = propagate(c, "HSET", h->key.name, name, value);
	if (status != SETT_OK || deadline == 0)
		return status;
	return propagate(c, "HPEXPIREAT", h->key.name, propagated_unsigned(c, deadline),
			 BYTES_LITERAL("FIELDS"), BYTES_LITERAL("1"), name);
}

static int
setex_field(struct command_context *c, struct open_hash *h, struct bytes name, struct bytes value,
	    const struct setex_options *o)
{
	struct hash_field field;
	uint64_t deadline = o->deadline;
	bool is_past = o->has_deadline && keyspace_is_past(h->key.view, deadline);
	if (o->keep || is_past) {
		int status = hash_find(&h->hash, name, &field);
		if (status != SETT_OK && status != SETT_NOT_FOUND)
			return status;
		if (is_past && status == SETT_NOT_FOUND)
			return SETT_OK;
		if (is_past)
			status = hash_remove(&h->hash, &field);
		if (is_past)
			return status == SETT_OK ? propagate(c, "HDEL", h->key.name, name) : status;
		deadline = status == SETT_OK ? field.deadline : 0;
	}
	int status = hash_put(&h->hash, name, value, deadline, NULL);
	return status == SETT_OK ? propagate_set(c, h, name, value, deadline) : status;
}

int
command_hsetex(struct command_context *c)
{
	struct open_hash h;
	struct setex_options options;
	bool go;
	if (!parse_setex(c, &options))
		return OUTCOME_FAILED;
	int status = open_hash(c, c->argv[1], &h);
	if (status == SETT_OK)
		status = check_setex(c, &h, &options, &go);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, go);
	for (size_t i = options.first; go && i < c->argc && status == SETT_OK; i += 2) {
		struct sett_read_mark reads = hash_read_mark(&h.hash);
		status = setex_field(c, &h, c->argv[i], c->argv[i + 1], &options);
		hash_forget_reads(&h.hash, &reads);
	}
	if (status == SETT_OK)
		status = hash_save(&h.hash);
	if (status != SETT_OK || !go)
		return status;
	bool has_passed = options.has_deadline && keyspace_is_past(&c->view, options.deadline);
	status = key_event(&h.key, EVENT_HASH, "hset");
	return tell_deadlines(status, &h, options.has_deadline && !has_passed ? "hexpire" : NULL, has_passed);
}
