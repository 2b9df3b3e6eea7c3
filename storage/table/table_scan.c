/* See table_scan.h.
 *
 *     offset -> [block] -> its end -> [block] -> ... -> the first index block, or the footer's data_end
 *                  \-> none here: the next byte at which one stands; what lies between is a gap
 *
 * Invariants
 *   1. What is given out stood in a block whose checksum was right, at its own place of its own file, whose entries
 *      decode and whose keys ascend, also from block to block.
 *   2. A search costs a checksum at each place that could begin a block, over as many bytes as that claims. Bytes made
 *      for it could claim much at each place, so each file has a budget; past it the rest of the file is one gap.
 *   3. A sealed block ends at the first seal behind its beginning. It begins where another one ends: behind the seal of
 *      that, or, if that seal is damaged, behind a byte that says how a block is packed and a checksum. */
#include "table_scan.h"

#include <assert.h>

#include "codec.h"
#include "seal.h"
#include "table_index.h"

enum {
	LOOK = 64 * 1024,   /* bytes that are asked for at once; more if a block is larger */
	BUDGET_FACTOR = 16, /* of the file's size */
	HEADER_MAX = 4 * VARINT_MAX_SIZE,
	INDEX_HEADER = 8,
	INDEX_PER_ENTRY = 8 + 8 + 8 + 4,
	SEALED_BUDGET_FACTOR = 64,
	SEALED_BUDGET_LEAST = 16 << 20,
	SEAL_BESIDE = SEAL_SIZE + TABLE_TRAILER_SIZE,
	SEAL_REACH = 64 *
		1024, /* before a seal, where a block's beginning is searched for if no larger block was seen */
};

/* ---- how long a block is ---- */

enum measure { MEASURED, MEASURE_MORE /* bytes are needed */, MEASURE_NONE };

/* The next entry of a raw block, as far as its header goes. */
static enum measure
measure_entry(const uint8_t *p, size_t left, size_t *key_size, bool is_restart, size_t *ret)
{
	uint64_t shared, unshared, value_size, timestamp;
	const uint8_t *begin = p, *end = p + (left < HEADER_MAX ? left : HEADER_MAX);
	enum measure torn = left < HEADER_MAX ? MEASURE_MORE : MEASURE_NONE;
	if (!(p = varint_get(p, end, &shared)) || !(p = varint_get(p, end, &unshared)) ||
	    !(p = varint_get(p, end, &value_size)) || !(p = varint_get(p, end, &timestamp)))
		return torn;
	if (shared > *key_size || (is_restart && shared != 0) || unshared > SETT_MAX_KEY_SIZE ||
	    shared + unshared > SETT_MAX_KEY_SIZE || value_size == 0 || value_size > TABLE_MAX_VALUE_SIZE)
		return MEASURE_NONE;
	size_t header = (size_t)(p - begin);
	if (header + unshared < left) {
		unsigned kind = p[unshared];
		if ((kind & ENTRY_KIND_MASK) > ENTRY_POINTER ||
		    (kind & ~(unsigned)(ENTRY_KIND_MASK | ENTRY_EXPIRES)) != 0)
			return MEASURE_NONE;
	}
	if (header + unshared + value_size > left)
		return MEASURE_MORE;
	*key_size = (size_t)(shared + unshared);
	*ret = header + (size_t)unshared + (size_t)value_size;
	return MEASURED;
}

/* Whether the restart points of so many entries stand at `p`. */
static bool
restarts_stand(const uint8_t *p, size_t left, uint64_t entries, size_t *ret_size)
{
	uint64_t count = (entries + TABLE_RESTART_INTERVAL - 1) / TABLE_RESTART_INTERVAL;
	uint64_t size = 4 * count + 4;
	if (size + TABLE_TRAILER_SIZE > left || get_le32(p) != 0 || get_le32(p + 4 * count) != count)
		return false;
	*ret_size = (size_t)size;
	return true;
}

/* What a search asks first; most places fail it. */
static bool
may_begin(const uint8_t *p, enum codec codec)
{
	return codec == CODEC_RAW ? p[0] == 0 : p[3] == 0 || get_le32(p) == TABLE_MAX_COMPRESSED;
}

/* ---- what stands at a place ---- */

struct place {
	uint64_t span; /* with the trailer */
	struct block *block;
};

