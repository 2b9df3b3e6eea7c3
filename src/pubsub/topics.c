/* A chained hash table whose links are in its elements: see topics.h. */
#include "pubsub/topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/hash.h"
#include "storage/status.h"

enum { FIRST_BUCKETS = 8 };

uint64_t
topic_hash(struct bytes name)
{
	return hash64_bytes(name, 0);
}

void
topic_init(struct topic *t, enum subscription_kind kind, struct bytes name, uint64_t hash)
{
	*t = (struct topic){.kind = kind, .hash = hash, .size = name.size};
	list_init(&t->subscriptions);
	if (name.size > 0)
		memcpy(t->name, name.data, name.size);
}

struct topic *
topic_create(enum subscription_kind kind, struct bytes name, uint64_t hash)
{
	struct topic *t = malloc(sizeof(*t) + name.size);
	if (t != NULL)
		topic_init(t, kind, name, hash);
	return t;
}

void
topics_init(struct topics *set, struct arena *arena)
{
	*set = (struct topics){.arena = arena};
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++)
		list_init(&set->by_kind[kind]);
}

void
topics_free(struct topics *set)
{
	if (set->arena == NULL)
		free(set->buckets);
	set->buckets = NULL;
	set->bucket_count = 0;
}

static struct topic **
bucket_of(const struct topics *set, enum subscription_kind kind, uint64_t hash)
{
	/* A name may be of several kinds. */
	return &set->buckets[(hash + (uint64_t)kind) & (set->bucket_count - 1)];
}

static struct topic **
allocate_buckets(struct topics *set, size_t count)
{
	if (set->arena == NULL)
		return calloc(count, sizeof(struct topic *));
	struct topic **buckets =
		arena_allocate(set->arena, count * sizeof(*buckets), _Alignof(struct topic *));
	if (buckets != NULL)
		memset(buckets, 0, count * sizeof(*buckets));
	return buckets;
}

int
topics_reserve(struct topics *set)
{
	if (set->count < set->bucket_count)
		return SETT_OK;
	size_t count = set->bucket_count > 0 ? 2 * set->bucket_count : FIRST_BUCKETS;
	struct topic **buckets = allocate_buckets(set, count);
	if (buckets == NULL)
		return set->bucket_count > 0 ? SETT_OK : SETT_NO_MEMORY;
	topics_free(set);
	set->buckets = buckets;
	set->bucket_count = count;
	for (int kind = 0; kind < SUBSCRIPTION_KINDS; kind++)
		for (struct list_link *l = set->by_kind[kind].next; l != &set->by_kind[kind]; l = l->next) {
			struct topic *t = list_entry(l, struct topic, kind_link);
			struct topic **bucket = bucket_of(set, t->kind, t->hash);
			t->next = *bucket;
			*bucket = t;
		}
	return SETT_OK;
}

struct topic *
topics_find(const struct topics *set, enum subscription_kind kind, struct bytes name, uint64_t hash)
{
	struct topic *t = set->bucket_count > 0 ? *bucket_of(set, kind, hash) : NULL;
	while (t != NULL && (t->hash != hash || t->kind != kind || !bytes_equal(topic_name(t), name)))
		t = t->next;
	return t;
}

void
topics_add(struct topics *set, struct topic *t)
{
	assert(set->bucket_count > 0 && !list_is_linked(&t->kind_link));
	struct topic **bucket = bucket_of(set, t->kind, t->hash);
	t->next = *bucket;
	*bucket = t;
	list_append(&set->by_kind[t->kind], &t->kind_link);
	set->count++;
	set->count_by_kind[t->kind]++;
}

void
topics_remove(struct topics *set, struct topic *t)
{
	struct topic **link = bucket_of(set, t->kind, t->hash);
	while (*link != t) {
		assert(*link != NULL);
		link = &(*link)->next;
	}
	*link = t->next;
	list_remove(&t->kind_link);
	set->count--;
	set->count_by_kind[t->kind]--;
}
