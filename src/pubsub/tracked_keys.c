/* See tracked_keys.h. Two hash tables: keys by name, and interests by key and client, so that a key that very many
 * clients read again and again costs no search among them. */
#include "pubsub/tracked_keys.h"

#include <assert.h>
#include <stdlib.h>

#include "pubsub/topics.h"

struct tracked_keys *
tracked_keys_create(void)
{
	return calloc(1, sizeof(struct tracked_keys));
}

static void
free_key(struct tracked_key *k)
{
	struct message_list list = {.first = k->message, .last = k->message};
	messages_free(&list);
}

void
tracked_keys_destroy(struct tracked_keys *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < TRACKED_BUCKETS && t->keys > 0; i++)
		for (struct tracked_key *k = t->key_buckets[i], *next; k != NULL; k = next) {
			next = k->next;
			free_key(k);
			t->keys--;
		}
	free(t);
}

static uint64_t
interest_hash(uint64_t key_hash, uint64_t client)
{
	return (key_hash ^ client * 0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93 >> 16;
}

struct tracked_key *
tracked_key_create(struct bytes key, uint64_t client)
{
	struct tracked_key *k = malloc(sizeof(*k));
	struct interest *i = malloc(sizeof(*i));
	struct message *m = message_create(MESSAGE_KEY, key, (struct bytes){0});
	if (k == NULL || i == NULL || m == NULL) {
		free(k);
		free(i);
		free(m);
		return NULL;
	}
	*i = (struct interest){.client = client, .hash = interest_hash(m->hash, client)};
	*k = (struct tracked_key){.hash = m->hash, .message = m, .first = i};
	m->detail = k;
	return k;
}

void
tracked_key_free(struct tracked_key *k)
{
	if (k == NULL)
		return;
	for (struct interest *i = k->first, *next; i != NULL; i = next) {
		next = i->next_of_key;
		free(i);
	}
	free(k);
}

/* What points at the key, or at the end of its bucket. */
static struct tracked_key **
find_key(struct tracked_keys *t, struct bytes key, uint64_t hash)
{
	struct tracked_key **at = &t->key_buckets[hash % TRACKED_BUCKETS];
	while (*at != NULL && ((*at)->hash != hash || !bytes_equal(message_channel((*at)->message), key)))
		at = &(*at)->next;
	return at;
}

static struct interest *
find_interest(struct tracked_keys *t, const struct tracked_key *k, const struct interest *wanted)
{
	struct interest *i = t->interest_buckets[wanted->hash % TRACKED_BUCKETS];
	for (; i != NULL; i = i->next)
		if (i->hash == wanted->hash && i->client == wanted->client && i->key == k)
			return i;
	return NULL;
}

static void
add_interest(struct tracked_keys *t, struct tracked_key *k, struct interest *i)
{
	struct interest **bucket = &t->interest_buckets[i->hash % TRACKED_BUCKETS];
	i->key = k;
	i->next = *bucket;
	*bucket = i;
	t->interests++;
}

bool
tracked_keys_enter(struct tracked_keys *t, struct tracked_key *fresh)
{
	struct tracked_key **at = find_key(t, message_channel(fresh->message), fresh->hash);
	struct tracked_key *there = *at;
	struct interest *mine = fresh->first;
	assert(mine != NULL && mine->next_of_key == NULL);
	if (there == NULL) {
		fresh->next = NULL;
		*at = fresh;
		t->keys++;
		add_interest(t, fresh, mine);
		return false;
	}
	if (find_interest(t, there, mine) != NULL)
		return true;
	fresh->first = NULL;
	mine->next_of_key = there->first;
	there->first = mine;
	add_interest(t, there, mine);
	return true;
}

static struct tracked_key *
take(struct tracked_keys *t, struct tracked_key **at)
{
	struct tracked_key *k = *at;
	if (k == NULL)
		return NULL;
	*at = k->next;
	k->next = NULL;
	t->keys--;
	for (struct interest *i = k->first; i != NULL; i = i->next_of_key) {
		struct interest **link = &t->interest_buckets[i->hash % TRACKED_BUCKETS];
		while (*link != i)
			link = &(*link)->next;
		*link = i->next;
		t->interests--;
	}
	return k;
}

struct tracked_key *
tracked_keys_take(struct tracked_keys *t, struct bytes key)
{
	return t->keys > 0 ? take(t, find_key(t, key, topic_hash(key))) : NULL;
}

struct tracked_key *
tracked_keys_take_any(struct tracked_keys *t)
{
	if (t->keys == 0)
		return NULL;
	while (t->key_buckets[t->cursor] == NULL)
		t->cursor = (t->cursor + 1) % TRACKED_BUCKETS;
	return take(t, &t->key_buckets[t->cursor]);
}
