/* What the table of types wants of streams: their names, copies and digests, groups included. */
#include "keyspace/build.h"
#include "keyspace/view_reads.h"
#include "storage/base/varint.h"
#include "types/digest.h"
#include "types/stream_groups.h"

static const struct stream_id last_possible = {UINT64_MAX, UINT64_MAX};

const char *
stream_encoding_name(const struct root *root)
{
	(void)root;
	return "stream";
}

/* All that belongs to the object, under another one. */
static int
copy_elements(const struct key *from, struct keyspace_view *elements, uint64_t epoch, uint64_t object)
{
	uint8_t prefix[ELEMENT_PREFIX_SIZE], end[ELEMENT_PREFIX_SIZE];
	struct sett_iterator *iterator;
	struct buffer key = {0};
	keyspace_element_prefix(prefix, from->epoch, from->root.object);
	keyspace_element_prefix(end, from->epoch, from->root.object + 1);
	struct sett_iterator_options options = {.lower = bytes_of(prefix, sizeof(prefix)),
						.upper = bytes_of(end, sizeof(end))};
	int status = sett_iterator_open(from->view->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	keyspace_element_prefix(prefix, epoch, object);
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct bytes name = sett_iterator_key(iterator);
		struct sett_record record;
		status = sett_iterator_record(iterator, &record);
		buffer_clear(&key);
		if (status == SETT_OK)
			status = buffer_append(&key, prefix, sizeof(prefix));
		if (status == SETT_OK)
			status = buffer_append(&key, name.data + sizeof(prefix), name.size - sizeof(prefix));
		struct sett_put put = {.head = record.head, .body_of = &record};
		if (status == SETT_OK)
			status = sett_txn_put(elements->txn, buffer_bytes(&key), &put);
		if (status == SETT_OK)
			status = build_step(elements, key.size + record.body_size);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	buffer_free(&key);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
stream_copy(const struct key *from, struct key *to)
{
	const struct root *root = &from->root;
	struct keyspace_view *elements;
	struct bytes body;
	uint64_t object;
	if (root->object == 0)
		return key_copy_packed(from, to);
	int status = build_begin(to->view, to->epoch, &object, &elements);
	if (status == SETT_OK)
		status = copy_elements(from, elements, to->epoch, object);
	if (status == SETT_OK)
		status = build_finish(to->view, elements);
	if (status == SETT_OK)
		status = key_body(from, &body);
	if (status != SETT_OK)
		return status;
	struct root_content content = {.type = VALUE_STREAM,
				       .encoding = root->encoding,
				       .expires_at = root->expires_at,
				       .object = object,
				       .object_bytes = root->object_bytes,
				       .fields = root->fields,
				       .value = body};
	return key_put(to, &content);
}

/* ---- digests ---- */

enum { MIX_ID = 1, MIX_TEXT, MIX_NUMBER, MIX_GROUP, MIX_CONSUMER };

static void
mix_id(struct digest *digest, struct stream_id id)
{
	uint8_t text[16];
	put_be64(text, id.ms);
	put_be64(text + 8, id.seq);
	digest_mix(digest, MIX_ID, bytes_of(text, sizeof(text)));
}

static void
mix_number(struct digest *digest, uint64_t number)
{
	uint8_t text[8];
	put_be64(text, number);
	digest_mix(digest, MIX_NUMBER, bytes_of(text, sizeof(text)));
}

static int
mix_entry(struct digest *digest, struct stream_entry *entry)
{
	struct bytes text;
	mix_id(digest, entry->id);
	while (entry->texts > 0) {
		int status = stream_entry_text(entry, &text);
		if (status != SETT_OK)
			return status;
		digest_mix(digest, MIX_TEXT, text);
	}
	return SETT_OK;
}

static int
mix_entries(struct digest *digest, struct stream *s)
{
	struct stream_walk walk;
	struct stream_entry entry;
	int status = stream_read_body(s);
	if (status != SETT_OK)
		return status;
	struct view_reads reads = view_reads_mark(s->key->view);
	stream_walk(s, (struct stream_id){0}, last_possible, false, &walk);
	while ((status = stream_walk_next(&walk, &entry)) == SETT_OK) {
		status = mix_entry(digest, &entry);
		if (status != SETT_OK)
			break;
		if (stream_walk_is_between(&walk) && view_reads_are_many(&reads))
			view_reads_forget(&reads);
	}
	stream_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
mix_pending(struct digest *digest, struct stream_group *g)
{
	struct stream_pending_walk walk;
	struct stream_pending pending;
	struct view_reads reads = view_reads_mark(g->stream->key->view);
	int status = stream_pending_walk(g, NULL, (struct stream_id){0}, last_possible, &walk);
	while (status == SETT_OK && (status = stream_pending_walk_next(&walk, &pending)) == SETT_OK) {
		mix_id(digest, pending.id);
		digest_mix(digest, MIX_CONSUMER, pending.consumer);
		mix_number(digest, pending.delivered);
		mix_number(digest, pending.count);
		if (view_reads_are_many(&reads))
			view_reads_forget(&reads);
	}
	stream_pending_walk_close(&walk);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
mix_group(struct digest *digest, struct stream_group *g)
{
	struct stream_consumer *consumer;
	struct bytes *names;
	size_t count;
	digest_mix(digest, MIX_GROUP, g->name);
	mix_id(digest, g->last);
	mix_number(digest, g->read);
	int status = mix_pending(digest, g);
	if (status == SETT_OK)
		status = stream_consumer_names(g, &names, &count);
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < count; i++) {
		g->used = NULL; /* so that the search of the next is short */
		status = stream_consumer_find(g, names[i], &consumer);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		/* When it was last seen is not told to replicas, so it is no part of what they must share. */
		digest_mix(digest, MIX_CONSUMER, names[i]);
		mix_number(digest, consumer->pending);
	}
	return SETT_OK;
}

int
stream_digest(struct key *key, struct digest *digest)
{
	struct stream s;
	struct bytes *names;
	size_t count;
	int status = stream_open(key, 0, &s);
	if (status != SETT_OK)
		return status;
	mix_id(digest, s.last);
	mix_id(digest, s.deleted);
	mix_number(digest, s.added);
	status = mix_entries(digest, &s);
	if (status == SETT_OK)
		status = stream_group_names(&s, &names, &count);
	if (status != SETT_OK)
		return status;
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		struct stream_group g;
		status = stream_group_open(&s, names[i], &g);
		if (status == SETT_OK)
			status = mix_group(digest, &g);
		else if (status == SETT_NOT_FOUND)
			status = SETT_CORRUPT;
	}
	return status;
}
