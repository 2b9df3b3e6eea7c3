/* Ranked trees: puts, deletions, and the upkeep of pages; see ranked.h.
 *
 * Invariants:
 * 1. All leaves are at the same depth; a page has at least one entry, and the root, unless it is a leaf, two.
 * 2. The weight of a child is the number of keys below it.
 * 3. The keys below a child are at or beyond its bound and before the next child's.
 * 4. A page is less than SETT_MAX_HEAD_SIZE: one of more than `page_max` bytes has few entries, as those are long. */
#include "types/ranked.h"

#include "keyspace/build.h"
#include "types/ranked_private.h"

static_assert(5 * CHILD_MAX < SETT_MAX_HEAD_SIZE, "pages of the longest bounds");

enum {
	SPLIT_CHILDREN = 4, /* a page above the leaves with fewer is not split */
};

void
ranked_init(struct ranked *ret, struct keyspace_view *view, uint64_t epoch, uint64_t object, size_t page_max)
{
	assert(object != 0);
	ret->view = view;
	ret->page_max = page_max == 0        ? RANKED_PAGE_MAX
		: page_max < RANKED_PAGE_MIN ? RANKED_PAGE_MIN
					     : page_max;
	ret->changes = NULL;
	ret->height = 0;
	ret->root = ret->weight = 0;
	ret->next = 1;
	memset(ret->few, 0, sizeof(ret->few));
	ret->more = NULL;
	ret->bucket_count = RANKED_FEW;
	ret->edited_count = 0;
	ret->spare = NULL;
	keyspace_element_prefix(ret->prefix, epoch, object);
}

const uint8_t *
ranked_load(struct ranked *t, const uint8_t *p, const uint8_t *end)
{
	enum { HEIGHT, ROOT, NEXT, WEIGHT, COUNT };
	uint64_t v[COUNT];
	for (size_t i = 0; i < COUNT && p != NULL; i++)
		p = varint_get(p, end, &v[i]);
	if (p == NULL || v[HEIGHT] > RANKED_HEIGHT_MAX || v[ROOT] >= v[NEXT] ||
	    (v[HEIGHT] == 0) != (v[WEIGHT] == 0) || (v[HEIGHT] == 0) != (v[ROOT] == 0))
		return NULL;
	t->height = (unsigned)v[HEIGHT];
	t->root = v[ROOT];
	t->next = v[NEXT];
	t->weight = v[WEIGHT];
	return p;
}

int
ranked_save(struct ranked *t, uint8_t *ret, uint8_t **ret_end)
{
	int status = ranked_flush(t);
	if (status != SETT_OK)
		return status;
	uint8_t *p = varint_put(ret, t->height);
	p = varint_put(p, t->root);
	p = varint_put(p, t->next);
	*ret_end = varint_put(p, t->weight);
	return SETT_OK;
}

/* Before the first change of those that belong together. */
static void
begin_change(struct ranked *t)
{
	if (t->changes != NULL)
		++*t->changes;
}

/* ---- the way to a key ---- */

/* Pages by level, for changes, and which entry of each is on the way; of the leaf: where the key is or would be. */
struct way {
	bool is_first, is_last; /* in the tree */
	struct {
		struct ranked_page *page;
		size_t at;
	} step[RANKED_HEIGHT_MAX];
};

/* What a descent follows: a key, or a rank. */
struct target {
	struct bytes key;
	bool by_rank;
	uint64_t rank; /* becomes that within the leaf */
};

static int
choose_child(struct ranked *t, struct ranked_page *page, struct target *target, struct page_child *ret)
{
	return target->by_rank ? ranked_find_child_at(page_bytes(page), &target->rank, ret)
			       : ranked_find_child_edited(t, page, target->key, ret);
}

/* All but the place in the leaf. The tree is not empty. */
static int
find_way(struct ranked *t, struct target *target, struct way *ret)
{
	uint64_t number = t->root;
	struct page_child child;
	int status = SETT_OK;
	ret->is_first = ret->is_last = true;
	for (unsigned level = t->height; level-- > 0 && status == SETT_OK;) {
		struct ranked_page *page;
		status = ranked_edit_page(t, number, level, &page);
		ret->step[level].page = page;
		if (status != SETT_OK || level == 0)
			break;
		status = choose_child(t, page, target, &child);
		ret->step[level].at = child.at;
		ret->is_first = ret->is_first && child.at == PAGE_START;
		ret->is_last = ret->is_last && child.end == page->size;
		number = child.number;
	}
	return status;
}

