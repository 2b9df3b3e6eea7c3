/* The table of types. */
#include "types/type.h"

#include "types/digest.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/stream_groups.h"
#include "types/string.h"
#include "types/zset.h"

struct type_operations {
	const char *(*encoding_name)(const struct root *);
	int (*copy)(const struct key *from, struct key *to);
	int (*digest)(struct key *, struct digest *);
	/* Of types whose elements have deadlines. */
	int (*expire)(struct key *, size_t most, size_t *ret_deleted, uint64_t *ret_due_at);
};

static const struct type_operations types[VALUE_TYPE_END] = {
	[VALUE_STRING] = {.encoding_name = string_encoding_name,
			  .copy = key_copy_string,
			  .digest = string_digest},
	[VALUE_LIST] = {.encoding_name = list_encoding_name, .copy = list_copy, .digest = list_digest},
	[VALUE_SET] = {.encoding_name = set_encoding_name, .copy = hash_copy, .digest = hash_digest},
	[VALUE_ZSET] = {.encoding_name = zset_encoding_name, .copy = zset_copy, .digest = hash_digest},
	[VALUE_HASH] = {.encoding_name = hash_encoding_name,
			.copy = hash_copy,
			.digest = hash_digest,
			.expire = hash_expire},
	[VALUE_STREAM] = {.encoding_name = stream_encoding_name,
			  .copy = stream_copy,
			  .digest = stream_digest},
};

static const struct type_operations *
operations_of(const struct root *root)
{
	assert((unsigned)root->type < VALUE_TYPE_END && types[root->type].copy != NULL);
	return &types[root->type];
}

const char *
type_encoding_name(const struct root *root)
{
	return operations_of(root)->encoding_name(root);
}

int
type_copy(const struct key *from, struct key *to)
{
	return operations_of(&from->root)->copy(from, to);
}

int
type_digest(struct key *k, struct digest *digest)
{
	uint8_t type = (uint8_t)k->root.type;
	digest_mix(digest, 1, bytes_of(&type, 1));
	int status = operations_of(&k->root)->digest(k, digest);
	if (status == SETT_OK && k->root.expires_at != 0)
		digest_mix(digest, 3, BYTES_LITERAL("expires"));
	return status;
}

uint64_t
type_stored_size(const struct root *root)
{
	/* Of a string in chunks, not all of its length is stored. */
	uint64_t body = root->object != 0 ? root->record.body_size : root->body_size;
	return body + root->object_bytes;
}

int
type_size_beside(struct key *k, uint64_t *ret)
{
	struct stream s;
	*ret = 0;
	if (k->root.type != VALUE_STREAM)
		return SETT_OK;
	int status = stream_open(k, 0, &s);
	return status == SETT_OK ? stream_groups_size(&s, ret) : status;
}

/* ---- expiry ---- */

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static int
expire_elements(struct key *k, size_t *budget, struct type_expired *expired)
{
	uint64_t due_at = k->root.due_at;
	int status = SETT_OK;
	if (due_at != 0 && due_at<k->view->now_ms && * budget> 0) {
		assert(operations_of(&k->root)->expire != NULL);
		status = operations_of(&k->root)->expire(k, *budget, &expired->elements, &due_at);
		*budget -= expired->elements;
		if (status == SETT_OK && expired->elements > 0)
			status = key_event(k, EVENT_HASH, "hexpired");
		if (status == SETT_OK && !k->exists)
			status = key_event(k, EVENT_GENERIC, "del");
	}
	expired->deadline = k->exists ? earlier(k->root.expires_at, due_at) : 0;
	return status;
}

int
type_expire(struct keyspace_view *view, unsigned db, struct bytes stored, size_t *budget,
	    struct type_expired *ret)
{
	struct key k;
	struct type_expired expired = {0};
	int status = key_open_stored(view, db, stored, &k);
	if (status == SETT_OK && k.exists) {
		status = expire_elements(&k, budget, &expired);
	} else if (status == SETT_OK && k.is_stored) {
		status = key_delete(&k);
		expired.key = true;
		if (status == SETT_OK)
			view->last_touched->expired = true;
	}
	if (status == SETT_OK)
		*ret = expired;
	return status;
}
