/* See kept_history.h. */
#include "repl/kept_history.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rdb/crc64.h"

enum {
	PATH_SIZE = 4096,
	AT_ID = 8,
	AT_FROM = AT_ID + REPLICATION_ID_SIZE,
	AT_END = AT_FROM + 8,
	AT_SUM = AT_END + 8,
	AT_HEADER_SUM = AT_SUM + 8,
	HEADER_SIZE = AT_HEADER_SUM + 8,
};

static const char magic[] = "SETTBKL1";

struct kept {
	struct history *history;
	struct vfs_file *file;
	char path[PATH_SIZE];
	uint64_t from, end, sum;
};

static void
put_number(uint8_t *to, uint64_t number)
{
	for (int i = 0; i < 8; i++)
		to[i] = (uint8_t)(number >> 8 * i);
}

static uint64_t
get_number(const uint8_t *from)
{
	uint64_t number = 0;
	for (int i = 0; i < 8; i++)
		number |= (uint64_t)from[i] << 8 * i;
	return number;
}

static int
name_file(struct kept *k, const char *suffix, char ret[PATH_SIZE], struct sett_error *error)
{
	int size = snprintf(ret, PATH_SIZE, "%s/replication-backlog%s", k->history->directory, suffix);
	return size > 0 && size < PATH_SIZE
		? SETT_OK
		: sett_error_set(error, SETT_INVALID, 0, "the path of the data directory is too long");
}

/* ---- writing ---- */

static int
write_at(struct kept *k, const void *data, size_t size, uint64_t at, struct sett_error *error)
{
	struct iovec bytes = {(void *)data, size};
	return vfs_write(k->file, &bytes, 1, at, error);
}

static int
write_bytes(struct kept *k, struct sett_error *error)
{
	uint8_t *room = malloc(HISTORY_BLOCK);
	int status = room != NULL ? SETT_OK : sett_error_set(error, SETT_NO_MEMORY, 0, "out of memory");
	for (uint64_t at = k->from; at < k->end && status == SETT_OK;) {
		struct history_place place;
		size_t size = history_find(k->history, at, k->end, &place);
		const uint8_t *data = place.block != NULL ? room : place.bytes.data;
		if (place.block != NULL)
			status = history_read_file(k->history, &place, room, size, error);
		history_release(k->history, &place);
		if (status == SETT_OK)
			status = write_at(k, data, size, HEADER_SIZE + (at - k->from), error);
		if (status == SETT_OK)
			k->sum = crc64(k->sum, bytes_of(data, size));
		at += size;
	}
	free(room);
	return status;
}

static int
write_header(struct kept *k, const struct stream_position *position, struct sett_error *error)
{
	uint8_t header[HEADER_SIZE];
	memcpy(header, magic, AT_ID);
	memcpy(header + AT_ID, position->id, REPLICATION_ID_SIZE);
	put_number(header + AT_FROM, k->from);
	put_number(header + AT_END, k->end);
	put_number(header + AT_SUM, k->sum);
	put_number(header + AT_HEADER_SUM, crc64(0, bytes_of(header, AT_HEADER_SUM)));
	return write_at(k, header, HEADER_SIZE, 0, error);
}

static int
write_file(struct kept *k, const struct stream_position *position, struct sett_error *error)
{
	struct vfs *vfs = k->history->vfs;
	char temporary[PATH_SIZE];
	int status = name_file(k, ".new", temporary, error);
	if (status == SETT_OK)
		status = vfs_remove(vfs, temporary, error); /* of a process that was killed */
	if (status == SETT_OK || status == SETT_NOT_FOUND)
		status = vfs_open(vfs, temporary, VFS_READ | VFS_WRITE | VFS_CREATE | VFS_SEALED, &k->file,
				  error);
	if (status != SETT_OK)
		return status;
	status = write_bytes(k, error);
	if (status == SETT_OK)
		status = write_header(k, position, error);
	if (status == SETT_OK)
		status = vfs_sync(k->file, error);
	struct sett_error ignored;
	int closed = vfs_close(k->file, status == SETT_OK ? error : &ignored);
	if (status == SETT_OK)
		status = closed;
	if (status == SETT_OK)
		return vfs_rename(vfs, temporary, k->path, error);
	(void)vfs_remove(vfs, temporary, &ignored); /* the next one removes it too */
	return status;
}

