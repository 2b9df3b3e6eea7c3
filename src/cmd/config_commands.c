/* CONFIG. A change is checked when the command runs and made when it commits (I2). */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "config/config.h"
#include "expire/evictor.h"
#include "expire/expirer.h"
#include "info/command_stats.h"
#include "net/net.h"
#include "repl/replication.h"
#include "txn/rights.h"

struct values {
	struct resp_writer *reply;
	size_t count;
};

static void
reply_value(void *arg, struct bytes name, struct bytes value)
{
	struct values *values = arg;
	resp_bulk(values->reply, name.data, name.size);
	resp_bulk(values->reply, value.data, value.size);
	values->count++;
}

int
command_config_get(struct command_context *c)
{
	struct values values = {.reply = c->reply};
	size_t token = resp_deferred_begin(c->reply);
	config_get(c->server->config, c->argv + 2, c->argc - 2, reply_value, &values);
	resp_deferred_map_end(c->reply, token, values.count);
	return SETT_OK;
}

/* ---- CONFIG SET ---- */

struct setting {
	struct bytes *arguments;
	size_t count;
	bool is_local;
};

/* Frees the text. */
static int
reply_buffer_error(struct command_context *c, struct buffer *error)
{
	int outcome = context_errorf(c, "%.*s", (int)error->size, (const char *)error->data);
	buffer_free(error);
	return outcome;
}

/* As the start's log does for a configuration file. */
static void
log_no_effect(struct server *server, const struct setting *setting)
{
	for (size_t i = 0; i + 1 < setting->count; i += 2) {
		struct bytes name = setting->arguments[i];
		const char *why = config_no_effect(name);
		if (why != NULL)
			log_sink_printf(&server->sink, LOG_LEVEL_NOTICE,
					"CONFIG SET '%.*s': accepted, has no effect: %s", (int)name.size,
					(const char *)name.data, why);
	}
}

static void
apply_setting(struct server *server, struct client *client, void *data)
{
	const struct setting *setting = data;
	struct buffer error = {0};
	/* It was checked; only lack of memory, or a racing change of a part of the value, is left. */
	if (config_set_from(server->config, setting->arguments, setting->count, setting->is_local, &error) !=
	    SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "CONFIG SET was not applied: %.*s",
				(int)error.size, (const char *)error.data);
	else
		log_no_effect(server, setting);
	buffer_free(&error);
}

/* requirepass is the default user's password. */
static int
set_password(struct command_context *c, const struct setting *setting)
{
	for (size_t i = 0; i + 1 < setting->count; i += 2) {
		struct acl_set *draft;
		if (!argument_is(setting->arguments[i], "requirepass") || c->server->users == NULL)
			continue;
		int status = rights_draft(c, &draft);
		if (status == SETT_OK)
			status = acl_set_password(c->server->users, draft, setting->arguments[i + 1]);
		if (status == SETT_OK)
			status = rights_changed(c);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

int
command_config_set(struct command_context *c)
{
	struct setting *setting = arena_allocate(c->arena, sizeof *setting, _Alignof(struct setting));
	struct buffer error = {0};
	if (setting == NULL)
		return SETT_NO_MEMORY;
	setting->count = c->argc - 2;
	setting->is_local = client_is_local(c->client);
	setting->arguments = context_copy_arguments(c, c->argv + 2, setting->count);
	if (setting->arguments == NULL)
		return SETT_NO_MEMORY;
	if (config_check_from(c->server->config, setting->arguments, setting->count, setting->is_local,
			      &error) != SETT_OK)
		return reply_buffer_error(c, &error);
	int status = set_password(c, setting);
	if (status != SETT_OK)
		return status;
	resp_status(c->reply, "OK");
	return context_defer(c, apply_setting, setting);
}

/* ---- CONFIG RESETSTAT, REWRITE ---- */

static void
reset_statistics(struct server *server, struct client *client, void *data)
{
	command_stats_reset(server->command_stats);
	if (server->net != NULL)
		net_reset_stats(server->net);
	server_reset_interactive_counts(server);
	replication_reset_counts(server->replication);
	if (server->expirer != NULL)
		expirer_reset_stats(server->expirer);
	if (server->evictor != NULL)
		evictor_reset_stats(server->evictor);
}

int
command_config_resetstat(struct command_context *c)
{
	resp_status(c->reply, "OK");
	return context_defer(c, reset_statistics, NULL);
}

/* May be run again: it writes what is. */
/* Within a MULTI block what is to be kept may change with the commit: CONFIG SET and REPLICAOF before it. */
static void
rewrite_again(struct server *server, struct client *client, void *data)
{
	struct buffer error = {0};
	(void)client, (void)data;
	if (config_rewrite(server->config, false, &error) != SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "CONFIG REWRITE failed. %.*s",
				(int)error.size, (const char *)error.data);
	buffer_free(&error);
}

int
command_config_rewrite(struct command_context *c)
{
	struct buffer error = {0};
	if (config_rewrite(c->server->config, false, &error) != SETT_OK) {
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "CONFIG REWRITE failed. %.*s",
				(int)error.size, (const char *)error.data);
		return reply_buffer_error(c, &error);
	}
	log_sink_printf(&c->server->sink, LOG_LEVEL_NOTICE, "CONFIG REWRITE executed with success.");
	resp_status(c->reply, "OK");
	buffer_free(&error);
	return c->in_multi ? context_defer(c, rewrite_again, NULL) : SETT_OK;
}

int
command_config_help(struct command_context *c)
{
	static const char *const lines[] = {
		"GET <pattern>",
		"    Return parameters matching the glob-like <pattern> and their values.",
		"SET <directive> <value>",
		"    Set the configuration <directive> to <value>.",
		"RESETSTAT",
		"    Reset statistics reported by the INFO command.",
		"REWRITE",
		"    Rewrite the configuration file.",
		NULL,
	};
	return context_help(c, lines);
}
