/* See importer.h. */
#include "moving/importer.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "keyspace/libraries.h"
#include "rdb/crc64.h"
#include "rdb/database_writer.h"
#include "txn/commit.h"

enum { MS_PER_SECOND = 1000, TRIES_MAX = 100, ARENA_BLOCK = 4096, CHECK_STEP = 8 << 20 };

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
	int status = import_file_open(&file, files->files[index].path, i->error);
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
	int status = empty(i->server, i->error);
	for (size_t f = 0; f < files->count && status == SETT_OK; f++)
		status = read_file(i, files, f);
	return status;
}

/* Whether an RDB file is whole, by its checksum: what it replaces goes before it is read. A file without a checksum (of
 * version 4 and before, or made with rdbchecksum no) is not looked at. */
static int
check_whole(struct import *i, const char *path)
{
	enum { HEADER_SIZE = 9, FOOTER_SIZE = 8 };
	struct import_file file;
	int status = import_file_open(&file, path, i->error);
	if (status != SETT_OK)
		return status;
	struct bytes content = file.content;
	bool has_header = content.size > HEADER_SIZE + FOOTER_SIZE && memcmp(content.data, "REDIS0", 6) == 0;
	bool has_footer = has_header && memcmp(content.data + 5, "0005", 4) >= 0;
	size_t checked = has_footer ? content.size - FOOTER_SIZE : 0;
	uint64_t sum = 0, crc = 0;
	if (has_footer)
		memcpy(&sum, content.data + checked, FOOTER_SIZE); /* little-endian, as this system is */
	for (size_t at = 0; sum != 0 && at < checked && status == SETT_OK;) {
		size_t size = checked - at < CHECK_STEP ? checked - at : CHECK_STEP;
		crc = crc64(crc, bytes_of(content.data + at, size));
		at += size;
		if (i->should_stop != NULL && i->should_stop(i->arg))
			status = SETT_ABORTED;
	}
	import_file_close(&file);
	if (status == SETT_OK && (!has_header || crc != sum))
		status = sett_error_set(
			i->error, SETT_CORRUPT, 0, "%s is damaged: %s. The database is as it was", path,
			has_header ? "its checksum is wrong" : "it does not begin as an RDB file");
	return status;
}

/* What is to be replaced stays if the file can't be read. */
static int
check_before_replacing(struct import *i, const struct redis_files *files)
{
	struct known_files known;
	uint64_t keys = 0;
	int status = known_files_read(i->server->engine, &known, i->error);
	if (status == SETT_OK)
		status = count_keys(i->server, &keys, i->error);
	for (size_t f = 0;
	     status == SETT_OK && !files->is_aof && !known.importing && keys > 0 && f < files->count; f++)
		status = check_whole(i, files->files[f].path);
	return status;
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

int
importer_run(struct import *i, const struct redis_files *files, struct sett_error *error)
{
	struct server *s = i->server;
	struct known_files known;
	i->error = error;
	int status = check_before_replacing(i, files);
	if (status == SETT_OK)
		status = note_importing(s, true, error);
	if (status == SETT_OK)
		status = known_files_read(s->engine, &known, error);
	if (status == SETT_OK)
		status = read_files(i, files);
	if (status != SETT_OK)
		return status;
	known.importing = false;
	known_files_add(&known, &files->print);
	status = known_files_write(s->engine, &known, error);
	if (status == SETT_OK)
		report(i, files);
	return status;
}

int
importer_reload(struct import *i, bool empties, struct sett_error *error)
{
	struct config *config = i->server->config;
	struct import_file file;
	char path[PATH_MAX];
	size_t size;
	i->error = error;
	mutex_lock(config_lock(config));
	snprintf(path, sizeof(path), "%s/%s", config->dir, config->dump_file);
	mutex_unlock(config_lock(config));
	int status = import_file_open(&file, path, error);
	if (status != SETT_OK)
		return status;
	__atomic_store_n(&i->server->loading.total_bytes, file.content.size, __ATOMIC_RELAXED);
	if (empties)
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
