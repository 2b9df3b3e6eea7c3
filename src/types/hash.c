/* Hashes over both layouts; see hash.h. */
#include "types/hash.h"

#include "keyspace/build.h"
#include "keyspace/held.h"
#include "keyspace/view_reads.h"
#include "storage/base/varint.h"
#include "types/digest.h"
#include "types/hash_private.h"
#include "types/member_draw.h"

enum {
	FIELDS_MAX = 5 * VARINT_MAX_SIZE + HASH_TAIL_MAX,
	OWN_MIN = 128, /* bytes of a body that is made */
	DEAD_SHARE = 4,
	DEAD_MIN = 64,
};

/* ---- opening ---- */

/* Whether a deadline has passed; all transactions agree on that (I18). Who follows a master, or reads a file, is told when a
 * field goes (I27). */
static bool
judge_deadline(const struct hash *h, uint64_t deadline)
{
	const struct keyspace_view *view = h->key->view;
	if (view->allow_expired)
		return false;
	bool passed = view->now_ms > deadline;
	if (passed)
		sett_txn_deadline_passed(view->txn, deadline);
	else
		sett_txn_deadline_ahead(view->txn, deadline);
	return passed;
}

static int
parse_generation(struct hash *h, const uint8_t *p, const uint8_t *end)
{
	uint64_t generation = 0, moved = 0;
	p = varint_get(p, end, &h->dead);
	if (p != NULL)
		p = varint_get(p, end, &generation);
	if (p != NULL)
		p = varint_get(p, end, &moved);
	if (p != end || generation > UINT32_MAX || moved > UINT32_MAX || h->object == 0)
		return SETT_CORRUPT;
	h->members.generation = (uint32_t)generation;
	h->members.moved = (uint32_t)moved;
	return SETT_OK;
}

static int
parse_fields(struct hash *h, struct bytes fields)
{
	const uint8_t *p = fields.data, *end = p + fields.size;
	p = varint_get(p, end, &h->count);
	if (p != NULL)
		p = varint_get(p, end, &h->with_deadline);
	if (p == NULL || h->count == 0 || h->with_deadline > h->count)
		return SETT_CORRUPT;
	if (h->type == VALUE_ZSET) {
		h->tail = bytes_of(p, (size_t)(end - p));
		return SETT_OK;
	}
	return p == end ? SETT_OK : parse_generation(h, p, end);
}

int
hash_open_as(struct key *key, enum value_type type, const struct hash_limits *limits, struct hash *ret)
{
	*ret = (struct hash){.key = key, .type = type, .limits = *limits, .encoding = HASH_LISTPACK};
	if (!key->exists) {
		ret->is_body_read = true;
		return SETT_OK;
	}
	const struct root *root = &key->root;
	assert(root->type == type);
	ret->encoding = root->encoding;
	ret->due_at = root->due_at;
	ret->object = root->object;
	ret->object_bytes = root->object_bytes;
	if (root->object != 0)
		members_init(&ret->members, key->view, key->epoch, root->object);
	int status = parse_fields(ret, root->fields);
	if (status == SETT_OK && (ret->due_at != 0) != (ret->with_deadline != 0))
		return SETT_CORRUPT;
	if (status == SETT_OK && root->due_at != 0)
		ret->some_due = judge_deadline(ret, root->due_at);
	return status;
}

int
hash_open(struct key *key, const struct hash_limits *limits, struct hash *ret)
{
	return hash_open_as(key, VALUE_HASH, limits, ret);
}

void
hash_replace(struct key *key, enum value_type type, const struct hash_limits *limits, struct hash *ret)
{
	*ret = (struct hash){.key = key,
			     .type = type,
			     .limits = *limits,
			     .encoding = HASH_LISTPACK,
			     .is_body_read = true,
			     .changed = true,
			     .replaces = true};
}

static int
read_body(struct hash *h)
{
	if (h->is_body_read)
		return SETT_OK;
	int status = key_body(h->key, &h->body);
	h->is_body_read = status == SETT_OK;
	return status;
}

