/* Engine keys: encoding and decoding of the grammar at the top of keyspace.h. */
#include "keyspace/describe.h"
#include "keyspace/private.h"

#include "storage/base/hash.h"
#include "storage/base/varint.h"

void
epoch_prefix(uint8_t ret[EPOCH_PREFIX_SIZE], uint8_t kind, uint64_t epoch)
{
	ret[0] = kind;
	put_be64(ret + 1, epoch);
}

void
keyspace_name_hash(struct bytes key, uint8_t ret[16])
{
	struct hash128 h = hash128(key.data, key.size, 0);
	put_be64(ret, h.high);
	put_be64(ret + 8, h.low);
}

int
root_engine_key(struct sett_engine *engine, struct arena *arena, uint64_t epoch, struct bytes name,
		struct sett_key *ret)
{
	bool is_long = name.size > KEYSPACE_MAX_KEY_SIZE;
	size_t kept = is_long ? KEYSPACE_MAX_KEY_SIZE : name.size;
	size_t size = EPOCH_PREFIX_SIZE + (is_long ? (size_t)LONG_KEY_STORED_SIZE : kept);
	uint8_t *p = arena_allocate(arena, size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (kept > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, name.data, kept);
	if (is_long)
		keyspace_name_hash(name, p + EPOCH_PREFIX_SIZE + kept);
	ret->bytes = bytes_of(p, size);
	ret->hash = sett_engine_hash(engine, ret->bytes);
	return SETT_OK;
}

int
stored_engine_key(struct sett_engine *engine, struct arena *arena, uint64_t epoch, struct bytes stored,
		  struct sett_key *ret)
{
	if (stored.size > LONG_KEY_STORED_SIZE)
		return SETT_INVALID;
	uint8_t *p = arena_allocate(arena, EPOCH_PREFIX_SIZE + stored.size, 1);
	if (p == NULL)
		return SETT_NO_MEMORY;
	epoch_prefix(p, KIND_ROOT, epoch);
	if (stored.size > 0)
		memcpy(p + EPOCH_PREFIX_SIZE, stored.data, stored.size);
	ret->bytes = bytes_of(p, EPOCH_PREFIX_SIZE + stored.size);
	ret->hash = sett_engine_hash(engine, ret->bytes);
	return SETT_OK;
}

bool
keyspace_prepare(struct keyspace *k, unsigned db, struct bytes key, struct arena *arena,
		 struct prepared_key *ret)
{
	if (db >= k->count || key.size > KEYSPACE_MAX_KEY_SIZE)
		return false;
	ret->key = key;
	/* Whoever uses it compares it with the epoch of its snapshot. */
	ret->epoch = database_epoch(k, db);
	return root_engine_key(k->engine, arena, ret->epoch, key, &ret->engine_key) == SETT_OK;
}

/* ---- taking keys apart ---- */

static bool
find_database(const struct keyspace *k, uint64_t epoch, unsigned *ret_db)
{
	uint64_t number = epoch - EPOCHS_BY_DATABASE; /* its own, unless SWAPDB gave it to another */
	if (epoch >= EPOCHS_BY_DATABASE && number < k->count &&
	    database_epoch(k, (unsigned)number) == epoch) {
		*ret_db = (unsigned)number;
		return true;
	}
	for (unsigned db = 0; (db = keyspace_next_database(k, db)) < k->count; db++)
		if (database_epoch(k, db) == epoch) {
			*ret_db = db;
			return true;
		}
	return false;
}

bool
keyspace_parse_root_key(struct keyspace *k, struct bytes engine_key, unsigned *ret_db, struct bytes *ret_key)
{
	if (engine_key.size < EPOCH_PREFIX_SIZE || engine_key.data[0] != KIND_ROOT)
		return false;
	if (!find_database(k, get_be64(engine_key.data + 1), ret_db))
		return false;
	*ret_key = bytes_of(engine_key.data + EPOCH_PREFIX_SIZE, engine_key.size - EPOCH_PREFIX_SIZE);
	return true;
}

static struct engine_key
describe_meta(struct bytes key)
{
	if (key.size == 4 && key.data[1] == 'e')
		return (struct engine_key){.kind = ENGINE_KEY_EPOCH,
					   .db = (unsigned)key.data[2] << 8 | key.data[3]};
	if (key.size == 6 && key.data[1] == 'e')
		return (struct engine_key){.kind = ENGINE_KEY_EPOCH, .db = get_be32(key.data + 2)};
	if (key.size == 2 && key.data[1] == 'n')
		return (struct engine_key){.kind = ENGINE_KEY_NEXT_EPOCH};
	if (key.size == 2 && key.data[1] == 'o')
		return (struct engine_key){.kind = ENGINE_KEY_NEXT_OBJECT};
	if (key.size == 2 && key.data[1] == 's')
		return (struct engine_key){.kind = ENGINE_KEY_MEMBER_SEED};
	if (key.size == 2 && key.data[1] == 'f')
		return (struct engine_key){.kind = ENGINE_KEY_KNOWN_FILES};
	if (key.size == 2 && key.data[1] == 'r')
		return (struct engine_key){.kind = ENGINE_KEY_POSITION};
	if (key.size == 2 && key.data[1] == 'c')
		return (struct engine_key){.kind = ENGINE_KEY_STEM_COUNT};
	if (key.size == 2 && key.data[1] == 'l')
		return (struct engine_key){.kind = ENGINE_KEY_LIBRARIES};
	if (key.data[1] == 'l')
		return (struct engine_key){.kind = ENGINE_KEY_LIBRARY,
					   .name = bytes_of(key.data + 2, key.size - 2)};
	if (key.size == 10 && key.data[1] == 'c') {
		uint64_t id = get_be64(key.data + 2);
		return (struct engine_key){
			.kind = ENGINE_KEY_STEM, .generation = (uint32_t)(id >> 32), .number = (uint32_t)id};
	}
	return (struct engine_key){0};
}

struct engine_key
keyspace_describe_key(struct bytes key)
{
	if (key.size >= 2 && key.data[0] == KIND_META)
		return describe_meta(key);
	struct engine_key ret = {0};
	if (key.size >= EPOCH_PREFIX_SIZE && key.data[0] == KIND_ROOT) {
		ret.kind = ENGINE_KEY_ROOT;
		ret.epoch = get_be64(key.data + 1);
		ret.name = bytes_of(key.data + EPOCH_PREFIX_SIZE, key.size - EPOCH_PREFIX_SIZE);
		ret.is_cut = ret.name.size == LONG_KEY_STORED_SIZE;
		if (ret.is_cut)
			ret.name.size = KEYSPACE_MAX_KEY_SIZE;
	} else if (key.size >= ELEMENT_PREFIX_SIZE && key.data[0] == KIND_ELEMENT) {
		ret.kind = ENGINE_KEY_ELEMENT;
		ret.epoch = get_be64(key.data + 1);
		ret.object = get_be64(key.data + EPOCH_PREFIX_SIZE);
		ret.name = bytes_of(key.data + ELEMENT_PREFIX_SIZE, key.size - ELEMENT_PREFIX_SIZE);
	}
	return ret;
}
