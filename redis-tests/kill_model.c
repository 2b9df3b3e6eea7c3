#include "kill_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define WRITER_SHIFT 48

/* Sizes from both sides of the value log's threshold, few of them large; some so large that they go to the
 * value log as they come. */
static uint32_t
draw_size(struct random *random)
{
	static const uint32_t bounds[] = {200, 200, 200, 200, 200, 1200, 4096, 4096, 16384, 65536};
	if (random_below(random, 300) == 0)
		return KILL_VALUE_MAX / 4 + (uint32_t)random_below(random, KILL_VALUE_MAX / 4 * 3);
	uint32_t bound = bounds[random_below(random, sizeof(bounds) / sizeof(bounds[0]))];

	return CHUNK_MIN + (uint32_t)random_below(random, bound - CHUNK_MIN + 1);
}

struct kill_change
kill_change_draw(struct random *random, const struct kill_model *model, uint64_t version)
{
	static const enum kill_kind kinds[] = {
		KILL_SET,          KILL_SET,       KILL_SET,       KILL_SET,      KILL_SET,
		KILL_SET,          KILL_SET,       KILL_SET,       KILL_SET,      KILL_DEL,
		KILL_DEL,          KILL_APPEND,    KILL_APPEND,    KILL_APPEND,   KILL_INCR,
		KILL_INCR,         KILL_INCR,      KILL_BLOCK,     KILL_BLOCK,    KILL_SHARED_INCR,
		KILL_SHARED_BLOCK, KILL_FIELD_SET, KILL_FIELD_SET, KILL_FIELD_DEL};
	static const unsigned keys[] = {[KILL_SET] = KILL_STRINGS,
					[KILL_APPEND] = KILL_STRINGS,
					[KILL_DEL] = KILL_STRINGS,
					[KILL_INCR] = KILL_COUNTERS,
					[KILL_BLOCK] = KILL_BLOCKS,
					[KILL_FIELD_SET] = KILL_FIELDS,
					[KILL_FIELD_DEL] = KILL_FIELDS,
					[KILL_SHARED_INCR] = 1,
					[KILL_SHARED_BLOCK] = KILL_SHARED_BLOCKS};
	struct kill_change change = {.version = version};

	change.kind = kinds[random_below(random, sizeof(kinds) / sizeof(kinds[0]))];
	change.key = (unsigned)random_below(random, keys[change.kind]);
	change.size = draw_size(random);
	if (change.kind == KILL_FIELD_SET || change.kind == KILL_FIELD_DEL)
		change.old = model->fields[change.key];
	if (change.kind == KILL_APPEND && model->strings[change.key].count == KILL_CHUNKS_MAX)
		change.kind = KILL_SET;
	return change;
}

void
kill_model_apply(struct kill_model *model, const struct kill_change *change)
{
	struct kill_string *string = &model->strings[change->key];

	switch (change->kind) {
	case KILL_SET:
	case KILL_DEL:
		memset(string, 0, sizeof(*string));
		if (change->kind == KILL_DEL)
			break;
		/* fall through */
	case KILL_APPEND:
		string->sizes[string->count] = change->size;
		string->versions[string->count++] = change->version;
		break;
	case KILL_INCR:
		model->counters[change->key]++;
		break;
	case KILL_BLOCK:
		model->blocks[change->key] = change->version;
		break;
	case KILL_FIELD_SET:
		model->fields[change->key] = model->last_id = change->version;
		model->has_stream = 1;
		break;
	case KILL_FIELD_DEL:
		model->fields[change->key] = 0;
		model->has_stream = 1;
		break;
	case KILL_SHARED_INCR:
	case KILL_SHARED_BLOCK:
		break;
	}
}

bool
kill_model_equal(const struct kill_model *left, const struct kill_model *right)
{
	/* No padding, and what is unused is zero. */
	return memcmp(left, right, sizeof(*left)) == 0;
}

static uint64_t
newest(const struct kill_string *string)
{
	return string->count > 0 ? string->versions[string->count - 1] : 0;
}

