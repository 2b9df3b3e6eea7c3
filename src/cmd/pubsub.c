/* SUBSCRIBE and its kin, PUBLISH, PUBSUB. What a command changes of its client's subscriptions becomes so with the
 * commit (pubsub/pubsub.h); its reply counts as if it were so already. */
#include "pubsub/pubsub.h"
#include "cmd/commands.h"
#include "cmd/help.h"
#include "keyspace/glob.h"
#include "txn/propagation.h"
#include "txn/rights.h"

/* ---- subscribing ---- */

struct subscribing {
	struct commit_participant participant;
	struct subscription_changes *changes;
	const struct server *server;
	const struct client *client;
};

/* What it was allowed to subscribe to may have been taken from its user meanwhile. */
static bool
validate(struct commit_participant *p)
{
	const struct subscribing *s = (const struct subscribing *)p;
	return !rights_are_stale(s->server, s->client);
}

static void
apply(struct commit_participant *p, uint64_t timestamp)
{
	const struct subscribing *s = (const struct subscribing *)p;
	subscriptions_apply(s->changes);
}

/* The changes of the transaction. It takes part in the commit from the first command on that asks for them: such
 * commands fail for lack of memory alone, so that is not taken back while others need it. */
static int
changes_of(struct command_context *c, struct subscription_changes **ret)
{
	if (c->subscriptions == NULL) {
		struct subscribing *s = arena_allocate(c->arena, sizeof(*s), _Alignof(struct subscribing));
		if (s == NULL)
			return SETT_NO_MEMORY;
		*s = (struct subscribing){.participant = {.validate = validate, .apply = apply},
					  .server = c->server,
					  .client = c->client};
		int status = subscriptions_begin(c->server->pubsub, c->client, &c->view, &s->changes);
		if (status != SETT_OK)
			return status;
		c->subscriptions = s->changes;
		context_join_commit(c, &s->participant);
	}
	*ret = c->subscriptions;
	return SETT_OK;
}

/* As in Redis: of sharded channels by themselves, of channels and patterns together. */
static int64_t
shown_count(const struct subscription_changes *changes, enum subscription_kind kind)
{
	if (kind == SUBSCRIBED_SHARD)
		return (int64_t)subscriptions_count(changes, SUBSCRIBED_SHARD);
	return (int64_t)(subscriptions_count(changes, SUBSCRIBED_CHANNEL) +
			 subscriptions_count(changes, SUBSCRIBED_PATTERN));
}

/* `name` is NULL where there was nothing to unsubscribe from. */
static void
reply_change(struct command_context *c, const char *word, const struct bytes *name, int64_t count)
{
	resp_push(c->reply, 3);
	resp_bulk_string(c->reply, word);
	if (name != NULL)
		resp_bulk(c->reply, name->data, name->size);
	else
		resp_null(c->reply);
	resp_integer(c->reply, count);
}

/* CLIENT REPLY OFF keeps back no message, and these are like messages. */
static void
keep_reply(struct command_context *c)
{
	if (!c->in_multi)
		c->reply_is_sifted = true;
}

static int
subscribe(struct command_context *c, enum subscription_kind kind, const char *word)
{
	struct subscription_changes *changes;
	int status = changes_of(c, &changes);
	for (size_t i = 1; i < c->argc && status == SETT_OK; i++) {
		status = subscriptions_add(changes, kind, c->argv[i]);
		reply_change(c, word, &c->argv[i], shown_count(changes, kind));
	}
	keep_reply(c);
	return status;
}

static int
unsubscribe(struct command_context *c, enum subscription_kind kind, const char *word)
{
	struct subscription_changes *changes;
	struct bytes *all;
	const struct bytes *names = c->argv + 1;
	size_t count = c->argc - 1;
	int status = changes_of(c, &changes);
	if (status == SETT_OK && count == 0) {
		status = subscriptions_list(changes, kind, &all, &count);
		names = all;
		if (status == SETT_OK && count == 0)
			reply_change(c, word, NULL, shown_count(changes, kind));
	}
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		status = subscriptions_remove(changes, kind, names[i]);
		reply_change(c, word, &names[i], shown_count(changes, kind));
	}
	keep_reply(c);
	return status;
}

int
command_subscribe(struct command_context *c)
{
	return subscribe(c, SUBSCRIBED_CHANNEL, "subscribe");
}

