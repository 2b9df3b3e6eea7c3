/* The dead set; see dead_set.h. */
#include "dead_set.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/status.h"

void
dead_set_init(struct dead_set *s)
{
	*s = (struct dead_set){.next_number = 1};
	mutex_init(&s->lock);
}

void
dead_set_free(struct dead_set *s)
{
	for (size_t i = 0; i < s->count; i++)
		dead_list_release(s->cohorts[i].list);
	free(s->cohorts);
	mutex_destroy(&s->lock);
}

/* ---- changes ---- */

static void
count_list(struct dead_set *s, const struct dead_list *list, bool added)
{
	uint64_t memory = dead_list_memory(list), ids = list->sum.ids;
	__atomic_fetch_add(&s->memory, added ? memory : 0 - memory, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s->ids, added ? ids : 0 - ids, __ATOMIC_RELAXED);
}

static void
note_change_locked(struct dead_set *s) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	/* release: with the acquire load of dead_set_changes */
	__atomic_fetch_add(&s->changes, 1, __ATOMIC_RELEASE);
}

int
dead_set_reserve(struct dead_set *s)
{
	int status = SETT_OK;
	mutex_lock(&s->lock);
	if (s->count == s->capacity) {
		size_t capacity = s->capacity ? s->capacity * 2 : 16;
		void *p = reallocarray(s->cohorts, capacity, sizeof(*s->cohorts));
		if (p) {
			s->cohorts = p;
			s->capacity = capacity;
		} else {
			status = SETT_NO_MEMORY;
		}
	}
	mutex_unlock(&s->lock);
	return status;
}

void
dead_set_add(struct dead_set *s, struct dead_list *list, uint64_t timestamp)
{
	count_list(s, list, true);
	mutex_lock(&s->lock);
	assert(s->count < s->capacity);
	s->cohorts[s->count++] = (struct dead_cohort){s->next_number++, list, timestamp, DEAD_WAITING};
	note_change_locked(s);
	mutex_unlock(&s->lock);
}

void
dead_set_advance(struct dead_set *s, uint64_t oldest_snapshot, uint64_t (*sequence)(void *arg), void *arg)
{
	uint64_t now = DEAD_WAITING;
	mutex_lock(&s->lock);
	for (size_t i = 0; i < s->count; i++) {
		struct dead_cohort *c = &s->cohorts[i];
		if (c->sequence != DEAD_WAITING || c->timestamp > oldest_snapshot)
			continue;
		/* A job whose sequence is later asks for its view after this, so it has the cohort. */
		if (now == DEAD_WAITING)
			now = sequence(arg);
		assert(now != DEAD_WAITING);
		c->sequence = now;
	}
	if (now != DEAD_WAITING)
		note_change_locked(s);
	mutex_unlock(&s->lock);
}

static struct dead_cohort *
find_locked(struct dead_set *s, uint64_t number) REQUIRES(&s->lock)
{
	assert(mutex_is_mine(&s->lock));
	for (size_t i = 0; i < s->count; i++) {
		if (s->cohorts[i].number == number)
			return &s->cohorts[i];
	}
	return NULL;
}

static void
remove_locked(struct dead_set *s, struct dead_cohort *c) REQUIRES(&s->lock)
{
	assert(c >= s->cohorts && c < s->cohorts + s->count);
	assert(mutex_is_mine(&s->lock));
	size_t at = (size_t)(c - s->cohorts);
	memmove(c, c + 1, (s->count - at - 1) * sizeof(*c));
	s->count--;
}

void
dead_set_replace(struct dead_set *s, uint64_t number, struct dead_list *list)
{
	mutex_lock(&s->lock);
	struct dead_cohort *c = find_locked(s, number);
	assert(c); /* one job at a time changes cohorts */
	struct dead_list *old = c->list;
	if (list) {
		c->list = list;
		c->number = s->next_number++;
	} else {
		remove_locked(s, c);
	}
	note_change_locked(s);
	mutex_unlock(&s->lock);
	if (list)
		count_list(s, list, true);
	count_list(s, old, false);
	dead_list_release(old);
}

bool
dead_set_unite(struct dead_set *s, uint64_t first, uint64_t second, struct dead_list *list)
{
	assert(first != second);
	mutex_lock(&s->lock);
	struct dead_cohort *a = find_locked(s, first), *b = find_locked(s, second);
	if (!a || !b || (a->sequence == DEAD_WAITING) != (b->sequence == DEAD_WAITING)) {
		mutex_unlock(&s->lock);
		return false;
	}
	struct dead_list *old[2] = {a->list, b->list};
	a->list = list;
	a->number = s->next_number++;
	a->timestamp = a->timestamp > b->timestamp ? a->timestamp : b->timestamp;
	a->sequence = a->sequence > b->sequence ? a->sequence : b->sequence;
	remove_locked(s, b);
	note_change_locked(s);
	mutex_unlock(&s->lock);
	count_list(s, list, true);
	for (int i = 0; i < 2; i++) {
		count_list(s, old[i], false);
		dead_list_release(old[i]);
	}
	return true;
}