/* The place in the leaf, where the key is or would be. */
static int
end_way(struct way *way, struct bytes key)
{
	uint64_t before;
	struct bytes leaf = page_bytes(way->step[0].page);
	int status = ranked_find_item(leaf, key, &way->step[0].at, &before);
	way->is_first = way->is_first && way->step[0].at == PAGE_START;
	way->is_last = way->is_last && way->step[0].at == leaf.size;
	return status;
}

static int
way_to_key(struct ranked *t, struct bytes key, struct way *ret)
{
	struct target target = {.key = key};
	int status = find_way(t, &target, ret);
	return status == SETT_OK ? end_way(ret, key) : status;
}

/* Takes the page at `level` of a way to a key; `*number` becomes that of the page below. */
static int
step_down(struct ranked *t, unsigned level, struct bytes key, struct way *way, uint64_t *number)
{
	struct page_child child;
	struct ranked_page *page;
	int status = ranked_edit_page(t, *number, level, &page);
	way->step[level].page = page;
	if (status != SETT_OK || level == 0)
		return status;
	status = ranked_find_child_edited(t, page, key, &child);
	way->step[level].at = child.at;
	*number = child.number;
	return status;
}

/* The ways to two keys, of which the pages of a level are waited for together. Whether they are the first or last keys is not
 * set. */
static int
ways_to_keys(struct ranked *t, struct bytes one_key, struct bytes other_key, struct way *one,
	     struct way *other)
{
	uint64_t one_number = t->root, other_number = t->root;
	int status = SETT_OK;
	one->is_first = one->is_last = other->is_first = other->is_last = false;
	for (unsigned level = t->height; level-- > 0 && status == SETT_OK;) {
		if (one_number != other_number)
			ranked_fetch_pages(t, one_number, other_number);
		status = step_down(t, level, one_key, one, &one_number);
		if (status == SETT_OK)
			status = step_down(t, level, other_key, other, &other_number);
	}
	if (status == SETT_OK)
		status = end_way(one, one_key);
	return status == SETT_OK ? end_way(other, other_key) : status;
}

/* Whether the leaf has the key at the end of its way. */
static int
look_at_end(const struct way *way, struct bytes key, struct page_item *ret, bool *ret_found)
{
	struct bytes leaf = page_bytes(way->step[0].page);
	size_t at = way->step[0].at;
	*ret_found = false;
	int status = at < leaf.size ? page_item_at(leaf, at, ret) : SETT_OK;
	if (status == SETT_OK && at < leaf.size)
		*ret_found = bytes_equal(ret->key, key);
	return status;
}

/* ---- entries of pages above the leaves ---- */

/* Writes an entry of CHILD_MAX bytes at most; returns its size. */
static size_t
encode_child(uint8_t *ret, uint64_t weight, uint64_t number, struct bytes bound)
{
	size_t rest = varint_size(bound.size) + bound.size + varint_size(weight) + varint_size(number);
	uint8_t *p = varint_put(ret, rest);
	assert(bound.size <= RANKED_KEY_MAX);
	p = varint_put(p, bound.size);
	if (bound.size > 0)
		memcpy(p, bound.data, bound.size);
	p = varint_put(p + bound.size, weight);
	return (size_t)(varint_put(p, number) - ret);
}

static int
put_child(struct ranked *t, struct ranked_page *page, size_t at, size_t old_size, uint64_t weight,
	  uint64_t number, struct bytes bound)
{
	uint8_t bytes[CHILD_MAX];
	size_t size = encode_child(bytes, weight, number, bound);
	return ranked_splice(t, page, at, old_size, bytes_of(bytes, size));
}

static int
set_weight(struct ranked *t, struct ranked_page *page, const struct page_child *child, uint64_t weight)
{
	/* Nearly always it takes as many bytes as before. */
	if (varint_size(child->weight) == varint_size(weight)) {
		size_t at = (size_t)(child->bound.data - page->data) + child->bound.size;
		varint_put(page->data + at, weight);
		page->is_changed = true;
		return SETT_OK;
	}
	return put_child(t, page, child->at, child->end - child->at, weight, child->number, child->bound);
}