static int
fetch(struct table_scan *s, uint64_t offset, size_t size, const uint8_t **ret)
{
	if (!s->is_open) {
		int r = file_window_open(&s->bytes, s->vfs, s->path, s->error);
		if (r != SETT_OK)
			return r;
		s->is_open = true;
		if (s->bytes.size < s->size)
			return sett_error_set(s->error, SETT_IO, 0, "%s has become shorter", s->path);
	}
	return file_window_fetch(&s->bytes, offset, size, ret);
}

static bool
spend(struct table_scan *s, uint64_t bytes)
{
	if (bytes > s->budget)
		return false;
	s->budget -= bytes;
	return true;
}

/* Whether the entries of the block decode, and their keys ascend from those before it on. */
static bool
is_in_order(struct table_scan *s, const struct block *block, struct block_view *ret)
{
	uint8_t room[2][SETT_MAX_KEY_SIZE];
	unsigned now = 0;
	struct ikey last = {buffer_bytes(&s->user), s->timestamp};
	bool has_last = s->has_key;
	size_t size = 0;
	uint64_t entries = 0;
	if (block_view_parse(block, ret) != SETT_OK)
		return false;
	for (const uint8_t *p = ret->data; p < ret->limit;) {
		struct block_entry e;
		struct entry entry;
		if (!block_entry_decode(p, ret->limit, &e) || e.shared > size ||
		    e.shared + e.unshared > SETT_MAX_KEY_SIZE ||
		    entry_decode(block_entry_value(&e), &entry) != SETT_OK)
			return false;
		now ^= 1;
		memcpy(room[now], room[now ^ 1], e.shared);
		memcpy(room[now] + e.shared, e.key, e.unshared);
		size = e.shared + e.unshared;
		struct ikey key = {bytes_of(room[now], size), e.timestamp};
		if (has_last && ikey_compare(last, key) >= 0)
			return false;
		last = key;
		has_last = true;
		entries++;
		p = e.next;
	}
	/* Other kinds of blocks are sealed like those of data. */
	return ret->restart_count == (entries + TABLE_RESTART_INTERVAL - 1) / TABLE_RESTART_INTERVAL;
}

/* The block of `payload` bytes and its trailer, if that is what stands there. `ret->block` stays NULL if not. */
static int
try_block(struct table_scan *s, const uint8_t *p, uint64_t offset, size_t payload, enum codec codec,
	  struct place *ret)
{
	const char *why;
	struct block *block;
	struct block_view view;
	if (p[payload] != codec || !spend(s, payload))
		return SETT_OK;
	int r = block_unpack(bytes_of(p, payload + TABLE_TRAILER_SIZE), s->number, offset, NULL, NULL, &block,
			     &why);
	if (r == SETT_CORRUPT)
		return SETT_OK;
	if (r != SETT_OK)
		return sett_error_set(s->error, r, 0, "%s: out of memory", s->path);
	if (!is_in_order(s, block, &view)) {
		block_release(block);
		return SETT_OK;
	}
	*ret = (struct place){payload + TABLE_TRAILER_SIZE, block};
	return SETT_OK;
}

/* A packed block says by its bytes where it ends. `ret_more`: these are too few. */
static int
try_packed(struct table_scan *s, const uint8_t *p, size_t have, uint64_t offset, enum codec codec,
	   struct place *ret, bool *ret_more)
{
	size_t payload;
	int r = codec_packed_size(codec, TABLE_MAX_COMPRESSED, bytes_of(p, have), &payload);
	*ret_more |= r == SETT_NOT_FOUND || (r == SETT_OK && payload + TABLE_TRAILER_SIZE > have);
	if (r != SETT_OK || payload + TABLE_TRAILER_SIZE > have)
		return SETT_OK;
	return try_block(s, p, offset, payload, codec, ret);
}

/* A raw block ends where restart points stand that fit the entries so far. */
static int
try_raw(struct table_scan *s, const uint8_t *p, size_t have, uint64_t offset, struct place *ret,
	bool *ret_more)
{
	size_t at = 0, key_size = 0, size, restarts;
	for (uint64_t entries = 0;; entries++) {
		if (entries > 0 && restarts_stand(p + at, have - at, entries, &restarts)) {
			int r = try_block(s, p, offset, at + restarts, CODEC_RAW, ret);
			if (r != SETT_OK || ret->block != NULL)
				return r;
		}
		enum measure m = measure_entry(p + at, have - at, &key_size,
					       entries % TABLE_RESTART_INTERVAL == 0, &size);
		*ret_more |= m == MEASURE_MORE;
		if (m != MEASURED)
			return SETT_OK;
		at += size;
	}
}

