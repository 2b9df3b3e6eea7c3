/* Nodes of spread lists and the pages above them; see list_tree.h.
 *
 * Invariants: a page has at least one child; the count of a child is the sum of what is below it; the counts of the top
 * page make `elements`; `ends` are the first and the last node on the lowest level. */
#include "types/list_tree.h"

#include <assert.h>

#include "keyspace/build.h"
#include "storage/base/varint.h"

enum {
	KIND_PAGE = 0,
	KIND_NODE = 1,
	KEY_SIZE = ELEMENT_PREFIX_SIZE + 1 + 8,
	/* What an entry takes beside head and body: key, the engine's own. */
	ENTRY_OVERHEAD = KEY_SIZE + 16,
	PAGE_HEAD_MAX = (LIST_PAGE_MAX + 1) * 2 * VARINT_MAX_SIZE,
	/* From this level on pages grow to LIST_PAGE_MAX whatever the fan-out, so that the height has a bound. */
	TALL = 8,
};

void
list_tree_init(struct list_tree *ret, struct keyspace_view *view, uint64_t epoch, uint64_t object,
	       size_t fan_out)
{
	assert(object != 0);
	*ret = (struct list_tree){.view = view, .next_number = 1};
	ret->fan_out = fan_out < LIST_PAGE_MIN ? LIST_PAGE_MIN
		: fan_out > LIST_PAGE_MAX      ? LIST_PAGE_MAX
					       : (unsigned)fan_out;
	keyspace_element_prefix(ret->prefix, epoch, object);
}

bool
list_tree_is_sound(const struct list_tree *t)
{
	bool is_empty = t->top == 0;
	return (t->elements == 0) == is_empty && (t->ends[0] == 0) == is_empty &&
		(t->ends[1] == 0) == is_empty && t->height <= LIST_HEIGHT_MAX &&
		(!is_empty || t->height == 0) && t->top < t->next_number && t->ends[0] < t->next_number &&
		t->ends[1] < t->next_number &&
		(t->height > 0 || (t->top == t->ends[0] && t->top == t->ends[1]));
}

/* ---- entries ---- */

static struct bytes
entry_key(const struct list_tree *t, uint8_t kind, uint64_t number, uint8_t room[KEY_SIZE])
{
	memcpy(room, t->prefix, ELEMENT_PREFIX_SIZE);
	room[ELEMENT_PREFIX_SIZE] = kind;
	put_be64(room + ELEMENT_PREFIX_SIZE + 1, ~number);
	return bytes_of(room, KEY_SIZE);
}

/* An entry that some page or root names: SETT_CORRUPT if it is not there. */
static int
get_entry(const struct list_tree *t, uint8_t kind, uint64_t number, struct sett_record *ret)
{
	uint8_t key[KEY_SIZE];
	int status = sett_txn_get(t->view->txn, entry_key(t, kind, number, key), ret);
	return status == SETT_NOT_FOUND ? SETT_CORRUPT : status;
}

static int
parse_node(uint64_t number, struct sett_record record, struct list_node *ret)
{
	uint64_t count = 1;
	bool is_raw = record.head.size == 0;
	if (!is_raw) {
		const uint8_t *end = record.head.data + record.head.size;
		if (varint_get(record.head.data, end, &count) != end || count == 0)
			return SETT_CORRUPT;
	}
	*ret = (struct list_node){.number = number, .count = count, .is_raw = is_raw, .record = record};
	return SETT_OK;
}

int
list_tree_node(const struct list_tree *t, uint64_t number, struct list_node *ret)
{
	struct sett_record record;
	int status = get_entry(t, KIND_NODE, number, &record);
	return status == SETT_OK ? parse_node(number, record, ret) : status;
}

/* The same by an iterator. */
static int
seek_node(const struct list_tree *t, struct sett_iterator *iterator, uint64_t number, struct list_node *ret)
{
	uint8_t room[KEY_SIZE];
	struct sett_record record;
	struct bytes key = entry_key(t, KIND_NODE, number, room);
	int status = sett_iterator_seek(iterator, key);
	if (status == SETT_NOT_FOUND || (status == SETT_OK && !bytes_equal(sett_iterator_key(iterator), key)))
		return SETT_CORRUPT;
	if (status == SETT_OK)
		status = sett_iterator_record(iterator, &record);
	return status == SETT_OK ? parse_node(number, record, ret) : status;
}

