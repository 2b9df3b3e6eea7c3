/* An append-only file's commands run as a client's would, through the runner, in blocks of MULTI and EXEC: so a block of them costs
 * one commit, and none of them waits. A block that the file has itself is a block of its own here.
 *
 *     ["REDIS..." an RDB file]
 *     *count CRLF ($size CRLF bytes CRLF)...      a command
 *     #TS:seconds CRLF                            when what follows was written; skipped
 *
 * A file that ends within a command, or within a block, was cut off there. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "moving/import.h"
#include "net/output.h"
#include "rdb/database_reader.h"
#include "resp/writer.h"
#include "txn/command.h"

enum {
	BLOCK_COMMANDS = 500,
	BLOCK_BYTES = 256 * 1024,
	ALONE_BYTES = 256 * 1024, /* a command that runs by itself */
	ARGUMENTS_MAX = 1024 * 1024 * 1024,
	LINE_MAX_SIZE = 64,
};

struct aof_import {
	struct import *import;
	struct import_file *file;
	void *thread; /* of the runner */
	struct client client;
	struct resp_writer reply;
	/* the command that was read */
	struct bytes *argv;
	size_t argc, capacity;
	size_t at;   /* of what comes next */
	size_t told; /* how far import_progress knows of */
	/* the block under way */
	bool in_block;
	bool is_files; /* the file began it */
	size_t block_at, block_commands, block_bytes;
};

static int
failed(struct aof_import *a, size_t at, const char *what, const char *detail)
{
	return sett_error_set(a->import->error, SETT_CORRUPT, 0,
			      "%s is damaged, or can't be taken over, at byte %zu: %s%s", a->file->path, at,
			      what, detail);
}

/* ---- reading a command ---- */

/* A line of `kind` with a number. SETT_NOT_FOUND: the file ends within it; RDB_MALFORMED. */
static int
read_number(struct bytes file, size_t *at, char kind, uint64_t *ret)
{
	uint64_t value = 0;
	size_t i = *at, digits = 0;
	if (i == file.size)
		return SETT_NOT_FOUND;
	if (file.data[i++] != kind)
		return RDB_MALFORMED;
	for (; i < file.size && file.data[i] >= '0' && file.data[i] <= '9'; i++, digits++) {
		if (value > ARGUMENTS_MAX)
			return RDB_MALFORMED;
		value = 10 * value + (file.data[i] - '0');
	}
	if (i + 1 >= file.size)
		return SETT_NOT_FOUND;
	if (digits == 0 || file.data[i] != '\r' || file.data[i + 1] != '\n')
		return RDB_MALFORMED;
	*at = i + 2;
	*ret = value;
	return SETT_OK;
}

static int
add_argument(struct aof_import *a, struct bytes argument)
{
	if (a->argc == a->capacity) {
		size_t capacity = a->capacity == 0 ? 16 : 2 * a->capacity;
		struct bytes *more = reallocarray(a->argv, capacity, sizeof(*more));
		if (more == NULL)
			return SETT_NO_MEMORY;
		a->argv = more;
		a->capacity = capacity;
	}
	a->argv[a->argc++] = argument;
	return SETT_OK;
}

static int
read_argument(struct aof_import *a, size_t *at)
{
	struct bytes file = a->file->content;
	uint64_t size;
	int status = read_number(file, at, '$', &size);
	if (status != SETT_OK)
		return status;
	if (file.size - *at < size + 2)
		return SETT_NOT_FOUND;
	if (file.data[*at + size] != '\r' || file.data[*at + size + 1] != '\n')
		return RDB_MALFORMED;
	struct bytes argument = bytes_of(file.data + *at, (size_t)size);
	*at += size + 2;
	return add_argument(a, argument);
}

/* Skips what the file says about itself. */
static int
skip_annotations(struct bytes file, size_t *at)
{
	while (*at < file.size && file.data[*at] == '#') {
		const uint8_t *end = memchr(file.data + *at, '\n', file.size - *at);
		if (end == NULL)
			return SETT_NOT_FOUND;
		*at = (size_t)(end - file.data) + 1;
	}
	return SETT_OK;
}