/* ---- sealed blocks ---- */

static uint64_t
end_of_search(const struct table_scan *s)
{
	return s->end_is_known ? s->end : s->size;
}

/* Where the block that begins at `offset` would end; 0: there is no seal behind it. */
static int
find_seal(struct table_scan *s, uint64_t offset, uint64_t *ret)
{
	uint64_t at = offset + 1, end = end_of_search(s);
	assert(s->keys != NULL && offset < end);
	*ret = 0;
	if (s->seal_from != 0 && at >= s->seal_from &&
	    (s->seal_end == 0 || at + SEAL_BESIDE <= s->seal_end)) {
		*ret = s->seal_end <= end ? s->seal_end : 0;
		return SETT_OK;
	}
	s->last_seal_end = s->seal_end;
	s->seal_from = at;
	s->seal_end = 0;
	while (at + SEAL_BESIDE <= end) {
		const uint8_t *p;
		size_t size = end - at < LOOK ? (size_t)(end - at) : LOOK;
		int r = fetch(s, at, size, &p);
		if (r != SETT_OK)
			return r;
		for (size_t i = 0; i + SEAL_BESIDE <= size; i++) {
			if (seal_may_be(s->keys, p + i)) {
				*ret = s->seal_end = at + i + SEAL_BESIDE;
				return SETT_OK;
			}
		}
		at += size - SEAL_BESIDE + 1;
	}
	return SETT_OK;
}

static bool
is_sealed_packing(uint8_t packing)
{
	return (packing & TABLE_SEALED) && (packing & ~TABLE_SEALED) < CODEC_KINDS;
}

/* Whether a block may begin at `offset`, which ends at `end`: where the one before ended, or seems to. */
static int
may_begin_sealed(struct table_scan *s, uint64_t offset, uint64_t end, bool *ret)
{
	const uint8_t *p;
	uint64_t reach = 2 * s->largest > SEAL_REACH ? 2 * s->largest : SEAL_REACH;
	*ret = offset == s->offset || offset == s->last_seal_end;
	if (*ret || offset < TABLE_TRAILER_SIZE || end - offset > reach)
		return SETT_OK;
	int r = fetch(s, offset - TABLE_TRAILER_SIZE, 1, &p);
	if (r == SETT_OK)
		*ret = is_sealed_packing(*p);
	return r;
}

/* Unseals what stands between, if that is a block. `ret->block` stays NULL if not. */
static int
unseal(struct table_scan *s, uint64_t offset, uint64_t end, struct block **ret)
{
	const char *why;
	const uint8_t *p;
	*ret = NULL;
	assert(end - offset > SEAL_BESIDE);
	if (end - offset > TABLE_MAX_BLOCK_SIZE || !spend(s, end - offset))
		return SETT_OK;
	int r = fetch(s, offset, (size_t)(end - offset), &p);
	if (r != SETT_OK || !is_sealed_packing(p[end - offset - TABLE_TRAILER_SIZE]))
		return r;
	r = block_unpack(bytes_of(p, (size_t)(end - offset)), s->number, offset, s->keys, NULL, ret, &why);
	if (r == SETT_NO_MEMORY)
		return sett_error_set(s->error, r, 0, "%s: out of memory", s->path);
	return SETT_OK; /* damaged, or its key is not there */
}

/* The sealed block at `offset`, of any kind. */
static int
look_sealed(struct table_scan *s, uint64_t offset, struct block **ret, uint64_t *ret_end)
{
	bool may;
	*ret = NULL;
	int r = find_seal(s, offset, ret_end);
	if (r != SETT_OK || *ret_end == 0)
		return r;
	r = may_begin_sealed(s, offset, *ret_end, &may);
	assert(*ret_end <= end_of_search(s));
	if (r == SETT_OK && may)
		r = unseal(s, offset, *ret_end, ret);
	return r;
}