/* Of the entries of the object, or of its nodes alone. */
static int
open_iterator(const struct list_tree *t, uint8_t first_kind, struct sett_iterator **ret)
{
	uint8_t lower[ELEMENT_PREFIX_SIZE + 1], upper[ELEMENT_PREFIX_SIZE + 1];
	memcpy(lower, t->prefix, ELEMENT_PREFIX_SIZE);
	memcpy(upper, t->prefix, ELEMENT_PREFIX_SIZE);
	lower[ELEMENT_PREFIX_SIZE] = first_kind;
	upper[ELEMENT_PREFIX_SIZE] = KIND_NODE + 1;
	struct sett_iterator_options options = {.lower = bytes_of(lower, sizeof(lower)),
						.upper = bytes_of(upper, sizeof(upper))};
	return sett_iterator_open(t->view->txn, &options, ret);
}

int
list_tree_pass(const struct list_tree *t, struct list_place *place)
{
	return place->passing == NULL ? open_iterator(t, KIND_NODE, &place->passing) : SETT_OK;
}

void
list_tree_pass_no_more(struct list_place *place)
{
	sett_iterator_close(place->passing);
	place->passing = NULL;
}

int
list_node_body(const struct list_tree *t, const struct list_node *node, struct bytes *ret)
{
	return sett_txn_body(t->view->txn, &node->record, ret);
}

int
list_node_body_in(const struct list_tree *t, const struct list_node *node, uint8_t *scratch,
		  struct bytes *ret)
{
	size_t size = (size_t)node->record.body_size;
	if (node->record.body_size > LIST_SCRATCH)
		return list_node_body(t, node, ret);
	int status = sett_txn_body_part(t->view->txn, &node->record, 0, size, scratch);
	if (status == SETT_OK)
		*ret = bytes_of(scratch, size);
	return status;
}

static uint64_t
content_size(const struct list_content *content)
{
	return ENTRY_OVERHEAD +
		(content->body_of != NULL ? content->body_of->body_size : (uint64_t)content->body.size);
}

/* Writes a node, over `old` if it is there. */
static int
put_node(struct list_tree *t, uint64_t number, const struct list_content *content,
	 const struct list_node *old)
{
	uint8_t key[KEY_SIZE], head[VARINT_MAX_SIZE];
	size_t head_size = content->is_raw ? 0 : (size_t)(varint_put(head, content->count) - head);
	struct sett_put put = {.head = bytes_of(head, head_size),
			       .body = content->body,
			       .body_of = content->body_of,
			       .over = old != NULL ? &old->record : NULL};
	assert(content->count > 0 && (!content->is_raw || content->count == 1));
	uint64_t old_size = old != NULL ? ENTRY_OVERHEAD + old->record.body_size : 0;
	t->bytes = t->bytes > old_size ? t->bytes - old_size : 0;
	t->bytes += content_size(content);
	t->elements += content->count - (old != NULL ? old->count : 0);
	t->seen = 0;
	return sett_txn_put(t->view->txn, entry_key(t, KIND_NODE, number, key), &put);
}

static int
delete_node(struct list_tree *t, const struct list_node *node)
{
	uint8_t key[KEY_SIZE];
	uint64_t size = ENTRY_OVERHEAD + node->record.body_size;
	assert(t->elements >= node->count);
	t->bytes = t->bytes > size ? t->bytes - size : 0;
	t->elements -= node->count;
	t->seen = 0;
	return sett_txn_delete_over(t->view->txn, entry_key(t, KIND_NODE, node->number, key), &node->record);
}

/* ---- pages ---- */

int
list_tree_page(const struct list_tree *t, uint64_t number, struct list_page *ret)
{
	struct sett_record record;
	int status = get_entry(t, KIND_PAGE, number, &record);
	if (status != SETT_OK)
		return status;
	const uint8_t *p = record.head.data, *end = p + record.head.size;
	uint64_t before = 0;
	ret->number = number;
	ret->children = 0;
	while (p != end) {
		uint64_t difference, count;
		if (ret->children == LIST_PAGE_MAX)
			return SETT_CORRUPT;
		p = varint_get(p, end, &difference);
		if (p != NULL)
			p = varint_get(p, end, &count);
		if (p == NULL || count == 0)
			return SETT_CORRUPT;
		before += (difference >> 1) ^ (0 - (difference & 1));
		ret->child[ret->children++] = (struct list_child){.number = before, .count = count};
	}
	return ret->children > 0 ? SETT_OK : SETT_CORRUPT;
}

