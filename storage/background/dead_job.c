/* Upkeep of the dead set; see dead_job.h.
 *
 * (I22) An id leaves when every table whose keys span it was made by a flush or compaction that began after it
 * took effect: such a job has dropped all of it, and nothing comes any more. Its commit is in tables then: a
 * cohort comes with the edit of its flush. Tables made by a job that began before are made of tables that are
 * in the version as long as it runs; so one look at one version, taken after the cohort took effect, is
 * enough. An id within a dropped prefix that is in the set leaves, too: the prefix stands for it. */
#include "dead_job.h"

#include "version.h"

enum {
	SWALLOWERS_MAX = 64, /* a longer list is not searched for prefixes that enclose others' */
	LEAVING_MAX = 4,     /* cohorts in one edit */
};

/* ---- spans ---- */

static int
compare_spans(const void *a, const void *b)
{
	const struct table_span *x = a, *y = b;
	return bytes_compare(x->low, y->low);
}

int
table_spans_make(const struct version *v, struct table_span **ret, size_t *ret_count)
{
	size_t count = 0, n = 0;
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		count += v->levels[l].count;
	struct table_span *spans = calloc(count + 1, sizeof(*spans));
	if (!spans)
		return SETT_NO_MEMORY;
	for (unsigned l = 0; l < SETT_LEVELS; l++) {
		for (size_t i = 0; i < v->levels[l].count; i++) {
			const struct table_file *f = v->levels[l].tables[i];
			spans[n++] =
				(struct table_span){table_smallest(f), table_largest(f), f->created_sequence};
		}
	}
	if (n > 1)
		qsort(spans, n, sizeof(*spans), compare_spans);
	*ret = spans;
	*ret_count = n;
	return SETT_OK;
}

/* The next stretch of keys, from `*at` on, of tables that may hold something of a cohort which took effect at
 * `sequence`. */
static bool
next_stretch(const struct table_span *spans, size_t count, uint64_t sequence, size_t *at,
	     struct table_span *ret)
{
	while (*at < count && spans[*at].created_sequence > sequence)
		++*at;
	if (*at == count)
		return false;
	*ret = spans[(*at)++];
	for (; *at < count && bytes_compare(spans[*at].low, ret->high) <= 0; ++*at) {
		if (spans[*at].created_sequence <= sequence && bytes_compare(spans[*at].high, ret->high) > 0)
			ret->high = spans[*at].high;
	}
	return true;
}

/* ---- what leaves ---- */

static bool
may_swallow(const struct dead_cohort *c, const struct dead_cohort *other)
{
	return other->number != c->number && other->list->sum.ranges <= SWALLOWERS_MAX &&
		other->list->shortest < c->list->longest;
}

/* Whether the list has something that the prefix encloses. */
static bool
has_within(const struct dead_list *list, const struct dead_range *prefix)
{
	struct dead_cursor c;
	dead_cursor_init(&c, list);
	dead_cursor_seek(&c, dead_range_low(prefix));
	while (c.valid && c.now.size <= prefix->size && !dead_range_is_before(prefix, dead_range_low(&c.now)))
		dead_cursor_next(&c);
	return c.valid && dead_range_encloses(prefix, &c.now);
}

static bool
is_swallowed_in_part(const struct dead_cohort *c, const struct dead_view *all)
{
	for (size_t i = 0; i < all->count; i++) {
		struct dead_cursor s;
		if (!may_swallow(c, &all->cohorts[i]))
			continue;
		for (dead_cursor_init(&s, all->cohorts[i].list); s.valid; dead_cursor_next(&s)) {
			if (s.now.size < c->list->longest && has_within(c->list, &s.now))
				return true;
		}
	}
	return false;
}

bool
dead_cohort_is_loose(const struct dead_cohort *c, const struct dead_view *all, const struct table_span *spans,
		     size_t span_count)
{
	struct dead_sum stays = {0};
	struct table_span stretch;
	size_t at = 0;
	while (next_stretch(spans, span_count, c->sequence, &at, &stretch))
		dead_list_sum(c->list, stretch.low, stretch.high, &stays);
	return stays.ranges <= c->list->sum.ranges / 4 * 3 || is_swallowed_in_part(c, all);
}

/* What may enclose ranges of the cohort, as one list; NULL if nothing does. */
static int
swallowers_of(const struct dead_cohort *c, const struct dead_view *all, struct dead_list **ret)
{
	struct dead_list **lists = calloc(all->count + 1, sizeof(*lists));
	size_t count = 0;
	if (!lists)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < all->count; i++) {
		if (may_swallow(c, &all->cohorts[i]))
			lists[count++] = all->cohorts[i].list;
	}
	int status = dead_list_merge(lists, count, ret);
	free(lists);
	return status;
}

