/* See rights.h. */
#include "txn/rights.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>

#include "config/config.h"
#include "net/net.h"
#include "pubsub/pubsub.h"

/* A user that the transaction has made of its client, and may have changed since: the draft has another in his place. */
struct held_user {
	struct held_user *next;
	struct acl_user *user;
};

/* What a transaction has of the users. In its arena; the sets are its references. */
struct rights_view {
	struct commit_participant participant;
	struct server *server;
	struct acl_set *base;
	struct acl_set *draft; /* NULL: nothing is changed */
	struct held_user *held;
};

struct denial_note {
	struct denial_note *next;
	enum acl_denial_reason reason;
	enum acl_denial_context context;
	struct bytes object, username;
};

/* ---- a client's user ---- */

void
rights_set_user(struct server *server, struct client *client, struct acl_user *user)
{
	if (server->net != NULL) {
		net_set_client_user(server->net, client, user);
		return;
	}
	acl_user_release(client->user);
	client->user = user;
}

bool
rights_refresh(struct server *server, struct client *client)
{
	struct acl_set *set = acl_set_hold(server->users);
	struct acl_user *present = acl_set_present(set, client->user);
	bool is_gone = present == NULL;
	if (is_gone) {
		present = acl_set_find(set, BYTES_LITERAL("default"));
		client->authenticated = false;
	}
	if (present != client->user) {
		acl_user_hold(present);
		rights_set_user(server, client, present);
	}
	client->rights_number = set->number;
	client->full_rights_number = present->may_do_all ? set->number : 0;
	acl_set_release(set);
	return !is_gone;
}

/* ---- checks ---- */

const struct acl_user *
rights_user(const struct command_context *c)
{
	if (c->user == NULL || c->users == NULL || c->users->draft == NULL)
		return c->user;
	const struct acl_user *user = acl_set_present(c->users->draft, c->user);
	/* He was deleted by this transaction: what follows in it is done by nobody in particular, as in Redis. */
	return user != NULL ? user : acl_set_find(c->users->draft, BYTES_LITERAL("default"));
}

enum acl_answer
rights_check(struct command_context *c, const struct command *command, const struct bytes *argv, size_t argc,
	     size_t *ret_position)
{
	const struct acl_user *user = rights_user(c);
	if (user == NULL || user->may_do_all)
		return ACL_ALLOWED;
	return acl_check(user, command, argv, argc, ret_position);
}

enum acl_answer
rights_check_request(struct command_context *c, size_t *ret_position)
{
	const struct acl_user *user = c->client->user;
	if (user == NULL || user->may_do_all)
		return ACL_ALLOWED;
	return acl_check(user, c->command, c->argv, c->argc, ret_position);
}

bool
rights_forbid(struct server *server, const struct client *client, const struct command *command,
	      const struct bytes *argv, size_t argc)
{
	size_t position;
	if (rights_are_full(server, client))
		return false;
	struct acl_set *set = acl_set_hold(server->users);
	const struct acl_user *user = acl_set_present(set, client->user);
	enum acl_answer answer =
		user != NULL ? acl_check(user, command, argv, argc, &position) : ACL_DENIED_COMMAND;
	acl_set_release(set);
	return answer != ACL_ALLOWED && answer != ACL_UNDECIDED;
}

void
rights_word_denial(enum acl_answer answer, const struct command *command, char *ret, size_t size)
{
	if (answer == ACL_DENIED_KEY)
		snprintf(ret, size,
			 "NOPERM this user has no permissions to access one of the keys used as arguments");
	else if (answer == ACL_DENIED_CHANNEL)
		snprintf(ret, size,
			 "NOPERM this user has no permissions to access one of the channels used as "
			 "arguments");
	else if (answer == ACL_DENIED_COMMAND)
		snprintf(ret, size, "NOPERM this user has no permissions to run the '%s' command",
			 command->full_name);
	else
		snprintf(ret, size, "OOM out of memory while rights were looked at");
}

bool
rights_still_allow(struct command_context *c)
{
	char text[256];
	size_t position = 0;
	if (__builtin_expect(!rights_are_stale(c->server, c->client), 1))
		return true;
	bool is_there = rights_refresh(c->server, c->client);
	c->user = c->client->user;
	c->authenticated = c->client->authenticated;
	if (!is_there) {
		c->client->close_after_reply = true;
		context_error(c, "NOAUTH Authentication required.");
		return false;
	}
	enum acl_answer answer = rights_check(c, c->command, c->argv, c->argc, &position);
	if (answer == ACL_ALLOWED)
		return true;
	enum acl_denial_context where = c->in_multi ? ACL_CONTEXT_MULTI : ACL_CONTEXT_TOP;
	(void)rights_note_denied(c, answer, where, c->command, c->argv, position);
	rights_word_denial(answer, c->command, text, sizeof(text));
	context_error(c, text);
	return false;
}

/* ---- ACL LOG ---- */