static int
put_page(const struct list_tree *t, const struct list_page *page)
{
	uint8_t key[KEY_SIZE], head[PAGE_HEAD_MAX], *p = head;
	uint64_t before = 0;
	assert(page->children > 0 && page->children <= LIST_PAGE_MAX);
	for (unsigned i = 0; i < page->children; i++) {
		uint64_t difference = page->child[i].number - before;
		p = varint_put(p, (difference << 1) ^ (0 - (difference >> 63)));
		p = varint_put(p, page->child[i].count);
		before = page->child[i].number;
	}
	struct sett_put put = {.head = bytes_of(head, (size_t)(p - head))};
	return sett_txn_put(t->view->txn, entry_key(t, KIND_PAGE, page->number, key), &put);
}

static int
delete_page(const struct list_tree *t, uint64_t number)
{
	uint8_t key[KEY_SIZE];
	return sett_txn_delete(t->view->txn, entry_key(t, KIND_PAGE, number, key));
}

static uint64_t
page_count(const struct list_page *page)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < page->children; i++)
		sum += page->child[i].count;
	return sum;
}

static void
page_insert(struct list_page *page, unsigned index, struct list_child child)
{
	assert(page->children <= LIST_PAGE_MAX && index <= page->children);
	memmove(&page->child[index + 1], &page->child[index], (page->children - index) * sizeof(child));
	page->child[index] = child;
	page->children++;
}

static void
page_remove(struct list_page *page, unsigned index)
{
	assert(index < page->children);
	page->children--;
	memmove(&page->child[index], &page->child[index + 1],
		(page->children - index) * sizeof(page->child[0]));
}

/* ---- finding ---- */

/* The child of the page with element `*rank`, which becomes the rank within it. */
static int
choose_child(struct list_page *page, uint64_t *rank)
{
	for (page->at = 0; page->at < page->children; page->at++) {
		if (*rank < page->child[page->at].count)
			return SETT_OK;
		*rank -= page->child[page->at].count;
	}
	return SETT_CORRUPT;
}

/* The way to element `rank`, without the node itself: of that the number alone is set. */
static int
descend(const struct list_tree *t, uint64_t rank, struct list_place *ret)
{
	uint64_t number = t->top, within = rank;
	assert(rank < t->elements);
	ret->passing = NULL;
	ret->height = t->height;
	for (unsigned level = t->height; level-- > 0;) {
		struct list_page *page = &ret->page[level];
		int status = list_tree_page(t, number, page);
		if (status == SETT_OK)
			status = choose_child(page, &within);
		if (status != SETT_OK)
			return status;
		number = page->child[page->at].number;
	}
	ret->before = rank - within;
	ret->node.number = number;
	return SETT_OK;
}

/* Reads the node that the way leads to. */
static int
arrive(const struct list_tree *t, struct list_place *place)
{
	uint64_t number = place->node.number;
	int status = place->passing != NULL ? seek_node(t, place->passing, number, &place->node)
					    : list_tree_node(t, number, &place->node);
	uint64_t expected = place->height > 0 ? place->page[0].child[place->page[0].at].count : t->elements;
	return status == SETT_OK && place->node.count != expected ? SETT_CORRUPT : status;
}

int
list_tree_find(const struct list_tree *t, uint64_t rank, struct list_place *ret)
{
	int status = descend(t, rank, ret);
	return status == SETT_OK ? arrive(t, ret) : status;
}

/* Reads the pages below `level` along their first children, or their last. */
static int
follow_edge(const struct list_tree *t, struct list_place *place, unsigned level, bool last)
{
	while (level > 0) {
		const struct list_page *above = &place->page[level--];
		struct list_page *page = &place->page[level];
		int status = list_tree_page(t, above->child[above->at].number, page);
		if (status != SETT_OK)
			return status;
		page->at = last ? page->children - 1 : 0;
	}
	place->node.number = place->page[0].child[place->page[0].at].number;
	return SETT_OK;
}

int
list_tree_step(const struct list_tree *t, struct list_place *place, bool backward)
{
	unsigned level = 0;
	uint64_t count = place->node.count;
	while (level < place->height &&
	       (backward ? place->page[level].at == 0
			 : place->page[level].at + 1 == place->page[level].children))
		level++;
	if (level == place->height)
		return SETT_NOT_FOUND;
	if (backward)
		place->page[level].at--;
	else
		place->page[level].at++;
	int status = follow_edge(t, place, level, backward);
	if (status == SETT_OK)
		status = arrive(t, place);
	if (status == SETT_OK)
		place->before += backward ? 0 - place->node.count : count;
	return status;
}

