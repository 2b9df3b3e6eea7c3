/* See history.h. Numbers of blocks: byte number n (from 1) lies in block (n - 1) / HISTORY_BLOCK. */
#include "repl/history.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING_MIN = 64, PATH_SIZE = 4096 };

static const char file_name[] = "replication-backlog.tmp";

int
history_init(struct history *h, struct vfs *vfs, const char *directory)
{
	*h = (struct history){.vfs = vfs, .start = 1, .ring_size = RING_MIN};
	h->ring = calloc(h->ring_size, sizeof(h->ring[0]));
	h->directory = strdup(directory);
	if (h->ring != NULL && h->directory != NULL)
		return SETT_OK;
	free(h->ring);
	free(h->directory);
	*h = (struct history){0};
	return SETT_NO_MEMORY;
}

static struct history_block **
place_of(const struct history *h, uint64_t number)
{
	return &h->ring[number & (h->ring_size - 1)];
}

static void
free_slot(struct history *h, uint64_t slot)
{
	h->used_slots[slot / 64] &= ~((uint64_t)1 << slot % 64);
	while (h->slots > 0 && (h->used_slots[(h->slots - 1) / 64] >> (h->slots - 1) % 64 & 1) == 0)
		h->slots--;
}

static void
free_block(struct history *h, struct history_block *b)
{
	if (b->data == NULL)
		free_slot(h, b->slot);
	free(b->data);
	free(b);
}

static void
forget_first(struct history *h)
{
	struct history_block **place = place_of(h, h->first_block), *b = *place;
	*place = NULL;
	h->first_block++;
	if (h->next_spill < h->first_block)
		h->next_spill = h->first_block;
	if (b->data != NULL)
		h->memory_blocks--;
	if (b->users > 0)
		b->forgotten = true;
	else
		free_block(h, b);
}

void
history_free(struct history *h)
{
	while (h->first_block < h->block_end)
		forget_first(h);
	while (h->spare_count > 0)
		free_block(h, h->spare[--h->spare_count]);
	free(h->ring);
	free(h->spare);
	free(h->used_slots);
	free(h->directory);
	if (h->file != NULL)
		(void)vfs_close(h->file, NULL); /* it has no name, and nobody needs it any more */
	*h = (struct history){0};
}

void
history_restart(struct history *h, uint64_t end)
{
	while (h->first_block < h->block_end)
		forget_first(h);
	h->start = end + 1;
	h->end = end;
	h->first_block = h->block_end = h->next_spill = end / HISTORY_BLOCK;
	h->large_size = h->large_end = 0;
}

uint64_t
history_memory(const struct history *h)
{
	return (h->memory_blocks + h->spare_count) * (HISTORY_BLOCK + sizeof(struct history_block)) +
		(h->block_end - h->first_block - h->memory_blocks) * sizeof(struct history_block);
}

/* ---- appending ---- */

/* Room for blocks up to `end` in number. */
static int
grow_ring(struct history *h, uint64_t end)
{
	uint64_t size = h->ring_size;
	while (size < end - h->first_block)
		size *= 2;
	if (size == h->ring_size)
		return SETT_OK;
	struct history_block **ring = calloc(size, sizeof(ring[0]));
	if (ring == NULL)
		return SETT_NO_MEMORY;
	for (uint64_t i = h->first_block; i < h->block_end; i++)
		ring[i & (size - 1)] = *place_of(h, i);
	free(h->ring);
	h->ring = ring;
	h->ring_size = size;
	return SETT_OK;
}

static int
add_spare(struct history *h)
{
	if (h->spare_count == h->spare_capacity) {
		size_t capacity = h->spare_capacity == 0 ? 16 : 2 * h->spare_capacity;
		struct history_block **spare = reallocarray(h->spare, capacity, sizeof(*spare));
		if (spare == NULL)
			return SETT_NO_MEMORY;
		h->spare = spare;
		h->spare_capacity = capacity;
	}
	struct history_block *b = calloc(1, sizeof(*b));
	if (b == NULL || (b->data = malloc(HISTORY_BLOCK)) == NULL) {
		free(b);
		return SETT_NO_MEMORY;
	}
	h->spare[h->spare_count++] = b;
	return SETT_OK;
}

