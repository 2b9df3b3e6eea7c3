/* See survey.h. */
#include "moving/survey.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "rdb/database_reader.h"
#include "rdb/skip.h"

enum { LOSSES_MAX = 20, WHAT_SIZE = 160, SAID_SIZE = 400, NAME_SHOWN_MAX = 60, PROGRESS_STEP = 1024 * 1024 };

/* Things of one kind. */
struct loss {
	char what[WHAT_SIZE];
	char said[SAID_SIZE]; /* of the first */
	uint64_t count;
};

struct survey {
	bool checks_sums;
	struct loss losses[LOSSES_MAX];
	size_t kinds;
	uint64_t others; /* of kinds for which there is no room */
};

void
survey_note(struct survey *s, const char *what, const char *said)
{
	for (size_t i = 0; i < s->kinds; i++) {
		if (strcmp(s->losses[i].what, what) == 0) {
			s->losses[i].count++;
			return;
		}
	}
	if (s->kinds == LOSSES_MAX) {
		s->others++;
		return;
	}
	struct loss *loss = &s->losses[s->kinds++];
	snprintf(loss->what, sizeof(loss->what), "%s", what);
	snprintf(loss->said, sizeof(loss->said), "%s", said);
	loss->count = 1;
}

/* ---- RDB files ---- */

struct rdb_survey {
	struct import *import;
	struct import_file *file;
	struct rdb_room room, value_room;
};

static void
note(struct rdb_survey *s, uint64_t at, const struct rdb_entry *e, const char *what)
{
	struct sett_error said = {0};
	char holder[NAME_SHOWN_MAX + 32] = "";
	if (e->name.size > 0)
		snprintf(holder, sizeof(holder), "the key '%.*s': ",
			 e->name.size < NAME_SHOWN_MAX ? (int)e->name.size : NAME_SHOWN_MAX,
			 (const char *)e->name.data);
	sett_error_set(&said, SETT_CORRUPT, 0, "%s can't be taken over, at byte %" PRIu64 ": %s%s",
		       s->file->path, at, holder, what);
	survey_note(s->import->survey, what, said.message);
}

static int
look_at_entry(struct rdb_survey *s, struct rdb_database_reader *reader)
{
	struct rdb_entry e;
	uint64_t at = rdb_database_offset(reader);
	int status = rdb_database_next(reader, &e);
	if (status == RDB_MALFORMED)
		return import_damaged(s->import, s->file, rdb_database_offset(reader), reader->problem);
	if (status != SETT_OK)
		return status;
	if (e.kind == RDB_ENTRY_FOREIGN)
		note(s, at, &e, (const char *)e.value.data);
	if (e.kind != RDB_ENTRY_KEY)
		return SETT_OK;
	if (e.db >= keyspace_databases(s->import->server->keyspace))
		note(s, at, &e, "a key in a database that is not there: raise `databases`");
	status = rdb_skip_value(&reader->in, e.type);
	if (status == RDB_MALFORMED)
		return import_damaged(s->import, s->file, at, "a value ends too early, or makes no sense");
	return status;
}

static int
look_at_entries(struct rdb_survey *s, size_t *ret_size)
{
	struct rdb_database_reader reader;
	uint64_t told = 0;
	int status = rdb_database_open(&reader, s->file->content, &s->room, &s->value_room);
	if (status != SETT_OK)
		return import_damaged(s->import, s->file, rdb_database_offset(&reader), reader.problem);
	reader.surveys = true;
	reader.ignores_checksum = !s->import->survey->checks_sums;
	while ((status = look_at_entry(s, &reader)) == SETT_OK) {
		if (rdb_database_offset(&reader) - told < PROGRESS_STEP)
			continue;
		told = rdb_database_offset(&reader);
		status = import_progress(s->import, s->file, (size_t)told);
		if (status != SETT_OK)
			return status;
	}
	*ret_size = (size_t)rdb_database_offset(&reader);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
survey_rdb(struct import *i, struct import_file *file, size_t *ret_size)
{
	struct rdb_survey s = {.import = i, .file = file};
	int status = look_at_entries(&s, ret_size);
	rdb_room_free(&s.room);
	rdb_room_free(&s.value_room);
	return status;
}

/* ---- all files ---- */

static int
look_at_file(struct import *i, const struct redis_files *files, size_t index)
{
	struct import_file file;
	size_t size;
	bool is_last = index + 1 == files->count;
	int status = import_file_open(&file, server_vfs(i->server), files->files[index].path, i->error);
	if (status != SETT_OK)
		return status;
	if (files->is_aof)
		status = import_aof(i, &file, is_last && i->server->config->aof_load_truncated);
	else
		status = survey_rdb(i, &file, &size);
	i->done_before += file.content.size;
	import_file_close(&file);
	return status;
}

static void
log_losses(const struct survey *s, const struct log_sink *sink)
{
	for (size_t i = 0; i < s->kinds; i++)
		log_sink_printf(sink, LOG_LEVEL_WARNING, "%" PRIu64 " times can't be taken over: %s",
				s->losses[i].count, s->losses[i].what);
	if (s->others > 0)
		log_sink_printf(sink, LOG_LEVEL_WARNING,
				"%" PRIu64 " times can't be taken over: things of other kinds", s->others);
}

/* One kind of thing alone is the error as it is. */
static int
name_losses(const struct survey *s, struct sett_error *error)
{
	const struct loss *first = &s->losses[0];
	if (s->kinds == 0)
		return SETT_OK;
	if (s->kinds == 1 && first->count == 1)
		return sett_error_set(error, SETT_CORRUPT, 0, "%s", first->said);
	return sett_error_set(error, SETT_CORRUPT, 0, "%.280s (%" PRIu64 " times; kinds of such things: %zu)",
			      first->said, first->count, s->kinds);
}

int
survey_files(struct import *i, const struct redis_files *files, bool checks_sums, struct sett_error *error)
{
	struct survey survey = {.checks_sums = checks_sums};
	assert(i->done_before == 0);
	int status = SETT_OK;
	i->survey = &survey;
	i->error = error;
	for (size_t f = 0; f < files->count && status == SETT_OK; f++)
		status = look_at_file(i, files, f);
	i->survey = NULL;
	i->done_before = 0;
	log_losses(&survey, &i->server->sink);
	if (status == SETT_OK)
		return name_losses(&survey, error);
	if (error->status != status)
		sett_error_set(error, status, 0, "looking through Redis' files: %s",
			       sett_status_text(status));
	return status;
}