/* That of the child on the way at one level. */
static int
add_weight_at(struct ranked *t, const struct way *way, unsigned level, uint64_t more, uint64_t less)
{
	struct ranked_page *page = way->step[level].page;
	struct page_child child;
	int status = page_child_at(page_bytes(page), way->step[level].at, &child);
	if (status == SETT_OK && child.weight < less)
		status = SETT_CORRUPT;
	return status == SETT_OK ? set_weight(t, page, &child, child.weight + more - less) : status;
}

/* The weights of all children on the way. */
static int
add_weight(struct ranked *t, const struct way *way, uint64_t more, uint64_t less)
{
	int status = SETT_OK;
	if (t->weight < less)
		return SETT_CORRUPT;
	t->weight += more - less;
	for (unsigned level = 1; level < t->height && status == SETT_OK; level++)
		status = add_weight_at(t, way, level, more, less);
	return status;
}

/* The same for the child of one way, while `other` is to stay right. */
static int
add_weight_beside(struct ranked *t, const struct way *way, struct way *other, unsigned level, uint64_t more,
		  uint64_t less)
{
	const struct ranked_page *page = way->step[level].page;
	size_t before = page->size;
	int status = add_weight_at(t, way, level, more, less);
	if (other->step[level].page == page && other->step[level].at > way->step[level].at)
		other->step[level].at += page->size - before;
	return status;
}

/* A key has left the leaf of one way for that of the other: below the page where they part, weights change. */
static int
shift_weight(struct ranked *t, struct way *from, struct way *to)
{
	int status = SETT_OK;
	for (unsigned level = 1; level < t->height && status == SETT_OK; level++) {
		if (from->step[level].page == to->step[level].page &&
		    from->step[level].at == to->step[level].at)
			continue;
		status = add_weight_beside(t, from, to, level, 0, 1);
		if (status == SETT_OK)
			status = add_weight_beside(t, to, from, level, 1, 0);
	}
	return status;
}

static int
insert_child(struct ranked *t, struct ranked_page *page, size_t at, uint64_t weight, uint64_t number,
	     struct bytes bound)
{
	return put_child(t, page, at, 0, weight, number, bound);
}

/* The first child of a page has no bound. */
static int
strip_first_bound(struct ranked *t, struct ranked_page *page)
{
	struct page_child first;
	int status = page_child_at(page_bytes(page), PAGE_START, &first);
	if (status != SETT_OK || first.bound.size == 0)
		return status;
	return put_child(t, page, PAGE_START, first.end - PAGE_START, first.weight, first.number,
			 (struct bytes){0});
}

/* ---- splitting ---- */

/* Where a page is cut, and what is left of it and right of it. */
struct cut {
	size_t at;
	uint64_t entries;     /* in the page */
	uint64_t left, right; /* weights */
	struct bytes last,
		next; /* leaves: the keys beside the cut; else `next` is a bound. Slices of the page */
};

/* An entry of any page. */
struct entry {
	size_t end;
	uint64_t weight;
	struct bytes text; /* key or bound */
};

static int
entry_at(struct bytes page, unsigned level, size_t at, struct entry *ret)
{
	struct page_item item;
	struct page_child child;
	int status = level == 0 ? page_item_at(page, at, &item) : page_child_at(page, at, &child);
	if (status != SETT_OK)
		return status;
	*ret = level == 0 ? (struct entry){item.end, 1, item.key}
			  : (struct entry){child.end, child.weight, child.bound};
	return SETT_OK;
}

/* Before which byte the right part begins at the latest. */
static size_t
cut_limit(const struct way *way, size_t size)
{
	if (way->is_last)
		return size;
	return way->is_first ? PAGE_START : size / 2;
}

/* The cut is the last possible one at or before the limit, but after the first entry and before the last. */
static int
find_cut(struct bytes page, unsigned level, size_t limit, struct cut *ret)
{
	struct entry entry;
	struct bytes before = {0};
	*ret = (struct cut){.at = 0};
	for (size_t at = PAGE_START; at < page.size; at = entry.end) {
		int status = entry_at(page, level, at, &entry);
		if (status != SETT_OK)
			return status;
		bool may_be_cut = ret->entries > 0 && (at <= limit || ret->at == 0);
		if (may_be_cut) {
			ret->at = at;
			ret->left += ret->right;
			ret->right = 0;
			ret->last = before;
			ret->next = entry.text;
		}
		if (ret->entries++ == 0)
			ret->left = entry.weight;
		else
			ret->right += entry.weight;
		before = entry.text;
	}
	return SETT_OK;
}

