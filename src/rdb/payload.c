#include "rdb/payload.h"

#include <endian.h>

#include "rdb/crc64.h"

enum { VERSION_SIZE = 2, CRC_SIZE = 8 };
static_assert(RDB_TRAILER_SIZE == VERSION_SIZE + CRC_SIZE, "nothing else");

void
rdb_payload_trailer(uint64_t crc, unsigned version, uint8_t ret[RDB_TRAILER_SIZE])
{
	uint16_t little_version = htole16((uint16_t)version);
	memcpy(ret, &little_version, VERSION_SIZE);
	uint64_t little_crc = htole64(crc64(crc, bytes_of(ret, VERSION_SIZE)));
	memcpy(ret + VERSION_SIZE, &little_crc, CRC_SIZE);
}

void
rdb_payload_seal(struct rdb_writer *w, unsigned version)
{
	uint8_t trailer[RDB_TRAILER_SIZE];
	rdb_payload_trailer(crc64(0, buffer_bytes(&w->out)), version, trailer);
	rdb_put_bytes(w, bytes_of(trailer, sizeof(trailer)));
}

int
rdb_payload_open(struct bytes payload, bool trusts, struct bytes *ret_value)
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
	if (version > RDB_VERSION_MAX || (!trusts && crc64(0, bytes_of(payload.data, covered)) != crc))
		return RDB_MALFORMED;
	*ret_value = bytes_of(payload.data, size);
	return SETT_OK;
}
