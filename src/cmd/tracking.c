/* CLIENT TRACKING and its kin, MONITOR, CLIENT UNBLOCK. What a command changes of its client's tracking becomes so with the
 * commit (pubsub/tracking.h). */
#include "pubsub/tracking.h"
#include "cmd/commands.h"
#include "cmd/help.h"
#include "net/net.h"
#include "pubsub/monitors.h"
#include "txn/transaction.h"
#include "txn/waiting.h"

/* ---- CLIENT TRACKING ---- */

struct tracking_options {
	unsigned flags;   /* enum tracking_flag */
	int64_t redirect; /* 0: none */
	struct bytes *prefixes;
	size_t prefix_count;
};

struct tracking_switch {
	struct commit_participant participant;
	struct tracking_changes *changes;
};

static void
apply_switch(struct commit_participant *p, uint64_t timestamp)
{
	(void)timestamp;
	tracking_apply(((struct tracking_switch *)p)->changes);
}

/* The client's tracking as the transaction has it, to be looked at. */
static int
tracking_of(struct command_context *c, struct tracking_changes **ret)
{
	*ret = c->tracking_changes;
	return *ret != NULL ? SETT_OK : tracking_begin(c->server->pubsub, c->client, c->arena, ret);
}

/* The changes become so. Nothing fails any more but for lack of memory, so this is not taken back while others need it. */
static int
join(struct command_context *c, struct tracking_changes *changes)
{
	c->tracking = changes->flags | (changes->flags != 0 ? c->tracking & TRACKING_CACHING : 0);
	if (c->tracking_changes != NULL)
		return SETT_OK;
	struct tracking_switch *s = arena_allocate(c->arena, sizeof(*s), _Alignof(struct tracking_switch));
	if (s == NULL)
		return SETT_NO_MEMORY;
	*s = (struct tracking_switch){.participant.apply = apply_switch, .changes = changes};
	c->tracking_changes = changes;
	context_join_commit(c, &s->participant);
	return SETT_OK;
}

struct target_search {
	struct pubsub *pubsub;
	uint64_t id;
};

/* 1: found; a negative status. */
static int
find_target(void *arg, struct client *client)
{
	const struct target_search *search = arg;
	if (client->id != search->id)
		return 0;
	int status = tracking_prepare_target(search->pubsub, client);
	return status == SETT_OK ? 1 : status;
}

static int
parse_redirect(struct command_context *c, struct bytes argument, struct tracking_options *options)
{
	if (options->redirect != 0)
		return context_error(c, "ERR A client can only redirect to a single other client");
	if (!context_integer(c, argument, &options->redirect))
		return OUTCOME_FAILED;
	struct target_search search = {.pubsub = c->server->pubsub, .id = (uint64_t)options->redirect};
	int found = c->server->net != NULL ? net_each_client(c->server->net, find_target, &search) : 0;
	if (found == 0)
		return context_error(c, "ERR The client ID you want redirect to does not exist");
	return found < 0 ? found : SETT_OK;
}

static int
parse_tracking(struct command_context *c, struct tracking_options *options)
{
	static const struct {
		const char *word;
		enum tracking_flag flag;
	} words[] = {{"BCAST", TRACKING_BROADCAST},
		     {"OPTIN", TRACKING_OPT_IN},
		     {"OPTOUT", TRACKING_OPT_OUT},
		     {"NOLOOP", TRACKING_NO_LOOP}};
	options->prefixes = arena_allocate(c->arena, c->argc * sizeof(struct bytes), _Alignof(struct bytes));
	int status = options->prefixes != NULL ? SETT_OK : SETT_NO_MEMORY;
	for (size_t i = 3; i < c->argc && status == SETT_OK; i++) {
		bool more = i + 1 < c->argc;
		unsigned flag = 0;
		for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
			flag |= argument_is(c->argv[i], words[w].word) ? words[w].flag : 0;
		if (flag != 0)
			options->flags |= flag;
		else if (argument_is(c->argv[i], "REDIRECT") && more)
			status = parse_redirect(c, c->argv[++i], options);
		else if (argument_is(c->argv[i], "PREFIX") && more)
			options->prefixes[options->prefix_count++] = c->argv[++i];
		else
			return context_syntax_error(c);
	}
	return status;
}

