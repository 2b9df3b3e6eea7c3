/* Large ranges of sorted sets: elements are read while the reply is sent, from the snapshot of the command's
 * transaction. */
#include "cmd/zsets.h"
#include "txn/snapshot_source.h"

struct zset_reader {
	struct snapshot_reader reader; /* first: the two have one address */
	uint64_t epoch, object;
	uint8_t top[RANKED_SAVED_MAX]; /* of the set's tree */
	size_t top_size;
	struct zset_range range; /* `count`: elements to come */
	bool with_scores;
	bool nested; /* an element with its score is an array */
	int protocol;
	/* The last element that was read, by its key in the tree, to go on after it. */
	bool has_place;
	struct buffer key;
};

static void
free_reader(struct snapshot_reader *reader)
{
	struct zset_reader *r = (struct zset_reader *)reader;
	buffer_free(&r->key);
	free(r);
}

/* Without the last line end. */
static void
append_element(struct zset_reader *r, struct resp_writer *piece, const struct zset_element *element)
{
	snapshot_reader_separate(&r->reader, piece);
	piece->protocol = r->protocol;
	if (r->nested)
		resp_array(piece, 2);
	resp_bulk(piece, element->name.data, element->name.size);
	if (r->with_scores)
		resp_double(piece, element->score);
	if (!piece->failed)
		resp_truncate(piece, piece->size - 2);
}

static int
next_element(struct zset_reader *r, struct zset_walk *walk, struct resp_writer *piece)
{
	struct zset_element element;
	int status = zset_walk_next(walk, &element);
	if (status != SETT_OK)
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	append_element(r, piece, &element);
	r->range.count--;
	r->has_place = true;
	struct bytes key = zset_walk_key(walk);
	buffer_clear(&r->key);
	return buffer_append(&r->key, key.data, key.size);
}

static int
read_elements(struct snapshot_reader *reader, struct keyspace_view *view, struct resp_writer *piece,
	      size_t enough)
{
	struct zset_reader *r = (struct zset_reader *)reader;
	struct key key;
	struct hash hash;
	struct zset z;
	struct zset_walk walk;
	int status =
		zset_of_object(view, r->epoch, r->object, bytes_of(r->top, r->top_size), &key, &hash, &z);
	if (status != SETT_OK)
		return status;
	zset_walk(&z, r->range.start, r->range.backwards, &walk);
	if (r->has_place)
		status = zset_walk_resume(&walk, buffer_bytes(&r->key));
	while (status == SETT_OK && piece->size < enough && !piece->failed)
		status = r->range.count > 0 ? next_element(r, &walk, piece) : SETT_NOT_FOUND;
	zset_walk_close(&walk);
	return status;
}

int
reply_zset_source(struct command_context *c, const struct open_zset *z, const struct zset_range *range,
		  bool with_scores)
{
	struct zset_reader *r = malloc(sizeof(*r));
	struct bytes top = z->members.hash.tail;
	if (r == NULL)
		return SETT_NO_MEMORY;
	*r = (struct zset_reader){.reader = {.next = read_elements, .free = free_reader},
				  .epoch = z->members.key.epoch,
				  .object = z->members.hash.object,
				  .top_size = top.size,
				  .range = *range,
				  .with_scores = with_scores,
				  .nested = with_scores && c->protocol == 3,
				  .protocol = c->protocol};
	assert(top.size <= sizeof(r->top));
	memcpy(r->top, top.data, top.size);
	int status = context_reply_snapshot(c, &r->reader, 0);
	if (status != SETT_OK)
		free_reader(&r->reader);
	return status;
}
