/* One seeded run of the engine with one injected fault, checked against the oracle; see oracle.h.
 *
 * The same workload (open, commits small and large, writes, syncs, flushes, single jobs, compactions, scans,
 * close, reopen) runs on the in-memory vfs behind vfs_fault. Whatever fails, it must be with a status that
 * engine.h names, and:
 *   - a commit that failed has not happened, one that succeeded stays visible, except that after a failure of
 *     the log only what was written is shown (I12);
 *   - a power cut afterwards takes nothing back that was reported durable, a kill nothing written;
 *   - once the fault is gone, a full disk has healed; after anything that the engine does not get over,
 *     writes are refused and sett_engine_health says why; reads go on;
 *   - reopened without faults, it is whole and takes commits. */
#ifndef SETT_TESTS_FAULT_RUN_H
#define SETT_TESTS_FAULT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/vfs.h"

enum { FAULT_ALLOCATION = VFS_FAULT_KINDS, FAULT_KINDS }; /* the kinds of vfs.h, and this */

struct fault_plan {
	unsigned kind;
	uint64_t n;        /* which call fails, from 1; 0: none */
	bool sticky;       /* and all later ones */
	bool is_encrypted; /* the database is, each open with a keyring of its own */
};

/* 0, or -1 with the reason in `ret_why`. `ret_calls` (may be NULL): calls of the plan's kind that the
 * workload made. */
int fault_run(uint64_t seed, const struct fault_plan *, uint64_t *ret_calls, char *ret_why, size_t size);

/* All plans of a seed: every kind, once and sticky, every `stride`-th call. */
int fault_sweep(uint64_t seed, uint64_t stride, uint64_t *ret_runs, char *ret_why, size_t size);
int fault_sweep_encrypted(uint64_t seed, uint64_t stride, uint64_t *ret_runs, char *ret_why, size_t size);

#endif