void
kill_model_difference(const struct kill_model *expected, const struct kill_model *found, char *ret,
		      size_t size)
{
	snprintf(ret, size, "no difference");
	for (unsigned i = KILL_STRINGS; i-- > 0;)
		if (memcmp(&expected->strings[i], &found->strings[i], sizeof(found->strings[i])) != 0)
			snprintf(ret, size,
				 "string %u has %u chunks up to version %" PRIu64 "; %u up to %" PRIu64
				 " were acknowledged",
				 i, found->strings[i].count, newest(&found->strings[i]),
				 expected->strings[i].count, newest(&expected->strings[i]));
	for (unsigned i = 0; i < KILL_COUNTERS; i++)
		if (expected->counters[i] > found->counters[i])
			snprintf(ret, size, "counter %u is %" PRIu64 ", %" PRIu64 " was acknowledged", i,
				 found->counters[i], expected->counters[i]);
	for (unsigned i = 0; i < KILL_BLOCKS; i++)
		if (expected->blocks[i] > found->blocks[i])
			snprintf(ret, size,
				 "block %u is of version %" PRIu64 ", %" PRIu64 " was acknowledged", i,
				 found->blocks[i], expected->blocks[i]);
	for (unsigned i = 0; i < KILL_FIELDS; i++)
		if (expected->fields[i] != found->fields[i])
			snprintf(ret, size,
				 "field %u is of version %" PRIu64 ", %" PRIu64 " was acknowledged", i,
				 found->fields[i], expected->fields[i]);
}

uint64_t
kill_model_keys(const struct kill_model *model)
{
	uint64_t keys = 0;
	bool collections = false;

	for (unsigned i = 0; i < KILL_FIELDS; i++)
		collections |= model->fields[i] > 0;
	keys += (collections ? KILL_STREAM : 0) + model->has_stream;
	for (unsigned i = 0; i < KILL_STRINGS; i++)
		keys += model->strings[i].count > 0;
	for (unsigned i = 0; i < KILL_COUNTERS; i++)
		keys += model->counters[i] > 0;
	for (unsigned i = 0; i < KILL_BLOCKS; i++)
		keys += model->blocks[i] > 0 ? KILL_PARTS : 0;
	return keys;
}

void
kill_key(unsigned writer, enum kill_kind kind, unsigned key, unsigned part, char ret[KILL_KEY_MAX])
{
	switch (kind) {
	case KILL_SET:
	case KILL_APPEND:
	case KILL_DEL:
		snprintf(ret, KILL_KEY_MAX, "w%u:string:%u", writer, key);
		break;
	case KILL_INCR:
		snprintf(ret, KILL_KEY_MAX, "w%u:counter:%u", writer, key);
		break;
	case KILL_BLOCK:
		snprintf(ret, KILL_KEY_MAX, "w%u:block:%u:%u", writer, key, part);
		break;
	case KILL_FIELD_SET:
	case KILL_FIELD_DEL:
		snprintf(ret, KILL_KEY_MAX, "w%u:hash:%u", writer, part);
		break;
	case KILL_SHARED_INCR:
		snprintf(ret, KILL_KEY_MAX, "shared:counter");
		break;
	case KILL_SHARED_BLOCK:
		snprintf(ret, KILL_KEY_MAX, "shared:block:%u:%u", key, part);
		break;
	}
}

uint64_t
kill_owner(unsigned writer, enum kill_kind kind, unsigned key, unsigned part)
{
	uint64_t group = kind == KILL_BLOCK ? 1 : kind == KILL_SHARED_BLOCK ? 2 : 0;

	return ((group * 10 + (group == 2 ? 0 : writer)) * 1000 + key) * 10 + part;
}

size_t
kill_part_size(uint32_t size, unsigned part)
{
	return part == 0 ? CHUNK_MIN : part == 1 ? CHUNK_MIN + (size - CHUNK_MIN) / 8 : size;
}

uint64_t
kill_version(unsigned writer, const struct kill_change *change)
{
	return change->kind == KILL_SHARED_BLOCK ? (uint64_t)writer << WRITER_SHIFT | change->version
						 : change->version;
}

unsigned
kill_version_writer(uint64_t version)
{
	return (unsigned)(version >> WRITER_SHIFT);
}

uint64_t
kill_version_number(uint64_t version)
{
	return version & ((UINT64_C(1) << WRITER_SHIFT) - 1);
}