int
hash_body(struct hash *h, struct bytes *ret)
{
	assert(h->object == 0);
	int status = read_body(h);
	if (status == SETT_OK)
		*ret = h->body;
	return status;
}

/* ---- fields ---- */

static bool
is_due(const struct hash *h, uint64_t deadline)
{
	/* If the earliest deadline is ahead, so are all. */
	return h->some_due && deadline != 0 && judge_deadline(h, deadline);
}

void
hash_field_of_packed(const struct hash *h, const struct packed_field *p, struct hash_field *ret)
{
	ret->name = p->name;
	ret->deadline = p->deadline;
	ret->value_size = p->value.size;
	ret->is_due = is_due(h, p->deadline);
	ret->is_spread = false;
	ret->packed = *p;
}

void
hash_field_of_member(const struct hash *h, const struct member *m, struct bytes name, struct hash_field *ret)
{
	ret->name = name;
	ret->deadline = m->deadline;
	ret->value_size = member_value_size(m);
	ret->is_due = is_due(h, m->deadline);
	ret->is_spread = true;
	ret->member = *m;
}

/* Also a field past its deadline. */
static int
find_stored(struct hash *h, struct bytes name, struct hash_field *ret)
{
	int status;
	if (h->object != 0) {
		struct member member;
		status = members_find(&h->members, name, &member);
		if (status == SETT_OK)
			hash_field_of_member(h, &member, name, ret);
		return status;
	}
	struct packed_field packed;
	status = read_body(h);
	if (status == SETT_OK)
		status = packed_find(h->body, name, &packed);
	if (status == SETT_OK)
		hash_field_of_packed(h, &packed, ret);
	return status;
}

int
hash_find(struct hash *h, struct bytes name, struct hash_field *ret)
{
	ret->is_due = false;
	int status = find_stored(h, name, ret);
	return status == SETT_OK && ret->is_due ? SETT_NOT_FOUND : status;
}

int
hash_find_stored(struct hash *h, struct bytes stored, struct hash_field *ret)
{
	struct member member;
	struct bytes name;
	assert(h->object != 0 && h->with_deadline == 0);
	int status = members_find_stored(&h->members, stored, &member);
	if (status == SETT_OK)
		status = members_name(&h->members, &member, &name);
	if (status == SETT_OK)
		hash_field_of_member(h, &member, name, ret);
	return status;
}

