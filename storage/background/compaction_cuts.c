/* Cuts at even distances, by the weight of the tables that the compaction reads most of; see
 * compaction_cuts.h. Cuts are user keys, so all versions of a key are in one part. */
#include "compaction_cuts.h"

#include "version.h"

/* Each part writes value-log files of its own: they should not be much smaller than one of the commits. */
enum { FILES_PER_PART_BYTES = 4 };

static uint64_t
weight_of(const struct table_file *f)
{
	return f->size + f->properties->referenced_bytes;
}

static uint64_t
sum_of(struct table_file *const *tables, size_t count)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += weight_of(tables[i]);
	return sum;
}

static uint64_t
marked_bytes(const struct task *t)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < t->input_count; i++)
		sum += gc_marks_bytes_of(t->marks, t->inputs[i]);
	for (size_t i = 0; i < t->overlap_count; i++)
		sum += gc_marks_bytes_of(t->marks, t->overlaps[i]);
	return sum;
}

/* The tables whose keys say where the cuts are: disjoint, in key order, the heavier of what is merged. */
static void
choose_guides(const struct task *t, struct table_file *const **ret, size_t *ret_count)
{
	*ret = t->inputs;
	*ret_count = t->input_count;
	if (t->input_level == 0) { /* these overlap: the heaviest stands for all */
		for (size_t i = 0; i < t->input_count; i++) {
			if (weight_of(t->inputs[i]) > weight_of(**ret))
				*ret = &t->inputs[i];
		}
		*ret_count = t->input_count > 0;
	}
	if (sum_of(t->overlaps, t->overlap_count) > sum_of(*ret, *ret_count)) {
		*ret = t->overlaps;
		*ret_count = t->overlap_count;
	}
}

/* The key at `at` bytes into the guides' weight. */
static bool
find_key(struct table_file *const *guides, size_t count, uint64_t at, struct buffer *ret)
{
	size_t i = 0;
	while (i + 1 < count && at >= weight_of(guides[i]))
		at -= weight_of(guides[i++]);
	uint64_t blocks = table_block_count(guides[i]->table);
	double share = (double)at / (double)weight_of(guides[i]);
	uint64_t block = (uint64_t)(share * (double)blocks);
	return table_sample(guides[i]->table, block < blocks ? block : blocks - 1, 0, ret, NULL) == SETT_OK;
}

void
compaction_cuts_make(const struct task *t, uint64_t part_bytes, struct compaction_cuts *ret)
{
	struct table_file *const *guides;
	size_t count;
	*ret = (struct compaction_cuts){.count = 0};
	choose_guides(t, &guides, &count);
	uint64_t guided = sum_of(guides, count);
	uint64_t total = sum_of(t->inputs, t->input_count) + sum_of(t->overlaps, t->overlap_count);
	uint64_t parts = part_bytes > 0 ? total / part_bytes : 1;
	uint64_t moving = marked_bytes(t),
		 files = part_bytes > 0 ? FILES_PER_PART_BYTES * moving / part_bytes : 1;
	if (moving > 0 && parts > files)
		parts = files;
	if (parts > COMPACTION_PARTS_MAX)
		parts = COMPACTION_PARTS_MAX;
	for (uint64_t i = 1; i < parts; i++) {
		struct buffer *key = &ret->keys[ret->count];
		buffer_clear(key);
		if (!find_key(guides, count, guided / parts * i, key) || key->size == 0)
			continue;
		bool ascends =
			ret->count == 0 || bytes_compare(buffer_bytes(&key[-1]), buffer_bytes(key)) < 0;
		ret->count += ascends;
	}
}

void
compaction_cuts_free(struct compaction_cuts *c)
{
	for (size_t i = 0; i < COMPACTION_PARTS_MAX - 1; i++)
		buffer_free(&c->keys[i]);
	c->count = 0;
}

bool
compaction_cuts_range(const struct compaction_cuts *c, size_t i, struct bytes *ret_low,
		      struct bytes *ret_high)
{
	*ret_low = i == 0 ? (struct bytes){0} : buffer_bytes(&c->keys[i - 1]);
	*ret_high = i == c->count ? (struct bytes){0} : buffer_bytes(&c->keys[i]);
	return i < c->count;
}
