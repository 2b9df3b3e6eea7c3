/* What the tests of collections share: both layouts, flat replies, and the entries on disk. */
#ifndef SETT_TESTS_SRC_COLLECTION_SUPPORT_H
#define SETT_TESTS_SRC_COLLECTION_SUPPORT_H

#include "server_support.h"

__attribute__((unused)) static void
set_packed_size(struct fixture *f, int64_t size)
{
	__atomic_store_n(&f->server.config->packed_max_size, size, __ATOMIC_RELAXED);
}

__attribute__((unused)) static bool
reply_is(const struct fixture *f, const char *expected)
{
	return f->reply.size == strlen(expected) && memcmp(f->reply.data, expected, f->reply.size) == 0;
}

/* Splits a flat array of bulks; returns how many there are. The slices are of the reply. */
__attribute__((unused)) static size_t
read_bulks(const struct fixture *f, struct bytes *ret, size_t most)
{
	const char *p = (const char *)f->reply.data, *end = p + f->reply.size;
	char *after;
	cr_assert_eq(*p, '*', "%.*s", (int)f->reply.size, p);
	size_t count = strtoull(p + 1, &after, 10);
	cr_assert_leq(count, most);
	p = after + 2;
	for (size_t i = 0; i < count; i++) {
		cr_assert(p < end && *p == '$');
		size_t size = strtoull(p + 1, &after, 10);
		ret[i] = bytes_of(after + 2, size);
		p = after + 2 + size + 2;
	}
	cr_assert_eq((const void *)p, (const void *)end);
	return count;
}

/* Entries of collections that a transaction sees. */
__attribute__((unused)) static size_t
look_at_elements(struct fixture *f, uint64_t *ret_smallest_body)
{
	struct sett_record record;
	struct sett_txn *txn;
	struct sett_iterator *iterator;
	size_t count = 0;
	struct sett_iterator_options options = {.lower = BYTES_LITERAL("\2"), .upper = BYTES_LITERAL("\3")};
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(sett_iterator_open(txn, &options, &iterator), SETT_OK);
	for (int status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		cr_assert_eq(sett_iterator_record(iterator, &record), SETT_OK);
		if (count++ == 0 || record.body_size < *ret_smallest_body)
			*ret_smallest_body = record.body_size;
	}
	sett_txn_destroy(txn);
	return count;
}

__attribute__((unused)) static size_t
count_elements(struct fixture *f)
{
	uint64_t smallest;
	return look_at_elements(f, &smallest);
}

/* ---- on disk ---- */

struct expected_entry {
	struct bytes key, head, body;
};

__attribute__((unused)) static void
check_entries(struct fixture *f, const char *lower, const struct expected_entry *expected, size_t count)
{
	struct sett_txn *txn;
	struct sett_iterator *iterator;
	struct sett_iterator_options options = {.lower = bytes_of(lower, 1)};
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS), SETT_OK);
	cr_assert_eq(sett_iterator_open(txn, &options, &iterator), SETT_OK);
	int status = sett_iterator_first(iterator);
	for (size_t i = 0; i < count; i++) {
		struct sett_record record;
		struct bytes body;
		cr_assert_eq(status, SETT_OK, "entry %zu", i);
		cr_assert(bytes_equal(sett_iterator_key(iterator), expected[i].key), "key %zu", i);
		cr_assert_eq(sett_iterator_record(iterator, &record), SETT_OK);
		cr_assert(bytes_equal(record.head, expected[i].head), "head %zu", i);
		cr_assert_eq(sett_txn_body(txn, &record, &body), SETT_OK);
		cr_assert(bytes_equal(body, expected[i].body), "body %zu", i);
		status = sett_iterator_next(iterator);
	}
	cr_assert_eq(status, SETT_NOT_FOUND);
	sett_txn_destroy(txn);
}

__attribute__((unused)) static void
overwrite(struct fixture *f, struct bytes key, struct bytes head, struct bytes body)
{
	struct sett_txn *txn;
	cr_assert_eq(sett_txn_create(f->server.engine, &txn), SETT_OK);
	cr_assert_eq(sett_txn_begin(txn, 0), SETT_OK);
	cr_assert_eq(sett_txn_put(txn, key, &(struct sett_put){.head = head, .body = body}), SETT_OK);
	cr_assert_eq(sett_txn_commit(txn, NULL, NULL), SETT_OK);
	sett_txn_destroy(txn);
}

#endif