int
hash_has(struct hash *h, struct bytes name, bool *ret)
{
	struct hash_field field;
	struct sett_read_mark reads = hash_read_mark(h);
	int status = hash_find(h, name, &field);
	*ret = status == SETT_OK;
	hash_forget_reads(h, &reads);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

struct sett_read_mark
hash_read_mark(const struct hash *h)
{
	return sett_txn_read_mark(h->key->view->txn);
}

/* A body that was read since then is that of a packed hash, or of one that was spread, which does without. Elements that
 * are built are read in transactions of their own. */
void
hash_forget_reads(const struct hash *h, const struct sett_read_mark *since)
{
	if (h->object != 0 && h->members.view == h->key->view)
		sett_txn_forget_reads(h->key->view->txn, since);
}

int
hash_value(struct hash *h, const struct hash_field *field, struct bytes *ret)
{
	if (field->is_spread)
		return members_value(&h->members, &field->member, ret);
	*ret = field->packed.value;
	return SETT_OK;
}

/* A field past its deadline goes. A replica deletes nothing by itself: what follows must not find it there. */
static int
propagate_expired(const struct hash *h, struct bytes name)
{
	struct keyspace_view *view = h->key->view;
	if (__builtin_expect(!view->propagates, 1))
		return SETT_OK;
	const void *copy = arena_copy(view->arena, name.data, name.size);
	if (copy == NULL)
		return SETT_NO_MEMORY;
	const struct bytes argv[] = {BYTES_LITERAL("HDEL"), h->key->name, bytes_of(copy, name.size)};
	return keyspace_propagate(view, h->key->db, 3, argv);
}

static int
propagate_expired_member(const struct hash *h, const struct member *member, struct bytes name)
{
	int status = SETT_OK;
	if (h->key->view->propagates && member->name_size > 0) /* `name` stands for a longer one */
		status = members_name(&h->members, member, &name);
	return status == SETT_OK ? propagate_expired(h, name) : status;
}

/* ---- changing ---- */

/* Before the first change of those that belong together. */
static void
begin_change(struct hash *h)
{
	if (h->changes != NULL)
		++*h->changes;
}

static void
change_deadline(struct hash *h, uint64_t old, uint64_t now)
{
	if (old == now)
		return;
	h->changed = true;
	h->with_deadline += (uint64_t)(now != 0) - (uint64_t)(old != 0);
	if (h->with_deadline == 0) {
		h->due_at = 0;
		h->due_unknown = false;
	} else if (now != 0 && (h->due_at == 0 || now <= h->due_at)) {
		h->due_at = now;
		h->due_unknown = false;
	} else if (old == h->due_at) {
		h->due_unknown = true;
	}
}

/* The body in memory of our own, with room for `more` bytes beyond its size. */
static int
own_body(struct hash *h, size_t more)
{
	size_t wanted = h->body.size + more;
	if (h->own != NULL && wanted <= h->own_capacity)
		return SETT_OK;
	size_t most = h->limits.packed_size, twice = wanted < OWN_MIN ? OWN_MIN : 2 * wanted;
	size_t capacity = wanted >= most ? wanted : twice < most ? twice : most;
	uint8_t *own = arena_allocate(h->key->view->arena, capacity, 1);
	if (own == NULL)
		return SETT_NO_MEMORY;
	if (h->body.size > 0)
		memcpy(own, h->body.data, h->body.size);
	h->own = own;
	h->own_capacity = capacity;
	h->body.data = own;
	return SETT_OK;
}

/* Makes `size` bytes of the entry at `offset`, which takes `old` now. */
static int
resize_entry(struct hash *h, size_t offset, size_t old, size_t size)
{
	int status = own_body(h, size > old ? size - old : 0);
	if (status != SETT_OK)
		return status;
	size_t after = h->body.size - offset - old;
	memmove(h->own + offset + size, h->own + offset + old, after);
	h->body.size += size - old;
	h->last_at = after == 0 && size > 0 ? offset : 0;
	h->changed = true;
	return SETT_OK;
}

/* Gives the hash an object and moves the fields of the body to entries of their own. */
static int
spread(struct hash *h)
{
	struct packed_field field;
	size_t offset = 0;
	struct key *key = h->key;
	struct keyspace_view *elements;
	int status = build_begin(key->view, key->epoch, &h->object, &elements);
	if (status != SETT_OK)
		return status;
	members_init(&h->members, elements, key->epoch, h->object);
	h->changed = true;
	h->object_bytes = 0;
	while ((status = packed_at(h->body, offset, &field)) == SETT_OK) {
		status = members_put(&h->members, field.name, field.value, field.deadline, NULL);
		if (status != SETT_OK)
			return status;
		h->object_bytes += member_size(field.name, field.value.size);
		offset += field.size;
	}
	h->body = (struct bytes){0};
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

/* Counters that follow from the bytes of elements; the root is only written for them if they moved a lot. */
static void
change_bytes(struct hash *h, uint64_t old, uint64_t now)
{
	uint64_t moved = now > old ? now - old : old - now;
	h->object_bytes = h->object_bytes + now > old ? h->object_bytes + now - old : 0;
	h->touched = true;
	if (moved > h->object_bytes / 8)
		h->changed = true;
}

void
hash_member_counts(const struct hash *h, struct member_counts *ret)
{
	uint64_t timestamp = h->key->root.record.timestamp;
	*ret = (struct member_counts){.count = h->count,
				      .dead = h->dead,
				      .removed = h->removed,
				      .version = h->type == VALUE_ZSET ? timestamp : 0,
				      .bytes = h->object_bytes,
				      .is_committed = timestamp != UINT64_MAX && h->changes == NULL};
}

/* Whether its members may be drawn from: of a new object nobody knows. */
static bool
may_be_drawn(const struct hash *h)
{
	return h->type != VALUE_ZSET && h->object != 0 && h->key->exists && !h->replaces &&
		h->object == h->key->root.object;
}

static int
tell_added(const struct hash *h, struct bytes name)
{
	uint8_t room[MEMBER_STORED_MAX + NAME_HASH_SIZE];
	struct member_counts counts;
	if (!may_be_drawn(h))
		return SETT_OK;
	hash_member_counts(h, &counts);
	return member_draw_added(&h->members, &counts, members_stored(name, room));
}

static int
tell_shrunk(const struct hash *h)
{
	struct member_counts counts;
	if (h->removed == 0 || !may_be_drawn(h))
		return SETT_OK;
	hash_member_counts(h, &counts);
	return member_draw_shrunk(&h->members, &counts);
}

static int
put_spread(struct hash *h, struct bytes name, struct bytes value, uint64_t deadline,
	   const struct hash_field *old)
{
	change_bytes(h, old != NULL ? member_size(name, old->value_size) : 0, member_size(name, value.size));
	int status = members_put(&h->members, name, value, deadline, old != NULL ? &old->member : NULL);
	return status == SETT_OK ? build_step(h->members.view, name.size + value.size) : status;
}

/* Whether an entry of a packed sorted set stands in front of one with this name and score. */
static bool
is_before(const struct packed_field *field, struct bytes name, struct bytes value)
{
	int order = bytes_compare(field->value, value);
	return order < 0 || (order == 0 && bytes_compare(field->name, name) < 0);
}

/* Where an entry of a packed sorted set belongs, in the order of scores, which are the values, and names. */
static int
find_ordered_place(const struct hash *h, struct bytes name, struct bytes value, size_t *ret)
{
	struct packed_field field;
	size_t offset = h->last_at;
	int status = SETT_OK;
	/* Most that come many at a time come in their order: behind the last one. */
	if (offset > 0 && (status = packed_at(h->body, offset, &field)) == SETT_OK &&
	    is_before(&field, name, value)) {
		*ret = h->body.size;
		return SETT_OK;
	}
	offset = 0;
	while (status == SETT_OK && (status = packed_at(h->body, offset, &field)) == SETT_OK) {
		if (!is_before(&field, name, value))
			break;
		offset += field.size;
	}
	*ret = offset;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
put_packed_in_order(struct hash *h, struct bytes name, struct bytes value, const struct hash_field *old)
{
	size_t offset = 0, size = packed_size(name, value, 0);
	int status = old != NULL ? resize_entry(h, old->packed.offset, old->packed.size, 0) : SETT_OK;
	if (status == SETT_OK)
		status = find_ordered_place(h, name, value, &offset);
	if (status == SETT_OK)
		status = resize_entry(h, offset, 0, size);
	if (status == SETT_OK)
		packed_write(h->own + offset, name, value, 0);
	return status;
}

static int
put_packed(struct hash *h, struct bytes name, struct bytes value, uint64_t deadline,
	   const struct hash_field *old)
{
	if (h->type == VALUE_ZSET)
		return put_packed_in_order(h, name, value, old);
	size_t offset = old != NULL ? old->packed.offset : h->body.size;
	size_t old_size = old != NULL ? old->packed.size : 0;
	size_t size = packed_size(name, value, deadline);
	int status = resize_entry(h, offset, old_size, size);
	if (status == SETT_OK)
		packed_write(h->own + offset, name, value, deadline);
	return status;
}

static bool
is_too_large(const struct hash *h, struct bytes name, struct bytes value, uint64_t deadline,
	     const struct hash_field *old)
{
	return h->body.size - (old != NULL ? old->packed.size : 0) + packed_size(name, value, deadline) >
		h->limits.packed_size;
}

static bool
makes_hashtable(const struct hash *h, struct bytes name, struct bytes value)
{
	if (h->count > h->limits.listpack_entries)
		return true;
	if (h->type == VALUE_SET)
		return !value_is_integer(name);
	if (h->type == VALUE_ZSET)
		return name.size > h->limits.listpack_value;
	return name.size > h->limits.listpack_value || value.size > h->limits.listpack_value;
}

static void
choose_encoding(struct hash *h, struct bytes name, struct bytes value)
{
	if (h->encoding == HASH_LISTPACK && makes_hashtable(h, name, value)) {
		h->encoding = HASH_HASHTABLE;
		h->changed = true;
	}
}

int
hash_put_over(struct hash *h, struct bytes name, struct bytes value, uint64_t deadline,
	      struct hash_field *old)
{
	int status = SETT_OK;
	begin_change(h);
	if (h->object == 0 && is_too_large(h, name, value, deadline, old)) {
		status = spread(h);
		/* The field has another place now. */
		if (status == SETT_OK && old != NULL)
			status = find_stored(h, name, old);
		if (status != SETT_OK)
			return status;
	}
	status = h->object != 0 ? put_spread(h, name, value, deadline, old)
				: put_packed(h, name, value, deadline, old);
	if (status != SETT_OK)
		return status;
	change_deadline(h, old != NULL ? old->deadline : 0, deadline);
	if (old == NULL) {
		h->count++;
		h->changed = true;
		status = tell_added(h, name);
	}
	choose_encoding(h, name, value);
	return status;
}

int
hash_put(struct hash *h, struct bytes name, struct bytes value, uint64_t deadline, bool *ret_existed)
{
	struct hash_field field;
	struct sett_read_mark reads = hash_read_mark(h);
	int status = find_stored(h, name, &field);
	if (status != SETT_OK && status != SETT_NOT_FOUND)
		return status;
	bool is_stored = status == SETT_OK;
	if (ret_existed != NULL)
		*ret_existed = is_stored && !field.is_due;
	if (is_stored && __builtin_expect(field.is_due, 0)) {
		status = propagate_expired(h, name);
		if (status != SETT_OK)
			return status;
	}
	status = hash_put_over(h, name, value, deadline, is_stored ? &field : NULL);
	hash_forget_reads(h, &reads);
	return status;
}

int
hash_add(struct hash *h, struct bytes name, bool *ret_existed)
{
	struct hash_field field;
	struct sett_read_mark reads = hash_read_mark(h);
	int status = find_stored(h, name, &field);
	*ret_existed = status == SETT_OK;
	hash_forget_reads(h, &reads);
	return status == SETT_NOT_FOUND ? hash_add_new(h, name) : status;
}

int
hash_add_new(struct hash *h, struct bytes name)
{
	return hash_put_over(h, name, (struct bytes){0}, 0, NULL);
}

/* Copies first: the slices are of the body that changes. */
static int
rewrite_packed(struct hash *h, const struct packed_field *field, uint64_t deadline)
{
	struct arena *arena = h->key->view->arena;
	const void *name = arena_copy(arena, field->name.data, field->name.size);
	const void *value = arena_copy(arena, field->value.data, field->value.size);
	if (name == NULL || value == NULL)
		return SETT_NO_MEMORY;
	return hash_put(h, bytes_of(name, field->name.size), bytes_of(value, field->value.size), deadline,
			NULL);
}

int
hash_set_deadline(struct hash *h, const struct hash_field *field, uint64_t deadline)
{
	if (deadline == field->deadline)
		return SETT_OK;
	if (!field->is_spread)
		return rewrite_packed(h, &field->packed, deadline);
	begin_change(h);
	int status = members_set_deadline(&h->members, &field->member, deadline);
	if (status == SETT_OK)
		change_deadline(h, field->deadline, deadline);
	return status;
}

/* An element of its own is gone. */
static void
count_removal(struct hash *h, struct bytes name, uint64_t value_size)
{
	h->dead++;
	h->removed++;
	change_bytes(h, member_size(name, value_size), 0);
}

int
hash_remove_member(struct hash *h, struct bytes name, uint64_t value_size)
{
	assert(h->count > 0 && h->object != 0 && h->with_deadline == 0 && name.size <= MEMBER_STORED_MAX);
	begin_change(h);
	count_removal(h, name, value_size);
	h->count--;
	h->changed = true;
	return members_remove_stored(&h->members, name);
}

int
hash_remove(struct hash *h, const struct hash_field *field)
{
	int status;
	assert(h->count > 0);
	begin_change(h);
	if (field->is_spread) {
		status = members_remove(&h->members, &field->member);
		count_removal(h, field->name, field->value_size);
	} else {
		status = resize_entry(h, field->packed.offset, field->packed.size, 0);
	}
	if (status != SETT_OK)
		return status;
	h->count--;
	h->changed = true;
	change_deadline(h, field->deadline, 0);
	return SETT_OK;
}

/* ---- saving ---- */

static int
find_first_deadline(struct hash *h)
{
	struct packed_field field;
	size_t offset = 0;
	int status;
	h->due_unknown = false;
	if (h->object != 0) {
		status = members_first_deadline(&h->members, &h->due_at);
		return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
	}
	h->due_at = 0;
	while ((status = packed_at(h->body, offset, &field)) == SETT_OK) {
		if (field.deadline != 0 && (h->due_at == 0 || field.deadline < h->due_at))
			h->due_at = field.deadline;
		offset += field.size;
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static bool
is_to_be_renewed(const struct hash *h)
{
	/* Random members of sorted sets are found by rank. */
	return h->type != VALUE_ZSET && (h->members.moved != 0 || h->dead > h->count * DEAD_SHARE + DEAD_MIN);
}

/* Moves members to a new generation of keys once many more were removed from this one than are left in it: MOVES
 * for each removal, so that it is made long before as many are removed again. */
static int
renew(struct hash *h)
{
	enum { MOVES = 8 };
	if (h->removed == 0 || !is_to_be_renewed(h))
		return SETT_OK;
	if (h->members.moved == 0)
		h->dead = 0;
	uint64_t most = h->removed * MOVES;
	h->removed = 0;
	return members_renew(&h->members, most);
}

static uint8_t *
write_fields(const struct hash *h, uint8_t *p)
{
	p = varint_put(p, h->count);
	p = varint_put(p, h->with_deadline);
	assert(h->tail.size <= HASH_TAIL_MAX);
	if (h->tail.size > 0)
		memcpy(p, h->tail.data, h->tail.size);
	if (h->type == VALUE_ZSET)
		return p + h->tail.size;
	if (h->object == 0 || (h->dead == 0 && h->members.generation == 0 && h->members.moved == 0))
		return p;
	p = varint_put(p, h->dead);
	p = varint_put(p, h->members.generation);
	return varint_put(p, h->members.moved);
}

static int
put_root(struct hash *h)
{
	uint8_t fields[FIELDS_MAX], *end;
	struct key *key = h->key;
	int status = h->due_unknown ? find_first_deadline(h) : SETT_OK;
	if (status == SETT_OK && h->object != 0) {
		status = build_finish(key->view, h->members.view);
		h->members.view = key->view;
	}
	if (status == SETT_OK)
		status = tell_shrunk(h);
	if (status == SETT_OK && h->object != 0)
		status = renew(h);
	if (status == SETT_OK && h->object == 0)
		status = read_body(h);
	if (status != SETT_OK)
		return status;
	end = write_fields(h, fields);
	struct root_content content = {.type = h->type,
				       .encoding = h->encoding,
				       .expires_at = h->replaces ? 0 : key_kept_deadline(key),
				       .due_at = h->due_at,
				       .object = h->object,
				       .object_bytes = h->object_bytes,
				       .fields = bytes_of(fields, (size_t)(end - fields)),
				       .value = h->body};
	return h->changes != NULL ? key_rewrite(key, &content) : key_put(key, &content);
}

int
hash_save(struct hash *h)
{
	int status = SETT_OK;
	assert(h->with_deadline <= h->count && (h->due_at != 0) == (h->with_deadline != 0));
	if (h->changed && h->count == 0)
		status = h->key->is_stored ? key_delete(h->key) : SETT_OK;
	else if (h->changed)
		status = put_root(h);
	else if (h->touched)
		status = key_touch(h->key);
	h->changed = h->touched = h->replaces = false;
	return status;
}

/* ---- between commands of a batch ---- */

struct held_hash {
	struct held_value base;
	struct open_hash open;
};

/* One that is new, or packed, or has a name that its root does not have beside it, is written at once; and so is one whose
 * saving reads: what is held is written where nothing may wait for the disk any more. */
bool
hash_may_be_held(const struct hash *h)
{
	const struct key *key = h->key;
	return key->view->shares && h->object != 0 && h->count > 0 && h->with_deadline == 0 && key->exists &&
		!h->replaces && h->object == key->root.object && h->members.view == key->view &&
		key->name.size <= KEYSPACE_MAX_KEY_SIZE && !is_to_be_renewed(h);
}

void
hash_hold(const struct hash *h, struct open_hash *ret)
{
	ret->key = *h->key;
	ret->key.root.record = sett_record_to_go_over(&h->key->root.record);
	ret->key.root.fields = (struct bytes){0};
	ret->hash = *h;
	ret->hash.key = &ret->key;
	ret->hash.tail = (struct bytes){0};
	ret->hash.owes_root = h->changed;
	ret->hash.changed = ret->hash.touched = false;
	ret->hash.changes = &h->key->view->held_steps;
}

int
hash_stay_held(struct hash *h)
{
	h->owes_root |= h->changed;
	h->changed = h->touched = false;
	return key_touch(h->key);
}

void
hash_end_hold(struct hash *h)
{
	keyspace_let_go(h->key->view);
	h->changes = NULL;
	h->changed = true;
}

static int
write_held(struct held_value *base)
{
	struct hash *h = &((struct held_hash *)base)->open.hash;
	h->changed = h->owes_root;
	return hash_save(h);
}

int
hash_save_or_hold(struct hash *h)
{
	bool is_held = h->changes != NULL;
	struct keyspace_view *view = h->key->view;
	if (!h->changed && !h->touched)
		return SETT_OK;
	if (!hash_may_be_held(h)) {
		if (is_held)
			hash_end_hold(h);
		return hash_save(h);
	}
	if (is_held)
		return hash_stay_held(h);
	struct held_hash *held = arena_allocate(view->arena, sizeof(*held), _Alignof(struct held_hash));
	int status = held != NULL ? key_touch(h->key) : SETT_NO_MEMORY;
	if (status != SETT_OK)
		return status;
	held->base = (struct held_value){.key = &held->open.key, .type = h->type, .write = write_held};
	hash_hold(h, &held->open);
	keyspace_hold(view, &held->base);
	return SETT_OK;
}

struct open_hash *
hash_held(struct keyspace_view *view, unsigned db, struct bytes name, enum value_type type)
{
	struct held_value *held = keyspace_held(view, db, name, type);
	assert(held == NULL || held->write == write_held);
	return held != NULL ? &((struct held_hash *)held)->open : NULL;
}

/* ---- for the table of types ---- */

/* For those who only read, or remove. */
static const struct hash_limits no_limits = {.packed_size = 0};

const char *
hash_encoding_name(const struct root *root)
{
	return root->encoding == HASH_LISTPACK ? "listpack" : "hashtable";
}

int
hash_copy(const struct key *from, struct key *to)
{
	return hash_copy_with(from, to, NULL);
}

int
hash_copy_with(const struct key *from, struct key *to,
	       int (*more)(const struct key *from, struct keyspace_view *elements, uint64_t epoch,
			   uint64_t object))
{
	struct hash source, copy;
	struct key opened = *from;
	struct keyspace_view *elements;
	if (from->root.object == 0)
		return key_copy_packed(from, to);
	int status = hash_open_as(&opened, from->root.type, &no_limits, &source);
	if (status != SETT_OK)
		return status;
	copy = source;
	copy.dead = 0;
	status = build_begin(to->view, to->epoch, &copy.object, &elements);
	if (status != SETT_OK)
		return status;
	members_init(&copy.members, elements, to->epoch, copy.object);
	status = members_copy(&source.members, &copy.members);
	if (status == SETT_OK && more != NULL)
		status = more(from, elements, to->epoch, copy.object);
	if (status == SETT_OK)
		status = build_finish(to->view, elements);
	if (status != SETT_OK)
		return status;
	const struct root *root = &from->root;
	uint8_t fields[FIELDS_MAX], *end = write_fields(&copy, fields);
	struct root_content content = {.type = root->type,
				       .encoding = root->encoding,
				       .expires_at = root->expires_at,
				       .due_at = root->due_at,
				       .object = copy.object,
				       .object_bytes = root->object_bytes,
				       .fields = bytes_of(fields, (size_t)(end - fields))};
	return key_put(to, &content);
}

int
hash_digest(struct key *key, struct digest *digest)
{
	struct hash h;
	struct hash_walk walk;
	struct hash_field field;
	struct digest sum = {{0}};
	int status = hash_open_as(key, key->root.type, &no_limits, &h);
	if (status == SETT_OK)
		status = hash_walk(&h, &walk);
	if (status != SETT_OK)
		return status;
	struct view_reads reads = view_reads_mark(key->view);
	while ((status = hash_walk_next(&walk, &field)) == SETT_OK) {
		struct digest one = {{0}};
		struct bytes value;
		status = hash_value(&h, &field, &value);
		if (status != SETT_OK)
			break;
		digest_mix(&one, 1, field.name);
		digest_mix(&one, 2, value);
		if (field.deadline != 0)
			digest_mix(&one, 3, BYTES_LITERAL("expires"));
		digest_add(&sum, &one);
		if (h.object != 0 && view_reads_are_many(&reads))
			view_reads_forget(&reads);
	}
	hash_walk_close(&walk);
	digest_mix(digest, 2, bytes_of(sum.lanes, sizeof(sum.lanes)));
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
expire_packed(struct hash *h, size_t most, size_t *ret_deleted)
{
	struct packed_field packed;
	size_t offset = 0;
	int status = read_body(h);
	while (status == SETT_OK && *ret_deleted < most) {
		struct hash_field field;
		status = packed_at(h->body, offset, &packed);
		if (status != SETT_OK)
			break;
		hash_field_of_packed(h, &packed, &field);
		if (!field.is_due) {
			offset += packed.size;
			continue;
		}
		status = propagate_expired(h, field.name);
		if (status == SETT_OK)
			status = hash_remove(h, &field);
		++*ret_deleted;
	}
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}

static int
expire_spread(struct hash *h, size_t most, size_t *ret_deleted)
{
	struct bytes *due;
	size_t count;
	int status = members_due(&h->members, h->key->view->now_ms, most, &due, &count);
	for (size_t i = 0; i < count && status == SETT_OK; i++) {
		struct member member;
		struct hash_field field;
		status = members_find_stored(&h->members, due[i], &member);
		if (status != SETT_OK)
			return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
		hash_field_of_member(h, &member, due[i], &field);
		status = propagate_expired_member(h, &member, due[i]);
		if (status == SETT_OK)
			status = hash_remove(h, &field);
		++*ret_deleted;
	}
	return status;
}

int
hash_expire(struct key *key, size_t most, size_t *ret_deleted, uint64_t *ret_due_at)
{
	struct hash h;
	*ret_deleted = 0;
	int status = hash_open(key, &no_limits, &h);
	if (status != SETT_OK)
		return status;
	status = h.object != 0 ? expire_spread(&h, most, ret_deleted) : expire_packed(&h, most, ret_deleted);
	if (status == SETT_OK && *ret_deleted == 0)
		status = SETT_CORRUPT; /* the root's deadline is that of some field */
	if (status == SETT_OK)
		status = hash_save(&h);
	if (status == SETT_OK)
		*ret_due_at = h.due_at;
	return status;
}