/* The shortest text beyond `left` that is not beyond `right`. */
static int
separate(struct bytes left, struct bytes right, struct bytes *ret)
{
	size_t common = 0;
	while (common < left.size && common < right.size && left.data[common] == right.data[common])
		common++;
	if (common >= right.size)
		return SETT_CORRUPT;
	*ret = bytes_of(right.data, common + 1);
	return SETT_OK;
}

/* The root becomes a child of a new one, with all keys. */
static int
raise_root(struct ranked *t, struct way *way)
{
	struct ranked_page *page;
	if (t->height == RANKED_HEIGHT_MAX)
		return SETT_TOO_LARGE;
	int status = ranked_add_page(t, t->height, &page);
	if (status == SETT_OK)
		status = insert_child(t, page, PAGE_START, t->weight, t->root, (struct bytes){0});
	if (status != SETT_OK)
		return status;
	way->step[t->height].page = page;
	way->step[t->height].at = PAGE_START;
	t->root = page->number;
	t->height++;
	return SETT_OK;
}

/* The parent of the page at `level` on the way gets another child after it. */
static int
add_sibling(struct ranked *t, struct way *way, unsigned level, const struct cut *cut, uint64_t number,
	    struct bytes bound)
{
	struct ranked_page *parent = way->step[level + 1].page;
	struct page_child child;
	size_t at = way->step[level + 1].at;
	int status = page_child_at(page_bytes(parent), at, &child);
	if (status != SETT_OK || child.weight != cut->left + cut->right)
		return status == SETT_OK ? SETT_CORRUPT : status;
	status = set_weight(t, parent, &child, cut->left);
	if (status == SETT_OK)
		status = page_child_at(page_bytes(parent), at, &child);
	return status == SETT_OK ? insert_child(t, parent, child.end, cut->right, number, bound) : status;
}

static int
split(struct ranked *t, struct way *way, unsigned level)
{
	struct ranked_page *left = way->step[level].page, *right;
	struct bytes bound;
	struct cut cut;
	int status = find_cut(page_bytes(left), level, cut_limit(way, left->size), &cut);
	if (status != SETT_OK || cut.entries < (level > 0 ? SPLIT_CHILDREN : 2))
		return status;
	assert(cut.at > PAGE_START && cut.at < left->size);
	bound = cut.next;
	if (level == 0)
		status = separate(cut.last, cut.next, &bound);
	if (status == SETT_OK && level + 1 == t->height)
		status = raise_root(t, way);
	if (status == SETT_OK)
		status = ranked_add_page(t, level, &right);
	if (status == SETT_OK)
		status = ranked_splice(t, right, PAGE_START, 0,
				       bytes_of(left->data + cut.at, left->size - cut.at));
	if (status == SETT_OK)
		status = add_sibling(t, way, level, &cut, right->number, bound);
	if (status == SETT_OK && level > 0)
		status = strip_first_bound(t, right);
	if (status == SETT_OK)
		status = ranked_splice(t, left, cut.at, left->size - cut.at, (struct bytes){0});
	return status;
}

/* ---- putting ---- */

static int
put_first(struct ranked *t, struct bytes item)
{
	struct ranked_page *page;
	int status = ranked_add_page(t, 0, &page);
	if (status == SETT_OK)
		status = ranked_splice(t, page, PAGE_START, 0, item);
	if (status != SETT_OK)
		return status;
	t->root = page->number;
	t->height = 1;
	t->weight = 1;
	return SETT_OK;
}

/* Pages on the way that have become too large. */
static int
split_on_way(struct ranked *t, struct way *way)
{
	int status = SETT_OK;
	for (unsigned level = 0; level < t->height && status == SETT_OK; level++) {
		if (way->step[level].page->size <= t->page_max)
			break;
		status = split(t, way, level);
	}
	return status;
}

