/* What the files of groups share: keys and records of what stands beside the nodes. */
#ifndef SETT_TYPES_STREAM_GROUPS_PRIVATE_H
#define SETT_TYPES_STREAM_GROUPS_PRIVATE_H

#include "types/stream_groups.h"

enum {
	KIND_GROUP = 1,
	KIND_CONSUMER = 2,
	KIND_PENDING = 3,
	KIND_OWNED = 4,
	KIND_AGE = 5,
	GROUP_KEY_MAX = ELEMENT_PREFIX_SIZE + 1 + 8 + 8 + 16 + STREAM_NAME_MAX,
	GROUP_FIELDS = 14, /* without the node */
	GROUP_FIELDS_MAX = GROUP_FIELDS + 2,
};

struct group_key {
	size_t size;
	uint8_t bytes[GROUP_KEY_MAX];
};
void group_key_begin(const struct stream *, unsigned kind, struct group_key *);
void group_key_add_number(struct group_key *, uint64_t);
void group_key_add_name(struct group_key *, struct bytes name);
void group_key_add_id(struct group_key *, struct stream_id);
void group_key_of_group(const struct stream *, struct bytes name, struct group_key *);
void group_key_of_consumer(const struct stream_group *, struct bytes name, struct group_key *);
/* The key that comes after all that begin with these. */
void group_key_after(const struct group_key *, struct group_key *ret);

/* Records whose head is numbers. */
int group_put_numbers(const struct stream *, const struct group_key *, const uint64_t *numbers, size_t count,
		      struct bytes body);
int group_read_numbers(const struct sett_record *, uint64_t *ret, size_t count);
int group_get_numbers(const struct stream *, const struct group_key *, uint64_t *ret, size_t count,
		      struct sett_record *ret_record);
int group_delete_key(const struct stream *, const struct group_key *);
/* What follows the first `skip` bytes of all keys from `lower` to before `upper`, up to `most`, copied. */
int group_list_keys(const struct stream *, const struct group_key *lower, const struct group_key *upper,
		    size_t skip, uint64_t most, struct bytes **ret, size_t *ret_count);

/* The first and the last id that are pending, of which there is one at least, become the marks. */
int group_narrow(struct stream_group *);

#endif
