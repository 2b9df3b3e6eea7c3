/* Data blocks: see table_block.h for the layout.
 *
 * Reading trusts nothing: a checksum says that the bytes are the ones written, not that they were written
 * right, so every length is checked before it is used.
 *
 * Searching a block copies no key. Past the restart point the loop carries `matched`, how many bytes the
 * entry before has in common with the target. Because `shared` is always maximal and the entry before is
 * smaller than the target, shared > matched   the entry has the byte that made its predecessor smaller:
 * smaller too; shared < matched   it left the target's bytes upwards: it is the first one greater; shared =
 * matched   only the unshared bytes need to be compared. */
#include "table_block.h"

#include <stdlib.h>

#include "codec.h"
#include "seal.h"

enum { RAW_AFTER_MAX = 31 }; /* blocks between two that are tried, where none shrinks */

/* ---- writing ---- */

static size_t
common_prefix(struct bytes a, struct bytes b)
{
	size_t n = a.size < b.size ? a.size : b.size, i = 0;
	while (i < n && a.data[i] == b.data[i])
		i++;
	return i;
}

int
block_builder_add(struct block_builder *b, struct ikey key, struct bytes value)
{
	bool restart = b->entries == 0 || b->in_interval == TABLE_RESTART_INTERVAL;
	size_t shared = restart ? 0 : common_prefix(buffer_bytes(&b->last_user), key.user);
	size_t unshared = key.user.size - shared;
	int r = buffer_reserve(&b->data, 4 * VARINT_MAX_SIZE + unshared + value.size);
	if (r == SETT_OK)
		r = buffer_reserve(&b->restarts, 4);
	if (r == SETT_OK && key.user.size > b->last_user.size)
		r = buffer_reserve(&b->last_user, key.user.size - b->last_user.size);
	if (r != SETT_OK)
		return r;

	if (restart) {
		put_le32(b->restarts.data + b->restarts.size, (uint32_t)b->data.size);
		b->restarts.size += 4;
		b->in_interval = 0;
	}
	uint8_t *p = b->data.data + b->data.size;
	p = varint_put(p, shared);
	p = varint_put(p, unshared);
	p = varint_put(p, value.size);
	p = varint_put(p, key.timestamp);
	if (unshared)
		memcpy(p, key.user.data + shared, unshared);
	p += unshared;
	if (value.size)
		memcpy(p, value.data, value.size);
	p += value.size;
	b->data.size = (size_t)(p - b->data.data);

	if (key.user.size > shared)
		memcpy(b->last_user.data + shared, key.user.data + shared, key.user.size - shared);
	b->last_user.size = key.user.size;
	b->last_timestamp = key.timestamp;
	b->in_interval++;
	b->entries++;
	return SETT_OK;
}

size_t
block_builder_size(const struct block_builder *b)
{
	return b->entries ? b->data.size + b->restarts.size + 4 : 0;
}

int
block_builder_finish(struct block_builder *b)
{
	int r = buffer_reserve(&b->data, b->restarts.size + 4);
	if (r != SETT_OK)
		return r;
	memcpy(b->data.data + b->data.size, b->restarts.data, b->restarts.size);
	b->data.size += b->restarts.size;
	put_le32(b->data.data + b->data.size, (uint32_t)(b->restarts.size / 4));
	b->data.size += 4;
	return SETT_OK;
}

void
block_builder_reset(struct block_builder *b)
{
	b->data.size = b->restarts.size = 0;
	b->in_interval = b->entries = 0;
}

void
block_builder_free(struct block_builder *b)
{
	buffer_free(&b->data);
	buffer_free(&b->restarts);
	buffer_free(&b->last_user);
}

/* Whether to try. Random data is recognized by the blocks before it: a failed try costs as much as a good one
 * and yields nothing. */
static bool
is_worth_trying(struct block_packer *packer)
{
	if (packer->raw_due == 0)
		return true;
	packer->raw_due--;
	return false;
}

static void
note_try(struct block_packer *packer, bool shrank)
{
	packer->raw_after = shrank ? 0 : packer->raw_after == 0 ? 1 : packer->raw_after * 2;
	if (packer->raw_after > RAW_AFTER_MAX)
		packer->raw_after = RAW_AFTER_MAX;
	packer->raw_due = packer->raw_after;
}

static struct seal_place
block_place(uint8_t compression, uint64_t number, uint64_t offset)
{
	return (struct seal_place){.kind = SEAL_TABLE, .file = number, .offset = offset, .part = compression};
}