int
command_psubscribe(struct command_context *c)
{
	return subscribe(c, SUBSCRIBED_PATTERN, "psubscribe");
}

int
command_ssubscribe(struct command_context *c)
{
	if (c->in_multi)
		return context_error(c, "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
	return subscribe(c, SUBSCRIBED_SHARD, "ssubscribe");
}

int
command_unsubscribe(struct command_context *c)
{
	return unsubscribe(c, SUBSCRIBED_CHANNEL, "unsubscribe");
}

int
command_punsubscribe(struct command_context *c)
{
	return unsubscribe(c, SUBSCRIBED_PATTERN, "punsubscribe");
}

int
command_sunsubscribe(struct command_context *c)
{
	return unsubscribe(c, SUBSCRIBED_SHARD, "sunsubscribe");
}

/* ---- publishing ---- */

static int
publish(struct command_context *c, bool sharded)
{
	uint64_t receivers = c->subscriptions != NULL
		? subscriptions_receivers(c->subscriptions, c->argv[1], sharded)
		: pubsub_receivers(c->server->pubsub, c->argv[1], sharded);
	resp_integer(c->reply, (int64_t)receivers);
	int status = keyspace_add_message(&c->view, sharded ? EFFECT_SHARD_MESSAGE : EFFECT_MESSAGE,
					  c->argv[1], c->argv[2]);
	return status == SETT_OK ? propagate_as_given(c) : status;
}

int
command_publish(struct command_context *c)
{
	return publish(c, false);
}

int
command_spublish(struct command_context *c)
{
	return publish(c, true);
}

/* ---- PUBSUB ---- */

struct listing {
	struct resp_writer *reply;
	const struct bytes *pattern; /* NULL: all */
	size_t count;
};

static int
list_topic(void *arg, struct bytes name)
{
	struct listing *listing = arg;
	if (listing->pattern != NULL && !glob_match(*listing->pattern, name, false))
		return 0;
	resp_bulk(listing->reply, name.data, name.size);
	listing->count++;
	return 0;
}

static int
list_topics(struct command_context *c, enum subscription_kind kind)
{
	if (c->argc > 3)
		return context_unknown_subcommand(c);
	struct listing listing = {.reply = c->reply, .pattern = c->argc == 3 ? &c->argv[2] : NULL};
	size_t token = resp_deferred_begin(c->reply);
	(void)pubsub_each(c->server->pubsub, kind, list_topic, &listing);
	resp_deferred_array_end(c->reply, token, listing.count);
	return SETT_OK;
}

static int
count_subscribers(struct command_context *c, enum subscription_kind kind)
{
	resp_array(c->reply, 2 * (c->argc - 2));
	for (size_t i = 2; i < c->argc; i++) {
		resp_bulk(c->reply, c->argv[i].data, c->argv[i].size);
		resp_integer(c->reply, (int64_t)pubsub_subscribers(c->server->pubsub, kind, c->argv[i]));
	}
	return SETT_OK;
}

int
command_pubsub_channels(struct command_context *c)
{
	return list_topics(c, SUBSCRIBED_CHANNEL);
}

int
command_pubsub_shardchannels(struct command_context *c)
{
	return list_topics(c, SUBSCRIBED_SHARD);
}

int
command_pubsub_numsub(struct command_context *c)
{
	return count_subscribers(c, SUBSCRIBED_CHANNEL);
}

int
command_pubsub_shardnumsub(struct command_context *c)
{
	return count_subscribers(c, SUBSCRIBED_SHARD);
}

int
command_pubsub_numpat(struct command_context *c)
{
	resp_integer(c->reply, (int64_t)pubsub_count(c->server->pubsub, SUBSCRIBED_PATTERN));
	return SETT_OK;
}

int
command_pubsub_help(struct command_context *c)
{
	static const char *const lines[] = {
		"CHANNELS [<pattern>]",
		"    Return the currently active channels matching a <pattern> (default: '*').",
		"NUMPAT",
		"    Return number of subscriptions to patterns.",
		"NUMSUB [<channel> ...]",
		"    Return the number of subscribers for the specified channels, excluding",
		"    pattern subscriptions(default: no channels).",
		"SHARDCHANNELS [<pattern>]",
		"    Return the currently active shard level channels matching a <pattern> (default: '*').",
		"SHARDNUMSUB [<shardchannel> ...]",
		"    Return the number of subscribers for the specified shard level channel(s)",
		NULL,
	};
	return context_help(c, lines);
}
