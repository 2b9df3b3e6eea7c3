/* What the engine does while the disk is full.
 *
 *     filled --a flush, the manifest or a start finds no space--> short --filled again--> filled
 *
 * The reserve (reserve.h) is given up in steps, each time such work fails for want of space. While the engine is
 * short, it refuses every commit that does not free more than it writes; deletions go on, in small log segments,
 * and may use half of the reserve, so that the flush that makes their garbage known finds the other half. The log
 * thread fills the reserve as soon as there is space; then everything is as before.
 *
 * The reserve is a few MiB, and grows with what a flush has to write (about what the last log segment took) and
 * with the value log, a sixteenth of it up to one of its files: that much may have to move before one is free, and a
 * small value log has files of no more than a sixteenth (value_log_file_size). It grows with the tables too, up to one of them, for compaction in pieces (compaction_job.c). */
#include "engine_private.h"

/* Of the value log and of the tables: what the reserve keeps free for moving values and for a table. */
enum { VALUES_SHARE = 16, TABLES_SHARE = 16 };

static const uint64_t RESERVE_LEAST = 4 << 20, STEP_LEAST = 64 << 10;

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
target_bytes(const struct sett_engine *engine)
{
	uint64_t bytes = smaller(RESERVE_LEAST, 4 * (uint64_t)engine->memtable_size);
	if (engine->log)
		bytes += smaller(log_last_used(engine->log), engine->memtable_size);
	uint64_t values = value_log_total_bytes(engine->value_log), tables;
	(void)version_set_disk_bytes(engine->versions, &tables);
	bytes += smaller(tables / TABLES_SHARE, engine_table_size(engine));
	return bytes + smaller(values / VALUES_SHARE, value_log_file_size(engine->value_log));
}

/* What is missing text for. */
void
engine_describe_shortage(const struct sett_engine *engine, struct sett_error *error)
{
	uint64_t target = target_bytes(engine), held = reserve_bytes(engine->reserve);
	sett_error_set(error, SETT_NO_SPACE, 0,
		       "The disk is full: only what frees space is written until %llu KiB are free",
		       (unsigned long long)((target > held ? target - held : 0) >> 10));
}

static void
set_short(struct sett_engine *engine, bool is_short)
{
	/* relaxed: a commit that sees the change late is one that came before it */
	if (__atomic_exchange_n(&engine->is_short, is_short, __ATOMIC_RELAXED) == is_short)
		return;
	if (engine->log)
		log_set_short(engine->log, is_short);
	if (is_short)
		log_sink_printf(
			&engine->sink, LOG_LEVEL_WARNING,
			"The disk is full: the reserve is in use, writes that free no space are refused");
	else
		log_sink_printf(&engine->sink, LOG_LEVEL_NOTICE, "There is space on the disk again");
	if (engine->options.on_progress)
		engine->options.on_progress(engine->options.on_progress_arg);
}

bool
engine_spend_reserve(struct sett_engine *engine, enum reserve_use use)
{
	uint64_t target = target_bytes(engine), held = reserve_bytes(engine->reserve);
	uint64_t keep = use == RESERVE_FOR_FLUSH ? 0 : target / 2, step = target / 8;
	set_short(engine, true);
	if (held <= keep)
		return false;
	if (step < STEP_LEAST)
		step = STEP_LEAST;
	return reserve_give(engine->reserve, held - keep < step ? held - keep : step) > 0;
}

void
engine_fill_reserve(struct sett_engine *engine)
{
	uint64_t target = target_bytes(engine), held = reserve_bytes(engine->reserve);
	struct sett_error error;
	bool is_short = engine_is_short(engine);
	if (!is_short && held >= target && held <= target + target / 4)
		return;
	int r = reserve_fill(engine->reserve, target, &error);
	if (r == SETT_OK || r == SETT_NO_SPACE)
		set_short(engine, r == SETT_NO_SPACE);
	else if (!is_short) /* it is but a precaution: writes go on without */
		log_sink_printf(&engine->sink, LOG_LEVEL_WARNING, "Can't make the reserve: %s",
				error.message);
	else
		set_short(engine, false);
}

/* What dropped ids held, as far as that is known. `ret_all`: a prefix goes, and nobody knows how much is under it. */
static uint64_t
dropped_bytes(const struct write_buffer *writes, bool *ret_deletes, bool *ret_all)
{
	uint64_t bytes = 0;
	for (size_t i = 0; writes->prefix_count > 0 && i < writes->operation_count; i++) {
		const struct write_operation *o = &writes->operations[i];
		if (o->kind != WRITE_PREFIX)
			continue;
		*ret_all |= o->prefix->kind == PREFIX_DROPPED;
		*ret_deletes |= o->prefix->kind == PREFIX_DROPPED || o->prefix->kind == ID_DROPPED;
		if (o->prefix->kind == ID_DROPPED)
			bytes += o->prefix->bytes;
	}
	return bytes;
}

bool
txn_frees_space(const struct sett_txn *txn)
{
	struct weight written = {0}, freed = {0};
	bool deletes = false, all = false;
	freed.values = dropped_bytes(&txn->writes, &deletes, &all);
	for (struct write_node *n = NULL; (n = write_buffer_next(&txn->writes, n)) != NULL;) {
		const struct entry *e = &n->newest->entry;
		if (e->kind == ENTRY_INLINE && e->body.size >= txn->engine->options.value_threshold)
			return false;
		if (e->kind == ENTRY_TOMBSTONE)
			deletes = true;
		else
			weight_add(&written, entry_weight(n->key, n->newest->encoded));
		weight_add(&freed, n->shadowed);
	}
	return deletes && (all || written.index + written.values <= freed.index + freed.values);
}
