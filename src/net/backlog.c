/* See backlog.h. */
#include "net/backlog.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/transport.h"

struct backlog_block {
	struct backlog_block *next;
	size_t start, end; /* of the bytes that are left */
	uint8_t data[64 * 1024 - 3 * sizeof(size_t)];
};

static struct backlog_block *
last_with_room(struct backlog *b)
{
	if (b->last != NULL && b->last->end < sizeof(b->last->data))
		return b->last;
	struct backlog_block *block = malloc(sizeof(*block));
	if (block == NULL)
		return NULL;
	block->next = NULL;
	block->start = block->end = 0;
	if (b->last != NULL)
		b->last->next = block;
	else
		b->first = block;
	b->last = block;
	b->blocks++;
	return block;
}

ssize_t
backlog_receive(struct backlog *b, struct transport *transport)
{
	struct backlog_block *block = last_with_room(b);
	if (block == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ssize_t got =
		transport_receive(transport, block->data + block->end, sizeof(block->data) - block->end);
	if (got > 0) {
		block->end += (size_t)got;
		b->size += (size_t)got;
	}
	return got;
}

static void
drop_first(struct backlog *b)
{
	struct backlog_block *block = b->first;
	b->first = block->next;
	if (b->first == NULL)
		b->last = NULL;
	b->blocks--;
	free(block);
}

size_t
backlog_take(struct backlog *b, void *to, size_t room)
{
	size_t taken = 0;
	while (b->first != NULL && taken < room) {
		struct backlog_block *block = b->first;
		size_t size = block->end - block->start;
		if (size > room - taken)
			size = room - taken;
		memcpy((uint8_t *)to + taken, block->data + block->start, size);
		block->start += size;
		taken += size;
		if (block->start == block->end)
			drop_first(b);
	}
	assert(taken <= b->size);
	b->size -= taken;
	return taken;
}

size_t
backlog_memory(const struct backlog *b)
{
	return b->blocks * sizeof(struct backlog_block);
}

void
backlog_free(struct backlog *b)
{
	while (b->first != NULL)
		drop_first(b);
	b->size = 0;
}
