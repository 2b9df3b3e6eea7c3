/* HGETALL, HKEYS and HVALS of a large hash: fields are read while the reply is sent, from the snapshot of the
 * command's transaction. */
#include "cmd/hashes.h"
#include "txn/snapshot_source.h"

struct hash_reader {
	struct snapshot_reader reader; /* first: the two have one address */
	uint64_t epoch, object;
	uint64_t left; /* fields to come */
	unsigned parts;
	/* The last field that was read, to go on after it. */
	bool has_place;
	uint32_t hash;
	struct buffer stored;
};

static void
free_reader(struct snapshot_reader *reader)
{
	struct hash_reader *r = (struct hash_reader *)reader;
	buffer_free(&r->stored);
	free(r);
}

/* As resp_bulk, without its line end. */
static void
append_bulk(struct hash_reader *r, struct resp_writer *piece, struct bytes data)
{
	snapshot_reader_separate(&r->reader, piece);
	resp_bulk(piece, data.data, data.size);
	if (!piece->failed)
		resp_truncate(piece, piece->size - 2);
}

/* A large value follows the piece as a stream, if it can be one. */
static int
append_value(struct hash_reader *r, struct hash *h, const struct hash_field *field, struct resp_writer *piece)
{
	struct bytes value;
	int status = SETT_INVALID;
	if (field->value_size >= CONTEXT_STREAM_MIN)
		status = sett_body_stream_open(h->key->view->txn, &field->member.record,
					       field->member.name_size, field->value_size, &r->reader.body);
	if (status == SETT_OK) {
		char header[32];
		int size =
			snprintf(header, sizeof(header), "$%llu\r\n", (unsigned long long)field->value_size);
		snapshot_reader_separate(&r->reader, piece);
		resp_raw(piece, header, (size_t)size);
		return SETT_OK;
	}
	if (status != SETT_INVALID)
		return status;
	status = hash_value(h, field, &value);
	if (status == SETT_OK)
		append_bulk(r, piece, value);
	return status;
}

static int
append_field(struct hash_reader *r, struct hash *h, const struct hash_field *field, struct resp_writer *piece)
{
	if (r->left == 0)
		return SETT_CORRUPT;
	r->left--;
	if ((r->parts & HASH_NAMES) != 0)
		append_bulk(r, piece, field->name);
	int status = (r->parts & HASH_VALUES) != 0 ? append_value(r, h, field, piece) : SETT_OK;
	buffer_clear(&r->stored);
	r->hash = field->member.hash;
	r->has_place = true;
	return status == SETT_OK
		? buffer_append(&r->stored, field->member.stored.data, field->member.stored.size)
		: status;
}

static int
read_fields(struct snapshot_reader *reader, struct keyspace_view *view, struct resp_writer *piece,
	    size_t enough)
{
	struct hash_reader *r = (struct hash_reader *)reader;
	struct key key;
	struct hash h;
	struct hash_walk walk;
	struct hash_field field;
	hash_of_object(view, r->epoch, r->object, &key, &h);
	int status = hash_walk(&h, &walk);
	if (status != SETT_OK)
		return status;
	if (r->has_place)
		status = hash_walk_resume(&walk, r->hash, buffer_bytes(&r->stored));
	while (status == SETT_OK && piece->size < enough && reader->body == NULL && !piece->failed) {
		status = hash_walk_next(&walk, &field);
		if (status == SETT_OK)
			status = append_field(r, &h, &field, piece);
	}
	hash_walk_close(&walk);
	if (status == SETT_NOT_FOUND && r->left != 0)
		status = SETT_CORRUPT;
	return status;
}

int
reply_hash_source(struct command_context *c, const struct open_hash *h, unsigned parts, uint64_t count)
{
	struct hash_reader *r = malloc(sizeof(*r));
	if (r == NULL)
		return SETT_NO_MEMORY;
	*r = (struct hash_reader){.reader = {.next = read_fields, .free = free_reader},
				  .epoch = h->key.epoch,
				  .object = h->hash.object,
				  .left = count,
				  .parts = parts};
	/* How much of the hash its names are is not known. */
	uint64_t size = (parts & HASH_VALUES) != 0 ? h->hash.object_bytes : 0;
	int status = context_reply_snapshot(c, &r->reader, size);
	if (status != SETT_OK)
		free_reader(&r->reader);
	return status;
}
