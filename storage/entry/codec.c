/* LZ4 and zstd, and a few contexts to share; see codec.h. */
#include "codec.h"

#include <assert.h>
#include <lz4.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "storage/base/varint.h"
#include "storage/status.h"

enum { FRAME_HEADER_MAX = 18 /* no header of a frame is longer (RFC 8878, 3.1.1.1) */ };

size_t
codec_bound(enum codec codec, size_t size)
{
	if (codec == CODEC_LZ4)
		return (size_t)LZ4_compressBound((int)size) + CODEC_HEADER;
	return codec == CODEC_ZSTD ? ZSTD_compressBound(size) + CODEC_HEADER : size;
}

size_t
codec_pack(enum codec codec, int level, void **context, struct bytes raw, uint8_t *out, size_t room)
{
	size_t limit = raw.size - raw.size / 8, size = 0;
	assert(codec == CODEC_RAW || room >= codec_bound(codec, raw.size));
	if (codec == CODEC_LZ4) {
		int n = LZ4_compress_default((const char *)raw.data, (char *)out + CODEC_HEADER,
					     (int)raw.size, (int)(room - CODEC_HEADER));
		size = n > 0 ? (size_t)n : 0;
	} else if (codec == CODEC_ZSTD) {
		if (!*context)
			*context = ZSTD_createCCtx();
		if (!*context)
			return 0;
		size = ZSTD_compressCCtx(*context, out + CODEC_HEADER, room - CODEC_HEADER, raw.data,
					 raw.size, level ? level : 1);
		if (ZSTD_isError(size))
			size = 0;
	}
	if (size == 0 || size + CODEC_HEADER > limit)
		return 0;
	put_le32(out, (uint32_t)raw.size);
	return size + CODEC_HEADER;
}

void
codec_context_free(void *context)
{
	ZSTD_freeCCtx(context);
}

uint32_t
codec_raw_size(struct bytes packed)
{
	return packed.size > CODEC_HEADER ? get_le32(packed.data) : 0;
}

/* A length of an LZ4 sequence: 15 goes on in the bytes that follow, up to one below 255. NULL: they end before. */
static const uint8_t *
lz4_length(const uint8_t *p, const uint8_t *end, size_t *length)
{
	uint8_t more = 255;
	if (*length != 15)
		return p;
	for (; more == 255; *length += more) {
		if (p == end)
			return NULL;
		more = *p++;
	}
	return p;
}

/* An LZ4 block (lz4_Block_format.md of the LZ4 project) is a row of sequences, of literals and a copy of what came before; the
 * last has literals alone, and ends with the last raw byte. */
static int
lz4_size(const uint8_t *p, const uint8_t *end, size_t raw, const uint8_t **ret)
{
	enum { OFFSET = 2, LEAST_COPY = 4 };
	for (size_t made = 0;;) {
		if (p == end)
			return SETT_NOT_FOUND;
		size_t literals = *p >> 4, copied = *p & 15;
		p = lz4_length(p + 1, end, &literals);
		if (p == NULL)
			return SETT_NOT_FOUND;
		made += literals;
		if (made > raw)
			return SETT_CORRUPT;
		if (literals > (size_t)(end - p))
			return SETT_NOT_FOUND;
		p += literals;
		if (made == raw) {
			*ret = p;
			return copied == 0 ? SETT_OK : SETT_CORRUPT;
		}
		if (end - p < OFFSET)
			return SETT_NOT_FOUND;
		size_t back = get_le16(p);
		p = lz4_length(p + OFFSET, end, &copied);
		made += copied + LEAST_COPY;
		if (back == 0 || back > made - copied - LEAST_COPY || made >= raw)
			return SETT_CORRUPT;
		if (p == NULL)
			return SETT_NOT_FOUND;
	}
}

