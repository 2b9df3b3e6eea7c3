/* Commands on whole strings and on parts of them. */
#include "cmd/commands.h"
#include "cmd/lookup.h"
#include "cmd/splice.h"
#include "cmd/string_conditions.h"
#include "config/config.h"
#include "txn/propagation.h"

bool
string_size_is_allowed(struct command_context *c, uint64_t size, uint64_t more)
{
	uint64_t limit = (uint64_t)__atomic_load_n(&c->server->config->proto_max_bulk_len, __ATOMIC_RELAXED);
	if (size <= limit && more <= limit - size)
		return true;
	context_error(c, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
	return false;
}

bool
context_deadline(struct command_context *c, struct bytes argument, enum deadline_form form, uint64_t *ret)
{
	int64_t value, base = form == DEADLINE_EX || form == DEADLINE_PX ? (int64_t)c->view.now_ms : 0;
	if (!context_integer(c, argument, &value))
		return false;
	bool seconds = form == DEADLINE_EX || form == DEADLINE_EXAT;
	if (value <= 0 || (seconds && value > INT64_MAX / 1000) ||
	    (seconds ? value * 1000 : value) > INT64_MAX - base) {
		context_errorf(c, "ERR invalid expire time in '%s' command", c->command->full_name);
		return false;
	}
	*ret = (uint64_t)((seconds ? value * 1000 : value) + base);
	return true;
}

/* ---- SET, GETEX and MSETEX share their options ---- */

enum options_of { OPTIONS_OF_SET, OPTIONS_OF_GETEX, OPTIONS_OF_MSETEX };

struct set_options {
	bool if_absent, if_present, get, keep_deadline, persist;
	struct string_condition condition;
	bool has_deadline;
	enum deadline_form form;
	struct bytes deadline;
};

struct deadline_word {
	char word[5];
	enum deadline_form form;
};

static const struct deadline_word deadline_words[] = {
	{"EX", DEADLINE_EX},
	{"PX", DEADLINE_PX},
	{"EXAT", DEADLINE_EXAT},
	{"PXAT", DEADLINE_PXAT},
};

/* One of EX, PX, EXAT, PXAT with its argument. The same one may be repeated, as in Redis. */
static bool
parse_deadline_option(struct bytes word, bool has_argument, struct bytes argument, struct set_options *o)
{
	for (size_t i = 0; i < sizeof(deadline_words) / sizeof(deadline_words[0]); i++) {
		if (!argument_is(word, deadline_words[i].word))
			continue;
		if (!has_argument || o->keep_deadline || o->persist ||
		    (o->has_deadline && o->form != deadline_words[i].form))
			return false;
		o->has_deadline = true;
		o->form = deadline_words[i].form;
		o->deadline = argument;
		return true;
	}
	return false;
}

/* A condition on the value, with its operand. */
static bool
parse_condition_option(struct bytes word, bool has_argument, struct bytes argument, struct set_options *o)
{
	enum string_condition_kind kind = string_condition_of(word);
	if (kind == CONDITION_NONE || !has_argument || o->if_absent || o->if_present ||
	    o->condition.kind != CONDITION_NONE)
		return false;
	o->condition = (struct string_condition){.kind = kind, .operand = argument};
	return true;
}

static bool
parse_set_options(struct command_context *c, size_t first, enum options_of of, struct set_options *ret)
{
	struct set_options o = {0};
	bool stores = of != OPTIONS_OF_GETEX;
	for (size_t i = first; i < c->argc; i++) {
		struct bytes word = c->argv[i];
		bool has_next = i + 1 < c->argc, is_conditional = o.condition.kind != CONDITION_NONE;
		struct bytes next = has_next ? c->argv[i + 1] : word;
		if (stores && argument_is(word, "NX") && !o.if_present && !is_conditional) {
			o.if_absent = true;
		} else if (stores && argument_is(word, "XX") && !o.if_absent && !is_conditional) {
			o.if_present = true;
		} else if (of == OPTIONS_OF_SET && argument_is(word, "GET")) {
			o.get = true;
		} else if (stores && argument_is(word, "KEEPTTL") && !o.has_deadline) {
			o.keep_deadline = true;
		} else if (!stores && argument_is(word, "PERSIST") && !o.has_deadline) {
			o.persist = true;
		} else if (parse_deadline_option(word, has_next, next, &o) ||
			   (of == OPTIONS_OF_SET && parse_condition_option(word, has_next, next, &o))) {
			i++;
		} else {
			context_syntax_error(c);
			return false;
		}
	}
	*ret = o;
	return true;
}

/* Of a request with bodies among its arguments. */
static __attribute__((noinline)) int
put_large(struct command_context *c, struct key *k, size_t index, uint64_t deadline)
{
	const struct argument_body *body = argument_body_find(c->bodies, index);
	if (body == NULL)
		return key_put_string(k, c->argv[index], deadline);
	return key_put_body(k, body->body, deadline);
}

/* Puts argv[index], in whatever form it came. */
static inline int
put_argument(struct command_context *c, struct key *k, size_t index, uint64_t deadline)
{
	if (__builtin_expect(c->bodies != NULL, 0))
		return put_large(c, k, index, deadline);
	return key_put_string(k, c->argv[index], deadline);
}

/* The same, as SET does it. */
static inline int
set_argument(struct command_context *c, struct key *k, size_t index, uint64_t deadline)
{
	bool existed = k->exists;
	int status = put_argument(c, k, index, deadline);
	if (__builtin_expect(c->view.events == 0, 1))
		return status;
	return tell_stored(status, k, existed, VALUE_STRING, "set");
}

/* With a new deadline. */
static int
set_until(struct command_context *c, struct key *k, size_t index, uint64_t deadline)
{
	int status = tell(set_argument(c, k, index, deadline), k, EVENT_GENERIC, "expire");
	if (status == SETT_OK && c->view.now_ms > deadline) /* nobody will see it */
		return propagate(c, "DEL", k->name);
	return status == SETT_OK ? propagate(c, "SET", k->name, c->argv[index], BYTES_LITERAL("PXAT"),
					     propagated_unsigned(c, deadline))
				 : status;
}

/* With the deadline that it has, or none. */
static int
set_keeping(struct command_context *c, struct key *k, size_t index, bool keeps)
{
	int status = set_argument(c, k, index, keeps ? key_deadline(k) : 0);
	if (status != SETT_OK)
		return status;
	return keeps ? propagate(c, "SET", k->name, c->argv[index], BYTES_LITERAL("KEEPTTL"))
		     : propagate(c, "SET", k->name, c->argv[index]);
}

/* Whether SET may store: what its options say of the key as it is. */
static int
may_set(struct command_context *c, const struct set_options *o, const struct key *k, bool *ret)
{
	enum string_condition_kind kind = o->condition.kind;
	*ret = !(o->if_absent && k->exists) && !(o->if_present && !k->exists);
	if (kind == CONDITION_NONE)
		return SETT_OK;
	if (k->exists)
		return string_condition_holds(c, k, &o->condition, ret);
	*ret = kind == CONDITION_DIFFERENT || kind == CONDITION_DIGEST_DIFFERENT;
	return SETT_OK;
}

static int
open_to_set(struct command_context *c, const struct set_options *o, struct key *ret)
{
	if (o->get)
		return open_read_string(c, c->argv[1], ret);
	return o->condition.kind != CONDITION_NONE ? open_string(c, c->argv[1], ret)
						   : open_key(c, c->argv[1], ret);
}

static int
set_with_options(struct command_context *c, const struct set_options *o)
{
	struct key k;
	bool go;
	uint64_t deadline = 0;
	if (o->has_deadline && !context_deadline(c, o->deadline, o->form, &deadline))
		return OUTCOME_FAILED;
	int status = open_to_set(c, o, &k);
	if (status == SETT_OK)
		status = may_set(c, o, &k, &go);
	if (status != SETT_OK)
		return status;
	if (o->get && k.exists)
		status = context_reply_string(c, &k);
	else if (o->get || !go)
		resp_null(c->reply);
	else
		resp_status(c->reply, "OK");
	if (!go || status != SETT_OK)
		return status;
	if (o->has_deadline)
		return set_until(c, &k, 2, deadline);
	/* What was a question by then, and options that Redis 7.0 does not know. */
	if (o->get || o->condition.kind != CONDITION_NONE)
		return set_keeping(c, &k, 2, o->keep_deadline);
	return set_argument(c, &k, 2, o->keep_deadline ? key_deadline(&k) : 0);
}

/* SET reads its key only with GET or a condition on the value. */
int
key_rule_of_set(const struct bytes *argv, size_t argc, struct command_key *ret, size_t *ret_count)
{
	uint32_t flags = KEY_OW | KEY_UPDATE;
	for (size_t i = 3; i < argc; i++)
		if (argument_is(argv[i], "GET") || string_condition_of(argv[i]) != CONDITION_NONE)
			flags = KEY_RW | KEY_ACCESS | KEY_UPDATE;
	ret[0] = (struct command_key){.position = 1, .flags = flags};
	*ret_count = 1;
	return SETT_OK;
}

int
command_set(struct command_context *c)
{
	struct set_options options = {0};
	if (c->argc > 3 && !parse_set_options(c, 3, OPTIONS_OF_SET, &options))
		return OUTCOME_FAILED;
	return set_with_options(c, &options);
}

int
command_setnx(struct command_context *c)
{
	struct key k;
	int status = open_key(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	resp_integer(c->reply, !k.exists);
	return k.exists ? SETT_OK : set_argument(c, &k, 2, 0);
}

static int
set_with_deadline(struct command_context *c, enum deadline_form form)
{
	struct key k;
	uint64_t deadline;
	if (!context_deadline(c, c->argv[2], form, &deadline))
		return OUTCOME_FAILED;
	int status = open_key(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	return set_until(c, &k, 3, deadline);
}

int
command_setex(struct command_context *c)
{
	return set_with_deadline(c, DEADLINE_EX);
}

int
command_psetex(struct command_context *c)
{
	return set_with_deadline(c, DEADLINE_PX);
}

/* ---- GET and its kin ---- */

/* Opens the string and replies with it, or with null. */
static int
reply_string(struct command_context *c, struct bytes name, struct key *ret)
{
	int status = open_read_string(c, name, ret);
	if (status != SETT_OK)
		return status;
	if (ret->exists)
		return context_reply_string(c, ret);
	resp_null(c->reply);
	return SETT_OK;
}

int
command_get(struct command_context *c)
{
	struct key k;
	return reply_string(c, c->argv[1], &k);
}

/* The reply is no change: replicas are told of what is. */
static int
delete_alone(struct command_context *c, struct key *k)
{
	int status = tell_deleted(key_delete(k), k);
	return status == SETT_OK ? propagate(c, "DEL", k->name) : status;
}

static int
change_deadline(struct command_context *c, struct key *k, uint64_t deadline, const char *event)
{
	int status = tell(key_set_expiry(k, deadline), k, EVENT_GENERIC, event);
	if (status != SETT_OK)
		return status;
	return deadline != 0 ? propagate(c, "PEXPIREAT", k->name, propagated_unsigned(c, deadline))
			     : propagate(c, "PERSIST", k->name);
}

int
command_getdel(struct command_context *c)
{
	struct key k;
	int status = reply_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	return k.exists ? delete_alone(c, &k) : SETT_OK;
}

int
command_getset(struct command_context *c)
{
	struct key k;
	int status = reply_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	return set_keeping(c, &k, 2, false);
}

int
command_getex(struct command_context *c)
{
	struct set_options o;
	struct key k;
	uint64_t deadline = 0;
	if (!parse_set_options(c, 2, OPTIONS_OF_GETEX, &o))
		return OUTCOME_FAILED;
	int status = open_read_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists) {
		resp_null(c->reply);
		return SETT_OK;
	}
	if (o.has_deadline && !context_deadline(c, o.deadline, o.form, &deadline))
		return OUTCOME_FAILED;
	status = context_reply_string(c, &k);
	if (status != SETT_OK)
		return status;
	if (o.has_deadline && keyspace_is_past(&c->view, deadline))
		return delete_alone(c, &k);
	if (o.has_deadline)
		return change_deadline(c, &k, deadline, "expire");
	if (o.persist && k.root.expires_at != 0)
		return change_deadline(c, &k, 0, "persist");
	return SETT_OK;
}

int
command_strlen(struct command_context *c)
{
	struct key k;
	int status = open_string(c, c->argv[1], &k);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)string_size(&k));
	return status;
}

