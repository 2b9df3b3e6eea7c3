/* An append-only file's commands run as a client's would, in blocks of MULTI and EXEC: so a block of them costs one commit,
 * and none of them waits. A block that the file has itself is a block of its own here. A file that ends within a command,
 * or within a block, was cut off there.
 *
 *     this thread    | queue 1 | queue 2 | queue 3 | ...
 *     another                  | EXEC 1  | EXEC 2  | ...
 *
 * Two clients take turns: while one's block runs, the next is read, and queued by the other. What runs, runs in the file's order,
 * one after the other; what is queued looks at no data. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "keyspace/integer.h"
#include "moving/aof_reader.h"
#include "moving/feed.h"
#include "moving/import.h"
#include "moving/second_thread.h"
#include "moving/survey.h"
#include "rdb/database_reader.h"
#include "txn/command.h"

enum {
	BLOCK_COMMANDS = 500,
	BLOCK_BYTES = 256 * 1024,
	ALONE_BYTES = 256 * 1024, /* a command that runs by itself */
	FAILURES_NAMED_MAX = 10,  /* those of commands that the log names */
	CLIENTS = 2,
};

/* A client with the commands that it queues, or runs. */
struct aof_block {
	struct feed feed;
	size_t at, commands, bytes; /* where in the file it begins */
	int status;                 /* of its EXEC */
};

struct aof_import {
	struct import *import;
	struct import_file *file;
	struct aof_reader reader;
	struct aof_block blocks[CLIENTS];
	struct aof_block *block;   /* for what is read */
	struct aof_block *running; /* NULL: none */
	struct second_thread runner;
	unsigned db; /* selected by what has run */
	size_t told; /* how far import_progress knows of */
	bool in_block;
	bool is_files; /* the file began it */
};

/* `what` is in Redis' words, which people search for. */
static int
failed(struct aof_import *a, size_t at, const char *what, const char *detail)
{
	return sett_error_set(a->import->error, SETT_CORRUPT, 0,
			      "%s reading the append only file %s, at byte %zu%s", what, a->file->path, at,
			      detail);
}

static bool
command_is_there(const struct aof_import *a, const struct bytes *argv, size_t argc)
{
	const struct command *container = NULL;
	return command_find(a->import->server->commands, argv, argc, &container) != NULL || container != NULL;
}

static int
unknown(struct aof_import *a, const struct bytes *argv)
{
	char what[128];
	snprintf(what, sizeof(what), "Unknown command '%.*s'", (int)(argv[0].size < 64 ? argv[0].size : 64),
		 (const char *)argv[0].data);
	(void)failed(a, a->reader.begin, what, "");
	if (a->import->survey == NULL)
		return SETT_CORRUPT;
	survey_note(a->import->survey, what, a->import->error->message);
	*a->import->error = (struct sett_error){0};
	return SETT_OK;
}

static int
run_failed(struct aof_import *a, const struct aof_block *b)
{
	char detail[FEED_ERROR_SIZE + 64];
	snprintf(detail, sizeof(detail), ": a command of those from there on fails: %s", b->feed.error);
	return failed(a, b->at, "A command failed", detail);
}

/* Commands that ran and have failed because of the data are passed over, as by Redis: they did where the file was written. */
static int
pass_over(struct aof_import *a, const struct aof_block *b)
{
	if (a->import->losses.commands < FAILURES_NAMED_MAX)
		log_sink_printf(
			&a->import->server->sink, LOG_LEVEL_WARNING,
			"A command of the append only file %s fails, one of those from byte %zu on: %s",
			a->file->path, b->at, b->feed.error);
	a->import->losses.commands += b->feed.errors;
	return SETT_OK;
}

/* What has run, an EXEC or a command by itself. */
static int
judge(struct aof_import *a, const struct aof_block *b, int status)
{
	if (status != SETT_INVALID)
		return status;
	return b->feed.is_of_data ? pass_over(a, b) : run_failed(a, b);
}