/* What a slow disk leaves in memory is bounded. A large commit gets the time that it takes to move it to the file: replicas
 * need it. */
static void
bound_memory(struct history *h)
{
	if (h->next_spill * HISTORY_BLOCK >= h->large_end)
		h->large_size = 0;
	uint64_t most = (HISTORY_MEMORY_MAX + h->large_size) / HISTORY_BLOCK;
	while (h->memory_blocks > most && h->first_block + 1 < h->block_end)
		history_trim(h, (h->first_block + 1) * HISTORY_BLOCK + 1);
}

int
history_reserve(struct history *h, uint64_t size)
{
	uint64_t end = (h->end + h->promised + size + HISTORY_BLOCK - 1) / HISTORY_BLOCK;
	bound_memory(h);
	int status = end > h->block_end ? grow_ring(h, end) : SETT_OK;
	while (status == SETT_OK && h->block_end + h->spare_count < end)
		status = add_spare(h);
	if (status == SETT_OK)
		h->promised += size;
	return status;
}

void
history_unreserve(struct history *h, uint64_t size)
{
	assert(size <= h->promised);
	h->promised -= size;
}

void
history_append(struct history *h, struct bytes bytes)
{
	assert(bytes.size <= h->promised);
	h->promised -= bytes.size;
	if (bytes.size >= HISTORY_MEMORY) {
		h->large_size = bytes.size > h->large_size ? bytes.size : h->large_size;
		h->large_end = h->end + bytes.size;
	}
	while (bytes.size > 0) {
		if (h->end / HISTORY_BLOCK == h->block_end) {
			assert(h->spare_count > 0);
			*place_of(h, h->block_end++) = h->spare[--h->spare_count];
			h->memory_blocks++;
		}
		size_t skip = h->end % HISTORY_BLOCK;
		size_t size = HISTORY_BLOCK - skip < bytes.size ? HISTORY_BLOCK - skip : bytes.size;
		memcpy((*place_of(h, h->block_end - 1))->data + skip, bytes.data, size);
		h->end += size;
		bytes = bytes_of(bytes.data + size, bytes.size - size);
	}
}

void
history_trim(struct history *h, uint64_t from)
{
	while (h->first_block + 1 < h->block_end && (h->first_block + 1) * HISTORY_BLOCK < from) {
		forget_first(h);
		h->start = h->first_block * HISTORY_BLOCK + 1;
	}
	if (h->start < from && from <= h->end + 1)
		h->start = from;
}

/* ---- reading ---- */

size_t
history_find(struct history *h, uint64_t offset, uint64_t limit, struct history_place *ret)
{
	assert(offset + 1 >= h->start && limit <= h->end);
	if (offset >= limit)
		return 0;
	struct history_block *b = *place_of(h, offset / HISTORY_BLOCK);
	size_t skip = offset % HISTORY_BLOCK;
	size_t size = HISTORY_BLOCK - skip < limit - offset ? HISTORY_BLOCK - skip : (size_t)(limit - offset);
	*ret = (struct history_place){.skip = skip};
	if (b->data != NULL) {
		ret->bytes = bytes_of(b->data + skip, size);
		return size;
	}
	b->users++;
	ret->block = b;
	return size;
}

int
history_read_file(struct history *h, const struct history_place *place, void *to, size_t size,
		  struct sett_error *error)
{
	size_t got;
	int status =
		vfs_read(h->file, to, size, place->block->slot * HISTORY_BLOCK + place->skip, 0, &got, error);
	if (status == SETT_OK && got < size)
		return sett_error_set(error, SETT_IO, 0, "the replication backlog's file is too short");
	return status;
}

static void
release_block(struct history *h, struct history_block *b)
{
	assert(b->users > 0);
	if (--b->users == 0 && b->forgotten)
		free_block(h, b);
}

