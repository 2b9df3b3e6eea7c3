/* The long tests of the engine: any number of seeds of the crash, fault and model runs. Used by `./dev soak`.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash_run.h"
#include "fault_run.h"
#include "model_run.h"

enum { MODEL_OPERATIONS = 5000, FAULT_CALLS = 120, SEEDS_PER_LINE = 500, JOBS_MAX = 64 };

/* One fault, of a kind and at a call that the seed says; the workload is the seed's, too. */
static int
one_fault(uint64_t seed, char *why, size_t size)
{
	struct fault_plan plan = {.kind = seed % FAULT_KINDS,
				  .n = 1 + seed / FAULT_KINDS % FAULT_CALLS,
				  .sticky = seed / FAULT_KINDS / FAULT_CALLS % 2};
	return fault_run(seed, &plan, NULL, why, size);
}

static int
every_fault(uint64_t seed, char *why, size_t size)
{
	uint64_t runs = 0;
	return fault_sweep(seed, 1, &runs, why, size);
}

static int
one_model(uint64_t seed, char *why, size_t size)
{
	struct model_figures figures = {0};
	return model_run(seed, MODEL_OPERATIONS, &figures, why, size);
}

static const struct kind {
	const char *name;
	int (*run)(uint64_t seed, char *ret_why, size_t size);
	bool by_default;
} kinds[] = {
	{"crash", crash_run, true},
	{"fault", one_fault, true},
	{"model", one_model, true},
	{"sweep", every_fault, false},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int
usage(FILE *to)
{
	fputs("usage: soak [--seeds COUNT] [--from N] [--only KIND]\n"
	      "Runs COUNT (2000) seeds from N (1) on, each through every kind of run:\n"
	      "  crash  power cuts, in recoveries too, against an oracle\n"
	      "  fault  one failing call; kind, number and stickiness come from the seed\n"
	      "  model  random operations beside a sorted map with versions\n"
	      "and only if asked for with --only:\n"
	      "  sweep  one workload with every call failing in turn, a few seconds a seed\n"
	      "Uses all cores. Exits with 1 if a run failed, after naming its kind and seed.\n",
	      to);
	return to == stdout ? 0 : 2;
}

static int
number(const char *text, unsigned long long *ret)
{
	char *end;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || end == text || *end ? -1 : 0;
}

static int
run_seed(unsigned long long seed, const char *only)
{
	char why[500];
	for (int k = 0; k < KINDS; k++) {
		if (only ? strcmp(only, kinds[k].name) != 0 : !kinds[k].by_default)
			continue;
		if (kinds[k].run(seed, why, sizeof(why)) == 0)
			continue;
		printf("%s, seed %llu: %s\nagain: ./dev soak --only %s --seeds 1 --from %llu\n",
		       kinds[k].name, seed, why, kinds[k].name, seed);
		return -1;
	}
	return 0;
}

/* One process' share: every `step`-th seed. */
static int
run_share(unsigned long long first, unsigned long long end, unsigned step, const char *only, bool tells)
{
	unsigned long long shown = first;
	for (unsigned long long seed = first; seed < end; seed += step) {
		if (run_seed(seed, only) != 0)
			return 1;
		if (!tells || seed - shown < SEEDS_PER_LINE)
			continue;
		shown = seed;
		printf("seed %llu of %llu to %llu\n", seed, first, end - 1);
		fflush(stdout);
	}
	return 0;
}

/* Processes rather than threads: a seed's run depends on nothing but the seed. */
static int
run_shares(unsigned long long from, unsigned long long seeds, unsigned jobs, const char *only)
{
	pid_t children[JOBS_MAX];
	int failed = 0;
	for (unsigned i = 0; i < jobs; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			int r = run_share(from + i, from + seeds, jobs, only, i == 0);
			fflush(stdout);
			_exit(r);
		}
		failed += children[i] < 0;
	}
	for (unsigned i = 0; i < jobs; i++) {
		int status;
		if (children[i] > 0)
			failed += waitpid(children[i], &status, 0) < 0 || status != 0;
	}
	return failed;
}

int
main(int argc, char **argv)
{
	unsigned long long seeds = 2000, from = 1;
	const char *only = NULL;
	for (int i = 1; i < argc; i += 2) {
		if (strcmp(argv[i], "--help") == 0)
			return usage(stdout);
		if (i + 1 == argc)
			return usage(stderr);
		if (strcmp(argv[i], "--only") == 0) {
			only = argv[i + 1];
			bool known = false;
			for (int k = 0; k < KINDS; k++)
				known |= strcmp(only, kinds[k].name) == 0;
			if (!known)
				return usage(stderr);
			continue;
		}
		unsigned long long *to = strcmp(argv[i], "--seeds") == 0 ? &seeds
			: strcmp(argv[i], "--from") == 0                 ? &from
									 : NULL;
		if (!to || number(argv[i + 1], to) != 0)
			return usage(stderr);
	}
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned jobs = cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : (unsigned)cores;
	int failed = run_shares(from, seeds, jobs, only);
	printf("%llu seeds from %llu on: %s\n", seeds, from, failed ? "FAILED" : "all passed");
	return failed ? 1 : 0;
}