bool
kill_string_read(unsigned writer, unsigned key, const char *data, size_t size, struct kill_string *ret)
{
	struct kill_string string = {0};

	while (size > 0) {
		uint64_t version;
		size_t whole = chunk_read(data, size, kill_owner(writer, KILL_SET, key, 0), &version);
		if (whole == 0 || string.count == KILL_CHUNKS_MAX)
			return false;
		string.sizes[string.count] = (uint32_t)whole;
		string.versions[string.count++] = version;
		data += whole;
		size -= whole;
	}
	*ret = string;
	return string.count > 0;
}

bool
kill_block_read(unsigned writer, enum kill_kind kind, unsigned key, const redisReply *reply,
		uint64_t *ret_version)
{
	uint64_t versions[KILL_PARTS] = {0};

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != KILL_PARTS)
		return false;
	for (unsigned part = 0; part < KILL_PARTS; part++) {
		const redisReply *value = reply->element[part];
		if (value->type == REDIS_REPLY_NIL)
			continue;
		if (value->type != REDIS_REPLY_STRING ||
		    chunk_read(value->str, (size_t)value->len, kill_owner(writer, kind, key, part),
			       &versions[part]) != (size_t)value->len)
			return false;
	}
	for (unsigned part = 1; part < KILL_PARTS; part++)
		if (versions[part] != versions[0])
			return false;
	*ret_version = versions[0];
	return true;
}

void
kill_field(const struct kill_change *change, char ret_name[KILL_FIELD_MAX], char ret_value[KILL_FIELD_MAX])
{
	snprintf(ret_name, KILL_FIELD_MAX, "%u", change->key);
	/* Long enough that a hash with most fields is larger than its root may be. */
	snprintf(ret_value, KILL_FIELD_MAX, "%" PRIu64 " of a field's value", change->version);
}

static bool
ask_for_all(redisContext *context, unsigned writer)
{
	char keys[KILL_PARTS][KILL_KEY_MAX];
	const char *get[] = {"GET", keys[0]}, *hash[] = {"HGETALL", keys[0]}, *set[] = {"SMEMBERS", keys[0]};
	const char *zset[] = {"ZRANGE", keys[0], "0", "-1", "WITHSCORES"};
	const char *list[] = {"LRANGE", keys[0], "0", "-1"};
	const char *stream[] = {"XRANGE", keys[0], "-", "+"}, *last[] = {"XINFO", "STREAM", keys[0]};
	const char *pending[] = {"XPENDING", keys[0], "g", "-", "+", "1000"};
	const char **const collections[] = {hash, hash, zset, set, list, stream, pending, last};
	static const int counts[] = {2, 2, 5, 2, 4, 4, 6, 3};
	const char *mget[1 + KILL_PARTS] = {"MGET", keys[0], keys[1], keys[2]};

	for (unsigned i = 0; i < KILL_STRINGS; i++) {
		kill_key(writer, KILL_SET, i, 0, keys[0]);
		if (!load_append(context, 2, get, NULL))
			return false;
	}
	for (unsigned i = 0; i < KILL_COUNTERS; i++) {
		kill_key(writer, KILL_INCR, i, 0, keys[0]);
		if (!load_append(context, 2, get, NULL))
			return false;
	}
	for (unsigned i = 0; i < KILL_BLOCKS; i++) {
		for (unsigned part = 0; part < KILL_PARTS; part++)
			kill_key(writer, KILL_BLOCK, i, part, keys[part]);
		if (!load_append(context, 1 + KILL_PARTS, mget, NULL))
			return false;
	}
	for (unsigned i = 0; i < KILL_COLLECTIONS; i++) {
		kill_key(writer, KILL_FIELD_SET, 0, i < KILL_STREAM ? i : KILL_STREAM, keys[0]);
		if (!load_append(context, counts[i], collections[i], NULL))
			return false;
	}
	return true;
}

static unsigned
field_of_version(const struct kill_model *model, uint64_t version)
{
	unsigned field = 0;
	while (field < KILL_FIELDS && model->fields[field] != version)
		field++;
	return field;
}

