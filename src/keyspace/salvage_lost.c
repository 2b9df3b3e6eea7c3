/* Which keys of a damaged database may be lost; see salvage.h. */
#include <stdlib.h>

#include "keyspace/salvage.h"

static uint8_t *
copy_of(struct bytes b)
{
	uint8_t *copy = malloc(b.size + 1);
	if (copy != NULL && b.size > 0)
		memcpy(copy, b.data, b.size);
	return copy;
}

int
lost_ranges_add(struct lost_ranges *l, const struct sett_salvage_finding *f)
{
	bool is_key = f->kind == SETT_SALVAGE_KEY;
	struct bytes from = is_key ? f->key : f->from, to = is_key ? f->key : f->to;
	if (f->kind == SETT_SALVAGE_NOTE || f->kind == SETT_SALVAGE_DOUBT)
		return SETT_OK;
	if (from.data == NULL || l->count == LOST_RANGES_MAX) {
		l->any = true;
		return SETT_OK;
	}
	if (l->count == l->capacity) {
		size_t capacity = l->capacity > 0 ? 2 * l->capacity : 16;
		struct lost_range *more = reallocarray(l->ranges, capacity, sizeof(*more));
		if (more == NULL)
			return SETT_NO_MEMORY;
		l->ranges = more;
		l->capacity = capacity;
	}
	struct lost_range r = {.from = copy_of(from), .from_size = from.size, .to_size = to.size};
	r.to = to.data != NULL ? copy_of(to) : NULL;
	if (r.from == NULL || (to.data != NULL && r.to == NULL)) {
		free(r.from);
		free(r.to);
		return SETT_NO_MEMORY;
	}
	l->ranges[l->count++] = r;
	return SETT_OK;
}

bool
lost_ranges_meet(const struct lost_ranges *l, struct bytes low, struct bytes high)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct lost_range *r = &l->ranges[i];
		bool begins = bytes_compare(bytes_of(r->from, r->from_size), high) < 0;
		bool ends = r->to != NULL && bytes_compare(bytes_of(r->to, r->to_size), low) < 0;
		if (begins && !ends)
			return true;
	}
	return l->any;
}

void
lost_ranges_free(struct lost_ranges *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->ranges[i].from);
		free(l->ranges[i].to);
	}
	free(l->ranges);
	*l = (struct lost_ranges){0};
}

void
salvage_tell(struct salvage_run *run, const struct salvaged *s)
{
	if (run->options->on_salvaged != NULL)
		run->options->on_salvaged(run->options->arg, s);
}

int
salvage_failed(struct salvage_run *run, int status, const struct sett_txn *txn)
{
	const char *failure = txn != NULL ? sett_txn_failure(txn) : "";
	if (run->error->status != status)
		sett_error_set(run->error, status, 0, "%s",
			       failure[0] != '\0' ? failure : sett_status_text(status));
	return status;
}