uint64_t
dead_set_changes(const struct dead_set *s)
{
	/* acquire: what is read after this has the changes counted here */
	return __atomic_load_n(&s->changes, __ATOMIC_ACQUIRE);
}

uint64_t
dead_set_memory(const struct dead_set *s)
{
	return __atomic_load_n(&s->memory, __ATOMIC_RELAXED);
}

uint64_t
dead_set_ids(const struct dead_set *s)
{
	return __atomic_load_n(&s->ids, __ATOMIC_RELAXED);
}

/* ---- reading ---- */

/* Nothing is dropped, as a rule: then looking costs no memory. */
static struct dead_view empty_view;

int
dead_set_view(struct dead_set *s, bool effective, struct dead_view **ret)
{
	mutex_lock(&s->lock);
	struct dead_view *v = &empty_view;
	if (s->count > 0)
		v = malloc(sizeof(*v) + s->count * sizeof(v->cohorts[0]));
	if (v && v != &empty_view) {
		v->count = 0;
		for (size_t i = 0; i < s->count; i++) {
			if (effective && s->cohorts[i].sequence == DEAD_WAITING)
				continue;
			v->cohorts[v->count++] = s->cohorts[i];
			(void)dead_list_retain(s->cohorts[i].list);
		}
	}
	mutex_unlock(&s->lock);
	if (!v)
		return SETT_NO_MEMORY;
	*ret = v;
	return SETT_OK;
}

void
dead_view_free(struct dead_view *v)
{
	if (!v || v == &empty_view)
		return;
	for (size_t i = 0; i < v->count; i++)
		dead_list_release(v->cohorts[i].list);
	free(v);
}

int
dead_walk_init(struct dead_walk *w, const struct dead_view *view, const struct dead_list *more)
{
	size_t count = (view ? view->count : 0) + (more != NULL);
	*w = (struct dead_walk){0};
	if (count == 0)
		return SETT_OK;
	w->cursors = calloc(count, sizeof(*w->cursors));
	if (!w->cursors)
		return SETT_NO_MEMORY;
	for (; view && w->count < view->count; w->count++)
		dead_cursor_init(&w->cursors[w->count], view->cohorts[w->count].list);
	if (more)
		dead_cursor_init(&w->cursors[w->count++], more);
	return SETT_OK;
}

void
dead_walk_free(struct dead_walk *w)
{
	free(w->cursors);
	*w = (struct dead_walk){0};
}

bool
dead_walk_covers(struct dead_walk *w, struct bytes key)
{
	bool covered = false;
	for (size_t i = 0; i < w->count; i++) {
		struct dead_cursor *c = &w->cursors[i];
		if (w->began)
			dead_cursor_advance(c, key);
		else
			dead_cursor_seek(c, key);
		covered = covered || (c->valid && dead_range_covers(&c->now, key));
	}
	w->began = true;
	return covered;
}

/* The first prefix after the run, as a key; false if there is none. */
static bool
id_after(const struct dead_range *r, uint8_t ret[SETT_MAX_PREFIX_SIZE])
{
	if (!r->is_id)
		return false;
	dead_range_high(r, ret);
	for (unsigned i = 1; i <= SETT_ID_SIZE; i++) {
		if (++ret[r->size - i] != 0)
			return true;
	}
	return false;
}

/* The range of the view that covers `at` and ends last, if it is of the size `size` (0: any); NULL if none
 * does. */
static const struct dead_range *
cover(struct dead_walk *w, struct bytes at, unsigned size)
{
	const struct dead_range *best = NULL;
	uint8_t high[SETT_MAX_PREFIX_SIZE], best_high[SETT_MAX_PREFIX_SIZE];
	(void)dead_walk_covers(w, at);
	for (size_t i = 0; i < w->count; i++) {
		const struct dead_cursor *c = &w->cursors[i];
		if (!c->valid || !dead_range_covers(&c->now, at) || (size && c->now.size != size))
			continue;
		dead_range_high(&c->now, high);
		if (best && bytes_compare(bytes_of(high, c->now.size), bytes_of(best_high, best->size)) <= 0)
			continue;
		best = &c->now;
		memcpy(best_high, high, best->size);
	}
	return best;
}

bool
dead_view_covers_all(const struct dead_view *view, struct bytes low, struct bytes high)
{
	enum { MOST_RANGES = 1024 };
	struct dead_walk w;
	uint8_t next[SETT_MAX_PREFIX_SIZE];
	bool all = false;
	if (dead_walk_init(&w, view, NULL) != SETT_OK)
		return false; /* not known */
	const struct dead_range *r = cover(&w, low, 0);
	for (unsigned i = 0; r && i < MOST_RANGES; i++) {
		all = dead_range_covers(r, high);
		if (all || !id_after(r, next))
			break;
		r = cover(&w, bytes_of(next, r->size), r->size);
	}
	dead_walk_free(&w);
	return all;
}
