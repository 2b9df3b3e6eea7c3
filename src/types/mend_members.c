/* Hashes, sets and sorted sets, from their members. The index of deadlines and the pages of a sorted set's order follow from those, and
 * are made anew. Where a member stands in two generations the later one counts: it was moved there. */
#include "types/members_private.h"
#include "types/mend_private.h"
#include "types/set.h"
#include "types/zset_private.h"

struct rebuilt {
	struct hash hash;
	struct zset zset;
	enum value_type type;
};

static int
open_new(struct rebuild *r, struct rebuilt *ret)
{
	const struct config *config = r->run->options->config;
	struct hash_limits limits = limits_of_hashes(config), zset_limits = limits_of_zsets(config);
	struct set_limits set_limits = limits_of_sets(config);
	ret->type = r->old->root.type;
	if (ret->type == VALUE_ZSET)
		return zset_open(r->key, &zset_limits, &ret->hash, &ret->zset);
	return ret->type == VALUE_SET ? set_open(r->key, &set_limits, &ret->hash)
				      : hash_open(r->key, &limits, &ret->hash);
}

/* Takes the entry apart; SETT_CORRUPT: it is none that a member has. */
static int
read_member(struct bytes key, unsigned kind, const struct sett_record *record, struct bytes body,
	    struct member *ret, struct bytes *ret_name, struct bytes *ret_value)
{
	size_t start = kind == KIND_MEMBER ? MEMBER_START : RENEWED_START;
	if (key.size < start || key.size > start + STORED_MAX)
		return SETT_CORRUPT;
	*ret = (struct member){.stored = bytes_from(key, start), .record = *record};
	if (member_decode_head(ret) != SETT_OK || ret->name_size > body.size)
		return SETT_CORRUPT;
	*ret_name = ret->name_size > 0 ? bytes_of(body.data, (size_t)ret->name_size) : ret->stored;
	*ret_value = bytes_from(body, (size_t)ret->name_size);
	return SETT_OK;
}

static int
put_scored(struct rebuilt *b, struct bytes name, struct bytes value)
{
	struct zset_member old;
	double score;
	if (value.size != SCORE_SIZE)
		return SETT_OK;
	score = score_from_bits(get_be64(value.data));
	if (score != score) /* no number: no server has written it */
		return SETT_OK;
	int status = zset_find(&b->zset, name, &old);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	return zset_put(&b->zset, name, score, status == SETT_OK ? &old : NULL);
}

static int
put_member(struct rebuild *r, struct rebuilt *b, struct sett_iterator *iterator, unsigned kind)
{
	struct sett_record record;
	struct bytes body, name, value;
	struct member member;
	int status = sett_iterator_record(iterator, &record);
	if (status == SETT_OK)
		status = sett_txn_body(r->old->view->txn, &record, &body);
	if (status != SETT_OK)
		return status;
	if (read_member(sett_iterator_key(iterator), kind, &record, body, &member, &name, &value) != SETT_OK)
		return SETT_OK;
	if (b->type == VALUE_ZSET)
		return put_scored(b, name, value);
	if (b->type == VALUE_SET)
		return set_add(&b->hash, name, &(bool){false});
	return hash_put(&b->hash, name, value, member.deadline, NULL);
}

static int
put_kind(struct rebuild *r, struct rebuilt *b, unsigned kind)
{
	struct sett_iterator *iterator;
	int status = rebuild_open(r, kind, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct sett_read_mark mark = sett_txn_read_mark(r->old->view->txn);
		status = put_member(r, b, iterator, kind);
		if (status != SETT_OK)
			break;
		/* A small one keeps in memory what it has. */
		if (b->hash.object != 0)
			sett_txn_forget_reads(r->old->view->txn, &mark);
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

int
rebuild_members(struct rebuild *r)
{
	const struct root *root = &r->old->root;
	struct rebuilt b;
	if (varint_get(root->fields.data, bytes_end(root->fields), &r->had) == NULL)
		r->had = 0;
	int status = open_new(r, &b);
	if (status == SETT_OK)
		status = put_kind(r, &b, KIND_MEMBER);
	if (status == SETT_OK)
		status = put_kind(r, &b, KIND_RENEWED);
	if (status != SETT_OK)
		return status;
	r->has = b.hash.count;
	return b.type == VALUE_ZSET ? zset_save(&b.zset) : hash_save(&b.hash);
}
