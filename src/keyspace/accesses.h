/* When keys were last used and how often, for evictions and OBJECT IDLETIME and FREQ: an estimate in fixed memory, beside the
 * data.
 *
 * A table of 65,536 buckets of three keys each, found by the hash of the engine key. The key whose use is longest
 * ago gives way to a new one, and the bucket keeps when that was: a key that is not in the table was used last
 * then at the latest, or before the table was made.
 *
 * Threads: any, without locks. Two that note keys of one bucket at once may lose one of the notes. */
#ifndef SETT_KEYSPACE_ACCESSES_H
#define SETT_KEYSPACE_ACCESSES_H

#include <stdbool.h>
#include <stdint.h>

struct accesses;

/* 2 MiB, of which the system gives what is used. NULL: out of memory. */
struct accesses *accesses_create(uint64_t now_ms);
/* NULL is fine. */
void accesses_destroy(struct accesses *);

/* How the frequency is counted: the directives lfu-log-factor and lfu-decay-time (minutes). */
struct access_rule {
	unsigned log_factor, decay_minutes;
};

/* A key was used that existed before. `random` is any number. */
void accesses_note(struct accesses *, uint64_t hash, uint64_t now_ms, struct access_rule, uint64_t random);
/* A key is about to be made: it begins as a new one. */
void accesses_note_new(struct accesses *, uint64_t hash, uint64_t now_ms);
/* A key begins as one that was last used `seconds` ago (two months at most can be told), or with a counter that has grown
 * to `frequency` (0 to 255). */
void accesses_set_idle(struct accesses *, uint64_t hash, uint64_t now_ms, uint64_t seconds);
void accesses_set_frequency(struct accesses *, uint64_t hash, uint64_t now_ms, unsigned frequency);
/* Seconds since the last use that is known of. */
uint64_t accesses_idle_seconds(const struct accesses *, uint64_t hash, uint64_t now_ms);
/* Redis' logarithmic counter, 0 to 255, as it has decayed until now. */
unsigned accesses_frequency(const struct accesses *, uint64_t hash, uint64_t now_ms, struct access_rule);

#endif
