#include "rdb/payload.h"

#include "rdb/crc64.h"

enum { VERSION_SIZE = 2, CRC_SIZE = 8 };

void
rdb_payload_seal(struct rdb_writer *w, unsigned version)
{
	rdb_put_byte(w, (uint8_t)version);
	rdb_put_byte(w, (uint8_t)(version >> 8));
	if (!w->failed)
		rdb_put_little_endian(w, crc64(0, buffer_bytes(&w->out)), 8);
}

int
rdb_payload_open(struct bytes payload, struct bytes *ret_value)
{
	uint64_t crc;
	if (payload.size < VERSION_SIZE + CRC_SIZE)
		return RDB_MALFORMED;
	size_t covered = payload.size - CRC_SIZE, size = covered - VERSION_SIZE;
	struct rdb_input end = {payload.data + covered, payload.data + payload.size};
	unsigned version = payload.data[size] | (unsigned)payload.data[size + 1] << 8;
	int status = rdb_get_u64le(&end, &crc);
	if (status != SETT_OK)
		return status;
	if (version > RDB_VERSION_MAX || crc64(0, bytes_of(payload.data, covered)) != crc)
		return RDB_MALFORMED;
	*ret_value = bytes_of(payload.data, size);
	return SETT_OK;
}
