/* All fields of a large hash, and what large sets make together: they are read while the reply is sent, from the
 * snapshot of the command's transaction. */
#include "cmd/hashes.h"
#include "txn/snapshot_source.h"

/* A hash as it is found again in the snapshot. */
struct source_hash {
	struct hash_origin origin; /* object 0: packed */
	struct buffer body;        /* then a copy of it */
};

struct hash_reader {
	struct snapshot_reader reader; /* first: the two have one address */
	uint64_t left;                 /* fields to come */
	unsigned parts;
	/* After the last field that was read. */
	bool has_place;
	struct set_place place;
	struct buffer stored; /* the place's */
	enum set_operation operation;
	size_t count;
	struct source_hash hashes[];
};

static void
free_reader(struct snapshot_reader *reader)
{
	struct hash_reader *r = (struct hash_reader *)reader;
	for (size_t i = 0; i < r->count; i++)
		buffer_free(&r->hashes[i].body);
	buffer_free(&r->stored);
	free(r);
}

static int
append_value(struct hash_reader *r, struct hash *h, const struct hash_field *field, struct resp_writer *piece)
{
	struct bytes value;
	if (field->is_spread)
		return snapshot_reader_record(&r->reader, h->key->view, &field->member.record,
					      field->member.name_size, piece);
	int status = hash_value(h, field, &value);
	if (status == SETT_OK)
		snapshot_reader_bulk(&r->reader, piece, value);
	return status;
}

static int
append_field(struct hash_reader *r, const struct set_result *result, const struct hash_field *field,
	     struct resp_writer *piece)
{
	if (r->left == 0)
		return SETT_CORRUPT;
	r->left--;
	if ((r->parts & HASH_NAMES) != 0)
		snapshot_reader_bulk(&r->reader, piece, field->name);
	int status = SETT_OK;
	if ((r->parts & HASH_VALUES) != 0)
		status = append_value(r, result->sets[result->at], field, piece);
	if (status != SETT_OK)
		return status;
	set_result_place(result, field, &r->place);
	r->has_place = true;
	buffer_clear(&r->stored);
	status = buffer_append(&r->stored, r->place.stored.data, r->place.stored.size);
	r->place.stored = buffer_bytes(&r->stored);
	return status;
}

/* The hashes, for a piece that is read in this view. NULL: no memory. */
static struct hash **
find_hashes(const struct hash_reader *r, struct keyspace_view *view)
{
	struct hash **pointers =
		arena_allocate(view->arena, r->count * sizeof(*pointers), _Alignof(struct hash *));
	struct open_hash *hashes =
		arena_allocate(view->arena, r->count * sizeof(*hashes), _Alignof(struct open_hash));
	if (pointers == NULL || hashes == NULL)
		return NULL;
	for (size_t i = 0; i < r->count; i++) {
		const struct source_hash *source = &r->hashes[i];
		pointers[i] = &hashes[i].hash;
		if (source->origin.object != 0)
			hash_of_object(view, &source->origin, &hashes[i].key, &hashes[i].hash);
		else
			hash_of_body(view, buffer_bytes(&source->body), &hashes[i].key, &hashes[i].hash);
	}
	return pointers;
}

static int
read_fields(struct snapshot_reader *reader, struct keyspace_view *view, struct resp_writer *piece,
	    size_t enough)
{
	struct hash_reader *r = (struct hash_reader *)reader;
	struct set_result result;
	struct hash_field field;
	struct hash **hashes = find_hashes(r, view);
	if (hashes == NULL)
		return SETT_NO_MEMORY;
	set_result_init(&result, r->operation, hashes, r->count);
	int status = r->has_place ? set_result_resume(&result, &r->place) : SETT_OK;
	while (status == SETT_OK && piece->size < enough && reader->body == NULL && !piece->failed) {
		status = set_result_next(&result, &field);
		if (status == SETT_OK)
			status = append_field(r, &result, &field, piece);
	}
	set_result_close(&result);
	if (status == SETT_NOT_FOUND && r->left != 0)
		status = SETT_CORRUPT;
	return status;
}

static int
note_hash(struct hash *h, struct source_hash *ret)
{
	struct bytes body;
	hash_origin(h, &ret->origin);
	if (h->object != 0)
		return SETT_OK;
	int status = hash_body(h, &body);
	return status == SETT_OK ? buffer_append(&ret->body, body.data, body.size) : status;
}

int
reply_result_source(struct command_context *c, enum set_operation operation, struct hash *const *hashes,
		    size_t hash_count, unsigned parts, uint64_t count)
{
	struct hash_reader *r = calloc(1, sizeof(*r) + hash_count * sizeof(r->hashes[0]));
	if (r == NULL)
		return SETT_NO_MEMORY;
	*r = (struct hash_reader){.reader = {.next = read_fields, .free = free_reader},
				  .left = count,
				  .parts = parts,
				  .operation = operation};
	/* How much of a hash its names are is not known. */
	uint64_t size = (parts & HASH_VALUES) != 0 ? hashes[0]->object_bytes : 0;
	int status = SETT_OK;
	for (; r->count < hash_count && status == SETT_OK; r->count++)
		status = note_hash(hashes[r->count], &r->hashes[r->count]);
	if (status == SETT_OK)
		status = context_reply_snapshot(c, &r->reader, size);
	if (status != SETT_OK)
		free_reader(&r->reader);
	return status;
}

int
reply_hash_source(struct command_context *c, struct open_hash *h, unsigned parts, uint64_t count)
{
	struct hash *hash = &h->hash;
	return reply_result_source(c, SET_UNION, &hash, 1, parts, count);
}