/* The block at `offset`; none if `ret->block` is NULL. */
static int
look_plain(struct table_scan *s, uint64_t offset, struct place *ret)
{
	uint64_t left = (s->end_is_known ? s->end : s->size) - offset;
	size_t have = left < LOOK ? (size_t)left : LOOK;
	*ret = (struct place){0};
	while (have > TABLE_TRAILER_SIZE) {
		const uint8_t *p;
		bool more = false;
		int r = fetch(s, offset, have, &p);
		if (r == SETT_OK && may_begin(p, CODEC_RAW))
			r = try_raw(s, p, have, offset, ret, &more);
		for (enum codec c = CODEC_LZ4; r == SETT_OK && ret->block == NULL && c < CODEC_KINDS; c++) {
			if (may_begin(p, c))
				r = try_packed(s, p, have, offset, c, ret, &more);
		}
		if (r != SETT_OK || ret->block != NULL || !more || have == left || !spend(s, have))
			return r;
		have = left / 2 < have ? (size_t)left : 2 * have;
	}
	return SETT_OK;
}

/* Whether the first of the index blocks stands at `offset`: then the data end there. */
static int
is_first_index(struct table_scan *s, uint64_t offset, bool *ret)
{
	const uint8_t *p;
	uint64_t left = s->size - offset;
	*ret = false;
	if (left < INDEX_HEADER + INDEX_PER_ENTRY + 8 + TABLE_TRAILER_SIZE)
		return SETT_OK;
	int r = fetch(s, offset, INDEX_HEADER, &p);
	if (r != SETT_OK)
		return r;
	uint64_t count = get_le32(p), prefix = get_le32(p + 4);
	uint64_t fixed = INDEX_HEADER + 8 + count * INDEX_PER_ENTRY;
	if (count == 0 || count > TABLE_MAX_FANOUT || prefix > SETT_MAX_KEY_SIZE ||
	    fixed + prefix + TABLE_TRAILER_SIZE > left || !spend(s, fixed))
		return SETT_OK;
	r = fetch(s, offset, (size_t)fixed, &p);
	if (r != SETT_OK)
		return r;
	/* The first child begins where the file does, the last one ends no later than here. */
	const uint8_t *offsets = p + INDEX_HEADER + 16 * count;
	uint64_t payload = fixed + prefix + get_le32(p + fixed - 4);
	if (get_le64(offsets) != 0 || get_le64(offsets + 8 * count) > offset ||
	    payload + TABLE_TRAILER_SIZE > left || !spend(s, payload))
		return SETT_OK;
	r = fetch(s, offset, (size_t)payload + TABLE_TRAILER_SIZE, &p);
	if (r == SETT_OK)
		*ret = get_le64(p + payload + 1) == hash64(p, payload + 1, table_seed(s->number, offset));
	return r;
}

/* Whether that is the first of the index blocks, which stands at `offset`. */
static bool
is_sealed_index(const struct block *block, uint64_t offset)
{
	struct index_view v;
	return index_view_parse(bytes_of(block->data, block->size), &v) == SETT_OK && v.count > 0 &&
		index_offset(&v, 0) == 0 && index_offset(&v, v.count) <= offset;
}

/* The data block at `offset`, if one stands there; or whether the data end there, where that is not known. */
static int
look(struct table_scan *s, uint64_t offset, struct place *ret, bool *ret_is_index)
{
	struct block *block;
	struct block_view view;
	uint64_t end;
	*ret = (struct place){0};
	*ret_is_index = false;
	if (s->may_be_sealed) {
		int r = look_sealed(s, offset, &block, &end);
		if (r != SETT_OK)
			return r;
		if (block != NULL && is_in_order(s, block, &view)) {
			*ret = (struct place){end - offset, block};
			s->may_be_plain = false;
			s->largest = ret->span > s->largest ? ret->span : s->largest;
			return SETT_OK;
		}
		*ret_is_index = block != NULL && !s->end_is_known && is_sealed_index(block, offset);
		block_release(block);
	}
	if (*ret_is_index || !s->may_be_plain)
		return SETT_OK;
	int r = look_plain(s, offset, ret);
	if (r == SETT_OK && ret->block != NULL)
		s->may_be_sealed = false;
	else if (r == SETT_OK && !s->end_is_known && s->budget > 0)
		r = is_first_index(s, offset, ret_is_index);
	return r;
}

/* ---- from block to block ---- */

static void
tell_gap(struct table_scan *s, uint64_t from, uint64_t to, const struct block_view *behind)
{
	struct table_gap gap = {.offset = from, .size = to - from};
	struct block_entry e;
	/* Where the end is not known, something may have stood there though nothing is left of it. */
	if ((to == from && (behind != NULL || s->end_is_known)) || s->on_gap == NULL)
		return;
	if (s->has_key)
		gap.before = buffer_bytes(&s->user);
	if (behind != NULL && block_entry_decode(behind->data, behind->limit, &e))
		gap.behind = bytes_of(e.key, e.unshared);
	s->on_gap(s->arg, s, &gap);
}

