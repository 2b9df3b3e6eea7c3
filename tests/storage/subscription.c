/* Who subscribes hears of every change under his prefixes, in commit order, or that he has missed some. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/random.h"
#include "storage/subscription.h"
#include "support.h"

static struct vfs *vfs;
static struct sett_engine *engine;
static struct sett_txn *txn;

static void
set_up(void)
{
	struct sett_error error = {0};
	vfs = vfs_memory_create();
	struct sett_options options = {.vfs = vfs,
				       .seed = 42,
				       .memory_budget = 2 << 20,
				       .value_threshold = 64,
				       .large_commit = 50,
				       .manual_work = true};
	MUST(sett_engine_open("db", &options, &engine, &error), &error);
	SUCCEED(sett_txn_create(engine, &txn));
}

static void
tear_down(void)
{
	struct sett_error error = {0};
	sett_txn_destroy(txn);
	MUST(sett_engine_close(engine, &error), &error);
	test_vfs_destroy(vfs);
}

static struct sett_subscription *
subscribe(const char *prefix, size_t limit)
{
	struct bytes bytes = bytes_of_string(prefix);
	struct sett_subscription_options options = {.prefixes = &bytes, .count = 1, .limit = limit};
	struct sett_subscription *s;
	SUCCEED(sett_subscribe(engine, &options, &s, NULL));
	return s;
}

static void
put(const char *key, struct bytes body)
{
	SUCCEED(sett_txn_put(txn, bytes_of_string(key),
			     &(struct sett_put){.head = BYTES_LITERAL("h"), .body = body}));
}

static void
commit(void)
{
	SUCCEED(sett_txn_commit(txn, NULL, NULL));
}

/* "+key=body@commit", "-key@commit" and "!prefix@commit". */
static const char *
next(struct sett_subscription *s)
{
	static char text[256];
	struct sett_change c;
	int r = sett_subscription_next(s, 0, &c);
	if (r != SETT_OK)
		return sett_status_text(r);
	int n = snprintf(text, sizeof(text), "%c%.*s",
			 c.kind == SETT_CHANGE_PUT              ? '+'
				 : c.kind == SETT_CHANGE_DELETE ? '-'
								: '!',
			 (int)c.key.size, (const char *)c.key.data);
	if (c.kind == SETT_CHANGE_PUT) {
		cr_assert(bytes_equal(c.head, BYTES_LITERAL("h")));
		cr_assert(c.has_body ? c.body.size == c.body_size : c.body.size == 0);
		n += snprintf(text + n, sizeof(text) - (size_t)n, "=%.*s", c.has_body ? (int)c.body.size : 1,
			      c.has_body ? (const char *)c.body.data : "?");
	}
	snprintf(text + n, sizeof(text) - (size_t)n, "@%llu", (unsigned long long)c.timestamp);
	return text;
}

#define NEXT(s, expected) cr_assert_str_eq(next(s), expected)

TestSuite(subscription, .init = set_up, .fini = tear_down);

Test(subscription, changes_come_in_order_and_under_the_prefix_alone)
{
	static char large[200];
	memset(large, 'v', sizeof(large));
	SUCCEED(sett_txn_begin(txn, 0));
	put("a:0", BYTES_LITERAL("early"));
	commit();
	struct sett_subscription *a = subscribe("a:", 0), *all = subscribe("", 0);
	NEXT(a, "not found");
	SUCCEED(sett_txn_begin(txn, 0));
	put("a:1", BYTES_LITERAL("one"));
	put("b:1", BYTES_LITERAL("two"));
	SUCCEED(sett_txn_delete(txn, BYTES_LITERAL("a:0")));
	commit();
	SUCCEED(sett_txn_begin(txn, 0));
	put("a:2", bytes_of(large, sizeof(large))); /* to the value log, and still at hand */
	commit();
	NEXT(a, "+a:1=one@2");
	NEXT(a, "-a:0@2");
	char expected[256];
	snprintf(expected, sizeof(expected), "+a:2=%.200s@3", large);
	NEXT(a, expected);
	NEXT(a, "not found");
	NEXT(all, "+a:1=one@2");
	NEXT(all, "+b:1=two@2");
	sett_subscription_close(all);
	SUCCEED(sett_txn_begin(txn, 0));
	put("a:3", BYTES_LITERAL("x"));
	put("a:3", BYTES_LITERAL("y"));
	commit();
	NEXT(a, "+a:3=y@4"); /* the transaction's last word */
	NEXT(a, "not found");
	sett_subscription_close(a);
}

