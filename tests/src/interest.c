/* The interest table alone. */
#include "txn/interest.h"

#include <criterion/criterion.h>

static void
watch(struct interest_table *t, struct watcher *w, unsigned db, const char *key, bool exists)
{
	struct watched_key *k = interest_prepare(db, bytes_of_string(key));
	cr_assert_not_null(k);
	k->exists = exists;
	interest_enter(t, w, k);
}

static bool
marks(struct interest_table *t, struct watcher *w, struct touched_key touched)
{
	interest_mark(t, &touched, 1);
	return interest_is_marked(w);
}

Test(interest, marks_who_watches)
{
	struct interest_table *t;
	struct watcher a = {0}, b = {0};
	cr_assert_eq(interest_create(&t), SETT_OK);
	watch(t, &a, 0, "k", true);
	watch(t, &b, 1, "k", true);
	watch(t, &b, 0, "other", false);
	cr_assert(interest_is_watched(&a, 0, BYTES_LITERAL("k")));
	cr_assert_not(interest_is_watched(&a, 1, BYTES_LITERAL("k")));
	cr_assert_not(marks(t, &a, (struct touched_key){.db = 0, .key = BYTES_LITERAL("kk")}));
	cr_assert(marks(t, &a, (struct touched_key){.db = 0, .key = BYTES_LITERAL("k")}));
	cr_assert_not(interest_is_marked(&b));
	interest_leave(t, &a);
	cr_assert_not(interest_is_marked(&a));
	cr_assert_not(marks(t, &a, (struct touched_key){.db = 0, .key = BYTES_LITERAL("k")}));
	interest_leave(t, &b);
	interest_destroy(t);
}

Test(interest, a_flush_marks_keys_that_were_there)
{
	struct interest_table *t;
	struct watcher a = {0}, b = {0};
	cr_assert_eq(interest_create(&t), SETT_OK);
	watch(t, &a, 2, "absent", false);
	watch(t, &b, 2, "there", true);
	cr_assert_not(marks(t, &a, (struct touched_key){.db = 2, .whole_database = true}));
	cr_assert(interest_is_marked(&b));
	interest_leave(t, &a);
	interest_leave(t, &b);
	interest_destroy(t);
}

Test(interest, removal_of_an_expired_key)
{
	struct interest_table *t;
	struct watcher a = {0};
	cr_assert_eq(interest_create(&t), SETT_OK);
	struct watched_key *k = interest_prepare(0, BYTES_LITERAL("k"));
	k->expired = true;
	k->expires_at = 5;
	interest_enter(t, &a, k);
	cr_assert_not(interest_has_expired(&a, 10), "it had expired before");
	cr_assert_not(
		marks(t, &a, (struct touched_key){.db = 0, .key = BYTES_LITERAL("k"), .expired = true}));
	cr_assert(marks(t, &a, (struct touched_key){.db = 0, .key = BYTES_LITERAL("k")}));
	interest_leave(t, &a);
	k = interest_prepare(0, BYTES_LITERAL("k"));
	k->exists = true;
	k->expires_at = 5;
	interest_enter(t, &a, k);
	cr_assert_not(interest_has_expired(&a, 5));
	cr_assert(interest_has_expired(&a, 6));
	interest_leave(t, &a);
	interest_destroy(t);
}
