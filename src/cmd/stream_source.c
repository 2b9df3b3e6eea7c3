/* XRANGE, XREVRANGE and XREAD of many entries: they are read while the reply is sent, from the snapshot of the command's
 * transaction. */
#include "cmd/streams.h"
#include "txn/snapshot_source.h"

struct stream_reader {
	struct snapshot_reader reader; /* first: the two have one address */
	struct stream stream;          /* as the command opened it; its body is ours */
	uint64_t epoch;
	struct stream_id from, to; /* of the entries to come */
	bool backward;
	uint64_t left;
	uint8_t body[];
};

static void
free_reader(struct snapshot_reader *reader)
{
	free(reader);
}

/* The entry, but for the end of its last line. */
static int
append_entry(struct stream_reader *r, struct resp_writer *piece, const struct stream_entry *entry)
{
	snapshot_reader_separate(&r->reader, piece);
	int status = write_stream_entry(piece, entry);
	resp_truncate(piece, piece->size - 2);
	return status;
}

static int
read_entries(struct snapshot_reader *reader, struct keyspace_view *view, struct resp_writer *piece,
	     size_t enough)
{
	struct stream_reader *r = (struct stream_reader *)reader;
	struct key key;
	struct stream s = r->stream;
	struct stream_walk walk;
	struct stream_entry entry;
	int status = SETT_OK;
	if (r->left == 0)
		return SETT_NOT_FOUND;
	stream_go_on(view, r->epoch, &key, &s);
	stream_walk(&s, r->from, r->to, r->backward, &walk);
	while (r->left > 0 && piece->size < enough && !piece->failed) {
		status = stream_walk_next(&walk, &entry);
		if (status == SETT_OK)
			status = append_entry(r, piece, &entry);
		if (status != SETT_OK)
			break;
		r->left--;
		/* What follows; if there is no such id, nothing does. */
		if (r->backward ? !stream_id_decrease(&entry.id) : !stream_id_increase(&entry.id))
			r->left = 0;
		*(r->backward ? &r->to : &r->from) = entry.id;
	}
	stream_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
reply_stream_source(struct command_context *c, struct stream *s, const struct stream_id range[2],
		    bool backward, uint64_t count)
{
	int status = stream_read_body(s);
	if (status != SETT_OK)
		return status;
	struct stream_reader *r = malloc(sizeof(*r) + s->body.size);
	if (r == NULL)
		return SETT_NO_MEMORY;
	*r = (struct stream_reader){.reader = {.next = read_entries, .free = free_reader},
				    .stream = *s,
				    .epoch = s->key->epoch,
				    .from = range[0],
				    .to = range[1],
				    .backward = backward,
				    .left = count};
	if (s->body.size > 0)
		memcpy(r->body, s->body.data, s->body.size);
	r->stream.body.data = r->body;
	status = context_reply_snapshot(c, &r->reader, s->count > 0 ? s->object_bytes / s->count * count : 0);
	if (status != SETT_OK)
		free_reader(&r->reader);
	return status;
}