/* ---- changing ---- */

/* The child on the way has `more` elements more, on `level` and above. */
static int
add_count(struct list_tree *t, struct list_place *place, unsigned level, uint64_t more)
{
	int status = SETT_OK;
	for (; level < place->height && status == SETT_OK; level++) {
		struct list_page *page = &place->page[level];
		page->child[page->at].count += more;
		status = put_page(t, page);
	}
	return status;
}

int
list_tree_update(struct list_tree *t, struct list_place *place, const struct list_content *content)
{
	uint64_t more = content->count - place->node.count;
	int status = put_node(t, place->node.number, content, &place->node);
	if (status == SETT_OK && more != 0)
		status = add_count(t, place, 0, more);
	return status == SETT_OK ? list_tree_node(t, place->node.number, &place->node) : status;
}

/* A new top page over the old top and a sibling of it. */
static int
grow(struct list_tree *t, struct list_place *place, struct list_child old, struct list_child sibling,
     bool after)
{
	if (place->height == LIST_HEIGHT_MAX)
		return SETT_TOO_LARGE;
	struct list_page *page = &place->page[place->height++];
	*page = (struct list_page){.number = t->next_number++, .children = 2};
	page->child[after ? 0 : 1] = old;
	page->child[after ? 1 : 0] = sibling;
	t->top = page->number;
	t->height = place->height;
	return put_page(t, page);
}

/* Cuts a page that is too large, after its child `index` came in. What is cut off becomes `ret`. */
static int
split_page(struct list_tree *t, struct list_page *page, unsigned index, struct list_child *ret)
{
	struct list_page right = {.number = t->next_number++};
	unsigned keep = index + 1 == page->children ? index : index == 0 ? 1 : page->children / 2;
	right.children = page->children - keep;
	memcpy(right.child, page->child + keep, right.children * sizeof(right.child[0]));
	page->children = keep;
	*ret = (struct list_child){.number = right.number, .count = page_count(&right)};
	int status = put_page(t, page);
	return status == SETT_OK ? put_page(t, &right) : status;
}

/* Puts a child beside the one on the way: on the lowest level, and what splits off on the levels above. */
static int
add_child(struct list_tree *t, struct list_place *place, struct list_child child, bool after)
{
	/* What the way leads to on the level below, and what is beside it there. */
	struct list_child below = {.number = place->node.number, .count = place->node.count};
	uint64_t more = child.count;
	for (unsigned level = 0; level < place->height; level++) {
		struct list_page *page = &place->page[level];
		unsigned index = page->at + after, most = level < TALL ? t->fan_out : LIST_PAGE_MAX;
		page->child[page->at].count = below.count;
		page_insert(page, index, child);
		if (page->children <= most) {
			int status = put_page(t, page);
			return status == SETT_OK ? add_count(t, place, level + 1, more) : status;
		}
		uint64_t sum = page_count(page);
		int status = split_page(t, page, index, &child);
		if (status != SETT_OK)
			return status;
		below = (struct list_child){.number = page->number, .count = sum - child.count};
		after = true;
	}
	return grow(t, place, below, child, after);
}

int
list_tree_insert(struct list_tree *t, struct list_place *place, bool after,
		 const struct list_content *content)
{
	struct list_child child = {.number = t->next_number++, .count = content->count};
	unsigned end = after ? 1 : 0;
	int status = put_node(t, child.number, content, NULL);
	if (t->ends[end] == place->node.number)
		t->ends[end] = child.number;
	return status == SETT_OK ? add_child(t, place, child, after) : status;
}

int
list_tree_push(struct list_tree *t, bool back, const struct list_content *content)
{
	struct list_place place;
	if (t->top != 0) {
		int status = descend(t, back ? t->elements - 1 : 0, &place);
		if (status != SETT_OK)
			return status;
		place.node.count =
			place.height > 0 ? place.page[0].child[place.page[0].at].count : t->elements;
		return list_tree_insert(t, &place, back, content);
	}
	t->top = t->ends[0] = t->ends[1] = t->next_number++;
	return put_node(t, t->top, content, NULL);
}

/* The page on `level` takes its neighbour's children in, or gives its own to it, if both are small. The way then leads
 * to the one that is gone, which the page above still names. */
