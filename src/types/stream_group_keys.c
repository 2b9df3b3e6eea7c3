/* Keys and records of groups; see stream_groups_private.h. */
#include "types/stream_groups_private.h"

#include "storage/base/varint.h"

void
group_key_begin(const struct stream *s, unsigned kind, struct group_key *k)
{
	keyspace_element_prefix(k->bytes, s->key->epoch, s->object);
	k->bytes[ELEMENT_PREFIX_SIZE] = (uint8_t)kind;
	k->size = ELEMENT_PREFIX_SIZE + 1;
}

void
group_key_add_number(struct group_key *k, uint64_t number)
{
	put_be64(k->bytes + k->size, number);
	k->size += 8;
}

void
group_key_add_id(struct group_key *k, struct stream_id id)
{
	group_key_add_number(k, id.ms);
	group_key_add_number(k, id.seq);
}

void
group_key_add_name(struct group_key *k, struct bytes name)
{
	assert(name.size <= STREAM_NAME_MAX);
	if (name.size > 0)
		memcpy(k->bytes + k->size, name.data, name.size);
	k->size += name.size;
}

void
group_key_of_group(const struct stream *s, struct bytes name, struct group_key *k)
{
	group_key_begin(s, KIND_GROUP, k);
	group_key_add_name(k, name);
}

void
group_key_of_consumer(const struct stream_group *g, struct bytes name, struct group_key *k)
{
	group_key_begin(g->stream, KIND_CONSUMER, k);
	group_key_add_number(k, g->number);
	group_key_add_name(k, name);
}

int
group_put_numbers(const struct stream *s, const struct group_key *k, const uint64_t *numbers, size_t count,
		  struct bytes body)
{
	uint8_t head[GROUP_FIELDS_MAX * VARINT_MAX_SIZE], *p = head;
	for (size_t i = 0; i < count; i++)
		p = varint_put(p, numbers[i]);
	struct sett_put put = {.head = bytes_of(head, (size_t)(p - head)), .body = body};
	return sett_txn_put(s->elements->txn, bytes_of(k->bytes, k->size), &put);
}

int
group_read_numbers(const struct sett_record *record, uint64_t *ret, size_t count)
{
	const uint8_t *p = record->head.data, *end = p + record->head.size;
	for (size_t i = 0; i < count && p != NULL; i++)
		p = varint_get(p, end, &ret[i]);
	return p == end ? SETT_OK : SETT_CORRUPT;
}

int
group_get_numbers(const struct stream *s, const struct group_key *k, uint64_t *ret, size_t count,
		  struct sett_record *ret_record)
{
	int status = sett_txn_get(s->elements->txn, bytes_of(k->bytes, k->size), ret_record);
	return status == SETT_OK ? group_read_numbers(ret_record, ret, count) : status;
}

int
group_delete_key(const struct stream *s, const struct group_key *k)
{
	return sett_txn_delete(s->elements->txn, bytes_of(k->bytes, k->size));
}

int
group_list_keys(const struct stream *s, const struct group_key *lower, const struct group_key *upper,
		size_t skip, uint64_t most, struct bytes **ret, size_t *ret_count)
{
	struct arena *arena = s->key->view->arena;
	struct sett_iterator *iterator;
	struct bytes *list = NULL;
	size_t count = 0, capacity = 0;
	struct sett_iterator_options options = {.lower = bytes_of(lower->bytes, lower->size),
						.upper = bytes_of(upper->bytes, upper->size)};
	int status = sett_iterator_open(s->elements->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	status = most > 0 ? sett_iterator_first(iterator) : SETT_NOT_FOUND;
	while (status == SETT_OK) {
		struct bytes key = sett_iterator_key(iterator);
		if (count == capacity) {
			capacity = capacity > 0 ? 2 * capacity : 16;
			struct bytes *more =
				arena_allocate(arena, capacity * sizeof(*more), _Alignof(struct bytes));
			if (more != NULL && count > 0)
				memcpy(more, list, count * sizeof(*more));
			list = more;
		}
		const void *copy = arena_copy(arena, key.data + skip, key.size - skip);
		if (list == NULL || copy == NULL) {
			status = SETT_NO_MEMORY;
			break;
		}
		list[count++] = bytes_of(copy, key.size - skip);
		status = count < most ? sett_iterator_next(iterator) : SETT_NOT_FOUND;
	}
	sett_iterator_close(iterator);
	*ret = list;
	*ret_count = count;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

void
group_key_after(const struct group_key *k, struct group_key *ret)
{
	*ret = *k;
	while (ret->size > 0 && ++ret->bytes[ret->size - 1] == 0)
		ret->size--;
}
