/* Which versions stay: the drop rules of flush and compaction.
 *
 * The snapshots cut time into stripes; the newest of them is the visible timestamp, read before the others
 * (I8), so a snapshot that begins after that is at or past it. Where the past is kept it is the horizon:
 *
 *        s0         s1                 visible
 *     ----|----------|--------------------|--------->  commit time
 *     stripe 0   stripe 1     stripe 2       (no stripe: every version stays)
 *
 * Rules, for the versions of one key from the newest on:
 *  1. Within a stripe only the newest stays: a reader at or past the stripe's end sees that one (or a
 *     newer), and there is no reader within it. The newest `keep_versions` of a key stay all the same, up to its newest
 *     tombstone: with that one gone (rule 3) they would be read. The tombstone itself stays as one of them while an older
 *     version may be somewhere: else a walk over all versions shows that one as if it had never been deleted.
 *  2. A version in no stripe stays: a snapshot may begin between it and the next one.
 *  3. A tombstone in stripe 0 goes, if nothing older can stand below: then reading nothing is the same as
 *     reading it. Below means deeper than what is merged; all that stood there when the job began is in
 *     `version`, and what moves down meanwhile comes from levels that hold newer versions.
 *  4. Every version under a dead prefix goes (I22): the walk has those alone whose drop is not after the
 *     oldest snapshot, and nothing is committed under them any more.
 *
 * A version that a newer one shadows and that stays for a snapshot alone is *held*: until the oldest snapshot
 * is at or past the timestamp of the version that shadows it. */
#include "retention.h"

#include <assert.h>

#include "version.h"

/* The stripe of a commit, or the count of snapshots if it is in none. */
static size_t
stripe_of(const struct retention *r, uint64_t timestamp)
{
	size_t low = 0, high = r->snapshot_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (r->snapshots[middle] < timestamp)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
may_stand_below(const struct retention *r, struct bytes user_key)
{
	for (unsigned l = r->first_level; l < SETT_LEVELS; l++) {
		const struct level *level = &r->version->levels[l];
		if (l == 0) {
			for (size_t i = 0; i < level->count; i++) {
				if (table_spans(level->tables[i], user_key))
					return true;
			}
			continue;
		}
		size_t at = level_find(level, user_key);
		if (at < level->count && table_spans(level->tables[at], user_key))
			return true;
	}
	return false;
}

static int
enter_key(struct retention *r, struct bytes user_key)
{
	buffer_clear(&r->key);
	int status = buffer_append(&r->key, user_key.data, user_key.size);
	if (status != SETT_OK)
		return status;
	r->has_key = true;
	r->is_dead = dead_walk_covers(&r->dead, user_key);
	r->stripe = SIZE_MAX;
	r->newer = 0;
	r->spared = r->keep_versions;
	return SETT_OK;
}

int
retention_judge(struct retention *r, struct ikey key, struct bytes value, bool *ret_keep, bool *ret_new_key,
		uint64_t *ret_held_until)
{
	bool new_key = !r->has_key || !bytes_equal(buffer_bytes(&r->key), key.user);
	if (new_key) {
		int status = enter_key(r, key.user);
		if (status != SETT_OK)
			return status;
	}
	assert(new_key || key.timestamp <= r->newer); /* equal: compaction_job.c, on pieces */
	size_t stripe = stripe_of(r, key.timestamp), before = r->stripe;
	uint64_t newer = r->newer;
	bool tombstone = value.size > 0 && (value.data[0] & ENTRY_KIND_MASK) == ENTRY_TOMBSTONE;
	bool keep = true, is_spared = r->spared > 0 && (new_key || key.timestamp < newer);
	if (is_spared && tombstone)
		is_spared = !new_key && (stripe > 0 || may_stand_below(r, key.user));
	uint64_t held_until = new_key || is_spared ? 0 : newer;
	r->stripe = stripe;
	r->newer = key.timestamp;
	r->spared = tombstone ? 0 : r->spared - is_spared;
	if (stripe < r->snapshot_count && stripe == before && !is_spared)
		keep = false; /* rule 1 */
	else if (r->is_dead)
		keep = false; /* rule 4 */
	else if (tombstone && !may_stand_below(r, key.user)) {
		if (stripe == 0)
			keep = false; /* rule 3 */
		else if (held_until == 0)
			held_until = key.timestamp;
	}
	*ret_keep = keep;
	*ret_new_key = new_key;
	*ret_held_until = held_until;
	return SETT_OK;
}

void
retention_free(struct retention *r)
{
	buffer_free(&r->key);
	dead_walk_free(&r->dead);
	r->has_key = false;
}