/* SETT_NOT_FOUND: the file ends within it; RDB_MALFORMED, SETT_NO_MEMORY. */
static int
read_command(struct aof_import *a)
{
	uint64_t count;
	size_t at = a->at;
	int status = read_number(a->file->content, &at, '*', &count);
	if (status == SETT_OK && count == 0)
		status = RDB_MALFORMED;
	a->argc = 0;
	while (status == SETT_OK && a->argc < count)
		status = read_argument(a, &at);
	if (status == SETT_OK)
		a->at = at;
	return status;
}

/* ---- running ---- */

/* The end of the reply at `at`; the size of the text if it is none. */
static size_t
skip_reply(struct bytes text, size_t at)
{
	uint64_t left = 1;
	for (; left > 0 && at < text.size; left--) {
		const uint8_t *line = text.data + at, *end = memchr(line, '\r', text.size - at);
		if (end == NULL)
			return text.size;
		int64_t number =
			line[0] == '$' || line[0] == '*' ? strtoll((const char *)line + 1, NULL, 10) : 0;
		at = (size_t)(end - text.data) + 2;
		if (line[0] == '$' && number >= 0)
			at += (size_t)number + 2;
		else if (line[0] == '*' && number > 0)
			left += (uint64_t)number;
	}
	return at < text.size ? at : text.size;
}

/* The text of an error among the replies of a block, or the error that is the reply. */
static const char *
find_error(struct bytes reply)
{
	size_t at = 0;
	if (reply.size > 0 && reply.data[0] == '*') {
		const uint8_t *end = memchr(reply.data, '\n', reply.size);
		at = end != NULL ? (size_t)(end - reply.data) + 1 : reply.size;
	}
	for (; at < reply.size; at = skip_reply(reply, at))
		if (reply.data[at] == '-')
			return (const char *)reply.data + at + 1;
	return NULL;
}

static int
execute(struct aof_import *a, size_t argc, const struct bytes *argv)
{
	struct request request = {.argc = argc, .argv = argv, .in_long_lane = true};
	uint64_t release = 0;
	resp_truncate(&a->reply, 0);
	enum request_result result = a->import->handler.execute(a->import->handler.arg, a->thread, &a->client,
								&request, &a->reply, &release);
	output_streams_free(a->client.reply_streams);
	a->client.reply_streams = NULL;
	if (result != REQUEST_DONE)
		return failed(a, a->block_at, "a command waits for something", "");
	if (a->reply.failed || !resp_reserve(&a->reply, 1))
		return SETT_NO_MEMORY;
	a->reply.data[a->reply.size] = '\0';
	const char *error = find_error(bytes_of(a->reply.data, a->reply.size));
	if (error == NULL)
		return SETT_OK;
	char text[200];
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(error, "\r\n"), error);
	return failed(a, a->block_at, "a command of those from there on fails: ", text);
}

static int
execute_word(struct aof_import *a, const char *word)
{
	struct bytes name = bytes_of_string(word);
	return execute(a, 1, &name);
}

static int
end_block(struct aof_import *a)
{
	if (!a->in_block)
		return SETT_OK;
	a->in_block = a->is_files = false;
	int status = execute_word(a, "EXEC");
	if (status != SETT_OK)
		return status;
	return sett_engine_write(a->import->server->engine);
}

static int
begin_block(struct aof_import *a, size_t at)
{
	assert(!a->in_block);
	a->block_at = at;
	a->block_commands = a->block_bytes = 0;
	a->in_block = true;
	return execute_word(a, "MULTI");
}

static bool
is_word(const struct aof_import *a, const char *word)
{
	return a->argc == 1 && argument_is(a->argv[0], word);
}

