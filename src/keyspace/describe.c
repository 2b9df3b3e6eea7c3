/* Engine keys taken apart; the grammar is at the top of keyspace.h. */
#include "keyspace/describe.h"

#include "keyspace/private.h"
#include "storage/base/varint.h"

static struct engine_key
describe_meta(struct bytes key)
{
	if (key.size == 4 && key.data[1] == 'e')
		return (struct engine_key){.kind = ENGINE_KEY_EPOCH,
					   .db = (unsigned)key.data[2] << 8 | key.data[3]};
	if (key.size == 2 && key.data[1] == 'n')
		return (struct engine_key){.kind = ENGINE_KEY_NEXT_EPOCH};
	return (struct engine_key){0};
}

struct engine_key
keyspace_describe_key(struct bytes key)
{
	if (key.size >= 2 && key.data[0] == KIND_META)
		return describe_meta(key);
	if (key.size < EPOCH_PREFIX_SIZE || (key.data[0] != KIND_ROOT && key.data[0] != KIND_ELEMENT))
		return (struct engine_key){0};
	bool is_root = key.data[0] == KIND_ROOT;
	struct engine_key ret = {
		.kind = is_root ? ENGINE_KEY_ROOT : ENGINE_KEY_ELEMENT,
		.epoch = get_be64(key.data + 1),
		.name = bytes_of(key.data + EPOCH_PREFIX_SIZE, key.size - EPOCH_PREFIX_SIZE),
	};
	if (is_root && ret.name.size == LONG_KEY_STORED_SIZE) {
		ret.name.size = KEYSPACE_MAX_KEY_SIZE;
		ret.is_cut = true;
	}
	return ret;
}
