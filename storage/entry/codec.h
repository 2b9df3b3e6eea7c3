/* Compression of blocks and of values: packed bytes are the raw size (u32) and then one LZ4 block or one zstd
 * frame. The numbers of the kinds are those of the formats (docs/format-table.md, docs/format-value-log.md).
 */
#ifndef SETT_CODEC_H
#define SETT_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "storage/base/bytes.h"
#include "storage/base/thread.h"

enum codec { CODEC_RAW = 0, CODEC_LZ4 = 1, CODEC_ZSTD = 2, CODEC_KINDS };
enum { CODEC_HEADER = 4, CODEC_MAX_LEVEL = 19 };

/* Room that codec_pack needs for so many bytes. */
size_t codec_bound(enum codec, size_t size);
/* Packs into `out`; the bytes used, or 0 if that would not save an eighth (or memory ran out: raw is always
 * right). `context`: in and out, NULL at first, for codec_context_free. `level` is zstd's, 0 = 1. */
size_t codec_pack(enum codec, int level, void **context, struct bytes raw, uint8_t *out, size_t room);
void codec_context_free(void *context);
/* The raw size that packed bytes claim; 0 if they are too few. */
uint32_t codec_raw_size(struct bytes packed);
/* How many of the bytes, which begin as packed ones do, belong to these: for who does not know where they end. The raw size
 * is `most` at most. SETT_NOT_FOUND: more bytes are needed to tell; SETT_CORRUPT: they begin nothing that was packed. */
int codec_packed_size(enum codec, size_t most, struct bytes, size_t *ret);
/* Unpacks into exactly `size` bytes. `context`: an unpacker (NULL if memory runs out), or NULL for one of its
 * own. SETT_CORRUPT, SETT_NO_MEMORY. */
void *codec_unpacker_create(void);
void codec_unpacker_free(void *);
int codec_unpack(enum codec, void *context, struct bytes packed, uint8_t *out, size_t size);

/* Contexts to borrow, for any number of threads; all zero but for the lock. */
enum { CODEC_POOL_SLOTS = 8 };
struct codec_pool {
	struct mutex lock;
	void *packers[CODEC_POOL_SLOTS], *unpackers[CODEC_POOL_SLOTS];
	unsigned packer_count, unpacker_count;
};
void codec_pool_init(struct codec_pool *);
void codec_pool_free(struct codec_pool *);
size_t codec_pool_pack(struct codec_pool *, enum codec, int level, struct bytes raw, uint8_t *out,
		       size_t room);
int codec_pool_unpack(struct codec_pool *, enum codec, struct bytes packed, uint8_t *out, size_t size);

#endif