static bool
overlap(struct bytes a, struct bytes b)
{
	return bytes_has_prefix(a, b) || bytes_has_prefix(b, a);
}

static int
refuse_overlap(struct command_context *c, struct bytes prefix, const char *what, struct bytes other)
{
	return context_errorf(
		c,
		"ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client "
		"must not overlap.",
		(int)prefix.size, (const char *)prefix.data, what, (int)other.size, (const char *)other.data);
}

static int
check_prefixes(struct command_context *c, const struct tracking_options *options,
	       const struct tracking_changes *present)
{
	for (size_t i = 0; i < options->prefix_count; i++) {
		struct bytes prefix = options->prefixes[i];
		for (size_t j = 0; j < present->prefix_count; j++)
			if (overlap(prefix, present->prefixes[j]))
				return refuse_overlap(c, prefix, "an existing", present->prefixes[j]);
		for (size_t j = i + 1; j < options->prefix_count; j++)
			if (overlap(prefix, options->prefixes[j]))
				return refuse_overlap(c, prefix, "another provided", options->prefixes[j]);
	}
	return SETT_OK;
}

/* In Redis' order of errors. */
static int
check_options(struct command_context *c, const struct tracking_options *options,
	      const struct tracking_changes *present)
{
	unsigned flags = options->flags, now = present->flags;
	bool broadcast = (flags & TRACKING_BROADCAST) != 0;
	bool opt_in = (flags & TRACKING_OPT_IN) != 0, opt_out = (flags & TRACKING_OPT_OUT) != 0;
	if (!broadcast && options->prefix_count > 0)
		return context_error(c, "ERR PREFIX option requires BCAST mode to be enabled");
	if (now != 0 && broadcast != ((now & TRACKING_BROADCAST) != 0))
		return context_error(
			c,
			"ERR You can't switch BCAST mode on/off before disabling tracking for this "
			"client, and then re-enabling it with a different mode.");
	if (broadcast && (opt_in || opt_out))
		return context_error(c, "ERR OPTIN and OPTOUT are not compatible with BCAST");
	if (opt_in && opt_out)
		return context_error(c, "ERR You can't specify both OPTIN mode and OPTOUT mode");
	if ((opt_in && (now & TRACKING_OPT_OUT) != 0) || (opt_out && (now & TRACKING_OPT_IN) != 0))
		return context_error(
			c,
			"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this "
			"client, and then re-enabling it with a different mode.");
	return check_prefixes(c, options, present);
}

static int
switch_on(struct command_context *c, const struct tracking_options *options, struct tracking_changes *changes)
{
	int status = check_options(c, options, changes);
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < options->prefix_count && status == SETT_OK; i++)
		status = tracking_add_prefix(changes, options->prefixes[i]);
	if ((options->flags & TRACKING_BROADCAST) != 0 && options->prefix_count == 0)
		status = tracking_add_prefix(changes, (struct bytes){0});
	changes->flags = options->flags | TRACKING_ON;
	changes->redirect = (uint64_t)options->redirect;
	return status;
}

int
command_client_tracking(struct command_context *c)
{
	struct tracking_options options = {0};
	struct tracking_changes *changes;
	int status = parse_tracking(c, &options);
	if (status == SETT_OK)
		status = tracking_of(c, &changes);
	if (status != SETT_OK)
		return status;
	if (argument_is(c->argv[2], "ON")) {
		status = switch_on(c, &options, changes);
	} else if (argument_is(c->argv[2], "OFF")) {
		changes->flags = 0;
		changes->prefix_count = 0;
	} else {
		return context_syntax_error(c);
	}
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	return join(c, changes);
}

static void
reply_flags(struct command_context *c)
{
	unsigned flags = c->tracking;
	const char *words[8];
	size_t count = 0;
	words[count++] = flags != 0 ? "on" : "off";
	if ((flags & TRACKING_BROADCAST) != 0)
		words[count++] = "bcast";
	if ((flags & TRACKING_OPT_IN) != 0)
		words[count++] = "optin";
	if ((flags & TRACKING_OPT_IN) != 0 && (flags & TRACKING_CACHING) != 0)
		words[count++] = "caching-yes";
	if ((flags & TRACKING_OPT_OUT) != 0)
		words[count++] = "optout";
	if ((flags & TRACKING_OPT_OUT) != 0 && (flags & TRACKING_CACHING) != 0)
		words[count++] = "caching-no";
	if ((flags & TRACKING_NO_LOOP) != 0)
		words[count++] = "noloop";
	if (flags != 0 && c->tracking_changes == NULL &&
	    __atomic_load_n(&c->client->redirect_broken, __ATOMIC_RELAXED))
		words[count++] = "broken_redirect";
	resp_set(c->reply, count);
	for (size_t i = 0; i < count; i++)
		resp_bulk_string(c->reply, words[i]);
}

