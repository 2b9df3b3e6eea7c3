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
	int c = bytes_compare(buffer_bytes(&x->prefix), buffer_bytes(&y->prefix));
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
dead_registry_add(struct dead_registry *r, struct bytes prefix, uint64_t timestamp)
{
	if (prefix.size == 0 || prefix.size > SETT_MAX_PREFIX_SIZE)
		return SETT_INVALID;
	if (r->count == r->capacity) {
		size_t capacity = r->capacity ? r->capacity * 2 : 16;
		void *p = reallocarray(r->prefixes, capacity, sizeof(*r->prefixes));
		if (!p)
			return SETT_NO_MEMORY;
		r->prefixes = p;
		r->capacity = capacity;
	}
	struct dead_prefix d = {.timestamp = timestamp, .sequence = UINT64_MAX};
	int status = buffer_append(&d.prefix, prefix.data, prefix.size);
	if (status != SETT_OK)
		return status;
	r->prefixes[r->count++] = d;
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
		int c = bytes_compare(buffer_bytes(&d->prefix), prefix);
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
	buffer_free(&d->prefix);
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
	for (size_t i = 0; i < r->count; i++)
		buffer_free(&r->prefixes[i].prefix);
	free(r->prefixes);
	*r = (struct dead_registry){0};
}

/* Fills `parents` from the sorted prefixes: what encloses the one before, or is it, encloses this one. */
static void
link_parents(struct dead_set *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct bytes prefix = buffer_bytes(&s->prefixes[i].prefix);
		size_t parent = i;
		while (parent > 0 && !bytes_has_prefix(prefix, buffer_bytes(&s->prefixes[parent - 1].prefix)))
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
		for (; s->prefixes && s->parents && s->count < r->count; s->count++) {
			struct dead_prefix *d = &s->prefixes[s->count], *from = &r->prefixes[s->count];
			d->timestamp = from->timestamp;
			d->sequence = from->sequence;
			if (buffer_append(&d->prefix, from->prefix.data, from->prefix.size) != SETT_OK)
				break;
		}
		if (!s->prefixes || !s->parents || s->count < r->count) {
			dead_set_release(s);
			return NULL;
		}
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
	for (size_t i = 0; i < s->count; i++)
		buffer_free(&s->prefixes[i].prefix);
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
		if (bytes_compare(buffer_bytes(&s->prefixes[middle].prefix), user_key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t at = low; at > 0; at = s->parents[at - 1]) {
		const struct dead_prefix *d = &s->prefixes[at - 1];
		if (timestamp <= d->timestamp && d->timestamp <= oldest_snapshot &&
		    bytes_has_prefix(user_key, buffer_bytes(&d->prefix)))
			return true;
	}
	return false;
}
