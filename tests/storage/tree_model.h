/* A model of the tree that remembers every version of every key. */
#ifndef SETT_TESTS_TREE_MODEL_H
#define SETT_TESTS_TREE_MODEL_H

#include "tree_support.h"

enum { KEYS = 120, VERSIONS = 4096 };

/* What was committed: per key, its versions in order. Size 0 = deleted. */
struct model {
	struct {
		uint64_t timestamp;
		uint32_t size, seed;
	} versions[KEYS][VERSIONS];
	size_t counts[KEYS];
};

static inline struct bytes
key_of(unsigned i, char text[16])
{
	/* Keys that are prefixes of each other are among them. */
	int n = snprintf(text, 16, i % 3 ? "k%02u" : "k%02u-long", i / 3);
	return bytes_of(text, (size_t)n + (i % 3 == 2));
}

static inline void
fill_body(uint8_t *body, uint32_t size, uint32_t seed)
{
	struct random r;
	random_seed(&r, seed);
	for (uint32_t i = 0; i < size; i++)
		body[i] = (uint8_t)random_next(&r);
}

static inline void
write_one(struct tree *t, struct model *m, struct random *random)
{
	static uint8_t body[1200];
	char text[16] = {0};
	unsigned k = (unsigned)random_below(random, KEYS);
	size_t at = m->counts[k]++;
	cr_assert_lt(at, VERSIONS);
	if (random_below(random, 4) == 0) {
		m->versions[k][at].timestamp = tree_delete(t, key_of(k, text));
		m->versions[k][at].size = 0;
		return;
	}
	uint32_t size = 1 + (uint32_t)random_below(random, random_below(random, 2) ? 60 : 1100);
	uint32_t seed = (uint32_t)random_next(random);
	fill_body(body, size, seed);
	m->versions[k][at].timestamp = tree_put(t, key_of(k, text), bytes_of(body, size));
	m->versions[k][at].size = size;
	m->versions[k][at].seed = seed;
}

static inline void
check_key(struct tree *t, const struct model *m, unsigned k, uint64_t snapshot)
{
	static struct buffer got;
	uint8_t body[1200];
	char text[16] = {0};
	struct sett_error error = {0};
	size_t at = m->counts[k];
	while (at > 0 && m->versions[k][at - 1].timestamp > snapshot)
		at--;
	int r = tree_get(t, key_of(k, text), snapshot, &got, &error);
	if (at == 0 || m->versions[k][at - 1].size == 0) {
		cr_assert_eq(r, SETT_NOT_FOUND, "key %u at %llu: %d %s", k, (unsigned long long)snapshot, r,
			     error.message);
		return;
	}
	cr_assert_eq(r, SETT_OK, "key %u at %llu: %d %s", k, (unsigned long long)snapshot, r, error.message);
	fill_body(body, m->versions[k][at - 1].size, m->versions[k][at - 1].seed);
	cr_assert(bytes_equal(buffer_bytes(&got), bytes_of(body, m->versions[k][at - 1].size)));
}

static inline void
check_all(struct tree *t, const struct model *m)
{
	for (unsigned k = 0; k < KEYS; k++) {
		check_key(t, m, k, t->visible);
		for (size_t s = 0; s < t->snapshot_count; s++)
			check_key(t, m, k, t->snapshots[s]);
	}
	tree_check_levels(t);
}

#endif
