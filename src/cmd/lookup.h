/* What command files share about keys. */
#ifndef SETT_CMD_LOOKUP_H
#define SETT_CMD_LOOKUP_H

#include "txn/command.h"

/* Counts a read of a key for INFO's keyspace_hits and keyspace_misses. Which reads count is Redis' choice: all of
 * commands that only read, and those of some others whose reply is the old value. */
static inline int
count_read(struct command_context *c, const struct key *k)
{
	if (k->exists) {
		c->view.hits++;
		return SETT_OK;
	}
	c->view.misses++;
	return key_event(k, EVENT_KEY_MISS, "keymiss");
}

/* The same of a key that a command reads whose row says that it writes. */
static inline int
count_source(struct command_context *c, const struct key *k)
{
	return (c->command->flags & COMMAND_READONLY) == 0 ? count_read(c, k) : SETT_OK;
}

/* What a command did to a key is told when it has gone well, with the status of what it did last: the event, and
 * "del" if the key went with its last element. */
static inline int
tell(int status, const struct key *k, enum event_class class, const char *event)
{
	if (status != SETT_OK || __builtin_expect(k->view->events == 0, 1))
		return status;
	status = key_event(k, class, event);
	return status == SETT_OK && !k->exists ? key_event(k, EVENT_GENERIC, "del") : status;
}

/* Of a key that was deleted as a whole. */
static inline int
tell_deleted(int status, const struct key *k)
{
	return status == SETT_OK ? key_event(k, EVENT_GENERIC, "del") : status;
}

/* Of a key of which a command has replaced all, not changed what it holds; as it was opened, it `existed`. */
static inline int
tell_overwritten(int status, const struct key *k, bool existed, enum value_type type)
{
	if (status == SETT_OK && existed)
		status = key_event(k, EVENT_OVERWRITTEN, "overwritten");
	if (status == SETT_OK && existed && k->root.type != type)
		status = key_event(k, EVENT_TYPE_CHANGED, "type_changed");
	return status;
}

/* Of a key that was replaced by what a command stores, or deleted if that is nothing; `existed` says whether it was
 * there before. */
static inline int
tell_stored(int status, const struct key *k, bool existed, enum value_type type, const char *event)
{
	static const enum event_class classes[VALUE_TYPE_END] = {[VALUE_STRING] = EVENT_STRING,
								 [VALUE_LIST] = EVENT_LIST,
								 [VALUE_SET] = EVENT_SET,
								 [VALUE_ZSET] = EVENT_ZSET};
	if (status == SETT_OK && k->exists)
		return tell(tell_overwritten(status, k, existed, type), k, classes[type], event);
	return existed ? tell_deleted(status, k) : status;
}

/* Opens a key to say something of it that is no use of its value: OBJECT IDLETIME does not begin anew. */
static inline int
peek_key(struct command_context *c, struct bytes name, struct key *ret)
{
	int status = key_open(&c->view, c->db, name, ret);
	return status == SETT_OK ? count_read(c, ret) : status;
}

static inline void
note_access(struct command_context *c, const struct key *k)
{
	struct accesses *accesses = __atomic_load_n(&c->server->accesses, __ATOMIC_ACQUIRE);
	if (__builtin_expect(accesses != NULL, 0))
		context_note_access(c, accesses, k);
}

/* Opens a key of the selected database. An absent one is no failure (ret->exists). */
static inline int
open_key(struct command_context *c, struct bytes name, struct key *ret)
{
	int status = key_open(&c->view, c->db, name, ret);
	if (status != SETT_OK)
		return status;
	if ((c->command->flags & COMMAND_READONLY) != 0)
		status = count_read(c, ret);
	note_access(c, ret);
	return status;
}

/* The same for a key that must hold this type if it exists. If it holds another: OUTCOME_FAILED, with the error
 * reply. */
static inline int
open_typed(struct command_context *c, struct bytes name, enum value_type type, struct key *ret)
{
	int status = open_key(c, name, ret);
	if (status == SETT_OK && ret->exists && ret->root.type != type)
		return context_wrong_type(c);
	return status;
}

static inline int
open_string(struct command_context *c, struct bytes name, struct key *ret)
{
	return open_typed(c, name, VALUE_STRING, ret);
}

/* The same for a string whose value is the reply, also of commands that write: it counts as a read. */
static inline int
open_read_string(struct command_context *c, struct bytes name, struct key *ret)
{
	int status = key_open(&c->view, c->db, name, ret);
	if (status == SETT_OK)
		status = count_read(c, ret);
	if (status != SETT_OK)
		return status;
	note_access(c, ret);
	return ret->exists && ret->root.type != VALUE_STRING ? context_wrong_type(c) : SETT_OK;
}

/* The same with the value, for callers that can use at most `most` bytes: a longer one is not read, and
 * `ret_value` is empty, as it is for an absent key. */
static inline int
open_short_string(struct command_context *c, struct bytes name, uint64_t most, struct key *ret,
		  struct bytes *ret_value)
{
	*ret_value = (struct bytes){0};
	int status = open_string(c, name, ret);
	if (status != SETT_OK || !ret->exists || ret->root.body_size > most)
		return status;
	return key_body(ret, ret_value);
}

static inline uint64_t
string_size(const struct key *k)
{
	return k->exists ? k->root.body_size : 0;
}

/* For commands that copy or read a whole value: to the long lane if its elements are many. */
static inline int
enter_lane_for_elements(struct command_context *c, const struct root *root)
{
	enum { LONG_ELEMENTS = 1024 * 1024 /* bytes */ };
	return root->object_bytes > LONG_ELEMENTS ? context_enter_long_lane(c) : SETT_OK;
}

static inline uint64_t
key_deadline(const struct key *k)
{
	return k->exists ? k->root.expires_at : 0;
}

static inline void
reply_bytes(struct command_context *c, struct bytes b)
{
	resp_bulk(c->reply, b.data, b.size);
}

/* Whether `size` and `more` together are a string that may be stored; if not, the error reply is given. */
bool string_size_is_allowed(struct command_context *, uint64_t size, uint64_t more);

/* As Redis prints one: 17 digits after the point, without the zeros at the end. `text` has
 * LONG_DOUBLE_TEXT_MAX bytes. */
size_t format_long_double(long double value, char *text, size_t capacity);

/* Units and bases of a deadline as given in an argument. */
enum deadline_form { DEADLINE_EX, DEADLINE_PX, DEADLINE_EXAT, DEADLINE_PXAT };
/* The deadline in milliseconds since 1970; false, with the reply "ERR invalid expire time in '...' command"
 * or that of a bad integer, if it makes none. */
bool context_deadline(struct command_context *, struct bytes argument, enum deadline_form, uint64_t *ret);

#endif
