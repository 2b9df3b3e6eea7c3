/* Which of Redis' files redis-server would load, and in which order. */
#include "moving/redis_files.h"

#include <criterion/criterion.h>

struct world {
	struct vfs *vfs;
	struct config *config;
	struct sett_error error;
};

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
add_file(struct world *w, const char *name, const char *content)
{
	struct vfs_file *file;
	cr_assert_eq(vfs_open(w->vfs, path_of(w, name), VFS_WRITE | VFS_CREATE, &file, NULL), SETT_OK);
	cr_assert_eq(vfs_write_bytes(file, content, strlen(content), 0, NULL), SETT_OK);
	cr_assert_eq(vfs_close(file, NULL), SETT_OK);
}

/* The names that are found, each followed by a blank. */
static const char *
find(struct world *w)
{
	static char names[512];
	struct redis_files files;
	int status = redis_files_find(w->config, w->vfs, &files, &w->error);
	names[0] = '\0';
	if (status != SETT_OK)
		return "failed";
	for (size_t i = 0; i < files.count; i++) {
		size_t size = strlen(names);
		const char *name = strrchr(files.files[i].path, '/') + 1;
		snprintf(names + size, sizeof(names) - size, "%s ", name);
	}
	cr_assert(files.count == 0 || files.is_aof == (strstr(names, "dump") == NULL));
	redis_files_free(&files);
	return names;
}

Test(redis_files, an_rdb_file_or_an_append_only_file)
{
	struct world w;
	open_world(&w, NULL, NULL);
	cr_assert_str_eq(find(&w), "");
	add_file(&w, "notes.txt", "x");
	cr_assert_str_eq(find(&w), "");
	add_file(&w, "appendonly.aof", "x");
	cr_assert_str_eq(find(&w), "appendonly.aof ");
	add_file(&w, "dump.rdb", "x");
	cr_assert_str_eq(find(&w), "dump.rdb ");
	close_world(&w);
}

Test(redis_files, names_are_those_of_the_configuration)
{
	struct world w;
	open_world(&w, "--dbfilename", "other_dump.rdb");
	add_file(&w, "dump.rdb", "x");
	cr_assert_str_eq(find(&w), "");
	add_file(&w, "other_dump.rdb", "x");
	cr_assert_str_eq(find(&w), "other_dump.rdb ");
	close_world(&w);
}

Test(redis_files, appendonly_says_which_of_both)
{
	struct world w;
	open_world(&w, "--appendonly", "yes");
	add_file(&w, "dump.rdb", "x");
	cr_assert_str_eq(find(&w), "dump.rdb ");
	add_file(&w, "appendonly.aof", "x");
	cr_assert_str_eq(find(&w), "appendonly.aof ");
	close_world(&w);
}

Test(redis_files, a_manifest_names_the_files)
{
	struct world w;
	open_world(&w, NULL, NULL);
	cr_assert_eq(vfs_make_directory(w.vfs, path_of(&w, "appendonlydir"), NULL), SETT_OK);
	cr_assert_str_eq(find(&w), "");
	add_file(&w, "appendonlydir/a.2.base.rdb", "x");
	add_file(&w, "appendonlydir/a 2.incr.aof", "x");
	add_file(&w, "appendonlydir/a.3.incr.aof", "x");
	cr_assert_str_eq(find(&w), "");
	add_file(&w, "appendonlydir/appendonly.aof.manifest",
		 "# a comment\n"
		 "file a.1.base.rdb seq 1 type h\n"
		 "file \"a 2.incr.aof\" seq 2 type i\n"
		 "file a.2.base.rdb seq 2 type b\r\n"
		 "seq 3 FILE a.3.incr.aof type i later words\n");
	cr_assert_str_eq(find(&w), "a.2.base.rdb a 2.incr.aof a.3.incr.aof ");
	close_world(&w);
}