int
block_pack(struct block_packer *packer, struct bytes payload, enum table_compression compression,
	   uint64_t number, uint64_t offset, struct buffer *out)
{
	if (compression != TABLE_RAW && (payload.size > TABLE_MAX_COMPRESSED || !is_worth_trying(packer)))
		compression = TABLE_RAW;
	size_t room = codec_bound((enum codec)compression, payload.size);
	int r = buffer_reserve(out, room + SEAL_SIZE + TABLE_TRAILER_SIZE);
	if (r != SETT_OK)
		return r;
	uint8_t *p = out->data + out->size;
	size_t size = 0;
	if (compression != TABLE_RAW) {
		size = codec_pack((enum codec)compression, packer->level, &packer->zstd, payload, p, room);
		note_try(packer, size != 0);
	}
	if (size == 0) {
		compression = TABLE_RAW;
		size = payload.size;
		memcpy(p, payload.data, size);
	}
	uint8_t kind = (uint8_t)compression;
	if (packer->keys != NULL) {
		struct seal_place place = block_place(kind, number, offset);
		r = seal_make(packer->keys, &place, bytes_of(p, size), p, p + size);
		if (r != SETT_OK)
			return r;
		size += SEAL_SIZE;
		kind |= TABLE_SEALED;
	}
	table_trailer_put(p, size, kind, number, offset);
	out->size += size + TABLE_TRAILER_SIZE;
	return SETT_OK;
}

void
block_packer_free(struct block_packer *p)
{
	codec_context_free(p->zstd);
	p->zstd = NULL;
}

/* ---- unpacking ---- */

static int
inflate(struct bytes payload, uint8_t compression, struct block_cache *cache, struct block **ret,
	const char **ret_why)
{
	uint32_t raw_size = codec_raw_size(payload);
	if (raw_size == 0 || raw_size > TABLE_MAX_COMPRESSED) {
		*ret_why = "a compressed block's size is out of range";
		return SETT_CORRUPT;
	}
	struct block *b = block_allocate(raw_size);
	if (!b)
		return SETT_NO_MEMORY;
	void *context = cache && compression == TABLE_ZSTD ? block_cache_take_context(cache) : NULL;
	if (cache && compression == TABLE_ZSTD && !context)
		context = codec_unpacker_create(); /* NULL: it may fail, or do without */
	int r = codec_unpack((enum codec)compression, context, payload, b->data, raw_size);
	if (context)
		block_cache_give_context(cache, context, codec_unpacker_free);
	if (r != SETT_OK) {
		*ret_why = "a block does not decompress";
		block_release(b);
		return r;
	}
	*ret = b;
	return SETT_OK;
}

int
block_decrypt(struct bytes payload, uint8_t compression, uint64_t number, uint64_t offset,
	      struct keyring *keys, uint8_t *to, const char **ret_why)
{
	struct seal_place place = block_place(compression & ~TABLE_SEALED, number, offset);
	if (payload.size <= SEAL_SIZE || !(compression & TABLE_SEALED)) {
		*ret_why = "a block is not encrypted, though the table is";
		return SETT_CORRUPT;
	}
	struct bytes sealed = bytes_of(payload.data, payload.size - SEAL_SIZE);
	return seal_open(keys, &place, sealed, bytes_end(sealed), to, ret_why);
}

static int
decrypt_and_inflate(struct bytes payload, uint8_t compression, uint64_t number, uint64_t offset,
		    struct keyring *keys, struct block_cache *cache, struct block **ret, const char **ret_why)
{
	uint8_t *clear = malloc(payload.size);
	if (clear == NULL)
		return SETT_NO_MEMORY;
	int r = block_decrypt(payload, compression, number, offset, keys, clear, ret_why);
	if (r == SETT_OK)
		r = inflate(bytes_of(clear, payload.size - SEAL_SIZE), compression & ~TABLE_SEALED, cache,
			    ret, ret_why);
	free(clear);
	return r;
}

/* Of a block whose checksum is right. */
static int
unseal(struct bytes payload, uint8_t compression, uint64_t number, uint64_t offset, struct keyring *keys,
       struct block_cache *cache, struct block **ret, const char **ret_why)
{
	if (compression == (TABLE_LZ4 | TABLE_SEALED) || compression == (TABLE_ZSTD | TABLE_SEALED))
		return decrypt_and_inflate(payload, compression, number, offset, keys, cache, ret, ret_why);
	if (compression != (TABLE_RAW | TABLE_SEALED) || payload.size <= SEAL_SIZE) {
		*ret_why = "a block's encryption is unknown";
		return SETT_CORRUPT;
	}
	struct block *b = block_allocate((uint32_t)(payload.size - SEAL_SIZE));
	if (!b)
		return SETT_NO_MEMORY;
	int r = block_decrypt(payload, compression, number, offset, keys, b->data, ret_why);
	if (r == SETT_OK)
		*ret = b;
	else
		block_release(b);
	return r;
}

