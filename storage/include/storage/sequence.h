/* Numbers that are given out once. They are leased a stretch at a time, and a lease is durable before its first number is given
 * out: so none comes twice, not after a kill or a power cut either. What is left of a lease then is never given out. Numbers of
 * one sequence ascend; several sequences under one key share its numbers. */
#ifndef SETT_STORAGE_SEQUENCE_H
#define SETT_STORAGE_SEQUENCE_H

#include "storage/engine.h"

struct sett_sequence;

/* `key` is the caller's, for this alone: its entry is the first number that was not leased. `lease`: numbers a stretch, at least
 * 1; each costs a commit and a sync. Reads and writes nothing yet. SETT_INVALID, SETT_TOO_LARGE, SETT_NO_MEMORY. */
int sett_sequence_open(struct sett_engine *, struct bytes key, uint64_t lease, struct sett_sequence **ret);
/* The next number, from 0 on. May wait for the disk. Any thread. SETT_CORRUPT: the key's entry is no sequence's; SETT_TOO_LARGE:
 * there is no further number; statuses of reads, of commits and of sett_engine_sync: then none is given out. */
int sett_sequence_next(struct sett_sequence *, uint64_t *ret, struct sett_error *);
/* Gives what is left of the lease back, if nobody has leased since, so that the next one begins there. Not meanwhile or after:
 * sett_sequence_next would lease again, which is allowed. Statuses as above: then it is lost, no more. */
int sett_sequence_release(struct sett_sequence *, struct sett_error *);
/* Before the engine; without a release what is left is lost. NULL is fine. */
void sett_sequence_close(struct sett_sequence *);

#endif