int
kept_history_write(struct history *h, const struct stream_position *position, uint64_t from,
		   struct sett_error *error)
{
	struct kept k = {.history = h, .from = from, .end = h->end};
	assert(position->offset == h->end);
	if (k.from + 1 < h->start)
		k.from = h->start - 1;
	if (k.end - k.from > KEPT_HISTORY_MAX && k.end > k.from)
		k.from = k.end - KEPT_HISTORY_MAX;
	if (k.from >= k.end)
		return SETT_OK;
	int status = name_file(&k, "", k.path, error);
	return status == SETT_OK ? write_file(&k, position, error) : status;
}

/* ---- reading ---- */

static int
read_exactly(struct kept *k, void *to, size_t size, uint64_t at, struct sett_error *error)
{
	size_t got;
	int status = vfs_read(k->file, to, size, at, 0, &got, error);
	return status == SETT_OK && got < size ? SETT_NOT_FOUND : status;
}

static int
read_header(struct kept *k, const struct stream_position *position, struct sett_error *error)
{
	uint8_t header[HEADER_SIZE];
	int status = read_exactly(k, header, HEADER_SIZE, 0, error);
	if (status != SETT_OK)
		return status;
	k->from = get_number(header + AT_FROM);
	k->end = get_number(header + AT_END);
	k->sum = get_number(header + AT_SUM);
	bool is_meant = memcmp(header, magic, AT_ID) == 0 &&
		get_number(header + AT_HEADER_SUM) == crc64(0, bytes_of(header, AT_HEADER_SUM)) &&
		memcmp(header + AT_ID, position->id, REPLICATION_ID_SIZE) == 0 &&
		k->end == position->offset && k->from < k->end && k->end - k->from <= KEPT_HISTORY_MAX;
	return is_meant ? SETT_OK : SETT_NOT_FOUND;
}

static int
fill(struct kept *k, struct sett_error *error)
{
	uint8_t *room = malloc(HISTORY_BLOCK);
	uint64_t sum = 0;
	int status = room != NULL ? SETT_OK : SETT_NO_MEMORY;
	history_restart(k->history, k->from);
	for (uint64_t at = k->from; at < k->end && status == SETT_OK;) {
		size_t size = k->end - at < HISTORY_BLOCK ? (size_t)(k->end - at) : HISTORY_BLOCK;
		status = read_exactly(k, room, size, HEADER_SIZE + (at - k->from), error);
		if (status == SETT_OK)
			status = history_reserve(k->history, size);
		if (status == SETT_OK) {
			history_append(k->history, bytes_of(room, size));
			sum = crc64(sum, bytes_of(room, size));
		}
		at += size;
	}
	free(room);
	return status == SETT_OK && sum != k->sum ? SETT_NOT_FOUND : status;
}

int
kept_history_take(struct history *h, const struct stream_position *position, struct sett_error *error)
{
	struct kept k = {.history = h};
	struct sett_error ignored;
	int status = name_file(&k, "", k.path, error);
	if (status == SETT_OK)
		status = vfs_open(h->vfs, k.path, VFS_READ | VFS_SEALED, &k.file, error);
	if (status != SETT_OK)
		return status;
	status = read_header(&k, position, error);
	if (status == SETT_OK)
		status = fill(&k, error);
	(void)vfs_close(k.file, &ignored); /* it was read alone */
	if (status != SETT_OK)
		history_restart(h, position->offset);
	/* What follows is another position: it is of no use any more. */
	int removed = vfs_remove(h->vfs, k.path, error);
	return status == SETT_OK ? removed : status;
}
