/* Dropped prefixes: the registry that commits add to, and the immutable sorted copies that jobs consult.
 *
 * A copy is sorted by prefix. Prefixes may enclose each other, so each knows the nearest one that encloses
 * it: the longest prefix that a key can have is its greatest predecessor in the order, or encloses that one
 * (every string between p and a key that begins with p begins with p). So one binary search and a walk
 * upwards finds every match.
 *
 * Adding is O(1); sorting and copying wait until a job asks. */
#include <assert.h>

#include "version_internal.h"

static int
compare_prefixes(const void *a, const void *b)
{
	const struct dead_prefix *x = a, *y = b;
	int c = bytes_compare(dead_prefix_bytes(x), dead_prefix_bytes(y));
	if (c != 0)
		return c;
	return x->timestamp < y->timestamp ? -1 : x->timestamp > y->timestamp;
}

static void
sort_registry(struct dead_registry *r)
{
	if (r->sorted == r->count)
		return;
	qsort(r->prefixes, r->count, sizeof(*r->prefixes), compare_prefixes);
	r->sorted = r->count;
}

static void
drop_copy(struct dead_registry *r)
{
	if (r->copy)
		dead_set_release(r->copy);
	r->copy = NULL;
}

int
dead_registry_reserve(struct dead_registry *r, size_t more)
{
	if (r->count + more <= r->capacity)
		return SETT_OK;
	size_t capacity = (r->count + more) * 2 + 14;
	void *p = reallocarray(r->prefixes, capacity, sizeof(*r->prefixes));
	if (!p)
		return SETT_NO_MEMORY;
	r->prefixes = p;
	r->capacity = capacity;
	return SETT_OK;
}

int
dead_registry_add(struct dead_registry *r, struct bytes prefix, uint64_t timestamp)
{
	if (prefix.size == 0 || prefix.size > SETT_MAX_PREFIX_SIZE)
		return SETT_INVALID;
	int status = dead_registry_reserve(r, 1);
	if (status != SETT_OK)
		return status;
	r->prefixes[r->count++] = dead_prefix_of(prefix, timestamp);
	drop_copy(r);
	return SETT_OK;
}

/* The place of exactly this prefix, or NULL. */
static struct dead_prefix *
find_exact(struct dead_registry *r, struct bytes prefix, uint64_t timestamp)
{
	sort_registry(r);
	size_t low = 0, high = r->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct dead_prefix *d = &r->prefixes[middle];
		int c = bytes_compare(dead_prefix_bytes(d), prefix);
		if (c == 0)
			c = d->timestamp < timestamp ? -1 : d->timestamp > timestamp;
		if (c == 0)
			return d;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool
dead_registry_has(struct dead_registry *r, struct bytes prefix, uint64_t timestamp)
{
	return find_exact(r, prefix, timestamp) != NULL;
}

void
dead_registry_remove(struct dead_registry *r, struct bytes prefix, uint64_t timestamp)
{
	struct dead_prefix *d = find_exact(r, prefix, timestamp);
	if (!d)
		return;
	size_t at = (size_t)(d - r->prefixes);
	memmove(d, d + 1, (r->count - at - 1) * sizeof(*d));
	r->count--;
	r->sorted = r->count;
	drop_copy(r);
}

void
dead_registry_free(struct dead_registry *r)
{
	drop_copy(r);
	free(r->prefixes);
	*r = (struct dead_registry){0};
}

/* Fills `parents` from the sorted prefixes: what encloses the one before, or is it, encloses this one. */
static void
link_parents(struct dead_set *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct bytes prefix = dead_prefix_bytes(&s->prefixes[i]);
		size_t parent = i;
		while (parent > 0 && !bytes_has_prefix(prefix, dead_prefix_bytes(&s->prefixes[parent - 1])))
			parent = s->parents[parent - 1];
		s->parents[i] = parent;
	}
}

struct dead_set *
dead_registry_copy(struct dead_registry *r)
{
	if (!r->copy) {
		sort_registry(r);
		struct dead_set *s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
		s->references = 1;
		s->prefixes = calloc(r->count + 1, sizeof(*s->prefixes));
		s->parents = calloc(r->count + 1, sizeof(*s->parents));
		if (!s->prefixes || !s->parents) {
			dead_set_release(s);
			return NULL;
		}
		if (r->count)
			memcpy(s->prefixes, r->prefixes, r->count * sizeof(*s->prefixes));
		s->count = r->count;
		link_parents(s);
		r->copy = s;
	}
	/* relaxed: whoever reads it got it under the lock */
	__atomic_fetch_add(&r->copy->references, 1, __ATOMIC_RELAXED);
	return r->copy;
}

void
dead_set_release(struct dead_set *s)
{
	/* acq_rel: the last one to let go sees all that the others did with it */
	if (!s || __atomic_fetch_sub(&s->references, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	free(s->prefixes);
	free(s->parents);
	free(s);
}

bool
dead_set_covers(const struct dead_set *s, struct bytes user_key, uint64_t timestamp, uint64_t oldest_snapshot)
{
	if (s->count == 0)
		return false;
	size_t low = 0, high = s->count; /* low: how many prefixes are not above the key */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (bytes_compare(dead_prefix_bytes(&s->prefixes[middle]), user_key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t at = low; at > 0; at = s->parents[at - 1]) {
		const struct dead_prefix *d = &s->prefixes[at - 1];
		if (timestamp <= d->timestamp && d->timestamp <= oldest_snapshot &&
		    bytes_has_prefix(user_key, dead_prefix_bytes(d)))
			return true;
	}
	return false;
}
