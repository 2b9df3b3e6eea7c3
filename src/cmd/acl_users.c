/* ACL LIST, USERS, GETUSER: users as they are. */
#include "cmd/commands.h"
#include "txn/rights.h"

int
command_acl_users(struct command_context *c)
{
	const struct acl_set *set = rights_users(c);
	if (set == NULL)
		return SETT_NO_MEMORY;
	resp_array(c->reply, set->count);
	for (size_t i = 0; i < set->count; i++)
		resp_bulk(c->reply, set->users[i]->name.data, set->users[i]->name.size);
	return SETT_OK;
}

int
command_acl_list(struct command_context *c)
{
	const struct acl_set *set = rights_users(c);
	struct acl_terms terms = acl_terms_of(c->server->users);
	struct buffer line = {0};
	int status = set == NULL ? SETT_NO_MEMORY : SETT_OK;
	if (status == SETT_OK)
		resp_array(c->reply, set->count);
	for (size_t i = 0; status == SETT_OK && i < set->count; i++) {
		buffer_clear(&line);
		status = acl_describe_line(set->users[i], &terms, &line);
		if (status == SETT_OK)
			resp_bulk(c->reply, line.data, line.size);
	}
	buffer_free(&line);
	return status;
}

/* ---- GETUSER ---- */

static void
reply_flags(struct resp_writer *reply, unsigned flags)
{
	resp_bulk_string(reply, "flags");
	resp_set(reply, (size_t)__builtin_popcount(flags));
	for (unsigned i = 0; i < ACL_USER_FLAGS; i++)
		if ((flags & 1U << i) != 0)
			resp_bulk_string(reply, acl_user_flag_words[i]);
}

static void
reply_passwords(struct resp_writer *reply, const struct acl_user *user)
{
	resp_bulk_string(reply, "passwords");
	resp_array(reply, user->password_count);
	for (size_t i = 0; i < user->password_count; i++)
		resp_bulk(reply, user->passwords[i].hash, ACL_HASH_SIZE);
}

/* Three fields and their values. */
static int
reply_selector(struct resp_writer *reply, const struct acl_selector *s, const struct acl_terms *terms)
{
	struct buffer commands = {0}, keys = {0}, channels = {0};
	int status = acl_describe_commands(s, terms, &commands);
	if (status == SETT_OK)
		status = acl_describe_keys(s, &keys);
	if (status == SETT_OK)
		status = acl_describe_channels(s, &channels);
	resp_bulk_string(reply, "commands");
	resp_bulk(reply, commands.data, commands.size);
	resp_bulk_string(reply, "keys");
	resp_bulk(reply, keys.data, keys.size);
	resp_bulk_string(reply, "channels");
	resp_bulk(reply, channels.data, channels.size);
	buffer_free(&commands);
	buffer_free(&keys);
	buffer_free(&channels);
	return status;
}

int
command_acl_getuser(struct command_context *c)
{
	enum { FIELDS = 6, SELECTOR_FIELDS = 3 };
	const struct acl_set *set = rights_users(c);
	if (set == NULL)
		return SETT_NO_MEMORY;
	struct acl_terms terms = acl_terms_of(c->server->users);
	const struct acl_user *user = acl_set_find(set, c->argv[2]);
	if (user == NULL) {
		resp_null(c->reply);
		return SETT_OK;
	}
	resp_map(c->reply, FIELDS);
	reply_flags(c->reply, user->flags);
	reply_passwords(c->reply, user);
	int status = reply_selector(c->reply, user->root, &terms);
	size_t count = 0;
	for (const struct acl_selector *s = user->root->next; s != NULL; s = s->next)
		count++;
	resp_bulk_string(c->reply, "selectors");
	resp_array(c->reply, count);
	for (const struct acl_selector *s = user->root->next; s != NULL && status == SETT_OK; s = s->next) {
		resp_map(c->reply, SELECTOR_FIELDS);
		status = reply_selector(c->reply, s, &terms);
	}
	return status;
}
