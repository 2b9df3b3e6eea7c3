/* What a client may do: its user's rights (acl/), as they are when its command begins.
 *
 * A client has a reference to its user, found in one published set of users, and the set's number. While that number is the
 * published one nothing has changed, and for a user who may do all this is all that is asked: one comparison a command. When a
 * set was published since, the user is looked up again. The same comparison stands behind the beginning of each transaction, so
 * that what a command reads is never newer than the rights that it was checked by; and in the commit of a subscription.
 *
 * Commands that change users (ACL SETUSER, ...) change a copy of the set, which is the transaction's own, and see it there;
 * it is published with the commit, which refuses if another one was published since (I2). What follows for clients (connections
 * of users who are gone, subscriptions that are no longer allowed) is an effect of the commit. */
#ifndef SETT_TXN_RIGHTS_H
#define SETT_TXN_RIGHTS_H

#include "acl/denials.h"
#include "acl/users.h"
#include "txn/command.h"

/* Whether the client may do all, for sure. */
static inline bool
rights_are_full(const struct server *server, const struct client *client)
{
	return client->user == NULL || client->full_rights_number == acl_number(server->users);
}

/* Whether users were changed since the client's was looked at. */
static inline bool
rights_are_stale(const struct server *server, const struct client *client)
{
	return client->user != NULL && client->rights_number != acl_number(server->users);
}

/* Looks the user up again. False: he is gone, and the client is to be closed; it is the default user now, not logged in. On
 * the client's thread. */
bool rights_refresh(struct server *, struct client *);
/* The client becomes the user. Takes the reference over. On the client's thread. */
void rights_set_user(struct server *, struct client *, struct acl_user *);
/* Whether the client has to log in before it does anything. */
static inline bool
rights_ask_for_login(const struct server *server, const struct client *client)
{
	return !client->authenticated && server->users != NULL && acl_asks_for_login(server->users);
}

/* ---- before a command ---- */
/* Whether the client may run the context's command now, outside of a transaction. `ret_position` as acl_check. */
enum acl_answer rights_check_request(struct command_context *, size_t *ret_position);
/* Whether a command of which the last arguments have not come yet is denied by those that have, for a client whose turn it is:
 * then the whole is. On the client's thread. */
bool rights_forbid(struct server *, const struct client *, const struct command *, const struct bytes *argv,
		   size_t argc);
/* The error text for a denied command; it needs as much room as its name. */
void rights_word_denial(enum acl_answer, const struct command *, char *ret, size_t size);
/* Enters the denial of the context's command in ACL LOG at once. */
void rights_log_denial(struct command_context *, enum acl_answer, size_t position);

/* ---- within a transaction ---- */
/* After its beginning: if rights changed since the command was looked at, looks again. False: denied, with the reply. */
bool rights_still_allow(struct command_context *);
/* Whether the context's user may run a command, as of this transaction. */
enum acl_answer rights_check(struct command_context *, const struct command *, const struct bytes *argv,
			     size_t argc, size_t *ret_position);
/* The context's user, as of this transaction. NULL: one who may do all. */
const struct acl_user *rights_user(const struct command_context *);
/* Notes a denial, which is entered once the transaction is over, however it ends. Texts are copied. SETT_NO_MEMORY. */
int rights_note_denial(struct command_context *, enum acl_denial_reason, enum acl_denial_context,
		       struct bytes object, struct bytes username);
/* The same for a command. */
int rights_note_denied(struct command_context *, enum acl_answer, enum acl_denial_context,
		       const struct command *, const struct bytes *argv, size_t position);

/* The users as of this transaction. */
const struct acl_set *rights_users(struct command_context *);
/* Those that the transaction changes: a copy of its own. It takes part in the commit from rights_changed on. SETT_NO_MEMORY. */
int rights_draft(struct command_context *, struct acl_set **ret);
/* Whether this transaction changes users. */
bool rights_are_changed(const struct command_context *);
/* Another draft in its place; takes the reference over. There is one. */
void rights_replace_draft(struct command_context *, struct acl_set *);
/* After a change of the draft. SETT_NO_MEMORY. */
int rights_changed(struct command_context *);
/* The context's client becomes the user, one of rights_users, from here on. SETT_NO_MEMORY. */
int rights_log_in(struct command_context *, const struct acl_user *);

/* ---- the runner's ---- */
/* The client's user as of the commit. */
void rights_apply(struct command_context *);
/* Enters what was noted. */
void rights_log_notes(struct command_context *);
/* Forgets what the transaction has of the users. */
void rights_close(struct command_context *);

#endif
