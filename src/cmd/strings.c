/* Commands on whole strings and on parts of them. */
#include "cmd/groups.h"
#include "cmd/lookup.h"
#include "cmd/splice.h"
#include "config/config.h"

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

/* ---- SET and GETEX share their options ---- */

struct set_options {
	bool if_absent, if_present, get, keep_deadline, persist;
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

static bool
parse_set_options(struct command_context *c, size_t first, bool is_set, struct set_options *ret)
{
	struct set_options o = {0};
	for (size_t i = first; i < c->argc; i++) {
		struct bytes word = c->argv[i];
		bool has_next = i + 1 < c->argc;
		if (is_set && argument_is(word, "NX") && !o.if_present) {
			o.if_absent = true;
		} else if (is_set && argument_is(word, "XX") && !o.if_absent) {
			o.if_present = true;
		} else if (is_set && argument_is(word, "GET")) {
			o.get = true;
		} else if (is_set && argument_is(word, "KEEPTTL") && !o.has_deadline) {
			o.keep_deadline = true;
		} else if (!is_set && argument_is(word, "PERSIST") && !o.has_deadline) {
			o.persist = true;
		} else if (parse_deadline_option(word, has_next, has_next ? c->argv[i + 1] : word, &o)) {
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
put_large(struct command_context *c, struct bytes key, size_t index, uint64_t deadline,
	  const struct root *old)
{
	const struct argument_body *body = argument_body_find(c->bodies, index);
	if (body == NULL)
		return keyspace_put_string(&c->view, c->db, key, c->argv[index], deadline, old);
	return keyspace_put_body(&c->view, c->db, key, body->body, deadline, old);
}

/* Puts argv[index], in whatever form it came. */
static inline int
put_argument(struct command_context *c, struct bytes key, size_t index, uint64_t deadline,
	     const struct found_string *old)
{
	if (__builtin_expect(c->bodies != NULL, 0))
		return put_large(c, key, index, deadline, found_root(old));
	return keyspace_put_string(&c->view, c->db, key, c->argv[index], deadline, found_root(old));
}

static int
set_with_options(struct command_context *c, const struct set_options *o)
{
	struct found_string old = {0};
	uint64_t deadline = 0;
	if (o->has_deadline && !context_deadline(c, o->deadline, o->form, &deadline))
		return SETT_OK;
	int status = o->get ? lookup_string_root(c, c->argv[1], &old.exists, &old.root)
			    : lookup_key(c, c->argv[1], &old.exists, &old.root);
	if (status != SETT_OK || c->failed)
		return status;
	bool go = !(o->if_absent && old.exists) && !(o->if_present && !old.exists);
	if (o->get && old.exists)
		status = context_reply_string(c, &old.root);
	else if (o->get || !go)
		resp_null(c->reply);
	else
		resp_status(c->reply, "OK");
	if (!go || status != SETT_OK)
		return status;
	if (o->keep_deadline)
		deadline = found_deadline(&old);
	return put_argument(c, c->argv[1], 2, deadline, &old);
}

static int
command_set(struct command_context *c)
{
	struct set_options options = {0};
	if (c->argc > 3 && !parse_set_options(c, 3, true, &options))
		return SETT_OK;
	return set_with_options(c, &options);
}

static int
command_setnx(struct command_context *c)
{
	struct found_string old;
	int status = lookup_key(c, c->argv[1], &old.exists, &old.root);
	if (status == SETT_OK && !old.exists)
		status = put_argument(c, c->argv[1], 2, 0, &old);
	if (status == SETT_OK)
		resp_integer(c->reply, !old.exists);
	return status;
}

static int
set_with_deadline(struct command_context *c, enum deadline_form form)
{
	struct found_string old;
	uint64_t deadline;
	if (!context_deadline(c, c->argv[2], form, &deadline))
		return SETT_OK;
	int status = lookup_key(c, c->argv[1], &old.exists, &old.root);
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	return put_argument(c, c->argv[1], 3, deadline, &old);
}

static int
command_setex(struct command_context *c)
{
	return set_with_deadline(c, DEADLINE_EX);
}

static int
command_psetex(struct command_context *c)
{
	return set_with_deadline(c, DEADLINE_PX);
}

/* ---- GET and its kin ---- */

/* Looks the string up and replies with it, or with null. */
static int
reply_string(struct command_context *c, struct bytes key, struct found_string *ret)
{
	int status = lookup_string_root(c, key, &ret->exists, &ret->root);
	if (status != SETT_OK || c->failed)
		return status;
	if (ret->exists)
		return context_reply_string(c, &ret->root);
	resp_null(c->reply);
	return SETT_OK;
}

static int
command_get(struct command_context *c)
{
	struct found_string found;
	return reply_string(c, c->argv[1], &found);
}

static int
command_getdel(struct command_context *c)
{
	struct found_string found;
	int status = reply_string(c, c->argv[1], &found);
	if (status != SETT_OK || c->failed)
		return status;
	return found.exists ? keyspace_delete(&c->view, c->db, c->argv[1], &found.root) : SETT_OK;
}

static int
command_getset(struct command_context *c)
{
	struct found_string found;
	int status = reply_string(c, c->argv[1], &found);
	if (status != SETT_OK || c->failed)
		return status;
	return put_argument(c, c->argv[1], 2, 0, &found);
}

static int
command_getex(struct command_context *c)
{
	struct set_options o;
	struct found_string found;
	uint64_t deadline = 0;
	if (!parse_set_options(c, 2, false, &o))
		return SETT_OK;
	int status = lookup_string_root(c, c->argv[1], &found.exists, &found.root);
	if (status != SETT_OK || c->failed)
		return status;
	if (!found.exists) {
		resp_null(c->reply);
		return SETT_OK;
	}
	if (o.has_deadline && !context_deadline(c, o.deadline, o.form, &deadline))
		return SETT_OK;
	status = context_reply_string(c, &found.root);
	if (status != SETT_OK)
		return status;
	if (o.has_deadline && deadline <= c->view.now_ms)
		return keyspace_delete(&c->view, c->db, c->argv[1], &found.root);
	if (o.has_deadline || (o.persist && found.root.expires_at != 0))
		return keyspace_set_expiry(&c->view, c->db, c->argv[1], &found.root, deadline);
	return SETT_OK;
}

static int
command_strlen(struct command_context *c)
{
	bool exists;
	struct root root;
	int status = lookup_string_root(c, c->argv[1], &exists, &root);
	if (status == SETT_OK && !c->failed)
		resp_integer(c->reply, exists ? (int64_t)root.body_size : 0);
	return status;
}

static int
command_mget(struct command_context *c)
{
	resp_array(c->reply, c->argc - 1);
	for (size_t i = 1; i < c->argc; i++) {
		struct root root;
		bool exists;
		int status = lookup_key(c, c->argv[i], &exists, &root);
		if (status == SETT_OK && exists && root.type == VALUE_STRING) {
			status = context_reply_string(c, &root);
		} else if (status == SETT_OK) {
			resp_null(c->reply);
		}
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static int
set_pairs(struct command_context *c)
{
	for (size_t i = 1; i + 1 < c->argc; i += 2) {
		struct found_string old;
		int status = lookup_key(c, c->argv[i], &old.exists, &old.root);
		if (status == SETT_OK)
			status = put_argument(c, c->argv[i], i + 1, 0, &old);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static int
command_mset(struct command_context *c)
{
	if (c->argc % 2 == 0)
		return context_wrong_arity(c);
	resp_status(c->reply, "OK");
	return set_pairs(c);
}

static int
command_msetnx(struct command_context *c)
{
	if (c->argc % 2 == 0)
		return context_wrong_arity(c);
	for (size_t i = 1; i < c->argc; i += 2) {
		struct root root;
		bool exists;
		int status = lookup_key(c, c->argv[i], &exists, &root);
		if (status != SETT_OK)
			return status;
		if (exists) {
			resp_integer(c->reply, 0);
			return SETT_OK;
		}
	}
	resp_integer(c->reply, 1);
	return set_pairs(c);
}

/* ---- parts ---- */

static int
command_getrange(struct command_context *c)
{
	int64_t start, end;
	bool exists;
	struct root root;
	if (!context_integer(c, c->argv[2], &start) || !context_integer(c, c->argv[3], &end))
		return SETT_OK;
	int status = lookup_string_root(c, c->argv[1], &exists, &root);
	if (status != SETT_OK || c->failed)
		return status;
	int64_t size = exists ? (int64_t)root.body_size : 0;
	bool reversed = start < 0 && end < 0 && start > end;
	if (start < 0)
		start = start + size > 0 ? start + size : 0;
	if (end < 0)
		end = end + size > 0 ? end + size : 0;
	if (end >= size)
		end = size - 1;
	if (!reversed && start <= end && size > 0)
		return context_reply_part(c, &root, (uint64_t)start, (uint64_t)(end - start + 1));
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

static int
command_append(struct command_context *c)
{
	struct found_string old;
	struct string_part part = part_of(c, 2);
	int status = lookup_string_root(c, c->argv[1], &old.exists, &old.root);
	if (status != SETT_OK || c->failed)
		return status;
	if (!old.exists) {
		resp_integer(c->reply, (int64_t)part.size);
		return put_argument(c, c->argv[1], 2, 0, &old);
	}
	if (!string_size_is_allowed(c, old.root.body_size, part.size))
		return SETT_OK;
	status = string_splice(c, c->argv[1], &old, old.root.body_size, &part);
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)(old.root.body_size + part.size));
	return status;
}

static int
command_setrange(struct command_context *c)
{
	int64_t offset;
	struct found_string old;
	struct string_part part = part_of(c, 3);
	if (!context_integer(c, c->argv[2], &offset))
		return SETT_OK;
	if (offset < 0)
		return context_error(c, "ERR offset is out of range");
	int status = lookup_string_root(c, c->argv[1], &old.exists, &old.root);
	if (status != SETT_OK || c->failed)
		return status;
	uint64_t size = found_size(&old);
	if (part.size == 0) {
		resp_integer(c->reply, (int64_t)size);
		return SETT_OK;
	}
	if (!string_size_is_allowed(c, (uint64_t)offset, part.size))
		return SETT_OK;
	status = string_splice(c, c->argv[1], &old, (uint64_t)offset, &part);
	uint64_t end = (uint64_t)offset + part.size;
	if (status == SETT_OK)
		resp_integer(c->reply, (int64_t)(end > size ? end : size));
	return status;
}

const struct command string_commands[] = {
	{.name = "get",
	 .full_name = "get",
	 .run = command_get,
	 .arity = 2,
	 .flags = COMMAND_READONLY | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_READ | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Get the value of a key",
	 .since = "1.0.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "set",
	 .full_name = "set",
	 .run = command_set,
	 .arity = -3,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .first_value = 2,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Set the string value of a key",
	 .since = "1.0.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "getex",
	 .full_name = "getex",
	 .run = command_getex,
	 .arity = -2,
	 .flags = COMMAND_WRITE | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Get the value of a key and optionally set its expiration",
	 .since = "6.2.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "getdel",
	 .full_name = "getdel",
	 .run = command_getdel,
	 .arity = 2,
	 .flags = COMMAND_WRITE | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Get the value of a key and delete the key",
	 .since = "6.2.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "getset",
	 .full_name = "getset",
	 .run = command_getset,
	 .arity = 3,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .first_value = 2,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Set the string value of a key and return its old value",
	 .since = "1.0.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "getrange",
	 .full_name = "getrange",
	 .run = command_getrange,
	 .arity = 4,
	 .flags = COMMAND_READONLY,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_READ | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Get a substring of the string stored at a key",
	 .since = "2.4.0",
	 .group = "string",
	 .complexity = "O(N) where N is the length of the returned string. The complexity is ultimately "
		       "determined by the returned length, but because creating a substring from an existing "
		       "string is very cheap, it can be considered O(1) for small strings."},
	{.name = "substr",
	 .full_name = "substr",
	 .run = command_getrange,
	 .arity = 4,
	 .flags = COMMAND_READONLY,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_READ | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Get a substring of the string stored at a key",
	 .since = "1.0.0",
	 .group = "string",
	 .complexity = "O(N) where N is the length of the returned string. The complexity is ultimately "
		       "determined by the returned length, but because creating a substring from an existing "
		       "string is very cheap, it can be considered O(1) for small strings."},
	{.name = "setrange",
	 .full_name = "setrange",
	 .run = command_setrange,
	 .arity = 4,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .first_value = 3,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Overwrite part of a string at key starting at the specified offset",
	 .since = "2.2.0",
	 .group = "string",
	 .complexity = "O(1), not counting the time taken to copy the new string in place. Usually, this "
		       "string is very small so the amortized complexity is O(1). Otherwise, complexity is "
		       "O(M) with M being the length of the value argument."},
	{.name = "append",
	 .full_name = "append",
	 .run = command_append,
	 .arity = 3,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .first_value = 2,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Append a value to a key",
	 .since = "2.0.0",
	 .group = "string",
	 .complexity = "O(1). The amortized time complexity is O(1) assuming the appended value is small and "
		       "the already present value is of any size, since the dynamic string library used by "
		       "Redis will double the free space available on every reallocation."},
	{.name = "strlen",
	 .full_name = "strlen",
	 .run = command_strlen,
	 .arity = 2,
	 .flags = COMMAND_READONLY | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_READ | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Get the length of the value stored in a key",
	 .since = "2.2.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "mget",
	 .full_name = "mget",
	 .run = command_mget,
	 .arity = -2,
	 .flags = COMMAND_READONLY | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = -1,
	 .key_step = 1,
	 .acl_categories = CATEGORY_READ | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Get the values of all the given keys",
	 .since = "1.0.0",
	 .group = "string",
	 .complexity = "O(N) where N is the number of keys to retrieve."},
	{.name = "mset",
	 .full_name = "mset",
	 .run = command_mset,
	 .arity = -3,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = -1,
	 .key_step = 2,
	 .first_value = 2,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Set multiple keys to multiple values",
	 .since = "1.0.1",
	 .group = "string",
	 .complexity = "O(N) where N is the number of keys to set."},
	{.name = "msetnx",
	 .full_name = "msetnx",
	 .run = command_msetnx,
	 .arity = -3,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = -1,
	 .key_step = 2,
	 .first_value = 2,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Set multiple keys to multiple values, only if none of the keys exist",
	 .since = "1.0.1",
	 .group = "string",
	 .complexity = "O(N) where N is the number of keys to set."},
	{.name = "setnx",
	 .full_name = "setnx",
	 .run = command_setnx,
	 .arity = 3,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM | COMMAND_FAST,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .first_value = 2,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_FAST,
	 .summary = "Set the value of a key, only if the key does not exist",
	 .since = "1.0.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "setex",
	 .full_name = "setex",
	 .run = command_setex,
	 .arity = 4,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .first_value = 3,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Set the value and expiration of a key",
	 .since = "2.0.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{.name = "psetex",
	 .full_name = "psetex",
	 .run = command_psetex,
	 .arity = 4,
	 .flags = COMMAND_WRITE | COMMAND_DENYOOM,
	 .first_key = 1,
	 .last_key = 1,
	 .key_step = 1,
	 .first_value = 3,
	 .acl_categories = CATEGORY_WRITE | CATEGORY_STRING | CATEGORY_SLOW,
	 .summary = "Set the value and expiration in milliseconds of a key",
	 .since = "2.6.0",
	 .group = "string",
	 .complexity = "O(1)"},
	{0},
};
