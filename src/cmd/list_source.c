/* LRANGE of many elements: they are read while the reply is sent, from the snapshot of the command's transaction. */
#include "cmd/lists.h"
#include "txn/snapshot_source.h"

struct list_reader {
	struct snapshot_reader reader; /* first: the two have one address */
	struct list list;              /* as the command opened it; its body is ours */
	uint64_t index, left;          /* the next element; elements to come */
	uint8_t body[];
};

static void
free_reader(struct snapshot_reader *reader)
{
	free(reader);
}

static int
read_elements(struct snapshot_reader *reader, struct keyspace_view *view, struct resp_writer *piece,
	      size_t enough)
{
	struct list_reader *r = (struct list_reader *)reader;
	struct key key;
	struct list l = r->list;
	struct list_walk walk;
	struct list_element element;
	int status = SETT_OK;
	if (r->left == 0)
		return SETT_NOT_FOUND;
	list_go_on(view, &key, &l);
	list_walk(&l, r->index, false, &walk);
	while (status == SETT_OK && r->left > 0 && piece->size < enough && reader->body == NULL &&
	       !piece->failed) {
		status = list_walk_next(&walk, &element);
		if (status == SETT_OK && element.is_raw)
			status = snapshot_reader_record(reader, view, &element.record, 0, piece);
		else if (status == SETT_OK)
			snapshot_reader_bulk(reader, piece, element.value);
		r->index++;
		r->left--;
	}
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

int
reply_list_source(struct command_context *c, struct list *l, uint64_t index, uint64_t count, uint64_t size)
{
	int status = list_read_body(l);
	if (status != SETT_OK)
		return status;
	struct list_reader *r = malloc(sizeof(*r) + l->body.size);
	if (r == NULL)
		return SETT_NO_MEMORY;
	*r = (struct list_reader){.reader = {.next = read_elements, .free = free_reader},
				  .list = *l,
				  .index = index,
				  .left = count};
	if (l->body.size > 0)
		memcpy(r->body, l->body.data, l->body.size);
	r->list.body.data = r->body;
	status = context_reply_snapshot(c, &r->reader, size);
	if (status != SETT_OK)
		free_reader(&r->reader);
	return status;
}