/* Lack of memory loses the entry, with a line in the log. */
static void
enter_denial(struct server *server, struct client *client, struct acl_denial *denial)
{
	struct buffer text = {0};
	denial->time_ms = clock_wall_ms(server->clock);
	int status = client_describe_for_log(client, denial->time_ms, &text);
	denial->client = buffer_bytes(&text);
	/* relaxed: the directive stands for itself */
	int64_t most = __atomic_load_n(&server->config->acl_log_max_len, __ATOMIC_RELAXED);
	if (status == SETT_OK)
		status = acl_denials_add(server->denials, denial, (uint64_t)most);
	if (status != SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING,
				"Out of memory: a denial for client %" PRIu64 " is missing in ACL LOG",
				client->id);
	buffer_free(&text);
}

static struct acl_denial
describe_denial(enum acl_answer answer, const struct command *command, const struct bytes *argv,
		size_t position)
{
	struct acl_denial denial = {.reason = ACL_REASON_COMMAND};
	if (answer == ACL_DENIED_KEY)
		denial.reason = ACL_REASON_KEY;
	else if (answer == ACL_DENIED_CHANNEL)
		denial.reason = ACL_REASON_CHANNEL;
	denial.object =
		denial.reason == ACL_REASON_COMMAND ? bytes_of_string(command->full_name) : argv[position];
	return denial;
}

void
rights_log_denial(struct command_context *c, enum acl_answer answer, size_t position)
{
	struct acl_denial denial = describe_denial(answer, c->command, c->argv, position);
	bool in_multi = __atomic_load_n(&c->client->multi_count, __ATOMIC_RELAXED) != UINT_MAX;
	denial.context = in_multi ? ACL_CONTEXT_MULTI : ACL_CONTEXT_TOP;
	denial.username = c->client->user->name;
	if (answer != ACL_UNDECIDED)
		enter_denial(c->server, c->client, &denial);
}

static bool
keep_text(struct command_context *c, struct bytes *text)
{
	if (text->size == 0)
		return true;
	const void *copy = arena_copy(c->arena, text->data, text->size);
	*text = bytes_of(copy, text->size);
	return copy != NULL;
}

int
rights_note_denial(struct command_context *c, enum acl_denial_reason reason, enum acl_denial_context context,
		   struct bytes object, struct bytes username)
{
	struct denial_note *note = arena_allocate(c->arena, sizeof(*note), _Alignof(struct denial_note));
	if (note == NULL || !keep_text(c, &object) || !keep_text(c, &username))
		return SETT_NO_MEMORY;
	*note = (struct denial_note){
		.reason = reason, .context = context, .object = object, .username = username};
	struct denial_note **last = &c->denials;
	while (*last != NULL)
		last = &(*last)->next;
	*last = note;
	return SETT_OK;
}

int
rights_note_denied(struct command_context *c, enum acl_answer answer, enum acl_denial_context context,
		   const struct command *command, const struct bytes *argv, size_t position)
{
	struct acl_denial denial = describe_denial(answer, command, argv, position);
	if (answer == ACL_UNDECIDED)
		return SETT_OK;
	return rights_note_denial(c, denial.reason, context, denial.object, rights_user(c)->name);
}

void
rights_log_notes(struct command_context *c)
{
	for (const struct denial_note *n = c->denials; n != NULL; n = n->next) {
		struct acl_denial denial = {.reason = n->reason,
					    .context = n->context,
					    .object = n->object,
					    .username = n->username};
		enter_denial(c->server, c->client, &denial);
	}
	c->denials = NULL;
}

/* ---- the users of a transaction ---- */

static struct rights_view *
view_of(struct command_context *c)
{
	if (c->users == NULL) {
		struct rights_view *view =
			arena_allocate(c->arena, sizeof(*view), _Alignof(struct rights_view));
		if (view == NULL)
			return NULL;
		*view = (struct rights_view){.server = c->server, .base = acl_set_hold(c->server->users)};
		c->users = view;
	}
	return c->users;
}

const struct acl_set *
rights_users(struct command_context *c)
{
	const struct rights_view *view = view_of(c);
	if (view == NULL)
		return NULL;
	return view->draft != NULL ? view->draft : view->base;
}

int
rights_draft(struct command_context *c, struct acl_set **ret)
{
	struct rights_view *view = view_of(c);
	if (view != NULL && view->draft == NULL)
		view->draft = acl_set_copy(view->base);
	if (view == NULL || view->draft == NULL)
		return SETT_NO_MEMORY;
	*ret = view->draft;
	return SETT_OK;
}

bool
rights_are_changed(const struct command_context *c)
{
	return c->users != NULL && c->users->draft != NULL;
}

void
rights_replace_draft(struct command_context *c, struct acl_set *set)
{
	acl_set_release(c->users->draft);
	c->users->draft = set;
}

static bool
is_unchanged(struct commit_participant *p)
{
	const struct rights_view *view = (const struct rights_view *)p;
	return acl_number(view->server->users) == view->base->number;
}

