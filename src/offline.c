/* The rooms of a server that importing and saving need, and no others: nobody listens, and nobody is told of anything. */
#include "offline.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/commands.h"
#include "config/config.h"
#include "engine_options.h"
#include "info/figure_ring.h"
#include "keyspace/keyspace.h"
#include "moving/importer.h"
#include "moving/saver.h"
#include "rdb/payload.h"
#include "script/script.h"
#include "storage/keyring.h"
#include "txn/interest.h"
#include "txn/runner.h"
#include "txn/server.h"
#include "txn/waiting.h"
#include "types/mend.h"

enum { DATABASES_OF_EXPORT = 16384, NUMBER_SIZE = 24, POLL_NS = 100000000 };
static const char manifest_end[] = ".manifest";

struct offline {
	const struct offline_options *options;
	struct server server;
};

/* ---- the configuration ---- */

/* Where files lie, as redis.conf would say it. */
struct place {
	char directory[PATH_MAX], dump[NAME_MAX + 1], append_directory[NAME_MAX + 1],
		append_file[NAME_MAX + 1];
};

static bool
ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), end_size = strlen(end);
	return size > end_size && strcmp(text + size - end_size, end) == 0;
}

/* The directory and the name of a path, which has no slash at its end. */
static int
split(const char *path, char directory[PATH_MAX], char name[NAME_MAX + 1], struct sett_error *error)
{
	const char *slash = strrchr(path, '/'), *last = slash != NULL ? slash + 1 : path;
	int size = slash == NULL
		? snprintf(directory, PATH_MAX, ".")
		: snprintf(directory, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	if (size >= PATH_MAX || strlen(last) > NAME_MAX || *last == '\0')
		return sett_error_set(error, SETT_INVALID, 0, "%s is no path of a file", path);
	snprintf(name, NAME_MAX + 1, "%s", last);
	return SETT_OK;
}

/* The name of the append-only files whose manifest lies in a directory; empty: there is none. A manifest is written under a
 * temporary name first, which a crash leaves. */
static int
find_manifest(const char *directory, char name[NAME_MAX + 1], struct sett_error *error)
{
	DIR *d = opendir(directory);
	if (d == NULL)
		return sett_error_set(error, SETT_IO, errno, "opendir %s: %s", directory, strerror(errno));
	const struct dirent *entry;
	int status = SETT_OK;
	name[0] = '\0';
	while (status == SETT_OK && (entry = readdir(d)) != NULL) {
		if (!ends_with(entry->d_name, manifest_end) || strncmp(entry->d_name, "temp-", 5) == 0)
			continue;
		if (name[0] != '\0')
			status =
				sett_error_set(error, SETT_INVALID, 0, "%s has several manifests", directory);
		snprintf(name, NAME_MAX + 1, "%.*s", (int)(strlen(entry->d_name) - strlen(manifest_end)),
			 entry->d_name);
	}
	closedir(d);
	return status;
}

static int
find_place(const char *path, struct place *ret, struct sett_error *error)
{
	struct stat state;
	char clean[PATH_MAX];
	snprintf(clean, sizeof(clean), "%s", path);
	for (size_t size = strlen(clean); size > 1 && clean[size - 1] == '/'; size--)
		clean[size - 1] = '\0';
	*ret = (struct place){
		.dump = "dump.rdb", .append_directory = "appendonlydir", .append_file = "appendonly.aof"};
	if (stat(clean, &state) != 0)
		return sett_error_set(error, errno == ENOENT ? SETT_NOT_FOUND : SETT_IO, errno, "%s: %s",
				      clean, strerror(errno));
	if (!S_ISDIR(state.st_mode))
		return split(clean, ret->directory, ret->dump, error);
	char name[NAME_MAX + 1];
	int status = find_manifest(clean, name, error);
	if (status != SETT_OK || name[0] == '\0') {
		snprintf(ret->directory, sizeof(ret->directory), "%s", clean);
		return status;
	}
	snprintf(ret->append_file, sizeof(ret->append_file), "%s", name);
	return split(clean, ret->directory, ret->append_directory, error);
}

static int
configure(struct offline *o, const struct place *place, bool has_append_files, uint64_t databases,
	  struct sett_error *error)
{
	const struct offline_options *options = o->options;
	char number[NUMBER_SIZE], memory[NUMBER_SIZE], version[NUMBER_SIZE];
	snprintf(number, sizeof(number), "%" PRIu64,
		 options->databases != 0 ? options->databases : databases);
	snprintf(memory, sizeof(memory), "%" PRIu64, options->memory);
	snprintf(version, sizeof(version), "%" PRIu64,
		 options->rdb_version != 0 ? options->rdb_version : RDB_VERSION);
	const char *words[] = {"sett-server",
			       "--dir",
			       place->directory,
			       "--dbfilename",
			       place->dump,
			       "--appenddirname",
			       place->append_directory,
			       "--appendfilename",
			       place->append_file,
			       "--appendonly",
			       has_append_files ? "yes" : "no",
			       "--databases",
			       number,
			       "--maxmemory",
			       memory,
			       "--rdb-version",
			       version,
			       "--encryption-plain-rdb", /* an export is for others */
			       "yes"};
	struct buffer text = {0};
	int status = config_load((int)(sizeof(words) / sizeof(words[0])), (char **)(uintptr_t)words,
				 &o->server.config, &text);
	if (status != SETT_OK)
		sett_error_set(error, status, 0, "%.*s", (int)text.size, (const char *)text.data);
	buffer_free(&text);
	return status;
}

/* ---- the rooms ---- */

static void
ignore_end_of_wait(struct client *client)
{
	(void)client;
}

static int
open_rooms(struct offline *o, struct sett_error *error)
{
	struct server *s = &o->server;
	struct sett_options options = {.vfs = s->vfs, .clock = s->clock, .sink = s->sink};
	engine_options_of(s->config, &options);
	int status = sett_engine_open(o->options->directory, &options, &s->engine, error);
	if (status == SETT_LOCKED)
		return sett_error_set(error, status, 0, "%s: a server has it open; stop it first",
				      o->options->directory);
	if (status == SETT_OK)
		status = keyspace_open(s->engine, (unsigned)s->config->databases, &s->keyspace, error);
	if (status != SETT_OK)
		return status;
	if (interest_create(&s->interest) != SETT_OK ||
	    waiting_create(ignore_end_of_wait, &s->waiting) != SETT_OK ||
	    script_library_create(s, &s->scripts) != SETT_OK || runner_create(s, &s->runner) != SETT_OK ||
	    saver_create(s, &s->saver) != SETT_OK)
		return sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	return SETT_OK;
}

static void
begin(struct offline *o, const struct offline_options *options)
{
	*o = (struct offline){.options = options};
	o->server.clock = sett_system_clock();
	o->server.started_ms = clock_wall_ms(o->server.clock);
	o->server.commands = &sett_commands;
	o->server.sink = options->sink;
	o->server.keys = options->keys;
	o->server.vfs = options->keys != NULL ? sett_keyring_vfs(options->keys) : NULL;
}

/* What was begun; says what of it failed if nothing did before. */
static int
end(struct offline *o, int status, struct sett_error *error)
{
	struct server *s = &o->server;
	struct sett_error closing;
	saver_destroy(s->saver);
	interest_destroy(s->interest);
	waiting_destroy(s->waiting);
	script_library_destroy(s->scripts);
	if (s->keyspace != NULL)
		keyspace_close(s->keyspace);
	int closed = s->engine != NULL ? sett_engine_close(s->engine, &closing) : SETT_OK;
	runner_destroy(s->runner);
	if (s->config != NULL)
		config_destroy(s->config);
	if (status == SETT_OK && closed != SETT_OK)
		*error = closing;
	return status != SETT_OK ? status : closed;
}

/* ---- import ---- */

static int
meet_entry(void *arg, const char *name)
{
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		++*(size_t *)arg;
	return 0;
}

static int
make_directory(const char *path, struct sett_error *error)
{
	enum { MODE = 0755 };
	size_t entries = 0;
	if (mkdir(path, MODE) != 0 && errno != EEXIST)
		return sett_error_set(error, SETT_IO, errno, "mkdir %s: %s", path, strerror(errno));
	int status = vfs_list(vfs_posix(), path, meet_entry, &entries, error);
	if (status == SETT_OK && entries > 0)
		return sett_error_set(error, SETT_INVALID, 0,
				      "%s is not empty: a new database goes into a directory of its own",
				      path);
	return status;
}

static int
import_files(struct offline *o, const struct redis_files *files, struct sett_error *error)
{
	struct server *s = &o->server;
	struct import import = {.server = s, .on_progress = o->options->on_progress, .arg = o->options->arg};
	int status = make_directory(o->options->directory, error);
	if (status == SETT_OK)
		status = open_rooms(o, error);
	if (status != SETT_OK)
		return status;
	s->loading.began_ms = clock_wall_ms(s->clock);
	s->loading.total_bytes = files->size;
	s->loading.active = true;
	return importer_run(&import, files, error);
}

int
offline_import(const struct offline_options *options, struct sett_error *error)
{
	struct offline o;
	struct place place;
	struct redis_files files = {0};
	struct stat state;
	begin(&o, options);
	int status = find_place(options->file, &place, error);
	bool is_directory = status == SETT_OK && stat(options->file, &state) == 0 && S_ISDIR(state.st_mode);
	if (status == SETT_OK)
		status = configure(&o, &place, is_directory, 16, error);
	if (status == SETT_OK)
		status = redis_files_find(o.server.config, vfs_posix(), &files, error);
	if (status == SETT_OK && files.count == 0)
		status = sett_error_set(error, SETT_NOT_FOUND, 0, "%s has no files of Redis", options->file);
	if (status == SETT_OK)
		status = import_files(&o, &files, error);
	redis_files_free(&files);
	return end(&o, status, error);
}

/* ---- export ---- */

static int
check_database(const char *directory, struct sett_error *error)
{
	char path[PATH_MAX];
	struct stat state;
	int size = snprintf(path, sizeof(path), "%s/MANIFEST", directory);
	if (size < 0 || (size_t)size >= sizeof(path) || stat(path, &state) != 0)
		return sett_error_set(error, SETT_NOT_FOUND, 0, "there is no database in %s", directory);
	return SETT_OK;
}

static int
save(struct offline *o, struct sett_error *error)
{
	const struct offline_options *options = o->options;
	struct saver *saver = o->server.saver;
	struct saver_facts facts;
	const struct timespec pause = {0, POLL_NS};
	if (options->on_progress == NULL)
		return saver_run(saver, 0, NULL, error);
	int status = saver_start(saver, error);
	if (status != SETT_OK)
		return status;
	while (saver_is_busy(saver)) {
		nanosleep(&pause, NULL);
		saver_facts(saver, &facts);
		options->on_progress(options->arg, facts.keys_done, facts.keys_all);
	}
	saver_facts(saver, &facts);
	return facts.last_failed ? sett_error_set(error, SETT_FAILED, 0, "writing %s failed", options->file)
				 : SETT_OK;
}

int
offline_export(const struct offline_options *options, struct sett_error *error)
{
	struct offline o;
	struct place place = {.append_directory = "appendonlydir", .append_file = "appendonly.aof"};
	begin(&o, options);
	int status = check_database(options->directory, error);
	if (status == SETT_OK)
		status = split(options->file, place.directory, place.dump, error);
	if (status == SETT_OK)
		status = configure(&o, &place, false, DATABASES_OF_EXPORT, error);
	if (status == SETT_OK)
		status = open_rooms(&o, error);
	if (status == SETT_OK)
		status = save(&o, error);
	return end(&o, status, error);
}

/* ---- salvage ---- */

/* While it is there no server opens what is there. */
static int
mark_target(const char *target, bool is_there, struct sett_error *error)
{
	char path[PATH_MAX];
	struct vfs_file *file;
	int size = snprintf(path, sizeof(path), "%s/%s", target, SETT_RESTORING_NAME);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(error, SETT_INVALID, 0, "%s is too long a path", target);
	if (!is_there) {
		int status = vfs_remove(vfs_posix(), path, error);
		return status == SETT_OK ? vfs_sync_directory(vfs_posix(), target, error) : status;
	}
	int status = vfs_open(vfs_posix(), path, VFS_WRITE | VFS_CREATE, &file, error);
	if (status == SETT_OK)
		status = vfs_close(file, error);
	return status == SETT_OK ? vfs_sync_directory(vfs_posix(), target, error) : status;
}

/* Nothing in the source is changed, so the new database is not made in it. A target that is not there yet stands for its
 * parent. */
static int
refuse_inside(const char *source, const char *target, struct sett_error *error)
{
	char outer[PATH_MAX], inner[PATH_MAX], parent[PATH_MAX];
	int n = snprintf(parent, sizeof(parent), "%s", target);
	if (n < 0 || (size_t)n >= sizeof(parent))
		return sett_error_set(error, SETT_INVALID, 0, "%s is too long a path", target);
	if (realpath(source, outer) == NULL)
		return sett_error_set(error, SETT_IO, errno, "%s: %s", source, strerror(errno));
	if (realpath(target, inner) == NULL && realpath(dirname(parent), inner) == NULL)
		return sett_error_set(error, errno == ENOENT ? SETT_NOT_FOUND : SETT_IO, errno, "%s: %s",
				      target, strerror(errno));
	size_t size = strcmp(outer, "/") == 0 ? 0 : strlen(outer);
	if (strncmp(inner, outer, size) != 0 || (inner[size] != '\0' && inner[size] != '/'))
		return SETT_OK;
	return sett_error_set(error, SETT_INVALID, 0,
			      "%s is in %s, in which nothing is changed: another target is needed", target,
			      source);
}

static int
salvage_into(struct offline *o, struct salvage_options *options, struct salvage_figures *ret,
	     struct sett_error *error)
{
	struct server *s = &o->server;
	struct sett_options engine = {.vfs = s->vfs, .clock = s->clock, .sink = s->sink, .replays = true};
	engine_options_of(s->config, &engine);
	int status = sett_engine_open(o->options->directory, &engine, &s->engine, error);
	if (status != SETT_OK)
		return status;
	options->engine = s->engine;
	options->config = s->config;
	status = salvage_all(options, ret, error);
	return status == SETT_OK ? sett_engine_sync(s->engine, error) : status;
}

int
offline_salvage(struct salvage_options *options, const char *target, uint64_t memory,
		struct salvage_figures *ret, struct sett_error *error)
{
	struct offline o;
	struct place place = {
		.dump = "dump.rdb", .append_directory = "appendonlydir", .append_file = "appendonly.aof"};
	const struct offline_options own = {
		.directory = target, .memory = memory, .keys = options->target_keys};
	struct stat state;
	begin(&o, &own);
	if (stat(options->directory, &state) != 0)
		return sett_error_set(error, errno == ENOENT ? SETT_NOT_FOUND : SETT_IO, errno, "%s: %s",
				      options->directory, strerror(errno));
	snprintf(place.directory, sizeof(place.directory), "%s", target);
	int status = refuse_inside(options->directory, target, error);
	if (status == SETT_OK)
		status = make_directory(target, error);
	if (status == SETT_OK)
		status = configure(&o, &place, false, 16, error);
	if (status == SETT_OK)
		status = mark_target(target, true, error);
	if (status == SETT_OK)
		status = salvage_into(&o, options, ret, error);
	status = end(&o, status, error);
	return status == SETT_OK ? mark_target(target, false, error) : status;
}

/* ---- figures ---- */

int
offline_history(const char *directory, uint64_t seconds, struct buffer *ret, struct sett_error *error)
{
	char path[PATH_MAX];
	struct figure_ring *ring;
	int size = snprintf(path, sizeof(path), "%s/%s", directory, FIGURE_RING_NAME);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(error, SETT_INVALID, 0, "%s is too long a path", directory);
	int status = figure_ring_open_to_read(vfs_posix(), path, &ring, error);
	if (status != SETT_OK)
		return status;
	status = figure_ring_print(ring, seconds, 0, ret, error);
	figure_ring_close(ring);
	return status;
}