Test(subscription, what_does_not_commit_is_not_told)
{
	struct sett_subscription *s = subscribe("", 0);
	struct sett_record record;
	struct sett_txn *other;
	SUCCEED(sett_txn_create(engine, &other));
	SUCCEED(sett_txn_begin(other, 0));
	MUST_FAIL(sett_txn_get(other, BYTES_LITERAL("a"), &record), SETT_NOT_FOUND);
	SUCCEED(sett_txn_put(other, BYTES_LITERAL("b"), &(struct sett_put){.head = BYTES_LITERAL("h")}));
	SUCCEED(sett_txn_begin(txn, 0));
	put("a", BYTES_LITERAL("1"));
	size_t savepoint = sett_txn_savepoint(txn);
	put("c", BYTES_LITERAL("1"));
	sett_txn_rollback_to(txn, savepoint);
	commit();
	MUST_FAIL(sett_txn_commit(other, NULL, NULL), SETT_CONFLICT);
	SUCCEED(sett_txn_begin(txn, 0));
	put("d", BYTES_LITERAL("1"));
	sett_txn_discard(txn);
	NEXT(s, "+a=1@1");
	NEXT(s, "not found");
	sett_txn_destroy(other);
	sett_subscription_close(s);
}

Test(subscription, drops_and_bodies_that_are_not_at_hand)
{
	static char large[300];
	struct bytes none = {0};
	struct sett_subscription *s = subscribe("abc", 0), *heads;
	struct sett_subscription_options options = {.prefixes = &none, .count = 1, .without_bodies = true};
	SUCCEED(sett_subscribe(engine, &options, &heads, NULL));
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_drop_prefix(txn, BYTES_LITERAL("ab")));
	SUCCEED(sett_txn_drop_prefix(txn, BYTES_LITERAL("abcd")));
	SUCCEED(sett_txn_drop_prefix(txn, BYTES_LITERAL("b")));
	commit();
	NEXT(s, "!ab@1");
	NEXT(s, "!abcd@1");
	NEXT(s, "not found");
	SUCCEED(sett_txn_begin(txn, 0));
	put("x", bytes_of(large, sizeof(large)));
	commit();
	struct sett_record record;
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_get(txn, BYTES_LITERAL("x"), &record));
	SUCCEED(sett_txn_put(txn, BYTES_LITERAL("abc"),
			     &(struct sett_put){.head = BYTES_LITERAL("h"), .body_of = &record}));
	commit();
	NEXT(s, "+abc=?@3");
	NEXT(heads, "!ab@1");
	NEXT(heads, "!abcd@1");
	NEXT(heads, "!b@1");
	NEXT(heads, "+x=?@2");
	sett_subscription_close(s);
	sett_subscription_close(heads);
}