static void
publish(struct commit_participant *p, uint64_t timestamp)
{
	struct rights_view *view = (struct rights_view *)p;
	acl_set_share(view->draft);
	acl_publish(view->server->users, view->draft);
}

/* ---- what follows for clients ---- */

struct enforcement {
	struct server *server;
	struct client *self;
	const struct acl_set *before, *now;
};

/* Its own reply is sent before it goes. */
static void
close_client(const struct enforcement *e, struct client *client)
{
	if (client == e->self)
		client->close_after_reply = true;
	else
		client_kill_locked(e->server->net, client);
}

static int
close_if_gone(void *arg, struct client *client)
{
	const struct enforcement *e = arg;
	if (client->user != NULL && acl_set_present(e->now, client->user) == NULL)
		close_client(e, client);
	return 0;
}

static bool
has_all_channels(const struct acl_user *user)
{
	for (const struct acl_selector *s = user->root; s != NULL; s = s->next)
		if ((s->flags & ACL_ALL_CHANNELS) != 0)
			return true;
	return false;
}

static bool
names_channel(const struct acl_user *user, struct bytes pattern)
{
	for (const struct acl_selector *s = user->root; s != NULL; s = s->next)
		if (acl_allows_channel(&s->channels, pattern, true))
			return true;
	return false;
}

/* Whether a user had a right to channels that he has no more. */
static bool
is_narrowed(const struct acl_user *before, const struct acl_user *now)
{
	if (before == now || has_all_channels(now))
		return false;
	if (has_all_channels(before))
		return true;
	for (const struct acl_selector *s = before->root; s != NULL; s = s->next)
		for (size_t i = 0; i < s->channels.count; i++)
			if (!names_channel(now, s->channels.items[i].text))
				return true;
	return false;
}

static void
close_if_forbidden(void *arg, struct client *client, enum subscription_kind kind, struct bytes name)
{
	const struct enforcement *e = arg;
	if (client->user == NULL)
		return;
	const struct acl_user *before = acl_set_present(e->before, client->user);
	const struct acl_user *now = acl_set_present(e->now, client->user);
	if (before == NULL || now == NULL || !is_narrowed(before, now))
		return;
	for (const struct acl_selector *s = now->root; s != NULL; s = s->next)
		if (acl_allows_channel(&s->channels, name, kind == SUBSCRIBED_PATTERN))
			return;
	close_client(e, client);
}

static void
close_subscribers(void *arg)
{
	struct enforcement *e = arg;
	pubsub_each_subscription(e->server->pubsub, close_if_forbidden, e);
}

static bool
some_are_narrowed(const struct enforcement *e)
{
	for (size_t i = 0; i < e->before->count; i++) {
		const struct acl_user *now = acl_set_present(e->now, e->before->users[i]);
		if (now != NULL && is_narrowed(e->before->users[i], now))
			return true;
	}
	return false;
}

static void
enforce(struct server *server, struct client *client, void *data)
{
	const struct rights_view *view = data;
	struct enforcement e = {.server = server, .self = client, .before = view->base, .now = view->draft};
	if (server->net == NULL)
		return;
	(void)net_each_client(server->net, close_if_gone, &e);
	if (some_are_narrowed(&e))
		net_with_clients(server->net, close_subscribers, &e);
}

int
rights_changed(struct command_context *c)
{
	struct rights_view *view = c->users;
	/* It may have been dropped with a command that failed: looked for each time. */
	for (const struct commit_participant *p = c->first_participant; p != NULL; p = p->next)
		if (p == &view->participant)
			return SETT_OK;
	int status = context_defer(c, enforce, view);
	if (status != SETT_OK)
		return status;
	view->participant = (struct commit_participant){.validate = is_unchanged, .apply = publish};
	context_join_commit(c, &view->participant);
	return SETT_OK;
}

int
rights_log_in(struct command_context *c, const struct acl_user *user)
{
	struct rights_view *view = c->users;
	assert(view != NULL); /* he was found in its sets */
	struct held_user *held = arena_allocate(c->arena, sizeof(*held), _Alignof(struct held_user));
	if (held == NULL)
		return SETT_NO_MEMORY;
	*held = (struct held_user){.next = view->held, .user = (struct acl_user *)user};
	acl_user_hold(held->user);
	view->held = held;
	c->user = user;
	c->authenticated = true;
	return SETT_OK;
}

void
rights_apply(struct command_context *c)
{
	struct client *client = c->client;
	client->authenticated = c->authenticated;
	if (c->user == client->user)
		return;
	struct acl_user *user = (struct acl_user *)c->user; /* held by the context, or by a set of its */
	acl_user_hold(user);
	rights_set_user(c->server, client, user);
	client->rights_number = client->full_rights_number = 0; /* to be looked at before its next command */
}

void
rights_close(struct command_context *c)
{
	if (c->users == NULL)
		return;
	for (const struct held_user *h = c->users->held; h != NULL; h = h->next)
		acl_user_release(h->user);
	acl_set_release(c->users->base);
	acl_set_release(c->users->draft);
	c->users = NULL;
}