void
history_release(struct history *h, const struct history_place *place)
{
	if (place->block != NULL)
		release_block(h, place->block);
}

/* ---- the file ---- */

static int
grow_slots(struct history *h)
{
	uint64_t capacity = h->slot_capacity == 0 ? 1024 : 2 * h->slot_capacity;
	uint64_t *slots = reallocarray(h->used_slots, capacity / 64, sizeof(*slots));
	if (slots == NULL)
		return SETT_NO_MEMORY;
	memset(slots + h->slot_capacity / 64, 0, (capacity - h->slot_capacity) / 8);
	h->used_slots = slots;
	h->slot_capacity = capacity;
	return SETT_OK;
}

static int
take_slot(struct history *h, uint64_t *ret)
{
	uint64_t word = 0;
	while (word < h->slot_capacity / 64 && h->used_slots[word] == UINT64_MAX)
		word++;
	if (word == h->slot_capacity / 64 && grow_slots(h) != SETT_OK)
		return SETT_NO_MEMORY;
	*ret = word * 64 + (uint64_t)__builtin_ctzll(~h->used_slots[word]);
	h->used_slots[word] |= (uint64_t)1 << *ret % 64;
	if (*ret >= h->slots)
		h->slots = *ret + 1;
	return SETT_OK;
}

struct history_block *
history_next_to_spill(struct history *h, uint64_t *ret_number)
{
	if (h->memory_blocks <= HISTORY_MEMORY / HISTORY_BLOCK || h->next_spill + 1 >= h->block_end)
		return NULL;
	struct history_block *b = *place_of(h, h->next_spill);
	if (take_slot(h, &b->slot) != SETT_OK)
		return NULL; /* later */
	*ret_number = h->next_spill;
	b->users++;
	return b;
}

/* The file has no name once it is open: it ends with the process. */
static int
open_file(struct history *h, struct sett_error *error)
{
	char path[PATH_SIZE];
	int size = snprintf(path, sizeof(path), "%s/%s", h->directory, file_name);
	if (size < 0 || (size_t)size >= sizeof(path))
		return sett_error_set(error, SETT_INVALID, 0, "the path of the data directory is too long");
	int status = vfs_remove(h->vfs, path, error); /* of a process that was killed in between */
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = vfs_open(h->vfs, path, VFS_READ | VFS_WRITE | VFS_CREATE | VFS_SEALED, &h->file,
				  error);
	return status == SETT_OK ? vfs_remove(h->vfs, path, error) : status;
}

int
history_write(struct history *h, struct history_block *b, struct sett_error *error)
{
	struct iovec bytes = {b->data, HISTORY_BLOCK};
	int status = h->file == NULL ? open_file(h, error) : SETT_OK;
	if (status == SETT_OK)
		status = vfs_write(h->file, &bytes, 1, b->slot * HISTORY_BLOCK, error);
	if (status == SETT_OK && b->slot >= h->file_slots)
		h->file_slots = b->slot + 1;
	return status;
}

bool
history_must_cut(struct history *h, uint64_t *ret_slots)
{
	*ret_slots = h->slots;
	return h->file_slots > h->slots + HISTORY_SLACK;
}

int
history_cut_file(struct history *h, uint64_t slots, struct sett_error *error)
{
	int status = vfs_truncate(h->file, slots * HISTORY_BLOCK, error);
	if (status == SETT_OK)
		h->file_slots = slots;
	return status;
}

void
history_spilled(struct history *h, struct history_block *b, uint64_t number, int status)
{
	if (status == SETT_OK && !b->forgotten) {
		free(b->data);
		b->data = NULL;
		h->memory_blocks--;
		h->next_spill = number + 1;
	} else {
		free_slot(h, b->slot);
		if (status != SETT_OK && !b->forgotten)
			history_trim(h, (number + 1) * HISTORY_BLOCK + 1);
	}
	release_block(h, b);
}