/* Entries of the stream, and those that are pending, in the order of their ids: one for each field. */
static bool
take_entries(bool are_pending, const redisReply *reply, const struct kill_model *model)
{
	uint64_t before = 0, count = 0;
	for (unsigned i = 0; i < KILL_FIELDS; i++)
		count += model->fields[i] != 0;
	if (are_pending && reply->type == REDIS_REPLY_ERROR)
		return strncmp(reply->str, "NOGROUP", 7) == 0 && count == 0;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		const redisReply *entry = reply->element[i];
		uint64_t version = strtoull(entry->element[0]->str, NULL, 10);
		unsigned field = field_of_version(model, version);
		if (version <= before || field == KILL_FIELDS)
			return false;
		before = version;
		if (!are_pending &&
		    (entry->element[1]->elements != 2 ||
		     strtoul(entry->element[1]->element[1]->str, NULL, 10) != field))
			return false;
	}
	return true;
}

static bool
take_last_id(const redisReply *reply, struct kill_model *model)
{
	model->has_stream = reply->type == REDIS_REPLY_ARRAY;
	for (size_t i = 0; model->has_stream && i + 1 < reply->elements; i += 2)
		if (strcmp(reply->element[i]->str, "last-generated-id") == 0)
			model->last_id = strtoull(reply->element[i + 1]->str, NULL, 10);
	return model->has_stream || strcmp(reply->str, "ERR no such key") == 0;
}

/* All collections of a writer have the same fields; those that keep values, or scores, the same versions. */
static bool
take_collection(enum kill_collection collection, const redisReply *reply, struct kill_model *model)
{
	uint64_t fields[KILL_FIELDS] = {0};
	bool has_versions = collection != KILL_MEMBERS && collection != KILL_LIST;
	size_t step = has_versions ? 2 : 1;

	if (collection == KILL_LAST_ID)
		return take_last_id(reply, model);
	if (collection == KILL_STREAM || collection == KILL_PENDING)
		return take_entries(collection == KILL_PENDING, reply, model);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements % step != 0)
		return false;
	for (size_t i = 0; i < reply->elements; i += step) {
		unsigned long field = strtoul(reply->element[i]->str, NULL, 10);
		if (field >= KILL_FIELDS || fields[field] != 0)
			return false;
		/* The first collection came before. */
		fields[field] =
			has_versions ? strtoull(reply->element[i + 1]->str, NULL, 10) : model->fields[field];
		if (fields[field] == 0)
			return false;
	}
	if (collection == KILL_HASH)
		memcpy(model->fields, fields, sizeof(fields));
	return memcmp(model->fields, fields, sizeof(fields)) == 0;
}

static bool
take_value(unsigned writer, unsigned i, const redisReply *reply, struct kill_model *model, char *why,
	   size_t why_size)
{
	bool may_fail = i >= KILL_STRINGS + KILL_COUNTERS + KILL_BLOCKS + KILL_PENDING;
	if (reply->type == REDIS_REPLY_ERROR && !may_fail) {
		snprintf(why, why_size, "an error: %s", reply->str);
		return false;
	}
	if (i < KILL_STRINGS) {
		snprintf(why, why_size, "string %u is not whole", i);
		return reply->type == REDIS_REPLY_NIL ||
			(reply->type == REDIS_REPLY_STRING &&
			 kill_string_read(writer, i, reply->str, (size_t)reply->len, &model->strings[i]));
	}
	i -= KILL_STRINGS;
	if (i < KILL_COUNTERS) {
		if (reply->type == REDIS_REPLY_STRING)
			model->counters[i] = strtoull(reply->str, NULL, 10);
		return true;
	}
	i -= KILL_COUNTERS;
	if (i >= KILL_BLOCKS) {
		snprintf(why, why_size, "collection %u is not as the others", i - KILL_BLOCKS);
		return take_collection((enum kill_collection)(i - KILL_BLOCKS), reply, model);
	}
	snprintf(why, why_size, "block %u is not whole", i);
	return kill_block_read(writer, KILL_BLOCK, i, reply, &model->blocks[i]);
}

bool
kill_model_read(redisContext *context, unsigned writer, struct kill_model *ret, char *why, size_t why_size)
{
	bool whole = ask_for_all(context, writer);

	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; whole && i < KILL_STRINGS + KILL_COUNTERS + KILL_BLOCKS + KILL_COLLECTIONS;
	     i++) {
		redisReply *reply = load_reply(context);
		if (reply == NULL) {
			snprintf(why, why_size, "the connection broke: %s", context->errstr);
			return false;
		}
		whole = take_value(writer, i, reply, ret, why, why_size);
		freeReplyObject(reply);
	}
	return whole;
}