static int
join_neighbour(struct list_tree *t, struct list_place *place, unsigned level, bool *ret_joined)
{
	struct list_page *page = &place->page[level], *above = &place->page[level + 1], other;
	unsigned left = above->at > 0 ? above->at - 1 : above->at;
	*ret_joined = false;
	if (above->children < 2)
		return SETT_OK;
	int status = list_tree_page(t, above->child[left == above->at ? left + 1 : left].number, &other);
	if (status != SETT_OK || page->children + other.children > t->fan_out / 2)
		return status;
	struct list_page *first = left == above->at ? page : &other, *second = first == page ? &other : page;
	memcpy(first->child + first->children, second->child, second->children * sizeof(second->child[0]));
	first->children += second->children;
	above->child[left].count = page_count(first);
	above->at = left + 1;
	*ret_joined = true;
	status = put_page(t, first);
	return status == SETT_OK ? delete_page(t, second->number) : status;
}

/* The top page has one child only: that becomes the top. */
static int
shrink(struct list_tree *t, const struct list_page *top)
{
	t->height--;
	t->top = top->child[0].number;
	return delete_page(t, top->number);
}

/* Takes the child on the way out of its page, and pages that empty or join others out of theirs. `less`: so many
 * elements are gone. */
static int
drop_child(struct list_tree *t, struct list_place *place, uint64_t less)
{
	for (unsigned level = 0; level < place->height; level++) {
		struct list_page *page = &place->page[level];
		bool is_top = level + 1 == place->height, joined = false;
		int status = SETT_OK;
		page_remove(page, page->at);
		if (page->children == 0) {
			status = delete_page(t, page->number);
			if (status != SETT_OK)
				return status;
			continue;
		}
		if (is_top)
			return page->children == 1 ? shrink(t, page) : put_page(t, page);
		if (page->children <= t->fan_out / 4)
			status = join_neighbour(t, place, level, &joined);
		if (status != SETT_OK)
			return status;
		if (!joined) {
			status = put_page(t, page);
			return status == SETT_OK ? add_count(t, place, level + 1, 0 - less) : status;
		}
	}
	t->top = t->height = 0;
	return SETT_OK;
}

/* The end of the tree after the node there was removed, whose place this was: its page has the next one, whether it took
 * in others or was taken in, unless it is empty. */
static int
find_end(struct list_tree *t, struct list_place *place, bool last)
{
	const struct list_page *page = &place->page[0];
	int status = SETT_OK;
	t->ends[last] = 0;
	if (t->elements == 0)
		return SETT_OK;
	if (page->children > 0)
		place->node.number = page->child[last ? page->children - 1 : 0].number;
	else
		status = descend(t, last ? t->elements - 1 : 0, place);
	t->ends[last] = place->node.number;
	return status;
}

int
list_tree_remove(struct list_tree *t, struct list_place *place)
{
	uint64_t number = place->node.number;
	int status = delete_node(t, &place->node);
	if (status == SETT_OK)
		status = drop_child(t, place, place->node.count);
	for (int end = 0; end < 2 && status == SETT_OK; end++)
		if (t->ends[end] == number)
			status = find_end(t, place, end == 1);
	return status;
}

/* ---- copying ---- */

int
list_tree_copy(const struct list_tree *from, const struct list_tree *to)
{
	uint8_t key[KEY_SIZE];
	struct sett_iterator *iterator;
	int status = open_iterator(from, KIND_PAGE, &iterator);
	if (status != SETT_OK)
		return status;
	memcpy(key, to->prefix, ELEMENT_PREFIX_SIZE);
	for (status = sett_iterator_first(iterator); status == SETT_OK;
	     status = sett_iterator_next(iterator)) {
		struct bytes name = sett_iterator_key(iterator);
		struct sett_record record;
		status = name.size == KEY_SIZE ? sett_iterator_record(iterator, &record) : SETT_CORRUPT;
		if (status != SETT_OK)
			break;
		memcpy(key + ELEMENT_PREFIX_SIZE, name.data + ELEMENT_PREFIX_SIZE,
		       KEY_SIZE - ELEMENT_PREFIX_SIZE);
		struct sett_put put = {.head = record.head, .body_of = &record};
		status = sett_txn_put(to->view->txn, bytes_of(key, KEY_SIZE), &put);
		if (status == SETT_OK)
			status = build_step(to->view, record.body_size);
		if (status != SETT_OK)
			break;
	}
	sett_iterator_close(iterator);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
