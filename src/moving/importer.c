/* See importer.h. */
#include "moving/importer.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "keyspace/libraries.h"
#include "moving/survey.h"
#include "rdb/database_writer.h"
#include "txn/commit.h"

enum {
	MS_PER_SECOND = 1000,
	TRIES_MAX = 100,
	ARENA_BLOCK = 4096,
	GATHERED_TABLES = 128,            /* nobody looks for a key in them while an RDB file is read; */
	GATHERED_TABLES_OF_COMMANDS = 32, /* commands of an append-only file look in each of them */
};

/* ---- emptying ---- */

static int
flush_databases(struct server *s, struct sett_txn *txn, struct arena *arena)
{
	struct keyspace_view view;
	int status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS | SETT_TXN_ROOMY);
	if (status != SETT_OK)
		return status;
	status = keyspace_begin(&view, s->keyspace, txn, arena);
	unsigned db = keyspace_next_database(s->keyspace, 0);
	for (; status == SETT_OK && db < keyspace_databases(s->keyspace);
	     db = keyspace_next_database(s->keyspace, db + 1))
		status = keyspace_flush(&view, db);
	if (status == SETT_OK)
		status = libraries_clear(&view);
	if (status == SETT_OK)
		return commit_transaction(s, &view, NULL, NULL, NULL);
	sett_txn_discard(txn);
	return status;
}

static int
empty(struct server *s, struct sett_error *error)
{
	struct sett_txn *txn = NULL;
	struct arena arena;
	arena_init(&arena, ARENA_BLOCK);
	int status = sett_txn_create(s->engine, &txn);
	if (status == SETT_OK)
		status = SETT_CONFLICT;
	for (int tries = 0; status == SETT_CONFLICT && tries < TRIES_MAX; tries++) {
		arena_reset(&arena);
		status = flush_databases(s, txn, &arena);
	}
	sett_txn_destroy(txn);
	arena_free(&arena);
	return status == SETT_OK
		? status
		: sett_error_set(error, status, 0, "emptying the databases: %s", sett_status_text(status));
}

/* ---- the decision ---- */

static int
count_keys(struct server *s, uint64_t *ret, struct sett_error *error)
{
	struct rdb_snapshot *snapshot;
	int status = rdb_snapshot_take(s->engine, s->keyspace, &snapshot);
	if (status != SETT_OK)
		return sett_error_set(error, status, 0, "%s", sett_status_text(status));
	*ret = rdb_snapshot_keys(snapshot);
	rdb_snapshot_release(snapshot);
	return SETT_OK;
}

static int
refuse_cut_off(const struct config *config, struct sett_error *error)
{
	return sett_error_set(
		error, SETT_INVALID, 0,
		"an import of Redis' files into %s was cut off, and they are gone. Put them back to begin "
		"it anew, or remove the database's files to begin without",
		config->dir);
}

static int
refuse_both(const struct config *config, const struct redis_files *files, struct sett_error *error)
{
	return sett_error_set(
		error, SETT_INVALID, 0,
		"%s holds a database and also %s, which it was neither made from nor wrote. Start once with "
		"--ignore-redis-files yes to serve the database, or with --import-redis-files yes to "
		"replace all of it with the file's data",
		config->dir, files->files[0].path);
}

static int
ignore(struct server *s, const struct redis_files *files, struct known_files *known, struct sett_error *error)
{
	log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
			"%s is not read, as ignore-redis-files says: the data served is the database's, also "
			"from the "
			"next start on",
			files->files[0].path);
	/* What was read of it before is half of something. */
	int status = known->importing ? empty(s, error) : SETT_OK;
	known->importing = false;
	struct known_file ignored = files->print;
	ignored.ignored = true;
	known_files_add(known, &ignored);
	return status == SETT_OK ? known_files_write(s->engine, known, error) : status;
}

/* Whether there is nothing to be asked: what is served is what the file has, or what was chosen before it. */
static bool
is_settled(const struct config *config, const struct known_files *known, const struct redis_files *files)
{
	const struct known_file *file = known_files_find(known, &files->print);
	return !known->importing && file != NULL && !(file->ignored && config->import_redis_files);
}

int
importer_decide(struct server *s, const struct redis_files *files, bool *ret_import, struct sett_error *error)
{
	const struct config *config = s->config;
	struct known_files known;
	uint64_t keys = 0;
	*ret_import = false;
	int status = known_files_read(s->engine, &known, error);
	if (status == SETT_OK)
		status = count_keys(s, &keys, error);
	if (status != SETT_OK)
		return status;
	if (known.importing && files->count == 0)
		return refuse_cut_off(config, error);
	if (files->count == 0)
		return SETT_OK;
	if (is_settled(config, &known, files)) {
		log_sink_printf(
			&s->sink, LOG_LEVEL_NOTICE,
			"%s is not read: the database was made from it, wrote it, or was told to ignore it",
			files->files[0].path);
		return SETT_OK;
	}
	if (config->ignore_redis_files)
		return ignore(s, files, &known, error);
	if (!known.importing && keys > 0 && !config->import_redis_files)
		return refuse_both(config, files, error);
	/* What INFO shows as soon as clients are told LOADING. */
	__atomic_store_n(&s->loading.began_ms, clock_wall_ms(s->clock), __ATOMIC_RELAXED);
	__atomic_store_n(&s->loading.total_bytes, files->size, __ATOMIC_RELAXED);
	*ret_import = true;
	return SETT_OK;
}

/* ---- the taking over ---- */

