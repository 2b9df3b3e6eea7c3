/* Writing all anew by the present key: what a rotation of data keys, and an encryption of what was not, come to.
 *
 *     add a key; take a number: files from it on are sealed by that key alone
 *     until no file below it is left:
 *         retire the active value-log file, flush; write anew tables that are older, or point into older values
 *     write the manifest anew
 *     drop the keys from before
 *
 * Cut short anywhere, the directory has files by both keys and both keys, or none by the old one and maybe that key: it opens, and
 * another call does the rest. Log segments from before go with the flush, as always. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "engine_private.h"
#include "storage/keyring.h"
#include "version.h"

enum { ROUNDS = 100, PAUSE_NS = 50 * 1000 * 1000 };

struct older {
	uint64_t below, file; /* `file`: one that is left; 0: none */
};

static void
look_at_file(void *arg, const struct value_log_file_info *info)
{
	struct older *o = arg;
	if (info->number < o->below)
		o->file = info->number;
}

/* A file that is still there with values or tables from before. */
static uint64_t
find_older(struct sett_engine *engine, uint64_t below)
{
	struct older o = {.below = below};
	value_log_each_file(engine->value_log, look_at_file, &o);
	struct version *v = version_set_current(engine->versions);
	for (unsigned l = 0; l < SETT_LEVELS; l++)
		for (size_t i = 0; i < v->levels[l].count; i++)
			if (v->levels[l].tables[i]->number < below)
				o.file = v->levels[l].tables[i]->number;
	version_release(v);
	return o.file;
}

static int
rewrite_once(struct sett_engine *engine, uint64_t below, bool (*should_stop)(void *arg), void *arg,
	     struct sett_error *error)
{
	value_log_retire_active(engine->value_log);
	int r = sett_engine_flush(engine, error);
	return r == SETT_OK ? workers_rewrite(engine->workers, below, should_stop, arg, error) : r;
}

int
sett_engine_rewrite(struct sett_engine *engine, bool (*should_stop)(void *arg), void *arg,
		    struct sett_error *error)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct keyring *keys = engine->vfs->keys;
	uint64_t below, left = 1;
	if (!keys || engine->options.read_only || engine->options.in_memory)
		return sett_error_set(error, SETT_INVALID, 0, "the database is not encrypted");
	int r = sett_keyring_add_key(keys, error);
	if (r == SETT_OK)
		r = version_set_next_file_number(engine->versions, &below, error);
	for (unsigned i = 0; r == SETT_OK && left != 0 && i < ROUNDS; i++) {
		if (i > 0)
			(void)nanosleep(&pause, NULL); /* cut short, it looks again earlier */
		if (should_stop && should_stop(arg))
			return sett_error_set(error, SETT_ABORTED, 0, "it was given up");
		r = rewrite_once(engine, below, should_stop, arg, error);
		left = r == SETT_OK ? find_older(engine, below) : 1;
	}
	if (r != SETT_OK)
		return r;
	if (left != 0)
		return sett_error_set(error, SETT_WOULD_BLOCK, 0,
				      "file %06" PRIu64
				      " is still there: a reader holds it, or a value in it is damaged",
				      left);
	r = version_set_rewrite_manifest(engine->versions, error);
	return r == SETT_OK ? sett_keyring_drop_old(keys, error) : r;
}
