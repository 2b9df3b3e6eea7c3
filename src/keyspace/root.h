/* The head of a root record: its encoding, its decoding, and where a long key's text is. */
#ifndef SETT_KEYSPACE_ROOT_H
#define SETT_KEYSPACE_ROOT_H

#include "keyspace/key.h"

/* SETT_CORRUPT if the head makes no sense. */
int root_parse(const struct sett_record *, struct root *ret);
/* Whether its deadline has passed; all transactions agree on that (I18). */
bool root_is_expired(const struct keyspace_view *, const struct root *);
/* The user key of a root found under `engine_key`; reads the body if the key is kept there. */
int root_user_key(struct keyspace_view *, struct bytes engine_key, const struct root *, struct bytes *ret);
/* False: the record found under a long key's engine key is that of another key with the same prefix and hash:
 * the two can't both be kept. */
bool root_is_of(const struct root *, struct bytes name);

/* The head of a root, made for a key of this name. `text_in_body`: the body must begin with the name. Heads of
 * ordinary strings need no memory but the caller's `room`. SETT_NO_MEMORY, SETT_TOO_LARGE. */
enum { ROOT_HEAD_ROOM = 16 };
int root_encode_head(const struct root_content *, struct bytes name, struct arena *,
		     uint8_t room[ROOT_HEAD_ROOM], struct bytes *ret, bool *ret_text_in_body);
/* The body of a root begins with the text of a key that is longer than this. */
size_t root_longest_name_in_head(void);

#endif