/* The next whole block from `s->offset` on becomes the present one. SETT_NOT_FOUND: there is none. */
static int
next_block(struct table_scan *s)
{
	struct place place = {0};
	uint64_t at = s->offset;
	int r = SETT_OK;
	block_release(s->block);
	s->block = NULL;
	for (; at < end_of_search(s); at++) {
		bool is_index = false;
		r = look(s, at, &place, &is_index);
		if (r != SETT_OK || place.block != NULL || s->budget == 0)
			break;
		if (is_index) {
			s->end_is_known = true;
			s->end = at;
		}
	}
	if (r != SETT_OK)
		return r;
	if (place.block == NULL) {
		tell_gap(s, s->offset, end_of_search(s), NULL);
		s->offset = end_of_search(s);
		return SETT_NOT_FOUND;
	}
	s->block = place.block;
	r = block_view_parse(s->block, &s->view);
	assert(r == SETT_OK);
	tell_gap(s, s->offset, at, &s->view);
	s->offset = at + place.span;
	s->at = s->view.data;
	s->blocks++;
	return r;
}

int
table_scan_next(struct table_scan *s)
{
	struct block_entry e;
	if (s->block == NULL || s->at == s->view.limit) {
		int r = next_block(s);
		if (r != SETT_OK)
			return r;
	}
	bool decodes = block_entry_decode(s->at, s->view.limit, &e);
	assert(decodes && (e.shared <= s->user.size || !s->has_key));
	(void)decodes;
	s->user.size = e.shared;
	if (buffer_append(&s->user, e.key, e.unshared) != SETT_OK)
		return sett_error_set(s->error, SETT_NO_MEMORY, 0, "%s: out of memory", s->path);
	s->has_key = true;
	s->timestamp = e.timestamp;
	s->key = (struct ikey){buffer_bytes(&s->user), e.timestamp};
	s->value = block_entry_value(&e);
	s->at = e.next;
	return SETT_OK;
}

/* ---- opening ---- */

static int
read_footer(struct table_scan *s)
{
	const uint8_t *p;
	const char *why;
	struct table_footer footer;
	if (s->size < TABLE_FOOTER_SIZE)
		return SETT_OK;
	int r = fetch(s, s->size - TABLE_FOOTER_SIZE, TABLE_FOOTER_SIZE, &p);
	if (r == SETT_OK && table_footer_decode(p, s->size, s->number, &footer, &why) == SETT_OK) {
		s->has_footer = s->end_is_known = true;
		s->end = footer.data_end;
		s->may_be_sealed &= footer.version == TABLE_SEALED_VERSION;
		s->may_be_plain &= footer.version != TABLE_SEALED_VERSION;
	}
	return r;
}

int
table_scan_open(struct table_scan *ret, struct vfs *vfs, const char *path, uint64_t number,
		struct sett_error *error)
{
	*ret = (struct table_scan){.vfs = vfs, .number = number, .error = error};
	if (snprintf(ret->path, sizeof(ret->path), "%s", path) >= (int)sizeof(ret->path))
		return sett_error_set(error, SETT_INVALID, 0, "The path is too long: %s", path);
	int r = file_window_open(&ret->bytes, vfs, path, error);
	if (r != SETT_OK)
		return r;
	ret->is_open = true;
	ret->size = ret->bytes.size;
	ret->keys = vfs->keys;
	ret->may_be_sealed = vfs->keys != NULL;
	ret->may_be_plain = vfs_takes_plain(vfs);
	ret->budget = ret->keys ? SEALED_BUDGET_FACTOR * ret->size + SEALED_BUDGET_LEAST
				: BUDGET_FACTOR * ret->size;
	r = read_footer(ret);
	if (r != SETT_OK)
		table_scan_close(ret);
	return r;
}

void
table_scan_pause(struct table_scan *s)
{
	if (s->is_open)
		file_window_close(&s->bytes);
	s->is_open = false;
}

void
table_scan_close(struct table_scan *s)
{
	table_scan_pause(s);
	block_release(s->block);
	buffer_free(&s->user);
	s->block = NULL;
}
