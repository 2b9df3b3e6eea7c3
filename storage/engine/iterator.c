/* Iterators over live entries at a snapshot: a merge of the transaction's writes, the generations and the
 * tree, from which each key's newest visible version is picked.
 *
 *     merge, in internal-key order:   a@own  a@9  a@5  b@7(tombstone)  b@2  c@12(after the snapshot)  c@3
 *     iterator at snapshot 9:         a@own                                                            c@3
 *
 * Forward: the first visible version of a key decides, the rest is skipped. Backward: step before the key's
 * newest possible version, which gives some version of the key before it, then look that key up forward. Two
 * seeks a step, and no state beyond the current key.
 *
 * Of all versions each visible one is an entry, tombstones among them; what is not after `since` is passed over, and the
 * tables that have nothing newer are not opened: the newest version of a key decides, so an older one that is not met
 * there can't be missed.
 *
 * The range walked over joins the read set of transactions without manual conflicts (as one convex range). */
#include <assert.h>
#include <stdlib.h>

#include "engine_private.h"
#include "iterator_prefetch.h"

struct sett_iterator {
	struct sett_txn *txn;
	struct sett_iterator *next, **link; /* in txn->iterators; `link` is what points here */
	struct internal_iterator *merge;
	struct buffer lower, upper; /* empty = none */
	uint64_t since;
	bool all_versions;
	bool is_deletion; /* the current entry */
	uint64_t timestamp;
	struct buffer key; /* of the current entry, or the one to skip from */
	struct sett_record record;
	struct iterator_prefetch *prefetch; /* NULL as long as values are found in memory */
	unsigned misses;                    /* txn->ahead.misses that were seen to */
	size_t range;                       /* index into txn->ranges */
	bool tracks_range;
	bool is_committed;
	bool valid;
};

/* Everything that the transaction sees within the iterator's bounds, its own writes if `own`. Words of failed reads go to
 * `detail`. */
static int
collect_children(const struct sett_iterator *it, bool own, struct sett_error *detail,
		 struct internal_iterator ***ret, size_t *ret_count)
{
	struct sett_txn *txn = it->txn;
	assert(txn->running && txn->superversion != NULL);
	struct superversion *sv = txn->superversion;
	size_t bound = 1 + sv->generation_count + version_iterator_bound(sv->version), count = 0;
	struct internal_iterator **children = calloc(bound, sizeof(struct internal_iterator *));
	if (!children)
		return SETT_NO_MEMORY;
	int r = SETT_OK;
	if (own) {
		r = write_buffer_iterator_create(&txn->writes, buffer_bytes(&it->lower),
						 buffer_bytes(&it->upper), &children[0]);
		count = r == SETT_OK;
	}
	for (size_t i = 0; r == SETT_OK && i < sv->generation_count; i++) {
		r = memtable_iterator_create(sv->generations[i]->memtable, &children[count]);
		count += r == SETT_OK;
	}
	if (r == SETT_OK) {
		size_t more = 0;
		struct version_range range = {buffer_bytes(&it->lower), buffer_bytes(&it->upper), it->since};
		r = version_iterators(sv->version, &range, txn->flags & SETT_TXN_NOWAIT ? TABLE_NOWAIT : 0,
				      children + count, &more);
		for (size_t i = 0; r == SETT_OK && i < more; i++)
			children[count + i]->detail = detail;
		if (r == SETT_OK)
			count += more;
	}
	if (r != SETT_OK) {
		for (size_t i = 0; i < count; i++)
			iiter_destroy(children[i]);
		free(children);
		return r;
	}
	assert(count <= bound);
	*ret = children;
	*ret_count = count;
	return SETT_OK;
}

static int
make_merge(const struct sett_iterator *it, bool own, struct sett_error *detail,
	   struct internal_iterator **ret)
{
	struct internal_iterator **children;
	size_t count;
	int r = collect_children(it, own, detail, &children, &count);
	if (r == SETT_OK) {
		r = merging_iterator_create(children, count, ret);
		free(children);
	}
	return r;
}

static int
set_key(struct buffer *buffer, struct bytes key)
{
	buffer_clear(buffer);
	return key.size ? buffer_append(buffer, key.data, key.size) : SETT_OK;
}