static struct bytes
encode_item(uint8_t room[ITEM_MAX], struct bytes key)
{
	uint8_t *p = varint_put(room, key.size);
	assert(key.size <= RANKED_KEY_MAX);
	if (key.size > 0)
		memcpy(p, key.data, key.size);
	return bytes_of(room, (size_t)(p - room) + key.size);
}

int
ranked_put(struct ranked *t, struct bytes key)
{
	uint8_t room[ITEM_MAX];
	struct page_item found;
	struct way way;
	bool is_there = false;
	struct bytes item = encode_item(room, key);
	if (t->height == 0)
		return put_first(t, item);
	int status = way_to_key(t, key, &way);
	if (status == SETT_OK)
		status = look_at_end(&way, key, &found, &is_there);
	if (status != SETT_OK || is_there)
		return is_there ? SETT_CORRUPT : status;
	begin_change(t);
	status = ranked_splice(t, way.step[0].page, way.step[0].at, 0, item);
	if (status == SETT_OK)
		status = add_weight(t, &way, 1, 0);
	return status == SETT_OK ? split_on_way(t, &way) : status;
}

/* ---- deleting ---- */

/* The child at `at` is gone. */
static int
remove_child(struct ranked *t, struct ranked_page *page, size_t at)
{
	struct page_child child;
	int status = page_child_at(page_bytes(page), at, &child);
	if (status == SETT_OK)
		status = ranked_splice(t, page, at, child.end - at, (struct bytes){0});
	if (status == SETT_OK && at == PAGE_START && page->size > PAGE_START)
		status = strip_first_bound(t, page);
	return status;
}

/* Appends the entries of `gone`, the page after `kept`; `bound` was gone's. */
static int
append_page(struct ranked *t, unsigned level, struct ranked_page *kept, const struct ranked_page *gone,
	    struct bytes bound)
{
	struct page_child first;
	size_t from = PAGE_START;
	int status = SETT_OK;
	if (level > 0) {
		status = page_child_at(page_bytes(gone), PAGE_START, &first);
		if (status == SETT_OK && first.bound.size != 0)
			status = SETT_CORRUPT;
		if (status == SETT_OK)
			status = insert_child(t, kept, kept->size, first.weight, first.number, bound);
		from = first.end;
	}
	if (status != SETT_OK)
		return status;
	return ranked_splice(t, kept, kept->size, 0, bytes_of(gone->data + from, gone->size - from));
}

/* The children `one` and `other` of the parent, which follow each other, become one page, if there is room. */
static int
join(struct ranked *t, unsigned level, struct ranked_page *parent, const struct page_child *one,
     const struct page_child *other, bool *ret_joined)
{
	struct bytes first, second;
	struct ranked_page *kept, *gone;
	uint64_t weight = one->weight + other->weight;
	*ret_joined = false;
	int status = ranked_get_page(t, one->number, level, &first);
	if (status == SETT_OK)
		status = ranked_get_page(t, other->number, level, &second);
	if (status == SETT_WOULD_BLOCK && t->changes != NULL)
		return SETT_OK;
	if (status != SETT_OK || first.size + second.size + other->bound.size > t->page_max / 4 * 3)
		return status;
	status = ranked_edit_page(t, one->number, level, &kept);
	if (status == SETT_OK)
		status = ranked_edit_page(t, other->number, level, &gone);
	if (status == SETT_OK)
		status = append_page(t, level, kept, gone, other->bound);
	if (status == SETT_OK)
		status = ranked_drop_page(t, gone);
	if (status == SETT_OK)
		status = remove_child(t, parent, other->at);
	if (status == SETT_OK)
		status = set_weight(t, parent, one, weight);
	*ret_joined = true;
	return status;
}

/* The child before the one at `at`, which is not the first. */
static int
child_before(struct bytes page, size_t at, struct page_child *ret)
{
	int status = page_child_at(page, PAGE_START, ret);
	while (status == SETT_OK && ret->end != at)
		status = ret->end < at ? page_child_at(page, ret->end, ret) : SETT_CORRUPT;
	return status;
}

/* The small page at `level` on the way joins one beside it. Of a held tree, which can't go back, only where no disk is to be
 * waited for: a small page may stay. */
