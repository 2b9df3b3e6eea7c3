/* BACKUP: online backups, by the words of Redis 8.10. */
#include "moving/backup.h"
#include "cmd/commands.h"
#include "cmd/help.h"
#include "storage/archive.h"

static void
begin(struct server *server, struct client *client, void *data)
{
	backup_begin(server->backup);
}

/* What it says begins with the commit: a MULTI block's with that of the block. */
int
command_backup_start(struct command_context *c)
{
	struct sett_error error = {0};
	if (backup_check(c->server->backup, &error) != SETT_OK)
		return context_errorf(c, "ERR %s", error.message);
	resp_status(c->reply, "OK");
	return context_defer(c, begin, NULL);
}

/* The next three have their effect outside their transactions, which read nothing and write nothing. */
static int
reply_outcome(struct command_context *c, int status, const struct sett_error *error)
{
	if (status != SETT_OK)
		return context_errorf(c, "ERR %s", error->message);
	resp_status(c->reply, "OK");
	return SETT_OK;
}

int
command_backup_seal(struct command_context *c)
{
	struct sett_error error = {0};
	return reply_outcome(c, backup_seal(c->server->backup, &error), &error);
}

int
command_backup_abort(struct command_context *c)
{
	struct sett_error error = {0};
	return reply_outcome(c, backup_abort(c->server->backup, &error), &error);
}

int
command_backup_cleanup(struct command_context *c)
{
	struct sett_error error = {0};
	return reply_outcome(c, backup_clean_up(c->server->backup, &error), &error);
}

int
command_backup_status(struct command_context *c)
{
	static const char *const states[] = {[BACKUP_IDLE] = "idle",
					     [BACKUP_INCREMENTING] = "incrementing",
					     [BACKUP_SEALED] = "sealed",
					     [BACKUP_FAILED] = "failed"};
	enum { MS_PER_SECOND = 1000 };
	struct backup_facts facts;
	struct sett_archive_facts archive;
	backup_facts(c->server->backup, &facts);
	sett_engine_archive_facts(c->server->engine, &archive);
	const struct {
		const char *name;
		uint64_t value;
	} figures[] = {{"start_time", facts.start_ms / MS_PER_SECOND},
		       {"end_time", facts.end_ms / MS_PER_SECOND},
		       {"commit", facts.commit},
		       {"files", facts.files},
		       {"bytes", facts.bytes},
		       {"held_bytes", facts.held_bytes},
		       {"archive_commit", archive.commit},
		       {"archive_time", archive.time_ms / MS_PER_SECOND},
		       {"archive_since_commit", archive.since_commit},
		       {"archive_breaks", archive.breaks}};
	size_t count = sizeof(figures) / sizeof(*figures);
	resp_map(c->reply, 5 + count);
	resp_bulk_string(c->reply, "state");
	resp_bulk_string(c->reply, states[facts.state]);
	resp_bulk_string(c->reply, "error");
	resp_bulk_string(c->reply, facts.error);
	resp_bulk_string(c->reply, "archive_state");
	resp_bulk_string(c->reply, sett_archive_state(&archive));
	resp_bulk_string(c->reply, "archive_error");
	resp_bulk_string(c->reply, archive.error);
	resp_bulk_string(c->reply, "archive_broken_by");
	resp_bulk_string(c->reply, archive.broken_by);
	for (size_t i = 0; i < count; i++) {
		resp_bulk_string(c->reply, figures[i].name);
		resp_bulk_integer(c->reply, (int64_t)figures[i].value);
	}
	return SETT_OK;
}

struct paths {
	struct resp_writer *reply;
	size_t count;
};

static int
reply_path(void *arg, const char *path)
{
	struct paths *paths = arg;
	resp_bulk_string(paths->reply, path);
	paths->count++;
	return SETT_OK;
}

int
command_backup_list(struct command_context *c)
{
	struct sett_error error = {0};
	struct paths paths = {.reply = c->reply};
	size_t token = resp_deferred_begin(c->reply);
	int status = backup_list(c->server->backup, reply_path, &paths, &error);
	resp_deferred_array_end(c->reply, token, paths.count);
	return status;
}

int
command_backup_help(struct command_context *c)
{
	static const char *const lines[] = {
		"START",
		"    Begins a backup. The backup directory must be empty.",
		"SEAL",
		"    Freezes it: all commits up to now are in its files.",
		"STATUS",
		"    Return the state (idle, incrementing, sealed, failed), error, times and figures.",
		"LIST",
		"    Return the paths of the files of the sealed backup, to be copied.",
		"ABORT",
		"    Gives up a backup that is not sealed.",
		"CLEANUP",
		"    Removes the files of a backup that is sealed or has failed.",
		NULL,
	};
	return context_help(c, lines);
}
