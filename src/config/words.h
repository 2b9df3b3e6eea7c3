/* Words of a configuration line: quoting as redis.conf and redis-cli know it. */
#ifndef SETT_CONFIG_WORDS_H
#define SETT_CONFIG_WORDS_H

#include "storage/base/bytes.h"

/* The words of one line. All zero is empty. */
struct words {
	struct bytes *items; /* into `text`; each is followed by a NUL that is not part of it */
	size_t count;
	struct buffer text;
};

/* Splits at white space. "..." takes \n \r \t \b \a \xHH and \ before any other character; '...' takes \'.
 * A closing quote must be followed by white space or the end. SETT_OK, SETT_INVALID (unbalanced quotes),
 * SETT_NO_MEMORY. `ret` must be empty; words_free it. */
int words_split(struct bytes line, struct words *ret);
void words_free(struct words *);
/* Appends the bytes in double quotes, escaped so that words_split gives them back. */
int words_append_quoted(struct buffer *, struct bytes);

#endif