static int
join_neighbour(struct ranked *t, const struct way *way, unsigned level, bool *ret_joined)
{
	struct ranked_page *parent = way->step[level + 1].page;
	struct bytes page = page_bytes(parent);
	struct page_child child, neighbour;
	size_t at = way->step[level + 1].at;
	*ret_joined = false;
	int status = page_child_at(page, at, &child);
	if (status == SETT_OK && child.end < page.size) {
		status = page_child_at(page, child.end, &neighbour);
		if (status == SETT_OK)
			status = join(t, level, parent, &child, &neighbour, ret_joined);
	}
	if (status != SETT_OK || *ret_joined || at == PAGE_START)
		return status;
	status = child_before(page, at, &neighbour);
	return status == SETT_OK ? join(t, level, parent, &neighbour, &child, ret_joined) : status;
}

/* A root that has one child gives way to it, an empty leaf to nothing. */
static int
lower_root(struct ranked *t)
{
	int status = SETT_OK;
	while (t->height > 0 && status == SETT_OK) {
		struct ranked_page *root = ranked_edited(t, t->root);
		struct page_child child;
		/* It has not changed. */
		if (root == NULL)
			break;
		if (root->size > PAGE_START) {
			if (t->height == 1)
				break;
			status = page_child_at(page_bytes(root), PAGE_START, &child);
			if (status != SETT_OK || child.end < root->size)
				break;
			if (child.weight != t->weight || child.number >= t->next)
				return SETT_CORRUPT;
			t->root = child.number;
			t->height--;
		} else {
			if (t->weight != 0)
				return SETT_CORRUPT;
			t->root = t->height = 0;
		}
		status = ranked_drop_page(t, root);
		/* The next is looked at only if it may have one child, too. */
		if (status == SETT_OK && t->height > 1)
			status = ranked_edit_page(t, t->root, t->height - 1, &root);
	}
	return status;
}

/* After the leaf on the way has lost keys. */
static int
settle(struct ranked *t, const struct way *way)
{
	int status = SETT_OK;
	for (unsigned level = 0; level + 1 < t->height && status == SETT_OK; level++) {
		struct ranked_page *page = way->step[level].page;
		bool joined = true;
		if (page->size == PAGE_START) {
			status = ranked_drop_page(t, page);
			if (status == SETT_OK)
				status = remove_child(t, way->step[level + 1].page, way->step[level + 1].at);
		} else if (page->size < t->page_max / 4) {
			status = join_neighbour(t, way, level, &joined);
		} else {
			break;
		}
		if (!joined)
			break;
	}
	return status == SETT_OK ? lower_root(t) : status;
}

int
ranked_delete(struct ranked *t, struct bytes key)
{
	struct page_item item;
	struct way way;
	bool is_there = false;
	if (t->height == 0)
		return SETT_CORRUPT;
	int status = way_to_key(t, key, &way);
	if (status == SETT_OK)
		status = look_at_end(&way, key, &item, &is_there);
	if (status != SETT_OK || !is_there)
		return status == SETT_OK ? SETT_CORRUPT : status;
	begin_change(t);
	status = ranked_splice(t, way.step[0].page, item.at, item.end - item.at, (struct bytes){0});
	if (status == SETT_OK)
		status = add_weight(t, &way, 0, 1);
	return status == SETT_OK ? settle(t, &way) : status;
}

/* ---- moving ---- */

/* The item at the end of one way goes, and another comes to the end of the other. Coming first, it is what may fail. */
static int
move_item(struct ranked *t, const struct way *from, const struct page_item *old, const struct way *to,
	  struct bytes item)
{
	struct ranked_page *source = from->step[0].page, *target = to->step[0].page;
	size_t at = old->at, size = old->end - old->at; /* `old` is a slice of what moves */
	int status = ranked_splice(t, target, to->step[0].at, 0, item);
	if (status != SETT_OK)
		return status;
	if (source == target && to->step[0].at <= at)
		at += item.size;
	return ranked_splice(t, source, at, size, (struct bytes){0});
}