int
command_mget(struct command_context *c)
{
	resp_array(c->reply, c->argc - 1);
	for (size_t i = 1; i < c->argc; i++) {
		struct key k;
		struct sett_read_mark reads = sett_txn_read_mark(c->view.txn);
		int status = open_key(c, c->argv[i], &k);
		if (status == SETT_OK && k.exists && k.root.type == VALUE_STRING) {
			status = context_reply_string(c, &k);
		} else if (status == SETT_OK) {
			resp_null(c->reply);
		}
		sett_txn_forget_reads(c->view.txn, &reads);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static int
set_pairs(struct command_context *c)
{
	for (size_t i = 1; i + 1 < c->argc; i += 2) {
		struct key k;
		int status = open_key(c, c->argv[i], &k);
		if (status == SETT_OK)
			status = set_argument(c, &k, i + 1, 0);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

int
command_mset(struct command_context *c)
{
	if (c->argc % 2 == 0)
		return context_wrong_arity(c);
	resp_status(c->reply, "OK");
	return set_pairs(c);
}

int
command_msetnx(struct command_context *c)
{
	if (c->argc % 2 == 0)
		return context_wrong_arity(c);
	for (size_t i = 1; i < c->argc; i += 2) {
		struct key k;
		int status = open_key(c, c->argv[i], &k);
		if (status != SETT_OK)
			return status;
		if (k.exists) {
			resp_integer(c->reply, 0);
			return SETT_OK;
		}
	}
	resp_integer(c->reply, 1);
	return set_pairs(c);
}

/* MSETEX (Redis 8.4): whether its keys are all there, or none is, as it asks. */
static int
may_set_all(struct command_context *c, const struct set_options *o, size_t end, bool *ret)
{
	*ret = true;
	for (size_t i = 2; (o->if_absent || o->if_present) && *ret && i < end; i += 2) {
		struct key k;
		int status = open_key(c, c->argv[i], &k);
		if (status != SETT_OK)
			return status;
		*ret = k.exists == o->if_present;
	}
	return SETT_OK;
}

int
command_msetex(struct command_context *c)
{
	struct set_options o;
	int64_t count;
	uint64_t deadline = 0;
	bool go;
	if (!context_integer_range(c, c->argv[1], 1, INT32_MAX, "ERR invalid numkeys value", &count))
		return OUTCOME_FAILED;
	size_t end = 2 + 2 * (size_t)count;
	if (c->argc < end)
		return context_error(c, "ERR wrong number of key-value pairs");
	if (!parse_set_options(c, end, OPTIONS_OF_MSETEX, &o) ||
	    (o.has_deadline && !context_deadline(c, o.deadline, o.form, &deadline)))
		return OUTCOME_FAILED;
	int status = may_set_all(c, &o, end, &go);
	for (size_t i = 2; status == SETT_OK && go && i < end; i += 2) {
		struct key k;
		status = open_key(c, c->argv[i], &k);
		if (status == SETT_OK && o.has_deadline)
			status = set_until(c, &k, i + 1, deadline);
		else if (status == SETT_OK)
			status = set_keeping(c, &k, i + 1, o.keep_deadline);
	}
	if (status == SETT_OK)
		resp_integer(c->reply, go);
	return status;
}

/* ---- parts ---- */

int
command_getrange(struct command_context *c)
{
	int64_t start, end;
	struct key k;
	if (!context_integer(c, c->argv[2], &start) || !context_integer(c, c->argv[3], &end))
		return OUTCOME_FAILED;
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	int64_t size = (int64_t)string_size(&k);
	bool reversed = start < 0 && end < 0 && start > end;
	if (start < 0)
		start = start + size > 0 ? start + size : 0;
	if (end < 0)
		end = end + size > 0 ? end + size : 0;
	if (end >= size)
		end = size - 1;
	if (!reversed && start <= end && size > 0)
		return context_reply_part(c, &k, (uint64_t)start, (uint64_t)(end - start + 1));
	resp_bulk(c->reply, "", 0);
	return SETT_OK;
}

/* The argument as bytes to be put into a string, in whatever form it came. */
static struct string_part
part_of(const struct command_context *c, size_t index)
{
	const struct argument_body *body = c->bodies != NULL ? argument_body_find(c->bodies, index) : NULL;
	if (body != NULL)
		return (struct string_part){.size = body->size, .body = body->body};
	return (struct string_part){.size = c->argv[index].size, .data = c->argv[index].data};
}

int
command_append(struct command_context *c)
{
	struct key k;
	struct string_part part = part_of(c, 2);
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	if (!k.exists) {
		resp_integer(c->reply, (int64_t)part.size);
		return tell(put_argument(c, &k, 2, 0), &k, EVENT_STRING, "append");
	}
	uint64_t size = k.root.body_size;
	if (!string_size_is_allowed(c, size, part.size))
		return OUTCOME_FAILED;
	part.offset = size;
	status = string_splice(c, &k, &part, 1);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)(size + part.size));
	return tell(status, &k, EVENT_STRING, "append");
}

int
command_setrange(struct command_context *c)
{
	int64_t offset;
	struct key k;
	struct string_part part = part_of(c, 3);
	if (!context_integer(c, c->argv[2], &offset))
		return OUTCOME_FAILED;
	if (offset < 0)
		return context_error(c, "ERR offset is out of range");
	int status = open_string(c, c->argv[1], &k);
	if (status != SETT_OK)
		return status;
	uint64_t size = string_size(&k);
	if (part.size == 0) {
		resp_integer(c->reply, (int64_t)size);
		return SETT_OK;
	}
	if (!string_size_is_allowed(c, (uint64_t)offset, part.size))
		return OUTCOME_FAILED;
	part.offset = (uint64_t)offset;
	status = string_splice(c, &k, &part, 1);
	uint64_t end = (uint64_t)offset + part.size;
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)(end > size ? end : size));
	return tell(status, &k, EVENT_STRING, "setrange");
}
