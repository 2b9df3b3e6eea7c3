/* What DUMP gives and RESTORE takes: a value as value_reader.h describes it, the RDB version that it needs as u16le,
 * and the CRC-64 (crc64.h) of all before as u64le. */
#ifndef SETT_RDB_PAYLOAD_H
#define SETT_RDB_PAYLOAD_H

#include "rdb/value_writer.h"

enum {
	RDB_VERSION = 10,           /* Redis 7.0's: what it restores */
	RDB_VERSION_DEADLINES = 12, /* Redis 7.4's: hashes whose fields have deadlines */
	RDB_VERSION_MAX = 12,       /* that can be read */
};

enum { RDB_TRAILER_SIZE = 10 };
/* What ends a value that has this CRC-64. */
void rdb_payload_trailer(uint64_t crc, unsigned version, uint8_t ret[RDB_TRAILER_SIZE]);
/* Ends a value. */
void rdb_payload_seal(struct rdb_writer *, unsigned version);
/* The value within a payload. RDB_MALFORMED: it is too short, of a later version, or (unless `trusts`) its CRC is
 * another. */
int rdb_payload_open(struct bytes payload, bool trusts, struct bytes *ret_value);

#endif
