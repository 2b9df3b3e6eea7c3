/* A whole database is looked at before it is served: what is told, how it is stopped. */
#include "database_check.h"

#include <criterion/criterion.h>

#include "storage/engine.h"

enum { VALUES = 24, VALUE_SIZE = 1 << 20 };

struct world {
	struct vfs *vfs;
	struct buffer logged;
	unsigned reports, stop_after; /* 0: never */
	uint64_t done, total;         /* of the last report */
	struct sett_error error;
};

static void
keep_line(void *arg, enum log_level level, const char *line)
{
	cr_assert_eq(buffer_append(arg, line, strlen(line)), SETT_OK);
	cr_assert_eq(buffer_append(arg, "\n", 1), SETT_OK);
}

static bool
has_line(struct world *w, const char *text)
{
	cr_assert_eq(buffer_append(&w->logged, "", 1), SETT_OK);
	w->logged.size--;
	return strstr((const char *)w->logged.data, text) != NULL;
}

static void
on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct world *w = arg;
	cr_assert(done >= w->done && done <= total);
	w->done = done;
	w->total = total;
	w->reports++;
}

static bool
should_stop(void *arg)
{
	struct world *w = arg;
	return w->stop_after != 0 && w->reports >= w->stop_after;
}

static int
check(struct world *w, const char *directory)
{
	struct sett_check_options options = {
		.vfs = w->vfs, .on_progress = on_progress, .should_stop = should_stop, .arg = w};
	struct log_sink sink = {.write = keep_line, .arg = &w->logged};
	w->reports = 0;
	w->done = 0;
	buffer_clear(&w->logged);
	return database_check(directory, &options, &sink, &w->error);
}

/* Values of 1 MiB, most of them in tables. */
static void
make_world(struct world *w)
{
	static uint8_t body[VALUE_SIZE];
	struct sett_engine *engine;
	struct sett_txn *txn;
	*w = (struct world){.vfs = vfs_memory_create()};
	cr_assert_not_null(w->vfs);
	struct sett_options options = {.vfs = w->vfs, .memory_budget = 1 << 20, .manual_work = true};
	cr_assert_eq(sett_engine_open("db", &options, &engine, &w->error), SETT_OK, "%s", w->error.message);
	cr_assert_eq(sett_txn_create(engine, &txn), SETT_OK);
	for (uint8_t i = 0; i < VALUES; i++) {
		memset(body, i, sizeof(body));
		cr_assert_eq(sett_txn_begin(txn, 0), SETT_OK);
		cr_assert_eq(sett_txn_put(txn, bytes_of(&i, 1),
					  &(struct sett_put){.body = bytes_of(body, sizeof(body))}),
			     SETT_OK);
		cr_assert_eq(sett_txn_commit(txn, NULL, NULL), SETT_OK);
		if (i == VALUES - 2)
			cr_assert_eq(sett_engine_flush(engine, &w->error), SETT_OK);
	}
	sett_txn_destroy(txn);
	cr_assert_eq(sett_engine_close(engine, &w->error), SETT_OK);
}

static void
free_world(struct world *w)
{
	buffer_free(&w->logged);
	w->vfs->operations->destroy(w->vfs);
}

Test(database_check, a_whole_one_is_clean_and_progress_is_told)
{
	struct world w;
	make_world(&w);
	cr_assert_eq(check(&w, "db"), SETT_OK, "%s", w.error.message);
	cr_assert(has_line(&w, "Database check: clean: "));
	cr_assert_geq(w.reports, 5);
	cr_assert_eq(w.done, w.total);
	cr_assert_geq(w.total, VALUES * (uint64_t)VALUE_SIZE);
	cr_assert_eq(check(&w, "none"), SETT_OK);
	cr_assert(has_line(&w, "there is no database yet"));
	free_world(&w);
}

Test(database_check, damage_is_told_and_refused)
{
	struct world w;
	make_world(&w);
	cr_assert_eq(vfs_memory_damage(w.vfs, "db/000003.vlog", 1 << 19, 1), SETT_OK);
	cr_assert_eq(check(&w, "db"), SETT_CORRUPT);
	cr_assert(has_line(&w, "Database check: damage: db/000003.vlog at offset "));
	cr_assert(has_line(&w, "Database check: damaged: "));
	cr_assert_not_null(strstr(w.error.message, "(check-at-start): 1, the first: db/000003.vlog at"), "%s",
			   w.error.message);
	free_world(&w);
}

Test(database_check, it_can_be_stopped_anywhere)
{
	struct world w;
	make_world(&w);
	cr_assert_eq(check(&w, "db"), SETT_OK);
	unsigned all = w.reports - 1; /* the last comes at the end */
	for (w.stop_after = 1; w.stop_after <= all; w.stop_after++) {
		cr_assert_eq(check(&w, "db"), SETT_ABORTED, "after %u", w.stop_after);
		cr_assert_leq(w.reports, w.stop_after + 2);
		cr_assert_not_null(strstr(w.error.message, "the check was stopped"));
	}
	free_world(&w);
}
