/* Consumer groups of a stream: entries of its object beside its nodes, each of its own, so that an XACK costs the same
 * whatever the group has.
 *
 *     group      prefix 01 name                              head: number last read consumers pending next-consumer low oldest
 *                                                           high removed owners node
 *     consumer   prefix 02 group:u64be name                  head: number seen pending
 *     pending    prefix 03 group:u64be id                    head: delivered count      body: the consumer's name
 *     its owner  prefix 04 group:u64be consumer:u64be id     empty; of groups with owners
 *     its age    prefix 05 group:u64be delivered:u64be id    empty; of groups that were asked for the oldest
 *
 *     prefix     keyspace_element_prefix
 *     number     of a group in its stream, of a consumer in its group; never used again
 *     last       the id delivered last, two varints as in stream.h
 *     read       entries read + 1; 0: not known
 *     pending    how many are
 *     low        no pending id is below, two varints: those that were acknowledged leave the engine only after a while, and
 *                no walk meets those at the ends
 *     oldest     0: ages are not kept. Else nothing pending was delivered before that ms, less 1
 *     high       no pending id is above
 *     removed    pending entries, since low and high were found
 *     owners     whether there are such entries: from STREAM_OWNERS_FROM pending ones on until none is pending. Before, those
 *                of one consumer are found by looking at all
 *     node       key of the node in which the entry `last` was found, two varints; absent where that is not known. A reader goes on
 *                there without a search. It may be gone, and be changed, like any node
 *     seen       when the consumer last did something; delivered: when the entry last was; ms since 1970
 *     count      of deliveries
 *     id         ms:u64be seq:u64be
 *
 * Names have up to STREAM_NAME_MAX bytes. All numbers in heads are varints. Changes are seen at once through the same
 * struct; stream_group_save writes what is still to be written. Statuses as in stream.h. */
#ifndef SETT_TYPES_STREAM_GROUPS_H
#define SETT_TYPES_STREAM_GROUPS_H

#include "types/stream.h"

enum { STREAM_NAME_MAX = 4096, STREAM_OWNERS_FROM = 128 };

struct stream_consumer {
	struct stream_consumer *next; /* of those that were used; in the view's arena */
	struct bytes name;
	uint64_t number, seen, pending;
	bool changed;
};

struct stream_group {
	struct stream *stream;
	struct bytes name;
	uint64_t number;
	struct stream_id last;
	uint64_t read; /* + 1; 0: not known */
	uint64_t consumers, pending, next_consumer;
	struct stream_id low;
	uint64_t oldest;
	struct stream_id high;
	uint64_t removed;
	bool owners;
	struct stream_id node,
		node_last; /* zeros: not known; that of `last` only as long as `last` is `node_last` */
	bool changed;
	struct stream_consumer *used;
};

struct stream_pending {
	struct stream_id id;
	struct bytes consumer;
	uint64_t delivered, count;
};

/* SETT_NOT_FOUND. Names must last as long as the struct. */
int stream_group_open(struct stream *, struct bytes name, struct stream_group *ret);
/* A new one, which the stream does not have. The stream is to be saved. */
int stream_group_create(struct stream *, struct bytes name, struct stream_group *ret);
/* With all that it has. The stream is to be saved. */
int stream_group_destroy(struct stream_group *);
/* Before stream_save. */
int stream_group_save(struct stream_group *);

/* SETT_NOT_FOUND. */
int stream_consumer_find(struct stream_group *, struct bytes name, struct stream_consumer **ret);
/* A new one, which the group does not have. */
int stream_consumer_create(struct stream_group *, struct bytes name, struct stream_consumer **ret);
/* With what is pending for it; how many. */
int stream_consumer_delete(struct stream_group *, struct stream_consumer *, uint64_t *ret);

/* SETT_NOT_FOUND. */
int stream_pending_get(const struct stream_group *, struct stream_id, struct stream_pending *ret);
/* `old`: as it is stored, NULL if it is not. */
int stream_pending_put(struct stream_group *, struct stream_id, struct stream_consumer *, uint64_t delivered,
		       uint64_t count, const struct stream_pending *old);
int stream_pending_remove(struct stream_group *, const struct stream_pending *);

/* What is pending from `from` to `to`, of one consumer or (NULL) all. Of a consumer's the id and the name alone are sure to be given;
 * names are valid until the next call. To be closed also after an error; while it is open the group must not be changed. */
struct stream_pending_walk {
	struct stream_group *group;
	const struct stream_consumer *consumer;
	struct sett_iterator *iterator;
	size_t skip; /* of a key, before the id */
	bool by_owner, has_begun;
};
int stream_pending_walk(struct stream_group *, const struct stream_consumer *, struct stream_id from,
			struct stream_id to, struct stream_pending_walk *ret);
/* SETT_NOT_FOUND at the end. */
int stream_pending_walk_next(struct stream_pending_walk *, struct stream_pending *ret);
void stream_pending_walk_close(struct stream_pending_walk *);

/* Up to `most` that are pending from `from` to `to`, of one consumer or (NULL) all, in an array in the view's arena. */
int stream_pending_list(struct stream_group *, const struct stream_consumer *, struct stream_id from,
			struct stream_id to, uint64_t most, struct stream_pending **ret, size_t *ret_count);
/* Up to `most` that were delivered up to this time, the oldest first. From the first call on their ages are kept. */
int stream_pending_oldest(struct stream_group *, uint64_t delivered_to, uint64_t most,
			  struct stream_pending **ret, size_t *ret_count);
/* The last of a group that has some. */
int stream_pending_last(struct stream_group *, struct stream_id *ret);
/* Names of all groups; of all consumers of a group. In order, in arrays in the view's arena. */
int stream_group_names(struct stream *, struct bytes **ret, size_t *ret_count);
int stream_consumer_names(struct stream_group *, struct bytes **ret, size_t *ret_count);
/* Up to `most` of them: the first ones, or those after this name. */
int stream_group_names_after(struct stream *, const struct bytes *after, size_t most, struct bytes **ret,
			     size_t *ret_count);
int stream_consumer_names_after(struct stream_group *, const struct bytes *after, size_t most,
				struct bytes **ret, size_t *ret_count);

/* About the bytes that all groups take with what they have. */
int stream_groups_size(struct stream *, uint64_t *ret);
/* How many entries there were up to this id, if that can be told: else false. */
bool stream_entries_up_to(const struct stream *, struct stream_id, uint64_t *ret);
/* The group is given the entry: its last id and the number of entries read follow. */
void stream_group_read(struct stream_group *, struct stream_id);
/* The entry that it was given last was found in this node; zeros: in none. */
void stream_group_note_node(struct stream_group *, struct stream_id node);
/* That node, to begin a walk behind that entry; zeros: not known. */
struct stream_id stream_group_node(const struct stream_group *);
/* How many entries the group has not read; false: not known. */
bool stream_group_lag(const struct stream_group *, int64_t *ret);

#endif
