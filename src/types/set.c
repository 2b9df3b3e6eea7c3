/* Sets as hashes without values; see set.h. */
#include "types/set.h"

static struct hash_limits
limits_of(const struct set_limits *limits)
{
	return (struct hash_limits){.packed_size = limits->packed_size,
				    .listpack_entries = limits->intset_entries};
}

int
set_open(struct key *key, const struct set_limits *limits, struct hash *ret)
{
	struct hash_limits hash_limits = limits_of(limits);
	return hash_open_as(key, VALUE_SET, &hash_limits, ret);
}

void
set_replace(struct key *key, const struct set_limits *limits, struct hash *ret)
{
	struct hash_limits hash_limits = limits_of(limits);
	hash_replace(key, VALUE_SET, &hash_limits, ret);
}

int
set_add(struct hash *set, struct bytes member, bool *ret_existed)
{
	return hash_add(set, member, ret_existed);
}

int
set_add_new(struct hash *set, struct bytes member)
{
	return hash_add_new(set, member);
}

const char *
set_encoding_name(const struct root *root)
{
	return root->encoding == SET_INTSET ? "intset" : "hashtable";
}
