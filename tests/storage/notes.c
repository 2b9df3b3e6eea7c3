/* Notes of the engine: who finds which, when commits change them (I14). */
#include "storage/engine.h"
#include "support.h"

static struct vfs *vfs;
static struct sett_engine *engine;

static void
set_up(void)
{
	struct sett_error error = {0};
	struct sett_options options = {.seed = 7, .memory_budget = 2 << 20, .manual_work = true};
	options.vfs = vfs = vfs_memory_create();
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
}

static void
tear_down(void)
{
	struct sett_error error = {0};
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
}

TestSuite(notes, .init = set_up, .fini = tear_down);

static struct sett_txn *
begin(void)
{
	struct sett_txn *txn;
	MUST_FAIL(sett_txn_create(engine, &txn), SETT_OK);
	MUST_FAIL(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	return txn;
}

static void
put(struct sett_txn *txn)
{
	MUST_FAIL(sett_txn_put(txn, BYTES_LITERAL("k"), &(struct sett_put){.body = BYTES_LITERAL("v")}),
		  SETT_OK);
}

static void
commit(struct sett_txn *txn)
{
	MUST_FAIL(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_txn_destroy(txn);
}

static void
change(struct sett_txn *txn, const char *content)
{
	struct bytes text = content ? bytes_of_string(content) : (struct bytes){0};
	MUST_FAIL(sett_txn_change_note(txn, BYTES_LITERAL("note"), content ? &text : NULL), SETT_OK);
}

static void
keep(struct sett_txn *txn, const char *content)
{
	sett_txn_keep_note(txn, BYTES_LITERAL("note"), bytes_of_string(content));
}

/* NULL: none. */
static void
expect(struct sett_txn *txn, const char *content)
{
	struct bytes note;
	bool is_there = sett_txn_note(txn, BYTES_LITERAL("note"), &note);
	cr_assert_eq(is_there, content != NULL);
	if (content)
		cr_assert(bytes_equal(note, bytes_of_string(content)), "%.*s, not %s", (int)note.size,
			  (const char *)note.data, content);
}

static void
expect_for_new(const char *content)
{
	struct sett_txn *txn = begin();
	expect(txn, content);
	sett_txn_destroy(txn);
}

static void
keep_by_new(const char *content)
{
	struct sett_txn *txn = begin();
	keep(txn, content);
	sett_txn_destroy(txn);
}

Test(notes, a_change_is_the_transactions_own_until_it_commits)
{
	keep_by_new("one");
	struct sett_txn *txn = begin(), *older = begin();
	put(txn);
	change(txn, "two and more than there was");
	expect(txn, "two and more than there was");
	expect(older, "one");
	change(txn, "three");
	expect(txn, "three");
	cr_assert_eq(sett_txn_changed_notes(txn), 1);
	cr_assert(sett_txn_changes_note(txn, BYTES_LITERAL("note")));
	commit(txn);
	expect_for_new("three");
	expect(older, NULL);
	sett_txn_destroy(older);
}

Test(notes, what_is_not_committed_changes_nothing)
{
	keep_by_new("one");
	struct sett_txn *txn = begin();
	put(txn);
	change(txn, "two");
	sett_txn_discard(txn);
	sett_txn_destroy(txn);
	expect_for_new("one");
}

Test(notes, a_note_that_is_not_kept_is_not_made_by_a_change)
{
	struct sett_txn *txn = begin();
	put(txn);
	change(txn, "two");
	commit(txn);
	expect_for_new(NULL);
}

/* Whoever does not see the commit has worked out what is true no longer. */
Test(notes, a_reader_behind_a_change_keeps_none)
{
	struct sett_txn *older = begin(), *txn = begin();
	put(txn);
	change(txn, NULL);
	commit(txn);
	keep(older, "old");
	sett_txn_destroy(older);
	expect_for_new(NULL);
	keep_by_new("new");
	expect_for_new("new");
}

Test(notes, a_note_goes_with_a_commit)
{
	keep_by_new("one");
	struct sett_txn *txn = begin();
	put(txn);
	change(txn, NULL);
	expect(txn, NULL);
	commit(txn);
	expect_for_new(NULL);
}

/* What was changed before the savepoint goes, too: it may have been changed again since. */
Test(notes, of_what_is_rolled_back_nothing_is_kept)
{
	keep_by_new("one");
	struct sett_txn *txn = begin();
	put(txn);
	size_t savepoint = sett_txn_savepoint(txn);
	change(txn, "two");
	sett_txn_rollback_to(txn, savepoint);
	expect(txn, NULL);
	commit(txn);
	expect_for_new(NULL);
}