/* Makes the buffer the first key after all those that begin with what it holds; empty if there is none. */
static void
pass_prefix(struct buffer *b)
{
	while (b->size > 0 && b->data[b->size - 1] == 0xff)
		b->size--;
	if (b->size > 0)
		b->data[b->size - 1]++;
}

static int
set_bounds(struct sett_iterator *it, const struct sett_iterator_options *options)
{
	struct bytes prefix = options->prefix, upper = options->upper;
	bool is_narrower = bytes_compare(options->lower, prefix) > 0;
	int r = set_key(&it->lower, is_narrower ? options->lower : prefix);
	if (r == SETT_OK)
		r = set_key(&it->upper, prefix);
	if (r != SETT_OK)
		return r;
	pass_prefix(&it->upper);
	if (upper.size > 0 && (it->upper.size == 0 || bytes_compare(upper, buffer_bytes(&it->upper)) < 0))
		r = set_key(&it->upper, upper);
	return r;
}

int
sett_iterator_open(struct sett_txn *txn, const struct sett_iterator_options *options,
		   struct sett_iterator **ret)
{
	struct sett_iterator *it = calloc(1, sizeof(*it));
	if (!it)
		return SETT_NO_MEMORY;
	it->txn = txn;
	int r = SETT_OK;
	if (options) {
		it->is_committed = options->is_committed;
		it->since = options->since;
		it->all_versions = options->all_versions;
		r = set_bounds(it, options);
	}
	if (r == SETT_OK && !(txn->flags & SETT_TXN_MANUAL_CONFLICTS)) {
		r = txn_add_range(txn, &it->range);
		it->tracks_range = r == SETT_OK;
	}
	if (r == SETT_OK)
		r = make_merge(it, !it->is_committed, &txn->error, &it->merge);
	if (r != SETT_OK) {
		buffer_free(&it->lower);
		buffer_free(&it->upper);
		free(it);
		return r;
	}
	it->next = txn->iterators;
	it->link = &txn->iterators;
	if (it->next)
		it->next->link = &it->next;
	txn->iterators = it;
	txn->ahead.counts_misses = !(txn->flags & SETT_TXN_NOWAIT);
	it->misses = txn->ahead.misses;
	*ret = it;
	return SETT_OK;
}

void
sett_iterator_close(struct sett_iterator *it)
{
	if (!it)
		return;
	assert(*it->link == it && it->txn->running);
	*it->link = it->next;
	if (it->next)
		it->next->link = it->link;
	iiter_destroy(it->merge);
	iterator_prefetch_destroy(it->prefetch);
	buffer_free(&it->lower);
	buffer_free(&it->upper);
	buffer_free(&it->key);
	free(it);
}

/* ---- the read range ---- */

static int
cover(struct sett_iterator *it, struct bytes key)
{
	if (!it->tracks_range)
		return SETT_OK;
	struct read_range *range = &it->txn->ranges[it->range];
	int r = SETT_OK;
	if (!range->used || bytes_compare(key, buffer_bytes(&range->low)) < 0)
		r = set_key(&range->low, key);
	if (r == SETT_OK && (!range->used || bytes_compare(key, buffer_bytes(&range->high)) > 0))
		r = set_key(&range->high, key);
	range->used = true;
	return r;
}

/* The walk met an end of the iterator's bounds. */
static int
cover_end(struct sett_iterator *it, bool at_upper)
{
	struct bytes bound = buffer_bytes(at_upper ? &it->upper : &it->lower);
	assert(!it->tracks_range || it->range < it->txn->range_count);
	if (!it->tracks_range)
		return SETT_OK;
	if (bound.size)
		return cover(it, bound);
	struct read_range *range = &it->txn->ranges[it->range];
	int r = range->used ? SETT_OK : cover(it, bound);
	if (at_upper)
		range->to_end = true;
	else
		range->from_start = true;
	return r;
}

/* ---- picking versions ---- */

static bool
is_visible(const struct sett_iterator *it, uint64_t timestamp)
{
	return timestamp <= it->txn->snapshot || timestamp == WRITE_OWN_TIMESTAMP;
}

static int
end_at(struct sett_iterator *it, int status, bool at_upper)
{
	it->valid = false;
	if (status != SETT_NOT_FOUND) {
		txn_note_read(it->txn, status);
		return status;
	}
	int r = cover_end(it, at_upper);
	return r != SETT_OK ? r : SETT_NOT_FOUND;
}