/* The command that was read, which began at `at`. */
static int
take_command(struct aof_import *a, size_t at)
{
	size_t bytes = a->at - at;
	int status = SETT_OK;
	if (is_word(a, "MULTI") || is_word(a, "EXEC")) {
		bool begins = is_word(a, "MULTI");
		if (begins == a->is_files)
			return failed(a, at, "MULTI and EXEC do not take turns", "");
		status = end_block(a);
		if (status == SETT_OK && begins)
			status = begin_block(a, at);
		a->is_files = begins;
		return status;
	}
	if (!a->is_files &&
	    (bytes >= ALONE_BYTES || a->block_commands >= BLOCK_COMMANDS || a->block_bytes >= BLOCK_BYTES))
		status = end_block(a);
	if (status == SETT_OK && !a->in_block && bytes < ALONE_BYTES)
		status = begin_block(a, at);
	if (status != SETT_OK)
		return status;
	a->block_commands++;
	a->block_bytes += bytes;
	if (!a->in_block)
		a->block_at = at;
	status = execute(a, a->argc, a->argv);
	if (status == SETT_OK && !a->in_block)
		status = sett_engine_write(a->import->server->engine);
	return status;
}

/* The file ends at `at`, within what it says; what it has of a block is taken back. */
static int
end_early(struct aof_import *a, size_t at, bool takes_truncated)
{
	int status = SETT_OK;
	if (a->is_files) {
		at = a->block_at;
		a->in_block = a->is_files = false;
		status = execute_word(a, "DISCARD");
	} else {
		status = end_block(a);
	}
	if (status != SETT_OK)
		return status;
	if (!takes_truncated)
		return failed(a, at,
			      "it ends within a command or a MULTI block, and aof-load-truncated is no, or "
			      "other files follow it",
			      "");
	log_sink_printf(&a->import->server->sink, LOG_LEVEL_WARNING,
			"%s ends within a command or a MULTI block: it is taken over up to byte %zu of %zu",
			a->file->path, at, a->file->content.size);
	return SETT_OK;
}

static int
read_commands(struct aof_import *a, bool takes_truncated)
{
	int status = SETT_OK;
	while (status == SETT_OK) {
		status = skip_annotations(a->file->content, &a->at);
		size_t at = a->at;
		if (status == SETT_OK && at == a->file->content.size)
			return a->is_files ? end_early(a, at, takes_truncated) : end_block(a);
		if (status == SETT_OK)
			status = read_command(a);
		if (status == SETT_NOT_FOUND)
			return end_early(a, at, takes_truncated);
		if (status == RDB_MALFORMED)
			return failed(a, at, "this is no command", "");
		if (status == SETT_OK)
			status = take_command(a, at);
		/* What was queued is copied: the pages can be given back. */
		if (status == SETT_OK && a->at - a->told >= BLOCK_BYTES) {
			a->told = a->at;
			status = import_progress(a->import, a->file, a->at);
		}
	}
	return status;
}

static void
close_client(struct aof_import *a)
{
	if (a->thread == NULL)
		return;
	a->import->handler.client_closed(a->import->handler.arg, &a->client);
	a->import->handler.thread_stop(a->import->handler.arg, a->thread);
}

int
import_aof(struct import *i, struct import_file *file, bool takes_truncated)
{
	struct aof_import a = {.import = i, .file = file};
	int status = SETT_OK;
	a.client = (struct client){
		.id = UINT64_MAX, .fd = -1, .protocol = 2, .authenticated = true, .loads = true};
	resp_writer_init(&a.reply, 2);
	if (rdb_database_begins(file->content))
		status = import_rdb(i, file, &a.at);
	if (status == SETT_OK)
		status = i->handler.thread_start(i->handler.arg, true, &a.thread);
	if (status == SETT_OK)
		status = read_commands(&a, takes_truncated);
	if (status == SETT_OK)
		status = import_progress(i, file, file->content.size);
	if (status != SETT_OK && i->error->status != status)
		sett_error_set(i->error, status, 0, "%s: %s", file->path, sett_status_text(status));
	close_client(&a);
	resp_writer_free(&a.reply);
	free(a.argv);
	return status;
}
