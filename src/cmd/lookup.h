/* What command files share about keys. */
#ifndef SETT_CMD_LOOKUP_H
#define SETT_CMD_LOOKUP_H

#include "txn/command.h"

/* A string as found under a key. */
struct found_string {
	bool exists;
	struct root root;   /* if it exists */
	struct bytes value; /* empty if it was not read */
};

/* The root of a key; a missing one is no failure (`ret_exists`). */
static inline int
lookup_key(struct command_context *c, struct bytes key, bool *ret_exists, struct root *ret)
{
	int status = keyspace_lookup(&c->view, c->db, key, ret);
	*ret_exists = status == SETT_OK;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* The root of a string. If the key holds another type the error reply is given: look at c->failed. */
static inline int
lookup_string_root(struct command_context *c, struct bytes key, bool *ret_exists, struct root *ret)
{
	int status = lookup_key(c, key, ret_exists, ret);
	if (status == SETT_OK && *ret_exists && ret->type != VALUE_STRING)
		return context_wrong_type(c);
	return status;
}

/* The same with the value, for who can use none of more than `most` bytes: of a longer one `value` stays
 * empty. */
static inline int
lookup_short_string(struct command_context *c, struct bytes key, uint64_t most, struct found_string *ret)
{
	ret->value = (struct bytes){0};
	int status = lookup_string_root(c, key, &ret->exists, &ret->root);
	if (status != SETT_OK || !ret->exists || c->failed || ret->root.body_size > most)
		return status;
	return keyspace_body(&c->view, &ret->root, &ret->value);
}

static inline const struct root *
found_root(const struct found_string *found)
{
	return found->exists ? &found->root : NULL;
}

static inline uint64_t
found_size(const struct found_string *found)
{
	return found->exists ? found->root.body_size : 0;
}

static inline uint64_t
found_deadline(const struct found_string *found)
{
	return found->exists ? found->root.expires_at : 0;
}

static inline void
reply_bytes(struct command_context *c, struct bytes b)
{
	resp_bulk(c->reply, b.data, b.size);
}

/* Whether `size` and `more` together are a string that may be stored; if not, the error reply is given. */
bool string_size_is_allowed(struct command_context *, uint64_t size, uint64_t more);

/* Units and bases of a deadline as given in an argument. */
enum deadline_form { DEADLINE_EX, DEADLINE_PX, DEADLINE_EXAT, DEADLINE_PXAT };
/* The deadline in milliseconds since 1970; false, with the reply "ERR invalid expire time in '...' command"
 * or that of a bad integer, if it makes none. */
bool context_deadline(struct command_context *, struct bytes argument, enum deadline_form, uint64_t *ret);

#endif