/* The merge stands on the newest visible version of its key: takes it. SETT_NOT_FOUND for a tombstone. */
static int
take(struct sett_iterator *it)
{
	assert(it->merge->valid && is_visible(it, it->merge->key.timestamp));
	int r = set_key(&it->key, it->merge->key.user);
	if (r == SETT_OK)
		r = cover(it, it->merge->key.user);
	if (r != SETT_OK)
		return r;
	txn_observe(it->txn, it->merge->key.timestamp);
	it->timestamp = it->merge->key.timestamp;
	r = record_from_value(it->merge->value, it->timestamp, &it->record);
	it->is_deletion = r == SETT_NOT_FOUND;
	if (it->is_deletion && it->all_versions)
		r = SETT_OK;
	it->valid = r == SETT_OK;
	return r;
}

/* Past the current entry. The same version may be there twice, in a memtable and in the table that it was flushed to. */
static int
skip_entry(struct sett_iterator *it)
{
	uint64_t older = it->all_versions ? it->timestamp - 1 : 0;
	return iiter_skip_to(it->merge, (struct ikey){buffer_bytes(&it->key), older});
}

/* Past all other versions of it->key: none has the timestamp 0. A key that is written again and again has thousands of them in a memtable. */
static int
skip_versions(struct sett_iterator *it)
{
	return iiter_skip_to(it->merge, (struct ikey){buffer_bytes(&it->key), 0});
}

/* The merge stands on a version that is newer than the snapshot: to the newest visible one of its key, or beyond. */
static int
skip_invisible(struct sett_iterator *it)
{
	int r = set_key(&it->key, it->merge->key.user);
	return r == SETT_OK
		? iiter_skip_to(it->merge, (struct ikey){buffer_bytes(&it->key), it->txn->snapshot})
		: r;
}

/* Past the key that the merge stands on: what is left of it is not after `since`. */
static int
pass_key(struct sett_iterator *it)
{
	int r = set_key(&it->key, it->merge->key.user);
	if (r == SETT_OK)
		r = cover(it, it->merge->key.user);
	return r == SETT_OK ? skip_versions(it) : r;
}

/* From where the merge stands (`status` is the result of its last move) to the next live entry. */
static int
settle_forward(struct sett_iterator *it, int status)
{
	while (status == SETT_OK) {
		struct ikey key = it->merge->key;
		if (it->upper.size && bytes_compare(key.user, buffer_bytes(&it->upper)) >= 0)
			return end_at(it, SETT_NOT_FOUND, true);
		if (!is_visible(it, key.timestamp)) {
			status = skip_invisible(it);
			continue;
		}
		if (key.timestamp <= it->since) {
			status = pass_key(it);
			continue;
		}
		int r = take(it);
		if (r != SETT_NOT_FOUND) {
			if (r != SETT_OK)
				it->valid = false;
			return r;
		}
		status = skip_versions(it); /* a tombstone: its older versions don't count */
	}
	return end_at(it, status, true);
}

/* To the last live entry before `target`, `target` itself excluded; NULL = from the end. */
static int
settle_backward(struct sett_iterator *it, const struct bytes *target)
{
	int status = target ? iiter_seek_before(it->merge, (struct ikey){*target, UINT64_MAX})
			    : iiter_last(it->merge);
	while (status == SETT_OK) {
		if (it->lower.size && bytes_compare(it->merge->key.user, buffer_bytes(&it->lower)) < 0)
			return end_at(it, SETT_NOT_FOUND, false);
		/* Some version of the key before: find its newest visible one. */
		int r = set_key(&it->key, it->merge->key.user);
		if (r != SETT_OK)
			return end_at(it, r, false);
		struct bytes key = buffer_bytes(&it->key);
		status = iiter_seek(it->merge, (struct ikey){key, UINT64_MAX});
		if (status == SETT_OK && !is_visible(it, it->merge->key.timestamp) &&
		    bytes_equal(it->merge->key.user, key))
			status = iiter_skip_to(it->merge, (struct ikey){key, it->txn->snapshot});
		if (status == SETT_OK && bytes_equal(it->merge->key.user, key) &&
		    it->merge->key.timestamp > it->since) {
			r = take(it);
			if (r != SETT_NOT_FOUND) {
				if (r != SETT_OK)
					it->valid = false;
				return r;
			}
		} else if (status != SETT_OK && status != SETT_NOT_FOUND) {
			break;
		}
		status = iiter_seek_before(it->merge, (struct ikey){key, UINT64_MAX});
	}
	return end_at(it, status, false);
}