static int
read_file(struct import *i, const struct redis_files *files, size_t index)
{
	struct import_file file;
	size_t size;
	i->fills_empty = index == 0;
	bool is_last = index + 1 == files->count;
	int status = import_file_open(&file, server_vfs(i->server), files->files[index].path, i->error);
	if (status != SETT_OK)
		return status;
	log_sink_printf(&i->server->sink, LOG_LEVEL_NOTICE, "Taking over %s, %zu bytes", file.path,
			file.content.size);
	i->keeps_expired = files->is_aof;
	if (files->is_aof)
		status = import_aof(i, &file, is_last && i->server->config->aof_load_truncated);
	else
		status = import_rdb(i, &file, &size);
	i->done_before += file.content.size;
	import_file_close(&file);
	return status;
}

static void
report(const struct import *i, const struct redis_files *files)
{
	const struct server *s = i->server;
	uint64_t ms = clock_wall_ms(s->clock) - __atomic_load_n(&s->loading.began_ms, __ATOMIC_RELAXED);
	log_sink_printf(&s->sink, LOG_LEVEL_NOTICE,
			"DB loaded from %s: %.3f seconds; keys of RDB files: %" PRIu64 " loaded, %" PRIu64
			" past their deadlines",
			files->is_aof ? "append only file" : "disk", (double)ms / MS_PER_SECOND, i->keys,
			i->expired);
	if (i->empty > 0)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "empty keys skipped: %" PRIu64, i->empty);
	if (i->losses.functions > 0)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
				"%" PRIu64 " libraries of functions were not taken over: load them again",
				i->losses.functions);
	if (i->losses.commands > 0)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
				"%" PRIu64 " commands of append-only files have failed, and were passed over",
				i->losses.commands);
	if (files->has_others)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
				"What else of Redis' files is in %s was not read: %s", s->config->dir,
				files->is_aof ? "there is an RDB file, too" : "appendonly is not yes");
}

static int
read_files(struct import *i, const struct redis_files *files)
{
	struct seen seen = {0};
	int status = empty(i->server, i->error);
	if (status == SETT_OK && files->is_aof) {
		i->keys_seen = &seen;
		status = seen_begin(&seen, files->size / IMPORT_KEY_BYTES);
	}
	for (size_t f = 0; f < files->count && status == SETT_OK; f++)
		status = read_file(i, files, f);
	i->keys_seen = NULL;
	seen_free(&seen);
	return status;
}

/* What is to be replaced stays if the files can't be taken over. */
static int
survey(struct import *i, const struct redis_files *files, struct sett_error *error)
{
	uint64_t keys = 0;
	int status = count_keys(i->server, &keys, error);
	if (status == SETT_OK)
		status = survey_files(i, files, keys > 0, error);
	if (status != SETT_CORRUPT || keys == 0)
		return status;
	struct sett_error found = *error;
	return sett_error_set(error, status, 0, "%s. The database is as it was", found.message);
}

/* A database that is a part of the file says so, whatever becomes of the process. */
static int
note_importing(struct server *s, bool importing, struct sett_error *error)
{
	struct known_files known;
	int status = known_files_read(s->engine, &known, error);
	known.importing = importing;
	return status == SETT_OK ? known_files_write(s->engine, &known, error) : status;
}

/* What the survey has not refused. */
static int
take_over(struct import *i, const struct redis_files *files, struct sett_error *error)
{
	struct server *s = i->server;
	struct known_files known;
	int status = note_importing(s, true, error);
	if (status == SETT_OK)
		status = known_files_read(s->engine, &known, error);
	if (status == SETT_OK)
		status = read_files(i, files);
	if (status != SETT_OK)
		return status;
	known.importing = false;
	known_files_add(&known, &files->print);
	return known_files_write(s->engine, &known, error);
}

static bool
is_given_up(void *arg)
{
	const struct import *i = arg;
	return i->should_stop != NULL && i->should_stop(i->arg);
}

/* Tables are merged late, in few passes, and those that are left at the end while clients are served. A commit that waits for a
 * merge is refused once the import is given up, as are those that a large value takes. */
int
importer_run(struct import *i, const struct redis_files *files, struct sett_error *error)
{
	struct sett_engine *engine = i->server->engine;
	i->error = error;
	int status = survey(i, files, error);
	if (status != SETT_OK)
		return status;
	sett_engine_gather(engine, files->is_aof ? GATHERED_TABLES_OF_COMMANDS : GATHERED_TABLES);
	sett_engine_stop_writes(engine, is_given_up, i);
	status = take_over(i, files, error);
	sett_engine_stop_writes(engine, NULL, NULL);
	sett_engine_gather(engine, 0);
	if (status == SETT_OK)
		report(i, files);
	else if (is_given_up(i))
		return import_given_up(i);
	return status;
}

/* Where dbfilename lies. */
static void
find_dump(struct config *config, char path[PATH_MAX])
{
	mutex_lock(config_lock(config));
	snprintf(path, PATH_MAX, "%s/%s", config->dir, config->dump_file);
	mutex_unlock(config_lock(config));
}

int
importer_reload(struct import *i, bool empties, struct sett_error *error)
{
	struct import_file file;
	char path[PATH_MAX];
	size_t size;
	i->error = error;
	find_dump(i->server->config, path);
	int status = import_file_open(&file, server_vfs(i->server), path, error);
	if (status != SETT_OK)
		return status;
	struct redis_file dump = {.path = path};
	__atomic_store_n(&i->server->loading.total_bytes, file.content.size, __ATOMIC_RELAXED);
	if (empties)
		status = survey(i, &(struct redis_files){.files = &dump, .count = 1}, error);
	if (status == SETT_OK && empties)
		status = note_importing(i->server, true, error);
	if (status == SETT_OK && empties)
		status = empty(i->server, error);
	if (status == SETT_OK)
		status = import_rdb(i, &file, &size);
	if (status == SETT_OK && empties)
		status = note_importing(i->server, false, error);
	import_file_close(&file);
	return status;
}
