/* The users of the server, as a set that never changes: a change makes another set and publishes it. So whoever has a
 * reference reads without a lock, and a transaction has one set from its beginning to its end (txn/rights.h).
 *
 * Sets are numbered. What was found out about a client's user holds as long as the number is the same.
 *
 * Lock: the users', a leaf, for the moment in which a reference is taken or a set is published. */
#ifndef SETT_ACL_USERS_H
#define SETT_ACL_USERS_H

#include "acl/user.h"

struct acl_users;

/* A set. Until it is published its maker changes it. */
struct acl_set {
	uint64_t references; /* atomic */
	uint64_t number;     /* from 1; given when it is published */
	size_t count, capacity;
	struct acl_user **users; /* by name; the set has a reference to each */
};

/* The default user alone, who may do all without a password. `channels_are_open` (atomic, relaxed) is what
 * acl-pubsub-default says; it is read whenever rules are, and outlives the users, as the table does. SETT_NO_MEMORY. */
int acl_users_create(const struct command_table *, const int *channels_are_open, struct log_sink,
		     struct acl_users **ret);
/* NULL is fine. */
void acl_users_destroy(struct acl_users *);
/* As rules are read now. */
struct acl_terms acl_terms_of(const struct acl_users *);

/* The number of the set that is published. Any thread, as the next ones. */
uint64_t acl_number(const struct acl_users *);
/* Whether nobody may do anything before AUTH: the default user has a password, or is off. */
bool acl_asks_for_login(const struct acl_users *);
/* Whether the default user lets in whoever comes, as far as passwords go. */
bool acl_has_no_password(const struct acl_users *);
/* What new clients are: a reference. */
struct acl_user *acl_default_user(struct acl_users *);

/* The set that is published: a reference. */
struct acl_set *acl_set_hold(struct acl_users *);
/* Another reference to a set that the caller has. */
void acl_set_share(struct acl_set *);
void acl_set_release(struct acl_set *); /* NULL is fine */
/* A copy to be changed. NULL: out of memory. */
struct acl_set *acl_set_copy(const struct acl_set *);
/* Nobody. NULL: out of memory. */
struct acl_set *acl_set_create(void);
/* NULL: there is none. */
struct acl_user *acl_set_find(const struct acl_set *, struct bytes name);
/* The same user, as he is now: NULL if he was deleted, even if there is another one of his name. */
struct acl_user *acl_set_present(const struct acl_set *, const struct acl_user *);
/* Puts a user in, in the place of one who has his name. Takes the reference over, on failure too. SETT_NO_MEMORY. */
int acl_set_put(struct acl_set *, struct acl_user *);
/* False: there is none. */
bool acl_set_remove(struct acl_set *, struct bytes name);
/* Makes it the set of the server; it needs a default user. Takes the reference over. */
void acl_publish(struct acl_users *, struct acl_set *);

/* ---- changes of a set that is not published ---- */

/* A rule that can't be applied. */
struct acl_complaint {
	enum acl_fault fault;
	struct bytes rule; /* which one; the caller's, or in the arena */
};
/* Applies rules to the user of that name, who is made if he is not there: all of them, or none. The arena is scratch. SETT_OK,
 * SETT_NO_MEMORY, SETT_INVALID with what is wrong. */
int acl_set_modify(struct acl_users *, struct acl_set *, struct bytes name, const struct bytes *rules,
		   size_t count, struct arena *, struct acl_complaint *ret);
/* The same for a user who begins anew: of a configuration file. */
int acl_set_define(struct acl_users *, struct acl_set *, struct bytes name, const struct bytes *rules,
		   size_t count, struct arena *, struct acl_complaint *ret);
/* requirepass: the default user's password, the only one; empty: none is needed. SETT_NO_MEMORY. */
int acl_set_password(struct acl_users *, struct acl_set *, struct bytes password);
/* A user who is not in any set yet: one reference. NULL: out of memory. */
struct acl_user *acl_new_user(struct acl_users *, struct bytes name);
/* The default user as he is at first. NULL: out of memory. */
struct acl_user *acl_new_default_user(struct acl_users *);

/* All users as lines "user NAME RULES", each with a line end. SETT_NO_MEMORY. */
int acl_describe_set(struct acl_users *, const struct acl_set *, struct buffer *ret);

#endif