Test(subscription, who_falls_behind_is_told)
{
	struct sett_subscription *s = subscribe("", 1000);
	for (int i = 0; i < 100; i++) {
		SUCCEED(sett_txn_begin(txn, 0));
		put((const char[]){'k', (char)('0' + i % 10), 0}, BYTES_LITERAL("v"));
		commit();
	}
	int count = 0;
	struct sett_change change;
	int r;
	while ((r = sett_subscription_next(s, 0, &change)) == SETT_OK)
		cr_assert_eq(change.timestamp, (uint64_t)++count);
	cr_assert_eq(r, SETT_TOO_LARGE);
	cr_assert(count > 5 && count < 100);
	SUCCEED(sett_txn_begin(txn, 0));
	put("later", BYTES_LITERAL("v"));
	commit();
	MUST_FAIL(sett_subscription_next(s, 0, &change), SETT_TOO_LARGE); /* and nothing after a gap */
	sett_subscription_close(s);
}

Test(subscription, a_body_beyond_its_share_is_left_out)
{
	static char large[300];
	struct sett_subscription *s = subscribe("", 1000);
	SUCCEED(sett_txn_begin(txn, 0));
	put("k", bytes_of(large, sizeof(large)));
	commit();
	NEXT(s, "+k=?@1");
	sett_subscription_close(s);
}

Test(subscription, large_commits_are_told_too)
{
	struct sett_subscription *s = subscribe("", 0);
	SUCCEED(sett_txn_begin(txn, 0));
	for (int i = 0; i < 200; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%03d", i);
		put(key, BYTES_LITERAL("v"));
	}
	commit();
	for (int i = 0; i < 200; i++) {
		char expected[32];
		snprintf(expected, sizeof(expected), "+k%03d=v@1", i);
		NEXT(s, expected);
	}
	NEXT(s, "not found");
	sett_subscription_close(s);
}

static void *
wait_for_one(void *arg)
{
	struct sett_change change;
	return (void *)(intptr_t)sett_subscription_next(arg, UINT64_C(60000000000), &change);
}

Test(subscription, who_waits_is_woken)
{
	struct sett_subscription *s = subscribe("", 0);
	pthread_t thread;
	void *status;
	cr_assert_eq(pthread_create(&thread, NULL, wait_for_one, s), 0);
	SUCCEED(sett_txn_begin(txn, 0));
	put("k", BYTES_LITERAL("v"));
	commit();
	pthread_join(thread, &status);
	cr_assert_eq((intptr_t)status, SETT_OK);
	cr_assert_eq(pthread_create(&thread, NULL, wait_for_one, s), 0);
	sett_subscription_cancel(s);
	pthread_join(thread, &status);
	cr_assert_eq((intptr_t)status, SETT_ABORTED);
	sett_subscription_close(s);
}

/* ---- a copy that is kept up to date by what is told ---- */

enum { WRITERS = 3, KEYS = 50, COMMITS = 400 };

struct copied {
	uint64_t value, timestamp; /* 0: absent */
};

static void *
write_at_random(void *arg)
{
	struct random random;
	struct sett_txn *own;
	random_seed(&random, (uint64_t)(uintptr_t)arg);
	if (sett_txn_create(engine, &own) != SETT_OK)
		return arg;
	for (int i = 0; i < COMMITS; i++) {
		int r = sett_txn_begin(own, 0);
		for (uint64_t writes = 1 + random_below(&random, 4); r == SETT_OK && writes > 0; writes--) {
			uint8_t key = (uint8_t)random_below(&random, KEYS);
			uint64_t value = random_next(&random) | 1;
			r = random_below(&random, 3) == 0
				? sett_txn_delete(own, bytes_of(&key, 1))
				: sett_txn_put(own, bytes_of(&key, 1),
					       &(struct sett_put){.body = bytes_of(&value, sizeof(value))});
		}
		if (r != SETT_OK || sett_txn_commit(own, NULL, NULL) != SETT_OK)
			return arg;
	}
	sett_txn_destroy(own);
	return NULL;
}

static void
read_copy(struct copied *copy)
{
	for (unsigned k = 0; k < KEYS; k++) {
		uint8_t key = (uint8_t)k;
		struct sett_record record;
		struct bytes body;
		copy[k] = (struct copied){0};
		int r = sett_txn_get(txn, bytes_of(&key, 1), &record);
		if (r == SETT_NOT_FOUND)
			continue;
		cr_assert_eq(r, SETT_OK);
		SUCCEED(sett_txn_body(txn, &record, &body));
		memcpy(&copy[k].value, body.data, sizeof(copy[k].value));
		copy[k].timestamp = record.timestamp;
	}
}

