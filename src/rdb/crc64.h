/* The 64-bit CRC that ends a dumped value and an RDB file: the polynomial that D. T. Jones proposed ("An Improved 64-bit
 * Cyclic Redundancy Check for Protein Sequences", 2002), 0xad93d23594c935a9, bits reflected, beginning and ending with 0.
 * Of "123456789" it is 0xe9c6d914c4b8d9ca. */
#ifndef SETT_RDB_CRC64_H
#define SETT_RDB_CRC64_H

#include "storage/base/bytes.h"

/* Goes on from `crc`, which is 0 at the beginning. Threads: any. */
uint64_t crc64(uint64_t crc, struct bytes);

#endif