int
codec_packed_size(enum codec codec, size_t most, struct bytes packed, size_t *ret)
{
	if (packed.size <= CODEC_HEADER)
		return SETT_NOT_FOUND;
	size_t raw = codec_raw_size(packed), size = packed.size - CODEC_HEADER;
	const uint8_t *p = packed.data + CODEC_HEADER, *end = bytes_end(packed);
	if (raw == 0 || raw > most)
		return SETT_CORRUPT;
	if (codec == CODEC_LZ4) {
		int status = lz4_size(p, end, raw, &end);
		if (status == SETT_OK)
			*ret = (size_t)(end - packed.data);
		return status;
	}
	assert(codec == CODEC_ZSTD);
	unsigned long long claimed = ZSTD_getFrameContentSize(p, size);
	if (claimed == ZSTD_CONTENTSIZE_ERROR)
		return size >= FRAME_HEADER_MAX ? SETT_CORRUPT : SETT_NOT_FOUND;
	if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed != raw)
		return SETT_CORRUPT;
	size_t n = ZSTD_findFrameCompressedSize(p, size);
	if (ZSTD_isError(n))
		return ZSTD_getErrorCode(n) == ZSTD_error_srcSize_wrong ? SETT_NOT_FOUND : SETT_CORRUPT;
	*ret = n + CODEC_HEADER;
	return SETT_OK;
}

void *
codec_unpacker_create(void)
{
	return ZSTD_createDCtx();
}

void
codec_unpacker_free(void *context)
{
	ZSTD_freeDCtx(context);
}

static int
unpack_zstd(void *context, struct bytes in, uint8_t *out, size_t size)
{
	ZSTD_DCtx *own = context ? NULL : ZSTD_createDCtx();
	if (!context && !own)
		return SETT_NO_MEMORY;
	size_t n = ZSTD_decompressDCtx(context ? context : own, out, size, in.data, in.size);
	ZSTD_freeDCtx(own);
	return !ZSTD_isError(n) && n == size ? SETT_OK : SETT_CORRUPT;
}

int
codec_unpack(enum codec codec, void *context, struct bytes packed, uint8_t *out, size_t size)
{
	if (codec_raw_size(packed) != size || size == 0)
		return SETT_CORRUPT;
	struct bytes in = bytes_of(packed.data + CODEC_HEADER, packed.size - CODEC_HEADER);
	if (codec == CODEC_ZSTD)
		return unpack_zstd(context, in, out, size);
	if (codec != CODEC_LZ4)
		return SETT_CORRUPT;
	int n = LZ4_decompress_safe((const char *)in.data, (char *)out, (int)in.size, (int)size);
	return n >= 0 && (size_t)n == size ? SETT_OK : SETT_CORRUPT;
}

/* ---- the pool ---- */

void
codec_pool_init(struct codec_pool *p)
{
	mutex_init(&p->lock);
}

void
codec_pool_free(struct codec_pool *p)
{
	while (p->packer_count > 0)
		ZSTD_freeCCtx(p->packers[--p->packer_count]);
	while (p->unpacker_count > 0)
		ZSTD_freeDCtx(p->unpackers[--p->unpacker_count]);
	mutex_destroy(&p->lock);
}

static void *
take(struct codec_pool *p, void **slots, unsigned *count)
{
	mutex_lock(&p->lock);
	void *context = *count > 0 ? slots[--*count] : NULL;
	mutex_unlock(&p->lock);
	return context;
}

/* False if the pool is full. */
static bool
give(struct codec_pool *p, void **slots, unsigned *count, void *context)
{
	mutex_lock(&p->lock);
	bool taken = context && *count < CODEC_POOL_SLOTS;
	if (taken)
		slots[(*count)++] = context;
	mutex_unlock(&p->lock);
	return taken;
}

size_t
codec_pool_pack(struct codec_pool *p, enum codec codec, int level, struct bytes raw, uint8_t *out,
		size_t room)
{
	void *context = codec == CODEC_ZSTD ? take(p, p->packers, &p->packer_count) : NULL;
	size_t size = codec_pack(codec, level, &context, raw, out, room);
	if (!give(p, p->packers, &p->packer_count, context))
		ZSTD_freeCCtx(context);
	return size;
}

int
codec_pool_unpack(struct codec_pool *p, enum codec codec, struct bytes packed, uint8_t *out, size_t size)
{
	void *context = codec == CODEC_ZSTD ? take(p, p->unpackers, &p->unpacker_count) : NULL;
	if (codec == CODEC_ZSTD && !context)
		context = codec_unpacker_create();
	int r = codec_unpack(codec, context, packed, out, size);
	if (!give(p, p->unpackers, &p->unpacker_count, context))
		ZSTD_freeDCtx(context);
	return r;
}