Test(subscription, an_id_that_is_given_up_is_dropped)
{
	struct sett_subscription *s = subscribe("", 0);
	struct bytes stem = BYTES_LITERAL("s");
	char key[SETT_MAX_PREFIX_SIZE + 1];
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_pend_id(txn, stem, 7));
	commit();
	size_t n = sett_id_prefix(stem, 7, (uint8_t *)key);
	key[n] = 'k';
	SUCCEED(sett_txn_begin(txn, 0));
	SUCCEED(sett_txn_check_pending(txn, stem, 7));
	SUCCEED(sett_txn_put(txn, bytes_of(key, n + 1), &(struct sett_put){.body = BYTES_LITERAL("v")}));
	commit();
	struct sett_change change;
	SUCCEED(sett_subscription_next(s, 0, &change));
	cr_assert_eq(change.kind, SETT_CHANGE_PUT);
	SUCCEED(sett_engine_abandon_id(engine, stem, 7));
	SUCCEED(sett_subscription_next(s, 0, &change));
	cr_assert_eq(change.kind, SETT_CHANGE_DROP);
	cr_assert(bytes_equal(change.key, bytes_of(key, n)));
	cr_assert_eq(change.timestamp, sett_engine_visible(engine));
	MUST_FAIL(sett_subscription_next(s, 0, &change), SETT_NOT_FOUND);
	sett_subscription_close(s);
}

Test(subscription, a_copy_follows_writers)
{
	struct copied copy[KEYS], final[KEYS];
	pthread_t threads[WRITERS];
	struct sett_subscription *s;
	uint64_t since, newest = 0;
	for (uintptr_t i = 0; i < WRITERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, write_at_random, (void *)(i + 1)), 0);
	SUCCEED(sett_subscribe(engine, &(struct sett_subscription_options){0}, &s, &since));
	SUCCEED(sett_txn_begin(txn, 0));
	uint64_t snapshot = sett_txn_snapshot(txn);
	cr_assert_geq(snapshot, since);
	read_copy(copy);
	sett_txn_discard(txn);
	while (newest < WRITERS * COMMITS) {
		struct sett_change c;
		int r = sett_subscription_next(s, UINT64_C(1000000000), &c);
		if (r == SETT_NOT_FOUND && sett_engine_visible(engine) == WRITERS * COMMITS)
			break; /* it was in the snapshot */
		cr_assert_eq(r, SETT_OK);
		cr_assert(c.timestamp >= newest && c.timestamp <= sett_engine_visible(engine));
		newest = c.timestamp;
		if (c.timestamp <= snapshot)
			continue;
		struct copied *k = &copy[c.key.data[0]];
		*k = (struct copied){0};
		if (c.kind == SETT_CHANGE_PUT) {
			memcpy(&k->value, c.body.data, sizeof(k->value));
			k->timestamp = c.timestamp;
		}
	}
	struct sett_change rest;
	while (sett_subscription_next(s, 0, &rest) == SETT_OK) { /* of the last commit */
		struct copied *k = &copy[rest.key.data[0]];
		*k = (struct copied){0};
		if (rest.kind == SETT_CHANGE_PUT) {
			memcpy(&k->value, rest.body.data, sizeof(k->value));
			k->timestamp = rest.timestamp;
		}
	}
	for (int i = 0; i < WRITERS; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		cr_assert_null(failed);
	}
	SUCCEED(sett_txn_begin(txn, 0));
	read_copy(final);
	cr_assert_eq(memcmp(copy, final, sizeof(copy)), 0);
	sett_subscription_close(s);
}
