/* Long strings as replies; see string_source.h. */
#include "txn/string_source.h"

#include <inttypes.h>
#include <stdio.h>

#include "net/reply_source.h"
#include "txn/snapshot_source.h"

int
string_rest_read(struct string_rest *p, struct keyspace_view *view, struct resp_writer *piece, size_t enough)
{
	struct key k;
	size_t size = p->end - p->at < enough ? (size_t)(p->end - p->at) : enough;
	if (size == 0)
		return SETT_NOT_FOUND;
	if (!resp_reserve(piece, size))
		return SETT_NO_MEMORY;
	int status = key_open_place(view, &p->place, &k);
	if (status == SETT_OK && k.root.body_size < p->end)
		status = SETT_CORRUPT;
	if (status == SETT_OK)
		status = key_body_part(&k, p->at, size, piece->data + piece->size);
	if (status != SETT_OK)
		return status;
	piece->size += size;
	p->at += size;
	return SETT_OK;
}

struct string_reader {
	struct snapshot_reader reader; /* first: the two have one address */
	struct string_rest rest;
};

static void
free_reader(struct snapshot_reader *reader)
{
	struct string_reader *r = (struct string_reader *)reader;
	buffer_free(&r->rest.place.engine_key);
	free(r);
}

static int
read_bytes(struct snapshot_reader *reader, struct keyspace_view *view, struct resp_writer *piece,
	   size_t enough)
{
	return string_rest_read(&((struct string_reader *)reader)->rest, view, piece, enough);
}

int
context_reply_chunks(struct command_context *c, const struct key *k, uint64_t offset, uint64_t size)
{
	char header[RESP_INTEGER_MAX_SIZE + 4];
	size_t before = c->reply->size;
	struct string_reader *r = malloc(sizeof(*r));
	if (r == NULL)
		return SETT_NO_MEMORY;
	*r = (struct string_reader){.reader = {.next = read_bytes, .free = free_reader},
				    .rest = {.at = offset, .end = offset + size}};
	int status = key_place_of(k, &r->rest.place);
	if (status == SETT_OK) {
		int length = snprintf(header, sizeof(header), "$%" PRIu64 "\r\n", size);
		resp_raw(c->reply, header, (size_t)length);
		status = context_reply_snapshot(c, &r->reader, size);
	}
	if (status != SETT_OK) {
		resp_truncate(c->reply, before);
		free_reader(&r->reader);
	}
	return status;
}