/* Splits the cohort into what stays and what is gone. */
static int
split(const struct dead_cohort *c, struct dead_list *swallowers, const struct table_span *spans,
      size_t span_count, struct dead_departure *ret)
{
	struct dead_list_builder stays = {0}, gone = {0};
	struct dead_list *rest = NULL, *left = NULL;
	struct dead_cursor i, s;
	struct table_span stretch;
	size_t at = 0;
	int status = SETT_OK;
	bool more = next_stretch(spans, span_count, c->sequence, &at, &stretch);
	dead_cursor_init(&s, swallowers);
	for (dead_cursor_init(&i, c->list); status == SETT_OK && i.valid; dead_cursor_next(&i)) {
		while (more && bytes_compare(stretch.high, dead_range_low(&i.now)) < 0)
			more = next_stretch(spans, span_count, c->sequence, &at, &stretch);
		dead_cursor_advance(&s, dead_range_low(&i.now));
		bool overlaps = more && !dead_range_is_before(&i.now, stretch.low);
		bool swallowed = s.valid && s.now.size < i.now.size && dead_range_encloses(&s.now, &i.now);
		status = dead_list_add(overlaps && !swallowed ? &stays : &gone, &i.now);
	}
	if (status == SETT_OK)
		status = dead_list_finish(&stays, &rest);
	if (status == SETT_OK)
		status = dead_list_finish(&gone, &left);
	if (status != SETT_OK) {
		dead_list_builder_free(&stays);
		dead_list_builder_free(&gone);
		dead_list_release(rest);
		return status;
	}
	*ret = (struct dead_departure){c->number, left, rest};
	return SETT_OK;
}

static void
free_departures(struct dead_departure *d, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		dead_list_release(d[i].gone);
		dead_list_release(d[i].stays);
	}
}

static int
depart(const struct dead_cohort *c, const struct dead_view *all, const struct table_span *spans,
       size_t span_count, struct dead_departure *ret)
{
	struct dead_list *swallowers = NULL;
	int status = swallowers_of(c, all, &swallowers);
	if (status == SETT_OK)
		status = split(c, swallowers, spans, span_count, ret);
	dead_list_release(swallowers);
	return status;
}

/* Up to LEAVING_MAX of them. */
static int
find_departures(struct version_set *set, const struct dead_view *all, struct dead_departure *ret,
		size_t *ret_count)
{
	struct table_span *spans;
	size_t span_count, count = 0;
	/* After the view: it has the tables of all flushes that the cohorts came with. */
	struct version *v = version_set_current(set);
	int status = table_spans_make(v, &spans, &span_count);
	if (status != SETT_OK) {
		version_release(v);
		return status;
	}
	for (size_t i = 0; status == SETT_OK && i < all->count && count < LEAVING_MAX; i++) {
		const struct dead_cohort *c = &all->cohorts[i];
		if (c->sequence == DEAD_WAITING || !dead_cohort_is_loose(c, all, spans, span_count))
			continue;
		status = depart(c, all, spans, span_count, &ret[count]);
		if (status == SETT_OK && ret[count].gone)
			count++;
		else if (status == SETT_OK)
			free_departures(&ret[count], 1);
	}
	free(spans);
	version_release(v);
	if (status != SETT_OK)
		free_departures(ret, count);
	else
		*ret_count = count;
	return status;
}

/* ---- uniting ---- */

/* The two neighbours of one state that are the least together; false if there are none. */
static bool
find_pair(const struct dead_view *all, size_t *ret)
{
	size_t least = SIZE_MAX;
	for (size_t i = 0; i + 1 < all->count; i++) {
		const struct dead_cohort *a = &all->cohorts[i], *b = a + 1;
		size_t size = a->list->size + b->list->size;
		if ((a->sequence == DEAD_WAITING) == (b->sequence == DEAD_WAITING) && size < least) {
			least = size;
			*ret = i;
		}
	}
	return least < SIZE_MAX;
}

/* In memory alone: the manifest holds the same ids as before. */
static int
unite(struct dead_set *set)
{
	for (;;) {
		struct dead_view *all;
		struct dead_list *both;
		size_t at;
		int status = dead_set_view(set, false, &all);
		if (status != SETT_OK)
			return status;
		if (all->count <= DEAD_COHORTS_MAX || !find_pair(all, &at)) {
			dead_view_free(all);
			return SETT_OK;
		}
		const struct dead_cohort *a = &all->cohorts[at], *b = a + 1;
		status = dead_list_merge((struct dead_list *[]){a->list, b->list}, 2, &both);
		bool done = status == SETT_OK && dead_set_unite(set, a->number, b->number, both);
		if (status == SETT_OK && !done)
			dead_list_release(both); /* one took effect meanwhile: next time */
		dead_view_free(all);
		if (!done)
			return status;
	}
}

int
dead_job_run(const struct job_context *context, const struct task *t, struct sett_error *error)
{
	struct version_set *set = context->options->versions;
	struct dead_departure departures[LEAVING_MAX];
	struct dead_view *all = NULL;
	size_t count = 0;
	int r = dead_set_view(version_set_dead(set), false, &all);
	if (r == SETT_OK)
		r = find_departures(set, all, departures, &count);
	dead_view_free(all);
	if (r != SETT_OK)
		return sett_error_set(error, r, 0, "dropping the dead: out of memory");
	struct version_edit edit = {
		.removed = t->dropped,
		.removed_count = t->dropped_count,
		.departures = departures,
		.departure_count = count,
	};
	if (count > 0 || t->dropped_count > 0)
		r = version_set_apply(set, &edit, error);
	free_departures(departures, count);
	if (r == SETT_OK && unite(version_set_dead(set)) != SETT_OK)
		r = sett_error_set(error, SETT_NO_MEMORY, 0, "dropping the dead: out of memory");
	return r;
}