/* The block that runs comes to its end. */
static int
end_running(struct aof_import *a)
{
	struct aof_block *b = a->running;
	if (b == NULL)
		return SETT_OK;
	second_thread_wait(&a->runner);
	a->running = NULL;
	a->db = b->feed.client.db;
	return judge(a, b, b->status);
}

static int
run_word(struct aof_block *b, const char *word)
{
	struct bytes name = bytes_of_string(word);
	return feed_run(&b->feed, 1, &name);
}

/* On the second thread. */
static void
run_block(void *job)
{
	struct aof_block *b = job;
	b->status = run_word(b, "EXEC");
}

/* The commands that were queued run behind those before. */
static int
end_block(struct aof_import *a)
{
	struct aof_block *b = a->block;
	if (!a->in_block)
		return SETT_OK;
	a->in_block = a->is_files = false;
	if (a->import->survey != NULL)
		return SETT_OK;
	int status = end_running(a);
	if (status != SETT_OK)
		return status;
	b->feed.client.db = a->db;
	a->running = b;
	a->block = b == &a->blocks[0] ? &a->blocks[1] : &a->blocks[0];
	second_thread_begin(&a->runner, b);
	/* What the block before has committed goes to the log's file meanwhile. */
	return sett_engine_write(a->import->server->engine);
}

static int
begin_block(struct aof_import *a, size_t at)
{
	struct aof_block *b = a->block;
	assert(!a->in_block);
	b->at = at;
	b->commands = b->bytes = 0;
	a->in_block = true;
	if (a->import->survey != NULL)
		return SETT_OK;
	int status = run_word(b, "MULTI");
	return status == SETT_INVALID ? run_failed(a, b) : status;
}

/* The command that was read is queued, or runs by itself. */
static int
run(struct aof_import *a)
{
	struct aof_block *b = a->block;
	size_t argc = a->reader.argc;
	const struct bytes *argv = a->reader.argv;
	if (a->import->survey != NULL)
		return command_is_there(a, argv, argc) ? SETT_OK : unknown(a, argv);
	int status = a->in_block ? SETT_OK : end_running(a);
	if (status != SETT_OK)
		return status;
	if (!a->in_block) {
		b->at = a->reader.begin;
		b->feed.client.db = a->db;
	}
	status = feed_run(&b->feed, argc, argv);
	if (status == SETT_INVALID && !command_is_there(a, argv, argc))
		return unknown(a, argv);
	if (a->in_block)
		return status == SETT_INVALID ? run_failed(a, b) : status;
	a->db = b->feed.client.db;
	status = judge(a, b, status);
	return status == SETT_OK ? sett_engine_write(a->import->server->engine) : status;
}

/* What follows would go into the wrong database. */
static bool
selects_none(const struct aof_import *a)
{
	int64_t db;
	if (a->reader.argc != 2 || !argument_is(a->reader.argv[0], "SELECT"))
		return false;
	return !parse_integer(a->reader.argv[1], &db) || db < 0 ||
		db >= (int64_t)keyspace_databases(a->import->server->keyspace);
}

static bool
is_word(const struct aof_import *a, const char *word)
{
	return a->reader.argc == 1 && argument_is(a->reader.argv[0], word);
}

/* The command that was read. */
static int
take_command(struct aof_import *a)
{
	size_t at = a->reader.begin, bytes = a->reader.at - at;
	int status = SETT_OK;
	if (selects_none(a))
		return failed(a, at, "A command failed",
			      ": SELECT of a database that is not there (`databases`)");
	if (is_word(a, "MULTI") || is_word(a, "EXEC")) {
		bool begins = is_word(a, "MULTI");
		if (begins == a->is_files)
			return failed(a, at, "Bad file format", ": MULTI and EXEC do not take turns");
		status = end_block(a);
		if (status == SETT_OK && begins)
			status = begin_block(a, at);
		a->is_files = begins;
		return status;
	}
	if (!a->is_files &&
	    (bytes >= ALONE_BYTES || a->block->commands >= BLOCK_COMMANDS || a->block->bytes >= BLOCK_BYTES))
		status = end_block(a);
	if (status == SETT_OK && !a->in_block && bytes < ALONE_BYTES)
		status = begin_block(a, at);
	if (status != SETT_OK)
		return status;
	a->block->commands++;
	a->block->bytes += bytes;
	return run(a);
}