int
ranked_move(struct ranked *t, struct bytes from, struct bytes to)
{
	uint8_t room[ITEM_MAX];
	struct page_item old, found;
	struct way source, target;
	bool is_there = false, is_taken = false;
	struct bytes item = encode_item(room, to);
	if (t->height == 0)
		return SETT_CORRUPT;
	int status = ways_to_keys(t, from, to, &source, &target);
	if (status == SETT_OK)
		status = look_at_end(&source, from, &old, &is_there);
	if (status == SETT_OK)
		status = look_at_end(&target, to, &found, &is_taken);
	if (status != SETT_OK || !is_there || is_taken)
		return status == SETT_OK ? SETT_CORRUPT : status;
	begin_change(t);
	status = move_item(t, &source, &old, &target, item);
	if (status == SETT_OK)
		status = shift_weight(t, &source, &target);
	/* What comes now may move what the other way goes by. */
	bool splits = target.step[0].page->size > t->page_max;
	if (status == SETT_OK)
		status = settle(t, &source);
	if (status == SETT_OK && splits)
		status = way_to_key(t, to, &target);
	return status == SETT_OK && splits ? split_on_way(t, &target) : status;
}

/* Deletes keys of one leaf from `rank` on; `*count` is lessened. */
static int
delete_run_in_leaf(struct ranked *t, uint64_t rank, uint64_t *count, ranked_gone gone, void *arg)
{
	struct target target = {.by_rank = true, .rank = rank};
	struct way way;
	struct page_item item = {.end = PAGE_START};
	uint64_t deleted = 0;
	int status = find_way(t, &target, &way);
	if (status != SETT_OK)
		return status;
	struct ranked_page *leaf = way.step[0].page;
	struct bytes page = page_bytes(leaf);
	for (uint64_t i = 0; i < target.rank && status == SETT_OK; i++)
		status = item.end < page.size ? page_item_at(page, item.end, &item) : SETT_CORRUPT;
	size_t from = item.end;
	if (status == SETT_OK)
		begin_change(t);
	while (status == SETT_OK && item.end < page.size && deleted < *count) {
		status = page_item_at(page, item.end, &item);
		if (status == SETT_OK)
			status = gone(arg, item.key);
		deleted++;
	}
	if (status == SETT_OK && deleted == 0)
		status = SETT_CORRUPT;
	if (status == SETT_OK)
		status = ranked_splice(t, leaf, from, item.end - from, (struct bytes){0});
	if (status == SETT_OK)
		status = add_weight(t, &way, 0, deleted);
	*count -= deleted;
	return status == SETT_OK ? settle(t, &way) : status;
}

int
ranked_delete_run(struct ranked *t, uint64_t rank, uint64_t count, ranked_gone gone, void *arg)
{
	int status = SETT_OK;
	assert(rank <= t->weight && count <= t->weight - rank);
	while (count > 0 && status == SETT_OK)
		status = delete_run_in_leaf(t, rank, &count, gone, arg);
	return status;
}

/* ---- copying ---- */

static int
copy_page(struct ranked *to, struct sett_iterator *iterator)
{
	uint8_t key[PAGE_KEY_MAX];
	struct sett_record record;
	struct bytes page = sett_iterator_key(iterator);
	if (page.size > sizeof(key))
		return SETT_CORRUPT;
	memcpy(key, page.data, page.size);
	memcpy(key, to->prefix, ELEMENT_PREFIX_SIZE);
	int status = sett_iterator_record(iterator, &record);
	struct sett_put put = {.head = record.head};
	if (status == SETT_OK)
		status = sett_txn_put(to->view->txn, bytes_of(key, page.size), &put);
	return status == SETT_OK ? build_step(to->view, page.size + record.head.size) : status;
}

int
ranked_copy(struct ranked *from, struct ranked *to)
{
	struct sett_iterator *iterator;
	uint8_t lower[ELEMENT_PREFIX_SIZE + 1], upper[ELEMENT_PREFIX_SIZE + 1];
	memcpy(lower, from->prefix, ELEMENT_PREFIX_SIZE);
	memcpy(upper, from->prefix, ELEMENT_PREFIX_SIZE);
	lower[ELEMENT_PREFIX_SIZE] = RANKED_KIND;
	upper[ELEMENT_PREFIX_SIZE] = RANKED_KIND + 1;
	struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						.upper = bytes_of(upper, sizeof(upper))};
	assert(to->height == 0);
	int status = ranked_flush(from);
	if (status == SETT_OK)
		status = sett_iterator_open(from->view->txn, &options, &iterator);
	if (status != SETT_OK)
		return status;
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		status = copy_page(to, iterator);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	to->height = from->height;
	to->root = from->root;
	to->next = from->next;
	to->weight = from->weight;
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