Test(redis_files, a_base_whose_move_was_cut_off_is_read_where_it_lies)
{
	struct world w;
	open_world(&w, NULL, NULL);
	add_file(&w, "appendonly.aof", "x");
	cr_assert_eq(vfs_make_directory(w.vfs, path_of(&w, "appendonlydir"), NULL), SETT_OK);
	add_file(&w, "appendonlydir/appendonly.aof.manifest", "file appendonly.aof seq 1 type b\n");
	cr_assert_str_eq(find(&w), "appendonly.aof ");
	close_world(&w);
}

static void
expect_bad_manifest(const char *text, const char *said)
{
	struct world w;
	open_world(&w, NULL, NULL);
	cr_assert_eq(vfs_make_directory(w.vfs, path_of(&w, "appendonlydir"), NULL), SETT_OK);
	add_file(&w, "appendonlydir/appendonly.aof.manifest", text);
	cr_assert_str_eq(find(&w), "failed", "%s", text);
	cr_assert_not_null(strstr(w.error.message, said), "%s", w.error.message);
	close_world(&w);
}

Test(redis_files, a_manifest_that_makes_no_sense_is_refused)
{
	static const char format[] = "Invalid AOF manifest file format",
			  order[] = "non-monotonic sequence number";
	char line[1100];
	snprintf(line, sizeof(line), "file x seq 1 type i %-1040s\n", "k v");
	expect_bad_manifest("file gone.aof seq 1 type i\n", "gone.aof can't be opened: No such file");
	expect_bad_manifest("file ../x seq 1 type i\n", "can't be a path");
	expect_bad_manifest("file x seq 1\n", format);
	expect_bad_manifest("file x seq 1 type\n", format);
	expect_bad_manifest("file x seq 1 type h more\n", format);
	expect_bad_manifest("file x seq 0 type h\n", format);
	expect_bad_manifest("file x seq one type h\n", format);
	expect_bad_manifest("file \"\" seq 1 type h\n", format);
	expect_bad_manifest("file \"x seq 1 type i\n", format);
	expect_bad_manifest("\n", format);
	expect_bad_manifest("", "empty AOF manifest");
	expect_bad_manifest("file x seq 1 type z\n", "Unknown AOF file type");
	expect_bad_manifest("file x seq 1 type i\nfile y seq 1 type i\n", order);
	expect_bad_manifest("file x seq 2 type i\nfile y seq 1 type i\n", order);
	expect_bad_manifest("file x seq 1 type b\nfile y seq 2 type b\n", "duplicate base file");
	expect_bad_manifest("file x seq 1 type i", "too long line");
	expect_bad_manifest(line, "too long line");
}

Test(redis_files, a_fingerprint_changes_with_size_beginning_and_end)
{
	enum { SIZE = 300000 };
	struct world w;
	struct known_file print, other;
	char *content = malloc(SIZE + 1);
	open_world(&w, NULL, NULL);
	memset(content, 'x', SIZE);
	content[SIZE] = '\0';
	add_file(&w, "1", content);
	cr_assert_eq(redis_file_fingerprint(w.vfs, path_of(&w, "1"), &print, NULL), SETT_OK);
	cr_assert_eq(print.size, SIZE);
	static const size_t places[] = {0, 65535, SIZE - 65536, SIZE - 1};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char name[8];
		snprintf(name, sizeof(name), "c%zu", i);
		content[places[i]] = 'y';
		add_file(&w, name, content);
		content[places[i]] = 'x';
		cr_assert_eq(redis_file_fingerprint(w.vfs, path_of(&w, name), &other, NULL), SETT_OK);
		cr_assert_neq(print.crc, other.crc, "%zu", i);
	}
	free(content);
	close_world(&w);
}

Test(redis_files, a_database_beside_them_is_seen)
{
	struct world w;
	struct redis_files files;
	open_world(&w, NULL, NULL);
	add_file(&w, "MANIFEST", "x");
	cr_assert_eq(redis_files_find(w.config, w.vfs, &files, NULL), SETT_OK);
	cr_assert(files.has_database);
	redis_files_free(&files);
	close_world(&w);
}
