/* INFO, HISTORY, TIME, SLOWLOG, SAVE and its kin, SHUTDOWN, ROLE, LOLWUT: the server as a whole. */
#include "cmd/commands.h"
#include "cmd/help.h"
#include "cmd/lookup.h"

#include <inttypes.h>

#include "info/figure_history.h"
#include "info/figure_ring.h"
#include "info/info.h"
#include "info/slowlog.h"
#include "moving/saver.h"
#include "moving/shutdown.h"
#include "net/net.h"
#include "repl/acks.h"

int
command_info(struct command_context *c)
{
	struct buffer text = {0};
	int status = info_write(c->server, &c->view, c->first_participant, c->argv + 1, c->argc - 1, &text);
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", text.data, text.size);
	buffer_free(&text);
	return status;
}

/* HISTORY [seconds] */
int
command_history(struct command_context *c)
{
	struct buffer text = {0};
	int64_t seconds = 60;
	if (c->argc > 2)
		return context_wrong_arity(c);
	if (c->argc == 2 &&
	    !context_integer_range(c, c->argv[1], 1, FIGURE_SECONDS_MAX,
				   "ERR seconds must be from 1 to 86400", &seconds))
		return OUTCOME_FAILED;
	int status = figure_history_print(c->server->history, (uint64_t)seconds, &text);
	if (status == SETT_OK)
		resp_verbatim(c->reply, "txt", text.data, text.size);
	buffer_free(&text);
	return status;
}

int
command_time(struct command_context *c)
{
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return SETT_IO;
	resp_array(c->reply, 2);
	resp_bulk_integer(c->reply, now.tv_sec);
	resp_bulk_integer(c->reply, now.tv_nsec / 1000);
	return SETT_OK;
}

int
command_lolwut(struct command_context *c)
{
	int64_t version;
	if (c->argc >= 3 && argument_is(c->argv[1], "VERSION") && !context_integer(c, c->argv[2], &version))
		return OUTCOME_FAILED;
	static const char text[] = "Redis ver. 7.0.15\nSett ver. " SETT_VERSION "\n";
	resp_verbatim(c->reply, "txt", text, sizeof text - 1);
	return SETT_OK;
}

/* ---- SLOWLOG ---- */

struct entries {
	struct resp_writer *reply;
	size_t count;
};

static void
reply_entry(void *arg, const struct slowlog_entry *entry)
{
	enum { FIELDS = 6 };
	struct entries *entries = arg;
	struct resp_writer *reply = entries->reply;
	resp_array(reply, FIELDS);
	resp_integer(reply, (int64_t)entry->id);
	resp_integer(reply, (int64_t)entry->time_seconds);
	resp_integer(reply, (int64_t)entry->duration_us);
	resp_array(reply, entry->argc);
	for (size_t i = 0; i < entry->argc; i++)
		resp_bulk(reply, entry->argv[i].data, entry->argv[i].size);
	resp_bulk(reply, entry->client_address.data, entry->client_address.size);
	resp_bulk(reply, entry->client_name.data, entry->client_name.size);
	entries->count++;
}

int
command_slowlog_get(struct command_context *c)
{
	enum { DEFAULT_COUNT = 10 };
	int64_t count = DEFAULT_COUNT;
	if (c->argc > 3)
		return context_unknown_subcommand(c);
	if (c->argc == 3 &&
	    !context_integer_range(c, c->argv[2], -1, INT64_MAX,
				   "ERR count should be greater than or equal to -1", &count))
		return OUTCOME_FAILED;
	struct entries entries = {.reply = c->reply};
	size_t token = resp_deferred_begin(c->reply);
	slowlog_each(c->server->slowlog, count < 0 ? SIZE_MAX : (size_t)count, reply_entry, &entries);
	resp_deferred_array_end(c->reply, token, entries.count);
	return SETT_OK;
}

int
command_slowlog_len(struct command_context *c)
{
	resp_integer(c->reply, (int64_t)slowlog_length(c->server->slowlog));
	return SETT_OK;
}

static void
reset_slowlog(struct server *server, struct client *client, void *data)
{
	slowlog_reset(server->slowlog);
}

int
command_slowlog_reset(struct command_context *c)
{
	resp_status(c->reply, "OK");
	return context_defer(c, reset_slowlog, NULL);
}

