/* Elements go through the types' own interfaces one by one, so a value is stored as commands would have made it. */
#include "rdb/store_value.h"

#include "storage/base/hash.h"

/* Whether an element may have come before. */
static bool
may_be_there(struct value_store *v, struct bytes name)
{
	return seen_add(v->seen, hash64_bytes(name, 0));
}

static int
store_string(struct value_store *v)
{
	struct rdb_element string, more;
	int status = rdb_reader_next(v->reader, &string);
	if (status == SETT_OK)
		status = key_put_string(v->key, string.name, v->key->new_deadline);
	return status == SETT_OK ? rdb_reader_next(v->reader, &more) : status;
}

static int
store_hash(struct value_store *v)
{
	struct hash h;
	struct rdb_element field;
	int status = hash_open(v->key, &v->limits->hash, &h);
	while (status == SETT_OK && (status = rdb_reader_next(v->reader, &field)) == SETT_OK) {
		uint64_t before = h.count;
		if (may_be_there(v, field.name))
			status = hash_put(&h, field.name, field.value, field.deadline, NULL);
		else
			status = hash_put_over(&h, field.name, field.value, field.deadline, NULL);
		if (status == SETT_OK && h.count == before)
			status = RDB_MALFORMED; /* the field came twice */
	}
	if (status != SETT_NOT_FOUND)
		return status;
	status = hash_save(&h);
	return status == SETT_OK ? SETT_NOT_FOUND : status;
}

static int
store_list(struct value_store *v)
{
	struct list list;
	struct rdb_element element;
	int status = list_open(v->key, v->limits->run_size, &list);
	while (status == SETT_OK && (status = rdb_reader_next(v->reader, &element)) == SETT_OK)
		status = list_push(&list, LIST_BACK, element.name);
	if (status != SETT_NOT_FOUND)
		return status;
	status = list_save(&list);
	return status == SETT_OK ? SETT_NOT_FOUND : status;
}

static int
store_set(struct value_store *v)
{
	struct hash set;
	struct rdb_element member;
	bool existed = false;
	int status = set_open(v->key, &v->limits->set, &set);
	while (status == SETT_OK && (status = rdb_reader_next(v->reader, &member)) == SETT_OK) {
		if (may_be_there(v, member.name))
			status = set_add(&set, member.name, &existed);
		else
			status = set_add_new(&set, member.name);
		if (status == SETT_OK && existed)
			status = RDB_MALFORMED; /* the member came twice */
	}
	if (status != SETT_NOT_FOUND)
		return status;
	status = hash_save(&set);
	return status == SETT_OK ? SETT_NOT_FOUND : status;
}

static int
store_zset(struct value_store *v)
{
	struct hash members;
	struct zset z;
	struct rdb_element member;
	int status = zset_open(v->key, &v->limits->zset, &members, &z);
	while (status == SETT_OK && (status = rdb_reader_next(v->reader, &member)) == SETT_OK) {
		struct zset_member old;
		status = may_be_there(v, member.name) ? zset_find(&z, member.name, &old) : SETT_NOT_FOUND;
		if (status == SETT_OK)
			status = RDB_MALFORMED; /* the member came twice */
		else if (status == SETT_NOT_FOUND)
			status = zset_put(&z, member.name, member.score, NULL);
	}
	if (status != SETT_NOT_FOUND)
		return status;
	status = zset_save(&z);
	return status == SETT_OK ? SETT_NOT_FOUND : status;
}

/* SETT_NOT_FOUND: all is read and stored. */
static int (*const stores[VALUE_TYPE_END])(struct value_store *) = {
	[VALUE_STRING] = store_string, [VALUE_LIST] = store_list, [VALUE_SET] = store_set,
	[VALUE_ZSET] = store_zset,     [VALUE_HASH] = store_hash, [VALUE_STREAM] = rdb_store_stream,
};

struct rdb_limits
rdb_limits_of(const struct config *config)
{
	return (struct rdb_limits){.hash = limits_of_hashes(config),
				   .zset = limits_of_zsets(config),
				   .set = limits_of_sets(config),
				   .run_size = limits_of_runs(config)};
}

int
rdb_store_value(struct rdb_reader *reader, const struct rdb_limits *limits, struct seen *seen, struct key *k)
{
	struct value_store v = {.reader = reader, .limits = limits, .seen = seen, .key = k};
	assert(!k->exists && (unsigned)reader->type < VALUE_TYPE_END);
	bool has_names =
		reader->type == VALUE_HASH || reader->type == VALUE_SET || reader->type == VALUE_ZSET;
	int status = has_names ? seen_begin(seen, rdb_reader_elements(reader)) : SETT_OK;
	if (status == SETT_OK)
		status = stores[reader->type](&v);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