/* The walk does not go on from where it was. */
static void
end_prefetch(struct sett_iterator *it)
{
	iterator_prefetch_destroy(it->prefetch);
	it->prefetch = NULL;
	it->misses = it->txn->ahead.misses;
}

/* After a step forwards. Starts as soon as a value was not in memory; without memory for it, the walk just
 * waits for each value. */
static void
step_prefetch(struct sett_iterator *it)
{
	if (it->prefetch) {
		iterator_prefetch_step(it->prefetch);
		return;
	}
	if (it->misses == it->txn->ahead.misses || it->all_versions)
		return;
	struct internal_iterator *merge;
	it->misses = it->txn->ahead.misses;
	if (make_merge(it, false, NULL, &merge) == SETT_OK &&
	    iterator_prefetch_create(it->txn->engine->value_log, merge, it->txn->snapshot, it->since,
				     buffer_bytes(&it->key), buffer_bytes(&it->upper),
				     &it->prefetch) != SETT_OK)
		it->prefetch = NULL;
}

int
sett_iterator_seek(struct sett_iterator *it, struct bytes target)
{
	assert(it->txn->running);
	end_prefetch(it);
	struct bytes lower = buffer_bytes(&it->lower);
	if (lower.size && bytes_compare(target, lower) < 0)
		target = lower;
	int r = cover(it, target);
	if (r != SETT_OK)
		return end_at(it, r, true);
	return settle_forward(it, iiter_seek(it->merge, (struct ikey){target, UINT64_MAX}));
}

int
sett_iterator_first(struct sett_iterator *it)
{
	if (it->lower.size)
		return sett_iterator_seek(it, buffer_bytes(&it->lower));
	end_prefetch(it);
	int r = cover_end(it, false);
	if (r != SETT_OK)
		return end_at(it, r, false);
	return settle_forward(it, iiter_first(it->merge));
}

int
sett_iterator_seek_before(struct sett_iterator *it, struct bytes target)
{
	if (it->all_versions)
		return SETT_INVALID;
	end_prefetch(it);
	struct bytes upper = buffer_bytes(&it->upper);
	if (upper.size && bytes_compare(target, upper) > 0)
		target = upper;
	int r = cover(it, target);
	if (r != SETT_OK)
		return end_at(it, r, false);
	/* `target` may be the iterator's own key, which settling overwrites. */
	struct buffer copy = {0};
	r = set_key(&copy, target);
	if (r != SETT_OK)
		return end_at(it, r, false);
	struct bytes stable = buffer_bytes(&copy);
	r = settle_backward(it, &stable);
	buffer_free(&copy);
	return r;
}

int
sett_iterator_last(struct sett_iterator *it)
{
	if (it->all_versions)
		return SETT_INVALID;
	if (it->upper.size)
		return sett_iterator_seek_before(it, buffer_bytes(&it->upper));
	end_prefetch(it);
	int r = cover_end(it, true);
	if (r != SETT_OK)
		return end_at(it, r, true);
	return settle_backward(it, NULL);
}

int
sett_iterator_next(struct sett_iterator *it)
{
	if (!it->valid)
		return SETT_INVALID;
	it->valid = false;
	int r = settle_forward(it, skip_entry(it));
	if (r == SETT_OK)
		step_prefetch(it);
	return r;
}

int
sett_iterator_previous(struct sett_iterator *it)
{
	if (!it->valid || it->all_versions)
		return SETT_INVALID;
	it->valid = false;
	return sett_iterator_seek_before(it, buffer_bytes(&it->key));
}

bool
sett_iterator_is_valid(const struct sett_iterator *it)
{
	return it->valid;
}

struct bytes
sett_iterator_key(const struct sett_iterator *it)
{
	return buffer_bytes(&it->key);
}

int
sett_iterator_record(struct sett_iterator *it, struct sett_record *ret)
{
	if (!it->valid)
		return SETT_INVALID;
	if (it->is_deletion)
		return SETT_NOT_FOUND;
	*ret = it->record;
	return SETT_OK;
}

uint64_t
sett_iterator_timestamp(const struct sett_iterator *it)
{
	return it->timestamp;
}

bool
sett_iterator_is_deletion(const struct sett_iterator *it)
{
	return it->is_deletion;
}