int
command_slowlog_help(struct command_context *c)
{
	static const char *const lines[] = {
		"GET [<count>]",
		"    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
		"    Entries are made of:",
		"    id, timestamp, time in microseconds, arguments array, client IP and port,",
		"    client name",
		"LEN",
		"    Return the length of the slowlog.",
		"RESET",
		"    Reset the slowlog.",
		NULL,
	};
	return context_help(c, lines);
}

/* ---- SAVE and its kin ---- */

int
command_save(struct command_context *c)
{
	struct sett_error error = {0};
	int status = saver_run(c->server->saver, 0, &c->client->gone, &error);
	if (status == SETT_LOCKED)
		return context_error(c, "ERR Background save already in progress");
	if (status == SETT_ABORTED && context_is_given_up(c))
		return context_give_up(c);
	if (status != SETT_OK)
		return context_errorf(c, "ERR %s", error.message);
	resp_status(c->reply, "OK");
	return SETT_OK;
}

static void
start_save(struct server *server, struct client *client, void *data)
{
	struct sett_error error = {0};
	if (saver_start(server->saver, &error) != SETT_OK)
		log_sink_printf(&server->sink, LOG_LEVEL_WARNING, "Can't save in background: %s",
				error.message);
}

/* What is written is the moment after the commit: of an EXEC, with all that it did. */
int
command_bgsave(struct command_context *c)
{
	if (c->argc > 2 || (c->argc == 2 && !argument_is(c->argv[1], "SCHEDULE")))
		return context_syntax_error(c);
	if (saver_is_busy(c->server->saver))
		return context_error(c, "ERR Background save already in progress");
	resp_status(c->reply, c->in_multi ? "Background saving scheduled" : "Background saving started");
	return context_defer(c, start_save, NULL);
}

/* Every commit is in the log, so there is nothing to be rewritten: all of it is made durable. */
int
command_bgrewriteaof(struct command_context *c)
{
	struct sett_error error = {0};
	if (sett_engine_sync(c->server->engine, &error) != SETT_OK) {
		log_sink_printf(&c->server->sink, LOG_LEVEL_WARNING, "Saving failed: %s", error.message);
		return context_errorf(c, "ERR %s", error.message);
	}
	resp_status(c->reply, "Background append only file rewriting started");
	return SETT_OK;
}

int
command_lastsave(struct command_context *c)
{
	struct saver_facts facts;
	saver_facts(c->server->saver, &facts);
	resp_integer(c->reply, (int64_t)(facts.last_save_ms / 1000));
	return SETT_OK;
}

/* ---- SHUTDOWN ---- */

struct shutdown_request {
	bool save, no_save, now, force, abort;
};

static bool
parse_shutdown(struct command_context *c, struct shutdown_request *request)
{
	for (size_t i = 1; i < c->argc; i++) {
		if (argument_is(c->argv[i], "NOSAVE"))
			request->no_save = true;
		else if (argument_is(c->argv[i], "SAVE"))
			request->save = true;
		else if (argument_is(c->argv[i], "NOW"))
			request->now = true;
		else if (argument_is(c->argv[i], "FORCE"))
			request->force = true;
		else if (argument_is(c->argv[i], "ABORT"))
			request->abort = true;
		else
			return false;
	}
	return !(request->abort && c->argc > 2) && !(request->save && request->no_save);
}

/* No reply: the connection closes with the server. */
int
command_shutdown(struct command_context *c)
{
	struct shutdown_request request = {0};
	struct shutdown *shutdown = c->server->shutdown;
	if (!parse_shutdown(c, &request))
		return context_syntax_error(c);
	if (request.abort) {
		if (!shutdown_abort(shutdown))
			return context_error(c, "ERR No shutdown in progress.");
		resp_status(c->reply, "OK");
		return SETT_OK;
	}
	if (c->in_multi && !request.now)
		return context_error(
			c, "ERR SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client");
	int status = acks_wait(c->server->replication, c->client, &(struct ack_wish){.shutdown = true}, 0);
	if (status != SETT_OK)
		return status;
	shutdown_ask(shutdown,
		     &(struct shutdown_wish){.save = request.save,
					     .no_save = request.no_save,
					     .now = request.now,
					     .force = request.force || request.no_save});
	return OUTCOME_BLOCKED;
}
