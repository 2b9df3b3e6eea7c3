/* The encoded form of one commit: what the log keeps and what recovery applies.
 *
 *     batch     = entries counters prefixes extension
 *     entries   = count:varint { key_size:varint key value_size:varint value }     sorted by key, distinct
 *     counters  = count:varint { counter:varint kind:u8 delta:zigzag varint }      kind 0 add, 1 forget
 * first, then add prefixes  = count:varint { size:varint prefix } extension = size:varint bytes skipped by
 * readers that don't know it
 *
 * `value` is an encoded entry (internal_key.h). */
#ifndef SETT_BATCH_H
#define SETT_BATCH_H

#include "storage/base/bytes.h"
#include "value_log.h"
#include "write_buffer.h"

/* Appends the batch to `ret`. Bodies of `threshold` bytes and more are written as pointers: the next ones of
 * `pointers`, in key order. */
int batch_encode(const struct write_buffer *, size_t threshold, const struct value_pointer *pointers,
		 struct buffer *ret);

struct batch_counter {
	uint64_t counter;
	bool forget;
	int64_t delta;
};

/* What a reader of batches does with each part; results other than SETT_OK end the walk. Slices are valid as
 * long as the batch. */
struct batch_visitor {
	int (*entry)(void *arg, struct bytes key, struct bytes value);
	int (*counter)(void *arg, const struct batch_counter *);
	int (*prefix)(void *arg, struct bytes prefix);
	void *arg;
};

/* SETT_CORRUPT if the batch is malformed (before or after some calls), or a visitor's result. */
int batch_visit(struct bytes batch, const struct batch_visitor *);

#endif
