/* The encoded form of one commit: what the log keeps and what recovery applies.
 *
 *     batch     = entries counters prefixes extension
 *     entries   = count:varint { key_size:varint key value_size:varint value }     of distinct keys
 *     counters  = count:varint { counter:varint kind:u8 delta:zigzag varint }      kind 0: add; 1: forget
 *                                                                                  first, then add
 *     prefixes  = count:varint { head:varint [bytes:varint] prefix }
 *     head      = size + 128 * kind     size 1 to 64; kind: 0 dropped, 1 id dropped (with `bytes`),
 *                                       2 id pending, 3 id published
 *     extension = size:varint [index:varint values:varint] bytes
 *                                       what the commit shadows (struct weight), of commits that delete or that
 *                                       shadow values in the value log; further bytes are skipped
 *
 * `value` is an encoded entry (internal_key.h). */
#ifndef SETT_BATCH_H
#define SETT_BATCH_H

#include "internal_key.h"
#include "storage/base/bytes.h"
#include "write_buffer.h"

/* Appends the batch to `ret`, and notes in each node where in `ret` its value is. `ret_garbage` is what its commit
 * makes garbage: the entries that it shadows, and its tombstones. SETT_NO_MEMORY, SETT_TOO_LARGE. */
int batch_encode(struct write_buffer *, struct buffer *ret, struct weight *ret_garbage);

struct batch_counter {
	uint64_t counter;
	bool forget;
	int64_t delta;
};

/* For who puts batches together (archive_writer.c). SETT_NO_MEMORY. */
int batch_append_varint(struct buffer *, uint64_t);
int batch_append_counter(struct buffer *, const struct batch_counter *);
int batch_append_prefix(struct buffer *, const struct prefix_change *);

/* What a reader of batches does with each part; results other than SETT_OK end the walk. Slices are valid as
 * long as the batch. */
struct batch_visitor {
	int (*entry)(void *arg, struct bytes key, struct bytes value);
	int (*counter)(void *arg, const struct batch_counter *);
	int (*prefix)(void *arg, const struct prefix_change *);
	void *arg;
	/* What the commit makes garbage, if the batch says so. May be NULL. */
	void (*garbage)(void *arg, struct weight);
};

/* SETT_CORRUPT if the batch is malformed (before or after some calls), or a visitor's result. */
int batch_visit(struct bytes batch, const struct batch_visitor *);

#endif