int
block_unpack(struct bytes stored, uint64_t number, uint64_t offset, struct keyring *keys,
	     struct block_cache *cache, struct block **ret, const char **ret_why)
{
	if (stored.size <= TABLE_TRAILER_SIZE || stored.size > TABLE_MAX_BLOCK_SIZE) {
		*ret_why = "a block's size is out of range";
		return SETT_CORRUPT;
	}
	size_t size = stored.size - TABLE_TRAILER_SIZE;
	uint8_t compression = stored.data[size];
	if (get_le64(stored.data + size + 1) != hash64(stored.data, size + 1, table_seed(number, offset))) {
		*ret_why = "a block's checksum is wrong";
		return SETT_CORRUPT;
	}
	if (keys != NULL)
		return unseal(bytes_of(stored.data, size), compression, number, offset, keys, cache, ret,
			      ret_why);
	if (compression == TABLE_LZ4 || compression == TABLE_ZSTD)
		return inflate(bytes_of(stored.data, size), compression, cache, ret, ret_why);
	if (compression != TABLE_RAW) {
		*ret_why = "a block's compression is unknown";
		return SETT_CORRUPT;
	}
	struct block *b = block_allocate((uint32_t)size);
	if (!b)
		return SETT_NO_MEMORY;
	memcpy(b->data, stored.data, size);
	*ret = b;
	return SETT_OK;
}

/* ---- searching ---- */

int
block_view_parse(const struct block *b, struct block_view *ret)
{
	if (b->size < 4)
		return SETT_CORRUPT;
	uint32_t count = get_le32(b->data + b->size - 4);
	if (count == 0 || count > (b->size - 4) / 4)
		return SETT_CORRUPT;
	uint32_t entries = b->size - 4 - count * 4;
	if (entries == 0)
		return SETT_CORRUPT;
	*ret = (struct block_view){b->data, b->data + entries, b->data + entries, count};
	return SETT_OK;
}

/* Decodes the entry at restart point `i`. */
static bool
restart_entry(const struct block_view *v, uint32_t i, struct block_entry *ret)
{
	uint32_t offset = block_restart(v, i);
	return offset < (uint32_t)(v->limit - v->data) &&
		block_entry_decode(v->data + offset, v->limit, ret) && ret->shared == 0;
}

int
block_find_restart(const struct block_view *v, struct ikey target, uint32_t *ret)
{
	uint32_t low = 0, high = v->restart_count; /* restarts below `low` are before the target */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct block_entry e;
		if (!restart_entry(v, middle, &e))
			return SETT_CORRUPT;
		struct ikey key = {bytes_of(e.key, e.unshared), e.timestamp};
		if (ikey_compare(key, target) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	uint32_t offset = block_restart(v, low ? low - 1 : 0);
	if (offset >= (uint32_t)(v->limit - v->data))
		return SETT_CORRUPT;
	*ret = offset;
	return SETT_OK;
}

int
block_get(const struct block_view *v, struct ikey target, struct block_entry *ret)
{
	uint32_t offset;
	int r = block_find_restart(v, target, &offset);
	if (r != SETT_OK)
		return r;
	const uint8_t *p = v->data + offset;
	size_t matched = 0;
	while (p < v->limit) {
		struct block_entry e;
		if (!block_entry_decode(p, v->limit, &e))
			return SETT_CORRUPT;
		/* Entries of one block are of much the same size: the header after the next one is about
		 * here. */
		__builtin_prefetch(e.next + 2 * (e.next - p));
		p = e.next;
		/* A restart point inside the scan: its predecessor's prefix is not shared but spelt out. */
		if (e.shared == 0)
			matched = 0;
		if (e.shared > matched)
			continue;
		if (e.shared < matched)
			return SETT_NOT_FOUND;
		struct bytes rest = bytes_from(target.user, matched);
		struct bytes mine = bytes_of(e.key, e.unshared);
		size_t common = common_prefix(mine, rest);
		matched += common;
		if (common == mine.size && common == rest.size) {
			if (e.timestamp <= target.timestamp) {
				*ret = e;
				return SETT_OK;
			}
		} else if (common == rest.size ||
			   (common < mine.size && mine.data[common] > rest.data[common])) {
			return SETT_NOT_FOUND;
		}
	}
	return SETT_NOT_FOUND;
}
