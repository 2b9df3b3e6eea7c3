/* A start beside files of Redis is refused unless a Sett database is there too, or the operator says so. */
#include "moving/redis_files.h"

#include <criterion/criterion.h>

struct world {
	struct vfs *vfs;
	struct config *config;
	struct buffer logged;
	struct sett_error error;
};

static void
keep_line(void *arg, enum log_level level, const char *line)
{
	buffer_append(arg, line, strlen(line));
}

static void
open_world(struct world *w, const char *option, const char *value)
{
	char *argv[] = {(char *)"sett-server", (char *)"--dir", (char *)"/tmp", (char *)option,
			(char *)value};
	struct buffer error = {0};
	*w = (struct world){.vfs = vfs_memory_create()};
	cr_assert_not_null(w->vfs);
	cr_assert_eq(config_load(option != NULL ? 5 : 3, argv, &w->config, &error), SETT_OK);
	cr_assert_eq(vfs_make_directory(w->vfs, w->config->dir, NULL), SETT_OK);
}

static void
close_world(struct world *w)
{
	buffer_free(&w->logged);
	config_destroy(w->config);
	w->vfs->operations->destroy(w->vfs);
}

static const char *
path_of(const struct world *w, const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", w->config->dir, name);
	return path;
}

static void
add_file(struct world *w, const char *name)
{
	struct vfs_file *file;
	cr_assert_eq(vfs_open(w->vfs, path_of(w, name), VFS_WRITE | VFS_CREATE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
}

static int
check(struct world *w)
{
	struct log_sink sink = {.write = keep_line, .arg = &w->logged};
	return redis_files_check(w->config, w->vfs, &sink, &w->error);
}

static void
expect_refused(const char *option, const char *value, const char *name)
{
	struct world w;
	open_world(&w, option, value);
	add_file(&w, name);
	cr_assert_eq(check(&w), SETT_INVALID, "%s", name);
	cr_assert_not_null(strstr(w.error.message, path_of(&w, name)), "%s", w.error.message);
	cr_assert_not_null(strstr(w.error.message, "--ignore-redis-files yes"), "%s", w.error.message);
	cr_assert_eq(w.logged.size, 0);
	close_world(&w);
}

Test(redis_files, data_of_redis_alone_is_refused)
{
	expect_refused(NULL, NULL, "dump.rdb");
	expect_refused(NULL, NULL, "appendonly.aof");
}

Test(redis_files, names_are_those_of_the_configuration)
{
	struct world w;
	expect_refused("--dbfilename", "other.rdb", "other.rdb");
	expect_refused("--appendfilename", "other.aof", "other.aof");
	open_world(&w, "--dbfilename", "other.rdb");
	add_file(&w, "dump.rdb");
	cr_assert_eq(check(&w), SETT_OK);
	cr_assert_eq(w.logged.size, 0);
	close_world(&w);
}

Test(redis_files, an_append_only_directory_counts_once_something_is_in_it)
{
	struct world w;
	open_world(&w, NULL, NULL);
	cr_assert_eq(vfs_make_directory(w.vfs, path_of(&w, "appendonlydir"), NULL), SETT_OK);
	cr_assert_eq(check(&w), SETT_OK);
	add_file(&w, "appendonlydir/appendonly.aof.1.incr.aof");
	cr_assert_eq(check(&w), SETT_INVALID);
	cr_assert_not_null(strstr(w.error.message, "appendonlydir"), "%s", w.error.message);
	close_world(&w);
}

Test(redis_files, beside_a_database_one_line_is_logged)
{
	struct world w;
	open_world(&w, NULL, NULL);
	add_file(&w, "dump.rdb");
	add_file(&w, "MANIFEST");
	cr_assert_eq(check(&w), SETT_OK);
	cr_assert_not_null(strstr((const char *)w.logged.data, "dump.rdb"));
	close_world(&w);
}

Test(redis_files, the_operator_may_begin_empty)
{
	struct world w;
	open_world(&w, "--ignore-redis-files", "yes");
	add_file(&w, "dump.rdb");
	cr_assert_eq(check(&w), SETT_OK);
	cr_assert_not_null(strstr((const char *)w.logged.data, "dump.rdb"));
	close_world(&w);
}

Test(redis_files, a_directory_without_any_is_fine)
{
	struct world w;
	open_world(&w, NULL, NULL);
	add_file(&w, "notes.txt");
	cr_assert_eq(check(&w), SETT_OK);
	cr_assert_eq(w.logged.size, 0);
	close_world(&w);
}
