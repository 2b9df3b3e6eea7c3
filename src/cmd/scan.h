/* What SCAN and its kin of the types share: arguments and the form of the reply. */
#ifndef SETT_CMD_SCAN_H
#define SETT_CMD_SCAN_H

#include "txn/command.h"

enum { SCAN_LONG_COUNT = 10000 /* a scan that looks at more takes long */ };

struct scan_options {
	struct bytes pattern; /* empty with `all` */
	bool all;             /* no pattern, or "*" */
	bool has_type;        /* SCAN_KEYS */
	bool no_values;       /* SCAN_HASH; always of SCAN_SET */
	int64_t count;
	struct bytes type;
};
enum scan_kind { SCAN_KEYS, SCAN_HASH, SCAN_SET, SCAN_ZSET };

/* Both give the error reply and return false if the arguments are wrong. */
/* As strtoul reads it, which Redis uses: a sign and leading zeros are fine. */
bool scan_parse_cursor(struct command_context *, struct bytes argument, uint64_t *ret);
/* From argument `first` on. */
bool scan_parse_options(struct command_context *, size_t first, enum scan_kind, struct scan_options *ret);

/* The cursor comes first in the reply and is known last: elements are appended between begin and end, which
 * puts the whole in order. */
struct scan_reply {
	size_t mark, token;
};
struct scan_reply scan_reply_begin(struct command_context *);
int scan_reply_end(struct command_context *, const struct scan_reply *, size_t found, uint64_t next);

#endif