/* -1: it does not track. */
static int64_t
redirect_of(const struct command_context *c)
{
	if (c->tracking == 0)
		return -1;
	return (int64_t)(c->tracking_changes != NULL ? c->tracking_changes->redirect : c->client->redirect);
}

int
command_client_trackinginfo(struct command_context *c)
{
	struct tracking_changes *now;
	int status = tracking_of(c, &now);
	if (status != SETT_OK)
		return status;
	resp_map(c->reply, 3);
	resp_bulk_string(c->reply, "flags");
	reply_flags(c);
	resp_bulk_string(c->reply, "redirect");
	resp_integer(c->reply, redirect_of(c));
	resp_bulk_string(c->reply, "prefixes");
	resp_array(c->reply, now->prefix_count);
	for (size_t i = 0; i < now->prefix_count; i++)
		resp_bulk(c->reply, now->prefixes[i].data, now->prefixes[i].size);
	return SETT_OK;
}

int
command_client_getredir(struct command_context *c)
{
	resp_integer(c->reply, redirect_of(c));
	return SETT_OK;
}

int
command_client_caching(struct command_context *c)
{
	if (c->tracking == 0)
		return context_error(c,
				     "ERR CLIENT CACHING can be called only when the client is in tracking "
				     "mode with OPTIN or OPTOUT mode enabled");
	bool yes = argument_is(c->argv[2], "YES");
	if (!yes && !argument_is(c->argv[2], "NO"))
		return context_syntax_error(c);
	if (yes && (c->tracking & TRACKING_OPT_IN) == 0)
		return context_error(c,
				     "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN "
				     "mode.");
	if (!yes && (c->tracking & TRACKING_OPT_OUT) == 0)
		return context_error(c,
				     "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT "
				     "mode.");
	c->tracking |= TRACKING_CACHING;
	resp_status(c->reply, "OK");
	return SETT_OK;
}

/* ---- MONITOR ---- */

struct monitor_start {
	struct commit_participant participant;
	struct pubsub *pubsub;
	struct client *client;
};

static void
enter_monitor(struct commit_participant *p, uint64_t timestamp)
{
	(void)timestamp;
	const struct monitor_start *start = (const struct monitor_start *)p;
	monitors_enter(start->pubsub, start->client);
}

int
command_monitor(struct command_context *c)
{
	if (c->in_multi)
		return context_error(c, "ERR MONITOR isn't allowed for DENY BLOCKING client");
	if (c->client->is_monitor)
		return SETT_OK; /* no reply, as in Redis */
	struct monitor_start *start =
		arena_allocate(c->arena, sizeof(*start), _Alignof(struct monitor_start));
	if (start == NULL || monitors_prepare(c->client) != SETT_OK)
		return SETT_NO_MEMORY;
	*start = (struct monitor_start){
		.participant.apply = enter_monitor, .pubsub = c->server->pubsub, .client = c->client};
	context_join_commit(c, &start->participant);
	resp_status(c->reply, "OK");
	return SETT_OK;
}

/* ---- CLIENT UNBLOCK ---- */

int
command_client_unblock(struct command_context *c)
{
	int64_t id;
	if (c->argc > 4)
		return context_unknown_subcommand(c);
	if (c->argc == 4 && !argument_is(c->argv[3], "TIMEOUT") && !argument_is(c->argv[3], "ERROR"))
		return context_error(c, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
	if (!context_integer(c, c->argv[2], &id))
		return OUTCOME_FAILED;
	bool with_error = c->argc == 4 && argument_is(c->argv[3], "ERROR");
	/* Not deferred: the reply says what came of it. */
	resp_integer(c->reply,
		     waiting_unblock(c->server->waiting, (uint64_t)id,
				     with_error ? WAIT_UNBLOCKED : WAIT_TIMED_OUT));
	return SETT_OK;
}
