/* The entry's body: id:40 second_id:40 second_offset:u64le db:u64le (both signed). */
#include "keyspace/position.h"

#include "keyspace/private.h"
#include "storage/base/varint.h"

enum { BODY_SIZE = 2 * REPLICATION_ID_SIZE + 16 };
#define OFFSET_COUNTER UINT64_MAX

static const uint8_t entry_key[2] = {KIND_META, 'r'};

static int
read_entry(struct sett_txn *txn, struct stream_position *ret)
{
	struct sett_record record;
	struct bytes body;
	int status = sett_txn_get(txn, bytes_of(entry_key, sizeof(entry_key)), &record);
	if (status == SETT_NOT_FOUND)
		return SETT_OK;
	if (status == SETT_OK)
		status = sett_txn_body(txn, &record, &body);
	if (status != SETT_OK)
		return status;
	if (body.size != BODY_SIZE)
		return SETT_CORRUPT;
	memcpy(ret->id, body.data, REPLICATION_ID_SIZE);
	memcpy(ret->second_id, body.data + REPLICATION_ID_SIZE, REPLICATION_ID_SIZE);
	ret->second_offset = (int64_t)get_le64(body.data + BODY_SIZE - 16);
	ret->db = (int64_t)get_le64(body.data + BODY_SIZE - 8);
	return SETT_OK;
}

int
position_read(struct sett_engine *engine, struct stream_position *ret, struct sett_error *error)
{
	struct sett_txn *txn = NULL;
	int64_t offset = 0;
	*ret = (struct stream_position){.second_offset = -1, .db = -1};
	memset(ret->second_id, '0', REPLICATION_ID_SIZE);
	int status = sett_txn_create(engine, &txn);
	if (status == SETT_OK)
		status = sett_txn_begin(txn, SETT_TXN_MANUAL_CONFLICTS);
	if (status == SETT_OK)
		status = read_entry(txn, ret);
	if (status == SETT_OK)
		status = sett_txn_counter(txn, OFFSET_COUNTER, &offset);
	if (status == SETT_OK && offset < 0)
		status = SETT_CORRUPT;
	if (status != SETT_OK)
		sett_error_set(error, status, 0, "cannot read the replication position: %s",
			       sett_status_text(status));
	ret->offset = (uint64_t)offset;
	sett_txn_destroy(txn);
	return status;
}

int
position_advance(struct keyspace_view *view, uint64_t bytes)
{
	return sett_txn_counter_add(view->txn, OFFSET_COUNTER, (int64_t)bytes);
}

int
position_replace(struct keyspace_view *view, uint64_t offset, const struct stream_position *p)
{
	uint8_t body[BODY_SIZE];
	memcpy(body, p->id, REPLICATION_ID_SIZE);
	memcpy(body + REPLICATION_ID_SIZE, p->second_id, REPLICATION_ID_SIZE);
	put_le64(body + BODY_SIZE - 16, (uint64_t)p->second_offset);
	put_le64(body + BODY_SIZE - 8, (uint64_t)p->db);
	int status = sett_txn_put(view->txn, bytes_of(entry_key, sizeof(entry_key)),
				  &(struct sett_put){.body = bytes_of(body, BODY_SIZE)});
	return status == SETT_OK ? position_advance(view, p->offset - offset) : status;
}

int
position_forget(struct keyspace_view *view)
{
	return sett_txn_delete(view->txn, bytes_of(entry_key, sizeof(entry_key)));
}
