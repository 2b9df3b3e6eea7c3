/* Looking through tables and generations for entries whose time has come.
 *
 * Each table and generation remembers in memory the earliest deadline not looked at yet, from its properties
 * at first. A sweep reads the ones that are due, hands over what has expired, and notes the next deadline.
 * What is handed over may be out of date: the caller re-reads. */
#include <stdlib.h>

#include "engine_private.h"
#include "version.h"

struct sweep {
	uint64_t now_ms, budget, next_expiry;
	void (*each)(void *arg, struct bytes key, uint64_t expires_at);
	void *arg;
};

/* Walks from where `it` stands. SETT_NOT_FOUND at the end; SETT_OK when the budget ran out. */
static int
sweep_entries(struct sweep *sweep, struct internal_iterator *it, int status)
{
	for (; status == SETT_OK; status = iiter_next(it)) {
		uint64_t size = it->key.user.size + it->value.size;
		if (size > sweep->budget)
			return SETT_OK;
		sweep->budget -= size;
		struct entry entry;
		if (entry_decode(it->value, &entry) != SETT_OK)
			return SETT_CORRUPT;
		if (entry.expires_at == 0)
			continue;
		if (entry.expires_at <= sweep->now_ms)
			sweep->each(sweep->arg, it->key.user, entry.expires_at);
		else if (entry.expires_at < sweep->next_expiry)
			sweep->next_expiry = entry.expires_at;
	}
	return status;
}

static int
sweep_generation(struct generation *generation, struct sweep *sweep)
{
	struct internal_iterator *it;
	int r = memtable_iterator_create(generation->memtable, &it);
	if (r != SETT_OK)
		return r;
	/* Commits lower it again while this runs. */
	__atomic_store_n(&generation->smallest_expiry, UINT64_MAX, __ATOMIC_SEQ_CST);
	struct sweep whole = *sweep;
	whole.budget = UINT64_MAX;
	whole.next_expiry = UINT64_MAX;
	r = sweep_entries(&whole, it, iiter_first(it));
	iiter_destroy(it);
	uint64_t seen = __atomic_load_n(&generation->smallest_expiry, __ATOMIC_SEQ_CST);
	while (whole.next_expiry < seen &&
	       !__atomic_compare_exchange_n(&generation->smallest_expiry, &seen, whole.next_expiry, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	return r;
}

/* Goes on in the table where the last call stopped, if it is the same. */
static int
sweep_table(struct sett_engine *engine, struct table_file *file, struct sweep *sweep)
{
	struct internal_iterator *it;
	int r = table_iterator_create(file->table, TABLE_NO_FILL, &it);
	if (r != SETT_OK)
		return r;
	bool resumed = engine->sweep_table == file->number;
	sweep->next_expiry = resumed ? engine->sweep_next_expiry : UINT64_MAX;
	int status = resumed ? iiter_seek(it, (struct ikey){buffer_bytes(&engine->sweep_resume), UINT64_MAX})
			     : iiter_first(it);
	r = sweep_entries(sweep, it, status);
	engine->sweep_table = 0;
	if (r == SETT_NOT_FOUND) {
		__atomic_store_n(&file->next_expiry, sweep->next_expiry, __ATOMIC_RELAXED);
	} else if (r == SETT_OK) {
		buffer_clear(&engine->sweep_resume);
		r = buffer_append(&engine->sweep_resume, it->key.user.data, it->key.user.size);
		if (r == SETT_OK) {
			engine->sweep_table = file->number;
			engine->sweep_next_expiry = sweep->next_expiry;
		}
	}
	iiter_destroy(it);
	return r;
}

static struct table_file *
find_due(const struct version *version, uint64_t preferred, uint64_t now_ms)
{
	struct table_file *due = NULL;
	for (int i = 0; i < SETT_LEVELS; i++) {
		for (size_t t = 0; t < version->levels[i].count; t++) {
			struct table_file *file = version->levels[i].tables[t];
			if (__atomic_load_n(&file->next_expiry, __ATOMIC_RELAXED) > now_ms)
				continue;
			if (file->number == preferred)
				return file;
			if (!due)
				due = file;
		}
	}
	return due;
}

int
sett_engine_sweep_expired(struct sett_engine *engine, uint64_t now_ms, uint64_t max_bytes,
			  void (*each)(void *arg, struct bytes key, uint64_t expires_at), void *arg)
{
	struct sweep sweep = {.now_ms = now_ms, .budget = max_bytes, .each = each, .arg = arg};
	mutex_lock(&engine->sweep_lock);
	struct superversion *sv = engine_acquire(engine);
	int r = SETT_NOT_FOUND;
	for (size_t i = 0; i < sv->generation_count; i++) {
		struct generation *g = sv->generations[i];
		if (__atomic_load_n(&g->smallest_expiry, __ATOMIC_RELAXED) > now_ms)
			continue;
		r = sweep_generation(g, &sweep);
		if (r != SETT_NOT_FOUND)
			goto out;
	}
	/* Each turn ends a table or the budget. */
	for (struct table_file *file; (file = find_due(sv->version, engine->sweep_table, now_ms)) != NULL;) {
		r = sweep_table(engine, file, &sweep);
		if (r != SETT_NOT_FOUND)
			goto out;
	}
out:
	superversion_release(sv);
	mutex_unlock(&engine->sweep_lock);
	return r;
}
