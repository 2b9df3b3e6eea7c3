/* SHA-1 (FIPS 180-4), by which scripts are called. It protects nothing here: a name, no more. */
#ifndef SETT_SCRIPT_SHA1_H
#define SETT_SCRIPT_SHA1_H

#include "storage/base/bytes.h"

enum { SHA1_HEX_SIZE = 40 };

/* The digest as lower-case hexadecimal digits, with a NUL behind them. Any thread. */
void sha1_hex(struct bytes, char ret[SHA1_HEX_SIZE + 1]);

#endif
