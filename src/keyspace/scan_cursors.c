/* SCAN's cursors: numbers that clients can hold, each standing for the key at which its scan goes on.
 *
 * Numbers are given in sequence from a random start, so a cursor of an earlier start of the server is most
 * likely unknown, and an unknown cursor starts the scan over: nothing is missed. A ring keeps the newest; the
 * oldest give way when the ring or its bytes are full.
 *
 * Threads: any, under one lock held for a copy. */
#include "keyspace/private.h"

enum { RING_SIZE = 65536 };
#define RING_BYTES_MAX (16u * 1024 * 1024)

struct place {
	uint8_t *key; /* owned */
	size_t size;
};

struct scan_cursors {
	struct mutex lock;
	uint64_t oldest, next; /* cursors kept: [oldest, next) */
	size_t bytes;
	struct place ring[RING_SIZE];
};

int
scan_cursors_create(uint64_t seed, struct scan_cursors **ret)
{
	struct scan_cursors *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return SETT_NO_MEMORY;
	mutex_init(&s->lock);
	/* 47 bits: never 0, and exact in a client that keeps it as a double. */
	s->oldest = s->next = (seed >> 17) + RING_SIZE;
	*ret = s;
	return SETT_OK;
}

static void
forget_oldest(struct scan_cursors *s)
{
	struct place *p = &s->ring[s->oldest++ % RING_SIZE];
	s->bytes -= p->size;
	free(p->key);
	*p = (struct place){0};
}

void
scan_cursors_destroy(struct scan_cursors *s)
{
	if (s == NULL)
		return;
	while (s->oldest < s->next)
		forget_oldest(s);
	mutex_destroy(&s->lock);
	free(s);
}

uint64_t
keyspace_scan_save(struct keyspace *k, struct bytes resume)
{
	struct scan_cursors *s = k->cursors;
	/* Of a long key, what stands for it in engine keys: see root_engine_key. */
	size_t kept = resume.size < KEYSPACE_MAX_KEY_SIZE ? resume.size : (size_t)KEYSPACE_MAX_KEY_SIZE;
	uint8_t *copy = malloc(kept + 16);
	if (copy == NULL)
		return 0;
	if (kept > 0)
		memcpy(copy, resume.data, kept);
	if (resume.size > KEYSPACE_MAX_KEY_SIZE) {
		keyspace_name_hash(resume, copy + kept);
		resume.size = LONG_KEY_STORED_SIZE;
	}
	mutex_lock(&s->lock);
	while (s->oldest < s->next &&
	       (s->next - s->oldest == RING_SIZE || s->bytes + resume.size > RING_BYTES_MAX))
		forget_oldest(s);
	uint64_t cursor = s->next++;
	s->ring[cursor % RING_SIZE] = (struct place){.key = copy, .size = resume.size};
	s->bytes += resume.size;
	mutex_unlock(&s->lock);
	return cursor;
}

bool
keyspace_scan_find(struct keyspace *k, uint64_t cursor, struct arena *arena, struct bytes *ret_resume)
{
	struct scan_cursors *s = k->cursors;
	const uint8_t *copy = NULL;
	size_t size = 0;
	mutex_lock(&s->lock);
	if (cursor >= s->oldest && cursor < s->next) {
		const struct place *p = &s->ring[cursor % RING_SIZE];
		size = p->size;
		copy = arena_copy(arena, p->key, size);
	}
	mutex_unlock(&s->lock);
	if (copy == NULL)
		return false;
	*ret_resume = bytes_of(copy, size);
	return true;
}