/* The file ends at `at`, within what it says; what it has of a block is taken back. */
static int
end_early(struct aof_import *a, size_t at, bool takes_truncated)
{
	int status = SETT_OK;
	if (a->is_files) {
		at = a->block->at;
		a->in_block = a->is_files = false;
		if (a->import->survey == NULL)
			status = run_word(a->block, "DISCARD");
	} else {
		status = end_block(a);
	}
	if (status != SETT_OK)
		return status;
	if (!takes_truncated)
		return failed(a, at, "Unexpected end of file",
			      ": it ends within a command or a MULTI block, and aof-load-truncated is no, or "
			      "other files follow it");
	if (a->import->survey != NULL)
		return SETT_OK;
	log_sink_printf(&a->import->server->sink, LOG_LEVEL_WARNING,
			"%s ends within a command or a MULTI block: it is taken over up to byte %zu of %zu",
			a->file->path, at, a->file->content.size);
	return SETT_OK;
}

static int
read_commands(struct aof_import *a, bool takes_truncated)
{
	for (;;) {
		int status = aof_reader_next(&a->reader);
		if (status == RDB_TRUNCATED || (status == SETT_NOT_FOUND && a->is_files))
			return end_early(a, a->reader.begin, takes_truncated);
		if (status == SETT_NOT_FOUND)
			return end_block(a);
		if (status == RDB_MALFORMED)
			return failed(a, a->reader.begin, "Bad file format", ": this is no command");
		if (status == SETT_OK)
			status = take_command(a);
		/* What was queued is copied: the pages can be given back. */
		if (status == SETT_OK && a->reader.at - a->told >= BLOCK_BYTES) {
			a->told = a->reader.at;
			status = import_progress(a->import, a->file, a->reader.at);
		}
		if (status != SETT_OK)
			return status;
	}
}

static int
open_clients(struct aof_import *a)
{
	struct import *i = a->import;
	int status = SETT_OK;
	second_thread_init(&a->runner, run_block);
	a->block = &a->blocks[0];
	for (size_t b = 0; b < CLIENTS && status == SETT_OK; b++) {
		status = feed_open(&a->blocks[b].feed, i->server->runner);
		a->blocks[b].feed.client.keys_seen = i->keys_seen;
	}
	return status == SETT_OK && i->survey == NULL ? second_thread_start(&a->runner, "import-run")
						      : status;
}

static void
close_clients(struct aof_import *a)
{
	second_thread_stop(&a->runner);
	for (size_t b = 0; b < CLIENTS; b++)
		feed_close(&a->blocks[b].feed);
}

int
import_aof(struct import *i, struct import_file *file, bool takes_truncated)
{
	struct aof_import a = {.import = i, .file = file, .reader = {.file = file->content}};
	int status = open_clients(&a);
	if (status == SETT_OK && rdb_database_begins(file->content))
		status = i->survey != NULL ? survey_rdb(i, file, &a.reader.at)
					   : import_rdb(i, file, &a.reader.at);
	if (status == SETT_OK)
		status = read_commands(&a, takes_truncated);
	/* It stands before what failed behind it. */
	int before = end_running(&a);
	if (before != SETT_OK)
		status = before;
	if (status == SETT_OK && i->survey == NULL)
		status = sett_engine_write(i->server->engine);
	if (status == SETT_OK)
		status = import_progress(i, file, file->content.size);
	if (status != SETT_OK && i->error->status != status)
		sett_error_set(i->error, status, 0, "%s: %s", file->path, sett_status_text(status));
	close_clients(&a);
	aof_reader_free(&a.reader);
	return status;
}
